/* Writes the text of `weft info`.
 *
 * Threading: reads constants only. */
#include "engine/step/info.h"

#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <zlib.h>

#include "engine/base/error.h"
#include "engine/base/quote.h"
#include "engine/machine/memory.h"
#include "kernels/machine.h"
#include "kernels/onednn/admitted.h"
#include "kernels/onednn/version.h"
#include "weft/job.h"

#define ROW "%-16s" /* width of the column of names */

/* Writes a row whose text comes from outside the program. */
static void write_text(const char *name, const char *text, FILE *out)
{
    fprintf(out, ROW, name);
    wf_print_quoted(text, out);
    fputc('\n', out);
}

static const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

/* Writes the host, and the batch job where there is one. */
static void write_host(FILE *out)
{
    struct utsname name;
    weft_job job;
    if (uname(&name) == 0)
        write_text("host", name.nodename, out);
    weft_job_get(&job);
    if (!*job.scheduler)
        return;
    fprintf(out, ROW "%s ", "job", job.scheduler);
    wf_print_quoted(job.id, out);
    fputs(job.array_index[0] ? ", index " : "", out);
    wf_print_quoted(job.array_index, out);
    if (job.end > 0)
        fprintf(out, ", ends in %.0f s (%s)", job.end - (double)time(NULL), job.end_source);
    fputc('\n', out);
}

static void write_machine(const wf_machine *m, FILE *out)
{
    write_text("cpu", m->cpu_model[0] ? m->cpu_model : "unknown", out);
    fprintf(out, ROW "%d package%s, %d NUMA node%s, %d core%s, %d hardware thread%s\n", "machine",
            m->packages, plural(m->packages), m->nodes, plural(m->nodes), m->cores,
            plural(m->cores), m->hardware_threads, plural(m->hardware_threads));
}

static int write_cache(const char *name, size_t bytes, int sharers, int written, FILE *out)
{
    char size[WF_BYTES_TEXT];
    if (bytes == 0)
        return written;
    fprintf(out, "%s%s %s", written ? ", " : "", name, wf_bytes_text(size, bytes));
    if (sharers > 1)
        fprintf(out, " per %d cores", sharers);
    else
        fprintf(out, " per core");
    return written + 1;
}

static void write_caches(const wf_machine *m, FILE *out)
{
    fprintf(out, ROW, "caches");
    int written = write_cache("L1d", m->l1d, m->l1d_sharers, 0, out);
    written = write_cache("L2", m->l2, m->l2_sharers, written, out);
    written = write_cache("L3", m->l3, m->l3_sharers, written, out);
    fprintf(out, written ? "\n" : "unknown\n");
}

/* Ends a row about an instruction set: says whether a variable caps it. */
static void write_cap(bool capped, const char *best, FILE *out)
{
    if (capped)
        fprintf(out, ", capped by %s; this cpu has %s\n",
                getenv("WEFT_MACHINE") ? "WEFT_MACHINE or WEFT_MAX_ISA" : "WEFT_MAX_ISA", best);
    else
        fprintf(out, ", the best this cpu has\n");
}

static void write_isa(weft_isa isa, FILE *out)
{
    weft_isa best = wf_cpu_best_isa();
    fprintf(out, ROW "%s", "instructions", weft_isa_name(isa));
    write_cap(isa < best, weft_isa_name(best), out);
}

/* Writes which instructions compute on bf16, for a context of instruction set `isa`. */
static void write_bf16(weft_isa isa, FILE *out)
{
    static const char *const text[] = {
        [WF_BF16_STORAGE] = "storage only, arithmetic in f32",
        [WF_BF16_DOT] = "avx512_bf16",
        [WF_BF16_AMX] = "amx",
    };
    wf_bf16 best = wf_cpu_best_bf16(),
            level = isa < WEFT_ISA_AVX512 ? WF_BF16_STORAGE : wf_cpu_bf16();
    fprintf(out, ROW "%s", "bf16", text[level]);
    if (level == WF_BF16_DOT && wf_cpu_amx_refused())
        fprintf(out, "; this cpu has amx, but the system refuses its tile registers: %s\n",
                strerror(wf_cpu_amx_refused()));
    else
        write_cap(level < best, wf_bf16_name(best), out);
}

/* Writes the machine class: kernels are chosen and blocked for it. */
static void write_class(FILE *out)
{
    const wf_machine_class *c = wf_machine_class_now();
    char l1[WF_BYTES_TEXT], l2[WF_BYTES_TEXT];
    fprintf(out, ROW "%s: L1d %s, L2 %s; %s\n", "machine class", c->name,
            wf_bytes_text(l1, c->l1_bytes), wf_bytes_text(l2, c->l2_bytes),
            wf_machine_class_asked() ? "set by WEFT_MACHINE" : "the nearest to this machine");
}

void wf_info_cpus(const wf_topology *t, int node, FILE *out)
{
    int n = wf_topology_cores(t), written = 0;
    for (int i = 0, last; i < n; i = last + 1) {
        last = i;
        wf_core first = wf_topology_core(t, i);
        if (node >= 0 && first.node != node)
            continue;
        while (last + 1 < n && (node < 0 || wf_topology_core(t, last + 1).node == node) &&
               wf_topology_core(t, last + 1).cpu == wf_topology_core(t, last).cpu + 1)
            last++;
        fprintf(out, "%s%d", written++ ? "," : "", first.cpu);
        if (last > i)
            fprintf(out, "-%d", wf_topology_core(t, last).cpu);
    }
    if (!written)
        fputs("none", out);
}

static void write_threads(const wf_topology *t, int threads, FILE *out)
{
    const char *binding;
    wf_topology_binds(t, &binding);
    fprintf(out, ROW "%d\n", "threads", threads);
    write_text("  why", wf_topology_why(t), out);
    fprintf(out, ROW "%s\n", "  binding", binding);
    const char *settings = wf_topology_openmp(t);
    fprintf(out, ROW "version %d, ", "  OpenMP", _OPENMP);
    wf_print_quoted(*settings ? settings : "no settings", out);
    fputc('\n', out);
}

static void write_nodes(const wf_topology *t, FILE *out)
{
    for (int node = 0; node < wf_topology_machine(t)->nodes; node++) {
        char label[32], size[WF_BYTES_TEXT];
        snprintf(label, sizeof(label), "NUMA node %d", node);
        fprintf(out, ROW "%s, chosen cpus: ", label,
                wf_bytes_text(size, wf_topology_node_memory(t, node)));
        wf_info_cpus(t, node, out);
        fputc('\n', out);
    }
}

/* Writes the word in brackets of a setting such as "always [madvise] never". */
static void write_huge_pages(FILE *out)
{
    char text[128] = "", *mode = NULL;
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (f) {
        if (fgets(text, sizeof(text), f) && (mode = strchr(text, '[')))
            mode[strcspn(mode, "]")] = '\0';
        fclose(f);
    }
    fprintf(out, ROW "%s\n", "huge pages", mode ? mode + 1 : "unknown");
}

static void write_memory(FILE *out)
{
    wf_memory_limit l;
    char total[WF_BYTES_TEXT], available[WF_BYTES_TEXT];
    if (wf_memory_get_limit(NULL, &l, NULL) == WEFT_OK)
        fprintf(out, ROW "%s, of which %s are available (%s)\n", "memory",
                wf_bytes_text(total, l.total), wf_bytes_text(available, l.available), l.why);
    write_huge_pages(out);
}

static void write_libraries(FILE *out)
{
    int dnnl[3];
    wf_onednn_version(&dnnl[0], &dnnl[1], &dnnl[2]);
    fprintf(out, ROW "oneDNN %d.%d.%d%s, hwloc %s, jansson %s, zlib %s\n", "libraries", dnnl[0],
            dnnl[1], dnnl[2], wf_dnnl_version_note(dnnl[0], dnnl[1]), wf_hwloc_version(),
            jansson_version_str(), zlibVersion());
}

static void write_wisdom(wf_wisdom *w, FILE *out)
{
    fprintf(out, ROW, "wisdom");
    if (!w->path)
        fputs("off", out);
    else if (w->n == 0)
        fputs("none in ", out);
    else
        fprintf(out, "%d choice%s for this machine in ", w->n, plural(w->n));
    if (w->path)
        wf_print_quoted(w->path, out);
    if (w->path && w->n > 0)
        fprintf(out, ", hash %s", wf_wisdom_hash(w));
    fputc('\n', out);
}

weft_status wf_info_write(const wf_topology *t, weft_isa isa, int threads, wf_wisdom *wisdom,
                          FILE *out, weft_error *err)
{
    const wf_machine *m = wf_topology_machine(t);
    fprintf(out, ROW "%s%s%s\n", "weft", weft_version(), *weft_commit() ? ", commit " : "",
            weft_commit());
    write_host(out);
    write_machine(m, out);
    write_caches(m, out);
    write_isa(isa, out);
    write_bf16(isa, out);
    write_class(out);
    write_threads(t, threads, out);
    write_nodes(t, out);
    write_memory(out);
    write_libraries(out);
    write_wisdom(wisdom, out);
    if (fflush(out) != 0 || ferror(out))
        return wf_error_set(err, WEFT_ERR_IO, "info: cannot write");
    return WEFT_OK;
}
