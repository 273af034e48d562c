/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

/*
 * Ops of the slot and ckks stages on vectors of n slots, and those that all stages share. A vector
 * shorter than the result repeats. At ckks a value is what its slots decrypt to: key switching and
 * changes of level or scale leave it as it is (noise.c adds what they do to it in truth).
 *
 * Values are complex; where no imaginary part was ever made there is no array for it, so that programs
 * that do not bootstrap cost what real ones do.
 */

#include <string.h>

/* Values of type TENSOR have equal lengths, so that repeating changes nothing there. */
static void accumulate(double *y, size_t len, const double *x, size_t x_len, double sign)
{
    for (size_t k = 0; k < len; k++)
        y[k] += sign * x[k % x_len];
}

static const struct layout *layout_of(const struct sim *s, const struct node *n)
{
    uint32_t id = node_ref_or_none(n, KEY_layout);
    if (id == NONE)
        diag_fatal(n->loc, "%s of a %s program needs a layout", op_info[n->op].name,
                   stage_name(s->p->stage));
    return &s->p->layouts[id];
}

/* Adds sign times operand k to the result, imaginary parts too. */
static void add_arg(struct sim *s, uint32_t i, uint32_t k, double sign)
{
    const struct node *n = sim_node(s, i);
    size_t len = sim_value_len(&n->type), x_len = sim_value_len(sim_arg_type(s, n, k));
    accumulate(s->value[i], len, sim_arg(s, n, k), x_len, sign);
    if (sim_arg_imag(s, n, k))
        accumulate(sim_imag(s, i), len, sim_arg_imag(s, n, k), x_len, sign);
}

void sim_op_input(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    size_t len = sim_value_len(&n->type);
    if (s->caller) {
        const struct node *call = sim_node(s->caller, s->call);
        size_t x_len = sim_value_len(sim_arg_type(s->caller, call, 0));
        accumulate(y, len, sim_arg(s->caller, call, 0), x_len, 1);
        if (sim_arg_imag(s->caller, call, 0))
            accumulate(sim_imag(s, i), len, sim_arg_imag(s->caller, call, 0), x_len, 1);
        return;
    }
    if (n->type.kind == KIND_TENSOR) {
        memcpy(y, s->image, len * sizeof *y);
        return;
    }
    const struct layout *l = layout_of(s, n);
    const uint32_t *shape = s->p->model.input;
    if ((size_t)l->c * l->h * l->w != (size_t)shape[0] * shape[1] * shape[2])
        diag_fatal(n->loc, "the input's layout does not fit the model's %ux%ux%u elements",
                   shape[0], shape[1], shape[2]);
    struct arena_mark mark = arena_mark(s->arena);
    double *cts = arena_array(s->arena, (size_t)l->num_ct * l->n, sizeof *cts);
    layout_pack(l, s->image, cts);
    accumulate(y, len, cts + (size_t)node_int_or(n, KEY_part, 0) * l->n, l->n, 1);
    arena_release(s->arena, mark);
}

void sim_op_output(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    size_t done = 0, want = s->p->model.num_outputs;
    if (s->caller) {
        size_t len = sim_value_len(sim_arg_type(s, n, 0));
        memcpy(sim_result(s->caller, s->call), sim_arg(s, n, 0), len * sizeof(double));
        if (sim_arg_imag(s, n, 0))
            memcpy(sim_imag(s->caller, s->call), sim_arg_imag(s, n, 0), len * sizeof(double));
        return;
    }
    if (sim_arg_type(s, n, 0)->kind == KIND_TENSOR) {
        for (uint32_t k = 0; k < n->num_args; k++) {
            size_t len = sim_value_len(sim_arg_type(s, n, k));
            if (len > want - done)
                diag_fatal(n->loc, "the output has more than the model's %zu elements", want);
            memcpy(s->result + done, sim_arg(s, n, k), len * sizeof *s->result);
            done += len;
        }
        return;
    }
    const struct layout *l = layout_of(s, n);
    if ((size_t)l->c * l->h * l->w != want || n->num_args != l->num_ct)
        diag_fatal(n->loc, "the output's layout does not fit the model's %zu elements", want);
    struct arena_mark mark = arena_mark(s->arena);
    double *cts = arena_array(s->arena, (size_t)l->num_ct * l->n, sizeof *cts);
    for (uint32_t k = 0; k < n->num_args; k++)
        accumulate(cts + (size_t)k * l->n, l->n, sim_arg(s, n, k),
                   sim_value_len(sim_arg_type(s, n, k)), 1);
    layout_unpack(l, cts, s->result);
    arena_release(s->arena, mark);
}

void sim_op_add(struct sim *s, uint32_t i)
{
    sim_result(s, i);
    for (uint32_t k = 0; k < sim_node(s, i)->num_args; k++)
        add_arg(s, i, k, 1);
    sim_real(s, i); /* x + conj(x) */
}

void sim_op_sub(struct sim *s, uint32_t i)
{
    sim_result(s, i);
    add_arg(s, i, 0, 1);
    add_arg(s, i, 1, -1);
    sim_real(s, i);
}

/* y += sign * a * b, elementwise; vectors repeat, NULL is zero */
static void add_product(double *y, size_t len, const double *a, size_t a_len, const double *b,
                        size_t b_len, double sign)
{
    for (size_t k = 0; a && b && k < len; k++)
        y[k] += sign * a[k % a_len] * b[k % b_len];
}

/* value[i] += a * b of complex vectors */
static void add_complex_product(struct sim *s, uint32_t i, const double *a, const double *a_imag,
                                size_t a_len, const double *b, const double *b_imag, size_t b_len)
{
    size_t len = sim_value_len(&sim_node(s, i)->type);
    add_product(s->value[i], len, a, a_len, b, b_len, 1);
    if (!a_imag && !b_imag)
        return;
    add_product(s->value[i], len, a_imag, a_len, b_imag, b_len, -1);
    add_product(sim_imag(s, i), len, a, a_len, b_imag, b_len, 1);
    add_product(sim_imag(s, i), len, a_imag, a_len, b, b_len, 1);
}

void sim_op_mul(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    sim_result(s, i);
    add_complex_product(s, i, sim_arg(s, n, 0), sim_arg_imag(s, n, 0),
                        sim_value_len(sim_arg_type(s, n, 0)), sim_arg(s, n, 1),
                        sim_arg_imag(s, n, 1), sim_value_len(sim_arg_type(s, n, 1)));
}

/* y += the rectangles of one diagonal on x */
static void add_rects(double *y, size_t n_out, const double *x, size_t n_in,
                      const struct diagonal *g, const double *w)
{
    for (uint32_t t = 0; t < g->num_rects; t++) {
        const struct rect *e = &g->rects[t];
        for (uint32_t r = 0; r < e->rows; r++)
            for (uint32_t c = 0; c < e->cols; c++) {
                size_t step = (size_t)r * e->row_step + (size_t)c * e->col_step;
                y[(e->out_slot + step) % n_out] += w[e->weight] * x[(e->in_slot + step) % n_in];
            }
    }
}

void sim_op_lin(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    uint32_t map = (uint32_t)node_int(n, KEY_map);
    const struct lmap *m = &s->p->maps[map];
    const struct diagonals *d = &s->lin[map];
    size_t n_out = sim_value_len(&n->type);
    double *y = sim_result(s, i);
    if (m->dft.first != 0) {
        add_arg(s, i, 0, 1);
        dft_apply(&m->dft, n->type.n, y, sim_imag(s, i));
        return;
    }
    for (uint32_t k = 0; k < d->len; k++) {
        const struct diagonal *g = &d->at[k];
        if (g->out_ct != node_int(n, KEY_out))
            continue;
        const double *w = const_values(s->p, m->term[g->term].weight);
        size_t n_in = sim_value_len(sim_arg_type(s, n, g->in_ct));
        add_rects(y, n_out, sim_arg(s, n, g->in_ct), n_in, g, w);
        if (sim_arg_imag(s, n, g->in_ct))
            add_rects(sim_imag(s, i), n_out, sim_arg_imag(s, n, g->in_ct), n_in, g, w);
    }
}

/* y[k] = x[k + by] */
static void rotate(double *y, const double *x, size_t n, int64_t by)
{
    int64_t len = (int64_t)n, shift = (by % len + len) % len;
    memcpy(y, x + shift, (size_t)(len - shift) * sizeof *y);
    memcpy(y + (len - shift), x, (size_t)shift * sizeof *y);
}

static void rotate_arg(struct sim *s, uint32_t i, uint32_t k, int64_t by)
{
    const struct node *n = sim_node(s, i);
    size_t len = sim_value_len(&n->type);
    rotate(sim_result(s, i), sim_arg(s, n, k), len, by);
    if (sim_arg_imag(s, n, k))
        rotate(sim_imag(s, i), sim_arg_imag(s, n, k), len, by);
}

void sim_op_rot(struct sim *s, uint32_t i)
{
    rotate_arg(s, i, 0, node_int(sim_node(s, i), KEY_by));
}

void sim_op_pmac(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    size_t plain_len = s->work_slots[node_int(n, KEY_map)];
    sim_result(s, i);
    for (uint32_t k = 0; k < n->num_args; k++)
        add_complex_product(s, i, s->plain[i] + k * plain_len,
                            s->plain_imag[i] ? s->plain_imag[i] + k * plain_len : NULL, plain_len,
                            sim_arg(s, n, k), sim_arg_imag(s, n, k),
                            sim_value_len(sim_arg_type(s, n, k)));
}

void sim_op_padd(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    add_arg(s, i, 0, 1);
    accumulate(y, sim_value_len(&n->type), s->plain[i], s->p->layouts[node_int(n, KEY_layout)].n,
               1);
}

static void conjugate(struct sim *s, uint32_t i)
{
    size_t len = sim_value_len(&sim_node(s, i)->type);
    for (size_t k = 0; s->imag[i] && k < len; k++)
        s->imag[i][k] = -s->imag[i][k];
}

void sim_op_conj(struct sim *s, uint32_t i)
{
    rotate_arg(s, i, 0, 0);
    conjugate(s, i);
}

void sim_op_key_mul(struct sim *s, uint32_t i)
{
    rotate_arg(s, i, 1, node_int_or(sim_node(s, i), KEY_by, 0));
    if (node_attr(sim_node(s, i), KEY_conjugate))
        conjugate(s, i);
}

void sim_op_raised_mul(struct sim *s, uint32_t i)
{
    rotate_arg(s, i, 0, node_int_or(sim_node(s, i), KEY_by, 0));
}

void sim_op_comb(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *factors = node_attr(n, KEY_factors)->v.reals;
    double *y = sim_result(s, i);
    for (size_t k = 0; k < sim_value_len(&n->type); k++)
        y[k] = node_real(n, KEY_constant);
    for (uint32_t k = 0; k < n->num_args; k++)
        add_arg(s, i, k, factors[k]);
    sim_real(s, i);
}

void sim_op_add_scalar(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    add_arg(s, i, 0, 1);
    for (size_t k = 0; k < sim_value_len(&n->type); k++)
        y[k] += node_real(n, KEY_constant);
}

void sim_op_relabel(struct sim *s, uint32_t i)
{
    sim_result(s, i);
    add_arg(s, i, 0, node_real(sim_node(s, i), KEY_gain));
}

/* i (a + b i) = -b + a i */
void sim_op_times_i(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    size_t len = sim_value_len(&n->type), x_len = sim_value_len(sim_arg_type(s, n, 0));
    double *y = sim_result(s, i);
    accumulate(sim_imag(s, i), len, sim_arg(s, n, 0), x_len, 1);
    if (sim_arg_imag(s, n, 0))
        accumulate(y, len, sim_arg_imag(s, n, 0), x_len, -1);
}

/* ---- the same value ------------------------------------------------------------------------- */

#define SAME_VALUE(name)                                                                           \
    void sim_op_##name(struct sim *s, uint32_t i)                                                  \
    {                                                                                              \
        rotate_arg(s, i, 0, 0);                                                                    \
    }
SAME_VALUE(bootstrap)
SAME_VALUE(decompose)
SAME_VALUE(encapsulate)
SAME_VALUE(lift)
SAME_VALUE(mod_down)
SAME_VALUE(rescale)
SAME_VALUE(drop_to)
SAME_VALUE(raise_scale)
