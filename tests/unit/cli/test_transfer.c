/* The HTTP client, uploads that go on after a broken connection, downloads that are verified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/client.h"
#include "cli/download.h"
#include "cli/package.h"
#include "cli/upload.h"
#include "cli/upload_state.h"
#include "script_server.h"

#define ID "0123456789abcdef0123456789abcdef"
#define OTHER_ID "fedcba9876543210fedcba9876543210"
#define HEAD(status) "HTTP/1.1 " status "\r\nConnection: close\r\nContent-Type: application/json\r\n"
#define JSON(status, text) \
    { HEAD(status) "\r\n" text, 0, -1 }
#define CUT(bytes) \
    { NULL, 0, bytes }

enum { FILE_BYTES = 3 << 20 };

static char folder[64];
static uint64_t slept_ms;
static size_t sleeps;

static void note_sleep(uint64_t ms) {
    slept_ms += ms;
    sleeps++;
}

static int make_folder(void **state) {
    snprintf(folder, sizeof folder, "/tmp/slipway-test-transfer-XXXXXX");
    slept_ms = 0;
    sleeps = 0;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static struct sw_client *client_of(const struct script_server *server) {
    struct sw_client_options options;
    struct sw_client *client;
    struct sw_error err;
    sw_client_options_default(&options);
    options.server = server->url;
    options.api_key = "secret-key";
    options.actor = "tester";
    if (sw_client_create(&options, &client, &err)) {
        fail_msg("%s", err.message);
    }
    return client;
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) {
        fail_msg("'%s' does not contain '%s'", text, part);
    }
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static void calls_carry_who_asks(void **state) {
    static const struct script_step steps[] = {JSON("200 OK", "{\"a\":1}"), {HEAD("204 No Content") "\r\n", 0, -1}};
    struct script_server server;
    struct sw_answer answer = {0};
    struct sw_error err;
    script_server_start(&server, steps, SW_COUNTOF(steps));
    struct sw_client *client = client_of(&server);
    json_t *body = json_pack("{s:s}", "x", "y");
    assert_int_equal(sw_client_call(client, "PATCH", "/api/v1/models/a%20b", body, &answer, &err), SW_OK);
    assert_int_equal(json_integer_value(json_object_get(answer.json, "a")), 1);
    assert_int_equal(sw_client_call(client, "DELETE", "/x", NULL, &answer, &err), SW_OK);
    assert_null(answer.json);
    assert_int_equal(answer.status, 204);
    script_server_stop(&server);
    assert_has(server.requests[0].head, "PATCH /api/v1/models/a%20b HTTP/1.1\r\n");
    assert_has(server.requests[0].head, "Authorization: Bearer secret-key\r\n");
    assert_has(server.requests[0].head, "X-Slipway-Actor: tester\r\n");
    assert_has(server.requests[0].head, "Content-Type: application/json\r\n");
    assert_string_equal(server.requests[0].body.data, "{\"x\":\"y\"}");
    assert_has(server.requests[1].head, "DELETE /x HTTP/1.1\r\n");
    json_decref(body);
    sw_answer_deinit(&answer);
    sw_client_destroy(client);
    script_server_deinit(&server);
}

static void errors_come_in_the_servers_words(void **state) {
    static const struct {
        struct script_step step;
        sw_status status;
        bool may_pass;
        const char *message;
    } cases[] = {
        {JSON("409 Conflict", "{\"error\":{\"code\":\"gate_failed\",\"message\":\"gate latency failed\","
                              "\"details\":{\"gates\":[1]},\"request_id\":\"r-1\"}}"),
         SW_E_GATE_FAILED, false, "gate latency failed (request r-1)"},
        {JSON("503 Service Unavailable", "{\"error\":{\"code\":\"unavailable\",\"message\":\"store is away\"}}"),
         SW_E_UNAVAILABLE, true, "store is away"},
        {JSON("404 Not Found", "{\"error\":\"no such model\"}"), SW_E_NOT_FOUND, false, "no such model"},
        {JSON("502 Bad Gateway", "<html>proxy</html>"), SW_E_UNAVAILABLE, true,
         "answered 502, not as Slipway does: <html>"},
        {JSON("301 Moved Permanently", ""), SW_E_IO, false, "answered 301"},
        {JSON("200 OK", "<html>"), SW_E_IO, false, "is it a Slipway server?"},
        {JSON("418 Teapot", "{\"error\":{\"code\":\"brand_new\",\"message\":\"x\"}}"), SW_E_IO, false, "x"},
        {CUT(0), SW_E_UNAVAILABLE, true, "127.0.0.1"},
        {{HEAD("200 OK") "Content-Length: 50\r\n\r\n{\"a\":", 0, -1}, SW_E_UNAVAILABLE, true, "127.0.0.1"},
    };
    for (size_t i = 0; i < SW_COUNTOF(cases); i++) {
        struct script_server server;
        struct sw_answer answer = {0};
        struct sw_error err;
        script_server_start(&server, &cases[i].step, 1);
        struct sw_client *client = client_of(&server);
        assert_int_equal(sw_client_call(client, "GET", "/x", NULL, &answer, &err), cases[i].status);
        assert_has(err.message, cases[i].message);
        assert_int_equal(answer.may_pass, cases[i].may_pass);
        script_server_stop(&server);
        sw_answer_deinit(&answer);
        sw_client_destroy(client);
        script_server_deinit(&server);
    }
}

static void details_are_at_hand(void **state) {
    static const struct script_step steps[] = {
        {HEAD("503 Service Unavailable") "Retry-After: 7\r\n\r\n{\"error\":{\"code\":\"unavailable\",\"message\":\"m\","
                                         "\"details\":{\"offset\":12}}}",
         0, -1}};
    struct script_server server;
    struct sw_answer answer = {0};
    struct sw_error err;
    script_server_start(&server, steps, 1);
    struct sw_client *client = client_of(&server);
    assert_int_equal(sw_client_call(client, "GET", "/x", NULL, &answer, &err), SW_E_UNAVAILABLE);
    assert_int_equal(json_integer_value(sw_answer_detail(&answer, "offset")), 12);
    assert_null(sw_answer_detail(&answer, "other"));
    assert_int_equal(answer.retry_after_s, 7);
    script_server_stop(&server);
    sw_answer_deinit(&answer);
    sw_client_destroy(client);
    script_server_deinit(&server);
}

static void an_answer_has_a_limit(void **state) {
    size_t length = SW_CLIENT_ANSWER_MAX + 100;
    char *text = sw_xmalloc(length + 200);
    int head = snprintf(text, 200, "%s", HEAD("200 OK") "\r\n");
    memset(text + head, ' ', length);
    struct script_step step = {text, (size_t)head + length, -1};
    struct script_server server;
    struct sw_answer answer = {0};
    struct sw_error err;
    script_server_start(&server, &step, 1);
    struct sw_client *client = client_of(&server);
    assert_int_equal(sw_client_call(client, "GET", "/x", NULL, &answer, &err), SW_E_TOO_LARGE);
    assert_false(answer.may_pass);
    script_server_stop(&server);
    sw_answer_deinit(&answer);
    sw_client_destroy(client);
    script_server_deinit(&server);
    sw_free(text);
}

static void addresses_are_checked(void **state) {
    static const struct {
        const char *given, *server;
        bool is_private;
    } good[] = {
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080", true},
        {"http://127.0.0.1:8080///", "http://127.0.0.1:8080", true},
        {"127.0.0.1:9", "http://127.0.0.1:9", true},
        {"localhost:9000", "http://localhost:9000", true},
        {"http://[::1]:80/slipway/", "http://[::1]:80/slipway", true},
        {"https://models.example", "https://models.example", true},
        {"http://models.example:81", "http://models.example:81", false},
    };
    static const char *const bad[] = {
        "",           "ftp://127.0.0.1",      "file:///etc/passwd", "http://user:pw@127.0.0.1",
        "http://",    "http://127.0.0.1?a=b", "http://a b",         "http://127.0.0.1:99999",
        "http://\x01"};
    struct sw_client_options options;
    struct sw_client *client;
    struct sw_error err;
    sw_client_options_default(&options);
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        options.server = good[i].given;
        if (sw_client_create(&options, &client, &err)) {
            fail_msg("%s: %s", good[i].given, err.message);
        }
        assert_string_equal(sw_client_server(client), good[i].server);
        assert_int_equal(sw_client_is_private(client), good[i].is_private);
        sw_client_destroy(client);
    }
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        options.server = bad[i];
        if (sw_client_create(&options, &client, &err) != SW_E_USAGE) {
            fail_msg("%s was taken", bad[i]);
        }
        assert_null(strstr(err.message, "pw"));
    }
    options.server = "http://127.0.0.1";
    options.api_key = "a\r\nX: y";
    assert_int_equal(sw_client_create(&options, &client, &err), SW_E_USAGE);
}

static void nobody_listens(void **state) {
    struct script_server server;
    struct sw_answer answer = {0};
    struct sw_error err;
    script_server_start(&server, NULL, 0); /* a port that was free a moment ago */
    struct sw_client *client = client_of(&server);
    script_server_stop(&server);
    assert_int_equal(sw_client_call(client, "GET", "/x", NULL, &answer, &err), SW_E_UNAVAILABLE);
    assert_has(err.message, "cannot reach http://127.0.0.1:");
    assert_has(err.message, "--server");
    assert_true(answer.may_pass);
    sw_answer_deinit(&answer);
    sw_client_destroy(client);
    script_server_deinit(&server);
}

static void segments_are_escaped(void **state) {
    char *path = sw_url_path("/api/v1/models", "a-b._~", "x/y z?%\xc3\xa4", NULL);
    assert_string_equal(path, "/api/v1/models/a-b._~/x%2Fy%20z%3F%25%C3%A4");
    sw_free(path);
}

/* --- uploads ----------------------------------------------------------------------------------------------------- */

/* A file with bytes that differ everywhere. */
static void make_file(struct sw_package *package, const char *name, size_t size) {
    char path[128];
    struct sw_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; i < size / 4; i++) {
        uint32_t word = (uint32_t)(i * 2654435761u);
        assert_int_equal(fwrite(&word, 4, 1, file), 1);
    }
    assert_int_equal(fclose(file), 0);
    if (sw_package_open(path, package, &err) || sw_package_hash(package, NULL, NULL, &err)) {
        fail_msg("%s", err.message);
    }
}

struct fixture {
    struct sw_package package;
    struct script_server server;
    struct sw_client *client;
    struct sw_progress progress;
    struct sw_sender sender;
    char states[128];
    char id[SW_UPLOAD_ID + 1];
    struct sw_error err;
};

static void begin(struct fixture *f, const struct script_step *steps, size_t count) {
    *f = (struct fixture){0};
    make_file(&f->package, "model.tar", FILE_BYTES);
    snprintf(f->states, sizeof f->states, "%s/state/uploads", folder);
    script_server_start(&f->server, steps, count);
    f->client = client_of(&f->server);
    sw_progress_begin(&f->progress, NULL, "model", FILE_BYTES, sw_clock_system());
    f->sender = (struct sw_sender){
        .client = f->client, .state_folder = f->states, .progress = &f->progress, .sleep_ms = note_sleep};
}

static void end(struct fixture *f) {
    sw_client_destroy(f->client);
    script_server_deinit(&f->server);
    sw_package_deinit(&f->package);
}

static bool state_known(struct fixture *f, bool is_archive, char id[SW_UPLOAD_ID + 1]) {
    struct sw_upload_key key = {f->server.url, is_archive, &f->package.files[0].digest};
    return sw_upload_state_get(f->states, &key, id);
}

static void what_the_server_has_is_not_sent(void **state) {
    static const struct script_step steps[] = {JSON("200 OK", "{\"complete\":true,\"sha256\":\"x\",\"size\":3145728}")};
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_has(f.server.requests[0].head, "POST /api/v1/uploads HTTP/1.1\r\n");
    assert_has(f.server.requests[0].body.data, f.package.files[0].digest.hex);
    assert_int_equal(f.sender.sent, 0);
    assert_int_equal(f.sender.files_sent, 0);
    assert_int_equal(f.progress.done, FILE_BYTES);
    assert_int_equal(f.progress.skipped, FILE_BYTES);
    assert_string_equal(f.id, "");
    end(&f);
}

static void a_whole_file_is_sent(void **state) {
    static const struct script_step steps[] = {
        JSON("201 Created", "{\"id\":\"" ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        JSON("200 OK", "{\"id\":\"" ID "\",\"offset\":3145728,\"size\":3145728,\"complete\":true,\"sha256\":\"x\"}"),
    };
    struct fixture f;
    char id[SW_UPLOAD_ID + 1];
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_has(f.server.requests[1].head, "PUT /api/v1/uploads/" ID "?offset=0 HTTP/1.1\r\n");
    assert_int_equal(f.server.requests[1].body.len, FILE_BYTES);
    assert_int_equal(f.sender.sent, FILE_BYTES);
    assert_int_equal(f.sender.files_sent, 1);
    assert_false(state_known(&f, false, id));
    end(&f);
}

/* The connection breaks after a part; the server has 1 MiB of it; the rest follows from there. */
static void a_broken_connection_goes_on(void **state) {
    static const struct script_step steps[] = {
        JSON("201 Created", "{\"id\":\"" ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        CUT(1500000),
        JSON("200 OK", "{\"id\":\"" ID "\",\"offset\":1048576,\"size\":3145728,\"complete\":false}"),
        JSON("200 OK", "{\"complete\":true}"),
    };
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_has(f.server.requests[2].head, "GET /api/v1/uploads/" ID " HTTP/1.1\r\n");
    assert_has(f.server.requests[3].head, "PUT /api/v1/uploads/" ID "?offset=1048576 HTTP/1.1\r\n");
    assert_int_equal(f.server.requests[3].body.len, FILE_BYTES - 1048576);
    struct sw_buf file;
    assert_int_equal(sw_file_read(f.package.files[0].local, FILE_BYTES, &file, &f.err), SW_OK);
    assert_memory_equal(f.server.requests[3].body.data, file.data + 1048576, FILE_BYTES - 1048576);
    assert_int_equal(sleeps, 1);
    sw_buf_deinit(&file);
    end(&f);
}

/* What an earlier run of the command left: its id is known, the server is asked where it is. */
static void an_earlier_push_goes_on(void **state) {
    static const struct script_step steps[] = {
        JSON("200 OK", "{\"id\":\"" ID "\",\"offset\":3000000,\"size\":3145728,\"complete\":false}"),
        JSON("200 OK", "{\"complete\":true}"),
    };
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    struct sw_upload_key key = {f.server.url, false, &f.package.files[0].digest};
    assert_int_equal(sw_upload_state_put(f.states, &key, ID, &f.err), SW_OK);
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_has(f.server.requests[1].head, "PUT /api/v1/uploads/" ID "?offset=3000000 ");
    assert_int_equal(f.sender.sent, FILE_BYTES - 3000000);
    assert_int_equal(f.progress.skipped, 3000000);
    end(&f);
}

static void a_swept_upload_begins_anew(void **state) {
    static const struct script_step steps[] = {
        JSON("404 Not Found", "{\"error\":{\"code\":\"not_found\",\"message\":\"no such upload\"}}"),
        JSON("201 Created", "{\"id\":\"" OTHER_ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        JSON("200 OK", "{\"complete\":true}"),
    };
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    struct sw_upload_key key = {f.server.url, false, &f.package.files[0].digest};
    assert_int_equal(sw_upload_state_put(f.states, &key, ID, &f.err), SW_OK);
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_has(f.server.requests[2].head, "PUT /api/v1/uploads/" OTHER_ID "?offset=0 ");
    assert_int_equal(sleeps, 0);
    end(&f);
}

/* 409: the server still holds the upload of the broken connection, or is elsewhere. It is asked again. */
static void another_offset_is_followed(void **state) {
    static const struct script_step steps[] = {
        JSON("201 Created", "{\"id\":\"" ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        JSON("409 Conflict",
             "{\"error\":{\"code\":\"conflict\",\"message\":\"offset\",\"details\":{\"offset\":2000000}}}"),
        JSON("200 OK", "{\"id\":\"" ID "\",\"offset\":2000000,\"size\":3145728,\"complete\":false}"),
        JSON("200 OK", "{\"complete\":true}"),
    };
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_has(f.server.requests[3].head, "?offset=2000000 ");
    end(&f);
}

static void attempts_without_progress_end(void **state) {
    static const struct script_step busy = JSON("503 Service Unavailable",
                                                "{\"error\":{\"code\":\"unavailable\",\"message\":\"store is away\"}}");
    struct script_step steps[SW_UPLOAD_ATTEMPTS];
    for (size_t i = 0; i < SW_COUNTOF(steps); i++) {
        steps[i] = busy;
    }
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_E_UNAVAILABLE);
    script_server_stop(&f.server);
    assert_has(f.err.message, "store is away");
    assert_has(f.err.message, "model.tar");
    assert_int_equal(f.server.request_count, SW_UPLOAD_ATTEMPTS);
    assert_int_equal(sleeps, SW_UPLOAD_ATTEMPTS - 1);
    assert_int_equal(slept_ms, 500 + 1000 + 2000 + 4000 + 8000);
    end(&f);
}

static void a_server_that_never_answered_is_not_asked_twice(void **state) {
    static const struct script_step steps[] = {CUT(0)};
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_E_UNAVAILABLE);
    script_server_stop(&f.server);
    assert_int_equal(sleeps, 0);
    end(&f);
}

static void refusals_are_not_repeated(void **state) {
    static const struct script_step steps[] = {
        JSON("413 Too Large", "{\"error\":{\"code\":\"too_large\",\"message\":\"artifacts.max_upload\"}}")};
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_E_TOO_LARGE);
    script_server_stop(&f.server);
    assert_int_equal(sleeps, 0);
    end(&f);
}

static void a_refusal_in_the_middle_is_heard(void **state) {
    static const struct script_step steps[] = {
        JSON("201 Created", "{\"id\":\"" ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        {HEAD("507 Insufficient Storage") "\r\n{\"error\":{\"code\":\"insufficient_storage\","
                                          "\"message\":\"disk full\"}}",
         0, 100000},
    };
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_E_INSUFFICIENT_STORAGE);
    script_server_stop(&f.server);
    assert_has(f.err.message, "disk full");
    end(&f);
}

static void an_archive_is_not_committed(void **state) {
    static const struct script_step steps[] = {
        JSON("201 Created", "{\"id\":\"" ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        JSON("200 OK", "{\"id\":\"" ID "\",\"offset\":3145728,\"size\":3145728,\"complete\":false}"),
    };
    struct fixture f;
    char id[SW_UPLOAD_ID + 1];
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], true, f.id, &f.err), SW_OK);
    script_server_stop(&f.server);
    assert_null(strstr(f.server.requests[0].body.data, "sha256"));
    assert_has(f.server.requests[1].head, "&commit=false ");
    assert_string_equal(f.id, ID);
    assert_true(state_known(&f, true, id)); /* until the version is made of it */
    assert_string_equal(id, ID);
    assert_false(state_known(&f, false, id));
    end(&f);
}

static void a_file_that_shrinks_is_noticed(void **state) {
    static const struct script_step steps[] = {
        JSON("201 Created", "{\"id\":\"" ID "\",\"offset\":0,\"size\":3145728,\"complete\":false}"),
        CUT(FILE_BYTES),
    };
    struct fixture f;
    begin(&f, steps, SW_COUNTOF(steps));
    assert_int_equal(truncate(f.package.files[0].local, FILE_BYTES / 2), 0);
    assert_int_equal(sw_send_file(&f.sender, &f.package.files[0], false, f.id, &f.err), SW_E_IO);
    assert_has(f.err.message, "became shorter");
    script_server_stop(&f.server);
    assert_int_equal(sleeps, 0);
    end(&f);
}

static void waits_double_and_obey(void **state) {
    assert_int_equal(sw_retry_wait_ms(1, 0), 500);
    assert_int_equal(sw_retry_wait_ms(2, 0), 1000);
    assert_int_equal(sw_retry_wait_ms(5, 0), 8000);
    assert_int_equal(sw_retry_wait_ms(100, 0), 8000);
    assert_int_equal(sw_retry_wait_ms(1, 3), 3000);
    assert_int_equal(sw_retry_wait_ms(1, UINT64_MAX), 30000);
}

/* --- the memory of uploads --------------------------------------------------------------------------------------- */

static void states_are_kept_apart(void **state) {
    struct sw_digest one = {"1"}, two = {"2"};
    struct sw_upload_key keys[] = {
        {"http://a", false, &one}, {"http://a", true, &one}, {"http://b", false, &one}, {"http://a", false, &two}};
    char path[128], id[SW_UPLOAD_ID + 1], wanted[SW_UPLOAD_ID + 1];
    struct sw_error err;
    struct stat info;
    snprintf(path, sizeof path, "%s/a/b/c", folder);
    assert_false(sw_upload_state_get(path, &keys[0], id));
    for (unsigned i = 0; i < SW_COUNTOF(keys); i++) {
        snprintf(wanted, sizeof wanted, "%032x", i + 1);
        assert_int_equal(sw_upload_state_put(path, &keys[i], wanted, &err), SW_OK);
    }
    for (unsigned i = 0; i < SW_COUNTOF(keys); i++) {
        snprintf(wanted, sizeof wanted, "%032x", i + 1);
        assert_true(sw_upload_state_get(path, &keys[i], id));
        assert_string_equal(id, wanted);
    }
    assert_int_equal(sw_upload_state_put(path, &keys[0], ID, &err), SW_OK); /* replaced */
    assert_true(sw_upload_state_get(path, &keys[0], id));
    assert_string_equal(id, ID);
    sw_upload_state_remove(path, &keys[0]);
    assert_false(sw_upload_state_get(path, &keys[0], id));
    assert_true(sw_upload_state_get(path, &keys[1], id));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
}

static void damaged_states_are_ignored(void **state) {
    struct sw_digest digest = {"1"};
    struct sw_upload_key key = {"http://a", false, &digest};
    char id[SW_UPLOAD_ID + 1], command[300];
    struct sw_error err;
    static const char *const texts[] = {"", "short", "0123456789abcdef0123456789abcdeg",
                                        "../../../../../../../../../etc/x"};
    for (size_t i = 0; i < SW_COUNTOF(texts); i++) {
        assert_int_equal(sw_upload_state_put(folder, &key, ID, &err), SW_OK);
        snprintf(command, sizeof command, "for f in '%s'/*; do printf '%%s' '%s' > \"$f\"; done", folder, texts[i]);
        assert_int_equal(system(command), 0);
        assert_false(sw_upload_state_get(folder, &key, id));
    }
    snprintf(command, sizeof command, "touch -d '8 days ago' '%s'/*", folder);
    assert_int_equal(system(command), 0);
    struct sw_digest other = {"2"};
    struct sw_upload_key second = {"http://a", false, &other};
    assert_int_equal(sw_upload_state_put(folder, &second, ID, &err), SW_OK); /* removes what is old */
    snprintf(command, sizeof command, "test \"$(ls '%s' | wc -l)\" = 1", folder);
    assert_int_equal(system(command), 0);
}

/* --- downloads --------------------------------------------------------------------------------------------------- */

static const char hello[] = "hello, world";
static const char hello_digest[] = "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b";
#define HELLO "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\nhello, world"

/* Receives PATH with the server's steps; the error in *err. */
static sw_status receive(const struct script_step *steps, size_t count, const char *path, bool force,
                         struct script_server *server, struct sw_receiver *receiver, struct sw_error *err) {
    struct sw_digest digest;
    struct sw_progress progress;
    script_server_start(server, steps, count);
    struct sw_client *client = client_of(server);
    sw_progress_begin(&progress, NULL, "x", 12, sw_clock_system());
    assert_true(sw_digest_parse(sw_str_of(hello_digest), &digest));
    *receiver = (struct sw_receiver){.client = client, .force = force, .progress = &progress, .sleep_ms = note_sleep};
    assert_int_equal(sw_receiver_open_folder(folder, &receiver->dir, err), SW_OK);
    sw_status status = sw_receive_file(receiver, "/files/x", path, strlen(hello), &digest, err);
    close(receiver->dir);
    script_server_stop(server);
    sw_client_destroy(client);
    return status;
}

static void assert_file(const char *name, const char *content) {
    char path[256];
    struct sw_buf text;
    struct sw_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (sw_file_read(path, 1000, &text, &err)) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(text.len ? text.data : "", content);
    sw_buf_deinit(&text);
}

static void write_file(const char *name, const char *content) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

/* Nothing but what was there before. */
static void assert_entries(int count) {
    char command[200];
    snprintf(command, sizeof command, "test \"$(find '%s' -type f | wc -l)\" = %d", folder, count);
    assert_int_equal(system(command), 0);
}

static void a_file_is_received(void **state) {
    static const struct script_step steps[] = {{HELLO, 0, -1}};
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    assert_int_equal(receive(steps, 1, "a/b/x.onnx", false, &server, &receiver, &err), SW_OK);
    assert_file("a/b/x.onnx", hello);
    assert_entries(1);
    assert_int_equal(receiver.received, 12);
    script_server_deinit(&server);
    assert_int_equal(receive(NULL, 0, "a/b/x.onnx", false, &server, &receiver, &err), SW_OK); /* it is there */
    assert_int_equal(receiver.received, 0);
    assert_int_equal(receiver.done, 12);
    script_server_deinit(&server);
}

static void a_download_goes_on(void **state) {
    static const struct script_step steps[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\nhello", 0, -1},
        {"HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Length: 7\r\n"
         "Content-Range: bytes 5-11/12\r\n\r\n"
         ", world",
         0, -1},
    };
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    assert_int_equal(receive(steps, 2, "x", false, &server, &receiver, &err), SW_OK);
    assert_has(server.requests[1].head, "Range: bytes=5-\r\n");
    assert_file("x", hello);
    assert_int_equal(sleeps, 1);
    script_server_deinit(&server);
}

/* A part of an earlier pull is hashed and gone on with; a server that does not do ranges sends all. */
static void an_earlier_pull_goes_on(void **state) {
    static const struct script_step ranges[] = {
        {"HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Length: 2\r\n"
         "Content-Range: bytes 10-11/12\r\n\r\nld",
         0, -1}};
    static const struct script_step whole[] = {{HELLO, 0, -1}};
    char part[128];
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    snprintf(part, sizeof part, ".x.%.16s.part", hello_digest);
    write_file(part, "hello, wor");
    assert_int_equal(receive(ranges, 1, "x", false, &server, &receiver, &err), SW_OK);
    assert_has(server.requests[0].head, "Range: bytes=10-\r\n");
    assert_int_equal(receiver.received, 2);
    assert_file("x", hello);
    script_server_deinit(&server);
    snprintf(part, sizeof part, ".y.%.16s.part", hello_digest);
    write_file(part, "HELLO");
    assert_int_equal(receive(whole, 1, "y", false, &server, &receiver, &err), SW_OK);
    assert_file("y", hello);
    assert_entries(2);
    script_server_deinit(&server);
}

static void what_is_wrong_is_thrown_away(void **state) {
    static const struct script_step wrong[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\nhello, WORLD", 0, -1}};
    static const struct script_step longer[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\nhello, world!", 0, -1}};
    static const struct script_step shorter[] = {
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", 0, -1}};
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    assert_int_equal(receive(wrong, 1, "x", false, &server, &receiver, &err), SW_E_DIGEST_MISMATCH);
    assert_has(err.message, hello_digest);
    assert_entries(0);
    script_server_deinit(&server);
    assert_int_equal(receive(longer, 1, "x", false, &server, &receiver, &err), SW_E_DIGEST_MISMATCH);
    assert_int_equal(sleeps, 0);
    assert_entries(0);
    script_server_deinit(&server);
    assert_int_equal(receive(shorter, 1, "x", false, &server, &receiver, &err), SW_E_DIGEST_MISMATCH);
    assert_has(err.message, "sends 5 bytes, but announced 12");
    assert_int_equal(sleeps, 0);
    assert_entries(0);
    script_server_deinit(&server);
}

static void a_refused_download_leaves_no_part(void **state) {
    static const struct script_step refused[] = {
        {"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 0, -1}};
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    assert_int_equal(receive(refused, 1, "x", false, &server, &receiver, &err), SW_E_NOT_FOUND);
    assert_entries(0);
    script_server_deinit(&server);
    assert_int_equal(receive(NULL, 0, "../x", false, &server, &receiver, &err), SW_E_IO);
    assert_has(err.message, "would leave the folder");
    script_server_deinit(&server);
}

static void other_files_are_not_overwritten(void **state) {
    static const struct script_step steps[] = {{HELLO, 0, -1}};
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    write_file("x", "mine");
    assert_int_equal(receive(NULL, 0, "x", false, &server, &receiver, &err), SW_E_CONFLICT);
    assert_has(err.message, "--force");
    assert_file("x", "mine");
    script_server_deinit(&server);
    assert_int_equal(receive(steps, 1, "x", true, &server, &receiver, &err), SW_OK);
    assert_file("x", hello);
    script_server_deinit(&server);
}

static void nothing_leaves_the_folder(void **state) {
    static const char *const bad[] = {"../x", "/x", "a/../x", "a//x", "",      ".",     "..",    "a/.",
                                      "a\\b", "a/", "./x",    "x\n",  "\x1b[", "a/./b", "..\\x", "\xff"};
    static const char *const good[] = {"x", "a/b/c.onnx", "..x", "a/..b", ".hidden", "\xc3\xa4.txt"};
    for (size_t i = 0; i < SW_COUNTOF(bad); i++) {
        if (sw_download_path_fits(sw_str_of(bad[i]))) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
    for (size_t i = 0; i < SW_COUNTOF(good); i++) {
        if (!sw_download_path_fits(sw_str_of(good[i]))) {
            fail_msg("'%s' was refused", good[i]);
        }
    }
    struct script_server server;
    struct sw_receiver receiver;
    struct sw_error err;
    char link[128];
    assert_int_equal(receive(NULL, 0, "../x", false, &server, &receiver, &err), SW_E_IO);
    script_server_deinit(&server);
    snprintf(link, sizeof link, "%s/out", folder);
    assert_int_equal(symlink("/tmp", link), 0);
    assert_int_equal(receive(NULL, 0, "out/x", false, &server, &receiver, &err), SW_E_IO);
    assert_has(err.message, "link");
    script_server_deinit(&server);
    snprintf(link, sizeof link, "%s/file", folder);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    assert_int_equal(receive(NULL, 0, "file", false, &server, &receiver, &err), SW_E_CONFLICT);
    script_server_deinit(&server);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_carry_who_asks),
        cmocka_unit_test(errors_come_in_the_servers_words),
        cmocka_unit_test(details_are_at_hand),
        cmocka_unit_test(an_answer_has_a_limit),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(segments_are_escaped),
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
        IN_FOLDER(what_the_server_has_is_not_sent),
        IN_FOLDER(a_whole_file_is_sent),
        IN_FOLDER(a_broken_connection_goes_on),
        IN_FOLDER(an_earlier_push_goes_on),
        IN_FOLDER(a_swept_upload_begins_anew),
        IN_FOLDER(another_offset_is_followed),
        IN_FOLDER(attempts_without_progress_end),
        IN_FOLDER(a_server_that_never_answered_is_not_asked_twice),
        IN_FOLDER(refusals_are_not_repeated),
        IN_FOLDER(a_refusal_in_the_middle_is_heard),
        IN_FOLDER(an_archive_is_not_committed),
        IN_FOLDER(a_file_that_shrinks_is_noticed),
        cmocka_unit_test(waits_double_and_obey),
        IN_FOLDER(states_are_kept_apart),
        IN_FOLDER(damaged_states_are_ignored),
        IN_FOLDER(a_file_is_received),
        IN_FOLDER(a_download_goes_on),
        IN_FOLDER(an_earlier_pull_goes_on),
        IN_FOLDER(what_is_wrong_is_thrown_away),
        IN_FOLDER(a_refused_download_leaves_no_part),
        IN_FOLDER(other_files_are_not_overwritten),
        IN_FOLDER(nothing_leaves_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
