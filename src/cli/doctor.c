/* slipway doctor: checks what serve needs of this machine, and says of each fault how to mend it.
 *
 * A check is a function that fills a finding. `fail` is what would keep serve from working, `warn` what would surprise
 * under load. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <link.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/address.h"
#include "cli/cli.h"
#include "cli/engines.h"
#include "cli/registry_config.h"
#include "base/units.h"

enum { TEXT_MAX = 1024, DESCRIPTORS_BESIDE_CONNECTIONS = 128 };
static const uint64_t MEMORY_MIN = 256ull << 20;

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

struct finding {
    enum verdict verdict;
    char text[TEXT_MAX]; /* what was found */
    char mend[TEXT_MAX]; /* how to mend it; "" when ok */
};

typedef void check_fn(const struct sw_config *config, struct finding *f);

static void found(struct finding *f, enum verdict verdict, const char *fmt, ...) SW_PRINTF(3, 4);
static void found(struct finding *f, enum verdict verdict, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
    f->verdict = verdict;
}

static void mend(struct finding *f, const char *fmt, ...) SW_PRINTF(2, 3);
static void mend(struct finding *f, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->mend, sizeof f->mend, fmt, args);
    va_end(args);
}

/* --- ONNX Runtime ------------------------------------------------------------------------------------------------ */

static int note_library(struct dl_phdr_info *info, size_t size, void *arg) {
    char *path = arg;
    if (info->dlpi_name && strstr(info->dlpi_name, "onnxruntime")) {
        snprintf(path, PATH_MAX, "%s", info->dlpi_name);
        return 1;
    }
    return 0;
}

static void check_runtime(const struct sw_config *config, struct finding *f) {
    struct sw_cli_engines engines;
    struct sw_error err;
    if (sw_cli_engines_open(config, &engines, &err)) {
        found(f, VERDICT_FAIL, "%s", err.message);
        mend(f, "run `make setup` in the sources, or set SLIPWAY_ORT_LIB to the path of libonnxruntime.so");
        return;
    }
    char path[PATH_MAX] = "";
    dl_iterate_phdr(note_library, path);
    found(f, VERDICT_OK, "%s%s%s", engines.items[0]->ops->version(engines.items[0]), *path ? ", " : "", path);
    sw_cli_engines_close(&engines);
}

/* The engine sets the variable before it loads the library, which reads it then. */
static void check_telemetry(const struct sw_config *config, struct finding *f) {
    const char *value = getenv("ORT_DISABLE_TELEMETRY");
    if (value && !strcmp(value, "1")) {
        found(f, VERDICT_OK, "ONNX Runtime's telemetry is switched off");
    } else {
        found(f, VERDICT_FAIL, "ONNX Runtime's telemetry is not switched off");
        mend(f, "report this as a fault of Slipway; until then set ORT_DISABLE_TELEMETRY=1");
    }
}

/* --- limits ------------------------------------------------------------------------------------------------------ */

static void check_descriptors(const struct sw_config *config, struct finding *f) {
    uint64_t connections = sw_config_number(config, SW_KEY_SERVER_MAX_CONNECTIONS);
    uint64_t wanted = connections + DESCRIPTORS_BESIDE_CONNECTIONS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        found(f, VERDICT_WARN, "the limit of open files cannot be read: %s", strerror(errno));
        return;
    }
    if (limit.rlim_max >= wanted) {
        found(f, VERDICT_OK, "%llu open files allowed, %llu needed for server.max_connections %llu",
              (unsigned long long)limit.rlim_max, (unsigned long long)wanted, (unsigned long long)connections);
        return;
    }
    found(f, VERDICT_WARN, "%llu open files allowed, but server.max_connections %llu needs %llu",
          (unsigned long long)limit.rlim_max, (unsigned long long)connections, (unsigned long long)wanted);
    mend(f, "raise the hard limit (`ulimit -Hn`, LimitNOFILE= of systemd), or lower server.max_connections");
}

/* The value of a line "NAME:   123 kB" of /proc/meminfo in bytes, 0 when there is none. */
static uint64_t meminfo(const char *name) {
    FILE *file = fopen("/proc/meminfo", "re");
    uint64_t bytes = 0;
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        size_t n = strlen(name);
        if (!strncmp(line, name, n) && line[n] == ':') {
            bytes = strtoull(line + n + 1, NULL, 10) * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

/* What this control group may use in all; UINT64_MAX: no limit. */
static uint64_t group_limit(void) {
    static const char *const paths[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < SW_COUNTOF(paths); i++) {
        FILE *file = fopen(paths[i], "re");
        char text[64] = "";
        if (!file) {
            continue;
        }
        bool good = fgets(text, sizeof text, file) != NULL;
        fclose(file);
        if (good && text[0] >= '0' && text[0] <= '9') {
            return strtoull(text, NULL, 10);
        }
    }
    return UINT64_MAX;
}

static void check_memory(const struct sw_config *config, struct finding *f) {
    uint64_t available = meminfo("MemAvailable");
    uint64_t limit = group_limit();
    uint64_t usable = limit < available ? limit : available;
    uint64_t bodies = sw_config_number(config, SW_KEY_SERVER_MAX_BUFFERED_BYTES);
    if (usable == 0) {
        found(f, VERDICT_WARN, "the available memory cannot be read from /proc/meminfo");
        return;
    }
    found(f, VERDICT_OK, "%llu MiB available, %llu MiB of them may hold request bodies",
          (unsigned long long)(usable >> 20), (unsigned long long)(bodies >> 20));
    if (usable < MEMORY_MIN || bodies > usable / 2) {
        f->verdict = VERDICT_WARN;
        mend(f, "lower server.max_buffered_bytes, so that models have room under load");
    }
}

static const char *cpu_features(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        return "AVX-512";
    }
    return __builtin_cpu_supports("avx2") ? "AVX2" : NULL;
#else
    return "NEON";
#endif
}

static void check_processor(const struct sw_config *config, struct finding *f) {
    const char *features = cpu_features();
    unsigned count = sw_cpu_count();
    found(f, features ? VERDICT_OK : VERDICT_WARN, "%u %s, %s", count, count == 1 ? "core" : "cores",
          features ? features : "without AVX2");
    if (!features) {
        mend(f, "models run several times slower here than on a processor made after 2013");
    }
}

/* --- folders ---------------------------------------------------------------------------------------------------- */

/* Nearest folder above path that exists. */
static void existing_parent(const char *path, char *ret, size_t size) {
    snprintf(ret, size, "%s", path);
    struct stat info;
    while (stat(ret, &info) != 0) {
        char *slash = strrchr(ret, '/');
        if (!slash) {
            snprintf(ret, size, ".");
            return;
        }
        slash[slash == ret] = '\0';
        if (slash == ret && stat(ret, &info) != 0) {
            return;
        }
    }
}

static void check_data(const struct sw_config *config, struct finding *f) {
    const char *path = sw_config_text(config, SW_KEY_DATA_DIRECTORY);
    char folder[PATH_MAX];
    if (!path) {
        found(f, VERDICT_WARN, "data.directory is not set");
        mend(f, "set it to a folder that survives restarts");
        return;
    }
    existing_parent(path, folder, sizeof folder);
    bool exists = !strcmp(folder, path);
    if (exists && !sw_path_is_dir(path)) {
        found(f, VERDICT_FAIL, "%s is not a folder", path);
        mend(f, "name another one with --data-dir");
    } else if (access(folder, W_OK | X_OK) != 0) {
        found(f, VERDICT_FAIL, "%s cannot be written: %s", exists ? path : folder, strerror(errno));
        mend(f, "give this user the right to write there, or name another folder with --data-dir");
    } else {
        found(f, VERDICT_OK, "%s %s", path, exists ? "can be written" : "can be made");
    }
}

static void check_models(const struct sw_config *config, struct finding *f) {
    const char *path = sw_config_text(config, SW_KEY_MODELS_DIRECTORY);
    if (!path) {
        found(f, VERDICT_OK, "models.directory is not set; models are named on the command line");
    } else if (!sw_path_is_dir(path)) {
        found(f, VERDICT_FAIL, "%s is not a folder", path);
        mend(f, "make it, or name another one with --models-dir");
    } else if (access(path, R_OK | X_OK) != 0) {
        found(f, VERDICT_FAIL, "%s cannot be read: %s", path, strerror(errno));
        mend(f, "give this user the right to read it");
    } else {
        found(f, VERDICT_OK, "%s can be read", path);
    }
}

/* --- the registry ------------------------------------------------------------------------------------------------ */

static const char off_text[] = "registry.enabled is false; nothing is stored";

static void explain_store(struct finding *f, sw_status code) {
    if (code == SW_E_UNAVAILABLE) {
        mend(f, "start the database, or correct store.url; serve goes on from what it knows until it is back");
    } else if (code == SW_E_CONFLICT) {
        mend(f, "run the version of Slipway that wrote it, or name another database with store.url");
    } else {
        mend(f, "restore a backup (slipway restore), or move the file away to begin with an empty registry");
    }
}

/* Only looks: serve brings a database of an older version up to date, and an older one may be using it now. */
static void check_store(const struct sw_config *config, struct finding *f) {
    struct sw_store_options options;
    struct sw_error err;
    int applied, known;
    if (!sw_config_bool(config, SW_KEY_REGISTRY_ENABLED)) {
        found(f, VERDICT_OK, "%s", off_text);
        return;
    }
    char *path SW_AUTO_FREE = sw_store_config_path(config);
    char *url SW_AUTO_FREE = NULL;
    sw_store_config(config, &options, &url);
    const char *place = path ? path : "PostgreSQL (store.url)";
    sw_status status = sw_store_inspect(&options, &applied, &known, &err);
    if (status == SW_E_NOT_FOUND) {
        found(f, VERDICT_OK, "%s will be made", place);
    } else if (status) {
        found(f, status == SW_E_UNAVAILABLE ? VERDICT_WARN : VERDICT_FAIL, "%s: %s", place, err.message);
        explain_store(f, status);
    } else if (applied == 0) {
        found(f, VERDICT_OK, "%s is empty; serve makes its tables", place);
    } else if (applied < known) {
        found(f, VERDICT_OK, "%s is of an older version; serve applies %d of %d migrations", place, known - applied,
              known);
    } else {
        found(f, VERDICT_OK, "%s can be read, with all %d migrations", place, known);
    }
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    return remove(path);
}

/* In a folder of its own, so that nothing of data.directory is touched. */
static void check_bucket(const struct sw_config *config, struct finding *f) {
    struct sw_artifacts_options options;
    struct sw_artifacts *artifacts;
    struct sw_error err;
    char folder[] = "/tmp/slipway-doctor-XXXXXX";
    if (!mkdtemp(folder)) {
        found(f, VERDICT_WARN, "not checked: no temporary folder can be made");
        return;
    }
    sw_artifacts_config(config, &options);
    options.directory = folder;
    sw_status status = sw_artifacts_open(&options, &artifacts, &err);
    if (!status) {
        status = sw_artifacts_probe(artifacts, &err);
        sw_artifacts_close(artifacts);
    }
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    if (!status) {
        found(f, VERDICT_OK, "%s can be reached", options.url);
        return;
    }
    found(f, status == SW_E_UNAVAILABLE ? VERDICT_WARN : VERDICT_FAIL, "%s: %s", options.url, err.message);
    mend(f, "check artifacts.url, artifacts.s3_endpoint and the keys; until then nothing can be pushed or loaded anew");
}

static void check_artifacts(const struct sw_config *config, struct finding *f) {
    if (!sw_config_bool(config, SW_KEY_REGISTRY_ENABLED)) {
        found(f, VERDICT_OK, "%s", off_text);
    } else if (sw_config_text(config, SW_KEY_ARTIFACTS_URL)) {
        check_bucket(config, f);
    } else {
        const char *path = sw_config_text(config, SW_KEY_DATA_DIRECTORY);
        found(f, VERDICT_OK, "kept in %s", path ? path : "data.directory, which is not set");
    }
}

/* --- the port ---------------------------------------------------------------------------------------------------- */

/* Binds and lets go. 0, or an errno; a resolver's message in *ret_text. */
static int try_bind(const char *host, const char *port, const char **ret_text) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc) {
        *ret_text = gai_strerror(rc);
        return EADDRNOTAVAIL;
    }
    int one = 1, error = 0;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 1) != 0) {
        error = errno;
        *ret_text = strerror(error);
    }
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(list);
    return error;
}

static void check_port(const struct sw_config *config, struct finding *f) {
    const char *host = sw_config_text(config, SW_KEY_SERVER_HOST);
    const char *port = sw_config_text(config, SW_KEY_SERVER_PORT);
    const char *reason = "";
    int error = try_bind(host, port, &reason);
    if (!error) {
        found(f, VERDICT_OK, "%s port %s is free", host, port);
        return;
    }
    found(f, VERDICT_FAIL, "%s port %s: %s", host, port, reason);
    if (error == EADDRINUSE) {
        mend(f, "end what listens there (`ss -ltnp 'sport = :%s'`), or choose another port with --port", port);
    } else if (error == EACCES) {
        mend(f, "ports below 1024 need a privilege; choose another one with --port");
    } else {
        mend(f, "choose an address of this machine with --host");
    }
}

static void check_exposure(const struct sw_config *config, struct finding *f) {
    const char *host = sw_config_text(config, SW_KEY_SERVER_HOST);
    if (sw_is_loopback(host)) {
        found(f, VERDICT_OK, "only this machine can reach %s", host);
    } else if (sw_config_bool(config, SW_KEY_SERVER_INSECURE)) {
        found(f, VERDICT_WARN, "others can reach %s, and nobody is asked who they are", host);
        mend(f, "listen on 127.0.0.1 behind a proxy that authenticates and encrypts");
    } else {
        found(f, VERDICT_FAIL, "others can reach %s, which serve refuses without --insecure", host);
        mend(f, "listen on 127.0.0.1, or pass --insecure when the network is trusted");
    }
}

static void check_http(const struct sw_config *config, struct finding *f) {
    if (MHD_is_feature_supported(MHD_FEATURE_EPOLL) == MHD_YES) {
        found(f, VERDICT_OK, "libmicrohttpd %s with epoll", MHD_get_version());
    } else {
        found(f, VERDICT_FAIL, "libmicrohttpd %s was built without epoll", MHD_get_version());
        mend(f, "install a libmicrohttpd with epoll, as Debian's is");
    }
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    check_fn *check;
} checks[] = {
    {"onnxruntime", check_runtime}, {"telemetry", check_telemetry}, {"http", check_http},
    {"processor", check_processor}, {"memory", check_memory},       {"open files", check_descriptors},
    {"models", check_models},       {"data", check_data},           {"store", check_store},
    {"artifacts", check_artifacts}, {"port", check_port},           {"exposure", check_exposure},
};

static const char *const verdict_names[] = {"ok", "warn", "fail"};

static void print_finding(const char *name, const struct finding *f) {
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[1;31m"};
    bool coloured = sw_cli_colours(stdout);
    printf("%s%-4s%s  %-12s %s\n", coloured ? colours[f->verdict] : "", verdict_names[f->verdict],
           coloured ? "\033[0m" : "", name, f->text);
    if (f->mend[0]) {
        printf("%19sTo mend it: %s\n", "", f->mend);
    }
    fflush(stdout);
}

int sw_run_doctor(const struct sw_args *args) {
    int code;
    struct sw_config *config = sw_cli_config(args, &code);
    if (!config) {
        return code;
    }
    bool json = sw_args_has(args, SW_OPTION_JSON);
    json_t *list = json_array();
    size_t counts[3] = {0};
    for (size_t i = 0; i < SW_COUNTOF(checks); i++) {
        struct finding f = {0};
        checks[i].check(config, &f);
        counts[f.verdict]++;
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", checks[i].name, "verdict",
                                              verdict_names[f.verdict], "text", f.text, "mend", f.mend));
        if (!json) {
            print_finding(checks[i].name, &f);
        }
    }
    if (json) {
        json_t *root = json_pack("{s:b, s:o}", "ok", counts[VERDICT_FAIL] == 0, "checks", list);
        sw_cli_print_json(stdout, root);
        json_decref(root);
    } else {
        json_decref(list);
        printf("\n%zu ok, %zu warn, %zu fail\n", counts[VERDICT_OK], counts[VERDICT_WARN], counts[VERDICT_FAIL]);
    }
    sw_config_destroy(config);
    return counts[VERDICT_FAIL] ? SW_EXIT_FAILED : SW_EXIT_DONE;
}
