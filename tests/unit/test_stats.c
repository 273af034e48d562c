/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "ir_texts.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

static struct prog *parsed(const char *name)
{
    const char *text = ir_text(name);
    return prog_parse(arena_new(), "t.ir", text, strlen(text));
}

Test(stats, ckks_by_hand)
{
    struct prog_stats s = prog_stats(parsed("ckks"));
    cr_expect_eq(s.nodes, 15);
    cr_expect_eq(s.by_op[OP_decompose], 2);
    cr_expect_eq(s.layers, 1);
    cr_expect_eq(s.depth, 1, "from level 2 to level 1");
    cr_expect_eq(s.rotations, 1);
    cr_expect_eq(s.key_switches, 2, "key_mul twice");
    cr_expect_eq(s.decompositions, 2);
    cr_expect_eq(s.plaintexts, 2);
    cr_expect_eq(s.pt_products, 1);
    cr_expect_eq(s.keys, 2);
    /* N = 64: 512 bytes a limb. Relinearisation: 3 digits of 3+1 limbs; by=3: 2 digits of 2+1 */
    cr_expect_eq(s.key_bytes, 512 * (3 * 4 + 2 * 3));
    cr_expect_eq(s.ciphertext_bytes_in, 512 * 3);
    cr_expect_eq(s.ciphertext_bytes_out, 512 * 2 * 2);
    cr_expect_eq(s.plaintext_bytes, 2 * (8 * 2 * 16) * 2, "two of 16 slots over 2 limbs");
    cr_expect_eq(s.plaintext_bytes_least, (8 + 16) * 16, "one at scale 1, the bias at 2^60");
    cr_expect_eq(s.register_bytes, 8 * (384 + 576 + 1024 + 512));
    cr_expect_float_eq(s.log2_qp, 140, 0.01);
}

Test(stats, digits_hold_alpha_primes)
{
    struct prog *p = parsed("ckks");
    p->params.alpha = 2;
    /* 2 digits of 3+1 limbs, 1 digit of 2+1 */
    cr_expect_eq(prog_stats(p).key_bytes, 512 * (2 * 4 + 1 * 3));
}

Test(stats, slot_by_hand)
{
    struct prog_stats s = prog_stats(parsed("slot"));
    cr_expect_eq(s.rotations, 4);
    cr_expect_eq(s.pt_products, 2);
    cr_expect_eq(s.depth, 1);
    cr_expect_eq(s.key_bytes, 0);
}

Test(stats, nn_by_hand)
{
    struct prog_stats s = prog_stats(parsed("nn"));
    cr_expect_eq(s.layers, 3, "conv, odd name, act");
    cr_expect_eq(s.depth, 5, "conv, norm, poly, pool, linear");
}

/* What a function has counts once, what it does counts as often as it is called. */
Test(stats, functions)
{
    static const struct {
        const char *calls;
        uint32_t rotations, products;
    } table[] = {{"%1 = call %0 func=0\n%2 = call %1 func=1\n", 1, 1},
                 {"%1 = call %0 func=0\n%2 = call %1 func=0\n", 0, 0},
                 {"%1 = call %0 func=1\n%2 = call %1 func=1\n", 2, 2}};
    const char *text = ir_text("boot_slot");
    const char *program = strstr(text, "program\n%0");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct str s;
        str_init(&s, arena_new());
        str_addn(&s, text, (size_t)(program - text));
        str_addf(&s, "program\n%%0 = input part=0 layout=@0\n%s%%3 = output %%2 layout=@0\n",
                 table[i].calls);
        struct prog *p = prog_parse(s.a, "t.ir", s.s, s.len);
        prog_verify(p, NULL);
        struct prog_stats stats = prog_stats(p);
        cr_expect_eq(stats.nodes, 3 + 13 + 4);
        cr_expect_eq(stats.by_op[OP_call], 2);
        cr_expect_eq(stats.rotations, table[i].rotations);
        cr_expect_eq(stats.pt_products, table[i].products);
        cr_expect_eq(stats.plaintexts, 1);
        cr_expect_eq(stats.plaintext_bytes, 0, "no levels yet");
    }
}

Test(stats, bootstrap_by_hand)
{
    struct prog_stats s = prog_stats(parsed("boot"));
    cr_expect_eq(s.rotations, 3, "key_mul by=5 and conjugating, raised_mul by=3");
    cr_expect_eq(s.key_switches, 6, "three key_mul, one encapsulate, two raised_mul");
    cr_expect_eq(s.decompositions, 4, "three decompose, one encapsulate");
    cr_expect_eq(s.depth, 1, "from level 2 to 1; what calls use up they give back");
    /* N = 64: 512 bytes a limb, 2 primes a digit, one special prime. Relinearise and conjugate at level 4:
     * 3 digits of 6 limbs; rotate at level 1: 1 of 3; encapsulate: q_0 p_0; raised: 1 digit of 7. */
    cr_expect_eq(s.key_bytes, 512 * (2 * 3 * 6 + 3 + 2 + 2 * 7));
}

Test(stats, memory_of_one_image_and_of_several)
{
    struct prog *p = parsed("ckks");
    struct prog_stats s = prog_stats(p);
    struct prog_memory m = prog_memory(p);
    cr_expect_eq(m.keys, s.key_bytes + 64 * 2);
    cr_expect_eq(m.plaintexts, 1 << 20, "a block");
    cr_expect_eq(m.registers, s.register_bytes);
    cr_expect_gt(m.other, 14 << 20);
    cr_expect_eq(m.least, m.keys + m.plaintexts + m.registers + m.other);
    cr_expect_eq(m.all, m.least - 2 * (8 * 2 * 16) + s.key_bytes + s.plaintext_bytes,
                 "no limbs in work");
    cr_expect_eq(m.budget, (uint64_t)11 << 29);
    cr_expect_eq(m.usual, m.all);
    p->max_memory = m.least + 100;
    cr_expect_eq(prog_memory(p).usual, m.least + 100, "no more than is allowed");
    p->max_memory = 1;
    cr_expect_eq(prog_memory(p).usual, m.least, "no less than is needed");
    cr_expect_eq(prog_memory(p).budget, 1);
    cr_expect_eq(prog_memory(parsed("slot")).least, 0, "not known yet");
}

Test(stats, json_is_json)
{
    for (int i = 0; i < num_ir_texts; i++) {
        struct prog *p = parsed(ir_texts[i].name);
        struct str s;
        str_init(&s, p->arena);
        prog_stats_print(p, true, NULL, 0, &s);
        json_error_t error;
        json_t *root = json_loadb(s.s, s.len, JSON_REJECT_DUPLICATES, &error);
        cr_assert_not_null(root, "%s: %s", error.text, s.s);
        uint32_t nodes = p->nodes.len;
        for (uint32_t f = 0; f < p->num_funcs; f++) {
            nodes += p->funcs[f].nodes.len;
        }
        cr_expect_eq(json_integer_value(json_object_get(root, "nodes")), nodes);
        cr_expect_eq(json_integer_value(json_object_get(json_object_get(root, "ops"), "output")),
                     1 + p->num_funcs);
        json_decref(root);
    }
}

Test(stats, text)
{
    struct prog *p = parsed("ckks");
    struct str s;
    str_init(&s, p->arena);
    prog_stats_print(p, false, NULL, 0, &s);
    cr_expect_not_null(strstr(s.s, "stage                 ckks\nnodes                 15\n"), "%s",
                       s.s);
    cr_expect_not_null(strstr(s.s, "\nlog2_qp               140.00\n"), "%s", s.s);
    cr_expect_not_null(strstr(s.s, "\n  decompose           2\n"), "%s", s.s);
}
