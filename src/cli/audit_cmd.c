/* slipway audit list, audit verify. */
#include <time.h>

#include "base/memory.h"
#include "cli/model_print.h"
#include "cli/when.h"

enum { PAGE_MAX = 1000, PATH_BYTES_MAX = 16384 };

/* --- list -------------------------------------------------------------------------------------------------------- */

static void append_filter(struct sw_buf *path, const char *name, const char *value) {
    if (value) {
        sw_buf_printf(path, "&%s=", name);
        sw_url_escape(path, sw_str_of(value));
    }
}

/* The query but for limit and before. */
static sw_status append_filters(struct sw_remote *remote, struct sw_buf *path) {
    const char *since = sw_args_text(remote->args, SW_OPTION_SINCE);
    char moment[SW_TIMESTAMP_MAX];
    append_filter(path, "object", sw_args_text(remote->args, SW_OPTION_MODEL));
    append_filter(path, "action", sw_args_text(remote->args, SW_OPTION_ACTION));
    if (since) {
        uint64_t wall_ms;
        struct sw_clock *clock = sw_clock_system();
        if (!sw_parse_when(sw_str_of(since), clock->wall_ms(clock), &wall_ms)) {
            return sw_fail(&remote->err, SW_E_USAGE,
                           "--since is '%s', but must be a time such as 2026-11-20, 2026-11-20T14:00:00Z, 90m or 48h",
                           since);
        }
        sw_format_timestamp(wall_ms, moment);
        append_filter(path, "since", moment);
    }
    return path->failed ? sw_fail(&remote->err, SW_E_USAGE, "a filter is too long") : SW_OK;
}

static sw_status get_page(struct sw_remote *remote, size_t limit, const json_t *before) {
    struct sw_buf path;
    sw_buf_init(&path, PATH_BYTES_MAX);
    sw_buf_printf(&path, "/api/v1/audit?limit=%zu", limit < PAGE_MAX ? limit : PAGE_MAX);
    if (before) {
        sw_buf_printf(&path, "&before=%" JSON_INTEGER_FORMAT, json_integer_value(before));
    }
    sw_status status = append_filters(remote, &path);
    if (status) {
        sw_buf_deinit(&path);
        return status;
    }
    return sw_remote_call(remote, "GET", path.data, NULL);
}

static void print_rows(const json_t *rows) {
    struct sw_table table;
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) {
        printf("no such rows\n");
        return;
    }
    sw_table_init(&table, ">ROW", "TIME (UTC)", "WHO", "ACTION", "OBJECT", "REASON", NULL);
    json_array_foreach(rows, i, row) {
        char number[32], time[32];
        sw_table_cell(&table, sw_json_number(row, "seq", number));
        sw_table_cell(&table, sw_json_time(row, "time", time));
        sw_table_cell(&table, sw_json_text(row, "actor"));
        sw_table_cell(&table, sw_json_text(row, "action"));
        sw_table_cell(&table, sw_json_text(row, "object"));
        sw_table_cell(&table, sw_json_text(row, "reason"));
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

static sw_status collect(struct sw_remote *remote, json_t *rows, json_t **ret_next) {
    size_t limit = sw_args_integer(remote->args, SW_OPTION_LIMIT);
    json_t *next = NULL;
    bool more = true;
    while (more && json_array_size(rows) < limit) {
        sw_status status = get_page(remote, limit - json_array_size(rows), next);
        json_decref(next);
        next = NULL;
        SW_TRY(status);
        json_t *page = json_object_get(remote->answer.json, "rows");
        json_array_extend(rows, page);
        next = json_incref(json_object_get(remote->answer.json, "next_before"));
        more = json_is_integer(next) && json_array_size(page) > 0;
    }
    *ret_next = next ? next : json_null();
    return SW_OK;
}

static sw_status list(struct sw_remote *remote) {
    const char *model = sw_args_text(remote->args, SW_OPTION_MODEL);
    if (model) {
        SW_TRY(sw_remote_check_model(remote, model));
    }
    json_t *rows = json_array(), *next = NULL;
    sw_status status = collect(remote, rows, &next);
    if (!status && remote->json) {
        json_t *json = json_pack("{s:O, s:O}", "rows", rows, "next_before", next);
        sw_cli_print_json(stdout, json);
        json_decref(json);
    } else if (!status) {
        print_rows(rows);
        if (json_is_integer(next)) {
            printf("... and older ones: raise --limit\n");
        }
    }
    json_decref(rows);
    json_decref(next);
    return status;
}

int sw_run_audit_list(const struct sw_args *args) {
    struct sw_remote remote;
    sw_status status = sw_remote_open(args, &remote);
    return sw_remote_close(&remote, status ? status : list(&remote));
}

/* --- verify ------------------------------------------------------------------------------------------------------ */

static sw_status verify(struct sw_remote *remote) {
    char rows[32];
    SW_TRY(sw_remote_call(remote, "GET", sw_url_path("/api/v1/audit/verify", NULL), NULL));
    const json_t *report = remote->answer.json;
    const json_t *fault = json_object_get(report, "fault");
    const char *head = sw_json_text(json_object_get(report, "head"), "hash");
    if (remote->json) {
        sw_cli_print_json(stdout, remote->answer.json);
    }
    if (!json_is_true(json_object_get(report, "ok"))) {
        return sw_fail(&remote->err, SW_E_DIGEST_MISMATCH, "the audit log is broken: %s",
                       *sw_json_text(fault, "message") ? sw_json_text(fault, "message")
                                                       : "the server does not say where");
    }
    if (!remote->json) {
        printf("the audit log holds: %s rows, head %s\n", sw_json_number(report, "rows", rows), *head ? head : "-");
    }
    return SW_OK;
}

int sw_run_audit_verify(const struct sw_args *args) {
    struct sw_remote remote;
    sw_status status = sw_remote_open(args, &remote);
    return sw_remote_close(&remote, status ? status : verify(&remote));
}
