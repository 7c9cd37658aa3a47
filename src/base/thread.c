#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"

/* One line per thread. `epoch` is 0 outside enter/leave, else the global epoch seen at entry. */
struct slot {
    _Alignas(SW_CACHE_LINE) atomic_ullong epoch;
    unsigned depth; /* of nested enters; owner only */
};

static struct slot slots[SW_THREADS_MAX];
static atomic_bool taken[SW_THREADS_MAX];
static atomic_ullong global_epoch = 1;
static _Thread_local int own_index = -1;
static pthread_key_t index_key;
static pthread_once_t index_once = PTHREAD_ONCE_INIT;

static void release_index(void *value) {
    size_t index = (size_t)(uintptr_t)value - 1;
    atomic_store(&slots[index].epoch, 0);
    atomic_store(&taken[index], false);
}

static void make_key(void) {
    int rc = pthread_key_create(&index_key, release_index);
    SW_ASSERT(rc == 0);
}

static unsigned take_index(void) {
    pthread_once(&index_once, make_key);
    for (unsigned i = 0; i < SW_THREADS_MAX; i++) {
        bool expected = false;
        if (atomic_compare_exchange_strong(&taken[i], &expected, true)) {
            own_index = (int)i;
            pthread_setspecific(index_key, (void *)(uintptr_t)(i + 1));
            return i;
        }
    }
    fputs("slipway: more threads than SW_THREADS_MAX\n", stderr);
    abort();
}

unsigned sw_thread_index(void) {
    return SW_LIKELY(own_index >= 0) ? (unsigned)own_index : take_index();
}

void sw_epoch_enter(void) {
    struct slot *slot = &slots[sw_thread_index()];
    if (slot->depth++ == 0) {
        /* Sequentially consistent: the store must be seen before the reader loads the shared pointer, else a writer
         * could miss this reader. */
        atomic_store(&slot->epoch, atomic_load_explicit(&global_epoch, memory_order_relaxed));
    }
}

void sw_epoch_leave(void) {
    struct slot *slot = &slots[sw_thread_index()];
    SW_ASSERT(slot->depth > 0);
    if (--slot->depth == 0) {
        atomic_store_explicit(&slot->epoch, 0, memory_order_release);
    }
}

void sw_epoch_wait(void) {
    unsigned long long now = atomic_fetch_add(&global_epoch, 1) + 1;
    for (unsigned i = 0; i < SW_THREADS_MAX; i++) {
        for (unsigned spins = 0;; spins++) {
            unsigned long long seen = atomic_load(&slots[i].epoch);
            if (seen == 0 || seen >= now) {
                break;
            }
            if (spins < 100) {
                sched_yield();
            } else {
                nanosleep(&(struct timespec){0, 50000}, NULL);
            }
        }
    }
}

void sw_thread_set_nice(int nice) {
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
}

struct start {
    void *(*fn)(void *);
    void *arg;
    int nice;
    char name[16];
};

static void *run(void *arg) {
    struct start start = *(struct start *)arg;
    sw_free(arg);
    pthread_setname_np(pthread_self(), start.name);
    if (start.nice > 0) {
        sw_thread_set_nice(start.nice);
    }
    return start.fn(start.arg);
}

sw_status sw_thread_start(pthread_t *ret_thread, const char *name, int nice, void *(*fn)(void *), void *arg,
                          struct sw_error *err) {
    struct start *start = SW_NEW(struct start);
    *start = (struct start){.fn = fn, .arg = arg, .nice = nice};
    snprintf(start->name, sizeof start->name, "%s", name);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret_thread, NULL, run, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        sw_free(start);
        return sw_fail(err, SW_E_UNAVAILABLE, "thread %s cannot be started: %s", name, strerror(rc));
    }
    return SW_OK;
}

/* Processors of the cgroup's quota (version 2), or 0 when there is none. */
static unsigned cgroup_quota(void) {
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f) {
        return 0;
    }
    unsigned long long quota = 0, period = 0;
    int n = fscanf(f, "%llu %llu", &quota, &period);
    fclose(f);
    return n == 2 && period ? (unsigned)((quota + period - 1) / period) : 0;
}

unsigned sw_cpu_count(void) {
    cpu_set_t set;
    unsigned count = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned quota = cgroup_quota();
    count = quota && quota < count ? quota : count;
    return count ? count : 1;
}
