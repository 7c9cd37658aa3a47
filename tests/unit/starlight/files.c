#include "files.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <libdeflate.h>

#include "base/memory.h"

/* Room for so many more bytes; in large steps, since files of many small pieces are made here. */
static void grow(struct sample *s, size_t size) {
    if (!s->data || malloc_usable_size(s->data) < s->len + size) {
        s->data = sw_xrealloc(s->data, 2 * (s->len + size) + 16);
    }
}

void put(struct sample *s, const void *data, size_t size) {
    grow(s, size);
    if (size) {
        memcpy(s->data + s->len, data, size);
    }
    s->len += size;
}

void put_text(struct sample *s, const char *text) {
    put(s, text, strlen(text));
}

void put_zeros(struct sample *s, size_t size) {
    grow(s, size);
    memset(s->data + s->len, 0, size);
    s->len += size;
}

void put_be(struct sample *s, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) {
        put(s, &(uint8_t){(uint8_t)(value >> (8 * i))}, 1);
    }
}

void put_le(struct sample *s, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        put(s, &(uint8_t){(uint8_t)(value >> (8 * i))}, 1);
    }
}

struct sample copy_of(const struct sample *s) {
    struct sample copy = {0};
    put(&copy, s->data, s->len);
    return copy;
}

void insert(struct sample *s, size_t at, const void *data, size_t size) {
    struct sample joined = {0};
    put(&joined, s->data, at);
    put(&joined, data, size);
    put(&joined, s->data + at, s->len - at);
    sample_free(s);
    *s = joined;
}

size_t find(const struct sample *s, const char *bytes, size_t size) {
    const uint8_t *p = memmem(s->data, s->len, bytes, size);
    assert_non_null(p);
    return (size_t)(p - s->data);
}

/* ---- PNG */

void png_chunk(struct sample *s, const char *type, const void *data, size_t size) {
    put_be(s, size, 4);
    size_t from = s->len;
    put(s, type, 4);
    put(s, data, size);
    put_be(s, libdeflate_crc32(0, s->data + from, size + 4), 4);
}

struct sample png_begin(uint32_t width, uint32_t height, unsigned depth, unsigned color, unsigned interlace) {
    struct sample s = {0}, header = {0};
    put(&s, "\x89PNG\r\n\x1a\n", 8);
    put_be(&header, width, 4);
    put_be(&header, height, 4);
    put(&header, (uint8_t[]){(uint8_t)depth, (uint8_t)color, 0, 0, (uint8_t)interlace}, 5);
    png_chunk(&s, "IHDR", header.data, header.len);
    sample_free(&header);
    return s;
}

static struct sample compress(const void *data, size_t size) {
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t most = libdeflate_zlib_compress_bound(c, size);
    struct sample s = {.data = sw_xmalloc(most)};
    s.len = libdeflate_zlib_compress(c, data, size, s.data, most);
    assert_true(s.len > 0);
    libdeflate_free_compressor(c);
    return s;
}

struct sample zlib_zeros(size_t size) {
    uint8_t *zeros = sw_xcalloc(size, 1);
    struct sample s = compress(zeros, size);
    sw_free(zeros);
    return s;
}

void png_pixels(struct sample *s, const void *rows, size_t size) {
    struct sample z = compress(rows, size);
    png_chunk(s, "IDAT", z.data, z.len);
    sample_free(&z);
}

void png_pixel_zeros(struct sample *s, size_t size) {
    struct sample z = zlib_zeros(size);
    png_chunk(s, "IDAT", z.data, z.len);
    sample_free(&z);
}

void png_end(struct sample *s) {
    png_chunk(s, "IEND", NULL, 0);
}

/* ---- EXIF */

static void tiff_put(struct sample *s, bool little, uint64_t value, int bytes) {
    little ? put_le(s, value, bytes) : put_be(s, value, bytes);
}

static void tiff_entry(struct sample *s, bool little, unsigned tag, unsigned type, size_t count, size_t value) {
    tiff_put(s, little, tag, 2);
    tiff_put(s, little, type, 2);
    tiff_put(s, little, count, 4);
    tiff_put(s, little, value, 4);
}

struct sample exif_block(bool little, bool in_ifd0, const void *comment, size_t size) {
    struct sample s = {0};
    put(&s, little ? "II\x2a\0\x08\0\0\0" : "MM\0\x2a\0\0\0\x08", 8);
    if (!in_ifd0) {
        tiff_put(&s, little, 1, 2);
        tiff_entry(&s, little, 0x8769, 4, 1, 26);
        put_zeros(&s, 4);
    }
    tiff_put(&s, little, 1, 2);
    tiff_entry(&s, little, 0x9286, 7, size, s.len + 16);
    put_zeros(&s, 4);
    put(&s, comment, size);
    return s;
}

void jpeg_segment(struct sample *jpeg, unsigned marker, const char *prefix, size_t prefix_size, const void *data,
                  size_t size) {
    struct sample segment = {0};
    put(&segment, (uint8_t[]){0xff, (uint8_t)marker}, 2);
    put_be(&segment, prefix_size + size + 2, 2);
    put(&segment, prefix, prefix_size);
    put(&segment, data, size);
    insert(jpeg, 2, segment.data, segment.len);
    sample_free(&segment);
}

/* ---- WebP */

struct sample webp_begin(void) {
    struct sample s = {0};
    put(&s, "RIFF\0\0\0\0WEBP", 12);
    return s;
}

void webp_chunk(struct sample *s, const char *type, const void *data, size_t size) {
    put(s, type, 4);
    put_le(s, size, 4);
    put(s, data, size);
    put_zeros(s, size & 1);
}

void webp_canvas(struct sample *s, unsigned flags, uint32_t width, uint32_t height) {
    struct sample c = {0};
    put_le(&c, flags, 4);
    put_le(&c, width - 1, 3);
    put_le(&c, height - 1, 3);
    webp_chunk(s, "VP8X", c.data, c.len);
    sample_free(&c);
}

void webp_end(struct sample *s) {
    for (int i = 0; i < 4; i++) {
        s->data[4 + i] = (uint8_t)((s->len - 8) >> (8 * i));
    }
}

/* ---- GIF */

struct sample gif_begin(unsigned width, unsigned height) {
    struct sample s = {0};
    put_text(&s, "GIF89a");
    put_le(&s, width, 2);
    put_le(&s, height, 2);
    put(&s, "\x81\0\0\0\0\0\xff\0\0\0\xff\0\0\0\xff", 15);
    return s;
}

/* Codes of 12 bits from the least significant bit on: the table is full after 4090 of them, and then each code stands for
 * the longest run. Only for frames of whole runs; others end with single zeros. */
void gif_frame_of_zeros(struct sample *s, unsigned width, unsigned height) {
    uint64_t left = (uint64_t)width * height, window = 0;
    unsigned bits = 0, width_bits = 3, next = 6, longest = 1;
    struct sample codes = {0};
    put(s, "\x2c\0\0\0\0", 5);
    put_le(s, width, 2);
    put_le(s, height, 2);
    put(s, "\0\2", 2);
    for (bool first = true; left > 0; first = false) {
        unsigned length = left < longest ? (unsigned)left : longest; /* code 0, or the one of that many zeros */
        unsigned code = length == 1 ? 0 : 4 + length;
        window |= (uint64_t)code << bits;
        bits += width_bits;
        left -= length;
        if (!first && next < 4096) {
            next++; /* the string before and one zero */
        }
        longest = next < 4096 ? longest + 1 : longest;
        width_bits += next == 1u << width_bits && width_bits < 12;
        for (; bits >= 8; bits -= 8, window >>= 8) {
            put_le(&codes, window & 0xff, 1);
        }
    }
    window |= (uint64_t)5 << bits; /* end code */
    bits += width_bits;
    put_le(&codes, window, (int)(bits + 7) / 8);
    for (size_t at = 0; at < codes.len; at += 255) {
        size_t n = codes.len - at < 255 ? codes.len - at : 255;
        put_le(s, n, 1);
        put(s, codes.data + at, n);
    }
    put_le(s, 0, 1);
    sample_free(&codes);
}

/* ---- Decoding */

/* The file in memory of exactly its size, so that reading over its end shows. */
static uint8_t *exact_copy(const struct sample *s) {
    uint8_t *exact = sw_xmalloc(s->len + (s->len == 0));
    if (s->len) {
        memcpy(exact, s->data, s->len);
    }
    return exact;
}

struct sw_starlight_image expect_image(const struct sample *s, enum sw_starlight_wanted wanted) {
    struct sw_starlight_image image;
    struct sw_error err = {0};
    if (sw_starlight_decode(sample_str(s), &sw_starlight_limits_default, wanted, &image, &err)) {
        fail_msg("%s", err.message);
    }
    return image;
}

void expect_refused(const struct sample *s, const struct sw_starlight_limits *limits, sw_status status,
                    const char *reason) {
    uint8_t *exact = exact_copy(s);
    struct sw_starlight_image image = {0};
    struct sw_error err = {0};
    sw_status got = sw_starlight_decode((struct sw_str){(const char *)exact, s->len}, limits, SW_STARLIGHT_ALL_PIXELS,
                                        &image, &err);
    sw_free(exact);
    if (got != status || !strstr(err.message, reason)) {
        fail_msg("got %s \"%s\", want %s \"%s\"", sw_status_name(got), got ? err.message : "", sw_status_name(status),
                 reason);
    }
    assert_null(image.owned);
    assert_int_equal(sw_starlight_memory_used(), 0);
}

void refuse(struct sample s, sw_status status, const char *reason) {
    expect_refused(&s, &sw_starlight_limits_default, status, reason);
    sample_free(&s);
}
