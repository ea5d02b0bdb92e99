/* Draws the confusion matrix: right predictions in blue, mistakes in orange. A colour's strength is
 * the root of the cell's share of its row, so that a few mistakes in a hundred are still visible.
 * Colours have an opacity over the page's background, so they suit a light page and a dark one.
 *
 * Up to NUMBERED classes the cells show their counts. Up to NAMED classes the axes show the names.
 * Above that, the cells are the pixels of an image. See figures.h. Shape letter: K classes. */
#include <math.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "train/report/figures.h"
#include "train/report/markup.h"
#include "train/report/png.h"

enum { NUMBERED = 20, NAMED = 40, NAME_CHARS = 14, MARGIN = 112, RIGHT = 70, AXIS = 40 };
#define STRONG 0.6 /* above this opacity the count has the page's colour */

/* The matrix after checking: K rows of K counts. */
typedef struct matrix {
    const json_t *rows, *classes;
    int K;
} matrix;

static bool open(const json_t *evaluation, matrix *m)
{
    m->rows = json_object_get(evaluation, "confusion");
    m->classes = json_object_get(evaluation, "classes");
    m->K = (int)json_array_size(m->rows);
    if (m->K == 0 || json_array_size(m->classes) != (size_t)m->K)
        return false;
    for (int r = 0; r < m->K; r++)
        if (json_array_size(json_array_get(m->rows, (size_t)r)) != (size_t)m->K)
            return false;
    return true;
}

static double count(const matrix *m, int row, int column)
{
    return (double)json_integer_value(
        json_array_get(json_array_get(m->rows, (size_t)row), (size_t)column));
}

static const char *name(const matrix *m, int k)
{
    return wf_json_string(json_array_get(m->classes, (size_t)k), "name");
}

/* Class k's number of images. Where it is 0, the row is empty. */
static double support(const matrix *m, int k)
{
    double s = wf_json_value(json_array_get(m->classes, (size_t)k), "support");
    return s > 0 ? s : 1;
}

static double strength(const matrix *m, int row, int column)
{
    double share = count(m, row, column) / support(m, row);
    return share > 0 ? sqrt(share < 1 ? share : 1) : 0;
}

static void write_names(FILE *out, const matrix *m, double cell)
{
    double size = cell < 16 ? cell - 3 : 12;
    for (int k = 0; k < m->K; k++) {
        double middle = MARGIN + (k + 0.5) * cell;
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" style=\"font-size:%.0fpx\">",
                MARGIN - 8, middle + 0.35 * size, size);
        wf_markup_text_cut(out, name(m, k), NAME_CHARS);
        fprintf(out,
                "</text><text transform=\"translate(%.1f %d) rotate(-45)\" "
                "style=\"font-size:%.0fpx\">",
                middle + 0.35 * size, MARGIN - 8, size);
        wf_markup_text_cut(out, name(m, k), NAME_CHARS);
        fputs("</text>\n", out);
    }
}

static void write_cell(FILE *out, const matrix *m, int r, int c, double cell)
{
    double n = count(m, r, c), alpha = strength(m, r, c);
    double x = MARGIN + c * cell, y = MARGIN + r * cell;
    if (n == 0)
        return;
    fprintf(out, "<g><title>");
    wf_markup_text(out, name(m, r));
    fputs(r == c ? ", recognised: " : " taken for ", out);
    if (r != c) {
        wf_markup_text(out, name(m, c));
        fputs(": ", out);
    }
    fprintf(out, "%.0f of %.0f (%.1f %%)</title>", n, support(m, r), 100 * n / support(m, r));
    fprintf(out,
            "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
            "fill-opacity=\"%.3f\"/>",
            r == c ? "hit" : "miss", x + 0.5, y + 0.5, cell - 1, cell - 1, alpha);
    if (m->K <= NUMBERED)
        fprintf(out,
                "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" "
                "style=\"font-size:%dpx\">%.0f</text>",
                alpha > STRONG ? "on" : "off", x + cell / 2, y + cell / 2 + 4,
                n >= 10000  ? 9
                : n >= 1000 ? 10
                            : 12,
                n);
    fputs("</g>\n", out);
}

static void start(FILE *out, const matrix *m, double width, double height)
{
    double right = 0, all = 0;
    for (int k = 0; k < m->K; k++) {
        right += count(m, k, k);
        for (int c = 0; c < m->K; c++)
            all += count(m, k, c);
    }
    /* Not wider than it was drawn: a small matrix stays small. */
    fprintf(out,
            "<svg class=\"heat\" viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" "
            "role=\"img\">\n<title>Confusion matrix</title>\n",
            width, height, width);
    fprintf(out,
            "<desc>%d classes; rows are the true class, columns the predicted one. %.0f of %.0f "
            "predictions lie on the diagonal. The table of mistakes lists the largest "
            "others.</desc>\n",
            m->K, right, all);
}

static int cell_size(int K)
{
    if (K > NAMED)
        return K < 720 ? 720 / K : 1;
    return K <= 12 ? 40 : K <= NUMBERED ? 34 : 16;
}

int wf_heat_map_width(int K)
{
    return K * cell_size(K) + (K > NAMED ? AXIS + 2 : MARGIN + RIGHT);
}

static void write_cells(FILE *out, const matrix *m)
{
    double cell = cell_size(m->K), side = m->K * cell;
    start(out, m, wf_heat_map_width(m->K), MARGIN + side + 12);
    fprintf(out,
            "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%.1f\"/>\n"
            "<text x=\"4\" y=\"%d\" class=\"corner\">true \xe2\x86\x93 predicted \xe2\x86\x92"
            "</text>\n",
            MARGIN, MARGIN, side, side, MARGIN - 8);
    write_names(out, m, cell);
    for (int r = 0; r < m->K; r++)
        for (int c = 0; c < m->K; c++)
            write_cell(out, m, r, c, cell);
    fputs("</svg>\n", out);
}

/* ---- as an image ----------------------------------------------------------------------------- */

static char *draw(const matrix *m, weft_error *err)
{
    static const uint8_t hit[3] = {0x2b, 0x8c, 0xc8}, miss[3] = {0xe0, 0x70, 0x10};
    size_t K = (size_t)m->K, size = 0;
    uint8_t *pixels = wf_zalloc_array(K * K, 4); /* (K, K, RGBA) */
    unsigned char *png = NULL;
    char *uri = NULL;
    if (!pixels) {
        wf_nomem(err, 4 * K * K, "the confusion matrix");
        return NULL;
    }
    for (int r = 0; r < m->K; r++)
        for (int c = 0; c < m->K; c++) {
            uint8_t *p = pixels + 4 * ((size_t)r * K + (size_t)c);
            memcpy(p, r == c ? hit : miss, 3);
            p[3] = (uint8_t)lround(255 * strength(m, r, c));
        }
    if (wf_png_encode(m->K, m->K, 4, pixels, &png, &size, err) == WEFT_OK) {
        uri = wf_data_uri("image/png", png, size);
        if (!uri)
            wf_nomem(err, size, "the confusion matrix");
    }
    wf_free(png);
    wf_free(pixels);
    return uri;
}

static weft_status write_image(FILE *out, const matrix *m, weft_error *err)
{
    char *uri = draw(m, err);
    if (!uri)
        return WEFT_ERR_NOMEM;
    int cell = cell_size(m->K), side = cell * m->K;
    int every = m->K <= 100 ? 10 : m->K <= 500 ? 50 : 100;
    start(out, m, wf_heat_map_width(m->K), AXIS + side + 2);
    fprintf(out,
            "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n"
            "<image x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" href=\"%s\"/>\n",
            AXIS, AXIS, side, side, AXIS, AXIS, side, side, uri);
    for (int k = 0; k < m->K; k += every) {
        double middle = AXIS + (k + 0.5) * cell;
        fprintf(out,
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d</text>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n",
                AXIS - 6, middle + 4, k, middle, AXIS - 8, k);
    }
    fputs("<text x=\"0\" y=\"12\" class=\"corner\">true \xe2\x86\x93 predicted \xe2\x86\x92"
          "</text>\n</svg>\n",
          out);
    wf_free(uri);
    return WEFT_OK;
}

weft_status wf_heat_map_write(FILE *out, const json_t *evaluation, weft_error *err)
{
    matrix m;
    if (!open(evaluation, &m))
        return WEFT_OK;
    if (m.K > NAMED)
        return write_image(out, &m, err);
    write_cells(out, &m);
    return WEFT_OK;
}
