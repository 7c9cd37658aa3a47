/* "Did you mean ...?": the known word nearest to one that is not known. */
#ifndef SW_CLI_SUGGEST_H
#define SW_CLI_SUGGEST_H

#include "base/str.h"

/* The best candidate so far. Start with {.word = what was written}, add the candidates, read `best`. */
struct sw_suggestion {
    struct sw_str word;
    const char *best; /* NULL: nothing near */
    size_t distance;
};

void sw_suggestion_add(struct sw_suggestion *suggestion, const char *candidate);

/* Edits (insert, delete, replace, swap neighbours; Damerau 1964, the restricted form) between a and b. Words longer
 * than 64 bytes are as far apart as can be (SIZE_MAX). */
size_t sw_edit_distance(struct sw_str a, struct sw_str b);

#endif
