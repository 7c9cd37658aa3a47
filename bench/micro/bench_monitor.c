/* What monitoring costs: counting on the request path, and what the monitor's thread and a question take. Prints medians
 * over ROUNDS rounds.
 *
 *   success        one inference counted (sw_recorder_success), on one thread
 *   verdict        a BOOL verdict of one row; prediction: a number of one row
 *   collect        the counts of one model version taken over into its point
 *   stats          one question: 24 hours in minutes, of one series that had traffic in every minute
 *   bytes          memory of such a series, a day of minutes and a week of ten minutes */
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "observe/recorder.h"

enum { ROUNDS = 31, CALLS = 100000, QUESTIONS = 20, PER_MINUTE = 200 };

static uint64_t latencies[CALLS];
static double rounds[ROUNDS];

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(void) {
    qsort(rounds, ROUNDS, sizeof *rounds, ascending);
    return rounds[ROUNDS / 2];
}

/* About 1 ms, from a third of that to three times as much. */
static uint64_t latency(void) {
    double unit = (double)(sw_random_u64() >> 11) * 0x1p-53;
    return (uint64_t)(1e6 * __builtin_exp2(3.2 * unit - 1.6));
}

static double time_of(struct sw_recorder *recorder, void (*fn)(struct sw_recorder *recorder, size_t i)) {
    struct sw_clock *clock = sw_clock_system();
    for (size_t r = 0; r < ROUNDS; r++) {
        uint64_t start_ns = sw_now_ns(clock);
        for (size_t i = 0; i < CALLS; i++) {
            fn(recorder, i);
        }
        rounds[r] = (double)(sw_now_ns(clock) - start_ns) / CALLS;
    }
    return median();
}

static void success(struct sw_recorder *recorder, size_t i) {
    sw_recorder_success(recorder, latencies[i]);
}

static void verdict(struct sw_recorder *recorder, size_t i) {
    uint8_t value = i & 1;
    sw_recorder_verdicts(recorder, &value, 1);
}

static void prediction(struct sw_recorder *recorder, size_t i) {
    float value = (float)latencies[i] / 1e7f;
    sw_recorder_predictions_f32(recorder, &value, 1);
}

static double time_of_collect(struct sw_recorder *recorder) {
    struct sw_clock *clock = sw_clock_system();
    for (size_t r = 0; r < ROUNDS; r++) {
        struct sw_recorded recorded;
        success(recorder, r);
        uint64_t start_ns = sw_now_ns(clock);
        bool is_whole = sw_recorder_collect(recorder, &recorded);
        rounds[r] = (double)(sw_now_ns(clock) - start_ns);
        SW_ASSERT(is_whole);
        sw_recorded_deinit(&recorded);
    }
    return median();
}

/* A week of traffic. */
static void fill(struct sw_history *history, uint64_t now_ms) {
    struct sw_error err;
    const struct sw_label labels[] = {{"model", "m"}, {"version", "1"}};
    struct sw_track *track = sw_history_track(history, "latency_ms", labels, 2, false, &err);
    for (uint64_t t = now_ms - SW_HISTORY_MS + SW_COARSE_MS; t <= now_ms; t += SW_FINE_MS) {
        for (int i = 0; i < PER_MINUTE; i++) {
            sw_history_add(history, track, t, t, (double)latency() / 1e6);
        }
        if (t % (3600 * 1000) == 0) {
            sw_history_expire(history, t);
        }
    }
    sw_history_expire(history, now_ms);
}

static double time_of_stats(const struct sw_history *history, uint64_t now_ms) {
    static struct sw_summary steps[SW_FINE_POINTS];
    struct sw_clock *clock = sw_clock_system();
    struct sw_query query = {.metric = "latency_ms",
                             .from_ms = now_ms / SW_FINE_MS * SW_FINE_MS - (SW_FINE_POINTS - 1) * (uint64_t)SW_FINE_MS,
                             .step_ms = SW_FINE_MS,
                             .step_count = SW_FINE_POINTS,
                             .fine = true};
    for (size_t r = 0; r < ROUNDS; r++) {
        uint64_t start_ns = sw_now_ns(clock);
        for (size_t i = 0; i < QUESTIONS; i++) {
            struct sw_summary total;
            struct sw_error err;
            size_t tracks;
            sw_status status = sw_history_query(history, &query, steps, &total, &tracks, &err);
            SW_ASSERT(!status && total.count > 0);
        }
        rounds[r] = (double)(sw_now_ns(clock) - start_ns) / QUESTIONS;
    }
    return median();
}

int main(void) {
    struct sw_recorder *recorder = sw_recorder_create();
    struct sw_history history;
    uint64_t now_ms = UINT64_C(1795219200000);
    for (size_t i = 0; i < CALLS; i++) {
        latencies[i] = latency();
    }
    printf("success     %8.1f ns\n", time_of(recorder, success));
    printf("verdict     %8.1f ns\n", time_of(recorder, verdict));
    printf("prediction  %8.1f ns\n", time_of(recorder, prediction));
    printf("collect     %8.1f us\n", time_of_collect(recorder) / 1e3);
    sw_history_init(&history, SIZE_MAX);
    fill(&history, now_ms);
    printf("stats       %8.2f ms\n", time_of_stats(&history, now_ms) / 1e6);
    printf("bytes       %8zu\n", history.bytes);
    sw_history_deinit(&history);
    sw_recorder_destroy(recorder);
    return 0;
}
