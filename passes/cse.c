/* SPDX-License-Identifier: Apache-2.0 */
#include "passes.h"

#include <string.h>

/*
 * prog_clean: merge equal nodes, then drop unused ones; any stage.
 *
 * Two nodes are equal when they have the same PURE op, the same (already merged) operands, the same
 * attributes and the same type. The first one stays, with its location. Constants, layouts and maps
 * are left alone.
 *
 * prog_compact: drop the constants, layouts and maps that nothing names, keeping their order; equal
 * maps without layouts become one.
 */

/* The bytes that decide equality, in the scratch buffer b. */
static void key_of(const struct node *n, const uint32_t *args, struct str *b)
{
    uint32_t head[3] = {n->op, n->num_args, n->num_attrs};
    b->len = 0;
    str_addn(b, (const char *)head, sizeof head);
    str_addn(b, (const char *)args, n->num_args * sizeof *args);
    for (uint32_t i = 0; i < n->num_attrs; i++) {
        const struct attr *a = &n->attrs[i];
        uint32_t what[2] = {a->key, a->len};
        str_addn(b, (const char *)what, sizeof what);
        switch (key_kind((enum key)a->key)) {
        case ATTR_INTS:
            str_addn(b, (const char *)a->v.ints, a->len * sizeof *a->v.ints);
            break;
        case ATTR_REALS:
            str_addn(b, (const char *)a->v.reals, a->len * sizeof *a->v.reals);
            break;
        case ATTR_STR:
            str_addn(b, a->v.str, strlen(a->v.str) + 1);
            break;
        case ATTR_REAL:
            str_addn(b, (const char *)&a->v.r, sizeof a->v.r);
            break;
        default:
            str_addn(b, (const char *)&a->v.i, sizeof a->v.i);
        }
    }
    const struct type *t = &n->type;
    uint32_t type[4] = {(uint32_t)t->kind, t->layout, t->n, (uint32_t)t->level};
    str_addn(b, (const char *)type, sizeof type);
    str_addn(b, (const char *)&t->scale, sizeof t->scale);
}

/* same[i]: the first node that equals node i */
static uint32_t *find_equal(const struct prog *p)
{
    const struct nodes *nodes = &p->nodes;
    uint32_t *same = arena_array(p->arena, nodes->len, sizeof *same);
    struct arena_mark mark = arena_mark(p->arena);
    struct map seen;
    struct str b;
    map_init(&seen, p->arena);
    str_init(&b, p->arena);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        same[i] = i;
        if (!(op_info[n->op].flags & PURE))
            continue;
        uint32_t *args = arena_array(p->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = same[n->args[k]];
        key_of(n, args, &b);
        bool is_new;
        uint64_t *value = map_put(&seen, arena_strndup(p->arena, b.s, b.len), b.len, &is_new);
        if (is_new)
            *value = i;
        same[i] = (uint32_t)*value;
    }
    arena_release(p->arena, mark);
    return same;
}

struct prog *prog_clean(struct prog *in)
{
    const struct nodes *nodes = &in->nodes;
    uint32_t *same = find_equal(in);
    bool *used = arena_array(in->arena, nodes->len, sizeof *used);
    for (uint32_t i = nodes->len; i-- > 0;) {
        if (!(op_info[nodes->at[i].op].flags & PURE))
            used[i] = true;
        if (!used[i])
            continue;
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++)
            used[same[nodes->at[i].args[k]]] = true;
    }
    struct prog *p = prog_derive(in, in->stage);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (!used[i])
            continue;
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = now[same[n->args[k]]];
        now[i] = prog_copy_node(p, n, args);
    }
    return p;
}

/* ---- unused constants, layouts and maps ------------------------------------------------------ */

/* Which entries of a table stay, and their new numbers. */
struct keep {
    bool *used;
    uint32_t *now;
};

struct tables {
    struct prog *in;
    struct keep consts, layouts, maps;
};

static struct keep keep_none(struct arena *a, uint32_t len)
{
    return (struct keep){arena_array(a, len, sizeof(bool)), arena_array(a, len, sizeof(uint32_t))};
}

static struct keep *table_of(struct tables *t, const struct attr *a)
{
    switch (key_kind((enum key)a->key)) {
    case ATTR_CONST:
        return &t->consts;
    case ATTR_LAYOUT:
        return &t->layouts;
    case ATTR_MAP:
        return &t->maps;
    default:
        return NULL;
    }
}

static void mark_nodes(struct tables *t, const struct nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        for (uint32_t k = 0; k < n->num_attrs; k++) {
            struct keep *keep = table_of(t, &n->attrs[k]);
            if (keep)
                keep->used[n->attrs[k].v.i] = true;
        }
        if (n->type.layout != NONE)
            t->layouts.used[n->type.layout] = true;
    }
}

static void mark_maps_and_consts(struct tables *t)
{
    for (uint32_t i = 0; i < t->in->num_maps; i++) {
        const struct lmap *m = &t->in->maps[i];
        if (!t->maps.used[i])
            continue;
        if (m->out_layout != NONE)
            t->layouts.used[m->out_layout] = true;
        for (uint32_t k = 0; k < m->num_terms; k++) {
            if (m->term[k].weight != NONE)
                t->consts.used[m->term[k].weight] = true;
            if (m->term[k].in_layout != NONE)
                t->layouts.used[m->term[k].in_layout] = true;
        }
    }
    for (uint32_t i = t->in->consts.len; i-- > 0;)
        for (uint32_t k = 0; t->consts.used[i] && k < t->in->consts.at[i].num_args; k++)
            t->consts.used[t->in->consts.at[i].args[k]] = true;
}

static void copy_consts(struct tables *t, struct prog *q)
{
    q->consts = (struct nodes){0};
    q->const_index = NULL;
    q->const_memo = NULL;
    q->num_const_memo = 0;
    for (uint32_t i = 0; i < t->in->consts.len; i++) {
        const struct node *n = &t->in->consts.at[i];
        if (!t->consts.used[i])
            continue;
        struct build b = build_like(q, n);
        uint32_t args[2];
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = t->consts.now[n->args[k]];
        memcpy(b.attrs, n->attrs, n->num_attrs * sizeof *n->attrs);
        b.num_attrs = n->num_attrs;
        t->consts.now[i] = build_node(&b, (enum op)n->op, args, n->num_args);
    }
}

static uint32_t renumbered(const struct keep *keep, uint32_t old)
{
    return old == NONE ? NONE : keep->now[old];
}

/* The number of m in q: maps that nn_layout has not seen yet are shared, so that prog_clean can
 * merge their nodes. */
static uint32_t add_map(struct prog *q, struct map *seen, const struct lmap *m)
{
    if (m->out_layout != NONE)
        return prog_add_map(q, m);
    struct str b;
    str_init(&b, q->arena);
    uint32_t dft[3] = {m->dft.first, m->dft.last, m->dft.inverse};
    str_addn(&b, (const char *)m->out, sizeof m->out);
    str_addn(&b, (const char *)dft, sizeof dft);
    str_addn(&b, (const char *)m->term, m->num_terms * sizeof *m->term);
    bool is_new;
    uint64_t *at = map_put(seen, b.s, b.len, &is_new);
    if (is_new)
        *at = prog_add_map(q, m);
    return (uint32_t)*at;
}

/* No holes in the bytes that add_map compares */
_Static_assert(sizeof(struct lterm) == 18 * sizeof(uint32_t) + sizeof(enum wrap),
               "lterm has padding");

static void copy_layouts_and_maps(struct tables *t, struct prog *q)
{
    struct map seen;
    map_init(&seen, q->arena);
    q->num_layouts = q->num_maps = 0;
    for (uint32_t i = 0; i < t->in->num_layouts; i++)
        if (t->layouts.used[i])
            t->layouts.now[i] = prog_add_layout(q, &t->in->layouts[i]);
    for (uint32_t i = 0; i < t->in->num_maps; i++) {
        struct lmap m = t->in->maps[i];
        if (!t->maps.used[i])
            continue;
        struct lterm *term = arena_array(q->arena, m.num_terms, sizeof *term);
        for (uint32_t k = 0; k < m.num_terms; k++) {
            term[k] = m.term[k];
            term[k].weight = renumbered(&t->consts, term[k].weight);
            term[k].in_layout = renumbered(&t->layouts, term[k].in_layout);
        }
        m.term = term;
        m.out_layout = renumbered(&t->layouts, m.out_layout);
        t->maps.now[i] = add_map(q, &seen, &m);
    }
}

static struct nodes renumber_nodes(struct tables *t, const struct nodes *from)
{
    struct arena *a = t->in->arena;
    struct nodes to = {arena_array(a, from->len, sizeof *to.at), from->len, from->len};
    for (uint32_t i = 0; i < from->len; i++) {
        struct node *n = &to.at[i];
        *n = from->at[i];
        n->type.layout = renumbered(&t->layouts, n->type.layout);
        n->attrs = arena_array(a, n->num_attrs, sizeof *n->attrs);
        for (uint32_t k = 0; k < n->num_attrs; k++) {
            n->attrs[k] = from->at[i].attrs[k];
            const struct keep *keep = table_of(t, &n->attrs[k]);
            if (keep)
                n->attrs[k].v.i = keep->now[n->attrs[k].v.i];
        }
    }
    return to;
}

struct prog *prog_compact(struct prog *in)
{
    struct tables t = {.in = in,
                       .consts = keep_none(in->arena, in->consts.len),
                       .layouts = keep_none(in->arena, in->num_layouts),
                       .maps = keep_none(in->arena, in->num_maps)};
    mark_nodes(&t, &in->nodes);
    mark_nodes(&t, &in->reference);
    mark_nodes(&t, &in->packed);
    for (uint32_t f = 0; f < in->num_funcs; f++)
        mark_nodes(&t, &in->funcs[f].nodes);
    mark_maps_and_consts(&t);
    struct prog *q = prog_derive(in, in->stage);
    copy_consts(&t, q);
    copy_layouts_and_maps(&t, q);
    q->nodes = renumber_nodes(&t, &in->nodes);
    q->reference = renumber_nodes(&t, &in->reference);
    q->packed = renumber_nodes(&t, &in->packed);
    q->funcs = arena_array(in->arena, in->num_funcs, sizeof *q->funcs);
    for (uint32_t f = 0; f < in->num_funcs; f++)
        q->funcs[f] = (struct func){in->funcs[f].name, renumber_nodes(&t, &in->funcs[f].nodes)};
    return q;
}
