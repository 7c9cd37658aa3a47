/* Runs of numbers or booleans: the elements of one innermost array, or of the whole flat array. The hot path of every
 * JSON request. Stays in this folder. */
#ifndef SW_TENSOR_JSON_RUN_H
#define SW_TENSOR_JSON_RUN_H

#include "tensor/tensor.h"

/* Where a run stopped. `count` elements were stored; `at` is the first byte not used: behind the last element and its
 * blanks, or (bad_element) at an element that could not be read. */
struct sw_json_run {
    const char *at;
    size_t count;
    bool bad_element;
};

/* Reads elements of `dtype` (one that JSON carries, but not BYTES) with commas between them from p into data, until
 * no comma follows or `room` (at least 1) are stored. The text is [begin, end). The diagnosis is the caller's. */
struct sw_json_run sw_json_read_run(const char *begin, const char *p, const char *end, enum sw_dtype dtype, void *data,
                                    size_t room);

#endif
