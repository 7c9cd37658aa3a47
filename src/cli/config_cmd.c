/* slipway config show, slipway config check. */
#include "base/memory.h"
#include "cli/cli.h"

enum { OUTPUT_BYTES_MAX = 1 << 20 };

int sw_run_config_show(const struct sw_args *args) {
    int code;
    struct sw_config *config = sw_cli_config(args, &code);
    if (!config) {
        return code;
    }
    if (sw_args_has(args, SW_OPTION_JSON)) {
        json_t *json = sw_config_to_json(config);
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else {
        struct sw_buf text;
        sw_buf_init(&text, OUTPUT_BYTES_MAX);
        sw_config_write_yaml(config, &text);
        sw_cli_print_buf(stdout, &text);
        sw_buf_deinit(&text);
    }
    sw_config_destroy(config);
    return SW_EXIT_DONE;
}

static void print_check_json(const char *path, const struct sw_config *config,
                             const struct sw_config_problems *problems) {
    json_t *list = json_array();
    for (size_t i = 0; i < problems->count; i++) {
        json_array_append_new(list, json_string(problems->items[i].message));
    }
    json_t *json = json_pack("{s:s, s:b, s:o}", "file", path, "ok", config != NULL, "errors", list);
    sw_cli_print_json(stdout, json);
    json_decref(json);
}

static void print_check(const char *path, const struct sw_config *config, const struct sw_config_problems *problems) {
    for (size_t i = 0; i < problems->count; i++) {
        printf("%s\n", problems->items[i].message);
    }
    if (!config) {
        printf("%s: %zu %s\n", path, problems->error_count, problems->error_count == 1 ? "error" : "errors");
        return;
    }
    size_t given = 0;
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        given += config->values[i].origin == SW_ORIGIN_FILE;
    }
    printf("%s: ok, %zu %s set\n", path, given, given == 1 ? "key" : "keys");
}

int sw_run_config_check(const struct sw_args *args) {
    const char *path = args->positional[0];
    struct sw_config_sources sources = {.file = path};
    struct sw_config *config = NULL;
    struct sw_config_problems problems = {0};
    struct sw_error err;
    sw_status status = sw_config_load(&sources, &config, &problems, &err);
    int code = status ? SW_EXIT_FAILED : SW_EXIT_DONE;
    if (status && problems.error_count == 0) {
        code = sw_cli_fail(args, &err);
    } else if (sw_args_has(args, SW_OPTION_JSON)) {
        print_check_json(path, config, &problems);
    } else {
        print_check(path, config, &problems);
    }
    sw_config_problems_deinit(&problems);
    sw_config_destroy(config);
    return code;
}
