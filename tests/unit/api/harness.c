#include "harness.h"
#include "harness_registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/engine.h"

enum { PATHS = 8, ANSWERS = 4, ANSWER_MAX = 64 << 20 };

struct sw_repository *harness_repository;
struct sw_api *harness_api;
struct sw_scheduler *harness_scheduler;
struct sw_metrics *harness_metrics;
struct sw_cache *harness_cache;
struct sw_monitor *harness_monitor;

static struct sw_engine *engine;
static struct sw_http_server *server;
static char folder[64];
static struct sw_buf bodies[ANSWERS];
static size_t next_body;

static void must(sw_status status, const struct sw_error *err) {
    if (status) {
        fail_msg("%s: %s", sw_status_name(status), err->message);
    }
}

/* ---- files */

const char *harness_path(const char *name) {
    static char paths[PATHS][256];
    static size_t next;
    char *path = paths[next++ % PATHS];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void harness_write(const char *name, const char *text) {
    FILE *f = fopen(harness_path(name), "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void load(const char *name) {
    struct sw_error err;
    must(sw_repository_load_wait(harness_repository, sw_str_of(name), &err), &err);
}

static void add(const char *path, const char *name, bool and_load) {
    struct sw_error err;
    const char *known;
    must(sw_repository_add(harness_repository, path, &known, &err), &err);
    assert_string_equal(known, name);
    if (and_load) {
        load(name);
    }
}

void harness_model(const char *name, const char *text, bool and_load) {
    char file[128];
    snprintf(file, sizeof file, "%s.fake.json", name);
    harness_write(file, text);
    add(harness_path(file), name, and_load);
}

void harness_bundle(const char *name, const char *yaml, const char *text, bool and_load) {
    char file[128];
    assert_int_equal(mkdir(harness_path(name), 0755), 0);
    snprintf(file, sizeof file, "%s/bundle.yaml", name);
    harness_write(file, yaml);
    snprintf(file, sizeof file, "%s/model.fake.json", name);
    harness_write(file, text);
    add(harness_path(name), name, and_load);
}

/* ---- life */

static size_t waiting(void *arg) {
    return sw_scheduler_waiting(harness_scheduler);
}

static void create_monitor(const struct harness_options *o) {
    struct sw_rules rules;
    struct sw_error err;
    if (o->no_monitor) {
        return;
    }
    must(sw_rules_parse(o->rules, o->rules ? strlen(o->rules) : 0, &rules, &err), &err);
    struct sw_monitor_options options = {
        .clock = sw_clock_system(),
        .metrics = harness_metrics,
        .instance = "test",
        .external_url = "http://test",
        .memory_max = 16 << 20,
        .keep_points_ms = 3600 * 1000,
        .keep_alerts_ms = 3600 * 1000,
        .queue_depth = waiting,
    };
    harness_monitor = sw_monitor_create(&options, &rules);
    if (harness_registry) {
        sw_monitor_attach_store(harness_monitor, sw_registry_store(harness_registry));
    }
}

static void create_cache(const struct harness_options *o) {
    struct sw_error err;
    if (o->cache) {
        struct sw_cache_options options = *o->cache;
        options.clock = options.clock ? options.clock : sw_clock_system();
        must(sw_cache_create(&options, &harness_cache, &err), &err);
    }
}

void harness_start(const struct harness_options *options) {
    struct harness_options o = options ? *options : (struct harness_options){0};
    struct sw_error err;
    snprintf(folder, sizeof folder, "/tmp/slipway-api-XXXXXX");
    assert_non_null(mkdtemp(folder));
    sw_log_set_level(SW_LOG_OFF);
    must(sw_engine_fake_create(&engine, &err), &err);
    harness_metrics = sw_metrics_create();
    const struct sw_scheduler_options scheduler_options = {.workers = o.workers ? o.workers : 2,
                                                           .slow_ns = o.slow_ns ? o.slow_ns : 20000000,
                                                           .clock = sw_clock_system(),
                                                           .on_run = sw_api_on_run};
    must(sw_scheduler_create(&scheduler_options, &harness_scheduler, &err), &err);
    struct sw_model_options model = {
        .engines = &engine, .engine_count = 1, .default_threads = 1, .clock = sw_clock_system(), .trial = true};
    struct sw_executor *control = NULL;
    harness_registry_open(&o, folder, &model, &control);
    create_monitor(&o);
    create_cache(&o);
    struct sw_api_options api_options = {
        .monitor = harness_monitor,
        .metrics = harness_metrics,
        .scheduler = harness_scheduler,
        .scheduling = {.inline_ns_max = o.inline_ns_max ? o.inline_ns_max : UINT64_C(10000000000),
                       .slow_ns = scheduler_options.slow_ns,
                       .workers = scheduler_options.workers,
                       .max_delay_ns = 500000,
                       .queue_max = o.queue_max ? o.queue_max : 64,
                       .wait_ns_max = o.wait_ns_max},
        .cache = harness_cache,
        .clock = sw_clock_system(),
        .engine_version = "1",
        .access_log = SW_ACCESS_LOG_ALL,
        .registry = harness_registry,
        .registry_reason = o.registry_reason,
        .control = control,
    };
    must(sw_api_create(&api_options, &harness_api, &err), &err);
    struct sw_repository_options repository_options = {
        .model = model,
        .on_ready = sw_api_on_ready,
        .on_ready_arg = harness_api,
    };
    harness_registry_hooks(&repository_options);
    must(sw_repository_create(&repository_options, &harness_repository, &err), &err);
    sw_api_attach(harness_api, harness_repository);
    sw_api_attach_serving(harness_api, harness_registry_serve(&o, harness_repository));
    struct sw_http_options http_options = {
        .host = "127.0.0.1",
        .io_threads = 2,
        .connections_max = 100,
        .header_bytes_max = 16 << 10,
        .body_max = 16 << 20,
        .control_body_max = 64 << 10,
        .buffered_max = 64 << 20,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .idle_timeout_ms = 10000,
        .gzip_min = 1 << 30,
        .routes = o.routes ? o.routes : sw_api_routes,
        .route_count = o.routes ? o.route_count : sw_api_route_count,
        .app = harness_api,
        .on_done = sw_api_on_done,
        .clock = sw_clock_system(),
    };
    must(sw_http_server_start(&http_options, &server, &err), &err);
    sw_api_set_server(harness_api, server);
}

void harness_stop(void) {
    sw_api_set_server(harness_api, NULL);
    sw_http_server_destroy(server);
    harness_registry_stop_serving();
    sw_scheduler_stop(harness_scheduler);
    sw_repository_destroy(harness_repository);
    sw_api_destroy(harness_api);
    sw_cache_destroy(harness_cache);
    harness_cache = NULL;
    sw_scheduler_destroy(harness_scheduler);
    sw_monitor_destroy(harness_monitor);
    harness_monitor = NULL;
    harness_registry_close();
    sw_metrics_destroy(harness_metrics);
    sw_engine_destroy(engine);
    for (size_t i = 0; i < ANSWERS; i++) {
        sw_buf_deinit(&bodies[i]);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* ---- client */

static void write_all(int fd, const void *data, size_t len) {
    const char *p = data;
    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE) {
            return; /* refused early: the answer says why */
        }
        assert_true(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

int harness_begin(const char *method, const char *path, const char *headers, const void *body, size_t len) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(sw_http_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct sw_buf head;
    sw_buf_init(&head, 64 << 10);
    sw_buf_printf(&head, "%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s", method, path,
                  headers ? headers : "");
    if (body) {
        sw_buf_printf(&head, "Content-Length: %zu\r\n", len);
    }
    sw_buf_printf(&head, "\r\n");
    write_all(fd, head.data, head.len);
    write_all(fd, body, body ? len : 0);
    sw_buf_deinit(&head);
    return fd;
}

static void record(const char *method, const char *path, const struct answer *a) {
    const char *file = getenv("SW_API_RECORD");
    if (!file) {
        return;
    }
    const char *type = harness_header(a, "Content-Type");
    struct sw_buf line;
    sw_buf_init(&line, ANSWER_MAX);
    SW_LIT(&line, "{\"method\":");
    sw_buf_append_json(&line, sw_str_of(method));
    SW_LIT(&line, ",\"path\":");
    sw_buf_append_json(&line, sw_str_of(path));
    sw_buf_printf(&line, ",\"status\":%d,\"type\":", a->status);
    sw_buf_append_json(&line, sw_str_of(type ? type : ""));
    SW_LIT(&line, ",\"body\":");
    sw_buf_append_json(&line, (struct sw_str){a->body, a->body_len < 100000 ? a->body_len : 0});
    SW_LIT(&line, "}\n");
    FILE *f = fopen(file, "ae");
    assert_non_null(f);
    assert_int_equal(fwrite(line.data, 1, line.len, f), line.len);
    assert_int_equal(fclose(f), 0);
    sw_buf_deinit(&line);
}

struct answer harness_end(int fd, const char *method, const char *path) {
    struct sw_buf *all = &bodies[next_body++ % ANSWERS];
    sw_buf_deinit(all);
    sw_buf_init(all, ANSWER_MAX);
    char piece[16384];
    for (ssize_t n; (n = recv(fd, piece, sizeof piece, 0)) > 0;) {
        sw_buf_append(all, piece, (size_t)n);
    }
    close(fd);
    assert_true(all->len > 12 && !all->failed);
    struct answer a = {.head = all->data};
    char *end = memmem(all->data, all->len, "\r\n\r\n", 4);
    assert_non_null(end);
    end[2] = '\0';
    a.body = end + 4;
    a.body_len = all->len - (size_t)(a.body - all->data);
    assert_int_equal(sscanf(a.head, "HTTP/1.1 %d", &a.status), 1);
    record(method, path, &a);
    return a;
}

struct answer harness_send(const char *method, const char *path, const char *headers, const void *body, size_t len) {
    return harness_end(harness_begin(method, path, headers, body, len), method, path);
}

struct answer harness_get(const char *path) {
    return harness_send("GET", path, NULL, NULL, 0);
}

static struct answer send_json(const char *method, const char *path, const char *json) {
    return harness_send(method, path, "Content-Type: application/json\r\n", json, strlen(json));
}

struct answer harness_post(const char *path, const char *json) {
    return send_json("POST", path, json);
}

struct answer harness_put(const char *path, const char *json) {
    return send_json("PUT", path, json);
}

struct answer harness_patch(const char *path, const char *json) {
    return send_json("PATCH", path, json);
}

struct answer harness_delete(const char *path) {
    return harness_send("DELETE", path, NULL, NULL, 0);
}

json_t *harness_json(const struct answer *a) {
    json_error_t why;
    json_t *json = json_loadb(a->body, a->body_len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!json) {
        fail_msg("%s: %s", why.text, a->body);
    }
    return json;
}

const char *harness_header(const struct answer *a, const char *name) {
    static char value[512];
    size_t n = strlen(name);
    for (const char *line = strchr(a->head, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        if (strncasecmp(line + 1, name, n) == 0 && line[1 + n] == ':') {
            const char *from = line + 2 + n;
            from += strspn(from, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r"), from);
            return value;
        }
    }
    return NULL;
}

static struct answer send_expectation(const struct expectation *c) {
    if (!c->body) {
        return harness_get(c->path);
    }
    if (strncmp(c->body, "PUT ", 4) == 0) {
        return harness_put(c->path, c->body + 4);
    }
    if (strncmp(c->body, "PATCH ", 6) == 0) {
        return harness_patch(c->path, c->body + 6);
    }
    if (strncmp(c->body, "DELETE ", 7) == 0) {
        return send_json("DELETE", c->path, c->body + 7);
    }
    return strcmp(c->body, "DELETE") == 0 ? harness_delete(c->path) : harness_post(c->path, c->body);
}

void harness_expect(const struct expectation *cases, size_t count) {
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const struct expectation *c = &cases[i];
        struct answer a = send_expectation(c);
        if (a.status != c->status || (c->contains && !strstr(a.body, c->contains))) {
            print_error("%s %.300s\n  expected %d %s\n  got      %d %.300s\n", c->path, c->body ? c->body : "",
                        c->status, c->contains ? c->contains : "", a.status, a.body);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}
