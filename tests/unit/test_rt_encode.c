/* SPDX-License-Identifier: Apache-2.0 */
/* The embedding against its definition, encoding in subrings, exact decoding against FLINT. */
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <flint/fmpz.h>
#include <flint/fmpz_poly.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct kit_shape toy = {.log_n = 10,
                                     .q_bits = {50, 40, 40, 36},
                                     .p_bits = {50},
                                     .alpha = 1,
                                     .insecure = 1,
                                     .n = 512,
                                     .num_in = 1,
                                     .num_out = 1,
                                     .input_level = 3,
                                     .input_scale = 0x1p40};

struct bench {
    struct kit kit;
    struct core_ctx *ctx;
};

static void bench_open(struct bench *b)
{
    struct rt_error err;
    kit_make(&b->kit, &toy);
    cr_assert_eq(core_ctx_open(&b->ctx, &b->kit.model, &err), RT_OK, "%s", err.text);
}

static void bench_close(struct bench *b)
{
    core_ctx_close(b->ctx);
    kit_drop(&b->kit);
}

/* z_j = sum_k c_k xi^(5^j k), in long double, with the exponent reduced exactly. */
static void embed_naive(const double *c, unsigned log_p, size_t j, long double *re, long double *im)
{
    size_t p = (size_t)1 << log_p;
    uint64_t power = 1;
    for (size_t i = 0; i < j; i++) {
        power = power * 5 % (4 * p);
    }
    *re = *im = 0;
    for (size_t k = 0; k < 2 * p; k++) {
        uint64_t e = power * k % (4 * p);
        long double angle = 2 * acosl(-1.0L) * (long double)e / (long double)(4 * p);
        *re += (long double)c[k] * cosl(angle);
        *im += (long double)c[k] * sinl(angle);
    }
}

Test(encode, embedding_is_its_definition)
{
    struct bench b;
    bench_open(&b);
    uint64_t rng = kit_seed();
    double c[1024], z[1024];
    for (unsigned log_p = 0; log_p <= 9; log_p++) {
        size_t p = (size_t)1 << log_p;
        for (size_t i = 0; i < 2 * p; i++) {
            z[i] = c[i] = kit_uniform(&rng, -1, 1);
        }
        core_embed(b.ctx, z, z + p, log_p);
        for (size_t j = 0; j < p; j++) {
            long double re, im;
            embed_naive(c, log_p, j, &re, &im);
            cr_assert_lt(fabsl(re - z[j]), 1e-13L, "p %zu slot %zu real", p, j);
            cr_assert_lt(fabsl(im - z[p + j]), 1e-13L, "p %zu slot %zu imaginary", p, j);
        }
        core_unembed(b.ctx, z, z + p, log_p);
        for (size_t i = 0; i < 2 * p; i++) {
            cr_assert_lt(fabs(z[i] - c[i]), 1e-14, "p %zu coefficient %zu", p, i);
        }
    }
    bench_close(&b);
}

/* Encodes to the full ring, back to coefficient form. */
static void encode_full(struct bench *b, uint64_t *out, const double *re, const double *im,
                        unsigned log_p, double scale, unsigned level)
{
    struct ring_basis basis = {level, 0};
    struct rt_error err;
    double *work = malloc(1024 * sizeof *work);
    uint64_t *small = sys_alloc(ring_words(b->ctx->ring, basis) * 8);
    enum rt_status s =
        core_encode(b->ctx, small, re, im, log_p, scale, basis, work, "vector", &err);
    cr_assert_eq(s, RT_OK, "%s", err.text);
    ring_expand_sub(b->ctx->ring, out, small, log_p + 1, basis);
    sys_free(small);
    free(work);
}

Test(encode, round_trip)
{
    struct bench b;
    bench_open(&b);
    const struct ring *r = b.ctx->ring;
    uint64_t rng = kit_seed();
    uint64_t *x = sys_alloc(4 * r->n * 8);
    double re[512], im[512], got_re[512], got_im[512];
    for (unsigned log_p = 0; log_p <= 9; log_p++) {
        for (unsigned level = 0; level < 4; level++) {
            for (int e = -20; e <= 60; e += 20) { /* values of 2^e at scale 2^30 */
                double size = ldexp(1, e);
                size_t p = (size_t)1 << log_p;
                if (e + 30 + (int)log_p / 2 + 2 > (int)b.ctx->log2_q[level] || e > 58) {
                    continue;
                }
                for (size_t i = 0; i < p; i++) {
                    re[i] = kit_uniform(&rng, -size, size);
                    im[i] = kit_uniform(&rng, -size, size);
                }
                encode_full(&b, x, re, im, log_p, 0x1p30, level);
                ring_intt(r, x, x, (struct ring_basis){level, 0});
                core_decode(b.ctx, got_re, got_im, x, level, 0x1p30, log_p);
                /* rounding: at most half a unit in each of 2p coefficients; doubles: 2^-50 */
                double most = (double)p * 0x1p-30 + size * 0x1p-48 * (double)(log_p + 1);
                for (size_t i = 0; i < p; i++) {
                    cr_assert_lt(fabs(got_re[i] - re[i]), most, "p %zu level %u 2^%d: %g", p, level,
                                 e, got_re[i] - re[i]);
                    cr_assert_lt(fabs(got_im[i] - im[i]), most);
                }
            }
        }
    }
    sys_free(x);
    bench_close(&b);
}

/* No operation of the encoder is fused or reordered, so the CPU does not show in a plaintext. */
Test(encode, same_words_on_every_cpu)
{
    uint64_t rng = kit_seed();
    double re[512], im[512];
    uint64_t *want = sys_alloc(8 * 1024 * 8), *got = sys_alloc(8 * 1024 * 8);
    cr_assert(want != NULL && got != NULL);
    for (size_t i = 0; i < 512; i++) {
        re[i] = kit_uniform(&rng, -4, 4);
        im[i] = kit_uniform(&rng, -4, 4);
    }
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct bench b;
        sys_cpu_limit((enum rt_cpu)level);
        bench_open(&b);
        cr_assert_eq((int)b.ctx->ring->k.level, level);
        for (unsigned log_p = 0; log_p <= 9; log_p++) {
            size_t words = (size_t)8 << log_p; /* of the first in want, after those before it */
            uint64_t *to = level == 0 ? want : got;
            struct rt_error err;
            double work[1024];
            enum rt_status s = core_encode(b.ctx, to + words - 8, re, log_p % 2 ? im : NULL, log_p,
                                           0x1p90, (struct ring_basis){3, 0}, work, "v", &err);
            cr_assert_eq(s, RT_OK, "%s", err.text);
            cr_assert_eq(memcmp(to + words - 8, want + words - 8, words * 8), 0,
                         "level %d, period %zu", level, (size_t)1 << log_p);
        }
        bench_close(&b);
    }
    sys_free(want);
    sys_free(got);
}

/* A periodic vector is the same polynomial whether its period is told or not. */
Test(encode, subring_equals_full)
{
    struct bench b;
    bench_open(&b);
    const struct ring *r = b.ctx->ring;
    uint64_t rng = kit_seed();
    struct ring_basis basis = {3, 0};
    uint64_t *x = sys_alloc(4 * r->n * 8), *y = sys_alloc(4 * r->n * 8);
    double v[512];
    for (unsigned log_p = 0; log_p < 9; log_p++) {
        size_t p = (size_t)1 << log_p;
        for (size_t i = 0; i < 512; i++) {
            v[i] = i < p ? kit_uniform(&rng, -8, 8) : v[i - p];
        }
        encode_full(&b, x, v, NULL, log_p, 0x1p40, 3);
        encode_full(&b, y, v, NULL, 9, 0x1p40, 3);
        ring_intt(r, x, x, basis);
        ring_intt(r, y, y, basis);
        for (size_t limb = 0; limb < 4; limb++) {
            uint64_t q = r->ntt[limb].mod.q;
            for (size_t i = 0; i < r->n; i++) {
                uint64_t d = (x[limb * r->n + i] + q - y[limb * r->n + i]) % q;
                /* the two transforms may round a tie differently */
                cr_assert(d <= 1 || d == q - 1, "period %zu coefficient %zu", p, i);
                if (i % (r->n / (2 * p)) != 0) {
                    cr_assert_eq(x[limb * r->n + i], 0);
                    cr_assert(d == 0, "coefficient %zu should vanish", i);
                }
            }
        }
    }
    sys_free(x);
    sys_free(y);
    bench_close(&b);
}

/* Random residues are random integers below Q: decode must read them as FLINT's CRT does. */
Test(encode, decode_is_exact)
{
    struct bench b;
    bench_open(&b);
    const struct ring *r = b.ctx->ring;
    uint64_t rng = kit_seed();
    uint64_t *x = sys_alloc(4 * r->n * 8);
    double re[1], im[1];
    fmpz_t a, m;
    fmpz_init(a);
    fmpz_init(m);
    for (int trial = 0; trial < 2000; trial++) {
        unsigned level = (unsigned)trial % 4;
        fmpz_set_ui(a, 0);
        fmpz_set_ui(m, 1);
        for (unsigned i = 0; i <= level; i++) {
            uint64_t q = r->ntt[i].mod.q;
            uint64_t pick = kit_random(&rng) % 4;
            uint64_t v = pick == 0   ? q / 2
                         : pick == 1 ? q / 2 + 1
                         : pick == 2 ? kit_random(&rng) % 3 % q
                                     : kit_random(&rng) % q;
            x[i * r->n] = v;
            fmpz_CRT_ui(a, a, m, v, q, 1); /* in (-m q/2, m q/2] */
            fmpz_mul_ui(m, m, q);
        }
        core_decode(b.ctx, re, im, x, level, 1.0, 0);
        double want = fmpz_get_d(a); /* truncated, so one ulp */
        cr_assert_leq(fabs(re[0] - want), fabs(want) * 0x1p-50, "%.17g, want %.17g", re[0], want);
        if (fmpz_bits(a) <= 53) {
            cr_assert_eq(re[0], want, "%.17g, want %.17g", re[0], want);
        }
    }
    fmpz_clear(a);
    fmpz_clear(m);
    sys_free(x);
    bench_close(&b);
}

/* The exact product of two encodings modulo X^N + 1 (FLINT) is the encoding of the slots' products.
 */
Test(encode, products_of_slots)
{
    struct bench b;
    bench_open(&b);
    const struct ring *r = b.ctx->ring;
    uint64_t rng = kit_seed();
    struct ring_basis basis = {3, 0};
    uint64_t *x = sys_alloc(4 * r->n * 8), *y = sys_alloc(4 * r->n * 8);
    double u[512], v[512], re[512], im[512];
    for (size_t i = 0; i < 512; i++) {
        u[i] = kit_uniform(&rng, -1, 1);
        v[i] = kit_uniform(&rng, -1, 1);
    }
    encode_full(&b, x, u, NULL, 9, 0x1p30, 3);
    encode_full(&b, y, v, NULL, 9, 0x1p30, 3);
    ring_intt(r, x, x, basis);
    ring_intt(r, y, y, basis);
    fmpz_poly_t f, g;
    fmpz_poly_init(f);
    fmpz_poly_init(g);
    uint64_t q = r->ntt[0].mod.q; /* |coefficient| < 2^40 < q_0 / 2 */
    for (size_t i = 0; i < r->n; i++) {
        fmpz_poly_set_coeff_si(f, (slong)i, (slong)(x[i] > q / 2 ? x[i] - q : x[i]));
        fmpz_poly_set_coeff_si(g, (slong)i, (slong)(y[i] > q / 2 ? y[i] - q : y[i]));
    }
    fmpz_poly_mul(f, f, g);
    fmpz_t low, high;
    fmpz_init(low);
    fmpz_init(high);
    for (size_t i = 0; i < r->n; i++) {
        fmpz_poly_get_coeff_fmpz(low, f, (slong)i);
        fmpz_poly_get_coeff_fmpz(high, f, (slong)(i + r->n));
        fmpz_sub(low, low, high);
        for (size_t limb = 0; limb < 4; limb++) {
            x[limb * r->n + i] = fmpz_fdiv_ui(low, r->ntt[limb].mod.q);
        }
    }
    core_decode(b.ctx, re, im, x, 3, 0x1p60, 9);
    for (size_t i = 0; i < 512; i++) {
        cr_assert_lt(fabs(re[i] - u[i] * v[i]), 1e-6, "slot %zu: %g", i, re[i] - u[i] * v[i]);
        cr_assert_lt(fabs(im[i]), 1e-6);
    }
    fmpz_clear(low);
    fmpz_clear(high);
    fmpz_poly_clear(f);
    fmpz_poly_clear(g);
    sys_free(x);
    sys_free(y);
    bench_close(&b);
}

Test(encode, refuses_what_does_not_fit)
{
    struct bench b;
    bench_open(&b);
    struct rt_error err;
    uint64_t *x = sys_alloc(4 * 1024 * 8);
    double v[512] = {0}, work[1024];
    static const struct {
        double value, scale;
        unsigned level;
        bool fits;
        const char *text;
    } cases[] = {{1, 0x1p48, 0, true, ""},
                 {4, 0x1p48, 0, false, "does not fit"},
                 {4, 0x1p48, 1, true, ""},
                 {1, 0x1p98, 3, true, ""},
                 {8, 0x1p98, 3, false, "does not fit"},
                 {INFINITY, 1, 3, false, "not finite"},
                 {NAN, 1, 3, false, "not finite"},
                 {1e300, 1e300, 3, false, "not finite"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        v[0] = cases[i].value;
        enum rt_status s = core_encode(b.ctx, x, v, NULL, 0, cases[i].scale,
                                       (struct ring_basis){cases[i].level, 0}, work, "v", &err);
        cr_assert_eq(s == RT_OK, cases[i].fits, "case %zu", i);
        cr_assert(s == RT_OK || strstr(err.text, cases[i].text) != NULL, "%s", err.text);
    }
    sys_free(x);
    bench_close(&b);
}
