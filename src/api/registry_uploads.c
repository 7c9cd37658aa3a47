/* Resumable uploads: begin, ask, append, give up. The protocol stands in spec/routes.toml.
 *
 * Appending streams the body (registry_stream.h). An upload that reaches its announced size becomes a blob, is noted in
 * the registry, and only then is the client told. */
#include "api/registry_stream.h"

/* {"id","offset","size","complete","sha256"?} */
static void reply_upload(struct sw_http_exchange *x, int status, const char *id, uint64_t offset, uint64_t size,
                         const char *sha256) {
    struct sw_buf out;
    sw_api_buf(x, &out);
    sw_buf_append_c(&out, '{');
    sw_api_put_string(&out, "id", id);
    SW_LIT(&out, ",\"offset\":");
    sw_api_put_u64(&out, offset);
    SW_LIT(&out, ",\"size\":");
    if (size == UINT64_MAX) {
        SW_LIT(&out, "null");
    } else {
        sw_api_put_u64(&out, size);
    }
    sw_buf_append_str(&out, sha256 ? SW_STR(",\"complete\":true") : SW_STR(",\"complete\":false"));
    if (sha256) {
        sw_buf_append_c(&out, ',');
        sw_api_put_string(&out, "sha256", sha256);
    }
    sw_buf_append_c(&out, '}');
    sw_api_reply(x, status, &out);
}

/* ---- begin */

static void reply_stored(struct sw_http_exchange *x, const struct sw_digest *digest, uint64_t size) {
    struct sw_buf out;
    sw_api_buf(x, &out);
    SW_LIT(&out, "{\"complete\":true,");
    sw_api_put_string(&out, "sha256", digest->hex);
    SW_LIT(&out, ",\"size\":");
    sw_api_put_u64(&out, size);
    sw_buf_append_c(&out, '}');
    sw_api_reply(x, 200, &out);
}

/* Is it here already? Then it is answered. */
static sw_status find_stored(struct sw_http_exchange *x, struct sw_registry *registry, const struct sw_digest *digest,
                             int64_t size, bool *ret_found, struct sw_error *err) {
    uint64_t stored = 0;
    SW_TRY(sw_registry_has_blob(registry, digest, ret_found, &stored, err));
    if (!*ret_found) {
        return SW_OK;
    }
    if (size >= 0 && stored != (uint64_t)size) {
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "the content with this sha256 has %llu bytes, not %lld",
                       (unsigned long long)stored, (long long)size);
    }
    reply_stored(x, digest, stored);
    return SW_OK;
}

static sw_status begin(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    int64_t size = -1;
    const char *sha256 = NULL;
    const struct sw_api_field fields[] = {
        {.name = "size", .kind = SW_MEMBER_INT, .ret = &size, .min = 0, .max = INT64_MAX},
        {.name = "sha256", .kind = SW_MEMBER_TEXT, .ret = &sha256, .max = 128},
    };
    struct sw_digest digest;
    char id[SW_UPLOAD_ID + 1];
    SW_TRY(sw_api_read(x, true, fields, SW_COUNTOF(fields), err));
    if (sha256 && !sw_digest_parse(sw_str_of(sha256), &digest)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "'sha256' must be %d hex digits", SW_DIGEST_HEX);
    }
    bool is_stored = false;
    if (sha256) {
        SW_TRY(find_stored(x, registry, &digest, size, &is_stored, err));
    }
    if (is_stored) {
        return SW_OK;
    }
    uint64_t announced = size < 0 ? UINT64_MAX : (uint64_t)size;
    SW_TRY(sw_upload_create(sw_registry_artifacts(registry), announced, sha256 ? &digest : NULL, id, err));
    sw_api_location(x, "/api/v1/uploads/%s", id);
    reply_upload(x, 201, id, 0, announced, NULL);
    return SW_OK;
}

enum sw_http_result sw_api_upload_begin(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, begin);
}

/* ---- ask, give up */

static sw_status show(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_upload_info info;
    SW_TRY(sw_upload_stat(sw_registry_artifacts(registry), x->params[0], &info, err));
    reply_upload(x, 200, info.id, info.offset, info.size, NULL);
    return SW_OK;
}

enum sw_http_result sw_api_upload_status(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, show);
}

static sw_status give_up(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    SW_TRY(sw_upload_delete(sw_registry_artifacts(registry), x->params[0], err));
    sw_api_reply_nothing(x);
    return SW_OK;
}

enum sw_http_result sw_api_upload_delete(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, give_up);
}

/* ---- append */

struct append_request {
    uint64_t offset;
    enum { COMMIT_WHEN_COMPLETE, COMMIT_NEVER, COMMIT_ALWAYS } commit;
};

static void reply_offset(struct sw_api_stream *stream, uint64_t wanted, uint64_t present) {
    struct sw_error err;
    sw_fail(&err, SW_E_CONFLICT, "the upload stands at byte %llu, not at %llu", (unsigned long long)present,
            (unsigned long long)wanted);
    json_auto_t *details = json_object();
    json_object_set_new(details, "offset", json_integer((json_int_t)present));
    sw_api_reply_details(stream->x, &err, details);
}

static sw_status open_upload(struct sw_api_stream *stream, struct sw_error *err) {
    const struct append_request *request = stream->request;
    struct sw_api_held_upload *held = stream->held;
    struct sw_artifacts *artifacts = sw_registry_artifacts(stream->api->options.registry);
    SW_TRY(sw_upload_open(artifacts, stream->x->params[0], &held->upload, err));
    uint64_t offset = sw_upload_offset(held->upload), size = sw_upload_size(held->upload);
    if (request->offset != offset) {
        sw_api_stream_end(stream);
        reply_offset(stream, request->offset, offset);
        return SW_OK;
    }
    uint64_t coming = stream->x->content_length;
    if (size != UINT64_MAX && coming != UINT64_MAX && (offset > size || coming > size - offset)) {
        return sw_fail(err, SW_E_TOO_LARGE, "%llu bytes at %llu are more than the %llu that were announced",
                       (unsigned long long)coming, (unsigned long long)offset, (unsigned long long)size);
    }
    return SW_OK;
}

static sw_status read_append(struct sw_http_exchange *x, struct append_request *request, struct sw_error *err) {
    bool commit = false;
    SW_TRY(sw_api_need_registry(sw_api_of(x), err));
    SW_TRY(sw_api_query_number(x, "offset", 0, INT64_MAX, &request->offset, err));
    SW_TRY(sw_api_query_bool(x, "commit", &commit, err));
    if (sw_http_query(x, "commit").data) {
        request->commit = commit ? COMMIT_ALWAYS : COMMIT_NEVER;
    }
    return SW_OK;
}

static sw_status begin_append(struct sw_http_exchange *x, struct sw_api_stream **ret, struct sw_error *err) {
    struct append_request *request = sw_arena_calloc(&x->arena, 1, sizeof *request);
    if (!request) {
        return sw_api_no_memory(err);
    }
    SW_TRY(read_append(x, request, err));
    return sw_api_stream_create(x, request, false, ret, err);
}

enum sw_http_result sw_api_upload_stream(struct sw_http_exchange *x, enum sw_http_stream_event event,
                                         struct sw_str piece) {
    struct sw_error err;
    struct sw_api_stream *stream;
    if (event == SW_HTTP_STREAM_DATA) {
        return sw_api_stream_write(x, piece);
    }
    if (begin_append(x, &stream, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return sw_api_stream_run(stream, SW_API_PIECES, open_upload);
}

/* Enough to become a blob? I/O thread or lane; the handle is nobody else's. */
static bool is_due(const struct sw_api_stream *stream) {
    const struct append_request *request = stream->request;
    const struct sw_upload *upload = stream->held->upload;
    bool is_complete = sw_upload_offset(upload) == sw_upload_size(upload);
    return request->commit == COMMIT_ALWAYS || (request->commit == COMMIT_WHEN_COMPLETE && is_complete);
}

static sw_status pause_upload(struct sw_api_stream *stream, struct sw_error *err) {
    struct sw_upload *upload = stream->held->upload;
    uint64_t offset = sw_upload_offset(upload), size = sw_upload_size(upload);
    sw_api_stream_end(stream);
    reply_upload(stream->x, 200, sw_arena_strdup(&stream->x->arena, stream->x->params[0]), offset, size, NULL);
    return SW_OK;
}

/* The registry is asked how it is before the bytes become a blob, because they would have to be sent again if it could
 * not note them. */
static sw_status commit_upload(struct sw_api_stream *stream, struct sw_error *err) {
    struct sw_registry *registry = stream->api->options.registry;
    struct sw_blob blob;
    SW_TRY(sw_registry_health(registry, err));
    uint64_t size = sw_upload_size(stream->held->upload);
    SW_TRY(sw_upload_commit(sw_api_stream_take(stream), &blob, err));
    SW_TRY(sw_registry_note_blob(registry, &blob, err));
    reply_upload(stream->x, 200, sw_arena_strdup(&stream->x->arena, stream->x->params[0]), blob.size,
                 size == UINT64_MAX ? blob.size : size, blob.digest.hex);
    return SW_OK;
}

enum sw_http_result sw_api_upload_append(struct sw_http_exchange *x) {
    bool due = is_due(x->state);
    return sw_api_stream_finish(x, due ? SW_API_BULK : SW_API_PIECES, due ? commit_upload : pause_upload);
}
