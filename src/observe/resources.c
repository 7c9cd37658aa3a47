/* Use and limits of this process; see resources.h. cgroups of version 2: of version 1, which distributions have left
 * behind, nothing is read, and the limits are those of the machine. */
#include "observe/resources.h"

#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"

enum { PATH_MAX_BYTES = 4096, LINE_MAX_BYTES = 128 };

/* ---- cgroups */

static bool read_line(const char *root, const char *path, const char *name, char ret[LINE_MAX_BYTES]) {
    char file[2 * PATH_MAX_BYTES];
    int n = snprintf(file, sizeof file, "%s%s/%s", root, path, name);
    FILE *f = n > 0 && (size_t)n < sizeof file ? fopen(file, "re") : NULL;
    if (!f) {
        return false;
    }
    bool found = fgets(ret, LINE_MAX_BYTES, f) != NULL;
    fclose(f);
    return found;
}

/* To the cgroup above; false at the top. */
static bool climb(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash) {
        return false;
    }
    *slash = '\0';
    return true;
}

static double parse_cores(const char *line) {
    unsigned long long quota, period;
    bool is_limited = sscanf(line, "%llu %llu", &quota, &period) == 2 && period > 0;
    return is_limited ? (double)quota / (double)period : 0;
}

double sw_cgroup_cpu_cores(const char *root, const char *path) {
    char here[PATH_MAX_BYTES], line[LINE_MAX_BYTES];
    double lowest = 0;
    snprintf(here, sizeof here, "%s", path);
    do {
        double cores = read_line(root, here, "cpu.max", line) ? parse_cores(line) : 0;
        lowest = cores > 0 && (lowest <= 0 || cores < lowest) ? cores : lowest;
    } while (climb(here));
    return lowest;
}

uint64_t sw_cgroup_memory_limit(const char *root, const char *path) {
    char here[PATH_MAX_BYTES], line[LINE_MAX_BYTES];
    uint64_t lowest = 0;
    snprintf(here, sizeof here, "%s", path);
    do {
        unsigned long long limit;
        bool is_limited = read_line(root, here, "memory.max", line) && sscanf(line, "%llu", &limit) == 1;
        lowest = is_limited && (lowest == 0 || limit < lowest) ? limit : lowest;
    } while (climb(here));
    return lowest;
}

/* "0::/kubepods/pod1" of /proc/self/cgroup; "" when there is no such line. */
static void own_cgroup(char ret[PATH_MAX_BYTES]) {
    char line[PATH_MAX_BYTES];
    FILE *f = fopen("/proc/self/cgroup", "re");
    ret[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::/", 4) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(ret, PATH_MAX_BYTES, "%s", strcmp(line, "0::/") == 0 ? "" : line + 3);
        }
    }
    if (f) {
        fclose(f);
    }
}

/* ---- the process */

static double seconds_of(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double available_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sw_cpu_count();
}

static uint64_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

void sw_resources_read(struct sw_resources *ret) {
    static const char root[] = "/sys/fs/cgroup";
    char path[PATH_MAX_BYTES];
    struct rusage usage;
    own_cgroup(path);
    double cores = available_cores(), quota = sw_cgroup_cpu_cores(root, path);
    uint64_t memory = machine_memory(), limit = sw_cgroup_memory_limit(root, path);
    bool is_known = getrusage(RUSAGE_SELF, &usage) == 0;
    *ret = (struct sw_resources){
        .cpu_seconds = is_known ? seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime) : 0,
        .memory_bytes = sw_memory_resident(),
        .cpu_cores = quota > 0 && quota < cores ? quota : cores,
        .memory_limit = limit && (memory == 0 || limit < memory) ? limit : memory,
    };
}
