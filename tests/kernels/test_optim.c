/* Optimizer updates: every implementation against the published formulas in double, bit for bit
 * against the reference, in place and out of place, over odd lengths. */
#include "guarded.h"

#include <math.h>

#include "kernels/optim/optim.h"

extern const wf_optim wf_optim_f32_emul;

static bool impl_at(int i, wf_optim_impl *impl)
{
    if (i < wf_n_optim_impls)
        *impl = wf_optim_impls[i];
    else
        *impl = (wf_optim_impl){&wf_optim_f32_emul, WEFT_ISA_AVX2, WEFT_F32};
    return impl->isa <= wf_cpu_isa();
}

static const size_t lengths[] = {1, 7, 8, 15, 16, 17, 33, 100};
enum { N_LENGTHS = sizeof(lengths) / sizeof(lengths[0]), SETTINGS = 8 };

/* An element before and after its update: parameter, state tensors; the gradient. */
typedef struct element {
    double p, g, s[WF_UPDATE_STATES];
} element;

/* One update: what it is to give, written as its paper or PyTorch does, and the settings. */
typedef struct update_case {
    wf_update update;
    unsigned states;   /* bit i: state tensor i is there */
    unsigned positive; /* those that hold squares */
    double settings[SETTINGS];
} update_case;

static void sgd(const double *settings, unsigned states, element *e)
{
    const wf_sgd *s = (const void *)settings;
    double d = s->scale * (e->g + s->weight_decay * e->p);
    if (states & 1) {
        e->s[0] = s->first != 0 ? d : s->momentum * e->s[0] + (1 - s->dampening) * d;
        d = s->nesterov != 0 ? d + s->momentum * e->s[0] : e->s[0];
    }
    e->p -= s->lr * d;
}

static void adam(const double *settings, unsigned states, element *e)
{
    const wf_adam *s = (const void *)settings;
    const double g = e->g + s->l2 * e->p;
    e->s[0] = s->beta1 * e->s[0] + (1 - s->beta1) * g;
    e->s[1] = s->beta2 * e->s[1] + (1 - s->beta2) * g * g;
    double mh = e->s[0] / (1 - pow(s->beta1, s->step));
    double vh = e->s[1];
    if (states & 4)
        vh = e->s[2] = fmax(e->s[2], vh);
    vh /= 1 - pow(s->beta2, s->step);
    e->p -= s->lr * s->weight_decay * e->p + s->lr * mh / (sqrt(vh) + s->eps);
}

static void rmsprop(const double *settings, unsigned states, element *e)
{
    const wf_rmsprop *s = (const void *)settings;
    const double g = e->g + s->weight_decay * e->p, old = s->inside * s->first != 0 ? 1 : e->s[0];
    double square = e->s[0] = s->alpha * old + (1 - s->alpha) * g * g;
    if (states & 4) {
        e->s[2] = s->alpha * e->s[2] + (1 - s->alpha) * g;
        square -= e->s[2] * e->s[2];
    }
    double d = s->inside != 0 ? s->lr * g / sqrt(square + s->eps) : g / (sqrt(square) + s->eps);
    if (states & 2)
        d = e->s[1] = s->momentum * e->s[1] + d;
    e->p -= s->inside != 0 ? d : s->lr * d;
}

static void adagrad(const double *settings, unsigned states, element *e)
{
    const wf_adagrad *s = (const void *)settings;
    const double g = e->g + s->weight_decay * e->p;
    e->s[0] = (s->first != 0 ? s->initial : e->s[0]) + g * g;
    e->p -= s->lr * g / (sqrt(e->s[0]) + s->eps);
}

static double lamb_u(const wf_lamb *s, element *e)
{
    e->s[0] = s->beta1 * e->s[0] + (1 - s->beta1) * e->g;
    e->s[1] = s->beta2 * e->s[1] + (1 - s->beta2) * e->g * e->g;
    double mh = e->s[0] / (1 - pow(s->beta1, s->step));
    double vh = e->s[1] / (1 - pow(s->beta2, s->step));
    return mh / (sqrt(vh) + s->eps) + s->weight_decay * e->p;
}

static void lamb(const double *settings, unsigned states, element *e)
{
    const wf_lamb *s = (const void *)settings;
    e->p -= s->rate * lamb_u(s, e);
}

static void lamb_direction(const double *settings, unsigned states, element *e)
{
    element after = *e; /* the moments stay */
    e->p = lamb_u((const void *)settings, &after);
}

static void lion(const double *settings, unsigned states, element *e)
{
    const wf_lion *s = (const void *)settings;
    const double c = s->beta1 * e->s[0] + (1 - s->beta1) * e->g;
    e->s[0] = s->beta2 * e->s[0] + (1 - s->beta2) * e->g;
    e->p -= s->lr * (s->weight_decay * e->p + (c > 0 ? 1 : c < 0 ? -1 : 0));
}

static void ema(const double *settings, unsigned states, element *e)
{
    const wf_ema *s = (const void *)settings;
    e->p = s->decay * e->p + (1 - s->decay) * e->g;
}

typedef void (*formula)(const double *settings, unsigned states, element *e);
static const formula formulas[] = {
#define WF_UPDATE(name) [WF_UPDATE_##name] = name,
#include "kernels/optim/updates.def"
#undef WF_UPDATE
};

static const update_case cases[] = {
    /* lr, momentum, dampening, weight decay, nesterov, first, scale */
    {WF_UPDATE_sgd, 0, 0, {0.1, 0, 0, 0, 0, 0, 1}},
    {WF_UPDATE_sgd, 0, 0, {0.1, 0, 0, 0.01, 0, 1, 1}},
    {WF_UPDATE_sgd, 1, 0, {0.1, 0.9, 0, 0, 0, 1, 1}},
    {WF_UPDATE_sgd, 1, 0, {0.1, 0.9, 0, 0, 0, 0, 1}},
    {WF_UPDATE_sgd, 1, 0, {0.1, 0.9, 0.5, 0.01, 0, 0, 1}},
    {WF_UPDATE_sgd, 1, 0, {0.1, 0.9, 0.5, 0, 0, 1, 1}},
    {WF_UPDATE_sgd, 1, 0, {0.05, 0.9, 0, 5e-4, 1, 0, 1}},
    {WF_UPDATE_sgd, 1, 0, {0.05, 0.9, 0, 0, 1, 1, 0.25}},
    {WF_UPDATE_sgd, 1, 0, {0.05, 0.9, 0, 0.1, 0, 0, 1.7}},
    /* lr, beta1, beta2, eps, weight decay, l2, step */
    {WF_UPDATE_adam, 3, 2, {0.01, 0.9, 0.999, 1e-8, 0.01, 0, 1}},
    {WF_UPDATE_adam, 3, 2, {0.01, 0.9, 0.999, 1e-8, 0, 0, 1000}},
    {WF_UPDATE_adam, 3, 2, {0.02, 0.8, 0.95, 1e-3, 0.1, 0, 3}},
    {WF_UPDATE_adam, 3, 2, {0.02, 0.8, 0.95, 1e-3, 0, 0.1, 3}},
    {WF_UPDATE_adam, 7, 6, {0.02, 0.8, 0.95, 1e-3, 0.1, 0, 3}},
    {WF_UPDATE_adam, 7, 6, {0.02, 0.8, 0.5, 1e-3, 0, 0.1, 3}},
    /* lr, alpha, eps, weight decay, momentum, inside, first */
    {WF_UPDATE_rmsprop, 1, 1, {0.01, 0.9, 0.0316, 0, 0, 0, 0}},
    {WF_UPDATE_rmsprop, 3, 1, {0.01, 0.9, 0.0316, 1e-3, 0.9, 0, 1}},
    {WF_UPDATE_rmsprop, 3, 1, {0.01, 0.9, 1e-3, 1e-3, 0.9, 1, 1}},
    {WF_UPDATE_rmsprop, 3, 1, {0.01, 0.9, 1e-3, 1e-3, 0.9, 1, 0}},
    {WF_UPDATE_rmsprop, 1, 1, {0.01, 0.5, 1e-3, 0, 0, 1, 0}},
    /* lr, eps, weight decay, initial, first */
    {WF_UPDATE_adagrad, 1, 1, {0.1, 1e-10, 0, 0.5, 0}},
    {WF_UPDATE_adagrad, 1, 1, {0.1, 1e-10, 0.01, 0.5, 1}},
    /* rate, beta1, beta2, eps, weight decay, step */
    {WF_UPDATE_lamb, 3, 2, {0.02, 0.8, 0.95, 1e-3, 0.1, 3}},
    {WF_UPDATE_lamb, 3, 2, {0.02, 0.9, 0.999, 1e-6, 0, 1000}},
    {WF_UPDATE_lamb_direction, 3, 2, {0, 0.8, 0.95, 1e-3, 0.1, 3}},
    /* lr, beta1, beta2, weight decay */
    {WF_UPDATE_lion, 1, 0, {0.02, 0.9, 0.99, 0.1}},
    {WF_UPDATE_lion, 1, 0, {0.02, 0.5, 0.8, 0}},
    {WF_UPDATE_ema, 0, 0, {0.9}},
    {WF_UPDATE_ema, 0, 0, {0}},
};
/* Centered RMSprop needs a square above the mean's: a case of its own. */
static const update_case centered = {WF_UPDATE_rmsprop, 7, 1, {0.01, 0.9, 0.1, 0, 0.9, 0, 0}};

/* The tensors of one call: in[0] p, in[1] g, in[2..] states; what is not there is NULL. */
typedef struct operands {
    guarded memory[2 + WF_UPDATE_STATES];
    const void *in[2 + WF_UPDATE_STATES];
    void *out[1 + WF_UPDATE_STATES];
} operands;

static operands operands_of(const update_case *c, weft_dtype t, size_t n, bool inputs, int seed)
{
    operands o = {0};
    for (int i = 0; i < 2 + WF_UPDATE_STATES; i++) {
        o.memory[i] = test_random(t, n, (uint64_t)(seed + i));
        const int s = i - 2;
        for (size_t j = 0; inputs && s >= 0 && j < n; j++) {
            double x = test_get(t, o.memory[i].data, j);
            if (c->positive >> s & 1)
                test_set(t, o.memory[i].data, j, c == &centered ? 1 + fabs(x) : fabs(x));
        }
        const bool there = s < 0 || (c->states >> s & 1);
        o.in[i] = there ? o.memory[i].data : NULL;
        if (i != 1)
            o.out[i == 0 ? 0 : i - 1] = there ? o.memory[i].data : NULL;
    }
    return o;
}

static void operands_done(operands *o)
{
    for (int i = 0; i < 2 + WF_UPDATE_STATES; i++)
        guarded_free(&o->memory[i]);
}

/* Each value is rounded at most 16 times on its way, of numbers no larger than `size`. */
static void close_to(const wf_optim_impl *impl, const update_case *c, size_t i, double got,
                     double want, double size)
{
    if (!(fabs(got - want) <= 16 * test_epsilon(impl->dtype) * size))
        fail_msg("%s case %d [%zu]: %.17g, expected %.17g", impl->kernels->name,
                 (int)(c == &centered ? -1 : c - cases), i, got, want);
}

static void check(const wf_optim_impl *impl, const update_case *c, size_t n, bool in_place)
{
    const weft_dtype t = impl->dtype;
    operands a = operands_of(c, t, n, true, 1), start = operands_of(c, t, n, true, 1);
    operands ref = operands_of(c, t, n, false, 21), apart = operands_of(c, t, n, false, 21);
    operands *to = in_place ? &a : &apart;
    wf_optim_get(t, WEFT_ISA_SCALAR)->update[c->update](n, c->settings, a.in, ref.out);
    impl->kernels->update[c->update](n, c->settings, a.in, to->out);
    for (int o = 0; o < 1 + WF_UPDATE_STATES; o++)
        if (to->out[o] && (o == 0 || c->update != WF_UPDATE_lamb_direction))
            assert_memory_equal(to->out[o], ref.out[o], n * weft_dtype_size(t));
    for (size_t j = 0; j < n; j++) {
        element e = {test_get(t, start.in[0], j), test_get(t, start.in[1], j), {0}};
        for (int s = 0; s < WF_UPDATE_STATES; s++)
            e.s[s] = start.in[2 + s] ? test_get(t, start.in[2 + s], j) : 0;
        const double before = e.p;
        formulas[c->update](c->settings, c->states, &e);
        /* At step 1 m and v need not belong together: the step, and what it is made of, may be
         * 10^3, and is rounded as such. */
        close_to(impl, c, j, test_get(t, to->out[0], j), e.p, 2 + fabs(e.p) + fabs(e.p - before));
        for (int s = 0; s < WF_UPDATE_STATES && c->update != WF_UPDATE_lamb_direction; s++)
            if (to->out[1 + s])
                close_to(impl, c, j, test_get(t, to->out[1 + s], j), e.s[s], 2 + fabs(e.s[s]));
    }
    operands_done(&a);
    operands_done(&start);
    operands_done(&ref);
    operands_done(&apart);
}

static void every_update_matches_its_formula(void **state)
{
    enum { CASES = sizeof(cases) / sizeof(cases[0]) };
    wf_optim_impl impl;
    bool seen[WF_UPDATES] = {false};
    for (int i = 0; i <= wf_n_optim_impls; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (int k = 0; k <= CASES; k++)
            for (int n = 0; n < 2 * N_LENGTHS; n++)
                check(&impl, k < CASES ? &cases[k] : &centered, lengths[n / 2], n % 2);
    }
    for (int k = 0; k < CASES; k++)
        seen[cases[k].update] = true;
    for (int u = 0; u < WF_UPDATES; u++)
        assert_true(seen[u]);
}

/* Lion's sign, and the copy that an average begins as. */
static void zeros_and_nan_go_through(void **state)
{
    const float p[] = {1, 2, 3, 4}, g[] = {0, -0.0f, NAN, 5}, m[] = {0, 0, 0, -5};
    const wf_lion lion = {.lr = 0.5, .beta1 = 0.5, .beta2 = 0.5};
    const wf_ema copy = {0};
    wf_optim_impl impl;
    for (int i = 0; i <= wf_n_optim_impls; i++) {
        if (!impl_at(i, &impl) || impl.dtype != WEFT_F32)
            continue;
        float p1[4], m1[4];
        impl.kernels->update[WF_UPDATE_lion](4, &lion, (const void *[]){p, g, m, NULL, NULL},
                                             (void *[]){p1, m1, NULL, NULL});
        assert_true(p1[0] == 1 && p1[1] == 2 && isnan(p1[2]) && p1[3] == 4);
        impl.kernels->update[WF_UPDATE_ema](4, &copy, (const void *[]){m, g, NULL, NULL, NULL},
                                            (void *[]){p1, NULL, NULL, NULL});
        assert_memory_equal(p1, g, sizeof(g));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_update_matches_its_formula),
        cmocka_unit_test(zeros_and_nan_go_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
