/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft ranges: what reaches the activations of a network, channel by channel, on pictures.
 * Of a layer "act", a safetensors file gets act.range [2][C] (least and greatest value) and
 * act.quantiles [5][C] (at `shares` below). Where the model's weights hold act.range, the
 * range that training saw, pictures that leave it are counted and reported.
 */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backends.h"

static const double shares[] = {0.001, 0.01, 0.5, 0.99, 0.999};
enum { NUM_SHARES = sizeof shares / sizeof *shares };

static void run_pictures(struct survey *s, struct prog *p, const struct images *images)
{
    double *x = arena_array(p->arena, images->pixels, sizeof *x);
    double *result = arena_array(p->arena, p->model.num_outputs, sizeof *result);
    struct sim_options o = {.hook = survey_look, .ctx = s};
    struct sim *sim = sim_open(p);
    for (uint64_t i = 0; i < images->len; i++) {
        images_get(images, &p->model, i, x);
        sim_image(sim, &o, x, result);
        survey_next(s);
    }
    sim_close(sim);
}

/* ---- results -------------------------------------------------------------------------------- */

static void print_table(const struct survey *s, const struct images *images)
{
    printf("images      %" PRIu64 "\n", images->len);
    printf("%-24s %8s %10s %10s %10s %10s  outside of training\n", "layer", "channels", "min",
           "0.1 %", "99.9 %", "max");
    for (uint32_t k = 0; k < s->num_acts; k++) {
        const struct activation *a = &s->act[k];
        double min = INFINITY, max = -INFINITY, low = INFINITY, high = -INFINITY;
        for (uint32_t c = 0; c < a->channels; c++) {
            min = fmin(min, a->min[c]);
            max = fmax(max, a->max[c]);
            low = fmin(low, survey_quantile(a, c, shares[0]));
            high = fmax(high, survey_quantile(a, c, shares[NUM_SHARES - 1]));
        }
        printf("%-24s %8u %10.4g %10.4g %10.4g %10.4g  ", a->node->layer, (unsigned)a->channels,
               min, low, high, max);
        if (a->low) {
            printf("%.2f %%\n", 100.0 * (double)a->left / (double)images->len);
        } else {
            printf("not known\n");
        }
    }
}

static void add_float(struct str *data, double v)
{
    float f = (float)v;
    str_addn(data, (const char *)&f, sizeof f);
}

static void add_header(struct str *header, const char *layer, const char *kind, uint32_t rows,
                       uint32_t channels, size_t from)
{
    str_addf(header, "%s\"%s.%s\":{\"dtype\":\"F32\",\"shape\":[%u,%u],\"data_offsets\":[%zu,%zu]}",
             header->len > 1 ? "," : "", layer, kind, (unsigned)rows, (unsigned)channels, from,
             from + (size_t)rows * channels * sizeof(float));
}

static void write_ranges(const struct survey *s, struct arena *a, const char *path)
{
    struct str header, data, file;
    str_init(&header, a);
    str_init(&data, a);
    str_init(&file, a);
    str_add(&header, "{");
    for (uint32_t k = 0; k < s->num_acts; k++) {
        const struct activation *act = &s->act[k];
        add_header(&header, act->node->layer, "range", 2, act->channels, data.len);
        for (uint32_t c = 0; c < 2 * act->channels; c++) {
            add_float(&data, c < act->channels ? act->min[c] : act->max[c - act->channels]);
        }
        add_header(&header, act->node->layer, "quantiles", NUM_SHARES, act->channels, data.len);
        for (uint32_t q = 0; q < NUM_SHARES; q++) {
            for (uint32_t c = 0; c < act->channels; c++) {
                add_float(&data, survey_quantile(act, c, shares[q]));
            }
        }
    }
    str_add(&header, "}");
    while (header.len % 8) {
        str_add(&header, " ");
    }
    uint64_t len = header.len; /* little-endian, like all that Weft runs on */
    str_addn(&file, (const char *)&len, sizeof len);
    str_addn(&file, header.s, header.len);
    str_addn(&file, data.s, data.len);
    file_write(path, file.s, file.len);
}

/* Beside the model: NAME.yaml -> NAME.ranges.safetensors */
static const char *default_path(struct arena *a, const char *input)
{
    const char *slash = strrchr(input, '/'), *dot = strrchr(input, '.');
    size_t len =
        dot && (!slash || dot > slash + 1) && dot != input ? (size_t)(dot - input) : strlen(input);
    return arena_printf(a, "%.*s.ranges.safetensors", (int)len, input);
}

int cmd_ranges(const struct cli *c)
{
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    uint32_t next;
    struct prog *p = driver_load(&d, &next);
    if (p->stage != STAGE_NN) {
        diag_fatal(NO_LOC, "%s is at stage %s: ranges are taken from a model file", c->input,
                   stage_name(p->stage));
    }
    struct images images = images_open(&p->model, c->images, c->limit);
    struct survey s = survey_network(p, &p->nodes);
    if (s.num_acts == 0) {
        diag_fatal(NO_LOC, "%s has no activation", c->input);
    }
    run_pictures(&s, p, &images);
    print_table(&s, &images);
    survey_warn(&s, images.len);
    write_ranges(&s, a, c->output ? c->output : default_path(a, c->input));
    arena_free(a);
    return 0;
}
