/* Reorders: every implementation, any block to any block, moves each element to where
 * wf_act_index says and leaves zeros in the padding channels. Gathers:
 * likewise, from three images. */
#include "guarded.h"

#include "kernels/layout/layout.h"

/* The 16-lane gathers: those of the emulated build. */
void wf_gather_4_emul(wf_act a, const wf_channel_from *from, const void *const *x, void *y);
void wf_gather_2_emul(wf_act a, const wf_channel_from *from, const void *const *x, void *y);
static const wf_layout emulated[] = {{"", NULL, "gather:emul", wf_gather_4_emul},
                                     {"", NULL, "gather:emul", wf_gather_2_emul}};

static const wf_act shapes[] = {{1, 1, 1, 1},  {3, 5, 7, 1},  {8, 3, 3, 1},  {16, 4, 4, 1},
                                {13, 2, 9, 1}, {40, 1, 1, 1}, {17, 3, 5, 1}, {9, 28, 28, 1}};
static const int blocks[] = {1, 4, 8, 16, 32};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]), N_BLOCKS = 5 };

/* An image whose elements are numbered from 1, in layout a, zero in the padding. */
static guarded numbered(size_t size, wf_act a)
{
    guarded g = guarded_new(wf_act_count(a) * size, size);
    memset(g.data, 0, g.size);
    for (int c = 0; c < a.C; c++)
        for (int p = 0; p < a.H * a.W; p++) {
            /* Every byte counts; as bf16 the numbers are NaN, denormals and others. */
            const uint64_t k = (uint64_t)(c * a.H * a.W + p);
            uint64_t value = (k % 251 + 1) | (k * 2654435761u >> 7) << 8;
            memcpy(g.data + wf_act_index(a, c, p / a.W, p % a.W) * size, &value, size);
        }
    return g;
}

static void any_block_to_any_block(void **state)
{
    for (int i = 0; i < wf_n_layout_impls; i++) {
        const wf_layout_impl *impl = &wf_layout_impls[i];
        if (impl->isa > wf_cpu_isa())
            continue;
        for (int s = 0; s < N_SHAPES; s++)
            for (int pair = 0; pair < N_BLOCKS * N_BLOCKS; pair++) {
                wf_act from = shapes[s], to = shapes[s];
                from.block = blocks[pair / N_BLOCKS];
                to.block = blocks[pair % N_BLOCKS];
                guarded x = numbered(impl->size, from), want = numbered(impl->size, to);
                guarded y = guarded_new(wf_act_count(to) * impl->size, impl->size);
                impl->kernels->reorder(from, to.block, x.data, y.data);
                if (memcmp(y.data, want.data, y.size) != 0)
                    fail_msg("%s, %zu bytes: C=%d H=%d W=%d from block %d to %d",
                             impl->kernels->name, impl->size, from.C, from.H, from.W, from.block,
                             to.block);
                guarded_free(&x);
                guarded_free(&y);
                guarded_free(&want);
            }
    }
}

/* Channel c of each pattern: of images of 13, 19 and 40 channels. */
enum { CONCAT, SLICE, SHUFFLE, WHOLE_BLOCKS, SCATTERED, N_PATTERNS };
static wf_channel_from pattern(int which, int c)
{
    switch (which) {
    case CONCAT: return c < 13 ? (wf_channel_from){0, c} : (wf_channel_from){1, (c - 13) % 19};
    case SLICE: return (wf_channel_from){2, (c + 5) % 40};
    case SHUFFLE: return (wf_channel_from){1 + c % 2, c / 2 % 19};
    case WHOLE_BLOCKS: return (wf_channel_from){2, c};
    default: return (wf_channel_from){c * 5 % 4 - 1, c * 7 % 13}; /* image -1: zero */
    }
}

static void check_gather(const wf_layout *kernels, size_t size, int which, wf_act to)
{
    wf_act of[3] = {
        {13, to.H, to.W, to.block}, {19, to.H, to.W, to.block}, {40, to.H, to.W, to.block}};
    guarded x[3], y = guarded_new(wf_act_count(to) * size, size);
    wf_channel_from from[40];
    const void *data[3];
    for (int i = 0; i < 3; i++) {
        x[i] = numbered(size, of[i]);
        data[i] = x[i].data;
    }
    for (int c = 0; c < to.C; c++)
        from[c] = pattern(which, c);
    kernels->gather(to, from, data, y.data);
    for (int c = 0; c < wf_round_up(to.C, to.block); c++)
        for (int h = 0; h < to.H; h++)
            for (int w = 0; w < to.W; w++) {
                uint64_t want = 0, got = 0;
                const int image = c < to.C ? from[c].image : -1;
                if (image >= 0)
                    memcpy(&want,
                           x[image].data + wf_act_index(of[image], from[c].channel, h, w) * size,
                           size);
                memcpy(&got, y.data + wf_act_index(to, c, h, w) * size, size);
                if (got != want)
                    fail_msg(
                        "%s, %zu bytes: pattern %d of %d channels, block %d: channel %d, (%d, %d)",
                        kernels->gather_name, size, which, to.C, to.block, c, h, w);
            }
    for (int i = 0; i < 3; i++)
        guarded_free(&x[i]);
    guarded_free(&y);
}

static void channels_are_gathered_from_several_images(void **state)
{
    static const int channels[] = {1, 7, 8, 16, 31, 32, 40};
    for (int i = 0; i < wf_n_layout_impls + 2; i++) {
        const int e = i - wf_n_layout_impls;
        const wf_layout_impl impl =
            e < 0 ? wf_layout_impls[i]
                  : (wf_layout_impl){&emulated[e], WEFT_ISA_AVX2, e == 0 ? 4 : 2};
        if (impl.isa > wf_cpu_isa())
            continue;
        for (int which = 0; which < N_PATTERNS; which++)
            for (int k = 0; k < 7; k++)
                for (int b = 0; b < 4; b++)
                    check_gather(impl.kernels, impl.size, which,
                                 (wf_act){channels[k], 2, 3, blocks[b]});
    }
}

static void padding_is_zeroed_and_nothing_else(void **state)
{
    for (int s = 0; s < N_SHAPES; s++)
        for (int b = 0; b < N_BLOCKS; b++) {
            wf_act a = shapes[s];
            a.block = blocks[b];
            guarded want = numbered(4, a), y = numbered(4, a);
            for (int c = a.C; c < wf_round_up(a.C, a.block); c++)
                for (int p = 0; p < a.H * a.W; p++)
                    memset(y.data + wf_act_index(a, c, p / a.W, p % a.W) * 4, 0xff, 4);
            wf_zero_padding(4, a, y.data);
            assert_memory_equal(y.data, want.data, y.size);
            guarded_free(&y);
            guarded_free(&want);
        }
}

static void dispatch_knows_every_size(void **state)
{
    static const size_t sizes[] = {1, 2, 4, 8};
    for (int i = 0; i < 4; i++)
        for (weft_isa isa = WEFT_ISA_SCALAR; isa <= WEFT_ISA_AVX512; isa++)
            assert_non_null(wf_layout_get(sizes[i], isa));
    assert_string_equal(wf_layout_get(4, WEFT_ISA_AVX2)->name, "reorder:avx2");
    assert_string_equal(wf_layout_get(2, WEFT_ISA_AVX512)->name, "reorder:avx512");
    assert_null(wf_layout_get(3, WEFT_ISA_AVX512));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_block_to_any_block),
        cmocka_unit_test(channels_are_gathered_from_several_images),
        cmocka_unit_test(padding_is_zeroed_and_nothing_else),
        cmocka_unit_test(dispatch_knows_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
