/* JSON of text that need not be UTF-8: paths, command lines, names.
 *
 * JSON is UTF-8, and jansson refuses anything else. A byte 0xNN that is no part of valid UTF-8 is
 * written as the escape \udcNN, as Python's "surrogateescape" does: json.load and os.fsencode give
 * a path's bytes back. Not for the header of safetensors files: their readers refuse such escapes.
 *
 * In a json_t such a byte is the character U+10F7NN, which this module alone writes and reads; a
 * U+10F780..U+10F7FF in the text itself becomes four such bytes, so nothing is lost. Stateless. */
#ifndef WF_FILES_JSON_TEXT_H
#define WF_FILES_JSON_TEXT_H

#include <jansson.h>

#include "weft/status.h"

/* A JSON string; NULL when memory is out. NULL: JSON's null. */
json_t *wf_json_text(const char *text);
/* As json_dumps, with the escapes; owned by the caller (free). NULL when memory is out. */
char *wf_json_dumps(const json_t *json, size_t flags);
/* Writes such a text and a newline, atomically (atomic_file.h). */
weft_status wf_json_write(const char *path, const json_t *json, size_t flags, weft_error *err);
/* As json_loads and json_load_file, with the escapes; `text` is changed. NULL where there is no
 * such file or it is not JSON. */
json_t *wf_json_loads(char *text);
json_t *wf_json_load_file(const char *path);

#endif
