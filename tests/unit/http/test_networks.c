/* Networks: parsing, prefixes, and which addresses are public, at the edges of every entry of the tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/networks.h"

static struct sockaddr_storage address_of(const char *text) {
    struct sockaddr_storage a = {.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET};
    void *bytes = a.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&a)->sin6_addr
                                          : (void *)&((struct sockaddr_in *)&a)->sin_addr;
    if (inet_pton(a.ss_family, text, bytes) != 1) {
        fail_msg("%s is no address", text);
    }
    return a;
}

static bool is_public(const char *text) {
    struct sockaddr_storage a = address_of(text);
    return sw_address_is_public((const struct sockaddr *)&a);
}

static void test_edges_of_what_is_not_public(void **state) {
    /* first and last of each block, and their public neighbours (NULL: another block begins there) */
    static const struct {
        const char *before, *first, *last, *after;
    } blocks[] = {
        {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
        {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
        {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
        {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
        {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
        {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"},
        {"192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"},
        {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
        {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
        {"192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"},
        {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
        {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
        {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
        {"223.255.255.255", "224.0.0.0", "255.255.255.255", NULL},
        {NULL, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
        {"2000:ffff::", "2001::", "2001:1ff:ffff::", "2001:200::"},
        {"2001:db7:ffff::", "2001:db8::", "2001:db8:ffff::", "2001:db9::"},
        {"2001:ffff::", "2002::", "2002:ffff::", "2003::"},
        {"2620:4f:7fff::", "2620:4f:8000::", "2620:4f:8000:ffff::", "2620:4f:8001::"},
        {"3ffe:ffff::", "3fff::", "3fff:fff:ffff::", "3fff:1000::"},
        {"3fff:ffff:ffff::", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
    };
    for (size_t i = 0; i < SW_COUNTOF(blocks); i++) {
        assert_false(is_public(blocks[i].first));
        assert_false(is_public(blocks[i].last));
        if ((blocks[i].before && !is_public(blocks[i].before)) || (blocks[i].after && !is_public(blocks[i].after))) {
            fail_msg("a neighbour of %s - %s is not public", blocks[i].first, blocks[i].last);
        }
    }
}

static void test_ways_around_are_not_public(void **state) {
    static const char *const texts[] = {"::1",           "::ffff:127.0.0.1", "::ffff:93.184.216.34",
                                        "::127.0.0.1",   "64:ff9b::7f00:1",  "64:ff9b:1::1",
                                        "2002:7f00:1::", "2001::7f00:1",     "fe80::1",
                                        "fec0::1",       "fc00::1",          "fdff::1",
                                        "ff02::1",       "100::1",           "5f00::1"};
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        assert_false(is_public(texts[i]));
    }
    assert_true(is_public("93.184.216.34"));
    assert_true(is_public("2606:2800:220:1::1"));
    struct sockaddr unix_socket = {.sa_family = AF_UNIX};
    assert_false(sw_address_is_public(&unix_socket));
}

static void test_parse(void **state) {
    static const struct {
        const char *text;
        unsigned bits;
        int family;
    } good[] = {{"10.0.0.0/8", 8, AF_INET}, {"10.1.2.3", 32, AF_INET},
                {"0.0.0.0/0", 0, AF_INET},  {"192.168.1.128/25", 25, AF_INET},
                {"::1", 128, AF_INET6},     {"::/0", 0, AF_INET6},
                {"fd00::/8", 8, AF_INET6},  {"2001:db8:8000::/33", 33, AF_INET6}};
    static const char *const bad[] = {"",
                                      "x",
                                      "10.0.0.0/33",
                                      "10.0.0.1/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/8/8",
                                      "10.0.0.0/-1",
                                      "10.0.0/8",
                                      "10.0.0.0 /8",
                                      "fd00::1/8",
                                      "::/129",
                                      ":::/8",
                                      "/8",
                                      "10.0.0.0/8 ",
                                      "0x7f.0.0.1",
                                      "1.2.3.4.5",
                                      "fe80::1%lo",
                                      "[::1]",
                                      "2001:db8:8000::/32",
                                      "10.0.0.0/18446744073709551616"};
    struct sw_network network;
    struct sw_error err;
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        assert_int_equal(sw_network_parse(sw_str_of(good[i].text), &network, &err), SW_OK);
        assert_int_equal(network.bits, good[i].bits);
        assert_int_equal(network.family, good[i].family);
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        if (sw_network_parse(sw_str_of(bad[i]), &network, &err) != SW_E_INVALID_ARGUMENT) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
    assert_int_equal(sw_network_parse((struct sw_str){NULL, 0}, &network, NULL), SW_E_INVALID_ARGUMENT);
}

static void test_membership(void **state) {
    static const struct {
        const char *network, *address;
        bool is_in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.168.1.128/25", "192.168.1.129", true},
        {"192.168.1.128/25", "192.168.1.127", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"127.0.0.0/8", "::ffff:127.0.0.1", false},
        {"::ffff:127.0.0.0/104", "::ffff:127.0.0.1", true},
        {"2001:db8:8000::/33", "2001:db8:8000::1", true},
        {"2001:db8:8000::/33", "2001:db8:7fff::1", false},
        {"::/0", "2001::", true},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.2", false},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct sw_network network;
        struct sw_error err;
        struct sockaddr_storage a = address_of(cases[i].address);
        assert_int_equal(sw_network_parse(sw_str_of(cases[i].network), &network, &err), SW_OK);
        if (sw_network_has(&network, (const struct sockaddr *)&a) != cases[i].is_in) {
            fail_msg("%s in %s", cases[i].address, cases[i].network);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges_of_what_is_not_public),
        cmocka_unit_test(test_ways_around_are_not_public),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_membership),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
