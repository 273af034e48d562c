/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The kernels of key switching at every CPU level against their definition with 128-bit remainders:
 * key_mac, tensor, and convert, which is compared with the kernels that it is made of. Inputs are
 * zero, the largest allowed words, and uniform; outputs stand between guard words. SEED=n gives
 * other numbers.
 */
#include "kernel/kernel.h"
#include "random.h"
#include "ring/ring.h"

#include <criterion/criterion.h>
#include <string.h>

#define GUARD 8u
#define MAGIC UINT64_C(0x5ca1ab1e0ddba11)

/* n words between guards, 64-byte aligned unless odd. */
struct buffer {
    uint64_t *base, *p;
    size_t n;
};

static struct buffer buffer_new(size_t n, size_t odd)
{
    struct buffer b = {sys_alloc_array(n + 2 * GUARD + odd, sizeof *b.base), NULL, n};
    cr_assert_not_null(b.base);
    b.p = b.base + GUARD + odd;
    for (size_t i = 0; i < n + 2 * GUARD + odd; i++) {
        b.base[i] = MAGIC;
    }
    return b;
}

static void fill(struct buffer b, uint64_t bound, unsigned kind, struct random *g)
{
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] = kind == 0 ? 0 : kind == 1 ? bound - 1 : random_below(g, bound);
    }
}

static void expect(struct buffer got, struct buffer want, const char *name, enum rt_cpu level,
                   uint64_t q, const struct random *g)
{
    for (size_t i = 0; i < got.n; i++) {
        cr_assert(got.p[i] == want.p[i] && got.p[i] < q,
                  "%s %s q=%llu n=%zu SEED=%llu: word %zu is %llu, not %llu", name,
                  sys_cpu_name(level), (unsigned long long)q, got.n, (unsigned long long)g->seed, i,
                  (unsigned long long)got.p[i], (unsigned long long)want.p[i]);
    }
    for (size_t i = 0; i < GUARD; i++) {
        cr_assert(got.p[-1 - (long)i] == MAGIC && got.p[got.n + i] == MAGIC,
                  "%s %s wrote outside its output", name, sys_cpu_name(level));
    }
}

static const uint64_t moduli[] = {3,
                                  97,
                                  (UINT64_C(1) << 30) - 35,
                                  (UINT64_C(1) << 46) - 21,
                                  (UINT64_C(1) << 49) + 1,
                                  (UINT64_C(1) << 50) - 1};

static uint64_t mulmod(uint64_t a, uint64_t b, uint64_t q)
{
    return (uint64_t)((sys_u128)a * b % q);
}

/* ---- Montgomery's constants */

Test(modulus, powers_of_two)
{
    for (size_t i = 0; i < sizeof moduli / sizeof *moduli; i++) {
        struct modulus m;
        cr_assert(mod_init(&m, moduli[i]));
        cr_expect_eq((m.q * m.inv) & MOD_MASK, 1);
        cr_expect(m.i52 < m.q && mulmod(m.i52, m.r52, m.q) == 1);
        cr_expect_eq(m.i52s, mod_shoup(m.i52, m.q));
    }
}

/* ---- key_mac */

static uint64_t inverse_of(uint64_t g, unsigned log_n)
{
    uint64_t r = g; /* Newton, as in mod_init */
    for (unsigned i = 0; i < 5; i++) {
        r *= 2 - g * r;
    }
    return r & ((UINT64_C(2) << log_n) - 1);
}

/* `terms` of key_terms digits; plain[part][t] is the key as a limb in natural order. */
static void check_key_mac(unsigned log_n, size_t terms, size_t key_terms, unsigned bases,
                          unsigned kind, bool far, struct random *g)
{
    size_t n = (size_t)1 << log_n;
    size_t block = n < K_KEY_BLOCK ? n : K_KEY_BLOCK;
    struct modulus m;
    cr_assert(mod_init(&m, moduli[random_below(g, sizeof moduli / sizeof *moduli)]));
    struct buffer digits = buffer_new(terms * n, 0), keys = buffer_new(2 * key_terms * n, 0);
    struct buffer stream = buffer_new(2 * key_terms * n, 0), base = buffer_new(2 * n, 0);
    fill(digits, m.q, kind, g);
    fill(keys, m.q, kind, g);
    fill(base, m.q, kind, g);
    const uint64_t **digit = sys_alloc_array(terms, sizeof *digit);
    cr_assert_not_null(digit);
    for (size_t t = 0; t < terms; t++) {
        digit[t] = digits.p + t * n;
    }
    uint64_t r52 = (uint64_t)(((sys_u128)1 << 52) % m.q);
    for (size_t t = 0; t < key_terms; t++) {
        for (size_t part = 0; part < 2; part++) {
            for (size_t i = 0; i < n; i++) {
                size_t to = part * key_terms * n + (i / block * key_terms + t) * block + i % block;
                stream.p[to] = mulmod(keys.p[(2 * t + part) * n + i], r52, m.q);
            }
        }
    }
    uint64_t galois = random_below(g, n) * 2 + 1;
    if (random_below(g, 4) == 0) {
        galois = 1;
    }
    uint64_t c = random_below(g, m.q);
    struct k_switch s = {.digit = digit,
                         .key = {stream.p, stream.p + key_terms * n},
                         .terms = terms,
                         .key_terms = key_terms,
                         .base = {bases > 0 ? base.p : NULL, bases > 1 ? base.p + n : NULL},
                         .c = c,
                         .cs = mod_shoup(c, m.q),
                         .g = galois,
                         .g_inverse = inverse_of(galois, log_n),
                         .log_n = log_n,
                         .accumulate = random_below(g, 2) == 0,
                         .far = far};
    struct buffer want[2] = {buffer_new(n, 0), buffer_new(n, 0)};
    struct buffer before[2] = {buffer_new(n, 0), buffer_new(n, 0)};
    for (size_t part = 0; part < 2; part++) {
        fill(before[part], m.q, kind, g);
    }
    for (size_t part = 0; part < 2; part++) {
        for (size_t j = 0; j < n; j++) {
            uint64_t e = galois * (2 * (uint64_t)mod_bitrev((uint32_t)j, log_n) + 1) % (2 * n);
            size_t i = mod_bitrev((uint32_t)(e / 2), log_n);
            uint64_t sum = s.base[part] != NULL ? mulmod(s.base[part][i], c, m.q) : 0;
            sum = (sum + (s.accumulate ? before[part].p[j] : 0)) % m.q;
            for (size_t t = 0; t < terms; t++) {
                sum = (sum + mulmod(digit[t][i], keys.p[(2 * t + part) * n + i], m.q)) % m.q;
            }
            want[part].p[j] = sum;
        }
    }
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        size_t odd = random_below(g, 2); /* unaligned: far must do no harm */
        struct buffer out[2] = {buffer_new(n, odd), buffer_new(n, 0)};
        size_t cut = n <= K_KEY_BLOCK ? n : random_below(g, n / K_KEY_BLOCK + 1) * K_KEY_BLOCK;
        for (size_t part = 0; part < 2; part++) {
            memcpy(out[part].p, before[part].p, n * sizeof(uint64_t));
        }
        k.key_mac(out[0].p, out[1].p, &s, 0, cut, &m);
        if (cut < n) {
            k.key_mac(out[0].p, out[1].p, &s, cut, n - cut, &m);
        }
        expect(out[0], want[0], "key_mac b", k.level, m.q, g);
        expect(out[1], want[1], "key_mac a", k.level, m.q, g);
        /* an output tile of its own, from the tile that it comes from */
        for (size_t tile = 512; tile < n; tile *= 2) {
            size_t at = random_below(g, n / tile) * tile;
            uint64_t e = galois * (2 * (uint64_t)mod_bitrev((uint32_t)at, log_n) + 1) % (2 * n);
            size_t from = mod_bitrev((uint32_t)(e / 2), log_n) / tile * tile;
            struct k_switch part = s;
            part.origin = at;
            part.next[0] = random_below(g, 2) == 0 ? NULL : stream.p;
            part.next[1] = random_below(g, 2) == 0 ? NULL : stream.p;
            part.a_first = random_below(g, 2) == 0 ? 0 : from;
            part.key[1] += part.a_first * key_terms;
            for (size_t h = 0; h < 2; h++) {
                memset(out[h].p, 0xff, n * sizeof(uint64_t));
                memcpy(out[h].p, before[h].p + at, tile * sizeof(uint64_t));
            }
            k.key_mac(out[0].p, out[1].p, &part, from, tile, &m);
            for (size_t h = 0; h < 2; h++) {
                cr_expect_arr_eq(out[h].p, want[h].p + at, tile * sizeof(uint64_t));
                cr_expect_eq(out[h].p[tile], UINT64_MAX, "written past the tile");
            }
        }
        sys_free(out[0].base);
        sys_free(out[1].base);
    }
    struct buffer all[] = {digits, keys, stream, base, want[0], want[1], before[0], before[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sys_free(all[i].base);
    }
    sys_free(digit);
}

Test(kernel, key_mac)
{
    struct random g = random_start(7100);
    static const unsigned logs[] = {4, 5, 6, 8, 9, 10, 12, 13};
    static const size_t terms[] = {1, 2, 3, 5, 12, 19, 20, 21, 40, 41, 128};
    for (size_t l = 0; l < sizeof logs / sizeof *logs; l++) {
        for (size_t t = 0; t < sizeof terms / sizeof *terms; t++) {
            if (terms[t] > 41 && logs[l] > 10) {
                continue;
            }
            for (unsigned bases = 0; bases < 3; bases++) {
                check_key_mac(logs[l], terms[t], terms[t] + (bases == 1 ? 2 : 0), bases, bases,
                              l % 2 == 0, &g);
            }
        }
    }
}

/* ---- mac_many */

static void check_mac_many(size_t terms, unsigned results, unsigned log_run, size_t n,
                           unsigned kind, struct random *g)
{
    struct modulus m;
    cr_assert(mod_init(&m, moduli[random_below(g, sizeof moduli / sizeof *moduli)]));
    size_t words = n >> log_run;
    struct buffer x = buffer_new(2 * terms * n, random_below(g, 2));
    struct buffer p = buffer_new(results * terms * words, 0);
    struct buffer before = buffer_new(2 * results * n, 0);
    fill(x, m.q, kind, g);
    fill(p, m.q, kind, g);
    fill(before, m.q, kind, g);
    const uint64_t **at = sys_alloc_array((2 + results) * terms, sizeof *at);
    cr_assert_not_null(at);
    for (size_t t = 0; t < 2 * terms; t++) {
        at[t] = x.p + t * n;
    }
    for (size_t t = 0; t < results * terms; t++) {
        at[2 * terms + t] = p.p + t * words;
    }
    for (unsigned how = 0; how < 4; how++) {
        bool accumulate = how % 2 != 0;
        struct buffer want = buffer_new(2 * results * n, 0);
        for (size_t i = 0; i < 2 * results * n; i++) {
            size_t k = i / n / 2, h = i / n % 2;
            want.p[i] = accumulate ? before.p[i] : 0;
            for (size_t t = 0; t < terms; t++) {
                uint64_t y = p.p[(k * terms + t) * words + (i % n >> log_run)];
                want.p[i] = (want.p[i] + mulmod(x.p[(h * terms + t) * n + i % n], y, m.q)) % m.q;
            }
        }
        for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
            struct kernels k;
            k_init(&k, (enum rt_cpu)level);
            struct buffer out = buffer_new(2 * results * n, random_below(g, 2));
            memcpy(out.p, before.p, 2 * results * n * sizeof(uint64_t));
            struct k_sums s = {.x = {at, at + terms},
                               .p = at + 2 * terms,
                               .terms = terms,
                               .results = results,
                               .log_run = log_run,
                               .accumulate = accumulate,
                               .far = how >= 2};
            for (size_t i = 0; i < 2 * (size_t)results; i++) {
                s.out[i / 2][i % 2] = out.p + i * n;
            }
            k.mac_many(&s, n, &m);
            expect(out, want, "mac_many", k.level, m.q, g);
            sys_free(out.base);
        }
        sys_free(want.base);
    }
    sys_free(x.base);
    sys_free(p.base);
    sys_free(before.base);
    sys_free(at);
}

Test(kernel, mac_many)
{
    struct random g = random_start(7150);
    static const size_t terms[] = {1, 2, 15, 16, 64, 4095};
    for (size_t t = 0; t < sizeof terms / sizeof *terms; t++) {
        for (unsigned results = 1; results <= K_SUMS; results++) {
            for (unsigned log_run = 0; log_run < 8; log_run++) {
                if (terms[t] > 64 && (log_run % 3 != 0 || results % 3 == 0)) {
                    continue;
                }
                size_t n = log_run < 5 ? 32 * (1 + random_below(&g, 4)) : (size_t)1 << log_run;
                check_mac_many(terms[t], results, log_run, log_run < 4 && t == 1 ? 16 : n,
                               (unsigned)random_below(&g, 3), &g);
            }
        }
    }
}

/* ---- tensor */

Test(kernel, tensor)
{
    struct random g = random_start(7200);
    static const size_t lengths[] = {1, 3, 4, 7, 8, 9, 31, 64, 100, 4096};
    for (size_t trial = 0; trial < 6 * 10 * 3; trial++) {
        struct modulus m;
        cr_assert(mod_init(&m, moduli[trial % 6]));
        size_t n = lengths[trial / 6 % 10];
        bool square = random_below(&g, 2) == 0;
        struct buffer in[4], want[3], out[3];
        for (size_t i = 0; i < 4; i++) {
            in[i] = buffer_new(n, i % 2);
            fill(in[i], m.q, (unsigned)(trial / 60), &g);
        }
        const uint64_t *const x[2] = {in[0].p, in[1].p};
        const uint64_t *const y[2] = {square ? in[0].p : in[2].p, square ? in[1].p : in[3].p};
        for (size_t i = 0; i < 3; i++) {
            want[i] = buffer_new(n, 0);
        }
        for (size_t i = 0; i < n; i++) {
            want[0].p[i] = mulmod(x[0][i], y[0][i], m.q);
            want[1].p[i] = (mulmod(x[0][i], y[1][i], m.q) + mulmod(x[1][i], y[0][i], m.q)) % m.q;
            want[2].p[i] = mulmod(x[1][i], y[1][i], m.q);
        }
        for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
            struct kernels k;
            k_init(&k, (enum rt_cpu)level);
            for (size_t i = 0; i < 3; i++) {
                out[i] = buffer_new(n, trial % 2 == 0 ? 0 : i);
            }
            uint64_t *const z[3] = {out[0].p, out[1].p, out[2].p};
            k.tensor(z, x, y, n, &m, random_below(&g, 2) == 0);
            for (size_t i = 0; i < 3; i++) {
                expect(out[i], want[i], "tensor", k.level, m.q, &g);
                sys_free(out[i].base);
            }
        }
        for (size_t i = 0; i < 3; i++) {
            sys_free(want[i].base);
        }
        for (size_t i = 0; i < 4; i++) {
            sys_free(in[i].base);
        }
    }
}

/* ---- convert */

enum { PRIMES = 6, MOST_TERMS = 129 };

/*
 * Where the words of the result go: over the work, past it, or over the minuend.
 */
enum where { OVER_WORK, APART, OVER_MINUEND, WHERE };

static void check_convert(const struct ring *r, size_t terms, unsigned group, bool minuend,
                          enum where where, bool far, unsigned kind, struct random *g)
{
    size_t n = r->n;
    size_t stride = n + 8 * random_below(g, 9);
    struct buffer x = buffer_new(terms * stride, 0);
    struct buffer w = buffer_new(group * terms, 0), a = buffer_new(group * n, 0);
    struct buffer want = buffer_new(group * n, 0), work = buffer_new(group * n, 0);
    uint64_t p = r->ntt[PRIMES - 1].mod.q;
    fill(x, terms == 1 ? p : UINT64_C(1) << 50, kind, g);
    struct kernels ref;
    k_init(&ref, RT_CPU_PORTABLE);
    struct k_convert s = {.x = x.p,
                          .stride = stride,
                          .k = terms,
                          .p = p,
                          .log_n = r->log_n,
                          .group = group,
                          .far = far};
    for (unsigned i = 0; i < group; i++) {
        const struct ntt_table *t = &r->ntt[i];
        struct buffer wi = {NULL, w.p + i * terms, terms};
        struct buffer ai = {NULL, a.p + i * n, n};
        fill(wi, t->mod.q, kind, g);
        fill(ai, t->mod.q, kind == 1 ? 0 : 2, g); /* 0 - large: the smallest difference */
        uint64_t c = random_below(g, t->mod.q);
        s.to[i].t = t;
        s.to[i].w = wi.p;
        s.to[i].minuend = minuend ? ai.p : NULL;
        s.to[i].c = c;
        s.to[i].cs = mod_shoup(c, t->mod.q);
        uint64_t *y = want.p + i * n;
        if (terms == 1) {
            ref.recentre(y, x.p, p, n, &t->mod);
        } else {
            ref.bconv(y, x.p, stride, wi.p, terms, n, &t->mod);
        }
        ref.ntt(y, y, t, r->log_n);
        if (minuend) {
            ref.sub_mul_const(y, ai.p, y, c, s.to[i].cs, n, t->mod.q);
        }
    }
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        struct buffer out = buffer_new(group * n, 0);
        for (unsigned i = 0; i < group; i++) {
            uint64_t *to = out.p + i * n;
            if (minuend && where == OVER_MINUEND) {
                memcpy(to, a.p + i * n, n * sizeof *to);
                s.to[i].minuend = to;
            }
            s.to[i].out = to;
            s.to[i].work = where == OVER_WORK ? to : work.p + i * n;
        }
        k.convert(&s);
        expect(out, want, "convert", k.level, UINT64_C(1) << 50, g);
        expect(work, work, "convert work", k.level, UINT64_MAX, g);
        sys_free(out.base);
    }
    struct buffer all[] = {x, w, a, want, work};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sys_free(all[i].base);
    }
}

Test(kernel, convert)
{
    struct random g = random_start(7300);
    static const size_t terms[] = {1, 2, 4, 9, 12, 13, 24, 25, MOST_TERMS};
    for (unsigned log_n = 4; log_n <= 17; log_n++) {
        uint64_t q[PRIMES];
        static const uint64_t bounds[PRIMES] = {UINT64_C(1) << 50, UINT64_C(1) << 49,
                                                UINT64_C(1) << 48, UINT64_C(1) << 47,
                                                UINT64_C(1) << 31, UINT64_C(1) << 50};
        for (size_t i = 0; i < PRIMES; i++) {
            q[i] = i == PRIMES - 1 ? prime_below(q[0], log_n) : prime_below(bounds[i], log_n);
        }
        struct ring *r;
        cr_assert_eq(ring_create(&r, log_n, q, PRIMES, NULL, 0), RING_OK);
        for (size_t t = 0; t < sizeof terms / sizeof *terms; t++) {
            if (terms[t] > 13 && log_n != 13 && log_n > 9) {
                continue;
            }
            for (unsigned i = 0; i < 6; i++) {
                unsigned group = log_n > 14 ? i % 2 + 1 : (unsigned)random_below(&g, 4) + 1;
                check_convert(r, terms[t], group, i % 2 == 1, (enum where)(i % WHERE), i >= 3,
                              1 + (unsigned)random_below(&g, 2), &g);
            }
            check_convert(r, terms[t], 1, true, APART, false, 0, &g);
        }
        ring_free(r);
    }
}
