/* JSON logs: one object a line on standard error (or the file given), written with one write(2).
 *
 * {"ts":"...","level":"info","msg":"model loaded","model":"digits","version":1,...}
 * Never bodies, never secrets. Any thread may log. The level can change while running (SIGHUP). When standard error
 * cannot take the line (a full pipe in non-blocking mode) it is dropped and counted. */
#ifndef SW_BASE_LOG_H
#define SW_BASE_LOG_H

#include "base/error.h"
#include "base/macros.h"
#include "base/str.h"

enum sw_log_level { SW_LOG_DEBUG, SW_LOG_INFO, SW_LOG_WARN, SW_LOG_ERROR, SW_LOG_OFF };

bool sw_log_level_parse(struct sw_str name, enum sw_log_level *ret_level); /* debug info warn error off */
void sw_log_set_level(enum sw_log_level level);
enum sw_log_level sw_log_get_level(void);
void sw_log_set_fd(int fd);
uint64_t sw_log_dropped(void);

/* One extra field of a line. Use the SW_F_ macros. */
struct sw_log_field {
    const char *key;
    enum { SW_FIELD_STR, SW_FIELD_INT, SW_FIELD_DOUBLE, SW_FIELD_BOOL } kind;
    struct sw_str text;
    int64_t number;
    double real;
};
#define SW_F_STR(k, v) ((struct sw_log_field){.key = (k), .kind = SW_FIELD_STR, .text = sw_str_of(v)})
#define SW_F_STRN(k, v) ((struct sw_log_field){.key = (k), .kind = SW_FIELD_STR, .text = (v)})
#define SW_F_INT(k, v) ((struct sw_log_field){.key = (k), .kind = SW_FIELD_INT, .number = (int64_t)(v)})
#define SW_F_DOUBLE(k, v) ((struct sw_log_field){.key = (k), .kind = SW_FIELD_DOUBLE, .real = (v)})
#define SW_F_BOOL(k, v) ((struct sw_log_field){.key = (k), .kind = SW_FIELD_BOOL, .number = (v)})

void sw_log_write(enum sw_log_level level, const char *message, const struct sw_log_field *fields, size_t count);

/* sw_log(SW_LOG_INFO, "model loaded", SW_F_STR("model", name), SW_F_INT("version", 1)); */
#define sw_log(level, message, ...)                                                               \
    do {                                                                                          \
        if ((level) >= sw_log_get_level()) {                                                      \
            const struct sw_log_field sw_log_fields_[] = {{0}, ##__VA_ARGS__};                    \
            sw_log_write((level), (message), sw_log_fields_ + 1, SW_COUNTOF(sw_log_fields_) - 1); \
        }                                                                                         \
    } while (0)

#endif
