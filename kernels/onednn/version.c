/* The version of the oneDNN found at run time. Threading: none needed. */
#include "kernels/onednn/version.h"

#include <dnnl.h>

void wf_onednn_version(int *major, int *minor, int *patch)
{
    const dnnl_version_t *v = dnnl_version();
    *major = v->major;
    *minor = v->minor;
    *patch = v->patch;
}
