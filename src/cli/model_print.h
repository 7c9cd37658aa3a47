/* Documents of the registry as text for people. */
#ifndef SW_CLI_MODEL_PRINT_H
#define SW_CLI_MODEL_PRINT_H

#include <jansson.h>

#include "cli/remote.h"

/* The gates of a promotion as a table; nothing when there are none. */
void sw_print_gates(const json_t *gates);
/* "a=1 b=2", sorted; "" when empty. */
void sw_format_pairs(const json_t *object, struct sw_buf *out);
/* "champion, challenger" of an array, or of an object's keys with their versions: "champion=3". */
void sw_format_aliases(const json_t *aliases, struct sw_buf *out);
/* A line "  name    text" of a description, left out when the text is empty. */
void sw_print_member(const char *name, const char *text);

/* Promotes with the given body (consumed) and tells what came of it, gates included: the command's result when
 * --json is not given. With --json nothing is printed; the document, or that of the failure, is in remote->answer. */
SW_MUST_CHECK sw_status sw_remote_promote(struct sw_remote *remote, const char *name, json_t *body);

#endif
