/* JSON documents of the server for people, and KEY=VALUE of the command line for the server. */
#ifndef SW_CLI_DOCUMENT_H
#define SW_CLI_DOCUMENT_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

/* KEY=VALUE, KEY=NUMBER: adds to the object. SW_E_USAGE. `remove`: an empty value means null. */
SW_MUST_CHECK sw_status sw_pair_parse_tag(json_t *object, const char *text, bool remove, struct sw_error *err);
SW_MUST_CHECK sw_status sw_pair_parse_metric(json_t *object, const char *text, struct sw_error *err);

/* As one line on the heap (sw_free); NULL for NULL. */
char *sw_json_compact(const json_t *json);

/* Members of a document. Buffers are the caller's. */
const char *sw_json_text(const json_t *object, const char *key); /* "" when it is no text */
/* "2026-11-20T21:51:18.123Z" -> "2026-11-20 21:51:18"; "-" when it is no text. */
const char *sw_json_time(const json_t *object, const char *key, char ret[32]);
/* A number, or "-". */
const char *sw_json_number(const json_t *object, const char *key, char ret[32]);

#endif
