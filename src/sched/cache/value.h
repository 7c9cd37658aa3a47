/* A result as it is kept: the outputs of one run, in one block of memory that several requests may read at once.
 *
 *     | magic, when, outputs | output: place, data type, rank, shape, offset, bytes | ... | data, each 64-byte aligned | ... |
 *
 * The same bytes are what other replicas find in Redis. Those come from outside and are checked as such: every offset and
 * size before it is used, every output against the model. Native little-endian; the magic says so.
 *
 * Immutable once made; reference counted; any thread. */
#ifndef SW_SCHED_CACHE_VALUE_H
#define SW_SCHED_CACHE_VALUE_H

#include "tensor/tensor.h"

struct sw_cache_value;

/* Copies outputs, of which output i is the places[i]th of the model (NULL: the ith). made_ms: when, wall clock. One
 * reference. NULL: it would be larger than bytes_max, or no memory. An output that the model left out
 * (SW_DTYPE_INVALID) is kept as such. */
struct sw_cache_value *sw_cache_value_create(const struct sw_tensor *outputs, const uint32_t *places, size_t count,
                                             uint64_t made_ms, size_t bytes_max);
/* Bytes of another replica, copied. SW_E_INVALID_ARGUMENT: they are no such block. */
SW_MUST_CHECK sw_status sw_cache_value_parse(struct sw_str bytes, struct sw_cache_value **ret, struct sw_error *err);

struct sw_cache_value *sw_cache_value_ref(struct sw_cache_value *value);
void sw_cache_value_unref(struct sw_cache_value *value); /* NULL is allowed */

struct sw_str sw_cache_value_bytes(const struct sw_cache_value *value);
size_t sw_cache_value_cost(const struct sw_cache_value *value); /* bytes of memory */
uint64_t sw_cache_value_made_ms(const struct sw_cache_value *value);

/* The outputs in the order of `wanted` (indices into the model's outputs; NULL: all, in order), as tensors in the arena
 * whose data lie in the value: the caller keeps a reference as long as they are used. SW_E_INTERNAL: they are not what
 * this model gives; SW_E_UNAVAILABLE: no memory. */
SW_MUST_CHECK sw_status sw_cache_value_read(const struct sw_cache_value *value, const struct sw_tensor_specs *specs,
                                            const uint32_t *wanted, size_t wanted_count, struct sw_arena *arena,
                                            struct sw_tensor **ret, size_t *ret_count, struct sw_error *err);

#endif
