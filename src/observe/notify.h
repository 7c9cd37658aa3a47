/* Notifications: alerts that fire or end are told to a receiver over HTTP, one after another, in order.
 *
 *   SW_NOTIFY_WEBHOOK       POST of what Alertmanager sends to its webhook receivers (version 4), for whoever understands
 *                           that: chat bridges, on-call services, scripts
 *   SW_NOTIFY_ALERTMANAGER  POST to an Alertmanager itself, URL/api/v2/alerts; firing alerts are told again and again
 *                           (sw_notify_push by the monitor), since it forgets what it does not hear of
 *
 * An attempt that fails for a reason that may pass (no connection, 408, 429, 5xx) is made again after a back-off that
 * doubles up to SW_NOTIFY_RETRY_MAX_MS, for at most SW_NOTIFY_AGE_MAX_MS; any other answer but 2xx is final. The queue holds
 * SW_NOTIFY_QUEUE_MAX: when it is full the oldest is given up. The address comes from the configuration alone; redirects
 * are not followed, since they might carry the token elsewhere. One thread of its own sends. */
#ifndef SW_OBSERVE_NOTIFY_H
#define SW_OBSERVE_NOTIFY_H

#include <stdatomic.h>

#include "base/clock.h"
#include "observe/alerts.h"

enum {
    SW_NOTIFY_QUEUE_MAX = 256,
    SW_NOTIFY_RETRY_MIN_MS = 1000,
    SW_NOTIFY_RETRY_MAX_MS = 60 * 1000,
    SW_NOTIFY_AGE_MAX_MS = 24 * 3600 * 1000,
    SW_NOTIFY_AGAIN_MS = 60 * 1000,        /* how often an Alertmanager is told of what still fires, */
    SW_NOTIFY_VALID_MS = 5 * 60 * 1000,    /* and how long it believes it */
    SW_NOTIFY_SEND_TIMEOUT_MS = 10 * 1000, /* one attempt */
    SW_NOTIFY_ERROR_MAX = 256,
};

enum sw_notify_format { SW_NOTIFY_WEBHOOK, SW_NOTIFY_ALERTMANAGER };

/* What became of one attempt. */
struct sw_notify_outcome {
    bool is_delivered, is_final; /* neither: it will be tried again */
    unsigned attempts;
    const char *error; /* NULL: none */
};

/* Sends a body of JSON once: the HTTP status, or 0 and *error when there was no answer. Ends early when *stop is set. */
typedef int sw_notify_send(void *arg, const char *url, const char *token, struct sw_str body, const atomic_bool *stop,
                           char error[SW_NOTIFY_ERROR_MAX]);
sw_notify_send sw_notify_http; /* over libcurl; arg is not used */

struct sw_notify_options {
    const char *url;   /* http:// or https:// */
    const char *token; /* sent as "Authorization: Bearer"; NULL: none */
    enum sw_notify_format format;
    const char *external_url; /* of this server, for people who follow the link */
    sw_notify_send *send;
    void *send_arg;
    /* The notify thread, after each attempt. May not push. */
    void (*on_outcome)(void *arg, const char *alert_id, enum sw_alert_state state,
                       const struct sw_notify_outcome *outcome);
    void *arg;
    struct sw_clock *clock;
};

struct sw_notify;

struct sw_notify *sw_notify_create(const struct sw_notify_options *options);             /* copies the texts */
SW_MUST_CHECK sw_status sw_notify_start(struct sw_notify *notify, struct sw_error *err); /* the thread */
/* Ends the thread; what is queued is given up. NULL is allowed. */
void sw_notify_destroy(struct sw_notify *notify);

/* Any thread; never blocks. A copy is queued, unless the same alert in the same state waits already. ret_dropped: id of the
 * alert that had to make room, "" when none had to. */
void sw_notify_push(struct sw_notify *notify, const struct sw_alert *alert, char ret_dropped[SW_ALERT_ID_MAX]);
/* What the thread does, for tests: the attempt that is due, if any. Milliseconds until the next one; UINT64_MAX: none. */
uint64_t sw_notify_step(struct sw_notify *notify);

struct sw_notify_counts {
    uint64_t delivered, failed, dropped; /* notifications; dropped: the queue was full */
    size_t waiting;
};
void sw_notify_count(struct sw_notify *notify, struct sw_notify_counts *ret);

/* The body of a notification, a new reference. now_ms: when it is sent. */
json_t *sw_notify_body(const struct sw_alert *alert, enum sw_notify_format format, const char *external_url,
                       uint64_t now_ms);

#endif
