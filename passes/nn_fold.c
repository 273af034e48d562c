/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nn_fold: compose maps with per-channel scales, merge sums of maps.
 *
 * Reads     map, mul, add, sub, add_channel nodes; few constants (zeros, sizes of scales).
 * Writes    the same operators, fewer levels. Weights stay symbolic products.
 * Requires  stage nn, after nn_poly: no poly.
 * Ensures   no map that only scales channels stands before a map, or behind a map that nobody else
 *           reads, except where weights cannot take the scale in (scale_inputs). The program does
 *           not get deeper.
 * Refuses   nothing.
 * Algorithm Three phases, each to a fixed point; "scale" is a depthwise 1 x 1 map.
 *           Compose:
 *             map . scale           -> map with input channels scaled (nearest upsampling too)
 *             scale . map           -> map with rows scaled, if the inner map is a scale or has
 *                                      one use
 *             map . global avg pool -> map over all pixels
 *             add, sub of maps      -> one map of several terms; an operand that is no map becomes
 *                                      an identity term where that costs no depth: the skip of a
 *                                      residual block is a diagonal
 *             add_channel . map     -> its bias;  scale by 1 -> nothing;  add of adds -> one add
 *           Push: a scale that is stuck (its operand is no map, or one that others read) moves on
 *           when maps or products wait behind it:
 *             s x + b -> s (x + b/s),   s x + c -> s (x + c/s),   (s x) (t y) -> s t (x y)
 *           Duplicate: scale . map with several readers of the map, where the depth of the program
 *           shrinks; the map is computed twice.
 * Cost      rounds of one linear sweep; a round removes, moves down or doubles at least one scale.
 */
#include "nn_build.h"

#include <math.h>
#include <string.h>

/* b/s beyond this would need more bits above the values than a level is worth. */
static const double MAX_SHIFT = 64;
enum { MAX_EVALUATED = 1 << 16 };

enum phase { COMPOSE, PUSH, DUPLICATE };

struct fold {
    struct prog *in, *p;
    enum phase phase;
    uint32_t *now;           /* [in->nodes.len] new value of an old one */
    const uint32_t *readers; /* [in->nodes.len] uses of an old value */
    const bool *useful; /* [in->nodes.len] PUSH: all readers take a scale in; DUPLICATE: selected */
    struct build b;
    /* by new value */
    uint32_t *uses, *depth;
    uint32_t len, cap_uses, cap_depth;
    bool changed;
};

/* ---- scaling weights ------------------------------------------------------------------------ */

/* The vector of factors of a scale term. */
static uint32_t scale_of(struct build *b, const struct lterm *t)
{
    return expr_reshape(b, t->weight, (uint32_t[]){t->in[0]}, 1);
}

static uint32_t scale_rows(struct build *b, const struct lterm *t, uint32_t scale)
{
    uint32_t rows = const_type(b->p, t->weight)->dims[0];
    return expr_mul_axis(b, t->weight, expr_slice(b, scale, 0, t->out_from, rows), 0);
}

/* The factor of weight [o][cl] of a grouped window, spelled out. */
static uint32_t spread(struct build *b, uint32_t scale, uint32_t outs, uint32_t ins,
                       uint32_t groups)
{
    const double *v = const_values(b->p, scale);
    uint32_t count = outs * ins;
    double *wide = arena_array(b->p->arena, count, sizeof *wide);
    for (uint32_t o = 0; o < outs; o++)
        for (uint32_t c = 0; c < ins; c++)
            wide[o * ins + c] = v[o / (outs / groups) * ins + c];
    return expr_values(b, &count, 1, wide);
}

/* Multiplies input channel c of the term by scale[c]. False where no expression says that. */
static bool scale_inputs(struct build *b, struct lterm *t, uint32_t scale)
{
    struct type w = *const_type(b->p, t->weight);
    uint32_t outs = w.dims[0], ins = w.dims[1], taps = w.dims[2] * w.dims[3];
    uint32_t own = expr_slice(b, scale, 0, t->in_from, t->groups * ins);
    if (b->p->consts.at[own].op == OP_fill) {
        t->weight = expr_affine(b, t->weight, node_real(&b->p->consts.at[own], KEY_value), 0);
    } else if (t->groups == 1) {
        t->weight = expr_mul_axis(b, t->weight, own, 1);
    } else if (ins == 1 && outs == t->groups) {
        t->weight = expr_mul_axis(b, t->weight, own, 0);
    } else if (ins == 1 || (uint64_t)outs * ins <= MAX_EVALUATED) {
        uint32_t rows = ins == 1 ? t->groups : outs * ins;
        uint32_t flat[2] = {rows, ins == 1 ? outs / t->groups * taps : taps};
        uint32_t factors = ins == 1 ? own : spread(b, own, outs, ins, t->groups);
        uint32_t x = expr_mul_axis(b, expr_reshape(b, t->weight, flat, 2), factors, 0);
        t->weight = expr_reshape(b, x, w.dims, 4);
    } else {
        return false;
    }
    return true;
}

/* ---- the program under construction --------------------------------------------------------- */

/* Fills in depth and uses of the nodes that the builder has added. Values that no old node maps to
 * are read once, by the node that they were made for. */
static void account(struct fold *f)
{
    struct arena *a = f->p->arena;
    for (; f->len < f->p->nodes.len; f->len++) {
        const struct node *n = &f->p->nodes.at[f->len];
        uint32_t depth = 0;
        for (uint32_t k = 0; k < n->num_args; k++)
            depth = f->depth[n->args[k]] > depth ? f->depth[n->args[k]] : depth;
        ARENA_GROW(a, f->uses, f->len, f->cap_uses);
        ARENA_GROW(a, f->depth, f->len, f->cap_depth);
        f->uses[f->len] = 0;
        f->depth[f->len] = depth + (n->op == OP_map || n->op == OP_mul);
    }
}

static const struct node *at(const struct fold *f, uint32_t value)
{
    return &f->p->nodes.at[value];
}

static bool is_map(const struct fold *f, uint32_t value)
{
    return at(f, value)->op == OP_map;
}

static bool is_scale(const struct fold *f, uint32_t value)
{
    return is_scale_map(f->p, at(f, value));
}

/* May this map be absorbed by its reader? A scale costs nothing to compute twice. */
static bool mergeable(const struct fold *f, uint32_t value)
{
    return is_map(f, value) && (f->uses[value] <= 1 || is_scale(f, value));
}

static uint32_t bias_of(const struct fold *f, uint32_t value)
{
    return node_ref_or_none(at(f, value), KEY_bias);
}

/* ---- compose -------------------------------------------------------------------------------- */

/* Is value a depthwise average over all pixels, weights factor * scale[c]? */
static bool is_global_pool(const struct fold *f, uint32_t value, double *factor, uint32_t *scale)
{
    const struct node *n = at(f, value);
    if (n->op != OP_map || n->num_args != 1 || f->uses[value] > 1 || bias_of(f, value) != NONE)
        return false;
    const struct lmap *m = node_map(f->p, n);
    const struct lterm *t = &m->term[0];
    const struct type *w = const_type(f->p, t->weight);
    if (w->dims[0] != t->in[0] || w->dims[1] != 1 || w->dims[2] != t->in[1] ||
        w->dims[3] != t->in[2] || t->groups != t->in[0] || m->out[0] != t->in[0] ||
        m->out[1] != 1 || m->out[2] != 1 || t->in_from != 0 || t->out_from != 0 || t->up[0] != 1 ||
        t->up[1] != 1 || t->dilation[0] != 1 || t->dilation[1] != 1 || t->pad[0] != 0 ||
        t->pad[2] != 0)
        return false;
    const struct node *c = &f->p->consts.at[t->weight];
    *scale = NONE;
    if (c->op == OP_c_mul && node_int_or(c, KEY_axis, -1) == 0) {
        *scale = c->args[1];
        c = &f->p->consts.at[c->args[0]];
    }
    if (c->op != OP_fill)
        return false;
    *factor = node_real(c, KEY_value);
    return true;
}

/* One pixel in, one weight a channel: the term may read the pool's operand instead. */
static bool absorb_pool(struct fold *f, const struct lmap *m, struct lterm *t, uint32_t *operand)
{
    const struct type w = *const_type(f->p, t->weight);
    double factor;
    uint32_t scale;
    if (w.dims[2] != 1 || w.dims[3] != 1 || t->up[0] != 1 || t->up[1] != 1 || m->out[1] != 1 ||
        m->out[2] != 1 || t->pad[0] != 0 || t->pad[2] != 0 ||
        !is_global_pool(f, *operand, &factor, &scale))
        return false;
    const struct node *n = at(f, *operand);
    struct lterm inner = node_map(f->p, n)->term[0];
    if (scale != NONE && !scale_inputs(&f->b, t, scale))
        return false;
    uint32_t flat = w.dims[0] * w.dims[1], pixels = inner.in[1] * inner.in[2];
    uint32_t even = expr_fill(&f->b, (uint32_t[]){flat, pixels}, 2, factor);
    uint32_t x = expr_mul_axis(&f->b, even, expr_reshape(&f->b, t->weight, &flat, 1), 0);
    t->weight =
        expr_reshape(&f->b, x, (uint32_t[]){w.dims[0], w.dims[1], inner.in[1], inner.in[2]}, 4);
    memcpy(t->in, inner.in, sizeof t->in);
    t->stride[0] = t->stride[1] = t->dilation[0] = t->dilation[1] = 1;
    *operand = n->args[0];
    return true;
}

static bool absorb_scale(struct fold *f, struct lterm *t, uint32_t *operand)
{
    const struct node *n = at(f, *operand);
    if (n->op != OP_map || n->num_args != 1 || bias_of(f, *operand) != NONE)
        return false;
    const struct lmap *m = node_map(f->p, n);
    struct lterm inner = m->term[0];
    if (!is_scale_term(f->p, m, &inner) || !scale_inputs(&f->b, t, scale_of(&f->b, &inner)))
        return false;
    for (int i = 0; i < 2; i++)
        t->up[i] *= inner.up[i];
    memcpy(t->in, inner.in, sizeof t->in);
    *operand = n->args[0];
    return true;
}

/* The terms of map `value`, each multiplied by factor, into d. */
static void add_terms_of(struct fold *f, struct map_draft *d, uint32_t value, double factor)
{
    const struct node *n = at(f, value);
    const struct lmap m = *node_map(f->p, n);
    for (uint32_t i = 0; i < m.num_terms; i++) {
        struct lterm t = m.term[i];
        t.weight = expr_affine(&f->b, t.weight, factor, 0);
        map_draft_add(d, &t, at(f, value)->args[i]);
    }
    uint32_t bias = bias_of(f, value);
    if (bias != NONE)
        map_draft_bias(d, expr_affine(&f->b, bias, factor, 0));
}

/* scale . inner, both maps */
static uint32_t scaled_rows(struct fold *f, uint32_t inner, uint32_t scale, uint32_t bias)
{
    const struct lmap m = *node_map(f->p, at(f, inner));
    uint32_t inner_bias = bias_of(f, inner);
    struct map_draft d = map_draft(&f->b, m.out);
    for (uint32_t i = 0; i < m.num_terms; i++) {
        struct lterm t = m.term[i];
        t.weight = scale_rows(&f->b, &t, scale);
        map_draft_add(&d, &t, at(f, inner)->args[i]);
    }
    if (inner_bias != NONE)
        map_draft_bias(&d, expr_mul(&f->b, inner_bias, scale));
    map_draft_bias(&d, bias);
    f->changed = true;
    return map_draft_build(&d);
}

static uint32_t fold_map(struct fold *f, const struct node *n)
{
    const struct lmap m = *node_map(f->in, n);
    uint32_t bias = node_ref_or_none(n, KEY_bias);
    bool scale = is_scale_map(f->in, n), changed = false;
    if (scale && m.num_terms == 1) {
        uint32_t inner = f->now[n->args[0]];
        if (bias == NONE && const_is_all(f->p, m.term[0].weight, 1)) {
            f->changed = true;
            return inner;
        }
        if (mergeable(f, inner))
            return scaled_rows(f, inner, scale_of(&f->b, &m.term[0]), bias);
    }
    struct map_draft d = map_draft(&f->b, m.out);
    for (uint32_t i = 0; i < m.num_terms; i++) {
        struct lterm t = m.term[i];
        uint32_t operand = f->now[n->args[i]];
        while (absorb_scale(f, &t, &operand) || absorb_pool(f, &m, &t, &operand))
            changed = true;
        map_draft_add(&d, &t, operand);
    }
    if (!changed)
        return prog_copy_node(f->p, n, d.arg);
    map_draft_bias(&d, bias);
    f->changed = true;
    return map_draft_build(&d);
}

/* The operands of a sum, those of single-use inner adds included. */
struct terms {
    uint32_t *value;
    uint32_t len, cap;
};

static void push_operand(struct fold *f, struct terms *t, uint32_t value)
{
    ARENA_GROW(f->p->arena, t->value, t->len, t->cap);
    t->value[t->len++] = value;
}

static void collect(struct fold *f, struct terms *t, uint32_t value, bool nested)
{
    if (at(f, value)->op != OP_add || (nested && f->uses[value] > 1)) {
        push_operand(f, t, value);
        return;
    }
    for (uint32_t k = 0; k < at(f, value)->num_args; k++)
        collect(f, t, at(f, value)->args[k], true);
    f->changed = f->changed || nested;
}

/*
 * sum of factor[i] * value[i]. Maps that may be absorbed become one map; the other operands join it
 * as identity terms if the result is no deeper than the sum itself, else they are added to it.
 */
static uint32_t fold_sum(struct fold *f, const struct node *n, const struct terms *t,
                         bool minus_last)
{
    const uint32_t *dims = n->type.dims;
    struct map_draft d = map_draft(&f->b, dims);
    struct terms rest = {0};
    uint32_t depth = 0, maps = 0;
    for (uint32_t i = 0; i < t->len; i++)
        depth = f->depth[t->value[i]] > depth ? f->depth[t->value[i]] : depth;
    for (uint32_t i = 0; i < t->len; i++)
        maps += mergeable(f, t->value[i]);
    bool rest_minus = false;
    for (uint32_t i = 0; maps > 0 && i < t->len; i++) {
        uint32_t v = t->value[i];
        double factor = minus_last && i + 1 == t->len ? -1 : 1;
        if (mergeable(f, v)) {
            add_terms_of(f, &d, v, factor);
        } else if (f->depth[v] < depth) {
            uint32_t one = expr_fill(&f->b, (uint32_t[]){dims[0], 1, 1, 1}, 4, factor);
            struct lterm id = lterm_plain(f->p, v, one, dims[0]);
            map_draft_add(&d, &id, v);
        } else {
            rest_minus = rest_minus || factor < 0;
            push_operand(f, &rest, v);
        }
    }
    if (maps == 0 || t->len - rest.len < 2) {
        if (n->op == OP_sub)
            return prog_copy_node(f->p, n, t->value);
        return build_node(&f->b, OP_add, t->value, t->len);
    }
    f->changed = true;
    uint32_t merged = map_draft_build(&d);
    if (rest.len == 0)
        return merged;
    if (rest_minus)
        return build2(&f->b, OP_sub, merged, rest.value[0]);
    push_operand(f, &rest, merged);
    return build_node(&f->b, OP_add, rest.value, rest.len);
}

static uint32_t fold_add(struct fold *f, const struct node *n)
{
    struct terms t = {0};
    for (uint32_t k = 0; k < n->num_args; k++)
        collect(f, &t, f->now[n->args[k]], true);
    if (t.len == 1) {
        f->changed = true;
        return t.value[0];
    }
    return fold_sum(f, n, &t, false);
}

static uint32_t fold_sub(struct fold *f, const struct node *n)
{
    struct terms t = {0};
    for (uint32_t k = 0; k < 2; k++)
        push_operand(f, &t, f->now[n->args[k]]);
    return fold_sum(f, n, &t, true);
}

/* A scale whose own operand is no map stays without bias: it can only move on. */
static bool takes_bias(const struct fold *f, uint32_t value)
{
    return mergeable(f, value) && (!is_scale(f, value) || mergeable(f, at(f, value)->args[0]));
}

static uint32_t fold_add_channel(struct fold *f, const struct node *n)
{
    uint32_t x = f->now[n->args[0]], bias = (uint32_t)node_int(n, KEY_bias);
    if (takes_bias(f, x)) {
        struct map_draft d = map_draft(&f->b, n->type.dims);
        add_terms_of(f, &d, x, 1);
        map_draft_bias(&d, bias);
        f->changed = true;
        return map_draft_build(&d);
    }
    if (at(f, x)->op == OP_add_channel && f->uses[x] <= 1) {
        f->changed = true;
        uint32_t inner = (uint32_t)node_int(at(f, x), KEY_bias);
        return add_channel(&f->b, at(f, x)->args[0], expr_add(&f->b, inner, bias));
    }
    return prog_copy_node(f->p, n, &x);
}

/* ---- push ----------------------------------------------------------------------------------- */

static bool is_bare_scale(const struct fold *f, uint32_t value)
{
    return is_scale(f, value) && bias_of(f, value) == NONE;
}

/* bias / scale, NONE where it is not defined or too large */
static uint32_t quotient(struct fold *f, uint32_t bias, uint32_t scale)
{
    const double *s = const_values(f->p, scale), *c = const_values(f->p, bias);
    for (uint32_t i = 0; i < const_type(f->p, scale)->dims[0]; i++)
        if (!(fabs(c[i]) <= MAX_SHIFT * fabs(s[i])) || s[i] == 0)
            return NONE;
    return expr_div(&f->b, bias, scale);
}

static uint32_t scale_vector(struct fold *f, uint32_t value)
{
    struct lterm t = node_map(f->p, at(f, value))->term[0];
    return scale_of(&f->b, &t);
}

static uint32_t push_map(struct fold *f, const struct node *n, bool useful)
{
    uint32_t bias = node_ref_or_none(n, KEY_bias);
    if (useful && bias != NONE && is_scale_map(f->in, n)) {
        struct lterm t = node_map(f->in, n)->term[0];
        uint32_t x = f->now[n->args[0]], scale = scale_of(&f->b, &t),
                 shift = quotient(f, bias, scale);
        if (shift != NONE) {
            f->changed = true;
            return scale_map(&f->b, add_channel(&f->b, x, shift), scale, NONE);
        }
    }
    return NONE;
}

static uint32_t push_add_channel(struct fold *f, const struct node *n, bool useful)
{
    uint32_t x = f->now[n->args[0]];
    if (!useful || !is_bare_scale(f, x))
        return NONE;
    uint32_t scale = scale_vector(f, x), inner = at(f, x)->args[0];
    uint32_t shift = quotient(f, (uint32_t)node_int(n, KEY_bias), scale);
    if (shift == NONE)
        return NONE;
    f->changed = true;
    return scale_map(&f->b, add_channel(&f->b, inner, shift), scale, NONE);
}

static uint32_t push_mul(struct fold *f, const struct node *n)
{
    uint32_t x = f->now[n->args[0]], y = f->now[n->args[1]];
    if (!is_bare_scale(f, x) || !is_bare_scale(f, y))
        return NONE;
    uint32_t scale = expr_mul(&f->b, scale_vector(f, x), scale_vector(f, y));
    f->changed = true;
    uint32_t product = build2(&f->b, OP_mul, at(f, x)->args[0], at(f, y)->args[0]);
    return scale_map(&f->b, product, scale, NONE);
}

/* scale-like: a scale, or one with a constant added, whose factors may move on */
static bool is_scale_like(const struct prog *p, uint32_t value)
{
    const struct node *n = &p->nodes.at[value];
    return is_scale_map(p, n) ||
           (n->op == OP_add_channel && is_scale_map(p, &p->nodes.at[n->args[0]]));
}

/* useful[v]: every reader of v takes a scale in, now or after it was moved once more */
static bool *find_useful(const struct prog *p)
{
    bool *useful = arena_array(p->arena, p->nodes.len, sizeof *useful);
    memset(useful, true, p->nodes.len * sizeof *useful);
    for (uint32_t i = p->nodes.len; i-- > 0;) {
        const struct node *n = &p->nodes.at[i];
        bool takes =
            n->op == OP_map || (n->op == OP_add_channel && useful[i]) ||
            (n->op == OP_mul && is_scale_like(p, n->args[0]) && is_scale_like(p, n->args[1]));
        for (uint32_t k = 0; k < n->num_args; k++)
            useful[n->args[k]] = useful[n->args[k]] && takes;
    }
    return useful;
}

/* ---- duplicate ------------------------------------------------------------------------------ */

/* The map that scale node n could be composed with, through at most one add_channel. */
static uint32_t hidden_map(const struct prog *p, const struct node *n)
{
    if (!is_scale_map(p, n))
        return NONE;
    uint32_t x = n->args[0];
    if (p->nodes.at[x].op == OP_add_channel)
        x = p->nodes.at[x].args[0];
    return p->nodes.at[x].op == OP_map ? x : NONE;
}

static uint32_t depth_without(const struct prog *p, const bool *free)
{
    uint32_t deepest = 0, *depth = arena_array(p->arena, p->nodes.len, sizeof *depth);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        for (uint32_t k = 0; k < n->num_args; k++)
            depth[i] = depth[n->args[k]] > depth[i] ? depth[n->args[k]] : depth[i];
        depth[i] += (n->op == OP_map && !free[i]) || n->op == OP_mul;
        deepest = depth[i] > deepest ? depth[i] : deepest;
    }
    return deepest;
}

/* A smallest set (greedy, from the front) of scales without whose level the depth is least. */
static bool *find_duplicates(const struct prog *p)
{
    bool *chosen = arena_array(p->arena, p->nodes.len, sizeof *chosen);
    uint32_t before = depth_without(p, chosen);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        chosen[i] = hidden_map(p, &p->nodes.at[i]) != NONE;
    uint32_t best = depth_without(p, chosen);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        if (!chosen[i])
            continue;
        struct arena_mark mark = arena_mark(p->arena);
        chosen[i] = false;
        if (best == before || depth_without(p, chosen) > best)
            chosen[i] = best < before;
        arena_release(p->arena, mark);
    }
    return chosen;
}

static uint32_t duplicate_map(struct fold *f, const struct node *n)
{
    struct lterm t = node_map(f->in, n)->term[0];
    uint32_t x = f->now[n->args[0]], bias = node_ref_or_none(n, KEY_bias),
             scale = scale_of(&f->b, &t);
    if (at(f, x)->op == OP_add_channel) {
        uint32_t shift = expr_mul(&f->b, (uint32_t)node_int(at(f, x), KEY_bias), scale);
        bias = expr_sum(&f->b, bias, shift);
        x = at(f, x)->args[0];
    }
    return scaled_rows(f, x, scale, bias);
}

/* ---- rounds --------------------------------------------------------------------------------- */

static uint32_t compose(struct fold *f, const struct node *n)
{
    switch ((enum op)n->op) {
    case OP_map:
        return fold_map(f, n);
    case OP_add:
        return fold_add(f, n);
    case OP_sub:
        return fold_sub(f, n);
    case OP_add_channel:
        return fold_add_channel(f, n);
    default:
        return NONE;
    }
}

static uint32_t rewrite(struct fold *f, const struct node *n, uint32_t old)
{
    if (f->phase == COMPOSE)
        return compose(f, n);
    if (f->phase == DUPLICATE)
        return f->useful[old] ? duplicate_map(f, n) : NONE;
    switch ((enum op)n->op) {
    case OP_map:
        return push_map(f, n, f->useful[old]);
    case OP_add_channel:
        return push_add_channel(f, n, f->useful[old]);
    case OP_mul:
        return push_mul(f, n);
    default:
        return NONE;
    }
}

/* One sweep; *changed says whether a rule applied. */
static struct prog *sweep(struct prog *in, enum phase phase, bool *changed)
{
    struct fold f = {.in = in, .p = prog_derive(in, STAGE_NN), .phase = phase};
    f.now = arena_array(in->arena, in->nodes.len, sizeof *f.now);
    f.readers = prog_use_counts(in);
    if (phase == PUSH)
        f.useful = find_useful(in);
    else if (phase == DUPLICATE)
        f.useful = find_duplicates(in);
    for (uint32_t i = 0; i < in->nodes.len; i++) {
        const struct node *n = &in->nodes.at[i];
        f.b = build_like(f.p, n);
        uint32_t v = rewrite(&f, n, i);
        if (v == NONE) {
            uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
            for (uint32_t k = 0; k < n->num_args; k++)
                args[k] = f.now[n->args[k]];
            v = prog_copy_node(f.p, n, args);
        }
        account(&f);
        f.now[i] = v;
        f.uses[v] += f.readers[i];
    }
    *changed = f.changed;
    return f.changed ? prog_clean(f.p) : in;
}

struct prog *nn_fold(struct prog *in, const struct opts *o)
{
    (void)o;
    struct prog *p = prog_clean(in);
    bool again = true;
    while (again) {
        do
            p = sweep(p, COMPOSE, &again);
        while (again);
        p = sweep(p, PUSH, &again);
        if (!again)
            p = sweep(p, DUPLICATE, &again);
    }
    return prog_compact(p);
}
