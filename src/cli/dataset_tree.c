/* A data set that is a folder without manifest: its files, and the labels that its folders are.
 *
 * The whole tree is listed once and sorted, so that the order does not hang on the file system. Only names are kept. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/dataset_internal.h"

void sw_dataset_tree_deinit(struct sw_dataset_tree *tree) {
    for (size_t i = 0; i < tree->count; i++) {
        sw_free(tree->paths[i]);
    }
    sw_free(tree->paths);
    *tree = (struct sw_dataset_tree){0};
}

static sw_status add_path(struct sw_dataset_tree *tree, const char *folder, char *path, struct sw_error *err) {
    if (tree->count == SW_DATASET_FILES_MAX) {
        sw_free(path);
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: more than %d files", folder, SW_DATASET_FILES_MAX);
    }
    if (tree->count == tree->capacity) {
        tree->capacity = tree->capacity ? tree->capacity * 2 : 256;
        tree->paths = sw_xrealloc(tree->paths, tree->capacity * sizeof *tree->paths);
    }
    tree->paths[tree->count++] = path;
    return SW_OK;
}

static sw_status walk(struct sw_dataset_tree *tree, const char *folder, const char *below, unsigned depth,
                      struct sw_error *err);

/* `name`: relative to the folder; owned by this call. */
static sw_status visit(struct sw_dataset_tree *tree, const char *folder, char *name, unsigned depth,
                       struct sw_error *err) {
    char *relative SW_AUTO_FREE = name;
    char *path SW_AUTO_FREE = sw_path_join(folder, relative);
    struct stat info, target;
    if (lstat(path, &info) != 0 || stat(path, &target) != 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    if (S_ISLNK(info.st_mode) && S_ISDIR(target.st_mode)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: a symbolic link to a folder is not followed", path);
    }
    if (S_ISDIR(target.st_mode)) {
        return walk(tree, folder, relative, depth + 1, err);
    }
    if (!S_ISREG(target.st_mode)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: neither a file nor a folder", path);
    }
    relative = NULL;
    return add_path(tree, folder, name, err);
}

/* All files below folder/below ("": the folder itself). */
static sw_status walk(struct sw_dataset_tree *tree, const char *folder, const char *below, unsigned depth,
                      struct sw_error *err) {
    char *path SW_AUTO_FREE = *below ? sw_path_join(folder, below) : sw_xstrdup(folder);
    if (depth > SW_DATASET_DEPTH_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: more than %d folders deep", path, SW_DATASET_DEPTH_MAX);
    }
    DIR *dir = opendir(path);
    if (!dir) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    sw_status status = SW_OK;
    const struct dirent *entry;
    errno = 0;
    while (!status && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            char *name = *below ? sw_path_join(below, entry->d_name) : sw_xstrdup(entry->d_name);
            status = visit(tree, folder, name, depth, err);
        }
        errno = 0;
    }
    if (!status && errno) {
        status = sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    closedir(dir);
    return status;
}

static int by_path(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The first folder of a path; data NULL: it has none. */
static struct sw_str first_folder(const char *path) {
    const char *slash = strchr(path, '/');
    return slash ? (struct sw_str){path, (size_t)(slash - path)} : (struct sw_str){NULL, 0};
}

/* Are the folders labels, and which kind? */
static sw_status find_labels(struct sw_dataset_tree *tree, const char *folder, struct sw_error *err) {
    const char *flat = NULL, *other = NULL;
    for (size_t i = 0; i < tree->count; i++) {
        struct sw_str label = first_folder(tree->paths[i]);
        bool binary = sw_str_is(label, "clean") || sw_str_is(label, "stego");
        tree->labelled = tree->labelled || label.data;
        tree->binary = tree->binary || binary;
        flat = label.data || flat ? flat : tree->paths[i];
        other = binary || other ? other : tree->paths[i];
    }
    if (tree->labelled && flat) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: file %s beside folders, which are labels", folder, flat);
    }
    if (tree->binary && other) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: %s beside clean/ and stego/", folder, other);
    }
    return SW_OK;
}

sw_status sw_dataset_tree_read(const char *folder, struct sw_dataset_tree *ret, struct sw_error *err) {
    struct sw_dataset_tree tree = {0};
    sw_status status = walk(&tree, folder, "", 0, err);
    if (!status && tree.count == 0) {
        status = sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: holds no file", folder);
    }
    if (!status) {
        qsort(tree.paths, tree.count, sizeof *tree.paths, by_path);
        status = find_labels(&tree, folder, err);
    }
    if (status) {
        sw_dataset_tree_deinit(&tree);
        return status;
    }
    *ret = tree;
    return SW_OK;
}

/* clean/..., stego/METHOD/...: label and method. */
static void binary_label(const char *path, struct sw_sample *sample) {
    bool stego = path[0] == 's';
    sample->label = (struct sw_label){SW_LABEL_BOOL, stego, stego ? SW_STR("true") : SW_STR("false")};
    if (stego) {
        sample->method = first_folder(path + strlen("stego/"));
    }
}

sw_status sw_dataset_tree_sample(const struct sw_dataset_tree *tree, size_t at, struct sw_arena *arena,
                                 struct sw_sample *ret, struct sw_error *err) {
    const char *path = tree->paths[at];
    struct sw_sample sample = {.index = at, .file = sw_str_of(path)};
    if (tree->binary) {
        binary_label(path, &sample);
    } else if (tree->labelled) {
        sample.label = (struct sw_label){.kind = SW_LABEL_TEXT, .text = first_folder(path)};
    }
    if (sample.method.data) {
        SW_TRY(sw_sample_add_group(&sample, arena, SW_STR("method"), sample.method, err));
    }
    if (sample.label.kind) {
        SW_TRY(sw_sample_add_group(&sample, arena, SW_STR("label"), sample.label.text, err));
    }
    SW_TRY(sw_sample_add_format(&sample, arena, err));
    *ret = sample;
    return SW_OK;
}
