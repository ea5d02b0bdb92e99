/* Permuted dimensions: runs are copied where the last dimension stays last; else the last dimension
 * of the result and the one that is contiguous in the source form planes, transposed tile by tile so
 * that the cache lines of both sides are used up while they are in the cache. Pure functions, any
 * thread. */
#include "kernels/layout/permute.h"

#include <string.h>

enum { TILE = 16 }; /* elements: a cache line of floats, a page of 8 lines for doubles */

/* One dimension of the copy: `n` steps, each so many elements in x and in y. */
typedef struct axis {
    int64_t n, x, y;
} axis;

/* y[i * a.y + j * b.y] = x[i * a.x + j * b.x] */
#define PLANE(T)                                                                                   \
    static void plane_##T(axis a, axis b, const T *x, T *y)                                        \
    {                                                                                              \
        for (int64_t i0 = 0; i0 < a.n; i0 += TILE)                                                 \
            for (int64_t j0 = 0; j0 < b.n; j0 += TILE) {                                           \
                const int64_t i1 = i0 + TILE < a.n ? i0 + TILE : a.n;                              \
                const int64_t j1 = j0 + TILE < b.n ? j0 + TILE : b.n;                              \
                for (int64_t i = i0; i < i1; i++)                                                  \
                    for (int64_t j = j0; j < j1; j++)                                              \
                        y[i * a.y + j * b.y] = x[i * a.x + j * b.x];                               \
            }                                                                                      \
    }
PLANE(uint8_t)
PLANE(uint16_t)
PLANE(uint32_t)
PLANE(uint64_t)

static void plane(size_t size, axis a, axis b, const char *x, char *y)
{
    if (a.x == 1 && a.y == 1) /* runs */
        for (int64_t j = 0; j < b.n; j++)
            memcpy(y + (size_t)(j * b.y) * size, x + (size_t)(j * b.x) * size, (size_t)a.n * size);
    else if (size == 4)
        plane_uint32_t(a, b, (const uint32_t *)x, (uint32_t *)y);
    else if (size == 8)
        plane_uint64_t(a, b, (const uint64_t *)x, (uint64_t *)y);
    else if (size == 2)
        plane_uint16_t(a, b, (const uint16_t *)x, (uint16_t *)y);
    else
        plane_uint8_t(a, b, (const uint8_t *)x, (uint8_t *)y);
}

/* The axes of more than one step, neighbours that are one run on both sides joined; returns how
 * many. The last is y's last. */
static int simplify(int rank, const int64_t *dim, const int64_t *stride, axis *axes)
{
    int n = 0;
    int64_t below = 1; /* elements of y behind one step */
    for (int i = rank - 1; i >= 0; below *= dim[i], i--) {
        if (dim[i] == 1)
            continue;
        axis *inner = &axes[WF_PERMUTE_RANK - n];
        if (n > 0 && stride[i] == inner->x * inner->n && below == inner->y * inner->n)
            inner->n *= dim[i];
        else
            axes[WF_PERMUTE_RANK - ++n] = (axis){dim[i], stride[i], below};
    }
    memmove(axes, axes + WF_PERMUTE_RANK - n, (size_t)n * sizeof(*axes));
    return n;
}

void wf_permute(size_t size, int rank, const int64_t *dim, const int64_t *stride, const void *x,
                void *y)
{
    axis axes[WF_PERMUTE_RANK], one = {1, 0, 0};
    int n = simplify(rank, dim, stride, axes);
    /* The plane: y's last axis, and x's contiguous one; where they are the same, any other. */
    axis last = n > 0 ? axes[--n] : (axis){1, 1, 1}, other = one;
    int pick = n - 1;
    for (int i = 0; i < n; i++)
        if (axes[i].x == 1)
            pick = i;
    if (pick >= 0) {
        other = axes[pick];
        memmove(axes + pick, axes + pick + 1, (size_t)(--n - pick) * sizeof(*axes));
    }
    int64_t at[WF_PERMUTE_RANK] = {0};
    const char *from = x;
    char *to = y;
    for (;;) {
        if (last.x == 1)
            plane(size, last, other, from, to);
        else
            plane(size, other, last, from, to);
        int i = n - 1;
        for (; i >= 0; i--) { /* the next plane */
            from += (ptrdiff_t)size * axes[i].x;
            to += (ptrdiff_t)size * axes[i].y;
            if (++at[i] < axes[i].n)
                break;
            from -= (ptrdiff_t)size * axes[i].x * axes[i].n;
            to -= (ptrdiff_t)size * axes[i].y * axes[i].n;
            at[i] = 0;
        }
        if (i < 0)
            return;
    }
}
