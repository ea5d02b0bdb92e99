/* A training that a batch job may kill at any instant: started again, it goes on where it was.
 *
 *     example_train_resume RUN [STEPS]      leaves after STEPS steps, as a job does whose time is up
 *
 * Started until it says "done", it ends with the same weights as a single call. */
#include <stdio.h>
#include <stdlib.h>

#include <weft/weft.h>

enum { LEFT_EARLY = 75 }; /* the exit status that batch systems are told to requeue */

static void tell(void *user, const char *text)
{
    printf("%s\n", text);
}

/* Called after each step. False: the training stops, with a checkpoint. */
static bool may_go_on(void *user, const weft_progress *progress)
{
    long *steps = user;
    return --*steps != 0;
}

/* 1: failed; 0: all steps are done; LEFT_EARLY: not yet. A job's script would start it again. */
static int train(weft_trainer *trainer, weft_error *err)
{
    weft_train_result r;
    if (weft_trainer_resume(trainer, NULL, tell, NULL, err))
        return 1;
    weft_status status = weft_trainer_run(trainer, &r, err);
    if (status == WEFT_ERR_INTERRUPTED)
        return LEFT_EARLY;
    if (status)
        return 1;
    printf("done: %lld steps, loss %.4f\n", (long long)r.steps, r.train_loss);
    return 0;
}

int main(int argc, char **argv)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_context *ctx = weft_context_default();
    weft_module *net = weft_model_create(ctx, "fmnist_cnn", NULL);
    weft_optimizer *sgd = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.05, .momentum = 0.9});
    weft_dataset *data = NULL;
    weft_loader *loader = NULL;
    weft_run *run = NULL;
    weft_trainer *trainer = NULL;
    weft_loader_opts load = {.batch = 32, .shuffle = true, .drop_last = true, .seed = 1};
    weft_run_opts place = {.path = argc > 1 ? argv[1] : "run", .resume = true};
    weft_train_opts opts = WEFT_TRAIN_OPTS_INIT;
    long steps = argc > 2 ? atol(argv[2]) : 0;
    int status = 1;
    opts.progress = may_go_on;
    opts.user = &steps;
    opts.epochs = 2;
    opts.checkpoints.steps = 5;
    if (!weft_dataset_open("synthetic:1x28x28:10:512", WEFT_SPLIT_TRAIN, &data, &err) &&
        !weft_loader_create(data, &load, &loader, &err) && !weft_run_create(&place, &run, &err)) {
        opts.train = loader;
        opts.optimizer = sgd;
        opts.run = run;
        if (!weft_trainer_create(net, &opts, &trainer, &err))
            status = train(trainer, &err);
    }
    if (status == 1)
        fprintf(stderr, "%s\n", err.status != WEFT_OK ? err.text : weft_error_text(ctx));
    weft_trainer_destroy(trainer);
    weft_run_destroy(run);
    weft_loader_destroy(loader);
    weft_dataset_destroy(data);
    weft_optimizer_destroy(sgd);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return status;
}
