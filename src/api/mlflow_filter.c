/* A scanner that gives one token at a time, and a parser over it that looks one token ahead. Both end at the text's
 * end: every token takes at least one byte. Invariant: what is put into the search are texts of the caller, decoded,
 * or constants of tables here. */
#include "api/mlflow_filter.h"

#define PROMPT_TAG "mlflow.prompt.is_prompt"

struct token {
    enum { END, WORD, QUOTED, NUMBER, OPERATOR, DOT, OPEN, CLOSE, COMMA, WRONG } kind;
    struct sw_str text; /* as written; QUOTED: without the quotes, a doubled one still double */
    char quote;         /* QUOTED */
    size_t at;          /* byte of the text where it begins */
};

struct parser {
    struct sw_str text;
    size_t at;          /* where the scanner goes on */
    struct token token; /* the next one */
    enum sw_mlflow_kind kind;
    const char *what; /* "filter" or "order_by": in front of errors */
    struct sw_arena *arena;
    struct sw_error *err;
};

/* scanner ---------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '-';
}

static size_t scan_while(const struct parser *p, size_t at, bool (*accepts)(char c)) {
    while (at < p->text.len && accepts(p->text.data[at])) {
        at++;
    }
    return at;
}

/* From the opening quote; the length with both quotes, 0 when it is never closed. */
static size_t quoted_length(struct sw_str rest) {
    for (size_t i = 1; i < rest.len; i++) {
        if (rest.data[i] != rest.data[0]) {
            continue;
        }
        if (i + 1 < rest.len && rest.data[i + 1] == rest.data[0] && rest.data[0] != '`') {
            i++;
            continue;
        }
        return i + 1;
    }
    return 0;
}

static size_t operator_length(struct sw_str rest) {
    static const char *const operators[] = {"!=", "<>", "<=", ">=", "=", "<", ">"};
    for (size_t i = 0; i < SW_COUNTOF(operators); i++) {
        if (sw_str_starts(rest, sw_str_of(operators[i]))) {
            return strlen(operators[i]);
        }
    }
    return 0;
}

static struct token scan(struct parser *p) {
    while (p->at < p->text.len && memchr(" \t\r\n", p->text.data[p->at], 4)) {
        p->at++;
    }
    size_t at = p->at;
    struct sw_str rest = {p->text.data + at, p->text.len - at};
    if (rest.len == 0) {
        return (struct token){.kind = END, .at = at};
    }
    char c = *rest.data;
    struct token token = {.at = at, .text = {rest.data, 1}};
    if (c == '\'' || c == '"' || c == '`') {
        size_t length = quoted_length(rest);
        token.kind = length ? QUOTED : WRONG;
        token.quote = c;
        token.text = length ? (struct sw_str){rest.data + 1, length - 2} : rest;
        p->at = at + (length ? length : rest.len);
        return token;
    }
    bool is_number = is_digit(c) || (c == '-' && rest.len > 1 && is_digit(rest.data[1]));
    size_t length = scan_while(p, at + 1, is_word) - at;
    if (is_word(c)) {
        token.kind = is_number ? NUMBER : WORD;
    } else if ((length = operator_length(rest))) {
        token.kind = OPERATOR;
    } else {
        length = 1;
        token.kind = c == '.' ? DOT : c == '(' ? OPEN : c == ')' ? CLOSE : c == ',' ? COMMA : WRONG;
    }
    token.text.len = length;
    p->at = at + length;
    return token;
}

static void advance(struct parser *p) {
    p->token = scan(p);
}

static bool is_keyword(const struct token *token, const char *word) {
    return token->kind == WORD && sw_str_ieq(token->text, sw_str_of(word));
}

static sw_status unexpected(const struct parser *p, const char *wanted) {
    const struct token *token = &p->token;
    if (token->kind == END) {
        return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "%s: ends where %s is wanted", p->what, wanted);
    }
    if (token->kind == WRONG && token->quote) {
        return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "%s: the quote at byte %zu is never closed", p->what, token->at);
    }
    return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "%s: '" SW_STR_FMT "' at byte %zu, where %s is wanted", p->what,
                   SW_STR_ARG(token->text), token->at, wanted);
}

/* The token's text with doubled quotes made single, in the arena. */
static sw_status take_quoted(struct parser *p, const char **ret) {
    char *text = sw_arena_strdup(p->arena, p->token.text);
    if (!text) {
        return sw_fail(p->err, SW_E_UNAVAILABLE, "no memory for the filter");
    }
    size_t length = 0;
    for (size_t i = 0; i < p->token.text.len; i++) {
        text[length++] = text[i];
        i += p->token.quote != '`' && text[i] == p->token.quote; /* a quote in here is a doubled one */
    }
    text[length] = '\0';
    if (strlen(text) != length) {
        return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "filter: a NUL at byte %zu", p->token.at);
    }
    *ret = text;
    advance(p);
    return SW_OK;
}

/* fields ----------------------------------------------------------------------------------------------------------- */

static const struct attribute {
    const char *name;
    enum sw_search_field field;
    bool of_models, of_orders, of_filters;
} attributes[] = {
    {"name", SW_SEARCH_NAME, true, true, true},
    {"version_number", SW_SEARCH_VERSION, false, true, true},
    {"run_id", SW_SEARCH_RUN_ID, false, false, true},
    {"source_path", SW_SEARCH_SOURCE, false, false, true},
    {"creation_timestamp", SW_SEARCH_CREATED, true, true, false},
    {"last_updated_timestamp", SW_SEARCH_UPDATED, true, true, false},
    {"timestamp", SW_SEARCH_UPDATED, true, true, false},
};

static sw_status find_attribute(const struct parser *p, struct sw_str name, bool is_order, enum sw_search_field *ret) {
    char known[160] = "";
    for (size_t i = 0; i < SW_COUNTOF(attributes); i++) {
        const struct attribute *a = &attributes[i];
        if (!(is_order ? a->of_orders : a->of_filters) || (p->kind == SW_MLFLOW_MODELS && !a->of_models)) {
            continue;
        }
        if (sw_str_is(name, a->name)) {
            *ret = a->field;
            return SW_OK;
        }
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "", a->name);
    }
    return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "%s: '" SW_STR_FMT "' is no field here; there are: %s%s", p->what,
                   SW_STR_ARG(name), known, is_order ? "" : ", and tags.KEY");
}

/* A plain key may have dots of its own: tags.mlflow.user. */
static sw_status parse_key(struct parser *p, const char **ret) {
    if (p->token.kind == QUOTED && p->token.quote != '\'') {
        return take_quoted(p, ret);
    }
    if (p->token.kind != WORD && p->token.kind != NUMBER) {
        return unexpected(p, "a tag's key");
    }
    const char *begin = p->token.text.data;
    size_t length = 0;
    while (p->token.kind == WORD || p->token.kind == NUMBER) {
        length = (size_t)(p->token.text.data + p->token.text.len - begin);
        bool goes_on = p->at < p->text.len && p->text.data[p->at] == '.';
        advance(p);
        if (!goes_on) {
            break;
        }
        advance(p); /* the dot */
    }
    *ret = sw_arena_strdup(p->arena, (struct sw_str){begin, length});
    return *ret ? SW_OK : sw_fail(p->err, SW_E_UNAVAILABLE, "no memory for the filter");
}

static sw_status parse_attribute(struct parser *p, bool is_order, enum sw_search_field *ret) {
    bool is_name = p->token.kind == WORD || (p->token.kind == QUOTED && p->token.quote != '\'');
    if (!is_name) {
        return unexpected(p, "a field");
    }
    SW_TRY(find_attribute(p, p->token.text, is_order, ret));
    advance(p);
    return SW_OK;
}

static sw_status parse_field(struct parser *p, struct sw_search_term *term) {
    struct token first = p->token;
    bool has_prefix = first.kind == WORD && p->at < p->text.len && p->text.data[p->at] == '.';
    if (!has_prefix) {
        return parse_attribute(p, false, &term->field);
    }
    advance(p);
    advance(p);
    if (is_keyword(&first, "tag") || is_keyword(&first, "tags")) {
        term->field = SW_SEARCH_TAG;
        return parse_key(p, &term->key);
    }
    if (is_keyword(&first, "attribute")) {
        return parse_attribute(p, false, &term->field);
    }
    return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "filter: '" SW_STR_FMT ".' at byte %zu: attribute, tag or tags",
                   SW_STR_ARG(first.text), first.at);
}

/* operators and values --------------------------------------------------------------------------------------------- */

static sw_status parse_operator(struct parser *p, enum sw_search_op *ret) {
    static const struct {
        const char *text;
        enum sw_search_op op;
    } operators[] = {
        {"=", SW_SEARCH_EQ},        {"!=", SW_SEARCH_NE}, {"<>", SW_SEARCH_NE}, {"<", SW_SEARCH_LT},
        {"<=", SW_SEARCH_LE},       {">", SW_SEARCH_GT},  {">=", SW_SEARCH_GE}, {"LIKE", SW_SEARCH_LIKE},
        {"ILIKE", SW_SEARCH_ILIKE}, {"IN", SW_SEARCH_IN},
    };
    bool is_not = is_keyword(&p->token, "NOT");
    if (is_not) {
        advance(p);
        if (!is_keyword(&p->token, "IN")) {
            return unexpected(p, "IN");
        }
    }
    bool is_possible = p->token.kind == OPERATOR || p->token.kind == WORD;
    for (size_t i = 0; is_possible && i < SW_COUNTOF(operators); i++) {
        if (sw_str_ieq(p->token.text, sw_str_of(operators[i].text))) {
            *ret = is_not ? SW_SEARCH_NOT_IN : operators[i].op;
            advance(p);
            return SW_OK;
        }
    }
    return unexpected(p, "one of = != < <= > >= LIKE ILIKE IN");
}

static sw_status parse_text(struct parser *p, const char **ret) {
    if (p->token.kind != QUOTED || p->token.quote == '`') {
        return unexpected(p, "a text in quotes");
    }
    return take_quoted(p, ret);
}

static sw_status parse_list(struct parser *p, struct sw_search_term *term) {
    if (p->token.kind != OPEN) {
        return unexpected(p, "'('");
    }
    do {
        advance(p); /* '(' or ',' */
        if (term->list_count == SW_SEARCH_LISTED_MAX) {
            return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "filter: more than %d texts in a list", SW_SEARCH_LISTED_MAX);
        }
        SW_TRY(parse_text(p, &term->list[term->list_count++]));
    } while (p->token.kind == COMMA);
    if (p->token.kind != CLOSE) {
        return unexpected(p, "',' or ')'");
    }
    advance(p);
    return SW_OK;
}

static sw_status parse_value(struct parser *p, struct sw_search_term *term) {
    bool is_number = term->field == SW_SEARCH_VERSION;
    bool is_text_only = term->op == SW_SEARCH_LIKE || term->op == SW_SEARCH_ILIKE || term->op == SW_SEARCH_IN ||
                        term->op == SW_SEARCH_NOT_IN;
    bool is_number_only = term->op >= SW_SEARCH_LT && term->op <= SW_SEARCH_GE;
    if (is_number ? is_text_only : is_number_only) {
        return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "filter: the operator before byte %zu does not fit a %s",
                       p->token.at, is_number ? "number" : "text");
    }
    if (is_number) {
        if (p->token.kind != NUMBER || !sw_parse_i64(p->token.text, &term->number)) {
            return unexpected(p, "a whole number");
        }
        advance(p);
        return SW_OK;
    }
    if (term->op == SW_SEARCH_IN || term->op == SW_SEARCH_NOT_IN) {
        if (term->field == SW_SEARCH_TAG) {
            return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "filter: IN is not for tags");
        }
        return parse_list(p, term);
    }
    return parse_text(p, &term->text);
}

/* Clients leave out prompts by this tag, which models do not have: then it counts as 'false'. */
static bool matches_without(const struct sw_search_term *term) {
    if (term->field != SW_SEARCH_TAG || !term->text || strcmp(term->key, PROMPT_TAG) != 0) {
        return false;
    }
    return (term->op == SW_SEARCH_EQ && strcmp(term->text, "false") == 0) ||
           (term->op == SW_SEARCH_NE && strcmp(term->text, "true") == 0);
}

static sw_status parse_condition(struct parser *p, struct sw_search *search) {
    if (search->term_count == SW_SEARCH_TERMS_MAX) {
        return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "filter: more than %d conditions", SW_SEARCH_TERMS_MAX);
    }
    struct sw_search_term *term = &search->terms[search->term_count];
    *term = (struct sw_search_term){0};
    SW_TRY(parse_field(p, term));
    SW_TRY(parse_operator(p, &term->op));
    SW_TRY(parse_value(p, term));
    term->absent = matches_without(term);
    search->term_count++;
    return SW_OK;
}

sw_status sw_mlflow_parse_filter(struct sw_str text, enum sw_mlflow_kind kind, struct sw_arena *arena,
                                 struct sw_search *search, struct sw_error *err) {
    struct parser p = {.text = text, .kind = kind, .what = "filter", .arena = arena, .err = err};
    if (!sw_utf8_valid(text)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "filter: not UTF-8");
    }
    advance(&p);
    if (p.token.kind == END) {
        return SW_OK;
    }
    for (;;) {
        SW_TRY(parse_condition(&p, search));
        if (p.token.kind == END) {
            return SW_OK;
        }
        if (!is_keyword(&p.token, "AND")) {
            return unexpected(&p, "AND");
        }
        advance(&p);
    }
}

sw_status sw_mlflow_parse_order(struct sw_str text, enum sw_mlflow_kind kind, struct sw_search *search,
                                struct sw_error *err) {
    struct parser p = {.text = text, .kind = kind, .what = "order_by", .err = err};
    struct sw_search_order order = {0};
    if (search->order_count == SW_SEARCH_ORDERS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "order_by: more than %d fields", SW_SEARCH_ORDERS_MAX);
    }
    advance(&p);
    if (is_keyword(&p.token, "attribute") && p.at < text.len && text.data[p.at] == '.') {
        advance(&p);
        advance(&p);
    }
    SW_TRY(parse_attribute(&p, true, &order.field));
    order.descending = is_keyword(&p.token, "DESC");
    if (order.descending || is_keyword(&p.token, "ASC")) {
        advance(&p);
    }
    if (p.token.kind != END) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "order_by: '" SW_STR_FMT "' at byte %zu, where ASC or DESC is wanted", SW_STR_ARG(p.token.text),
                       p.token.at);
    }
    search->orders[search->order_count++] = order;
    return SW_OK;
}
