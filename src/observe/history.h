/* History: series of values over the last seven days, in memory.
 *
 *   history --> track  latency_ms{model="digits",version="1"}
 *                 |
 *                 +-- ring of 1 min points,  24 hours
 *                 +-- ring of 10 min points,  7 days
 *
 * A track is one metric with one set of labels. A point is what happened in one minute (or ten): how many values, their
 * sum, smallest, largest and distribution (loghist.h), and how many requests failed beside them. Points can be added up,
 * over time and over tracks: so a question about a model merges its versions, one about the server all models.
 *
 * Points stand where their time says, on the wall clock, so that they survive a restart and late values find theirs. A
 * point exists when something happened in it; a time without one was quiet.
 *
 * Memory is bounded: rings by their length, tracks of clients by their number, and all of it by bytes_max, for which the
 * oldest points go (sw_history_expire). One owner at a time. Times are milliseconds since 1970. */
#ifndef SW_OBSERVE_HISTORY_H
#define SW_OBSERVE_HISTORY_H

#include "base/error.h"
#include "observe/loghist.h"

enum {
    SW_FINE_MS = 60 * 1000,
    SW_FINE_POINTS = 24 * 60,
    SW_COARSE_MS = 10 * SW_FINE_MS,
    SW_COARSE_POINTS = 7 * 24 * 6,
    SW_HISTORY_MS = SW_COARSE_POINTS * SW_COARSE_MS, /* what is kept: seven days */
    SW_LABELS_MAX = 8,
    SW_CLIENT_TRACKS_MAX = 256,
};

/* The largest magnitude a value may have, so that sums of squares stay finite. */
#define SW_HISTORY_VALUE_MAX 9223372036854775808.0

/* Requests that gave no answer, by whose fault it was. */
enum sw_failure { SW_FAILURE_CLIENT, SW_FAILURE_REJECTED, SW_FAILURE_SERVER, SW_FAILURES };

struct sw_point {
    uint64_t start_ms;
    uint64_t count; /* of values */
    double sum, sum_squares;
    double min, max; /* when there are values */
    uint64_t failures[SW_FAILURES];
    struct sw_loghist values;
    bool dirty; /* changed since it was taken to be stored */
};

struct sw_label {
    const char *name, *value;
};

struct sw_track {
    char *metric;
    char *labels_json; /* {"model":"digits","version":"1"}: by name; the track's identity beside its metric */
    struct sw_label labels[SW_LABELS_MAX]; /* owned; by name */
    size_t label_count;
    bool is_client;                                                   /* logged by a client, not measured here */
    bool dirty;                                                       /* a point of it is */
    struct sw_point *fine[SW_FINE_POINTS], *coarse[SW_COARSE_POINTS]; /* NULL: nothing happened */
    struct sw_track *next;
};

struct sw_history {
    struct sw_track *tracks; /* newest first */
    size_t track_count, client_count;
    size_t bytes, bytes_max;
    uint64_t dropped;   /* additions lost: out of memory, or too old for their ring */
    uint64_t oldest_ms; /* earliest time that anything here is of; 0: nothing yet */
};

void sw_history_init(struct sw_history *history, size_t bytes_max);
void sw_history_deinit(struct sw_history *history);

/* Found, or made; it stays until sw_history_expire finds it empty. Labels in any order, no name twice. NULL and *err: out of memory, or, of a client,
 * SW_CLIENT_TRACKS_MAX exist or the memory is used up (SW_E_UNPROCESSABLE). */
struct sw_track *sw_history_track(struct sw_history *history, const char *metric, const struct sw_label *labels,
                                  size_t label_count, bool is_client, struct sw_error *err);
/* From its stored form; SW_E_INVALID_ARGUMENT when labels_json is no object of at most SW_LABELS_MAX texts. */
struct sw_track *sw_history_track_json(struct sw_history *history, const char *metric, const char *labels_json,
                                       bool is_client, struct sw_error *err);
const char *sw_track_label(const struct sw_track *track, const char *name); /* NULL: it has none of this name */

/* One value of time_ms; |value| <= SW_HISTORY_VALUE_MAX. False when lost, which is counted: out of memory, or seven days
 * or more away from now_ms. */
bool sw_history_add(struct sw_history *history, struct sw_track *track, uint64_t now_ms, uint64_t time_ms,
                    double value);
/* Everything in *from; its start_ms is not looked at. */
bool sw_history_merge(struct sw_history *history, struct sw_track *track, uint64_t now_ms, uint64_t time_ms,
                      const struct sw_point *from);

/* Lets go of what is older than its ring, of tracks of which nothing is left, and of the oldest points while bytes_max
 * is exceeded. */
void sw_history_expire(struct sw_history *history, uint64_t now_ms);

/* ---- keeping it (store): points are copied, so that they can be written without holding the history */

struct sw_saved_point {
    char *metric, *labels_json;
    bool is_client;
    unsigned span_ms; /* SW_FINE_MS or SW_COARSE_MS */
    struct sw_point point;
};
struct sw_saved_points {
    struct sw_saved_point *items;
    size_t count;
};
/* Points that changed since they were taken last: at most `max`. They count as unchanged from here on. */
void sw_history_take_changed(struct sw_history *history, size_t max, struct sw_saved_points *ret);
/* They could not be stored: they count as changed again. */
void sw_history_put_back(struct sw_history *history, const struct sw_saved_points *points);
/* A stored point is added to what is here. Later than now, or older than the history: ignored. */
void sw_history_restore(struct sw_history *history, const struct sw_saved_point *saved, uint64_t now_ms);
/* A copy of the point behind those that are there; false: out of memory. */
bool sw_saved_points_add(struct sw_saved_points *points, const struct sw_saved_point *saved);
void sw_saved_points_deinit(struct sw_saved_points *points);

/* ---- asking (history_query.c) */

struct sw_query {
    const char *metric;
    struct sw_label labels[SW_LABELS_MAX]; /* a track must have all of these */
    size_t label_count;
    uint64_t from_ms;  /* a multiple of step_ms */
    uint64_t step_ms;  /* a multiple of SW_FINE_MS */
    size_t step_count; /* at most SW_QUERY_STEPS_MAX */
    bool fine; /* from 1 min points, which reach back 24 hours; else from 10 min points: a multiple of SW_COARSE_MS */
};
enum { SW_QUERY_STEPS_MAX = SW_FINE_POINTS };

/* What happened in a stretch of time. */
struct sw_summary {
    uint64_t start_ms;
    uint64_t count;
    uint64_t failures[SW_FAILURES];
    double mean, min, max, std, p50, p95, p99; /* NaN: no values */
    double sum;
};
uint64_t sw_summary_requests(const struct sw_summary *summary);                            /* values and failures */
double sw_summary_failure_rate(const struct sw_summary *summary, enum sw_failure failure); /* NaN: no requests */

/* ret_steps: room for step_count; ret_total: all of them in one. Returns how many tracks there were. SW_E_UNAVAILABLE:
 * no memory. */
SW_MUST_CHECK sw_status sw_history_query(const struct sw_history *history, const struct sw_query *query,
                                         struct sw_summary *ret_steps, struct sw_summary *ret_total, size_t *ret_tracks,
                                         struct sw_error *err);

#endif
