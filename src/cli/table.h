/* Tables for people: aligned columns, the last one cut where the terminal ends.
 *
 * Cells are copied and cleaned: control characters and broken UTF-8 become '?', since texts of a server may hold
 * anything. A column is as wide as its widest cell, counted in code points. */
#ifndef SW_CLI_TABLE_H
#define SW_CLI_TABLE_H

#include <stdio.h>

#include "base/buf.h"

enum { SW_TABLE_COLUMNS_MAX = 24 };

struct sw_table {
    size_t columns;
    bool right[SW_TABLE_COLUMNS_MAX]; /* aligned to the right: numbers */
    char **cells;                     /* row-major, the titles first */
    size_t cell_count, cell_capacity;
};

/* Titles, up to NULL; one that begins with '>' is aligned to the right (the sign is not shown). */
void sw_table_init(struct sw_table *table, ...) __attribute__((sentinel));
void sw_table_init_titles(struct sw_table *table,
                          const char *const *titles); /* the same from a list that ends in NULL */
void sw_table_deinit(struct sw_table *table);
void sw_table_cell(struct sw_table *table, const char *text); /* the next cell, row by row; NULL: "-" */
void sw_table_cell_number(struct sw_table *table, uint64_t number);
size_t sw_table_rows(const struct sw_table *table); /* complete ones, without the titles */
/* width 0: nothing is cut. */
void sw_table_write(const struct sw_table *table, size_t width, struct sw_buf *out);
void sw_table_print(const struct sw_table *table, FILE *file, size_t width);

/* Code points of valid UTF-8. */
size_t sw_text_width(const char *text);
/* A copy without control characters and broken UTF-8; on the heap. */
char *sw_text_clean(const char *text);

#endif
