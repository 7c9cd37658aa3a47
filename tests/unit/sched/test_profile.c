/* Run times by size, and the plan made of them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sched/profile.h"
#include "session.h"

/* run_ns for the run and row_ns for each row: of 1, 2, 4, ... up to `max`. */
static struct sw_profile linear(uint64_t run_ns, uint64_t row_ns, uint64_t max) {
    struct sw_profile p = {0};
    for (uint64_t n = 1; n <= max; n *= 2) {
        sw_profile_set(&p, n, run_ns + n * row_ns);
    }
    return p;
}

static void between_and_beyond(void **state) {
    struct sw_profile p = {0};
    assert_int_equal(sw_profile_ns(&p, 1), 0);
    sw_profile_set(&p, 4, 1000);
    assert_int_equal(sw_profile_ns(&p, 1), 1000); /* not more than that */
    assert_int_equal(sw_profile_ns(&p, 4), 1000);
    assert_int_equal(sw_profile_ns(&p, 12), 3000);
    sw_profile_set(&p, 16, 2200);
    assert_int_equal(sw_profile_ns(&p, 10), 1600);
    assert_int_equal(sw_profile_ns(&p, 0), 1000);
    sw_profile_set(&p, 3, 5); /* no power of two */
    sw_profile_set(&p, UINT64_C(1) << 40, 5);
    assert_int_equal(sw_profile_ns(&p, 4), 1000);
    assert_int_equal(sw_profile_ns(&p, UINT64_MAX), UINT64_C(1000000000000000000));
}

static void learns(void **state) {
    struct sw_profile p = linear(1000, 100, 64);
    for (int i = 0; i < 200; i++) {
        sw_profile_observe(&p, 24, 2 * (1000 + 24 * 100)); /* twice as slow as at load */
    }
    assert_in_range(sw_profile_ns(&p, 24), 6700, 6900);
    assert_int_equal(sw_profile_ns(&p, 1), 1100); /* others stay */
    struct sw_profile once = linear(1000, 100, 64);
    sw_profile_observe(&once, 8, UINT64_C(1000000000)); /* held up for a second: counts as four times */
    assert_in_range(sw_profile_ns(&once, 8), 1800, 1800 * 14 / 10);
    struct sw_profile none = {0};
    sw_profile_observe(&none, 5, 700);
    assert_int_equal(sw_profile_ns(&none, 4), 700);
    sw_profile_observe(&none, 8, 900);
    assert_int_equal(sw_profile_ns(&none, 8), 900);
    sw_profile_observe(&none, 100000000, 900); /* beyond all points */
    assert_true(sw_profile_ns(&none, 8) > 0);
}

static struct sw_plan plan(const struct sw_profile *p, struct sw_plan_options o) {
    struct sw_plan made;
    o.profile = p;
    sw_plan_make(&o, &made);
    return made;
}

static void modes(void **state) {
    struct sw_profile tiny = linear(2000, 160, 64), big = linear(480000, 140000, 64), flat = linear(0, 800000, 64);
    struct sw_profile middle = linear(80000, 5000, 64), unknown = {0};
    struct sw_plan p = plan(&tiny,
                            (struct sw_plan_options){.can_batch = true, .can_inline = true, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_INLINE); /* saves 2 us a row: not worth a change of threads */
    assert_int_equal(p.max_batch, 1);
    p = plan(&tiny, (struct sw_plan_options){.can_batch = true, .can_inline = true, .inline_ns_max = 0});
    assert_int_equal(p.mode, SW_RUN_BATCHED);
    p = plan(&tiny, (struct sw_plan_options){.can_batch = true, .can_inline = false, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_BATCHED); /* on a worker anyway */
    p = plan(&middle, (struct sw_plan_options){.can_batch = true, .can_inline = true, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_BATCHED); /* saves 79 us a row */
    p = plan(&middle, (struct sw_plan_options){.can_batch = false, .can_inline = true, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_INLINE);
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .can_inline = true, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_BATCHED);
    assert_int_equal(p.max_batch, 64);
    assert_int_equal(p.enough, 32); /* 155 us a row, against 147.5 us in 64 */
    assert_true(fabs(p.gain - 620.0 / 147.5) < 0.01);
    assert_string_equal(p.reason, "a row takes 620.0 us alone and 147.5 us in a batch of 64");
    p = plan(&flat, (struct sw_plan_options){.can_batch = true, .can_inline = true, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_SINGLE);
    assert_string_equal(p.reason, "a run takes 800.0 us, and rows cost hardly less together (gain 1.00)");
    p = plan(&unknown, (struct sw_plan_options){.can_batch = true, .can_inline = true, .inline_ns_max = 100000});
    assert_int_equal(p.mode, SW_RUN_SINGLE);
    assert_string_equal(sw_run_mode_name(SW_RUN_BATCHED), "batched");
}

static void limits(void **state) {
    struct sw_profile big = linear(480000, 140000, 64);
    struct sw_plan p = plan(&big, (struct sw_plan_options){.can_batch = true, .max_batch = 8});
    assert_int_equal(p.max_batch, 8);
    assert_int_equal(p.enough, 8);
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .max_batch = 1});
    assert_int_equal(p.mode, SW_RUN_SINGLE);
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .max_batch = 100});
    assert_int_equal(p.max_batch, 100);
    /* 16 rows take 2.7 ms, 32 take 5 ms */
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .batch_ns_max = 4000000});
    assert_int_equal(p.max_batch, 16);
    /* One row alone takes longer: the limit is for others. */
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .batch_ns_max = 400000});
    assert_int_equal(p.max_batch, 64);
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .bytes_per_unit = SW_BATCH_BYTES_MAX / 20});
    assert_int_equal(p.max_batch, 16);
    p = plan(&big, (struct sw_plan_options){.can_batch = true, .bytes_per_unit = UINT64_MAX});
    assert_int_equal(p.mode, SW_RUN_SINGLE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_and_beyond),
        cmocka_unit_test(learns),
        cmocka_unit_test(modes),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests_name("sched/profile", tests, NULL, NULL);
}
