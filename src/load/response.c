/* Reader of answers; see response.h. Lines (status, headers, sizes of chunks) are taken whole by take_line; bodies are
 * only counted. */
#include "load/response.h"

#include "load/load_internal.h"

enum { CHUNK_LINE_MAX = 4096 };

void sw_response_init(struct sw_response *r, bool to_head, uint64_t body_max) {
    struct sw_buf line = r->line;
    memset(r, 0, offsetof(struct sw_response, sample));
    r->sample_len = 0;
    r->to_head = to_head;
    r->body_max = body_max;
    r->left = r->head_len = r->interim = 0;
    r->http10 = r->keep_alive = r->has_length = r->chunked = r->other_coding = false;
    r->line = line;
    if (r->line.max == 0) {
        sw_buf_init(&r->line, SW_RESPONSE_HEAD_MAX);
    }
    sw_buf_clear(&r->line);
}

void sw_response_deinit(struct sw_response *r) {
    if (r->line.max) {
        sw_buf_deinit(&r->line);
    }
    *r = (struct sw_response){0};
}

static enum sw_response_result bad(struct sw_response *r, const char *reason) {
    r->state = SW_RESPONSE_END;
    r->reason = reason;
    r->close = true;
    return SW_RESPONSE_BAD;
}

static enum sw_response_result too_large(struct sw_response *r) {
    r->state = SW_RESPONSE_END;
    r->reason = "the body is larger than the limit";
    r->close = true;
    return SW_RESPONSE_TOO_LARGE;
}

static enum sw_response_result done(struct sw_response *r) {
    r->state = SW_RESPONSE_END;
    if (r->http10 && !r->keep_alive) {
        r->close = true;
    }
    return SW_RESPONSE_DONE;
}

/* --- the status line --------------------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static enum sw_response_result read_status_line(struct sw_response *r, struct sw_str line) {
    const char *p = line.data;
    if (line.len < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !is_digit(p[7]) || p[8] != ' ') {
        return bad(r, "no HTTP/1.x status line");
    }
    if (!is_digit(p[9]) || !is_digit(p[10]) || !is_digit(p[11]) || (line.len > 12 && p[12] != ' ')) {
        return bad(r, "the status is not three digits");
    }
    r->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    if (r->status < 100 || r->status > 599) {
        return bad(r, "the status is not between 100 and 599");
    }
    if (r->status == 101) {
        return bad(r, "the server switches protocols, which was not asked for");
    }
    r->http10 = p[7] == '0';
    r->state = SW_RESPONSE_HEADERS;
    return SW_RESPONSE_MORE;
}

/* --- headers ----------------------------------------------------------------------------------------------------- */

/* "5" and "5, 5". */
static enum sw_response_result read_length(struct sw_response *r, struct sw_str value) {
    do {
        struct sw_str part;
        uint64_t length;
        value = sw_str_split(value, ',', &part);
        if (!sw_parse_u64(sw_str_trim(part), &length)) {
            return bad(r, "Content-Length is not a number");
        }
        if (r->has_length && length != r->left) {
            return bad(r, "two different Content-Length");
        }
        r->has_length = true;
        r->left = length;
    } while (value.data);
    return SW_RESPONSE_MORE;
}

static void read_connection(struct sw_response *r, struct sw_str value) {
    do {
        struct sw_str part;
        value = sw_str_split(value, ',', &part);
        part = sw_str_trim(part);
        r->close |= sw_str_ieq(part, SW_STR("close"));
        r->keep_alive |= sw_str_ieq(part, SW_STR("keep-alive"));
    } while (value.data);
}

/* Chunked must be the last coding and stand once; without it the body ends with the connection. */
static enum sw_response_result read_coding(struct sw_response *r, struct sw_str value) {
    do {
        struct sw_str part;
        value = sw_str_split(value, ',', &part);
        part = sw_str_trim(part);
        if (r->chunked) {
            return bad(r, "a transfer coding behind chunked");
        }
        if (sw_str_ieq(part, SW_STR("chunked"))) {
            r->chunked = true;
        } else {
            r->other_coding = true;
        }
    } while (value.data);
    return SW_RESPONSE_MORE;
}

static enum sw_response_result read_header(struct sw_response *r, struct sw_str line, bool trailer) {
    struct sw_str name;
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        return bad(r, "a folded header");
    }
    if (memchr(line.data, '\0', line.len) || memchr(line.data, '\r', line.len)) {
        return bad(r, "a NUL or CR in a header");
    }
    struct sw_str value = sw_str_split(line, ':', &name);
    if (!value.data || !sw_load_is_token(name)) {
        return bad(r, "a malformed header");
    }
    if (trailer || r->status < 200) {
        return SW_RESPONSE_MORE;
    }
    value = sw_str_trim(value);
    if (sw_str_ieq(name, SW_STR("content-length"))) {
        return read_length(r, value);
    }
    if (sw_str_ieq(name, SW_STR("transfer-encoding"))) {
        return read_coding(r, value);
    }
    if (sw_str_ieq(name, SW_STR("connection"))) {
        read_connection(r, value);
    }
    return SW_RESPONSE_MORE;
}

/* The empty line has come: is there a body, and how does it end? RFC 9112, 6.3. */
static enum sw_response_result end_headers(struct sw_response *r) {
    if (r->status < 200) {
        r->state = SW_RESPONSE_STATUS_LINE;
        return ++r->interim > SW_RESPONSE_INTERIM_MAX ? bad(r, "too many 1xx answers") : SW_RESPONSE_MORE;
    }
    if ((r->chunked || r->other_coding) && r->has_length) {
        return bad(r, "both Content-Length and Transfer-Encoding");
    }
    if (r->to_head || r->status == 204 || r->status == 304) {
        return done(r);
    }
    if (r->chunked) {
        r->close |= r->http10;
        r->state = SW_RESPONSE_CHUNK_SIZE;
        return SW_RESPONSE_MORE;
    }
    if (!r->has_length) {
        r->close = true;
        r->state = SW_RESPONSE_BODY_REST;
        return SW_RESPONSE_MORE;
    }
    if (r->left > r->body_max) {
        return too_large(r);
    }
    r->state = SW_RESPONSE_BODY;
    return r->left ? SW_RESPONSE_MORE : done(r);
}

/* --- chunks ------------------------------------------------------------------------------------------------------ */

static int hex_digit(char c) {
    char lower = (char)(c | 0x20);
    return is_digit(c) ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* "1a", "1a;name=value" */
static enum sw_response_result read_chunk_size(struct sw_response *r, struct sw_str line) {
    size_t i = 0;
    uint64_t size = 0;
    if (line.len > CHUNK_LINE_MAX) {
        return bad(r, "the line of a chunk's size is too long");
    }
    for (; i < line.len && hex_digit(line.data[i]) >= 0; i++) {
        if (size >> 60) {
            return bad(r, "the size of a chunk is too large");
        }
        size = size << 4 | (uint64_t)hex_digit(line.data[i]);
    }
    struct sw_str rest = sw_str_trim((struct sw_str){line.data + i, line.len - i});
    if (i == 0 || (rest.len && rest.data[0] != ';')) {
        return bad(r, "the size of a chunk is not a hexadecimal number");
    }
    r->head_len = 0; /* the limit is one of lines without a body between them */
    if (size == 0) {
        r->state = SW_RESPONSE_TRAILERS;
        return SW_RESPONSE_MORE;
    }
    if (size > r->body_max || r->body_len > r->body_max - size) {
        return too_large(r);
    }
    r->left = size;
    r->state = SW_RESPONSE_CHUNK;
    return SW_RESPONSE_MORE;
}

/* --- lines and bodies -------------------------------------------------------------------------------------------- */

static enum sw_response_result read_line(struct sw_response *r, struct sw_str line) {
    if (line.len && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    switch (r->state) {
    case SW_RESPONSE_STATUS_LINE: return read_status_line(r, line);
    case SW_RESPONSE_HEADERS: return line.len ? read_header(r, line, false) : end_headers(r);
    case SW_RESPONSE_CHUNK_SIZE: return read_chunk_size(r, line);
    case SW_RESPONSE_CHUNK_END:
        r->state = SW_RESPONSE_CHUNK_SIZE;
        return line.len ? bad(r, "a chunk is longer than its size") : SW_RESPONSE_MORE;
    case SW_RESPONSE_TRAILERS: return line.len ? read_header(r, line, true) : done(r);
    default: SW_ASSERT(!"a state of lines"); return SW_RESPONSE_BAD;
    }
}

/* Takes one line, or what there is of it. */
static enum sw_response_result take_line(struct sw_response *r, const char *data, size_t len, size_t *used) {
    const char *end = memchr(data, '\n', len);
    size_t taken = end ? (size_t)(end - data) + 1 : len;
    *used += taken;
    r->head_len += taken;
    if (r->head_len > SW_RESPONSE_HEAD_MAX) {
        return bad(r, "the headers are larger than 64 KiB");
    }
    if (!end || r->line.len) {
        sw_buf_append(&r->line, data, end ? taken - 1 : taken);
        if (r->line.failed) {
            return bad(r, "no memory for its headers");
        }
    }
    if (!end) {
        return SW_RESPONSE_MORE;
    }
    if (r->line.len == 0) {
        return read_line(r, (struct sw_str){data, taken - 1});
    }
    enum sw_response_result result = read_line(r, sw_buf_str(&r->line));
    sw_buf_clear(&r->line);
    return result;
}

static void keep_sample(struct sw_response *r, const char *data, size_t len) {
    size_t room = sizeof r->sample - r->sample_len;
    if (r->status >= 400 && room) {
        size_t take = len < room ? len : room;
        memcpy(r->sample + r->sample_len, data, take);
        r->sample_len += take;
    }
}

static enum sw_response_result take_body(struct sw_response *r, const char *data, size_t len, size_t *used) {
    bool rest = r->state == SW_RESPONSE_BODY_REST;
    size_t taken = rest || len < r->left ? len : (size_t)r->left;
    keep_sample(r, data, taken);
    *used += taken;
    r->body_len += taken;
    if (rest) {
        return r->body_len > r->body_max ? too_large(r) : SW_RESPONSE_MORE;
    }
    r->left -= taken;
    if (r->left) {
        return SW_RESPONSE_MORE;
    }
    if (r->state == SW_RESPONSE_CHUNK) {
        r->state = SW_RESPONSE_CHUNK_END;
        return SW_RESPONSE_MORE;
    }
    return done(r);
}

enum sw_response_result sw_response_feed(struct sw_response *r, const char *data, size_t len, size_t *ret_used) {
    enum sw_response_result result = SW_RESPONSE_MORE;
    size_t used = 0;
    SW_ASSERT(r->state != SW_RESPONSE_END);
    r->started |= len > 0;
    while (result == SW_RESPONSE_MORE && used < len) {
        bool body = r->state == SW_RESPONSE_BODY || r->state == SW_RESPONSE_BODY_REST || r->state == SW_RESPONSE_CHUNK;
        result = body ? take_body(r, data + used, len - used, &used) : take_line(r, data + used, len - used, &used);
    }
    *ret_used = used;
    return result;
}

enum sw_response_result sw_response_end(struct sw_response *r) {
    if (r->state == SW_RESPONSE_BODY_REST) {
        return done(r);
    }
    r->state = SW_RESPONSE_END;
    return SW_RESPONSE_MORE;
}
