/* Moments; see when.h. Days of a date are counted as in H. Hinnant, "chrono-compatible low-level date algorithms". */
#include "cli/when.h"

#include "base/units.h"

enum { DAY_MS = 86400000 };

/* `digits` decimal digits at *at, between min and max; moves *at. */
static bool take_number(struct sw_str text, size_t *at, size_t digits, unsigned min, unsigned max, unsigned *ret) {
    unsigned value = 0;
    if (text.len < *at + digits) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        char c = text.data[(*at)++];
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(c - '0');
    }
    *ret = value;
    return value >= min && value <= max;
}

static bool take_sign(struct sw_str text, size_t *at, char sign) {
    return *at < text.len && text.data[(*at)++] == sign;
}

static unsigned days_in(unsigned year, unsigned month) {
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days from 1970-01-01. */
static uint64_t day_number(unsigned year, unsigned month, unsigned day) {
    year -= month <= 2; /* years begin in March */
    unsigned era = year / 400, of_era = year % 400;
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return (uint64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool parse_date(struct sw_str text, size_t *at, uint64_t *ret_ms) {
    unsigned year, month, day;
    if (!take_number(text, at, 4, 1970, 9999, &year) || !take_sign(text, at, '-') ||
        !take_number(text, at, 2, 1, 12, &month) || !take_sign(text, at, '-') ||
        !take_number(text, at, 2, 1, days_in(year, month), &day)) {
        return false;
    }
    *ret_ms = day_number(year, month, day) * DAY_MS;
    return true;
}

/* "T14:00", "T14:00:00", with or without ".123" and "Z". */
static bool parse_time(struct sw_str text, size_t *at, uint64_t *ret_ms) {
    unsigned hour, minute, second = 0, milli = 0;
    if (!take_number(text, at, 2, 0, 23, &hour) || !take_sign(text, at, ':') ||
        !take_number(text, at, 2, 0, 59, &minute)) {
        return false;
    }
    if (*at < text.len && text.data[*at] == ':' && (++*at, !take_number(text, at, 2, 0, 59, &second))) {
        return false;
    }
    if (*at < text.len && text.data[*at] == '.' && (++*at, !take_number(text, at, 3, 0, 999, &milli))) {
        return false;
    }
    *ret_ms = ((hour * 60 + minute) * 60 + second) * 1000ull + milli;
    return true;
}

static bool parse_ago(struct sw_str text, uint64_t now_ms, uint64_t *ret_ms) {
    uint64_t us, ago_ms;
    if (text.len > 1 && text.data[text.len - 1] == 'd') {
        uint64_t days;
        if (!sw_parse_u64((struct sw_str){text.data, text.len - 1}, &days) || days > 100000) {
            return false;
        }
        ago_ms = days * DAY_MS;
    } else if (sw_parse_duration(text, &us)) {
        ago_ms = us / 1000;
    } else {
        return false;
    }
    *ret_ms = ago_ms < now_ms ? now_ms - ago_ms : 0;
    return true;
}

bool sw_parse_when(struct sw_str text, uint64_t now_ms, uint64_t *ret_ms) {
    size_t at = 0;
    uint64_t date_ms, time_ms = 0;
    if (!parse_date(text, &at, &date_ms)) {
        return parse_ago(text, now_ms, ret_ms);
    }
    if (at < text.len && (text.data[at] == 'T' || text.data[at] == ' ')) {
        at++;
        if (!parse_time(text, &at, &time_ms)) {
            return false;
        }
        at += at < text.len && text.data[at] == 'Z';
    }
    if (at != text.len) {
        return false;
    }
    *ret_ms = date_ms + time_ms;
    return true;
}
