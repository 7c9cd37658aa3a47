/* A push in one request: the body is the model file or archive itself, streamed into an upload of its own, which is
 * then unpacked into a version. The upload goes however the request ends. */
#include "api/registry_stream.h"

enum { FILE_NAME_MAX = 512 };

struct push_request {
    const char *model, *file_name;
    struct sw_version_spec spec;
    struct sw_actor actor;
};

static sw_status read_push(struct sw_http_exchange *x, struct push_request *r, struct sw_error *err) {
    uint64_t expected = 0;
    SW_TRY(sw_api_need_registry(sw_api_of(x), err));
    SW_TRY(sw_api_model_name(x, x->params[0], &r->model, err));
    SW_TRY(sw_api_query_text(x, "file_name", FILE_NAME_MAX, &r->file_name, err));
    if (r->file_name && !sw_registry_path_valid(sw_str_of(r->file_name))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "query argument 'file_name' is not a path inside a version");
    }
    SW_TRY(sw_api_query_text(x, "description", SW_API_DESCRIPTION_MAX, &r->spec.description, err));
    SW_TRY(sw_api_query_text(x, "source", SW_API_SOURCE_MAX, &r->spec.source, err));
    SW_TRY(sw_api_query_number(x, "expected_version", 1, INT64_MAX, &expected, err));
    r->spec.expected_number = (int64_t)expected;
    return sw_api_actor(x, NULL, &r->actor, err);
}

static sw_status open_upload(struct sw_api_stream *stream, struct sw_error *err) {
    struct sw_artifacts *artifacts = sw_registry_artifacts(stream->api->options.registry);
    struct sw_api_held_upload *held = stream->held;
    SW_TRY(sw_upload_create(artifacts, stream->x->content_length, NULL, held->id, err));
    return sw_upload_open(artifacts, sw_str_of(held->id), &held->upload, err);
}

static sw_status begin(struct sw_http_exchange *x, struct sw_api_stream **ret, struct sw_error *err) {
    struct push_request *r = sw_arena_calloc(&x->arena, 1, sizeof *r);
    if (!r) {
        return sw_api_no_memory(err);
    }
    SW_TRY(read_push(x, r, err));
    return sw_api_stream_create(x, r, true, ret, err);
}

enum sw_http_result sw_api_registry_push_stream(struct sw_http_exchange *x, enum sw_http_stream_event event,
                                                struct sw_str piece) {
    struct sw_error err;
    struct sw_api_stream *stream;
    if (event == SW_HTTP_STREAM_DATA) {
        return sw_api_stream_write(x, piece);
    }
    if (begin(x, &stream, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_stream_run(stream, SW_API_PIECES, open_upload);
}

static sw_status import(struct sw_api_stream *stream, struct sw_error *err) {
    const struct push_request *r = stream->request;
    json_auto_t *doc = NULL;
    SW_TRY(sw_registry_import(stream->api->options.registry, &r->actor, r->model, true, sw_api_stream_take(stream),
                              r->file_name, &r->spec, &doc, err));
    sw_api_stream_end(stream);
    sw_api_reply_created_version(stream->x, r->model, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_push(struct sw_http_exchange *x) {
    return sw_api_stream_finish(x, SW_API_BULK, import);
}
