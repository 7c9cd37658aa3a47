/* One thread of the load: its loop, its timetable, its counts. See worker_internal.h.
 *
 * A round: wait for sockets, for the next moment something is due, or for the wake-up; handle each event; then what time
 * has brought: deadlines, pauses that are over, requests that are due. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/thread.h"
#include "load/worker_internal.h"

enum { EVENTS_MAX = 256 };

bool worker_is_open_loop(const struct sw_worker *w) {
    return w->run->settings->rate_per_s > 0;
}

/* --- counts ------------------------------------------------------------------------------------------------------- */

void sw_load_totals_merge(struct sw_load_totals *into, const struct sw_load_totals *from) {
    for (size_t i = 0; i < SW_LOAD_OUTCOME_COUNT; i++) {
        into->outcomes[i] += from->outcomes[i];
        if (!into->reasons[i][0]) {
            memcpy(into->reasons[i], from->reasons[i], sizeof into->reasons[i]);
        }
    }
    for (size_t i = 0; i < SW_LOAD_STATUS_COUNT; i++) {
        into->statuses[i] += from->statuses[i];
    }
    into->answered += from->answered;
    into->late += from->late;
    into->resent += from->resent;
    into->connections += from->connections;
    into->bytes_sent += from->bytes_sent;
    into->bytes_received += from->bytes_received;
    into->backlog_max += from->backlog_max;
    sw_histogram_merge(&into->latency_ns, &from->latency_ns);
    sw_histogram_merge(&into->connect_ns, &from->connect_ns);
    sw_histogram_merge(&into->lag_ns, &from->lag_ns);
}

static void record_recent(struct sw_worker *w, bool success, uint64_t latency_ns) {
    pthread_mutex_lock(&w->lock);
    w->recent.requests++;
    if (success) {
        w->recent.successes++;
        sw_histogram_record(&w->recent.latency_ns, latency_ns);
    }
    pthread_mutex_unlock(&w->lock);
}

void worker_record(struct sw_worker *w, enum sw_load_outcome outcome, int status, uint64_t start_ns, uint64_t now,
                   uint64_t received, const char *reason) {
    struct sw_load_totals *totals = w->totals;
    bool success = outcome == SW_LOAD_SUCCESS;
    uint64_t latency_ns = now > start_ns ? now - start_ns : 0;
    record_recent(w, success, latency_ns);
    totals->answered += success && now >= w->run->measure_ns && now <= w->run->end_ns;
    if (start_ns < w->run->measure_ns) {
        return;
    }
    totals->outcomes[outcome]++;
    totals->statuses[status] += status > 0;
    totals->bytes_received += received;
    if (success) {
        sw_histogram_record(&totals->latency_ns, latency_ns);
    } else if (!totals->reasons[outcome][0]) {
        snprintf(totals->reasons[outcome], sizeof totals->reasons[outcome], "%s", reason);
    }
}

void worker_record_start(struct sw_worker *w, uint64_t start_ns, uint64_t now, size_t bytes) {
    if (start_ns >= w->run->measure_ns) {
        w->totals->bytes_sent += bytes;
        if (worker_is_open_loop(w)) {
            sw_histogram_record(&w->totals->lag_ns, now > start_ns ? now - start_ns : 0);
        }
    }
}

void sw_worker_take_recent(struct sw_worker *w, struct sw_recent *into) {
    pthread_mutex_lock(&w->lock);
    into->requests += w->recent.requests;
    into->successes += w->recent.successes;
    sw_histogram_merge(&into->latency_ns, &w->recent.latency_ns);
    w->recent.requests = w->recent.successes = 0;
    sw_histogram_clear(&w->recent.latency_ns);
    pthread_mutex_unlock(&w->lock);
}

void sw_worker_add_totals(struct sw_worker *w, struct sw_load_totals *into) {
    w->totals->backlog_max = w->backlog.count_max;
    sw_load_totals_merge(into, w->totals);
}

/* --- what may begin ----------------------------------------------------------------------------------------------- */

bool worker_claim(struct sw_worker *w, uint64_t start_ns) {
    struct sw_run *run = w->run;
    uint64_t limit = run->settings->requests_max;
    if (start_ns >= run->end_ns || w->exhausted) {
        return false;
    }
    if (limit && start_ns >= run->measure_ns) {
        w->exhausted = atomic_fetch_add_explicit(&run->claimed, 1, memory_order_relaxed) >= limit;
    }
    return !w->exhausted;
}

const struct sw_str *worker_next_request(struct sw_worker *w) {
    const struct sw_load_settings *settings = w->run->settings;
    size_t index = w->turn;
    if (settings->random_order) {
        index = (size_t)(sw_random_next(&w->random) % settings->request_count);
    } else {
        w->turn = (w->turn + w->lanes) % settings->request_count;
    }
    return &settings->requests[index];
}

/* --- open loop ---------------------------------------------------------------------------------------------------- */

/* A request is due: at once when a connection is free, or can be opened for it; else it waits. */
static void arrive(struct sw_worker *w, uint64_t due_ns, uint64_t now) {
    if (w->idle.first && w->backlog.count == 0) {
        connection_send(w->idle.last, due_ns, now); /* the one used last: its caches are warm */
        return;
    }
    if (!sw_backlog_push(&w->backlog, due_ns)) {
        worker_record(w, SW_LOAD_DROPPED, 0, due_ns, now, 0, "the backlog of requests that are due is full");
    } else if (w->vacant.first && w->connecting < w->backlog.count) {
        connection_open(w->vacant.first, now);
    } else {
        w->totals->late += due_ns >= w->run->measure_ns;
    }
}

static void admit_arrivals(struct sw_worker *w, uint64_t now) {
    uint64_t due_ns;
    while ((due_ns = sw_arrivals_next(&w->arrivals)) <= now && worker_claim(w, due_ns)) {
        sw_arrivals_take(&w->arrivals);
        arrive(w, due_ns, now);
    }
}

static void work_off_backlog(struct sw_worker *w, uint64_t now) {
    uint64_t due_ns, timeout_ns = w->run->settings->timeout_ns;
    while (sw_backlog_oldest(&w->backlog) < UINT64_MAX && sw_backlog_oldest(&w->backlog) + timeout_ns <= now &&
           sw_backlog_pop(&w->backlog, &due_ns)) {
        worker_record(w, SW_LOAD_TIMEOUT, 0, due_ns, now, 0, "no connection was free in time");
    }
    while (w->idle.first && sw_backlog_pop(&w->backlog, &due_ns)) {
        connection_send(w->idle.last, due_ns, now);
    }
    /* Each failed attempt takes a request from the backlog, so this ends. */
    while (w->vacant.first && w->connecting < w->backlog.count) {
        connection_open(w->vacant.first, now);
    }
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* When something must happen although no socket stirs. */
static uint64_t next_moment(const struct sw_worker *w) {
    uint64_t moment = w->active.first ? w->active.first->deadline_ns : UINT64_MAX;
    moment = w->paused.first ? earlier(moment, w->paused.first->deadline_ns) : moment;
    if (!worker_is_open_loop(w)) {
        return w->active.first ? moment : earlier(moment, w->run->end_ns);
    }
    uint64_t due_ns = sw_arrivals_next(&w->arrivals);
    if (w->backlog.count) {
        moment = earlier(moment, sw_backlog_oldest(&w->backlog) + w->run->settings->timeout_ns);
    }
    return earlier(moment, due_ns < w->run->end_ns && !w->exhausted ? due_ns : w->run->end_ns);
}

/* A timer that fires too early only costs a round, so it is set anew only for an earlier moment. */
static void arm_timer(struct sw_worker *w, uint64_t now) {
    uint64_t moment = next_moment(w);
    if (moment <= now) {
        moment = now + 1;
    }
    if (moment < w->armed_ns) {
        struct itimerspec spec = {.it_value = {(time_t)(moment / 1000000000), (long)(moment % 1000000000)}};
        int rc = timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
        SW_ASSERT(rc == 0);
        w->armed_ns = moment;
    }
}

static void handle_event(struct sw_worker *w, const struct epoll_event *event) {
    uint64_t count;
    ssize_t n;
    if (event->data.ptr == &w->timer_fd) {
        n = read(w->timer_fd, &count, sizeof count);
        w->armed_ns = UINT64_MAX;
    } else if (event->data.ptr == &w->wake_fd) {
        n = read(w->wake_fd, &count, sizeof count);
    } else {
        connection_event(event->data.ptr, event->events, sw_now_ns(sw_clock_system()));
        return;
    }
    SW_ASSERT(n == sizeof count || errno == EAGAIN);
}

static void handle_time(struct sw_worker *w, uint64_t now) {
    while (w->active.first && w->active.first->deadline_ns <= now) {
        connection_expire(w->active.first, now);
    }
    while (w->paused.first && w->paused.first->deadline_ns <= now) {
        connection_expire(w->paused.first, now);
    }
    if (worker_is_open_loop(w)) {
        admit_arrivals(w, now);
        work_off_backlog(w, now);
    }
}

/* Is an answer still waited for? A connection that is being made for no request in particular is none. */
static bool is_waiting(const struct sw_worker *w) {
    const struct connection *c = w->active.first;
    while (c && worker_is_open_loop(w) && !c->request) {
        c = c->next;
    }
    return c || w->backlog.count;
}

static bool is_over(const struct sw_worker *w, uint64_t now) {
    if (atomic_load_explicit(&w->run->stopped, memory_order_relaxed)) {
        return true;
    }
    return (w->exhausted || now >= w->run->end_ns) && !is_waiting(w);
}

static void *work(void *arg) {
    struct sw_worker *w = arg;
    struct sw_clock *clock = sw_clock_system();
    struct epoll_event events[EVENTS_MAX];
    uint64_t now = sw_now_ns(clock), one = 1;
    for (size_t i = 0; i < w->connection_count; i++) {
        connection_next(&w->connections[i], now);
    }
    handle_time(w, now);
    while (!is_over(w, now)) {
        arm_timer(w, now);
        int count = epoll_wait(w->epoll_fd, events, EVENTS_MAX, -1);
        SW_ASSERT(count >= 0 || errno == EINTR);
        for (int i = 0; i < count; i++) {
            handle_event(w, &events[i]);
        }
        now = sw_now_ns(clock);
        handle_time(w, now);
    }
    for (size_t i = 0; i < w->connection_count; i++) {
        sw_transport_close(&w->connections[i].transport);
    }
    ssize_t n = write(w->run->done_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one);
    return NULL;
}

/* --- its life ----------------------------------------------------------------------------------------------------- */

/* The lane's share of a number: shares add up to it. */
static size_t share(size_t number, unsigned lane, unsigned lanes) {
    return number / lanes + (lane < number % lanes);
}

struct sw_worker *sw_worker_create(struct sw_run *run, unsigned lane, unsigned lanes) {
    const struct sw_load_settings *settings = run->settings;
    struct sw_worker *w = SW_NEW(struct sw_worker);
    uint64_t key[2] = {settings->seed, lane};
    size_t backlog_max = settings->backlog_max ? settings->backlog_max : SW_LOAD_BACKLOG_MAX;
    *w = (struct sw_worker){.run = run,
                            .lane = lane,
                            .lanes = lanes,
                            .epoll_fd = -1,
                            .timer_fd = -1,
                            .wake_fd = -1,
                            .armed_ns = UINT64_MAX,
                            .turn = lane % settings->request_count};
    w->random = sw_hash(key, sizeof key, 1);
    w->connection_count = share(settings->connections, lane, lanes);
    w->connections = sw_xcalloc(w->connection_count, sizeof *w->connections);
    for (size_t i = 0; i < w->connection_count; i++) {
        struct connection *c = &w->connections[i];
        c->worker = w;
        c->transport.fd = -1;
        list_add(&w->vacant, c);
    }
    if (settings->rate_per_s > 0) {
        size_t capacity = share(backlog_max, lane, lanes);
        sw_backlog_init(&w->backlog, capacity ? capacity : 1);
        sw_arrivals_init(&w->arrivals, settings->arrivals, settings->rate_per_s, lane, lanes, settings->seed,
                         run->start_ns);
    }
    w->buffer = sw_xmalloc(BUFFER_SIZE);
    w->totals = SW_NEW(struct sw_load_totals);
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

static bool add_fd(struct sw_worker *w, int *fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};
    return *fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, *fd, &event) == 0;
}

sw_status sw_worker_start(struct sw_worker *w, struct sw_error *err) {
    char name[32];
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->epoll_fd < 0 || !add_fd(w, &w->timer_fd) || !add_fd(w, &w->wake_fd)) {
        return sw_fail(err, SW_E_IO, "descriptors of a thread: %s", strerror(errno));
    }
    snprintf(name, sizeof name, "sw-load-%u", w->lane);
    return sw_thread_start(&w->thread, name, 0, work, w, err);
}

void sw_worker_wake(struct sw_worker *w) {
    uint64_t one = 1;
    ssize_t n = write(w->wake_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one || errno == EAGAIN);
}

void sw_worker_join(struct sw_worker *w) {
    pthread_join(w->thread, NULL);
}

void sw_worker_destroy(struct sw_worker *w) {
    if (!w) {
        return;
    }
    for (size_t i = 0; i < w->connection_count; i++) {
        sw_response_deinit(&w->connections[i].response);
    }
    int fds[] = {w->epoll_fd, w->timer_fd, w->wake_fd};
    for (size_t i = 0; i < SW_COUNTOF(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    sw_backlog_deinit(&w->backlog);
    pthread_mutex_destroy(&w->lock);
    sw_free(w->buffer);
    sw_free(w->totals);
    sw_free(w->connections);
    sw_free(w);
}
