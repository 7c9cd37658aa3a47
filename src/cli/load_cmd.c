/* slipway load: options into settings, the run, the report. The engine is src/load. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "cli/cli.h"
#include "cli/load_body.h"
#include "cli/load_print.h"
#include "cli/units.h"
#include "load/report.h"

static const double RATE_MIN = 1e-3, RATE_MAX = 1e7;
static const uint64_t DURATION_MAX_US = 86400ull * 1000000, TIMEOUT_MIN_US = 1000;

struct command {
    const struct sw_args *args;
    struct sw_load_url url;
    struct sw_load_header *headers;
    size_t header_count;
    const char *method; /* NULL: by the body */
    struct sw_load_bodies bodies;
    bool accepts[SW_LOAD_STATUS_COUNT];
    json_t *expected; /* --expect-status as given */
    struct sw_load_settings settings;
};

/* --- options ------------------------------------------------------------------------------------------------------ */

static sw_status read_duration(const struct sw_args *args, enum sw_option_id id, const char *name, uint64_t min_us,
                               uint64_t *ret_ns, struct sw_error *err) {
    const char *text = sw_args_text(args, id);
    uint64_t us;
    if (!sw_parse_duration(sw_str_of(text), &us) || us < min_us || us > DURATION_MAX_US) {
        return sw_fail(err, SW_E_USAGE, "--%s is '%s', but must be a duration such as 500ms, 30s or 5m%s, at most 24h",
                       name, text, min_us ? ", at least 1ms" : "");
    }
    *ret_ns = us * 1000;
    return SW_OK;
}

static sw_status read_rate(struct command *c, struct sw_error *err) {
    const char *text = sw_args_text(c->args, SW_OPTION_RATE), *arrivals = sw_args_text(c->args, SW_OPTION_ARRIVALS);
    if (!text) {
        return sw_args_has(c->args, SW_OPTION_ARRIVALS)
                   ? sw_fail(err, SW_E_USAGE, "--arrivals needs a --rate: in a closed loop the answers set the pace")
                   : SW_OK;
    }
    double rate;
    if (!sw_parse_decimal(text, &rate) || rate < RATE_MIN || rate > RATE_MAX) {
        return sw_fail(err, SW_E_USAGE, "--rate is '%s', but must be a number from 0.001 to 10000000", text);
    }
    c->settings.rate_per_s = rate;
    if (strcmp(arrivals, "constant") != 0 && strcmp(arrivals, "poisson") != 0) {
        return sw_fail(err, SW_E_USAGE, "--arrivals is '%s', but must be constant or poisson", arrivals);
    }
    c->settings.arrivals = arrivals[0] == 'p' ? SW_ARRIVALS_POISSON : SW_ARRIVALS_CONSTANT;
    return SW_OK;
}

/* "200", "4xx" */
static sw_status accept_status(struct command *c, const char *text, struct sw_error *err) {
    struct sw_str s = sw_str_of(text);
    uint64_t status;
    bool group = s.len == 3 && s.data[0] >= '1' && s.data[0] <= '5' && !strcasecmp(s.data + 1, "xx");
    if (group) {
        for (int i = 0; i < 100; i++) {
            c->accepts[(s.data[0] - '0') * 100 + i] = true;
        }
    } else if (sw_parse_u64(s, &status) && status >= 100 && status < SW_LOAD_STATUS_COUNT) {
        c->accepts[status] = true;
    } else {
        return sw_fail(err, SW_E_USAGE, "--expect-status is '%s', but must be a status such as 200, or 2xx", text);
    }
    json_array_append_new(c->expected, json_string(text));
    return SW_OK;
}

static sw_status read_repeated(struct command *c, struct sw_error *err) {
    const struct sw_args *args = c->args;
    c->headers = sw_xcalloc(args->given_count + 1, sizeof *c->headers);
    c->expected = json_array();
    for (size_t i = 0; i < args->given_count; i++) {
        const char *value = args->given[i].value;
        if (args->given[i].option->id == SW_OPTION_HEADER) {
            SW_TRY(sw_load_header_parse(sw_str_of(value), &c->headers[c->header_count], err));
            c->header_count++;
        } else if (args->given[i].option->id == SW_OPTION_EXPECT_STATUS) {
            SW_TRY(accept_status(c, value, err));
        }
    }
    if (json_array_size(c->expected) == 0) {
        SW_TRY(accept_status(c, "2xx", err));
        SW_TRY(accept_status(c, "3xx", err));
    }
    return SW_OK;
}

static sw_status read_order(struct command *c, struct sw_error *err) {
    const char *order = sw_args_text(c->args, SW_OPTION_ORDER);
    if (strcmp(order, "turn") != 0 && strcmp(order, "random") != 0) {
        return sw_fail(err, SW_E_USAGE, "--order is '%s', but must be turn or random", order);
    }
    c->settings.random_order = order[0] == 'r';
    return SW_OK;
}

static sw_status read_body_limit(struct command *c, struct sw_error *err) {
    const char *text = sw_args_text(c->args, SW_OPTION_MAX_BODY);
    if (!sw_parse_size(sw_str_of(text), &c->settings.body_max)) {
        return sw_fail(err, SW_E_USAGE, "--max-body is '%s', but must be a size such as 64MiB", text);
    }
    return SW_OK;
}

static sw_status read_content_type(struct command *c, const char **ret, struct sw_error *err) {
    struct sw_load_header header;
    const char *text = sw_args_text(c->args, SW_OPTION_CONTENT_TYPE);
    char line[512];
    if (text && (snprintf(line, sizeof line, "Content-Type: %s", text) >= (int)sizeof line ||
                 sw_load_header_parse(sw_str_of(line), &header, NULL) != SW_OK)) {
        return sw_fail(err, SW_E_USAGE, "--content-type is no value of a header");
    }
    *ret = text;
    return SW_OK;
}

static sw_status make_requests(struct command *c, struct sw_error *err) {
    struct sw_load_request_parts parts = {.url = &c->url, .headers = c->headers, .header_count = c->header_count};
    c->method = sw_args_text(c->args, SW_OPTION_METHOD);
    if (c->method) {
        SW_TRY(sw_load_method_check(sw_str_of(c->method), err));
        parts.method = c->method;
        c->settings.to_head = !strcmp(c->method, "HEAD");
    }
    SW_TRY(read_content_type(c, &parts.content_type, err));
    SW_TRY(sw_load_bodies_make(c->args, &parts, &c->bodies, err));
    c->settings.requests = c->bodies.requests;
    c->settings.request_count = c->bodies.count;
    return SW_OK;
}

static void choose_threads(struct command *c) {
    unsigned threads = (unsigned)sw_args_integer(c->args, SW_OPTION_THREADS);
    threads = threads ? threads : sw_cpu_count();
    threads = threads < SW_LOAD_THREADS_MAX ? threads : SW_LOAD_THREADS_MAX;
    c->settings.threads = threads < c->settings.connections ? threads : c->settings.connections;
}

static sw_status read_options(struct command *c, struct sw_error *err) {
    struct sw_load_settings *s = &c->settings;
    s->url = &c->url;
    s->accepts = c->accepts;
    s->connections = (unsigned)sw_args_integer(c->args, SW_OPTION_CONCURRENCY);
    s->requests_max = sw_args_integer(c->args, SW_OPTION_REQUESTS);
    s->seed = sw_args_integer(c->args, SW_OPTION_SEED);
    s->insecure_tls = sw_args_has(c->args, SW_OPTION_INSECURE_TLS);
    s->stop_fd = -1;
    SW_TRY(sw_load_url_parse(sw_str_of(c->args->positional[0]), &c->url, err));
    SW_TRY(read_duration(c->args, SW_OPTION_DURATION, "duration", TIMEOUT_MIN_US, &s->duration_ns, err));
    SW_TRY(read_duration(c->args, SW_OPTION_WARMUP, "warmup", 0, &s->warmup_ns, err));
    SW_TRY(read_duration(c->args, SW_OPTION_TIMEOUT, "timeout", TIMEOUT_MIN_US, &s->timeout_ns, err));
    SW_TRY(read_rate(c, err));
    SW_TRY(read_repeated(c, err));
    SW_TRY(read_order(c, err));
    SW_TRY(read_body_limit(c, err));
    SW_TRY(make_requests(c, err));
    choose_threads(c);
    return SW_OK;
}

/* --- settings as JSON --------------------------------------------------------------------------------------------- */

static json_t *headers_json(const struct command *c) {
    json_t *json = json_array();
    for (size_t i = 0; i < c->header_count; i++) {
        const struct sw_load_header *h = &c->headers[i];
        bool secret = sw_load_header_is_secret(h);
        json_t *value = secret ? json_string("***") : json_stringn(h->value.data, h->value.len);
        json_array_append_new(json, json_pack("{s:s%, s:o}", "name", h->name.data, h->name.len, "value",
                                              value ? value : json_string("?")));
    }
    return json;
}

static json_t *settings_json(const struct command *c) {
    const struct sw_load_settings *s = &c->settings;
    char url[SW_LOAD_URL_MAX + 16];
    bool body = json_array_size(c->bodies.files) > 0, open_loop = s->rate_per_s > 0;
    snprintf(url, sizeof url, "%s://%s%s", s->url->tls ? "https" : "http", s->url->authority, s->url->target);
    json_t *json = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:I}", "url", url, "method",
                             c->method ? c->method
                             : body    ? "POST"
                                       : "GET",
                             "loop", open_loop ? "open" : "closed", "duration_s", (double)s->duration_ns / 1e9,
                             "warmup_s", (double)s->warmup_ns / 1e9, "timeout_s", (double)s->timeout_ns / 1e9,
                             "concurrency", (json_int_t)s->connections, "threads", (json_int_t)s->threads);
    if (open_loop) {
        json_object_set_new(json, "rate_per_s", json_real(s->rate_per_s));
        json_object_set_new(json, "arrivals", json_string(sw_args_text(c->args, SW_OPTION_ARRIVALS)));
    }
    if (s->requests_max) {
        json_object_set_new(json, "requests", json_integer((json_int_t)s->requests_max));
    }
    json_t *rest = json_pack("{s:{s:I, s:I, s:O}, s:s, s:I, s:o, s:O, s:I, s:b}", "bodies", "count",
                             (json_int_t)(body ? c->bodies.count : 0), "bytes", (json_int_t)c->bodies.bytes, "files",
                             c->bodies.files, "order", s->random_order ? "random" : "turn", "seed", (json_int_t)s->seed,
                             "headers", headers_json(c), "expect_status", c->expected, "body_max",
                             (json_int_t)s->body_max, "insecure_tls", s->insecure_tls);
    json_object_update_new(json, rest);
    return json;
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

/* Ctrl-C ends the run and not the process: the report follows. */
static sw_status run_interruptible(struct command *c, struct sw_load_result *ret, struct sw_error *err) {
    struct sw_load_progress progress = {.settings = &c->settings};
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    c->settings.stop_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (c->settings.stop_fd < 0) {
        return sw_fail(err, SW_E_IO, "signalfd: %s", strerror(errno));
    }
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    c->settings.on_row = sw_load_progress_row;
    c->settings.on_row_arg = &progress;
    sw_status status = sw_load_run(&c->settings, ret, err);
    sw_load_progress_end(&progress);
    struct signalfd_siginfo seen;
    while (read(c->settings.stop_fd, &seen, sizeof seen) == sizeof seen) { /* or it would end the process below */
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(c->settings.stop_fd);
    return status;
}

/* Nobody answered anything: then there is no measurement, and the exit code says so. */
static sw_status check_answered(const struct sw_load_result *result, struct sw_error *err) {
    const struct sw_load_totals *t = result->totals;
    enum sw_load_outcome most = SW_LOAD_CONNECT;
    for (size_t i = 0; i < SW_LOAD_STATUS_COUNT; i++) {
        if (t->statuses[i]) {
            return SW_OK;
        }
    }
    if (sw_load_requests(t) == 0) {
        return sw_fail(err, SW_E_UNAVAILABLE, "no request ended in the measured time");
    }
    for (enum sw_load_outcome o = SW_LOAD_CONNECT; o < SW_LOAD_OUTCOME_COUNT; o++) {
        most = t->outcomes[o] > t->outcomes[most] ? o : most;
    }
    return sw_fail(err, SW_E_UNAVAILABLE, "no request was answered: %s: %s", sw_load_outcome_name(most),
                   t->reasons[most]);
}

static sw_status report(const struct command *c, const struct sw_load_result *result, struct sw_error *err) {
    const char *output = sw_args_text(c->args, SW_OPTION_OUTPUT);
    json_t *json = sw_report_load(result, c->settings.rate_per_s > 0, settings_json(c));
    sw_status status = output ? sw_cli_write_json(output, json, err) : SW_OK;
    if (sw_args_has(c->args, SW_OPTION_JSON)) {
        sw_cli_print_json(stdout, json);
    } else {
        sw_load_print(&c->settings, result);
    }
    json_decref(json);
    return status ? status : check_answered(result, err);
}

static sw_status run_and_report(struct command *c, struct sw_error *err) {
    struct sw_load_result result;
    const char *output = sw_args_text(c->args, SW_OPTION_OUTPUT);
    SW_TRY(output ? sw_cli_check_output(output, err) : SW_OK);
    SW_TRY(run_interruptible(c, &result, err));
    sw_status status = report(c, &result, err);
    sw_load_result_deinit(&result);
    return status;
}

int sw_run_load(const struct sw_args *args) {
    struct sw_error err;
    struct command *c = SW_NEW(struct command);
    c->args = args;
    sw_status status = read_options(c, &err);
    if (!status) {
        status = run_and_report(c, &err);
    }
    sw_load_bodies_deinit(&c->bodies);
    sw_load_url_deinit(&c->url);
    json_decref(c->expected);
    sw_free(c->headers);
    sw_free(c);
    return status ? sw_cli_fail(args, &err) : SW_EXIT_DONE;
}
