/* The circuit breaker as a state machine without a clock. */
#include "base/hash.h"
#include "sched/cache/redis_internal.h"

void redis_breaker_init(struct redis_breaker *b, uint64_t min_ns, uint64_t max_ns, uint64_t seed, uint64_t now_ns) {
    SW_ASSERT(min_ns > 0 && min_ns <= max_ns);
    *b = (struct redis_breaker){
        .state = REDIS_OPEN, .min_ns = min_ns, .max_ns = max_ns, .wait_ns = min_ns, .retry_ns = now_ns, .random = seed};
}

bool redis_breaker_due(const struct redis_breaker *b, uint64_t now_ns) {
    return b->state == REDIS_OPEN && now_ns >= b->retry_ns;
}

void redis_breaker_probe(struct redis_breaker *b) {
    SW_ASSERT(b->state == REDIS_OPEN);
    b->state = REDIS_PROBING;
}

void redis_breaker_close(struct redis_breaker *b) {
    b->state = REDIS_CLOSED;
}

void redis_breaker_prove(struct redis_breaker *b) {
    b->wait_ns = b->min_ns;
}

/* Replicas that lost the same server do not come back at the same moment: up to a quarter is taken off. */
void redis_breaker_fail(struct redis_breaker *b, uint64_t now_ns) {
    if (b->state == REDIS_OPEN) {
        return;
    }
    b->opened += b->state == REDIS_CLOSED;
    b->state = REDIS_OPEN;
    b->retry_ns = now_ns + b->wait_ns - sw_random_next(&b->random) % (b->wait_ns / 4 + 1);
    b->wait_ns = b->wait_ns > b->max_ns / 2 ? b->max_ns : 2 * b->wait_ns;
}
