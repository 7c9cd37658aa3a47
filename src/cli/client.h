/* HTTP client of the commands that talk to a server, over libcurl.
 *
 * One client is one server and one connection at a time, on one thread. JSON calls hold their answer in memory, at
 * most SW_CLIENT_ANSWER_MAX bytes; files are streamed from and to descriptors, so that memory does not grow with
 * their size.
 *
 * Time: connecting has a limit; after that only silence ends a transfer: no byte for stall_timeout_ms while there is
 * something to send or receive, none for answer_timeout_ms while the server works on the answer (a promotion loads a
 * model first).
 *
 * An answer below 300 is SW_OK. Any other is an error in the server's words with its code (so that the command's
 * exit code follows from it) and the request id, under which the server's log has more. Redirects are not followed;
 * proxies of the environment are used, but never for addresses of this machine. */
#ifndef SW_CLI_CLIENT_H
#define SW_CLI_CLIENT_H

#include <jansson.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "cli/address.h"

enum { SW_CLIENT_ANSWER_MAX = 32 << 20 };

struct sw_client;

struct sw_client_options {
    const char *server;  /* "http://127.0.0.1:8080", also with a path in front of /api; without a scheme: http */
    const char *api_key; /* NULL: none */
    const char *actor;   /* who asks, for the audit log; NULL: not said */
    uint64_t connect_timeout_ms, stall_timeout_ms, answer_timeout_ms;
    struct sw_clock *clock;
};
void sw_client_options_default(struct sw_client_options *options); /* everything but server, key and actor */

/* SW_E_USAGE: the address or the key cannot be one. Does not connect. */
SW_MUST_CHECK sw_status sw_client_create(const struct sw_client_options *options, struct sw_client **ret,
                                         struct sw_error *err);
void sw_client_destroy(struct sw_client *client);        /* NULL is allowed */
const char *sw_client_server(const struct sw_client *c); /* its address without a slash at the end */
/* True when the address is of this machine or the connection is encrypted: a key may be sent there. */
bool sw_client_is_private(const struct sw_client *client);

/* What came back. Zero-initialise; released by sw_answer_deinit, and by each call that fills it anew. */
struct sw_answer {
    int status;             /* of HTTP; 0: there was none */
    json_t *json;           /* the body, also of an error; NULL: it was empty or no JSON */
    bool may_pass;          /* of a failure: the connection broke or the server is busy; trying again may help */
    uint64_t retry_after_s; /* what the server asked for; 0: nothing */
};
void sw_answer_deinit(struct sw_answer *answer);
/* error.details.KEY of an error's document, borrowed; NULL: not there. */
json_t *sw_answer_detail(const struct sw_answer *answer, const char *key);

/* `path` begins with a slash and is escaped. body (borrowed, may be NULL) is sent as JSON. */
SW_MUST_CHECK sw_status sw_client_call(struct sw_client *client, const char *method, const char *path,
                                       const json_t *body, struct sw_answer *ret, struct sw_error *err);

/* Called as bytes move: `done` of this transfer so far. Must be quick. */
typedef void sw_client_moved(void *arg, uint64_t done);

/* PUTs `length` bytes of the file from `offset` on. SW_E_IO when the file cannot be read or became shorter. */
struct sw_client_source {
    int fd;
    uint64_t offset, length;
    sw_client_moved *moved; /* may be NULL */
    void *arg;
};
SW_MUST_CHECK sw_status sw_client_put(struct sw_client *client, const char *path, const struct sw_client_source *source,
                                      struct sw_answer *ret, struct sw_error *err);

/* GETs a file from byte `offset` on. `begin` says where the server really starts: `offset`, or 0 when it does not do
 * ranges. Either function returns false to end the transfer, with its reason in `fault`. */
struct sw_client_sink {
    uint64_t offset;
    bool (*begin)(void *arg, uint64_t from);
    bool (*write)(void *arg, const void *data, size_t len);
    void *arg;
    struct sw_error *fault; /* set by begin and write; the call returns its code */
};
SW_MUST_CHECK sw_status sw_client_get(struct sw_client *client, const char *path, const struct sw_client_sink *sink,
                                      struct sw_answer *ret, struct sw_error *err);

#endif
