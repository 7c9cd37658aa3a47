/* Appending to the audit log, and listing it. */
#include "store/audit_internal.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "base/buf.h"

/* ---- hash */

static void add(EVP_MD_CTX *context, const void *data, size_t len) {
    int ok = EVP_DigestUpdate(context, data, len);
    SW_ASSERT(ok == 1);
}

static void add_number(EVP_MD_CTX *context, uint64_t number) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    }
    add(context, bytes, sizeof bytes);
}

static void add_text(EVP_MD_CTX *context, const char *text) {
    add(context, text ? "\1" : "", 1);
    if (text) {
        add_number(context, strlen(text));
        add(context, text, strlen(text));
    }
}

void sw_audit_hash(const char *previous, const struct sw_audit_row *row, char ret_hash[SW_AUDIT_HASH_MAX]) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    SW_ASSERT(ok);
    add_text(context, previous);
    add_number(context, (uint64_t)row->seq);
    add_number(context, (uint64_t)row->time_ms);
    const char *texts[] = {row->actor, row->action, row->object, row->reason, row->request_id, row->before, row->after};
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        add_text(context, texts[i]);
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ok = EVP_DigestFinal_ex(context, digest, &len);
    SW_ASSERT(ok == 1 && len == 32);
    EVP_MD_CTX_free(context);
    for (unsigned i = 0; i < len; i++) {
        snprintf(ret_hash + (size_t)2 * i, 3, "%02x", digest[i]);
    }
}

/* An intruder may have written values of another kind: they are no reason to fail, they will not fit the hash. */
static int64_t number_at(const struct sw_rows *rows, size_t row, size_t column) {
    const struct sw_value *cell = sw_rows_at(rows, row, column);
    return cell->kind == SW_VALUE_INT ? cell->integer : -1;
}

static const char *text_at(const struct sw_rows *rows, size_t row, size_t column) {
    const struct sw_value *cell = sw_rows_at(rows, row, column);
    return cell->kind == SW_VALUE_NULL ? NULL : cell->kind == SW_VALUE_TEXT ? cell->text.data : "(not a text)";
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

void sw_audit_read_row(const struct sw_rows *rows, size_t row, struct sw_audit_row *ret) {
    *ret = (struct sw_audit_row){
        .seq = number_at(rows, row, 0),
        .time_ms = number_at(rows, row, 1),
        .actor = or_empty(text_at(rows, row, 2)),
        .action = or_empty(text_at(rows, row, 3)),
        .object = or_empty(text_at(rows, row, 4)),
        .reason = text_at(rows, row, 5),
        .request_id = text_at(rows, row, 6),
        .before = text_at(rows, row, 7),
        .after = text_at(rows, row, 8),
        .hash = or_empty(text_at(rows, row, 9)),
    };
}

/* ---- append */

/* State as text; NULL stays NULL. The text itself is what is hashed and kept, so its order of keys need not be fixed
 * for the hash; it is, for readers. */
static sw_status dump(const json_t *state, struct sw_arena *arena, const char **ret, struct sw_error *err) {
    *ret = NULL;
    if (!state) {
        return SW_OK;
    }
    size_t flags = JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY;
    size_t len = json_dumpb(state, NULL, 0, flags);
    if (len == 0) {
        return sw_fail(err, SW_E_INTERNAL, "the state for an audit row cannot be written as JSON");
    }
    char *text = sw_arena_alloc_aligned(arena, len + 1, 1);
    if (!text) {
        return sw_fail(err, SW_E_TOO_LARGE, "the state for an audit row is too large");
    }
    json_dumpb(state, text, len, flags);
    text[len] = '\0';
    *ret = text;
    return SW_OK;
}

static sw_status read_head(struct sw_tx *tx, struct sw_arena *arena, int64_t *ret_seq, const char **ret_hash,
                           struct sw_error *err) {
    struct sw_rows head;
    SW_TRY(sw_tx_query(tx, "SELECT seq, hash FROM audit_head WHERE id = 1", SW_NO_PARAMS, arena, &head, err));
    if (head.count != 1) {
        return sw_fail(err, SW_E_IO, "the head of the audit log is missing; see `slipway audit verify`");
    }
    *ret_seq = sw_rows_int(&head, 0, 0);
    *ret_hash = sw_rows_text(&head, 0, 1);
    return SW_OK;
}

static sw_status insert(struct sw_tx *tx, const struct sw_audit_row *row, struct sw_error *err) {
    SW_TRY(
        sw_tx_exec(tx, "INSERT INTO audit (" SW_AUDIT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                   SW_PARAMS(sw_v_int(row->seq), sw_v_int(row->time_ms), sw_v_text(row->actor), sw_v_text(row->action),
                             sw_v_text(row->object), sw_v_text(row->reason), sw_v_text(row->request_id),
                             sw_v_text(row->before), sw_v_text(row->after), sw_v_text(row->hash)),
                   NULL, err));
    return sw_tx_exec(tx, "UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1",
                      SW_PARAMS(sw_v_int(row->seq), sw_v_text(row->hash)), NULL, err);
}

static sw_status append(struct sw_tx *tx, const struct sw_audit_entry *entry, uint64_t wall_ms, struct sw_arena *arena,
                        int64_t *ret_seq, struct sw_error *err) {
    int64_t seq = 0;
    const char *previous = NULL;
    SW_TRY(read_head(tx, arena, &seq, &previous, err));
    char hash[SW_AUDIT_HASH_MAX];
    struct sw_audit_row row = {.seq = seq + 1,
                               .time_ms = (int64_t)wall_ms,
                               .actor = entry->actor,
                               .action = entry->action,
                               .object = entry->object,
                               .reason = entry->reason,
                               .request_id = entry->request_id,
                               .hash = hash};
    SW_TRY(dump(entry->before, arena, &row.before, err));
    SW_TRY(dump(entry->after, arena, &row.after, err));
    sw_audit_hash(previous, &row, hash);
    SW_TRY(insert(tx, &row, err));
    if (ret_seq) {
        *ret_seq = row.seq;
    }
    return SW_OK;
}

sw_status sw_audit_append(struct sw_tx *tx, const struct sw_audit_entry *entry, uint64_t wall_ms, int64_t *ret_seq,
                          struct sw_error *err) {
    SW_ASSERT(entry->actor && entry->action && entry->object);
    struct sw_arena arena;
    sw_arena_init(&arena, (size_t)64 * 1024 * 1024, 0);
    sw_status status = append(tx, entry, wall_ms, &arena, ret_seq, err);
    sw_arena_deinit(&arena);
    return status;
}

/* ---- list */

/* A condition is added with its values; every value gets the next number. */
struct where {
    struct sw_buf sql;
    struct sw_value params[16];
    size_t count;
};

static unsigned param(struct where *where, struct sw_value value) {
    SW_ASSERT(where->count < SW_COUNTOF(where->params));
    where->params[where->count++] = value;
    return (unsigned)where->count;
}

/* Everything below `prefix`: from it to where its last byte is one more. The columns are ordered by bytes. */
static void starts_with(struct where *where, const char *column, struct sw_str prefix, struct sw_arena *arena) {
    char *end = sw_arena_strdup(arena, prefix);
    end[prefix.len - 1]++;
    unsigned from = param(where, sw_v_str(prefix));
    unsigned to = param(where, sw_v_str((struct sw_str){end, prefix.len}));
    sw_buf_printf(&where->sql, "(%s >= $%u AND %s < $%u)", column, from, column, to);
}

static void add_object(struct where *where, const char *object, struct sw_arena *arena) {
    sw_buf_printf(&where->sql, " AND (object = $%u OR ", param(where, sw_v_text(object)));
    starts_with(where, "object", sw_str_of(sw_arena_printf(arena, "%s/", object)), arena);
    sw_buf_printf(&where->sql, " OR ");
    starts_with(where, "object", sw_str_of(sw_arena_printf(arena, "%s@", object)), arena);
    sw_buf_printf(&where->sql, ")");
}

static void add_action(struct where *where, const char *action, struct sw_arena *arena) {
    if (sw_str_ends(sw_str_of(action), SW_STR("."))) {
        sw_buf_printf(&where->sql, " AND ");
        starts_with(where, "action", sw_str_of(action), arena);
    } else {
        sw_buf_printf(&where->sql, " AND action = $%u", param(where, sw_v_text(action)));
    }
}

static void build(struct where *where, const struct sw_audit_filter *filter, struct sw_arena *arena) {
    sw_buf_printf(&where->sql, "SELECT " SW_AUDIT_COLUMNS " FROM audit WHERE 1 = 1");
    if (filter->before_seq > 0) {
        sw_buf_printf(&where->sql, " AND seq < $%u", param(where, sw_v_int(filter->before_seq)));
    }
    if (filter->object_prefix) {
        add_object(where, filter->object_prefix, arena);
    }
    if (filter->action) {
        add_action(where, filter->action, arena);
    }
    if (filter->actor) {
        sw_buf_printf(&where->sql, " AND actor = $%u", param(where, sw_v_text(filter->actor)));
    }
    if (filter->since_ms) {
        sw_buf_printf(&where->sql, " AND time_ms >= $%u", param(where, sw_v_int((int64_t)filter->since_ms)));
    }
    if (filter->until_ms) {
        sw_buf_printf(&where->sql, " AND time_ms < $%u", param(where, sw_v_int((int64_t)filter->until_ms)));
    }
    sw_buf_printf(&where->sql, " ORDER BY seq DESC LIMIT $%u", param(where, sw_v_int((int64_t)filter->limit)));
}

/* What an intruder may have written there need not be JSON: then it is shown as text. */
static json_t *state(const char *text) {
    if (!text) {
        return json_null();
    }
    json_t *parsed = json_loads(text, JSON_DECODE_ANY, NULL);
    return parsed ? parsed : json_string(text);
}

static json_t *row_json(const struct sw_audit_row *row) {
    char time[SW_TIMESTAMP_MAX];
    sw_format_timestamp(row->time_ms < 0 ? 0 : (uint64_t)row->time_ms, time);
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s?, s:s?, s:o, s:o, s:s}", "seq", (json_int_t)row->seq, "time", time,
                     "actor", row->actor, "action", row->action, "object", row->object, "reason", row->reason,
                     "request_id", row->request_id, "before", state(row->before), "after", state(row->after), "hash",
                     row->hash);
}

static sw_status list(struct sw_tx *tx, const struct sw_audit_filter *filter, struct sw_arena *arena, json_t *ret,
                      struct sw_error *err) {
    struct where where = {.count = 0};
    sw_buf_init_arena(&where.sql, arena, 4096);
    build(&where, filter, arena);
    SW_ASSERT(!where.sql.failed);
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, where.sql.data, where.params, where.count, arena, &rows, err));
    for (size_t i = 0; i < rows.count; i++) {
        struct sw_audit_row row;
        sw_audit_read_row(&rows, i, &row);
        if (json_array_append_new(ret, row_json(&row)) != 0) {
            return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
        }
    }
    return SW_OK;
}

sw_status sw_audit_list(struct sw_store *store, const struct sw_audit_filter *filter, json_t **ret,
                        struct sw_error *err) {
    SW_ASSERT(filter->limit >= 1 && filter->limit <= 1000);
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(store, SW_TX_READ, &tx, err));
    struct sw_arena arena;
    sw_arena_init(&arena, (size_t)256 * 1024 * 1024, 0);
    json_t *array = json_array();
    sw_status status = list(tx, filter, &arena, array, err);
    sw_tx_rollback(tx);
    sw_arena_deinit(&arena);
    if (status) {
        json_decref(array);
        return status;
    }
    *ret = array;
    return SW_OK;
}
