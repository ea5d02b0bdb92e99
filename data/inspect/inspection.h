/* An inspection, as the files of this folder share it. See weft/inspect.h. */
#ifndef WF_DATA_INSPECT_INSPECTION_H
#define WF_DATA_INSPECT_INSPECTION_H

#include "data/dataset.h"
#include "weft/inspect.h"

/* What is known of one sample. */
typedef struct wf_inspected {
    uint64_t hash[2]; /* of pixels and size */
    int32_t height, width;
    int32_t label; /* -1: none */
    uint8_t state; /* a weft_finding_kind: UNREADABLE or DAMAGED; else WF_INSPECTED_GOOD */
    uint8_t format, grey, oriented;
} wf_inspected;
#define WF_INSPECTED_GOOD WEFT_FINDING_KINDS

#define WF_INSPECTED_FORMATS 8 /* kinds of files that are told apart in a split */

struct weft_inspection {
    int n;
    const weft_dataset *const *splits;             /* (n). Owned: a copy of the caller's list */
    wf_inspected **samples;                        /* (n), then by sample */
    weft_inspected_split *split;                   /* (n) */
    char (*formats)[128];                          /* (n): text of weft_inspected_split.formats */
    const char *format_name[WF_INSPECTED_FORMATS]; /* of wf_inspected.format */
    weft_finding *findings;
    int64_t n_findings, findings_capacity;
    int64_t counts[WEFT_FINDING_KINDS];
    /* Why samples are damaged: texts in the order in which threads met them. */
    struct wf_damage {
        int split;
        int64_t sample;
        char *text; /* owned */
    } * damages;
    int n_damages, damages_capacity;
};

/* From samples to findings and figures. false: out of memory. */
bool wf_inspection_conclude(weft_inspection *inspection, const weft_inspect_opts *opts);

#endif
