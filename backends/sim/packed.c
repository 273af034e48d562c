/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

/*
 * Ops of the slot and ckks stages on vectors of n slots, and those that all stages share. A vector
 * shorter than the result repeats. At ckks a value is what its slots decrypt to: key switching and
 * changes of level or scale leave it as it is (noise.c adds what they do to it in truth).
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

void sim_op_input(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    size_t len = sim_value_len(&n->type);
    if (n->type.kind == KIND_TENSOR) {
        memcpy(y, s->image, len * sizeof *y);
        return;
    }
    const struct layout *l = layout_of(s, n);
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
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    for (uint32_t k = 0; k < n->num_args; k++)
        accumulate(y, sim_value_len(&n->type), sim_arg(s, n, k),
                   sim_value_len(sim_arg_type(s, n, k)), 1);
}

void sim_op_sub(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    for (uint32_t k = 0; k < 2; k++)
        accumulate(y, sim_value_len(&n->type), sim_arg(s, n, k),
                   sim_value_len(sim_arg_type(s, n, k)), k ? -1 : 1);
}

void sim_op_mul(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *a = sim_arg(s, n, 0), *b = sim_arg(s, n, 1);
    size_t len = sim_value_len(&n->type);
    size_t a_len = sim_value_len(sim_arg_type(s, n, 0)),
           b_len = sim_value_len(sim_arg_type(s, n, 1));
    double *y = sim_result(s, i);
    for (size_t k = 0; k < len; k++)
        y[k] = a[k % a_len] * b[k % b_len];
}

void sim_op_lin(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    uint32_t map = (uint32_t)node_int(n, KEY_map);
    const struct lmap *m = &s->p->maps[map];
    const struct diagonals *d = &s->lin[map];
    size_t n_out = sim_value_len(&n->type);
    double *y = sim_result(s, i);
    for (uint32_t k = 0; k < d->len; k++) {
        const struct diagonal *g = &d->at[k];
        if (g->out_ct != node_int(n, KEY_out))
            continue;
        const double *w = const_values(s->p, m->term[g->term].weight);
        const double *x = sim_arg(s, n, g->in_ct);
        size_t n_in = sim_value_len(sim_arg_type(s, n, g->in_ct));
        for (uint32_t t = 0; t < g->num_rects; t++) {
            const struct rect *e = &g->rects[t];
            for (uint32_t r = 0; r < e->rows; r++)
                for (uint32_t c = 0; c < e->cols; c++) {
                    size_t step = (size_t)r * e->row_step + (size_t)c * e->col_step;
                    y[(e->out_slot + step) % n_out] += w[e->weight] * x[(e->in_slot + step) % n_in];
                }
        }
    }
}

/* y[k] = x[k + by] */
static void rotate(double *y, const double *x, size_t n, int64_t by)
{
    int64_t len = (int64_t)n, shift = (by % len + len) % len;
    memcpy(y, x + shift, (size_t)(len - shift) * sizeof *y);
    memcpy(y + (len - shift), x, (size_t)shift * sizeof *y);
}

void sim_op_rot(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *x = sim_arg(s, n, 0);
    rotate(sim_result(s, i), x, sim_value_len(&n->type), node_int(n, KEY_by));
}

void sim_op_pmac(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *plain = s->plain[i];
    size_t len = sim_value_len(&n->type), plain_len = s->work_slots[node_int(n, KEY_map)];
    double *y = sim_result(s, i);
    for (uint32_t k = 0; k < n->num_args; k++, plain += plain_len) {
        const double *x = sim_arg(s, n, k);
        size_t x_len = sim_value_len(sim_arg_type(s, n, k));
        for (size_t j = 0; j < len; j++)
            y[j] += plain[j % plain_len] * x[j % x_len];
    }
}

void sim_op_padd(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    size_t len = sim_value_len(&n->type);
    double *y = sim_result(s, i);
    accumulate(y, len, sim_arg(s, n, 0), sim_value_len(sim_arg_type(s, n, 0)), 1);
    accumulate(y, len, s->plain[i], s->p->layouts[node_int(n, KEY_layout)].n, 1);
}

static void same_value(struct sim *s, uint32_t i, uint32_t arg)
{
    const struct node *n = sim_node(s, i);
    const double *x = sim_arg(s, n, arg);
    memcpy(sim_result(s, i), x, sim_value_len(&n->type) * sizeof *x);
}

void sim_op_decompose(struct sim *s, uint32_t i)
{
    same_value(s, i, 0);
}

void sim_op_key_mul(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *x = sim_arg(s, n, 1);
    rotate(sim_result(s, i), x, sim_value_len(&n->type), node_int_or(n, KEY_by, 0));
}

void sim_op_lift(struct sim *s, uint32_t i)
{
    same_value(s, i, 0);
}

void sim_op_mod_down(struct sim *s, uint32_t i)
{
    same_value(s, i, 0);
}

void sim_op_rescale(struct sim *s, uint32_t i)
{
    same_value(s, i, 0);
}

void sim_op_drop_to(struct sim *s, uint32_t i)
{
    same_value(s, i, 0);
}

void sim_op_raise_scale(struct sim *s, uint32_t i)
{
    same_value(s, i, 0);
}
