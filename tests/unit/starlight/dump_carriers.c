/* Prints what the decoder sees of each file, one JSON object a line: for test_carriers.py, which compares with Pillow.
 *
 * dump_carriers [--all] FILE...    --all: the pixels of lossy files too
 * dump_carriers -                  paths from the standard input, a line each, answered at once; "all PATH" as above */
#include "apps/starlight/text.h"
#include "base/file.h"
#include "base/memory.h"

enum { FILE_MAX = 64 << 20 };

static void put_hex(const char *name, const uint8_t *data, size_t size) {
    printf(", \"%s\": ", name);
    if (!data) {
        printf("null");
        return;
    }
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        printf("%02x", data[i]);
    }
    putchar('"');
}

static void put_carriers(const struct sw_starlight_image *image) {
    static const char *const names[SW_STARLIGHT_CARRIERS] = {"alpha_lsb",   "alpha_msb",   "rgb_msb", "rgb_lsb",
                                                             "palette_msb", "palette_lsb", "exif",    "raw"};
    for (int c = 0; c < SW_STARLIGHT_CARRIERS; c++) {
        uint64_t size = sw_starlight_carrier_size(image, (enum sw_starlight_carrier)c);
        SW_AUTO_FREE uint8_t *bytes = sw_xmalloc((size_t)size + 1);
        size_t n = sw_starlight_carrier_read(image, (enum sw_starlight_carrier)c, 0, bytes, (size_t)size + 1);
        SW_ASSERT(n == size);
        put_hex(names[c], size ? bytes : NULL, n);
    }
}

static void put_messages(const struct sw_starlight_image *image) {
    struct sw_arena arena;
    struct sw_starlight_message m;
    sw_arena_init(&arena, 16 << 20, 0);
    for (int method = 0; method < SW_STARLIGHT_METHODS; method++) {
        if (sw_starlight_extract(image, (enum sw_starlight_method)method, &arena, &m)) {
            char name[32];
            snprintf(name, sizeof name, "text %s", sw_starlight_method_name(m.method));
            printf(", \"%s marked\": %d, \"%s order\": \"%s\"", name, m.marked, name, m.bit_order ? m.bit_order : "");
            put_hex(name, (const uint8_t *)m.text.data, m.text.len);
        }
    }
    sw_arena_deinit(&arena);
}

static void put_image(const struct sw_starlight_image *i) {
    printf(
        "\"format\": \"%s\", \"width\": %u, \"height\": %u, \"bit_depth\": %u, \"lossy\": %d, \"gray\": %d, "
        "\"has_alpha\": %d, \"interlaced\": %d, \"frames\": %u, \"channels\": %u, \"raster_width\": %u, "
        "\"raster_height\": %u, \"palette_count\": %u, \"exif_bytes\": %llu, \"xmp_bytes\": %llu, \"icc_bytes\": %llu, "
        "\"comment_bytes\": %llu, \"exif_entries\": %u, \"chunks\": %u, \"exif_little_endian\": %d",
        sw_starlight_format_name(i->format), i->width, i->height, i->bit_depth, i->lossy, i->gray, i->has_alpha,
        i->interlaced, i->frames, i->channels, i->raster_width, i->raster_height, i->palette_count,
        (unsigned long long)i->exif_bytes, (unsigned long long)i->xmp_bytes, (unsigned long long)i->icc_bytes,
        (unsigned long long)i->comment_bytes, i->exif_entries, i->chunks, i->exif_little_endian);
    size_t raster = (size_t)i->raster_width * i->raster_height;
    put_hex("pixels", i->pixels, raster * i->channels);
    put_hex("indices", i->indices, raster);
    put_hex("palette", i->palette[0], 4 * (size_t)i->palette_count);
    put_hex("user_comment", (const uint8_t *)i->user_comment.data, i->user_comment.len);
    put_hex("trailing", (const uint8_t *)i->trailing.data, i->trailing.len);
    put_carriers(i);
    put_messages(i);
}

static void dump(const char *path, enum sw_starlight_wanted wanted) {
    struct sw_error err;
    struct sw_buf bytes;
    struct sw_starlight_image image;
    sw_buf_init(&bytes, FILE_MAX);
    sw_status status = sw_file_read(path, FILE_MAX, &bytes, &err);
    status = status ? status
                    : sw_starlight_decode(sw_buf_str(&bytes), &sw_starlight_limits_default, wanted, &image, &err);
    putchar('{');
    if (status) {
        printf("\"status\": \"%s\", \"error\": \"%s\"", sw_status_name(status), err.message);
    } else {
        put_image(&image);
        sw_starlight_image_deinit(&image);
    }
    puts("}");
    sw_buf_deinit(&bytes);
}

static void dump_lines(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        bool all = strncmp(line, "all ", 4) == 0;
        dump(all ? line + 4 : line, all ? SW_STARLIGHT_ALL_PIXELS : SW_STARLIGHT_LOSSLESS_PIXELS);
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    if (argc == 2 && strcmp(argv[1], "-") == 0) {
        dump_lines();
        return 0;
    }
    for (int i = all ? 2 : 1; i < argc; i++) {
        dump(argv[i], all ? SW_STARLIGHT_ALL_PIXELS : SW_STARLIGHT_LOSSLESS_PIXELS);
    }
    return 0;
}
