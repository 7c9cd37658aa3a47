/* Back end: blobs as objects PREFIX/blobs/ab/HEX of a bucket, copies of them in cache/.
 *
 * Nothing that S3 says about an object is trusted: a download is good when it has the digest. A single PUT is signed
 * with the blob's own digest as the hash of its payload, so that S3 refuses bytes that were damaged on the way; of
 * larger files each part is. Putting a blob that is there already writes it again, which renews its time and mends it
 * when it was damaged. */
#include "artifact/s3_internal.h"
#include "base/memory.h"

static sw_status put_whole(struct sw_artifacts *artifacts, const char *key, const struct sw_put *put,
                           struct sw_error *err) {
    struct sw_s3_request request = {
        .method = "PUT", .key = key, .payload_hash = put->digest->hex, .fd = put->fd, .body_size = put->size};
    return sw_s3_do(artifacts, &request, err);
}

static sw_status head(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_blob *ret,
                      struct sw_error *err) {
    char key[SW_S3_KEY_MAX];
    struct sw_s3_answer answer;
    struct sw_s3_request request = {.method = "HEAD", .key = key, .fd = -1};
    sw_s3_blob_key(artifacts->s3, digest, key);
    sw_status status = sw_s3_call(artifacts, &request, &answer, err);
    sw_buf_deinit(&answer.body);
    if (status == SW_E_FORBIDDEN || (status == SW_E_UNAVAILABLE && answer.status / 100 == 4)) {
        request.method = "GET"; /* the answer to a HEAD cannot say why */
        request.first_byte = true;
        sw_status told = sw_s3_do(artifacts, &request, err);
        return told == SW_OK || told == SW_E_INVALID_ARGUMENT ? status : told;
    }
    SW_TRY(status);
    if (answer.length == UINT64_MAX) {
        return sw_fail(err, SW_E_UNAVAILABLE, "S3 does not tell the size of %s", key);
    }
    *ret = (struct sw_blob){*digest, answer.length, answer.modified_ms};
    return SW_OK;
}

static sw_status put_blob(struct sw_artifacts *artifacts, const struct sw_put *put, struct sw_error *err) {
    char key[SW_S3_KEY_MAX];
    struct sw_blob blob;
    sw_s3_blob_key(artifacts->s3, put->digest, key);
    sw_status status = put->size <= artifacts->s3->single_max ? put_whole(artifacts, key, put, err)
                                                              : sw_s3_put_parts(artifacts, key, put, err);
    /* the answer to the last request of a multipart upload was lost, and the next attempt found it done */
    if (status == SW_E_NOT_FOUND) {
        status = head(artifacts, put->digest, &blob, NULL) == SW_OK && blob.size == put->size ? SW_OK
                                                                                              : SW_E_UNAVAILABLE;
        if (status) {
            return sw_fail(err, status, "S3 bucket %s: the multipart upload of %s is gone", artifacts->s3->bucket, key);
        }
    }
    SW_TRY(status);
    sw_s3_cache_adopt(artifacts, put);
    return SW_OK;
}

static sw_status stat_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_blob *ret,
                           struct sw_error *err) {
    sw_status status = head(artifacts, digest, ret, err);
    return status == SW_E_NOT_FOUND ? sw_fail(err, SW_E_NOT_FOUND, "there is no blob %s", digest->hex) : status;
}

static sw_status local_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, uint64_t size,
                            struct sw_local *ret, struct sw_error *err) {
    sw_status status = sw_s3_cache_open(artifacts, digest, size, ret, err);
    return status == SW_E_NOT_FOUND ? sw_fail(err, SW_E_NOT_FOUND, "there is no blob %s", digest->hex) : status;
}

static sw_status verify_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err) {
    uint64_t size;
    sw_status status = sw_s3_download(artifacts, digest, UINT64_MAX, -1, &size, err);
    return status == SW_E_NOT_FOUND ? sw_fail(err, SW_E_NOT_FOUND, "there is no blob %s", digest->hex) : status;
}

static sw_status remove_blob(struct sw_artifacts *artifacts, const struct sw_digest *digest, struct sw_error *err) {
    char key[SW_S3_KEY_MAX], name[SW_ARTIFACT_NAME_MAX];
    struct sw_s3_request request = {.method = "DELETE", .key = key, .fd = -1};
    sw_s3_blob_key(artifacts->s3, digest, key);
    sw_status status = sw_s3_do(artifacts, &request, err);
    if (status && status != SW_E_NOT_FOUND) {
        return status;
    }
    sw_folder_blob_name("cache", digest, name);
    return sw_folder_remove(artifacts, name, err);
}

/* ---- listing */

struct row {
    struct sw_digest digest;
    bool ours, has_size;
    uint64_t size, modified_ms;
};
struct listing {
    const struct sw_s3 *s3;
    sw_artifacts_each_fn *fn;
    void *arg;
    struct row row;
    char *token; /* of the next page */
    bool truncated, ended;
};

static bool end_row(struct listing *listing) {
    struct row row = listing->row;
    listing->row = (struct row){0};
    if (!row.ours || !row.has_size) {
        return true;
    }
    struct sw_blob blob = {row.digest, row.size, row.modified_ms};
    listing->ended = !listing->fn(listing->arg, &blob);
    return !listing->ended;
}

static bool on_listing(void *arg, const char *path, struct sw_str text) {
    struct listing *listing = arg;
    if (strcmp(path, "ListBucketResult/Contents/Key") == 0) {
        listing->row.ours = sw_s3_parse_key(listing->s3, text, &listing->row.digest);
    } else if (strcmp(path, "ListBucketResult/Contents/Size") == 0) {
        listing->row.has_size = sw_parse_u64(text, &listing->row.size);
    } else if (strcmp(path, "ListBucketResult/Contents/LastModified") == 0) {
        (void)sw_s3_parse_time(text, &listing->row.modified_ms);
    } else if (strcmp(path, "ListBucketResult/Contents") == 0) {
        return end_row(listing);
    } else if (strcmp(path, "ListBucketResult/IsTruncated") == 0) {
        listing->truncated = sw_str_is(text, "true");
    } else if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0) {
        sw_free(listing->token);
        listing->token = sw_xstrndup(text.data, text.len);
    }
    return true;
}

static sw_status list_page(struct sw_artifacts *artifacts, const char *prefix, const char *page_max,
                           struct listing *listing, struct sw_error *err) {
    struct sw_s3_request request = {
        .method = "GET",
        .query = {{"list-type", "2"}, {"prefix", prefix}, {"max-keys", page_max}},
        .query_count = 3,
        .fd = -1,
    };
    SW_AUTO_FREE char *token = listing->token;
    listing->token = NULL;
    if (token) {
        request.query[request.query_count].name = "continuation-token";
        request.query[request.query_count++].value = token;
    }
    listing->truncated = false;
    struct sw_s3_answer answer;
    sw_status status = sw_s3_call(artifacts, &request, &answer, err);
    if (!status) {
        status = sw_s3_xml_read(sw_buf_str(&answer.body), on_listing, listing, err);
    }
    sw_buf_deinit(&answer.body);
    return status;
}

static sw_status each_blob(struct sw_artifacts *artifacts, sw_artifacts_each_fn *fn, void *arg, struct sw_error *err) {
    char prefix[SW_S3_KEY_MAX], page_max[16];
    struct listing listing = {.s3 = artifacts->s3, .fn = fn, .arg = arg};
    sw_status status;
    snprintf(prefix, sizeof prefix, "%sblobs/", artifacts->s3->prefix);
    snprintf(page_max, sizeof page_max, "%u", artifacts->s3->page_max);
    do {
        status = list_page(artifacts, prefix, page_max, &listing, err);
        if (!status && !listing.ended && listing.truncated && !listing.token) {
            status = sw_fail(err, SW_E_UNAVAILABLE, "S3's listing goes on but does not say where");
        }
    } while (!status && !listing.ended && listing.truncated);
    sw_free(listing.token);
    return status;
}

static sw_status sweep_blobs(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run, struct sw_swept *swept,
                             struct sw_error *err) {
    SW_TRY(sw_s3_cache_sweep(artifacts, older_ms, dry_run, swept, err));
    return sw_s3_sweep_parts(artifacts, older_ms, dry_run, swept, err);
}

/* A listing of one key rather than HEAD of the bucket: the same permission, and its answer says why when it fails. */
static sw_status probe_bucket(struct sw_artifacts *artifacts, struct sw_error *err) {
    char prefix[SW_S3_KEY_MAX];
    struct sw_s3_request request = {
        .method = "GET",
        .query = {{"list-type", "2"}, {"prefix", prefix}, {"max-keys", "1"}},
        .query_count = 3,
        .fd = -1,
        .attempts_max = 1,
    };
    snprintf(prefix, sizeof prefix, "%sblobs/", artifacts->s3->prefix);
    sw_status status = sw_s3_do(artifacts, &request, err);
    if (status == SW_E_NOT_FOUND) { /* 404 of a whole bucket */
        return sw_fail(err, SW_E_UNAVAILABLE, "there is no S3 bucket %s", artifacts->s3->bucket);
    }
    return status;
}

const struct sw_blob_ops sw_blob_s3_ops = {
    .put = put_blob,
    .stat = stat_blob,
    .local = local_blob,
    .discard = sw_s3_cache_discard,
    .verify = verify_blob,
    .remove = remove_blob,
    .each = each_blob,
    .sweep = sweep_blobs,
    .probe = probe_bucket,
};
