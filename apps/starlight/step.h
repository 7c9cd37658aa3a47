/* The pipeline steps of Starlight, for bundle.yaml.
 *
 * Input step `starlight` (input.kind): callers send one BYTES tensor `image` [N], one image file an element; the model gets
 * the streams (streams.h) that its inputs are called after. Parameters: max_bytes (16 MiB), max_pixels (64000000),
 * max_images (64) of one request.
 *
 * Output step `starlight` (output.starlight: true), after calibrate and threshold. It takes
 *   stego_probability  FP32 [N]    how likely something is hidden
 *   method_shares      FP32 [N,5]  how likely each method is, if something is hidden; rows add up to 1
 *   is_stego           BOOL [N]    the verdict
 * and gives, beside these (method_shares is replaced):
 *   method_probabilities FP32 [N,5]  shares times stego_probability: alpha, palette, lsb.rgb, exif, raw
 *   method               BYTES [N]   the likeliest method; "" when the verdict is clean
 *   message              BYTES [N]   the hidden text; "" when the verdict is clean or none was found
 *   message_method       BYTES [N]   how it was hidden; "" without a message
 *   message_bit_order    BYTES [N]   "msb-first", "lsb-first", or "" where there are no bits
 *   message_marked       BOOL [N]    it began with AI42
 *   image_info           BYTES [N]   a JSON object: format, width, height, bit_depth, ...
 * The message is looked for after the verdict and never changes it. */
#ifndef APPS_STARLIGHT_STEP_H
#define APPS_STARLIGHT_STEP_H

#include "pipeline/step.h"

extern const struct sw_step_ops sw_starlight_input_step;
extern const struct sw_step_ops sw_starlight_output_step;

/* Makes them known to bundles; at start-up, once. */
void sw_starlight_register_steps(void);
/* Other defaults of max_bytes and max_pixels, for bundles that do not say; before the first bundle is read. */
void sw_starlight_set_limits(uint64_t bytes_max, uint64_t pixels_max);

#endif
