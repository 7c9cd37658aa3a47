/* The output step calibrate: turns a score column into a calibrated probability, as a file of the bundle says.
 *
 * The score is a tensor [N] or [N,1]. It is replaced, or, with `name`, a tensor [N] of its type is added. */
#include "base/memory.h"
#include "pipeline/calibration_file.h"
#include "pipeline/params.h"
#include "pipeline/steps.h"

struct calibrate_step {
    struct sw_step step;
    char *tensor;
    char *name; /* output added; NULL: the tensor is replaced */
    struct sw_calibration calibration;
};

static void calibrate_destroy(struct sw_step *step) {
    struct calibrate_step *s = (struct calibrate_step *)step;
    sw_calibration_deinit(&s->calibration);
    sw_free(s->tensor);
    sw_free(s->name);
    sw_free(s);
}

static struct calibrate_step *new_step(void) {
    struct calibrate_step *s = SW_NEW(struct calibrate_step);
    s->step.ops = &sw_step_calibrate;
    return s;
}

static bool calibrate_fits(const struct sw_tensor_spec *spec, const void *arg) {
    return sw_spec_is_float(spec) && (spec->rank == 1 || (spec->rank == 2 && spec->shape[1] == 1));
}

/* Faults name the bundle's key, the file and the file's key. */
static sw_status read_file(const char *dir, const char *file, struct calibrate_step *s, struct sw_error *err) {
    char *path SW_AUTO_FREE = NULL;
    SW_TRY(sw_params_file(dir, "output.calibrate.file", file, &path, err));
    sw_status status = sw_calibration_read(path, &s->calibration, err);
    if (status && status != SW_E_UNAVAILABLE) {
        status = SW_E_MODEL_INVALID;
        if (err) {
            err->code = status;
            sw_error_prefix(err, "output.calibrate.file");
        }
    }
    return status;
}

static sw_status calibrate_read(const struct sw_params *p, json_t *params, const char *dir,
                                struct sw_tensor_specs *specs, struct calibrate_step *s) {
    static const char *const known[] = {"file", "tensor", "name", NULL};
    const char *file = NULL, *tensor = NULL, *name = NULL;
    size_t index = 0;
    if (p->object) {
        SW_TRY(sw_params_only(p, known));
        SW_TRY(sw_params_string(p, "file", &file));
        SW_TRY(sw_params_string(p, "tensor", &tensor));
        SW_TRY(sw_params_string(p, "name", &name));
    } else if (json_is_string(params)) {
        file = json_string_value(params);
    } else {
        return sw_params_fail(p, NULL, "must be the name of a file or a mapping, is %s", sw_params_kind(params));
    }
    if (!file) {
        return sw_params_fail(p, "file", "is missing");
    }
    SW_TRY(sw_specs_choose(specs, p->path, tensor, calibrate_fits, NULL, "FP32 or FP64 [N] or [N,1]", &index, p->err));
    s->tensor = sw_xstrdup(specs->items[index].name);
    SW_TRY(read_file(dir, file, s, p->err));
    if (!name) {
        return SW_OK;
    }
    s->name = sw_xstrdup(name);
    return sw_specs_add(specs, "output.calibrate.name", name, specs->items[index].dtype, index, 1, -1, p->err);
}

static sw_status calibrate_create(json_t *params, const char *bundle_dir, struct sw_tensor_specs *specs,
                                  struct sw_step **ret, struct sw_error *err) {
    struct sw_params p = {.object = json_is_object(params) ? params : NULL, .path = "output.calibrate", .err = err};
    struct calibrate_step *s = new_step();
    sw_status status = calibrate_read(&p, params, bundle_dir, specs, s);
    if (status) {
        calibrate_destroy(&s->step);
        return status;
    }
    *ret = &s->step;
    return SW_OK;
}

static void map_values(const struct sw_calibration *calibration, const struct sw_tensor *from, struct sw_tensor *to) {
    for (size_t i = 0; i < from->count; i++) {
        double p = sw_calibration_apply(calibration, sw_value_at(from, i));
        if (to->dtype == SW_DTYPE_FP32) {
            ((float *)to->data)[i] = (float)p;
        } else {
            ((double *)to->data)[i] = p;
        }
    }
}

static sw_status calibrate_run(const struct sw_step *step, struct sw_tensor_set *set, struct sw_arena *arena,
                               struct sw_error *err) {
    const struct calibrate_step *s = (const struct calibrate_step *)step;
    struct sw_tensor *found, out;
    SW_TRY(sw_output_tensor(set, "calibrate", s->tensor, &found, err));
    struct sw_tensor t = *found; /* adding may move the set */
    if (t.rank < 1 || t.rank > 2 || (t.rank == 2 && t.shape[1] != 1)) {
        char shape[128];
        return sw_fail(err, SW_E_INFERENCE_FAILED, "output step calibrate: '%s' came as %s", s->tensor,
                       sw_shape_format(t.shape, t.rank, shape, sizeof shape));
    }
    struct sw_str name = s->name ? sw_str_of(s->name) : t.name;
    SW_TRY(sw_tensor_alloc(&out, arena, name, t.dtype, t.shape, s->name ? 1 : t.rank, err));
    map_values(&s->calibration, &t, &out);
    struct sw_tensor *place = s->name ? sw_tensor_set_add(set, arena) : found;
    if (!place) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    *place = out;
    return SW_OK;
}

const struct sw_step_ops sw_step_calibrate = {
    .name = "calibrate",
    .side = SW_STEP_OUTPUT,
    .order = 20,
    .summary = "turns a score into a calibrated probability",
    .create = calibrate_create,
    .destroy = calibrate_destroy,
    .run = calibrate_run,
};
