/* slipway model pull. */
#include <unistd.h>

#include "base/memory.h"
#include "cli/download.h"
#include "cli/model_print.h"
#include "cli/upload.h"

struct pull {
    struct sw_remote remote;
    const char *name;
    char version[32]; /* its number */
    json_t *files;    /* {"files": [...]} */
    struct sw_progress progress;
    struct sw_receiver receiver;
};

/* Alias or "live" to a number, once: it may move while files come. */
static sw_status resolve(struct pull *p, const char *version) {
    SW_TRY(sw_remote_call(&p->remote, "GET", sw_url_path("/api/v1/models", p->name, "versions", version, NULL), NULL));
    const json_t *number = json_object_get(p->remote.answer.json, "version");
    if (!json_is_integer(number)) {
        return sw_fail(&p->remote.err, SW_E_IO, "the server's answer has no version");
    }
    snprintf(p->version, sizeof p->version, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    SW_TRY(sw_remote_call(&p->remote, "GET",
                          sw_url_path("/api/v1/models", p->name, "versions", p->version, "files", NULL), NULL));
    p->files = json_incref(p->remote.answer.json);
    return SW_OK;
}

/* ".../files/" and the path with its slashes. */
static char *file_url(const struct pull *p, const char *path) {
    struct sw_buf out;
    char *start SW_AUTO_FREE = sw_url_path("/api/v1/models", p->name, "versions", p->version, "files", NULL);
    sw_buf_init(&out, 16384); /* a path has at most 512 bytes */
    sw_buf_append_str(&out, sw_str_of(start));
    for (struct sw_str rest = sw_str_of(path), part; rest.data;) {
        rest = sw_str_split(rest, '/', &part);
        sw_buf_append_c(&out, '/');
        sw_url_escape(&out, part);
    }
    SW_ASSERT(!out.failed);
    return out.data;
}

static sw_status receive_one(struct pull *p, const json_t *file) {
    struct sw_digest digest;
    const char *path = sw_json_text(file, "path");
    json_int_t size = json_integer_value(json_object_get(file, "size"));
    if (!sw_digest_parse(sw_str_of(sw_json_text(file, "sha256")), &digest) || size < 0) {
        return sw_fail(&p->remote.err, SW_E_IO, "the server's list of files has no digest for '%s'", path);
    }
    if (!sw_download_path_fits(sw_str_of(path))) {
        return sw_fail(&p->remote.err, SW_E_IO, "the server names a file '%s', which would leave the folder", path);
    }
    char *url SW_AUTO_FREE = file_url(p, path);
    return sw_receive_file(&p->receiver, url, path, (uint64_t)size, &digest, &p->remote.err);
}

static sw_status receive_all(struct pull *p) {
    const json_t *list = json_object_get(p->files, "files");
    size_t i;
    json_t *file;
    uint64_t total = 0;
    json_array_foreach(list, i, file) {
        total += (uint64_t)json_integer_value(json_object_get(file, "size"));
    }
    sw_progress_begin(&p->progress, stderr, p->name, total, sw_clock_system());
    sw_status status = SW_OK;
    json_array_foreach(list, i, file) {
        status = status ? status : receive_one(p, file);
    }
    sw_progress_end(&p->progress);
    return status;
}

static void print_result(const struct pull *p) {
    char all[SW_BYTES_TEXT_MAX], came[SW_BYTES_TEXT_MAX];
    size_t count = json_array_size(json_object_get(p->files, "files"));
    printf("%s version %s in %s: %zu %s, %s", p->name, p->version, p->remote.args->positional[2], count,
           count == 1 ? "file" : "files", sw_format_bytes(p->receiver.done, all));
    if (p->receiver.received < p->receiver.done) {
        printf(" (received %s; the rest was there)", sw_format_bytes(p->receiver.received, came));
    }
    printf("\n");
}

static sw_status pull(struct pull *p) {
    const struct sw_args *args = p->remote.args;
    SW_TRY(sw_remote_check_model(&p->remote, p->name));
    SW_TRY(sw_remote_check_version(&p->remote, args->positional[1]));
    SW_TRY(resolve(p, args->positional[1]));
    p->receiver = (struct sw_receiver){.client = p->remote.client,
                                       .dir = -1,
                                       .force = sw_args_has(args, SW_OPTION_FORCE),
                                       .progress = &p->progress,
                                       .messages = stderr,
                                       .sleep_ms = sw_sleep_ms};
    SW_TRY(sw_receiver_open_folder(args->positional[2], &p->receiver.dir, &p->remote.err));
    sw_status status = receive_all(p);
    close(p->receiver.dir);
    if (!status && p->remote.json) {
        json_t *json = json_pack("{s:s, s:s, s:O}", "model", p->name, "version", p->version, "files",
                                 json_object_get(p->files, "files"));
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else if (!status) {
        print_result(p);
    }
    return status;
}

int sw_run_model_pull(const struct sw_args *args) {
    struct pull p = {.name = args->positional[0]};
    sw_status status = sw_remote_open(args, &p.remote);
    status = status ? status : pull(&p);
    json_decref(p.files);
    return sw_remote_close(&p.remote, status);
}
