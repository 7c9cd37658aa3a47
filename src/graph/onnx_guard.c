/* Is it safe to unpack these bytes? Protobuf-c unpacks by recursion, one C stack frame of some KiB a message, and
 * merges a message that appears twice where one is allowed; both are handles for a hostile file. So the wire format is
 * walked first (base/wire), guided by the same descriptors that the unpacking uses, and refused:
 *
 *   - messages nested deeper than DEPTH_MAX (a graph in a node in a graph is three)
 *   - more than MESSAGES_MAX messages, each of which costs memory however short it is
 *   - a single message given twice, which no writer does
 *   - what is malformed or cut off
 *
 * Memory of long fields is bounded by the arena that unpacking allocates from (onnx_read.c). */
#include "base/wire.h"
#include "graph/onnx_internal.h"

enum { DEPTH_MAX = 112, MESSAGES_MAX = 4000000 };

struct guard {
    struct sw_wire wire;
    uint64_t messages;
    struct sw_error *err;
};

static sw_status walk(struct guard *g, const ProtobufCMessageDescriptor *kind, uint64_t end, unsigned depth) {
    uint64_t seen = 0; /* bit of each single message, by its place in the descriptor */
    struct sw_wire_field f = {0};
    if (depth > DEPTH_MAX) {
        return sw_fail(g->err, SW_E_MODEL_INVALID, "messages nested more than %d deep", DEPTH_MAX);
    }
    if (++g->messages > MESSAGES_MAX) {
        return sw_fail(g->err, SW_E_MODEL_INVALID, "more than %d nodes, tensors, attributes and dimensions",
                       MESSAGES_MAX);
    }
    while (sw_wire_next(&g->wire, end, &f)) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(kind, f.number);
        if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE || f.kind != SW_WIRE_BYTES) {
            continue;
        }
        unsigned place = (unsigned)(field - kind->fields);
        SW_ASSERT(place < 64);
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            if (seen & UINT64_C(1) << place) {
                return sw_fail(g->err, SW_E_MODEL_INVALID, "%s.%s is given twice", kind->short_name, field->name);
            }
            seen |= UINT64_C(1) << place;
        }
        SW_TRY(walk(g, field->descriptor, f.end, depth + 1));
    }
    return SW_OK;
}

sw_status sw_onnx_guard(const void *data, size_t len, struct sw_error *err) {
    struct guard g = {.err = err};
    sw_wire_init_memory(&g.wire, data, len);
    SW_TRY(walk(&g, &onnx__model_proto__descriptor, len, 0));
    return g.wire.broken
               ? sw_fail(err, SW_E_MODEL_INVALID, "broken or cut off at byte %llu", (unsigned long long)g.wire.at)
               : SW_OK;
}
