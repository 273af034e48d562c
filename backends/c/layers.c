/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const function_of[NUM_OPS] = {
#define OP(name, stages, operands, result, attrs, flags, call) [OP_##name] = #call,
#include "ops.def"
};

bool c_makes_call(const struct nodes *nodes, uint32_t i)
{
    const struct node *n = &nodes->at[i];
    bool has_function = strcmp(function_of[n->op], "NOCALL") != 0;
    return (n->op == OP_call || has_function) && c_group_ends(nodes, i);
}

struct rows {
    const struct prog *p;
    struct arena *a;
    struct layer_rows out;
    uint32_t cap_rows, cap_steps;
    struct map index; /* layer, and whether it is a bootstrap -> row + 1 */
    uint32_t *layout; /* [nodes.len] of the tensor that a value is part of, NONE: not known */
    uint64_t *offset; /* row << 32 | offset, of every plaintext */
    size_t num_offsets, cap_offsets;
};

static uint32_t row_of(struct rows *r, const struct node *n)
{
    const char *layer = n->layer && *n->layer ? n->layer : "program";
    bool is_new, bootstrap = n->op == OP_call;
    const char *key = arena_printf(r->a, "%c%s", bootstrap ? 'b' : ' ', layer);
    uint64_t *at = map_put(&r->index, key, strlen(key), &is_new);
    if (!is_new)
        return (uint32_t)*at;
    *at = r->out.len;
    ARENA_GROW(r->a, r->out.row, r->out.len, r->cap_rows);
    r->out.row[r->out.len] = (struct layer_row){
        .layer = layer, .loc = n->loc, .bootstrap = bootstrap, .level_in = -1, .level_out = -1};
    return r->out.len++;
}

/* The work of a node, and of what it calls */
static void count(const struct prog *p, const struct node *n, struct layer_row *row)
{
    switch (n->op) {
    case OP_key_mul:
    case OP_raised_mul:
        row->rotations += node_attr(n, KEY_by) != NULL;
        row->key_switches++;
        break;
    case OP_encapsulate:
        row->key_switches++;
        row->decompositions++;
        break;
    case OP_decompose:
        row->decompositions++;
        break;
    case OP_pmac:
        row->pt_products += n->num_args;
        if (row->period < (uint32_t)node_int(n, KEY_period))
            row->period = (uint32_t)node_int(n, KEY_period);
        break;
    case OP_mod_raise:
        row->num_ct++;
        break;
    case OP_call: {
        const struct nodes *inner = &p->funcs[node_int(n, KEY_func)].nodes;
        for (uint32_t i = 0; i < inner->len; i++)
            if (inner->at[i].op != OP_call)
                count(p, &inner->at[i], row);
        break;
    }
    default:
        break;
    }
}

static void add_offsets(struct rows *r, uint32_t row, const struct node *n)
{
    const struct lmap *m = &r->p->maps[node_int(n, KEY_map)];
    uint32_t len;
    const int64_t *baby = node_ints(n, KEY_baby, &len);
    int64_t slots = lmap_work_slots(r->p, m), giant = node_int(n, KEY_giant);
    for (uint32_t i = 0; i < len; i++) {
        int64_t offset = ((baby[i] + giant) % slots + slots) % slots;
        ARENA_GROW(r->a, r->offset, r->num_offsets, r->cap_offsets);
        r->offset[r->num_offsets++] = (uint64_t)row << 32 | (uint64_t)offset;
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void count_offsets(struct rows *r)
{
    if (r->num_offsets > 0)
        qsort(r->offset, r->num_offsets, sizeof *r->offset, by_value);
    for (size_t i = 0; i < r->num_offsets; i++)
        r->out.row[r->offset[i] >> 32].offsets += i == 0 || r->offset[i - 1] != r->offset[i];
}

static uint32_t layout_of(const struct rows *r, const struct node *n)
{
    uint32_t own = node_ref_or_none(n, KEY_layout);
    if (n->op == OP_pmac)
        return r->p->maps[node_int(n, KEY_map)].out_layout;
    if (own != NONE || n->num_args == 0)
        return own;
    return r->layout[n->args[0]];
}

static void set_tensor(struct rows *r, uint32_t i, struct layer_row *row)
{
    const struct node *n = &r->p->nodes.at[i];
    if (row->bootstrap || n->type.kind != KIND_CT)
        return;
    row->scale_bits = n->type.scale > 0 ? log2(n->type.scale) : 0;
    if (r->layout[i] == NONE || r->p->params.log_n == 0)
        return;
    const struct layout *l = &r->p->layouts[r->layout[i]];
    row->num_ct = l->num_ct;
    row->fill = ldexp((double)l->c * l->h * l->w / l->num_ct, 1 - (int)r->p->params.log_n);
}

/* The first of these in a row says at which level it begins */
static bool works(enum op op)
{
    return op == OP_decompose || op == OP_pmac || op == OP_mul || op == OP_call;
}

static void add_node(struct rows *r, uint32_t i, uint32_t k, struct node_ns ns)
{
    const struct nodes *nodes = &r->p->nodes;
    const struct node *n = &nodes->at[i];
    struct layer_row *row = &r->out.row[k];
    row->ns.kept += ns.kept;
    row->ns.keys += ns.keys;
    row->ns.plaintexts += ns.plaintexts;
    count(r->p, n, row);
    if (n->op == OP_pmac)
        add_offsets(r, k, n);
    if (n->type.kind == KIND_NONE || n->op == OP_input)
        return;
    int32_t level = n->num_args > 0 ? nodes->at[n->args[0]].type.level : -1;
    if (row->level_in < 0 && works((enum op)n->op))
        row->level_in = level;
    if (n->type.kind == KIND_CT && n->op != OP_drop_to)
        row->level_out = n->type.level;
    if (row->bootstrap)
        row->scale_bits = log2(n->type.scale);
    set_tensor(r, i, row);
}

/* Consecutive calls of one row are one step. Nodes without a call count with the call that follows. */
static void find_steps(struct rows *r, const struct node_ns *node_ns)
{
    const struct nodes *nodes = &r->p->nodes;
    uint32_t next = 0;
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        r->layout[i] = layout_of(r, n);
        if (n->op == OP_bootstrap)
            diag_fatal(n->loc, "%%%u is a 'bootstrap': run ckks_expand first", i);
        if (!c_makes_call(nodes, i))
            continue;
        uint32_t row = row_of(r, n), len = r->out.num_steps;
        if (len == 0 || r->out.step[len - 1].row != row) {
            ARENA_GROW(r->a, r->out.step, r->out.num_steps, r->cap_steps);
            r->out.step[r->out.num_steps++] = (struct layer_step){i, i, row};
        }
        r->out.step[r->out.num_steps - 1].last = i;
        for (; next <= i; next++)
            add_node(r, next, row, node_ns ? node_ns[next] : (struct node_ns){0});
    }
}

struct layer_rows c_layer_rows(const struct prog *p, const struct node_ns *node_ns, struct arena *a)
{
    struct rows r = {.p = p, .a = a};
    map_init(&r.index, a);
    r.layout = arena_array(a, p->nodes.len, sizeof *r.layout);
    find_steps(&r, node_ns);
    count_offsets(&r);
    return r.out;
}
