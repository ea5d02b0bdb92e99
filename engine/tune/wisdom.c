/* The table of wisdom. See wisdom.h. */
#include "engine/tune/wisdom.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"

static void choice_free(wf_choice *c)
{
    wf_free(c->problem);
    wf_free(c->kernel);
}

void wf_wisdom_done(wf_wisdom *w)
{
    for (int i = 0; i < w->n; i++)
        choice_free(&w->choices[i]);
    wf_free(w->choices);
    wf_free(w->path);
    *w = (wf_wisdom){0};
}

/* The index of the first choice that is not before `problem`. */
static int lower_bound(const wf_wisdom *w, const char *problem)
{
    int low = 0, high = w->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(w->choices[middle].problem, problem) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const wf_wisdom *w, int i, const char *problem)
{
    return i < w->n && strcmp(w->choices[i].problem, problem) == 0;
}

const char *wf_wisdom_find(const wf_wisdom *w, const char *problem)
{
    int i = lower_bound(w, problem);
    return is_at(w, i, problem) ? w->choices[i].kernel : NULL;
}

bool wf_wisdom_put(wf_wisdom *w, const char *problem, const char *kernel, double seconds)
{
    int i = lower_bound(w, problem);
    bool there = is_at(w, i, problem);
    wf_choice c = {wf_strdup(problem), wf_strdup(kernel), seconds};
    if (!c.problem || !c.kernel ||
        (!there && !wf_grow(&w->choices, &w->cap, w->n, 1, sizeof *w->choices))) {
        choice_free(&c);
        return false;
    }
    if (there)
        choice_free(&w->choices[i]);
    else
        memmove(&w->choices[i + 1], &w->choices[i], (size_t)(w->n++ - i) * sizeof *w->choices);
    w->choices[i] = c;
    return true;
}

/* FNV-1a over problems and kernels, in order: what results depend on. */
const char *wf_wisdom_hash(wf_wisdom *w)
{
    uint64_t h = 0xcbf29ce484222325;
    for (int i = 0; i < w->n; i++) {
        const char *const texts[] = {w->choices[i].problem, w->choices[i].kernel};
        for (int t = 0; t < 2; t++)
            for (const char *p = texts[t];; p++) { /* the final zero too */
                h = (h ^ (unsigned char)*p) * 0x100000001b3;
                if (!*p)
                    break;
            }
    }
    if (w->n)
        snprintf(w->hash, sizeof w->hash, "%016llx", (unsigned long long)h);
    else
        snprintf(w->hash, sizeof w->hash, "none");
    return w->hash;
}
