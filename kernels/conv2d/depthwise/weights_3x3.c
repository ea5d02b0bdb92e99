/* Depthwise weight gradient of one plane, over some images, of a centred 3x3 filter: padding 1, stride 1 or 2.
 *
 * All nine sums stay in registers over all rows of all images, which the kernel reads once, as they lie. A strip
 * is the gradients of four neighbouring outputs, fewer at a row's end. They stay in registers while the kernel
 * loads each input that they meet once per filter row. The sums are nine chains of multiply-adds, just enough
 * for two units of four cycles. The compiler knows the borders, and the padding is never loaded. See
 * depthwise.h. */
#include "kernels/conv2d/depthwise/depthwise.h"

enum {
    S = 3,
    WIDTH = 4,
    MIN_Q = WIDTH + 1,
    PREFETCH_DISTANCE = 48,
    SMALL_PLANE_BYTES = 16384,
    LEFT = 1,
    RIGHT = 2
};

typedef struct sums {
    wf_vf of[S][S];
} sums;

/* Row p of dy, and the row of x that the middle row of the filter meets for it. */
typedef struct image_row {
    const wf_element *x, *dy;
} image_row;

/* What all rows share. */
typedef struct shared {
    ptrdiff_t line;                    /* of x */
    ptrdiff_t x_prefetch, dy_prefetch; /* how far ahead x and dy are prefetched */
    int Q, last;                       /* columns that the last strip of a row may read */
} shared;

/* Adds outputs [q, q + N) of a row and filter rows [R0, R1) to the sums. STRIDE, R0, R1, N and SIDES are constants
 * at every call. */
WF_INLINE void strip(const int STRIDE, const int R0, const int R1, const int N, const int SIDES,
                     const shared *all, image_row at, int q, sums *sum)
{
    const int READS = (N - 1) * STRIDE + S;
    const wf_element *dy = at.dy + q * L, *x = wf_column(at.x, q * STRIDE - 1);
    const wf_element *const line[S] = {x - all->line, x, wf_opaque(x + all->line)};
    wf_vf g[WIDTH];
    wf_depthwise_prefetch(dy + all->dy_prefetch, 0, N);
    for (int r = 0; r < STRIDE; r++)
        wf_depthwise_prefetch(line[1 + r] + all->x_prefetch, 0, N * STRIDE);
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

/* Adds a row of Q outputs, of which strips of WIDTH leave REST. */
WF_INLINE void row(const int STRIDE, const int REST, const int R0, const int R1, const shared *all,
                   image_row at, sums *sum)
{
    const int END = REST ? REST : WIDTH;
    int q = WIDTH;
    strip(STRIDE, R0, R1, WIDTH, LEFT, all, at, 0, sum);
    for (; q < all->Q - END; q += WIDTH)
        strip(STRIDE, R0, R1, WIDTH, 0, all, at, q, sum);
    strip(STRIDE, R0, R1, END, RIGHT, all, at, q, sum);
}

WF_INLINE void images_of(const int STRIDE, const int REST, const wf_depthwise *g,
                         const wf_depthwise_images *im, float *w)
{
    const size_t bytes =
        (wf_depthwise_plane(g->H, g->W) + wf_depthwise_plane(g->P, g->Q)) * sizeof(wf_element);
    const bool small =
        bytes < SMALL_PLANE_BYTES && im->n > 1; /* else the kernel reads on in memory */
    const ptrdiff_t line = (ptrdiff_t)g->W * L, strided = STRIDE * line;
    const int P = g->P, Q = g->Q, END = REST ? REST : WIDTH;
    const shared all = {
        .line = line,
        .x_prefetch = small ? (ptrdiff_t)im->x_stride : strided + PREFETCH_DISTANCE * STRIDE * L,
        .dy_prefetch = small ? (ptrdiff_t)im->dy_stride : PREFETCH_DISTANCE * L,
        .Q = Q,
        .last = STRIDE == 1 ? END + 1 : g->W + 1 - (Q - END) * STRIDE,
    };
    sums sum;
    WF_UNROLL
    for (int i = 0; i < S * S; i++)
        sum.of[i / S][i % S] = wf_vload(w + i * L);
    for (int i = 0; i < im->n; i++) {
        image_row at = {im->x + (size_t)i * im->x_stride, im->dy + (size_t)i * im->dy_stride};
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
    switch (g->Q % WIDTH + (g->stride[1] - 1) * WIDTH) {
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
