/* The ROC curve and the reliability diagram of an evaluation. */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/evaluation_report.h"
#include "cli/svg.h"

enum { PAGE_BYTES_MAX = 16 << 20 };

static sw_status write_page(const char *dir, const char *name, const struct sw_buf *page, bool tell,
                            struct sw_error *err) {
    char *path SW_AUTO_FREE = sw_path_join(dir, name);
    SW_ASSERT(!page->failed);
    FILE *file = fopen(path, "we");
    bool failed = !file || fwrite(page->data, 1, page->len, file) != page->len;
    failed = (file && fclose(file) != 0) || failed;
    if (failed) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    if (tell) {
        printf("wrote %s\n", path);
    }
    return SW_OK;
}

/* --- ROC --------------------------------------------------------------------------------------------------------- */

/* Where the model's own decision lies, with the intervals of both rates. */
static void draw_decision(const struct sw_report *r, const struct sw_svg_plot *p) {
    struct sw_rate fp = r->evaluation->all.false_positives, tp = r->evaluation->all.detection;
    double x = sw_rate_value(fp), y = sw_rate_value(tp);
    struct sw_interval xs = sw_report_interval(r, fp), ys = sw_report_interval(r, tp);
    sw_svg_line(p, SW_SVG_SECOND, (double[]){xs.low, xs.high}, (double[]){y, y}, 2);
    sw_svg_line(p, SW_SVG_SECOND, (double[]){x, x}, (double[]){ys.low, ys.high}, 2);
    sw_svg_point(p, SW_SVG_SECOND, x, y, 4.5);
}

static void draw_curve(const struct sw_report *r, const struct sw_svg_plot *p) {
    size_t step = sw_report_roc_step(&r->roc), n = 0;
    double *x SW_AUTO_FREE = sw_xcalloc(SW_REPORT_ROC_POINTS_MAX + 2, sizeof *x);
    double *y SW_AUTO_FREE = sw_xcalloc(SW_REPORT_ROC_POINTS_MAX + 2, sizeof *y);
    for (size_t i = 0; i < r->roc.count; i++) {
        if (i % step == 0 || i + 1 == r->roc.count) {
            SW_ASSERT(n < SW_REPORT_ROC_POINTS_MAX + 2);
            x[n] = (double)r->roc.points[i].false_positives / (double)r->roc.negatives;
            y[n++] = (double)r->roc.points[i].true_positives / (double)r->roc.positives;
        }
    }
    sw_svg_line(p, SW_SVG_FIRST, x, y, n);
}

/* What a score without meaning would give: the diagonal, curved where the axis is logarithmic. */
static void draw_chance(const struct sw_svg_plot *p) {
    enum { POINTS = 101 };
    double x[POINTS];
    size_t n = 0;
    for (size_t i = 0; i < POINTS; i++) {
        double part = (double)i / (POINTS - 1);
        double v = p->horizontal.log ? p->horizontal.low * pow(p->horizontal.high / p->horizontal.low, part) : part;
        if (v >= p->vertical.low) { /* below, the line would run along the axis */
            x[n++] = v;
        }
    }
    sw_svg_line(p, SW_SVG_GUIDE, x, x, n);
}

/* Detection where not one negative is called positive. */
static double detection_without_false_positives(const struct sw_roc *roc) {
    uint64_t most = 0;
    for (size_t i = 0; i < roc->count && roc->points[i].false_positives == 0; i++) {
        most = roc->points[i].true_positives;
    }
    return (double)most / (double)roc->positives;
}

static void draw_roc(const struct sw_report *r, struct sw_buf *out) {
    char title[160], n[32], m[32];
    double low = pow(10, floor(log10(0.5 / (double)r->roc.negatives)));
    double floor_y = fmin(floor(10 * detection_without_false_positives(&r->roc)) / 10, 0.9);
    struct sw_svg_plot whole = {
        out, 80, 60, 360, 360, {0, 1, false, "false positive rate"}, {0, 1, false, "detection"}};
    struct sw_svg_plot left = {out,
                               540,
                               60,
                               360,
                               360,
                               {fmin(low, 0.1), 1, true, "false positive rate, logarithmic"},
                               {floor_y, 1, false, "detection"}};
    snprintf(title, sizeof title, "%.64s: ROC, AUC %.5f", r->evaluation->judge.model->name, r->roc.auc);
    sw_svg_begin(out, 930, 520, title,
                 "Detection against false positive rate as the threshold falls; on the right the same with a "
                 "logarithmic axis.");
    const struct sw_svg_plot *const plots[] = {&whole, &left};
    for (size_t i = 0; i < 2; i++) {
        sw_svg_axes(plots[i]);
        draw_chance(plots[i]);
        draw_curve(r, plots[i]);
        draw_decision(r, plots[i]);
    }
    sw_svg_legend(out, SW_SVG_FIRST, 80, 495, "every threshold");
    sw_svg_legend(out, SW_SVG_SECOND, 240, 495, "the model's decision, with intervals");
    sw_svg_legend(out, SW_SVG_GUIDE, 540, 495, "chance");
    sw_svg_text(out, 900, 495, SW_SVG_END, true, "%s positives, %s negatives, %g %% intervals",
                sw_cli_thousands(r->roc.positives, n), sw_cli_thousands(r->roc.negatives, m), 100 * r->confidence);
    sw_svg_end(out);
}

/* --- reliability ------------------------------------------------------------------------------------------------- */

static void draw_bins(const struct sw_report *r, const struct sw_svg_plot *p) {
    const struct sw_reliability *reliability = &r->equal_width;
    for (size_t i = 0; i < reliability->bin_count; i++) {
        const struct sw_reliability_bin *bin = &reliability->bins[i];
        if (bin->count) {
            struct sw_rate rate = {bin->positives, bin->count};
            struct sw_interval interval = sw_report_interval(r, rate);
            double x = bin->mean_predicted;
            sw_svg_line(p, SW_SVG_FIRST, (double[]){x, x}, (double[]){interval.low, interval.high}, 2);
            sw_svg_point(p, SW_SVG_FIRST, x, sw_rate_value(rate), 4.5);
        }
    }
}

/* How many samples are in each bin, on a logarithmic axis: most lie at the ends. */
static void draw_counts(const struct sw_report *r, struct sw_buf *out) {
    const struct sw_reliability *reliability = &r->equal_width;
    uint64_t most = 1;
    for (size_t i = 0; i < reliability->bin_count; i++) {
        most = reliability->bins[i].count > most ? reliability->bins[i].count : most;
    }
    double top = pow(10, ceil(log10((double)most * 1.6)));
    struct sw_svg_plot p = {out, 80, 480, 460, 110, {0, 1, false, "probability given"}, {0.5, top, true, "samples"}};
    sw_svg_axes(&p);
    for (size_t i = 0; i < reliability->bin_count; i++) {
        const struct sw_reliability_bin *bin = &reliability->bins[i];
        double gap = (bin->high - bin->low) * 0.08;
        if (bin->count) {
            char number[32];
            sw_svg_bar(&p, SW_SVG_FIRST, bin->low + gap, bin->high - gap, p.vertical.low, (double)bin->count);
            if (reliability->bin_count <= 12) {
                sw_svg_text(out, sw_svg_place_x(&p, (bin->low + bin->high) / 2),
                            sw_svg_place_y(&p, (double)bin->count) - 4, SW_SVG_MIDDLE, true, "%s",
                            sw_cli_thousands(bin->count, number));
            }
        }
    }
}

static void draw_reliability(const struct sw_report *r, struct sw_buf *out) {
    bool binary = r->evaluation->judge.task == SW_TASK_BINARY;
    char title[160];
    struct sw_svg_plot p = {out,
                            80,
                            60,
                            460,
                            360,
                            {0, 1, false, "probability given"},
                            {0, 1, false, binary ? "share of positives" : "share of right answers"}};
    snprintf(title, sizeof title, "%.64s: reliability, ECE %.5f", r->evaluation->judge.model->name,
             r->equal_width.expected_error);
    sw_svg_begin(out, 570, 670, title,
                 "How often samples of each probability are positive, against that probability; below, how many "
                 "samples there are.");
    sw_svg_axes(&p);
    sw_svg_line(&p, SW_SVG_GUIDE, (double[]){0, 1}, (double[]){0, 1}, 2);
    draw_bins(r, &p);
    draw_counts(r, out);
    sw_svg_legend(out, SW_SVG_FIRST, 80, 655, "bins of equal width, with intervals");
    sw_svg_legend(out, SW_SVG_GUIDE, 350, 655, "what is right");
    sw_svg_end(out);
}

/* --- files ------------------------------------------------------------------------------------------------------- */

static sw_status plot(const struct sw_report *r, void (*draw)(const struct sw_report *r, struct sw_buf *out),
                      const char *dir, const char *name, bool tell, struct sw_error *err) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf page;
    sw_buf_init(&page, PAGE_BYTES_MAX);
    draw(r, &page);
    return write_page(dir, name, &page, tell, err);
}

sw_status sw_report_plots(const struct sw_report *r, const char *dir, bool tell, struct sw_error *err) {
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return sw_fail(err, SW_E_IO, "%s: %s", dir, strerror(errno));
    }
    if (r->roc.positives && r->roc.negatives) {
        SW_TRY(plot(r, draw_roc, dir, "roc.svg", tell, err));
    }
    return r->has_reliability ? plot(r, draw_reliability, dir, "reliability.svg", tell, err) : SW_OK;
}
