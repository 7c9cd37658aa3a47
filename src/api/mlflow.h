/* What the routes for MLflow's clients share: requests read tolerantly, documents in MLflow's words.
 *
 * Requests. MLflow adds fields from version to version: unknown ones are ignored, known ones are checked as strictly as
 * anywhere. GET routes take them from the query, others from a JSON body.
 *
 * Documents are made of the registry's: times in milliseconds, the version's number as a text, lists of {key, value}
 * for tags, and no empty fields. Errors have the shape SW_ERROR_MLFLOW of the HTTP server. */
#ifndef SW_API_MLFLOW_H
#define SW_API_MLFLOW_H

#include "api/registry_common.h"

/* Where a version's files can be read, as MLflow's clients name it: ".versions/NAME/NUMBER" inside the artifact proxy.
 * It never changes what it stands for, and nothing can be written there. */
#define SW_MLFLOW_SCHEME "mlflow-artifacts:"
#define SW_MLFLOW_FOLDER ".versions"

/* ---- mlflow_common.c: requests */

enum { SW_MLFLOW_TEXT_MAX = 4096 };

/* The members of the JSON body that `fields` names; others are ignored. x->state is the parsed body afterwards. */
SW_MUST_CHECK sw_status sw_mlflow_read(struct sw_http_exchange *x, const struct sw_api_field *fields, size_t count,
                                       struct sw_error *err);
/* A field of the request that must be there, from the query of a GET, else from the body; checked as what it is. */
SW_MUST_CHECK sw_status sw_mlflow_model_name(struct sw_http_exchange *x, const char *key, const char **ret,
                                             struct sw_error *err);
SW_MUST_CHECK sw_status sw_mlflow_alias_name(struct sw_http_exchange *x, const char **ret, struct sw_error *err);
SW_MUST_CHECK sw_status sw_mlflow_version_number(struct sw_http_exchange *x, const char **ret, struct sw_error *err);
/* [{"key", "value"}, ...] of the body's member `tags` as an object of texts, the arena's; NULL when there is none. */
SW_MUST_CHECK sw_status sw_mlflow_tags(struct sw_http_exchange *x, json_t **ret, struct sw_error *err);
/* {"tags": {key: value or null}} of a request with key and, when it `sets` one, value: changes for the registry; the
 * arena's. */
SW_MUST_CHECK sw_status sw_mlflow_tag_change(struct sw_http_exchange *x, bool sets, json_t **ret, struct sw_error *err);
/* {"description": text of the body, or null}, the arena's. */
SW_MUST_CHECK sw_status sw_mlflow_description_change(struct sw_http_exchange *x, json_t **ret, struct sw_error *err);
/* json becomes the arena's, also when this fails. */
SW_MUST_CHECK sw_status sw_mlflow_keep(struct sw_http_exchange *x, json_t *json, struct sw_error *err);

/* ---- mlflow_common.c: answers */

void sw_mlflow_reply_empty(struct sw_http_exchange *x);                           /* {} */
void sw_mlflow_reply(struct sw_http_exchange *x, const char *key, json_t *value); /* {key: value}; consumed */
/* An error that has a name of its own in MLflow; err->code goes to the log. */
void sw_mlflow_reply_error(struct sw_http_exchange *x, int status, const char *error_code, const struct sw_error *err,
                           const char *message);
/* For SW_E_CONFLICT of what makes a name: 400 RESOURCE_ALREADY_EXISTS, which clients look for; else `status` itself. */
SW_MUST_CHECK sw_status sw_mlflow_exists(struct sw_http_exchange *x, sw_status status, const struct sw_error *err);

/* ---- mlflow_common.c: documents; new references */

/* model: a model of the registry; versions: documents of the newest version of each of its stages; NULL: none. */
json_t *sw_mlflow_model(const json_t *model, const json_t *versions);
json_t *sw_mlflow_version(const json_t *version);
/* The array's versions, each as above. */
json_t *sw_mlflow_versions(const json_t *versions);
/* {"registered_model": model with its newest versions} */
SW_MUST_CHECK sw_status sw_mlflow_reply_model(struct sw_http_exchange *x, struct sw_registry *registry,
                                              const json_t *model, struct sw_error *err);
/* {"model_version": that version} */
SW_MUST_CHECK sw_status sw_mlflow_reply_version(struct sw_http_exchange *x, struct sw_registry *registry,
                                                const char *model, const char *version, struct sw_error *err);

#endif
