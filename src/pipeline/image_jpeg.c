/* See image_jpeg.h. */
#include "pipeline/image_jpeg.h"

/* The message codes alone: the header's macros use functions that are banned here (see the header on re-inclusion). */
#define JERROR_H
#define JMESSAGE(code, string) code,
enum {
#include <jerror.h>
    MESSAGE_CODES
};

static struct sw_jpeg_guard *guard_of(j_common_ptr jpeg) {
    return jpeg->client_data;
}

SW_NORETURN static void on_error(j_common_ptr jpeg) {
    struct sw_jpeg_guard *guard = guard_of(jpeg);
    guard->out_of_memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    jpeg->err->format_message(jpeg, guard->reason);
    longjmp(guard->jump, 1);
}

static void on_message(j_common_ptr jpeg, int level) {
    int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR) {
        on_error(jpeg);
    }
}

static void on_progress(j_common_ptr jpeg) {
    struct sw_jpeg_guard *guard = guard_of(jpeg);
    if (((j_decompress_ptr)jpeg)->input_scan_number > guard->scans_max) {
        snprintf(guard->reason, sizeof guard->reason, "more than %d scans", guard->scans_max);
        longjmp(guard->jump, 1);
    }
}

static void no_output(j_common_ptr jpeg) {
}

void sw_jpeg_guard_init(struct sw_jpeg_guard *guard, struct jpeg_decompress_struct *jpeg, int scans_max) {
    *guard = (struct sw_jpeg_guard){.scans_max = scans_max};
    jpeg->err = jpeg_std_error(&guard->errors);
    jpeg->client_data = guard;
    guard->errors.error_exit = on_error;
    guard->errors.emit_message = on_message;
    guard->errors.output_message = no_output;
    guard->progress.progress_monitor = on_progress;
}

void sw_jpeg_guard_watch(struct sw_jpeg_guard *guard, struct jpeg_decompress_struct *jpeg) {
    jpeg->client_data = guard;
    jpeg->progress = &guard->progress;
}

void sw_jpeg_fail(struct jpeg_decompress_struct *jpeg, const char *reason, bool out_of_memory) {
    struct sw_jpeg_guard *guard = jpeg->client_data;
    guard->out_of_memory = out_of_memory;
    snprintf(guard->reason, sizeof guard->reason, "%s", reason);
    longjmp(guard->jump, 1);
}

void sw_jpeg_cmyk_to_rgb(const uint8_t *in, uint8_t *out, uint32_t width, bool inverted) {
    for (uint32_t x = 0; x < width; x++, in += 4, out += 3) {
        uint32_t k = inverted ? in[3] : 255u - in[3];
        for (int i = 0; i < 3; i++) {
            out[i] = (uint8_t)(((inverted ? in[i] : 255u - in[i]) * k + 127) / 255);
        }
    }
}
