/* Results: building one while it is read, and reading its cells. */
#include "store/store_internal.h"

#include "base/memory.h"

const struct sw_value *sw_rows_at(const struct sw_rows *rows, size_t row, size_t column) {
    SW_ASSERT(row < rows->count && column < rows->columns);
    return &rows->cells[row * rows->columns + column];
}

int64_t sw_rows_int(const struct sw_rows *rows, size_t row, size_t column) {
    const struct sw_value *cell = sw_rows_at(rows, row, column);
    SW_ASSERT(cell->kind == SW_VALUE_INT || cell->kind == SW_VALUE_NULL);
    return cell->kind == SW_VALUE_INT ? cell->integer : 0;
}

const char *sw_rows_text(const struct sw_rows *rows, size_t row, size_t column) {
    const struct sw_value *cell = sw_rows_at(rows, row, column);
    SW_ASSERT(cell->kind == SW_VALUE_TEXT || cell->kind == SW_VALUE_NULL);
    return cell->kind == SW_VALUE_TEXT ? cell->text.data : NULL;
}

bool sw_rows_is_null(const struct sw_rows *rows, size_t row, size_t column) {
    return sw_rows_at(rows, row, column)->kind == SW_VALUE_NULL;
}

sw_status sw_rows_too_large(struct sw_error *err) {
    return sw_fail(err, SW_E_TOO_LARGE, "the result of a query does not fit into the memory given to it");
}

sw_status sw_params_check(const struct sw_value *params, size_t count, struct sw_error *err) {
    SW_ASSERT(count <= SW_STORE_PARAMS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct sw_str text = params[i].text;
        if (params[i].kind != SW_VALUE_TEXT || text.len == 0) {
            continue;
        }
        if (memchr(text.data, '\0', text.len) || !sw_utf8_valid(text)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "text for the store holds a NUL or is not UTF-8");
        }
    }
    return SW_OK;
}

struct sw_value *sw_rows_builder_next(struct sw_rows_builder *builder) {
    if (builder->used == builder->capacity) {
        size_t capacity = builder->capacity ? builder->capacity * 2 : 64;
        /* Cells end in the arena, whose limit bounds what it is worth to collect here. */
        if (builder->arena->limit && capacity / 2 > builder->arena->limit / sizeof *builder->cells) {
            return NULL;
        }
        struct sw_value *cells = sw_realloc(builder->cells, capacity * sizeof *cells);
        if (!cells) {
            return NULL;
        }
        builder->cells = cells;
        builder->capacity = capacity;
    }
    struct sw_value *cell = &builder->cells[builder->used++];
    *cell = sw_v_null();
    return cell;
}

bool sw_rows_builder_text(struct sw_rows_builder *builder, struct sw_value *cell, const char *data, size_t len) {
    char *copy = sw_arena_strdup(builder->arena, (struct sw_str){data, len});
    if (!copy) {
        return false;
    }
    *cell = sw_v_str((struct sw_str){copy, len});
    return true;
}

sw_status sw_rows_builder_finish(struct sw_rows_builder *builder, size_t rows, struct sw_rows *ret,
                                 struct sw_error *err) {
    SW_ASSERT(builder->used == rows * builder->columns);
    struct sw_value *cells = sw_arena_alloc(builder->arena, builder->used * sizeof *cells);
    if (!cells) {
        return sw_rows_too_large(err);
    }
    if (builder->used) {
        memcpy(cells, builder->cells, builder->used * sizeof *cells);
    }
    *ret = (struct sw_rows){.count = rows, .columns = builder->columns, .cells = cells};
    return SW_OK;
}

void sw_rows_builder_deinit(struct sw_rows_builder *builder) {
    sw_free(builder->cells);
}
