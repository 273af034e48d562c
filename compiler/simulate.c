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

int cmd_sim(const struct cli *c)
{
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    uint32_t next;
    struct prog *p = driver_load(&d, &next);
    struct images images = images_open(&p->model, c->images, c->limit);
    if (p->stage > c->stage) {
        diag_fatal(NO_LOC, "%s is at stage %s, past the stage %s that was asked for", c->input,
                   stage_name(p->stage), stage_name(c->stage));
    }
    p = driver_run(&d, p, next, driver_last_pass(c->stage));
    struct sim *s = sim_open(p);
    uint32_t outputs = p->model.num_outputs;
    double *x = arena_array(a, images.pixels, sizeof *x);
    double *result = arena_array(a, outputs, sizeof *result);
    double *clear = arena_array(a, outputs, sizeof *clear);
    struct tally t = {0};
    for (uint64_t i = 0; i < images.len; i++) {
        struct sim_options o = {.noise = c->noise, .seed = i};
        uint32_t label = images_get(&images, &p->model, i, x);
        sim_image(s, &o, x, result);
        sim_reference(p, x, clear);
        count(&t, label, result, clear, outputs);
    }
    sim_close(s);
    print_tally(&t, c->stage);
    driver_report(&d, p);
    arena_free(a);
    return 0;
}
