/* The activations in double, with libm: what the gradient check and double networks run. Formulas
 * of activation.def. Pure functions, any thread. */
#include <math.h>

#include "kernels/eltwise/activation.h"

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_PI 0.79788456080286535588 /* sqrt(2/pi) */
#define CUBIC 0.044715

static double sigmoid_value(double x, double a, double b)
{
    return 1 / (1 + exp(-x));
}
static double sigmoid_slope(double y, double a, double b)
{
    return y * (1 - y);
}
static double tanh_value(double x, double a, double b)
{
    return tanh(x);
}
static double tanh_slope(double y, double a, double b)
{
    return 1 - y * y;
}
static double silu_value(double x, double a, double b)
{
    return x / (1 + exp(-x));
}
static double silu_slope(double x, double a, double b)
{
    double s = sigmoid_value(x, a, b);
    return s * (1 + x * (1 - s));
}
static double gelu_value(double x, double a, double b)
{
    return x * 0.5 * erfc(-x * SQRT_HALF);
}
static double gelu_slope(double x, double a, double b)
{
    double density = exp(-0.5 * x * x) * (0.5 * SQRT_HALF * M_2_SQRTPI);
    return 0.5 * erfc(-x * SQRT_HALF) + x * density;
}
/* (1 + tanh u)/2 = sigmoid(2u), which has all digits where tanh u is near -1. */
static double gelu_tanh_gate(double x)
{
    return 1 / (1 + exp(-2 * SQRT_2_PI * (x + CUBIC * x * x * x)));
}
static double gelu_tanh_value(double x, double a, double b)
{
    return x * gelu_tanh_gate(x);
}
static double gelu_tanh_slope(double x, double a, double b)
{
    x = x > 40 ? 40 : x < -40 ? -40 : x; /* as activation_lanes.h */
    double s = gelu_tanh_gate(x), inner = 2 * SQRT_2_PI * (1 + 3 * CUBIC * x * x);
    return s + x * s * (1 - s) * inner;
}
static double hardsigmoid_value(double x, double a, double b)
{
    double gate = x + 3;
    return (gate < 0 ? 0 : gate > 6 ? 6 : gate) / 6;
}
static double hardsigmoid_slope(double x, double a, double b)
{
    return x > -3 && x < 3 ? 1.0 / 6 : 0;
}
static double hardswish_value(double x, double a, double b)
{
    double gate = x + 3;
    gate = gate < 0 ? 0 : gate > 6 ? 6 : gate;
    return x * gate / 6;
}
static double hardswish_slope(double x, double a, double b)
{
    return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
}
static double relu6_value(double x, double a, double b)
{
    return x < 0 ? 0 : x > 6 ? 6 : x;
}
static double relu6_slope(double y, double a, double b)
{
    return y > 0 && y < 6 ? 1 : 0;
}
static double leaky_relu_value(double x, double a, double b)
{
    return x > 0 ? x : a * x;
}
static double leaky_relu_slope(double x, double a, double b)
{
    return x > 0 ? 1 : a;
}
static double abs_value(double x, double a, double b)
{
    return fabs(x);
}
static double abs_slope(double x, double a, double b)
{
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}
static double softplus_value(double x, double a, double b)
{
    const double t = a * x;
    return t > b ? x : (x > 0 ? x : 0) + log1p(exp(-fabs(t))) / a;
}
static double softplus_slope(double x, double a, double b)
{
    return a * x > b ? 1 : sigmoid_value(a * x, a, b);
}
static double elu_value(double x, double a, double b)
{
    return x > 0 ? x : a * expm1(x);
}
static double elu_slope(double x, double a, double b)
{
    return x > 0 ? 1 : a * exp(x);
}
/* As activation_lanes.h has it; from x = 40 on tanh(log(1 + exp(x))) is 1. */
static double mish_value(double x, double a, double b)
{
    double e = exp(x > 40 ? 40 : x), n = e * (e + 2);
    return x * (n / (n + 2));
}
static double mish_slope(double x, double a, double b)
{
    double e = exp(x > 40 ? 40 : x), n = e * (e + 2), d = n + 2;
    return x > 40 ? 1 : n / d + x * (4 * e * (1 + e) / (d * d));
}
static double clamp_value(double x, double a, double b)
{
    double low = x < a ? a : x;
    return low > b ? b : low;
}
static double clamp_slope(double x, double a, double b)
{
    return x >= a && x <= b ? 1 : 0;
}
static double exp_value(double x, double a, double b)
{
    return exp(x);
}
static double exp_slope(double y, double a, double b)
{
    return y;
}
static double log_value(double x, double a, double b)
{
    return log(x);
}
static double log_slope(double x, double a, double b)
{
    return 1 / x;
}
static double sqrt_value(double x, double a, double b)
{
    return sqrt(x);
}
static double sqrt_slope(double y, double a, double b)
{
    return 0.5 / y;
}
static double rsqrt_value(double x, double a, double b)
{
    return 1 / sqrt(x);
}
static double rsqrt_slope(double y, double a, double b)
{
    return -0.5 * y * (y * y);
}
static double reciprocal_value(double x, double a, double b)
{
    return 1 / x;
}
static double reciprocal_slope(double y, double a, double b)
{
    return -(y * y);
}
static double power(double x, double a)
{
    return a == 0.5 ? sqrt(x) : a == -0.5 ? 1 / sqrt(x) : pow(x, a); /* as PyTorch's */
}
static double pow_value(double x, double a, double b)
{
    return power(x, a);
}
static double pow_slope(double x, double a, double b)
{
    return a != 0 ? a * power(x, b) : 0;
}

#define WF_ACTIVATION(name, from, zero, flat)                                                      \
    static void name##_forward(size_t n, double a, double b, const void *x, void *y)               \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            ((double *)y)[i] = name##_value(((const double *)x)[i], a, b);                         \
    }                                                                                              \
    static void name##_backward(size_t n, double a, double b, const void *saved, const void *dy,   \
                                void *dx)                                                          \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            double slope = name##_slope(((const double *)saved)[i], a, b);                         \
            ((double *)dx)[i] = slope != 0 ? ((const double *)dy)[i] * slope : 0;                  \
        }                                                                                          \
    }
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION

extern const wf_activations wf_activations_f64;
const wf_activations wf_activations_f64 = {
    .name = "activation:ref:f64",
    .isa = WEFT_ISA_SCALAR,
    .dtype = WEFT_F64,
    .fn =
        {
#define WF_ACTIVATION(name, from, zero, flat) {name##_forward, name##_backward},
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION
        },
};
