/* Hosts and URLs as people write them. */
#ifndef SW_CLI_ADDRESS_H
#define SW_CLI_ADDRESS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"

/* Is this address one that only this machine reaches: 127.0.0.0/8, ::1 or localhost? */
bool sw_is_loopback(const char *host);
/* "http://127.0.0.1:8080": an address that reaches a server listening on host. */
void sw_format_url(const char *host, uint16_t port, char *ret, size_t size);

/* Appends s with everything but letters, digits and -._~ escaped. */
void sw_url_escape(struct sw_buf *out, struct sw_str s);
/* `start` and each further text as one escaped segment, up to NULL; on the heap (sw_free). Of checked or short
 * texts: at most 16 KiB in all. */
char *sw_url_path(const char *start, ...) __attribute__((sentinel));

#endif
