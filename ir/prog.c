/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <string.h>

enum { MOST_NODES = 1 << 24 };

struct prog *prog_new(struct arena *a, enum stage stage)
{
    struct prog *p = arena_alloc(a, sizeof *p);
    p->arena = a;
    p->stage = stage;
    p->source = p->weights_path = "";
    p->model.name = "";
    p->memo = arena_child(a);
    p->strings = arena_alloc(p->memo, sizeof *p->strings);
    map_init(p->strings, p->memo);
    return p;
}

static void *copied(struct arena *a, const void *data, size_t count, size_t size)
{
    void *copy = arena_array(a, count, size);
    arena_copy_(copy, data, count * size);
    return copy;
}

struct prog *prog_derive(const struct prog *p, enum stage stage)
{
    struct prog *q = arena_alloc(p->arena, sizeof *q);
    *q = *p;
    q->stage = stage;
    q->nodes = (struct nodes){NULL, 0, 0};
    /* tables of its own: both programs may grow from here */
    q->consts.at = copied(p->arena, p->consts.at, p->consts.len, sizeof *p->consts.at);
    q->consts.cap = p->consts.len;
    q->layouts = copied(p->arena, p->layouts, p->num_layouts, sizeof *p->layouts);
    q->cap_layouts = p->num_layouts;
    q->maps = copied(p->arena, p->maps, p->num_maps, sizeof *p->maps);
    q->cap_maps = p->num_maps;
    q->const_index = NULL;
    q->const_memo = copied(p->memo, p->const_memo, p->num_const_memo, sizeof *p->const_memo);
    return q;
}

struct prog *prog_of_func(const struct prog *p, uint32_t f)
{
    if (f >= p->num_funcs) {
        BUG("there is no function %u", f);
    }
    struct prog *q = prog_derive(p, p->stage);
    q->nodes = p->funcs[f].nodes;
    q->reference = q->packed = (struct nodes){NULL, 0, 0};
    q->points = NULL;
    q->num_points = 0;
    q->funcs = NULL;
    q->num_funcs = 0;
    q->is_function = true;
    return q;
}

const char *intern(struct prog *p, const char *s)
{
    size_t len = strlen(s);
    const struct map_entry *e = p->strings->entry;
    const uint64_t *at = map_get(p->strings, s, len);
    if (at) {
        return e[*at].key;
    }
    const char *copy = arena_strndup(p->memo, s, len);
    bool is_new;
    uint32_t index = p->strings->len;
    *map_put(p->strings, copy, len, &is_new) = index;
    return copy;
}

/* ---- attributes ----------------------------------------------------------------------------- */

const struct attr *node_attr(const struct node *n, enum key k)
{
    for (uint32_t i = 0; i < n->num_attrs; i++) {
        if (n->attrs[i].key == k) {
            return &n->attrs[i];
        }
    }
    return NULL;
}

static const struct attr *required(const struct node *n, enum key k)
{
    const struct attr *a = node_attr(n, k);
    if (!a) {
        BUG("'%s' has no attribute '%s'", op_info[n->op].name, key_name(k));
    }
    return a;
}

int64_t node_int(const struct node *n, enum key k)
{
    return required(n, k)->v.i;
}

int64_t node_int_or(const struct node *n, enum key k, int64_t otherwise)
{
    const struct attr *a = node_attr(n, k);
    return a ? a->v.i : otherwise;
}

double node_real(const struct node *n, enum key k)
{
    return required(n, k)->v.r;
}

const int64_t *node_ints(const struct node *n, enum key k, uint32_t *len)
{
    const struct attr *a = required(n, k);
    *len = a->len;
    return a->v.ints;
}

uint32_t node_ref_or_none(const struct node *n, enum key k)
{
    const struct attr *a = node_attr(n, k);
    return a ? (uint32_t)a->v.i : NONE;
}

bool node_key_kind(const struct node *n, enum key_kind *kind)
{
    switch (n->op) {
    case OP_key_mul:
        *kind = node_attr(n, KEY_conjugate) ? KEY_KIND_CONJUGATE
                : node_attr(n, KEY_by)      ? KEY_KIND_ROTATE
                                            : KEY_KIND_RELINEARISE;
        return true;
    case OP_encapsulate:
        *kind = KEY_KIND_ENCAPSULATE;
        return true;
    case OP_raised_mul:
        *kind = KEY_KIND_RAISED;
        return true;
    default:
        return false;
    }
}

/* Position of a key in the op's row, or num_attrs. */
static uint32_t row_position(const struct op_info *info, uint32_t key)
{
    uint32_t i = 0;
    while (i < info->num_attrs && info->attr[i] != key) {
        i++;
    }
    return i;
}

/* Attribute lists may be shared with the node that this one was copied from, so that a change
 * makes a new list. */
static void set_attr(struct prog *p, struct node *n, struct attr value)
{
    const struct op_info *info = &op_info[n->op];
    uint32_t pos = row_position(info, value.key);
    if (pos == info->num_attrs) {
        BUG("'%s' takes no attribute '%s'", info->name, key_name(value.key));
    }
    struct attr *list = arena_array(p->arena, (size_t)n->num_attrs + 1, sizeof *list);
    uint32_t len = 0;
    bool placed = false;
    for (uint32_t i = 0; i < n->num_attrs; i++) {
        if (!placed && row_position(info, n->attrs[i].key) >= pos) {
            list[len++] = value;
            placed = true;
        }
        if (n->attrs[i].key != value.key) {
            list[len++] = n->attrs[i];
        }
    }
    if (!placed) {
        list[len++] = value;
    }
    n->attrs = list;
    n->num_attrs = (uint16_t)len;
}

void node_set_int(struct prog *p, struct node *n, enum key k, int64_t v)
{
    set_attr(p, n, (struct attr){.key = (uint16_t)k, .v.i = v});
}

void node_set_real(struct prog *p, struct node *n, enum key k, double v)
{
    set_attr(p, n, (struct attr){.key = (uint16_t)k, .v.r = v});
}

/* ---- building ------------------------------------------------------------------------------- */

struct build build_at(struct prog *p, struct loc loc, const char *layer)
{
    struct build b = {.p = p, .loc = loc};
    b.layer = intern(p, layer ? layer : "");
    return b;
}

struct build build_like(struct prog *p, const struct node *n)
{
    return build_at(p, n->loc, n->layer);
}

static struct attr *new_attr(struct build *b, enum key k)
{
    if (b->num_attrs == sizeof b->attrs / sizeof *b->attrs) {
        BUG("too many attributes");
    }
    struct attr *a = &b->attrs[b->num_attrs++];
    *a = (struct attr){.key = (uint16_t)k};
    return a;
}

void build_int(struct build *b, enum key k, int64_t v)
{
    new_attr(b, k)->v.i = v;
}

void build_ints(struct build *b, enum key k, const int64_t *v, uint32_t len)
{
    struct attr *a = new_attr(b, k);
    a->len = len;
    a->v.ints = copied(b->p->arena, v, len, sizeof *v);
}

void build_real(struct build *b, enum key k, double v)
{
    new_attr(b, k)->v.r = v;
}

void build_reals(struct build *b, enum key k, const double *v, uint32_t len)
{
    struct attr *a = new_attr(b, k);
    a->len = len;
    a->v.reals = copied(b->p->arena, v, len, sizeof *v);
}

void build_str(struct build *b, enum key k, const char *v)
{
    new_attr(b, k)->v.str = intern(b->p, v);
}

void build_type(struct build *b, const struct type *t)
{
    b->type = *t;
    b->has_type = true;
}

static void sort_attrs(struct attr *attrs, uint32_t num, const struct op_info *info)
{
    for (uint32_t i = 1; i < num; i++) { /* insertion: a dozen at most */
        struct attr x = attrs[i];
        uint32_t j = i;
        for (; j > 0 && row_position(info, attrs[j - 1].key) > row_position(info, x.key); j--) {
            attrs[j] = attrs[j - 1];
        }
        attrs[j] = x;
    }
}

/* The bytes that two equal constants share: op, operands, attributes; not the place. */
static void const_key(struct str *s, enum op op, const uint32_t *args, uint32_t num_args,
                      const struct attr *attrs, uint32_t num_attrs)
{
    str_addn(s, (const char *)&op, sizeof op);
    str_addn(s, (const char *)args, num_args * sizeof *args);
    for (uint32_t i = 0; i < num_attrs; i++) {
        const struct attr *a = &attrs[i];
        str_addn(s, (const char *)&a->key, sizeof a->key);
        str_addn(s, (const char *)&a->len, sizeof a->len);
        switch (key_kind(a->key)) {
        case ATTR_INTS:
            str_addn(s, (const char *)a->v.ints, a->len * sizeof *a->v.ints);
            break;
        case ATTR_REALS:
            str_addn(s, (const char *)a->v.reals, a->len * sizeof *a->v.reals);
            break;
        case ATTR_STR:
            str_addn(s, a->v.str, strlen(a->v.str) + 1);
            break;
        default:
            str_addn(s, (const char *)&a->v, sizeof a->v);
        }
    }
}

/* The index of an equal constant, or NONE; the constant is then expected to become number
 * consts.len. */
static uint32_t find_const(struct prog *p, enum op op, const uint32_t *args, uint32_t num_args,
                           const struct attr *attrs, uint32_t num_attrs)
{
    struct arena_mark mark = arena_mark(p->memo);
    struct str key;
    str_init(&key, p->memo);
    const_key(&key, op, args, num_args, attrs, num_attrs);
    const uint64_t *at = map_get(p->const_index, key.s, key.len);
    if (at) {
        arena_release(p->memo, mark);
        return (uint32_t)*at;
    }
    bool is_new;
    *map_put(p->const_index, key.s, key.len, &is_new) = p->consts.len;
    return NONE;
}

/* A derived program gets its index at the first constant that is added to it. */
static void index_consts(struct prog *p)
{
    if (p->const_index) {
        return;
    }
    p->const_index = arena_alloc(p->memo, sizeof *p->const_index);
    map_init(p->const_index, p->memo);
    uint32_t len = p->consts.len;
    for (uint32_t i = 0; i < len; i++) {
        const struct node *n = &p->consts.at[i];
        p->consts.len = i;
        find_const(p, n->op, n->args, n->num_args, n->attrs, n->num_attrs);
    }
    p->consts.len = len;
}

uint32_t nodes_append(struct prog *p, struct nodes *to, const struct node *n)
{
    if (to->len >= MOST_NODES) {
        diag_fatal(n->loc, "the program is too large: more than %d operations", MOST_NODES);
    }
    ARENA_GROW(p->arena, to->at, to->len, to->cap);
    to->at[to->len] = *n;
    return to->len++;
}

uint32_t build_node(struct build *b, enum op op, const uint32_t *args, uint32_t num_args)
{
    struct prog *p = b->p;
    const struct op_info *info = &op_info[op];
    sort_attrs(b->attrs, b->num_attrs, info);
    struct type type;
    const char *why;
    if (!type_infer(p, op, args, num_args, b->attrs, b->num_attrs, &type, &why)) {
        BUG("layer '%s': %s: %s", b->layer, info->name, why);
    }
    if (b->has_type) {
        if (!type_agrees(op, &type, &b->type, &why)) {
            BUG("layer '%s': %s: %s", b->layer, info->name, why);
        }
        type = b->type;
    }
    uint32_t num_attrs = b->num_attrs;
    b->num_attrs = 0;
    b->has_type = false;
    if (info->is_const) {
        index_consts(p);
        uint32_t same = find_const(p, op, args, num_args, b->attrs, num_attrs);
        if (same != NONE) {
            return same;
        }
    }
    struct node n = {.op = (uint16_t)op,
                     .num_attrs = (uint16_t)num_attrs,
                     .num_args = num_args,
                     .args = copied(p->arena, args, num_args, sizeof *args),
                     .attrs = copied(p->arena, b->attrs, num_attrs, sizeof *b->attrs),
                     .type = type,
                     .loc = b->loc,
                     .layer = b->layer,
                     .reg = NONE};
    return nodes_append(p, info->is_const ? &p->consts : &p->nodes, &n);
}

uint32_t build1(struct build *b, enum op op, uint32_t a0)
{
    return build_node(b, op, &a0, 1);
}

uint32_t build2(struct build *b, enum op op, uint32_t a0, uint32_t a1)
{
    uint32_t args[2] = {a0, a1};
    return build_node(b, op, args, 2);
}

uint32_t prog_copy_node(struct prog *p, const struct node *n, const uint32_t *args)
{
    struct node copy = *n;
    copy.args = copied(p->arena, args, n->num_args, sizeof *args);
    copy.layer = intern(p, n->layer);
    for (uint32_t i = 0; i < n->num_args; i++) {
        if (args[i] >= p->nodes.len) {
            BUG("operand %%%u of '%s' is not there yet", args[i], op_info[n->op].name);
        }
    }
    return nodes_append(p, &p->nodes, &copy);
}

uint32_t prog_add_layout(struct prog *p, const struct layout *l)
{
    struct layout copy = *l;
    const char *why;
    if (!layout_finish(&copy, &why)) {
        BUG("bad layout: %s", why);
    }
    for (uint32_t i = 0; i < p->num_layouts; i++) {
        if (layout_equal(&p->layouts[i], &copy)) {
            return i;
        }
    }
    if (copy.perm) {
        copy.perm = copied(p->arena, copy.perm, copy.c, sizeof *copy.perm);
    }
    ARENA_GROW(p->arena, p->layouts, p->num_layouts, p->cap_layouts);
    p->layouts[p->num_layouts] = copy;
    return p->num_layouts++;
}

uint32_t prog_add_map(struct prog *p, const struct lmap *m)
{
    const char *why;
    if (!lmap_check(p, m, &why)) {
        BUG("bad map: %s", why);
    }
    struct lmap copy = *m;
    copy.term = copied(p->arena, m->term, m->num_terms, sizeof *m->term);
    ARENA_GROW(p->arena, p->maps, p->num_maps, p->cap_maps);
    p->maps[p->num_maps] = copy;
    return p->num_maps++;
}

uint32_t *prog_use_counts(const struct prog *p)
{
    uint32_t *uses = arena_array(p->arena, p->nodes.len, sizeof *uses);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        for (uint32_t j = 0; j < n->num_args; j++) {
            uses[n->args[j]]++;
        }
    }
    return uses;
}
