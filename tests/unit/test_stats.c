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
    cr_expect_eq(s.key_switches, 2);
    cr_expect_eq(s.plaintexts, 2);
    cr_expect_eq(s.pt_products, 1);
    cr_expect_eq(s.keys, 2);
    /* N = 64: 512 bytes a limb. Relinearisation: 3 digits of 3+1 limbs; by=3: 2 digits of 2+1 */
    cr_expect_eq(s.key_bytes, 512 * (3 * 4 + 2 * 3));
    cr_expect_eq(s.key_bytes_memory, 2 * s.key_bytes);
    cr_expect_eq(s.ciphertext_bytes_in, 512 * 3);
    cr_expect_eq(s.ciphertext_bytes_out, 512 * 2 * 2);
    cr_expect_eq(s.plaintext_bytes, 2 * (8 * 2 * 16) * 2, "two of 16 slots over 2 limbs");
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

Test(stats, json_is_json)
{
    for (int i = 0; i < num_ir_texts; i++) {
        struct prog *p = parsed(ir_texts[i].name);
        struct str s;
        str_init(&s, p->arena);
        prog_stats_print(p, true, &s);
        json_error_t error;
        json_t *root = json_loadb(s.s, s.len, JSON_REJECT_DUPLICATES, &error);
        cr_assert_not_null(root, "%s: %s", error.text, s.s);
        cr_expect_eq(json_integer_value(json_object_get(root, "nodes")), p->nodes.len);
        cr_expect_eq(json_integer_value(json_object_get(json_object_get(root, "ops"), "output")),
                     1);
        json_decref(root);
    }
}

Test(stats, text)
{
    struct prog *p = parsed("ckks");
    struct str s;
    str_init(&s, p->arena);
    prog_stats_print(p, false, &s);
    cr_expect_not_null(strstr(s.s, "stage                ckks\nnodes                15\n"), "%s",
                       s.s);
    cr_expect_not_null(strstr(s.s, "\nlog2_qp              140.00\n"), "%s", s.s);
    cr_expect_not_null(strstr(s.s, "\n  decompose          2\n"), "%s", s.s);
}
