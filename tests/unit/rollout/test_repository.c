/* The repository over fake models: states, versions, reload, unload, names, readers while models change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>

#include "base/buf.h"
#include "base/thread.h"
#include "fake_models.h"
#include "rollout/repository.h"

static struct sw_repository *repository;
static size_t ready_calls;

static void on_ready(void *arg, struct sw_model *model) {
    assert_ptr_equal(arg, &ready_calls);
    ready_calls++;
    model->attachment = &ready_calls;
}

static int setup(void **state) {
    fake_reset();
    folder_create();
    ready_calls = 0;
    const struct sw_repository_options options = {
        .model = fake_options, .on_ready = on_ready, .on_ready_arg = &ready_calls};
    return sw_repository_create(&options, &repository, NULL) != SW_OK;
}

static int teardown(void **state) {
    sw_repository_destroy(repository);
    struct fake_counts counts = fake_counts();
    assert_int_equal(counts.loaded, counts.unloaded);
    folder_destroy();
    return 0;
}

static const char *add(const char *name) {
    const char *known = NULL;
    struct sw_error err = {0};
    sw_status status = sw_repository_add(repository, folder_path(name), &known, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, SW_OK);
    return known;
}

static sw_status load(const char *name, struct sw_error *err) {
    return sw_repository_load_wait(repository, sw_str_of(name), err);
}

static struct sw_model *acquire(const char *name, const char *version) {
    struct sw_model *model = NULL;
    struct sw_error err = {0};
    sw_status status = sw_repository_acquire(repository, sw_str_of(name), sw_str_of(version), &model, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, SW_OK);
    return model;
}

static void assert_refused(const char *name, const char *version, sw_status status, const char *message) {
    struct sw_model *model = NULL;
    struct sw_error err = {0};
    assert_int_equal(sw_repository_acquire(repository, sw_str_of(name), sw_str_of(version), &model, &err), status);
    assert_string_equal(err.message, message);
    assert_null(model);
}

static void append_row(void *arg, const struct sw_repository_row *row) {
    assert_int_equal(row->model != NULL, row->state == SW_MODEL_READY);
    sw_buf_printf(arg, "%s/%lld %s%s%s\n", row->name, (long long)row->version, sw_model_state_name(row->state),
                  row->reason[0] ? " " : "", row->reason);
}

/* Compares the index; every folder of the test in it reads as "@". */
static void assert_index(const char *expected) {
    struct sw_buf text, clean;
    sw_buf_init(&text, 100000);
    sw_buf_init(&clean, 100000);
    sw_repository_each(repository, append_row, &text);
    SW_LIT(&clean, "");
    const char *root = folder_path("");
    for (const char *p = text.data ? text.data : ""; *p;) {
        bool here = strncmp(p, root, strlen(root)) == 0;
        sw_buf_append_c(&clean, here ? '@' : *p);
        p += here ? strlen(root) : 1;
    }
    assert_string_equal(clean.data, expected);
    sw_buf_deinit(&text);
    sw_buf_deinit(&clean);
}

static void load_then_acquire(void **state) {
    folder_write("one.model", "ok");
    assert_string_equal(add("one.model"), "one");
    assert_true(sw_repository_ready(repository)); /* nobody asked for it yet */
    assert_refused("one", "", SW_E_UNAVAILABLE, "model 'one' version 1 is UNAVAILABLE: not loaded");
    assert_refused("two", "", SW_E_NOT_FOUND, "model 'two' is not known");
    assert_refused("", "", SW_E_NOT_FOUND, "model '' is not known");
    assert_index("one/1 UNAVAILABLE not loaded\n");

    assert_int_equal(load("one", NULL), SW_OK);
    assert_int_equal(ready_calls, 1);
    assert_true(sw_repository_ready(repository));
    struct sw_model *model = acquire("one", "");
    assert_ptr_equal(model->attachment, &ready_calls);
    assert_int_equal(model->version, 1);
    assert_ptr_equal(acquire("one", "1"), model);
    assert_int_equal(atomic_load(&model->references), 3);
    sw_repository_release(repository, model);
    sw_repository_release(repository, model);
    assert_index("one/1 READY\n");

    assert_refused("one", "2", SW_E_NOT_FOUND, "model 'one' has no version '2'");
    assert_refused("one", "champion", SW_E_NOT_FOUND, "model 'one' has no version 'champion'");
    assert_refused("one", "99999999999999999999", SW_E_NOT_FOUND, "model 'one' has no version '99999999999999999999'");
}

static void unknown_model_is_refused_at_submit(void **state) {
    struct sw_error err;
    assert_int_equal(load("nobody", &err), SW_E_NOT_FOUND);
    assert_string_equal(err.message, "model 'nobody' is not known");
    assert_int_equal(sw_repository_unload_wait(repository, SW_STR("nobody"), &err), SW_E_NOT_FOUND);
    assert_int_equal(sw_repository_add(repository, folder_path("none.model"), NULL, &err), SW_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "none.model"));
}

static void versions_are_numbered_folders(void **state) {
    folder_write("many/10/model.onnx", "ok");
    folder_write("many/2/bundle.yaml", "?"); /* names nothing: the model is called after the outer folder */
    folder_write("many/2/a.model", "ok");
    folder_write("many/1/a.model", "ok");
    folder_write("many/notes/a.model", "ok");
    folder_write("many/007/a.model", "ok");
    assert_string_equal(add("many"), "many");
    assert_int_equal(load("many", NULL), SW_OK);
    assert_index("many/1 READY\nmany/2 READY\nmany/10 READY\n");
    struct sw_model *newest = acquire("many", ""), *second = acquire("many", "2");
    assert_int_equal(newest->version, 10);
    assert_int_equal(second->version, 2);
    assert_string_equal(second->name, "many");
    sw_repository_release(repository, newest);
    sw_repository_release(repository, second);
}

static void bundles_of_versions_name_the_model(void **state) {
    folder_write("dir/1/bundle.yaml", "digits");
    folder_write("dir/1/a.model", "ok");
    folder_write("dir/2/bundle.yaml", "digits");
    folder_write("dir/2/a.model", "ok");
    assert_string_equal(add("dir"), "digits");

    folder_write("odd/1/bundle.yaml", "letters");
    folder_write("odd/2/bundle.yaml", "words");
    struct sw_error err;
    assert_int_equal(sw_repository_add(repository, folder_path("odd"), NULL, &err), SW_E_MODEL_INVALID);
    assert_non_null(strstr(err.message, "this version is called 'words', another one 'letters'"));
}

static void broken_version_does_not_hide_the_others(void **state) {
    folder_write("m/1/a.model", "ok");
    folder_write("m/2/a.model", "opset 99 is unknown");
    folder_write("m/3/bundle.yaml", "broken");
    add("m");
    struct sw_error err;
    assert_int_equal(load("m", &err), SW_E_MODEL_INVALID);
    assert_string_equal(err.message, "version 2: opset 99 is unknown");
    assert_true(sw_repository_ready(repository)); /* its load has ended; what can serve, serves */
    assert_index("m/1 READY\nm/2 UNAVAILABLE opset 99 is unknown\n"
                 "m/3 UNAVAILABLE @/m/3/a.model: No such file or directory\n");
    struct sw_model *model = acquire("m", ""); /* the highest that is ready */
    assert_int_equal(model->version, 1);
    sw_repository_release(repository, model);
    assert_refused("m", "2", SW_E_UNAVAILABLE, "model 'm' version 2 is UNAVAILABLE: opset 99 is unknown");

    folder_write("m/2/a.model", "ok");
    folder_write("m/3/bundle.yaml", "?");
    folder_write("m/3/a.model", "ok");
    assert_int_equal(load("m", NULL), SW_OK);
    assert_true(sw_repository_ready(repository));
    assert_index("m/1 READY\nm/2 READY\nm/3 READY\n");
}

static void load_follows_the_folder(void **state) {
    folder_write("m/1/a.model", "ok");
    folder_write("m/2/a.model", "ok");
    add("m");
    assert_int_equal(load("m", NULL), SW_OK);
    struct sw_model *held = acquire("m", "1");
    folder_remove("m/1");
    folder_write("m/3/a.model", "ok");
    assert_int_equal(load("m", NULL), SW_OK);
    assert_index("m/2 READY\nm/3 READY\n");
    assert_refused("m", "1", SW_E_NOT_FOUND, "model 'm' has no version '1'");
    size_t before = fake_counts().unloaded;
    sw_repository_release(repository, held);
    fake_wait_unloaded(before + 1);

    folder_remove("m");
    struct sw_error err;
    assert_int_equal(load("m", &err), SW_E_NOT_FOUND);
    struct sw_model *still = acquire("m", "");
    assert_int_equal(still->version, 3);
    sw_repository_release(repository, still);
    assert_index("m/2 READY still serving the old one, its reload failed: @/m: no such file or folder\n"
                 "m/3 READY still serving the old one, its reload failed: @/m: no such file or folder\n");
}

static void loading_is_seen(void **state) {
    folder_write("a.model", "ok");
    add("a.model");
    fake_close_gate();
    assert_int_equal(sw_repository_load(repository, SW_STR("a"), NULL, NULL, NULL), SW_OK);
    assert_index("a/1 LOADING\n"); /* from the moment it was asked for */
    assert_false(sw_repository_ready(repository));
    fake_wait_started(1);
    assert_refused("a", "", SW_E_UNAVAILABLE, "model 'a' version 1 is LOADING");
    fake_open_gate();
    assert_int_equal(load("a", NULL), SW_OK);
    assert_index("a/1 READY\n");
    assert_int_equal(ready_calls, 2);
}

static void reload_serves_without_a_gap(void **state) {
    folder_write("a.model", "ok");
    add("a.model");
    assert_int_equal(load("a", NULL), SW_OK);
    struct sw_model *before = acquire("a", "");
    fake_close_gate();
    assert_int_equal(sw_repository_load(repository, SW_STR("a"), NULL, NULL, NULL), SW_OK);
    fake_wait_started(2);
    assert_ptr_equal(acquire("a", ""), before); /* while the new one loads */
    assert_true(sw_repository_ready(repository));
    sw_repository_release(repository, before);
    fake_open_gate();
    assert_int_equal(load("a", NULL), SW_OK); /* a third load, behind the second */
    struct sw_model *after = acquire("a", "");
    assert_ptr_not_equal(after, before);
    assert_int_equal(fake_counts().unloaded, 1); /* the second; the first is still held here */
    assert_int_equal(before->version, 1);
    sw_repository_release(repository, before);
    fake_wait_unloaded(2);
    assert_int_equal(fake_counts().unloaded_elsewhere, 0);
    sw_repository_release(repository, after);
}

static void failed_reload_keeps_the_old_one(void **state) {
    folder_write("a.model", "ok");
    add("a.model");
    assert_int_equal(load("a", NULL), SW_OK);
    struct sw_model *before = acquire("a", "");
    folder_write("a.model", "cut short");
    struct sw_error err;
    assert_int_equal(load("a", &err), SW_E_MODEL_INVALID);
    assert_string_equal(err.message, "cut short");
    assert_ptr_equal(acquire("a", ""), before);
    assert_index("a/1 READY still serving the old one, its reload failed: cut short\n");
    assert_true(sw_repository_ready(repository));
    sw_repository_release(repository, before);
    sw_repository_release(repository, before);
}

static void unload_waits_for_no_request(void **state) {
    folder_write("a.model", "ok");
    add("a.model");
    assert_int_equal(load("a", NULL), SW_OK);
    struct sw_model *held = acquire("a", "");
    assert_int_equal(sw_repository_unload_wait(repository, SW_STR("a"), NULL), SW_OK);
    assert_index("a/1 UNLOADING\n");
    assert_refused("a", "", SW_E_UNAVAILABLE, "model 'a' version 1 is UNLOADING");
    assert_int_equal(fake_counts().unloaded, 0);
    sw_repository_release(repository, held); /* the last one: handed to the loader */
    fake_wait_unloaded(1);
    /* The loader handles it before the next job. */
    assert_int_equal(sw_repository_unload_wait(repository, SW_STR("a"), NULL), SW_OK);
    assert_index("a/1 UNAVAILABLE unloaded\n");
    assert_int_equal(fake_counts().unloaded_elsewhere, 0);
    assert_true(sw_repository_ready(repository));
}

static void load_while_the_old_one_drains(void **state) {
    folder_write("a.model", "ok");
    add("a.model");
    assert_int_equal(load("a", NULL), SW_OK);
    struct sw_model *held = acquire("a", "");
    assert_int_equal(sw_repository_unload_wait(repository, SW_STR("a"), NULL), SW_OK);
    assert_int_equal(load("a", NULL), SW_OK);
    sw_repository_release(repository, held);
    fake_wait_unloaded(1);
    assert_int_equal(sw_repository_unload_wait(repository, SW_STR("a"), NULL), SW_OK);
    assert_int_equal(fake_counts().unloaded, 2);
    assert_index("a/1 UNAVAILABLE unloaded\n");
}

static void a_name_belongs_to_one_path(void **state) {
    folder_write("x/a.model", "ok");
    folder_write("y/a.model", "ok");
    add("x/a.model");
    struct sw_error err;
    assert_int_equal(sw_repository_add(repository, folder_path("y/a.model"), NULL, &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, folder_path("x/a.model")));
    assert_non_null(strstr(err.message, folder_path("y/a.model")));
    assert_index("a/1 UNAVAILABLE not loaded\n");
}

static void a_directory_of_models(void **state) {
    folder_write("d/b.model", "ok");
    folder_write("d/README", "not a model");
    folder_write("d/.hidden.model", "ok");
    folder_write("d/empty/notes.txt", "");
    folder_write("d/two/x.model", "ok");
    folder_write("d/two/y.model", "ok");
    folder_write("d/versions/1/a.model", "ok");
    folder_write("d/bad/bundle.yaml", "broken");
    assert_int_equal(sw_repository_add_directory(repository, folder_path("d"), NULL), SW_OK);
    assert_index("b/1 UNAVAILABLE not loaded\n"
                 "bad/1 UNAVAILABLE @/d/bad: broken bundle\n"
                 "empty/1 UNAVAILABLE @/d/empty: neither bundle.yaml nor a model file in it\n"
                 "two/1 UNAVAILABLE @/d/two: several model files and no bundle.yaml to choose one\n"
                 "versions/1 UNAVAILABLE not loaded\n");
    /* Mended, it loads. */
    folder_write("d/empty/a.model", "ok");
    assert_int_equal(load("empty", NULL), SW_OK);
    /* Renamed, it does not. */
    folder_write("d/bad/bundle.yaml", "good");
    struct sw_error err;
    assert_int_equal(load("bad", &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "was added as 'bad' and calls itself 'good' now"));

    folder_write("e/1.model", "ok");
    folder_write("e/b.model", "ok");
    folder_write("e/c.model", "ok");
    assert_int_equal(sw_repository_add_directory(repository, folder_path("e"), &err), SW_E_CONFLICT);
    assert_non_null(strstr(err.message, "two models are called 'b'"));
    assert_int_equal(load("c", NULL), SW_OK); /* those after it were added */
    assert_int_equal(sw_repository_add_directory(repository, folder_path("none"), NULL), SW_E_NOT_FOUND);
}

static void count_done(void *arg, sw_status status, const struct sw_error *err) {
    size_t *done = arg;
    SW_ASSERT(err->code == status && (status == SW_OK || status == SW_E_UNAVAILABLE));
    done[status != SW_OK]++;
}

static void every_job_is_answered(void **state) {
    folder_write("a.model", "ok");
    add("a.model");
    fake_close_gate();
    size_t done[2] = {0, 0}, accepted = 0;
    struct sw_error err;
    sw_status status;
    while (!(status = sw_repository_load(repository, SW_STR("a"), count_done, done, &err))) {
        accepted++;
    }
    assert_int_equal(status, SW_E_TOO_MANY_REQUESTS); /* the queue is bounded */
    assert_true(accepted >= 4096);
    fake_wait_started(1);
    fake_open_gate();
    sw_repository_destroy(repository); /* while jobs wait */
    repository = NULL;
    assert_int_equal(done[0] + done[1], accepted);
    assert_true(done[0] >= 1);
}

/* ---- readers while models come and go ---- */

enum { READERS = 3, ROUNDS = 20 };

struct reader {
    pthread_t thread;
    atomic_bool *stop;
    atomic_size_t got;
};

static void *read_loop(void *arg) {
    struct reader *reader = arg;
    while (!atomic_load(reader->stop)) {
        struct sw_model *model;
        struct sw_error err;
        sw_status status = sw_repository_acquire(repository, SW_STR("m"), (struct sw_str){0}, &model, &err);
        if (status) {
            SW_ASSERT(status == SW_E_UNAVAILABLE);
            continue;
        }
        SW_ASSERT(strcmp(model->name, "m") == 0 && model->attachment == &ready_calls);
        sw_repository_release(repository, model);
        if (atomic_fetch_add(&reader->got, 1) % 64 == 0) {
            sched_yield(); /* the loader is nice: it would starve on a small machine */
        }
    }
    return NULL;
}

static void count_rows(void *arg, const struct sw_repository_row *row) {
    ++*(size_t *)arg;
}

static void readers_never_see_a_freed_model(void **state) {
    folder_write("m/1/a.model", "ok");
    folder_write("m/2/a.model", "ok");
    add("m");
    assert_int_equal(load("m", NULL), SW_OK);
    atomic_bool stop = false;
    static struct reader readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i].stop = &stop;
        assert_int_equal(sw_thread_start(&readers[i].thread, "reader", 0, read_loop, &readers[i], NULL), SW_OK);
        while (atomic_load(&readers[i].got) == 0) {
            sched_yield();
        }
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t rows = 0;
        assert_int_equal(load("m", NULL), SW_OK);
        sw_repository_each(repository, count_rows, &rows);
        assert_int_equal(rows, 2);
        if (i % 4 == 0) {
            assert_int_equal(sw_repository_unload_wait(repository, SW_STR("m"), NULL), SW_OK);
        }
    }
    assert_int_equal(load("m", NULL), SW_OK);
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
    }
    assert_int_equal(sw_repository_unload_wait(repository, SW_STR("m"), NULL), SW_OK);
    struct fake_counts counts = fake_counts();
    fake_wait_unloaded(counts.loaded);
    assert_int_equal(fake_counts().unloaded_elsewhere, 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(load_then_acquire),
        CASE(unknown_model_is_refused_at_submit),
        CASE(versions_are_numbered_folders),
        CASE(bundles_of_versions_name_the_model),
        CASE(broken_version_does_not_hide_the_others),
        CASE(load_follows_the_folder),
        CASE(loading_is_seen),
        CASE(reload_serves_without_a_gap),
        CASE(failed_reload_keeps_the_old_one),
        CASE(unload_waits_for_no_request),
        CASE(load_while_the_old_one_drains),
        CASE(a_name_belongs_to_one_path),
        CASE(a_directory_of_models),
        CASE(every_job_is_answered),
        CASE(readers_never_see_a_freed_model),
    };
    return cmocka_run_group_tests_name("rollout/repository", tests, NULL, NULL);
}
