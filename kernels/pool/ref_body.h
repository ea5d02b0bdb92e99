/* The reference for one type: included by ref.c with REAL, REAL_DTYPE and FN(name). */

static void FN(ref_max_forward)(const wf_pool *g, const void *vx, void *vy, void *index)
{
    const REAL *x = vx;
    REAL *y = vy;
    const wf_act out = wf_pool_out(g);
    memset(y, 0, wf_act_count(out) * sizeof(REAL)); /* padding channels */
    if (index)
        memset(index, 0, wf_pool_index_count(out.C, g->P, g->Q) * (wide_index(g) ? 4 : 1));
    for (int c = 0; c < out.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                const wf_pool_span h = wf_pool_max_span(g, 0, p), w = wf_pool_max_span(g, 1, q);
                int best_k = h.k0 * g->kernel[1] + w.k0;
                REAL best = -(REAL)INFINITY;
                for (int r = h.k0; r < h.k1; r++)
                    for (int s = w.k0; s < w.k1; s++) {
                        REAL v = x[wf_act_index(g->in, c, h.first + r * g->dilation[0],
                                                w.first + s * g->dilation[1])];
                        if (v > best || v != v) {
                            best = v;
                            best_k = r * g->kernel[1] + s;
                        }
                    }
                y[wf_act_index(out, c, p, q)] = best;
                if (index)
                    put_index(g, index, index_at(g, c, p, q), best_k);
            }
}

static void FN(ref_max_backward)(const wf_pool *g, const void *vdy, const void *index, void *vdx)
{
    const REAL *dy = vdy;
    REAL *dx = vdx;
    const wf_act out = wf_pool_out(g);
    memset(dx, 0, wf_act_count(g->in) * sizeof(REAL));
    for (int c = 0; c < out.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                const int k = get_index(g, index, index_at(g, c, p, q));
                const int r = k / g->kernel[1], s = k % g->kernel[1];
                const int h = p * g->stride[0] - g->padding[0] + r * g->dilation[0];
                const int w = q * g->stride[1] - g->padding[1] + s * g->dilation[1];
                if (h < 0 || w < 0 || h >= g->in.H || w >= g->in.W)
                    continue; /* a dilated window wholly in the padding */
                dx[wf_act_index(g->in, c, h, w)] += dy[wf_act_index(out, c, p, q)];
            }
}

static void FN(ref_avg_forward)(const wf_pool *g, const void *vx, void *vy)
{
    const REAL *x = vx;
    REAL *y = vy;
    const wf_act out = wf_pool_out(g);
    memset(y, 0, wf_act_count(out) * sizeof(REAL));
    for (int c = 0; c < out.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                const wf_pool_range h = wf_pool_avg_range(g, 0, p), w = wf_pool_avg_range(g, 1, q);
                REAL sum = 0;
                for (int i = h.begin; i < h.end; i++) {
                    REAL row = 0;
                    for (int j = w.begin; j < w.end; j++)
                        row += x[wf_act_index(g->in, c, i, j)];
                    sum += row;
                }
                y[wf_act_index(out, c, p, q)] = sum / ((REAL)h.count * (REAL)w.count);
            }
}

static void FN(ref_avg_backward)(const wf_pool *g, const void *vdy, void *vdx)
{
    const REAL *dy = vdy;
    REAL *dx = vdx;
    const wf_act out = wf_pool_out(g);
    memset(dx, 0, wf_act_count(g->in) * sizeof(REAL));
    for (int c = 0; c < out.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                const wf_pool_range h = wf_pool_avg_range(g, 0, p), w = wf_pool_avg_range(g, 1, q);
                REAL d = dy[wf_act_index(out, c, p, q)] / ((REAL)h.count * (REAL)w.count);
                for (int i = h.begin; i < h.end; i++)
                    for (int j = w.begin; j < w.end; j++)
                        dx[wf_act_index(g->in, c, i, j)] += d;
            }
}

extern const wf_pool_fns FN(wf_pool_fns_ref);
const wf_pool_fns FN(wf_pool_fns_ref) = {.name = "ref",
                                         .isa = WEFT_ISA_SCALAR,
                                         .dtype = REAL_DTYPE,
                                         .lanes = 0,
                                         .max_forward = FN(ref_max_forward),
                                         .max_backward = FN(ref_max_backward),
                                         .avg_forward = FN(ref_avg_forward),
                                         .avg_backward = FN(ref_avg_backward)};
