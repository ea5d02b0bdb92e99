/* Reads files of --config: config_file.h. YAML goes event by event through libyaml, so nothing is
 * built of what will be refused; JSON through jansson, which bounds the nesting. No state. */
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <yaml.h>

typedef struct reader {
    const char *path;
    config_file *c;
    char *error;
    size_t error_size;
} reader;

/* One sentence, with the path and the line (0: none) in front. */
static bool fail(const reader *r, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail(const reader *r, int line, const char *format, ...)
{
    int n = line > 0 ? snprintf(r->error, r->error_size, "%s: line %d: ", r->path, line)
                     : snprintf(r->error, r->error_size, "%s: ", r->path);
    va_list args;
    va_start(args, format);
    if (n >= 0 && (size_t)n < r->error_size)
        vsnprintf(r->error + n, r->error_size - (size_t)n, format, args);
    va_end(args);
    return false;
}

static bool add(const reader *r, const char *key, const char *value, int line, bool listed)
{
    config_file *c = r->c;
    if (c->n == CONFIG_PAIRS)
        return fail(r, line, "more than %d values", CONFIG_PAIRS);
    if (c->n % 64 == 0) {
        config_pair *pairs = realloc(c->pairs, (size_t)(c->n + 64) * sizeof(*pairs));
        if (!pairs)
            return fail(r, line, "out of memory");
        c->pairs = pairs;
    }
    config_pair pair = {strdup(key), strdup(value), line, listed};
    if (pair.key && pair.value) {
        c->pairs[c->n++] = pair;
        return true;
    }
    free(pair.key);
    free(pair.value);
    return fail(r, line, "out of memory");
}

void config_file_done(config_file *c)
{
    for (int i = 0; i < c->n; i++) {
        free(c->pairs[i].key);
        free(c->pairs[i].value);
    }
    free(c->pairs);
    *c = (config_file){0};
}

/* ---- YAML ------------------------------------------------------------------------------------ */

static bool next_event(const reader *r, yaml_parser_t *parser, yaml_event_t *event)
{
    if (!yaml_parser_parse(parser, event))
        return fail(r, (int)parser->problem_mark.line + 1, "no YAML: %s%s%s",
                    parser->problem ? parser->problem : "it cannot be read",
                    parser->context ? ", " : "", parser->context ? parser->context : "");
    const int line = (int)event->start_mark.line + 1;
    bool named = event->type == YAML_ALIAS_EVENT, tagged = false;
    if (event->type == YAML_SCALAR_EVENT) {
        named = event->data.scalar.anchor != NULL;
        tagged = event->data.scalar.tag != NULL;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        named = event->data.mapping_start.anchor != NULL;
        tagged = event->data.mapping_start.tag != NULL;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        named = event->data.sequence_start.anchor != NULL;
        tagged = event->data.sequence_start.tag != NULL;
    }
    if (!named && !tagged)
        return true;
    yaml_event_delete(event);
    return fail(r, line, named ? "anchors and aliases are not taken" : "tags are not taken");
}

static bool is_null(const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (*text == '\0' || strcmp(text, "null") == 0 || strcmp(text, "~") == 0);
}

/* Adds a value of `key`; an event that is no scalar is refused. */
static bool add_scalar(const reader *r, const char *key, const yaml_event_t *e, bool listed)
{
    const int line = (int)e->start_mark.line + 1;
    const char *text = (const char *)e->data.scalar.value;
    if (e->type != YAML_SCALAR_EVENT)
        return fail(r, line, "'%.64s' is nested; expected %s", key,
                    listed ? "a list of plain values" : "a value or a list of values");
    if (strlen(text) != e->data.scalar.length)
        return fail(r, line, "'%.64s' has a zero byte", key);
    return is_null(e) || add(r, key, text, line, listed);
}

static bool add_sequence(const reader *r, yaml_parser_t *parser, const char *key)
{
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, parser, &e))
            return false;
        const bool end = e.type == YAML_SEQUENCE_END_EVENT;
        const bool good = end || add_scalar(r, key, &e, true);
        yaml_event_delete(&e);
        if (end || !good)
            return good;
    }
}

/* The value that follows its key. */
static bool add_value(const reader *r, yaml_parser_t *parser, const char *key)
{
    yaml_event_t e;
    if (!next_event(r, parser, &e))
        return false;
    const bool good = e.type == YAML_SEQUENCE_START_EVENT ? add_sequence(r, parser, key)
                                                          : add_scalar(r, key, &e, false);
    yaml_event_delete(&e);
    return good;
}

static bool check_key(const reader *r, const yaml_event_t *e, const char *key)
{
    const int line = (int)e->start_mark.line + 1;
    if (e->type != YAML_SCALAR_EVENT)
        return fail(r, line, "a name is nested; expected 'name: value'");
    if (strlen(key) != e->data.scalar.length)
        return fail(r, line, "a name has a zero byte");
    for (int i = 0; i < r->c->n; i++)
        if (strcmp(r->c->pairs[i].key, key) == 0)
            return fail(r, line, "'%.64s' is there twice, first in line %d", key,
                        r->c->pairs[i].line);
    return true;
}

static bool add_mapping(const reader *r, yaml_parser_t *parser)
{
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, parser, &e))
            return false;
        const bool end = e.type == YAML_MAPPING_END_EVENT;
        const char *key = (const char *)e.data.scalar.value;
        const bool good = end || (check_key(r, &e, key) && add_value(r, parser, key));
        yaml_event_delete(&e);
        if (end || !good)
            return good;
    }
}

static bool parse_yaml(const reader *r, yaml_parser_t *parser)
{
    int documents = 0;
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, parser, &e))
            return false;
        const yaml_event_type_t type = e.type;
        const int line = (int)e.start_mark.line + 1;
        const bool empty = type == YAML_SCALAR_EVENT && is_null(&e);
        yaml_event_delete(&e);
        if (type == YAML_STREAM_END_EVENT)
            return true;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            return fail(r, line, "a second document; expected one");
        if (type == YAML_MAPPING_START_EVENT && !add_mapping(r, parser))
            return false;
        if (type == YAML_SEQUENCE_START_EVENT || (type == YAML_SCALAR_EVENT && !empty))
            return fail(r, line, "expected lines of the form 'name: value'");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static bool add_json(const reader *r, const char *key, const json_t *v, bool listed)
{
    char number[40];
    switch (json_typeof(v)) {
    case JSON_STRING: return add(r, key, json_string_value(v), 0, listed);
    case JSON_TRUE: return add(r, key, "true", 0, listed);
    case JSON_FALSE: return add(r, key, "false", 0, listed);
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
        return add(r, key, number, 0, listed);
    case JSON_REAL:
        snprintf(number, sizeof(number), "%.17g", json_real_value(v));
        return add(r, key, number, 0, listed);
    case JSON_NULL: return true;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    return fail(r, 0, "'%.64s' is nested; expected %s", key,
                listed ? "a list of plain values" : "a value or a list of values");
}

/* Where the new run goes is no part of the record of an old one, nor is where that one's flags came
 * from. */
static bool is_of_the_run(const char *key)
{
    return strcmp(key, "output-dir") == 0 || strcmp(key, "overwrite") == 0 ||
           strcmp(key, "config") == 0;
}

static bool add_object(const reader *r, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (r->c->record && is_of_the_run(key))
            continue;
        if (!json_is_array(value)) {
            if (!add_json(r, key, value, false))
                return false;
            continue;
        }
        for (size_t i = 0; i < json_array_size(value); i++)
            if (!add_json(r, key, json_array_get(value, i), true))
                return false;
    }
    return true;
}

static bool parse_json(const reader *r, const char *bytes, size_t size)
{
    json_error_t e;
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return fail(r, e.line, "no JSON: %s", e.text);
    json_t *options = json_object_get(root, "options");
    r->c->record = json_is_object(options) && json_object_get(root, "environment");
    bool good = json_is_object(root);
    if (!good)
        fail(r, 0, "expected one object of names and values");
    good = good && add_object(r, r->c->record ? options : root);
    json_decref(root);
    return good;
}

/* ---- files ----------------------------------------------------------------------------------- */

bool config_file_parse(const char *path, const char *bytes, size_t size, bool json, config_file *c,
                       char *error, size_t error_size)
{
    const reader r = {path, c, error, error_size};
    *c = (config_file){0};
    bool good = false;
    if (json) {
        good = parse_json(&r, bytes, size);
    } else {
        yaml_parser_t parser;
        if (!yaml_parser_initialize(&parser))
            return fail(&r, 0, "out of memory");
        yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, size);
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
        good = parse_yaml(&r, &parser);
        yaml_parser_delete(&parser);
    }
    if (!good)
        config_file_done(c);
    return good;
}

/* Reads all of fd, at most CONFIG_BYTES + 1 bytes; -1: errno says why not. */
static ssize_t read_all(int fd, char *bytes)
{
    size_t n = 0;
    while (n <= CONFIG_BYTES) {
        ssize_t got = read(fd, bytes + n, CONFIG_BYTES + 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

bool config_file_read(const char *path, config_file *c, char *error, size_t error_size)
{
    const reader r = {path, c, error, error_size};
    const size_t length = strlen(path);
    struct stat st;
    *c = (config_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(&r, 0, "%s", strerror(errno));
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!good)
        fail(&r, 0, "no regular file; expected YAML or JSON");
    char *bytes = good ? malloc(CONFIG_BYTES + 1) : NULL;
    const ssize_t n = bytes ? read_all(fd, bytes) : -1;
    if (good && n < 0)
        good = fail(&r, 0, "%s", strerror(errno));
    if (good && n > CONFIG_BYTES)
        good = fail(&r, 0, "more than %d bytes", CONFIG_BYTES);
    if (good)
        good = config_file_parse(path, bytes, (size_t)n,
                                 length > 5 && strcmp(path + length - 5, ".json") == 0, c, error,
                                 error_size);
    free(bytes);
    close(fd);
    return good;
}
