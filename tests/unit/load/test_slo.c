/* A result written, read and judged; results that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/memory.h"
#include "load/report.h"
#include "load/slo.h"

/* 1000 successes of 1 .. 1000 ms, 10 timeouts, in 10 s. */
static struct sw_load_result make_result(void) {
    struct sw_load_result result = {.measured_ns = 10000000000, .cpu_ns = 1010000};
    result.totals = SW_NEW(struct sw_load_totals);
    for (uint64_t i = 1; i <= 1000; i++) {
        sw_histogram_record(&result.totals->latency_ns, i * 1000000);
    }
    result.totals->outcomes[SW_LOAD_SUCCESS] = result.totals->answered = 1000;
    result.totals->outcomes[SW_LOAD_TIMEOUT] = 10;
    result.totals->statuses[200] = 1000;
    snprintf(result.totals->reasons[SW_LOAD_TIMEOUT], SW_LOAD_REASON_MAX, "no \xff answer");
    result.rows = sw_xcalloc(1, sizeof *result.rows);
    result.rows[0] = (struct sw_load_row){.at_s = 10, .seconds = 10, .requests = 1010, .successes = 1000};
    result.row_count = 1;
    return result;
}

static json_t *make_json(void) {
    struct sw_load_result result = make_result();
    json_t *json = sw_report_load(&result, true, json_object());
    sw_load_result_deinit(&result);
    assert_non_null(json);
    return json;
}

static double number(const json_t *json, const char *a, const char *b) {
    const json_t *inner = json_object_get(json, a);
    return json_number_value(b ? json_object_get(inner, b) : inner);
}

static void the_report_holds_the_figures(void **state) {
    json_t *json = make_json();
    assert_true(number(json, "requests", NULL) == 1010);
    assert_true(number(json, "successes", NULL) == 1000);
    assert_true(fabs(number(json, "error_rate", NULL) - 10.0 / 1010) < 1e-12);
    assert_true(number(json, "throughput_per_s", NULL) == 100);
    assert_true(number(json, "statuses", "200") == 1000);
    assert_true(number(json, "latency_ms", "max") == 1000);
    assert_true(fabs(number(json, "latency_ms", "p50") - 500) < 5);
    assert_true(fabs(number(json, "latency_ms", "p99.9") - 999) < 8);
    assert_true(fabs(number(json, "latency_ms", "mean") - 500.5) < 1e-6);
    assert_true(number(json, "client", "cpu_us_per_request") == 1);
    const json_t *timeout = json_object_get(json_object_get(json, "failures"), "timeout");
    assert_int_equal(json_integer_value(json_object_get(timeout, "count")), 10);
    assert_string_equal(json_string_value(json_object_get(timeout, "example")), "no ? answer");
    assert_non_null(json_object_get(json, "open_loop"));
    json_decref(json);
}

static void what_is_written_is_read(void **state) {
    json_t *json = make_json();
    struct sw_slo_measured m;
    struct sw_load_result result = make_result();
    assert_int_equal(sw_slo_read(json, &m, NULL), SW_OK);
    static const double percents[] = {50, 75, 90, 95, 99, 99.9, 99.99};
    for (size_t i = 0; i < SW_COUNTOF(percents); i++) {
        double wanted = sw_histogram_percentile(&result.totals->latency_ns, percents[i]) / 1e6;
        assert_true(fabs(sw_slo_latency_ms(&m, percents[i]) - wanted) < 1e-9);
    }
    sw_slo_deinit(&m);
    sw_load_result_deinit(&result);
    json_decref(json);
}

static void limits_are_kept_or_not(void **state) {
    json_t *json = make_json();
    struct sw_slo_measured m;
    struct sw_slo_criterion c[SW_SLO_CRITERIA_MAX];
    assert_int_equal(sw_slo_read(json, &m, NULL), SW_OK);
    assert_int_equal(sw_slo_judge(&m, &(struct sw_slo_limits){960, 100, 0.01, 95}, c), 3);
    assert_true(c[0].passed && c[1].passed && c[2].passed);
    assert_int_equal(sw_slo_judge(&m, &(struct sw_slo_limits){900, 100.1, 0.009, 95}, c), 3);
    assert_false(c[0].passed || c[1].passed || c[2].passed);
    assert_int_equal(sw_slo_judge(&m, &(struct sw_slo_limits){900, -1, -1, 85}, c), 1);
    assert_true(c[0].passed && fabs(c[0].value - 850) < 7);
    assert_int_equal(sw_slo_judge(&m, &(struct sw_slo_limits){-1, -1, 0, 95}, c), 1);
    assert_false(c[0].passed);
    sw_slo_deinit(&m);
    json_decref(json);
}

static void without_a_success_latency_fails(void **state) {
    json_t *json = json_loads("{\"requests\": 5, \"throughput_per_s\": 0, \"error_rate\": 1, \"latency_histogram\": "
                              "{\"unit\": \"ns\", \"count\": 0, \"min\": 0, \"max\": 0, \"buckets\": []}}",
                              0, NULL);
    struct sw_slo_measured m;
    struct sw_slo_criterion c[SW_SLO_CRITERIA_MAX];
    assert_int_equal(sw_slo_read(json, &m, NULL), SW_OK);
    assert_int_equal(sw_slo_judge(&m, &(struct sw_slo_limits){1e9, -1, -1, 95}, c), 1);
    assert_false(c[0].passed);
    sw_slo_deinit(&m);
    json_decref(json);
}

/* A good result with one member replaced by something else, or taken away. */
static void nonsense_is_refused(void **state) {
    static const struct {
        const char *member, *value; /* of the histogram when it begins with '.'; value NULL: taken away */
    } changes[] = {
        {"requests", NULL},
        {"requests", "0"},
        {"requests", "\"5\""},
        {"requests", "-1"},
        {"requests", "3"},
        {"throughput_per_s", NULL},
        {"throughput_per_s", "null"},
        {"error_rate", "1.5"},
        {"error_rate", "-0.1"},
        {"latency_histogram", NULL},
        {"latency_histogram", "[]"},
        {".unit", "\"ms\""},
        {".unit", "5"},
        {".count", "999"},
        {".min", "2000000000"},
        {".max", "-1"},
        {".buckets", "{}"},
        {".buckets", "[[1, 1]]"},
        {".buckets", "[[1, 1, 1000, 1]]"},
        {".buckets", "[[1, 0, 1000]]"},
        {".buckets", "[[1, 1, 0], [2, 1, 1000]]"},
        {".buckets", "[[5, 1, 500], [4, 1, 500]]"},
        {".buckets", "[[4, 2, 500], [5, 1, 500]]"},
        {".buckets", "[[1, 1, 1000.0]]"},
        {".buckets", "[[-1, 1, 1000]]"},
        {".buckets", "[1000]"},
    };
    for (size_t i = 0; i < SW_COUNTOF(changes); i++) {
        json_t *json = make_json(), *object = json;
        const char *member = changes[i].member;
        struct sw_slo_measured m;
        struct sw_error err;
        if (*member == '.') {
            object = json_object_get(json, "latency_histogram");
            member++;
        }
        if (changes[i].value) {
            json_object_set_new(object, member, json_loads(changes[i].value, JSON_DECODE_ANY, NULL));
        } else {
            json_object_del(object, member);
        }
        if (sw_slo_read(json, &m, &err) != SW_E_INVALID_ARGUMENT) {
            fail_msg("taken: %s = %s", changes[i].member, changes[i].value);
        }
        json_decref(json);
    }
    struct sw_slo_measured m;
    json_t *list = json_array();
    assert_int_equal(sw_slo_read(list, &m, NULL), SW_E_INVALID_ARGUMENT);
    json_decref(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report_holds_the_figures), cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(limits_are_kept_or_not),       cmocka_unit_test(without_a_success_latency_fails),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
