/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nn_linear: every linear operator becomes a map.
 *
 * Reads     nn nodes of every kind.
 * Writes    map nodes with one term an operand and symbolic constants; p->reference.
 * Requires  stage nn, verified.
 * Ensures   only input, map, poly, add, sub, mul, add_channel, output remain; p->reference is the
 *           network in these ops. It shares map records with the nodes: a pass that gives layouts
 *           to a map makes a new record.
 * Refuses   (diag_fatal) a flatten that has to be carried out as an operator on a map of more than
 *           MAX_FLATTEN pixels.
 * Algorithm A flatten is a different reading of the same elements and a concat a list of tensors:
 *           both stay with the value as its `parts` and sink through elementwise operators. A
 *           linear consumer takes them in: the window of a fully connected layer becomes the whole
 *           map, and every part is a term with its slice of the weights. Where a consumer needs one
 *           tensor (output, an add of different parts), the parts are embedded by one n-ary map. A
 *           per-channel operator behind a flatten of more than one pixel needs the flattened tensor
 *           itself, one map with a weight of 1 for every element.
 * Cost      linear in nodes and parts; no constant is evaluated.
 */
#include "nn_build.h"

#include <string.h>

enum { MAX_FLATTEN = 256 };

struct part {
    uint32_t value;
    uint32_t c, h, w;
    bool flat; /* read as c*h*w channels of one pixel */
};

struct parts {
    struct part *at;
    uint32_t len;
};

struct state {
    struct prog *in, *p;
    struct parts *of; /* [in->nodes.len] */
    struct build b;
};

static uint32_t channels(const struct part *part)
{
    return part->flat ? part->c * part->h * part->w : part->c;
}

static struct parts new_parts(struct state *s, uint32_t len)
{
    return (struct parts){arena_array(s->p->arena, len, sizeof(struct part)), len};
}

static struct parts one_part(struct state *s, uint32_t value)
{
    struct parts r = new_parts(s, 1);
    const uint32_t *d = s->p->nodes.at[value].type.dims;
    r.at[0] = (struct part){value, d[0], d[1], d[2], false};
    return r;
}

/* ---- one tensor out of parts ---------------------------------------------------------------- */

/* Channel ch*h*w + y*w + x of the result is pixel (y, x) of channel ch. */
static void add_flatten_term(struct state *s, struct map_draft *d, const struct part *part,
                             uint32_t out_from)
{
    uint32_t pixels = part->h * part->w;
    if (pixels > MAX_FLATTEN)
        diag_fatal(
            s->b.loc,
            "layer '%s' needs a flattened %ux%ux%u tensor as such; this is only supported up "
            "to %d pixels a channel (followed by a linear layer, any size is)",
            s->b.layer, part->c, part->h, part->w, MAX_FLATTEN);
    double *identity = arena_array(s->p->arena, (size_t)pixels * pixels, sizeof *identity);
    for (uint32_t i = 0; i < pixels; i++)
        identity[(size_t)i * pixels + i] = 1;
    uint32_t square = pixels * pixels;
    uint32_t block = expr_values(&s->b, &square, 1, identity);
    uint32_t copies = expr_fill(&s->b, (uint32_t[]){part->c, square}, 2, 1);
    uint32_t weight = expr_reshape(&s->b, expr_mul_axis(&s->b, copies, block, 1),
                                   (uint32_t[]){part->c * pixels, 1, part->h, part->w}, 4);
    struct lterm t = lterm_plain(s->p, part->value, weight, part->c);
    t.out_from = out_from;
    map_draft_add(d, &t, part->value);
}

static void add_embed_term(struct state *s, struct map_draft *d, const struct part *part,
                           uint32_t out_from)
{
    uint32_t weight = expr_fill(&s->b, (uint32_t[]){part->c, 1, 1, 1}, 4, 1);
    struct lterm t = lterm_plain(s->p, part->value, weight, part->c);
    t.out_from = out_from;
    map_draft_add(d, &t, part->value);
}

static bool really_flat(const struct part *part)
{
    return part->flat && part->h * part->w > 1;
}

/* The value of an old node as one tensor of its own shape; from now on that is its only part. */
static uint32_t single(struct state *s, uint32_t old)
{
    struct parts *parts = &s->of[old];
    if (parts->len > 1 || really_flat(&parts->at[0])) {
        struct map_draft d = map_draft(&s->b, s->in->nodes.at[old].type.dims);
        for (uint32_t i = 0, from = 0; i < parts->len; i++) {
            if (really_flat(&parts->at[i]))
                add_flatten_term(s, &d, &parts->at[i], from);
            else
                add_embed_term(s, &d, &parts->at[i], from);
            from += channels(&parts->at[i]);
        }
        *parts = one_part(s, map_draft_build(&d));
    }
    return parts->at[0].value;
}

/* Parts none of which is flattened with more than one pixel. */
static struct parts unflattened(struct state *s, uint32_t old)
{
    for (uint32_t i = 0; i < s->of[old].len; i++)
        if (really_flat(&s->of[old].at[i])) {
            single(s, old);
            break;
        }
    return s->of[old];
}

/* ---- linear operators ----------------------------------------------------------------------- */

/*
 * The part of a grouped window that reads channels [from, from + part->c) of the operand. Groups
 * that lie inside it become one term; a group that straddles its border gives one term a side.
 */
static void add_window_terms(struct state *s, struct map_draft *d, const struct lterm *window,
                             const struct part *part, uint32_t from)
{
    const struct type w = *const_type(s->p, window->weight);
    uint32_t groups = window->groups, outs = w.dims[0] / groups, ins = w.dims[1];
    uint32_t to = from + part->c, group = from / ins;

    while (group < groups && group * ins < to) {
        struct lterm t = *window;
        uint32_t first = group, lo = group * ins, hi = lo + ins;
        if (lo >= from && hi <= to) {
            while (group < groups && (group + 1) * ins <= to)
                group++;
            t.groups = group - first;
            t.in_from = lo - from;
        } else {
            group++;
            t.groups = 1;
            uint32_t cut_lo = lo > from ? lo : from, cut_hi = hi < to ? hi : to;
            t.in_from = cut_lo - from;
            t.weight = expr_slice(&s->b, t.weight, 1, cut_lo - lo, cut_hi - cut_lo);
        }
        t.out_from = first * outs;
        t.weight = expr_slice(&s->b, t.weight, 0, t.out_from, t.groups * outs);
        t.in[0] = part->c;
        t.in[1] = part->h;
        t.in[2] = part->w;
        map_draft_add(d, &t, part->value);
    }
}

static struct parts window(struct state *s, const struct node *n, struct lterm t, uint32_t bias)
{
    struct parts in = unflattened(s, n->args[0]);
    struct map_draft d = map_draft(&s->b, n->type.dims);
    for (uint32_t i = 0, from = 0; i < in.len; from += in.at[i++].c)
        add_window_terms(s, &d, &t, &in.at[i], from);
    map_draft_bias(&d, bias);
    return one_part(s, map_draft_build(&d));
}

static const struct type *operand_type(const struct state *s, const struct node *n)
{
    return &s->in->nodes.at[n->args[0]].type;
}

static struct lterm blank_term(uint32_t weight, uint32_t groups)
{
    return (struct lterm){.in_layout = NONE,
                          .weight = weight,
                          .groups = groups,
                          .stride = {1, 1},
                          .dilation = {1, 1},
                          .up = {1, 1},
                          .wrap = WRAP_ZEROS};
}

static void get_pair(const struct node *n, enum key k, uint32_t out[2])
{
    uint32_t len;
    const int64_t *v = node_ints(n, k, &len);
    out[0] = (uint32_t)v[0];
    out[1] = (uint32_t)v[1];
}

static void get_pad(const struct node *n, int32_t out[4])
{
    uint32_t len;
    const int64_t *v = node_ints(n, KEY_pad, &len);
    for (int i = 0; i < 4; i++)
        out[i] = (int32_t)v[i];
}

static struct parts do_conv2d(struct state *s, const struct node *n)
{
    struct lterm t = blank_term((uint32_t)node_int(n, KEY_w), (uint32_t)node_int(n, KEY_groups));
    get_pair(n, KEY_stride, t.stride);
    get_pair(n, KEY_dilation, t.dilation);
    get_pad(n, t.pad);
    t.wrap = (enum wrap)node_int(n, KEY_wrap);
    return window(s, n, t, node_ref_or_none(n, KEY_bias));
}

static struct parts do_avg_pool(struct state *s, const struct node *n)
{
    uint32_t c = operand_type(s, n)->dims[0], kernel[2];
    get_pair(n, KEY_kernel, kernel);
    uint32_t weight = expr_fill(&s->b, (uint32_t[]){c, 1, kernel[0], kernel[1]}, 4,
                                1.0 / ((double)kernel[0] * kernel[1]));
    struct lterm t = blank_term(weight, c);
    get_pair(n, KEY_stride, t.stride);
    get_pad(n, t.pad);
    return window(s, n, t, NONE);
}

static struct parts do_global_avg_pool(struct state *s, const struct node *n)
{
    const uint32_t *in = operand_type(s, n)->dims;
    uint32_t weight =
        expr_fill(&s->b, (uint32_t[]){in[0], 1, in[1], in[2]}, 4, 1.0 / ((double)in[1] * in[2]));
    return window(s, n, blank_term(weight, in[0]), NONE);
}

static struct parts do_upsample(struct state *s, const struct node *n)
{
    uint32_t c = operand_type(s, n)->dims[0];
    struct lterm t = blank_term(expr_fill(&s->b, (uint32_t[]){c, 1, 1, 1}, 4, 1), c);
    get_pair(n, KEY_factor, t.up);
    return window(s, n, t, NONE);
}

/* The elements of every part are read where they lie: the window is the whole map. */
static struct parts do_linear(struct state *s, const struct node *n)
{
    struct parts in = s->of[n->args[0]];
    uint32_t w = (uint32_t)node_int(n, KEY_w), outs = n->type.dims[0];
    struct map_draft d = map_draft(&s->b, n->type.dims);
    for (uint32_t i = 0, from = 0; i < in.len; i++) {
        const struct part *part = &in.at[i];
        uint32_t elements = part->c * part->h * part->w;
        uint32_t slice = expr_slice(&s->b, w, 1, from, elements);
        uint32_t weight =
            expr_reshape(&s->b, slice, (uint32_t[]){outs, part->c, part->h, part->w}, 4);
        struct lterm t = lterm_plain(s->p, part->value, weight, 1);
        map_draft_add(&d, &t, part->value);
        from += elements;
    }
    map_draft_bias(&d, node_ref_or_none(n, KEY_bias));
    return one_part(s, map_draft_build(&d));
}

/* ---- elementwise operators ------------------------------------------------------------------ */

static struct parts do_batch_norm(struct state *s, const struct node *n)
{
    struct build *b = &s->b;
    struct parts in = unflattened(s, n->args[0]), out = new_parts(s, in.len);
    uint32_t var = expr_affine(b, (uint32_t)node_int(n, KEY_var), 1, node_real(n, KEY_eps));
    uint32_t scale = expr_mul(b, (uint32_t)node_int(n, KEY_gamma), expr_pow(b, var, -0.5));
    uint32_t moved = expr_mul(b, (uint32_t)node_int(n, KEY_mean), scale);
    uint32_t bias = expr_sub(b, (uint32_t)node_int(n, KEY_beta), moved);
    for (uint32_t i = 0, from = 0; i < in.len; from += in.at[i++].c) {
        out.at[i] = in.at[i];
        out.at[i].value = scale_map(b, in.at[i].value, expr_slice(b, scale, 0, from, in.at[i].c),
                                    expr_slice(b, bias, 0, from, in.at[i].c));
    }
    return out;
}

static struct parts do_poly(struct state *s, const struct node *n)
{
    uint32_t coeff = (uint32_t)node_int(n, KEY_coeff);
    bool per_channel = const_type(s->p, coeff)->rank == 2;
    struct parts in = per_channel ? unflattened(s, n->args[0]) : s->of[n->args[0]];
    struct parts out = new_parts(s, in.len);
    for (uint32_t i = 0, from = 0; i < in.len; from += in.at[i++].c) {
        uint32_t own = per_channel ? expr_slice(&s->b, coeff, 1, from, in.at[i].c) : coeff;
        build_int(&s->b, KEY_coeff, own);
        out.at[i] = in.at[i];
        out.at[i].value = build1(&s->b, OP_poly, in.at[i].value);
    }
    return out;
}

static struct parts do_add_channel(struct state *s, const struct node *n)
{
    uint32_t bias = (uint32_t)node_int(n, KEY_bias);
    struct parts in = unflattened(s, n->args[0]), out = new_parts(s, in.len);
    for (uint32_t i = 0, from = 0; i < in.len; from += in.at[i++].c) {
        out.at[i] = in.at[i];
        out.at[i].value =
            add_channel(&s->b, in.at[i].value, expr_slice(&s->b, bias, 0, from, in.at[i].c));
    }
    return out;
}

static bool same_parts(const struct parts *x, const struct parts *y)
{
    if (x->len != y->len)
        return false;
    for (uint32_t i = 0; i < x->len; i++) {
        const struct part *a = &x->at[i], *b = &y->at[i];
        if (a->c != b->c || a->h != b->h || a->w != b->w || really_flat(a) != really_flat(b))
            return false;
    }
    return true;
}

/* add, sub, mul: part by part where all operands are cut alike, else on whole tensors */
static struct parts do_elementwise(struct state *s, const struct node *n)
{
    bool same = true;
    for (uint32_t k = 1; k < n->num_args; k++)
        same = same && same_parts(&s->of[n->args[0]], &s->of[n->args[k]]);
    if (!same)
        for (uint32_t k = 0; k < n->num_args; k++)
            single(s, n->args[k]);
    struct parts first = s->of[n->args[0]], out = new_parts(s, first.len);
    uint32_t *args = arena_array(s->p->arena, n->num_args, sizeof *args);
    for (uint32_t i = 0; i < first.len; i++) {
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = s->of[n->args[k]].at[i].value;
        out.at[i] = first.at[i];
        out.at[i].value = build_node(&s->b, (enum op)n->op, args, n->num_args);
    }
    return out;
}

static struct parts do_flatten(struct state *s, const struct node *n)
{
    struct parts in = s->of[n->args[0]], out = new_parts(s, in.len);
    for (uint32_t i = 0; i < in.len; i++) {
        out.at[i] = in.at[i];
        out.at[i].flat = true;
    }
    return out;
}

static struct parts do_concat(struct state *s, const struct node *n)
{
    uint32_t len = 0;
    for (uint32_t k = 0; k < n->num_args; k++)
        len += s->of[n->args[k]].len;
    struct parts out = new_parts(s, len);
    len = 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        const struct parts *in = &s->of[n->args[k]];
        memcpy(out.at + len, in->at, in->len * sizeof *in->at);
        len += in->len;
    }
    return out;
}

/* A lone flattened tensor is given out as it is: the client reads elements in the same order. */
static void do_output(struct state *s, const struct node *n)
{
    uint32_t *args = arena_array(s->p->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++) {
        const struct parts *in = &s->of[n->args[k]];
        args[k] = in->len == 1 ? in->at[0].value : single(s, n->args[k]);
    }
    prog_copy_node(s->p, n, args);
}

static struct parts do_copy(struct state *s, const struct node *n)
{
    uint32_t *args = arena_array(s->p->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++)
        args[k] = single(s, n->args[k]);
    return one_part(s, prog_copy_node(s->p, n, args));
}

static struct parts rewrite(struct state *s, const struct node *n)
{
    switch ((enum op)n->op) {
    case OP_conv2d:
        return do_conv2d(s, n);
    case OP_batch_norm:
        return do_batch_norm(s, n);
    case OP_linear:
        return do_linear(s, n);
    case OP_avg_pool:
        return do_avg_pool(s, n);
    case OP_global_avg_pool:
        return do_global_avg_pool(s, n);
    case OP_upsample_nearest:
        return do_upsample(s, n);
    case OP_flatten:
        return do_flatten(s, n);
    case OP_concat:
        return do_concat(s, n);
    case OP_poly:
        return do_poly(s, n);
    case OP_add_channel:
        return do_add_channel(s, n);
    case OP_add:
    case OP_sub:
    case OP_mul:
        return do_elementwise(s, n);
    case OP_output:
        do_output(s, n);
        return (struct parts){0};
    default:
        return do_copy(s, n);
    }
}

/* ---- the reference network ------------------------------------------------------------------ */

static void keep_reference(struct prog *p)
{
    const struct nodes *from = &p->nodes;
    struct nodes copy = {arena_array(p->arena, from->len, sizeof(struct node)), from->len,
                         from->len};
    memcpy(copy.at, from->at, from->len * sizeof *copy.at);
    for (uint32_t i = 0; i < copy.len; i++) {
        struct node *n = &copy.at[i];
        struct attr *attrs = arena_array(p->arena, n->num_attrs, sizeof *attrs);
        memcpy(attrs, n->attrs, n->num_attrs * sizeof *attrs);
        n->attrs = attrs;
    }
    p->reference = copy;
}

struct prog *nn_linear(struct prog *in, const struct opts *o)
{
    (void)o;
    struct state s = {.in = in, .p = prog_derive(in, STAGE_NN)};
    s.of = arena_array(in->arena, in->nodes.len, sizeof *s.of);
    for (uint32_t i = 0; i < in->nodes.len; i++) {
        s.b = build_like(s.p, &in->nodes.at[i]);
        s.of[i] = rewrite(&s, &in->nodes.at[i]);
    }
    struct prog *out = prog_clean(s.p);
    if (out->reference.len == 0)
        keep_reference(out);
    return prog_compact(out);
}
