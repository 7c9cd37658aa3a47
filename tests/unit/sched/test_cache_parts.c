/* Keys, values, flights: the parts of the result cache that are functions of what they are given. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/memory.h"
#include "sched/cache/flight.h"
#include "sched/cache/key.h"
#include "sched/cache/value.h"

/* ---- keys */

static struct sw_tensor_spec spec_items[] = {
    {.name = (char *)"a", .dtype = SW_DTYPE_FP32, .rank = 1, .shape = {-1}},
    {.name = (char *)"b", .dtype = SW_DTYPE_FP32, .rank = 1, .shape = {-1}, .optional = true},
    {.name = (char *)"t", .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {-1}, .optional = true},
};
static const struct sw_tensor_specs specs = {spec_items, 3};
static const struct sw_cache_key scope = {{1, 2, 3}};

static struct sw_tensor tensor(const char *name, enum sw_dtype dtype, void *data, int64_t count) {
    return (struct sw_tensor){
        .name = sw_str_of(name), .dtype = dtype, .rank = 1, .shape = {count}, .count = (size_t)count, .data = data};
}

static struct sw_cache_key key_of(const struct sw_tensor *inputs, size_t count) {
    struct sw_cache_key key;
    assert_true(sw_cache_key_make(&scope, 0, &specs, inputs, count, NULL, 0, &key));
    return key;
}

static void assert_same(struct sw_cache_key a, struct sw_cache_key b) {
    assert_true(sw_cache_key_eq(&a, &b));
}

static void assert_other(struct sw_cache_key a, struct sw_cache_key b) {
    assert_false(sw_cache_key_eq(&a, &b));
}

static void order_of_inputs_does_not_matter(void **state) {
    float x[] = {1, 2}, y[] = {3};
    struct sw_tensor ab[] = {tensor("a", SW_DTYPE_FP32, x, 2), tensor("b", SW_DTYPE_FP32, y, 1)};
    struct sw_tensor ba[] = {ab[1], ab[0]};
    assert_same(key_of(ab, 2), key_of(ba, 2));
}

static void everything_else_matters(void **state) {
    float x[] = {1, 2}, y[] = {1, 2}, z[] = {1, 2.0000002f};
    struct sw_tensor a = tensor("a", SW_DTYPE_FP32, x, 2), same = tensor("a", SW_DTYPE_FP32, y, 2);
    struct sw_cache_key key = key_of(&a, 1);
    assert_same(key, key_of(&same, 1));
    struct sw_tensor number = tensor("a", SW_DTYPE_FP32, z, 2), shorter = tensor("a", SW_DTYPE_FP32, x, 1);
    assert_other(key, key_of(&number, 1));
    assert_other(key, key_of(&shorter, 1));
    struct sw_tensor type = tensor("a", SW_DTYPE_INT32, x, 2), shape = a, name = tensor("b", SW_DTYPE_FP32, x, 2);
    shape.rank = 2;
    shape.shape[0] = 1;
    shape.shape[1] = 2;
    assert_other(key, key_of(&type, 1));
    assert_other(key, key_of(&shape, 1));
    assert_other(key, key_of(&name, 1));
    struct sw_tensor both[] = {a, tensor("b", SW_DTYPE_FP32, x, 0)};
    assert_other(key, key_of(both, 2)); /* given as nothing is not left out */

    struct sw_cache_key other;
    const struct sw_cache_key other_scope = {{1, 2, 4}};
    assert_true(sw_cache_key_make(&other_scope, 0, &specs, &a, 1, NULL, 0, &other));
    assert_other(key, other);
    assert_true(sw_cache_key_make(&scope, 1, &specs, &a, 1, NULL, 0, &other));
    assert_other(key, other);
}

static void wanted_outputs_are_a_set(void **state) {
    float x[] = {1};
    struct sw_tensor a = tensor("a", SW_DTYPE_FP32, x, 1);
    const uint32_t first[] = {0, 2}, turned[] = {2, 0}, one[] = {0};
    struct sw_cache_key k1, k2, k3;
    assert_true(sw_cache_key_make(&scope, 0, &specs, &a, 1, first, 2, &k1));
    assert_true(sw_cache_key_make(&scope, 0, &specs, &a, 1, turned, 2, &k2));
    assert_true(sw_cache_key_make(&scope, 0, &specs, &a, 1, one, 1, &k3));
    assert_same(k1, k2);
    assert_other(k1, k3);
    assert_other(k1, key_of(&a, 1));
}

/* Strings are not run together: "ab","c" is not "a","bc". */
static void strings_keep_their_borders(void **state) {
    struct sw_str p[] = {SW_STR("ab"), SW_STR("c")}, q[] = {SW_STR("a"), SW_STR("bc")};
    float x[] = {1};
    struct sw_tensor one[] = {tensor("a", SW_DTYPE_FP32, x, 1), tensor("t", SW_DTYPE_BYTES, p, 2)};
    struct sw_tensor two[] = {one[0], tensor("t", SW_DTYPE_BYTES, q, 2)};
    assert_other(key_of(one, 2), key_of(two, 2));
    const struct sw_str parts1[] = {SW_STR("ab"), SW_STR("c")}, parts2[] = {SW_STR("a"), SW_STR("bc")};
    struct sw_cache_key s1, s2;
    sw_cache_scope(parts1, 2, &s1);
    sw_cache_scope(parts2, 2, &s2);
    assert_other(s1, s2);
}

static void other_inputs_have_no_key(void **state) {
    float x[] = {1};
    struct sw_cache_key key;
    struct sw_tensor twice[] = {tensor("a", SW_DTYPE_FP32, x, 1), tensor("a", SW_DTYPE_FP32, x, 1)};
    struct sw_tensor unknown = tensor("q", SW_DTYPE_FP32, x, 1);
    assert_false(sw_cache_key_make(&scope, 0, &specs, twice, 2, NULL, 0, &key));
    assert_false(sw_cache_key_make(&scope, 0, &specs, &unknown, 1, NULL, 0, &key));
}

/* ---- values */

static struct sw_str texts[] = {{"one", 3}, {"", 0}, {"t\0o", 3}};

static struct sw_cache_value *make(size_t bytes_max) {
    static double numbers[] = {1.5, -0.0, 3};
    static const uint32_t places[] = {2, 0, 1};
    const struct sw_tensor outputs[] = {
        tensor("t", SW_DTYPE_BYTES, texts, 3), tensor("a", SW_DTYPE_FP64, numbers, 3), {.name = SW_STR("b")}};
    return sw_cache_value_create(outputs, places, 3, 1234, bytes_max);
}

static struct sw_tensor_spec out_items[] = {{.name = (char *)"a", .dtype = SW_DTYPE_FP64, .rank = 1, .shape = {-1}},
                                            {.name = (char *)"b", .dtype = SW_DTYPE_INT8, .rank = 3},
                                            {.name = (char *)"t", .dtype = SW_DTYPE_BYTES, .rank = 1, .shape = {-1}}};
static const struct sw_tensor_specs outs = {out_items, 3};

static void assert_reads(const struct sw_cache_value *value) {
    struct sw_arena arena;
    struct sw_tensor *t;
    struct sw_error err;
    size_t count;
    const uint32_t wanted[] = {2, 1};
    sw_arena_init(&arena, 0, 0);
    assert_int_equal(sw_cache_value_read(value, &outs, NULL, 0, &arena, &t, &count, &err), SW_OK);
    assert_int_equal(count, 3);
    assert_true(sw_str_is(t[0].name, "a") && t[0].dtype == SW_DTYPE_FP64 && t[0].count == 3);
    assert_true(((double *)t[0].data)[0] == 1.5 && ((double *)t[0].data)[2] == 3);
    assert_int_equal((uintptr_t)t[0].data % 64, 0);
    assert_int_equal(t[1].dtype, SW_DTYPE_INVALID);
    const struct sw_str *s = t[2].data;
    assert_true(sw_str_eq(s[0], texts[0]) && s[1].len == 0 && sw_str_eq(s[2], texts[2]));
    assert_int_equal(sw_cache_value_read(value, &outs, wanted, 2, &arena, &t, &count, &err), SW_OK);
    assert_true(count == 2 && sw_str_is(t[0].name, "t") && sw_str_is(t[1].name, "b"));
    sw_arena_deinit(&arena);
}

static void values_come_back(void **state) {
    struct sw_cache_value *value = make(SIZE_MAX), *copy;
    struct sw_error err;
    assert_reads(value);
    assert_int_equal(sw_cache_value_made_ms(value), 1234);
    assert_int_equal(sw_cache_value_parse(sw_cache_value_bytes(value), &copy, &err), SW_OK);
    assert_reads(copy);
    assert_int_equal(sw_cache_value_made_ms(copy), 1234);
    sw_cache_value_unref(copy);
    size_t bytes = sw_cache_value_bytes(value).len;
    sw_cache_value_unref(value);
    assert_null(make(bytes - 1));
    value = make(bytes);
    assert_non_null(value);
    sw_cache_value_unref(value);
}

static void values_of_another_model_are_refused(void **state) {
    struct sw_arena arena;
    struct sw_tensor *t;
    size_t count;
    struct sw_cache_value *value = make(SIZE_MAX);
    sw_arena_init(&arena, 0, 0);
    struct sw_tensor_spec other[] = {out_items[0], out_items[1], out_items[2], out_items[0]};
    const struct sw_tensor_specs more = {other, 4};
    assert_int_equal(sw_cache_value_read(value, &more, NULL, 0, &arena, &t, &count, NULL), SW_E_INTERNAL);
    other[0].dtype = SW_DTYPE_FP32;
    const struct sw_tensor_specs type = {other, 3};
    assert_int_equal(sw_cache_value_read(value, &type, NULL, 0, &arena, &t, &count, NULL), SW_E_INTERNAL);
    sw_arena_deinit(&arena);
    sw_cache_value_unref(value);
}

/* Every cut, and every byte of the head changed: refused, or a value that reads without going astray. */
static void damaged_values_are_refused_or_harmless(void **state) {
    struct sw_cache_value *value = make(SIZE_MAX), *got;
    struct sw_str bytes = sw_cache_value_bytes(value);
    char *copy = sw_xmalloc(bytes.len);
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 1 << 16);
    for (size_t cut = 0; cut < bytes.len; cut++) {
        assert_int_equal(sw_cache_value_parse((struct sw_str){bytes.data, cut}, &got, NULL), SW_E_INVALID_ARGUMENT);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        for (int change = 1; change < 256; change += 50) {
            memcpy(copy, bytes.data, bytes.len);
            copy[i] = (char)(copy[i] + change);
            if (sw_cache_value_parse((struct sw_str){copy, bytes.len}, &got, NULL) == SW_OK) {
                struct sw_tensor *t;
                size_t count;
                (void)!sw_cache_value_read(got, &outs, NULL, 0, &arena, &t, &count, NULL);
                sw_arena_reset(&arena);
                sw_cache_value_unref(got);
            }
        }
    }
    sw_arena_deinit(&arena);
    sw_free(copy);
    sw_cache_value_unref(value);
}

/* ---- flights */

static struct sw_flight member(uint8_t key, uint64_t deadline, bool urgent) {
    return (struct sw_flight){.key = {{key}}, .deadline_ns = deadline, .urgent = urgent};
}

static void one_leads_and_the_others_wait(void **state) {
    struct sw_flights *f = sw_flights_create();
    struct sw_flight a = member(1, 0, false), b = a, c = a, other = member(2, 0, false), after = a;
    assert_int_equal(sw_flights_join(f, &a), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &b), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &other), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &c), SW_FLIGHT_WAITS);
    struct sw_flight *waiter = sw_flights_land(f, &a);
    assert_ptr_equal(waiter, &b);
    assert_ptr_equal(waiter->next, &c);
    assert_null(c.next);
    assert_int_equal(sw_flights_join(f, &after), SW_FLIGHT_LEADS); /* that one is over */
    assert_null(sw_flights_land(f, &after));
    assert_null(sw_flights_pass(f, &other));
    sw_flights_destroy(f);
}

static void the_lead_is_passed_on(void **state) {
    struct sw_flights *f = sw_flights_create();
    struct sw_flight a = member(1, 0, false), b = a, c = a, d = a;
    assert_int_equal(sw_flights_join(f, &a), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &b), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &c), SW_FLIGHT_WAITS);
    assert_ptr_equal(sw_flights_pass(f, &a), &b);
    assert_int_equal(sw_flights_join(f, &d), SW_FLIGHT_WAITS);
    assert_ptr_equal(sw_flights_pass(f, &b), &c);
    assert_ptr_equal(sw_flights_land(f, &c), &d);
    assert_null(d.next);
    sw_flights_destroy(f);
}

/* Or the others would wait for one that may take longer than they have. */
static void who_has_least_time_inherits(void **state) {
    struct sw_flights *f = sw_flights_create();
    struct sw_flight a = member(1, 100, false), b = member(1, 300, false), c = member(1, 150, false),
                     d = member(1, 0, false);
    assert_int_equal(sw_flights_join(f, &a), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &d), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &b), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &c), SW_FLIGHT_WAITS);
    assert_ptr_equal(sw_flights_pass(f, &a), &c);
    struct sw_flight e = member(1, 200, false);
    assert_int_equal(sw_flights_join(f, &e), SW_FLIGHT_WAITS);
    assert_ptr_equal(sw_flights_pass(f, &c), &e);
    assert_ptr_equal(sw_flights_pass(f, &e), &b);
    assert_ptr_equal(sw_flights_pass(f, &b), &d);
    assert_null(sw_flights_pass(f, &d));
    sw_flights_destroy(f);
}

static void of_equal_deadlines_the_urgent_inherits(void **state) {
    struct sw_flights *f = sw_flights_create();
    struct sw_flight a = member(1, 0, true), normal = member(1, 0, false), urgent = member(1, 0, true);
    assert_int_equal(sw_flights_join(f, &a), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &normal), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &urgent), SW_FLIGHT_WAITS);
    assert_ptr_equal(sw_flights_pass(f, &a), &urgent);
    assert_ptr_equal(sw_flights_pass(f, &urgent), &normal);
    assert_null(sw_flights_pass(f, &normal));
    sw_flights_destroy(f);
}

static void nobody_waits_who_could_be_late(void **state) {
    struct sw_flights *f = sw_flights_create();
    struct sw_flight leader = member(1, 100, false), same = leader, later = member(1, 200, false),
                     sooner = member(1, 99, false), any = member(1, 0, false), urgent = member(1, 200, true);
    assert_int_equal(sw_flights_join(f, &leader), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &same), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &later), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &sooner), SW_FLIGHT_ALONE);
    assert_int_equal(sw_flights_join(f, &any), SW_FLIGHT_WAITS);
    assert_int_equal(sw_flights_join(f, &urgent), SW_FLIGHT_ALONE);
    assert_ptr_equal(sw_flights_land(f, &leader), &same);

    struct sw_flight endless = member(1, 0, true), bounded = member(1, 1000, false), both = member(1, 0, true);
    assert_int_equal(sw_flights_join(f, &endless), SW_FLIGHT_LEADS);
    assert_int_equal(sw_flights_join(f, &bounded), SW_FLIGHT_ALONE); /* its leader is never given up */
    assert_int_equal(sw_flights_join(f, &both), SW_FLIGHT_WAITS);
    assert_ptr_equal(sw_flights_land(f, &endless), &both);
    sw_flights_destroy(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_inputs_does_not_matter),
        cmocka_unit_test(everything_else_matters),
        cmocka_unit_test(wanted_outputs_are_a_set),
        cmocka_unit_test(strings_keep_their_borders),
        cmocka_unit_test(other_inputs_have_no_key),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(values_of_another_model_are_refused),
        cmocka_unit_test(damaged_values_are_refused_or_harmless),
        cmocka_unit_test(one_leads_and_the_others_wait),
        cmocka_unit_test(the_lead_is_passed_on),
        cmocka_unit_test(who_has_least_time_inherits),
        cmocka_unit_test(of_equal_deadlines_the_urgent_inherits),
        cmocka_unit_test(nobody_waits_who_could_be_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
