/* Files of a version into a folder of this machine, verified.
 *
 * Each goes to DIR/PATH/.NAME.SHA256.part, is hashed as it comes, and gets its name when size and SHA-256 are right;
 * what an interrupted pull left of it is hashed and gone on with. Folders are entered one by one without following
 * links, so that neither a path of the server nor a link that lies in DIR leads out of it. */
#ifndef SW_CLI_DOWNLOAD_H
#define SW_CLI_DOWNLOAD_H

#include "artifact/artifact.h"
#include "cli/client.h"
#include "cli/progress.h"

struct sw_receiver {
    struct sw_client *client;
    int dir;    /* descriptor of the folder */
    bool force; /* replace files that differ */
    struct sw_progress *progress;
    FILE *messages; /* about waiting; NULL: silent */
    void (*sleep_ms)(uint64_t ms);
    uint64_t done;     /* bytes of files finished so far, for the bar */
    uint64_t received; /* bytes that came over the wire */
};

/* Makes the folder when it does not exist and opens it. SW_E_IO. */
SW_MUST_CHECK sw_status sw_receiver_open_folder(const char *path, int *ret_dir, struct sw_error *err);

/* Is this path one that may be written under a folder? Relative, no "..", no ".", no empty part, nothing
 * unprintable. */
bool sw_download_path_fits(struct sw_str path);

/* One file. url_path: where the server has it. SW_E_CONFLICT: another file of that name is there;
 * SW_E_DIGEST_MISMATCH: what came is not what was announced, by length or content (nothing of it stays, and it is not
 * asked for again); SW_E_IO: the path leads out of the folder. */
SW_MUST_CHECK sw_status sw_receive_file(struct sw_receiver *receiver, const char *url_path, const char *path,
                                        uint64_t size, const struct sw_digest *digest, struct sw_error *err);

#endif
