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

/* Sum of a row of dy, at lane l, for pixel j. k: the first outputs made of pixels j - 1, j and j + 1. */
static T FN(along)(const wf_upsample *g, const T *dy, const int *k)
{
    const size_t b = (size_t)g->in.block;
    T sum = 0, last = 0;
    for (int q = k[0]; q < k[1]; q++)
        sum += (T)g->cols[q].w[1] * dy[(size_t)q * b];
    for (int q = k[1]; q < k[2]; q++) {
        sum += (T)g->cols[q].w[0] * dy[(size_t)q * b];
        if (g->cols[q].from[1] == g->cols[q].from[0])
            last += (T)g->cols[q].w[1] * dy[(size_t)q * b];
    }
    return sum + last;
}

/* One element of dx: sums along rows of dy, each weighted and added; those rows that begin in the
 * row of dx before, then those that begin in this one. r, k: as in along. */
static T FN(gradient)(const wf_upsample *g, const T *dy, const int *r, const int *k)
{
    const size_t row = (size_t)g->Q * (size_t)g->in.block;
    T sum = 0, last = 0;
    for (int p = r[0]; p < r[1]; p++)
        sum += (T)g->rows[p].w[1] * FN(along)(g, dy + (size_t)p * row, k);
    for (int p = r[1]; p < r[2]; p++) {
        const T d = FN(along)(g, dy + (size_t)p * row, k);
        sum += (T)g->rows[p].w[0] * d;
        if (g->rows[p].from[1] == g->rows[p].from[0])
            last += (T)g->rows[p].w[1] * d;
    }
    return sum + last;
}

static void FN(bilinear_backward)(const wf_upsample *g, const T *dy, T *dx)
{
    const size_t b = (size_t)g->in.block;
    for (int i = 0, r[3] = {0, 0, 0}; i < g->in.H; i++) {
        step(g->rows, g->P, i, r);
        for (int j = 0, k[3] = {0, 0, 0}; j < g->in.W; j++) {
            step(g->cols, g->Q, j, k);
            for (size_t l = 0; l < b; l++)
                *dx++ = FN(gradient)(g, dy + l, r, k);
        }
    }
}

static void FN(nearest_backward)(const wf_upsample *g, const T *dy, T *dx)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    memset(dx, 0, (size_t)g->in.H * row * sizeof(*dx));
    for (int p = 0; p < g->P; p++)
        for (int q = 0; q < g->Q; q++) {
            T *to = dx + (size_t)g->rows[p].from[0] * row + (size_t)g->cols[q].from[0] * b;
            for (size_t l = 0; l < b; l++)
                to[l] += *dy++;
        }
}

static void FN(backward)(const wf_upsample *g, const void *vdy, void *vdx)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    const T *dy = vdy;
    T *dx = vdx;
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block) {
        (g->nearest ? FN(nearest_backward) : FN(bilinear_backward))(g, dy, dx);
        dy += (size_t)g->P * (size_t)g->Q * b;
        dx += (size_t)g->in.H * row;
    }
}
