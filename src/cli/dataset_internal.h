/* What the files of the data set reader share. */
#ifndef SW_CLI_DATASET_INTERNAL_H
#define SW_CLI_DATASET_INTERNAL_H

#include "cli/dataset.h"

/* A folder without manifest. */
struct sw_dataset_tree {
    char **paths; /* relative to the folder, sorted; owned */
    size_t count, capacity;
    bool labelled; /* the first folder of each path is its label */
    bool binary;   /* clean/ and stego/ */
};

SW_MUST_CHECK sw_status sw_dataset_tree_read(const char *folder, struct sw_dataset_tree *ret, struct sw_error *err);
void sw_dataset_tree_deinit(struct sw_dataset_tree *tree);
/* The sample of paths[at], which it borrows; groups are in the arena. SW_E_UNAVAILABLE: out of memory. */
SW_MUST_CHECK sw_status sw_dataset_tree_sample(const struct sw_dataset_tree *tree, size_t at, struct sw_arena *arena,
                                               struct sw_sample *ret, struct sw_error *err);

/* Adds a group; key and value are borrowed. A fault of the data when there are too many. */
SW_MUST_CHECK sw_status sw_sample_add_group(struct sw_sample *sample, struct sw_arena *arena, struct sw_str key,
                                            struct sw_str value, struct sw_error *err);

/* Adds the group "format" from the ending of the sample's file ("jpeg" for .jpg) unless it has one. */
SW_MUST_CHECK sw_status sw_sample_add_format(struct sw_sample *sample, struct sw_arena *arena, struct sw_error *err);

/* Reads `file` of the folder into the arena. It must lie inside, symbolic links resolved. */
SW_MUST_CHECK sw_status sw_dataset_read_file(const char *folder, struct sw_str file, struct sw_arena *arena,
                                             struct sw_str *ret, struct sw_error *err);

/* The tensors of a request's "inputs". */
SW_MUST_CHECK sw_status sw_dataset_read_request(const char *folder, struct sw_str line,
                                                const struct sw_tensor_specs *inputs, struct sw_arena *arena,
                                                struct sw_tensor **ret, size_t *ret_count, struct sw_error *err);

#endif
