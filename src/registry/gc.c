/* Garbage collection: removes files that nothing needs any more.
 *
 *   1. adopt    blobs of the artifact store that have no row (a crash between file and row) get one, aged as the file
 *   2. mark     one write transaction: ready -> deleting for blobs that no version and no MLflow path refers to and
 *               that nothing has needed since the cutoff; refused while a hold (a running backup) is there; audited
 *   3. remove   a few at a time inside a write transaction: the file, then the row; so nobody can bring the blob back
 *               in between
 *   4. sweep    uploads that nobody went on with
 *
 * A blob that is marked cannot be referred to again (sw_registry_use_blobs refuses it), so what step 2 saw stays true.
 * A run that dies after step 2 leaves marked rows, which the next run removes first. The cutoff is `days` back, and
 * never later than gc_grace_ms back, so that files of a push under way, which no version refers to yet, stay. */
#include "base/memory.h"
#include "registry/holds.h"
#include "registry/registry_internal.h"

enum {
    DAY_MS = 24 * 3600 * 1000,
    ADOPT_AT_ONCE = 500,
    MARK_AT_ONCE = 5000,
    REMOVE_AT_ONCE = 256, /* files deleted while the writer lock is held, ... */
    REMOVE_MS = 20,       /* ... as many as this time allows, and one more */
    ITEMS_SHOWN_MAX = 1000,
    DAYS_MAX = 100000,
};

struct gc {
    struct sw_registry *registry;
    const struct sw_actor *actor;
    bool dry_run;
    int64_t now_ms, cutoff_ms;
    json_t *items; /* owned by the document */
    int64_t count, bytes;
    int64_t unknown, unknown_bytes; /* of these: blobs without a row (dry run) */
};

#define UNNEEDED                                                                \
    "NOT EXISTS (SELECT 1 FROM version_files f WHERE f.digest = b.digest) AND " \
    "NOT EXISTS (SELECT 1 FROM mlflow_artifacts m WHERE m.digest = b.digest)"

static void show(struct gc *gc, const char *kind, const char *id, int64_t bytes, int64_t since_ms) {
    if (json_array_size(gc->items) < ITEMS_SHOWN_MAX) {
        json_array_append_new(gc->items,
                              json_pack("{s:s, s:s, s:I, s:f}", "kind", kind, "id", id, "bytes", (json_int_t)bytes,
                                        "age_days", (double)(gc->now_ms - since_ms) / (double)DAY_MS));
    }
}

/* Before each step: what was marked and is not removed yet, the next run removes. */
static sw_status check_stop(const struct gc *gc, struct sw_error *err) {
    return atomic_load(&gc->registry->stopping) ? sw_fail(err, SW_E_UNAVAILABLE, "the server is shutting down") : SW_OK;
}

static void show_upload(void *arg, const char *id, uint64_t bytes, uint64_t modified_ms) {
    show(arg, "upload", id, (int64_t)bytes, (int64_t)modified_ms);
}

/* ---- 1. adopt */

struct adoption {
    struct gc *gc;
    struct sw_blob *blobs;
    size_t count;
    sw_status status;
    struct sw_error err;
};

static sw_status adopt_one(struct sw_tx *tx, const struct sw_blob *blob, struct sw_error *err) {
    return sw_tx_exec(
        tx,
        "INSERT INTO blobs (digest, size, state, created_ms, referenced_ms) VALUES ($1, $2, 'ready', $3, $3) "
        "ON CONFLICT (digest) DO NOTHING",
        SW_PARAMS(sw_v_text(blob->digest.hex), sw_v_int((int64_t)blob->size), sw_v_int((int64_t)blob->modified_ms)),
        NULL, err);
}

/* Numbers (in text) of the batch's blobs that have no row. Asked in a read transaction: most runs find none, and then
 * no writer waits. */
static sw_status find_unknown(struct adoption *a, struct sw_arena *arena, struct sw_rows *ret, struct sw_error *err) {
    SW_AUTO_JSON json_t *list = json_array();
    for (size_t i = 0; i < a->count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        json_array_append_new(list, json_pack("[ssi]", number, a->blobs[i].digest.hex, 0));
    }
    SW_AUTO_TX struct sw_tx *tx = NULL;
    const char *text, *sql;
    SW_TRY(sw_registry_json_text(arena, list, &text, err));
    SW_TRY(sw_store_begin(a->gc->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_registry_page_sql(tx, SW_PAGE_FILES,
                                "SELECT p.path FROM page p LEFT JOIN blobs b ON b.digest = p.digest "
                                "WHERE b.digest IS NULL",
                                arena, &sql, err));
    return sw_tx_query(tx, sql, SW_PARAMS(sw_v_text(text)), arena, ret, err);
}

static const struct sw_blob *unknown_blob(const struct adoption *a, const struct sw_rows *unknown, size_t row) {
    uint64_t number = 0;
    bool parsed = sw_parse_u64(sw_str_of(sw_rows_text(unknown, row, 0)), &number);
    SW_ASSERT(parsed && number < a->count);
    return &a->blobs[number];
}

static sw_status insert_unknown(struct adoption *a, const struct sw_rows *unknown, struct sw_error *err) {
    struct sw_tx *tx;
    SW_TRY(sw_store_begin(a->gc->registry->store, SW_TX_WRITE, &tx, err));
    sw_status status = SW_OK;
    for (size_t i = 0; i < unknown->count && !status; i++) {
        status = adopt_one(tx, unknown_blob(a, unknown, i), err);
    }
    return sw_registry_end(tx, status, true, err);
}

static sw_status adopt_batch(struct adoption *a, struct sw_error *err) {
    SW_TRY(check_stop(a->gc, err));
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_rows unknown;
    SW_TRY(find_unknown(a, &arena, &unknown, err));
    if (unknown.count && !a->gc->dry_run) {
        SW_TRY(insert_unknown(a, &unknown, err));
    }
    for (size_t i = 0; i < unknown.count && a->gc->dry_run; i++) {
        const struct sw_blob *blob = unknown_blob(a, &unknown, i);
        show(a->gc, "blob", blob->digest.hex, (int64_t)blob->size, (int64_t)blob->modified_ms);
        a->gc->count++;
        a->gc->bytes += (int64_t)blob->size;
        a->gc->unknown++;
        a->gc->unknown_bytes += (int64_t)blob->size;
    }
    a->count = 0;
    return SW_OK;
}

static bool collect(void *arg, const struct sw_blob *blob) {
    struct adoption *a = arg;
    if ((int64_t)blob->modified_ms > a->gc->cutoff_ms) {
        return true;
    }
    a->blobs[a->count++] = *blob;
    if (a->count == ADOPT_AT_ONCE) {
        a->status = adopt_batch(a, &a->err);
    }
    return a->status == SW_OK;
}

static sw_status adopt(struct gc *gc, struct sw_error *err) {
    struct adoption a = {.gc = gc, .blobs = sw_xcalloc(ADOPT_AT_ONCE, sizeof *a.blobs)};
    sw_status status = sw_artifacts_each(gc->registry->artifacts, collect, &a, err);
    if (!status && !a.status && a.count) {
        a.status = adopt_batch(&a, &a.err);
    }
    sw_free(a.blobs);
    return status ? status : a.status ? sw_fail(err, a.status, "%s", a.err.message) : SW_OK;
}

/* ---- 2. mark */

static void note_rows(struct gc *gc, const struct sw_rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        show(gc, "blob", sw_rows_text(rows, i, 0), sw_rows_int(rows, i, 1), sw_rows_int(rows, i, 2));
        gc->count++;
        gc->bytes += sw_rows_int(rows, i, 1);
    }
}

static sw_status mark_rows(struct gc *gc, struct sw_tx *tx, size_t *ret_marked, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_rows rows;
    SW_TRY(sw_holds_check(tx, (uint64_t)gc->now_ms, err));
    SW_TRY(sw_tx_query(tx,
                       "UPDATE blobs SET state = 'deleting' WHERE digest IN (SELECT b.digest FROM blobs b WHERE "
                       "b.state = 'ready' AND b.referenced_ms <= $1 AND " UNNEEDED
                       " ORDER BY b.referenced_ms LIMIT $2) RETURNING digest, size, referenced_ms",
                       SW_PARAMS(sw_v_int(gc->cutoff_ms), sw_v_int(MARK_AT_ONCE)), &arena, &rows, err));
    *ret_marked = rows.count;
    if (rows.count == 0) {
        return SW_OK;
    }
    int64_t bytes = -gc->bytes;
    note_rows(gc, &rows);
    bytes += gc->bytes;
    return sw_registry_audit(gc->registry, tx, gc->actor, "registry.gc", "blobs", NULL,
                             json_pack("{s:I, s:I, s:I}", "blobs", (json_int_t)rows.count, "bytes", (json_int_t)bytes,
                                       "unneeded_since_ms", (json_int_t)gc->cutoff_ms),
                             err);
}

static sw_status mark(struct gc *gc, struct sw_error *err) {
    size_t marked;
    do {
        struct sw_tx *tx;
        marked = 0;
        SW_TRY(check_stop(gc, err));
        SW_TRY(sw_store_begin(gc->registry->store, SW_TX_WRITE, &tx, err));
        sw_status status = mark_rows(gc, tx, &marked, err);
        SW_TRY(sw_registry_end(tx, status, marked > 0, err));
    } while (marked == MARK_AT_ONCE);
    return SW_OK;
}

/* What mark would do. */
static sw_status look(struct gc *gc, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    SW_TRY(sw_store_begin(gc->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(tx,
                       "SELECT b.digest, b.size, b.referenced_ms FROM blobs b WHERE (b.state = 'deleting' OR "
                       "(b.referenced_ms <= $1 AND " UNNEEDED ")) ORDER BY b.referenced_ms",
                       SW_PARAMS(sw_v_int(gc->cutoff_ms)), &arena, &rows, err));
    note_rows(gc, &rows);
    return SW_OK;
}

/* ---- 3. remove */

static sw_status remove_some(struct gc *gc, struct sw_tx *tx, bool *ret_more, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    struct sw_rows rows;
    SW_TRY(sw_tx_query(tx, "SELECT digest FROM blobs WHERE state = 'deleting' ORDER BY digest LIMIT $1",
                       SW_PARAMS(sw_v_int(REMOVE_AT_ONCE)), &arena, &rows, err));
    uint64_t until_ns = sw_now_ns(gc->registry->clock) + REMOVE_MS * UINT64_C(1000000);
    size_t removed = 0;
    for (bool in_time = true; removed < rows.count && in_time; removed++) {
        const char *hex = sw_rows_text(&rows, removed, 0);
        struct sw_digest digest;
        if (!sw_digest_parse(sw_str_of(hex), &digest)) {
            return sw_fail(err, SW_E_IO, "the database names a blob '%s', which is no digest", hex);
        }
        SW_TRY(sw_artifacts_delete(gc->registry->artifacts, &digest, err));
        SW_TRY(sw_tx_exec(tx, "DELETE FROM blobs WHERE digest = $1 AND state = 'deleting'",
                          SW_PARAMS(sw_v_text(digest.hex)), NULL, err));
        in_time = sw_now_ns(gc->registry->clock) < until_ns;
    }
    *ret_more = removed < rows.count || rows.count == REMOVE_AT_ONCE;
    return SW_OK;
}

/* Nothing to remove is seen in a read transaction. */
static sw_status any_marked(struct gc *gc, bool *ret, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    SW_TRY(sw_store_begin(gc->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(tx, "SELECT 1 FROM blobs WHERE state = 'deleting' LIMIT 1", SW_NO_PARAMS, &arena, &rows, err));
    *ret = rows.count > 0;
    return SW_OK;
}

static sw_status remove_marked(struct gc *gc, struct sw_error *err) {
    bool more;
    SW_TRY(any_marked(gc, &more, err));
    while (more) {
        struct sw_tx *tx;
        SW_TRY(check_stop(gc, err));
        SW_TRY(sw_store_begin(gc->registry->store, SW_TX_WRITE, &tx, err));
        sw_status status = remove_some(gc, tx, &more, err);
        SW_TRY(sw_registry_end(tx, status, true, err));
    }
    return SW_OK;
}

/* ---- the whole */

static sw_status count_kept(struct gc *gc, int64_t *ret_count, int64_t *ret_bytes, struct sw_error *err) {
    SW_AUTO_ARENA struct sw_arena arena;
    sw_registry_arena(&arena);
    SW_AUTO_TX struct sw_tx *tx = NULL;
    struct sw_rows rows;
    SW_TRY(sw_store_begin(gc->registry->store, SW_TX_READ, &tx, err));
    SW_TRY(sw_tx_query(tx, "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs", SW_NO_PARAMS, &arena,
                       &rows, err));
    *ret_count = sw_rows_int(&rows, 0, 0) - (gc->dry_run ? gc->count - gc->unknown : 0);
    *ret_bytes = sw_rows_int(&rows, 0, 1) - (gc->dry_run ? gc->bytes - gc->unknown_bytes : 0);
    return SW_OK;
}

static sw_status run(struct gc *gc, struct sw_error *err) {
    SW_TRY(adopt(gc, err));
    if (gc->dry_run) {
        return look(gc, err);
    }
    SW_TRY(remove_marked(gc, err)); /* of a run that died */
    SW_TRY(mark(gc, err));
    return remove_marked(gc, err);
}

sw_status sw_registry_gc(struct sw_registry *registry, const struct sw_actor *actor, unsigned days, bool dry_run,
                         json_t **ret, struct sw_error *err) {
    SW_TRY(sw_registry_check_actor(actor, err));
    if (days > DAYS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "days: %u is more than %d", days, DAYS_MAX);
    }
    int64_t age_ms = (int64_t)days * DAY_MS;
    int64_t grace_ms = (int64_t)registry->gc_grace_ms;
    age_ms = age_ms > grace_ms ? age_ms : grace_ms;
    SW_AUTO_JSON json_t *items = json_array();
    struct gc gc = {.registry = registry, .actor = actor, .dry_run = dry_run, .items = items};
    gc.now_ms = sw_registry_now(registry);
    gc.cutoff_ms = gc.now_ms - age_ms;
    size_t uploads = 0;
    uint64_t upload_bytes = 0;
    int64_t kept = 0, kept_bytes = 0;
    SW_TRY(run(&gc, err));
    SW_TRY(sw_artifacts_sweep(registry->artifacts, (uint64_t)age_ms, dry_run, show_upload, &gc, &uploads, &upload_bytes,
                              err));
    SW_TRY(count_kept(&gc, &kept, &kept_bytes, err));
    json_t *document = json_pack("{s:b, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:O, s:{s:I, s:I}}", "dry_run", dry_run,
                                 "days", (json_int_t)days, "blobs", "count", (json_int_t)gc.count, "bytes",
                                 (json_int_t)gc.bytes, "uploads", "count", (json_int_t)uploads, "bytes",
                                 (json_int_t)upload_bytes, "items", items, "kept", "blobs", (json_int_t)kept, "bytes",
                                 (json_int_t)kept_bytes);
    if (!document) {
        return sw_registry_out_of_memory(err);
    }
    *ret = document;
    return SW_OK;
}
