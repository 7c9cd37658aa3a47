/* Streams: what a model may ask to see of an image, as tensors.
 *
 * A model declares the streams it wants by the names of its inputs; P, L and M are free for the model to fix. Scan order is
 * row-major from (0,0), and streams begin there: a payload does. What the image has not, and what is beyond its end, is 0.
 *
 *   input           shape of one image   values
 *   evidence        [E, 8]               what evidence.h says of each carrier, 0..1; E = SW_STARLIGHT_EVIDENCE_COUNT
 *   carriers        [8, L]               the first L bytes of each carrier (text.h), 0..255
 *   pixels          [P, 4]               R,G,B,A of the first P pixels as stored, 0..255; A is 255 without an alpha plane
 *   alpha           [P]                  alpha plane of the first P pixels, 0..255
 *   lsb             [P, 3]               least significant bits of R,G,B of the first P pixels, 0 or 1 (lossless files)
 *   palette         [256, 4]             R,G,B,A of the palette, 0..255
 *   palette_lsb     [P]                  least significant bits of the first P palette indices, 0 or 1
 *   metadata        [2, M]               the first M bytes of the EXIF UserComment with its character code, and of the bytes
 *                                        after the end of the image, 0..255
 *   format          [15]                 is PNG, JPEG, GIF, WebP, BMP; is lossy, gray, with alpha, palette, interlaced (0 or
 *                                        1); log2(1 + frames) / 13; bits a sample / 16; log2(width) / 16, log2(height) / 16;
 *                                        colours of the palette / 256
 *   statistics      [14]                 over the whole raster, 0..1: mean of R,G,B / 255; standard deviation of R,G,B / 255;
 *                                        share of ones among the least significant bits of R,G,B; mean of alpha / 255;
 *                                        share of ones among its least significant bits; share of opaque pixels; share of
 *                                        ones among index bits; share of samples that are 0 or 255
 *
 * Each is FP32 or UINT8 (evidence, format and statistics: FP32), with a leading dimension for the images of a request. */
#ifndef APPS_STARLIGHT_STREAMS_H
#define APPS_STARLIGHT_STREAMS_H

#include "apps/starlight/image.h"
#include "tensor/tensor.h"

struct sw_starlight_stream;

/* The stream of this name, or NULL. */
const struct sw_starlight_stream *sw_starlight_stream_find(struct sw_str name);

/* Does the model's input fit the stream? SW_E_MODEL_INVALID says what the stream has. */
SW_MUST_CHECK sw_status sw_starlight_stream_check(const struct sw_starlight_stream *stream,
                                                  const struct sw_tensor_spec *spec, struct sw_error *err);
/* Does it need the pixels of lossy files? */
bool sw_starlight_stream_needs_pixels(const struct sw_starlight_stream *stream);

/* Writes the stream of one image into its row of the tensor: `shape` and `dtype` of the whole tensor, images first. */
void sw_starlight_stream_write(const struct sw_starlight_stream *stream, const struct sw_starlight_image *image,
                               const struct sw_tensor *tensor, size_t row);

#endif
