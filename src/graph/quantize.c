/* See quantize.h and quantize_internal.h: the order of the stages, and what they share. */
#include <math.h>

#include "base/memory.h"
#include "graph/opset.h"
#include "graph/quantize_internal.h"

/* --- what the stages share ---------------------------------------------------------------------------------------- */

const char *sw_node_label(const Onnx__NodeProto *node) {
    const char *name = sw_onnx_text(node->name);
    return *name || !node->n_output ? name : sw_onnx_text(node->output[0]);
}

bool sw_quantizer_is_excluded(const struct sw_quantizer *q, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < q->options->exclude_count; i++) {
        const char *name = q->options->exclude[i];
        if (strcmp(sw_onnx_text(node->name), name) == 0 ||
            (node->n_output && strcmp(sw_onnx_text(node->output[0]), name) == 0)) {
            return true;
        }
    }
    return false;
}

sw_status sw_quantizer_reindex(struct sw_quantizer *q) {
    if (q->has_index) {
        sw_onnx_index_deinit(&q->index);
    }
    q->has_index = true;
    return sw_onnx_index_init(&q->index, q->onnx, q->err);
}

Onnx__NodeProto *sw_quantizer_emit(struct sw_quantizer *q, const char *op, const char *const *inputs,
                                   const char *const *outputs) {
    Onnx__NodeProto *node = sw_onnx_new_node(&q->onnx->arena, op, inputs, outputs);
    sw_onnx_push(&q->nodes, &q->scratch, node);
    return node;
}

const char *sw_quantizer_shared(struct sw_quantizer *q, int32_t type, const int64_t *dims, size_t rank,
                                const void *data, size_t size) {
    size_t len = sizeof type + rank * sizeof *dims + size;
    char *key = sw_onnx_take(&q->scratch, len);
    memcpy(key, &type, sizeof type);
    if (rank) {
        memcpy(key + sizeof type, dims, rank * sizeof *dims);
    }
    memcpy(key + sizeof type + rank * sizeof *dims, data, size);
    struct sw_str content = {key, len};
    Onnx__TensorProto *tensor = sw_map_get(&q->shared, content);
    if (!tensor) {
        void *copy = sw_onnx_take(&q->onnx->arena, size);
        memcpy(copy, data, size);
        tensor = sw_onnx_new_tensor(&q->onnx->arena, sw_onnx_fresh_name(&q->names), type, dims, rank, copy, size);
        sw_onnx_add_initializer(q->onnx, tensor);
        sw_map_put(&q->shared, content, tensor);
    }
    return tensor->name;
}

/* --- clean-up ----------------------------------------------------------------------------------------------------- */

static void remember_initializers(struct sw_quantizer *q) {
    const Onnx__GraphProto *graph = q->onnx->proto->graph;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const char *name = sw_onnx_text(graph->initializer[i]->name);
        const struct sw_onnx_value *value = sw_onnx_find(&q->index, name);
        if (value && (value->use_count || value->is_captured)) {
            sw_map_put(&q->used_before, sw_str_of(name), q);
        }
    }
}

static bool is_unused(const struct sw_quantizer *q, const char *name) {
    const struct sw_onnx_value *value = sw_onnx_find(&q->index, name);
    return !value || (!value->use_count && !value->is_output && !value->is_captured);
}

/* Constant, Identity and Transpose nodes that led to weights. Backwards, so that a chain goes in one turn. */
static void remove_idle_nodes(struct sw_quantizer *q) {
    static const char *const idle[] = {"Constant", "Identity", "Transpose"};
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    for (size_t i = graph->n_node; i-- > 0;) {
        Onnx__NodeProto *node = graph->node[i];
        bool removable = node->n_output == 1 && is_unused(q, sw_onnx_text(node->output[0]));
        bool known = false;
        for (size_t k = 0; k < SW_COUNTOF(idle); k++) {
            known = known || sw_onnx_has_op(node, idle[k]);
        }
        if (!removable || !known) {
            continue;
        }
        for (size_t k = 0; k < node->n_input; k++) {
            struct sw_onnx_value *value = sw_onnx_find(&q->index, sw_onnx_text(node->input[k]));
            if (value && value->use_count) {
                value->use_count--;
            }
        }
        graph->node[i] = NULL;
    }
    sw_graph_compact(graph);
}

static bool is_named(Onnx__ValueInfoProto *const *list, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(sw_onnx_text(list[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

static void drop_initializer(struct sw_quantizer *q, const char *name) {
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    struct sw_quantize_report *report = q->report;
    /* before version 4 of the format every initializer had to be an input as well: that says nothing */
    if (q->ir_before >= 4 && is_named(graph->input, graph->n_input, name)) {
        const char **list = sw_onnx_take(&report->arena, (report->dropped_input_count + 1) * sizeof(const char *));
        if (report->dropped_input_count) {
            memcpy(list, report->dropped_inputs, report->dropped_input_count * sizeof(const char *));
        }
        list[report->dropped_input_count++] = sw_onnx_strdup(&report->arena, name);
        report->dropped_inputs = list;
    }
    sw_onnx_remove_initializer(graph, name);
}

/* What had a use and has none any more: the float weights. */
static void remove_idle_initializers(struct sw_quantizer *q) {
    const struct sw_map_entry *entry;
    for (size_t i = 0; (entry = sw_map_next(&q->used_before, &i));) {
        if (is_unused(q, entry->key)) {
            drop_initializer(q, entry->key);
        }
    }
    /* and those that folding made on the way */
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const char *name = sw_onnx_text(graph->initializer[i]->name);
        bool idle = sw_map_get(&q->made, sw_str_of(name)) && is_unused(q, name);
        if (!idle) {
            graph->initializer[kept++] = graph->initializer[i];
        }
    }
    graph->n_initializer = kept;
}

/* value_info of values that are no more. */
static void remove_idle_value_info(struct sw_quantizer *q) {
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_value_info; i++) {
        const struct sw_onnx_value *value = sw_onnx_find(&q->index, sw_onnx_text(graph->value_info[i]->name));
        if (value && (value->producer || value->initializer || value->is_input || value->is_captured)) {
            graph->value_info[kept++] = graph->value_info[i];
        }
    }
    graph->n_value_info = kept;
}

static sw_status clean_up(struct sw_quantizer *q) {
    SW_TRY(sw_quantizer_reindex(q));
    remove_idle_nodes(q);
    SW_TRY(sw_quantizer_reindex(q));
    remove_idle_initializers(q);
    SW_TRY(sw_quantizer_reindex(q));
    remove_idle_value_info(q);
    return SW_OK;
}

/* --- the stages --------------------------------------------------------------------------------------------------- */

/* Operator set that the new nodes need. */
static int64_t needed_opset(const struct sw_quantize_options *options) {
    if (options->mode == SW_QUANTIZE_DYNAMIC) {
        return 11;
    }
    return options->per_tensor ? 10 : 13;
}

/* Before version 4 of the format initializers had to be inputs, and were constants none the less. From then on an
 * initializer that is an input is one that callers may override. */
static void forget_initialized_inputs(struct sw_quantizer *q) {
    Onnx__GraphProto *graph = q->onnx->proto->graph;
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_input; i++) {
        const struct sw_onnx_value *value = sw_onnx_find(&q->index, sw_onnx_text(graph->input[i]->name));
        if (!value || !value->initializer) {
            graph->input[kept++] = graph->input[i];
        }
    }
    graph->n_input = kept;
}

static sw_status raise_versions(struct sw_quantizer *q) {
    Onnx__ModelProto *model = q->onnx->proto;
    SW_TRY(sw_onnx_raise_opset(q->onnx, needed_opset(q->options), q->err));
    q->report->opset_after = sw_onnx_opset(model);
    if (q->ir_before < 4) {
        forget_initialized_inputs(q);
        model->has_ir_version = true;
        model->ir_version = model->ir_version < 4 ? 4 : model->ir_version;
    }
    sw_onnx_names_deinit(&q->names); /* raising gave names of its own */
    sw_onnx_names_init(&q->names, q->onnx);
    return SW_OK;
}

static sw_status run_stages(struct sw_quantizer *q, struct sw_engine *engine, const struct sw_session_options *session,
                            const struct sw_samples *samples) {
    Onnx__ModelProto *model = q->onnx->proto;
    SW_TRY(sw_quantizer_reindex(q));
    SW_TRY(sw_quantizer_check_excluded(q));
    remember_initializers(q);
    q->report->opset_before = sw_onnx_opset(model);
    q->ir_before = model->ir_version;
    SW_TRY(sw_quantizer_fold(q));
    SW_TRY(sw_quantizer_plan(q));
    SW_TRY(raise_versions(q));
    SW_TRY(sw_quantizer_reindex(q));
    SW_TRY(q->options->mode == SW_QUANTIZE_DYNAMIC ? sw_quantizer_dynamic(q)
                                                   : sw_quantizer_qdq(q, engine, session, samples));
    return clean_up(q);
}

static void quantizer_init(struct sw_quantizer *q) {
    sw_map_init(&q->used_before);
    sw_map_init(&q->made);
    sw_map_init(&q->shared);
    sw_map_init(&q->weights);
    sw_arena_init(&q->scratch, 0, 0);
    sw_onnx_names_init(&q->names, q->onnx);
}

static void quantizer_deinit(struct sw_quantizer *q) {
    if (q->has_index) {
        sw_onnx_index_deinit(&q->index);
    }
    sw_onnx_names_deinit(&q->names);
    sw_map_deinit(&q->used_before);
    sw_map_deinit(&q->made);
    sw_map_deinit(&q->shared);
    sw_map_deinit(&q->weights);
    sw_arena_deinit(&q->scratch);
}

sw_status sw_quantize(struct sw_onnx *onnx, const struct sw_quantize_options *options, struct sw_engine *engine,
                      const struct sw_session_options *session, const struct sw_samples *samples,
                      struct sw_quantize_report **ret, struct sw_error *err) {
    SW_ASSERT(options->mode == SW_QUANTIZE_DYNAMIC || samples);
    struct sw_quantize_report *report = SW_NEW(struct sw_quantize_report);
    sw_arena_init(&report->arena, 0, 0);
    struct sw_quantizer q = {.onnx = onnx, .options = options, .report = report, .err = err};
    quantizer_init(&q);
    sw_status status = run_stages(&q, engine, session, samples);
    quantizer_deinit(&q);
    if (status) {
        sw_quantize_report_destroy(report);
        return status;
    }
    *ret = report;
    return SW_OK;
}

void sw_quantize_report_destroy(struct sw_quantize_report *report) {
    if (report) {
        sw_arena_deinit(&report->arena);
        sw_free(report);
    }
}
