/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ciphertexts of a finished program are which parts of the tensors of the network that
 * lower_nn_slot packed. Passes rewrite, merge and move nodes without keeping account of this, so it is
 * found by value: program and network run on the same pictures, and a ciphertext whose slots are those
 * of a packed tensor is that tensor. Slots hold real numbers that no other tensor has by chance.
 *
 * How wrong a ciphertext may be is what the noise simulation says, on the same pictures.
 */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backends.h"

/* ALIKE is far above what a bootstrap's sine bends, and far below the difference of two tensors. */
enum { PICTURES = 3, MARGIN = 8 };
#define ALIKE      1e-3
#define LEAST_PART 1e-9 /* of the largest value: budgets are not below it */

struct tensor {
    double *slots; /* [num_ct][n], packed, or NULL: no tensor */
    double max;    /* largest |value| */
    const struct layout *layout;
};

struct finder {
    struct prog *p;
    const struct nodes *nodes; /* the packed network */
    struct tensor *tensor;     /* [nodes->len] */
    struct found {
        uint32_t tensor, part; /* NONE: none that is alike */
        double error;          /* largest, of all pictures */
    } * found;                 /* [p->nodes.len] */
};

static void keep_tensor(void *ctx, uint32_t index, const struct node *n, const double *value,
                        size_t len)
{
    struct tensor *t = &((struct finder *)ctx)->tensor[index];
    (void)n;
    if (t->slots) {
        layout_pack(t->layout, value, t->slots);
        t->max = 0;
        for (size_t i = 0; i < len; i++) {
            t->max = fabs(value[i]) <= t->max ? t->max : fabs(value[i]);
        }
    }
}

/* Largest difference of n slots from a part of a tensor; infinite as soon as it is above `most` */
static double difference(const struct tensor *t, uint32_t part, const double *value, size_t n,
                         double most)
{
    size_t period = t->layout->n, len = n > period ? n : period;
    const double *want = t->slots + (size_t)part * period;
    double worst = 0;
    for (size_t k = 0; k < len; k++) {
        double d = fabs(value[k % n] - want[k % period]);
        if (!(d <= most)) {
            return INFINITY;
        }
        worst = fmax(worst, d);
    }
    return worst;
}

/* Exact run on the first picture: the tensor that is most alike */
static void match(void *ctx, uint32_t index, const struct node *n, const double *value, size_t len)
{
    struct finder *f = ctx;
    double best = INFINITY;
    if (n->type.kind != KIND_CT || n->op == OP_drop_to || n->op == OP_input) {
        return;
    }
    for (uint32_t i = 0; i < f->nodes->len; i++) {
        const struct tensor *t = &f->tensor[i];
        for (uint32_t part = 0; t->slots && t->max > 0 && part < t->layout->num_ct; part++) {
            double most = fmin(best, ALIKE * t->max);
            double d = difference(t, part, value, len, most);
            if (d < best) {
                best = d;
                f->found[index] = (struct found){i, part, 0};
            }
        }
    }
}

/* Noisy run: how far from the tensor. Exact runs on more pictures, with `most`, confirm the match. */
static void measure(struct finder *f, uint32_t index, const double *value, size_t len, double most)
{
    struct found *found = &f->found[index];
    if (found->tensor == NONE) {
        return;
    }
    const struct tensor *t = &f->tensor[found->tensor];
    double d = difference(t, found->part, value, len, most * t->max);
    if (isinf(d)) {
        found->tensor = NONE;
    } else {
        found->error = fmax(found->error, fmax(d, LEAST_PART * t->max));
    }
}

static void confirm(void *ctx, uint32_t index, const struct node *n, const double *value,
                    size_t len)
{
    (void)n;
    measure(ctx, index, value, len, ALIKE);
}

static void spread(void *ctx, uint32_t index, const struct node *n, const double *value, size_t len)
{
    (void)n;
    measure(ctx, index, value, len, 1);
}

static void run_picture(struct finder *f, struct sim *program, struct sim *network,
                        const double *picture, uint32_t number, double *result)
{
    struct sim_options keep = {.hook = keep_tensor, .ctx = f};
    struct sim_options exact = {.hook = number == 0 ? match : confirm, .ctx = f};
    struct sim_options noisy = {.noise = true, .seed = number, .hook = spread, .ctx = f};
    sim_image(network, &keep, picture, result);
    sim_image(program, &exact, picture, result);
    sim_image(program, &noisy, picture, result);
}

static void set_points(struct finder *f)
{
    struct prog *p = f->p;
    p->points = arena_array(p->arena, p->nodes.len, sizeof *p->points);
    p->num_points = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct found *found = &f->found[i];
        if (found->tensor != NONE) {
            p->points[p->num_points++] =
                (struct check_point){i, found->tensor, found->part, MARGIN * found->error};
        }
    }
}

void find_checkpoints(const struct driver *d, struct prog *p)
{
    if (p->packed.len == 0) {
        diag_fatal(
            NO_LOC,
            "%s does not carry what --check compares with: begin with the model file, or with a "
            "text that was written with --check",
            d->cli->input);
    }
    struct arena *a = arena_new();
    struct finder f = {.p = p,
                       .nodes = &p->packed,
                       .tensor = arena_array(a, p->packed.len, sizeof *f.tensor),
                       .found = arena_array(a, p->nodes.len, sizeof *f.found)};
    memset(f.found, 0xff, p->nodes.len * sizeof *f.found);
    for (uint32_t i = 0; i < p->packed.len; i++) {
        const struct type *t = &p->packed.at[i].type;
        if (t->kind == KIND_TENSOR && t->layout != NONE) {
            f.tensor[i].layout = &p->layouts[t->layout];
            f.tensor[i].slots =
                arena_array(a, (size_t)f.tensor[i].layout->num_ct * f.tensor[i].layout->n,
                            sizeof *f.tensor[i].slots);
        }
    }
    double *result = arena_array(a, p->model.num_outputs, sizeof *result);
    uint32_t count;
    const double **picture = sample_pictures(d, &p->model, PICTURES, &count);
    struct sim *program = sim_open(p), *network = sim_open_network(p, &p->packed);
    for (uint32_t i = 0; i < count; i++) {
        run_picture(&f, program, network, picture[i], i, result);
    }
    sim_close(program);
    sim_close(network);
    set_points(&f);
    arena_free(a);
    if (p->num_points == 0) {
        diag_fatal(NO_LOC, "--check: no layer's values are found%s",
                   d->cli->images ? "" : " on random pictures: give real ones with --images");
    }
}
