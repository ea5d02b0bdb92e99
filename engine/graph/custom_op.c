/* Custom ops: turns a user's descriptor into two ops of the engine, forward and backward, which the
 * context owns.
 *
 * A gradient rule sees only a node's attributes, not which custom op it belongs to. So the
 * attributes of both ops begin with a pointer to the custom op. Threading: recorded on the
 * context's thread. The user's functions run in tiles, on any worker. */
#include <stdio.h>
#include <string.h>

#include "engine/graph/graph.h"
#include "engine/base/alloc.h"
#include "weft/custom_op.h"

struct wf_custom {
    wf_custom *next;
    weft_custom_op user; /* the name is our copy */
    char *name, *backward_name;
    wf_op forward, backward;
};

enum { MESSAGE = 512, MOST_TILES = 1 << 24 };

typedef struct attrs_head {
    const wf_custom *op;
    /* backward op only: one bit for each operand */
    uint32_t needs; /* inputs whose gradient is wanted: they are the outputs, in order */
    uint32_t given; /* outputs that got a gradient: these gradients are the last inputs, in order */
    char user[];
} attrs_head;

_Static_assert(sizeof(attrs_head) + WEFT_CUSTOM_MAX_ATTRS <= WF_ATTRS_ROOM,
               "wf_record copies no more");

static weft_array as_array(wf_type type)
{
    return (weft_array){NULL, type.dtype, type.shape};
}

/* ---- shape inference ---- */

static weft_status infer(wf_infer *f)
{
    const attrs_head *head = f->attrs;
    const weft_custom_op *op = &head->op->user;
    weft_array in[WEFT_CUSTOM_MAX_IN], out[WEFT_CUSTOM_MAX_OUT];
    char message[MESSAGE] = "";
    for (int i = 0; i < f->n_in; i++)
        in[i] = as_array(f->in[i]);
    for (int o = 0; o < f->n_out; o++)
        out[o] = in[0];
    if (op->infer) {
        weft_custom_infer call = {head->user, f->n_in, f->n_out, in, out, message, sizeof message};
        weft_status status = op->infer(&call);
        if (status != WEFT_OK)
            return wf_infer_fail(f, status, "%s", *message ? message : "shape inference failed");
    }
    for (int o = 0; o < f->n_out; o++) {
        char text[128];
        bool ok = weft_dtype_size(out[o].dtype) > 0 && out[o].shape.rank >= 0 &&
                  out[o].shape.rank <= WEFT_MAX_RANK && weft_shape_count(out[o].shape) >= 0;
        if (!ok)
            return wf_infer_fail(f, WEFT_ERR_SHAPE, "output %d cannot be %s %s", o,
                                 weft_dtype_name(out[o].dtype),
                                 weft_shape_format(out[o].shape, text, sizeof text));
        f->out[o] = (wf_type){out[o].dtype, out[o].shape};
    }
    return WEFT_OK;
}

static weft_status infer_backward(wf_infer *f)
{
    const attrs_head *head = f->attrs;
    f->n_out = 0;
    for (int i = 0; i < head->op->user.n_in; i++)
        if (head->needs >> i & 1)
            f->out[f->n_out++] = f->in[i];
    return WEFT_OK;
}

/* ---- gradient ---- */

static weft_status record_backward(wf_grad *g, const attrs_head *forward, uint32_t needs)
{
    const weft_custom_op *op = &forward->op->user;
    attrs_head *head = memset(wf_attrs_room(), 0, WF_ATTRS_ROOM);
    *head = (attrs_head){.op = forward->op, .needs = needs};
    if (op->attr_size)
        memcpy(head->user, forward->user, op->attr_size);
    weft_tensor *in[WEFT_CUSTOM_MAX_IN + 2 * WEFT_CUSTOM_MAX_OUT], *din[WF_MAX_OUT] = {NULL};
    int n = 0;
    for (int i = 0; i < g->n_in; i++)
        in[n++] = g->in[i];
    for (int o = 0; o < g->n_out; o++)
        in[n++] = g->out[o];
    for (int o = 0; o < g->n_out; o++) {
        if (!g->dout[o])
            continue;
        head->given |= 1u << o;
        in[n++] = g->dout[o];
    }
    if (!wf_record(&forward->op->backward, head, NULL, n, in, din))
        return wf_step_status(g->ctx);
    for (int i = 0, k = 0; i < g->n_in; i++)
        if (needs >> i & 1)
            g->din[i] = din[k++];
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    uint32_t needs = 0;
    int n = 0;
    for (int i = 0; i < g->n_in; i++) {
        if (!g->needs[i])
            continue;
        needs |= 1u << i;
        if (++n == WF_MAX_OUT) {
            WF_TRY(record_backward(g, g->attrs, needs));
            needs = 0;
            n = 0;
        }
    }
    return needs ? record_backward(g, g->attrs, needs) : WEFT_OK;
}

/* ---- running ---- */

/* The operands of a call in the order of weft_custom_call: in, out, dout, din. buf -1: NULL. */
enum {
    OUT = WEFT_CUSTOM_MAX_IN,
    DOUT = OUT + WEFT_CUSTOM_MAX_OUT,
    DIN = DOUT + WEFT_CUSTOM_MAX_OUT,
    OPERANDS = DIN + WEFT_CUSTOM_MAX_IN
};

typedef struct custom_args {
    const attrs_head *head; /* the plan owns it */
    bool backward;
    int64_t tiles;
    wf_buf buf[OPERANDS];
    weft_array array[OPERANDS];
} custom_args;

static weft_custom_call call_of(const custom_args *a, const weft_array *arrays)
{
    const weft_custom_op *op = &a->head->op->user;
    return (weft_custom_call){.attrs = a->head->user,
                              .n_in = op->n_in,
                              .n_out = op->n_out,
                              .in = arrays,
                              .out = arrays + OUT,
                              .dout = a->backward ? arrays + DOUT : NULL,
                              .din = a->backward ? arrays + DIN : NULL,
                              .tiles = a->tiles};
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const custom_args *a = vargs;
    weft_array arrays[OPERANDS];
    char message[MESSAGE] = "";
    memcpy(arrays, a->array, sizeof arrays);
    for (int i = 0; i < OPERANDS; i++)
        arrays[i].data = a->buf[i] >= 0 ? wf_data(t, a->buf[i]) : NULL;
    weft_custom_call call = call_of(a, arrays);
    call.tile = tile;
    call.message = message;
    call.message_size = sizeof message;
    const weft_custom_op *op = &a->head->op->user;
    weft_status status = a->backward ? op->backward(&call) : op->forward(&call);
    if (status != WEFT_OK)
        return wf_tile_fail(t, status, "%s", *message ? message : "failed");
    return WEFT_OK;
}

static void place(custom_args *a, int at, wf_operand o)
{
    a->buf[at] = o.buf;
    a->array[at] = (weft_array){NULL, o.dtype, o.shape};
}

/* Sets the task's operands from those of the node. */
static void place_all(wf_lower *l, custom_args *a)
{
    const weft_custom_op *op = &a->head->op->user;
    int in = 0, out = 0;
    for (int i = 0; i < op->n_in; i++)
        place(a, i, wf_lower_in(l, in++));
    for (int o = 0; o < op->n_out; o++) {
        place(a, OUT + o, a->backward ? wf_lower_in(l, in++) : wf_lower_out(l, o));
        a->array[DOUT + o] = a->array[OUT + o];
    }
    for (int o = 0; o < op->n_out && a->backward; o++)
        if (a->head->given >> o & 1)
            a->buf[DOUT + o] = wf_lower_in(l, in++).buf;
    for (int i = 0; i < op->n_in; i++) {
        a->array[DIN + i] = a->array[i];
        if (a->backward && (a->head->needs >> i & 1))
            a->buf[DIN + i] = wf_lower_out(l, out++).buf;
    }
}

static weft_status lower_any(wf_lower *l, bool backward)
{
    custom_args a = {.head = l->attrs, .backward = backward, .tiles = 1};
    for (int i = 0; i < OPERANDS; i++)
        a.buf[i] = -1;
    place_all(l, &a);
    const weft_custom_op *op = &a.head->op->user;
    int64_t (*tiles)(const weft_custom_call *) = backward ? op->backward_tiles : op->forward_tiles;
    if (tiles) {
        weft_custom_call call = call_of(&a, a.array);
        a.tiles = tiles(&call);
    }
    bool nothing = true; /* there is something to write */
    for (int o = 0; o < l->n_out; o++)
        nothing = nothing && weft_shape_count(wf_lower_out(l, o).shape) == 0;
    if (a.tiles == 0 && nothing)
        return WEFT_OK;
    if (a.tiles < 1 || a.tiles > MOST_TILES)
        return wf_lower_fail(l, WEFT_ERR_INVALID, "%lld tiles; 1 to %d are possible",
                             (long long)a.tiles, MOST_TILES);
    wf_task *task = wf_lower_task(l, "custom", run, &a, sizeof a, a.tiles);
    double bytes = 0;
    for (int i = 0; i < l->n_in; i++) {
        wf_operand x = wf_lower_in(l, i);
        wf_reads(task, x.buf, WF_WHOLE);
        bytes += (double)x.image_bytes * (double)x.N;
    }
    for (int o = 0; o < l->n_out; o++) {
        wf_operand y = wf_lower_out(l, o);
        wf_writes(task, y.buf, WF_WHOLE);
        bytes += (double)y.image_bytes * (double)y.N;
    }
    wf_cost(task, bytes, bytes);
    return task ? WEFT_OK : WEFT_ERR_NOMEM;
}

static weft_status lower(wf_lower *l)
{
    return lower_any(l, false);
}

static weft_status lower_backward(wf_lower *l)
{
    return lower_any(l, true);
}

/* ---- descriptors ---- */

static bool same(const weft_custom_op *a, const weft_custom_op *b)
{
    return strcmp(a->name, b->name) == 0 && a->n_in == b->n_in && a->n_out == b->n_out &&
           a->attr_size == b->attr_size && a->infer == b->infer && a->forward == b->forward &&
           a->backward == b->backward && a->forward_tiles == b->forward_tiles &&
           a->backward_tiles == b->backward_tiles;
}

static void custom_free(wf_custom *c)
{
    wf_free(c->name);
    wf_free(c->backward_name);
    wf_free(c);
}

void wf_customs_free(wf_custom *first)
{
    while (first) {
        wf_custom *next = first->next;
        custom_free(first);
        first = next;
    }
}

static wf_custom *custom_make(weft_context *ctx, const weft_custom_op *op)
{
    wf_custom *c = wf_zalloc(sizeof *c);
    size_t size = strlen(op->name) + sizeof "_backward";
    if (!c || !(c->name = wf_strdup(op->name)) || !(c->backward_name = wf_alloc(size))) {
        wf_nomem(&ctx->error, sizeof *c, "a custom op");
        if (c)
            custom_free(c);
        return NULL;
    }
    snprintf(c->backward_name, size, "%s_backward", op->name);
    c->user = *op;
    c->user.name = c->name;
    c->forward = (wf_op){.name = c->name,
                         .of_nothing = WF_EMPTY_RUN,
                         .n_out = op->n_out,
                         .attr_size = sizeof(attrs_head) + op->attr_size,
                         .flags = WF_OP_CUSTOM,
                         .layout_rule = WF_LAYOUT_PLAIN,
                         .infer = infer,
                         .lower = lower,
                         .grad = op->backward ? grad : NULL};
    c->backward = c->forward;
    c->backward.name = c->backward_name;
    c->backward.n_out = WF_MAX_OUT;
    c->backward.infer = infer_backward;
    c->backward.lower = lower_backward;
    c->backward.grad = NULL;
    c->next = ctx->customs;
    return ctx->customs = c;
}

static wf_custom *custom_find(weft_context *ctx, const weft_custom_op *op)
{
    for (wf_custom *c = ctx->customs; c; c = c->next)
        if (same(&c->user, op))
            return c;
    return custom_make(ctx, op);
}

weft_tensor *weft_custom(const weft_custom_op *op, const void *attrs, weft_tensor *const *in,
                         weft_tensor **out)
{
    int n_in = op && op->n_in > 1 && op->n_in <= WEFT_CUSTOM_MAX_IN ? op->n_in : 1;
    weft_context *ctx = wf_record_context(op && op->name ? op->name : "custom op", n_in, n_in, in);
    if (!ctx)
        return NULL;
    bool ok = op && op->name && op->forward && op->n_in >= 1 && op->n_in <= WEFT_CUSTOM_MAX_IN &&
              op->n_out >= 1 && op->n_out <= WEFT_CUSTOM_MAX_OUT &&
              op->attr_size <= WEFT_CUSTOM_MAX_ATTRS && (op->attr_size == 0 || attrs);
    if (!ok) {
        wf_fail_step(
            ctx, WEFT_ERR_INVALID,
            "custom op %s: it needs a name, forward, 1 to %d inputs, 1 to %d outputs, and the "
            "attributes it announces, at most %d bytes",
            op && op->name ? op->name : "without a name", WEFT_CUSTOM_MAX_IN, WEFT_CUSTOM_MAX_OUT,
            WEFT_CUSTOM_MAX_ATTRS);
        return NULL;
    }
    wf_custom *c = custom_find(ctx, op);
    if (!c) {
        wf_step_fail(ctx, WEFT_ERR_NOMEM);
        return NULL;
    }
    attrs_head *head = memset(wf_attrs_room(), 0, WF_ATTRS_ROOM);
    head->op = c;
    if (op->attr_size)
        memcpy(head->user, attrs, op->attr_size);
    return wf_record(&c->forward, head, NULL, op->n_in, in, out);
}
