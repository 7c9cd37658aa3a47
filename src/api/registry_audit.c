/* The audit log as rows and as a verified chain; and gc, which keeps house. */
#include "api/registry_common.h"

enum { ROWS_DEFAULT = 100, ROWS_MAX = 1000, DAYS_MAX = 36500 };

/* ---- audit */

static sw_status read_filter(struct sw_http_exchange *x, struct sw_audit_filter *filter, struct sw_error *err) {
    uint64_t limit = ROWS_DEFAULT, before = 0;
    SW_TRY(sw_api_query_number(x, "limit", 1, ROWS_MAX, &limit, err));
    SW_TRY(sw_api_query_number(x, "before", 1, INT64_MAX, &before, err));
    SW_TRY(sw_api_query_text(x, "object", 512, &filter->object_prefix, err));
    SW_TRY(sw_api_query_text(x, "action", 128, &filter->action, err));
    SW_TRY(sw_api_query_text(x, "actor", 256, &filter->actor, err));
    SW_TRY(sw_api_query_time(x, "since", &filter->since_ms, err));
    SW_TRY(sw_api_query_time(x, "until", &filter->until_ms, err));
    filter->limit = limit;
    filter->before_seq = (int64_t)before;
    return SW_OK;
}

static sw_status list(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_audit_filter filter = {0};
    json_t *rows;
    SW_TRY(read_filter(x, &filter, err));
    SW_TRY(sw_audit_list(sw_registry_store(registry), &filter, &rows, err));
    json_auto_t *doc = json_object();
    json_object_set_new(doc, "rows", rows);
    size_t count = json_array_size(rows);
    json_int_t last = count ? json_integer_value(json_object_get(json_array_get(rows, count - 1), "seq")) : 0;
    bool has_more = count == filter.limit && last > 1;
    json_object_set_new(doc, "next_before", has_more ? json_integer(last) : json_null());
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_audit(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, list);
}

static sw_status verify(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct sw_audit_report report;
    struct sw_buf out;
    SW_TRY(sw_audit_verify(sw_registry_store(registry), &report, err));
    sw_api_buf(x, &out);
    sw_buf_printf(&out, "{\"ok\":%s,\"rows\":%lld,\"fault\":", report.fault_seq ? "false" : "true",
                  (long long)report.rows);
    if (report.fault_seq) {
        sw_buf_printf(&out, "{\"seq\":%lld,", (long long)report.fault_seq);
        sw_api_put_string(&out, "message", report.fault);
        sw_buf_append_c(&out, '}');
    } else {
        SW_LIT(&out, "null");
    }
    SW_LIT(&out, ",\"head\":{");
    sw_api_put_string(&out, "hash", report.head_hash);
    SW_LIT(&out, "}}");
    sw_api_reply(x, 200, &out);
    return SW_OK;
}

enum sw_http_result sw_api_audit_verify(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_BULK, verify);
}

/* ---- gc */

static sw_status collect(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    int64_t days = 30;
    bool dry_run = false;
    const struct sw_api_field fields[] = {
        {.name = "days", .kind = SW_MEMBER_INT, .ret = &days, .min = 0, .max = DAYS_MAX},
        {.name = "dry_run", .kind = SW_MEMBER_BOOL, .ret = &dry_run},
    };
    struct sw_actor actor;
    json_auto_t *doc = NULL;
    SW_TRY(sw_api_read(x, true, fields, SW_COUNTOF(fields), err));
    SW_TRY(sw_api_actor(x, NULL, &actor, err));
    SW_TRY(sw_registry_gc(registry, &actor, (unsigned)days, dry_run, &doc, err));
    sw_api_reply_doc(x, 200, doc);
    return SW_OK;
}

enum sw_http_result sw_api_registry_gc(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_BULK, collect);
}
