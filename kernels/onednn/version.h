/* Which oneDNN is linked; a header of its own so that reports need not see dnnl.h. */
#ifndef WF_ONEDNN_VERSION_H
#define WF_ONEDNN_VERSION_H

void wf_onednn_version(int *major, int *minor, int *patch);

#endif
