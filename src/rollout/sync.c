/* What the sync thread does: look at the source, ask the repository, try again what failed.
 *
 * A step: read the changes when woken (or when a failed look is due again); hand them to the repository as far as its
 * queue takes them, the rest when loads have ended; ask again for models whose attempt failed and is due. `seen` moves
 * only when all of a batch was asked, and a revision counts as followed when everything asked since has ended. Models
 * that fail do not hold the revision up: their attempt has ended, and the next one is counted anew. */
#include "base/log.h"
#include "base/memory.h"
#include "rollout/serving_internal.h"

enum { RETRY_MIN_MS = 500, RETRY_MAX_MS = 30000 };
#define TICK_NS UINT64_C(1000000000)

static uint64_t now_of(const struct sw_serving *serving) {
    return sw_now_ns(serving->options.clock);
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* ---- life ---- */

struct sw_serving *serving_create(const struct sw_serving_options *options) {
    struct sw_serving *serving = SW_NEW(struct sw_serving);
    serving->options = *options;
    serving->options.clock = options->clock ? options->clock : sw_clock_system();
    serving->options.retry_min_ms = options->retry_min_ms ? options->retry_min_ms : RETRY_MIN_MS;
    serving->options.retry_max_ms = options->retry_max_ms ? options->retry_max_ms : RETRY_MAX_MS;
    sw_arena_init(&serving->arena, 0, 1 << 16);
    serving->look_due = true;
    serving->look_at_ns = UINT64_MAX;
    serving->retry_at_ns = UINT64_MAX;
    serving->seen = -1;
    serving->references = 1;
    sw_fail(&serving->health, SW_E_UNAVAILABLE, "the registry has not been read yet");
    sw_map_init(&serving->subjects);
    pthread_mutex_init(&serving->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&serving->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return serving;
}

static void destroy(struct sw_serving *serving) {
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&serving->subjects, &i));) {
        sw_free(e->value);
    }
    sw_map_deinit(&serving->subjects);
    sw_arena_deinit(&serving->arena);
    pthread_cond_destroy(&serving->changed);
    pthread_mutex_destroy(&serving->lock);
    sw_free(serving);
}

void serving_unref(struct sw_serving *serving) {
    pthread_mutex_lock(&serving->lock);
    bool last = --serving->references == 0;
    pthread_mutex_unlock(&serving->lock);
    if (last) {
        destroy(serving);
    }
}

/* ---- asking the repository ---- */

static struct ask *ask_begin(struct sw_serving *serving, const char *name, int64_t live, bool deleted) {
    size_t length = strlen(name);
    struct ask *ask = sw_xcalloc(1, sizeof *ask + length + 1);
    memcpy(ask->name, name, length);
    ask->serving = serving;
    ask->live = live;
    ask->deleted = deleted;
    pthread_mutex_lock(&serving->lock);
    ask->since = serving->seen;
    ask->before = serving->newest;
    *(serving->newest ? &serving->newest->next : &serving->oldest) = ask;
    serving->newest = ask;
    serving->references++;
    pthread_mutex_unlock(&serving->lock);
    return ask;
}

/* Under the lock. */
static void ask_unlink(struct sw_serving *serving, struct ask *ask) {
    *(ask->before ? &ask->before->next : &serving->oldest) = ask->next;
    *(ask->next ? &ask->next->before : &serving->newest) = ask->before;
}

/* One that the repository did not take. */
static void ask_cancel(struct ask *ask) {
    struct sw_serving *serving = ask->serving;
    pthread_mutex_lock(&serving->lock);
    ask_unlink(serving, ask);
    pthread_mutex_unlock(&serving->lock);
    serving_unref(serving);
    sw_free(ask);
}

/* May the same attempt succeed later? */
static bool may_pass(sw_status status) {
    switch (status) {
    case SW_E_UNAVAILABLE:
    case SW_E_IO:
    case SW_E_INSUFFICIENT_STORAGE:
    case SW_E_TOO_MANY_REQUESTS:
    case SW_E_REQUEST_TIMEOUT:
    case SW_E_DEADLINE_EXCEEDED: return true;
    default: return false;
    }
}

static uint64_t next_delay(const struct sw_serving *serving, uint64_t delay_ms) {
    const struct sw_serving_options *options = &serving->options;
    return delay_ms ? earlier(delay_ms * 2, options->retry_max_ms) : options->retry_min_ms;
}

/* Under the lock. */
static void retry_later(struct sw_serving *serving, struct subject *subject) {
    subject->delay_ms = next_delay(serving, subject->delay_ms);
    subject->retry_at_ns = now_of(serving) + subject->delay_ms * 1000000;
    serving->retry_at_ns = earlier(serving->retry_at_ns, subject->retry_at_ns);
}

static void log_outcome(const struct ask *ask, sw_status status, const struct sw_error *err, uint64_t retry_ms) {
    if (!status) {
        sw_log(SW_LOG_INFO, ask->deleted ? "model left with the registry" : "model follows the registry",
               SW_F_STR("model", ask->name), SW_F_INT("live", ask->live));
    } else {
        sw_log(SW_LOG_WARN, "model cannot follow the registry", SW_F_STR("model", ask->name),
               SW_F_STR("code", sw_status_name(status)), SW_F_STR("reason", err->message),
               SW_F_INT("retry_ms", retry_ms));
    }
}

/* Loader thread. */
static void on_outcome(void *arg, sw_status status, const struct sw_error *err) {
    struct ask *ask = arg;
    struct sw_serving *serving = ask->serving;
    uint64_t retry_ms = 0;
    pthread_mutex_lock(&serving->lock);
    ask_unlink(serving, ask);
    bool stopping = serving->stopping;
    struct subject *subject = sw_map_get(&serving->subjects, sw_str_of(ask->name));
    if (subject && may_pass(status)) {
        retry_later(serving, subject);
        retry_ms = subject->delay_ms;
    } else if (subject) {
        subject->delay_ms = 0;
        subject->retry_at_ns = UINT64_MAX;
    }
    serving->ended = true;
    pthread_cond_signal(&serving->changed);
    pthread_mutex_unlock(&serving->lock);
    if (!stopping) {
        log_outcome(ask, status, err, retry_ms);
    }
    serving_unref(serving);
    sw_free(ask);
}

/* ---- what the source said ---- */

static void set_subject(struct sw_serving *serving, const char *name, bool there, int64_t live) {
    struct sw_str key = sw_str_of(name);
    pthread_mutex_lock(&serving->lock);
    struct subject *subject = sw_map_get(&serving->subjects, key);
    if (there && !subject) {
        subject = SW_NEW(struct subject);
        sw_map_put(&serving->subjects, key, subject);
    }
    if (there) {
        /* What is wanted now has not failed yet. */
        *subject = (struct subject){.live = live, .retry_at_ns = UINT64_MAX};
    } else {
        sw_free(sw_map_remove(&serving->subjects, key));
    }
    pthread_mutex_unlock(&serving->lock);
}

/* false: the queue of the repository is full; what is left is asked for at the next step. */
static bool follow(struct sw_serving *serving, const struct sw_served_model *model) {
    struct sw_error err;
    set_subject(serving, model->name, !model->deleted, model->live);
    struct ask *ask = ask_begin(serving, model->name, model->live, model->deleted);
    sw_status status = sw_repository_follow(serving->options.repository, model, on_outcome, ask, &err);
    if (!status) {
        return true;
    }
    ask_cancel(ask);
    if (may_pass(status)) {
        return false;
    }
    sw_log(SW_LOG_WARN, "model of the registry is not served", SW_F_STR("model", model->name),
           SW_F_STR("reason", err.message));
    set_subject(serving, model->name, false, 0);
    return true;
}

static void ask_batch(struct sw_serving *serving, uint64_t now) {
    struct batch *batch = &serving->batch;
    serving->stalled_until_ns = 0;
    while (batch->models) {
        if (batch->next == batch->count && batch->deletions) {
            batch->models = NULL;
        } else if (batch->next == batch->count) {
            batch->deletions = true;
            batch->next = 0;
        } else if (batch->models[batch->next].deleted != batch->deletions ||
                   follow(serving, &batch->models[batch->next])) {
            batch->next++;
        } else {
            /* An ask of ours that ends wakes the thread before; the queue may be full of others', though. */
            serving->stalled_until_ns = now + serving->options.retry_min_ms * 1000000;
            return;
        }
    }
    pthread_mutex_lock(&serving->lock);
    serving->seen = batch->revision;
    pthread_mutex_unlock(&serving->lock);
}

/* ---- looking at the source ---- */

static sw_status read_changes(struct sw_serving *serving, int64_t since, struct sw_error *err) {
    const struct sw_serving_source *source = &serving->options.source;
    struct batch batch = {0};
    sw_arena_reset(&serving->arena);
    SW_TRY(source->changes(source->arg, since, &serving->arena, &batch.models, &batch.count, &batch.revision, err));
    if (batch.count == 0) {
        batch.models = sw_arena_calloc(&serving->arena, 1, sizeof *batch.models);
        SW_ASSERT(batch.models); /* the arena has no limit */
    }
    serving->batch = batch;
    return SW_OK;
}

static bool is_listed(const struct batch *batch, const char *name) {
    for (size_t i = 0; i < batch->count; i++) {
        if (strcmp(batch->models[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The registry is another one than before, or an older state of it: what it has not got any more is deleted. */
static sw_status read_anew(struct sw_serving *serving, struct sw_error *err) {
    SW_TRY(read_changes(serving, 0, err));
    struct batch *batch = &serving->batch;
    struct sw_served_model *models = sw_arena_calloc(&serving->arena, batch->count + serving->subjects.count + 1,
                                                     sizeof *models);
    SW_ASSERT(models);
    memcpy(models, batch->models, batch->count * sizeof *models);
    size_t count = batch->count;
    const struct sw_map_entry *e;
    pthread_mutex_lock(&serving->lock);
    for (size_t i = 0; (e = sw_map_next(&serving->subjects, &i));) {
        if (!is_listed(batch, e->key)) {
            char *name = sw_arena_strdup(&serving->arena, sw_str_of(e->key));
            models[count++] = (struct sw_served_model){.name = name, .deleted = true};
        }
    }
    pthread_mutex_unlock(&serving->lock);
    batch->models = models;
    batch->count = count;
    return SW_OK;
}

static sw_status read_source(struct sw_serving *serving, struct sw_error *err) {
    int64_t seen = serving->seen; /* only this thread writes it */
    SW_TRY(read_changes(serving, seen > 0 ? seen : 0, err));
    if (serving->batch.revision >= seen) {
        return SW_OK;
    }
    sw_log(SW_LOG_WARN, "the registry went back to an older state", SW_F_INT("from", seen),
           SW_F_INT("to", serving->batch.revision));
    serving->batch.models = NULL; /* not half of it when the second look fails */
    return read_anew(serving, err);
}

static void look(struct sw_serving *serving, uint64_t now) {
    struct sw_error err = {0};
    sw_status status = read_source(serving, &err);
    serving->look_due = false;
    serving->look_delay_ms = status ? next_delay(serving, serving->look_delay_ms) : 0;
    serving->look_at_ns = status ? now + serving->look_delay_ms * 1000000 : UINT64_MAX;
    pthread_mutex_lock(&serving->lock);
    serving->health = err;
    pthread_mutex_unlock(&serving->lock);
    if (status && !serving->failing) {
        sw_log(SW_LOG_ERROR, "the registry cannot be read; serving goes on with what is loaded",
               SW_F_STR("reason", err.message));
    } else if (!status && serving->failing) {
        sw_log(SW_LOG_INFO, "the registry can be read again");
    }
    serving->failing = status != SW_OK;
}

/* ---- trying again ---- */

/* The name (on the heap) of a model whose next attempt is due; NULL: none. */
static char *take_due(struct sw_serving *serving, uint64_t now, int64_t *ret_live) {
    char *name = NULL;
    const struct sw_map_entry *e;
    pthread_mutex_lock(&serving->lock);
    if (serving->retry_at_ns <= now) {
        serving->retry_at_ns = UINT64_MAX;
        for (size_t i = 0; (e = sw_map_next(&serving->subjects, &i));) {
            struct subject *subject = e->value;
            if (!name && subject->retry_at_ns <= now) {
                name = sw_xstrdup(e->key);
                *ret_live = subject->live;
                subject->retry_at_ns = UINT64_MAX;
            }
            serving->retry_at_ns = earlier(serving->retry_at_ns, subject->retry_at_ns);
        }
    }
    pthread_mutex_unlock(&serving->lock);
    return name;
}

static void postpone(struct sw_serving *serving, const char *name) {
    pthread_mutex_lock(&serving->lock);
    struct subject *subject = sw_map_get(&serving->subjects, sw_str_of(name));
    if (subject) {
        retry_later(serving, subject);
    }
    pthread_mutex_unlock(&serving->lock);
}

static void retry_due(struct sw_serving *serving, uint64_t now) {
    int64_t live = 0;
    for (char *name; (name = take_due(serving, now, &live));) {
        struct ask *ask = ask_begin(serving, name, live, false);
        sw_status status = sw_repository_load(serving->options.repository, sw_str_of(name), on_outcome, ask, NULL);
        if (status) {
            ask_cancel(ask);
        }
        if (may_pass(status)) { /* else it is gone: nothing to try again */
            postpone(serving, name);
        }
        sw_free(name);
    }
}

/* ---- a step ---- */

static void take_signals(struct sw_serving *serving) {
    pthread_mutex_lock(&serving->lock);
    serving->look_due = serving->look_due || serving->woken;
    serving->woken = false;
    serving->ended = false;
    pthread_mutex_unlock(&serving->lock);
}

static void tick(struct sw_serving *serving, uint64_t now) {
    if (now >= serving->tick_at_ns) {
        uint64_t next = sw_repository_tick(serving->options.repository);
        serving->tick_at_ns = earlier(now + TICK_NS, next > now ? next : now + TICK_NS);
    }
}

uint64_t serving_step(struct sw_serving *serving) {
    uint64_t now = now_of(serving);
    take_signals(serving);
    tick(serving, now);
    if (!serving->batch.models && (serving->look_due || serving->look_at_ns <= now)) {
        look(serving, now);
    }
    if (serving->batch.models) {
        ask_batch(serving, now);
    }
    retry_due(serving, now);
    if (serving->look_due && !serving->batch.models) {
        return 0; /* woken while a batch was under way */
    }
    pthread_mutex_lock(&serving->lock);
    uint64_t at = earlier(serving->retry_at_ns, serving->tick_at_ns);
    pthread_mutex_unlock(&serving->lock);
    at = earlier(at, serving->look_at_ns);
    at = serving->batch.models ? earlier(at, serving->stalled_until_ns) : at;
    return at > now ? at - now : 0;
}
