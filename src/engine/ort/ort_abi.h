/* The part of ONNX Runtime's binary interface that Slipway uses.
 *
 * The runtime hands out one table of function pointers (`OrtGetApiBase()->GetApi(20)`) to which releases only append:
 * a function's position is a fixed fact of the interface. ORT_FUNCTIONS below names the positions and signatures that
 * are called, nothing else; ort_api_bind copies them out of the table into a struct of typed pointers. The unit tests
 * prove the positions: known models, known outputs.
 *
 * Conventions of the runtime: functions that can fail return a status, NULL when they succeeded, to be released; names
 * handed out with an allocator are released with AllocatorFree; every Release function takes NULL. */
#ifndef SW_ENGINE_ORT_ORT_ABI_H
#define SW_ENGINE_ORT_ORT_ABI_H

#include <stddef.h>
#include <stdint.h>

enum { ORT_API_VERSION = 20 };

struct ort_status;
struct ort_env;
struct ort_threading;
struct ort_options;
struct ort_handle; /* a session */
struct ort_run_options;
struct ort_value;
struct ort_memory_info;
struct ort_allocator;
struct ort_type_info;
struct ort_shape_info;
struct ort_metadata;
struct ort_thread; /* made by our own callback, opaque to the runtime */

/* Fixed numbers of the interface. */
enum ort_severity { ORT_VERBOSE, ORT_INFO, ORT_WARNING, ORT_ERROR, ORT_FATAL };
enum { ORT_EXECUTE_SEQUENTIAL = 0, ORT_OPTIMIZE_ALL = 99, ORT_ALLOCATOR_DEVICE = 0, ORT_MEMORY_DEFAULT = 0 };
enum ort_kind {
    ORT_KIND_TENSOR = 1,
    ORT_KIND_SEQUENCE,
    ORT_KIND_MAP,
    ORT_KIND_OPAQUE,
    ORT_KIND_SPARSE,
    ORT_KIND_OPTIONAL
};
enum ort_element {
    ORT_FLOAT = 1,
    ORT_UINT8,
    ORT_INT8,
    ORT_UINT16,
    ORT_INT16,
    ORT_INT32,
    ORT_INT64,
    ORT_STRING,
    ORT_BOOL,
    ORT_FLOAT16,
    ORT_DOUBLE,
    ORT_UINT32,
    ORT_UINT64,
    ORT_COMPLEX64,
    ORT_COMPLEX128,
    ORT_BFLOAT16,
    ORT_ELEMENT_COUNT
};

typedef void ort_log_fn(void *arg, int severity, const char *category, const char *id, const char *place,
                        const char *message);
typedef void ort_worker_fn(void *arg);
typedef struct ort_thread *ort_thread_create_fn(void *options, ort_worker_fn *worker, void *worker_arg);
typedef void ort_thread_join_fn(struct ort_thread *thread);

/* X(position in the table, result, name, arguments) */
/* clang-format off */
#define ORT_FUNCTIONS(X)                                                                                               \
    X(2, const char *, GetErrorMessage, (const struct ort_status *))                                                   \
    X(6, struct ort_status *, DisableTelemetryEvents, (const struct ort_env *))                                        \
    X(7, struct ort_status *, CreateSession,                                                                           \
      (const struct ort_env *, const char *path, const struct ort_options *, struct ort_handle **))                    \
    X(9, struct ort_status *, Run,                                                                                     \
      (struct ort_handle *, const struct ort_run_options *, const char *const *input_names,                            \
       const struct ort_value *const *inputs, size_t input_count, const char *const *output_names,                     \
       size_t output_count, struct ort_value **outputs))                                                               \
    X(10, struct ort_status *, CreateSessionOptions, (struct ort_options **))                                          \
    X(13, struct ort_status *, SetSessionExecutionMode, (struct ort_options *, int))                                   \
    X(16, struct ort_status *, EnableMemPattern, (struct ort_options *))                                               \
    X(18, struct ort_status *, EnableCpuMemArena, (struct ort_options *))                                              \
    X(19, struct ort_status *, DisableCpuMemArena, (struct ort_options *))                                             \
    X(22, struct ort_status *, SetSessionLogSeverityLevel, (struct ort_options *, int))                                \
    X(23, struct ort_status *, SetSessionGraphOptimizationLevel, (struct ort_options *, int))                          \
    X(24, struct ort_status *, SetIntraOpNumThreads, (struct ort_options *, int))                                      \
    X(25, struct ort_status *, SetInterOpNumThreads, (struct ort_options *, int))                                      \
    X(30, struct ort_status *, SessionGetInputCount, (const struct ort_handle *, size_t *))                            \
    X(31, struct ort_status *, SessionGetOutputCount, (const struct ort_handle *, size_t *))                           \
    X(32, struct ort_status *, SessionGetOverridableInitializerCount, (const struct ort_handle *, size_t *))           \
    X(33, struct ort_status *, SessionGetInputTypeInfo, (const struct ort_handle *, size_t, struct ort_type_info **))  \
    X(34, struct ort_status *, SessionGetOutputTypeInfo, (const struct ort_handle *, size_t, struct ort_type_info **)) \
    X(35, struct ort_status *, SessionGetOverridableInitializerTypeInfo,                                               \
      (const struct ort_handle *, size_t, struct ort_type_info **))                                                    \
    X(36, struct ort_status *, SessionGetInputName,                                                                    \
      (const struct ort_handle *, size_t, struct ort_allocator *, char **))                                            \
    X(37, struct ort_status *, SessionGetOutputName,                                                                   \
      (const struct ort_handle *, size_t, struct ort_allocator *, char **))                                            \
    X(38, struct ort_status *, SessionGetOverridableInitializerName,                                                   \
      (const struct ort_handle *, size_t, struct ort_allocator *, char **))                                            \
    X(48, struct ort_status *, CreateTensorAsOrtValue,                                                                 \
      (struct ort_allocator *, const int64_t *shape, size_t rank, int element, struct ort_value **))                   \
    X(49, struct ort_status *, CreateTensorWithDataAsOrtValue,                                                         \
      (const struct ort_memory_info *, void *data, size_t bytes, const int64_t *shape, size_t rank, int element,       \
       struct ort_value **))                                                                                           \
    X(51, struct ort_status *, GetTensorMutableData, (struct ort_value *, void **))                                    \
    X(53, struct ort_status *, GetStringTensorDataLength, (const struct ort_value *, size_t *))                        \
    X(54, struct ort_status *, GetStringTensorContent,                                                                 \
      (const struct ort_value *, void *bytes, size_t byte_count, size_t *offsets, size_t offset_count))                \
    X(55, struct ort_status *, CastTypeInfoToTensorInfo,                                                               \
      (const struct ort_type_info *, const struct ort_shape_info **)) /* borrowed */                                   \
    X(56, struct ort_status *, GetOnnxTypeFromTypeInfo, (const struct ort_type_info *, int *))                         \
    X(60, struct ort_status *, GetTensorElementType, (const struct ort_shape_info *, int *))                           \
    X(61, struct ort_status *, GetDimensionsCount, (const struct ort_shape_info *, size_t *))                          \
    X(62, struct ort_status *, GetDimensions, (const struct ort_shape_info *, int64_t *, size_t))                      \
    X(63, struct ort_status *, GetSymbolicDimensions, (const struct ort_shape_info *, const char **, size_t))          \
    X(65, struct ort_status *, GetTensorTypeAndShape, (const struct ort_value *, struct ort_shape_info **))            \
    X(69, struct ort_status *, CreateCpuMemoryInfo, (int allocator, int memory, struct ort_memory_info **))            \
    X(76, struct ort_status *, AllocatorFree, (struct ort_allocator *, void *))                                        \
    X(78, struct ort_status *, GetAllocatorWithDefaultOptions, (struct ort_allocator **)) /* not to be released */     \
    X(92, void, ReleaseEnv, (struct ort_env *))                                                                        \
    X(93, void, ReleaseStatus, (struct ort_status *))                                                                  \
    X(94, void, ReleaseMemoryInfo, (struct ort_memory_info *))                                                         \
    X(95, void, ReleaseSession, (struct ort_handle *))                                                                 \
    X(96, void, ReleaseValue, (struct ort_value *))                                                                    \
    X(98, void, ReleaseTypeInfo, (struct ort_type_info *))                                                             \
    X(99, void, ReleaseTensorTypeAndShapeInfo, (struct ort_shape_info *))                                              \
    X(100, void, ReleaseSessionOptions, (struct ort_options *))                                                        \
    X(111, struct ort_status *, SessionGetModelMetadata, (const struct ort_handle *, struct ort_metadata **))          \
    X(112, struct ort_status *, ModelMetadataGetProducerName,                                                          \
      (const struct ort_metadata *, struct ort_allocator *, char **))                                                  \
    X(113, struct ort_status *, ModelMetadataGetGraphName,                                                             \
      (const struct ort_metadata *, struct ort_allocator *, char **))                                                  \
    X(114, struct ort_status *, ModelMetadataGetDomain,                                                                \
      (const struct ort_metadata *, struct ort_allocator *, char **))                                                  \
    X(115, struct ort_status *, ModelMetadataGetDescription,                                                           \
      (const struct ort_metadata *, struct ort_allocator *, char **))                                                  \
    X(116, struct ort_status *, ModelMetadataLookupCustomMetadataMap,                                                  \
      (const struct ort_metadata *, struct ort_allocator *, const char *key, char **))                                 \
    X(117, struct ort_status *, ModelMetadataGetVersion, (const struct ort_metadata *, int64_t *))                     \
    X(118, void, ReleaseModelMetadata, (struct ort_metadata *))                                                        \
    X(120, struct ort_status *, DisablePerSessionThreads, (struct ort_options *))                                      \
    X(121, struct ort_status *, CreateThreadingOptions, (struct ort_threading **))                                     \
    X(122, void, ReleaseThreadingOptions, (struct ort_threading *))                                                    \
    X(123, struct ort_status *, ModelMetadataGetCustomMetadataMapKeys,                                                 \
      (const struct ort_metadata *, struct ort_allocator *, char ***, int64_t *))                                      \
    X(130, struct ort_status *, AddSessionConfigEntry, (struct ort_options *, const char *key, const char *value))     \
    X(147, struct ort_status *, SetGlobalIntraOpNumThreads, (struct ort_threading *, int))                             \
    X(148, struct ort_status *, SetGlobalInterOpNumThreads, (struct ort_threading *, int))                             \
    X(149, struct ort_status *, SetGlobalSpinControl, (struct ort_threading *, int))                                   \
    X(151, struct ort_status *, CreateEnvWithCustomLoggerAndGlobalThreadPools,                                         \
      (ort_log_fn *, void *arg, int severity, const char *id, const struct ort_threading *, struct ort_env **))        \
    X(192, struct ort_status *, HasValue, (const struct ort_value *, int *))                                           \
    X(199, struct ort_status *, SetGlobalCustomCreateThreadFn, (struct ort_threading *, ort_thread_create_fn *))       \
    X(201, struct ort_status *, SetGlobalCustomJoinThreadFn, (struct ort_threading *, ort_thread_join_fn *))           \
    X(252, struct ort_status *, GetResizedStringTensorElementBuffer,                                                   \
      (struct ort_value *, size_t index, size_t bytes, char **))
/* clang-format on */

struct ort_api {
#define X(position, result, name, arguments) result(*name) arguments;
    ORT_FUNCTIONS(X)
#undef X
};

struct ort_api_base {
    const void *(*GetApi)(uint32_t version); /* the table, NULL when the library is older than the version asked for */
    const char *(*GetVersionString)(void);
};

typedef const struct ort_api_base *ort_get_api_base_fn(void);

static inline void ort_api_bind(struct ort_api *api, const void *table) {
    void (*const *slots)(void) = (void (*const *)(void))table;
#define X(position, result, name, arguments) api->name = (result(*) arguments)slots[position];
    ORT_FUNCTIONS(X)
#undef X
}

#endif
