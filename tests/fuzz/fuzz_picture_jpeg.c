/* libFuzzer over JPEG files. */
#define FORMAT "JPEG"
#include "tests/fuzz/picture.h"
