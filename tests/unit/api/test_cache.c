/* The result cache as a client and an operator see it: what is a hit, what is not, what is kept, and for how long. */
#include "cached.h"

enum { VALUE_MAX = 4096 };

static struct sw_clock cache_clock; /* of the cache */

static int setup(void **state) {
    sw_clock_manual_init(&cache_clock, UINT64_C(1000000000));
    harness_start(&(struct harness_options){
        .registry = true,
        .cache = &(struct sw_cache_options){.bytes_max = 8 << 20, .value_max = VALUE_MAX, .clock = &cache_clock}});
    harness_bundle("sum", CACHED, MODEL_SUM, true);
    harness_bundle("twin", CACHED, MODEL_SUM, true);
    harness_bundle("short", "model: model.fake.json\ncache: {enable: true, ttl: 10s}\n", MODEL_SUM, true);
    harness_bundle("two", CACHED, MODEL_TWO, true);
    harness_bundle("text", CACHED, MODEL_TEXT, true);
    harness_bundle("absent", CACHED, MODEL_ABSENT, true);
    harness_bundle("fixed", CACHED, MODEL_FIXED, true);
    harness_bundle("vector", CACHED, MODEL_VECTOR, true);
    harness_bundle("nan", CACHED, MODEL_NAN, true);
    harness_bundle("failing", CACHED,
                   MODEL(TENSOR("x", "FP32", "[\"N\", 4]"), TENSOR("y", "FP32", "[\"N\", 1]"),
                         "\"op\": \"sum\", \"fail_on\": 666"),
                   true);
    harness_bundle("off", "model: model.fake.json\ncache: {enable: false, ttl: 10s}\n", MODEL_SUM, true);
    harness_model("plain", MODEL_SUM, true);
    return 0;
}

static int teardown(void **state) {
    harness_stop();
    return 0;
}

static void off_by_default(void **state) {
    for (int i = 0; i < 2; i++) {
        assert_answer(INFER("plain"), NULL, ROW("4", "1,2,3,4"), "", "\"data\":[10]");
        assert_answer(INFER("off"), NULL, ROW("4", "1,2,3,4"), "", "\"data\":[10]");
    }
}

static void hits_and_misses(void **state) {
    long runs = runs_of("sum");
    assert_answer(INFER("sum"), NULL, ROW("4", "1,2,3,4"), "miss", "\"data\":[10]");
    assert_answer(INFER("sum"), NULL, ROW("4", "1,2,3,4"), "hit", "\"data\":[10]");
    assert_answer(INFER("sum"), NULL, ROW("4", " 1.0, 2e0, 3,4.000"), "hit", "\"data\":[10]");
    assert_answer(INFER("sum"), NULL, ROW("4", "1,2,4,3"), "miss", "\"data\":[10]");
    assert_answer(INFER("sum"), NULL, ROW("4", "0,0,0,0"), "miss", "\"data\":[0]");
    assert_answer(INFER("sum"), NULL, ROW("4", "-0.0,0,0,0"), "miss", "\"data\":[0]");
    assert_int_equal(runs_of("sum"), runs + 4);
    /* What belongs to the request alone is not kept. */
    struct answer a = harness_post(INFER("sum"), "{\"id\":\"mine\",\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],"
                                                 "\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}");
    assert_string_equal(said(&a), "hit");
    assert_holds(&a, "\"id\":\"mine\"");
    a = harness_post(INFER("sum"), ROW("4", "1,2,3,4"));
    assert_null(strstr(a.body, "\"id\""));
    /* The same file under another name is another model. */
    assert_answer(INFER("twin"), NULL, ROW("4", "1,2,3,4"), "miss", "\"data\":[10]");
}

static struct answer send_binary(const char *path, const char *json, const void *blob, size_t len) {
    char headers[128], body[1024];
    size_t n = strlen(json);
    memcpy(body, json, n);
    memcpy(body + n, blob, len);
    snprintf(headers, sizeof headers,
             "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: %zu\r\n", n);
    return harness_send("POST", path, headers, body, n + len);
}

static void protocols_share_results(void **state) {
    static const float row[] = {5, 6, 7, 8};
    long runs = runs_of("sum");
    assert_answer(PREDICT("sum"), NULL, "{\"instances\":[[5,6,7,8]]}", "miss", "[[26]]");
    assert_answer(PREDICT("sum"), NULL, "{\"inputs\":{\"x\":[[5,6,7,8]]}}", "hit", "[[26]]");
    assert_answer(INFER("sum"), NULL, ROW("4", "5,6,7,8"), "hit", "\"data\":[26]");
    assert_answer(INFER("sum/versions/1"), NULL, ROW("4", "5,6,7,8"), "hit", "\"data\":[26]");
    struct answer a = send_binary(INFER("sum"),
                                  "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP32\",\"parameters\":{"
                                  "\"binary_data_size\":16}}],\"parameters\":{\"binary_data_output\":true}}",
                                  row, sizeof row);
    assert_string_equal(said(&a), "hit");
    size_t header = strtoul(harness_header(&a, "Inference-Header-Content-Length"), NULL, 10);
    float sum;
    assert_int_equal(a.body_len, header + sizeof sum);
    memcpy(&sum, a.body + header, sizeof sum);
    assert_float_equal(sum, 26, 0);
    assert_int_equal(runs_of("sum"), runs + 1);
}

#define A "{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}"
#define B "{\"name\":\"b\",\"shape\":[1,1],\"datatype\":\"INT64\",\"data\":[3]}"
#define C(number) "{\"name\":\"c\",\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[" number "]}"

static void inputs_have_no_order_but_are_all_counted(void **state) {
    assert_answer(INFER("two"), NULL, "{\"inputs\":[" A "," B "]}", "miss", "\"data\":[6]");
    assert_answer(INFER("two"), NULL, "{\"inputs\":[" B "," A "]}", "hit", "\"data\":[6]");
    assert_answer(INFER("two"), NULL, "{\"inputs\":[" A "," B "," C("0") "]}", "miss", "\"data\":[6]");
    assert_answer(INFER("two"), NULL, "{\"inputs\":[" C("1") "," B "," A "]}", "miss", "\"data\":[7]");
    assert_answer(INFER("two"), NULL, "{\"inputs\":[" A "," C("1") "," B "]}", "hit", "\"data\":[7]");
}

#define WANT(outputs) "{\"inputs\":[" A "," B "],\"outputs\":[" outputs "]}"
#define S "{\"name\":\"s\"}"
#define T "{\"name\":\"t\"}"

static void outputs_asked_for(void **state) {
    static const char s_first[] = "\"outputs\":[{\"name\":\"s\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[6]},"
                                  "{\"name\":\"t\",\"datatype\":\"FP64\",\"shape\":[1,2],\"data\":[6,6]}]";
    static const char t_first[] = "\"outputs\":[{\"name\":\"t\",\"datatype\":\"FP64\",\"shape\":[1,2],\"data\":[6,6]},"
                                  "{\"name\":\"s\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[6]}]";
    assert_answer(INFER("two"), NULL, WANT(T), "miss", "\"outputs\":[{\"name\":\"t\"");
    assert_answer(INFER("two"), NULL, WANT(T), "hit", "\"shape\":[1,2],\"data\":[6,6]}]}");
    assert_answer(INFER("two"), NULL, WANT(S), "miss", "\"shape\":[1],\"data\":[6]}]}");
    assert_answer(INFER("two"), NULL, WANT(T "," S), "miss", t_first);
    assert_answer(INFER("two"), NULL, WANT(S "," T), "hit", s_first);
    assert_answer(INFER("two"), NULL, WANT(T "," S), "hit", t_first);
}

#define TEXTS(shape, texts) \
    "{\"inputs\":[{\"name\":\"text\",\"shape\":[" shape "],\"datatype\":\"BYTES\",\"data\":[" texts "]}]}"

static void texts(void **state) {
    assert_answer(INFER("text"), NULL, TEXTS("2", "\"ab\",\"c\""), "miss", "\"data\":[\"ab\",\"c\"]");
    assert_answer(INFER("text"), NULL, TEXTS("2", "\"a\",\"bc\""), "miss", "\"data\":[\"a\",\"bc\"]");
    assert_answer(INFER("text"), NULL, TEXTS("2", "\"ab\",\"c\""), "hit", "\"data\":[\"ab\",\"c\"]");
    assert_answer(INFER("text"), NULL, TEXTS("3", "\"\",\"\\u00e9\",\"\""), "miss", "[\"\",\"\xc3\xa9\",\"\"]");
    assert_answer(INFER("text"), NULL, TEXTS("3", "\"\",\"\xc3\xa9\",\"\""), "hit", "[\"\",\"\xc3\xa9\",\"\"]");
    assert_answer(INFER("text"), NULL, TEXTS("0", ""), "miss", "\"shape\":[0],\"data\":[]");
    assert_answer(INFER("text"), NULL, TEXTS("0", ""), "hit", "\"shape\":[0],\"data\":[]");
    /* What cannot be written as JSON is kept all the same, for who can read it. */
    static const char request[] =
        "{\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\",\"parameters\":{"
        "\"binary_data_size\":6}}],\"parameters\":{\"binary_data_output\":%s}}";
    char json[256];
    snprintf(json, sizeof json, request, "false");
    assert_int_equal(send_binary(INFER("text"), json, "\2\0\0\0\xff\xfe", 6).status, 400);
    snprintf(json, sizeof json, request, "true");
    struct answer a = send_binary(INFER("text"), json, "\2\0\0\0\xff\xfe", 6);
    assert_string_equal(said(&a), "hit");
    assert_memory_equal(a.body + a.body_len - 6, "\2\0\0\0\xff\xfe", 6);
}

static void an_output_that_is_left_out(void **state) {
    static const char request[] = "{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":[1,2]}]}";
    static const char outputs[] = "\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[1,2]}]";
    assert_answer(INFER("absent"), NULL, request, "miss", outputs);
    assert_answer(INFER("absent"), NULL, request, "hit", outputs);
    assert_answer(PREDICT("absent"), NULL, "{\"instances\":[1,2]}", "hit", "{\"predictions\":[{\"y\":1},{\"y\":2}]}");
}

static void several_rows_are_one_result(void **state) {
    assert_answer(PREDICT("sum"), NULL, "{\"instances\":[[1,1,1,1],[2,2,2,2]]}", "miss", "[[4],[8]]");
    assert_answer(PREDICT("sum"), NULL, "{\"instances\":[[1,1,1,1],[2,2,2,2]]}", "hit", "[[4],[8]]");
    assert_answer(PREDICT("sum"), NULL, "{\"instances\":[[2,2,2,2],[1,1,1,1]]}", "miss", "[[8],[4]]");
    assert_answer(PREDICT("sum"), NULL, "{\"instances\":[[1,1,1,1]]}", "miss", "[[4]]");
}

/* A model that takes one row: each is looked up. */
static void rows_that_run_one_by_one(void **state) {
    long runs = runs_of("fixed");
    assert_answer(PREDICT("fixed"), NULL, "{\"instances\":[[1,2,3],[4,5,6]]}", "miss", "[[6],[15]]");
    assert_int_equal(runs_of("fixed"), runs + 2);
    assert_answer(PREDICT("fixed"), NULL, "{\"instances\":[[4,5,6],[1,2,3],[4,5,6]]}", "hit", "[[15],[6],[15]]");
    assert_int_equal(runs_of("fixed"), runs + 2);
    assert_answer(PREDICT("fixed"), NULL, "{\"instances\":[[4,5,6],[7,8,9],[1,2,3]]}", "miss", "[[15],[24],[6]]");
    assert_int_equal(runs_of("fixed"), runs + 3);
    assert_answer(PREDICT("fixed"), NULL, "{\"instances\":[[7,8,9]]}", "hit", "[[24]]");
    assert_answer(INFER("fixed"), NULL, ROW("3", "7,8,9"), "hit", "\"data\":[24]");
    assert_answer(PREDICT("vector"), NULL, "{\"instances\":[[1,2,3],[4,5,6]]}", "miss", "[[1,2,3],[4,5,6]]");
    assert_answer(PREDICT("vector"), NULL, "{\"instances\":[[4,5,6],[1,2,3]]}", "hit", "[[4,5,6],[1,2,3]]");
}

static void directives(void **state) {
    static const struct {
        const char *headers, *x_cache;
        bool runs;
    } steps[] = {
        {"Cache-Control: no-store\r\n", "bypass", true},
        {"Cache-Control: max-age=5, no-store\r\n", "bypass", true},
        {"Cache-Control: no-cache\r\nCache-Control: no-store\r\n", "bypass", true},
        {NULL, "miss", true}, /* nothing was kept so far */
        {NULL, "hit", false},
        {"Cache-Control: no-cache\r\n", "bypass", true},
        {"Cache-Control: NO-CACHE\r\n", "bypass", true},
        {"cache-control: max-age=0\r\n", "bypass", true},
        {"Cache-Control: private ,, no-cache , x\r\n", "bypass", true},
        {"Cache-Control: max-age=5\r\nCache-Control: no-cache\r\n", "bypass", true},
        {"Cache-Control:\r\n", "hit", false},
        {"Cache-Control: ,\r\n", "hit", false},
        {"Cache-Control: max-age=600, nonsense=\"no-cache\"\r\n", "hit", false},
        {"Cache-Control: no-cached\r\n", "hit", false},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        long runs = runs_of("sum");
        assert_answer(INFER("sum"), steps[i].headers, ROW("4", "9,9,9,9"), steps[i].x_cache, "\"data\":[36]");
        assert_int_equal(runs_of("sum"), runs + steps[i].runs);
    }
    /* What no-cache ran is kept. */
    assert_answer(INFER("sum"), "Cache-Control: no-cache\r\n", ROW("4", "9,9,9,8"), "bypass", "\"data\":[35]");
    assert_answer(INFER("sum"), NULL, ROW("4", "9,9,9,8"), "hit", "\"data\":[35]");
}

static void errors_are_not_kept(void **state) {
    static const struct expectation cases[] = {
        {INFER("failing"), ROW("4", "666,0,0,0"), 500, "666"},
        {INFER("nan"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}", 500, "NaN"},
        {INFER("sum"), ROW("3", "1,2,3"), 400, "shape"},
        {INFER("sum"), "{\"inputs\":[]}", 400, "empty"},
        {INFER("two"), "{\"inputs\":[" A "," A "," B "]}", 400, "given twice"},
        {INFER("two"), "{\"inputs\":[" A "," B ",{\"name\":\"z\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}",
         400, "no input"},
        {INFER("sum"), "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,4],\"datatype\":\"FP64\",\"data\":[1,2,3,4]}]}", 400,
         "FP64"},
        {INFER("sum"), "nonsense", 400, "JSON"},
    };
    json_int_t entries = kept("memory", "entries");
    long runs = runs_of("failing");
    for (int i = 0; i < 2; i++) {
        harness_expect(cases, sizeof cases / sizeof cases[0]);
        struct answer a = harness_post(INFER("failing"), ROW("4", "666,0,0,0"));
        assert_null(harness_header(&a, "X-Cache"));
    }
    assert_int_equal(kept("memory", "entries"), entries);
    assert_true(runs_of("failing") >= runs);
    assert_int_equal(kept(NULL, "waiting"), 0);
}

static void large_results_are_not_kept(void **state) {
    static char request[32768];
    size_t n = (size_t)snprintf(request, sizeof request,
                                "{\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"");
    memset(request + n, 'a', VALUE_MAX);
    snprintf(request + n + VALUE_MAX, sizeof request - n - VALUE_MAX, "\"]}]}");
    json_int_t entries = kept("memory", "entries");
    assert_answer(INFER("text"), NULL, request, "miss", "aaaa");
    assert_answer(INFER("text"), NULL, request, "miss", "aaaa");
    assert_int_equal(kept("memory", "entries"), entries);
}

static void time_ends_results(void **state) {
    assert_answer(INFER("short"), NULL, ROW("4", "1,2,3,4"), "miss", "[10]");
    assert_answer(INFER("sum"), NULL, ROW("4", "1,0,0,1"), "miss", "[2]");
    sw_clock_manual_advance(&cache_clock, UINT64_C(9999999999));
    assert_answer(INFER("short"), NULL, ROW("4", "1,2,3,4"), "hit", "[10]");
    sw_clock_manual_advance(&cache_clock, 1);
    assert_answer(INFER("short"), NULL, ROW("4", "1,2,3,4"), "miss", "[10]");
    assert_answer(INFER("short"), NULL, ROW("4", "1,2,3,4"), "hit", "[10]");
    sw_clock_manual_advance(&cache_clock, UINT64_C(1000000000) * 3600 * 24 * 365);
    assert_answer(INFER("sum"), NULL, ROW("4", "1,0,0,1"), "hit", "[2]");
    assert_true(kept("memory", "expired") > 0);
}

/* ---- other versions, other files */

#define CONSTANT(value)                                                         \
    MODEL(TENSOR("x", "FP32", "[\"N\", 4]"), TENSOR("y", "FP32", "[\"N\", 1]"), \
          "\"op\": \"constant\", \"value\": " value)

static void other_files_under_the_same_version(void **state) {
    static const char request[] = ROW("4", "1,1,1,1");
    harness_bundle("changing", CACHED, CONSTANT("7"), true);
    assert_answer(INFER("changing"), NULL, request, "miss", "\"data\":[7]");
    reload("changing"); /* the same files: the same results */
    assert_answer(INFER("changing"), NULL, request, "hit", "\"data\":[7]");
    harness_write("changing/model.fake.json", CONSTANT("8"));
    reload("changing");
    assert_answer(INFER("changing"), NULL, request, "miss", "\"data\":[8]");
    harness_write("changing/labels.txt", "a file that a step might read\n");
    reload("changing");
    assert_answer(INFER("changing"), NULL, request, "miss", "\"data\":[8]");
    assert_int_equal(unlink(harness_path("changing/labels.txt")), 0);
    harness_write("changing/bundle.yaml", CACHED "output: {allow_nonfinite: true}\n");
    reload("changing");
    assert_answer(INFER("changing"), NULL, request, "miss", "\"data\":[8]");
    harness_write("changing/bundle.yaml", "model: model.fake.json\n");
    reload("changing");
    assert_answer(INFER("changing"), NULL, request, "", "\"data\":[8]");
    harness_write("changing/bundle.yaml", CACHED);
    harness_write("changing/model.fake.json", CONSTANT("7"));
    reload("changing"); /* as it was in the beginning */
    assert_answer(INFER("changing"), NULL, request, "hit", "\"data\":[7]");
}

static void promote(const char *model, int version) {
    char path[128], body[64];
    snprintf(path, sizeof path, "/api/v1/models/%s/promote", model);
    snprintf(body, sizeof body, "{\"version\":%d}", version);
    struct answer a = harness_post(path, body);
    assert_int_equal(a.status, 200);
    harness_follow();
}

/* The version is live a moment after the promotion was followed. */
static void answer_of_version(const char *version, const char *x_cache, const char *contains) {
    struct answer a;
    do {
        a = harness_send("POST", INFER("pushed"), JSON "Cache-Control: no-store\r\n", ROW("4", "1,1,1,1"),
                         strlen(ROW("4", "1,1,1,1")));
    } while (a.status != 200 || strcmp(harness_header(&a, "X-Model-Version"), version) != 0);
    assert_answer(INFER("pushed"), NULL, ROW("4", "1,1,1,1"), x_cache, contains);
}

static void versions_of_the_registry(void **state) {
    assert_int_equal(harness_push("pushed", CACHED, CONSTANT("1")), 1);
    assert_int_equal(harness_push("pushed", CACHED, CONSTANT("2")), 2);
    promote("pushed", 1);
    answer_of_version("1", "miss", "\"data\":[1]");
    answer_of_version("1", "hit", "\"data\":[1]");
    promote("pushed", 2);
    answer_of_version("2", "miss", "\"data\":[2]");
    answer_of_version("2", "hit", "\"data\":[2]");
    promote("pushed", 1);
    answer_of_version("1", "hit", "\"data\":[1]");
}

static void files_that_change_while_they_are_loaded(void **state) {
    static const char loads[] = "/v2/repository/models/torn/load";
    harness_bundle("torn", CACHED,
                   MODEL(TENSOR("x", "FP32", "[\"N\", 4]"), TENSOR("y", "FP32", "[\"N\", 1]"),
                         "\"op\": \"sum\", \"load_started\": \"../loading\", \"load_wait_while\": \"../load-gate\""),
                   false);
    harness_write("load-gate", "");
    int fd = harness_begin("POST", loads, JSON, "", 0);
    while (access(harness_path("loading"), F_OK)) {
        usleep(200);
    }
    harness_write("torn/bundle.yaml", CACHED "description: another\n");
    unlink(harness_path("load-gate"));
    struct answer a = harness_end(fd, "POST", loads);
    assert_int_not_equal(a.status, 200);
    assert_holds(&a, "its files changed while it was loaded");
    assert_null(strstr(a.body, "/tmp/slipway-api-torn"));
    reload("torn");
    assert_answer(INFER("torn"), NULL, ROW("4", "1,1,1,1"), "miss", "\"data\":[4]");
}

/* As files come where a folder is mounted that changes at once. */
static void linked_files(void **state) {
    harness_bundle("linked", CACHED, MODEL_SUM, false);
    harness_write("linked/weights", MODEL_SUM);
    assert_int_equal(unlink(harness_path("linked/model.fake.json")), 0);
    assert_int_equal(symlink("weights", harness_path("linked/model.fake.json")), 0);
    reload("linked");
    assert_answer(INFER("linked"), NULL, ROW("4", "1,1,1,1"), "miss", "\"data\":[4]");
    harness_write("linked/weights", CONSTANT("5"));
    reload("linked");
    assert_answer(INFER("linked"), NULL, ROW("4", "1,1,1,1"), "miss", "\"data\":[5]");
}

/* ---- for the operator */

static void purging(void **state) {
    assert_answer(INFER("sum"), "Cache-Control: no-cache\r\n", ROW("4", "1,1,1,3"), "bypass", "[6]");
    assert_answer(INFER("twin"), "Cache-Control: no-cache\r\n", ROW("4", "1,1,1,3"), "bypass", "[6]");
    json_int_t entries = kept("memory", "entries");
    struct answer a = harness_delete("/api/v1/cache/sum");
    assert_int_equal(a.status, 200);
    json_t *purged = harness_json(&a);
    json_int_t gone = json_integer_value(json_object_get(purged, "entries"));
    json_decref(purged);
    assert_true(gone > 0);
    assert_int_equal(kept("memory", "entries"), entries - gone);
    assert_answer(INFER("sum"), NULL, ROW("4", "1,1,1,3"), "miss", "[6]");
    assert_answer(INFER("twin"), NULL, ROW("4", "1,1,1,3"), "hit", "[6]");
    a = harness_delete("/api/v1/cache");
    assert_int_equal(a.status, 200);
    assert_int_equal(kept("memory", "entries"), 0);
    assert_answer(INFER("sum"), NULL, ROW("4", "1,1,1,3"), "miss", "[6]");
    assert_answer(INFER("twin"), NULL, ROW("4", "1,1,1,3"), "miss", "[6]");
    static const struct expectation cases[] = {{"/api/v1/cache/plain", "DELETE", 404, "'plain'"},
                                               {"/api/v1/cache/nobody", "DELETE", 404, "'nobody'"},
                                               {"/api/v1/cache/%2e%2e", "DELETE", 404, "'..'"},
                                               {"/api/v1/cache/sum", NULL, 405, ""},
                                               {"/api/v1/cache/sum", "{}", 405, ""},
                                               {"/api/v1/cache", "{}", 405, ""},
                                               {"/api/v1/cache/off", "DELETE", 404, "were ever kept"}};
    harness_expect(cases, sizeof cases / sizeof cases[0]);
}

static json_t *row_of(const char *name) {
    struct answer a = harness_get("/api/v1/cache");
    json_t *all = harness_json(&a), *row, *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(all, "models"), i, row) {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
            found = json_incref(row);
        }
    }
    json_decref(all);
    return found;
}

static void what_is_shown(void **state) {
    harness_bundle("shown", CACHED, MODEL_SUM, true);
    json_t *row = row_of("shown");
    assert_true(json_is_null(json_object_get(row, "hit_rate")));
    json_decref(row);
    assert_null(row_of("plain"));
    assert_answer(INFER("shown"), NULL, ROW("4", "1,2,3,4"), "miss", "");
    for (int i = 0; i < 3; i++) {
        assert_answer(INFER("shown"), NULL, ROW("4", "1,2,3,4"), "hit", "");
    }
    assert_answer(INFER("shown"), "Cache-Control: no-cache\r\n", ROW("4", "1,2,3,4"), "bypass", "");
    row = row_of("shown");
    assert_int_equal(json_integer_value(json_object_get(row, "hits")), 3);
    assert_int_equal(json_integer_value(json_object_get(row, "misses")), 1);
    assert_float_equal(json_real_value(json_object_get(row, "hit_rate")), 0.75, 0);
    json_decref(row);
    assert_int_equal(kept("memory", "bytes_max"), 8 << 20);
    assert_true(kept("memory", "bytes") > 0 && kept("memory", "bytes") <= 8 << 20);
    static const struct expectation cases[] = {
        {"/api/v1/cache", NULL, 200, "\"redis\":null"},
        {"/api/v1/cache", NULL, 200, "\"entries_max\":null"},
        {"/metrics", NULL, 200, "slipway_cache_requests_total{model=\"shown\",version=\"1\",result=\"hit\"} 3"},
        {"/metrics", NULL, 200, "slipway_cache_requests_total{model=\"shown\",version=\"1\",result=\"miss\"} 1"},
        {"/metrics", NULL, 200, "slipway_cache_requests_total{model=\"shown\",version=\"1\",result=\"shared\"} 0"},
        {"/metrics", NULL, 200, "slipway_cache_requests_total{model=\"shown\",version=\"1\",result=\"bypass\"} 1"},
        {"/metrics", NULL, 200, "\nslipway_cache_entries "},
        {"/metrics", NULL, 200, "\nslipway_cache_bytes "},
        {"/metrics", NULL, 200, "slipway_cache_removed_total{reason=\"expired\"} "},
        {"/v2/models/shown/stats", NULL, 200, "\"inference_count\":2,\"execution_count\":2,"},
        {"/v2/models/shown/stats", NULL, 200, "\"cache_hit\":{\"count\":3,"},
        {"/v2/models/shown/stats", NULL, 200, "\"cache_miss\":{\"count\":1,"},
        {"/v2/models/shown/stats", NULL, 200, "\"compute_infer\":{\"count\":2,"},
        {"/v2/models/shown/stats", NULL, 200, "\"success\":{\"count\":5,"},
    };
    harness_expect(cases, sizeof cases / sizeof cases[0]);
    struct answer a = harness_get("/metrics");
    assert_null(strstr(a.body, "slipway_cache_redis_up "));
    assert_null(strstr(a.body, "slipway_cache_requests_total{model=\"plain\""));
}

/* ---- without a cache */

static int setup_switched_off(void **state) {
    harness_start(NULL);
    harness_bundle("sum", CACHED, MODEL_SUM, true);
    return 0;
}

static void switched_off(void **state) {
    for (int i = 0; i < 2; i++) {
        assert_answer(INFER("sum"), NULL, ROW("4", "1,2,3,4"), "", "\"data\":[10]");
    }
    static const struct expectation cases[] = {
        {"/api/v1/cache", NULL, 503, "switched off (cache.memory is 0 and cache.redis is not set)"},
        {"/api/v1/cache", "DELETE", 503, "switched off"},
        {"/api/v1/cache/sum", "DELETE", 503, "switched off"},
        {"/v2/models/sum/stats", NULL, 200,
         "\"cache_hit\":{\"count\":0,\"ns\":0},\"cache_miss\":{\"count\":0,\"ns\":0}"},
    };
    harness_expect(cases, sizeof cases / sizeof cases[0]);
    assert_null(strstr(harness_get("/metrics").body, "\nslipway_cache_"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_by_default),
        cmocka_unit_test(hits_and_misses),
        cmocka_unit_test(protocols_share_results),
        cmocka_unit_test(inputs_have_no_order_but_are_all_counted),
        cmocka_unit_test(outputs_asked_for),
        cmocka_unit_test(texts),
        cmocka_unit_test(an_output_that_is_left_out),
        cmocka_unit_test(several_rows_are_one_result),
        cmocka_unit_test(rows_that_run_one_by_one),
        cmocka_unit_test(directives),
        cmocka_unit_test(errors_are_not_kept),
        cmocka_unit_test(large_results_are_not_kept),
        cmocka_unit_test(time_ends_results),
        cmocka_unit_test(other_files_under_the_same_version),
        cmocka_unit_test(versions_of_the_registry),
        cmocka_unit_test(files_that_change_while_they_are_loaded),
        cmocka_unit_test(linked_files),
        cmocka_unit_test(purging),
        cmocka_unit_test(what_is_shown),
    };
    const struct CMUnitTest without[] = {cmocka_unit_test(switched_off)};
    int failed = cmocka_run_group_tests_name("api/cache", tests, setup, teardown);
    return failed + cmocka_run_group_tests_name("api/cache off", without, setup_switched_off, teardown);
}
