/* Text of registry documents; see model_print.h. */
#include "cli/model_print.h"

#include "base/buf.h"
#include "base/memory.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

void sw_print_member(const char *name, const char *text) {
    if (*text) {
        char *clean SW_AUTO_FREE = sw_text_clean(text);
        printf("  %-12s %s\n", name, clean);
    }
}

/* A scalar as people write it; "-" for null. */
static void append_scalar(struct sw_buf *out, const json_t *value) {
    if (json_is_string(value)) {
        sw_buf_append_str(out, sw_str_of(json_string_value(value)));
    } else if (json_is_real(value)) {
        sw_buf_printf(out, "%.6g", json_real_value(value));
    } else if (json_is_integer(value)) {
        sw_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        sw_buf_append_str(out, json_is_true(value) ? SW_STR("true") : SW_STR("false"));
    } else if (!value || json_is_null(value)) {
        SW_LIT(out, "-");
    } else {
        char *text SW_AUTO_FREE = sw_json_compact(value);
        sw_buf_append_str(out, sw_str_of(text));
    }
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void sw_format_pairs(const json_t *object, struct sw_buf *out) {
    size_t count = json_object_size(object), n = 0;
    const char **keys SW_AUTO_FREE = sw_xcalloc(count + 1, sizeof *keys);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        keys[n++] = key;
    }
    qsort(keys, n, sizeof *keys, by_text);
    for (size_t i = 0; i < n; i++) {
        sw_buf_printf(out, "%s%s=", i ? " " : "", keys[i]);
        append_scalar(out, json_object_get(object, keys[i]));
    }
}

void sw_format_aliases(const json_t *aliases, struct sw_buf *out) {
    size_t i;
    json_t *alias;
    if (json_is_object(aliases)) {
        sw_format_pairs(aliases, out);
        return;
    }
    json_array_foreach(aliases, i, alias) {
        sw_buf_printf(out, "%s%s", i ? ", " : "", json_is_string(alias) ? json_string_value(alias) : "?");
    }
}

static void scalar_cell(struct sw_table *table, const json_t *value) {
    struct sw_buf text;
    sw_buf_init(&text, TEXT_BYTES_MAX);
    append_scalar(&text, value);
    sw_table_cell(table, text.failed ? "?" : text.data);
    sw_buf_deinit(&text);
}

void sw_print_gates(const json_t *gates) {
    size_t i;
    json_t *gate;
    struct sw_table table;
    if (json_array_size(gates) == 0) {
        return;
    }
    sw_table_init(&table, "GATE", "RESULT", "MEASURED", "WANTED", "DETAIL", NULL);
    json_array_foreach(gates, i, gate) {
        sw_table_cell(&table, sw_json_text(gate, "name"));
        sw_table_cell(&table, sw_json_text(gate, "status"));
        scalar_cell(&table, json_object_get(gate, "measured"));
        scalar_cell(&table, json_object_get(gate, "wanted"));
        sw_table_cell(&table, sw_json_text(gate, "detail"));
    }
    sw_table_print(&table, stdout, sw_cli_terminal_width());
    sw_table_deinit(&table);
}

/* What the server says that it did. */
static void print_promotion(const json_t *p, const char *name, const json_t *body) {
    char version[32], live[32], before[32];
    const char *stage = sw_json_text(body, "stage");
    const char *alias = sw_json_text(body, "alias");
    bool forced = json_is_true(json_object_get(p, "forced"));
    sw_print_gates(json_object_get(p, "gates"));
    sw_json_number(p, "version", version);
    sw_json_number(p, "live", live);
    sw_json_number(p, "previous_live", before);
    printf("%s version %s", name, version);
    if (*stage || *alias) {
        printf(" is now %s%s%s", stage, *stage && *alias ? " and " : "", alias);
        printf(strcmp(live, before) != 0 ? "; live: %s, before: %s" : "; live stays %s", live, before);
    } else {
        printf(strcmp(live, before) != 0 ? " is now live; before: %s" : " was live already", before);
    }
    printf("%s\n", forced ? " (forced)" : "");
}

sw_status sw_remote_promote(struct sw_remote *remote, const char *name, json_t *body) {
    sw_status status = sw_remote_call(remote, "POST", sw_url_path("/api/v1/models", name, "promote", NULL),
                                      json_incref(body));
    if (status == SW_E_GATE_FAILED && !remote->json) {
        sw_print_gates(sw_answer_detail(&remote->answer, "gates"));
    } else if (!status && !remote->json) {
        print_promotion(remote->answer.json, name, body);
    }
    json_decref(body);
    return status;
}
