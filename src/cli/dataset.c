/* See dataset.h: opening, and handing out one sample after the other.
 *
 * A JSONL file is read through one chunk of memory; the lock is held while a line is cut out of it and copied into the
 * caller's arena, so that threads parse and run at the same time. */
#include "cli/dataset.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/dataset_internal.h"

enum { CHUNK_BYTES = 256 << 10 };
#define LINES_MAX UINT64_C(1000000000)

struct sw_dataset {
    char *folder; /* files are relative to it */
    char *jsonl;  /* path of the lines; NULL: a tree */
    struct sw_dataset_tree tree;

    pthread_mutex_t lock; /* for all below */
    FILE *lines;
    uint64_t line;        /* the last one handed out */
    uint64_t index;       /* the next sample's */
    uint64_t bytes, size; /* of the JSONL file: read, in all */
    char *chunk;
    size_t chunk_at, chunk_len;
    struct sw_buf text; /* the line being put together */
};

/* --- opening ----------------------------------------------------------------------------------------------------- */

static sw_status open_lines(struct sw_dataset *d, struct sw_error *err) {
    struct stat info;
    d->lines = fopen(d->jsonl, "re");
    if (!d->lines || fstat(fileno(d->lines), &info) != 0) {
        return sw_fail(err, errno == ENOENT ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", d->jsonl, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return sw_fail(err, SW_E_IO, "%s: not a regular file", d->jsonl);
    }
    (void)setvbuf(d->lines, NULL, _IONBF, 0); /* the chunk is the buffer */
    d->size = (uint64_t)info.st_size;
    d->chunk = sw_xmalloc(CHUNK_BYTES);
    sw_buf_init(&d->text, SW_DATASET_LINE_BYTES_MAX);
    return SW_OK;
}

static sw_status open_path(struct sw_dataset *d, const char *path, struct sw_error *err) {
    if (!sw_path_is_dir(path)) {
        const char *slash = strrchr(path, '/');
        d->jsonl = sw_xstrdup(path);
        d->folder = !slash ? sw_xstrdup(".") : sw_xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
        return open_lines(d, err);
    }
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') { /* as shells complete it; messages join it again */
        length--;
    }
    d->folder = sw_xstrndup(path, length);
    char *manifest SW_AUTO_FREE = sw_path_join(d->folder, "manifest.jsonl");
    if (!sw_path_is_file(manifest)) {
        return sw_dataset_tree_read(d->folder, &d->tree, err);
    }
    d->jsonl = manifest;
    manifest = NULL;
    return open_lines(d, err);
}

sw_status sw_dataset_open(const char *path, struct sw_dataset **ret, struct sw_error *err) {
    struct sw_dataset *d = SW_NEW(struct sw_dataset);
    pthread_mutex_init(&d->lock, NULL);
    sw_status status = open_path(d, path, err);
    if (status) {
        sw_dataset_close(d);
        return status;
    }
    *ret = d;
    return SW_OK;
}

void sw_dataset_close(struct sw_dataset *d) {
    if (!d) {
        return;
    }
    if (d->lines) {
        fclose(d->lines);
    }
    sw_buf_deinit(&d->text);
    sw_dataset_tree_deinit(&d->tree);
    pthread_mutex_destroy(&d->lock);
    sw_free(d->chunk);
    sw_free(d->jsonl);
    sw_free(d->folder);
    sw_free(d);
}

sw_status sw_dataset_rewind(struct sw_dataset *d, struct sw_error *err) {
    d->line = d->index = d->bytes = 0;
    d->chunk_at = d->chunk_len = 0;
    if (d->lines && fseeko(d->lines, 0, SEEK_SET) != 0) {
        return sw_fail(err, SW_E_IO, "%s: %s", d->jsonl, strerror(errno));
    }
    return SW_OK;
}

double sw_dataset_progress(struct sw_dataset *d) {
    pthread_mutex_lock(&d->lock);
    double done = d->jsonl ? (double)d->bytes : (double)d->index;
    double all = d->jsonl ? (double)d->size : (double)d->tree.count;
    pthread_mutex_unlock(&d->lock);
    return all > 0 && done < all ? done / all : 1;
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

static sw_status fill_chunk(struct sw_dataset *d, struct sw_error *err) {
    d->chunk_at = 0;
    d->chunk_len = fread(d->chunk, 1, CHUNK_BYTES, d->lines);
    if (d->chunk_len == 0 && ferror(d->lines)) {
        return sw_fail(err, SW_E_IO, "%s: %s", d->jsonl, strerror(errno));
    }
    return SW_OK;
}

/* The next line without its end in d->text; *ret_more false when there is none. */
static sw_status cut_line(struct sw_dataset *d, bool *ret_more, struct sw_error *err) {
    sw_buf_clear(&d->text);
    for (bool begun = false;; begun = true) {
        if (d->chunk_at == d->chunk_len) {
            SW_TRY(fill_chunk(d, err));
            if (d->chunk_len == 0) {
                *ret_more = begun;
                d->line += begun;
                return SW_OK;
            }
        }
        const char *from = d->chunk + d->chunk_at;
        size_t left = d->chunk_len - d->chunk_at;
        const char *end = memchr(from, '\n', left);
        size_t n = end ? (size_t)(end - from) : left;
        sw_buf_append(&d->text, from, n);
        d->chunk_at += n + (end != NULL);
        d->bytes += n + (end != NULL);
        if (d->text.failed) {
            return sw_fail(err, SW_E_TOO_LARGE, "%s line %llu: longer than %d bytes", d->jsonl,
                           (unsigned long long)d->line + 1, SW_DATASET_LINE_BYTES_MAX);
        }
        if (end) {
            *ret_more = true;
            d->line++;
            return SW_OK;
        }
    }
}

/* The next line that is not blank, without blanks around it. */
static sw_status next_text(struct sw_dataset *d, struct sw_str *ret, bool *ret_more, struct sw_error *err) {
    bool more;
    for (;;) {
        SW_TRY(cut_line(d, &more, err));
        if (!more) {
            break;
        }
        struct sw_str text = sw_buf_str(&d->text);
        text.len -= text.len && text.data[text.len - 1] == '\r';
        text = sw_str_trim(text);
        if (d->line > LINES_MAX) {
            return sw_fail(err, SW_E_TOO_LARGE, "%s: more than %llu lines", d->jsonl, (unsigned long long)LINES_MAX);
        }
        if (text.len) {
            *ret = text;
            *ret_more = true;
            return SW_OK;
        }
    }
    if (d->index == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: holds no sample", d->jsonl);
    }
    *ret_more = false;
    return SW_OK;
}

/* Under the lock: the line and its numbers. */
static sw_status take_line(struct sw_dataset *d, struct sw_arena *arena, struct sw_str *ret_text, struct sw_sample *ret,
                           bool *ret_more, struct sw_error *err) {
    struct sw_str text;
    SW_TRY(next_text(d, &text, ret_more, err));
    if (!*ret_more) {
        return SW_OK;
    }
    ret->line = d->line;
    ret->index = d->index++;
    ret_text->data = sw_arena_strdup(arena, text);
    ret_text->len = text.len;
    return ret_text->data ? SW_OK : sw_fail(err, SW_E_UNAVAILABLE, "out of memory for a line of %zu bytes", text.len);
}

static sw_status next_line(struct sw_dataset *d, struct sw_arena *arena, struct sw_sample *ret, bool *ret_more,
                           struct sw_error *err) {
    struct sw_str text;
    struct sw_sample place = {0}, sample;
    pthread_mutex_lock(&d->lock);
    sw_status status = take_line(d, arena, &text, &place, ret_more, err);
    pthread_mutex_unlock(&d->lock);
    if (status || !*ret_more) {
        return status;
    }
    status = sw_sample_parse(text, arena, &sample, err);
    if (!status && sample.file.data) {
        status = sw_sample_add_format(&sample, arena, err);
    }
    if (status) {
        if (err) {
            sw_error_prefix(err, "%s line %llu", d->jsonl, (unsigned long long)place.line);
        }
        return status;
    }
    sample.line = place.line;
    sample.index = place.index;
    *ret = sample;
    return SW_OK;
}

sw_status sw_dataset_next(struct sw_dataset *d, struct sw_arena *arena, struct sw_sample *ret, bool *ret_more,
                          struct sw_error *err) {
    if (d->jsonl) {
        return next_line(d, arena, ret, ret_more, err);
    }
    pthread_mutex_lock(&d->lock);
    uint64_t at = d->index;
    *ret_more = at < d->tree.count;
    d->index += *ret_more;
    pthread_mutex_unlock(&d->lock);
    return *ret_more ? sw_dataset_tree_sample(&d->tree, at, arena, ret, err) : SW_OK;
}

/* --- samples ----------------------------------------------------------------------------------------------------- */

const char *sw_sample_where(const struct sw_dataset *d, const struct sw_sample *sample, struct sw_arena *arena) {
    const char *text;
    if (sample->file.data) {
        text = sw_arena_printf(arena, "%s/%.*s", d->folder, (int)sample->file.len, sample->file.data);
    } else {
        text = sw_arena_printf(arena, "%s line %llu", d->jsonl, (unsigned long long)sample->line);
    }
    return text ? text : "a sample";
}

/* A file is the one BYTES input. */
static sw_status file_inputs(const struct sw_dataset *d, const struct sw_sample *sample,
                             const struct sw_tensor_specs *inputs, struct sw_arena *arena, struct sw_tensor **ret,
                             size_t *ret_count, struct sw_error *err) {
    const struct sw_tensor_spec *spec = &inputs->items[0];
    int64_t shape[SW_RANK_MAX];
    if (inputs->count != 1 || spec->dtype != SW_DTYPE_BYTES) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "the sample is a file, and the model does not take one BYTES input; give it requests "
                       "({\"inputs\": [...]}) instead");
    }
    for (uint32_t i = 0; i < spec->rank; i++) {
        shape[i] = 1;
    }
    struct sw_tensor *tensor = sw_arena_calloc(arena, 1, sizeof *tensor);
    if (!tensor) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(sw_tensor_alloc(tensor, arena, sw_str_of(spec->name), SW_DTYPE_BYTES, shape, spec->rank, err));
    SW_TRY(sw_dataset_read_file(d->folder, sample->file, arena, tensor->data, err));
    *ret = tensor;
    *ret_count = 1;
    return SW_OK;
}

sw_status sw_sample_inputs(const struct sw_dataset *d, const struct sw_sample *sample,
                           const struct sw_tensor_specs *inputs, struct sw_arena *arena, struct sw_tensor **ret,
                           size_t *ret_count, struct sw_error *err) {
    sw_status status = sample->file.data
                           ? file_inputs(d, sample, inputs, arena, ret, ret_count, err)
                           : sw_dataset_read_request(d->folder, sample->request, inputs, arena, ret, ret_count, err);
    if (status && err) {
        if (sample->line) {
            sw_error_prefix(err, "%s line %llu", d->jsonl, (unsigned long long)sample->line);
        } else {
            sw_error_prefix(err, "%s", sw_sample_where(d, sample, arena));
        }
    }
    return status;
}
