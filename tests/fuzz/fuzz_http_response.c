/* Reader of HTTP answers: any bytes, whole and cut into pieces by the input itself, must come to the same.
 *
 * Input: byte 0: whether the answer is to HEAD; byte 1: seed of the cuts; the rest is the answer. */
#include <stdlib.h>

#include "base/memory.h"
#include "load/response.h"

enum { BODY_MAX = 4096 };

struct outcome {
    enum sw_response_result result, end;
    int status;
    uint64_t body_len;
    bool close;
    size_t used;
};

static void check(bool good) {
    if (!good) {
        abort();
    }
}

/* seed 0: in one piece. Each piece is a copy of its own, so that a read behind it is seen. */
static struct outcome read_all(const uint8_t *data, size_t size, bool to_head, unsigned seed) {
    static struct sw_response r;
    struct outcome o = {.result = SW_RESPONSE_MORE};
    sw_response_init(&r, to_head, BODY_MAX);
    while (o.result == SW_RESPONSE_MORE && o.used < size) {
        size_t left = size - o.used, used;
        seed = seed ? seed * 1103515245u + 12345u : 0;
        size_t piece = seed ? 1 + (seed >> 16) % 7 : left;
        piece = piece < left ? piece : left;
        char *copy = sw_xmalloc(piece);
        memcpy(copy, data + o.used, piece);
        o.result = sw_response_feed(&r, copy, piece, &used);
        sw_free(copy);
        check(used <= piece && (used == piece || o.result != SW_RESPONSE_MORE));
        check(r.body_len <= BODY_MAX || o.result == SW_RESPONSE_TOO_LARGE);
        check((o.result == SW_RESPONSE_BAD || o.result == SW_RESPONSE_TOO_LARGE) == (r.reason != NULL));
        o.used += used;
    }
    check(o.result != SW_RESPONSE_DONE || (r.status >= 200 && r.status <= 599));
    o.end = o.result == SW_RESPONSE_MORE ? sw_response_end(&r) : o.result;
    o.status = r.status;
    o.body_len = r.body_len;
    o.close = r.close;
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct outcome whole = read_all(data + 2, size - 2, data[0] & 1, 0);
    struct outcome cut = read_all(data + 2, size - 2, data[0] & 1, data[1] + 1u);
    check(whole.result == cut.result && whole.end == cut.end && whole.status == cut.status);
    bool refused = whole.result == SW_RESPONSE_BAD || whole.result == SW_RESPONSE_TOO_LARGE;
    check(refused || (whole.body_len == cut.body_len && whole.close == cut.close && whole.used == cut.used));
    return 0;
}
