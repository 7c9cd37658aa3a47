/* Versions: creation from known files, numbers, two pushes at once, documents, pages and filters, changes, deletion. */
#include "world.h"

#include <sys/stat.h>
#include <unistd.h>

/* A digest over the lines, as registry.h describes it; lines are sorted already. */
static void digest_of(const char *lines, struct sw_digest *ret) {
    struct sw_hasher *hasher = sw_hasher_create();
    sw_hasher_update(hasher, lines, strlen(lines));
    sw_hasher_finish(hasher, ret);
}

static void creation(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    json_t *tags = json_of("{'git': 'abc'}"), *metrics = json_of("{'accuracy': 0.5}"), *version = NULL;
    struct sw_version_spec spec = {.files = &file,
                                   .file_count = 1,
                                   .expected_number = 1,
                                   .description = "first",
                                   .source = "s3://somewhere/x",
                                   .run_id = "run-7",
                                   .tags = tags,
                                   .metrics = metrics};
    assert_sw_fails(sw_registry_create_version(world.registry, &someone, "m", false, &spec, NULL, err), SW_E_NOT_FOUND,
                    "no model m");
    assert_sw_ok(sw_registry_create_version(world.registry, &someone, "m", true, &spec, &version, err));
    char line[200];
    struct sw_digest digest;
    snprintf(line, sizeof line, "%s %llu model.fake.json\n", file.digest.hex, (unsigned long long)file.size);
    digest_of(line, &digest);
    assert_string_equal(json_string_value(json_object_get(version, "digest")), digest.hex);
    assert_int_equal(json_integer_value(json_object_get(version, "size_bytes")), file.size);
    json_object_del(version, "digest");
    json_object_del(version, "size_bytes");
    json_object_del(version, "signature"); /* of the graph: inspect's business */
    assert_json(version, "{'model': 'm', 'version': 1, 'stage': 'None', 'aliases': [], 'live': false, 'description': "
                         "'first', 'tags': {'git': 'abc'}, 'metrics': {'accuracy': 0.5}, 'source': "
                         "'s3://somewhere/x', 'run_id': 'run-7', 'replaces': null, 'served_signature': null, 'gates': "
                         "null, 'gates_at': null, 'files': 1, 'created_at': '2027-01-15T08:00:00.000Z', "
                         "'updated_at': '2027-01-15T08:00:00.000Z', 'created_by': 'tester'}");
    json_decref(version);
    json_decref(tags);
    json_decref(metrics);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'version.create'");
    assert_json(json_object_get(row, "object"), "'m/1'");
    json_decref(row);
    assert_int_equal(world_audit_rows(), 2); /* the model, too */
    json_t *model = world_model("m");
    assert_int_equal(json_integer_value(json_object_get(model, "revision")), world_revision());
    json_decref(model);
}

static void digest_does_not_depend_on_the_order(void **state) {
    struct sw_version_file files[3] = {world_file("model.fake.json", model_text(4, "")), world_file("a/b.txt", "b"),
                                       world_file("c.txt", "c")};
    struct sw_version_file turned[3] = {files[2], files[0], files[1]};
    assert_sw_ok(world_push_files("m", files, 3, err));
    assert_sw_ok(world_push_files("m", turned, 3, err));
    turned[0].path = "d.txt";
    assert_sw_ok(world_push_files("m", turned, 3, err));
    json_t *v[3] = {world_version("m", 1), world_version("m", 2), world_version("m", 3)};
    assert_true(json_equal(json_object_get(v[0], "digest"), json_object_get(v[1], "digest")));
    assert_false(json_equal(json_object_get(v[0], "digest"), json_object_get(v[2], "digest")));
    for (int i = 0; i < 3; i++) {
        json_decref(v[i]);
    }
}

static void numbers(void **state) {
    for (int64_t i = 1; i <= 5; i++) {
        assert_int_equal(world_push_any("m"), i);
    }
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ", \"value\": -1"));
    struct sw_version_spec spec = {.files = &file, .file_count = 1};
    static const int64_t wrong[] = {1, 5, 7};
    for (size_t i = 0; i < SW_COUNTOF(wrong); i++) {
        spec.expected_number = wrong[i];
        assert_sw_fails(sw_registry_create_version(world.registry, &someone, "m", true, &spec, NULL, err),
                        SW_E_CONFLICT, "the next version of model m is 6, not");
    }
    spec.expected_number = 6;
    assert_sw_ok(sw_registry_create_version(world.registry, &someone, "m", true, &spec, NULL, err));
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "m", "6", err));
    spec.expected_number = 0; /* the number of a deleted one is not given again */
    assert_sw_ok(sw_registry_create_version(world.registry, &someone, "m", true, &spec, NULL, err));
    json_decref(world_version("m", 7));
}

static void lineage(void **state) {
    for (int i = 0; i < 3; i++) {
        world_push_any("m");
    }
    world_promote_default("m", 2);
    json_t *version = world_version("m", world_push_any("m"));
    assert_json(json_object_get(version, "replaces"), "2");
    json_decref(version);
}

/* refused ---------------------------------------------------------------------------------------------------------- */

static void refused(const struct sw_version_file *files, size_t count, sw_status status, const char *says) {
    int64_t rows = world_audit_rows();
    assert_sw_fails(world_push_files("m", files, count, err), status, says);
    assert_int_equal(world_audit_rows(), rows);
    assert_sw_fails(sw_registry_get_model(world.registry, "m", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "no model");
}

static void bad_files(void **state) {
    struct sw_version_file model = world_file("model.fake.json", model_text(4, "")), other = world_file("x", "x");
    refused(NULL, 0, SW_E_INVALID_ARGUMENT, "files: 0 of them");
    struct sw_version_file files[2] = {model, other};
    files[1].path = "../x";
    refused(files, 2, SW_E_INVALID_ARGUMENT, "is no path inside a version");
    files[1].path = "model.fake.json";
    refused(files, 2, SW_E_INVALID_ARGUMENT, "twice");
    files[1].path = "model.fake.json/x";
    refused(files, 2, SW_E_INVALID_ARGUMENT, "is a file and a folder");
    struct sw_version_file turned[2] = {files[1], files[0]};
    refused(turned, 2, SW_E_INVALID_ARGUMENT, "twice");
    files[1] = other;
    files[1].size++;
    refused(files, 2, SW_E_DIGEST_MISMATCH, "is of 1 bytes, not of 2");
    files[1] = other;
    assert_true(
        sw_digest_parse(SW_STR("00000000000000000000000000000000000000000000000000000000000000ff"), &files[1].digest));
    refused(files, 2, SW_E_DIGEST_MISMATCH, "files: x: nothing with SHA-256");
    refused(&other, 1, SW_E_MODEL_INVALID, "");
}

static void change_blobs(const char *sql) {
    struct sw_tx *tx;
    assert_sw_ok(sw_store_begin(world.store, SW_TX_WRITE, &tx, err));
    assert_sw_ok(sw_tx_exec(tx, sql, SW_NO_PARAMS, NULL, err));
    assert_sw_ok(sw_tx_commit(tx, err));
}

/* The protocol with gc: what is being deleted cannot be used, noted or taken for being here. */
static void blobs_being_deleted(void **state) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    bool known = false;
    uint64_t size = 0;
    assert_sw_ok(sw_registry_has_blob(world.registry, &file.digest, &known, &size, err));
    assert_true(known);
    assert_int_equal(size, file.size);
    change_blobs("UPDATE blobs SET state = 'deleting'");
    refused(&file, 1, SW_E_CONFLICT, "is being deleted by a clean-up");
    assert_sw_ok(sw_registry_has_blob(world.registry, &file.digest, &known, NULL, err));
    assert_false(known);
    struct sw_blob blob = {.digest = file.digest, .size = file.size};
    assert_sw_fails(sw_registry_note_blob(world.registry, &blob, err), SW_E_CONFLICT, "is being deleted");
    change_blobs("DELETE FROM blobs"); /* the row has gone, the file is there still */
    refused(&file, 1, SW_E_DIGEST_MISMATCH, "nothing with SHA-256");
    assert_sw_ok(sw_registry_note_blob(world.registry, &blob, err));
    assert_sw_ok(sw_artifacts_delete(world.artifacts, &file.digest, err));
    assert_sw_fails(sw_registry_note_blob(world.registry, &blob, err), SW_E_CONFLICT, "is being deleted");
    assert_sw_ok(sw_registry_has_blob(world.registry, &file.digest, &known, NULL, err));
    assert_false(known); /* a row alone is not enough */
    refused(&file, 1, SW_E_DIGEST_MISMATCH, "nothing with SHA-256");
}

static int64_t referenced_ms(void) {
    struct sw_arena arena;
    struct sw_rows rows;
    struct sw_tx *tx;
    sw_arena_init(&arena, 0, 0);
    assert_sw_ok(sw_store_begin(world.store, SW_TX_READ, &tx, err));
    assert_sw_ok(sw_tx_query(tx, "SELECT max(referenced_ms) FROM blobs", SW_NO_PARAMS, &arena, &rows, err));
    int64_t ms = sw_rows_int(&rows, 0, 0);
    sw_tx_rollback(tx);
    sw_arena_deinit(&arena);
    return ms;
}

/* gc goes by when a blob was last needed: every event that begins or ends a need moves that. */
static void use_of_blobs(void **state) {
    int64_t before = referenced_ms();
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    int64_t now = referenced_ms();
    assert_true(now > before);
    for (int step = 0; step < 4; step++) {
        sw_clock_manual_advance(&world.clock, 1000000000u);
        bool known;
        switch (step) {
        case 0: assert_sw_ok(sw_registry_has_blob(world.registry, &file.digest, &known, NULL, err)); break;
        case 1: assert_sw_ok(world_push_files("m", &file, 1, err)); break;
        case 2: assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "m", "1", err)); break;
        default:
            assert_sw_ok(world_push_files("m", &file, 1, err));
            sw_clock_manual_advance(&world.clock, 1000000000u);
            now += 1000;
            assert_sw_ok(sw_registry_delete_model(world.registry, &someone, "m", false, err));
        }
        assert_int_equal(referenced_ms(), now + 1000);
        now += 1000;
    }
}

/* read ------------------------------------------------------------------------------------------------------------- */

static void resolving(void **state) {
    world_push_any("m");
    world_push_any("m");
    int64_t number;
    assert_sw_fails(sw_registry_resolve(world.registry, "m", "live", &number, err), SW_E_NOT_FOUND,
                    "no version of model m is live");
    world_promote_default("m", 1);
    assert_int_equal(world_promote("m", 2, "next.one", -1, false), SW_OK);
    static const struct {
        const char *text;
        int64_t number;
    } rows[] = {{"1", 1}, {"2", 2}, {"live", 1}, {"champion", 1}, {"next.one", 2}};
    for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
        assert_sw_ok(sw_registry_resolve(world.registry, "m", rows[i].text, &number, err));
        assert_int_equal(number, rows[i].number);
    }
    static const char *const missing[] = {"3", "0", "-1", "Champion", "latest", "v1", "a b", "99999999999999999999"};
    for (size_t i = 0; i < SW_COUNTOF(missing); i++) {
        assert_sw_fails(sw_registry_resolve(world.registry, "m", missing[i], &number, err), SW_E_NOT_FOUND,
                        "model m has no version or alias");
    }
    assert_sw_fails(sw_registry_resolve(world.registry, "n", "1", &number, err), SW_E_NOT_FOUND, "no model n");
    assert_sw_fails(sw_registry_resolve(world.registry, "m", "", &number, err), SW_E_INVALID_ARGUMENT, "version");
    assert_sw_fails(sw_registry_resolve(world.registry, "m", "\xff", &number, err), SW_E_INVALID_ARGUMENT, "version");
}

static void files(void **state) {
    struct sw_version_file list[3] = {world_file("model.fake.json", model_text(4, "")), world_file("b/c.txt", "hello"),
                                      world_file("a.txt", "hello")};
    assert_sw_ok(world_push_files("m", list, 3, err));
    json_t *got = NULL;
    assert_sw_ok(sw_registry_list_files(world.registry, "m", "1", &got, err));
    char wanted[1024];
    snprintf(wanted, sizeof wanted,
             "{'files': [{'path': 'a.txt', 'sha256': '%s', 'size': 5}, {'path': 'b/c.txt', 'sha256': '%s', 'size': 5}, "
             "{'path': 'model.fake.json', 'sha256': '%s', 'size': %llu}]}",
             list[1].digest.hex, list[1].digest.hex, list[0].digest.hex, (unsigned long long)list[0].size);
    assert_json(got, wanted);
    json_decref(got);
    int fd;
    uint64_t size;
    struct sw_digest digest;
    char text[8] = "";
    assert_sw_ok(sw_registry_open_file(world.registry, "m", "1", "b/c.txt", &fd, &size, &digest, err));
    assert_int_equal(size, 5);
    assert_string_equal(digest.hex, list[1].digest.hex);
    assert_int_equal(read(fd, text, sizeof text - 1), 5);
    assert_string_equal(text, "hello");
    close(fd);
    assert_sw_fails(sw_registry_open_file(world.registry, "m", "1", "b", &fd, &size, &digest, err), SW_E_NOT_FOUND,
                    "m/1 has no file b");
    assert_sw_fails(sw_registry_open_file(world.registry, "m", "1", "../x", &fd, &size, &digest, err),
                    SW_E_INVALID_ARGUMENT, "path");
    assert_sw_fails(sw_registry_open_file(world.registry, "m", "2", "a.txt", &fd, &size, &digest, err), SW_E_NOT_FOUND,
                    "no version");
}

/* "m/3 m/2 ..." of all pages. */
static const char *all_versions(const struct sw_version_filter *filter, size_t limit) {
    static char text[8192];
    char token[200];
    size_t len = 0;
    struct sw_page page = {.limit = limit};
    text[0] = 0;
    for (int pages = 0; pages < 1000; pages++) {
        json_t *list = NULL, *version;
        size_t i;
        assert_sw_ok(sw_registry_list_versions(world.registry, filter, &page, &list, err));
        json_array_foreach(json_object_get(list, "versions"), i, version) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s/%lld", len ? " " : "",
                                    json_string_value(json_object_get(version, "model")),
                                    (long long)json_integer_value(json_object_get(version, "version")));
        }
        assert_true(i <= limit);
        const char *next = json_string_value(json_object_get(list, "next_page_token"));
        snprintf(token, sizeof token, "%s", next ? next : "");
        json_decref(list);
        if (!token[0]) {
            return text;
        }
        assert_int_equal(i, limit);
        page.token = token;
    }
    fail_msg("pages without end");
    return NULL;
}

static void push_tagged(const char *model, const char *run, const char *source, const char *tags) {
    struct sw_version_file file = world_file("model.fake.json", model_text(4, ""));
    json_t *json = tags ? json_of(tags) : NULL;
    struct sw_version_spec spec = {.files = &file, .file_count = 1, .run_id = run, .source = source, .tags = json};
    assert_sw_ok(sw_registry_create_version(world.registry, &someone, model, true, &spec, NULL, err));
    json_decref(json);
}

static void pages(void **state) {
    push_tagged("b", "r1", "s1", "{'k': 'x'}");
    push_tagged("b", "r2", NULL, "{'k': 'y'}");
    push_tagged("b", NULL, "s1", "{'k': 'x'}");
    push_tagged("B", "r1", NULL, NULL);
    push_tagged("c", "r1", NULL, "{'k': 'x', 'l': '1'}");
    push_tagged("c", NULL, NULL, NULL);
    push_tagged("c", NULL, "s1", "{'k': 'x'}");
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "c", "3", err));
    assert_int_equal(world_promote("b", 2, NULL, SW_STAGE_STAGING, false), SW_OK);
    assert_int_equal(world_promote("c", 1, NULL, SW_STAGE_STAGING, false), SW_OK);
    for (size_t limit = 1; limit <= 8; limit++) {
        const struct {
            struct sw_version_filter filter;
            const char *found;
        } rows[] = {
            {{.stage = -1}, "B/1 b/3 b/2 b/1 c/2 c/1"},
            {{.stage = -1, .model = "b"}, "b/3 b/2 b/1"},
            {{.stage = SW_STAGE_STAGING}, "b/2 c/1"},
            {{.stage = SW_STAGE_NONE, .model = "b"}, "b/3 b/1"},
            {{.stage = SW_STAGE_PRODUCTION}, ""},
            {{.stage = -1, .run_id = "r1"}, "B/1 b/1 c/1"},
            {{.stage = -1, .source = "s1"}, "b/3 b/1"},
            {{.stage = -1, .tag_key = "k"}, "b/3 b/2 b/1 c/1"},
            {{.stage = -1, .tag_key = "k", .tag_value = "x"}, "b/3 b/1 c/1"},
            {{.stage = -1, .model = "b", .tag_key = "k", .tag_value = "y"}, "b/2"},
            {{.stage = SW_STAGE_STAGING, .run_id = "r1", .tag_key = "l"}, "c/1"},
        };
        for (size_t i = 0; i < SW_COUNTOF(rows); i++) {
            assert_string_equal(all_versions(&rows[i].filter, limit), rows[i].found);
        }
    }
}

static void bad_pages(void **state) {
    push_tagged("b", NULL, NULL, NULL);
    static const char *const tokens[] = {"", "v~", "v~b", "v~b~", "v~b~x", "v~c~1", "m~b", "v~/~1"};
    struct sw_version_filter filter = {.model = "b", .stage = -1};
    json_t *list = NULL;
    for (size_t i = 0; i < SW_COUNTOF(tokens); i++) {
        struct sw_page page = {.token = tokens[i]};
        assert_sw_fails(sw_registry_list_versions(world.registry, &filter, &page, &list, err), SW_E_INVALID_ARGUMENT,
                        "page_token");
    }
    filter.model = "nothing";
    assert_sw_fails(sw_registry_list_versions(world.registry, &filter, &(struct sw_page){0}, &list, err),
                    SW_E_NOT_FOUND, "no model nothing");
}

/* change ----------------------------------------------------------------------------------------------------------- */

static void updates(void **state) {
    push_tagged("m", NULL, NULL, "{'a': '1'}");
    json_t *changes = json_of("{'description': 'd', 'tags': {'a': null, 'b': '2'}, 'metrics': {'fpr': 0.1, 'n': 3}}");
    json_t *version = NULL;
    assert_sw_ok(sw_registry_update_version(world.registry, &someone, "m", "1", changes, &version, err));
    assert_json(json_object_get(version, "tags"), "{'b': '2'}");
    assert_json(json_object_get(version, "metrics"), "{'fpr': 0.1, 'n': 3}");
    assert_json(json_object_get(version, "description"), "'d'");
    json_decref(version);
    int64_t rows = world_audit_rows();
    assert_sw_ok(sw_registry_update_version(world.registry, &someone, "m", "1", changes, NULL, err));
    assert_int_equal(world_audit_rows(), rows);
    json_decref(changes);
    changes = json_of("{'metrics': {'fpr': null, 'n': 4}}");
    assert_sw_ok(sw_registry_update_version(world.registry, &someone, "m", "1", changes, &version, err));
    assert_json(json_object_get(version, "metrics"), "{'n': 4}");
    json_decref(version);
    json_decref(changes);
    json_t *row = world_audit_newest();
    assert_json(json_object_get(row, "action"), "'version.update'");
    assert_json(json_object_get(row, "before"), "{'metrics': {'fpr': 0.1, 'n': 3}}");
    assert_json(json_object_get(row, "after"), "{'metrics': {'fpr': null, 'n': 4}}");
    json_decref(row);
    static const char *const bad[] = {"{'stage': 'Production'}", "{'metrics': {'a': 'x'}}", "{'metrics': 1}",
                                      "{'digest': 'x'}", "{'tags': {'a': true}}"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        changes = json_of(bad[i]);
        assert_sw_fails(sw_registry_update_version(world.registry, &someone, "m", "1", changes, NULL, err),
                        SW_E_INVALID_ARGUMENT, "");
        json_decref(changes);
    }
}

static void deletion(void **state) {
    for (int i = 0; i < 4; i++) {
        world_push_any("m");
    }
    world_promote_default("m", 1);
    world_promote_default("m", 2);
    world_promote_default("m", 3);
    assert_int_equal(world_promote("m", 4, "challenger", -1, false), SW_OK);
    assert_sw_fails(sw_registry_delete_version(world.registry, &someone, "m", "3", err), SW_E_CONFLICT,
                    "m/3 has the alias champion");
    assert_sw_fails(sw_registry_delete_version(world.registry, &someone, "m", "challenger", err), SW_E_CONFLICT,
                    "m/4 has the alias challenger");
    assert_int_equal(world_promote("m", 4, NULL, SW_STAGE_PRODUCTION, false), SW_OK);
    assert_sw_ok(sw_registry_delete_alias(world.registry, &someone, "m", "challenger", err));
    assert_sw_fails(sw_registry_delete_version(world.registry, &someone, "m", "4", err), SW_E_CONFLICT,
                    "m/4 is in stage Production");
    assert_sw_ok(sw_registry_delete_version(world.registry, &someone, "m", "2", err));
    assert_sw_fails(sw_registry_delete_version(world.registry, &someone, "m", "2", err), SW_E_NOT_FOUND, "");
    assert_sw_fails(sw_registry_list_files(world.registry, "m", "2", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "");
    assert_sw_fails(sw_registry_get_version(world.registry, "m", "2", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "");
    assert_string_equal(all_versions(&(struct sw_version_filter){.model = "m", .stage = -1}, 10), "m/4 m/3 m/1");
    json_t *model = world_model("m");
    assert_json(json_object_get(model, "versions"), "3");
    json_decref(model);
    assert_int_equal(world_rollback("m"), 1); /* 2 is skipped */
    json_t *row = world_audit_newest();
    json_decref(row);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
        T(creation),     T(digest_does_not_depend_on_the_order),
        T(numbers),      T(lineage),
        T(bad_files),    T(blobs_being_deleted),
        T(use_of_blobs), T(resolving),
        T(files),        T(pages),
        T(bad_pages),    T(updates),
        T(deletion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
