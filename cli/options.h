/* What the command line of `weft` says: the commands, the options that their flags fill in, and the
 * table of both. Flag names are torchvision's where it has one. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "parser/flags.h"

/* The commands; flag.commands is a set of these. */
enum {
    CMD_TRAIN_ALONE = 1u << 0,
    CMD_EVAL = 1u << 1,
    CMD_PREDICT = 1u << 2,
    CMD_INFO = 1u << 3,
    CMD_SUMMARY = 1u << 4,
    CMD_EXPLAIN = 1u << 5,
    CMD_MODELS = 1u << 6,
    CMD_VERSION = 1u << 7,
    CMD_REPORT = 1u << 8,
    CMD_TUNE = 1u << 9,
    CMD_LOOK = 1u << 10,
    CMD_PLAN = 1u << 11,
    CMD_TRAIN = CMD_TRAIN_ALONE | CMD_PLAN, /* a plan takes the flags of the training */
    CMD_CHECK = 1u << 12,
    CMD_PACK = 1u << 13,
};

/* batch_size: the largest that fits into memory. */
enum { BATCH_AUTO = 0 };

typedef struct cli_options {
    bool given[FLAGS_MAX]; /* by place in the table: the command line has it */
    const char *model;     /* NULL: as the weights say, else the default */
    flag_list model_args;  /* "key=value" */
    int64_t num_classes;   /* 0: as the data say */
    const char *data_path;
    const char *weights; /* NULL: none */
    bool allow_nan;
    bool reset_head;
    flag_list freeze; /* globs over names of parameters and modules */
    bool freeze_bn;
    int64_t batch_size;
    int64_t workers; /* below 0: chosen by itself */
    int64_t epochs;
    int64_t max_steps; /* 0: no limit */
    int64_t eval_freq;
    int64_t crop_padding;
    double hflip; /* probability; below 0: as the data say */
    bool ignore_class_names;
    double lr;
    double momentum;
    double weight_decay;
    const char *opt;
    const char *lr_scheduler;
    int64_t lr_step_size;
    double lr_gamma;
    double lr_min;
    double lr_warmup_epochs;
    double label_smoothing;
    bool no_augment;
    bool no_shuffle;
    const char *output_dir; /* NULL: runs/<model>-<time> */
    bool overwrite;
    const char *input;
    const char *output;
    flag_words inputs;  /* weft predict: what stands without a flag */
    const char *format; /* of its output */
    int64_t top;        /* classes of a row */
    int64_t seed;
    int64_t threads; /* 0: the library chooses */
    const char *trace;
    const char *wisdom; /* NULL: as the environment says, else the cache's */
    bool tune;
    bool again;
    double tune_seconds;
    const char *pattern;    /* of model names; NULL: all */
    const char *input_size; /* "CxHxW"; NULL: the model's own */
    int64_t depth;
    int64_t summary_batch;
    const char *explain_as; /* text, dot, memory, json */
    const char *measured;   /* a timeline; NULL: none */
    bool json;
    const char *report;    /* a page to write; NULL: none */
    const char *json_path; /* the same as JSON */
    bool per_class;
    bool confusion;
    bool brief;
    const char *run_dir;
    const char *pack_folder; /* weft pack: where it writes */
    int64_t pack_size;       /* of images in pixels; 0: shards of picture files */
    int64_t shard_size;      /* MB */
    const char *look_page;   /* weft look: the page to write */
    int64_t look_classes;    /* how many classes it shows */
    const char *amp;
    flag_list recompute;      /* "auto", "off", or globs over names of modules; none: auto */
    const char *memory_limit; /* NULL: none */
    size_t memory_bytes;      /* what it says; 0: no limit */
    bool help;
    /* jobs: where and for how long it runs */
    int64_t print_freq; /* steps; 0: by time */
    bool dry_run;
    const char *time_limit, *time_margin; /* NULL: not given */
    /* recipes: the update and the learning rate. -1: not given. */
    double norm_weight_decay, bias_weight_decay;
    double opt_eps, opt_beta2, opt_alpha;
    bool opt_amsgrad;
    const char *lr_per;
    flag_list lr_steps; /* epochs, in order */
    double lr_power;
    double lr_period; /* epochs */
    int64_t lr_period_mult;
    int64_t lr_patience, lr_cooldown; /* evaluations */
    double lr_threshold;
    int64_t lr_warmup_steps;
    const char *lr_warmup_method;
    double lr_warmup_decay;
    int64_t accumulate;                     /* batches a step */
    double clip_grad_norm, clip_grad_value; /* 0: any */
    bool model_ema;
    double model_ema_decay;
    int64_t model_ema_steps;
    int64_t patience; /* evaluations; 0: no early stop */
    double min_delta;
    const char *monitor;
    const char *config;       /* a file; NULL: none */
    struct config_file *file; /* what it has: texts here point into it */
    /* pictures: from files to images of one size */
    int64_t channels; /* 0: as the weights or the data say */
    bool exif;
    bool coarse_labels;
    int64_t max_pixels; /* 0: the library's limit */
    const char *bad_images;
    double val_split;
    const char *cache;                                       /* "ram" or a folder; NULL: none */
    int64_t train_crop_size, val_resize_size, val_crop_size; /* 0: as the model or the data say */
    const char *interpolation;
    const char *mean, *std; /* lists of numbers; NULL: as the weights or the data say */
    bool fast_decode;
    const char *auto_augment;
    int64_t ra_magnitude;
    double vflip, color_jitter, hue, grayscale, blur, rotation, random_erase;
    double mixup_alpha, cutmix_alpha;
    const char *class_weights; /* "auto" or a file; NULL: none */
    bool balanced_sampler, ra_sampler;
    int64_t ra_reps;
    /* checkpoints */
    const char *checkpoint_freq;
    int64_t keep;
    const char *resume; /* "auto", "never", or a checkpoint or run */
    /* check */
    int64_t check_threads, check_tiny, check_list;
    double check_long;
    int argc; /* the whole command line, for the records */
    char *const *argv;
} cli_options;

/* Every command, every flag, and what plain `weft <command>` does. */
extern const flag_table cli_table;

/* Fills `options` from argv[0..argc), and from the file of --config where the command line says
 * nothing. False, with one sentence in `error`, where the arguments make
 * no sense to the command, or contradict each other, or mean nothing beside each other; the options
 * are then undefined. */
bool cli_parse(unsigned command, int argc, char **argv, cli_options *options, char *error,
               size_t error_size);
/* Frees what cli_parse has read from a file, where it succeeded. */
void cli_options_done(cli_options *options);

#endif
