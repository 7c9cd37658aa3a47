/* Any bytes as an archive. The first one says which kind it is taken for, and whether the checksums of tar headers
 * are made good, without which hardly anything would get behind the first header. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "registry/archive_internal.h"

enum { FILES_MAX = 20, BYTES_MAX = 4 << 20, BLOCK = 512, RESEAL = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t begun, ended;
    uint64_t announced, received, total;
};

static sw_status on_begin(void *arg, const char *path, uint64_t size, struct sw_error *err) {
    struct seen *s = arg;
    SW_ASSERT(sw_registry_path_valid(sw_str_of(path)));
    SW_ASSERT(s->begun == s->ended);
    s->begun++;
    s->announced = size;
    s->received = 0;
    s->total += size;
    SW_ASSERT(s->begun <= FILES_MAX && s->total <= BYTES_MAX);
    return SW_OK;
}

static sw_status on_data(void *arg, const void *data, size_t len, struct sw_error *err) {
    struct seen *s = arg;
    s->received += len;
    SW_ASSERT(s->begun == s->ended + 1 && s->received <= s->announced);
    return SW_OK;
}

static sw_status on_end(void *arg, struct sw_error *err) {
    struct seen *s = arg;
    s->ended++;
    SW_ASSERT(s->begun == s->ended && s->received == s->announced);
    return SW_OK;
}

/* Makes every block a header with a good checksum; in content that changes eight bytes. */
static void reseal(uint8_t *data, size_t size) {
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        unsigned sum = 0, any = 0;
        for (size_t i = 0; i < BLOCK; i++) {
            any |= data[at + i];
        }
        if (!any) {
            continue;
        }
        memset(data + at + 148, ' ', 8);
        for (size_t i = 0; i < BLOCK; i++) {
            sum += data[at + i];
        }
        for (size_t i = 6; i-- > 0; sum >>= 3) {
            data[at + 148 + i] = (uint8_t)('0' + (sum & 7));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct sw_archive_limits limits = {
        .files_max = FILES_MAX, .bytes_max = BYTES_MAX, .ratio_max = 200, .ratio_from = 1 << 20};
    struct seen seen = {0};
    struct sw_archive_sink sink = {.arg = &seen, .begin = on_begin, .data = on_data, .end = on_end};
    struct sw_error err;
    enum sw_archive_kind kind;
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = sw_xmalloc(size);
    memcpy(copy, data + 1, size - 1);
    if (data[0] & RESEAL) {
        reseal(copy, size - 1);
    }
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    SW_ASSERT(fd >= 0 && write(fd, copy, size - 1) == (ssize_t)(size - 1));
    sw_free(copy);
    SW_ASSERT(sw_archive_detect(fd, &kind, &err) == SW_OK);
    if (data[0] & 7) { /* else as detected */
        kind = (enum sw_archive_kind)((data[0] & 7) % (SW_ARCHIVE_ZIP + 1));
    }
    if (kind != SW_ARCHIVE_NONE) {
        sw_status status = sw_archive_read(fd, kind, &limits, &sink, &err);
        SW_ASSERT(status || seen.begun == seen.ended);
        SW_ASSERT(status == SW_OK || status == SW_E_MODEL_INVALID || status == SW_E_TOO_LARGE);
    }
    close(fd);
    return 0;
}
