/* Dropout of one image in one type: included once for each type by files that define T the element
 * type, REAL what is computed in, U the unsigned integer of REAL's size, GET(p, i) and PUT(p, i, v), element i of an
 * image, FN(name) the name of a function and philox_words(d, group, count, words), which may write up to 28 words
 * more than count groups have. */

/* ALPHA, a constant at each call: whether the values are shifted before, scaled and shifted after. */
static inline __attribute__((always_inline)) void
FN(drop)(const bool ALPHA, const wf_dropout *d, wf_act a, int64_t first, const void *vx, void *vy)
{
    const T *x = vx;
    const REAL keep = (REAL)(1.0 / (1.0 - d->p));
    const REAL before = (REAL)d->alpha, after = (REAL)d->factor,
               beyond = (REAL)(-d->alpha * d->factor);
    T *y = vy;
    const uint32_t least = (uint32_t)(d->p * 4294967296.0); /* words below it are dropped */
    const int64_t pixels = (int64_t)a.H * a.W;
    uint32_t words[DROPOUT_CHUNK + 32]; /* the chunk may start inside a group of four */
    for (int c = 0; c < wf_round_up(a.C, a.block); c++) {
        const T *xc = x + wf_act_index(a, c, 0, 0);
        T *yc = y + wf_act_index(a, c, 0, 0);
        for (int64_t p0 = 0; p0 < pixels; p0 += DROPOUT_CHUNK) {
            int64_t n = pixels - p0 < DROPOUT_CHUNK ? pixels - p0 : DROPOUT_CHUNK;
            if (c >= a.C) {
                for (int64_t p = p0; p < p0 + n; p++)
                    yc[p * a.block] = 0;
                continue;
            }
            int64_t index = first + c * pixels + p0;
            philox_words(d, index / 4, (index % 4 + n + 3) / 4, words);
            const uint32_t *w = words + index % 4;
            for (int64_t i = 0; i < n; i++) {
                size_t at = (size_t)((p0 + i) * a.block);
                REAL value = (ALPHA ? GET(xc, at) + before : GET(xc, at)) * keep;
                U bits;
                memcpy(&bits, &value, sizeof(bits));
                bits &=
                    (U)0 - (U)(w[i] >= least); /* a branch would be guessed wrong half the time */
                memcpy(&value, &bits, sizeof(bits));
                PUT(yc, at, ALPHA ? value * after + beyond : value);
            }
        }
    }
}

static void FN(dropout)(const wf_dropout *d, wf_act a, int64_t first, const void *x, void *y)
{
    if (d->factor != 0)
        FN(drop)(true, d, a, first, x, y);
    else
        FN(drop)(false, d, a, first, x, y);
}
