/* Search: conditions, orders, pages in any order, what does not fit; newest versions of stages. */
#include "world.h"

static void make(const char *name, const char *tags) {
    json_t *object = tags ? json_of(tags) : NULL;
    assert_sw_ok(sw_registry_create_model(world.registry, &someone, name, NULL, object, NULL, err));
    json_decref(object);
    sw_clock_manual_advance(&world.clock, 1000000);
}

/* "a b c": what a page shows, versions as "a/2"; the token of the next page goes to *ret_token. */
static const char *shown(const struct sw_search *search, bool versions, size_t limit, char **token) {
    static char text[1024];
    struct sw_page page = {.limit = limit, .token = token ? *token : NULL};
    json_t *doc = NULL, *row;
    size_t i;
    if (versions) {
        assert_sw_ok(sw_registry_search_versions(world.registry, search, &page, &doc, err));
    } else {
        assert_sw_ok(sw_registry_search_models(world.registry, search, &page, &doc, err));
    }
    text[0] = '\0';
    json_array_foreach(json_object_get(doc, versions ? "versions" : "models"), i, row) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "",
                 json_string_value(json_object_get(row, versions ? "model" : "name")));
        n = strlen(text);
        if (versions) {
            snprintf(text + n, sizeof text - n, "/%lld", json_integer_value(json_object_get(row, "version")));
        }
    }
    if (token) {
        const char *next = json_string_value(json_object_get(doc, "next_page_token"));
        sw_free(*token);
        *token = next ? sw_xstrdup(next) : NULL;
    }
    json_decref(doc);
    return text;
}

static const char *models(struct sw_search_term term) {
    struct sw_search search = {.terms = {term}, .term_count = 1};
    return shown(&search, false, 0, NULL);
}

static void names(void **state) {
    static const char *const all[] = {"digits", "Digits-2", "faces", "fa.es", "fa_es"};
    for (size_t i = 0; i < SW_COUNTOF(all); i++) {
        make(all[i], NULL);
    }
    static const struct {
        enum sw_search_op op;
        const char *text, *wanted;
    } cases[] = {
        {SW_SEARCH_EQ, "faces", "faces"},
        {SW_SEARCH_EQ, "Faces", ""},
        {SW_SEARCH_EQ, "' OR 1 = 1 --", ""},
        {SW_SEARCH_NE, "faces", "Digits-2 digits fa.es fa_es"},
        {SW_SEARCH_LIKE, "dig%", "digits"},
        {SW_SEARCH_LIKE, "%2", "Digits-2"},
        {SW_SEARCH_LIKE, "fa_es", "fa.es fa_es faces"},
        {SW_SEARCH_LIKE, "fa*es", ""},
        {SW_SEARCH_LIKE, "fa?es", ""},
        {SW_SEARCH_LIKE, "[d]igits", ""},
        {SW_SEARCH_LIKE, "fa\\_es", ""},
        {SW_SEARCH_LIKE, "%", "Digits-2 digits fa.es fa_es faces"},
        {SW_SEARCH_LIKE, "", ""},
        {SW_SEARCH_ILIKE, "DIG%", "Digits-2 digits"},
        {SW_SEARCH_ILIKE, "FACES", "faces"},
        {SW_SEARCH_ILIKE, "fa\\_es", ""},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_search_term term = {.field = SW_SEARCH_NAME, .op = cases[i].op, .text = cases[i].text};
        assert_string_equal(models(term), cases[i].wanted);
    }
    assert_string_equal(
        models((struct sw_search_term){.op = SW_SEARCH_IN, .list = {"faces", "x", "digits"}, .list_count = 3}),
        "digits faces");
    assert_string_equal(
        models((struct sw_search_term){.op = SW_SEARCH_NOT_IN, .list = {"faces", "fa.es"}, .list_count = 2}),
        "Digits-2 digits fa_es");
}

static void tags(void **state) {
    make("a", "{'team': 'vision', 'k.x': 'Y'}");
    make("b", "{'team': 'text'}");
    make("c", NULL);
    struct sw_search_term term = {.field = SW_SEARCH_TAG, .key = "team", .op = SW_SEARCH_EQ, .text = "vision"};
    assert_string_equal(models(term), "a");
    term.op = SW_SEARCH_NE;
    assert_string_equal(models(term), "b");
    term.absent = true;
    assert_string_equal(models(term), "b c");
    term = (struct sw_search_term){.field = SW_SEARCH_TAG, .key = "k.x", .op = SW_SEARCH_ILIKE, .text = "y%"};
    assert_string_equal(models(term), "a");
    term.op = SW_SEARCH_LIKE;
    assert_string_equal(models(term), "");
    struct sw_search both = {
        .terms = {{.field = SW_SEARCH_TAG, .key = "team", .op = SW_SEARCH_LIKE, .text = "%i%"},
                  {.field = SW_SEARCH_NAME, .op = SW_SEARCH_NE, .text = "b"}},
        .term_count = 2,
    };
    assert_string_equal(shown(&both, false, 0, NULL), "a");
}

static void versions(void **state) {
    for (int i = 0; i < 3; i++) {
        world_push_any("a");
        world_push_any("b");
    }
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    json_t *tag = json_of("{'odd': 'yes'}");
    struct sw_version_spec spec = {.files = &file, .file_count = 1, .run_id = "run-1", .source = "x:/y", .tags = tag};
    assert_sw_ok(sw_registry_create_version(world.registry, &someone, "b", false, &spec, NULL, err));
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "b", "2", err));
    json_decref(tag);
    struct sw_search search = {0};
    assert_string_equal(shown(&search, true, 0, NULL), "a/3 a/2 a/1 b/4 b/3 b/1");
    static const struct {
        struct sw_search_term term;
        const char *wanted;
    } cases[] = {
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_EQ, .number = 3}, "a/3 b/3"},
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_NE, .number = 3}, "a/2 a/1 b/4 b/1"},
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_GT, .number = 2}, "a/3 b/4 b/3"},
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_GE, .number = 4}, "b/4"},
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_LT, .number = 2}, "a/1 b/1"},
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_LE, .number = 1}, "a/1 b/1"},
        {{.field = SW_SEARCH_RUN_ID, .op = SW_SEARCH_EQ, .text = "run-1"}, "b/4"},
        {{.field = SW_SEARCH_RUN_ID, .op = SW_SEARCH_NE, .text = "run-2"}, "b/4"},
        {{.field = SW_SEARCH_SOURCE, .op = SW_SEARCH_LIKE, .text = "x:%"}, "b/4"},
        {{.field = SW_SEARCH_TAG, .key = "odd", .op = SW_SEARCH_EQ, .text = "yes"}, "b/4"},
        {{.field = SW_SEARCH_NAME, .op = SW_SEARCH_EQ, .text = "a"}, "a/3 a/2 a/1"},
        {{.field = SW_SEARCH_UPDATED, .op = SW_SEARCH_LT, .number = 5}, ""},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_search one = {.terms = {cases[i].term}, .term_count = 1};
        assert_string_equal(shown(&one, true, 0, NULL), cases[i].wanted);
    }
}

/* All pages of `limit` rows, one after the other. */
static const char *paged(const struct sw_search *search, bool is_versions, size_t limit) {
    static char all[1024];
    char *token = NULL;
    all[0] = '\0';
    do {
        const char *page = shown(search, is_versions, limit, &token);
        size_t n = strlen(all);
        snprintf(all + n, sizeof all - n, "%s%s", n ? " " : "", page);
    } while (token);
    return all;
}

static void orders_and_pages(void **state) {
    static const char *const names_in_time[] = {"c", "a", "d", "b", "e"};
    for (size_t i = 0; i < SW_COUNTOF(names_in_time); i++) {
        make(names_in_time[i], NULL);
        world_push_any(names_in_time[i]);
    }
    sw_clock_manual_advance(&world.clock, 1000000);
    for (const char *name = "ac"; *name; name++) {
        world_push_any((char[]){*name, '\0'});
    }
    static const struct {
        struct sw_search search;
        bool is_versions;
        const char *wanted;
    } cases[] = {
        {{.order_count = 0}, false, "a b c d e"},
        {{.orders = {{SW_SEARCH_NAME, true}}, .order_count = 1}, false, "e d c b a"},
        {{.orders = {{SW_SEARCH_CREATED, false}}, .order_count = 1}, false, "c a d b e"},
        {{.orders = {{SW_SEARCH_CREATED, true}}, .order_count = 1}, false, "e b d a c"},
        {{.orders = {{SW_SEARCH_UPDATED, true}, {SW_SEARCH_NAME, true}}, .order_count = 2}, false, "c a e b d"},
        {{.order_count = 0}, true, "a/2 a/1 b/1 c/2 c/1 d/1 e/1"},
        {{.orders = {{SW_SEARCH_VERSION, true}}, .order_count = 1}, true, "a/2 c/2 a/1 b/1 c/1 d/1 e/1"},
        {{.orders = {{SW_SEARCH_VERSION, false}, {SW_SEARCH_VERSION, true}, {SW_SEARCH_NAME, true}}, .order_count = 3},
         true,
         "e/1 d/1 c/1 b/1 a/1 c/2 a/2"},
        {{.orders = {{SW_SEARCH_CREATED, true}, {SW_SEARCH_NAME, true}}, .order_count = 2},
         true,
         "c/2 a/2 e/1 b/1 d/1 a/1 c/1"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        for (size_t limit = 1; limit <= 8; limit++) {
            assert_string_equal(paged(&cases[i].search, cases[i].is_versions, limit), cases[i].wanted);
        }
    }
}

static void what_does_not_fit(void **state) {
    make("a", NULL);
    static const struct {
        struct sw_search_term term;
        const char *says;
    } cases[] = {
        {{.field = SW_SEARCH_RUN_ID, .op = SW_SEARCH_EQ, .text = "x"}, "by such a field"},
        {{.field = SW_SEARCH_VERSION, .op = SW_SEARCH_EQ, .number = 1}, "by such a field"},
        {{.field = SW_SEARCH_NAME, .op = SW_SEARCH_LT, .text = "x"}, "does not fit a text"},
        {{.field = SW_SEARCH_CREATED, .op = SW_SEARCH_LIKE, .text = "x"}, "does not fit a number"},
        {{.field = SW_SEARCH_TAG, .key = "k", .op = SW_SEARCH_IN, .list = {"x"}, .list_count = 1},
         "does not fit a tag"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_search search = {.terms = {cases[i].term}, .term_count = 1};
        assert_sw_fails(
            sw_registry_search_models(world.registry, &search, &(struct sw_page){0}, &(json_t *){NULL}, err),
            SW_E_INVALID_ARGUMENT, cases[i].says);
    }
    struct sw_search order = {.orders = {{SW_SEARCH_VERSION, false}}, .order_count = 1};
    assert_sw_fails(sw_registry_search_models(world.registry, &order, &(struct sw_page){0}, &(json_t *){NULL}, err),
                    SW_E_INVALID_ARGUMENT, "ordered by such a field");
    struct sw_search lists = {.term_count = 4};
    for (size_t i = 0; i < 4; i++) {
        lists.terms[i] = (struct sw_search_term){.field = SW_SEARCH_NAME, .op = SW_SEARCH_IN, .list_count = 30};
        for (size_t k = 0; k < 30; k++) {
            lists.terms[i].list[k] = "a";
        }
    }
    assert_sw_fails(sw_registry_search_models(world.registry, &lists, &(struct sw_page){0}, &(json_t *){NULL}, err),
                    SW_E_INVALID_ARGUMENT, "too many conditions");
    static const char *const tokens[] = {"x", "s", "s~", "s~a~b", "m~a", "s~a/b", "s~12~a", "~a"};
    for (size_t i = 0; i < SW_COUNTOF(tokens); i++) {
        struct sw_page page = {.token = tokens[i]};
        assert_sw_fails(
            sw_registry_search_models(world.registry, &(struct sw_search){0}, &page, &(json_t *){NULL}, err),
            SW_E_INVALID_ARGUMENT, "page_token");
    }
}

static void as_many_terms_as_there_can_be(void **state) {
    make("a", NULL);
    struct sw_search search = {
        .term_count = SW_SEARCH_TERMS_MAX,
        .order_count = 3,
        .orders = {{SW_SEARCH_UPDATED, true}, {SW_SEARCH_CREATED, false}, {SW_SEARCH_NAME, true}}};
    for (size_t i = 0; i < SW_SEARCH_TERMS_MAX; i++) {
        search.terms[i] = (struct sw_search_term){
            .field = SW_SEARCH_TAG, .key = "k", .op = SW_SEARCH_NE, .text = "v", .absent = true};
    }
    assert_string_equal(shown(&search, false, 0, NULL), "a");
    assert_string_equal(paged(&search, false, 1), "a");
}

static void newest_of_stages(void **state) {
    for (int i = 0; i < 5; i++) {
        world_push_any("a");
    }
    world_push_any("b");
    make("c", NULL);
    assert_int_equal(world_promote("a", 1, NULL, SW_STAGE_STAGING, false), SW_OK);
    assert_int_equal(world_promote("a", 2, NULL, SW_STAGE_STAGING, false), SW_OK);
    assert_int_equal(world_promote("a", 4, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "a", "5", err));
    json_t *names_asked = json_of("['a', 'c', 'nothing', 'b']"), *doc = NULL, *version, *got = json_array();
    size_t i;
    assert_sw_ok(sw_registry_newest_versions(world.registry, names_asked, &doc, err));
    json_array_foreach(json_object_get(doc, "versions"), i, version) {
        json_array_append_new(got, json_pack("[OOO]", json_object_get(version, "model"),
                                             json_object_get(version, "version"), json_object_get(version, "stage")));
    }
    assert_json(got, "[['a', 2, 'Staging'], ['a', 3, 'None'], ['a', 4, 'Production'], ['b', 1, 'None']]");
    json_decref(doc);
    json_decref(names_asked);
    json_decref(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(names),
        T(tags),
        T(versions),
        T(orders_and_pages),
        T(what_does_not_fit),
        T(as_many_terms_as_there_can_be),
        T(newest_of_stages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
