/* Times Starlight's decoders on image files: microseconds a decode (median and least of the rounds), pixels wanted as the
 * service wants them, and of reading the first KiB of all its carriers (least); then the most memory the process ever held.
 *
 * bench_starlight [--once] FILE...    --once: one decode of each file, for memory and very large images */
#include "apps/starlight/text.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

enum { FILE_MAX = 64 << 20, ROUNDS = 201, READS = 1000, HEAD = 1024 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "VmHWM:   1234 kB" of /proc/self/status */
static unsigned long peak_kib(void) {
    char line[128];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtoul(line + 6, NULL, 10);
        }
    }
    if (f) {
        fclose(f);
    }
    return kib;
}

static unsigned read_heads(const struct sw_starlight_image *image) {
    uint8_t head[HEAD];
    unsigned sum = 0;
    for (int c = 0; c < SW_STARLIGHT_CARRIERS; c++) {
        size_t n = sw_starlight_carrier_read(image, (enum sw_starlight_carrier)c, 0, head, sizeof head);
        sum += n ? head[n - 1] : 0;
    }
    return sum;
}

/* Least time of reading the heads of all carriers there are. */
static double heads_us(const struct sw_starlight_image *image) {
    double least = 1e9;
    unsigned sum = 0;
    for (int i = 0; i < READS; i++) {
        double start = now_us();
        sum += read_heads(image);
        double us = now_us() - start;
        least = us < least ? us : least;
    }
    return sum == 12345 ? -least : least; /* the reads are used */
}

static int bench(const char *path, int rounds) {
    double times[ROUNDS], heads;
    struct sw_buf file;
    struct sw_error err;
    struct sw_starlight_image image = {0};
    sw_buf_init(&file, FILE_MAX);
    sw_status status = sw_file_read(path, FILE_MAX, &file, &err);
    for (int i = 0; !status && i < rounds; i++) {
        sw_starlight_image_deinit(&image);
        double start = now_us();
        status = sw_starlight_decode(sw_buf_str(&file), &sw_starlight_limits_default, SW_STARLIGHT_LOSSLESS_PIXELS,
                                     &image, &err);
        times[i] = now_us() - start;
    }
    if (status) {
        fprintf(stderr, "%s: %s\n", path, err.message);
    } else {
        heads = heads_us(&image);
        qsort(times, (size_t)rounds, sizeof times[0], compare);
        printf("%10.1f %10.1f %8.2f %10.1f  %5s %5u x %-5u %9zu bytes  %s\n", times[rounds / 2], times[0], heads,
               (double)peak_kib() / 1024, sw_starlight_format_name(image.format), image.width, image.height, file.len,
               path);
    }
    sw_starlight_image_deinit(&image);
    sw_buf_deinit(&file);
    return status ? 1 : 0;
}

int main(int argc, char **argv) {
    bool once = argc > 1 && strcmp(argv[1], "--once") == 0;
    int failed = 0;
    printf("%10s %10s %8s %10s\n", "median us", "least us", "heads us", "peak MiB");
    for (int i = once ? 2 : 1; i < argc; i++) {
        failed |= bench(argv[i], once ? 1 : ROUNDS);
    }
    return failed;
}
