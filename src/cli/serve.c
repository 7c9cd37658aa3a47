/* slipway serve: the server from start to end.
 *
 * The main thread owns the life of the process. It builds the app, hands the models to the loader, opens the port, and
 * then waits for three things at once: signals (a signalfd; every thread has them blocked), outcomes of loads, and the
 * end of the thread that drains. Draining and tearing down run on a thread of their own so that a second signal always
 * finds the main thread awake.
 *
 *   STARTING --all loads taken--> SERVING --signal--> ENDING --torn down--> exit
 *      +---- signal, or a required model failed ------^  +--second signal--> exit at once */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/address.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "cli/loads.h"
#include "cli/welcome.h"

/* How long the words at start wait for the first look at the registry (whose database may be away), and how often they
 * look; requests and readiness do not depend on it. */
enum { DESCRIPTORS_BESIDE_CONNECTIONS = 128, FOLLOW_WAIT_MS = 2000, FOLLOW_LOOK_MS = 5 };

struct serve {
    const struct sw_args *args;
    struct sw_config *config; /* in force */
    struct sw_app *app;
    struct sw_loads *loads;
    enum { STARTING, SERVING, ENDING } state;
    int exit_code;
    int signal_fd;
    int ended_fd; /* readable when the app is torn down */
    pthread_t ender;
    uint64_t drain_delay_ms, drain_timeout_ms; /* for the ender */
    uint64_t start_ns;
    const char *stand_in; /* the application's own model, until it is known whether the registry has one; NULL: none */
};

/* --- before anything runs ---------------------------------------------------------------------------------------- */

/* Each connection is a descriptor: raises the soft limit as far as the hard one allows. */
static void raise_descriptor_limit(const struct sw_config *config) {
    uint64_t connections = sw_config_number(config, SW_KEY_SERVER_MAX_CONNECTIONS);
    rlim_t wanted = connections + DESCRIPTORS_BESIDE_CONNECTIONS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
        sw_log(SW_LOG_WARN, "fewer file descriptors than server.max_connections needs; raise `ulimit -n`",
               SW_F_INT("descriptors", limit.rlim_cur), SW_F_INT("max_connections", connections));
    }
}

/* Who can reach the port? */
static bool check_exposure(const struct sw_args *args, const struct sw_config *config) {
    const char *host = sw_config_text(config, SW_KEY_SERVER_HOST);
    if (sw_is_loopback(host) || sw_config_bool(config, SW_KEY_SERVER_INSECURE)) {
        return true;
    }
    fprintf(stderr,
            "slipway %s: %s is not a loopback address, and this server neither asks callers who they are\n"
            "nor encrypts. Anyone who reaches the port could use the models. Listen on 127.0.0.1 behind a proxy that\n"
            "does both, or, if the network itself is trusted, say so with --insecure.\n",
            args->command->name, host);
    return false;
}

static sw_status watch_signals(struct serve *s, struct sw_error *err) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || (s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC)) < 0 ||
        (s->ended_fd = eventfd(0, EFD_CLOEXEC)) < 0) {
        return sw_fail(err, SW_E_IO, "cannot wait for signals: %s", strerror(errno));
    }
    return SW_OK;
}

/* A failure after the logs began: as a log line, and as a plain one where the log does not show it to a person. */
static int fail_logged(const struct serve *s, const struct sw_error *err, int code) {
    sw_log(SW_LOG_ERROR, "cannot serve", SW_F_STR("reason", err->message), SW_F_STR("code", sw_status_name(err->code)));
    if (isatty(STDERR_FILENO) || sw_log_get_level() > SW_LOG_ERROR) {
        sw_cli_fail(s->args, err);
    }
    return code;
}

/* --- starting ---------------------------------------------------------------------------------------------------- */

/* A name that two models of the folder share, or one of it and one of the command line: the first is served. */
static sw_status add_directory(struct serve *s, const char *directory, struct sw_error *err) {
    sw_status status = sw_loads_add_directory(s->loads, directory, err);
    if (status == SW_E_CONFLICT) {
        sw_log(SW_LOG_WARN, "model left out", SW_F_STR("reason", err->message));
        return SW_OK;
    }
    return status;
}

static sw_status add_models(struct serve *s, struct sw_error *err) {
    for (size_t i = 0; i < s->args->positional_count; i++) {
        SW_TRY(sw_loads_add(s->loads, s->args->positional[i], err));
    }
    const char *directory = sw_config_text(s->config, SW_KEY_MODELS_DIRECTORY);
    return directory ? add_directory(s, directory, err) : SW_OK;
}

struct search {
    const char *name;
    bool found;
};

static void look_for(void *arg, const struct sw_repository_row *row) {
    struct search *search = arg;
    search->found |= !strcmp(row->name, search->name);
}

/* The model of the application at the root: named by nobody so far, it is the one that comes with the application, unless
 * the registry has one. */
static void add_stand_in(struct serve *s) {
    const struct sw_root_app *root = sw_apps_root(sw_app_applications(s->app));
    struct search search = {.name = root ? root->model : ""};
    char *path SW_AUTO_FREE = NULL;
    struct sw_error err;
    sw_repository_each(sw_app_repository(s->app), look_for, &search);
    if (!root || search.found) {
        return;
    }
    if (sw_apps_find_bundle(sw_app_applications(s->app), &path, &err) ||
        sw_repository_add_stand_in(sw_app_repository(s->app), path, NULL, &err)) {
        sw_log(SW_LOG_WARN, "no model of the application; name one on the command line or push one to the registry",
               SW_F_STR("app", root->name), SW_F_STR("model", root->model), SW_F_STR("reason", err.message));
        return;
    }
    s->stand_in = root->model;
}

static void log_serving(const struct serve *s) {
    sw_log(SW_LOG_INFO, "serving", SW_F_STR("host", sw_config_text(s->config, SW_KEY_SERVER_HOST)),
           SW_F_INT("port", sw_app_port(s->app)), SW_F_INT("models", sw_loads_count(s->loads)),
           SW_F_STR("version", SW_VERSION), SW_F_STR("onnxruntime", sw_app_engine_version(s->app)),
           SW_F_INT("pid", getpid()));
}

/* Loading begins before the port opens: the loader thread works while this one binds. */
static sw_status start(struct serve *s, struct sw_error *err) {
    SW_TRY(sw_app_create(s->config, &s->app, err));
    SW_TRY(sw_loads_create(sw_app_repository(s->app), &s->loads, err));
    SW_TRY(add_models(s, err));
    add_stand_in(s);
    SW_TRY(sw_loads_submit(s->loads, err));
    SW_TRY(sw_app_follow(s->app, err));
    SW_TRY(sw_app_listen(s->app, s->config, err));
    log_serving(s);
    return SW_OK;
}

/* Every load has been told about. */
static void begin_serving(struct serve *s) {
    uint64_t took_ms = (sw_now_ns(sw_clock_system()) - s->start_ns) / 1000000;
    s->state = SERVING;
    sw_repository_yield_to_requests(sw_app_repository(s->app));
    sw_memory_trim();
    size_t followed = sw_app_followed(s->app, NULL, 0);
    if (!sw_app_has_followed(s->app)) {
        sw_log(SW_LOG_INFO, "models of the registry are still to come");
    } else if (sw_loads_count(s->loads) == 0 && followed == 0) {
        sw_log(SW_LOG_WARN, "no model to serve; name one on the command line, or a folder with --models-dir",
               SW_F_STR("registry", sw_app_registry(s->app) ? "slipway model push NAME PATH --promote" : "none"));
    }
    sw_log(SW_LOG_INFO, "ready", SW_F_INT("models", sw_loads_ready_count(s->loads)), SW_F_INT("registry", followed),
           SW_F_INT("unavailable", sw_loads_count(s->loads) - sw_loads_ready_count(s->loads)),
           SW_F_INT("start_ms", took_ms), SW_F_INT("resident_bytes", sw_memory_resident()));
    if (isatty(STDERR_FILENO)) {
        sw_welcome(stderr, s->app, s->loads, sw_config_text(s->config, SW_KEY_SERVER_HOST), took_ms);
    }
}

/* --- ending ------------------------------------------------------------------------------------------------------ */

static void sleep_ms(uint64_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void *end_app(void *arg) {
    struct serve *s = arg;
    sw_app_begin_drain(s->app);
    sleep_ms(s->drain_delay_ms);
    sw_app_drain(s->app, s->drain_timeout_ms);
    sw_app_destroy(s->app);
    uint64_t one = 1;
    ssize_t n = write(s->ended_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one);
    return NULL;
}

/* Begins the end; the main loop goes on until the ender reports. */
static void begin_end(struct serve *s, int exit_code, bool patient) {
    s->state = ENDING;
    s->exit_code = exit_code;
    s->drain_delay_ms = patient ? sw_config_ms(s->config, SW_KEY_SERVER_DRAIN_DELAY) : 0;
    s->drain_timeout_ms = patient ? sw_config_ms(s->config, SW_KEY_SERVER_DRAIN_TIMEOUT) : 0;
    struct sw_error err;
    if (sw_thread_start(&s->ender, "sw-ender", 0, end_app, s, &err)) {
        sw_log(SW_LOG_ERROR, "cannot drain", SW_F_STR("reason", err.message));
        _exit(SW_EXIT_IMPOSSIBLE);
    }
}

/* --- signals ----------------------------------------------------------------------------------------------------- */

/* Keys that differ between two configurations: applied, or named as needing a restart. */
static void log_changes(const struct sw_config *before, const struct sw_config *after) {
    for (size_t i = 0; i < SW_KEY_COUNT; i++) {
        const struct sw_config_key_info *key = &sw_config_keys[i];
        if (strcmp(before->values[i].text, after->values[i].text) == 0) {
            continue;
        }
        sw_log(key->reloadable ? SW_LOG_INFO : SW_LOG_WARN,
               key->reloadable ? "configuration changed" : "configuration changed, but takes a restart",
               SW_F_STR("key", key->id), SW_F_STR("value", key->secret ? "(hidden)" : after->values[i].text));
    }
}

static void reload(struct serve *s) {
    struct sw_config *config;
    struct sw_config_problems problems = {0};
    struct sw_error err;
    if (sw_cli_config_load(s->args, &config, &problems, &err)) {
        sw_log(SW_LOG_ERROR, "configuration not reloaded, the old one stays", SW_F_STR("reason", err.message));
    } else {
        sw_app_apply(s->app, config);
        log_changes(s->config, config);
        sw_log(SW_LOG_INFO, "configuration reloaded");
        sw_config_destroy(s->config);
        s->config = config;
    }
    sw_config_problems_deinit(&problems);
}

static void take_signal(struct serve *s) {
    struct signalfd_siginfo info;
    if (read(s->signal_fd, &info, sizeof info) != sizeof info) {
        return;
    }
    if (info.ssi_signo == SIGHUP) {
        if (s->state != ENDING) {
            reload(s);
        }
        return;
    }
    const char *name = info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
    if (s->state == ENDING) {
        sw_log(SW_LOG_WARN, "ended at once by a second signal", SW_F_STR("signal", name));
        _exit(SW_EXIT_FAILED);
    }
    sw_log(SW_LOG_INFO, "draining", SW_F_STR("signal", name));
    begin_end(s, SW_EXIT_DONE, true);
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

static void log_ready(struct serve *s, const char *name) {
    struct sw_repository *repository = sw_app_repository(s->app);
    struct sw_model *model;
    struct sw_error err;
    if (sw_repository_acquire(repository, sw_str_of(name), SW_STR(""), &model, &err) == SW_OK) {
        sw_log(SW_LOG_INFO, "model ready", SW_F_STR("model", name), SW_F_INT("version", model->version),
               SW_F_DOUBLE("load_ms", (double)model->load_ns / 1e6), SW_F_DOUBLE("run_us", (double)model->run_ns / 1e3),
               SW_F_INT("golden", model->golden_count));
        sw_repository_release(repository, model);
    }
}

/* A model of the folder that does not load stays known with its reason; the others serve. */
static void log_unavailable(const struct sw_load_outcome *outcome) {
    sw_log(SW_LOG_ERROR, "model unavailable", SW_F_STR("model", outcome->name),
           SW_F_STR("reason", outcome->error.message), SW_F_STR("code", sw_status_name(outcome->status)));
}

static void take_outcome(struct serve *s, const struct sw_load_outcome *outcome) {
    bool fatal = outcome->required || sw_config_bool(s->config, SW_KEY_MODELS_FAIL_ON_LOAD_ERROR);
    if (outcome->status == SW_OK) {
        log_ready(s, outcome->name);
    } else if (fatal) {
        struct sw_error err = outcome->error;
        sw_error_prefix(&err, "model %s does not load", outcome->name);
        begin_end(s, fail_logged(s, &err, SW_EXIT_FAILED), false);
    } else {
        log_unavailable(outcome);
    }
}

static void take_outcomes(struct serve *s) {
    struct sw_load_outcome outcome;
    struct sw_error err;
    while (s->state == STARTING && sw_loads_take(s->loads, &outcome)) {
        take_outcome(s, &outcome);
    }
    if (s->state != STARTING) {
        return;
    }
    if (sw_loads_submit(s->loads, &err)) {
        begin_end(s, fail_logged(s, &err, SW_EXIT_IMPOSSIBLE), false);
    }
}

static bool follow_waits(const struct serve *s) {
    uint64_t took_ms = (sw_now_ns(sw_clock_system()) - s->start_ns) / 1000000;
    return took_ms < FOLLOW_WAIT_MS && !sw_app_has_followed(s->app);
}

/* The registry has been looked at, or does not answer. */
static void load_stand_in(struct serve *s) {
    struct sw_error err;
    if (!sw_repository_is_managed(sw_app_repository(s->app), sw_str_of(s->stand_in))) {
        sw_log(SW_LOG_INFO, "the model that comes with the application stands in", SW_F_STR("model", s->stand_in));
        sw_loads_add_known(s->loads, s->stand_in);
        if (sw_loads_submit(s->loads, &err)) {
            begin_end(s, fail_logged(s, &err, SW_EXIT_IMPOSSIBLE), false);
        }
    }
    s->stand_in = NULL;
}

static void loop(struct serve *s) {
    for (;;) {
        bool loaded = s->state == STARTING && sw_loads_finished(s->loads);
        if (loaded && !follow_waits(s)) {
            if (s->stand_in) {
                load_stand_in(s);
                continue;
            }
            begin_serving(s);
            loaded = false;
        }
        struct pollfd fds[] = {
            {.fd = s->signal_fd, .events = POLLIN},
            {.fd = s->ended_fd, .events = POLLIN},
            {.fd = s->state == STARTING ? sw_loads_fd(s->loads) : -1, .events = POLLIN},
        };
        if (poll(fds, SW_COUNTOF(fds), loaded ? FOLLOW_LOOK_MS : -1) < 0) {
            SW_ASSERT(errno == EINTR);
            continue;
        }
        if (fds[0].revents) {
            take_signal(s);
        }
        if (fds[1].revents) {
            pthread_join(s->ender, NULL);
            s->app = NULL;
            return;
        }
        if (fds[2].revents && s->state == STARTING) {
            take_outcomes(s);
        }
    }
}

static int run(struct serve *s) {
    struct sw_error err;
    if (watch_signals(s, &err)) {
        return fail_logged(s, &err, SW_EXIT_IMPOSSIBLE);
    }
    raise_descriptor_limit(s->config);
    if (start(s, &err)) {
        int code = fail_logged(s, &err, sw_status_table[err.code].exit);
        sw_app_destroy(s->app);
        return code;
    }
    loop(s);
    sw_log(SW_LOG_INFO, "ended", SW_F_INT("exit", s->exit_code));
    return s->exit_code;
}

int sw_run_serve(const struct sw_args *args) {
    struct serve s = {.args = args, .signal_fd = -1, .ended_fd = -1, .start_ns = sw_now_ns(sw_clock_system())};
    int code = SW_EXIT_USAGE;
    s.config = sw_cli_config(args, &code);
    if (!s.config) {
        return code;
    }
    if (check_exposure(args, s.config)) {
        sw_log_set_level((enum sw_log_level)sw_config_number(s.config, SW_KEY_LOG_LEVEL));
        code = run(&s);
    } else {
        code = SW_EXIT_USAGE;
    }
    sw_loads_destroy(s.loads);
    sw_config_destroy(s.config);
    if (s.signal_fd >= 0) {
        close(s.signal_fd);
    }
    if (s.ended_fd >= 0) {
        close(s.ended_fd);
    }
    return code;
}
