/* Recorder: what happens in the requests of one model version, counted without a lock, for the history.
 *
 * As with metrics (metrics.c), each thread counts into a shard of its own with plain stores, and the counts only ever
 * grow; whoever collects adds up the shards and gets what came since it collected last by subtraction. So the request
 * path costs a few stores, and nothing is lost or counted twice however the two meet.
 *
 *   latency_ms   time of one inference; beside it the failures, by whose fault they were
 *   verdict      1 or 0 for each element of the model's first BOOL output: its mean is the rate of positives
 *   prediction   each element of a floating-point output of the model that has one number a row (sw_api_model_observe chooses)
 *
 * Smallest and largest values are taken, not subtracted: one that comes while they are collected may be found in the next
 * collection instead of this. */
#ifndef SW_OBSERVE_RECORDER_H
#define SW_OBSERVE_RECORDER_H

#include "observe/history.h"

struct sw_recorder;

struct sw_recorder *sw_recorder_create(void);
void sw_recorder_destroy(struct sw_recorder *recorder); /* NULL is allowed */

/* Any thread. Lost when memory for the thread's shard is out. */
void sw_recorder_success(struct sw_recorder *recorder, uint64_t latency_ns);
void sw_recorder_failure(struct sw_recorder *recorder, enum sw_failure failure);
void sw_recorder_verdicts(struct sw_recorder *recorder, const uint8_t *values, size_t count); /* 0 or 1 each */
/* Values that are not finite or larger than SW_HISTORY_VALUE_MAX are left out. */
void sw_recorder_predictions_f32(struct sw_recorder *recorder, const float *values, size_t count);
void sw_recorder_predictions_f64(struct sw_recorder *recorder, const double *values, size_t count);

/* What came since the last call; one caller at a time. The points' distributions are owned by the caller. False: out of
 * memory, then some of the distribution is missing. */
struct sw_recorded {
    struct sw_point latency, verdict, prediction;
};
bool sw_recorder_collect(struct sw_recorder *recorder, struct sw_recorded *ret);
void sw_recorded_deinit(struct sw_recorded *recorded);

#endif
