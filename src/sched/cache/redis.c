/* The functions of redis.h, the queues, and the thread.
 *
 * Questions and entries are pushed onto two stacks without a lock, and the first of an empty stack wakes the thread, which
 * takes all of them, turns them round and sends them. Nothing is allocated for a question: it lies in its request. */
#include "sched/cache/redis.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/thread.h"
#include "sched/cache/redis_internal.h"

enum { FLYING_BYTES_MAX = 1 << 20 };

uint64_t redis_now(struct sw_redis *redis) {
    return sw_now_ns(redis->options.clock);
}

/* Printable, and without the password even where a server repeats it. */
void redis_say(struct sw_redis *redis, const char *fmt, ...) {
    char text[2 * REDIS_REASON_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (redis->seeds.password[0] && strstr(text, redis->seeds.password)) {
        snprintf(text, sizeof text, "a failure whose text holds the password, and is left out");
    }
    for (char *c = text; *c; c++) {
        *c = *c < ' ' || *c > '~' ? '?' : *c;
    }
    pthread_mutex_lock(&redis->lock);
    snprintf(redis->reason, sizeof redis->reason, "%.*s", REDIS_REASON_MAX - 1, text);
    pthread_mutex_unlock(&redis->lock);
}

static void wake(struct sw_redis *redis) {
    uint64_t one = 1;
    ssize_t n = write(redis->wake_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one || errno == EAGAIN);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

void redis_question_end(struct sw_redis *redis, struct sw_redis_question *question, enum redis_cause cause,
                        struct sw_str value) {
    struct redis_counters *c = &redis->counters;
    atomic_uint_fast64_t *const causes[] = {[REDIS_CAUSE_TIMEOUT] = &c->timeouts,
                                            [REDIS_CAUSE_ERROR] = &c->errors,
                                            [REDIS_CAUSE_GARBAGE] = &c->garbage,
                                            [REDIS_CAUSE_REFUSED] = &c->refused};
    if (cause != REDIS_CAUSE_NONE) {
        atomic_fetch_add(causes[cause], 1);
    }
    atomic_fetch_add(value.data ? &c->hits : &c->misses, 1);
    atomic_fetch_sub(&redis->waiting, 1);
    question->done(question, value);
}

bool sw_redis_ask(struct sw_redis *redis, struct sw_redis_question *question) {
    bool full = false;
    if (!atomic_load(&redis->accepting) || atomic_load(&redis->stopping) ||
        (full = atomic_fetch_add(&redis->waiting, 1) >= redis->options.questions_max)) {
        if (full) {
            atomic_fetch_sub(&redis->waiting, 1);
        }
        atomic_fetch_add(&redis->counters.refused, 1);
        return false;
    }
    question->asked_ns = redis_now(redis);
    struct sw_redis_question *top = atomic_load(&redis->asked);
    do {
        question->next = top;
    } while (!atomic_compare_exchange_weak(&redis->asked, &top, question));
    if (!top) { /* the question may have ended by now */
        wake(redis);
    }
    return true;
}

static struct sw_redis_question *take_asked(struct sw_redis *redis) {
    struct sw_redis_question *stack = atomic_exchange(&redis->asked, NULL), *turned = NULL;
    while (stack) {
        struct sw_redis_question *next = stack->next;
        stack->next = turned;
        turned = stack;
        stack = next;
    }
    return turned;
}

static void ask_all(struct sw_redis *redis) {
    struct sw_redis_question *question = take_asked(redis);
    while (question) {
        struct sw_redis_question *next = question->next; /* it is not ours once it has ended */
        redis_ask_one(redis, question);
        question = next;
    }
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

void redis_entry_end(struct sw_redis *redis, struct sw_redis_entry *entry, atomic_uint_fast64_t *counter) {
    atomic_fetch_add(counter, 1);
    atomic_fetch_sub(&redis->entries, 1);
    atomic_fetch_sub(&redis->entry_bytes, entry->value.len);
    entry->release(entry);
}

void sw_redis_keep(struct sw_redis *redis, struct sw_redis_entry *entry) {
    const struct sw_redis_options *o = &redis->options;
    size_t len = entry->value.len;
    SW_ASSERT(entry->ttl_ms > 0);
    size_t count = atomic_fetch_add(&redis->entries, 1);
    size_t bytes = atomic_fetch_add(&redis->entry_bytes, len);
    if (!atomic_load(&redis->accepting) || atomic_load(&redis->stopping) || len > o->value_max ||
        count >= o->entries_max || bytes >= o->entry_bytes_max || len > o->entry_bytes_max - bytes) {
        redis_entry_end(redis, entry, &redis->counters.dropped);
        return;
    }
    struct sw_redis_entry *top = atomic_load(&redis->given);
    do {
        entry->next = top;
    } while (!atomic_compare_exchange_weak(&redis->given, &top, entry));
    if (!top) { /* it may have been released by now */
        wake(redis);
    }
}

static void take_given(struct sw_redis *redis) {
    struct sw_redis_entry *stack = atomic_exchange(&redis->given, NULL), *turned = NULL, *last = stack;
    while (stack) {
        struct sw_redis_entry *next = stack->next;
        stack->next = turned;
        turned = stack;
        stack = next;
    }
    if (turned) {
        *redis->last_entry = turned;
        redis->last_entry = &last->next;
    }
}

/* Questions go first, and never stand behind more than a few entries. */
static void keep_some(struct sw_redis *redis) {
    take_given(redis);
    while (redis->first_entry && !atomic_load(&redis->asked)) {
        struct sw_redis_entry *entry = redis->first_entry;
        if (atomic_load(&redis->accepting) && redis->flying_bytes &&
            redis->flying_bytes + entry->value.len > FLYING_BYTES_MAX) {
            return;
        }
        redis->first_entry = entry->next;
        if (!redis->first_entry) {
            redis->last_entry = &redis->first_entry;
        }
        redis_keep_one(redis, entry);
    }
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void settle_and_flush(struct sw_redis *redis) {
    do {
        redis_settle(redis, redis_now(redis));
        for (size_t i = 0; i < redis->node_count; i++) {
            redis_node_flush(redis->nodes[i]);
        }
    } while (redis->unsettled);
}

static uint64_t next_due(const struct sw_redis *redis) {
    uint64_t due = redis_settle_due(redis), watches = redis_watches_due(redis);
    due = watches < due ? watches : due;
    for (size_t i = 0; i < redis->node_count; i++) {
        const struct redis_node *node = redis->nodes[i];
        uint64_t one = node->read_again ? 0 : node->deadline_ns;
        due = node->state != REDIS_NODE_DOWN && one < due ? one : due;
    }
    return due;
}

static void wait_for_events(struct sw_redis *redis, struct pollfd *fds) {
    static const uint64_t LONGEST_NS = 60000000000;
    fds[0] = (struct pollfd){.fd = redis->wake_fd, .events = POLLIN};
    for (size_t i = 0; i < redis->node_count; i++) {
        const struct redis_node *node = redis->nodes[i];
        fds[i + 1] = (struct pollfd){.fd = node->connection.fd, .events = redis_node_events(node)};
    }
    uint64_t now = redis_now(redis), due = next_due(redis), wait_ns = due > now ? due - now : 0;
    wait_ns = wait_ns < LONGEST_NS ? wait_ns : LONGEST_NS;
    struct timespec limit = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
    if (ppoll(fds, redis->node_count + 1, &limit, NULL) < 0) {
        SW_ASSERT(errno == EINTR);
        fds[0].revents = POLLIN;
    }
    uint64_t count;
    ssize_t n = fds[0].revents ? read(redis->wake_fd, &count, sizeof count) : 0;
    SW_ASSERT(n >= 0 || errno == EAGAIN);
}

/* Nodes may be added meanwhile, at the end, and none is taken out. What has arrived is read before anything expires: this
 * thread may have been held up. */
static void handle_events(struct sw_redis *redis, const struct pollfd *fds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct redis_node *node = redis->nodes[i];
        redis_node_woken(node);
        if ((fds[i + 1].revents || node->read_again) && node->connection.fd == fds[i + 1].fd) {
            redis_node_event(node);
        }
        redis_node_expire(node, redis_now(redis));
    }
}

static void *run(void *arg) {
    struct sw_redis *redis = arg;
    struct pollfd fds[REDIS_NODES_MAX + 1];
    while (!atomic_load(&redis->stopping)) {
        settle_and_flush(redis);
        ask_all(redis);
        keep_some(redis);
        redis_watches_tick(redis, redis_now(redis));
        settle_and_flush(redis);
        size_t count = redis->node_count;
        wait_for_events(redis, fds);
        handle_events(redis, fds, count);
    }
    redis->cause = REDIS_CAUSE_ERROR;
    redis_close_all(redis, REDIS_CAUSE_ERROR);
    return NULL;
}

/* --- making and ending -------------------------------------------------------------------------------------------- */

static void copy_strings(struct sw_redis_options *o) {
    const char **const strings[] = {&o->tls_ca, &o->tls_cert, &o->tls_key, &o->tls_server_name};
    for (size_t i = 0; i < SW_COUNTOF(strings); i++) {
        *strings[i] = sw_xstrdup(*strings[i]);
    }
    o->addresses = o->username = o->password = o->prefix = NULL; /* read already */
}

static void free_strings(struct sw_redis_options *o) {
    const char *const strings[] = {o->tls_ca, o->tls_cert, o->tls_key, o->tls_server_name};
    for (size_t i = 0; i < SW_COUNTOF(strings); i++) {
        sw_free((void *)(uintptr_t)strings[i]);
    }
}

static sw_status take_text(const char *text, char *into, size_t size, const char *what, struct sw_error *err) {
    if (!text || !*text) {
        return SW_OK;
    }
    if (strlen(text) >= size) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the %s of Redis is longer than %zu bytes", what, size - 1);
    }
    snprintf(into, size, "%s", text);
    return SW_OK;
}

static sw_status read_seeds(const struct sw_redis_options *o, struct redis_addresses *ret, struct sw_error *err) {
    SW_TRY(redis_addresses_parse(o->addresses, ret, err));
    SW_TRY(take_text(o->username, ret->username, sizeof ret->username, "user", err));
    SW_TRY(take_text(o->password, ret->password, sizeof ret->password, "password", err));
    if (ret->username[0] && !ret->password[0]) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a user of Redis needs a password");
    }
    ret->database = ret->has_database ? ret->database : o->database;
    ret->tls |= o->tls;
    return SW_OK;
}

static sw_status check(const struct sw_redis_options *o, struct sw_error *err) {
    SW_ASSERT(o->clock && o->prefix);
    if (strlen(o->prefix) > REDIS_PREFIX_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the prefix of keys in Redis is longer than %d bytes",
                       REDIS_PREFIX_MAX);
    }
    if (!o->timeout_ms || !o->breaker_min_ms || o->breaker_min_ms > o->breaker_max_ms || !o->questions_max ||
        !o->value_max || o->value_max > SIZE_MAX / 8) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "a limit of Redis is 0, or its longest pause is shorter than its shortest");
    }
    return SW_OK;
}

static sw_status start(struct sw_redis *redis, struct sw_error *err) {
    redis->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (redis->wake_fd < 0) {
        return sw_fail(err, SW_E_IO, "eventfd: %s", strerror(errno));
    }
    if (!redis_digest_init(&redis->digest)) {
        return sw_fail(err, SW_E_IO, "this machine's OpenSSL has no SHA-256");
    }
    return sw_thread_start(&redis->thread, "sw-redis", 0, run, redis, err);
}

static void free_all(struct sw_redis *redis) {
    redis_digest_deinit(&redis->digest);
    redis_watches_deinit(&redis->watches);
    pthread_mutex_destroy(&redis->lock);
    if (redis->wake_fd >= 0) {
        close(redis->wake_fd);
    }
    SSL_CTX_free(redis->tls);
    free_strings(&redis->options);
    explicit_bzero(&redis->seeds, sizeof redis->seeds);
    sw_free(redis);
}

sw_status sw_redis_create(const struct sw_redis_options *options, struct sw_redis **ret, struct sw_error *err) {
    struct redis_addresses seeds;
    SSL_CTX *tls = NULL;
    SW_TRY(check(options, err));
    SW_TRY(read_seeds(options, &seeds, err));
    if (seeds.tls) {
        SW_TRY(redis_tls_create(options, &tls, err));
    }
    struct sw_redis *redis = SW_NEW(struct sw_redis);
    redis->options = *options;
    copy_strings(&redis->options);
    redis->seeds = seeds;
    redis->tls = tls;
    redis->timeout_ns = options->timeout_ms * 1000000;
    redis->last_entry = &redis->first_entry;
    redis->cause = REDIS_CAUSE_ERROR;
    snprintf(redis->reason, sizeof redis->reason, "not connected yet");
    pthread_mutex_init(&redis->lock, NULL);
    redis_watches_init(&redis->watches);
    redis_keys_init(&redis->keys, options->prefix);
    redis_breaker_init(&redis->breaker, options->breaker_min_ms * 1000000, options->breaker_max_ms * 1000000,
                       sw_random_u64(), redis_now(redis));
    sw_status status = start(redis, err);
    if (status) {
        free_all(redis);
        return status;
    }
    *ret = redis;
    return SW_OK;
}

void sw_redis_destroy(struct sw_redis *redis) {
    if (!redis) {
        return;
    }
    atomic_store(&redis->stopping, true);
    wake(redis);
    int rc = pthread_join(redis->thread, NULL);
    SW_ASSERT(rc == 0);
    ask_all(redis); /* nothing is accepted any more, so that these end what waits */
    keep_some(redis);
    free_all(redis);
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

void sw_redis_watch(struct sw_redis *redis, const char *model, uint64_t generation) {
    redis_watches_add(&redis->watches, model, generation);
}

void sw_redis_set_generation(struct sw_redis *redis, const char *model, uint64_t generation) {
    redis_watches_set(&redis->watches, model, generation);
    wake(redis);
}

void sw_redis_look(struct sw_redis *redis, struct sw_redis_stats *ret) {
    struct redis_counters *c = &redis->counters;
    *ret = (struct sw_redis_stats){.breaker_open = !atomic_load(&redis->accepting),
                                   .waiting = atomic_load(&redis->waiting),
                                   .nodes = atomic_load(&redis->nodes_up),
                                   .cluster = atomic_load(&redis->is_cluster),
                                   .hits = atomic_load(&c->hits),
                                   .misses = atomic_load(&c->misses),
                                   .timeouts = atomic_load(&c->timeouts),
                                   .errors = atomic_load(&c->errors),
                                   .garbage = atomic_load(&c->garbage),
                                   .refused = atomic_load(&c->refused),
                                   .kept = atomic_load(&c->kept),
                                   .dropped = atomic_load(&c->dropped),
                                   .failed = atomic_load(&c->failed),
                                   .opened = atomic_load(&c->opened)};
    pthread_mutex_lock(&redis->lock);
    snprintf(ret->reason, sizeof ret->reason, "%s", redis->reason);
    pthread_mutex_unlock(&redis->lock);
}
