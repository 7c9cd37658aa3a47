/* Networks and addresses: what a server that fetches for strangers may connect to.
 *
 * An address is public when it can be reached over the Internet and belongs to nobody in particular on this machine or
 * its network: not this host, private, shared (CGNAT), loopback, link-local, documentation, benchmarking, multicast or
 * reserved. The tables follow IANA's special-purpose registries (RFC 6890, with later entries). Of IPv6 only 2000::/3 is
 * public, and of that nothing that stands for an IPv4 address (6to4, Teredo): a translation must not be a way around
 * the IPv4 table. IPv4-mapped and NAT64 addresses lie outside 2000::/3. */
#ifndef SW_HTTP_NETWORKS_H
#define SW_HTTP_NETWORKS_H

#include <sys/socket.h>

#include "base/error.h"
#include "base/str.h"

struct sw_network {
    int family; /* AF_INET, AF_INET6 */
    unsigned bits;
    uint8_t address[16]; /* network byte order; IPv4: the first four */
};

/* "10.0.0.0/8", "fd00::/8", or a lone address. SW_E_INVALID_ARGUMENT: anything else, set bits behind the prefix
 * included. */
SW_MUST_CHECK sw_status sw_network_parse(struct sw_str text, struct sw_network *ret, struct sw_error *err);
/* Only within the same family: an IPv4-mapped IPv6 address is in no IPv4 network. */
bool sw_network_has(const struct sw_network *network, const struct sockaddr *address);
bool sw_address_is_public(const struct sockaddr *address);

#endif
