#include "fake_source.h"

#include <pthread.h>

#include "base/arena.h"
#include "managed.h"

enum { MODELS_MAX = 16 };

static struct {
    pthread_mutex_t lock;
    struct {
        char name[16], wish[100];
        int64_t revision; /* of its last change */
    } models[MODELS_MAX];
    size_t count;
    int64_t revision;
    sw_status failure; /* SW_OK: none */
    size_t looks;
} source = {.lock = PTHREAD_MUTEX_INITIALIZER};

static sw_status changes(void *arg, int64_t since, struct sw_arena *arena, struct sw_served_model **ret,
                         size_t *ret_count, int64_t *ret_revision, struct sw_error *err) {
    SW_ASSERT(arg == &source);
    struct sw_served_model *models = sw_arena_calloc(arena, MODELS_MAX, sizeof *models);
    size_t count = 0;
    pthread_mutex_lock(&source.lock);
    source.looks++;
    sw_status status = source.failure;
    for (size_t i = 0; i < source.count; i++) {
        bool deleted = strcmp(source.models[i].wish, "deleted") == 0;
        if (source.models[i].revision > since && !(since == 0 && deleted)) {
            models[count++] = managed_parse(source.models[i].name, source.models[i].wish, arena);
        }
    }
    int64_t revision = source.revision;
    pthread_mutex_unlock(&source.lock);
    if (status) {
        return sw_fail(err, status, "the database is away");
    }
    *ret = models;
    *ret_count = count;
    *ret_revision = revision;
    return SW_OK;
}

void fake_source_change(const char *name, const char *wish) {
    pthread_mutex_lock(&source.lock);
    size_t at = 0;
    while (at < source.count && strcmp(source.models[at].name, name) != 0) {
        at++;
    }
    SW_ASSERT(at < MODELS_MAX);
    source.count += at == source.count;
    snprintf(source.models[at].name, sizeof source.models[at].name, "%s", name);
    snprintf(source.models[at].wish, sizeof source.models[at].wish, "%s", wish);
    source.models[at].revision = ++source.revision;
    pthread_mutex_unlock(&source.lock);
}

void fake_source_fail(sw_status status) {
    pthread_mutex_lock(&source.lock);
    source.failure = status;
    pthread_mutex_unlock(&source.lock);
}

size_t fake_source_looks(void) {
    pthread_mutex_lock(&source.lock);
    size_t count = source.looks;
    pthread_mutex_unlock(&source.lock);
    return count;
}

struct sw_serving_source fake_source(void) {
    return (struct sw_serving_source){&source, changes};
}

void fake_source_reset(void) {
    pthread_mutex_lock(&source.lock);
    source.count = 0;
    source.revision = 0;
    source.failure = SW_OK;
    source.looks = 0;
    pthread_mutex_unlock(&source.lock);
}

void fake_source_go_back(size_t models, int64_t next_revision) {
    pthread_mutex_lock(&source.lock);
    source.count = models;
    source.revision = next_revision - 1;
    pthread_mutex_unlock(&source.lock);
}
