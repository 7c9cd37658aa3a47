/* A temporary folder for a test: made, filled, removed with the plain files in it. */
#ifndef TEST_PIPELINE_FOLDER_H
#define TEST_PIPELINE_FOLDER_H

#include <dirent.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static inline char *folder_make(void) {
    char *path = sw_xstrdup("/tmp/slipway-test-XXXXXX");
    SW_ASSERT(mkdtemp(path));
    return path;
}

static inline char *folder_path(const char *dir, const char *name) {
    return sw_path_join(dir, name);
}

static inline void folder_write(const char *dir, const char *name, const void *data, size_t len) {
    SW_AUTO_FREE char *path = folder_path(dir, name);
    FILE *f = fopen(path, "wb");
    SW_ASSERT(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

static inline void folder_write_text(const char *dir, const char *name, const char *text) {
    folder_write(dir, name, text, strlen(text));
}

static inline void folder_remove(char *dir) {
    DIR *d = opendir(dir);
    SW_ASSERT(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] != '.') {
            SW_AUTO_FREE char *path = folder_path(dir, e->d_name);
            SW_ASSERT(unlink(path) == 0);
        }
    }
    closedir(d);
    SW_ASSERT(rmdir(dir) == 0);
    sw_free(dir);
}

#endif
