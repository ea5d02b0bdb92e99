/* The reference for one type: included by ref.c with T (DTYPE, NAME), what images hold; REAL, what is
 * computed in; GET(p, i) and PUT(p, i, v), element i of an image; and FN(name). */

static void FN(ref_max_forward)(const wf_pool *g, const void *vx, void *vy, void *index)
{
    const T *x = vx;
    T *y = vy;
    const wf_act out = wf_pool_out(g);
    memset(y, 0, wf_act_count(out) * sizeof(T)); /* padding channels */
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
                        REAL v = GET(x, wf_act_index(g->in, c, h.first + r * g->dilation[0],
                                                     w.first + s * g->dilation[1]));
                        if (v > best || v != v) {
                            best = v;
                            best_k = r * g->kernel[1] + s;
                        }
                    }
                PUT(y, wf_act_index(out, c, p, q), best);
                if (index)
                    put_index(g, index, index_at(g, c, p, q), best_k);
            }
}

static void FN(ref_max_backward)(const wf_pool *g, const void *vdy, const void *index, void *vdx)
{
    const T *dy = vdy;
    T *dx = vdx;
    const wf_act out = wf_pool_out(g);
    memset(dx, 0, wf_act_count(g->in) * sizeof(T)); /* padding channels */
    for (int c = 0; c < out.C; c++)
        for (int h = 0; h < g->in.H; h++)
            for (int w = 0; w < g->in.W; w++) {
                const wf_pool_range rows = wf_pool_outputs_over(g, 0, h),
                                    columns = wf_pool_outputs_over(g, 1, w);
                REAL sum = 0;
                for (int p = rows.begin; p < rows.end; p++)
                    for (int q = columns.begin; q < columns.end; q++) {
                        const int k = get_index(g, index, index_at(g, c, p, q));
                        const int r = k / g->kernel[1], s = k % g->kernel[1];
                        if (p * g->stride[0] - g->padding[0] + r * g->dilation[0] == h &&
                            q * g->stride[1] - g->padding[1] + s * g->dilation[1] == w)
                            sum += GET(dy, wf_act_index(out, c, p, q));
                    }
                PUT(dx, wf_act_index(g->in, c, h, w), sum);
            }
}

static void FN(ref_avg_forward)(const wf_pool *g, const void *vx, void *vy)
{
    const T *x = vx;
    T *y = vy;
    const wf_act out = wf_pool_out(g);
    memset(y, 0, wf_act_count(out) * sizeof(T));
    for (int c = 0; c < out.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                const wf_pool_range h = wf_pool_avg_range(g, 0, p), w = wf_pool_avg_range(g, 1, q);
                REAL sum = 0;
                for (int i = h.begin; i < h.end; i++) {
                    REAL row = 0;
                    for (int j = w.begin; j < w.end; j++)
                        row += GET(x, wf_act_index(g->in, c, i, j));
                    sum += row;
                }
                PUT(y, wf_act_index(out, c, p, q), sum / ((REAL)h.count * (REAL)w.count));
            }
}

static void FN(ref_avg_backward)(const wf_pool *g, const void *vdy, void *vdx)
{
    const T *dy = vdy;
    T *dx = vdx;
    const wf_act out = wf_pool_out(g);
    memset(dx, 0, wf_act_count(g->in) * sizeof(T)); /* padding channels */
    for (int c = 0; c < out.C; c++)
        for (int i = 0; i < g->in.H; i++)
            for (int j = 0; j < g->in.W; j++) {
                const wf_pool_range rows = wf_pool_outputs_over(g, 0, i),
                                    columns = wf_pool_outputs_over(g, 1, j);
                REAL sum = 0;
                for (int p = rows.begin; p < rows.end; p++)
                    for (int q = columns.begin; q < columns.end; q++)
                        sum += GET(dy, wf_act_index(out, c, p, q)) /
                               ((REAL)wf_pool_avg_range(g, 0, p).count *
                                (REAL)wf_pool_avg_range(g, 1, q).count);
                PUT(dx, wf_act_index(g->in, c, i, j), sum);
            }
}

extern const wf_pool_fns FN(wf_pool_fns_ref);
const wf_pool_fns FN(wf_pool_fns_ref) = {.name = "ref:" NAME,
                                         .isa = WEFT_ISA_SCALAR,
                                         .dtype = DTYPE,
                                         .lanes = 0,
                                         .max_forward = FN(ref_max_forward),
                                         .max_backward = FN(ref_max_backward),
                                         .avg_forward = FN(ref_avg_forward),
                                         .avg_backward = FN(ref_avg_backward)};
