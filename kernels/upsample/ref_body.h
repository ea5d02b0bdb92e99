/* The reference resampling of one type: included by ref.c once for f32 and once for f64, with T the
 * element type and FN(name) the name of a function. */

static void FN(forward)(const wf_upsample *g, const void *vx, void *vy)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    const T *x = vx;
    T *y = vy;
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block) {
        for (int p = 0; p < g->P; p++) {
            const wf_upsample_tap *r = &g->rows[p];
            const T *low = x + (size_t)r->from[0] * row, *high = x + (size_t)r->from[1] * row;
            const T r0 = (T)r->w[0], r1 = (T)r->w[1];
            for (int q = 0; q < g->Q; q++) {
                const wf_upsample_tap *k = &g->cols[q];
                const size_t at0 = (size_t)k->from[0] * b, at1 = (size_t)k->from[1] * b;
                const T c0 = (T)k->w[0], c1 = (T)k->w[1];
                for (size_t l = 0; l < b; l++)
                    *y++ = g->nearest ? low[at0 + l]
                                      : r0 * (c0 * low[at0 + l] + c1 * low[at1 + l]) +
                                            r1 * (c0 * high[at0 + l] + c1 * high[at1 + l]);
            }
        }
        x += (size_t)g->in.H * row;
    }
}

/* Each output's gradient goes to the elements it was made of, outputs in row-major order. */
static void FN(backward)(const wf_upsample *g, const void *vdy, void *vdx)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    const T *dy = vdy;
    T *dx = vdx;
    memset(dx, 0, wf_act_count(g->in) * sizeof(*dx));
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block) {
        for (int p = 0; p < g->P; p++) {
            const wf_upsample_tap *r = &g->rows[p];
            T *low = dx + (size_t)r->from[0] * row, *high = dx + (size_t)r->from[1] * row;
            const T r0 = (T)r->w[0], r1 = (T)r->w[1];
            for (int q = 0; q < g->Q; q++) {
                const wf_upsample_tap *k = &g->cols[q];
                const size_t at0 = (size_t)k->from[0] * b, at1 = (size_t)k->from[1] * b;
                const T c0 = (T)k->w[0], c1 = (T)k->w[1];
                for (size_t l = 0; l < b; l++, dy++) {
                    if (g->nearest) {
                        low[at0 + l] += *dy;
                        continue;
                    }
                    const T d0 = r0 * *dy, d1 = r1 * *dy;
                    low[at0 + l] += c0 * d0;
                    low[at1 + l] += c1 * d0;
                    high[at0 + l] += c0 * d1;
                    high[at1 + l] += c1 * d1;
                }
            }
        }
        dx += (size_t)g->in.H * row;
    }
}
