/* See paired.h. */
#include "stats/paired.h"

#include <math.h>

#include "base/macros.h"

double sw_paired_difference(const struct sw_paired *paired) {
    double n = (double)sw_paired_total(paired);
    return n > 0 ? ((double)paired->second_only - (double)paired->first_only) / n : NAN;
}

/* The correlation of the answers, with Newcombe's correction for small counts; 0 where a rate is 0 or 1. */
static double correlation(const struct sw_paired *p) {
    double a = (double)p->both, b = (double)p->first_only, c = (double)p->second_only, d = (double)p->neither;
    double product = (a + b) * (c + d) * (a + c) * (b + d), n = a + b + c + d;
    double difference = a * d - b * c;
    if (product <= 0) {
        return 0;
    }
    if (difference > n / 2) {
        difference -= n / 2;
    } else if (difference > 0) {
        difference = 0;
    }
    return difference / sqrt(product);
}

/* Distance to a bound: x and y are the distances of the two rates to theirs. */
static double distance(double x, double y, double phi) {
    return sqrt(fmax(0, x * x - 2 * phi * x * y + y * y));
}

struct sw_interval sw_interval_paired(const struct sw_paired *paired, double confidence) {
    uint64_t total = sw_paired_total(paired);
    if (total == 0) {
        return (struct sw_interval){-1, 1};
    }
    double n = (double)total, phi = correlation(paired), difference = sw_paired_difference(paired);
    double first = (double)sw_paired_first(paired) / n, second = (double)sw_paired_second(paired) / n;
    struct sw_interval f = sw_interval_proportion(SW_INTERVAL_WILSON, sw_paired_first(paired), total, confidence);
    struct sw_interval s = sw_interval_proportion(SW_INTERVAL_WILSON, sw_paired_second(paired), total, confidence);
    double low = difference - distance(second - s.low, f.high - first, phi);
    double high = difference + distance(s.high - second, first - f.low, phi);
    return (struct sw_interval){fmax(low, -1), fmin(high, 1)};
}
