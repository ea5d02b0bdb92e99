/* A map from names to numbers, for lists in which every entry is searched by name. */
#ifndef WF_BASE_NAME_MAP_H
#define WF_BASE_NAME_MAP_H

#include <stdbool.h>
#include <stddef.h>

/* A map of zeros is empty. */
typedef struct wf_name_map {
    size_t n, capacity; /* a power of two, or 0 */
    struct {
        const char *name;
        int value;
    } * entry;
} wf_name_map;

/* The value of name; -1 where it is not in the map. */
int wf_name_map_find(const wf_name_map *map, const char *name);
/* Adds a name with a value of at least 0. A name that is there already keeps its first value. The
 * name is not copied and must outlive the map. False: out of memory. */
bool wf_name_map_add(wf_name_map *map, const char *name, int value);
void wf_name_map_done(wf_name_map *map);

#endif
