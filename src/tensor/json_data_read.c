/* Reading the data of tensors: brackets, counts, shapes and the diagnosis of faults. The numbers themselves are read in
 * runs, see json_run.h; nested levels above a run recurse at most SW_RANK_MAX deep. */
#include "tensor/json.h"

#include "tensor/json_run.h"
#include "tensor/number_internal.h"

/* One read: what and how far. */
struct reader {
    struct sw_json *json;
    struct sw_tensor *t;
    size_t done; /* elements stored */
};

SW_INLINE const char *skip_blanks(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
        p++;
    }
    return p;
}

#define TENSOR_FMT "tensor \"" SW_STR_FMT "\": "

static const char *wanted(enum sw_dtype dtype) {
    return dtype == SW_DTYPE_BOOL ? "true or false" : dtype == SW_DTYPE_BYTES ? "a string" : "a number";
}

/* Says what is wrong with the number at the cursor, which is well-formed but was refused. */
static sw_status number_fault(struct reader *r, const char *text_end) {
    const struct sw_tensor *t = r->t;
    const char *p = r->json->p;
    bool integral = !memchr(p, '.', (size_t)(text_end - p)) && !memchr(p, 'e', (size_t)(text_end - p)) &&
                    !memchr(p, 'E', (size_t)(text_end - p));
    bool floating = t->dtype == SW_DTYPE_FP32 || t->dtype == SW_DTYPE_FP64;
    struct sw_str number = {p, (size_t)(text_end - p) > 40 ? 40 : (size_t)(text_end - p)};
    return sw_json_fail(
        r->json, TENSOR_FMT "element %zu: " SW_STR_FMT " is %s %s", SW_STR_ARG(t->name), r->done, SW_STR_ARG(number),
        floating || integral ? "out of range of" : "no integer, which is needed for", sw_dtype_name(t->dtype));
}

/* Says what stands at the cursor where element r->done should. */
SW_COLD static sw_status element_fault(struct reader *r) {
    struct sw_json *json = r->json;
    const struct sw_tensor *t = r->t;
    const char *p = json->p, *found = NULL;
    struct sw_decimal d;
    const char *number_end = sw_scan_number(p, json->end, &d);
    if (number_end && t->dtype != SW_DTYPE_BOOL && t->dtype != SW_DTYPE_BYTES) {
        return number_fault(r, number_end);
    }
    size_t left = (size_t)(json->end - p);
    if (left == 0) {
        found = "the text ends";
    } else if (number_end) {
        found = "a number stands";
    } else if (*p == '[' || *p == '{') {
        found = *p == '[' ? "an array stands" : "an object stands";
    } else if (*p == '"') {
        found = "a string stands";
    } else if (*p == 't' || *p == 'f') {
        found = "true or false stands";
    } else if (left >= 4 && memcmp(p, "null", 4) == 0) {
        found = "null stands";
    } else if (*p == 'N' || *p == 'I' || (left > 1 && *p == '-' && p[1] == 'I')) {
        found = "NaN or an infinity stands";
    }
    if (found) {
        return sw_json_fail(json, TENSOR_FMT "element %zu: %s where %s of datatype %s should", SW_STR_ARG(t->name),
                            r->done, found, wanted(t->dtype), sw_dtype_name(t->dtype));
    }
    return sw_json_fail(json, TENSOR_FMT "element %zu: malformed JSON, not %s", SW_STR_ARG(t->name), r->done,
                        wanted(t->dtype));
}

/* An array at `level` has other than `want` members. The cursor is behind the last that fits. */
SW_COLD static sw_status count_fault(struct reader *r, uint32_t level, size_t want, size_t got) {
    const struct sw_tensor *t = r->t;
    char c = sw_json_peek(r->json), text[128];
    if (c != ',' && c != ']') {
        return sw_json_fail(r->json, TENSOR_FMT "malformed JSON: ',' or ']' should follow element %zu",
                            SW_STR_ARG(t->name), r->done ? r->done - 1 : 0);
    }
    bool flat = level == SW_RANK_MAX;
    const char *shape = sw_shape_format(t->shape, t->rank, text, sizeof text);
    if (flat && c == ',') {
        return sw_json_fail(r->json, TENSOR_FMT "data has more than the %zu elements of shape %s", SW_STR_ARG(t->name),
                            want, shape);
    }
    if (flat) {
        return sw_json_fail(r->json, TENSOR_FMT "data has %zu elements, shape %s asks for %zu", SW_STR_ARG(t->name),
                            got, shape, want);
    }
    return sw_json_fail(r->json,
                        TENSOR_FMT "element %zu: an array in dimension %u has %s %zu entries, shape %s asks for "
                                   "%zu",
                        SW_STR_ARG(t->name), r->done, level, c == ',' ? "more than" : "only", got, shape, want);
}

/* Something stands in an array that the shape wants empty. */
SW_COLD static sw_status not_empty_fault(struct reader *r) {
    char text[128];
    return sw_json_fail(r->json, TENSOR_FMT "data has elements, shape %s asks for none", SW_STR_ARG(r->t->name),
                        sw_shape_format(r->t->shape, r->t->rank, text, sizeof text));
}

/* Elements r->done .. r->done + room - 1 at most; the cursor ends behind them. *ret_count: how many. */
static sw_status read_run(struct reader *r, size_t room, size_t *ret_count) {
    struct sw_json *json = r->json;
    struct sw_tensor *t = r->t;
    size_t count = 0;
    if (t->dtype == SW_DTYPE_BYTES) {
        struct sw_str *out = (struct sw_str *)t->data + r->done;
        while (count < room) {
            if (sw_json_peek(json) != '"') {
                return element_fault(r);
            }
            SW_TRY(sw_json_string(json, &out[count]));
            count++;
            r->done++;
            if (sw_json_peek(json) != ',' || count == room) {
                break;
            }
            json->p++;
        }
    } else {
        void *out = (char *)t->data + r->done * sw_dtype_size(t->dtype);
        struct sw_json_run run = sw_json_read_run(json->begin, json->p, json->end, t->dtype, out, room);
        json->p = run.at;
        count = run.count;
        r->done += count;
        if (SW_UNLIKELY(run.bad_element)) {
            return element_fault(r);
        }
    }
    *ret_count = count;
    return SW_OK;
}

static sw_status open_array(struct reader *r) {
    if (sw_json_peek(r->json) != '[') {
        return sw_json_fail(r->json, TENSOR_FMT "element %zu: an array should stand", SW_STR_ARG(r->t->name), r->done);
    }
    r->json->p++;
    return SW_OK;
}

/* The inside of an array of exactly `want` elements, and its closing bracket. */
static sw_status read_exact(struct reader *r, uint32_t level, size_t want) {
    size_t got = 0;
    if (sw_json_peek(r->json) != ']' && want > 0) {
        SW_TRY(read_run(r, want, &got));
    }
    char c = sw_json_peek(r->json);
    if (SW_UNLIKELY(got != want || c != ']')) {
        return want == 0 ? not_empty_fault(r) : count_fault(r, level, want, got);
    }
    r->json->p++;
    return SW_OK;
}

static sw_status read_nested(struct reader *r, uint32_t level) {
    SW_TRY(open_array(r));
    size_t want = (size_t)r->t->shape[level];
    if (level + 1 == r->t->rank) {
        return read_exact(r, level, want);
    }
    for (size_t i = 0; i < want; i++) {
        if (i > 0) {
            if (sw_json_peek(r->json) != ',') {
                return count_fault(r, level, want, i);
            }
            r->json->p++;
        } else if (sw_json_peek(r->json) == ']') {
            return count_fault(r, level, want, 0);
        }
        SW_TRY(read_nested(r, level + 1));
    }
    if (sw_json_peek(r->json) != ']') {
        return want == 0 ? not_empty_fault(r) : count_fault(r, level, want, want);
    }
    r->json->p++;
    return SW_OK;
}

static sw_status check_dtype(struct sw_json *json, const struct sw_tensor *t) {
    if (t->dtype == SW_DTYPE_FP16 || t->dtype == SW_DTYPE_BF16) {
        return sw_json_fail(json, TENSOR_FMT "%s travels as binary data only", SW_STR_ARG(t->name),
                            sw_dtype_name(t->dtype));
    }
    return SW_OK;
}

/* Is the array at the cursor nested (its first member is an array)? */
static bool is_nested(const struct sw_json *json) {
    const char *p = skip_blanks(json->p + 1, json->end);
    return p < json->end && *p == '[';
}

sw_status sw_json_read_data(struct sw_json *json, struct sw_tensor *t) {
    SW_TRY(check_dtype(json, t));
    struct reader r = {json, t, 0};
    char first = sw_json_peek(json);
    if (first != '[') {
        size_t count;
        if (t->rank == 0) {
            return read_run(&r, 1, &count);
        }
        return sw_json_fail(json, TENSOR_FMT "data is not an array", SW_STR_ARG(t->name));
    }
    if (t->rank > 1 && is_nested(json)) {
        return read_nested(&r, 0);
    }
    SW_TRY(open_array(&r));
    return read_exact(&r, SW_RANK_MAX, t->count);
}

/* Reading when the shape is not known: the first array at each level fixes its dimension, the others must agree. */
struct inference {
    struct reader reader;
    size_t capacity; /* elements that fit into t->data */
    size_t max;
    bool known[SW_RANK_MAX]; /* dimension fixed */
};

static sw_status too_many(struct inference *in) {
    return sw_json_fail(in->reader.json, TENSOR_FMT "more than %zu elements", SW_STR_ARG(in->reader.t->name), in->max);
}

/* Room for `extra` more elements. */
static sw_status make_room(struct inference *in, size_t extra) {
    struct sw_tensor *t = in->reader.t;
    size_t need = in->reader.done + extra, size = sw_dtype_size(t->dtype);
    if (need <= in->capacity) {
        return SW_OK;
    }
    if (need > in->max) {
        return too_many(in);
    }
    size_t capacity = in->capacity * 2 < 64 ? 64 : in->capacity * 2;
    capacity = capacity < need ? need : capacity;
    capacity = capacity > in->max ? in->max : capacity;
    void *data = sw_arena_grow(in->reader.json->arena, t->data, in->capacity * size, capacity * size, 64);
    if (!data) {
        return sw_fail(in->reader.json->err, SW_E_UNAVAILABLE, TENSOR_FMT "no memory for %zu elements",
                       SW_STR_ARG(t->name), capacity);
    }
    t->data = data;
    in->capacity = capacity;
    return SW_OK;
}

/* The inside of the first innermost array: as many elements as there are. */
static sw_status infer_row(struct inference *in, size_t *ret_count) {
    struct reader *r = &in->reader;
    size_t total = 0;
    for (;;) {
        SW_TRY(make_room(in, 1));
        size_t count;
        SW_TRY(read_run(r, in->capacity - r->done, &count));
        total += count;
        char c = sw_json_peek(r->json);
        if (c == ']') {
            break;
        }
        if (c != ',') {
            return count_fault(r, r->t->rank - 1, total, total);
        }
        r->json->p++;
    }
    *ret_count = total;
    return SW_OK;
}

static sw_status ragged(struct inference *in, uint32_t level, size_t got) {
    return sw_json_fail(in->reader.json,
                        TENSOR_FMT "element %zu: not rectangular: an array in dimension %u has %zu "
                                   "entries, the one before it has %lld",
                        SW_STR_ARG(in->reader.t->name), in->reader.done, level, got,
                        (long long)in->reader.t->shape[level]);
}

/* One array at `level`, brackets included. */
static sw_status infer_level(struct inference *in, uint32_t level) {
    struct reader *r = &in->reader;
    struct sw_tensor *t = r->t;
    SW_TRY(open_array(r));
    size_t got = 0;
    bool innermost = level + 1 == t->rank;
    if (sw_json_peek(r->json) == ']') {
        /* stays empty */
    } else if (innermost && !in->known[level]) {
        SW_TRY(infer_row(in, &got));
    } else if (innermost) {
        size_t want = (size_t)t->shape[level];
        if (want == 0) {
            return ragged(in, level, 1);
        }
        SW_TRY(make_room(in, want));
        SW_TRY(read_run(r, want, &got));
    } else {
        for (;; r->json->p++) {
            SW_TRY(infer_level(in, level + 1));
            got++;
            if (sw_json_peek(r->json) != ',') {
                break;
            }
        }
    }
    if (in->known[level] && got != (size_t)t->shape[level]) {
        return ragged(in, level, got);
    }
    char c = sw_json_peek(r->json);
    if (c != ']') {
        return in->known[level] && c == ',' ? ragged(in, level, got + 1) : count_fault(r, level, got, got);
    }
    r->json->p++;
    t->shape[level] = (int64_t)got;
    in->known[level] = true;
    return SW_OK;
}

/* Number of '[' that begin the value at the cursor. */
static uint32_t leading_brackets(const struct sw_json *json) {
    uint32_t n = 0;
    const char *p = skip_blanks(json->p, json->end);
    while (p < json->end && *p == '[' && n <= SW_RANK_MAX) {
        n++;
        p = skip_blanks(p + 1, json->end);
    }
    return n;
}

sw_status sw_json_read_infer_shape(struct sw_json *json, struct sw_tensor *t, uint64_t max_elements) {
    SW_TRY(check_dtype(json, t));
    struct sw_tensor result = {.name = t->name, .dtype = t->dtype, .rank = leading_brackets(json)};
    if (result.rank == 0) {
        return sw_json_fail(json, TENSOR_FMT "an array should stand", SW_STR_ARG(t->name));
    }
    if (result.rank > SW_RANK_MAX) {
        return sw_json_fail(json, TENSOR_FMT "more than %d dimensions", SW_STR_ARG(t->name), SW_RANK_MAX);
    }
    size_t max = max_elements < SW_ELEMENTS_MAX ? (size_t)max_elements : (size_t)SW_ELEMENTS_MAX;
    struct inference in = {.reader = {json, &result, 0}, .max = max};
    SW_TRY(infer_level(&in, 0));
    result.count = in.reader.done;
    *t = result;
    return SW_OK;
}
