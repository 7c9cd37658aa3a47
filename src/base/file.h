/* Whole-file reading and paths. */
#ifndef SW_BASE_FILE_H
#define SW_BASE_FILE_H

#include "base/buf.h"
#include "base/error.h"

/* Reads a regular file of at most max_bytes into *ret_buf (initialised by this call; the caller deinits it).
 * SW_E_NOT_FOUND, SW_E_TOO_LARGE or SW_E_IO, the path in the message. */
SW_MUST_CHECK sw_status sw_file_read(const char *path, size_t max_bytes, struct sw_buf *ret_buf, struct sw_error *err);

bool sw_path_is_dir(const char *path);
bool sw_path_is_file(const char *path);

/* "dir/name" on the heap (sw_free). */
char *sw_path_join(const char *dir, const char *name);

/* Last component without directories; borrowed from path. */
struct sw_str sw_path_base(struct sw_str path);

/* Folder of the running program without a slash at its end, or "" when unknown. */
void sw_program_folder(char *ret_path, size_t size);

/* True when `name` stays inside the folder it is joined to: not absolute, no "..", no empty part. */
bool sw_path_is_inside(struct sw_str name);

#endif
