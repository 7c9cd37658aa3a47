/* Many threads at one model: pushes of one number, promotions, rollbacks, changes. Whatever order they come in, the
 * chain holds, numbers are given once, live is what the pointers say, and who was told SW_OK has been. */
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 6, ROUNDS = 12, VERSIONS = 5 };

struct worker {
    pthread_t thread;
    unsigned index;
    unsigned done, conflicts; /* SW_OK, SW_E_CONFLICT; anything else ends the test */
    struct sw_error err;
    sw_status bad;
};
static struct sw_version_file pushed;
static pthread_barrier_t barrier;

static void count(struct worker *worker, sw_status status) {
    worker->done += status == SW_OK;
    worker->conflicts += status == SW_E_CONFLICT;
    if (status != SW_OK && status != SW_E_CONFLICT) {
        worker->bad = status;
    }
}

static void run(struct worker workers[THREADS], void *(*fn)(void *)) {
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, fn, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].bad) {
            fail_msg("thread %u: %s: %s", i, sw_status_name(workers[i].bad), workers[i].err.message);
        }
    }
    pthread_barrier_destroy(&barrier);
}

static void *push_expected(void *arg) {
    struct worker *worker = arg;
    struct sw_version_spec spec = {.files = &pushed, .file_count = 1};
    for (int64_t round = 1; round <= ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        spec.expected_number = round;
        count(worker, sw_registry_create_version(world.registry, &someone, "m", true, &spec, NULL, &worker->err));
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void one_push_of_a_number_wins(void **state) {
    struct worker workers[THREADS];
    unsigned done = 0, conflicts = 0;
    pushed = world_file("model.fake.json", model_text(4, ""));
    run(workers, push_expected);
    for (unsigned i = 0; i < THREADS; i++) {
        done += workers[i].done;
        conflicts += workers[i].conflicts;
    }
    assert_int_equal(done, ROUNDS);
    assert_int_equal(conflicts, ROUNDS * (THREADS - 1));
    assert_int_equal(world_audit_rows(), ROUNDS + 1);
    json_t *model = world_model("m");
    assert_json(json_object_get(model, "versions"), "12");
    json_decref(model);
}

static void *rollback_once(void *arg) {
    struct worker *worker = arg;
    pthread_barrier_wait(&barrier);
    struct sw_error *err = &worker->err;
    count(worker, sw_registry_rollback(world.registry, &someone, "m", NULL, NULL, err));
    return NULL;
}

/* Every rollback that succeeded is one step; those that saw the same state are not added up. */
static void rollbacks_at_once(void **state) {
    struct worker workers[THREADS];
    unsigned done = 0;
    for (int64_t v = 1; v <= 12; v++) {
        world_push_any("m");
        world_promote_default("m", v);
    }
    run(workers, rollback_once);
    for (unsigned i = 0; i < THREADS; i++) {
        done += workers[i].done;
    }
    assert_in_range(done, 1, THREADS);
    assert_int_equal(world_live("m"), 12 - done);
}

static void *everything(void *arg) {
    struct worker *worker = arg;
    struct sw_error *err = &worker->err;
    pthread_barrier_wait(&barrier);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char number[16];
        snprintf(number, sizeof number, "%u", 1 + (worker->index + round) % VERSIONS);
        struct sw_promotion promotion = {
            .version = number, .alias = "champion", .stage = SW_STAGE_PRODUCTION, .archive_existing = true};
        struct sw_version_spec spec = {.files = &pushed, .file_count = 1};
        switch ((worker->index + round) % 4) {
        case 0: count(worker, sw_registry_rollback(world.registry, &someone, "m", NULL, NULL, err)); break;
        case 1:
            count(worker, sw_registry_create_version(world.registry, &someone, "m", false, &spec, NULL, err));
            break;
        default: count(worker, sw_registry_promote(world.registry, &someone, "m", &promotion, NULL, NULL, err)); break;
        }
    }
    return NULL;
}

static void everything_at_once(void **state) {
    struct worker workers[THREADS];
    pushed = world_file("model.fake.json", model_text(4, ""));
    for (int i = 0; i < VERSIONS; i++) {
        world_push_any("m");
    }
    run(workers, everything);
    json_t *model = world_model("m"), *history = NULL, *version;
    int64_t live = json_integer_value(json_object_get(model, "live"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(model, "aliases"), "champion")), live);
    assert_true(live > 0);
    version = world_version("m", live);
    assert_json(json_object_get(version, "stage"), "'Production'");
    json_decref(version);
    json_decref(model);
    assert_sw_ok(sw_registry_history(world.registry, "m", 1, &history, err));
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(history, "history"), 0), "version")), live);
    json_decref(history);
    while (world_rollback("m")) { /* down to the bottom: the stack holds together */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(one_push_of_a_number_wins),
        T(rollbacks_at_once),
        T(everything_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
