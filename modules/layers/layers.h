/* Helpers that the layers share. */
#ifndef WF_LAYERS_LAYERS_H
#define WF_LAYERS_LAYERS_H

#include "weft/init.h"
#include "weft/layers.h"

/* The last step of creating a layer: m with torch.nn.Linear's and Conv2d's initial values, the
 * weight Kaiming uniform with a = sqrt(5), which is uniform in +-1/sqrt(fan_in), and the bias (may
 * be NULL) the same. NULL, with m unreferenced, where that fails or a registration before has
 * failed. */
weft_module *wf_init_weight_and_bias(weft_module *m, weft_tensor *weight, weft_tensor *bias);

/* Registers an f32 parameter filled with `value`, or one that holds no tensor where it is not
 * wanted. */
void wf_register_optional(weft_module *m, const char *name, weft_tensor **field, bool wanted,
                          weft_shape shape, double value);

/* The two sizes of a window as Python shows them: "3" where they are equal, else "(3, 5)". */
typedef struct wf_pair_text {
    char text[32];
} wf_pair_text;
wf_pair_text wf_pair(const int pair[2]);  /* "3" or "(3, 5)" */
wf_pair_text wf_tuple(const int pair[2]); /* always "(3, 3)" */
wf_pair_text wf_float(double number);     /* as Python shows a float: "1.0", "0.25" */

#endif
