/* Which of oneDNN's convolution kernels Weft may run; needs no dnnl.h. Threading: none needed.
 *
 * Note [Admitted kernels]
 * oneDNN has given wrong numbers without an error; README.md lists the cases. So a kernel of it runs
 * only where tests/kernels/test_conv2d.c, of bf16 test_conv2d_bf16.c, compares it with exact integers:
 * the same version of oneDNN, instruction set, implementation, pass, types and layouts, and every
 * feature of the shape. The list in admitted.c says which those are. Everything else is refused with a
 * reason, and the choice falls on another kernel. The tests fail where the list names a feature that
 * they did not try. */
#ifndef WF_ONEDNN_ADMITTED_H
#define WF_ONEDNN_ADMITTED_H

#include "kernels/conv2d/conv2d.h"

/* What a kernel may treat on a path of its own. */
enum {
    WF_DNNL_POINT = 1 << 0,     /* the kernel is 1x1 */
    WF_DNNL_WINDOW = 1 << 1,    /* it is larger */
    WF_DNNL_STRIDED = 1 << 2,   /* a stride of more than 1 */
    WF_DNNL_DILATED = 1 << 3,   /* a dilation of more than 1 */
    WF_DNNL_PADDED = 1 << 4,    /* padding of 1 or more */
    WF_DNNL_OVERHANG = 1 << 5,  /* the dilated kernel is larger than the image */
    WF_DNNL_GROUPED = 1 << 6,   /* groups, but not depthwise */
    WF_DNNL_DEPTHWISE = 1 << 7, /* each group has one channel in and one out */
    WF_DNNL_BIAS = 1 << 8,
};
unsigned wf_dnnl_features(const wf_conv2d_desc *d);
const char *wf_dnnl_feature_name(unsigned features); /* of the lowest: "strided" */

/* The layouts of source and destination. */
typedef enum wf_dnnl_layout {
    WF_DNNL_BLOCKED,    /* both in the channel blocks of the instruction set */
    WF_DNNL_FROM_PLAIN, /* plain source, blocked destination */
    WF_DNNL_PLAIN,      /* both plain */
    WF_DNNL_OTHER,
} wf_dnnl_layout;
wf_dnnl_layout wf_dnnl_layout_of(const wf_conv2d_desc *d, weft_isa isa);

typedef struct wf_dnnl_entry {
    unsigned versions; /* of oneDNN: wf_dnnl_version_bit's */
    weft_isa isa;
    wf_dnnl_layout layout;
    const char *name;     /* as oneDNN calls the implementation */
    unsigned features[3]; /* by pass; 0: the pass is refused */
    bool bf16;            /* source and destination are of bf16; else all is of f32 */
} wf_dnnl_entry;
extern const wf_dnnl_entry wf_dnnl_admitted[];
extern const int wf_dnnl_n_admitted;

/* The bit of a version in the list; 0: the list does not know it. */
unsigned wf_dnnl_version_bit(int major, int minor);
/* What a report says behind the version: "" or that it is not used. */
const char *wf_dnnl_version_note(int major, int minor);
/* Whether the list has it; if not, why not (at most size bytes). */
bool wf_dnnl_admits(int major, int minor, weft_isa isa, const char *name, const wf_conv2d_desc *d,
                    wf_conv2d_pass pass, char *why, size_t size);

#endif
