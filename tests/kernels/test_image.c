/* Image kernels: normalisation to the bit, flips and shifts of every element size. */
#include "guarded.h"

#include "kernels/image/image.h"

extern const wf_image_kernels wf_image_emul;

static void normalize_gives_torchvisions_bits(void **state)
{
    static const size_t pixels[] = {1, 7, 8, 15, 16, 17, 784, 1001};
    const float mean[] = {0.4914f, 0.4822f, 0.4465f}, std[] = {0.247f, 0.2435f, 0.2616f};
    for (int i = 0; i <= wf_n_image_impls; i++) {
        weft_isa isa = i < wf_n_image_impls ? wf_image_impls[i].isa : WEFT_ISA_AVX2;
        const wf_image_kernels *k =
            i < wf_n_image_impls ? wf_image_impls[i].kernels : &wf_image_emul;
        if (isa > wf_cpu_isa())
            continue;
        for (size_t s = 0; s < sizeof(pixels) / sizeof(*pixels); s++) {
            size_t n = 3 * pixels[s];
            guarded x = guarded_new(n, 1), y = guarded_new(n * 4, 4);
            for (size_t j = 0; j < n; j++)
                x.data[j] = (unsigned char)(j < 256 ? j : test_bits(1, j));
            k->normalize(3, pixels[s], mean, std, x.data, (float *)y.data);
            for (size_t j = 0; j < n; j++) {
                float v = (float)x.data[j] / 255.0f, want;
                v -= mean[j / pixels[s]];
                want = v / std[j / pixels[s]];
                if (((float *)y.data)[j] != want)
                    fail_msg("%s [%zu]: %g, expected %g", k->name, j, (double)((float *)y.data)[j],
                             (double)want);
            }
            guarded_free(&x);
            guarded_free(&y);
        }
    }
}

enum { C = 2, H = 5, W = 7 };

static void flip_mirrors_rows(void **state)
{
    for (size_t size = 1; size <= 8; size *= 2) {
        guarded x = guarded_new(C * H * W * size, size), y = guarded_new(C * H * W * size, size);
        for (size_t j = 0; j < x.size; j++)
            x.data[j] = (unsigned char)test_bits(2, j);
        wf_image_flip(size, C, H, W, x.data, y.data);
        for (int r = 0; r < C * H; r++)
            for (int w = 0; w < W; w++)
                assert_memory_equal(y.data + (size_t)(r * W + w) * size,
                                    x.data + (size_t)(r * W + W - 1 - w) * size, size);
        guarded_free(&x);
        guarded_free(&y);
    }
}

static void shift_moves_and_fills_with_zeros(void **state)
{
    static const int moves[][2] = {{0, 0}, {1, 2}, {-2, -1}, {3, -3}, {-4, 6},
                                   {5, 0}, {0, 7}, {0, -7},  {9, 9},  {-9, -9}};
    for (size_t m = 0; m < sizeof(moves) / sizeof(*moves); m++)
        for (size_t size = 1; size <= 4; size *= 4) {
            guarded x = guarded_new(C * H * W * size, size);
            guarded y = guarded_new(C * H * W * size, size);
            for (size_t j = 0; j < x.size; j++)
                x.data[j] = (unsigned char)(test_bits(3, j) | 1);
            wf_image_shift(size, C, H, W, moves[m][0], moves[m][1], x.data, y.data);
            for (int c = 0; c < C; c++)
                for (int h = 0; h < H; h++)
                    for (int w = 0; w < W; w++) {
                        int fh = h - moves[m][0], fw = w - moves[m][1];
                        bool inside = fh >= 0 && fh < H && fw >= 0 && fw < W;
                        const unsigned char zero[8] = {0};
                        size_t from = inside ? (size_t)((c * H + fh) * W + fw) * size : 0;
                        assert_memory_equal(y.data + (size_t)((c * H + h) * W + w) * size,
                                            inside ? x.data + from : zero, size);
                    }
            guarded_free(&x);
            guarded_free(&y);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalize_gives_torchvisions_bits),
        cmocka_unit_test(flip_mirrors_rows),
        cmocka_unit_test(shift_moves_and_fills_with_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
