/* Metrics over time: what clients log, and statistics by window and granularity. */
#include "api/monitoring.h"

#include "base/clock.h"

enum {
    MINUTE_MS = 60 * 1000,
    HOUR_MS = 60 * MINUTE_MS,
    DAY_MS = 24 * HOUR_MS,
    NAME_MAX_BYTES = 128,
    LABEL_NAME_MAX = 64,
    LABEL_VALUE_MAX = 128,
    LABEL_ARGUMENT_MAX = LABEL_NAME_MAX + 1 + LABEL_VALUE_MAX,
    TIME_MAX_BYTES = 64,
};

/* ---- POST metrics/log */

static bool is_label_name(struct sw_str name) {
    if (name.len == 0 || name.len > LABEL_NAME_MAX || (name.data[0] >= '0' && name.data[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '_') {
            return false;
        }
    }
    return true;
}

static sw_status take_label(struct sw_http_exchange *x, struct sw_str name, struct sw_str value, struct sw_label *ret,
                            struct sw_error *err) {
    if (!is_label_name(name)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "label '" SW_STR_FMT "': 1 to %d letters, digits and '_' are wanted, the first no digit",
                       SW_STR_ARG(name), LABEL_NAME_MAX);
    }
    SW_TRY(sw_api_text(x, name, "a label", LABEL_NAME_MAX, &ret->name, err));
    return sw_api_text(x, value, "the value of a label", LABEL_VALUE_MAX, &ret->value, err);
}

static sw_status take_labels(struct sw_http_exchange *x, json_t *labels, struct sw_logged *ret, struct sw_error *err) {
    const char *name;
    json_t *value;
    if (json_object_size(labels) > SW_LABELS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'labels' has more than %d", SW_LABELS_MAX);
    }
    json_object_foreach(labels, name, value) {
        struct sw_str text = {json_string_value(value), json_string_length(value)};
        if (!json_is_string(value)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "label '%.64s' must be a text", name);
        }
        SW_TRY(take_label(x, sw_str_of(name), text, &ret->labels[ret->label_count], err));
        ret->label_count++;
    }
    return SW_OK;
}

/* RFC 3339, or milliseconds since 1970; absent: now. */
static sw_status take_time(const json_t *value, uint64_t *ret_ms, struct sw_error *err) {
    if (json_is_null(value) || !value) {
        return SW_OK;
    }
    struct sw_str text = {json_string_value(value), json_string_length(value)};
    if (json_is_integer(value) && json_integer_value(value) > 0) {
        *ret_ms = (uint64_t)json_integer_value(value);
        return SW_OK;
    }
    if (json_is_string(value) && text.len <= TIME_MAX_BYTES && sw_parse_timestamp(text, ret_ms) && *ret_ms > 0) {
        return SW_OK;
    }
    return sw_fail(err, SW_E_INVALID_ARGUMENT,
                   "'timestamp' must be a time as 2026-11-20T21:51:18Z, or milliseconds since 1970");
}

static sw_status take_point(struct sw_http_exchange *x, const json_t *item, struct sw_logged *ret,
                            struct sw_error *err) {
    json_t *value = NULL, *timestamp = NULL, *labels = NULL;
    const struct sw_api_field fields[] = {
        {.name = "name", .kind = SW_MEMBER_TEXT, .ret = &ret->name, .required = true, .max = NAME_MAX_BYTES},
        {.name = "value", .kind = SW_MEMBER_ANY, .ret = &value, .required = true},
        {.name = "timestamp", .kind = SW_MEMBER_ANY, .ret = &timestamp},
        {.name = "labels", .kind = SW_MEMBER_OBJECT, .ret = &labels},
    };
    if (!json_is_object(item)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "must be an object");
    }
    SW_TRY(sw_api_fields(x, item, fields, SW_COUNTOF(fields), err));
    if (!sw_metric_name_valid(sw_str_of(ret->name))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "'name' is '%s': a letter, '_' or ':' first, then also digits, '.' and '-', at most %d, and no "
                       "metric that the server measures itself",
                       ret->name, NAME_MAX_BYTES);
    }
    if (!json_is_number(value)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'value' must be a number");
    }
    ret->value = json_number_value(value);
    SW_TRY(take_time(timestamp, &ret->time_ms, err));
    return labels ? take_labels(x, labels, ret, err) : SW_OK;
}

static sw_status log_metrics(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err) {
    json_t *list = NULL;
    const struct sw_api_field fields[] = {
        {.name = "metrics", .kind = SW_MEMBER_ARRAY, .ret = &list, .required = true},
    };
    SW_TRY(sw_api_read(x, false, fields, SW_COUNTOF(fields), err));
    size_t count = json_array_size(list);
    if (count == 0 || count > SW_MONITOR_LOG_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'metrics' has %zu values: 1 to %d are wanted", count,
                       SW_MONITOR_LOG_MAX);
    }
    struct sw_logged *points = sw_arena_calloc(&x->arena, count, sizeof *points);
    if (!points) {
        return sw_api_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (take_point(x, json_array_get(list, i), &points[i], err)) {
            return sw_error_prefix(err, "metrics[%zu]", i);
        }
    }
    SW_TRY(sw_monitor_log(monitor, points, count, err));
    struct sw_buf out;
    sw_api_buf(x, &out);
    sw_buf_printf(&out, "{\"accepted\":%zu}", count);
    sw_api_reply(x, 200, &out);
    return SW_OK;
}

enum sw_http_result sw_api_monitoring_log(struct sw_http_exchange *x) {
    return sw_monitoring_run(x, log_metrics);
}

/* ---- GET metrics/stats: what is asked */

struct span {
    const char *name;
    uint64_t ms;
};
static const struct span windows[] = {{"1h", HOUR_MS}, {"6h", 6 * HOUR_MS}, {"24h", DAY_MS}, {"7d", SW_HISTORY_MS}};
static const struct span granularities[] = {{"1m", MINUTE_MS}, {"5m", 5 * MINUTE_MS}, {"10m", 10 * MINUTE_MS},
                                            {"1h", HOUR_MS},   {"6h", 6 * HOUR_MS},   {"24h", DAY_MS}};
/* By window. */
static const char *const granularity_defaults[] = {"1m", "5m", "10m", "1h"};

struct question {
    const struct span *window, *granularity;
    const char *metric, *model, *version; /* model, version NULL: all */
    struct sw_query query;
    uint64_t now_ms;
};

static const struct span *find_span(const struct span *spans, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(spans[i].name, name) == 0) {
            return &spans[i];
        }
    }
    return NULL;
}

/* Minutes are kept for a day; a step is no longer than the whole. */
static bool goes_with(const struct span *window, const struct span *granularity) {
    bool is_kept = window->ms <= DAY_MS || granularity->ms % SW_COARSE_MS == 0;
    return is_kept && granularity->ms <= window->ms;
}

/* 400 that names those that are allowed. */
static void reply_allowed(struct sw_http_exchange *x, const char *argument, const char *given, const struct span *spans,
                          size_t count, const struct span *window) {
    char list[64] = "";
    struct sw_error err;
    json_auto_t *details = json_object(), *allowed = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!window || goes_with(window, &spans[i])) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", spans[i].name);
            json_array_append_new(allowed, json_string(spans[i].name));
        }
    }
    (void)sw_fail(&err, SW_E_INVALID_ARGUMENT, "query argument '%s' is '%s': %s%s%s", argument, given, list,
                  window ? " go with a window of " : " are there", window ? window->name : "");
    json_object_set_new(details, "argument", json_string(argument));
    json_object_set(details, "allowed", allowed);
    sw_api_reply_details(x, &err, details);
}

/* False: the answer is set. */
static bool choose_spans(struct sw_http_exchange *x, const char *window, const char *granularity, struct question *q) {
    q->window = find_span(windows, SW_COUNTOF(windows), window);
    if (!q->window) {
        reply_allowed(x, "window", window, windows, SW_COUNTOF(windows), NULL);
        return false;
    }
    granularity = granularity ? granularity : granularity_defaults[q->window - windows];
    q->granularity = find_span(granularities, SW_COUNTOF(granularities), granularity);
    if (!q->granularity || !goes_with(q->window, q->granularity)) {
        reply_allowed(x, "granularity", granularity, granularities, SW_COUNTOF(granularities), q->window);
        return false;
    }
    return true;
}

static sw_status add_label(struct question *q, const char *name, const char *value, struct sw_error *err) {
    if (q->query.label_count == SW_LABELS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "more than %d labels are asked for", SW_LABELS_MAX);
    }
    q->query.labels[q->query.label_count++] = (struct sw_label){name, value};
    return SW_OK;
}

/* In an application's routes: its model, for what is measured of models. */
static sw_status read_model(struct sw_http_exchange *x, struct question *q, struct sw_error *err) {
    SW_TRY(sw_api_query_text(x, "model", LABEL_VALUE_MAX, &q->model, err));
    if (!q->model && sw_api_scope(x).data && sw_metric_is_of_models(sw_str_of(q->metric))) {
        q->model = sw_api_scope(x).data;
    }
    return SW_OK;
}

/* model, version, and label=NAME:VALUE, any number of times. */
static sw_status read_labels(struct sw_http_exchange *x, struct question *q, struct sw_error *err) {
    SW_TRY(read_model(x, q, err));
    SW_TRY(sw_api_query_text(x, "version", LABEL_VALUE_MAX, &q->version, err));
    if (q->model) {
        SW_TRY(add_label(q, "model", q->model, err));
    }
    if (q->version) {
        SW_TRY(add_label(q, "version", q->version, err));
    }
    struct sw_str argument;
    for (size_t i = 0; (argument = sw_http_query_at(x, "label", i)).data; i++) {
        struct sw_str name, value = sw_str_split(argument, ':', &name);
        struct sw_label label;
        if (!value.data) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT,
                           "query argument 'label' is '" SW_STR_FMT "': NAME:VALUE is wanted", SW_STR_ARG(argument));
        }
        SW_TRY(take_label(x, name, value, &label, err));
        SW_TRY(add_label(q, label.name, label.value, err));
    }
    return SW_OK;
}

static sw_status read_question(struct sw_http_exchange *x, struct question *q, bool *ret_answered,
                               struct sw_error *err) {
    const char *window = "1h", *granularity = NULL;
    struct sw_clock *clock = sw_api_of(x)->options.clock;
    *q = (struct question){.metric = SW_METRIC_NAME_LATENCY, .now_ms = clock->wall_ms(clock)};
    SW_TRY(sw_api_query_text(x, "window", TIME_MAX_BYTES, &window, err));
    SW_TRY(sw_api_query_text(x, "granularity", TIME_MAX_BYTES, &granularity, err));
    SW_TRY(sw_api_query_text(x, "metric", NAME_MAX_BYTES, &q->metric, err));
    SW_TRY(read_labels(x, q, err));
    *ret_answered = !choose_spans(x, window, granularity, q);
    if (!*ret_answered) {
        uint64_t step_ms = q->granularity->ms;
        q->query.metric = q->metric;
        q->query.step_ms = step_ms;
        q->query.step_count = q->window->ms / step_ms;
        q->query.from_ms = q->now_ms / step_ms * step_ms + step_ms -
                           q->window->ms; /* the last step is the running one */
        q->query.fine = step_ms % SW_COARSE_MS != 0;
    }
    return SW_OK;
}

/* ---- what is answered */

static void put_double(struct sw_buf *out, const char *key, double value) {
    sw_buf_printf(out, ",\"%s\":", key);
    sw_api_put_double(out, value);
}

static void put_time(struct sw_buf *out, const char *key, uint64_t ms) {
    char text[SW_TIMESTAMP_MAX];
    sw_format_timestamp(ms, text);
    sw_buf_printf(out, "\"%s\":\"%s\"", key, text);
}

/* Seconds of [from, from + span) that are over and of which something is known; 0: none. */
static double covered_seconds(uint64_t from_ms, uint64_t span_ms, uint64_t since_ms, uint64_t now_ms) {
    uint64_t until_ms = from_ms + span_ms < now_ms ? from_ms + span_ms : now_ms;
    from_ms = since_ms > from_ms ? since_ms : from_ms;
    if (since_ms == 0 || from_ms > until_ms) {
        return 0;
    }
    double seconds = (double)(until_ms - from_ms) / 1000;
    return seconds > 1 ? seconds : 1;
}

static void put_summary(struct sw_buf *out, const struct question *q, const struct sw_summary *s, double seconds) {
    bool has_requests = strcmp(q->metric, SW_METRIC_NAME_LATENCY) == 0;
    uint64_t requests = sw_summary_requests(s);
    sw_buf_printf(out, "\"count\":%llu", (unsigned long long)s->count);
    put_double(out, "mean", s->mean);
    put_double(out, "min", s->min);
    put_double(out, "max", s->max);
    put_double(out, "std", s->std);
    put_double(out, "p50", s->p50);
    put_double(out, "p95", s->p95);
    put_double(out, "p99", s->p99);
    put_double(out, "rps", seconds > 0 ? (double)requests / seconds : NAN);
    put_double(out, "error_rate", has_requests ? sw_summary_failure_rate(s, SW_FAILURE_SERVER) : NAN);
    if (has_requests) {
        sw_buf_printf(out, ",\"requests\":%llu,\"errors\":{\"client\":%llu,\"rejected\":%llu,\"server\":%llu}",
                      (unsigned long long)requests, (unsigned long long)s->failures[SW_FAILURE_CLIENT],
                      (unsigned long long)s->failures[SW_FAILURE_REJECTED],
                      (unsigned long long)s->failures[SW_FAILURE_SERVER]);
    }
}

static void put_text(struct sw_buf *out, const char *key, const char *value) {
    sw_buf_append_c(out, ',');
    if (value) {
        sw_api_put_string(out, key, value);
    } else {
        sw_buf_printf(out, "\"%s\":null", key);
    }
}

static void put_head(struct sw_buf *out, const struct question *q, size_t tracks, uint64_t since_ms) {
    SW_LIT(out, "{");
    sw_api_put_string(out, "metric", q->metric);
    put_text(out, "model", q->model);
    put_text(out, "version", q->version);
    put_text(out, "window", q->window->name);
    put_text(out, "granularity", q->granularity->name);
    sw_buf_append_c(out, ',');
    put_time(out, "from", q->query.from_ms);
    sw_buf_append_c(out, ',');
    put_time(out, "until", q->now_ms);
    if (since_ms) {
        sw_buf_append_c(out, ',');
        put_time(out, "since", since_ms);
    } else {
        SW_LIT(out, ",\"since\":null");
    }
    sw_buf_printf(out, ",\"series\":%zu", tracks);
}

static void put_points(struct sw_buf *out, const struct question *q, const struct sw_summary *steps,
                       uint64_t since_ms) {
    SW_LIT(out, ",\"points\":[");
    for (size_t i = 0; i < q->query.step_count; i++) {
        sw_buf_append_str(out, i ? SW_STR(",{") : SW_STR("{"));
        put_time(out, "time", steps[i].start_ms);
        sw_buf_append_c(out, ',');
        put_summary(out, q, &steps[i], covered_seconds(steps[i].start_ms, q->query.step_ms, since_ms, q->now_ms));
        sw_buf_append_c(out, '}');
    }
    sw_buf_append_c(out, ']');
}

static sw_status check_model(struct sw_http_exchange *x, const struct question *q, struct sw_error *err) {
    struct sw_api_row *rows;
    size_t count = 0;
    if (q->model) {
        SW_TRY(sw_api_rows(sw_api_of(x), &x->arena, sw_str_of(q->model), &rows, &count, err));
    }
    return q->model && count == 0 ? sw_api_unknown_model(sw_str_of(q->model), err) : SW_OK;
}

/* Nothing has these labels: is the question wrong, or was it quiet? */
static sw_status check_known(struct sw_http_exchange *x, struct sw_monitor *monitor, const struct question *q,
                             bool *ret_answered, struct sw_error *err) {
    json_auto_t *names = sw_monitor_metric_names(monitor), *details = NULL;
    bool is_known = sw_metric_is_own(sw_str_of(q->metric));
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name) {
        is_known = is_known || strcmp(json_string_value(name), q->metric) == 0;
    }
    SW_TRY(check_model(x, q, err));
    *ret_answered = !is_known;
    if (!is_known) {
        (void)sw_fail(err, SW_E_NOT_FOUND, "there are no values of a metric '%s'", q->metric);
        details = json_pack("{s:O}", "metrics", names);
        sw_api_reply_details(x, err, details);
    }
    return SW_OK;
}

static sw_status stats(struct sw_http_exchange *x, struct sw_monitor *monitor, struct sw_error *err) {
    struct question q;
    bool answered;
    SW_TRY(read_question(x, &q, &answered, err));
    if (answered) {
        return SW_OK;
    }
    struct sw_summary total, *steps = sw_arena_calloc(&x->arena, q.query.step_count, sizeof *steps);
    size_t tracks;
    uint64_t since_ms;
    if (!steps) {
        return sw_api_no_memory(err);
    }
    SW_TRY(sw_monitor_query(monitor, &q.query, steps, &total, &tracks, &since_ms, err));
    if (tracks == 0) {
        SW_TRY(check_known(x, monitor, &q, &answered, err));
        if (answered) {
            return SW_OK;
        }
    }
    struct sw_buf out;
    sw_api_buf(x, &out);
    put_head(&out, &q, tracks, since_ms);
    SW_LIT(&out, ",\"total\":{");
    put_summary(&out, &q, &total, covered_seconds(q.query.from_ms, q.window->ms, since_ms, q.now_ms));
    sw_buf_append_c(&out, '}');
    put_points(&out, &q, steps, since_ms);
    SW_LIT(&out, ",\"metrics\":");
    json_auto_t *names = sw_monitor_metric_names(monitor);
    sw_api_put_json(&out, names);
    sw_buf_append_c(&out, '}');
    sw_api_reply(x, 200, &out);
    return SW_OK;
}

enum sw_http_result sw_api_monitoring_stats(struct sw_http_exchange *x) {
    return sw_monitoring_run(x, stats);
}
