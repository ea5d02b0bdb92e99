/* A small training that is killed with SIGKILL, again and again, at random instants and between,
 * before and in the middle of the calls that write its files. Resumed each time, it ends as the
 * training that nobody killed: weights, log, summary, result and evaluation, to the bit.
 *
 *     test_checkpoint_kills [KILLS [SEED]]
 *
 * KILLS: at random instants (200), and half as many at calls. tests/run.py --long: 1000. A life is a
 * forked child of this process, which has no threads, so it takes milliseconds; the command is
 * killed by tests/cli/test_resume.py. */
#include "tests/train/checkpoint_fixture.h"

#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/files/file_calls.h"
#include "train/checkpoint/manifest.h"

enum { KINDS = 3, MOST_IN_A_ROW = 40 };

static int kills = 200;
static unsigned seed = 1;

/* ---- where ----------------------------------------------------------------------------------- */

/* On a memory disk where there is one: a kill loses nothing that was written, so the disk does not
 * matter, and thousands of fsyncs are spared. */
static char shm_dir[] = "/dev/shm/weft-kills-XXXXXX";
static const char *folder;

static const char *in_run(int run, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%d/%s", folder, run, name);
    return path;
}

/* ---- a life ---------------------------------------------------------------------------------- */

/* What the parent asks of a life, and what it hears of it. */
typedef struct life {
    int kind;              /* of training */
    int threads;           /* 1 or 2; bits do not depend on it */
    int freq;              /* steps between checkpoints */
    int64_t kill_at;       /* the call at which it dies; 0: none */
    int how;               /* 0: before it, 1: in its middle, where it is a write, 2: after it */
    _Atomic int64_t calls; /* made so far */
    _Atomic bool resumed;  /* it went on from a checkpoint */
} life;
static life *now; /* shared with the child */
/* Kills come this long after a birth at most: longer after a kill, shorter after an end, so that a
 * run dies four or five times, whatever else the machine does. */
static double most_seconds = 0.05;

static void die(void)
{
    kill(getpid(), SIGKILL);
    pause();
}

/* Counts a call. Returns whether it is the one to die at, and dies if that is to be before it. */
static bool is_last(void)
{
    bool last = atomic_fetch_add(&now->calls, 1) + 1 == now->kill_at;
    if (last && now->how == 0)
        die();
    return last;
}

#define AFTER(last, result)                                                                        \
    do {                                                                                           \
        if (last)                                                                                  \
            die();                                                                                 \
        return result;                                                                             \
    } while (0)

static int kill_open(const char *path, int flags, mode_t mode)
{
    bool last = is_last();
    int fd = wf_files_system.open(path, flags, mode);
    AFTER(last, fd);
}

static ssize_t kill_write(int fd, const void *data, size_t bytes)
{
    bool last = is_last();
    ssize_t n = wf_files_system.write(fd, data, last && now->how == 1 ? bytes / 2 : bytes);
    AFTER(last, n);
}

static int kill_ftruncate(int fd, off_t bytes)
{
    bool last = is_last();
    int failed = wf_files_system.ftruncate(fd, bytes);
    AFTER(last, failed);
}

static int kill_fsync(int fd)
{
    bool last = is_last();
    int failed = wf_files_system.fsync(fd);
    AFTER(last, failed);
}

static int kill_rename(const char *from, const char *to)
{
    bool last = is_last();
    int failed = wf_files_system.rename(from, to);
    AFTER(last, failed);
}

static int kill_mkdir(const char *path, mode_t mode)
{
    bool last = is_last();
    int failed = wf_files_system.mkdir(path, mode);
    AFTER(last, failed);
}

static int kill_unlink(const char *path)
{
    bool last = is_last();
    int failed = wf_files_system.unlink(path);
    AFTER(last, failed);
}

static int kill_rmdir(const char *path)
{
    bool last = is_last();
    int failed = wf_files_system.rmdir(path);
    AFTER(last, failed);
}

static void hear(void *user, const char *text)
{
    if (strncmp(text, "resumed from", 12) == 0)
        atomic_store(&now->resumed, true);
    if (strstr(text, "damaged"))
        fprintf(stderr, "%s\n", text);
}

/* 0: trained to the end. */
static int live(const char *run)
{
    static const wf_file_calls counting = {.open = kill_open,
                                           .write = kill_write,
                                           .ftruncate = kill_ftruncate,
                                           .fsync = kill_fsync,
                                           .close = close,
                                           .rename = kill_rename,
                                           .mkdir = kill_mkdir,
                                           .unlink = kill_unlink,
                                           .rmdir = kill_rmdir};
    weft_error err = WEFT_ERROR_INIT;
    training f;
    const training_opts o = {.adamw = now->kind == 1,
                             .recipe = now->kind == 2,
                             .threads = now->threads,
                             .run = run,
                             .checkpoints = {.steps = now->freq, .epochs = 1}};
    wf_files_set(&counting);
    weft_status status = training_open(&f, &o, &err);
    if (status == WEFT_OK)
        status = weft_trainer_resume(f.trainer, NULL, hear, NULL, &err);
    if (status == WEFT_OK)
        status = weft_trainer_run(f.trainer, NULL, &err);
    if (status != WEFT_OK)
        fprintf(stderr, "%s: %s\n", weft_status_string(status), err.text);
    return status != WEFT_OK;
}

/* Lets a child live, for `seconds` at most (negative: until it ends). True: it came to its end;
 * false: it was killed. Fails where it failed. */
static bool ends(int run, double seconds)
{
    int status;
    char path[512];
    snprintf(path, sizeof path, "%s/%d", folder, run);
    atomic_store(&now->calls, 0);
    atomic_store(&now->resumed, false);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(live(path));
    if (seconds >= 0) {
        nanosleep(&(struct timespec){.tv_sec = (time_t)seconds,
                                     .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))},
                  NULL);
        kill(child, SIGKILL); /* it has not been waited for, so the number is still its own */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        most_seconds *= 0.8;
        return true;
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("a life in %s ended with status %#x", path, (unsigned)status);
    most_seconds *= 1.05;
    return false;
}

/* ---- what a run has come to ------------------------------------------------------------------ */

/* The bytes of a file and a zero after them, or NULL. */
static char *bytes_of(const char *path, size_t *n)
{
    FILE *f = fopen(path, "r");
    char *bytes = NULL;
    size_t size = 0;
    if (!f)
        return NULL;
    for (size_t got = 1; got > 0; size += got) {
        bytes = realloc(bytes, size + 65537);
        assert_non_null(bytes);
        got = fread(bytes + size, 1, 65536, f);
    }
    fclose(f);
    bytes[size] = '\0';
    *n = size;
    return bytes;
}

/* Writes a JSON text without what clocks have measured. */
static void tell_json(FILE *to, const char *name, const char *text)
{
    json_error_t why;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!o)
        fail_msg("%s: %s: %s", name, why.text, text);
    json_object_del(o, "seconds");
    json_object_del(o, "img_per_s");
    char *plain = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    fprintf(to, "%s: %s\n", name, plain);
    free(plain);
    json_decref(o);
}

/* All that it has come to, but for clocks, as lines; the caller frees them. */
static char *tale_of(int run)
{
    static const char *const binary[] = {"weights.safetensors", "weights_best.safetensors",
                                         "weights_ema.safetensors"};
    static const char *const json[] = {"result.json", "evaluation.json"};
    char *text = NULL, *bytes;
    size_t size, n;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    for (size_t i = 0; i < 3; i++) {
        bytes = bytes_of(in_run(run, binary[i]), &n);
        fprintf(to, "%s: %zu bytes, %016llx\n", binary[i], bytes ? n : 0,
                (unsigned long long)(bytes ? wf_ckpt_hash(bytes, n) : 0));
        free(bytes);
    }
    for (size_t i = 0; i < 2; i++) {
        bytes = bytes_of(in_run(run, json[i]), &n);
        assert_non_null(bytes);
        tell_json(to, json[i], bytes);
        free(bytes);
    }
    bytes = bytes_of(in_run(run, "log.jsonl"), &n);
    assert_non_null(bytes);
    for (char *line = bytes, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        tell_json(to, "log.jsonl", line);
    }
    free(bytes);
    bytes = bytes_of(in_run(run, "summary.csv"), &n);
    assert_non_null(bytes);
    for (char *line = bytes, *end; (end = strchr(line, '\n')); line = end + 1) {
        int commas = 0;
        for (*end = '\0'; line < end && commas < 6; line++) { /* img_per_s and seconds follow */
            commas += *line == ',';
            fputc(*line, to);
        }
        fputc('\n', to);
    }
    free(bytes);
    fclose(to);
    return text;
}

static void assert_same_tale(int run, const char *whole, const char *got)
{
    size_t at = 0, line = 0;
    if (strcmp(whole, got) == 0)
        return;
    for (; whole[at] && whole[at] == got[at]; at++)
        if (whole[at] == '\n')
            line = at + 1;
    fail_msg("run %d (kind %d) is not the whole one:\n%.400s\n---\n%.400s", run, now->kind,
             whole + line, got + line);
}

/* How many checkpoints there are: three, the best, and, where it was killed between the last one's
 * appearing and the oldest one's going, that. Nothing half done stands beside them. */
static void assert_tidy(int run)
{
    int n = 0;
    DIR *d = opendir(in_run(run, "checkpoints"));
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        n += strncmp(e->d_name, "step-", 5) == 0;
        if (e->d_name[0] == '.' && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fail_msg("run %d: %s is left over", run, e->d_name);
    }
    closedir(d);
    assert_in_range(n, 1, 5);
}

static void forget(int run)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%d", folder, run);
    assert_int_equal(wf_folder_remove(path), 0);
}

/* ---- the test -------------------------------------------------------------------------------- */

static char *whole[KINDS];  /* what a training that nobody kills comes to */
static int64_t whole_calls; /* the fewest of the kinds */
static int runs;

static double uniform(double low, double high)
{
    return low + (high - low) * (double)rand_r(&seed) / (double)RAND_MAX;
}

static void let_all_live(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        *now = (life){.kind = kind, .threads = 2, .freq = 1};
        assert_true(ends(runs, -1));
        const int64_t calls = atomic_load(&now->calls);
        whole[kind] = tale_of(runs);
        whole_calls = whole_calls == 0 || calls < whole_calls ? calls : whole_calls;
        forget(runs++);
    }
}

/* Kills `most` lives over as many runs as it takes. */
static void kill_them(int most, bool at_calls)
{
    const double started = wf_seconds();
    int killed = 0, resumed = 0, longest = 0, first = runs;
    while (killed < most) {
        *now = (life){.kind = runs % KINDS};
        bool over = false;
        int in_this = 0;
        for (; !over; in_this += !over) {
            now->threads = 1 + rand_r(&seed) % 2;
            now->freq = 1 + rand_r(&seed) % 4;
            /* Some live long enough to get ahead; the last chance nobody takes from it. */
            const bool spared = in_this >= MOST_IN_A_ROW;
            now->kill_at = at_calls && !spared ? 1 + rand_r(&seed) % whole_calls : 0;
            now->how = rand_r(&seed) % 3;
            over = ends(runs, at_calls || spared ? -1 : uniform(0, most_seconds));
            resumed += atomic_load(&now->resumed);
        }
        killed += in_this;
        longest = in_this > longest ? in_this : longest;
        char *got = tale_of(runs);
        assert_same_tale(runs, whole[now->kind], got);
        free(got);
        assert_tidy(runs);
        forget(runs++);
    }
    print_message("%d kills %s over %d runs, at most %d in one; %d times resumed; %.1f s\n", killed,
                  at_calls ? "at calls that write" : "at random instants", runs - first, longest,
                  resumed, wf_seconds() - started);
    assert_true(resumed > most / 8); /* else nothing was tested */
}

static void killed_at_random_instants(void **state)
{
    kill_them(kills, false);
}

static void killed_at_calls_that_write(void **state)
{
    kill_them(kills / 2, true);
}

static int begin(void **state)
{
    folder = mkdtemp(shm_dir);
    if (!folder && scratch_create(state) != 0)
        return -1;
    folder = folder ? folder : scratch_dir;
    now = mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (now == MAP_FAILED)
        return -1;
    let_all_live();
    return 0;
}

static int end(void **state)
{
    for (int kind = 0; kind < KINDS; kind++)
        free(whole[kind]);
    return wf_folder_remove(folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_random_instants),
        cmocka_unit_test(killed_at_calls_that_write),
    };
    kills = argc > 1 ? atoi(argv[1]) : kills;
    seed = argc > 2 ? (unsigned)atoi(argv[2]) : seed;
    return cmocka_run_group_tests(tests, begin, end);
}
