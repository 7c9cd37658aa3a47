/* Non-cryptographic hash for tables and sticky routing, and random request ids. */
#ifndef SW_BASE_HASH_H
#define SW_BASE_HASH_H

#include "base/macros.h"
#include "base/str.h"

/* 64-bit FNV-1a with a final mix (splitmix64). Stable across releases and machines: sticky routing relies on it. */
uint64_t sw_hash(const void *data, size_t len, uint64_t seed);

/* The next number of a sequence that follows from *state alone (splitmix64): repeatable by its seed, any seed will do. */
uint64_t sw_random_next(uint64_t *state);

/* Per-thread xoshiro256** seeded from getrandom(2). Not for secrets. */
uint64_t sw_random_u64(void);

/* 32 lower-case hex digits and a NUL. */
void sw_random_id(char ret_id[33]);

#endif
