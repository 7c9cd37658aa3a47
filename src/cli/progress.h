/* A progress bar on standard error, when that is a terminal: what, how much, how fast, how long still.
 *
 * Drawn at most ten times a second; nothing is written where nobody looks. */
#ifndef SW_CLI_PROGRESS_H
#define SW_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"

enum { SW_PROGRESS_LINE_MAX = 512 };

struct sw_progress {
    FILE *file;        /* NULL: silent */
    const char *label; /* borrowed until end */
    uint64_t total, done;
    uint64_t skipped; /* part of done that took no time: what was there before */
    uint64_t start_ns, drawn_ns;
    bool drawn;
    struct sw_clock *clock;
};

/* `file` is standard error, or NULL for silence; it is not drawn on when it is no terminal. */
void sw_progress_begin(struct sw_progress *progress, FILE *file, const char *label, uint64_t total,
                       struct sw_clock *clock);
void sw_progress_skip(struct sw_progress *progress, uint64_t bytes); /* these were there already */
void sw_progress_set(struct sw_progress *progress, uint64_t done);   /* of total, skipped ones included */
void sw_progress_end(struct sw_progress *progress);                  /* takes the bar away */

/* One line of at most `width` columns: "model.onnx  [=====>    ]  45 %  0.9 of 2.0 GiB  183 MiB/s  6 s left". rate
 * 0: not known yet. */
void sw_progress_format(const char *label, uint64_t done, uint64_t total, double bytes_per_s, size_t width,
                        char ret[SW_PROGRESS_LINE_MAX]);

/* "0 B", "1023 B", "1.5 KiB", "10.2 MiB", "512 MiB": for people, three digits or so. */
enum { SW_BYTES_TEXT_MAX = 32 };
const char *sw_format_bytes(uint64_t bytes, char ret[SW_BYTES_TEXT_MAX]);
/* "6 s", "3 min 20 s", "2 h 5 min". */
const char *sw_format_left(uint64_t seconds, char ret[SW_BYTES_TEXT_MAX]);

#endif
