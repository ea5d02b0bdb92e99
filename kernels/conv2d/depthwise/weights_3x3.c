/* Depthwise weight gradient of one plane, over a run of images, where the kernel is 3x3 and centred:
 * padding 1, stride 1 or 2.
 *
 * All nine sums stay in registers over all rows of all images, which are read once, as they lie. A
 * tile is four neighbouring outputs' gradients (fewer at a row's end), held in registers while each
 * input that they meet is loaded once per kernel row. The sums are nine chains, just enough for two
 * units of four cycles. The borders are known when compiled, and the padding is never loaded. See
 * depthwise.h. */
#include "kernels/conv2d/depthwise/depthwise.h"

enum { S = 3, T = 4, MIN_Q = T + 1, AHEAD = 48, SMALL_BYTES = 16384, LEFT = 1, RIGHT = 2 };

typedef struct sums {
    wf_vf of[S][S];
} sums;

/* Row p of an image: dy's, and x's of the kernel's middle row. */
typedef struct strip {
    const wf_element *x, *dy;
} strip;

/* What all rows share. */
typedef struct shared {
    ptrdiff_t line;              /* of x */
    ptrdiff_t x_ahead, dy_ahead; /* what lies so far in front is fetched */
    int Q, last;                 /* columns that the last tile of a row may read */
} shared;

/* Outputs [q, q + N) of a row, kernel rows [R0, R1). STRIDE, R0, R1, N and SIDES are constants where
 * this is called. */
WF_INLINE void tile(const int STRIDE, const int R0, const int R1, const int N, const int SIDES,
                    const shared *all, strip at, int q, sums *sum)
{
    const int READS = (N - 1) * STRIDE + S;
    const wf_element *dy = at.dy + q * L, *x = wf_column(at.x, q * STRIDE - 1);
    const wf_element *const line[S] = {x - all->line, x, wf_opaque(x + all->line)};
    wf_vf g[T];
    wf_depthwise_fetch(dy + all->dy_ahead, 0, N);
    for (int r = 0; r < STRIDE; r++)
        wf_depthwise_fetch(line[1 + r] + all->x_ahead, 0, N * STRIDE);
    WF_UNROLL
    for (int t = 0; t < N; t++)
        g[t] = wf_eload(dy + t * L);
    WF_UNROLL
    for (int j = 0; j < READS; j++) {
        if ((SIDES & LEFT && j == 0) || (SIDES & RIGHT && j == READS - 1 && j >= all->last))
            continue;
        WF_UNROLL
        for (int r = R0; r < R1; r++) {
            const wf_vf v = wf_eload(line[r] + j * L);
            WF_UNROLL
            for (int t = 0; t < N; t++)
                if (j >= t * STRIDE && j < t * STRIDE + S)
                    sum->of[r][j - t * STRIDE] = wf_vfma(v, g[t], sum->of[r][j - t * STRIDE]);
        }
    }
}

/* A row of Q outputs, of which REST are left by tiles of T. */
WF_INLINE void row(const int STRIDE, const int REST, const int R0, const int R1, const shared *all,
                   strip at, sums *sum)
{
    const int END = REST ? REST : T;
    int q = T;
    tile(STRIDE, R0, R1, T, LEFT, all, at, 0, sum);
    for (; q < all->Q - END; q += T)
        tile(STRIDE, R0, R1, T, 0, all, at, q, sum);
    tile(STRIDE, R0, R1, END, RIGHT, all, at, q, sum);
}

WF_INLINE void images_of(const int STRIDE, const int REST, const wf_depthwise *g,
                         const wf_depthwise_images *im, float *w)
{
    const size_t bytes =
        (wf_depthwise_plane(g->H, g->W) + wf_depthwise_plane(g->P, g->Q)) * sizeof(wf_element);
    const bool small = bytes < SMALL_BYTES && im->n > 1; /* else what follows in memory is next */
    const ptrdiff_t line = (ptrdiff_t)g->W * L, strided = STRIDE * line;
    const int P = g->P, Q = g->Q, END = REST ? REST : T;
    const shared all = {
        .line = line,
        .x_ahead = small ? (ptrdiff_t)im->x_stride : strided + AHEAD * STRIDE * L,
        .dy_ahead = small ? (ptrdiff_t)im->dy_stride : AHEAD * L,
        .Q = Q,
        .last = STRIDE == 1 ? END + 1 : g->W + 1 - (Q - END) * STRIDE,
    };
    sums sum;
    WF_UNROLL
    for (int i = 0; i < S * S; i++)
        sum.of[i / S][i % S] = wf_vload(w + i * L);
    for (int i = 0; i < im->n; i++) {
        strip at = {im->x + (size_t)i * im->x_stride, im->dy + (size_t)i * im->dy_stride};
        row(STRIDE, REST, 1, 3, &all, at, &sum);
        for (int p = 1; p < P; p++) {
            at.x += strided;
            at.dy += (ptrdiff_t)Q * L;
            if (p < P - 1 || g->row[p].n == 3)
                row(STRIDE, REST, 0, 3, &all, at, &sum);
            else
                row(STRIDE, REST, 0, 2, &all, at, &sum);
        }
    }
    WF_UNROLL
    for (int i = 0; i < S * S; i++)
        wf_vstore(w + i * L, sum.of[i / S][i % S]);
}

bool WF_ELEMENT_FN(wf_depthwise_gradient_3x3)(const wf_depthwise *g,
                                              const wf_depthwise_images *images, float *sum)
{
    const bool centred = g->R == S && g->S == S && g->padding[0] == 1 && g->padding[1] == 1 &&
                         g->dilation[0] == 1 && g->dilation[1] == 1;
    if (!centred || g->stride[0] != g->stride[1] || g->stride[1] > 2 || g->Q < MIN_Q || g->H < 2)
        return false;
    switch (g->Q % T + (g->stride[1] - 1) * T) {
    case 0: images_of(1, 0, g, images, sum); break;
    case 1: images_of(1, 1, g, images, sum); break;
    case 2: images_of(1, 2, g, images, sum); break;
    case 3: images_of(1, 3, g, images, sum); break;
    case 4: images_of(2, 0, g, images, sum); break;
    case 5: images_of(2, 1, g, images, sum); break;
    case 6: images_of(2, 2, g, images, sum); break;
    case 7: images_of(2, 3, g, images, sum); break;
    }
    return true;
}
