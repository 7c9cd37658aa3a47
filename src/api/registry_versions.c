/* Versions of a model: list, create from uploads, show, change, delete. */
#include "api/registry_common.h"

enum { FILES_MAX = 10000, PATH_TEXT_MAX = 4096, FILE_NAME_MAX = 512 };

static sw_status reply_page(struct sw_http_exchange *x, struct sw_registry *registry, const char *model, int stage,
                            struct sw_error *err) {
    struct sw_version_filter filter = {.model = model, .stage = stage};
    struct sw_page page;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_query_page(x, &page, err));
    SW_TRY(sw_registry_list_versions(registry, &filter, &page, &doc, err));
    if (json_array_size(json_object_get(doc, "versions")) == 0) { /* of a model that there is? */
        json_auto_t *known = NULL;
        SW_TRY(sw_registry_get_model(registry, model, &known, err));
    }
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

static sw_status list(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *text = NULL;
    int stage = -1;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_query_text(x, "stage", 64, &text, err));
    if (text) {
        SW_TRY(sw_api_stage_name(sw_str_of(text), &stage, err));
    }
    return reply_page(x, registry, model, stage, err);
}

enum sw_http_result sw_api_registry_versions(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list);
}

static sw_status list_stage(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model;
    int stage;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_stage_name(x->params[1], &stage, err));
    return reply_page(x, registry, model, stage, err);
}

enum sw_http_result sw_api_registry_stage(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list_stage);
}

/* ---- create */

struct create_request {
    struct sw_version_spec spec;
    json_t *files;
    const char *upload, *file_name;
    bool create_model;
};

static sw_status read_create(struct sw_http_exchange *x, struct create_request *r, struct sw_error *err) {
    json_t *tags = NULL, *metrics = NULL;
    struct sw_version_spec *spec = &r->spec;
    const struct sw_api_field fields[] = {
        {.name = "files", .kind = SW_MEMBER_ARRAY, .ret = &r->files},
        {.name = "upload", .kind = SW_MEMBER_TEXT, .ret = &r->upload, .max = SW_UPLOAD_ID},
        {.name = "file_name", .kind = SW_MEMBER_TEXT, .ret = &r->file_name, .max = FILE_NAME_MAX},
        {.name = "expected_version", .kind = SW_MEMBER_INT, .ret = &spec->expected_number, .min = 1, .max = INT64_MAX},
        {.name = "description", .kind = SW_MEMBER_TEXT, .ret = &spec->description, .max = SW_API_DESCRIPTION_MAX},
        {.name = "source", .kind = SW_MEMBER_TEXT, .ret = &spec->source, .max = SW_API_SOURCE_MAX},
        {.name = "run_id", .kind = SW_MEMBER_TEXT, .ret = &spec->run_id, .max = 512},
        {.name = "tags", .kind = SW_MEMBER_OBJECT, .ret = &tags},
        {.name = "metrics", .kind = SW_MEMBER_OBJECT, .ret = &metrics},
        {.name = "create_model", .kind = SW_MEMBER_BOOL, .ret = &r->create_model},
    };
    SW_TRY(sw_api_read(x, false, fields, SW_COUNTOF(fields), err));
    spec->tags = tags;
    spec->metrics = metrics;
    if (!r->files == !r->upload) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "either 'files' or 'upload' is wanted");
    }
    if (r->file_name && !r->upload) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'file_name' goes with 'upload' only");
    }
    if (r->file_name && !sw_registry_path_valid(sw_str_of(r->file_name))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'file_name' is not a path inside a version");
    }
    return SW_OK;
}

static sw_status read_file(struct sw_http_exchange *x, const json_t *json, struct sw_version_file *file,
                           struct sw_error *err) {
    const char *digest;
    int64_t size;
    const struct sw_api_field fields[] = {
        {.name = "path", .kind = SW_MEMBER_TEXT, .ret = &file->path, .required = true, .max = PATH_TEXT_MAX},
        {.name = "sha256", .kind = SW_MEMBER_TEXT, .ret = &digest, .required = true, .max = 128},
        {.name = "size", .kind = SW_MEMBER_INT, .ret = &size, .required = true, .min = 0, .max = INT64_MAX},
    };
    if (!json_is_object(json)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "an object with path, sha256 and size is wanted");
    }
    SW_TRY(sw_api_fields(x, json, fields, SW_COUNTOF(fields), err));
    if (!sw_registry_path_valid(sw_str_of(file->path))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'path' is '%s', which is not a path inside a version", file->path);
    }
    if (!sw_digest_parse(sw_str_of(digest), &file->digest)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'sha256' must be %d hex digits", SW_DIGEST_HEX);
    }
    file->size = (uint64_t)size;
    return SW_OK;
}

static sw_status read_files(struct sw_http_exchange *x, struct create_request *r, struct sw_error *err) {
    size_t count = json_array_size(r->files);
    if (count < 1 || count > FILES_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'files' must name 1 to %d files", FILES_MAX);
    }
    struct sw_version_file *files = sw_arena_calloc(&x->arena, count, sizeof *files);
    if (!files) {
        return sw_api_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (read_file(x, json_array_get(r->files, i), &files[i], err)) {
            return sw_error_prefix(err, "files[%zu]", i);
        }
    }
    r->spec.files = files;
    r->spec.file_count = count;
    return SW_OK;
}

static sw_status import(struct sw_http_exchange *x, struct sw_registry *registry, const struct sw_actor *actor,
                        const char *model, const struct create_request *r, json_t **ret, struct sw_error *err) {
    struct sw_upload *upload;
    if (sw_upload_open(sw_registry_artifacts(registry), sw_str_of(r->upload), &upload, err)) {
        return sw_error_prefix(err, "'upload'");
    }
    return sw_registry_import(registry, actor, model, r->create_model, upload, r->file_name, &r->spec, ret, err);
}

static sw_status create(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct create_request r = {.create_model = true};
    const char *model;
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(read_create(x, &r, err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    if (r.upload) {
        SW_TRY(import(x, registry, &actor, model, &r, &doc, err));
    } else {
        SW_TRY(read_files(x, &r, err));
        SW_TRY(sw_registry_create_version(registry, &actor, model, r.create_model, &r.spec, &doc, err));
    }
    sw_api_reply_created_version(x, model, doc);
    return SW_OK;
}

void sw_api_reply_created_version(struct sw_http_exchange *x, const char *model, const json_t *doc) {
    sw_api_location(x, "/api/v1/models/%s/versions/%lld", model,
                    (long long)json_integer_value(json_object_get(doc, "version")));
    sw_api_version_header(x, doc, "version");
    sw_api_reply_doc(x, 201, doc);
}

enum sw_http_result sw_api_registry_create_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_BULK, create);
}

/* ---- one version */

static sw_status read_path(struct sw_http_exchange *x, const char **ret_model, const char **ret_version,
                           struct sw_error *err) {
    SW_TRY(sw_api_model_name(x, x->params[0], ret_model, err));
    return sw_api_version_ref(x, x->params[1], ret_version, err);
}

static sw_status show(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *version;
    json_auto_t *doc = NULL;
    SW_TRY(read_path(x, &model, &version, err));
    SW_TRY(sw_registry_get_version(registry, model, version, &doc, err));
    sw_api_version_header(x, doc, "version");
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, show);
}

static sw_status update(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *version, *description;
    json_t *body, *tags, *metrics;
    const struct sw_api_field fields[] = {
        {.name = "description", .kind = SW_MEMBER_TEXT, .ret = &description, .max = SW_API_DESCRIPTION_MAX},
        {.name = "tags", .kind = SW_MEMBER_OBJECT, .ret = &tags},
        {.name = "metrics", .kind = SW_MEMBER_OBJECT, .ret = &metrics},
    };
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(read_path(x, &model, &version, err));
    SW_TRY(sw_api_body(x, false, &body, err));
    SW_TRY(sw_api_fields(x, body, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_update_version(registry, &actor, model, version, body, &doc, err));
    sw_api_version_header(x, doc, "version");
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_update_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, update);
}

static sw_status remove_version(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *version, *reason = NULL;
    struct sw_actor actor;
    SW_TRY(read_path(x, &model, &version, err));
    SW_TRY(sw_api_query_text(x, "reason", SW_API_REASON_MAX, &reason, err));
    SW_TRY(sw_api_actor(x, reason, &actor, err));
    SW_TRY(sw_registry_delete_version(registry, &actor, model, version, err));
    sw_api_reply_nothing(x);
    return SW_OK;
}

enum sw_http_result sw_api_registry_delete_version(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, remove_version);
}
