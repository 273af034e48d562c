/* SPDX-License-Identifier: Apache-2.0 */
/* What an interface, a program and an operation must satisfy, and what is said when they do not. */
#include "core/core.h"
#include "ir.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kit_shape toy = {.log_n = 10,
                                     .q_bits = {50, 40, 40},
                                     .p_bits = {50},
                                     .alpha = 1,
                                     .insecure = 1,
                                     .n = 512,
                                     .num_in = 2,
                                     .num_out = 1,
                                     .input_level = 2,
                                     .output_level = 2,
                                     .input_scale = 0x1p40,
                                     .sparse_weight = 16};

/* ---- parameters ------------------------------------------------------------------------------ */

static enum rt_status check(const struct rt_interface *m, struct rt_error *err)
{
    struct core_ctx *c;
    memset(err, 0, sizeof *err);
    enum rt_status s = core_ctx_open(&c, m, err);
    cr_assert((s == RT_OK) == (c != NULL));
    core_ctx_close(c);
    return s;
}

/* Distinct primes that add up to `most` bits as nearly as can be, from below or from above. */
static uint32_t fill_bits(uint64_t *q, uint32_t log_n, double most, bool over)
{
    uint32_t count = 0;
    double left = most;
    /* each takes 24 to 30 bits, so what is left for the last one is a size that has primes */
    for (uint64_t last = UINT64_C(1) << (log_n < 12 ? 24 : 30); left > 49;) {
        last = prime_below(last, log_n);
        q[count++] = last;
        left -= log2((double)last);
    }
    uint64_t target = (uint64_t)exp2(left);
    q[count++] = over ? prime_above(target, log_n) : prime_below(target + 1, log_n);
    return count;
}

/* The table of eprint 2024/463: as much as it allows passes, the least that is more does not. */
Test(parameters, security_table)
{
    static const struct {
        uint32_t log_n;
        double most;
    } table[] = {{10, 26}, {11, 53}, {12, 106}, {13, 214}, {14, 430}, {15, 868}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int over = 0; over < 2; over++) {
            struct kit k;
            struct kit_shape shape = {.log_n = table[i].log_n,
                                      .alpha = 1,
                                      .insecure = 1,
                                      .n = 8,
                                      .num_in = 1,
                                      .num_out = 1,
                                      .input_scale = 0x1p10};
            kit_make(&k, &shape);
            uint64_t q[64];
            k.model.params.q = q;
            k.model.params.num_q = fill_bits(q, table[i].log_n, table[i].most, over);
            struct rt_error err;
            cr_assert_eq(check(&k.model, &err), RT_OK, "as a toy: %s", err.text);
            k.model.params.insecure = 0;
            enum rt_status s = check(&k.model, &err);
            if (over) {
                cr_assert_eq(s, RT_ERR_ARGUMENT, "2^%u accepted above %g bits", table[i].log_n,
                             table[i].most);
                cr_assert_not_null(strstr(err.text, "128 bits of security"), "%s", err.text);
            } else {
                cr_assert_eq(s, RT_OK, "%s", err.text);
            }
            kit_drop(&k);
        }
    }
}

/*
 * The sparse secret's modulus is q_0 p_0 alone. With primes below 2^50 it is always small enough where
 * there is a bound at all, so what decides is the weight.
 */
Test(parameters, sparse_security)
{
    for (uint32_t log_n = 13; log_n <= 17; log_n++) {
        static const uint32_t weights[] = {1, 16, 31, 32, 39, 40, 192};
        for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
            struct kit k;
            const struct kit_shape shape = {.log_n = log_n,
                                            .q_bits = {50, 41},
                                            .p_bits = {49},
                                            .alpha = 1,
                                            .n = 8,
                                            .num_in = 1,
                                            .num_out = 1,
                                            .input_scale = 0x1p10,
                                            .sparse_weight = weights[i]};
            kit_make(&k, &shape);
            struct rt_error err;
            bool safe = params_max_log2_sparse(log_n, weights[i]) >= 99;
            cr_assert_eq(safe, log_n >= 14 && weights[i] >= (log_n == 14 ? 40 : 32));
            cr_assert_eq(check(&k.model, &err), safe ? RT_OK : RT_ERR_ARGUMENT,
                         "2^%u, weight %u: %s", log_n, weights[i], err.text);
            cr_assert(safe || strstr(err.text, "128 bits of security with log2 q_0 p_0 = 99.00"),
                      "%s", err.text);
            k.model.params.insecure = 1;
            cr_assert_eq(check(&k.model, &err), RT_OK, "as a toy: %s", err.text);
            kit_drop(&k);
        }
    }
}

static void bad_prime(struct kit *k)
{
    k->q[1] += 2;
}
static void equal_primes(struct kit *k)
{
    k->q[1] = k->q[0];
}
static void large_prime(struct kit *k)
{
    k->q[0] = (UINT64_C(1) << 51) + 1;
}
static void degree(struct kit *k)
{
    k->model.params.log_n = 18;
}
static void no_primes(struct kit *k)
{
    k->model.params.num_q = 0;
}
static void many_primes(struct kit *k)
{
    k->model.params.num_p = UINT32_MAX;
}
static void no_digits(struct kit *k)
{
    k->model.params.alpha = 0;
}
static void key_step(struct kit *k)
{
    kit_key(k, 512, 0);
}
static void key_level(struct kit *k)
{
    kit_key(k, 1, 3);
}
static void key_twice(struct kit *k)
{
    kit_key(k, 1, 1);
    kit_key(k, 1, 2);
}
static void unknown_kind(struct kit *k)
{
    kit_key_of(k, (enum rt_key_kind)5, 0, 0);
}
static void relinearise_by(struct kit *k)
{
    kit_key_of(k, RT_KEY_RELINEARISE, 1, 0);
}
static void rotate_by_nothing(struct kit *k)
{
    kit_key_of(k, RT_KEY_ROTATE, 0, 0);
}
static void conjugate_by(struct kit *k)
{
    kit_key_of(k, RT_KEY_CONJUGATE, 1, 0);
}
static void encapsulate_above(struct kit *k)
{
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 1);
}
static void encapsulate_by(struct kit *k)
{
    kit_key_of(k, RT_KEY_ENCAPSULATE, 1, 0);
}
static void encapsulate_twice(struct kit *k)
{
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
}
static void encapsulate_without(struct kit *k)
{
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    k->model.params.sparse_weight = 0;
}
static void raised_by(struct kit *k)
{
    kit_key_of(k, RT_KEY_RAISED, 512, 0);
}
static void raised_level(struct kit *k)
{
    kit_key_of(k, RT_KEY_RAISED, 0, 3);
}
static void raised_without(struct kit *k)
{
    kit_key_of(k, RT_KEY_RAISED, 0, 0);
    k->model.params.sparse_weight = 0;
}
static void heavy(struct kit *k)
{
    k->model.params.sparse_weight = 1025;
}
static void input_level(struct kit *k)
{
    k->model.input_level = 3;
}
static void output_scale(struct kit *k)
{
    k->model.output_scale = NAN;
}
static void packing(struct kit *k)
{
    k->model.input.n = 1024;
}
static void outputs(struct kit *k)
{
    k->model.num_outputs = 5;
}
static void deviation(struct kit *k)
{
    k->std[1] = 0;
}

Test(parameters, refusals)
{
    static const struct {
        void (*spoil)(struct kit *k);
        const char *text;
    } cases[] = {{bad_prime, "kit: "},
                 {equal_primes, "kit: "},
                 {large_prime, "kit: "},
                 {degree, "ring degree 2^18"},
                 {no_primes, "0 + 1 primes"},
                 {many_primes, "primes"},
                 {no_digits, "digits of 0"},
                 {key_step, "rotation 512"},
                 {key_level, "at level 3"},
                 {key_twice, "two keys for rotation 1"},
                 {unknown_kind, "no key for an unknown purpose"},
                 {relinearise_by, "no key for relinearisation, step 1"},
                 {rotate_by_nothing, "no key for rotation 0"},
                 {conjugate_by, "no key for conjugation, step 1"},
                 {encapsulate_above, "no key for encapsulation, step 0 at level 1 exists"},
                 {encapsulate_by, "no key for encapsulation, step 1"},
                 {encapsulate_twice, "two keys for encapsulation"},
                 {encapsulate_without, "no key for encapsulation"},
                 {raised_by, "no key for a raised value, step 512"},
                 {raised_level, "no key for a raised value, step 0 at level 3"},
                 {raised_without, "no key for a raised value"},
                 {heavy, "a secret of weight 1025 has more than N coefficients"},
                 {input_level, "input level 3"},
                 {output_scale, "output level 2, scale nan"},
                 {packing, "input packing: n is not a power of two of at most N/2"},
                 {outputs, "5 outputs"},
                 {deviation, "mean or std of channel 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        struct rt_error err;
        kit_make(&k, &toy);
        cr_assert_eq(check(&k.model, &err), RT_OK, "%s", err.text);
        cases[i].spoil(&k);
        cr_assert_eq(check(&k.model, &err), RT_ERR_ARGUMENT, "case %zu", i);
        cr_assert_not_null(strstr(err.text, cases[i].text), "case %zu: %s", i, err.text);
        cr_assert_eq(strncmp(err.text, "kit: ", 5), 0, "%s", err.text);
        kit_drop(&k);
    }
}

Test(parameters, fingerprint)
{
    struct kit k;
    kit_make(&k, &toy);
    struct rt_error err;
    struct core_ctx *a, *b;
    cr_assert_eq(core_ctx_open(&a, &k.model, &err), RT_OK);
    k.model.params.alpha = 2;
    cr_assert_eq(core_ctx_open(&b, &k.model, &err), RT_OK);
    cr_assert_neq(a->fingerprint, b->fingerprint);
    core_ctx_close(b);
    k.model.params.alpha = 1;
    k.model.params.sparse_weight++;
    cr_assert_eq(core_ctx_open(&b, &k.model, &err), RT_OK);
    cr_assert_neq(a->fingerprint, b->fingerprint);
    core_ctx_close(a);
    core_ctx_close(b);
    kit_drop(&k);
}

/* ---- operations: one mistake each ------------------------------------------------------------ */

struct mistake {
    const char *text; /* NULL: allowed */
    struct kit_op ops[5];
    uint32_t num_ops;
};

/* What operations refer to: factors, constant, scale. */
static const double reals[] = {1, 1, 0x1p40, 0x1p40, 2, 1,        0x1p102, NAN,      0, 1,
                               1, 1, -1,     1,      0, INFINITY, 1,       INFINITY, 1, 1e30};

/* Inputs in registers 0 and 1 at level 2, scale 2^40; plaintexts and numbers below. Register 11 is small,
 * register 10 has room for a ciphertext, not for a raised one. */
static const struct mistake mistakes[] = {
    {NULL, {{KIT_ADD, 2, 0, 1, 0}}, 1},
    {"rt_add: register 2 is empty", {{KIT_ADD, 3, 0, 2, 0}}, 1},
    {"rt_add: there is no register 99", {{KIT_ADD, 3, 0, 99, 0}}, 1},
    {"rt_add: there is no register 99", {{KIT_ADD, 99, 0, 1, 0}}, 1},
    {"rt_add: register 11 has room for 1024 words, 6144 needed", {{KIT_ADD, 11, 0, 1, 0}}, 1},
    {"rt_add: operands at levels 2 and 1", {{KIT_DROP_TO, 2, 0, 0, 1}, {KIT_ADD, 2, 0, 2, 0}}, 2},
    {"rt_sub: operands of scales", {{KIT_RAISE, 2, 0, 0, 3}, {KIT_SUB, 2, 0, 2, 0}}, 2},
    {"rt_sub: one operand is a product that is not relinearised, the other a ciphertext",
     {{KIT_MUL, 2, 0, 1, 0}, {KIT_SUB, 2, 2, 0, 0}},
     2},
    {"rt_add: register 3 is digits", {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_ADD, 3, 3, 3, 0}}, 2},
    {"rt_mul: result and operand share register 0", {{KIT_MUL, 0, 0, 1, 0}}, 1},
    {"rt_mul: register 2 is a product", {{KIT_MUL, 2, 0, 1, 0}, {KIT_MUL, 3, 2, 0, 0}}, 2},
    {"rt_mul: register 2 is an extended", {{KIT_LIFT, 2, 0, 0, 0}, {KIT_MUL, 3, 2, 0, 0}}, 2},
    {"rt_mul: operands at levels", {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_MUL, 3, 2, 0, 0}}, 2},
    {"rt_decompose: result and operand share", {{KIT_DECOMPOSE, 0, 0, 0, 0}}, 1},
    {"rt_decompose: register 2 is an extended",
     {{KIT_LIFT, 2, 0, 0, 0}, {KIT_DECOMPOSE, 3, 2, 0, 0}},
     2},
    {NULL, {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_KEY_MUL, 4, 3, 0, 1}}, 2},
    {"rt_key_mul: no key for rotation 2 at level 2",
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_KEY_MUL, 4, 3, 0, 2}},
     2},
    {"rt_key_mul: no key for rotation 4 at level 2", /* its key ends at level 1 */
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_KEY_MUL, 4, 3, 0, 4}},
     2},
    {"rt_key_mul: register 0 is a ciphertext", {{KIT_KEY_MUL, 4, 0, 0, 1}}, 1},
    {"rt_key_mul: digits at level 2 of a value at level 1",
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_DROP_TO, 2, 0, 0, 1}, {KIT_KEY_MUL, 4, 3, 2, 1}},
     3},
    {"rt_key_mul: register 0 is a ciphertext", /* relinearising two parts */
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_KEY_MUL, 4, 3, 0, 0}},
     2},
    {"rt_key_mul: register 2 is a product", /* rotating three */
     {{KIT_MUL, 2, 0, 1, 0}, {KIT_DECOMPOSE, 3, 2, 0, 0}, {KIT_KEY_MUL, 4, 3, 2, 1}},
     3},
    {"rt_key_mul: no key for relinearisation",
     {{KIT_MUL, 2, 0, 1, 0}, {KIT_DECOMPOSE, 3, 2, 0, 0}, {KIT_KEY_MUL, 4, 3, 2, 0}},
     3},
    {"rt_key_mul: result and operand share",
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_KEY_MUL, 3, 3, 0, 1}},
     2},
    {"rt_lift: register 2 is an extended", {{KIT_LIFT, 2, 0, 0, 0}, {KIT_LIFT, 2, 2, 0, 0}}, 2},
    {"rt_mod_down: register 0 is a ciphertext", {{KIT_MOD_DOWN, 2, 0, 0, 0}}, 1},
    {"rt_mod_down: cannot drop 3 primes at level 2",
     {{KIT_LIFT, 2, 0, 0, 0}, {KIT_MOD_DOWN, 2, 2, 0, 3}},
     2},
    {"rt_rescale: cannot drop 3 primes at level 2", {{KIT_RESCALE, 2, 0, 0, 3}}, 1},
    {"rt_rescale: nothing to drop", {{KIT_RESCALE, 2, 0, 0, 0}}, 1},
    {"rt_rescale: register 2 is an extended",
     {{KIT_LIFT, 2, 0, 0, 0}, {KIT_RESCALE, 2, 2, 0, 1}},
     2},
    {"rt_drop_to: from level 2 to 3", {{KIT_DROP_TO, 2, 0, 0, 3}}, 1},
    {"rt_drop_to: from level 2 to -1", {{KIT_DROP_TO, 2, 0, 0, -1}}, 1},
    {"rt_raise_scale: factor 0", {{KIT_RAISE, 2, 0, 0, 0}}, 1},
    {"rt_raise_scale: factor 1125899906842624", {{KIT_RAISE, 2, 0, 0, INT64_C(1) << 50}}, 1},
    {NULL, {{KIT_PMAC, 5, 0, 0, 1}}, 1},
    {"rt_pmac: no terms", {{KIT_PMAC, 5, 0, 0, 0}}, 1},
    {"rt_pmac: there is no plaintext 4", {{KIT_PMAC, 5, 0, 4, 1}}, 1},
    {"rt_pmac: result and operand share", {{KIT_PMAC, 1, 0, 0, 2}}, 1},
    {"rt_pmac: register 2 is empty", {{KIT_PMAC, 5, 0, 0, 3}}, 1},
    {"rt_pmac: plaintext 2 is for level 1, the operand is at level 2", {{KIT_PMAC, 5, 0, 2, 1}}, 1},
    {"rt_pmac: plaintext 3 is for level 2 extended", {{KIT_PMAC, 5, 0, 3, 1}}, 1},
    {"rt_pmac: plaintext 0 is for level 2, the operand is at level 2 extended",
     {{KIT_LIFT, 2, 0, 0, 0}, {KIT_PMAC, 5, 2, 0, 1}},
     2},
    {"rt_pmac: term 1 is of another kind, level or scale",
     {{KIT_RAISE, 1, 1, 0, 2}, {KIT_PMAC, 5, 0, 0, 2}},
     2},
    {"rt_pmac: term 1 is of another kind, level or scale",
     {{KIT_LIFT, 1, 1, 0, 0}, {KIT_PMAC, 5, 0, 0, 2}},
     2},
    {NULL, {{KIT_PADD, 5, 0, 1, 0}}, 1},
    {"rt_padd: there is no plaintext 9", {{KIT_PADD, 5, 0, 9, 0}}, 1},
    {"rt_padd: plaintext 0 of scale", {{KIT_RAISE, 2, 0, 0, 2}, {KIT_PADD, 5, 2, 0, 0}}, 2},
    {"rt_padd: plaintext 2 is for level 1", {{KIT_PADD, 5, 0, 2, 0}}, 1},
    {"rt_padd: plaintext 3 is for level 2 extended", {{KIT_PADD, 5, 0, 3, 0}}, 1},
    {NULL, {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_CONJ_MUL, 4, 3, 0, 0}}, 2},
    {"rt_conj_mul: register 2 is a product",
     {{KIT_MUL, 2, 0, 1, 0}, {KIT_DECOMPOSE, 3, 2, 0, 0}, {KIT_CONJ_MUL, 4, 3, 2, 0}},
     3},
    {"rt_conj_mul: result and operand share",
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_CONJ_MUL, 3, 3, 0, 0}},
     2},
    {NULL, {{KIT_COMB, 5, 0, 0, 2}}, 1},
    {NULL, {{KIT_COMB, 1, 1, 1, 1}}, 1},
    {"rt_comb: no terms", {{KIT_COMB, 5, 0, 0, 0}}, 1},
    {"rt_comb: register 2 is empty", {{KIT_COMB, 5, 0, 0, 3}}, 1},
    {"rt_comb: result and operand share register 1", {{KIT_COMB, 1, 0, 0, 2}}, 1},
    {"rt_comb: term 1 is of another kind or level",
     {{KIT_DROP_TO, 1, 1, 0, 1}, {KIT_COMB, 5, 0, 0, 2}},
     2},
    {"rt_comb: term 1 is of another kind or level",
     {{KIT_LIFT, 1, 1, 0, 0}, {KIT_COMB, 5, 0, 0, 2}},
     2},
    {"rt_comb: register 3 is digits", {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_COMB, 5, 3, 0, 1}}, 2},
    {"rt_comb: the factor 2 from scale 1.09951e+12 to 5.0706e+30 is no integer below 2^62",
     {{KIT_COMB, 5, 0, 4, 1}},
     1}, /* 2^41 2^62 */
    {"rt_comb: the factor nan", {{KIT_COMB, 5, 0, 7, 1}}, 1},
    {"rt_comb: the result's scale would be -1", {{KIT_COMB, 5, 0, 10, 1}}, 1},
    {"rt_comb: the result's scale would be inf", {{KIT_COMB, 5, 0, 13, 1}}, 1},
    {"rt_comb: the constant inf at scale", {{KIT_COMB, 5, 0, 16, 1}}, 1},
    {"rt_comb: register 11 has room", {{KIT_COMB, 11, 0, 0, 2}}, 1},
    {NULL, {{KIT_ADD_SCALAR, 5, 0, 0, 0}}, 1},
    {"rt_add_scalar: the constant 1e+30 at scale 1.09951e+12 does not fit the 129.0 bits of level "
     "2",
     {{KIT_ADD_SCALAR, 5, 0, 19, 0}},
     1},
    {"rt_add_scalar: the constant nan", {{KIT_ADD_SCALAR, 5, 0, 7, 0}}, 1},
    {"rt_add_scalar: register 3 is digits",
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_ADD_SCALAR, 3, 3, 0, 0}},
     2},
    {NULL, {{KIT_TIMES_I, 0, 0, 0, 0}}, 1},
    {"rt_times_i: register 2 is empty", {{KIT_TIMES_I, 0, 2, 0, 0}}, 1},
    {"rt_relabel: the result's scale would be -1", {{KIT_RELABEL, 5, 0, 12, 0}}, 1},
    {"rt_relabel: the result's scale would be nan", {{KIT_RELABEL, 5, 0, 7, 0}}, 1},
    {"rt_relabel: register 3 is digits",
     {{KIT_DECOMPOSE, 3, 0, 0, 0}, {KIT_RELABEL, 5, 3, 0, 0}},
     2},
    {"rt_encapsulate: the operand is at level 2, not 0", {{KIT_ENCAPSULATE, 5, 0, 0, 0}}, 1},
    {NULL,
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_MOD_RAISE, 3, 2, 0, 2}},
     3},
    {"rt_encapsulate: register 2 is a ciphertext under the sparse secret",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}},
     3},
    {"rt_mod_raise: register 2 is a ciphertext, which",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_MOD_RAISE, 3, 2, 0, 2}},
     2},
    {"rt_add: register 2 is a ciphertext under the sparse secret",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_ADD, 2, 2, 2, 0}},
     3},
    {"rt_mod_raise: there is no level 3",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_MOD_RAISE, 3, 2, 0, 3}},
     3},
    {"rt_mod_raise: there is no level -1",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_MOD_RAISE, 3, 2, 0, -1}},
     3},
    {"rt_mod_raise: result and operand share",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_MOD_RAISE, 2, 2, 0, 2}},
     3},
    {"rt_mod_raise: register 10 has room for 6144 words, 8192 needed",
     {{KIT_DROP_TO, 2, 0, 0, 0}, {KIT_ENCAPSULATE, 2, 2, 0, 0}, {KIT_MOD_RAISE, 10, 2, 0, 2}},
     3},
    {NULL,
     {{KIT_DROP_TO, 2, 0, 0, 0},
      {KIT_ENCAPSULATE, 2, 2, 0, 0},
      {KIT_MOD_RAISE, 3, 2, 0, 1},
      {KIT_RAISED_MUL, 4, 3, 0, 2}},
     4},
    {"rt_raised_mul: no key for a raised value, step 2 at level 2", /* its key ends at level 1 */
     {{KIT_DROP_TO, 2, 0, 0, 0},
      {KIT_ENCAPSULATE, 2, 2, 0, 0},
      {KIT_MOD_RAISE, 3, 2, 0, 2},
      {KIT_RAISED_MUL, 4, 3, 0, 2}},
     4},
    {"rt_raised_mul: no key for a raised value, step 1 at level 1", /* a rotation's is no such key */
     {{KIT_DROP_TO, 2, 0, 0, 0},
      {KIT_ENCAPSULATE, 2, 2, 0, 0},
      {KIT_MOD_RAISE, 3, 2, 0, 1},
      {KIT_RAISED_MUL, 4, 3, 0, 1}},
     4},
    {"rt_raised_mul: result and operand share",
     {{KIT_DROP_TO, 2, 0, 0, 0},
      {KIT_ENCAPSULATE, 2, 2, 0, 0},
      {KIT_MOD_RAISE, 3, 2, 0, 1},
      {KIT_RAISED_MUL, 3, 3, 0, 2}},
     4},
    {"rt_mod_down: register 3 is a raised ciphertext",
     {{KIT_DROP_TO, 2, 0, 0, 0},
      {KIT_ENCAPSULATE, 2, 2, 0, 0},
      {KIT_MOD_RAISE, 3, 2, 0, 1},
      {KIT_MOD_DOWN, 3, 3, 0, 0}},
     4},
    /* the first mistake is kept, what follows does nothing */
    {"rt_lift: register 4 is empty",
     {{KIT_LIFT, 5, 4, 0, 0}, {KIT_LIFT, 6, 7, 0, 0}, {KIT_ADD, 2, 0, 1, 0}},
     3},
};

static void one_of_each(struct kit *k)
{
    static const double v[512] = {0.5, 0.25};
    kit_make(k, &toy);
    kit_key(k, 1, 2);
    kit_key(k, 4, 1);
    kit_key_of(k, RT_KEY_CONJUGATE, 0, 2);
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(k, RT_KEY_RAISED, 2, 1);
    (void)kit_reals(k, reals, sizeof reals / sizeof *reals);
    (void)kit_plain(k, v, 512, 512, 2, false, 0x1p40);
    (void)kit_plain(k, v, 512, 512, 2, false, 0x1p40);
    (void)kit_plain(k, v, 512, 512, 1, false, 0x1p40);
    (void)kit_plain(k, v, 512, 512, 2, true, 0x1p40);
    k->reg_words[11] = 1024;
    k->reg_words[10] = 6 * 1024;
}

Test(operations, preconditions)
{
    static const double x[1024] = {1};
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct kit k;
        one_of_each(&k);
        memcpy(k.ops, mistakes[i].ops, sizeof mistakes[i].ops);
        k.num_ops = mistakes[i].num_ops;
        kit_output(&k, 0, 0x1p40); /* register 0 is still the input */
        double y[512];
        struct rt_error err = {RT_OK, ""};
        unsigned entries = 0;
        bool ok = kit_run(&k, x, y, 1, &err);
        entries = kit_entries(&k);
        if (mistakes[i].text == NULL) {
            cr_assert(ok, "case %zu: %s", i, err.text);
        } else {
            cr_assert_not(ok, "case %zu (%s) was accepted", i, mistakes[i].text);
            cr_assert_eq(err.status, RT_ERR_ARGUMENT);
            cr_assert_not_null(strstr(err.text, mistakes[i].text),
                               "case %zu: wanted '%s', got '%s'", i, mistakes[i].text, err.text);
            cr_assert_not_null(strstr(err.text, "kit: layer 'layer' (line 7): "), "%s", err.text);
            cr_assert_eq(entries, 4, "an output was written");
        }
        kit_drop(&k);
    }
}

/* The output must be what the interface says. */
Test(operations, output)
{
    static const double x[1024] = {1};
    static const struct {
        struct kit_op op;
        uint32_t reg;
        const char *text;
    } cases[] = {{{KIT_MUL, 2, 0, 1, 0}, 2, "kit: output: register 2 is a product"},
                 {{KIT_DROP_TO, 2, 0, 0, 1}, 2, "kit: output: level 1 and scale"},
                 {{KIT_RAISE, 2, 0, 0, 2}, 2, "kit: output: level 2 and scale 2199023255552"},
                 {{KIT_ADD, 2, 0, 0, 0}, 3, "kit: output: register 3 is empty"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        one_of_each(&k);
        k.ops[0] = cases[i].op;
        k.num_ops = 1;
        kit_output(&k, cases[i].reg, 0x1p40);
        double y[512];
        struct rt_error err = {RT_OK, ""};
        cr_assert_not(kit_run(&k, x, y, 1, &err));
        cr_assert_not_null(strstr(err.text, cases[i].text), "case %zu: %s", i, err.text);
        kit_drop(&k);
    }
}

Test(operations, in_place)
{
    /* every operation that allows it, with out = in and with out elsewhere: the same result */
    static const double x[1024] = {1, -2, 3, 4, 5};
    double y[512];
    for (uint32_t elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct kit k;
        one_of_each(&k);
        uint32_t a = 0, b = elsewhere ? 2 : 0, c = elsewhere ? 3 : 0;
        kit_do(&k, KIT_LIFT, b, a, 0, 0);
        kit_do(&k, KIT_MOD_DOWN, c, b, 0, 0);
        kit_do(&k, KIT_PADD, b, c, 1, 0);
        kit_do(&k, KIT_RAISE, c, b, 0, INT64_C(1) << 40);
        kit_do(&k, KIT_RESCALE, b, c, 0, 1);
        kit_do(&k, KIT_DROP_TO, c, b, 0, 0);
        kit_do(&k, KIT_ADD, b, c, c, 0);
        kit_output(&k, b, 0x1p80 / (double)k.q[2]);
        k.model.output_level = 0;
        struct rt_error err;
        cr_assert(kit_run(&k, x, y, 1, &err), "%s", err.text);
        for (int i = 0; i < 8; i++) {
            double want = 2 * (x[i] + (i == 0 ? 0.5 : i == 1 ? 0.25 : 0));
            cr_assert_lt(fabs(y[i] - want), 1e-7, "%g, %g expected", y[i], want);
        }
        kit_drop(&k);
    }
}

/* ---- life cycle ------------------------------------------------------------------------------ */

struct seen {
    unsigned calls;
    double done[4];
};

static void see(void *ctx, const struct rt_layer *layer, double done)
{
    struct seen *s = ctx;
    cr_assert_str_eq(layer->name, "layer");
    s->done[s->calls++ % 4] = done;
}

Test(operations, progress_and_memory)
{
    static const double x[1024] = {1};
    struct kit k;
    one_of_each(&k);
    kit_output(&k, 0, 0x1p40);
    double y[512];
    struct rt_error err;
    cr_assert(kit_run(&k, x, y, 1, &err), "%s", err.text);
    struct rt_layer layers[3] = {k.layer, k.layer, k.layer};
    layers[1].predicted_ns = 2000;
    k.program.layers = layers;
    k.program.num_layers = 3;
    char data[128], keys[128], in[128], out[128];
    kit_path(&k, data, "model.dat");
    kit_path(&k, keys, "eval.weft");
    kit_path(&k, in, "in.weft");
    kit_path(&k, out, "out.weft");
    rt_eval *e;
    cr_assert_eq(rt_eval_open(&e, &k.program, data, keys, 1, &err), RT_OK, "%s", err.text);
    struct seen s = {0, {0}};
    cr_assert_eq(rt_infer(e, in, out, see, &s, &err), RT_OK, "%s", err.text);
    cr_assert_eq(s.calls, 3);
    cr_assert(s.done[0] == 0 && s.done[1] == 0.25 && s.done[2] == 0.75);
    struct rt_memory m = rt_eval_memory(e);
    /* keys: 3 digits of 4 limbs, 2 of 3, 3 of 4, and one each of q_0 p_0 and of 3 limbs, both halves;
     * plaintexts: 3 + 3 + 2 + 4 limbs, and a cache line each, as registers have */
    uint64_t halves = (3 * 4 + 2 * 3 + 3 * 4 + 2 + 3) * 1024 * 8;
    cr_assert_eq(m.key_bytes, 128 + 64 * k.model.num_keys + 2 * halves);
    cr_assert_eq(m.plaintext_bytes, (3 + 3 + 2 + 4) * 1024 * 8 + 4 * 64);
    uint64_t words = 0;
    for (int i = 0; i < KIT_REGS; i++) {
        words += k.reg_words[i] + 8;
    }
    cr_assert_eq(m.register_bytes, words * 8);
    rt_eval_close(e);
    rt_eval_close(NULL);
    kit_drop(&k);
}

/* What is made again for every use is what is kept otherwise. */
Test(operations, memory)
{
    static const double x[1024] = {1, -2, 3};
    struct kit k;
    one_of_each(&k);
    kit_output(&k, 0, 0x1p40);
    double y[512];
    struct rt_error err;
    cr_assert(kit_run(&k, x, y, 1, &err), "%s", err.text);
    char data[128], keys[128], in[128], out[128];
    kit_path(&k, data, "model.dat");
    kit_path(&k, keys, "eval.weft");
    kit_path(&k, in, "in.weft");
    kit_path(&k, out, "out.weft");
    size_t size, same;
    uint8_t *want = kit_read(out, &size);
    uint64_t least = 0;
    for (int i = 0; i < 4; i++) {
        struct rt_options options = {
            .threads = 1 + i % 2, .once = i < 2, .max_memory = i < 2 ? 0 : least};
        rt_eval *e;
        cr_assert_eq(rt_eval_open_with(&e, &k.program, data, keys, &options, &err), RT_OK, "%s",
                     err.text);
        struct rt_memory m = rt_eval_memory(e);
        uint64_t all = m.key_bytes + m.plaintext_bytes + m.register_bytes + m.other_bytes;
        least = all > least ? all : least; /* with two threads it is a little more */
        cr_assert_eq(rt_infer(e, in, out, NULL, NULL, &err), RT_OK, "%s", err.text);
        uint8_t *got = kit_read(out, &same);
        cr_assert_eq(same, size);
        cr_expect_arr_eq(got, want, size, "run %d", i);
        free(got);
        rt_eval_close(e);
    }
    struct rt_options tight = {.threads = 2, .max_memory = least / 2};
    rt_eval *e;
    cr_assert_eq(rt_eval_open_with(&e, &k.program, data, keys, &tight, &err), RT_ERR_MEMORY);
    cr_assert_null(e);
    unsigned mib = 0;
    cr_assert_eq(sscanf(strstr(err.text, "at least"), "at least %u MiB", &mib), 1, "%s", err.text);
    tight.max_memory = (uint64_t)mib << 20;
    cr_assert_eq(rt_eval_open_with(&e, &k.program, data, keys, &tight, &err), RT_OK, "%s",
                 err.text);
    rt_eval_close(e);
    tight.max_memory = (uint64_t)(mib - 1) << 20;
    cr_assert_eq(rt_eval_open_with(&e, &k.program, data, keys, &tight, &err), RT_ERR_MEMORY);
    free(want);
    kit_drop(&k);
}

Test(operations, bad_programs)
{
    struct kit k;
    one_of_each(&k);
    kit_write_data(&k);
    kit_keygen(&k, 1);
    char data[128], keys[128];
    kit_path(&k, data, "model.dat");
    kit_path(&k, keys, "eval.weft");
    struct rt_error err;
    rt_eval *e;
    k.input_regs[1] = 12;
    cr_assert_eq(rt_eval_open(&e, &k.program, data, keys, 1, &err), RT_ERR_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "no register 12"), "%s", err.text);
    k.input_regs[1] = 1;
    k.reg_words[3] = UINT64_MAX;
    cr_assert_eq(rt_eval_open(&e, &k.program, data, keys, 1, &err), RT_ERR_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "register 3 is too large"), "%s", err.text);
    kit_drop(&k);
}
