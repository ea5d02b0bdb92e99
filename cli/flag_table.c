/* The table of flags and the defaults. Nothing here is mutable. */
#include "flags.h"

#define AT(field) offsetof(cli_options, field)
#define RUNS (CMD_TRAIN | CMD_EVAL | CMD_PREDICT | CMD_EXPLAIN)
#define MODEL (RUNS | CMD_SUMMARY)
#define MOST 9.0e15 /* integers up to here are exact in a double */

const flag cli_flags[] = {
    {"model", NULL, 0, FLAG_TEXT, AT(model), .value = "NAME", .commands = MODEL,
     .help = "architecture, see `weft models` [as the weights say, else fmnist_cnn]"},
    {"num-classes", NULL, 0, FLAG_INT, AT(num_classes), 0, 1e6, .value = "N", .commands = MODEL,
     .help = "outputs of the model (0: as the data or the model say)"},
    {"input-size", NULL, 0, FLAG_TEXT, AT(input_size), .value = "CxHxW",
     .commands = CMD_SUMMARY | CMD_EXPLAIN, .help = "one image (default: the model's own)"},
    {"weights", NULL, 0, FLAG_TEXT, AT(weights), .value = "FILE",
     .commands = CMD_TRAIN | CMD_EVAL | CMD_PREDICT, .help = "safetensors file to start from"},
    {"data-path", NULL, 0, FLAG_TEXT, AT(data_path), .value = "PATH",
     .commands = CMD_TRAIN | CMD_EVAL,
     .help = "IDX directory, safetensors file, or synthetic:CxHxW:classes"},
    {"input", NULL, 0, FLAG_TEXT, AT(input), .value = "FILE", .commands = CMD_PREDICT,
     .help = "safetensors file with the tensor \"images\" (N, C, H, W)"},
    {"output", NULL, 0, FLAG_TEXT, AT(output), .value = "FILE", .commands = CMD_PREDICT,
     .help = "safetensors file to write, with the tensor \"logits\" (N, classes)"},
    {"batch-size", NULL, 'b', FLAG_INT, AT(batch_size), 1, 1e6, .value = "N", .commands = RUNS,
     .help = "images a step"},
    {"workers", NULL, 'j', FLAG_INT, AT(workers), 0, 1024, .value = "N",
     .commands = CMD_TRAIN | CMD_EVAL, .help = "loader threads (0: load between steps)"},
    {"epochs", NULL, 0, FLAG_INT, AT(epochs), 1, 1e6, .value = "N", .commands = CMD_TRAIN,
     .help = "passes over the training images"},
    {"max-steps", NULL, 0, FLAG_INT, AT(max_steps), 0, MOST, .value = "N", .commands = CMD_TRAIN,
     .help = "stop after this many steps (0: no limit)"},
    {"eval-freq", NULL, 0, FLAG_INT, AT(eval_freq), 1, 1e6, .value = "N", .commands = CMD_TRAIN,
     .help = "evaluate every N epochs, and after the last"},
    {"opt", NULL, 0, FLAG_CHOICE, AT(opt), .choices = "sgd sgd_nesterov adamw", .value = "NAME",
     .commands = CMD_TRAIN | CMD_EXPLAIN, .help = "optimizer"},
    {"lr", NULL, 0, FLAG_NUMBER, AT(lr), 0, 1e6, .value = "X", .commands = CMD_TRAIN,
     .help = "learning rate; onecycle's highest"},
    {"momentum", NULL, 0, FLAG_NUMBER, AT(momentum), 0, 1, .value = "X", .commands = CMD_TRAIN,
     .help = "of SGD; AdamW's beta1"},
    {"wd", "weight-decay", 0, FLAG_NUMBER, AT(weight_decay), 0, 1e3, .value = "X",
     .commands = CMD_TRAIN, .help = "weight decay"},
    {"lr-scheduler", NULL, 0, FLAG_CHOICE, AT(lr_scheduler),
     .choices = "constant step cosine onecycle", .value = "NAME", .commands = CMD_TRAIN,
     .help = "how the learning rate changes, step by step"},
    {"lr-step-size", NULL, 0, FLAG_INT, AT(lr_step_size), 1, 1e6, .value = "N",
     .commands = CMD_TRAIN, .help = "step: epochs between decays"},
    {"lr-gamma", NULL, 0, FLAG_NUMBER, AT(lr_gamma), 0, 1, .value = "X", .commands = CMD_TRAIN,
     .help = "step: factor of a decay"},
    {"lr-min", NULL, 0, FLAG_NUMBER, AT(lr_min), 0, 1e6, .value = "X", .commands = CMD_TRAIN,
     .help = "cosine: where the learning rate ends"},
    {"lr-warmup-epochs", NULL, 0, FLAG_NUMBER, AT(lr_warmup_epochs), 0, 1e6, .value = "X",
     .commands = CMD_TRAIN, .help = "epochs of linear warm-up; onecycle: of its rise"},
    {"label-smoothing", NULL, 0, FLAG_NUMBER, AT(label_smoothing), 0, 1, .value = "X",
     .commands = CMD_TRAIN, .help = "of the training loss"},
    {"no-augment", NULL, 0, FLAG_BOOL, AT(no_augment), .commands = CMD_TRAIN,
     .help = "train on the images as they are"},
    {"no-shuffle", NULL, 0, FLAG_BOOL, AT(no_shuffle), .commands = CMD_TRAIN,
     .help = "take the images in file order"},
    {"output-dir", NULL, 0, FLAG_TEXT, AT(output_dir), .value = "DIR", .commands = CMD_TRAIN,
     .help = "the run's directory (default: runs/<model>-<time>)"},
    {"overwrite", NULL, 0, FLAG_BOOL, AT(overwrite), .commands = CMD_TRAIN,
     .help = "replace a run that --output-dir already holds"},
    {"seed", NULL, 0, FLAG_INT, AT(seed), 0, MOST, .value = "N", .commands = RUNS,
     .help = "of initialisation, shuffling, augmentation, dropout"},
    {"threads", NULL, 0, FLAG_INT, AT(threads), 0, 4096, .value = "N", .commands = RUNS | CMD_INFO,
     .help = "0: OMP_NUM_THREADS, else one per physical core"},
    {"trace", NULL, 0, FLAG_TEXT, AT(trace), .value = "FILE",
     .commands = CMD_TRAIN | CMD_EVAL | CMD_PREDICT,
     .help = "write a Chrome trace (Perfetto) of what every thread ran"},
    {"amp", NULL, 0, FLAG_REFUSED, AT(amp), .commands = CMD_TRAIN | CMD_EVAL | CMD_PREDICT,
     .help = "mixed precision (bf16) is not there yet; this version computes in f32"},
    {"help", NULL, 'h', FLAG_BOOL, AT(help), .commands = ~0u, .help = "this text"},
};
const int cli_n_flags = sizeof(cli_flags) / sizeof(cli_flags[0]);

/* The recipe brings fmnist_cnn to more than 92.5 % on Fashion-MNIST. */
cli_options cli_defaults(void)
{
    return (cli_options){
        .batch_size = 64,
        .workers = 1,
        .epochs = 8,
        .eval_freq = 1,
        .lr = 0.05,
        .momentum = 0.9,
        .weight_decay = 5e-4,
        .opt = "sgd_nesterov",
        .lr_scheduler = "cosine",
        .lr_warmup_epochs = 1,
        .lr_step_size = 30,
        .lr_gamma = 0.1,
    };
}
