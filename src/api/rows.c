/* Rows of the repository for control answers.
 *
 * The repository calls back under its control lock, so names and reasons are copied into the arena and everything else
 * happens afterwards. */
#include "api/api_internal.h"

struct collection {
    struct sw_arena *arena;
    struct sw_str name;
    struct sw_api_row *rows;
    size_t count, capacity;
    bool failed;
};

static double metadata_number(const struct sw_model *model, const char *key) {
    json_t *value = model->bundle ? json_object_get(model->bundle->metadata, key) : NULL;
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void describe(struct collection *c, struct sw_api_row *row, const struct sw_model *model) {
    row->stats = model->attachment;
    row->loaded_wall_ms = model->loaded_wall_ms;
    row->load_ns = model->load_ns;
    row->accuracy = metadata_number(model, "accuracy");
    row->false_positive_rate = metadata_number(model, "false_positive_rate");
    if (model->bundle && model->bundle->model_path) {
        row->model_path = sw_arena_strdup(c->arena, sw_str_of(model->bundle->model_path));
    }
}

static void collect(void *arg, const struct sw_repository_row *from) {
    struct collection *c = arg;
    if (c->failed || (c->name.data && !sw_str_is(c->name, from->name))) {
        return;
    }
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 16;
        struct sw_api_row *rows = sw_arena_grow(c->arena, c->rows, c->capacity * sizeof *rows, capacity * sizeof *rows,
                                                16);
        if (!rows) {
            c->failed = true;
            return;
        }
        c->rows = rows;
        c->capacity = capacity;
    }
    struct sw_api_row *row = &c->rows[c->count++];
    *row = (struct sw_api_row){
        .name = sw_arena_strdup(c->arena, sw_str_of(from->name)),
        .version = from->version,
        .state = from->state,
        .reason = sw_arena_strdup(c->arena, sw_str_of(from->reason ? from->reason : "")),
        .live = from->live,
        .managed = from->managed,
        .bytes = from->bytes,
        .accuracy = NAN,
        .false_positive_rate = NAN,
    };
    c->failed = !row->name || !row->reason;
    if (from->model) {
        describe(c, row, from->model);
    }
}

sw_status sw_api_rows(struct sw_api *api, struct sw_arena *arena, struct sw_str name, struct sw_api_row **ret,
                      size_t *ret_count, struct sw_error *err) {
    struct collection c = {.arena = arena, .name = name};
    sw_repository_each(api->repository, collect, &c);
    if (c.failed) {
        return sw_api_no_memory(err);
    }
    *ret = c.rows;
    *ret_count = c.count;
    return SW_OK;
}

void sw_api_put_version(struct sw_buf *out, int64_t version) {
    if (version > 0) {
        sw_buf_printf(out, "\"%lld\"", (long long)version);
    } else {
        SW_LIT(out, "\"\"");
    }
}

sw_status sw_api_unknown_model(struct sw_str name, struct sw_error *err) {
    return sw_fail(err, SW_E_NOT_FOUND, "model '" SW_STR_FMT "' is not known", SW_STR_ARG(name));
}
