/* libFuzzer over TIFF files. */
#define FORMAT "TIFF"
#include "tests/fuzz/picture.h"
