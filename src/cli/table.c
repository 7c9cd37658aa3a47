/* Tables; see table.h. */
#include "cli/table.h"

#include <stdarg.h>

#include "base/memory.h"

enum { GAP = 2, TABLE_BYTES_MAX = 64 << 20 };

size_t sw_text_width(const char *text) {
    size_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

char *sw_text_clean(const char *text) {
    bool valid = sw_utf8_valid(sw_str_of(text));
    char *copy = sw_xstrdup(text);
    for (unsigned char *p = (unsigned char *)copy; *p; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* control characters above ASCII */
        if (*p < 0x20 || *p == 0x7f || (!valid && *p >= 0x80)) {
            *p = *p == '\n' || *p == '\t' ? ' ' : '?';
        } else if (c1) {
            *p++ = '?';
            *p = '?';
        }
    }
    return copy;
}

void sw_table_init_titles(struct sw_table *table, const char *const *titles) {
    *table = (struct sw_table){0};
    for (const char *const *title = titles; *title; title++) {
        SW_ASSERT(table->columns < SW_TABLE_COLUMNS_MAX);
        table->right[table->columns++] = **title == '>';
    }
    for (size_t i = 0; i < table->columns; i++) {
        sw_table_cell(table, titles[i] + table->right[i]);
    }
}

void sw_table_init(struct sw_table *table, ...) {
    const char *titles[SW_TABLE_COLUMNS_MAX + 1] = {NULL};
    size_t count = 0;
    va_list list;
    va_start(list, table);
    while ((titles[count] = va_arg(list, const char *))) {
        SW_ASSERT(count < SW_TABLE_COLUMNS_MAX);
        count++;
    }
    va_end(list);
    sw_table_init_titles(table, titles);
}

void sw_table_deinit(struct sw_table *table) {
    for (size_t i = 0; i < table->cell_count; i++) {
        sw_free(table->cells[i]);
    }
    sw_free(table->cells);
    *table = (struct sw_table){0};
}

void sw_table_cell(struct sw_table *table, const char *text) {
    if (table->cell_count == table->cell_capacity) {
        table->cell_capacity = table->cell_capacity ? table->cell_capacity * 2 : 64;
        table->cells = sw_xrealloc(table->cells, table->cell_capacity * sizeof *table->cells);
    }
    table->cells[table->cell_count++] = sw_text_clean(text && *text ? text : "-");
}

void sw_table_cell_number(struct sw_table *table, uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    sw_table_cell(table, text);
}

size_t sw_table_rows(const struct sw_table *table) {
    return table->cell_count / table->columns - 1;
}

/* Bytes of the first `count` code points. */
static size_t bytes_of(const char *text, size_t count) {
    const char *p = text;
    while (*p && count > 0) {
        p++;
        while (((unsigned char)*p & 0xc0) == 0x80) {
            p++;
        }
        count--;
    }
    return (size_t)(p - text);
}

/* The last column: as much as `room` code points take, "..." where something is missing. */
static void append_last(struct sw_buf *out, const char *text, size_t room) {
    if (sw_text_width(text) <= room) {
        sw_buf_append_str(out, sw_str_of(text));
    } else {
        size_t shown = room > 3 ? room - 3 : 0;
        sw_buf_append(out, text, bytes_of(text, shown));
        sw_buf_append(out, "...", room < 3 ? room : 3);
    }
}

static void append_row(struct sw_buf *out, const struct sw_table *table, char *const *cells, const size_t *widths,
                       size_t width) {
    size_t column = 0;
    size_t last = table->columns - 1;
    for (size_t i = 0; i < table->columns; i++) {
        size_t pad = widths[i] - sw_text_width(cells[i]);
        if (table->right[i]) {
            sw_buf_printf(out, "%*s", (int)pad, "");
        }
        if (i == last && !table->right[i] && width) {
            append_last(out, cells[i], width > column ? width - column : 0);
        } else {
            sw_buf_append_str(out, sw_str_of(cells[i]));
        }
        if (i < last) {
            sw_buf_printf(out, "%*s", (int)((table->right[i] ? 0 : pad) + GAP), "");
        }
        column += widths[i] + GAP;
    }
    SW_LIT(out, "\n");
}

void sw_table_write(const struct sw_table *table, size_t width, struct sw_buf *out) {
    size_t widths[SW_TABLE_COLUMNS_MAX] = {0};
    SW_ASSERT(table->cell_count % table->columns == 0);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t n = sw_text_width(table->cells[i]);
        size_t column = i % table->columns;
        widths[column] = n > widths[column] ? n : widths[column];
    }
    for (size_t i = 0; i < table->cell_count; i += table->columns) {
        append_row(out, table, table->cells + i, widths, width);
    }
}

void sw_table_print(const struct sw_table *table, FILE *file, size_t width) {
    struct sw_buf out;
    sw_buf_init(&out, TABLE_BYTES_MAX);
    sw_table_write(table, width, &out);
    SW_ASSERT(!out.failed);
    fwrite(out.data, 1, out.len, file);
    sw_buf_deinit(&out);
}
