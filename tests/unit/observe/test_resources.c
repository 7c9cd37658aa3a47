/* Limits of cgroups, from folders that look like them; and that this process uses something. */
#include "observe/resources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[64];

static void write_file(const char *path, const char *text) {
    char file[256];
    snprintf(file, sizeof file, "%s%s", root, path);
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void make_folder(const char *path) {
    char folder[256];
    snprintf(folder, sizeof folder, "%s%s", root, path);
    assert_int_equal(mkdir(folder, 0755), 0);
}

static int setup(void **state) {
    snprintf(root, sizeof root, "/tmp/slipway-cgroup-XXXXXX");
    assert_non_null(mkdtemp(root));
    make_folder("/pods");
    make_folder("/pods/one");
    return 0;
}

static int teardown(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void the_lowest_limit_counts(void **state) {
    assert_true(sw_cgroup_cpu_cores(root, "/pods/one") == 0); /* no files: no limit */
    assert_int_equal(sw_cgroup_memory_limit(root, "/pods/one"), 0);
    write_file("/pods/one/cpu.max", "max 100000\n");
    write_file("/pods/one/memory.max", "max\n");
    assert_true(sw_cgroup_cpu_cores(root, "/pods/one") == 0);
    assert_int_equal(sw_cgroup_memory_limit(root, "/pods/one"), 0);
    write_file("/pods/cpu.max", "150000 100000\n");
    write_file("/pods/memory.max", "2147483648\n");
    assert_true(sw_cgroup_cpu_cores(root, "/pods/one") == 1.5); /* of the group above */
    assert_int_equal(sw_cgroup_memory_limit(root, "/pods/one"), 2147483648u);
    write_file("/pods/one/cpu.max", "50000 100000\n");
    write_file("/pods/one/memory.max", "1073741824\n");
    write_file("/memory.max", "4294967296\n");
    assert_true(sw_cgroup_cpu_cores(root, "/pods/one") == 0.5);
    assert_int_equal(sw_cgroup_memory_limit(root, "/pods/one"), 1073741824u);
    assert_int_equal(sw_cgroup_memory_limit(root, ""), 4294967296u);
    write_file("/pods/one/cpu.max", "50000 0\n"); /* what no kernel writes */
    write_file("/pods/one/memory.max", "\n");
    assert_true(sw_cgroup_cpu_cores(root, "/pods/one") == 1.5);
    assert_int_equal(sw_cgroup_memory_limit(root, "/pods/one"), 2147483648u);
}

static void this_process(void **state) {
    struct sw_resources first, second;
    sw_resources_read(&first);
    assert_true(first.memory_bytes > 100 * 1024 && first.memory_bytes <= first.memory_limit);
    assert_true(first.cpu_cores > 0 && first.cpu_cores < 10000);
    volatile unsigned work = 0;
    do {
        for (unsigned i = 0; i < 1000000; i++) {
            work += i;
        }
        sw_resources_read(&second);
    } while (second.cpu_seconds <= first.cpu_seconds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_lowest_limit_counts, setup, teardown),
        cmocka_unit_test(this_process),
    };
    return cmocka_run_group_tests_name("observe/resources", tests, NULL, NULL);
}
