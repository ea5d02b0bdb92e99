/* The files of a run's directory that this folder writes (include/weft/report.h has the public
 * part). */
#ifndef WF_REPORT_REPORT_H
#define WF_REPORT_REPORT_H

#include "weft/report.h"

/* Writes <directory>/evaluation.json, with pictures of the worst mistakes. */
weft_status wf_evaluation_write(const char *directory, const weft_eval_result *result,
                                const weft_dataset *ds, int64_t epoch, weft_error *err);

#endif
