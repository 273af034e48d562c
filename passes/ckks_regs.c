/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_regs: order for memory, assign buffers by liveness.
 *
 * Reads     levels, kinds, layers, groups; parameters; of the program and its functions.
 * Writes    the order of the nodes (sums of many become chains of two), reg of every value,
 *           p->num_regs, p->reg_words.
 * Requires  ckks_params, ckks_level.
 * Ensures   a layer's nodes stay together as far as dependencies allow; values that live at the same
 *           time have different registers, except where rt.h lets a result take over an operand that
 *           dies; every register holds its largest value. The nodes of a group stand side by side, first
 *           those that are computed inside, which have no register; all of its results are apart from all
 *           of its operands. Functions share their registers, since one
 *           ends before another starts; values of the program that live across a call are in others.
 * Refuses   groups that wait for each other (IR text from elsewhere).
 * Algorithm List scheduling: of the nodes, or whole groups, that are ready in the layer at hand,
 *           the one that frees most, else the first in program order (which is babies first, then giant
 *           step by giant step).
 *           Registers: one of those that are free as long as the value lives, for the largest values first
 *           or in program order; the one that the value may take over, else the first or the best fit; or
 *           the best fit, and of several the one to take over: of these ways, that which takes least. Largest
 *           first and first fit: Pemmaraju, Penumatcha, Raman, "Approximating interval coloring and max-coloring
 *           in chordal graphs" (ACM JEA 2005). Values that are dropped to several
 *           levels are dropped step by step, so that each step can take over the one before.
 * Cost      nodes times ready nodes; nodes times registers.
 */
#include "level.h"

#include <stdlib.h>
#include <string.h>

static uint64_t value_words(const struct params *q, const struct type *t)
{
    uint64_t n = (uint64_t)1 << q->log_n, limbs = (uint64_t)t->level + 1, all = limbs + q->num_p;
    switch (t->kind) {
    case KIND_CT:
        return 2 * limbs * n;
    case KIND_CT3:
        return 3 * limbs * n;
    case KIND_CTX:
    case KIND_RAISED:
        return 2 * all * n;
    case KIND_DIGITS:
        return (limbs + q->alpha - 1) / q->alpha * all * n;
    case KIND_SPARSE:
        return 2 * limbs * n;
    default:
        return 0;
    }
}

/* ---- sums of two ---------------------------------------------------------------------------- */

/* Operands in program order, so that each is added as soon as it is there; but scales may differ in
 * their last bits, and the sum keeps that of its first operand. */
static uint32_t build_chain(struct build *b, const struct node *sum, uint32_t *args)
{
    for (uint32_t i = 1; i < sum->num_args; i++)
        for (uint32_t j = i; j > 0 && args[j - 1] > args[j]; j--) {
            uint32_t x = args[j];
            args[j] = args[j - 1];
            args[j - 1] = x;
        }
    uint32_t first = 0;
    while (first + 1 < sum->num_args && b->p->nodes.at[args[first]].type.scale != sum->type.scale)
        first++;
    uint32_t keeps_scale = args[first];
    for (; first > 0; first--)
        args[first] = args[first - 1];
    args[0] = keeps_scale;
    uint32_t total = args[0];
    for (uint32_t k = 1; k < sum->num_args; k++) {
        if (k + 1 == sum->num_args)
            build_type(b, &sum->type);
        total = build2(b, OP_add, total, args[k]);
    }
    return total;
}

/* ---- one drop after the other ---------------------------------------------------------------- */

static bool is_drop(const struct node *n)
{
    return n->op == OP_drop_to && (n->type.kind == KIND_CT || n->type.kind == KIND_CT3);
}

/* All drops of one value, the highest level first, where the first of them was */
static struct prog *chain_drops(struct prog *in)
{
    const struct nodes *nodes = &in->nodes;
    struct prog *p = prog_derive(in, in->stage);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    uint32_t *head = arena_array(in->arena, nodes->len, sizeof *head); /* of a value's drops: + 1 */
    uint32_t *next = arena_array(in->arena, nodes->len, sizeof *next);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (!is_drop(n))
            continue;
        uint32_t *at = &head[n->args[0]];
        while (*at && nodes->at[*at - 1].type.level >= n->type.level)
            at = &next[*at - 1];
        next[i] = *at;
        *at = i + 1;
    }
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (!is_drop(n)) {
            uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
            for (uint32_t k = 0; k < n->num_args; k++)
                args[k] = now[n->args[k]];
            now[i] = prog_copy_node(p, n, args);
            continue;
        }
        uint32_t x = now[n->args[0]], *first = &head[n->args[0]];
        for (uint32_t d = *first; d; d = next[d - 1])
            x = now[d - 1] = prog_copy_node(p, &nodes->at[d - 1], &x);
        *first = 0; /* all of them are there */
    }
    return p;
}

static struct prog *split_sums(struct prog *in)
{
    const struct nodes *nodes = &in->nodes;
    struct prog *p = prog_derive(in, in->stage);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = now[n->args[k]];
        struct build b = build_like(p, n);
        bool chain = n->op == OP_add && n->num_args > 2;
        now[i] = chain ? build_chain(&b, n, args) : prog_copy_node(p, n, args);
    }
    return p;
}

/* ---- order ---------------------------------------------------------------------------------- */

struct schedule {
    const struct prog *p;
    uint64_t *words; /* [nodes] that its register has; 0 inside a group */
    uint32_t *uses;  /* [nodes] that are still to come */
    uint32_t
        *lead; /* [nodes] the first product of its group, which stands for all; else the node */
    uint32_t *next;  /* [nodes] of the same group: inner nodes, then products; NONE at the end */
    uint32_t *first; /* [nodes] of a lead: where that list begins */
    uint32_t *waits; /* [nodes] of a lead: operands that are still to come, from outside */
    uint32_t *rank;  /* [nodes] place in program order; of cheap copies, that of their first user */
    uint32_t *user_start; /* [nodes + 1] into user */
    uint32_t *user;
    uint32_t *here; /* [nodes] scratch, zeros */
    uint32_t *ready, num_ready;
};

static bool is_inner(const struct node *n)
{
    return n->op != OP_pmac && node_attr(n, KEY_group);
}

/* Fills user lists; a node that takes a value twice is listed twice. */
static void find_users(struct schedule *s)
{
    const struct nodes *nodes = &s->p->nodes;
    struct arena *a = s->p->arena;
    s->user_start = arena_array(a, (size_t)nodes->len + 1, sizeof *s->user_start);
    for (uint32_t i = 0; i < nodes->len; i++)
        s->user_start[i + 1] = s->user_start[i] + s->uses[i];
    s->user = arena_array(a, s->user_start[nodes->len], sizeof *s->user);
    uint32_t *fill = arena_array(a, nodes->len, sizeof *fill);
    for (uint32_t i = 0; i < nodes->len; i++)
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++) {
            uint32_t x = nodes->at[i].args[k];
            s->user[s->user_start[x] + fill[x]++] = i;
        }
}

/* Lists are made from their ends: products last to first, then inner nodes. */
static void find_groups(struct schedule *s)
{
    const struct nodes *nodes = &s->p->nodes;
    struct arena *a = s->p->arena;
    s->lead = arena_array(a, nodes->len, sizeof *s->lead);
    s->next = arena_array(a, nodes->len, sizeof *s->next);
    s->first = arena_array(a, nodes->len, sizeof *s->first);
    uint32_t *lead = arena_array(a, nodes->len, sizeof *lead); /* by number */
    memset(lead, 0xff, nodes->len * sizeof *lead);
    for (uint32_t i = nodes->len; i-- > 0;) {
        const struct node *n = &nodes->at[i];
        s->lead[i] = s->first[i] = i;
        s->next[i] = NONE;
        if (n->op != OP_pmac || !node_attr(n, KEY_group))
            continue;
        uint32_t *of = &lead[node_int(n, KEY_group)];
        s->next[i] = *of;
        *of = i;
    }
    for (uint32_t i = nodes->len; i-- > 0;) {
        const struct node *n = &nodes->at[i];
        if (!node_attr(n, KEY_group))
            continue;
        s->lead[i] = lead[node_int(n, KEY_group)];
        if (!is_inner(n))
            continue;
        s->next[i] = s->first[s->lead[i]];
        s->first[s->lead[i]] = i;
    }
}

static void find_ranks(struct schedule *s)
{
    const struct nodes *nodes = &s->p->nodes;
    for (uint32_t i = nodes->len; i-- > 0;) {
        enum op op = (enum op)nodes->at[i].op;
        s->rank[i] = i;
        if ((op != OP_drop_to && op != OP_lift) || s->uses[i] == 0)
            continue;
        s->rank[i] = UINT32_MAX;
        for (uint32_t k = s->user_start[i]; k < s->user_start[i + 1]; k++) {
            uint32_t user = s->rank[s->lead[s->user[k]]];
            s->rank[i] = user < s->rank[i] ? user : s->rank[i];
        }
    }
}

static struct schedule schedule_start(const struct prog *p)
{
    struct arena *a = p->arena;
    uint32_t len = p->nodes.len;
    struct schedule s = {.p = p, .uses = prog_use_counts(p)};
    s.words = arena_array(a, len, sizeof *s.words);
    s.waits = arena_array(a, len, sizeof *s.waits);
    s.rank = arena_array(a, len, sizeof *s.rank);
    s.ready = arena_array(a, len, sizeof *s.ready);
    s.here = arena_array(a, len, sizeof *s.here);
    find_users(&s);
    find_groups(&s);
    find_ranks(&s);
    for (uint32_t i = 0; i < len; i++) {
        const struct node *n = &p->nodes.at[i];
        s.words[i] = is_inner(n) ? 0 : value_words(&p->params, &n->type);
        for (uint32_t k = 0; k < n->num_args; k++)
            s.waits[s.lead[i]] += s.lead[n->args[k]] != s.lead[i];
    }
    for (uint32_t i = 0; i < len; i++)
        if (s.lead[i] == i && s.waits[i] == 0)
            s.ready[s.num_ready++] = i;
    return s;
}

/* Words that node i, or the group that it leads, needs more than it frees */
static int64_t growth(const struct schedule *s, uint32_t i)
{
    const struct nodes *nodes = &s->p->nodes;
    int64_t words = 0;
    for (uint32_t m = s->first[i]; m != NONE; m = s->next[m]) {
        const struct node *n = &nodes->at[m];
        words += (int64_t)s->words[m];
        for (uint32_t k = 0; k < n->num_args; k++)
            if (++s->here[n->args[k]] == s->uses[n->args[k]])
                words -= (int64_t)s->words[n->args[k]];
    }
    for (uint32_t m = s->first[i]; m != NONE; m = s->next[m])
        for (uint32_t k = 0; k < nodes->at[m].num_args; k++)
            s->here[nodes->at[m].args[k]] = 0;
    return words;
}

/* Position in ready of the next node: inputs, then the layer at hand, then what frees most. */
static uint32_t pick(const struct schedule *s, const char *layer)
{
    uint32_t best = 0;
    int64_t best_growth = 0;
    bool best_here = false, best_input = false;
    for (uint32_t k = 0; k < s->num_ready; k++) {
        uint32_t i = s->ready[k], j = s->ready[best];
        const struct node *n = &s->p->nodes.at[i];
        bool input = n->op == OP_input, here = layer && strcmp(n->layer, layer) == 0;
        int64_t g = growth(s, i);
        g = g > 0 || !here ? 1 : g; /* what needs room, or is elsewhere, goes in program order */
        bool better = k == 0;
        if (!better && input != best_input)
            better = input;
        else if (!better && here != best_here)
            better = here;
        else if (!better && g != best_growth)
            better = g < best_growth;
        else if (!better)
            better = s->rank[i] != s->rank[j] ? s->rank[i] < s->rank[j] : i < j;
        if (!better)
            continue;
        best = k;
        best_growth = g;
        best_here = here;
        best_input = input;
    }
    return best;
}

/* Node i goes to the end of the new program. */
static void put(struct schedule *s, struct prog *to, uint32_t *now, uint32_t i)
{
    const struct node *n = &s->p->nodes.at[i];
    uint32_t *args = arena_array(s->p->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++) {
        args[k] = now[n->args[k]];
        s->uses[n->args[k]]--;
    }
    now[i] = prog_copy_node(to, n, args);
    for (uint32_t k = s->user_start[i]; k < s->user_start[i + 1]; k++) {
        uint32_t lead = s->lead[s->user[k]];
        if (lead != s->lead[i] && --s->waits[lead] == 0)
            s->ready[s->num_ready++] = lead;
    }
}

static struct prog *reorder(struct prog *in)
{
    const struct nodes *nodes = &in->nodes;
    struct schedule s = schedule_start(in);
    struct prog *p = prog_derive(in, in->stage);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    const char *layer = NULL;
    while (s.num_ready > 0) {
        uint32_t k = pick(&s, layer), i = s.ready[k];
        s.ready[k] = s.ready[--s.num_ready];
        if (nodes->at[i].op != OP_input)
            layer = nodes->at[i].layer;
        for (uint32_t m = s.first[i]; m != NONE; m = s.next[m])
            put(&s, p, now, m);
    }
    for (uint32_t i = 0; p->nodes.len != nodes->len && i < nodes->len; i++)
        if (node_attr(&nodes->at[i], KEY_group) && s.waits[s.lead[i]] > 0)
            diag_fatal(nodes->at[i].loc, "ckks_regs: group %lld waits for its own results",
                       (long long)node_int(&nodes->at[i], KEY_group));
    if (p->nodes.len != nodes->len)
        BUG("ckks_regs: %u of %u nodes scheduled", p->nodes.len, nodes->len);
    return p;
}

/* ---- registers ------------------------------------------------------------------------------ */

struct span {
    uint32_t from, to; /* half open, in moments */
};

struct reg {
    uint64_t words;
    struct span *span; /* of the values it has in the program at hand, in order of time */
    uint32_t len, cap;
};

struct regs {
    struct arena *arena;
    struct reg *at;
    uint32_t len, cap;
    uint32_t of_functions; /* the first so many */
    bool in_order;         /* values are placed in program order, else the largest first */
    enum fit { FIRST_FIT, BEST_FIT, TIGHT_FIT, NUM_FITS } fit; /* tight: even what is taken over */
};

static bool in_place(enum op op)
{
    switch (op) {
    case OP_add:
    case OP_sub:
    case OP_padd:
    case OP_add_scalar:
    case OP_times_i:
    case OP_relabel:
    case OP_lift:
    case OP_mod_down:
    case OP_rescale:
    case OP_drop_to:
    case OP_raise_scale:
        return true;
    default:
        return false;
    }
}

/* Where `x` belongs among the values of a register; false: it lives together with one of them */
static bool find_gap(const struct reg *r, struct span x, uint32_t *place)
{
    uint32_t low = 0, high = r->len;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (r->span[mid].from < x.from)
            low = mid + 1;
        else
            high = mid;
    }
    *place = low;
    return (low == 0 || r->span[low - 1].to <= x.from) &&
           (low == r->len || x.to <= r->span[low].from);
}

static void occupy(struct arena *a, struct reg *r, struct span x, uint32_t place)
{
    ARENA_GROW(a, r->span, r->len, r->cap);
    memmove(r->span + place + 1, r->span + place, (r->len - place) * sizeof *r->span);
    r->span[place] = x;
    r->len++;
}

/* The smallest, or with FIRST_FIT the first, register from `first` on that is large enough and free all
 * the time; if `enlarge` and there is none, the largest that is free */
static uint32_t find_fit(const struct regs *r, uint64_t words, struct span x, uint32_t first,
                         bool enlarge)
{
    uint32_t fit = NONE, largest = NONE, place;
    for (uint32_t k = first; k < r->len; k++) {
        if (!find_gap(&r->at[k], x, &place))
            continue;
        if (r->at[k].words >= words && (fit == NONE || r->at[k].words < r->at[fit].words))
            fit = k;
        if (fit != NONE && r->fit == FIRST_FIT)
            return fit;
        if (largest == NONE || r->at[k].words > r->at[largest].words)
            largest = k;
    }
    return fit == NONE && enlarge ? largest : fit;
}

/* Of the registers from `first` on: the first of the `wanted` two that is large enough and free all the
 * time (if `tight`, and no larger than needed), else one that fits, else a new one. */
static uint32_t take(struct regs *r, uint64_t words, struct span x, const uint32_t *wanted,
                     uint32_t first, bool tight)
{
    uint32_t fit = NONE, place, least = tight ? find_fit(r, words, x, first, false) : NONE;
    for (uint32_t k = 0; k < 2 && fit == NONE; k++)
        if (wanted[k] != NONE && wanted[k] >= first && r->at[wanted[k]].words >= words &&
            (least == NONE || r->at[wanted[k]].words == r->at[least].words) &&
            find_gap(&r->at[wanted[k]], x, &place))
            fit = wanted[k];
    if (fit == NONE)
        fit = find_fit(r, words, x, first, true);
    if (fit == NONE) {
        ARENA_GROW(r->arena, r->at, r->len, r->cap);
        fit = r->len++;
        r->at[fit] = (struct reg){0};
    }
    if (r->at[fit].words < words)
        r->at[fit].words = words;
    (void)find_gap(&r->at[fit], x, &place);
    occupy(r->arena, &r->at[fit], x, place);
    return fit;
}

/* Whether each value is still needed after a call that comes after it */
static bool *across_calls(const struct prog *p)
{
    const struct nodes *nodes = &p->nodes;
    bool *across = arena_array(p->arena, nodes->len, sizeof *across);
    uint32_t *call = arena_array(p->arena, nodes->len, sizeof *call); /* the last one before: + 1 */
    for (uint32_t i = 0, last = 0; i < nodes->len; i++) {
        call[i] = last;
        last = nodes->at[i].op == OP_call ? i + 1 : last;
    }
    for (uint32_t i = 0; i < nodes->len; i++)
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++) {
            uint32_t x = nodes->at[i].args[k];
            across[x] = across[x] || call[i] > x + 1;
        }
    return across;
}

/* When a value needs its register: a node is one moment, and so is a group. What dies where its
 * register may be taken over lives up to that moment, anything else through it. */
struct lives {
    uint64_t *words;   /* [nodes], 0 where there is no register */
    struct span *span; /* [nodes] */
    uint32_t *heir;    /* [nodes] that may take over the register, or NONE */
    uint32_t *value;   /* [len] those that have one, in the order in which they get it */
    uint32_t len;
};

static int compare_values(const void *a, const void *b, void *context)
{
    const struct lives *l = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (l->words[x] != l->words[y])
        return l->words[x] > l->words[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

static struct lives find_lives(const struct prog *p, bool in_order)
{
    const struct nodes *nodes = &p->nodes;
    struct arena *a = p->arena;
    struct lives l = {.words = arena_array(a, nodes->len, sizeof *l.words)};
    l.span = arena_array(a, nodes->len, sizeof *l.span);
    l.heir = arena_array(a, nodes->len, sizeof *l.heir);
    l.value = arena_array(a, nodes->len, sizeof *l.value);
    uint32_t now = 0;
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        int64_t group = node_int_or(n, KEY_group, -1);
        now += i == 0 || group < 0 || group != node_int_or(&nodes->at[i - 1], KEY_group, -1);
        l.words[i] = is_inner(n) ? 0 : value_words(&p->params, &n->type);
        l.span[i] = (struct span){n->op == OP_input ? 0 : now, now + 1};
        l.heir[i] = NONE;
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            bool over = in_place((enum op)n->op) && group < 0;
            l.span[x].to = over ? now : now + 1;
            l.heir[x] = over && k == 0 ? i : NONE;
        }
        if (l.words[i] > 0)
            l.value[l.len++] = i;
    }
    const uint32_t *uses = prog_use_counts(p);
    for (uint32_t i = 0; i < nodes->len; i++)
        if (nodes->at[i].op == OP_input && uses[i] == 0)
            l.span[i].to = now + 1;
    if (!in_order)
        qsort_r(l.value, l.len, sizeof *l.value, compare_values, &l);
    return l;
}

/* These copy nothing if they may stay where they are. */
static bool is_free_in_place(enum op op)
{
    return op == OP_drop_to || op == OP_relabel;
}

static void assign(struct prog *p, struct regs *r)
{
    struct nodes *nodes = &p->nodes;
    struct lives l = find_lives(p, r->in_order);
    bool *across = across_calls(p);
    for (uint32_t k = 0; k < r->len; k++)
        r->at[k].len = 0;
    for (uint32_t i = 0; i < nodes->len; i++)
        nodes->at[i].reg = NONE;
    for (uint32_t k = 0; k < l.len; k++) {
        uint32_t i = l.value[k], heir = l.heir[i];
        struct node *n = &nodes->at[i];
        uint32_t from = n->num_args > 0 && l.heir[n->args[0]] == i ? n->args[0] : NONE;
        uint32_t wanted[2] = {from == NONE ? NONE : nodes->at[from].reg,
                              heir == NONE ? NONE : nodes->at[heir].reg};
        n->reg = take(r, l.words[i], l.span[i], wanted, across[i] ? r->of_functions : 0,
                      r->fit == TIGHT_FIT && !is_free_in_place((enum op)n->op));
    }
}

/* Functions first, each on all registers of those before it */
static struct regs assign_all(struct prog **func, struct prog *p, int way)
{
    struct regs r = {.arena = p->arena, .in_order = way & 1, .fit = (enum fit)(way / 2)};
    for (uint32_t f = 0; f < p->num_funcs; f++)
        assign(func[f], &r);
    r.of_functions = r.len;
    assign(p, &r);
    return r;
}

static uint64_t total_words(const struct regs *r)
{
    uint64_t words = 0;
    for (uint32_t k = 0; k < r->len; k++)
        words += r->at[k].words;
    return words;
}

struct prog *ckks_regs(struct prog *in, const struct opts *o)
{
    (void)o;
    level_required(in, "ckks_regs");
    struct prog **func = arena_array(in->arena, in->num_funcs, sizeof *func);
    for (uint32_t f = 0; f < in->num_funcs; f++) {
        func[f] = prog_of_func(in, f);
        level_required(func[f], "ckks_regs");
        func[f] = reorder(split_sums(chain_drops(func[f])));
    }
    struct prog *p = reorder(split_sums(chain_drops(in)));
    int best = 0;
    uint64_t least = UINT64_MAX;
    for (int way = 0; way < 2 * NUM_FITS; way++) {
        struct regs r = assign_all(func, p, way);
        if (total_words(&r) < least) {
            least = total_words(&r);
            best = way;
        }
    }
    struct regs r = assign_all(func, p, best);
    p->funcs = arena_array(p->arena, p->num_funcs, sizeof *p->funcs);
    for (uint32_t f = 0; f < p->num_funcs; f++)
        p->funcs[f] = (struct func){in->funcs[f].name, func[f]->nodes};
    uint64_t *words = arena_array(p->arena, r.len, sizeof *words);
    for (uint32_t k = 0; k < r.len; k++)
        words[k] = r.at[k].words;
    p->num_regs = r.len;
    p->reg_words = words;
    return p;
}
