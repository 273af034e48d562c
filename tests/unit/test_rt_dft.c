/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Diagonals of DFT factors as the runtime makes them: the same numbers as the compiler's, the
 * stages of the definition, and the embedding itself.
 */
#include "core/core.h"
#include "ir.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct core_plain record(const struct ldft *f, uint32_t n, uint32_t period, uint32_t d,
                                uint32_t shift)
{
    struct core_plain p = {shift, d, n, period, 0, 0, 0, 1};
    p.dft = f->first | f->last << 8 | (uint32_t)f->inverse << 16;
    cr_assert(core_dft_ok(&p));
    return p;
}

/* Every entry of every factor on 32 slots, and random ones of large factors. */
Test(dft, same_as_the_compiler)
{
    double re[1 << 12], im[1 << 12], r, i;
    uint64_t rng = kit_seed();
    unsigned trials = 0, zeros = 0;
    for (uint32_t log_n = 5; log_n <= 12; log_n += 7) {
        uint32_t n = 1u << log_n;
        for (uint32_t first = 1; first <= log_n; first++) {
            for (uint32_t last = first; last <= log_n; last++) {
                for (int inverse = 0; inverse < 2; inverse++) {
                    struct ldft f = {first, last, inverse != 0};
                    for (uint32_t d = 0; d < (log_n == 5 ? n : 3); d++) {
                        uint32_t shift = (uint32_t)kit_random(&rng) % n;
                        uint32_t offset =
                            log_n == 5 ? d : ((uint32_t)kit_random(&rng) << (first - 1)) % n;
                        uint32_t period = n >> kit_random(&rng) % (log_n - last + 1);
                        struct core_plain p = record(&f, n, period, offset, shift);
                        core_dft_slots(&p, re, im);
                        for (uint32_t s = 0; s < n; s++) {
                            uint32_t out = (s + shift) % n;
                            dft_entry(&f, n, out, (out + offset) % n, &r, &i);
                            cr_assert(
                                fabs(re[s % period] - r) < 1e-15 &&
                                    fabs(im[s % period] - i) < 1e-15,
                                "stages %u .. %u, inverse %d, diagonal %u + %u, slot %u of %u: "
                                "(%g, %g), (%g, %g) expected",
                                first, last, inverse, shift, offset, s, n, re[s % period],
                                im[s % period], r, i);
                            zeros += r == 0 && i == 0;
                            trials++;
                        }
                    }
                }
            }
        }
    }
    cr_assert(zeros > trials / 10 && zeros < trials / 10 * 9, "%u zeros of %u", zeros, trials);
}

/* x <- F x by its diagonals; n slots, work on both */
static void apply(const struct ldft *f, uint32_t n, double *xr, double *xi)
{
    double *re = calloc(4 * n, sizeof *re), *im = re + n, *yr = im + n, *yi = yr + n;
    for (uint32_t d = 0; d < n; d++) {
        struct core_plain p = record(f, n, n, d, 0);
        core_dft_slots(&p, re, im);
        for (uint32_t s = 0; s < n; s++) {
            uint32_t in = (s + d) % n;
            yr[s] += re[s] * xr[in] - im[s] * xi[in];
            yi[s] += re[s] * xi[in] + im[s] * xr[in];
        }
    }
    memcpy(xr, yr, n * sizeof *xr);
    memcpy(xi, yi, n * sizeof *xi);
    free(re);
}

/* All stages, as two factors, take coefficients in bit-reversed order to slots; inverses undo it. */
Test(dft, the_embedding)
{
    enum { LOG = 7, SLOTS = 1 << LOG };
    const struct kit_shape shape = {.log_n = LOG + 1,
                                    .q_bits = {50},
                                    .alpha = 1,
                                    .insecure = 1,
                                    .n = 8,
                                    .num_in = 1,
                                    .num_out = 1,
                                    .input_scale = 1};
    struct kit k;
    struct core_ctx *c;
    struct rt_error err;
    kit_make(&k, &shape);
    cr_assert_eq(core_ctx_open(&c, &k.model, &err), RT_OK, "%s", err.text);
    uint64_t rng = kit_seed();
    double re[SLOTS], im[SLOTS], xr[SLOTS], xi[SLOTS], first_r[SLOTS], first_i[SLOTS];
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t to = mod_bitrev(i, LOG);
        re[i] = xr[to] = kit_uniform(&rng, -1, 1);
        im[i] = xi[to] = kit_uniform(&rng, -1, 1);
    }
    memcpy(first_r, xr, sizeof xr);
    memcpy(first_i, xi, sizeof xi);
    core_embed(c, re, im, LOG);
    struct ldft low = {1, 3, false}, high = {4, LOG, false};
    apply(&low, SLOTS, xr, xi);
    apply(&high, SLOTS, xr, xi);
    for (uint32_t s = 0; s < SLOTS; s++) {
        cr_assert(hypot(xr[s] - re[s], xi[s] - im[s]) < 1e-12, "slot %u", s);
    }
    low.inverse = high.inverse = true;
    apply(&high, SLOTS, xr, xi);
    apply(&low, SLOTS, xr, xi);
    for (uint32_t s = 0; s < SLOTS; s++) {
        cr_assert(hypot(xr[s] - first_r[s], xi[s] - first_i[s]) < 1e-13, "slot %u", s);
    }
    core_ctx_close(c);
    kit_drop(&k);
}

/*
 * Through a file and a ciphertext: rotated copies times diagonals are the factor. The result is
 * complex, which a decryption does not show; times i, its other part is real.
 */
Test(dft, on_ciphertexts)
{
    enum { LOG = 6, SLOTS = 1 << LOG };
    const struct kit_shape shape = {.log_n = 10,
                                    .q_bits = {50, 50, 50},
                                    .p_bits = {50, 50},
                                    .alpha = 2,
                                    .insecure = 1,
                                    .n = SLOTS,
                                    .num_in = 1,
                                    .num_out = 2,
                                    .input_level = 2,
                                    .output_level = 2,
                                    .input_scale = 0x1p40};
    double x[SLOTS], xi[SLOTS] = {0}, y[2 * SLOTS];
    uint64_t rng = kit_seed();
    for (uint32_t i = 0; i < SLOTS; i++) {
        x[i] = kit_uniform(&rng, -1, 1);
    }
    for (int inverse = 0; inverse < 2; inverse++) {
        const struct ldft f = {2, 3, inverse != 0}; /* diagonals 0, 2, 4, 6 and their negatives */
        struct kit k;
        kit_make(&k, &shape);
        for (uint32_t i = 0; i < 7; i++) {
            int64_t by = (int64_t)((SLOTS - 6 + 2 * i) % SLOTS);
            uint32_t p = kit_dft(&k, f.first | f.last << 8 | (uint32_t)f.inverse << 16, SLOTS,
                                 i % 2 == 0 ? 8 : SLOTS, (uint32_t)by, 0, 2, false, 0x1p40);
            if (by == 0) {
                kit_do(&k, KIT_PMAC, 5, 0, p, 1);
            } else {
                kit_key(&k, by, 2);
                kit_rotate(&k, 3, 0, 4, by, 0);
                kit_do(&k, KIT_PMAC, 5, 3, p, 1);
            }
            kit_do(&k, i == 0 ? KIT_DROP_TO : KIT_ADD, 1, 5, i == 0 ? 0 : 1, i == 0 ? 2 : 0);
        }
        kit_do(&k, KIT_TIMES_I, 2, 1, 0, 0);
        kit_output(&k, 1, 0x1p80);
        struct rt_error err;
        cr_assert(kit_run(&k, x, y, 2, &err), "%s", err.text);
        double want_r[SLOTS], want_i[SLOTS];
        memcpy(want_r, x, sizeof x);
        memcpy(want_i, xi, sizeof xi);
        apply(&f, SLOTS, want_r, want_i);
        for (uint32_t s = 0; s < SLOTS; s++) {
            cr_assert(fabs(y[s] - want_r[s]) < 1e-7 && fabs(y[SLOTS + s] + want_i[s]) < 1e-7,
                      "slot %u: (%g, %g), (%g, %g) expected", s, y[s], -y[SLOTS + s], want_r[s],
                      want_i[s]);
        }
        kit_drop(&k);
    }
}
