/* LZW as GIF uses it: codes of 3 to 12 bits, least significant bit first, in blocks of at most 255 bytes.
 *
 * Every string in the table is the string of the code before it and the first index of the next one, which is what was
 * written at that moment. So the table holds no indices: of each code only its length and where in the output its string
 * stands, and writing a code copies from the output. When indices are not wanted the lengths alone say how many there
 * are, and a frame costs time by its codes, whatever its size says.
 *
 * Codes: GIF89a specification, appendix F. */
#include "apps/starlight/decode_internal.h"

enum { CODE_BITS_MAX = 12, CODES_MAX = 1 << CODE_BITS_MAX };

/* Bits out of data blocks. */
struct bits {
    const uint8_t *data;
    size_t size, at;  /* at: next byte */
    size_t block_end; /* of the block that `at` is in */
    uint64_t window;  /* bits not yet taken, the next one lowest */
    uint32_t count;
    bool ended; /* block terminator, or the end of the file */
    bool cut;   /* the file ended inside the blocks */
};

/* Into the next block. false: there is none, and `at` stays at block_end. */
static bool next_block(struct bits *b) {
    size_t room = b->size - b->at, n = room ? b->data[b->at] : 0;
    b->cut = room < n + 1;
    b->ended = b->cut || n == 0;
    b->at += b->cut ? 0 : 1;
    b->block_end = b->at + (b->cut ? 0 : n);
    return !b->ended;
}

/* At least `need` bits into the window; false when there are no more. */
static bool refill(struct bits *b, uint32_t need) {
    while (b->count <= 56) {
        if (b->at == b->block_end && (b->ended || !next_block(b))) {
            break;
        }
        b->window |= (uint64_t)b->data[b->at++] << b->count;
        b->count += 8;
    }
    return b->count >= need;
}

/* To the block terminator; false when the file ends before it. */
static bool skip_blocks(struct bits *b) {
    while (!b->ended) {
        b->at = b->block_end;
        next_block(b);
    }
    return !b->cut;
}

struct table {
    uint32_t start[CODES_MAX]; /* where in the output; of codes above the end code */
    uint32_t length[CODES_MAX];
};

/* One string to the output; pieces that would not fit are left out. */
static void write_string(const struct table *t, uint32_t code, uint32_t clear, uint8_t *out, uint64_t at,
                         uint64_t count) {
    if (code < clear) {
        out[at] = (uint8_t)code;
        return;
    }
    uint64_t n = t->length[code] < count - at ? t->length[code] : count - at;
    const uint8_t *from = out + t->start[code];
    for (uint64_t i = 0; i < n; i++) { /* the last index may be one that is only now written */
        out[at + i] = from[i];
    }
}

static const char *decode(struct bits *b, uint32_t min_bits, uint8_t *out, uint64_t count) {
    struct table t;
    const uint32_t clear = 1u << min_bits, end = clear + 1;
    uint32_t width = min_bits + 1, next = end + 1, last_length = 0;
    uint64_t at = 0, last_at = 0;
    while (at < count) {
        if (b->count < width && !refill(b, width)) {
            return "its picture data are truncated";
        }
        uint32_t code = (uint32_t)b->window & ((1u << width) - 1);
        b->window >>= width;
        b->count -= width;
        if (code == clear) {
            width = min_bits + 1;
            next = end + 1;
            last_length = 0;
            continue;
        }
        if (code == end) {
            return "its picture data end early";
        }
        if (last_length && next < CODES_MAX) { /* the string before and the first index of this one */
            t.start[next] = (uint32_t)last_at;
            t.length[next] = last_length + 1;
            next++;
        }
        if (code >= next || (code > end && !last_length)) {
            return "its picture data are damaged";
        }
        if (out) {
            write_string(&t, code, clear, out, at, count);
        }
        last_at = at;
        last_length = code < clear ? 1 : t.length[code];
        at += last_length;
        if (next == 1u << width && width < CODE_BITS_MAX) {
            width++;
        }
    }
    return NULL;
}

const char *sw_starlight_gif_lzw(const uint8_t *blocks, size_t size, uint8_t *out, uint64_t count, size_t *ret_used) {
    if (size == 0) {
        return "it is truncated";
    }
    uint32_t min_bits = blocks[0];
    if (min_bits < 1 || min_bits > 8) {
        return "its codes have an impossible size";
    }
    struct bits b = {.data = blocks, .size = size, .at = 1, .block_end = 1};
    const char *wrong = decode(&b, min_bits, out, count);
    if (wrong) {
        return b.cut ? "it is truncated" : wrong;
    }
    if (!skip_blocks(&b)) {
        return "it is truncated";
    }
    *ret_used = b.at;
    return NULL;
}
