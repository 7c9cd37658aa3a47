/* Lanes and answers of the routes that work on the registry.
 *
 * Each lane is an executor with a bounded queue; which one work takes is decided by how long it may take, so that a
 * lane full of slow work does not hold up quick questions (see enum sw_api_lane). */
#include "api/registry_common.h"

#include <stdarg.h>

/* ---- lanes */

struct blocking {
    struct sw_http_exchange *x;
    sw_api_work *work;
};

static void run(void *arg) { /* a thread of the lane */
    struct blocking *job = arg;
    struct sw_http_exchange *x = job->x;
    struct sw_error err;
    if (job->work(x, sw_api_of(x)->options.registry, &err)) {
        sw_http_reply_error(x, &err);
    }
    sw_http_finish(x); /* not ours from here on */
}

sw_status sw_api_need_registry(struct sw_api *api, struct sw_error *err) {
    if (api->options.registry) {
        return SW_OK;
    }
    const char *reason = api->options.registry_reason;
    return sw_fail(err, SW_E_UNAVAILABLE, "there is no registry%s%s", reason ? ": " : "", reason ? reason : "");
}

sw_status sw_api_submit(struct sw_api *api, enum sw_api_lane lane, void (*fn)(void *arg), void *arg,
                        struct sw_error *err) {
    static const char *const waiting[SW_API_LANES] = {
        "requests wait for the registry", "promotions wait for their gates", "uploads wait to be stored or unpacked",
        "downloads wait for their files", "uploads are under way",
    };
    sw_status status = sw_executor_submit(api->lanes[lane], fn, arg, err);
    if (status == SW_E_TOO_MANY_REQUESTS) {
        return sw_fail(err, status, "too many %s already", waiting[lane]);
    }
    return status;
}

enum sw_http_result sw_api_blocking(struct sw_http_exchange *x, enum sw_api_lane lane, sw_api_work *work) {
    struct sw_api *api = sw_api_of(x);
    struct sw_error err;
    struct blocking *job = sw_arena_calloc(&x->arena, 1, sizeof *job);
    if (!job) {
        sw_api_no_memory(&err);
        return sw_api_reply_error(x, &err);
    }
    *job = (struct blocking){x, work};
    if (sw_api_need_registry(api, &err) || sw_api_submit(api, lane, run, job, &err)) {
        return sw_api_reply_error(x, &err);
    }
    return SW_HTTP_ASYNC;
}

/* ---- answers */

void sw_api_reply_doc(struct sw_http_exchange *x, int status, const json_t *doc) {
    struct sw_buf out;
    sw_api_buf(x, &out);
    sw_api_put_json(&out, doc);
    sw_api_reply(x, status, &out);
}

void sw_api_reply_nothing(struct sw_http_exchange *x) {
    sw_http_reply(x, 204, NULL, (struct sw_str){NULL, 0});
}

void sw_api_version_header(struct sw_http_exchange *x, const json_t *doc, const char *key) {
    const json_t *version = json_object_get(doc, key);
    const char *text = json_is_integer(version)
                           ? sw_arena_printf(&x->arena, "%lld", (long long)json_integer_value(version))
                           : NULL;
    if (text) {
        sw_http_add_header(x, "X-Model-Version", text);
    }
}

void sw_api_location(struct sw_http_exchange *x, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *copy = n > 0 && (size_t)n < sizeof text ? sw_arena_strdup(&x->arena, sw_str_of(text)) : NULL;
    if (copy) {
        sw_http_add_header(x, "Location", copy);
    }
}
