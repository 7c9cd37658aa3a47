/* See calibration.h: applying one. */
#include "stats/calibration.h"

#include <math.h>

#include "base/memory.h"
#include "stats/calibration_internal.h"

static const char *const method_names[] = {
    [SW_CALIBRATION_PLATT] = "platt",
    [SW_CALIBRATION_TEMPERATURE] = "temperature",
    [SW_CALIBRATION_BETA] = "beta",
    [SW_CALIBRATION_ISOTONIC] = "isotonic",
};

const char *sw_calibration_method_name(enum sw_calibration_method method) {
    SW_ASSERT(method < SW_CALIBRATION_METHODS);
    return method_names[method];
}

void sw_calibration_deinit(struct sw_calibration *c) {
    sw_free(c->x);
    sw_free(c->y);
    *c = (struct sw_calibration){0};
}

/* Neither branch raises e to a large number. */
static double sigmoid(double v) {
    if (v >= 0) {
        return 1 / (1 + exp(-v));
    }
    double e = exp(v);
    return e / (1 + e);
}

double sw_calibration_logit(enum sw_calibration_input input, double score) {
    if (input == SW_CALIBRATION_LOGIT) {
        return score;
    }
    const double most = 53 * M_LN2;
    double p = fmin(fmax(score, 0), 1); /* a probability that was rounded past an end */
    return fmin(fmax(log(p) - log1p(-p), -most), most);
}

double sw_softplus(double v) {
    return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v));
}

/* a ln p - b ln(1 - p) + c of a logit. A coefficient of 0 takes its term away even where that is infinite. */
static double beta_logit(const struct sw_calibration *k, double logit) {
    double left = k->a > 0 ? k->a * -sw_softplus(-logit) : 0;
    double right = k->b > 0 ? k->b * sw_softplus(logit) : 0;
    return left + right + k->c;
}

static double interpolate(const struct sw_calibration *k, double score) {
    size_t low = 0, high = k->count - 1;
    if (score <= k->x[low] || score >= k->x[high]) {
        return k->y[score <= k->x[low] ? low : high];
    }
    while (high - low > 1) { /* x[low] <= score < x[high] */
        size_t middle = low + (high - low) / 2;
        if (k->x[middle] <= score) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double part = (score - k->x[low]) / (k->x[high] - k->x[low]);
    double value = k->y[low] + part * (k->y[high] - k->y[low]);
    return fmin(value, k->y[high]); /* rounding must not pass the next knot */
}

double sw_calibration_apply(const struct sw_calibration *k, double score) {
    if (isnan(score)) {
        return score;
    }
    switch (k->method) {
    case SW_CALIBRATION_PLATT: return sigmoid(-(k->a * score + k->b));
    case SW_CALIBRATION_TEMPERATURE: return sigmoid(sw_calibration_logit(k->input, score) / k->a);
    case SW_CALIBRATION_BETA: return sigmoid(beta_logit(k, sw_calibration_logit(k->input, score)));
    default: return interpolate(k, score);
    }
}
