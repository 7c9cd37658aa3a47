#include "fixture.h"

#include <ftw.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

static const char *postgres_url(void) {
    return getenv("SLIPWAY_TEST_POSTGRES");
}

bool on_postgres(void) {
    return postgres_url() != NULL;
}

void raw_at(const char *url, const char *sql) {
    if (strncmp(url, "sqlite:", 7) == 0) {
        sqlite3 *db;
        char *message = NULL;
        assert_int_equal(sqlite3_open_v2(url + 7, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
        if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
            fail_msg("%s: %s", sql, message);
        }
        sqlite3_close(db);
        return;
    }
    PGconn *pq = PQconnectdb(url);
    PGresult *result = PQexec(pq, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(pq));
    }
    PQclear(result);
    PQfinish(pq);
}

void raw(struct fixture *f, const char *sql) {
    raw_at(f->url, sql);
}

void server_do(const char *what) {
    const char *name = getenv("SLIPWAY_TEST_POSTGRES_CONTROL");
    assert_non_null(name);
    int fd = (int)strtol(name, NULL, 10);
    char line[32];
    int n = snprintf(line, sizeof line, "%s\n", what);
    assert_int_equal(write(fd, line, (size_t)n), n);
    size_t got = 0;
    while (got < 5) {
        ssize_t more = read(fd, line + got, 5 - got);
        assert_true(more > 0);
        got += (size_t)more;
    }
    assert_memory_equal(line, "done\n", 5);
}

int fixture_setup(void **state) {
    struct fixture *f = sw_xcalloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/slipway-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof f->file, "%s/data/store.db", f->folder);
    if (on_postgres()) {
        snprintf(f->url, sizeof f->url, "%s", postgres_url());
        raw(f, "SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    } else {
        snprintf(f->url, sizeof f->url, "sqlite:%s", f->file);
    }
    sw_store_options_default(&f->options);
    f->options.url = f->url;
    sw_arena_init(&f->arena, 0, 0);
    assert_int_equal(pipe(f->gate), 0);
    *state = f;
    return 0;
}

static int delete_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

int fixture_teardown(void **state) {
    struct fixture *f = *state;
    sw_store_close(f->store);
    sw_arena_deinit(&f->arena);
    close(f->gate[0]);
    if (f->gate[1] >= 0) {
        close(f->gate[1]);
    }
    nftw(f->folder, delete_one, 16, FTW_DEPTH | FTW_PHYS);
    sw_free(f);
    return 0;
}

struct sw_store *fixture_open(struct fixture *f) {
    check(sw_store_open(&f->options, &f->store, &f->err));
    return f->store;
}

struct sw_tx *begin(struct sw_store *store, enum sw_tx_mode mode) {
    struct sw_error err;
    struct sw_tx *tx = NULL;
    if (sw_store_begin(store, mode, &tx, &err) != SW_OK) {
        fail_msg("begin: %s", err.message);
    }
    return tx;
}

void commit(struct sw_tx *tx) {
    struct sw_error err;
    if (sw_tx_commit(tx, &err) != SW_OK) {
        fail_msg("commit: %s", err.message);
    }
}

void exec(struct sw_tx *tx, const char *sql, const struct sw_value *params, size_t count) {
    struct sw_error err;
    if (sw_tx_exec(tx, sql, params, count, NULL, &err) != SW_OK) {
        fail_msg("%s: %s", sql, err.message);
    }
}

int64_t ask_int(struct fixture *f, const char *sql) {
    struct sw_tx *tx = begin(f->store, SW_TX_READ);
    struct sw_rows rows;
    check(sw_tx_query(tx, sql, SW_NO_PARAMS, &f->arena, &rows, &f->err));
    assert_int_equal(rows.count, 1);
    int64_t value = sw_rows_int(&rows, 0, 0);
    sw_tx_rollback(tx);
    return value;
}

void append_audit(struct sw_tx *tx, const char *object, int number) {
    struct sw_error err;
    json_t *after = json_pack("{s:i}", "number", number);
    struct sw_audit_entry entry = {.actor = "tester", .action = "model.change", .object = object, .after = after};
    if (sw_audit_append(tx, &entry, 1000000u + (unsigned)number, NULL, &err) != SW_OK) {
        fail_msg("append: %s", err.message);
    }
    json_decref(after);
}

void expect_status(struct fixture *f, sw_status status, sw_status wanted, const char *part_of_message) {
    const char *message = status ? f->err.message : "";
    if (status != wanted || !strstr(message, part_of_message)) {
        fail_msg("expected %s with \"%s\", got %s: %s", sw_status_name(wanted), part_of_message, sw_status_name(status),
                 message);
    }
}

int child_start(int (*fn)(struct fixture *f), struct fixture *f) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte;
        close(f->gate[1]);
        ssize_t n = read(f->gate[0], &byte, 1);
        _exit(n == 0 ? fn(f) : 99);
    }
    return pid;
}

void open_gate(struct fixture *f) {
    close(f->gate[1]);
    f->gate[1] = -1;
}

int child_wait(int pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
