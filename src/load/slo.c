/* Reading of results, and the judgement; see slo.h. */
#include "load/slo.h"

#include <math.h>

#include "base/histogram.h"
#include "base/memory.h"

/* A finite number that is not negative. */
static sw_status read_number(const json_t *object, const char *name, double *ret, struct sw_error *err) {
    const json_t *json = json_object_get(object, name);
    double value = json_number_value(json);
    if (!json_is_number(json) || !(value >= 0) || isinf(value)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "no result of load or bench: \"%s\" is no number from 0 on", name);
    }
    *ret = value;
    return SW_OK;
}

static sw_status read_bucket(const json_t *json, const struct sw_slo_bucket *previous, struct sw_slo_bucket *ret,
                             struct sw_error *err) {
    double parts[3];
    for (size_t i = 0; i < 3; i++) {
        const json_t *part = json_array_get(json, i);
        if (json_array_size(json) != 3 || !json_is_integer(part) || json_integer_value(part) < 0) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "a bucket of \"latency_histogram\" is no [low, width, count]");
        }
        parts[i] = (double)json_integer_value(part);
    }
    *ret = (struct sw_slo_bucket){parts[0], parts[1], parts[2]};
    if (ret->width < 1 || ret->count < 1 || (previous && previous->low + previous->width > ret->low)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the buckets of \"latency_histogram\" are empty or out of order");
    }
    return SW_OK;
}

static sw_status read_histogram(const json_t *json, struct sw_slo_measured *m, struct sw_error *err) {
    const json_t *buckets = json_object_get(json, "buckets"), *unit = json_object_get(json, "unit");
    double count;
    if (!json_is_array(buckets) || json_array_size(buckets) > SW_SLO_BUCKETS_MAX || !json_is_string(unit) ||
        strcmp(json_string_value(unit), "ns") != 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "no result of load or bench: \"latency_histogram\" has no buckets in ns");
    }
    SW_TRY(read_number(json, "count", &count, err));
    SW_TRY(read_number(json, "min", &m->min_ns, err));
    SW_TRY(read_number(json, "max", &m->max_ns, err));
    m->buckets = sw_xcalloc(json_array_size(buckets) + 1, sizeof *m->buckets);
    for (size_t i = 0; i < json_array_size(buckets); i++) {
        struct sw_slo_bucket *bucket = &m->buckets[i];
        SW_TRY(read_bucket(json_array_get(buckets, i), i ? bucket - 1 : NULL, bucket, err));
        m->successes += bucket->count;
        m->bucket_count++;
    }
    if (m->successes != count || m->min_ns > m->max_ns) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "\"latency_histogram\" contradicts itself");
    }
    return SW_OK;
}

static sw_status read_all(const json_t *result, struct sw_slo_measured *m, struct sw_error *err) {
    SW_TRY(read_number(result, "requests", &m->requests, err));
    SW_TRY(read_number(result, "throughput_per_s", &m->throughput_per_s, err));
    SW_TRY(read_number(result, "error_rate", &m->error_rate, err));
    SW_TRY(read_histogram(json_object_get(result, "latency_histogram"), m, err));
    if (m->requests == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the result holds no requests; nothing follows from it");
    }
    if (m->error_rate > 1 || m->successes > m->requests) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the result contradicts itself");
    }
    return SW_OK;
}

sw_status sw_slo_read(const json_t *result, struct sw_slo_measured *ret, struct sw_error *err) {
    struct sw_slo_measured m = {0};
    sw_status status = read_all(result, &m, err);
    if (status) {
        sw_slo_deinit(&m);
        return status;
    }
    *ret = m;
    return SW_OK;
}

void sw_slo_deinit(struct sw_slo_measured *measured) {
    sw_free(measured->buckets);
    *measured = (struct sw_slo_measured){0};
}

double sw_slo_latency_ms(const struct sw_slo_measured *m, double percent) {
    double rank = percent / 100 * m->successes, before = 0;
    if (m->bucket_count == 0) {
        return INFINITY;
    }
    for (size_t i = 0; i < m->bucket_count; i++) {
        const struct sw_slo_bucket *b = &m->buckets[i];
        if (before + b->count >= rank) {
            double ns = sw_histogram_interpolate(b->low, b->width - 1, rank, before, b->count);
            return fmin(fmax(ns, m->min_ns), m->max_ns) / 1e6;
        }
        before += b->count;
    }
    return m->max_ns / 1e6;
}

size_t sw_slo_judge(const struct sw_slo_measured *m, const struct sw_slo_limits *limits,
                    struct sw_slo_criterion ret[SW_SLO_CRITERIA_MAX]) {
    size_t count = 0;
    if (limits->latency_max_ms >= 0) {
        ret[count++] = (struct sw_slo_criterion){.name = "latency",
                                                 .unit = "ms",
                                                 .limit = limits->latency_max_ms,
                                                 .value = sw_slo_latency_ms(m, limits->percent)};
    }
    if (limits->throughput_min_per_s >= 0) {
        ret[count++] = (struct sw_slo_criterion){.name = "throughput",
                                                 .unit = "/s",
                                                 .value = m->throughput_per_s,
                                                 .limit = limits->throughput_min_per_s,
                                                 .is_minimum = true};
    }
    if (limits->error_rate_max >= 0) {
        ret[count++] = (struct sw_slo_criterion){
            .name = "error_rate", .unit = "", .value = m->error_rate, .limit = limits->error_rate_max};
    }
    for (size_t i = 0; i < count; i++) {
        struct sw_slo_criterion *c = &ret[i];
        c->passed = c->is_minimum ? c->value >= c->limit : c->value <= c->limit;
    }
    return count;
}
