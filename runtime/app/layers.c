/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <stdlib.h>
#include <string.h>

/*
 * The measured time of every layer beside the prediction. The runtime calls back before each layer, so a
 * layer ends where the next begins, and the last one with the inference: the result's file is written then.
 */

bool rt_app_layers_open(struct rt_app_layers *l, const struct rt_app *app)
{
    *l = (struct rt_app_layers){.program = app->program, .row = UINT32_MAX};
    if (!(app->given & RT_APP_LAYERS))
        return true;
    l->seconds = calloc((size_t)app->program->num_rows + 1, sizeof *l->seconds);
    return l->seconds != NULL;
}

void rt_app_layers_close(struct rt_app_layers *l)
{
    free(l->seconds);
    l->seconds = NULL;
}

static void stop(struct rt_app_layers *l, double now)
{
    if (l->row < l->program->num_rows)
        l->seconds[l->row] += now - l->since;
    l->row = UINT32_MAX;
}

void rt_app_layers_next(struct rt_app_layers *l, const struct rt_layer *layer)
{
    if (!l->seconds)
        return;
    double now = rt_app_seconds();
    stop(l, now);
    l->row = layer->row;
    l->since = now;
}

void rt_app_layers_end(struct rt_app_layers *l)
{
    if (!l->seconds)
        return;
    stop(l, rt_app_seconds());
    l->images++;
}

/* Milliseconds an image */
static double measured(const struct rt_app_layers *l, uint32_t row)
{
    return l->images ? 1e3 * l->seconds[row] / (double)l->images : 0;
}

/* Milliseconds of an image, with what of it is kept */
static double predicted_of(const struct rt_app_layers *l, uint32_t row)
{
    const struct rt_row *r = &l->program->rows[row];
    return 1e-6 * (r->predicted_ns + (1 - l->kept.kept_keys) * r->keys_ns +
                   (1 - l->kept.kept_plaintexts) * r->plaintexts_ns);
}

/* The same table as `weft estimate` prints, with two columns more */
static void print_row(const struct rt_app_layers *l, uint32_t i, int width)
{
    const struct rt_row *r = &l->program->rows[i];
    char level[32];
    double predicted = predicted_of(l, i);
    snprintf(level, sizeof level, "%d>%d", (int)r->level_in, (int)r->level_out);
    printf("%s%-*s %5u %9.2f %9.2f", r->name, width - (int)strlen(r->name),
           r->bootstrap ? " bootstrap" : "", r->line, predicted, measured(l, i));
    if (predicted > 0)
        printf(" %6.2f", measured(l, i) / predicted);
    else
        printf(" %6s", "");
    printf(" %7s %6.1f %6u %6u %6u %6u", level, r->scale_bits, r->rotations, r->key_switches,
           r->decompositions, r->plain_products);
    if (r->bootstrap)
        printf(" %6s %6s %5s %3u\n", "", "", "", r->ciphertexts);
    else
        printf(" %6u %6u %4.0f%% %3u\n", r->offsets, r->period, 100 * r->fill, r->ciphertexts);
}

void rt_app_layers_print(const struct rt_app_layers *l, int threads)
{
    const struct rt_program *p = l->program;
    int width = 5;
    double predicted = 0, all = 0;
    for (uint32_t i = 0; i < p->num_rows; i++) {
        int length = (int)strlen(p->rows[i].name) + (p->rows[i].bootstrap ? 10 : 0);
        width = length > width ? length : width;
        predicted += predicted_of(l, i);
        all += measured(l, i);
    }
    printf("%-*s %5s %9s %9s %6s %7s %6s %6s %6s %6s %6s %6s %6s %5s %3s\n", width, "layer", "line",
           "predicted", "ms", "ratio", "level", "scale", "rot", "keysw", "decomp", "prod", "offs",
           "period", "fill", "ct");
    for (uint32_t i = 0; i < p->num_rows; i++)
        print_row(l, i, width);
    printf("%-*s %5s %9.2f %9.2f %6.2f  predicted for one thread, measured with %d\n\n", width,
           "all", "", predicted, all, predicted > 0 ? all / predicted : 0, threads);
}

json_t *rt_app_layers_json(const struct rt_app_layers *l)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < l->program->num_rows; i++) {
        const struct rt_row *r = &l->program->rows[i];
        json_t *row = json_pack(
            "{s:s, s:i, s:b, s:f, s:f, s:i, s:i, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f}",
            "layer", r->name, "line", (int)r->line, "bootstrap", (int)r->bootstrap,
            "predicted_seconds", 1e-3 * predicted_of(l, i), "seconds", 1e-3 * measured(l, i),
            "level_in", (int)r->level_in, "level_out", (int)r->level_out, "scale_bits",
            r->scale_bits, "rotations", (int)r->rotations, "key_switches", (int)r->key_switches,
            "decompositions", (int)r->decompositions, "plaintext_products", (int)r->plain_products,
            "offsets", (int)r->offsets, "period", (int)r->period, "ciphertexts",
            (int)r->ciphertexts, "slot_fill", r->fill);
        json_array_append_new(list, row);
    }
    return list;
}
