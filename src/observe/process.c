/* Gauges of this process, read from /proc when scraped. A value that cannot be read is left out, not shown as 0. */
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "observe/metrics.h"

/* Field `number` (1-based, as in proc(5), above 2) of /proc/self/stat; the name in field 2 may hold blanks. */
static bool stat_field(int number, unsigned long long *ret) {
    char text[2048];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f) {
        return false;
    }
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    for (int field = 2; p && field < number; field++) {
        p = strchr(p + 1, ' ');
    }
    return p && sscanf(p + 1, "%llu", ret) == 1;
}

/* Seconds since 1970 at which the machine started, or 0. */
static double boot_time(void) {
    struct timespec since_boot, wall;
    if (clock_gettime(CLOCK_BOOTTIME, &since_boot) || clock_gettime(CLOCK_REALTIME, &wall)) {
        return 0;
    }
    return (double)(wall.tv_sec - since_boot.tv_sec) + (double)(wall.tv_nsec - since_boot.tv_nsec) / 1e9;
}

/* Descriptors open, the one that counts them left out; -1 when unknown. */
static long open_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return -1;
    }
    long count = -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static void set(struct sw_metrics *metrics, enum sw_metric metric, double value) {
    sw_series_set(sw_metrics_series(metrics, metric, NULL), value);
}

static double seconds_of(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void scrape(void *arg, struct sw_metrics *metrics) {
    uint64_t resident = sw_memory_resident();
    unsigned long long virtual_bytes;
    struct rlimit limit;
    struct rusage usage;
    long fds = open_fds();
    if (resident) {
        set(metrics, SW_METRIC_PROCESS_RESIDENT_MEMORY_BYTES, (double)resident);
    }
    if (stat_field(23, &virtual_bytes)) {
        set(metrics, SW_METRIC_PROCESS_VIRTUAL_MEMORY_BYTES, (double)virtual_bytes);
    }
    if (fds >= 0) {
        set(metrics, SW_METRIC_PROCESS_OPEN_FDS, (double)fds);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        set(metrics, SW_METRIC_PROCESS_MAX_FDS, (double)limit.rlim_cur);
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        set(metrics, SW_METRIC_PROCESS_CPU_SECONDS_TOTAL, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
}

void sw_metrics_add_process(struct sw_metrics *metrics) {
    unsigned long long start_ticks;
    double boot = boot_time();
    if (boot > 0 && stat_field(22, &start_ticks)) {
        /* Set once: computed anew at each scrape it would wander with the wall clock. */
        set(metrics, SW_METRIC_PROCESS_START_TIME_SECONDS, boot + (double)start_ticks / (double)sysconf(_SC_CLK_TCK));
    }
    sw_metrics_on_scrape(metrics, scrape, NULL);
}
