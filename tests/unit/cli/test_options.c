/* The parser of the command line, the suggestions, and that help can be made for every command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "cli/options.h"
#include "cli/suggest.h"

#define PARSE(ret, err, ...)                                                                                        \
    sw_args_parse((ret), (int)SW_COUNTOF(((char *[]){"slipway", __VA_ARGS__})), (char *[]){"slipway", __VA_ARGS__}, \
                  (err))

static void assert_usage(sw_status status, struct sw_args *args, const struct sw_error *err, const char *part) {
    assert_int_equal(status, SW_E_USAGE);
    if (!strstr(err->message, part)) {
        fail_msg("'%s' does not contain '%s'", err->message, part);
    }
    sw_args_deinit(args);
}

static void options_and_arguments_in_any_order(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "serve", "a.onnx", "--port", "9", "b.onnx", "--host=h", "-clocal.yaml"), SW_OK);
    assert_int_equal(args.command->id, SW_COMMAND_SERVE);
    assert_int_equal(args.positional_count, 2);
    assert_string_equal(args.positional[0], "a.onnx");
    assert_string_equal(args.positional[1], "b.onnx");
    assert_string_equal(sw_args_text(&args, SW_OPTION_PORT), "9");
    assert_string_equal(sw_args_text(&args, SW_OPTION_HOST), "h");
    assert_string_equal(sw_args_text(&args, SW_OPTION_CONFIG), "local.yaml");
    assert_false(sw_args_has(&args, SW_OPTION_INSECURE));
    assert_null(sw_args_text(&args, SW_OPTION_MODELS_DIR));
    sw_args_deinit(&args);
}

static void last_value_wins_and_repeats_are_kept(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "serve", "-p", "1", "-p2", "-s", "a=b", "--set", "c=d"), SW_OK);
    assert_string_equal(sw_args_text(&args, SW_OPTION_PORT), "2");
    assert_int_equal(args.given_count, 4);
    assert_string_equal(args.given[2].value, "a=b");
    assert_string_equal(args.given[3].value, "c=d");
    sw_args_deinit(&args);
}

static void two_dashes_end_the_options(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "validate", "--", "--json"), SW_OK);
    assert_false(sw_args_has(&args, SW_OPTION_JSON));
    assert_string_equal(args.positional[0], "--json");
    sw_args_deinit(&args);
    assert_int_equal(PARSE(&args, &err, "validate", "-"), SW_OK); /* a lone dash is an argument */
    assert_string_equal(args.positional[0], "-");
    sw_args_deinit(&args);
}

static void defaults_come_from_the_table(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "bench", "m"), SW_OK);
    assert_int_equal(sw_args_integer(&args, SW_OPTION_ITERATIONS), 1000);
    assert_string_equal(sw_args_text(&args, SW_OPTION_BATCH), "1");
    sw_args_deinit(&args);
}

static void integers_are_checked(void **state) {
    struct sw_args args;
    struct sw_error err;
    static char *const bad[] = {"0", "-1", "1.5", "x", "", "99999999999999999999", "1000000001", "1 "};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        char *argv[] = {"slipway", "bench", "m", "--iterations", bad[i]};
        assert_usage(sw_args_parse(&args, 5, argv, &err), &args, &err, "--iterations");
    }
    assert_int_equal(PARSE(&args, &err, "bench", "m", "-n1000000000"), SW_OK);
    assert_int_equal(sw_args_integer(&args, SW_OPTION_ITERATIONS), 1000000000);
    sw_args_deinit(&args);
}

static void faults_are_named(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_usage(PARSE(&args, &err, "serve", "--prot", "1"), &args, &err,
                 "unknown option --prot; did you mean --port?");
    assert_usage(PARSE(&args, &err, "serve", "--zzzzzz"), &args, &err, "unknown option --zzzzzz");
    assert_null(strstr(err.message, "did you mean"));
    assert_usage(PARSE(&args, &err, "serve", "-z"), &args, &err, "unknown option -z");
    assert_usage(PARSE(&args, &err, "serve", "--port"), &args, &err, "--port needs a value");
    assert_usage(PARSE(&args, &err, "serve", "--port", "--"), &args, &err, "--port needs a value");
    assert_usage(PARSE(&args, &err, "serve", "--port="), &args, &err, "--port was given an empty PORT");
    assert_usage(PARSE(&args, &err, "serve", "--insecure=yes"), &args, &err, "--insecure takes no value");
    assert_usage(PARSE(&args, &err, "serve", "--="), &args, &err, "unknown option --");
    assert_usage(PARSE(&args, &err, "serve", ""), &args, &err, "empty");
    assert_usage(PARSE(&args, &err, "validate"), &args, &err, "PATH is missing");
    assert_usage(PARSE(&args, &err, "validate", "a", "b"), &args, &err, "'b'");
    assert_usage(PARSE(&args, &err, "version", "x"), &args, &err, "one argument too many: 'x'");
}

static void missing_arguments_are_named(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_usage(PARSE(&args, &err, "model", "push"), &args, &err, "NAME PATH is missing");
    assert_usage(PARSE(&args, &err, "model", "push", "digits"), &args, &err, "PATH is missing");
    assert_null(strstr(err.message, "NAME"));
    assert_usage(PARSE(&args, &err, "model", "pull", "digits", "3"), &args, &err, "DIR is missing");
    assert_null(strstr(err.message, "VERSION"));
    assert_usage(PARSE(&args, &err, "model", "show", "digits", "3", "x"), &args, &err, "one argument too many: 'x'");
    assert_usage(PARSE(&args, &err, "model"), &args, &err, "needs a second word");
    assert_usage(PARSE(&args, &err, "model", "pusch", "a", "b"), &args, &err, "did you mean 'model push'?");
}

static void registry_commands_take_their_options(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "model", "push", "-t", "a=b", "digits", "--tag=c=d", "dir", "--metric",
                           "auc=0.9", "--promote", "--server", "http://127.0.0.1:1"),
                     SW_OK);
    assert_int_equal(args.command->id, SW_COMMAND_MODEL_PUSH);
    assert_int_equal(args.positional_count, 2);
    assert_int_equal(args.given_count, 5);
    assert_string_equal(args.given[0].value, "a=b");
    assert_string_equal(args.given[1].value, "c=d");
    assert_int_equal(sw_args_integer(&args, SW_OPTION_VERSION), 0);
    assert_string_equal(sw_args_text(&args, SW_OPTION_SERVER), "http://127.0.0.1:1");
    sw_args_deinit(&args);
    assert_int_equal(PARSE(&args, &err, "model", "gc"), SW_OK);
    assert_int_equal(sw_args_integer(&args, SW_OPTION_DAYS), 30);
    assert_false(sw_args_has(&args, SW_OPTION_DRY_RUN));
    sw_args_deinit(&args);
    assert_usage(PARSE(&args, &err, "model", "gc", "--days", "-1"), &args, &err, "--days takes a whole number from 0");
    assert_usage(PARSE(&args, &err, "model", "list", "--limit", "0"), &args, &err,
                 "--limit takes a whole number from 1");
    assert_usage(PARSE(&args, &err, "audit", "verify", "--limit", "1"), &args, &err, "unknown option --limit");
}

static void commands_are_found_or_suggested(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "config", "show"), SW_OK);
    assert_int_equal(args.command->id, SW_COMMAND_CONFIG_SHOW);
    sw_args_deinit(&args);
    assert_usage(PARSE(&args, &err, "srve"), &args, &err, "did you mean 'serve'?");
    assert_usage(PARSE(&args, &err, "config", "shwo"), &args, &err, "did you mean 'config show'?");
    assert_usage(PARSE(&args, &err, "config"), &args, &err, "needs a second word");
    assert_usage(PARSE(&args, &err, "config", "--json"), &args, &err, "needs a second word");
    assert_usage(PARSE(&args, &err, "conf"), &args, &err, "unknown command 'conf'");
    assert_usage(PARSE(&args, &err, "--json"), &args, &err, "expected a command");
    assert_int_equal(sw_args_parse(&args, 1, (char *[]){"slipway"}, &err), SW_E_USAGE);
    sw_args_deinit(&args);
}

static void help_needs_nothing_else(void **state) {
    struct sw_args args;
    struct sw_error err;
    assert_int_equal(PARSE(&args, &err, "validate", "--bogus", "-h"), SW_OK);
    assert_true(sw_args_has(&args, SW_OPTION_HELP));
    sw_args_deinit(&args);
    assert_usage(PARSE(&args, &err, "validate", "a", "b", "--", "--help"), &args, &err, "too many");
}

static void hostile_words_do_no_harm(void **state) {
    struct sw_args args;
    struct sw_error err;
    static char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = longest[1] = '-';
    assert_usage(PARSE(&args, &err, "serve", longest), &args, &err, "unknown option --xxx");
    assert_usage(PARSE(&args, &err, longest + 2), &args, &err, "unknown command 'xxx");
    assert_usage(PARSE(&args, &err, "config", longest + 2), &args, &err, "unknown command 'config xxx");
    assert_usage(PARSE(&args, &err, "serve", "--p\x1b[31m"), &args, &err, "unknown option --p?[31m");
    assert_usage(PARSE(&args, &err, "serve", "--\xff\xfe"), &args, &err, "unknown option --??");
}

static void edit_distances(void **state) {
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},      {"", "abc", 3},     {"abc", "", 3},      {"abc", "abc", 0},        {"abc", "abd", 1},
        {"abc", "ab", 1}, {"abc", "abxc", 1}, {"prot", "port", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
        {"ab", "ba", 1},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        assert_int_equal(sw_edit_distance(sw_str_of(cases[i].a), sw_str_of(cases[i].b)), cases[i].distance);
        assert_int_equal(sw_edit_distance(sw_str_of(cases[i].b), sw_str_of(cases[i].a)), cases[i].distance);
    }
    char long_word[100];
    memset(long_word, 'a', sizeof long_word);
    assert_int_equal(sw_edit_distance((struct sw_str){long_word, 65}, SW_STR("a")), SIZE_MAX);
    assert_int_equal(sw_edit_distance((struct sw_str){long_word, 64}, (struct sw_str){long_word, 60}), 4);
}

static void every_command_has_help(void **state) {
    for (size_t width = 40; width <= 100; width += 20) {
        for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
            const struct sw_command *c = &sw_commands[i];
            struct sw_buf text;
            sw_buf_init(&text, 1 << 16);
            sw_help_command(&text, c, width);
            assert_false(text.failed);
            assert_non_null(strstr(text.data, c->usage));
            assert_non_null(strstr(text.data, c->examples[0].run));
            for (size_t k = 0; k < c->option_count; k++) {
                assert_non_null(strstr(text.data, c->options[k].name));
            }
            sw_buf_deinit(&text);
        }
    }
    struct sw_buf text;
    sw_buf_init(&text, 1 << 16);
    sw_help_program(&text, 200);
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        assert_non_null(strstr(text.data, sw_commands[i].summary));
    }
    sw_buf_clear(&text);
    assert_true(sw_help_group(&text, SW_STR("config"), 80));
    assert_null(strstr(text.data, "serve"));
    assert_false(sw_help_group(&text, SW_STR("serve"), 80));
    sw_buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_in_any_order),
        cmocka_unit_test(last_value_wins_and_repeats_are_kept),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(defaults_come_from_the_table),
        cmocka_unit_test(integers_are_checked),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(missing_arguments_are_named),
        cmocka_unit_test(registry_commands_take_their_options),
        cmocka_unit_test(commands_are_found_or_suggested),
        cmocka_unit_test(help_needs_nothing_else),
        cmocka_unit_test(hostile_words_do_no_harm),
        cmocka_unit_test(edit_distances),
        cmocka_unit_test(every_command_has_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
