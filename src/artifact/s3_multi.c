/* Uploads in parts, for what is larger than one PUT should be.
 *
 *   POST ?uploads  ->  PUT ?partNumber=1&uploadId=U, 2, ...  ->  POST ?uploadId=U with the parts' ETags
 *
 * Parts are read straight from the upload file, hashed first (the signature covers the hash), one after the other, so
 * memory does not depend on the size. An upload that fails is aborted; one that could not be aborted is found by the
 * sweep: its key is one of ours, and it is old. */
#include <unistd.h>

#include "artifact/s3_internal.h"
#include "base/memory.h"

enum { PARTS_MAX = 10000, UPLOAD_ID_MAX = 1024, XML_MAX = 4 << 20, PAGES_MAX = 100000 };

struct begun {
    char upload_id[UPLOAD_ID_MAX];
};

static bool on_begun(void *arg, const char *path, struct sw_str text) {
    struct begun *begun = arg;
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0 && text.len < sizeof begun->upload_id) {
        snprintf(begun->upload_id, sizeof begun->upload_id, "%.*s", (int)text.len, text.data ? text.data : "");
    }
    return true;
}

static sw_status begin(struct sw_artifacts *artifacts, const char *key, struct begun *begun, struct sw_error *err) {
    struct sw_s3_request request = {
        .method = "POST", .key = key, .query = {{"uploads", ""}}, .query_count = 1, .fd = -1};
    struct sw_s3_answer answer;
    sw_status status = sw_s3_call(artifacts, &request, &answer, err);
    if (!status) {
        status = sw_s3_xml_read(sw_buf_str(&answer.body), on_begun, begun, err);
    }
    sw_buf_deinit(&answer.body);
    if (!status && !begun->upload_id[0]) {
        return sw_fail(err, SW_E_UNAVAILABLE, "S3's answer has no UploadId");
    }
    return status;
}

static sw_status abort_upload(struct sw_artifacts *artifacts, const char *key, const char *upload_id,
                              struct sw_error *err) {
    struct sw_s3_request request = {
        .method = "DELETE", .key = key, .query = {{"uploadId", upload_id}}, .query_count = 1, .fd = -1};
    sw_status status = sw_s3_do(artifacts, &request, err);
    return status == SW_E_NOT_FOUND ? SW_OK : status;
}

static sw_status hash_part(const struct sw_put *put, uint64_t offset, uint64_t size, struct sw_digest *ret,
                           struct sw_error *err) {
    SW_AUTO_FREE char *piece = sw_malloc(SW_ARTIFACT_PIECE);
    if (!piece) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    struct sw_hasher *hasher = sw_hasher_create();
    for (uint64_t at = 0; at < size;) {
        uint64_t left = size - at;
        ssize_t n = pread(put->fd, piece, left < SW_ARTIFACT_PIECE ? (size_t)left : SW_ARTIFACT_PIECE,
                          (off_t)(offset + at));
        if (n <= 0) {
            sw_hasher_discard(hasher);
            return sw_fail(err, SW_E_IO, "cannot read %s", put->name);
        }
        sw_hasher_update(hasher, piece, (size_t)n);
        at += (uint64_t)n;
    }
    sw_hasher_finish(hasher, ret);
    return SW_OK;
}

static bool is_etag(const char *etag) {
    return etag[0] && !strpbrk(etag, "<>&");
}

static sw_status put_part(struct sw_artifacts *artifacts, const char *key, const struct begun *begun,
                          const struct sw_put *put, unsigned number, uint64_t part_size, struct sw_buf *parts,
                          struct sw_error *err) {
    char text[12];
    struct sw_digest digest;
    struct sw_s3_answer answer;
    uint64_t offset = (number - 1) * part_size, left = put->size - offset, size = left < part_size ? left : part_size;
    snprintf(text, sizeof text, "%u", number);
    SW_TRY(hash_part(put, offset, size, &digest, err));
    struct sw_s3_request request = {
        .method = "PUT",
        .key = key,
        .query = {{"partNumber", text}, {"uploadId", begun->upload_id}},
        .query_count = 2,
        .payload_hash = digest.hex,
        .fd = put->fd,
        .body_offset = offset,
        .body_size = size,
    };
    sw_status status = sw_s3_call(artifacts, &request, &answer, err);
    sw_buf_deinit(&answer.body);
    SW_TRY(status);
    if (!is_etag(answer.etag)) {
        return sw_fail(err, SW_E_UNAVAILABLE, "S3's answer to part %u has no ETag", number);
    }
    sw_buf_printf(parts, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", number, answer.etag);
    return SW_OK;
}

static sw_status complete(struct sw_artifacts *artifacts, const char *key, const struct begun *begun,
                          const struct sw_buf *parts, struct sw_error *err) {
    if (parts->failed) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    struct sw_hasher *hasher = sw_hasher_create();
    struct sw_digest digest;
    sw_hasher_update(hasher, parts->data, parts->len);
    sw_hasher_finish(hasher, &digest);
    struct sw_s3_request request = {
        .method = "POST",
        .key = key,
        .query = {{"uploadId", begun->upload_id}},
        .query_count = 1,
        .payload_hash = digest.hex,
        .fd = -1,
        .body_data = parts->data,
        .body_size = parts->len,
    };
    return sw_s3_do(artifacts, &request, err);
}

/* A multiple of 1 MiB, so that there are at most PARTS_MAX. */
static uint64_t part_size_for(const struct sw_s3 *s3, uint64_t size) {
    uint64_t least = (size / PARTS_MAX >> 20) + 1;
    return least << 20 > s3->part_size ? least << 20 : s3->part_size;
}

static sw_status send_parts(struct sw_artifacts *artifacts, const char *key, const struct begun *begun,
                            const struct sw_put *put, struct sw_error *err) {
    uint64_t part_size = part_size_for(artifacts->s3, put->size);
    struct sw_buf parts;
    sw_buf_init(&parts, XML_MAX);
    SW_LIT(&parts, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    sw_status status = SW_OK;
    for (unsigned number = 1; !status && (number - 1) * part_size < put->size; number++) {
        status = put_part(artifacts, key, begun, put, number, part_size, &parts, err);
    }
    SW_LIT(&parts, "</CompleteMultipartUpload>");
    if (!status) {
        status = complete(artifacts, key, begun, &parts, err);
    }
    sw_buf_deinit(&parts);
    return status;
}

sw_status sw_s3_put_parts(struct sw_artifacts *artifacts, const char *key, const struct sw_put *put,
                          struct sw_error *err) {
    struct begun begun = {""};
    SW_TRY(begin(artifacts, key, &begun, err));
    sw_status status = send_parts(artifacts, key, &begun, put, err);
    if (status) {
        (void)abort_upload(artifacts, key, begun.upload_id, NULL); /* else the sweep finds it */
    }
    return status;
}

/* ---- sweep */

struct listing {
    const struct sw_s3 *s3;
    uint64_t now_ms, older_ms;
    char key[SW_S3_KEY_MAX], upload_id[UPLOAD_ID_MAX]; /* of the row being read */
    uint64_t initiated_ms;
    char next_key[SW_S3_KEY_MAX], next_id[UPLOAD_ID_MAX];
    bool truncated;
    struct sw_buf found; /* "KEY\nID\n" of those that are to go */
    size_t count;
};

static void keep(struct sw_str text, char *ret, size_t size) {
    snprintf(ret, size, "%.*s", (int)(text.len < size ? text.len : 0), text.data ? text.data : "");
}

static void end_row(struct listing *listing) {
    struct sw_digest digest;
    bool old = listing->initiated_ms <= listing->now_ms && listing->now_ms - listing->initiated_ms >= listing->older_ms;
    if (sw_s3_parse_key(listing->s3, sw_str_of(listing->key), &digest) && listing->upload_id[0] && old) {
        sw_buf_printf(&listing->found, "%s\n%s\n", listing->key, listing->upload_id);
        listing->count++;
    }
    listing->key[0] = listing->upload_id[0] = '\0';
    listing->initiated_ms = UINT64_MAX;
}

static bool on_listing(void *arg, const char *path, struct sw_str text) {
    struct listing *listing = arg;
    struct sw_str name = sw_str_of(path);
    if (sw_str_ends(name, SW_STR("/Upload/Key"))) {
        keep(text, listing->key, sizeof listing->key);
    } else if (sw_str_ends(name, SW_STR("/Upload/UploadId"))) {
        keep(text, listing->upload_id, sizeof listing->upload_id);
    } else if (sw_str_ends(name, SW_STR("/Upload/Initiated"))) {
        (void)sw_s3_parse_time(text, &listing->initiated_ms);
    } else if (sw_str_ends(name, SW_STR("/Upload"))) {
        end_row(listing);
    } else if (sw_str_ends(name, SW_STR("/NextKeyMarker"))) {
        keep(text, listing->next_key, sizeof listing->next_key);
    } else if (sw_str_ends(name, SW_STR("/NextUploadIdMarker"))) {
        keep(text, listing->next_id, sizeof listing->next_id);
    } else if (sw_str_ends(name, SW_STR("/IsTruncated"))) {
        listing->truncated = sw_str_is(text, "true");
    }
    return true;
}

static sw_status list_page(struct sw_artifacts *artifacts, const char *prefix, struct listing *listing,
                           struct sw_error *err) {
    struct sw_s3_request request = {
        .method = "GET", .query = {{"uploads", ""}, {"prefix", prefix}}, .query_count = 2, .fd = -1};
    char key[SW_S3_KEY_MAX], id[UPLOAD_ID_MAX];
    if (listing->next_key[0]) {
        memcpy(key, listing->next_key, sizeof key);
        memcpy(id, listing->next_id, sizeof id);
        request.query[request.query_count].name = "key-marker";
        request.query[request.query_count++].value = key;
        request.query[request.query_count].name = "upload-id-marker";
        request.query[request.query_count++].value = id;
    }
    listing->truncated = false;
    listing->next_key[0] = listing->next_id[0] = '\0';
    struct sw_s3_answer answer;
    sw_status status = sw_s3_call(artifacts, &request, &answer, err);
    if (!status) {
        status = sw_s3_xml_read(sw_buf_str(&answer.body), on_listing, listing, err);
    }
    sw_buf_deinit(&answer.body);
    return status;
}

static sw_status abort_found(struct sw_artifacts *artifacts, const struct listing *listing, struct sw_error *err) {
    struct sw_str rest = sw_buf_str(&listing->found), line;
    char key[SW_S3_KEY_MAX], id[UPLOAD_ID_MAX];
    while (rest.len > 0) {
        rest = sw_str_split(rest, '\n', &line);
        keep(line, key, sizeof key);
        rest = sw_str_split(rest, '\n', &line);
        keep(line, id, sizeof id);
        SW_TRY(abort_upload(artifacts, key, id, err));
    }
    return SW_OK;
}

/* All pages first: what is aborted would shift the pages that follow. */
static sw_status list_all(struct sw_artifacts *artifacts, struct listing *listing, struct sw_error *err) {
    char prefix[SW_S3_KEY_MAX];
    snprintf(prefix, sizeof prefix, "%sblobs/", artifacts->s3->prefix);
    for (size_t page = 0; page < PAGES_MAX; page++) {
        SW_TRY(list_page(artifacts, prefix, listing, err));
        if (listing->found.failed) {
            return sw_fail(err, SW_E_UNAVAILABLE, "too many unfinished uploads in the bucket to list");
        }
        if (!listing->truncated || !listing->next_key[0]) {
            return SW_OK;
        }
    }
    return sw_fail(err, SW_E_UNAVAILABLE, "S3's listing of unfinished uploads has no end");
}

sw_status sw_s3_sweep_parts(struct sw_artifacts *artifacts, uint64_t older_ms, bool dry_run, struct sw_swept *swept,
                            struct sw_error *err) {
    struct listing *listing = SW_NEW(struct listing);
    *listing = (struct listing){.s3 = artifacts->s3, .older_ms = older_ms, .initiated_ms = UINT64_MAX};
    listing->now_ms = artifacts->clock->wall_ms(artifacts->clock);
    sw_buf_init(&listing->found, 64 << 20);
    sw_status status = list_all(artifacts, listing, err);
    if (!status && !dry_run) {
        status = abort_found(artifacts, listing, err);
    }
    if (!status) {
        swept->count += listing->count;
    }
    sw_buf_deinit(&listing->found);
    sw_free(listing);
    return status;
}
