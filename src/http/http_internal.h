/* Insides of the HTTP server, shared by the files of this folder and its tests.
 *
 * Threads: the acceptor (accept, time-outs, lingering closes) and N I/O threads, each owned by one libmicrohttpd
 * daemon; callers of sw_http_finish.
 *
 * Connection state (struct sw_http_connection.word, low bits):
 *
 *     IDLE --request line--> HEADERS --headers complete--> BODY --body complete--> BUSY --answer queued--> SENDING
 *      ^                        |                                                   ^                         |
 *      |                        +------------------- no body ----------------------+                         |
 *      +------------------------------------------ answer sent -----------------------------------------------+
 *     IDLE, HEADERS, BODY, SENDING --too slow, or abandoned by the peer (acceptor)--> ENDED
 *
 * With a stream function the word goes from BODY to BUSY for each call and back, and so counts pieces.
 *
 * The I/O thread makes every step but the last, by compare-and-swap, and each step counts up the rest of the word; the
 * acceptor ends a connection by compare-and-swap too, and only when the word has not changed for the time-out. So a
 * request is either served or timed out, never both, and no clock is read on the way of a request for this.
 *
 * Locks: io->lock guards the list of an I/O thread's connections, taken when one is opened, closed or looked at by the
 * acceptor; while it is held no connection on the list is closed, so its descriptor cannot be reused. */
#ifndef SW_HTTP_HTTP_INTERNAL_H
#define SW_HTTP_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zlib.h>

#include "http/http.h"

enum {
    BODY_ALIGN = 64,                 /* of body.data, or of body.data + binary_header_length */
    BODY_AT_ONCE_MAX = 1024 * 1024,  /* a declared length up to this is reserved before data arrives */
    BODY_FREE_OF_CHARGE = 16 * 1024, /* bodies up to this do not count for buffered_max */
    ARENA_BASE = 64 * 1024 * 1024,   /* bytes a request's arena may hold, */
    ARENA_PER_BODY_BYTE = 16,        /* and for each byte of body_max */
    ARENA_RETAIN = 2 * 1024 * 1024,  /* bytes an exchange keeps for its next request */
    POOL_RETAIN = 4 * 1024 * 1024,   /* bytes all waiting exchanges of one I/O thread keep */
    POOL_MAX = 64,                   /* waiting exchanges of one I/O thread */
    JOIN_MAX = 64 * 1024,            /* answers up to this are copied into one piece: one system call, not two */
    DISCARD_KEEP_MAX = 256 * 1024,   /* a refused body up to this is read, so that the connection can go on */
    DISCARD_MAX = 1024 * 1024,       /* and a chunked one up to this */
    LINGER_MAX = 64,                 /* sockets that are read empty before they are closed */
    LINGER_MS = 2000,
};

enum connection_state { STATE_IDLE, STATE_HEADERS, STATE_BODY, STATE_BUSY, STATE_SENDING, STATE_ENDED };
enum { STATE_BITS = 3, STATE_MASK = (1 << STATE_BITS) - 1 };

struct sw_http_connection {
    _Alignas(SW_CACHE_LINE) atomic_ullong word; /* count << STATE_BITS | state */
    unsigned long long own_word;                /* the I/O thread's last value of it */
    struct sw_http_io *io;
    struct MHD_Connection *mhd;
    size_t uri_length;  /* of the request line being read, to find a NUL in it */
    int fd;             /* libmicrohttpd's; valid while on the list */
    atomic_bool left;   /* the acceptor has seen that the peer ended the stream in the middle of a request */
    atomic_bool served; /* a request has been answered: what follows is keep-alive */
    struct sw_http_connection *previous, *next; /* io->lock */
    struct {                                    /* io->lock; what the acceptor saw last */
        unsigned long long word;
        uint64_t since_ns;     /* options.clock, when the word was seen first */
        uint64_t acknowledged; /* bytes the peer has acknowledged */
        unsigned long long drain_word;
        uint64_t drain_ns; /* real time, the same for draining */
    } seen;
};

/* Which codings the client takes, from Accept-Encoding. */
struct accept_encoding {
    int gzip, deflate, any; /* quality in thousandths; -1: not named */
};

enum content_encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_DEFLATE };

/* A growing body whose data (+ shift) is aligned. */
struct body {
    char *base; /* NULL: nothing reserved */
    char *data;
    size_t len;
    size_t capacity; /* from data */
    bool on_heap;    /* else in the arena */
};

enum async_state { ASYNC_NONE, ASYNC_RUNNING, ASYNC_SUSPENDED, ASYNC_FINISHED };

/* stream.c draws this. */
enum stream_state { STREAM_NONE, STREAM_BEGINNING, STREAM_OPEN, STREAM_CALLED };

enum stream_result {
    STREAM_READY,    /* the next step may come */
    STREAM_WAITS,    /* a call is under way elsewhere; the connection is suspended */
    STREAM_ANSWERED, /* the answer is set: the stream is over */
    STREAM_GONE,     /* the acceptor has ended the connection */
};

/* The exchange and what handlers need not see. */
struct request {
    struct sw_http_exchange x; /* first */
    struct request *next;      /* in the pool */
    struct body raw;           /* as received; of a stream: the piece being collected */
    struct body decoded;       /* after content decoding */
    size_t charged;            /* bytes counted in server->buffered */
    size_t discarded;
    size_t body_limit;
    size_t joined_capacity; /* bytes from x.parts[0].data on that join() may fill; 0: it has not joined */
    bool parts_failed;      /* a piece did not fit in memory: the answer says so, and takes no more pieces */
    uint64_t received;      /* of a stream: bytes of the body taken */
    enum stream_state stream;
    struct {
        int fd; /* -1: the answer is no file */
        uint64_t offset, length;
    } file;
    enum content_encoding encoding;
    struct accept_encoding accept;
    _Atomic enum async_state async;
    bool expects_body;
    bool expects_continue;
    bool rejected; /* the answer is set; no handler runs */
    bool discard;  /* the rest of the body is read and dropped */
    bool busy;     /* counted in io->busy */
    bool answered; /* queued to libmicrohttpd, or sent raw */
    bool linger;   /* unread data may be on the socket when it closes */
};

struct sw_http_io {
    struct sw_http_server *server;
    struct MHD_Daemon *daemon;
    unsigned index;
    bool named;           /* the thread has its name; I/O thread only */
    struct request *pool; /* I/O thread only */
    size_t pool_count;
    size_t pool_bytes;
    z_stream *deflater; /* made at first use; I/O thread only */
    int deflater_wrap;
    _Alignas(SW_CACHE_LINE) pthread_mutex_t lock;
    struct sw_http_connection *connections;
    atomic_uint load;                         /* connections handed over and not yet closed */
    atomic_ulong handled;                     /* requests whose handler was called; written by the I/O thread alone */
    _Alignas(SW_CACHE_LINE) atomic_uint busy; /* requests between their handler's start and their answer, and
                                                 threads in sw_http_finish */
};

struct lingering {
    int fd;
    uint64_t deadline_ns; /* real time */
};

struct sw_http_server {
    struct sw_http_options options;
    struct sw_router *router;
    struct sw_http_io *io;
    unsigned io_count;
    size_t arena_max; /* bytes of one exchange's arena */
    uint16_t port;
    int listen_fd; /* -1 once draining; acceptor only after start */
    int epoll_fd;
    int wake_fd;
    struct {
        unsigned long handled; /* requests, when last looked at */
        unsigned quiet;        /* looks in a row that found no request */
    } idle;                    /* acceptor only */
    int spare_fd;              /* given up to accept, and close, a connection when descriptors have run out */
    unsigned turn;
    pthread_t acceptor;
    bool acceptor_running;
    _Alignas(SW_CACHE_LINE) atomic_size_t buffered;
    _Alignas(SW_CACHE_LINE) atomic_uint connections;
    atomic_bool draining;
    atomic_bool stopping;
    pthread_mutex_t lock;  /* inbox */
    int inbox[LINGER_MAX]; /* descriptors to read empty and close */
    size_t inbox_count;
    struct lingering linger[LINGER_MAX]; /* acceptor only */
    size_t linger_count;
};

/* connection.c: libmicrohttpd's callbacks; cls is the struct sw_http_io. */
struct MHD_Daemon *sw_http_daemon_start(struct sw_http_io *io);
/* One step by the I/O thread; false: the acceptor has ended the connection. */
bool sw_http_step(struct sw_http_connection *c, enum connection_state state);

/* headers.c: reads and checks what the server itself needs of a request's headers. */
SW_MUST_CHECK sw_status sw_http_headers_read(struct request *r, const char *method, const char *version,
                                             struct sw_error *err);

/* body.c */
SW_MUST_CHECK sw_status sw_http_body_begin(struct request *r, struct sw_error *err);
SW_MUST_CHECK sw_status sw_http_body_append(struct request *r, const char *data, size_t len, struct sw_error *err);
SW_MUST_CHECK sw_status sw_http_body_grow(struct request *r, struct body *body, size_t capacity, struct sw_error *err);
void sw_http_body_release(struct request *r, struct body *body);
void sw_http_bodies_release(struct request *r); /* both, and what they count for buffered_max */

/* stream.c: what a request with a stream function goes through; I/O thread. */
SW_MUST_CHECK sw_status sw_http_stream_prepare(struct request *r, struct sw_error *err);
enum stream_result sw_http_stream_begin(struct request *r);
enum stream_result sw_http_stream_resumed(struct request *r); /* after a call that was under way elsewhere */
/* Takes bytes of the body; *len becomes what is left of them (something, unless STREAM_READY). */
enum stream_result sw_http_stream_take(struct request *r, const char *data, size_t *len);
enum stream_result sw_http_stream_end(struct request *r); /* the body is complete; READY: it is all delivered */

/* encoding.c */
void sw_http_accept_encoding_parse(struct sw_str value, struct accept_encoding *accept);
SW_MUST_CHECK sw_status sw_http_decode(struct request *r, struct sw_error *err);
/* Packs the answer if the client takes it and it is worth it: x->parts become one and headers are added. */
void sw_http_encode(struct sw_http_io *io, struct request *r);
void sw_http_io_end_encoding(struct sw_http_io *io);

/* exchange.c */
struct request *sw_http_request_take(struct sw_http_io *io); /* NULL: no memory */
void sw_http_request_release(struct sw_http_io *io, struct request *r);
void sw_http_pool_clear(struct sw_http_io *io);
void sw_http_request_id(struct sw_http_exchange *x, struct sw_str wanted);
struct request *sw_http_request_of(struct sw_http_exchange *x);
/* Counts the request as one that sw_http_server_destroy waits for, and makes it ready for a call that may return
 * SW_HTTP_ASYNC. false: the server is stopping, and the answer says so. */
bool sw_http_busy_begin(struct request *r);
void sw_http_busy_end(struct sw_http_io *io, struct request *r);
/* After such a call: true when what it was for is finished; false: libmicrohttpd asks again when it is. */
bool sw_http_await(struct request *r, enum sw_http_result result);

/* reply.c */
enum MHD_Result sw_http_send_reply(struct sw_http_connection *c, struct request *r);
/* Writes a whole answer of its own to the socket, past libmicrohttpd, without blocking. */
void sw_http_send_raw(int fd, sw_status code, const char *message, const char *request_id);

/* The same with the exchange's answer, whole; it must not be a file. */
void sw_http_send_raw_reply(int fd, struct sw_http_exchange *x);

/* file.c */
struct MHD_Response *sw_http_file_response(struct request *r); /* takes the descriptor over, unless NULL */
void sw_http_file_drop(struct request *r);                     /* closes it, if there is one */

/* watcher.c; also called by tests. */
/* Gives memory that requests freed back to the system, once, when no request has come for a while. */
void sw_http_watch_idle(struct sw_http_server *server);
void sw_http_watch_once(struct sw_http_server *server);
/* Ends connections that wait for a request. */
void sw_http_watch_drain(struct sw_http_server *server);
unsigned sw_http_watch_interval_ms(const struct sw_http_options *options);

/* acceptor.c */
SW_MUST_CHECK sw_status sw_http_listen(struct sw_http_server *server, struct sw_error *err);
void *sw_http_acceptor_run(void *server);
void sw_http_acceptor_wake(struct sw_http_server *server);
/* Takes a descriptor over: what still arrives is read and dropped for a while, so that the answer already written is
 * not lost to a reset; then it is closed. Any thread. */
void sw_http_linger(struct sw_http_server *server, int fd);

#endif
