/* Calibration files. What is accepted must be monotone and give probabilities, and must read back the same after it was
 * written. */
#include <math.h>

#include "base/memory.h"
#include "pipeline/calibration_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_monotone(const struct sw_calibration *k) {
    static const double scores[] = {-INFINITY, -1e300, -1e9, -40, -1, -1e-9, 0,     1e-300,
                                    0.25,      0.5,    0.75, 1,   3,  1e9,   1e300, INFINITY};
    double before = 0;
    for (size_t i = 0; i < SW_COUNTOF(scores); i++) {
        double p = sw_calibration_apply(k, scores[i]);
        SW_ASSERT(p >= before && p <= 1);
        before = p;
    }
    SW_ASSERT(isnan(sw_calibration_apply(k, NAN)));
}

static void check_round_trip(const struct sw_calibration *k) {
    struct sw_calibration again;
    json_t *json = sw_calibration_json(k, 7);
    char *text = json_dumps(json, JSON_REAL_PRECISION(17));
    SW_ASSERT(text && sw_calibration_parse(sw_str_of(text), &again, NULL) == SW_OK);
    SW_ASSERT(again.method == k->method && again.input == k->input && again.a == k->a && again.b == k->b &&
              again.c == k->c && again.count == k->count);
    for (size_t i = 0; i < k->count; i++) {
        SW_ASSERT(again.x[i] == k->x[i] && again.y[i] == k->y[i]);
    }
    sw_calibration_deinit(&again);
    sw_free(text);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_calibration k;
    struct sw_error err = {0};
    if (sw_calibration_parse((struct sw_str){(const char *)data, size}, &k, &err)) {
        SW_ASSERT(err.code == SW_E_MODEL_INVALID && err.message[0]);
        return 0;
    }
    check_monotone(&k);
    check_round_trip(&k);
    sw_calibration_deinit(&k);
    return 0;
}
