/* What the files of the fetcher share: fetch.c transfers, fetch_policy.c decides, fetch_resolve.c asks for addresses. */
#ifndef SW_HTTP_FETCH_INTERNAL_H
#define SW_HTTP_FETCH_INTERNAL_H

#include <curl/curl.h>

#include "http/fetch.h"
#include "http/networks.h"

struct sw_fetcher {
    struct sw_fetch_options options;
    char **hosts; /* lower case, no dot at the end */
    size_t host_count;
    uint16_t *ports;
    size_t port_count;
    struct sw_network *networks;
    size_t network_count;
    atomic_uint_fast64_t held;
};

/* Where one hop goes: taken from the URL by the same parser that libcurl connects with. */
struct fetch_target {
    CURLU *url;
    char name[SW_FETCH_HOST_MAX + 1]; /* of the host: lower case, no brackets, no last dot */
    bool https;
    bool numeric; /* the name is an address */
    uint16_t port;
    struct sw_fetch_addresses addresses;
};

/* ---- fetch_policy.c */

/* Fills in the lists of a fetcher. */
SW_MUST_CHECK sw_status fetch_policy_read(struct sw_fetcher *fetcher, struct sw_error *err);
void fetch_policy_clear(struct sw_fetcher *fetcher);
/* Is this a URL that may be fetched, as far as that can be told without asking anybody? Fills in all but addresses; to
 * be cleared in any case. */
SW_MUST_CHECK sw_status fetch_target_read(const struct sw_fetcher *fetcher, const char *url,
                                          struct fetch_target *target, struct sw_error *err);
void fetch_target_clear(struct fetch_target *target);
bool fetch_allows_address(const struct sw_fetcher *fetcher, const struct sockaddr *address);
bool fetch_allows_host(const struct sw_fetcher *fetcher, const char *name);

/* ---- fetch_resolve.c */

/* Every address of the host, with the target's port, each of them allowed. SW_E_DEADLINE_EXCEEDED when that takes longer
 * than wait_ms. */
SW_MUST_CHECK sw_status fetch_resolve(const struct sw_fetcher *fetcher, struct fetch_target *target, uint64_t wait_ms,
                                      struct sw_error *err);

#endif
