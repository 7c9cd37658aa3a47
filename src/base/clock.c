#include "base/clock.h"

static uint64_t system_monotonic_ns(struct sw_clock *clock) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t system_wall_ms(struct sw_clock *clock) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static uint64_t manual_monotonic_ns(struct sw_clock *clock) {
    return __atomic_load_n(&clock->fake_ns, __ATOMIC_ACQUIRE);
}

static uint64_t manual_wall_ms(struct sw_clock *clock) {
    return manual_monotonic_ns(clock) / 1000000u;
}

static uint64_t thread_cpu_ns(struct sw_clock *clock) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct sw_clock *sw_clock_thread_cpu(void) {
    static struct sw_clock clock = {thread_cpu_ns, system_wall_ms, 0};
    return &clock;
}

struct sw_clock *sw_clock_system(void) {
    static struct sw_clock clock = {system_monotonic_ns, system_wall_ms, 0};
    return &clock;
}

void sw_clock_manual_init(struct sw_clock *clock, uint64_t start_ns) {
    *clock = (struct sw_clock){manual_monotonic_ns, manual_wall_ms, start_ns};
}

void sw_clock_manual_advance(struct sw_clock *clock, uint64_t ns) {
    __atomic_fetch_add(&clock->fake_ns, ns, __ATOMIC_ACQ_REL);
}

void sw_format_timestamp(uint64_t wall_ms, char ret_text[SW_TIMESTAMP_MAX]) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(ret_text, SW_TIMESTAMP_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret_text + n, SW_TIMESTAMP_MAX - n, ".%03uZ", (unsigned)(wall_ms % 1000));
}
