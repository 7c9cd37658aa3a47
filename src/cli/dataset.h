/* Labelled samples: what `evaluate`, `compare`, `calibrate` and `quantize` run a model on.
 *
 * A data set is one of
 *   - a JSONL file, or a folder with manifest.jsonl: one JSON object a line, either
 *       {"file": "png/0001.png", "is_stego": true, "method": "alpha", "format": "png", "payload": "..."}   or
 *       {"inputs": [OIP tensor, or {"name": "image", "file": "7.png"}, ...], "label": "cat"}
 *     Files are relative to the folder of the JSONL file and lie inside it, symbolic links resolved. The label stands
 *     under "is_stego" (true, false) or, without that key, under "label" (true, false, an integer or a text). "method",
 *     "payload", "broken" have a meaning (below); every other text, number or boolean is a group by which results can
 *     be split; null is as if the key were absent; lists and objects are checked and passed over;
 *   - a folder of clean/ and stego/METHOD/, or of one folder a label; folders below those are walked. "format" comes
 *     from the file's ending;
 *   - a folder of files: samples without a label.
 * Names that begin with a dot are passed over in folders.
 *
 * Nothing but the names of a folder's files is held in memory: lines and files are read one at a time. Order: that of
 * the lines; of paths as strcmp sorts them.
 *
 * Faults of the data are SW_E_INVALID_ARGUMENT (exit code 2) and name file and line. */
#ifndef SW_CLI_DATASET_H
#define SW_CLI_DATASET_H

#include "tensor/tensor.h"

enum {
    SW_DATASET_LINE_BYTES_MAX = 64 << 20,
    SW_DATASET_FILE_BYTES_MAX = 256 << 20,
    SW_DATASET_FILES_MAX = 10000000, /* of a folder without manifest */
    SW_DATASET_DEPTH_MAX = 32,       /* of its folders */
    SW_SAMPLE_GROUPS_MAX = 64
};

enum sw_label_kind { SW_LABEL_NONE, SW_LABEL_BOOL, SW_LABEL_INTEGER, SW_LABEL_TEXT };

struct sw_label {
    enum sw_label_kind kind;
    bool positive;      /* of BOOL */
    struct sw_str text; /* "true", "7", "cat"; empty when NONE */
};

struct sw_sample_group {
    struct sw_str key, value; /* numbers and booleans as JSON writes them */
};

/* One sample. Strings live in the arena given to sw_dataset_next, or as long as the data set; absent: data NULL. */
struct sw_sample {
    uint64_t index;        /* 0, 1, ... in the data set's order */
    uint64_t line;         /* of the JSONL file, from 1; 0: a folder without manifest */
    struct sw_str file;    /* relative to the data set's folder; absent: a request */
    struct sw_str request; /* absent: a file; else the line, whose "inputs" sw_sample_inputs reads */
    struct sw_label label;
    struct sw_str method;           /* class of a positive: "method" of the manifest, METHOD of stego/METHOD/ */
    struct sw_str payload;          /* the hidden text that an extraction must give */
    bool broken;                    /* the file is meant to be undecodable */
    struct sw_sample_group *groups; /* every key with a text, number or boolean but "file" and "payload", so with
                                       "method", "label"; "format" also where it was taken from the file's ending */
    size_t group_count;
};

struct sw_dataset;

/* SW_E_NOT_FOUND, SW_E_IO, or a fault of the data (an empty folder is one). */
SW_MUST_CHECK sw_status sw_dataset_open(const char *path, struct sw_dataset **ret, struct sw_error *err);
void sw_dataset_close(struct sw_dataset *dataset); /* NULL: nothing */

/* The next sample; *ret_more false at the end, and *ret then untouched. Any number of threads may call it at once, each
 * with its own arena; each sample is given once. After an error the data set is of no further use. */
SW_MUST_CHECK sw_status sw_dataset_next(struct sw_dataset *dataset, struct sw_arena *arena, struct sw_sample *ret,
                                        bool *ret_more, struct sw_error *err);
/* From the beginning; no other thread may use it then. */
SW_MUST_CHECK sw_status sw_dataset_rewind(struct sw_dataset *dataset, struct sw_error *err);

/* How much of it was given out, 0 to 1: for progress. */
double sw_dataset_progress(struct sw_dataset *dataset);

/* "DATA/png/0001.png", or "DATA/manifest.jsonl line 7" for a request: for messages. In the arena; never NULL. */
const char *sw_sample_where(const struct sw_dataset *dataset, const struct sw_sample *sample, struct sw_arena *arena);

/* Value of a group, or data NULL. */
struct sw_str sw_sample_group(const struct sw_sample *sample, struct sw_str key);

/* The sample's tensors for a model of these inputs, in the arena: a file's bytes as the one BYTES input, or the tensors
 * of the request. Several models may read the same sample. SW_E_INVALID_ARGUMENT when they do not fit, SW_E_NOT_FOUND,
 * SW_E_TOO_LARGE or SW_E_IO of the file; file and line in the message. */
SW_MUST_CHECK sw_status sw_sample_inputs(const struct sw_dataset *dataset, const struct sw_sample *sample,
                                         const struct sw_tensor_specs *inputs, struct sw_arena *arena,
                                         struct sw_tensor **ret, size_t *ret_count, struct sw_error *err);

/* One line of a JSONL file (the fuzz target): fills ret but for index, line and what comes from a file's name. Strings
 * borrow from the line or the arena. */
SW_MUST_CHECK sw_status sw_sample_parse(struct sw_str line, struct sw_arena *arena, struct sw_sample *ret,
                                        struct sw_error *err);

#endif
