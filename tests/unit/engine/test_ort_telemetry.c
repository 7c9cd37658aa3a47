/* ONNX Runtime engine: no connection is ever attempted.
 *
 * A child process forbids itself the system calls that lead to a network (seccomp, so calls that bypass the C library
 * count as well), then opens the engine, loads, runs, unloads, destroys and exits normally. Each attempt is reported on
 * a pipe. The child also has to be without other threads when it has run its model: what reports in the background
 * would need one. The environment is made as tempting as possible: telemetry asked for, nothing that hints at a test,
 * and a home folder of its own, which must stay empty. A control shows that the trap catches an attempt. */
#include "engine_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/memory.h"

enum { REPORT_FD = 3, EXIT_NO_TRAP = 90, EXIT_NO_ENGINE, EXIT_NO_RUN, EXIT_THREADS };

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define SYSTEM_CALL_RESULT(context) (context)->uc_mcontext.gregs[REG_RAX]
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define SYSTEM_CALL_RESULT(context) (context)->uc_mcontext.regs[0]
#else
#error "say here how a system call is answered on this architecture"
#endif

/* --- the child --- */

static void on_forbidden_call(int signal_number, siginfo_t *info, void *context) {
    char text[] = "socket or io_uring\n";
    ssize_t written = write(REPORT_FD, text, sizeof text - 1);
    (void)written;
    SYSTEM_CALL_RESULT((ucontext_t *)context) = (long long)-EACCES;
}

static bool set_trap(void) {
    struct sigaction action = {.sa_sigaction = on_forbidden_call, .sa_flags = SA_SIGINFO};
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {SW_COUNTOF(code), code};
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int thread_count(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        count += entry->d_name[0] != '.';
    }
    if (tasks) {
        closedir(tasks);
    }
    return count;
}

static int child(bool control) {
    int threads_before = thread_count(); /* sanitizers have one of their own */
    if (!set_trap()) {
        return EXIT_NO_TRAP;
    }
    if (control) {
        return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EACCES ? 0 : EXIT_NO_TRAP;
    }
    if (open_engine(NULL)) {
        return EXIT_NO_ENGINE;
    }
    char path[4096];
    struct sw_session *session;
    struct sw_session_options options = {.threads = 1, .memory_arena = true};
    struct sw_error err;
    if (engine->ops->load(engine, models_path("scalar.onnx", path, sizeof path), &options, &session, &err)) {
        return EXIT_NO_RUN;
    }
    struct sw_arena arena;
    sw_arena_init(&arena, 0, 0);
    float x = 3;
    const uint32_t wanted = 0;
    struct sw_tensor in = {.name = SW_STR("x"), .dtype = SW_DTYPE_FP32, .count = 1, .data = &x}, out;
    for (int i = 0; i < 100; i++) {
        if (engine->ops->run(session, &in, 1, &wanted, 1, &out, &arena, &err) || *(float *)out.data != 6) {
            return EXIT_NO_RUN;
        }
        sw_arena_reset(&arena);
    }
    if (thread_count() != threads_before) {
        return EXIT_THREADS;
    }
    sw_arena_deinit(&arena);
    engine->ops->unload(session);
    sw_engine_destroy(engine);
    return 0; /* through exit(): what the library does at the end of the process is seen too */
}

/* --- the parent --- */

struct outcome {
    int exit_code;
    char attempts[1024];
};

static struct outcome run_child(const char *mode, const char *home) {
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("ORT_DISABLE_TELEMETRY", "0", 1);
        unsetenv("ORT_RUNNING_UNIT_TESTS");
        unsetenv("CI");
        setenv("HOME", home, 1);
        setenv("XDG_CACHE_HOME", home, 1);
        setenv("XDG_DATA_HOME", home, 1);
        setenv("XDG_CONFIG_HOME", home, 1);
        setenv("TMPDIR", home, 1);
        dup2(pipe_ends[1], REPORT_FD);
        if (pipe_ends[0] != REPORT_FD) {
            close(pipe_ends[0]);
        }
        execl("/proc/self/exe", "test_engine_ort_telemetry", mode, (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    struct outcome outcome = {0};
    size_t used = 0;
    for (ssize_t n; (n = read(pipe_ends[0], outcome.attempts + used, sizeof outcome.attempts - 1 - used)) > 0;) {
        used += (size_t)n;
    }
    close(pipe_ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
}

static char home[] = "/tmp/slipway-telemetry-XXXXXX";

static int make_home(void **state) {
    return mkdtemp(home) ? 0 : -1;
}

static int remove_home(void **state) {
    return rmdir(home);
}

static int count_files(const char *folder) {
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return count;
}

static void test_the_trap_catches_an_attempt(void **state) {
    struct outcome outcome = run_child("control", home);
    assert_int_equal(outcome.exit_code, 0);
    assert_string_equal(outcome.attempts, "socket or io_uring\n");
}

static void test_no_connection_no_thread_no_file(void **state) {
    struct outcome outcome = run_child("engine", home);
    assert_string_equal(outcome.attempts, "");
    assert_int_equal(outcome.exit_code, 0);
    assert_int_equal(count_files(home), 0);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        return child(strcmp(argv[1], "control") == 0);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_trap_catches_an_attempt),
        cmocka_unit_test(test_no_connection_no_thread_no_file),
    };
    return cmocka_run_group_tests_name("engine/ort_telemetry", tests, make_home, remove_home);
}
