#include "managed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/arena.h"
#include "base/buf.h"

struct sw_repository *managed_repository;
struct sw_clock managed_clock;
static char attachment;

static void on_ready(void *arg, struct sw_model *model) {
    model->attachment = arg;
}

void managed_create(uint64_t keep_previous_ms, uint64_t memory_max) {
    fake_reset();
    folder_create();
    sw_clock_manual_init(&managed_clock, UINT64_C(1000000000000));
    const struct sw_repository_options options = {
        .model = fake_options,
        .on_ready = on_ready,
        .on_ready_arg = &attachment,
        .fetch = fake_fetch,
        .unfetch = fake_unfetch,
        .keep_previous_ms = keep_previous_ms,
        .memory_max = memory_max,
        .clock = &managed_clock,
    };
    assert_int_equal(sw_repository_create(&options, &managed_repository, NULL), SW_OK);
}

void managed_destroy(void) {
    fake_open_gate();
    sw_repository_destroy(managed_repository);
    managed_repository = NULL;
    struct fake_counts counts = fake_counts();
    assert_int_equal(counts.loaded, counts.unloaded);
    assert_int_equal(counts.fetched, counts.unfetched);
    folder_destroy();
}

void managed_files(const char *model, int64_t version, const char *text) {
    char name[200];
    snprintf(name, sizeof name, "registry/%s/%lld/a.model", model, (long long)version);
    folder_write(name, text);
}

/* ---- wishes ---- */

static struct sw_served_version *find(struct sw_served_model *wanted, int64_t number) {
    for (size_t i = 0; i < wanted->version_count; i++) {
        if (wanted->versions[i].number == number) {
            return &wanted->versions[i];
        }
    }
    return NULL;
}

static int64_t number_of(struct sw_str text) {
    int64_t number;
    assert_true(sw_parse_i64(text, &number));
    return number;
}

static void parse_version(struct sw_served_model *wanted, struct sw_str word, struct sw_arena *arena) {
    struct sw_str digest = sw_str_split(word, '#', &word), bytes = sw_str_split(word, '/', &word);
    bool pinned = sw_str_ends(word, SW_STR("!"));
    word.len -= pinned;
    wanted->versions[wanted->version_count++] = (struct sw_served_version){
        .number = number_of(word),
        .digest = digest.len ? sw_arena_strdup(arena, digest) : NULL,
        .bytes = bytes.len ? (uint64_t)number_of(bytes) : 0,
        .pinned = pinned,
    };
}

static void parse_word(struct sw_served_model *wanted, struct sw_str word, struct sw_arena *arena) {
    struct sw_str head, value = sw_str_split(word, '=', &head), alias, target = sw_str_split(word, ':', &alias);
    if (sw_str_is(word, "deleted")) {
        wanted->deleted = true;
    } else if (sw_str_is(head, "live")) {
        wanted->live = number_of(value);
    } else if (sw_str_is(head, "previous")) {
        wanted->previous = number_of(value);
    } else if (target.data) {
        wanted->aliases[wanted->alias_count++] = (struct sw_served_alias){sw_arena_strdup(arena, alias),
                                                                          number_of(target)};
    } else {
        parse_version(wanted, word, arena);
    }
}

struct sw_served_model managed_parse(const char *model, const char *wish, struct sw_arena *arena) {
    struct sw_served_model wanted = {.name = sw_arena_strdup(arena, sw_str_of(model))};
    wanted.versions = sw_arena_calloc(arena, 32, sizeof *wanted.versions);
    wanted.aliases = sw_arena_calloc(arena, 32, sizeof *wanted.aliases);
    for (struct sw_str rest = sw_str_of(wish), word; rest.len;) {
        rest = sw_str_split(rest, ' ', &word);
        if (word.len) {
            parse_word(&wanted, word, arena);
        }
    }
    if (wanted.live && !find(&wanted, wanted.live)) {
        wanted.versions[wanted.version_count++] = (struct sw_served_version){.number = wanted.live, .pinned = true};
    }
    return wanted;
}

struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    sw_status status;
    struct sw_error err;
};

static void note(void *arg, sw_status status, const struct sw_error *err) {
    struct outcome *outcome = arg;
    pthread_mutex_lock(&outcome->lock);
    outcome->done = true;
    outcome->status = status;
    outcome->err = *err;
    pthread_cond_signal(&outcome->changed);
    pthread_mutex_unlock(&outcome->lock);
}

static sw_status wait_for(struct outcome *outcome, struct sw_error *err) {
    pthread_mutex_lock(&outcome->lock);
    while (!outcome->done) {
        pthread_cond_wait(&outcome->changed, &outcome->lock);
    }
    pthread_mutex_unlock(&outcome->lock);
    if (outcome->status && err) {
        *err = outcome->err;
    }
    pthread_cond_destroy(&outcome->changed);
    pthread_mutex_destroy(&outcome->lock);
    return outcome->status;
}

sw_status managed_follow(const char *model, const char *wish, struct sw_error *err) {
    struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    struct sw_served_model wanted = managed_parse(model, wish, &arena);
    sw_status status = sw_repository_follow(managed_repository, &wanted, note, &outcome, err);
    sw_arena_deinit(&arena);
    return status ? status : wait_for(&outcome, err);
}

void managed_begin(const char *model, const char *wish) {
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    struct sw_served_model wanted = managed_parse(model, wish, &arena);
    assert_int_equal(sw_repository_follow(managed_repository, &wanted, NULL, NULL, NULL), SW_OK);
    sw_arena_deinit(&arena);
}

void managed_want(const char *model, const char *wish) {
    struct sw_error err = {0};
    sw_status status = managed_follow(model, wish, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, SW_OK);
}

void managed_settle(void) {
    /* Twice: what the loader does after a job (asked for, expired) ends before it takes the next one. */
    assert_int_equal(managed_follow("nothing.of.this.name", "deleted", NULL), SW_OK);
    assert_int_equal(managed_follow("nothing.of.this.name", "deleted", NULL), SW_OK);
}

/* ---- what requests get ---- */

struct sw_model *managed_acquire(const char *model, const char *version) {
    struct sw_model *got = NULL;
    struct sw_error err = {0};
    sw_status status = sw_repository_acquire(managed_repository, sw_str_of(model), sw_str_of(version), &got, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, SW_OK);
    assert_ptr_equal(got->attachment, &attachment);
    return got;
}

void managed_release(struct sw_model *model) {
    sw_repository_release(managed_repository, model);
}

int64_t managed_version_of(const char *model, const char *version, struct sw_error *err) {
    struct sw_model *got;
    sw_status status = sw_repository_acquire(managed_repository, sw_str_of(model), sw_str_of(version), &got, err);
    if (status) {
        return -(int64_t)status;
    }
    int64_t number = got->version;
    assert_string_equal(got->name, model);
    managed_release(got);
    return number;
}

void managed_assert_version(const char *model, const char *version, int64_t expected) {
    struct sw_error err = {0};
    int64_t got = managed_version_of(model, version, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(got, expected);
}

void managed_assert_refused(const char *model, const char *version, sw_status status, const char *message) {
    struct sw_error err = {0};
    assert_int_equal(managed_version_of(model, version, &err), -(int64_t)status);
    assert_string_equal(err.message, message);
}

static void append_row(void *arg, const struct sw_repository_row *row) {
    assert_int_equal(row->model != NULL, row->state == SW_MODEL_READY);
    sw_buf_printf(arg, "%s/%lld %s%s%s%s\n", row->name, (long long)row->version, sw_model_state_name(row->state),
                  row->live ? " live" : "", row->reason[0] ? " " : "", row->reason);
}

void managed_assert_index(const char *expected) {
    struct sw_buf text;
    sw_buf_init(&text, 100000);
    SW_LIT(&text, "");
    sw_repository_each(managed_repository, append_row, &text);
    assert_string_equal(text.data, expected);
    sw_buf_deinit(&text);
}

static void add_bytes(void *arg, const struct sw_repository_row *row) {
    *(uint64_t *)arg += row->state == SW_MODEL_READY ? row->bytes : 0;
}

uint64_t managed_loaded_bytes(void) {
    uint64_t bytes = 0;
    sw_repository_each(managed_repository, add_bytes, &bytes);
    return bytes;
}
