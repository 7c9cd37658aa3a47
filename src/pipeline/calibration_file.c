/* See calibration_file.h. */
#include "pipeline/calibration_file.h"

#include <float.h>

#include "base/file.h"
#include "base/memory.h"
#include "pipeline/params.h"

enum { FILE_BYTES_MAX = 64 << 20 };
#define LARGEST 1e300
#define SMALLEST 1e-300

static const char *const input_names[] = {"logit", "probability", NULL};

static sw_status need(const struct sw_params *p, const char *key) {
    return json_object_get(p->object, key) ? SW_OK : sw_params_fail(p, key, "is missing");
}

static sw_status need_number(const struct sw_params *p, const char *key, double min, double max, double *ret) {
    SW_TRY(need(p, key));
    return sw_params_number(p, key, min, max, ret);
}

/* --- knots ------------------------------------------------------------------------------------------------------- */

static sw_status read_list(const struct sw_params *p, const char *key, double min, double max, double **ret,
                           size_t *ret_count) {
    json_t *list = json_object_get(p->object, key);
    size_t count = json_array_size(list);
    SW_TRY(need(p, key));
    if (!json_is_array(list)) {
        return sw_params_fail(p, key, "must be a list, is %s", sw_params_kind(list));
    }
    if (count == 0 || count > SW_CALIBRATION_KNOTS_MAX) {
        return sw_params_fail(p, key, "must hold 1 to %d numbers, holds %zu", SW_CALIBRATION_KNOTS_MAX, count);
    }
    double *values SW_AUTO_FREE = sw_calloc(count, sizeof *values);
    if (!values) {
        return sw_fail(p->err, SW_E_UNAVAILABLE, "out of memory for %zu numbers", count);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        char place[40];
        snprintf(place, sizeof place, "%s[%zu]", key, i);
        if (!json_is_number(item)) {
            return sw_params_fail(p, place, "must be a number, is %s", sw_params_kind(item));
        }
        values[i] = json_number_value(item);
        if (!(values[i] >= min && values[i] <= max)) {
            return sw_params_fail(p, place, "must lie between %g and %g, is %g", min, max, values[i]);
        }
    }
    *ret = values;
    *ret_count = count;
    values = NULL;
    return SW_OK;
}

static sw_status read_knots(const struct sw_params *p, struct sw_calibration *k) {
    size_t y_count;
    SW_TRY(read_list(p, "x", -LARGEST, LARGEST, &k->x, &k->count));
    SW_TRY(read_list(p, "y", 0, 1, &k->y, &y_count));
    if (y_count != k->count) {
        return sw_params_fail(p, "y", "must hold as many numbers as x, %zu, holds %zu", k->count, y_count);
    }
    for (size_t i = 1; i < k->count; i++) {
        char place[40];
        snprintf(place, sizeof place, "%s[%zu]", k->x[i] > k->x[i - 1] ? "y" : "x", i);
        if (!(k->x[i] > k->x[i - 1])) {
            return sw_params_fail(p, place, "must be greater than the one before, %g, is %g", k->x[i - 1], k->x[i]);
        }
        if (!(k->y[i] >= k->y[i - 1])) {
            return sw_params_fail(p, place,
                                  "must not be less than the one before, %g, is %g: a higher score never gets "
                                  "a lower probability",
                                  k->y[i - 1], k->y[i]);
        }
    }
    return SW_OK;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static sw_status read_method(const struct sw_params *p, struct sw_calibration *k) {
    const char *names[SW_CALIBRATION_METHODS + 1] = {0};
    int method = 0;
    for (int i = 0; i < SW_CALIBRATION_METHODS; i++) {
        names[i] = sw_calibration_method_name((enum sw_calibration_method)i);
    }
    SW_TRY(need(p, "method"));
    SW_TRY(sw_params_choice(p, "method", names, &method));
    k->method = (enum sw_calibration_method)method;
    return SW_OK;
}

static sw_status read_values(const struct sw_params *p, struct sw_calibration *k) {
    switch (k->method) {
    case SW_CALIBRATION_PLATT:
        SW_TRY(need_number(p, "a", -LARGEST, -SMALLEST, &k->a));
        return need_number(p, "b", -LARGEST, LARGEST, &k->b);
    case SW_CALIBRATION_TEMPERATURE: return need_number(p, "temperature", SMALLEST, LARGEST, &k->a);
    case SW_CALIBRATION_BETA:
        SW_TRY(need_number(p, "a", 0, LARGEST, &k->a));
        SW_TRY(need_number(p, "b", 0, LARGEST, &k->b));
        SW_TRY(need_number(p, "c", -LARGEST, LARGEST, &k->c));
        return k->a + k->b > 0 ? SW_OK : sw_params_fail(p, "a", "must not be 0 when b is");
    default: return read_knots(p, k);
    }
}

static sw_status read_all(const struct sw_params *p, struct sw_calibration *k) {
    static const char *const known[SW_CALIBRATION_METHODS][8] = {
        [SW_CALIBRATION_PLATT] = {"method", "input", "fitted_on", "metadata", "a", "b"},
        [SW_CALIBRATION_TEMPERATURE] = {"method", "input", "fitted_on", "metadata", "temperature"},
        [SW_CALIBRATION_BETA] = {"method", "input", "fitted_on", "metadata", "a", "b", "c"},
        [SW_CALIBRATION_ISOTONIC] = {"method", "input", "fitted_on", "metadata", "x", "y"},
    };
    int input = SW_CALIBRATION_LOGIT;
    int64_t fitted_on = 0;
    json_t *metadata;
    SW_TRY(read_method(p, k));
    SW_TRY(sw_params_only(p, known[k->method]));
    if (k->method == SW_CALIBRATION_TEMPERATURE || k->method == SW_CALIBRATION_BETA) {
        SW_TRY(need(p, "input"));
    }
    SW_TRY(sw_params_choice(p, "input", input_names, &input));
    SW_TRY(sw_params_int(p, "fitted_on", 0, INT64_MAX, &fitted_on));
    SW_TRY(sw_params_object(p, "metadata", &metadata));
    k->input = (enum sw_calibration_input)input;
    return read_values(p, k);
}

sw_status sw_calibration_parse(struct sw_str text, struct sw_calibration *ret, struct sw_error *err) {
    json_error_t fault;
    json_t *root = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(root)) {
        sw_status status = root ? sw_fail(err, SW_E_MODEL_INVALID, "must be a JSON object, is %s", sw_params_kind(root))
                                : sw_fail(err, SW_E_MODEL_INVALID, "line %d: %s", fault.line, fault.text);
        json_decref(root);
        return status;
    }
    const struct sw_params p = {.object = root, .path = "", .err = err};
    struct sw_calibration k = {0};
    sw_status status = read_all(&p, &k);
    json_decref(root);
    if (status) {
        sw_calibration_deinit(&k);
        return status;
    }
    *ret = k;
    return SW_OK;
}

sw_status sw_calibration_read(const char *path, struct sw_calibration *ret, struct sw_error *err) {
    struct sw_buf text;
    SW_TRY(sw_file_read(path, FILE_BYTES_MAX, &text, err));
    sw_status status = sw_calibration_parse(sw_buf_str(&text), ret, err);
    sw_buf_deinit(&text);
    if (status && err) {
        sw_error_prefix(err, "%s", path);
    }
    return status;
}

static json_t *list_json(const double *values, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_real(values[i]));
    }
    return list;
}

json_t *sw_calibration_json(const struct sw_calibration *k, uint64_t fitted_on) {
    json_t *root = json_pack("{s:s, s:s}", "method", sw_calibration_method_name(k->method), "input",
                             input_names[k->input]);
    switch (k->method) {
    case SW_CALIBRATION_TEMPERATURE: json_object_set_new(root, "temperature", json_real(k->a)); break;
    case SW_CALIBRATION_ISOTONIC:
        json_object_set_new(root, "x", list_json(k->x, k->count));
        json_object_set_new(root, "y", list_json(k->y, k->count));
        break;
    default:
        json_object_set_new(root, "a", json_real(k->a));
        json_object_set_new(root, "b", json_real(k->b));
        if (k->method == SW_CALIBRATION_BETA) {
            json_object_set_new(root, "c", json_real(k->c));
        }
        break;
    }
    json_object_set_new(root, "fitted_on", json_integer((json_int_t)fitted_on));
    return root;
}
