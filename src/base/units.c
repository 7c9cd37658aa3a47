/* Sizes and durations in text. */
#include "base/units.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* The first of one factor is the one written. */
static const struct unit sizes[] = {
    {"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1},
    {"T", 1ull << 40},   {"G", 1ull << 30},   {"M", 1ull << 20},   {"K", 1ull << 10},   {"", 1},
};
static const struct unit durations[] = {
    {"h", 3600000000ull}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1},
};

static bool parse(struct sw_str text, const struct unit *units, size_t count, uint64_t *ret) {
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
        digits++;
    }
    uint64_t number;
    if (!sw_parse_u64((struct sw_str){text.data, digits}, &number)) {
        return false;
    }
    struct sw_str unit = {text.data + digits, text.len - digits};
    for (size_t i = 0; i < count; i++) {
        if (sw_str_ieq(unit, sw_str_of(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, ret);
        }
    }
    return false;
}

bool sw_parse_size(struct sw_str text, uint64_t *ret_bytes) {
    uint64_t bytes;
    if (!parse(text, sizes, SW_COUNTOF(sizes), &bytes)) {
        return false;
    }
    *ret_bytes = bytes;
    return true;
}

bool sw_parse_duration(struct sw_str text, uint64_t *ret_us) {
    uint64_t us;
    if (sw_str_is(text, "0")) {
        *ret_us = 0;
        return true;
    }
    if (!parse(text, durations, SW_COUNTOF(durations), &us)) {
        return false;
    }
    *ret_us = us;
    return true;
}

static void format(uint64_t value, const struct unit *units, char ret[SW_UNIT_TEXT_MAX]) {
    while (value % units->factor != 0) {
        units++; /* ends at factor 1 */
    }
    snprintf(ret, SW_UNIT_TEXT_MAX, "%llu%s", (unsigned long long)(value / units->factor), units->name);
}

void sw_format_size(uint64_t bytes, char ret[SW_UNIT_TEXT_MAX]) {
    format(bytes, bytes ? sizes : &sizes[4], ret);
}

void sw_format_duration(uint64_t us, char ret[SW_UNIT_TEXT_MAX]) {
    bool seconds = us < 300 * 1000000ull; /* below five minutes seconds read better: 60s, 90s */
    format(us, seconds ? &durations[2] : durations, ret);
}
