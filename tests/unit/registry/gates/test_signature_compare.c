/* What breaks the callers of a live version, and what does not. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "registry/registry.h"

/* Signatures are written as 'inputs | outputs', each "NAME TYPE SHAPE" with '?' behind an optional name, by ';'. */
static json_t *value(char *text) {
    char name[40], type[20], shape[60];
    assert_int_equal(sscanf(text, " %39s %19s %59s", name, type, shape), 3);
    size_t n = strlen(name);
    bool optional = name[n - 1] == '?';
    name[n - optional] = '\0';
    json_t *dims = json_loads(shape, JSON_DECODE_ANY, NULL);
    assert_non_null(dims);
    json_t *json = json_pack("{s:s, s:o, s:o}", "name", name, "datatype",
                             strcmp(type, "null") == 0 ? json_null() : json_string(type), "shape", dims);
    if (optional) {
        json_object_set_new(json, "optional", json_true());
    }
    return json;
}

static json_t *list(char *text) {
    json_t *values = json_array();
    for (char *part = text, *next; part && part[strspn(part, " ")]; part = next) {
        next = strchr(part, ';');
        if (next) {
            *next++ = '\0';
        }
        json_array_append_new(values, value(part));
    }
    return values;
}

static json_t *signature(const char *text) {
    char copy[400];
    snprintf(copy, sizeof copy, "%s", text);
    char *bar = strchr(copy, '|');
    assert_non_null(bar);
    *bar = '\0';
    return json_pack("{s:o, s:o}", "inputs", list(copy), "outputs", list(bar + 1));
}

static void check(const char *live, const char *candidate, const char *why) {
    char got[512] = "untouched";
    json_t *a = signature(live), *b = signature(candidate);
    bool breaks = sw_signature_breaks(a, b, got, sizeof got);
    json_decref(a);
    json_decref(b);
    if (!why) {
        assert_string_equal(got, "untouched");
        assert_false(breaks);
    } else {
        assert_true(breaks);
        assert_string_equal(got, why);
    }
}

#define fits(live, candidate) check(live, candidate, NULL)

static void test_the_same_fits(void **state) {
    fits("x FP32 [-1,4]; s BYTES [] | y FP32 [-1,1]", "x FP32 [-1,4]; s BYTES [] | y FP32 [-1,1]");
    fits("x FP32 [4]; y INT64 [1] | z FP32 [1]; w BOOL [2]", "y INT64 [1]; x FP32 [4] | w BOOL [2]; z FP32 [1]");
    fits("|", "|");
}

static void test_inputs_may_widen_but_not_narrow(void **state) {
    fits("x FP32 [1,4] |", "x FP32 [-1,4] |");
    fits("x FP32 [1,4] |", "x FP32 [-1,-1] |");
    check("x FP32 [-1,4] |", "x FP32 [1,4] |", "input 'x' has shape [1,4], was [-1,4]");
    check("x FP32 [-1,4] |", "x FP32 [-1,5] |", "input 'x' has shape [-1,5], was [-1,4]");
    check("x FP32 [-1,4] |", "x FP32 [-1,4,1] |", "input 'x' has shape [-1,4,1], was [-1,4]");
    check("x FP32 [] |", "x FP32 [-1] |", "input 'x' has shape [-1], was []");
    fits("x FP32 [3] |", "x FP32 null |");
    check("x FP32 null |", "x FP32 [3] |", "input 'x' has shape [3], was any shape");
}

static void test_outputs_may_narrow_but_not_widen(void **state) {
    fits("| y FP32 [-1,3]", "| y FP32 [1,3]");
    check("| y FP32 [-1,3]", "| y FP32 [-1,-1]", "output 'y' has shape [-1,-1], was [-1,3]");
    check("| y FP32 [-1,3]", "| y FP32 [-1,4]", "output 'y' has shape [-1,4], was [-1,3]");
    check("| y FP32 [-1,3]", "| y FP32 [3]", "output 'y' has shape [3], was [-1,3]");
    fits("| y FP32 null", "| y FP32 [3]");
    check("| y FP32 [3]", "| y FP32 null", "output 'y' has shape any shape, was [3]");
}

static void test_datatypes(void **state) {
    check("x FP32 [1] |", "x FP64 [1] |", "input 'x' is FP64, was FP32");
    check("| y INT64 [1]", "| y INT32 [1]", "output 'y' is INT32, was INT64");
    check("| y INT64 [1]", "| y null [1]", "output 'y' is no tensor, was INT64");
    fits("| y null null", "| y null null");
}

static void test_names_that_come_and_go(void **state) {
    check("x FP32 [1] |", "X FP32 [1] |", "input 'x' is gone");
    check("x FP32 [1]; s FP32 [1] |", "x FP32 [1] |", "input 's' is gone"); /* who sends it is refused */
    check("x FP32 [1] |", "x FP32 [1]; z FP32 [1] |", "input 'z' is new and required");
    fits("x FP32 [1] |", "x FP32 [1]; z? FP32 [1] |");
    check("| y FP32 [1]", "| z FP32 [1]", "output 'y' is gone");
    fits("| y FP32 [1]", "| y FP32 [1]; z FP32 [1]");
}

static void test_what_is_optional(void **state) {
    check("x? FP32 [1] |", "x FP32 [1] |", "input 'x' has become required");
    fits("x FP32 [1] |", "x? FP32 [1] |");
    check("| y FP32 [1]", "| y? FP32 [1]", "output 'y' may now be missing");
    fits("| y? FP32 [1]", "| y FP32 [1]");
    check("| y? FP32 [1]", "|", "output 'y' is gone");
}

static void test_the_reason_fits_into_the_buffer(void **state) {
    char why[10];
    json_t *a = signature("x FP32 [1] |"), *b = signature("|");
    assert_true(sw_signature_breaks(a, b, why, sizeof why));
    assert_string_equal(why, "input 'x'");
    json_decref(a);
    json_decref(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_fits),
        cmocka_unit_test(test_inputs_may_widen_but_not_narrow),
        cmocka_unit_test(test_outputs_may_narrow_but_not_widen),
        cmocka_unit_test(test_datatypes),
        cmocka_unit_test(test_names_that_come_and_go),
        cmocka_unit_test(test_what_is_optional),
        cmocka_unit_test(test_the_reason_fits_into_the_buffer),
    };
    return cmocka_run_group_tests_name("registry/signature_compare", tests, NULL, NULL);
}
