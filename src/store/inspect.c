/* A look at a database before it is used: whose it is and which migrations it has. Nothing is made or changed, so that
 * `slipway doctor` may run beside an older program that uses it. */
#include "store/migrations_internal.h"

sw_status sw_store_inspect(const struct sw_store_options *options, int *ret_applied, int *ret_known,
                           struct sw_error *err) {
    struct sw_store *store = NULL;
    struct sw_conn *conn = NULL;
    size_t applied = 0;
    SW_TRY(sw_store_create(options, &store, err));
    sw_status status = store->driver->connect_to_look(store, &conn, err);
    if (!status) {
        status = sw_migrations_applied(conn, &applied, err);
        store->driver->close(conn);
    }
    sw_store_close(store);
    if (status) {
        return status;
    }
    *ret_applied = (int)applied;
    *ret_known = (int)sw_migration_count;
    return SW_OK;
}
