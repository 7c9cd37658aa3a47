/* slipway model promote, rollback, archive, delete, tag, gc. */
#include <unistd.h>

#include "base/memory.h"
#include "cli/model_print.h"
#include "cli/progress.h"
#include "registry/registry.h"

/* Opens, runs, closes. */
static int run(const struct sw_args *args, sw_status (*command)(struct sw_remote *remote)) {
    struct sw_remote remote;
    sw_status status = sw_remote_open(args, &remote);
    return sw_remote_close(&remote, status ? status : command(&remote));
}

/* NAME and VERSION of the command line, checked. */
static sw_status check_pair(struct sw_remote *remote) {
    SW_TRY(sw_remote_check_model(remote, remote->args->positional[0]));
    return sw_remote_check_version(remote, remote->args->positional[1]);
}

/* --- promote ----------------------------------------------------------------------------------------------------- */

/* The stage as the registry writes it. */
static sw_status set_stage(struct sw_remote *remote, json_t *body) {
    const char *text = sw_args_text(remote->args, SW_OPTION_STAGE);
    enum sw_stage stage;
    if (text && !sw_stage_parse(sw_str_of(text), &stage)) {
        return sw_fail(&remote->err, SW_E_USAGE, "--stage is '%s', but must be None, Staging, Production or Archived",
                       text);
    }
    if (text) {
        json_object_set_new(body, "stage", json_string(sw_stage_name(stage)));
    }
    return SW_OK;
}

static sw_status promotion_body(struct sw_remote *remote, json_t *body) {
    const struct sw_args *args = remote->args;
    const char *alias = sw_args_text(args, SW_OPTION_ALIAS);
    bool force = sw_args_has(args, SW_OPTION_FORCE);
    SW_TRY(set_stage(remote, body));
    if (alias && !sw_registry_alias_valid(sw_str_of(alias))) {
        return sw_fail(&remote->err, SW_E_USAGE, "'%s' cannot be an alias: no number, not latest, live or v1", alias);
    }
    if (force && !sw_args_has(args, SW_OPTION_REASON)) {
        return sw_fail(&remote->err, SW_E_USAGE, "--force needs --reason TEXT: the audit log keeps why");
    }
    sw_remote_set_option(remote, body, "alias", SW_OPTION_ALIAS);
    sw_remote_set_option(remote, body, "reason", SW_OPTION_REASON);
    if (force) {
        json_object_set_new(body, "force", json_true());
    }
    if (sw_args_has(args, SW_OPTION_ALLOW_BREAKING)) {
        json_object_set_new(body, "allow_breaking", json_true());
    }
    bool stays_default = !json_object_get(body, "stage") && !alias; /* then the server archives by itself */
    bool keep = sw_args_has(args, SW_OPTION_KEEP_EXISTING);
    if (keep || (!stays_default && json_object_get(body, "stage"))) {
        json_object_set_new(body, "archive_existing", json_boolean(!keep));
    }
    return SW_OK;
}

static sw_status promote(struct sw_remote *remote) {
    SW_TRY(check_pair(remote));
    json_t *body = json_pack("{s:s}", "version", remote->args->positional[1]);
    sw_status status = promotion_body(remote, body);
    if (status) {
        json_decref(body);
        return status;
    }
    status = sw_remote_promote(remote, remote->args->positional[0], body);
    if (remote->json && (!status || status == SW_E_GATE_FAILED)) {
        sw_cli_print_json(stdout, remote->answer.json);
    }
    return status;
}

int sw_run_model_promote(const struct sw_args *args) {
    return run(args, promote);
}

/* --- rollback, archive ------------------------------------------------------------------------------------------- */

static sw_status rollback(struct sw_remote *remote) {
    const char *name = remote->args->positional[0];
    const char *to = sw_args_text(remote->args, SW_OPTION_TO);
    char now[32], before[32];
    SW_TRY(sw_remote_check_model(remote, name));
    if (to) {
        SW_TRY(sw_remote_check_version(remote, to));
    }
    json_t *body = json_object();
    sw_remote_set_option(remote, body, "version", SW_OPTION_TO);
    sw_remote_set_option(remote, body, "reason", SW_OPTION_REASON);
    SW_TRY(sw_remote_call(remote, "POST", sw_url_path("/api/v1/models", name, "rollback", NULL), body));
    if (remote->json) {
        sw_cli_print_json(stdout, remote->answer.json);
    } else {
        printf("%s version %s is live again; before: %s\n", name, sw_json_number(remote->answer.json, "version", now),
               sw_json_number(remote->answer.json, "previous_live", before));
    }
    return SW_OK;
}

int sw_run_model_rollback(const struct sw_args *args) {
    return run(args, rollback);
}

/* What became of the live version: a stage does not move the alias champion. */
static void print_archived(const char *name, const json_t *answer, const json_t *aliases) {
    char version[32], live[32];
    bool stays_live = !strcmp(sw_json_number(answer, "version", version), sw_json_number(answer, "live", live));
    bool champion = false;
    size_t i;
    json_t *alias;
    json_array_foreach(aliases, i, alias) {
        champion = champion || (json_is_string(alias) && !strcmp(json_string_value(alias), "champion"));
    }
    if (stays_live && champion) {
        printf(
            "%s version %s is archived, but alias champion keeps it live; promote another version, or take the alias "
            "off: slipway model unalias %s champion\n",
            name, version, name);
    } else {
        printf("%s version %s is archived; live: %s\n", name, version, live);
    }
}

static sw_status archive(struct sw_remote *remote) {
    const char *name = remote->args->positional[0];
    char version[32];
    SW_TRY(check_pair(remote));
    json_t *body = json_pack("{s:s}", "version", remote->args->positional[1]);
    sw_remote_set_option(remote, body, "reason", SW_OPTION_REASON);
    SW_TRY(sw_remote_call(remote, "PUT", sw_url_path("/api/v1/models", name, "stages", "Archived", NULL), body));
    if (remote->json) {
        sw_cli_print_json(stdout, remote->answer.json);
        return SW_OK;
    }
    json_t *answer = json_incref(remote->answer.json);
    sw_json_number(answer, "version", version);
    sw_status status = sw_remote_call(remote, "GET", sw_url_path("/api/v1/models", name, "versions", version, NULL),
                                      NULL);
    /* It is archived even when this question is not answered. */
    print_archived(name, answer, status ? NULL : json_object_get(remote->answer.json, "aliases"));
    json_decref(answer);
    return SW_OK;
}

int sw_run_model_archive(const struct sw_args *args) {
    return run(args, archive);
}

/* --- unalias ----------------------------------------------------------------------------------------------------- */

static sw_status unalias(struct sw_remote *remote) {
    const char *name = remote->args->positional[0], *alias = remote->args->positional[1];
    const char *reason = sw_args_text(remote->args, SW_OPTION_REASON);
    SW_TRY(sw_remote_check_model(remote, name));
    if (!sw_registry_alias_valid(sw_str_of(alias))) {
        return sw_fail(&remote->err, SW_E_USAGE, "'%s' cannot be an alias", alias);
    }
    char *start SW_AUTO_FREE = sw_url_path("/api/v1/models", name, "aliases", alias, NULL);
    struct sw_buf path;
    sw_buf_init(&path, 1 << 16);
    sw_buf_append_str(&path, sw_str_of(start));
    if (reason) {
        SW_LIT(&path, "?reason=");
        sw_url_escape(&path, sw_str_of(reason));
    }
    if (path.failed) {
        sw_buf_deinit(&path);
        return sw_fail(&remote->err, SW_E_USAGE, "--reason is too long");
    }
    SW_TRY(sw_remote_call(remote, "DELETE", path.data, NULL));
    if (remote->json) {
        json_t *json = json_pack("{s:s, s:s, s:b}", "model", name, "alias", alias, "deleted", 1);
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else {
        printf("%s has no alias %s any more\n", name, alias);
    }
    return SW_OK;
}

int sw_run_model_unalias(const struct sw_args *args) {
    return run(args, unalias);
}

/* --- delete ------------------------------------------------------------------------------------------------------ */

static sw_status ask(struct sw_remote *remote, const char *what) {
    char answer[16] = "";
    if (sw_args_has(remote->args, SW_OPTION_YES)) {
        return SW_OK;
    }
    if (!isatty(STDIN_FILENO)) {
        return sw_fail(&remote->err, SW_E_USAGE, "deletes %s; say --yes where nobody can be asked", what);
    }
    fprintf(stderr, "Delete %s? [y/N] ", what);
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y')) {
        return sw_fail(&remote->err, SW_E_CONFLICT, "nothing was deleted");
    }
    return SW_OK;
}

static sw_status delete (struct sw_remote *remote) {
    const struct sw_args *args = remote->args;
    const char *name = args->positional[0];
    const char *version = args->positional_count > 1 ? args->positional[1] : NULL;
    bool force = sw_args_has(args, SW_OPTION_FORCE);
    char what[SW_ERROR_MESSAGE_MAX];
    SW_TRY(version ? check_pair(remote) : sw_remote_check_model(remote, name));
    if (version && force) {
        return sw_fail(&remote->err, SW_E_USAGE, "--force is for a whole model; take the alias off the version first");
    }
    snprintf(what, sizeof what, version ? "%s version %s" : "%s with all its versions", name, version);
    SW_TRY(ask(remote, what));
    char *path = version ? sw_url_path("/api/v1/models", name, "versions", version, NULL)
                         : sw_url_path("/api/v1/models", name, NULL);
    if (force) {
        size_t size = strlen(path) + sizeof "?force=true";
        path = sw_xrealloc(path, size);
        snprintf(path + strlen(path), sizeof "?force=true", "?force=true");
    }
    SW_TRY(sw_remote_call(remote, "DELETE", path, NULL));
    if (remote->json) {
        json_t *json = json_pack("{s:s, s:s?, s:b}", "model", name, "version", version, "deleted", 1);
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else {
        printf("deleted %s\n", what);
    }
    return SW_OK;
}

int sw_run_model_delete(const struct sw_args *args) {
    return run(args, delete);
}

/* --- tag --------------------------------------------------------------------------------------------------------- */

static sw_status parse_tags(struct sw_remote *remote, json_t *tags) {
    for (size_t i = 1; i < remote->args->positional_count; i++) {
        SW_TRY(sw_pair_parse_tag(tags, remote->args->positional[i], true, &remote->err));
    }
    return SW_OK;
}

static sw_status tag(struct sw_remote *remote) {
    struct sw_str head;
    struct sw_str version = sw_str_split(sw_str_of(remote->args->positional[0]), '/', &head);
    char *name SW_AUTO_FREE = sw_xstrndup(head.data, head.len);
    SW_TRY(sw_remote_check_model(remote, name));
    if (version.data) {
        SW_TRY(sw_remote_check_version(remote, version.data));
    }
    json_t *tags = json_object();
    json_t *body = json_pack("{s:o}", "tags", tags);
    sw_status status = parse_tags(remote, tags);
    if (status) {
        json_decref(body);
        return status;
    }
    char *path = version.data ? sw_url_path("/api/v1/models", name, "versions", version.data, NULL)
                              : sw_url_path("/api/v1/models", name, NULL);
    SW_TRY(sw_remote_call(remote, "PATCH", path, body));
    if (remote->json) {
        sw_cli_print_json(stdout, remote->answer.json);
        return SW_OK;
    }
    struct sw_buf text;
    sw_buf_init(&text, 1 << 20);
    sw_format_pairs(json_object_get(remote->answer.json, "tags"), &text);
    char *clean SW_AUTO_FREE = sw_text_clean(text.len ? text.data : "(no tags)");
    printf("%s: %s\n", remote->args->positional[0], clean);
    sw_buf_deinit(&text);
    return SW_OK;
}

int sw_run_model_tag(const struct sw_args *args) {
    return run(args, tag);
}

/* --- gc ---------------------------------------------------------------------------------------------------------- */

static void print_items(const json_t *items) {
    struct sw_table table;
    size_t i;
    json_t *item;
    if (json_array_size(items) == 0) {
        return;
    }
    sw_table_init(&table, "KIND", ">SIZE", ">AGE (DAYS)", "ID", NULL);
    json_array_foreach(items, i, item) {
        char text[SW_BYTES_TEXT_MAX], age[32];
        json_int_t bytes = json_integer_value(json_object_get(item, "bytes"));
        sw_table_cell(&table, sw_json_text(item, "kind"));
        sw_table_cell(&table, sw_format_bytes(bytes > 0 ? (uint64_t)bytes : 0, text));
        sw_table_cell(&table, sw_json_number(item, "age_days", age));
        sw_table_cell(&table, sw_json_text(item, "id"));
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static void print_gc(const json_t *report) {
    static const char *const kinds[] = {"blobs", "uploads"};
    char number[32], size[SW_BYTES_TEXT_MAX];
    uint64_t bytes = 0;
    print_items(json_object_get(report, "items"));
    printf("%s: ", json_is_true(json_object_get(report, "dry_run")) ? "would be removed" : "removed");
    for (size_t i = 0; i < SW_COUNTOF(kinds); i++) {
        const json_t *part = json_object_get(report, kinds[i]);
        printf("%s%s %s", i ? ", " : "", sw_json_number(part, "count", number), kinds[i]);
        bytes += (uint64_t)json_integer_value(json_object_get(part, "bytes"));
    }
    printf(", %s", sw_format_bytes(bytes, size));
    const json_t *kept = json_object_get(report, "kept");
    printf("; kept: %s blobs, %s\n", sw_json_number(kept, "blobs", number),
           sw_format_bytes((uint64_t)json_integer_value(json_object_get(kept, "bytes")), size));
}

static sw_status gc(struct sw_remote *remote) {
    json_t *body = json_pack("{s:I, s:b}", "days", (json_int_t)sw_args_integer(remote->args, SW_OPTION_DAYS), "dry_run",
                             sw_args_has(remote->args, SW_OPTION_DRY_RUN));
    SW_TRY(sw_remote_call(remote, "POST", sw_url_path("/api/v1/gc", NULL), body));
    if (remote->json) {
        sw_cli_print_json(stdout, remote->answer.json);
    } else {
        print_gc(remote->answer.json);
    }
    return SW_OK;
}

int sw_run_model_gc(const struct sw_args *args) {
    return run(args, gc);
}
