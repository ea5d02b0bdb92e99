/* Decimal points in numbers, whatever the program's locale. printf and strtod follow the locale,
 * which may have decimal commas; files, arguments and PyTorch's output have points. Applies to the
 * calling thread only. */
#ifndef WF_BASE_C_LOCALE_H
#define WF_BASE_C_LOCALE_H

#include <locale.h>
#include <stdbool.h>

typedef struct wf_c_locale {
    locale_t c, before;
} wf_c_locale;

/* False: out of memory; then do not call wf_c_locale_end. */
static inline bool wf_c_locale_begin(wf_c_locale *l)
{
    l->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    l->before = l->c ? uselocale(l->c) : (locale_t)0;
    return l->c != (locale_t)0;
}

static inline void wf_c_locale_end(wf_c_locale *l)
{
    uselocale(l->before);
    freelocale(l->c);
}

#endif
