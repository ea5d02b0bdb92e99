/* A cache of picture files' bytes: what was read once is not read from its source again.
 *
 * Any number of threads may use one. Where there is no room left, it keeps what it has. */
#ifndef WF_DATA_CACHE_H
#define WF_DATA_CACHE_H

#include <stdint.h>

#include "data/bytes.h"
#include "weft/status.h"

typedef struct wf_cache wf_cache;

/* For samples 0 .. count-1. `where`: "ram", or a folder, in which an unnamed file grows that goes
 * away with the process. */
weft_status wf_cache_create(const char *where, int64_t count, wf_cache **cache, weft_error *err);
void wf_cache_destroy(wf_cache *cache); /* NULL: no effect */
/* Whether it has the sample; then *bytes is filled. */
bool wf_cache_get(const wf_cache *cache, int64_t sample, wf_bytes *bytes);
void wf_cache_put(wf_cache *cache, int64_t sample, const wf_bytes *bytes);

#endif
