/* A part of a checkpoint: one kind of state that decides the next bits of a training, and how it is
 * saved and loaded. parts.def lists them; each is a file part_<name>.c. State that is added to a trainer
 * needs a part, or a resumed run goes another way. */
#ifndef WF_TRAIN_PART_H
#define WF_TRAIN_PART_H

#include <jansson.h>

#include "train/trainer_state.h"

/* What a part saves: tensors, which are copied into <part>.safetensors, and numbers, which go into
 * state.json under the part's name. Doubles come back to the bit. */
typedef struct wf_ckpt_out {
    weft_tensor_list tensors;
    json_t *numbers;                   /* an object */
    const weft_safetensors_meta *meta; /* of the tensors' file */
    int64_t n_meta;
    weft_error *err;
} wf_ckpt_out;

/* What a part loads. */
typedef struct wf_ckpt_in {
    const char *part;         /* its name */
    weft_tensor_list tensors; /* of the trainer's context; only to be read, gone after the call */
    const json_t *numbers;    /* NULL: the checkpoint does not have this part */
    weft_error *err;
} wf_ckpt_in;

typedef struct wf_ckpt_part {
    const char *name;
    weft_status (*save)(weft_trainer *t, wf_ckpt_out *out);
    /* After a failure this part and those that were loaded before it are put back; the last part of
     * parts.def is not, and must leave itself as it was. */
    weft_status (*load)(weft_trainer *t, const wf_ckpt_in *in);
} wf_ckpt_part;

#define X(name) extern const wf_ckpt_part wf_ckpt_part_##name;
#include "train/parts.def"
#undef X

/* ---- numbers ---- */

weft_status wf_ckpt_put_int(wf_ckpt_out *out, const char *key, int64_t value);
weft_status wf_ckpt_put_number(wf_ckpt_out *out, const char *key, double value); /* any, NaN too */
weft_status wf_ckpt_put_text(wf_ckpt_out *out, const char *key, const char *text);
/* Takes over `value`; NULL: out of memory. */
weft_status wf_ckpt_put_json(wf_ckpt_out *out, const char *key, json_t *value);

/* WEFT_ERR_FORMAT, with the names of part and key, where it is not there or not of this kind. */
weft_status wf_ckpt_get_int(const wf_ckpt_in *in, const char *key, int64_t *value);
weft_status wf_ckpt_get_number(const wf_ckpt_in *in, const char *key, double *value);
weft_status wf_ckpt_get_text(const wf_ckpt_in *in, const char *key, const char **text);
/* WEFT_ERR_FORMAT where the checkpoint does not have the part at all. */
weft_status wf_ckpt_need(const wf_ckpt_in *in);
/* A double as JSON and back, to the bit; for numbers in arrays. */
json_t *wf_ckpt_json_number(double value);
bool wf_ckpt_number_of(const json_t *value, double *number);

#endif
