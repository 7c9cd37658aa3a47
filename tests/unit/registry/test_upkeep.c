/* Upkeep: an outage of the artifact store is noticed without a request and recovers by itself; partitions come in time. */
#include "registry/upkeep.h"

#include <unistd.h>

#include "base/file.h"
#include "store/partitions.h"
#include "world.h"

static struct sw_upkeep_options options;
static struct sw_upkeep_state upkeep;

static int setup(void **state) {
    int rc = world_setup(state);
    options = (struct sw_upkeep_options){.store = world.store, .artifacts = world.artifacts, .clock = &world.clock};
    upkeep = (struct sw_upkeep_state){0};
    return rc;
}

static void step_after_ms(uint64_t ms) {
    sw_clock_manual_advance(&world.clock, ms * 1000000u);
    assert_in_range(sw_upkeep_step(&options, &upkeep), 1, SW_UPKEEP_PROBE_MS);
}

static bool is_healthy(void) {
    struct sw_error err;
    return sw_artifacts_health(world.artifacts, &err) == SW_OK;
}

static void an_outage_is_noticed_and_ends(void **state) {
    SW_AUTO_FREE char *uploads = sw_path_join(world.dir, "artifacts/uploads");
    SW_AUTO_FREE char *away = sw_path_join(world.dir, "away");
    step_after_ms(0);
    assert_true(is_healthy());
    assert_int_equal(rename(uploads, away), 0);
    step_after_ms(SW_UPKEEP_PROBE_MS - 1);
    assert_true(is_healthy()); /* nobody has looked yet */
    step_after_ms(1);
    assert_false(is_healthy());
    assert_int_equal(rename(away, uploads), 0);
    step_after_ms(SW_UPKEEP_RETRY_MS - 1);
    assert_false(is_healthy());
    step_after_ms(1);
    assert_true(is_healthy());
}

static size_t partition_count(void) {
    struct sw_arena arena;
    struct sw_partition *list;
    size_t count;
    sw_arena_init(&arena, 1 << 20, 0);
    assert_sw_ok(sw_partitions_list(world.store, &arena, &list, &count, err));
    sw_arena_deinit(&arena);
    return count;
}

static void partitions_come_in_time_and_go(void **state) {
    bool partitioned = sw_store_dialect(world.store) == SW_STORE_POSTGRESQL;
    options.keep_predictions_ms = 2 * 24 * 3600 * UINT64_C(1000);
    step_after_ms(0);
    assert_int_equal(partition_count(), partitioned ? 1 + SW_UPKEEP_DAYS_AHEAD : 0);
    for (int day = 1; day <= 5; day++) {
        step_after_ms(24 * 3600 * 1000);
    }
    /* Today, the days ahead, and two that are kept (the older of them in part). */
    assert_in_range(partition_count(), partitioned ? 1 + SW_UPKEEP_DAYS_AHEAD + 2 : 0,
                    partitioned ? 1 + SW_UPKEEP_DAYS_AHEAD + 3 : 0);
}

static void the_thread_ends_when_told(void **state) {
    struct sw_upkeep *thread;
    options.clock = sw_clock_system();
    assert_sw_ok(sw_upkeep_start(&options, &thread, err));
    sw_upkeep_stop(thread);
    sw_upkeep_stop(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_outage_is_noticed_and_ends, setup, world_teardown),
        cmocka_unit_test_setup_teardown(partitions_come_in_time_and_go, setup, world_teardown),
        cmocka_unit_test_setup_teardown(the_thread_ends_when_told, setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
