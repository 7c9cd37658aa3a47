/* Hosts and URLs as people write them. */
#ifndef SW_CLI_ADDRESS_H
#define SW_CLI_ADDRESS_H

#include <stdbool.h>

#include "base/macros.h"

/* Is this address one that only this machine reaches: 127.0.0.0/8, ::1 or localhost? */
bool sw_is_loopback(const char *host);
/* "http://127.0.0.1:8080": an address that reaches a server listening on host. */
void sw_format_url(const char *host, uint16_t port, char *ret, size_t size);

#endif
