/* A whole server in the test's process: fake engine, repository, executor, API, HTTP, and where wanted a registry on
 * SQLite and the file system that serving follows; and a client that sends bytes.
 *
 * Models are files of the fake engine in a folder of the test's own. When SW_API_RECORD names a file, every exchange is
 * appended to it as a JSON line, for test_responses.py to check against the OpenAPI document. */
#ifndef SW_TESTS_API_HARNESS_H
#define SW_TESTS_API_HARNESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"

struct harness_options {
    uint64_t inline_ns_max; /* 0: 10 s, so that everything runs inline */
    unsigned workers;       /* 0: 2 */
    size_t queue_max;       /* 0: 64 */
    uint64_t slow_ns;       /* 0: 20 ms */
    uint64_t wait_ns_max;   /* 0: any */
    bool registry;
    const char *store_url;         /* of the registry; NULL: SQLite in the folder */
    const char *registry_reason;   /* why there is none */
    bool no_serving;               /* nothing follows the registry */
    const struct sw_route *routes; /* instead of the API's; NULL: those */
    size_t route_count;
    bool no_monitor;                      /* monitoring is switched off */
    const char *rules;                    /* of alerts, YAML; NULL: the default ones */
    const struct sw_cache_options *cache; /* of results; clock NULL: the system's. NULL: none */
};

void harness_start(const struct harness_options *options);
void harness_stop(void);

/* "NAME.fake.json" with this text, added to the repository as NAME (and loaded). */
void harness_model(const char *name, const char *text, bool load);
/* A bundle folder NAME: bundle.yaml and model.fake.json. */
void harness_bundle(const char *name, const char *yaml, const char *text, bool load);
/* A file in the folder; harness_path: its path, valid until the 8th next call. */
void harness_write(const char *name, const char *text);
const char *harness_path(const char *name);

extern struct sw_repository *harness_repository;
extern struct sw_api *harness_api;
extern struct sw_scheduler *harness_scheduler;
extern struct sw_metrics *harness_metrics;
extern struct sw_cache *harness_cache;       /* NULL: none */
extern struct sw_monitor *harness_monitor;   /* without its threads: tests call sw_monitor_tick */
extern struct sw_registry *harness_registry; /* NULL: none */
/* Waits until the served models are as the registry is now. */
void harness_follow(void);
/* A writer that lets no other in until harness_unlock. */
void harness_lock(void);
void harness_unlock(void);
/* Uploads a text; its SHA-256 until the next call. */
const char *harness_upload(const char *text);
/* A version of this bundle (NULL: none) and model, through the API; its number. */
int harness_push(const char *model, const char *bundle, const char *text);

struct answer {
    int status;
    char *head; /* status line and headers, lower-cased names are not guaranteed */
    char *body; /* NUL-terminated */
    size_t body_len;
};

/* Sends and reads to the end of the connection. The answer is valid until the 4th next call. headers: extra lines, each
 * ending in \r\n, or NULL. */
struct answer harness_send(const char *method, const char *path, const char *headers, const void *body, size_t len);
struct answer harness_get(const char *path);
struct answer harness_post(const char *path, const char *json); /* application/json */
struct answer harness_put(const char *path, const char *json);
struct answer harness_patch(const char *path, const char *json);
struct answer harness_delete(const char *path);
/* In two halves, for requests that must overlap. */
int harness_begin(const char *method, const char *path, const char *headers, const void *body, size_t len);
struct answer harness_end(int fd, const char *method, const char *path);

/* The body as JSON: a new reference. */
json_t *harness_json(const struct answer *a);

/* Value of a header, or NULL; valid until the next call. */
const char *harness_header(const struct answer *a, const char *name);

/* One request and what must come back. */
struct expectation {
    const char *path;
    const char *
        body; /* POST when not NULL; one that begins with "PUT ", "PATCH ", "DELETE " or is "DELETE" is sent with that */
    int status;
    const char *contains; /* in the body; NULL: anything */
};
void harness_expect(const struct expectation *cases, size_t count);

#endif
