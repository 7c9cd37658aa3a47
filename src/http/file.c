/* Answers that are files: conditions and ranges (RFC 9110, sections 13 and 14), and the hand-over to libmicrohttpd,
 * which sends with sendfile(2).
 *
 * If-None-Match is looked at first; a Range counts for GET alone, and only when If-Range, if there is one, names the
 * present file. What is not one well-formed range of bytes is ignored, as the RFC allows: the answer is the whole file.
 *
 * Invariant: request.file.fd, unless -1, is owned by the request until sw_http_file_response hands it to
 * libmicrohttpd; whoever sets another answer, or releases the request, closes it. */
#include <sys/stat.h>
#include <unistd.h>

#include "http/http_internal.h"

enum range { RANGE_NONE, RANGE_GOOD, RANGE_OUTSIDE };

/* Takes digits off the front; a number too large becomes UINT64_MAX. false: there are none. */
static bool take_number(struct sw_str *text, uint64_t *ret) {
    uint64_t n = 0;
    size_t i = 0;
    for (; i < text->len && text->data[i] >= '0' && text->data[i] <= '9'; i++) {
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text->data[i] - '0', &n)) {
            n = UINT64_MAX;
        }
    }
    *text = (struct sw_str){text->data + i, text->len - i};
    *ret = n;
    return i > 0;
}

/* "bytes=0-99", "bytes=100-", "bytes=-50". */
static enum range parse_range(struct sw_str text, uint64_t size, uint64_t *ret_offset, uint64_t *ret_length) {
    struct sw_str unit, set = sw_str_split(text, '=', &unit);
    if (!set.data || !sw_str_ieq(sw_str_trim(unit), SW_STR("bytes"))) {
        return RANGE_NONE;
    }
    set = sw_str_trim(set);
    uint64_t first = 0, last = 0;
    bool has_first = take_number(&set, &first);
    if (set.len == 0 || set.data[0] != '-') {
        return RANGE_NONE;
    }
    set = (struct sw_str){set.data + 1, set.len - 1};
    bool has_last = take_number(&set, &last);
    if (set.len || (!has_first && !has_last) || (has_first && has_last && last < first)) {
        return RANGE_NONE; /* more than one range is "none" as well */
    }
    if (!has_first) { /* the last bytes */
        first = last < size ? size - last : 0;
        has_last = last > 0; /* no byte at all: outside */
        last = UINT64_MAX;
        if (!has_last) {
            return RANGE_OUTSIDE;
        }
    }
    if (first >= size) {
        return RANGE_OUTSIDE;
    }
    last = has_last && last < size ? last : size - 1;
    *ret_offset = first;
    *ret_length = last - first + 1;
    return RANGE_GOOD;
}

/* Whether an If-None-Match list names the entity. Weak comparison: W/ does not count. */
static bool list_names(struct sw_str list, struct sw_str etag) {
    if (sw_str_is(sw_str_trim(list), "*")) {
        return true;
    }
    if (sw_str_starts(etag, SW_STR("W/"))) {
        etag = (struct sw_str){etag.data + 2, etag.len - 2};
    }
    /* Within quotes there may be commas, so the list is walked tag by tag. */
    for (;;) {
        const char *open = list.len ? memchr(list.data, '"', list.len) : NULL;
        size_t before = open ? (size_t)(open - list.data) : 0;
        const char *close = open ? memchr(open + 1, '"', list.len - before - 1) : NULL;
        if (!close) {
            return false;
        }
        if (sw_str_eq((struct sw_str){open, (size_t)(close - open) + 1}, etag)) {
            return true;
        }
        list = (struct sw_str){close + 1, list.len - (size_t)(close + 1 - list.data)};
    }
}

static bool is_unchanged(struct sw_http_exchange *x, const char *etag) {
    struct sw_str list = etag ? sw_http_header(x, "If-None-Match") : (struct sw_str){NULL, 0};
    return list.data && (x->method == SW_HTTP_GET || x->method == SW_HTTP_HEAD) && list_names(list, sw_str_of(etag));
}

static enum range wanted_range(struct sw_http_exchange *x, uint64_t size, const char *etag, uint64_t *ret_offset,
                               uint64_t *ret_length) {
    struct sw_str range = x->method == SW_HTTP_GET ? sw_http_header(x, "Range") : (struct sw_str){NULL, 0};
    struct sw_str condition = range.data ? sw_http_header(x, "If-Range") : (struct sw_str){NULL, 0};
    if (!range.data) {
        return RANGE_NONE;
    }
    /* Strong comparison; a date is never the present one, since files here have none. */
    if (condition.data && (!etag || etag[0] != '"' || !sw_str_is(sw_str_trim(condition), etag))) {
        return RANGE_NONE;
    }
    return parse_range(range, size, ret_offset, ret_length);
}

static void refuse_range(struct sw_http_exchange *x, uint64_t size) {
    sw_http_reply_status(x, SW_E_INVALID_ARGUMENT, "Range lies outside the %llu bytes of the file",
                         (unsigned long long)size);
    x->status = 416;
}

/* false: the answer says why not. */
static bool is_sendable(struct sw_http_exchange *x, int fd, uint64_t length) {
    struct stat info;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size >= length) {
        return true;
    }
    sw_http_reply_status(x, SW_E_IO, "the file is shorter than the %llu bytes it should have",
                         (unsigned long long)length);
    return false;
}

/* "bytes FIRST-LAST/SIZE", or "bytes * /SIZE" (without the blank) when length is 0. */
static bool add_content_range(struct sw_http_exchange *x, uint64_t offset, uint64_t length, uint64_t size) {
    const unsigned long long first = offset, last = offset + length - 1, all = size;
    const char *value = length ? sw_arena_printf(&x->arena, "bytes %llu-%llu/%llu", first, last, all)
                               : sw_arena_printf(&x->arena, "bytes */%llu", all);
    if (!value) {
        sw_http_reply_status(x, SW_E_UNAVAILABLE, "no memory for the answer");
        return false;
    }
    sw_http_add_header(x, "Content-Range", value);
    return true;
}

void sw_http_reply_file(struct sw_http_exchange *x, const char *content_type, int fd, uint64_t length,
                        const char *etag) {
    struct request *r = sw_http_request_of(x);
    uint64_t offset = 0, part = length;
    SW_ASSERT(fd >= 0 && fd != r->file.fd);
    sw_http_reply(x, 200, content_type, (struct sw_str){NULL, 0});
    r->file.fd = fd; /* from here on every other answer closes it */
    if (!is_sendable(x, fd, length)) {
        return;
    }
    sw_http_add_header(x, "Accept-Ranges", "bytes");
    if (etag) {
        sw_http_add_header(x, "ETag", etag);
    }
    if (is_unchanged(x, etag)) {
        x->status = 304;
    } else {
        switch (wanted_range(x, length, etag, &offset, &part)) {
        case RANGE_NONE: break;
        case RANGE_GOOD: x->status = add_content_range(x, offset, part, length) ? 206 : x->status; break;
        case RANGE_OUTSIDE:
            if (add_content_range(x, 0, 0, length)) {
                refuse_range(x, length);
            }
            break;
        }
    }
    r->file.offset = offset;
    r->file.length = part;
}

struct MHD_Response *sw_http_file_response(struct request *r) {
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(r->file.length, r->file.fd, r->file.offset);
    if (response) {
        r->file.fd = -1; /* closed with the response */
    }
    return response;
}

void sw_http_file_drop(struct request *r) {
    if (r->file.fd >= 0) {
        close(r->file.fd);
        r->file.fd = -1;
    }
}
