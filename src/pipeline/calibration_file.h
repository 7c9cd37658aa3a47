/* Calibrations in files: read by the step calibrate, written by `slipway calibrate` or by a training script.
 *
 *   {"method": "platt", "a": -1.7, "b": 0.2, "fitted_on": 12000}
 *   {"method": "temperature", "input": "logit", "temperature": 1.6}
 *   {"method": "beta", "input": "probability", "a": 0.8, "b": 1.1, "c": -0.1}
 *   {"method": "isotonic", "x": [-3, 0.5, 2], "y": [0, 0.4, 1]}
 *
 * "input" says what the score is (see stats/calibration.h): needed by temperature and beta. "fitted_on", a number of
 * samples, and "metadata", a mapping of anything, are kept for people. Other keys are errors. */
#ifndef SW_PIPELINE_CALIBRATION_FILE_H
#define SW_PIPELINE_CALIBRATION_FILE_H

#include <jansson.h>

#include "base/str.h"
#include "stats/calibration.h"

/* Parses the text of such a file (the fuzz target). SW_E_MODEL_INVALID naming the key: what comes out is monotone. */
SW_MUST_CHECK sw_status sw_calibration_parse(struct sw_str text, struct sw_calibration *ret, struct sw_error *err);

/* Reads one. SW_E_NOT_FOUND, SW_E_TOO_LARGE, SW_E_IO, or as above; the path in the message. */
SW_MUST_CHECK sw_status sw_calibration_read(const char *path, struct sw_calibration *ret, struct sw_error *err);

/* As JSON; a new reference. Numbers read back the same when they are written with 17 digits. */
json_t *sw_calibration_json(const struct sw_calibration *calibration, uint64_t fitted_on);

#endif
