/* libFuzzer over BMP files. */
#define FORMAT "BMP"
#include "tests/fuzz/picture.h"
