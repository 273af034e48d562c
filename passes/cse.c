/* SPDX-License-Identifier: Apache-2.0 */
#include "passes.h"

#include <string.h>

/*
 * prog_clean: merge equal nodes, then drop unused ones; any stage.
 *
 * Two nodes are equal when they have the same PURE op, the same (already merged) operands, the same
 * attributes and the same type. The first one stays, with its location. Constants, layouts and maps
 * are left alone.
 */

/* The bytes that decide equality, in the scratch buffer b. */
static void key_of(const struct node *n, const uint32_t *args, struct str *b) {
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
static uint32_t *find_equal(const struct prog *p) {
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

struct prog *prog_clean(struct prog *in) {
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
