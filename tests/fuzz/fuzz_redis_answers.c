/* What a server of Redis may send: any bytes, in pieces.
 *
 * The first byte says how large the pieces are, the second how large an answer may be. However they are cut, the same
 * answers are read; an answer is within its limits, its list of parts is a tree in order, and the memory that input takes
 * is bounded. Strings are tried as envelopes, arrays as maps of a cluster, errors as redirections. */
#include <stdlib.h>

#include "base/hash.h"
#include "sched/cache/redis_internal.h"

enum { PARTS_MAX = 40, UNREAD_MAX = 6000 };
static const struct redis_address asked = {.host = "asked", .port = 1};

static void check(bool good) {
    if (!good) {
        abort();
    }
}

static void check_parts(const struct redis_reader *r, size_t text_max) {
    size_t texts = 0;
    check(r->parts_count >= 1 && r->parts_count <= PARTS_MAX && r->parts[0].depth == 0);
    for (size_t i = 0; i < r->parts_count; i++) {
        const struct redis_part *p = &r->parts[i];
        check(p->type >= REDIS_STRING && p->type <= REDIS_OVERSIZE);
        check(i == 0 || (p->depth >= 1 && p->depth <= r->parts[i - 1].depth + 1));
        check(p->at + p->len <= r->text.len || p->len == 0);
        check(p->type != REDIS_STRING || p->len <= text_max);
        texts += p->len;
    }
    check(texts == r->text.len);
}

static void check_map(const struct redis_reader *r) {
    struct redis_range range;
    size_t position = 0;
    while (redis_slots_next(r, &asked, &position, &range) > 0) {
        check(range.first <= range.last && range.last < REDIS_SLOTS && range.master.host[0] && range.master.port);
    }
}

static void use(const struct redis_reader *r, struct redis_digest *digest) {
    static const uint8_t key[SW_REDIS_KEY];
    struct sw_str text = redis_part_text(r, redis_answer(r)), value;
    struct redis_redirect redirect;
    if (redis_answer(r)->type == REDIS_STRING && redis_envelope_open(digest, key, text, &value)) {
        check(value.len + REDIS_ENVELOPE == text.len);
    }
    if (redis_answer(r)->type == REDIS_ERROR && redis_redirect_parse(text, &asked, &redirect)) {
        check(redirect.slot < REDIS_SLOTS && redirect.address.host[0] && redirect.address.port);
    }
    check_map(r);
}

static uint64_t mix(const struct redis_reader *r, uint64_t hash) {
    for (size_t i = 0; i < r->parts_count; i++) {
        const struct redis_part *p = &r->parts[i];
        hash = sw_hash(&p->number, sizeof p->number, hash + (uint64_t)p->type * 31 + (uint64_t)p->depth);
    }
    return sw_hash(r->text.data ? r->text.data : "", r->text.len, hash);
}

/* A hash of all answers. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t piece, size_t text_max, struct redis_digest *digest) {
    struct redis_reader r;
    uint64_t hash = 0;
    enum redis_read read = REDIS_READ_MORE;
    check(redis_reader_init(&r, text_max));
    for (size_t at = 0; at < size && read != REDIS_READ_GARBAGE; at += piece) {
        check(redis_reader_feed(&r, (const char *)data + at, size - at < piece ? size - at : piece));
        while ((read = redis_reader_next(&r, text_max, PARTS_MAX)) == REDIS_READ_ANSWER) {
            check_parts(&r, text_max);
            use(&r, digest);
            hash = mix(&r, hash);
        }
        check(read == REDIS_READ_GARBAGE || r.reader->len <= text_max + UNREAD_MAX + piece);
    }
    redis_reader_deinit(&r);
    return sw_hash(&read, sizeof read, hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct redis_digest digest;
    check(digest.context || redis_digest_init(&digest));
    if (size < 2) {
        return 0;
    }
    size_t piece = 1 + data[0], text_max = data[1];
    uint64_t whole = read_all(data + 2, size - 2, size, text_max, &digest);
    uint64_t pieces = read_all(data + 2, size - 2, piece, text_max, &digest);
    check(whole == pieces || size - 2 > 4000); /* a line without end is refused when it is seen to be long */
    return 0;
}
