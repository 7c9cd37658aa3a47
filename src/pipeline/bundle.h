/* bundle.yaml: a model and how to serve it. See docs/bundle.md for every key.
 *
 * A bundle is a folder with bundle.yaml, or a bare model file, for which everything is inferred. Unknown keys, wrong
 * kinds and files outside the folder are errors that name the key. */
#ifndef SW_PIPELINE_BUNDLE_H
#define SW_PIPELINE_BUNDLE_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

enum { SW_BUNDLE_PREFERRED_MAX = 8, SW_TIMEOUT_MS_MAX = 3600 * 1000 };

struct sw_bundle {
    char *path; /* as given: folder or file */
    char *dir;  /* folder its file names are relative to */
    char *name; /* [A-Za-z0-9][A-Za-z0-9._-]*, at most 128; default: file or folder name without ending */
    char *model_path;
    char *description; /* may be NULL */
    char *golden_path; /* may be NULL */
    struct {
        int64_t max_batch;                           /* rows; 0: infer */
        int64_t max_delay_us;                        /* -1: default */
        uint32_t preferred[SW_BUNDLE_PREFERRED_MAX]; /* rows, ascending */
        size_t preferred_count;
        int64_t timeout_ms; /* of requests that say none; 0: none */
        int64_t max_queue;  /* requests that may wait; 0: default */
    } batching;
    struct {
        bool enable;     /* keep results and answer equal requests with them */
        uint64_t ttl_ms; /* how long; 0: until evicted */
    } cache;
    unsigned threads;     /* instances.threads; 0: default */
    unsigned instances;   /* instances.count: runs at once; 0: default */
    double weight;        /* instances.weight; default 1 */
    bool memory_arena;    /* instances.memory_arena; default true */
    bool allow_nonfinite; /* output.allow_nonfinite: NaN and infinities pass (JSON null) */
    json_t *input;        /* object with at least kind; NULL: tensor */
    json_t *output;       /* object or list of objects; NULL: none */
    json_t *gates;        /* object; NULL */
    json_t *metadata;     /* object; NULL */
};

SW_MUST_CHECK sw_status sw_bundle_load(const char *path, struct sw_bundle **ret, struct sw_error *err);
void sw_bundle_destroy(struct sw_bundle *bundle);

/* Parses the text of a bundle.yaml (the fuzz target); `dir` is where files would be; they are not opened. */
SW_MUST_CHECK sw_status sw_bundle_parse(struct sw_str text, const char *dir, struct sw_bundle **ret,
                                        struct sw_error *err);

bool sw_model_name_valid(struct sw_str name);

#endif
