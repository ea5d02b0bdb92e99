/* Plans a training's memory, and finds the batch size that fits. See train_plan.h.
 *
 * Other batch sizes are planned in processes of their own, so that the training does not hold what
 * their plans take. */
#include "train_plan.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "config_file.h"
#include "train_resume.h"

/* A batch above this is never chosen: no step is faster for it, and training suffers. */
enum { LARGEST_CHOSEN = 1024 };
/* What is proposed must still fit when it is tried: a process that was forked has fewer pages of the
 * program resident, and plans differ by a little from one to the next. */
#define FORKED_BYTES (6.0 * 1048576)
#define PROPOSED 1.02
/* What threads and the context take besides what is planned (measured). */
#define CONTEXT_BYTES ((size_t)3 << 19)
/* A plan must fit with this much to spare. The peak is true within 5 % (tests/cli/test_plan.py). */
#define SPARE 1.05

static const char *const part_names[PLAN_PARTS] = {
    [PLAN_PROGRAM] = "program and data",
    [PLAN_WEIGHTS] = "weights",
    [PLAN_OPTIMIZER] = "optimizer",
    [PLAN_GRADIENTS] = "gradients",
    [PLAN_ACTIVATIONS] = "activations",
    [PLAN_SCRATCH] = "scratch",
    [PLAN_LOADER] = "loader",
    [PLAN_PLANS] = "plans",
    [PLAN_CHECKPOINT] = "checkpoint",
};

/* ---- telling --------------------------------------------------------------------------------- */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* "1.5 GiB" */
static const char *bytes_text(char text[32], double bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    int unit = 0;
    for (bytes /= 1024; bytes >= 1023.95 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(text, 32, "%.1f %s", bytes, units[unit]);
    return text;
}

/* ---- making ---------------------------------------------------------------------------------- */

size_t plan_resident(void)
{
    weft_memory_room room;
    malloc_trim(0); /* what looking at data has left free would count twice */
    return weft_memory_get_room(&room, NULL) == WEFT_OK ? room.resident : 0;
}

void plan_begin(train_plan *p, size_t resident)
{
    *p = (train_plan){.part[PLAN_PROGRAM] = resident + CONTEXT_BYTES};
}

static void add_up(train_plan *p)
{
    p->peak = 0;
    for (int i = 0; i < PLAN_PARTS; i++)
        p->peak += p->part[i];
}

static void take(train_plan *p, const weft_train_memory *m, bool checkpoints)
{
    p->part[PLAN_WEIGHTS] = m->weights;
    p->part[PLAN_OPTIMIZER] = m->optimizer;
    p->part[PLAN_GRADIENTS] = m->gradients;
    p->part[PLAN_ACTIVATIONS] = m->activations;
    p->part[PLAN_SCRATCH] = m->scratch;
    p->part[PLAN_LOADER] = m->loader;
    p->part[PLAN_PLANS] = m->plans;
    p->state = m->weights + m->optimizer;
    p->part[PLAN_CHECKPOINT] = checkpoints ? p->state : 0;
    add_up(p);
}

int plan_make(session *s, train_plan *p, weft_trainer *trainer, bool checkpoints)
{
    weft_train_memory m;
    if (weft_trainer_plan_memory(trainer, &m, &s->err))
        return session_fail(s);
    take(p, &m, checkpoints);
    return 0;
}

int plan_limit(session *s, train_plan *p, weft_trainer *trainer, bool checkpoints)
{
    const size_t limit = s->options->memory_bytes, plans = p->part[PLAN_PLANS];
    const size_t others = p->peak - p->part[PLAN_ACTIVATIONS] - p->part[PLAN_SCRATCH];
    char least[32], asked[32], rest[32];
    weft_train_memory m;
    if (limit == 0 || p->peak <= limit)
        return 0;
    if (weft_set_memory_limit(s->ctx, limit > others ? limit - others : 1))
        return session_fail(s);
    if (weft_trainer_plan_memory(trainer, &m, &s->err) == WEFT_OK) {
        /* What compiling takes was there when it was planned for the first time. */
        m.plans = m.plans > plans ? m.plans : plans;
        take(p, &m, checkpoints);
        return 0;
    }
    if (weft_memory_least(s->ctx) == 0)
        return session_fail(s);
    cli_print(stderr,
              "weft %s: --memory-limit %s: this training needs at least %s%s, of which %s are not "
              "for what a step computes\n",
              s->command, bytes_text(asked, (double)limit),
              bytes_text(least, (double)(others + weft_memory_least(s->ctx))),
              session_recomputes(s) ? "" : " with --recompute off",
              bytes_text(rest, (double)others));
    return EXIT_FAILED;
}

/* ---- other batch sizes ----------------------------------------------------------------------- */

/* What is known of a training with another batch size. */
typedef struct probe {
    size_t peak; /* 0: it cannot be planned */
    int64_t images;
} probe;

/* Plans it in a process of its own. That prints nothing, and leaves without cleaning up: files and
 * threads are its parent's. */
static probe probe_batch(const cli_options *options, plan_fn plan, int64_t batch)
{
    int end[2];
    probe result = {0, 0};
    if (pipe(end) != 0)
        return result;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        train_plan p;
        cli_options other = *options;
        other.batch_size = batch;
        if (freopen("/dev/null", "w", stderr) && freopen("/dev/null", "w", stdout) &&
            plan(&other, &p, &result.images) == 0)
            result.peak = p.peak;
        _exit(write(end[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
    }
    close(end[1]);
    if (child < 0 || read(end[0], &result, sizeof(result)) != sizeof(result))
        result = (probe){0, 0};
    close(end[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0)
        if (errno != EINTR)
            break; /* ECHILD where SIGCHLD is ignored: then it has ended, too */
    return result;
}

/* The batch sizes that are considered: 1 to 7, then multiples of 8, which fill vectors. */
static int64_t batch_of(int64_t rung)
{
    return rung < 7 ? rung + 1 : 8 * (rung - 6);
}

static int64_t rung_of(double batch)
{
    int64_t n = (int64_t)fmax(fmin(batch, 1e9), 0);
    return n < 8 ? n - 1 : n / 8 + 6;
}

/* A probe of a large model takes seconds: says what it came to, a line a second at most. */
static void tell_probe(int64_t batch, size_t peak, double room, double *told)
{
    char needs[32], there[32];
    if (seconds_now() - *told < 1)
        return;
    *told = seconds_now();
    if (peak > 0)
        cli_print(stdout, "note  a batch of %lld images would need %s of %s\n", (long long)batch,
                  bytes_text(needs, (double)peak), bytes_text(there, room));
    else
        cli_print(stdout, "note  a batch of %lld images cannot be planned\n", (long long)batch);
    fflush(stdout);
}

/* The largest of those batch sizes, at most `most`, whose peak is at most `room`; 0: none. Memory
 * grows about linearly with the batch, so the last two probes tell where to look next. */
static int64_t largest_batch(const cli_options *options, plan_fn plan, double room, int64_t most)
{
    const double all = room;
    double told = seconds_now();
    room = room / PROPOSED - FORKED_BYTES;
    int64_t low = -1, high = rung_of((double)most) + 1; /* low fits, high does not */
    double batch = 0, peak = 0;                         /* of the last probe */
    for (int64_t rung = rung_of(16); high - low > 1;) {
        rung = rung >= high ? high - 1 : rung <= low ? low + 1 : rung;
        const double b = (double)batch_of(rung);
        const probe found = probe_batch(options, plan, batch_of(rung));
        const double m = (double)found.peak;
        tell_probe(batch_of(rung), found.peak, all, &told);
        if (m > 0 && m <= room)
            low = rung;
        else
            high = rung;
        if (found.images > 0 && high > rung_of((double)found.images) + 1)
            high = rung_of((double)found.images) + 1;
        if (m == 0) { /* it cannot be planned: look halfway */
            rung = (low + high) / 2;
            continue;
        }
        const double slope = batch > 0 && b != batch ? (m - peak) / (b - batch) : m / b;
        batch = b;
        peak = m;
        rung = rung_of(b + (room - m) / fmax(slope, 1));
    }
    return low < 0 ? 0 : batch_of(low);
}

/* The bytes that a training's peak may have. */
static double usable(const weft_memory_room *room)
{
    /* A group does not count what it shares with others, such as libraries. */
    double bytes = (double)room->available + (double)room->resident;
    return fmin(bytes, (double)room->limit) / SPARE;
}

/* The same for -b auto, which leaves nothing to be computed again. */
static double usable_by(const cli_options *options, const weft_memory_room *room)
{
    const double limit = (double)options->memory_bytes;
    return limit > 0 ? fmin(usable(room), limit) : usable(room);
}

/* ---- what does not fit ----------------------------------------------------------------------- */

/* The parts, largest first. */
static void sort_parts(const train_plan *p, int order[PLAN_PARTS])
{
    for (int i = 0; i < PLAN_PARTS; i++) {
        int at = i;
        for (; at > 0 && p->part[order[at - 1]] < p->part[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* batch: one that would fit; 0: none would. */
static int refuse(session *s, const train_plan *p, const weft_memory_room *room, int64_t batch)
{
    char peak[32], there[32], bytes[32], parts[256] = "", advice[96];
    int order[PLAN_PARTS];
    size_t n = 0;
    sort_parts(p, order);
    for (int i = 0; i < 3 && p->part[order[i]] > 0 && n < sizeof(parts); i++)
        n += (size_t)snprintf(parts + n, sizeof(parts) - n, "%s%s %s", i ? ", " : "",
                              part_names[order[i]], bytes_text(bytes, (double)p->part[order[i]]));
    if (batch > 0)
        snprintf(advice, sizeof(advice), "-b %lld would fit", (long long)batch);
    else
        snprintf(advice, sizeof(advice), "no batch size would fit");
    cli_print(stderr,
              "weft %s: a batch of %lld images needs about %s, and %s are there (%s): %s; %s\n",
              s->command, (long long)s->options->batch_size, bytes_text(peak, (double)p->peak),
              bytes_text(there, usable(room)), room->why, parts, advice);
    return EXIT_FAILED;
}

int plan_check_weights(session *s, const train_plan *p, size_t weights)
{
    weft_memory_room room;
    train_plan alone = *p;
    alone.part[PLAN_WEIGHTS] = weights;
    add_up(&alone);
    if (weft_memory_get_room(&room, NULL) != WEFT_OK || (double)alone.peak <= usable(&room))
        return 0;
    return refuse(s, &alone, &room, 0);
}

int plan_check(session *s, const train_plan *p, plan_fn plan)
{
    weft_memory_room room;
    if (weft_memory_get_room(&room, NULL) != WEFT_OK)
        return 0; /* nobody knows */
    if ((double)p->peak <= usable(&room))
        return 0;
    return refuse(s, p, &room,
                  largest_batch(s->options, plan, usable(&room), s->options->batch_size - 1));
}

/* The batch size of the run that goes on: the memory of the next job's node may be another one. 0:
 * there is no such run. */
static int64_t batch_of_run(const cli_options *options)
{
    char path[4096], error[512];
    config_file config;
    int64_t batch = 0;
    const char *from = train_resume_from(options);
    from = from ? from : options->output_dir;
    if (!from || options->overwrite || strcmp(options->resume, "never") == 0 ||
        snprintf(path, sizeof(path), "%s/config.json", from) >= (int)sizeof(path) ||
        !config_file_read(path, &config, error, sizeof(error)))
        return 0;
    for (int i = 0; i < config.n; i++)
        if (strcmp(config.pairs[i].key, "batch-size") == 0)
            batch = strtoll(config.pairs[i].value, NULL, 10);
    config_file_done(&config);
    return batch > 0 && batch <= 1000000 ? batch : 0;
}

int plan_choose_batch(const char *command, cli_options *options, plan_fn plan)
{
    weft_memory_room room;
    weft_error err = WEFT_ERROR_INIT;
    char there[32];
    if (options->batch_size != BATCH_AUTO)
        return 0;
    if (weft_memory_get_room(&room, &err)) {
        cli_print(stderr, "weft %s: -b auto: %s\n", command, err.text);
        return EXIT_FAILED;
    }
    int64_t images, before = batch_of_run(options);
    train_plan p;
    if (before > 0) {
        options->batch_size = before;
        cli_print(stdout, "note  -b auto: batches of %lld images, as the run in %s has them\n",
                  (long long)before,
                  train_resume_from(options) ? options->resume : options->output_dir);
        return 0;
    }
    options->batch_size = largest_batch(options, plan, usable_by(options, &room), LARGEST_CHOSEN);
    if (options->batch_size > 0) {
        cli_print(stdout, "note  -b auto: batches of %lld images\n",
                  (long long)options->batch_size);
        return 0;
    }
    /* Its own error, where there is one, is what helps. */
    options->batch_size = 1;
    int status = plan(options, &p, &images);
    if (status)
        return status;
    cli_print(stderr,
              "weft %s: -b auto: a batch of one image needs %zu bytes, and %s are there (%s)\n",
              command, p.peak, bytes_text(there, usable_by(options, &room)), room.why);
    return EXIT_FAILED;
}

/* ---- the dry run ----------------------------------------------------------------------------- */

enum { TIMED_STEPS = 3 };

/* The mean seconds of a few steps, behind one that fills caches and loader. */
static int time_steps(session *s, weft_trainer *trainer, double *seconds)
{
    double started = 0;
    int timed = 0;
    for (int i = 0; i <= TIMED_STEPS && !weft_trainer_finished(trainer); i++) {
        if (weft_trainer_step(trainer, &s->err))
            return session_stop(s, s->err.status);
        if (i == 0)
            started = seconds_now();
        timed = i;
    }
    *seconds = timed > 0 ? (seconds_now() - started) / timed : 0;
    return 0;
}

static void print_memory(const train_plan *p)
{
    char text[32];
    cli_print(stdout, "memory at its peak %s\n", bytes_text(text, (double)p->peak));
    for (int i = 0; i < PLAN_PARTS; i++)
        if (p->part[i] > 0)
            cli_print(stdout, "  %-17s %12s  %5.1f %%\n", part_names[i],
                      bytes_text(text, (double)p->part[i]),
                      100 * (double)p->part[i] / (double)p->peak);
}

/* Rounds up to whole hours, or minutes below three hours, as schedulers take them: HH:MM:00. */
static const char *limit_text(char text[32], double seconds)
{
    double minutes = ceil(seconds / 60);
    if (minutes > 180)
        minutes = 60 * ceil(minutes / 60);
    snprintf(text, 32, "%02.0f:%02.0f:00", floor(minutes / 60), fmod(minutes, 60));
    return text;
}

/* The margins: a fifth more memory, for what other versions and file systems take; a quarter more
 * time and five minutes, for slower nodes and file systems. */
static void print_header(const train_plan *p, const plan_job *job, int threads, double seconds)
{
    char limit[32];
    double mib = 256 * ceil(1.2 * (double)p->peak / (256 * 1048576.0));
    limit_text(limit, 1.25 * seconds + 300);
    cli_print(stdout, "\n#SBATCH --job-name=%s\n#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=%d\n",
              job->name, threads);
    cli_print(stdout, "#SBATCH --mem=%.0fM\n#SBATCH --time=%s\n", mib, limit);
    cli_print(stdout, "#SBATCH --signal=USR1@120 --requeue --open-mode=append\n");
    cli_print(
        stdout,
        "\n#PBS -N %s\n#PBS -l select=1:ncpus=%d:mem=%.0fmb\n#PBS -l walltime=%s\n#PBS -r y\n",
        job->name, threads, mib, limit);
}

int plan_dry_run(session *s, const train_plan *p, weft_trainer *trainer, const plan_job *job)
{
    double step = 0, disk = (double)p->state * (double)job->checkpoints;
    char text[32], took[32], whole[32];
    int status = time_steps(s, trainer, &step);
    if (status)
        return status;
    /* Without a measurement: a forward pass is a third of a step. */
    double evaluation = step / 3 * (double)job->test_batches;
    double seconds = step * (double)job->steps + evaluation * (double)job->evaluations;
    print_memory(p);
    cli_print(stdout, "step   %.3f s (%lld of them), evaluation about %s (%lld of them)\n", step,
              (long long)job->steps, weft_duration_format(evaluation, took, sizeof(took)),
              (long long)job->evaluations);
    cli_print(stdout, "time   %s to the end\n",
              weft_duration_format(seconds, whole, sizeof(whole)));
    disk += 2 * (double)p->part[PLAN_WEIGHTS]; /* the last weights and the best ones */
    cli_print(stdout, "disk   %s: %lld checkpoints, and weights twice\n", bytes_text(text, disk),
              (long long)job->checkpoints);
    print_header(p, job, weft_threads(s->ctx), seconds);
    fflush(stdout);
    return 0;
}
