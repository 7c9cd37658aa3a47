/* Times for people, decimal numbers; see units.h. */
#include "cli/units.h"

#include "tensor/number.h"

void sw_format_latency(double ms, char ret[SW_UNIT_TEXT_MAX]) {
    bool micro = ms < 1, whole = ms >= 1000;
    double value = micro ? ms * 1e3 : whole ? ms / 1e3 : ms;
    int digits = value < 10 ? 2 : value < 100 ? 1 : 0;
    snprintf(ret, SW_UNIT_TEXT_MAX, "%.*f %s", digits, value, micro ? "us" : whole ? "s" : "ms");
}

bool sw_parse_decimal(const char *text, double *ret) {
    const char *end = text + strlen(text);
    double value;
    if (sw_parse_double(text, end, &value) != end) {
        return false;
    }
    *ret = value;
    return true;
}
