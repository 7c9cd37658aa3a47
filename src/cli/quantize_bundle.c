/* A new bundle: every file of the old one but its model, which is replaced under the same name. Made in a folder beside
 * OUT, which takes OUT's name when all of it is there and its model has been loaded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/package.h"
#include "cli/quantize_internal.h"
#include "graph/signature.h"

enum { PIECE = 256 << 10, OPEN_FOLDERS_MAX = 16, FOLDER_MODE = 0777 };

struct making {
    struct sw_quantization *q;
    struct sw_package package;
    json_t *external;  /* files of the old model's weights, relative to its folder */
    const char *model; /* path of the model in the bundle */
    char *folder;      /* the new bundle while it is made */
    struct sw_error *err;
};

/* --- files -------------------------------------------------------------------------------------------------------- */

static sw_status io_error(struct sw_error *err, const char *path) {
    return sw_fail(err, errno == ENOSPC || errno == EDQUOT ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO, "%s: %s", path,
                   strerror(errno));
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    return remove(path);
}

static void remove_folder(const char *path) {
    nftw(path, remove_entry, OPEN_FOLDERS_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The folders on the way to `path`, which begins with `root`. */
static sw_status make_folders(const char *root, const char *path, struct sw_error *err) {
    SW_AUTO_FREE char *part = sw_xstrdup(path);
    for (char *slash = strchr(part + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, FOLDER_MODE) != 0 && errno != EEXIST) {
            return io_error(err, part);
        }
        *slash = '/';
    }
    return SW_OK;
}

static sw_status copy_bytes(int from, int to, const char *path, struct sw_error *err) {
    SW_AUTO_FREE char *piece = sw_xmalloc(PIECE);
    for (;;) {
        ssize_t n = read(from, piece, PIECE);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? SW_OK : io_error(err, path);
        }
        for (ssize_t done = 0, m; done<n; done += m> 0 ? m : 0) {
            m = write(to, piece + done, (size_t)(n - done));
            if (m < 0 && errno != EINTR) {
                return io_error(err, path);
            }
        }
    }
}

/* head: written in front; may be "". */
static sw_status copy_file(const char *from, const char *to, const char *head, struct sw_error *err) {
    struct stat info;
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0 || fstat(in, &info) != 0) {
        sw_status status = io_error(err, from);
        if (in >= 0) {
            close(in);
        }
        return status;
    }
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, info.st_mode & 0777);
    if (out < 0) {
        sw_status status = io_error(err, to);
        close(in);
        return status;
    }
    size_t len = strlen(head);
    sw_status status = write(out, head, len) == (ssize_t)len ? SW_OK : io_error(err, to);
    status = status ? status : copy_bytes(in, out, to, err);
    close(in);
    return close(out) == 0 || status ? status : io_error(err, to);
}

/* --- the new folder ----------------------------------------------------------------------------------------------- */

/* Is it the old model, or a file of its weights? */
static bool is_replaced(const struct making *m, const char *path) {
    struct sw_str model = sw_str_of(m->model), base = sw_path_base(model);
    size_t folder = (size_t)(base.data - model.data), i;
    json_t *name;
    if (strcmp(path, m->model) == 0) {
        return true;
    }
    json_array_foreach(m->external, i, name) {
        if (strncmp(path, m->model, folder) == 0 && strcmp(path + folder, json_string_value(name)) == 0) {
            return true;
        }
    }
    return false;
}

/* Figures in bundle.yaml were measured on the old model: whoever reads them should know. */
static sw_status copy_to_folder(const struct making *m, const struct sw_package_file *file) {
    char head[512] = "";
    SW_AUTO_FREE char *to = sw_path_join(m->folder, file->path);
    SW_TRY(make_folders(m->folder, to, m->err));
    if (strcmp(file->path, "bundle.yaml") == 0) {
        snprintf(head, sizeof head,
                 "# Quantised to INT8 (%s) by slipway %s. Figures below were measured before that.\n", m->q->mode,
                 SW_VERSION);
    }
    return copy_file(file->local, to, head, m->err);
}

static sw_status fill_folder(struct making *m) {
    for (size_t i = 0; i < m->package.count; i++) {
        const struct sw_package_file *file = &m->package.files[i];
        if (!is_replaced(m, file->path)) {
            SW_TRY(copy_to_folder(m, file));
        }
    }
    SW_AUTO_FREE char *model = sw_path_join(m->folder, m->model);
    SW_TRY(make_folders(m->folder, model, m->err));
    return sw_onnx_save(m->q->onnx, model, &m->q->bytes_after, m->err);
}

/* Loads the new bundle as serve would, and settles its golden answers. */
static sw_status check_folder(struct making *m) {
    struct sw_model_options options = sw_cli_model_options(&m->q->engines, 1);
    struct sw_model *model;
    options.skip_golden = true;
    SW_TRY(sw_model_load(m->folder, m->q->model->bundle->name, 1, &options, &model, m->err));
    sw_status status = sw_quantize_golden(model, &m->q->golden, m->err);
    sw_model_unref(model);
    return status;
}

/* --- taking OUT's place ------------------------------------------------------------------------------------------- */

static bool is_empty_folder(const char *path) {
    DIR *folder = opendir(path);
    bool empty = folder != NULL;
    for (struct dirent *entry; folder && empty && (entry = readdir(folder));) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (folder) {
        closedir(folder);
    }
    return empty;
}

static sw_status check_place(const char *out, bool force, struct sw_error *err) {
    struct stat info;
    if (lstat(out, &info) != 0) {
        return errno == ENOENT ? SW_OK : io_error(err, out);
    }
    if (!S_ISDIR(info.st_mode)) {
        return sw_fail(err, SW_E_CONFLICT, "%s exists and is no folder", out);
    }
    return force || is_empty_folder(out)
               ? SW_OK
               : sw_fail(err, SW_E_CONFLICT, "%s exists and is not empty; --force replaces it", out);
}

/* An old OUT goes aside first, and away when the new one is in its place. */
static sw_status take_place(const struct making *m) {
    const char *out = m->q->out;
    size_t size = strlen(m->folder) + sizeof ".old";
    SW_AUTO_FREE char *aside = sw_xmalloc(size);
    snprintf(aside, size, "%s.old", m->folder);
    bool existed = rename(out, aside) == 0;
    if (!existed && errno != ENOENT) {
        return io_error(m->err, out);
    }
    if (rename(m->folder, out) != 0) {
        sw_status status = io_error(m->err, out);
        if (existed && rename(aside, out) != 0) {
            sw_error_prefix(m->err, "the folder that was %s is %s now", out, aside);
        }
        return status;
    }
    if (existed) {
        remove_folder(aside);
    }
    return SW_OK;
}

static sw_status make_bundle(struct making *m) {
    json_t *signature = NULL;
    mode_t mask = umask(0);
    umask(mask);
    SW_TRY(sw_package_open(m->q->in, &m->package, m->err));
    SW_TRY(sw_onnx_signature(m->q->model->bundle->model_path, &signature, &m->external, m->err));
    json_decref(signature);
    if (!mkdtemp(m->folder)) {
        return io_error(m->err, m->folder);
    }
    sw_status status = chmod(m->folder, FOLDER_MODE & ~mask) == 0 ? fill_folder(m) : io_error(m->err, m->folder);
    status = status ? status : check_folder(m);
    status = status ? status : take_place(m);
    if (status) {
        remove_folder(m->folder);
    }
    return status;
}

/* OUT without slashes at its end: a name to put something behind. */
static char *name_beside(const char *out) {
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/') {
        len--;
    }
    char *name = sw_xmalloc(len + sizeof ".XXXXXX");
    memcpy(name, out, len);
    memcpy(name + len, ".XXXXXX", sizeof ".XXXXXX");
    return name;
}

sw_status sw_quantize_write_bundle(struct sw_quantization *q, bool force, struct sw_error *err) {
    const struct sw_bundle *bundle = q->model->bundle;
    SW_TRY(check_place(q->out, force, err));
    struct making m = {.q = q, .model = bundle->model_path + strlen(bundle->dir) + 1, .err = err};
    m.folder = name_beside(q->out);
    sw_status status = make_bundle(&m);
    sw_package_deinit(&m.package);
    json_decref(m.external);
    sw_free(m.folder);
    return status;
}
