/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"

/* A program as a picture for graphviz: a box a node, a frame a layer. */

#include <string.h>

/* Text inside a quoted label */
static void add_text(struct str *out, const char *s)
{
    for (; s && *s; s++) {
        if (*s == '"' || *s == '\\')
            str_addf(out, "\\%c", *s);
        else if ((unsigned char)*s < ' ')
            str_add(out, " ");
        else
            str_addn(out, s, 1);
    }
}

static void add_type(struct str *out, const struct type *t)
{
    if (t->kind == KIND_NONE)
        return;
    str_addf(out, "\\n%s", kind_name(t->kind));
    if (t->kind == KIND_TENSOR) {
        str_addf(out, " %ux%ux%u", t->dims[0], t->dims[1], t->dims[2]);
        if (t->layout != NONE)
            str_addf(out, " @%u", t->layout);
        return;
    }
    str_addf(out, " %u", t->n);
    if (t->kind != KIND_VEC && t->level >= 0)
        str_addf(out, " L=%d", t->level);
}

/* `prefix` keeps the nodes of functions apart from the program's. */
static void add_node(const struct prog *p, const struct nodes *nodes, const char *prefix,
                     uint32_t i, struct str *out)
{
    static const char *const colour[NUM_KINDS] = {
        [KIND_NONE] = "white",       [KIND_TENSOR] = "lightblue", [KIND_VEC] = "lightblue",
        [KIND_CT] = "lightblue",     [KIND_CT3] = "khaki",        [KIND_CTX] = "lightsalmon",
        [KIND_DIGITS] = "lightpink", [KIND_SPARSE] = "plum",      [KIND_RAISED] = "plum"};
    const struct node *n = &nodes->at[i];
    const struct attr *by = node_attr(n, KEY_by), *map = node_attr(n, KEY_map);
    const struct attr *func = node_attr(n, KEY_func);
    str_addf(out, "    %sn%u [fillcolor=%s, label=\"%%%u %s", prefix, i, colour[n->type.kind], i,
             op_info[n->op].name);
    if (func) {
        str_add(out, " ");
        add_text(out, p->funcs[func->v.i].name);
    }
    if (by)
        str_addf(out, " by %lld", (long long)by->v.i);
    if (map)
        str_addf(out, " &%lld", (long long)map->v.i);
    add_type(out, &n->type);
    if (n->reg != NONE && p->num_regs)
        str_addf(out, " r%u", n->reg);
    str_add(out, "\"];\n");
}

static void add_edges(const struct nodes *nodes, const char *prefix, struct str *out)
{
    for (uint32_t i = 0; i < nodes->len; i++)
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++)
            str_addf(out, "    %sn%u -> %sn%u;\n", prefix, nodes->at[i].args[k], prefix, i);
}

static void add_function(const struct prog *p, uint32_t f, struct arena *a, struct str *out)
{
    const struct nodes *nodes = &p->funcs[f].nodes;
    const char *prefix = arena_printf(a, "f%u_", f);
    str_addf(out, "    subgraph cluster_f%u {\n    style=dashed;\n    label=\"function ", f);
    add_text(out, p->funcs[f].name);
    str_add(out, "\";\n");
    for (uint32_t i = 0; i < nodes->len; i++)
        add_node(p, nodes, prefix, i, out);
    str_add(out, "    }\n");
    add_edges(nodes, prefix, out);
}

void dot_emit(const struct prog *p, struct str *out)
{
    str_add(
        out,
        "digraph weft {\n    rankdir=TB;\n    node [shape=box, style=filled, fontname=monospace];\n"
        "    label=\"");
    add_text(out, p->model.name);
    str_addf(out, " (%s)\";\n", stage_name(p->stage));

    struct arena *a = arena_new();
    struct map clusters; /* layer -> number, in order of first appearance */
    map_init(&clusters, a);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const char *layer = p->nodes.at[i].layer ? p->nodes.at[i].layer : "";
        bool is_new;
        map_put(&clusters, layer, strlen(layer), &is_new);
    }
    for (uint32_t k = 0; k < clusters.len; k++) {
        const char *layer = clusters.entry[k].key;
        if (*layer) {
            str_addf(out, "    subgraph cluster_%u {\n    label=\"", k);
            add_text(out, layer);
            str_add(out, "\";\n");
        }
        for (uint32_t i = 0; i < p->nodes.len; i++)
            if (strcmp(p->nodes.at[i].layer ? p->nodes.at[i].layer : "", layer) == 0)
                add_node(p, &p->nodes, "", i, out);
        if (*layer)
            str_add(out, "    }\n");
    }
    add_edges(&p->nodes, "", out);
    for (uint32_t f = 0; f < p->num_funcs; f++)
        add_function(p, f, a, out);
    arena_free(a);
    str_add(out, "}\n");
}
