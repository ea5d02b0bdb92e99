/* Wisdom: for each problem, the kernel that was measured to be the fastest. It is a sorted table in
 * memory, which belongs to a context, and a JSON file that many machines and processes share.
 *
 * Threading rule: the context's. The file is locked while it is rewritten. */
#ifndef WF_TUNE_WISDOM_H
#define WF_TUNE_WISDOM_H

#include <jansson.h>

#include "weft/context.h"
#include "weft/status.h"

typedef struct wf_choice {
    char *problem, *kernel; /* wf_problem_text; the implementation's name in its list */
    double seconds;         /* seconds that the kernel took */
} wf_choice;

typedef struct wf_wisdom {
    wf_choice *choices; /* sorted by problem */
    int n, cap;
    bool loaded; /* we have looked for the file */
    char *path;  /* NULL: wisdom is off */
    bool found;  /* the file exists and has choices for this machine */
    char hash[17];
} wf_wisdom;

/* Which machine and software a section of the file is for. */
typedef struct wf_wisdom_key {
    char cpu[96], isa[16], weft[32], onednn[32];
    int lanes; /* floats in a SIMD vector */
} wf_wisdom_key;

/* ---- the table ---- */

void wf_wisdom_done(wf_wisdom *w);
/* The kernel's name, or NULL. */
const char *wf_wisdom_find(const wf_wisdom *w, const char *problem);
/* Adds or replaces; false: out of memory. */
bool wf_wisdom_put(wf_wisdom *w, const char *problem, const char *kernel, double seconds);
const char *wf_wisdom_hash(wf_wisdom *w);

/* ---- the file's text ---- */

/* Adds the section for `key` to w. WEFT_ERR_FORMAT where the JSON is not wisdom, with the reason;
 * WEFT_ERR_UNSUPPORTED where a later Weft wrote it; WEFT_ERR_NOT_FOUND where it has no such
 * section, with the machine that it is for. */
weft_status wf_wisdom_from_json(wf_wisdom *w, const json_t *root, const wf_wisdom_key *key,
                                weft_error *err);
/* Adds w's choices to root's section for `key`; other choices stay. Creates *root where it is NULL.
 * NULL: out of memory, and *root is freed. */
json_t *wf_wisdom_to_json(json_t *root, const wf_wisdom *w, const wf_wisdom_key *key);

/* ---- the file ---- */

/* The wisdom file's path: `asked`, else WEFT_WISDOM, else $XDG_CACHE_HOME/weft or ~/.cache/weft.
 * *path is NULL for "none" and where there is no home directory. *asked_for: the user named the
 * path. */
weft_status wf_wisdom_path(const char *asked, char **path, bool *asked_for, weft_error *err);
/* WEFT_ERR_NOT_FOUND: no such file, or an empty one. Messages name the file. */
weft_status wf_wisdom_read(const char *path, json_t **root, weft_error *err);
/* Checks that the file can be written. Creates the folders above it. */
weft_status wf_wisdom_probe(const char *path, weft_error *err);
/* The same, then wf_wisdom_from_json. If the file is JSON, *root is set, and the caller owns it. */
weft_status wf_wisdom_read_for(const char *path, const wf_wisdom_key *key, wf_wisdom *w,
                               json_t **root, weft_error *err);
/* Merges w into the file. *moved: the old content was not wisdom, and is in PATH.damaged now. */
weft_status wf_wisdom_write(const char *path, const wf_wisdom *w, const wf_wisdom_key *key,
                            bool *moved, weft_error *err);

#endif
