/* What replicas are told to load: since a revision, by policy, with deletions and renames. */
#include "world.h"

/* "m: 1 2! live 2 prev 1 a=2 champion=2; ..." ('!': pinned; "gone" for a deleted one). */
static const char *serving_of(int64_t since, const struct sw_version_policy *policy, int64_t *ret_revision) {
    static char text[4096];
    struct sw_arena arena;
    struct sw_served_model *models;
    size_t count, len = 0;
    int64_t revision;
    sw_arena_init(&arena, 0, 0);
    text[0] = 0;
    assert_sw_ok(sw_registry_serving(world.registry, since, policy, &arena, &models, &count, &revision, err));
    assert_int_equal(revision, world_revision());
    for (size_t i = 0; i < count; i++) {
        const struct sw_served_model *m = &models[i];
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s:", i ? "; " : "", m->name);
        for (size_t k = 0; k < m->version_count; k++) {
            assert_true(m->versions[k].bytes > 100);
            assert_int_equal(strlen(m->versions[k].digest), 64);
            len += (size_t)snprintf(text + len, sizeof text - len, " %lld%s", (long long)m->versions[k].number,
                                    m->versions[k].pinned ? "!" : "");
        }
        if (m->deleted) {
            len += (size_t)snprintf(text + len, sizeof text - len, " gone");
        }
        if (m->live || m->previous) {
            len += (size_t)snprintf(text + len, sizeof text - len, " live %lld prev %lld", (long long)m->live,
                                    (long long)m->previous);
        }
        for (size_t k = 0; k < m->alias_count; k++) {
            len += (size_t)snprintf(text + len, sizeof text - len, " %s=%lld", m->aliases[k].name,
                                    (long long)m->aliases[k].version);
        }
    }
    sw_arena_deinit(&arena);
    if (ret_revision) {
        *ret_revision = revision;
    }
    return text;
}

static const struct sw_version_policy live = {.kind = SW_POLICY_LIVE};

static void push(const char *model, int count) {
    for (int i = 0; i < count; i++) {
        world_push_any(model);
    }
}

static void live_policy(void **state) {
    assert_string_equal(serving_of(0, &live, NULL), "");
    push("a", 3);
    push("b", 2);
    push("c", 1);
    assert_string_equal(serving_of(0, &live, NULL), "");
    world_promote_default("a", 1);
    world_promote_default("a", 2);
    assert_int_equal(world_promote("b", 2, "next", -1, false), SW_OK);
    assert_string_equal(serving_of(0, &live, NULL), "a: 2! live 2 prev 1 champion=2; b: 2! next=2");
    assert_int_equal(world_promote("c", 1, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_int_equal(world_promote("a", 3, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_int_equal(world_promote("a", 2, "other", -1, false), SW_OK);
    assert_string_equal(serving_of(0, &live, NULL),
                        "a: 2! 3! live 2 prev 1 champion=2 other=2; b: 2! next=2; c: 1! live 1 prev 0");
    const struct sw_version_policy by_default = {.kind = SW_POLICY_DEFAULT}; /* is LIVE when nobody says more */
    assert_string_equal(serving_of(0, &by_default, NULL),
                        "a: 2! 3! live 2 prev 1 champion=2 other=2; b: 2! next=2; c: 1! live 1 prev 0");
}

static void changes(void **state) {
    int64_t at;
    push("a", 2);
    push("b", 1);
    world_promote_default("a", 1);
    serving_of(0, &live, &at);
    assert_string_equal(serving_of(at, &live, NULL), "");
    world_promote_default("b", 1);
    assert_string_equal(serving_of(at, &live, &at), "b: 1! live 1 prev 0 champion=1");
    assert_string_equal(serving_of(at, &live, &at), "");
    push("b", 1); /* changed, the same to serve */
    assert_string_equal(serving_of(at, &live, &at), "b: 1! live 1 prev 0 champion=1");
    world_promote_default("a", 2);
    assert_int_equal(world_rollback("a"), 1);
    assert_string_equal(serving_of(at, &live, &at), "a: 1! live 1 prev 0 champion=1");
    assert_sw_ok(sw_registry_delete_alias(world.registry, &someone, "a", "champion", err));
    assert_int_equal(world_promote("a", 1, NULL, SW_STAGE_NONE, false), SW_OK);
    assert_string_equal(serving_of(at, &live, &at), "a: live 0 prev 1"); /* told, though it serves nothing */
    assert_string_equal(serving_of(0, &live, NULL), "b: 1! live 1 prev 0 champion=1");
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "a", "1", err));
    assert_string_equal(serving_of(at, &live, NULL), "a:"); /* 2, undone, is not gone back to */
}

static void deleted_and_renamed(void **state) {
    int64_t at;
    push("a", 1);
    push("b", 1);
    world_promote_default("a", 1);
    world_promote_default("b", 1);
    serving_of(0, &live, &at);
    assert_sw_ok(sw_registry_delete_model(world.registry, &someone, "b", true, err));
    assert_string_equal(serving_of(at, &live, NULL), "b: gone");
    assert_sw_ok(sw_registry_rename_model(world.registry, &someone, "a", "c", NULL, err));
    assert_string_equal(serving_of(at, &live, NULL), "c: 1! live 1 prev 0 champion=1; a: gone; b: gone");
    assert_string_equal(serving_of(0, &live, NULL), "c: 1! live 1 prev 0 champion=1");
    assert_int_equal(world_push_any("b"), 2); /* made again: changed, not gone; with another number */
    world_promote_default("b", 2);
    assert_string_equal(serving_of(at, &live, NULL),
                        "b: 2! live 2 prev 0 champion=2; c: 1! live 1 prev 0 champion=1; a: gone");
}

static void set_policy(const char *model, const char *policy) {
    json_t *json = json_pack("{s:o}", "policy", json_of(policy));
    assert_sw_ok(sw_registry_update_model(world.registry, &someone, model, json, NULL, err));
    json_decref(json);
}

static void policies(void **state) {
    push("a", 5);
    push("b", 3);
    world_promote_default("a", 2);
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "a", "4", err));
    const struct sw_version_policy latest = {.kind = SW_POLICY_LATEST, .latest = 2}, all = {.kind = SW_POLICY_ALL},
                                   specific = {.kind = SW_POLICY_SPECIFIC,
                                               .specific = (const int64_t[]){1, 3, 4},
                                               .specific_count = 3};
    assert_string_equal(serving_of(0, &latest, NULL), "a: 2! 3 5 live 2 prev 0 champion=2; b: 2 3");
    assert_string_equal(serving_of(0, &all, NULL), "a: 1 2! 3 5 live 2 prev 0 champion=2; b: 1 2 3");
    assert_string_equal(serving_of(0, &live, NULL), "a: 2! live 2 prev 0 champion=2");
    assert_string_equal(serving_of(1, &specific, NULL), "a: 1 2! 3 live 2 prev 0 champion=2; b: 1 3");
    set_policy("b", "{'kind': 'latest', 'count': 1}");
    assert_string_equal(serving_of(0, &live, NULL), "a: 2! live 2 prev 0 champion=2; b: 3");
    assert_string_equal(serving_of(0, &all, NULL), "a: 1 2! 3 5 live 2 prev 0 champion=2; b: 3");
    set_policy("a", "{'kind': 'specific', 'versions': [1, 4, 5, 9]}");
    set_policy("b", "{'kind': 'all'}");
    assert_string_equal(serving_of(0, &live, NULL), "a: 1 2! 5 live 2 prev 0 champion=2; b: 1 2 3");
    set_policy("a", "{'kind': 'live'}");
    set_policy("b", "{'kind': 'specific', 'versions': [7]}");
    assert_string_equal(serving_of(0, &all, NULL), "a: 2! live 2 prev 0 champion=2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(live_policy),
        T(changes),
        T(deleted_and_renamed),
        T(policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
