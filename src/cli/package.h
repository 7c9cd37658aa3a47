/* What `model push` sends: the files of a model on this machine, with sizes and digests.
 *
 * A folder is walked: regular files only, in order of path; hidden ones are left out and counted; a link, a device
 * or a file that cannot be read is refused, because a version must be exactly what its folder shows. An ONNX file
 * brings the external data files that it names. An archive is one file, unpacked by the server. */
#ifndef SW_CLI_PACKAGE_H
#define SW_CLI_PACKAGE_H

#include "artifact/artifact.h"
#include "base/error.h"

enum { SW_PACKAGE_FILES_MAX = 10000, SW_PACKAGE_DEPTH_MAX = 32 };

struct sw_package_file {
    char *path;  /* inside the version, with slashes; of an archive its name */
    char *local; /* where it lies here */
    uint64_t size;
    struct sw_digest digest; /* set by sw_package_hash */
};

struct sw_package {
    bool is_archive;
    struct sw_package_file *files;
    size_t count, capacity;
    uint64_t bytes;      /* of all files */
    size_t hidden_count; /* files and folders that were left out */
};

/* SW_E_NOT_FOUND; SW_E_USAGE: neither folder, .onnx file nor archive; SW_E_INVALID_ARGUMENT: a link, a device, a
 * name that the registry does not take, nothing in it; SW_E_TOO_LARGE: too many files; SW_E_MODEL_INVALID: no ONNX
 * file. */
SW_MUST_CHECK sw_status sw_package_open(const char *path, struct sw_package *ret, struct sw_error *err);
void sw_package_deinit(struct sw_package *package);

/* Finds before anything is sent what the server would refuse afterwards: a bundle.yaml that is broken, that has
 * another name than `model`, or whose model file is not there; several .onnx files of which none is named. Archives
 * are not looked into. SW_E_MODEL_INVALID, SW_E_IO. */
SW_MUST_CHECK sw_status sw_package_check(const struct sw_package *package, const char *model, struct sw_error *err);

/* Reads every file once, in pieces. `moved` (may be NULL) hears how many bytes of the package are done.
 * SW_E_CONFLICT when a file has changed its size since. */
SW_MUST_CHECK sw_status sw_package_hash(struct sw_package *package, void (*moved)(void *arg, uint64_t done), void *arg,
                                        struct sw_error *err);

/* Is this the name of an archive that the server unpacks? */
bool sw_package_is_archive_name(struct sw_str name);

#endif
