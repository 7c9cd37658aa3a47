/* Running a program and waiting for it. posix_spawn, because a fork of a process with threads may only exec anyway. */
#include "store/backup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ERRORS_MAX = 4096 };

struct pipes {
    int out[2], err[2]; /* read end, write end */
};

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void close_pipes(struct pipes *pipes) {
    for (int i = 0; i < 2; i++) {
        close_fd(&pipes->out[i]);
        close_fd(&pipes->err[i]);
    }
}

static sw_status spawn(const char *const *argv, char *const *env, const struct pipes *pipes, pid_t *ret,
                       struct sw_error *err) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes->out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipes->err[1], 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none); /* our threads block everything */
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawnp(ret, argv[0], &actions, &attributes, (char *const *)argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == ENOENT) {
        return sw_fail(err, SW_E_IO, "%s is not installed (Debian: postgresql-client)", argv[0]);
    }
    return rc == 0 ? SW_OK : sw_fail(err, SW_E_IO, "cannot run %s: %s", argv[0], strerror(rc));
}

/* Reads once; closes at the end of file. What no longer fits is read and dropped. */
static void drain(int *fd, struct sw_buf *into) {
    char piece[8192];
    ssize_t n = read(*fd, piece, sizeof piece);
    if (n > 0 && into) {
        sw_buf_append(into, piece, (size_t)n);
    } else if (n == 0 || (n < 0 && errno != EINTR)) {
        close_fd(fd);
    }
}

static void read_all(struct pipes *pipes, struct sw_buf *out, struct sw_buf *errors) {
    close_fd(&pipes->out[1]);
    close_fd(&pipes->err[1]);
    while (pipes->out[0] >= 0 || pipes->err[0] >= 0) {
        struct pollfd fds[2] = {{.fd = pipes->out[0], .events = POLLIN}, {.fd = pipes->err[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0) {
            continue;
        }
        if (fds[0].revents) {
            drain(&pipes->out[0], out);
        }
        if (fds[1].revents) {
            drain(&pipes->err[0], errors);
        }
    }
}

static sw_status judge(const char *name, int state, struct sw_buf *errors, struct sw_error *err) {
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) {
        return SW_OK;
    }
    for (size_t i = 0; i < errors->len; i++) {
        errors->data[i] = errors->data[i] == '\n' ? ' ' : errors->data[i];
    }
    sw_status code = errors->len && strstr(errors->data, "No space left on device") ? SW_E_INSUFFICIENT_STORAGE
                                                                                    : SW_E_IO;
    return sw_fail(err, code, "%s failed (%s %d): " SW_STR_FMT, name, WIFEXITED(state) ? "exit code" : "signal",
                   WIFEXITED(state) ? WEXITSTATUS(state) : WTERMSIG(state),
                   (int)(errors->len < 400 ? errors->len : 400), errors->len ? errors->data : "");
}

sw_status sw_child_run(const char *const *argv, char *const *env, struct sw_buf *out, struct sw_error *err) {
    struct pipes pipes = {{-1, -1}, {-1, -1}};
    if (pipe2(pipes.out, O_CLOEXEC) != 0 || pipe2(pipes.err, O_CLOEXEC) != 0) {
        sw_status status = sw_fail(err, SW_E_IO, "cannot make a pipe: %s", strerror(errno));
        close_pipes(&pipes);
        return status;
    }
    pid_t pid;
    sw_status status = spawn(argv, env, &pipes, &pid, err);
    if (status) {
        close_pipes(&pipes);
        return status;
    }
    struct sw_buf errors;
    sw_buf_init(&errors, ERRORS_MAX);
    read_all(&pipes, out, &errors);
    int state = 0;
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
    }
    status = judge(argv[0], state, &errors, err);
    sw_buf_deinit(&errors);
    return status;
}
