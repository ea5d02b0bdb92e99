/* Python's order of file names. */
#ifndef WF_DATA_FORMATS_NAME_ORDER_H
#define WF_DATA_FORMATS_NAME_ORDER_H

#include <stdbool.h>

/* As strcmp, but in the order of Python's str: by code points, where a byte that is no UTF-8 counts
 * as U+DC00 + the byte (os.fsdecode's surrogateescape). For valid UTF-8 that is the order of the
 * bytes. */
int wf_compare_names(const char *a, const char *b);

/* Whether a file's name ends as those of pictures do, in any case: torchvision's list. */
bool wf_is_picture_name(const char *name);

#endif
