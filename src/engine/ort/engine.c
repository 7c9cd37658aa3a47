/* The ONNX Runtime engine: one environment, its memory description, its logger.
 *
 * Made once at start-up, before other threads exist. Sessions run on the threads of their callers; see pool.c for the
 * exception. The environment's pool is configured here but starts no thread. */
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "engine/ort/ort_internal.h"

enum { POOL_THREADS_MAX = 64 }; /* more do not help one run, and each costs memory from the start */

static const char *get_version(struct sw_engine *engine) {
    return ort_engine_of(engine)->version;
}

static bool accepts(struct sw_engine *engine, struct sw_str path) {
    return sw_str_ends(path, SW_STR(".onnx"));
}

static void destroy(struct sw_engine *engine) {
    struct ort_engine *e = ort_engine_of(engine);
    e->api.ReleaseMemoryInfo(e->cpu);
    e->api.ReleaseEnv(e->env);
    sw_free(e);
}

static const struct sw_tensor_specs *get_inputs(const struct sw_session *session) {
    return &ort_session_of(session)->inputs;
}

static const struct sw_tensor_specs *get_outputs(const struct sw_session *session) {
    return &ort_session_of(session)->outputs;
}

static const struct sw_engine_ops ops = {
    .name = "onnxruntime",
    .version = get_version,
    .destroy = destroy,
    .accepts = accepts,
    .load = ort_load,
    .unload = ort_unload,
    .inputs = get_inputs,
    .outputs = get_outputs,
    .describe = ort_describe,
    .run = ort_run,
};

void ort_log(void *arg, int severity, const char *category, const char *id, const char *place, const char *message) {
    enum sw_log_level level = severity >= ORT_ERROR && !ort_calls_in_progress ? SW_LOG_WARN : SW_LOG_DEBUG;
    if (level < sw_log_get_level()) {
        return;
    }
    char text[SW_ERROR_MESSAGE_MAX];
    ort_reason_clean(message, text, sizeof text);
    sw_log(level, "onnxruntime", SW_F_STR("detail", text), SW_F_STR("category", category ? category : ""));
}

static sw_status set_up_threads(struct ort_engine *e, unsigned threads, struct ort_threading *threading,
                                struct sw_error *err) {
    const struct ort_api *api = &e->api;
    unsigned count = threads ? threads : sw_cpu_count();
    count = count > POOL_THREADS_MAX ? POOL_THREADS_MAX : count;
    ORT_TRY(e, SW_E_IO, err, api->SetGlobalIntraOpNumThreads(threading, (int)count));
    ORT_TRY(e, SW_E_IO, err, api->SetGlobalInterOpNumThreads(threading, 1));
    ORT_TRY(e, SW_E_IO, err, api->SetGlobalSpinControl(threading, 0));
    ORT_TRY(e, SW_E_IO, err, api->SetGlobalCustomCreateThreadFn(threading, ort_pool_create_thread));
    ORT_TRY(e, SW_E_IO, err, api->SetGlobalCustomJoinThreadFn(threading, ort_pool_join_thread));
    return SW_OK;
}

static sw_status set_up(struct ort_engine *e, unsigned threads, struct sw_error *err) {
    const struct ort_api *api = &e->api;
    struct ort_threading *threading = NULL;
    ORT_TRY(e, SW_E_IO, err, api->CreateThreadingOptions(&threading));
    sw_status status = set_up_threads(e, threads, threading, err);
    if (!status) {
        struct ort_status *failed = api->CreateEnvWithCustomLoggerAndGlobalThreadPools(ort_log, NULL, ORT_ERROR,
                                                                                       "slipway", threading, &e->env);
        status = failed ? ort_fail(api, failed, SW_E_IO, err) : SW_OK;
    }
    api->ReleaseThreadingOptions(threading);
    SW_TRY(status);
    ORT_TRY(e, SW_E_IO, err, api->DisableTelemetryEvents(e->env));
    ORT_TRY(e, SW_E_IO, err, api->CreateCpuMemoryInfo(ORT_ALLOCATOR_DEVICE, ORT_MEMORY_DEFAULT, &e->cpu));
    ORT_TRY(e, SW_E_IO, err, api->GetAllocatorWithDefaultOptions(&e->allocator));
    return SW_OK;
}

sw_status sw_engine_ort_create(const struct sw_ort_options *options, struct sw_engine **ret, struct sw_error *err) {
    struct ort_engine *e = SW_NEW(struct ort_engine);
    e->base.ops = &ops;
    sw_status status = ort_library_open(options ? options->library_path : NULL, &e->api, &e->version, err);
    if (status) {
        sw_free(e);
        return status;
    }
    status = set_up(e, options ? options->threads : 1, err);
    if (status) {
        sw_error_prefix(err, "ONNX Runtime %s", e->version);
        destroy(&e->base);
        return status;
    }
    *ret = &e->base;
    return SW_OK;
}
