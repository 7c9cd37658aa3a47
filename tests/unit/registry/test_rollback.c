/* The live history and rollback: walking back, branches, deleted versions, damaged files; and a long random walk
 * against a model of the state machine that is as plain as can be. */
#include "world.h"

#include <stdlib.h>
#include <sys/stat.h>

static void push(const char *model, int count) {
    for (int i = 0; i < count; i++) {
        world_push_any(model);
    }
}

/* History as text, newest first: version, '*' current, '-' undone. */
static const char *history(const char *model, size_t limit) {
    static char text[4096];
    size_t len = 0, i;
    json_t *document = NULL, *row;
    text[0] = 0;
    assert_sw_ok(sw_registry_history(world.registry, model, limit, &document, err));
    json_array_foreach(json_object_get(document, "history"), i, row) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%lld%s%s", i ? " " : "",
                                (long long)json_integer_value(json_object_get(row, "version")),
                                json_is_true(json_object_get(row, "current")) ? "*" : "",
                                json_is_true(json_object_get(row, "undone")) ? "-" : "");
    }
    json_decref(document);
    return text;
}

static void walking_back(void **state) {
    push("m", 4);
    assert_int_equal(world_rollback("m"), 0);
    assert_string_equal(history("m", 0), "");
    for (int64_t v = 1; v <= 3; v++) {
        world_promote_default("m", v);
    }
    assert_string_equal(history("m", 0), "3* 2 1");
    assert_int_equal(world_rollback("m"), 2);
    assert_int_equal(world_live("m"), 2);
    assert_string_equal(history("m", 0), "2* 3- 2 1");
    assert_int_equal(world_rollback("m"), 1);
    assert_string_equal(history("m", 0), "1* 2- 3- 2- 1");
    assert_string_equal(history("m", 2), "1* 2-");
    assert_int_equal(world_rollback("m"), 0); /* the bottom */
    assert_int_equal(world_live("m"), 1);
    world_promote_default("m", 4); /* a new branch, from 1 */
    assert_string_equal(history("m", 0), "4* 1 2- 3- 2- 1");
    assert_int_equal(world_rollback("m"), 1);
    assert_int_equal(world_rollback("m"), 0);
    world_reopen();
    assert_string_equal(history("m", 0), "1* 4- 1 2- 3- 2- 1");
}

static void documents(void **state) {
    push("m", 2);
    world_promote_default("m", 1);
    sw_clock_manual_advance(&world.clock, 2000000000u);
    world_promote_default("m", 2);
    json_t *document = NULL;
    assert_sw_ok(sw_registry_rollback(world.registry, &reasoner, "m", NULL, &document, err));
    assert_int_equal(json_integer_value(json_object_get(document, "revision")), world_revision());
    json_object_del(document, "revision");
    assert_json(document, "{'model': 'm', 'version': 1, 'previous_live': 2}");
    json_decref(document);
    assert_sw_ok(sw_registry_history(world.registry, "m", 2, &document, err));
    assert_json(document,
                "{'history': [{'seq': 3, 'version': 1, 'kind': 'rollback', 'actor': 'tester', 'reason': "
                "'because', 'time': '2027-01-15T08:00:02.000Z', 'current': true, 'undone': false}, {'seq': 2, "
                "'version': 2, 'kind': 'promote', 'actor': 'tester', 'reason': null, 'time': "
                "'2027-01-15T08:00:02.000Z', 'current': false, 'undone': true}]}");
    json_decref(document);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'model.rollback'");
    assert_json(json_object_get(row, "object"), "'m/1'");
    assert_json(json_object_get(row, "before"), "{'live': 2, 'champion': 2, 'production': [2]}");
    assert_json(json_object_get(row, "after"), "{'live': 1, 'champion': 1, 'production': [1], 'restores': 1}");
    json_decref(row);
    assert_sw_fails(sw_registry_history(world.registry, "n", 0, &document, err), SW_E_NOT_FOUND, "no model n");
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "n", NULL, NULL, err), SW_E_NOT_FOUND, "no model n");
}

static void assert_stage(int64_t version, const char *stage) {
    json_t *document = world_version("m", version);
    assert_string_equal(json_string_value(json_object_get(document, "stage")), stage);
    json_decref(document);
}

/* The whole pointer state comes back, and what was in Production only since then is archived. */
static void pointer_state(void **state) {
    push("m", 5);
    assert_int_equal(world_promote("m", 1, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_PRODUCTION, false), SW_OK); /* live 2; Production 1, 2 */
    assert_int_equal(world_promote("m", 3, "challenger", SW_STAGE_STAGING, false), SW_OK);
    assert_int_equal(world_promote("m", 4, "champion", SW_STAGE_PRODUCTION, true), SW_OK);
    assert_int_equal(world_promote("m", 5, NULL, SW_STAGE_PRODUCTION, false), SW_OK); /* live stays 4 */
    assert_int_equal(world_rollback("m"), 2);
    assert_stage(1, "Production");
    assert_stage(2, "Production");
    assert_stage(3, "Staging");
    assert_stage(4, "Archived");
    assert_stage(5, "Archived");
    json_t *model = world_model("m");
    assert_json(json_object_get(model, "aliases"), "{'challenger': 3}"); /* no champion then; others stay */
    json_decref(model);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_NONE, false), SW_OK); /* the order came back, too */
    assert_int_equal(world_live("m"), 1);
}

/* A pointer change that leaves the live version where it is belongs to the row. */
static void state_of_a_row_is_its_last(void **state) {
    push("m", 3);
    world_promote_default("m", 1);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    world_promote_default("m", 3);
    assert_string_equal(history("m", 0), "3* 1");
    assert_int_equal(world_rollback("m"), 1);
    assert_stage(2, "Production");
    assert_stage(1, "Production");
}

/* A version that was in Production then and has been deleted since does not come back. */
static void deleted_from_the_set(void **state) {
    push("m", 3);
    assert_int_equal(world_promote("m", 1, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    world_promote_default("m", 3);
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "m", "1", err));
    assert_int_equal(world_rollback("m"), 2);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(json_object_get(row, "after"), "production"), "[2]");
    json_decref(row);
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_ARCHIVED, false), SW_OK);
    assert_int_equal(world_live("m"), 0);
}

static void none_is_live_in_between(void **state) {
    push("m", 2);
    world_promote_default("m", 1);
    world_promote_default("m", 2);
    assert_sw_ok(sw_registry_delete_alias(world.registry, &someone, "m", "champion", err));
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_ARCHIVED, false), SW_OK);
    assert_string_equal(history("m", 0), "0* 2 1");
    assert_int_equal(world_rollback("m"), 2); /* from none to what was there */
    assert_int_equal(world_promote("m", 2, NULL, SW_STAGE_ARCHIVED, false), SW_OK);
    world_promote_default("m", 2);
    assert_int_equal(world_rollback("m"), 1); /* never to none */
}

static void to_a_version(void **state) {
    push("m", 5);
    for (int64_t v = 1; v <= 4; v++) {
        world_promote_default("m", v);
    }
    assert_int_equal(world_promote("m", 2, "good", -1, false), SW_OK);
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "m", "4", NULL, err), SW_E_CONFLICT,
                    "is live already");
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "m", "5", NULL, err), SW_E_CONFLICT,
                    "was not live before");
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "m", "9", NULL, err), SW_E_NOT_FOUND, "");
    assert_sw_ok(sw_registry_rollback(world.registry, &someone, "m", "good", NULL, err));
    assert_int_equal(world_live("m"), 2);
    assert_string_equal(history("m", 0), "2* 4- 3- 2 1");
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "m", "3", NULL, err), SW_E_CONFLICT,
                    "was not live before");
    assert_int_equal(world_rollback("m"), 1);
}

static void damage(const struct sw_version_file *file) {
    char path[300];
    snprintf(path, sizeof path, "%s/artifacts/blobs/%.2s/%s", world.dir, file->digest.hex, file->digest.hex);
    assert_int_equal(chmod(path, 0644), 0);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fputc(' ', f), ' ');
    assert_int_equal(fclose(f), 0);
}

static void damaged_target(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    assert_sw_ok(world_push_files("m", &file, 1, err));
    push("m", 1);
    world_promote_default("m", 1);
    world_promote_default("m", 2);
    damage(&file);
    int64_t revision = world_revision();
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "m", NULL, NULL, err), SW_E_DIGEST_MISMATCH,
                    "no rollback to m/1, file model.fake.json");
    assert_sw_ok(sw_artifacts_delete(world.artifacts, &file.digest, err));
    assert_sw_fails(sw_registry_rollback(world.registry, &someone, "m", NULL, NULL, err), SW_E_DIGEST_MISMATCH,
                    "no rollback to m/1, file model.fake.json");
    assert_int_equal(world_live("m"), 2);
    assert_int_equal(world_revision(), revision);
}

/* random walk ------------------------------------------------------------------------------------------------------ */

/* The plain model: everything in arrays, the stack as it is said to be. */
enum { VERSIONS = 400, ROWS = 4000, ALIASES = 2 };
static const char *const alias_names[ALIASES] = {"champion", "challenger"};

struct row {
    int version, champion, production[VERSIONS], production_count;
    int below; /* index + 1; 0: none */
};
static struct {
    int count; /* versions made */
    bool deleted[VERSIONS + 1];
    enum sw_stage stage[VERSIONS + 1];
    int production[VERSIONS], production_count; /* in order */
    int alias[ALIASES];
    int live, top; /* top: index + 1 of the newest row */
    struct row rows[ROWS];
    int row_count;
    int64_t audit_rows;
} plain;

static int plain_live(void) {
    if (plain.alias[0]) {
        return plain.alias[0];
    }
    return plain.production_count ? plain.production[plain.production_count - 1] : 0;
}

static void plain_stage(int version, enum sw_stage stage) {
    int kept = 0;
    for (int i = 0; i < plain.production_count; i++) {
        if (plain.production[i] != version) {
            plain.production[kept++] = plain.production[i];
        }
    }
    plain.production_count = kept;
    if (stage == SW_STAGE_PRODUCTION) {
        plain.production[plain.production_count++] = version;
    }
    plain.stage[version] = stage;
}

static void plain_settle(int below) {
    int live = plain_live();
    if (live != plain.live || below >= 0) {
        assert_true(plain.row_count < ROWS);
        plain.rows[plain.row_count] = (struct row){.below = below >= 0 ? below : plain.top};
        plain.top = ++plain.row_count;
    }
    plain.live = live;
    if (plain.top) {
        struct row *row = &plain.rows[plain.top - 1];
        row->version = live;
        row->champion = plain.alias[0];
        row->production_count = plain.production_count;
        memcpy(row->production, plain.production, sizeof plain.production);
    }
}

/* Index + 1 of the row that a rollback goes to; 0: none. */
static int plain_target(int wanted) {
    for (int at = plain.top; at; at = plain.rows[at - 1].below) {
        int version = plain.rows[at - 1].version;
        if (version && version != plain.live && !plain.deleted[version] && (!wanted || version == wanted)) {
            return at;
        }
    }
    return 0;
}

static bool in_list(const int *list, int count, int version) {
    for (int i = 0; i < count; i++) {
        if (list[i] == version) {
            return true;
        }
    }
    return false;
}

static void plain_rollback(int at) {
    struct row target = plain.rows[at - 1];
    int old[VERSIONS], old_count = plain.production_count;
    memcpy(old, plain.production, sizeof old);
    for (int i = 0; i < old_count; i++) {
        if (!in_list(target.production, target.production_count, old[i])) {
            plain_stage(old[i], SW_STAGE_ARCHIVED);
        }
    }
    for (int i = 0; i < target.production_count; i++) {
        if (!plain.deleted[target.production[i]]) {
            plain_stage(target.production[i], SW_STAGE_PRODUCTION);
        }
    }
    plain.alias[0] = target.champion;
    plain_settle(target.below);
}

static unsigned random_below(unsigned n) {
    static uint64_t x = 88172645463325252u; /* xorshift64: the same walk every time */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (unsigned)(x % n);
}

static int random_version(void) { /* recent ones mostly; perhaps deleted, perhaps not made yet */
    int low = plain.count > 8 ? plain.count - 8 : 0;
    return low + 1 + (int)random_below(10);
}

static bool usable(int version) {
    return version >= 1 && version <= plain.count && !plain.deleted[version];
}

static void step_create(void) {
    if (plain.count < VERSIONS - 2) {
        assert_int_equal(world_push_any("m"), ++plain.count);
        plain.audit_rows += plain.count == 1 ? 2 : 1;
    }
}

static void step_promote(void) {
    int version = random_version(), alias = (int)random_below(ALIASES + 1) - 1, stage = (int)random_below(5) - 1;
    if (alias < 0 && stage < 0) {
        return;
    }
    bool archive = random_below(2) && (stage == SW_STAGE_STAGING || stage == SW_STAGE_PRODUCTION);
    sw_status status = world_promote("m", version, alias < 0 ? NULL : alias_names[alias], stage, archive);
    if (!usable(version)) {
        assert_int_equal(status, SW_E_NOT_FOUND);
        return;
    }
    assert_int_equal(status, SW_OK);
    bool changed = false;
    for (int v = 1; archive && v <= plain.count; v++) {
        if (v != version && !plain.deleted[v] && (int)plain.stage[v] == stage) {
            plain_stage(v, SW_STAGE_ARCHIVED);
            changed = true;
        }
    }
    if (stage >= 0 && (int)plain.stage[version] != stage) {
        plain_stage(version, (enum sw_stage)stage);
        changed = true;
    }
    if (alias >= 0 && plain.alias[alias] != version) {
        plain.alias[alias] = version;
        changed = true;
    }
    if (changed) {
        plain.audit_rows++;
        plain_settle(-1);
    }
}

static void step_delete_alias(void) {
    int alias = (int)random_below(ALIASES);
    struct sw_error err;
    sw_status status = sw_registry_delete_alias(world.registry, &someone, "m", alias_names[alias], &err);
    assert_int_equal(status, plain.alias[alias] ? SW_OK : SW_E_NOT_FOUND);
    if (!status) {
        plain.alias[alias] = 0;
        plain.audit_rows++;
        plain_settle(-1);
    }
}

static void step_delete_version(void) {
    int version = random_version();
    char number[16];
    struct sw_error err;
    snprintf(number, sizeof number, "%d", version);
    sw_status status = sw_registry_delete_version(world.registry, &someone, "m", number, &err);
    if (!usable(version)) {
        assert_int_equal(status, SW_E_NOT_FOUND);
        return;
    }
    bool pointed = in_list(plain.alias, ALIASES, version) || plain.stage[version] == SW_STAGE_PRODUCTION;
    assert_int_equal(status, pointed ? SW_E_CONFLICT : SW_OK);
    if (!pointed) {
        plain.deleted[version] = true;
        plain.audit_rows++;
    }
}

static void step_rollback(void) {
    int wanted = random_below(4) ? 0 : random_version(), at = plain_target(wanted);
    char number[16];
    struct sw_error err;
    snprintf(number, sizeof number, "%d", wanted);
    sw_status status = sw_registry_rollback(world.registry, &someone, "m", wanted ? number : NULL, NULL, &err);
    if (wanted && !usable(wanted)) {
        assert_int_equal(status, SW_E_NOT_FOUND);
    } else if (!at) {
        assert_int_equal(status, SW_E_CONFLICT);
    } else {
        assert_int_equal(status, SW_OK);
        plain.audit_rows++;
        plain_rollback(at);
    }
}

static void compare_version(int version) {
    if (plain.deleted[version]) {
        return;
    }
    json_t *document = world_version("m", version), *aliases = json_object_get(document, "aliases");
    assert_string_equal(json_string_value(json_object_get(document, "stage")), sw_stage_name(plain.stage[version]));
    assert_int_equal(json_is_true(json_object_get(document, "live")), plain.live == version);
    assert_int_equal(json_array_size(aliases), (plain.alias[0] == version) + (plain.alias[1] == version));
    json_decref(document);
}

static void compare_history(void) {
    json_t *document = NULL, *row;
    size_t i;
    assert_sw_ok(sw_registry_history(world.registry, "m", 20, &document, err));
    json_array_foreach(json_object_get(document, "history"), i, row) {
        assert_int_equal(json_integer_value(json_object_get(row, "seq")), plain.row_count - (int)i);
        assert_int_equal(json_integer_value(json_object_get(row, "version")),
                         plain.rows[plain.row_count - 1 - (int)i].version);
    }
    assert_int_equal(i, plain.row_count < 20 ? plain.row_count : 20);
    json_decref(document);
}

static int served_previous(void) {
    struct sw_arena arena;
    struct sw_served_model *models;
    struct sw_version_policy policy = {.kind = SW_POLICY_LIVE};
    size_t count;
    int64_t revision;
    sw_arena_init(&arena, 0, 0);
    assert_sw_ok(sw_registry_serving(world.registry, 1, &policy, &arena, &models, &count, &revision, err));
    assert_int_equal(count, 1);
    assert_int_equal(models[0].live, plain.live);
    int previous = (int)models[0].previous;
    sw_arena_deinit(&arena);
    return previous;
}

static void compare(void) {
    json_t *model = world_model("m"), *aliases = json_object_get(model, "aliases");
    assert_int_equal(json_integer_value(json_object_get(model, "live")), plain.live);
    for (int i = 0; i < ALIASES; i++) {
        assert_int_equal(json_integer_value(json_object_get(aliases, alias_names[i])), plain.alias[i]);
    }
    json_decref(model);
    for (int v = plain.count > 12 ? plain.count - 11 : 1; v <= plain.count; v++) {
        compare_version(v);
    }
    compare_history();
    int target = plain_target(0);
    assert_int_equal(served_previous(), target ? plain.rows[target - 1].version : 0);
}

static void random_walk(void **state) {
    static void (*const steps[])(void) = {step_create,   step_promote,  step_promote,      step_promote,
                                          step_rollback, step_rollback, step_delete_alias, step_delete_version};
    const char *text = getenv("SLIPWAY_TEST_STEPS");
    uint64_t count = 2000;
    assert_true(!text || sw_parse_u64(sw_str_of(text), &count));
    memset(&plain, 0, sizeof plain);
    step_create();
    for (uint64_t i = 0; i < count && plain.row_count < ROWS - 1; i++) {
        /* versions last for the whole walk */
        unsigned which = plain.count * 2000 < (int)(i * VERSIONS) || random_below(10) == 0
                             ? random_below(SW_COUNTOF(steps))
                             : 1 + random_below(SW_COUNTOF(steps) - 1);
        steps[which]();
        compare();
        if (i % 100 == 99) {
            assert_int_equal(world_audit_rows(), plain.audit_rows);
        }
    }
    assert_int_equal(world_audit_rows(), plain.audit_rows);
    assert_true(plain.row_count > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(walking_back),         T(documents),
        T(pointer_state),        T(state_of_a_row_is_its_last),
        T(deleted_from_the_set), T(none_is_live_in_between),
        T(to_a_version),         T(damaged_target),
        T(random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
