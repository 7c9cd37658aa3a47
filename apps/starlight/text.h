/* Where text can hide, and reading it.
 *
 * A carrier is a sequence of bytes that one kind of embedding writes from its beginning: bits of a plane packed eight to a
 * byte in scan order (row-major from (0,0), no key), or bytes that are there already. All carriers of an image are
 * read the same way, by evidence.c for the detector and by extract.c for the message.
 *
 *   carrier          bits or bytes                                      found in
 *   ALPHA_LSB        alpha LSBs, first pixel in bit 0 of byte 0         RGBA images, lossy WebP with alpha included
 *   ALPHA_MSB        the same, first pixel in bit 7                     the same
 *   RGB_MSB          LSBs of R,G,B,R,G,B..., first sample in bit 7      lossless true colour and gray
 *   RGB_LSB          the same, first sample in bit 0                    the same
 *   PALETTE_MSB      LSBs of palette indices, first in bit 7            palette images
 *   PALETTE_LSB      the same, first in bit 0                           the same
 *   EXIF             UserComment behind its 8-byte character code       JPEG, PNG, WebP
 *   RAW              bytes behind the end of the image                  all formats
 */
#ifndef APPS_STARLIGHT_TEXT_H
#define APPS_STARLIGHT_TEXT_H

#include "apps/starlight/image.h"
#include "base/arena.h"

enum sw_starlight_carrier {
    SW_STARLIGHT_ALPHA_LSB,
    SW_STARLIGHT_ALPHA_MSB,
    SW_STARLIGHT_RGB_MSB,
    SW_STARLIGHT_RGB_LSB,
    SW_STARLIGHT_PALETTE_MSB,
    SW_STARLIGHT_PALETTE_LSB,
    SW_STARLIGHT_EXIF,
    SW_STARLIGHT_RAW,
    SW_STARLIGHT_CARRIERS
};

/* The classes of embedding, in the order of the model's output. */
enum sw_starlight_method {
    SW_STARLIGHT_METHOD_ALPHA,
    SW_STARLIGHT_METHOD_PALETTE,
    SW_STARLIGHT_METHOD_LSB_RGB,
    SW_STARLIGHT_METHOD_EXIF,
    SW_STARLIGHT_METHOD_RAW,
    SW_STARLIGHT_METHODS
};
const char *sw_starlight_method_name(
    enum sw_starlight_method method); /* "alpha", "palette", "lsb.rgb", "exif", "raw" */

/* Bytes the carrier has in this image; 0 when the image has no such carrier. */
uint64_t sw_starlight_carrier_size(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier);

/* Copies bytes [offset, offset + n) of the carrier; returns how many there are (fewer at its end). */
size_t sw_starlight_carrier_read(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier,
                                 uint64_t offset, uint8_t *out, size_t n);

struct sw_starlight_message {
    enum sw_starlight_method method;
    const char *bit_order; /* "lsb-first", "msb-first"; NULL where there are no bits (exif, raw) */
    bool marked;           /* began with AI42 */
    struct sw_str text;    /* valid UTF-8; in the arena */
};

/* The hidden text of one method, whichever of its carriers holds the likelier one: from 4 bytes (8 without AI42) to 1 MiB,
 * without the mark and the final NUL. false: none, or the arena is full. Never part of the verdict: called after it. */
bool sw_starlight_extract(const struct sw_starlight_image *image, enum sw_starlight_method method,
                          struct sw_arena *arena, struct sw_starlight_message *ret);

#endif
