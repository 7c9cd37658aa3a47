/* Folders on the local disk: a version's files as the engines want them, and room for work.
 *
 *   DIR/serving/lock              held while a process makes its folder and sweeps those of dead ones
 *   DIR/serving/PID-RANDOM/       of one registry in one process
 *       lock                      locked (flock) for as long as that registry is open
 *       MODEL-VERSION-N/          a materialised version
 *       work/N/                   of an inspection or import
 *
 * Several processes may share DIR (replicas on one machine, a restart that overlaps): a folder is swept at open when
 * nobody holds its lock, which the kernel lets go when its process ends, however it ends. Only names of the form
 * above are swept.
 *
 * Files are hard links to blobs where that is possible: they are never written to, and deleting a folder only unlinks
 * them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "registry/registry_internal.h"

enum { FOLDER_MODE = 0700, LOCK_MODE = 0600, TREE_DESCRIPTORS = 16 };

static sw_status fail_file(const char *verb, const char *path, struct sw_error *err) {
    int code = errno;
    sw_status status = code == ENOSPC || code == EDQUOT ? SW_E_INSUFFICIENT_STORAGE : SW_E_IO;
    return sw_fail(err, status, "cannot %s %s: %s", verb, path, strerror(code));
}

/* Makes the folder; one that is there is fine. */
static sw_status make_folder(const char *path, struct sw_error *err) {
    if (mkdir(path, FOLDER_MODE) != 0 && (errno != EEXIST || !sw_path_is_dir(path))) {
        return fail_file("make folder", path, err);
    }
    return SW_OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)remove(path); /* what cannot be removed keeps its folder: the next sweep tries again */
    return 0;
}

void sw_registry_remove_tree(const char *path) {
    nftw(path, remove_one, TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}

/* the folder of this process --------------------------------------------------------------------------------------- */

/* Opens (making it) and locks the file. SW_E_CONFLICT: somebody holds it, and `wait` is not set. */
static sw_status lock_file(const char *path, bool wait, int *ret_fd, struct sw_error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, LOCK_MODE);
    if (fd < 0) {
        return fail_file("open", path, err);
    }
    int rc;
    do {
        rc = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        sw_status status = errno == EWOULDBLOCK ? sw_fail(err, SW_E_CONFLICT, "%s is in use", path)
                                                : fail_file("lock", path, err);
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return SW_OK;
}

/* PID-RANDOM: digits, '-', 32 hex digits. */
static bool is_process_folder(struct sw_str name) {
    struct sw_str pid, random = sw_str_split(name, '-', &pid);
    uint64_t ignored;
    if (!sw_parse_u64(pid, &ignored) || random.len != 32) {
        return false;
    }
    for (size_t i = 0; i < random.len; i++) {
        if (!strchr("0123456789abcdef", random.data[i]) || random.data[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* Removes the folder unless its process lives. The caller holds DIR/serving/lock, so that none is half made. */
static void sweep_one(const char *path) {
    SW_AUTO_FREE char *lock = sw_path_join(path, "lock");
    int fd = -1;
    if (lock_file(lock, false, &fd, NULL) == SW_OK) {
        sw_registry_remove_tree(path);
        close(fd);
    }
}

static sw_status sweep(const char *top, struct sw_error *err) {
    DIR *d = opendir(top);
    if (!d) {
        return fail_file("read folder", top, err);
    }
    for (struct dirent *e; (e = readdir(d));) {
        SW_AUTO_FREE char *path = sw_path_join(top, e->d_name);
        struct stat st;
        if (is_process_folder(sw_str_of(e->d_name)) && lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            sweep_one(path);
        }
    }
    closedir(d);
    return SW_OK;
}

static sw_status make_own(struct sw_registry *registry, const char *top, struct sw_error *err) {
    char random[33], name[64];
    sw_random_id(random);
    snprintf(name, sizeof name, "%ld-%s", (long)getpid(), random);
    registry->serving = sw_path_join(top, name);
    registry->work = sw_path_join(registry->serving, "work");
    SW_AUTO_FREE char *lock = sw_path_join(registry->serving, "lock");
    SW_TRY(make_folder(registry->serving, err));
    SW_TRY(lock_file(lock, false, &registry->folders_lock, err));
    return make_folder(registry->work, err);
}

sw_status sw_registry_folders_reset(struct sw_registry *registry, struct sw_error *err) {
    SW_ASSERT(!registry->serving && !registry->work);
    SW_AUTO_FREE char *top = sw_path_join(registry->directory, "serving");
    SW_AUTO_FREE char *lock = sw_path_join(top, "lock");
    SW_TRY(make_folder(registry->directory, err));
    SW_TRY(make_folder(top, err));
    int fd;
    SW_TRY(lock_file(lock, true, &fd, err));
    sw_status status = sweep(top, err);
    status = status ? status : make_own(registry, top, err);
    close(fd);
    return status;
}

void sw_registry_folders_close(struct sw_registry *registry) {
    if (registry->folders_lock >= 0) {
        sw_registry_remove_tree(registry->serving);
        close(registry->folders_lock);
        registry->folders_lock = -1;
    }
    sw_free(registry->serving);
    sw_free(registry->work);
    registry->serving = registry->work = NULL;
}

static unsigned long next_number(struct sw_registry *registry) {
    return atomic_fetch_add_explicit(&registry->next_folder, 1, memory_order_relaxed);
}

sw_status sw_registry_work_folder(struct sw_registry *registry, char **ret_path, struct sw_error *err) {
    char name[24];
    snprintf(name, sizeof name, "%lu", next_number(registry));
    char *path = sw_path_join(registry->work, name);
    if (mkdir(path, FOLDER_MODE) != 0) {
        sw_status status = fail_file("make folder", path, err);
        sw_free(path);
        return status;
    }
    *ret_path = path;
    return SW_OK;
}

/* a version's files ------------------------------------------------------------------------------------------------ */

/* Makes the folders between `root` and the file. Only we make anything below root, so nothing there can be a link. */
static sw_status make_parents(const char *root, const char *path, struct sw_error *err) {
    SW_AUTO_FREE char *folder = sw_path_join(root, path);
    for (char *p = folder + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        SW_TRY(make_folder(folder, err));
        *p = '/';
    }
    return SW_OK;
}

static sw_status place_file(struct sw_registry *registry, const char *root, const struct sw_version_file *file,
                            struct sw_error *err) {
    if (!sw_registry_path_valid(sw_str_of(file->path))) { /* a database that was tampered with */
        return sw_fail(err, SW_E_IO, "the database holds a path that leads out of the version");
    }
    SW_AUTO_FREE char *path = sw_path_join(root, file->path);
    SW_TRY(make_parents(root, file->path, err));
    sw_status status = sw_artifacts_fetch(registry->artifacts, &file->digest, file->size, path, err);
    if (status == SW_E_NOT_FOUND) { /* not the version is missing, but what it consists of */
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "the file with SHA-256 %s is missing in the artifact store",
                       file->digest.hex);
    }
    return status;
}

static sw_status place_files(struct sw_registry *registry, const char *root, const char *model, int64_t version,
                             struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_version_file *files;
    size_t count;
    SW_TRY(sw_registry_files(registry, model, version, &arena, &files, &count, err));
    for (size_t i = 0; i < count; i++) {
        sw_status status = place_file(registry, root, &files[i], err);
        if (status) {
            if (err) {
                sw_error_prefix(err, "%s/%" PRId64 " %.200s", model, version, files[i].path);
            }
            return status;
        }
    }
    return SW_OK;
}

sw_status sw_registry_materialise(struct sw_registry *registry, const char *model, int64_t version, char **ret_path,
                                  struct sw_error *err) {
    char name[SW_REGISTRY_PATH_MAX];
    SW_TRY(sw_registry_check_name(model, err)); /* it becomes part of a path */
    snprintf(name, sizeof name, "%s-%" PRId64 "-%lu", model, version, next_number(registry));
    char *root = sw_path_join(registry->serving, name);
    sw_status status = mkdir(root, FOLDER_MODE) == 0 ? SW_OK : fail_file("make folder", root, err);
    status = status ? status : place_files(registry, root, model, version, err);
    if (status) {
        sw_registry_remove_tree(root);
        sw_free(root);
        return status;
    }
    *ret_path = root;
    return SW_OK;
}

void sw_registry_dematerialise(struct sw_registry *registry, const char *path) {
    size_t n = strlen(registry->serving);
    SW_ASSERT(strncmp(path, registry->serving, n) == 0 && path[n] == '/' && sw_path_is_inside(sw_str_of(path + n + 1)));
    sw_registry_remove_tree(path);
}
