/* Promotion: aliases and stages together, gates before, force, two at once, changes that change nothing. */
#include "world.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static json_t *promote(const char *model, const struct sw_promotion *promotion) {
    json_t *document = NULL;
    assert_sw_ok(sw_registry_promote(world.registry, &someone, model, promotion, &document, NULL, err));
    return document;
}

static void assert_stage(const char *model, int64_t version, const char *stage) {
    json_t *document = world_version(model, version);
    assert_string_equal(json_string_value(json_object_get(document, "stage")), stage);
    json_decref(document);
}

static void push(const char *model, int count) {
    for (int i = 0; i < count; i++) {
        world_push_any(model);
    }
}

static void default_promotion(void **state) {
    push("m", 2);
    struct sw_promotion promotion = {
        .version = "1", .alias = "champion", .stage = SW_STAGE_PRODUCTION, .archive_existing = true};
    json_t *document = promote("m", &promotion);
    json_t *gates = json_object_get(document, "gates");
    assert_true(json_array_size(gates) >= 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(gates, 0), "name")), "digest");
    assert_int_equal(json_integer_value(json_object_get(document, "revision")), world_revision());
    json_object_del(document, "gates");
    json_object_del(document, "revision");
    assert_json(document, "{'model': 'm', 'version': 1, 'live': 1, 'previous_live': null, 'forced': false}");
    json_decref(document);
    promotion.version = "2";
    document = promote("m", &promotion);
    assert_json(json_object_get(document, "previous_live"), "1");
    json_decref(document);
    assert_stage("m", 1, "Archived");
    document = world_version("m", 2);
    assert_json(json_object_get(document, "stage"), "'Production'");
    assert_json(json_object_get(document, "aliases"), "['champion']");
    assert_json(json_object_get(document, "live"), "true");
    assert_true(json_is_array(json_object_get(document, "gates")));
    assert_true(json_is_object(json_object_get(document, "served_signature")));
    assert_json(json_object_get(document, "gates_at"), "'2027-01-15T08:00:00.000Z'");
    json_decref(document);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'model.promote'");
    assert_json(json_object_get(row, "object"), "'m/2'");
    assert_json(json_object_get(row, "before"),
                "{'live': 1, 'champion': 1, 'production': [1], 'alias': {'champion': 1}, "
                "'stage': 'None'}");
    assert_json(json_object_get(row, "after"),
                "{'live': 2, 'champion': 2, 'production': [2], 'alias': {'champion': 2}, 'stage': 'Production', "
                "'version': 2, 'archived': [1], 'gates_failed': [], 'forced': false}");
    json_decref(row);
    world_reopen();
    assert_int_equal(world_live("m"), 2);
}

/* Live is champion's, else what went to Production last. */
static void live_version(void **state) {
    push("m", 3);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_int_equal(world_live("m"), 2);
    assert_int_equal(world_promote("m", 1, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_int_equal(world_live("m"), 1);
    assert_int_equal(world_promote("m", 3, "champion", -1, false), SW_OK);
    assert_int_equal(world_live("m"), 3);
    assert_int_equal(world_promote("m", 1, NULL, SW_STAGE_ARCHIVED, false), SW_OK);
    assert_int_equal(world_live("m"), 3);
    assert_sw_ok(sw_registry_delete_alias(world.registry, &someone, "m", "champion", err));
    assert_int_equal(world_live("m"), 2);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_NONE, false), SW_OK);
    assert_int_equal(world_live("m"), 0);
    assert_sw_fails(sw_registry_delete_alias(world.registry, &someone, "m", "champion", err), SW_E_NOT_FOUND,
                    "model m has no version or alias champion");
}

static void other_aliases_and_stages(void **state) {
    push("m", 3);
    struct sw_promotion promotion = {.version = "2", .alias = "challenger", .stage = -1};
    json_t *document = promote("m", &promotion);
    assert_json(json_object_get(document, "gates"), "null"); /* nothing of it goes live */
    json_decref(document);
    assert_int_equal(world_promote("m", 1, NULL, SW_STAGE_STAGING, false), SW_OK);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_STAGING, true), SW_OK);
    assert_stage("m", 1, "Archived");
    assert_stage("m", 2, "Staging");
    promotion = (struct sw_promotion){.version = "challenger", .alias = "stable", .stage = -1};
    document = promote("m", &promotion);
    assert_json(json_object_get(document, "version"), "2");
    json_decref(document);
    assert_int_equal(world_live("m"), 0);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'alias.set'");
    assert_json(json_object_get(row, "object"), "'m@stable'");
    json_decref(row);
    json_t *list = NULL;
    assert_sw_ok(sw_registry_list_aliases(world.registry, "m", &list, err));
    assert_json(list, "{'aliases': [{'alias': 'challenger', 'version': 2}, {'alias': 'stable', 'version': 2}]}");
    json_decref(list);
    assert_sw_ok(sw_registry_get_alias(world.registry, "m", "stable", &list, err));
    assert_json(list, "{'alias': 'stable', 'version': 2}");
    json_decref(list);
    assert_sw_fails(sw_registry_get_alias(world.registry, "m", "7", &list, err), SW_E_NOT_FOUND, "no alias 7");
    assert_sw_fails(sw_registry_list_aliases(world.registry, "n", &list, err), SW_E_NOT_FOUND, "no model n");
    assert_sw_ok(sw_registry_delete_alias(world.registry, &someone, "m", "stable", err));
    assert_sw_fails(sw_registry_delete_alias(world.registry, &someone, "m", "stable", err), SW_E_NOT_FOUND, "");
    row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'alias.delete'");
    assert_json(json_object_get(row, "object"), "'m@stable'");
    json_decref(row);
}

static void nothing_changes(void **state) {
    push("m", 2);
    world_promote_default("m", 1);
    assert_int_equal(world_promote("m", 2, "challenger", SW_STAGE_STAGING, true), SW_OK);
    int64_t rows = world_audit_rows(), revision = world_revision();
    json_t *model = world_model("m");
    world_promote_default("m", 1);
    assert_int_equal(world_promote("m", 2, "challenger", SW_STAGE_STAGING, true), SW_OK);
    assert_int_equal(world_promote("m", 1, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    struct sw_promotion promotion = {.version = "live", .alias = "champion", .stage = -1};
    json_t *document = promote("m", &promotion);
    assert_true(json_equal(json_object_get(document, "revision"), json_object_get(model, "revision")));
    json_decref(document);
    json_decref(model);
    assert_int_equal(world_audit_rows(), rows);
    assert_int_equal(world_revision(), revision);
}

static void bad_promotions(void **state) {
    push("m", 1);
    const struct {
        struct sw_promotion promotion;
        sw_status status;
        const char *says;
    } rows[] = {
        {{.version = "1", .stage = -1}, SW_E_INVALID_ARGUMENT, "needs an alias, a stage or both"},
        {{.version = "", .stage = 1}, SW_E_INVALID_ARGUMENT, "version: is missing"},
        {{.version = NULL, .stage = 1}, SW_E_INVALID_ARGUMENT, "version: is missing"},
        {{.version = "1", .alias = "3", .stage = -1}, SW_E_INVALID_ARGUMENT, "alias: \"3\""},
        {{.version = "1", .alias = "latest", .stage = -1}, SW_E_INVALID_ARGUMENT, "alias: "},
        {{.version = "1", .alias = "", .stage = -1}, SW_E_INVALID_ARGUMENT, "alias: "},
        {{.version = "1", .stage = SW_STAGE_NONE, .archive_existing = true}, SW_E_INVALID_ARGUMENT, "archive_existing"},
        {{.version = "1", .alias = "a", .stage = -1, .archive_existing = true},
         SW_E_INVALID_ARGUMENT,
         "archive_existing"},
        {{.version = "1", .stage = SW_STAGE_PRODUCTION, .force = true}, SW_E_INVALID_ARGUMENT, "reason: force"},
        {{.version = "2", .stage = SW_STAGE_PRODUCTION}, SW_E_NOT_FOUND, "no version or alias 2"},
        {{.version = "champion", .stage = SW_STAGE_PRODUCTION}, SW_E_NOT_FOUND, "no version or alias champion"},
    };
    int64_t revision = world_revision();
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        assert_sw_fails(sw_registry_promote(world.registry, &someone, "m", &rows[i].promotion, NULL, NULL, err),
                        rows[i].status, rows[i].says);
    }
    struct sw_promotion promotion = {.version = "1", .alias = "a", .stage = -1};
    assert_sw_fails(sw_registry_promote(world.registry, &someone, "n", &promotion, NULL, NULL, err), SW_E_NOT_FOUND,
                    "no model n");
    assert_int_equal(world_revision(), revision);
}

/* gates ------------------------------------------------------------------------------------------------------------ */

/* Status of the gate called `name` in a list. */
static const char *gate_status(json_t *gates, const char *name) {
    json_t *gate;
    size_t i;
    json_array_foreach(gates, i, gate) {
        if (strcmp(json_string_value(json_object_get(gate, "name")), name) == 0) {
            return json_string_value(json_object_get(gate, "status"));
        }
    }
    return "none";
}

static void failed_gate(const char *version, const char *gate, const char *says) {
    struct sw_promotion promotion = {
        .version = version, .alias = "champion", .stage = SW_STAGE_PRODUCTION, .archive_existing = true};
    json_t *gates = NULL, *model = world_model("m");
    int64_t rows = world_audit_rows();
    assert_sw_fails(sw_registry_promote(world.registry, &someone, "m", &promotion, NULL, &gates, err), SW_E_GATE_FAILED,
                    says);
    assert_string_equal(gate_status(gates, gate), "failed");
    json_t *document = NULL, *after = world_model("m");
    assert_sw_ok(sw_registry_get_version(world.registry, "m", version, &document, err));
    assert_true(json_equal(json_object_get(document, "gates"), gates));
    assert_json(json_object_get(document, "stage"), "'None'");
    assert_true(json_equal(json_object_get(model, "aliases"), json_object_get(after, "aliases")));
    assert_true(json_equal(json_object_get(model, "live"), json_object_get(after, "live")));
    assert_int_equal(world_audit_rows(), rows + 1); /* that its gates failed */
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'version.gates'");
    assert_json(json_object_get(json_object_get(row, "after"), "passed"), "false");
    json_decref(row);
    json_decref(document);
    json_decref(after);
    json_decref(model);
    json_decref(gates);
}

static void gates_that_fail(void **state) {
    world_push("m", model_text(4, ""));
    world_promote_default("m", 1);
    world_push("m", model_text(4, ", \"load_error\": \"broken graph\""));
    world_push("m", model_text(5, ""));
    failed_gate("2", "load", "m/2 was not promoted: failed gates: load");
    failed_gate("3", "signature", "failed gates: signature");
    assert_int_equal(world_live("m"), 1);
}

static void force(void **state) {
    world_push("m", model_text(4, ""));
    world_promote_default("m", 1);
    world_push("m", model_text(5, ""));
    world_push("m", model_text(4, ", \"load_error\": \"broken graph\""));
    struct sw_promotion promotion = {.version = "3", .alias = "champion", .stage = -1, .force = true};
    json_t *document = NULL;
    assert_sw_fails(sw_registry_promote(world.registry, &reasoner, "m", &promotion, NULL, NULL, err), SW_E_GATE_FAILED,
                    "cannot be forced");
    promotion.version = "2";
    assert_sw_ok(sw_registry_promote(world.registry, &reasoner, "m", &promotion, &document, NULL, err));
    assert_json(json_object_get(document, "forced"), "true");
    assert_json(json_object_get(document, "live"), "2");
    json_decref(document);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "reason"), "'because'");
    assert_json(json_object_get(json_object_get(row, "after"), "forced"), "true");
    assert_json(json_object_get(json_object_get(row, "after"), "gates_failed"), "['signature']");
    json_decref(row);
}

static void breaking_allowed(void **state) {
    world_push("m", model_text(4, ""));
    world_promote_default("m", 1);
    world_push("m", model_text(5, ""));
    struct sw_promotion promotion = {.version = "2", .alias = "champion", .stage = -1, .allow_breaking = true};
    json_t *document = promote("m", &promotion);
    assert_json(json_object_get(document, "forced"), "false");
    json_decref(document);
    assert_int_equal(world_live("m"), 2);
}

/* A blob that was tampered with is not promoted, not even by force. */
static void tampered(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    assert_sw_ok(world_push_files("m", &file, 1, err));
    char path[300];
    snprintf(path, sizeof path, "%s/artifacts/blobs/%.2s/%s", world.dir, file.digest.hex, file.digest.hex);
    assert_int_equal(chmod(path, 0644), 0);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fputc(' ', f), ' ');
    assert_int_equal(fclose(f), 0);
    failed_gate("1", "digest", "failed gates: digest");
    struct sw_promotion promotion = {.version = "1", .alias = "champion", .stage = -1, .force = true};
    assert_sw_fails(sw_registry_promote(world.registry, &reasoner, "m", &promotion, NULL, NULL, err), SW_E_GATE_FAILED,
                    "cannot be forced");
}

/* two at once ------------------------------------------------------------------------------------------------------ */

static void *promote_second(void *arg) {
    struct sw_promotion promotion = {.version = "2", .alias = "champion", .stage = -1};
    struct sw_error *err = arg;
    sw_status status = sw_registry_promote(world.registry, &someone, "m", &promotion, NULL, NULL, err);
    return (void *)(uintptr_t)status;
}

/* While the gates of 2 run, 3 becomes champion: 2 is not promoted over it, its results are kept. */
static void another_comes_in_between(void **state) {
    char extra[600], started[200], go[200];
    snprintf(started, sizeof started, "%s/started", world.dir);
    snprintf(go, sizeof go, "%s/go", world.dir);
    snprintf(extra, sizeof extra, ", \"load_started\": \"%s\", \"load_wait_for\": \"%s\"", started, go);
    world_push("m", model_text(4, ""));
    world_push("m", model_text(4, extra));
    world_push("m", model_text(4, ", \"value\": 3"));
    world_promote_default("m", 1);
    pthread_t thread;
    struct sw_error why = {0};
    assert_int_equal(pthread_create(&thread, NULL, promote_second, &why), 0);
    while (access(started, F_OK) != 0) {
        sched_yield();
    }
    world_promote_default("m", 3);
    FILE *f = fopen(go, "w");
    assert_non_null(f);
    fclose(f);
    void *status;
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((uintptr_t)status, SW_E_CONFLICT);
    assert_non_null(strstr(why.message, "came in between"));
    assert_int_equal(world_live("m"), 3);
    json_t *document = world_version("m", 2);
    assert_string_equal(gate_status(json_object_get(document, "gates"), "load"), "passed");
    assert_json(json_object_get(document, "aliases"), "[]");
    json_decref(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(default_promotion),
        T(live_version),
        T(other_aliases_and_stages),
        T(nothing_changes),
        T(bad_promotions),
        T(gates_that_fail),
        T(force),
        T(breaking_allowed),
        T(tampered),
        T(another_comes_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
