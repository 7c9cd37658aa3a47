/* Addresses of servers as people write them; see redis.h for the forms.
 *
 * A message never quotes an address, because that may be a URL with a password. */
#include <arpa/inet.h>
#include <ctype.h>

#include "sched/cache/redis_internal.h"

static const char SEPARATORS[] = ", \t\r\n";

struct parser {
    struct redis_addresses *into;
    size_t number; /* of the address, from 1 */
    struct sw_error *err;
};

static sw_status refuse(struct parser *p, const char *why) {
    return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "address %zu of Redis: %s", p->number, why);
}

/* --- host and port ------------------------------------------------------------------------------------------------ */

static bool is_name(struct sw_str host) {
    for (size_t i = 0; i < host.len; i++) {
        if (!isalnum((unsigned char)host.data[i]) && !memchr("-._", host.data[i], 3)) {
            return false;
        }
    }
    return host.len > 0;
}

static bool is_ipv6(struct sw_str host) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr any;
    if (host.len == 0 || host.len >= sizeof text || memchr(host.data, 0, host.len)) {
        return false;
    }
    memcpy(text, host.data, host.len);
    text[host.len] = 0;
    return inet_pton(AF_INET6, text, &any) == 1;
}

/* Splits "HOST[:PORT]" and "[IPv6][:PORT]"; `port` has data NULL when there is none. */
static const char *split_host(struct sw_str text, struct sw_str *ret_host, struct sw_str *ret_port) {
    if (sw_str_starts(text, SW_STR("["))) {
        struct sw_str rest = sw_str_split((struct sw_str){text.data + 1, text.len - 1}, ']', ret_host);
        if (!rest.data || !is_ipv6(*ret_host)) {
            return "what stands in [] is no IPv6 address";
        }
        if (rest.len && rest.data[0] != ':') {
            return "behind ] only a port may follow";
        }
        *ret_port = rest.len ? (struct sw_str){rest.data + 1, rest.len - 1} : (struct sw_str){NULL, 0};
        return NULL;
    }
    *ret_port = sw_str_split(text, ':', ret_host);
    if (ret_port->data && memchr(ret_port->data, ':', ret_port->len)) {
        return "an IPv6 address stands in []";
    }
    return is_name(*ret_host) ? NULL : "that is no host";
}

static sw_status add_host(struct parser *p, struct sw_str text) {
    struct redis_address *a = &p->into->list[p->into->count];
    struct sw_str host, port;
    uint64_t number = REDIS_PORT;
    const char *wrong = split_host(text, &host, &port);
    if (wrong) {
        return refuse(p, wrong);
    }
    if (port.data && (!sw_parse_u64(port, &number) || number < 1 || number > 65535)) {
        return refuse(p, "the port is not between 1 and 65535");
    }
    if (host.len >= sizeof a->host) {
        return refuse(p, "the host is too long");
    }
    memcpy(a->host, host.data, host.len);
    a->host[host.len] = 0;
    a->port = (uint16_t)number;
    p->into->count++;
    return SW_OK;
}

static sw_status add_path(struct parser *p, struct sw_str path) {
    struct redis_address *a = &p->into->list[p->into->count];
    if (path.len < 2 || path.data[0] != '/') {
        return refuse(p, "behind unix: stands an absolute path");
    }
    if (path.len >= sizeof((struct sockaddr_un *)0)->sun_path) {
        return refuse(p, "the path of a socket has at most 107 bytes");
    }
    memcpy(a->host, path.data, path.len);
    a->host[path.len] = 0;
    a->port = 0;
    p->into->count++;
    return SW_OK;
}

/* --- URLs --------------------------------------------------------------------------------------------------------- */

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Percent-decoded; no NUL, not longer than fits. */
static bool decode(struct sw_str text, char *ret, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
            if (low < 0) {
                return false;
            }
            c = (char)(16 * high + low);
            i += 2;
        }
        if (!c || n + 1 >= size) {
            return false;
        }
        ret[n++] = c;
    }
    ret[n] = 0;
    return true;
}

/* The first URL that says it decides; another may only say the same. */
static sw_status take_text(struct parser *p, struct sw_str text, char *into, size_t size, const char *wrong) {
    char value[512];
    SW_ASSERT(size <= sizeof value);
    if (!decode(text, value, size)) {
        return refuse(p, wrong);
    }
    if (into[0] && strcmp(into, value) != 0) {
        return refuse(p, "its user or password is not that of the address before");
    }
    snprintf(into, size, "%s", value);
    return SW_OK;
}

static sw_status take_user(struct parser *p, struct sw_str text) {
    struct redis_addresses *a = p->into;
    struct sw_str user, password = sw_str_split(text, ':', &user);
    if (user.len) {
        SW_TRY(take_text(p, user, a->username, sizeof a->username, "its user cannot be read"));
    }
    if (password.len) {
        SW_TRY(take_text(p, password, a->password, sizeof a->password, "its password cannot be read"));
    }
    return SW_OK;
}

static sw_status take_database(struct parser *p, struct sw_str text) {
    uint64_t number;
    if (!text.len) {
        return SW_OK;
    }
    if (!sw_parse_u64(text, &number) || number > INT32_MAX) {
        return refuse(p, "behind / stands the number of a database");
    }
    if (p->into->has_database && p->into->database != number) {
        return refuse(p, "its database is not that of the address before");
    }
    p->into->has_database = true;
    p->into->database = (unsigned)number;
    return SW_OK;
}

/* What stands behind the scheme: [USER[:PASSWORD]@]HOST[:PORT][/DB]. A password may hold an '@' that nobody encoded. */
static sw_status add_url(struct parser *p, struct sw_str text) {
    const char *at = text.len ? memrchr(text.data, '@', text.len) : NULL;
    if (at) {
        SW_TRY(take_user(p, (struct sw_str){text.data, (size_t)(at - text.data)}));
        text = (struct sw_str){at + 1, (size_t)(text.data + text.len - at) - 1};
    }
    struct sw_str host, database = sw_str_split(text, '/', &host);
    SW_TRY(take_database(p, database));
    return add_host(p, host);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static bool cut(struct sw_str *text, const char *head) {
    size_t n = strlen(head);
    if (text->len < n || strncasecmp(text->data, head, n) != 0) {
        return false;
    }
    *text = (struct sw_str){text->data + n, text->len - n};
    return true;
}

static sw_status add(struct parser *p, struct sw_str text) {
    if (p->number > SW_REDIS_ADDRESSES_MAX) {
        return sw_fail(p->err, SW_E_INVALID_ARGUMENT, "more than %d addresses of Redis", SW_REDIS_ADDRESSES_MAX);
    }
    if (cut(&text, "unix:")) {
        return add_path(p, text);
    }
    if (cut(&text, "rediss://")) {
        p->into->tls = true;
        return add_url(p, text);
    }
    return cut(&text, "redis://") ? add_url(p, text) : add_host(p, text);
}

sw_status redis_addresses_parse(const char *text, struct redis_addresses *ret, struct sw_error *err) {
    struct redis_addresses found = {.count = 0};
    struct parser p = {.into = &found, .err = err};
    while (*(text += strspn(text, SEPARATORS))) {
        size_t len = strcspn(text, SEPARATORS);
        p.number++;
        SW_TRY(add(&p, (struct sw_str){text, len}));
        text += len;
    }
    if (!found.count) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "no address of Redis");
    }
    *ret = found;
    return SW_OK;
}

void redis_address_name(const struct redis_address *address, char ret[REDIS_NAME_MAX]) {
    if (!address->port) {
        snprintf(ret, REDIS_NAME_MAX, "unix:%s", address->host);
    } else if (strchr(address->host, ':')) {
        snprintf(ret, REDIS_NAME_MAX, "[%s]:%u", address->host, address->port);
    } else {
        snprintf(ret, REDIS_NAME_MAX, "%s:%u", address->host, address->port);
    }
}
