/* What the five decoders share: the file, the limits, the memory they may take, and how faults are worded.
 *
 * A decoder walks its container first (decode_X.c): structure, sizes, checksums, metadata, where the image ends. Only then
 * are pixels decoded, from bytes whose place is known. Memory that grows with the picture is asked for through
 * sw_starlight_alloc and sw_starlight_scratch, which count it against the budget of the process before it exists. */
#ifndef APPS_STARLIGHT_DECODE_INTERNAL_H
#define APPS_STARLIGHT_DECODE_INTERNAL_H

#include "apps/starlight/image.h"

/* What hangs on image->owned: memory that the image lends out, and its part of the budget. */
struct sw_starlight_owned {
    uint64_t reserved; /* bytes of the budget */
    uint8_t *comment;  /* the buffer user_comment points into, when it was unpacked; NULL otherwise */
};

struct sw_starlight_decoder {
    const uint8_t *data; /* the file; borrowed */
    size_t size;
    const char *name; /* of the format, in messages: "PNG" */
    const struct sw_starlight_limits *limits;
    enum sw_starlight_wanted wanted;
    struct sw_starlight_image *image; /* being filled; the caller deinits it when decoding fails */
    struct sw_starlight_owned *owned; /* = image->owned */
    uint64_t scratch;                 /* bytes of the budget that are given back after decoding */
    bool blank_comment;               /* image->user_comment holds nothing but padding: a better one replaces it */
    struct sw_error *err;
};

/* "PNG cannot be decoded: WHY", SW_E_UNPROCESSABLE. */
#define sw_starlight_fault(d, why, ...) \
    sw_fail((d)->err, SW_E_UNPROCESSABLE, "%s cannot be decoded: " why, (d)->name, ##__VA_ARGS__)

sw_status sw_starlight_decode_png(struct sw_starlight_decoder *d);
sw_status sw_starlight_decode_jpeg(struct sw_starlight_decoder *d);
sw_status sw_starlight_decode_gif(struct sw_starlight_decoder *d);
sw_status sw_starlight_decode_webp(struct sw_starlight_decoder *d);
sw_status sw_starlight_decode_bmp(struct sw_starlight_decoder *d);

/* A zero side is unprocessable, too many pixels are too large. For frames, and before anything is allocated. */
sw_status sw_starlight_check_size(struct sw_starlight_decoder *d, uint64_t width, uint64_t height);
/* The same, then sets width and height of the image. */
sw_status sw_starlight_set_canvas(struct sw_starlight_decoder *d, uint64_t width, uint64_t height);
/* One more chunk, segment or block; one more frame. */
sw_status sw_starlight_count_chunk(struct sw_starlight_decoder *d);
sw_status sw_starlight_count_frame(struct sw_starlight_decoder *d, uint32_t frames);

/* Memory of the image (pixels, indices): counted until the image's deinit. Not zeroed. *ret NULL on failure. */
sw_status sw_starlight_alloc(struct sw_starlight_decoder *d, uint64_t size, uint8_t **ret);
/* Gives back what lies behind the first `used` bytes of such memory. */
void sw_starlight_shrink(struct sw_starlight_decoder *d, uint8_t **p, uint64_t size, uint64_t used);
/* Memory that decoding needs and then frees (the caller's, or a library's): counted until decoding ends. */
sw_status sw_starlight_reserve(struct sw_starlight_decoder *d, uint64_t size);
/* Reserves, then allocates; freed by the caller with sw_free. */
sw_status sw_starlight_scratch(struct sw_starlight_decoder *d, uint64_t size, uint8_t **ret);

/* Where the file ends for a viewer; what follows becomes image->trailing. */
void sw_starlight_set_trailing(struct sw_starlight_decoder *d, size_t at);

/* One EXIF block (TIFF header, or "Exif\0\0" and then it): adds to the counts, and takes the comment unless there is one
 * already. `copy`: the block does not live as long as the file, so that the comment must be copied. Broken blocks count
 * as none. */
void sw_starlight_take_exif(struct sw_starlight_decoder *d, const uint8_t *block, size_t size, bool copy);

/* What an EXIF block says; see exif.c. */
struct sw_starlight_exif {
    struct sw_str user_comment; /* within the block; data NULL: none */
    bool blank;                 /* nothing but padding behind the character code */
    bool little_endian;
    uint32_t entries;
};
/* false: no TIFF header or no directory. */
bool sw_starlight_exif_read(const uint8_t *tiff, size_t size, struct sw_starlight_exif *ret);

/* png_pixels.c */
struct sw_starlight_png {
    uint32_t width, height;
    uint32_t depth, color; /* as IHDR stores them; checked */
    bool interlaced;
};
/* Inflates, undoes the filters and stores rows as image.h says. `zlib`: all IDAT chunks, one behind the other. */
sw_status sw_starlight_png_pixels(struct sw_starlight_decoder *d, const struct sw_starlight_png *png,
                                  const uint8_t *zlib, size_t size);

/* gif_lzw.c: the picture data of one frame. `blocks` begins at the minimum code size byte. Decodes exactly `count`
 * indices to `out`, or, when it is NULL, only checks that they are there, which costs time by the code and not by the
 * pixel. *ret_used gets the bytes up to and with the block terminator. NULL on success, else why not. */
const char *sw_starlight_gif_lzw(const uint8_t *blocks, size_t size, uint8_t *out, uint64_t count, size_t *ret_used);

static inline uint32_t sw_starlight_be16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t sw_starlight_be32(const uint8_t *p) {
    return sw_starlight_be16(p) << 16 | sw_starlight_be16(p + 2);
}

static inline uint32_t sw_starlight_le16(const uint8_t *p) {
    return (uint32_t)p[1] << 8 | p[0];
}

static inline uint32_t sw_starlight_le24(const uint8_t *p) {
    return (uint32_t)p[2] << 16 | sw_starlight_le16(p);
}

static inline uint32_t sw_starlight_le32(const uint8_t *p) {
    return sw_starlight_le16(p + 2) << 16 | sw_starlight_le16(p);
}

#endif
