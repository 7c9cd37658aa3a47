/* What is written: commands, keys, envelopes. hiredis formats the commands; the two that carry results are made so that a
 * question takes no memory of its own: GET is formatted once and its digits are replaced, SET's value is appended in two
 * pieces. */
#include <hiredis/hiredis.h>

#include "sched/cache/redis_internal.h"

static const char MAGIC[8] = {'s', 'l', 'i', 'p', 'w', 'a', 'y', 1};
enum { ARGUMENTS_MAX = 8, LENGTH_AT = sizeof MAGIC, DIGEST_AT = LENGTH_AT + 8 };

void redis_command(struct sw_buf *out, size_t argc, const struct sw_str *argv) {
    const char *data[ARGUMENTS_MAX];
    size_t lens[ARGUMENTS_MAX];
    SW_ASSERT(argc > 0 && argc <= ARGUMENTS_MAX);
    for (size_t i = 0; i < argc; i++) {
        data[i] = argv[i].data ? argv[i].data : "";
        lens[i] = argv[i].len;
    }
    char *text = NULL;
    int len = redisFormatCommandArgv(&text, (int)argc, data, lens);
    if (len < 0) {
        out->failed = true;
        return;
    }
    sw_buf_append(out, text, (size_t)len);
    redisFreeCommand(text);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void write_digits(const uint8_t key[SW_REDIS_KEY], char *ret) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < SW_REDIS_KEY; i++) {
        ret[2 * i] = hex[key[i] >> 4];
        ret[2 * i + 1] = hex[key[i] & 15];
    }
}

size_t redis_key_of(const struct redis_keys *keys, const uint8_t key[SW_REDIS_KEY], char ret[REDIS_KEY_MAX]) {
    memcpy(ret, keys->prefix, keys->prefix_len);
    write_digits(key, ret + keys->prefix_len);
    return keys->prefix_len + REDIS_DIGITS;
}

size_t redis_key_of_generation(const struct redis_keys *keys, const char *model, char ret[REDIS_KEY_MAX]) {
    int len = snprintf(ret, REDIS_KEY_MAX, "%sgeneration:%s", keys->prefix, model);
    SW_ASSERT(len > 0 && len < REDIS_KEY_MAX);
    return (size_t)len;
}

void redis_keys_init(struct redis_keys *keys, const char *prefix) {
    static const uint8_t zero[SW_REDIS_KEY];
    char key[REDIS_KEY_MAX];
    keys->prefix_len = strlen(prefix);
    SW_ASSERT(keys->prefix_len <= REDIS_PREFIX_MAX);
    memcpy(keys->prefix, prefix, keys->prefix_len + 1);
    struct sw_buf out;
    sw_buf_init(&out, sizeof keys->get);
    redis_command(&out, 2, (struct sw_str[]){SW_STR("GET"), {key, redis_key_of(keys, zero, key)}});
    SW_ASSERT(!out.failed);
    memcpy(keys->get, out.data, out.len);
    keys->get_len = out.len;
    keys->digits_at = out.len - 2 - REDIS_DIGITS; /* the digits and \r\n are its end */
    sw_buf_deinit(&out);
}

/* CRC-16/XMODEM, as the specification of Redis Cluster has it. */
static unsigned crc16(const char *data, size_t len) {
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)data[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
        }
    }
    return crc & 0xffff;
}

unsigned redis_slot_of(struct sw_str key) {
    const char *open = memchr(key.data, '{', key.len);
    if (open) {
        const char *begin = open + 1, *end = key.data + key.len;
        const char *close = memchr(begin, '}', (size_t)(end - begin));
        if (close && close > begin) {
            key = (struct sw_str){begin, (size_t)(close - begin)};
        }
    }
    return crc16(key.data, key.len) % REDIS_SLOTS;
}

/* --- envelope ----------------------------------------------------------------------------------------------------- */

bool redis_digest_init(struct redis_digest *d) {
    d->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    d->context = EVP_MD_CTX_new();
    return d->sha256 && d->context;
}

void redis_digest_deinit(struct redis_digest *d) {
    EVP_MD_CTX_free(d->context);
    EVP_MD_free(d->sha256);
    *d = (struct redis_digest){.sha256 = NULL};
}

static void digest(struct redis_digest *d, const uint8_t key[SW_REDIS_KEY], struct sw_str value, uint8_t ret[32]) {
    bool done = EVP_DigestInit_ex2(d->context, d->sha256, NULL) == 1 &&
                EVP_DigestUpdate(d->context, key, SW_REDIS_KEY) == 1 &&
                EVP_DigestUpdate(d->context, value.data, value.len) == 1 &&
                EVP_DigestFinal_ex(d->context, ret, NULL) == 1;
    SW_ASSERT(done);
}

static void put_length(uint64_t len, uint8_t *ret) {
    for (int i = 0; i < 8; i++) {
        ret[i] = (uint8_t)(len >> (8 * i));
    }
}

void redis_envelope_make(struct redis_digest *d, const uint8_t key[SW_REDIS_KEY], struct sw_str value,
                         uint8_t ret[REDIS_ENVELOPE]) {
    memcpy(ret, MAGIC, sizeof MAGIC);
    put_length(value.len, ret + LENGTH_AT);
    digest(d, key, value, ret + DIGEST_AT);
}

bool redis_envelope_open(struct redis_digest *d, const uint8_t key[SW_REDIS_KEY], struct sw_str bytes,
                         struct sw_str *ret_value) {
    uint8_t length[8], sum[32];
    if (bytes.len < REDIS_ENVELOPE || memcmp(bytes.data, MAGIC, sizeof MAGIC) != 0) {
        return false;
    }
    struct sw_str value = {bytes.data + REDIS_ENVELOPE, bytes.len - REDIS_ENVELOPE};
    put_length(value.len, length);
    if (memcmp(bytes.data + LENGTH_AT, length, sizeof length) != 0) {
        return false;
    }
    digest(d, key, value, sum);
    if (memcmp(bytes.data + DIGEST_AT, sum, sizeof sum) != 0) {
        return false;
    }
    *ret_value = value;
    return true;
}

/* --- the two commands that carry results -------------------------------------------------------------------------- */

void redis_write_get(const struct redis_keys *keys, const uint8_t key[SW_REDIS_KEY], struct sw_buf *out) {
    size_t at = out->len + keys->digits_at;
    sw_buf_append(out, keys->get, keys->get_len);
    if (!out->failed) {
        write_digits(key, out->data + at);
    }
}

void redis_write_set(const struct redis_keys *keys, struct redis_digest *d, const struct sw_redis_entry *entry,
                     struct sw_buf *out) {
    char key[REDIS_KEY_MAX], ttl[24];
    uint8_t envelope[REDIS_ENVELOPE];
    size_t key_len = redis_key_of(keys, entry->key, key);
    int ttl_len = snprintf(ttl, sizeof ttl, "%llu", (unsigned long long)entry->ttl_ms);
    redis_envelope_make(d, entry->key, entry->value, envelope);
    if (!sw_buf_reserve(out, key_len + REDIS_ENVELOPE + entry->value.len + 128)) {
        return;
    }
    sw_buf_printf(out, "*5\r\n$3\r\nSET\r\n$%zu\r\n", key_len);
    sw_buf_append(out, key, key_len);
    sw_buf_printf(out, "\r\n$%zu\r\n", REDIS_ENVELOPE + entry->value.len);
    sw_buf_append(out, envelope, sizeof envelope);
    sw_buf_append_str(out, entry->value);
    sw_buf_printf(out, "\r\n$2\r\nPX\r\n$%d\r\n%s\r\n", ttl_len, ttl);
}
