/* See special.h. */
#include "stats/special.h"

#include <math.h>

#include "base/macros.h"

/* The continued fraction needs about sqrt(max(a, b)) terms where it is used. */
enum { FRACTION_TERMS_MAX = 100000, BISECTIONS_MAX = 2200 };

/* Keeps the denominators of Lentz's method away from zero. */
static double not_zero(double v) {
    const double tiny = 1e-300;
    return fabs(v) < tiny ? tiny : v;
}

/* The continued fraction of I_x(a, b), without the factor before it. Converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 / not_zero(1 - (a + b) * x / (a + 1)), value = d;
    for (int m = 1; m <= FRACTION_TERMS_MAX; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / not_zero(1 + even * d);
        c = not_zero(1 + even / c);
        value *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / not_zero(1 + odd * d);
        c = not_zero(1 + odd / c);
        double factor = d * c;
        value *= factor;
        if (fabs(factor - 1) < 1e-15) {
            break;
        }
    }
    return value;
}

static double log_gamma(double v) {
    int sign;
    return lgamma_r(v, &sign); /* lgamma would write to a global */
}

double sw_beta_cdf(double a, double b, double x) {
    SW_ASSERT(a > 0 && b > 0);
    if (!(x > 0)) {
        return isnan(x) ? x : 0;
    }
    if (x >= 1) {
        return 1;
    }
    double log_front = a * log(x) + b * log1p(-x) + log_gamma(a + b) - log_gamma(a) - log_gamma(b);
    double front = exp(log_front);
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double sw_beta_quantile(double a, double b, double p) {
    SW_ASSERT(p >= 0 && p <= 1);
    double low = 0, high = 1;
    if (p <= 0 || p >= 1) {
        return p <= 0 ? 0 : 1;
    }
    for (int i = 0; i < BISECTIONS_MAX; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) {
            break;
        }
        if (sw_beta_cdf(a, b, middle) < p) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

double sw_normal_quantile(double p) {
    SW_ASSERT(p > 0 && p < 1);
    double low = -40, high = 40; /* beyond 38.5 erfc is 0 */
    for (int i = 0; i < BISECTIONS_MAX; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) {
            break;
        }
        if (erfc(-middle / M_SQRT2) / 2 < p) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}
