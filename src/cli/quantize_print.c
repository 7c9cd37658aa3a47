/* What quantize did, for people and for programs. */
#include <jansson.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/quantize_internal.h"
#include "cli/table.h"

static double ratio(const struct sw_quantization *q) {
    return q->bytes_before ? (double)q->bytes_after / (double)q->bytes_before : 0;
}

/* --- for people --------------------------------------------------------------------------------------------------- */

static void print_head(const struct sw_quantization *q) {
    const struct sw_quantize_report *report = q->report;
    printf("%s: %s", q->model->name, q->mode);
    if (q->options.mode == SW_QUANTIZE_QDQ) {
        char range[64];
        snprintf(range, sizeof range, q->options.percentile < 100 ? "%.10g %% of values" : "least to greatest value",
                 q->options.percentile);
        printf(", calibrated on %zu sample%s (%s)", report->samples, report->samples == 1 ? "" : "s", range);
    }
    if (report->opset_before != report->opset_after) {
        printf(", operator set %lld raised to %lld", (long long)report->opset_before, (long long)report->opset_after);
    }
    printf("\n\n");
}

static void print_nodes(const struct sw_quantization *q) {
    struct sw_table table;
    sw_table_init(&table, "NODE", "OPERATOR", "WEIGHTS", "RESULT", (const char *)NULL);
    for (size_t i = 0; i < q->report->count; i++) {
        const struct sw_quantize_node *node = &q->report->nodes[i];
        char result[256];
        snprintf(result, sizeof result, "%s%s%s", node->reason ? "left: " : "INT8",
                 !node->reason && node->note ? "; " : "",
                 node->reason ? node->reason
                 : node->note ? node->note
                              : "");
        sw_table_cell(&table, *node->name ? node->name : NULL);
        sw_table_cell(&table, node->op);
        sw_table_cell(&table, *node->shape ? node->shape : NULL);
        sw_table_cell(&table, result);
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static void print_golden(const struct sw_quantization *q) {
    const struct sw_quantized_golden *golden = &q->golden;
    if (golden->count == 0) {
        return;
    }
    if (!golden->is_rewritten) {
        printf("golden      all %zu answers still pass\n", golden->count);
        return;
    }
    printf("golden      %zu answers rewritten: they are the new model's now; %zu of them with another label\n",
           golden->count, golden->label_changes);
    printf("            (%s)\n", golden->first);
}

void sw_quantize_print(const struct sw_quantization *q) {
    char before[32], after[32];
    print_head(q);
    print_nodes(q);
    printf("\nquantised   %zu of %zu", q->report->quantized, q->report->count);
    if (q->report->folded) {
        printf("; %zu BatchNormalization, Mul or Add folded into weights", q->report->folded);
    }
    printf("\nsize        %s -> %s bytes, %.3f of it\n", sw_cli_thousands(q->bytes_before, before),
           sw_cli_thousands(q->bytes_after, after), ratio(q));
    for (size_t i = 0; i < q->difference_count; i++) {
        const struct sw_difference *d = &q->differences[i];
        SW_AUTO_FREE char *name = sw_text_clean(d->name);
        if (d->count) {
            printf("output      %s: moved by at most %.3g, %.3g on average (values are %.3g on average)\n", name,
                   d->max, d->mean, d->scale);
        }
    }
    for (size_t i = 0; i < q->report->dropped_input_count; i++) {
        SW_AUTO_FREE char *name = sw_text_clean(q->report->dropped_inputs[i]);
        printf("input       %s is none any more: it was a weight that callers could replace\n", name);
    }
    print_golden(q);
    printf("written     %s\n", q->out);
}

/* --- for programs ------------------------------------------------------------------------------------------------- */

static json_t *nodes_json(const struct sw_quantize_report *report) {
    json_t *list = json_array();
    for (size_t i = 0; i < report->count; i++) {
        const struct sw_quantize_node *node = &report->nodes[i];
        SW_AUTO_FREE char *name = sw_text_clean(node->name);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b, s:s?, s:s?}", "name", name, "operator", node->op,
                                              "weights", node->shape, "quantized", !node->reason, "reason",
                                              node->reason, "note", node->note));
    }
    return list;
}

static json_t *outputs_json(const struct sw_quantization *q) {
    json_t *list = json_array();
    for (size_t i = 0; i < q->difference_count; i++) {
        const struct sw_difference *d = &q->differences[i];
        SW_AUTO_FREE char *name = sw_text_clean(d->name);
        json_array_append_new(list, json_pack("{s:s, s:I, s:f, s:f, s:f}", "name", name, "elements",
                                              (json_int_t)d->count, "max_difference", d->max, "mean_difference",
                                              d->mean, "mean_magnitude", d->scale));
    }
    return list;
}

static json_t *golden_json(const struct sw_quantized_golden *golden) {
    if (golden->count == 0) {
        return json_null();
    }
    return json_pack("{s:I, s:b, s:I, s:s?}", "answers", (json_int_t)golden->count, "rewritten", golden->is_rewritten,
                     "label_changes", (json_int_t)golden->label_changes, "first_mismatch",
                     golden->is_rewritten ? golden->first : NULL);
}

void sw_quantize_print_json(const struct sw_quantization *q) {
    const struct sw_quantize_report *report = q->report;
    json_t *dropped = json_array();
    for (size_t i = 0; i < report->dropped_input_count; i++) {
        SW_AUTO_FREE char *name = sw_text_clean(report->dropped_inputs[i]);
        json_array_append_new(dropped, json_string(name));
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o}", "model",
        q->model->name, "input", q->in, "output", q->out, "mode", q->mode, "method", q->method, "percentile",
        q->options.percentile, "samples", (json_int_t)report->samples, "opset_before", (json_int_t)report->opset_before,
        "opset_after", (json_int_t)report->opset_after, "nodes", nodes_json(report), "node_count",
        (json_int_t)report->count, "quantized", (json_int_t)report->quantized, "folded", (json_int_t)report->folded,
        "bytes_before", (json_int_t)q->bytes_before, "bytes_after", (json_int_t)q->bytes_after, "size_ratio", ratio(q),
        "outputs", outputs_json(q), "dropped_inputs", dropped, "golden", golden_json(&q->golden));
    sw_cli_print_json(stdout, json);
    json_decref(json);
}
