/* Addresses of Redis: any text.
 *
 * What is accepted has hosts and ports that can be connected to and within bounds, and its names read back give the same
 * addresses. A message of refusal holds nothing of the text but numbers. */
#include <ctype.h>
#include <stdlib.h>

#include "base/memory.h"
#include "sched/cache/redis_internal.h"

static void check(bool good) {
    if (!good) {
        abort();
    }
}

static void check_address(const struct redis_address *a) {
    char name[REDIS_NAME_MAX], url[REDIS_NAME_MAX + 10];
    struct redis_addresses again;
    struct redis_resolved resolved;
    check(a->host[0] && strlen(a->host) < sizeof a->host);
    for (const char *c = a->host; *c; c++) {
        check(!a->port || isalnum((unsigned char)*c) || strchr("-._:", *c));
    }
    redis_address_name(a, name);
    snprintf(url, sizeof url, "%s%s", a->port ? "redis://" : "", name); /* a host may be called "unix" */
    check(redis_addresses_parse(url, &again, NULL) == SW_OK && again.count == 1);
    check(strcmp(again.list[0].host, a->host) == 0 && again.list[0].port == a->port);
    check(redis_resolve_now(a, &resolved) || a->port);
}

static void check_message(const char *text, const struct sw_error *err) {
    const char *colon = strchr(err->message, ':');
    check(err->code == SW_E_INVALID_ARGUMENT && err->message[0]);
    check(strlen(text) < 12 || !strstr(err->message, text));
    check(!colon || strlen(colon) < 80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = sw_xstrndup((const char *)data, size);
    struct redis_addresses a;
    struct sw_error err;
    if (redis_addresses_parse(text, &a, &err)) {
        check_message(text, &err);
    } else {
        check(a.count > 0 && a.count <= SW_REDIS_ADDRESSES_MAX);
        check(strlen(a.username) < sizeof a.username && strlen(a.password) < sizeof a.password);
        for (size_t i = 0; i < a.count; i++) {
            check_address(&a.list[i]);
        }
    }
    sw_free(text);
    return 0;
}
