/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_regs: order for memory, assign buffers by liveness.
 *
 * Reads     levels, kinds, layers; parameters; of the program and its functions.
 * Writes    the order of the nodes (sums of many become chains of two), reg of every value,
 *           p->num_regs, p->reg_words.
 * Requires  ckks_params, ckks_level.
 * Ensures   a layer's nodes stay together as far as dependencies allow; values that live at the same
 *           time have different registers, except where rt.h lets a result take over an operand that
 *           dies; every register holds its largest value. Functions share their registers, since one
 *           ends before another starts; values of the program that live across a call are in others.
 * Refuses   nothing.
 * Algorithm List scheduling: of the nodes that are ready in the layer at hand, the one that frees most,
 *           else the first in program order (which is babies first, then giant step by giant step).
 *           Registers: best fit; where none fits, the largest free one grows.
 * Cost      nodes times ready nodes; nodes times registers.
 */
#include "level.h"

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
    uint64_t *words; /* [nodes] */
    uint32_t *uses;  /* [nodes] that are still to come */
    uint32_t *waits; /* [nodes] operands that are still to come */
    uint32_t *rank;  /* [nodes] place in program order; of cheap copies, that of their first user */
    uint32_t *user_start; /* [nodes + 1] into user */
    uint32_t *user;
    uint32_t *ready, num_ready;
};

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

static void find_ranks(struct schedule *s)
{
    const struct nodes *nodes = &s->p->nodes;
    for (uint32_t i = nodes->len; i-- > 0;) {
        enum op op = (enum op)nodes->at[i].op;
        s->rank[i] = i;
        if ((op != OP_drop_to && op != OP_lift) || s->uses[i] == 0)
            continue;
        s->rank[i] = s->rank[s->user[s->user_start[i]]];
        for (uint32_t k = s->user_start[i]; k < s->user_start[i + 1]; k++)
            s->rank[i] = s->rank[s->user[k]] < s->rank[i] ? s->rank[s->user[k]] : s->rank[i];
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
    find_users(&s);
    find_ranks(&s);
    for (uint32_t i = 0; i < len; i++) {
        s.words[i] = value_words(&p->params, &p->nodes.at[i].type);
        s.waits[i] = p->nodes.at[i].num_args;
        if (s.waits[i] == 0)
            s.ready[s.num_ready++] = i;
    }
    return s;
}

/* Words that node i needs more than it frees */
static int64_t growth(const struct schedule *s, uint32_t i)
{
    const struct node *n = &s->p->nodes.at[i];
    bool square = n->num_args == 2 && n->args[0] == n->args[1];
    int64_t words = (int64_t)s->words[i];
    for (uint32_t k = square; k < n->num_args; k++)
        if (s->uses[n->args[k]] == 1u + square)
            words -= (int64_t)s->words[n->args[k]];
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
        const struct node *n = &nodes->at[i];
        if (n->op != OP_input)
            layer = n->layer;
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t j = 0; j < n->num_args; j++) {
            args[j] = now[n->args[j]];
            s.uses[n->args[j]]--;
        }
        now[i] = prog_copy_node(p, n, args);
        for (uint32_t j = s.user_start[i]; j < s.user_start[i + 1]; j++)
            if (--s.waits[s.user[j]] == 0)
                s.ready[s.num_ready++] = s.user[j];
    }
    if (p->nodes.len != nodes->len)
        BUG("ckks_regs: %u of %u nodes scheduled", p->nodes.len, nodes->len);
    return p;
}

/* ---- registers ------------------------------------------------------------------------------ */

struct regs {
    struct arena *arena;
    uint64_t *words;
    bool *busy;
    uint32_t len, cap, cap_busy;
    uint32_t of_functions; /* the first so many */
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

/* Of the registers from `first` on. `own`: that of the first operand if it may be taken over, else
 * NONE; wins ties. */
static uint32_t take(struct regs *r, uint64_t words, uint32_t own, uint32_t first)
{
    uint32_t fit = NONE, largest = NONE;
    for (uint32_t k = first; k < r->len; k++) {
        if (r->busy[k])
            continue;
        if (r->words[k] >= words && (fit == NONE || r->words[k] < r->words[fit] ||
                                     (r->words[k] == r->words[fit] && k == own)))
            fit = k;
        if (largest == NONE || r->words[k] > r->words[largest])
            largest = k;
    }
    if (fit == NONE && largest != NONE) {
        fit = largest;
        r->words[fit] = words;
    }
    if (fit == NONE) {
        struct arena *a = r->arena;
        uint32_t same = r->len;
        ARENA_GROW(a, r->words, r->len, r->cap);
        ARENA_GROW(a, r->busy, same, r->cap_busy);
        fit = r->len++;
        r->words[fit] = words;
    }
    r->busy[fit] = true;
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

static void assign(struct prog *p, struct regs *r)
{
    struct nodes *nodes = &p->nodes;
    uint32_t *uses = prog_use_counts(p);
    bool *across = across_calls(p);
    for (uint32_t i = 0; i < nodes->len; i++) {
        struct node *n = &nodes->at[i];
        uint64_t words = value_words(&p->params, &n->type);
        bool reuse = in_place((enum op)n->op);
        uint32_t own = NONE;
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k], reg = nodes->at[x].reg;
            if (--uses[x] > 0 || !reuse)
                continue;
            r->busy[reg] = false;
            own = k == 0 ? reg : own;
        }
        if (words > 0)
            n->reg = take(r, words, own, across[i] ? r->of_functions : 0);
        for (uint32_t k = 0; k < n->num_args; k++)
            if (uses[n->args[k]] == 0 && nodes->at[n->args[k]].reg != n->reg)
                r->busy[nodes->at[n->args[k]].reg] = false;
        if (uses[i] == 0 && words > 0 && n->op != OP_input)
            r->busy[n->reg] = false;
    }
}

/* Functions first, each on all registers of those before it */
static struct func *assign_functions(const struct prog *in, struct regs *r)
{
    struct func *funcs = arena_array(in->arena, in->num_funcs, sizeof *funcs);
    for (uint32_t f = 0; f < in->num_funcs; f++) {
        struct prog *p = prog_of_func(in, f);
        level_required(p, "ckks_regs");
        p = reorder(split_sums(p));
        for (uint32_t k = 0; k < r->len; k++)
            r->busy[k] = false;
        assign(p, r);
        funcs[f] = (struct func){in->funcs[f].name, p->nodes};
    }
    for (uint32_t k = 0; k < r->len; k++)
        r->busy[k] = false;
    r->of_functions = r->len;
    return funcs;
}

struct prog *ckks_regs(struct prog *in, const struct opts *o)
{
    (void)o;
    level_required(in, "ckks_regs");
    struct regs r = {.arena = in->arena};
    struct func *funcs = assign_functions(in, &r);
    struct prog *p = reorder(split_sums(in));
    p->funcs = funcs;
    assign(p, &r);
    p->num_regs = r.len;
    p->reg_words = r.words;
    return p;
}
