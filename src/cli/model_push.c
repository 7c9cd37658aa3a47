/* slipway model push: collect, hash, send what the server does not have, create the version, promote it when asked
 * to. */
#include "base/memory.h"
#include "base/file.h"
#include "cli/model_print.h"
#include "cli/upload.h"
#include "cli/upload_state.h"

/* One push under way. */
struct push {
    struct sw_remote remote;
    const char *name;
    struct sw_package package;
    struct sw_progress progress;
    struct sw_sender sender;
    char upload[SW_UPLOAD_ID + 1]; /* of an archive */
};

static void on_hashed(void *arg, uint64_t done) {
    sw_progress_set(arg, done);
}

static sw_status hash(struct push *p) {
    sw_progress_begin(&p->progress, stderr, "reading", p->package.bytes, sw_clock_system());
    sw_status status = sw_package_hash(&p->package, on_hashed, &p->progress, &p->remote.err);
    sw_progress_end(&p->progress);
    return status;
}

/* Was a file with the same content sent before? Then its bytes count as done. */
static bool is_repeated(const struct sw_package *package, size_t index) {
    for (size_t i = 0; i < index; i++) {
        if (!strcmp(package->files[i].digest.hex, package->files[index].digest.hex)) {
            return true;
        }
    }
    return false;
}

static sw_status send_files(struct push *p) {
    char *folder SW_AUTO_FREE = sw_upload_state_folder();
    p->sender = (struct sw_sender){.client = p->remote.client,
                                   .state_folder = folder,
                                   .progress = &p->progress,
                                   .messages = stderr,
                                   .sleep_ms = sw_sleep_ms};
    sw_progress_begin(&p->progress, stderr, p->name, p->package.bytes, sw_clock_system());
    sw_status status = SW_OK;
    for (size_t i = 0; i < p->package.count && !status; i++) {
        const struct sw_package_file *file = &p->package.files[i];
        if (is_repeated(&p->package, i)) {
            p->sender.done += file->size;
            sw_progress_skip(&p->progress, file->size);
        } else {
            status = sw_send_file(&p->sender, file, p->package.is_archive, p->upload, &p->remote.err);
        }
    }
    sw_progress_end(&p->progress);
    return status;
}

/* The upload of an archive is used up by the version, or by the attempt. */
static void forget_upload(struct push *p) {
    char *folder SW_AUTO_FREE = sw_upload_state_folder();
    if (folder && p->package.is_archive) {
        struct sw_upload_key key = {sw_client_server(p->remote.client), true, &p->package.files[0].digest};
        sw_upload_state_remove(folder, &key);
    }
}

static json_t *files_json(const struct sw_package *package) {
    json_t *list = json_array();
    for (size_t i = 0; i < package->count; i++) {
        const struct sw_package_file *file = &package->files[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "path", file->path, "sha256", file->digest.hex, "size",
                                              (json_int_t)file->size));
    }
    return list;
}

/* Tags and metrics of the command line; read before anything is sent. */
static sw_status add_pairs(struct push *p, json_t *body) {
    const struct sw_args *args = p->remote.args;
    json_t *tags = json_object(), *metrics = json_object();
    json_object_set_new(body, "tags", tags);
    json_object_set_new(body, "metrics", metrics);
    for (size_t i = 0; i < args->given_count; i++) {
        const struct sw_given_option *given = &args->given[i];
        if (given->option->id == SW_OPTION_TAG) {
            SW_TRY(sw_pair_parse_tag(tags, given->value, false, &p->remote.err));
        } else if (given->option->id == SW_OPTION_METRIC) {
            SW_TRY(sw_pair_parse_metric(metrics, given->value, &p->remote.err));
        }
    }
    return SW_OK;
}

static sw_status version_body(struct push *p, json_t *body) {
    uint64_t expected = sw_args_integer(p->remote.args, SW_OPTION_VERSION);
    SW_TRY(add_pairs(p, body));
    sw_remote_set_option(&p->remote, body, "description", SW_OPTION_DESCRIPTION);
    sw_remote_set_option(&p->remote, body, "source", SW_OPTION_SOURCE);
    if (expected) {
        json_object_set_new(body, "expected_version", json_integer((json_int_t)expected));
    }
    return SW_OK;
}

/* Consumes body. The version's document stays in remote.answer. */
static sw_status create_version(struct push *p, json_t *body) {
    if (p->package.is_archive) {
        json_object_set_new(body, "upload", json_string(p->upload));
        json_object_set_new(body, "file_name", json_string(p->package.files[0].path));
    } else {
        json_object_set_new(body, "files", files_json(&p->package));
    }
    sw_status status = sw_remote_call(&p->remote, "POST", sw_url_path("/api/v1/models", p->name, "versions", NULL),
                                      body);
    if (!p->remote.answer.may_pass) {
        forget_upload(p);
    }
    return status;
}

static void print_version(const struct push *p) {
    char number[32], size[SW_BYTES_TEXT_MAX], sent[SW_BYTES_TEXT_MAX];
    const json_t *v = p->remote.answer.json;
    json_int_t files = json_integer_value(json_object_get(v, "files"));
    json_int_t bytes = json_integer_value(json_object_get(v, "size_bytes"));
    printf("%s version %s: %" JSON_INTEGER_FORMAT " %s, %s", p->name, sw_json_number(v, "version", number), files,
           files == 1 ? "file" : "files", sw_format_bytes(bytes > 0 ? (uint64_t)bytes : 0, size));
    if (p->sender.files_sent) {
        printf(" (sent %s)\n", sw_format_bytes(p->sender.sent, sent));
    } else {
        printf(" (the server had %s already)\n", files == 1 ? "it" : "all of them");
    }
    if (p->package.hidden_count) {
        fprintf(stderr, "slipway model push: left out %zu hidden %s\n", p->package.hidden_count,
                p->package.hidden_count == 1 ? "entry" : "entries");
    }
}

/* The version stands there whether it could be promoted or not; `error` as the server says it, null when it did not. */
static void print_both(struct push *p, json_t *version, sw_status status) {
    json_t *both = json_pack("{s:O}", "version", version);
    json_t *error = json_object_get(p->remote.answer.json, "error");
    json_object_set(both, "promotion", status ? json_null() : p->remote.answer.json);
    if (status) {
        json_object_set(both, "error", error ? error : json_null());
    }
    sw_cli_print_json(stdout, both);
    json_decref(both);
}

/* --promote, after the version exists. */
static sw_status promote(struct push *p) {
    char number[32];
    json_t *version = json_incref(p->remote.answer.json);
    sw_json_number(version, "version", number);
    sw_status status = sw_remote_promote(&p->remote, p->name, json_pack("{s:s}", "version", number));
    if (p->remote.json) {
        print_both(p, version, status);
    }
    if (status) {
        sw_error_prefix(&p->remote.err, "version %s was added, but not promoted", number);
    }
    json_decref(version);
    return status;
}

static sw_status push(struct push *p) {
    const struct sw_args *args = p->remote.args;
    json_t *body = json_object();
    sw_status status = sw_remote_check_model(&p->remote, p->name);
    status = status ? status : version_body(p, body);
    status = status ? status : sw_package_open(args->positional[1], &p->package, &p->remote.err);
    status = status ? status : sw_package_check(&p->package, p->name, &p->remote.err);
    status = status ? status : hash(p);
    status = status ? status : send_files(p);
    if (status) {
        json_decref(body);
        return status;
    }
    SW_TRY(create_version(p, body));
    bool also_promote = sw_args_has(args, SW_OPTION_PROMOTE);
    if (!p->remote.json) {
        print_version(p);
    } else if (!also_promote) {
        sw_cli_print_json(stdout, p->remote.answer.json);
    }
    return also_promote ? promote(p) : SW_OK;
}

int sw_run_model_push(const struct sw_args *args) {
    struct push p = {.name = args->positional[0]};
    sw_status status = sw_remote_open(args, &p.remote);
    status = status ? status : push(&p);
    sw_package_deinit(&p.package);
    return sw_remote_close(&p.remote, status);
}
