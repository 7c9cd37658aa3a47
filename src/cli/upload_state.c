/* The small files of uploads under way; see upload_state.h. */
#include "cli/upload_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"

enum { PATH_BYTES_MAX = 4096, FILE_BYTES_MAX = 256, KEPT_S = 7 * 24 * 3600 };

char *sw_upload_state_folder(void) {
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (state && state[0] == '/') { /* the specification: relative ones are ignored */
        return sw_path_join(state, "slipway/uploads");
    }
    return home && home[0] == '/' ? sw_path_join(home, ".local/state/slipway/uploads") : NULL;
}

static char *path_of(const char *folder, const struct sw_upload_key *key) {
    struct sw_digest name;
    struct sw_hasher *hasher = sw_hasher_create();
    sw_hasher_update(hasher, key->server, strlen(key->server) + 1); /* the NUL keeps the parts apart */
    sw_hasher_update(hasher, key->is_archive ? "a" : "f", 2);
    sw_hasher_update(hasher, key->digest->hex, SW_DIGEST_HEX);
    sw_hasher_finish(hasher, &name);
    return sw_path_join(folder, name.hex);
}

static bool is_id(struct sw_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return text.len == SW_UPLOAD_ID;
}

bool sw_upload_state_get(const char *folder, const struct sw_upload_key *key, char ret_id[SW_UPLOAD_ID + 1]) {
    char *path SW_AUTO_FREE = path_of(folder, key);
    struct sw_buf text;
    if (sw_file_read(path, FILE_BYTES_MAX, &text, NULL)) {
        return false;
    }
    struct sw_str id = sw_buf_str(&text);
    id.len -= id.len > 0 && id.data[id.len - 1] == '\n';
    bool good = is_id(id);
    if (good) {
        memcpy(ret_id, id.data, SW_UPLOAD_ID);
        ret_id[SW_UPLOAD_ID] = '\0';
    }
    sw_buf_deinit(&text);
    return good;
}

/* mkdir -p, for this user alone. */
static sw_status make_folder(const char *folder, struct sw_error *err) {
    char path[PATH_BYTES_MAX];
    int n = snprintf(path, sizeof path, "%s", folder);
    if (n < 0 || (size_t)n >= sizeof path) {
        return sw_fail(err, SW_E_IO, "%s: the path is too long", folder);
    }
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
        }
        *slash = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST ? SW_OK : sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
}

/* Pushes that nobody took up again; the server has swept their uploads. */
static void remove_old(const char *folder) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    time_t now = time(NULL);
    while (dir && (entry = readdir(dir))) {
        struct stat info;
        if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode) && info.st_mtime + KEPT_S < now) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static sw_status write_file(const char *path, const char *id, struct sw_error *err) {
    char text[SW_UPLOAD_ID + 2];
    int n = snprintf(text, sizeof text, "%s\n", id);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    bool written = write(fd, text, (size_t)n) == n;
    int error = errno;
    close(fd);
    return written ? SW_OK : sw_fail(err, SW_E_IO, "%s: %s", path, strerror(error));
}

sw_status sw_upload_state_put(const char *folder, const struct sw_upload_key *key, const char *id,
                              struct sw_error *err) {
    char random[33], fresh[PATH_BYTES_MAX];
    char *path SW_AUTO_FREE = path_of(folder, key);
    SW_TRY(make_folder(folder, err));
    remove_old(folder);
    sw_random_id(random);
    int n = snprintf(fresh, sizeof fresh, "%s.%s", path, random);
    if (n < 0 || (size_t)n >= sizeof fresh) {
        return sw_fail(err, SW_E_IO, "%s: the path is too long", folder);
    }
    sw_status status = write_file(fresh, id, err);
    if (!status && rename(fresh, path) != 0) {
        status = sw_fail(err, SW_E_IO, "%s: %s", path, strerror(errno));
    }
    if (status) {
        unlink(fresh);
    }
    return status;
}

void sw_upload_state_remove(const char *folder, const struct sw_upload_key *key) {
    char *path SW_AUTO_FREE = path_of(folder, key);
    unlink(path);
}
