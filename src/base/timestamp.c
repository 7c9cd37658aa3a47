/* Moments in text, RFC 3339. */
#include <time.h>

#include "base/clock.h"

enum { FRACTION_DIGITS_MAX = 32 };

/* What is still to be read. */
struct reader {
    const char *at, *end;
};

static bool next_is(const struct reader *r, char c) {
    return r->at < r->end && *r->at == c;
}

static bool next_is_digit(const struct reader *r) {
    return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

static bool expect(struct reader *r, char c) {
    bool found = next_is(r, c);
    r->at += found;
    return found;
}

static bool expect_any(struct reader *r, char a, char b, char c) {
    return expect(r, a) || expect(r, b) || expect(r, c);
}

static bool digits(struct reader *r, size_t count, int *ret) {
    int value = 0;
    for (size_t i = 0; i < count; i++, r->at++) {
        if (!next_is_digit(r)) {
            return false;
        }
        value = value * 10 + (*r->at - '0');
    }
    *ret = value;
    return true;
}

/* Fraction of a second to milliseconds; more digits are cut. */
static bool fraction(struct reader *r, int *ret_ms) {
    int ms = 0, scale = 100, count = 0;
    for (; next_is_digit(r) && count < FRACTION_DIGITS_MAX; r->at++, scale /= 10, count++) {
        ms += (*r->at - '0') * scale;
    }
    *ret_ms = ms;
    return count > 0;
}

/* "Z", "+02:00" */
static bool zone(struct reader *r, int *ret_minutes) {
    int hours, minutes;
    if (expect(r, 'Z') || expect(r, 'z')) {
        *ret_minutes = 0;
        return true;
    }
    bool is_west = next_is(r, '-');
    if (!expect_any(r, '+', '-', ' ') || !digits(r, 2, &hours) || !expect(r, ':') || !digits(r, 2, &minutes) ||
        hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
    return true;
}

static int days_of(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

static bool date(struct reader *r, struct tm *tm) {
    int year, month;
    if (!digits(r, 4, &year) || !expect(r, '-') || !digits(r, 2, &month) || !expect(r, '-') ||
        !digits(r, 2, &tm->tm_mday)) {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || tm->tm_mday < 1 || tm->tm_mday > days_of(year, month)) {
        return false;
    }
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    return true;
}

static bool time_of_day(struct reader *r, struct tm *tm, int *ret_ms) {
    *ret_ms = 0;
    if (!digits(r, 2, &tm->tm_hour) || !expect(r, ':') || !digits(r, 2, &tm->tm_min) || !expect(r, ':') ||
        !digits(r, 2, &tm->tm_sec) || (expect(r, '.') && !fraction(r, ret_ms))) {
        return false;
    }
    return tm->tm_hour <= 23 && tm->tm_min <= 59 && tm->tm_sec <= 60;
}

bool sw_parse_timestamp(struct sw_str text, uint64_t *ret_ms) {
    struct reader r = {text.data, text.data + text.len};
    struct tm tm = {0};
    int ms, offset;
    if (!date(&r, &tm) || !expect_any(&r, 'T', 't', ' ') || !time_of_day(&r, &tm, &ms) || !zone(&r, &offset) ||
        r.at != r.end) {
        return false;
    }
    int64_t seconds = timegm(&tm) - (int64_t)offset * 60;
    if (seconds < 0) {
        return false;
    }
    *ret_ms = (uint64_t)seconds * 1000 + (uint64_t)ms;
    return true;
}
