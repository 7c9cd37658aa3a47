/* Uploads that become versions: archives and bare files, and what is left behind when one is refused. */
#include "../world.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "packing.h"

/* uploads ---------------------------------------------------------------------------------------------------------- */

static struct sw_upload *upload_of(const void *data, size_t len, uint64_t size, const struct sw_digest *digest) {
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload = NULL;
    assert_sw_ok(sw_upload_create(world.artifacts, size, digest, id, err));
    assert_sw_ok(sw_upload_open(world.artifacts, sw_str_of(id), &upload, err));
    assert_sw_ok(sw_upload_write(upload, data, len, err));
    return upload;
}

static sw_status import(const struct sw_buf *bytes, const char *file_name, json_t **ret, struct sw_error *err) {
    struct sw_upload *upload = upload_of(bytes->data, bytes->len, bytes->len, NULL);
    return sw_registry_import(world.registry, &someone, "m", true, upload, file_name, NULL, ret, err);
}

static size_t count_in(const char *folder) {
    SW_AUTO_FREE char *path = sw_path_join(world.dir, folder);
    size_t count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        count += e->d_name[0] != '.';
    }
    closedir(d);
    return count;
}

static bool count_blob(void *arg, const struct sw_blob *blob) {
    ++*(size_t *)arg;
    return true;
}

static size_t count_blobs(void) {
    size_t count = 0;
    assert_sw_ok(sw_artifacts_each(world.artifacts, count_blob, &count, err));
    return count;
}

/* "path,path,..." of the version, in its order. */
static void assert_files(int64_t version, const char *wanted) {
    char number[24], text[2048] = "";
    json_t *listing = NULL, *file;
    size_t i, used = 0;
    snprintf(number, sizeof number, "%lld", (long long)version);
    assert_sw_ok(sw_registry_list_files(world.registry, "m", number, &listing, err));
    json_array_foreach(json_object_get(listing, "files"), i, file) {
        const char *path = json_string_value(json_object_get(file, "path"));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", path);
        int fd;
        uint64_t size;
        struct sw_digest digest;
        assert_sw_ok(sw_registry_open_file(world.registry, "m", number, path, &fd, &size, &digest, err));
        assert_int_equal(size, json_integer_value(json_object_get(file, "size")));
        close(fd);
    }
    json_decref(listing);
    assert_string_equal(text, wanted);
}

static struct sw_buf tar;

static int begin(void **state) {
    sw_buf_init(&tar, 64 << 20);
    return world_setup(state);
}

static int end(void **state) {
    sw_buf_deinit(&tar);
    assert_int_equal(count_in("artifacts/uploads"), 0); /* whatever the test did */
    return world_teardown(state);
}

static void put_model(const char *folder) {
    char name[100];
    snprintf(name, sizeof name, "%smodel.fake.json", folder);
    tar_file(&tar, name, model_text(4, ""));
}

/* what is taken ---------------------------------------------------------------------------------------------------- */

static void archives_of_every_kind(void **state) {
    static const char *const filters[] = {"gzip", "zstd", "xz"};
    json_t *version = NULL;
    put_model("./");
    tar_file(&tar, "./sub/notes.txt", "n");
    tar_end(&tar);
    assert_sw_ok(import(&tar, NULL, &version, err));
    assert_int_equal(json_integer_value(json_object_get(version, "version")), 1);
    assert_int_equal(json_integer_value(json_object_get(version, "files")), 2);
    json_decref(version);
    assert_files(1, "model.fake.json,sub/notes.txt");
    for (size_t i = 0; i < SW_COUNTOF(filters); i++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
        pack(&tar, filters[i], &packed);
        assert_sw_ok(import(&packed, "m.tar.gz", NULL, err));
        assert_files((int64_t)i + 2, "model.fake.json,sub/notes.txt");
    }
    SW_CLEANUP(sw_buf_deinit) struct sw_buf zipped;
    struct zip_entry entries[] = {{"model.fake.json", NULL, NULL, false}, {"sub/notes.txt", "n", NULL, false}};
    entries[0].text = model_text(4, "");
    zip(entries, 2, NULL, &zipped);
    assert_sw_ok(import(&zipped, "m.zip", NULL, err));
    assert_files(5, "model.fake.json,sub/notes.txt");
    assert_int_equal(count_blobs(), 2); /* the same five times */
}

static void one_common_folder_is_taken_off(void **state) {
    put_model("detector/");
    tar_file(&tar, "detector/a/b.txt", "n");
    tar_end(&tar);
    assert_sw_ok(import(&tar, NULL, NULL, err));
    assert_files(1, "a/b.txt,model.fake.json");
    sw_buf_clear(&tar);
    put_model("");
    tar_file(&tar, "a/b.txt", "n");
    tar_end(&tar);
    assert_sw_ok(import(&tar, NULL, NULL, err));
    assert_files(2, "a/b.txt,model.fake.json");
    sw_buf_clear(&tar); /* names that only begin alike */
    put_model("a/");
    tar_file(&tar, "ab/c.txt", "n");
    tar_file(&tar, "bundle.yaml", "model: a/model.fake.json");
    tar_end(&tar);
    assert_sw_ok(import(&tar, NULL, NULL, err));
    assert_files(3, "a/model.fake.json,ab/c.txt,bundle.yaml");
}

static void bare_files(void **state) {
    const char *text = model_text(4, "");
    sw_buf_append(&tar, text, strlen(text));
    assert_sw_ok(import(&tar, "folder/x.fake.json", NULL, err));
    assert_files(1, "x.fake.json");
    assert_sw_fails(import(&tar, "notes.txt", NULL, err), SW_E_MODEL_INVALID, "no model file");
    assert_sw_fails(import(&tar, NULL, NULL, err), SW_E_MODEL_INVALID, "model.onnx"); /* it is no ONNX file */
    assert_sw_fails(import(&tar, "..", NULL, err), SW_E_INVALID_ARGUMENT, "file_name");
}

static void what_the_spec_says(void **state) {
    json_t *tags = json_of("{'git': 'abc'}"), *version = NULL;
    struct sw_version_spec spec = {.description = "d", .source = "here", .tags = tags, .expected_number = 1};
    put_model("");
    tar_end(&tar);
    struct sw_upload *upload = upload_of(tar.data, tar.len, UINT64_MAX, NULL); /* size not announced */
    assert_sw_fails(sw_registry_import(world.registry, &someone, "m", false, upload, NULL, &spec, NULL, err),
                    SW_E_NOT_FOUND, "no model m");
    upload = upload_of(tar.data, tar.len, UINT64_MAX, NULL);
    assert_sw_ok(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, &spec, &version, err));
    assert_json(json_object_get(version, "description"), "'d'");
    assert_json(json_object_get(version, "source"), "'here'");
    assert_json(json_object_get(version, "tags"), "{'git': 'abc'}");
    json_decref(version);
    upload = upload_of(tar.data, tar.len, UINT64_MAX, NULL);
    assert_sw_fails(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, &spec, NULL, err),
                    SW_E_CONFLICT, "");
    json_decref(tags);
}

/* what is refused -------------------------------------------------------------------------------------------------- */

/* Nothing of it is stored: no blob, no model, no upload. */
static void refused(const struct sw_buf *bytes, sw_status code, const char *says) {
    assert_sw_fails(import(bytes, NULL, NULL, err), code, says);
    assert_int_equal(count_blobs(), 0);
    assert_int_equal(count_in("artifacts/uploads"), 0);
    assert_sw_fails(sw_registry_get_model(world.registry, "m", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "m");
}

static void hostile_archives_leave_nothing(void **state) {
    put_model("");
    tar_entry(&tar, '2', "link", "/etc/passwd", 0, "", 0); /* behind a good file */
    tar_end(&tar);
    refused(&tar, SW_E_MODEL_INVALID, "link: a link");
    sw_buf_clear(&tar);
    put_model("");
    tar_file(&tar, "../x", "x");
    tar_end(&tar);
    refused(&tar, SW_E_MODEL_INVALID, "\"..\"");
    sw_buf_clear(&tar);
    put_model("");
    tar_file(&tar, "a", "a file");
    tar_file(&tar, "a/b", "and a folder");
    tar_end(&tar);
    refused(&tar, SW_E_MODEL_INVALID, "a is a file and a folder");
    sw_buf_clear(&tar);
    put_model(""); /* no end */
    refused(&tar, SW_E_MODEL_INVALID, "ends in the middle");
    sw_buf_clear(&tar);
    tar_entry(&tar, '5', "folder", "", 0, "", 0);
    tar_end(&tar);
    refused(&tar, SW_E_MODEL_INVALID, "no file in it");
}

static void bombs_fill_no_disk(void **state) {
    SW_AUTO_FREE char *zeros = sw_calloc(1, 16 << 20);
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    put_model("");
    tar_entry(&tar, '0', "zeros", "", 16 << 20, zeros, 16 << 20);
    tar_end(&tar);
    pack(&tar, "gzip", &packed);
    refused(&packed, SW_E_TOO_LARGE, "more than 200 times");
}

static void too_many_files(void **state) {
    for (int i = 0; i <= 10000; i++) {
        char name[24];
        snprintf(name, sizeof name, "f/%d", i);
        tar_file(&tar, name, "");
    }
    tar_end(&tar);
    refused(&tar, SW_E_TOO_LARGE, "more than 10000 files");
}

static void archives_that_hold_no_version(void **state) {
    tar_file(&tar, "notes.txt", "n");
    tar_end(&tar);
    assert_sw_fails(import(&tar, NULL, NULL, err), SW_E_MODEL_INVALID, "no model file");
    assert_int_equal(count_blobs(), 1); /* gc's business: it may be somebody else's too */
    assert_sw_fails(sw_registry_get_model(world.registry, "m", &(json_t *){NULL}, err), SW_E_NOT_FOUND, "m");
}

static void an_upload_that_is_not_complete_stays(void **state) {
    put_model("");
    tar_end(&tar);
    char id[SW_UPLOAD_ID + 1];
    struct sw_upload *upload = upload_of(tar.data, 600, tar.len, NULL);
    struct sw_str name = sw_path_base(sw_str_of(sw_upload_path(upload)));
    assert_int_equal(name.len, SW_UPLOAD_ID);
    memcpy(id, name.data, name.len + 1);
    assert_sw_fails(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, NULL, NULL, err),
                    SW_E_INVALID_ARGUMENT, "has 600 of");
    assert_sw_ok(sw_upload_open(world.artifacts, sw_str_of(id), &upload, err));
    assert_sw_ok(sw_upload_write(upload, tar.data + 600, tar.len - 600, err));
    assert_sw_ok(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, NULL, NULL, err));
    assert_files(1, "model.fake.json");
}

static void the_digest_that_was_announced(void **state) {
    struct sw_digest wrong, right;
    struct sw_hasher *hasher = sw_hasher_create();
    put_model("");
    tar_end(&tar);
    sw_hasher_update(hasher, tar.data, tar.len);
    sw_hasher_finish(hasher, &right);
    wrong = right;
    wrong.hex[0] = wrong.hex[0] == '0' ? '1' : '0';
    struct sw_upload *upload = upload_of(tar.data, tar.len, tar.len, &wrong);
    assert_sw_fails(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, NULL, NULL, err),
                    SW_E_DIGEST_MISMATCH, right.hex);
    assert_int_equal(count_blobs(), 0);
    upload = upload_of(tar.data, tar.len, tar.len, &right);
    assert_sw_ok(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, NULL, NULL, err));
}

static void names_of_models(void **state) {
    put_model("");
    tar_end(&tar);
    struct sw_upload *upload = upload_of(tar.data, tar.len, tar.len, NULL);
    assert_sw_fails(sw_registry_import(world.registry, &someone, "../m", true, upload, NULL, NULL, NULL, err),
                    SW_E_INVALID_ARGUMENT, "no name for a model");
    assert_int_equal(count_blobs(), 0);
}

/* 256 MiB through an import. */
static void memory_stays_flat(void **state) {
    enum { PIECE = 1 << 20, PIECES = 256 };
    struct sw_upload *upload = NULL;
    char id[SW_UPLOAD_ID + 1];
    SW_AUTO_FREE char *piece = sw_calloc(1, PIECE);
    put_model("");
    tar_entry(&tar, '0', "weights.bin", "", (uint64_t)PIECE * PIECES, "", 0);
    assert_sw_ok(sw_upload_create(world.artifacts, UINT64_MAX, NULL, id, err));
    assert_sw_ok(sw_upload_open(world.artifacts, sw_str_of(id), &upload, err));
    assert_sw_ok(sw_upload_write(upload, tar.data, tar.len, err));
    for (int i = 0; i < PIECES; i++) {
        assert_sw_ok(sw_upload_write(upload, piece, PIECE, err));
    }
    sw_buf_clear(&tar);
    tar_end(&tar);
    assert_sw_ok(sw_upload_write(upload, tar.data, tar.len, err));
    struct rusage before, after;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    assert_sw_ok(sw_registry_import(world.registry, &someone, "m", true, upload, NULL, NULL, NULL, err));
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10); /* KiB */
    assert_files(1, "model.fake.json,weights.bin");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(archives_of_every_kind),
        TEST(one_common_folder_is_taken_off),
        TEST(bare_files),
        TEST(what_the_spec_says),
        TEST(hostile_archives_leave_nothing),
        TEST(bombs_fill_no_disk),
        TEST(too_many_files),
        TEST(archives_that_hold_no_version),
        TEST(an_upload_that_is_not_complete_stays),
        TEST(the_digest_that_was_announced),
        TEST(names_of_models),
        TEST(memory_stays_flat),
    };
    return cmocka_run_group_tests_name("registry/import", tests, NULL, NULL);
}
