/* A Redis that says what its script wants: each rule answers the commands that begin like it, hangs, or closes. One thread,
 * for all connections one after the other or at once; RULES replaces the script while it runs. */
#ifndef SW_TESTS_SCHED_REDIS_SCRIPT_H
#define SW_TESTS_SCHED_REDIS_SCRIPT_H

#include "redis_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"
#include "sched/cache/redis_internal.h"

/* What a command is answered with. */
enum verdict { ANSWER, HANG, CLOSE };

struct rule {
    const char *command; /* its beginning, such as "GET" */
    enum verdict verdict;
    const char *text;
    size_t len;  /* 0: strlen(text) */
    int times;   /* how often it counts; 0: for ever */
    bool closes; /* after the answer */
};

struct server {
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct rule rules[16];
    size_t rule_count;
    char seen[4000]; /* the beginnings of the commands since the rules were set */
    atomic_size_t connections;
    int wake[2];
};

static void copy_rule(struct rule *into, const struct rule *rule) {
    *into = *rule;
    into->len = rule->text && !rule->len ? strlen(rule->text) : rule->len;
    char *text = sw_xmalloc(into->len + 1);
    memcpy(text, rule->text ? rule->text : "", into->len);
    text[into->len] = 0;
    into->text = text;
}

/* Texts are copied: the server may still be sending when the test has gone on. */
static void set_rules(struct server *s, const struct rule *rules, size_t count) {
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->rule_count; i++) {
        sw_free((void *)(uintptr_t)s->rules[i].text);
    }
    for (size_t i = 0; i < count; i++) {
        copy_rule(&s->rules[i], &rules[i]);
    }
    s->rule_count = count;
    s->seen[0] = 0;
    pthread_mutex_unlock(&s->lock);
}
#define RULES(s, ...)                                           \
    do {                                                        \
        const struct rule rules_[] = {__VA_ARGS__};             \
        set_rules(s, rules_, sizeof rules_ / sizeof rules_[0]); \
    } while (0)

static void saw(struct server *s, const char *words) {
    size_t n = strlen(s->seen);
    snprintf(s->seen + n, sizeof s->seen - n, "%.60s;", words);
}

static bool was_seen(struct server *s, const char *words) {
    pthread_mutex_lock(&s->lock);
    bool found = strstr(s->seen, words) != NULL;
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* A copy; its text is the caller's. */
static struct rule rule_for(struct server *s, const char *words) {
    static const struct rule usual[] = {
        {.command = "PING", .text = "+PONG\r\n"},
        {.command = "CLUSTER", .text = "-ERR This instance has cluster support disabled\r\n"},
        {.command = "GET", .text = "$-1\r\n"},
        {.command = "", .text = "+OK\r\n"},
    };
    struct rule found;
    for (size_t i = 0; i < s->rule_count; i++) {
        struct rule *r = &s->rules[i];
        if (strncmp(words, r->command, strlen(r->command)) == 0 && r->times >= 0) {
            copy_rule(&found, r);
            r->times = r->times == 1 ? -1 : r->times ? r->times - 1 : 0;
            return found;
        }
    }
    size_t i = 0;
    while (strncmp(words, usual[i].command, strlen(usual[i].command)) != 0) {
        i++;
    }
    copy_rule(&found, &usual[i]);
    return found;
}

/* The client closed, or reset the connection, or the test is over. */
static void wait_for_the_end(struct server *s, int fd) {
    char bytes[1000];
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->wake[0], .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && !fds[1].revents && read(fd, bytes, sizeof bytes) > 0) {
    }
}

static void send_all(int fd, const char *data, size_t len) {
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* the client had enough */
        }
        data += n;
        len -= (size_t)n;
    }
}

/* false: the connection ends. */
static bool obey(struct server *s, int fd, const char *words) {
    pthread_mutex_lock(&s->lock);
    saw(s, words);
    struct rule rule = rule_for(s, words);
    pthread_mutex_unlock(&s->lock);
    if (rule.verdict == HANG) {
        wait_for_the_end(s, fd);
    } else if (rule.verdict == ANSWER) {
        send_all(fd, rule.text, rule.len);
    }
    sw_free((void *)(uintptr_t)rule.text);
    return rule.verdict == ANSWER && !rule.closes;
}

/* Commands are arrays of strings; their words, with blanks between them. */
static bool obey_all(struct server *s, int fd, struct redis_reader *r) {
    enum redis_read read;
    while ((read = redis_reader_next(r, 1 << 20, 20)) == REDIS_READ_ANSWER) {
        char words[300] = "";
        for (size_t i = 1; i < r->parts_count; i++) {
            struct sw_str word = redis_part_text(r, &r->parts[i]);
            size_t n = strlen(words);
            snprintf(words + n, sizeof words - n, "%s%.*s", i > 1 ? " " : "", (int)(word.len > 80 ? 80 : word.len),
                     word.data);
        }
        if (!obey(s, fd, words)) {
            return false;
        }
    }
    return read == REDIS_READ_MORE;
}

static void serve(struct server *s, int fd) {
    char bytes[4096];
    struct redis_reader r;
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->wake[0], .events = POLLIN}};
    assert_true(redis_reader_init(&r, 1 << 20));
    while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0 || !redis_reader_feed(&r, bytes, (size_t)n) || !obey_all(s, fd, &r)) {
            break;
        }
    }
    redis_reader_deinit(&r);
    close(fd);
}

/* One connection after the other. */
static void *run_server(void *arg) {
    struct server *s = arg;
    struct pollfd fds[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->wake[0], .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd >= 0) {
            atomic_fetch_add(&s->connections, 1);
            serve(s, fd);
        }
    }
    return NULL;
}

/* A port of 127.0.0.1 on which nobody listens yet. */
static int take_port(unsigned *ret_port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void server_start(struct server *s) {
    *s = (struct server){.lock = PTHREAD_MUTEX_INITIALIZER};
    s->fd = take_port(&s->port);
    assert_int_equal(listen(s->fd, 16), 0);
    assert_int_equal(pipe(s->wake), 0);
    assert_int_equal(sw_thread_start(&s->thread, "server", 0, run_server, s, NULL), SW_OK);
}

static void server_stop(struct server *s) {
    assert_int_equal(write(s->wake[1], "x", 1), 1);
    pthread_join(s->thread, NULL);
    set_rules(s, NULL, 0);
    close(s->wake[0]);
    close(s->wake[1]);
    close(s->fd);
}

#endif
