/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Changes of basis.
 *
 * Let r_0 .. r_{R-1} be the primes of a source (a digit, or the limbs that a mod-down removes),
 * D their product, x in Z/D, and y_j = x (D/r_j)^-1 mod r_j in [0, r_j). Then
 *
 *     sum_j y_j (D/r_j) = x + u D        for the integer u = sum_j y_j/r_j - x/D,
 *
 * so with v = round(sum_j y_j/r_j) the integer
 *
 *     t = sum_j y_j (D/r_j) - v D
 *
 * is the representative of x in [-D/2, D/2]. Modulo another prime it is an inner product of the
 * words y_0 .. y_{R-1}, v with the constants D/r_j and -D: kernel bconv on R + 1 limbs, v being
 * computed once by kernel bconv_quot. v is exact except for x within 2R 2^-49 D of the ends of the
 * interval, where t may be the representative on the other side, which is as good: rounding D/2 up
 * or down.
 *
 * The factor (D/r_j)^-1 goes into the inverse transform's own final constant, so y_j costs nothing
 * beyond that transform. A source of one prime has y_0 = x and needs only recentring. What follows
 * for a target prime (conversion, transform, for mod-down (x - t) / D) is one kernel, convert, which
 * reads the source once for several targets.
 *
 * The sources of one operation (the digits of a value; the parts of a ciphertext) go through every
 * target prime together, because the prime's twiddle table then comes from memory once.
 *
 * Constants are products of R entries of the ring's tables: a few thousand nanoseconds at most,
 * against N words of work for each of them, so they are not stored for every (level, digit) pair.
 */
#include "ring.h"

#include <string.h>

/* Source limbs stand this many words further apart than N, so that equal columns of them do not all
 * compete for the same few sets of a cache. */
#define PAD 64u

/* Sources together at most this large, so that they stay in the last cache with everything else. */
#define NEAR_WORDS ((size_t)6 << 17)

struct source {
    unsigned prime[RING_MAX_PRIMES]; /* indices into r->ntt */
    unsigned count;
    const uint64_t *x; /* their limbs in evaluation form, contiguous */
    uint64_t *y;       /* y_0 .. y_{count-1} and, for count > 1, v: N + PAD words apart */
};

static size_t source_words(const struct ring *r, unsigned count)
{
    return (count + 1 - (count == 1)) * (r->n + PAD);
}

/* The inverse transform of limb j. */
static void source_limb(const struct ring *r, const struct source *s, unsigned j)
{
    size_t all = (size_t)r->n_q + r->n_p;
    const struct ntt_table *t = &r->ntt[s->prime[j]];
    uint64_t c = 1;
    for (unsigned i = 0; i < s->count; i++) {
        if (i != j) {
            c = mod_mul(c, r->inverse[s->prime[i] * all + s->prime[j]], &t->mod);
        }
    }
    r->k.intt(s->y + j * (r->n + PAD), s->x + j * r->n, t, r->log_n, c);
}

static void source_quotient(const struct ring *r, const struct source *s)
{
    uint64_t f[RING_MAX_PRIMES];
    unsigned shift[RING_MAX_PRIMES];
    for (unsigned j = 0; j < s->count; j++) {
        const struct modulus *m = &r->ntt[s->prime[j]].mod;
        shift[j] = MOD_MAX_BITS - m->bits;
        f[j] = (uint64_t)(((sys_u128)1 << 101) / (m->q << shift[j]));
    }
    size_t stride = r->n + PAD;
    r->k.bconv_quot(s->y + s->count * stride, s->y, stride, f, shift, s->count, r->n);
}

/*
 * All of them, of all sources, in one parallel loop, because threads that meet often wait often: the
 * quotient of a source is computed by whoever does its last limb.
 */
static void sources_start(const struct ring *r, const struct source *s, unsigned sources)
{
    atomic_uint missing[RING_MAX_PRIMES];
    size_t last = 0;
    for (unsigned i = 0; i < sources; i++) {
        atomic_init(&missing[i], s[i].count);
        last += s[i].count;
    }
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < last; i++) {
        unsigned which = 0;
        size_t j = i;
        while (j >= s[which].count) {
            j -= s[which++].count;
        }
        source_limb(r, &s[which], (unsigned)j);
        if (atomic_fetch_sub(&missing[which], 1) == 1 && s[which].count > 1) {
            source_quotient(r, &s[which]);
        }
    }
}

/* D mod the prime with index `to`. */
static uint64_t source_product(const struct ring *r, const unsigned *prime, unsigned count,
                               size_t to)
{
    size_t all = (size_t)r->n_q + r->n_p;
    uint64_t d = 1;
    for (unsigned j = 0; j < count; j++) {
        d = mod_mul(d, r->residue[prime[j] * all + to], &r->ntt[to].mod);
    }
    return d;
}

/* A group of targets of one source. */
struct conversion {
    struct k_convert k;
    uint64_t w[K_CONVERT_GROUP][RING_MAX_PRIMES + 1];
};

static void conversion_start(struct conversion *c, const struct ring *r, const struct source *s,
                             bool far)
{
    c->k = (struct k_convert){.x = s->y,
                              .stride = r->n + PAD,
                              .k = s->count == 1 ? 1 : (size_t)s->count + 1,
                              .p = r->ntt[s->prime[0]].mod.q,
                              .log_n = r->log_n,
                              .far = far};
}

/* t mod the prime `to` (not one of the source) in evaluation form to out; with x, (x - t) / D. */
static void conversion_add(struct conversion *c, const struct ring *r, const struct source *s,
                           size_t to, uint64_t *out, const uint64_t *x, uint64_t *work)
{
    size_t all = (size_t)r->n_q + r->n_p;
    const struct modulus *m = &r->ntt[to].mod;
    unsigned g = c->k.group++;
    uint64_t d = source_product(r, s->prime, s->count, to);
    uint64_t inverse = 1;
    for (unsigned j = 0; j < s->count; j++) {
        uint64_t one = r->inverse[s->prime[j] * all + to];
        c->w[g][j] = mod_mul(d, one, m);
        inverse = mod_mul(inverse, one, m);
    }
    c->w[g][s->count] = mod_neg(d, m->q);
    c->k.to[g].t = &r->ntt[to];
    c->k.to[g].w = c->w[g];
    c->k.to[g].work = x == NULL && !c->k.far ? out : work + g * r->n;
    c->k.to[g].out = out;
    c->k.to[g].minuend = x;
    c->k.to[g].c = inverse;
    c->k.to[g].cs = mod_shoup(inverse, m->q);
}

/*
 * Targets a group: more read the source less often, but have more work to keep near; and every
 * slice needs several groups.
 */
#define GROUP_WORDS ((size_t)1 << 18)

static size_t group_size(const struct ring *r, size_t limbs, unsigned slices)
{
    size_t most = GROUP_WORDS / r->n;
    most = most < 1 ? 1 : most > K_CONVERT_GROUP ? K_CONVERT_GROUP : most;
    size_t share = limbs / (4 * (size_t)slices);
    share = share < 1 ? 1 : share;
    return slices > 1 && share < most ? share : most;
}

static size_t work_words(const struct ring *r, unsigned slices)
{
    return slices * K_CONVERT_GROUP * r->n;
}

/* Runs item(context, i, work) for i < items. There are `slices` loops, each with memory of its own. */
typedef void work_item(const void *context, size_t i, uint64_t *work);

static void run_items(const struct ring *r, work_item *item, const void *context, size_t items,
                      uint64_t *work, unsigned slices)
{
    atomic_size_t next = 0;
    SYS_PARALLEL_FOR
    for (unsigned slice = 0; slice < slices; slice++) {
        size_t i;
        while ((i = sys_next(&next)) < items) {
            item(context, i, work + work_words(r, slice));
        }
    }
}

/* ---- mod-up */

struct mod_up {
    const struct ring *r;
    const struct source *source; /* digits of consecutive limbs, starting at q_first */
    unsigned digits;
    uint64_t *out;
    struct ring_basis b;
    size_t group;
    bool far;
};

/* Of digit i % digits a group of the limbs that are not its own. */
static void mod_up_item(const void *context, size_t i, uint64_t *work)
{
    const struct mod_up *u = context;
    const struct ring *r = u->r;
    const struct source *s = &u->source[i % u->digits];
    uint64_t *out = u->out + i % u->digits * ring_words(r, u->b);
    size_t targets = ring_limbs(u->b) - s->count;
    size_t at = i / u->digits * u->group;
    struct conversion c;
    conversion_start(&c, r, s, u->far);
    for (size_t end = at + u->group; at < end && at < targets; at++) {
        size_t limb = at < s->prime[0] ? at : at + s->count;
        conversion_add(&c, r, s, ring_prime(r, u->b, limb), out + limb * r->n, NULL, work);
    }
    if (c.k.group != 0) {
        r->k.convert(&c.k);
    }
}

static void mod_up_all(const struct mod_up *u, uint64_t *work, unsigned slices)
{
    const struct ring *r = u->r;
    sources_start(r, u->source, u->digits);
    size_t targets = 0;
    for (unsigned j = 0; j < u->digits; j++) {
        size_t t = ring_limbs(u->b) - u->source[j].count;
        targets = t > targets ? t : targets;
    }
    size_t groups = (targets + u->group - 1) / u->group;
    run_items(r, mod_up_item, u, groups * u->digits, work, slices);
}

/* The source of limbs first .. first + count - 1 of x, level at least first + count - 1. */
static void digit_source(struct source *s, const struct ring *r, const uint64_t *x, unsigned first,
                         unsigned count, uint64_t *y)
{
    s->count = count;
    s->x = x + first * r->n;
    s->y = y;
    for (unsigned j = 0; j < count; j++) {
        s->prime[j] = first + j;
    }
}

void ring_mod_up(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                 unsigned first, unsigned count, uint64_t *scratch)
{
    struct source s;
    digit_source(&s, r, x, first, count, scratch);
    struct mod_up u = {r, &s, 1, out, b, group_size(r, ring_limbs(b), 1), false};
    memcpy(out + first * r->n, s.x, count * r->n * sizeof *out);
    mod_up_all(&u, scratch + source_words(r, count), 1);
}

size_t ring_mod_up_scratch_words(const struct ring *r, unsigned count)
{
    return source_words(r, count) + work_words(r, 1);
}

void ring_decompose(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                    unsigned alpha, uint64_t *scratch, unsigned slices)
{
    struct source s[RING_MAX_PRIMES];
    unsigned digits = ring_digits(b.level, alpha);
    size_t words = ring_words(r, b);
    size_t group = group_size(r, digits * ring_limbs(b), slices);
    bool far = digits * words * sizeof *out > RING_FAR_BYTES;
    for (unsigned first = 0; first < digits;) {
        size_t used = 0;
        unsigned batch = 0;
        while (first + batch < digits) {
            unsigned count = ring_digit_count(b.level, alpha, first + batch);
            if (batch != 0 && used + source_words(r, count) > NEAR_WORDS) {
                break;
            }
            digit_source(&s[batch], r, x, (first + batch) * alpha, count, scratch + used);
            batch++;
            used += source_words(r, count);
        }
        struct mod_up u = {r, s, batch, out + first * words, b, group, far};
        mod_up_all(&u, scratch + used, slices);
        first += batch;
    }
}

size_t ring_decompose_scratch_words(const struct ring *r, unsigned level, unsigned alpha,
                                    unsigned slices)
{
    size_t words = work_words(r, slices);
    for (unsigned j = 0; j < ring_digits(level, alpha); j++) {
        words += source_words(r, ring_digit_count(level, alpha, j));
    }
    return words;
}

/* ---- mod-down: t = x mod D centred, so x - t is divisible by D and (x - t) / D is x / D rounded. */

struct mod_down {
    const struct ring *r;
    const struct source *source;
    uint64_t *const *out;
    const uint64_t *const *x;
    unsigned parts;
    size_t left, group;
    bool far;
};

static void mod_down_item(const void *context, size_t i, uint64_t *work)
{
    const struct mod_down *d = context;
    const struct ring *r = d->r;
    size_t part = i % d->parts;
    size_t limb = i / d->parts * d->group;
    struct conversion c;
    conversion_start(&c, r, &d->source[part], d->far);
    for (size_t end = limb + d->group; limb < end && limb < d->left; limb++) {
        conversion_add(&c, r, &d->source[part], limb, d->out[part] + limb * r->n,
                       d->x[part] + limb * r->n, work);
    }
    r->k.convert(&c.k);
}

void ring_mod_down_parts(const struct ring *r, uint64_t *const *out, const uint64_t *const *x,
                         unsigned parts, struct ring_basis b, unsigned drop, uint64_t *scratch,
                         unsigned slices)
{
    struct source s[RING_MAX_PARTS];
    size_t left = (size_t)b.level + 1 - drop;
    for (unsigned i = 0; i < parts; i++) {
        s[i].count = drop + b.special;
        s[i].x = x[i] + left * r->n;
        s[i].y = scratch;
        scratch += source_words(r, s[i].count);
        for (unsigned j = 0; j < s[i].count; j++) {
            s[i].prime[j] = (unsigned)ring_prime(r, b, left + j);
        }
    }
    sources_start(r, s, parts);
    size_t group = group_size(r, parts * left, slices);
    struct mod_down d = {
        r, s, out, x, parts, left, group, parts * left * r->n * sizeof(uint64_t) > RING_FAR_BYTES};
    run_items(r, mod_down_item, &d, (left + group - 1) / group * parts, scratch, slices);
}

size_t ring_mod_down_parts_scratch_words(const struct ring *r, struct ring_basis b, unsigned parts,
                                         unsigned drop, unsigned slices)
{
    return parts * source_words(r, drop + b.special) + work_words(r, slices);
}

void ring_mod_down(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                   unsigned drop, uint64_t *scratch)
{
    ring_mod_down_parts(r, &out, &x, 1, b, drop, scratch, 1);
}

size_t ring_mod_down_scratch_words(const struct ring *r, struct ring_basis b, unsigned drop)
{
    return ring_mod_down_parts_scratch_words(r, b, 1, drop, 1);
}

void ring_rescale(const struct ring *r, uint64_t *out, const uint64_t *x, unsigned level,
                  unsigned drop, uint64_t *scratch)
{
    ring_mod_down(r, out, x, (struct ring_basis){level, 0}, drop, scratch);
}

size_t ring_rescale_scratch_words(const struct ring *r, unsigned level, unsigned drop)
{
    return ring_mod_down_scratch_words(r, (struct ring_basis){level, 0}, drop);
}

void ring_p_residues(const struct ring *r, uint64_t *c, struct ring_basis b)
{
    unsigned prime[RING_MAX_PRIMES];
    for (unsigned j = 0; j < b.special; j++) {
        prime[j] = r->n_q + j;
    }
    for (unsigned i = 0; i <= b.level; i++) {
        c[i] = source_product(r, prime, b.special, i);
    }
}

void ring_mul_p(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b)
{
    uint64_t c[RING_MAX_PRIMES];
    ring_p_residues(r, c, b);
    ring_mul_const(r, out, x, c, (struct ring_basis){b.level, 0});
    memset(out + ((size_t)b.level + 1) * r->n, 0, b.special * r->n * sizeof *out);
}
