/* See interval.h. */
#include "stats/interval.h"

#include <math.h>

#include "base/macros.h"
#include "stats/special.h"

static struct sw_interval wilson(double k, double n, double confidence) {
    double z = sw_normal_quantile(1 - (1 - confidence) / 2);
    double p = k / n, z2 = z * z, scale = 1 / (1 + z2 / n);
    double centre = (p + z2 / (2 * n)) * scale;
    double half = z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) * scale;
    return (struct sw_interval){k > 0 ? fmax(centre - half, 0) : 0, k < n ? fmin(centre + half, 1) : 1};
}

/* The bounds are quantiles of beta distributions. */
static struct sw_interval exact(double k, double n, double confidence) {
    double tail = (1 - confidence) / 2;
    return (struct sw_interval){k > 0 ? sw_beta_quantile(k, n - k + 1, tail) : 0,
                                k < n ? sw_beta_quantile(k + 1, n - k, 1 - tail) : 1};
}

struct sw_interval sw_interval_proportion(enum sw_interval_method method, uint64_t k, uint64_t n, double confidence) {
    SW_ASSERT(k <= n && confidence > 0 && confidence < 1);
    if (n == 0) {
        return (struct sw_interval){0, 1};
    }
    return method == SW_INTERVAL_EXACT ? exact((double)k, (double)n, confidence)
                                       : wilson((double)k, (double)n, confidence);
}
