/* Questions to the history: points of all tracks that fit, added up step by step; see history.h. */
#include <math.h>

#include "base/memory.h"
#include "observe/history.h"

/* Something that points are added to: the distribution is 64 KiB, so one is used for all steps in turn. */
struct sums {
    struct sw_point point; /* without its distribution */
    struct sw_loghist_sum values;
};

static void clear(struct sums *sums) {
    sums->point = (struct sw_point){0};
    sw_loghist_sum_clear(&sums->values);
}

static void add(struct sums *sums, const struct sw_point *from) {
    struct sw_point *to = &sums->point;
    if (from->count) {
        to->min = to->count == 0 || from->min < to->min ? from->min : to->min;
        to->max = to->count == 0 || from->max > to->max ? from->max : to->max;
    }
    to->count += from->count;
    to->sum += from->sum;
    to->sum_squares += from->sum_squares;
    for (size_t i = 0; i < SW_FAILURES; i++) {
        to->failures[i] += from->failures[i];
    }
    sw_loghist_sum_merge(&sums->values, &from->values);
}

/* The middle of a cell may lie outside of what was seen. */
static double quantile(const struct sums *sums, double q) {
    double value = sw_loghist_sum_quantile(&sums->values, q);
    return fmin(fmax(value, sums->point.min), sums->point.max);
}

static struct sw_summary summarise(const struct sums *sums, uint64_t start_ms) {
    const struct sw_point *p = &sums->point;
    struct sw_summary summary = {.start_ms = start_ms, .count = p->count, .sum = p->sum};
    memcpy(summary.failures, p->failures, sizeof summary.failures);
    if (p->count == 0) {
        summary.mean = summary.min = summary.max = summary.std = NAN;
        summary.p50 = summary.p95 = summary.p99 = NAN;
        return summary;
    }
    double count = (double)p->count, mean = p->sum / count;
    double variance = p->sum_squares / count - mean * mean;
    /* Of equal values the difference is rounding: p->max tells. */
    summary.std = variance > 0 && p->max > p->min ? sqrt(variance) : 0;
    summary.mean = fmin(fmax(mean, p->min), p->max);
    summary.min = p->min;
    summary.max = p->max;
    summary.p50 = quantile(sums, 0.5);
    summary.p95 = quantile(sums, 0.95);
    summary.p99 = quantile(sums, 0.99);
    return summary;
}

static bool fits(const struct sw_track *track, const struct sw_query *query) {
    if (strcmp(track->metric, query->metric) != 0) {
        return false;
    }
    for (size_t i = 0; i < query->label_count; i++) {
        const char *value = sw_track_label(track, query->labels[i].name);
        if (!value || strcmp(value, query->labels[i].value) != 0) {
            return false;
        }
    }
    return true;
}

static const struct sw_point *point_of(const struct sw_track *track, bool fine, uint64_t start_ms) {
    const struct sw_point *point = fine ? track->fine[start_ms / SW_FINE_MS % SW_FINE_POINTS]
                                        : track->coarse[start_ms / SW_COARSE_MS % SW_COARSE_POINTS];
    return point && point->start_ms == start_ms ? point : NULL;
}

static void add_step(struct sums *sums, const struct sw_track *track, const struct sw_query *query, uint64_t from_ms) {
    uint64_t span_ms = query->fine ? SW_FINE_MS : SW_COARSE_MS;
    for (uint64_t t = from_ms; t < from_ms + query->step_ms; t += span_ms) {
        const struct sw_point *point = point_of(track, query->fine, t);
        if (point) {
            add(sums, point);
        }
    }
}

static void add_up(struct sums *total, const struct sums *step) {
    add(total, &step->point);
    if (step->values.total == 0) {
        return;
    }
    for (unsigned cell = step->values.low; cell <= step->values.high; cell++) {
        total->values.counts[cell] += step->values.counts[cell];
    }
    total->values.total += step->values.total;
    total->values.low = step->values.low < total->values.low ? step->values.low : total->values.low;
    total->values.high = step->values.high > total->values.high ? step->values.high : total->values.high;
}

static size_t find_tracks(const struct sw_history *history, const struct sw_query *query,
                          const struct sw_track **tracks) {
    size_t count = 0;
    for (const struct sw_track *track = history->tracks; track; track = track->next) {
        if (fits(track, query)) {
            tracks[count++] = track;
        }
    }
    return count;
}

struct work {
    const struct sw_track **tracks; /* room for all */
    struct sums *step, *total;
};

static void run(const struct sw_history *history, const struct sw_query *query, const struct work *work,
                struct sw_summary *ret_steps, struct sw_summary *ret_total, size_t *ret_tracks) {
    size_t count = find_tracks(history, query, work->tracks);
    for (size_t i = 0; i < query->step_count; i++) {
        uint64_t from_ms = query->from_ms + i * query->step_ms;
        clear(work->step);
        for (size_t k = 0; k < count; k++) {
            add_step(work->step, work->tracks[k], query, from_ms);
        }
        add_up(work->total, work->step);
        if (ret_steps) {
            ret_steps[i] = summarise(work->step, from_ms);
        }
    }
    *ret_total = summarise(work->total, query->from_ms);
    *ret_tracks = count;
}

static struct sums *new_sums(void) {
    struct sums *sums = sw_calloc(1, sizeof *sums);
    if (sums) {
        sw_loghist_sum_init(&sums->values);
    }
    return sums;
}

sw_status sw_history_query(const struct sw_history *history, const struct sw_query *query, struct sw_summary *ret_steps,
                           struct sw_summary *ret_total, size_t *ret_tracks, struct sw_error *err) {
    uint64_t span_ms = query->fine ? SW_FINE_MS : SW_COARSE_MS;
    SW_ASSERT(query->step_ms > 0 && query->step_ms % span_ms == 0 && query->from_ms % span_ms == 0);
    SW_ASSERT(query->step_count <= SW_QUERY_STEPS_MAX);
    struct work work = {sw_calloc(history->track_count + 1, sizeof *work.tracks), new_sums(), new_sums()};
    bool has_room = work.tracks && work.step && work.total;
    if (has_room) {
        run(history, query, &work, ret_steps, ret_total, ret_tracks);
    }
    sw_free(work.tracks);
    sw_free(work.step);
    sw_free(work.total);
    return has_room ? SW_OK : sw_fail(err, SW_E_UNAVAILABLE, "no memory to look at the history");
}

uint64_t sw_summary_requests(const struct sw_summary *summary) {
    uint64_t requests = summary->count;
    for (size_t i = 0; i < SW_FAILURES; i++) {
        requests += summary->failures[i];
    }
    return requests;
}

double sw_summary_failure_rate(const struct sw_summary *summary, enum sw_failure failure) {
    uint64_t requests = sw_summary_requests(summary);
    return requests ? (double)summary->failures[failure] / (double)requests : NAN;
}
