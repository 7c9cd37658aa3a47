/* ONNX Runtime engine: cleaning the runtime's messages, and reading the head of a file. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "engine/ort/onnx_head.h"
#include "engine/ort/ort_internal.h"

static void expect_clean(const char *message, const char *expected) {
    char text[256];
    ort_reason_clean(message, text, sizeof text);
    assert_string_equal(text, expected);
}

static void test_places_are_cut_out(void **state) {
    expect_clean("plain text", "plain text");
    expect_clean(
        "failed:/src/core/graph/model.cc:202 ns::Model::Model(ns::Proto&&, const std::map<int, int>&) Bad version\n",
        "failed:Bad version");
    expect_clean("void at x.h:46 void ns::check(const std::pair<a, b>&, int (*)(int)) const Opset 9",
                 "void at Opset 9");
    expect_clean("/a/b.h:1 auto ns::f(T)::<lambda(int)> [with T = float; U = x[3]] Oops (really)", "Oops (really)");
    expect_clean("Error: utils.cc:461 ValidatePath path does not exist: \"/models/x.bin\"",
                 "Error: path does not exist: \"/models/x.bin\"");
    expect_clean("file.cc:12", "file.cc:12"); /* no function after it: not a place */
    expect_clean("at 10:30 in a.ccx:5 b", "at 10:30 in a.ccx:5 b");
    expect_clean("a.cc:1 ", "");
    expect_clean("a.cc:1 ns::f(unbalanced", "");
    expect_clean("", "");
}

static void test_white_space_becomes_single_spaces(void **state) {
    expect_clean("  a\n\tb \r\n", "a b");
}

static void test_long_messages_are_cut(void **state) {
    char text[8];
    ort_reason_clean("0123456789", text, sizeof text);
    assert_string_equal(text, "0123456");
}

/* --- the head of a file --- */

static struct onnx_head read_head(const void *bytes, size_t size) {
    struct onnx_head head;
    struct sw_wire wire;
    sw_wire_init_memory(&wire, bytes, size);
    onnx_head_read(&wire, &head);
    return head;
}
#define HEAD(literal) read_head("" literal, sizeof(literal) - 1)

static void test_head_fields(void **state) {
    /* ir_version 8, producer_version "1.2", opset {domain "x", version 3}, opset {version 17}, a graph with input "i"
     * of a tensor type with a shape, and one "j" without */
    struct onnx_head head = HEAD("\x08\x08"
                                 "\x1a\x03"
                                 "1.2"
                                 "\x42\x05\x0a\x01x\x10\x03"
                                 "\x42\x02\x10\x11"
                                 "\x3a\x1a"
                                 "\x5a\x0d"
                                 "\x0a\x01i"
                                 "\x12\x08\x0a\x06\x08\x01\x12\x02\x0a\x00"
                                 "\x5a\x09"
                                 "\x0a\x01j"
                                 "\x12\x04\x0a\x02\x08\x01");
    assert_true(head.complete);
    assert_true(head.has_graph);
    assert_int_equal(head.ir_version, 8);
    assert_string_equal(head.producer_version, "1.2");
    assert_int_equal(head.opset_count, 2);
    assert_string_equal(head.opsets[0].domain, "x");
    assert_int_equal(head.opsets[0].version, 3);
    assert_string_equal(head.opsets[1].domain, "ai.onnx");
    assert_int_equal(head.opsets[1].version, 17);
    assert_string_equal(head.shapeless_input, "j");
}

static void test_head_of_broken_files(void **state) {
    assert_false(HEAD("\x08").complete);                                             /* a number is missing */
    assert_false(HEAD("\x3a\x7f\x01").complete);                                     /* a graph longer than the file */
    assert_false(HEAD("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").complete); /* an endless number */
    assert_false(HEAD("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x").complete);    /* a length of 2^64 - 1 */
    assert_false(HEAD("\x0b\x01").complete);                                         /* an unknown kind of field */
    assert_false(HEAD("\x42\x02\x0a\x05"
                      "abcdef")
                     .complete); /* a text longer than its message */
    assert_false(HEAD("plain text").complete);
    assert_true(HEAD("\x08\x07").complete);
    assert_false(HEAD("\x08\x07").has_graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_are_cut_out),    cmocka_unit_test(test_white_space_becomes_single_spaces),
        cmocka_unit_test(test_long_messages_are_cut), cmocka_unit_test(test_head_fields),
        cmocka_unit_test(test_head_of_broken_files),
    };
    return cmocka_run_group_tests_name("engine/ort_text", tests, NULL, NULL);
}
