/* Shared by the commands that talk to a server; see remote.h. */
#include "cli/remote.h"

#include <pwd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/memory.h"
#include "registry/registry.h"

enum { PAGE_MAX = 1000, PATH_BYTES_MAX = 16384 };

static const char default_server[] = "http://127.0.0.1:8080";

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Who is asking; NULL when the system does not know. */
static const char *user_name(void) {
    const struct passwd *user = getpwuid(geteuid());
    return user ? user->pw_name : variable("USER");
}

sw_status sw_remote_open(const struct sw_args *args, struct sw_remote *ret) {
    struct sw_client_options options;
    sw_client_options_default(&options);
    *ret = (struct sw_remote){.args = args, .json = sw_args_has(args, SW_OPTION_JSON)};
    options.server = sw_args_text(args, SW_OPTION_SERVER);
    options.server = options.server ? options.server : variable("SLIPWAY_SERVER");
    options.server = options.server ? options.server : default_server;
    options.api_key = variable("SLIPWAY_API_KEY");
    options.actor = user_name();
    SW_TRY(sw_client_create(&options, &ret->client, &ret->err));
    if (options.api_key && !sw_client_is_private(ret->client)) {
        fprintf(stderr, "slipway %s: warning: the key goes over the network to %s without encryption\n",
                args->command->name, sw_client_server(ret->client));
    }
    return SW_OK;
}

int sw_remote_close(struct sw_remote *remote, sw_status status) {
    int code = status ? sw_cli_fail(remote->args, &remote->err) : SW_EXIT_DONE;
    sw_answer_deinit(&remote->answer);
    sw_client_destroy(remote->client);
    remote->client = NULL;
    return code;
}

sw_status sw_remote_call(struct sw_remote *remote, const char *method, char *path, json_t *body) {
    sw_status status = sw_client_call(remote->client, method, path, body, &remote->answer, &remote->err);
    sw_free(path);
    json_decref(body);
    return status;
}

/* --- arguments --------------------------------------------------------------------------------------------------- */

sw_status sw_remote_check_model(struct sw_remote *remote, const char *name) {
    if (sw_registry_name_valid(sw_str_of(name))) {
        return SW_OK;
    }
    return sw_fail(
        &remote->err, SW_E_USAGE,
        "'%s' cannot be the name of a model: 1 to 128 letters, digits, dots, dashes and underscores, the first a "
        "letter or digit",
        name);
}

sw_status sw_remote_check_version(struct sw_remote *remote, const char *version) {
    uint64_t number;
    struct sw_str text = sw_str_of(version);
    if ((sw_parse_u64(text, &number) && number >= 1 && number <= INT64_MAX) || sw_registry_alias_valid(text) ||
        sw_str_is(text, "live")) {
        return SW_OK;
    }
    return sw_fail(&remote->err, SW_E_USAGE, "'%s' is no version: give its number, an alias such as champion, or live",
                   version);
}

void sw_remote_set_option(const struct sw_remote *remote, json_t *body, const char *key, enum sw_option_id id) {
    const char *text = sw_args_text(remote->args, id);
    if (text) {
        json_object_set_new(body, key, json_string(text));
    }
}

/* --- lists ------------------------------------------------------------------------------------------------------- */

/* path?limit=..&page_token=.., on the heap. */
static char *page_path(const char *path, size_t limit, const char *token) {
    struct sw_buf out;
    sw_buf_init(&out, PATH_BYTES_MAX);
    sw_buf_printf(&out, "%s%climit=%zu", path, strchr(path, '?') ? '&' : '?', limit < PAGE_MAX ? limit : PAGE_MAX);
    if (token) {
        SW_LIT(&out, "&page_token=");
        sw_url_escape(&out, sw_str_of(token));
    }
    if (out.failed) {
        sw_buf_deinit(&out);
        return NULL;
    }
    return out.data;
}

sw_status sw_remote_list(struct sw_remote *remote, const char *path, const char *key, size_t limit, json_t **ret) {
    json_t *items = json_array();
    json_t *token = NULL;
    sw_status status = SW_OK;
    for (bool more = true; more && !status && json_array_size(items) < limit;) {
        char *page = page_path(path, limit - json_array_size(items), json_string_value(token));
        if (!page) {
            status = sw_fail(&remote->err, SW_E_IO, "the server's page token is too long");
            break;
        }
        status = sw_remote_call(remote, "GET", page, NULL);
        const json_t *list = json_object_get(remote->answer.json, key);
        if (!status && !json_is_array(list)) {
            status = sw_fail(&remote->err, SW_E_IO, "the server's answer has no %s", key);
        }
        if (!status) {
            json_array_extend(items, (json_t *)list);
            json_decref(token);
            token = json_incref(json_object_get(remote->answer.json, "next_page_token"));
            more = json_is_string(token) && json_array_size(list) > 0;
        }
    }
    if (status) {
        json_decref(items);
        json_decref(token);
        return status;
    }
    *ret = json_pack("{s:o, s:o}", key, items, "next_page_token", token ? token : json_null());
    return SW_OK;
}
