/* What an answer means to who asked, and to the node.
 *
 * An error about one command is that command's miss. One that all commands would get (NOAUTH, WRONGPASS, LOADING,
 * MASTERDOWN) and an answer of a type that the command cannot have end the connection. Texts of the server go into the
 * reason except those about AUTH: there are servers that quote what they were sent. */
#include "sched/cache/redis_internal.h"

enum { SMALL_TEXT = 64, MAP_TEXT = 2 << 20, MAP_PARTS = 1 << 17 };

size_t redis_answer_text_max(const struct sw_redis *redis) {
    size_t value = redis->options.value_max + REDIS_ENVELOPE;
    return value > MAP_TEXT ? value : MAP_TEXT;
}

void redis_answer_limits(const struct sw_redis *redis, enum redis_kind kind, size_t *ret_text, size_t *ret_parts) {
    bool map = kind == REDIS_FIND_SLOTS || kind == REDIS_MAP;
    *ret_text = map ? MAP_TEXT : kind == REDIS_GET ? redis->options.value_max + REDIS_ENVELOPE : SMALL_TEXT;
    *ret_parts = map ? MAP_PARTS : 1;
}

void redis_pending_end(struct sw_redis *redis, const struct redis_pending *pending, enum redis_cause cause) {
    switch (pending->kind) {
    case REDIS_GET: redis_question_end(redis, pending->question, cause, (struct sw_str){NULL, 0}); break;
    case REDIS_SET:
        redis->flying_bytes -= pending->entry->value.len;
        redis_entry_end(redis, pending->entry, &redis->counters.failed);
        break;
    case REDIS_GENERATION_GET:
    case REDIS_GENERATION_SET: redis_watches_lost(redis, pending); break;
    default: break;
    }
}

static void garbage(struct redis_node *node, const struct redis_pending *pending) {
    redis_pending_end(node->redis, pending, REDIS_CAUSE_GARBAGE);
    redis_node_fail(node, REDIS_CAUSE_GARBAGE, "an answer of a type that Redis would not give");
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

static struct sw_str first_word(struct sw_str text) {
    struct sw_str word;
    (void)sw_str_split(text, ' ', &word);
    return word;
}

static bool is_for_all(struct sw_str error) {
    static const char *const words[] = {"NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN"};
    struct sw_str word = first_word(error);
    for (size_t i = 0; i < SW_COUNTOF(words); i++) {
        if (sw_str_is(word, words[i])) {
            return true;
        }
    }
    return false;
}

static void auth_failed(struct redis_node *node, struct sw_str error) {
    if (sw_str_is(first_word(error), "WRONGPASS")) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "WRONGPASS: it does not accept the user or the password");
    } else if (is_for_all(error)) {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "%.*s", SW_STR_ARG(first_word(error)));
    } else {
        redis_node_fail(node, REDIS_CAUSE_ERROR, "it refuses AUTH: it may have no password, or not know users");
    }
}

static void command_failed(struct redis_node *node, const struct redis_pending *pending, struct sw_str error) {
    struct sw_redis *redis = node->redis;
    struct redis_redirect redirect;
    if (redis->cluster && redis_redirect_parse(error, &node->address, &redirect)) {
        redis_follow(node, pending, &redirect);
        return;
    }
    if (is_for_all(error)) {
        redis_pending_end(redis, pending, REDIS_CAUSE_ERROR);
        redis_node_fail(node, REDIS_CAUSE_ERROR, "%.*s", SW_STR_ARG(error));
        return;
    }
    redis->map_wanted |= sw_str_is(first_word(error), "CLUSTERDOWN");
    char name[REDIS_NAME_MAX];
    redis_address_name(&node->address, name);
    redis_say(redis, "%.70s: %.*s", name, SW_STR_ARG(error)); /* the reason is there when it counts */
    redis_pending_end(redis, pending, REDIS_CAUSE_ERROR);
}

static void on_error(struct redis_node *node, const struct redis_pending *pending, struct sw_str error) {
    switch (pending->kind) {
    case REDIS_AUTH: auth_failed(node, error); break;
    case REDIS_FIND_SLOTS:
        if (!is_for_all(error)) {
            redis_is_alone(node);
            break;
        }
        /* fall through */
    case REDIS_SELECT:
    case REDIS_PING: redis_node_fail(node, REDIS_CAUSE_ERROR, "%.*s", SW_STR_ARG(error)); break;
    case REDIS_ASKING: break; /* the command behind it is refused too */
    case REDIS_MAP:
    default: command_failed(node, pending, error); break;
    }
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void prove(struct redis_node *node) {
    redis_breaker_prove(&node->breaker);
    redis_breaker_prove(&node->redis->breaker);
}

static void take_value(struct redis_node *node, const struct redis_pending *pending, const struct redis_part *answer) {
    struct sw_redis *redis = node->redis;
    struct sw_redis_question *question = pending->question;
    struct sw_str value = {NULL, 0};
    enum redis_cause cause = REDIS_CAUSE_NONE;
    if (answer->type == REDIS_OVERSIZE ||
        (answer->type == REDIS_STRING &&
         !redis_envelope_open(&redis->digest, question->key, redis_part_text(&node->reader, answer), &value))) {
        cause = REDIS_CAUSE_GARBAGE;
        redis_say(redis, "a value that this program did not write, or that is not whole");
    } else if (answer->type != REDIS_STRING && answer->type != REDIS_NIL) {
        garbage(node, pending);
        return;
    }
    prove(node);
    redis_question_end(redis, question, cause, value);
}

static void take_kept(struct redis_node *node, const struct redis_pending *pending, const struct redis_part *answer) {
    if (answer->type != REDIS_STATUS) {
        garbage(node, pending);
        return;
    }
    prove(node);
    node->redis->flying_bytes -= pending->entry->value.len;
    redis_entry_end(node->redis, pending->entry, &node->redis->counters.kept);
}

static void take_pong(struct redis_node *node, const struct redis_pending *pending, const struct redis_part *answer) {
    if (answer->type != REDIS_STATUS || !sw_str_is(redis_part_text(&node->reader, answer), "PONG")) {
        garbage(node, pending);
    } else if (node->unhurried) { /* connecting took what it took; now it has to be quick */
        node->unhurried = false;
        (void)redis_node_greet(node, REDIS_PING);
    } else if (node->state != REDIS_NODE_UP) {
        redis_node_is_up(node);
    }
}

static void take_map(struct redis_node *node, const struct redis_pending *pending) {
    if (!redis_map_take(node)) {
        garbage(node, pending);
    } else if (pending->kind == REDIS_FIND_SLOTS) {
        redis_is_cluster(node);
    }
}

static void take_generation(struct redis_node *node, const struct redis_pending *pending,
                            const struct redis_part *answer) {
    if (answer->type == REDIS_INTEGER || answer->type == REDIS_ARRAY) {
        garbage(node, pending);
        return;
    }
    prove(node);
    redis_watches_answer(node->redis, pending, &node->reader);
}

void redis_node_answer(struct redis_node *node) {
    const struct redis_pending pending = redis_node_pop(node);
    const struct redis_part *answer = redis_answer(&node->reader);
    if (answer->type == REDIS_ERROR) {
        on_error(node, &pending, redis_part_text(&node->reader, answer));
        return;
    }
    switch (pending.kind) {
    case REDIS_PING: take_pong(node, &pending, answer); break;
    case REDIS_FIND_SLOTS:
    case REDIS_MAP: take_map(node, &pending); break;
    case REDIS_GET: take_value(node, &pending, answer); break;
    case REDIS_SET: take_kept(node, &pending, answer); break;
    case REDIS_GENERATION_GET:
    case REDIS_GENERATION_SET: take_generation(node, &pending, answer); break;
    default: /* AUTH, SELECT, ASKING */
        if (answer->type != REDIS_STATUS) {
            garbage(node, &pending);
        }
    }
}
