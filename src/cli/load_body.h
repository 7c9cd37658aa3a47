/* The requests of `slipway load`, from its options. */
#ifndef SW_CLI_LOAD_BODY_H
#define SW_CLI_LOAD_BODY_H

#include <jansson.h>

#include "cli/options.h"
#include "load/request.h"

enum { SW_LOAD_BODIES_SHOWN = 100 };

/* Zeroed memory may be deinited. */
struct sw_load_bodies {
    struct sw_buf *buffers;  /* whole requests; heap */
    struct sw_str *requests; /* the same, borrowed */
    size_t count, capacity;
    uint64_t bytes; /* of bodies */
    json_t *files;  /* [{"file", "bytes", "content_type"}], at most SW_LOAD_BODIES_SHOWN of them */
};

/* One request for each file of --body (files of a folder by name, hidden ones left out), or one without a body. All
 * must fit into memory: SW_E_TOO_LARGE. SW_E_NOT_FOUND, SW_E_IO; SW_E_INVALID_ARGUMENT: an empty folder. */
SW_MUST_CHECK sw_status sw_load_bodies_make(const struct sw_args *args, const struct sw_load_request_parts *parts,
                                            struct sw_load_bodies *ret, struct sw_error *err);
void sw_load_bodies_deinit(struct sw_load_bodies *bodies);

#endif
