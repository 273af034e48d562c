/* SPDX-License-Identifier: Apache-2.0 */
#include "layout_search.h"

#include "nn_build.h"

#include <math.h>
#include <string.h>

enum { MAX_SWEEPS = 8, MAX_LOG_N = 16 };

/* An input ciphertext is encrypted and sent, over a line of a gigabyte a second. */
static const double NS_PER_BYTE_SENT = 1;

/* A map node, with records of the scratch program whose layouts are set for every question. */
struct edge {
    uint32_t out;                 /* class */
    uint32_t num_in, *in;         /* classes of the operands */
    uint32_t map;                 /* all terms */
    uint32_t tree;                /* the terms that read the parent class */
    uint32_t window, tree_window; /* equal numbers: equal shapes between equal layouts */
    int level;
};

struct search {
    struct classes c;
    struct cost_ring ring;
    struct edge *edge;
    uint32_t num_edges;
    uint32_t *first_edge; /* [classes] the edge that makes class.first, NONE for the input */
    double *per_ct;       /* [classes] cost of products and encryption a ciphertext */
    uint32_t *chosen;     /* [classes] */
    struct map seen;      /* (window, layouts) -> index into known */
    struct map_shape *known;
    uint32_t num_known, cap_known;
    struct map windows;
};

/* ---- levels and ring ------------------------------------------------------------------------ */

/* Primes that are still to go at the operands of every node: a map takes one, and so does a product
 * that is multiplied again before a map. */
static int *levels_left(const struct prog *p)
{
    int *left = arena_array(p->arena, p->nodes.len, sizeof *left);
    bool *multiplied = arena_array(p->arena, p->nodes.len, sizeof *multiplied);
    for (uint32_t i = p->nodes.len; i-- > 0;) {
        const struct node *n = &p->nodes.at[i];
        left[i] += n->op == OP_map || (n->op == OP_mul && multiplied[i]);
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            left[x] = left[i] > left[x] ? left[i] : left[x];
            multiplied[x] = multiplied[x] || n->op == OP_mul || (multiplied[i] && n->op != OP_map);
        }
    }
    return left;
}

static struct cost_ring ring_for(uint32_t log_n, uint32_t primes)
{
    double room = params_max_log2_qp(log_n) / 50 - primes;
    uint32_t special = room < 1 ? 1 : room > (primes + 1) / 2. ? (primes + 1) / 2 : (uint32_t)room;
    return (struct cost_ring){log_n, special, special};
}

static uint32_t least_log_n(uint32_t primes)
{
    uint32_t log_n = 13;
    while (log_n < MAX_LOG_N && params_max_log2_qp(log_n) < 50. * (primes + 1))
        log_n++;
    return log_n;
}

/* ---- costs ---------------------------------------------------------------------------------- */

/* Everything that the diagonals of a map depend on, but layouts. */
static uint32_t window_number(struct search *s, uint32_t map)
{
    const struct prog *p = s->c.p;
    const struct lmap *m = &p->maps[map];
    struct str b;
    str_init(&b, p->arena);
    str_addn(&b, (const char *)m->out, sizeof m->out);
    for (uint32_t i = 0; i < m->num_terms; i++) {
        struct lterm t = m->term[i];
        const uint32_t *w = p->consts.at[t.weight].type.dims;
        uint32_t v[] = {t.in[0],
                        t.in[1],
                        t.in[2],
                        t.out_from,
                        t.in_from,
                        t.groups,
                        t.stride[0],
                        t.stride[1],
                        t.up[0],
                        t.up[1],
                        t.dilation[0],
                        t.dilation[1],
                        (uint32_t)t.pad[0],
                        (uint32_t)t.pad[2],
                        (uint32_t)t.wrap,
                        w[0],
                        w[1],
                        w[2],
                        w[3]};
        str_addn(&b, (const char *)v, sizeof v);
    }
    bool is_new;
    uint64_t *number = map_put(&s->windows, b.s, b.len, &is_new);
    if (is_new)
        *number = s->windows.len;
    return (uint32_t)*number;
}

/* Cost of a map record whose layouts are set. */
static struct map_cost ask(struct search *s, uint32_t map, uint32_t window, int level)
{
    struct prog *p = s->c.p;
    const struct lmap *m = &p->maps[map];
    uint32_t *key = arena_array(p->arena, m->num_terms + 2, sizeof *key);
    key[0] = window;
    key[1] = m->out_layout;
    for (uint32_t i = 0; i < m->num_terms; i++)
        key[2 + i] = m->term[i].in_layout;
    bool is_new;
    uint64_t *at = map_put(&s->seen, key, (m->num_terms + 2) * sizeof *key, &is_new);
    if (is_new) {
        *at = s->num_known;
        ARENA_GROW(p->arena, s->known, s->num_known, s->cap_known);
        s->known[s->num_known++] = map_shape(p, map, p->arena);
    }
    return map_cost(&s->known[*at], s->ring, level);
}

static uint32_t layout_of(const struct search *s, uint32_t class)
{
    return s->c.at[class].candidate[s->chosen[class]];
}

/* Cost of an edge under the present choices */
static struct map_cost edge_cost(struct search *s, const struct edge *e)
{
    struct lmap *m = &s->c.p->maps[e->map];
    m->out_layout = layout_of(s, e->out);
    for (uint32_t i = 0; i < m->num_terms; i++)
        m->term[i].in_layout = layout_of(s, e->in[i]);
    return ask(s, e->map, e->window, e->level);
}

static double class_cost(const struct search *s, uint32_t class, uint32_t candidate)
{
    const struct layout *l = &s->c.p->layouts[s->c.at[class].candidate[candidate]];
    /* the last summand only breaks ties: fewer slots */
    return s->per_ct[class] * l->num_ct + 1e-3 * l->n * l->num_ct;
}

/* ---- set-up --------------------------------------------------------------------------------- */

static void add_edge(struct search *s, uint32_t value, int level)
{
    struct prog *p = s->c.p;
    const struct node *n = &p->nodes.at[value];
    const struct lmap m = *node_map(p, n);
    struct edge *e = &s->edge[s->num_edges];
    *e = (struct edge){.out = s->c.of[value], .num_in = n->num_args, .level = level};
    e->in = arena_array(p->arena, n->num_args, sizeof *e->in);
    struct lmap tree = m;
    tree.term = arena_array(p->arena, m.num_terms, sizeof *tree.term);
    tree.num_terms = 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        e->in[k] = s->c.of[n->args[k]];
        if (e->in[k] == e->in[0])
            tree.term[tree.num_terms++] = m.term[k];
    }
    e->map = prog_add_map(p, &m);
    e->tree = prog_add_map(p, &tree);
    e->window = window_number(s, e->map);
    e->tree_window = window_number(s, e->tree);
    if (s->c.at[e->out].first == value)
        s->first_edge[e->out] = s->num_edges;
    s->num_edges++;
}

static void prepare(struct search *s, const int *left)
{
    struct prog *p = s->c.p;
    map_init(&s->seen, p->arena);
    map_init(&s->windows, p->arena);
    s->edge = arena_array(p->arena, p->nodes.len, sizeof *s->edge);
    s->first_edge = arena_array(p->arena, s->c.len, sizeof *s->first_edge);
    s->per_ct = arena_array(p->arena, s->c.len, sizeof *s->per_ct);
    s->chosen = arena_array(p->arena, s->c.len, sizeof *s->chosen);
    for (uint32_t i = 0; i < s->c.len; i++)
        s->first_edge[i] = NONE;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        int level = left[i];
        double *per_ct = n->op == OP_output ? NULL : &s->per_ct[s->c.of[i]];
        if (n->op == OP_map)
            add_edge(s, i, level);
        else if (n->op == OP_mul)
            *per_ct += cost_decompose(s->ring, level) + cost_key_mul(s->ring, level) +
                       cost_mod_down(s->ring, level);
        else if (n->op == OP_input)
            *per_ct += (level + 1) * (8 * cost_ntt(s->ring.log_n) +
                                      ldexp(16 * NS_PER_BYTE_SENT, (int)s->ring.log_n));
        else if (n->op != OP_output)
            *per_ct += 2. * n->num_args * (level + 1) * cost_pointwise(s->ring.log_n);
    }
}

/* ---- dynamic programming on the tree --------------------------------------------------------- */

/* best[c][k]: cheapest subtree below class c when it has candidate k; pick[c][j]: candidate of
 * class c when its parent has candidate j */
static void choose_on_tree(struct search *s)
{
    struct prog *p = s->c.p;
    double **best = arena_array(p->arena, s->c.len, sizeof *best);
    uint32_t **pick = arena_array(p->arena, s->c.len, sizeof *pick);
    for (uint32_t i = 0; i < s->c.len; i++) {
        best[i] = arena_array(p->arena, s->c.at[i].len, sizeof **best);
        for (uint32_t k = 0; k < s->c.at[i].len; k++)
            best[i][k] = class_cost(s, i, k);
    }
    for (uint32_t i = s->c.len; i-- > 0;) {
        const struct class *c = &s->c.at[i];
        if (c->parent == NONE)
            continue;
        const struct class *from = &s->c.at[c->parent];
        const struct edge *e = &s->edge[s->first_edge[i]];
        pick[i] = arena_array(p->arena, from->len, sizeof **pick);
        for (uint32_t j = 0; j < from->len; j++) {
            double least = INFINITY;
            for (uint32_t k = 0; k < c->len; k++) {
                if (best[i][k] >= least)
                    continue;
                struct lmap *m = &p->maps[e->tree];
                m->out_layout = c->candidate[k];
                for (uint32_t t = 0; t < m->num_terms; t++)
                    m->term[t].in_layout = from->candidate[j];
                double cost = ask(s, e->tree, e->tree_window, e->level).ns + best[i][k];
                if (cost < least) {
                    least = cost;
                    pick[i][j] = k;
                }
            }
            best[c->parent][j] += least;
        }
    }
    for (uint32_t i = 0; i < s->c.len; i++) {
        const struct class *c = &s->c.at[i];
        if (c->parent != NONE) {
            s->chosen[i] = pick[i][s->chosen[c->parent]];
            continue;
        }
        for (uint32_t k = 1; k < c->len; k++)
            if (best[i][k] < best[i][s->chosen[i]])
                s->chosen[i] = k;
    }
}

/* ---- improvement on the graph ---------------------------------------------------------------- */

static bool touches(const struct edge *e, uint32_t class)
{
    bool yes = e->out == class;
    for (uint32_t k = 0; k < e->num_in; k++)
        yes = yes || e->in[k] == class;
    return yes;
}

static double around(struct search *s, uint32_t class)
{
    double cost = class_cost(s, class, s->chosen[class]);
    for (uint32_t i = 0; i < s->num_edges; i++)
        if (touches(&s->edge[i], class))
            cost += edge_cost(s, &s->edge[i]).ns;
    return cost;
}

static void improve(struct search *s)
{
    bool changed = true;
    for (uint32_t sweep = 0; changed && sweep < MAX_SWEEPS; sweep++) {
        changed = false;
        for (uint32_t i = 0; i < s->c.len; i++) {
            uint32_t keep = s->chosen[i];
            double least = around(s, i);
            for (uint32_t k = 0; k < s->c.at[i].len; k++) {
                s->chosen[i] = k;
                double cost = k == keep ? INFINITY : around(s, i);
                if (cost < least) {
                    least = cost;
                    keep = k;
                    changed = true;
                }
            }
            s->chosen[i] = keep;
        }
    }
}

static double total(struct search *s)
{
    double cost = 0;
    for (uint32_t i = 0; i < s->c.len; i++)
        cost += class_cost(s, i, s->chosen[i]);
    for (uint32_t i = 0; i < s->num_edges; i++)
        cost += edge_cost(s, &s->edge[i]).ns;
    return cost;
}

/* ---- choice of the ring ---------------------------------------------------------------------- */

static bool one_ciphertext_each(const struct search *s)
{
    for (uint32_t i = 0; i < s->c.len; i++)
        if (s->c.p->layouts[layout_of(s, i)].num_ct > 1)
            return false;
    return true;
}

static struct search search_ring(struct prog *p, uint32_t log_n, uint32_t primes, const int *left,
                                 enum layout_how how)
{
    struct search s = {.ring = ring_for(log_n, primes),
                       .c = find_classes(p, 1U << (log_n - 1), how)};
    prepare(&s, left);
    choose_on_tree(&s);
    improve(&s);
    return s;
}

static void explain(struct search *s, double cost)
{
    fprintf(stderr, "nn_layout: for N = 2^%u, estimated %.1f ms\n", s->ring.log_n, cost * 1e-6);
    for (uint32_t i = 0; i < s->c.len; i++) {
        const struct class *c = &s->c.at[i];
        const struct layout *l = &s->c.p->layouts[layout_of(s, i)];
        const struct node *n = &s->c.p->nodes.at[c->first];
        fprintf(stderr,
                "  %-20s %ux%ux%u in %u x %u slots: g=%u,%u t=%u,%u pitch=%u block=%u (of %u)",
                n->layer, l->c, l->h, l->w, l->num_ct, l->n, l->g_h, l->g_w, l->t_h, l->t_w,
                l->pitch, l->block, c->len);
        if (s->first_edge[i] != NONE) {
            struct map_cost m = edge_cost(s, &s->edge[s->first_edge[i]]);
            if (m.diagonals)
                fprintf(stderr, "; %u diagonals, %u rotations, %.2f ms", m.diagonals, m.rotations,
                        m.ns * 1e-6);
            else
                fprintf(stderr, "; too large to enumerate");
        }
        fprintf(stderr, "\n");
    }
}

void layout_search(struct prog *p, const struct opts *o, struct layouts *found)
{
    int *left = levels_left(p);
    uint32_t primes = 1;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        primes = (uint32_t)left[i] + 1 > primes ? (uint32_t)left[i] + 1 : primes;
    uint32_t log_n = o->log_n ? o->log_n : least_log_n(primes);
    struct search best = search_ring(p, log_n, primes, left, o->layout);
    double least = total(&best);
    while (!o->log_n && log_n < MAX_LOG_N && !one_ciphertext_each(&best)) {
        struct search next = search_ring(p, ++log_n, primes, left, o->layout);
        double cost = total(&next);
        if (cost < least) {
            least = cost;
            best = next;
        }
    }
    if (o->explain)
        explain(&best, least);
    found->of = arena_array(p->arena, p->nodes.len, sizeof *found->of);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (best.c.of[i] != NONE)
            found->of[i] = best.c.p->layouts[layout_of(&best, best.c.of[i])];
}
