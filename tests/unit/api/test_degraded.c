/* Without a registry, and with one whose database cannot be reached: what is served goes on, and every answer says why.
 * */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "base/buf.h"
#include "harness.h"
#include "models.h"

#define RUN(cases) harness_expect((cases), sizeof(cases) / sizeof((cases)[0]))
#define API "/api/v1/models"
#define ROW "{\"instances\":[[1,2,3,4]]}"
#define AWAY "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static int without_registry(void **state) {
    harness_start(&(struct harness_options){.registry_reason = "it is switched off"});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

static void no_registry(void **state) {
    static const struct expectation cases[] = {
        {API, NULL, 503, "there is no registry: it is switched off"},
        {API, "{\"name\":\"m\"}", 503, "there is no registry"},
        {API "/m/promote", "{\"version\":1}", 503, "there is no registry"},
        {API "/m/push", "x", 503, "there is no registry"},
        {"/api/v1/uploads", "", 503, "there is no registry"},
        {"/api/v1/uploads/00000000000000000000000000000000", "PUT x", 503, "there is no registry"},
        {"/api/v1/audit/verify", NULL, 503, "\"code\":\"unavailable\""},
        {"/models/rollback", "{\"model\":\"sum\"}", 409, "served from a file"},
        {"/models/rollback", "", 503, "there is no registry"},
        {"/models/versions", NULL, 200, "\"history\":[]"},
        {"/health/ready", NULL, 200, "{\"ready\":true}"},
        {"/v1/models/sum:predict", ROW, 200, "[[10]]"},
    };
    RUN(cases);
    assert_null(strstr(harness_get("/metrics").body, "slipway_dependency_up{"));
}

/* Nothing follows the registry, as if it had been read before it went away. */
static int database_away(void **state) {
    harness_start(&(struct harness_options){.registry = true, .store_url = AWAY, .no_serving = true});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

static void degraded(void **state) {
    static const struct expectation cases[] = {
        {API, NULL, 503, "\"code\":\"unavailable\""},
        {API, "{\"name\":\"m\"}", 503, "\"code\":\"unavailable\""},
        {API "/m/promote", "{\"version\":1}", 503, "\"code\":\"unavailable\""},
        {API "/m/versions/1/files/model.onnx", NULL, 503, "\"code\":\"unavailable\""},
        {"/api/v1/audit", NULL, 503, "\"code\":\"unavailable\""},
        {"/health/ready", NULL, 200, "{\"ready\":true,\"degraded\":[{\"part\":\"metadata store\",\"reason\":\""},
        {"/health", NULL, 200, "\"degraded\":[{\"part\":\"metadata store\""},
        {"/models/versions?model=sum", NULL, 200, "\"current\":1"},
        {"/models/rollback", "", 503, "\"code\":\"unavailable\""},
        {"/v1/models/sum:predict", ROW, 200, "[[10]]"},
        {"/metrics", NULL, 200, "slipway_dependency_up{dependency=\"store\"} 0\n"},
        {"/metrics", NULL, 200, "slipway_dependency_up{dependency=\"artifacts\"} 1\n"},
    };
    RUN(cases);
    struct answer a = harness_post(API, "{\"name\":\"m\"}");
    assert_non_null(harness_header(&a, "Retry-After"));
}

static void on_followed(void *arg, sw_status status, const struct sw_error *err) { /* loader thread */
    atomic_store((atomic_int *)arg, (int)status);
}

/* A model of the registry is answered for from memory, and the answer says what is missing. */
static void history_unknown(void **state) {
    struct sw_served_version version = {.number = 3, .bytes = 1234, .pinned = true, .digest = "d"};
    struct sw_served_model wanted = {.name = "m", .live = 3, .versions = &version, .version_count = 1};
    struct sw_error err;
    atomic_int outcome = -1;
    assert_int_equal(sw_repository_follow(harness_repository, &wanted, on_followed, &outcome, &err), SW_OK);
    while (atomic_load(&outcome) < 0) {
        sched_yield();
    }
    assert_int_equal(atomic_load(&outcome), SW_E_UNAVAILABLE); /* its files cannot be had */
    struct answer a = harness_get("/models/versions?model=m");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "{\"name\":\"m\",\"current\":null,\"available\":[{\"version\":3,"));
    assert_non_null(strstr(a.body, "\"size_bytes\":1234"));
    assert_non_null(strstr(a.body, "\"history\":[],\"history_error\":\""));
}

static int never_seen(void **state) {
    harness_start(&(struct harness_options){.registry = true, .store_url = AWAY});
    harness_model("sum", MODEL_SUM, true);
    return 0;
}

static void not_ready_before_the_first_look(void **state) {
    static const struct expectation cases[] = {
        {"/health/ready", NULL, 503, "\"reason\":\"the registry has not been read yet: "},
        {"/health/ready", NULL, 503, "\"degraded\":[{\"part\":\"metadata store\""},
        {"/health", NULL, 200, "\"status\":\"not_ready\""},
        {"/v1/models/sum:predict", ROW, 200, "[[10]]"},
    };
    RUN(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_registry, without_registry, teardown),
        cmocka_unit_test_setup_teardown(degraded, database_away, teardown),
        cmocka_unit_test_setup_teardown(history_unknown, database_away, teardown),
        cmocka_unit_test_setup_teardown(not_ready_before_the_first_look, never_seen, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
