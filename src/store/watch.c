/* The watcher: one thread a store, with a connection of its own, that tells when another revision is there.
 *
 * It waits for whatever comes first: a wake from a commit of this process, a notification of the server (PostgreSQL),
 * or poll_ms, which finds what neither told. While the database is away it tries to connect, as often as the back-off
 * lets it, so that health comes back without anybody asking. */
#include "store/store_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"

struct sw_watch {
    struct sw_store *store;
    sw_store_changed *fn;
    void *arg;
    pthread_t thread;
    int wake_fd;
    atomic_bool stopping;
    /* the thread's own */
    struct sw_conn *conn;
    int64_t revision;
    bool tell; /* even if the revision is the one told last */
};

static void ring(struct sw_watch *watch) {
    uint64_t one = 1;
    ssize_t n = write(watch->wake_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one || errno == EAGAIN); /* a full counter wakes as well */
}

void sw_watch_wake(struct sw_store *store) {
    struct sw_watch *watch = atomic_load(&store->watch);
    if (watch) {
        ring(watch);
    }
}

static bool is_up(struct sw_store *store) {
    return sw_store_health(store, NULL) == SW_OK;
}

static void let_go(struct sw_watch *watch, const struct sw_error *failure) {
    sw_store_note(watch->store, failure);
    watch->store->driver->close(watch->conn);
    watch->conn = NULL;
}

static void connect_again(struct sw_watch *watch) {
    struct sw_error failure;
    if (sw_store_connect(watch->store, &watch->conn, &failure) != SW_OK) {
        watch->conn = NULL;
        return;
    }
    if (watch->store->driver->listen(watch->conn, &failure) != SW_OK) {
        let_go(watch, &failure);
        return;
    }
    watch->tell = true;
}

static sw_status read_revision(struct sw_watch *watch, int64_t *ret, struct sw_error *err) {
    SW_TRY(watch->store->driver->begin(watch->conn, SW_TX_READ, ret, err));
    watch->store->driver->rollback(watch->conn);
    return SW_OK;
}

/* Looks for another revision. When health is down, the cheap question does not do: only a transaction takes it up. */
static void look(struct sw_watch *watch, bool due) {
    struct sw_store *store = watch->store;
    struct sw_error failure;
    bool changed = false, ask = watch->tell || !is_up(store);
    int64_t revision = watch->revision;
    sw_status status = store->driver->changed(watch->conn, due, &changed, &failure);
    if (!status && (changed || ask)) {
        status = read_revision(watch, &revision, &failure);
        if (!status) {
            sw_store_note(store, NULL);
        }
    }
    if (status) {
        if (watch->conn->broken || status == SW_E_IO) {
            let_go(watch, &failure);
        }
        return;
    }
    if (revision != watch->revision || watch->tell) {
        watch->revision = revision;
        watch->tell = false;
        watch->fn(watch->arg, revision);
    }
}

/* True when the server should be asked: a commit of this process woke us, or time is up. */
static bool wait(struct sw_watch *watch) {
    const struct sw_store_options *options = &watch->store->options;
    uint64_t wait_ms = options->poll_ms;
    if (!watch->conn && wait_ms > options->backoff_min_ms) {
        wait_ms = options->backoff_min_ms < 10 ? 10 : options->backoff_min_ms;
    }
    struct pollfd fds[2] = {
        {.fd = watch->wake_fd, .events = POLLIN},
        {.fd = watch->conn ? watch->store->driver->poll_fd(watch->conn) : -1, .events = POLLIN},
    };
    int n = poll(fds, 2, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
    uint64_t count;
    bool woken = n > 0 && (fds[0].revents & POLLIN) && read(watch->wake_fd, &count, sizeof count) > 0;
    return woken || n == 0;
}

static void *run(void *arg) {
    struct sw_watch *watch = arg;
    bool due = true;
    while (!atomic_load(&watch->stopping)) {
        if (!watch->conn) {
            connect_again(watch);
        }
        if (watch->conn) {
            look(watch, due);
        }
        due = wait(watch);
    }
    if (watch->conn) {
        watch->store->driver->close(watch->conn);
    }
    return NULL;
}

sw_status sw_store_watch(struct sw_store *store, sw_store_changed *fn, void *arg, struct sw_error *err) {
    SW_ASSERT(!atomic_load(&store->watch));
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "eventfd: %s", strerror(errno));
    }
    struct sw_watch *watch = SW_NEW(struct sw_watch);
    *watch = (struct sw_watch){.store = store, .fn = fn, .arg = arg, .wake_fd = fd};
    atomic_store(&store->watch, watch);
    sw_status status = sw_thread_start(&watch->thread, "sw-watch", 0, run, watch, err);
    if (status) {
        atomic_store(&store->watch, NULL);
        close(fd);
        sw_free(watch);
    }
    return status;
}

void sw_watch_stop(struct sw_store *store) {
    struct sw_watch *watch = atomic_load(&store->watch);
    if (!watch) {
        return;
    }
    atomic_store(&watch->stopping, true);
    ring(watch);
    pthread_join(watch->thread, NULL);
    atomic_store(&store->watch, NULL);
    close(watch->wake_fd);
    sw_free(watch);
}
