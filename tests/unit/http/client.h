/* A small HTTP client and a server with test routes, for the tests of this folder.
 *
 * The client writes exactly the bytes it is given and reads answers one after another from the stream, so that
 * pipelining and broken requests can be tested. Every read gives up after ten seconds and fails the test. */
#ifndef SW_TESTS_HTTP_CLIENT_H
#define SW_TESTS_HTTP_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/http_internal.h"

struct client {
    int fd;
    char *data; /* received and not yet taken */
    size_t len, capacity;
};

struct answer {
    int status;
    char head[4096];
    char *body; /* sw_free */
    size_t body_len;
};

struct client client_open(uint16_t port);
void client_close(struct client *c);
void client_send(struct client *c, const void *data, size_t len); /* errors are ignored: the server may have closed */
void client_print(struct client *c, const char *fmt, ...) SW_PRINTF(2, 3);
void client_post(struct client *c, const char *path, const char *headers, const void *body, size_t len);
struct answer client_read(struct client *c);      /* fails the test when none comes */
struct answer client_read_head(struct client *c); /* of an answer to HEAD */
bool client_ends(struct client *c);               /* waits for the end of the stream; true: no more bytes came */
int client_status(struct client *c);              /* reads an answer and returns its status */
bool answer_has(const struct answer *a, const char *header_line);
bool answer_body_has(const struct answer *a, const char *text);
void answer_free(struct answer *a);

/* Waits for what another thread does, at most about twenty seconds. */
void brief_pause(void);
#define WAIT_FOR(condition)                                 \
    do {                                                    \
        for (int waited_ = 0; !(condition); waited_++) {    \
            if (waited_ > 20000) {                          \
                fail_msg("waited in vain: %s", #condition); \
            }                                               \
            brief_pause();                                  \
        }                                                   \
    } while (0)

/* Server with the routes below, a manual clock, and a count of finished exchanges. */
struct fixture {
    struct sw_http_options options; /* change before fixture_start */
    struct sw_http_server *server;
    struct sw_clock clock;
    atomic_uint done;       /* on_done calls */
    atomic_int last_status; /* of the exchange last done */
    atomic_uint handled;    /* handler calls */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct sw_http_exchange *waiting[64]; /* after /async, until fixture_finish */
    size_t waiting_count;
};

void fixture_init(struct fixture *f);
void fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f); /* checks that every exchange is done and no body is counted any more */
struct client fixture_client(struct fixture *f);
void fixture_wait_waiting(struct fixture *f, size_t count); /* until that many exchanges wait in /async */
void fixture_finish(struct fixture *f);                     /* answers the oldest of them */
void fixture_wait_done(struct fixture *f, unsigned count);
void fixture_wait_state(struct fixture *f, enum connection_state state); /* some connection is in it */
void fixture_wait_connections(struct fixture *f, unsigned count);
void fixture_wait_no_connections(struct fixture *f);
void fixture_watch_until_readable(struct fixture *f, const struct client *c);

#endif
