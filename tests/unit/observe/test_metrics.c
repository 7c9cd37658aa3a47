/* Metrics: what is written, shards of many threads, bounded series, and promtool's verdict on a full sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "observe/metrics.h"

static struct sw_metrics *metrics;
static struct sw_buf out;

static int setup(void **state) {
    metrics = sw_metrics_create();
    sw_buf_init(&out, 64 << 20);
    return 0;
}

static int teardown(void **state) {
    sw_buf_deinit(&out);
    sw_metrics_destroy(metrics);
    return 0;
}

/* Renders, and checks that the text holds this line (given with its line break) exactly once. */
static void assert_line(const char *line) {
    sw_buf_clear(&out);
    sw_metrics_write(metrics, &out);
    assert_false(out.failed);
    const char *at = strstr(out.data, line);
    while (at && at != out.data && at[-1] != '\n') {
        at = strstr(at + 1, line);
    }
    if (!at) {
        print_error("missing: %sin:\n%s", line, out.data);
    }
    assert_non_null(at);
    assert_null(strstr(at + 1, line));
}

static void assert_absent(const char *text) {
    sw_buf_clear(&out);
    sw_metrics_write(metrics, &out);
    assert_null(strstr(out.data, text));
}

static struct sw_series *requests(const char *model) {
    const char *labels[] = {"POST", "/v2/models/{model}/infer", "200", model, "1"};
    return sw_metrics_series(metrics, SW_METRIC_HTTP_REQUESTS_TOTAL, labels);
}

static struct sw_series *inference(const char *phase) {
    const char *labels[] = {"m", "1", phase};
    return sw_metrics_series(metrics, SW_METRIC_SLIPWAY_INFERENCE_DURATION_SECONDS, labels);
}

static void counter(void **state) {
    assert_absent("http_requests_total"); /* no series, no family */
    struct sw_series *series = requests("digits");
    assert_ptr_equal(series, requests("digits"));
    assert_ptr_not_equal(series, requests("other"));
    sw_series_add(series, 1);
    sw_series_add(series, 41);
    assert_int_equal(sw_series_total(series), 42);
    assert_line("http_requests_total{method=\"POST\",route=\"/v2/models/{model}/infer\",status=\"200\","
                "model=\"digits\",version=\"1\"} 42\n");
    assert_line("http_requests_total{method=\"POST\",route=\"/v2/models/{model}/infer\",status=\"200\","
                "model=\"other\",version=\"1\"} 0\n");
    assert_line("# TYPE http_requests_total counter\n");
}

static void gauge(void **state) {
    struct sw_series *series = sw_metrics_series(metrics, SW_METRIC_SLIPWAY_HTTP_CONNECTIONS, NULL);
    assert_absent("slipway_http_connections");
    sw_series_set(series, 3);
    assert_line("slipway_http_connections 3\n");
    sw_series_set(series, 0.1);
    assert_line("slipway_http_connections 0.1\n");
    sw_series_set(series, 123456789012345.0);
    assert_line("slipway_http_connections 123456789012345\n");
    sw_series_set(series, -INFINITY);
    assert_line("slipway_http_connections -Inf\n");
    sw_series_set(series, NAN);
    assert_line("slipway_http_connections NaN\n");
    sw_series_reset(series);
    assert_absent("slipway_http_connections");
    sw_series_set(series, 1);
    sw_metrics_reset(metrics, SW_METRIC_SLIPWAY_HTTP_CONNECTIONS);
    assert_absent("slipway_http_connections");
}

static void histogram(void **state) {
    struct sw_series *series = inference("run");
    sw_series_observe_ns(series, 0);
    sw_series_observe_ns(series, 1000); /* on a bound: belongs to it */
    sw_series_observe_ns(series, 1001);
    sw_series_observe_ns(series, 10000000000u);
    sw_series_observe_ns(series, 10000000001u);
    assert_int_equal(sw_series_total(series), 5);
#define INFERENCE "slipway_inference_duration_seconds"
    assert_line(INFERENCE "_bucket{model=\"m\",version=\"1\",phase=\"run\",le=\"0.000001\"} 2\n");
    assert_line(INFERENCE "_bucket{model=\"m\",version=\"1\",phase=\"run\",le=\"0.000002\"} 3\n");
    assert_line(INFERENCE "_bucket{model=\"m\",version=\"1\",phase=\"run\",le=\"5\"} 3\n");
    assert_line(INFERENCE "_bucket{model=\"m\",version=\"1\",phase=\"run\",le=\"10\"} 4\n");
    assert_line(INFERENCE "_bucket{model=\"m\",version=\"1\",phase=\"run\",le=\"+Inf\"} 5\n");
    assert_line(INFERENCE "_sum{model=\"m\",version=\"1\",phase=\"run\"} 20.000002002\n");
    assert_line(INFERENCE "_count{model=\"m\",version=\"1\",phase=\"run\"} 5\n");
}

static void every_bucket_is_found(void **state) {
    const struct sw_metric_info *info = &sw_metric_table[SW_METRIC_SLIPWAY_INFERENCE_DURATION_SECONDS];
    struct sw_series *series = inference("queue");
    for (unsigned i = 0; i < info->bucket_count; i++) {
        sw_series_observe_ns(series, info->bucket_ns[i] - 1);
        sw_series_observe_ns(series, info->bucket_ns[i]);
    }
    for (unsigned i = 0; i < info->bucket_count; i++) {
        char line[200];
        snprintf(line, sizeof line, INFERENCE "_bucket{model=\"m\",version=\"1\",phase=\"queue\",le=\"%s\"} %u\n",
                 info->bucket_le[i], 2 * i + 2);
        assert_line(line);
    }
}

static void label_values_are_escaped(void **state) {
    sw_series_add(requests("a\"b\\c\nd\te"), 1);
    assert_line("http_requests_total{method=\"POST\",route=\"/v2/models/{model}/infer\",status=\"200\","
                "model=\"a\\\"b\\\\c\\nd?e\",version=\"1\"} 1\n");
    sw_series_add(requests("caf\xc3\xa9"), 1);
    sw_series_add(requests("caf\xe9"), 1);
    assert_line("http_requests_total{method=\"POST\",route=\"/v2/models/{model}/infer\",status=\"200\","
                "model=\"caf\xc3\xa9\",version=\"1\"} 1\n");
    assert_line("http_requests_total{method=\"POST\",route=\"/v2/models/{model}/infer\",status=\"200\","
                "model=\"caf?\",version=\"1\"} 1\n");
    /* Values that look alike when joined carelessly stay apart. */
    const char *one[] = {"a\",route=\"b", "", "", "", ""}, *two[] = {"a", "b", "", "", ""};
    assert_ptr_not_equal(sw_metrics_series(metrics, SW_METRIC_HTTP_REQUESTS_TOTAL, one),
                         sw_metrics_series(metrics, SW_METRIC_HTTP_REQUESTS_TOTAL, two));
}

static void series_are_bounded(void **state) {
    struct sw_series *first = requests("m0"), *overflow = NULL;
    for (int i = 0; i < SW_SERIES_MAX + 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "m%d", i);
        struct sw_series *series = requests(name);
        sw_series_add(series, 1);
        overflow = i == SW_SERIES_MAX - 1 ? series : overflow;
    }
    assert_ptr_equal(requests("one more"), overflow);
    assert_ptr_equal(requests("m0"), first); /* known ones are still found */
    assert_int_equal(sw_series_total(first), 1);
    assert_int_equal(sw_series_total(overflow), 101);
    assert_line("http_requests_total{method=\"overflow\",route=\"overflow\",status=\"overflow\",model=\"overflow\","
                "version=\"overflow\"} 101\n");
    char *huge = sw_xmalloc(100001);
    memset(huge, 'x', 100000);
    huge[100000] = '\0';
    assert_ptr_equal(requests(huge), overflow);
    sw_free(huge);
}

/* ---- threads ---- */

enum { THREADS = 8, UPDATES = 20000, GENERATIONS = 3 };

static void *update(void *arg) {
    struct sw_series **series = arg;
    for (uint64_t i = 0; i < UPDATES; i++) {
        sw_series_add(series[0], 1);
        sw_series_observe_ns(series[1], i);
    }
    return NULL;
}

static void threads_lose_nothing(void **state) {
    struct sw_series *series[] = {requests("t"), inference("pre")};
    for (int g = 0; g < GENERATIONS; g++) { /* a later thread takes over the shard of one that ended */
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, update, series), 0);
        }
        for (int i = 0; i < 5; i++) { /* scrapes meanwhile; what is seen never shrinks */
            uint64_t before = sw_series_total(series[0]);
            sw_buf_clear(&out);
            sw_metrics_write(metrics, &out);
            assert_true(sw_series_total(series[0]) >= before);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_int_equal(sw_series_total(series[0]), (g + 1) * THREADS * UPDATES);
        assert_int_equal(sw_series_total(series[1]), (g + 1) * THREADS * UPDATES);
    }
    char line[200];
    uint64_t sum = (uint64_t)GENERATIONS * THREADS * UPDATES * (UPDATES - 1) / 2;
    snprintf(line, sizeof line, INFERENCE "_sum{model=\"m\",version=\"1\",phase=\"pre\"} %llu.%09llu\n",
             (unsigned long long)sum / 1000000000u, (unsigned long long)sum % 1000000000u);
    assert_line(line);
}

/* ---- the whole ---- */

static void count_scrape(void *arg, struct sw_metrics *m) {
    sw_series_set(sw_metrics_series(m, SW_METRIC_SLIPWAY_EXECUTOR_WAITING, NULL), ++*(int *)arg);
}

static void callbacks_run_for_each_scrape(void **state) {
    int scrapes = 0;
    sw_metrics_on_scrape(metrics, count_scrape, &scrapes);
    assert_line("slipway_executor_waiting 1\n");
    assert_line("slipway_executor_waiting 2\n");
}

static double value_of(const char *name) {
    sw_buf_clear(&out);
    sw_metrics_write(metrics, &out);
    char start[100];
    snprintf(start, sizeof start, "\n%s ", name);
    const char *at = strstr(out.data, start);
    assert_non_null(at);
    return strtod(at + strlen(start), NULL);
}

static void process_metrics_are_plausible(void **state) {
    sw_metrics_add_process(metrics);
    assert_true(value_of("process_resident_memory_bytes") > 100 * 1024);
    assert_true(value_of("process_virtual_memory_bytes") >= value_of("process_resident_memory_bytes"));
    double fds = value_of("process_open_fds");
    int fd = dup(STDOUT_FILENO);
    assert_true(value_of("process_open_fds") == fds + 1);
    close(fd);
    assert_true(fds >= 3 && fds <= value_of("process_max_fds"));
    assert_true(value_of("process_cpu_seconds_total") > 0);
    double age = (double)time(NULL) - value_of("process_start_time_seconds");
    assert_true(age > -5 && age < 3600);
}

/* Every family with a series, values of all kinds: promtool must find nothing to say. */
static void promtool_accepts_it(void **state) {
    const char *hostile[] = {"\"\\\n{}", "\xff", "", "a,b=\"c\"", "\xe2\x82\xac"};
    for (int i = 0; i < SW_METRIC_COUNT; i++) {
        struct sw_series *series = sw_metrics_series(metrics, (enum sw_metric)i, hostile);
        if (sw_metric_table[i].type == SW_METRIC_HISTOGRAM) {
            sw_series_observe_ns(series, 123456);
        } else if (sw_metric_table[i].type == SW_METRIC_GAUGE || sw_metric_table[i].sampled) {
            sw_series_set(series, 1.5e-7);
        } else {
            sw_series_add(series, UINT64_MAX);
        }
    }
    sw_metrics_add_process(metrics);
    sw_metrics_write(metrics, &out);
    assert_false(out.failed);
    for (int i = 0; i < SW_METRIC_COUNT; i++) {
        char type[200];
        snprintf(type, sizeof type, "# TYPE %s ", sw_metric_table[i].name);
        assert_non_null(strstr(out.data, type));
    }
    if (system("command -v promtool >/dev/null") != 0) { /* of Debian's prometheus, which the lint tier installs */
        assert_null(getenv("CI"));
        skip();
    }
    FILE *promtool = popen("promtool check metrics", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(out.data, 1, out.len, promtool), out.len);
    int status = pclose(promtool);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_buffer_too_small_is_reported(void **state) {
    struct sw_buf small;
    sw_buf_init(&small, 50);
    sw_series_add(requests("m"), 1);
    sw_metrics_write(metrics, &small);
    assert_true(small.failed);
    sw_buf_deinit(&small);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(counter),
        CASE(gauge),
        CASE(histogram),
        CASE(every_bucket_is_found),
        CASE(label_values_are_escaped),
        CASE(series_are_bounded),
        CASE(threads_lose_nothing),
        CASE(callbacks_run_for_each_scrape),
        CASE(process_metrics_are_plausible),
        CASE(promtool_accepts_it),
        CASE(a_buffer_too_small_is_reported),
    };
    return cmocka_run_group_tests_name("observe/metrics", tests, NULL, NULL);
}
