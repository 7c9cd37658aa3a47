/* Parameters of bundle.yaml, read with their place: every fault names the dotted path of the key.
 *
 * A reader stands on one mapping and knows the path to it ("input.resize"). Getters leave *ret alone when the key is
 * absent, so that the caller presets the default. The first fault is SW_E_MODEL_INVALID. Steps of applications use it
 * too, so that all of bundle.yaml complains in one voice. */
#ifndef SW_PIPELINE_PARAMS_H
#define SW_PIPELINE_PARAMS_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

struct sw_params {
    json_t *object;   /* borrowed; may be NULL: every key absent */
    const char *path; /* "" at the top */
    struct sw_error *err;
};

/* "integer", "list", ...: what the value is, for messages. */
const char *sw_params_kind(const json_t *value);

/* A fault at `key` of the mapping ("input.width: ..."); key NULL: at the mapping itself. Returns SW_E_MODEL_INVALID. */
sw_status sw_params_fail(const struct sw_params *params, const char *key, const char *fmt, ...) SW_PRINTF(3, 4);

/* Refuses keys that are not in `known` (NULL-terminated list), naming the key and the known ones. */
SW_MUST_CHECK sw_status sw_params_only(const struct sw_params *params, const char *const *known);

SW_MUST_CHECK sw_status sw_params_int(const struct sw_params *params, const char *key, int64_t min, int64_t max,
                                      int64_t *ret);
/* Integers are taken as numbers too. Bounds inclusive. */
SW_MUST_CHECK sw_status sw_params_number(const struct sw_params *params, const char *key, double min, double max,
                                         double *ret);
SW_MUST_CHECK sw_status sw_params_bool(const struct sw_params *params, const char *key, bool *ret);
/* Not empty; borrowed from the tree. */
SW_MUST_CHECK sw_status sw_params_string(const struct sw_params *params, const char *key, const char **ret);
/* One of `choices` (NULL-terminated); *ret is its index. */
SW_MUST_CHECK sw_status sw_params_choice(const struct sw_params *params, const char *key, const char *const *choices,
                                         int *ret);
/* A number for all, or a list of one number each: ret[0 .. count - 1]. */
SW_MUST_CHECK sw_status sw_params_numbers(const struct sw_params *params, const char *key, double min, double max,
                                          size_t count, double *ret);
/* *ret: the mapping under key, NULL when absent. */
SW_MUST_CHECK sw_status sw_params_object(const struct sw_params *params, const char *key, json_t **ret);

/* Path of a file named in a bundle, on the heap (sw_free). It must lie in dir, symbolic links resolved; `where` is the
 * dotted path of the key. SW_E_MODEL_INVALID when it leaves the folder or is not a regular file. */
SW_MUST_CHECK sw_status sw_params_file(const char *dir, const char *where, const char *name, char **ret,
                                       struct sw_error *err);

#endif
