/* How long the registry takes with 10,000 models of 10 versions each: a page of models, an alias resolved, a promotion
 * with its gates (fake engine). Prints p50, p99 and the sample size. The rows are made by SQL; the promotions are real
 * ones.
 *
 *   meson test -C build --benchmark --verbose registry/measure   (SLIPWAY_TEST_POSTGRES=URL: there, not SQLite) */
#include "world.h"

#include <stdlib.h>

enum { SAMPLES = 1000, MODELS = 10000 };

static void change(struct sw_tx *tx, const char *sql) {
    assert_sw_ok(sw_tx_exec(tx, sql, SW_NO_PARAMS, NULL, err));
}

#define MODEL_NAMES "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
#define NUMBERS "WITH RECURSIVE k (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM k WHERE i < 10) "

/* Every model and version like the first, which was made in the ordinary way. */
static void fill(void) {
    struct sw_tx *tx;
    world_push_any("model-100000");
    world_promote_default("model-100000", 1);
    assert_sw_ok(sw_store_begin(world.store, SW_TX_WRITE, &tx, err));
    change(tx, MODEL_NAMES "INSERT INTO models (name, latest, live_seq, stage_seq, created_ms, updated_ms, created_by, "
                           "revision) SELECT 'model-' || CAST(100000 + i AS TEXT), 10, 0, 0, 1, 1, 'x', 1 FROM n");
    change(tx, "UPDATE models SET latest = 10");
    change(tx, "INSERT INTO model_tags (model, key, value) SELECT name, 'team', 'vision' FROM models");
#define COLUMNS                                                                                                 \
    "stage_seq, served_signature, gates, gates_ms, metrics, digest, size, file_count, created_ms, updated_ms, " \
    "created_by"
    change(tx, "INSERT INTO versions (model, version, stage, " COLUMNS ") SELECT m.name, 1, 'None', " COLUMNS
               " FROM (SELECT name FROM models WHERE name <> 'model-100000') m CROSS JOIN "
               "(SELECT " COLUMNS " FROM versions) v");
    change(tx, NUMBERS "INSERT INTO versions (model, version, stage, " COLUMNS ") SELECT v.model, k.i, 'None', " COLUMNS
                       " FROM (SELECT * FROM versions WHERE version = 1) v CROSS JOIN k");
    change(tx, "INSERT INTO version_files (model, version, path, digest, size) SELECT v.model, v.version, f.path, "
               "f.digest, f.size FROM versions v CROSS JOIN (SELECT * FROM version_files) f "
               "WHERE NOT (v.model = 'model-100000' AND v.version = 1)");
    change(tx, "INSERT INTO aliases (model, alias, version) SELECT name, 'challenger', 10 FROM models");
    assert_sw_ok(sw_tx_commit(tx, err));
}

static const char *name_of(unsigned i) {
    static char name[32];
    snprintf(name, sizeof name, "model-%u", 100000 + i * 7919 % MODELS);
    return name;
}

static void page(unsigned i) {
    char token[40];
    json_t *list = NULL;
    snprintf(token, sizeof token, "m~%s", name_of(i));
    assert_sw_ok(sw_registry_list_models(world.registry, &(struct sw_model_filter){0},
                                         &(struct sw_page){.token = token, .limit = 100}, &list, err));
    json_decref(list);
}

static void versions_page(unsigned i) {
    json_t *list = NULL;
    assert_sw_ok(sw_registry_list_versions(world.registry,
                                           &(struct sw_version_filter){.model = name_of(i), .stage = -1},
                                           &(struct sw_page){0}, &list, err));
    json_decref(list);
}

static void alias(unsigned i) {
    int64_t number;
    assert_sw_ok(sw_registry_resolve(world.registry, name_of(i), "challenger", &number, err));
    assert_int_equal(number, 10);
}

static void promotion(unsigned i) {
    world_promote_default(name_of(i), 1 + i % 9);
}

static void back(unsigned i) { /* needs two promotions */
    const char *name = name_of(i);
    world_promote_default(name, 10);
    struct sw_error err;
    assert_int_equal(sw_registry_rollback(world.registry, &someone, name, NULL, NULL, &err), SW_OK);
}

static void replica(unsigned i) { /* a change, then what a replica asks */
    struct sw_arena arena;
    struct sw_served_model *models;
    size_t count;
    int64_t revision = world_revision();
    sw_arena_init(&arena, 0, 0);
    assert_int_equal(world_promote(name_of(i), 2 + i % 8, "other", -1, false), SW_OK);
    assert_sw_ok(sw_registry_serving(world.registry, revision, &(struct sw_version_policy){.kind = SW_POLICY_LIVE},
                                     &arena, &models, &count, &revision, err));
    assert_int_equal(count, 1);
    sw_arena_deinit(&arena);
}

static void start(unsigned i) { /* what a replica asks when it starts */
    struct sw_arena arena;
    struct sw_served_model *models;
    size_t count;
    int64_t revision;
    sw_arena_init(&arena, 0, 0);
    assert_sw_ok(sw_registry_serving(world.registry, 0, &(struct sw_version_policy){.kind = SW_POLICY_LIVE}, &arena,
                                     &models, &count, &revision, err));
    assert_int_equal(count, MODELS);
    sw_arena_deinit(&arena);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *what, void (*fn)(unsigned), unsigned samples) {
    static double ms[SAMPLES];
    for (unsigned i = 0; i < samples; i++) {
        uint64_t begin = sw_now_ns(sw_clock_system());
        fn(i);
        ms[i] = (double)(sw_now_ns(sw_clock_system()) - begin) / 1e6;
    }
    qsort(ms, samples, sizeof *ms, compare);
    printf("%-36s p50 %8.3f ms   p99 %8.3f ms   max %8.3f ms   n %u\n", what, ms[samples / 2], ms[samples * 99 / 100],
           ms[samples - 1], samples);
}

static void measure_all(void **state) {
    fill();
    measure("page of 100 models", page, SAMPLES);
    measure("page of 10 versions", versions_page, SAMPLES);
    measure("resolve an alias", alias, SAMPLES);
    measure("promote (with gates)", promotion, SAMPLES);
    measure("promote and roll back", back, SAMPLES);
    measure("set alias, ask what changed", replica, SAMPLES);
    measure("what to serve, from nothing", start, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(measure_all, world_setup, world_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
