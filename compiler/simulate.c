/* SPDX-License-Identifier: Apache-2.0 */
/* weft sim: a model on plain numbers, at any stage, against the network itself. */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>

#include "backends.h"

struct tally {
    uint64_t images, right, clear_right, agree;
    double max_error;
};

static void normalise(const struct model *m, const uint8_t *bytes, double *x)
{
    size_t plane = (size_t)m->input[1] * m->input[2];
    for (uint32_t c = 0; c < m->input[0]; c++) {
        for (size_t i = 0; i < plane; i++) {
            double raw = m->range[0] + bytes[c * plane + i] / 255.0 * (m->range[1] - m->range[0]);
            x[c * plane + i] = (raw - m->mean[c]) / m->std[c];
        }
    }
}

static uint32_t largest(const double *v, uint32_t len)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < len; i++) {
        best = v[i] > v[best] ? i : best;
    }
    return best;
}

static void count(struct tally *t, uint32_t label, const double *result, const double *clear,
                  uint32_t len)
{
    uint32_t top = largest(result, len), clear_top = largest(clear, len);
    t->images++;
    t->right += top == label;
    t->clear_right += clear_top == label;
    t->agree += top == clear_top;
    for (uint32_t i = 0; i < len; i++) {
        t->max_error = fmax(t->max_error, fabs(result[i] - clear[i]));
    }
}

static double percent(uint64_t part, uint64_t all)
{
    return 100.0 * (double)part / (double)all;
}

static void print_tally(const struct tally *t, enum stage s)
{
    printf("images      %" PRIu64 ", stage %s\n", t->images, stage_name(s));
    printf(
        "top-1       %" PRIu64 " (%.2f %%); the network on plain numbers: %" PRIu64 " (%.2f %%)\n",
        t->right, percent(t->right, t->images), t->clear_right, percent(t->clear_right, t->images));
    printf("agreement   %" PRIu64 " (%.2f %%)\n", t->agree, percent(t->agree, t->images));
    printf("difference  %.3g at most, in any of the results\n", t->max_error);
}

/* Whole records only: one label byte, then the bytes of the picture. */
static uint64_t open_images(const struct cli *c, size_t record, struct mapped_file *m)
{
    const char *why;
    if (!file_map(c->images, m, &why)) {
        diag_fatal(NO_LOC, "%s: %s", c->images, why);
    }
    if (m->size == 0 || m->size % record != 0) {
        diag_fatal(
            NO_LOC,
            "%s: %zu bytes are not a whole number of records of %zu bytes (label and picture)",
            c->images, m->size, record);
    }
    uint64_t n = m->size / record;
    return c->limit && (uint64_t)c->limit < n ? (uint64_t)c->limit : n;
}

int cmd_sim(const struct cli *c)
{
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    uint32_t next;
    struct prog *p = driver_load(&d, &next);
    const struct model *m = &p->model;
    size_t pixels = (size_t)m->input[0] * m->input[1] * m->input[2];
    struct mapped_file images;
    uint64_t num = open_images(c, pixels + 1, &images);
    if (p->stage > c->stage) {
        diag_fatal(NO_LOC, "%s is at stage %s, past the stage %s that was asked for", c->input,
                   stage_name(p->stage), stage_name(c->stage));
    }
    p = driver_run(&d, p, next, driver_last_pass(c->stage));
    m = &p->model;
    struct sim *s = sim_open(p);
    double *x = arena_array(a, pixels, sizeof *x);
    double *result = arena_array(a, m->num_outputs, sizeof *result),
           *clear = arena_array(a, m->num_outputs, sizeof *clear);
    struct tally t = {0};
    for (uint64_t i = 0; i < num; i++) {
        const uint8_t *record = images.data + i * (pixels + 1);
        struct sim_options o = {.noise = c->noise, .seed = i};
        normalise(m, record + 1, x);
        sim_image(s, &o, x, result);
        sim_reference(p, x, clear);
        count(&t, record[0], result, clear, m->num_outputs);
    }
    sim_close(s);
    print_tally(&t, c->stage);
    driver_report(&d, p);
    arena_free(a);
    return 0;
}
