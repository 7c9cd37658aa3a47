/* What the tests of the result cache share: requests, and what was run for them. */
#ifndef SW_TESTS_API_CACHED_H
#define SW_TESTS_API_CACHED_H

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"
#include "models.h"

#define JSON "Content-Type: application/json\r\n"
#define INFER(model) "/v2/models/" model "/infer"
#define PREDICT(model) "/v1/models/" model ":predict"
#define CACHED "model: model.fake.json\ncache: {enable: true}\n"
/* A request for one row of input x. */
#define ROW(columns, numbers) \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":[1," columns "],\"datatype\":\"FP32\",\"data\":[" numbers "]}]}"

/* X-Cache of an answer of 200; "" when it has none. */
static inline const char *said(const struct answer *a) {
    if (a->status != 200) {
        fail_msg("%d %s", a->status, a->body);
    }
    const char *value = harness_header(a, "X-Cache");
    return value ? value : "";
}

static inline void assert_holds(const struct answer *a, const char *text) {
    if (!strstr(a->body, text)) {
        fail_msg("expected %s in %s", text, a->body);
    }
}

/* One request, and what must come back: 200, this X-Cache, this text. */
static inline void assert_answer(const char *path, const char *headers, const char *json, const char *x_cache,
                                 const char *contains) {
    char all[512];
    snprintf(all, sizeof all, JSON "%s", headers ? headers : "");
    struct answer a = harness_send("POST", path, all, json, strlen(json));
    assert_string_equal(said(&a), x_cache);
    assert_holds(&a, contains);
}

/* How often the fake engine has run this load of the model. */
static inline long runs_of(const char *model) {
    static const char before[] = "\"runs\":{\"string_value\":\"";
    char path[128];
    snprintf(path, sizeof path, "/v2/models/%s/config", model);
    struct answer a = harness_get(path);
    const char *at = strstr(a.body, before);
    assert_non_null(at);
    return strtol(at + strlen(before), NULL, 10);
}

/* A member of an object of GET /api/v1/cache. */
static inline json_int_t kept(const char *object, const char *member) {
    struct answer a = harness_get("/api/v1/cache");
    json_t *all = harness_json(&a);
    const json_t *value = json_object_get(object ? json_object_get(all, object) : all, member);
    assert_true(json_is_integer(value));
    json_int_t number = json_integer_value(value);
    json_decref(all);
    return number;
}

static inline void reload(const char *model) {
    char path[128];
    snprintf(path, sizeof path, "/v2/repository/models/%s/load", model);
    struct answer a = harness_send("POST", path, JSON, "", 0);
    if (a.status != 200) {
        fail_msg("%d %s", a.status, a.body);
    }
}

#endif
