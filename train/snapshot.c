/* See snapshot.h. */
#include "train/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/alloc.h"
#include "engine/files/safetensors.h"
#include "engine/tensor/context.h"
#include "kernels/onednn/version.h"
#include "train/part.h"
#include "train/run_dir.h"
#include "weft/tune.h"

#define STATE "state.json"

static const wf_ckpt_part *const parts[] = {
#define X(name) &wf_ckpt_part_##name,
#include "train/parts.def"
#undef X
};
enum { N_PARTS = sizeof(parts) / sizeof(parts[0]) };

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
}

/* ---- what computed it ------------------------------------------------------------------------ */

/* What changes the bits of results. */
static json_t *environment(weft_context *ctx)
{
    int v[3];
    char onednn[32];
    weft_wisdom_info wisdom;
    if (weft_wisdom_get_info(ctx, &wisdom) != WEFT_OK)
        return NULL;
    wf_onednn_version(&v[0], &v[1], &v[2]);
    snprintf(onednn, sizeof onednn, "%d.%d.%d", v[0], v[1], v[2]);
    const char *avoid = getenv("WEFT_AVOID");
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "weft", weft_version(), "onednn",
                     onednn, "isa", weft_isa_name(weft_context_isa(ctx)), "machine",
                     weft_context_machine(ctx), "amp",
                     weft_context_amp(ctx) == WEFT_AMP_BF16 ? "bf16" : "off", "wisdom", wisdom.hash,
                     "avoid", avoid ? avoid : "");
}

void wf_snapshot_differences(weft_trainer *t, const wf_ckpt_image *image, char *text, size_t size)
{
    static const struct {
        const char *key, *name;
    } all[] = {{"weft", "version of Weft"}, {"onednn", "version of oneDNN"},
               {"isa", "instruction set"},  {"machine", "machine class"},
               {"amp", "mixed precision"},  {"wisdom", "wisdom"},
               {"avoid", "WEFT_AVOID"}};
    json_t *now = environment(t->ctx);
    const json_t *then = json_object_get(image->about, "environment");
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const char *a = json_string_value(json_object_get(then, all[i].key));
        const char *b = json_string_value(json_object_get(now, all[i].key));
        if (a && b && strcmp(a, b) != 0 && n < size)
            n += (size_t)snprintf(text + n, size - n, "%s%s (%.60s, now %.60s)", n ? ", " : "",
                                  all[i].name, *a ? a : "none", *b ? b : "none");
    }
    json_decref(now);
}

static json_t *about(weft_trainer *t)
{
    const wf_trainer_place *p = &t->place;
    time_t now = time(NULL);
    struct tm tm;
    char written[32];
    strftime(written, sizeof written, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return json_pack("{s:I, s:I, s:I, s:b, s:s, s:s, s:o}", "steps_done", (json_int_t)p->done,
                     "epoch", (json_int_t)p->epoch, "step", (json_int_t)p->step, "epoch_open",
                     p->open, "written", written, "model", t->model->cls->name, "environment",
                     environment(t->ctx));
}

/* ---- out ------------------------------------------------------------------------------------- */

/* What a copy is made with. */
typedef struct taking {
    weft_trainer *t;
    wf_ckpt_image image;  /* the copy so far */
    wf_ckpt_image *spare; /* whose blocks it may use; NULL: none */
    int parts;            /* how many of them */
} taking;

static weft_status add_tensors(taking *k, const wf_ckpt_part *part, const wf_ckpt_out *out,
                               weft_error *err)
{
    char name[WF_CKPT_NAME];
    wf_memory *memory = k->t->ctx->memory;
    const weft_tensor_list *list = &out->tensors;
    if (list->n == 0)
        return WEFT_OK;
    weft_safetensors_entry *entries = wf_zalloc_array((size_t)list->n, sizeof *entries);
    if (!entries)
        return no_memory(err);
    snprintf(name, sizeof name, "%s.safetensors", part->name);
    weft_status status = WEFT_OK;
    for (int i = 0; i < list->n && status == WEFT_OK; i++) {
        weft_tensor *x = list->item[i].tensor;
        entries[i] = (weft_safetensors_entry){.name = list->item[i].name,
                                              .dtype = weft_tensor_dtype(x),
                                              .shape = weft_tensor_shape(x),
                                              .data = weft_tensor_const_data(x)};
        if (!entries[i].data)
            status = wf_take_error(k->t->ctx, WEFT_ERR_STATE, list->item[i].name, err);
    }
    const wf_st_content file = {name, entries, list->n, out->meta, out->n_meta};
    wf_block block = WF_BLOCK_INIT;
    if (status == WEFT_OK && k->spare)
        block = wf_ckpt_image_take_block(k->spare, name);
    if (status == WEFT_OK)
        status = wf_safetensors_image(&file, memory, k->t->ctx->threads, &block, err);
    wf_free(entries);
    return status == WEFT_OK ? wf_ckpt_image_add(&k->image, name, &block, err) : status;
}

static weft_status save_part(taking *k, const wf_ckpt_part *part, json_t *state, weft_error *err)
{
    wf_ckpt_out out = {.tensors = WEFT_TENSOR_LIST_INIT, .numbers = json_object(), .err = err};
    weft_status status = out.numbers ? part->save(k->t, &out) : no_memory(err);
    if (status == WEFT_OK)
        status = add_tensors(k, part, &out, err);
    if (status == WEFT_OK && json_object_set(state, part->name, out.numbers) != 0)
        status = no_memory(err);
    weft_tensor_list_done(&out.tensors);
    json_decref(out.numbers);
    return status;
}

/* The first k->parts parts alone. */
static weft_status save_parts(taking *k, weft_error *err)
{
    json_t *state = json_object();
    weft_status status = state ? WEFT_OK : no_memory(err);
    for (int i = 0; i < k->parts && status == WEFT_OK; i++)
        status = save_part(k, parts[i], state, err);
    char *text =
        status == WEFT_OK ? json_dumps(state, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(state);
    if (status == WEFT_OK)
        status = text ? wf_ckpt_image_add_copy(&k->image, k->t->ctx->memory, STATE, text,
                                               strlen(text), err)
                      : no_memory(err);
    free(text);
    return status;
}

weft_status wf_snapshot_take(weft_trainer *t, wf_ckpt_image *spare, wf_ckpt_image *image,
                             weft_error *err)
{
    taking k = {.t = t, .image.about = about(t), .spare = spare, .parts = N_PARTS};
    weft_status status = k.image.about ? save_parts(&k, err) : no_memory(err);
    if (status == WEFT_OK && t->opts.run)
        status = wf_run_copy_files(t->opts.run, t->ctx->memory, &k.image, err);
    if (status == WEFT_OK)
        *image = k.image;
    else
        wf_ckpt_image_done(&k.image);
    return status;
}

/* ---- in -------------------------------------------------------------------------------------- */

static weft_status read_tensors(const weft_trainer *t, const wf_ckpt_file *file,
                                weft_tensor_list *list, weft_error *err)
{
    weft_safetensors *open = NULL;
    WF_TRY(wf_safetensors_parse(file->name, file->block.data, file->block.size, &open, err));
    weft_status status = WEFT_OK;
    for (int64_t i = 0; i < weft_safetensors_count(open) && status == WEFT_OK; i++) {
        const weft_safetensors_entry *e = weft_safetensors_at(open, i);
        if (e->foreign) {
            status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: '%.80s' is %s", file->name, e->name,
                                  e->foreign);
            break;
        }
        const bool aligned = (uintptr_t)e->data % weft_dtype_size(e->dtype) == 0;
        weft_tensor *x = aligned ? wf_tensor_over(t->ctx, e->dtype, e->shape, e->data)
                                 : weft_tensor_from(t->ctx, e->dtype, e->shape, e->data);
        status = x ? weft_tensor_list_add(list, e->name, x)
                   : wf_take_error(t->ctx, WEFT_ERR_NOMEM, NULL, err);
        weft_tensor_unref(x);
        if (status == WEFT_ERR_NOMEM)
            no_memory(err);
    }
    weft_safetensors_close(open);
    return status;
}

static weft_status load_part(weft_trainer *t, const wf_ckpt_image *image, const json_t *state,
                             const wf_ckpt_part *part, weft_error *err)
{
    char name[WF_CKPT_NAME];
    snprintf(name, sizeof name, "%s.safetensors", part->name);
    wf_ckpt_in in = {.part = part->name,
                     .tensors = WEFT_TENSOR_LIST_INIT,
                     .numbers = json_object_get(state, part->name),
                     .err = err};
    const wf_ckpt_file *file = wf_ckpt_image_find(image, name);
    weft_status status = file ? read_tensors(t, file, &in.tensors, err) : WEFT_OK;
    if (status == WEFT_OK)
        status = part->load(t, &in);
    weft_tensor_list_done(&in.tensors);
    return status;
}

/* Loads the first n parts. *begun: how many may have changed. */
static weft_status load_parts(weft_trainer *t, const wf_ckpt_image *image, int n, int *begun,
                              weft_error *err)
{
    const wf_ckpt_file *file = wf_ckpt_image_find(image, STATE);
    json_t *state =
        file ? json_loadb(file->block.data, file->block.size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!json_is_object(state)) {
        json_decref(state);
        return wf_error_set(err, WEFT_ERR_FORMAT, "there is no " STATE ", or it is not JSON");
    }
    weft_status status = WEFT_OK;
    for (*begun = 0; *begun < n && status == WEFT_OK; ++*begun)
        status = load_part(t, image, state, parts[*begun], err);
    json_decref(state);
    return status;
}

weft_status wf_snapshot_apply(weft_trainer *t, const wf_ckpt_image *image, const char *label,
                              weft_error *err)
{
    weft_error why = WEFT_ERROR_INIT, ignored = WEFT_ERROR_INIT;
    /* To be put back where a later part does not fit. */
    taking before = {.t = t, .parts = N_PARTS - 1};
    int begun = 0;
    if (weft_error_status(t->ctx) != WEFT_OK)
        return wf_take_error(t->ctx, WEFT_ERR_STATE, "nothing is loaded after an error", err);
    weft_status status = save_parts(&before, err);
    if (status != WEFT_OK) {
        wf_ckpt_image_done(&before.image);
        return status;
    }
    status = load_parts(t, image, N_PARTS, &begun, &why);
    if (status != WEFT_OK) {
        weft_error_clear(t->ctx);
        if (begun > 0)
            load_parts(t, &before.image, begun < before.parts ? begun : before.parts, &begun,
                       &ignored);
        wf_error_set(err, status, "%s: %s", label, why.text);
    }
    wf_ckpt_image_done(&before.image);
    return status;
}
