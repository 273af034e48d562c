/* SPDX-License-Identifier: Apache-2.0 */

/* Products with and sums of plaintexts, which were encoded when the program was opened. */
#include "eval/eval.h"

#define GROUP 64u   /* terms handed to the kernel at a time, at most: pointers on the stack */
#define TILE  2048u /* words; a limb is cut so that low levels keep all threads busy */
/* Words of plaintext that a tile of a group may read: where they do not repeat, each plaintext is
 * one more stream from memory beside the two of its operand. */
#define NEAR_WORDS (16u * TILE)

static const struct eval_plain *plain(rt_eval *e, const char *op, uint64_t i)
{
    if (i >= e->num_plains) {
        rt_eval_mistake(e, op, "there is no plaintext %llu", (unsigned long long)i);
        return NULL;
    }
    return &e->plains[i];
}

/* Every product must have the level, kind and scale of the first. */
static bool check_terms(rt_eval *e, const char *op, const uint32_t *in, uint32_t count,
                        uint32_t first, uint32_t out)
{
    const struct eval_reg *x0 = NULL;
    double scale = 0;
    for (uint32_t t = 0; t < count; t++) {
        const struct eval_reg *x = rt_eval_in(e, op, in[t], 1u << EVAL_CT | 1u << EVAL_CTX);
        const struct eval_plain *p = plain(e, op, (uint64_t)first + t);
        if (x == NULL || p == NULL) {
            return false;
        }
        if (t == 0) {
            x0 = x;
            scale = x->scale * p->scale;
        }
        if (out == in[t]) {
            rt_eval_mistake(e, op, "result and operand share register %u", out);
        } else if (x->kind != x0->kind || x->level != x0->level ||
                   !core_same_scale(scale, x->scale * p->scale)) {
            rt_eval_mistake(e, op, "term %u is of another kind, level or scale than term 0", t);
        } else if (p->level != x->level || p->extended != (x->kind == EVAL_CTX)) {
            rt_eval_mistake(e, op, "plaintext %u is for level %d%s, the operand is at level %d%s",
                            first + t, p->level, p->extended ? " extended" : "", x->level,
                            x->kind == EVAL_CTX ? " extended" : "");
        }
        if (e->error.status != RT_OK) {
            return false;
        }
    }
    return rt_eval_scale(e, op, scale);
}

/* A group of terms whose plaintexts have one period. */
struct terms {
    const uint64_t *x[2][GROUP]; /* by part */
    const struct eval_plain *p[GROUP];
    uint32_t first;     /* plaintext */
    size_t count, room; /* room: what of limb_memory they need for a limb */
    unsigned log_m;
};

static void gather_terms(rt_eval *e, struct terms *g, const uint32_t *in, uint32_t left,
                         uint32_t first, size_t part_words)
{
    g->log_m = e->plains[first].log_m;
    g->count = 0;
    g->room = 0;
    g->first = first;
    size_t words = TILE >> (e->ctx->ring->log_n - g->log_m);
    size_t most = words * GROUP <= NEAR_WORDS ? GROUP : NEAR_WORDS / words;
    while (g->count < most && g->count < left && e->plains[first + g->count].log_m == g->log_m) {
        const uint64_t *at = e->regs[in[g->count]].at;
        g->x[0][g->count] = at;
        g->x[1][g->count] = at + part_words;
        g->p[g->count] = &e->plains[first + g->count];
        g->room += rt_eval_plain_room(e, g->p[g->count]);
        if (g->room > e->limb_words) { /* never the first */
            break;
        }
        g->count++;
    }
}

/* A tile of a limb. */
static void add_tile(const rt_eval *e, const struct terms *g, struct ring_basis b, uint64_t *out,
                     bool accumulate, size_t limb, size_t at, size_t tile)
{
    const struct ring *r = e->ctx->ring;
    const struct modulus *m = ring_mod(r, b, limb);
    unsigned log_run = r->log_n - g->log_m;
    const uint64_t *x[2][GROUP];
    const uint64_t *p[GROUP];
    for (size_t i = 0; i < g->count; i++) {
        x[0][i] = g->x[0][i] + limb * r->n + at;
        x[1][i] = g->x[1][i] + limb * r->n + at;
        p[i] = eval_plain_limb(g->p[i], limb) + (at >> log_run);
    }
    uint64_t *to = out + limb * r->n + at;
    const struct k_sums s = {.x = {x[0], x[1]},
                             .p = p,
                             .out = {{to, to + ring_words(r, b)}},
                             .terms = g->count,
                             .results = 1,
                             .log_run = log_run,
                             .accumulate = accumulate};
    r->k.mac_many(&s, tile, m);
}

/* out (+)= the group, over tiles of limbs. */
static void add_terms(rt_eval *e, const struct terms *g, struct ring_basis b, uint64_t *out,
                      bool accumulate)
{
    const struct ring *r = e->ctx->ring;
    size_t tile = r->n < TILE ? r->n : TILE;
    size_t tiles = r->n / tile;
    unsigned log_run = r->log_n - g->log_m;
    if (((size_t)1 << log_run) > tile) {
        tile = (size_t)1 << log_run; /* p = 1 at large N: a run is half a limb */
        tiles = r->n / tile;
    }
    /* all limbs at once, or each with the plaintexts that are made for it */
    size_t step = g->room == 0 ? ring_limbs(b) : 1;
    for (size_t first = 0; first < ring_limbs(b); first += step) {
        if (g->room != 0) {
            struct eval_limbs l;
            rt_eval_limbs_start(e, &l, b, first);
            for (uint32_t i = 0; i < g->count; i++) {
                rt_eval_limbs_add(e, &l, g->first + i);
            }
            rt_eval_limbs_make(e, &l);
        }
        SYS_PARALLEL_FOR
        for (size_t i = first * tiles; i < (first + step) * tiles; i++) {
            add_tile(e, g, b, out, accumulate, i / tiles, i % tiles * tile, tile);
        }
    }
}

void rt_pmac(rt_eval *e, uint32_t out, const uint32_t *in, uint32_t count, uint32_t first)
{
    static const char op[] = "rt_pmac";
    if (count == 0) {
        rt_eval_mistake(e, op, "no terms");
        return;
    }
    if (e->error.status != RT_OK || !check_terms(e, op, in, count, first, out)) {
        return;
    }
    const struct eval_reg *x = &e->regs[in[0]];
    struct eval_reg *z = rt_eval_out(e, op, out, x->kind, x->level);
    if (z == NULL) {
        return;
    }
    struct ring_basis b = eval_basis(e, x);
    struct terms g;
    for (uint32_t done = 0; done < count; done += (uint32_t)g.count) {
        gather_terms(e, &g, in + done, count - done, first + done, ring_words(e->ctx->ring, b));
        add_terms(e, &g, b, z->at, done != 0);
    }
    eval_set(z, x->kind, x->level, x->scale * e->plains[first].scale);
}

/*
 * to = x + c p over one limb, for p of 2^log_m words, each standing for a run of neighbours; c is P
 * where the value is extended, else 1.
 */
static void add_limb(const struct ring *r, uint64_t *to, const uint64_t *x, const uint64_t *p,
                     unsigned log_m, uint64_t c, uint64_t cs, const struct modulus *m)
{
    if (log_m == r->log_n) {
        if (c == 1) {
            r->k.add(to, x, p, r->n, m->q);
        } else {
            r->k.mul_const_add(to, x, p, c, cs, r->n, m->q);
        }
        return;
    }
    size_t run = r->n >> log_m;
    for (size_t v = 0; v < (size_t)1 << log_m; v++) {
        uint64_t add = c == 1 ? p[v] : mod_mul_shoup(p[v], c, cs, m->q);
        r->k.add_const(to + v * run, x + v * run, add, run, m->q);
    }
}

/* Only part 0 changes; an extended value is P times what it stands for, and P = 0 modulo the p. */
void rt_padd(rt_eval *e, uint32_t out, uint32_t in, uint32_t index)
{
    static const char op[] = "rt_padd";
    const struct eval_reg *x = rt_eval_in(e, op, in, EVAL_ANY);
    if (x == NULL) {
        return;
    }
    const struct eval_plain *p = plain(e, op, index);
    if (p == NULL) {
        return;
    }
    if (p->level != x->level || p->extended) {
        rt_eval_mistake(e, op, "plaintext %u is for level %d%s, the operand is at level %d", index,
                        p->level, p->extended ? " extended" : "", x->level);
        return;
    }
    if (!core_same_scale(p->scale, x->scale)) {
        rt_eval_mistake(e, op, "plaintext %u of scale %.17g, operand of scale %.17g", index,
                        p->scale, x->scale);
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, x->kind, x->level);
    if (z == NULL) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    struct ring_basis b = eval_basis(e, x);
    bool extended = x->kind == EVAL_CTX;
    if (out != in) {
        size_t parts = rt_eval_parts(e, x->kind, x->level);
        for (size_t i = 0; i < parts; i++) {
            ring_copy(r, z->at + i * ring_words(r, b), x->at + i * ring_words(r, b), b);
        }
    }
    for (size_t first = 0, step; first <= b.level;
         first += step) { /* as many as there is room for */
        size_t room = (size_t)1 << p->log_m;
        step = p->at != NULL || b.level + 1 < e->limb_words / room ? b.level + 1
                                                                   : e->limb_words / room;
        step = step < b.level + 1 - first ? step : b.level + 1 - first;
        SYS_PARALLEL_FOR
        for (size_t limb = first; limb < first + step; limb++) {
            const uint64_t *words = p->at != NULL ? p->at + (limb << p->log_m) : NULL;
            if (words == NULL) {
                uint64_t *work = e->limb_memory + ((limb - first) << p->log_m);
                rt_eval_plain_make(e, p, work, &r->ntt[limb]);
                words = work;
            }
            add_limb(r, z->at + limb * r->n, x->at + limb * r->n, words, p->log_m,
                     extended ? e->p_mod_q[limb] : 1, extended ? e->p_shoup[limb] : 0,
                     &r->ntt[limb].mod);
        }
    }
    eval_set(z, x->kind, x->level, x->scale);
}
