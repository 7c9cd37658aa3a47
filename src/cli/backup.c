/* slipway backup, slipway restore: on the stores themselves, without a server. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/document.h"
#include "cli/progress.h"
#include "cli/registry_config.h"
#include "cli/table.h"
#include "cli/when.h"
#include "registry/backup.h"

struct job {
    const struct sw_args *args;
    struct sw_config *config;
    struct sw_backup_options options;
    struct sw_progress progress;
    bool begun;
    uint64_t at_ms; /* 0: newest */
};

static void show_progress(void *arg, uint64_t done, uint64_t total) {
    struct job *job = arg;
    if (!job->begun) {
        sw_progress_begin(&job->progress, stderr, job->args->command->name, total, sw_clock_system());
        job->begun = true;
    }
    sw_progress_set(&job->progress, done);
}

static sw_status read_at(struct job *job, struct sw_error *err) {
    const char *at = sw_args_text(job->args, SW_OPTION_AT);
    struct sw_clock *clock = sw_clock_system();
    if (at && !sw_parse_when(sw_str_of(at), clock->wall_ms(clock), &job->at_ms)) {
        return sw_fail(err, SW_E_USAGE,
                       "--at is '%s', but must be a time such as 2026-11-20T14:00:00Z, 2026-11-20 or 48h", at);
    }
    return SW_OK;
}

static void print_bytes(const char *what, const json_t *document, const char *files, const char *bytes) {
    char count[32], size[SW_BYTES_TEXT_MAX];
    uint64_t number = (uint64_t)json_integer_value(json_object_get(document, files));
    printf("  %-10s %s file%s, %s\n", what, sw_cli_thousands(number, count), number == 1 ? "" : "s",
           sw_format_bytes((uint64_t)json_integer_value(json_object_get(document, bytes)), size));
}

/* ---- backup */

static sw_status create_with(struct job *job, const struct sw_store_options *store_options, json_t **ret,
                             struct sw_error *err) {
    struct sw_store *store;
    struct sw_artifacts *artifacts;
    struct sw_artifacts_options artifacts_options;
    sw_artifacts_config(job->config, &artifacts_options);
    SW_TRY(sw_store_open(store_options, &store, err));
    sw_status status = sw_artifacts_open(&artifacts_options, &artifacts, err);
    if (!status) {
        status = sw_backup_create(store, artifacts, &job->options, ret, err);
        sw_artifacts_close(artifacts);
    }
    sw_store_close(store);
    return status;
}

/* Opening a database makes one where there is none: a backup of nothing would be made, and look like success. */
static sw_status create_backup(struct job *job, json_t **ret, struct sw_error *err) {
    SW_AUTO_FREE char *path = sw_store_config_path(job->config);
    if (path && !sw_path_is_file(path)) {
        return sw_fail(err, SW_E_NOT_FOUND,
                       "%s: there is no registry; name its folder with --data-dir, or its database with "
                       "store.url",
                       path);
    }
    struct sw_store_options options;
    SW_AUTO_FREE char *url = NULL;
    sw_store_config(job->config, &options, &url);
    return create_with(job, &options, ret, err);
}

static void print_created(const struct job *job, const json_t *manifest) {
    printf("backup %s in %s\n", sw_json_text(manifest, "snapshot"), job->options.directory);
    print_bytes("holds", manifest, "files", "bytes");
    print_bytes("copied", manifest, "copied_files", "copied_bytes");
}

static void print_list(const json_t *list) {
    struct sw_table table;
    size_t i;
    json_t *manifest;
    sw_table_init(&table, "BACKUP", "TIME (UTC)", "DATABASE", ">REVISION", ">FILES", ">SIZE", ">COPIED", NULL);
    json_array_foreach(list, i, manifest) {
        char time[32], revision[32], files[32], bytes[SW_BYTES_TEXT_MAX], copied[SW_BYTES_TEXT_MAX];
        sw_table_cell(&table, sw_json_text(manifest, "snapshot"));
        sw_table_cell(&table, sw_json_time(manifest, "time", time));
        sw_table_cell(&table, sw_json_text(manifest, "store"));
        sw_table_cell(&table, sw_json_number(manifest, "revision", revision));
        sw_table_cell(&table, sw_json_number(manifest, "files", files));
        sw_table_cell(&table, sw_format_bytes((uint64_t)json_integer_value(json_object_get(manifest, "bytes")), bytes));
        sw_table_cell(&table,
                      sw_format_bytes((uint64_t)json_integer_value(json_object_get(manifest, "copied_bytes")), copied));
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static sw_status backup(struct job *job, json_t **ret, struct sw_error *err) {
    bool list = sw_args_has(job->args, SW_OPTION_LIST), verify = sw_args_has(job->args, SW_OPTION_VERIFY);
    if (list && verify) {
        return sw_fail(err, SW_E_USAGE, "--list and --verify do not go together");
    }
    if (sw_args_has(job->args, SW_OPTION_AT) && !verify) {
        return sw_fail(err, SW_E_USAGE, "--at goes with --verify");
    }
    SW_TRY(read_at(job, err));
    return list     ? sw_backup_list(job->options.directory, ret, err)
           : verify ? sw_backup_verify(&job->options, job->at_ms, ret, err)
                    : create_backup(job, ret, err);
}

static void print_backup(const struct job *job, const json_t *document) {
    if (sw_args_has(job->args, SW_OPTION_LIST)) {
        print_list(document);
    } else if (sw_args_has(job->args, SW_OPTION_VERIFY)) {
        printf("backup %s is whole\n", sw_json_text(document, "snapshot"));
        print_bytes("verified", document, "files", "bytes");
    } else {
        print_created(job, document);
    }
}

/* ---- restore */

static sw_status restore(struct job *job, json_t **ret, struct sw_error *err) {
    struct sw_store_options store_options;
    struct sw_artifacts_options artifacts_options;
    struct sw_artifacts *artifacts;
    SW_AUTO_FREE char *url = NULL;
    SW_TRY(read_at(job, err));
    SW_TRY(sw_data_directory_make(job->config, err));
    sw_store_config(job->config, &store_options, &url);
    sw_artifacts_config(job->config, &artifacts_options);
    SW_TRY(sw_artifacts_open(&artifacts_options, &artifacts, err));
    sw_status status = sw_backup_restore(&job->options, job->at_ms, &store_options, artifacts, ret, err);
    sw_artifacts_close(artifacts);
    return status;
}

static void print_restored(const struct job *job, const json_t *manifest) {
    printf("restored backup %s of %s UTC\n", sw_json_text(manifest, "snapshot"), sw_json_text(manifest, "time"));
    print_bytes("restored", manifest, "restored_files", "bytes");
    printf("  every digest and the audit chain are right; start it with: slipway serve --data-dir %s\n",
           sw_config_text(job->config, SW_KEY_DATA_DIRECTORY));
}

/* ---- both */

typedef sw_status job_run(struct job *job, json_t **ret, struct sw_error *err);
typedef void job_print(const struct job *job, const json_t *document);

static int run(const struct sw_args *args, job_run *work, job_print *print) {
    int code = SW_EXIT_USAGE;
    struct job job = {.args = args, .config = sw_cli_config(args, &code)};
    if (!job.config) {
        return code;
    }
    job.options = (struct sw_backup_options){
        .directory = args->positional[0], .clock = sw_clock_system(), .progress = show_progress, .progress_arg = &job};
    json_t *document = NULL;
    struct sw_error err;
    sw_status status = work(&job, &document, &err);
    if (job.begun) {
        sw_progress_end(&job.progress);
    }
    if (status) {
        code = sw_cli_fail(args, &err);
    } else {
        code = SW_EXIT_DONE;
        if (sw_args_has(args, SW_OPTION_JSON)) {
            sw_cli_print_json(stdout, document);
        } else {
            print(&job, document);
        }
    }
    json_decref(document);
    sw_config_destroy(job.config);
    return code;
}

int sw_run_backup(const struct sw_args *args) {
    return run(args, backup, print_backup);
}

int sw_run_restore(const struct sw_args *args) {
    return run(args, restore, print_restored);
}
