/* Evidence: what the head of each carrier says about text being hidden in it, as numbers for the detector.
 *
 * A payload is text from the first byte of its carrier on, ended by a NUL or by the carrier's end. So for each carrier
 * (text.h) the first SW_STARLIGHT_WINDOW bytes are looked at: how long they read as UTF-8 text from the beginning, what
 * ends that, and what the text is made of; and, to tell embedding from a plain picture, how the bits of the head differ
 * from bits further on. Nothing else of the image goes in: neither format nor size nor which camera made it says that
 * something is hidden, and a detector that never sees them cannot learn to think so.
 *
 * Every value is in [0, 1]; those of a carrier that the image has not are all 0. */
#ifndef APPS_STARLIGHT_EVIDENCE_H
#define APPS_STARLIGHT_EVIDENCE_H

#include "apps/starlight/text.h"

enum { SW_STARLIGHT_WINDOW = 1024 };

enum sw_starlight_evidence {
    /* the carrier */
    SW_EVIDENCE_PRESENT, /* 1: the image has this carrier */
    SW_EVIDENCE_CARRIER, /* SW_EVIDENCE_CARRIER + c is 1 for carrier c: eight values */
    SW_EVIDENCE_SIZE = SW_EVIDENCE_CARRIER + SW_STARLIGHT_CARRIERS, /* log2(1 + bytes) / 24 */
    SW_EVIDENCE_MARKED,    /* 1: begins with AI42, which what follows leaves out */
    SW_EVIDENCE_CONTAINER, /* 1: begins as a file of a known kind does (JPEG, MP4, ZIP, ...) */
    /* the text run: from the beginning to the first byte that is no text */
    SW_EVIDENCE_RUN,         /* log2(1 + bytes) / 10 */
    SW_EVIDENCE_RUN_LINEAR,  /* min(bytes, 64) / 64 */
    SW_EVIDENCE_END_NUL,     /* 1: a NUL ends it */
    SW_EVIDENCE_END_BYTES,   /* 1: the carrier's end ends it */
    SW_EVIDENCE_END_WINDOW,  /* 1: it fills the window */
    SW_EVIDENCE_LETTERS,     /* share of ASCII letters in it */
    SW_EVIDENCE_UPPER,       /* share of upper case among those */
    SW_EVIDENCE_VOWELS,      /* share of vowels among those */
    SW_EVIDENCE_DIGITS,      /* share of ASCII digits */
    SW_EVIDENCE_BLANKS,      /* share of space, tab, line breaks */
    SW_EVIDENCE_PUNCTUATION, /* share of other ASCII */
    SW_EVIDENCE_WIDE,        /* share of bytes of characters beyond ASCII */
    SW_EVIDENCE_ENTROPY,     /* of its bytes, bits / 8 */
    SW_EVIDENCE_DISTINCT,    /* min(different bytes, 64) / 64 */
    SW_EVIDENCE_REPEAT,      /* longest repetition of one byte / bytes */
    SW_EVIDENCE_PERIOD,      /* highest share of bytes equal to the one 1..16 before */
    SW_EVIDENCE_CASE_TURNS,  /* lower case followed by upper case, by bytes: base64 and noise do it, words do not */
    /* the head, text or not */
    SW_EVIDENCE_TEXT_32,     /* share of text bytes (ASCII) in the first 32 bytes */
    SW_EVIDENCE_TEXT_256,    /* in the first 256 */
    SW_EVIDENCE_HIGH_256,    /* share of bytes above 127 */
    SW_EVIDENCE_ZERO_256,    /* share of NULs */
    SW_EVIDENCE_FULL_256,    /* share of 0xFF */
    SW_EVIDENCE_ENTROPY_256, /* bits / 8 */
    /* bits: how the head differs from what follows */
    SW_EVIDENCE_ONES_HEAD,  /* share of ones in the first 256 bytes */
    SW_EVIDENCE_TURNS_HEAD, /* share of neighbours that differ, there */
    SW_EVIDENCE_ONES_REST,  /* the same in 256 bytes from the middle of the carrier on */
    SW_EVIDENCE_TURNS_REST,
    SW_STARLIGHT_EVIDENCE_COUNT
};

/* Fills out[e * SW_STARLIGHT_CARRIERS + c] for evidence e of carrier c. */
void sw_starlight_evidence(const struct sw_starlight_image *image,
                           float out[SW_STARLIGHT_EVIDENCE_COUNT * SW_STARLIGHT_CARRIERS]);

/* One carrier given by its bytes: `head` its first `head_length` (at most SW_STARLIGHT_WINDOW + 4), `rest` up to 256 from the
 * middle on, `size` how many it has in all. Fills out[e * stride]. For training on made-up carriers, and tests. */
struct sw_starlight_carrier_bytes {
    const uint8_t *head, *rest;
    size_t head_length, rest_length;
    uint64_t size;
};
void sw_starlight_carrier_evidence(enum sw_starlight_carrier carrier, const struct sw_starlight_carrier_bytes *bytes,
                                   float *out, size_t stride);

#endif
