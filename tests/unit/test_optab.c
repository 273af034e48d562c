/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include "rt.h"

#include <criterion/criterion.h>
#include <string.h>

Test(optab, names_are_found)
{
    for (int i = 0; i < NUM_OPS; i++) {
        cr_expect_eq(op_find(op_info[i].name), (enum op)i, "%s", op_info[i].name);
    }
    for (int i = 0; i < NUM_KEYS; i++) {
        cr_expect_eq(key_find(key_name((enum key)i)), (enum key)i);
    }
    cr_expect_eq(op_find("conv3d"), NUM_OPS);
    cr_expect_eq(key_find(""), NUM_KEYS);
}

Test(optab, rows)
{
    const struct op_info *conv = &op_info[OP_conv2d];
    cr_expect_eq(conv->num_attrs, 7);
    cr_expect_eq(conv->num_required, 6);
    cr_expect_eq(conv->attr[0], KEY_w);
    cr_expect_eq(conv->attr[6], KEY_bias);
    cr_expect(conv->in_stage[STAGE_NN] && !conv->in_stage[STAGE_SLOT] &&
              !conv->in_stage[STAGE_CKKS]);
    cr_expect_eq(op_info[OP_c_add].num_required, 0);
    cr_expect_eq(op_info[OP_c_add].num_attrs, 1);
    cr_expect_eq(op_info[OP_c_abs].num_attrs, 0);
    cr_expect_eq(op_info[OP_input].num_attrs, 2);
    cr_expect_eq(op_info[OP_input].num_required, 0);
    cr_expect_eq(op_info[OP_add].operands, MANY);
    cr_expect(op_info[OP_mul].in_stage[STAGE_NN] && op_info[OP_mul].in_stage[STAGE_SLOT] &&
              op_info[OP_mul].in_stage[STAGE_CKKS]);
    cr_expect(op_info[OP_pmac].in_stage[STAGE_SLOT] && !op_info[OP_pmac].in_stage[STAGE_NN]);
    cr_expect_eq(op_info[OP_drop_to].flags, PURE | LINEAR | FREE);
}

/* Facts that every consumer of the table relies on. */
Test(optab, rows_are_consistent)
{
    for (int i = 0; i < NUM_OPS; i++) {
        const struct op_info *o = &op_info[i];
        bool any = o->in_stage[STAGE_NN] || o->in_stage[STAGE_SLOT] || o->in_stage[STAGE_CKKS];
        cr_expect_eq(o->is_const, !any, "%s", o->name);
        cr_expect_leq(o->num_required, o->num_attrs, "%s", o->name);
        cr_expect_leq(o->num_attrs, 12, "%s", o->name);
        for (uint32_t k = 0; k < o->num_attrs; k++) {
            cr_expect_lt(o->attr[k], NUM_KEYS, "%s", o->name);
            for (uint32_t j = 0; j < k; j++) {
                cr_expect_neq(o->attr[k], o->attr[j], "%s names an attribute twice", o->name);
            }
        }
    }
}

Test(optab, words)
{
    cr_expect_str_eq(stage_name(STAGE_CKKS), "ckks");
    cr_expect_str_eq(kind_name(KIND_DIGITS), "digits");
    cr_expect_str_eq(kind_name(KIND_RAISED), "raised");
    cr_expect_str_eq(key_kind_name(KEY_KIND_RELINEARISE), "relinearise");
    cr_expect_str_eq(key_kind_name(KEY_KIND_RAISED), "raised");
    cr_expect_str_eq(wrap_name(WRAP_SPIRAL), "spiral");
    cr_expect_eq(key_kind(KEY_file_tensor), ATTR_STR);
    cr_expect_eq(key_kind(KEY_in), ATTR_INTS);
    cr_expect_eq(key_kind(KEY_map), ATTR_MAP);
}

/* The runtime column against rt.h: a name that is not declared there does not compile. */
Test(optab, runtime_calls_exist)
{
    typedef void call(void);
#define NOCALL NULL
    static call *const calls[NUM_OPS] = {
#define OP(name, stages, operands, result, attrs, flags, function) [OP_##name] = (call *)function,
#include "ops.def"
    };
    for (int i = 0; i < NUM_OPS; i++) {
        /* input and output are the caller's business, a call is one of C, a bootstrap becomes calls; every
           other operation of the last stage computes */
        bool computes = op_info[i].in_stage[STAGE_CKKS] && i != OP_input && i != OP_output &&
                        i != OP_call && i != OP_bootstrap;
        cr_expect_eq(calls[i] != NULL, computes, "%s", op_info[i].name);
    }
}
