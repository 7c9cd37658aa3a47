/* starlight-evidence: the detector's evidence for training, by the same code that serves it.
 *
 *   starlight-evidence images < PATHS     one path a line
 *   starlight-evidence carriers < RECORDS one record a carrier, little-endian: u8 carrier, u64 size, u16 head length, head,
 *                                         u16 rest length, rest (evidence.h)
 *
 * Writes float32 records to standard output: for an image a status (0, or a sw_status as a number) and
 * [SW_STARLIGHT_EVIDENCE_COUNT][8]; for a carrier [SW_STARLIGHT_EVIDENCE_COUNT]. Faults of images are named on standard error. */
#include <stdio.h>
#include <stdlib.h>

#include "apps/starlight/evidence.h"
#include "base/buf.h"
#include "base/file.h"

enum { VALUES = SW_STARLIGHT_EVIDENCE_COUNT * SW_STARLIGHT_CARRIERS, FILE_MAX = 256 << 20 };

static void write_floats(const float *values, size_t count) {
    if (fwrite(values, sizeof *values, count, stdout) != count) {
        perror("starlight-evidence: standard output");
        exit(3);
    }
}

static sw_status image_evidence(const char *path, float values[VALUES], struct sw_error *err) {
    struct sw_buf file;
    struct sw_starlight_image image;
    struct sw_starlight_limits limits = sw_starlight_limits_default;
    limits.encoded_max = FILE_MAX;
    SW_TRY(sw_file_read(path, FILE_MAX, &file, err));
    sw_status status = sw_starlight_decode(sw_buf_str(&file), &limits, SW_STARLIGHT_LOSSLESS_PIXELS, &image, err);
    if (!status) {
        sw_starlight_evidence(&image, values);
        sw_starlight_image_deinit(&image);
    }
    sw_buf_deinit(&file);
    return status;
}

static int dump_images(void) {
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        float values[1 + VALUES] = {0};
        struct sw_error err = {0};
        path[strcspn(path, "\n")] = 0;
        values[0] = (float)image_evidence(path, values + 1, &err);
        if (values[0] != 0) {
            fprintf(stderr, "%s: %s\n", path, err.message);
        }
        write_floats(values, SW_COUNTOF(values));
    }
    return 0;
}

static void read_exactly(void *into, size_t size) {
    if (size && fread(into, size, 1, stdin) != 1) {
        fputs("starlight-evidence: a record is cut off\n", stderr);
        exit(2);
    }
}

static uint16_t read_length(size_t max) {
    uint16_t length;
    read_exactly(&length, sizeof length);
    if (length > max) {
        fprintf(stderr, "starlight-evidence: a length is %u, at most %zu\n", length, max);
        exit(2);
    }
    return length;
}

static int dump_carriers(void) {
    static uint8_t head[SW_STARLIGHT_WINDOW + 4], rest[256];
    for (int carrier; (carrier = getchar()) != EOF;) {
        float values[SW_STARLIGHT_EVIDENCE_COUNT];
        struct sw_starlight_carrier_bytes bytes = {.head = head, .rest = rest};
        if (carrier >= SW_STARLIGHT_CARRIERS) {
            fprintf(stderr, "starlight-evidence: no carrier %d\n", carrier);
            return 2;
        }
        read_exactly(&bytes.size, sizeof bytes.size);
        bytes.head_length = read_length(sizeof head);
        read_exactly(head, bytes.head_length);
        bytes.rest_length = read_length(sizeof rest);
        read_exactly(rest, bytes.rest_length);
        sw_starlight_carrier_evidence((enum sw_starlight_carrier)carrier, &bytes, values, 1);
        write_floats(values, SW_COUNTOF(values));
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "images") == 0) {
        return dump_images();
    }
    if (argc == 2 && strcmp(argv[1], "carriers") == 0) {
        return dump_carriers();
    }
    fputs("usage: starlight-evidence images|carriers < INPUT > OUTPUT\n", stderr);
    return 2;
}
