/* The artifact store: files by the SHA-256 of their content, on the file system (default) or in S3.
 *
 *   DIR/blobs/ab/abcdef...      (fs) a blob, mode 0444; never changed, only deleted
 *   DIR/cache/ab/abcdef...      (s3) blobs fetched before, verified on every use; beyond cache_max the one used longest
 *                               ago goes
 *   DIR/uploads/ID              bytes received so far; ID.json what was announced
 *
 * Writing: bytes go to an upload (always a local file, so that it can be resumed, also after a restart), are hashed,
 * fsynced, and then renamed into blobs/ and the folder fsynced (fs), or put into the bucket (s3: multipart above 64
 * MiB, SHA-256 of each part signed). A blob exists when commit returned SW_OK, and then survives power loss. What a
 * crash leaves behind is in uploads/ (or an unfinished multipart upload, or a download in cache/) and is swept.
 *
 * Reading: sw_artifacts_fetch verifies size and digest every time; nothing of an unverified blob is ever handed out as
 * good.
 *
 * Memory is bounded whatever the size of a file. Any thread; calls block for as long as disks and networks do: never
 * on an I/O thread. */
#ifndef SW_ARTIFACT_ARTIFACT_H
#define SW_ARTIFACT_ARTIFACT_H

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

struct sw_artifacts;
struct sw_upload;

enum { SW_DIGEST_HEX = 64, SW_UPLOAD_ID = 32 };

/* Lower-case hex, NUL-terminated. */
struct sw_digest {
    char hex[SW_DIGEST_HEX + 1];
};
bool sw_digest_parse(struct sw_str text, struct sw_digest *ret); /* exactly 64 hex digits, made lower-case */
/* Streaming SHA-256 (libcrypto). */
struct sw_hasher;
struct sw_hasher *sw_hasher_create(void);
void sw_hasher_update(struct sw_hasher *hasher, const void *data, size_t len);
void sw_hasher_finish(struct sw_hasher *hasher, struct sw_digest *ret); /* and frees it */
void sw_hasher_discard(struct sw_hasher *hasher);                       /* frees it; NULL is allowed */
/* Of a regular file (a link is refused), read in pieces. */
SW_MUST_CHECK sw_status sw_digest_file(const char *path, struct sw_digest *ret, uint64_t *ret_size,
                                       struct sw_error *err);
/* Of an open file from its begin, without moving its offset; *ret_size is what was read. */
SW_MUST_CHECK sw_status sw_digest_fd(int fd, const char *name, struct sw_digest *ret, uint64_t *ret_size,
                                     struct sw_error *err);
bool sw_digest_eq(const struct sw_digest *a, const struct sw_digest *b);

struct sw_blob {
    struct sw_digest digest;
    uint64_t size;
    uint64_t modified_ms; /* wall clock; when it was stored */
};

struct sw_artifacts_options {
    const char *directory;   /* local folder for blobs, cache and uploads; made when missing */
    bool read_only;          /* file system only: nothing is made or written, so the folder need not be writable */
    const char *url;         /* NULL or "": blobs on the file system; "s3://BUCKET[/PREFIX]" */
    const char *s3_endpoint; /* "http://127.0.0.1:9000"; NULL: AWS in that region */
    const char *s3_region;   /* NULL: "us-east-1" */
    const char *s3_access_key, *s3_secret_key, *s3_session_token; /* NULL: AWS_ACCESS_KEY_ID and so on */
    bool s3_virtual_host;                          /* bucket in the host name; false: in the path (MinIO) */
    uint64_t cache_max;                            /* bytes of s3 blobs kept locally */
    uint64_t upload_max;                           /* bytes of one upload; more: SW_E_TOO_LARGE */
    uint64_t connect_timeout_ms, stall_timeout_ms; /* s3: no byte for this long ends a transfer */
    struct sw_clock *clock;
};
void sw_artifacts_options_default(struct sw_artifacts_options *options);

/* SW_E_USAGE: bad URL. SW_E_IO: the folder cannot be made or written. An S3 that cannot be reached is no failure. */
SW_MUST_CHECK sw_status sw_artifacts_open(const struct sw_artifacts_options *options, struct sw_artifacts **ret,
                                          struct sw_error *err);
void sw_artifacts_close(struct sw_artifacts *artifacts);                /* NULL is allowed */
uint64_t sw_artifacts_upload_max(const struct sw_artifacts *artifacts); /* as in the options */
/* As sw_store_health, without I/O: what the last operation said (S3: reached and let in? the folder: could it be
 * written?). Not SW_OK: SW_E_UNAVAILABLE, SW_E_FORBIDDEN, SW_E_INSUFFICIENT_STORAGE, SW_E_IO. Somebody's thread probes
 * now and then. */
sw_status sw_artifacts_health(struct sw_artifacts *artifacts, struct sw_error *err);
/* Tries the back end now, once (S3: lists one key; the folder: writes a page). Blocks. The outcome is the health. */
sw_status sw_artifacts_probe(struct sw_artifacts *artifacts, struct sw_error *err);

/* ---- uploads: resumable, one writer at a time */

/* size UINT64_MAX: not known; digest NULL: not known (both are checked at commit when known). ret_id: 32 hex digits.
 * Room on the disk is checked for a known size: SW_E_INSUFFICIENT_STORAGE. */
SW_MUST_CHECK sw_status sw_upload_create(struct sw_artifacts *artifacts, uint64_t size, const struct sw_digest *digest,
                                         char ret_id[SW_UPLOAD_ID + 1], struct sw_error *err);
/* For writing at its end. SW_E_NOT_FOUND; SW_E_CONFLICT while another holds it open. Reads what is there to go on
 * hashing. */
SW_MUST_CHECK sw_status sw_upload_open(struct sw_artifacts *artifacts, struct sw_str id, struct sw_upload **ret,
                                       struct sw_error *err);
struct sw_upload_info {
    char id[SW_UPLOAD_ID + 1];
    uint64_t offset; /* bytes received */
    uint64_t size;   /* UINT64_MAX: not known */
    bool has_digest;
    struct sw_digest digest;
    uint64_t modified_ms;
};
SW_MUST_CHECK sw_status sw_upload_stat(struct sw_artifacts *artifacts, struct sw_str id, struct sw_upload_info *ret,
                                       struct sw_error *err);
uint64_t sw_upload_offset(const struct sw_upload *upload);
uint64_t sw_upload_size(const struct sw_upload *upload);
/* Appends. SW_E_TOO_LARGE beyond the announced size or upload_max: nothing of this piece is taken.
 * SW_E_INSUFFICIENT_STORAGE: the upload is given up at once and its bytes are freed; only close is left to do. */
SW_MUST_CHECK sw_status sw_upload_write(struct sw_upload *upload, const void *data, size_t len, struct sw_error *err);
void sw_upload_close(struct sw_upload *upload); /* keeps what was received, for a later open. NULL is allowed */
/* Makes the bytes a blob, durably, and ends the upload. SW_E_DIGEST_MISMATCH (size or digest; the upload is deleted),
 * SW_E_INVALID_ARGUMENT (bytes are missing still; the upload stays), SW_E_UNAVAILABLE and SW_E_FORBIDDEN (S3; the
 * upload stays), SW_E_INSUFFICIENT_STORAGE and SW_E_IO (deleted). The handle is closed in any case. A blob that exists
 * already keeps its content, which is the same, gets a new modified_ms, and is mended when it was damaged. */
SW_MUST_CHECK sw_status sw_upload_commit(struct sw_upload *upload, struct sw_blob *ret, struct sw_error *err);
/* Path of the bytes received, to look inside before commit (an archive); borrowed from the upload. */
const char *sw_upload_path(const struct sw_upload *upload);
/* SW_E_NOT_FOUND; SW_E_CONFLICT while it is open. */
SW_MUST_CHECK sw_status sw_upload_delete(struct sw_artifacts *artifacts, struct sw_str id, struct sw_error *err);
/* Deletes uploads (and S3 multipart uploads of ours) that nobody has touched for older_ms. *ret_count may be NULL. With
 * dry_run nothing is deleted, only counted. fn (NULL: nobody) hears of each local upload. */
typedef void sw_artifacts_swept(void *arg, const char *id, uint64_t bytes, uint64_t modified_ms);
SW_MUST_CHECK sw_status sw_artifacts_sweep(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run,
                                           sw_artifacts_swept *fn, void *arg, size_t *ret_count, uint64_t *ret_bytes,
                                           struct sw_error *err);

/* ---- blobs */

/* A local file as a blob (copied; hashed on the way); expected may be NULL. */
SW_MUST_CHECK sw_status sw_artifacts_put_file(struct sw_artifacts *artifacts, const char *path,
                                              const struct sw_digest *expected, struct sw_blob *ret,
                                              struct sw_error *err);
/* SW_E_NOT_FOUND; SW_E_UNAVAILABLE. Does not read the content. */
SW_MUST_CHECK sw_status sw_artifacts_stat(struct sw_artifacts *artifacts, const struct sw_digest *digest,
                                          struct sw_blob *ret, struct sw_error *err);
/* Makes the blob appear as the read-only file `path` (its folder exists, the file does not), verified: by a hard link
 * where that is possible (never change it), else as a copy. SW_E_DIGEST_MISMATCH: the stored bytes are not what they
 * should be (a cached copy is dropped and fetched once more first); SW_E_NOT_FOUND; SW_E_UNAVAILABLE; SW_E_CONFLICT:
 * the file exists. size: what it must be, UINT64_MAX: not known. */
SW_MUST_CHECK sw_status sw_artifacts_fetch(struct sw_artifacts *artifacts, const struct sw_digest *digest,
                                           uint64_t size, const char *path, struct sw_error *err);
/* Verifies without handing out. (s3: reads through.) */
SW_MUST_CHECK sw_status sw_artifacts_verify(struct sw_artifacts *artifacts, const struct sw_digest *digest,
                                            struct sw_error *err);
/* A descriptor at offset 0 of verified content, for sending; the caller closes it. */
SW_MUST_CHECK sw_status sw_artifacts_open_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest,
                                               int *ret_fd, uint64_t *ret_size, struct sw_error *err);
/* Deleting what is not there succeeds. Callers make sure that nothing refers to it: see registry. */
SW_MUST_CHECK sw_status sw_artifacts_delete(struct sw_artifacts *artifacts, const struct sw_digest *digest,
                                            struct sw_error *err);
/* Every blob, in no order; fn returning false ends it (SW_OK). */
typedef bool sw_artifacts_each_fn(void *arg, const struct sw_blob *blob);
SW_MUST_CHECK sw_status sw_artifacts_each(struct sw_artifacts *artifacts, sw_artifacts_each_fn *fn, void *arg,
                                          struct sw_error *err);

#endif
