/* Reading bytes as text, for evidence and extraction alike. */
#ifndef APPS_STARLIGHT_UTF_H
#define APPS_STARLIGHT_UTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the longest prefix that is text: well-formed UTF-8 (RFC 3629) of printable characters, tab, line feed and
 * carriage return. No other control characters (C0, DEL, C1), no noncharacters, no private use. */
size_t sw_starlight_text_prefix(const uint8_t *bytes, size_t length);

/* Are these 1 to 3 bytes the beginning of a character of UTF-8 that needs more? */
bool sw_starlight_utf8_cut(const uint8_t *bytes, size_t length);

/* Is all of it UTF-8 text, NULs at the end apart, and more than a byte or two? */
bool sw_starlight_is_utf8_text(const uint8_t *bytes, size_t length);

/* Reads UTF-16 as UTF-8 into out, up to the first character that is no text (a NUL included) or until out is full.
 * Byte order: a BOM says it (and is left out), else the order whose characters are more usual, little_endian when both
 * do alike. Returns how many bytes were read (all: `length`, or one less when that is odd and the last is NUL);
 * 0: neither order gives any text. *ret_length: bytes in out. */
size_t sw_starlight_utf16_text(const uint8_t *bytes, size_t length, bool little_endian, uint8_t *out, size_t out_size,
                               size_t *ret_length);

#endif
