/* What the client of Redis writes and reads: commands, keys and their slots, envelopes, answers in pieces, the map of a
 * cluster. The expected bytes are those of the protocol's specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "sched/cache/redis_internal.h"

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"

static void make_key(uint8_t key[SW_REDIS_KEY]) {
    for (unsigned i = 0; i < SW_REDIS_KEY; i++) {
        key[i] = (uint8_t)i;
    }
    key[SW_REDIS_KEY - 1] = 0xff;
}

/* --- written ------------------------------------------------------------------------------------------------------ */

static void commands(void **state) {
    struct redis_keys keys;
    struct redis_digest digest;
    struct sw_buf out;
    struct sw_redis_entry entry = {.value = SW_STR("two\r\nlines"), .ttl_ms = 86400000};
    uint8_t envelope[REDIS_ENVELOPE];
    make_key(entry.key);
    redis_keys_init(&keys, "p:");
    assert_true(redis_digest_init(&digest));
    sw_buf_init(&out, 10000);
    redis_command(&out, 2, (struct sw_str[]){SW_STR("AUTH"), SW_STR("a b\r\n")});
    assert_string_equal(out.data, "*2\r\n$4\r\nAUTH\r\n$5\r\na b\r\n\r\n");
    sw_buf_clear(&out);
    redis_write_get(&keys, entry.key, &out);
    assert_string_equal(out.data, "*2\r\n$3\r\nGET\r\n$66\r\np:" DIGITS "\r\n");
    sw_buf_clear(&out);
    redis_write_set(&keys, &digest, &entry, &out);
    static const char head[] = "*5\r\n$3\r\nSET\r\n$66\r\np:" DIGITS "\r\n$58\r\n";
    static const char tail[] = "two\r\nlines\r\n$2\r\nPX\r\n$8\r\n86400000\r\n";
    redis_envelope_make(&digest, entry.key, entry.value, envelope);
    assert_int_equal(out.len, strlen(head) + REDIS_ENVELOPE + strlen(tail));
    assert_memory_equal(out.data, head, strlen(head));
    assert_memory_equal(out.data + strlen(head), envelope, REDIS_ENVELOPE);
    assert_string_equal(out.data + strlen(head) + REDIS_ENVELOPE, tail);
    sw_buf_deinit(&out);
    redis_digest_deinit(&digest);
}

static void keys_and_slots(void **state) {
    struct redis_keys keys;
    char text[REDIS_KEY_MAX];
    redis_keys_init(&keys, "slipway:cache:");
    size_t len = redis_key_of_generation(&keys, "digits", text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, "slipway:cache:generation:digits");
    assert_int_equal(redis_slot_of(SW_STR("123456789")), 0x31c3); /* the check value of CRC-16/XMODEM, below 16384 */
    assert_int_equal(redis_slot_of(SW_STR("foo")), 12182);
    assert_int_equal(redis_slot_of(SW_STR("a{foo}b")), 12182);
    assert_int_equal(redis_slot_of(SW_STR("{foo}{bar}")), 12182);
    assert_int_not_equal(redis_slot_of(SW_STR("{}foo")), 12182);
    assert_int_not_equal(redis_slot_of(SW_STR("{foo")), 12182);
}

static void envelopes_of_others_are_refused(void **state) {
    struct redis_digest digest;
    uint8_t key[SW_REDIS_KEY];
    char bytes[REDIS_ENVELOPE + 5];
    struct sw_str value, whole = {bytes, sizeof bytes};
    make_key(key);
    assert_true(redis_digest_init(&digest));
    redis_envelope_make(&digest, key, SW_STR("value"), (uint8_t *)bytes);
    memcpy(bytes + REDIS_ENVELOPE, "value", 5);
    assert_true(redis_envelope_open(&digest, key, whole, &value));
    assert_true(sw_str_is(value, "value"));
    for (size_t len = 0; len < sizeof bytes; len++) {
        assert_false(redis_envelope_open(&digest, key, (struct sw_str){bytes, len}, &value));
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 0x40;
        assert_false(redis_envelope_open(&digest, key, whole, &value));
        bytes[i] ^= 0x40;
    }
    key[0] ^= 1; /* written for another key */
    assert_false(redis_envelope_open(&digest, key, whole, &value));
    key[0] ^= 1;
    assert_true(redis_envelope_open(&digest, key, whole, &value));
    redis_envelope_make(&digest, key, SW_STR(""), (uint8_t *)bytes);
    assert_true(redis_envelope_open(&digest, key, (struct sw_str){bytes, REDIS_ENVELOPE}, &value));
    assert_int_equal(value.len, 0);
    assert_non_null(value.data);
    redis_digest_deinit(&digest);
}

/* --- read --------------------------------------------------------------------------------------------------------- */

enum { TEXT_MAX = 100, PARTS_MAX = 50 };

/* One line a part: depth, type, number or text. */
static void describe(const struct redis_reader *r, struct sw_buf *out) {
    for (size_t i = 0; i < r->parts_count; i++) {
        const struct redis_part *p = &r->parts[i];
        struct sw_str text = redis_part_text(r, p);
        sw_buf_printf(out, "%d%c%lld%.*s ", p->depth, "?$*:_+-!"[p->type], (long long)p -> number, SW_STR_ARG(text));
    }
}

/* Fed in pieces of `piece` bytes, the answers are those; "garbage" ends it. */
static void expect_answers_in(const char *bytes, size_t len, size_t piece, const char *expected) {
    struct redis_reader r;
    struct sw_buf out;
    bool garbage = false;
    sw_buf_init(&out, 10000);
    sw_buf_append(&out, "", 0);
    assert_true(redis_reader_init(&r, TEXT_MAX));
    for (size_t at = 0; at < len && !garbage; at += piece) {
        enum redis_read read;
        assert_true(redis_reader_feed(&r, bytes + at, len - at < piece ? len - at : piece));
        while ((read = redis_reader_next(&r, TEXT_MAX, PARTS_MAX)) == REDIS_READ_ANSWER) {
            describe(&r, &out);
            SW_LIT(&out, "| ");
        }
        garbage = read == REDIS_READ_GARBAGE;
    }
    if (garbage) {
        SW_LIT(&out, "garbage");
    }
    assert_string_equal(out.data, expected);
    redis_reader_deinit(&r);
    sw_buf_deinit(&out);
}

static void expect_answers(const char *bytes, const char *expected) {
    size_t len = strlen(bytes);
    for (size_t piece = 1; piece <= len + 1; piece++) {
        expect_answers_in(bytes, len, piece, expected);
    }
}

static void answers_in_pieces(void **state) {
    expect_answers("+PONG\r\n$5\r\na\r\nb \r\n$-1\r\n:-12\r\n-ERR no\r\n$0\r\n\r\n+OK\r\n",
                   "0+0PONG | 0$0a\r\nb  | 0_0 | 0:-12 | 0-0ERR no | 0$0 | 0+0OK | ");
    expect_answers("*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n$1\r\nb\r\n+OK\r\n", "0*3 1:1 1*2 2$0a 2*0 1$0b | 0+0OK | ");
    expect_answers("*-1\r\n", "0_0 | ");
    expect_answers("*2\r\n:1\r\n", "");
    expect_answers("$5\r\nab", "");
}

static void garbage_is_seen(void **state) {
    expect_answers("HTTP/1.1 400 Bad Request\r\n", "garbage");
    expect_answers("+OK\r\n?", "0+0OK | garbage");
    expect_answers("$x\r\n", "garbage");
    expect_answers("*99999999\r\n", "garbage");
    expect_answers("*2147483647\r\n", "garbage");
    expect_answers("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "garbage");
    expect_answers("*2\r\n$60\r\n............................................................\r\n"
                   "$60\r\n............................................................\r\n",
                   "garbage"); /* together more than is allowed */
    expect_answers("*1\r\n$536870912\r\n", "garbage");
}

static void large_strings_are_skipped(void **state) {
    char bytes[1000], *at = bytes;
    at += snprintf(at, 100, "+OK\r\n$400\r\n");
    memset(at, '$', 400);
    at += 400;
    at += snprintf(at, 100, "\r\n:7\r\n");
    for (size_t piece = 1; piece <= (size_t)(at - bytes); piece++) {
        expect_answers_in(bytes, (size_t)(at - bytes), piece, "0+0OK | 0!0 | 0:7 | ");
    }
}

/* What a server announces costs nothing; what it sends is thrown away as it comes. */
static void announced_sizes_take_no_memory(void **state) {
    static char chunk[1 << 16];
    struct redis_reader r;
    assert_true(redis_reader_init(&r, TEXT_MAX));
    assert_true(redis_reader_feed(&r, "$536870912\r\n", 12));
    assert_int_equal(redis_reader_next(&r, TEXT_MAX, 1), REDIS_READ_ANSWER);
    assert_int_equal(redis_answer(&r)->type, REDIS_OVERSIZE);
    for (int i = 0; i < 536870912 / (int)sizeof chunk; i++) {
        assert_true(redis_reader_feed(&r, chunk, sizeof chunk));
        assert_int_equal(redis_reader_next(&r, TEXT_MAX, 1), REDIS_READ_MORE);
        assert_int_equal(r.reader->len, 0);
    }
    assert_true(redis_reader_feed(&r, "\r\n:1\r\n", 6));
    assert_int_equal(redis_reader_next(&r, TEXT_MAX, 1), REDIS_READ_ANSWER);
    assert_int_equal(redis_answer(&r)->number, 1);
    redis_reader_deinit(&r);
}

static void a_line_without_end_is_garbage(void **state) {
    struct redis_reader r;
    assert_true(redis_reader_init(&r, TEXT_MAX));
    enum redis_read read = REDIS_READ_MORE;
    size_t fed = 0;
    assert_true(redis_reader_feed(&r, "-", 1));
    while (read == REDIS_READ_MORE && fed < 100000) {
        assert_true(redis_reader_feed(&r, "xxxxxxxx", 8));
        fed += 8;
        read = redis_reader_next(&r, TEXT_MAX, 1);
    }
    assert_int_equal(read, REDIS_READ_GARBAGE);
    assert_in_range(fed, 1000, 10000);
    redis_reader_deinit(&r);
}

/* --- cluster ------------------------------------------------------------------------------------------------------ */

static const struct redis_address asked = {.host = "10.0.0.9", .port = 7009};

static void expect_map(const char *bytes, const char *expected) {
    struct redis_reader r;
    struct redis_range range;
    struct sw_buf out;
    size_t position = 0;
    int rc;
    sw_buf_init(&out, 1000);
    sw_buf_append(&out, "", 0);
    assert_true(redis_reader_init(&r, TEXT_MAX));
    assert_true(redis_reader_feed(&r, bytes, strlen(bytes)));
    assert_int_equal(redis_reader_next(&r, TEXT_MAX, PARTS_MAX), REDIS_READ_ANSWER);
    while ((rc = redis_slots_next(&r, &asked, &position, &range)) > 0) {
        sw_buf_printf(&out, "%u-%u %s %u, ", range.first, range.last, range.master.host, range.master.port);
    }
    sw_buf_printf(&out, "%d", rc);
    assert_string_equal(out.data, expected);
    redis_reader_deinit(&r);
    sw_buf_deinit(&out);
}

static void maps(void **state) {
    expect_map(
        "*2\r\n"
        "*4\r\n:0\r\n:100\r\n*4\r\n$4\r\nhost\r\n:7000\r\n$2\r\nid\r\n*0\r\n*3\r\n$1\r\nr\r\n:7001\r\n$1\r\ni\r\n"
        "*3\r\n:101\r\n:16383\r\n*3\r\n$0\r\n\r\n:7002\r\n$2\r\nid\r\n",
        "0-100 host 7000, 101-16383 10.0.0.9 7002, 0");
    expect_map("*1\r\n*3\r\n:5\r\n:5\r\n*2\r\n$-1\r\n:7000\r\n", "5-5 10.0.0.9 7000, 0");
    expect_map("*0\r\n", "0");
    expect_map("+OK\r\n", "-1");
    expect_map("*1\r\n:1\r\n", "-1");
    expect_map("*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$1\r\nh\r\n:7000\r\n", "-1");
    expect_map("*1\r\n*3\r\n:-1\r\n:4\r\n*2\r\n$1\r\nh\r\n:7000\r\n", "-1");
    expect_map("*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:7000\r\n", "-1");
    expect_map("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\nh\r\n:65536\r\n", "-1");
    expect_map("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\nh\r\n:0\r\n", "-1");
    expect_map("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$3\r\na b\r\n:1\r\n", "-1");
    expect_map("*1\r\n*3\r\n:0\r\n:16383\r\n$1\r\nh\r\n", "-1");
}

static void expect_redirect(const char *text, bool ask, unsigned slot, const char *host, unsigned port) {
    struct redis_redirect r;
    assert_true(redis_redirect_parse(sw_str_of(text), &asked, &r));
    assert_true(r.ask == ask && r.slot == slot && r.address.port == port);
    assert_string_equal(r.address.host, host);
}

static void redirections(void **state) {
    expect_redirect("MOVED 3999 127.0.0.1:6381", false, 3999, "127.0.0.1", 6381);
    expect_redirect("ASK 0 cache-2:6381", true, 0, "cache-2", 6381);
    expect_redirect("MOVED 16383 ::1:6381", false, 16383, "::1", 6381);
    expect_redirect("MOVED 1 :6381", false, 1, "10.0.0.9", 6381);
    static const char *const wrong[] = {
        "MOVED",           "MOVED 1",         "MOVED 1 x",    "MOVED 1 x:",    "MOVED 1 x:0",
        "MOVED 1 x:y",     "MOVED 16384 x:1", "MOVED -1 x:1", "MOVED x x:1",   "moved 1 x:1",
        "ERR MOVED 1 x:1", "ASKING 1 x:1",    "MOVED  1 x:1", "MOVED 1 x y:1", "MOVED 1 x:65536"};
    for (size_t i = 0; i < SW_COUNTOF(wrong); i++) {
        struct redis_redirect r;
        if (redis_redirect_parse(sw_str_of(wrong[i]), &asked, &r)) {
            fail_msg("accepted: %s", wrong[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(keys_and_slots),
        cmocka_unit_test(envelopes_of_others_are_refused),
        cmocka_unit_test(answers_in_pieces),
        cmocka_unit_test(garbage_is_seen),
        cmocka_unit_test(large_strings_are_skipped),
        cmocka_unit_test(announced_sizes_take_no_memory),
        cmocka_unit_test(a_line_without_end_is_garbage),
        cmocka_unit_test(maps),
        cmocka_unit_test(redirections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
