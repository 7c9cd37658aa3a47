/* Answers: setting them, errors in the shape of each protocol, and handing them to libmicrohttpd.
 *
 * Pieces are borrowed from the exchange's arena, which lives until libmicrohttpd reports the request completed, so
 * nothing is copied; only small answers of several pieces are joined, because one system call is cheaper then. */
#include <sys/socket.h>

#include "base/hash.h"
#include "base/memory.h"
#include "http/http_internal.h"

/* A header's text with everything that could end the line replaced. */
static const char *clean(struct sw_http_exchange *x, const char *text) {
    size_t n = 0;
    while ((unsigned char)text[n] >= 0x20 && text[n] != 0x7f) {
        n++;
    }
    if (text[n] == '\0') {
        return text;
    }
    char *copy = sw_arena_strdup(&x->arena, sw_str_of(text));
    for (char *p = copy; p && *p; p++) {
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    }
    return copy ? copy : "?";
}

void sw_http_add_header(struct sw_http_exchange *x, const char *name, const char *value) {
    SW_ASSERT(x->header_count < SW_HTTP_HEADERS_MAX);
    x->headers[x->header_count].name = name;
    x->headers[x->header_count++].value = clean(x, value);
}

/* All parts in one piece of arena memory, with room for `capacity` bytes: pieces joined later are put behind. */
static bool join(struct sw_http_exchange *x, size_t len, size_t capacity) {
    struct request *r = sw_http_request_of(x);
    bool in_place = len <= r->joined_capacity;
    char *all = in_place ? (char *)(uintptr_t)x->parts[0].data : sw_arena_alloc(&x->arena, capacity);
    if (!all) {
        return false;
    }
    r->joined_capacity = in_place ? r->joined_capacity : capacity;
    size_t at = in_place ? x->parts[0].len : 0;
    for (size_t i = in_place; i < x->part_count; i++) {
        if (x->parts[i].len) {
            memcpy(all + at, x->parts[i].data, x->parts[i].len);
        }
        at += x->parts[i].len;
    }
    x->parts[0] = (struct sw_str){all, at};
    x->part_count = 1;
    return true;
}

static size_t body_length(const struct sw_http_exchange *x) {
    size_t len = 0;
    for (size_t i = 0; i < x->part_count; i++) {
        len += x->parts[i].len;
    }
    return len;
}

void sw_http_add_part(struct sw_http_exchange *x, struct sw_str part) {
    if (part.len == 0) {
        return;
    }
    struct request *r = sw_http_request_of(x);
    if (x->part_count == SW_HTTP_PARTS_MAX) {
        size_t len = body_length(x);
        if (!join(x, len, len * 2)) { /* twice: so that many pieces are not copied again and again */
            x->header_count = 0;
            sw_http_reply_status(x, SW_E_UNAVAILABLE, "no memory for the answer");
            r->parts_failed = true;
        }
    }
    if (r->parts_failed) {
        return;
    }
    x->parts[x->part_count++] = part;
}

void sw_http_reply(struct sw_http_exchange *x, int status, const char *content_type, struct sw_str body) {
    struct request *r = sw_http_request_of(x);
    x->status = status;
    x->content_type = content_type;
    x->part_count = 0;
    r->joined_capacity = 0;
    r->parts_failed = false;
    sw_http_file_drop(r);
    sw_http_add_part(x, body);
}

/* MLflow's names of errors. */
static const char *mlflow_code(sw_status code, bool is_routed) {
    switch (code) {
    case SW_E_NOT_FOUND: return is_routed ? "RESOURCE_DOES_NOT_EXIST" : "ENDPOINT_NOT_FOUND";
    case SW_E_METHOD_NOT_ALLOWED: return "ENDPOINT_NOT_FOUND";
    case SW_E_INVALID_ARGUMENT:
    case SW_E_MODEL_INVALID: return "INVALID_PARAMETER_VALUE";
    case SW_E_CONFLICT:
    case SW_E_GATE_FAILED: return "INVALID_STATE";
    case SW_E_UNAUTHORIZED: return "UNAUTHENTICATED";
    case SW_E_FORBIDDEN: return "PERMISSION_DENIED";
    case SW_E_TOO_MANY_REQUESTS: return "REQUEST_LIMIT_EXCEEDED";
    case SW_E_UNAVAILABLE: return "TEMPORARILY_UNAVAILABLE";
    case SW_E_DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case SW_E_INSUFFICIENT_STORAGE: return "RESOURCE_EXHAUSTED";
    case SW_E_DIGEST_MISMATCH: return "DATA_LOSS";
    case SW_E_NOT_IMPLEMENTED: return "NOT_IMPLEMENTED";
    case SW_E_IO: return "IO_ERROR";
    default: return sw_status_http(code) < 500 ? "BAD_REQUEST" : "INTERNAL_ERROR";
    }
}

/* An error answer; what the protocol has no place for is left out. */
struct error_answer {
    const struct sw_error *err;
    enum sw_error_shape shape;
    bool is_routed;
    const char *request_id;
    struct sw_str details; /* a JSON object; data NULL: none */
    uint64_t wall_ms;
};

static void write_members(struct sw_buf *buf, const char *code_key, const char *code, const char *message) {
    sw_buf_printf(buf, "{\"%s\":", code_key);
    sw_buf_append_json(buf, sw_str_of(code));
    SW_LIT(buf, ",\"message\":");
    sw_buf_append_json(buf, sw_str_of(message));
}

/* Native; that of the monitoring API has a timestamp as well, and null where there are no details. */
static void write_native(struct sw_buf *buf, const struct error_answer *a) {
    bool is_monitoring = a->shape == SW_ERROR_MONITORING;
    SW_LIT(buf, "{\"error\":");
    write_members(buf, "code", sw_status_name(a->err->code), a->err->message);
    SW_LIT(buf, ",\"details\":");
    sw_buf_append_str(buf, a->details.data ? a->details : is_monitoring ? SW_STR("null") : SW_STR("{}"));
    if (is_monitoring) {
        char timestamp[SW_TIMESTAMP_MAX];
        sw_format_timestamp(a->wall_ms, timestamp);
        sw_buf_printf(buf, ",\"timestamp\":\"%s\"", timestamp);
    }
    SW_LIT(buf, ",\"request_id\":");
    sw_buf_append_json(buf, sw_str_of(a->request_id));
    SW_LIT(buf, "}}");
}

static void write_error(struct sw_buf *buf, const struct error_answer *a) {
    switch (a->shape) {
    case SW_ERROR_OIP:
        SW_LIT(buf, "{\"error\":");
        sw_buf_append_json(buf, sw_str_of(a->err->message));
        SW_LIT(buf, "}");
        return;
    case SW_ERROR_MLFLOW:
        write_members(buf, "error_code", mlflow_code(a->err->code, a->is_routed), a->err->message);
        SW_LIT(buf, "}");
        return;
    case SW_ERROR_NATIVE:
    case SW_ERROR_MONITORING: write_native(buf, a); return;
    }
}

/* The shape of its errors. */
static enum sw_error_shape shape_of(const struct sw_http_exchange *x) {
    if (x->route) {
        return x->route->error_shape;
    }
    if (sw_str_is(x->path, "/v2") || sw_str_starts(x->path, SW_STR("/v2/"))) {
        return SW_ERROR_OIP;
    }
    static const char monitoring[] = "/monitoring/v1/"; /* at the root, or an application's */
    if (x->path.data && memmem(x->path.data, x->path.len, monitoring, sizeof monitoring - 1)) {
        return SW_ERROR_MONITORING;
    }
    bool is_mlflow = sw_str_starts(x->path, SW_STR("/api/2.0/mlflow")) ||
                     sw_str_starts(x->path, SW_STR("/api/3.0/mlflow"));
    return is_mlflow ? SW_ERROR_MLFLOW : SW_ERROR_NATIVE;
}

static bool has_header(const struct sw_http_exchange *x, const char *name) {
    for (size_t i = 0; i < x->header_count; i++) {
        if (sw_str_ieq(sw_str_of(x->headers[i].name), sw_str_of(name))) {
            return true;
        }
    }
    return false;
}

void sw_http_reply_error(struct sw_http_exchange *x, const struct sw_error *err) {
    sw_http_reply_error_details(x, err, (struct sw_str){NULL, 0});
}

void sw_http_reply_error_details(struct sw_http_exchange *x, const struct sw_error *err, struct sw_str details) {
    struct sw_clock *clock = x->server->options.clock;
    struct error_answer answer = {
        .err = err,
        .shape = shape_of(x),
        .is_routed = x->route != NULL,
        .request_id = x->request_id,
        .details = details,
        .wall_ms = clock->wall_ms(clock),
    };
    struct sw_buf buf;
    sw_buf_init_arena(&buf, &x->arena, 8 * SW_ERROR_MESSAGE_MAX + details.len);
    write_error(&buf, &answer);
    struct sw_str body = buf.failed ? SW_STR("{\"error\":\"out of memory\"}") : sw_buf_str(&buf);
    sw_http_reply(x, sw_status_http(err->code), "application/json", body);
    x->error = err->code;
    if ((x->status == 429 || x->status == 503) && !has_header(x, "Retry-After")) {
        sw_http_add_header(x, "Retry-After", "1");
    }
}

void sw_http_reply_status(struct sw_http_exchange *x, sw_status code, const char *fmt, ...) {
    struct sw_error err = {.code = code};
    char message[SW_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    sw_error_set(&err, code, SW_ORIGIN, "%s", message);
    sw_http_reply_error(x, &err);
}

void sw_http_send_raw(int fd, sw_status code, const char *message, const char *request_id) {
    char own_id[33], body_text[1024], head[512];
    if (!request_id || !*request_id) {
        sw_random_id(own_id);
        request_id = own_id;
    }
    struct sw_buf body = {.data = body_text, .capacity = sizeof body_text, .max = sizeof body_text - 1};
    struct sw_error err = {.code = code};
    sw_error_set(&err, code, SW_ORIGIN, "%s", message);
    write_error(&body, &(struct error_answer){.err = &err, .shape = SW_ERROR_NATIVE, .request_id = request_id});
    int status = sw_status_http(code);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s"
                     "X-Request-Id: %s\r\nConnection: close\r\n\r\n",
                     status, MHD_get_reason_phrase_for((unsigned)status), body.len,
                     status == 503 ? "Retry-After: 1\r\n" : "", request_id);
    if (body.failed || n < 0 || (size_t)n >= sizeof head) {
        return;
    }
    struct iovec pieces[] = {{head, (size_t)n}, {body_text, body.len}};
    struct msghdr message_header = {.msg_iov = pieces, .msg_iovlen = 2};
    /* The connection ends in any case; a peer that takes no answer gets none. */
    (void)!sendmsg(fd, &message_header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void sw_http_send_raw_reply(int fd, struct sw_http_exchange *x) {
    struct sw_buf head;
    SW_ASSERT(sw_http_request_of(x)->file.fd < 0);
    sw_buf_init_arena(&head, &x->arena, 64 * 1024);
    sw_buf_printf(&head, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nX-Request-Id: %s\r\nConnection: close\r\n",
                  x->status, MHD_get_reason_phrase_for((unsigned)x->status), body_length(x), x->request_id);
    if (x->content_type) {
        sw_buf_printf(&head, "Content-Type: %s\r\n", x->content_type);
    }
    for (size_t i = 0; i < x->header_count; i++) {
        sw_buf_printf(&head, "%s: %s\r\n", x->headers[i].name, x->headers[i].value);
    }
    SW_LIT(&head, "\r\n");
    struct iovec pieces[SW_HTTP_PARTS_MAX + 1] = {{head.data, head.len}};
    for (size_t i = 0; i < x->part_count; i++) {
        pieces[i + 1] = (struct iovec){(void *)(uintptr_t)x->parts[i].data, x->parts[i].len};
    }
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = x->part_count + 1};
    if (!head.failed) {
        /* The connection ends in any case; a peer that takes no answer gets none. */
        (void)!sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

static struct MHD_Response *from_pieces(const struct sw_http_exchange *x) {
    struct MHD_IoVec pieces[SW_HTTP_PARTS_MAX];
    for (size_t i = 0; i < x->part_count; i++) {
        pieces[i] = (struct MHD_IoVec){x->parts[i].data, x->parts[i].len};
    }
    return MHD_create_response_from_iovec(pieces, (unsigned)x->part_count, NULL, NULL);
}

static struct MHD_Response *make(struct sw_http_exchange *x) {
    size_t len = body_length(x);
    if (x->part_count > 1 && (len > JOIN_MAX || !join(x, len, len))) {
        return from_pieces(x);
    }
    /* Persistent: libmicrohttpd neither copies nor frees nor writes it. */
    void *data = len ? (void *)(uintptr_t)x->parts[0].data : (void *)(uintptr_t) "";
    return MHD_create_response_from_buffer(len, data, MHD_RESPMEM_PERSISTENT);
}

static bool add_headers(struct MHD_Response *response, const struct sw_http_exchange *x, bool close) {
    bool good = MHD_add_response_header(response, "X-Request-Id", x->request_id) == MHD_YES;
    if (x->content_type && good) {
        good = MHD_add_response_header(response, "Content-Type", x->content_type) == MHD_YES;
    }
    for (size_t i = 0; i < x->header_count && good; i++) {
        /* libmicrohttpd refuses an empty value, and leaving such a header out means the same. */
        good = x->headers[i].value[0] == '\0' ||
               MHD_add_response_header(response, x->headers[i].name, x->headers[i].value) == MHD_YES;
    }
    if (close && good) {
        good = MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    }
    return good;
}

/* MHD_NO ends the connection: no memory, or the acceptor has ended it. */
enum MHD_Result sw_http_send_reply(struct sw_http_connection *c, struct request *r) {
    struct sw_http_exchange *x = &r->x;
    struct sw_http_server *server = x->server;
    SW_ASSERT(x->status >= 200 && x->status <= 599);
    sw_http_encode(c->io, r);
    struct MHD_Response *response = r->file.fd >= 0 ? sw_http_file_response(r) : make(x);
    if (!response) {
        return MHD_NO;
    }
    bool close = x->close || atomic_load_explicit(&server->draining, memory_order_relaxed);
    enum MHD_Result result = MHD_NO;
    if (add_headers(response, x, close) && sw_http_step(c, STATE_SENDING)) {
        result = MHD_queue_response(c->mhd, (unsigned)x->status, response);
    }
    MHD_destroy_response(response);
    r->answered = result == MHD_YES;
    return result;
}
