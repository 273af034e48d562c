/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <string.h>

Test(lower_slot_ckks, every_op)
{
    struct prog *p =
        pkit_program(arena_new(), STAGE_SLOT,
                     "%0 = input part=0 layout=@0\n%1 = rot %0 by=5\n%2 = mul %0, %1\n"
                     "%3 = pmac %0, %2 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=8\n"
                     "%4 = padd %3 bias=$1 layout=@0 part=0\n%5 = sub %4, %0\n%6 = add %5, %0, %2\n"
                     "%7 = output %6 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "lower_slot_ckks", &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(p),
                     "input decompose key_mul(-3) mod_down mul decompose key_mul mod_down "
                     "pmac padd sub add output");
    for (uint32_t i = 0; i + 1 < p->nodes.len; i++) {
        const struct type *t = &p->nodes.at[i].type;
        cr_assert(t->kind >= KIND_CT && t->n == 8 && t->level == -1, "%%%u", i);
    }
}

/* Signed, so that vectors of different n share the key; half a turn is positive. */
Test(lower_slot_ckks, rotations)
{
    static const struct {
        int by, want;
    } table[] = {{1, 1},  {3, 3},  {4, 4}, {5, -3},  {7, -1}, {-1, -1},
                 {-4, 4}, {-5, 3}, {9, 1}, {15, -1}, {0, 0},  {8, 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct arena *a = arena_new();
        const char *text = arena_printf(
            a, "%%0 = input part=0 layout=@0\n%%1 = rot %%0 by=%d\n%%2 = output %%1 layout=@0\n",
            table[i].by);
        struct prog *p = pkit_run(pkit_program(a, STAGE_SLOT, text), "lower_slot_ckks",
                                  "lower_slot_ckks", &(struct opts){0});
        int64_t by = table[i].want ? node_int(&p->nodes.at[2], KEY_by) : 0;
        cr_expect_eq(by, table[i].want, "rotation by %d: %lld", table[i].by, (long long)by);
        cr_expect_eq(p->nodes.len, table[i].want ? 5 : 2);
        arena_free(a);
    }
}

/* A raised value: rotations of one digit, and one copy under the dense secret for all else. */
Test(lower_slot_ckks, raised)
{
    struct prog *p =
        pkit_program(arena_new(), STAGE_SLOT,
                     "%0 = input part=0 layout=@0\n%1 = mod_raise %0 slots=16 modulus=1\n"
                     "%2 = rot %1 by=8\n%3 = add %1, %2 : vec 8\n%4 = rot %1 by=-1\n"
                     "%5 = add %4, %1 : vec 8\n%6 = conj %3\n%7 = add %5, %6\n"
                     "%8 = output %7 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "lower_slot_ckks", &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(p),
                     "input encapsulate mod_raise raised_mul(8) mod_down raised_mul mod_down add "
                     "raised_mul(-1) mod_down add decompose key_mul mod_down add output");
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_key_mul)
            cr_assert_eq(node_int_or(&p->nodes.at[i], KEY_conjugate, 0), 1);
}

/* Nobody reads it but rotations: there is no copy. */
Test(lower_slot_ckks, raised_and_rotated)
{
    struct prog *p = pkit_program(arena_new(), STAGE_SLOT,
                                  "%0 = input part=0 layout=@0\n"
                                  "%1 = mod_raise %0 slots=8 modulus=1\n%2 = rot %1 by=3\n"
                                  "%3 = output %2 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "lower_slot_ckks", &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(p), "input encapsulate mod_raise raised_mul(3) mod_down output");
}

/* Reading a product at another scale comes before relinearisation. */
Test(lower_slot_ckks, relabelled_product)
{
    struct prog *p =
        pkit_program(arena_new(), STAGE_SLOT,
                     "%0 = input part=0 layout=@0\n%1 = mul %0, %0\n%2 = relabel %1 gain=2\n"
                     "%3 = output %2 layout=@0\n");
    p = prog_clean(pkit_run(p, "lower_slot_ckks", "lower_slot_ckks", &(struct opts){0}));
    cr_assert_str_eq(pkit_ops_of(p), "input mul relabel decompose key_mul mod_down output");
}

/* What both stages share goes through, calls and functions too. */
Test(lower_slot_ckks, shared_ops)
{
    static const char text[] =
        "weft-ir 1 stage=slot\nmodel \"kit\" hash=0000000000000001 input=1x1x8 range=[-1,1] "
        "outputs=8\nmean [0]\nstd [1]\n"
        "@0 = layout 1x1x8 n=8 g=1,1 t=1,1 pitch=8 block=8\n"
        "function \"f\"\n%0 = input : vec 8\n%1 = conj %0\n%2 = output %1\n"
        "program\n%0 = input part=0 layout=@0\n%1 = call %0 func=0\n"
        "%2 = comb %0, %1 factors=[2,-1] constant=1\n%3 = add_scalar %2 constant=3\n"
        "%4 = times_i %3\n%5 = relabel %4 gain=2\n%6 = bootstrap %5 range=1\n"
        "%7 = output %6 layout=@0\n";
    struct prog *p = prog_parse(arena_new(), "kit", text, sizeof text - 1);
    prog_verify(p, NULL);
    p = pkit_run(p, "lower_slot_ckks", "lower_slot_ckks", &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(p), "input call comb add_scalar times_i relabel bootstrap output");
    cr_assert_eq(p->num_funcs, 1);
    cr_assert_str_eq(pkit_ops_of(prog_of_func(p, 0)), "input decompose key_mul mod_down output");
}

static void run_lower(void *ctx)
{
    lower_slot_ckks(ctx, &(struct opts){0});
}

Test(lower_slot_ckks, refuses_lin)
{
    struct prog *p = pkit_program(
        arena_new(), STAGE_SLOT,
        "%0 = input part=0 layout=@0\n%1 = lin %0 map=&0 out=0\n%2 = output %1 layout=@0\n");
    struct caught c = ir_catch(run_lower, p);
    cr_assert(c.ended && !c.bug && strstr(c.text, "run slot_bsgs first"), "%s", c.text);
}
