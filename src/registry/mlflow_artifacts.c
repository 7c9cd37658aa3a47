/* Files under paths that clients choose: the table `mlflow_artifacts`.
 *
 * A folder is a prefix of paths: "a" is one when a path lies between "a/" and "a0" ('0' is the character after '/', and
 * paths are in the order of their bytes). Listing one skips from child to child, so that a folder with few children is
 * listed quickly however much lies below them.
 *
 * Invariant: no path is a file and a folder at once. A blob that a path lets go of is marked used now, so that gc
 * counts its days from there. */
#include <unistd.h>

#include "base/memory.h"
#include "registry/registry_internal.h"

enum { LISTED_MAX = 10000, LIST_PIECE = 500 };

static sw_status check_path(const char *path, struct sw_error *err) {
    if (!path || !sw_registry_path_valid(sw_str_of(path))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "path: '%.200s' is none: parts separated by single '/', without '.', '..', '\\' and control "
                       "characters, at most %d bytes",
                       path ? path : "", SW_REGISTRY_PATH_MAX);
    }
    return SW_OK;
}

static const char topmost_end[] = "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf"; /* twice the last character there is */

/* Where the paths below a folder begin and end. */
struct range {
    const char *from, *to;
};

static sw_status range_of(struct sw_arena *arena, const char *folder, struct range *ret, struct sw_error *err) {
    ret->from = *folder ? sw_arena_printf(arena, "%s/", folder) : "";
    ret->to = *folder ? sw_arena_printf(arena, "%s0", folder) : topmost_end;
    return ret->from && ret->to ? SW_OK : sw_registry_out_of_memory(err);
}

/* put -------------------------------------------------------------------------------------------------------------- */

static sw_status refuse_folder(struct sw_tx *tx, const char *path, struct sw_arena *arena, struct sw_error *err) {
    struct range range;
    struct sw_rows rows;
    SW_TRY(range_of(arena, path, &range, err));
    SW_TRY(sw_tx_query(tx, "SELECT path FROM mlflow_artifacts WHERE path > $1 AND path < $2 LIMIT 1",
                       SW_PARAMS(sw_v_text(range.from), sw_v_text(range.to)), arena, &rows, err));
    return rows.count ? sw_fail(err, SW_E_CONFLICT, "%.200s is a folder", path) : SW_OK;
}

static sw_status refuse_below_file(struct sw_tx *tx, const char *path, struct sw_arena *arena, struct sw_error *err) {
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct sw_str parent = {path, (size_t)(slash - path)};
        struct sw_rows rows;
        SW_TRY(sw_tx_query(tx, "SELECT path FROM mlflow_artifacts WHERE path = $1", SW_PARAMS(sw_v_str(parent)), arena,
                           &rows, err));
        if (rows.count) {
            return sw_fail(err, SW_E_CONFLICT, SW_STR_FMT " is a file; nothing can lie below it", SW_STR_ARG(parent));
        }
    }
    return SW_OK;
}

/* What the path held ceases to be needed by it now; *ret: its digest, or NULL. */
static sw_status release_path(struct sw_registry *registry, struct sw_tx *tx, const char *path, struct sw_arena *arena,
                              const char **ret, struct sw_error *err) {
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT digest FROM mlflow_artifacts WHERE path = $1", SW_PARAMS(sw_v_text(path)), arena,
                       &rows, err));
    *ret = rows.count ? sw_rows_text(&rows, 0, 0) : NULL;
    if (!*ret) {
        return SW_OK;
    }
    return sw_tx_exec(tx, "UPDATE blobs SET referenced_ms = $2 WHERE digest = $1",
                      SW_PARAMS(sw_v_text(*ret), sw_v_int(sw_registry_now(registry))), NULL, err);
}

static sw_status audit(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor, const char *action,
                       const char *path, json_t *before, json_t *after, struct sw_error *err) {
    char object[SW_REGISTRY_PATH_MAX + 32];
    snprintf(object, sizeof object, "mlflow-artifacts:/%s", path);
    return sw_registry_audit(registry, tx, actor, action, object, before, after, err);
}

static sw_status put(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor, const char *path,
                     const struct sw_blob *blob, struct sw_arena *arena, struct sw_error *err) {
    struct sw_version_file file = {path, blob->digest, blob->size};
    const char *old;
    SW_TRY(refuse_folder(tx, path, arena, err));
    SW_TRY(refuse_below_file(tx, path, arena, err));
    SW_TRY(release_path(registry, tx, path, arena, &old, err));
    SW_TRY(sw_registry_use_blobs(registry, tx, &file, 1, arena, err));
    SW_TRY(sw_tx_exec(tx,
                      "INSERT INTO mlflow_artifacts (path, digest, size, modified_ms) VALUES ($1, $2, $3, $4) "
                      "ON CONFLICT (path) DO UPDATE SET digest = excluded.digest, size = excluded.size, "
                      "modified_ms = excluded.modified_ms",
                      SW_PARAMS(sw_v_text(path), sw_v_text(blob->digest.hex), sw_v_int((int64_t)blob->size),
                                sw_v_int(sw_registry_now(registry))),
                      NULL, err));
    json_t *before = old ? json_pack("{s:s}", "sha256", old) : NULL;
    json_t *after = json_pack("{s:s, s:I}", "sha256", blob->digest.hex, "size", (json_int_t)blob->size);
    return audit(registry, tx, actor, "artifact.put", path, before, after, err);
}

sw_status sw_registry_put_artifact(struct sw_registry *registry, const struct sw_actor *actor, const char *path,
                                   const struct sw_blob *blob, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(check_path(path, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    return sw_registry_end(tx, put(registry, tx, actor, path, blob, &arena, err), true, err);
}

/* delete ----------------------------------------------------------------------------------------------------------- */

static sw_status delete_all(struct sw_registry *registry, struct sw_tx *tx, const struct sw_actor *actor,
                            const char *path, struct sw_arena *arena, struct sw_error *err) {
    struct range range;
    int64_t count;
    SW_TRY(range_of(arena, path, &range, err));
    struct sw_value wanted[] = {sw_v_text(path), sw_v_text(range.from), sw_v_text(range.to),
                                sw_v_int(sw_registry_now(registry))};
    SW_TRY(sw_tx_exec(tx,
                      "UPDATE blobs SET referenced_ms = $4 WHERE digest IN (SELECT digest FROM mlflow_artifacts "
                      "WHERE path = $1 OR (path > $2 AND path < $3))",
                      wanted, 4, NULL, err));
    SW_TRY(sw_tx_exec(tx, "DELETE FROM mlflow_artifacts WHERE path = $1 OR (path > $2 AND path < $3)", wanted, 3,
                      &count, err));
    if (count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "no file or folder %.200s", path);
    }
    return audit(registry, tx, actor, "artifact.delete", path, json_pack("{s:I}", "files", (json_int_t)count), NULL,
                 err);
}

sw_status sw_registry_delete_artifacts(struct sw_registry *registry, const struct sw_actor *actor, const char *path,
                                       struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    SW_TRY(check_path(path, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(registry->store, SW_TX_WRITE, &tx, err));
    return sw_registry_end(tx, delete_all(registry, tx, actor, path, &arena, err), true, err);
}

/* list ------------------------------------------------------------------------------------------------------------- */

/* The children of a folder, while paths below it are shown in order. */
struct listing {
    size_t prefix;      /* bytes of a path in front of the child's name */
    struct sw_str last; /* name of the folder that was listed last; paths below it are passed over */
    json_t *files;
};

/* *ret_folder: the path lies in a folder of the folder, whose paths need not be shown any more. */
static sw_status add_child(struct listing *listing, const char *path, uint64_t size, bool *ret_folder,
                           struct sw_error *err) {
    struct sw_str name, rest = sw_str_split(sw_str_of(path + listing->prefix), '/', &name);
    *ret_folder = rest.data != NULL;
    if (*ret_folder && sw_str_eq(name, listing->last)) {
        return SW_OK;
    }
    if (json_array_size(listing->files) == LISTED_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "the folder has more than %d files", LISTED_MAX);
    }
    json_t *entry = json_pack("{s:s%, s:b}", "path", name.data, name.len, "is_dir", *ret_folder);
    if (!*ret_folder) {
        json_object_set_new(entry, "file_size", json_integer((json_int_t)size));
    } else {
        listing->last = name;
    }
    return json_array_append_new(listing->files, entry) ? sw_registry_out_of_memory(err) : SW_OK;
}

/* Lists what lies from *from to `to`, at most a piece; *from becomes where to go on, NULL when that was all. */
static sw_status list_piece(struct sw_tx *tx, struct listing *listing, const char **from, const char *to,
                            struct sw_arena *arena, struct sw_error *err) {
    struct sw_rows rows;
    bool is_folder = false;
    const char *path = NULL;
    SW_TRY(sw_tx_query(tx,
                       "SELECT path, size FROM mlflow_artifacts WHERE path > $1 AND path < $2 ORDER BY path LIMIT $3",
                       SW_PARAMS(sw_v_text(*from), sw_v_text(to), sw_v_int(LIST_PIECE)), arena, &rows, err));
    for (size_t i = 0; i < rows.count; i++) {
        path = sw_rows_text(&rows, i, 0);
        SW_TRY(add_child(listing, path, (uint64_t)sw_rows_int(&rows, i, 1), &is_folder, err));
    }
    if (rows.count < LIST_PIECE) {
        *from = NULL;
        return SW_OK;
    }
    int length = (int)(listing->prefix + listing->last.len);
    *from = is_folder ? sw_arena_printf(arena, "%.*s0", length, path) : path;
    return *from ? SW_OK : sw_registry_out_of_memory(err);
}

static sw_status list(struct sw_tx *tx, const char *folder, struct listing *listing, struct sw_arena *arena,
                      struct sw_error *err) {
    struct range range;
    SW_TRY(range_of(arena, folder, &range, err));
    const char *from = range.from;
    while (from) {
        SW_TRY(list_piece(tx, listing, &from, range.to, arena, err));
    }
    return SW_OK;
}

static sw_status check_folder(const char *folder, struct sw_error *err) {
    return *folder ? check_path(folder, err) : SW_OK;
}

static void listing_init(struct listing *listing, const char *folder) {
    *listing = (struct listing){.prefix = *folder ? strlen(folder) + 1 : 0, .files = json_array()};
}

static sw_status listing_end(struct listing *listing, sw_status status, json_t **ret) {
    if (status) {
        json_decref(listing->files);
    } else {
        *ret = json_pack("{s:o}", "files", listing->files);
    }
    return status;
}

sw_status sw_registry_list_artifacts(struct sw_registry *registry, const char *folder, json_t **ret,
                                     struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct listing listing;
    SW_TRY(check_folder(folder, err));
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    listing_init(&listing, folder);
    return listing_end(&listing, list(tx, folder, &listing, &arena, err), ret);
}

static sw_status list_files(const struct sw_version_file *files, size_t count, const char *folder,
                            struct listing *listing, struct sw_error *err) {
    for (size_t i = 0; i < count; i++) {
        bool is_folder;
        const char *path = files[i].path;
        bool is_inside = *folder == '\0' ||
                         (sw_str_starts(sw_str_of(path), sw_str_of(folder)) && path[strlen(folder)] == '/');
        if (is_inside) {
            SW_TRY(add_child(listing, path, files[i].size, &is_folder, err));
        }
    }
    return SW_OK;
}

sw_status sw_registry_list_version_folder(struct sw_registry *registry, const char *model, const char *version,
                                          const char *folder, json_t **ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct listing listing;
    struct sw_version_file *files;
    int64_t number;
    size_t count;
    SW_TRY(check_folder(folder, err));
    SW_TRY(sw_registry_resolve(registry, model, version, &number, err));
    SW_TRY(sw_registry_files(registry, model, number, &arena, &files, &count, err));
    listing_init(&listing, folder);
    return listing_end(&listing, list_files(files, count, folder, &listing, err), ret);
}

/* read ------------------------------------------------------------------------------------------------------------- */

static sw_status find(struct sw_registry *registry, const char *path, struct sw_digest *ret_digest, uint64_t *ret_size,
                      struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(tx, "SELECT digest, size FROM mlflow_artifacts WHERE path = $1", SW_PARAMS(sw_v_text(path)),
                       &arena, &rows, err));
    if (rows.count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "no file %.200s", path);
    }
    if (!sw_digest_parse(sw_rows_at(&rows, 0, 0)->text, ret_digest)) {
        return sw_fail(err, SW_E_IO, "the database has no digest for %.200s", path);
    }
    *ret_size = (uint64_t)sw_rows_int(&rows, 0, 1);
    return SW_OK;
}

sw_status sw_registry_open_artifact(struct sw_registry *registry, const char *path, int *ret_fd, uint64_t *ret_size,
                                    struct sw_digest *ret_digest, struct sw_error *err) {
    struct sw_digest digest;
    uint64_t recorded, size;
    int fd;
    SW_TRY(check_path(path, err));
    SW_TRY(find(registry, path, &digest, &recorded, err));
    SW_TRY(sw_artifacts_open_blob(registry->artifacts, &digest, &fd, &size, err));
    if (size != recorded) {
        close(fd);
        return sw_fail(err, SW_E_DIGEST_MISMATCH, "%.200s: %llu bytes are stored, it has %llu", path,
                       (unsigned long long)size, (unsigned long long)recorded);
    }
    *ret_fd = fd;
    *ret_size = size;
    *ret_digest = digest;
    return SW_OK;
}

/* Rows of path, digest, size; `prefix` bytes are taken off each path. */
static sw_status files_of(const struct sw_rows *rows, size_t prefix, struct sw_arena *arena,
                          struct sw_version_file **ret, struct sw_error *err) {
    struct sw_version_file *files = sw_arena_calloc(arena, rows->count, sizeof *files);
    if (!files) {
        return sw_registry_out_of_memory(err);
    }
    for (size_t i = 0; i < rows->count; i++) {
        files[i].path = sw_rows_text(rows, i, 0) + prefix;
        files[i].size = (uint64_t)sw_rows_int(rows, i, 2);
        if (!sw_digest_parse(sw_rows_at(rows, i, 1)->text, &files[i].digest)) {
            return sw_fail(err, SW_E_IO, "the database has no digest for %.200s", sw_rows_text(rows, i, 0));
        }
    }
    *ret = files;
    return SW_OK;
}

sw_status sw_registry_artifact_files(struct sw_registry *registry, const char *path, struct sw_arena *arena,
                                     struct sw_version_file **ret, size_t *ret_count, struct sw_error *err) {
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct range range;
    struct sw_rows rows;
    SW_TRY(check_path(path, err));
    SW_TRY(range_of(arena, path, &range, err));
    SW_TRY(sw_store_begin(registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(
        tx,
        "SELECT path, digest, size FROM mlflow_artifacts WHERE path = $1 OR (path > $2 AND path < $3) "
        "ORDER BY path LIMIT $4",
        SW_PARAMS(sw_v_text(path), sw_v_text(range.from), sw_v_text(range.to), sw_v_int(SW_REGISTRY_FILES_MAX + 1)),
        arena, &rows, err));
    if (rows.count == 0) {
        return sw_fail(err, SW_E_NOT_FOUND, "no file or folder %.200s", path);
    }
    if (rows.count > SW_REGISTRY_FILES_MAX) {
        return sw_fail(err, SW_E_TOO_LARGE, "%.200s: more than %d files", path, SW_REGISTRY_FILES_MAX);
    }
    bool is_file = strcmp(sw_rows_text(&rows, 0, 0), path) == 0; /* then it is the only row */
    const char *slash = strrchr(path, '/');
    size_t prefix = is_file ? (slash ? (size_t)(slash + 1 - path) : 0) : strlen(path) + 1;
    SW_TRY(files_of(&rows, prefix, arena, ret, err));
    *ret_count = rows.count;
    return SW_OK;
}
