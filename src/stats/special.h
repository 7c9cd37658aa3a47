/* Functions that the intervals stand on. */
#ifndef SW_STATS_SPECIAL_H
#define SW_STATS_SPECIAL_H

/* Regularised incomplete beta function I_x(a, b): the distribution function of Beta(a, b) at x in [0, 1]; a, b > 0.
 * Relative error below 1e-9 for a + b up to 1e7. Continued fraction: DLMF 8.17.22, evaluated by the modified Lentz
 * method (Thompson and Barnett, "Coulomb and Bessel functions of complex arguments and order", 1986). */
double sw_beta_cdf(double a, double b, double x);

/* The x at which I_x(a, b) = p, by bisection down to neighbouring doubles; p in [0, 1]. */
double sw_beta_quantile(double a, double b, double p);

/* The z below which a standard normal variable lies with probability p in (0, 1). */
double sw_normal_quantile(double p);

#endif
