/* Addresses of a host within a time.
 *
 * getaddrinfo blocks as long as the system's resolver is told to wait, which may be much longer than a fetch may take.
 * So it runs on a thread of its own, and the fetch waits only as long as it may: a lookup that nobody waits for any more
 * ends when the resolver gives up, and frees itself. At most LOOKUPS_MAX run at a time. Addresses written as numbers
 * need no thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <time.h>

#include "base/memory.h"
#include "base/thread.h"
#include "http/fetch_internal.h"

enum { LOOKUPS_MAX = 32 };

static atomic_int lookups_running;

struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned users; /* the thread and the one that waits */
    bool done, found;
    struct sw_fetch_addresses addresses;
    char host[SW_FETCH_HOST_MAX + 1];
    bool (*resolve)(void *arg, const char *host, struct sw_fetch_addresses *ret); /* of the options */
    void *resolve_arg;
};

static void copy_addresses(const struct addrinfo *list, struct sw_fetch_addresses *ret) {
    ret->count = 0;
    for (; list && ret->count < SW_FETCH_ADDRESSES_MAX; list = list->ai_next) {
        if (list->ai_addrlen <= sizeof ret->items[0]) {
            memcpy(&ret->items[ret->count++], list->ai_addr, list->ai_addrlen);
        }
    }
}

static bool look_up(const char *host, int flags, struct sw_fetch_addresses *ret) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0) {
        return false;
    }
    copy_addresses(list, ret);
    freeaddrinfo(list);
    return ret->count > 0;
}

/* ---- on a thread */

/* Under the lock, which it gives up. */
static void leave(struct lookup *l) {
    bool last = --l->users == 0;
    pthread_mutex_unlock(&l->lock);
    if (last) {
        pthread_cond_destroy(&l->ended);
        pthread_mutex_destroy(&l->lock);
        sw_free(l);
    }
}

static void *run_lookup(void *arg) {
    struct lookup *l = arg;
    struct sw_fetch_addresses addresses = {0};
    bool found = l->resolve ? l->resolve(l->resolve_arg, l->host, &addresses)
                            : look_up(l->host, AI_ADDRCONFIG, &addresses);
    pthread_mutex_lock(&l->lock);
    l->addresses = addresses;
    l->found = found;
    l->done = true;
    pthread_cond_signal(&l->ended);
    leave(l);
    atomic_fetch_sub(&lookups_running, 1);
    return NULL;
}

static struct lookup *create_lookup(const struct sw_fetch_options *options, const char *host) {
    struct lookup *l = sw_calloc(1, sizeof *l);
    if (l) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&l->ended, &attributes);
        pthread_condattr_destroy(&attributes);
        pthread_mutex_init(&l->lock, NULL);
        l->users = 2;
        l->resolve = options->resolve;
        l->resolve_arg = options->resolve_arg;
        snprintf(l->host, sizeof l->host, "%s", host);
    }
    return l;
}

static void wait_for(struct lookup *l, uint64_t wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(wait_ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    int rc = 0;
    while (!l->done && rc == 0) {
        rc = pthread_cond_timedwait(&l->ended, &l->lock, &until);
    }
}

/* *ret_known: is the outcome known in time? */
static sw_status look_up_within(const struct sw_fetch_options *options, const char *host, uint64_t wait_ms,
                                struct sw_fetch_addresses *ret, bool *ret_known, bool *ret_found,
                                struct sw_error *err) {
    pthread_t thread;
    struct lookup *l = create_lookup(options, host);
    if (!l) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    bool full = atomic_fetch_add(&lookups_running, 1) >= LOOKUPS_MAX;
    sw_status status = full ? sw_fail(err, SW_E_UNAVAILABLE, "too many host names are being looked up")
                            : sw_thread_start(&thread, "sw-resolve", 0, run_lookup, l, err);
    pthread_mutex_lock(&l->lock);
    if (status) {
        atomic_fetch_sub(&lookups_running, 1);
        l->users = 1;
    } else {
        pthread_detach(thread);
        wait_for(l, wait_ms);
        *ret_known = l->done;
        *ret_found = l->found;
        *ret = l->addresses;
    }
    leave(l);
    return status;
}

/* ---- of a target */

static void set_port(struct sockaddr_storage *address, uint16_t port) {
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    }
}

static sw_status find(const struct sw_fetcher *f, struct fetch_target *t, uint64_t wait_ms, struct sw_error *err) {
    bool known = true, found = look_up(t->name, AI_NUMERICHOST, &t->addresses);
    t->numeric = found;
    if (!found) {
        SW_TRY(look_up_within(&f->options, t->name, wait_ms, &t->addresses, &known, &found, err));
    }
    if (!known) {
        return sw_fail(err, SW_E_DEADLINE_EXCEEDED, "the address of host '%.100s' did not come in time", t->name);
    }
    return found ? SW_OK : sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' has no address", t->name);
}

sw_status fetch_resolve(const struct sw_fetcher *f, struct fetch_target *t, uint64_t wait_ms, struct sw_error *err) {
    SW_TRY(find(f, t, wait_ms, err));
    for (size_t i = 0; i < t->addresses.count; i++) {
        set_port(&t->addresses.items[i], t->port);
        /* One is enough to refuse all: which one would be used is the other side's choice. */
        if (!fetch_allows_address(f, (const struct sockaddr *)&t->addresses.items[i])) {
            return sw_fail(err, SW_E_UNPROCESSABLE, "host '%.100s' is not at a public address", t->name);
        }
    }
    return SW_OK;
}
