/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "boot.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- which ----------------------------------------------------------------------------------- */

/* Pairs as text: "2+3 5+6" */
static const char *pairs_of(struct arena *a, const char *nodes)
{
    struct prog *p = pkit_program(a, STAGE_SLOT, nodes);
    const uint32_t *pair = boot_pairs(p);
    struct str s;
    str_init(&s, a);
    str_add(&s, "");
    for (uint32_t i = 0; pair && i < p->nodes.len; i++)
        if (pair[i] != NONE && pair[i] > i) {
            cr_expect_eq(pair[pair[i]], i);
            str_addf(&s, s.len ? " %u+%u" : "%u+%u", i, pair[i]);
        }
    return s.len ? s.s : "";
}

Test(boot_pair, choice)
{
    static const struct {
        const char *why, *nodes, *pairs;
    } row[] = {
        {"side by side",
         "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n%2 = bootstrap %0 range=1\n%3 "
         "= bootstrap %1 range=1\n"
         "%4 = add %2, %3\n%5 = output %4 layout=@0\n",
         "2+3"},
        {"one after the other",
         "%0 = input part=0 layout=@0\n%1 = bootstrap %0 range=1\n%2 = mul %1, %1\n%3 = bootstrap "
         "%2 range=1\n"
         "%4 = output %3 layout=@0\n",
         ""},
        {"other ranges",
         "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n%2 = bootstrap %0 range=1\n%3 "
         "= bootstrap %1 range=2\n"
         "%4 = add %2, %3\n%5 = output %4 layout=@0\n",
         ""},
        {"complex",
         "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n%2 = bootstrap %0 range=1 "
         "complex=1\n"
         "%3 = bootstrap %1 range=1 complex=1\n%4 = add %2, %3\n%5 = output %4 layout=@0\n",
         ""},
        {"three",
         "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n%2 = bootstrap %0 range=1\n%3 "
         "= bootstrap %1 range=1\n"
         "%4 = add %0, %1\n%5 = bootstrap %4 range=1\n%6 = add %2, %3, %5\n"
         "%7 = output %6 layout=@0\n",
         "2+3"},
        {"used before the other comes",
         "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n%2 = bootstrap %0 range=1\n%3 "
         "= mul %2, %2\n%4 = add %3, %1\n"
         "%5 = bootstrap %1 range=1\n%6 = add %4, %5\n%7 = output %6 layout=@0\n",
         "2+5"},
        {"the second one would need the first",
         "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n%2 = bootstrap %0 range=1\n%3 "
         "= mul %2, %1\n"
         "%4 = bootstrap %3 range=1\n%5 = bootstrap %1 range=1\n%6 = add %4, %5\n"
         "%7 = output %6 layout=@0\n",
         "4+5"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct arena *a = arena_new();
        cr_expect_str_eq(pairs_of(a, row[i].nodes), row[i].pairs, "%s", row[i].why);
        arena_free(a);
    }
}

/* ---- what comes of it ------------------------------------------------------------------------ */

enum { SLOTS = 8 };

/* Two ciphertexts a value through two rounds of a layer that mixes them; `odd` a third bootstrap */
static struct prog *network(struct arena *a, const struct opts *o, bool odd, const char *last)
{
    struct str s;
    str_init(&s, a);
    str_add(&s, "%0 = input part=0 layout=@0\n%1 = input part=0 layout=@0\n");
    uint32_t x = 0, y = 1, id = 2;
    for (int round = 0; round < 2; round++) {
        str_addf(&s, "%%%u = bootstrap %%%u range=1\n", id, x);
        str_addf(&s, "%%%u = mul %%%u, %%%u\n", id + 1, id, id);
        str_addf(&s, "%%%u = bootstrap %%%u range=1\n", id + 2, y);
        str_addf(&s, "%%%u = mul %%%u, %%%u\n", id + 3, id, id + 2);
        str_addf(&s, "%%%u = sub %%%u, %%%u\n", id + 4, id + 1, id + 3);
        x = id + 3;
        y = id + 4;
        id += 5;
    }
    if (odd) {
        str_addf(&s, "%%%u = bootstrap %%%u range=1\n", id, y);
        y = id++;
    }
    str_addf(&s, "%%%u = add %%%u, %%%u\n%%%u = output %%%u layout=@0\n", id, x, y, id + 1, id);
    return pkit_run(pkit_program(a, STAGE_SLOT, s.s), "lower_slot_ckks", last, o);
}

static void fill(double *x)
{
    for (int i = 0; i < SLOTS; i++)
        x[i] = cos(i + 0.3) * 0.9;
}

/* The network's value on numbers: both inputs are the same ciphertext here. */
static double exact(double v, bool odd)
{
    double x = v, y = v;
    for (int round = 0; round < 2; round++) {
        double xx = x * x, xy = x * y;
        x = xy;
        y = xx - xy;
    }
    (void)odd; /* one more bootstrap changes no value */
    return x + y;
}

static struct opts toy(bool single)
{
    return (struct opts){.log_n = 10, .insecure = true, .boot_single = single};
}

Test(boot_pair, both_ways_give_the_same)
{
    for (int odd = 0; odd < 2; odd++) {
        struct arena *a = arena_new();
        double x[SLOTS], y[2][SLOTS];
        uint32_t calls[2];
        fill(x);
        for (int single = 0; single < 2; single++) {
            struct opts o = toy(single);
            struct prog *p = network(a, &o, odd, "ckks_regs");
            prog_verify(p, "ckks_regs");
            calls[single] = pkit_count(p, OP_call);
            sim_run(p, NULL, x, y[single]);
            uint32_t sparse = 0;
            for (uint32_t i = 0; i < p->num_keys; i++)
                if (p->keys[i].kind == KEY_KIND_ENCAPSULATE) {
                    sparse++;
                    cr_expect_eq(p->keys[i].level, 0);
                }
            cr_expect_eq(sparse, 1);
        }
        /* the first two bootstraps have one operand; the others can be in pairs, but for the odd one */
        cr_expect_lt(calls[0], calls[1]);
        for (int i = 0; i < SLOTS; i++) {
            cr_expect_float_eq(y[0][i], y[1][i], 0x1p-13);
            cr_expect_float_eq(y[0][i], exact(x[i], odd), 0x1p-9);
        }
        arena_free(a);
    }
}

Test(boot_pair, functions_and_text)
{
    struct arena *a = arena_new();
    struct opts o = toy(false);
    o.boot_precision = 12;
    struct prog *p = network(a, &o, true, "ckks_expand");
    bool complex = false, real = false;
    uint32_t stc = 0;
    for (uint32_t f = 0; f < p->num_funcs; f++) {
        complex = complex || strncmp(p->funcs[f].name, "boot_raise_complex_8", 20) == 0;
        real = real || strncmp(p->funcs[f].name, "boot_raise_8", 12) == 0;
        stc += strncmp(p->funcs[f].name, "boot_stc_8", 10) == 0;
    }
    cr_expect(complex && real);
    cr_expect_eq(stc, 1, "SlotToCoeff is the same for both");
    struct boot_summary s = boot_summary(p);
    cr_expect_eq(2 * s.bootstraps, pkit_count(p, OP_call));
    struct str once, twice;
    str_init(&once, a);
    str_init(&twice, a);
    prog_print(p, &once);
    prog_print(prog_parse(a, "text", once.s, once.len), &twice);
    cr_expect_str_eq(once.s, twice.s);
    arena_free(a);
}

/* Twice the coefficients, twice the probability */
Test(boot_pair, failure_counts_both_parts)
{
    static const char *const text[] = {
        "%0 = input part=0 layout=@0\n%1 = bootstrap %0 range=1\n%2 = output %1 layout=@0\n",
        "%0 = input part=0 layout=@0\n%1 = bootstrap %0 range=1 complex=1\n%2 = output %1 "
        "layout=@0\n"};
    double failure[2];
    for (int k = 0; k < 2; k++) {
        struct arena *a = arena_new();
        struct opts o = toy(false);
        failure[k] = boot_summary(pkit_run(pkit_program(a, STAGE_SLOT, text[k]), "lower_slot_ckks",
                                           "ckks_expand", &o))
                         .log2_failure;
        arena_free(a);
    }
    cr_expect_float_eq(failure[1], failure[0] + 1, 1e-6);
}

Test(boot_pair, cost)
{
    struct params q = {.log_n = 15, .num_q = 16, .num_p = 3, .alpha = 3, .boot_level = 5};
    double one = boot_cost(&q, 1u << 14), two = boot_cost_pair(&q, 1u << 14);
    cr_log_info("one %.1f ms, a pair %.1f ms", one / 1e6, two / 1e6);
    cr_expect_gt(two, one);
    cr_expect_lt(two, 1.7 * one);
    cr_expect_eq(boot_cost_many(&q, 1u << 14, 5, true), 2 * two + one);
    cr_expect_eq(boot_cost_many(&q, 1u << 14, 5, false), 5 * one);
    q.num_q += BOOT_ARCSINE_LEVELS;
    q.arcsine = 3;
    cr_expect_gt(boot_cost(&q, 1u << 14), one);
}

/* ---- the arcsine ----------------------------------------------------------------------------- */

Test(boot_pair, arcsine_levels_and_bits)
{
    static const char *const text =
        "%0 = input part=0 layout=@0\n%1 = bootstrap %0 range=1\n%2 = output %1 layout=@0\n";
    double x[SLOTS], y[SLOTS], worst[2];
    uint32_t levels[2];
    for (int k = 0; k < 2; k++) {
        struct arena *a = arena_new();
        struct opts o = toy(false);
        o.boot_precision = k ? 12 : 11;
        struct prog *p =
            pkit_run(pkit_program(a, STAGE_SLOT, text), "lower_slot_ckks", "ckks_regs", &o);
        cr_expect_eq(p->params.arcsine, k ? 3 : 0);
        levels[k] = p->params.num_q - p->params.boot_level;
        for (int i = 0; i < SLOTS; i++)
            x[i] = i % 2 ? -1 : 1;
        sim_run(p, NULL, x, y);
        worst[k] = 0;
        for (int i = 0; i < SLOTS; i++)
            worst[k] = fmax(worst[k], fabs(y[i] - x[i]));
        arena_free(a);
    }
    cr_expect_eq(levels[1], levels[0] + BOOT_ARCSINE_LEVELS);
    cr_log_info("largest values: %.2f and %.2f bits", -log2(worst[0]), -log2(worst[1]));
    cr_expect_float_eq(-log2(worst[0]), boot_bend_bits(0), 0.1);
    cr_expect_gt(-log2(worst[1]), 17);
    cr_expect_gt(boot_bend_bits(3), 20);
}

Test(boot_pair, no_more_bits_than_there_are, .exit_code = 1)
{
    struct opts o = toy(false);
    o.boot_precision = 18;
    pkit_run(
        pkit_program(
            arena_new(), STAGE_SLOT,
            "%0 = input part=0 layout=@0\n%1 = bootstrap %0 range=1\n%2 = output %1 layout=@0\n"),
        "lower_slot_ckks", "ckks_regs", &o);
}

/* ---- fifty in a row, at 128 bits and all slots ------------------------------------------------ */

static double deviation_after(uint32_t boots, uint32_t n)
{
    struct arena *a = arena_new();
    struct str s;
    str_init(&s, a);
    str_addf(&s,
             "# after slot_clean\nweft-ir 1 stage=slot\nmodel \"boot\" hash=00000000000000b2 "
             "input=1x1x%u range=[-1,1] outputs=%u\nmean [0]\nstd [1]\n"
             "@0 = layout 1x1x%u n=%u g=1,1 t=1,1 pitch=%u block=%u\nprogram\n"
             "%%0 = input part=0 layout=@0 : vec %u\n",
             n, n, n, n, n, n, n);
    for (uint32_t i = 0; i < boots; i++)
        str_addf(&s, "%%%u = bootstrap %%%u range=1 : vec %u\n", i + 1, i, n);
    str_addf(&s, "%%%u = output %%%u layout=@0\n", boots + 1, boots);
    struct opts o = {.log_n = 15};
    struct prog *p = prog_parse(a, "boot", s.s, s.len);
    p = pipeline_run(p, pass_find("lower_slot_ckks"), pass_find("ckks_expand"), &o, NULL, NULL);
    cr_expect_eq(p->params.lambda_bits, 128);
    double *x = arena_array(a, n, sizeof *x), *y = arena_array(a, n, sizeof *y), sum = 0, mean = 0;
    for (uint32_t i = 0; i < n; i++)
        x[i] = 0.125 * cos(1.7 * i);
    sim_run(p, &(struct sim_options){.noise = true, .seed = 7}, x, y);
    for (uint32_t i = 0; i < n; i++) {
        sum += (y[i] - x[i]) * (y[i] - x[i]);
        mean += (y[i] - x[i]) / n;
    }
    double deviation = sqrt(sum / n);
    cr_log_info("%u in a row: deviation 2^%.2f, mean %.2g", boots, log2(deviation), mean);
    cr_expect_lt(fabs(mean), 8 * deviation / sqrt(n));
    arena_free(a);
    return deviation;
}

Test(boot_pair, fifty_in_a_row_at_full_size, .timeout = 300)
{
    double one = deviation_after(1, 1u << 14), fifty = deviation_after(50, 1u << 14);
    cr_expect_lt(one, 0x1p-13);
    /* sqrt(50) and the bend, which is systematic but small at an eighth of the range */
    cr_expect_lt(fifty, 1.5 * sqrt(50) * one);
    cr_expect_gt(fifty, 0.5 * sqrt(50) * one);
}
