/* What a result is kept under: a SHA-256 of all that decides it.
 *
 *     scope = SHA-256(format, program, engine, model's name and version, its files)          once a load
 *     key   = SHA-256(scope, generation, outputs asked for, inputs in the order of the model)  once a request
 *
 * The files of a model are those of its bundle: graph, external weights, bundle.yaml and what its steps read. So a result
 * of another version, of another file under the same version, or of another pipeline has another key and is never found.
 *
 * Canonical input: an input is its place among the model's inputs, data type, shape and bytes, so JSON and binary
 * requests, and any order of the inputs, give one key. Numbers are what they became as the model's type; 0.0 and -0.0
 * are two. A collision-resistant hash because what others may send must not be made to answer for something else. */
#ifndef SW_SCHED_CACHE_KEY_H
#define SW_SCHED_CACHE_KEY_H

#include "tensor/tensor.h"

enum { SW_CACHE_KEY = 32 };

struct sw_cache_key {
    uint8_t bytes[SW_CACHE_KEY];
};

static inline bool sw_cache_key_eq(const struct sw_cache_key *a, const struct sw_cache_key *b) {
    return memcmp(a->bytes, b->bytes, SW_CACHE_KEY) == 0;
}

/* Part of a key as a number, for tables: any 8 of its bytes are as good as random. */
static inline uint64_t sw_cache_key_hash(const struct sw_cache_key *key) {
    uint64_t hash;
    memcpy(&hash, key->bytes, sizeof hash);
    return hash;
}

/* The digest of these texts, which may not be confused with each other: each goes in with its length. */
void sw_cache_scope(const struct sw_str *parts, size_t count, struct sw_cache_key *ret);

/* wanted: indices of the outputs asked for, in any order; NULL: all. false: the inputs are not those of the model (one is
 * unknown, or there twice), which the run will say. No memory is taken. */
bool sw_cache_key_make(const struct sw_cache_key *scope, uint64_t generation, const struct sw_tensor_specs *specs,
                       const struct sw_tensor *inputs, size_t input_count, const uint32_t *wanted, size_t wanted_count,
                       struct sw_cache_key *ret);

#endif
