#include "harness_registry.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/thread.h"

struct sw_registry *harness_registry;

static struct sw_store *store;
static struct sw_artifacts *artifacts;
static struct sw_executor *control;
static struct sw_serving *serving;
static pthread_mutex_t serving_lock = PTHREAD_MUTEX_INITIALIZER; /* watcher against start and stop */

static void must(sw_status status, const struct sw_error *err) {
    if (status) {
        fail_msg("%s: %s", sw_status_name(status), err->message);
    }
}

static void open_store(const struct harness_options *options, const char *folder) {
    struct sw_store_options store_options;
    struct sw_error err;
    char url[256];
    snprintf(url, sizeof url, "sqlite:%s/registry.db", folder);
    sw_store_options_default(&store_options);
    store_options.url = options->store_url ? options->store_url : url;
    store_options.clock = sw_clock_system();
    must(sw_store_open(&store_options, &store, &err), &err);
}

static void open_artifacts(const char *folder) {
    struct sw_artifacts_options artifact_options;
    struct sw_error err;
    char directory[256];
    snprintf(directory, sizeof directory, "%s/artifacts", folder);
    sw_artifacts_options_default(&artifact_options);
    artifact_options.directory = directory;
    artifact_options.upload_max = 4 << 20;
    artifact_options.clock = sw_clock_system();
    must(sw_artifacts_open(&artifact_options, &artifacts, &err), &err);
}

void harness_registry_open(const struct harness_options *options, const char *folder,
                           const struct sw_model_options *model, struct sw_executor **ret_control) {
    struct sw_error err;
    char directory[256];
    if (!options->registry) {
        return;
    }
    open_store(options, folder);
    open_artifacts(folder);
    snprintf(directory, sizeof directory, "%s/registry", folder);
    assert_int_equal(mkdir(directory, 0755), 0);
    struct sw_registry_options registry_options = {
        .store = store,
        .artifacts = artifacts,
        .model = *model,
        .directory = directory,
        .clock = sw_clock_system(),
        .gate_iterations = 3,
    };
    must(sw_registry_open(&registry_options, &harness_registry, &err), &err);
    must(sw_executor_create(4, 64, &control, &err), &err);
    *ret_control = control;
}

/* ---- serving */

static sw_status fetch(void *arg, const char *model, int64_t version, char **ret_path, struct sw_error *err) {
    return sw_registry_materialise(harness_registry, model, version, ret_path, err);
}

static void unfetch(void *arg, const char *path) {
    sw_registry_dematerialise(harness_registry, path);
}

static sw_status changes(void *arg, int64_t since, struct sw_arena *arena, struct sw_served_model **ret,
                         size_t *ret_count, int64_t *ret_revision, struct sw_error *err) {
    static const struct sw_version_policy fallback = {.kind = SW_POLICY_LIVE};
    return sw_registry_serving(harness_registry, since, &fallback, arena, ret, ret_count, ret_revision, err);
}

void harness_registry_hooks(struct sw_repository_options *options) {
    options->fetch = fetch;
    options->unfetch = unfetch;
}

static void on_change(void *arg, int64_t revision) { /* the store's watcher, which outlives serving */
    pthread_mutex_lock(&serving_lock);
    if (serving) {
        sw_serving_wake(serving);
    }
    pthread_mutex_unlock(&serving_lock);
}

struct sw_serving *harness_registry_serve(const struct harness_options *options, struct sw_repository *repository) {
    struct sw_error err;
    if (!harness_registry || options->no_serving) {
        return NULL;
    }
    struct sw_serving_options serving_options = {
        .repository = repository,
        .source = {.changes = changes},
        .retry_min_ms = 10,
        .retry_max_ms = 1000,
        .clock = sw_clock_system(),
    };
    pthread_mutex_lock(&serving_lock);
    must(sw_serving_start(&serving_options, &serving, &err), &err);
    pthread_mutex_unlock(&serving_lock);
    must(sw_store_watch(store, on_change, NULL, &err), &err);
    return serving;
}

void harness_follow(void) {
    struct sw_error err;
    struct sw_tx *tx;
    must(sw_store_begin(store, SW_TX_READ, &tx, &err), &err);
    int64_t revision = sw_tx_revision(tx);
    sw_tx_rollback(tx);
    while (sw_serving_revision(serving) < revision) {
        sched_yield();
    }
}

static struct sw_tx *writer;

void harness_lock(void) {
    struct sw_error err;
    must(sw_store_begin(store, SW_TX_WRITE, &writer, &err), &err);
}

void harness_unlock(void) {
    sw_tx_rollback(writer);
}

/* ---- pushing */

const char *harness_upload(const char *text) {
    static char sha256[SW_DIGEST_HEX + 1];
    char body[64], path[128];
    snprintf(body, sizeof body, "{\"size\":%zu}", strlen(text));
    struct answer a = harness_post("/api/v1/uploads", body);
    assert_int_equal(a.status, 201);
    json_t *upload = harness_json(&a);
    snprintf(path, sizeof path, "/api/v1/uploads/%s?offset=0", json_string_value(json_object_get(upload, "id")));
    json_decref(upload);
    a = harness_send("PUT", path, NULL, text, strlen(text));
    assert_int_equal(a.status, 200);
    json_t *done = harness_json(&a);
    assert_true(json_is_true(json_object_get(done, "complete")));
    snprintf(sha256, sizeof sha256, "%s", json_string_value(json_object_get(done, "sha256")));
    json_decref(done);
    return sha256;
}

static void add_file(json_t *files, const char *path, const char *text) {
    json_array_append_new(files, json_pack("{s:s, s:s, s:I}", "path", path, "sha256", harness_upload(text), "size",
                                           (json_int_t)strlen(text)));
}

int harness_push(const char *model, const char *bundle, const char *text) {
    char path[256];
    json_t *files = json_array();
    add_file(files, "model.fake.json", text);
    if (bundle) {
        add_file(files, "bundle.yaml", bundle);
    }
    json_t *request = json_pack("{s:o}", "files", files);
    char *body = json_dumps(request, 0);
    snprintf(path, sizeof path, "/api/v1/models/%s/versions", model);
    struct answer a = harness_post(path, body);
    free(body);
    json_decref(request);
    if (a.status != 201) {
        fail_msg("push of %s: %d %s", model, a.status, a.body);
    }
    json_t *version = harness_json(&a);
    int number = (int)json_integer_value(json_object_get(version, "version"));
    json_decref(version);
    return number;
}

/* ---- end */

void harness_registry_stop_serving(void) {
    sw_executor_destroy(control);
    control = NULL;
    pthread_mutex_lock(&serving_lock);
    struct sw_serving *ending = serving;
    serving = NULL;
    pthread_mutex_unlock(&serving_lock);
    sw_serving_stop(ending);
}

void harness_registry_close(void) {
    sw_registry_close(harness_registry);
    sw_artifacts_close(artifacts);
    sw_store_close(store);
    harness_registry = NULL;
    artifacts = NULL;
    store = NULL;
}
