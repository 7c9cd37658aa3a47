/* Search: conditions and orders of the caller's choice over models and versions, in one statement a page.
 *
 * Pages. The rows are in one total order: the orders asked for, then the name, then (versions) the number, newest
 * first. A token holds the values of these columns in the last row shown, and the next page is what comes after them:
 * (a after A) or (a = A and b after B) or ... So nothing is shown twice or left out when rows come and go in between,
 * unless a row itself moves in the order.
 *
 * Every text of the caller is a parameter; what is written into the statement comes from tables here. */
#include <inttypes.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

enum {
    ORDERS_MAX = SW_SEARCH_ORDERS_MAX + 2,
    AFTER_PARAMS_MAX = ORDERS_MAX * (ORDERS_MAX + 1) / 2 + 1, /* of the page: put_after, and the limit */
    PATTERN_MAX = 1000,
};

/* What differs between models and versions. */
struct kind {
    const char *columns[SW_SEARCH_TAG + 1]; /* NULL: it has no such field */
    const char *tags;                       /* rows of its tags, in front of " AND t.key = " */
    const char *from;
};

static const struct kind of_models = {
    .columns =
        {[SW_SEARCH_NAME] = "m.name", [SW_SEARCH_CREATED] = "m.created_ms", [SW_SEARCH_UPDATED] = "m.updated_ms"},
    .tags = "EXISTS (SELECT 1 FROM model_tags t WHERE t.model = m.name",
    .from = " FROM models m WHERE 1 = 1",
};
static const struct kind of_versions = {
    .columns =
        {
            [SW_SEARCH_NAME] = "v.model",
            [SW_SEARCH_VERSION] = "v.version",
            [SW_SEARCH_RUN_ID] = "v.run_id",
            [SW_SEARCH_SOURCE] = "v.source",
            [SW_SEARCH_CREATED] = "v.created_ms",
            [SW_SEARCH_UPDATED] = "v.updated_ms",
        },
    .tags = "EXISTS (SELECT 1 FROM version_tags t WHERE t.model = v.model AND t.version = v.version",
    .from = " FROM versions v JOIN models m ON m.name = v.model WHERE v.deleted_ms IS NULL",
};

static bool is_number(enum sw_search_field field) {
    return field == SW_SEARCH_VERSION || field == SW_SEARCH_CREATED || field == SW_SEARCH_UPDATED;
}

/* A statement in the making. */
struct search {
    const struct kind *kind;
    const struct sw_search *wanted;
    struct sw_search_order orders[ORDERS_MAX]; /* the whole order */
    size_t order_count;
    struct sw_tx *tx;
    struct sw_arena *arena;
    struct sw_query query;
};

/* Appends the number of a new parameter. */
static void put_param(struct search *s, struct sw_value value) {
    sw_query_param(&s->query, " $", value);
}

/* conditions ------------------------------------------------------------------------------------------------------- */

static sw_status put_like(struct search *s, const char *column, const char *pattern, bool ignore_case,
                          struct sw_error *err) {
    bool is_sqlite = sw_store_dialect(sw_tx_store(s->tx)) == SW_STORE_SQLITE;
    if (strlen(pattern) > PATTERN_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "a pattern of more than %d bytes", PATTERN_MAX);
    }
    if (is_sqlite && !ignore_case && !(pattern = sw_query_glob_of_like(s->arena, pattern))) {
        return sw_registry_out_of_memory(err);
    }
    sw_query_text(&s->query, column);
    sw_query_text(&s->query, is_sqlite ? (ignore_case ? " LIKE" : " GLOB") : (ignore_case ? " ILIKE" : " LIKE"));
    put_param(s, sw_v_text(pattern));
    sw_query_text(&s->query, is_sqlite ? "" : " ESCAPE ''");
    return SW_OK;
}

static void put_list(struct search *s, const char *column, const struct sw_search_term *term) {
    sw_query_text(&s->query, column);
    sw_query_text(&s->query, term->op == SW_SEARCH_IN ? " IN (" : " NOT IN (");
    for (size_t i = 0; i < term->list_count; i++) {
        sw_query_text(&s->query, i ? "," : "");
        put_param(s, sw_v_text(term->list[i]));
    }
    sw_query_text(&s->query, ")");
}

static sw_status put_comparison(struct search *s, const char *column, const struct sw_search_term *term,
                                struct sw_error *err) {
    static const char *const operators[] = {" =", " <>", " <", " <=", " >", " >="};
    bool number = is_number(term->field);
    bool is_pattern = term->op == SW_SEARCH_LIKE || term->op == SW_SEARCH_ILIKE;
    bool is_list = term->op == SW_SEARCH_IN || term->op == SW_SEARCH_NOT_IN;
    bool is_size = !is_pattern && !is_list && term->op > SW_SEARCH_NE;
    if ((number && (is_pattern || is_list)) || (!number && is_size) || (is_list && term->field == SW_SEARCH_TAG)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "this operator does not fit a %s",
                       term->field == SW_SEARCH_TAG ? "tag"
                       : number                     ? "number"
                                                    : "text");
    }
    if (is_pattern) {
        return put_like(s, column, term->text, term->op == SW_SEARCH_ILIKE, err);
    }
    if (is_list) {
        put_list(s, column, term);
        return SW_OK;
    }
    sw_query_text(&s->query, column);
    sw_query_text(&s->query, operators[term->op]);
    put_param(s, number ? sw_v_int(term->number) : sw_v_text(term->text));
    return SW_OK;
}

static sw_status put_tag(struct search *s, const struct sw_search_term *term, struct sw_error *err) {
    sw_query_text(&s->query, "(");
    if (term->absent) {
        sw_query_text(&s->query, "NOT ");
        sw_query_text(&s->query, s->kind->tags);
        sw_query_text(&s->query, " AND t.key =");
        put_param(s, sw_v_text(term->key));
        sw_query_text(&s->query, ") OR ");
    }
    sw_query_text(&s->query, s->kind->tags);
    sw_query_text(&s->query, " AND t.key =");
    put_param(s, sw_v_text(term->key));
    sw_query_text(&s->query, " AND ");
    SW_TRY(put_comparison(s, "t.value", term, err));
    sw_query_text(&s->query, "))");
    return SW_OK;
}

static sw_status put_terms(struct search *s, struct sw_error *err) {
    for (size_t i = 0; i < s->wanted->term_count; i++) {
        const struct sw_search_term *term = &s->wanted->terms[i];
        const char *column = s->kind->columns[term->field];
        size_t params = s->query.count + 3 + term->list_count + AFTER_PARAMS_MAX;
        if (params > SW_COUNTOF(s->query.params)) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "too many conditions");
        }
        sw_query_text(&s->query, " AND ");
        if (term->field == SW_SEARCH_TAG) {
            SW_TRY(put_tag(s, term, err));
        } else if (!column) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "this cannot be searched by such a field");
        } else {
            SW_TRY(put_comparison(s, column, term, err));
        }
    }
    return SW_OK;
}

/* order and pages -------------------------------------------------------------------------------------------------- */

static bool is_ordered_by(const struct search *s, enum sw_search_field field) {
    for (size_t i = 0; i < s->order_count; i++) {
        if (s->orders[i].field == field) {
            return true;
        }
    }
    return false;
}

/* The whole order; a field asked for twice counts where it stands first. */
static sw_status find_orders(struct search *s, struct sw_error *err) {
    for (size_t i = 0; i < s->wanted->order_count; i++) {
        struct sw_search_order order = s->wanted->orders[i];
        bool is_possible = order.field == SW_SEARCH_NAME || is_number(order.field);
        if (!is_possible || !s->kind->columns[order.field]) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "this cannot be ordered by such a field");
        }
        if (!is_ordered_by(s, order.field)) {
            s->orders[s->order_count++] = order;
        }
    }
    if (!is_ordered_by(s, SW_SEARCH_NAME)) {
        s->orders[s->order_count++] = (struct sw_search_order){SW_SEARCH_NAME, false};
    }
    if (s->kind->columns[SW_SEARCH_VERSION] && !is_ordered_by(s, SW_SEARCH_VERSION)) {
        s->orders[s->order_count++] = (struct sw_search_order){SW_SEARCH_VERSION, true};
    }
    return SW_OK;
}

static sw_status read_values(const struct search *s, struct sw_str token, struct sw_value values[ORDERS_MAX],
                             struct sw_error *err) {
    struct sw_str part, rest = sw_str_split(token, '~', &part);
    if (!sw_str_is(part, "s")) {
        return sw_page_bad_token(err);
    }
    for (size_t i = 0; i < s->order_count; i++) {
        int64_t number;
        bool is_last = i + 1 == s->order_count;
        if (!rest.data) {
            return sw_page_bad_token(err);
        }
        rest = sw_str_split(rest, '~', &part);
        bool is_good = is_number(s->orders[i].field) ? sw_parse_i64(part, &number) : sw_registry_name_valid(part);
        if (!is_good || !is_last == !rest.data) {
            return sw_page_bad_token(err);
        }
        values[i] = is_number(s->orders[i].field) ? sw_v_int(number) : sw_v_str(part);
    }
    return SW_OK;
}

/* What comes after the row of the token. */
static sw_status put_after(struct search *s, const char *token, struct sw_error *err) {
    struct sw_value values[ORDERS_MAX];
    SW_TRY(read_values(s, sw_str_of(token), values, err));
    for (size_t i = 0; i < s->order_count; i++) {
        sw_query_text(&s->query, i ? " OR (" : " AND ((");
        for (size_t k = 0; k <= i; k++) {
            sw_query_text(&s->query, k ? " AND " : "");
            sw_query_text(&s->query, s->kind->columns[s->orders[k].field]);
            sw_query_text(&s->query, k < i ? " =" : s->orders[k].descending ? " <" : " >");
            put_param(s, values[k]);
        }
        sw_query_text(&s->query, ")");
    }
    sw_query_text(&s->query, ")");
    return SW_OK;
}

static void put_order(struct search *s, size_t limit) {
    for (size_t i = 0; i < s->order_count; i++) {
        sw_query_text(&s->query, i ? ", " : " ORDER BY ");
        sw_query_text(&s->query, s->kind->columns[s->orders[i].field]);
        sw_query_text(&s->query, s->orders[i].descending ? " DESC" : "");
    }
    sw_query_param(&s->query, " LIMIT $", sw_v_int((int64_t)limit + 1));
}

/* The token of a row whose order columns stand behind `columns` others. */
static const char *token_of(const struct search *s, const struct sw_rows *rows, size_t row, size_t columns) {
    struct sw_buf token;
    sw_buf_init_arena(&token, s->arena, 1024);
    sw_buf_append_c(&token, 's');
    for (size_t i = 0; i < s->order_count; i++) {
        if (is_number(s->orders[i].field)) {
            sw_buf_printf(&token, "~%" PRId64, sw_rows_int(rows, row, columns + i));
        } else {
            sw_buf_printf(&token, "~%s", sw_rows_text(rows, row, columns + i));
        }
    }
    return token.failed ? NULL : token.data;
}

static sw_status run(struct search *s, const char *columns, const struct sw_page *page, struct sw_rows *ret,
                     const char **ret_token, struct sw_error *err) {
    size_t limit;
    SW_ASSERT(s->wanted->term_count <= SW_SEARCH_TERMS_MAX && s->wanted->order_count <= SW_SEARCH_ORDERS_MAX);
    SW_TRY(sw_page_limit(page, &limit, err));
    SW_TRY(find_orders(s, err));
    sw_query_init(&s->query, s->arena);
    sw_query_text(&s->query, "SELECT ");
    sw_query_text(&s->query, columns);
    for (size_t i = 0; i < s->order_count; i++) {
        sw_query_text(&s->query, ", ");
        sw_query_text(&s->query, s->kind->columns[s->orders[i].field]);
    }
    sw_query_text(&s->query, s->kind->from);
    SW_TRY(put_terms(s, err));
    if (page->token) {
        SW_TRY(put_after(s, page->token, err));
    }
    put_order(s, limit);
    SW_TRY(sw_query_run(&s->query, s->tx, s->arena, ret, err));
    *ret_token = NULL;
    if (ret->count > limit) {
        ret->count = limit;
        *ret_token = token_of(s, ret, limit - 1, ret->columns - s->order_count);
        return *ret_token ? SW_OK : sw_registry_out_of_memory(err);
    }
    return SW_OK;
}

/* public ----------------------------------------------------------------------------------------------------------- */

sw_status sw_registry_search_models(struct sw_registry *registry, const struct sw_search *search,
                                    const struct sw_page *page, json_t **ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    const char *token;
    json_t *models = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    struct search s = {.kind = &of_models, .wanted = search, .tx = tx, .arena = &arena};
    SW_TRY(run(&s, sw_registry_model_columns, page, &rows, &token, err));
    SW_TRY(sw_registry_model_documents(tx, &rows, &arena, &models, err));
    *ret = json_pack("{s:o, s:s?}", "models", models, "next_page_token", token);
    return SW_OK;
}

sw_status sw_registry_search_versions(struct sw_registry *registry, const struct sw_search *search,
                                      const struct sw_page *page, json_t **ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    const char *token;
    json_t *versions = NULL;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    struct search s = {.kind = &of_versions, .wanted = search, .tx = tx, .arena = &arena};
    SW_TRY(run(&s, sw_registry_version_columns, page, &rows, &token, err));
    SW_TRY(sw_registry_version_documents(tx, &rows, &arena, &versions, err));
    *ret = json_pack("{s:o, s:s?}", "versions", versions, "next_page_token", token);
    return SW_OK;
}

sw_status sw_registry_newest_versions(struct sw_registry *registry, const json_t *models, json_t **ret,
                                      struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    const char *statement, *sql, *list;
    json_t *versions = NULL;
    statement = sw_arena_printf(
        &arena,
        ", stages (stage) AS (VALUES ('None'), ('Staging'), ('Production'), ('Archived')) "
        "SELECT %s FROM page p CROSS JOIN stages s CROSS JOIN versions v CROSS JOIN models m "
        "WHERE v.model = p.model AND m.name = p.model AND v.version = (SELECT max(w.version) FROM versions w "
        "WHERE w.stage = s.stage AND w.model = p.model AND w.deleted_ms IS NULL) ORDER BY v.model, v.version",
        sw_registry_version_columns);
    if (!statement) {
        return sw_registry_out_of_memory(err);
    }
    SW_TRY(sw_registry_json_text(&arena, models, &list, err));
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_page_sql(tx, SW_PAGE_MODELS, statement, &arena, &sql, err));
    SW_TRY(sw_tx_query(tx, sql, SW_PARAMS(sw_v_text(list)), &arena, &rows, err));
    SW_TRY(sw_registry_version_documents(tx, &rows, &arena, &versions, err));
    *ret = json_pack("{s:o}", "versions", versions);
    return SW_OK;
}
