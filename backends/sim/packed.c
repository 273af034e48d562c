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
    for (size_t from = 0; from < len; from += x_len) {
        size_t part = len - from < x_len ? len - from : x_len;
        for (size_t k = 0; k < part; k++)
            y[from + k] += sign * x[k];
    }
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
    size_t len = sim_len(s, &n->type), x_len = sim_len(s, sim_arg_type(s, n, k));
    accumulate(s->value[i], len, sim_arg(s, n, k), x_len, sign);
    if (sim_arg_imag(s, n, k))
        accumulate(sim_imag(s, i), len, sim_arg_imag(s, n, k), x_len, sign);
}

void sim_op_input(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    size_t len = sim_len(s, &n->type);
    if (s->caller) {
        const struct node *call = sim_node(s->caller, s->call);
        size_t x_len = sim_len(s, sim_arg_type(s->caller, call, 0));
        accumulate(y, len, sim_arg(s->caller, call, 0), x_len, 1);
        if (sim_arg_imag(s->caller, call, 0))
            accumulate(sim_imag(s, i), len, sim_arg_imag(s->caller, call, 0), x_len, 1);
        return;
    }
    if (n->type.kind == KIND_TENSOR) {
        memcpy(y, s->images[0], len * sizeof *y);
        return;
    }
    const struct layout *l = layout_of(s, n);
    const uint32_t *shape = s->p->model.input;
    if ((size_t)l->c * l->h * l->w != (size_t)shape[0] * shape[1] * shape[2])
        diag_fatal(n->loc, "the input's layout does not fit the model's %ux%ux%u elements",
                   shape[0], shape[1], shape[2]);
    struct arena_mark mark = arena_mark(s->arena);
    double *cts = arena_array(s->arena, (size_t)l->num_ct * l->n, sizeof *cts);
    const double *part = cts + (size_t)node_int_or(n, KEY_part, 0) * l->n;
    for (uint32_t j = 0; j < s->lanes; j++) {
        layout_pack(l, s->images[j], cts);
        for (size_t k = 0; k < n->type.n; k++)
            y[k * s->lanes + j] = part[k % l->n];
    }
    arena_release(s->arena, mark);
}

void sim_op_output(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    size_t done = 0, want = s->p->model.num_outputs;
    if (s->caller) {
        size_t len = sim_len(s, sim_arg_type(s, n, 0));
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
            memcpy(s->results[0] + done, sim_arg(s, n, k), len * sizeof(double));
            done += len;
        }
        return;
    }
    const struct layout *l = layout_of(s, n);
    if ((size_t)l->c * l->h * l->w != want || n->num_args != l->num_ct)
        diag_fatal(n->loc, "the output's layout does not fit the model's %zu elements", want);
    struct arena_mark mark = arena_mark(s->arena);
    double *cts = arena_array(s->arena, (size_t)l->num_ct * l->n, sizeof *cts);
    for (uint32_t j = 0; j < s->lanes; j++) {
        for (uint32_t k = 0; k < n->num_args; k++)
            for (size_t at = 0; at < l->n; at++)
                cts[(size_t)k * l->n + at] =
                    sim_arg(s, n, k)[at % sim_value_len(sim_arg_type(s, n, k)) * s->lanes + j];
        layout_unpack(l, cts, s->results[j]);
    }
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
    if (!a || !b)
        return;
    size_t period = a_len < b_len ? a_len : b_len; /* divides the longer one */
    for (size_t from = 0; from < len; from += period) {
        const double *x = a + from % a_len, *z = b + from % b_len;
        size_t part = len - from < period ? len - from : period;
        for (size_t k = 0; k < part; k++)
            y[from + k] += sign * x[k] * z[k];
    }
}

void sim_op_mul(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *a = sim_arg(s, n, 0), *a_imag = sim_arg_imag(s, n, 0);
    const double *b = sim_arg(s, n, 1), *b_imag = sim_arg_imag(s, n, 1);
    size_t len = sim_len(s, &n->type);
    size_t a_len = sim_len(s, sim_arg_type(s, n, 0)), b_len = sim_len(s, sim_arg_type(s, n, 1));
    double *y = sim_result(s, i);
    add_product(y, len, a, a_len, b, b_len, 1);
    if (!a_imag && !b_imag)
        return;
    add_product(y, len, a_imag, a_len, b_imag, b_len, -1);
    add_product(sim_imag(s, i), len, a, a_len, b_imag, b_len, 1);
    add_product(sim_imag(s, i), len, a_imag, a_len, b, b_len, 1);
}

/* ---- linear transforms ---------------------------------------------------------------------- */

/* y += w x on the lanes of one slot; `lanes` is a constant where this is expanded. */
static inline void add_slot(double *restrict y, double w, const double *restrict x, uint32_t lanes)
{
    for (uint32_t j = 0; j < lanes; j++)
        y[j] += w * x[j];
}

/*
 * Entries of a diagonal that are placed by their slots in the input's or the output's vector:
 * y[slot + y_shift] += w x[slot + x_shift], each modulo its length, which is a power of two.
 */
struct placed {
    double *y;
    const double *x;
    bool y_by_input, x_by_input;
    size_t y_mask, x_mask;
    size_t y_shift, x_shift;
};

/* `cols` slots from one row of a rect; neither vector ends among them. */
static inline void add_row(double *restrict y, double w, const double *restrict x, uint32_t cols,
                           size_t step, uint32_t lanes)
{
    if (step == lanes) {
        for (size_t k = 0; k < (size_t)cols * lanes; k++)
            y[k] += w * x[k];
        return;
    }
    for (uint32_t c = 0; c < cols; c++, y += step, x += step)
        add_slot(y, w, x, lanes);
}

static inline void add_rects_lanes(struct placed p, const struct diagonal *g, const double *w,
                                   uint32_t lanes)
{
    for (uint32_t t = 0; t < g->num_rects; t++) {
        const struct rect *e = &g->rects[t];
        size_t y_slot = (p.y_by_input ? e->in_slot : e->out_slot) + p.y_shift;
        size_t x_slot = (p.x_by_input ? e->in_slot : e->out_slot) + p.x_shift;
        size_t width = (size_t)(e->cols - 1) * e->col_step;
        double weight = w[e->weight];
        for (uint32_t r = 0; r < e->rows; r++) {
            size_t step = (size_t)r * e->row_step;
            size_t to = (y_slot + step) & p.y_mask, from = (x_slot + step) & p.x_mask;
            if (to + width <= p.y_mask && from + width <= p.x_mask) {
                add_row(p.y + to * lanes, weight, p.x + from * lanes, e->cols,
                        (size_t)e->col_step * lanes, lanes);
                continue;
            }
            for (uint32_t c = 0; c < e->cols; c++, step += e->col_step)
                add_slot(p.y + ((y_slot + step) & p.y_mask) * lanes, weight,
                         p.x + ((x_slot + step) & p.x_mask) * lanes, lanes);
        }
    }
}

/* Without fused multiply-adds, so that results are the same on all machines */
#ifdef __x86_64__
__attribute__((target("avx2"))) static void
add_rects_wide(struct placed p, const struct diagonal *g, const double *w)
{
    add_rects_lanes(p, g, w, SIM_LANES);
}
#endif

static void add_rects(const struct sim *s, struct placed p, const struct diagonal *g,
                      const double *w)
{
#ifdef __x86_64__
    if (s->lanes == SIM_LANES && __builtin_cpu_supports("avx2")) {
        add_rects_wide(p, g, w);
        return;
    }
#endif
    if (s->lanes == SIM_LANES)
        add_rects_lanes(p, g, w, SIM_LANES);
    else if (s->lanes == 1)
        add_rects_lanes(p, g, w, 1);
    else
        add_rects_lanes(p, g, w, s->lanes);
}

/* One lane after the other */
static void transform(struct sim *s, const struct ldft *f, uint32_t n, double *re, double *im)
{
    struct arena_mark mark = arena_mark(s->arena);
    double *x = arena_array(s->arena, n, sizeof *x), *y = arena_array(s->arena, n, sizeof *y);
    for (uint32_t j = 0; j < s->lanes; j++) {
        for (size_t k = 0; k < n; k++) {
            x[k] = re[k * s->lanes + j];
            y[k] = im[k * s->lanes + j];
        }
        dft_apply(f, n, x, y);
        for (size_t k = 0; k < n; k++) {
            re[k * s->lanes + j] = x[k];
            im[k * s->lanes + j] = y[k];
        }
    }
    arena_release(s->arena, mark);
}

void sim_transform(struct sim *s, const struct ldft *f, uint32_t n, double *re, double *im)
{
    if (s->lanes == 1)
        dft_apply(f, n, re, im);
    else
        transform(s, f, n, re, im);
}

void sim_op_lin(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    uint32_t map = (uint32_t)node_int(n, KEY_map);
    const struct lmap *m = &s->p->maps[map];
    const struct diagonals *d = &s->lin[map];
    double *y = sim_result(s, i);
    if (m->dft.first != 0) {
        add_arg(s, i, 0, 1);
        sim_transform(s, &m->dft, n->type.n, y, sim_imag(s, i));
        return;
    }
    for (uint32_t k = 0; k < d->len; k++) {
        const struct diagonal *g = &d->at[k];
        if (g->out_ct != node_int(n, KEY_out))
            continue;
        const double *w = const_values(s->p, m->term[g->term].weight);
        struct placed p = {.y = y,
                           .x = sim_arg(s, n, g->in_ct),
                           .x_by_input = true,
                           .y_mask = sim_value_len(&n->type) - 1,
                           .x_mask = sim_value_len(sim_arg_type(s, n, g->in_ct)) - 1};
        add_rects(s, p, g, w);
        if (sim_arg_imag(s, n, g->in_ct)) {
            p.y = sim_imag(s, i);
            p.x = sim_arg_imag(s, n, g->in_ct);
            add_rects(s, p, g, w);
        }
    }
}

/* The plaintext is never made: its entries stand in e.n of its nw slots, the others are 0. */
static void add_map_product(struct sim *s, uint32_t i, uint32_t k)
{
    const struct node *n = sim_node(s, i);
    uint32_t map = (uint32_t)node_int(n, KEY_map);
    size_t nw = s->plain_len[map], len = n->type.n;
    const double *x = sim_arg(s, n, k), *x_imag = sim_arg_imag(s, n, k);
    struct pmac_entry e = pmac_entry(s->p, n, k, &s->lin[map]);
    if (!e.diagonal)
        return;
    if (len < e.n)
        BUG("pmac of %zu slots, its plaintext has %u", len, e.n);
    const double *w = const_values(s->p, s->p->maps[map].term[e.term].weight);
    for (size_t copy = 0; copy < len; copy += nw) {
        struct placed p = {.y = s->value[i] + copy * s->lanes,
                           .x = x,
                           .y_by_input = e.by_input,
                           .x_by_input = e.by_input,
                           .y_mask = e.n - 1,
                           .x_mask = sim_value_len(sim_arg_type(s, n, k)) - 1,
                           .y_shift = e.shift,
                           .x_shift = e.shift + copy + s->turned[n->args[k]]};
        add_rects(s, p, e.diagonal, w);
        if (x_imag) {
            p.y = sim_imag(s, i) + copy * s->lanes;
            p.x = x_imag;
            add_rects(s, p, e.diagonal, w);
        }
    }
}

/* re += w x - v z, im += v x + w z on `slots` slots; z may be NULL. */
static inline void add_complex_lanes(double *re, double *im, const double *w, const double *v,
                                     const double *x, const double *z, size_t slots, uint32_t lanes)
{
    for (size_t k = 0; k < slots; k++) {
        add_slot(re + k * lanes, w[k], x + k * lanes, lanes);
        add_slot(im + k * lanes, v[k], x + k * lanes, lanes);
        if (z) {
            add_slot(re + k * lanes, -v[k], z + k * lanes, lanes);
            add_slot(im + k * lanes, w[k], z + k * lanes, lanes);
        }
    }
}

static void add_complex(const struct sim *s, double *re, double *im, const double *w,
                        const double *v, const double *x, const double *z, size_t slots)
{
    if (s->lanes == SIM_LANES)
        add_complex_lanes(re, im, w, v, x, z, slots, SIM_LANES);
    else
        add_complex_lanes(re, im, w, v, x, z, slots, s->lanes);
}

/* value[i] += a b with the complex plaintext of a DFT factor: (w + i v)(x + i z) */
static void add_factor_product(struct sim *s, uint32_t i, uint32_t k)
{
    const struct node *n = sim_node(s, i);
    size_t period = s->plain_len[node_int(n, KEY_map)], lanes = s->lanes;
    size_t x_len = sim_value_len(sim_arg_type(s, n, k)), turned = s->turned[n->args[k]];
    const double *x = sim_arg(s, n, k), *z = sim_arg_imag(s, n, k);
    const double *w = s->plain[i] + k * period, *v = s->plain_imag[i] + k * period;
    double *re = s->value[i], *im = sim_imag(s, i);
    for (size_t at = 0, part; at < n->type.n; at += part) {
        size_t in_w = at % period, in_x = (at + turned) % x_len;
        part = n->type.n - at;
        part = part < period - in_w ? part : period - in_w;
        part = part < x_len - in_x ? part : x_len - in_x;
        add_complex(s, re + at * lanes, im + at * lanes, w + in_w, v + in_w, x + in_x * lanes,
                    z ? z + in_x * lanes : NULL, part);
    }
}

void sim_op_pmac(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    bool factor = s->plain_imag[i] != NULL;
    sim_result(s, i);
    for (uint32_t k = 0; k < n->num_args; k++)
        if (factor)
            add_factor_product(s, i, k);
        else
            add_map_product(s, i, k);
}

void sim_op_rot(struct sim *s, uint32_t i)
{
    sim_share(s, i, 0, node_int(sim_node(s, i), KEY_by));
}

void sim_op_padd(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    size_t len = s->p->layouts[node_int(n, KEY_layout)].n;
    double *y = sim_result(s, i);
    add_arg(s, i, 0, 1);
    for (size_t k = 0; k < n->type.n; k++)
        for (uint32_t j = 0; j < s->lanes; j++)
            y[k * s->lanes + j] += s->plain[i][k % len];
}

static void conjugate(struct sim *s, uint32_t i)
{
    size_t len = sim_len(s, &sim_node(s, i)->type);
    sim_own(s, i);
    for (size_t k = 0; s->imag[i] && k < len; k++)
        s->imag[i][k] = -s->imag[i][k];
}

void sim_op_conj(struct sim *s, uint32_t i)
{
    sim_share(s, i, 0, 0);
    conjugate(s, i);
}

void sim_op_key_mul(struct sim *s, uint32_t i)
{
    sim_share(s, i, 1, node_int_or(sim_node(s, i), KEY_by, 0));
    if (node_attr(sim_node(s, i), KEY_conjugate))
        conjugate(s, i);
}

void sim_op_raised_mul(struct sim *s, uint32_t i)
{
    sim_share(s, i, 0, node_int_or(sim_node(s, i), KEY_by, 0));
}

void sim_op_comb(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *factors = node_attr(n, KEY_factors)->v.reals;
    double *y = sim_result(s, i);
    for (size_t k = 0; k < sim_len(s, &n->type); k++)
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
    for (size_t k = 0; k < sim_len(s, &n->type); k++)
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
    size_t len = sim_len(s, &n->type), x_len = sim_len(s, sim_arg_type(s, n, 0));
    double *y = sim_result(s, i);
    accumulate(sim_imag(s, i), len, sim_arg(s, n, 0), x_len, 1);
    if (sim_arg_imag(s, n, 0))
        accumulate(y, len, sim_arg_imag(s, n, 0), x_len, -1);
}

/* The coefficients that carry imaginary parts are not looked at, unless `complex`. */
void sim_op_bootstrap(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    if (node_attr(n, KEY_complex))
        sim_share(s, i, 0, 0);
    else
        accumulate(sim_result(s, i), sim_len(s, &n->type), sim_arg(s, n, 0),
                   sim_len(s, sim_arg_type(s, n, 0)), 1);
}

/* ---- the same value ------------------------------------------------------------------------- */

#define SAME_VALUE(name)                                                                           \
    void sim_op_##name(struct sim *s, uint32_t i)                                                  \
    {                                                                                              \
        sim_share(s, i, 0, 0);                                                                     \
    }
SAME_VALUE(decompose)
SAME_VALUE(encapsulate)
SAME_VALUE(lift)
SAME_VALUE(mod_down)
SAME_VALUE(rescale)
SAME_VALUE(drop_to)
SAME_VALUE(raise_scale)
