/* Sends one file to a server's artifact store, from where the server is, until the server has all of it.
 *
 *   upload known? --no--> POST uploads --complete--> done (the server has these bytes)
 *        | yes               | id
 *   GET upload --404--> forget the id, POST
 *        | offset
 *   PUT from offset --200--> done
 *        | broken, busy, another offset: wait, and GET again
 *
 * Attempts that bring nothing are counted, six are the end; one that moved the offset starts the count anew. A
 * server that never answered is not asked twice. */
#ifndef SW_CLI_UPLOAD_H
#define SW_CLI_UPLOAD_H

#include "cli/client.h"
#include "cli/package.h"
#include "cli/progress.h"

enum { SW_UPLOAD_ATTEMPTS = 6 };

struct sw_sender {
    struct sw_client *client;
    const char *state_folder;     /* of sw_upload_state_folder; NULL: nothing is remembered */
    struct sw_progress *progress; /* over the whole package */
    FILE *messages;               /* about waiting; NULL: silent */
    void (*sleep_ms)(uint64_t ms);
    uint64_t done;     /* bytes of files finished so far, for the bar */
    uint64_t sent;     /* bytes that really went over the wire */
    size_t files_sent; /* files that the server did not have */
    bool reached;      /* the server has answered: a break is worth another attempt from now on */
};

void sw_sleep_ms(uint64_t ms); /* for sleep_ms */

/* ret_id: of an archive, the upload that holds it; else "". */
SW_MUST_CHECK sw_status sw_send_file(struct sw_sender *sender, const struct sw_package_file *file, bool is_archive,
                                     char ret_id[SW_UPLOAD_ID + 1], struct sw_error *err);

/* How long to wait before attempt n (1, 2, ...), in ms: doubles from 500, at most 8 s; longer, up to 30 s, when the
 * server asked for it. */
uint64_t sw_retry_wait_ms(unsigned attempt, uint64_t retry_after_s);

#endif
