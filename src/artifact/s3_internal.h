/* The S3 back end's parts.
 *
 *   s3.c          the vtable: put, stat, list, delete, sweep
 *   s3_config.c   URL, endpoint and keys
 *   s3_sign.c     AWS Signature Version 4
 *   s3_request.c  one request over libcurl, retries, errors
 *   s3_xml.c      answers, read with expat
 *   s3_multi.c    uploads in parts
 *   s3_get.c      downloads that go on after a break
 *   s3_cache.c    cache/: local copies, eviction
 *
 * In the bucket: PREFIX/blobs/ab/abcdef... Secrets are in struct sw_s3 and in headers of requests, and nowhere else:
 * no message and no log line has them. */
#ifndef SW_ARTIFACT_S3_INTERNAL_H
#define SW_ARTIFACT_S3_INTERNAL_H

#include "artifact/artifact_internal.h"
#include "base/buf.h"

enum {
    SW_S3_KEY_MAX = 256,
    SW_S3_QUERY_MAX = 6,
    SW_S3_IDLE_MAX = 8,
    SW_S3_ETAG_MAX = 128,
    SW_S3_BODY_MAX = 8 << 20, /* of an answer that is XML */
    SW_S3_XML_TEXT_MAX = 4096,
};

struct sw_s3 {
    char *origin; /* "http://127.0.0.1:9000" */
    char *host;   /* "127.0.0.1:9000", as in the Host header */
    char *bucket; /* for messages */
    char *base;   /* of each path: "/bucket", or "" with the bucket in the host name */
    char *prefix; /* of each key: "" or "models/" */
    char *region, *access_key, *secret_key, *session_token; /* token: may be NULL */
    bool direct; /* loopback: through no proxy, whatever the environment says */
    uint64_t connect_timeout_ms, stall_timeout_ms, cache_max;
    uint64_t single_max, part_size; /* larger files go up in parts */
    unsigned page_max;              /* keys a page of a listing */
    unsigned attempts_max;
    uint64_t backoff_ms;
    struct sw_clock *clock;
    pthread_mutex_t idle_lock; /* connections that are kept: */
    void *idle[SW_S3_IDLE_MAX];
    size_t idle_count;
    pthread_mutex_t cache_lock; /* one eviction at a time */
};

/* ---- s3_config.c */

SW_MUST_CHECK sw_status sw_s3_create(const struct sw_artifacts_options *options, struct sw_s3 **ret,
                                     struct sw_error *err);
void sw_s3_destroy(struct sw_s3 *s3); /* NULL is allowed */

/* ---- s3_sign.c (pure functions) */

struct sw_s3_header {
    const char *name; /* lower case */
    const char *value;
};
struct sw_s3_signing {
    const char *region, *access_key, *secret_key;
    const char *amz_date; /* "20130524T000000Z" */
    const char *method;
    const char *path;                   /* encoded */
    const char *query;                  /* canonical: encoded, sorted */
    const struct sw_s3_header *headers; /* sorted by name; each is signed */
    size_t header_count;
    const char *payload_hash; /* 64 hex digits */
};
/* Appends the value of the Authorization header. */
void sw_s3_sign(const struct sw_s3_signing *signing, struct sw_buf *authorization);
/* Appends text percent-encoded as AWS wants it: all but A-Z a-z 0-9 - . _ ~ and, with keep_slash, '/'. */
void sw_s3_encode(struct sw_buf *buf, struct sw_str text, bool keep_slash);

/* ---- s3_xml.c */

/* At the end of each element: its path from the root ("ListBucketResult/Contents/Key") and the text directly in it,
 * both valid during the call. false ends the reading (SW_OK). */
typedef bool sw_s3_xml_fn(void *arg, const char *path, struct sw_str text);
/* SW_E_UNAVAILABLE: malformed, too deep, or with a document type. */
SW_MUST_CHECK sw_status sw_s3_xml_read(struct sw_str xml, sw_s3_xml_fn *fn, void *arg, struct sw_error *err);
/* "2026-11-21T13:50:07.000Z" */
bool sw_s3_parse_time(struct sw_str text, uint64_t *ret_ms);

/* ---- s3_request.c */

struct sw_s3_answer {
    long status;
    char etag[SW_S3_ETAG_MAX];
    uint64_t length;      /* of this body; UINT64_MAX: not told */
    uint64_t range_from;  /* of a 206 */
    uint64_t modified_ms; /* 0: not told */
    struct sw_buf body;   /* when there is no sink, or of an error; the caller deinits it */
};
/* The body of an answer of 2xx; false breaks the transfer off. */
typedef bool sw_s3_sink_fn(void *arg, const struct sw_s3_answer *answer, const void *data, size_t len);

struct sw_s3_request {
    const char *method;
    const char *key; /* NULL: the bucket itself */
    struct {
        const char *name, *value;
    } query[SW_S3_QUERY_MAX]; /* in any order */
    size_t query_count;
    const char *payload_hash; /* of the body; NULL: there is none */
    int fd;                   /* the body is body_size bytes of it from body_offset; -1: body_data */
    uint64_t body_offset, body_size;
    const char *body_data;
    uint64_t range_from; /* not 0: only from there */
    bool first_byte;     /* only that */
    sw_s3_sink_fn *sink;
    void *arg;
    unsigned attempts_max; /* 0: as configured */
};
/* Sends it, again after a failure that may pass as long as the sink has got nothing. SW_OK: 2xx. SW_E_NOT_FOUND,
 * SW_E_FORBIDDEN, SW_E_INSUFFICIENT_STORAGE, SW_E_UNAVAILABLE (network, 5xx, whatever else S3 says),
 * SW_E_INVALID_ARGUMENT (416). The message has S3's code. The answer is initialised by this call, whatever it returns;
 * the caller deinits its body. The outcome is the store's health. */
SW_MUST_CHECK sw_status sw_s3_call(struct sw_artifacts *artifacts, const struct sw_s3_request *request,
                                   struct sw_s3_answer *answer, struct sw_error *err);
/* Waits before the attempt number `attempt` (from 2), longer each time. */
void sw_s3_back_off(const struct sw_s3 *s3, unsigned attempt);
/* One whose body is not wanted. */
SW_MUST_CHECK sw_status sw_s3_do(struct sw_artifacts *artifacts, const struct sw_s3_request *request,
                                 struct sw_error *err);
void sw_s3_close_idle(struct sw_s3 *s3);
void sw_s3_blob_key(const struct sw_s3 *s3, const struct sw_digest *digest, char ret_key[SW_S3_KEY_MAX]);
/* Is it the key of one of our blobs? */
bool sw_s3_parse_key(const struct sw_s3 *s3, struct sw_str key, struct sw_digest *ret);

/* ---- s3_multi.c */

SW_MUST_CHECK sw_status sw_s3_put_parts(struct sw_artifacts *artifacts, const char *key, const struct sw_put *put,
                                        struct sw_error *err);
SW_MUST_CHECK sw_status sw_s3_sweep_parts(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run,
                                          struct sw_swept *swept, struct sw_error *err);

/* ---- s3_get.c */

/* The object into fd (which may have its first bytes already, from an earlier try), hashed on the way; fd -1: only
 * hashed. SW_E_DIGEST_MISMATCH: it is not what it should be. size: UINT64_MAX when not known. */
SW_MUST_CHECK sw_status sw_s3_download(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                                       int fd, uint64_t *ret_size, struct sw_error *err);

/* ---- s3_cache.c */

SW_MUST_CHECK sw_status sw_s3_cache_open(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                                         struct sw_local *ret, struct sw_error *err);
bool sw_s3_cache_discard(struct sw_artifacts *artifacts, const struct sw_local *local);
/* Keeps the file that was just stored in the bucket; best effort. */
void sw_s3_cache_adopt(struct sw_artifacts *artifacts, const struct sw_put *put);
/* Deletes downloads that nobody goes on with. */
SW_MUST_CHECK sw_status sw_s3_cache_sweep(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run,
                                          struct sw_swept *swept, struct sw_error *err);

#endif
