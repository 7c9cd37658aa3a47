/* Model versions as MLflow's clients see them. A version is made of files that are here already, under a path of the
 * artifact proxy or as another version's; from then on it has them for good, whatever becomes of the path. */
#include "api/mlflow.h"

/* create: where the files are -------------------------------------------------------------------------------------- */

struct source {
    struct sw_version_file *files;
    size_t count;
    json_t *metrics; /* of the version that is copied; the arena's; NULL: none */
};

static sw_status refuse_source(const char *source, struct sw_error *err) {
    return sw_fail(err, SW_E_INVALID_ARGUMENT,
                   "source '%.150s' is not on this server: upload the files first (log_artifacts to "
                   "mlflow-artifacts:/PATH) and name that path, or name a version of here (models:/NAME/VERSION)",
                   source);
}

/* "mlflow-artifacts:/PATH", also with three slashes; with a host it is somebody else's. */
static sw_status from_path(struct sw_http_exchange *x, struct sw_registry *registry, const char *source,
                           struct source *ret, struct sw_error *err) {
    const char *path = source + strlen(SW_MLFLOW_SCHEME);
    if (strncmp(path, "///", 3) == 0) {
        path += 2;
    }
    if (path[0] != '/' || path[1] == '/') {
        return refuse_source(source, err);
    }
    struct sw_str rest = sw_str_of(path + 1);
    while (rest.len && rest.data[rest.len - 1] == '/') {
        rest.len--;
    }
    const char *folder = sw_arena_strdup(&x->arena, rest);
    if (!folder) {
        return sw_api_no_memory(err);
    }
    sw_status status = sw_registry_artifact_files(registry, folder, &x->arena, &ret->files, &ret->count, err);
    return status == SW_E_NOT_FOUND
               ? sw_fail(err, SW_E_INVALID_ARGUMENT, "source '%.200s': nothing was uploaded there", source)
               : status;
}

/* Document of the version that "NAME/VERSION", "NAME/STAGE", "NAME/latest" or "NAME@ALIAS" means; new reference. */
static sw_status find_version(struct sw_http_exchange *x, struct sw_registry *registry, const char *source,
                              struct sw_str text, json_t **ret, struct sw_error *err) {
    struct sw_str name_text, version = sw_str_split(text, '/', &name_text);
    const char *name, *reference;
    int stage = -1;
    if (!version.data) {
        version = sw_str_split(text, '@', &name_text);
    }
    if (!version.len) {
        return refuse_source(source, err);
    }
    SW_TRY(sw_api_model_name(x, name_text, &name, err));
    bool is_latest = sw_str_ieq(version, SW_STR("latest"));
    if (!is_latest && sw_api_stage_name(version, &stage, NULL)) {
        SW_TRY(sw_api_version_ref(x, version, &reference, err));
        return sw_registry_get_version(registry, name, reference, ret, err);
    }
    const struct sw_version_filter filter = {.model = name, .stage = stage};
    const struct sw_page page = {.limit = 1};
    json_auto_t *found = NULL;
    SW_TRY(sw_registry_list_versions(registry, &filter, &page, &found, err));
    json_t *newest = json_array_get(json_object_get(found, "versions"), 0);
    *ret = json_incref(newest);
    return newest ? SW_OK : sw_fail(err, SW_E_NOT_FOUND, "source '%.200s': there is no such version", source);
}

static sw_status copy_files(struct sw_http_exchange *x, const json_t *list, struct source *ret, struct sw_error *err) {
    json_t *entry;
    size_t i;
    ret->count = json_array_size(list);
    ret->files = sw_arena_calloc(&x->arena, ret->count + 1, sizeof *ret->files);
    if (!ret->files) {
        return sw_api_no_memory(err);
    }
    json_array_foreach(list, i, entry) {
        struct sw_str digest = sw_str_of(json_string_value(json_object_get(entry, "sha256")));
        ret->files[i].path = json_string_value(json_object_get(entry, "path"));
        ret->files[i].size = (uint64_t)json_integer_value(json_object_get(entry, "size"));
        if (!sw_digest_parse(digest, &ret->files[i].digest)) {
            return sw_fail(err, SW_E_IO, "the database has no digest for %.200s", ret->files[i].path);
        }
    }
    return SW_OK;
}

/* "models:/NAME/VERSION" and so on: the same files, and what was measured of them. */
static sw_status from_version(struct sw_http_exchange *x, struct sw_registry *registry, const char *source,
                              struct source *ret, struct sw_error *err) {
    const char *path = source + strlen("models:/");
    json_t *version, *files;
    SW_TRY(find_version(x, registry, source, sw_str_of(path), &version, err));
    SW_TRY(sw_mlflow_keep(x, version, err));
    const char *number = sw_arena_printf(&x->arena, "%lld",
                                         (long long)json_integer_value(json_object_get(version, "version")));
    if (!number) {
        return sw_api_no_memory(err);
    }
    const char *model = json_string_value(json_object_get(version, "model"));
    SW_TRY(sw_registry_list_files(registry, model, number, &files, err));
    SW_TRY(sw_mlflow_keep(x, files, err));
    ret->metrics = json_object_get(version, "metrics");
    return copy_files(x, json_object_get(files, "files"), ret, err);
}

static sw_status find_source(struct sw_http_exchange *x, struct sw_registry *registry, const char *source,
                             struct source *ret, struct sw_error *err) {
    if (sw_str_starts(sw_str_of(source), SW_STR(SW_MLFLOW_SCHEME))) {
        return from_path(x, registry, source, ret, err);
    }
    if (sw_str_starts(sw_str_of(source), SW_STR("models:/"))) {
        return from_version(x, registry, source, ret, err);
    }
    return refuse_source(source, err);
}

/* create ----------------------------------------------------------------------------------------------------------- */

static sw_status create(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name;
    struct sw_version_spec spec = {0};
    struct source source = {0};
    struct sw_actor actor;
    json_t *tags;
    json_auto_t *doc = NULL, *model = NULL;
    const struct sw_api_field fields[] = {
        {.name = "source", .kind = SW_MEMBER_TEXT, .ret = &spec.source, .required = true, .max = SW_API_SOURCE_MAX},
        {.name = "run_id", .kind = SW_MEMBER_TEXT, .ret = &spec.run_id, .max = 512},
        {.name = "description", .kind = SW_MEMBER_TEXT, .ret = &spec.description, .max = SW_API_DESCRIPTION_MAX},
    };
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_read(x, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_mlflow_tags(x, &tags, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_get_model(registry, name, &model, err));
    SW_TRY(find_source(x, registry, spec.source, &source, err));
    spec.files = source.files;
    spec.file_count = source.count;
    spec.run_id = spec.run_id && *spec.run_id ? spec.run_id : NULL;
    spec.tags = tags;
    spec.metrics = source.metrics;
    SW_TRY(sw_registry_create_version(registry, &actor, name, false, &spec, &doc, err));
    sw_mlflow_reply(x, "model_version", sw_mlflow_version(doc));
    return SW_OK;
}

enum sw_http_result sw_mlflow_create_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_BULK, create);
}

/* read ------------------------------------------------------------------------------------------------------------- */

static sw_status get(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *number;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_version_number(x, &number, err));
    return sw_mlflow_reply_version(x, registry, name, number, err);
}

enum sw_http_result sw_mlflow_get_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, get);
}

static sw_status download_uri(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *number;
    int64_t found;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_version_number(x, &number, err));
    SW_TRY(sw_registry_resolve(registry, name, number, &found, err));
    sw_mlflow_reply(x, "artifact_uri",
                    json_sprintf(SW_MLFLOW_SCHEME "/" SW_MLFLOW_FOLDER "/%s/%lld", name, (long long)found));
    return SW_OK;
}

enum sw_http_result sw_mlflow_download_uri(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, download_uri);
}

/* change ----------------------------------------------------------------------------------------------------------- */

static sw_status change(struct sw_http_exchange *x, struct sw_registry *registry, const json_t *changes, json_t **ret,
                        struct sw_error *err) {
    const char *name, *number;
    struct sw_actor actor;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_version_number(x, &number, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    return sw_registry_update_version(registry, &actor, name, number, changes, ret, err);
}

static sw_status update(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    json_t *changes;
    json_auto_t *doc = NULL;
    SW_TRY(sw_mlflow_description_change(x, &changes, err));
    SW_TRY(change(x, registry, changes, &doc, err));
    sw_mlflow_reply(x, "model_version", sw_mlflow_version(doc));
    return SW_OK;
}

enum sw_http_result sw_mlflow_update_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, update);
}

static sw_status change_tag(struct sw_http_exchange *x, struct sw_registry *registry, bool sets, struct sw_error *err) {
    json_t *changes;
    json_auto_t *doc = NULL;
    SW_TRY(sw_mlflow_tag_change(x, sets, &changes, err));
    SW_TRY(change(x, registry, changes, &doc, err));
    sw_mlflow_reply_empty(x);
    return SW_OK;
}

static sw_status set_tag(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    return change_tag(x, registry, true, err);
}

enum sw_http_result sw_mlflow_set_version_tag(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, set_tag);
}

static sw_status delete_tag(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    return change_tag(x, registry, false, err);
}

enum sw_http_result sw_mlflow_delete_version_tag(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_tag);
}

static sw_status delete_version(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name, *number;
    struct sw_actor actor;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(sw_mlflow_version_number(x, &number, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_delete_version(registry, &actor, name, number, err));
    sw_mlflow_reply_empty(x);
    return SW_OK;
}

enum sw_http_result sw_mlflow_delete_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, delete_version);
}
