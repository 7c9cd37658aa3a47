/* See flight.h. Buckets of leaders, each with a lock of its own; few flights are under way at once. */
#include "sched/cache/flight.h"

#include <pthread.h>

#include "base/memory.h"

enum { BUCKETS = 256, CACHE_LINE = 64 };

struct bucket {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct sw_flight *leaders;
};

struct sw_flights {
    struct bucket *buckets;
};

struct sw_flights *sw_flights_create(void) {
    struct sw_flights *flights = SW_NEW(struct sw_flights);
    flights->buckets = sw_aligned_alloc(CACHE_LINE, BUCKETS * sizeof *flights->buckets);
    SW_ASSERT(flights->buckets);
    for (size_t i = 0; i < BUCKETS; i++) {
        flights->buckets[i] = (struct bucket){.leaders = NULL};
        SW_ASSERT(pthread_mutex_init(&flights->buckets[i].lock, NULL) == 0);
    }
    return flights;
}

void sw_flights_destroy(struct sw_flights *flights) {
    for (size_t i = 0; flights && i < BUCKETS; i++) {
        SW_ASSERT(!flights->buckets[i].leaders);
        pthread_mutex_destroy(&flights->buckets[i].lock);
    }
    if (flights) {
        sw_free(flights->buckets);
        sw_free(flights);
    }
}

static struct bucket *bucket_of(struct sw_flights *flights, const struct sw_flight *member) {
    return &flights->buckets[sw_cache_key_hash(&member->key) % BUCKETS];
}

static bool may_wait(const struct sw_flight *member, const struct sw_flight *leader) {
    bool in_time = !member->deadline_ns || (leader->deadline_ns && leader->deadline_ns <= member->deadline_ns);
    return in_time && (leader->urgent || !member->urgent);
}

static void wait_for(struct sw_flight *member, struct sw_flight *leader) {
    *(leader->last ? &leader->last->next : &leader->first) = member;
    leader->last = member;
}

enum sw_flight_part sw_flights_join(struct sw_flights *flights, struct sw_flight *member) {
    struct bucket *b = bucket_of(flights, member);
    enum sw_flight_part part = SW_FLIGHT_LEADS;
    member->next = member->first = member->last = NULL;
    pthread_mutex_lock(&b->lock);
    struct sw_flight *leader = b->leaders;
    while (leader && !sw_cache_key_eq(&leader->key, &member->key)) {
        leader = leader->next;
    }
    if (!leader) {
        member->next = b->leaders;
        b->leaders = member;
    } else if (may_wait(member, leader)) {
        wait_for(member, leader);
        part = SW_FLIGHT_WAITS;
    } else {
        part = SW_FLIGHT_ALONE;
    }
    pthread_mutex_unlock(&b->lock);
    return part;
}

static struct sw_flight **place_of(struct bucket *b, const struct sw_flight *leader) {
    struct sw_flight **at = &b->leaders;
    while (*at != leader) {
        SW_ASSERT(*at);
        at = &(*at)->next;
    }
    return at;
}

struct sw_flight *sw_flights_land(struct sw_flights *flights, struct sw_flight *leader) {
    struct bucket *b = bucket_of(flights, leader);
    pthread_mutex_lock(&b->lock);
    *place_of(b, leader) = leader->next;
    pthread_mutex_unlock(&b->lock);
    return leader->first;
}

/* By deadline, so that the others' are not before it; of equal deadlines by priority; of equals who came first. */
static bool inherits_before(const struct sw_flight *a, const struct sw_flight *b) {
    uint64_t of_a = a->deadline_ns ? a->deadline_ns : UINT64_MAX, of_b = b->deadline_ns ? b->deadline_ns : UINT64_MAX;
    return of_a < of_b || (of_a == of_b && a->urgent && !b->urgent);
}

static struct sw_flight *take_heir(struct sw_flight *leader) {
    struct sw_flight **found = &leader->first, *before = NULL, *before_found = NULL;
    for (struct sw_flight **at = found; *at; before = *at, at = &(*at)->next) {
        if (inherits_before(*at, *found)) {
            found = at;
            before_found = before;
        }
    }
    struct sw_flight *heir = *found;
    if (heir) {
        *found = heir->next;
        leader->last = leader->last == heir ? before_found : leader->last;
    }
    return heir;
}

struct sw_flight *sw_flights_pass(struct sw_flights *flights, struct sw_flight *leader) {
    struct bucket *b = bucket_of(flights, leader);
    pthread_mutex_lock(&b->lock);
    struct sw_flight **at = place_of(b, leader), *heir = take_heir(leader);
    if (heir) {
        heir->first = leader->first;
        heir->last = leader->last;
        heir->next = leader->next;
        *at = heir;
    } else {
        *at = leader->next;
    }
    pthread_mutex_unlock(&b->lock);
    return heir;
}

size_t sw_flights_waiting(struct sw_flights *flights) {
    size_t count = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct bucket *b = &flights->buckets[i];
        pthread_mutex_lock(&b->lock);
        for (const struct sw_flight *leader = b->leaders; leader; leader = leader->next) {
            for (const struct sw_flight *waiter = leader->first; waiter; waiter = waiter->next) {
                count++;
            }
        }
        pthread_mutex_unlock(&b->lock);
    }
    return count;
}
