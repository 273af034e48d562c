/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The kernels on reals and the samplers at every CPU level of this machine: the special FFT against
 * a recursive one in long double, within the error that kernel.h states, and equal on all levels;
 * the others equal to ref. Buffers stand between guard words. SEED=n gives other numbers.
 */
#include "core/core.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define GUARD     8u
#define MAGIC     UINT64_C(0x5ca1ab1e0ddba11)
#define LOG_SLOTS (K_MAX_LOG_N - 1u)

/* n words between guards, at an address that is a multiple of 64 plus 8 odd. */
struct buffer {
    uint64_t *base, *p;
    size_t n;
};

static struct buffer buffer_new(size_t n, size_t odd)
{
    struct buffer b = {sys_alloc_array(n + 2 * GUARD + odd, sizeof *b.base), NULL, n};
    cr_assert_not_null(b.base);
    b.p = b.base + GUARD + odd;
    for (size_t i = 0; i < GUARD; i++) {
        b.p[-1 - (long)i] = b.p[n + i] = MAGIC;
    }
    return b;
}

static void buffer_free(struct buffer b, const char *kernel, enum rt_cpu level)
{
    for (size_t i = 0; i < GUARD; i++) {
        cr_assert(b.p[-1 - (long)i] == MAGIC && b.p[b.n + i] == MAGIC,
                  "%s %s n=%zu wrote outside its output", kernel, sys_cpu_name(level), b.n);
    }
    sys_free(b.base);
}

/* ---- the special FFT */

static struct core_ctx *roots_open(void)
{
    static struct core_ctx c;
    uint64_t q = prime_below(UINT64_C(1) << 50, K_MAX_LOG_N);
    cr_assert_eq(ring_create(&c.ring, K_MAX_LOG_N, &q, 1, NULL, 0), RING_OK);
    cr_assert(core_embed_init(&c));
    return &c;
}

static void roots_close(struct core_ctx *c)
{
    ring_free(c->ring);
    sys_free(c->embed_re);
    sys_free(c->embed_im);
}

struct complex_l {
    long double re, im;
};

/* z_j = sum_k u_k xi^(5^j k) by halves: even and odd k, as in core/embed.c. Roots in long double. */
static void oracle(struct complex_l *z, const double *re, const double *im, size_t step, size_t p)
{
    if (p == 1) {
        z[0] = (struct complex_l){re[0], im[0]};
        return;
    }
    size_t h = p / 2;
    oracle(z, re, im, 2 * step, h);
    oracle(z + h, re + step, im + step, 2 * step, h);
    uint64_t power = 1;
    for (size_t j = 0; j < h; j++) {
        long double angle = 2 * acosl(-1.0L) * (long double)power / (long double)(4 * p);
        long double c = cosl(angle), s = sinl(angle);
        struct complex_l e = z[j], o = z[h + j];
        struct complex_l t = {c * o.re - s * o.im, c * o.im + s * o.re};
        z[j] = (struct complex_l){e.re + t.re, e.im + t.im};
        z[h + j] = (struct complex_l){e.re - t.re, e.im - t.im};
        power = power * 5 % (4 * p);
    }
}

/* Random numbers of very different sizes, or one entry alone. */
static void fill(double *x, size_t n, int kind, struct random *g)
{
    for (size_t i = 0; i < n; i++) {
        double u = (double)(int64_t)random_next(g) * 0x1p-63;
        x[i] = kind == 0 ? u : kind == 1 ? ldexp(u, (int)random_below(g, 60) - 30) : 0.0;
    }
    if (kind == 2) {
        x[random_below(g, n)] = 1.0;
    }
}

static long double distance(const double *re, const double *im, const struct complex_l *z, size_t p,
                            long double *norm)
{
    long double d = 0;
    *norm = 0;
    for (size_t j = 0; j < p; j++) {
        long double x = (long double)re[j] - z[j].re, y = (long double)im[j] - z[j].im;
        d += x * x + y * y;
        *norm += z[j].re * z[j].re + z[j].im * z[j].im;
    }
    *norm = sqrtl(*norm);
    return sqrtl(d);
}

Test(fft, error_is_the_stated_one_at_every_level)
{
    struct core_ctx *c = roots_open();
    struct random g = random_start(2000);
    size_t most = (size_t)1 << LOG_SLOTS;
    struct complex_l *want = sys_alloc_array(most, sizeof *want);
    double *input = sys_alloc_array(2 * most, sizeof *input);
    cr_assert(want != NULL && input != NULL);
    for (unsigned log_p = 0; log_p <= LOG_SLOTS; log_p++) {
        size_t p = (size_t)1 << log_p;
        long double bound = (long double)log_p * 0x1p-51L;
        for (int kind = 0; kind < (log_p < 13 ? 3 : 1); kind++) {
            fill(input, 2 * p, kind, &g);
            oracle(want, input, input + p, 1, p);
            for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
                struct kernels k;
                k_init(&k, (enum rt_cpu)level);
                struct buffer b = buffer_new(2 * p, random_below(&g, 2));
                double *z = (double *)(void *)b.p;
                memcpy(z, input, 2 * p * sizeof *z);
                k.embed(z, z + p, c->embed_re, c->embed_im, log_p);
                long double norm;
                long double error = distance(z, z + p, want, p, &norm);
                cr_assert_leq(error, bound * norm, "embed %s p=%zu kind %d SEED=%llu: %Lg of %Lg",
                              sys_cpu_name(k.level), p, kind, (unsigned long long)g.seed, error,
                              norm);
                /* back from the rounded numbers: their distance, and as much again */
                k.unembed(z, z + p, c->embed_re, c->embed_im, log_p, 1.0 / (double)p);
                long double back = 0, size = 0;
                for (size_t i = 0; i < 2 * p; i++) {
                    long double d = (long double)z[i] - input[i];
                    back += d * d;
                    size += (long double)input[i] * input[i];
                }
                cr_assert_leq(sqrtl(back), 2 * bound * sqrtl(size),
                              "unembed %s p=%zu kind %d SEED=%llu: %Lg of %Lg",
                              sys_cpu_name(k.level), p, kind, (unsigned long long)g.seed,
                              sqrtl(back), sqrtl(size));
                buffer_free(b, "embed", k.level);
            }
        }
    }
    sys_free(want);
    sys_free(input);
    roots_close(c);
}

/* Equal numbers, at aligned and odd addresses, with a factor that is no power of two. */
Test(fft, levels_agree_in_every_bit)
{
    struct core_ctx *c = roots_open();
    struct random g = random_start(2001);
    struct kernels ref;
    k_init(&ref, RT_CPU_PORTABLE);
    for (unsigned log_p = 0; log_p <= LOG_SLOTS; log_p++) {
        size_t p = (size_t)1 << log_p;
        struct buffer want = buffer_new(2 * p, 0);
        double *x = (double *)(void *)want.p;
        for (int trial = 0; trial < 4; trial++) {
            for (int level = 1; level <= (int)sys_cpu_detect(); level++) {
                struct kernels k;
                k_init(&k, (enum rt_cpu)level);
                struct buffer got = buffer_new(2 * p, random_below(&g, 2));
                double *y = (double *)(void *)got.p;
                fill(x, 2 * p, trial % 2, &g);
                memcpy(y, x, 2 * p * sizeof *y);
                if (trial < 2) {
                    ref.embed(x, x + p, c->embed_re, c->embed_im, log_p);
                    k.embed(y, y + p, c->embed_re, c->embed_im, log_p);
                } else {
                    ref.unembed(x, x + p, c->embed_re, c->embed_im, log_p, 0x1.3p40);
                    k.unembed(y, y + p, c->embed_re, c->embed_im, log_p, 0x1.3p40);
                }
                for (size_t i = 0; i < 2 * p; i++) {
                    cr_assert(x[i] == y[i], "%s p=%zu trial %d SEED=%llu: entry %zu is %a, not %a",
                              sys_cpu_name(k.level), p, trial, (unsigned long long)g.seed, i, y[i],
                              x[i]);
                }
                buffer_free(got, "embed", k.level);
            }
        }
        buffer_free(want, "embed", RT_CPU_PORTABLE);
    }
    roots_close(c);
}

/* What two_steps relies on: root[2h + h + j] = -i root[2h + j] to the last bit. */
Test(fft, quarter_turns_are_exact)
{
    struct core_ctx *c = roots_open();
    for (size_t h = 2; 2 * h < (size_t)1 << LOG_SLOTS; h *= 2) {
        for (size_t j = 0; j < h; j++) {
            size_t a = 2 * h + j, b = a + h;
            cr_assert(c->embed_re[b] == c->embed_im[a] && c->embed_im[b] == -c->embed_re[a],
                      "h=%zu j=%zu", h, j);
        }
    }
    roots_close(c);
}

Test(fft, largest)
{
    static const double special[] = {0.0,      -0.0, 0x1p-1074, 1.5, -3e300, 0x1.fffffffffffffp1023,
                                     INFINITY, NAN,  -INFINITY, -NAN};
    struct random g = random_start(2002);
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        for (size_t n = 1; n <= 70; n++) {
            struct buffer b = buffer_new(n, n % 2);
            double *x = (double *)(void *)b.p;
            for (size_t s = 0; s < sizeof special / sizeof *special; s++) {
                fill(x, n, 0, &g);
                x[random_below(&g, n)] = special[s];
                double want = 0;
                for (size_t i = 0; i < n; i++) {
                    want = isfinite(x[i]) ? fmax(want, fabs(x[i])) : INFINITY;
                    if (isinf(want)) {
                        break;
                    }
                }
                cr_assert_eq(k.largest(x, n), want, "%s n=%zu special %zu: %g, not %g",
                             sys_cpu_name(k.level), n, s, k.largest(x, n), want);
            }
            buffer_free(b, "largest", k.level);
        }
    }
}

/* Halves, both sides of the ranges that are treated apart, and the ends of what is allowed. */
Test(fft, from_double_at_the_edges)
{
    static const double edge[] = {0.5,
                                  1.5,
                                  2.5,
                                  0x1p49,
                                  0x1p50,
                                  0x1p51,
                                  3e15,
                                  0x1.8p50,
                                  0x1p52 - 0.5,
                                  0x1p52 - 1.5,
                                  0x1p52,
                                  1e20,
                                  0x1p99 + 0x1p60,
                                  0x1.fffffffffffffp99};
    static const uint64_t moduli[] = {3, 97, (UINT64_C(1) << 40) + 15, (UINT64_C(1) << 50) - 27};
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        for (size_t i = 0; i < 2 * sizeof edge / sizeof *edge * 4; i++) {
            struct modulus m;
            cr_assert(mod_init(&m, moduli[i % 4]));
            double x[11];
            uint64_t out[11];
            for (size_t v = 0; v < 11; v++) { /* both the vector and its rest */
                x[v] = (i / 4 % 2 == 0 ? 1 : -1) * edge[i / 8];
            }
            k.from_double(out, x, 11, &m);
            double y = rint(fabs(x[0]));
            int e;
            uint64_t digits = (uint64_t)ldexp(frexp(y, &e), 53);
            e -= 53;
            sys_u128 whole = e >= 0 ? (sys_u128)digits << e : (sys_u128)digits >> -e;
            uint64_t want = (uint64_t)(whole % m.q);
            want = x[0] < 0 ? (m.q - want) % m.q : want;
            for (size_t v = 0; v < 11; v++) {
                cr_assert_eq(out[v], want, "%s: %a mod %llu is %llu, not %llu",
                             sys_cpu_name(k.level), x[v], (unsigned long long)m.q,
                             (unsigned long long)out[v], (unsigned long long)want);
            }
        }
    }
}

/* ---- random words and samples */

Test(draw, expand_is_sys_expand)
{
    static const uint64_t start[] = {0, 1, 5, 0xfffffff0u, UINT64_C(1) << 40, UINT64_MAX - 80};
    struct random g = random_start(2003);
    uint8_t seed[SYS_SEED_BYTES];
    cr_assert(sys_random_init());
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        for (size_t n = 0; n <= 70; n++) {
            for (size_t i = 0; i < sizeof seed; i++) {
                seed[i] = (uint8_t)random_next(&g);
            }
            uint64_t stream = random_next(&g) >> (n % 2 * 40);
            uint64_t block = start[n % (sizeof start / sizeof *start)];
            struct buffer b = buffer_new(8 * n, n % 3 % 2);
            uint8_t want[64 * 70 + 1];
            sys_expand(want, 64 * n, seed, stream, block);
            k.expand(b.p, n, seed, stream, block);
            for (size_t i = 0; i < 64 * n; i++) {
                cr_assert_eq((uint8_t)(b.p[i / 8] >> (i % 8 * 8)), want[i],
                             "%s n=%zu SEED=%llu: byte %zu", sys_cpu_name(k.level), n,
                             (unsigned long long)g.seed, i);
            }
            buffer_free(b, "expand", k.level);
        }
    }
}

Test(draw, keep_below_keeps_order_and_room)
{
    struct random g = random_start(2004);
    static uint64_t words[300], want[300];
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        for (int trial = 0; trial < 3000; trial++) {
            unsigned bits = 2 + (unsigned)random_below(&g, 49);
            uint64_t mask = (UINT64_C(1) << bits) - 1;
            uint64_t q = trial % 3 == 0   ? mask
                         : trial % 3 == 1 ? mask / 2 + 2
                                          : mask / 2 + 1 + random_below(&g, mask / 2 + 1);
            size_t n = random_below(&g, 300);
            size_t room = trial % 2 == 0 ? random_below(&g, 40) : n + random_below(&g, 40);
            size_t count = 0;
            for (size_t i = 0; i < n; i++) {
                uint64_t near = q - 2 + random_below(&g, 4); /* and high bits to be masked */
                words[i] = i % 4 == 0 ? (near & mask) | ~mask : random_next(&g);
                if ((words[i] & mask) < q && count < room) {
                    want[count++] = words[i] & mask;
                }
            }
            struct buffer b = buffer_new(room, (size_t)trial % 2);
            cr_assert_eq(k.keep_below(b.p, room, words, n, mask, q), count);
            for (size_t i = 0; i < count; i++) {
                cr_assert_eq(b.p[i], want[i], "%s q=%llu n=%zu room=%zu SEED=%llu: word %zu",
                             sys_cpu_name(k.level), (unsigned long long)q, n, room,
                             (unsigned long long)g.seed, i);
            }
            buffer_free(b, "keep_below", k.level);
        }
    }
}

/* Words at, below and above every step of the Gaussian's table, odd and even. */
Test(draw, inverse_cdf_counts_steps)
{
    struct random g = random_start(2005);
    uint64_t below[RING_GAUSS_MAX], words[200];
    for (unsigned k = 0; k < RING_GAUSS_MAX; k++) {
        below[k] = ring_gaussian_table(k);
    }
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct kernels k;
        k_init(&k, (enum rt_cpu)level);
        for (size_t n = 1; n <= 200; n++) {
            for (size_t i = 0; i < n; i++) {
                uint64_t step = below[random_below(&g, RING_GAUSS_MAX)] - 2 + random_below(&g, 5);
                words[i] = i % 3 == 0    ? random_next(&g)
                           : i % 31 == 1 ? 0 - (uint64_t)(i % 2)
                                         : step;
            }
            struct buffer b = buffer_new(n, n % 2);
            k.inverse_cdf((int64_t *)(void *)b.p, words, n, below, RING_GAUSS_MAX);
            for (size_t i = 0; i < n; i++) {
                int64_t want = 0;
                for (unsigned s = 0; s < RING_GAUSS_MAX; s++) {
                    want += words[i] >= below[s];
                }
                want = words[i] % 2 == 1 ? -want : want;
                cr_assert_eq((int64_t)b.p[i], want, "%s n=%zu SEED=%llu: word %llx gives %lld",
                             sys_cpu_name(k.level), n, (unsigned long long)g.seed,
                             (unsigned long long)words[i], (long long)(int64_t)b.p[i]);
            }
            buffer_free(b, "inverse_cdf", k.level);
        }
    }
}
