/* Queue, epochs, thread numbers, clock, log lines to a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/queue.h"
#include "base/thread.h"

/* ---- queue ---- */

static void queue_is_bounded_and_in_order(void **state) {
    static int items[5];
    struct sw_queue *queue = sw_queue_create(3);
    assert_null(sw_queue_try_pop(queue));
    for (int round = 0; round < 7; round++) { /* the ring wraps */
        for (int i = 0; i < 3; i++) {
            assert_true(sw_queue_push(queue, &items[i]));
        }
        assert_false(sw_queue_push(queue, &items[3]));
        assert_int_equal(sw_queue_len(queue), 3);
        assert_ptr_equal(sw_queue_pop(queue), &items[0]);
        assert_ptr_equal(sw_queue_try_pop(queue), &items[1]);
        assert_true(sw_queue_push(queue, &items[4]));
        assert_ptr_equal(sw_queue_pop(queue), &items[2]);
        assert_ptr_equal(sw_queue_pop(queue), &items[4]);
    }
    assert_true(sw_queue_push(queue, &items[0]));
    sw_queue_close(queue);
    assert_false(sw_queue_push(queue, &items[1]));
    assert_ptr_equal(sw_queue_pop(queue), &items[0]); /* what was in it still comes out */
    assert_null(sw_queue_pop(queue));
    sw_queue_destroy(queue);
}

enum { PRODUCERS = 3, CONSUMERS = 3, ITEMS = 5000 };

struct traffic {
    struct sw_queue *queue;
    atomic_uchar seen[PRODUCERS * ITEMS];
    atomic_size_t next_producer, popped;
};

static void *produce(void *arg) {
    struct traffic *t = arg;
    size_t base = atomic_fetch_add(&t->next_producer, 1) * ITEMS;
    for (size_t i = 0; i < ITEMS; i++) {
        while (!sw_queue_push(t->queue, (void *)&t->seen[base + i])) {
            sched_yield();
        }
    }
    return NULL;
}

static void *consume(void *arg) {
    struct traffic *t = arg;
    for (atomic_uchar *item; (item = sw_queue_pop(t->queue));) {
        atomic_fetch_add(item, 1);
        atomic_fetch_add(&t->popped, 1);
    }
    return NULL;
}

static void queue_between_threads(void **state) {
    static struct traffic t;
    pthread_t producers[PRODUCERS], consumers[CONSUMERS];
    t.queue = sw_queue_create(16);
    for (int i = 0; i < CONSUMERS; i++) {
        assert_int_equal(sw_thread_start(&consumers[i], "consumer", 0, consume, &t, NULL), SW_OK);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        assert_int_equal(sw_thread_start(&producers[i], "producer", 0, produce, &t, NULL), SW_OK);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i], NULL);
    }
    sw_queue_close(t.queue);
    for (int i = 0; i < CONSUMERS; i++) {
        pthread_join(consumers[i], NULL);
    }
    assert_int_equal(atomic_load(&t.popped), PRODUCERS * ITEMS);
    for (size_t i = 0; i < PRODUCERS * ITEMS; i++) {
        assert_int_equal(atomic_load(&t.seen[i]), 1);
    }
    sw_queue_destroy(t.queue);
}

/* ---- epochs ---- */

struct box {
    uint64_t value, inverse; /* always ~value while alive; 0, 0 once freed */
};

static _Atomic(struct box *) shared_box;
static atomic_bool stop;
static atomic_int reading; /* readers that have read at least once */

static struct box *make_box(uint64_t value) {
    struct box *box = SW_NEW(struct box);
    *box = (struct box){value, ~value};
    return box;
}

static void *read_boxes(void *arg) {
    uint64_t newest = 0;
    for (uint64_t reads = 0; !atomic_load(&stop); reads++) {
        sw_epoch_enter();
        struct box *box = atomic_load(&shared_box);
        sw_epoch_enter(); /* nests */
        SW_ASSERT(box->inverse == ~box->value);
        SW_ASSERT(box->value >= newest);
        sw_epoch_leave();
        newest = box->value;
        sw_epoch_leave();
        atomic_fetch_add(&reading, reads == 0);
    }
    return NULL;
}

static void epoch_wait_outlives_every_reader(void **state) {
    pthread_t readers[3];
    atomic_store(&shared_box, make_box(1));
    atomic_store(&stop, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sw_thread_start(&readers[i], "reader", 0, read_boxes, NULL, NULL), SW_OK);
    }
    while (atomic_load(&reading) < 3) {
        sched_yield();
    }
    for (uint64_t i = 2; i < 100; i++) {
        struct box *old = atomic_exchange(&shared_box, make_box(i));
        sw_epoch_wait();
        *old = (struct box){0};
        sw_free(old);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(readers[i], NULL);
    }
    sw_free(atomic_load(&shared_box));
}

static atomic_int stage;

static void await(int value) {
    while (atomic_load(&stage) < value) {
        sched_yield();
    }
}

static void *hold_epoch(void *arg) {
    sw_epoch_enter();
    atomic_store(&stage, 1);
    await(2);
    atomic_store(&stage, 3); /* before it leaves */
    sw_epoch_leave();
    return NULL;
}

static void *let_it_go(void *arg) {
    await(1);
    atomic_store(&stage, 2);
    return NULL;
}

static void epoch_wait_waits(void **state) {
    pthread_t holder, releaser;
    atomic_store(&stage, 0);
    assert_int_equal(sw_thread_start(&holder, "holder", 0, hold_epoch, NULL, NULL), SW_OK);
    await(1);
    assert_int_equal(sw_thread_start(&releaser, "releaser", 0, let_it_go, NULL, NULL), SW_OK);
    sw_epoch_wait();
    assert_int_equal(atomic_load(&stage), 3);
    pthread_join(holder, NULL);
    pthread_join(releaser, NULL);
    sw_epoch_wait(); /* nobody inside: returns at once */
}

/* ---- threads ---- */

struct seen {
    char name[16];
    unsigned index;
    bool blocked;
};

static void *look(void *arg) {
    struct seen *seen = arg;
    sigset_t mask;
    pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    seen->index = sw_thread_index();
    SW_ASSERT(seen->index == sw_thread_index());
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    seen->blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP);
    return NULL;
}

static void thread_numbers_are_dense_and_reused(void **state) {
    unsigned own = sw_thread_index();
    for (int i = 0; i < 3 * SW_THREADS_MAX; i++) { /* more threads than numbers, one after the other */
        struct seen seen = {0};
        pthread_t thread;
        assert_int_equal(sw_thread_start(&thread, "a-name-that-is-too-long", 0, look, &seen, NULL), SW_OK);
        pthread_join(thread, NULL);
        assert_true(seen.index < 8 && seen.index != own);
        assert_string_equal(seen.name, "a-name-that-is-");
        assert_true(seen.blocked);
    }
    assert_int_equal(sw_thread_index(), own);
    assert_true(sw_cpu_count() >= 1);
}

/* ---- clock ---- */

static void clocks(void **state) {
    struct sw_clock clock, *real = sw_clock_system();
    sw_clock_manual_init(&clock, 5000000);
    assert_int_equal(sw_now_ns(&clock), 5000000);
    sw_clock_manual_advance(&clock, 1000000);
    assert_int_equal(sw_now_ns(&clock), 6000000);
    assert_int_equal(clock.wall_ms(&clock), 6);
    uint64_t before = sw_now_ns(real);
    assert_true(sw_now_ns(real) >= before);
    assert_true(real->wall_ms(real) > 1600000000000u);
    char text[SW_TIMESTAMP_MAX];
    sw_format_timestamp(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    sw_format_timestamp(1709164799999u, text);
    assert_string_equal(text, "2024-02-28T23:59:59.999Z");
    sw_format_timestamp(1709164800000u, text);
    assert_string_equal(text, "2024-02-29T00:00:00.000Z");
}

/* ---- log ---- */

static int log_pipe[2];

static int open_log(void **state) {
    sw_log_set_level(SW_LOG_INFO);
    if (pipe2(log_pipe, O_NONBLOCK | O_CLOEXEC)) {
        return -1;
    }
    sw_log_set_fd(log_pipe[1]);
    return 0;
}

static int close_log(void **state) {
    sw_log_set_fd(STDERR_FILENO);
    close(log_pipe[0]);
    close(log_pipe[1]);
    return 0;
}

/* The line written, parsed; NULL when none was. */
static json_t *read_line(void) {
    char line[16384];
    ssize_t n = read(log_pipe[0], line, sizeof line);
    if (n <= 0) {
        return NULL;
    }
    assert_int_equal(line[n - 1], '\n');
    assert_null(memchr(line, '\n', (size_t)n - 1));
    json_error_t error;
    json_t *json = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(json);
    return json;
}

static void log_lines_are_json(void **state) {
    sw_log(SW_LOG_WARN, "odd \"thing\"\n", SW_F_STR("model", "caf\xe9"), SW_F_INT("version", -3),
           SW_F_DOUBLE("ms", 0.25), SW_F_DOUBLE("ratio", 0.0 / 0.0), SW_F_BOOL("ok", true),
           SW_F_STRN("empty", ((struct sw_str){NULL, 0})));
    json_t *line = read_line();
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(line, "msg")), "odd \"thing\"\n");
    assert_string_equal(json_string_value(json_object_get(line, "model")), "caf\xef\xbf\xbd");
    assert_int_equal(json_integer_value(json_object_get(line, "version")), -3);
    assert_true(json_real_value(json_object_get(line, "ms")) == 0.25);
    assert_true(json_is_null(json_object_get(line, "ratio")));
    assert_true(json_is_true(json_object_get(line, "ok")));
    assert_string_equal(json_string_value(json_object_get(line, "empty")), "");
    assert_int_equal(json_string_length(json_object_get(line, "ts")), 24);
    json_decref(line);
}

static void log_levels(void **state) {
    enum sw_log_level level = SW_LOG_OFF;
    sw_log(SW_LOG_DEBUG, "quiet");
    assert_null(read_line());
    assert_true(sw_log_level_parse(SW_STR("DEBUG"), &level));
    sw_log_set_level(level);
    sw_log(SW_LOG_DEBUG, "loud");
    json_t *line = read_line();
    assert_non_null(line);
    json_decref(line);
    sw_log_set_level(SW_LOG_OFF);
    sw_log(SW_LOG_ERROR, "off");
    assert_null(read_line());
    assert_false(sw_log_level_parse(SW_STR("verbose"), &level));
    assert_int_equal(level, SW_LOG_DEBUG);
}

static void log_drops_and_counts(void **state) {
    uint64_t before = sw_log_dropped();
    char *huge = sw_xmalloc(20001);
    memset(huge, 'x', 20000);
    huge[20000] = '\0';
    sw_log(SW_LOG_INFO, "too long", SW_F_STR("text", huge));
    assert_int_equal(sw_log_dropped(), before + 1);
    assert_null(read_line());
    huge[4000] = '\0';
    for (int i = 0; i < 1000; i++) { /* until the pipe is full */
        sw_log(SW_LOG_INFO, "fill", SW_F_STR("text", huge));
    }
    assert_true(sw_log_dropped() > before + 1);
    sw_free(huge);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_is_bounded_and_in_order),
        cmocka_unit_test(queue_between_threads),
        cmocka_unit_test(epoch_wait_outlives_every_reader),
        cmocka_unit_test(epoch_wait_waits),
        cmocka_unit_test(thread_numbers_are_dense_and_reused),
        cmocka_unit_test(clocks),
        cmocka_unit_test_setup_teardown(log_lines_are_json, open_log, close_log),
        cmocka_unit_test_setup_teardown(log_levels, open_log, close_log),
        cmocka_unit_test_setup_teardown(log_drops_and_counts, open_log, close_log),
    };
    return cmocka_run_group_tests_name("base/threads", tests, NULL, NULL);
}
