/* Finding and opening libonnxruntime.
 *
 * A path named by the options or by SLIPWAY_ORT_LIB is used or refused, never silently replaced by another library.
 * Without one, the places where `make setup` and packages put it are tried in order. The version is checked before the
 * table is asked for, because an older library prints to standard error when asked for a newer table.
 *
 * Official builds since 1.29 report usage over the network unless ORT_DISABLE_TELEMETRY is set when they are loaded;
 * so it is set here, before dlopen, whatever the environment said. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/memory.h"
#include "engine/ort/ort_internal.h"

enum { VERSION_MAJOR = 1, VERSION_MINOR_MIN = 20, TRIED_MAX = 4096 };

#define HOW_TO_GET_IT "run `make setup`, or name the library with SLIPWAY_ORT_LIB"

static bool version_fits(const char *version) {
    struct sw_str minor, major;
    struct sw_str rest = sw_str_split(sw_str_of(version), '.', &major);
    sw_str_split(rest, '.', &minor);
    uint64_t a, b;
    return sw_parse_u64(major, &a) && sw_parse_u64(minor, &b) && a == VERSION_MAJOR && b >= VERSION_MINOR_MIN;
}

/* The message of a failed dlopen repeats the path; keep what comes after it. */
static const char *open_reason(const char *path) {
    const char *reason = dlerror();
    if (!reason) {
        return "unknown reason";
    }
    size_t n = strlen(path);
    return strncmp(reason, path, n) == 0 && strncmp(reason + n, ": ", 2) == 0 ? reason + n + 2 : reason;
}

/* Opens one library and checks it; on failure the reason goes to *reasons. */
static bool open_one(const char *path, struct ort_api *ret_api, const char **ret_version, struct sw_buf *reasons) {
    sw_buf_printf(reasons, "%s%s", reasons->len ? ", " : "", path);
    if (strchr(path, '/') && access(path, F_OK) != 0) {
        return false; /* said once, for all, by the message around */
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *reason = open_reason(path);
        if (!strstr(reason, strerror(ENOENT))) {
            sw_buf_printf(reasons, " (%s)", reason);
        }
        return false;
    }
    ort_get_api_base_fn *get_base = (ort_get_api_base_fn *)dlsym(library, "OrtGetApiBase");
    const struct ort_api_base *base = get_base ? get_base() : NULL;
    if (!base) {
        SW_LIT(reasons, " (not an ONNX Runtime library)");
        dlclose(library);
        return false;
    }
    const char *version = base->GetVersionString();
    const void *table = version_fits(version) ? base->GetApi(ORT_API_VERSION) : NULL;
    if (!table) {
        sw_buf_printf(reasons, " (version %s, needed is %d.%d or a later %d.x)", version, VERSION_MAJOR,
                      VERSION_MINOR_MIN, VERSION_MAJOR);
        dlclose(library);
        return false;
    }
    ort_api_bind(ret_api, table);
    *ret_version = version;
    return true;
}

static bool open_searched(struct ort_api *ret_api, const char **ret_version, struct sw_buf *reasons) {
    char folder[PATH_MAX];
    sw_program_folder(folder, sizeof folder);
    const struct {
        const char *base, *rest;
    } places[] = {
        {folder, "/../third_party/onnxruntime/libonnxruntime.so"},
        {"", "third_party/onnxruntime/libonnxruntime.so"}, /* of the current directory */
        {folder, "/../lib/slipway/libonnxruntime.so"},
        {"", "libonnxruntime.so.1"}, /* the system's */
        {"", "libonnxruntime.so"},
    };
    for (size_t i = 0; i < SW_COUNTOF(places); i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof path, "%s%s", places[i].base, places[i].rest);
        if (open_one(path, ret_api, ret_version, reasons)) {
            return true;
        }
    }
    return false;
}

sw_status ort_library_open(const char *path, struct ort_api *ret_api, const char **ret_version, struct sw_error *err) {
    if (setenv("ORT_DISABLE_TELEMETRY", "1", 1) != 0) {
        return sw_fail(err, SW_E_UNAVAILABLE, "ONNX Runtime: its telemetry cannot be switched off: out of memory");
    }
    const char *origin = "asked for";
    if (!path || !*path) {
        path = getenv("SLIPWAY_ORT_LIB");
        origin = "named by SLIPWAY_ORT_LIB";
    }
    struct sw_buf reasons;
    sw_buf_init(&reasons, TRIED_MAX);
    sw_status status = SW_OK;
    if (path && *path) {
        if (!open_one(path, ret_api, ret_version, &reasons)) {
            status = sw_fail(err, SW_E_IO,
                             "ONNX Runtime: the library %s cannot be opened: %s; correct that or run `make setup`",
                             origin, reasons.data);
        }
    } else if (!open_searched(ret_api, ret_version, &reasons)) {
        status = sw_fail(err, SW_E_IO, "ONNX Runtime not found; " HOW_TO_GET_IT "; tried in this order: %s",
                         reasons.data ? reasons.data : "nothing");
    }
    sw_buf_deinit(&reasons);
    return status;
}
