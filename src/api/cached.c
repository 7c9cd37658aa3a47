/* The result cache on the way of an inference (sched/cache/cache.h says what it consists of).
 *
 * look is asked once, when the request is parsed, before admission, so that a full queue keeps no hit out:
 *
 *   HIT    every run's outputs are set: the caller answers
 *   MISS   the caller has the model run, then calls keep, and end however it went
 *   WAITS  the call belongs to whoever leads its flight, or to the thread of Redis. It is resumed with a result (answered
 *          there), with the leader's error, or as the new leader, with sw_api_call_go_on
 *
 * A leader that ends without a result (end) hands the lead on to the first who waits; when the run itself failed, all
 * who wait for the same input get the same error. Requests of several runs (rows of a model that takes one at a time) look
 * each of them up in memory; they neither wait for others nor ask Redis.
 *
 * Cache-Control: no-cache (or max-age=0) is not answered from the cache, but its result is kept; no-store does neither. */
#include "api/api_internal.h"

struct sw_api_cached {
    struct sw_api_call *call;
    struct sw_flight flight;           /* its key: of the first run */
    struct sw_redis_question question; /* on behalf of the flight */
    const struct sw_error *failure;    /* of the run itself; NULL: none */
    struct sw_cache_key *keys;         /* of the runs */
    bool *has;                         /* which runs have their outputs from memory */
    bool leads;
    bool reads, keeps;
};

static struct sw_cache *cache_of(const struct sw_api_call *call) {
    return call->api->options.cache;
}

static struct sw_api_cached *of_flight(struct sw_flight *flight) {
    return (struct sw_api_cached *)((uintptr_t)flight - offsetof(struct sw_api_cached, flight));
}

/* ---- what the request wants */

static bool make_keys(struct sw_api_cached *c) {
    const struct sw_api_call *call = c->call;
    uint64_t generation = atomic_load_explicit(&call->stats->cache->generation, memory_order_acquire);
    for (size_t i = 0; i < call->run_count; i++) {
        const struct sw_inference *run = &call->runs[i];
        if (!sw_cache_key_make(&call->model->cache.scope, generation, &call->model->inputs, run->inputs,
                               run->input_count, run->wanted, run->wanted_count, &c->keys[i])) {
            return false;
        }
    }
    return true;
}

/* NULL: the cache has nothing to do with this request (the run will say what is wrong with it). */
static struct sw_api_cached *begin(struct sw_api_call *call) {
    struct sw_arena *arena = &call->x->arena;
    struct sw_api_cached *c = sw_arena_calloc(arena, 1, sizeof *c);
    if (!c || !(c->keys = sw_arena_alloc(arena, call->run_count * sizeof *c->keys)) ||
        !(c->has = sw_arena_calloc(arena, call->run_count, sizeof *c->has))) {
        return NULL;
    }
    const struct sw_cache_control *wants = &call->x->cache_control;
    c->call = call;
    c->reads = !wants->no_cache && !wants->no_store;
    c->keeps = !wants->no_store;
    return (c->reads || c->keeps) && make_keys(c) ? c : NULL;
}

/* ---- results */

static void unref_value(void *value) {
    sw_cache_value_unref(value);
}

/* Sets the outputs of run i from the value, with a reference of the arena's own. */
static bool give(struct sw_api_call *call, size_t i, struct sw_cache_value *value) {
    struct sw_inference *run = &call->runs[i];
    struct sw_arena *arena = &call->x->arena;
    if (sw_cache_value_read(value, &call->model->outputs, run->wanted, run->wanted_count, arena, &run->outputs,
                            &run->output_count, NULL) ||
        !sw_arena_defer(arena, unref_value, value)) {
        return false;
    }
    sw_cache_value_ref(value);
    call->cached->has[i] = true;
    return true;
}

static bool find_in_memory(struct sw_api_cached *c, size_t i) {
    struct sw_cache_value *value = sw_cache_get(cache_of(c->call), &c->keys[i]);
    bool found = value && give(c->call, i, value);
    sw_cache_value_unref(value);
    return found;
}

static bool find_all_in_memory(struct sw_api_cached *c) {
    bool all = true;
    for (size_t i = 0; i < c->call->run_count; i++) {
        all = find_in_memory(c, i) && all;
    }
    return all;
}

/* ---- who waits */

/* Answers who waited with the leader's result; where that cannot be, each runs by itself. */
static void answer_waiters(struct sw_flight *waiter, struct sw_cache_value *value) {
    while (waiter) {
        struct sw_flight *next = waiter->next; /* it is gone once it is answered */
        struct sw_api_call *call = of_flight(waiter)->call;
        if (value && give(call, 0, value)) {
            call->cache_result = SW_API_CACHE_SHARED;
            sw_api_call_answer(call);
            sw_http_finish(call->x);
        } else if (sw_api_call_go_on(call) == SW_HTTP_DONE) {
            sw_http_finish(call->x);
        }
        waiter = next;
    }
}

/* value NULL: the result is not kept, because it is too large perhaps; who waits gets it all the same. */
static void land(struct sw_api_cached *c, struct sw_cache_value *value) {
    struct sw_flight *waiters = sw_flights_land(sw_cache_flights(cache_of(c->call)), &c->flight);
    const struct sw_inference *run = &c->call->runs[0];
    c->leads = false;
    if (!waiters || value) {
        answer_waiters(waiters, value);
        return;
    }
    struct sw_cache_value *copy = sw_cache_value_create(run->outputs, run->wanted, run->output_count, 0, SIZE_MAX);
    answer_waiters(waiters, copy);
    sw_cache_value_unref(copy);
}

static void land_failed(struct sw_api_cached *c) {
    c->leads = false;
    for (struct sw_flight *waiter = sw_flights_land(sw_cache_flights(cache_of(c->call)), &c->flight), *next; waiter;
         waiter = next) {
        next = waiter->next;
        struct sw_api_call *call = of_flight(waiter)->call;
        sw_api_call_fail(call, c->failure);
        sw_http_finish(call->x);
    }
}

/* A loop, not a recursion: as many may wait as there are connections. */
static void pass_on(struct sw_api_cached *c) {
    struct sw_flights *flights = sw_cache_flights(cache_of(c->call));
    struct sw_flight *heir = sw_flights_pass(flights, &c->flight);
    c->leads = false;
    while (heir) {
        struct sw_api_call *call = of_flight(heir)->call;
        call->cached->leads = true;
        if (sw_api_call_go_on(call) == SW_HTTP_ASYNC) {
            return; /* it ends the flight */
        }
        call->cached->leads = false;
        heir = sw_flights_pass(flights, heir); /* refused: answered, and not ours any more once that is sent */
        sw_http_finish(call->x);
    }
}

void sw_api_cached_end(struct sw_api_call *call) {
    struct sw_api_cached *c = call->cached;
    if (!c || !c->leads) {
        return;
    }
    if (c->failure) {
        land_failed(c);
    } else {
        pass_on(c);
    }
}

/* Of the input's own: not of this moment, of the server's state or of this request's terms. */
static bool is_lasting(const struct sw_api_call *call, const struct sw_error *err) {
    return !call->work.drop && err->code != SW_E_TOO_MANY_REQUESTS && err->code != SW_E_DEADLINE_EXCEEDED &&
           err->code != SW_E_UNAVAILABLE;
}

void sw_api_cached_fail(struct sw_api_call *call, const struct sw_error *err) {
    struct sw_api_cached *c = call->cached;
    if (!c || !c->leads || !is_lasting(call, err)) {
        return;
    }
    struct sw_error *copy = sw_arena_alloc(&call->x->arena, sizeof *copy);
    if (copy) {
        *copy = *err;
        c->failure = copy;
    }
}

/* ---- keeping */

static struct sw_cache_value *value_of(const struct sw_api_call *call, const struct sw_inference *run) {
    return sw_cache_value_of(cache_of(call), run->outputs, run->wanted, run->output_count);
}

void sw_api_cached_keep(struct sw_api_call *call) {
    struct sw_api_cached *c = call->cached;
    struct sw_cache_value *first = NULL;
    for (size_t i = 0; c && c->keeps && i < call->run_count; i++) {
        struct sw_cache_value *value = c->has[i] ? NULL : value_of(call, &call->runs[i]);
        if (value) {
            first = i == 0 ? sw_cache_value_ref(value) : first;
            sw_cache_keep(cache_of(call), call->stats->cache, &c->keys[i], value, call->model->bundle->cache.ttl_ms);
        }
    }
    if (c && c->leads) { /* after it is kept, so that who comes now finds it */
        land(c, first);
    }
    sw_cache_value_unref(first);
}

/* ---- looking */

/* Are these bytes a result of this model that is not too old? Then they are the run's outputs, and in memory too. */
static bool take_over(struct sw_api_cached *c, struct sw_str bytes, struct sw_cache_value **ret) {
    struct sw_api_call *call = c->call;
    if (!bytes.data || sw_cache_value_parse(bytes, ret, NULL) || !give(call, 0, *ret)) {
        return false;
    }
    c->has[0] = sw_cache_adopt(cache_of(call), call->stats->cache, &c->keys[0], *ret,
                               call->model->bundle->cache.ttl_ms);
    return c->has[0];
}

/* The thread of Redis, or the one that ends it. */
static void on_redis_answer(struct sw_redis_question *question, struct sw_str bytes) {
    struct sw_api_cached *c = (struct sw_api_cached *)((uintptr_t)question - offsetof(struct sw_api_cached, question));
    struct sw_api_call *call = c->call;
    struct sw_cache_value *value = NULL;
    if (take_over(c, bytes, &value)) {
        call->cache_result = SW_API_CACHE_HIT;
        sw_api_call_answer(call);
        land(c, value);
        sw_http_finish(call->x);
    } else if (sw_api_call_go_on(call) == SW_HTTP_DONE) {
        sw_api_cached_end(call);
        sw_http_finish(call->x);
    }
    sw_cache_value_unref(value);
}

/* Leads: perhaps the one before landed between the look and the join. */
static enum sw_api_found look_as_leader(struct sw_api_cached *c) {
    struct sw_api_call *call = c->call;
    struct sw_cache_value *value = sw_cache_get(cache_of(call), &c->keys[0]);
    if (value) {
        bool given = give(call, 0, value);
        if (given) {
            land(c, value);
        }
        sw_cache_value_unref(value);
        return given ? SW_API_HIT : SW_API_MISS;
    }
    c->question.done = on_redis_answer;
    memcpy(c->question.key, c->keys[0].bytes, sizeof c->question.key);
    return sw_cache_ask(cache_of(call), &c->question) ? SW_API_WAITS : SW_API_MISS;
}

static enum sw_api_found look_alone(struct sw_api_cached *c) {
    struct sw_api_call *call = c->call;
    c->flight.key = c->keys[0];
    c->flight.deadline_ns = call->deadline_ns;
    c->flight.urgent = call->priority == SW_PRIORITY_HIGH;
    switch (sw_flights_join(sw_cache_flights(cache_of(call)), &c->flight)) {
    case SW_FLIGHT_WAITS: return SW_API_WAITS; /* not ours any more */
    case SW_FLIGHT_ALONE: return SW_API_MISS;
    case SW_FLIGHT_LEADS: break;
    }
    c->leads = true;
    return look_as_leader(c);
}

enum sw_api_found sw_api_cached_look(struct sw_api_call *call) {
    if (!call->model->cache.enable) {
        return SW_API_MISS;
    }
    struct sw_api_cached *c = begin(call);
    call->cached = c;
    call->cache_result = c && c->reads ? SW_API_CACHE_MISS : SW_API_CACHE_BYPASS;
    if (!c || !c->reads) {
        return SW_API_MISS;
    }
    enum sw_api_found found = find_all_in_memory(c) ? SW_API_HIT : SW_API_MISS;
    if (found == SW_API_MISS && call->run_count == 1) {
        found = look_alone(c);
    }
    if (found == SW_API_HIT) {
        call->cache_result = SW_API_CACHE_HIT;
    }
    return found;
}

bool sw_api_cached_has(const struct sw_api_call *call, size_t run) {
    return call->cached && call->cached->has[run];
}

size_t sw_api_cached_count(const struct sw_api_call *call) {
    size_t count = 0;
    for (size_t i = 0; i < call->run_count; i++) {
        count += sw_api_cached_has(call, i);
    }
    return count;
}

/* ---- models */

/* Once a name and version: series live as long as the API. */
static void make_series(struct sw_api *api, struct sw_api_model *m) {
    static const char *const results[SW_API_CACHE_RESULTS] = {[SW_API_CACHE_MISS] = "miss",
                                                              [SW_API_CACHE_HIT] = "hit",
                                                              [SW_API_CACHE_SHARED] = "shared",
                                                              [SW_API_CACHE_BYPASS] = "bypass"};
    for (int i = SW_API_CACHE_OFF + 1; i < SW_API_CACHE_RESULTS; i++) {
        const char *labels[] = {m->name, m->version_text, results[i]};
        m->cache_requests[i] = sw_metrics_series(api->options.metrics, SW_METRIC_SLIPWAY_CACHE_REQUESTS_TOTAL, labels);
    }
}

void sw_api_cache_model(struct sw_api *api, struct sw_api_model *m, struct sw_model *model) {
    struct sw_cache *cache = api->options.cache;
    if (!cache || !model->bundle->cache.enable) {
        return;
    }
    if (!m->cache) { /* requests of an earlier load may be reading it */
        make_series(api, m);
        m->cache = sw_cache_model(cache, m->name);
    }
    const char *engine = model->session->engine->ops->version(model->session->engine);
    const struct sw_str parts[] = {SW_STR("slipway result 1"), SW_STR(SW_VERSION),
                                   sw_str_of(engine),          sw_str_of(m->name),
                                   sw_str_of(m->version_text), {model->identity.files.hex, SW_DIGEST_HEX}};
    sw_cache_scope(parts, SW_COUNTOF(parts), &model->cache.scope);
    model->cache.enable = true;
}
