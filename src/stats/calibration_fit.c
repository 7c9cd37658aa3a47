/* See calibration.h: fitting one.
 *
 * Platt, temperature and beta calibration are the same fit, a logistic regression of at most three weights, on other
 * features of the score: (s, 1), (logit) and (ln p, -ln(1 - p), 1). */
#include <math.h>

#include "base/memory.h"
#include "stats/calibration_internal.h"

enum { WEIGHTS_MAX = 3, NEWTON_STEPS_MAX = 200, BACKTRACKS_MAX = 60 };

/* --- logistic regression ----------------------------------------------------------------------------------------- */

struct problem {
    const struct sw_scored *items;
    size_t count;
    double target[2]; /* of a negative, of a positive */
    size_t weights;
    enum sw_calibration_method method;
    enum sw_calibration_input input;
    bool use_left, use_right; /* beta: does it have a, b? */
};

/* The features of a score: `weights` of them. */
static void features(const struct problem *p, double score, double ret[WEIGHTS_MAX]) {
    double logit;
    size_t n = 0;
    switch (p->method) {
    case SW_CALIBRATION_PLATT:
        ret[n++] = score;
        ret[n++] = 1;
        break;
    case SW_CALIBRATION_TEMPERATURE: ret[n++] = sw_calibration_logit(p->input, score); break;
    default:
        logit = sw_calibration_logit(p->input, score);
        if (p->use_left) {
            ret[n++] = -sw_softplus(-logit);
        }
        if (p->use_right) {
            ret[n++] = sw_softplus(logit);
        }
        ret[n++] = 1;
        break;
    }
    SW_ASSERT(n == p->weights);
}

static double dot(size_t n, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Cross entropy at w; gradient and Hessian too unless NULL. */
static double evaluate(const struct problem *p, const double w[WEIGHTS_MAX], double gradient[WEIGHTS_MAX],
                       double hessian[WEIGHTS_MAX][WEIGHTS_MAX]) {
    double loss = 0, f[WEIGHTS_MAX] = {0};
    for (size_t i = 0; i < p->count; i++) {
        features(p, p->items[i].score, f);
        double v = dot(p->weights, w, f), t = p->target[p->items[i].positive];
        loss += sw_softplus(v) - t * v;
        if (!gradient) {
            continue;
        }
        double e = exp(-fabs(v)), q = v >= 0 ? 1 / (1 + e) : e / (1 + e);
        double curvature = e / ((1 + e) * (1 + e)); /* q (1 - q) */
        for (size_t r = 0; r < p->weights; r++) {
            gradient[r] += (q - t) * f[r];
            for (size_t c = 0; c < p->weights; c++) {
                hessian[r][c] += curvature * f[r] * f[c];
            }
        }
    }
    return loss;
}

/* Solves h x = g for a positive definite h by Cholesky's decomposition, after adding `ridge` times the diagonal; false
 * when it is not definite. */
static bool solve(size_t n, double h[WEIGHTS_MAX][WEIGHTS_MAX], const double g[WEIGHTS_MAX], double x[WEIGHTS_MAX]) {
    const double ridge = 1e-12;
    double l[WEIGHTS_MAX][WEIGHTS_MAX] = {{0}};
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c <= r; c++) {
            double sum = h[r][c] + (r == c ? ridge * h[r][c] : 0) - dot(c, l[r], l[c]);
            if (r == c && !(sum > 0)) {
                return false;
            }
            l[r][c] = r == c ? sqrt(sum) : sum / l[c][c];
        }
    }
    for (size_t r = 0; r < n; r++) {
        x[r] = (g[r] - dot(r, l[r], x)) / l[r][r];
    }
    for (size_t r = n; r-- > 0;) {
        for (size_t c = r + 1; c < n; c++) {
            x[r] -= l[c][r] * x[c];
        }
        x[r] /= l[r][r];
    }
    return true;
}

/* Newton's method; halves a step until it lowers the loss enough (Armijo). false: no step can be found. */
static bool minimise(const struct problem *p, double w[WEIGHTS_MAX]) {
    for (int i = 0; i < NEWTON_STEPS_MAX; i++) {
        double gradient[WEIGHTS_MAX] = {0}, hessian[WEIGHTS_MAX][WEIGHTS_MAX] = {{0}}, step[WEIGHTS_MAX] = {0};
        double loss = evaluate(p, w, gradient, hessian);
        if (!solve(p->weights, hessian, gradient, step)) {
            return false;
        }
        double slope = dot(p->weights, gradient, step); /* >= 0: how fast the loss falls along -step */
        if (slope <= 1e-13 * (1 + fabs(loss))) {
            return isfinite(slope);
        }
        double scale = 1, next[WEIGHTS_MAX];
        int halved = 0;
        for (; halved < BACKTRACKS_MAX; halved++, scale /= 2) {
            for (size_t k = 0; k < p->weights; k++) {
                next[k] = w[k] - scale * step[k];
            }
            if (evaluate(p, next, NULL, NULL) <= loss - 1e-4 * scale * slope) {
                break;
            }
        }
        if (halved == BACKTRACKS_MAX) {
            return true; /* as low as doubles can tell */
        }
        for (size_t k = 0; k < p->weights; k++) {
            w[k] = next[k];
        }
    }
    return true;
}

/* --- the three on top of it -------------------------------------------------------------------------------------- */

static sw_status no_fit(struct sw_error *err, const struct problem *p) {
    return sw_fail(err, SW_E_UNPROCESSABLE, "%s calibration does not fit: the scores do not rise with the truth",
                   sw_calibration_method_name(p->method));
}

/* Starts where every score gets the share of positives. */
static double base_rate_logit(const struct problem *p) {
    double positives = 0;
    for (size_t i = 0; i < p->count; i++) {
        positives += p->items[i].positive;
    }
    return log((positives + 1) / ((double)p->count - positives + 1));
}

static sw_status fit_platt(struct problem *p, struct sw_calibration *k, struct sw_error *err) {
    double w[WEIGHTS_MAX] = {0, base_rate_logit(p)};
    p->weights = 2;
    if (!minimise(p, w) || !(w[0] > 0)) {
        return no_fit(err, p);
    }
    k->a = -w[0];
    k->b = -w[1];
    return SW_OK;
}

static sw_status fit_temperature(struct problem *p, struct sw_calibration *k, struct sw_error *err) {
    double w[WEIGHTS_MAX] = {0};
    p->weights = 1;
    if (!minimise(p, w) || !(w[0] > 0) || !isfinite(1 / w[0])) {
        return no_fit(err, p);
    }
    k->a = 1 / w[0];
    return SW_OK;
}

/* A coefficient that comes out negative is fixed at 0 and the rest fitted again, as its authors do. */
static sw_status fit_beta(struct problem *p, struct sw_calibration *k, struct sw_error *err) {
    p->use_left = p->use_right = true;
    while (p->use_left || p->use_right) {
        double w[WEIGHTS_MAX] = {0};
        p->weights = 1 + (size_t)p->use_left + (size_t)p->use_right;
        w[p->weights - 1] = base_rate_logit(p);
        if (!minimise(p, w)) {
            return no_fit(err, p);
        }
        double a = p->use_left ? w[0] : 0, b = p->use_right ? w[p->weights - 2] : 0;
        if (a >= 0 && b >= 0 && a + b > 0) {
            k->a = a;
            k->b = b;
            k->c = w[p->weights - 1];
            return SW_OK;
        }
        if (p->use_left && p->use_right) {
            *(a < b ? &p->use_left : &p->use_right) = false;
        } else {
            break;
        }
    }
    return no_fit(err, p);
}

/* --- isotonic ---------------------------------------------------------------------------------------------------- */

struct block {
    double first, last; /* scores */
    double sum, weight; /* of truths; samples */
};

static double mean(const struct block *b) {
    return b->sum / b->weight;
}

/* Blocks of equal scores, pooled until their means rise; returns how many are left. */
static size_t pool(const struct sw_scored *sorted, size_t count, struct block *blocks) {
    size_t n = 0;
    for (size_t i = 0; i < count;) {
        struct block b = {sorted[i].score, sorted[i].score, 0, 0};
        for (; i < count && sorted[i].score == b.first; i++) {
            b.sum += sorted[i].positive;
            b.weight++;
        }
        while (n > 0 && mean(&blocks[n - 1]) >= mean(&b)) {
            n--;
            b = (struct block){blocks[n].first, b.last, blocks[n].sum + b.sum, blocks[n].weight + b.weight};
        }
        blocks[n++] = b;
    }
    return n;
}

static sw_status fit_isotonic(const struct problem *p, struct sw_calibration *k, struct sw_error *err) {
    struct sw_scored *sorted SW_AUTO_FREE = sw_scored_sorted(p->items, p->count);
    struct block *blocks SW_AUTO_FREE = sw_calloc(p->count, sizeof *blocks);
    if (!sorted || !blocks) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu scores", p->count);
    }
    size_t n = pool(sorted, p->count, blocks);
    if (n < 2) {
        return no_fit(err, p);
    }
    if (n > SW_CALIBRATION_KNOTS_MAX / 2) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "isotonic calibration would need more than %d knots",
                       SW_CALIBRATION_KNOTS_MAX);
    }
    k->x = sw_calloc(2 * n, sizeof *k->x);
    k->y = sw_calloc(2 * n, sizeof *k->y);
    if (!k->x || !k->y) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu knots", 2 * n);
    }
    for (size_t i = 0; i < n; i++) {
        k->x[k->count] = blocks[i].first;
        k->y[k->count++] = mean(&blocks[i]);
        if (blocks[i].last > blocks[i].first) {
            k->x[k->count] = blocks[i].last;
            k->y[k->count++] = mean(&blocks[i]);
        }
    }
    return SW_OK;
}

/* --- all --------------------------------------------------------------------------------------------------------- */

static sw_status check_items(struct problem *p, struct sw_error *err) {
    bool probability = p->input == SW_CALIBRATION_PROBABILITY &&
                       (p->method == SW_CALIBRATION_TEMPERATURE || p->method == SW_CALIBRATION_BETA);
    uint64_t class_count[2] = {0};
    for (size_t i = 0; i < p->count; i++) {
        double score = p->items[i].score;
        if (isnan(score) || (probability && (score < 0 || score > 1))) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "score %zu, %g, is no %s", i, score,
                           probability ? "probability" : "number");
        }
        if (isinf(score)) {
            return sw_fail(err, SW_E_UNPROCESSABLE, "score %zu is infinite", i);
        }
        class_count[p->items[i].positive]++;
    }
    if (!class_count[0] || !class_count[1]) {
        return sw_fail(err, SW_E_UNPROCESSABLE,
                       "calibration needs samples of both classes: there are %llu positives "
                       "and %llu negatives",
                       (unsigned long long)class_count[1], (unsigned long long)class_count[0]);
    }
    p->target[0] = 1 / ((double)class_count[0] + 2);
    p->target[1] = ((double)class_count[1] + 1) / ((double)class_count[1] + 2);
    return SW_OK;
}

static sw_status fit(struct problem *p, struct sw_calibration *k, struct sw_error *err) {
    switch (p->method) {
    case SW_CALIBRATION_PLATT: return fit_platt(p, k, err);
    case SW_CALIBRATION_TEMPERATURE: return fit_temperature(p, k, err);
    case SW_CALIBRATION_BETA: return fit_beta(p, k, err);
    default: return fit_isotonic(p, k, err);
    }
}

sw_status sw_calibration_fit(enum sw_calibration_method method, enum sw_calibration_input input,
                             const struct sw_scored *items, size_t count, struct sw_calibration *ret,
                             struct sw_error *err) {
    struct problem p = {.items = items, .count = count, .method = method, .input = input};
    struct sw_calibration k = {.method = method, .input = input};
    SW_TRY(check_items(&p, err));
    sw_status status = fit(&p, &k, err);
    if (status) {
        sw_calibration_deinit(&k);
        return status;
    }
    *ret = k;
    return SW_OK;
}
