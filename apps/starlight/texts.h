/* Is this text? For extract.c: bytes judged piece by piece, and UTF-16 to UTF-8. */
#ifndef APPS_STARLIGHT_TEXTS_H
#define APPS_STARLIGHT_TEXTS_H

#include "base/arena.h"
#include "base/str.h"

/* Where a run of UTF-8 ends. Start with {0}, feed pieces in order. */
struct sw_starlight_scan {
    uint64_t length;  /* bytes of whole characters so far */
    uint32_t pending; /* bytes that the character begun still lacks */
    uint32_t begun;   /* bytes of it that were seen */
    uint32_t code, least;
    bool any_control; /* control characters do not end the run */
    bool nul;         /* ended by NUL */
    bool ended;       /* by NUL or by a byte that is not text */
};

/* Ends at NUL, at bytes that are not UTF-8 (RFC 3629), and at control characters other than line breaks, tabs and
 * escape. After the end nothing is looked at any more. */
void sw_starlight_scan_feed(struct sw_starlight_scan *scan, const uint8_t *data, size_t n);

/* UTF-16 text up to a NUL unit or the end, in the byte order that a byte order mark says, else in the one that makes
 * more sense as text, else as `little_endian` says. false: lone surrogates in either order, or no memory. *ret is UTF-8
 * in the arena, without the mark. */
bool sw_starlight_from_utf16(struct sw_str bytes, bool little_endian, struct sw_arena *arena, struct sw_str *ret);

#endif
