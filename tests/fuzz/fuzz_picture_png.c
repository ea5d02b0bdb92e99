/* libFuzzer over PNG files. */
#define FORMAT "PNG"
#include "tests/fuzz/picture.h"
