/* libFuzzer over PNM files. */
#define FORMAT "PNM"
#include "tests/fuzz/picture.h"
