/* Arena, buffer, map, strings, hash, error messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/memory.h"

/* ---- arena ---- */

static void arena_aligns_and_keeps_apart(void **state) {
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    unsigned char *before = NULL;
    for (size_t i = 0; i < 2000; i++) {
        size_t align = (size_t)1 << (i % 13), size = i * 7 % 513;
        unsigned char *p = sw_arena_alloc_aligned(&arena, size, align);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, (int)i, size);
        if (before && size && *before != (unsigned char)(i - 1) && (i - 1) * 7 % 513) {
            fail_msg("allocation %zu overlaps the one before", i);
        }
        before = p;
    }
    assert_int_equal((uintptr_t)sw_arena_alloc(&arena, 1) % 16, 0);
    assert_non_null(sw_arena_alloc(&arena, 0));
    sw_arena_deinit(&arena);
    assert_int_equal(arena.allocated, 0);
}

static void arena_limit(void **state) {
    struct sw_arena arena;
    sw_arena_init(&arena, 100000, 100000);
    assert_null(sw_arena_alloc(&arena, 100001));
    assert_null(sw_arena_alloc(&arena, SIZE_MAX));
    assert_null(sw_arena_alloc_aligned(&arena, SIZE_MAX - 100, 4096));
    assert_null(sw_arena_calloc(&arena, SIZE_MAX / 2, 4));
    assert_non_null(sw_arena_alloc(&arena, 100000));
    assert_null(sw_arena_alloc(&arena, 1));
    sw_arena_reset(&arena);
    for (int i = 0; i < 100; i++) { /* exactly the limit, in small pieces */
        assert_non_null(sw_arena_alloc_aligned(&arena, 1000, 1));
    }
    assert_null(sw_arena_alloc_aligned(&arena, 1, 1));
    sw_arena_deinit(&arena);
}

/* What is kept over a reset must not count against the next request: it failed when the kept chunks were too small. */
static void arena_kept_chunks_do_not_fill_the_limit(void **state) {
    struct sw_arena arena;
    sw_arena_init(&arena, 100000, 64 * 1024);
    for (int i = 0; i < 4; i++) {
        assert_non_null(sw_arena_alloc(&arena, 16 * 1024));
    }
    sw_arena_reset(&arena);
    assert_int_equal(arena.allocated, 64 * 1024);
    assert_non_null(sw_arena_alloc(&arena, 90000));
    assert_true(arena.allocated <= 100000);
    sw_arena_deinit(&arena);
}

static void arena_reset_keeps_and_reuses(void **state) {
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 32 * 1024);
    void *first = sw_arena_alloc(&arena, 100);
    assert_non_null(sw_arena_alloc(&arena, 1 << 20));
    sw_arena_reset(&arena);
    assert_true(arena.allocated <= 32 * 1024 && arena.allocated > 0); /* the large chunk went */
    assert_ptr_equal(sw_arena_alloc(&arena, 100), first);
    sw_arena_deinit(&arena);
}

static char order[8];

static void note(void *arg) {
    size_t n = strlen(order);
    order[n] = *(char *)arg;
    order[n + 1] = '\0';
}

static void arena_defers_run_newest_first_once(void **state) {
    struct sw_arena arena;
    char a = 'a', b = 'b', c = 'c';
    order[0] = '\0';
    sw_arena_init(&arena, 0, 1 << 20);
    assert_true(sw_arena_defer(&arena, note, &a));
    assert_true(sw_arena_defer(&arena, note, &b));
    sw_arena_reset(&arena);
    assert_string_equal(order, "ba");
    assert_true(sw_arena_defer(&arena, note, &c));
    sw_arena_deinit(&arena);
    assert_string_equal(order, "bac");
    sw_arena_init(&arena, 8, 0);
    assert_false(sw_arena_defer(&arena, note, &a)); /* no room: not registered */
    sw_arena_deinit(&arena);
    assert_string_equal(order, "bac");
}

static void arena_grows(void **state) {
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    char *p = sw_arena_grow(&arena, NULL, 0, 10, 16);
    memcpy(p, "123456789", 10);
    assert_ptr_equal(sw_arena_grow(&arena, p, 10, 100, 16), p); /* the newest: in place */
    void *other = sw_arena_alloc(&arena, 1);
    char *moved = sw_arena_grow(&arena, p, 100, 200, 16);
    assert_ptr_not_equal(moved, p);
    assert_string_equal(moved, "123456789");
    assert_ptr_not_equal(other, moved);
    assert_string_equal(sw_arena_grow(&arena, moved, 200, 1 << 20, 64), "123456789");
    assert_string_equal(sw_arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    assert_string_equal(sw_arena_strdup(&arena, (struct sw_str){NULL, 0}), "");
    assert_string_equal(sw_arena_strdup(&arena, (struct sw_str){"abc", 2}), "ab");
    const unsigned char *zero = sw_arena_calloc(&arena, 100, 3);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(zero[i], 0);
    }
    sw_arena_deinit(&arena);
}

/* ---- buffer ---- */

static void buffer_stops_at_its_maximum(void **state) {
    struct sw_buf buf;
    sw_buf_init(&buf, 10);
    SW_LIT(&buf, "12345");
    sw_buf_printf(&buf, "%d", 67890);
    assert_false(buf.failed);
    assert_string_equal(buf.data, "1234567890");
    assert_int_equal(buf.capacity, 11); /* never more than it may hold */
    sw_buf_append_c(&buf, 'x');
    assert_true(buf.failed);
    assert_string_equal(buf.data, "1234567890");
    sw_buf_append(&buf, "", 0);
    assert_true(buf.failed); /* stays failed until cleared */
    sw_buf_clear(&buf);
    assert_string_equal(buf.data, "");
    assert_false(sw_buf_reserve(&buf, SIZE_MAX));
    sw_buf_deinit(&buf);
    assert_null(buf.data);
}

static void buffer_in_an_arena(void **state) {
    struct sw_arena arena;
    struct sw_buf buf;
    sw_arena_init(&arena, 100000, 0);
    sw_buf_init_arena(&buf, &arena, 1 << 20);
    for (int i = 0; i < 3000; i++) {
        sw_buf_printf(&buf, "%04d,", i);
    }
    assert_false(buf.failed);
    assert_int_equal(buf.len, 15000);
    assert_memory_equal(buf.data + 5 * 2999, "2999,", 5);
    for (int i = 0; i < 100000; i++) {
        sw_buf_append_c(&buf, 'x');
    }
    assert_true(buf.failed); /* the arena's limit, not the buffer's */
    sw_arena_deinit(&arena);
}

static void assert_json(const char *bytes, size_t len, const char *expected) {
    struct sw_buf buf;
    sw_buf_init(&buf, 1000);
    sw_buf_append_json(&buf, (struct sw_str){bytes, len});
    assert_string_equal(buf.data, expected);
    sw_buf_deinit(&buf);
}

static void buffer_writes_json_strings(void **state) {
    assert_json(NULL, 0, "\"\"");
    assert_json("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
    assert_json("\n\r\t\b\x1f\x7f", 6, "\"\\n\\r\\t\\u0008\\u001f\\u007f\"");
    assert_json("a\0b", 3, "\"a\\u0000b\"");
    assert_json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\xa2", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\xa2\"");
    assert_json("\xe9 \xc3", 3, "\"\xef\xbf\xbd \xef\xbf\xbd\"");
    assert_json("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* a surrogate */
}

/* ---- map ---- */

static void map_against_a_trivial_one(void **state) {
    enum { KEYS = 300, STEPS = 20000 };
    static char present[KEYS];
    static int values[KEYS];
    struct sw_map map;
    sw_map_init(&map);
    memset(present, 0, sizeof present);
    uint64_t random = 1;
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(random >> 33) % KEYS;
        char key[16];
        struct sw_str name = {key, (size_t)snprintf(key, sizeof key, "key%zu", k)};
        void *had = present[k] ? &values[k] : NULL;
        assert_ptr_equal(sw_map_get(&map, name), had);
        if ((random >> 20) % 3) {
            assert_ptr_equal(sw_map_put(&map, name, &values[k]), had);
            count += !present[k];
            present[k] = 1;
        } else {
            assert_ptr_equal(sw_map_remove(&map, name), had);
            count -= (size_t)present[k];
            present[k] = 0;
        }
        assert_int_equal(map.count, count);
    }
    size_t seen = 0;
    const struct sw_map_entry *e;
    for (size_t i = 0; (e = sw_map_next(&map, &i)); seen++) {
        assert_true(present[(int *)e->value - values]);
        assert_int_equal(strlen(e->key), e->key_len);
    }
    assert_int_equal(seen, count);
    assert_true(map.capacity <= 4 * KEYS); /* removed entries are reused */
    sw_map_deinit(&map);
}

static void map_keys_are_bytes(void **state) {
    struct sw_map map;
    int a, b, c;
    sw_map_init(&map);
    assert_null(sw_map_get(&map, SW_STR("a")));
    assert_null(sw_map_remove(&map, SW_STR("a")));
    sw_map_put(&map, SW_STR("a"), &a);
    sw_map_put(&map, SW_STR("a\0b"), &b);
    sw_map_put(&map, SW_STR("a\0"), &c);
    assert_ptr_equal(sw_map_get(&map, SW_STR("a")), &a);
    assert_ptr_equal(sw_map_get(&map, SW_STR("a\0b")), &b);
    assert_ptr_equal(sw_map_get(&map, SW_STR("a\0")), &c);
    assert_null(sw_map_get(&map, (struct sw_str){NULL, 0}));
    sw_map_deinit(&map);
}

/* ---- strings ---- */

static void strings_compare_and_split(void **state) {
    assert_true(sw_str_ieq(SW_STR("Content-Type"), SW_STR("content-tYPE")));
    assert_false(sw_str_ieq(SW_STR("a"), SW_STR("ab")));
    assert_false(sw_str_ieq(SW_STR("@"), SW_STR("`"))); /* 32 apart, but no letters */
    assert_true(sw_str_starts(SW_STR("abc"), SW_STR("")));
    assert_true(sw_str_starts(SW_STR("abc"), SW_STR("abc")));
    assert_false(sw_str_starts(SW_STR("ab"), SW_STR("abc")));
    assert_true(sw_str_ends(SW_STR("m.onnx"), SW_STR(".onnx")));
    assert_false(sw_str_ends(SW_STR("onnx"), SW_STR(".onnx")));
    assert_true(sw_str_is(sw_str_trim(SW_STR(" \t a b\t ")), "a b"));
    assert_int_equal(sw_str_trim(SW_STR(" \t ")).len, 0);
    struct sw_str head, rest = sw_str_split(SW_STR("a,,b"), ',', &head);
    assert_true(sw_str_is(head, "a"));
    rest = sw_str_split(rest, ',', &head);
    assert_int_equal(head.len, 0);
    rest = sw_str_split(rest, ',', &head);
    assert_true(sw_str_is(head, "b"));
    assert_null(rest.data);
    rest = sw_str_split(SW_STR("a,"), ',', &head);
    assert_non_null(rest.data); /* an empty last part is a part */
}

static void integers(void **state) {
    static const struct {
        const char *text;
        bool u_ok, i_ok;
        uint64_t u;
        int64_t i;
    } cases[] = {
        {"0", true, true, 0, 0},
        {"18446744073709551615", true, false, UINT64_MAX, 0},
        {"18446744073709551616", false, false, 0, 0},
        {"99999999999999999999", false, false, 0, 0},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", true, false, (uint64_t)INT64_MAX + 1, 0},
        {"-9223372036854775808", false, true, 0, INT64_MIN},
        {"-9223372036854775809", false, false, 0, 0},
        {"-0", false, true, 0, 0},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"+1", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"1x", false, false, 0, 0},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        uint64_t u = 77;
        int64_t s = 77;
        struct sw_str text = sw_str_of(cases[i].text);
        assert_int_equal(sw_parse_u64(text, &u), cases[i].u_ok);
        assert_int_equal(u, cases[i].u_ok ? cases[i].u : 77); /* untouched on failure */
        assert_int_equal(sw_parse_i64(text, &s), cases[i].i_ok);
        assert_int_equal(s, cases[i].i_ok ? cases[i].i : 77);
    }
}

/* Every sequence of up to three bytes and a sample of four, against the definition: decode, encode, compare. */
static bool utf8_reference(const unsigned char *p, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t n = p[i] < 0x80             ? 1
                   : (p[i] & 0xe0) == 0xc0 ? 2
                   : (p[i] & 0xf0) == 0xe0 ? 3
                   : (p[i] & 0xf8) == 0xf0 ? 4
                                           : 0;
        if (n == 0 || n > len - i) {
            return false;
        }
        uint32_t c = n == 1 ? p[i] : p[i] & (0x7fu >> n);
        for (size_t j = 1; j < n; j++) {
            if ((p[i + j] & 0xc0) != 0x80) {
                return false;
            }
            c = c << 6 | (p[i + j] & 0x3f);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return false;
        }
        i += n;
    }
    return true;
}

static void utf8(void **state) {
    for (uint32_t x = 0; x < 1u << 24; x += (x >> 16) < 0x80 ? 251 : 1) {
        unsigned char text[11] = {
            'a', 'b', 'c', 'd', 'e', 'f', 'g', (unsigned char)(x >> 16), (unsigned char)(x >> 8), (unsigned char)x,
            0x80};
        struct sw_str three = {(char *)text + 7, 3}, four = {(char *)text + 7, 4};
        if (sw_utf8_valid(three) != utf8_reference(text + 7, 3) || sw_utf8_valid(four) != utf8_reference(text + 7, 4)) {
            fail_msg("%02x %02x %02x (80)", text[7], text[8], text[9]);
        }
    }
    assert_true(sw_utf8_valid(SW_STR("0123456789abcdef\xf0\x9f\x9a\xa2")));
    assert_false(sw_utf8_valid(SW_STR("01234567\xff"
                                      "9abcdef")));
    assert_true(sw_utf8_valid((struct sw_str){NULL, 0}));
}

/* ---- hash ---- */

static void hash_is_stable(void **state) {
    /* Sticky routing relies on these never changing. FNV-1a, then the splitmix64 finish. */
    assert_true(sw_hash("", 0, 0) == 0xf52a15e9a9b5e89bu);
    assert_true(sw_hash("a", 1, 0) == 0x02c0bdbf481420f8u);
    assert_true(sw_hash("slipway", 7, 0) != sw_hash("slipway", 7, 1));
    unsigned buckets[16] = {0};
    for (int i = 0; i < 16000; i++) {
        char key[16];
        buckets[sw_hash(key, (size_t)snprintf(key, sizeof key, "user-%d", i), 0) >> 60]++;
    }
    for (int i = 0; i < 16; i++) {
        assert_in_range(buckets[i], 800, 1200); /* 1000 expected, 6 sigma */
    }
}

static void random_ids_differ(void **state) {
    char a[33], b[33];
    sw_random_id(a);
    sw_random_id(b);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_int_equal(strlen(a), 32);
    assert_string_not_equal(a, b);
}

/* ---- errors ---- */

static void assert_message(const char *given, const char *expected) {
    struct sw_error err;
    assert_int_equal(sw_fail(&err, SW_E_IO, "%s", given), SW_E_IO);
    assert_string_equal(err.message, expected);
}

static void error_messages_are_clean(void **state) {
    assert_int_equal(sw_fail(NULL, SW_E_IO, "nobody listens"), SW_E_IO);
    assert_message("plain", "plain");
    assert_message("tab\tline\nend\x7f", "tab?line?end?");
    assert_message("caf\xc3\xa9 \xe9t\xe9 \xe2\x82\xac", "caf\xc3\xa9 ?t? \xe2\x82\xac"); /* only what is wrong goes */
    assert_message("ends badly \xff", "ends badly ?");
    assert_message("ends half \xe2\x82", "ends half ??");
    assert_message("\xc2\x9b control", "?? control");
}

static void error_messages_are_cut_at_a_character(void **state) {
    char text[600];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        memcpy(text + SW_ERROR_MESSAGE_MAX - 1 - shift, "\xf0\x9f\x9a\xa2", 4);
        struct sw_error err;
        sw_fail(&err, SW_E_IO, "%s", text);
        assert_int_equal(strlen(err.message), SW_ERROR_MESSAGE_MAX - 1 - shift);
        assert_true(sw_utf8_valid(sw_str_of(err.message)));
    }
}

static void error_prefix_and_own_message(void **state) {
    struct sw_error err;
    sw_fail(&err, SW_E_NOT_FOUND, "no such file");
    const char *origin = err.origin;
    assert_int_equal(sw_error_prefix(&err, "model %s", "m\n"), SW_E_NOT_FOUND);
    assert_string_equal(err.message, "model m?: no such file");
    assert_ptr_equal(err.origin, origin);
    sw_fail(&err, SW_E_IO, "again: %s", err.message); /* the message as its own argument */
    assert_string_equal(err.message, "again: model m?: no such file");
    char longest[600];
    memset(longest, 'y', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    sw_error_prefix(&err, "%s", longest);
    assert_int_equal(strlen(err.message), SW_ERROR_MESSAGE_MAX - 1);
}

static void status_table_is_complete(void **state) {
    for (int s = 0; s < SW_STATUS_COUNT; s++) {
        assert_non_null(sw_status_table[s].name);
        assert_in_range(sw_status_http((sw_status)s), 200, 599);
        assert_in_range(sw_status_table[s].exit, 0, 3);
    }
    assert_string_equal(sw_status_name(SW_E_NOT_FOUND), "not_found");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_aligns_and_keeps_apart),
        cmocka_unit_test(arena_limit),
        cmocka_unit_test(arena_kept_chunks_do_not_fill_the_limit),
        cmocka_unit_test(arena_reset_keeps_and_reuses),
        cmocka_unit_test(arena_defers_run_newest_first_once),
        cmocka_unit_test(arena_grows),
        cmocka_unit_test(buffer_stops_at_its_maximum),
        cmocka_unit_test(buffer_in_an_arena),
        cmocka_unit_test(buffer_writes_json_strings),
        cmocka_unit_test(map_against_a_trivial_one),
        cmocka_unit_test(map_keys_are_bytes),
        cmocka_unit_test(strings_compare_and_split),
        cmocka_unit_test(integers),
        cmocka_unit_test(utf8),
        cmocka_unit_test(hash_is_stable),
        cmocka_unit_test(random_ids_differ),
        cmocka_unit_test(error_messages_are_clean),
        cmocka_unit_test(error_messages_are_cut_at_a_character),
        cmocka_unit_test(error_prefix_and_own_message),
        cmocka_unit_test(status_table_is_complete),
    };
    return cmocka_run_group_tests_name("base/memory", tests, NULL, NULL);
}
