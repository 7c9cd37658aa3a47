/* The queue of notifications and its thread; see notify.h.
 *
 * Lock: lock guards the queue and the counts; it is not held while something is sent or told to on_outcome. The first of the
 * queue stays there while it is being sent, so a second push of the same alert finds it; `sending` keeps it from being
 * dropped. */
#include "observe/notify.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/memory.h"
#include "base/thread.h"

enum { BODY_MAX = 256 * 1024, NICE = 10 };

struct notification {
    struct notification *next;
    struct sw_alert *alert; /* a copy */
    uint64_t pushed_ns, due_ns;
    unsigned attempts;
};

struct sw_notify {
    struct sw_notify_options options; /* texts owned */
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct notification *first, **last;
    bool sending; /* the first */
    struct sw_notify_counts counts;
};

/* ---- life */

static char *address(const struct sw_notify_options *options) {
    static const char path[] = "/api/v2/alerts";
    size_t length = strlen(options->url);
    if (options->format == SW_NOTIFY_WEBHOOK) {
        return sw_xstrdup(options->url);
    }
    while (length > 0 && options->url[length - 1] == '/') {
        length--;
    }
    char *url = sw_xmalloc(length + sizeof path);
    memcpy(url, options->url, length);
    memcpy(url + length, path, sizeof path);
    return url;
}

struct sw_notify *sw_notify_create(const struct sw_notify_options *options) {
    struct sw_notify *notify = SW_NEW(struct sw_notify);
    notify->options = *options;
    notify->options.url = address(options);
    notify->options.token = sw_xstrdup(options->token);
    notify->options.external_url = sw_xstrdup(options->external_url);
    notify->last = &notify->first;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&notify->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&notify->lock, NULL);
    return notify;
}

static void free_notification(struct notification *n) {
    sw_alert_destroy(n->alert);
    sw_free(n);
}

void sw_notify_destroy(struct sw_notify *notify) {
    if (!notify) {
        return;
    }
    pthread_mutex_lock(&notify->lock);
    atomic_store(&notify->stop, true);
    pthread_cond_signal(&notify->changed);
    pthread_mutex_unlock(&notify->lock);
    if (notify->has_thread) {
        int rc = pthread_join(notify->thread, NULL);
        SW_ASSERT(rc == 0);
    }
    while (notify->first) {
        struct notification *next = notify->first->next;
        free_notification(notify->first);
        notify->first = next;
    }
    pthread_cond_destroy(&notify->changed);
    pthread_mutex_destroy(&notify->lock);
    sw_free((void *)(uintptr_t)notify->options.url);
    if (notify->options.token) {
        explicit_bzero((void *)(uintptr_t)notify->options.token, strlen(notify->options.token));
    }
    sw_free((void *)(uintptr_t)notify->options.token);
    sw_free((void *)(uintptr_t)notify->options.external_url);
    sw_free(notify);
}

/* ---- the queue; under the lock */

static bool waits(const struct sw_notify *notify, const struct sw_alert *alert) {
    const struct notification *n = notify->first;
    while (n && (strcmp(n->alert->id, alert->id) != 0 || n->alert->state != alert->state)) {
        n = n->next;
    }
    return n;
}

static void take_out(struct sw_notify *notify, struct notification **link) {
    struct notification *n = *link;
    *link = n->next;
    notify->last = notify->last == &n->next ? link : notify->last;
    notify->counts.waiting--;
    free_notification(n);
}

void sw_notify_push(struct sw_notify *notify, const struct sw_alert *alert, char ret_dropped[SW_ALERT_ID_MAX]) {
    ret_dropped[0] = '\0';
    pthread_mutex_lock(&notify->lock);
    if (!waits(notify, alert)) {
        if (notify->counts.waiting == SW_NOTIFY_QUEUE_MAX) {
            struct notification **oldest = notify->sending ? &notify->first->next : &notify->first;
            SW_ASSERT(*oldest); /* so many wait */
            snprintf(ret_dropped, SW_ALERT_ID_MAX, "%s", (*oldest)->alert->id);
            notify->counts.dropped++;
            take_out(notify, oldest);
        }
        struct notification *n = SW_NEW(struct notification);
        n->alert = sw_alert_copy(alert);
        n->pushed_ns = n->due_ns = sw_now_ns(notify->options.clock);
        *notify->last = n;
        notify->last = &n->next;
        notify->counts.waiting++;
        pthread_cond_signal(&notify->changed);
    }
    pthread_mutex_unlock(&notify->lock);
}

void sw_notify_count(struct sw_notify *notify, struct sw_notify_counts *ret) {
    pthread_mutex_lock(&notify->lock);
    *ret = notify->counts;
    pthread_mutex_unlock(&notify->lock);
}

/* ---- sending */

static uint64_t back_off_ms(unsigned attempts) {
    uint64_t ms = SW_NOTIFY_RETRY_MIN_MS;
    for (unsigned i = 1; i < attempts && ms < SW_NOTIFY_RETRY_MAX_MS; i++) {
        ms *= 2;
    }
    return ms < SW_NOTIFY_RETRY_MAX_MS ? ms : SW_NOTIFY_RETRY_MAX_MS;
}

static bool may_pass(int status) {
    return status == 0 || status == 408 || status == 429 || status >= 500;
}

static int attempt(struct sw_notify *notify, const struct sw_alert *alert, char error[SW_NOTIFY_ERROR_MAX]) {
    const struct sw_notify_options *o = &notify->options;
    json_t *body = sw_notify_body(alert, o->format, o->external_url, o->clock->wall_ms(o->clock));
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    int status = 0;
    snprintf(error, SW_NOTIFY_ERROR_MAX, "no memory");
    if (text) {
        status = o->send(o->send_arg, o->url, o->token, sw_str_of(text), &notify->stop, error);
    }
    sw_free(text);
    json_decref(body);
    return status;
}

/* Sends the first of the queue, which is due; not under the lock. */
static void send_first(struct sw_notify *notify, struct notification *n) {
    char error[SW_NOTIFY_ERROR_MAX];
    int status = attempt(notify, n->alert, error);
    uint64_t now_ns = sw_now_ns(notify->options.clock);
    bool is_old = now_ns - n->pushed_ns >= SW_NOTIFY_AGE_MAX_MS * UINT64_C(1000000);
    n->attempts++;
    n->due_ns = now_ns + back_off_ms(n->attempts) * 1000000;
    bool is_delivered = status >= 200 && status < 300;
    struct sw_notify_outcome outcome = {.is_delivered = is_delivered,
                                        .is_final = is_delivered || !may_pass(status) || is_old,
                                        .attempts = n->attempts,
                                        .error = is_delivered ? NULL : error};
    if (atomic_load(&notify->stop) && !is_delivered) {
        return; /* broken off: after a restart it is told again */
    }
    if (outcome.is_final) {
        pthread_mutex_lock(&notify->lock);
        *(is_delivered ? &notify->counts.delivered : &notify->counts.failed) += 1;
        pthread_mutex_unlock(&notify->lock);
    }
    notify->options.on_outcome(notify->options.arg, n->alert->id, n->alert->state, &outcome);
    if (outcome.is_final) {
        pthread_mutex_lock(&notify->lock);
        take_out(notify, &notify->first);
        pthread_mutex_unlock(&notify->lock);
    }
}

static uint64_t until_due_ms(const struct sw_notify *notify) { /* under the lock */
    uint64_t now_ns = sw_now_ns(notify->options.clock);
    if (!notify->first) {
        return UINT64_MAX;
    }
    return notify->first->due_ns > now_ns ? (notify->first->due_ns - now_ns + 999999) / 1000000 : 0;
}

uint64_t sw_notify_step(struct sw_notify *notify) {
    pthread_mutex_lock(&notify->lock);
    struct notification *due = until_due_ms(notify) == 0 ? notify->first : NULL;
    notify->sending = due;
    pthread_mutex_unlock(&notify->lock);
    if (due) {
        send_first(notify, due);
    }
    pthread_mutex_lock(&notify->lock);
    notify->sending = false;
    uint64_t wait_ms = until_due_ms(notify);
    pthread_mutex_unlock(&notify->lock);
    return wait_ms;
}

/* ---- the thread */

static void wait(struct sw_notify *notify, uint64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ms = ms < SW_NOTIFY_RETRY_MAX_MS ? ms : SW_NOTIFY_RETRY_MAX_MS;
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&notify->lock);
    /* A push between the step and here has made something due: then there is no waiting. */
    if (!atomic_load(&notify->stop) && until_due_ms(notify) > 0) {
        pthread_cond_timedwait(&notify->changed, &notify->lock, &until);
    }
    pthread_mutex_unlock(&notify->lock);
}

static void *run(void *arg) {
    struct sw_notify *notify = arg;
    while (!atomic_load(&notify->stop)) {
        uint64_t ms = sw_notify_step(notify);
        if (ms > 0) {
            wait(notify, ms);
        }
    }
    return NULL;
}

sw_status sw_notify_start(struct sw_notify *notify, struct sw_error *err) {
    SW_TRY(sw_thread_start(&notify->thread, "sw-notify", NICE, run, notify, err));
    notify->has_thread = true;
    return SW_OK;
}
