/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every kernel at every CPU level of this machine against ref.c, and ref.c's pointwise kernels
 * against the definition with 128-bit remainders (its transforms are checked in
 * tests/property/ring.c). Inputs are zero, the largest allowed value, both alternating, and
 * uniform; buffers stand at aligned and odd addresses between guard words; outputs must be
 * canonical. SEED=n gives other numbers.
 */
#include "kernel/kernel.h"
#include "random.h"
#include "ring/ring.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define GUARD 16u
#define MAGIC UINT64_C(0x5ca1ab1e0ddba11)

static struct kernels ref;

static void load_ref(void)
{
    k_init(&ref, RT_CPU_PORTABLE);
}

/* n words at base + GUARD + odd, guards on both sides. */
struct buffer {
    uint64_t *base;
    uint64_t *p;
    size_t n;
};

static struct buffer buffer_new(size_t n, size_t odd)
{
    struct buffer b = {NULL, NULL, n};
    b.base = sys_alloc_array(n + 2 * GUARD + odd, sizeof *b.base);
    cr_assert_not_null(b.base);
    b.p = b.base + GUARD + odd;
    for (size_t i = 0; i < n + 2 * GUARD + odd; i++) {
        b.base[i] = MAGIC;
    }
    return b;
}

static void buffer_free(struct buffer b)
{
    sys_free(b.base);
}

enum kind { ZERO, LARGEST, ALTERNATING, UNIFORM, KINDS };

static void fill(struct buffer b, uint64_t bound, enum kind kind, struct random *g)
{
    for (size_t i = 0; i < b.n; i++) {
        switch (kind) {
        case ZERO:
            b.p[i] = 0;
            break;
        case LARGEST:
            b.p[i] = bound - 1;
            break;
        case ALTERNATING:
            b.p[i] = random_next(g) & 1 ? bound - 1 : 0;
            break;
        default:
            b.p[i] = random_below(g, bound);
            break;
        }
    }
}

/* What is being compared, for messages. */
struct what {
    const char *kernel;
    enum rt_cpu level;
    uint64_t q;
    size_t n;
    unsigned detail;
    enum kind kind;
    uint64_t seed;
};

static void expect(struct buffer got, struct buffer want, uint64_t bound, struct what w)
{
    for (size_t i = 0; i < got.n; i++) {
        cr_assert(got.p[i] == want.p[i] && got.p[i] < bound,
                  "%s %s q=%llu n=%zu detail=%u input %d SEED=%llu: word %zu is %llu, not %llu",
                  w.kernel, sys_cpu_name(w.level), (unsigned long long)w.q, w.n, w.detail,
                  (int)w.kind, (unsigned long long)w.seed, i, (unsigned long long)got.p[i],
                  (unsigned long long)want.p[i]);
    }
    for (size_t i = 0; i < GUARD; i++) {
        cr_assert(got.p[-1 - (long)i] == MAGIC && got.p[got.n + i] == MAGIC,
                  "%s %s n=%zu detail=%u wrote outside its output", w.kernel, sys_cpu_name(w.level),
                  w.n, w.detail);
    }
}

/* Odd moduli of every width that matters; pointwise kernels do not need primes. */
static const uint64_t moduli[] = {
    3,
    97,
    (UINT64_C(1) << 20) + 7,
    (UINT64_C(1) << 30) - 35,
    (UINT64_C(1) << 40) + 15,
    (UINT64_C(1) << 46) - 21,
    (UINT64_C(1) << 49) + 1,
    (UINT64_C(1) << 50) - 27,
    (UINT64_C(1) << 50) - 1,
};
#define MODULI (sizeof moduli / sizeof *moduli)

/* Lengths around the vector widths and the unrollings. */
static const size_t lengths[] = {1,  2,  3,  7,  8,   9,   15,   16,  17,
                                 31, 33, 64, 71, 100, 256, 1000, 4096};
#define LENGTHS (sizeof lengths / sizeof *lengths)

/* ---- pointwise */

enum op { ADD, SUB, NEG, ADD_CONST, MUL, MUL_ADD, MUL_CONST, MUL_CONST_ADD, SUB_MUL_CONST };

static void call(const struct kernels *k, enum op op, uint64_t *out, const uint64_t *a,
                 const uint64_t *b, const uint64_t *acc, uint64_t c, size_t n,
                 const struct modulus *m)
{
    uint64_t cs = mod_shoup(c, m->q);
    switch (op) {
    case ADD:
        k->add(out, a, b, n, m->q);
        break;
    case SUB:
        k->sub(out, a, b, n, m->q);
        break;
    case NEG:
        k->neg(out, a, n, m->q);
        break;
    case ADD_CONST:
        k->add_const(out, a, c, n, m->q);
        break;
    case MUL:
        k->mul(out, a, b, n, m);
        break;
    case MUL_ADD:
        k->mul_add(out, acc, a, b, n, m);
        break;
    case MUL_CONST:
        k->mul_const(out, a, c, cs, n, m->q);
        break;
    case MUL_CONST_ADD:
        k->mul_const_add(out, acc, a, c, cs, n, m->q);
        break;
    case SUB_MUL_CONST:
        k->sub_mul_const(out, a, b, c, cs, n, m->q);
        break;
    }
}

static uint64_t define(enum op op, uint64_t a, uint64_t b, uint64_t acc, uint64_t c, uint64_t q)
{
    switch (op) {
    case ADD:
        return (a + b) % q;
    case SUB:
        return (a + q - b) % q;
    case NEG:
        return (q - a) % q;
    case ADD_CONST:
        return (a + c) % q;
    case MUL:
        return (uint64_t)((sys_u128)a * b % q);
    case MUL_ADD:
        return (uint64_t)(((sys_u128)a * b + acc) % q);
    case MUL_CONST:
        return (uint64_t)((sys_u128)a * c % q);
    case MUL_CONST_ADD:
        return (uint64_t)(((sys_u128)a * c + acc) % q);
    case SUB_MUL_CONST:
        return (uint64_t)((sys_u128)(a + q - b) * c % q);
    }
    return 0;
}

static void check_pointwise(enum op op, const char *name)
{
    load_ref();
    struct random g = random_start(1000 + (uint64_t)op);
    bool wide = op == MUL_CONST || op == MUL_CONST_ADD; /* a is any word below 2^52 */
    for (size_t mi = 0; mi < MODULI; mi++) {
        struct modulus m;
        cr_assert(mod_init(&m, moduli[mi]));
        for (size_t li = 0; li < LENGTHS; li++) {
            size_t n = lengths[li];
            for (int kind = ZERO; kind < KINDS; kind++) {
                size_t odd = random_below(&g, 4);
                struct buffer a = buffer_new(n, odd);
                struct buffer b = buffer_new(n, 0);
                struct buffer acc = buffer_new(n, odd);
                struct buffer want = buffer_new(n, 0);
                fill(a, wide ? UINT64_C(1) << 52 : m.q, (enum kind)kind, &g);
                fill(b, m.q, random_next(&g) & 1 ? (enum kind)kind : UNIFORM, &g);
                fill(acc, m.q, (enum kind)kind, &g);
                uint64_t c = kind == LARGEST ? m.q - 1 : random_below(&g, m.q);
                for (size_t i = 0; i < n; i++) {
                    want.p[i] = define(op, a.p[i], b.p[i], acc.p[i], c, m.q);
                }
                for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                    struct kernels k;
                    k_init(&k, (enum rt_cpu)level);
                    struct what w = {name, k.level, m.q, n, 0, (enum kind)kind, g.seed};
                    struct buffer out = buffer_new(n, odd);
                    call(&k, op, out.p, a.p, b.p, acc.p, c, n, &m);
                    expect(out, want, m.q, w);
                    /* in place, over each input in turn */
                    w.detail = 1;
                    memcpy(out.p, a.p, n * sizeof *a.p);
                    call(&k, op, out.p, out.p, b.p, acc.p, c, n, &m);
                    expect(out, want, m.q, w);
                    w.detail = 2;
                    memcpy(out.p, b.p, n * sizeof *a.p);
                    call(&k, op, out.p, a.p, out.p, acc.p, c, n, &m);
                    expect(out, want, m.q, w);
                    w.detail = 3;
                    memcpy(out.p, acc.p, n * sizeof *a.p);
                    call(&k, op, out.p, a.p, b.p, out.p, c, n, &m);
                    expect(out, want, m.q, w);
                    buffer_free(out);
                }
                buffer_free(a);
                buffer_free(b);
                buffer_free(acc);
                buffer_free(want);
            }
        }
    }
}

Test(kernel, add)
{
    check_pointwise(ADD, "add");
}
Test(kernel, sub)
{
    check_pointwise(SUB, "sub");
}
Test(kernel, neg)
{
    check_pointwise(NEG, "neg");
}
Test(kernel, add_const)
{
    check_pointwise(ADD_CONST, "add_const");
}
Test(kernel, mul)
{
    check_pointwise(MUL, "mul");
}
Test(kernel, mul_add)
{
    check_pointwise(MUL_ADD, "mul_add");
}
Test(kernel, mul_const)
{
    check_pointwise(MUL_CONST, "mul_const");
}
Test(kernel, mul_const_add)
{
    check_pointwise(MUL_CONST_ADD, "mul_const_add");
}
Test(kernel, sub_mul_const)
{
    check_pointwise(SUB_MUL_CONST, "sub_mul_const");
}

/* ---- inner products */

/* out, init, a, b as in the contract; run == false tests mac, else mac_run. */
static void check_mac(bool run)
{
    load_ref();
    struct random g = random_start(run ? 2001 : 2000);
    static const size_t terms_of[] = {1,  2,  3,  4,   5,    8,    15,   16,  17,
                                      31, 33, 64, 200, 4095, 4096, 4097, 9000};
    for (size_t ti = 0; ti < sizeof terms_of / sizeof *terms_of; ti++) {
        size_t terms = terms_of[ti];
        for (int trial = 0; trial < (terms > 1000 ? 12 : 60); trial++) {
            struct modulus m;
            cr_assert(mod_init(&m, moduli[random_below(&g, MODULI)]));
            unsigned log_run = run ? (unsigned)random_below(&g, 8) : 0;
            size_t n = (1 + random_below(&g, terms > 1000 ? 9 : 40)) << log_run;
            enum kind kind = trial % 3 == 0 ? LARGEST : (enum kind)random_below(&g, KINDS);
            size_t a_off = random_below(&g, 9);
            size_t b_off = random_below(&g, 9);
            size_t b_n = b_off + (n >> log_run);
            /* Ten different arrays, used in a random order. */
            struct buffer a[10];
            struct buffer b[10];
            for (int i = 0; i < 10; i++) {
                a[i] = buffer_new(a_off + n, 0);
                b[i] = buffer_new(b_n, i % 2 == 0);
                fill(a[i], m.q, kind, &g);
                fill(b[i], m.q, kind, &g);
            }
            const uint64_t **as = sys_alloc_array(terms, sizeof *as);
            const uint64_t **bs = sys_alloc_array(terms, sizeof *bs);
            cr_assert(as != NULL && bs != NULL);
            for (size_t t = 0; t < terms; t++) {
                as[t] = a[random_below(&g, 10)].p;
                bs[t] = b[random_below(&g, 10)].p;
            }
            struct buffer init = buffer_new(n, 0);
            fill(init, m.q, kind, &g);
            const uint64_t *start = trial % 2 == 0 ? NULL : init.p;
            struct buffer want = buffer_new(n, 0);
            for (size_t i = 0; i < n; i++) {
                uint64_t s = start != NULL ? start[i] : 0;
                for (size_t t = 0; t < terms; t++) {
                    sys_u128 p = (sys_u128)as[t][a_off + i] * bs[t][b_off + (i >> log_run)];
                    s = (uint64_t)((p + s) % m.q);
                }
                want.p[i] = s;
            }
            for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                struct kernels k;
                k_init(&k, (enum rt_cpu)level);
                struct what w = {run ? "mac_run" : "mac", k.level, m.q,   n,
                                 (unsigned)terms,         kind,    g.seed};
                for (int in_place = 0; in_place < 2; in_place++) {
                    struct buffer out = buffer_new(n, random_below(&g, 3));
                    const uint64_t *from = start;
                    if (in_place && start != NULL) {
                        memcpy(out.p, start, n * sizeof *start);
                        from = out.p;
                    }
                    if (run) {
                        k.mac_run(out.p, from, as, bs, terms, a_off, b_off, log_run, n, &m);
                    } else {
                        k.mac(out.p, from, as, bs, terms, a_off, b_off, n, &m);
                    }
                    expect(out, want, m.q, w);
                    buffer_free(out);
                }
            }
            for (int i = 0; i < 10; i++) {
                buffer_free(a[i]);
                buffer_free(b[i]);
            }
            buffer_free(init);
            buffer_free(want);
            sys_free(as);
            sys_free(bs);
        }
    }
}

Test(kernel, mac)
{
    check_mac(false);
}
Test(kernel, mac_run)
{
    check_mac(true);
}

/* ---- change of base */

Test(kernel, bconv)
{
    struct random g = random_start(3000);
    static const size_t ks[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 65, 128, 129};
    for (size_t ki = 0; ki < sizeof ks / sizeof *ks; ki++) {
        for (int trial = 0; trial < 40; trial++) {
            size_t k = ks[ki];
            struct modulus m;
            cr_assert(mod_init(&m, moduli[random_below(&g, MODULI)]));
            size_t n = lengths[random_below(&g, LENGTHS - 2)];
            size_t stride = n + random_below(&g, 5);
            enum kind kind = trial % 3 == 0 ? LARGEST : (enum kind)random_below(&g, KINDS);
            struct buffer x = buffer_new(k * stride, 0);
            struct buffer w = buffer_new(k, 1);
            struct buffer want = buffer_new(n, 0);
            fill(x, UINT64_C(1) << 52, kind, &g);
            fill(w, m.q, kind, &g);
            for (size_t i = 0; i < n; i++) {
                uint64_t s = 0;
                for (size_t j = 0; j < k; j++) {
                    s = (uint64_t)(((sys_u128)x.p[j * stride + i] * w.p[j] + s) % m.q);
                }
                want.p[i] = s;
            }
            for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                struct kernels ks_at;
                k_init(&ks_at, (enum rt_cpu)level);
                struct what what = {"bconv", ks_at.level, m.q, n, (unsigned)k, kind, g.seed};
                struct buffer out = buffer_new(n, random_below(&g, 3));
                ks_at.bconv(out.p, x.p, stride, w.p, k, n, &m);
                expect(out, want, m.q, what);
                buffer_free(out);
            }
            buffer_free(x);
            buffer_free(w);
            buffer_free(want);
        }
    }
}

Test(kernel, bconv_quot)
{
    struct random g = random_start(3100);
    for (int trial = 0; trial < 600; trial++) {
        size_t k = 1 + random_below(&g, trial % 8 == 0 ? 128 : 8);
        size_t n = lengths[random_below(&g, LENGTHS - 2)];
        size_t stride = n + random_below(&g, 5);
        enum kind kind = (enum kind)random_below(&g, KINDS);
        struct buffer x = buffer_new(k * stride, 0);
        struct buffer want = buffer_new(n, 0);
        uint64_t p[128];
        uint64_t f[128];
        unsigned shift[128];
        for (size_t j = 0; j < k; j++) {
            struct modulus m;
            p[j] = moduli[1 + random_below(&g, MODULI - 1)];
            cr_assert(mod_init(&m, p[j]));
            shift[j] = 50 - m.bits;
            f[j] = (uint64_t)(((sys_u128)1 << 101) / (p[j] << shift[j]));
            cr_assert_lt(f[j], UINT64_C(1) << 52);
            struct buffer limb = {NULL, x.p + j * stride, n};
            fill(limb, p[j], kind, &g);
        }
        for (size_t i = 0; i < n; i++) {
            uint64_t s = UINT64_C(1) << 48;
            long double real = 0;
            for (size_t j = 0; j < k; j++) {
                uint64_t v = x.p[j * stride + i];
                s += (uint64_t)(((sys_u128)(v << shift[j]) * f[j]) >> 52);
                real += (long double)v / (long double)p[j];
            }
            want.p[i] = s >> 49;
            /* and it is the rounded sum, unless that is within 2^-40 of a half */
            long double part = real + 0.5L - floorl(real + 0.5L);
            if (part > 0x1p-40L && part < 1 - 0x1p-40L) {
                cr_assert_eq(want.p[i], (uint64_t)(real + 0.5L));
            }
        }
        for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
            struct kernels ks;
            k_init(&ks, (enum rt_cpu)level);
            struct what what = {"bconv_quot", ks.level, 0, n, (unsigned)k, kind, g.seed};
            struct buffer out = buffer_new(n, random_below(&g, 3));
            ks.bconv_quot(out.p, x.p, stride, f, shift, k, n);
            expect(out, want, k + 1, what);
            buffer_free(out);
        }
        buffer_free(x);
        buffer_free(want);
    }
}

Test(kernel, recentre)
{
    struct random g = random_start(3200);
    for (size_t pi = 0; pi < MODULI; pi++) {
        for (size_t mi = 0; mi < MODULI; mi++) {
            struct modulus m;
            cr_assert(mod_init(&m, moduli[mi]));
            uint64_t p = moduli[pi];
            for (size_t li = 0; li < LENGTHS; li++) {
                size_t n = lengths[li];
                struct buffer x = buffer_new(n, 0);
                struct buffer want = buffer_new(n, 0);
                fill(x, p, UNIFORM, &g);
                for (size_t i = 0; i < n && i < 5; i++) {
                    uint64_t corner[5] = {(p - 1) / 2, (p + 1) / 2, p - 1, 0, 1};
                    x.p[i] = corner[i];
                }
                for (size_t i = 0; i < n; i++) {
                    bool negative = x.p[i] > (p - 1) / 2;
                    uint64_t mag = (negative ? p - x.p[i] : x.p[i]) % m.q;
                    want.p[i] = negative ? (m.q - mag) % m.q : mag;
                }
                for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                    struct kernels k;
                    k_init(&k, (enum rt_cpu)level);
                    struct what w = {"recentre", k.level, m.q, n, (unsigned)pi, UNIFORM, g.seed};
                    struct buffer out = buffer_new(n, random_below(&g, 3));
                    k.recentre(out.p, x.p, p, n, &m);
                    expect(out, want, m.q, w);
                    memcpy(out.p, x.p, n * sizeof *x.p);
                    k.recentre(out.p, out.p, p, n, &m);
                    expect(out, want, m.q, w);
                    buffer_free(out);
                }
                buffer_free(x);
                buffer_free(want);
            }
        }
    }
}

/* ---- automorphism */

Test(kernel, gather)
{
    struct random g = random_start(4000);
    for (unsigned log_n = 4; log_n <= 17; log_n++) {
        size_t n = (size_t)1 << log_n;
        struct buffer in = buffer_new(n, log_n % 2);
        fill(in, UINT64_C(1) << 50, UNIFORM, &g);
        for (int trial = 0; trial < 12; trial++) {
            uint64_t e = trial == 0 ? 2 * n - 1 : trial == 1 ? 1 : 2 * random_below(&g, n) + 1;
            size_t first = trial < 3 ? 0 : 8 * random_below(&g, n / 8);
            size_t count = trial < 3 ? n : 8 * (1 + random_below(&g, (n - first) / 8));
            struct buffer want = buffer_new(count, 0);
            for (size_t i = 0; i < count; i++) {
                uint64_t from =
                    (e * (2 * (uint64_t)mod_bitrev((uint32_t)(first + i), log_n) + 1)) % (2 * n);
                want.p[i] = in.p[mod_bitrev((uint32_t)((from - 1) / 2), log_n)];
            }
            for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                struct kernels k;
                k_init(&k, (enum rt_cpu)level);
                struct what w = {"gather", k.level, e, count, log_n, UNIFORM, g.seed};
                struct buffer out = buffer_new(count, random_below(&g, 3));
                k.gather(out.p, in.p, e, log_n, first, count);
                expect(out, want, UINT64_C(1) << 50, w);
                buffer_free(out);
            }
            buffer_free(want);
        }
        buffer_free(in);
    }
}

/* ---- integers and reals */

Test(kernel, from_i64_and_i32)
{
    struct random g = random_start(5000);
    static const int64_t corner[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_MIN + 1, INT32_MIN};
    for (size_t mi = 0; mi < MODULI; mi++) {
        struct modulus m;
        cr_assert(mod_init(&m, moduli[mi]));
        for (size_t li = 0; li < LENGTHS; li++) {
            size_t n = lengths[li];
            int64_t *x = sys_alloc_array(n, sizeof *x);
            int32_t *x32 = sys_alloc_array(n, sizeof *x32);
            cr_assert(x != NULL && x32 != NULL);
            struct buffer want = buffer_new(n, 0);
            struct buffer want32 = buffer_new(n, 0);
            for (size_t i = 0; i < n; i++) {
                uint64_t v = random_next(&g) >> random_below(&g, 63);
                x[i] = i % 8 < 7 && n >= 64 && i < 56 ? corner[i % 8] : (int64_t)v;
                x[i] = random_next(&g) & 1 && x[i] != INT64_MIN ? -x[i] : x[i];
                x32[i] = (int32_t)x[i];
                int64_t r = x[i] % (int64_t)m.q;
                want.p[i] = (uint64_t)(r < 0 ? r + (int64_t)m.q : r);
                r = x32[i] % (int64_t)m.q;
                want32.p[i] = (uint64_t)(r < 0 ? r + (int64_t)m.q : r);
            }
            for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                struct kernels k;
                k_init(&k, (enum rt_cpu)level);
                struct what w = {"from_i64", k.level, m.q, n, 0, UNIFORM, g.seed};
                struct buffer out = buffer_new(n, random_below(&g, 3));
                k.from_i64(out.p, x, n, &m);
                expect(out, want, m.q, w);
                w.kernel = "from_i32";
                k.from_i32(out.p, x32, n, &m);
                expect(out, want32, m.q, w);
                buffer_free(out);
            }
            sys_free(x);
            sys_free(x32);
            buffer_free(want);
            buffer_free(want32);
        }
    }
}

Test(kernel, from_double)
{
    struct random g = random_start(5100);
    load_ref();
    static const double corner[] = {0.5,
                                    1.5,
                                    -0.5,
                                    -2.5,
                                    0x1p50,
                                    -0x1p50,
                                    0x1p51 + 0.5,
                                    -0x1p52,
                                    0x1p63,
                                    0x1p64,
                                    -0x1.fffffffffffffp99,
                                    0x1.fffffffffffffp99,
                                    -0x1p99,
                                    1e-300,
                                    0x1.fffffffffffffp49};
    size_t corners = sizeof corner / sizeof *corner;
    for (size_t mi = 0; mi < MODULI; mi++) {
        struct modulus m;
        cr_assert(mod_init(&m, moduli[mi]));
        for (size_t li = 0; li < LENGTHS; li++) {
            size_t n = lengths[li];
            double *x = sys_alloc_array(n, sizeof *x);
            cr_assert_not_null(x);
            for (size_t i = 0; i < n; i++) {
                double v = (double)(random_next(&g) >> 11);
                v = ldexp(v, (int)random_below(&g, 106) - 59);
                x[i] = n > 2 * corners && i % 2 == 0 && i / 2 < corners ? corner[i / 2] : v;
                x[i] = random_next(&g) & 1 ? -x[i] : x[i];
            }
            struct buffer want = buffer_new(n, 0);
            ref.from_double(want.p, x, n, &m); /* itself checked in tests/property/ring.c */
            for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                struct kernels k;
                k_init(&k, (enum rt_cpu)level);
                struct what w = {"from_double", k.level, m.q, n, 0, UNIFORM, g.seed};
                struct buffer out = buffer_new(n, random_below(&g, 3));
                k.from_double(out.p, x, n, &m);
                expect(out, want, m.q, w);
                buffer_free(out);
            }
            sys_free(x);
            buffer_free(want);
        }
    }
}

/* ---- transforms */

static void check_transform(const struct ring *r, size_t prime, unsigned log_m, struct random *g)
{
    const struct ntt_table *t = &r->ntt[prime];
    uint64_t q = t->mod.q;
    size_t n = (size_t)1 << log_m;
    struct buffer in = buffer_new(n, 0);
    struct buffer odd_in = buffer_new(n, 1);
    struct buffer want = buffer_new(n, 0);
    struct buffer want_inverse = buffer_new(n, 0);
    int32_t *narrow = sys_alloc_array(n, sizeof *narrow);
    struct buffer want_narrow = buffer_new(n, 0);
    cr_assert_not_null(narrow);
    for (size_t i = 0; i < n; i++) { /* the corners come often */
        int32_t x = (int32_t)(uint32_t)random_next(g);
        unsigned pick = (unsigned)random_below(g, 6);
        narrow[i] = pick == 0 ? INT32_MIN : pick == 1 ? INT32_MAX : pick == 2 ? x >> 20 : x;
    }
    ref.ntt_i32(want_narrow.p, narrow, t, log_m);
    for (int kind = ZERO; kind < KINDS; kind++) {
        uint64_t c = kind == LARGEST ? q - 1 : random_below(g, q);
        struct buffer in2 = odd_in;
        fill(in, 4 * q, (enum kind)kind, g);
        fill(in2, 2 * q, (enum kind)kind, g);
        ref.ntt(want.p, in.p, t, log_m);
        ref.intt(want_inverse.p, in2.p, t, log_m, c);
        for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
            struct kernels k;
            k_init(&k, (enum rt_cpu)level);
            struct what w = {"ntt", k.level, q, n, r->log_n, (enum kind)kind, g->seed};
            struct buffer out = buffer_new(n, (size_t)kind % 2);
            k.ntt(out.p, in.p, t, log_m);
            expect(out, want, q, w);
            memcpy(out.p, in.p, n * sizeof *in.p);
            k.ntt(out.p, out.p, t, log_m);
            expect(out, want, q, w);
            w.kernel = "ntt_i32";
            k.ntt_i32(out.p, narrow, t, log_m);
            expect(out, want_narrow, q, w);
            w.kernel = "intt";
            k.intt(out.p, in2.p, t, log_m, c);
            expect(out, want_inverse, q, w);
            memcpy(out.p, in2.p, n * sizeof *in.p);
            k.intt(out.p, out.p, t, log_m, c);
            expect(out, want_inverse, q, w);
            buffer_free(out);
        }
    }
    buffer_free(in);
    buffer_free(odd_in);
    buffer_free(want);
    buffer_free(want_inverse);
    buffer_free(want_narrow);
    sys_free(narrow);
}

Test(kernel, ntt_and_intt)
{
    load_ref();
    struct random g = random_start(6000);
    for (unsigned log_n = 4; log_n <= 17; log_n++) {
        uint64_t prime[8];
        unsigned count = 0;
        static const unsigned bits[] = {50, 49, 48, 46, 40, 32, 30};
        for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
            prime[count++] = prime_below(UINT64_C(1) << bits[i], log_n);
        }
        prime[count++] = prime_above(0, log_n); /* the smallest of all */
        struct ring *r = NULL;
        cr_assert_eq(ring_create(&r, log_n, prime, count, NULL, 0), RING_OK);
        for (size_t p = 0; p < count; p++) {
            check_transform(r, p, log_n, &g);
        }
        for (unsigned log_m = 1; log_m < log_n && log_n <= 13; log_m++) {
            check_transform(r, random_below(&g, count), log_m, &g);
        }
        ring_free(r);
    }
}

/* ---- the choice of variants */

Test(cpu, levels_and_limits)
{
    enum rt_cpu best = sys_cpu_detect();
    for (int level = (int)best + 1; level <= (int)RT_CPU_AVX512IFMA; level++) {
        printf("not tested: this machine has no %s\n", sys_cpu_name((enum rt_cpu)level));
    }
    struct kernels k;
    k_init(&k, RT_CPU_AVX512IFMA);
    cr_assert_eq(k.level, best);
    /* every pointer is set at every level */
    for (int level = 0; level <= (int)best; level++) {
        memset(&k, 0, sizeof k);
        k_init(&k, (enum rt_cpu)level);
        cr_assert_eq((int)k.level, level);
        cr_assert(k.ntt && k.intt && k.add && k.sub && k.neg && k.add_const && k.mul && k.mul_add &&
                  k.mul_const && k.mul_const_add && k.sub_mul_const && k.mac && k.mac_run &&
                  k.mac_many && k.bconv && k.bconv_quot && k.recentre && k.gather && k.from_i64 &&
                  k.from_i32 && k.ntt_i32 && k.from_double);
    }
    unsetenv("WEFT_CPU");
    cr_assert_eq(sys_cpu_level(), best);
    setenv("WEFT_CPU", "portable", 1);
    cr_assert_eq(sys_cpu_level(), RT_CPU_PORTABLE);
    setenv("WEFT_CPU", "no such level", 1);
    cr_assert_eq(sys_cpu_level(), best);
    sys_cpu_limit(RT_CPU_PORTABLE);
    cr_assert_eq(sys_cpu_level(), RT_CPU_PORTABLE);
    sys_cpu_limit(RT_CPU_AVX512IFMA);
    cr_assert_eq(sys_cpu_level(), best);
}

/* Blocks from here on lie on huge pages; under a sanitizer all are malloc's. */
#if defined(__SANITIZE_ADDRESS__)
#define HUGE_BLOCK SIZE_MAX
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HUGE_BLOCK SIZE_MAX
#endif
#endif
#ifndef HUGE_BLOCK
#define HUGE_BLOCK ((size_t)2 << 20)
#endif

Test(sys, memory_is_aligned_and_zero)
{
    static const size_t sizes[] = {1, 63, 64, 65, 4096, (2u << 20) - 1, 2u << 20, (4u << 20) + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *p = sys_alloc(sizes[i]);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % (sizes[i] >= HUGE_BLOCK ? HUGE_BLOCK : 64), 0);
        for (size_t c = 0; c < sizes[i]; c++) {
            cr_assert_eq(p[c], 0);
            p[c] = 1;
        }
        sys_wipe(p, sizes[i]);
        cr_assert(p[0] == 0 && p[sizes[i] - 1] == 0);
        sys_free(p);
    }
    cr_assert_null(sys_alloc(0));
    cr_assert_null(sys_alloc(SIZE_MAX));
    cr_assert_null(sys_alloc_array(SIZE_MAX / 2, 3));
    sys_free(NULL);
    sys_wipe(NULL, 0);
}

Test(sys, expansion_is_seekable)
{
    uint8_t seed[SYS_SEED_BYTES] = {0};
    uint8_t whole[640];
    uint8_t part[130];
    sys_expand(whole, sizeof whole, seed, 0, 0);
    /* the key stream of ChaCha20 for the zero key and nonce starts 76 b8 e0 ad */
    cr_assert(whole[0] == 0x76 && whole[1] == 0xb8 && whole[2] == 0xe0 && whole[3] == 0xad);
    sys_expand(part, sizeof part, seed, 0, 3);
    cr_assert_eq(memcmp(part, whole + 192, sizeof part), 0);
    sys_expand(part, sizeof part, seed, 1, 3);
    cr_assert_neq(memcmp(part, whole + 192, sizeof part), 0);
    cr_assert(sys_random_init());
    sys_random(part, 32);
    sys_random(part + 32, 32);
    cr_assert_neq(memcmp(part, part + 32, 32), 0);
    cr_assert_geq(sys_threads(), 1);
}
