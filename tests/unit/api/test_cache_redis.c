/* The way of a request through the result cache with a second level behind memory.
 *
 * The client of Redis is this file's: it takes questions and entries, and answers when the tests say so, with what they
 * say. What the real one does with a server is tested in tests/unit/sched and tests/scenario. */
#include <pthread.h>

#include "cached.h"

/* ---- the client of Redis */

enum { ENTRIES = 16 };

static struct {
    pthread_mutex_t lock;
    struct sw_redis_options options;
    struct sw_redis_question *asked; /* waits for an answer; the tests have one at a time */
    bool refuses;
    bool down;
    size_t questions;
    struct {
        uint8_t key[SW_REDIS_KEY];
        char *bytes;
        size_t len;
        uint64_t ttl_ms;
    } entries[ENTRIES]; /* the newest first */
    size_t kept;
    uint64_t generation; /* last written */
    char watched[64];
} redis = {.lock = PTHREAD_MUTEX_INITIALIZER};

sw_status sw_redis_create(const struct sw_redis_options *options, struct sw_redis **ret, struct sw_error *err) {
    redis.options = *options;
    *ret = (struct sw_redis *)&redis;
    return SW_OK;
}

void sw_redis_destroy(struct sw_redis *r) {
    for (size_t i = 0; i < ENTRIES; i++) {
        free(redis.entries[i].bytes);
        redis.entries[i].bytes = NULL;
    }
}

bool sw_redis_ask(struct sw_redis *r, struct sw_redis_question *question) {
    pthread_mutex_lock(&redis.lock);
    bool taken = !redis.refuses;
    if (taken) {
        assert_null(redis.asked);
        redis.asked = question;
        redis.questions++;
    }
    pthread_mutex_unlock(&redis.lock);
    return taken;
}

void sw_redis_keep(struct sw_redis *r, struct sw_redis_entry *entry) {
    pthread_mutex_lock(&redis.lock);
    free(redis.entries[ENTRIES - 1].bytes);
    memmove(&redis.entries[1], &redis.entries[0], (ENTRIES - 1) * sizeof redis.entries[0]);
    memcpy(redis.entries[0].key, entry->key, SW_REDIS_KEY);
    redis.entries[0].bytes = malloc(entry->value.len);
    memcpy(redis.entries[0].bytes, entry->value.data, entry->value.len);
    redis.entries[0].len = entry->value.len;
    redis.entries[0].ttl_ms = entry->ttl_ms;
    redis.kept++;
    pthread_mutex_unlock(&redis.lock);
    entry->release(entry);
}

void sw_redis_watch(struct sw_redis *r, const char *model, uint64_t generation) {
    snprintf(redis.watched, sizeof redis.watched, "%s", model);
}

void sw_redis_set_generation(struct sw_redis *r, const char *model, uint64_t generation) {
    redis.generation = generation;
}

void sw_redis_look(struct sw_redis *r, struct sw_redis_stats *ret) {
    *ret = (struct sw_redis_stats){.breaker_open = redis.down, .nodes = 1, .hits = 3, .garbage = 2};
    snprintf(ret->reason, sizeof ret->reason, "%s", redis.down ? "redis-1:6379: Connection refused" : "");
}

static struct sw_redis_question *wait_asked(void) {
    for (;;) {
        pthread_mutex_lock(&redis.lock);
        struct sw_redis_question *question = redis.asked;
        pthread_mutex_unlock(&redis.lock);
        if (question) {
            return question;
        }
        usleep(200);
    }
}

static void answer(struct sw_str bytes) {
    struct sw_redis_question *question = wait_asked();
    pthread_mutex_lock(&redis.lock);
    redis.asked = NULL;
    pthread_mutex_unlock(&redis.lock);
    question->done(question, bytes);
}

static void answer_miss(void) {
    answer((struct sw_str){NULL, 0});
}

/* What was kept under the key that is asked for. */
static struct sw_str find_kept(void) {
    struct sw_redis_question *question = wait_asked();
    for (size_t i = 0; i < ENTRIES && redis.entries[i].bytes; i++) {
        if (memcmp(redis.entries[i].key, question->key, SW_REDIS_KEY) == 0) {
            return (struct sw_str){redis.entries[i].bytes, redis.entries[i].len};
        }
    }
    return (struct sw_str){NULL, 0};
}

static void wait_kept(size_t count) {
    size_t kept = 0;
    while (kept != count) {
        pthread_mutex_lock(&redis.lock);
        kept = redis.kept;
        pthread_mutex_unlock(&redis.lock);
    }
}

/* ---- the server */

static struct sw_clock cache_clock;

#define GATED                                                                       \
    MODEL(TENSOR("x", "FP32", "[\"N\", \"M\"]"), TENSOR("y", "FP32", "[\"N\", 1]"), \
          "\"op\": \"sum\", \"spin_us\": 100, \"wait_while\": \"../gate\", \"run_started\": \"../started\"")
#define UNBATCHED "batching: {max_batch: 1}\n"

static void start(size_t bytes_max) {
    static struct sw_redis_options options;
    sw_clock_manual_init(&cache_clock, UINT64_C(1000000000000));
    harness_start(&(struct harness_options){
        .inline_ns_max = 1,
        .workers = 1,
        .queue_max = 2,
        .cache = &(struct sw_cache_options){
            .bytes_max = bytes_max, .value_max = 4096, .redis = &options, .clock = &cache_clock}});
    harness_bundle("sum", CACHED UNBATCHED, GATED, true);
    harness_bundle("short", CACHED UNBATCHED "description: other\n", GATED, false);
    harness_write("short/bundle.yaml", "model: model.fake.json\ncache: {enable: true, ttl: 10s}\n");
    reload("short");
    harness_bundle("other", UNBATCHED "model: model.fake.json\n", GATED, true);
    harness_bundle("fixed", CACHED, MODEL_FIXED, true);
    harness_bundle("wide", CACHED,
                   MODEL(TENSOR("x", "FP32", "[\"N\", 1]"), TENSOR("y", "FP32", "[\"N\"]"), "\"op\": \"sum\""), true);
}

static int setup(void **state) {
    start(8 << 20);
    return 0;
}

static int setup_without_memory(void **state) {
    start(0);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    redis.kept = redis.questions = 0;
    return 0;
}

static int begin(const char *path, const char *headers, const char *number) {
    char json[256], all[256];
    snprintf(json, sizeof json, ROW("1", "%s"), number);
    snprintf(all, sizeof all, JSON "%s", headers ? headers : "");
    return harness_begin("POST", path, all, json, strlen(json));
}

static struct answer end(int fd) {
    return harness_end(fd, "POST", INFER("sum"));
}

static void assert_ends(int fd, const char *x_cache, const char *contains) {
    struct answer a = end(fd);
    assert_string_equal(said(&a), x_cache);
    assert_holds(&a, contains);
}

static void wait_waiting(size_t count) {
    while (sw_flights_waiting(sw_cache_flights(harness_cache)) != count) {
        usleep(200);
    }
}

static void wait_queued(size_t count) {
    while (sw_scheduler_waiting(harness_scheduler) != count) {
        usleep(200);
    }
}

static void miss_and_run(const char *path, const char *number) {
    size_t kept_before = redis.kept;
    int fd = begin(path, NULL, number);
    answer_miss();
    assert_ends(fd, "miss", "\"data\"");
    wait_kept(kept_before + 1);
}

static void purge(void) {
    assert_int_equal(harness_delete("/api/v1/cache").status, 200);
}

/* ---- */

static void kept_in_both_and_found_in_redis(void **state) {
    miss_and_run(INFER("sum"), "1");
    assert_int_equal(redis.entries[0].ttl_ms, SW_CACHE_SHARED_TTL_MS);
    assert_answer(INFER("sum"), NULL, ROW("1", "1"), "hit", "[1]"); /* of memory: nobody is asked */
    assert_int_equal(redis.questions, 1);
}

static void found_in_redis_alone(void **state) {
    long runs = runs_of("sum");
    miss_and_run(INFER("sum"), "2");
    for (int i = 0; i < 2; i++) {
        int fd = begin(INFER("sum"), NULL, "2");
        answer(find_kept());
        assert_ends(fd, "hit", "\"data\":[2]");
    }
    assert_int_equal(runs_of("sum"), runs + 1);
    assert_int_equal(redis.kept, 1); /* what came from there is not written there */
}

static void those_who_wait_share_the_question(void **state) {
    int fds[4];
    size_t questions = redis.questions;
    long runs = runs_of("sum");
    miss_and_run(INFER("sum"), "3");
    for (size_t i = 0; i < 4; i++) {
        fds[i] = begin(INFER("sum"), NULL, "3");
        i == 0 ? (void)wait_asked() : wait_waiting(i);
    }
    answer(find_kept());
    for (int i = 0; i < 4; i++) {
        assert_ends(fds[i], "hit", "\"data\":[3]");
    }
    assert_int_equal(runs_of("sum"), runs + 1);
    assert_int_equal(redis.questions, questions + 2);
}

static void nonsense_is_a_miss(void **state) {
    char bytes[1024];
    size_t count = 0;
    long runs = runs_of("sum");
    miss_and_run(INFER("wide"), "4");
    struct sw_str other = {redis.entries[0].bytes, redis.entries[0].len};
    struct sw_str cases[8] = {other, {"", 0}, {"nonsense", 8}};
    count = 3;
    miss_and_run(INFER("sum"), "4");
    assert_true(redis.entries[0].len <= sizeof bytes);
    memcpy(bytes, redis.entries[0].bytes, redis.entries[0].len);
    cases[count++] = (struct sw_str){bytes, redis.entries[0].len - 1}; /* half of it */
    cases[count++] = (struct sw_str){bytes, 24};
    for (size_t i = 0; i < count; i++) {
        int fd = begin(INFER("sum"), "Cache-Control: max-age=9\r\n", "4");
        answer(cases[i]);
        assert_ends(fd, "miss", "\"shape\":[1,1],\"data\":[4]");
    }
    assert_int_equal(runs_of("sum"), runs + 1 + (long)count);
}

/* One that is well-formed, but of another model, is not found in memory afterwards either. */
static void another_models_result_is_not_kept(void **state) {
    miss_and_run(INFER("wide"), "5");
    int fd = begin(INFER("sum"), NULL, "5");
    json_int_t inserted = kept("memory", "inserted");
    answer((struct sw_str){redis.entries[0].bytes, redis.entries[0].len});
    assert_ends(fd, "miss", "\"shape\":[1,1],\"data\":[5]");
    assert_int_equal(kept("memory", "inserted"), inserted + 1);
    assert_answer(INFER("sum"), NULL, ROW("1", "5"), "hit", "\"shape\":[1,1],\"data\":[5]");
}

static void its_time_began_when_it_was_made(void **state) {
    miss_and_run(INFER("short"), "6");
    assert_int_equal(redis.entries[0].ttl_ms, 10000);
    purge();
    sw_clock_manual_advance(&cache_clock, UINT64_C(6000000000));
    /* The key is another after a purge; what is in Redis stands for what another replica has written there. */
    struct sw_str made = {redis.entries[0].bytes, redis.entries[0].len};
    int fd = begin(INFER("short"), NULL, "6");
    answer(made);
    assert_ends(fd, "hit", "[6]");
    sw_clock_manual_advance(&cache_clock, UINT64_C(3999000000));
    assert_answer(INFER("short"), NULL, ROW("1", "6"), "hit", "[6]");
    sw_clock_manual_advance(&cache_clock, UINT64_C(1000000));
    fd = begin(INFER("short"), NULL, "6");
    answer(made);
    assert_ends(fd, "miss", "[6]");
}

static void not_asked(void **state) {
    size_t before = redis.questions;
    redis.refuses = true;
    assert_answer(INFER("sum"), NULL, ROW("1", "7"), "miss", "[7]");
    redis.refuses = false;
    assert_answer(INFER("sum"), "Cache-Control: no-cache\r\n", ROW("1", "8"), "bypass", "[8]");
    assert_answer(INFER("sum"), "Cache-Control: no-store\r\n", ROW("1", "9"), "bypass", "[9]");
    assert_answer(PREDICT("fixed"), NULL, "{\"instances\":[[1,2,3],[4,5,6]]}", "miss", "[[6],[15]]");
    assert_answer(INFER("sum"), NULL, ROW("1", "8"), "hit", "[8]");
    assert_int_equal(redis.questions, before);
    int fd = begin(INFER("sum"), NULL, "9"); /* no-store kept nothing */
    answer_miss();
    assert_ends(fd, "miss", "[9]");
}

/* ---- the queue behind it */

static int occupy(void) {
    unlink(harness_path("started"));
    harness_write("gate", "");
    int fd = begin(INFER("other"), NULL, "1");
    while (access(harness_path("started"), F_OK)) {
        usleep(200);
    }
    return fd;
}

static void release(int fd) {
    unlink(harness_path("gate"));
    assert_int_equal(end(fd).status, 200);
}

static void refused_after_the_question(void **state) {
    int gate = occupy(), full[2], fds[3];
    for (size_t i = 0; i < 2; i++) {
        full[i] = begin(INFER("sum"), "Cache-Control: no-store\r\n", "1");
        wait_queued(i + 1);
    }
    for (size_t i = 0; i < 3; i++) {
        fds[i] = begin(INFER("sum"), NULL, "10");
        i == 0 ? (void)wait_asked() : wait_waiting(i);
    }
    answer_miss();
    for (int i = 0; i < 3; i++) {
        struct answer a = end(fds[i]);
        assert_int_equal(a.status, 429);
        assert_non_null(harness_header(&a, "Retry-After"));
    }
    assert_int_equal(kept(NULL, "waiting"), 0);
    release(gate);
    assert_ends(full[0], "bypass", "[1]");
    assert_ends(full[1], "bypass", "[1]");
    miss_and_run(INFER("sum"), "10");
}

static void late_after_the_question(void **state) {
    int late = begin(INFER("sum"), "X-Timeout-Ms: 1\r\n", "11");
    wait_asked();
    int waits = begin(INFER("sum"), NULL, "11");
    wait_waiting(1);
    uint64_t joined_ns = sw_now_ns(sw_clock_system());
    while (sw_now_ns(sw_clock_system()) < joined_ns + 1000000) {
    }
    answer_miss();
    assert_int_equal(end(late).status, 504);
    assert_ends(waits, "miss", "[11]");
}

static void the_client_has_gone_meanwhile(void **state) {
    int leaves = begin(INFER("sum"), NULL, "12");
    wait_asked();
    int waits = begin(INFER("sum"), NULL, "12");
    wait_waiting(1);
    close(leaves);
    answer_miss(); /* it is run for who has gone, or by who waits: it gets its answer in any case */
    struct answer a = end(waits);
    assert_int_equal(a.status, 200);
    assert_holds(&a, "[12]");
}

/* ---- other replicas */

static void purges(void **state) {
    assert_answer(INFER("sum"), "Cache-Control: no-cache\r\n", ROW("1", "13"), "bypass", "[13]");
    assert_int_equal(harness_delete("/api/v1/cache/sum").status, 200);
    assert_int_not_equal(redis.generation, 0);
    uint64_t generation = redis.generation;
    miss_and_run(INFER("sum"), "13");
    redis.options.on_generation(redis.options.arg, "sum", generation); /* our own: nothing is new */
    assert_answer(INFER("sum"), NULL, ROW("1", "13"), "hit", "[13]");
    redis.options.on_generation(redis.options.arg, "nobody", 77);
    redis.options.on_generation(redis.options.arg, "sum", generation + 2);
    miss_and_run(INFER("sum"), "13");
}

static void what_is_shown(void **state) {
    redis.down = true;
    static const struct expectation cases[] = {
        {"/health", NULL, 200,
         "\"degraded\":[{\"part\":\"result cache\",\"reason\":\"redis-1:6379: Connection refused\"}]"},
        {"/api/v1/cache", NULL, 200,
         "\"redis\":{\"up\":false,\"reason\":\"redis-1:6379: Connection refused\",\"nodes\":1,"},
        {"/metrics", NULL, 200, "\nslipway_cache_redis_up 0\n"},
        {"/metrics", NULL, 200, "slipway_cache_redis_requests_total{result=\"garbage\"} 2\n"},
        {"/metrics", NULL, 200, "slipway_cache_redis_requests_total{result=\"hit\"} 3\n"},
        {"/metrics", NULL, 200, "slipway_cache_redis_writes_total{result=\"written\"} 0\n"},
    };
    harness_expect(cases, sizeof cases / sizeof cases[0]);
    redis.down = false;
    struct answer a = harness_get("/health");
    assert_null(strstr(a.body, "degraded"));
    assert_string_equal(redis.watched, "wide"); /* the last that was loaded */
    assert_int_equal(redis.options.value_max, 4096);
}

static void nothing_in_memory(void **state) {
    static const struct expectation cases[] = {{"/api/v1/cache", NULL, 200, "{\"memory\":null,\"redis\":{\"up\":true"},
                                               {"/api/v1/cache", "DELETE", 200, "{\"entries\":0}"}};
    harness_expect(cases, sizeof cases / sizeof cases[0]);
    assert_null(strstr(harness_get("/metrics").body, "\nslipway_cache_entries "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_in_both_and_found_in_redis),
        cmocka_unit_test(another_models_result_is_not_kept),
        cmocka_unit_test(its_time_began_when_it_was_made),
        cmocka_unit_test(not_asked),
        cmocka_unit_test(refused_after_the_question),
        cmocka_unit_test(late_after_the_question),
        cmocka_unit_test(the_client_has_gone_meanwhile),
        cmocka_unit_test(purges),
        cmocka_unit_test(what_is_shown),
    };
    const struct CMUnitTest without_memory[] = {
        cmocka_unit_test(found_in_redis_alone),
        cmocka_unit_test(those_who_wait_share_the_question),
        cmocka_unit_test(nonsense_is_a_miss),
        cmocka_unit_test(nothing_in_memory),
    };
    int failed = cmocka_run_group_tests_name("api/cache redis", tests, setup, teardown);
    return failed +
           cmocka_run_group_tests_name("api/cache redis alone", without_memory, setup_without_memory, teardown);
}
