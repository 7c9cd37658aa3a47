/* Lists, names, nodes and attributes of a graph. */
#include "base/memory.h"
#include "graph/onnx_internal.h"

void *sw_onnx_take(struct sw_arena *arena, size_t size) {
    void *memory = sw_arena_calloc(arena, 1, size ? size : 1);
    if (!memory) {
        fputs("slipway: out of memory\n", stderr);
        abort();
    }
    return memory;
}

char *sw_onnx_strdup(struct sw_arena *arena, const char *s) {
    size_t len = strlen(sw_onnx_text(s));
    char *copy = sw_onnx_take(arena, len + 1);
    memcpy(copy, sw_onnx_text(s), len);
    return copy;
}

bool sw_onnx_is_default_domain(const char *domain) {
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

bool sw_onnx_has_op(const Onnx__NodeProto *node, const char *op) {
    return sw_onnx_is_default_domain(node->domain) && strcmp(sw_onnx_text(node->op_type), op) == 0;
}

const char *sw_onnx_input(const Onnx__NodeProto *node, size_t index) {
    return index < node->n_input ? sw_onnx_text(node->input[index]) : "";
}

void sw_onnx_push(struct sw_onnx_list *list, struct sw_arena *arena, void *item) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 32;
        void **items = sw_onnx_take(arena, capacity * sizeof *items);
        if (list->count) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
}

int64_t sw_onnx_opset(const Onnx__ModelProto *model) {
    for (size_t i = 0; i < model->n_opset_import; i++) {
        if (sw_onnx_is_default_domain(model->opset_import[i]->domain)) {
            return model->opset_import[i]->version;
        }
    }
    return 0;
}

/* --- attributes --------------------------------------------------------------------------------------------------- */

Onnx__AttributeProto *sw_onnx_attribute(const Onnx__NodeProto *node, const char *name) {
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (strcmp(sw_onnx_text(node->attribute[i]->name), name) == 0) {
            return node->attribute[i];
        }
    }
    return NULL;
}

int64_t sw_onnx_attribute_int(const Onnx__NodeProto *node, const char *name, int64_t fallback) {
    const Onnx__AttributeProto *a = sw_onnx_attribute(node, name);
    return a && a->has_i ? a->i : fallback;
}

float sw_onnx_attribute_float(const Onnx__NodeProto *node, const char *name, float fallback) {
    const Onnx__AttributeProto *a = sw_onnx_attribute(node, name);
    return a && a->has_f ? a->f : fallback;
}

void sw_onnx_remove_attribute(Onnx__NodeProto *node, const char *name) {
    size_t kept = 0;
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (strcmp(sw_onnx_text(node->attribute[i]->name), name) != 0) {
            node->attribute[kept++] = node->attribute[i];
        }
    }
    node->n_attribute = kept;
}

void sw_onnx_set_int(struct sw_arena *arena, Onnx__NodeProto *node, const char *name, int64_t value) {
    sw_onnx_remove_attribute(node, name);
    Onnx__AttributeProto *a = sw_onnx_take(arena, sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = sw_onnx_strdup(arena, name);
    a->has_type = a->has_i = true;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->i = value;
    Onnx__AttributeProto **list = sw_onnx_take(arena, (node->n_attribute + 1) * sizeof(Onnx__AttributeProto *));
    if (node->n_attribute) {
        memcpy(list, node->attribute, node->n_attribute * sizeof(Onnx__AttributeProto *));
    }
    list[node->n_attribute++] = a;
    node->attribute = list;
}

void sw_onnx_each_body(const Onnx__NodeProto *node, void (*fn)(void *arg, Onnx__GraphProto *body), void *arg) {
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__AttributeProto *a = node->attribute[i];
        if (a->g) {
            fn(arg, a->g);
        }
        for (size_t k = 0; k < a->n_graphs; k++) {
            fn(arg, a->graphs[k]);
        }
    }
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static char **copy_names(struct sw_arena *arena, const char *const *names, size_t *ret_count) {
    size_t count = 0;
    while (names[count]) {
        count++;
    }
    char **copy = sw_onnx_take(arena, (count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = sw_onnx_strdup(arena, names[i]);
    }
    *ret_count = count;
    return copy;
}

void sw_onnx_set_inputs(struct sw_arena *arena, Onnx__NodeProto *node, const char *const *inputs) {
    node->input = copy_names(arena, inputs, &node->n_input);
}

Onnx__NodeProto *sw_onnx_new_node(struct sw_arena *arena, const char *op, const char *const *inputs,
                                  const char *const *outputs) {
    Onnx__NodeProto *node = sw_onnx_take(arena, sizeof *node);
    onnx__node_proto__init(node);
    node->op_type = sw_onnx_strdup(arena, op);
    node->input = copy_names(arena, inputs, &node->n_input);
    node->output = copy_names(arena, outputs, &node->n_output);
    return node;
}

/* --- initializers ------------------------------------------------------------------------------------------------- */

void sw_onnx_add_initializer(struct sw_onnx *onnx, Onnx__TensorProto *tensor) {
    Onnx__GraphProto *graph = onnx->proto->graph;
    bool ours = onnx->initializers && onnx->initializers == graph->initializer;
    size_t capacity = ours ? onnx->initializer_capacity : graph->n_initializer;
    struct sw_onnx_list list = {(void **)graph->initializer, graph->n_initializer, capacity};
    sw_onnx_push(&list, &onnx->arena, tensor);
    graph->initializer = (Onnx__TensorProto **)list.items;
    graph->n_initializer = list.count;
    onnx->initializers = list.items;
    onnx->initializer_capacity = list.capacity;
}

static size_t remove_values(Onnx__ValueInfoProto **list, size_t count, const char *name) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(sw_onnx_text(list[i]->name), name) != 0) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

void sw_onnx_remove_initializer(Onnx__GraphProto *graph, const char *name) {
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        if (strcmp(sw_onnx_text(graph->initializer[i]->name), name) != 0) {
            graph->initializer[kept++] = graph->initializer[i];
        }
    }
    graph->n_initializer = kept;
    graph->n_input = remove_values(graph->input, graph->n_input, name);
    graph->n_value_info = remove_values(graph->value_info, graph->n_value_info, name);
    kept = 0;
    for (size_t i = 0; i < graph->n_quantization_annotation; i++) {
        if (strcmp(sw_onnx_text(graph->quantization_annotation[i]->tensor_name), name) != 0) {
            graph->quantization_annotation[kept++] = graph->quantization_annotation[i];
        }
    }
    graph->n_quantization_annotation = kept;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void use_name(struct sw_onnx_names *names, const char *name) {
    if (name && *name) {
        sw_map_put(&names->used, sw_str_of(name), names);
    }
}

static void use_graph(void *arg, Onnx__GraphProto *graph) {
    struct sw_onnx_names *names = arg;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        use_name(names, graph->initializer[i]->name);
    }
    for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
        use_name(names, graph->sparse_initializer[i]->values ? graph->sparse_initializer[i]->values->name : NULL);
    }
    for (size_t i = 0; i < graph->n_input; i++) {
        use_name(names, graph->input[i]->name);
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        use_name(names, graph->output[i]->name);
    }
    for (size_t i = 0; i < graph->n_value_info; i++) {
        use_name(names, graph->value_info[i]->name);
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        for (size_t k = 0; k < node->n_input; k++) {
            use_name(names, node->input[k]);
        }
        for (size_t k = 0; k < node->n_output; k++) {
            use_name(names, node->output[k]);
        }
        sw_onnx_each_body(node, use_graph, names);
    }
}

void sw_onnx_names_init(struct sw_onnx_names *names, struct sw_onnx *onnx) {
    *names = (struct sw_onnx_names){.arena = &onnx->arena};
    sw_map_init(&names->used);
    use_graph(names, onnx->proto->graph);
}

void sw_onnx_names_deinit(struct sw_onnx_names *names) {
    sw_map_deinit(&names->used);
}

/* q0 .. q9, qa .. qz, q10 ...: each name stands in the file two times or more, so they are short. */
char *sw_onnx_fresh_name(struct sw_onnx_names *names) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    for (;;) {
        char text[24], *p = text + sizeof text;
        uint64_t number = names->next++;
        *--p = '\0';
        do {
            *--p = digits[number % 36];
            number /= 36;
        } while (number);
        *--p = 'q';
        if (!sw_map_get(&names->used, sw_str_of(p))) {
            use_name(names, p);
            return sw_onnx_strdup(names->arena, p);
        }
    }
}
