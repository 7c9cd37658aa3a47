/* The artifact proxy: files under paths that MLflow's clients choose, and below ".versions/NAME/NUMBER/" the files of
 * versions, which can only be read. Uploads are streamed to disk (registry_stream.h). */
#include "api/mlflow.h"
#include "api/registry_stream.h"

/* paths ------------------------------------------------------------------------------------------------------------ */

/* A path of the proxy: a plain one, or one inside a version. */
struct place {
    const char *path;            /* from the topmost folder, or from the version's; "" is that folder itself */
    const char *model, *version; /* NULL: plain */
};

static bool is_virtual(struct sw_str path) {
    return sw_str_is(path, SW_MLFLOW_FOLDER) || sw_str_starts(path, SW_STR(SW_MLFLOW_FOLDER "/"));
}

static sw_status no_such_path(struct sw_str path, struct sw_error *err) {
    return sw_fail(err, SW_E_NOT_FOUND, "no file or folder " SW_STR_FMT, SW_STR_ARG(path));
}

/* ".versions/NAME/NUMBER[/PATH]" */
static sw_status inside_version(struct sw_http_exchange *x, struct sw_str path, struct place *ret,
                                struct sw_error *err) {
    struct sw_str part, name, number, rest = sw_str_split(path, '/', &part);
    int64_t value;
    rest = sw_str_split(rest, '/', &name);
    rest = sw_str_split(rest, '/', &number);
    if (!sw_registry_name_valid(name) || !sw_parse_i64(number, &value) || number.data[0] < '1' ||
        number.data[0] > '9') {
        return no_such_path(path, err);
    }
    ret->model = sw_arena_strdup(&x->arena, name);
    ret->version = sw_arena_strdup(&x->arena, number);
    ret->path = sw_arena_strdup(&x->arena, rest);
    return ret->model && ret->version && ret->path ? SW_OK : sw_api_no_memory(err);
}

/* Slashes at either end are taken off, as clients write folders with one. */
static struct sw_str trim_slashes(struct sw_str text) {
    while (text.len && text.data[text.len - 1] == '/') {
        text.len--;
    }
    while (text.len && text.data[0] == '/') {
        text.data++;
        text.len--;
    }
    return text;
}

static sw_status read_place(struct sw_http_exchange *x, struct sw_str text, struct place *ret, struct sw_error *err) {
    struct sw_str path = trim_slashes(text);
    *ret = (struct place){.path = ""};
    if (path.len == 0) {
        return SW_OK;
    }
    if (!sw_registry_path_valid(path)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'" SW_STR_FMT "' is not a path of artifacts", SW_STR_ARG(path));
    }
    if (is_virtual(path)) {
        return inside_version(x, path, ret, err);
    }
    return sw_api_text(x, path, "the path", 512, &ret->path, err);
}

static sw_status read_writable(struct sw_http_exchange *x, const char **ret, struct sw_error *err) {
    struct place place;
    struct sw_str path = trim_slashes(x->params[0]);
    if (is_virtual(path)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "files of versions cannot be changed: %s/ is read-only",
                       SW_MLFLOW_FOLDER);
    }
    SW_TRY(read_place(x, path, &place, err));
    if (*place.path == '\0') {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a path is wanted");
    }
    *ret = place.path;
    return SW_OK;
}

/* read ------------------------------------------------------------------------------------------------------------- */

static sw_status list(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct place place;
    json_auto_t *doc = NULL;
    SW_TRY(read_place(x, sw_http_query(x, "path"), &place, err));
    if (place.model) {
        SW_TRY(sw_registry_list_version_folder(registry, place.model, place.version, place.path, &doc, err));
    } else {
        SW_TRY(sw_registry_list_artifacts(registry, place.path, &doc, err));
    }
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_mlflow_list_artifacts(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list);
}

static sw_status send_file(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct place place;
    struct sw_digest digest;
    uint64_t size;
    int fd;
    char *etag = sw_arena_alloc(&x->arena, SW_DIGEST_HEX + 3);
    if (!etag) {
        return sw_api_no_memory(err);
    }
    SW_TRY(read_place(x, x->params[0], &place, err));
    if (*place.path == '\0') {
        return no_such_path(x->params[0], err);
    }
    if (place.model) {
        SW_TRY(sw_registry_open_file(registry, place.model, place.version, place.path, &fd, &size, &digest, err));
    } else {
        SW_TRY(sw_registry_open_artifact(registry, place.path, &fd, &size, &digest, err));
    }
    snprintf(etag, SW_DIGEST_HEX + 3, "\"%s\"", digest.hex);
    sw_http_reply_file(x, SW_API_BINARY, fd, size, etag);
    return SW_OK;
}

enum sw_http_result sw_mlflow_get_artifact(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_FILES, send_file);
}

/* delete ----------------------------------------------------------------------------------------------------------- */

static sw_status delete_artifacts(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *path;
    struct sw_actor actor;
    SW_TRY(read_writable(x, &path, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_delete_artifacts(registry, &actor, path, err));
    sw_mlflow_reply_empty(x);
    return SW_OK;
}

enum sw_http_result sw_mlflow_delete_artifact(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_artifacts);
}

/* upload ----------------------------------------------------------------------------------------------------------- */

struct put_request {
    const char *path;
    struct sw_actor actor;
};

static sw_status open_upload(struct sw_api_stream *stream, struct sw_error *err) {
    struct sw_artifacts *artifacts = sw_registry_artifacts(stream->api->options.registry);
    struct sw_api_held_upload *held = stream->held;
    SW_TRY(sw_upload_create(artifacts, stream->x->content_length, NULL, held->id, err));
    return sw_upload_open(artifacts, sw_str_of(held->id), &held->upload, err);
}

static sw_status begin_put(struct sw_http_exchange *x, struct sw_api_stream **ret, struct sw_error *err) {
    struct put_request *r = sw_arena_calloc(&x->arena, 1, sizeof *r);
    if (!r) {
        return sw_api_no_memory(err);
    }
    SW_TRY(sw_api_need_registry(sw_api_of(x), err));
    SW_TRY(read_writable(x, &r->path, err));
    SW_TRY(sw_api_actor(x, NULL, &r->actor, err));
    return sw_api_stream_create(x, r, true, ret, err);
}

enum sw_http_result sw_mlflow_artifact_stream(struct sw_http_exchange *x, enum sw_http_stream_event event,
                                              struct sw_str piece) {
    struct sw_error err;
    struct sw_api_stream *stream;
    if (event == SW_HTTP_STREAM_DATA) {
        return sw_api_stream_write(x, piece);
    }
    if (begin_put(x, &stream, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_stream_run(stream, SW_API_PIECES, open_upload);
}

static sw_status commit_put(struct sw_api_stream *stream, struct sw_error *err) {
    const struct put_request *r = stream->request;
    struct sw_registry *registry = stream->api->options.registry;
    struct sw_blob blob;
    SW_TRY(sw_registry_health(registry, err));
    SW_TRY(sw_upload_commit(sw_api_stream_take(stream), &blob, err));
    SW_TRY(sw_registry_note_blob(registry, &blob, err));
    SW_TRY(sw_registry_put_artifact(registry, &r->actor, r->path, &blob, err));
    sw_mlflow_reply_empty(stream->x);
    return SW_OK;
}

enum sw_http_result sw_mlflow_put_artifact(struct sw_http_exchange *x) {
    return sw_api_stream_finish(x, SW_API_BULK, commit_put);
}

/* what clients ask before they upload or download large files ------------------------------------------------------ */

enum sw_http_result sw_mlflow_server_info(struct sw_http_exchange *x) {
    sw_http_reply(x, 200, SW_API_JSON,
                  SW_STR("{\"store_type\":null,\"workspaces_enabled\":false,\"trace_archival_enabled\":false,"
                         "\"multipart_uploads_enabled\":false,\"multipart_downloads_enabled\":false}"));
    return SW_HTTP_DONE;
}
