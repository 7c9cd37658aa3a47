/* A run: address, workers, one row a second, totals. See load.h. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "load/load_internal.h"

static const uint64_t SECOND_NS = 1000000000;
enum { DESCRIPTORS_BESIDE = 256, ROWS_MAX = 200000 };

const char *sw_load_outcome_name(enum sw_load_outcome outcome) {
    static const char *const names[SW_LOAD_OUTCOME_COUNT] = {
        "success", "connect", "tls", "timeout", "status", "closed", "short_body", "protocol", "too_large", "dropped"};
    return names[outcome];
}

uint64_t sw_load_requests(const struct sw_load_totals *totals) {
    uint64_t sum = 0;
    for (size_t i = 0; i < SW_LOAD_OUTCOME_COUNT; i++) {
        sum += totals->outcomes[i];
    }
    return sum;
}

/* --- before ------------------------------------------------------------------------------------------------------- */

static sw_status resolve(struct sw_run *run, struct sw_error *err) {
    const struct sw_load_url *url = run->settings->url;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    char port[8];
    snprintf(port, sizeof port, "%u", url->port);
    int rc = getaddrinfo(url->host, port, &hints, &found);
    if (rc == EAI_ADDRFAMILY || rc == EAI_NONAME || rc == EAI_NODATA) {
        hints.ai_flags = 0; /* a machine that has nothing but its loopback addresses */
        rc = getaddrinfo(url->host, port, &hints, &found);
    }
    if (rc) {
        return sw_fail(err, SW_E_IO, "host %s: %s", url->host, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    }
    for (struct addrinfo *a = found; a && run->address_count < SW_ADDRESSES_MAX; a = a->ai_next) {
        struct sw_address *address = &run->addresses[run->address_count++];
        memcpy(&address->storage, a->ai_addr, a->ai_addrlen);
        address->size = a->ai_addrlen;
    }
    freeaddrinfo(found);
    return SW_OK;
}

/* One descriptor a connection: the soft limit goes up to the hard one when need be. */
static sw_status reserve_descriptors(unsigned connections, struct sw_error *err) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + DESCRIPTORS_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return SW_OK;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
        return sw_fail(err, SW_E_IO, "%u connections need %llu descriptors, but the limit is %llu (ulimit -n)",
                       connections, (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
    }
    return SW_OK;
}

/* --- while -------------------------------------------------------------------------------------------------------- */

struct workers {
    struct sw_worker *items[SW_LOAD_THREADS_MAX];
    size_t created, started, ended;
};

static void add_row(struct sw_run *run, struct workers *workers, uint64_t from_ns, uint64_t to_ns,
                    struct sw_load_result *result) {
    const struct sw_load_settings *settings = run->settings;
    struct sw_recent *recent SW_AUTO_FREE = SW_NEW(struct sw_recent);
    for (size_t i = 0; i < workers->started; i++) {
        sw_worker_take_recent(workers->items[i], recent);
    }
    struct sw_histogram *h = &recent->latency_ns;
    struct sw_load_row row = {
        .at_s = ((double)to_ns - (double)run->measure_ns) / 1e9,
        .seconds = (double)(to_ns - from_ns) / 1e9,
        .requests = recent->requests,
        .successes = recent->successes,
        .p50_ms = sw_histogram_percentile(h, 50) / 1e6,
        .p95_ms = sw_histogram_percentile(h, 95) / 1e6,
        .p99_ms = sw_histogram_percentile(h, 99) / 1e6,
        .max_ms = (double)h->max / 1e6,
    };
    if (result->row_count < ROWS_MAX) {
        if ((result->row_count & (result->row_count - 1)) == 0) { /* 0, 1, 2, 4, ...: room for as many again */
            size_t room = result->row_count ? result->row_count * 2 : 1;
            result->rows = sw_xrealloc(result->rows, room * sizeof *result->rows);
        }
        result->rows[result->row_count++] = row;
    }
    if (settings->on_row) {
        settings->on_row(settings->on_row_arg, &row);
    }
}

static int ms_until(uint64_t moment, uint64_t now) {
    return moment <= now ? 0 : (int)((moment - now + 999999) / 1000000);
}

static void stop_all(struct sw_run *run, struct workers *workers) {
    atomic_store_explicit(&run->stopped, true, memory_order_relaxed); /* the wake-up makes them look */
    for (size_t i = 0; i < workers->started; i++) {
        sw_worker_wake(workers->items[i]);
    }
}

/* Until all workers have ended; returns when that was, or when it was interrupted. */
static uint64_t watch(struct sw_run *run, struct workers *workers, struct sw_load_result *result) {
    struct sw_clock *clock = sw_clock_system();
    struct pollfd fds[2] = {{.fd = run->done_fd, .events = POLLIN}, {.fd = run->settings->stop_fd, .events = POLLIN}};
    uint64_t from_ns = run->start_ns, interrupted_ns = 0, ended;
    while (workers->ended < workers->started) {
        uint64_t now = sw_now_ns(clock);
        if (now >= from_ns + SECOND_NS) {
            add_row(run, workers, from_ns, now, result);
            from_ns = now;
        }
        int count = poll(fds, 2, ms_until(from_ns + SECOND_NS, now));
        SW_ASSERT(count >= 0 || errno == EINTR);
        if (count > 0 && fds[0].revents && read(run->done_fd, &ended, sizeof ended) == sizeof ended) {
            workers->ended += ended;
        }
        if (count > 0 && fds[1].revents) {
            fds[1].fd = -1;
            interrupted_ns = sw_now_ns(clock);
            result->interrupted = true;
            stop_all(run, workers);
        }
    }
    uint64_t now = sw_now_ns(clock);
    add_row(run, workers, from_ns, now, result);
    return interrupted_ns ? interrupted_ns : now;
}

static sw_status start_workers(struct sw_run *run, struct workers *workers, struct sw_error *err) {
    unsigned lanes = run->settings->threads;
    for (unsigned lane = 0; lane < lanes; lane++) {
        workers->items[workers->created++] = sw_worker_create(run, lane, lanes);
    }
    while (workers->started < workers->created) {
        SW_TRY(sw_worker_start(workers->items[workers->started], err));
        workers->started++;
    }
    return SW_OK;
}

static uint64_t cpu_ns(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND_NS +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void sum_up(struct sw_run *run, struct workers *workers, uint64_t ended_ns, struct sw_load_result *result) {
    uint64_t until_ns = ended_ns < run->end_ns ? ended_ns : run->end_ns;
    result->measured_ns = until_ns > run->measure_ns ? until_ns - run->measure_ns : 0;
    result->wall_ns = ended_ns - run->start_ns;
    result->totals = SW_NEW(struct sw_load_totals);
    for (size_t i = 0; i < workers->started; i++) {
        sw_worker_add_totals(workers->items[i], result->totals);
    }
}

static sw_status run_workers(struct sw_run *run, struct sw_load_result *result, struct sw_error *err) {
    struct sw_clock *clock = sw_clock_system();
    struct workers workers = {.created = 0};
    uint64_t cpu_before = cpu_ns(), ended_ns = 0;
    result->started_wall_ms = clock->wall_ms(clock);
    run->start_ns = sw_now_ns(clock);
    run->measure_ns = run->start_ns + run->settings->warmup_ns;
    run->end_ns = run->measure_ns + run->settings->duration_ns;
    sw_status status = start_workers(run, &workers, err);
    if (status) {
        stop_all(run, &workers);
    } else {
        ended_ns = watch(run, &workers, result);
    }
    for (size_t i = 0; i < workers.started; i++) {
        sw_worker_join(workers.items[i]);
    }
    if (!status) {
        sum_up(run, &workers, ended_ns, result);
        result->cpu_ns = cpu_ns() - cpu_before;
    }
    for (size_t i = 0; i < workers.created; i++) {
        sw_worker_destroy(workers.items[i]);
    }
    return status;
}

sw_status sw_load_run(const struct sw_load_settings *settings, struct sw_load_result *ret, struct sw_error *err) {
    struct sw_run run = {.settings = settings, .done_fd = -1};
    struct sw_load_result result = {0};
    SW_ASSERT(settings->request_count > 0 && settings->threads > 0 && settings->threads <= SW_LOAD_THREADS_MAX);
    SW_ASSERT(settings->connections >= settings->threads && settings->timeout_ns > 0);
    SW_TRY(reserve_descriptors(settings->connections, err));
    SW_TRY(resolve(&run, err));
    if (settings->url->tls) {
        SW_TRY(sw_tls_context(settings->insecure_tls, &run.tls, err));
    }
    run.done_fd = eventfd(0, EFD_CLOEXEC);
    sw_status status = run.done_fd >= 0 ? run_workers(&run, &result, err)
                                        : sw_fail(err, SW_E_IO, "eventfd: %s", strerror(errno));
    if (run.done_fd >= 0) {
        close(run.done_fd);
    }
    SSL_CTX_free(run.tls);
    if (status) {
        sw_load_result_deinit(&result);
        return status;
    }
    *ret = result;
    return SW_OK;
}

void sw_load_result_deinit(struct sw_load_result *result) {
    sw_free(result->totals);
    sw_free(result->rows);
    *result = (struct sw_load_result){0};
}
