/* See onnx_head.h. Field numbers are those of the ONNX format: ModelProto, GraphProto, ValueInfoProto, TypeProto. */
#include "engine/ort/onnx_head.h"

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

static void read_opset(struct sw_wire *w, uint64_t end, struct onnx_head *head) {
    char domain[ONNX_DOMAIN_MAX] = "";
    int64_t version = 0;
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, end, &f)) {
        if (sw_wire_is_bytes(&f, OPSET_DOMAIN)) {
            sw_wire_text(w, &f, domain, sizeof domain);
        } else if (sw_wire_is_varint(&f, OPSET_VERSION)) {
            version = (int64_t)f.value;
        }
    }
    if (!w->broken && head->opset_count < ONNX_OPSETS_MAX) {
        size_t i = head->opset_count++;
        snprintf(head->opsets[i].domain, sizeof head->opsets[i].domain, "%s", domain[0] ? domain : "ai.onnx");
        head->opsets[i].version = version;
    }
}

/* Does the message that ends at `end` hold a field `outer` that holds a field `inner`? *ret_outer: the first alone. */
static bool has_nested(struct sw_wire *w, uint64_t end, uint32_t outer, uint32_t inner, bool *ret_outer) {
    bool found = false;
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, end, &f)) {
        if (!sw_wire_is_bytes(&f, outer)) {
            continue;
        }
        *ret_outer = true;
        struct sw_wire_field g = {0};
        while (sw_wire_next(w, f.end, &g)) {
            found |= g.number == inner;
        }
    }
    return found;
}

static void read_input(struct sw_wire *w, uint64_t end, struct onnx_head *head) {
    char name[ONNX_NAME_MAX] = "";
    bool shaped = false, tensor = false;
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, end, &f)) {
        if (sw_wire_is_bytes(&f, VALUE_NAME)) {
            sw_wire_text(w, &f, name, sizeof name);
        } else if (sw_wire_is_bytes(&f, VALUE_TYPE)) {
            shaped = has_nested(w, f.end, TYPE_TENSOR, TENSOR_SHAPE, &tensor);
        }
    }
    if (!w->broken && tensor && !shaped && !head->shapeless_input[0]) {
        snprintf(head->shapeless_input, sizeof head->shapeless_input, "%s", name);
    }
}

static void read_graph(struct sw_wire *w, uint64_t end, struct onnx_head *head) {
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, end, &f)) {
        if (sw_wire_is_bytes(&f, GRAPH_INPUT)) {
            read_input(w, f.end, head);
        }
    }
}

void onnx_head_read(struct sw_wire *w, struct onnx_head *ret) {
    *ret = (struct onnx_head){0};
    struct sw_wire_field f = {0};
    while (sw_wire_next(w, w->size, &f)) {
        if (sw_wire_is_varint(&f, MODEL_IR_VERSION)) {
            ret->ir_version = (int64_t)f.value;
        } else if (sw_wire_is_bytes(&f, MODEL_PRODUCER_VERSION)) {
            sw_wire_text(w, &f, ret->producer_version, sizeof ret->producer_version);
        } else if (sw_wire_is_bytes(&f, MODEL_OPSET)) {
            read_opset(w, f.end, ret);
        } else if (sw_wire_is_bytes(&f, MODEL_GRAPH)) {
            ret->has_graph = true;
            read_graph(w, f.end, ret);
        }
    }
    ret->complete = !w->broken && w->at == w->size;
}
