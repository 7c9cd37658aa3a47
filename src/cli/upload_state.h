/* Uploads that are under way, remembered on this machine so that an interrupted push goes on when it is given again.
 *
 *   $XDG_STATE_HOME/slipway/uploads/KEY   (or ~/.local/state/slipway/uploads) one small file an upload, holding its id
 *
 * KEY is the SHA-256 of server, kind and digest, so that pushes to several servers, and several pushes at once, do
 * not meet. A file is written under another name and renamed. What is lost here costs only time: the upload begins
 * anew. */
#ifndef SW_CLI_UPLOAD_STATE_H
#define SW_CLI_UPLOAD_STATE_H

#include "artifact/artifact.h"

struct sw_upload_key {
    const char *server;
    bool is_archive; /* an upload that is unpacked, not one that becomes a blob */
    const struct sw_digest *digest;
};

/* The folder, on the heap; NULL: there is no home, and nothing is remembered. */
char *sw_upload_state_folder(void);

/* false: none is known, or what is there is no id. */
bool sw_upload_state_get(const char *folder, const struct sw_upload_key *key, char ret_id[SW_UPLOAD_ID + 1]);
/* Makes the folder too. Files older than a week are removed on the way. */
SW_MUST_CHECK sw_status sw_upload_state_put(const char *folder, const struct sw_upload_key *key, const char *id,
                                            struct sw_error *err);
void sw_upload_state_remove(const char *folder, const struct sw_upload_key *key);

#endif
