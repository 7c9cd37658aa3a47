/* Content codings with zlib: request bodies are inflated within their limit, answers packed when the client takes it.
 *
 * Requests: gzip (also of several members) and deflate, with or without the zlib wrapper, since clients send both.
 * Answers: level 1, because an answer is sent once and a core is worth more than the last per cent. Each I/O thread
 * keeps one deflater. */
#include "base/memory.h"
#include "http/http_internal.h"

enum { WRAP_RAW = -MAX_WBITS, WRAP_ZLIB = MAX_WBITS, WRAP_GZIP = MAX_WBITS + 16, CHUNK_MAX = 1 << 30 };

static voidpf zlib_alloc(voidpf opaque, uInt count, uInt size) {
    return sw_calloc(count, size);
}

static void zlib_free(voidpf opaque, voidpf p) {
    sw_free(p);
}

/* q=0.5 -> 500. What is malformed counts as 0: such a coding is not used. */
static int parse_quality(struct sw_str parameters) {
    struct sw_str one;
    while (parameters.data) {
        parameters = sw_str_split(parameters, ';', &one);
        one = sw_str_trim(one);
        if (one.len < 3 || (one.data[0] | 0x20) != 'q' || one.data[1] != '=') {
            continue;
        }
        int value = 0, scale = 1000;
        for (size_t i = 2; i < one.len; i++) {
            char c = one.data[i];
            if (c == '.' && i == 3) {
                continue;
            }
            if (c < '0' || c > '9' || scale == 0) {
                return 0;
            }
            value += (c - '0') * scale;
            scale /= 10;
        }
        return value > 1000 ? 0 : value;
    }
    return 1000;
}

void sw_http_accept_encoding_parse(struct sw_str value, struct accept_encoding *accept) {
    struct sw_str item;
    while (value.data) {
        value = sw_str_split(value, ',', &item);
        struct sw_str name, parameters = sw_str_split(item, ';', &name);
        name = sw_str_trim(name);
        if (sw_str_ieq(name, SW_STR("gzip")) || sw_str_ieq(name, SW_STR("x-gzip"))) {
            accept->gzip = parse_quality(parameters);
        } else if (sw_str_ieq(name, SW_STR("deflate"))) {
            accept->deflate = parse_quality(parameters);
        } else if (sw_str_is(name, "*")) {
            accept->any = parse_quality(parameters);
        }
    }
}

/* Inflates all of raw into decoded. SW_E_INVALID_ARGUMENT: not such a stream. */
static sw_status inflate_all(struct request *r, z_stream *z, struct sw_error *err) {
    struct body *out = &r->decoded;
    z->next_in = (Bytef *)r->raw.data;
    z->avail_in = (uInt)r->raw.len; /* sw_http_decode checks that it fits */
    for (;;) {
        if (out->len == out->capacity) {
            /* One byte beyond the limit, so that a body of exactly the limit is seen to end there. */
            size_t most = r->body_limit + 1;
            if (out->capacity >= most) {
                return sw_fail(err, SW_E_TOO_LARGE, "the body is larger than the limit of %zu bytes when decompressed",
                               r->body_limit);
            }
            size_t capacity = out->capacity ? out->capacity * 2 : r->raw.len * 4 + 1024;
            SW_TRY(sw_http_body_grow(r, out, capacity < most ? capacity : most, err));
        }
        size_t room = out->capacity - out->len;
        room = room < CHUNK_MAX ? room : CHUNK_MAX;
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_NO_FLUSH);
        out->len += room - z->avail_out;
        if (rc == Z_STREAM_END && z->avail_in > 0 && r->encoding == ENCODING_GZIP) {
            rc = inflateReset(z); /* another member */
        } else if (rc == Z_STREAM_END && z->avail_in == 0) {
            break;
        } else if (rc == Z_STREAM_END) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "%u bytes follow the compressed body", z->avail_in);
        }
        if (rc == Z_MEM_ERROR) {
            return sw_fail(err, SW_E_UNAVAILABLE, "no memory to decompress the body");
        }
        if (rc == Z_BUF_ERROR && z->avail_in == 0) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "the compressed body ends too early");
        }
        if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "the compressed body is damaged: %s",
                           z->msg ? z->msg : "not such a stream");
        }
    }
    if (out->len > r->body_limit) {
        return sw_fail(err, SW_E_TOO_LARGE, "the body is larger than the limit of %zu bytes when decompressed",
                       r->body_limit);
    }
    return SW_OK;
}

static sw_status inflate_as(struct request *r, int wrap, struct sw_error *err) {
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    if (inflateInit2(&z, wrap) != Z_OK) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory to decompress the body");
    }
    sw_status status = inflate_all(r, &z, err);
    inflateEnd(&z);
    return status;
}

/* RFC 1950: the method is 8 and the two bytes are a multiple of 31. */
static bool looks_like_zlib(const struct body *body) {
    const unsigned char *b = (const unsigned char *)body->data;
    return body->len >= 2 && (b[0] & 0x0f) == 8 && ((unsigned)b[0] << 8 | b[1]) % 31 == 0;
}

sw_status sw_http_decode(struct request *r, struct sw_error *err) {
    if (r->encoding == ENCODING_IDENTITY) {
        r->x.body = (struct sw_str){r->raw.data, r->raw.len};
        return SW_OK;
    }
    if (r->raw.len == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the body is empty but has a Content-Encoding");
    }
    if (r->raw.len > UINT32_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "a compressed body of %zu bytes is too large", r->raw.len);
    }
    sw_status status;
    if (r->encoding == ENCODING_GZIP) {
        status = inflate_as(r, WRAP_GZIP, err);
    } else {
        status = inflate_as(r, looks_like_zlib(&r->raw) ? WRAP_ZLIB : WRAP_RAW, err);
        if (status == SW_E_INVALID_ARGUMENT && looks_like_zlib(&r->raw)) {
            r->decoded.len = 0;
            struct sw_error second; /* the first message is the better one: nearly all send the wrapper */
            sw_status again = inflate_as(r, WRAP_RAW, &second);
            status = again == SW_OK ? SW_OK : status;
        }
    }
    if (status == SW_OK) {
        r->x.body = (struct sw_str){r->decoded.data, r->decoded.len};
        sw_http_body_release(r, &r->raw);
    }
    return status;
}

/* The coding to use: WRAP_GZIP, WRAP_ZLIB or 0. Bytes without a known form are packed only for who names a coding. */
static int choose(const struct accept_encoding *accept, bool must_be_named) {
    int any = must_be_named || accept->any < 0 ? 0 : accept->any;
    int gzip = accept->gzip < 0 ? any : accept->gzip;
    int deflate = accept->deflate < 0 ? 0 : accept->deflate;
    if (gzip <= 0 && deflate <= 0) {
        return 0;
    }
    return gzip >= deflate ? WRAP_GZIP : WRAP_ZLIB;
}

static bool is_packed_already(struct sw_str type) {
    static const char *const prefixes[] = {"image/",          "video/",           "audio/",          "font/",
                                           "application/zip", "application/gzip", "application/zstd"};
    if (sw_str_starts(type, SW_STR("image/svg"))) {
        return false;
    }
    for (size_t i = 0; i < SW_COUNTOF(prefixes); i++) {
        if (sw_str_starts(type, sw_str_of(prefixes[i]))) {
            return true;
        }
    }
    return false;
}

static z_stream *deflater(struct sw_http_io *io, int wrap) {
    if (io->deflater && io->deflater_wrap == wrap) {
        return deflateReset(io->deflater) == Z_OK ? io->deflater : NULL;
    }
    sw_http_io_end_encoding(io);
    z_stream *z = sw_calloc(1, sizeof *z);
    if (!z) {
        return NULL;
    }
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    if (deflateInit2(z, 1, Z_DEFLATED, wrap, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        sw_free(z);
        return NULL;
    }
    io->deflater = z;
    io->deflater_wrap = wrap;
    return z;
}

void sw_http_io_end_encoding(struct sw_http_io *io) {
    if (io->deflater) {
        deflateEnd(io->deflater);
        sw_free(io->deflater);
        io->deflater = NULL;
    }
}

/* Length of the packed body, or 0 when it does not become smaller than `room`. */
static size_t pack(z_stream *z, const struct sw_http_exchange *x, char *out, size_t room) {
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)room;
    for (size_t i = 0; i < x->part_count; i++) {
        z->next_in = (Bytef *)x->parts[i].data;
        z->avail_in = (uInt)x->parts[i].len;
        if (z->avail_in && (deflate(z, Z_NO_FLUSH) != Z_OK || z->avail_in)) {
            return 0;
        }
    }
    return deflate(z, Z_FINISH) == Z_STREAM_END ? room - z->avail_out : 0;
}

static bool may_be_encoded(const struct sw_http_exchange *x, size_t len) {
    if (len < x->server->options.gzip_min || len == 0 || len > CHUNK_MAX || x->status == 204 || x->status == 304) {
        return false;
    }
    for (size_t i = 0; i < x->header_count; i++) {
        if (sw_str_ieq(sw_str_of(x->headers[i].name), SW_STR("Content-Encoding"))) {
            return false;
        }
    }
    return !is_packed_already(sw_str_of(x->content_type));
}

void sw_http_encode(struct sw_http_io *io, struct request *r) {
    struct sw_http_exchange *x = &r->x;
    size_t len = 0;
    for (size_t i = 0; i < x->part_count; i++) {
        len += x->parts[i].len;
    }
    if (!may_be_encoded(x, len) || x->header_count + 2 > SW_HTTP_HEADERS_MAX) {
        return;
    }
    sw_http_add_header(x, "Vary", "Accept-Encoding");
    int wrap = choose(&r->accept, sw_str_is(sw_str_of(x->content_type), "application/octet-stream"));
    z_stream *z = wrap ? deflater(io, wrap) : NULL;
    char *out = z ? sw_arena_alloc_aligned(&x->arena, len, 1) : NULL;
    size_t packed = out ? pack(z, x, out, len) : 0;
    if (packed) {
        x->parts[0] = (struct sw_str){out, packed};
        x->part_count = 1;
        sw_http_add_header(x, "Content-Encoding", wrap == WRAP_GZIP ? "gzip" : "deflate");
    }
}
