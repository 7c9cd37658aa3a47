/* See svg.h. */
#include "cli/svg.h"

#include <math.h>

enum { TICKS_MAX = 32, TEXT_MAX = 512 };

static const char sheet[] =
    "<style>\n"
    "text{font:13px system-ui,'Segoe UI','Helvetica Neue',Arial,sans-serif;fill:#1f2328}\n"
    "text.title{font-size:16px;font-weight:600}text.small{font-size:11px;fill:#59636e}\n"
    ".page{fill:#fff}.grid{stroke:#d8dee4;stroke-width:1;fill:none}.frame{stroke:#818b98;stroke-width:1;fill:none}\n"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:5 4;stroke-width:1.5}\n"
    ".s0{stroke:#0969da}.f0{fill:#0969da}.s1{stroke:#bc4c00}.f1{fill:#bc4c00}.s2{stroke:#818b98}.f2{fill:#818b98}\n"
    "@media(prefers-color-scheme:dark){\n"
    "text{fill:#e6edf3}text.small{fill:#9198a1}.page{fill:#0d1117}.grid{stroke:#2a313c}.frame{stroke:#656c76}\n"
    ".s0{stroke:#58a6ff}.f0{fill:#58a6ff}.s1{stroke:#f0883e}.f1{fill:#f0883e}.s2{stroke:#9198a1}.f2{fill:#9198a1}\n"
    "}\n"
    "</style>\n";

/* --- page -------------------------------------------------------------------------------------------------------- */

static void append_escaped(struct sw_buf *out, const char *text) {
    struct sw_str s = sw_str_of(text);
    bool valid = sw_utf8_valid(s);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        switch (c) {
        case '&': SW_LIT(out, "&amp;"); break;
        case '<': SW_LIT(out, "&lt;"); break;
        case '>': SW_LIT(out, "&gt;"); break;
        case '"': SW_LIT(out, "&quot;"); break;
        default: sw_buf_append_c(out, c < 0x20 || c == 0x7f || (!valid && c >= 0x80) ? '?' : (char)c); break;
        }
    }
}

void sw_svg_begin(struct sw_buf *out, double width, double height, const char *title, const char *description) {
    sw_buf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
                  "role=\"img\">\n<title>",
                  width, height, width, height);
    append_escaped(out, title);
    SW_LIT(out, "</title>\n<desc>");
    append_escaped(out, description);
    SW_LIT(out, "</desc>\n");
    sw_buf_append(out, sheet, sizeof sheet - 1);
    sw_buf_printf(out,
                  "<rect class=\"page\" width=\"%.0f\" height=\"%.0f\"/>\n<text class=\"title\" x=\"20\" y=\"28\">",
                  width, height);
    append_escaped(out, title);
    SW_LIT(out, "</text>\n");
}

void sw_svg_end(struct sw_buf *out) {
    SW_LIT(out, "</svg>\n");
}

void sw_svg_text(struct sw_buf *out, double x, double y, enum sw_svg_anchor anchor, bool small, const char *fmt, ...) {
    static const char *const anchors[] = {"start", "middle", "end"};
    char text[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sw_buf_printf(out, "<text%s x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", small ? " class=\"small\"" : "", x, y,
                  anchors[anchor]);
    append_escaped(out, text);
    SW_LIT(out, "</text>\n");
}

static const char *dash(enum sw_svg_style style) {
    return style == SW_SVG_GUIDE ? " dash" : "";
}

void sw_svg_legend(struct sw_buf *out, enum sw_svg_style style, double x, double y, const char *text) {
    sw_buf_printf(out, "<path class=\"line s%d%s\" d=\"M%.1f %.1fh22\"/>\n", (int)style, dash(style), x, y - 4);
    sw_svg_text(out, x + 28, y, SW_SVG_START, false, "%s", text);
}

/* --- places ------------------------------------------------------------------------------------------------------ */

/* 0 at the low end of the axis, 1 at the high one. */
static double part(const struct sw_svg_axis *axis, double value) {
    double p = axis->log ? log(fmax(value, axis->low) / axis->low) / log(axis->high / axis->low)
                         : (value - axis->low) / (axis->high - axis->low);
    return fmin(fmax(p, 0), 1);
}

double sw_svg_place_x(const struct sw_svg_plot *plot, double value) {
    return plot->x + part(&plot->horizontal, value) * plot->width;
}

double sw_svg_place_y(const struct sw_svg_plot *plot, double value) {
    return plot->y + plot->height - part(&plot->vertical, value) * plot->height;
}

/* --- axes -------------------------------------------------------------------------------------------------------- */

/* The step of 1, 2 or 5 times a power of ten that gives four to ten ticks. */
static double tick_step(double span) {
    double step = pow(10, floor(log10(span / 4)));
    if (span / step >= 20) {
        step *= 5;
    } else if (span / step >= 10) {
        step *= 2;
    }
    return step;
}

static size_t linear_ticks(const struct sw_svg_axis *axis, double ticks[TICKS_MAX]) {
    double step = tick_step(axis->high - axis->low);
    double first = ceil(axis->low / step - 1e-9);
    size_t n = 0;
    for (; n < TICKS_MAX && (first + (double)n) * step <= axis->high + step * 1e-9; n++) {
        ticks[n] = (first + (double)n) * step;
    }
    return n;
}

static size_t log_ticks(const struct sw_svg_axis *axis, double ticks[TICKS_MAX]) {
    double first = ceil(log10(axis->low) - 1e-9);
    size_t n = 0;
    for (; n < TICKS_MAX && pow(10, first + (double)n) <= axis->high * (1 + 1e-9); n++) {
        ticks[n] = pow(10, first + (double)n);
    }
    return n;
}

static size_t make_ticks(const struct sw_svg_axis *axis, double ticks[TICKS_MAX]) {
    return axis->log ? log_ticks(axis, ticks) : linear_ticks(axis, ticks);
}

/* 0.1, 100, 1e-05: ticks are few digits times a power of ten. */
static void tick_text(double value, char text[32]) {
    snprintf(text, 32, "%.6g", fabs(value) < 1e-12 ? 0 : value);
}

static void horizontal_axis(const struct sw_svg_plot *p) {
    double ticks[TICKS_MAX];
    size_t n = make_ticks(&p->horizontal, ticks);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        double x = sw_svg_place_x(p, ticks[i]);
        tick_text(ticks[i], text);
        sw_buf_printf(p->out, "<path class=\"grid\" d=\"M%.1f %.1fv%.1f\"/>\n", x, p->y, p->height);
        sw_svg_text(p->out, x, p->y + p->height + 18, SW_SVG_MIDDLE, true, "%s", text);
    }
    sw_svg_text(p->out, p->x + p->width / 2, p->y + p->height + 40, SW_SVG_MIDDLE, false, "%s", p->horizontal.title);
}

static void vertical_axis(const struct sw_svg_plot *p) {
    double ticks[TICKS_MAX], middle = p->y + p->height / 2;
    size_t n = make_ticks(&p->vertical, ticks);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        double y = sw_svg_place_y(p, ticks[i]);
        tick_text(ticks[i], text);
        sw_buf_printf(p->out, "<path class=\"grid\" d=\"M%.1f %.1fh%.1f\"/>\n", p->x, y, p->width);
        sw_svg_text(p->out, p->x - 8, y + 4, SW_SVG_END, true, "%s", text);
    }
    sw_buf_printf(p->out, "<g transform=\"rotate(-90 %.1f %.1f)\">\n", p->x - 46, middle);
    sw_svg_text(p->out, p->x - 46, middle, SW_SVG_MIDDLE, false, "%s", p->vertical.title);
    SW_LIT(p->out, "</g>\n");
}

void sw_svg_axes(const struct sw_svg_plot *p) {
    SW_ASSERT(p->horizontal.low < p->horizontal.high && p->vertical.low < p->vertical.high);
    horizontal_axis(p);
    vertical_axis(p);
    sw_buf_printf(p->out, "<rect class=\"frame\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", p->x, p->y,
                  p->width, p->height);
}

/* --- marks ------------------------------------------------------------------------------------------------------- */

void sw_svg_line(const struct sw_svg_plot *p, enum sw_svg_style style, const double *x, const double *y, size_t count) {
    sw_buf_printf(p->out, "<path class=\"line s%d%s\" d=\"", (int)style, dash(style));
    for (size_t i = 0; i < count; i++) {
        sw_buf_printf(p->out, "%c%.2f %.2f", i ? 'L' : 'M', sw_svg_place_x(p, x[i]), sw_svg_place_y(p, y[i]));
    }
    SW_LIT(p->out, "\"/>\n");
}

void sw_svg_point(const struct sw_svg_plot *p, enum sw_svg_style style, double x, double y, double radius) {
    sw_buf_printf(p->out, "<circle class=\"f%d\" cx=\"%.2f\" cy=\"%.2f\" r=\"%.1f\"/>\n", (int)style,
                  sw_svg_place_x(p, x), sw_svg_place_y(p, y), radius);
}

void sw_svg_bar(const struct sw_svg_plot *p, enum sw_svg_style style, double x_low, double x_high, double y_low,
                double y_high) {
    double left = sw_svg_place_x(p, x_low), right = sw_svg_place_x(p, x_high);
    double top = sw_svg_place_y(p, y_high), bottom = sw_svg_place_y(p, y_low);
    sw_buf_printf(p->out, "<rect class=\"f%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>\n", (int)style,
                  left, top, right - left, bottom - top);
}
