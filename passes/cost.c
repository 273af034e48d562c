/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cost model: nanoseconds of one thread, as a sum of limb operations. l limbs of Q, k of P,
 * digits of alpha limbs. Counts after section A of Han and Ki, "Better bootstrapping for
 * approximate homomorphic encryption" (CT-RSA 2020), for key switching with special primes. Sums of
 * products cost what they do in a transform (ckks_group), marked or not yet, because nearly
 * all become part of one. Figures from cost.def, or from the file of --cost.
 */
#include "passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_LOG_N = 12, LAST_LOG_N = 17, NUM_LOG_N = LAST_LOG_N - FIRST_LOG_N + 1 };

enum figure {
#define COST(name, a, b, c, d, e, f, text) COST_##name,
#include "cost.def"
    NUM_FIGURES
};

static const char *const figure_name[NUM_FIGURES] = {
#define COST(name, a, b, c, d, e, f, text) #name,
#include "cost.def"
};

static double figure[NUM_FIGURES][NUM_LOG_N] = {
#define COST(name, a, b, c, d, e, f, text) {a, b, c, d, e, f},
#include "cost.def"
};

/* Operands and results come from and go to memory, and that is what they cost: beside a sum of two limbs,
 * which is three streams of words, one that is read by the way is a third, a limb that is copied or multiplied
 * by a number is two thirds. */
#define READ_ALONG (1 / 3.)
#define COPY       (2 / 3.)
#define SQUARE     (5 / 3.) /* two read, three written */
#define PRODUCT    (7 / 3.)

/* Rings outside the table: halve or double the nearest column. */
static double limb(enum figure f, uint32_t log_n)
{
    if (log_n < FIRST_LOG_N)
        return ldexp(figure[f][0], (int)log_n - FIRST_LOG_N);
    if (log_n > LAST_LOG_N)
        return ldexp(figure[f][NUM_LOG_N - 1], (int)log_n - LAST_LOG_N);
    return figure[f][log_n - FIRST_LOG_N];
}

double cost_ntt(uint32_t log_n)
{
    return limb(COST_ntt, log_n);
}

double cost_pointwise(uint32_t log_n)
{
    return limb(COST_pointwise, log_n);
}

double cost_mac(uint32_t log_n)
{
    return limb(COST_mac, log_n);
}

double cost_decompose(struct cost_ring r, int level)
{
    double l = level + 1, all = l + r.num_p;
    double ns = l * limb(COST_ntt, r.log_n);
    for (double at = 0; at < l; at += r.alpha) {
        double own = fmin(r.alpha, l - at);
        ns += (all - own) * (limb(COST_ntt, r.log_n) + own * limb(COST_convert, r.log_n));
    }
    return ns;
}

/* Every digit meets both halves of its key; the base joins the first, and both are permuted. */
static double key_product(struct cost_ring r, int level, double digits, bool inner)
{
    double all = level + 1. + r.num_p;
    double key = limb(inner ? COST_transform_key : COST_key, r.log_n);
    double base = limb(inner ? COST_transform_base : COST_permute, r.log_n);
    return 2 * all * (digits * key + base);
}

static double digits_at(struct cost_ring r, int level)
{
    return ceil((level + 1) / (double)r.alpha);
}

double cost_key_mul(struct cost_ring r, int level)
{
    return key_product(r, level, digits_at(r, level), false);
}

double cost_key_mul_add(struct cost_ring r, int level)
{
    double words = 2 * (level + 1. + r.num_p) * limb(COST_pointwise, r.log_n);
    return cost_key_mul(r, level) + READ_ALONG * words;
}

/* One digit, which needs no decomposition */
double cost_raised_mul(struct cost_ring r, int level)
{
    return key_product(r, level, 1, false);
}

/* Tile by tile, so that nothing but the key comes from memory */
double cost_inner_key_mul(struct cost_ring r, int level)
{
    return key_product(r, level, digits_at(r, level), true);
}

double cost_inner_raised_mul(struct cost_ring r, int level)
{
    return key_product(r, level, 1, true);
}

/* Key switching over q_0 p_0 */
static double cost_encapsulate(struct cost_ring r)
{
    struct cost_ring one = {r.log_n, 1, 1};
    return cost_decompose(one, 0) + cost_key_mul(one, 0) + cost_mod_down(one, 0);
}

/* q_0 to coefficients, these to every other prime: c0 of Q_level, c1 of Q_level P */
static double cost_mod_raise(struct cost_ring r, int level)
{
    double limbs = 2. * level + r.num_p;
    return 2 * limb(COST_ntt, r.log_n) + limbs * limb(COST_ntt, r.log_n);
}

/* Both halves: `gone` limbs to coefficients, converted to the `left` ones, subtracted there. */
static double divide(uint32_t log_n, double gone, double left)
{
    return 2 * (gone * limb(COST_ntt, log_n) + gone * left * limb(COST_convert, log_n) +
                left * (limb(COST_ntt, log_n) + READ_ALONG * limb(COST_pointwise, log_n)));
}

double cost_mod_down(struct cost_ring r, int level)
{
    return divide(r.log_n, r.num_p, level + 1);
}

double cost_rescale(struct cost_ring r, int level)
{
    return divide(r.log_n, 1, level);
}

double cost_pmac(struct cost_ring r, int level, bool extended, uint32_t terms)
{
    return cost_pmac_period(r, level, extended, terms, UINT32_MAX);
}

double cost_pmac_period(struct cost_ring r, int level, bool extended, uint32_t terms,
                        uint32_t period)
{
    double limbs = level + 1 + (extended ? (double)r.num_p : 0);
    bool runs = 2. * period < ldexp(1, (int)r.log_n);
    return 2 * limbs * terms *
           limb(runs ? COST_transform_mac_run : COST_transform_mac, r.log_n);
}

/* A product that is no part of a transform: its operands come from memory for it alone. */
static double single_product(struct cost_ring r, double limbs, const struct node *n)
{
    bool runs = 2. * (double)node_int(n, KEY_period) < ldexp(1, (int)r.log_n);
    return 2 * limbs * n->num_args * limb(runs ? COST_mac_run : COST_mac, r.log_n);
}

static double cost_nodes(const struct prog *p, const struct nodes *nodes);

/* A key product and the sum that is its only use, next to it, are one step (backends/c/emit.c). */
static bool adds_product(const struct nodes *nodes, const struct node *n)
{
    if (n == nodes->at || n->num_args != 2 || node_attr(n, KEY_group))
        return false;
    const struct node *product = n - 1;
    uint32_t id = (uint32_t)(product - nodes->at);
    return product->op == OP_key_mul && !node_int_or(product, KEY_conjugate, 0) &&
           !node_attr(product, KEY_group) && (n->args[0] == id) != (n->args[1] == id);
}

static double cost_in(const struct prog *p, const struct nodes *nodes, const struct node *n)
{
    if (p->stage != STAGE_CKKS || n->num_args == 0 || p->params.log_n == 0)
        return 0;
    struct cost_ring r = {p->params.log_n, p->params.alpha, p->params.num_p};
    const struct type *x = &nodes->at[n->args[0]].type;
    if (x->level < 0)
        return 0;
    bool extended = x->kind == KIND_CTX;
    double limbs = x->level + 1 + (extended ? (double)r.num_p : 0);
    double parts = x->kind == KIND_CT3 ? 3 : 2;
    double point = limb(COST_pointwise, r.log_n);
    bool inner = n->op != OP_pmac && node_attr(n, KEY_group);
    switch (n->op) {
    case OP_decompose:
        return cost_decompose(r, x->level);
    case OP_key_mul:
        return inner ? cost_inner_key_mul(r, x->level) : cost_key_mul(r, x->level);
    case OP_encapsulate:
        return cost_encapsulate(r);
    case OP_mod_raise:
        return cost_mod_raise(r, n->type.level);
    case OP_raised_mul:
        return inner ? cost_inner_raised_mul(r, x->level) : cost_raised_mul(r, x->level);
    case OP_mod_down: {
        double drop = (double)node_int(n, KEY_drop);
        return divide(r.log_n, r.num_p + drop, x->level + 1 - drop);
    }
    case OP_rescale: {
        double drop = (double)node_int(n, KEY_drop);
        return parts / 2 * divide(r.log_n, drop, x->level + 1 - drop);
    }
    case OP_pmac:
        if (p->num_regs > 0 && !node_attr(n, KEY_group))
            return single_product(r, limbs, n);
        return cost_pmac_period(r, x->level, extended, n->num_args,
                                (uint32_t)node_int(n, KEY_period));
    case OP_mul:
        return limbs * point * (n->args[0] == n->args[1] ? SQUARE : PRODUCT);
    case OP_add:
        if (adds_product(nodes, n))
            return parts * limbs * point * READ_ALONG;
        return parts * limbs * point * (n->num_args - 1);
    case OP_sub:
        return parts * limbs * point * (n->num_args - 1);
    case OP_comb: /* the kernel of plaintexts that repeat, and the result is written */
        return parts * limbs * limb(COST_mac_run, r.log_n) * (n->num_args + 1);
    case OP_padd:
    case OP_add_scalar: /* and a copy of the other part */
        return 2 * COPY * limbs * point;
    case OP_lift:
        return parts * limbs * (inner ? limb(COST_transform_base, r.log_n) : COPY * point);
    case OP_raise_scale:
    case OP_times_i:
        return parts * limbs * COPY * point;
    case OP_call: {
        int64_t f = node_int(n, KEY_func);
        return f >= 0 && f < p->num_funcs ? cost_nodes(p, &p->funcs[f].nodes) : 0;
    }
    default:
        return 0;
    }
}

/* Functions do not call functions, so this ends. */
static double cost_nodes(const struct prog *p, const struct nodes *nodes)
{
    double ns = 0;
    for (uint32_t i = 0; i < nodes->len; i++)
        if (nodes == &p->nodes || nodes->at[i].op != OP_call)
            ns += cost_in(p, nodes, &nodes->at[i]);
    return ns;
}

double cost_node(const struct prog *p, const struct node *n)
{
    return cost_in(p, &p->nodes, n);
}

double cost_prog(const struct prog *p)
{
    return cost_nodes(p, &p->nodes);
}

/* Limbs of 2^log_m words, of as many plaintexts */
static double make_plains(double limbs, uint32_t count, uint64_t period)
{
    uint32_t log_m = 1;
    while (((uint64_t)1 << log_m) < 2 * period)
        log_m++;
    return limbs * count * limb(COST_plain_make, log_m);
}

static struct node_ns times_of(const struct prog *p, const struct nodes *nodes,
                               const struct node *n);

static struct node_ns times_of_all(const struct prog *p, const struct nodes *nodes)
{
    struct node_ns sum = {0};
    for (uint32_t i = 0; i < nodes->len; i++) {
        if (nodes == &p->nodes || nodes->at[i].op != OP_call) {
            struct node_ns one = times_of(p, nodes, &nodes->at[i]);
            sum.kept += one.kept;
            sum.keys += one.keys;
            sum.plaintexts += one.plaintexts;
        }
    }
    return sum;
}

static struct node_ns times_of(const struct prog *p, const struct nodes *nodes,
                               const struct node *n)
{
    struct node_ns ns = {.kept = cost_in(p, nodes, n)};
    if (!(ns.kept > 0))
        return ns;
    const struct type *x = &nodes->at[n->args[0]].type;
    struct cost_ring r = {p->params.log_n, p->params.alpha, p->params.num_p};
    double limbs = x->level + 1, key = limb(COST_key_expand, r.log_n);
    switch (n->op) {
    case OP_key_mul:
        ns.keys = digits_at(r, x->level) * (limbs + r.num_p) * key;
        break;
    case OP_raised_mul:
        ns.keys = (limbs + r.num_p) * key;
        break;
    case OP_encapsulate:
        ns.keys = 2 * key;
        break;
    case OP_pmac:
        ns.plaintexts = make_plains(limbs + (x->kind == KIND_CTX ? r.num_p : 0), n->num_args,
                                    (uint64_t)node_int(n, KEY_period));
        break;
    case OP_padd:
        ns.plaintexts = make_plains(limbs, 1, p->layouts[node_int(n, KEY_layout)].n);
        break;
    case OP_call: {
        int64_t f = node_int(n, KEY_func);
        ns = times_of_all(p, &p->funcs[f].nodes);
        break;
    }
    default:
        break;
    }
    return ns;
}

struct node_ns cost_node_times(const struct prog *p, const struct node *n)
{
    return times_of(p, &p->nodes, n);
}

struct node_ns cost_prog_times(const struct prog *p)
{
    return times_of_all(p, &p->nodes);
}

double cost_once(struct node_ns ns)
{
    return ns.kept + ns.keys + ns.plaintexts;
}

double cost_served(struct node_ns ns, const struct prog_memory *m)
{
    return ns.kept + (1 - m->kept_keys) * ns.keys + (1 - m->kept_plaintexts) * ns.plaintexts;
}

/* "ntt.14 20000"; '#' starts a comment. Figures that the file does not name keep their value. */
static bool load_line(double table[NUM_FIGURES][NUM_LOG_N], char *line, const char **why)
{
    char *save = NULL;
    char *name = strtok_r(line, " \t\r", &save);
    if (!name || *name == '#')
        return true;
    char *value = strtok_r(NULL, " \t\r", &save), *dot = strrchr(name, '.');
    char *more = strtok_r(NULL, " \t\r", &save);
    *why = "a line is not \"name.log_n nanoseconds\"";
    if (!value || !dot || (more && *more != '#'))
        return false;
    *dot = 0;
    char *end_n, *end_ns;
    long log_n = strtol(dot + 1, &end_n, 10);
    double ns = strtod(value, &end_ns);
    if (end_n == dot + 1 || *end_n || end_ns == value || *end_ns)
        return false;
    *why = "log_n is outside 12..17";
    if (log_n < FIRST_LOG_N || log_n > LAST_LOG_N)
        return false;
    *why = "a time is not a positive number";
    if (!(ns > 0) || !(ns < 1e15))
        return false;
    *why = "a figure has a name that the cost model does not know";
    for (uint32_t f = 0; f < NUM_FIGURES; f++)
        if (!strcmp(name, figure_name[f])) {
            table[f][log_n - FIRST_LOG_N] = ns;
            return true;
        }
    return false;
}

bool cost_load(const char *path, const char **why)
{
    struct mapped_file file;
    if (!file_map(path, &file, why))
        return false;
    double table[NUM_FIGURES][NUM_LOG_N];
    memcpy(table, figure, sizeof table);
    for (size_t at = 0; at < file.size;) {
        const uint8_t *end = memchr(file.data + at, '\n', file.size - at);
        size_t len = end ? (size_t)(end - file.data) - at : file.size - at;
        char line[200];
        if (len >= sizeof line) {
            *why = "a line is longer than 199 characters";
            return false;
        }
        memcpy(line, file.data + at, len);
        line[len] = 0;
        if (!load_line(table, line, why))
            return false;
        at += len + 1;
    }
    memcpy(figure, table, sizeof table);
    return true;
}
