/* What every user of libjpeg here needs: a guard that turns the library's way of failing into a jump, and inks to colours.
 *
 * libjpeg reports errors by a callback that must not return. The guard's jumps back with longjmp to where its owner
 * called setjmp(guard.jump); `reason` then says why. Everything that must survive the jump belongs to the function that
 * calls the one with setjmp, so that no variable of a jumped-over frame is read afterwards:
 *
 *     if (setjmp(d->guard.jump)) {
 *         return ... d->guard.reason ...;
 *     }
 *     jpeg_create_decompress(&d->jpeg);
 *     sw_jpeg_guard_watch(&d->guard, &d->jpeg);
 *
 * Warnings that mean missing or damaged picture data count as errors. */
#ifndef SW_PIPELINE_IMAGE_JPEG_H
#define SW_PIPELINE_IMAGE_JPEG_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>

#include <jpeglib.h>

#include "base/macros.h"

struct sw_jpeg_guard {
    struct jpeg_error_mgr errors; /* for jpeg_decompress_struct.err */
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    int scans_max; /* more scans are an error; set at any time before the scans are read */
    bool out_of_memory;
    char reason[JMSG_LENGTH_MAX];
};

/* Zeroes the guard and sets jpeg->err. Before jpeg_create_decompress. */
void sw_jpeg_guard_init(struct sw_jpeg_guard *guard, struct jpeg_decompress_struct *jpeg, int scans_max);
/* After jpeg_create_decompress, which clears these fields: client_data and the count of scans. */
void sw_jpeg_guard_watch(struct sw_jpeg_guard *guard, struct jpeg_decompress_struct *jpeg);

/* Jump with a reason of the caller's (static text). */
SW_NORETURN void sw_jpeg_fail(struct jpeg_decompress_struct *jpeg, const char *reason, bool out_of_memory);

/* One row of CMYK to RGB. `inverted`: ink is stored as 255 - ink, as Adobe's files do. */
void sw_jpeg_cmyk_to_rgb(const uint8_t *in, uint8_t *out, uint32_t width, bool inverted);

#endif
