/* See key.h. SHA-256 by libcrypto, with one context a thread: a request takes no memory for it. */
#include "sched/cache/key.h"

#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;

static void free_context(void *context) {
    EVP_MD_CTX_free(context);
}

static void make_key(void) {
    SW_ASSERT(pthread_key_create(&context_key, free_context) == 0);
}

/* This thread's context, ready for a new digest. */
static EVP_MD_CTX *begin(void) {
    pthread_once(&once, make_key);
    EVP_MD_CTX *context = pthread_getspecific(context_key);
    if (SW_LIKELY(context != NULL)) {
        SW_ASSERT(EVP_DigestInit_ex(context, NULL, NULL) == 1); /* the same digest again */
        return context;
    }
    context = EVP_MD_CTX_new();
    SW_ASSERT(context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    SW_ASSERT(pthread_setspecific(context_key, context) == 0);
    return context;
}

static void add(EVP_MD_CTX *context, const void *data, size_t len) {
    SW_ASSERT(len == 0 || EVP_DigestUpdate(context, data, len) == 1);
}

static void add_u64(EVP_MD_CTX *context, uint64_t n) {
    add(context, &n, sizeof n);
}

static void end(EVP_MD_CTX *context, struct sw_cache_key *ret) {
    unsigned length = 0;
    unsigned char bytes[EVP_MAX_MD_SIZE];
    SW_ASSERT(EVP_DigestFinal_ex(context, bytes, &length) == 1 && length == SW_CACHE_KEY);
    memcpy(ret->bytes, bytes, SW_CACHE_KEY);
}

void sw_cache_scope(const struct sw_str *parts, size_t count, struct sw_cache_key *ret) {
    EVP_MD_CTX *context = begin();
    for (size_t i = 0; i < count; i++) {
        add_u64(context, parts[i].len);
        add(context, parts[i].data, parts[i].len);
    }
    end(context, ret);
}

static void add_strings(EVP_MD_CTX *context, const struct sw_tensor *t) {
    const struct sw_str *elements = t->data;
    for (size_t i = 0; i < t->count; i++) {
        add_u64(context, elements[i].len);
        add(context, elements[i].data, elements[i].len);
    }
}

/* Everything of fixed length first, so that where the data begins is never in doubt. */
static void add_tensor(EVP_MD_CTX *context, size_t place, const struct sw_tensor *t) {
    uint64_t head[3 + SW_RANK_MAX] = {place, t->dtype, t->rank};
    for (uint32_t d = 0; d < t->rank; d++) {
        head[3 + d] = (uint64_t)t->shape[d];
    }
    add(context, head, (3 + t->rank) * sizeof head[0]);
    if (t->dtype == SW_DTYPE_BYTES) {
        add_strings(context, t);
    } else {
        add(context, t->data, t->count * sw_dtype_size(t->dtype));
    }
}

/* The set of outputs: one bit each, in words. */
static void add_wanted(EVP_MD_CTX *context, const uint32_t *wanted, size_t count) {
    add_u64(context, wanted ? count : UINT64_MAX);
    uint32_t before = 0;
    for (size_t i = 0; wanted && i < count; i++) { /* ascending, without a copy: there are few */
        uint32_t next = UINT32_MAX;
        for (size_t k = 0; k < count; k++) {
            next = (i == 0 || wanted[k] > before) && wanted[k] < next ? wanted[k] : next;
        }
        add_u64(context, next);
        before = next;
    }
}

static const struct sw_tensor *find(const struct sw_tensor *inputs, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (sw_str_is(inputs[i].name, name)) {
            return &inputs[i];
        }
    }
    return NULL;
}

bool sw_cache_key_make(const struct sw_cache_key *scope, uint64_t generation, const struct sw_tensor_specs *specs,
                       const struct sw_tensor *inputs, size_t input_count, const uint32_t *wanted, size_t wanted_count,
                       struct sw_cache_key *ret) {
    EVP_MD_CTX *context = begin();
    size_t found = 0;
    add(context, scope->bytes, SW_CACHE_KEY);
    add_u64(context, generation);
    add_wanted(context, wanted, wanted_count);
    for (size_t i = 0; i < specs->count; i++) {
        const struct sw_tensor *t = find(inputs, input_count, specs->items[i].name);
        if (t) {
            add_tensor(context, i, t);
            found++;
        }
    }
    if (found != input_count) {
        return false;
    }
    end(context, ret);
    return true;
}
