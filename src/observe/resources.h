/* What this process uses, and what it may use: processor time and memory, against the limits of its cgroup. */
#ifndef SW_OBSERVE_RESOURCES_H
#define SW_OBSERVE_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

/* A value that cannot be found out is 0. */
struct sw_resources {
    double cpu_seconds;    /* used since the start, user and system */
    uint64_t memory_bytes; /* resident */
    double cpu_cores;      /* that it may use: quota of the cgroup, else processors it may run on */
    uint64_t memory_limit; /* bytes: of the cgroup, else of the machine */
};
void sw_resources_read(struct sw_resources *ret);

/* The lowest limit of a cgroup or any above it: cpu.max ("50000 100000", "max 100000") as cores, memory.max ("max",
 * bytes). 0: no limit. `root` is where the hierarchy is mounted ("/sys/fs/cgroup"), `path` that of the cgroup in it
 * ("/kubepods/pod1"); for tests, any folders. */
double sw_cgroup_cpu_cores(const char *root, const char *path);
uint64_t sw_cgroup_memory_limit(const char *root, const char *path);

#endif
