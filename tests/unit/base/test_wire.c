/* Walking protobuf fields in memory and in a file: same answers, nothing read beyond the end, broken stays broken. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "base/wire.h"

#define BYTES(literal) ("" literal), (sizeof(literal) - 1)

static void test_fields_of_every_kind(void **state) {
    struct sw_wire w;
    struct sw_wire_field f = {0};
    sw_wire_init_memory(&w, BYTES("\x08\xac\x02"                         /* 1: 300 */
                                  "\x11\x01\x02\x03\x04\x05\x06\x07\x08" /* 2: 8 bytes */
                                  "\x1a\x02hi"                           /* 3: "hi" */
                                  "\x25\x01\x02\x03\x04"                 /* 4: 4 bytes */
                                  "\xa8\x1f\x01"));                      /* 501: 1 */
    assert_true(sw_wire_next(&w, w.size, &f) && sw_wire_is_varint(&f, 1));
    assert_int_equal(f.value, 300);
    assert_true(sw_wire_next(&w, w.size, &f) && f.kind == SW_WIRE_FIXED64 && f.number == 2);
    assert_true(sw_wire_next(&w, w.size, &f) && sw_wire_is_bytes(&f, 3));
    char text[8];
    assert_int_equal(sw_wire_text(&w, &f, text, sizeof text), 2);
    assert_string_equal(text, "hi");
    assert_true(sw_wire_next(&w, w.size, &f) && f.kind == SW_WIRE_FIXED32 && f.number == 4);
    assert_true(sw_wire_next(&w, w.size, &f) && sw_wire_is_varint(&f, 501));
    assert_false(sw_wire_next(&w, w.size, &f));
    assert_false(w.broken);
    assert_int_equal(w.fields, 5);
}

static void test_text_is_cut_and_the_walk_goes_on_behind_it(void **state) {
    struct sw_wire w;
    struct sw_wire_field f = {0};
    char text[4];
    sw_wire_init_memory(&w, BYTES("\x0a\x06"
                                  "abcdef"
                                  "\x10\x07"));
    assert_true(sw_wire_next(&w, w.size, &f));
    assert_int_equal(sw_wire_text(&w, &f, text, sizeof text), 6);
    assert_string_equal(text, "abc");
    assert_true(sw_wire_next(&w, w.size, &f) && sw_wire_is_varint(&f, 2) && f.value == 7);
}

static void test_a_message_is_skipped_or_walked_into(void **state) {
    static const char bytes[] = "\x0a\x04\x08\x01\x10\x02\x18\x03";
    struct sw_wire w;
    for (int walk = 0; walk < 3; walk++) { /* not at all, one field, to its end */
        sw_wire_init_memory(&w, bytes, sizeof bytes - 1);
        struct sw_wire_field f = {0}, inner = {0};
        assert_true(sw_wire_next(&w, w.size, &f) && sw_wire_is_bytes(&f, 1));
        for (int i = 0; i < walk; i++) {
            assert_true(sw_wire_next(&w, f.end, &inner));
            assert_int_equal(inner.value, i + 1);
        }
        assert_true(sw_wire_next(&w, w.size, &f) && sw_wire_is_varint(&f, 3) && f.value == 3);
        assert_false(sw_wire_next(&w, w.size, &f));
        assert_false(w.broken);
    }
}

static void assert_broken(const char *bytes, size_t size) {
    struct sw_wire w;
    struct sw_wire_field f = {0};
    sw_wire_init_memory(&w, bytes, size);
    while (sw_wire_next(&w, w.size, &f)) {
    }
    assert_true(w.broken);
    assert_false(sw_wire_next(&w, w.size, &f));
    assert_true(w.at <= w.size);
}

static void test_malformed(void **state) {
    assert_broken(BYTES("\x08"));                                             /* a number is missing */
    assert_broken(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); /* too long a number */
    assert_broken(BYTES("\x0a\x05xyz"));                                      /* bytes beyond the end */
    assert_broken(BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"));    /* a length of 2^64 - 1 */
    assert_broken(BYTES("\x0b"));                                             /* a group */
    assert_broken(BYTES("\x02\x00"));                                         /* field number 0 */
    assert_broken(BYTES("\x09\x01\x02"));                                     /* 8 bytes that are 2 */
    assert_broken(BYTES("\x0d\x01\x02\x03"));                                 /* 4 bytes that are 3 */
    assert_broken(BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01"));         /* a tag of 63 bits */
}

static void test_an_inner_length_may_not_leave_the_outer_message(void **state) {
    struct sw_wire w;
    struct sw_wire_field f = {0}, inner = {0};
    sw_wire_init_memory(&w, BYTES("\x0a\x02\x0a\x03"
                                  "abc"));
    assert_true(sw_wire_next(&w, w.size, &f));
    assert_false(sw_wire_next(&w, f.end, &inner));
    assert_true(w.broken);
}

static void test_the_number_of_fields_can_be_bounded(void **state) {
    struct sw_wire w;
    struct sw_wire_field f = {0};
    sw_wire_init_memory(&w, BYTES("\x08\x01\x08\x01\x08\x01"));
    w.fields_max = 2;
    assert_true(sw_wire_next(&w, w.size, &f));
    assert_true(sw_wire_next(&w, w.size, &f));
    assert_false(sw_wire_next(&w, w.size, &f));
    assert_true(w.broken);
}

/* Every place where a text can lie across the pieces that a file is read in. */
static void test_a_file_reads_as_memory_does(void **state) {
    static unsigned char bytes[3 * SW_WIRE_CHUNK];
    char path[] = "/tmp/slipway-wire-XXXXXX", from_file[600], from_memory[600];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0);
    size_t size = 0, texts = 0;
    for (; size + 520 < sizeof bytes; texts++) { /* texts of 500 to 507 bytes */
        size_t length = 500 + texts % 8;
        bytes[size] = 0x0a;
        bytes[size + 1] = (unsigned char)(0x80 | (length & 0x7f));
        bytes[size + 2] = (unsigned char)(length >> 7);
        memset(bytes + size + 3, (int)('a' + texts % 26), length);
        size += length + 3;
    }
    assert_int_equal(write(fd, bytes, size), size);
    struct sw_wire file, memory;
    struct sw_wire_field f = {0}, m = {0};
    sw_wire_init_fd(&file, fd, size);
    sw_wire_init_memory(&memory, bytes, size);
    while (sw_wire_next(&memory, size, &m)) {
        assert_true(sw_wire_next(&file, size, &f));
        assert_int_equal(sw_wire_text(&file, &f, from_file, sizeof from_file),
                         sw_wire_text(&memory, &m, from_memory, sizeof from_memory));
        assert_string_equal(from_file, from_memory);
        texts--;
    }
    assert_false(sw_wire_next(&file, size, &f));
    assert_false(file.broken || memory.broken);
    assert_int_equal(texts, 0);
    close(fd);
}

static void test_a_file_that_shrinks_or_cannot_be_read(void **state) {
    char path[] = "/tmp/slipway-wire-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0);
    struct sw_wire w;
    struct sw_wire_field f = {0};
    sw_wire_init_fd(&w, fd, 10); /* it has 0 */
    assert_false(sw_wire_next(&w, 10, &f));
    assert_true(w.broken);
    assert_int_equal(w.error, 0);
    close(fd);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    sw_wire_init_fd(&w, ends[0], 10); /* pread is refused */
    assert_false(sw_wire_next(&w, 10, &f));
    assert_true(w.broken);
    assert_int_equal(w.error, ESPIPE);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_every_kind),
        cmocka_unit_test(test_text_is_cut_and_the_walk_goes_on_behind_it),
        cmocka_unit_test(test_a_message_is_skipped_or_walked_into),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_an_inner_length_may_not_leave_the_outer_message),
        cmocka_unit_test(test_the_number_of_fields_can_be_bounded),
        cmocka_unit_test(test_a_file_reads_as_memory_does),
        cmocka_unit_test(test_a_file_that_shrinks_or_cannot_be_read),
    };
    return cmocka_run_group_tests_name("base/wire", tests, NULL, NULL);
}
