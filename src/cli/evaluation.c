/* See evaluation.h. Counts are integers, scores and times stand at their sample's index: threads may add in any order. */
#include "cli/evaluation.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

enum { KEY_BYTES_MAX = 4096 };

/* --- life -------------------------------------------------------------------------------------------------------- */

void sw_evaluation_init(struct sw_evaluation *e, const struct sw_judge *judge, size_t worst) {
    *e = (struct sw_evaluation){.judge = *judge};
    sw_map_init(&e->matrix.classes);
    sw_map_init(&e->matrix.cells);
    struct sw_worst *const lists[] = {&e->false_positives, &e->misses, &e->wrong_texts, &e->wrong_classes};
    for (size_t i = 0; i < SW_COUNTOF(lists); i++) {
        lists[i]->max = worst;
    }
    e->failures.max = SW_FAILURES_SHOWN_MAX;
}

static void worst_deinit(struct sw_worst *worst) {
    for (size_t i = 0; i < worst->count; i++) {
        sw_free(worst->items[i].where);
        sw_free(worst->items[i].detail);
    }
    sw_free(worst->items);
}

void sw_evaluation_deinit(struct sw_evaluation *e) {
    for (size_t i = 0; i < e->by_count; i++) {
        const struct sw_map_entry *entry;
        for (size_t at = 0; (entry = sw_map_next(&e->by[i].groups, &at));) {
            sw_free(entry->value);
        }
        sw_map_deinit(&e->by[i].groups);
        sw_free(e->by[i].title);
    }
    sw_map_deinit(&e->matrix.classes);
    sw_map_deinit(&e->matrix.cells);
    worst_deinit(&e->false_positives);
    worst_deinit(&e->misses);
    worst_deinit(&e->wrong_texts);
    worst_deinit(&e->wrong_classes);
    worst_deinit(&e->failures);
    sw_free(e->records);
    *e = (struct sw_evaluation){0};
}

sw_status sw_evaluation_by(struct sw_evaluation *e, const char *keys, struct sw_error *err) {
    for (size_t i = 0; i < e->by_count; i++) {
        if (strcmp(e->by[i].title, keys) == 0) {
            return SW_OK;
        }
    }
    if (e->by_count == SW_BY_MAX) {
        return sw_fail(err, SW_E_USAGE, "--by: more than %d tables", SW_BY_MAX);
    }
    struct sw_by by = {.title = sw_xstrdup(keys)};
    struct sw_str rest = sw_str_of(by.title), key;
    do {
        rest = sw_str_split(rest, ',', &key);
        key = sw_str_trim(key);
        if (key.len == 0 || by.key_count == SW_BY_KEYS_MAX) {
            sw_free(by.title);
            return sw_fail(err, SW_E_USAGE, "--by: '%.80s' must be 1 to %d keys, separated by commas", keys,
                           SW_BY_KEYS_MAX);
        }
        by.keys[by.key_count++] = key;
    } while (rest.data);
    sw_map_init(&by.groups);
    e->by[e->by_count++] = by;
    return SW_OK;
}

/* --- the worst --------------------------------------------------------------------------------------------------- */

static bool is_worse(const struct sw_worst_item *a, const struct sw_worst_item *b) {
    return a->key > b->key || (a->key == b->key && a->index < b->index);
}

static char *copy_text(struct sw_str s) {
    return sw_xstrndup(s.data ? s.data : "", s.len);
}

/* Takes its place among the worst, if it has one there; `detail` is copied. */
static void worst_add(struct sw_worst *worst, double key, uint64_t index, double score, const char *where,
                      struct sw_str detail) {
    struct sw_worst_item item = {.key = key, .index = index, .score = score};
    size_t at = worst->count;
    while (at > 0 && is_worse(&item, &worst->items[at - 1])) {
        at--;
    }
    if (at >= worst->max) {
        return;
    }
    if (!worst->items) {
        worst->items = sw_xcalloc(worst->max + 1, sizeof *worst->items);
    }
    memmove(worst->items + at + 1, worst->items + at, (worst->count - at) * sizeof *worst->items);
    item.where = sw_xstrdup(where);
    item.detail = copy_text(detail);
    worst->items[at] = item;
    worst->count++;
    if (worst->count > worst->max) {
        worst->count--;
        sw_free(worst->items[worst->count].where);
        sw_free(worst->items[worst->count].detail);
    }
}

/* "png, alpha, camera": what is known of a sample, for people. */
static struct sw_str describe(const struct sw_sample *sample, char *buffer, size_t size) {
    static const char *const keys[] = {"format", "method", "bit_order", "kind"};
    size_t n = 0;
    buffer[0] = '\0';
    for (size_t i = 0; i < SW_COUNTOF(keys) && n < size; i++) {
        struct sw_str value = sw_sample_group(sample, sw_str_of(keys[i]));
        if (value.data) {
            n += (size_t)snprintf(buffer + n, size - n, "%s" SW_STR_FMT, n ? ", " : "", SW_STR_ARG(value));
        }
    }
    return sw_str_of(buffer);
}

/* --- groups ------------------------------------------------------------------------------------------------------ */

/* The group of a sample in a table, made when it is new; *ret NULL: it is in none. */
static sw_status find_group(struct sw_by *by, const struct sw_sample *sample, struct sw_tally **ret,
                            struct sw_error *err) {
    char value[KEY_BYTES_MAX];
    size_t n = 0;
    *ret = NULL;
    for (size_t i = 0; i < by->key_count; i++) {
        struct sw_str part = sw_sample_group(sample, by->keys[i]);
        if (!part.data) {
            return SW_OK;
        }
        if (part.len + 2 >= sizeof value - n) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "--by %s: a value of more than %d bytes", by->title,
                           KEY_BYTES_MAX / 2);
        }
        memcpy(value + n, i ? ", " : "", i ? 2 : 0);
        n += i ? 2 : 0;
        memcpy(value + n, part.data, part.len);
        n += part.len;
    }
    struct sw_str key = {value, n};
    *ret = sw_map_get(&by->groups, key);
    if (*ret) {
        return SW_OK;
    }
    if (by->groups.count == SW_BY_GROUPS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "--by %s: more than %d different values", by->title,
                       SW_BY_GROUPS_MAX);
    }
    *ret = SW_NEW(struct sw_tally);
    sw_map_put(&by->groups, key, *ret);
    return SW_OK;
}

static void count(struct sw_rate *rate, bool hit) {
    rate->count += hit;
    rate->of++;
}

/* What one answer adds to a tally. */
struct judged {
    enum sw_outcome outcome;
    bool has_text, exact;
};

static void tally_add(struct sw_tally *tally, const struct judged *j) {
    switch (j->outcome) {
    case SW_OUTCOME_TRUE_NEGATIVE:
    case SW_OUTCOME_FALSE_POSITIVE: count(&tally->false_positives, j->outcome == SW_OUTCOME_FALSE_POSITIVE); break;
    case SW_OUTCOME_TRUE_POSITIVE:
    case SW_OUTCOME_FALSE_NEGATIVE: count(&tally->detection, j->outcome == SW_OUTCOME_TRUE_POSITIVE); break;
    default: count(&tally->right, j->outcome == SW_OUTCOME_RIGHT); break;
    }
    if (j->has_text) {
        count(&tally->extraction, j->exact);
    }
}

/* --- the matrix -------------------------------------------------------------------------------------------------- */

static sw_status add_class(struct sw_matrix *matrix, struct sw_str name, struct sw_error *err) {
    if (sw_map_get(&matrix->classes, name)) {
        return SW_OK;
    }
    if (matrix->classes.count == SW_CLASSES_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "more than %d different classes", SW_CLASSES_MAX);
    }
    sw_map_put(&matrix->classes, name, (void *)(uintptr_t)(matrix->classes.count + 1));
    return SW_OK;
}

static struct sw_str cell_key(struct sw_str row, struct sw_str column, char buffer[KEY_BYTES_MAX]) {
    row.len = row.len < KEY_BYTES_MAX / 2 - 1 ? row.len : KEY_BYTES_MAX / 2 - 1;
    column.len = column.len < KEY_BYTES_MAX / 2 - 1 ? column.len : KEY_BYTES_MAX / 2 - 1;
    memcpy(buffer, row.data, row.len);
    buffer[row.len] = '\t';
    memcpy(buffer + row.len + 1, column.data, column.len);
    return (struct sw_str){buffer, row.len + 1 + column.len};
}

static sw_status matrix_add(struct sw_matrix *matrix, struct sw_str row, struct sw_str column, struct sw_error *err) {
    char buffer[KEY_BYTES_MAX];
    SW_TRY(add_class(matrix, row, err));
    SW_TRY(add_class(matrix, column, err));
    struct sw_str key = cell_key(row, column, buffer);
    uintptr_t before = (uintptr_t)sw_map_get(&matrix->cells, key);
    sw_map_put(&matrix->cells, key, (void *)(before + 1));
    count(&matrix->right, sw_str_eq(row, column));
    return SW_OK;
}

uint64_t sw_matrix_cell(const struct sw_matrix *matrix, const char *row, const char *column) {
    char buffer[KEY_BYTES_MAX];
    return (uintptr_t)sw_map_get(&matrix->cells, cell_key(sw_str_of(row), sw_str_of(column), buffer));
}

/* --- samples ----------------------------------------------------------------------------------------------------- */

static sw_status set_record(struct sw_evaluation *e, uint64_t index, struct sw_record record, struct sw_error *err) {
    if (index >= e->record_capacity) {
        size_t capacity = e->record_capacity ? e->record_capacity : 1024;
        while (capacity <= index) {
            capacity *= 2;
        }
        struct sw_record *records = sw_realloc(e->records, capacity * sizeof *records);
        if (!records) {
            return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu samples", capacity);
        }
        memset(records + e->record_capacity, 0, (capacity - e->record_capacity) * sizeof *records);
        e->records = records;
        e->record_capacity = capacity;
    }
    e->records[index] = record;
    e->record_count = index >= e->record_count ? index + 1 : e->record_count;
    e->outcomes[record.outcome]++;
    return SW_OK;
}

static sw_status judge_binary(struct sw_evaluation *e, const struct sw_sample *sample, const char *where,
                              const struct sw_verdict *v, struct judged *ret, struct sw_error *err) {
    static const enum sw_outcome outcomes[2][2] = {{SW_OUTCOME_TRUE_NEGATIVE, SW_OUTCOME_FALSE_POSITIVE},
                                                   {SW_OUTCOME_FALSE_NEGATIVE, SW_OUTCOME_TRUE_POSITIVE}};
    bool truth;
    char text[256];
    SW_TRY(sw_judge_truth(&sample->label, &truth, err));
    struct judged j = {.outcome = outcomes[truth][v->positive]};
    struct sw_str detail = describe(sample, text, sizeof text);
    double key = isnan(v->score) ? 0 : v->score;
    if (j.outcome == SW_OUTCOME_FALSE_POSITIVE) {
        worst_add(&e->false_positives, key, sample->index, v->score, where, detail);
    } else if (j.outcome == SW_OUTCOME_FALSE_NEGATIVE) {
        worst_add(&e->misses, -key, sample->index, v->score, where, detail);
    } else if (j.outcome == SW_OUTCOME_TRUE_POSITIVE) {
        j.has_text = e->judge.message != SW_JUDGE_NONE && sample->payload.data;
        j.exact = j.has_text && sw_str_eq(v->message, sample->payload);
        if (j.has_text && !j.exact) {
            worst_add(&e->wrong_texts, 0, sample->index, v->score, where, detail);
        }
        if (v->method.data && sample->method.data) {
            SW_TRY(matrix_add(&e->matrix, sample->method, v->method, err));
        }
    }
    *ret = j;
    return SW_OK;
}

static sw_status judge_class(struct sw_evaluation *e, const struct sw_sample *sample, const char *where,
                             const struct sw_verdict *v, struct judged *ret, struct sw_error *err) {
    if (sample->label.kind == SW_LABEL_NONE) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the label is missing");
    }
    bool right = sw_str_eq(sample->label.text, v->label);
    SW_TRY(matrix_add(&e->matrix, sample->label.text, v->label, err));
    if (!right) {
        char text[512];
        snprintf(text, sizeof text, SW_STR_FMT ", taken for " SW_STR_FMT, SW_STR_ARG(sample->label.text),
                 SW_STR_ARG(v->label));
        worst_add(&e->wrong_classes, isnan(v->score) ? 0 : v->score, sample->index, v->score, where, sw_str_of(text));
    }
    *ret = (struct judged){.outcome = right ? SW_OUTCOME_RIGHT : SW_OUTCOME_WRONG};
    return SW_OK;
}

static sw_status add(struct sw_evaluation *e, const struct sw_sample *sample, const char *where,
                     const struct sw_verdict *v, uint64_t latency_ns, struct sw_error *err) {
    struct judged j;
    bool binary = e->judge.task == SW_TASK_BINARY;
    if (isnan(v->score) && (e->judge.score != SW_JUDGE_NONE || (!binary && e->judge.label == SW_JUDGE_NONE))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "the score is NaN");
    }
    SW_TRY(binary ? judge_binary(e, sample, where, v, &j, err) : judge_class(e, sample, where, v, &j, err));
    tally_add(&e->all, &j);
    for (size_t i = 0; i < e->by_count; i++) {
        struct sw_tally *group;
        SW_TRY(find_group(&e->by[i], sample, &group, err));
        if (group) {
            tally_add(group, &j);
        }
    }
    return set_record(e, sample->index, (struct sw_record){v->score, latency_ns, (uint8_t)j.outcome}, err);
}

sw_status sw_evaluation_add(struct sw_evaluation *e, const struct sw_sample *sample, const char *where,
                            const struct sw_verdict *verdict, uint64_t latency_ns, struct sw_error *err) {
    sw_status status = add(e, sample, where, verdict, latency_ns, err);
    if (status && err) {
        sw_error_prefix(err, "%s", where);
    }
    return status;
}

sw_status sw_evaluation_add_outcome(struct sw_evaluation *e, const struct sw_sample *sample, const char *where,
                                    enum sw_outcome outcome, const char *why, struct sw_error *err) {
    SW_ASSERT(outcome >= SW_OUTCOME_FAILED && outcome < SW_OUTCOMES);
    if (outcome == SW_OUTCOME_FAILED) {
        worst_add(&e->failures, 0, sample->index, NAN, where, sw_str_of(why));
    }
    return set_record(e, sample->index, (struct sw_record){.score = NAN, .outcome = (uint8_t)outcome}, err);
}

/* --- results ----------------------------------------------------------------------------------------------------- */

uint64_t sw_evaluation_evaluated(const struct sw_evaluation *e) {
    return e->all.false_positives.of + e->all.detection.of + e->all.right.of;
}

uint64_t sw_evaluation_total(const struct sw_evaluation *e) {
    return sw_evaluation_evaluated(e) + e->outcomes[SW_OUTCOME_FAILED] + e->outcomes[SW_OUTCOME_REFUSED] +
           e->outcomes[SW_OUTCOME_ANSWERED];
}

static bool is_evaluated(const struct sw_record *record) {
    return record->outcome > SW_OUTCOME_NONE && record->outcome < SW_OUTCOME_FAILED;
}

static bool is_positive(const struct sw_record *record) {
    return record->outcome == SW_OUTCOME_TRUE_POSITIVE || record->outcome == SW_OUTCOME_FALSE_NEGATIVE ||
           record->outcome == SW_OUTCOME_RIGHT;
}

sw_status sw_evaluation_scored(const struct sw_evaluation *e, struct sw_scored **ret, size_t *ret_count,
                               struct sw_error *err) {
    struct sw_scored *items = sw_calloc(e->record_count + 1, sizeof *items);
    size_t n = 0;
    if (!items) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu scores", e->record_count);
    }
    for (size_t i = 0; i < e->record_count; i++) {
        const struct sw_record *record = &e->records[i];
        if (is_evaluated(record) && !isnan(record->score)) {
            items[n++] = (struct sw_scored){record->score, is_positive(record)};
        }
    }
    *ret = items;
    *ret_count = n;
    return SW_OK;
}

static int by_time(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

sw_status sw_evaluation_latencies(const struct sw_evaluation *e, uint64_t **ret_ns, size_t *ret_count,
                                  struct sw_error *err) {
    uint64_t *times = sw_calloc(e->record_count + 1, sizeof *times);
    size_t n = 0;
    if (!times) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for %zu times", e->record_count);
    }
    for (size_t i = 0; i < e->record_count; i++) {
        if (is_evaluated(&e->records[i])) {
            times[n++] = e->records[i].latency_ns;
        }
    }
    qsort(times, n, sizeof *times, by_time);
    *ret_ns = times;
    *ret_count = n;
    return SW_OK;
}

double sw_rate_value(struct sw_rate rate) {
    return rate.of ? (double)rate.count / (double)rate.of : NAN;
}

/* Whole numbers by value, before all other texts. */
static int by_name(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    int64_t m, n;
    bool x_number = sw_parse_i64(sw_str_of(x), &m), y_number = sw_parse_i64(sw_str_of(y), &n);
    if (x_number && y_number && m != n) {
        return m < n ? -1 : 1;
    }
    return x_number != y_number ? y_number - x_number : strcmp(x, y);
}

const char **sw_map_sorted(const struct sw_map *map) {
    const char **keys = sw_xcalloc(map->count + 1, sizeof *keys);
    const struct sw_map_entry *entry;
    size_t n = 0;
    for (size_t at = 0; (entry = sw_map_next(map, &at));) {
        keys[n++] = entry->key;
    }
    qsort(keys, n, sizeof *keys, by_name);
    return keys;
}
