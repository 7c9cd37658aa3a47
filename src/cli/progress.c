/* The progress bar; see progress.h. */
#include "cli/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/macros.h"

/* A rate that half a second or a few small files would give says nothing. */
enum { RATE_AFTER_BYTES = 256 << 10 };
enum { DRAW_NS = 100000000, RATE_AFTER_NS = 500000000, BAR_MAX = 30, LABEL_MAX = 40, WIDTH_DEFAULT = 80 };

const char *sw_format_bytes(uint64_t bytes, char ret[SW_BYTES_TEXT_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1023.5 && unit + 1 < SW_COUNTOF(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(ret, SW_BYTES_TEXT_MAX, unit && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return ret;
}

const char *sw_format_left(uint64_t seconds, char ret[SW_BYTES_TEXT_MAX]) {
    unsigned long long s = seconds;
    if (s < 60) {
        snprintf(ret, SW_BYTES_TEXT_MAX, "%llu s", s);
    } else if (s < 3600) {
        snprintf(ret, SW_BYTES_TEXT_MAX, "%llu min %llu s", s / 60, s % 60);
    } else {
        snprintf(ret, SW_BYTES_TEXT_MAX, "%llu h %llu min", s / 3600, s / 60 % 60);
    }
    return ret;
}

/* "[====>   ]" of `width` columns in all. */
static size_t format_bar(char *ret, size_t width, double share) {
    size_t inside = width - 2;
    size_t full = (size_t)(share * (double)inside);
    ret[0] = '[';
    memset(ret + 1, '=', full);
    memset(ret + 1 + full, ' ', inside - full);
    if (full < inside) {
        ret[1 + full] = '>';
    }
    ret[width - 1] = ']';
    return width;
}

void sw_progress_format(const char *label, uint64_t done, uint64_t total, double bytes_per_s, size_t width,
                        char ret[SW_PROGRESS_LINE_MAX]) {
    char figures[160], of[SW_BYTES_TEXT_MAX], all[SW_BYTES_TEXT_MAX], rate[SW_BYTES_TEXT_MAX], left[SW_BYTES_TEXT_MAX];
    double share = total ? (double)(done < total ? done : total) / (double)total : 1;
    int n = snprintf(figures, sizeof figures, "%3u %%  %s of %s", (unsigned)(share * 100), sw_format_bytes(done, of),
                     sw_format_bytes(total, all));
    if (bytes_per_s > 0 && n > 0) {
        double seconds = (double)(total - (done < total ? done : total)) / bytes_per_s;
        uint64_t whole = seconds < 359999 ? (uint64_t)(seconds + 0.5) : 359999;
        snprintf(figures + n, sizeof figures - (size_t)n, "  %s/s  %s left",
                 sw_format_bytes((uint64_t)bytes_per_s, rate), sw_format_left(whole, left));
    }
    width = width < SW_PROGRESS_LINE_MAX ? width : SW_PROGRESS_LINE_MAX - 1;
    size_t named = strlen(label) < LABEL_MAX ? strlen(label) : LABEL_MAX;
    size_t taken = named + 2 + strlen(figures);
    size_t room = width > taken + 2 ? width - taken - 2 : 0;
    size_t bar = room < BAR_MAX ? room : BAR_MAX;
    size_t at = (size_t)snprintf(ret, SW_PROGRESS_LINE_MAX, "%.*s  ", (int)named, label);
    if (bar >= 8) {
        at += format_bar(ret + at, bar, share);
        ret[at++] = ' ';
        ret[at++] = ' ';
    }
    snprintf(ret + at, SW_PROGRESS_LINE_MAX - at, "%s", figures);
    ret[width] = '\0'; /* a narrow terminal shows less */
}

static size_t columns_of(FILE *file) {
    struct winsize size;
    return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : WIDTH_DEFAULT;
}

void sw_progress_begin(struct sw_progress *progress, FILE *file, const char *label, uint64_t total,
                       struct sw_clock *clock) {
    *progress = (struct sw_progress){.file = file && isatty(fileno(file)) ? file : NULL,
                                     .label = label,
                                     .total = total,
                                     .start_ns = sw_now_ns(clock),
                                     .clock = clock};
}

void sw_progress_skip(struct sw_progress *progress, uint64_t bytes) {
    progress->skipped += bytes;
    sw_progress_set(progress, progress->done + bytes);
}

static void draw(struct sw_progress *progress, uint64_t now) {
    char line[SW_PROGRESS_LINE_MAX];
    uint64_t took = now - progress->start_ns;
    uint64_t moved = progress->done > progress->skipped ? progress->done - progress->skipped : 0;
    double rate = took >= RATE_AFTER_NS && moved >= RATE_AFTER_BYTES ? (double)moved / ((double)took / 1e9) : 0;
    sw_progress_format(progress->label, progress->done, progress->total, rate, columns_of(progress->file) - 1, line);
    fprintf(progress->file, "\r\033[K%s", line);
    fflush(progress->file);
    progress->drawn = true;
    progress->drawn_ns = now;
}

void sw_progress_set(struct sw_progress *progress, uint64_t done) {
    uint64_t now = sw_now_ns(progress->clock);
    progress->done = done;
    if (progress->file && (!progress->drawn || now - progress->drawn_ns >= DRAW_NS)) {
        draw(progress, now);
    }
}

void sw_progress_end(struct sw_progress *progress) {
    if (progress->drawn) {
        fputs("\r\033[K", progress->file);
        fflush(progress->file);
    }
    progress->file = NULL;
}
