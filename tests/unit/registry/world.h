/* A registry of a test's own: a temporary folder with a file-system artifact store and an SQLite database, or, with
 * SLIPWAY_TEST_POSTGRES=URL, a schema of its own in that PostgreSQL. The clock stands still; the engine is the fake
 * one. At the end the audit chain is verified, whatever the test did. */
#ifndef TEST_REGISTRY_WORLD_H
#define TEST_REGISTRY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "registry/registry.h"

struct world {
    char *dir;
    struct sw_clock clock;
    struct sw_store *store;
    struct sw_artifacts *artifacts;
    struct sw_engine *engines[1];
    struct sw_registry *registry;
    char *url;       /* of the store */
    char schema[48]; /* PostgreSQL: to be dropped; "" otherwise */
};
extern struct world world;
extern const struct sw_actor someone;  /* "tester", request "req-1", no reason */
extern const struct sw_actor reasoner; /* the same with reason "because" */

int world_setup(void **state);
int world_teardown(void **state);
void world_reopen(void); /* closes everything and opens it again, as a restart does */

/* A model that accepts a row of `width` numbers; `extra` is put into its JSON ("" or ", \"op\": ..."). In a static
 * buffer. */
const char *model_text(int width, const char *extra);

/* Bytes as a known blob. */
struct sw_version_file world_file(const char *path, const char *text);
/* Creates a version of one file model.fake.json with this text (and the model, when there is none); its number. */
int64_t world_push(const char *model, const char *text);
/* A version that differs from every other one. */
int64_t world_push_any(const char *model);
sw_status world_push_files(const char *model, const struct sw_version_file *files, size_t count, struct sw_error *err);

/* alias NULL: none; stage -1: none. The "default" promotion: champion, Production, archive_existing. */
sw_status world_promote(const char *model, int64_t version, const char *alias, int stage, bool archive_existing);
void world_promote_default(const char *model, int64_t version);
/* The version it goes back to; 0: SW_E_CONFLICT. */
int64_t world_rollback(const char *model);

json_t *world_model(const char *model);                    /* document, checked to exist */
json_t *world_version(const char *model, int64_t version); /* the same */
int64_t world_live(const char *model);                     /* 0: none */
int64_t world_audit_rows(void);                            /* after verifying the chain */
int64_t world_revision(void);                              /* of the newest write */
/* Newest audit row, new reference. */
json_t *world_audit_newest(void);

/* Fails with the error's message. */
#define assert_sw_ok(call)                                                         \
    do {                                                                           \
        struct sw_error err_ = {0};                                                \
        struct sw_error *err = &err_;                                              \
        sw_status status_ = (call);                                                \
        if (status_) {                                                             \
            fail_msg("%s: %s (%s)", #call, err_.message, sw_status_name(status_)); \
        }                                                                          \
    } while (0)
/* `call` uses `err`. */
#define assert_sw_fails(call, wanted, says)                                                              \
    do {                                                                                                 \
        struct sw_error err_ = {0};                                                                      \
        struct sw_error *err = &err_;                                                                    \
        sw_status status_ = (call);                                                                      \
        if (status_ != (wanted) || !strstr(err_.message, says)) {                                        \
            fail_msg("%s: %s (%s), wanted %s with \"%s\"", #call, err_.message, sw_status_name(status_), \
                     sw_status_name(wanted), says);                                                      \
        }                                                                                                \
    } while (0)
/* JSON text with ' for ": compares with a value; the value is not consumed. */
void assert_json(json_t *got, const char *wanted);
json_t *json_of(const char *text); /* the same quotes */

#endif
