/* The application in a server: its life, POST /inference, and fetching. */
#include "apps/starlight/app.h"

#include "api/mount.h"
#include "api/reply.h"
#include "apps/starlight/app_internal.h"
#include "base/memory.h"
#include "spec/app_routes.h"

enum { APP_MAGIC = 0x53544152 };

/* ---- life */

static sw_status create_fetching(struct sw_starlight_app *app, struct sw_error *err) {
    const struct sw_starlight_app_options *o = &app->options;
    struct sw_fetch_options fetch = o->fetch;
    if (!o->fetches) {
        return SW_OK;
    }
    if (!fetch.hosts || !*fetch.hosts) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "hosts: image_url is allowed, but from no host: name some, or * for any");
    }
    fetch.bytes_max = o->image_bytes_max;
    fetch.clock = o->clock;
    SW_TRY(sw_fetcher_create(&fetch, &app->fetcher, err));
    return sw_executor_create(o->fetch_threads, o->fetch_queue, &app->fetching, err);
}

sw_status sw_starlight_app_create(const struct sw_starlight_app_options *options, struct sw_starlight_app **ret,
                                  struct sw_error *err) {
    struct sw_starlight_app *app = SW_NEW(struct sw_starlight_app);
    app->magic = APP_MAGIC;
    app->options = *options;
    app->options.model = app->model = sw_xstrdup(options->model);
    app_metrics_init(&app->metrics, options->metrics);
    sw_status status = create_fetching(app, err);
    if (status) {
        sw_starlight_app_destroy(app);
        return status;
    }
    *ret = app;
    return SW_OK;
}

void sw_starlight_app_destroy(struct sw_starlight_app *app) {
    if (!app) {
        return;
    }
    SW_ASSERT(app->magic == APP_MAGIC);
    if (app->fetching) {
        sw_executor_destroy(app->fetching);
    }
    sw_fetcher_destroy(app->fetcher);
    app->magic = 0;
    sw_free(app->model);
    sw_free(app);
}

const char *sw_starlight_app_model(const struct sw_starlight_app *app) {
    return app->model;
}

/* ---- fetching */

static void drop_fetched(void *arg) { /* the arena is reset */
    struct inference *c = arg;
    sw_fetched_drop(&c->fetched);
}

static sw_status fetch_image(struct inference *c, struct sw_error *err) {
    SW_TRY(sw_fetch(c->app->fetcher, c->url, c->call.start_ns, c->call.deadline_ns, &c->fetched, err));
    return app_use_image(c, c->fetched.bytes, err);
}

static void run_fetch(void *arg) { /* a thread of the lane */
    struct inference *c = arg;
    struct sw_error err;
    sw_status status = fetch_image(c, &err);
    app_metrics_fetched(&c->app->metrics, status);
    if (status) {
        sw_error_prefix(&err, "image_url");
    }
    sw_api_call_release(&c->call, status ? &err : NULL); /* not ours from here on */
}

static sw_status begin_fetch(struct inference *c, struct sw_error *err) {
    if (!c->app->fetcher) {
        return sw_fail(err, SW_E_UNPROCESSABLE,
                       "image_url: this server fetches no images (starlight.image_url switches it on); send the image "
                       "itself");
    }
    if (!sw_arena_defer(&c->call.x->arena, drop_fetched, c)) {
        return sw_api_no_memory(err);
    }
    sw_api_call_hold(&c->call);
    sw_status status = sw_executor_submit(c->app->fetching, run_fetch, c, err); /* on success no longer ours */
    if (status == SW_E_TOO_MANY_REQUESTS) {
        return sw_fail(err, status, "image_url: too many images are being fetched already");
    }
    return status;
}

/* ---- POST /inference */

static sw_status parse(struct sw_api_call *call, struct sw_error *err) {
    struct inference *c = (struct inference *)call;
    SW_TRY(app_read_request(c, err));
    return c->url.data ? begin_fetch(c, err) : app_use_image(c, c->image, err);
}

static void fail(struct sw_api_call *call, const struct sw_error *err) {
    struct inference *c = (struct inference *)call;
    app_metrics_refused(&c->app->metrics, err->code);
    json_auto_t *details = c->field && sw_status_http(err->code) != 500 ? json_pack("{s:s}", "field", c->field) : NULL;
    if (details) {
        sw_api_reply_details(call->x, err, details);
    } else {
        sw_api_reply_error(call->x, err);
    }
}

/* The caller asked for no model by name: that it is missing is the server's fault. */
static void explain_missing(const char *model, struct sw_str version, struct sw_error *err) {
    if (err->code == SW_E_NOT_FOUND && version.len == 0) {
        sw_fail(err, SW_E_UNAVAILABLE,
                "no model '%s' is served: name its bundle on the command line, push it (slipway model push %s PATH "
                "--promote), or start with --app starlight where the detector is installed",
                model, model);
    }
}

enum sw_http_result sw_starlight_inference(struct sw_http_exchange *x) {
    static const struct sw_api_codec codec = {
        .call_size = sizeof(struct inference), .parse = parse, .encode = app_encode, .fail = fail};
    struct sw_starlight_app *app = sw_api_mount_of(x)->state;
    SW_ASSERT(app->magic == APP_MAGIC);
    struct sw_str version = sw_http_query(x, "model_version");
    struct sw_api_call *call;
    struct sw_error err;
    if (sw_api_call_create(x, &codec, sw_str_of(app->options.model), version, &call, &err)) {
        explain_missing(app->options.model, version, &err);
        app_metrics_refused(&app->metrics, err.code);
        return sw_api_reply_error(x, &err);
    }
    ((struct inference *)call)->app = app;
    return sw_api_call_run(call);
}
