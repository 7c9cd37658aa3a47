/* For clang-tidy alone, which includes it in front of every file (tools/lint.sh): tells its analysis, which sees one file
 * at a time, that sw_fail never gives SW_OK. Without it "outputs are untouched on failure" looks like a fault. */
#include "base/error.h"
#undef sw_fail
#define sw_fail(err, code, ...) ((void)sw_error_set((err), (code), SW_ORIGIN, __VA_ARGS__), (code))
