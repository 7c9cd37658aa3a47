/* What the server itself reads from a request's headers, and the checks that keep its framing unambiguous.
 *
 * Framing that two readers could understand differently (several lengths, a length and a transfer coding, a blank
 * before the colon) is refused and the connection closed: it is how one request is smuggled behind another. */
#include <strings.h>

#include "http/http_internal.h"

struct found {
    struct sw_str content_length, transfer_encoding, content_encoding, request_id, binary_header_length;
    struct sw_str timeout, priority;
    struct accept_encoding accept;
    struct sw_cache_control cache_control;
    unsigned hosts, transfer_encodings, content_encodings, binary_header_lengths;
    bool length_differs, bad_name, bad_line, expects_continue;
    const char *line; /* where the next header line has to begin */
};

static bool is(const char *key, size_t key_len, const char *name, size_t name_len) {
    return key_len == name_len && strncasecmp(key, name, name_len) == 0;
}
#define IS(literal) is(key, key_len, literal, sizeof(literal) - 1)

/* Of a header that says one thing: said twice it is none. */
static struct sw_str once(struct sw_str before, struct sw_str value) {
    return before.data ? SW_STR("(given twice)") : value;
}

/* Said in several headers it is one list (RFC 9110, 5.3). */
static void read_cache_control(struct sw_str list, struct sw_cache_control *ret) {
    struct sw_str word;
    while (list.data) {
        list = sw_str_split(list, ',', &word);
        word = sw_str_trim(word);
        ret->no_store |= sw_str_ieq(word, SW_STR("no-store"));
        ret->no_cache |= sw_str_ieq(word, SW_STR("no-cache")) || sw_str_ieq(word, SW_STR("max-age=0"));
    }
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_len, const char *text,
                                 size_t text_len) {
    struct found *found = cls;
    /* libmicrohttpd ends a line at an LF alone too, a value at a NUL, and glues a folded line to the wrong place: then
     * the next line does not lie where it should. A CR alone it leaves in the value; others end a line there. */
    found->bad_line |= key != found->line || !text || text <= key + key_len || memchr(text, '\r', text_len);
    found->line = text ? text + text_len + strlen("\r\n") : NULL;
    struct sw_str value = sw_str_trim((struct sw_str){text ? text : "", text ? text_len : 0});
    if (key_len == 0 || (unsigned char)key[0] <= ' ' || (unsigned char)key[key_len - 1] <= ' ') {
        found->bad_name = true;
        return MHD_NO;
    }
    if (IS("Host")) {
        found->hosts++;
    } else if (IS("Content-Length")) {
        found->length_differs |= found->content_length.data && !sw_str_eq(found->content_length, value);
        found->content_length = value;
    } else if (IS("Transfer-Encoding")) {
        /* Untrimmed, as libmicrohttpd compares it: with a blank behind, it would take the coding for an unknown one and
         * read to the end of the stream. */
        found->transfer_encoding = (struct sw_str){text ? text : "", text ? text_len : 0};
        found->transfer_encodings++;
    } else if (IS("Content-Encoding")) {
        found->content_encoding = value;
        found->content_encodings++;
    } else if (IS("Accept-Encoding")) {
        sw_http_accept_encoding_parse(value, &found->accept);
    } else if (IS("Cache-Control")) {
        read_cache_control(value, &found->cache_control);
    } else if (IS("X-Request-Id")) {
        found->request_id = value;
    } else if (IS("Inference-Header-Content-Length")) {
        found->binary_header_length = value;
        found->binary_header_lengths++;
    } else if (IS("X-Timeout-Ms")) {
        found->timeout = once(found->timeout, value);
    } else if (IS("X-Priority")) {
        found->priority = once(found->priority, value);
    } else if (IS("Expect")) {
        found->expects_continue = sw_str_ieq(value, SW_STR("100-continue"));
    }
    return MHD_YES;
}

static sw_status read_framing(struct request *r, const struct found *found, const char *version, struct sw_error *err) {
    bool http11 = strcmp(version, "HTTP/1.0") != 0;
    if (found->bad_name) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a header line has no name, or a blank before or after it");
    }
    if (found->bad_line) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "a header line is folded, holds a NUL or CR byte, or does not end with CR and LF");
    }
    if (found->hosts > 1 || (http11 && found->hosts == 0)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "an HTTP/1.1 request needs exactly one Host header");
    }
    if (found->length_differs) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "there are several Content-Length headers that differ");
    }
    if (found->transfer_encodings && found->content_length.data) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "Transfer-Encoding and Content-Length exclude each other");
    }
    if (found->transfer_encodings > 1 || (found->transfer_encodings && !http11)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "Transfer-Encoding is not allowed here or is given twice");
    }
    if (found->transfer_encodings && !sw_str_ieq(found->transfer_encoding, SW_STR("chunked"))) {
        return sw_fail(err, SW_E_NOT_IMPLEMENTED, "Transfer-Encoding '" SW_STR_FMT "' is not supported, only chunked",
                       SW_STR_ARG(found->transfer_encoding));
    }
    return SW_OK;
}

static sw_status read_encoding(struct request *r, const struct found *found, struct sw_error *err) {
    struct sw_str e = found->content_encoding;
    if (found->content_encodings == 0 || e.len == 0 || sw_str_ieq(e, SW_STR("identity"))) {
        r->encoding = ENCODING_IDENTITY;
    } else if (sw_str_ieq(e, SW_STR("gzip")) || sw_str_ieq(e, SW_STR("x-gzip"))) {
        r->encoding = ENCODING_GZIP;
    } else if (sw_str_ieq(e, SW_STR("deflate"))) {
        r->encoding = ENCODING_DEFLATE;
    } else {
        return sw_fail(err, SW_E_UNSUPPORTED_MEDIA,
                       "Content-Encoding '" SW_STR_FMT "' is not gzip, deflate or identity", SW_STR_ARG(e));
    }
    if (found->content_encodings > 1) {
        return sw_fail(err, SW_E_UNSUPPORTED_MEDIA, "a body with several content encodings is not supported");
    }
    return SW_OK;
}

/* Reads the header lines, and checks that they fill the space between the request line and the end. */
static void read_lines(struct found *found, struct MHD_Connection *mhd, const char *method, const char *version) {
    found->line = version + strlen(version) + strlen("\r\n");
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, on_header, found);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    found->bad_line |= !info || !found->line || found->line + strlen("\r\n") != method + info->header_size;
}

sw_status sw_http_headers_read(struct request *r, const char *method, const char *version, struct sw_error *err) {
    struct found found = {.accept = {-1, -1, -1}};
    read_lines(&found, r->x.connection->mhd, method, version);
    sw_http_request_id(&r->x, found.request_id);
    r->accept = found.accept;
    r->encoding = ENCODING_IDENTITY;
    r->x.binary_header_length = SIZE_MAX;
    r->x.timeout = found.timeout;
    r->x.priority = found.priority;
    r->x.cache_control = found.cache_control;
    r->x.content_length = found.transfer_encodings ? UINT64_MAX : 0;
    r->expects_body = found.transfer_encodings > 0;
    sw_status status = read_framing(r, &found, version, err);
    if (status) {
        r->x.close = true;
        return status;
    }
    /* libmicrohttpd has answered 400 or 413 to a length that is no number. */
    if (found.content_length.data && !sw_parse_u64(found.content_length, &r->x.content_length)) {
        r->x.close = true;
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "Content-Length is not a number");
    }
    r->expects_body = r->x.content_length > 0;
    r->expects_continue = found.expects_continue && strcmp(version, "HTTP/1.0") != 0;
    SW_TRY(read_encoding(r, &found, err));
    if (found.binary_header_lengths) {
        uint64_t length;
        if (found.binary_header_lengths > 1 || !sw_parse_u64(found.binary_header_length, &length) ||
            length > SIZE_MAX / 2) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "Inference-Header-Content-Length is not one number of bytes");
        }
        r->x.binary_header_length = (size_t)length;
    }
    return SW_OK;
}
