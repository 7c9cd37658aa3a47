/* See sample_arrays.h. Files are read whole: an array is there, or it is not. */
#include "cli/sample_arrays.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/npz.h"
#include "tensor/npy.h"

enum { FILE_BYTES_MAX = 1 << 30, FILES_MAX = 10000 };

/* --- how an array is cut into samples ----------------------------------------------------------------------------- */

static sw_status fit_array(struct sw_sample_array *array, const struct sw_tensor_spec *spec, struct sw_error *err) {
    const struct sw_tensor *t = &array->tensor;
    char got[160], want[160];
    array->rows = 1;
    if (t->rank == spec->rank + 1) {
        array->is_outer = true;
        array->step = 1;
        array->rows = (size_t)t->shape[0];
    } else if (t->rank == spec->rank && t->rank > 0) {
        int64_t step = spec->shape[0] < 0 ? 1 : spec->shape[0];
        bool whole = step == 0 || t->shape[0] % step != 0;
        array->step = (size_t)(whole ? t->shape[0] : step);
        array->rows = whole ? 1 : (size_t)(t->shape[0] / step);
    } else if (t->rank != spec->rank) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "array '" SW_STR_FMT "' is of shape %s, input '%s' of %s",
                       SW_STR_ARG(t->name), sw_shape_format(t->shape, t->rank, got, sizeof got), spec->name,
                       sw_shape_format(spec->shape, spec->rank, want, sizeof want));
    }
    return array->rows && t->count
               ? SW_OK
               : sw_fail(err, SW_E_INVALID_ARGUMENT, "array '" SW_STR_FMT "' is empty", SW_STR_ARG(t->name));
}

static sw_status fit_arrays(struct sw_sample_arrays *arrays, const struct sw_tensor_specs *specs,
                            struct sw_error *err) {
    for (size_t i = 0; i < arrays->count; i++) {
        struct sw_sample_array *array = &arrays->items[i];
        const struct sw_tensor_spec *spec = sw_specs_find(specs, array->tensor.name);
        if (!spec) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "the model has no input '" SW_STR_FMT "'",
                           SW_STR_ARG(array->tensor.name));
        }
        SW_TRY(fit_array(array, spec, err));
        arrays->rows = array->rows > arrays->rows ? array->rows : arrays->rows;
    }
    for (size_t i = 0; i < arrays->count; i++) {
        const struct sw_sample_array *array = &arrays->items[i];
        if (array->rows != 1 && array->rows != arrays->rows) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "array '" SW_STR_FMT "' holds %zu samples, another one %zu",
                           SW_STR_ARG(array->tensor.name), array->rows, arrays->rows);
        }
    }
    return SW_OK;
}

/* The part of the array that is this sample. */
static struct sw_tensor cut(const struct sw_sample_array *array, size_t row) {
    struct sw_tensor t = array->tensor;
    if (array->step) {
        size_t per_row = t.count / (size_t)t.shape[0];
        size_t first = array->rows == 1 ? 0 : row * array->step;
        t.data = (char *)t.data + first * per_row * sw_dtype_size(t.dtype);
        t.count = array->step * per_row;
        t.shape[0] = (int64_t)array->step;
    }
    if (array->is_outer) {
        t.rank--;
        memmove(t.shape, t.shape + 1, t.rank * sizeof *t.shape);
    }
    return t;
}

sw_status sw_sample_arrays_row(const struct sw_sample_arrays *arrays, size_t row, const struct sw_tensor_specs *specs,
                               struct sw_arena *arena, struct sw_tensor **ret, size_t *ret_count,
                               struct sw_error *err) {
    struct sw_tensor *tensors = sw_arena_calloc(arena, arrays->count + 1, sizeof *tensors);
    if (!tensors) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    for (size_t i = 0; i < arrays->count; i++) {
        const struct sw_tensor t = cut(&arrays->items[i], row);
        const struct sw_tensor_spec *spec = sw_specs_find(specs, t.name);
        tensors[i] = t;
        if (spec && spec->dtype != t.dtype) {
            SW_TRY(sw_tensor_convert(&t, spec->dtype, arena, &tensors[i], err));
        }
    }
    *ret = tensors;
    *ret_count = arrays->count;
    return SW_OK;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

struct opening {
    struct sw_sample_files *files;
    const struct sw_tensor_specs *specs;
    struct sw_error *err;
};

static void *take(struct opening *o, size_t count, size_t size) {
    void *memory = sw_arena_calloc(&o->files->arena, count, size);
    SW_ASSERT(memory); /* an arena without a limit: memory is gone */
    return memory;
}

static sw_status read_file(struct opening *o, const char *path, struct sw_str *ret) {
    struct sw_buf text;
    SW_TRY(sw_file_read(path, FILE_BYTES_MAX, &text, o->err));
    char *copy = sw_arena_alloc_aligned(&o->files->arena, text.len, 64);
    if (copy && text.len) {
        memcpy(copy, text.data, text.len);
    }
    *ret = (struct sw_str){copy, text.len};
    sw_buf_deinit(&text);
    return copy ? SW_OK : sw_fail(o->err, SW_E_TOO_LARGE, "%s: out of memory", path);
}

static sw_status blame(struct opening *o, const char *path, sw_status status) {
    return status && o->err ? sw_error_prefix(o->err, "%s", path) : status;
}

/* path: borrowed from the arena. */
static sw_status add_arrays(struct opening *o, const char *path, const struct sw_tensor *tensors, size_t count) {
    struct sw_sample_files *files = o->files;
    struct sw_sample_arrays *arrays = take(o, 1, sizeof *arrays);
    *arrays = (struct sw_sample_arrays){path, take(o, count + 1, sizeof *arrays->items), count, 0};
    for (size_t i = 0; i < count; i++) {
        arrays->items[i].tensor = tensors[i];
    }
    if (count == 0) {
        return sw_fail(o->err, SW_E_INVALID_ARGUMENT, "%s holds no arrays", path);
    }
    if (files->count == FILES_MAX) {
        return sw_fail(o->err, SW_E_TOO_LARGE, "more than %d files of arrays", FILES_MAX);
    }
    files->items = sw_xrealloc(files->items, (files->count + 1) * sizeof *files->items);
    files->items[files->count++] = arrays;
    return blame(o, path, fit_arrays(arrays, o->specs, o->err));
}

static sw_status read_npy(struct opening *o, const char *path, struct sw_tensor *ret) {
    struct sw_str bytes;
    SW_TRY(read_file(o, path, &bytes));
    return blame(o, path, sw_npy_read(bytes, &o->files->arena, ret, o->err));
}

/* The input that a lone array is for. */
static const struct sw_tensor_spec *only_input(const struct sw_tensor_specs *specs) {
    const struct sw_tensor_spec *found = NULL;
    for (size_t i = 0; i < specs->count; i++) {
        if (!specs->items[i].optional) {
            if (found) {
                return NULL;
            }
            found = &specs->items[i];
        }
    }
    return found;
}

static sw_status add_npy(struct opening *o, const char *path) {
    const struct sw_tensor_spec *spec = only_input(o->specs);
    struct sw_tensor tensor;
    if (!spec) {
        return sw_fail(o->err, SW_E_INVALID_ARGUMENT,
                       "%s: the model takes several inputs; give a .npz, or a folder with INPUT.npy for each", path);
    }
    SW_TRY(read_npy(o, path, &tensor));
    tensor.name = sw_str_of(spec->name);
    return add_arrays(o, path, &tensor, 1);
}

static sw_status add_npz(struct opening *o, const char *path) {
    struct sw_str bytes;
    struct sw_tensor *tensors = NULL;
    size_t count = 0;
    SW_TRY(read_file(o, path, &bytes));
    SW_TRY(blame(o, path, sw_npz_read(bytes, &o->files->arena, &tensors, &count, o->err)));
    return add_arrays(o, path, tensors, count);
}

static bool ends_in(const char *path, const char *ending) {
    return sw_str_ends(sw_str_of(path), sw_str_of(ending));
}

static sw_status add_file(struct opening *o, const char *path) {
    const char *kept = sw_arena_strdup(&o->files->arena, sw_str_of(path));
    return ends_in(path, ".npz") ? add_npz(o, kept) : add_npy(o, kept);
}

/* INPUT.npy of every input that is required. *ret_found false: not all of them are there. */
static sw_status add_named(struct opening *o, const char *folder, bool *ret_found) {
    struct sw_tensor *tensors = take(o, o->specs->count + 1, sizeof *tensors);
    size_t count = 0;
    *ret_found = false;
    for (size_t i = 0; i < o->specs->count; i++) {
        const struct sw_tensor_spec *spec = &o->specs->items[i];
        size_t size = strlen(spec->name) + sizeof ".npy";
        SW_AUTO_FREE char *name = sw_xmalloc(size);
        snprintf(name, size, "%s.npy", spec->name);
        SW_AUTO_FREE char *path = sw_path_join(folder, name);
        bool there = !strchr(spec->name, '/') && sw_path_is_file(path);
        if (!there && !spec->optional) {
            return SW_OK;
        }
        if (there) {
            SW_TRY(read_npy(o, path, &tensors[count]));
            tensors[count++].name = sw_str_of(spec->name);
        }
    }
    *ret_found = count > 0;
    return count ? add_arrays(o, sw_arena_strdup(&o->files->arena, sw_str_of(folder)), tensors, count) : SW_OK;
}

static int is_array_file(const struct dirent *entry) {
    return entry->d_name[0] != '.' && (ends_in(entry->d_name, ".npz") || ends_in(entry->d_name, ".npy"));
}

static sw_status add_folder(struct opening *o, const char *folder, bool *ret_found) {
    struct dirent **list;
    SW_TRY(add_named(o, folder, ret_found));
    if (*ret_found) {
        return SW_OK;
    }
    int n = scandir(folder, &list, is_array_file, alphasort);
    if (n < 0) {
        return sw_fail(o->err, SW_E_IO, "%s: %s", folder, strerror(errno));
    }
    sw_status status = SW_OK;
    for (int i = 0; i < n; i++) {
        SW_AUTO_FREE char *path = sw_path_join(folder, list[i]->d_name);
        status = status ? status : add_file(o, path);
        free(list[i]); /* of scandir */
    }
    free(list);
    *ret_found = n > 0;
    return status;
}

sw_status sw_sample_files_open(const char *data, const struct sw_tensor_specs *specs, struct sw_sample_files *ret,
                               bool *ret_found, struct sw_error *err) {
    struct opening o = {.files = ret, .specs = specs, .err = err};
    *ret = (struct sw_sample_files){0};
    sw_arena_init(&ret->arena, 0, 0);
    if (sw_path_is_dir(data)) {
        return add_folder(&o, data, ret_found);
    }
    *ret_found = ends_in(data, ".npz") || ends_in(data, ".npy");
    return *ret_found ? add_file(&o, data) : SW_OK;
}

void sw_sample_files_close(struct sw_sample_files *files) {
    sw_arena_deinit(&files->arena);
    sw_free(files->items);
}
