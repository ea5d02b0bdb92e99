/* weft-manual: writes a program's man page or completion to stdout, while Weft is built. */
#include <string.h>

#include "manual.h"

static const manual *const manuals[] = {&manual_weft, &manual_weft_bench};

int main(int argc, char **argv)
{
    const manual *m = NULL;
    for (size_t i = 0; argc == 3 && i < sizeof manuals / sizeof *manuals; i++)
        if (strcmp(argv[2], manuals[i]->program) == 0)
            m = manuals[i];
    if (m && strcmp(argv[1], "man") == 0)
        manual_write_page(m, stdout);
    else if (m && strcmp(argv[1], "bash") == 0)
        manual_write_completion(m, stdout);
    else {
        fputs("usage: weft-manual man|bash weft|weft-bench\n", stderr);
        return 2;
    }
    return fflush(stdout) != 0 || ferror(stdout);
}
