/* libFuzzer over WebP files. */
#define FORMAT "WebP"
#include "tests/fuzz/picture.h"
