/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The operations of which bootstrapping is made, one by one and on real ciphertexts: raising the
 * modulus under the sparse secret, rotations of raised values, conjugation, combinations with
 * constants. Results are decrypted here with the secret itself, to coefficients, because what a
 * raised ciphertext holds are coefficients.
 */
#include "client/client.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOG_N  11u
#define N      (1u << LOG_N)
#define SLOTS  (N / 2)
#define WEIGHT 32u
#define TOP    3
#define R      37 /* a rotation */

static const struct kit_shape toy = {.log_n = LOG_N,
                                     .q_bits = {42, 50, 50, 50},
                                     .p_bits = {50, 50, 50},
                                     .alpha = 3,
                                     .insecure = 1,
                                     .n = SLOTS,
                                     .num_in = 1,
                                     .num_out = 4,
                                     .input_level = 0,
                                     .output_level = TOP,
                                     .input_scale = 0x1p35, /* q_0 / 2^7 */
                                     .sparse_weight = WEIGHT};

static void open_files(struct kit *k, const double *x, rt_secret **s)
{
    char path[128], in[128];
    struct rt_error err;
    kit_path(k, path, "secret.weft");
    kit_path(k, in, "in.weft");
    kit_write_data(k);
    kit_keygen(k, 1);
    cr_assert_eq(rt_secret_load(s, &k->model, path, &err), RT_OK, "%s", err.text);
    cr_assert_eq(rt_encrypt(*s, &k->model, x, in, &err), RT_OK, "%s", err.text);
}

/*
 * The coefficients of ciphertext `which` of a file, centred; they must be below half of the last
 * prime of the level, and then they are the same modulo all the others.
 */
static void decrypt(const rt_secret *s, const char *path, const struct core_ct_spec *spec,
                    uint32_t which, int64_t *out)
{
    const struct ring *r = s->ctx->ring;
    struct ring_basis b = {(unsigned)spec->level, 0};
    struct core_ct_file f;
    struct rt_error err;
    uint64_t *ct = sys_alloc_array(2 * ring_words(r, b), sizeof *ct);
    cr_assert_eq(core_ct_open(&f, path, s->ctx, s->model_hash, s->key_id, spec, &err), RT_OK, "%s",
                 err.text);
    cr_assert_eq(core_ct_read(&f, which, ct, &err), RT_OK, "%s", err.text);
    core_ct_close(&f);
    ring_mul_add(r, ct, ct, ct + ring_words(r, b), s->s, b);
    ring_intt(r, ct, ct, b);
    const uint64_t *last = ct + b.level * r->n;
    uint64_t q = r->ntt[b.level].mod.q;
    for (size_t i = 0; i < r->n; i++) {
        out[i] = last[i] > q / 2 ? (int64_t)last[i] - (int64_t)q : (int64_t)last[i];
    }
    for (size_t limb = 0; limb < b.level; limb++) {
        int64_t m = (int64_t)r->ntt[limb].mod.q;
        for (size_t i = 0; i < r->n; i++) {
            int64_t same = (out[i] % m + m) % m;
            cr_assert_eq((uint64_t)same, ct[limb * r->n + i], "limb %zu coefficient %zu", limb, i);
        }
    }
    sys_free(ct);
}

/* x(X^g) */
static void automorphism(int64_t *out, const int64_t *x, uint64_t g)
{
    for (size_t i = 0; i < N; i++) {
        uint64_t to = i * g % (2 * N);
        out[to % N] = to < N ? x[i] : -x[i];
    }
}

static int64_t distance(const int64_t *x, const int64_t *y)
{
    int64_t most = 0;
    for (size_t i = 0; i < N; i++) {
        most = llabs(x[i] - y[i]) > most ? llabs(x[i] - y[i]) : most;
    }
    return most;
}

/* ---- raising --------------------------------------------------------------------------------- */

/* Registers 3 .. 6: raised; raised and rotated; the first conjugated; the first times X^(N/2). */
static void raising(struct kit *k)
{
    kit_make(k, &toy);
    kit_key_of(k, RT_KEY_CONJUGATE, 0, TOP);
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(k, RT_KEY_RAISED, 0, TOP);
    kit_key_of(k, RT_KEY_RAISED, R, TOP);
    kit_do(k, KIT_ENCAPSULATE, 1, 0, 0, 0);
    kit_do(k, KIT_MOD_RAISE, 2, 1, 0, TOP);
    kit_do(k, KIT_RAISED_MUL, 3, 2, 0, 0);
    kit_do(k, KIT_MOD_DOWN, 3, 3, 0, 0);
    kit_do(k, KIT_RAISED_MUL, 7, 2, 0, R);
    kit_do(k, KIT_MOD_DOWN, 4, 7, 0, 0);
    kit_do(k, KIT_DECOMPOSE, 8, 3, 0, 0);
    kit_do(k, KIT_CONJ_MUL, 9, 8, 3, 0);
    kit_do(k, KIT_MOD_DOWN, 5, 9, 0, 0);
    kit_do(k, KIT_TIMES_I, 6, 3, 0, 0);
    kit_output(k, 3, toy.input_scale);
}

/*
 * Coefficients are m + q_0 I with the m that was encrypted and |I| <= 15 (at weight 32, more than 9
 * standard deviations). Noise: encapsulation divides by p_0 and rounds, (1 + 32)/12 variance; the
 * switch back divides by P and rounds, (1 + 2N/3)/12: deviation 11.
 */
Test(bootstrap, raise)
{
    struct kit k;
    rt_secret *s;
    struct rt_error err;
    static double x[SLOTS];
    static int64_t m[N], y[4][N], want[N];
    uint64_t rng = kit_seed();
    for (size_t i = 0; i < SLOTS; i++) {
        x[i] = kit_uniform(&rng, -1, 1);
    }
    raising(&k);
    open_files(&k, x, &s);
    char in[128], out[128];
    kit_path(&k, in, "in.weft");
    kit_path(&k, out, "out.weft");
    cr_assert(kit_infer(&k, out, 1, &err), "%s", err.text);
    const struct core_ct_spec before = {1, 0, toy.input_scale}, after = {4, TOP, toy.input_scale};
    decrypt(s, in, &before, 0, m);
    for (uint32_t i = 0; i < 4; i++) {
        decrypt(s, out, &after, i, y[i]);
    }
    double q0 = (double)k.q[0];
    int64_t largest = 0;
    for (size_t i = 0; i < N; i++) {
        int64_t times = llrint(((double)y[0][i] - (double)m[i]) / q0);
        int64_t noise = y[0][i] - m[i] - times * (int64_t)k.q[0];
        largest = llabs(times) > largest ? llabs(times) : largest;
        cr_assert_leq(llabs(times), 15, "coefficient %zu: %lld q_0", i, (long long)times);
        cr_assert_leq(llabs(noise), 100, "coefficient %zu: noise %lld", i, (long long)noise);
    }
    cr_assert_geq(largest, 2, "multiples of q_0 are expected: at most %lld", (long long)largest);
    automorphism(want, y[0], ring_galois(s->ctx->ring, R));
    cr_assert_leq(distance(y[1], want), 150, "rotation: %lld", (long long)distance(y[1], want));
    cr_assert_gt(distance(y[1], y[0]), 1 << 20, "not rotated at all");
    automorphism(want, y[0], 2 * N - 1);
    cr_assert_leq(distance(y[2], want), 150, "conjugation: %lld", (long long)distance(y[2], want));
    for (size_t i = 0; i < N; i++) {
        want[(i + N / 2) % N] = i < N / 2 ? y[0][i] : -y[0][i];
    }
    cr_assert_eq(distance(y[3], want), 0, "times i is exact");
    rt_secret_free(s);
    kit_drop(&k);
}

/* Rotations stay what they are: a value rotated by R slots to the left, decoded. */
Test(bootstrap, slots_of_a_rotation)
{
    struct kit k;
    struct rt_error err;
    static double x[SLOTS], y[SLOTS];
    struct kit_shape shape = toy;
    shape.num_out = 1;
    shape.output_level = 0;
    uint64_t rng = kit_seed();
    for (size_t i = 0; i < SLOTS; i++) {
        x[i] = kit_uniform(&rng, -1, 1);
    }
    kit_make(&k, &shape);
    kit_key_of(&k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(&k, RT_KEY_RAISED, R, 2);
    kit_do(&k, KIT_ENCAPSULATE, 0, 0, 0, 0); /* in place */
    kit_do(&k, KIT_MOD_RAISE, 1, 0, 0, 1);   /* below the key's level */
    kit_do(&k, KIT_RAISED_MUL, 2, 1, 0, R);
    kit_do(&k, KIT_MOD_DOWN, 2, 2, 0, 0);
    kit_do(&k, KIT_DROP_TO, 2, 2, 0, 0); /* modulo q_0 the multiples vanish */
    kit_output(&k, 2, toy.input_scale);
    cr_assert(kit_run(&k, x, y, 2, &err), "%s", err.text);
    for (size_t i = 0; i < SLOTS; i++) {
        double want = x[(i + R) % SLOTS];
        cr_assert_lt(fabs(y[i] - want), 1e-5, "slot %zu: %g, %g expected", i, y[i], want);
    }
    kit_drop(&k);
}

/* ---- combinations ---------------------------------------------------------------------------- */

static const struct kit_shape flat = {.log_n = LOG_N,
                                      .q_bits = {50, 50, 50, 50},
                                      .p_bits = {50, 50},
                                      .alpha = 2,
                                      .insecure = 1,
                                      .n = SLOTS,
                                      .num_in = 4,
                                      .num_out = 1,
                                      .input_level = 3,
                                      .output_level = 3,
                                      .input_scale = 0x1p40};

static double vx[4][SLOTS], vy[SLOTS], want_slots[SLOTS];

static void draw_inputs(void)
{
    uint64_t rng = kit_seed();
    for (size_t i = 0; i < 4 * SLOTS; i++) {
        vx[i / SLOTS][i % SLOTS] = kit_uniform(&rng, -1, 1);
    }
}

static void expect(struct kit *k, double bound)
{
    struct rt_error err;
    cr_assert(kit_run(k, vx[0], vy, 2, &err), "%s", err.text);
    for (size_t i = 0; i < SLOTS; i++) {
        cr_assert_lt(fabs(vy[i] - want_slots[i]), bound, "slot %zu: %.12g, %.12g expected", i,
                     vy[i], want_slots[i]);
    }
}

/* Operands of three scales; the result's is another, so large that the constant needs 70 bits. */
Test(bootstrap, comb)
{
    static const double reals[] = {0.75, -1.5, 0.001, 1e-6, 0.3125, 0x1p70};
    draw_inputs();
    for (int kind = 0; kind < 3; kind++) { /* a ciphertext, an extended one, a product */
        struct kit k;
        kit_make(&k, &flat);
        kit_key(&k, 0, 3);
        uint32_t first = kit_reals(&k, reals, 6);
        double square = kind == 2 ? 0x1p40 : 1;
        k.reals[first + 5] *= square;
        for (uint32_t i = 0; i < 4; i++) {
            if (kind == 2) {
                kit_do(&k, KIT_MUL, 4 + i, i, i, 0);
            } else if (kind == 1) {
                kit_do(&k, KIT_LIFT, 4 + i, i, 0, 0);
            } else {
                kit_do(&k, KIT_DROP_TO, 4 + i, i, 0, 3);
            }
        }
        kit_do(&k, KIT_RAISE, 5, 5, 0, 3);
        kit_do(&k, KIT_RAISE, 6, 6, 0, 1 << 10);
        kit_do(&k, KIT_COMB, 8, 4, first, 4);
        if (kind == 2) {
            kit_do(&k, KIT_DECOMPOSE, 9, 8, 0, 0);
            kit_do(&k, KIT_KEY_MUL, 10, 9, 8, 0);
            kit_do(&k, KIT_MOD_DOWN, 8, 10, 0, 0);
        } else if (kind == 1) {
            kit_do(&k, KIT_MOD_DOWN, 8, 8, 0, 0);
        }
        kit_output(&k, 8, 0x1p70 * square);
        for (size_t i = 0; i < SLOTS; i++) {
            want_slots[i] = 0.3125;
            for (size_t j = 0; j < 4; j++) {
                want_slots[i] += reals[j] * (kind == 2 ? vx[j][i] * vx[j][i] : vx[j][i]);
            }
        }
        expect(&k, 6e-7); /* 0.001 is a multiple of 2^-20: half of that */
        kit_drop(&k);
    }
}

/* More terms than the kernel takes at once, and one in place. */
Test(bootstrap, comb_of_many)
{
    draw_inputs();
    struct kit k;
    kit_make(&k, &flat);
    double reals[72];
    for (size_t i = 0; i < 70; i++) {
        reals[i] = (double)i / 64 - 0.5; /* registers 0 .. 3 in turn */
    }
    reals[70] = -2;
    reals[71] = 0x1p50;
    uint32_t many = kit_reals(&k, reals, 72);
    uint32_t one = kit_reals(&k, (const double[]){0.5, 1, 0x1p55}, 3);
    kit_do(&k, KIT_COMB, 4, 0, many, 70);
    kit_do(&k, KIT_COMB, 4, 4, one, 1);
    kit_output(&k, 4, 0x1p55);
    for (size_t i = 0; i < SLOTS; i++) {
        double sum = -2;
        for (size_t j = 0; j < 70; j++) {
            sum += reals[j] * vx[j % 4][i];
        }
        want_slots[i] = 0.5 * sum + 1;
    }
    expect(&k, 1e-6);
    kit_drop(&k);
}

/* -x by two turns of i; a constant, also on an extended value; x / 4 by another scale. */
Test(bootstrap, scalars)
{
    draw_inputs();
    for (uint32_t elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct kit k;
        kit_make(&k, &flat);
        uint32_t a = elsewhere ? 5 : 0;
        uint32_t b = elsewhere ? 6 : 0;
        uint32_t r = kit_reals(&k, (const double[]){0.25, -1.125, 0x1p42}, 3);
        kit_do(&k, KIT_TIMES_I, a, 0, 0, 0);
        kit_do(&k, KIT_TIMES_I, b, a, 0, 0);
        kit_do(&k, KIT_ADD_SCALAR, a, b, r, 0);
        kit_do(&k, KIT_LIFT, b, a, 0, 0);
        kit_do(&k, KIT_ADD_SCALAR, a, b, r + 1, 0);
        kit_do(&k, KIT_MOD_DOWN, b, a, 0, 0);
        kit_do(&k, KIT_RELABEL, a, b, r + 2, 0);
        kit_output(&k, a, 0x1p42);
        for (size_t i = 0; i < SLOTS; i++) {
            want_slots[i] = (-vx[0][i] + 0.25 - 1.125) / 4;
        }
        expect(&k, 1e-7);
        kit_drop(&k);
    }
}

/* Once i is imaginary: nothing is left of a real vector, and conjugation turns its sign. */
Test(bootstrap, conjugation)
{
    draw_inputs();
    struct kit k;
    kit_make(&k, &flat);
    kit_key_of(&k, RT_KEY_CONJUGATE, 0, 3);
    kit_do(&k, KIT_TIMES_I, 4, 1, 0, 0);
    kit_do(&k, KIT_ADD, 4, 4, 0, 0); /* x + i y */
    kit_do(&k, KIT_DECOMPOSE, 5, 4, 0, 0);
    kit_do(&k, KIT_CONJ_MUL, 6, 5, 4, 0);
    kit_do(&k, KIT_MOD_DOWN, 6, 6, 0, 0);
    kit_do(&k, KIT_SUB, 7, 4, 6, 0);     /* 2 i y */
    kit_do(&k, KIT_TIMES_I, 7, 7, 0, 0); /* -2 y */
    kit_do(&k, KIT_ADD, 7, 7, 6, 0);     /* x - i y - 2 y */
    kit_output(&k, 7, 0x1p40);
    for (size_t i = 0; i < SLOTS; i++) {
        want_slots[i] = vx[0][i] - 2 * vx[1][i];
    }
    expect(&k, 1e-6);
    kit_drop(&k);
}

/* ---- every CPU, any number of threads -------------------------------------------------------- */

/* All operations of this file, diagonals included, behind one another. */
static void everything(struct kit *k)
{
    raising(k);
    uint32_t r = kit_reals(k, (const double[]){0.5, -0.75, 0.1, 0x1p36, 0.3, 0x1p35}, 6);
    uint32_t p = kit_dft(k, 3 | 5 << 8, SLOTS, 32, 4, 3, TOP, false, 0x1p30);
    (void)kit_dft(k, 3 | 5 << 8 | 1 << 16, SLOTS, SLOTS, SLOTS - 8, 0, TOP, false, 0x1p30);
    kit_do(k, KIT_COMB, 7, 3, r, 2);
    kit_do(k, KIT_ADD_SCALAR, 7, 7, r + 4, 0);
    kit_do(k, KIT_RELABEL, 3, 7, r + 5, 0);
    kit_do(k, KIT_PMAC, 7, 3, p, 2);
    kit_do(k, KIT_RELABEL, 4, 7, r + 5, 0);
}

Test(bootstrap, same_words_everywhere)
{
    struct kit k;
    rt_secret *s;
    struct rt_error err;
    static double x[SLOTS];
    uint64_t rng = kit_seed();
    for (size_t i = 0; i < SLOTS; i++) {
        x[i] = kit_uniform(&rng, -1, 1);
    }
    everything(&k);
    open_files(&k, x, &s);
    rt_secret_free(s);
    char out[128];
    kit_path(&k, out, "out.weft");
    uint8_t *first = NULL;
    size_t size = 0;
    for (int cpu = RT_CPU_PORTABLE; cpu <= (int)sys_cpu_detect(); cpu++) {
        sys_cpu_limit((enum rt_cpu)cpu);
        for (int threads = 1; threads <= 2; threads++) {
            cr_assert(kit_infer(&k, out, threads, &err), "%s", err.text);
            size_t now;
            uint8_t *data = kit_read(out, &now);
            if (first == NULL) {
                first = data;
                size = now;
                continue;
            }
            cr_assert(now == size && memcmp(first, data, size) == 0, "%s, %d threads differ",
                      sys_cpu_name((enum rt_cpu)cpu), threads);
            free(data);
        }
    }
    free(first);
    kit_drop(&k);
}
