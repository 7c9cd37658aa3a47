#include "world.h"

#include <ftw.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

struct world world;
const struct sw_actor someone = {.name = "tester", .request_id = "req-1"};
const struct sw_actor reasoner = {.name = "tester", .request_id = "req-1", .reason = "because"};

/* life ------------------------------------------------------------------------------------------------------------- */

static void postgres(const char *url, const char *sql) {
    PGconn *conn = PQconnectdb(url);
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    }
    PQclear(result);
    PQfinish(conn);
}

static void open_all(void) {
    struct sw_store_options store_options;
    struct sw_artifacts_options artifacts_options;
    sw_store_options_default(&store_options);
    sw_artifacts_options_default(&artifacts_options);
    SW_AUTO_FREE char *artifacts = sw_path_join(world.dir, "artifacts");
    SW_AUTO_FREE char *folders = sw_path_join(world.dir, "folders");
    store_options.url = world.url;
    artifacts_options.directory = artifacts;
    artifacts_options.clock = &world.clock;
    assert_sw_ok(sw_store_open(&store_options, &world.store, err));
    assert_sw_ok(sw_artifacts_open(&artifacts_options, &world.artifacts, err));
    assert_sw_ok(sw_engine_fake_create(&world.engines[0], err));
    struct sw_registry_options options = {
        .store = world.store,
        .artifacts = world.artifacts,
        .model = {.engines = world.engines, .engine_count = 1, .default_threads = 1, .clock = sw_clock_system()},
        .directory = folders,
        .clock = &world.clock,
        .gate_iterations = 2,
        .gc_grace_ms = 3600 * 1000,
    };
    assert_sw_ok(sw_registry_open(&options, &world.registry, err));
}

static void close_all(void) {
    sw_registry_close(world.registry);
    sw_engine_destroy(world.engines[0]);
    sw_artifacts_close(world.artifacts);
    sw_store_close(world.store);
}

int world_setup(void **state) {
    world = (struct world){.dir = sw_xstrdup("/tmp/slipway-test-XXXXXX")};
    assert_non_null(mkdtemp(world.dir));
    sw_clock_manual_init(&world.clock, UINT64_C(1800000000000000000));
    const char *server = getenv("SLIPWAY_TEST_POSTGRES");
    char text[1024];
    if (server) {
        snprintf(world.schema, sizeof world.schema, "t%016llx", (unsigned long long)sw_random_u64());
        snprintf(text, sizeof text, "CREATE SCHEMA %s", world.schema);
        postgres(server, text);
        snprintf(text, sizeof text, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
                 world.schema);
    } else {
        snprintf(text, sizeof text, "sqlite:%s/slipway.db", world.dir);
    }
    world.url = sw_xstrdup(text);
    open_all();
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    return remove(path);
}

int world_teardown(void **state) {
    world_audit_rows();
    close_all();
    if (world.schema[0]) {
        char text[128];
        snprintf(text, sizeof text, "SET client_min_messages = warning; DROP SCHEMA %s CASCADE", world.schema);
        postgres(getenv("SLIPWAY_TEST_POSTGRES"), text);
    }
    assert_int_equal(nftw(world.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    sw_free(world.dir);
    sw_free(world.url);
    return 0;
}

void world_reopen(void) {
    close_all();
    open_all();
}

/* files and versions ----------------------------------------------------------------------------------------------- */

const char *model_text(int width, const char *extra) {
    static char text[1024];
    snprintf(text, sizeof text,
             "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1, %d]}], \"outputs\": [{\"name\": "
             "\"y\", \"datatype\": \"FP32\", \"shape\": [-1, 1]}], \"op\": \"sum\"%s}",
             width, extra);
    return text;
}

struct sw_version_file world_file(const char *path, const char *text) {
    char name[160];
    snprintf(name, sizeof name, "%s/file-%016llx", world.dir, (unsigned long long)sw_random_u64());
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    struct sw_blob blob;
    assert_sw_ok(sw_artifacts_put_file(world.artifacts, name, NULL, &blob, err));
    assert_sw_ok(sw_registry_note_blob(world.registry, &blob, err));
    assert_int_equal(unlink(name), 0);
    return (struct sw_version_file){.path = path, .digest = blob.digest, .size = blob.size};
}

sw_status world_push_files(const char *model, const struct sw_version_file *files, size_t count, struct sw_error *err) {
    struct sw_version_spec spec = {.files = files, .file_count = count};
    return sw_registry_create_version(world.registry, &someone, model, true, &spec, NULL, err);
}

int64_t world_push(const char *model, const char *text) {
    struct sw_version_file file = world_file("model.fake.json", text);
    struct sw_version_spec spec = {.files = &file, .file_count = 1};
    json_t *document = NULL;
    assert_sw_ok(sw_registry_create_version(world.registry, &someone, model, true, &spec, &document, err));
    int64_t number = json_integer_value(json_object_get(document, "version"));
    json_decref(document);
    assert_true(number > 0);
    return number;
}

int64_t world_push_any(const char *model) {
    static unsigned count;
    char extra[64];
    snprintf(extra, sizeof extra, ", \"value\": %u", ++count);
    return world_push(model, model_text(4, extra));
}

/* pointers --------------------------------------------------------------------------------------------------------- */

sw_status world_promote(const char *model, int64_t version, const char *alias, int stage, bool archive_existing) {
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)version);
    struct sw_promotion promotion = {
        .version = number, .alias = alias, .stage = stage, .archive_existing = archive_existing};
    struct sw_error err = {0};
    return sw_registry_promote(world.registry, &someone, model, &promotion, NULL, NULL, &err);
}

void world_promote_default(const char *model, int64_t version) {
    assert_int_equal(world_promote(model, version, "champion", SW_STAGE_PRODUCTION, true), SW_OK);
}

int64_t world_rollback(const char *model) {
    json_t *document = NULL;
    struct sw_error err = {0};
    sw_status status = sw_registry_rollback(world.registry, &someone, model, NULL, &document, &err);
    if (status == SW_E_CONFLICT) {
        return 0;
    }
    if (status) {
        fail_msg("%s", err.message);
    }
    int64_t version = json_integer_value(json_object_get(document, "version"));
    json_decref(document);
    return version;
}

/* looking ---------------------------------------------------------------------------------------------------------- */

json_t *world_model(const char *model) {
    json_t *document = NULL;
    assert_sw_ok(sw_registry_get_model(world.registry, model, &document, err));
    return document;
}

json_t *world_version(const char *model, int64_t version) {
    char number[32];
    json_t *document = NULL;
    snprintf(number, sizeof number, "%lld", (long long)version);
    assert_sw_ok(sw_registry_get_version(world.registry, model, number, &document, err));
    return document;
}

int64_t world_live(const char *model) {
    json_t *document = world_model(model);
    int64_t live = json_integer_value(json_object_get(document, "live"));
    json_decref(document);
    return live;
}

int64_t world_audit_rows(void) {
    struct sw_audit_report report;
    assert_sw_ok(sw_audit_verify(world.store, &report, err));
    assert_string_equal(report.fault, "");
    assert_int_equal(report.fault_seq, 0);
    return report.rows;
}

int64_t world_revision(void) {
    struct sw_tx *tx;
    assert_sw_ok(sw_store_begin(world.store, SW_TX_READ, &tx, err));
    int64_t revision = sw_tx_revision(tx);
    sw_tx_rollback(tx);
    return revision;
}

json_t *world_audit_newest(void) {
    struct sw_audit_filter filter = {.limit = 1};
    json_t *rows = NULL;
    assert_sw_ok(sw_audit_list(world.store, &filter, &rows, err));
    json_t *row = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    assert_non_null(row);
    return row;
}

json_t *json_of(const char *text) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = copy; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    json_error_t why;
    json_t *json = json_loads(copy, JSON_DECODE_ANY, &why);
    if (!json) {
        fail_msg("%s: %s", text, why.text);
    }
    return json;
}

void assert_json(json_t *got, const char *wanted) {
    json_t *json = json_of(wanted);
    if (!json_equal(got, json)) {
        char *text = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
        fail_msg("got %s, wanted %s", text ? text : "nothing", wanted);
    }
    json_decref(json);
}
