/* `slipway quantize`, between its files: quantize.c (the command), quantize_bundle.c (a new bundle), quantize_golden.c
 * (its golden answers), quantize_print.c. */
#ifndef SW_CLI_QUANTIZE_INTERNAL_H
#define SW_CLI_QUANTIZE_INTERNAL_H

#include "cli/engines.h"
#include "cli/samples.h"
#include "graph/quantize.h"

/* What became of the golden answers of a bundle. */
struct sw_quantized_golden {
    size_t count;                     /* requests; 0: the bundle has none */
    bool is_rewritten;                /* one no longer passed; now they hold the new model's answers */
    size_t label_changes;             /* requests of which an output that is no float is another one */
    char first[SW_ERROR_MESSAGE_MAX]; /* the first that did not pass */
};

struct sw_quantization {
    const struct sw_args *args;
    const char *in, *out;
    struct sw_cli_engines engines;
    struct sw_model *model;        /* of IN */
    struct sw_sample_set *samples; /* NULL: none given */
    struct sw_quantize_options options;
    const char *mode, *method; /* as given */
    struct sw_onnx *onnx;
    struct sw_quantize_report *report;
    struct sw_difference *differences;
    size_t difference_count;
    uint64_t bytes_before, bytes_after;
    struct sw_quantized_golden golden;
};

/* OUT as a folder: the bundle's files with the new model in place of the old, whole or not at all. `out` does not
 * exist, is empty, or, with force, is replaced. SW_E_CONFLICT, SW_E_IO; what loading the new bundle reports. */
SW_MUST_CHECK sw_status sw_quantize_write_bundle(struct sw_quantization *q, bool force, struct sw_error *err);

/* Checks the golden answers of the new bundle, and replaces them when one does not pass. */
SW_MUST_CHECK sw_status sw_quantize_golden(const struct sw_model *model, struct sw_quantized_golden *ret,
                                           struct sw_error *err);

void sw_quantize_print(const struct sw_quantization *q);
void sw_quantize_print_json(const struct sw_quantization *q);

#endif
