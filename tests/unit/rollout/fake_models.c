#include "fake_models.h"

#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/memory.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct fake_counts counts;
static bool gate_closed;
static size_t passes; /* loads that the closed gate lets through */
static sw_status fetch_status;
static struct sw_map fetched; /* path -> how often it is out, plus 1 */
static char root[64];

/* ---- the engine: only asked which files it takes ---- */

static bool accepts(struct sw_engine *engine, struct sw_str path) {
    return sw_str_ends(path, SW_STR(".model")) || sw_str_ends(path, SW_STR(".onnx"));
}

static const struct sw_engine_ops ops = {.name = "fake", .accepts = accepts};
static struct sw_engine engine = {&ops};
static struct sw_engine *engines[] = {&engine};
struct sw_model_options fake_options = {.engines = engines, .engine_count = 1};

/* ---- the pipeline ---- */

bool sw_model_name_valid(struct sw_str name) {
    return name.len > 0 && name.data[0] != '-' && !memchr(name.data, ' ', name.len);
}

/* bundle.yaml holds a name, or "?" for none, or "broken". */
sw_status sw_bundle_load(const char *path, struct sw_bundle **ret, struct sw_error *err) {
    struct sw_str name = sw_path_base(sw_str_of(path));
    SW_AUTO_FREE char *yaml = sw_path_join(path, "bundle.yaml");
    struct sw_buf text;
    sw_buf_init(&text, 100);
    bool folder = sw_path_is_dir(path);
    if (folder) {
        SW_TRY(sw_file_read(yaml, 100, &text, err));
    }
    if (folder && sw_str_is(sw_buf_str(&text), "broken")) {
        sw_buf_deinit(&text);
        return sw_fail(err, SW_E_MODEL_INVALID, "%s: broken bundle", path);
    }
    struct sw_str rest = name;
    if (!folder) {
        rest = sw_str_split(name, '.', &name);
    } else if (!sw_str_is(sw_buf_str(&text), "?")) {
        name = sw_buf_str(&text);
    }
    (void)rest;
    *ret = SW_NEW(struct sw_bundle);
    (*ret)->name = sw_xstrndup(name.data, name.len);
    sw_buf_deinit(&text);
    return SW_OK;
}

void sw_bundle_destroy(struct sw_bundle *bundle) {
    sw_free(bundle->name);
    sw_free(bundle);
}

static void pass_gate(int64_t version) {
    pthread_mutex_lock(&lock);
    counts.started++;
    counts.version = version;
    pthread_cond_broadcast(&changed);
    while (gate_closed && passes == 0) {
        pthread_cond_wait(&changed, &lock);
    }
    passes -= gate_closed;
    pthread_mutex_unlock(&lock);
}

sw_status sw_model_load(const char *path, const char *name, int64_t version, const struct sw_model_options *options,
                        struct sw_model **ret, struct sw_error *err) {
    pass_gate(version);
    SW_AUTO_FREE char *file = sw_path_is_dir(path) ? sw_path_join(path, "a.model") : sw_xstrdup(path);
    struct sw_buf text;
    SW_TRY(sw_file_read(file, 400, &text, err));
    bool good = sw_str_is(sw_buf_str(&text), "ok");
    if (!good) {
        sw_fail(err, SW_E_MODEL_INVALID, "%s", text.data);
    }
    sw_buf_deinit(&text);
    if (!good) {
        return SW_E_MODEL_INVALID;
    }
    struct sw_model *model = SW_NEW(struct sw_model);
    model->name = sw_xstrdup(name);
    model->version = version;
    atomic_store(&model->references, 1);
    pthread_mutex_lock(&lock);
    counts.loaded++;
    pthread_mutex_unlock(&lock);
    *ret = model;
    return SW_OK;
}

void sw_model_ref(struct sw_model *model) {
    long before = atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    SW_ASSERT(before > 0);
}

void sw_model_unref(struct sw_model *model) {
    if (atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    char thread[16] = "";
    pthread_getname_np(pthread_self(), thread, sizeof thread);
    sw_free(model->name);
    sw_free(model);
    pthread_mutex_lock(&lock);
    counts.unloaded++;
    counts.unloaded_elsewhere += strcmp(thread, "sw-loader") != 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* ---- fetching ---- */

static void change_out(const char *path, int by) {
    pthread_mutex_lock(&lock);
    struct sw_str key = sw_str_of(path);
    uintptr_t out = (uintptr_t)sw_map_get(&fetched, key);
    out = (out ? out : 1) + (uintptr_t)by;
    SW_ASSERT(out >= 1); /* unfetch gets what fetch gave, once */
    sw_map_put(&fetched, key, (void *)out);
    *(by > 0 ? &counts.fetched : &counts.unfetched) += 1;
    pthread_mutex_unlock(&lock);
}

sw_status fake_fetch(void *arg, const char *model, int64_t version, char **ret_path, struct sw_error *err) {
    char name[160];
    snprintf(name, sizeof name, "registry/%s/%lld", model, (long long)version);
    const char *path = folder_path(name);
    pthread_mutex_lock(&lock);
    sw_status status = fetch_status;
    pthread_mutex_unlock(&lock);
    if (status) {
        return sw_fail(err, status, "the artifact store is away");
    }
    if (!sw_path_is_dir(path)) {
        return sw_fail(err, SW_E_NOT_FOUND, "no files");
    }
    change_out(path, 1);
    *ret_path = sw_xstrdup(path);
    return SW_OK;
}

void fake_unfetch(void *arg, const char *path) {
    change_out(path, -1);
}

void fake_fail_fetch(sw_status status) {
    pthread_mutex_lock(&lock);
    fetch_status = status;
    pthread_mutex_unlock(&lock);
}

/* ---- what tests do ---- */

void fake_reset(void) {
    pthread_mutex_lock(&lock);
    counts = (struct fake_counts){0};
    gate_closed = false;
    passes = 0;
    fetch_status = SW_OK;
    pthread_mutex_unlock(&lock);
}

struct fake_counts fake_counts(void) {
    pthread_mutex_lock(&lock);
    struct fake_counts copy = counts;
    pthread_mutex_unlock(&lock);
    return copy;
}

static void set_gate(bool closed) {
    pthread_mutex_lock(&lock);
    gate_closed = closed;
    passes = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void fake_close_gate(void) {
    set_gate(true);
}

void fake_open_gate(void) {
    set_gate(false);
}

void fake_let_through(size_t count) {
    pthread_mutex_lock(&lock);
    passes += count;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_for(const size_t *value, size_t count) {
    pthread_mutex_lock(&lock);
    while (*value < count) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void fake_wait_started(size_t count) {
    wait_for(&counts.started, count);
}

void fake_wait_unloaded(size_t count) {
    wait_for(&counts.unloaded, count);
}

void folder_create(void) {
    snprintf(root, sizeof root, "/tmp/slipway-test-XXXXXX");
    SW_ASSERT(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    return remove(path);
}

void folder_remove(const char *name) {
    int rc = nftw(folder_path(name), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    SW_ASSERT(rc == 0);
}

void folder_destroy(void) {
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&fetched, &i));) {
        SW_ASSERT((uintptr_t)e->value == 1);
    }
    sw_map_deinit(&fetched);
    sw_map_init(&fetched);
    folder_remove("");
}

const char *folder_path(const char *name) {
    static _Thread_local char paths[8][256];
    static _Thread_local unsigned next;
    char *path = paths[next++ % SW_COUNTOF(paths)];
    snprintf(path, sizeof paths[0], "%s%s%s", root, *name ? "/" : "", name);
    return path;
}

void folder_write(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s", folder_path(name));
    for (char *p = strchr(path + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0777);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    SW_ASSERT(f);
    fputs(text, f);
    fclose(f);
}
