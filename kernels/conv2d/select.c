/* The choice among convolution kernels: Note [Expected cost] in kernels/select.h.
 *
 * One thread at a time, as creation is. */
#include <stdio.h>
#include <string.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/select.h"

enum { /* how many there are */
#define WF_CONV2D(name) COUNT_##name,
#include "kernels/conv2d/kernels.def"
#undef WF_CONV2D
       N_IMPLS
};

const char *wf_conv2d_describe(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *text,
                               size_t size)
{
    char act[2][16];
    const int block[2] = {d->src_block, d->dst_block};
    for (int i = 0; i < 2; i++)
        snprintf(act[i], sizeof act[i], block[i] == 1 ? "nchw" : "nChw%dc", block[i]);
    snprintf(text, size,
             "%s g%dmb%dic%dih%diw%doc%doh%dow%dkh%dkw%dsh%dsw%ddh%ddw%dph%dpw%d%s %s:%s %s %s:%s",
             wf_conv2d_pass_name(pass), d->groups, d->N, d->C, d->H, d->W, d->K, d->P, d->Q, d->R,
             d->S, d->stride[0], d->stride[1], d->dilation[0] - 1, d->dilation[1] - 1,
             d->padding[0], d->padding[1], d->bias ? " bias" : "", act[0],
             weft_dtype_name(d->src_type), weft_dtype_name(d->weights_type), act[1],
             weft_dtype_name(d->dst_type));
    return text;
}

double wf_conv2d_expect_traffic(const wf_conv2d_desc *d)
{
    double images = (double)wf_act_count(wf_conv2d_src(d)) * (double)weft_dtype_size(d->src_type) +
                    (double)wf_act_count(wf_conv2d_dst(d)) * (double)weft_dtype_size(d->dst_type);
    double weights =
        2.0 * (double)wf_conv2d_weights_count(d) * (double)weft_dtype_size(d->weights_type);
    return wf_expect_bytes(d->N * images + weights);
}

double wf_conv2d_expect(const wf_conv2d_desc *d, weft_isa impl_isa, double share)
{
    return wf_expect_fmas(wf_conv2d_flops(d) / 2, impl_isa, share) + wf_conv2d_expect_traffic(d);
}

double wf_conv2d_idle(const wf_conv2d *k)
{
    const int tiles = k->usual_tiles > 0                      ? k->usual_tiles
                      : k->pass == WF_CONV2D_BACKWARD_WEIGHTS ? k->splits * k->parts
                                                              : wf_conv2d_tiles(k);
    return tiles < 8 ? (double)((tiles + 1) / 2 * 2) / tiles : 1;
}

double wf_conv2d_expected_share(const wf_conv2d *k)
{
    return wf_conv2d_flops(&k->desc) / 2 / (k->cycles * wf_peak_fmas(k->isa));
}

bool wf_conv2d_fits_itself(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                           weft_isa isa, char *why, size_t size)
{
    if (impl->isa <= isa)
        return impl->fits(d, pass, why, size);
    snprintf(why, size, "needs %s", weft_isa_name(impl->isa));
    return false;
}

bool wf_conv2d_fits(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                    weft_isa isa, char *why, size_t size)
{
    wf_conv2d_desc staged;
    return wf_conv2d_fits_itself(impl, d, pass, isa, why, size) ||
           (wf_conv2d_staged(d, &staged) &&
            wf_conv2d_fits_itself(impl, &staged, pass, isa, why, size));
}

double wf_conv2d_cycles(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                        weft_isa isa)
{
    wf_conv2d_desc staged;
    char why[160];
    double more = 0;
    if (wf_conv2d_staged(d, &staged) &&
        !wf_conv2d_fits_itself(impl, d, pass, isa, why, sizeof why)) {
        more = wf_conv2d_stage_cycles(d);
        d = &staged;
    }
    return more + (impl->expect ? impl->expect(d, pass, isa)
                                : wf_conv2d_expect(d, impl->isa, WF_EXPECT_SHARE));
}

typedef struct candidate {
    const wf_conv2d_impl *impl;
    double cycles; /* as expected before creation */
    bool open;     /* fits, as far as is known, and is not created */
    bool wanted;   /* by name */
} candidate;

typedef struct choice {
    const wf_conv2d_desc *d;
    wf_conv2d_pass pass;
    weft_isa isa;
    int workers;
    bool verbose;
    candidate all[N_IMPLS];
} choice;

static void log_rejected(const choice *c, const char *kernel, const char *why)
{
    if (c->verbose)
        wf_select_log(kernel, false, 0, 0, why);
}

static void log_created(const choice *c, const wf_conv2d *k, bool chosen, const char *why)
{
    if (c->verbose)
        wf_select_log(k->name, chosen, k->cycles, wf_conv2d_expected_share(k), why);
}

static void ask_all(choice *c, const char *prefer)
{
    for (int i = 0; i < N_IMPLS; i++) {
        const wf_conv2d_impl *impl = wf_conv2d_impls[i];
        char why[160] = "";
        bool fits = wf_conv2d_fits(impl, c->d, c->pass, c->isa, why, sizeof why);
        if (fits && i < N_IMPLS - 1 && wf_select_avoids(impl->name)) {
            fits = false;
            snprintf(why, sizeof why, "WEFT_AVOID");
        }
        c->all[i] = (candidate){.impl = impl, .open = fits};
        if (!fits) {
            log_rejected(c, impl->name, why);
            continue;
        }
        c->all[i].cycles = wf_conv2d_cycles(impl, c->d, c->pass, c->isa);
        c->all[i].wanted = prefer && strcmp(prefer, impl->name) == 0;
    }
}

/* The next to create: the one that is wanted, else the least cost; NULL: none is left. */
static candidate *next(choice *c)
{
    candidate *best = NULL;
    for (int i = 0; i < N_IMPLS; i++) {
        candidate *a = &c->all[i];
        if (a->open && a->wanted)
            return a;
        if (a->open && (!best || a->cycles < best->cycles))
            best = a;
    }
    return best;
}

wf_conv2d *wf_conv2d_create(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa, int workers,
                            const char *prefer)
{
    choice c = {d, pass, isa, workers, .verbose = wf_select_verbose()};
    char text[WF_CONV2D_TEXT] = "conv2d ";
    wf_conv2d_describe(d, pass, text + strlen(text), sizeof text - strlen(text));
    if (c.verbose)
        wf_select_log_problem(text);
    ask_all(&c, prefer);
    wf_conv2d *best = NULL;
    bool wanted = false;
    for (candidate *a; !wanted && (a = next(&c)) && (!best || a->cycles < best->cycles);) {
        char why[160] = "";
        wf_conv2d *k = wf_conv2d_create_impl(a->impl, d, pass, isa, workers, why, sizeof why);
        a->open = false;
        wanted = k && a->wanted;
        if (!k) {
            log_rejected(&c, a->impl->name, why);
        } else if (!best || wanted || k->cycles < best->cycles) {
            if (best)
                log_created(&c, best, false, "");
            wf_conv2d_destroy(best);
            best = k;
        } else {
            log_created(&c, k, false, "");
            wf_conv2d_destroy(k);
        }
    }
    for (int i = 0; c.verbose && i < N_IMPLS; i++)
        if (c.all[i].open)
            wf_select_log(c.all[i].impl->name, false, c.all[i].cycles,
                          wf_conv2d_flops(d) / 2 / (c.all[i].cycles * wf_peak_fmas(isa)), "");
    if (best) {
        best->preferred = wanted;
        log_created(&c, best, true, wanted ? "by wisdom" : "");
    }
    return best;
}
