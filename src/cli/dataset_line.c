/* A line of a data set's JSONL file: the sample it describes, and the tensors of a request. */
#include <errno.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/dataset_internal.h"
#include "tensor/oip_tensor.h"

/* --- the sample -------------------------------------------------------------------------------------------------- */

struct line {
    struct sw_json json;
    struct sw_arena *arena;
    struct sw_sample *sample;
    struct sw_label is_stego, label;
    bool has_inputs;
    struct sw_error *err;
};

sw_status sw_sample_add_group(struct sw_sample *sample, struct sw_arena *arena, struct sw_str key, struct sw_str value,
                              struct sw_error *err) {
    if (sample->group_count == SW_SAMPLE_GROUPS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "more than %d keys", SW_SAMPLE_GROUPS_MAX);
    }
    if (!sample->groups) {
        sample->groups = sw_arena_calloc(arena, SW_SAMPLE_GROUPS_MAX, sizeof *sample->groups);
        if (!sample->groups) {
            return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
        }
    }
    sample->groups[sample->group_count++] = (struct sw_sample_group){key, value};
    return SW_OK;
}

/* A text, number or boolean as text; *ret_kind NONE for null, and *ret then absent. */
static sw_status read_scalar(struct line *l, struct sw_str key, struct sw_label *ret) {
    struct sw_json *json = &l->json;
    struct sw_label label = {.kind = SW_LABEL_TEXT};
    const char *begin;
    switch (sw_json_peek(json)) {
    case '"': SW_TRY(sw_json_string(json, &label.text)); break;
    case 'n': label.kind = SW_LABEL_NONE; return sw_json_null(json);
    case 't':
    case 'f':
        SW_TRY(sw_json_bool(json, &label.positive));
        label.kind = SW_LABEL_BOOL;
        label.text = label.positive ? SW_STR("true") : SW_STR("false");
        break;
    case '{':
    case '[': return sw_json_fail(json, "%.*s: must be a text, a number or a boolean", (int)key.len, key.data);
    default:
        begin = json->p;
        SW_TRY(sw_json_skip(json));
        label.kind = SW_LABEL_INTEGER;
        label.text = (struct sw_str){begin, (size_t)(json->p - begin)};
        break;
    }
    if (!label.text.data) {
        label.text = SW_STR("");
    }
    *ret = label;
    return SW_OK;
}

static sw_status read_text(struct line *l, const char *key, struct sw_str *ret) {
    char next = sw_json_peek(&l->json);
    if (next == 'n') {
        return sw_json_null(&l->json);
    }
    if (next != '"') {
        return sw_json_fail(&l->json, "%s: must be a text", key);
    }
    SW_TRY(sw_json_string(&l->json, ret));
    if (!ret->data) {
        *ret = SW_STR("");
    }
    return SW_OK;
}

static sw_status read_bool(struct line *l, const char *key, bool *ret) {
    char next = sw_json_peek(&l->json);
    if (next != 't' && next != 'f') {
        return sw_json_fail(&l->json, "%s: must be true or false", key);
    }
    return sw_json_bool(&l->json, ret);
}

/* What must be so of a label's kind. */
static sw_status check_kind(struct line *l, struct sw_str key, const struct sw_label *value) {
    int64_t integer;
    if (sw_str_is(key, "is_stego") && value->kind != SW_LABEL_BOOL) {
        return sw_json_fail(&l->json, "is_stego: must be true or false");
    }
    if (sw_str_is(key, "label") && value->kind == SW_LABEL_INTEGER && !sw_parse_i64(value->text, &integer)) {
        return sw_json_fail(&l->json, "label: must be true, false, an integer or a text");
    }
    if (sw_str_is(key, "method") && value->kind != SW_LABEL_TEXT && value->kind != SW_LABEL_NONE) {
        return sw_json_fail(&l->json, "method: must be a text or null");
    }
    return SW_OK;
}

/* A key whose value is a group as well. */
static sw_status read_group(struct line *l, struct sw_str key) {
    struct sw_label value = {.kind = SW_LABEL_NONE};
    bool nested = sw_json_peek(&l->json) == '{' || sw_json_peek(&l->json) == '[';
    bool special = sw_str_is(key, "is_stego") || sw_str_is(key, "label") || sw_str_is(key, "method");
    if (nested && !special) {
        return sw_json_skip(&l->json);
    }
    SW_TRY(read_scalar(l, key, &value));
    SW_TRY(check_kind(l, key, &value));
    if (value.kind == SW_LABEL_NONE) {
        return SW_OK;
    }
    if (sw_str_is(key, "is_stego")) {
        l->is_stego = value;
    } else if (sw_str_is(key, "label")) {
        l->label = value;
    } else if (sw_str_is(key, "method")) {
        l->sample->method = value.text;
    }
    return sw_sample_add_group(l->sample, l->arena, key, value.text, l->err);
}

static sw_status read_member(struct line *l, struct sw_str key) {
    if (sw_str_is(key, "file")) {
        return read_text(l, "file", &l->sample->file);
    }
    if (sw_str_is(key, "payload")) {
        return read_text(l, "payload", &l->sample->payload);
    }
    if (sw_str_is(key, "broken")) {
        return read_bool(l, "broken", &l->sample->broken);
    }
    if (sw_str_is(key, "inputs")) {
        l->has_inputs = true;
        return sw_json_skip(&l->json);
    }
    return read_group(l, key);
}

static sw_status read_members(struct line *l) {
    struct sw_str key;
    bool more;
    SW_TRY(sw_json_enter_object(&l->json));
    for (;;) {
        SW_TRY(sw_json_object_next(&l->json, &key, &more));
        if (!more) {
            return sw_json_end(&l->json);
        }
        SW_TRY(read_member(l, key));
    }
}

sw_status sw_sample_parse(struct sw_str line, struct sw_arena *arena, struct sw_sample *ret, struct sw_error *err) {
    struct sw_sample sample = {0};
    struct line l = {.arena = arena, .sample = &sample, .err = err};
    sw_json_init(&l.json, line, arena, err);
    SW_TRY(read_members(&l));
    if (l.has_inputs == (sample.file.data != NULL)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "needs either \"file\" or \"inputs\", has %s",
                       l.has_inputs ? "both" : "neither");
    }
    if (sample.file.data && !sw_path_is_inside(sample.file)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "file: \"" SW_STR_FMT "\" must be a path inside the folder",
                       SW_STR_ARG(sample.file));
    }
    sample.label = l.is_stego.kind ? l.is_stego : l.label;
    if (l.has_inputs) {
        sample.request = line;
    }
    *ret = sample;
    return SW_OK;
}

struct sw_str sw_sample_group(const struct sw_sample *sample, struct sw_str key) {
    for (size_t i = 0; i < sample->group_count; i++) {
        if (sw_str_eq(sample->groups[i].key, key)) {
            return sample->groups[i].value;
        }
    }
    return (struct sw_str){NULL, 0};
}

sw_status sw_sample_add_format(struct sw_sample *sample, struct sw_arena *arena, struct sw_error *err) {
    enum { ENDING_MAX = 16 };
    struct sw_str base = {sample->file.data, sample->file.len};
    size_t at = base.len;
    while (at > 0 && base.data[at - 1] != '.' && base.data[at - 1] != '/') {
        at--;
    }
    size_t n = base.len - at;
    bool ending = at > 1 && base.data[at - 1] == '.' && base.data[at - 2] != '/' && n > 0 && n <= ENDING_MAX;
    if (!ending || sw_sample_group(sample, SW_STR("format")).data) {
        return SW_OK;
    }
    char *text = sw_arena_strdup(arena, (struct sw_str){base.data + at, n});
    if (!text) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    }
    struct sw_str format = {text, n};
    if (sw_str_is(format, "jpg") || sw_str_is(format, "jpe")) {
        format = SW_STR("jpeg");
    }
    return sw_sample_add_group(sample, arena, SW_STR("format"), format, err);
}

/* --- files ------------------------------------------------------------------------------------------------------- */

/* Is `path` (resolved) below `folder` (resolved)? */
static bool is_below(const char *folder, const char *path) {
    size_t n = strlen(folder);
    return strncmp(folder, path, n) == 0 && (path[n] == '/' || (n > 0 && folder[n - 1] == '/'));
}

sw_status sw_dataset_read_file(const char *folder, struct sw_str file, struct sw_arena *arena, struct sw_str *ret,
                               struct sw_error *err) {
    if (!sw_path_is_inside(file) || memchr(file.data, '\0', file.len)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "file: \"" SW_STR_FMT "\" must be a path inside the folder",
                       SW_STR_ARG(file));
    }
    char *relative SW_AUTO_FREE = sw_xstrndup(file.data, file.len);
    char *path SW_AUTO_FREE = sw_path_join(folder, relative);
    char *real_folder SW_AUTO_FREE = realpath(folder, NULL);
    char *real_path SW_AUTO_FREE = realpath(path, NULL);
    if (!real_folder || !real_path) {
        return sw_fail(err, errno == ENOENT || errno == ENOTDIR ? SW_E_NOT_FOUND : SW_E_IO, "%s: %s", path,
                       strerror(errno));
    }
    if (!is_below(real_folder, real_path)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "file: \"%.200s\" leads out of the folder", relative);
    }
    struct sw_buf bytes;
    SW_TRY(sw_file_read(real_path, SW_DATASET_FILE_BYTES_MAX, &bytes, err));
    char *data = sw_arena_strdup(arena, sw_buf_str(&bytes));
    *ret = (struct sw_str){data, bytes.len};
    sw_buf_deinit(&bytes);
    return data ? SW_OK : sw_fail(err, SW_E_UNAVAILABLE, "%s: out of memory", path);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

struct request {
    struct sw_json json;
    const char *folder;
    const struct sw_tensor_specs *inputs;
    struct sw_arena *arena;
    struct sw_tensor *tensors;
    size_t count;
    struct sw_error *err;
};

/* {"name": "image", "file": "7.png"}: *ret_file absent when the tensor at the cursor has no "file"; the cursor then
 * stays. */
static sw_status look_for_file(struct request *r, struct sw_str *ret_name, struct sw_str *ret_file) {
    struct sw_json ahead = r->json;
    struct sw_str key, name = {0}, file = {0};
    bool more;
    SW_TRY(sw_json_enter_object(&ahead));
    for (;;) {
        SW_TRY(sw_json_object_next(&ahead, &key, &more));
        if (!more) {
            break;
        }
        if (sw_str_is(key, "name") || sw_str_is(key, "file")) {
            SW_TRY(sw_json_string(&ahead, sw_str_is(key, "name") ? &name : &file));
        } else {
            SW_TRY(sw_json_skip(&ahead));
        }
    }
    *ret_name = name;
    *ret_file = file;
    return SW_OK;
}

static sw_status read_tensor(struct request *r, struct sw_tensor *ret) {
    struct sw_str name, file;
    int64_t shape[SW_RANK_MAX];
    SW_TRY(look_for_file(r, &name, &file));
    if (!file.data) {
        return sw_oip_read_tensor(&r->json, r->inputs, NULL, ret);
    }
    SW_TRY(sw_json_skip(&r->json));
    const struct sw_tensor_spec *spec = sw_specs_find(r->inputs, name);
    if (!spec || spec->dtype != SW_DTYPE_BYTES) {
        return sw_fail(r->err, SW_E_INVALID_ARGUMENT, "\"file\" for '" SW_STR_FMT "', which is no BYTES input",
                       SW_STR_ARG(name));
    }
    for (uint32_t i = 0; i < spec->rank; i++) {
        shape[i] = 1;
    }
    SW_TRY(sw_tensor_alloc(ret, r->arena, name, SW_DTYPE_BYTES, shape, spec->rank, r->err));
    return sw_dataset_read_file(r->folder, file, r->arena, ret->data, r->err);
}

static sw_status read_tensors(struct request *r) {
    bool more;
    r->tensors = sw_arena_calloc(r->arena, SW_TENSORS_MAX, sizeof *r->tensors);
    if (!r->tensors) {
        return sw_fail(r->err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_TRY(sw_json_enter_array(&r->json));
    for (;;) {
        SW_TRY(sw_json_array_next(&r->json, &more));
        if (!more) {
            return SW_OK;
        }
        if (r->count == SW_TENSORS_MAX) {
            return sw_fail(r->err, SW_E_INVALID_ARGUMENT, "more than %d inputs", SW_TENSORS_MAX);
        }
        SW_TRY(read_tensor(r, &r->tensors[r->count]));
        r->count++;
    }
}

sw_status sw_dataset_read_request(const char *folder, struct sw_str line, const struct sw_tensor_specs *inputs,
                                  struct sw_arena *arena, struct sw_tensor **ret, size_t *ret_count,
                                  struct sw_error *err) {
    struct request r = {.folder = folder, .inputs = inputs, .arena = arena, .err = err};
    struct sw_str key;
    bool more;
    sw_json_init(&r.json, line, arena, err);
    SW_TRY(sw_json_enter_object(&r.json));
    for (;;) {
        SW_TRY(sw_json_object_next(&r.json, &key, &more));
        if (!more) {
            break;
        }
        SW_TRY(sw_str_is(key, "inputs") ? read_tensors(&r) : sw_json_skip(&r.json));
    }
    *ret = r.tensors;
    *ret_count = r.count;
    return SW_OK;
}
