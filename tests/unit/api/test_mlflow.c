/* The routes for MLflow's clients: filters and orders as text, every route, errors in their shape, the artifact proxy.
 * What the real client says is replayed in tests/scenario/test_mlflow_replay.py. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>

#include "api/mlflow_filter.h"
#include "base/memory.h"
#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define MODELS "/api/2.0/mlflow/registered-models/"
#define VERSIONS "/api/2.0/mlflow/model-versions/"
#define ARTIFACTS "/api/2.0/mlflow-artifacts/artifacts"

#define GOOD MODEL_SUM
#define NARROW MODEL(TENSOR("x", "FP32", "[\"N\", 3]"), TENSOR("y", "FP32", "[\"N\", 1]"), "\"op\": \"sum\"")

/* ---- filters */

/* What was parsed, as text: "name LIKE x | tag k != v (or none) | version >= 3". */
static void render(const struct sw_search *search, char *out, size_t size) {
    static const char *const fields[] = {"name", "version", "run", "source", "created", "updated", "tag"};
    static const char *const operators[] = {"=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN"};
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < search->term_count; i++) {
        const struct sw_search_term *t = &search->terms[i];
        n += (size_t)snprintf(out + n, size - n, "%s%s%s%s %s", i ? " | " : "", fields[t->field], t->key ? " " : "",
                              t->key ? t->key : "", operators[t->op]);
        if (t->text) {
            n += (size_t)snprintf(out + n, size - n, " %s", t->text);
        } else if (!t->list_count) {
            n += (size_t)snprintf(out + n, size - n, " %lld", (long long)t->number);
        }
        for (size_t k = 0; k < t->list_count; k++) {
            n += (size_t)snprintf(out + n, size - n, " %s", t->list[k]);
        }
        n += (size_t)snprintf(out + n, size - n, "%s", t->absent ? " (or none)" : "");
    }
}

static void filters(void **state) {
    static const struct {
        enum sw_mlflow_kind kind;
        const char *text, *wanted;
    } cases[] = {
        {SW_MLFLOW_MODELS, "", ""},
        {SW_MLFLOW_MODELS, " \n\t", ""},
        {SW_MLFLOW_MODELS, "name = 'a'", "name = a"},
        {SW_MLFLOW_MODELS, "name='a'", "name = a"},
        {SW_MLFLOW_MODELS, "name = \"it's\"", "name = it's"},
        {SW_MLFLOW_MODELS, "name = 'it''s'", "name = it's"},
        {SW_MLFLOW_MODELS, "name = ''''", "name = '"},
        {SW_MLFLOW_MODELS, "name = ''", "name = "},
        {SW_MLFLOW_MODELS, "attribute.name != 'a'", "name != a"},
        {SW_MLFLOW_MODELS, "`name` <> 'a'", "name != a"},
        {SW_MLFLOW_MODELS, "name like 'd%' And name ILIKE '%X'", "name LIKE d% | name ILIKE %X"},
        {SW_MLFLOW_MODELS, "name IN ('a','b' , \"c\")", "name IN a b c"},
        {SW_MLFLOW_MODELS, "name not in ('a')", "name NOT IN a"},
        {SW_MLFLOW_MODELS, "tags.team = 'x'", "tag team = x"},
        {SW_MLFLOW_MODELS, "tag.a.b-c_1 LIKE 'x'", "tag a.b-c_1 LIKE x"},
        {SW_MLFLOW_MODELS, "tags.`a key: of/all.sorts` = 'x'", "tag a key: of/all.sorts = x"},
        {SW_MLFLOW_MODELS, "tags.\"a b\" = 'x'", "tag a b = x"},
        {SW_MLFLOW_MODELS, "tags.and = 'AND' AND tags.1 = '2'", "tag and = AND | tag 1 = 2"},
        {SW_MLFLOW_MODELS, "tag.`mlflow.prompt.is_prompt` != 'true'", "tag mlflow.prompt.is_prompt != true (or none)"},
        {SW_MLFLOW_MODELS, "tags.mlflow.prompt.is_prompt = 'false'", "tag mlflow.prompt.is_prompt = false (or none)"},
        {SW_MLFLOW_MODELS, "tags.mlflow.prompt.is_prompt = 'true'", "tag mlflow.prompt.is_prompt = true"},
        {SW_MLFLOW_VERSIONS, "version_number >= 3 AND version_number<>-4", "version >= 3 | version != -4"},
        {SW_MLFLOW_VERSIONS, "run_id IN ('a') AND source_path = 'b:/c'", "run IN a | source = b:/c"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
        struct sw_search search = {0};
        struct sw_error err;
        char got[256];
        sw_arena_init(&arena, 1 << 16, 0);
        if (sw_mlflow_parse_filter(sw_str_of(cases[i].text), cases[i].kind, &arena, &search, &err)) {
            fail_msg("%s: %s", cases[i].text, err.message);
        }
        render(&search, got, sizeof got);
        assert_string_equal(got, cases[i].wanted);
    }
}

static void bad_filters(void **state) {
    static const struct {
        enum sw_mlflow_kind kind;
        const char *text, *says;
    } cases[] = {
        {SW_MLFLOW_MODELS, "name", "ends where one of ="},
        {SW_MLFLOW_MODELS, "name =", "ends where a text in quotes"},
        {SW_MLFLOW_MODELS, "name = a", "'a' at byte 7, where a text in quotes is wanted"},
        {SW_MLFLOW_MODELS, "name = `a`", "a text in quotes"},
        {SW_MLFLOW_MODELS, "name = 5", "a text in quotes"},
        {SW_MLFLOW_MODELS, "name = 'a", "the quote at byte 7 is never closed"},
        {SW_MLFLOW_MODELS, "name = 'a' OR name = 'b'", "'OR' at byte 11, where AND is wanted"},
        {SW_MLFLOW_MODELS, "name = 'a' AND", "ends where a field is wanted"},
        {SW_MLFLOW_MODELS, "name = 'a' name = 'b'", "AND is wanted"},
        {SW_MLFLOW_MODELS, "'name' = 'a'", "a field is wanted"},
        {SW_MLFLOW_MODELS, "colour = 'a'", "'colour' is no field here; there are: name, and tags.KEY"},
        {SW_MLFLOW_MODELS, "run_id = 'a'", "no field here"},
        {SW_MLFLOW_MODELS, "metrics.a = 'a'", "attribute, tag or tags"},
        {SW_MLFLOW_MODELS, "tags. = 'a'", "a tag's key is wanted"},
        {SW_MLFLOW_MODELS, "tags.'a' = 'a'", "a tag's key is wanted"},
        {SW_MLFLOW_MODELS, "tags.a IN ('a')", "IN is not for tags"},
        {SW_MLFLOW_MODELS, "name > 'a'", "does not fit a text"},
        {SW_MLFLOW_MODELS, "name NOT LIKE 'a'", "IN is wanted"},
        {SW_MLFLOW_MODELS, "name IN 'a'", "'(' is wanted"},
        {SW_MLFLOW_MODELS, "name IN ()", "a text in quotes"},
        {SW_MLFLOW_MODELS, "name IN ('a' 'b')", "',' or ')' is wanted"},
        {SW_MLFLOW_MODELS, "name IN ('a',", "a text in quotes"},
        {SW_MLFLOW_MODELS, "name = 'a';", "AND is wanted"},
        {SW_MLFLOW_MODELS, "name = '\xff'", "not UTF-8"},
        {SW_MLFLOW_VERSIONS, "version_number = '3'", "a whole number is wanted"},
        {SW_MLFLOW_VERSIONS, "version_number = 3.5", "AND is wanted"},
        {SW_MLFLOW_VERSIONS, "version_number = 99999999999999999999", "a whole number is wanted"},
        {SW_MLFLOW_VERSIONS, "version_number LIKE '3'", "does not fit a number"},
        {SW_MLFLOW_VERSIONS, "stage = 'x'", "there are: name, version_number, run_id, source_path, and tags.KEY"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
        struct sw_search search = {0};
        struct sw_error err = {0};
        sw_arena_init(&arena, 1 << 16, 0);
        sw_status status = sw_mlflow_parse_filter(sw_str_of(cases[i].text), cases[i].kind, &arena, &search, &err);
        if (status != SW_E_INVALID_ARGUMENT || !strstr(err.message, cases[i].says)) {
            fail_msg("%s: %s: %s", cases[i].text, sw_status_name(status), err.message);
        }
    }
}

static void too_much_of_a_filter(void **state) {
    SW_CLEANUP(sw_arena_deinit) struct sw_arena arena;
    struct sw_search search = {0};
    struct sw_error err;
    struct sw_buf text;
    sw_arena_init(&arena, 1 << 20, 0);
    sw_buf_init_arena(&text, &arena, 1 << 16);
    for (int i = 0; i <= SW_SEARCH_TERMS_MAX; i++) {
        sw_buf_printf(&text, "%sname != '%d'", i ? " AND " : "", i);
    }
    assert_int_equal(sw_mlflow_parse_filter(sw_buf_str(&text), SW_MLFLOW_MODELS, &arena, &search, &err),
                     SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "more than 16 conditions"));
    sw_buf_clear(&text);
    SW_LIT(&text, "name IN ('a'");
    for (int i = 0; i < SW_SEARCH_LISTED_MAX; i++) {
        SW_LIT(&text, ",'a'");
    }
    search = (struct sw_search){0};
    assert_int_equal(sw_mlflow_parse_filter(sw_buf_str(&text), SW_MLFLOW_MODELS, &arena, &search, &err),
                     SW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "more than 32 texts"));
    const char nul[] = "name = 'a\0b'";
    search = (struct sw_search){0};
    assert_int_equal(
        sw_mlflow_parse_filter((struct sw_str){nul, sizeof nul - 1}, SW_MLFLOW_MODELS, &arena, &search, &err),
        SW_E_INVALID_ARGUMENT);
}

static void orders(void **state) {
    static const struct {
        enum sw_mlflow_kind kind;
        const char *text;
        enum sw_search_field field;
        bool descending;
    } cases[] = {
        {SW_MLFLOW_MODELS, "name", SW_SEARCH_NAME, false},
        {SW_MLFLOW_MODELS, " name  ASC ", SW_SEARCH_NAME, false},
        {SW_MLFLOW_MODELS, "last_updated_timestamp DESC", SW_SEARCH_UPDATED, true},
        {SW_MLFLOW_MODELS, "timestamp desc", SW_SEARCH_UPDATED, true},
        {SW_MLFLOW_MODELS, "attribute.`creation_timestamp`", SW_SEARCH_CREATED, false},
        {SW_MLFLOW_VERSIONS, "version_number DESC", SW_SEARCH_VERSION, true},
    };
    struct sw_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sw_search search = {0};
        assert_int_equal(sw_mlflow_parse_order(sw_str_of(cases[i].text), cases[i].kind, &search, &err), SW_OK);
        assert_int_equal(search.order_count, 1);
        assert_int_equal(search.orders[0].field, cases[i].field);
        assert_int_equal(search.orders[0].descending, cases[i].descending);
    }
    static const char *const wrong[] = {"",        "colour",        "version_number", "run_id",
                                        "name UP", "name ASC DESC", "name,",          "'name'"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sw_search search = {0};
        assert_int_equal(sw_mlflow_parse_order(sw_str_of(wrong[i]), SW_MLFLOW_MODELS, &search, &err),
                         SW_E_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "order_by"));
    }
    struct sw_search full = {.order_count = SW_SEARCH_ORDERS_MAX};
    assert_int_equal(sw_mlflow_parse_order(SW_STR("name"), SW_MLFLOW_MODELS, &full, &err), SW_E_INVALID_ARGUMENT);
}

/* ---- routes */

static int setup(void **state) {
    harness_start(&(struct harness_options){.registry = true});
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static void put(const char *path, const char *text) {
    char url[256];
    snprintf(url, sizeof url, ARTIFACTS "/%s", path);
    struct answer a = harness_send("PUT", url, "Content-Type: text/plain\r\n", text, strlen(text));
    if (a.status != 200 || strcmp(a.body, "{}") != 0) {
        fail_msg("%s: %d %s", path, a.status, a.body);
    }
}

static void models(void **state) {
    static const struct expectation cases[] = {
        {MODELS "create",
         "{\"name\":\"a\",\"description\":\"d\",\"tags\":[{\"key\":\"k\",\"value\":\"v\"}],\"new_field\":[1]}", 200,
         "{\"registered_model\":{\"name\":\"a\",\"creation_timestamp\":1"},
        {MODELS "create", "{\"name\":\"a\"}", 400,
         "{\"error_code\":\"RESOURCE_ALREADY_EXISTS\",\"message\":\"model a exists already\"}"},
        {MODELS "create", "{\"name\":\"a/b\"}", 400, "\"error_code\":\"INVALID_PARAMETER_VALUE\""},
        {MODELS "create", "{}", 400, "'name' is missing"},
        {MODELS "create", "", 400, "'name' is missing"},
        {MODELS "create", "{\"name\":1}", 400, "'name' must be a text"},
        {MODELS "create", "{\"name\":\"b\",\"tags\":{}}", 400, "'tags' must be a list"},
        {MODELS "create", "{\"name\":\"b\",\"tags\":[{\"value\":\"v\"}]}", 400, "'tags' must be a list of objects"},
        {MODELS "create", "{\"name\":\"b\",\"tags\":[{\"key\":\"v\\u0001\"}]}", 400, "INVALID_PARAMETER_VALUE"},
        {MODELS "create", "nonsense", 400, "the body is not JSON"},
        {MODELS "get?name=a", NULL, 200, "\"description\":\"d\",\"tags\":[{\"key\":\"k\",\"value\":\"v\"}]}"},
        {MODELS "get?name=b", NULL, 404, "{\"error_code\":\"RESOURCE_DOES_NOT_EXIST\""},
        {MODELS "get", NULL, 400, "'name' is missing"},
        {MODELS "update", "PATCH {\"name\":\"a\",\"description\":\"other\"}", 200, "\"description\":\"other\""},
        {MODELS "update", "PATCH {\"name\":\"a\"}", 200, "\"name\":\"a\""}, /* no description from here on */
        {MODELS "get?name=a", NULL, 200, "\"user_id\":\"anonymous\",\"tags\""},
        {MODELS "set-tag", "{\"name\":\"a\",\"key\":\"l\",\"value\":\"w\"}", 200, "{}"},
        {MODELS "set-tag", "{\"name\":\"a\",\"value\":\"w\"}", 400, "'key' is missing"},
        {MODELS "delete-tag", "DELETE {\"name\":\"a\",\"key\":\"k\"}", 200, "{}"},
        {MODELS "delete-tag", "DELETE {\"name\":\"x\",\"key\":\"k\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {MODELS "create", "{\"name\":\"b\"}", 200, NULL},
        {MODELS "rename", "{\"name\":\"a\",\"new_name\":\"b\"}", 400, "RESOURCE_ALREADY_EXISTS"},
        {MODELS "rename", "{\"name\":\"a\",\"new_name\":\"c\"}", 200, "\"name\":\"c\""},
        {MODELS "search", NULL, 200, "{\"registered_models\":[{\"name\":\"b\""},
        {MODELS "search?filter=tags.l+%3D+%27w%27&order_by=name+DESC&max_results=5", NULL, 200,
         "{\"registered_models\":[{\"name\":\"c\""},
        {MODELS "search?filter=name%3D%27nothing%27", NULL, 200, "{}"},
        {MODELS "search?max_results=1", NULL, 200, "\"next_page_token\":\"s~b\"}"},
        {MODELS "search?max_results=1&page_token=s~b", NULL, 200, "{\"registered_models\":[{\"name\":\"c\""},
        {MODELS "search?order_by=name&order_by=colour", NULL, 400, "order_by: 'colour'"},
        {MODELS "search?max_results=0", NULL, 400, "max_results"},
        {MODELS "search?filter=x", NULL, 400, "{\"error_code\":\"INVALID_PARAMETER_VALUE\",\"message\":\"filter: 'x'"},
        {MODELS "delete", "DELETE {\"name\":\"b\"}", 200, "{}"},
        {MODELS "delete", "DELETE {\"name\":\"b\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
    };
    RUN(cases);
}

static void versions(void **state) {
    put("m/model.fake.json", GOOD);
    put("m/data/notes", "n");
    put("text/README", "no model");
    static const struct expectation cases[] = {
        {MODELS "create", "{\"name\":\"a\"}", 200, NULL},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/m\",\"run_id\":\"r\",\"run_link\":\"\"}",
         200, "{\"model_version\":{\"name\":\"a\",\"version\":\"1\""},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:///m/model.fake.json\",\"run_id\":\"\"}",
         200, "\"version\":\"2\""},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"models:/a/1\",\"description\":\"copy\"}", 200,
         "\"version\":\"3\""},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"models:/a/none\"}", 200, "\"source\":\"models:/a/none\""},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"models:/a@x\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"models:/a\"}", 400, "not on this server"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"models:/a/Staging\"}", 404, "no such version"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"runs:/1/m\"}", 400, "upload the files first"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts://h/m\"}", 400, "not on this server"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/x\"}", 400, "nothing was uploaded there"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/\"}", 400, "path"},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/text\"}", 400, "INVALID_PARAMETER_VALUE"},
        {VERSIONS "create", "{\"name\":\"b\",\"source\":\"mlflow-artifacts:/m\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {VERSIONS "create", "{\"name\":\"a\"}", 400, "'source' is missing"},
        {VERSIONS "get?name=a&version=1", NULL, 200, "\"run_id\":\"r\",\"status\":\"READY\"}}"},
        {VERSIONS "get?name=a&version=2", NULL, 200, "/model.fake.json\",\"status\":\"READY\"}}"},
        {VERSIONS "get?name=a&version=9", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {VERSIONS "get?name=a&version=live", NULL, 400, "a number from 1 is wanted"},
        {VERSIONS "get?name=a&version=0", NULL, 400, "a number from 1 is wanted"},
        {VERSIONS "get?name=a", NULL, 400, "'version' is missing"},
        {VERSIONS "update", "PATCH {\"name\":\"a\",\"version\":\"1\",\"description\":\"d\"}", 200,
         "\"description\":\"d\""},
        {VERSIONS "update", "PATCH {\"name\":\"a\",\"version\":\"x\"}", 400, "a number from 1 is wanted"},
        {VERSIONS "set-tag", "{\"name\":\"a\",\"version\":\"1\",\"key\":\"k\",\"value\":\"v\"}", 200, "{}"},
        {VERSIONS "search?filter=tags.k+%3D+%27v%27", NULL, 200, "\"tags\":[{\"key\":\"k\",\"value\":\"v\"}]}]}"},
        {VERSIONS "delete-tag", "DELETE {\"name\":\"a\",\"version\":1,\"key\":\"k\"}", 200, "{}"},
        {VERSIONS "search?filter=tags.k+%3D+%27v%27", NULL, 200, "{}"},
        {VERSIONS "get-download-uri?name=a&version=1", NULL, 200,
         "{\"artifact_uri\":\"mlflow-artifacts:/.versions/a/1\"}"},
        {VERSIONS "get-download-uri?name=a&version=9", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {VERSIONS "delete", "DELETE {\"name\":\"a\",\"version\":\"4\"}", 200, "{}"},
        {VERSIONS "delete", "DELETE {\"name\":\"a\",\"version\":\"4\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "?path=.versions/a/1", NULL, 200,
         "[{\"path\":\"data\",\"is_dir\":true},{\"path\":\"model.fake.json\",\"is_dir\":false,\"file_size\":"},
        {ARTIFACTS "?path=.versions/a/1/data/", NULL, 200,
         "{\"files\":[{\"path\":\"notes\",\"is_dir\":false,\"file_size\":1}]}"},
        {ARTIFACTS "?path=.versions/a/4", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "?path=.versions/a", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "/.versions/a/1/data/notes", NULL, 200, "n"},
        {ARTIFACTS "/.versions/a/1", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "/.versions/a/1/none", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "/.versions/a/1/data/notes", "DELETE", 400, "read-only"},
        {ARTIFACTS "/.versions/a/1/data/notes", "PUT x", 400, "read-only"},
        {ARTIFACTS "/.versions", "PUT x", 400, "read-only"},
        {ARTIFACTS "//.versions/x", "PUT x", 400, "read-only"},
    };
    RUN(cases);
}

static void pointers(void **state) {
    put("m/model.fake.json", GOOD);
    put("n/model.fake.json", NARROW);
    static const struct expectation cases[] = {
        {MODELS "create", "{\"name\":\"a\"}", 200, NULL},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/m\"}", 200, NULL},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/n\"}", 200, NULL},
        {VERSIONS "create", "{\"name\":\"a\",\"source\":\"mlflow-artifacts:/m\"}", 200, NULL},
        {MODELS "alias", "{\"name\":\"a\",\"alias\":\"champion\",\"version\":\"1\"}", 200, "{}"},
        {MODELS "alias?name=a&alias=champion", NULL, 200, "\"version\":\"1\""},
        {MODELS "alias?name=a&alias=champion", NULL, 200, "\"aliases\":[\"champion\"]"},
        {MODELS "alias", "{\"name\":\"a\",\"alias\":\"champion\",\"version\":\"2\"}", 409,
         "{\"error_code\":\"INVALID_STATE\",\"message\":\"a/2 was not promoted: failed gates: signature; signature: "},
        {VERSIONS "transition-stage", "{\"name\":\"a\",\"version\":\"2\",\"stage\":\"Production\"}", 409,
         "INVALID_STATE"},
        {MODELS "alias", "{\"name\":\"a\",\"alias\":\"other\",\"version\":\"2\"}", 200, "{}"},
        {MODELS "alias", "{\"name\":\"a\",\"alias\":\"v1\",\"version\":\"2\"}", 400, "INVALID_PARAMETER_VALUE"},
        {MODELS "alias", "{\"name\":\"a\",\"version\":\"2\"}", 400, "'alias' is missing"},
        {MODELS "alias", "{\"name\":\"a\",\"alias\":\"other\",\"version\":\"9\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {MODELS "get?name=a", NULL, 200,
         "\"aliases\":[{\"alias\":\"champion\",\"version\":\"1\"},{\"alias\":\"other\",\"version\":\"2\"}]"},
        {MODELS "alias", "DELETE {\"name\":\"a\",\"alias\":\"other\"}", 200, "{}"},
        {MODELS "alias", "DELETE {\"name\":\"a\",\"alias\":\"other\"}", 200, "{}"},
        {MODELS "alias", "DELETE {\"name\":\"b\",\"alias\":\"other\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {MODELS "alias?name=a&alias=other", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {VERSIONS "transition-stage", "{\"name\":\"a\",\"version\":\"1\",\"stage\":\"production\"}", 200,
         "\"current_stage\":\"Production\""},
        {VERSIONS "transition-stage",
         "{\"name\":\"a\",\"version\":\"3\",\"stage\":\"Production\",\"archive_existing_versions\":true}", 200,
         "\"current_stage\":\"Production\""},
        {VERSIONS "get?name=a&version=1", NULL, 200, "\"current_stage\":\"Archived\""},
        {VERSIONS "transition-stage",
         "{\"name\":\"a\",\"version\":\"3\",\"stage\":\"None\",\"archive_existing_versions\":true}", 400,
         "Staging and Production only"},
        {VERSIONS "transition-stage", "{\"name\":\"a\",\"version\":\"3\",\"stage\":\"Here\"}", 400, "stage 'Here'"},
        {VERSIONS "transition-stage", "{\"name\":\"a\",\"version\":\"3\"}", 400, "'stage' is missing"},
        {VERSIONS "transition-stage", "{\"name\":\"a\",\"version\":\"9\",\"stage\":\"Staging\"}", 404,
         "RESOURCE_DOES_NOT_EXIST"},
        {MODELS "get-latest-versions", "{\"name\":\"a\",\"stages\":[\"Archived\",\"Staging\"]}", 200,
         "{\"model_versions\":[{\"name\":\"a\",\"version\":\"1\""},
        {MODELS "get-latest-versions?name=a&stages=Staging&stages=Production", NULL, 200,
         "{\"model_versions\":[{\"name\":\"a\",\"version\":\"3\""},
        {MODELS "get-latest-versions?name=a&stages=Staging", NULL, 200, "{\"model_versions\":[]}"},
        {MODELS "get-latest-versions?name=a", NULL, 200, "\"current_stage\":\"None\""},
        {MODELS "get-latest-versions?name=a&stages=Here", NULL, 400, "stage 'Here'"},
        {MODELS "get-latest-versions", "{\"name\":\"a\",\"stages\":[7]}", 400, "stage ''"},
        {MODELS "get-latest-versions", "{\"name\":\"b\"}", 404, "RESOURCE_DOES_NOT_EXIST"},
        {VERSIONS "delete", "DELETE {\"name\":\"a\",\"version\":\"3\"}", 409, "INVALID_STATE"},
        {MODELS "delete", "DELETE {\"name\":\"a\"}", 409, "INVALID_STATE"},
    };
    RUN(cases);
}

static void artifacts(void **state) {
    put("r/a.txt", "one");
    put("r/d/b%20c.txt", "two");
    put("r/empty", "");
    static const struct expectation cases[] = {
        {ARTIFACTS, NULL, 200, "{\"files\":[{\"path\":\"r\",\"is_dir\":true}]}"},
        {ARTIFACTS "?path=r", NULL, 200,
         "{\"files\":[{\"path\":\"a.txt\",\"is_dir\":false,\"file_size\":3},{\"path\":\"d\",\"is_dir\":true},"
         "{\"path\":\"empty\",\"is_dir\":false,\"file_size\":0}]}"},
        {ARTIFACTS "?path=%2Fr%2Fd%2F", NULL, 200, "\"path\":\"b c.txt\""},
        {ARTIFACTS "?path=nothing", NULL, 200, "{\"files\":[]}"},
        {ARTIFACTS "?path=..", NULL, 400, "INVALID_PARAMETER_VALUE"},
        {ARTIFACTS "/r/d/b%20c.txt", NULL, 200, "two"},
        {ARTIFACTS "/r/empty", NULL, 200, ""},
        {ARTIFACTS "/r", NULL, 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "/r/../a", NULL, 400, "INVALID_PARAMETER_VALUE"},
        {ARTIFACTS "/%2e%2e/a", "PUT x", 400, "INVALID_PARAMETER_VALUE"},
        {ARTIFACTS "/r/d", "PUT x", 409, "r/d is a folder"},
        {ARTIFACTS "/r/a.txt/x", "PUT x", 409, "r/a.txt is a file"},
        {ARTIFACTS "/r/d", "DELETE", 200, "{}"},
        {ARTIFACTS "/r/d", "DELETE", 404, "RESOURCE_DOES_NOT_EXIST"},
        {ARTIFACTS "//", "DELETE", 400, "a path is wanted"},
        {"/api/3.0/mlflow/server-info", NULL, 200, "\"multipart_uploads_enabled\":false"},
        {"/api/2.0/mlflow/experiments/search", NULL, 404, "{\"error_code\":\"ENDPOINT_NOT_FOUND\",\"message\":\""},
        {"/api/2.0/mlflow-artifacts/mpu/create/x", "{}", 404, "ENDPOINT_NOT_FOUND"},
        {"/api/3.0/mlflow/traces/x", NULL, 404, "ENDPOINT_NOT_FOUND"},
        {MODELS "create", NULL, 405, "ENDPOINT_NOT_FOUND"},
    };
    RUN(cases);
    struct answer a = harness_send("GET", ARTIFACTS "/r/a.txt", "Range: bytes=1-\r\n", NULL, 0);
    assert_int_equal(a.status, 206);
    assert_string_equal(a.body, "ne");
    a = harness_send("HEAD", ARTIFACTS "/r/a.txt", NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(harness_header(&a, "Content-Length"), "3");
}

static void put_of_many_pieces(void **state) {
    size_t size = 700 * 1024;
    char *data = sw_xmalloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)('a' + i % 23);
    }
    data[size] = '\0';
    put("big", data);
    struct answer a = harness_get(ARTIFACTS "/big");
    assert_int_equal(a.body_len, size);
    assert_memory_equal(a.body, data, size);
    sw_free(data);
    data = sw_xcalloc(1, 5 << 20); /* more than the harness lets through */
    a = harness_send("PUT", ARTIFACTS "/big", NULL, data, 5 << 20);
    sw_free(data);
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.body, "\"error_code\":\"BAD_REQUEST\""));
    assert_int_equal(harness_get(ARTIFACTS "/big").body_len, size);
}

static int setup_without(void **state) {
    harness_start(&(struct harness_options){.registry_reason = "the test has none"});
    return 0;
}

static void without_a_registry(void **state) {
    static const struct expectation cases[] = {
        {MODELS "search", NULL, 503, "{\"error_code\":\"TEMPORARILY_UNAVAILABLE\",\"message\":\"there is no registry"},
        {MODELS "alias", "{\"name\":\"a\",\"alias\":\"b\",\"version\":\"1\"}", 503, "TEMPORARILY_UNAVAILABLE"},
        {ARTIFACTS "/x", "PUT x", 503, "TEMPORARILY_UNAVAILABLE"},
    };
    RUN(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        cmocka_unit_test(filters),
        cmocka_unit_test(bad_filters),
        cmocka_unit_test(too_much_of_a_filter),
        cmocka_unit_test(orders),
        T(models),
        T(versions),
        T(pointers),
        T(artifacts),
        T(put_of_many_pieces),
        cmocka_unit_test_setup_teardown(without_a_registry, setup_without, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
