/* What the options say about S3: "s3://BUCKET[/PREFIX]", endpoint, region, keys.
 *
 * Bucket and prefix are held to characters that need no encoding in a path, so that a key looks the same everywhere. */
#include "artifact/s3_internal.h"
#include "base/memory.h"

static bool all_of(struct sw_str text, const char *others) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr(others, c))) {
            return false;
        }
    }
    return true;
}

static bool is_bucket(struct sw_str name) {
    return name.len >= 3 && name.len <= 63 && all_of(name, ".-_") && name.data[0] != '.' && name.data[0] != '-';
}

/* "a", "a/b": no empty part, no "." or "..". */
static bool is_prefix(struct sw_str prefix) {
    if (prefix.len > 128 || !all_of(prefix, "/._-")) {
        return false;
    }
    while (prefix.data) {
        struct sw_str part;
        prefix = sw_str_split(prefix, '/', &part);
        if (part.len == 0 || sw_str_is(part, ".") || sw_str_is(part, "..")) {
            return false;
        }
    }
    return true;
}

static sw_status read_url(struct sw_s3 *s3, const char *url, struct sw_error *err) {
    struct sw_str rest = sw_str_of(url), bucket;
    if (!sw_str_starts(rest, SW_STR("s3://"))) {
        /* not shown: it may hold a key */
        return sw_fail(err, SW_E_USAGE, "artifact URL: it must be s3://BUCKET or s3://BUCKET/PREFIX");
    }
    rest = (struct sw_str){rest.data + 5, rest.len - 5};
    rest = sw_str_split(rest, '/', &bucket);
    while (rest.len > 0 && rest.data[rest.len - 1] == '/') {
        rest.len--;
    }
    if (!is_bucket(bucket)) {
        return sw_fail(err, SW_E_USAGE, "artifact URL: a bucket has 3 to 63 of a-z 0-9 . -");
    }
    if (rest.len > 0 && !is_prefix(rest)) {
        return sw_fail(err, SW_E_USAGE,
                       "artifact URL: a prefix has at most 128 of A-Z a-z 0-9 . _ - and / between parts");
    }
    s3->bucket = sw_xstrndup(bucket.data, bucket.len);
    s3->prefix = sw_xmalloc(rest.len + 2);
    snprintf(s3->prefix, rest.len + 2, "%.*s%s", (int)rest.len, rest.len ? rest.data : "", rest.len ? "/" : "");
    return SW_OK;
}

/* "127.0.0.1:9000", "minio", "[::1]:9000" */
static bool is_authority(struct sw_str text) {
    return text.len > 0 && text.len <= 255 && all_of(text, ".-:[]_");
}

static bool is_loopback(struct sw_str authority) {
    return sw_str_starts(authority, SW_STR("127.")) || sw_str_starts(authority, SW_STR("[::1]")) ||
           sw_str_is(authority, "localhost") || sw_str_starts(authority, SW_STR("localhost:"));
}

static void set_origin(struct sw_s3 *s3, const char *scheme, bool virtual_host, struct sw_str authority) {
    char host[512], origin[600], base[80];
    snprintf(host, sizeof host, "%s%s%.*s", virtual_host ? s3->bucket : "", virtual_host ? "." : "", (int)authority.len,
             authority.data);
    snprintf(origin, sizeof origin, "%s://%s", scheme, host);
    snprintf(base, sizeof base, "%s%s", virtual_host ? "" : "/", virtual_host ? "" : s3->bucket);
    s3->host = sw_xstrdup(host);
    s3->origin = sw_xstrdup(origin);
    s3->base = sw_xstrdup(base);
    s3->direct = is_loopback(authority);
}

static sw_status read_endpoint(struct sw_s3 *s3, const char *endpoint, bool virtual_host, struct sw_error *err) {
    if (!endpoint || !*endpoint) {
        char host[128];
        const char *china = strncmp(s3->region, "cn-", 3) == 0 ? ".cn" : "";
        snprintf(host, sizeof host, "s3.%s.amazonaws.com%s", s3->region, china);
        /* AWS wants the bucket in the host name; its certificate covers one without dots */
        set_origin(s3, "https", strchr(s3->bucket, '.') == NULL, sw_str_of(host));
        return SW_OK;
    }
    struct sw_str rest = sw_str_of(endpoint);
    bool secure = sw_str_starts(rest, SW_STR("https://"));
    size_t skip = secure ? 8 : 7;
    if (!secure && !sw_str_starts(rest, SW_STR("http://"))) {
        return sw_fail(err, SW_E_USAGE, "S3 endpoint: it must be http://HOST[:PORT] or https://HOST[:PORT]");
    }
    rest = (struct sw_str){rest.data + skip, rest.len - skip};
    if (rest.len > 0 && rest.data[rest.len - 1] == '/') {
        rest.len--;
    }
    if (!is_authority(rest)) { /* not shown: it may hold a password */
        return sw_fail(err, SW_E_USAGE, "S3 endpoint: it must be http://HOST[:PORT] or https://HOST[:PORT], no more");
    }
    set_origin(s3, secure ? "https" : "http", virtual_host, rest);
    return SW_OK;
}

static bool is_header_value(const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return *text != '\0' && strlen(text) <= 4000;
}

static const char *or_environment(const char *value, const char *name) {
    return value && *value ? value : getenv(name);
}

static sw_status read_keys(struct sw_s3 *s3, const struct sw_artifacts_options *options, struct sw_error *err) {
    const char *access = or_environment(options->s3_access_key, "AWS_ACCESS_KEY_ID");
    const char *secret = or_environment(options->s3_secret_key, "AWS_SECRET_ACCESS_KEY");
    bool own = options->s3_access_key && *options->s3_access_key;
    /* a token of the environment belongs to the keys of the environment */
    const char *token = own ? options->s3_session_token
                            : or_environment(options->s3_session_token, "AWS_SESSION_TOKEN");
    if (!access || !secret || !*access || !*secret) {
        return sw_fail(err, SW_E_USAGE,
                       "S3 needs an access key and a secret key: set them in the configuration, or "
                       "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    token = token && *token ? token : NULL;
    if (!is_header_value(access) || !is_header_value(secret) || (token && !is_header_value(token)) ||
        strlen(access) > 256 || strlen(secret) > 1024) {
        return sw_fail(err, SW_E_USAGE, "the S3 keys have blanks or characters that no key has");
    }
    s3->access_key = sw_xstrdup(access);
    s3->secret_key = sw_xstrdup(secret);
    s3->session_token = sw_xstrdup(token);
    return SW_OK;
}

static sw_status configure(struct sw_s3 *s3, const struct sw_artifacts_options *options, struct sw_error *err) {
    const char *region = options->s3_region && *options->s3_region ? options->s3_region : "us-east-1";
    if (strlen(region) > 64 || !all_of(sw_str_of(region), "-_")) {
        return sw_fail(err, SW_E_USAGE, "S3 region: at most 64 of a-z 0-9 -");
    }
    s3->region = sw_xstrdup(region);
    SW_TRY(read_url(s3, options->url, err));
    SW_TRY(read_endpoint(s3, options->s3_endpoint, options->s3_virtual_host, err));
    return read_keys(s3, options, err);
}

sw_status sw_s3_create(const struct sw_artifacts_options *options, struct sw_s3 **ret, struct sw_error *err) {
    struct sw_s3 *s3 = SW_NEW(struct sw_s3);
    s3->connect_timeout_ms = options->connect_timeout_ms ? options->connect_timeout_ms : 5000;
    s3->stall_timeout_ms = options->stall_timeout_ms ? options->stall_timeout_ms : 30000;
    s3->cache_max = options->cache_max;
    s3->single_max = 64ull << 20;
    s3->part_size = 16ull << 20;
    s3->page_max = 1000;
    s3->attempts_max = 3;
    s3->backoff_ms = 100;
    s3->clock = options->clock ? options->clock : sw_clock_system();
    SW_ASSERT(pthread_mutex_init(&s3->idle_lock, NULL) == 0 && pthread_mutex_init(&s3->cache_lock, NULL) == 0);
    sw_status status = configure(s3, options, err);
    if (status) {
        sw_s3_destroy(s3);
        return status;
    }
    *ret = s3;
    return SW_OK;
}

static void free_secret(char *text) {
    if (text) {
        explicit_bzero(text, strlen(text));
        sw_free(text);
    }
}

void sw_s3_destroy(struct sw_s3 *s3) {
    if (!s3) {
        return;
    }
    sw_s3_close_idle(s3);
    pthread_mutex_destroy(&s3->idle_lock);
    pthread_mutex_destroy(&s3->cache_lock);
    free_secret(s3->secret_key);
    free_secret(s3->session_token);
    sw_free(s3->origin);
    sw_free(s3->host);
    sw_free(s3->bucket);
    sw_free(s3->base);
    sw_free(s3->prefix);
    sw_free(s3->region);
    sw_free(s3->access_key);
    sw_free(s3);
}
