/* A hash table with open addressing, at most half full. */
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/name_map.h"
#include "engine/base/alloc.h"

static size_t entry_of(const wf_name_map *map, const char *name)
{
    size_t i = (size_t)XXH3_64bits(name, strlen(name)) & (map->capacity - 1);
    while (map->entry[i].name != NULL && strcmp(map->entry[i].name, name) != 0)
        i = (i + 1) & (map->capacity - 1);
    return i;
}

int wf_name_map_find(const wf_name_map *map, const char *name)
{
    if (map->capacity == 0)
        return -1;
    size_t i = entry_of(map, name);
    return map->entry[i].name != NULL ? map->entry[i].value : -1;
}

static bool grow(wf_name_map *map)
{
    wf_name_map grown = {.n = map->n, .capacity = map->capacity == 0 ? 32 : 2 * map->capacity};
    grown.entry = wf_zalloc_array(grown.capacity, sizeof(*grown.entry));
    if (grown.entry == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entry[i].name != NULL)
            grown.entry[entry_of(&grown, map->entry[i].name)] = map->entry[i];
    }
    wf_free(map->entry);
    *map = grown;
    return true;
}

bool wf_name_map_add(wf_name_map *map, const char *name, int value)
{
    if (2 * (map->n + 1) > map->capacity && !grow(map))
        return false;
    size_t i = entry_of(map, name);
    if (map->entry[i].name == NULL) {
        map->entry[i].name = name;
        map->entry[i].value = value;
        map->n++;
    }
    return true;
}

void wf_name_map_done(wf_name_map *map)
{
    wf_free(map->entry);
    *map = (wf_name_map){0};
}
