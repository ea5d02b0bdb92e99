/* Files of --config: flags by their names, as YAML or JSON.
 *
 *     lr: 0.1                     # YAML: one mapping of names to values
 *     opt: sgd
 *     freeze: [conv1, bn1]        # flags that may be repeated take a list
 *     no-shuffle: true
 *
 * A run's config.json is such a file: its "options" are taken. The file is hostile input: aliases,
 * tags, nested mappings, twice the same name, and more than CONFIG_BYTES are refused. */
#ifndef CLI_CONFIG_FILE_H
#define CLI_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

enum { CONFIG_BYTES = 1 << 20, CONFIG_PAIRS = 1024 };

/* A name and its value as text: "true" and "false", numbers as they stand. Items of a list are
 * pairs of the same name. */
typedef struct config_pair {
    char *key, *value; /* owned */
    int line;          /* from 1; 0: not known */
    bool listed;       /* an item of a list */
} config_pair;

typedef struct config_file {
    int n;
    config_pair *pairs; /* in the file's order; what is null is left out */
    bool record;        /* a run's config.json */
} config_file;

/* Reads the file into *c, which config_file_done frees. False, with one sentence in `error`, where
 * it cannot be read or is none; *c is then empty. */
bool config_file_read(const char *path, config_file *c, char *error, size_t error_size);
/* The same of bytes; path is for messages. */
bool config_file_parse(const char *path, const char *bytes, size_t size, bool json, config_file *c,
                       char *error, size_t error_size);
void config_file_done(config_file *c);

#endif
