/* What a cluster says about itself: CLUSTER SLOTS, and the redirections MOVED and ASK. */
#include "sched/cache/redis_internal.h"

static bool take_host(struct sw_str host, const struct redis_address *asked, struct redis_address *ret) {
    if (!host.len || sw_str_is(host, "?")) {
        host = sw_str_of(asked->host);
    }
    if (host.len >= sizeof ret->host) {
        return false;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] <= ' ' || host.data[i] > '~') {
            return false;
        }
    }
    memcpy(ret->host, host.data, host.len);
    ret->host[host.len] = 0;
    return true;
}

/* --- CLUSTER SLOTS: an array of [first, last, [host, port, ...], [replica...]...] --------------------------------- */

static size_t skip_children(const struct redis_reader *r, size_t position) {
    int depth = r->parts[position].depth;
    do {
        position++;
    } while (position < r->parts_count && r->parts[position].depth > depth);
    return position;
}

static bool read_range(const struct redis_reader *r, const struct redis_address *asked, size_t at,
                       struct redis_range *ret) {
    const struct redis_part *p = &r->parts[at];
    if (at + 5 >= r->parts_count || p[0].type != REDIS_ARRAY || p[0].depth != 1 || p[0].number < 3) {
        return false;
    }
    if (p[1].type != REDIS_INTEGER || p[2].type != REDIS_INTEGER || p[1].number < 0 || p[2].number < p[1].number ||
        p[2].number >= REDIS_SLOTS) {
        return false;
    }
    bool host = p[4].type == REDIS_STRING || p[4].type == REDIS_NIL;
    if (p[3].type != REDIS_ARRAY || p[3].number < 2 || !host || p[5].type != REDIS_INTEGER || p[5].number < 1 ||
        p[5].number > 65535) {
        return false;
    }
    ret->first = (unsigned)p[1].number;
    ret->last = (unsigned)p[2].number;
    ret->master.port = (uint16_t)p[5].number;
    return take_host(redis_part_text(r, &p[4]), asked, &ret->master);
}

int redis_slots_next(const struct redis_reader *r, const struct redis_address *asked, size_t *position,
                     struct redis_range *ret) {
    if (*position == 0) {
        if (r->parts[0].type != REDIS_ARRAY) {
            return -1;
        }
        *position = 1;
    }
    if (*position >= r->parts_count) {
        return 0;
    }
    struct redis_range range;
    if (!read_range(r, asked, *position, &range)) {
        return -1;
    }
    *position = skip_children(r, *position);
    *ret = range;
    return 1;
}

/* --- "MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381" ------------------------------------------------------- */

bool redis_redirect_parse(struct sw_str error, const struct redis_address *asked, struct redis_redirect *ret) {
    struct sw_str word, slot, rest = sw_str_split(sw_str_split(error, ' ', &word), ' ', &slot);
    struct redis_redirect found = {.ask = sw_str_is(word, "ASK")};
    uint64_t number, port;
    if ((!found.ask && !sw_str_is(word, "MOVED")) || !rest.len || !sw_parse_u64(slot, &number) ||
        number >= REDIS_SLOTS) {
        return false;
    }
    const char *colon = memrchr(rest.data, ':', rest.len); /* IPv6 stands here without brackets */
    if (!colon || !sw_parse_u64((struct sw_str){colon + 1, (size_t)(rest.data + rest.len - colon) - 1}, &port) ||
        port < 1 || port > 65535 ||
        !take_host((struct sw_str){rest.data, (size_t)(colon - rest.data)}, asked, &found.address)) {
        return false;
    }
    found.slot = (unsigned)number;
    found.address.port = (uint16_t)port;
    *ret = found;
    return true;
}
