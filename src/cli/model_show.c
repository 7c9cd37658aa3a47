/* slipway model list, show, history. */
#include "base/buf.h"
#include "base/memory.h"
#include "cli/model_print.h"
#include "cli/progress.h"

enum { TEXT_BYTES_MAX = 1 << 20, PATH_BYTES_MAX = 16384 };

/* A cell that a formatter of model_print.h fills. */
static void formatted_cell(struct sw_table *table, void (*format)(const json_t *, struct sw_buf *),
                           const json_t *value) {
    struct sw_buf text;
    sw_buf_init(&text, TEXT_BYTES_MAX);
    format(value, &text);
    sw_table_cell(table, text.len ? text.data : NULL);
    sw_buf_deinit(&text);
}

static void formatted_member(const char *name, void (*format)(const json_t *, struct sw_buf *), const json_t *value) {
    struct sw_buf text;
    sw_buf_init(&text, TEXT_BYTES_MAX);
    format(value, &text);
    sw_print_member(name, text.len ? text.data : "");
    sw_buf_deinit(&text);
}

static void number_cell(struct sw_table *table, const json_t *object, const char *key) {
    char number[32];
    sw_table_cell(table, sw_json_number(object, key, number));
}

static void time_cell(struct sw_table *table, const json_t *object, const char *key) {
    char time[32];
    sw_table_cell(table, sw_json_time(object, key, time));
}

static void print_table(struct sw_table *table) {
    sw_table_print(table, stdout, sw_cli_terminal_width());
    sw_table_deinit(table);
}

/* --- list -------------------------------------------------------------------------------------------------------- */

static void print_models(const json_t *document, bool all) {
    struct sw_table table;
    size_t i;
    json_t *model;
    const json_t *models = json_object_get(document, "models");
    if (json_array_size(models) == 0) {
        printf(all ? "no models; add one: slipway model push NAME PATH\n" : "no such models\n");
        return;
    }
    sw_table_init(&table, "NAME", ">LIVE", ">NEWEST", ">VERSIONS", "ALIASES", "UPDATED (UTC)", "DESCRIPTION", NULL);
    json_array_foreach(models, i, model) {
        sw_table_cell(&table, sw_json_text(model, "name"));
        number_cell(&table, model, "live");
        number_cell(&table, model, "latest");
        number_cell(&table, model, "versions");
        formatted_cell(&table, sw_format_aliases, json_object_get(model, "aliases"));
        time_cell(&table, model, "updated_at");
        sw_table_cell(&table, sw_json_text(model, "description"));
    }
    print_table(&table);
    if (json_is_string(json_object_get(document, "next_page_token"))) {
        printf("... and more: raise --limit\n");
    }
}

static sw_status list(struct sw_remote *remote) {
    struct sw_buf path;
    json_t *document;
    const char *prefix = sw_args_text(remote->args, SW_OPTION_PREFIX);
    sw_buf_init(&path, PATH_BYTES_MAX);
    SW_LIT(&path, "/api/v1/models");
    if (prefix) {
        SW_LIT(&path, "?prefix=");
        sw_url_escape(&path, sw_str_of(prefix));
    }
    sw_status status = path.failed ? sw_fail(&remote->err, SW_E_USAGE, "--prefix is too long")
                                   : sw_remote_list(remote, path.data, "models",
                                                    sw_args_integer(remote->args, SW_OPTION_LIMIT), &document);
    sw_buf_deinit(&path);
    if (status) {
        return status;
    }
    if (remote->json) {
        sw_cli_print_json(stdout, document);
    } else {
        print_models(document, !prefix);
    }
    json_decref(document);
    return SW_OK;
}

int sw_run_model_list(const struct sw_args *args) {
    struct sw_remote remote;
    sw_status status = sw_remote_open(args, &remote);
    return sw_remote_close(&remote, status ? status : list(&remote));
}

/* --- show -------------------------------------------------------------------------------------------------------- */

static void version_row(struct sw_table *table, const json_t *version) {
    char size[SW_BYTES_TEXT_MAX];
    json_int_t bytes = json_integer_value(json_object_get(version, "size_bytes"));
    number_cell(table, version, "version");
    sw_table_cell(table, json_is_true(json_object_get(version, "live")) ? "live" : "");
    sw_table_cell(table, sw_json_text(version, "stage"));
    formatted_cell(table, sw_format_aliases, json_object_get(version, "aliases"));
    sw_table_cell(table, sw_format_bytes(bytes > 0 ? (uint64_t)bytes : 0, size));
    time_cell(table, version, "created_at");
    sw_table_cell(table, sw_json_text(version, "created_by"));
    sw_table_cell(table, sw_json_text(version, "description"));
}

static void print_model(const json_t *model, const json_t *page) {
    char text[32];
    size_t i;
    json_t *version;
    const json_t *versions = json_object_get(page, "versions");
    char *name SW_AUTO_FREE = sw_text_clean(sw_json_text(model, "name"));
    printf("%s\n", name);
    sw_print_member("description", sw_json_text(model, "description"));
    formatted_member("tags", sw_format_pairs, json_object_get(model, "tags"));
    formatted_member("aliases", sw_format_aliases, json_object_get(model, "aliases"));
    sw_print_member("live", sw_json_number(model, "live", text));
    if (json_is_object(json_object_get(model, "policy"))) {
        formatted_member("policy", sw_format_pairs, json_object_get(model, "policy"));
    }
    sw_print_member("created", sw_json_time(model, "created_at", text));
    sw_print_member("by", sw_json_text(model, "created_by"));
    if (json_array_size(versions) == 0) {
        return;
    }
    struct sw_table table;
    printf("\n");
    sw_table_init(&table, ">VERSION", "LIVE", "STAGE", "ALIASES", ">SIZE", "CREATED (UTC)", "BY", "DESCRIPTION", NULL);
    json_array_foreach(versions, i, version) {
        version_row(&table, version);
    }
    print_table(&table);
    if (json_is_string(json_object_get(page, "next_page_token"))) {
        printf("... and older ones: raise --limit\n");
    }
}

static sw_status show_model(struct sw_remote *remote, const char *name) {
    SW_TRY(sw_remote_call(remote, "GET", sw_url_path("/api/v1/models", name, NULL), NULL));
    json_t *model = json_incref(remote->answer.json);
    json_t *page;
    char *path SW_AUTO_FREE = sw_url_path("/api/v1/models", name, "versions", NULL);
    sw_status status = sw_remote_list(remote, path, "versions", sw_args_integer(remote->args, SW_OPTION_LIMIT), &page);
    if (!status && remote->json) {
        json_object_set_new(page, "model", json_incref(model));
        sw_cli_print_json(stdout, page);
    } else if (!status) {
        print_model(model, page);
    }
    if (!status) {
        json_decref(page);
    }
    json_decref(model);
    return status;
}

/* Inputs or outputs of a signature, one a line. */
static void print_values(const char *title, const json_t *values) {
    size_t i;
    json_t *value;
    json_array_foreach(values, i, value) {
        char *shape SW_AUTO_FREE = sw_json_compact(json_object_get(value, "shape"));
        char *name SW_AUTO_FREE = sw_text_clean(sw_json_text(value, "name"));
        const char *type = sw_json_text(value, "datatype");
        printf("  %-12s %s  %s %s%s\n", i ? "" : title, name, *type ? type : "(no tensor)", shape ? shape : "",
               json_is_true(json_object_get(value, "optional")) ? "  optional" : "");
    }
}

static void print_files(const json_t *files) {
    struct sw_table table;
    size_t i;
    json_t *file;
    printf("\n");
    sw_table_init(&table, "FILE", ">SIZE", "SHA-256", NULL);
    json_array_foreach(files, i, file) {
        char size[SW_BYTES_TEXT_MAX];
        json_int_t bytes = json_integer_value(json_object_get(file, "size"));
        sw_table_cell(&table, sw_json_text(file, "path"));
        sw_table_cell(&table, sw_format_bytes(bytes > 0 ? (uint64_t)bytes : 0, size));
        sw_table_cell(&table, sw_json_text(file, "sha256"));
    }
    print_table(&table);
}

static void print_version(const json_t *v, const json_t *files) {
    char text[32];
    char *model SW_AUTO_FREE = sw_text_clean(sw_json_text(v, "model"));
    const json_t *served = json_object_get(v, "served_signature");
    const json_t *signature = json_is_object(served) ? served : json_object_get(v, "signature");
    printf("%s version %s%s\n", model, sw_json_number(v, "version", text),
           json_is_true(json_object_get(v, "live")) ? ", live" : "");
    sw_print_member("description", sw_json_text(v, "description"));
    sw_print_member("stage", sw_json_text(v, "stage"));
    formatted_member("aliases", sw_format_aliases, json_object_get(v, "aliases"));
    formatted_member("tags", sw_format_pairs, json_object_get(v, "tags"));
    formatted_member("metrics", sw_format_pairs, json_object_get(v, "metrics"));
    sw_print_member("source", sw_json_text(v, "source"));
    sw_print_member("run", sw_json_text(v, "run_id"));
    sw_print_member("replaces",
                    json_is_integer(json_object_get(v, "replaces")) ? sw_json_number(v, "replaces", text) : "");
    print_values("inputs", json_object_get(signature, "inputs"));
    print_values("outputs", json_object_get(signature, "outputs"));
    sw_print_member("created", sw_json_time(v, "created_at", text));
    sw_print_member("by", sw_json_text(v, "created_by"));
    sw_print_member("digest", sw_json_text(v, "digest"));
    print_files(files);
    if (json_array_size(json_object_get(v, "gates"))) {
        printf("\n");
        sw_print_gates(json_object_get(v, "gates"));
    }
}

static sw_status show_version(struct sw_remote *remote, const char *name, const char *version) {
    SW_TRY(sw_remote_check_version(remote, version));
    SW_TRY(sw_remote_call(remote, "GET", sw_url_path("/api/v1/models", name, "versions", version, NULL), NULL));
    char number[32]; /* an alias may move between the two calls */
    json_t *document = json_incref(remote->answer.json);
    sw_json_number(document, "version", number);
    sw_status status = sw_remote_call(remote, "GET",
                                      sw_url_path("/api/v1/models", name, "versions", number, "files", NULL), NULL);
    json_t *files = json_object_get(remote->answer.json, "files");
    if (!status && remote->json) {
        json_object_set(document, "file_list", files); /* "files" is their number */
        sw_cli_print_json(stdout, document);
    } else if (!status) {
        print_version(document, files);
    }
    json_decref(document);
    return status;
}

int sw_run_model_show(const struct sw_args *args) {
    struct sw_remote remote;
    const char *name = args->positional[0];
    sw_status status = sw_remote_open(args, &remote);
    if (!status) {
        status = sw_remote_check_model(&remote, name);
    }
    if (!status) {
        status = args->positional_count == 1 ? show_model(&remote, name)
                                             : show_version(&remote, name, args->positional[1]);
    }
    return sw_remote_close(&remote, status);
}

/* --- history ----------------------------------------------------------------------------------------------------- */

static void print_history(const json_t *history) {
    struct sw_table table;
    size_t i;
    json_t *row;
    if (json_array_size(history) == 0) {
        printf("nothing was live yet\n");
        return;
    }
    sw_table_init(&table, "TIME (UTC)", ">LIVE", "CHANGE", "STATE", "BY", "REASON", NULL);
    json_array_foreach(history, i, row) {
        bool current = json_is_true(json_object_get(row, "current"));
        bool undone = json_is_true(json_object_get(row, "undone"));
        time_cell(&table, row, "time");
        number_cell(&table, row, "version");
        sw_table_cell(&table, sw_json_text(row, "kind"));
        sw_table_cell(&table, current ? "current" : undone ? "taken back" : NULL);
        sw_table_cell(&table, sw_json_text(row, "actor"));
        sw_table_cell(&table, sw_json_text(row, "reason"));
    }
    print_table(&table);
}

static sw_status history(struct sw_remote *remote) {
    const char *name = remote->args->positional[0];
    char query[32];
    SW_TRY(sw_remote_check_model(remote, name));
    snprintf(query, sizeof query, "?limit=%llu", (unsigned long long)sw_args_integer(remote->args, SW_OPTION_LIMIT));
    char *start SW_AUTO_FREE = sw_url_path("/api/v1/models", name, "history", NULL);
    size_t size = strlen(start) + sizeof query;
    char *path = sw_xmalloc(size);
    snprintf(path, size, "%s%s", start, query);
    SW_TRY(sw_remote_call(remote, "GET", path, NULL));
    if (remote->json) {
        sw_cli_print_json(stdout, remote->answer.json);
    } else {
        print_history(json_object_get(remote->answer.json, "history"));
    }
    return SW_OK;
}

int sw_run_model_history(const struct sw_args *args) {
    struct sw_remote remote;
    sw_status status = sw_remote_open(args, &remote);
    return sw_remote_close(&remote, status ? status : history(&remote));
}
