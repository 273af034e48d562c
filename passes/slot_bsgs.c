/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot_bsgs: the baby-step giant-step plan of every linear transform.
 *
 * Reads     lin nodes; the diagonals of their maps (weights included: zero diagonals cost nothing).
 * Writes    rot (babies and giants), pmac (one per giant step), add; no lin is left.
 * Requires  stage slot, maps with layouts.
 * Ensures   every result equals the lin node's, with the same n; each pmac has the smallest `period`
 *           with which all of its plaintexts repeat.
 * Refuses   nothing.
 * Algorithm Halevi and Shoup, "Faster homomorphic linear transformations in HElib" (CRYPTO 2018):
 *           an offset is baby + giant; the babies of an input are hoisted and shared by all results
 *           of the map. Offsets of a packed convolution are columns + rows * pitch + channels *
 *           block, so the split is searched over residues modulo powers of two, blocks and multiples
 *           of pitch and gap, with several phases and either part as the baby; the cheapest by the
 *           cost model at an estimated ring and level wins. A map with fewer slots in its result
 *           than in its inputs ends in a sum over copies, in steps of 2, 4, 8 or 16, again by cost.
 *           Rotations of a raised value take one digit and no decomposition; where a map reads such a
 *           value, or the sum of such rotations that is its trace, its babies are rotations of the
 *           raised value itself if that is cheaper.
 * Cost      about a thousand candidates times the distinct (ciphertext, offset) pairs of a map.
 */
#include "level.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One way of splitting offsets; outer 0: the whole offset is split by `inner`. */
struct split {
    int64_t outer, inner, phase;
    bool centred, swap;
};

struct pair {
    uint32_t ct, offset, m;
};

struct step {
    int32_t baby, giant;
};

/* A value that is the sum of `copies` rotations of the result of mod_raise */
struct trace {
    uint32_t raised, copies; /* copies 0: it is not */
    int64_t by[16];
};

struct plan {
    uint32_t map;
    struct diagonals d;
    struct step *step; /* [d.len] */
    uint32_t copies;   /* of the traces that it reads, 0: none; */
    bool from_raised;  /* they are not rotated, but what they are made of */
};

struct work {
    struct prog *p; /* under construction */
    struct arena *scratch;
    struct arena *planned; /* what belongs to `plan`; a new one for every map */
    struct cost_ring ring;
    int level;          /* of the lin node at hand */
    struct map rotated; /* {value, by} -> rot node */
    struct plan plan;
};

static uint32_t term_slots(const struct prog *p, const struct lmap *m, uint32_t term)
{
    return p->layouts[m->term[term].in_layout].n;
}

/* ---- estimates of ring and level ------------------------------------------------------------ */

/* Primes that are still to go at the operands of every node. A linear transform takes one, and so
 * does a product that is multiplied again; what enters a bootstrap needs one, and a raised value none. */
static int *estimate_levels(const struct prog *p)
{
    const struct nodes *nodes = &p->nodes;
    int *after = arena_array(p->arena, nodes->len, sizeof *after);
    bool *multiplied = arena_array(p->arena, nodes->len, sizeof *multiplied);
    for (uint32_t i = nodes->len; i-- > 0;) {
        const struct node *n = &nodes->at[i];
        bool product = n->op == OP_mul, raises = n->op == OP_mod_raise;
        bool restarts = raises || n->op == OP_bootstrap || n->op == OP_call;
        after[i] += n->op == OP_lin || n->op == OP_comb || (product && multiplied[i]);
        int needs = restarts ? !raises : after[i];
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t a = n->args[k];
            after[a] = needs > after[a] ? needs : after[a];
            multiplied[a] =
                multiplied[a] || product || (multiplied[i] && n->op != OP_lin && !restarts);
        }
    }
    return after;
}

/* Where no ring that is worth its size carries so many levels, the program will bootstrap, in the
 * smaller rings and with the levels that these leave. */
static struct cost_ring estimate_ring(const struct prog *p, int *level)
{
    uint32_t slots = 1, primes = 1;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        uint32_t n = p->nodes.at[i].type.n, l = (uint32_t)level[i] + 1;
        slots = n > slots ? n : slots;
        primes = l > primes ? l : primes;
    }
    struct cost_ring ring = level_guess_ring(slots, primes);
    if (ring.log_n <= 16)
        return ring;
    bool small = slots <= 1u << 14;
    int most = small ? 5 : 19;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        level[i] = level[i] < most ? level[i] : most;
    return small ? (struct cost_ring){15, 3, 3} : (struct cost_ring){16, 6, 6};
}

/* ---- splitting offsets ---------------------------------------------------------------------- */

/* Representative of x modulo m in [-phase, m - phase) */
static int64_t residue(int64_t x, int64_t m, int64_t phase)
{
    if ((m & (m - 1)) == 0)
        return ((x + phase) & (m - 1)) - phase;
    int64_t r = (x + phase) % m;
    return (r < 0 ? r + m : r) - phase;
}

static struct step split_offset(const struct split *s, uint32_t offset, uint32_t m)
{
    int64_t x = residue(offset, m, s->centred ? m / 2 : 0);
    int64_t in = s->outer ? residue(x, s->outer, s->centred ? s->outer / 2 : 0) : x;
    int64_t low = residue(in, s->inner, s->phase);
    int64_t baby = residue(s->swap ? x - low : low, m, m / 2);
    return (struct step){(int32_t)baby, (int32_t)residue(offset - baby, m, m / 2)};
}

static int compare_pairs(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct pair)); /* any total order that keeps equal ct together */
}

/* Distinct (input, offset) or (result, offset) pairs of the plan's diagonals, grouped by ciphertext. */
static struct pair *distinct_pairs(struct work *w, bool of_inputs, uint32_t *len)
{
    const struct diagonals *d = &w->plan.d;
    const struct lmap *map = &w->p->maps[w->plan.map];
    struct pair *pair = arena_array(w->scratch, d->len, sizeof *pair);
    uint32_t n_out = w->p->layouts[map->out_layout].n, kept = 0;
    for (uint32_t i = 0; i < d->len; i++) {
        uint32_t n_in = term_slots(w->p, map, d->at[i].term);
        pair[i] = (struct pair){of_inputs ? d->at[i].in_ct : d->at[i].out_ct, d->at[i].offset,
                                n_in < n_out ? n_in : n_out};
    }
    qsort(pair, d->len, sizeof *pair, compare_pairs);
    for (uint32_t i = 0; i < d->len; i++)
        if (kept == 0 || compare_pairs(&pair[kept - 1], &pair[i]))
            pair[kept++] = pair[i];
    *len = kept;
    return pair;
}

/* Distinct steps other than zero, ciphertexts, and those of them that have such a step */
struct count {
    double moved, cts, moving;
};

/* Of all splits with equal counts, the first that is tried */
struct way {
    struct split split;
    struct count in, out;
};
struct ways {
    struct way *at;
    uint32_t len, cap;
};

/* Pairs of one side; ciphertexts that take part in the same offsets are one list. */
struct side {
    struct pair *pair;
    struct list {
        uint32_t from, len, times;
    } * list;
    uint32_t lists;
};

struct search {
    struct side in, out;
    uint32_t nw, num_terms, period;
    bool from_raised;
    uint32_t copies;
    uint32_t *stamp, now; /* [nw]: which steps the list at hand has seen */
    struct ways ways;
    struct arena *arena; /* of the ways */
    struct split best;
    double best_cost;
};

static struct side side_of(struct work *w, bool of_inputs)
{
    uint32_t len, from = 0;
    struct side s = {.pair = distinct_pairs(w, of_inputs, &len)};
    struct map seen;
    map_init(&seen, w->scratch);
    s.list = arena_array(w->scratch, len, sizeof *s.list);
    for (uint32_t i = 0; i < len; i++) {
        uint32_t ct = s.pair[i].ct;
        bool ends = i + 1 == len || s.pair[i + 1].ct != ct, is_new;
        s.pair[i].ct = 0;
        if (!ends)
            continue;
        uint64_t *at = map_put(&seen, s.pair + from, (i + 1 - from) * sizeof *s.pair, &is_new);
        if (is_new) {
            *at = s.lists;
            s.list[s.lists++] = (struct list){from, i + 1 - from, 0};
        }
        s.list[*at].times++;
        from = i + 1;
    }
    return s;
}

static struct count count_steps(struct search *s, const struct split *split, bool of_inputs)
{
    const struct side *side = of_inputs ? &s->in : &s->out;
    struct count c = {0, 0, 0};
    for (uint32_t k = 0; k < side->lists; k++) {
        const struct list *l = &side->list[k];
        uint32_t now = ++s->now, moved = 0;
        s->stamp[0] = now; /* a step of 0 is none */
        for (uint32_t i = l->from; i < l->from + l->len; i++) {
            struct step step = split_offset(split, side->pair[i].offset, side->pair[i].m);
            uint32_t *stamp = &s->stamp[residue(of_inputs ? step.baby : step.giant, s->nw, 0)];
            moved += *stamp != now;
            *stamp = now;
        }
        c.moved += (double)moved * l->times;
        c.cts += l->times;
        c.moving += moved > 0 ? l->times : 0;
    }
    return c;
}

static bool same_count(const struct count *a, const struct count *b)
{
    return a->moved == b->moved && a->cts == b->cts && a->moving == b->moving;
}

static void add_way(struct search *s, const struct split *split)
{
    struct way way = {*split, count_steps(s, split, true), count_steps(s, split, false)};
    for (uint32_t i = 0; i < s->ways.len; i++)
        if (same_count(&s->ways.at[i].in, &way.in) && same_count(&s->ways.at[i].out, &way.out))
            return;
    ARENA_GROW(s->arena, s->ways.at, s->ways.len, s->ways.cap);
    s->ways.at[s->ways.len++] = way;
}

/* Babies are hoisted; either each is brought down to Q before the products, or each sum after: then
 * products and their babies are one transform (ckks_group), but for babies that are sums. */
static double way_cost(const struct work *w, const struct search *s, const struct way *way)
{
    struct cost_ring r = w->ring;
    double decompose = cost_decompose(r, w->level), key = cost_key_mul(r, w->level);
    double down = cost_mod_down(r, w->level), key_add = cost_key_mul_add(r, w->level);
    struct count in = way->in, out = way->out;
    double turn = key, inner_turn = cost_inner_key_mul(r, w->level);
    double common = in.moving * decompose + out.moved * (decompose + key_add);
    if (s->from_raised) {
        double limbs = w->level + 1 + (double)r.num_p, sum = 2 * limbs * cost_pointwise(r.log_n);
        turn = s->copies * cost_raised_mul(r, w->level) + (s->copies - 1) * sum;
        inner_turn = s->copies == 1 ? cost_inner_raised_mul(r, w->level) : turn;
        common = out.moved * (decompose + key_add);
    }
    double products = cost_pmac_period(r, w->level, false, s->num_terms, s->period);
    double extended = cost_pmac_period(r, w->level, true, s->num_terms, s->period);
    double single = in.moved * (turn + down) + products + out.moving * down;
    double hoisted = in.moved * inner_turn + out.moved * down + extended + out.cts * down;
    return common + fmin(single, hoisted);
}

static void try_split(struct search *s, int64_t outer, int64_t inner)
{
    if (inner < 1 || inner > s->nw || (outer && inner >= outer))
        return;
    for (int flags = 0; flags < 4; flags++)
        for (int quarter = 0; quarter < 4; quarter++) {
            struct split split = {outer, inner, inner * quarter / 4, flags & 1, flags & 2};
            if (quarter && split.phase == inner * (quarter - 1) / 4)
                continue;
            add_way(s, &split);
        }
}

/* Multiples of what the layout counts in */
static void try_multiples(struct search *s, int64_t outer, int64_t unit)
{
    for (int64_t k = 1; k <= 8; k++)
        if (((k * unit) & (k * unit - 1)) != 0 || outer)
            try_split(s, outer, k * unit);
}

static void try_layout(struct search *s, const struct layout *l)
{
    int64_t outer = l->block < l->n ? l->block : 0;
    for (int64_t b = 1; outer && b < outer; b *= 2)
        try_split(s, outer, b);
    for (int inside = 0; inside <= (outer != 0); inside++) {
        try_multiples(s, inside ? outer : 0, l->pitch);
        try_multiples(s, inside ? outer : 0, l->t_w);
    }
    if (outer)
        try_split(s, 0, outer);
}

static bool layout_seen(const struct lmap *m, uint32_t term)
{
    for (uint32_t k = 0; k < term; k++)
        if (m->term[k].in_layout == m->term[term].in_layout)
            return true;
    return m->term[term].in_layout == m->out_layout;
}

static void find_ways(struct work *w, struct search *s)
{
    const struct lmap *m = &w->p->maps[w->plan.map];
    s->stamp = arena_array(w->scratch, s->nw, sizeof *s->stamp);
    s->in = side_of(w, true);
    s->out = side_of(w, false);
    for (int64_t b = 1; b <= s->nw; b *= 2)
        try_split(s, 0, b);
    try_layout(s, &w->p->layouts[m->out_layout]);
    for (uint32_t t = 0; t < m->num_terms; t++)
        if (!layout_seen(m, t))
            try_layout(s, &w->p->layouts[m->term[t].in_layout]);
}

/* The factors of bootstraps are planned for many chains: their ways are kept, those of the last few. */
static void ways_of_factor(struct work *w, struct search *s)
{
    enum { MEMO = 64 };
    static struct factor {
        uint32_t n, first, last, same, block[2], pitch[2];
    } memo[MEMO];
    static struct ways ways[MEMO];
    static struct arena *owner[MEMO];
    static uint32_t next;
    const struct lmap *m = &w->p->maps[w->plan.map];
    const struct layout *out = &w->p->layouts[m->out_layout],
                        *in = &w->p->layouts[m->term[0].in_layout];
    struct factor f = {s->nw,
                       m->dft.first,
                       m->dft.last,
                       m->out_layout == m->term[0].in_layout,
                       {out->block, in->block},
                       {out->pitch, in->pitch}};
    for (uint32_t i = 0; i < MEMO; i++) {
        if (memcmp(&memo[i], &f, sizeof f) == 0) {
            s->ways = ways[i];
            return;
        }
    }
    uint32_t at = next;
    next = (next + 1) % MEMO;
    memo[at] = (struct factor){0};
    arena_free(owner[at]);
    s->arena = owner[at] = arena_new();
    find_ways(w, s);
    ways[at] = s->ways;
    memo[at] = f;
}

static void search_splits(const struct work *w, struct search *s)
{
    s->best_cost = INFINITY;
    s->best = (struct split){.inner = 1};
    for (uint32_t i = 0; i < s->ways.len; i++) {
        double cost = way_cost(w, s, &s->ways.at[i]);
        if (cost < s->best_cost) {
            s->best_cost = cost;
            s->best = s->ways.at[i].split;
        }
    }
}

/* A rotation of a mod_raise value is one of a raised value whether planned so or not; of a trace there
 * are both ways. */
static void plan_map(struct work *w, uint32_t map, uint32_t copies)
{
    if (w->plan.map == map && w->plan.copies == copies)
        return;
    if (w->planned)
        arena_free(w->planned);
    w->planned = arena_new();
    struct arena_mark mark = arena_mark(w->scratch);
    w->plan.map = map;
    w->plan.copies = copies;
    w->plan.d = lmap_diagonals(w->p, map, true, w->planned);
    const struct diagonals *d = &w->plan.d;
    const struct lmap *m = &w->p->maps[map];

    struct search s = {.nw = d->nw, .num_terms = d->len, .copies = copies, .arena = w->planned};
    s.period = m->dft.last ? dft_period(&m->dft, d->nw) : d->nw;
    if (m->dft.last)
        ways_of_factor(w, &s);
    else
        find_ways(w, &s);
    s.from_raised = copies > 0;
    search_splits(w, &s);
    w->plan.from_raised = copies > 0;
    if (copies > 1) {
        struct search ordinary = s;
        ordinary.from_raised = false;
        search_splits(w, &ordinary);
        w->plan.from_raised = s.best_cost <= ordinary.best_cost;
        s.best = w->plan.from_raised ? s.best : ordinary.best;
    }

    uint32_t n_out = w->p->layouts[m->out_layout].n;
    w->plan.step = arena_array(w->planned, d->len, sizeof *w->plan.step);
    for (uint32_t i = 0; i < d->len; i++) {
        uint32_t n_in = term_slots(w->p, m, d->at[i].term);
        w->plan.step[i] = split_offset(&s.best, d->at[i].offset, n_in < n_out ? n_in : n_out);
    }
    arena_release(w->scratch, mark);
}

/* ---- emission ------------------------------------------------------------------------------- */

/* Whether x is a sum of rotations of one mod_raise value */
static struct trace trace_of(const struct prog *p, uint32_t x)
{
    struct trace t = {.raised = NONE};
    const struct node *sum = &p->nodes.at[x];
    uint32_t terms = sum->op == OP_add ? sum->num_args : 1;
    for (uint32_t k = 0; k < terms; k++) {
        uint32_t a = sum->op == OP_add ? sum->args[k] : x;
        const struct node *n = &p->nodes.at[a];
        uint32_t raised = n->op == OP_rot ? n->args[0] : a;
        if (p->nodes.at[raised].op != OP_mod_raise || terms > sizeof t.by / sizeof *t.by ||
            (k > 0 && raised != t.raised))
            return (struct trace){.raised = NONE};
        t.raised = raised;
        t.by[t.copies++] = n->op == OP_rot ? node_int(n, KEY_by) : 0;
    }
    if (sum->op == OP_rot)
        return (struct trace){.raised = NONE};
    return t;
}

static uint32_t rotate(struct work *w, struct build *b, uint32_t x, int64_t by)
{
    uint32_t n = w->p->nodes.at[x].type.n;
    int64_t *key = arena_array(w->scratch, 2, sizeof *key);
    key[0] = x;
    key[1] = residue(by, n, 0);
    if (key[1] == 0)
        return x;
    bool is_new;
    uint64_t *found = map_put(&w->rotated, key, 2 * sizeof *key, &is_new);
    if (is_new) {
        build_int(b, KEY_by, key[1]);
        *found = build1(b, OP_rot, x);
    }
    return (uint32_t)*found;
}

/* As rotate(), but a trace becomes the sum of further rotations of the raised value */
static uint32_t rotate_raised(struct work *w, struct build *b, uint32_t x, int64_t by)
{
    struct trace t = trace_of(w->p, x);
    struct type sum = w->p->nodes.at[x].type;
    if (t.copies < 2 || residue(by, sum.n, 0) == 0)
        return rotate(w, b, x, by);
    int64_t *key = arena_array(w->scratch, 2, sizeof *key);
    key[0] = x;
    key[1] = residue(by, sum.n, 0);
    const uint64_t *found = map_get(&w->rotated, key, 2 * sizeof *key);
    if (found)
        return (uint32_t)*found;
    uint32_t part[sizeof t.by / sizeof *t.by];
    for (uint32_t k = 0; k < t.copies; k++)
        part[k] = rotate(w, b, t.raised, t.by[k] + key[1]);
    build_type(b, &sum);
    bool is_new;
    uint32_t total = build_node(b, OP_add, part, t.copies);
    *map_put(&w->rotated, key, 2 * sizeof *key, &is_new) = total;
    return total;
}

static uint32_t rotate_baby(struct work *w, struct build *b, uint32_t x, int64_t by)
{
    return w->plan.from_raised ? rotate_raised(w, b, x, by) : rotate(w, b, x, by);
}

/* The smallest power of two with which all `count` vectors of n values repeat */
static uint32_t common_period(const double *v, uint32_t count, uint32_t n)
{
    uint32_t period = n;
    for (; period > 1; period /= 2) {
        uint32_t half = period / 2;
        for (uint32_t k = 0; k < count; k++)
            if (memcmp(v + (size_t)k * n, v + (size_t)k * n + half, half * sizeof *v))
                return period;
    }
    return period;
}

static void set_period(struct work *w, uint32_t pmac)
{
    struct node *n = &w->p->nodes.at[pmac];
    const struct diagonals *d = &w->plan.d;
    const struct lmap *m = &w->p->maps[w->plan.map];
    if (m->dft.last) {
        node_set_int(w->p, n, KEY_period, dft_period(&m->dft, d->nw));
        return;
    }
    struct arena_mark mark = arena_mark(w->scratch);
    double *v = arena_array(w->scratch, (size_t)n->num_args * d->nw, sizeof *v);
    pmac_plaintexts(w->p, n, d, v);
    node_set_int(w->p, n, KEY_period, common_period(v, n->num_args, d->nw));
    arena_release(w->scratch, mark);
}

/* Indices of the diagonals of one result, by (giant, input, baby) */
struct term {
    int32_t giant, baby;
    uint32_t in_ct;
};

static int compare_terms(const void *a, const void *b)
{
    const struct term *x = a, *y = b;
    if (x->giant != y->giant)
        return x->giant < y->giant ? -1 : 1;
    if (x->in_ct != y->in_ct)
        return x->in_ct < y->in_ct ? -1 : 1;
    return x->baby < y->baby ? -1 : x->baby > y->baby;
}

/* term[0..len) share a giant step and become one pmac. */
static uint32_t emit_pmac(struct work *w, struct build *b, const struct node *lin,
                          const uint32_t *args, const struct term *term, uint32_t len)
{
    struct arena_mark mark = arena_mark(w->planned);
    int64_t *in = arena_array(w->planned, len, sizeof *in),
            *baby = arena_array(w->planned, len, sizeof *baby);
    uint32_t *x = arena_array(w->planned, len, sizeof *x);
    for (uint32_t k = 0; k < len; k++) {
        in[k] = term[k].in_ct;
        baby[k] = term[k].baby;
        x[k] = rotate_baby(w, b, args[term[k].in_ct], term[k].baby);
    }
    build_int(b, KEY_map, node_int(lin, KEY_map));
    build_int(b, KEY_out, node_int(lin, KEY_out));
    build_int(b, KEY_giant, term[0].giant);
    build_ints(b, KEY_in, in, len);
    build_ints(b, KEY_baby, baby, len);
    build_int(b, KEY_period, w->plan.d.nw);
    if (node_attr(lin, KEY_keep))
        build_int(b, KEY_keep, node_int(lin, KEY_keep));
    uint32_t pmac = build_node(b, OP_pmac, x, len);
    arena_release(w->planned, mark);
    set_period(w, pmac);
    return pmac;
}

/* All babies of the map, input by input, so that each decomposition is needed once and briefly. */
static void emit_babies(struct work *w, struct build *b, const uint32_t *args, uint32_t num_args)
{
    const struct diagonals *d = &w->plan.d;
    uint32_t *head = arena_array(w->scratch, num_args, sizeof *head);
    uint32_t *next = arena_array(w->scratch, d->len, sizeof *next);
    for (uint32_t c = 0; c < num_args; c++)
        head[c] = NONE;
    for (uint32_t i = d->len; i-- > 0;) {
        next[i] = head[d->at[i].in_ct];
        head[d->at[i].in_ct] = i;
    }
    for (uint32_t c = 0; c < num_args; c++)
        for (uint32_t i = head[c]; i != NONE; i = next[i])
            rotate_baby(w, b, args[c], w->plan.step[i].baby);
}

static struct type narrow(const struct prog *p, uint32_t x, uint32_t n)
{
    struct type t = p->nodes.at[x].type;
    t.n = n;
    return t;
}

/* log2 of the copies that the next step of the sum takes together, when 2^left of them are left:
 * a step of radix R costs one decomposition, R - 1 key products and one division by P. */
static uint32_t fold_step(const struct work *w, uint32_t left)
{
    double best[32] = {0};
    uint32_t first[32] = {0};
    double fixed = cost_decompose(w->ring, w->level) + cost_mod_down(w->ring, w->level);
    for (uint32_t k = 1; k <= left; k++) {
        best[k] = INFINITY;
        for (uint32_t r = 1; r <= k && r <= 4; r++) {
            double cost = fixed + ((1 << r) - 1) * cost_key_mul(w->ring, w->level) + best[k - r];
            if (cost < best[k]) {
                best[k] = cost;
                first[k] = r;
            }
        }
    }
    return first[left];
}

/* Sum of the copies of n_out slots in v */
static uint32_t emit_fold(struct work *w, struct build *b, uint32_t v, uint32_t n_out)
{
    uint32_t left = 0;
    for (uint32_t n = w->p->nodes.at[v].type.n; n > n_out; n /= 2)
        left++;
    for (uint32_t step = n_out, r; left > 0; left -= r, step <<= r) {
        r = fold_step(w, left);
        uint32_t part[16] = {v};
        for (uint32_t k = 1; k < 1u << r; k++)
            part[k] = rotate(w, b, v, (int64_t)k * step);
        if (left == r) {
            struct type t = narrow(w->p, v, n_out);
            build_type(b, &t);
        }
        v = build_node(b, OP_add, part, 1u << r);
    }
    return v;
}

static uint32_t emit_lin(struct work *w, const struct node *lin, const uint32_t *args)
{
    struct build b = build_like(w->p, lin);
    uint32_t map = (uint32_t)node_int(lin, KEY_map), out = (uint32_t)node_int(lin, KEY_out);
    plan_map(w, map, lin->num_args == 1 ? trace_of(w->p, args[0]).copies : 0);
    const struct diagonals *d = &w->plan.d;
    emit_babies(w, &b, args, lin->num_args);

    struct term *term = arena_array(w->scratch, (size_t)d->len + 1, sizeof *term);
    uint32_t *sum = arena_array(w->scratch, (size_t)d->len + 1, sizeof *sum);
    uint32_t len = 0, sums = 0;
    for (uint32_t i = 0; i < d->len; i++)
        if (d->at[i].out_ct == out)
            term[len++] =
                (struct term){w->plan.step[i].giant, w->plan.step[i].baby, d->at[i].in_ct};
    len += len == 0; /* no weight but zeros: one plaintext of zeros */
    qsort(term, len, sizeof *term, compare_terms);
    for (uint32_t from = 0, to; from < len; from = to) {
        for (to = from + 1; to < len && term[to].giant == term[from].giant;)
            to++;
        uint32_t part = emit_pmac(w, &b, lin, args, term + from, to - from);
        sum[sums++] = rotate(w, &b, part, term[from].giant);
    }
    uint32_t v = sums == 1 ? sum[0] : build_node(&b, OP_add, sum, sums);
    return emit_fold(w, &b, v, lin->type.n);
}

struct prog *slot_bsgs_at(struct prog *in, struct cost_ring ring, const int *level)
{
    const struct nodes *nodes = &in->nodes;
    struct work w = {
        .p = prog_derive(in, STAGE_SLOT), .scratch = arena_new(), .ring = ring, .plan.map = NONE};
    map_init(&w.rotated, w.scratch);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = now[n->args[k]];
        w.level = level[i];
        now[i] = n->op == OP_lin ? emit_lin(&w, n, args) : prog_copy_node(w.p, n, args);
    }
    if (w.planned)
        arena_free(w.planned);
    arena_free(w.scratch);
    return w.p;
}

static struct prog *with_estimates(struct prog *in)
{
    int *level = estimate_levels(in);
    struct cost_ring ring = estimate_ring(in, level);
    return slot_bsgs_at(in, ring, level);
}

struct prog *slot_bsgs(struct prog *in, const struct opts *o)
{
    (void)o;
    struct prog *p = with_estimates(in);
    p->funcs = arena_array(in->arena, in->num_funcs, sizeof *p->funcs);
    for (uint32_t f = 0; f < in->num_funcs; f++)
        p->funcs[f] = (struct func){in->funcs[f].name, with_estimates(prog_of_func(in, f))->nodes};
    return p;
}
