/* The registry's keys; see registry_config.h. */
#include "cli/registry_config.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { LATEST_MAX = 1000 };

static const char sqlite_scheme[] = "sqlite:";

bool sw_policy_text_parse(struct sw_str text, struct sw_version_policy *ret) {
    struct sw_str kind;
    uint64_t latest = 0;
    struct sw_str number = sw_str_split(text, ':', &kind);
    if (sw_str_is(kind, "latest") && sw_parse_u64(number, &latest) && latest >= 1 && latest <= LATEST_MAX) {
        *ret = (struct sw_version_policy){.kind = SW_POLICY_LATEST, .latest = (unsigned)latest};
        return true;
    }
    if (number.data) {
        return false;
    }
    if (sw_str_is(kind, "live")) {
        *ret = (struct sw_version_policy){.kind = SW_POLICY_LIVE};
        return true;
    }
    if (sw_str_is(kind, "all")) {
        *ret = (struct sw_version_policy){.kind = SW_POLICY_ALL};
        return true;
    }
    return false;
}

static bool begins(const char *text, const char *prefix) {
    return sw_str_starts(sw_str_of(text), sw_str_of(prefix));
}

static bool store_url_fits(const char *url) {
    return !*url || begins(url, "postgresql://") || begins(url, "postgres://") ||
           (begins(url, sqlite_scheme) && url[sizeof sqlite_scheme - 1]);
}

static bool artifacts_url_fits(const char *url) {
    return !*url || (begins(url, "s3://") && url[5] && url[5] != '/');
}

static bool endpoint_fits(const char *url) {
    return !*url || begins(url, "http://") || begins(url, "https://");
}

bool sw_registry_config_check(const struct sw_config *config, enum sw_config_key key, struct sw_error *err) {
    const struct sw_config_value *value = &config->values[key];
    struct sw_version_policy policy;
    const char *wanted = NULL;
    if (key == SW_KEY_STORE_URL && !store_url_fits(value->text)) {
        wanted = "postgresql://USER:PASSWORD@HOST/NAME or sqlite:PATH";
    } else if (key == SW_KEY_ARTIFACTS_URL && !artifacts_url_fits(value->text)) {
        wanted = "s3://BUCKET or s3://BUCKET/PREFIX";
    } else if (key == SW_KEY_ARTIFACTS_S3_ENDPOINT && !endpoint_fits(value->text)) {
        wanted = "an address that begins with http:// or https://";
    } else if (key == SW_KEY_REGISTRY_VERSION_POLICY && !sw_policy_text_parse(sw_str_of(value->text), &policy)) {
        wanted = "live, all, or latest:N with N from 1 to 1000";
    }
    if (!wanted) {
        return true;
    }
    (void)sw_fail(err, SW_E_USAGE, "%s: %s is '%s', but must be %s", value->where ? value->where : "default",
                  sw_config_keys[key].id, sw_config_keys[key].secret ? "(hidden)" : value->text, wanted);
    return false;
}

sw_status sw_data_directory_make(const struct sw_config *config, struct sw_error *err) {
    const char *path = sw_config_text(config, SW_KEY_DATA_DIRECTORY);
    struct stat info;
    if (!path) {
        return sw_fail(err, SW_E_IO, "data.directory is empty");
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return sw_fail(err, SW_E_IO, "data.directory %s cannot be made: %s", path, strerror(errno));
    }
    if (stat(path, &info) != 0) {
        return sw_fail(err, SW_E_IO, "data.directory %s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return sw_fail(err, SW_E_IO, "data.directory %s is not a folder", path);
    }
    if (access(path, R_OK | W_OK | X_OK) != 0) {
        return sw_fail(err, SW_E_IO, "data.directory %s cannot be written: %s", path, strerror(errno));
    }
    return SW_OK;
}

static char *default_store_path(const struct sw_config *config) {
    const char *directory = sw_config_text(config, SW_KEY_DATA_DIRECTORY);
    return sw_path_join(directory ? directory : ".", "slipway.db");
}

char *sw_store_config_path(const struct sw_config *config) {
    const char *url = sw_config_text(config, SW_KEY_STORE_URL);
    if (!url) {
        return default_store_path(config);
    }
    return begins(url, sqlite_scheme) ? sw_xstrdup(url + sizeof sqlite_scheme - 1) : NULL;
}

void sw_store_config(const struct sw_config *config, struct sw_store_options *ret, char **ret_url) {
    const char *url = sw_config_text(config, SW_KEY_STORE_URL);
    sw_store_options_default(ret);
    if (url) {
        *ret_url = sw_xstrdup(url);
    } else {
        char *path SW_AUTO_FREE = default_store_path(config);
        size_t size = sizeof sqlite_scheme + strlen(path);
        *ret_url = sw_xmalloc(size);
        snprintf(*ret_url, size, "%s%s", sqlite_scheme, path);
    }
    ret->url = *ret_url;
    ret->pool_max = (unsigned)sw_config_number(config, SW_KEY_STORE_POOL);
    ret->notify = sw_config_bool(config, SW_KEY_STORE_NOTIFY);
    ret->poll_ms = sw_config_ms(config, SW_KEY_STORE_POLL);
    ret->clock = sw_clock_system();
}

void sw_artifacts_config(const struct sw_config *config, struct sw_artifacts_options *ret) {
    sw_artifacts_options_default(ret);
    ret->directory = sw_config_text(config, SW_KEY_DATA_DIRECTORY);
    ret->url = sw_config_text(config, SW_KEY_ARTIFACTS_URL);
    ret->s3_endpoint = sw_config_text(config, SW_KEY_ARTIFACTS_S3_ENDPOINT);
    ret->s3_region = sw_config_text(config, SW_KEY_ARTIFACTS_S3_REGION);
    ret->s3_access_key = sw_config_text(config, SW_KEY_ARTIFACTS_S3_ACCESS_KEY);
    ret->s3_secret_key = sw_config_text(config, SW_KEY_ARTIFACTS_S3_SECRET_KEY);
    ret->s3_virtual_host = sw_config_bool(config, SW_KEY_ARTIFACTS_S3_VIRTUAL_HOST);
    ret->cache_max = sw_config_number(config, SW_KEY_ARTIFACTS_CACHE);
    ret->upload_max = sw_config_number(config, SW_KEY_ARTIFACTS_MAX_UPLOAD);
    ret->clock = sw_clock_system();
}
