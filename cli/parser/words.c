/* The nearest known word to one that a user typed. No state. */
#include "words.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Levenshtein's distance, with swapped neighbours counted once (optimal string alignment). */
static int distance(const char *a, const char *b)
{
    int rows[3][WORD_MAX + 1];
    int na = (int)strlen(a), nb = (int)strlen(b);
    if (na > WORD_MAX || nb > WORD_MAX)
        return WORD_MAX;
    for (int j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *words_nearest(const char *text, const char *const *words, int n)
{
    const char *nearest = NULL;
    int best = WORD_MAX;
    size_t length = strlen(text);
    for (int i = 0; i < n; i++) {
        int d = distance(text, words[i]);
        /* A slip is a letter or two of a word, or a word cut short or drawn out. */
        bool prefix = length >= 3 && (strncmp(text, words[i], length) == 0 ||
                                      strncmp(text, words[i], strlen(words[i])) == 0);
        if ((d <= 1 + (int)length / 4 || prefix) && d < best) {
            best = d;
            nearest = words[i];
        }
    }
    return nearest;
}
