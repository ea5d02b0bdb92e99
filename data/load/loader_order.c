/* Which samples an epoch of a loader has, and in which order. See loader_state.h. */
#include "data/load/loader_state.h"
#include "data/sampler.h"

void wf_loader_order(weft_loader *l)
{
    const weft_loader_opts *o = &l->opts;
    switch (o->sampler) {
    case WEFT_SAMPLE_ALL:
        wf_sampler_order(l->order, l->info.count, o->shuffle, o->seed, l->epoch);
        break;
    case WEFT_SAMPLE_BALANCED:
        wf_sampler_balanced(l->order, l->info.count, l->by_class, l->class_starts, l->info.classes,
                            o->seed, l->epoch);
        break;
    case WEFT_SAMPLE_REPEATED:
        wf_sampler_repeated(l->order, l->info.count, o->repeats ? o->repeats : 3, o->shuffle,
                            o->seed, l->epoch);
        break;
    }
}
