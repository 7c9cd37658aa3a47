/* Filters and orders of MLflow's clients. The first byte chooses between models and versions; the rest is parsed as a
 * filter and as an order. What is accepted must be within bounds and whole: every term has what its operator compares
 * with, and every text is the arena's and valid UTF-8. */
#include "api/mlflow_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text) {
    SW_ASSERT(text && sw_utf8_valid(sw_str_of(text)));
}

static void check_term(const struct sw_search_term *term) {
    bool is_list = term->op == SW_SEARCH_IN || term->op == SW_SEARCH_NOT_IN;
    SW_ASSERT((term->field == SW_SEARCH_TAG) == (term->key != NULL));
    SW_ASSERT(is_list == (term->list_count > 0) && term->list_count <= SW_SEARCH_LISTED_MAX);
    SW_ASSERT(!term->absent || term->field == SW_SEARCH_TAG);
    if (term->key) {
        check_text(term->key);
    }
    if (term->field != SW_SEARCH_VERSION && !is_list) {
        check_text(term->text);
    }
    for (size_t i = 0; i < term->list_count; i++) {
        check_text(term->list[i]);
    }
}

static void check(sw_status status, const struct sw_search *search, const struct sw_error *err) {
    if (status) {
        SW_ASSERT(status == SW_E_INVALID_ARGUMENT && err->message[0] && sw_utf8_valid(sw_str_of(err->message)));
        return;
    }
    SW_ASSERT(search->term_count <= SW_SEARCH_TERMS_MAX && search->order_count <= SW_SEARCH_ORDERS_MAX);
    for (size_t i = 0; i < search->term_count; i++) {
        check_term(&search->terms[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    struct sw_str text = {(const char *)data + 1, size - 1};
    enum sw_mlflow_kind kind = data[0] & 1 ? SW_MLFLOW_VERSIONS : SW_MLFLOW_MODELS;
    struct sw_search search = {0};
    struct sw_error err = {0};
    struct sw_arena arena;
    sw_arena_init(&arena, 4 << 20, 0);
    check(sw_mlflow_parse_filter(text, kind, &arena, &search, &err), &search, &err);
    search.term_count = 0;
    check(sw_mlflow_parse_order(text, kind, &search, &err), &search, &err);
    sw_arena_deinit(&arena);
    return 0;
}
