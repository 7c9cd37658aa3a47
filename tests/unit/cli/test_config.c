/* The configuration loader: order of the sources, every kind of fault, and output that reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/yaml.h"
#include "cli/config.h"

static char file_path[64];

/* Writes the text into the test's file and gives its path. */
static const char *file_with(const char *text) {
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return file_path;
}

static int make_file(void **state) {
    snprintf(file_path, sizeof file_path, "/tmp/slipway-test-config-XXXXXX");
    int fd = mkstemp(file_path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    return unlink(file_path);
}

static struct sw_config *load(const struct sw_config_sources *sources) {
    struct sw_config *config;
    struct sw_error err;
    if (sw_config_load(sources, &config, NULL, &err)) {
        fail_msg("%s", err.message);
    }
    return config;
}

/* Loading must fail with a message that holds `part`. */
static void assert_refused(const struct sw_config_sources *sources, const char *part) {
    struct sw_config *config = NULL;
    struct sw_error err;
    assert_int_equal(sw_config_load(sources, &config, NULL, &err), SW_E_USAGE);
    assert_null(config);
    if (!strstr(err.message, part)) {
        fail_msg("'%s' does not contain '%s'", err.message, part);
    }
}

static void assert_file_refused(const char *text, const char *part) {
    assert_refused(&(struct sw_config_sources){.file = file_with(text)}, part);
}

static void defaults(void **state) {
    struct sw_config *config = load(&(struct sw_config_sources){0});
    assert_int_equal(sw_config_number(config, SW_KEY_SERVER_PORT), 8080);
    assert_string_equal(sw_config_text(config, SW_KEY_SERVER_HOST), "127.0.0.1");
    assert_int_equal(sw_config_number(config, SW_KEY_SERVER_MAX_BODY_BYTES), 64 << 20);
    assert_int_equal(sw_config_ms(config, SW_KEY_SERVER_HEADER_TIMEOUT), 10000);
    assert_false(sw_config_bool(config, SW_KEY_SERVER_INSECURE));
    assert_null(sw_config_text(config, SW_KEY_ENGINE_LIBRARY));
    assert_string_equal(sw_config_text(config, SW_KEY_LOG_LEVEL), "info");
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        assert_int_equal(config->values[i].origin, SW_ORIGIN_DEFAULT);
        assert_null(config->values[i].where);
    }
    sw_config_destroy(config);
}

static void later_sources_win(void **state) {
    char *environment[] = {"SLIPWAY_SERVER_PORT=3", "SLIPWAY_SERVER_DRAIN_TIMEOUT=7s", "OTHER=1", NULL};
    struct sw_config_flag flags[] = {{SW_KEY_SERVER_PORT, "4", "--port"}};
    const char *file = file_with("server: { port: 2, host: \"::1\", drain_timeout: 5s }\nlog: { level: debug }\n");
    struct sw_config *config = load(&(struct sw_config_sources){file, environment, flags, 1});
    const struct sw_config_value *v = config->values;
    assert_int_equal(v[SW_KEY_SERVER_PORT].number, 4);
    assert_int_equal(v[SW_KEY_SERVER_PORT].origin, SW_ORIGIN_FLAG);
    assert_string_equal(v[SW_KEY_SERVER_PORT].where, "--port");
    assert_int_equal(sw_config_ms(config, SW_KEY_SERVER_DRAIN_TIMEOUT), 7000);
    assert_string_equal(v[SW_KEY_SERVER_DRAIN_TIMEOUT].where, "SLIPWAY_SERVER_DRAIN_TIMEOUT");
    assert_string_equal(v[SW_KEY_SERVER_HOST].text, "::1");
    assert_string_equal(v[SW_KEY_SERVER_HOST].where, file_path);
    assert_int_equal(v[SW_KEY_LOG_LEVEL].number, 0);
    assert_int_equal(v[SW_KEY_LOG_ACCESS].origin, SW_ORIGIN_DEFAULT);
    sw_config_destroy(config);
}

static void values_out_of_range_name_everything(void **state) {
    assert_file_refused("server: { port: 70000 }",
                        ": server.port is '70000', but must be a whole number from 0 to 65535");
    assert_file_refused("server: { port: -1 }", "server.port is '-1'");
    assert_file_refused("server: { port: 1.5 }", "server.port is '1.5'");
    assert_file_refused("server: { port: eighty }", "server.port is 'eighty'");
    assert_file_refused("server: { max_body_bytes: 64MB }", "must be a size from 1KiB to 1GiB, such as 64MiB");
    assert_file_refused("server: { max_body_bytes: 2GiB }", "server.max_body_bytes is '2GiB'");
    assert_file_refused("server: { header_timeout: 10 }", "with its unit, such as 10s or 500ms");
    assert_file_refused("log: { level: loud }", "must be debug, info, warn, error or off");
    assert_file_refused("server: { insecure: maybe }", "must be true or false");
    char *environment[] = {"SLIPWAY_SERVER_PORT=x", NULL};
    assert_refused(&(struct sw_config_sources){.environment = environment}, "SLIPWAY_SERVER_PORT: server.port is 'x'");
    struct sw_config_flag flag = {SW_KEY_SERVER_PORT, "y", "--port"};
    assert_refused(&(struct sw_config_sources){.flags = &flag, .flag_count = 1}, "--port: server.port is 'y'");
}

static void unknown_keys_are_refused_with_a_suggestion(void **state) {
    assert_file_refused("server: { prot: 1 }", "unknown key server.prot; did you mean server.port?");
    assert_file_refused("sever: { port: 1 }", "unknown section sever; did you mean server?");
    assert_file_refused("zzzzz: { port: 1 }", "unknown section zzzzz");
    assert_file_refused("port: 1", "unknown section port");
}

static void malformed_files_are_refused(void **state) {
    assert_file_refused("server: [1, 2]", "server must hold keys");
    assert_file_refused("server: 5", "server must hold keys");
    assert_file_refused("- a\n- b\n", "must hold sections");
    assert_file_refused("server: { port: [1] }", "server.port has no value");
    assert_file_refused("server:\n  port:\n", "server.port has no value");
    assert_file_refused("server: {", "line ");
    assert_file_refused("server: { port: 1 }\nserver: { port: 2 }\n", "line 2");
    assert_file_refused("server: { max_buffered_bytes: 1MiB }", "less than server.max_body_bytes");
    struct sw_config *config = load(&(struct sw_config_sources){.file = file_with("")});
    sw_config_destroy(config);
    config = load(&(struct sw_config_sources){.file = file_with("server:\n")}); /* an empty section */
    sw_config_destroy(config);
}

static void files_that_cannot_be_read(void **state) {
    struct sw_config *config = NULL;
    struct sw_error err;
    struct sw_config_sources sources = {.file = "/nonexistent/slipway.yaml"};
    assert_int_equal(sw_config_load(&sources, &config, NULL, &err), SW_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/slipway.yaml"));
    assert_null(config);
}

static void all_faults_are_told_at_once(void **state) {
    struct sw_config *config = NULL;
    struct sw_config_problems problems = {0};
    struct sw_error err;
    char *environment[] = {"SLIPWAY_SERVR_PORT=1", "SLIPWAY_LOG_LEVEL=x", "SLIPWAY_ORT_LIB=/x", NULL};
    const char *file = file_with("server: { port: x, bogus: 1 }\nlgo: { level: info }\n");
    struct sw_config_sources sources = {.file = file, .environment = environment};
    assert_int_equal(sw_config_load(&sources, &config, &problems, &err), SW_E_USAGE);
    assert_int_equal(problems.count, 5);
    assert_int_equal(problems.error_count, 4);
    assert_non_null(strstr(err.message, "server.port is 'x'"));
    assert_false(problems.items[3].is_error);
    assert_non_null(strstr(problems.items[3].message, "SLIPWAY_SERVR_PORT"));
    assert_non_null(strstr(problems.items[3].message, "did you mean SLIPWAY_SERVER_PORT?"));
    sw_config_problems_deinit(&problems);
}

static void a_warning_alone_does_not_fail(void **state) {
    struct sw_config *config;
    struct sw_config_problems problems = {0};
    struct sw_error err;
    char *environment[] = {"SLIPWAY_BOGUS=1", "SLIPWAY_", "SLIPWAYX=1", NULL};
    struct sw_config_sources sources = {.environment = environment};
    assert_int_equal(sw_config_load(&sources, &config, &problems, &err), SW_OK);
    assert_int_equal(problems.count, 1);
    sw_config_problems_deinit(&problems);
    sw_config_destroy(config);
}

static void what_is_written_reads_back(void **state) {
    char *environment[] = {"SLIPWAY_SERVER_HOST=a \"b\": #c\xc3\xa9",
                           "SLIPWAY_DATA_DIRECTORY=12",
                           "SLIPWAY_LOG_ACCESS=off",
                           "SLIPWAY_SERVER_MAX_BODY_BYTES=1500",
                           "SLIPWAY_SERVER_DRAIN_DELAY=1500ms",
                           "SLIPWAY_MODELS_DIRECTORY=true",
                           "SLIPWAY_SERVER_INSECURE=yes",
                           NULL};
    struct sw_config *before = load(&(struct sw_config_sources){.environment = environment});
    struct sw_buf text;
    sw_buf_init(&text, 1 << 16);
    sw_config_write_yaml(before, &text);
    struct sw_config *after = load(&(struct sw_config_sources){.file = file_with(text.data)});
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        assert_string_equal(before->values[i].text, after->values[i].text);
        assert_int_equal(before->values[i].number, after->values[i].number);
    }
    sw_buf_deinit(&text);
    sw_config_destroy(before);
    sw_config_destroy(after);
}

static void as_json(void **state) {
    char *environment[] = {"SLIPWAY_SERVER_PORT=9", NULL};
    struct sw_config *config = load(&(struct sw_config_sources){.environment = environment});
    json_t *json = sw_config_to_json(config);
    json_t *server = json_object_get(json, "server");
    json_t *port = json_object_get(server, "port");
    assert_int_equal(json_integer_value(json_object_get(port, "value")), 9);
    assert_string_equal(json_string_value(json_object_get(port, "origin")), "environment");
    assert_string_equal(json_string_value(json_object_get(port, "where")), "SLIPWAY_SERVER_PORT");
    assert_true(json_is_null(json_object_get(json_object_get(json_object_get(json, "engine"), "library"), "value")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(server, "drain_timeout"), "value")), "30s");
    json_decref(json);
    sw_config_destroy(config);
}

static void keys_are_found_or_suggested(void **state) {
    enum sw_config_key key;
    const char *near;
    assert_true(sw_config_find_key(SW_STR("log.level"), &key, &near));
    assert_int_equal(key, SW_KEY_LOG_LEVEL);
    assert_false(sw_config_find_key(SW_STR("log.levle"), &key, &near));
    assert_string_equal(near, "log.level");
    assert_false(sw_config_find_key(SW_STR("port"), &key, &near)); /* without its section */
    assert_string_equal(near, "server.port");
    assert_false(sw_config_find_key(SW_STR("q"), &key, &near));
    assert_null(near);
}

static void the_registrys_keys_are_checked(void **state) {
    assert_file_refused("store: { url: 'mysql://x' }", "store.url is '(hidden)', but must be postgresql://");
    assert_file_refused("store: { url: 'sqlite:' }", "or sqlite:PATH");
    assert_file_refused("artifacts: { url: 'gs://bucket' }", "artifacts.url is 'gs://bucket', but must be s3://BUCKET");
    assert_file_refused("artifacts: { url: 's3:///x' }", "must be s3://BUCKET");
    assert_file_refused("artifacts: { s3_endpoint: '127.0.0.1:9000' }", "must be an address that begins with http://");
    assert_file_refused("registry: { version_policy: newest }", "must be live, all, or latest:N");
    assert_file_refused("store: { pool: 21 }", "store.pool is '21', but must be a whole number from 1 to 20");
    assert_file_refused("store: { poll: 6s }", "store.poll is '6s', but must be a duration from 50ms to 5s");
    const char *file = file_with("store: { url: 'postgresql://me:hush@db/x', notify: false }\n"
                                 "artifacts: { url: 's3://bucket/pre', s3_secret_key: hush, cache: 0 }\n"
                                 "registry: { version_policy: 'latest:3', keep_previous: 0 }\n");
    struct sw_config *config = load(&(struct sw_config_sources){.file = file});
    assert_string_equal(sw_config_text(config, SW_KEY_STORE_URL), "postgresql://me:hush@db/x");
    assert_int_equal(sw_config_ms(config, SW_KEY_REGISTRY_KEEP_PREVIOUS), 0);
    assert_int_equal(sw_config_number(config, SW_KEY_ARTIFACTS_MAX_UPLOAD), 16ull << 30);
    assert_int_equal(sw_config_ms(config, SW_KEY_STORE_POLL), 1000);
    struct sw_buf text;
    sw_buf_init(&text, 1 << 20);
    sw_config_write_yaml(config, &text);
    assert_null(strstr(text.data, "hush")); /* neither the password in the URL nor the key */
    json_t *json = sw_config_to_json(config);
    char *dump = json_dumps(json, 0);
    assert_null(strstr(dump, "hush"));
    free(dump);
    json_decref(json);
    sw_buf_deinit(&text);
    sw_config_destroy(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(values_out_of_range_name_everything),
        cmocka_unit_test(unknown_keys_are_refused_with_a_suggestion),
        cmocka_unit_test(malformed_files_are_refused),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(all_faults_are_told_at_once),
        cmocka_unit_test(a_warning_alone_does_not_fail),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(as_json),
        cmocka_unit_test(keys_are_found_or_suggested),
        cmocka_unit_test(the_registrys_keys_are_checked),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
