/* The address that a load is sent to: "http://127.0.0.1:8080/v2/models/digits/infer", "https://[::1]/x?y=z". */
#ifndef SW_LOAD_URL_H
#define SW_LOAD_URL_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

enum { SW_LOAD_URL_MAX = 8192 };

/* Strings are on the heap; zeroed memory may be deinited. */
struct sw_load_url {
    bool tls;
    char *host;      /* without brackets */
    char *target;    /* path and query as the request line has them, "/" when the URL has none; without fragment */
    char *authority; /* what the header Host says: with brackets, with the port where it is not the scheme's own */
    uint16_t port;
};

/* Without a scheme: http. SW_E_USAGE names the fault: another scheme, user names (they would end up in results), blanks
 * and control characters (which must be escaped), a port out of range. */
SW_MUST_CHECK sw_status sw_load_url_parse(struct sw_str text, struct sw_load_url *ret, struct sw_error *err);
void sw_load_url_deinit(struct sw_load_url *url);

#endif
