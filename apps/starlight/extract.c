/* Reading the message that an embedding left. Called when the verdict is known, never for it.
 *
 * In all carriers the message is UTF-8 from the beginning on, after an optional "AI42", up to a NUL or the end of the
 * carrier. A run is judged without being stored, a piece of the carrier at a time, and only the text that wins is copied,
 * into the arena. Of several candidates the best kind wins, then the longer text:
 *
 *   marked     "AI42" in front; any characters, unprintable ones too; SHORTEST_MARKED bytes
 *   ended      up to a NUL or the carrier's end; SHORTEST bytes
 *   cut        up to a byte that is no text: nobody wrote a NUL; SHORTEST_CUT bytes, DIFFERENT_CUT different ones
 *
 * EXIF comments may also be UTF-16. Bytes behind the end of an image may have other things in front of the text. */
#include "apps/starlight/carriers.h"
#include "apps/starlight/utf.h"

enum {
    TEXT_MAX = 1 << 20,
    PIECE = 4096,
    MARK_SIZE = 4,
    SHORTEST_MARKED = 4,
    SHORTEST = 8,
    SHORTEST_CUT = 32,
    DIFFERENT_CUT = 8, /* bytes */
    MARKS_MAX = 16,    /* places behind an image where "AI42" is tried */
};

static const uint8_t mark[MARK_SIZE] = {'A', 'I', '4', '2'};

enum kind { NO_TEXT, CUT, ENDED, MARKED };

struct candidate {
    enum kind kind;
    enum sw_starlight_carrier carrier;
    uint64_t at, length; /* in the carrier */
};

static bool better(const struct candidate *a, const struct candidate *b) {
    return a->kind != b->kind ? a->kind > b->kind : a->length > b->length;
}

/* Do so many different bytes occur as text has? Tables and flat areas make long runs of few. Looks at the beginning. */
static bool is_varied(const struct sw_starlight_image *image, const struct candidate *c) {
    uint8_t head[PIECE];
    uint64_t seen[4] = {0};
    int different = 0;
    size_t n = sw_starlight_carrier_read(image, c->carrier, c->at, head, c->length < PIECE ? c->length : PIECE);
    for (size_t i = 0; i < n; i++) {
        different += !(seen[head[i] / 64] >> head[i] % 64 & 1);
        seen[head[i] / 64] |= 1ull << head[i] % 64;
    }
    return different >= DIFFERENT_CUT;
}

/* Bytes of text that a carrier has from one place on. */
struct run {
    uint64_t length; /* whole characters; more than TEXT_MAX: there may be more still */
    bool complete;   /* up to a NUL or the carrier's end, where the last character may be cut off */
};

/* How many bytes are well-formed, whatever they mean; 0 when that is not all, a cut last character aside. */
static size_t well_formed(const uint8_t *bytes, size_t n) {
    if (sw_utf8_valid((struct sw_str){(const char *)bytes, n})) {
        return n;
    }
    for (size_t cut = 1; cut <= 3 && cut <= n; cut++) {
        if (sw_starlight_utf8_cut(bytes + n - cut, cut)) {
            return sw_utf8_valid((struct sw_str){(const char *)bytes, n - cut}) ? n - cut : 0;
        }
    }
    return 0;
}

static struct run run_from(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, uint64_t at,
                           bool unprintable) {
    struct run run = {0};
    uint8_t piece[PIECE];
    while (run.length <= TEXT_MAX) {
        size_t n = sw_starlight_carrier_read(image, carrier, at + run.length, piece, sizeof piece);
        const uint8_t *nul = memchr(piece, 0, n);
        size_t before = nul ? (size_t)(nul - piece) : n;
        size_t text = unprintable ? well_formed(piece, before) : sw_starlight_text_prefix(piece, before);
        size_t rest = before - text;
        run.length += text;
        if (rest && (nul || rest > 3 || !sw_starlight_utf8_cut(piece + text, rest))) {
            return run;
        }
        if (nul || n < sizeof piece) {
            run.complete = true;
            return run;
        }
    }
    return run;
}

static bool is_marked(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, uint64_t at) {
    uint8_t head[MARK_SIZE];
    return sw_starlight_carrier_read(image, carrier, at, head, sizeof head) == sizeof head &&
           memcmp(head, mark, sizeof mark) == 0;
}

static struct candidate judge(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, uint64_t at) {
    struct candidate c = {.carrier = carrier, .at = at};
    if (is_marked(image, carrier, at)) {
        struct run run = run_from(image, carrier, at + MARK_SIZE, true);
        if (run.complete && run.length >= SHORTEST_MARKED && run.length <= TEXT_MAX) {
            return (struct candidate){MARKED, carrier, at + MARK_SIZE, run.length};
        }
    }
    struct run run = run_from(image, carrier, at, false);
    c.length = run.length;
    if (run.length <= TEXT_MAX && run.length >= (run.complete ? SHORTEST : SHORTEST_CUT)) {
        c.kind = run.complete ? ENDED : is_varied(image, &c) ? CUT : NO_TEXT;
    }
    return c;
}

/* ---- Bits ---- */

static struct candidate judge_bits(const struct sw_starlight_image *image, enum sw_starlight_carrier first,
                                   enum sw_starlight_carrier second) {
    struct candidate a = judge(image, first, 0), b = judge(image, second, 0);
    return better(&b, &a) ? b : a;
}

static const char *bit_order(enum sw_starlight_carrier carrier) {
    switch (carrier) {
    case SW_STARLIGHT_ALPHA_LSB:
    case SW_STARLIGHT_RGB_LSB:
    case SW_STARLIGHT_PALETTE_LSB: return "lsb-first";
    case SW_STARLIGHT_ALPHA_MSB:
    case SW_STARLIGHT_RGB_MSB:
    case SW_STARLIGHT_PALETTE_MSB: return "msb-first";
    default: return NULL;
    }
}

/* ---- Bytes behind the image ---- */

/* The text behind the first mark that has one. */
static struct candidate find_mark(const struct sw_starlight_image *image) {
    struct sw_str s = image->trailing;
    const char *p = s.data;
    for (int tries = 0; tries < MARKS_MAX && p; tries++) {
        p = memmem(p, (size_t)(s.data + s.len - p), mark, sizeof mark);
        if (p) {
            struct candidate c = judge(image, SW_STARLIGHT_RAW, (uint64_t)(p - s.data));
            if (c.kind == MARKED) {
                return c;
            }
            p += MARK_SIZE;
        }
    }
    return (struct candidate){0};
}

/* The longest run of text anywhere, for texts behind other things. */
static struct candidate find_longest(const struct sw_starlight_image *image, uint64_t from) {
    const uint8_t *data = (const uint8_t *)image->trailing.data;
    struct candidate best = {0};
    for (uint64_t at = from; at < image->trailing.len;) {
        size_t length = sw_starlight_text_prefix(data + at, image->trailing.len - at);
        struct candidate c = {CUT, SW_STARLIGHT_RAW, at, length};
        if (length >= SHORTEST_CUT && length <= TEXT_MAX && better(&c, &best) && is_varied(image, &c)) {
            best = c;
        }
        at += length + 1;
    }
    return best;
}

/* A mark inside a text that begins at the beginning is a part of it. */
static struct candidate judge_raw(const struct sw_starlight_image *image) {
    uint64_t at = 0; /* zeros in front are padding */
    while (at < image->trailing.len && image->trailing.data[at] == 0) {
        at++;
    }
    struct candidate whole = judge(image, SW_STARLIGHT_RAW, at), marked = find_mark(image);
    if (marked.kind && !(whole.kind && marked.at < whole.at + whole.length)) {
        return marked;
    }
    return whole.kind ? whole : find_longest(image, at);
}

/* ---- EXIF ---- */

/* Two bytes a character, as the code says or the zeros show. */
static bool is_wide(struct sw_str s, enum sw_starlight_code code) {
    if (code == SW_STARLIGHT_CODE_UNICODE) {
        size_t text = sw_starlight_text_prefix((const uint8_t *)s.data, s.len);
        bool plain = text == s.len || (text >= SHORTEST && s.data[text] == 0);
        return !plain; /* some write plain UTF-8 behind this code */
    }
    return s.len >= 4 && (s.data[0] == 0) != (s.data[1] == 0) && (s.data[2] == 0) != (s.data[3] == 0);
}

/* UTF-16 up to its end or zeros. */
static bool extract_wide(const struct sw_starlight_image *image, struct sw_str s, struct sw_arena *arena,
                         struct sw_starlight_message *ret) {
    size_t most = s.len / 2 * 3, length; /* a unit makes at most three bytes */
    const uint8_t *in = (const uint8_t *)s.data;
    char *out = most <= 2 * TEXT_MAX ? sw_arena_alloc(arena, most + 1) : NULL;
    if (!out) {
        return false;
    }
    size_t used = sw_starlight_utf16_text(in, s.len, image->exif_little_endian, (uint8_t *)out, most, &length);
    bool whole = used == s.len || (used + 2 <= s.len && in[used] == 0 && in[used + 1] == 0);
    bool marked = length >= MARK_SIZE && memcmp(out, mark, sizeof mark) == 0;
    size_t skip = marked ? MARK_SIZE : 0;
    if (!used || !whole || length - skip < (marked ? SHORTEST_MARKED : SHORTEST)) {
        return false;
    }
    ret->marked = marked;
    ret->text = (struct sw_str){out + skip, length - skip};
    return true;
}

static bool extract_comment(const struct sw_starlight_image *image, struct sw_arena *arena,
                            struct sw_starlight_message *ret) {
    struct sw_str s = sw_starlight_comment_text(image->user_comment);
    if (s.len == 0) {
        return false;
    }
    if (is_wide(s, sw_starlight_comment_code(image->user_comment)) && extract_wide(image, s, arena, ret)) {
        return true;
    }
    struct candidate c = judge(image, SW_STARLIGHT_EXIF, 0);
    char *text = c.kind ? sw_arena_strdup(arena, (struct sw_str){s.data + c.at, (size_t)c.length}) : NULL;
    if (!text) {
        return false;
    }
    ret->marked = c.kind == MARKED;
    ret->text = (struct sw_str){text, (size_t)c.length};
    return true;
}

/* ---- */

bool sw_starlight_extract(const struct sw_starlight_image *image, enum sw_starlight_method method,
                          struct sw_arena *arena, struct sw_starlight_message *ret) {
    struct sw_starlight_message message = {.method = method};
    struct candidate best = {0};
    switch (method) {
    case SW_STARLIGHT_METHOD_ALPHA: /* always with the mark */
        best = judge_bits(image, SW_STARLIGHT_ALPHA_LSB, SW_STARLIGHT_ALPHA_MSB);
        best.kind = best.kind == MARKED ? MARKED : NO_TEXT;
        break;
    case SW_STARLIGHT_METHOD_PALETTE:
        best = judge_bits(image, SW_STARLIGHT_PALETTE_MSB, SW_STARLIGHT_PALETTE_LSB);
        break;
    case SW_STARLIGHT_METHOD_LSB_RGB: best = judge_bits(image, SW_STARLIGHT_RGB_MSB, SW_STARLIGHT_RGB_LSB); break;
    case SW_STARLIGHT_METHOD_RAW: best = judge_raw(image); break;
    case SW_STARLIGHT_METHOD_EXIF:
    case SW_STARLIGHT_METHODS:
        if (!extract_comment(image, arena, &message)) {
            return false;
        }
        *ret = message;
        return true;
    }
    char *text = best.kind ? sw_arena_alloc(arena, (size_t)best.length + 1) : NULL;
    if (!text) {
        return false;
    }
    size_t n = sw_starlight_carrier_read(image, best.carrier, best.at, (uint8_t *)text, (size_t)best.length);
    SW_ASSERT(n == best.length);
    text[n] = 0;
    message.bit_order = bit_order(best.carrier);
    message.marked = best.kind == MARKED;
    message.text = (struct sw_str){text, n};
    *ret = message;
    return true;
}
