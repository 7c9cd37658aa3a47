/* AWS Signature Version 4, from AWS's documentation of it ("Authenticating Requests: Using the Authorization Header").
 *
 * Written here rather than left to libcurl's CURLOPT_AWS_SIGV4: Debian 12 has libcurl 7.88.1, whose signer takes the
 * query string as it stands, neither sorted nor encoded anew (put right in 8.x), so that listings with a continuation
 * token or a multipart request are refused, and which cannot be tested against AWS's published examples, because it
 * reads the clock itself. */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "artifact/s3_internal.h"

enum { MAC_BYTES = 32 };

void sw_s3_encode(struct sw_buf *buf, struct sw_str text, bool keep_slash) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
        if (plain) {
            sw_buf_append_c(buf, c);
        } else {
            sw_buf_printf(buf, "%%%02X", (unsigned)(unsigned char)c);
        }
    }
}

static void mac(const void *key, size_t key_len, const void *data, size_t len, unsigned char ret[MAC_BYTES]) {
    unsigned n = 0;
    SW_ASSERT(HMAC(EVP_sha256(), key, (int)key_len, data, len, ret, &n) != NULL && n == MAC_BYTES);
}

static void mac_text(const unsigned char key[MAC_BYTES], const char *text, unsigned char ret[MAC_BYTES]) {
    unsigned char out[MAC_BYTES];
    mac(key, MAC_BYTES, text, strlen(text), out);
    memcpy(ret, out, MAC_BYTES);
}

static void append_names(struct sw_buf *buf, const struct sw_s3_signing *s) {
    for (size_t i = 0; i < s->header_count; i++) {
        sw_buf_printf(buf, "%s%s", i ? ";" : "", s->headers[i].name);
    }
}

static void hash_canonical_request(const struct sw_s3_signing *s, struct sw_digest *ret) {
    struct sw_buf text;
    sw_buf_init(&text, 64 << 10);
    sw_buf_printf(&text, "%s\n%s\n%s\n", s->method, s->path, s->query);
    for (size_t i = 0; i < s->header_count; i++) {
        SW_ASSERT(i == 0 || strcmp(s->headers[i - 1].name, s->headers[i].name) < 0);
        sw_buf_printf(&text, "%s:%s\n", s->headers[i].name, s->headers[i].value);
    }
    sw_buf_append_c(&text, '\n');
    append_names(&text, s);
    sw_buf_printf(&text, "\n%s", s->payload_hash);
    SW_ASSERT(!text.failed);
    struct sw_hasher *hasher = sw_hasher_create();
    sw_hasher_update(hasher, text.data, text.len);
    sw_hasher_finish(hasher, ret);
    sw_buf_deinit(&text);
}

/* Key of the day, region and service: an HMAC of an HMAC of ... of the secret. */
static void make_key(const struct sw_s3_signing *s, unsigned char ret[MAC_BYTES]) {
    char day[9];
    struct sw_buf secret;
    snprintf(day, sizeof day, "%.8s", s->amz_date);
    sw_buf_init(&secret, 4096);
    sw_buf_printf(&secret, "AWS4%s", s->secret_key);
    SW_ASSERT(!secret.failed);
    mac(secret.data, secret.len, day, 8, ret);
    explicit_bzero(secret.data, secret.len);
    sw_buf_deinit(&secret);
    mac_text(ret, s->region, ret);
    mac_text(ret, "s3", ret);
    mac_text(ret, "aws4_request", ret);
}

void sw_s3_sign(const struct sw_s3_signing *s, struct sw_buf *authorization) {
    char scope[128], text[512];
    struct sw_digest request;
    unsigned char bytes[MAC_BYTES];
    hash_canonical_request(s, &request);
    int n = snprintf(scope, sizeof scope, "%.8s/%s/s3/aws4_request", s->amz_date, s->region);
    SW_ASSERT(n > 0 && (size_t)n < sizeof scope);
    n = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", s->amz_date, scope, request.hex);
    SW_ASSERT(n > 0 && (size_t)n < sizeof text);
    make_key(s, bytes);
    mac_text(bytes, text, bytes);
    sw_buf_printf(authorization, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", s->access_key, scope);
    append_names(authorization, s);
    SW_LIT(authorization, ",Signature=");
    for (size_t i = 0; i < MAC_BYTES; i++) {
        sw_buf_printf(authorization, "%02x", (unsigned)bytes[i]);
    }
}
