/* Archives, good and hostile: what comes out of them, and that nothing else does. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <lzma.h>
#include <unistd.h>

#include "base/memory.h"
#include "packing.h"
#include "registry/archive_internal.h"

/* "PATH=TEXT;" for each file in `got`; of long ones "PATH=SIZE bytes;". */
struct result {
    struct sw_buf got;
    uint64_t announced, received;
    size_t begun, ended;
};

static sw_status on_begin(void *arg, const char *path, uint64_t size, struct sw_error *err) {
    struct result *r = arg;
    assert_true(sw_registry_path_valid(sw_str_of(path)));
    r->begun++;
    r->announced = size;
    r->received = 0;
    sw_buf_printf(&r->got, "%s=", path);
    return SW_OK;
}

static sw_status on_data(void *arg, const void *data, size_t len, struct sw_error *err) {
    struct result *r = arg;
    assert_true(len > 0 && r->begun == r->ended + 1);
    r->received += len;
    assert_true(r->received <= r->announced);
    if (r->announced < 100) {
        sw_buf_append(&r->got, data, len);
    }
    return SW_OK;
}

static sw_status on_end(void *arg, struct sw_error *err) {
    struct result *r = arg;
    r->ended++;
    assert_int_equal(r->received, r->announced);
    if (r->announced >= 100) {
        sw_buf_printf(&r->got, "%llu bytes", (unsigned long long)r->announced);
    }
    SW_LIT(&r->got, ";");
    return SW_OK;
}

static const struct sw_archive_limits usual = {
    .files_max = 100, .bytes_max = 64 << 20, .ratio_max = 200, .ratio_from = 1 << 20};
static struct result result;

static sw_status unpack_with(const void *data, size_t len, enum sw_archive_kind wanted,
                             const struct sw_archive_limits *limits, struct sw_error *err) {
    struct sw_archive_sink sink = {.arg = &result, .begin = on_begin, .data = on_data, .end = on_end};
    enum sw_archive_kind kind;
    sw_buf_deinit(&result.got);
    result = (struct result){0};
    sw_buf_init(&result.got, 8 << 20);
    int fd = memory_file(data, len);
    assert_int_equal(sw_archive_detect(fd, &kind, err), SW_OK);
    assert_int_equal(kind, wanted);
    sw_status status = sw_archive_read(fd, kind, limits, &sink, err);
    close(fd);
    return status;
}

static void gives(const struct sw_buf *archive, enum sw_archive_kind kind, const char *wanted) {
    struct sw_error err;
    if (unpack_with(archive->data, archive->len, kind, &usual, &err)) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(result.got.data ? result.got.data : "", wanted);
    assert_int_equal(result.begun, result.ended);
}

static void refused(const void *data, size_t len, enum sw_archive_kind kind, sw_status code, const char *says) {
    struct sw_error err = {0};
    sw_status status = unpack_with(data, len, kind, &usual, &err);
    if (status != code || !strstr(err.message, says)) {
        fail_msg("got %s: %s; wanted %s with \"%s\"", sw_status_name(status), err.message, sw_status_name(code), says);
    }
}

static struct sw_buf tar;

static int begin(void **state) {
    sw_buf_init(&tar, 128 << 20);
    return 0;
}

static int end(void **state) {
    sw_buf_deinit(&tar);
    sw_buf_deinit(&result.got);
    result = (struct result){0};
    return 0;
}

static void tar_refused(const char *says) {
    tar_end(&tar);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_MODEL_INVALID, says);
    sw_buf_clear(&tar);
}

/* good ones -------------------------------------------------------------------------------------------------------- */

static void fill_tar(void) {
    tar_entry(&tar, '5', "./", "", 0, "", 0);
    tar_entry(&tar, '5', "top/", "", 0, "", 0);
    tar_file(&tar, "./top/model.onnx", "weights");
    tar_file(&tar, "top//sub/./labels.txt", "a\nb\n");
    tar_file(&tar, "top/empty", "");
    tar_end(&tar);
}
#define FILLED "top/model.onnx=weights;top/sub/labels.txt=a\nb\n;top/empty=;"

static void test_tar_in_every_packing(void **state) {
    static const struct {
        const char *filter;
        enum sw_archive_kind kind;
    } packings[] = {{"gzip", SW_ARCHIVE_GZIP}, {"zstd", SW_ARCHIVE_ZSTD}, {"xz", SW_ARCHIVE_XZ}};
    fill_tar();
    gives(&tar, SW_ARCHIVE_TAR, FILLED);
    for (size_t i = 0; i < SW_COUNTOF(packings); i++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
        pack(&tar, packings[i].filter, &packed);
        gives(&packed, packings[i].kind, FILLED);
        struct sw_error err; /* and every piece cut off is missed */
        for (size_t cut = packed.len - 1; cut > 12; cut -= cut > 60 ? 7 : 1) {
            assert_int_not_equal(unpack_with(packed.data, cut, packings[i].kind, &usual, &err), SW_OK);
        }
    }
}

static void test_zip(void **state) {
    static const struct zip_entry entries[] = {{"top/", NULL, NULL, true},
                                               {"top/model.onnx", "weights", NULL, false},
                                               {"top/sub/labels.txt", "a\nb\n", NULL, false},
                                               {"top/empty", "", NULL, false}};
    static const char *const options[] = {"zip:compression=store", "zip:compression=deflate"};
    for (size_t i = 0; i < SW_COUNTOF(options); i++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
        zip(entries, SW_COUNTOF(entries), options[i], &packed);
        gives(&packed, SW_ARCHIVE_ZIP, FILLED);
    }
}

static void test_long_and_foreign_names(void **state) {
    char name[300], wanted[400];
    memset(name, 'n', sizeof name);
    name[100] = name[200] = '/';
    name[290] = '\0';
    tar_pax(&tar, 'x', "path", name); /* pax */
    tar_file(&tar, "short", "1");
    name[289] = '\0';
    tar_entry(&tar, 'L', "././@LongLink", "", strlen(name) + 1, name, strlen(name) + 1); /* GNU */
    tar_file(&tar, "short", "2");
    tar_pax(&tar, 'g', "comment", "0123");
    tar_pax(&tar, 'x', "mtime", "1.5");
    tar_file(&tar, "mod\xc3\xa8le.onnx", "3");
    tar_end(&tar);
    snprintf(wanted, sizeof wanted, "%sn=1;%s=2;", name, name);
    struct sw_error err;
    assert_int_equal(unpack_with(tar.data, tar.len, SW_ARCHIVE_TAR, &usual, &err), SW_OK);
    assert_memory_equal(result.got.data, wanted, 250);
    assert_non_null(strstr(result.got.data, "mod\xc3\xa8le.onnx=3;"));
    assert_int_equal(result.ended, 3);
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    static const struct zip_entry foreign[] = {{"mod\xc3\xa8le.onnx", "3", NULL, false}};
    zip(foreign, 1, NULL, &packed);
    gives(&packed, SW_ARCHIVE_ZIP, "mod\xc3\xa8le.onnx=3;");
}

/* A name of up to 255 bytes in the two fields of ustar, and GNU's header, which has other things there. */
static void test_prefix(void **state) {
    tar_file(&tar, "model.onnx", "x");
    memcpy(tar.data + 345, "some/folder", 11);
    tar_seal(&tar, 0);
    tar_end(&tar);
    gives(&tar, SW_ARCHIVE_TAR, "some/folder/model.onnx=x;");
    memcpy(tar.data + 257, "ustar  \0", 8);
    tar_seal(&tar, 0);
    gives(&tar, SW_ARCHIVE_TAR, "model.onnx=x;");
}

static void test_what_macos_adds_is_left_out(void **state) {
    tar_file(&tar, "._model.onnx", "resource fork");
    tar_file(&tar, "model.onnx", "x");
    tar_file(&tar, "sub/.DS_Store", "x");
    tar_file(&tar, "__MACOSX/sub/._model.onnx", "x");
    tar_file(&tar, "._model.onnx", "twice does not matter");
    tar_file(&tar, ".hidden", "y");
    tar_end(&tar);
    gives(&tar, SW_ARCHIVE_TAR, "model.onnx=x;.hidden=y;");
}

static void test_sizes_beyond_8_gigabytes_in_base_256(void **state) {
    tar_file(&tar, "model.onnx", "x");
    memcpy(tar.data + 124, "\x80\0\0\0\0\0\0\0\0\0\0\1", 12);
    tar_seal(&tar, 0);
    tar_end(&tar);
    gives(&tar, SW_ARCHIVE_TAR, "model.onnx=x;");
    memcpy(tar.data + 124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12);
    tar_seal(&tar, 0);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_TOO_LARGE, "more than");
    memcpy(tar.data + 124, "\x80\1\0\0\0\0\0\0\0\0\0\1", 12);
    tar_seal(&tar, 0);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_MODEL_INVALID, "no number");
    memcpy(tar.data + 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    tar_seal(&tar, 0);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_MODEL_INVALID, "no number");
}

/* hostile ones ----------------------------------------------------------------------------------------------------- */

static void test_kinds_of_entries(void **state) {
    static const struct {
        char type;
        const char *says;
    } kinds[] = {{'1', "x: a link"},         {'2', "x: a link"},         {'3', "neither a regular"},
                 {'4', "neither a regular"}, {'6', "neither a reg"},     {'S', "neither a reg"},
                 {'M', "neither a regular"}, {'D', "neither a regular"}, {'?', "neither a reg"}};
    for (size_t i = 0; i < SW_COUNTOF(kinds); i++) {
        tar_entry(&tar, kinds[i].type, "x", "/etc/passwd", 0, "", 0);
        tar_refused(kinds[i].says);
    }
    tar_pax(&tar, 'x', "GNU.sparse.map", "0,1");
    tar_file(&tar, "x", "y");
    tar_refused("sparse");
    tar_pax(&tar, 'g', "GNU.sparse.major", "1");
    tar_refused("sparse");
}

static void test_paths_that_leave_the_folder(void **state) {
    static const struct {
        const char *name, *says;
    } paths[] = {{"/etc/passwd", "\"/etc/passwd\": an absolute path"},
                 {"../x", "\"../x\": a path with \"..\""},
                 {"a/../../x", "a path with \"..\""},
                 {"a/..", "a path with \"..\""},
                 {"a\\b", "backslashes"},
                 {"a\nb", "printable"},
                 {"a\xff", "UTF-8"}};
    for (size_t i = 0; i < SW_COUNTOF(paths); i++) {
        tar_file(&tar, paths[i].name, "x");
        tar_refused(paths[i].says);
        tar_pax(&tar, 'x', "path", paths[i].name);
        tar_file(&tar, "good", "x");
        tar_refused(paths[i].says);
        tar_entry(&tar, '5', paths[i].name, "", 0, "", 0); /* a folder, too */
        tar_refused(paths[i].says);
        if (strchr(paths[i].name, '\\')) { /* libarchive takes them for the slashes that they are on Windows */
            continue;
        }
        SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
        struct zip_entry entry = {paths[i].name, "x", NULL, false};
        zip(&entry, 1, NULL, &packed);
        refused(packed.data, packed.len, SW_ARCHIVE_ZIP, SW_E_MODEL_INVALID, paths[i].says);
    }
    tar_file(&tar, "./", "x");
    tar_refused("without a name");
    char name[600];
    memset(name, 'n', sizeof name);
    for (size_t i = 100; i < sizeof name; i += 100) {
        name[i] = '/';
    }
    name[513] = '\0';
    tar_pax(&tar, 'x', "path", name);
    tar_file(&tar, "good", "x");
    tar_refused("more than 512 bytes");
}

static void test_one_path_twice(void **state) {
    tar_file(&tar, "a/x", "1");
    tar_file(&tar, "./a//x", "2");
    tar_refused("a/x: stands in the archive twice");
    tar_file(&tar, "X", "1");
    tar_file(&tar, "x", "2");
    tar_end(&tar);
    gives(&tar, SW_ARCHIVE_TAR, "X=1;x=2;");
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    static const struct zip_entry twice[] = {{"x", "1", NULL, false}, {"x", "2", NULL, false}};
    zip(twice, 2, NULL, &packed);
    refused(packed.data, packed.len, SW_ARCHIVE_ZIP, SW_E_MODEL_INVALID, "x: stands in the archive twice");
}

static void test_damaged_tars(void **state) {
    tar_file(&tar, "x", "some text");
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_MODEL_INVALID, "ends in the middle"); /* no end */
    refused(tar.data, tar.len - 512, SW_ARCHIVE_TAR, SW_E_MODEL_INVALID, "ends in the middle");
    tar_end(&tar);
    tar_file(&tar, "behind", "the end");
    tar_refused("data behind its end");
    tar_file(&tar, "x", "1");
    tar_file(&tar, "y", "2");
    tar.data[1024] ^= 1; /* in the second header */
    tar_refused("damaged header");
    tar_file(&tar, "x", "1");
    memcpy(tar.data + 124, "12x", 3);
    tar_seal(&tar, 0);
    tar_refused("no number");
    tar_pax(&tar, 'x', "path", "y");
    tar_refused("ends in the middle"); /* a name for nothing */
}

static void test_damaged_extensions(void **state) {
    static const char *const records[] = {"x",           "99 path=x\n", "10 path=xx", "9 pathxx\n",
                                          "-3 path=x\n", "0 path=x\n",  "3 path=x\n", "18446744073709551615 path=x\n"};
    for (size_t i = 0; i < SW_COUNTOF(records); i++) {
        tar_entry(&tar, 'x', "p", "", strlen(records[i]), records[i], strlen(records[i]));
        tar_file(&tar, "x", "1");
        tar_refused("pax header");
    }
    tar_pax(&tar, 'x', "size", "-1");
    tar_file(&tar, "x", "1");
    tar_refused("size");
    tar_pax(&tar, 'x', "size", "9223372036854775808");
    tar_file(&tar, "x", "1");
    tar_refused("out of range");
    tar_entry(&tar, 'x', "p", "", (1 << 20) + 1, "", 0);
    tar_refused("more than 1 MiB");
}

static void test_limits(void **state) {
    for (int i = 0; i < 101; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        tar_file(&tar, name, "");
    }
    tar_end(&tar);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_TOO_LARGE, "more than 100 files");
    sw_buf_clear(&tar);
    for (int i = 0; i < 405; i++) {
        tar_entry(&tar, '5', "folder", "", 0, "", 0);
    }
    tar_end(&tar);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_TOO_LARGE, "more than 404 entries");
    sw_buf_clear(&tar);

    /* announced is enough: nothing is read for it */
    tar_entry(&tar, '0', "x", "", 65 << 20, "", 0);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_TOO_LARGE, "more than 67108864 bytes");
    sw_buf_clear(&tar);
    tar_entry(&tar, '0', "x", "", (1 << 20) + 1, "", 0);
    refused(tar.data, tar.len, SW_ARCHIVE_TAR, SW_E_TOO_LARGE, "more than 200 times the 512 bytes");
}

/* Content of a few files that compresses well is fine up to 200 times; above that it is a bomb. */
static void test_bombs(void **state) {
    SW_AUTO_FREE char *zeros = sw_calloc(1, 32 << 20);
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf junk;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf zipped;
    tar_entry(&tar, '0', "zeros", "", 32 << 20, zeros, 32 << 20);
    tar_end(&tar);
    gives(&tar, SW_ARCHIVE_TAR, "zeros=33554432 bytes;"); /* not packed at all */
    pack(&tar, "gzip", &packed);
    refused(packed.data, packed.len, SW_ARCHIVE_GZIP, SW_E_TOO_LARGE, "times the");

    sw_buf_clear(&tar); /* what is not taken counts too */
    for (int i = 0; i < 3; i++) {
        tar_entry(&tar, '0', "._junk", "", 32 << 20, zeros, 32 << 20);
    }
    tar_end(&tar);
    pack(&tar, "gzip", &junk);
    refused(junk.data, junk.len, SW_ARCHIVE_GZIP, SW_E_TOO_LARGE, "unpacks to more than");

    memset(zeros, 'z', (32 << 20) - 1);
    struct zip_entry bomb = {"z", zeros, NULL, false};
    zip(&bomb, 1, "zip:compression=deflate", &zipped);
    refused(zipped.data, zipped.len, SW_ARCHIVE_ZIP, SW_E_TOO_LARGE, "times the");
}

/* An xz whose header asks for a dictionary: 64 MiB (as xz -9 does), 96 MiB, 1 GiB, 4 GiB. */
static void test_xz_that_asks_for_much_memory(void **state) {
    static const struct {
        char size; /* as the format writes it */
        bool taken;
    } asked[] = {{28, true}, {29, true}, {36, false}, {40, false}};
    fill_tar();
    for (size_t i = 0; i < SW_COUNTOF(asked); i++) {
        SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
        pack(&tar, "xz", &packed);
        unsigned char *block = (unsigned char *)packed.data + 12;
        size_t size = (size_t)(block[0] + 1) * 4;
        assert_int_equal(block[2], 0x21); /* LZMA2, with one byte of properties */
        assert_int_equal(block[3], 1);
        block[4] = (unsigned char)asked[i].size;
        uint32_t crc = lzma_crc32(block, size - 4, 0);
        for (size_t k = 0; k < 4; k++) {
            block[size - 4 + k] = (unsigned char)(crc >> (8 * k));
        }
        if (asked[i].taken) {
            gives(&packed, SW_ARCHIVE_XZ, FILLED);
        } else {
            refused(packed.data, packed.len, SW_ARCHIVE_XZ, SW_E_TOO_LARGE, "more than 128 MiB of memory");
        }
    }
}

static void test_nothing_is_unpacked_twice(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf once;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf twice;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf other;
    fill_tar();
    pack(&tar, "gzip", &once);
    pack(&once, "gzip", &twice);
    refused(twice.data, twice.len, SW_ARCHIVE_GZIP, SW_E_MODEL_INVALID, "broken");
    pack(&once, "xz", &other);
    refused(other.data, other.len, SW_ARCHIVE_XZ, SW_E_MODEL_INVALID, "broken");
}

/* Content that deflate stores as it is: only the checksum at the end tells that a bit of it is another. */
static void test_damaged_gzip(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    char noise[4000];
    uint64_t x = 88172645463325252;
    for (size_t i = 0; i < sizeof noise; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        noise[i] = (char)x;
    }
    tar_entry(&tar, '0', "noise", "", sizeof noise, noise, sizeof noise);
    tar_end(&tar);
    pack(&tar, "gzip", &packed);
    packed.data[packed.len / 2] ^= 1;
    refused(packed.data, packed.len, SW_ARCHIVE_GZIP, SW_E_MODEL_INVALID, "cannot be unpacked");
    packed.data[packed.len / 2] ^= 1;
    packed.data[packed.len - 1] ^= 1; /* the length */
    refused(packed.data, packed.len, SW_ARCHIVE_GZIP, SW_E_MODEL_INVALID, "cannot be unpacked");
}

/* What `cat a.gz b.gz` and tapes make. */
static void test_gzip_of_several_members(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf first;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf second;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf rest;
    sw_buf_init(&rest, 1 << 20);
    fill_tar();
    sw_buf_append(&rest, tar.data + 700, tar.len - 700);
    tar.len = 700;
    pack(&tar, "gzip", &first);
    pack(&rest, "gzip", &second);
    sw_buf_append(&first, second.data, second.len);
    gives(&first, SW_ARCHIVE_GZIP, FILLED);
    static const char zeros[1000];
    sw_buf_append(&first, zeros, sizeof zeros);
    gives(&first, SW_ARCHIVE_GZIP, FILLED);
    SW_LIT(&first, "more");
    refused(first.data, first.len, SW_ARCHIVE_GZIP, SW_E_MODEL_INVALID, "cannot be unpacked");
}

static void test_packed_but_no_tar(void **state) {
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    for (int i = 0; i < 1000; i++) {
        SW_LIT(&tar, "not a tar at all ");
    }
    pack(&tar, "gzip", &packed);
    refused(packed.data, packed.len, SW_ARCHIVE_GZIP, SW_E_MODEL_INVALID, "no tar");
    sw_buf_clear(&tar);
    SW_LIT(&tar, "\x1f\x8bgarbage that is no gzip");
    refused(tar.data, tar.len, SW_ARCHIVE_GZIP, SW_E_MODEL_INVALID, "archive:");
}

static void test_zips_that_are_refused(void **state) {
    struct zip_entry link = {"link", NULL, "/etc/passwd", false}, plain = {"x", "some text", NULL, false};
    SW_CLEANUP(sw_buf_deinit) struct sw_buf links;
    SW_CLEANUP(sw_buf_deinit) struct sw_buf secret;
    zip(&link, 1, NULL, &links);
    refused(links.data, links.len, SW_ARCHIVE_ZIP, SW_E_MODEL_INVALID, "link: a link");
    zip(&plain, 1, "zip:encryption=zipcrypt", &secret);
    refused(secret.data, secret.len, SW_ARCHIVE_ZIP, SW_E_MODEL_INVALID, "encrypted");
}

/* Every byte of a small zip changed in turn: something comes out or an error, and never more than was announced. */
static void test_damaged_zips(void **state) {
    static const struct zip_entry entries[] = {{"a.txt", "some text that is stored", NULL, false},
                                               {"b.txt", "some more", NULL, false}};
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    struct sw_error err;
    zip(entries, 2, "zip:compression=store", &packed);
    char *stored = memmem(packed.data, packed.len, "some text", 9);
    assert_non_null(stored);
    stored[0] ^= 1;
    refused(packed.data, packed.len, SW_ARCHIVE_ZIP, SW_E_MODEL_INVALID, "a.txt: cannot be unpacked");
    stored[0] ^= 1;
    for (size_t i = 4; i < packed.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            packed.data[i] ^= (char)(1 << bit);
            sw_status status = unpack_with(packed.data, packed.len, SW_ARCHIVE_ZIP, &usual, &err);
            assert_true(status == SW_OK || status == SW_E_MODEL_INVALID || status == SW_E_TOO_LARGE);
            packed.data[i] ^= (char)(1 << bit);
        }
    }
    for (size_t n = 4; n < packed.len; n++) {
        assert_int_not_equal(unpack_with(packed.data, n, SW_ARCHIVE_ZIP, &usual, &err), SW_OK);
    }
}

/* A zip whose directory at the end lists one file over and over. */
static void test_a_directory_without_end(void **state) {
    struct zip_entry entry = {"x", "1", NULL, false};
    SW_CLEANUP(sw_buf_deinit) struct sw_buf packed;
    zip(&entry, 1, "zip:compression=store", &packed);
    const char *directory = memmem(packed.data, packed.len, "PK\x01\x02", 4);
    const char *trailer = memmem(packed.data, packed.len, "PK\x05\x06", 4);
    assert_true(directory && trailer);
    sw_buf_append(&tar, packed.data, (size_t)(directory - packed.data));
    for (int i = 0; i < 500; i++) {
        sw_buf_append(&tar, directory, (size_t)(trailer - directory));
    }
    sw_buf_append(&tar, trailer, packed.len - (size_t)(trailer - packed.data));
    refused(tar.data, tar.len, SW_ARCHIVE_ZIP, SW_E_TOO_LARGE, "more than 404 entries");
}

static sw_status stop(void *arg, const char *path, uint64_t size, struct sw_error *err) {
    return sw_fail(err, SW_E_INSUFFICIENT_STORAGE, "full");
}

static void test_the_sink_ends_the_reading(void **state) {
    struct sw_archive_sink sink = {.arg = &result, .begin = stop, .data = on_data, .end = on_end};
    struct sw_error err;
    fill_tar();
    int fd = memory_file(tar.data, tar.len);
    assert_int_equal(sw_archive_read(fd, SW_ARCHIVE_TAR, &usual, &sink, &err), SW_E_INSUFFICIENT_STORAGE);
    assert_string_equal(err.message, "full");
    close(fd);
}

static void test_what_is_no_archive(void **state) {
    static const char *const texts[] = {"", "\x08\x08\x12\x04test", "PK", "{\"inputs\": []}"};
    enum sw_archive_kind kind;
    char block[1024] = {0};
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        int fd = memory_file(texts[i], strlen(texts[i]));
        assert_int_equal(sw_archive_detect(fd, &kind, NULL), SW_OK);
        assert_int_equal(kind, SW_ARCHIVE_NONE);
        close(fd);
    }
    int fd = memory_file(block, sizeof block); /* zeros are no tar */
    assert_int_equal(sw_archive_detect(fd, &kind, NULL), SW_OK);
    assert_int_equal(kind, SW_ARCHIVE_NONE);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_tar_in_every_packing),
        TEST(test_zip),
        TEST(test_long_and_foreign_names),
        TEST(test_prefix),
        TEST(test_what_macos_adds_is_left_out),
        TEST(test_sizes_beyond_8_gigabytes_in_base_256),
        TEST(test_kinds_of_entries),
        TEST(test_paths_that_leave_the_folder),
        TEST(test_one_path_twice),
        TEST(test_damaged_tars),
        TEST(test_damaged_extensions),
        TEST(test_limits),
        TEST(test_bombs),
        TEST(test_xz_that_asks_for_much_memory),
        TEST(test_nothing_is_unpacked_twice),
        TEST(test_damaged_gzip),
        TEST(test_gzip_of_several_members),
        TEST(test_packed_but_no_tar),
        TEST(test_zips_that_are_refused),
        TEST(test_damaged_zips),
        TEST(test_a_directory_without_end),
        TEST(test_the_sink_ends_the_reading),
        TEST(test_what_is_no_archive),
    };
    return cmocka_run_group_tests_name("registry/archive", tests, NULL, NULL);
}
