/* Searches of MLflow's clients: newest versions of stages, models and versions by filter and order. */
#include "api/mlflow.h"
#include "api/mlflow_filter.h"

enum { RESULTS_MAX = 200000, PAGE_MAX = 1000, FILTER_MAX = 8192, TOKEN_MAX = 1024 };

/* newest versions -------------------------------------------------------------------------------------------------- */

/* Bits of the stages asked for; all when none is. */
static sw_status read_stages(struct sw_http_exchange *x, unsigned *ret, struct sw_error *err) {
    json_t *list = NULL;
    const struct sw_api_field field = {.name = "stages", .kind = SW_MEMBER_ARRAY, .ret = &list};
    bool is_query = x->method == SW_HTTP_GET || x->method == SW_HTTP_HEAD;
    if (!is_query) {
        SW_TRY(sw_mlflow_read(x, &field, 1, err));
    }
    unsigned stages = 0;
    for (size_t i = 0;; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        struct sw_str name = is_query ? sw_http_query_at(x, "stages", i) : sw_str_of(text ? text : "");
        if (is_query ? !name.data : i == json_array_size(list)) {
            *ret = stages ? stages : ~0U;
            return SW_OK;
        }
        int stage;
        SW_TRY(sw_api_stage_name(name, &stage, err));
        stages |= 1U << stage;
    }
}

static sw_status latest(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    const char *name;
    unsigned stages;
    SW_TRY(sw_mlflow_model_name(x, "name", &name, err));
    SW_TRY(read_stages(x, &stages, err));
    json_auto_t *model = NULL, *newest = NULL, *names = json_pack("[s]", name), *chosen = json_array();
    json_t *version;
    size_t i;
    SW_TRY(sw_registry_get_model(registry, name, &model, err));
    SW_TRY(sw_registry_newest_versions(registry, names, &newest, err));
    json_array_foreach(json_object_get(newest, "versions"), i, version) {
        int stage;
        SW_TRY(sw_api_stage_name(sw_str_of(json_string_value(json_object_get(version, "stage"))), &stage, err));
        if (stages & 1U << stage) {
            json_array_append(chosen, version);
        }
    }
    sw_mlflow_reply(x, "model_versions", sw_mlflow_versions(chosen));
    return SW_OK;
}

enum sw_http_result sw_mlflow_latest_versions(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, latest);
}

/* search ----------------------------------------------------------------------------------------------------------- */

struct search_request {
    struct sw_search search;
    struct sw_page page;
};

/* max_results beyond a page is no error: there is a token for the rest. */
static sw_status read_search(struct sw_http_exchange *x, enum sw_mlflow_kind kind, struct search_request **ret,
                             struct sw_error *err) {
    struct search_request *r = sw_arena_calloc(&x->arena, 1, sizeof *r);
    const char *filter = "", *token = NULL;
    uint64_t limit = kind == SW_MLFLOW_MODELS ? 100 : PAGE_MAX;
    if (!r) {
        return sw_api_no_memory(err);
    }
    SW_TRY(sw_api_query_text(x, "filter", FILTER_MAX, &filter, err));
    SW_TRY(sw_api_query_text(x, "page_token", TOKEN_MAX, &token, err));
    SW_TRY(sw_api_query_number(x, "max_results", 1, RESULTS_MAX, &limit, err));
    SW_TRY(sw_mlflow_parse_filter(sw_str_of(filter), kind, &x->arena, &r->search, err));
    struct sw_str order;
    for (size_t i = 0; (order = sw_http_query_at(x, "order_by", i)).data; i++) {
        SW_TRY(sw_mlflow_parse_order(order, kind, &r->search, err));
    }
    r->page = (struct sw_page){.limit = limit < PAGE_MAX ? limit : PAGE_MAX, .token = token && *token ? token : NULL};
    *ret = r;
    return SW_OK;
}

static void reply_page(struct sw_http_exchange *x, const char *key, json_t *list, const json_t *page) {
    json_auto_t *doc = json_object();
    json_t *token = json_object_get(page, "next_page_token");
    if (json_array_size(list)) {
        json_object_set(doc, key, list);
    }
    json_decref(list);
    if (json_is_string(token)) {
        json_object_set(doc, "next_page_token", token);
    }
    sw_api_reply_doc(x, 200, doc);
}

/* {"model": [its versions]} */
static json_t *group(const json_t *versions) {
    json_t *groups = json_object(), *version;
    size_t i;
    json_array_foreach(versions, i, version) {
        const char *name = json_string_value(json_object_get(version, "model"));
        if (!json_object_get(groups, name)) {
            json_object_set_new(groups, name, json_array());
        }
        json_array_append(json_object_get(groups, name), version);
    }
    return groups;
}

static sw_status search_models(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct search_request *r;
    json_auto_t *page = NULL, *newest = NULL, *names = json_array();
    json_t *model;
    size_t i;
    SW_TRY(read_search(x, SW_MLFLOW_MODELS, &r, err));
    SW_TRY(sw_registry_search_models(registry, &r->search, &r->page, &page, err));
    json_array_foreach(json_object_get(page, "models"), i, model) {
        json_array_append(names, json_object_get(model, "name"));
    }
    SW_TRY(sw_registry_newest_versions(registry, names, &newest, err));
    json_auto_t *by_model = group(json_object_get(newest, "versions"));
    json_t *list = json_array();
    json_array_foreach(json_object_get(page, "models"), i, model) {
        const char *name = json_string_value(json_object_get(model, "name"));
        json_array_append_new(list, sw_mlflow_model(model, json_object_get(by_model, name)));
    }
    reply_page(x, "registered_models", list, page);
    return SW_OK;
}

enum sw_http_result sw_mlflow_search_models(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, search_models);
}

static sw_status search_versions(struct sw_http_exchange *x, struct sw_registry *registry, struct sw_error *err) {
    struct search_request *r;
    json_auto_t *page = NULL;
    SW_TRY(read_search(x, SW_MLFLOW_VERSIONS, &r, err));
    SW_TRY(sw_registry_search_versions(registry, &r->search, &r->page, &page, err));
    reply_page(x, "model_versions", sw_mlflow_versions(json_object_get(page, "versions")), page);
    return SW_OK;
}

enum sw_http_result sw_mlflow_search_versions(struct sw_http_exchange *x) {
    return sw_api_blocking(x, SW_API_QUICK, search_versions);
}
