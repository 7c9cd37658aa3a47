/* What the files of the registry share. Not for other folders.
 *
 *   registry.c   open, close, health          names.c          what names, paths, tags may be
 *   models.c     models                       rows.c           transactions, look-ups, statements over lists
 *   versions.c   versions                     documents.c      rows -> JSON documents
 *   create.c     new versions                 changes.c        descriptions and tags: differences are written
 *   pointers.c   aliases, stages, live        inspect.c        bundle and signature of files that become a version
 *   promote.c    gates, then pointers         import.c, archive*.c  archives -> blobs -> version
 *   rollback.c   history, rollback            gates.c, signature_compare.c  may this version go live?
 *   serving.c    what replicas load           materialise.c    a version's files as a folder
 *   blobs.c      which files are known        gc.c, holds.c, backup*.c, restore.c
 *   search.c     filters and orders           mlflow_artifacts.c  files under paths that clients choose
 *
 * Rules. Nothing slow happens inside a write transaction (they follow one another over all replicas): files are looked
 * at, hashed and run before it, and what was assumed then is checked again inside. A write transaction that changes
 * something stamps the model's revision (sw_registry_touch) and has an audit row (sw_registry_audit); one that changes
 * nothing is rolled back. Queries of a page: one a table, never one a row. */
#ifndef SW_REGISTRY_INTERNAL_H
#define SW_REGISTRY_INTERNAL_H

#include <stdatomic.h>

#include "base/buf.h"
#include "registry/registry.h"

enum {
    SW_REGISTRY_FILES_MAX = 10000,         /* of a version */
    SW_REGISTRY_ARENA_MAX = 256 << 20,     /* rows and texts of one call */
    SW_REGISTRY_DESCRIPTION_MAX = 1 << 16, /* bytes */
    SW_REGISTRY_SOURCE_MAX = 4096,
    SW_REGISTRY_REASON_MAX = 4096,
    SW_REGISTRY_TAGS_MAX = 500, /* of a model or version */
    SW_REGISTRY_TAG_KEY_MAX = 250,
    SW_REGISTRY_TAG_VALUE_MAX = 8192,
    SW_REGISTRY_METRICS_MAX = 1000,
    SW_REGISTRY_PATH_MAX = 512,
};

struct sw_registry {
    struct sw_store *store;
    struct sw_artifacts *artifacts;
    struct sw_model_options model; /* its engine list is borrowed */
    struct sw_clock *clock;
    char *directory;  /* DIR */
    char *serving;    /* folders of materialised versions, below DIR/serving: this process's own, see materialise.c */
    char *work;       /* folders of inspections and imports, below DIR/work: the same */
    int folders_lock; /* descriptor of the lock that says that this process uses the two */
    unsigned gate_iterations;
    uint64_t gc_grace_ms;
    atomic_bool stopping;
    atomic_ulong next_folder; /* number for the next folder's name, in serving or work */
};

/* ---- names.c: SW_E_INVALID_ARGUMENT, naming the field and what is wrong */

SW_MUST_CHECK sw_status sw_registry_check_name(const char *name, struct sw_error *err); /* of a model */
SW_MUST_CHECK sw_status sw_registry_check_actor(const struct sw_actor *actor, struct sw_error *err);
/* text NULL is allowed; UTF-8 without NUL, at most max bytes. */
SW_MUST_CHECK sw_status sw_registry_check_text(const char *field, const char *text, size_t max, struct sw_error *err);
/* An object of texts (null where nulls are allowed: "remove"); NULL is allowed. */
SW_MUST_CHECK sw_status sw_registry_check_tags(const json_t *tags, bool nulls, struct sw_error *err);
/* An object of finite numbers (null where nulls are allowed); NULL is allowed. */
SW_MUST_CHECK sw_status sw_registry_check_metrics(const json_t *metrics, bool nulls, struct sw_error *err);
/* Paths valid, no duplicate, no file that is also a folder of another, count within bounds. */
SW_MUST_CHECK sw_status sw_registry_check_files(const struct sw_version_file *files, size_t count,
                                                struct sw_error *err);

/* ---- transactions and rows (rows.c) */

/* Every function begins with one of these and an arena of its own. */
void sw_registry_arena(struct sw_arena *arena);
/* Commits when *status is SW_OK and something was changed; else rolls back. Returns what the caller is to return. */
SW_MUST_CHECK sw_status sw_registry_end(struct sw_tx *tx, sw_status status, bool changed, struct sw_error *err);
/* The same, and hands `document` (consumed; built inside the transaction) to *ret on success; ret may be NULL. */
SW_MUST_CHECK sw_status sw_registry_end_with(struct sw_tx *tx, sw_status status, bool changed, json_t *document,
                                             json_t **ret, struct sw_error *err);
SW_MUST_CHECK sw_status sw_registry_audit(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                                          const char *action, const char *object, json_t *before, json_t *after,
                                          struct sw_error *err); /* before and after: consumed; NULL is allowed */
/* Stamps the model: revision of the transaction, updated now. */
SW_MUST_CHECK sw_status sw_registry_touch(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                                          struct sw_error *err);
/* SW_E_NOT_FOUND, naming the model, unless it exists. */
SW_MUST_CHECK sw_status sw_registry_need_model(struct sw_tx *tx, const char *model, struct sw_error *err);
/* "3", an alias, "live" -> number of a version that exists. SW_E_NOT_FOUND names model or version. */
SW_MUST_CHECK sw_status sw_registry_find_version(struct sw_tx *tx, const char *model, const char *version,
                                                 int64_t *ret_number, struct sw_error *err);
/* Text column -> JSON, new reference; NULL text: NULL. SW_E_IO when the text is no JSON (a damaged database). */
SW_MUST_CHECK sw_status sw_registry_json(const char *text, json_t **ret, struct sw_error *err);
/* JSON -> text in the arena; NULL or null: NULL. */
SW_MUST_CHECK sw_status sw_registry_json_text(struct sw_arena *arena, const json_t *json, const char **ret,
                                              struct sw_error *err);
sw_status sw_registry_out_of_memory(struct sw_error *err);               /* SW_E_TOO_LARGE */
sw_status sw_registry_no_model(const char *model, struct sw_error *err); /* SW_E_NOT_FOUND */
int64_t sw_registry_now(struct sw_registry *registry);                   /* wall clock in ms */

/* Statements over a list: $1 is a JSON array, which the text returned (in the arena) turns into the rows of `page` in
 * front of `statement`. Write `FROM page p CROSS JOIN t ... WHERE`: SQLite then takes the tables in that order. */
enum sw_page_kind {
    SW_PAGE_MODELS,   /* ["name", ...]: page.model */
    SW_PAGE_VERSIONS, /* [["name", 3], ...]: page.model, page.version */
    SW_PAGE_FILES,    /* [["path", "digest", 17], ...]: page.path, page.digest, page.size */
};
SW_MUST_CHECK sw_status sw_registry_page_sql(struct sw_tx *tx, enum sw_page_kind kind, const char *statement,
                                             struct sw_arena *arena, const char **ret, struct sw_error *err);

/* A statement in the making, in an arena. Overflow is noticed at the end. */
struct sw_query {
    struct sw_buf sql;
    struct sw_value params[96];
    size_t count;
};
void sw_query_init(struct sw_query *query, struct sw_arena *arena);
void sw_query_text(struct sw_query *query, const char *sql);
/* Appends `sql`, which ends with a '$', the number of the parameter, and the parameter. */
void sw_query_param(struct sw_query *query, const char *sql, struct sw_value value);
/* SQLite's GLOB pattern of a LIKE pattern: LIKE ignores case there, GLOB does not. NULL: out of memory, or too long. */
const char *sw_query_glob_of_like(struct sw_arena *arena, const char *like);
SW_MUST_CHECK sw_status sw_query_run(struct sw_query *query, struct sw_tx *tx, struct sw_arena *arena,
                                     struct sw_rows *ret, struct sw_error *err);

/* Pages: a token is "KIND~" and the key of the last row shown. */
SW_MUST_CHECK sw_status sw_page_limit(const struct sw_page *page, size_t *ret, struct sw_error *err);
sw_status sw_page_bad_token(struct sw_error *err); /* SW_E_INVALID_ARGUMENT */

/* The clean-up of a json_t * local. */
static inline void sw_json_cleanup(json_t **json) {
    json_decref(*json);
}
#define SW_AUTO_JSON SW_CLEANUP(sw_json_cleanup)
static inline void sw_tx_cleanup(struct sw_tx **tx) {
    sw_tx_rollback(*tx);
}
#define SW_AUTO_TX SW_CLEANUP(sw_tx_cleanup) /* read transactions: nothing to commit */
#define SW_AUTO_ARENA SW_CLEANUP(sw_arena_deinit)

/* Files of a version that exists, by path, in the arena; digests and sizes as recorded. SW_E_NOT_FOUND. Its own read
 * transaction (_tx: in the caller's). */
SW_MUST_CHECK sw_status sw_registry_files(struct sw_registry *registry, const char *model, int64_t version,
                                          struct sw_arena *arena, struct sw_version_file **ret, size_t *ret_count,
                                          struct sw_error *err);
SW_MUST_CHECK sw_status sw_registry_files_tx(struct sw_tx *tx, const char *model, int64_t version,
                                             struct sw_arena *arena, struct sw_version_file **ret, size_t *ret_count,
                                             struct sw_error *err);

/* ---- models.c, changes.c */

/* A new row; SW_E_CONFLICT when the name is taken. Numbers go on where a deleted model of that name ended. */
SW_MUST_CHECK sw_status sw_registry_insert_model(struct sw_registry *registry, struct sw_tx *tx,
                                                 const struct sw_actor *actor, const char *name,
                                                 const char *description, struct sw_error *err);

/* A change of an object, as the audit tells it: the members that changed, before and after. */
struct sw_diff {
    json_t *before, *after; /* objects; owned until handed to sw_registry_audit */
    bool changed;
};
void sw_diff_init(struct sw_diff *diff);
void sw_diff_deinit(struct sw_diff *diff);
/* before and after: borrowed; NULL counts as null. */
void sw_diff_note(struct sw_diff *diff, const char *field, const char *key, json_t *before, json_t *after);
/* Hands before and after over to the audit row. */
SW_MUST_CHECK sw_status sw_diff_audit(struct sw_diff *diff, struct sw_registry *registry, struct sw_tx *tx,
                                      const struct sw_actor *actor, const char *action, const char *object,
                                      struct sw_error *err);
/* Merges `changes` (checked; null removes; NULL: none) into the tags of a model (version 0) or version; `tags`: as
 * they are. */
SW_MUST_CHECK sw_status sw_registry_change_tags(struct sw_tx *tx, const char *model, int64_t version, json_t *tags,
                                                const json_t *changes, struct sw_diff *diff, struct sw_error *err);
/* The member `description` of changes, checked: *ret is it, or NULL for null; *ret_given whether it is there. */
SW_MUST_CHECK sw_status sw_registry_description(const json_t *changes, const char **ret, bool *ret_given,
                                                struct sw_error *err);
/* Fails for a member of changes that is not in the NULL-terminated list. */
SW_MUST_CHECK sw_status sw_registry_check_changes(const json_t *changes, const char *const *known,
                                                  struct sw_error *err);

/* ---- blobs.c */

/* Makes the files' blobs used now. SW_E_DIGEST_MISMATCH: one is not known, of another size; SW_E_CONFLICT: gc is
 * deleting it. */
SW_MUST_CHECK sw_status sw_registry_use_blobs(struct sw_registry *registry, struct sw_tx *tx,
                                              const struct sw_version_file *files, size_t count, struct sw_arena *arena,
                                              struct sw_error *err);
/* The blobs of a version (0: of all versions of the model) cease to be needed by it now. */
SW_MUST_CHECK sw_status sw_registry_release_blobs(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                                                  int64_t version, struct sw_error *err);
/* Files as the JSON of SW_PAGE_FILES. */
SW_MUST_CHECK sw_status sw_registry_files_json(const struct sw_version_file *files, size_t count,
                                               struct sw_arena *arena, const char **ret, struct sw_error *err);

/* ---- inspect.c */

struct sw_inspection {
    json_t *signature; /* of the graph, as sw_onnx_signature gives it; NULL: not an ONNX file */
    json_t *metrics;   /* the numbers of the bundle's metadata; NULL: none */
    char *description; /* of the bundle; NULL: none */
};
/* Reads the files as the bundle (or the bare model file) that they are, without loading the model; each file it reads
 * is verified against its digest. The files are blobs; nothing is in the database yet. SW_E_MODEL_INVALID: no model
 * file, a broken bundle, a bundle called otherwise than `model`, a file it names is missing, a broken graph.
 * SW_E_DIGEST_MISMATCH, SW_E_UNAVAILABLE. On success the caller deinits *ret. */
SW_MUST_CHECK sw_status sw_registry_inspect_version(struct sw_registry *registry, const char *model,
                                                    const struct sw_version_file *files, size_t count,
                                                    struct sw_inspection *ret, struct sw_error *err);
void sw_inspection_deinit(struct sw_inspection *inspection);

/* ---- gates.c */

struct sw_candidate {
    const char *model;
    int64_t version;
    const json_t *metrics;        /* borrowed; NULL: none */
    const json_t *live_signature; /* served signature of the live version, borrowed; NULL: none is live */
    bool allow_breaking;
};
/* Materialises the candidate (a wrong digest or a missing blob is a failed gate "digest"), runs sw_gates_run on it,
 * lets the folder go. SW_OK whether gates pass or not; *ret_gates begins with the "digest" gate; *ret_signature NULL
 * when it did not load. *ret_loads false: cannot be forced. Other failures (SW_E_UNAVAILABLE,
 * SW_E_INSUFFICIENT_STORAGE, SW_E_NOT_FOUND): no gates. */
SW_MUST_CHECK sw_status sw_registry_run_gates(struct sw_registry *registry, const struct sw_candidate *candidate,
                                              json_t **ret_gates, json_t **ret_signature, bool *ret_passed,
                                              bool *ret_loads, struct sw_error *err);

/* ---- materialise.c */

/* Sets serving and work to new empty folders, and deletes those that processes left behind which run no more. Called
 * by open. */
SW_MUST_CHECK sw_status sw_registry_folders_reset(struct sw_registry *registry, struct sw_error *err);
/* Removes this process's folders, frees serving and work; called by close, also after a failed reset. */
void sw_registry_folders_close(struct sw_registry *registry);
/* A new empty folder inside registry->work; on the heap. */
SW_MUST_CHECK sw_status sw_registry_work_folder(struct sw_registry *registry, char **ret_path, struct sw_error *err);
/* Deletes a folder and all below it, following no link. What is not there is fine. */
void sw_registry_remove_tree(const char *path);

/* ---- documents.c: rows -> documents; new references */

SW_MUST_CHECK sw_status sw_registry_model_document(struct sw_tx *tx, const char *model, struct sw_arena *arena,
                                                   json_t **ret, struct sw_error *err); /* SW_E_NOT_FOUND */
SW_MUST_CHECK sw_status sw_registry_version_document(struct sw_tx *tx, const char *model, int64_t version,
                                                     struct sw_arena *arena, json_t **ret,
                                                     struct sw_error *err); /* SW_E_NOT_FOUND */
/* The columns that the two below read, in their order. */
extern const char sw_registry_model_columns[];   /* of `models m` */
extern const char sw_registry_version_columns[]; /* of `versions v JOIN models m ON m.name = v.model` */
SW_MUST_CHECK sw_status sw_registry_model_documents(struct sw_tx *tx, const struct sw_rows *rows,
                                                    struct sw_arena *arena, json_t **ret_array, struct sw_error *err);
SW_MUST_CHECK sw_status sw_registry_version_documents(struct sw_tx *tx, const struct sw_rows *rows,
                                                      struct sw_arena *arena, json_t **ret_array, struct sw_error *err);
json_t *sw_registry_time(int64_t wall_ms, bool is_null); /* RFC 3339 text, or null */

/* ---- pointers.c: which versions are pointed at; see the state machine there */

struct sw_pointers {
    int64_t live, previous, champion; /* 0: none */
    int64_t *production;              /* in the order they went there */
    size_t production_count;
    int64_t live_seq;   /* newest row of the live history; 0: none */
    int64_t latest;     /* highest version number ever given */
    int64_t moves_next; /* next versions.stage_seq */
};
/* SW_E_NOT_FOUND: no such model. */
SW_MUST_CHECK sw_status sw_pointers_load(struct sw_tx *tx, const char *model, struct sw_arena *arena,
                                         struct sw_pointers *ret, struct sw_error *err);
struct sw_move {
    const char *kind; /* of the history row */
    int64_t below;    /* row below the new one on the stack; -1: the one that is on top now */
    int64_t restores; /* row that it restores (rollback); 0: none */
};
/* After aliases and stages were changed: finds the new pointer state, writes a history row when another version is
 * live (or the move restores one), stamps the model. `before` is what was loaded before the change; *ret the state
 * now. */
SW_MUST_CHECK sw_status sw_pointers_settle(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                                           const struct sw_actor *actor, const struct sw_move *move,
                                           const struct sw_pointers *before, struct sw_arena *arena,
                                           struct sw_pointers *ret, struct sw_error *err);
/* alias := version; 0: deleted. */
SW_MUST_CHECK sw_status sw_pointers_set_alias(struct sw_tx *tx, const char *model, const char *alias, int64_t version,
                                              struct sw_error *err);
SW_MUST_CHECK sw_status sw_pointers_set_stage(struct sw_registry *registry, struct sw_tx *tx, const char *model,
                                              int64_t version, enum sw_stage stage, struct sw_pointers *pointers,
                                              struct sw_error *err);
/* What a rollback would go back to, from the row `from` (0: none) downwards: the first row with a version that is not
 * `live`, exists, and (wanted not 0) is `wanted`. *ret_seq 0: none. */
SW_MUST_CHECK sw_status sw_pointers_find_previous(struct sw_tx *tx, const char *model, int64_t from, int64_t live,
                                                  int64_t wanted, int64_t *ret_seq, int64_t *ret_version,
                                                  struct sw_error *err);
/* Finds models.previous again, after a version was deleted. */
SW_MUST_CHECK sw_status sw_pointers_refresh_previous(struct sw_tx *tx, const char *model,
                                                     const struct sw_pointers *pointers, struct sw_error *err);
/* [2, 3] of the database -> numbers in the arena. */
SW_MUST_CHECK sw_status sw_pointers_parse_list(const char *text, struct sw_arena *arena, int64_t **ret,
                                               size_t *ret_count, struct sw_error *err);
json_t *sw_number_or_null(int64_t number);                        /* 0: null */
json_t *sw_pointers_document(const struct sw_pointers *pointers); /* for the audit */

#endif
