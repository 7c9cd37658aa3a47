/* Fetching a resource of another server on behalf of a caller who is not trusted (server-side request forgery).
 *
 * What may be reached is decided by a policy, and decided again for every redirect:
 *
 *   - http and https, without user name or password, on an allowed port, at a host of the allow-list;
 *   - the host is resolved here, and every address it has must be public (networks.h) or in an allowed network;
 *   - the connection goes to one of these addresses and no other: the name is not resolved again, and the address of the
 *     socket itself is checked before it connects, so that a name that changes its address in between gains nothing.
 *
 * No proxy, cookies, credentials or referrer; nothing of the environment has a say. The answer is taken as bytes: its
 * content type means nothing. Size (as announced and as it comes), connect time and total time are limited, and the
 * bytes held for all fetches together are, too.
 *
 * Blocks: for threads that may wait. Any number at once. */
#ifndef SW_HTTP_FETCH_H
#define SW_HTTP_FETCH_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

struct sw_fetcher;

enum { SW_FETCH_URL_MAX = 2048, SW_FETCH_ADDRESSES_MAX = 32, SW_FETCH_HOST_MAX = 253 };

struct sw_fetch_addresses {
    size_t count;
    struct sockaddr_storage items[SW_FETCH_ADDRESSES_MAX];
};

struct sw_fetch_options {
    /* Lists, separated by commas; checked by create. */
    const char *hosts;    /* "images.example.org", "*.example.org" (what is below it), "*" (any); "" or NULL: none */
    const char *ports;    /* NULL: 80 and 443 */
    const char *networks; /* addresses allowed beside public ones, as "10.1.0.0/16"; NULL: none */
    uint64_t bytes_max;   /* of one resource */
    uint64_t held_max;    /* of all that are being fetched or not yet dropped */
    uint64_t connect_timeout_ms;
    uint64_t timeout_ms; /* from start_ns of sw_fetch to the last byte, redirects included */
    unsigned redirects_max;
    struct sw_clock *clock;
    /* NULL: the system's resolver. For tests: false when the host is not known; the port is set afterwards. On a thread
     * that a fetch does not wait for longer than it may. */
    bool (*resolve)(void *arg, const char *host, struct sw_fetch_addresses *ret);
    void *resolve_arg;
};

/* SW_E_INVALID_ARGUMENT naming the list and the entry that is wrong. */
SW_MUST_CHECK sw_status sw_fetcher_create(const struct sw_fetch_options *options, struct sw_fetcher **ret,
                                          struct sw_error *err);
void sw_fetcher_destroy(struct sw_fetcher *fetcher); /* no fetch is running, everything was dropped; NULL is allowed */

struct sw_fetched {
    struct sw_str bytes; /* valid until dropped; at least one */
    struct sw_fetcher *fetcher;
    struct sw_buf buf;
    uint64_t charged; /* for held_max */
};
void sw_fetched_drop(struct sw_fetched *fetched);

/* start_ns: when the caller began to wait, on the clock of the options: time spent in a queue counts. deadline_ns: when the
 * caller has no use for it any more, where that is before the time-out; 0: never.
 * SW_E_UNPROCESSABLE: not a URL, not allowed, the server cannot be reached or does not answer 200; SW_E_TOO_LARGE: more
 * than bytes_max; SW_E_DEADLINE_EXCEEDED: took too long; SW_E_UNAVAILABLE: held_max reached, or no memory. Messages name
 * the host as the caller wrote it, never an address. */
SW_MUST_CHECK sw_status sw_fetch(struct sw_fetcher *fetcher, struct sw_str url, uint64_t start_ns, uint64_t deadline_ns,
                                 struct sw_fetched *ret, struct sw_error *err);

#endif
