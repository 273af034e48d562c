/* SPDX-License-Identifier: Apache-2.0 */

/* What generated programs call, and what clients and loaders do, at several rings and levels. */
#include "rig.h"
#include "client/client.h"

#include <math.h>

static const struct rig_config configs[] = {
    {14, 6, 2, 2, {{6, false}, {3, false}, {0, false}}, false},
    {15, 13, 3, 3, {{13, true}, {9, true}, {6, true}}, false},
    {16, 24, 8, 8, {{24, true}, {12, false}, {0, false}}, false},
    {15, 5, 3, 3, {{5, false}, {0, false}}, true},
};
enum { NUM_CONFIGS = sizeof configs / sizeof *configs };

/* ---- counting -------------------------------------------------------------------------------- */

/* A value of `l` limbs, with `k` special primes and digits of alpha. */
struct shape {
    const struct rig_config *c;
    double n, limb, butterflies; /* words, bytes and butterflies of a limb */
    double l, k, digits;
};

static struct work sum(struct work a, struct work b)
{
    return (struct work){a.butterflies + b.butterflies,
                         a.products + b.products,
                         a.reductions + b.reductions,
                         a.scalings + b.scalings,
                         a.reals + b.reals,
                         a.random + b.random,
                         a.bytes + b.bytes,
                         fmax(a.resident, b.resident)};
}

/*
 * `from` limbs of a polynomial to `to` others: the inverse transforms, each word times a constant
 * of its prime; a sum of `from` products for each target word, reduced; its transform.
 */
static struct work count_convert(const struct shape *s, double from, double to)
{
    return (struct work){.butterflies = (from + to) * s->butterflies,
                         .products = from * to * s->n,
                         .reductions = to * s->n,
                         .scalings = from * s->n};
}

/* One digit onto all other limbs. */
static struct work count_mod_up(const struct shape *s)
{
    double own = fmin(s->c->alpha, s->l);
    struct work w = count_convert(s, own, s->l + s->k - own);
    w.bytes = s->limb * (own + s->l + s->k);
    w.resident = w.bytes;
    return w;
}

static struct work count_decompose(const struct shape *s)
{
    struct work w = {0};
    for (double at = 0; at < s->l; at += s->c->alpha) {
        double own = fmin(s->c->alpha, s->l - at);
        w = sum(w, count_convert(s, own, s->l + s->k - own));
    }
    w.bytes = s->limb * (s->l + s->digits * (s->l + s->k));
    w.resident = w.bytes;
    return w;
}

/* Each digit with both halves of its key, from memory; the digits may stay in a cache. */
static struct work count_key_mul(const struct shape *s)
{
    return (struct work){.products = 2 * s->digits * (s->l + s->k) * s->n,
                         .reductions = 2 * (s->l + s->k) * s->n,
                         .bytes = rig_key_bytes(s->c, (unsigned)s->l),
                         .resident = INFINITY};
}

/* Both parts: `gone` limbs to the `left` ones, subtracted and divided there. */
static struct work count_divide(const struct shape *s, double gone, double left)
{
    struct work w = count_convert(s, gone, left);
    if (gone == 1) {
        /* the one limb is its own conversion: nothing is summed */
        w.products = 0;
        w.reductions = 0;
        w.scalings = 0;
    }
    w.scalings += left * s->n;
    w = sum(w, w);
    w.bytes = 2 * s->limb * (gone + 2 * left);
    w.resident = w.bytes;
    return w;
}

/* What is between the three steps may stay in caches: the ciphertext goes in and out, and the key
 * comes from memory. */
static struct work count_key_switch(const struct shape *s)
{
    struct work w = sum(sum(count_decompose(s), count_key_mul(s)), count_divide(s, s->k, s->l));
    w.bytes = rig_key_bytes(s->c, (unsigned)s->l) + 4 * s->l * s->limb;
    return w;
}

/* Four products and three sums. */
static struct work count_mul(const struct shape *s)
{
    return (struct work){.products = 4 * s->l * s->n,
                         .reductions = 3 * s->l * s->n,
                         .bytes = 7 * s->l * s->limb,
                         .resident = 7 * s->l * s->limb};
}

/* The rescale's division is one with the mod-down's. */
static struct work count_mul_relin_rescale(const struct shape *s)
{
    struct work w = sum(sum(count_mul(s), count_decompose(s)),
                        sum(count_key_mul(s), count_divide(s, s->k + 1, s->l - 1)));
    w.bytes = rig_key_bytes(s->c, (unsigned)s->l) + (4 * s->l + 2 * (s->l - 1)) * s->limb;
    return w;
}

static struct work count_rescale(const struct shape *s)
{
    return count_divide(s, 1, s->l - 1);
}

static struct work count_mod_down(const struct shape *s)
{
    return count_divide(s, s->k, s->l);
}

/* One term of `terms`: ciphertext and plaintext are read; its share of the sum's reduction. */
static struct work count_pmac(const struct shape *s, double terms, double period)
{
    double plain = period == 0 ? 1 : 2 * period / s->n; /* of a limb */
    double bytes = s->limb * s->l * (2 + plain + 2 / terms);
    double inputs = fmin(terms, RIG_INPUTS);
    return (struct work){.products = 2 * s->l * s->n,
                         .reductions = 2 * s->l * s->n / terms,
                         .bytes = bytes,
                         .resident = s->limb * s->l * (2 * inputs + terms * plain + 2)};
}

/* Keys and plaintexts come from memory and results go there; one product of a result is a term. */
static struct work count_transform(const struct shape *s, double period)
{
    double plain = period == 0 ? 1 : 2 * period / s->n; /* of a limb */
    double terms = RIG_BABIES * RIG_RESULTS;
    struct work rotation = count_key_mul(s);
    double words = 2 * (s->l + s->k) * s->n;
    return (struct work){.products = RIG_BABIES * rotation.products + terms * words,
                         .reductions = RIG_BABIES * rotation.reductions + RIG_RESULTS * words,
                         .bytes = RIG_BABIES * rotation.bytes +
                                  (s->l + s->k) * s->limb * (terms * plain + 2 * RIG_RESULTS),
                         .resident = INFINITY};
}

static struct work count_add(const struct shape *s)
{
    return (struct work){.bytes = 6 * s->l * s->limb, .resident = 6 * s->l * s->limb};
}

static struct work count_padd(const struct shape *s)
{
    return (struct work){.bytes = 5 * s->l * s->limb, .resident = 5 * s->l * s->limb};
}

/* The special FFT of `slots` complex numbers: slots/2 log2 slots products of complex numbers. */
static double fft_reals(double slots)
{
    return 4 * slots / 2 * log2(slots);
}

/* Transform, rounding of 2 slots coefficients (two words each) and transforms in every limb. */
static struct work count_encode(const struct shape *s, double slots)
{
    double m = 2 * slots;
    return (struct work){.butterflies = s->l * m / 2 * log2(m),
                         .scalings = 2 * s->l * m,
                         .reals = fft_reals(slots) + m,
                         .bytes = 8 * (slots + s->l * m),
                         .resident = 8 * (slots + s->l * m)};
}

/* Mixed radix digits: each of the l coefficients is reduced by all that stand before it. */
static struct work count_decode(const struct shape *s)
{
    double pairs = s->n * s->l * (s->l - 1) / 2;
    return (struct work){.products = pairs,
                         .reductions = pairs,
                         .reals = fft_reals(s->n / 2) + s->n * (s->l + 1),
                         .bytes = s->limb * (s->l + 1),
                         .resident = s->limb * (s->l + 1)};
}

/* Encoding; noise, added before the transform; a uniform polynomial times the secret. */
static struct work count_encrypt(const struct shape *s)
{
    struct work w = count_encode(s, s->n / 2);
    w.random = (2 + s->l) * s->limb;
    w.products += s->l * s->n;
    w.reductions += s->l * s->n;
    w.bytes += s->l * s->limb;
    return w;
}

static struct work count_decrypt(const struct shape *s)
{
    struct work w = count_decode(s);
    w.butterflies += s->l * s->butterflies;
    w.products += s->l * s->n;
    w.reductions += s->l * s->n;
    w.bytes += 2 * s->l * s->limb;
    return w;
}

/* Every polynomial of every key: noise and its transforms, uniform residues times the secret; the
 * limbs of a digit have the other secret in them. */
static struct work count_key(const struct shape *s)
{
    double limbs = s->digits * (s->l + s->k);
    return (struct work){.butterflies = limbs * s->butterflies,
                         .products = limbs * s->n,
                         .reductions = limbs * s->n,
                         .scalings = s->l * s->n,
                         .random = (limbs + 2 * s->digits) * s->limb,
                         .bytes = limbs * s->limb,
                         .resident = INFINITY};
}

static struct shape shape_of(const struct rig_config *c, unsigned limbs)
{
    double n = ldexp(1, (int)c->log_n);
    return (struct shape){
        c, n, 8 * n, work_transform(c->log_n), limbs, c->special, rig_digits(c, limbs)};
}

static struct work count_keygen(const struct rig_config *c, unsigned *keys)
{
    struct shape top = shape_of(c, c->limbs);
    struct work w = count_key(&top);
    *keys = 1;
    for (unsigned at = 0; at < RIG_LEVELS && c->levels[at].limbs != 0; at++) {
        struct shape s = shape_of(c, c->levels[at].limbs);
        for (unsigned i = rig_keys(c, at); i > 0; i--) {
            w = sum(w, count_key(&s));
            (*keys)++;
        }
    }
    return w;
}

/* ---- running --------------------------------------------------------------------------------- */

static void run_mod_up(void *rig)
{
    struct rig *r = rig;
    unsigned level = r->limbs - 1;
    ring_mod_up(r->ring, r->e->regs[RIG_DIGITS].at, r->e->regs[RIG_X].at,
                (struct ring_basis){level, r->ring->n_p}, 0,
                ring_digit_count(level, r->config->alpha, 0), r->e->scratch);
}

static void run_decompose(void *rig)
{
    struct rig *r = rig;
    rt_decompose(r->e, RIG_DIGITS, RIG_X);
}

static void run_hoisted_rotation(void *rig)
{
    struct rig *r = rig;
    rt_key_mul(r->e, RIG_CTX, RIG_DIGITS, RIG_X, rig_next_key(r));
}

static void run_mod_down(void *rig)
{
    struct rig *r = rig;
    rt_mod_down(r->e, RIG_OUT, RIG_CTX, 0);
}

static void run_key_switch(void *rig)
{
    run_decompose(rig);
    run_hoisted_rotation(rig);
    run_mod_down(rig);
}

static void run_mul(void *rig)
{
    struct rig *r = rig;
    rt_mul(r->e, RIG_CT3, RIG_X, RIG_Y);
}

static void run_mul_relin_rescale(void *rig)
{
    struct rig *r = rig;
    run_mul(r);
    rt_decompose(r->e, RIG_DIGITS, RIG_CT3);
    rt_key_mul(r->e, RIG_CTX, RIG_DIGITS, RIG_CT3, 0);
    rt_mod_down(r->e, RIG_OUT, RIG_CTX, 1);
}

static void run_rescale(void *rig)
{
    struct rig *r = rig;
    rt_rescale(r->e, RIG_OUT, RIG_X, 1);
}

static void pmac(struct rig *r, uint32_t first, uint32_t terms)
{
    uint32_t in[RIG_TERMS];
    for (uint32_t i = 0; i < terms; i++) {
        in[i] = i % RIG_INPUTS;
    }
    rt_pmac(r->e, RIG_OUT, in, terms, first);
}

static void run_pmac(void *rig)
{
    struct rig *r = rig;
    pmac(r, rig_full(r), RIG_TERMS);
}

static void run_pmul(void *rig)
{
    struct rig *r = rig;
    pmac(r, rig_full(r), 1);
}

static void run_pmul_periodic(void *rig)
{
    struct rig *r = rig;
    pmac(r, rig_periodic(r), RIG_TERMS);
}

static void run_pmul_periodic_alone(void *rig)
{
    struct rig *r = rig;
    pmac(r, rig_periodic(r), 1);
}

/* The same transform at once and by operations of their own. */
static void transform(struct rig *r, bool periodic)
{
    struct rt_baby baby[RIG_BABIES];
    uint32_t plain[RIG_BABIES * RIG_RESULTS], out[RIG_RESULTS];
    for (uint32_t i = 0; i < RIG_BABIES; i++) {
        baby[i] = (struct rt_baby){RIG_DIGITS, RIG_X, rig_baby(i)};
    }
    for (uint32_t i = 0; i < RIG_BABIES * RIG_RESULTS; i++) {
        plain[i] = rig_transform(periodic) + i;
    }
    for (uint32_t k = 0; k < RIG_RESULTS; k++) {
        out[k] = RIG_RESULT + k;
    }
    rt_transform(r->e, out, RIG_RESULTS, baby, RIG_BABIES, plain);
}

static void transform_separate(struct rig *r, bool periodic)
{
    uint32_t in[RIG_BABIES];
    for (uint32_t i = 0; i < RIG_BABIES; i++) {
        in[i] = RIG_BABY + i;
        rt_key_mul(r->e, in[i], RIG_DIGITS, RIG_X, rig_baby(i));
    }
    for (uint32_t k = 0; k < RIG_RESULTS; k++) {
        rt_pmac(r->e, RIG_RESULT + k, in, RIG_BABIES, rig_transform(periodic) + k * RIG_BABIES);
    }
}

static void run_transform(void *rig)
{
    transform(rig, false);
}

static void run_transform_periodic(void *rig)
{
    transform(rig, true);
}

static void run_transform_separate(void *rig)
{
    transform_separate(rig, false);
}

static void run_transform_separate_periodic(void *rig)
{
    transform_separate(rig, true);
}

static void run_add(void *rig)
{
    struct rig *r = rig;
    rt_add(r->e, RIG_OUT, RIG_X, RIG_Y);
}

static void run_padd(void *rig)
{
    struct rig *r = rig;
    rt_padd(r->e, RIG_OUT, RIG_X, rig_addend(r));
}

static void encode(struct rig *r, unsigned log_p)
{
    struct rt_error err;
    r->failed |= core_encode(r->e->ctx, r->poly, r->slots, NULL, log_p, rig_scale,
                             (struct ring_basis){r->limbs - 1, 0}, r->work, "bench", &err) != RT_OK;
}

static void run_encode(void *rig)
{
    struct rig *r = rig;
    encode(r, r->ring->log_n - 1);
}

static void run_encode_periodic(void *rig)
{
    encode(rig, core_log2(RIG_PERIOD));
}

static void run_decode(void *rig)
{
    struct rig *r = rig;
    core_decode(r->e->ctx, r->work, r->imaginary, r->poly, r->limbs - 1, rig_scale,
                r->ring->log_n - 1);
}

/* With the file: to and from the page cache. The client has a ring of its own. */
static void client_level(struct rig *r)
{
    r->secret->ctx->ring->k = r->e->ctx->ring->k;
}

static void run_encrypt(void *rig)
{
    struct rig *r = rig;
    struct rt_error err;
    client_level(r);
    r->failed |= rt_encrypt(r->secret, &r->kit.model, r->slots, r->file[0], &err) != RT_OK;
}

static void run_decrypt(void *rig)
{
    struct rig *r = rig;
    struct rt_error err;
    client_level(r);
    r->failed |= rt_decrypt(r->secret, &r->kit.model, r->file[1], r->imaginary, &err) != RT_OK;
}

static void run_keygen(void *rig)
{
    struct rig *r = rig;
    sys_cpu_limit(r->ring->k.level);
    kit_keygen(&r->kit, sys_threads());
    sys_cpu_limit(RT_CPU_AVX512IFMA);
}

/* ---- the table ------------------------------------------------------------------------------- */

enum when {
    EVERY_LEVEL,
    TOP_LEVEL, /* of the ring only */
    OUT_LEVEL  /* where clients decrypt */
};

struct list {
    struct bench_job *jobs;
    size_t num_jobs;
    struct bench_case c; /* what is the same for all that is added */
};

static void put(struct list *l, const char *op, void (*run)(void *), struct work w, unsigned terms,
                unsigned period)
{
    struct bench_job *j = &l->jobs[l->num_jobs++];
    *j = (struct bench_job){l->c, run};
    j->c.op = op;
    j->c.work = w;
    j->c.terms = terms;
    j->c.period = period;
    j->c.count = terms; /* a term of a sum */
}

static void put_level(struct list *l, const struct shape *s)
{
    put(l, "key_switch", run_key_switch, count_key_switch(s), 0, 0);
    put(l, "hoisted_rotation", run_hoisted_rotation, count_key_mul(s), 0, 0);
    put(l, "decompose", run_decompose, count_decompose(s), 0, 0);
    put(l, "mod_up", run_mod_up, count_mod_up(s), 0, 0);
    put(l, "mod_down", run_mod_down, count_mod_down(s), 0, 0);
    put(l, "mul", run_mul, count_mul(s), 0, 0);
    put(l, "mul_relin_rescale", run_mul_relin_rescale, count_mul_relin_rescale(s), 0, 0);
    l->c.special = 0; /* the rest uses no switching keys */
    put(l, "rescale", run_rescale, count_rescale(s), 0, 0);
    put(l, "pmac", run_pmac, count_pmac(s, RIG_TERMS, 0), RIG_TERMS, 0);
    put(l, "pmul", run_pmul, count_pmac(s, 1, 0), 0, 0);
    put(l, "pmul_periodic", run_pmul_periodic, count_pmac(s, RIG_TERMS, RIG_PERIOD), RIG_TERMS,
        RIG_PERIOD);
    put(l, "pmul_periodic_alone", run_pmul_periodic_alone, count_pmac(s, 1, RIG_PERIOD), 0,
        RIG_PERIOD);
    put(l, "add", run_add, count_add(s), 0, 0);
    put(l, "padd", run_padd, count_padd(s), 0, 0);
    put(l, "encode", run_encode, count_encode(s, s->n / 2), 0, 0);
    put(l, "encode_periodic", run_encode_periodic, count_encode(s, RIG_PERIOD), 0, RIG_PERIOD);
}

static void put_transforms(struct list *l, const struct shape *s)
{
    struct work full = count_transform(s, 0);
    struct work periodic = count_transform(s, RIG_PERIOD);
    put(l, "transform", run_transform, full, 0, 0);
    put(l, "transform", run_transform_periodic, periodic, 0, RIG_PERIOD);
    put(l, "transform_separate", run_transform_separate, full, 0, 0);
    put(l, "transform_separate", run_transform_separate_periodic, periodic, 0, RIG_PERIOD);
}

/* At the level of a fresh ciphertext, and of a result. */
static void put_client(struct list *l, const struct rig_config *c)
{
    struct shape top = shape_of(c, c->limbs);
    struct shape out = shape_of(c, RIG_OUT_LIMBS);
    unsigned keys;
    struct work all = count_keygen(c, &keys);
    l->c.limbs = c->limbs;
    l->c.special = 0;
    put(l, "encrypt", run_encrypt, count_encrypt(&top), 0, 0);
    l->c.limbs = RIG_OUT_LIMBS;
    put(l, "decode", run_decode, count_decode(&out), 0, 0);
    put(l, "decrypt", run_decrypt, count_decrypt(&out), 0, 0);
    l->c.limbs = c->limbs;
    l->c.special = c->special;
    put(l, "keygen", run_keygen, all, keys, 0);
    l->jobs[l->num_jobs - 1].c.count = 1; /* all of them */
}

enum { JOBS_AT_MOST = (RIG_LEVELS * 16 + 4) * (BENCH_LEVELS + 1) };

static void bench_config(struct bench *b, const struct rig_config *c)
{
    static const struct bench_suite suite = {"programs and clients", rig_make, rig_prepare,
                                             rig_check, rig_drop};
    struct bench_job jobs[JOBS_AT_MOST];
    struct list l = {jobs, 0, {0}};
    int best = (int)sys_cpu_detect();
    for (int cpu = best; cpu >= 0; cpu--) {
        for (int all = 0; all < (cpu == best && b->threads > 1 ? 2 : 1); all++) {
            l.c = (struct bench_case){
                .log_n = c->log_n, .cpu = (enum rt_cpu)cpu, .threads = all ? b->threads : 1};
            for (unsigned at = 0; at < RIG_LEVELS && c->levels[at].limbs != 0; at++) {
                if (cpu != best && (b->quick || !c->levels[at].every_cpu)) {
                    continue;
                }
                struct shape s = shape_of(c, c->levels[at].limbs);
                l.c.limbs = c->levels[at].limbs;
                l.c.special = c->special;
                if (c->transforms) {
                    put_transforms(&l, &s);
                } else {
                    put_level(&l, &s);
                }
            }
            if (cpu == best && !c->transforms) {
                put_client(&l, c);
            }
        }
    }
    static struct rig r; /* large */
    r = (struct rig){.config = c};
    bench_jobs(b, &suite, &r, jobs, l.num_jobs);
}

void bench_programs(struct bench *b)
{
    for (size_t i = 0; i < NUM_CONFIGS; i++) {
        if (!b->quick || configs[i].log_n == 15) {
            bench_config(b, &configs[i]);
        }
    }
}
