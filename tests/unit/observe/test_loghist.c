/* Log-linear histograms: where values go, how far off an answer may be, and the stored form. */
#include "observe/loghist.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/memory.h"

static void order_and_error_of_cells(void **state) {
    unsigned last = 0;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int i = 0; i <= 4000; i++) {
            /* ascending over all magnitudes, negative ones first */
            double exponent = (sign < 0 ? 4000 - i : i) / 4000.0 * 126 - 63;
            double value = sign * exp2(exponent);
            unsigned cell = sw_loghist_cell(value);
            assert_true(cell >= last && cell < SW_LOGHIST_CELLS);
            assert_true(fabs(sw_loghist_value(cell) - value) <= fabs(value) / 64 * (1 + 1e-12));
            last = cell;
        }
    }
    assert_int_equal(sw_loghist_cell(0), SW_LOGHIST_ZERO);
    assert_int_equal(sw_loghist_cell(-0.0), SW_LOGHIST_ZERO);
    assert_int_equal(sw_loghist_cell(1e-300), SW_LOGHIST_ZERO);
    assert_int_equal(sw_loghist_cell(ldexp(1, -64)), SW_LOGHIST_ZERO + 1);
    assert_int_equal(sw_loghist_cell(1e300), SW_LOGHIST_CELLS - 1);
    assert_int_equal(sw_loghist_cell(-1e300), 0);
    assert_true(sw_loghist_value(SW_LOGHIST_ZERO) == 0);
}

static void each_cell_holds_its_middle(void **state) {
    for (unsigned cell = 0; cell < SW_LOGHIST_CELLS; cell++) {
        assert_int_equal(sw_loghist_cell(sw_loghist_value(cell)), cell);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { VALUES = 20000, PARTS = 7 };

/* Values over nine orders of magnitude, in several histograms that are merged: each quantile is within 1.6 % of the value
 * that sorting finds. */
static void quantiles_of_merged_histograms(void **state) {
    static double values[VALUES];
    struct sw_loghist parts[PARTS] = {{0}}, all = {0};
    struct sw_loghist_sum *sum = sw_xcalloc(1, sizeof *sum);
    sw_loghist_sum_init(sum);
    for (size_t i = 0; i < VALUES; i++) {
        double uniform = (double)(sw_hash(&i, sizeof i, 1) >> 11) / (double)(1ull << 53);
        values[i] = exp(uniform * 20 - 7) * (i % 5 == 0 ? -1 : 1);
        assert_true(sw_loghist_add(&parts[i % PARTS], sw_loghist_cell(values[i]), 1));
    }
    qsort(values, VALUES, sizeof *values, ascending);
    for (size_t i = 0; i < PARTS; i++) {
        sw_loghist_sum_merge(sum, &parts[i]);
        assert_true(sw_loghist_merge(&all, &parts[i]));
        sw_loghist_deinit(&parts[i]);
    }
    for (int percent = 0; percent <= 100; percent++) {
        size_t rank = (size_t)ceil(percent / 100.0 * VALUES);
        double wanted = values[rank ? rank - 1 : 0], got = sw_loghist_sum_quantile(sum, percent / 100.0);
        assert_true(fabs(got - wanted) <= fabs(wanted) / 64 * (1 + 1e-9));
    }
    /* Merged before or after makes no difference. */
    double before = sw_loghist_sum_quantile(sum, 0.95);
    sw_loghist_sum_clear(sum);
    assert_true(isnan(sw_loghist_sum_quantile(sum, 0.5)));
    sw_loghist_sum_merge(sum, &all);
    assert_int_equal(sum->total, VALUES);
    assert_true(sw_loghist_sum_quantile(sum, 0.95) == before);
    sw_loghist_deinit(&all);
    sw_free(sum);
}

static void a_cleared_sum_is_empty_everywhere(void **state) {
    struct sw_loghist hist = {0};
    struct sw_loghist_sum *sum = sw_xcalloc(1, sizeof *sum);
    sw_loghist_sum_init(sum);
    assert_true(sw_loghist_add(&hist, 0, 1) && sw_loghist_add(&hist, SW_LOGHIST_CELLS - 1, 1));
    sw_loghist_sum_merge(sum, &hist);
    sw_loghist_sum_clear(sum);
    for (unsigned cell = 0; cell < SW_LOGHIST_CELLS; cell++) {
        assert_int_equal(sum->counts[cell], 0);
    }
    sw_loghist_deinit(&hist);
    sw_free(sum);
}

static void counts_stay_at_their_maximum(void **state) {
    struct sw_loghist hist = {0};
    assert_true(sw_loghist_add(&hist, 7, UINT32_MAX - 1));
    assert_true(sw_loghist_add(&hist, 7, 5));
    assert_int_equal(hist.entries[0].count, UINT32_MAX);
    assert_true(sw_loghist_add(&hist, 8, UINT64_MAX));
    assert_int_equal(hist.entries[1].count, UINT32_MAX);
    assert_true(sw_loghist_add(&hist, 9, 0));
    assert_int_equal(hist.used, 2);
    sw_loghist_deinit(&hist);
}

static void stored_form_reads_back(void **state) {
    struct sw_loghist hist = {0}, back;
    struct sw_buf text;
    sw_buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < SW_LOGHIST_CELLS; i++) { /* all of them, in an order that is none */
        assert_true(sw_loghist_add(&hist, (i * 4099u) % SW_LOGHIST_CELLS, i + 1));
    }
    sw_loghist_write(&hist, &text);
    assert_false(text.failed);
    assert_true(sw_loghist_read(sw_buf_str(&text), &back));
    assert_int_equal(back.used, SW_LOGHIST_CELLS);
    for (size_t i = 0; i < SW_LOGHIST_CELLS; i++) {
        assert_int_equal(back.entries[i].cell, i);
        assert_int_equal(back.entries[i].count, hist.entries[i].count);
    }
    sw_loghist_deinit(&back);
    sw_loghist_deinit(&hist);
    sw_buf_clear(&text);
    sw_loghist_write(&hist, &text);
    assert_int_equal(text.len, 0);
    assert_true(sw_loghist_read(SW_STR(""), &back));
    assert_int_equal(back.used, 0);
    sw_buf_deinit(&text);
}

static void malformed_forms_are_refused(void **state) {
    static const char *const bad[] = {
        " ",      "1",    "1:",   ":1",      "1:0",          "1:2 ", " 1:2", "1:2  3:4", "3:1 3:1", "3:1 2:1",
        "8193:1", "-1:1", "1:-1", "1:1,2:1", "1:4294967296", "x:1",  "1:x",  "1:1 2",    "1:1:1",   "1:1\n2:1",
    };
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        struct sw_loghist hist;
        if (sw_loghist_read(sw_str_of(bad[i]), &hist)) {
            fail_msg("'%s' is taken", bad[i]);
        }
        assert_null(hist.entries);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_error_of_cells),       cmocka_unit_test(each_cell_holds_its_middle),
        cmocka_unit_test(quantiles_of_merged_histograms), cmocka_unit_test(a_cleared_sum_is_empty_everywhere),
        cmocka_unit_test(counts_stay_at_their_maximum),   cmocka_unit_test(stored_form_reads_back),
        cmocka_unit_test(malformed_forms_are_refused),
    };
    return cmocka_run_group_tests_name("observe/loghist", tests, NULL, NULL);
}
