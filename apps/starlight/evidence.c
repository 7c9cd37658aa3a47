/* See evidence.h. */
#include "apps/starlight/evidence.h"

#include <math.h>

#include "apps/starlight/carriers.h"
#include "apps/starlight/utf.h"

enum { MARK_LENGTH = 4, HEAD_SHORT = 32, HEAD_LONG = 256, REST_LENGTH = 256, LAG_MAX = 16 };

enum run_end { END_BAD, END_NUL, END_BYTES, END_WINDOW };

struct run {
    const uint8_t *text;
    size_t length;
    enum run_end end;
};

/* ---- the run */

/* How far the bytes read as text. A character cut by the end of what we have is text as far as it goes. */
static struct run find_run(const uint8_t *bytes, size_t length, bool is_all) {
    struct run run = {.text = bytes, .length = sw_starlight_text_prefix(bytes, length)};
    if (run.length == length) {
        run.end = is_all ? END_BYTES : END_WINDOW;
    } else if (bytes[run.length] == 0) {
        run.end = END_NUL;
    } else if (!is_all && length - run.length < 4 && sw_starlight_utf8_cut(bytes + run.length, length - run.length)) {
        run.end = END_WINDOW;
    }
    return run;
}

/* -sum p log2 p over the bytes, divided by 8. */
static double entropy(const uint32_t counts[256], size_t length) {
    double sum = 0;
    for (int i = 0; i < 256; i++) {
        if (counts[i]) {
            sum += counts[i] * log2(counts[i]);
        }
    }
    return length ? (log2((double)length) - sum / (double)length) / 8 : 0;
}

static void count_bytes(const uint8_t *bytes, size_t length, uint32_t counts[256]) {
    memset(counts, 0, 256 * sizeof counts[0]);
    for (size_t i = 0; i < length; i++) {
        counts[bytes[i]]++;
    }
}

static bool is_lower(uint8_t c) {
    return c >= 'a' && c <= 'z';
}
static bool is_upper(uint8_t c) {
    return c >= 'A' && c <= 'Z';
}

/* What the characters of the run are. */
static void describe_characters(const struct run *run, const uint32_t counts[256], float *out, size_t stride) {
    double letters = 0, upper = 0, vowels = 0, digits = 0, blanks = 0, other = 0, wide = 0;
    for (int c = 0; c < 256; c++) {
        double n = counts[c];
        if (n == 0) {
            continue;
        }
        if (c >= 128) {
            wide += n;
        } else if (is_lower((uint8_t)c) || is_upper((uint8_t)c)) {
            letters += n;
            upper += is_upper((uint8_t)c) ? n : 0;
            vowels += strchr("aeiouAEIOU", c) ? n : 0;
        } else if (c >= '0' && c <= '9') {
            digits += n;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            blanks += n;
        } else {
            other += n;
        }
    }
    double length = (double)run->length;
    out[SW_EVIDENCE_LETTERS * stride] = (float)(letters / length);
    out[SW_EVIDENCE_UPPER * stride] = (float)(letters > 0 ? upper / letters : 0);
    out[SW_EVIDENCE_VOWELS * stride] = (float)(letters > 0 ? vowels / letters : 0);
    out[SW_EVIDENCE_DIGITS * stride] = (float)(digits / length);
    out[SW_EVIDENCE_BLANKS * stride] = (float)(blanks / length);
    out[SW_EVIDENCE_PUNCTUATION * stride] = (float)(other / length);
    out[SW_EVIDENCE_WIDE * stride] = (float)(wide / length);
}

/* Highest share of bytes equal to the one `lag` before, lag 1 to 16: patterns of pictures repeat, texts do not. */
static double periodicity(const struct run *run) {
    double best = 0;
    for (size_t lag = 1; lag <= LAG_MAX && lag * 2 <= run->length; lag++) {
        size_t equal = 0, n = run->length - lag;
        for (size_t i = 0; i < n; i++) {
            equal += run->text[i] == run->text[i + lag];
        }
        best = fmax(best, (double)equal / (double)n);
    }
    return best;
}

static void describe_order(const struct run *run, float *out, size_t stride) {
    size_t longest = 1, now = 1, turns = 0;
    for (size_t i = 1; i < run->length; i++) {
        now = run->text[i] == run->text[i - 1] ? now + 1 : 1;
        longest = now > longest ? now : longest;
        turns += is_lower(run->text[i - 1]) && is_upper(run->text[i]);
    }
    out[SW_EVIDENCE_REPEAT * stride] = (float)longest / (float)run->length;
    out[SW_EVIDENCE_PERIOD * stride] = (float)periodicity(run);
    out[SW_EVIDENCE_CASE_TURNS * stride] = (float)turns / (float)run->length;
}

static void describe_run(const struct run *run, float *out, size_t stride) {
    uint32_t counts[256];
    out[SW_EVIDENCE_END_NUL * stride] = run->end == END_NUL;
    out[SW_EVIDENCE_END_BYTES * stride] = run->end == END_BYTES;
    out[SW_EVIDENCE_END_WINDOW * stride] = run->end == END_WINDOW;
    if (run->length == 0) {
        return;
    }
    out[SW_EVIDENCE_RUN * stride] = (float)fmin(1, log2(1 + (double)run->length) / 10);
    out[SW_EVIDENCE_RUN_LINEAR * stride] = (float)(run->length < 64 ? run->length : 64) / 64;
    count_bytes(run->text, run->length, counts);
    size_t distinct = 0;
    for (int i = 0; i < 256; i++) {
        distinct += counts[i] > 0;
    }
    out[SW_EVIDENCE_DISTINCT * stride] = (float)(distinct < 64 ? distinct : 64) / 64;
    out[SW_EVIDENCE_ENTROPY * stride] = (float)entropy(counts, run->length);
    describe_characters(run, counts, out, stride);
    describe_order(run, out, stride);
}

/* ---- head and rest */

static bool is_ascii_text(uint8_t c) {
    return (c >= 32 && c < 127) || c == '\n' || c == '\r' || c == '\t';
}

static float share_of_text(const uint8_t *bytes, size_t length) {
    size_t text = 0;
    for (size_t i = 0; i < length; i++) {
        text += is_ascii_text(bytes[i]);
    }
    return length ? (float)text / (float)length : 0;
}

static void describe_head(const uint8_t *head, size_t length, float *out, size_t stride) {
    uint32_t counts[256];
    size_t n = length < HEAD_LONG ? length : HEAD_LONG, high = 0;
    if (n == 0) {
        return;
    }
    count_bytes(head, n, counts);
    for (int i = 128; i < 256; i++) {
        high += counts[i];
    }
    out[SW_EVIDENCE_TEXT_32 * stride] = share_of_text(head, n < HEAD_SHORT ? n : HEAD_SHORT);
    out[SW_EVIDENCE_TEXT_256 * stride] = share_of_text(head, n);
    out[SW_EVIDENCE_HIGH_256 * stride] = (float)high / (float)n;
    out[SW_EVIDENCE_ZERO_256 * stride] = (float)counts[0] / (float)n;
    out[SW_EVIDENCE_FULL_256 * stride] = (float)counts[255] / (float)n;
    out[SW_EVIDENCE_ENTROPY_256 * stride] = (float)entropy(counts, n);
}

/* Shares of ones, and of bits that differ from their neighbour, bit 7 of a byte taken as the first. */
static void describe_bits(const uint8_t *bytes, size_t length, float *ret_ones, float *ret_turns) {
    size_t ones = 0, turns = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned b = bytes[i];
        ones += (size_t)__builtin_popcount(b);
        turns += (size_t)__builtin_popcount((b ^ (b >> 1)) & 0x7f);
    }
    *ret_ones = length ? (float)ones / (float)(8 * length) : 0;
    *ret_turns = length ? (float)turns / (float)(7 * length) : 0;
}

/* ---- a carrier */

/* Beginnings of files that cameras, phones and editors append, and of data that is no text. */
static bool is_container(const uint8_t *b, size_t n) {
    static const struct {
        uint8_t offset, length;
        const char *bytes;
    } known[] = {
        {0, 3, "\xff\xd8\xff"}, {0, 4, "PK\3\4"}, {4, 4, "ftyp"}, {4, 4, "moov"},           {4, 4, "mdat"},
        {0, 4, "\x89PNG"},      {0, 4, "RIFF"},   {0, 4, "GIF8"}, {0, 4, "%PDF"},           {0, 4, "MPF\0"},
        {0, 4, "II*\0"},        {0, 4, "MM\0*"},  {0, 4, "SEFH"}, {0, 4, "\x1f\x8b\x08\0"},
    };
    for (size_t i = 0; i < SW_COUNTOF(known); i++) {
        if (n >= (size_t)known[i].offset + known[i].length &&
            memcmp(b + known[i].offset, known[i].bytes, known[i].length) == 0) {
            return true;
        }
    }
    return false;
}

void sw_starlight_carrier_evidence(enum sw_starlight_carrier carrier, const struct sw_starlight_carrier_bytes *bytes,
                                   float *out, size_t stride) {
    for (size_t e = 0; e < SW_STARLIGHT_EVIDENCE_COUNT; e++) {
        out[e * stride] = 0;
    }
    if (bytes->size == 0) {
        return;
    }
    const uint8_t *head = bytes->head;
    size_t length = bytes->head_length;
    bool is_all = length == bytes->size;
    bool marked = length >= MARK_LENGTH && memcmp(head, "AI42", MARK_LENGTH) == 0;
    if (marked) {
        head += MARK_LENGTH;
        length -= MARK_LENGTH;
    }
    if (length > SW_STARLIGHT_WINDOW) {
        length = SW_STARLIGHT_WINDOW;
        is_all = false;
    }
    out[SW_EVIDENCE_PRESENT * stride] = 1;
    out[(SW_EVIDENCE_CARRIER + (size_t)carrier) * stride] = 1;
    out[SW_EVIDENCE_SIZE * stride] = (float)fmin(1, log2(1 + (double)bytes->size) / 24);
    out[SW_EVIDENCE_MARKED * stride] = marked;
    out[SW_EVIDENCE_CONTAINER * stride] = is_container(head, length);
    struct run run = find_run(head, length, is_all);
    describe_run(&run, out, stride);
    describe_head(head, length, out, stride);
    describe_bits(head, length < HEAD_LONG ? length : HEAD_LONG, &out[SW_EVIDENCE_ONES_HEAD * stride],
                  &out[SW_EVIDENCE_TURNS_HEAD * stride]);
    describe_bits(bytes->rest, bytes->rest_length, &out[SW_EVIDENCE_ONES_REST * stride],
                  &out[SW_EVIDENCE_TURNS_REST * stride]);
}

/* A UserComment in UTF-16 is read as the UTF-8 it stands for. */
static void comment_evidence(const struct sw_starlight_image *image, float *out) {
    uint8_t text[SW_STARLIGHT_WINDOW + MARK_LENGTH + 4];
    struct sw_str comment = sw_starlight_comment_text(image->user_comment);
    const uint8_t *bytes = (const uint8_t *)comment.data;
    size_t length = comment.len,
           n = length < SW_STARLIGHT_WINDOW + MARK_LENGTH ? length : SW_STARLIGHT_WINDOW + MARK_LENGTH;
    size_t rest = length - length / 2;
    if (length == 0) {
        return;
    }
    struct sw_starlight_carrier_bytes carrier = {bytes, bytes + length / 2, n, rest < REST_LENGTH ? rest : REST_LENGTH,
                                                 length};
    if (sw_starlight_comment_code(image->user_comment) == SW_STARLIGHT_CODE_UNICODE &&
        !sw_starlight_is_utf8_text(bytes, length)) {
        size_t used = sw_starlight_utf16_text(bytes, length, image->exif_little_endian, text, sizeof text, &n);
        if (used) {
            carrier = (struct sw_starlight_carrier_bytes){text, text, n, 0, used == length ? n : length};
        }
    }
    sw_starlight_carrier_evidence(SW_STARLIGHT_EXIF, &carrier, out + SW_STARLIGHT_EXIF, SW_STARLIGHT_CARRIERS);
}

void sw_starlight_evidence(const struct sw_starlight_image *image,
                           float out[SW_STARLIGHT_EVIDENCE_COUNT * SW_STARLIGHT_CARRIERS]) {
    uint8_t head[SW_STARLIGHT_WINDOW + MARK_LENGTH], rest[REST_LENGTH];
    memset(out, 0, SW_STARLIGHT_EVIDENCE_COUNT * SW_STARLIGHT_CARRIERS * sizeof out[0]);
    for (int c = 0; c < SW_STARLIGHT_CARRIERS; c++) {
        struct sw_starlight_carrier_bytes bytes = {.head = head, .rest = rest};
        if (c == SW_STARLIGHT_EXIF) {
            comment_evidence(image, out);
            continue;
        }
        bytes.size = sw_starlight_carrier_size(image, (enum sw_starlight_carrier)c);
        if (bytes.size) {
            bytes.head_length = sw_starlight_carrier_read(image, (enum sw_starlight_carrier)c, 0, head, sizeof head);
            bytes.rest_length = sw_starlight_carrier_read(image, (enum sw_starlight_carrier)c, bytes.size / 2, rest,
                                                          sizeof rest);
            sw_starlight_carrier_evidence((enum sw_starlight_carrier)c, &bytes, out + c, SW_STARLIGHT_CARRIERS);
        }
    }
}
