/* See value.h. */
#include "sched/cache/value.h"

#include <stdatomic.h>

#include "base/memory.h"

#define MAGIC UINT64_C(0x0131746c73727773) /* "swrslt1\1" read as little-endian */
enum { ALIGN = 64, OUTPUTS_MAX = 4096 };

struct output {
    uint32_t place; /* among the model's outputs */
    uint16_t dtype; /* enum sw_dtype; 0: the model left it out */
    uint16_t rank;
    int64_t shape[SW_RANK_MAX];
    uint64_t offset, bytes; /* of its data, from the head */
};

struct head {
    uint64_t magic;
    uint64_t made_ms;
    uint64_t count;
    struct output outputs[];
};

struct sw_cache_value {
    atomic_uint references;
    size_t bytes;
    struct head *head; /* own block, 64-byte aligned */
};

static size_t align_up(size_t n) {
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static size_t head_bytes(size_t count) {
    return sizeof(struct head) + count * sizeof(struct output);
}

/* ---- life */

static struct sw_cache_value *value_alloc(size_t bytes) {
    struct sw_cache_value *value = sw_malloc(sizeof *value);
    struct head *head = value ? sw_aligned_alloc(ALIGN, align_up(bytes)) : NULL;
    if (!head) {
        sw_free(value);
        return NULL;
    }
    *value = (struct sw_cache_value){.bytes = bytes, .head = head};
    atomic_init(&value->references, 1);
    return value;
}

struct sw_cache_value *sw_cache_value_ref(struct sw_cache_value *value) {
    atomic_fetch_add_explicit(&value->references, 1, memory_order_relaxed);
    return value;
}

void sw_cache_value_unref(struct sw_cache_value *value) {
    if (!value) {
        return;
    }
    /* Release: this thread's reading comes before the end. Acquire, for the last: after everybody's. */
    unsigned before = atomic_fetch_sub_explicit(&value->references, 1, memory_order_acq_rel);
    SW_ASSERT(before > 0);
    if (before == 1) {
        sw_free(value->head);
        sw_free(value);
    }
}

struct sw_str sw_cache_value_bytes(const struct sw_cache_value *value) {
    return (struct sw_str){(const char *)value->head, value->bytes};
}

size_t sw_cache_value_cost(const struct sw_cache_value *value) {
    return sizeof *value + align_up(value->bytes);
}

uint64_t sw_cache_value_made_ms(const struct sw_cache_value *value) {
    return value->head->made_ms;
}

/* ---- making */

/* Strings lie one after the other, each behind its length in 8 bytes. */
static size_t data_bytes(const struct sw_tensor *t) {
    size_t bytes = t->dtype == SW_DTYPE_BYTES ? t->count * sizeof(uint64_t) : t->count * sw_dtype_size(t->dtype);
    for (size_t i = 0; t->dtype == SW_DTYPE_BYTES && i < t->count; i++) {
        bytes += ((const struct sw_str *)t->data)[i].len;
    }
    return bytes;
}

static void write_data(char *to, const struct sw_tensor *t, size_t bytes) {
    if (t->dtype != SW_DTYPE_BYTES) {
        memcpy(to, bytes ? t->data : "", bytes);
        return;
    }
    const struct sw_str *elements = t->data;
    for (size_t i = 0; i < t->count; i++) {
        uint64_t length = elements[i].len;
        memcpy(to, &length, sizeof length);
        memcpy(to + sizeof length, length ? elements[i].data : "", length);
        to += sizeof length + length;
    }
}

static struct output describe(const struct sw_tensor *t, uint32_t place, size_t offset, size_t bytes) {
    struct output o = {.place = place,
                       .dtype = (uint16_t)t->dtype,
                       .rank = (uint16_t)(t->dtype ? t->rank : 0),
                       .offset = offset,
                       .bytes = bytes};
    memcpy(o.shape, t->shape, o.rank * sizeof o.shape[0]);
    return o;
}

struct sw_cache_value *sw_cache_value_create(const struct sw_tensor *outputs, const uint32_t *places, size_t count,
                                             uint64_t made_ms, size_t bytes_max) {
    size_t bytes = head_bytes(count);
    for (size_t i = 0; i < count && bytes <= bytes_max; i++) {
        bytes = align_up(bytes) + (outputs[i].dtype ? data_bytes(&outputs[i]) : 0);
    }
    struct sw_cache_value *value = count <= OUTPUTS_MAX && bytes <= bytes_max ? value_alloc(bytes) : NULL;
    if (!value) {
        return NULL;
    }
    struct head *head = value->head;
    memset(head, 0, bytes);
    head->magic = MAGIC;
    head->made_ms = made_ms;
    head->count = count;
    size_t offset = head_bytes(count);
    for (size_t i = 0; i < count; i++) {
        const struct sw_tensor *t = &outputs[i];
        size_t own = t->dtype ? data_bytes(t) : 0;
        offset = align_up(offset);
        head->outputs[i] = describe(t, places ? places[i] : (uint32_t)i, offset, own);
        if (t->dtype) {
            write_data((char *)head + offset, t, own);
        }
        offset += own;
    }
    return value;
}

/* ---- checking what came from outside */

static bool strings_fit(const char *data, uint64_t bytes, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t length;
        if (bytes < sizeof length) {
            return false;
        }
        memcpy(&length, data, sizeof length);
        data += sizeof length;
        bytes -= sizeof length;
        if (length > bytes) {
            return false;
        }
        data += length;
        bytes -= length;
    }
    return bytes == 0;
}

static bool output_fits(const struct head *head, const struct output *o, size_t bytes) {
    size_t count;
    if (o->offset % ALIGN || o->offset > bytes || o->bytes > bytes - o->offset || o->rank > SW_RANK_MAX ||
        o->dtype >= SW_DTYPE_COUNT) {
        return false;
    }
    if (o->dtype == SW_DTYPE_INVALID) {
        return o->bytes == 0;
    }
    if (!sw_shape_count(o->shape, o->rank, &count)) {
        return false;
    }
    return o->dtype == SW_DTYPE_BYTES ? strings_fit((const char *)head + o->offset, o->bytes, count)
                                      : o->bytes == count * sw_dtype_size(o->dtype);
}

static bool block_fits(const struct head *head, size_t bytes) {
    if (head->magic != MAGIC || head->count > OUTPUTS_MAX || bytes < head_bytes(head->count)) {
        return false;
    }
    for (size_t i = 0; i < head->count; i++) {
        if (!output_fits(head, &head->outputs[i], bytes)) {
            return false;
        }
    }
    return true;
}

sw_status sw_cache_value_parse(struct sw_str bytes, struct sw_cache_value **ret, struct sw_error *err) {
    if (bytes.len < sizeof(struct head)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%zu bytes are too few for a result", bytes.len);
    }
    struct sw_cache_value *value = value_alloc(bytes.len);
    if (!value) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for a result of %zu bytes", bytes.len);
    }
    memcpy(value->head, bytes.data, bytes.len); /* aligned from here on */
    if (!block_fits(value->head, bytes.len)) {
        sw_cache_value_unref(value);
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%zu bytes that are no result", bytes.len);
    }
    *ret = value;
    return SW_OK;
}

/* ---- reading */

static const struct output *find(const struct head *head, uint32_t place) {
    for (size_t i = 0; i < head->count; i++) {
        if (head->outputs[i].place == place) {
            return &head->outputs[i];
        }
    }
    return NULL;
}

static sw_status read_strings(const char *data, struct sw_tensor *t, struct sw_arena *arena, struct sw_error *err) {
    struct sw_str *elements = sw_arena_alloc(arena, t->count * sizeof *elements);
    if (!elements) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    for (size_t i = 0; i < t->count; i++) {
        uint64_t length;
        memcpy(&length, data, sizeof length);
        elements[i] = (struct sw_str){data + sizeof length, length};
        data += sizeof length + length;
    }
    t->data = elements;
    return SW_OK;
}

static sw_status read_output(const struct head *head, const struct output *o, const struct sw_tensor_spec *spec,
                             struct sw_tensor *ret, struct sw_arena *arena, struct sw_error *err) {
    *ret = (struct sw_tensor){.name = sw_str_of(spec->name)};
    if (!o || (o->dtype != SW_DTYPE_INVALID && (o->dtype != (uint16_t)spec->dtype || o->rank != spec->rank))) {
        return sw_fail(err, SW_E_INTERNAL, "a kept result has another output '%s'", spec->name);
    }
    if (o->dtype == SW_DTYPE_INVALID) {
        return SW_OK;
    }
    const char *data = (const char *)head + o->offset;
    ret->dtype = (enum sw_dtype)o->dtype;
    ret->rank = o->rank;
    memcpy(ret->shape, o->shape, o->rank * sizeof o->shape[0]);
    bool counts = sw_shape_count(ret->shape, ret->rank, &ret->count);
    SW_ASSERT(counts);                   /* checked when it was made or parsed */
    ret->data = (void *)(uintptr_t)data; /* nobody writes to outputs */
    return o->dtype == SW_DTYPE_BYTES ? read_strings(data, ret, arena, err) : SW_OK;
}

sw_status sw_cache_value_read(const struct sw_cache_value *value, const struct sw_tensor_specs *specs,
                              const uint32_t *wanted, size_t wanted_count, struct sw_arena *arena,
                              struct sw_tensor **ret, size_t *ret_count, struct sw_error *err) {
    size_t count = wanted ? wanted_count : specs->count;
    struct sw_tensor *tensors = sw_arena_alloc(arena, (count + 1) * sizeof *tensors);
    if (!tensors) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory for the answer");
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t place = wanted ? wanted[i] : (uint32_t)i;
        SW_ASSERT(place < specs->count);
        SW_TRY(read_output(value->head, find(value->head, place), &specs->items[place], &tensors[i], arena, err));
    }
    *ret = tensors;
    *ret_count = count;
    return SW_OK;
}
