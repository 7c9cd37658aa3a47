/* cache/: local copies of blobs, so that a start needs no download.
 *
 *   cache/ab/HEX      a whole copy; its times are when it was last used; verified by whoever hands it out, each time
 *   cache/HEX.part    a download under way, or one that broke: the next one goes on with it. Its lock (flock) makes
 *                     threads and processes that want the same blob wait for one download
 *
 * Eviction takes the copy used longest ago until all together have cache_max bytes. A copy that is linked elsewhere (a
 * version's folder) costs nothing here, so it is neither counted nor evicted; one that is open keeps its bytes until
 * it is closed. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "artifact/s3_internal.h"
#include "base/memory.h"

enum { LOCK_ATTEMPTS_MAX = 100, COPIES_MAX = 1 << 20 };

/* ---- eviction */

struct copy {
    struct sw_digest digest;
    uint64_t size;
    struct timespec used;
};
struct copies {
    struct copy *items;
    size_t count, capacity;
    uint64_t bytes;
};

static bool collect(void *arg, const char *name, const char *file, const struct stat *st) {
    struct copies *copies = arg;
    struct copy copy = {.size = (uint64_t)st->st_size, .used = st->st_mtim};
    if (!sw_digest_parse(sw_str_of(file), &copy.digest) || st->st_nlink > 1) {
        return true;
    }
    if (copies->count == copies->capacity) {
        copies->capacity = copies->capacity ? 2 * copies->capacity : 64;
        copies->items = sw_xrealloc(copies->items, copies->capacity * sizeof *copies->items);
    }
    copies->items[copies->count++] = copy;
    copies->bytes += copy.size;
    return copies->count < COPIES_MAX;
}

static int by_use(const void *a, const void *b) {
    const struct timespec *x = &((const struct copy *)a)->used, *y = &((const struct copy *)b)->used;
    return x->tv_sec != y->tv_sec ? (x->tv_sec < y->tv_sec ? -1 : 1)
                                  : (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Makes room for `need` bytes more, in the cache and on the disk. Best effort: a cache that is too full does no harm,
 * and a disk that is too full says so when it is written to. */
static void make_room(struct sw_artifacts *artifacts, uint64_t need, const struct sw_digest *keep) {
    struct copies copies = {0};
    uint64_t max = artifacts->s3->cache_max > need ? artifacts->s3->cache_max - need : 0;
    pthread_mutex_lock(&artifacts->s3->cache_lock);
    sw_status listed = sw_folder_each(artifacts, "cache", collect, &copies, NULL);
    if (!listed && copies.count > 1) {
        qsort(copies.items, copies.count, sizeof *copies.items, by_use);
    }
    for (size_t i = 0; i < copies.count && !listed; i++) {
        const struct copy *copy = &copies.items[i];
        char name[SW_ARTIFACT_NAME_MAX];
        if (copies.bytes <= max && sw_folder_free(artifacts) >= need) {
            break;
        }
        if (keep && sw_digest_eq(&copy->digest, keep)) {
            continue;
        }
        sw_folder_blob_name("cache", &copy->digest, name);
        if (sw_folder_remove(artifacts, name, NULL) == SW_OK) {
            copies.bytes -= copy->size;
        }
    }
    pthread_mutex_unlock(&artifacts->s3->cache_lock);
    sw_free(copies.items);
}

/* ---- downloads */

static void part_name(const struct sw_digest *digest, char ret_name[SW_ARTIFACT_NAME_MAX]) {
    snprintf(ret_name, SW_ARTIFACT_NAME_MAX, "cache/%s.part", digest->hex);
}

static sw_status open_copy(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_local *ret,
                           struct sw_error *err) {
    struct sw_local local = {.fd = -1};
    struct stat st;
    sw_folder_blob_name("cache", digest, local.name);
    SW_TRY(sw_folder_open(artifacts, local.name, O_RDONLY, &local.fd, &st, err));
    local.size = (uint64_t)st.st_size;
    *ret = local;
    return SW_OK;
}

/* Waits until nobody else downloads this blob. */
static sw_status lock_part(struct sw_artifacts *artifacts, const char *name, int *ret_fd, struct sw_error *err) {
    for (int attempt = 0; attempt < LOCK_ATTEMPTS_MAX; attempt++) {
        int fd = -1, code;
        SW_TRY(sw_folder_open(artifacts, name, O_RDWR | O_CREAT, &fd, NULL, err));
        do {
            code = flock(fd, LOCK_EX) ? errno : 0;
        } while (code == EINTR);
        if (code) {
            close(fd);
            return sw_folder_fail(err, code, "lock", name);
        }
        if (sw_folder_is(artifacts, name, fd)) {
            *ret_fd = fd;
            return SW_OK;
        }
        close(fd); /* finished or deleted by the one we waited for */
    }
    return sw_fail(err, SW_E_UNAVAILABLE, "%s is taken again and again", name);
}

/* With the lock held. What broke because S3 is away stays, so that the next one goes on; anything else goes. */
static sw_status bring(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size, const char *name,
                       int fd, struct sw_local *ret, struct sw_error *err) {
    uint64_t got = 0;
    make_room(artifacts, size == UINT64_MAX ? 0 : size, NULL);
    sw_status status = sw_s3_download(artifacts, digest, size, fd, &got, err);
    if (!status) {
        status = sw_folder_adopt(artifacts, name, fd, "cache", digest, err);
    }
    if (status && status != SW_E_UNAVAILABLE) {
        (void)sw_folder_remove(artifacts, name, NULL);
        (void)!ftruncate(fd, 0);
    }
    SW_TRY(status);
    SW_TRY(open_copy(artifacts, digest, ret, err));
    ret->verified = sw_folder_is(artifacts, ret->name, fd); /* the very file that was hashed on its way in */
    make_room(artifacts, 0, digest);
    return SW_OK;
}

sw_status sw_s3_cache_open(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                           struct sw_local *ret, struct sw_error *err) {
    char name[SW_ARTIFACT_NAME_MAX];
    struct sw_local local;
    sw_status status = open_copy(artifacts, digest, &local, err);
    if (!status) {
        (void)futimens(local.fd, NULL); /* used now */
        *ret = local;
        return SW_OK;
    }
    if (status != SW_E_NOT_FOUND) {
        return status;
    }
    int fd = -1;
    part_name(digest, name);
    SW_TRY(lock_part(artifacts, name, &fd, err));
    status = open_copy(artifacts, digest, &local, NULL); /* by the one we waited for */
    if (status == SW_E_NOT_FOUND) {
        status = bring(artifacts, digest, size, name, fd, &local, err);
    } else {
        (void)sw_folder_remove(artifacts, name, NULL);
    }
    close(fd);
    SW_TRY(status);
    *ret = local;
    return SW_OK;
}

bool sw_s3_cache_discard(struct sw_artifacts *artifacts, const struct sw_local *local) {
    if (local->verified) {
        return false; /* as it came from S3 */
    }
    if (sw_folder_is(artifacts, local->name, local->fd)) {
        (void)sw_folder_remove(artifacts, local->name, NULL);
    }
    return true;
}

void sw_s3_cache_adopt(struct sw_artifacts *artifacts, const struct sw_put *put) {
    if (put->size <= artifacts->s3->cache_max &&
        sw_folder_adopt(artifacts, put->name, put->fd, "cache", put->digest, NULL) == SW_OK) {
        make_room(artifacts, 0, put->digest);
    }
}

/* ---- sweep */

struct sweep {
    struct sw_artifacts *artifacts;
    uint64_t older_ms;
    bool dry_run;
    struct sw_swept *swept;
};

static bool sweep_part(void *arg, const char *name, const char *file, const struct stat *st) {
    struct sweep *sweep = arg;
    struct sw_str text = sw_str_of(file);
    struct sw_digest digest;
    int fd;
    if (text.len != SW_DIGEST_HEX + 5 || !sw_str_ends(text, SW_STR(".part")) ||
        !sw_digest_parse((struct sw_str){file, SW_DIGEST_HEX}, &digest) ||
        !sw_folder_is_older(sweep->artifacts, st, sweep->older_ms) ||
        sw_folder_open(sweep->artifacts, name, O_RDWR, &fd, NULL, NULL)) {
        return true;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && sw_folder_is(sweep->artifacts, name, fd) &&
        (sweep->dry_run || sw_folder_remove(sweep->artifacts, name, NULL) == SW_OK)) {
        sweep->swept->count++;
        sweep->swept->bytes += (uint64_t)st->st_size;
    }
    close(fd);
    return true;
}

sw_status sw_s3_cache_sweep(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run, struct sw_swept *swept,
                            struct sw_error *err) {
    struct sweep sweep = {artifacts, older_ms, dry_run, swept};
    return sw_folder_list(artifacts, "cache", sweep_part, &sweep, err);
}
