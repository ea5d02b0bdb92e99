/* What weft_explain writes, by form. */
#ifndef WF_STEP_EXPLAIN_H
#define WF_STEP_EXPLAIN_H

#include "engine/run/run.h"

/* Task groups in linear order, with their tasks, kernels, tiles, layouts, forecasts and offsets. */
weft_status wf_explain_text(const wf_plan *p, FILE *out);
/* explain_picture.c: Graphviz's language; memory over the order of task groups as SVG. */
weft_status wf_explain_dot(const wf_plan *p, FILE *out);
weft_status wf_explain_memory(const wf_plan *p, FILE *out);
/* explain_measured.c: the plan's tasks beside what a timeline says that they took. */
weft_status wf_explain_measured(const wf_plan *p, const char *path, FILE *out);

/* explain_types.c: what is bf16 and what conversions cost; nothing where nothing is bf16. f[i] is
 * task i's. */
weft_status wf_explain_types(const wf_plan *p, const wf_forecast *f, FILE *out);

#endif
