/* One file to the server; see upload.h. */
#include "cli/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/upload_state.h"

enum { WAIT_MIN_MS = 500, WAIT_MAX_MS = 8000, WAIT_ASKED_MAX_MS = 30000, PATH_BYTES = 128 };

/* One file on its way. */
struct sending {
    struct sw_sender *sender;
    const struct sw_package_file *file;
    struct sw_upload_key key;
    char id[SW_UPLOAD_ID + 1]; /* "": none */
    uint64_t offset;           /* where the server is */
    bool complete;
    uint64_t counted; /* part of offset that is in sender->sent or was there before */
    bool missing;     /* the server did not have it */
    struct sw_answer answer;
};

void sw_sleep_ms(uint64_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

uint64_t sw_retry_wait_ms(unsigned attempt, uint64_t retry_after_s) {
    uint64_t ms = WAIT_MIN_MS;
    for (unsigned i = 1; i < attempt && ms < WAIT_MAX_MS; i++) {
        ms *= 2;
    }
    ms = ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
    uint64_t asked = retry_after_s < WAIT_ASKED_MAX_MS / 1000 ? retry_after_s * 1000 : WAIT_ASKED_MAX_MS;
    return asked > ms ? asked : ms;
}

static void forget(struct sending *s) {
    if (s->sender->state_folder) {
        sw_upload_state_remove(s->sender->state_folder, &s->key);
    }
    s->id[0] = '\0';
    s->offset = 0;
}

/* Takes what an answer says about the upload. */
static sw_status take_answer(struct sending *s, struct sw_error *err) {
    const json_t *json = s->answer.json;
    const char *id = json_string_value(json_object_get(json, "id"));
    json_int_t offset = json_integer_value(json_object_get(json, "offset"));
    s->complete = json_is_true(json_object_get(json, "complete"));
    if (s->complete) {
        return SW_OK;
    }
    if (!id || strlen(id) != SW_UPLOAD_ID || offset < 0 || (uint64_t)offset > s->file->size) {
        return sw_fail(err, SW_E_IO, "%s answered something else than an upload; is it a Slipway server?",
                       sw_client_server(s->sender->client));
    }
    memcpy(s->id, id, sizeof s->id);
    s->offset = (uint64_t)offset;
    return SW_OK;
}

static sw_status create(struct sending *s, struct sw_error *err) {
    json_t *body = json_pack("{s:I}", "size", (json_int_t)s->file->size);
    if (!s->key.is_archive) { /* an archive that is stored as a file has still to be unpacked */
        json_object_set_new(body, "sha256", json_string(s->file->digest.hex));
    }
    sw_status status = sw_client_call(s->sender->client, "POST", "/api/v1/uploads", body, &s->answer, err);
    json_decref(body);
    if (!status) {
        status = take_answer(s, err);
    }
    if (!status && !s->complete && s->sender->state_folder) {
        struct sw_error ignored; /* costs only that an interrupted push begins anew */
        if (sw_upload_state_put(s->sender->state_folder, &s->key, s->id, &ignored) && s->sender->messages) {
            fprintf(s->sender->messages, "slipway: an interrupted push will begin anew: %s\n", ignored.message);
        }
    }
    return status;
}

/* Where is the server? */
static sw_status locate(struct sending *s, struct sw_error *err) {
    if (!s->id[0]) {
        return create(s, err);
    }
    char *path SW_AUTO_FREE = sw_url_path("/api/v1/uploads", s->id, NULL);
    sw_status status = sw_client_call(s->sender->client, "GET", path, NULL, &s->answer, err);
    const json_t *size = json_object_get(s->answer.json, "size");
    if (status == SW_E_NOT_FOUND || (!status && (uint64_t)json_integer_value(size) != s->file->size)) {
        forget(s);
        return create(s, err);
    }
    return status ? status : take_answer(s, err);
}

static void on_moved(void *arg, uint64_t done) {
    struct sending *s = arg;
    sw_progress_set(s->sender->progress, s->sender->done + s->offset + done);
}

static sw_status put(struct sending *s, struct sw_error *err) {
    int fd = open(s->file->local, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "%s cannot be read: %s", s->file->local, strerror(errno));
    }
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/api/v1/uploads/%s?offset=%llu%s", s->id, (unsigned long long)s->offset,
             s->key.is_archive ? "&commit=false" : "");
    struct sw_client_source source = {fd, s->offset, s->file->size - s->offset, on_moved, s};
    s->missing = true;
    sw_status status = sw_client_put(s->sender->client, path, &source, &s->answer, err);
    close(fd);
    return status ? status : take_answer(s, err);
}

static bool has_all(const struct sending *s) {
    return s->complete || (s->key.is_archive && s->id[0] && s->offset == s->file->size);
}

/* One attempt: *ret_retry says whether another may help. */
static sw_status attempt(struct sending *s, bool *ret_retry, struct sw_error *err) {
    sw_status status = locate(s, err);
    *ret_retry = s->answer.may_pass;
    if (status || has_all(s)) {
        return status;
    }
    if (s->counted == 0 && s->offset) { /* what an earlier push brought */
        s->counted = s->offset;
        sw_progress_skip(s->sender->progress, s->offset);
    }
    s->sender->reached = true;
    status = put(s, err);
    /* 404: swept meanwhile. 409: the server is at another offset, or still holds the broken connection's upload
     * open. */
    *ret_retry = s->answer.may_pass || s->answer.status == 404 || s->answer.status == 409;
    if (!status && !has_all(s)) {
        *ret_retry = true;
        return sw_fail(err, SW_E_IO, "the server took only %llu of %llu bytes", (unsigned long long)s->offset,
                       (unsigned long long)s->file->size);
    }
    return status;
}

static void wait_a_little(struct sending *s, unsigned attempts, const struct sw_error *err) {
    uint64_t ms = sw_retry_wait_ms(attempts, s->answer.retry_after_s);
    if (s->sender->messages) {
        fprintf(s->sender->messages, "%sslipway: %s; trying again in %.1f s\n", s->sender->progress->drawn ? "\n" : "",
                err->message, (double)ms / 1000);
    }
    s->sender->sleep_ms(ms);
}

static sw_status send_all(struct sending *s, struct sw_error *err) {
    uint64_t best = 0;
    for (unsigned attempts = 0;;) {
        struct sw_error fault;
        bool retry = false;
        sw_status status = attempt(s, &retry, &fault);
        if (!status) {
            return SW_OK;
        }
        if (s->offset > best) {
            best = s->offset;
            attempts = 0;
        }
        s->sender->reached |= s->answer.status !=
                              0; /* one that never answered is more likely named wrongly than busy */
        if (!retry || !s->sender->reached || ++attempts >= SW_UPLOAD_ATTEMPTS) {
            return sw_fail(err, status, "%s: %s", s->file->local, fault.message);
        }
        wait_a_little(s, attempts, &fault);
    }
}

sw_status sw_send_file(struct sw_sender *sender, const struct sw_package_file *file, bool is_archive,
                       char ret_id[SW_UPLOAD_ID + 1], struct sw_error *err) {
    struct sending s = {
        .sender = sender, .file = file, .key = {sw_client_server(sender->client), is_archive, &file->digest}};
    if (sender->state_folder && !sw_upload_state_get(sender->state_folder, &s.key, s.id)) {
        s.id[0] = '\0';
    }
    sw_status status = send_all(&s, err);
    if (!status) {
        if (s.missing) {
            sender->files_sent++;
            sender->sent += file->size - s.counted;
        } else {
            sw_progress_skip(sender->progress, file->size - s.counted);
        }
        sender->done += file->size;
        sw_progress_set(sender->progress, sender->done);
        if (!is_archive) {
            forget(&s);
        } else {
            memcpy(ret_id, s.id, sizeof s.id);
        }
    }
    if (!is_archive || status) {
        ret_id[0] = '\0';
    }
    sw_answer_deinit(&s.answer);
    return status;
}
