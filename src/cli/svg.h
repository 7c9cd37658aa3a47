/* Small charts as SVG: a page, plots with axes on it, and marks in the plots' own units.
 *
 * Colours follow the reader's light or dark theme (a style sheet with prefers-color-scheme inside the file); nothing is
 * loaded from elsewhere. The same calls give the same bytes. Texts are escaped; coordinates are in pixels from the
 * upper left corner of the page, values in the units of a plot's axes. */
#ifndef SW_CLI_SVG_H
#define SW_CLI_SVG_H

#include "base/buf.h"

/* How a mark looks. */
enum sw_svg_style {
    SW_SVG_FIRST,  /* of the first series */
    SW_SVG_SECOND, /* of the second */
    SW_SVG_GUIDE,  /* dashed: what would be right */
    SW_SVG_STYLES
};

enum sw_svg_anchor { SW_SVG_START, SW_SVG_MIDDLE, SW_SVG_END };

struct sw_svg_axis {
    double low, high; /* low < high; log: 0 < low */
    bool log;         /* powers of ten */
    const char *title;
};

struct sw_svg_plot {
    struct sw_buf *out;
    double x, y, width, height; /* the frame, in pixels */
    struct sw_svg_axis horizontal, vertical;
};

/* The page. `title` is shown on top and read to those who cannot see; `description` is only read. */
void sw_svg_begin(struct sw_buf *out, double width, double height, const char *title, const char *description);
void sw_svg_end(struct sw_buf *out);

/* Frame, grid, ticks with their values, titles of the axes. */
void sw_svg_axes(const struct sw_svg_plot *plot);

/* Values beyond an axis are drawn at its end. */
void sw_svg_line(const struct sw_svg_plot *plot, enum sw_svg_style style, const double *x, const double *y,
                 size_t count);
void sw_svg_point(const struct sw_svg_plot *plot, enum sw_svg_style style, double x, double y, double radius);
void sw_svg_bar(const struct sw_svg_plot *plot, enum sw_svg_style style, double x_low, double x_high, double y_low,
                double y_high);

/* Text at a place of the page. */
void sw_svg_text(struct sw_buf *out, double x, double y, enum sw_svg_anchor anchor, bool small, const char *fmt, ...)
    SW_PRINTF(6, 7);
/* A sample of a style and what it stands for. */
void sw_svg_legend(struct sw_buf *out, enum sw_svg_style style, double x, double y, const char *text);

/* Where a value lies, in pixels. */
double sw_svg_place_x(const struct sw_svg_plot *plot, double value);
double sw_svg_place_y(const struct sw_svg_plot *plot, double value);

#endif
