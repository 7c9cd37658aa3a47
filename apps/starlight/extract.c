/* Reading the message that an embedding left. Called when the verdict is known, never for it.
 *
 * In all carriers the message is UTF-8 from the beginning on, after an optional "AI42", up to a NUL or the end of the
 * carrier. A run is judged without being stored (texts.h), a piece of the carrier at a time, and only the text that wins
 * is copied, into the arena. Of several candidates the best kind wins, then the longer text:
 *
 *   marked     "AI42" in front; any control characters; SHORTEST_MARKED bytes
 *   ended      up to a NUL or the carrier's end; SHORTEST bytes
 *   cut        up to a byte that is no text: nobody wrote a NUL; SHORTEST_CUT bytes, DIFFERENT_CUT different ones
 *
 * EXIF comments may also be UTF-16. Bytes behind the end of an image may have other things in front of the text. */
#include "apps/starlight/carriers.h"
#include "apps/starlight/texts.h"

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

/* The run from `at` on. */
static struct sw_starlight_scan scan_from(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier,
                                          uint64_t at, bool any_control) {
    struct sw_starlight_scan scan = {.any_control = any_control};
    uint8_t piece[PIECE];
    size_t n;
    while (!scan.ended && scan.length <= TEXT_MAX &&
           (n = sw_starlight_carrier_read(image, carrier, at, piece, sizeof piece)) > 0) {
        sw_starlight_scan_feed(&scan, piece, n);
        at += n;
    }
    return scan;
}

static bool is_marked(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, uint64_t at) {
    uint8_t head[MARK_SIZE];
    return sw_starlight_carrier_read(image, carrier, at, head, sizeof head) == sizeof head &&
           memcmp(head, mark, sizeof mark) == 0;
}

static struct candidate judge(const struct sw_starlight_image *image, enum sw_starlight_carrier carrier, uint64_t at) {
    struct candidate c = {.carrier = carrier, .at = at};
    if (is_marked(image, carrier, at)) {
        struct sw_starlight_scan scan = scan_from(image, carrier, at + MARK_SIZE, true);
        bool ended = scan.nul || !scan.ended;
        if (ended && scan.length >= SHORTEST_MARKED && scan.length <= TEXT_MAX) {
            c.kind = MARKED;
            c.at += MARK_SIZE;
            c.length = scan.length;
            return c;
        }
    }
    struct sw_starlight_scan scan = scan_from(image, carrier, at, false);
    bool ended = scan.nul || !scan.ended; /* running into the carrier's end is an end */
    c.length = scan.length;
    if (scan.length <= TEXT_MAX && scan.length >= (ended ? SHORTEST : SHORTEST_CUT)) {
        c.kind = ended ? ENDED : is_varied(image, &c) ? CUT : NO_TEXT;
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

/* The longest run of text anywhere, for texts behind other things: each byte is looked at at most four times, when a
 * broken character makes the next run begin inside of it. */
static struct candidate find_longest(const struct sw_starlight_image *image, uint64_t from) {
    const uint8_t *data = (const uint8_t *)image->trailing.data;
    struct candidate best = {0};
    for (uint64_t at = from; at < image->trailing.len;) {
        struct sw_starlight_scan scan = {0};
        sw_starlight_scan_feed(&scan, data + at, image->trailing.len - at);
        struct candidate c = {.kind = CUT, .carrier = SW_STARLIGHT_RAW, .at = at, .length = scan.length};
        if (scan.length >= SHORTEST_CUT && scan.length <= TEXT_MAX && better(&c, &best) && is_varied(image, &c)) {
            best = c;
        }
        at += scan.length + 1;
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

/* The text that UTF-16 was turned into. */
static bool take_wide(struct sw_str s, struct sw_starlight_message *ret) {
    bool marked = s.len > MARK_SIZE && memcmp(s.data, mark, sizeof mark) == 0;
    if (marked) {
        s = (struct sw_str){s.data + MARK_SIZE, s.len - MARK_SIZE};
    }
    struct sw_starlight_scan scan = {.any_control = marked};
    sw_starlight_scan_feed(&scan, (const uint8_t *)s.data, s.len);
    if (s.len < (marked ? SHORTEST_MARKED : SHORTEST) || s.len > TEXT_MAX || scan.length != s.len) {
        return false;
    }
    ret->marked = marked;
    ret->text = s;
    return true;
}

/* Two bytes a character, as the code says or the zeros show. */
static bool looks_wide(struct sw_str s, enum sw_starlight_code code) {
    struct sw_starlight_scan scan = {0};
    sw_starlight_scan_feed(&scan, (const uint8_t *)s.data, s.len);
    if (code == SW_STARLIGHT_CODE_UNICODE) {
        return scan.ended && !(scan.nul && scan.length >= SHORTEST); /* some write plain UTF-8 behind this code */
    }
    return s.len >= 4 && ((s.data[0] == 0) != (s.data[1] == 0)) && ((s.data[2] == 0) != (s.data[3] == 0));
}

static bool extract_comment(const struct sw_starlight_image *image, struct sw_arena *arena,
                            struct sw_starlight_message *ret) {
    struct sw_str s = sw_starlight_comment_text(image->user_comment), wide;
    if (s.len == 0) {
        return false;
    }
    if (looks_wide(s, sw_starlight_comment_code(image->user_comment)) &&
        sw_starlight_from_utf16(s, image->exif_little_endian, arena, &wide) && take_wide(wide, ret)) {
        return true;
    }
    struct candidate c = judge(image, SW_STARLIGHT_EXIF, 0);
    ret->marked = c.kind == MARKED;
    ret->text = (struct sw_str){s.data + c.at, (size_t)c.length};
    if (!c.kind) {
        return false;
    }
    ret->text.data = sw_arena_strdup(arena, ret->text);
    return ret->text.data != NULL;
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
