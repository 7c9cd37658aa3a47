#include "base/log.h"

#include <math.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum { LINE_MAX_BYTES = 8192 };

static atomic_int current_level = SW_LOG_INFO;
static atomic_int current_fd = STDERR_FILENO;
static atomic_ulong dropped_lines;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

bool sw_log_level_parse(struct sw_str name, enum sw_log_level *ret_level) {
    for (size_t i = 0; i < SW_COUNTOF(level_names); i++) {
        if (sw_str_ieq(name, sw_str_of(level_names[i]))) {
            *ret_level = (enum sw_log_level)i;
            return true;
        }
    }
    return false;
}

void sw_log_set_level(enum sw_log_level level) {
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum sw_log_level sw_log_get_level(void) {
    return (enum sw_log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

void sw_log_set_fd(int fd) {
    atomic_store_explicit(&current_fd, fd, memory_order_relaxed);
}

uint64_t sw_log_dropped(void) {
    return atomic_load_explicit(&dropped_lines, memory_order_relaxed);
}

static void append_field(struct sw_buf *line, const struct sw_log_field *f) {
    sw_buf_append_c(line, ',');
    sw_buf_append_json(line, sw_str_of(f->key));
    sw_buf_append_c(line, ':');
    switch (f->kind) {
    case SW_FIELD_STR: sw_buf_append_json(line, f->text); break;
    case SW_FIELD_INT: sw_buf_printf(line, "%lld", (long long)f->number); break;
    case SW_FIELD_BOOL: sw_buf_append_str(line, f->number ? SW_STR("true") : SW_STR("false")); break;
    case SW_FIELD_DOUBLE:
        if (isfinite(f->real)) {
            sw_buf_printf(line, "%.6g", f->real);
        } else {
            SW_LIT(line, "null");
        }
        break;
    }
}

void sw_log_write(enum sw_log_level level, const char *message, const struct sw_log_field *fields, size_t count) {
    char timestamp[SW_TIMESTAMP_MAX];
    struct sw_clock *clock = sw_clock_system();
    sw_format_timestamp(clock->wall_ms(clock), timestamp);
    struct sw_buf line;
    sw_buf_init(&line, LINE_MAX_BYTES);
    sw_buf_printf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":", timestamp, level_names[level]);
    sw_buf_append_json(&line, sw_str_of(message));
    for (size_t i = 0; i < count; i++) {
        append_field(&line, &fields[i]);
    }
    SW_LIT(&line, "}\n");
    int fd = atomic_load_explicit(&current_fd, memory_order_relaxed);
    if (line.failed || write(fd, line.data, line.len) != (ssize_t)line.len) {
        atomic_fetch_add_explicit(&dropped_lines, 1, memory_order_relaxed);
    }
    sw_buf_deinit(&line);
}
