/* Finds compiled plans by their signature. A signature is everything recorded that decides what the
 * plan looks like, as bytes, in the plan's own numbers. It does not contain the addresses of stored
 * tensors, scalars, or the place in the step. So a learning-rate schedule, a new batch or a second
 * model of the same form replays the same plan. */
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/step/amp.h"
#include "engine/step/plan_cache.h"
#include "engine/step/wisdom.h"

#define CACHE_SIZE 24 /* plans; a new one replaces the least recently used */

typedef struct cached {
    char *signature;
    size_t size;
    uint64_t hash, used;
    wf_plan *plan;
} cached;

struct wf_plan_cache {
    cached entries[CACHE_SIZE];
    uint64_t clock;
    int compiled;
    wf_again again;
    char *text; /* the signature being built */
    size_t size, cap;
};

weft_status wf_plan_cache_create(weft_context *ctx)
{
    ctx->plans = wf_zalloc(sizeof *ctx->plans);
    return ctx->plans ? WEFT_OK : wf_nomem(&ctx->error, sizeof *ctx->plans, "the plan cache");
}

int wf_plan_cache_compiled(const wf_plan_cache *cache)
{
    return cache->compiled;
}

wf_again *wf_plan_cache_again(wf_plan_cache *cache)
{
    return &cache->again;
}

static void drop(wf_plan_cache *c, cached *e)
{
    if (e->plan && c->again.plan == e->plan)
        wf_again_forget(&c->again);
    wf_plan_destroy(e->plan);
    wf_free(e->signature);
    *e = (cached){0};
}

void wf_plan_cache_clear(wf_plan_cache *cache)
{
    for (int i = 0; i < CACHE_SIZE; i++)
        drop(cache, &cache->entries[i]);
}

void wf_plan_cache_destroy(wf_plan_cache *cache)
{
    if (!cache)
        return;
    wf_plan_cache_clear(cache);
    wf_free(cache->text);
    wf_free(cache);
}

static bool put(wf_plan_cache *c, const void *data, size_t size)
{
    if (c->size + size > c->cap) {
        size_t cap = c->cap ? c->cap : 16384;
        while (cap < c->size + size)
            cap *= 2;
        char *grown = wf_realloc_array(c->text, cap, 1);
        if (!grown)
            return false;
        c->text = grown;
        c->cap = cap;
    }
    if (size)
        memcpy(c->text + c->size, data, size);
    c->size += size;
    return true;
}

static bool put_int(wf_plan_cache *c, int64_t x)
{
    return put(c, &x, sizeof x);
}

static bool put_type(wf_plan_cache *c, const wf_type *t)
{
    return put_int(c, (int64_t)t->dtype * 8 + t->shape.rank) &&
           put(c, t->shape.dim, (size_t)t->shape.rank * sizeof *t->shape.dim);
}

/* Puts a value that the request reads but does not compute. */
static bool put_given(wf_plan_cache *c, const wf_value *v)
{
    return put_int(c, v->node < 0 ? 0 : v->block) && put_int(c, (int64_t)v->storage) &&
           put_type(c, &v->type);
}

/* What the signature has already: how many of the request's values, and the last node's segment. */
typedef struct seen {
    int values, segment;
} seen;

/* Segments have other numbers wherever else in a step the work is recorded, so the signature says
 * where one begins, goes on and ends. */
static bool put_segment(wf_plan_cache *c, int segment, seen *s)
{
    const int64_t how = segment == 0 ? 0 : segment == s->segment ? 1 : 2;
    s->segment = segment;
    return put_int(c, how);
}

static bool put_node(wf_plan_cache *c, const wf_graph *g, const wf_request *r, int node, seen *s)
{
    const wf_node *n = &g->nodes[node];
    bool ok = put(c, &n->op, sizeof n->op) && put_int(c, n->n_in) && put_int(c, n->n_out) &&
              put_segment(c, n->segment, s);
    for (int i = 0; i < n->n_in && ok; i++) {
        const int value = wf_node_in(g, n)[i], number = r->number[value];
        ok = put_int(c, number);
        if (number > s->values) {
            ok = ok && put_given(c, &g->values[value]);
            s->values = number;
        }
    }
    s->values = n->n_out > 0 ? r->number[n->out + n->n_out - 1] : s->values;
    return ok && put(c, r->keep + n->out, (size_t)n->n_out) &&
           put(c, g->bytes + n->attrs, n->op->attr_size);
}

static bool put_assignment(wf_plan_cache *c, const wf_graph *g, const wf_request *r,
                           const wf_assignment *a, seen *s)
{
    const int number = r->number[a->value];
    bool ok =
        put_int(c, number) && put_int(c, a->state) && put_int(c, wf_request_leaf(g, r, a->stored));
    if (number > s->values) {
        ok = ok && put_given(c, &g->values[a->value]);
        s->values = number;
    }
    return ok;
}

static bool sign(wf_plan_cache *c, const wf_graph *g, const wf_request *r, unsigned passes_off)
{
    c->size = 0;
    seen s = {0, 0};
    bool ok = put_int(c, passes_off) && put_int(c, r->keep_all) && put_int(c, r->n_nodes);
    for (int i = 0; i < r->n_nodes && ok; i++)
        ok = put_node(c, g, r, r->node[i], &s);
    for (int i = 0; i < r->n_assigned && ok; i++)
        ok = put_assignment(c, g, r, &g->assigned[r->assignment[i]], &s);
    return ok;
}

static uint64_t hash_bytes(const char *p, size_t n) /* FNV-1a over words */
{
    uint64_t h = 0xcbf29ce484222325;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0x100000001b3;
        h ^= h >> 29;
    }
    for (; n; p++, n--)
        h = (h ^ (unsigned char)*p) * 0x100000001b3;
    return h;
}

weft_status wf_plan_lookup(weft_context *ctx, const wf_request *request, unsigned passes_off,
                           wf_plan **plan)
{
    wf_plan_cache *c = ctx->plans;
    if (!sign(c, ctx->graph, request, passes_off))
        return wf_nomem(&ctx->error, c->size, "a plan's signature");
    uint64_t hash = hash_bytes(c->text, c->size);
    cached *oldest = &c->entries[0];
    for (int i = 0; i < CACHE_SIZE; i++) {
        cached *e = &c->entries[i];
        if (e->plan && e->hash == hash && e->size == c->size &&
            memcmp(e->signature, c->text, c->size) == 0) {
            e->used = ++c->clock;
            *plan = e->plan;
            return WEFT_OK;
        }
        if (e->used < oldest->used)
            oldest = e;
    }
    wf_plan *fresh = NULL;
    WF_TRY(wf_wisdom_load(ctx));
    WF_TRY(wf_amp_settle(ctx, request, passes_off));
    WF_TRY(wf_plan_compile(ctx, request, passes_off, &fresh));
    char *signature = wf_alloc(c->size);
    if (!signature) {
        wf_plan_destroy(fresh);
        return wf_nomem(&ctx->error, c->size, "a plan's signature");
    }
    memcpy(signature, c->text, c->size);
    fresh->number = ++c->compiled;
    drop(c, oldest);
    *oldest = (cached){signature, c->size, hash, ++c->clock, fresh};
    *plan = fresh;
    return WEFT_OK;
}
