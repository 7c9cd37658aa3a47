/* The audit log as rows and as a verified chain; and gc, which keeps house. */
#include <time.h>

#include "api/registry_common.h"

enum { ROWS_DEFAULT = 100, ROWS_MAX = 1000, DAYS_MAX = 36500 };

/* ---- times */

static bool digits(const char **p, size_t count, int *ret) {
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if ((*p)[i] < '0' || (*p)[i] > '9') {
            return false;
        }
        value = value * 10 + ((*p)[i] - '0');
    }
    *p += count;
    *ret = value;
    return true;
}

static bool expect(const char **p, char c) {
    bool found = **p == c;
    *p += found;
    return found;
}

/* Fraction of a second to milliseconds; more digits are cut. */
static bool fraction(const char **p, int *ret_ms) {
    int ms = 0, scale = 100;
    if (**p < '0' || **p > '9') {
        return false;
    }
    for (; **p >= '0' && **p <= '9'; (*p)++, scale /= 10) {
        ms += (**p - '0') * scale;
    }
    *ret_ms = ms;
    return true;
}

/* "Z", "+02:00"; a '+' of a query that was not encoded arrives as a blank. */
static bool zone(const char **p, int *ret_minutes) {
    int hours, minutes;
    if (expect(p, 'Z') || expect(p, 'z')) {
        *ret_minutes = 0;
        return true;
    }
    bool is_west = **p == '-';
    if (!expect(p, '+') && !expect(p, '-') && !expect(p, ' ')) {
        return false;
    }
    if (!digits(p, 2, &hours) || !expect(p, ':') || !digits(p, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
    return true;
}

static int days_of(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

/* RFC 3339 to milliseconds since 1970; nothing before that. */
static bool parse_time(const char *p, uint64_t *ret_ms) {
    struct tm tm = {0};
    int year, month, ms = 0, offset;
    if (!digits(&p, 4, &year) || !expect(&p, '-') || !digits(&p, 2, &month) || !expect(&p, '-') ||
        !digits(&p, 2, &tm.tm_mday) || !(expect(&p, 'T') || expect(&p, 't') || expect(&p, ' ')) ||
        !digits(&p, 2, &tm.tm_hour) || !expect(&p, ':') || !digits(&p, 2, &tm.tm_min) || !expect(&p, ':') ||
        !digits(&p, 2, &tm.tm_sec)) {
        return false;
    }
    if ((expect(&p, '.') && !fraction(&p, &ms)) || !zone(&p, &offset) || *p != '\0') {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || tm.tm_mday < 1 || tm.tm_mday > days_of(year, month) ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int64_t seconds = timegm(&tm) - (int64_t)offset * 60;
    *ret_ms = seconds < 0 ? 0 : (uint64_t)seconds * 1000 + (uint64_t)ms;
    return true;
}

static sw_status query_time(struct sw_http_exchange *x, const char *name, uint64_t *ret, struct sw_error *err) {
    const char *text = NULL;
    SW_TRY(sw_api_query_text(x, name, 64, &text, err));
    if (text && !sw_parse_u64(sw_str_of(text), ret) && !parse_time(text, ret)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "query argument '%s' is '%s': a time as 2026-11-20T21:51:18Z, or milliseconds since 1970, is "
                       "wanted",
                       name, text);
    }
    return SW_OK;
}

/* ---- audit */

static sw_status read_filter(struct sw_http_exchange *x, struct sw_audit_filter *filter, struct sw_error *err) {
    uint64_t limit = ROWS_DEFAULT, before = 0;
    SW_TRY(sw_api_query_number(x, "limit", 1, ROWS_MAX, &limit, err));
    SW_TRY(sw_api_query_number(x, "before", 1, INT64_MAX, &before, err));
    SW_TRY(sw_api_query_text(x, "object", 512, &filter->object_prefix, err));
    SW_TRY(sw_api_query_text(x, "action", 128, &filter->action, err));
    SW_TRY(sw_api_query_text(x, "actor", 256, &filter->actor, err));
    SW_TRY(query_time(x, "since", &filter->since_ms, err));
    SW_TRY(query_time(x, "until", &filter->until_ms, err));
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
