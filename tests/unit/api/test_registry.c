/* The registry over HTTP: models, versions, pointers, history, audit log, gc; and what is refused. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>

#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define API "/api/v1/models"
#define ROW "{\"instances\":[[1,2,3,4]]}"
#define MODEL_SPACED " " MODEL_SUM /* other bytes, the same model */
#define MODEL_OTHER MODEL(TENSOR("z", "FP32", "[\"N\", 2]"), TENSOR("y", "FP32", "[\"N\", 1]"), "\"op\": \"sum\"")
#define STRICT "model: model.fake.json\ngates:\n  max_fpr: 0.001\n"

static int setup(void **state) {
    harness_start(&(struct harness_options){.registry = true});
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static int64_t integer(const struct answer *a, const char *key) {
    json_t *json = harness_json(a);
    json_t *value = json_object_get(json, key);
    int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    json_decref(json);
    return number;
}

static void models(void **state) {
    static const struct expectation cases[] = {
        {API, NULL, 200, "{\"models\":[],\"next_page_token\":null}"},
        {API, "{\"name\":\"b\",\"description\":\"the second\",\"tags\":{\"team\":\"red\",\"x\":\"1\"}}", 201,
         "\"description\":\"the second\""},
        {API, "{\"name\":\"a\"}", 201, "\"live\":null,\"latest\":null"},
        {API, "{\"name\":\"ab\"}", 201, "\"created_by\":\"anonymous\""},
        {API, "{\"name\":\"a\"}", 409, "\"code\":\"conflict\""},
        {API, NULL, 200, "\"name\":\"a\""},
        {API "?prefix=b", NULL, 200, "{\"models\":[{\"name\":\"b\""},
        {API "?tag=team=red", NULL, 200, "{\"models\":[{\"name\":\"b\""},
        {API "?tag=team=blue", NULL, 200, "{\"models\":[]"},
        {API "/b", NULL, 200, "\"tags\":{\"team\":\"red\",\"x\":\"1\"}"},
        {API "/b", "PATCH {\"tags\":{\"x\":null,\"y\":\"2\"},\"description\":\"changed\"}", 200,
         "\"tags\":{\"team\":\"red\",\"y\":\"2\"}"},
        {API "/b", "PATCH {\"policy\":{\"kind\":\"latest\",\"count\":3}}", 200, "\"kind\":\"latest\""},
        {API "/b", "PATCH {\"policy\":null}", 200, "\"policy\":null"},
        {API "/ab", "DELETE", 204, NULL},
        {API "/ab", NULL, 404, "ab"},
        {API "/ab", "DELETE", 404, "ab"},
        {API "/none", "PATCH {\"description\":\"x\"}", 404, "none"},
    };
    RUN(cases);
    struct answer a = harness_post(API, "{\"name\":\"c\"}");
    assert_string_equal(harness_header(&a, "Location"), API "/c");
}

static void bad_models(void **state) {
    static const struct expectation cases[] = {
        {API, "{\"name\":\"../x\"}", 400, "model name '../x'"},
        {API, "{\"name\":\"\"}", 400, "model name"},
        {API, "{}", 400, "'name' is missing"},
        {API, "{\"name\":7}", 400, "'name' must be a text"},
        {API, "{\"name\":\"m\",\"nmae\":1}", 400, "'nmae' is not a field"},
        {API, "{\"name\":\"m\",\"name\":\"n\"}", 400, "not JSON"},
        {API, "{\"name\":\"m\",\"tags\":[]}", 400, "'tags' must be an object"},
        {API, "{\"name\":\"m\",\"tags\":{\"k\":1}}", 400, "tags"},
        {API, "[1]", 400, "must be a JSON object"},
        {API, "{\"name\":\"m\"", 400, "not JSON"},
        {API, "", 400, "not JSON"},
        {API "?limit=0", NULL, 400, "'limit'"},
        {API "?limit=1001", NULL, 400, "'limit'"},
        {API "?limit=ten", NULL, 400, "'limit'"},
        {API "?page_token=junk", NULL, 400, "token"},
        {API "?tag=team", NULL, 400, "'tag'"},
        {API "/%2e%2e", NULL, 400, "model name"},
        {API "/a%20b", NULL, 400, "model name"},
        {API "/b", "PATCH {\"policy\":{\"kind\":\"some\"}}", 400, "policy"},
        {API "/b", "PATCH {\"versions\":3}", 400, "'versions' is not a field"},
        {API "/b?force=yes", "DELETE", 400, "'force'"},
    };
    RUN(cases);
    struct answer a = harness_send("POST", API, "Content-Type: text/plain\r\n", "{\"name\":\"m\"}", 12);
    assert_int_equal(a.status, 415);
    a = harness_send("GET", API, "X-Slipway-Actor: \r\n", NULL, 0); /* questions have no actor */
    assert_int_equal(a.status, 200);
    static char many[700000] = "{\"name\":\"m\",\"tags\":{\"k\":[";
    size_t n = strlen(many);
    while (n < sizeof many - 8) {
        n += (size_t)snprintf(many + n, sizeof many - n, "[],");
    }
    snprintf(many + n, sizeof many - n, "0]}}");
    a = harness_send("POST", API "/b/versions", "Content-Type: application/json\r\n", many, strlen(many));
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.body, "values"));
}

static void pages(void **state) {
    static const char *const names[] = {"p1", "p2", "p3", "p4", "p5"};
    char body[64], path[256] = API "?limit=2&prefix=p";
    size_t seen = 0;
    for (size_t i = 0; i < 5; i++) {
        snprintf(body, sizeof body, "{\"name\":\"%s\"}", names[i]);
        assert_int_equal(harness_post(API, body).status, 201);
    }
    for (int page = 0; path[0]; page++) {
        struct answer a = harness_get(path);
        assert_int_equal(a.status, 200);
        json_t *json = harness_json(&a), *list = json_object_get(json, "models");
        for (size_t i = 0; i < json_array_size(list); i++) {
            assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "name")), names[seen++]);
        }
        const char *token = json_string_value(json_object_get(json, "next_page_token"));
        snprintf(path, sizeof path, token ? API "?limit=2&prefix=p&page_token=%s" : "%s", token ? token : "");
        json_decref(json);
        assert_true(page < 3);
    }
    assert_int_equal(seen, 5);
}

static void versions(void **state) {
    assert_int_equal(harness_push("v", NULL, MODEL_SUM), 1);
    assert_int_equal(harness_push("v", "model: model.fake.json\ndescription: from the bundle\n", MODEL_SUM), 2);
    static const struct expectation cases[] = {
        {API "/v", NULL, 200, "\"latest\":2"},
        {API "/v/versions", NULL, 200, "{\"versions\":[{\"model\":\"v\",\"version\":2,"},
        {API "/v/versions?limit=1", NULL, 200, "\"next_page_token\":\""},
        {API "/v/versions/2", NULL, 200, "\"description\":\"from the bundle\""},
        {API "/v/versions/1", NULL, 200, "\"files\":1"},
        {API "/v/versions/1/files", NULL, 200, "{\"files\":[{\"path\":\"model.fake.json\",\"sha256\":\""},
        {API "/v/versions/1", "PATCH {\"tags\":{\"k\":\"v\"},\"metrics\":{\"accuracy\":0.97}}", 200,
         "\"metrics\":{\"accuracy\":0.97}"},
        {API "/v/versions/1", "PATCH {\"stage\":\"Production\"}", 400, "'stage' is not a field"},
        {API "/v/versions/3", NULL, 404, "3"},
        {API "/v/versions/live", NULL, 404, NULL},
        {API "/v/versions/best", NULL, 404, "best"},
        {API "/v/versions/0", NULL, 400, "version '0'"},
        {API "/v/versions/-1", NULL, 400, "version '-1'"},
        {API "/v/versions/01", NULL, 400, "version '01'"},
        {API "/v/versions/99999999999999999999", NULL, 400, "version"},
        {API "/none/versions", NULL, 404, "none"},
        {API "/v/versions?stage=Sleeping", NULL, 400, "Sleeping"},
        {API "/v/versions?stage=production", NULL, 200, "{\"versions\":[]"},
        {API "/v/versions/2", "DELETE", 204, NULL},
        {API "/v/versions/2", NULL, 404, "2"},
    };
    RUN(cases);
    assert_int_equal(harness_push("v", NULL, MODEL_SUM), 3); /* numbers are never given again */
    struct answer a = harness_get(API "/v/versions/3");
    assert_string_equal(harness_header(&a, "X-Model-Version"), "3");
}

static void bad_versions(void **state) {
    char body[512];
    const char *sha256 = harness_upload(MODEL_SUM);
    size_t size = strlen(MODEL_SUM);
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    assert_int_equal(harness_push("w", NULL, MODEL_SUM), 1);
    snprintf(body, sizeof body,
             "{\"files\":[{\"path\":\"model.fake.json\",\"sha256\":\"%s\",\"size\":%zu}],\"expected_version\":1}",
             sha256, size);
    struct answer a = harness_post(API "/w/versions", body);
    assert_int_equal(a.status, 409);
    snprintf(body, sizeof body, "{\"files\":[{\"path\":\"model.fake.json\",\"sha256\":\"%s\",\"size\":%zu}]}", zeros,
             size);
    assert_int_equal(harness_post(API "/w/versions", body).status, 422);
    snprintf(body, sizeof body, "{\"files\":[{\"path\":\"../m.fake.json\",\"sha256\":\"%s\",\"size\":%zu}]}", sha256,
             size);
    a = harness_post(API "/w/versions", body);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "files[0]: 'path'"));
    snprintf(body, sizeof body,
             "{\"files\":[{\"path\":\"m.fake.json\",\"sha256\":\"%s\",\"size\":%zu}],\"create_model\":false}", sha256,
             size);
    assert_int_equal(harness_post(API "/unheard/versions", body).status, 404);
    static const struct expectation cases[] = {
        {API "/w/versions", "{}", 400, "'files' or 'upload'"},
        {API "/w/versions", "{\"files\":[],\"upload\":\"x\"}", 400, "either"},
        {API "/w/versions", "{\"files\":[]}", 400, "1 to 10000"},
        {API "/w/versions", "{\"files\":[7]}", 400, "files[0]"},
        {API "/w/versions", "{\"files\":[{\"path\":\"a\",\"sha256\":\"xyz\",\"size\":1}]}", 400, "files[0]: 'sha256'"},
        {API "/w/versions", "{\"files\":[{\"path\":\"a\",\"size\":1}]}", 400, "files[0]: 'sha256' is missing"},
        {API "/w/versions", "{\"files\":[{\"path\":\"a\",\"sha256\":\"x\",\"size\":-1}]}", 400, "'size'"},
        {API "/w/versions", "{\"upload\":\"00000000000000000000000000000000\"}", 404, "upload"},
        {API "/w/versions", "{\"upload\":\"x\",\"file_name\":\"/etc/passwd\"}", 400, "'file_name'"},
        {API "/w/versions", "{\"upload\":\"x\",\"expected_version\":0}", 400, "'expected_version'"},
        {API "/w", NULL, 200, "\"latest\":1"},
    };
    RUN(cases);
}

static void pointers(void **state) {
    assert_int_equal(harness_push("p", NULL, MODEL_SUM), 1);
    assert_int_equal(harness_push("p", NULL, MODEL_SPACED), 2);
    static const struct expectation cases[] = {
        {API "/p/aliases/challenger", "PUT {\"version\":2}", 200, "\"gates\":null"},
        {API "/p/aliases/challenger", NULL, 200, "{\"alias\":\"challenger\",\"version\":2}"},
        {API "/p/aliases/champion", "PUT {\"version\":\"1\"}", 200, "\"live\":1,\"previous_live\":null"},
        {API "/p/aliases", NULL, 200, "{\"aliases\":[{\"alias\":\"challenger\",\"version\":2},{\"alias\":\"champion\""},
        {API "/p/versions/champion", NULL, 200, "\"version\":1"},
        {API "/p/versions/live", NULL, 200, "\"version\":1"},
        {API "/p/promote", "{\"version\":\"challenger\"}", 200, "\"version\":2,\"live\":2,\"previous_live\":1"},
        {API "/p/versions/live", NULL, 200, "\"stage\":\"Production\""},
        {API "/p/stages/Production", NULL, 200, "\"version\":2"},
        {API "/p/stages/staging", "PUT {\"version\":1}", 200, "\"live\":2"},
        {API "/p/stages/Staging", NULL, 200, "\"version\":1"},
        {API "/p/versions/2", "DELETE", 409, NULL},
        {API "/p", "DELETE", 409, NULL},
        {API "/p/rollback", "{\"reason\":\"it was worse\"}", 200, "\"version\":1,\"previous_live\":2"},
        {API "/p/rollback", "", 409, "\"code\":\"conflict\""},
        {API "/p/history", NULL, 200, "\"kind\":\"rollback\",\"actor\":\"anonymous\",\"reason\":\"it was worse\""},
        {API "/p/history?limit=1", NULL, 200, "{\"history\":[{\"seq\":3,"},
        {API "/p/aliases/challenger?reason=done", "DELETE", 204, NULL},
        {API "/p/aliases/challenger", NULL, 404, "challenger"},
        {API "/p/aliases/challenger", "DELETE", 404, "challenger"},
        {API "/p?force=true", "DELETE", 204, NULL},
    };
    RUN(cases);
}

static void bad_pointers(void **state) {
    assert_int_equal(harness_push("q", NULL, MODEL_SUM), 1);
    static const struct expectation cases[] = {
        {API "/q/aliases/7", "PUT {\"version\":1}", 400, "alias '7'"},
        {API "/q/aliases/live", "PUT {\"version\":1}", 400, "alias 'live'"},
        {API "/q/aliases/v2", NULL, 400, "alias 'v2'"},
        {API "/q/aliases/best", "PUT {}", 400, "'version' is missing"},
        {API "/q/aliases/best", "PUT {\"version\":1.5}", 400, "'version' must be"},
        {API "/q/aliases/best", "PUT {\"version\":9}", 404, "9"},
        {API "/q/aliases/best", "PUT {\"version\":\"no such\"}", 400, "no such"},
        {API "/q/aliases/best", "PUT {\"version\":1,\"archive_existing\":true}", 400, "'archive_existing'"},
        {API "/q/stages/Sleeping", "PUT {\"version\":1}", 400, "Sleeping"},
        {API "/q/stages/None", "PUT {\"version\":1,\"force\":true}", 400, "'reason'"},
        {API "/q/promote", "{\"version\":1,\"stage\":\"up\"}", 400, "stage 'up'"},
        {API "/q/promote", "{\"version\":1,\"alias\":\"9\"}", 400, "alias '9'"},
        {API "/q/promote", "{\"version\":1,\"archive_existing\":\"yes\"}", 400, "'archive_existing'"},
        {API "/q/promote", "{\"version\":1,\"force\":1}", 400, "'force'"},
        {API "/none/promote", "{\"version\":1}", 404, "none"},
        {API "/q/rollback", "{\"version\":true}", 400, "'version'"},
        {API "/q/rollback", "", 409, NULL},
        {API "/none/rollback", "", 404, "none"},
        {API "/none/history", NULL, 404, "none"},
        {API "/none/aliases", NULL, 404, "none"},
        {API "/q", NULL, 200, "\"live\":null"},
    };
    RUN(cases);
}

static void gates(void **state) {
    assert_int_equal(harness_push("g", NULL, MODEL_SUM), 1);
    assert_int_equal(harness_push("g", STRICT, MODEL_SUM), 2);
    assert_int_equal(harness_push("g", NULL, MODEL_OTHER), 3);
    static const struct expectation cases[] = {
        {API "/g/promote", "{\"version\":1}", 200, "\"status\":\"passed\""},
        {API "/g/promote", "{\"version\":2}", 409, "\"code\":\"gate_failed\""},
        {API "/g/promote", "{\"version\":2,\"force\":true}", 400, "'reason'"},
        {API "/g/versions/live", NULL, 200, "\"version\":1"},
        {API "/g/versions/2", NULL, 200, "\"status\":\"failed\""}, /* results are kept */
        {API "/g/promote", "{\"version\":2,\"force\":true,\"reason\":\"measured elsewhere\"}", 200, "\"forced\":true"},
        {API "/g/aliases/champion", "PUT {\"version\":3}", 409, "signature"},
        {API "/g/aliases/champion", "PUT {\"version\":3,\"allow_breaking\":true}", 200, "\"live\":3"},
    };
    RUN(cases);
    assert_int_equal(harness_post(API "/g/rollback", "").status, 200);
    struct answer a = harness_put(API "/g/stages/Production", "{\"version\":3}");
    assert_int_equal(a.status, 409);
    json_t *json = harness_json(&a);
    json_t *list = json_object_get(json_object_get(json_object_get(json, "error"), "details"), "gates");
    bool failed = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *gate = json_array_get(list, i);
        failed |= strcmp(json_string_value(json_object_get(gate, "name")), "signature") == 0 &&
                  strcmp(json_string_value(json_object_get(gate, "status")), "failed") == 0;
    }
    assert_true(failed);
    json_decref(json);
}

static void serves_what_is_live(void **state) {
    struct answer a;
    assert_int_equal(harness_push("s", NULL, MODEL_SUM), 1);
    assert_int_equal(harness_push("s", NULL, MODEL_SPACED), 2);
    harness_follow();
    assert_int_equal(harness_post("/v1/models/s:predict", ROW).status, 503); /* known, but none is live */
    for (int version = 1; version <= 2; version++) {
        char body[32], text[8];
        snprintf(body, sizeof body, "{\"version\":%d}", version);
        snprintf(text, sizeof text, "%d", version);
        assert_int_equal(harness_post(API "/s/promote", body).status, 200);
        harness_follow();
        a = harness_post("/v1/models/s:predict", ROW);
        assert_int_equal(a.status, 200);
        assert_string_equal(harness_header(&a, "X-Model-Version"), text);
    }
    assert_int_equal(harness_post(API "/s/rollback", "").status, 200);
    harness_follow();
    a = harness_post("/v1/models/s:predict", ROW);
    assert_string_equal(harness_header(&a, "X-Model-Version"), "1");
    assert_int_equal(harness_send("DELETE", API "/s?force=true", NULL, NULL, 0).status, 204);
    harness_follow();
    assert_int_equal(harness_post("/v1/models/s:predict", ROW).status, 404);
}

static void audit(void **state) {
    struct answer a = harness_send("POST", API,
                                   "Content-Type: application/json\r\nX-Slipway-Actor: alice\r\n"
                                   "X-Request-Id: change-17\r\n",
                                   "{\"name\":\"watched\"}", 18);
    assert_int_equal(a.status, 201);
    assert_non_null(strstr(a.body, "\"created_by\":\"claimed:alice\""));
    assert_int_equal(harness_patch(API "/watched", "{\"description\":\"new\"}").status, 200);
    assert_int_equal(harness_delete(API "/watched?reason=too+old").status, 204);
    static const struct expectation cases[] = {
        {"/api/v1/audit?object=watched", NULL, 200, "\"action\":\"model.create\",\"object\":\"watched\""},
        {"/api/v1/audit?object=watched&limit=1", NULL, 200, "\"reason\":\"too old\""},
        {"/api/v1/audit?actor=claimed:alice", NULL, 200, "\"request_id\":\"change-17\""},
        {"/api/v1/audit?action=alias.&limit=3", NULL, 200, "\"action\":\"alias."},
        {"/api/v1/audit?object=watch", NULL, 200, "{\"rows\":[],\"next_before\":null}"},
        {"/api/v1/audit?until=2001-01-01T00:00:00Z", NULL, 200, "{\"rows\":[]"},
        {"/api/v1/audit?since=2001-01-01T00:00:00.5%2B02:00&limit=1", NULL, 200, "\"next_before\":"},
        {"/api/v1/audit?since=1000&limit=1", NULL, 200, "\"next_before\":"},
        {"/api/v1/audit?since=yesterday", NULL, 400, "'since'"},
        {"/api/v1/audit?since=2023-02-29T00:00:00Z", NULL, 400, "'since'"},
        {"/api/v1/audit?until=2024-02-29T24:00:00Z", NULL, 400, "'until'"},
        {"/api/v1/audit?before=0", NULL, 400, "'before'"},
        {"/api/v1/audit?before=1", NULL, 200, "{\"rows\":[],\"next_before\":null}"},
        {"/api/v1/audit/verify", NULL, 200, "{\"ok\":true,\"rows\":"},
    };
    RUN(cases);
    a = harness_send("POST", API, "Content-Type: application/json\r\nX-Slipway-Actor: a\x01z\r\n", "{\"name\":\"m\"}",
                     12);
    assert_int_equal(a.status, 400);
    a = harness_get("/api/v1/audit?limit=2");
    int64_t before = integer(&a, "next_before");
    assert_true(before > 1);
    char path[64];
    snprintf(path, sizeof path, "/api/v1/audit?limit=1&before=%lld", (long long)before);
    a = harness_get(path);
    json_t *json = harness_json(&a);
    const json_t *row = json_array_get(json_object_get(json, "rows"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "seq")), before - 1);
    json_decref(json);
}

static void gc(void **state) {
    static const struct expectation cases[] = {
        {"/api/v1/gc", "{\"days\":0,\"dry_run\":true}", 200, "\"dry_run\":true"},
        {"/api/v1/gc", "", 200, "\"days\":30"},
        {"/api/v1/gc", "{\"days\":-1}", 400, "'days'"},
        {"/api/v1/gc", "{\"days\":1.5}", 400, "'days'"},
        {"/api/v1/gc", "{\"dry_run\":\"yes\"}", 400, "'dry_run'"},
    };
    RUN(cases);
}

/* While a writer lets nobody in, changes and promotions wait, questions are answered, and too many are refused. */
static void changes_wait_for_the_writer(void **state) {
    enum { CHANGES = 80 }; /* 4 threads and a queue of 64 take 68 at most */
    struct pollfd changes[CHANGES];
    int promotions[3], waited = 0, refused = 0;
    static const char json[] = "Content-Type: application/json\r\n";
    assert_int_equal(harness_push("x", NULL, MODEL_SUM), 1);
    harness_lock();
    for (size_t i = 0; i < 3; i++) {
        promotions[i] = harness_begin("POST", API "/x/promote", json, "{\"version\":1}", 13);
    }
    assert_int_equal(harness_get(API "/x").status, 200);
    assert_int_equal(harness_get("/health/ready").status, 200);
    for (size_t i = 0; i < CHANGES; i++) {
        int fd = harness_begin("DELETE", API "/many", NULL, NULL, 0);
        changes[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    assert_true(poll(changes, CHANGES, -1) > 0); /* who waits gets no answer yet */
    harness_unlock();
    for (size_t i = 0; i < CHANGES; i++) {
        struct answer a = harness_end(changes[i].fd, "DELETE", API "/many");
        bool is_refused = a.status == 429;
        assert_true(is_refused || a.status == 404);
        assert_true(!is_refused || strcmp(harness_header(&a, "Retry-After"), "1") == 0);
        refused += is_refused;
        waited += !is_refused;
    }
    assert_true(refused >= 1 && waited >= 64);
    for (size_t i = 0; i < 3; i++) {
        struct answer a = harness_end(promotions[i], "POST", API "/x/promote");
        assert_true(a.status == 200 || a.status == 409); /* one of them is first */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models),       cmocka_unit_test(bad_models),   cmocka_unit_test(pages),
        cmocka_unit_test(versions),     cmocka_unit_test(bad_versions), cmocka_unit_test(pointers),
        cmocka_unit_test(bad_pointers), cmocka_unit_test(gates),        cmocka_unit_test(serves_what_is_live),
        cmocka_unit_test(audit),        cmocka_unit_test(gc),           cmocka_unit_test(changes_wait_for_the_writer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
