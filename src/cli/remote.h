/* What the commands that talk to a server share: one call after the other, errors told once, results as tables or
 * JSON. */
#ifndef SW_CLI_REMOTE_H
#define SW_CLI_REMOTE_H

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/table.h"

struct sw_remote {
    const struct sw_args *args;
    struct sw_client *client;
    struct sw_answer answer; /* of the last call */
    struct sw_error err;     /* of the last failure */
    bool json;               /* --json */
};

/* Finds the server (--server, SLIPWAY_SERVER, the default), the key and who is asking. Does not connect. */
SW_MUST_CHECK sw_status sw_remote_open(const struct sw_args *args, struct sw_remote *ret);
/* Tells of the failure when `status` is one, releases everything, returns the exit code. */
int sw_remote_close(struct sw_remote *remote, sw_status status);

/* One call; consumes path (heap) and body (may be NULL). The answer lies in remote->answer until the next one. */
SW_MUST_CHECK sw_status sw_remote_call(struct sw_remote *remote, const char *method, char *path, json_t *body);

/* Is this a name (of a model) or a version (number, alias, "live") that can exist? SW_E_USAGE with a message. */
SW_MUST_CHECK sw_status sw_remote_check_model(struct sw_remote *remote, const char *name);
SW_MUST_CHECK sw_status sw_remote_check_version(struct sw_remote *remote, const char *version);

/* Adds the option's value under `key` when it was given. */
void sw_remote_set_option(const struct sw_remote *remote, json_t *body, const char *key, enum sw_option_id id);

/* Gets page after page of a list that the server keeps under `key` until there are `limit` items; `path` may hold a
 * query. *ret is {key: [...], "next_page_token": ...}, a new reference. */
SW_MUST_CHECK sw_status sw_remote_list(struct sw_remote *remote, const char *path, const char *key, size_t limit,
                                       json_t **ret);

#endif
