/* Exchanges: their pool, their identity, and what handlers ask of them.
 *
 * Each I/O thread keeps the exchanges it does not use now in a stack, newest on top, so that the memory a request
 * touches is the memory the last one touched. The stack is bounded in count and in bytes. */
#include <errno.h>
#include <sys/socket.h>

#include "base/hash.h"
#include "base/memory.h"
#include "http/http_internal.h"

struct request *sw_http_request_of(struct sw_http_exchange *x) {
    return (struct request *)x; /* its first member */
}

const char *sw_http_method_name(enum sw_http_method method) {
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OTHER"};
    return names[method <= SW_HTTP_OTHER ? method : SW_HTTP_OTHER];
}

static struct request *make(struct sw_http_server *server) {
    struct request *r = sw_aligned_alloc(SW_CACHE_LINE, (sizeof *r + SW_CACHE_LINE - 1) & ~(size_t)(SW_CACHE_LINE - 1));
    if (!r) {
        return NULL;
    }
    memset(r, 0, sizeof *r);
    sw_arena_init(&r->x.arena, server->arena_max, ARENA_RETAIN);
    r->file.fd = -1;
    r->x.server = server;
    r->x.app = server->options.app;
    return r;
}

struct request *sw_http_request_take(struct sw_http_io *io) {
    struct request *r = io->pool;
    if (!r) {
        return make(io->server);
    }
    io->pool = r->next;
    io->pool_count--;
    io->pool_bytes -= r->x.arena.allocated;
    r->next = NULL;
    return r;
}

/* Back to the state after make(). The big arrays are not cleared: their counts are. */
static void reset(struct request *r) {
    struct sw_http_exchange *x = &r->x;
    sw_arena_reset(&x->arena);
    x->route = NULL;
    x->path = x->body = (struct sw_str){NULL, 0};
    memset(x->params, 0, sizeof x->params);
    x->timeout = x->priority = (struct sw_str){NULL, 0};
    x->cache_control = (struct sw_cache_control){0};
    x->request_id[0] = '\0';
    x->status = 0;
    x->header_count = x->part_count = 0;
    x->content_type = NULL;
    x->error = SW_OK;
    x->owner = x->state = NULL;
    x->close = false;
    x->connection = NULL;
    r->raw = r->decoded = (struct body){0};
    r->received = 0;
    r->discarded = r->joined_capacity = 0;
    r->parts_failed = false;
    r->stream = STREAM_NONE;
    r->expects_body = r->expects_continue = r->rejected = r->discard = r->busy = r->answered = r->linger = false;
    atomic_store_explicit(&r->async, ASYNC_NONE, memory_order_relaxed);
}

static void destroy(struct request *r) {
    sw_arena_deinit(&r->x.arena);
    sw_free(r);
}

void sw_http_request_release(struct sw_http_io *io, struct request *r) {
    sw_http_bodies_release(r);
    sw_http_file_drop(r);
    reset(r);
    if (io->pool_count >= POOL_MAX || io->pool_bytes + r->x.arena.allocated > POOL_RETAIN) {
        destroy(r);
        return;
    }
    r->next = io->pool;
    io->pool = r;
    io->pool_count++;
    io->pool_bytes += r->x.arena.allocated;
}

void sw_http_pool_clear(struct sw_http_io *io) {
    while (io->pool) {
        struct request *r = io->pool;
        io->pool = r->next;
        destroy(r);
    }
    io->pool_count = io->pool_bytes = 0;
}

static bool good_request_id(struct sw_str id) {
    if (id.len == 0 || id.len > SW_REQUEST_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || !strchr("._-:/+=@", c))) {
            return false;
        }
    }
    return true;
}

void sw_http_request_id(struct sw_http_exchange *x, struct sw_str wanted) {
    if (good_request_id(wanted)) {
        memcpy(x->request_id, wanted.data, wanted.len);
        x->request_id[wanted.len] = '\0';
    } else {
        _Static_assert(SW_REQUEST_ID_MAX >= 32, "a made id fits");
        sw_random_id(x->request_id);
    }
}

struct sw_str sw_http_header(struct sw_http_exchange *x, const char *name) {
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(x->connection->mhd, MHD_HEADER_KIND, name, strlen(name), &value, &len) !=
        MHD_YES) {
        return (struct sw_str){NULL, 0};
    }
    return (struct sw_str){value ? value : "", value ? len : 0};
}

static int hex(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Escapes that are none stay as they are, as browsers do. */
static struct sw_str decode(struct sw_str raw, struct sw_arena *arena) {
    char *out = memchr(raw.data, '%', raw.len) ? sw_arena_alloc_aligned(arena, raw.len, 1) : NULL;
    if (!out) {
        return raw;
    }
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        int high = raw.data[i] == '%' && i + 2 < raw.len ? hex(raw.data[i + 1]) : -1;
        int low = high >= 0 ? hex(raw.data[i + 2]) : -1;
        out[n++] = low >= 0 ? (char)(high << 4 | low) : raw.data[i];
        i += low >= 0 ? 2 : 0;
    }
    return (struct sw_str){out, n};
}

struct query_search {
    struct sw_http_exchange *x;
    struct sw_str name;
    size_t skip; /* values still to pass over */
    struct sw_str found;
};

static enum MHD_Result on_argument(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_len,
                                   const char *value, size_t value_len) {
    struct query_search *search = cls;
    if (!sw_str_eq(decode((struct sw_str){key, key_len}, &search->x->arena), search->name)) {
        return MHD_YES;
    }
    if (search->skip) {
        search->skip--;
        return MHD_YES;
    }
    search->found = value ? decode((struct sw_str){value, value_len}, &search->x->arena) : SW_STR("");
    return MHD_NO;
}

/* libmicrohttpd has split the query and turned '+' into spaces; its own decoding is switched off. */
struct sw_str sw_http_query_at(struct sw_http_exchange *x, const char *name, size_t index) {
    struct query_search search = {x, sw_str_of(name), index, {NULL, 0}};
    MHD_get_connection_values_n(x->connection->mhd, MHD_GET_ARGUMENT_KIND, on_argument, &search);
    return search.found;
}

struct sw_str sw_http_query(struct sw_http_exchange *x, const char *name) {
    return sw_http_query_at(x, name, 0);
}

bool sw_http_busy_begin(struct request *r) {
    struct sw_http_io *io = r->x.connection->io;
    /* sw_http_server_destroy sets stopping, then waits until nothing is busy: sequentially consistent on both sides, so
     * that either it sees this request or this request sees it. */
    atomic_fetch_add(&io->busy, 1);
    r->busy = true;
    unsigned long handled = atomic_load_explicit(&io->handled, memory_order_relaxed);
    atomic_store_explicit(&io->handled, handled + 1, memory_order_relaxed); /* one writer: no lock prefix needed */
    if (atomic_load(&r->x.server->stopping)) {
        sw_http_reply_status(&r->x, SW_E_UNAVAILABLE, "the server is shutting down");
        return false;
    }
    atomic_store_explicit(&r->async, ASYNC_RUNNING, memory_order_relaxed);
    return true;
}

void sw_http_busy_end(struct sw_http_io *io, struct request *r) {
    if (r->busy) {
        r->busy = false;
        atomic_fetch_sub(&io->busy, 1);
    }
}

bool sw_http_await(struct request *r, enum sw_http_result result) {
    if (result == SW_HTTP_DONE) {
        atomic_store_explicit(&r->async, ASYNC_FINISHED, memory_order_relaxed);
        return true;
    }
    /* Finished already? Then suspending, which costs several system calls, is not needed. */
    if (atomic_load_explicit(&r->async, memory_order_acquire) == ASYNC_FINISHED) {
        return true;
    }
    struct MHD_Connection *mhd = r->x.connection->mhd;
    MHD_suspend_connection(mhd);
    enum async_state running = ASYNC_RUNNING;
    if (!atomic_compare_exchange_strong_explicit(&r->async, &running, ASYNC_SUSPENDED, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        MHD_resume_connection(mhd); /* finished in between, and left to us */
    }
    return false;
}

void sw_http_stream_continue(struct sw_http_exchange *x) {
    SW_ASSERT(x->route && x->route->stream);
    sw_http_finish(x); /* what was asked for is done, and the I/O thread knows what that was */
}

void sw_http_finish(struct sw_http_exchange *x) {
    struct request *r = sw_http_request_of(x);
    struct MHD_Connection *mhd = x->connection->mhd;
    struct sw_http_io *io = x->connection->io;
    /* MHD_resume_connection still uses the daemon after the I/O thread has seen the connection resumed, and perhaps has
     * answered: until it returns, this thread keeps sw_http_server_destroy waiting. */
    atomic_fetch_add(&io->busy, 1);
    /* Release: the answer is seen by the I/O thread. When the connection is not suspended yet, the I/O thread finds
     * FINISHED and goes on by itself, and the exchange may be gone already. */
    enum async_state before = atomic_exchange_explicit(&r->async, ASYNC_FINISHED, memory_order_acq_rel);
    SW_ASSERT(before == ASYNC_RUNNING || before == ASYNC_SUSPENDED);
    if (before == ASYNC_SUSPENDED) {
        MHD_resume_connection(mhd);
    }
    atomic_fetch_sub(&io->busy, 1);
}

/* libmicrohttpd does not look at the socket of a suspended connection, nor close it. */
bool sw_http_client_gone(const struct sw_http_exchange *x) {
    char byte;
    ssize_t n = recv(x->connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool sw_http_is_alone(const struct sw_http_exchange *x) {
    return atomic_load_explicit(&x->connection->io->load, memory_order_relaxed) == 1;
}
