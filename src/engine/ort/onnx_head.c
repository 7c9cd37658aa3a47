/* See onnx_head.h. Field numbers are those of the ONNX format: ModelProto, GraphProto, ValueInfoProto, TypeProto.
 *
 * Invariant: a walker never reads at or beyond the end of the message it is in, and messages only nest inward. */
#include "engine/ort/onnx_head.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    OPSET_DOMAIN = 1,
    OPSET_VERSION = 2,
    GRAPH_INPUT = 11,
    VALUE_NAME = 1,
    VALUE_TYPE = 2,
    TYPE_TENSOR = 1,
    TENSOR_SHAPE = 2
};

struct walker {
    FILE *file;
    uint64_t at;
    bool broken;
};

struct field {
    uint32_t number;
    uint32_t wire;
    uint64_t value; /* of a varint; the end of a message or string */
};

static uint64_t read_varint(struct walker *w, uint64_t end) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        int c = w->at < end ? getc_unlocked(w->file) : EOF;
        if (c == EOF) {
            break;
        }
        w->at++;
        value |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            return value;
        }
    }
    w->broken = true;
    return 0;
}

static void skip_to(struct walker *w, uint64_t target) {
    if (target != w->at && fseeko(w->file, (off_t)target, SEEK_SET) != 0) {
        w->broken = true;
    }
    w->at = target;
}

/* The next field of the message that ends at `end`; false at its end or when it is malformed. A field of bytes is left
 * unread: the caller walks into it or skips to its end. */
static bool next_field(struct walker *w, uint64_t end, struct field *ret) {
    if (w->broken || w->at >= end) {
        return false;
    }
    uint64_t tag = read_varint(w, end);
    *ret = (struct field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    uint64_t size = 0;
    switch (ret->wire) {
    case WIRE_VARINT: ret->value = read_varint(w, end); return !w->broken;
    case WIRE_FIXED64: size = 8; break;
    case WIRE_FIXED32: size = 4; break;
    case WIRE_BYTES: size = read_varint(w, end); break;
    default: w->broken = true;
    }
    if (w->broken || ret->number == 0 || size > end - w->at) {
        w->broken = true;
        return false;
    }
    ret->value = w->at + size;
    if (ret->wire != WIRE_BYTES) {
        skip_to(w, ret->value);
    }
    return true;
}

/* Copies the string field, cut to the size; a string with a NUL inside reads as what stands before it. */
static void read_string(struct walker *w, const struct field *field, char *ret, size_t size) {
    uint64_t length = field->value - w->at;
    size_t n = length < size ? (size_t)length : size - 1;
    size_t got = fread(ret, 1, n, w->file);
    ret[got] = '\0';
    w->at += got;
    if (got < n) {
        w->broken = true;
    } else {
        skip_to(w, field->value);
    }
}

static void read_opset(struct walker *w, uint64_t end, struct onnx_head *head) {
    char domain[ONNX_DOMAIN_MAX] = "";
    int64_t version = 0;
    struct field f;
    while (next_field(w, end, &f)) {
        if (f.wire == WIRE_BYTES && f.number == OPSET_DOMAIN) {
            read_string(w, &f, domain, sizeof domain);
        } else if (f.wire == WIRE_VARINT && f.number == OPSET_VERSION) {
            version = (int64_t)f.value;
        } else if (f.wire == WIRE_BYTES) {
            skip_to(w, f.value);
        }
    }
    if (!w->broken && head->opset_count < ONNX_OPSETS_MAX) {
        size_t i = head->opset_count++;
        snprintf(head->opsets[i].domain, sizeof head->opsets[i].domain, "%s", domain[0] ? domain : "ai.onnx");
        head->opsets[i].version = version;
    }
}

/* Does the message that ends at `end` hold a field `outer` that holds a field `inner`? *ret_outer: the first alone. */
static bool has_nested(struct walker *w, uint64_t end, uint32_t outer, uint32_t inner, bool *ret_outer) {
    bool found = false;
    struct field f, g;
    while (next_field(w, end, &f)) {
        if (f.wire != WIRE_BYTES) {
            continue;
        }
        if (f.number == outer) {
            *ret_outer = true;
            while (next_field(w, f.value, &g)) {
                found |= g.number == inner;
                if (g.wire == WIRE_BYTES) {
                    skip_to(w, g.value);
                }
            }
        } else {
            skip_to(w, f.value);
        }
    }
    return found;
}

static void read_input(struct walker *w, uint64_t end, struct onnx_head *head) {
    char name[ONNX_NAME_MAX] = "";
    bool shaped = false, tensor = false;
    struct field f;
    while (next_field(w, end, &f)) {
        if (f.wire == WIRE_BYTES && f.number == VALUE_NAME) {
            read_string(w, &f, name, sizeof name);
        } else if (f.wire == WIRE_BYTES && f.number == VALUE_TYPE) {
            shaped = has_nested(w, f.value, TYPE_TENSOR, TENSOR_SHAPE, &tensor);
        } else if (f.wire == WIRE_BYTES) {
            skip_to(w, f.value);
        }
    }
    if (!w->broken && tensor && !shaped && !head->shapeless_input[0]) {
        snprintf(head->shapeless_input, sizeof head->shapeless_input, "%s", name);
    }
}

static void read_graph(struct walker *w, uint64_t end, struct onnx_head *head) {
    struct field f;
    while (next_field(w, end, &f)) {
        if (f.wire == WIRE_BYTES && f.number == GRAPH_INPUT) {
            read_input(w, f.value, head);
        } else if (f.wire == WIRE_BYTES) {
            skip_to(w, f.value);
        }
    }
}

void onnx_head_read(FILE *file, struct onnx_head *ret) {
    *ret = (struct onnx_head){0};
    off_t size;
    if (fseeko(file, 0, SEEK_END) != 0 || (size = ftello(file)) < 0 || fseeko(file, 0, SEEK_SET) != 0) {
        return;
    }
    struct walker w = {.file = file};
    uint64_t end = (uint64_t)size;
    struct field f;
    while (next_field(&w, end, &f)) {
        if (f.wire == WIRE_VARINT && f.number == MODEL_IR_VERSION) {
            ret->ir_version = (int64_t)f.value;
        } else if (f.wire != WIRE_BYTES) {
            continue;
        } else if (f.number == MODEL_PRODUCER_VERSION) {
            read_string(&w, &f, ret->producer_version, sizeof ret->producer_version);
        } else if (f.number == MODEL_OPSET) {
            read_opset(&w, f.value, ret);
        } else if (f.number == MODEL_GRAPH) {
            ret->has_graph = true;
            read_graph(&w, f.value, ret);
        } else {
            skip_to(&w, f.value);
        }
    }
    ret->complete = !w.broken && w.at == end;
}
