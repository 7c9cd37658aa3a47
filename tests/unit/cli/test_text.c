/* What people see and write: tables, progress, bytes, moments, pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/progress.h"
#include "cli/registry_config.h"
#include "cli/table.h"
#include "cli/when.h"

static const char *line(const char *label, uint64_t done, uint64_t total, double rate, size_t width) {
    static char text[SW_PROGRESS_LINE_MAX];
    sw_progress_format(label, done, total, rate, width, text);
    return text;
}

static void progress_lines(void **state) {
    assert_string_equal(line("model.onnx", 0, 2048, 0, 50), "model.onnx  [>            ]    0 %  0 B of 2.0 KiB");
    assert_string_equal(line("m", 512 << 20, 1 << 30, 64.0 * (1 << 20), 79),
                        "m  [============>            ]   50 %  512 MiB of 1.0 GiB  64.0 MiB/s  8 s left");
    assert_string_equal(line("m", 2048, 2048, 0, 40), "m  [========]  100 %  2.0 KiB of 2.0 KiB");
    assert_string_equal(line("m", 0, 0, 0, 30), "m  [======]  100 %  0 B of 0 B");
    assert_string_equal(line("m", 4096, 2048, 10, 60), "m  [==========]  100 %  4.0 KiB of 2.0 KiB  10 B/s  0 s left");
    assert_string_equal(line("m", 2047, 2048, 0, 34), "m   99 %  2.0 KiB of 2.0 KiB");
    assert_int_equal(strlen(line("name", 1, 1000, 3, 21)), 21);
    assert_int_equal(strlen(line("name", 1, 1000, 1e-9, 100000)), strlen(line("name", 1, 1000, 1e-9, 400)));
    char longest[2000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t width = 0; width < 200; width++) {
        assert_true(strlen(line(longest, UINT64_MAX / 2, UINT64_MAX, 1e18, width)) <= width);
    }
}

static void bytes_for_people(void **state) {
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},           {1023, "1023 B"},        {1024, "1.0 KiB"},         {1536, "1.5 KiB"},
        {102400, "100 KiB"},  {1048524, "1.0 MiB"},    {1 << 20, "1.0 MiB"},      {524288000, "500 MiB"},
        {1 << 30, "1.0 GiB"}, {1ull << 50, "1.0 PiB"}, {UINT64_MAX, "16384 PiB"},
    };
    char text[SW_BYTES_TEXT_MAX];
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        assert_string_equal(sw_format_bytes(cases[i].bytes, text), cases[i].text);
    }
    assert_string_equal(sw_format_left(59, text), "59 s");
    assert_string_equal(sw_format_left(200, text), "3 min 20 s");
    assert_string_equal(sw_format_left(7500, text), "2 h 5 min");
}

/* A bar on a file, or on nothing, draws nothing: progress is for terminals. */
static void progress_is_silent_without_a_terminal(void **state) {
    struct sw_clock clock;
    struct sw_progress progress;
    sw_clock_manual_init(&clock, 0);
    FILE *file = tmpfile();
    sw_progress_begin(&progress, file, "x", 100, &clock);
    sw_progress_set(&progress, 50);
    sw_clock_manual_advance(&clock, 1000000000);
    sw_progress_skip(&progress, 10);
    assert_int_equal(progress.done, 60);
    assert_int_equal(progress.skipped, 10);
    sw_progress_end(&progress);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    assert_int_equal(ftell(file), 0);
    fclose(file);
}

static void assert_table(const struct sw_table *table, size_t width, const char *wanted) {
    struct sw_buf out;
    sw_buf_init(&out, 1 << 16);
    sw_table_write(table, width, &out);
    assert_string_equal(out.data, wanted);
    sw_buf_deinit(&out);
}

static void tables_are_aligned(void **state) {
    struct sw_table table;
    sw_table_init(&table, "NAME", ">LIVE", "DESCRIPTION", NULL);
    assert_int_equal(sw_table_rows(&table), 0);
    sw_table_cell(&table, "digits");
    sw_table_cell_number(&table, 12);
    sw_table_cell(&table, "reads \x1b[31mdigits\nof \xc3\xa4ll kinds");
    sw_table_cell(&table, "\xc3\xa4");
    sw_table_cell(&table, NULL);
    sw_table_cell(&table, "");
    assert_int_equal(sw_table_rows(&table), 2);
    assert_table(&table, 0,
                 "NAME    LIVE  DESCRIPTION\n"
                 "digits    12  reads ?[31mdigits of \xc3\xa4ll kinds\n"
                 "\xc3\xa4          -  -\n");
    assert_table(&table, 30,
                 "NAME    LIVE  DESCRIPTION\n"
                 "digits    12  reads ?[31mdi...\n"
                 "\xc3\xa4          -  -\n");
    assert_table(&table, 10, "NAME    LIVE  \ndigits    12  \n\xc3\xa4          -  \n");
    sw_table_deinit(&table);
}

static void hostile_text_is_cleaned(void **state) {
    char *text = sw_text_clean("a\xff\x9b"
                               "b");
    assert_string_equal(text, "a??b");
    sw_free(text);
    text = sw_text_clean("\xc2\x9b"
                         "31m\x7f\r\t");
    assert_string_equal(text, "??31m?? ");
    sw_free(text);
}

static void moments(void **state) {
    static const uint64_t now = 1800000000000;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"1970-01-01", 0},
        {"2000-02-29", 951782400000},
        {"2026-11-20", 1795132800000},
        {"2026-11-20T14:00", 1795183200000},
        {"2026-11-20T14:00:05Z", 1795183205000},
        {"2026-11-20 14:00:05.250Z", 1795183205250},
        {"9999-12-31T23:59:59Z", 253402300799000},
        {"90m", 1800000000000 - 5400000},
        {"48h", 1800000000000 - 172800000},
        {"7d", 1800000000000 - 604800000},
        {"100000d", 0},
    };
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "2026-13-01",
                                      "2026-02-30",
                                      "2026-1-1",
                                      "2026-11-20T",
                                      "2026-11-20T24:00",
                                      "2026-11-20T14:00:00+01:00",
                                      "1900-02-29",
                                      "2026-11-20x",
                                      "7",
                                      "-1d",
                                      "d",
                                      "100001d"};
    uint64_t ms;
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        if (!sw_parse_when(sw_str_of(good[i].text), now, &ms)) {
            fail_msg("%s was refused", good[i].text);
        }
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        if (sw_parse_when(sw_str_of(bad[i]), now, &ms)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void pairs_of_the_command_line(void **state) {
    json_t *object = json_object();
    struct sw_error err;
    assert_int_equal(sw_pair_parse_tag(object, "team=a=b", false, &err), SW_OK);
    assert_string_equal(json_string_value(json_object_get(object, "team")), "a=b");
    assert_int_equal(sw_pair_parse_tag(object, "gone=", true, &err), SW_OK);
    assert_true(json_is_null(json_object_get(object, "gone")));
    assert_int_equal(sw_pair_parse_tag(object, "empty=", false, &err), SW_OK);
    assert_string_equal(json_string_value(json_object_get(object, "empty")), "");
    assert_int_equal(sw_pair_parse_metric(object, "auc=0.5", &err), SW_OK);
    assert_true(json_real_value(json_object_get(object, "auc")) == 0.5);
    assert_int_equal(sw_pair_parse_metric(object, "n=-1e3", &err), SW_OK);
    static const char *const bad[] = {"auc", "=1", "auc=", "auc=x", "auc=1x", "auc=nan", "auc=inf", "auc=1e999"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_int_equal(sw_pair_parse_metric(object, bad[i], &err), SW_E_USAGE);
    }
    assert_int_equal(sw_pair_parse_tag(object, "team", false, &err), SW_E_USAGE);
    assert_non_null(strstr(err.message, "'team'"));
    assert_int_equal(sw_pair_parse_tag(object, "a=\xff", false, &err), SW_E_USAGE);
    json_decref(object);
}

static void members_of_documents(void **state) {
    json_t *object = json_pack("{s:s, s:i, s:n, s:f}", "time", "2026-11-20T21:51:18.123Z", "n", 3, "none", "real",
                               0.25);
    char text[32];
    assert_string_equal(sw_json_time(object, "time", text), "2026-11-20 21:51:18");
    assert_string_equal(sw_json_time(object, "none", text), "-");
    assert_string_equal(sw_json_number(object, "n", text), "3");
    assert_string_equal(sw_json_number(object, "real", text), "0.25");
    assert_string_equal(sw_json_number(object, "none", text), "-");
    assert_string_equal(sw_json_text(object, "n"), "");
    assert_string_equal(sw_json_text(NULL, "n"), "");
    json_decref(object);
}

static void version_policies(void **state) {
    struct sw_version_policy policy;
    assert_true(sw_policy_text_parse(SW_STR("live"), &policy));
    assert_int_equal(policy.kind, SW_POLICY_LIVE);
    assert_true(sw_policy_text_parse(SW_STR("all"), &policy));
    assert_int_equal(policy.kind, SW_POLICY_ALL);
    assert_true(sw_policy_text_parse(SW_STR("latest:3"), &policy));
    assert_int_equal(policy.kind, SW_POLICY_LATEST);
    assert_int_equal(policy.latest, 3);
    static const char *const bad[] = {"",         "latest", "latest:", "latest:0", "latest:1001",
                                      "latest:x", "live:1", "all:",    "LIVE"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        assert_false(sw_policy_text_parse(sw_str_of(bad[i]), &policy));
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_lines),
        cmocka_unit_test(bytes_for_people),
        cmocka_unit_test(progress_is_silent_without_a_terminal),
        cmocka_unit_test(tables_are_aligned),
        cmocka_unit_test(hostile_text_is_cleaned),
        cmocka_unit_test(moments),
        cmocka_unit_test(pairs_of_the_command_line),
        cmocka_unit_test(members_of_documents),
        cmocka_unit_test(version_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
