/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Linear transforms with double hoisting (Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, "Efficient
 * bootstrapping for approximate homomorphic encryption with non-sparse keys", EUROCRYPT 2021): key
 * switches without their division by P, and sums of products of those.
 *
 * The operands, P times rotated values, are 2 (level + 1 + special) limbs each. Made one after the
 * other they would go to memory and come back once for every result. The evaluation form lets all
 * be done tile by tile instead: an aligned tile of a rotated limb comes from one aligned tile of the
 * limb (struct k_switch), so
 *
 *     for each limb, for each tile of it:
 *         make this tile of every operand, in the second-level cache
 *         for each result: its tile = sum of plaintext * operand
 *
 * reads keys and plaintexts once and writes results once.
 */
#include "eval/eval.h"

#include <string.h>

#define GROUP      64u           /* operands in work: tiles of 512 words fill the memory for them */
#define TILE_LEAST ((size_t)512) /* key_mac permutes tiles of 512 words */
#define TILE_MOST  ((size_t)2048)
#define FAR_SUMS   3u /* results at a time where each has streams of plaintexts from memory */
#define NEAR_RUN   3u /* log2 of the run from which on one word serves a vector */

static const char op[] = "rt_transform";

enum source {
    READY,  /* a register as it is, of the kind of the results */
    LIFTED, /* times P: no limbs modulo the p */
    SWITCHED
};

struct operand {
    enum source source;
    const uint64_t *at;   /* READY, LIFTED */
    struct eval_switch s; /* SWITCHED */
};

struct transform {
    rt_eval *e;
    struct operand operand[GROUP];
    size_t count; /* of the operands in work */
    bool extended; /* over QP, else over Q: then all operands are READY */
    struct ring_basis b;
    unsigned log_tile;
    const uint32_t *out;
    uint32_t num_out;
    const uint32_t *plain; /* of the first operand in work, for result 0 */
    size_t stride;         /* from there to result 1 */
    uint32_t most;         /* results that are summed together */
    bool begin;            /* nothing is in the results yet */
    bool far;              /* the results will not be used while they are in cache */
};

/* ---- checks ------------------------------------------------------------------------------------ */

/* The register that gives level and scale; NULL: a mistake is kept. */
static const struct eval_reg *check_operand(rt_eval *e, const struct rt_baby *y, bool extended)
{
    bool rotated = y->digits != UINT32_MAX;
    unsigned kinds = 1u << EVAL_CT;
    kinds |= rotated || !extended ? 0 : 1u << EVAL_CTX | 1u << EVAL_RAISED;
    const struct eval_reg *x = rt_eval_in(e, op, y->base, kinds);
    if (x == NULL) {
        return NULL;
    }
    if (rotated && !extended) {
        rt_eval_mistake(e, op, "a rotated operand of plaintexts that are not extended");
        return NULL;
    }
    if (rotated) {
        const struct eval_reg *d = rt_eval_in(e, op, y->digits, 1u << EVAL_DIGITS);
        if (d == NULL) {
            return NULL;
        }
        if (d->level != x->level) {
            rt_eval_mistake(e, op, "digits at level %d of a value at level %d", d->level, x->level);
            return NULL;
        }
    }
    if (rotated ? y->by == 0 : y->by != 0 && x->kind != EVAL_RAISED) {
        rt_eval_mistake(e, op, "register %u %s digits rotated by %lld", y->base,
                        rotated ? "with" : "without", (long long)y->by);
        return NULL;
    }
    if (rotated || x->kind == EVAL_RAISED) {
        enum rt_key_kind kind = rotated ? RT_KEY_ROTATE : RT_KEY_RAISED;
        return rt_eval_key(e, op, kind, y->by, x->level) != NULL ? x : NULL;
    }
    return x;
}

/* All operands; the first register is the result. */
static const struct eval_reg *check_operands(rt_eval *e, const struct rt_baby *baby,
                                             uint32_t count, bool extended)
{
    const struct eval_reg *first = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct eval_reg *x = check_operand(e, &baby[i], extended);
        if (x == NULL) {
            return NULL;
        }
        first = i == 0 ? x : first;
        if (x->level != first->level || !core_same_scale(x->scale, first->scale)) {
            rt_eval_mistake(e, op, "operand %u is of another level or scale than operand 0", i);
            return NULL;
        }
    }
    return first;
}

/* Is the first plaintext there is for values over QP? */
static bool is_extended(const rt_eval *e, const uint32_t *plain, uint32_t count)
{
    uint32_t i = 0;
    while (i < count && plain[i] >= e->num_plains) {
        i++;
    }
    return i == count || e->plains[plain[i]].extended;
}

/* The scale of a result with these plaintexts; 0: a mistake is kept. */
static double check_plains(rt_eval *e, const uint32_t *plain, uint32_t count,
                           const struct eval_reg *x, bool extended)
{
    const struct eval_plain *first = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (plain[i] == UINT32_MAX) {
            continue;
        }
        if (plain[i] >= e->num_plains) {
            rt_eval_mistake(e, op, "there is no plaintext %u", plain[i]);
            return 0;
        }
        const struct eval_plain *p = &e->plains[plain[i]];
        first = first == NULL ? p : first;
        if (p->level != x->level || p->extended != extended) {
            rt_eval_mistake(e, op, "plaintext %u is for level %d%s, the operands are at level %d%s",
                            plain[i], p->level, p->extended ? " extended" : "", x->level,
                            extended ? " extended" : "");
            return 0;
        }
        if (!core_same_scale(p->scale, first->scale)) {
            rt_eval_mistake(e, op, "plaintexts of scales %.17g and %.17g in one sum", first->scale,
                            p->scale);
            return 0;
        }
    }
    if (first == NULL) {
        rt_eval_mistake(e, op, "a sum without terms");
        return 0;
    }
    double scale = x->scale * first->scale;
    return rt_eval_scale(e, op, scale) ? scale : 0;
}

static bool check_out(rt_eval *e, const uint32_t *out, uint32_t k, const struct rt_baby *baby,
                      uint32_t count, int32_t level, bool extended)
{
    bool shared = false;
    for (uint32_t i = 0; i < k; i++) {
        shared |= out[i] == out[k];
    }
    for (uint32_t i = 0; i < count; i++) {
        shared |= out[k] == baby[i].base || out[k] == baby[i].digits;
    }
    if (shared) {
        rt_eval_mistake(e, op, "result and operand, or two results, share register %u", out[k]);
        return false;
    }
    return rt_eval_out(e, op, out[k], extended ? EVAL_CTX : EVAL_CT, level) != NULL;
}

/* ---- operands ---------------------------------------------------------------------------------- */

static struct operand operand_of(rt_eval *e, const struct rt_baby *y, bool extended)
{
    const struct eval_reg *x = &e->regs[y->base];
    bool rotated = y->digits != UINT32_MAX;
    struct operand o = {.source = x->kind == EVAL_CTX || !extended ? READY : LIFTED, .at = x->at};
    if (rotated || x->kind == EVAL_RAISED) {
        enum rt_key_kind kind = rotated ? RT_KEY_ROTATE : RT_KEY_RAISED;
        o.source = SWITCHED;
        o.s = (struct eval_switch){.e = e,
                                   .key = rt_eval_key(e, op, kind, y->by, x->level),
                                   .base = {x->at, NULL},
                                   .c = e->p_mod_q,
                                   .cs = e->p_shoup,
                                   .b = {(unsigned)x->level, e->ctx->ring->n_p}};
        if (rotated) {
            o.s.digit = e->regs[y->digits].at;
            o.s.own = x->at + rt_eval_part_words(e, EVAL_CT, x->level);
            o.s.digits = ring_digits((unsigned)x->level, e->ctx->alpha);
        } else {
            o.s.digit = x->at + rt_eval_part_words(e, EVAL_RAISED, x->level);
            o.s.digits = 1;
        }
    }
    return o;
}

/*
 * The tile from word `at` of a limb after X -> X^g comes from the tile where this word is: with
 * perm(j) = i for 2 brv(i) + 1 = g (2 brv(j) + 1) mod 2N, the log_n - log_tile high bits of an index
 * are the low bits of brv, so those of i depend on those of j only.
 */
static size_t tile_source(uint64_t g, size_t at, unsigned log_n, unsigned log_tile)
{
    uint64_t e = g * (2 * (uint64_t)mod_bitrev((uint32_t)at, log_n) + 1);
    uint64_t low = e & ((UINT64_C(2) << (log_n - log_tile)) - 1);
    return mod_bitrev((uint32_t)(low >> 1), log_n);
}

/* Where the keys are that a tile of an operand is made with; NULL: none. */
static void tile_key(const struct transform *t, const struct operand *o, size_t limb, size_t at,
                     const uint64_t *key[2])
{
    if (o->source == SWITCHED) {
        const uint64_t *digit[RING_MAX_PRIMES];
        struct k_switch k = rt_eval_switch_limb(&o->s, limb, digit);
        size_t first = k.key_terms * tile_source(k.g, at, k.log_n, t->log_tile);
        key[0] = k.key[0] + first;
        key[1] = k.key[1] != NULL ? k.key[1] + first : NULL;
    }
}

/*
 * A tile of both parts of an operand, made in `work` where it is not there yet. False:
 * it is zero.
 */
static bool make_tile(const struct transform *t, size_t index, size_t limb, size_t at,
                      uint64_t *work, uint64_t *expanded, const uint64_t *part[2])
{
    const struct operand *o = &t->operand[index];
    const struct ring *r = t->e->ctx->ring;
    size_t tile = (size_t)1 << t->log_tile;
    const struct modulus *m = ring_mod(r, t->b, limb);
    uint64_t *const to[2] = {work, work + tile + EVAL_LINE_WORDS}; /* see plain_words */
    part[0] = to[0];
    part[1] = to[1];
    if (o->source == READY) {
        for (size_t i = 0; i < 2; i++) {
            const uint64_t *from = o->at + i * ring_words(r, t->b) + limb * r->n + at;
            /* read many times; where they lie they would fight for the same lines of a cache */
            part[i] = t->num_out <= t->most ? from : memcpy(to[i], from, tile * sizeof *from);
        }
    } else if (o->source == LIFTED) {
        if (limb > t->b.level) {
            return false;
        }
        for (size_t i = 0; i < 2; i++) {
            const uint64_t *from = o->at + (i * (t->b.level + 1) + limb) * r->n + at;
            r->k.mul_const(to[i], from, t->e->p_mod_q[limb], t->e->p_shoup[limb], tile, m->q);
        }
    } else {
        const uint64_t *digit[RING_MAX_PRIMES];
        struct k_switch k = rt_eval_switch_limb(&o->s, limb, digit);
        k.origin = at;
        if (index + 1 < t->count) {
            tile_key(t, o + 1, limb, at, k.next);
        }
        size_t from = tile_source(k.g, at, r->log_n, t->log_tile);
        rt_eval_switch_expand(&o->s, limb, &k, from, tile, expanded);
        r->k.key_mac(to[0], to[1], &k, from, tile, m);
    }
    return true;
}

/* ---- sums -------------------------------------------------------------------------------------- */

/* Tiles of those operands in work that are not zero here. */
struct tiles {
    const uint64_t *x[2][GROUP]; /* by part */
    size_t index[GROUP];         /* of the operand */
    size_t count;
};

/* NULL: none */
static const struct eval_plain *plain_of(const struct transform *t, uint32_t k, size_t i)
{
    uint32_t index = t->plain[k * t->stride + i];
    return index == UINT32_MAX ? NULL : &t->e->plains[index];
}

/* Plaintexts of some results, by period. */
struct census {
    size_t there[K_MAX_LOG_N + 1u], terms[K_MAX_LOG_N + 1u]; /* plaintexts; operands with any */
    bool dense; /* at most half of those that the operands might have are not there */
};

static struct census census_of(const struct transform *t, const struct tiles *y, uint32_t first,
                               uint32_t count)
{
    struct census c = {{0}, {0}, true};
    for (size_t i = 0; i < y->count; i++) {
        uint32_t periods = 0;
        for (uint32_t k = first; k < first + count; k++) {
            const struct eval_plain *p = plain_of(t, k, y->index[i]);
            if (p != NULL) {
                c.there[p->log_m]++;
                c.terms[p->log_m] += periods >> p->log_m & 1u ? 0 : 1;
                periods |= 1u << p->log_m;
            }
        }
    }
    for (unsigned log_m = 0; log_m <= K_MAX_LOG_N; log_m++) {
        c.dense &= 2 * c.there[log_m] >= count * c.terms[log_m];
    }
    return c;
}

/* The terms with plaintexts of 2^log_m words; one that is not there is zero. */
static void add_terms(const struct transform *t, const struct tiles *y, struct k_sums *s,
                      uint32_t first, size_t terms, unsigned log_m, size_t limb, size_t at)
{
    static const uint64_t zero[TILE_MOST];
    const struct ring *r = t->e->ctx->ring;
    const uint64_t *x[2][GROUP];
    const uint64_t *p[K_SUMS * GROUP];
    unsigned log_run = r->log_n - log_m;
    size_t from = at >> log_run;
    size_t to = 0;
    for (size_t i = 0; i < y->count; i++) {
        bool any = false;
        for (uint32_t k = 0; k < s->results; k++) {
            const struct eval_plain *q = plain_of(t, first + k, y->index[i]);
            bool there = q != NULL && q->log_m == log_m;
            p[k * terms + to] = there ? eval_plain_limb(q, limb) + from : zero;
            any |= there;
        }
        x[0][to] = y->x[0][i];
        x[1][to] = y->x[1][i];
        to += any;
        if (to == terms) {
            break;
        }
    }
    s->x[0] = x[0];
    s->x[1] = x[1];
    s->p = p;
    s->terms = terms;
    s->log_run = log_run < t->log_tile ? log_run : t->log_tile; /* one word may serve the tile */
    r->k.mac_many(s, (size_t)1 << t->log_tile, ring_mod(r, t->b, limb));
}

/* A tile of results first .. first + count - 1, count <= K_SUMS: plus all terms in work, or these
 * alone when there were none before. */
static void add_results(const struct transform *t, const struct tiles *y, uint32_t first,
                        uint32_t count, size_t limb, size_t at)
{
    const struct ring *r = t->e->ctx->ring;
    struct census c = census_of(t, y, first, count);
    if (!c.dense && count > 1) {
        for (uint32_t k = first; k < first + count; k++) {
            add_results(t, y, k, 1, limb, at);
        }
        return;
    }
    struct k_sums s = {.results = count, .accumulate = !t->begin, .far = t->far};
    for (uint32_t k = 0; k < count; k++) {
        for (size_t part = 0; part < 2; part++) {
            s.out[k][part] =
                t->e->regs[t->out[first + k]].at + part * ring_words(r, t->b) + limb * r->n + at;
        }
    }
    for (unsigned log_m = 0; log_m <= r->log_n; log_m++) {
        if (c.terms[log_m] > 0) {
            add_terms(t, y, &s, first, c.terms[log_m], log_m, limb, at);
            s.accumulate = true;
        }
    }
    for (uint32_t k = 0; k < 2 * count && !s.accumulate; k++) {
        memset(s.out[k / 2][k % 2], 0, sizeof(uint64_t) << t->log_tile);
    }
}

static void do_tile(const struct transform *t, size_t limb, size_t at, uint64_t *work,
                    uint64_t *expanded)
{
    struct tiles y;
    y.count = 0;
    for (size_t i = 0; i < t->count;
         i++, work += 2 * (((size_t)1 << t->log_tile) + EVAL_LINE_WORDS)) {
        const uint64_t *part[2];
        if (make_tile(t, i, limb, at, work, expanded, part)) {
            y.x[0][y.count] = part[0];
            y.x[1][y.count] = part[1];
            y.index[y.count++] = i;
        }
    }
    uint32_t chunks = (t->num_out + t->most - 1) / t->most;
    for (uint32_t c = 0; c < chunks; c++) { /* of nearly the same size */
        uint32_t first = (uint32_t)((uint64_t)t->num_out * c / chunks);
        uint32_t end = (uint32_t)((uint64_t)t->num_out * (c + 1) / chunks);
        add_results(t, &y, first, end - first, limb, at);
    }
}

/* Limbs first .. end - 1 */
static void do_group(struct transform *t, size_t first, size_t end)
{
    const rt_eval *e = t->e;
    const struct ring *r = e->ctx->ring;
    size_t tile = TILE_MOST;
    while (tile > TILE_LEAST && t->count * 2 * tile > EVAL_TILE_WORDS) {
        tile /= 2;
    }
    t->log_tile = r->n < tile ? r->log_n : core_log2((uint32_t)tile);
    size_t tiles = r->n >> t->log_tile;
    atomic_size_t next = first * tiles;
    SYS_PARALLEL_FOR
    for (size_t s = 0; s < e->slices; s++) {
        size_t i;
        while ((i = sys_next(&next)) < end * tiles) {
            do_tile(t, i / tiles, i % tiles << t->log_tile, e->tiles + s * EVAL_TILE_ROOM,
                    e->expanded + s * e->expanded_words);
        }
    }
}

/*
 * Results that are summed together. More of them read operands less often; but plaintexts that come
 * from memory are one stream for each operand and result, and with K_SUMS results their lines leave
 * the first-level cache before their last word is used.
 */
static uint32_t results_together(const rt_eval *e, const uint32_t *plain, size_t count)
{
    uint32_t most = K_SUMS;
    for (size_t i = 0; i < count; i++) {
        if (plain[i] != UINT32_MAX && e->plains[plain[i]].log_m + NEAR_RUN > e->ctx->ring->log_n) {
            most = FAR_SUMS;
        }
    }
    return most;
}

/* What the limbs of the plaintexts of operand i need of limb_memory; one that several results use counts
 * for each. */
static size_t column_room(const struct transform *t, uint32_t i)
{
    size_t room = 0;
    for (uint32_t k = 0; k < t->num_out; k++) {
        const struct eval_plain *p = plain_of(t, k, i);
        room += p != NULL ? rt_eval_plain_room(t->e, p) : 0;
    }
    return room;
}

/* Operands `first` and following, as many as are worked on at a time; t->plain is there. */
static void take_group(struct transform *t, const struct rt_baby *baby, uint32_t left)
{
    size_t room = 0;
    for (t->count = 0; t->count < GROUP && t->count < left; t->count++) {
        room += column_room(t, (uint32_t)t->count);
        if (room != 0 &&
            (room > t->e->limb_words || (t->count + 1) * t->num_out > EVAL_LIMB_PLAINS)) {
            break; /* never the first: see most_results */
        }
        t->operand[t->count] = operand_of(t->e, &baby[t->count], t->extended);
    }
}

static void make_limbs(struct transform *t, size_t limb)
{
    struct eval_limbs l;
    rt_eval_limbs_start(t->e, &l, t->b, limb);
    for (uint32_t k = 0; k < t->num_out; k++) {
        for (uint32_t i = 0; i < t->count; i++) {
            if (plain_of(t, k, i) != NULL) {
                rt_eval_limbs_add(t->e, &l, t->plain[k * t->stride + i]);
            }
        }
    }
    rt_eval_limbs_make(t->e, &l);
}

/* Limbs first .. end - 1 of all operands; make: their plaintexts too, of one limb then. */
static void do_limbs(struct transform *t, const struct rt_baby *baby, uint32_t count,
                     const uint32_t *plain, size_t first, size_t end, bool make)
{
    for (uint32_t done = 0; done < count; done += (uint32_t)t->count) {
        t->plain = plain + done;
        take_group(t, baby + done, count - done);
        t->begin = done == 0;
        t->far =
            done + t->count >= count &&
            t->num_out * 2 * ring_words(t->e->ctx->ring, t->b) * sizeof(uint64_t) > RING_FAR_BYTES;
        if (make) {
            make_limbs(t, first);
        }
        do_group(t, first, end);
    }
}

static bool all_kept(const rt_eval *e, const uint32_t *plain, size_t count)
{
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        all &= plain[i] == UINT32_MAX || e->plains[plain[i]].at != NULL;
    }
    return all;
}

/* Results whose plaintexts for one operand have room, whatever they are. */
static uint32_t most_results(const rt_eval *e)
{
    size_t most = e->limb_words / (e->ctx->ring->n + EVAL_LINE_WORDS);
    return (uint32_t)(most < EVAL_LIMB_PLAINS ? most : EVAL_LIMB_PLAINS);
}

/*
 * The same where operands are READY: reading them again for some results more is little beside writing and
 * reading sums of some operands, so that a limb of all plaintexts of the results at a time has room.
 */
static uint32_t most_ready(const rt_eval *e, uint32_t num_out, uint32_t count,
                           const uint32_t *plain)
{
    size_t largest = 1;
    for (uint32_t k = 0; k < num_out; k++) {
        size_t room = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t index = plain[(size_t)k * count + i];
            room += index != UINT32_MAX ? rt_eval_plain_room(e, &e->plains[index]) : 0;
        }
        largest = room > largest ? room : largest;
    }
    size_t most = e->limb_words / largest;
    return most == 0 ? 1 : most < num_out ? (uint32_t)most : num_out;
}

void rt_transform(rt_eval *e, const uint32_t *out, uint32_t num_out, const struct rt_baby *baby,
                  uint32_t count, const uint32_t *plain)
{
    if (count == 0 || num_out == 0) {
        rt_eval_mistake(e, op, "no %s", count == 0 ? "operands" : "results");
        return;
    }
    bool extended = is_extended(e, plain, count);
    const struct eval_reg *x = check_operands(e, baby, count, extended);
    if (x == NULL) {
        return;
    }
    for (uint32_t k = 0; k < num_out; k++) {
        if (check_plains(e, plain + (size_t)k * count, count, x, extended) == 0 ||
            !check_out(e, out, k, baby, count, x->level, extended)) {
            return;
        }
    }
    struct transform t = {.e = e,
                          .extended = extended,
                          .b = {(unsigned)x->level, extended ? e->ctx->ring->n_p : 0},
                          .out = out,
                          .num_out = num_out,
                          .stride = count,
                          .most = results_together(e, plain, (size_t)num_out * count)};
    if (all_kept(e, plain, (size_t)num_out * count)) {
        do_limbs(&t, baby, count, plain, 0, ring_limbs(t.b), false);
    } else {
        uint32_t most = most_results(e), ready = most_ready(e, num_out, count, plain);
        most = extended || most < ready ? most : ready;
        for (uint32_t first = 0; first < num_out; first += t.num_out) {
            t.out = out + first;
            t.num_out = num_out - first < most ? num_out - first : most;
            for (size_t limb = 0; limb < ring_limbs(t.b); limb++) {
                do_limbs(&t, baby, count, plain + (size_t)first * count, limb, limb + 1, true);
            }
        }
    }
    for (uint32_t k = 0; k < num_out; k++) {
        eval_set(&e->regs[out[k]], extended ? EVAL_CTX : EVAL_CT, x->level,
                 check_plains(e, plain + (size_t)k * count, count, x, extended));
    }
}
