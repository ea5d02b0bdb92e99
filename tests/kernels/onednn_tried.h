/* Which kinds of shapes each entry of oneDNN's list has run in a test: Note [Admitted kernels]. */
#ifndef TESTS_KERNELS_ONEDNN_TRIED_H
#define TESTS_KERNELS_ONEDNN_TRIED_H

#include <string.h>

#include "kernels/onednn/admitted.h"
#include "kernels/onednn/version.h"
#include "tests/kernels/conv2d_problem.h"

enum { MAX_ENTRIES = 64 };
static unsigned tried_onednn[MAX_ENTRIES][3]; /* features, by pass */

static inline bool of_this_machine(const wf_dnnl_entry *e)
{
    int major, minor, patch;
    wf_onednn_version(&major, &minor, &patch);
    return e->isa == wf_cpu_isa() && (!e->bf16 || wf_cpu_bf16() == WF_BF16_DOT) &&
           e->versions & wf_dnnl_version_bit(major, minor);
}

/* Whether there is an entry for images of the type. */
static inline bool knows_this_onednn(bool bf16)
{
    for (int i = 0; i < wf_dnnl_n_admitted; i++)
        if (wf_dnnl_admitted[i].bf16 == bf16 && of_this_machine(&wf_dnnl_admitted[i]))
            return true;
    return false;
}

/* Notes the features of k's shape if k is oneDNN's: "onednn:jit:avx512_core". */
static inline void note_onednn(const wf_conv2d *k)
{
    const char *name = strchr(k->name, ':');
    if (strncmp(k->name, "onednn", strlen("onednn")) != 0 || k->stage.inner)
        return;
    assert_true(wf_dnnl_n_admitted <= MAX_ENTRIES);
    for (int i = 0; i < wf_dnnl_n_admitted; i++) {
        const wf_dnnl_entry *e = &wf_dnnl_admitted[i];
        if (of_this_machine(e) && e->layout == wf_dnnl_layout_of(&k->desc, k->isa) &&
            e->bf16 == (k->desc.dst_type == WEFT_BF16) && strcmp(name + 1, e->name) == 0)
            tried_onednn[i][k->pass] |= wf_dnnl_features(&k->desc);
    }
}

/* Fails where an entry for images of the type names a feature that no shape tried. */
static inline void check_tried_onednn(bool bf16)
{
    for (int i = 0; i < wf_dnnl_n_admitted; i++)
        for (int pass = 0; pass < 3; pass++) {
            const wf_dnnl_entry *e = &wf_dnnl_admitted[i];
            const unsigned missing = e->features[pass] & ~tried_onednn[i][pass];
            if (e->bf16 == bf16 && of_this_machine(e) && missing)
                fail_msg("no shape tried %s, entry %d, %s, %s", e->name, i,
                         wf_conv2d_pass_name(pass), wf_dnnl_feature_name(missing));
        }
}

#endif
