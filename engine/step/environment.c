/* Checks the values of Weft's environment variables. Without this, a misspelt value would be
 * ignored and results would differ from what the user asked for. Reads the environment only. */
#include "engine/step/environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/error.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"

/* Accepts one of `words`, in upper or lower case, or nothing. */
static weft_status check_word(const char *variable, const char *const *words, int n,
                              const char *all, weft_error *err)
{
    const char *value = getenv(variable);
    for (int i = 0; value && *value && i < n; i++)
        if (strcasecmp(value, words[i]) == 0)
            return WEFT_OK;
    if (!value || !*value)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_INVALID, "%s=%.80s in the environment: it can be %s",
                        variable, value, all);
}

/* Accepts a machine class whose instructions this machine has. */
static weft_status check_machine(weft_error *err)
{
    const char *name = getenv("WEFT_MACHINE");
    const wf_machine_class *c = wf_machine_class_asked();
    if (!name || !*name)
        return WEFT_OK;
    if (c && c->isa > wf_cpu_isa())
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "WEFT_MACHINE=%.80s in the environment: its kernels need %s, but %s is "
                            "what %s",
                            name, weft_isa_name(c->isa), weft_isa_name(wf_cpu_isa()),
                            c->isa > wf_cpu_best_isa() ? "this cpu has" : "WEFT_MAX_ISA allows");
    if (c)
        return WEFT_OK;
    char names[256] = "";
    for (int i = 0; (c = wf_machine_class_at(i)); i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                 i == 0                       ? ""
                 : wf_machine_class_at(i + 1) ? ", "
                                              : " or ",
                 c->name);
    return wf_error_set(err, WEFT_ERR_INVALID,
                        "WEFT_MACHINE=%.80s in the environment: it can be %s", name, names);
}

static bool is_select(const char *word, size_t length)
{
    return length == strlen("select") && strncmp(word, "select", length) == 0;
}

static bool begins_a_kernel(const char *word, size_t length)
{
    for (int i = 0; i < wf_conv2d_n_impls; i++)
        if (strncmp(wf_conv2d_impls[i]->name, word, length) == 0)
            return true;
    return false;
}

/* Accepts words separated by commas, if `known` knows each. */
static weft_status check_list(const char *variable, bool (*known)(const char *, size_t),
                              const char *all, weft_error *err)
{
    for (const char *at = getenv(variable); at && *at;) {
        size_t length = strcspn(at, ",");
        if (length > 0 && !known(at, length))
            return wf_error_set(err, WEFT_ERR_INVALID, "%s in the environment: '%.*s' is not %s",
                                variable, length < 80 ? (int)length : 80, at, all);
        at += length + (at[length] == ',');
    }
    return WEFT_OK;
}

weft_status wf_environment_check(weft_error *err)
{
    static const char *const lints[] = {"off", "warn", "error"};
    const char *isas[] = {weft_isa_name(WEFT_ISA_SCALAR), weft_isa_name(WEFT_ISA_AVX2),
                          weft_isa_name(WEFT_ISA_AVX512), wf_bf16_name(WF_BF16_DOT),
                          wf_bf16_name(WF_BF16_AMX)};
    WF_TRY(check_word("WEFT_MAX_ISA", isas, 5, "scalar, avx2, avx512, avx512_bf16 or amx", err));
    WF_TRY(check_machine(err));
    WF_TRY(check_word("WEFT_LINT", lints, 3, "off, warn or error", err));
    WF_TRY(check_list("WEFT_VERBOSE", is_select, "\"select\", the one thing it can ask for", err));
    return check_list("WEFT_AVOID", begins_a_kernel,
                      "how a convolution kernel's name begins (WEFT_VERBOSE=select lists them)",
                      err);
}
