/* Words that users mistype: names of flags, commands and models. */
#ifndef CLI_PARSER_WORDS_H
#define CLI_PARSER_WORDS_H

enum { WORD_MAX = 64 }; /* longer words are near to none */

/* The word of `words` nearest to `text`, or NULL when none is near enough to be a slip. */
const char *words_nearest(const char *text, const char *const *words, int n);

#endif
