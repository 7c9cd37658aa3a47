/* Models: names, creation, pages and filters, changes and their audit rows, renames, deletion and what it leaves. */
#include "world.h"

static const struct sw_page first_page = {0};

static void names(void **state) {
    static const char *const good[] = {"a", "digits", "Digits-2.1_x", "7", "a.."};
    static const char *const bad[] = {"", ".a", "-a", "_a", "a/b", "a b", "a\n", "\xc3\xa4", "a:b", "a\\b"};
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        assert_true(sw_registry_name_valid(sw_str_of(good[i])));
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_false(sw_registry_name_valid(sw_str_of(bad[i])));
        assert_sw_fails(sw_registry_create_model(world.registry, &someone, bad[i], NULL, NULL, NULL, err),
                        SW_E_INVALID_ARGUMENT, "is no name for a model");
    }
    char name[130];
    memset(name, 'a', sizeof name);
    assert_true(sw_registry_name_valid((struct sw_str){name, 128}));
    assert_false(sw_registry_name_valid((struct sw_str){name, 129}));
    assert_int_equal(world_audit_rows(), 0);
}

static void alias_names(void **state) {
    static const char *const good[] = {"champion", "a", "va", "v1a", "V", "v", "1a", "latest2", "x.y-z_"};
    static const char *const bad[] = {"", "1", "007", "v1", "V22", "latest", "Latest", "live", "LIVE", "a b", "-a"};
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        assert_true(sw_registry_alias_valid(sw_str_of(good[i])));
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_false(sw_registry_alias_valid(sw_str_of(bad[i])));
    }
}

static void paths(void **state) {
    static const char *const good[] = {"m.onnx", "a/b/c.bin", "a b", "\xc3\xa4.txt", ".hidden", "a..b", "..."};
    static const char *const bad[] = {"",    "/a",   "a/",   "a//b",  ".",        "..",   "a/../b", "../x",
                                      "a/.", "a\\b", "a\nb", "a\x7f", "\xc2\x85", "\xff", "./a"};
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        assert_true(sw_registry_path_valid(sw_str_of(good[i])));
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_false(sw_registry_path_valid(sw_str_of(bad[i])));
    }
    char path[514];
    memset(path, 'a', sizeof path);
    path[200] = path[400] = '/';
    assert_true(sw_registry_path_valid((struct sw_str){path, 512}));
    assert_false(sw_registry_path_valid((struct sw_str){path, 513}));
    memset(path, 'a', sizeof path);
    assert_false(sw_registry_path_valid((struct sw_str){path, 256})); /* one part longer than a file name may be */
}

static void creation(void **state) {
    json_t *tags = json_of("{'team': 'vision', 'mlflow.note': '\\u00e4'}"), *model = NULL;
    assert_sw_ok(sw_registry_create_model(world.registry, &someone, "digits", "reads digits", tags, &model, err));
    json_t *revision = json_object_get(model, "revision");
    assert_int_equal(json_integer_value(revision), world_revision());
    json_object_del(model, "revision");
    assert_json(model, "{'name': 'digits', 'description': 'reads digits', 'tags': {'team': 'vision', 'mlflow.note': "
                       "'\\u00e4'}, 'created_at': '2027-01-15T08:00:00.000Z', 'updated_at': "
                       "'2027-01-15T08:00:00.000Z', 'created_by': 'tester', 'live': null, 'latest': null, 'aliases': "
                       "{}, 'policy': null, 'versions': 0}");
    json_decref(model);
    json_decref(tags);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'model.create'");
    assert_json(json_object_get(row, "object"), "'digits'");
    assert_json(json_object_get(row, "actor"), "'tester'");
    assert_json(json_object_get(row, "request_id"), "'req-1'");
    json_decref(row);
    assert_sw_fails(sw_registry_create_model(world.registry, &someone, "digits", NULL, NULL, NULL, err), SW_E_CONFLICT,
                    "model digits exists already");
    assert_int_equal(world_audit_rows(), 1);
    world_reopen();
    json_decref(world_model("digits"));
}

static void bad_creations(void **state) {
    static const char *const tags[][2] = {
        {"['a']", "tags: must be an object"},      {"{'': 'x'}", "tags: \"\" is no key"},
        {"{'a\\u0001': 'x'}", "is no key"},        {"{'a': 1}", "tags.a: must be a text"},
        {"{'a': null}", "tags.a: must be a text"}, {"{'a': 'x\\u0000y'}", "without NUL"},
    };
    for (size_t i = 0; i < SW_COUNTOF(tags); i++) {
        char text[128];
        snprintf(text, sizeof text, "%s", tags[i][0]);
        for (char *p = text; *p; p++) {
            *p = *p == '\'' ? '"' : *p;
        }
        json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        assert_sw_fails(sw_registry_create_model(world.registry, &someone, "m", NULL, json, NULL, err),
                        SW_E_INVALID_ARGUMENT, tags[i][1]);
        json_decref(json);
    }
    static char huge[70000];
    memset(huge, 'a', sizeof huge - 1);
    assert_sw_fails(sw_registry_create_model(world.registry, &someone, "m", huge, NULL, NULL, err),
                    SW_E_INVALID_ARGUMENT, "description: 69999 bytes");
    assert_sw_fails(sw_registry_create_model(world.registry, &someone, "m", "\xff", NULL, NULL, err),
                    SW_E_INVALID_ARGUMENT, "description: is not UTF-8");
    struct sw_actor nobody = {.name = ""};
    assert_sw_fails(sw_registry_create_model(world.registry, &nobody, "m", NULL, NULL, NULL, err),
                    SW_E_INVALID_ARGUMENT, "actor");
    assert_sw_fails(sw_registry_get_model(world.registry, "m", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "no model m");
    assert_int_equal(world_revision(), 0);
}

/* pages ------------------------------------------------------------------------------------------------------------ */

/* Names of all pages, joined by ' '. */
static const char *all_names(const struct sw_model_filter *filter, size_t limit) {
    static char text[8192];
    char token[160];
    size_t len = 0;
    struct sw_page page = {.limit = limit};
    text[0] = 0;
    for (int pages = 0; pages < 1000; pages++) {
        json_t *list = NULL, *model;
        size_t i;
        assert_sw_ok(sw_registry_list_models(world.registry, filter, &page, &list, err));
        json_t *models = json_object_get(list, "models");
        assert_true(json_array_size(models) <= limit);
        json_array_foreach(models, i, model) {
            const char *name = json_string_value(json_object_get(model, "name"));
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", len ? " " : "", name);
        }
        const char *next = json_string_value(json_object_get(list, "next_page_token"));
        if (!next) {
            json_decref(list);
            return text;
        }
        assert_int_equal(json_array_size(models), limit);
        snprintf(token, sizeof token, "%s", next);
        page.token = token;
        json_decref(list);
    }
    fail_msg("pages without end");
    return NULL;
}

static void make(const char *name, const char *tags) {
    json_t *json = tags ? json_of(tags) : NULL;
    assert_sw_ok(sw_registry_create_model(world.registry, &someone, name, NULL, json, NULL, err));
    json_decref(json);
}

static void pages(void **state) {
    static const char order[] = "B a a-1 a.b a0 aB a_b ab z";
    static const char *const made[] = {"z", "ab", "a_b", "aB", "a0", "a.b", "a-1", "a", "B"};
    assert_string_equal(all_names(&(struct sw_model_filter){0}, 3), "");
    for (size_t i = 0; i < SW_COUNTOF(made); i++) {
        make(made[i], i % 3 == 0 ? "{'kind': 'x', 'n': '1'}" : i % 3 == 1 ? "{'kind': 'y'}" : NULL);
    }
    for (size_t limit = 1; limit <= 10; limit++) { /* bytewise order, whatever the locale */
        assert_string_equal(all_names(&(struct sw_model_filter){0}, limit), order);
        assert_string_equal(all_names(&(struct sw_model_filter){.name_prefix = "a"}, limit), "a a-1 a.b a0 aB a_b ab");
        assert_string_equal(all_names(&(struct sw_model_filter){.tag_key = "kind"}, limit), "a a-1 a0 aB ab z");
        assert_string_equal(all_names(&(struct sw_model_filter){.tag_key = "kind", .tag_value = "x"}, limit),
                            "a-1 aB z");
        assert_string_equal(all_names(&(struct sw_model_filter){.name_prefix = "a", .tag_key = "kind"}, limit),
                            "a a-1 a0 aB ab");
    }
    static const struct {
        const char *like, *found;
    } rows[] = {
        {"a%", "a a-1 a.b a0 aB a_b ab"},
        {"A%", ""},
        {"%b", "a.b a_b ab"},
        {"a_b", "a.b a_b"},
        {"%B", "B aB"},
        {"a*", ""},
        {"a?", ""},
        {"[a]b", ""},
        {"%", order},
        {"ab", "ab"},
        {"", ""},
    };
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        assert_string_equal(all_names(&(struct sw_model_filter){.name_like = rows[i].like}, 4), rows[i].found);
    }
    assert_string_equal(all_names(&(struct sw_model_filter){.name = "aB"}, 4), "aB");
    assert_string_equal(all_names(&(struct sw_model_filter){.name = "ab", .tag_key = "n"}, 4), "");
}

static void bad_pages(void **state) {
    static const char *const tokens[] = {"", "m~", "x~a", "m~a/b", "v~a~1", "a"};
    struct sw_model_filter any = {0};
    json_t *list = NULL;
    for (size_t i = 0; i < SW_COUNTOF(tokens); i++) {
        struct sw_page page = {.token = tokens[i]};
        assert_sw_fails(sw_registry_list_models(world.registry, &any, &page, &list, err), SW_E_INVALID_ARGUMENT,
                        "page_token");
    }
    struct sw_page page = {.limit = 1001};
    assert_sw_fails(sw_registry_list_models(world.registry, &any, &page, &list, err), SW_E_INVALID_ARGUMENT, "limit");
    struct sw_page beyond = {.token = "m~zzz"};
    assert_sw_ok(sw_registry_list_models(world.registry, &any, &beyond, &list, err));
    assert_json(list, "{'models': [], 'next_page_token': null}");
    json_decref(list);
}

/* A page shows tags, aliases, counts of exactly its models. */
static void page_contents(void **state) {
    make("a", "{'k': 'a1', 'l': 'a2'}");
    make("b", NULL);
    world_push_any("a");
    world_push_any("a");
    world_push_any("c");
    assert_int_equal(world_promote("a", 2, "challenger", -1, false), SW_OK);
    world_promote_default("a", 1);
    json_t *list = NULL;
    assert_sw_ok(sw_registry_list_models(world.registry, &(struct sw_model_filter){0}, &first_page, &list, err));
    json_t *models = json_object_get(list, "models"), *a = json_array_get(models, 0);
    assert_int_equal(json_array_size(models), 3);
    assert_json(json_object_get(a, "tags"), "{'k': 'a1', 'l': 'a2'}");
    assert_json(json_object_get(a, "aliases"), "{'champion': 1, 'challenger': 2}");
    assert_json(json_object_get(a, "versions"), "2");
    assert_json(json_object_get(a, "live"), "1");
    assert_json(json_object_get(a, "latest"), "2");
    assert_json(json_object_get(json_array_get(models, 1), "tags"), "{}");
    assert_json(json_object_get(json_array_get(models, 1), "versions"), "0");
    assert_json(json_object_get(json_array_get(models, 2), "versions"), "1");
    json_decref(list);
}

/* changes ---------------------------------------------------------------------------------------------------------- */

static json_t *update(const char *changes) {
    json_t *json = json_of(changes), *model = NULL;
    assert_sw_ok(sw_registry_update_model(world.registry, &reasoner, "m", json, &model, err));
    json_decref(json);
    return model;
}

static void updates(void **state) {
    make("m", "{'a': '1', 'b': '2'}");
    sw_clock_manual_advance(&world.clock, 1000000000u);
    json_t *model = update("{'description': 'text', 'tags': {'a': 'x', 'b': null, 'c': '3', 'none': null}, "
                           "'policy': {'kind': 'latest', 'count': 2}}");
    assert_json(json_object_get(model, "tags"), "{'a': 'x', 'c': '3'}");
    assert_json(json_object_get(model, "description"), "'text'");
    assert_json(json_object_get(model, "policy"), "{'kind': 'latest', 'count': 2}");
    assert_json(json_object_get(model, "updated_at"), "'2027-01-15T08:00:01.000Z'");
    assert_json(json_object_get(model, "created_at"), "'2027-01-15T08:00:00.000Z'");
    assert_int_equal(json_integer_value(json_object_get(model, "revision")), world_revision());
    json_decref(model);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'model.update'");
    assert_json(json_object_get(row, "reason"), "'because'");
    assert_json(json_object_get(row, "before"),
                "{'description': null, 'policy': null, 'tags': {'a': '1', 'b': '2', 'c': null}}");
    assert_json(json_object_get(row, "after"), "{'description': 'text', 'policy': {'kind': 'latest', 'count': 2}, "
                                               "'tags': {'a': 'x', 'b': null, 'c': '3'}}");
    json_decref(row);
    int64_t rows = world_audit_rows(), revision = world_revision(); /* the same once more: nothing happens */
    json_decref(update("{'description': 'text', 'tags': {'a': 'x', 'b': null}}"));
    json_decref(update("{}"));
    assert_int_equal(world_audit_rows(), rows);
    assert_int_equal(world_revision(), revision);
    model = update("{'description': null, 'policy': null}");
    assert_json(json_object_get(model, "description"), "null");
    assert_json(json_object_get(model, "policy"), "null");
    json_decref(model);
}

static void bad_updates(void **state) {
    static const char *const rows[][2] = {
        {"[]", "changes: must be an object"},
        {"{'name': 'x'}", "name: cannot be changed"},
        {"{'description': 1}", "description: must be a text or null"},
        {"{'tags': {'a': 1}}", "tags.a: must be a text, or null"},
        {"{'tags': 'a'}", "tags: must be an object"},
        {"{'policy': 'live'}", "policy: must be"},
        {"{'policy': {'kind': 'none'}}", "policy: must be"},
        {"{'policy': {'kind': 'live', 'count': 1}}", "policy: must be"},
        {"{'policy': {'kind': 'latest'}}", "policy: latest has `count`"},
        {"{'policy': {'kind': 'latest', 'count': 0}}", "policy: latest has `count`"},
        {"{'policy': {'kind': 'specific', 'versions': []}}", "policy: specific has `versions`"},
        {"{'policy': {'kind': 'specific', 'versions': [1, '2']}}", "versions[1]"},
    };
    make("m", NULL);
    int64_t revision = world_revision();
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        json_t *json = json_of(rows[i][0]);
        assert_sw_fails(sw_registry_update_model(world.registry, &someone, "m", json, NULL, err), SW_E_INVALID_ARGUMENT,
                        rows[i][1]);
        json_decref(json);
    }
    json_t *json = json_of("{'description': 'x'}");
    assert_sw_fails(sw_registry_update_model(world.registry, &someone, "n", json, NULL, err), SW_E_NOT_FOUND,
                    "no model n");
    json_decref(json);
    assert_int_equal(world_revision(), revision);
}

static void too_many_tags(void **state) {
    make("m", NULL);
    for (int round = 0; round < 2; round++) {
        json_t *tags = json_object(), *changes = json_pack("{s:o}", "tags", tags);
        for (int i = 0; i < 300; i++) {
            char key[32];
            snprintf(key, sizeof key, "%d-%d", round, i);
            json_object_set_new(tags, key, json_string("x"));
        }
        if (round == 0) {
            assert_sw_ok(sw_registry_update_model(world.registry, &someone, "m", changes, NULL, err));
        } else {
            assert_sw_fails(sw_registry_update_model(world.registry, &someone, "m", changes, NULL, err),
                            SW_E_INVALID_ARGUMENT, "there would be 600");
        }
        json_decref(changes);
    }
    json_t *model = world_model("m");
    assert_int_equal(json_object_size(json_object_get(model, "tags")), 300);
    json_decref(model);
}

/* rename, delete --------------------------------------------------------------------------------------------------- */

static void renaming(void **state) {
    json_t *model = NULL;
    for (int i = 0; i < 3; i++) {
        world_push_any("old");
    }
    world_promote_default("old", 1);
    world_promote_default("old", 2);
    make("taken", NULL);
    assert_sw_fails(sw_registry_rename_model(world.registry, &someone, "old", "taken", NULL, err), SW_E_CONFLICT,
                    "model taken exists already");
    assert_sw_fails(sw_registry_rename_model(world.registry, &someone, "nothing", "x", NULL, err), SW_E_NOT_FOUND, "");
    assert_sw_fails(sw_registry_rename_model(world.registry, &someone, "old", "a b", NULL, err), SW_E_INVALID_ARGUMENT,
                    "");
    assert_sw_ok(sw_registry_rename_model(world.registry, &someone, "old", "new", &model, err));
    assert_json(json_object_get(model, "aliases"), "{'champion': 2}");
    assert_json(json_object_get(model, "versions"), "3");
    json_decref(model);
    assert_sw_fails(sw_registry_get_model(world.registry, "old", &model, err), SW_E_NOT_FOUND, "");
    json_decref(world_version("new", 3));
    assert_int_equal(world_rollback("new"), 1); /* the history came along */
    assert_int_equal(world_live("new"), 1);
    assert_int_equal(world_push_any("new"), 4);
    assert_int_equal(world_push_any("old"), 4); /* old/1 to old/3 were given before */
    int64_t rows = world_audit_rows();
    assert_sw_ok(sw_registry_rename_model(world.registry, &someone, "new", "new", NULL, err));
    assert_int_equal(world_audit_rows(), rows);
}

static void deletion(void **state) {
    world_push_any("m");
    world_push_any("m");
    world_promote_default("m", 1);
    assert_sw_fails(sw_registry_delete_model(world.registry, &someone, "m", false, err), SW_E_CONFLICT,
                    "has a live version, 1");
    assert_int_equal(world_live("m"), 1);
    assert_sw_ok(sw_registry_delete_model(world.registry, &reasoner, "m", true, err));
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'model.delete'");
    assert_json(json_object_get(row, "before"), "{'live': 1, 'champion': 1, 'production': [1], 'latest': 2}");
    json_decref(row);
    assert_sw_fails(sw_registry_get_model(world.registry, "m", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "");
    assert_sw_fails(sw_registry_delete_model(world.registry, &someone, "m", true, err), SW_E_NOT_FOUND, "");
    make("m", NULL);
    json_t *model = world_model("m");
    assert_json(json_object_get(model, "aliases"), "{}");
    assert_json(json_object_get(model, "versions"), "0");
    assert_json(json_object_get(model, "live"), "null");
    json_decref(model);
    assert_int_equal(world_push_any("m"), 3); /* no number twice */
    assert_int_equal(world_rollback("m"), 0);
    assert_sw_ok(sw_registry_delete_model(world.registry, &someone, "m", false, err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(names),         T(alias_names), T(paths),       T(creation),      T(bad_creations), T(pages),    T(bad_pages),
        T(page_contents), T(updates),     T(bad_updates), T(too_many_tags), T(renaming),      T(deletion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
