/* Making of requests; see request.h. */
#include "load/request.h"

#include "load/load_internal.h"

enum { METHOD_MAX = 32, HEAD_MAX = 1 << 20 };

/* --- headers and methods given by hand ---------------------------------------------------------------------------- */

bool sw_load_is_token(struct sw_str s) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i], lower = (char)(c | 0x20);
        bool plain = (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z');
        if (!plain && (c == '\0' || !strchr(others, c))) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_one_of(struct sw_str name, const char *const *names) {
    for (; *names; names++) {
        if (sw_str_ieq(name, sw_str_of(*names))) {
            return true;
        }
    }
    return false;
}

sw_status sw_load_header_parse(struct sw_str text, struct sw_load_header *ret, struct sw_error *err) {
    static const char *const framing[] = {"content-length", "transfer-encoding", "connection", "expect",
                                          "upgrade",        "keep-alive",        "te",         NULL};
    struct sw_str name;
    struct sw_str value = sw_str_split(text, ':', &name);
    if (!value.data || !sw_load_is_token(name)) {
        return sw_fail(err, SW_E_USAGE, "'" SW_STR_FMT "' is no header; write 'Name: value'", SW_STR_ARG(text));
    }
    if (is_one_of(name, framing)) {
        return sw_fail(err, SW_E_USAGE, "the header " SW_STR_FMT " is not set by hand", SW_STR_ARG(name));
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return sw_fail(err, SW_E_USAGE, "a control character in the header " SW_STR_FMT, SW_STR_ARG(name));
        }
    }
    *ret = (struct sw_load_header){name, sw_str_trim(value)};
    return SW_OK;
}

static bool contains(struct sw_str s, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.len; i++) {
        if (strncasecmp(s.data + i, word, n) == 0) {
            return true;
        }
    }
    return false;
}

bool sw_load_header_is_secret(const struct sw_load_header *header) {
    static const char *const words[] = {"auth", "cookie", "key", "token", "secret", "password", NULL};
    for (const char *const *word = words; *word; word++) {
        if (contains(header->name, *word)) {
            return true;
        }
    }
    return false;
}

sw_status sw_load_method_check(struct sw_str method, struct sw_error *err) {
    bool capitals = sw_load_is_token(method) && method.len <= METHOD_MAX;
    for (size_t i = 0; i < method.len; i++) {
        capitals &= !(method.data[i] >= 'a' && method.data[i] <= 'z');
    }
    if (!capitals || sw_str_is(method, "CONNECT") || sw_str_is(method, "TRACE")) {
        return sw_fail(err, SW_E_USAGE, "'" SW_STR_FMT "' is no method such as GET, POST or PUT", SW_STR_ARG(method));
    }
    return SW_OK;
}

/* --- content types ------------------------------------------------------------------------------------------------ */

const char *sw_load_content_type(struct sw_str body) {
    static const struct {
        struct sw_str magic;
        const char *type;
    } types[] = {
        {{"\x89PNG\r\n\x1a\n", 8}, "image/png"},
        {{"\xff\xd8\xff", 3}, "image/jpeg"},
        {{"GIF87a", 6}, "image/gif"},
        {{"GIF89a", 6}, "image/gif"},
        {{"BM", 2}, "image/bmp"},
    };
    for (size_t i = 0; i < SW_COUNTOF(types); i++) {
        if (sw_str_starts(body, types[i].magic)) {
            return types[i].type;
        }
    }
    if (body.len >= 12 && memcmp(body.data, "RIFF", 4) == 0 && memcmp(body.data + 8, "WEBP", 4) == 0) {
        return "image/webp";
    }
    size_t i = 0;
    while (i < body.len && body.data[i] && strchr(" \t\r\n", body.data[i])) {
        i++;
    }
    bool json = i < body.len && (body.data[i] == '{' || body.data[i] == '[');
    return json ? "application/json" : "application/octet-stream";
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static bool has_header(const struct sw_load_request_parts *parts, const char *name) {
    for (size_t i = 0; i < parts->header_count; i++) {
        if (sw_str_ieq(parts->headers[i].name, sw_str_of(name))) {
            return true;
        }
    }
    return false;
}

static void add_header(struct sw_buf *out, const char *name, struct sw_str value) {
    sw_buf_printf(out, "%s: ", name);
    sw_buf_append_str(out, value);
    SW_LIT(out, "\r\n");
}

/* Every method but those without a meaning for bodies says how long its body is, also when that is 0. */
static bool says_length(const struct sw_load_request_parts *parts, const char *method) {
    return parts->body.data || !strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH");
}

sw_status sw_load_request_make(const struct sw_load_request_parts *parts, struct sw_buf *ret, struct sw_error *err) {
    struct sw_buf out;
    const char *method = parts->method ? parts->method : parts->body.data ? "POST" : "GET";
    sw_buf_init(&out, HEAD_MAX + parts->body.len);
    sw_buf_printf(&out, "%s %s HTTP/1.1\r\n", method, parts->url->target);
    if (!has_header(parts, "host")) {
        add_header(&out, "Host", sw_str_of(parts->url->authority));
    }
    if (!has_header(parts, "user-agent")) {
        SW_LIT(&out, "User-Agent: slipway-load/" SW_VERSION "\r\n");
    }
    if (parts->body.data && !has_header(parts, "content-type")) {
        add_header(&out, "Content-Type",
                   sw_str_of(parts->content_type ? parts->content_type : sw_load_content_type(parts->body)));
    }
    if (says_length(parts, method)) {
        sw_buf_printf(&out, "Content-Length: %zu\r\n", parts->body.len);
    }
    for (size_t i = 0; i < parts->header_count; i++) {
        sw_buf_append_str(&out, parts->headers[i].name);
        SW_LIT(&out, ": ");
        sw_buf_append_str(&out, parts->headers[i].value);
        SW_LIT(&out, "\r\n");
    }
    SW_LIT(&out, "\r\n");
    sw_buf_append_str(&out, parts->body);
    if (out.failed) {
        sw_buf_deinit(&out);
        return sw_fail(err, SW_E_TOO_LARGE, "no memory for a request of %zu bytes, or more than %d of headers",
                       parts->body.len, HEAD_MAX);
    }
    *ret = out;
    return SW_OK;
}
