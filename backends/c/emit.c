/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

/*
 * The server's program: one function a layer, one line an op. Consecutive nodes of one layer are
 * one function; where the schedule returns to a layer, its next function is numbered. Functions of the
 * program stand before the layers that call them.
 */

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct emitter {
    const struct prog *p;
    const struct c_data *data;
    struct arena *a;
    struct str *out;
    /* what is being written: the program's own nodes or a function's */
    const struct nodes *nodes;
    const uint32_t *first_plain;
};

/* One layer function */
struct segment {
    struct layer_step step;
    const char *function;
};

enum { COMMENT_COLUMN = 48 };

/* ---- one op --------------------------------------------------------------------------------- */

static uint32_t reg_in(const struct emitter *e, const struct nodes *nodes, uint32_t i)
{
    const struct node *n = &nodes->at[i];
    if (n->reg >= e->p->num_regs)
        diag_fatal(n->loc, "%%%u (%s) has no register: run ckks_regs first", i,
                   op_info[n->op].name);
    return n->reg;
}

static uint32_t reg_of(const struct emitter *e, uint32_t i)
{
    return reg_in(e, e->nodes, i);
}

/* One statement, with the comment in its column */
static void line(struct emitter *e, uint32_t i, const char *fmt, ...) WEFT_PRINTF(3, 4);
static void line(struct emitter *e, uint32_t i, const char *fmt, ...)
{
    const struct node *n = &e->nodes->at[i];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t size = (size_t)vsnprintf(NULL, 0, fmt, again) + 1;
    va_end(again);
    char *text = arena_alloc(e->a, size);
    vsnprintf(text, size, fmt, args);
    va_end(args);
    str_addf(e->out, "    %-*s%s/* %%%u", COMMENT_COLUMN - 4, text,
             size > COMMENT_COLUMN - 4 ? " " : "", i);
    if (n->loc.line) {
        str_add(e->out, " ");
        c_add_comment_text(e->out, c_base_name(diag_file_name(n->loc.file)));
        str_addf(e->out, ":%u", n->loc.line);
    }
    if (n->layer && *n->layer) {
        str_add(e->out, " ");
        c_add_comment_text(e->out, n->layer);
    }
    str_add(e->out, " */\n");
}

typedef void emit_call(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                       uint32_t in);

static void emit_NOCALL(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                        uint32_t in)
{
    (void)e, (void)i, (void)n, (void)out, (void)in;
}

static void emit_rt_decompose(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                              uint32_t in)
{
    (void)n;
    line(e, i, "rt_decompose(e, %u, %u);", out, in);
}

/*
 * Is the only use of key product i the next node, which adds it to a value whose register it takes over?
 * The product never needs to be in memory by itself then. The other operand in *sum.
 */
static bool is_added(const struct emitter *e, uint32_t i, uint32_t *sum)
{
    const struct nodes *nodes = e->nodes;
    if (i + 1 >= nodes->len)
        return false;
    const struct node *n = &nodes->at[i], *next = n + 1;
    if (n->op != OP_key_mul || node_int_or(n, KEY_conjugate, 0) || node_attr(n, KEY_group) ||
        next->op != OP_add || next->num_args != 2 || node_attr(next, KEY_group))
        return false;
    bool first = next->args[0] == i;
    *sum = next->args[first];
    if (next->args[!first] != i || *sum == i || next->reg != nodes->at[*sum].reg ||
        next->type.level != n->type.level || nodes->at[*sum].type.level != n->type.level)
        return false;
    for (uint32_t k = i + 2; k < nodes->len; k++)
        for (uint32_t a = 0; a < nodes->at[k].num_args; a++)
            if (nodes->at[k].args[a] == i)
                return false;
    return true;
}

static void emit_rt_key_mul(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                            uint32_t in)
{
    uint32_t base = reg_of(e, n->args[1]), sum;
    if (is_added(e, i, &sum))
        line(e, i, "rt_key_mul_add(e, %u, %u, %u, %" PRId64 ");", reg_of(e, sum), in, base,
             node_int_or(n, KEY_by, 0));
    else if (node_int_or(n, KEY_conjugate, 0))
        line(e, i, "rt_conj_mul(e, %u, %u, %u);", out, in, base);
    else
        line(e, i, "rt_key_mul(e, %u, %u, %u, %" PRId64 ");", out, in, base,
             node_int_or(n, KEY_by, 0));
}

static void emit_rt_encapsulate(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                                uint32_t in)
{
    (void)n;
    line(e, i, "rt_encapsulate(e, %u, %u);", out, in);
}

static void emit_rt_mod_raise(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                              uint32_t in)
{
    line(e, i, "rt_mod_raise(e, %u, %u, %" PRId64 ");", out, in, node_int(n, KEY_to));
}

static void emit_rt_raised_mul(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                               uint32_t in)
{
    line(e, i, "rt_raised_mul(e, %u, %u, %" PRId64 ");", out, in, node_int_or(n, KEY_by, 0));
}

static void emit_rt_lift(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                         uint32_t in)
{
    (void)n;
    line(e, i, "rt_lift(e, %u, %u);", out, in);
}

static void emit_rt_mod_down(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                             uint32_t in)
{
    line(e, i, "rt_mod_down(e, %u, %u, %" PRId64 ");", out, in, node_int(n, KEY_drop));
}

static void emit_rt_rescale(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                            uint32_t in)
{
    line(e, i, "rt_rescale(e, %u, %u, %" PRId64 ");", out, in, node_int(n, KEY_drop));
}

static void emit_rt_drop_to(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                            uint32_t in)
{
    line(e, i, "rt_drop_to(e, %u, %u, %" PRId64 ");", out, in, node_int(n, KEY_to));
}

static void emit_rt_raise_scale(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                                uint32_t in)
{
    line(e, i, "rt_raise_scale(e, %u, %u, %" PRId64 ");", out, in, node_int(n, KEY_times));
}

static void emit_rt_sub(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                        uint32_t in)
{
    line(e, i, "rt_sub(e, %u, %u, %u);", out, in, reg_of(e, n->args[1]));
}

static void emit_rt_mul(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                        uint32_t in)
{
    line(e, i, "rt_mul(e, %u, %u, %u);", out, in, reg_of(e, n->args[1]));
}

static void emit_rt_padd(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                         uint32_t in)
{
    (void)n;
    line(e, i, "rt_padd(e, %u, %u, %u);", out, in, e->first_plain[i]);
}

/*
 * A sum is a chain of binary ones. When the result takes over the buffer of one of the operands,
 * that operand must be read by the first of them.
 */
static void emit_rt_add(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                        uint32_t in)
{
    if (n->num_args == 1) {
        line(e, i, "rt_drop_to(e, %u, %u, %d);", out, in, n->type.level);
        return;
    }
    uint32_t sum;
    if (i > 0 && is_added(e, i - 1, &sum))
        return;
    uint32_t *reg = arena_array(e->a, n->num_args, sizeof *reg), first = 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        reg[k] = reg_of(e, n->args[k]);
        if (reg[k] != out)
            continue;
        if (first > 1)
            diag_fatal(n->loc, "%%%u: register %u is its result and three of its operands", i, out);
        uint32_t other = reg[first];
        reg[first++] = reg[k];
        if (first - 1 != k)
            reg[k] = other;
    }
    line(e, i, "rt_add(e, %u, %u, %u);", out, reg[0], reg[1]);
    for (uint32_t k = 2; k < n->num_args; k++)
        line(e, i, "rt_add(e, %u, %u, %u);", out, out, reg[k]);
}

/* The table in_<i> of the operands' registers */
static void emit_operands(struct emitter *e, uint32_t i, const struct node *n)
{
    uint32_t *reg = arena_array(e->a, n->num_args, sizeof *reg);
    for (uint32_t k = 0; k < n->num_args; k++)
        reg[k] = reg_of(e, n->args[k]);
    str_addf(e->out, "    static const uint32_t in_%u[] = {", i);
    if (n->num_args <= 16) {
        for (uint32_t k = 0; k < n->num_args; k++)
            str_addf(e->out, k ? ", %u" : "%u", reg[k]);
        str_add(e->out, "};\n");
    } else {
        str_add(e->out, "\n");
        c_add_u32s(e->out, "        ", reg, n->num_args);
        str_add(e->out, "    };\n");
    }
}

static void emit_rt_pmac(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                         uint32_t in)
{
    (void)in;
    emit_operands(e, i, n);
    line(e, i, "rt_pmac(e, %u, in_%u, %u, %u);", out, i, n->num_args, e->first_plain[i]);
}

/* A constant of the program as text */
static const char *real(struct emitter *e, double x)
{
    struct str text;
    str_init(&text, e->a);
    c_add_double(&text, x);
    return text.s;
}

static void emit_rt_comb(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                         uint32_t in)
{
    (void)in;
    const struct attr *factors = node_attr(n, KEY_factors);
    emit_operands(e, i, n);
    str_addf(e->out, "    static const double factors_%u[] = {", i);
    for (uint32_t k = 0; k < n->num_args; k++) {
        str_add(e->out, n->num_args <= 3 ? (k ? ", " : "") : k % 3 == 0 ? "\n        " : " ");
        c_add_double(e->out, factors->v.reals[k]);
        str_add(e->out, n->num_args <= 3 ? "" : ",");
    }
    str_add(e->out, n->num_args <= 3 ? "};\n" : "\n    };\n");
    line(e, i, "rt_comb(e, %u, in_%u, factors_%u, %u, %s, %s);", out, i, i, n->num_args,
         real(e, node_real(n, KEY_constant)), real(e, n->type.scale));
}

static void emit_rt_add_scalar(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                               uint32_t in)
{
    line(e, i, "rt_add_scalar(e, %u, %u, %s);", out, in, real(e, node_real(n, KEY_constant)));
}

static void emit_rt_times_i(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                            uint32_t in)
{
    (void)n;
    line(e, i, "rt_times_i(e, %u, %u);", out, in);
}

static void emit_rt_relabel(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                            uint32_t in)
{
    line(e, i, "rt_relabel(e, %u, %u, %s);", out, in, real(e, n->type.scale));
}

/* The ends of a function: its input node and the node whose value it returns */
static void function_ends(const struct func *f, uint32_t *in, uint32_t *out)
{
    *in = *out = NONE;
    for (uint32_t i = 0; i < f->nodes.len; i++) {
        const struct node *n = &f->nodes.at[i];
        if (n->op == OP_input)
            *in = i;
        if (n->op == OP_output)
            *out = n->args[0];
    }
    if (*in == NONE || *out == NONE)
        BUG("function %s has no %s", f->name, *in == NONE ? "input" : "output");
}

/* What the function reads and leaves lies in registers of its own; where the caller's are the same,
 * there is nothing to copy. */
static void emit_function_call(struct emitter *e, uint32_t i, const struct node *n, uint32_t out,
                               uint32_t in)
{
    const struct func *f = &e->p->funcs[node_int(n, KEY_func)];
    uint32_t takes, gives;
    function_ends(f, &takes, &gives);
    uint32_t first = reg_in(e, &f->nodes, takes), last = reg_in(e, &f->nodes, gives);
    if (first != in)
        line(e, i, "rt_drop_to(e, %u, %u, %d);", first, in, f->nodes.at[takes].type.level);
    line(e, i, "func_%s(e);", f->name);
    if (last != out)
        line(e, i, "rt_drop_to(e, %u, %u, %d);", out, last, n->type.level);
}

/* A runtime function that ops.def names and that has no emitter here does not compile. */
static emit_call *const call_of[NUM_OPS] = {
#define OP(name, stages, operands, result, attrs, flags, call) [OP_##name] = emit_##call,
#include "ops.def"
};

/* The start of a table's row, with the comment in its column */
static void row_comment(struct emitter *e, const char *text, uint32_t i)
{
    str_addf(e->out, "        %-*s%s/* %%%u", COMMENT_COLUMN - 8, text,
             strlen(text) >= COMMENT_COLUMN - 8 ? " " : "", i);
}

static void emit_transform(struct emitter *e, uint32_t i)
{
    struct c_group g = c_group(e->nodes, i, e->first_plain, e->a);
    str_addf(e->out, "    static const uint32_t out_%u[] = {", i);
    for (uint32_t k = 0; k < g.num_out; k++)
        str_addf(e->out, k ? ", %u" : "%u", reg_of(e, g.out[k]));
    str_addf(e->out, "};\n    static const struct rt_baby baby_%u[] = {\n", i);
    for (uint32_t k = 0; k < g.num_rows; k++) {
        const struct c_row *row = &g.row[k];
        char digits[16] = "UINT32_MAX";
        if (row->digits != NONE)
            snprintf(digits, sizeof digits, "%u", reg_of(e, row->digits));
        row_comment(
            e, arena_printf(e->a, "{%s, %u, %" PRId64 "},", digits, reg_of(e, row->base), row->by),
            row->node);
        if (row->base != row->node)
            str_addf(e->out, " = %s of %%%u", op_info[e->nodes->at[row->node].op].name, row->base);
        str_add(e->out, " */\n");
    }
    str_addf(e->out, "    };\n    static const uint32_t plain_%u[] = {\n", i);
    for (uint32_t k = 0; k < g.num_out; k++) {
        str_addf(e->out, "        /* %%%u */\n", g.out[k]);
        for (uint32_t j = 0; j < g.num_rows; j++) {
            uint32_t plain = g.plain[(size_t)k * g.num_rows + j];
            str_add(e->out, j % 8 == 0 ? "        " : " ");
            str_addf(e->out, plain == NONE ? "UINT32_MAX," : "%u,", plain);
            str_add(e->out, j % 8 == 7 || j + 1 == g.num_rows ? "\n" : "");
        }
    }
    str_add(e->out, "    };\n");
    line(e, i, "rt_transform(e, out_%u, %u, baby_%u, %u, plain_%u);", i, g.num_out, i, g.num_rows,
         i);
}

/* A look at node i, where it is one of the places that a debug build checks */
static void emit_check(struct emitter *e, uint32_t i)
{
    const struct prog *p = e->p;
    for (uint32_t k = 0; e->nodes == &p->nodes && k < p->num_points; k++)
        if (p->points[k].node == i)
            line(e, i, "rt_check(e, %u, %u);", reg_of(e, i), k);
}

static void emit_node(struct emitter *e, uint32_t i)
{
    const struct node *n = &e->nodes->at[i];
    if (!c_makes_call(e->nodes, i))
        return;
    if (node_attr(n, KEY_group)) {
        emit_transform(e, i);
        return;
    }
    uint32_t out = reg_of(e, i), in = reg_of(e, n->args[0]);
    if (n->op == OP_call)
        emit_function_call(e, i, n, out, in);
    else
        call_of[n->op](e, i, n, out, in);
    emit_check(e, i);
}

/* ---- functions ------------------------------------------------------------------------------ */

static void emit_functions(struct emitter *e)
{
    const struct prog *p = e->p;
    bool *called = arena_array(e->a, p->num_funcs, sizeof *called);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_call)
            called[node_int(&p->nodes.at[i], KEY_func)] = true;
    for (uint32_t f = 0; f < p->num_funcs; f++) {
        if (!called[f])
            continue;
        struct emitter inner = *e;
        inner.nodes = &p->funcs[f].nodes;
        inner.first_plain = e->data->func_plain[f];
        str_addf(e->out, "static void func_%s(rt_eval *e)\n{\n", p->funcs[f].name);
        for (uint32_t i = 0; i < inner.nodes->len; i++)
            emit_node(&inner, i);
        str_add(e->out, "}\n\n");
    }
}

/* ---- layers --------------------------------------------------------------------------------- */

static const char *unique_function(struct emitter *e, struct map *used, const char *layer)
{
    struct str base;
    str_init(&base, e->a);
    str_add(&base, "layer_");
    c_add_identifier(&base, layer);
    const char *name = base.s;
    for (uint32_t k = 2;; k++) {
        bool is_new;
        map_put(used, name, strlen(name), &is_new);
        if (is_new)
            return name;
        name = arena_printf(e->a, "%s_%u", base.s, k);
    }
}

static struct segment *find_segments(struct emitter *e, const struct layer_rows *rows)
{
    struct segment *at = arena_array(e->a, rows->num_steps, sizeof *at);
    struct map used;
    map_init(&used, e->a);
    for (uint32_t k = 0; k < rows->num_steps; k++) {
        const struct layer_row *row = &rows->row[rows->step[k].row];
        const char *name =
            row->bootstrap ? arena_printf(e->a, "%s_bootstrap", row->layer) : row->layer;
        at[k] = (struct segment){rows->step[k], unique_function(e, &used, name)};
    }
    return at;
}

static void emit_layer(struct emitter *e, const struct segment *s)
{
    str_addf(e->out, "static void %s(rt_eval *e)\n{\n", s->function);
    for (uint32_t i = s->step.first; i <= s->step.last; i++)
        emit_node(e, i);
    str_add(e->out, "}\n\n");
}

/* ---- tables --------------------------------------------------------------------------------- */

/* A ciphertext of the image that no node reads has no buffer: NONE, which the runtime skips. */
static void emit_input_regs(struct emitter *e)
{
    const struct prog *p = e->p;
    uint32_t *reg = NULL, num = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_input)
            continue;
        uint32_t layout = node_ref_or_none(n, KEY_layout);
        if (layout == NONE)
            diag_fatal(n->loc, "input of a ckks program needs a layout");
        if (!reg) {
            num = p->layouts[layout].num_ct;
            reg = arena_array(e->a, num, sizeof *reg);
            memset(reg, 0xff, num * sizeof *reg);
        }
        int64_t part = node_int_or(n, KEY_part, 0);
        if (part < 0 || part >= num)
            diag_fatal(n->loc, "input part %" PRId64 " of %u ciphertexts", part, num);
        reg[part] = reg_of(e, i);
    }
    if (!reg)
        diag_fatal(NO_LOC, "the program has no input");
    str_add(e->out, "static const uint32_t input_regs[] = {\n");
    for (uint32_t k = 0; k < num; k++)
        str_addf(e->out, reg[k] == NONE ? "    UINT32_MAX,\n" : "    %u,\n", reg[k]);
    str_add(e->out, "};\n");
}

static void emit_output_regs(struct emitter *e)
{
    const struct nodes *nodes = &e->p->nodes;
    str_add(e->out, "static const uint32_t output_regs[] = {\n");
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (n->op != OP_output)
            continue;
        uint32_t *reg = arena_array(e->a, n->num_args, sizeof *reg);
        for (uint32_t k = 0; k < n->num_args; k++)
            reg[k] = reg_of(e, n->args[k]);
        c_add_u32s(e->out, "    ", reg, n->num_args);
    }
    str_add(e->out, "};\n");
}

static void emit_reg_words(struct emitter *e)
{
    const struct prog *p = e->p;
    str_add(e->out, "static const uint64_t reg_words[] = {\n");
    for (uint32_t k = 0; k < p->num_regs; k++)
        str_addf(e->out, "%s%" PRIu64 "%s", k % 8 == 0 ? "    " : " ", p->reg_words[k],
                 k + 1 == p->num_regs || k % 8 == 7 ? ",\n" : ",");
    str_add(e->out, "};\n");
}

static void emit_layers(struct emitter *e, const struct segment *at, const struct layer_rows *rows,
                        const struct node_ns *node_ns)
{
    str_add(e->out, "static const struct rt_layer layers[] = {\n");
    uint32_t i = 0; /* what the call of a later node computes counts with it */
    for (uint32_t k = 0; k < rows->num_steps; k++) {
        const struct layer_step *step = &at[k].step;
        double ns = 0;
        for (; node_ns && i <= step->last; i++)
            ns += node_ns[i].kept;
        str_add(e->out, "    {");
        c_add_string(e->out, rows->row[step->row].layer);
        str_addf(e->out, ", %u, %s, %.1f, %u},\n", e->p->nodes.at[step->first].loc.line,
                 at[k].function, rint(ns), step->row);
    }
    str_add(e->out, "};\n");
}

static void emit_rows(struct emitter *e, const struct layer_rows *rows)
{
    str_add(e->out, "static const struct rt_row rows[] = {\n");
    for (uint32_t k = 0; k < rows->len; k++) {
        const struct layer_row *r = &rows->row[k];
        str_add(e->out, "    {");
        c_add_string(e->out, r->layer);
        str_addf(e->out,
                 ", %u, %u, %.1f, %d, %d, %.2f, %u, %u, %u, %u, %u, %u, %u, %.6f, %.1f, %.1f},\n",
                 r->loc.line, r->bootstrap ? 1u : 0u, rint(r->ns.kept), r->level_in, r->level_out,
                 r->scale_bits, r->rotations, r->key_switches, r->decompositions, r->pt_products,
                 r->offsets, r->period, r->num_ct, r->fill, rint(r->ns.keys),
                 rint(r->ns.plaintexts));
    }
    str_add(e->out, "};\n");
}

static void emit_head(struct emitter *e)
{
    const struct prog *p = e->p;
    const struct params *q = &p->params;
    struct prog_stats s = prog_stats(p);
    const double mb = 1e-6;
    c_head(p, "the network on encrypted numbers", e->out);
    str_addf(e->out, " *\n * Ring      N = %u, %u + %u primes, log2(QP) = %.1f, ", 1u << q->log_n,
             q->num_q, q->num_p, s.log2_qp);
    if (q->insecure)
        str_add(e->out, "INSECURE toy parameters\n");
    else
        str_addf(e->out, "%.0f-bit security\n", q->lambda_bits);
    str_addf(e->out, " * Depth     %u levels\n", s.depth);
    struct prog_memory m = prog_memory(p);
    str_addf(
        e->out,
        " * Work      %u rotations, %u key switches, %u decompositions, %u plaintext products\n",
        s.rotations, s.key_switches, s.decompositions, s.pt_products);
    str_addf(e->out,
             " * Memory    %.1f MB for one image: %u keys, %.1f MB; %u plaintexts, %.1f MB; %u "
             "registers, %.1f MB\n",
             mb * (double)m.least, p->num_keys, mb * (double)m.keys, e->data->num_plains,
             mb * (double)m.plaintexts, p->num_regs, mb * (double)m.registers);
    str_addf(e->out, " *           %.1f MB for several, %.1f MB if all that is computed is kept\n",
             mb * (double)m.usual, mb * (double)m.all);
    str_add(
        e->out,
        " *\n * Comments: %IR node, line of the model file, layer.\n */\n\n#include \"rt.h\"\n\n");
}

static void emit_model(struct emitter *e, const struct node_ns *node_ns)
{
    struct layer_rows rows = c_layer_rows(e->p, node_ns, e->a);
    uint32_t len = rows.num_steps;
    emit_head(e);
    const struct segment *segments = find_segments(e, &rows);
    emit_functions(e);
    for (uint32_t k = 0; k < len; k++)
        emit_layer(e, &segments[k]);
    if (e->p->num_regs)
        emit_reg_words(e);
    if (len) {
        emit_layers(e, segments, &rows, node_ns);
        emit_rows(e, &rows);
    }
    emit_input_regs(e);
    emit_output_regs(e);
    str_addf(e->out,
             "\nextern const struct rt_interface weft_interface;\n"
             "extern const struct rt_program weft_program;\n"
             "const struct rt_program weft_program = {\n"
             "    .interface = &weft_interface,\n    .data_checksum = 0x%016" PRIx64 "u,\n"
             "    .num_regs = %u,\n    .reg_words = %s,\n    .layers = %s,\n    .num_layers = %u,\n"
             "    .input_regs = input_regs,\n    .output_regs = output_regs,\n"
             "    .rows = %s,\n    .num_rows = %u,\n};\n",
             e->data->checksum, e->p->num_regs, e->p->num_regs ? "reg_words" : "NULL",
             len ? "layers" : "NULL", len, len ? "rows" : "NULL", rows.len);
}

void c_emit(struct prog *p, const struct node_ns *node_ns, struct c_output *out, struct arena *a)
{
    if (p->stage != STAGE_CKKS)
        diag_fatal(NO_LOC, "C is written from a ckks program, this one is %s",
                   stage_name(p->stage));
    struct c_data data;
    c_data(p, &data, a);
    out->data = data.file;

    str_init(&out->model_c, a);
    struct emitter e = {p, &data, a, &out->model_c, &p->nodes, data.first_plain};
    emit_model(&e, node_ns);

    str_init(&out->interface_c, a);
    c_interface(p, &out->interface_c);

    str_init(&out->clear_c, a);
    c_clear(p, &data, &out->clear_c);
}
