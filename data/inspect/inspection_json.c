/* An inspection as JSON. */
#include <jansson.h>

#include "data/inspect/inspection.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/json_text.h"

/* Every function returns NULL where memory is out; json_pack does so if a part is NULL. */

static json_t *classes_json(const weft_inspection *ins, int i)
{
    const weft_inspected_split *sum = &ins->split[i];
    json_t *list = json_array();
    for (int c = 0; list && c < sum->classes; c++) {
        const char *const *names = ins->splits[i]->info.class_names;
        json_t *one =
            json_pack("{s:i, s:o, s:I}", "label", c, "name", wf_json_text(names ? names[c] : NULL),
                      "samples", (json_int_t)sum->per_class[c]);
        if (!one || json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *split_json(const weft_inspection *ins, int i, const char *name)
{
    const weft_inspected_split *s = &ins->split[i];
    return json_pack("{s:o, s:I, s:I, s:[iii], s:[iii], s:I, s:I, s:s, s:o}", "name",
                     wf_json_text(name), "samples", (json_int_t)s->samples, "decoded",
                     (json_int_t)s->decoded, "height_min_median_max", s->height_min,
                     s->height_median, s->height_max, "width_min_median_max", s->width_min,
                     s->width_median, s->width_max, "grey", (json_int_t)s->grey, "exif_orientation",
                     (json_int_t)s->oriented, "formats", s->formats, "classes",
                     classes_json(ins, i));
}

static json_t *finding_json(const weft_inspection *ins, const weft_finding *f,
                            const char *const *names)
{
    char text[2 * WEFT_ERROR_TEXT];
    weft_inspection_describe(ins, f, text, sizeof text);
    wf_sample_name sample = wf_dataset_name(ins->splits[f->split], f->sample);
    json_t *json =
        json_pack("{s:s, s:o, s:I, s:o, s:o}", "kind", weft_finding_name(f->kind), "split",
                  wf_json_text(names[f->split]), "sample", (json_int_t)f->sample, "name",
                  wf_json_text(sample.text), "text", wf_json_text(text));
    if (!json || f->other_split < 0)
        return json;
    wf_sample_name other = wf_dataset_name(ins->splits[f->other_split], f->other_sample);
    if (json_object_set_new(json, "other_split", wf_json_text(names[f->other_split])) ||
        json_object_set_new(json, "other_sample", json_integer(f->other_sample)) ||
        json_object_set_new(json, "other_name", wf_json_text(other.text))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static bool fill(const weft_inspection *ins, const char *const *names, json_t *splits,
                 json_t *counts, json_t *findings)
{
    for (int i = 0; i < ins->n; i++)
        if (json_array_append_new(splits, split_json(ins, i, names[i])))
            return false;
    for (int k = 0; k < WEFT_FINDING_KINDS; k++)
        if (json_object_set_new(counts, weft_finding_name(k), json_integer(ins->counts[k])))
            return false;
    for (int64_t i = 0; i < ins->n_findings; i++)
        if (json_array_append_new(findings, finding_json(ins, &ins->findings[i], names)))
            return false;
    return true;
}

weft_status weft_inspection_write_json(const weft_inspection *ins, const char *path,
                                       const char *const *names, weft_error *err)
{
    if (!ins || !path || !names)
        return wf_error_set(err, WEFT_ERR_INVALID, "writing an inspection: an argument is NULL");
    json_t *splits = json_array(), *counts = json_object(), *findings = json_array();
    bool good = splits && counts && findings && fill(ins, names, splits, counts, findings);
    json_t *json = json_pack("{s:o, s:o, s:o}", "splits", splits, "counts", counts, "findings",
                             findings); /* takes all three, also on failure */
    weft_status status = good && json
                             ? wf_json_write(path, json, JSON_INDENT(1), err)
                             : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    json_decref(json);
    return status;
}
