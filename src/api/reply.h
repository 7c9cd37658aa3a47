/* Answers in JSON, written into the request's arena. For handlers of the API and of applications; the thread that owns
 * the exchange. */
#ifndef SW_API_REPLY_H
#define SW_API_REPLY_H

#include <jansson.h>

#include "base/buf.h"
#include "http/http.h"

#define SW_API_JSON "application/json"
#define SW_API_BINARY "application/octet-stream"

enum { SW_API_ANSWER_MAX = 1 << 30 }; /* bytes of one JSON answer */

/* SW_E_UNAVAILABLE: the request's arena is used up. */
sw_status sw_api_no_memory(struct sw_error *err);
/* A buffer in the arena; when memory runs out `failed` is set, and sw_api_reply answers 503. */
void sw_api_buf(struct sw_http_exchange *x, struct sw_buf *out);
/* Sends a JSON answer; 503 when memory ran out while it was written. */
enum sw_http_result sw_api_reply(struct sw_http_exchange *x, int status, const struct sw_buf *out);
enum sw_http_result sw_api_reply_error(struct sw_http_exchange *x, const struct sw_error *err);
/* An error with details, in the route's shape; details is borrowed. */
void sw_api_reply_details(struct sw_http_exchange *x, const struct sw_error *err, const json_t *details);

/* `"key":` and a JSON string; key is a literal of ours. */
void sw_api_put_string(struct sw_buf *out, const char *key, const char *value);
/* A JSON array of the dimensions; negative ones as they are. */
void sw_api_put_shape(struct sw_buf *out, const int64_t *shape, size_t rank);
void sw_api_put_u64(struct sw_buf *out, uint64_t value);
/* Shortest text that reads back as the same number; null for NaN and infinities. */
void sw_api_put_double(struct sw_buf *out, double value);
/* A document; numbers as short as they can be. Depth is bounded by jansson's parser and by what we build. */
void sw_api_put_json(struct sw_buf *out, const json_t *json);

#endif
