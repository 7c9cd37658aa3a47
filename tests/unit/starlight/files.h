/* Image files by hand, piece by piece, for tests of the decoder: what the libraries' writers never write. */
#ifndef TEST_STARLIGHT_FILES_H
#define TEST_STARLIGHT_FILES_H

#include "apps/starlight/image.h"
#include "tests/unit/pipeline/samples.h"

void put(struct sample *s, const void *data, size_t size);
void put_text(struct sample *s, const char *text); /* without the NUL */
void put_zeros(struct sample *s, size_t size);
void put_be(struct sample *s, uint64_t value, int bytes);
void put_le(struct sample *s, uint64_t value, int bytes);
struct sample copy_of(const struct sample *s);
/* Puts bytes into the middle. */
void insert(struct sample *s, size_t at, const void *data, size_t size);
size_t find(const struct sample *s, const char *bytes, size_t size); /* the first; ends the test when it is not there */

/* ---- PNG: signature and IHDR; chunks; IDAT of filtered rows, compressed. */
struct sample png_begin(uint32_t width, uint32_t height, unsigned depth, unsigned color, unsigned interlace);
void png_chunk(struct sample *s, const char *type, const void *data, size_t size);
void png_pixels(struct sample *s, const void *rows, size_t size);
void png_pixel_zeros(struct sample *s, size_t size); /* that many zeros, compressed */
void png_end(struct sample *s);
struct sample zlib_zeros(size_t size);

/* ---- EXIF: a TIFF block whose one UserComment lies in the Exif IFD, or in IFD0. */
struct sample exif_block(bool little, bool in_ifd0, const void *comment, size_t size);
/* SOI, then the segment, then the rest of the JPEG. */
void jpeg_segment(struct sample *jpeg, unsigned marker, const char *prefix, size_t prefix_size, const void *data,
                  size_t size);

/* ---- WebP: RIFF of these chunks (the RIFF size is set by webp_end). */
struct sample webp_begin(void);
void webp_chunk(struct sample *s, const char *type, const void *data, size_t size);
void webp_canvas(struct sample *s, unsigned flags, uint32_t width, uint32_t height);
void webp_end(struct sample *s);

/* ---- GIF: screen with a global palette of 4 colours; a frame of zeros; the trailer is the test's. */
struct sample gif_begin(unsigned width, unsigned height);
void gif_frame_of_zeros(struct sample *s, unsigned width, unsigned height);

/* ---- Decoding. The result of expect_image is the caller's to deinit. */
struct sw_starlight_image expect_image(const struct sample *s, enum sw_starlight_wanted wanted);
void expect_refused(const struct sample *s, const struct sw_starlight_limits *limits, sw_status status,
                    const char *reason);
/* Decodes, refuses or not, as above, and frees the sample. */
void refuse(struct sample s, sw_status status, const char *reason);

#endif
