/* multipart/form-data (RFC 7578, RFC 2046): the parts of a body that is in memory, one after the other, without a copy.
 *
 *     struct sw_multipart form;
 *     SW_TRY(sw_multipart_init(&form, content_type, body, err));
 *     for (;;) {
 *         struct sw_multipart_part part;
 *         bool more;
 *         SW_TRY(sw_multipart_next(&form, &part, &more, err));
 *         if (!more) {
 *             break;
 *         }
 *         ...
 *     }
 *
 * Strict where looseness could hide something: the closing delimiter must be there, each part must be form-data with a
 * name, lines end in CRLF, sizes and counts are bounded. */
#ifndef SW_HTTP_MULTIPART_H
#define SW_HTTP_MULTIPART_H

#include "base/error.h"
#include "base/str.h"

enum { SW_MULTIPART_BOUNDARY_MAX = 70, SW_MULTIPART_PARTS_MAX = 64, SW_MULTIPART_HEADERS_MAX = 8192 };

struct sw_multipart {
    struct sw_str rest;                            /* from behind a delimiter */
    char delimiter[SW_MULTIPART_BOUNDARY_MAX + 5]; /* CR LF - - boundary */
    size_t delimiter_length;
    size_t parts; /* given so far */
    bool ended;   /* the closing delimiter was read */
};

/* All borrowed from the body. Names are as sent: escapes in quoted strings are left in. */
struct sw_multipart_part {
    struct sw_str name;
    struct sw_str file_name;    /* data NULL: the part is no file */
    struct sw_str content_type; /* without parameters; empty: none was given */
    struct sw_str content;
};

/* content_type: the value of the request's Content-Type, whose media type is multipart/form-data. SW_E_INVALID_ARGUMENT:
 * it has no boundary, or the body does not begin with it. */
SW_MUST_CHECK sw_status sw_multipart_init(struct sw_multipart *form, struct sw_str content_type, struct sw_str body,
                                          struct sw_error *err);
/* *ret_more false: there are no more parts, and the form ended as it should. SW_E_INVALID_ARGUMENT: malformed;
 * SW_E_UNSUPPORTED_MEDIA: a part has a transfer encoding. */
SW_MUST_CHECK sw_status sw_multipart_next(struct sw_multipart *form, struct sw_multipart_part *ret, bool *ret_more,
                                          struct sw_error *err);

/* The value of a parameter of a header: "form-data; name=\"x\"" has name. Quotes are taken off, escapes are not. data
 * NULL: there is no such parameter, or the header is malformed before it. */
struct sw_str sw_header_parameter(struct sw_str value, struct sw_str name);

#endif
