/* Small things every file needs: attributes, assertions, array length.
 *
 * SW_ASSERT checks an invariant of our own code, never input, and stays on in releases: a broken invariant ends the
 * process with the place, because going on would serve wrong answers. */
#ifndef SW_BASE_MACROS_H
#define SW_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#define SW_MUST_CHECK __attribute__((warn_unused_result))
#define SW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SW_NORETURN __attribute__((noreturn))
#define SW_CLEANUP(fn) __attribute__((cleanup(fn)))
#define SW_COUNTOF(array) (sizeof(array) / sizeof((array)[0]))
#define SW_LIKELY(x) __builtin_expect(!!(x), 1)
#define SW_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SW_CACHE_LINE 64

#define SW_STRINGIFY2(x) #x
#define SW_STRINGIFY(x) SW_STRINGIFY2(x)
#define SW_ORIGIN __FILE__ ":" SW_STRINGIFY(__LINE__)

SW_NORETURN void sw_assert_failed(const char *origin, const char *expression);
#define SW_ASSERT(expression) ((expression) ? (void)0 : sw_assert_failed(SW_ORIGIN, #expression))

#endif
