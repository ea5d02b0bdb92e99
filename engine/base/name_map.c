/* A hash table with open addressing, at most half full. */
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/name_map.h"
#include "engine/base/alloc.h"

static size_t slot_of(const wf_name_map *map, const char *name)
{
    size_t i = (size_t)XXH3_64bits(name, strlen(name)) & (map->capacity - 1);
    while (map->slot[i].name != NULL && strcmp(map->slot[i].name, name) != 0)
        i = (i + 1) & (map->capacity - 1);
    return i;
}

int wf_name_map_find(const wf_name_map *map, const char *name)
{
    if (map->capacity == 0)
        return -1;
    size_t i = slot_of(map, name);
    return map->slot[i].name != NULL ? map->slot[i].value : -1;
}

static bool grow(wf_name_map *map)
{
    wf_name_map grown = {.n = map->n, .capacity = map->capacity == 0 ? 32 : 2 * map->capacity};
    grown.slot = wf_zalloc_array(grown.capacity, sizeof(*grown.slot));
    if (grown.slot == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slot[i].name != NULL)
            grown.slot[slot_of(&grown, map->slot[i].name)] = map->slot[i];
    }
    wf_free(map->slot);
    *map = grown;
    return true;
}

bool wf_name_map_add(wf_name_map *map, const char *name, int value)
{
    if (2 * (map->n + 1) > map->capacity && !grow(map))
        return false;
    size_t i = slot_of(map, name);
    if (map->slot[i].name == NULL) {
        map->slot[i].name = name;
        map->slot[i].value = value;
        map->n++;
    }
    return true;
}

void wf_name_map_done(wf_name_map *map)
{
    wf_free(map->slot);
    *map = (wf_name_map){0};
}
