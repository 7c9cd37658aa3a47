/* The bytes of one request, made before the load begins, so that sending one is a single write.
 *
 * GET without a body and POST with one unless a method is given. Host, User-Agent, Content-Length and Content-Type are
 * added unless a header given by hand has that name; framing is never taken from outside. */
#ifndef SW_LOAD_REQUEST_H
#define SW_LOAD_REQUEST_H

#include "base/buf.h"
#include "base/error.h"
#include "load/url.h"

struct sw_load_header {
    struct sw_str name, value; /* borrowed */
};

/* "Name: value" as a person writes it; parts borrow from text. SW_E_USAGE: no colon, a name that is no token, control
 * characters in the value, or a header of framing (Content-Length, Transfer-Encoding, Connection, Expect, Upgrade). */
SW_MUST_CHECK sw_status sw_load_header_parse(struct sw_str text, struct sw_load_header *ret, struct sw_error *err);
/* Does its value have no place in a result: Authorization, Cookie, a name with "key", "token" or "secret"? */
bool sw_load_header_is_secret(const struct sw_load_header *header);

/* A token of RFC 9110 in capitals, at most 32 bytes. SW_E_USAGE; also of CONNECT and TRACE, whose answers are not framed as those of
 * others are. */
SW_MUST_CHECK sw_status sw_load_method_check(struct sw_str method, struct sw_error *err);

struct sw_load_request_parts {
    const struct sw_load_url *url;
    const char *method;       /* NULL: by the body */
    struct sw_str body;       /* data NULL: none */
    const char *content_type; /* NULL: guessed from the body */
    const struct sw_load_header *headers;
    size_t header_count;
};

/* Heap; the caller deinits. SW_E_TOO_LARGE: no memory. */
SW_MUST_CHECK sw_status sw_load_request_make(const struct sw_load_request_parts *parts, struct sw_buf *ret,
                                             struct sw_error *err);

/* By its first bytes: image/png, image/jpeg, image/gif, image/webp, image/bmp, application/json (first byte behind
 * blanks: '{' or '['), else application/octet-stream. Static. */
const char *sw_load_content_type(struct sw_str body);

#endif
