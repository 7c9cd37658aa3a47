/* Files of a version: the list, and each one's bytes. */
#include "api/registry_common.h"

static sw_status list(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *version;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_version_ref(x, x->params[1], &version, err));
    SW_TRY(sw_registry_list_files(registry, model, version, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_files(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list);
}

/* The number is asked for first, so that an alias moving in between cannot mix two versions. */
static sw_status send_file(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *model, *version, *path;
    int64_t number;
    int fd;
    uint64_t size;
    struct sw_digest digest;
    SW_TRY(sw_api_model_name(x, x->params[0], &model, err));
    SW_TRY(sw_api_version_ref(x, x->params[1], &version, err));
    if (!sw_registry_path_valid(x->params[2])) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'" SW_STR_FMT "' is not a path inside a version",
                       SW_STR_ARG(x->params[2]));
    }
    SW_TRY(sw_api_text(x, x->params[2], "the path", 512, &path, err));
    SW_TRY(sw_registry_resolve(registry, model, version, &number, err));
    const char *number_text = sw_arena_printf(&x->arena, "%lld", (long long)number);
    char *etag = sw_arena_alloc(&x->arena, SW_DIGEST_HEX + 3);
    if (!number_text || !etag) {
        return sw_api_no_memory(err);
    }
    SW_TRY(sw_registry_open_file(registry, model, number_text, path, &fd, &size, &digest, err));
    snprintf(etag, SW_DIGEST_HEX + 3, "\"%s\"", digest.hex);
    sw_http_add_header(x, "X-Model-Version", number_text);
    sw_http_reply_file(x, SW_API_BINARY, fd, size, etag);
    return SW_OK;
}

enum sw_http_result sw_api_registry_file(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_FILES, send_file);
}
