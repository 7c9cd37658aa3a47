#include "base/hash.h"

#include <sys/random.h>

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sw_hash(const void *data, size_t len, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return mix(h);
}

uint64_t sw_random_next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    return mix(*state);
}

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

uint64_t sw_random_u64(void) {
    static _Thread_local uint64_t s[4];
    static _Thread_local bool seeded;
    if (SW_UNLIKELY(!seeded)) {
        if (getrandom(s, sizeof s, 0) != (ssize_t)sizeof s) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            for (int i = 0; i < 4; i++) {
                s[i] = mix((uint64_t)now.tv_nsec + (uint64_t)(uintptr_t)s + (uint64_t)i * 0x9e3779b97f4a7c15u);
            }
        }
        s[0] |= 1;
        seeded = true;
    }
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

void sw_random_id(char ret_id[33]) {
    static const char digits[] = "0123456789abcdef";
    uint64_t parts[2] = {sw_random_u64(), sw_random_u64()};
    for (int i = 0; i < 32; i++) {
        ret_id[i] = digits[(parts[i / 16] >> (4 * (i % 16))) & 15];
    }
    ret_id[32] = '\0';
}
