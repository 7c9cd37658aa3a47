/* What a bundle is, by what is in its files: the part of a cached result's key that says which model and which pipeline
 * made it. Every file of the folder counts (graph, external weights, bundle.yaml, labels, calibration, golden answers),
 * because any of them may be read by a step; so a changed comment makes a cache begin anew, which is the safe side. */
#ifndef SW_PIPELINE_IDENTITY_H
#define SW_PIPELINE_IDENTITY_H

#include "artifact/artifact.h"
#include "pipeline/bundle.h"

enum { SW_IDENTITY_FILES_MAX = 10000 };

struct sw_identity {
    struct sw_digest files; /* SHA-256 over path, size and bytes of each, by path */
    struct sw_digest state; /* over path, size, inode and times: tells a change at the cost of a look */
};

/* Reads the whole folder of a bundle that is one. SW_E_IO; SW_E_MODEL_INVALID: more than SW_IDENTITY_FILES_MAX files, or
 * links that go round. */
SW_MUST_CHECK sw_status sw_identity_make(const struct sw_bundle *bundle, struct sw_identity *ret, struct sw_error *err);
/* Have the files changed meanwhile? Then what was loaded is neither the one nor the other: SW_E_MODEL_INVALID. */
SW_MUST_CHECK sw_status sw_identity_check(const struct sw_bundle *bundle, const struct sw_identity *identity,
                                          struct sw_error *err);

#endif
