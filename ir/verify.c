/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <math.h>
#include <string.h>

/* What is legal at each stage. Runs after every pass, so it is linear in the program. */

struct check {
    const struct prog *p;
    const char *after_pass;
    const struct node *n; /* under examination, or NULL */
    uint32_t index;
};

static WEFT_NORETURN void refuse(const struct check *c, const char *why)
{
    struct str s;
    str_init(&s, c->p->arena);
    str_add(&s, "");
    struct loc loc = NO_LOC;
    if (c->n) {
        node_print(c->p, c->n, c->index, &s);
        s.s[s.len - 1] = '\0'; /* the newline */
        loc = c->n->loc;
    }
    const char *in = c->n ? "\n    in: " : "";
    if (c->after_pass) {
        BUG("after %s: %s%s%s", c->after_pass, why, in, s.s);
    }
    diag_fatal(loc, "not a legal %s program: %s%s%s", stage_name(c->p->stage), why, in, s.s);
}

#define REFUSE(c, ...) refuse(c, arena_printf((c)->p->arena, __VA_ARGS__))

/* ---- every stage ---------------------------------------------------------------------------- */

static void check_form(const struct check *c)
{
    const struct node *n = c->n;
    const struct op_info *info = &op_info[n->op];
    for (uint32_t i = 0; i < n->num_args; i++) {
        if (n->args[i] >= c->index) {
            REFUSE(c, "operand %u does not come before its use", n->args[i]);
        }
    }
    uint32_t pos = 0;
    for (uint32_t i = 0; i < n->num_attrs; i++) {
        while (pos < info->num_attrs && info->attr[pos] != n->attrs[i].key) {
            pos++;
        }
        if (pos == info->num_attrs) {
            REFUSE(c, "attribute '%s' is unknown, repeated or out of order",
                   key_name(n->attrs[i].key));
        }
    }
    if (!n->layer) {
        REFUSE(c, "the node has no layer");
    }
}

static struct type check_type(const struct check *c)
{
    const struct node *n = c->n;
    struct type t;
    const char *why;
    if (!type_infer(c->p, n->op, n->args, n->num_args, n->attrs, n->num_attrs, &t, &why) ||
        !type_agrees(n->op, &t, &n->type, &why)) {
        REFUSE(c, "%s: %s", op_info[n->op].name, why);
    }
    return t;
}

static void check_tables(struct check *c)
{
    const struct prog *p = c->p;
    for (uint32_t i = 0; i < p->consts.len; i++) {
        c->n = &p->consts.at[i];
        c->index = i;
        if (!op_info[c->n->op].is_const) {
            REFUSE(c, "%s is no constant", op_info[c->n->op].name);
        }
        check_form(c);
        check_type(c);
    }
    c->n = NULL;
    for (uint32_t i = 0; i < p->num_layouts; i++) {
        struct layout l = p->layouts[i];
        const char *why;
        if (!layout_finish(&l, &why)) {
            REFUSE(c, "layout @%u: %s", i, why);
        }
    }
    for (uint32_t i = 0; i < p->num_maps; i++) {
        const char *why;
        if (!lmap_check(p, &p->maps[i], &why)) {
            REFUSE(c, "map &%u: %s", i, why);
        }
    }
}

/* ---- nn: layouts ---------------------------------------------------------------------------- */

static void check_layout(const struct check *c, bool laid_out)
{
    const struct prog *p = c->p;
    const struct node *n = c->n;
    if (n->type.kind != KIND_TENSOR) {
        return;
    }
    uint32_t id = n->type.layout;
    if ((id != NONE) != laid_out) {
        REFUSE(c, "some tensors have a layout and some have none");
    }
    if (!laid_out) {
        return;
    }
    if (id >= p->num_layouts) {
        REFUSE(c, "there is no layout @%u", id);
    }
    const struct layout *l = &p->layouts[id];
    if (l->c != n->type.dims[0] || l->h != n->type.dims[1] || l->w != n->type.dims[2]) {
        REFUSE(c, "layout @%u is for %ux%ux%u", id, l->c, l->h, l->w);
    }
    if (n->op == OP_map) {
        const struct lmap *m = &p->maps[node_int(n, KEY_map)];
        bool same = m->out_layout == id;
        for (uint32_t i = 0; same && i < m->num_terms; i++) {
            same = m->term[i].in_layout == p->nodes.at[n->args[i]].type.layout;
        }
        if (!same) {
            REFUSE(c, "the map's layouts are not those of its operands and its result");
        }
        return;
    }
    for (uint32_t i = 0; i < n->num_args; i++) {
        if (p->nodes.at[n->args[i]].type.layout != id) {
            REFUSE(c, "operands and result have different layouts");
        }
    }
}

/* ---- ckks: levels, scales, keys, registers, groups ------------------------------------------ */

struct ckks {
    bool levelled;
    double log2_q[1025]; /* log2 of q_0 .. q_(i-1) */
    uint32_t *holder;    /* which node's value a register holds */
    uint32_t *group;     /* [nodes] by number: the group's first node, or NONE */
    bool *taken;         /* [nodes] by a product of its group */
    int64_t open;        /* group of the node before, or -1; */
    uint32_t from;       /* since this node */
};

/*
 * A key is as safe as its modulus is small, whatever else is in the program: the one that encrypts under the
 * sparse secret stops at level 0, for all others params_check() has bounded the whole of QP.
 */
static bool key_level_fits(const struct params *par, const struct key_spec *key)
{
    if (key->level < 0 || (uint32_t)key->level >= par->num_q) {
        return false;
    }
    bool sparse = key->kind == KEY_KIND_ENCAPSULATE || key->kind == KEY_KIND_RAISED;
    return (!sparse || par->sparse_weight != 0) &&
           (key->kind != KEY_KIND_ENCAPSULATE || key->level == 0);
}

static void check_key_spec(const struct check *c, uint32_t i)
{
    const struct params *par = &c->p->params;
    const struct key_spec *key = &c->p->keys[i];
    const struct key_spec *before = i > 0 ? key - 1 : NULL;
    bool rotates = key->kind == KEY_KIND_ROTATE;
    bool in_order =
        !before || before->kind < key->kind || (before->kind == key->kind && before->by < key->by);
    bool in_range = (unsigned)key->kind < NUM_KEY_KINDS && key->by >= (rotates ? 1 : 0) &&
                    key->by < (int64_t)1 << (par->log_n - 1) && key_level_fits(par, key) &&
                    (rotates || key->kind == KEY_KIND_RAISED || key->by == 0);
    if (!in_order || !in_range) {
        REFUSE(c, "key %u (by=%lld level=%d) is out of order or out of range", i,
               (long long)key->by, key->level);
    }
}

static struct ckks prepare_ckks(const struct check *c)
{
    const struct prog *p = c->p;
    const struct params *par = &p->params;
    struct ckks k = {0};
    for (uint32_t i = 0; i < p->nodes.len && !k.levelled; i++) {
        k.levelled = p->nodes.at[i].type.level >= 0;
    }
    const char *why;
    if ((par->log_n != 0 || k.levelled || p->num_keys != 0) && !params_check(par, &why)) {
        REFUSE(c, "parameters: %s", why);
    }
    for (uint32_t i = 0; i < par->num_q && i < 1024; i++) {
        k.log2_q[i + 1] = k.log2_q[i] + log2((double)par->q[i]);
    }
    for (uint32_t i = 0; i < p->num_keys; i++) {
        check_key_spec(c, i);
    }
    if (p->num_regs != 0) {
        k.holder = arena_array(p->arena, p->num_regs, sizeof *k.holder);
        memset(k.holder, 0xff, p->num_regs * sizeof *k.holder);
    }
    k.open = -1;
    k.taken = arena_array(p->arena, p->nodes.len, sizeof *k.taken);
    k.group = arena_array(p->arena, p->nodes.len, sizeof *k.group);
    memset(k.group, 0xff, p->nodes.len * sizeof *k.group);
    return k;
}

static void check_level(const struct check *c, const struct ckks *k, const struct type *inferred)
{
    const struct type *t = &c->n->type;
    if (t->kind == KIND_NONE) {
        return;
    }
    if (c->p->params.log_n != 0 && t->n > 1u << (c->p->params.log_n - 1)) {
        REFUSE(c, "%u slots do not fit in a ring of degree 2^%u", t->n, c->p->params.log_n);
    }
    if ((t->level >= 0) != k->levelled) {
        REFUSE(c, "some values have a level and some have none");
    }
    if (!k->levelled) {
        return;
    }
    if ((uint32_t)t->level >= c->p->params.num_q) {
        REFUSE(c, "level %d, but there are %u primes", t->level, c->p->params.num_q);
    }
    /* At level 0 of a program that bootstraps, values are read in units of some multiples of q_0. */
    bool reread = t->level == 0 && c->p->params.sparse_weight != 0;
    if (!(t->scale > 0) || (!reread && log2(t->scale) >= k->log2_q[t->level + 1])) {
        REFUSE(c, "scale %.17g does not fit in the modulus of level %d", t->scale, t->level);
    }
    if (c->n->op == OP_input) {
        return; /* the parameters decide */
    }
    if (c->n->op == OP_bootstrap && inferred->level == t->level) {
        return; /* of any scale */
    }
    if (t->level != inferred->level) {
        REFUSE(c, "level %d, the operands give %d", t->level, inferred->level);
    }
    if (fabs(t->scale - inferred->scale) > 0x1p-40 * inferred->scale) {
        REFUSE(c, "scale %.17g, the operands give %.17g", t->scale, inferred->scale);
    }
}

static void check_key(const struct check *c)
{
    const struct prog *p = c->p;
    enum key_kind kind;
    if (p->num_keys == 0 || !node_key_kind(c->n, &kind)) {
        return;
    }
    int64_t half = (int64_t)1 << (p->params.log_n - 1);
    int64_t by = node_int_or(c->n, KEY_by, 0) & (half - 1);
    for (uint32_t i = 0; i < p->num_keys; i++) {
        const struct key_spec *k = &p->keys[i];
        if (k->kind == kind && k->by == by && k->level >= c->n->type.level) {
            return;
        }
    }
    REFUSE(c, "there is no key %s by=%lld for level %d", key_kind_name(kind), (long long)by,
           c->n->type.level);
}

static bool is_inner(const struct node *n)
{
    return n->op != OP_pmac && node_attr(n, KEY_group);
}

static void check_inner_operands(const struct check *c, const struct ckks *k, int64_t group)
{
    const struct node *n = c->n;
    for (uint32_t i = 0; i < n->num_args; i++) {
        const struct node *x = &c->p->nodes.at[n->args[i]];
        int64_t of = node_int_or(x, KEY_group, -1);
        if (is_inner(x) && (n->op != OP_pmac || of != group)) {
            REFUSE(c, "operand %u exists in group %lld only", n->args[i], (long long)of);
        }
        if (!is_inner(x) && of >= 0 && of == group) {
            REFUSE(c, "operand %u is a result of the same group", n->args[i]);
        }
        k->taken[n->args[i]] = true;
    }
}

/* Nodes of a group that have registers are one call: its operands must live to its end, and its results apart. */
static void close_group(struct check *c, struct ckks *k)
{
    const struct prog *p = c->p;
    for (uint32_t i = k->from; k->holder && k->open >= 0 && i < c->index; i++) {
        struct check at = {p, c->after_pass, &p->nodes.at[i], i};
        for (uint32_t j = 0; j < at.n->num_args; j++) {
            uint32_t x = at.n->args[j];
            if (!is_inner(&p->nodes.at[x]) && k->holder[p->nodes.at[x].reg] != x) {
                REFUSE(&at, "register %u of an operand is that of a result of the group",
                       p->nodes.at[x].reg);
            }
        }
        if (!is_inner(at.n) && k->holder[at.n->reg] != i) {
            REFUSE(&at, "two results of the group have register %u", at.n->reg);
        }
    }
    k->open = -1;
}

static void check_group(struct check *c, struct ckks *k)
{
    const struct prog *p = c->p;
    const struct node *n = c->n;
    int64_t group = node_int_or(n, KEY_group, -1);
    if (k->open >= 0 && group != k->open) {
        close_group(c, k);
    }
    check_inner_operands(c, k, group);
    if (!node_attr(n, KEY_group)) {
        return;
    }
    if (group < 0 || group >= p->nodes.len) {
        REFUSE(c, "group %lld is out of range", (long long)group);
    }
    if (n->op == OP_key_mul &&
        (node_int_or(n, KEY_by, 0) == 0 || node_int_or(n, KEY_conjugate, 0) != 0)) {
        REFUSE(c, "a group has no other key products than rotations");
    }
    uint32_t first = k->group[group];
    if (first == NONE) {
        k->group[group] = c->index;
    } else if (p->nodes.at[first].type.kind != n->type.kind) {
        REFUSE(c, "group %lld is over %s", (long long)group,
               p->nodes.at[first].type.kind == KIND_CTX ? "QP" : "Q");
    } else if (p->nodes.at[first].type.level != n->type.level) {
        REFUSE(c, "group %lld is at level %d", (long long)group, p->nodes.at[first].type.level);
    }
    if (k->holder && k->open != group && first != NONE) {
        REFUSE(c, "the nodes of group %lld do not stand side by side", (long long)group);
    }
    if (k->open != group) {
        k->open = group;
        k->from = c->index;
    }
}

static void check_taken(struct check *c, const struct ckks *k)
{
    for (uint32_t i = 0; i < c->p->nodes.len; i++) {
        c->n = &c->p->nodes.at[i];
        c->index = i;
        if (is_inner(c->n) && !k->taken[i]) {
            REFUSE(c, "no product of its group takes it");
        }
    }
}

static void check_register(const struct check *c, const struct ckks *k)
{
    const struct node *n = c->n;
    if (!k->holder) {
        if (n->reg != NONE) {
            REFUSE(c, "a register is assigned, but there are none");
        }
        return;
    }
    bool apart = n->op == OP_decompose || n->op == OP_key_mul || n->op == OP_mul ||
                 n->op == OP_pmac || n->op == OP_mod_raise || n->op == OP_raised_mul ||
                 (n->op == OP_comb && n->num_args > 1);
    for (uint32_t i = 0; i < n->num_args; i++) {
        if (is_inner(&c->p->nodes.at[n->args[i]])) {
            continue;
        }
        uint32_t reg = c->p->nodes.at[n->args[i]].reg; /* in range: checked at the operand */
        if (k->holder[reg] != n->args[i]) {
            REFUSE(c, "register %u no longer holds %%%u", reg, n->args[i]);
        }
        if (apart && reg == n->reg) {
            REFUSE(c, "the result may not overwrite an operand");
        }
    }
    if (n->op == OP_call) { /* what the function writes is gone */
        const struct nodes *callee = &c->p->funcs[node_int(n, KEY_func)].nodes;
        for (uint32_t i = 0; i < callee->len; i++) {
            if (callee->at[i].reg < c->p->num_regs) {
                k->holder[callee->at[i].reg] = NONE;
            }
        }
    }
    if (is_inner(n)) {
        if (n->reg != NONE) {
            REFUSE(c, "what is computed inside a group has no register");
        }
    } else if (n->type.kind != KIND_NONE) {
        if (n->reg >= c->p->num_regs) {
            REFUSE(c, "there is no register for the value");
        }
        k->holder[n->reg] = c->index;
    }
}

/* ---- a program ------------------------------------------------------------------------------ */

static void check_nodes(struct check *c)
{
    const struct prog *p = c->p;
    struct ckks k = {0};
    bool laid_out = false;
    c->n = NULL;
    if (p->stage == STAGE_CKKS) {
        k = prepare_ckks(c);
    }
    for (uint32_t i = 0; i < p->nodes.len && !laid_out; i++) {
        laid_out = p->nodes.at[i].type.kind == KIND_TENSOR && p->nodes.at[i].type.layout != NONE;
    }
    uint32_t outputs = 0;
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        c->n = &p->nodes.at[i];
        c->index = i;
        check_form(c);
        struct type inferred = check_type(c);
        check_layout(c, laid_out);
        if (p->stage == STAGE_CKKS) {
            check_level(c, &k, &inferred);
            check_key(c);
            check_group(c, &k);
            check_register(c, &k);
        } else if (node_attr(c->n, KEY_group)) {
            REFUSE(c, "groups are made at stage ckks");
        }
        outputs += c->n->op == OP_output;
        inputs += c->n->op == OP_input;
        if (p->is_function && c->n->op == OP_bootstrap) {
            REFUSE(c, "functions do not bootstrap");
        }
    }
    if (p->stage == STAGE_CKKS) {
        c->index = p->nodes.len;
        close_group(c, &k);
        check_taken(c, &k);
    }
    c->n = NULL;
    if (outputs != 1) {
        REFUSE(c, "it has %u outputs, it must have 1", outputs);
    }
    if (p->is_function && inputs != 1) {
        REFUSE(c, "the function has %u inputs, it must have 1", inputs);
    }
}

static bool is_identifier(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t len = strlen(s);
    return len > 0 && len <= 63 && strspn(s, letters) > 0 && strspn(s, all) == len;
}

static void check_function(const struct check *c, uint32_t f)
{
    const struct prog *p = c->p;
    const char *name = p->funcs[f].name;
    if (p->stage == STAGE_NN || p->is_function) {
        REFUSE(c, "function '%s' at a place that has none", name);
    }
    if (!is_identifier(name)) {
        REFUSE(c, "'%s' is no name for a function", name);
    }
    for (uint32_t i = 0; i < f; i++) {
        if (strcmp(p->funcs[i].name, name) == 0) {
            REFUSE(c, "there are two functions '%s'", name);
        }
    }
    struct prog view = *p;
    view.nodes = p->funcs[f].nodes;
    view.is_function = true;
    view.funcs = NULL;
    view.num_funcs = 0;
    struct check inside = {.p = &view, .after_pass = c->after_pass};
    check_nodes(&inside);
}

/* A network that is carried beside the program: stage nn, whatever the program's */
static void check_network(struct check *c, const struct nodes *nodes)
{
    if (nodes->len == 0) {
        return;
    }
    struct prog network = *c->p;
    network.stage = STAGE_NN;
    network.nodes = *nodes;
    network.is_function = false;
    struct check r = {.p = &network, .after_pass = c->after_pass};
    check_nodes(&r);
}

static void check_points(struct check *c)
{
    const struct prog *p = c->p;
    for (uint32_t i = 0; i < p->num_points; i++) {
        const struct check_point *k = &p->points[i];
        const struct node *n = k->node < p->nodes.len ? &p->nodes.at[k->node] : NULL;
        const struct node *t = k->tensor < p->packed.len ? &p->packed.at[k->tensor] : NULL;
        if (!n || n->type.kind != KIND_CT) {
            REFUSE(c, "check: %%%u is no ciphertext of the program", k->node);
        }
        if (!t || t->type.kind != KIND_TENSOR || t->type.layout == NONE ||
            k->part >= p->layouts[t->type.layout].num_ct) {
            REFUSE(c, "check: %%%u of the packed network has no part %u", k->tensor, k->part);
        }
        if (!(k->budget >= 0) || !isfinite(k->budget)) {
            REFUSE(c, "check: the budget of %%%u is not a size", k->node);
        }
        if (i > 0 && k->node < p->points[i - 1].node) {
            REFUSE(c, "check: %%%u is not in order", k->node);
        }
    }
}

void prog_verify(const struct prog *p, const char *after_pass)
{
    struct check c = {.p = p, .after_pass = after_pass};
    check_tables(&c);
    check_network(&c, &p->reference);
    check_network(&c, &p->packed);
    check_points(&c);
    for (uint32_t f = 0; f < p->num_funcs; f++) {
        check_function(&c, f);
    }
    check_nodes(&c);
}
