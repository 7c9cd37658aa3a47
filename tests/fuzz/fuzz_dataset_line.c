/* Lines of a data set's JSONL file. What is accepted must be whole: a file inside the folder or a request, groups within
 * their bound, valid UTF-8 everywhere. A request is then read for a model of two inputs; the files it may name do not
 * exist. */
#include "cli/dataset_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct sw_str text) {
    SW_ASSERT(!text.data || sw_utf8_valid(text));
}

static void check_sample(const struct sw_sample *sample) {
    SW_ASSERT((sample->file.data != NULL) != (sample->request.data != NULL));
    SW_ASSERT(sample->group_count <= SW_SAMPLE_GROUPS_MAX);
    SW_ASSERT((sample->label.kind == SW_LABEL_NONE) == (sample->label.text.data == NULL));
    check_text(sample->file);
    check_text(sample->payload);
    check_text(sample->method);
    check_text(sample->label.text);
    for (size_t i = 0; i < sample->group_count; i++) {
        SW_ASSERT(sample->groups[i].key.data && sample->groups[i].value.data);
        check_text(sample->groups[i].key);
        check_text(sample->groups[i].value);
    }
}

static void read_request(const struct sw_sample *sample, struct sw_arena *arena, struct sw_error *err) {
    struct sw_tensor_spec items[] = {{.name = (char[]){"x"}, .dtype = SW_DTYPE_FP32, .rank = 2, .shape = {-1, 2}},
                                     {.name = (char[]){"b"}, .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {-1}}};
    const struct sw_tensor_specs specs = {items, 2};
    struct sw_tensor *tensors = NULL;
    size_t count = 0;
    if (sw_dataset_read_request("/nonexistent", sample->request, &specs, arena, &tensors, &count, err) == SW_OK) {
        for (size_t i = 0; i < count; i++) {
            SW_ASSERT(sw_specs_find(&specs, tensors[i].name));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_str line = {(const char *)data, size};
    struct sw_sample sample;
    struct sw_error err = {0};
    struct sw_arena arena;
    sw_arena_init(&arena, 16 << 20, 0);
    sw_status status = sw_sample_parse(line, &arena, &sample, &err);
    if (status) {
        SW_ASSERT(err.message[0] && sw_utf8_valid(sw_str_of(err.message)));
    } else {
        check_sample(&sample);
        SW_ASSERT(!sample.file.data || sw_sample_add_format(&sample, &arena, &err) == SW_OK ||
                  sample.group_count == SW_SAMPLE_GROUPS_MAX);
        if (sample.request.data) {
            read_request(&sample, &arena, &err);
        }
    }
    sw_arena_deinit(&arena);
    return 0;
}
