/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges of bootstraps: what the network's values reach on sample pictures. */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>

#include "backends.h"
#include "passes.h"

/*
 * A bootstrap is exact for |value| <= range; beyond, the sine that takes the multiples of q_0 away bends.
 * What samples reach is taken twice, and the next power of two, so that small changes of the samples
 * change nothing. A larger range costs precision (a bit for each factor of two), not time.
 */
enum { SAMPLES = 16, MARGIN = 2 };
#define MOST_RANGE  0x1p30
#define LEAST_RANGE 0x1p-4 /* below it, the rounding of the data scale is what counts */

struct reached {
    double *max; /* [nodes.len] of the values of bootstraps */
};

static void look(void *ctx, uint32_t index, const struct node *n, const double *value, size_t len)
{
    struct reached *r = ctx;
    if (n->op != OP_bootstrap) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        /* NaN, too, is a range that cannot be, and stays; so the order of images is no matter */
        if (!isnan(r->max[index]) && !(fabs(value[i]) <= r->max[index])) {
            r->max[index] = fabs(value[i]);
        }
    }
}

static bool lacks_range(const struct node *n)
{
    /* what is seen here are real parts */
    return n->op == OP_bootstrap && !node_attr(n, KEY_range) && !node_attr(n, KEY_complex);
}

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static void random_picture(const struct model *m, uint64_t *state, double *x)
{
    size_t plane = (size_t)m->input[1] * m->input[2];
    for (uint32_t c = 0; c < m->input[0]; c++) {
        for (size_t k = 0; k < plane; k++) {
            double raw = m->range[0] + uniform(state) * (m->range[1] - m->range[0]);
            x[c * plane + k] = (raw - m->mean[c]) / m->std[c];
        }
    }
}

const double **sample_pictures(const struct driver *d, const struct model *m, uint32_t most,
                               uint32_t *count)
{
    const char *path = d->cli->images;
    size_t pixels = (size_t)m->input[0] * m->input[1] * m->input[2];
    const double **picture = arena_array(d->a, most, sizeof *picture);
    struct images images = {.len = most};
    if (path) {
        images = images_open(m, path, most);
    }
    uint64_t state = 0x57454654; /* the same pictures every time */
    for (uint64_t i = 0; i < images.len; i++) {
        double *x = arena_array(d->a, pixels, sizeof *x);
        if (path) {
            images_get(&images, m, i, x);
        } else {
            random_picture(m, &state, x);
        }
        picture[i] = x;
    }
    *count = (uint32_t)images.len;
    return picture;
}

static void run_samples(const struct driver *d, struct prog *p, struct reached *r)
{
    uint32_t count;
    const double **picture = sample_pictures(d, &p->model, SAMPLES, &count);
    double **result = arena_array(d->a, count, sizeof *result);
    for (uint32_t i = 0; i < count; i++) {
        result[i] = arena_array(d->a, p->model.num_outputs, sizeof *result[i]);
    }
    struct sim_options o = {.hook = look, .ctx = r, .any_order = true};
    struct sim *s = sim_open(p);
    sim_images(s, &o, picture, result, count);
    sim_close(s);
}

/* The ciphertexts of one tensor, which have one layer, get one range, so that they share a function. */
static double reached_in_layer(const struct prog *p, const struct reached *r, const char *layer)
{
    double max = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        if (lacks_range(&p->nodes.at[i]) && p->nodes.at[i].layer == layer) {
            max = r->max[i] <= max || isnan(max) ? max : r->max[i];
        }
    }
    return max;
}

void calibrate(const struct driver *d, struct prog *p)
{
    bool any = false;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        any = any || lacks_range(&p->nodes.at[i]);
    }
    if (!any) {
        return;
    }
    struct reached r = {arena_array(d->a, p->nodes.len, sizeof *r.max)};
    double *range = arena_array(d->a, p->nodes.len, sizeof *range);
    bool invented = weights_are_invented(p->weights), guessed = false;
    if (!invented) {
        run_samples(d, p, &r);
    }
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (!lacks_range(n)) {
            continue;
        }
        double max = reached_in_layer(p, &r, n->layer);
        if (d->cli->estimate && (invented || (!d->cli->images && !(max <= MOST_RANGE)))) {
            range[i] = 1; /* sizes and times hardly depend on it */
            guessed = guessed || !invented;
            continue;
        }
        if (!(max <= MOST_RANGE)) {
            diag_fatal(n->loc, "layer '%s': values reach %.3g on %s, which no bootstrap carries%s",
                       n->layer, max, d->cli->images ? "the sample pictures" : "random pictures",
                       d->cli->images ? "" : "; give pictures of the right kind with --images");
        }
        range[i] = max > LEAST_RANGE / MARGIN ? exp2(ceil(log2(MARGIN * max))) : LEAST_RANGE;
    }
    if (guessed) {
        diag_warning(NO_LOC,
                     "random pictures leave the range of the polynomials: bootstraps are planned "
                     "for values up to 1; give pictures with --images");
    }
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        struct node *n = &p->nodes.at[i];
        if (!lacks_range(n)) {
            continue;
        }
        node_set_real(p, n, KEY_range, range[i]);
        if (d->cli->opts.explain && !invented) {
            diag_note(n->loc, "bootstrap after layer '%s': values reach %.3g on %s; range %g",
                      n->layer, r.max[i],
                      d->cli->images ? "the sample pictures" : "random pictures", range[i]);
        }
    }
}
