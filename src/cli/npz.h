/* Several arrays in one file, as numpy.savez writes them: a zip of NAME.npy, stored or deflated. */
#ifndef SW_CLI_NPZ_H
#define SW_CLI_NPZ_H

#include "tensor/tensor.h"

enum { SW_NPZ_ARRAYS_MAX = 256 };
#define SW_NPZ_BYTES_MAX ((size_t)2 << 30) /* of all arrays, unpacked */

/* Every array, named after its entry; in the arena. Entries that do not end in .npy are passed over.
 * SW_E_INVALID_ARGUMENT: no such file, broken, encrypted, or two arrays of one name; SW_E_TOO_LARGE: beyond a limit;
 * SW_E_UNAVAILABLE: no memory. */
SW_MUST_CHECK sw_status sw_npz_read(struct sw_str bytes, struct sw_arena *arena, struct sw_tensor **ret,
                                    size_t *ret_count, struct sw_error *err);

#endif
