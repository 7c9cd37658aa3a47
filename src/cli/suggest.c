/* Nearest known word, by restricted Damerau-Levenshtein distance. A candidate is near when at most a third of the
 * letters of the longer word differ, or when one word begins with the other. */
#include "cli/suggest.h"

enum { WORD_MAX = 64 };

static size_t min2(size_t a, size_t b) {
    return a < b ? a : b;
}

size_t sw_edit_distance(struct sw_str a, struct sw_str b) {
    if (a.len > WORD_MAX || b.len > WORD_MAX) {
        return SIZE_MAX;
    }
    size_t rows[3][WORD_MAX + 1]; /* of the table a x b: two before, one before, this one */
    size_t *before2 = rows[0], *before = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.len; j++) {
        before[j] = j;
        before2[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = before[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            row[j] = min2(min2(before[j], row[j - 1]) + 1, replaced);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1]) {
                row[j] = min2(row[j], before2[j - 2] + 1);
            }
        }
        size_t *oldest = before2;
        before2 = before;
        before = row;
        row = oldest;
    }
    return before[b.len];
}

void sw_suggestion_add(struct sw_suggestion *suggestion, const char *candidate) {
    struct sw_str known = sw_str_of(candidate);
    size_t distance = sw_edit_distance(suggestion->word, known);
    size_t longer = suggestion->word.len > known.len ? suggestion->word.len : known.len;
    bool begins = suggestion->word.len >= 3 && sw_str_starts(known, suggestion->word);
    if (distance == SIZE_MAX || (!begins && distance * 3 > longer)) {
        return;
    }
    if (!suggestion->best || distance < suggestion->distance) {
        suggestion->best = candidate;
        suggestion->distance = distance;
    }
}
