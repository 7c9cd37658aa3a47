/* The history: rings over seven days, gaps, late values, bounds, and what a restart brings back. */
#include "observe/history.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/memory.h"

#define MINUTE ((uint64_t)SW_FINE_MS)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define T0 (1795219200000ull) /* 2026-11-21, 00:00 UTC */

static struct sw_history history;

static int setup(void **state) {
    sw_history_init(&history, 64 << 20);
    return 0;
}

static int teardown(void **state) {
    sw_history_deinit(&history);
    return 0;
}

static struct sw_track *track_of(const char *metric, const char *model, const char *version, bool is_client) {
    struct sw_error err;
    const struct sw_label labels[] = {{"version", version}, {"model", model}};
    struct sw_track *track = sw_history_track(&history, metric, labels, model ? 2 : 0, is_client, &err);
    assert_non_null(track);
    return track;
}

static void add(struct sw_track *track, uint64_t time_ms, double value) {
    assert_true(sw_history_add(&history, track, time_ms, time_ms, value));
}

static struct sw_summary ask(struct sw_query query, struct sw_summary *steps) {
    struct sw_summary total;
    struct sw_error err;
    size_t tracks;
    assert_int_equal(sw_history_query(&history, &query, steps, &total, &tracks, &err), SW_OK);
    return total;
}

static struct sw_summary ask_between(uint64_t from_ms, uint64_t step_ms, size_t steps, struct sw_summary *ret) {
    return ask(
        (struct sw_query){.metric = "m", .from_ms = from_ms, .step_ms = step_ms, .step_count = steps, .fine = true},
        ret);
}

static bool near(double a, double b) {
    return fabs(a - b) <= fabs(b) * 1e-9;
}

static void one_minute(void **state) {
    struct sw_track *track = track_of("m", NULL, NULL, false);
    for (int i = 1; i <= 100; i++) {
        add(track, T0 + (uint64_t)i, i);
    }
    struct sw_summary s = ask_between(T0, MINUTE, 1, NULL);
    assert_int_equal(s.count, 100);
    assert_true(near(s.mean, 50.5) && near(s.sum, 5050) && s.min == 1 && s.max == 100);
    assert_true(near(s.std, sqrt(833.25)));
    assert_true(fabs(s.p50 - 50) <= 50 / 64.0 && fabs(s.p95 - 95) <= 95 / 64.0 && fabs(s.p99 - 99) <= 99 / 64.0);
}

static void gaps_are_quiet_times(void **state) {
    struct sw_track *track = track_of("m", NULL, NULL, false);
    struct sw_summary steps[5];
    add(track, T0, 1);
    add(track, T0 + 3 * MINUTE + 59999, 5);
    struct sw_summary total = ask_between(T0 - MINUTE, MINUTE, 5, steps);
    static const uint64_t counts[] = {0, 1, 0, 0, 1};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(steps[i].count, counts[i]);
        assert_int_equal(steps[i].start_ms, T0 - MINUTE + i * MINUTE);
        assert_int_equal(isnan(steps[i].mean), counts[i] == 0);
        assert_int_equal(isnan(steps[i].p95), counts[i] == 0);
        assert_int_equal(isnan(steps[i].std), counts[i] == 0);
    }
    assert_int_equal(total.count, 2);
    assert_true(total.mean == 3 && total.min == 1 && total.max == 5);
}

static void equal_values_do_not_spread(void **state) {
    struct sw_track *track = track_of("m", NULL, NULL, false);
    for (int i = 0; i < 1000; i++) {
        add(track, T0, 0.1);
    }
    struct sw_summary s = ask_between(T0, MINUTE, 1, NULL);
    assert_true(s.std == 0 && s.mean == 0.1 && s.p50 == 0.1 && s.p99 == 0.1);
}

/* Every minute for eight days: minutes reach back one day, ten minutes seven. */
static void seven_days(void **state) {
    struct sw_track *track = track_of("m", NULL, NULL, false);
    static struct sw_summary steps[SW_QUERY_STEPS_MAX];
    uint64_t end = T0 + 8 * DAY;
    for (uint64_t t = T0; t < end; t += MINUTE) {
        add(track, t, (double)((t - T0) / DAY));
        if (t % HOUR == 0) {
            sw_history_expire(&history, t);
        }
    }
    sw_history_expire(&history, end - 1);
    struct sw_summary fine = ask_between(end - DAY, MINUTE, 1440, steps);
    assert_int_equal(fine.count, 1440);
    assert_true(fine.min == 7 && fine.max == 7);
    assert_int_equal(ask_between(end - 2 * DAY, MINUTE, 1440, NULL).count, 0); /* minutes of the day before are gone */
    struct sw_query week = {.metric = "m", .from_ms = end - 7 * DAY, .step_ms = DAY, .step_count = 7};
    struct sw_summary total = ask(week, steps);
    assert_int_equal(total.count, 7 * 1440);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(steps[i].count, 1440);
        assert_true(steps[i].mean == (double)i + 1 && steps[i].max == (double)i + 1);
    }
    week.from_ms = T0;
    week.step_count = 1;
    assert_int_equal(ask(week, NULL).count, 0); /* the first day is gone */
    size_t points = 0;
    for (size_t i = 0; i < SW_FINE_POINTS; i++) {
        points += track->fine[i] != NULL;
    }
    assert_int_equal(points, SW_FINE_POINTS);
}

static void late_values_find_their_place(void **state) {
    struct sw_track *track = track_of("m", NULL, NULL, true);
    uint64_t now = T0 + 10 * DAY;
    add(track, now, 1);
    assert_true(sw_history_add(&history, track, now, now - 5 * MINUTE, 2));
    assert_int_equal(ask_between(now - 5 * MINUTE, MINUTE, 1, NULL).count, 1);
    /* Older than a day: in ten minutes only. */
    assert_true(sw_history_add(&history, track, now, now - 3 * DAY, 3));
    struct sw_query coarse = {.metric = "m", .from_ms = now - 3 * DAY, .step_ms = SW_COARSE_MS, .step_count = 1};
    assert_int_equal(ask(coarse, NULL).count, 1);
    assert_int_equal(ask_between(now - 3 * DAY, MINUTE, 1, NULL).count, 0);
    /* A minute that is a day old to the minute stands where today's stands. */
    assert_true(sw_history_add(&history, track, now, now - DAY, 4));
    assert_int_equal(ask_between(now, MINUTE, 1, NULL).count, 1);
    /* Too old, and too far ahead. */
    uint64_t dropped = history.dropped;
    assert_false(sw_history_add(&history, track, now, now - 7 * DAY, 5));
    assert_false(sw_history_add(&history, track, now, now + 7 * DAY, 5));
    assert_int_equal(history.dropped, dropped + 2);
}

/* A clock that was a year ahead for a while, and was then set right. */
static void a_clock_set_back_does_no_harm(void **state) {
    struct sw_track *track = track_of("m", NULL, NULL, false);
    uint64_t ahead = T0 + 365 * DAY;
    for (uint64_t t = ahead; t < ahead + HOUR; t += MINUTE) {
        add(track, t, 9);
    }
    size_t lost = 0;
    for (uint64_t t = T0; t < T0 + 3 * HOUR; t += MINUTE) {
        lost += !sw_history_add(&history, track, t, t, 1);
    }
    assert_in_range(lost, 0, 60); /* places that the future took */
    struct sw_summary s = ask_between(T0, 3 * HOUR, 1, NULL);
    assert_in_range(s.count, 120, 180);
    assert_true(s.max == 1);
}

static void labels_choose_and_merge(void **state) {
    struct sw_track *one = track_of("m", "digits", "1", false), *two = track_of("m", "digits", "2", false);
    struct sw_track *other = track_of("m", "sum", "1", false);
    const struct sw_label swapped[] = {{"model", "digits"}, {"version", "1"}};
    struct sw_error err;
    assert_ptr_equal(one, sw_history_track(&history, "m", swapped, 2, false, &err));
    assert_string_equal(one->labels_json, "{\"model\":\"digits\",\"version\":\"1\"}");
    assert_ptr_equal(one, sw_history_track_json(&history, "m", one->labels_json, false, &err));
    assert_ptr_not_equal(one, two);
    struct sw_point failed = {.failures = {[SW_FAILURE_SERVER] = 3, [SW_FAILURE_CLIENT] = 1}};
    add(one, T0, 10);
    add(two, T0, 20);
    add(two, T0 + MINUTE, 30);
    add(other, T0, 1000);
    assert_true(sw_history_merge(&history, two, T0, T0, &failed));
    struct sw_query query = {.metric = "m",
                             .labels = {{"model", "digits"}},
                             .label_count = 1,
                             .from_ms = T0,
                             .step_ms = 2 * MINUTE,
                             .step_count = 1,
                             .fine = true};
    struct sw_summary s = ask(query, NULL);
    assert_int_equal(s.count, 3);
    assert_true(s.mean == 20 && s.min == 10 && s.max == 30);
    assert_int_equal(sw_summary_requests(&s), 7);
    assert_true(near(sw_summary_failure_rate(&s, SW_FAILURE_SERVER), 3.0 / 7));
    query.labels[1] = (struct sw_label){"version", "2"};
    query.label_count = 2;
    assert_int_equal(ask(query, NULL).count, 2);
    query.labels[1].value = "9";
    s = ask(query, NULL);
    assert_int_equal(s.count, 0);
    assert_true(isnan(sw_summary_failure_rate(&s, SW_FAILURE_SERVER)));
    query.label_count = 0;
    assert_int_equal(ask(query, NULL).count, 4);
}

static void tracks_of_clients_are_bounded(void **state) {
    struct sw_error err;
    char name[32];
    for (int i = 0; i < SW_CLIENT_TRACKS_MAX; i++) {
        snprintf(name, sizeof name, "c%d", i);
        add(track_of(name, NULL, NULL, true), T0, 1);
    }
    assert_null(sw_history_track(&history, "one_more", NULL, 0, true, &err));
    assert_int_equal(err.code, SW_E_UNPROCESSABLE);
    assert_non_null(strstr(err.message, "256 series"));
    assert_non_null(sw_history_track(&history, "c7", NULL, 0, true, &err)); /* known ones are still found */
    assert_non_null(sw_history_track(&history, "own", NULL, 0, false, &err));
    add(track_of("c0", NULL, NULL, true), T0 + 6 * DAY, 1);
    sw_history_expire(&history, T0 + 8 * DAY); /* all but c0 fell silent: their places are free */
    assert_int_equal(history.client_count, 1);
    assert_non_null(sw_history_track(&history, "one_more", NULL, 0, true, &err));
}

static void stored_labels_are_checked(void **state) {
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "{\"a\":1}",
        "{\"a\":\"b\"",
        "{\"a\":\"b\",\"a\":\"c\"}",
        "{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\",\"e\":\"\",\"f\":\"\",\"g\":\"\",\"h\":"
        "\"\",\"i\":\"\"}"};
    struct sw_error err;
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_null(sw_history_track_json(&history, "m", bad[i], false, &err));
        assert_int_equal(err.code, SW_E_INVALID_ARGUMENT);
    }
    assert_int_equal(history.track_count, 0);
}

/* When memory runs out the oldest minutes go first; the newest hour and day stay. */
static void memory_is_bounded(void **state) {
    history.bytes_max = 2 << 20;
    uint64_t end = T0 + 2 * DAY;
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, i ? "m%d" : "m", i);
        struct sw_track *track = track_of(name, NULL, NULL, false);
        for (uint64_t t = T0; t < end; t += MINUTE) {
            add(track, t, (double)(t % 977));
            add(track, t, (double)(t % 1009));
        }
    }
    assert_true(history.bytes > history.bytes_max);
    sw_history_expire(&history, end - 1);
    assert_true(history.bytes <= history.bytes_max);
    assert_int_equal(ask_between(end - HOUR, HOUR, 1, NULL).count, 120);
    assert_true(ask_between(end - DAY, MINUTE, 1440, NULL).count < 2880);
    struct sw_query day = {.metric = "m", .from_ms = end - DAY, .step_ms = DAY, .step_count = 1};
    assert_int_equal(ask(day, NULL).count, 2880);
    /* And clients get no new series while there is no room. */
    struct sw_error err;
    history.bytes_max = history.bytes;
    assert_null(sw_history_track(&history, "new", NULL, 0, true, &err));
    assert_int_equal(err.code, SW_E_UNPROCESSABLE);
}

/* ---- over a restart */

static void copy_to(struct sw_history *to, const struct sw_saved_points *points, uint64_t now_ms) {
    for (size_t i = 0; i < points->count; i++) {
        sw_history_restore(to, &points->items[i], now_ms);
    }
}

static void changed_points_are_taken_once(void **state) {
    struct sw_track *track = track_of("m", "digits", "1", false);
    struct sw_saved_points points;
    for (uint64_t i = 0; i < 25; i++) {
        add(track, T0 + i * MINUTE, 1);
    }
    size_t total = 0, rounds = 0, count;
    do {
        sw_history_take_changed(&history, 10, &points);
        count = points.count;
        total += count;
        rounds += count > 0;
        sw_saved_points_deinit(&points);
    } while (count);
    assert_int_equal(total, 25 + 3); /* minutes, and ten minutes */
    assert_int_equal(rounds, 3);
    sw_history_take_changed(&history, 10, &points);
    assert_int_equal(points.count, 0);
    sw_saved_points_deinit(&points);
    add(track, T0 + 24 * MINUTE, 1); /* changes one of each */
    sw_history_take_changed(&history, 10, &points);
    assert_int_equal(points.count, 2);
    sw_history_put_back(&history, &points);
    sw_saved_points_deinit(&points);
    sw_history_take_changed(&history, 10, &points);
    assert_int_equal(points.count, 2);
    sw_saved_points_deinit(&points);
}

static void a_restart_loses_nothing(void **state) {
    struct sw_track *track = track_of("m", "digits", "1", false);
    struct sw_point failed = {.failures = {[SW_FAILURE_REJECTED] = 2}};
    for (uint64_t i = 0; i < 90; i++) {
        add(track, T0 + i * MINUTE, (double)i);
    }
    assert_true(sw_history_merge(&history, track, T0, T0, &failed));
    struct sw_saved_points points;
    sw_history_take_changed(&history, 1000, &points);
    struct sw_summary before = ask_between(T0, MINUTE * 90, 1, NULL);

    struct sw_history fresh;
    struct sw_history old = history;
    sw_history_init(&fresh, 64 << 20);
    history = fresh;
    /* Something happened since the start, in a minute that is stored too. */
    add(track_of("m", "digits", "1", false), T0 + 89 * MINUTE, 1000);
    copy_to(&history, &points, T0 + 89 * MINUTE);
    struct sw_summary after = ask_between(T0, MINUTE * 90, 1, NULL);
    assert_int_equal(after.count, before.count + 1);
    assert_int_equal(after.failures[SW_FAILURE_REJECTED], 2);
    assert_true(near(after.sum, before.sum + 1000) && after.min == 0 && after.max == 1000);
    assert_true(fabs(after.p50 - 45) <= 45 / 64.0); /* the 46th of 91 */
    sw_saved_points_deinit(&points);
    /* Only what the store does not have is written again: that minute, and its ten minutes. */
    sw_history_take_changed(&history, 1000, &points);
    assert_int_equal(points.count, 2);
    assert_int_equal(points.items[0].point.count, 2);
    sw_saved_points_deinit(&points);
    sw_history_deinit(&old);
}

static void what_is_stored_for_later_is_ignored(void **state) {
    struct sw_saved_point saved = {.metric = (char[]){"m"},
                                   .labels_json = (char[]){"{}"},
                                   .span_ms = SW_FINE_MS,
                                   .point = {.start_ms = T0 + MINUTE, .count = 1, .sum = 1, .min = 1, .max = 1}};
    sw_history_restore(&history, &saved, T0);
    assert_int_equal(history.track_count, 0);
    saved.point.start_ms = T0 - 2 * DAY; /* a minute of the day before yesterday */
    sw_history_restore(&history, &saved, T0);
    assert_int_equal(ask_between(T0 - 2 * DAY, MINUTE, 1, NULL).count, 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(one_minute),
        CASE(gaps_are_quiet_times),
        CASE(equal_values_do_not_spread),
        CASE(seven_days),
        CASE(late_values_find_their_place),
        CASE(a_clock_set_back_does_no_harm),
        CASE(labels_choose_and_merge),
        CASE(tracks_of_clients_are_bounded),
        CASE(stored_labels_are_checked),
        CASE(memory_is_bounded),
        CASE(changed_points_are_taken_once),
        CASE(a_restart_loses_nothing),
        CASE(what_is_stored_for_later_is_ignored),
    };
    return cmocka_run_group_tests_name("observe/history", tests, NULL, NULL);
}
