/* Names to socket addresses. getaddrinfo blocks for as long as the servers of names let it, so each look-up has a thread
 * of its own, `sw-redis-name`, that nobody joins: who asked and the thread share one structure, and the last to let go
 * frees it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "sched/cache/redis_internal.h"

struct redis_lookup {
    atomic_uint holders;
    atomic_bool done; /* then `found` and `reason` do not change any more */
    struct redis_address address;
    struct redis_resolved found;
    const char *reason; /* static */
    int wake_fd;        /* a duplicate: the client may be gone */
};

static void set_port(union redis_sockaddr *a, uint16_t port) {
    if (a->any.sa_family == AF_INET) {
        a->v4.sin_port = htons(port);
    } else {
        a->v6.sin6_port = htons(port);
    }
}

bool redis_resolve_now(const struct redis_address *address, struct redis_resolved *ret) {
    struct redis_resolved r = {.count = 1};
    union redis_sockaddr *a = &r.list[0];
    if (!address->port) {
        a->path.sun_family = AF_UNIX;
        SW_ASSERT(strlen(address->host) < sizeof a->path.sun_path);
        memcpy(a->path.sun_path, address->host, strlen(address->host) + 1);
        r.sizes[0] = sizeof a->path;
    } else if (inet_pton(AF_INET, address->host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        r.sizes[0] = sizeof a->v4;
    } else if (inet_pton(AF_INET6, address->host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        r.sizes[0] = sizeof a->v6;
    } else {
        return false;
    }
    if (address->port) {
        set_port(a, address->port);
    }
    *ret = r;
    return true;
}

static void copy_results(struct redis_lookup *l, const struct addrinfo *list) {
    for (; list && l->found.count < REDIS_RESOLVED_MAX; list = list->ai_next) {
        union redis_sockaddr *a = &l->found.list[l->found.count];
        if (list->ai_addrlen <= sizeof *a && (list->ai_family == AF_INET || list->ai_family == AF_INET6)) {
            memcpy(a, list->ai_addr, list->ai_addrlen);
            l->found.sizes[l->found.count++] = list->ai_addrlen;
        }
    }
}

static void *look_up(void *arg) {
    struct redis_lookup *l = arg;
    char port[8];
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    snprintf(port, sizeof port, "%u", l->address.port);
    int rc = getaddrinfo(l->address.host, port, &wanted, &list);
    if (rc == 0) {
        copy_results(l, list);
        freeaddrinfo(list);
    }
    l->reason = rc == EAI_SYSTEM ? "the look-up of its name failed" : rc ? gai_strerror(rc) : "its name has no address";
    atomic_store_explicit(&l->done, true, memory_order_release);
    uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one || errno == EAGAIN);
    redis_lookup_release(l);
    return NULL;
}

sw_status redis_lookup_start(const struct redis_address *address, int wake_fd, struct redis_lookup **ret,
                             struct sw_error *err) {
    struct redis_lookup *l = sw_calloc(1, sizeof *l);
    if (!l) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no memory for the look-up of a name");
    }
    *l = (struct redis_lookup){.holders = 2, .address = *address, .wake_fd = dup(wake_fd)};
    pthread_t thread;
    if (l->wake_fd < 0) {
        sw_free(l);
        return sw_fail(err, SW_E_IO, "dup: %s", strerror(errno));
    }
    sw_status status = sw_thread_start(&thread, "sw-redis-name", 0, look_up, l, err);
    if (status) {
        close(l->wake_fd);
        sw_free(l);
        return status;
    }
    pthread_detach(thread);
    *ret = l;
    return SW_OK;
}

bool redis_lookup_take(struct redis_lookup *lookup, struct redis_resolved *ret, const char **ret_reason) {
    if (!atomic_load_explicit(&lookup->done, memory_order_acquire)) {
        return false;
    }
    *ret = lookup->found;
    *ret_reason = lookup->reason;
    return true;
}

void redis_lookup_release(struct redis_lookup *lookup) {
    if (lookup && atomic_fetch_sub(&lookup->holders, 1) == 1) {
        close(lookup->wake_fd);
        sw_free(lookup);
    }
}
