/* Files of --body into whole requests; see load_body.h. */
#include "cli/load_body.h"

#include "base/file.h"
#include "base/memory.h"
#include "cli/dataset_internal.h"
#include "cli/table.h"

static const uint64_t BYTES_MAX = 4ull << 30;
enum { FILE_BYTES_MAX = 1 << 30 };

static sw_status add_request(struct sw_load_bodies *bodies, const struct sw_load_request_parts *parts,
                             struct sw_error *err) {
    if (bodies->count == bodies->capacity) {
        bodies->capacity = bodies->capacity ? bodies->capacity * 2 : 16;
        bodies->buffers = sw_xrealloc(bodies->buffers, bodies->capacity * sizeof *bodies->buffers);
    }
    SW_TRY(sw_load_request_make(parts, &bodies->buffers[bodies->count], err));
    bodies->count++;
    return SW_OK;
}

static sw_status add_file(struct sw_load_bodies *bodies, const struct sw_load_request_parts *parts, const char *path,
                          struct sw_error *err) {
    struct sw_buf body;
    struct sw_load_request_parts own = *parts;
    SW_TRY(sw_file_read(path, FILE_BYTES_MAX, &body, err));
    own.body = (struct sw_str){body.len ? body.data : "", body.len};
    own.content_type = own.content_type ? own.content_type : sw_load_content_type(own.body);
    bodies->bytes += body.len;
    sw_status status = bodies->bytes > BYTES_MAX
                           ? sw_fail(err, SW_E_TOO_LARGE, "the bodies are more than 4 GiB together")
                           : add_request(bodies, &own, err);
    if (!status && json_array_size(bodies->files) < SW_LOAD_BODIES_SHOWN) {
        char *clean SW_AUTO_FREE = sw_text_clean(path);
        json_array_append_new(bodies->files, json_pack("{s:s, s:I, s:s}", "file", clean, "bytes", (json_int_t)body.len,
                                                       "content_type", own.content_type));
    }
    sw_buf_deinit(&body);
    return status;
}

static sw_status add_folder(struct sw_load_bodies *bodies, const struct sw_load_request_parts *parts, const char *path,
                            struct sw_error *err) {
    struct sw_dataset_tree tree = {0};
    sw_status status = sw_dataset_tree_read(path, &tree, err);
    for (size_t i = 0; !status && i < tree.count; i++) {
        char *file SW_AUTO_FREE = sw_path_join(path, tree.paths[i]);
        status = add_file(bodies, parts, file, err);
    }
    sw_dataset_tree_deinit(&tree);
    return status;
}

static sw_status add_all(const struct sw_args *args, const struct sw_load_request_parts *parts,
                         struct sw_load_bodies *bodies, struct sw_error *err) {
    for (size_t i = 0; i < args->given_count; i++) {
        const char *path = args->given[i].value;
        if (args->given[i].option->id == SW_OPTION_BODY) {
            SW_TRY(sw_path_is_dir(path) ? add_folder(bodies, parts, path, err) : add_file(bodies, parts, path, err));
        }
    }
    return bodies->count ? SW_OK : add_request(bodies, parts, err);
}

sw_status sw_load_bodies_make(const struct sw_args *args, const struct sw_load_request_parts *parts,
                              struct sw_load_bodies *ret, struct sw_error *err) {
    struct sw_load_bodies bodies = {.files = json_array()};
    sw_status status = add_all(args, parts, &bodies, err);
    if (status) {
        sw_load_bodies_deinit(&bodies);
        return status;
    }
    bodies.requests = sw_xcalloc(bodies.count, sizeof *bodies.requests);
    for (size_t i = 0; i < bodies.count; i++) {
        bodies.requests[i] = sw_buf_str(&bodies.buffers[i]);
    }
    *ret = bodies;
    return SW_OK;
}

void sw_load_bodies_deinit(struct sw_load_bodies *bodies) {
    for (size_t i = 0; i < bodies->count; i++) {
        sw_buf_deinit(&bodies->buffers[i]);
    }
    sw_free(bodies->buffers);
    sw_free(bodies->requests);
    json_decref(bodies->files);
    *bodies = (struct sw_load_bodies){0};
}
