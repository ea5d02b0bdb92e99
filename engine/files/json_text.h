/* JSON of text that may not be UTF-8: paths, command lines, names.
 *
 * JSON is UTF-8, and jansson refuses anything else. So a byte 0xNN that is not part of valid UTF-8
 * is written as the escape \udcNN, as Python's "surrogateescape" does: json.load and os.fsencode
 * give the bytes of a path back. Do not use this for the header of safetensors files: their readers
 * refuse such escapes.
 *
 * In a json_t the character U+10F7NN stands for such a byte. Only this file writes and reads these
 * characters. A U+10F780 to U+10F7FF in the text itself becomes four of them, so nothing is lost.
 * Stateless. */
#ifndef WF_FILES_JSON_TEXT_H
#define WF_FILES_JSON_TEXT_H

#include <jansson.h>

#include "weft/status.h"

/* Makes a JSON string, and JSON's null from NULL. NULL: out of memory. */
json_t *wf_json_text(const char *text);
/* As json_dumps, with the escapes. The caller frees the text with free. NULL: out of memory. */
char *wf_json_dumps(const json_t *json, size_t flags);
/* Writes such a text and a newline to a file, atomically (atomic_file.h). */
weft_status wf_json_write(const char *path, const json_t *json, size_t flags, weft_error *err);
/* As json_loads and json_load_file, with the escapes. wf_json_loads changes `text`. NULL where
 * there is no such file or where it is not JSON. */
json_t *wf_json_loads(char *text);
json_t *wf_json_load_file(const char *path);

#endif
