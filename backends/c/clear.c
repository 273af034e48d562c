/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

/*
 * The reference network as straight-line C on doubles: what the encrypted answer is compared with. In
 * debug builds the packed network too, with what layers are compared with.
 * Values share buffers after their last use; all buffers are one allocation.
 */

#include <inttypes.h>

#define IN_PLACE_INPUT (NONE - 1)

struct clear {
    const struct prog *p;
    const struct c_data *data;
    struct arena *a;
    struct str body, terms;
    const struct nodes *nodes; /* the network being written */
    const char *prefix;        /* of the names of its tables */
    bool traced;               /* every value goes to the hook */
    uint32_t *buffer;          /* [nodes->len] NONE, IN_PLACE_INPUT, or a number */
    struct {
        size_t len;
        bool busy;
    } * pool;
    uint32_t num_pool, cap_pool;
    bool uses_values, uses_x;
};

static size_t elements(const struct type *t)
{
    return (size_t)t->dims[0] * t->dims[1] * t->dims[2];
}

/* The free buffer that needs to grow least; a new one when none is free. */
static uint32_t take_buffer(struct clear *c, size_t len)
{
    uint32_t best = NONE;
    for (uint32_t k = 0; k < c->num_pool; k++) {
        if (c->pool[k].busy)
            continue;
        size_t mine = c->pool[k].len, other = best == NONE ? 0 : c->pool[best].len;
        bool fits = mine >= len, other_fits = best != NONE && other >= len;
        if (best == NONE || (fits ? !other_fits || mine < other : !other_fits && mine > other))
            best = k;
    }
    if (best == NONE) {
        ARENA_GROW(c->a, c->pool, c->num_pool, c->cap_pool);
        best = c->num_pool++;
    }
    c->pool[best].busy = true;
    if (c->pool[best].len < len)
        c->pool[best].len = len;
    return best;
}

static void assign_buffers(struct clear *c)
{
    const struct nodes *nodes = c->nodes;
    uint32_t *last_use = arena_array(c->a, nodes->len, sizeof *last_use);
    c->buffer = arena_array(c->a, nodes->len, sizeof *c->buffer);
    for (uint32_t i = 0; i < nodes->len; i++) {
        last_use[i] = i;
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++)
            last_use[nodes->at[i].args[k]] = i;
    }
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        c->buffer[i] = n->op == OP_output  ? NONE
                       : n->op == OP_input ? IN_PLACE_INPUT
                                           : take_buffer(c, elements(&n->type));
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t b = c->buffer[n->args[k]];
            if (last_use[n->args[k]] == i && b < c->num_pool)
                c->pool[b].busy = false;
        }
        if (last_use[i] == i && c->buffer[i] < c->num_pool)
            c->pool[c->buffer[i]].busy = false;
    }
}

static const char *name_of(struct clear *c, uint32_t i)
{
    uint32_t b = c->buffer[i];
    if (b == IN_PLACE_INPUT) {
        c->uses_x = true;
        return "x";
    }
    return arena_printf(c->a, "b%u", b);
}

static const char *arg(struct clear *c, const struct node *n, uint32_t k)
{
    return name_of(c, n->args[k]);
}

static uint64_t value_index(struct clear *c, const struct node *n, enum key k)
{
    c->uses_values = true;
    return c->data->first_value[node_int(n, k)];
}

static void emit_term(struct clear *c, uint32_t i, uint32_t k, const struct lterm *t,
                      const uint32_t out[3])
{
    const uint32_t *d = c->p->consts.at[t->weight].type.dims;
    str_addf(&c->terms, "static const struct rt_clear_term %sterm_%u_%u = {\n", c->prefix, i, k);
    str_addf(&c->terms,
             "    .in = {%u, %u, %u}, .out = {%u, %u, %u}, .weight_dims = {%u, %u, %u, %u},\n",
             t->in[0], t->in[1], t->in[2], out[0], out[1], out[2], d[0], d[1], d[2], d[3]);
    str_addf(&c->terms, "    .weight = %" PRIu64 ", .out_from = %u, .in_from = %u, .groups = %u,\n",
             c->data->first_value[t->weight], t->out_from, t->in_from, t->groups);
    str_addf(&c->terms, "    .stride = {%u, %u}, .dilation = {%u, %u}, .up = {%u, %u},\n",
             t->stride[0], t->stride[1], t->dilation[0], t->dilation[1], t->up[0], t->up[1]);
    str_addf(&c->terms, "    .pad = {%d, %d, %d, %d}, .wrap = %d,\n};\n", t->pad[0], t->pad[1],
             t->pad[2], t->pad[3], (int)t->wrap);
}

static void emit_bias(struct clear *c, const struct node *n, const char *y)
{
    const uint32_t *d = n->type.dims;
    str_addf(&c->body, "    rt_clear_bias(values, %" PRIu64 ", %u, %u, %s);\n",
             value_index(c, n, KEY_bias), d[0], d[1] * d[2], y);
}

static void emit_map(struct clear *c, uint32_t i, const struct node *n, const char *y)
{
    const struct lmap *m = &c->p->maps[node_int(n, KEY_map)];
    str_addf(&c->body, "    memset(%s, 0, %zu * sizeof *%s);\n", y, elements(&n->type), y);
    for (uint32_t k = 0; k < m->num_terms; k++) {
        emit_term(c, i, k, &m->term[k], m->out);
        str_addf(&c->body, "    rt_clear_map(values, &%sterm_%u_%u, %s, %s);\n", c->prefix, i, k,
                 arg(c, n, k), y);
        c->uses_values = true;
    }
    if (node_attr(n, KEY_bias))
        emit_bias(c, n, y);
}

static void emit_poly(struct clear *c, const struct node *n, const char *y)
{
    const struct type *t = &c->p->consts.at[node_int(n, KEY_coeff)].type;
    str_addf(&c->body, "    rt_clear_poly(values, %" PRIu64 ", %u, %s, %u, %u, %s, %s);\n",
             value_index(c, n, KEY_coeff), t->dims[0] - 1, t->rank == 2 ? "true" : "false",
             n->type.dims[0], n->type.dims[1] * n->type.dims[2], arg(c, n, 0), y);
}

static void emit_copy(struct clear *c, const struct node *n, const char *y)
{
    str_addf(&c->body, "    memcpy(%s, %s, %zu * sizeof *%s);\n", y, arg(c, n, 0),
             elements(&n->type), y);
}

static void emit_chain(struct clear *c, const struct node *n, const char *y)
{
    if (n->num_args == 1) {
        emit_copy(c, n, y);
        return;
    }
    for (uint32_t k = 1; k < n->num_args; k++)
        str_addf(&c->body, "    rt_clear_%s(%zu, %s, %s, %s);\n", op_info[n->op].name,
                 elements(&n->type), y, k == 1 ? arg(c, n, 0) : y, arg(c, n, k));
}

static void emit_output(struct clear *c, const struct node *n)
{
    size_t done = 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        size_t len = elements(&c->nodes->at[n->args[k]].type);
        str_addf(&c->body, "    memcpy(y + %zu, %s, %zu * sizeof *y);\n", done, arg(c, n, k), len);
        done += len;
    }
    if (done != c->p->model.num_outputs)
        diag_fatal(n->loc, "the output has %zu elements, the model %u", done,
                   c->p->model.num_outputs);
}

static void emit_node(struct clear *c, uint32_t i)
{
    const struct node *n = &c->nodes->at[i];
    const char *y = n->op == OP_output || n->op == OP_input ? "" : name_of(c, i);
    if (n->op != OP_input) {
        str_addf(&c->body, "    /* %%%u ", i);
        if (n->loc.line) {
            c_add_comment_text(&c->body, c_base_name(diag_file_name(n->loc.file)));
            str_addf(&c->body, ":%u ", n->loc.line);
        }
        c_add_comment_text(&c->body, n->layer && *n->layer ? n->layer : op_info[n->op].name);
        str_add(&c->body, " */\n");
    }
    switch (n->op) {
    case OP_input:
        break;
    case OP_output:
        emit_output(c, n);
        break;
    case OP_map:
        emit_map(c, i, n, y);
        break;
    case OP_poly:
        emit_poly(c, n, y);
        break;
    case OP_add_channel:
        emit_copy(c, n, y);
        emit_bias(c, n, y);
        break;
    case OP_flatten:
        emit_copy(c, n, y);
        break;
    case OP_add:
    case OP_sub:
    case OP_mul:
        emit_chain(c, n, y);
        break;
    default:
        diag_fatal(n->loc, "the reference network holds '%s', which nn_linear turns into a map",
                   op_info[n->op].name);
    }
}

static void emit_buffers(struct clear *c, struct str *out)
{
    size_t total = 0;
    for (uint32_t k = 0; k < c->num_pool; k++)
        total += c->pool[k].len;
    str_addf(out, "    double *m = malloc(%zu * sizeof *m);\n    if (!m)\n        return false;\n",
             total);
    total = 0;
    for (uint32_t k = 0; k < c->num_pool; k++) {
        str_addf(out, "    double *b%u = m + %zu;\n", k, total);
        total += c->pool[k].len;
    }
}

static void emit_network(struct clear *c, const struct nodes *nodes, const char *head,
                         struct str *out)
{
    c->nodes = nodes;
    c->pool = NULL;
    c->num_pool = c->cap_pool = 0;
    c->uses_values = c->uses_x = false;
    str_init(&c->body, c->a);
    str_init(&c->terms, c->a);
    assign_buffers(c);
    for (uint32_t i = 0; i < nodes->len; i++) {
        emit_node(c, i);
        if (c->traced && nodes->at[i].op != OP_output)
            str_addf(&c->body, "    hook(ctx, %u, %s);\n", i, name_of(c, i));
    }
    if (c->terms.len)
        str_addf(out, "%s\n", c->terms.s);
    str_addf(out, "%s\n{\n", head);
    if (!c->uses_values)
        str_add(out, "    (void)values;\n");
    if (!c->uses_x)
        str_add(out, "    (void)x;\n");
    if (c->num_pool)
        emit_buffers(c, out);
    if (c->body.len)
        str_add(out, c->body.s);
    if (c->num_pool)
        str_add(out, "    free(m);\n");
    str_add(out, "    return true;\n}\n\n");
}

/* What a debug build looks at, and how it is packed */
static void emit_points(const struct clear *c, struct str *out)
{
    const struct prog *p = c->p;
    bool *used = arena_array(c->a, p->num_layouts, sizeof *used);
    for (uint32_t k = 0; k < p->num_points; k++)
        used[p->packed.at[p->points[k].tensor].type.layout] = true;
    for (uint32_t l = 0; l < p->num_layouts; l++) {
        if (!used[l])
            continue;
        const char *name = arena_printf(c->a, "packing_%u", l);
        c_add_perm(name, &p->layouts[l], out);
        str_addf(out, "static const struct rt_packing %s = ", name);
        c_add_packing(name, &p->layouts[l], out);
        str_add(out, ";\n");
    }
    str_add(out, "\n/* layer, line, tensor, part, slots, packing, level, scale, budget */\n"
                 "static const struct rt_clear_point points[] = {\n");
    for (uint32_t k = 0; k < p->num_points; k++) {
        const struct check_point *at = &p->points[k];
        const struct node *n = &p->nodes.at[at->node];
        str_add(out, "    {");
        c_add_string(out, n->layer && *n->layer ? n->layer : "program");
        str_addf(out, ", %u, %u, %u, %u, &packing_%u, %d, ", n->loc.line, at->tensor, at->part,
                 n->type.n, p->packed.at[at->tensor].type.layout, n->type.level);
        c_add_double(out, n->type.scale);
        str_add(out, ", ");
        c_add_double(out, at->budget);
        str_add(out, "},\n");
    }
    str_add(out, "};\n\n");
}

void c_clear(const struct prog *p, const struct c_data *d, struct str *out)
{
    c_head(p, "the network on plain numbers", out);
    str_add(out, " */\n\n#include \"rt_clear.h\"\n\n#include <stdlib.h>\n#include <string.h>\n\n");
    if (p->reference.len == 0) {
        str_add(out, "extern const struct rt_clear_program weft_clear;\n"
                     "const struct rt_clear_program weft_clear = {.run = NULL};\n");
        return;
    }
    struct clear c = {.p = p, .data = d, .a = arena_new(), .prefix = ""};
    emit_network(&c, &p->reference,
                 "static bool run(const double *values, const double *x, double *y)", out);
    if (p->num_points) {
        c.prefix = "packed_";
        c.traced = true;
        emit_network(&c, &p->packed,
                     "static bool trace(const double *values, const double *x, double *y, "
                     "rt_clear_hook *hook, void *ctx)",
                     out);
        emit_points(&c, out);
        str_addf(out,
                 "extern const struct rt_clear_program weft_clear;\n"
                 "const struct rt_clear_program weft_clear = {.run = run, .trace = trace,\n"
                 "    .points = points, .num_points = %u, .num_tensors = %u};\n",
                 p->num_points, p->packed.len);
    } else {
        str_add(out, "extern const struct rt_clear_program weft_clear;\n"
                     "const struct rt_clear_program weft_clear = {.run = run};\n");
    }
    arena_free(c.a);
}
