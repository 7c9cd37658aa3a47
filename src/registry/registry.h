/* The registry: models, their immutable numbered versions, and which of them is live.
 *
 * It joins the metadata store (rows) and the artifact store (files): files first, row second, so a version that exists
 * has all its files. Every change is one write transaction that also holds its audit row: either both are durable or
 * neither.
 *
 *   model     name [A-Za-z0-9][A-Za-z0-9._-]{0,127}, description, tags, version policy
 *   version   1, 2, 3, ... never reused; files (path, SHA-256, size), signature, source, lineage (`replaces`), metrics,
 *             tags, description, gate results, created_by. Files, numbers, signature and source never change.
 *   alias     name -> version: champion, challenger, any [A-Za-z0-9][A-Za-z0-9._-]{0,127} that is no number, no
 *             v<digits>, not "latest" and not "live"
 *   stage     None, Staging, Production, Archived; one a version
 *
 * Numbers are never given twice, not even when a model is deleted and another of that name is created: who remembers
 * "digits/3" (a replica, a log) never means another file by it.
 *
 * Live: the version that requests without a version get: that of alias champion; without one, the version in
 * Production that went there last; else none. Every change of what is live pushes a row on the model's live history,
 * holding the whole pointer state (champion, versions in Production); rollback goes back to the row below, restoring
 * aliases and stages together, so repeated rollbacks walk back and a promotion after one starts a new branch from
 * there.
 *
 * Gates. Setting champion or Production runs them on the candidate before anything changes: digest of every file,
 * load, golden answers, signature compatible with the version that is live, latency, quality. Compatible: every input
 * of the live one is accepted with the same datatype and a shape at least as wide, no new required input, every output
 * still there with the same datatype and compatible shape. Results are stored on the version whatever they are. A
 * failed gate: SW_E_GATE_FAILED, nothing else changed. force: goes on all the same, needs a reason, and the audit row
 * says so; a wrong digest or a model that does not load cannot be forced. The change itself is compare-and-set against
 * the live version that the gates compared with: another promotion in between: SW_E_CONFLICT.
 *
 * Documents. What the API shows is built here as jansson objects (new references in *ret); their schemas are in
 * spec/schemas.json: RegistryModel, RegistryVersion, RegistryAlias, ...
 *
 * Threads: any; calls block on database and disks (gates: for as long as the model takes to load and run): never on an
 * I/O thread. Store away: SW_E_UNAVAILABLE. */
#ifndef SW_REGISTRY_REGISTRY_H
#define SW_REGISTRY_REGISTRY_H

#include <jansson.h>

#include "artifact/artifact.h"
#include "pipeline/model.h"
#include "store/audit.h"
#include "store/store.h"

struct sw_registry;

struct sw_registry_options {
    struct sw_store *store;         /* borrowed */
    struct sw_artifacts *artifacts; /* borrowed */
    struct sw_model_options model;  /* engines for the gates */
    const char *directory;          /* for folders of materialised versions: DIR/serving; emptied at open */
    struct sw_clock *clock;
    unsigned gate_iterations; /* runs of the latency gate; 0: 100 */
    uint64_t gc_grace_ms; /* gc leaves what was needed this short a time ago, whatever `days` is: pushes under way */
};

SW_MUST_CHECK sw_status sw_registry_open(const struct sw_registry_options *options, struct sw_registry **ret,
                                         struct sw_error *err);
/* The process is about to end: a gc that is running ends at its next step, SW_E_UNAVAILABLE. Any thread. */
void sw_registry_stop(struct sw_registry *registry);
void sw_registry_close(struct sw_registry *registry); /* NULL is allowed */
struct sw_store *sw_registry_store(struct sw_registry *registry);
struct sw_artifacts *sw_registry_artifacts(struct sw_registry *registry);
/* Store and artifacts both usable? SW_E_UNAVAILABLE, naming which is not. No I/O. */
sw_status sw_registry_health(struct sw_registry *registry, struct sw_error *err);

/* Who changes something, and why. */
struct sw_actor {
    const char *name;       /* "anonymous", "system", ... */
    const char *request_id; /* may be NULL */
    const char *reason;     /* may be NULL */
};

enum sw_stage { SW_STAGE_NONE, SW_STAGE_STAGING, SW_STAGE_PRODUCTION, SW_STAGE_ARCHIVED };
const char *sw_stage_name(enum sw_stage stage);              /* "None" "Staging" "Production" "Archived" */
bool sw_stage_parse(struct sw_str text, enum sw_stage *ret); /* ASCII case ignored */

bool sw_registry_name_valid(struct sw_str name); /* models: see above */
/* Keys of tags and metrics, as MLflow has them: 1 to 250 of [A-Za-z0-9_.:/ -]. */
bool sw_registry_key_valid(struct sw_str key);
bool sw_registry_alias_valid(struct sw_str alias);
/* A file's path inside a version: relative, no "..", no empty or "." part, at most 512 bytes, printable UTF-8, no
 * backslash. */
bool sw_registry_path_valid(struct sw_str path);

/* ---- models */

/* A page of a listing. */
struct sw_page {
    size_t limit;      /* 1 to 1000; 0: 100 */
    const char *token; /* next_page_token of the page before; NULL: the first. A wrong one: SW_E_INVALID_ARGUMENT */
};
struct sw_model_filter {
    const char *name;                /* exact; NULL: any */
    const char *name_prefix;         /* NULL: any */
    const char *name_like;           /* SQL LIKE pattern, case-sensitive; NULL: any (MLflow) */
    const char *tag_key, *tag_value; /* models with this tag; NULL: any */
};

SW_MUST_CHECK sw_status sw_registry_create_model(struct sw_registry *registry, const struct sw_actor *actor,
                                                 const char *name, const char *description, const json_t *tags,
                                                 json_t **ret, struct sw_error *err); /* SW_E_CONFLICT: exists */
SW_MUST_CHECK sw_status sw_registry_get_model(struct sw_registry *registry, const char *name, json_t **ret,
                                              struct sw_error *err);
/* {"models": [...], "next_page_token": null or text}: by name. */
SW_MUST_CHECK sw_status sw_registry_list_models(struct sw_registry *registry, const struct sw_model_filter *filter,
                                                const struct sw_page *page, json_t **ret, struct sw_error *err);
/* changes: object with any of description (text or null), tags (object: a value of null removes the tag, others are
 * merged), policy (see sw_version_policy; null: the server's default). Unknown members: SW_E_INVALID_ARGUMENT. */
SW_MUST_CHECK sw_status sw_registry_update_model(struct sw_registry *registry, const struct sw_actor *actor,
                                                 const char *name, const json_t *changes, json_t **ret,
                                                 struct sw_error *err);
SW_MUST_CHECK sw_status sw_registry_rename_model(struct sw_registry *registry, const struct sw_actor *actor,
                                                 const char *name, const char *new_name, json_t **ret,
                                                 struct sw_error *err);
/* Versions, aliases and history go too; files when gc comes. A model with a live version is refused unless force. */
SW_MUST_CHECK sw_status sw_registry_delete_model(struct sw_registry *registry, const struct sw_actor *actor,
                                                 const char *name, bool force, struct sw_error *err);

/* ---- files: which blobs the registry knows. A version can only be made of known ones. */

/* To be called by whoever has committed an upload, before the caller is told. SW_E_CONFLICT: gc is deleting this very
 * content; upload it again. */
SW_MUST_CHECK sw_status sw_registry_note_blob(struct sw_registry *registry, const struct sw_blob *blob,
                                              struct sw_error *err);
/* Is it here, so that it need not be uploaded? If so, gc sees it as used just now. *ret_size may be NULL. */
SW_MUST_CHECK sw_status sw_registry_has_blob(struct sw_registry *registry, const struct sw_digest *digest,
                                             bool *ret_known, uint64_t *ret_size, struct sw_error *err);

/* ---- versions */

struct sw_version_file {
    const char *path;
    struct sw_digest digest;
    uint64_t size;
};
struct sw_version_spec {
    const struct sw_version_file *files; /* at least one model file; all stored as blobs; at most 10,000 */
    size_t file_count;
    int64_t expected_number; /* 0: the next; else SW_E_CONFLICT when the next one is another (two pushes at once) */
    const char *description; /* NULL: the bundle's */
    const char *source;      /* where it came from: URL, path, "mlflow-artifacts:/..."; NULL */
    const char *run_id;      /* NULL */
    const json_t *tags;      /* object of texts; NULL */
    const json_t *metrics;   /* object of numbers, over those of the bundle's metadata; NULL */
};
/* The version's digest is the SHA-256 over its sorted lines "sha256 size path\n", one a file. Creates the model too
 * when it does not exist and create_model is set. Reads the bundle and the graph's signature without loading the model
 * (memory does not grow with its size). SW_E_MODEL_INVALID: no model file, a broken bundle, a bundle that is called
 * otherwise than the model, or a file it names that is missing; SW_E_DIGEST_MISMATCH: a blob is missing or of another
 * size; SW_E_CONFLICT: expected_number is not the next one, or gc is deleting a file. */
SW_MUST_CHECK sw_status sw_registry_create_version(struct sw_registry *registry, const struct sw_actor *actor,
                                                   const char *model, bool create_model,
                                                   const struct sw_version_spec *spec, json_t **ret,
                                                   struct sw_error *err);
/* Unpacks what the upload holds (a tar, tar.gz, tar.zst, tar.xz or zip archive, found by content, else one bare model
 * file, called `file_name` or "model.onnx") into blobs and creates the version of them; ends the upload. Regular files
 * and folders only; one common top folder is taken off. Links, devices, paths that leave the folder, duplicates, more
 * than 10,000 files, more than upload_max bytes in all or more than 200 times the packed size (from 1 MiB on):
 * SW_E_MODEL_INVALID or SW_E_TOO_LARGE, nothing changed. spec->files is ignored. */
SW_MUST_CHECK sw_status sw_registry_import(struct sw_registry *registry, const struct sw_actor *actor,
                                           const char *model, bool create_model, struct sw_upload *upload,
                                           const char *file_name, const struct sw_version_spec *spec, json_t **ret,
                                           struct sw_error *err);

/* "3", an alias, or "live". SW_E_NOT_FOUND. Deleted versions are not found. */
SW_MUST_CHECK sw_status sw_registry_resolve(struct sw_registry *registry, const char *model, const char *version,
                                            int64_t *ret_number, struct sw_error *err);
SW_MUST_CHECK sw_status sw_registry_get_version(struct sw_registry *registry, const char *model, const char *version,
                                                json_t **ret, struct sw_error *err);
struct sw_version_filter {
    const char *model;               /* NULL: of all models (MLflow) */
    int stage;                       /* enum sw_stage, or -1: any */
    const char *run_id;              /* NULL: any */
    const char *source;              /* exact; NULL: any */
    const char *tag_key, *tag_value; /* NULL: any */
};
/* {"versions": [...], "next_page_token"}: by model, then newest first. SW_E_NOT_FOUND: filter->model does not exist. */
SW_MUST_CHECK sw_status sw_registry_list_versions(struct sw_registry *registry, const struct sw_version_filter *filter,
                                                  const struct sw_page *page, json_t **ret, struct sw_error *err);
/* changes: description, tags, metrics (merged like tags). */
SW_MUST_CHECK sw_status sw_registry_update_version(struct sw_registry *registry, const struct sw_actor *actor,
                                                   const char *model, const char *version, const json_t *changes,
                                                   json_t **ret, struct sw_error *err);
/* SW_E_CONFLICT while it has an alias or is in Production. Its number is never given again. */
SW_MUST_CHECK sw_status sw_registry_delete_version(struct sw_registry *registry, const struct sw_actor *actor,
                                                   const char *model, const char *version, struct sw_error *err);
/* {"files": [{"path", "sha256", "size"}]}: by path. */
SW_MUST_CHECK sw_status sw_registry_list_files(struct sw_registry *registry, const char *model, const char *version,
                                               json_t **ret, struct sw_error *err);
/* One file of a version, open for sending. */
SW_MUST_CHECK sw_status sw_registry_open_file(struct sw_registry *registry, const char *model, const char *version,
                                              const char *path, int *ret_fd, uint64_t *ret_size,
                                              struct sw_digest *ret_digest, struct sw_error *err);

/* ---- pointers */

struct sw_promotion {
    const char *version;   /* number or alias */
    const char *alias;     /* set this alias to it; NULL: none */
    int stage;             /* enum sw_stage: move it there; -1: no */
    bool archive_existing; /* with Staging or Production: versions that are there go to Archived */
    bool force;            /* over failed gates; actor->reason needed: SW_E_INVALID_ARGUMENT without */
    bool allow_breaking;   /* an incompatible signature is no failure */
};
/* Alias and stage together, in one change. `model promote NAME V` is alias champion, stage Production,
 * archive_existing. Gates run when it is champion or Production that is set to another version than it is. *ret:
 * {"model", "version", "live", "previous_live", "gates": [...], "revision"}. With SW_E_GATE_FAILED *ret_gates (may be
 * NULL) gets the gates, a new reference. */
SW_MUST_CHECK sw_status sw_registry_promote(struct sw_registry *registry, const struct sw_actor *actor,
                                            const char *model, const struct sw_promotion *promotion, json_t **ret,
                                            json_t **ret_gates, struct sw_error *err);
/* {"aliases": [{"alias", "version"}]}: by name. */
SW_MUST_CHECK sw_status sw_registry_list_aliases(struct sw_registry *registry, const char *model, json_t **ret,
                                                 struct sw_error *err);
/* {"alias", "version"}. SW_E_NOT_FOUND. */
SW_MUST_CHECK sw_status sw_registry_get_alias(struct sw_registry *registry, const char *model, const char *alias,
                                              json_t **ret, struct sw_error *err);
SW_MUST_CHECK sw_status sw_registry_delete_alias(struct sw_registry *registry, const struct sw_actor *actor,
                                                 const char *model, const char *alias, struct sw_error *err);
/* Back to what was live before. version NULL: the nearest row below in the live history whose version still exists and
 * is not the live one (so never to "none"); else walks back to the newest such row with that version (a number or an
 * alias). Champion and the set of versions in Production become what they were there; versions that are in Production
 * now and were not then go to Archived. The files of the target are verified first (no other gates: it was live).
 * SW_E_CONFLICT: nothing to go back to, or somebody else changed what is live meanwhile (two rollbacks at once go back
 * one step, not two). *ret: {"model", "version", "previous_live", "revision"}. */
SW_MUST_CHECK sw_status sw_registry_rollback(struct sw_registry *registry, const struct sw_actor *actor,
                                             const char *model, const char *version, json_t **ret,
                                             struct sw_error *err);
/* {"history": [{"seq", "version" (null: none live), "kind": "promote"|"rollback"|"alias"|"stage"|..., "actor",
 * "reason", "time", "current": bool, "undone": bool}]}: newest first. A rollback is a row of its own; "undone": the
 * rows it went back over. */
SW_MUST_CHECK sw_status sw_registry_history(struct sw_registry *registry, const char *model, size_t limit, json_t **ret,
                                            struct sw_error *err);

/* ---- gates (gates.c): also usable alone, by validate and the tests */

struct sw_gate_input {
    const char *path; /* folder of the candidate, materialised and verified */
    const char *name;
    int64_t version;
    const json_t *metrics;        /* measured quality of the candidate, by name; NULL: none */
    const json_t *live_signature; /* served signature of the live version; NULL: none is live */
    bool allow_breaking;
    unsigned iterations;
};
/* *ret_gates: [{"name": "digest"|"load"|"golden"|"signature"|"latency"|<metric>, "status":
 * "passed"|"failed"|"skipped", "measured", "wanted", "detail"}]; *ret_signature: the served signature of the candidate
 * ({"inputs": [{name, datatype, shape, optional?}], "outputs": [...]}), NULL when it did not load. SW_OK whether gates
 * pass or not. Gates of the bundle: max_latency_ms (p95 of the runs), and max_X or min_X for a metric X (fpr is short
 * for false_positive_rate); one that nobody measured has failed. */
SW_MUST_CHECK sw_status sw_gates_run(const struct sw_gate_input *input, const struct sw_model_options *model,
                                     json_t **ret_gates, json_t **ret_signature, bool *ret_passed, bool *ret_loads,
                                     struct sw_error *err);
/* Why `candidate` breaks callers of `live`; false: it does not. */
bool sw_signature_breaks(const json_t *live, const json_t *candidate, char *ret_why, size_t why_size);

/* ---- serving: what a replica should load */

/* Which versions of a model are loaded. LIVE: the live one, those with an alias, those in Production. */
struct sw_version_policy {
    enum { SW_POLICY_DEFAULT, SW_POLICY_LIVE, SW_POLICY_LATEST, SW_POLICY_SPECIFIC, SW_POLICY_ALL } kind;
    unsigned latest;         /* LATEST: this many newest ones, and what LIVE has */
    const int64_t *specific; /* SPECIFIC: these, and what LIVE has */
    size_t specific_count;
};
/* {"kind": "live"} {"kind": "latest", "count": 3} {"kind": "specific", "versions": [1, 4]} {"kind": "all"} */
SW_MUST_CHECK sw_status sw_version_policy_parse(const json_t *json, struct sw_arena *arena,
                                                struct sw_version_policy *ret, struct sw_error *err);

struct sw_served_alias {
    const char *name;
    int64_t version;
};
struct sw_served_version {
    int64_t number;
    const char *
        digest; /* over its files. The same number with another digest is another thing: a model renamed to this name */
    uint64_t bytes; /* of its files */
    bool pinned;    /* live, aliased or in Production: not unloaded for memory */
    /* It is champion or in Production although its golden answers are wrong: somebody forced it. */
    bool golden_waived;
};
struct sw_served_model {
    const char *name;
    bool deleted;                       /* or renamed away: nothing of it is served any more */
    int64_t live;                       /* 0: none; always among the versions */
    int64_t previous;                   /* what a rollback would bring back; 0: none; need not be among the versions */
    struct sw_served_version *versions; /* that should be loaded, ascending */
    size_t version_count;
    struct sw_served_alias *aliases;
    size_t alias_count;
};
/* Models that changed after revision `since` (0: all that serve something), as of one moment; *ret_revision: that
 * moment. Everything in the arena. */
SW_MUST_CHECK sw_status sw_registry_serving(struct sw_registry *registry, int64_t since,
                                            const struct sw_version_policy *fallback, struct sw_arena *arena,
                                            struct sw_served_model **ret, size_t *ret_count, int64_t *ret_revision,
                                            struct sw_error *err);
/* The version's files as a folder under DIR/serving, each verified now; *ret_path on the heap. Several calls for one
 * version give folders of their own. */
SW_MUST_CHECK sw_status sw_registry_materialise(struct sw_registry *registry, const char *model, int64_t version,
                                                char **ret_path, struct sw_error *err);
void sw_registry_dematerialise(struct sw_registry *registry, const char *path); /* deletes such a folder */

/* ---- search (search.c), as MLflow's clients ask for it */

enum sw_search_field {
    SW_SEARCH_NAME,    /* text */
    SW_SEARCH_VERSION, /* number; of versions only, as the next two */
    SW_SEARCH_RUN_ID,  /* text */
    SW_SEARCH_SOURCE,  /* text */
    SW_SEARCH_CREATED, /* number: milliseconds since 1970 */
    SW_SEARCH_UPDATED, /* the same */
    SW_SEARCH_TAG,     /* text */
};
enum sw_search_op {
    SW_SEARCH_EQ,
    SW_SEARCH_NE,
    SW_SEARCH_LT, /* these four for numbers only */
    SW_SEARCH_LE,
    SW_SEARCH_GT,
    SW_SEARCH_GE,
    SW_SEARCH_LIKE,  /* these for texts only: % and _, case-sensitive */
    SW_SEARCH_ILIKE, /* ASCII case ignored */
    SW_SEARCH_IN,    /* one of a list; not of tags */
    SW_SEARCH_NOT_IN,
};
enum { SW_SEARCH_TERMS_MAX = 16, SW_SEARCH_LISTED_MAX = 32, SW_SEARCH_ORDERS_MAX = 4 };

/* One condition. What has no value for the field does not match it, whatever the operator. */
struct sw_search_term {
    enum sw_search_field field;
    enum sw_search_op op;
    const char *key;                        /* of a tag */
    bool absent;                            /* of a tag: who has no such tag matches too */
    const char *text;                       /* of text fields */
    int64_t number;                         /* of numbers */
    const char *list[SW_SEARCH_LISTED_MAX]; /* IN, NOT_IN */
    size_t list_count;
};
struct sw_search_order {
    enum sw_search_field field; /* NAME, CREATED, UPDATED, VERSION */
    bool descending;
};
struct sw_search {
    struct sw_search_term terms[SW_SEARCH_TERMS_MAX]; /* all must match */
    size_t term_count;
    struct sw_search_order orders[SW_SEARCH_ORDERS_MAX]; /* then by name, then by version, newest first */
    size_t order_count;
};
/* {"models": [...], "next_page_token"}. A token belongs to the orders of its search. SW_E_INVALID_ARGUMENT: a field or
 * operator that does not fit. */
SW_MUST_CHECK sw_status sw_registry_search_models(struct sw_registry *registry, const struct sw_search *search,
                                                  const struct sw_page *page, json_t **ret, struct sw_error *err);
/* {"versions": [...], "next_page_token"}. */
SW_MUST_CHECK sw_status sw_registry_search_versions(struct sw_registry *registry, const struct sw_search *search,
                                                    const struct sw_page *page, json_t **ret, struct sw_error *err);
/* {"versions": [...]}: of each of these models (a list of at most 1000 names) the newest version of each stage that has
 * any; names that are no model are passed over. */
SW_MUST_CHECK sw_status sw_registry_newest_versions(struct sw_registry *registry, const json_t *models, json_t **ret,
                                                    struct sw_error *err);

/* ---- files under paths that clients choose (mlflow_artifacts.c)
 *
 * What MLflow's clients upload before they make a version of it. A path is a file or a folder of files, never both;
 * folders come and go with the files below them. Blobs are shared with versions, so a version made of such files stays
 * what it is when they are replaced or deleted. Paths as sw_registry_path_valid has them. */

/* A blob (noted already) under this path, over what is there. SW_E_CONFLICT: the path is a folder, or lies below a
 * file. */
SW_MUST_CHECK sw_status sw_registry_put_artifact(struct sw_registry *registry, const struct sw_actor *actor,
                                                 const char *path, const struct sw_blob *blob, struct sw_error *err);
/* A file, or a folder with all that is below it. SW_E_NOT_FOUND. */
SW_MUST_CHECK sw_status sw_registry_delete_artifacts(struct sw_registry *registry, const struct sw_actor *actor,
                                                     const char *path, struct sw_error *err);
/* {"files": [{"path": name inside the folder, "is_dir", "file_size" (of files)}]}: what lies directly in a folder (""
 * is the topmost one), by name; empty when there is no such folder. SW_E_TOO_LARGE: more than 10,000. */
SW_MUST_CHECK sw_status sw_registry_list_artifacts(struct sw_registry *registry, const char *folder, json_t **ret,
                                                   struct sw_error *err);
/* The same of a folder inside a version. SW_E_NOT_FOUND: no such version. */
SW_MUST_CHECK sw_status sw_registry_list_version_folder(struct sw_registry *registry, const char *model,
                                                        const char *version, const char *folder, json_t **ret,
                                                        struct sw_error *err);
/* One file, open for sending. */
SW_MUST_CHECK sw_status sw_registry_open_artifact(struct sw_registry *registry, const char *path, int *ret_fd,
                                                  uint64_t *ret_size, struct sw_digest *ret_digest,
                                                  struct sw_error *err);
/* The files below a folder, their paths from there; or the one file of that path, under its last name. In the arena.
 * SW_E_NOT_FOUND; SW_E_TOO_LARGE: more than a version can have. */
SW_MUST_CHECK sw_status sw_registry_artifact_files(struct sw_registry *registry, const char *path,
                                                   struct sw_arena *arena, struct sw_version_file **ret,
                                                   size_t *ret_count, struct sw_error *err);

/* ---- keeping house (gc.c, backup.c) */

/* Removes what nothing needs and that is older than `days`: blobs that no version (and no MLflow artifact path, and no
 * running backup) refers to, uploads nobody goes on with, folders of deleted versions. *ret: {"dry_run", "days",
 * "blobs": {"count", "bytes"}, "uploads": {"count", "bytes"}, "items": [{"kind", "id", "bytes", "age_days"}] (at most
 * 1000), "kept": {"blobs", "bytes"}}. */
SW_MUST_CHECK sw_status sw_registry_gc(struct sw_registry *registry, const struct sw_actor *actor, unsigned days,
                                       bool dry_run, json_t **ret, struct sw_error *err);

#endif
