/* SPDX-License-Identifier: Apache-2.0 */
#include "layout_search.h"

#include "nn_build.h"

enum { MAX_CANDIDATES = 20 };

/* ---- classes -------------------------------------------------------------------------------- */

static uint32_t find_root(uint32_t *parent, uint32_t v)
{
    while (parent[v] != v)
        v = parent[v] = parent[parent[v]];
    return v;
}

static bool is_elementwise(const struct node *n)
{
    return n->op == OP_add || n->op == OP_sub || n->op == OP_mul || n->op == OP_add_channel;
}

static void group_values(struct classes *s)
{
    const struct nodes *nodes = &s->p->nodes;
    struct arena *a = s->p->arena;
    uint32_t *parent = arena_array(a, nodes->len, sizeof *parent);
    for (uint32_t i = 0; i < nodes->len; i++)
        parent[i] = i;
    for (uint32_t i = 0; i < nodes->len; i++)
        for (uint32_t k = 0; is_elementwise(&nodes->at[i]) && k < nodes->at[i].num_args; k++) {
            uint32_t x = find_root(parent, nodes->at[i].args[k]), y = find_root(parent, i);
            parent[x > y ? x : y] = x < y ? x : y;
        }
    s->of = arena_array(a, nodes->len, sizeof *s->of);
    s->at = arena_array(a, nodes->len, sizeof *s->at);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        uint32_t root = find_root(parent, i);
        if (n->op == OP_output) {
            s->of[i] = NONE;
        } else if (root != i) {
            s->of[i] = s->of[root];
        } else {
            const uint32_t *d = n->type.dims;
            s->of[i] = s->len;
            s->at[s->len++] = (struct class){
                .first = i,
                .dims = {d[0], d[1], d[2]},
                .parent = n->op == OP_map ? s->of[n->args[0]] : NONE,
            };
        }
    }
}

/* ---- one candidate -------------------------------------------------------------------------- */

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

/* Smallest power of two >= x, 2^31 at most */
static uint32_t power_of_two(uint64_t x)
{
    uint32_t r = 1;
    while (r < x && r < 1U << 31)
        r *= 2;
    return r;
}

/* What distinguishes candidates; 0 for pitch, block, n: the smallest. */
struct sketch {
    uint32_t g[2], t[2], pitch, block, n;
};

/* Adds the layout unless it does not fit, is there already or wastes most of its slots. */
static void add(struct classes *s, struct class *c, struct sketch k)
{
    struct layout l = {.c = c->dims[0],
                       .h = c->dims[1],
                       .w = c->dims[2],
                       .g_h = k.g[0],
                       .g_w = k.g[1],
                       .t_h = k.t[0],
                       .t_w = k.t[1]};
    if (c->len == MAX_CANDIDATES || l.t_h > s->max_slots || l.t_w > s->max_slots)
        return;
    uint32_t rows = l.t_h * ceil_div(l.h, l.g_h);
    uint64_t row = (uint64_t)l.t_w * ceil_div(l.w, l.g_w);
    uint64_t pitch = k.pitch && rows > 1 ? k.pitch : row;
    uint64_t need = (uint64_t)(rows - 1) * pitch + row;
    if (pitch < row || need > s->max_slots)
        return;
    l.pitch = (uint32_t)pitch;
    l.block = power_of_two(need);
    if (k.block > l.block)
        l.block = k.block;
    uint64_t n = (uint64_t)power_of_two(ceil_div(l.c, l.t_h * l.t_w)) * l.block;
    if (k.n > n)
        n = k.n;
    l.n = n > s->max_slots ? s->max_slots : (uint32_t)n;
    const char *why;
    if (!layout_finish(&l, &why))
        return;
    uint32_t id = prog_add_layout(s->p, &l);
    for (uint32_t i = 0; i < c->len; i++)
        if (c->candidate[i] == id)
            return;
    ARENA_GROW(s->p->arena, c->candidate, c->len, c->cap);
    c->candidate[c->len++] = id;
}

/* ---- families of candidates ----------------------------------------------------------------- */

/* (g, t) behind a window of stride s on an image upsampled by u, one axis */
static void keep_axis(uint32_t g, uint32_t t, uint32_t s, uint32_t u, uint32_t size,
                      uint32_t *g_out, uint32_t *t_out)
{
    layout_stride(g, t, s, g_out, t_out);
    if (*t_out % u == 0)
        *t_out /= u;
    else
        *g_out *= u;
    if (size == 1)
        *g_out = 1;
}

/* What keeps the pitch of the operand, with its block and n or smaller ones */
static void add_kept(struct classes *s, struct class *c, const struct lterm *t, uint32_t layout,
                     bool wide)
{
    const struct layout in = s->p->layouts[layout];
    struct sketch k = {.pitch = in.pitch, .block = wide ? in.block : 0, .n = wide ? in.n : 0};
    keep_axis(in.g_h, in.t_h, t->stride[0], t->up[0], c->dims[1], &k.g[0], &k.t[0]);
    keep_axis(in.g_w, in.t_w, t->stride[1], t->up[1], c->dims[2], &k.g[1], &k.t[1]);
    add(s, c, k);
    if (wide && in.n > in.block) {
        k.n = 0;
        add(s, c, k);
    }
}

/* Columns of the widest image on the way from here if every map keeps the pitch, in slots */
static uint32_t *widest(const struct classes *s)
{
    uint32_t *reach = arena_array(s->p->arena, s->len, sizeof *reach);
    for (uint32_t i = s->len; i-- > 0;) {
        const struct class *c = &s->at[i];
        if (reach[i] < c->dims[2])
            reach[i] = c->dims[2];
        if (c->parent == NONE)
            continue;
        const struct lterm *t = &node_map(s->p, &s->p->nodes.at[c->first])->term[0];
        uint64_t up = (uint64_t)reach[i] * t->stride[1] / t->up[1];
        if (up <= s->max_slots && up > reach[c->parent])
            reach[c->parent] = (uint32_t)up;
    }
    return reach;
}

/* An interleave with which one channel's image fits */
static uint32_t least_interleave(const struct classes *s, const struct class *c)
{
    uint32_t g = 1;
    while ((uint64_t)ceil_div(c->dims[1], g) * ceil_div(c->dims[2], g) > s->max_slots)
        g++;
    return g;
}

static void add_fresh(struct classes *s, struct class *c, uint32_t reach)
{
    uint32_t w = c->dims[2], g = least_interleave(s, c);
    for (uint32_t k = 0; k < 2; k++, g *= 2) {
        struct sketch x = {.g = {g, g}, .t = {1, 1}};
        add(s, c, x);
        x.pitch = ceil_div(reach, g);
        add(s, c, x);
        x.pitch = power_of_two(ceil_div(w, g));
        add(s, c, x);
        /* more interleaving only where several ciphertexts are needed anyway */
        if (c->len && s->p->layouts[c->candidate[0]].num_ct < 4)
            break;
    }
    for (uint32_t t = 2; t <= 4 && t * t <= c->dims[0]; t *= 2) {
        add(s, c, (struct sketch){.g = {1, 1}, .t = {t, t}, .pitch = t * reach});
        add(s, c, (struct sketch){.g = {1, 1}, .t = {t, t}});
    }
    add(s, c, (struct sketch){.g = {1, 1}, .t = {1, c->dims[0]}});
}

/* What the child's stride turns into its channel-fastest layout, or into whole ciphertexts */
static void add_pulled_back(struct classes *s, struct class *c, const struct class *child)
{
    const struct lterm *t = &node_map(s->p, &s->p->nodes.at[child->first])->term[0];
    if (child->dims[0] % t->stride[1] == 0 && child->dims[1] * child->dims[2] > 1)
        add(s, c, (struct sketch){.g = {1, 1}, .t = {1, child->dims[0] / t->stride[1]}});
    if ((t->stride[0] > 1 || t->stride[1] > 1) && c->parent == NONE)
        add(s, c, (struct sketch){.g = {t->stride[0], t->stride[1]}, .t = {1, 1}});
}

/* Multiplexed packing (Lee et al., "Low-complexity deep convolutional neural networks on fully homomorphic
 * encryption using multiplexed parallel convolutions", ICML 2022): rows of the picture's width, a block for
 * a channel; a stride leaves gaps, which other channels of the block fill. False where that does not fit. */
static bool add_multiplexed(struct classes *s, struct class *c, uint32_t reach)
{
    if (c->parent == NONE) {
        uint32_t g = least_interleave(s, c);
        add(s, c, (struct sketch){.g = {g, g}, .t = {1, 1}, .pitch = ceil_div(reach, g)});
    } else {
        const struct layout in = s->p->layouts[s->at[c->parent].candidate[0]];
        const struct lterm *t = &node_map(s->p, &s->p->nodes.at[c->first])->term[0];
        struct sketch k = {.pitch = in.pitch, .block = in.block};
        keep_axis(in.g_h, in.t_h, t->stride[0], t->up[0], c->dims[1], &k.g[0], &k.t[0]);
        keep_axis(in.g_w, in.t_w, t->stride[1], t->up[1], c->dims[2], &k.g[1], &k.t[1]);
        add(s, c, k);
    }
    return c->len > 0;
}

static void make_candidates(struct classes *s)
{
    uint32_t *reach = widest(s);
    for (uint32_t i = 0; i < s->len; i++) {
        struct class *c = &s->at[i];
        if (s->how == LAYOUT_MULTIPLEXED && add_multiplexed(s, c, reach[i]))
            continue;
        if (c->parent != NONE) {
            const struct class *from = &s->at[c->parent];
            const struct lterm t = node_map(s->p, &s->p->nodes.at[c->first])->term[0];
            for (int wide = 0; wide < 2; wide++)
                for (uint32_t k = 0; k < from->len && c->len < MAX_CANDIDATES - 6; k++)
                    add_kept(s, c, &t, from->candidate[k], wide);
        }
        add_fresh(s, c, reach[i]);
        for (uint32_t j = i + 1; j < s->len; j++)
            if (s->at[j].parent == i)
                add_pulled_back(s, c, &s->at[j]);
        if (c->len == 0) {
            const struct node *n = &s->p->nodes.at[c->first];
            diag_fatal(n->loc,
                       "layer '%s': a row of %u values does not fit in a ciphertext of %u slots",
                       n->layer, c->dims[2], s->max_slots);
        }
    }
}

struct classes find_classes(const struct prog *p, uint32_t max_slots, enum layout_how how)
{
    struct classes s = {.p = prog_derive(p, STAGE_NN), .max_slots = max_slots, .how = how};
    s.p->nodes = p->nodes;
    group_values(&s);
    make_candidates(&s);
    return s;
}
