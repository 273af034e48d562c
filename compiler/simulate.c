/* SPDX-License-Identifier: Apache-2.0 */
/* weft sim: a model on plain numbers, at any stage, against the network itself. */
#include "compiler.h"

#include <inttypes.h>

#include "backends.h"

static void print_tally(const struct score *t, enum stage s)
{
    printf("images      %" PRIu64 ", stage %s\n", t->images, stage_name(s));
    printf("top-1       %" PRIu64 " (%.2f %%); the network on plain numbers: %" PRIu64
           " (%.2f %%)\n",
           t->right, score_percent(t->right, t->images), t->clear_right,
           score_percent(t->clear_right, t->images));
    printf("agreement   %" PRIu64 " (%.2f %%)\n", t->agree, score_percent(t->agree, t->images));
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
    p = c->stage == STAGE_CKKS ? driver_compile(&d, p, next)
                               : driver_run(&d, p, next, driver_last_pass(c->stage));
    struct sim *s = sim_open(p), *plain = sim_open_network(p, sim_reference_nodes(p));
    uint32_t outputs = p->model.num_outputs;
    double *x = arena_array(a, images.pixels, sizeof *x);
    double *result = arena_array(a, outputs, sizeof *result);
    double *clear = arena_array(a, outputs, sizeof *clear);
    struct score t = {0};
    for (uint64_t i = 0; i < images.len; i++) {
        struct sim_options o = {.noise = c->noise, .seed = i};
        uint32_t label = images_get(&images, &p->model, i, x);
        sim_image(s, &o, x, result);
        sim_image(plain, NULL, x, clear);
        score_add(&t, label, result, clear, outputs);
    }
    sim_close(s);
    sim_close(plain);
    print_tally(&t, c->stage);
    driver_report(&d, p);
    arena_free(a);
    return 0;
}
