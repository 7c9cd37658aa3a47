/* An image file as Starlight sees it: what is stored, not what is shown.
 *
 * Unlike pipeline/image.h, which makes pictures for models of pictures, this decoder keeps what a payload could hide in:
 * palette indices before they become colours, alpha without premultiplying, the EXIF UserComment, the bytes behind the
 * end of the image. Colours are as stored: no gamma, no colour profile, no EXIF orientation.
 *
 * The format is told by the first bytes, never by a name. Every file is untrusted: the size in the header is checked
 * against the limits before memory is taken, every count (chunks, frames, scans, EXIF entries) is bounded, nothing is
 * written to disk, and a file that is cut off, fails a checksum or contradicts itself is refused: it is never half
 * decoded. */
#ifndef APPS_STARLIGHT_IMAGE_H
#define APPS_STARLIGHT_IMAGE_H

#include "base/error.h"
#include "base/str.h"

enum sw_starlight_format {
    SW_STARLIGHT_PNG,
    SW_STARLIGHT_JPEG,
    SW_STARLIGHT_GIF,
    SW_STARLIGHT_WEBP,
    SW_STARLIGHT_BMP,
    SW_STARLIGHT_FORMATS
};
const char *sw_starlight_format_name(enum sw_starlight_format format); /* "png" */

struct sw_starlight_limits {
    uint64_t encoded_max; /* bytes of the file; more: SW_E_TOO_LARGE */
    uint64_t pixels_max;  /* width * height of the canvas; more: SW_E_TOO_LARGE */
    uint32_t frames_max;  /* GIF, animated WebP; more: SW_E_UNPROCESSABLE */
    uint32_t chunks_max;  /* PNG chunks, JPEG segments, GIF blocks, RIFF chunks; more: SW_E_UNPROCESSABLE */
    uint32_t scans_max;   /* JPEG; more: SW_E_UNPROCESSABLE */
};
/* 16 MiB, 64 megapixels, 4096 frames, 65536 chunks, 256 scans. */
extern const struct sw_starlight_limits sw_starlight_limits_default;

enum sw_starlight_wanted {
    SW_STARLIGHT_LOSSLESS_PIXELS = 0, /* pixels of lossless files only; lossy ones are decoded to check them, no more */
    SW_STARLIGHT_ALL_PIXELS = 1,
};

struct sw_starlight_image {
    enum sw_starlight_format format;
    uint32_t width, height; /* of the canvas */
    uint32_t bit_depth; /* bits a sample, or a palette index, as stored: 1, 2, 4, 8, 16 (others: the next of them) */
    bool lossy;         /* the colours went through a lossy codec: JPEG, VP8 */
    bool gray;          /* one stored sample gives all three colours */
    bool has_alpha;     /* an alpha plane is stored (a palette with transparency does not count) */
    bool interlaced;    /* PNG Adam7, GIF interlaced first frame, progressive JPEG */
    uint32_t frames;    /* 1 unless animated */

    /* True colour and gray: [raster_height][raster_width][channels] bytes, row-major from (0,0), top row first (BMP too), on the heap.
     * channels: 3 R,G,B (gray: three times the same); 4 with A. Of 16-bit samples the high byte. NULL for palette
     * images, and for lossy files unless all pixels are wanted or there is an alpha plane (then RGBA). */
    uint8_t *pixels;
    uint32_t channels;

    /* Palette images: [raster_height][raster_width] indices in display order (interlacing undone), on the heap; NULL
     * otherwise. Of an animation (GIF, WebP) the raster is the first frame's own, which may be smaller than the canvas. */
    uint8_t *indices;
    uint32_t raster_width, raster_height; /* of pixels or indices, whichever there is; 0 when neither */
    uint32_t palette_count;               /* entries stored: 0 to 256; an index may be beyond it (then black) */
    uint8_t palette[256][4];              /* R,G,B,A */

    /* Metadata; borrowed from the encoded bytes (or, after inflating or joining, owned through `owned`). data NULL: the
     * file has none. */
    struct sw_str user_comment; /* EXIF UserComment (0x9286, in the Exif IFD or in IFD0), 8-byte character code
                                   included; of several the first that is not blank */
    bool exif_little_endian;
    struct sw_str trailing; /* bytes after the end of the image: PNG 8 bytes after the IEND tag began, GIF after the
                               trailer, WebP past the RIFF size (padded to even), BMP past its size field (past its pixels
                               when that field is 0 or too small), JPEG after EOI; whole JPEG pictures that follow there
                               (previews) and zeros between them are passed over. data NULL: nothing */
    uint64_t exif_bytes, xmp_bytes, icc_bytes, comment_bytes; /* sizes; 0: none. comment: JPEG COM, PNG tEXt/zTXt/iTXt,
                                                                 GIF comment extensions */
    uint32_t exif_entries;                                    /* IFD entries read, all IFDs */
    uint32_t chunks;                                          /* chunks, segments or blocks of the container */
    void *owned; /* memory lent out above, and this image's part of the budget below */
};

/* SW_E_UNSUPPORTED_MEDIA: none of the five formats (an empty body too). SW_E_TOO_LARGE: over encoded_max or pixels_max, or
 * more than the whole memory budget. SW_E_UNAVAILABLE: the budget is in use, or memory is short. SW_E_UNPROCESSABLE: anything else wrong with the file; the message names the format and the reason. Broken EXIF is not
 * a fault of the image: it counts as none. On success *ret is the caller's to deinit; on failure untouched. */
SW_MUST_CHECK sw_status sw_starlight_decode(struct sw_str encoded, const struct sw_starlight_limits *limits,
                                            enum sw_starlight_wanted wanted, struct sw_starlight_image *ret,
                                            struct sw_error *err);
void sw_starlight_image_deinit(struct sw_starlight_image *image);

/* Memory of decoded images and of decoders at work, in bytes, is counted for the whole process: what would go over the
 * budget (1 GiB unless set) is refused before it is allocated, so that many large images at once cannot add up. Any
 * thread, any time; a lower budget counts for what comes. */
void sw_starlight_memory_budget(uint64_t bytes);
uint64_t sw_starlight_memory_used(void);

#endif
