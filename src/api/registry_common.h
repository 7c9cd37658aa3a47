/* What the routes that work on the registry share: where blocking work runs, who asked, what was asked, and answers
 * made of JSON documents. Used by the registry_*.c files and by mlflow*.c.
 *
 * A handler (I/O thread) calls sw_api_blocking, which runs its work function on the executor of a lane and finishes the
 * exchange; until then the exchange and its arena belong to the work function. Strings that these functions give are
 * NUL-terminated, checked, and live as long as the arena. */
#ifndef SW_API_REGISTRY_COMMON_H
#define SW_API_REGISTRY_COMMON_H

#include <jansson.h>

#include "api/api_internal.h"
#include "registry/registry.h"

/* ---- registry_common.c: lanes */

/* On a lane. Sets the answer and returns SW_OK, or fails: then the error is the answer, in the route's shape. */
typedef sw_status sw_api_work(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err);
/* Without a registry: 503 with the reason. Lane full: 429. */
enum sw_http_result sw_api_blocking(struct sw_http_exchange *x, enum sw_api_lane lane, sw_api_work *work);
/* For what is no plain handler: is there a registry, and the lane itself. */
SW_MUST_CHECK sw_status sw_api_need_registry(struct sw_api *api, struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_submit(struct sw_api *api, enum sw_api_lane lane, void (*fn)(void *arg), void *arg,
                                      struct sw_error *err);

/* ---- registry_common.c: answers */

/* A document as the answer; doc is borrowed. */
void sw_api_reply_doc(struct sw_http_exchange *x, int status, const json_t *doc);
/* 204 */
void sw_api_reply_nothing(struct sw_http_exchange *x);
/* X-Model-Version from the integer doc[key]; none when it is none. */
void sw_api_version_header(struct sw_http_exchange *x, const json_t *doc, const char *key);
/* Header Location from printf arguments. */
void sw_api_location(struct sw_http_exchange *x, const char *fmt, ...) SW_PRINTF(2, 3);

/* ---- registry_versions.c, registry_pointers.c: answers that two routes give */

/* 201 with Location. */
void sw_api_reply_created_version(struct sw_http_exchange *x, const char *model, const json_t *doc);
/* Rolls back and answers; version and reason may be NULL. */
SW_MUST_CHECK sw_status sw_api_rollback(struct sw_http_exchange *x, struct sw_registry *registry, const char *model,
                                        const char *version, const char *reason, struct sw_error *err);

/* ---- registry_input.c: who, and parameters of path and query */

/* Header X-Slipway-Actor as "claimed:NAME", else "anonymous"; reason may be NULL. */
SW_MUST_CHECK sw_status sw_api_actor(struct sw_http_exchange *x, const char *reason, struct sw_actor *ret,
                                     struct sw_error *err);
/* A text from outside: UTF-8, no control characters but tab and line ends, at most max bytes. `what` names it. */
SW_MUST_CHECK sw_status sw_api_text(struct sw_http_exchange *x, struct sw_str text, const char *what, size_t max,
                                    const char **ret, struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_model_name(struct sw_http_exchange *x, struct sw_str name, const char **ret,
                                          struct sw_error *err);
/* A number, an alias, or "live". */
SW_MUST_CHECK sw_status sw_api_version_ref(struct sw_http_exchange *x, struct sw_str version, const char **ret,
                                           struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_alias_name(struct sw_http_exchange *x, struct sw_str alias, const char **ret,
                                          struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_stage_name(struct sw_str text, int *ret, struct sw_error *err);
/* Query arguments; absent ones leave *ret alone. */
SW_MUST_CHECK sw_status sw_api_query_text(struct sw_http_exchange *x, const char *name, size_t max, const char **ret,
                                          struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_query_number(struct sw_http_exchange *x, const char *name, uint64_t min, uint64_t max,
                                            uint64_t *ret, struct sw_error *err);
SW_MUST_CHECK sw_status sw_api_query_bool(struct sw_http_exchange *x, const char *name, bool *ret,
                                          struct sw_error *err);
/* RFC 3339, or milliseconds since 1970; *ret in milliseconds. */
SW_MUST_CHECK sw_status sw_api_query_time(struct sw_http_exchange *x, const char *name, uint64_t *ret,
                                          struct sw_error *err);
/* limit and page_token. */
SW_MUST_CHECK sw_status sw_api_query_page(struct sw_http_exchange *x, struct sw_page *ret, struct sw_error *err);

/* ---- registry_body.c: JSON bodies */

enum {
    SW_API_REASON_MAX = 1024,
    SW_API_DESCRIPTION_MAX = 64 << 10,
    SW_API_SOURCE_MAX = 4096,
    SW_API_BODY_MAX = 8 << 20, /* of a route with large_body: a version of 10,000 files fits */
};

/* The body as a JSON object (an empty body: an empty one, where `optional`); *ret is borrowed from the arena. Duplicate
 * keys are refused, and so are bodies with so many values that they would take much more memory than bytes. */
SW_MUST_CHECK sw_status sw_api_body(struct sw_http_exchange *x, bool optional, json_t **ret, struct sw_error *err);

/* A member of an object, and where its value goes. */
struct sw_api_field {
    const char *name;
    enum {
        SW_MEMBER_TEXT,    /* const char **; at most `max` bytes */
        SW_MEMBER_VERSION, /* const char **: an integer or a text, as sw_api_version_ref */
        SW_MEMBER_INT,     /* int64_t *; min to max */
        SW_MEMBER_BOOL,    /* bool * */
        SW_MEMBER_OBJECT,  /* json_t **; borrowed */
        SW_MEMBER_ARRAY,   /* json_t **; borrowed */
        SW_MEMBER_ANY,     /* json_t **; borrowed; null too */
    } kind;
    void *ret;
    bool required;
    int64_t min, max;
};
/* Unknown members and wrong types are refused, naming them. Absent and null ones leave *ret alone. */
SW_MUST_CHECK sw_status sw_api_fields(struct sw_http_exchange *x, const json_t *object,
                                      const struct sw_api_field *fields, size_t count, struct sw_error *err);
/* Body and fields in one. */
SW_MUST_CHECK sw_status sw_api_read(struct sw_http_exchange *x, bool optional, const struct sw_api_field *fields,
                                    size_t count, struct sw_error *err);

#endif
