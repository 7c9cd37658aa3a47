/* Dispatch of the commands and what they share. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/apps.h"

enum { WIDTH_MAX = 100, HELP_BYTES_MAX = 1 << 20 };

extern char **environ;

static sw_command_run *const runs[SW_COMMAND_COUNT] = {
    [SW_COMMAND_SERVE] = sw_run_serve,
    [SW_COMMAND_VALIDATE] = sw_run_validate,
    [SW_COMMAND_BENCH] = sw_run_bench,
    [SW_COMMAND_EVALUATE] = sw_run_evaluate,
    [SW_COMMAND_CALIBRATE] = sw_run_calibrate,
    [SW_COMMAND_LOAD] = sw_run_load,
    [SW_COMMAND_SLO_CHECK] = sw_run_slo_check,
    [SW_COMMAND_QUANTIZE] = sw_run_quantize,
    [SW_COMMAND_COMPARE] = sw_run_compare,
    [SW_COMMAND_DOCTOR] = sw_run_doctor,
    [SW_COMMAND_CONFIG_SHOW] = sw_run_config_show,
    [SW_COMMAND_CONFIG_CHECK] = sw_run_config_check,
    [SW_COMMAND_VERSION] = sw_run_version,
    [SW_COMMAND_HELP] = sw_run_help,
    [SW_COMMAND_MODEL_PUSH] = sw_run_model_push,
    [SW_COMMAND_MODEL_LIST] = sw_run_model_list,
    [SW_COMMAND_MODEL_SHOW] = sw_run_model_show,
    [SW_COMMAND_MODEL_PROMOTE] = sw_run_model_promote,
    [SW_COMMAND_MODEL_ROLLBACK] = sw_run_model_rollback,
    [SW_COMMAND_MODEL_ARCHIVE] = sw_run_model_archive,
    [SW_COMMAND_MODEL_UNALIAS] = sw_run_model_unalias,
    [SW_COMMAND_MODEL_DELETE] = sw_run_model_delete,
    [SW_COMMAND_MODEL_TAG] = sw_run_model_tag,
    [SW_COMMAND_MODEL_HISTORY] = sw_run_model_history,
    [SW_COMMAND_MODEL_PULL] = sw_run_model_pull,
    [SW_COMMAND_MODEL_GC] = sw_run_model_gc,
    [SW_COMMAND_BACKUP] = sw_run_backup,
    [SW_COMMAND_RESTORE] = sw_run_restore,
    [SW_COMMAND_AUDIT_LIST] = sw_run_audit_list,
    [SW_COMMAND_AUDIT_VERIFY] = sw_run_audit_verify,
};

/* --- output ------------------------------------------------------------------------------------------------------ */

size_t sw_cli_terminal_width(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO)) {
        return 0;
    }
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : WIDTH_MAX;
}

size_t sw_cli_width(void) {
    size_t columns = sw_cli_terminal_width();
    return columns && columns < WIDTH_MAX ? columns : WIDTH_MAX;
}

bool sw_cli_colours(FILE *file) {
    const char *term = getenv("TERM");
    const char *no = getenv("NO_COLOR");
    return isatty(fileno(file)) && term && strcmp(term, "dumb") != 0 && (!no || !*no);
}

void sw_cli_print_json(FILE *file, json_t *json) {
    json_dumpf(json, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', file);
}

sw_status sw_cli_check_output(const char *path, struct sw_error *err) {
    bool existed = access(path, F_OK) == 0;
    FILE *file = fopen(path, "ae");
    if (!file) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    fclose(file);
    if (!existed) {
        unlink(path); /* what fails later leaves no empty result */
    }
    return SW_OK;
}

sw_status sw_cli_write_json(const char *path, json_t *json, struct sw_error *err) {
    FILE *file = fopen(path, "we");
    if (!file) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    sw_cli_print_json(file, json);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    return SW_OK;
}

void sw_cli_print_buf(FILE *file, struct sw_buf *buf) {
    SW_ASSERT(!buf->failed);
    fwrite(buf->data, 1, buf->len, file);
}

const char *sw_cli_thousands(uint64_t number, char buffer[32]) {
    char digits[24];
    size_t n = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) {
            buffer[out++] = ',';
        }
        buffer[out++] = digits[i];
    }
    buffer[out] = '\0';
    return buffer;
}

int sw_cli_fail(const struct sw_args *args, const struct sw_error *err) {
    fflush(stdout);
    fprintf(stderr, "slipway%s%s: %s\n", args->command ? " " : "", args->command ? args->command->name : "",
            err->message);
    return sw_status_table[err->code].exit;
}

static int fail_usage(const struct sw_args *args, const struct sw_error *err) {
    int code = sw_cli_fail(args, err);
    if (args->command) {
        fprintf(stderr, "usage: %s\nTry: slipway help %s\n", args->command->usage, args->command->name);
    } else {
        fprintf(stderr, "usage: slipway COMMAND [ARGUMENT]... [OPTION]...\nTry: slipway help\n");
    }
    return code;
}

/* --- configuration from options ---------------------------------------------------------------------------------- */

/* "KEY=VALUE" of --set. */
static sw_status parse_set(const char *text, struct sw_config_flag *ret, struct sw_error *err) {
    struct sw_str id;
    struct sw_str value = sw_str_split(sw_str_of(text), '=', &id);
    const char *near;
    if (!value.data) {
        return sw_fail(err, SW_E_USAGE, "--set takes KEY=VALUE, such as log.level=debug, not '%s'", text);
    }
    if (!sw_config_find_key(id, &ret->key, &near)) {
        return sw_fail(err, SW_E_USAGE, "--set: unknown key " SW_STR_FMT "%s%s%s", SW_STR_ARG(id),
                       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    ret->value = value.data;
    ret->where = "--set";
    return SW_OK;
}

/* Flags of args, in order; *ret_flags is on the heap, their `where` in *ret_names. */
static sw_status collect_flags(const struct sw_args *args, struct sw_config_flag *flags, char (*names)[64],
                               size_t *ret_count, struct sw_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < args->given_count; i++) {
        const struct sw_option *option = args->given[i].option;
        if (option->id == SW_OPTION_SET) {
            SW_TRY(parse_set(args->given[i].value, &flags[n], err));
            n++;
        } else if (option->key >= 0) {
            snprintf(names[n], sizeof names[n], "--%s", option->name);
            const char *value = option->kind == SW_OPTION_KIND_FLAG ? "true" : args->given[i].value;
            flags[n] = (struct sw_config_flag){(enum sw_config_key)option->key, value, names[n]};
            n++;
        }
    }
    *ret_count = n;
    return SW_OK;
}

static const char *config_file(const struct sw_args *args) {
    const char *file = sw_args_text(args, SW_OPTION_CONFIG);
    if (!file) {
        file = getenv("SLIPWAY_CONFIG");
    }
    return file && *file ? file : NULL;
}

sw_status sw_cli_config_load(const struct sw_args *args, struct sw_config **ret, struct sw_config_problems *problems,
                             struct sw_error *err) {
    struct sw_config_flag *flags SW_AUTO_FREE = sw_xcalloc(args->given_count + 1, sizeof *flags);
    char(*names)[64] SW_AUTO_FREE = sw_xcalloc(args->given_count + 1, sizeof *names);
    struct sw_config_sources sources = {.file = config_file(args), .environment = environ, .flags = flags};
    SW_TRY(collect_flags(args, flags, names, &sources.flag_count, err));
    return sw_config_load(&sources, ret, problems, err);
}

struct sw_config *sw_cli_config(const struct sw_args *args, int *ret_exit) {
    struct sw_config *config = NULL;
    struct sw_config_problems problems = {0};
    struct sw_error err;
    sw_status status = sw_cli_config_load(args, &config, &problems, &err);
    for (size_t i = 0; i < problems.count; i++) {
        fprintf(stderr, "slipway %s: %s%s\n", args->command->name,
                problems.items[i].is_error ? "" : "warning: ", problems.items[i].message);
    }
    if (status) {
        if (problems.error_count == 0) {
            sw_cli_fail(args, &err);
        } else {
            fprintf(stderr, "Every key and its default: slipway config show\n");
        }
        *ret_exit = sw_status_table[status].exit;
    }
    sw_config_problems_deinit(&problems);
    return config;
}

/* --- dispatch ---------------------------------------------------------------------------------------------------- */

static void print_help(FILE *file, const struct sw_command *command) {
    struct sw_buf text;
    sw_buf_init(&text, HELP_BYTES_MAX);
    if (command) {
        sw_help_command(&text, command, sw_cli_width());
    } else {
        sw_help_program(&text, sw_cli_width());
    }
    sw_cli_print_buf(file, &text);
    sw_buf_deinit(&text);
}

int sw_run_help(const struct sw_args *args) {
    if (args->positional_count == 0) {
        print_help(stdout, NULL);
        return SW_EXIT_DONE;
    }
    char name[128];
    snprintf(name, sizeof name, "%s%s%s", args->positional[0], args->positional_count > 1 ? " " : "",
             args->positional_count > 1 ? args->positional[1] : "");
    const struct sw_command *command = sw_command_find(sw_str_of(name));
    if (command) {
        print_help(stdout, command);
        return SW_EXIT_DONE;
    }
    struct sw_buf text;
    sw_buf_init(&text, HELP_BYTES_MAX);
    bool found = sw_help_group(&text, sw_str_of(name), sw_cli_width());
    if (found) {
        sw_cli_print_buf(stdout, &text);
    }
    sw_buf_deinit(&text);
    if (found) {
        return SW_EXIT_DONE;
    }
    struct sw_error err;
    struct sw_args none;
    char *argv[] = {(char *)"slipway", (char *)args->positional[0],
                    (char *)(args->positional_count > 1 ? args->positional[1] : NULL)};
    sw_status status = sw_args_parse(&none, args->positional_count > 1 ? 3 : 2, argv, &err); /* for its suggestion */
    sw_args_deinit(&none);
    if (!status) {
        (void)sw_fail(&err, SW_E_USAGE, "unknown command '%s'", name);
    }
    return fail_usage(args, &err);
}

/* What may stand instead of a command: --help, -h, --version, -V. true when it was one of them. */
static bool run_bare_option(int argc, char **argv, int *ret_exit) {
    if (argc < 2) {
        print_help(stderr, NULL);
        *ret_exit = SW_EXIT_USAGE;
        return true;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_help(stdout, NULL);
        *ret_exit = SW_EXIT_DONE;
        return true;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        printf("slipway %s\n", SW_VERSION);
        *ret_exit = SW_EXIT_DONE;
        return true;
    }
    return false;
}

static int run(int argc, char **argv) {
    int code;
    if (run_bare_option(argc, argv, &code)) {
        return code;
    }
    struct sw_args args;
    struct sw_error err;
    if (sw_args_parse(&args, argc, argv, &err)) {
        code = fail_usage(&args, &err);
    } else if (sw_args_has(&args, SW_OPTION_HELP)) {
        print_help(stdout, args.command);
        code = SW_EXIT_DONE;
    } else {
        code = runs[args.command->id](&args);
    }
    sw_args_deinit(&args);
    return code;
}

int sw_cli_main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of write, told below */
    sw_apps_register();
    int code = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno != EPIPE) { /* `slipway help | head` is no fault */
            fprintf(stderr, "slipway: cannot write to standard output: %s\n", strerror(errno));
        }
        return code == SW_EXIT_DONE ? SW_EXIT_IMPOSSIBLE : code;
    }
    return code;
}
