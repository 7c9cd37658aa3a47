/* A database of a test's own, of the kind under test: SQLite in a new folder, or, when SLIPWAY_TEST_POSTGRES names a
 * server (tests/servers/postgres.py), that server's database, emptied. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/audit.h"
#include "store/store_internal.h"

struct fixture {
    char folder[64];
    char file[128]; /* SQLite: the database */
    char url[512];
    struct sw_store_options options; /* with the URL; tests change them before fixture_open */
    struct sw_store *store;          /* closed by fixture_teardown */
    struct sw_error err;
    struct sw_arena arena;
    int gate[2]; /* children wait for the end of this pipe */
};

bool on_postgres(void);

int fixture_setup(void **state);
int fixture_teardown(void **state);
struct sw_store *fixture_open(struct fixture *f); /* f->store; must succeed */

/* SQL beside the store, as an intruder or another program would. */
void raw(struct fixture *f, const char *sql);
void raw_at(const char *url, const char *sql);

/* To the program that runs the server: kill stop start freeze thaw. */
void server_do(const char *what);

struct sw_tx *begin(struct sw_store *store, enum sw_tx_mode mode);
void commit(struct sw_tx *tx);
void exec(struct sw_tx *tx, const char *sql, const struct sw_value *params, size_t count);
int64_t ask_int(struct fixture *f, const char *sql); /* in a read transaction of its own */

void append_audit(struct sw_tx *tx, const char *object, int number);
void expect_status(struct fixture *f, sw_status status, sw_status wanted, const char *part_of_message);

/* Child processes that run fn(f) and end with its value, all at once when the gate is opened. */
int child_start(int (*fn)(struct fixture *f), struct fixture *f); /* its process id */
void open_gate(struct fixture *f);
int child_wait(int pid); /* its exit code */

#define check(call)                                                                     \
    do {                                                                                \
        if ((call) != SW_OK) {                                                          \
            fail_msg("%s: %s: %s", #call, sw_status_name(f->err.code), f->err.message); \
        }                                                                               \
    } while (0)

#define store_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
