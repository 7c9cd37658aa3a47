/* Networks and addresses; see networks.h. */
#include "http/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* IPv4 that is not public: RFC 6890 and the IANA registry it founded. */
static const struct sw_network special4[] = {
    {AF_INET, 8, {0}},             /* this network */
    {AF_INET, 8, {10}},            /* private */
    {AF_INET, 10, {100, 64}},      /* shared: carrier-grade NAT */
    {AF_INET, 8, {127}},           /* loopback */
    {AF_INET, 16, {169, 254}},     /* link-local; clouds serve their metadata here */
    {AF_INET, 12, {172, 16}},      /* private */
    {AF_INET, 24, {192, 0, 0}},    /* protocol assignments */
    {AF_INET, 24, {192, 0, 2}},    /* documentation */
    {AF_INET, 24, {192, 31, 196}}, /* AS112 */
    {AF_INET, 24, {192, 52, 193}}, /* AMT */
    {AF_INET, 24, {192, 88, 99}},  /* 6to4 relays */
    {AF_INET, 16, {192, 168}},     /* private */
    {AF_INET, 24, {192, 175, 48}}, /* AS112 */
    {AF_INET, 15, {198, 18}},      /* benchmarking */
    {AF_INET, 24, {198, 51, 100}}, /* documentation */
    {AF_INET, 24, {203, 0, 113}},  /* documentation */
    {AF_INET, 4, {224}},           /* multicast */
    {AF_INET, 4, {240}},           /* reserved, and broadcast */
};

static const struct sw_network global6 = {AF_INET6, 3, {0x20}};

/* Within 2000::/3. */
static const struct sw_network special6[] = {
    {AF_INET6, 23, {0x20, 0x01}},                         /* protocol assignments: Teredo, ORCHID, benchmarking */
    {AF_INET6, 32, {0x20, 0x01, 0x0d, 0xb8}},             /* documentation */
    {AF_INET6, 16, {0x20, 0x02}},                         /* 6to4 */
    {AF_INET6, 48, {0x26, 0x20, 0x00, 0x4f, 0x80, 0x00}}, /* AS112 */
    {AF_INET6, 20, {0x3f, 0xff}},                         /* documentation */
};

static size_t address_bytes(int family) {
    return family == AF_INET ? 4 : 16;
}

/* NULL: neither IPv4 nor IPv6. */
static const uint8_t *bytes_of(const struct sockaddr *address) {
    switch (address->sa_family) {
    case AF_INET: return (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    case AF_INET6: return ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
    default: return NULL;
    }
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0) {
        return false;
    }
    return rest == 0 || ((a[whole] ^ b[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

static bool ends_in_zeros(const struct sw_network *network) {
    static const uint8_t zero[16] = {0};
    uint8_t rest[16] = {0};
    size_t n = address_bytes(network->family);
    memcpy(rest, network->address, n);
    for (unsigned bit = 0; bit < network->bits; bit++) {
        rest[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    }
    return memcmp(rest, zero, n) == 0;
}

sw_status sw_network_parse(struct sw_str text, struct sw_network *ret, struct sw_error *err) {
    char address[INET6_ADDRSTRLEN];
    struct sw_str head, prefix = sw_str_split(text, '/', &head);
    struct sw_network network = {.family = memchr(head.data ? head.data : "", ':', head.len) ? AF_INET6 : AF_INET};
    uint64_t bits = address_bytes(network.family) * 8, most = bits;
    bool good = head.data && head.len > 0 && head.len < sizeof address &&
                (!prefix.data || sw_parse_u64(prefix, &bits)) && bits <= most;
    if (good) {
        memcpy(address, head.data, head.len);
        address[head.len] = '\0';
        good = inet_pton(network.family, address, network.address) == 1;
    }
    network.bits = (unsigned)bits;
    if (!good || !ends_in_zeros(&network)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "'" SW_STR_FMT "' is no network: give one as 10.0.0.0/8 or fd00::/8, or a lone address",
                       SW_STR_ARG(text));
    }
    *ret = network;
    return SW_OK;
}

bool sw_network_has(const struct sw_network *network, const struct sockaddr *address) {
    const uint8_t *bytes = bytes_of(address);
    return bytes && address->sa_family == network->family && same_prefix(bytes, network->address, network->bits);
}

static bool is_in(const struct sw_network *networks, size_t count, const struct sockaddr *address) {
    for (size_t i = 0; i < count; i++) {
        if (sw_network_has(&networks[i], address)) {
            return true;
        }
    }
    return false;
}

bool sw_address_is_public(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        return !is_in(special4, SW_COUNTOF(special4), address);
    }
    return sw_network_has(&global6, address) && !is_in(special6, SW_COUNTOF(special6), address);
}
