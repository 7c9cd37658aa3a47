/* What the parts of this folder share: the store, the vtable of the two back ends, local files.
 *
 *   artifact.c   open, health, handing out verified blobs      fs.c       back end: blobs/
 *   upload.c     uploads and their sweep                       s3.c       back end: a bucket, with cache/
 *   digest.c     SHA-256                                       s3_*.c     requests, signatures, XML, transfers, cache
 *   folder.c     files and folders below the store's folder
 *
 * Names of local files are relative to `root`, a descriptor of the store's folder, so that a later chdir changes
 * nothing; the last component is never followed when it is a link. */
#ifndef SW_ARTIFACT_INTERNAL_H
#define SW_ARTIFACT_INTERNAL_H

#include <pthread.h>
#include <sys/stat.h>

#include "artifact/artifact.h"

enum { SW_ARTIFACT_NAME_MAX = 128, SW_ARTIFACT_PIECE = 256 * 1024 };

struct sw_s3;

/* A file in uploads/ that is to become a blob: complete, hashed, locked by the caller, not yet fsynced. */
struct sw_put {
    const char *name; /* relative to root */
    int fd;
    uint64_t size;
    const struct sw_digest *digest;
};

/* A local copy of a blob, opened for reading. */
struct sw_local {
    int fd;
    uint64_t size;
    bool verified; /* hashed while it was brought here; else whoever hands it out must do so */
    char name[SW_ARTIFACT_NAME_MAX];
};

struct sw_swept {
    size_t count;
    uint64_t bytes;
};

struct sw_blob_ops {
    /* Makes the file a durable blob. It may be renamed away; the caller removes the name when it is still there. After
     * SW_E_IO and SW_E_INSUFFICIENT_STORAGE the file is worth nothing any more; after others it is untouched. */
    sw_status (*put)(struct sw_artifacts *artifacts, const struct sw_put *put, struct sw_error *err);
    sw_status (*stat)(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_blob *ret,
                      struct sw_error *err);
    /* Opens the local copy, bringing it here first when it is not. size: see sw_artifacts_fetch. */
    sw_status (*local)(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                       struct sw_local *ret, struct sw_error *err);
    /* The local copy is damaged. true: it was only a copy and is gone; asking again may bring a good one. */
    bool (*discard)(struct sw_artifacts *artifacts, const struct sw_local *local);
    sw_status (*verify)(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err);
    sw_status (*remove)(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err);
    sw_status (*each)(struct sw_artifacts *artifacts, sw_artifacts_each_fn *fn, void *arg, struct sw_error *err);
    sw_status (*sweep)(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run, struct sw_swept *swept,
                       struct sw_error *err);
    sw_status (*probe)(struct sw_artifacts *artifacts, struct sw_error *err);
};
extern const struct sw_blob_ops sw_blob_fs_ops, sw_blob_s3_ops;

struct sw_artifacts {
    const struct sw_blob_ops *ops;
    int root;
    char *directory; /* absolute */
    struct sw_clock *clock;
    uint64_t upload_max;
    struct sw_s3 *s3; /* NULL: file system */
    pthread_mutex_t health_lock;
    struct sw_error health; /* code SW_OK: the last operation went well */
};

/* The back end answered with this; what says something about its health is kept. Returns status. */
sw_status sw_artifacts_note(struct sw_artifacts *artifacts, sw_status status, const struct sw_error *err);

/* ---- digest.c */

/* Adds the first `size` bytes of fd to the hasher. SW_E_IO when the file is shorter. */
SW_MUST_CHECK sw_status sw_hasher_update_fd(struct sw_hasher *hasher, int fd, uint64_t size, const char *name,
                                            struct sw_error *err);

/* ---- folder.c */

/* errno as a status: ENOSPC and EDQUOT are SW_E_INSUFFICIENT_STORAGE, ENOENT SW_E_NOT_FOUND, others SW_E_IO. */
sw_status sw_folder_fail(struct sw_error *err, int code, const char *verb, const char *name);
/* "blobs/ab/abcdef..."; top is "blobs" or "cache". */
void sw_folder_blob_name(const char *top, const struct sw_digest *digest, char ret_name[SW_ARTIFACT_NAME_MAX]);
SW_MUST_CHECK sw_status sw_folder_make(const struct sw_artifacts *artifacts, const char *name, struct sw_error *err);
SW_MUST_CHECK sw_status sw_folder_sync(const struct sw_artifacts *artifacts, const char *name, struct sw_error *err);
/* A regular file; a link or anything else is SW_E_IO. Flags as of open(2); O_CREAT makes it with mode 0600. */
SW_MUST_CHECK sw_status sw_folder_open(const struct sw_artifacts *artifacts, const char *name, int flags, int *ret_fd,
                                       struct stat *ret_st, struct sw_error *err);
bool sw_folder_is(const struct sw_artifacts *artifacts, const char *name, int fd); /* does name still mean that file? */
/* Makes the file read-only and durable, renames it to its place below top (over what is there), fsyncs the folders. */
SW_MUST_CHECK sw_status sw_folder_adopt(const struct sw_artifacts *artifacts, const char *name, int fd, const char *top,
                                        const struct sw_digest *digest, struct sw_error *err);
/* SW_OK also when it is not there. What cannot be deleted and may stay is the sweep's. */
sw_status sw_folder_remove(const struct sw_artifacts *artifacts, const char *name, struct sw_error *err);
/* Regular files two levels below top; `file` is the last component. fn returning false ends it. */
typedef bool sw_folder_each_fn(void *arg, const char *name, const char *file, const struct stat *st);
SW_MUST_CHECK sw_status sw_folder_each(const struct sw_artifacts *artifacts, const char *top, sw_folder_each_fn *fn,
                                       void *arg, struct sw_error *err);
/* Regular files in the folder `name` itself. */
SW_MUST_CHECK sw_status sw_folder_list(const struct sw_artifacts *artifacts, const char *name, sw_folder_each_fn *fn,
                                       void *arg, struct sw_error *err);
/* All of it at that offset; errno or 0. */
int sw_folder_pwrite(int fd, const void *data, size_t len, uint64_t offset);
uint64_t sw_folder_mtime_ms(const struct stat *st);
/* Free bytes for this user, UINT64_MAX when it cannot be told. */
uint64_t sw_folder_free(const struct sw_artifacts *artifacts);
/* Was it last changed more than older_ms ago? */
bool sw_folder_is_older(const struct sw_artifacts *artifacts, const struct stat *st, uint64_t older_ms);

#endif
