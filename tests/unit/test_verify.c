/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "ir_texts.h"

#include <criterion/criterion.h>
#include <string.h>

/* Programs that the parser accepts or that a wrong pass could make; a change of a good one. */

struct job {
    struct prog *p;
    const char *after;
};
static void verify(void *ctx)
{
    const struct job *j = ctx;
    prog_verify(j->p, j->after);
}

static struct prog *parsed(const char *text)
{
    diag_reset();
    return prog_parse(arena_new(), "t.ir", text, strlen(text));
}

static struct caught verified(struct prog *p, const char *after)
{
    struct job j = {p, after};
    return ir_catch(verify, &j);
}

/* clang-format off */
/* The first `from` of a good text becomes `to`: still text, but not legal. */
static const struct {
    const char *text, *from, *to, *want;
} texts[] = {
    {"nn", "%7 = output %6\n", "", "it has 0 outputs, it must have 1"},
    {"nn", "%7 = output %6\n", "%7 = output %6\n%8 = output %6\n", "it has 2 outputs"},
    {"nn_layout", "%2 = mul %1, %1 : tensor 2x4x4 @1", "%2 = mul %1, %1 : tensor 2x4x4", "some tensors have a layout and some have none"},
    {"nn_layout", "%1 = map %0 map=&0 bias=$1 : tensor 2x4x4 @1", "%1 = map %0 map=&1 bias=$1 : tensor 2x4x4 @1", "wants 2 operands"},
    {"nn_layout", "reference\n%0 = input : tensor 1x4x4\n", "reference\n%0 = input : tensor 1x4x4 @0\n", "some tensors have a layout"},
    {"nn_layout", "%2 = output %1\n", "", "it has 0 outputs"},
    {"ckks", "L=2 S=1073741824\n", "L=2 S=1e+33\n", "scale 9.9999999999999995e+32 does not fit in the modulus of level 2"},
    {"ckks", "%4 = mod_down %3 drop=1 reg=1 : ct 16 L=1", "%4 = mod_down %3 drop=1 reg=1 : ct 16 L=2", "level 2, the operands give 1"},
    {"ckks", "L=1 S=1073743999.0044057", "L=1 S=1073743999.0144057", "scale 1073743999.0144057, the operands give 1073743999.0044057"},
    {"ckks", "%5 = drop_to %0 to=1 reg=0 : ct 16 L=1 S=1073741824", "%5 = drop_to %0 to=1 reg=0 : ct 16", "some values have a level and some have none"},
    {"ckks", "key rotate by=3 level=1", "key rotate by=5 level=1", "there is no key rotate by=3 for level 1"},
    {"ckks", "key relinearise level=2", "key relinearise level=1", "there is no key relinearise by=0 for level 2"},
    {"ckks", "key relinearise level=2\nkey rotate by=3 level=1", "key rotate by=3 level=1\nkey relinearise level=2", "key 1 (by=0 level=2) is out of order"},
    {"ckks", "key rotate by=3 level=1", "key rotate by=3 level=3", "out of order or out of range"},
    {"ckks", "key rotate by=3 level=1", "key rotate by=3 level=1\nkey rotate by=32 level=1", "out of order or out of range"},
    {"ckks", "registers [384,576,1024,512]\n", "", "a register is assigned, but there are none"},
    {"ckks", "registers [384,576,1024,512]", "registers [384,576,1024]", "there is no register for the value"},
    {"ckks", "to=1 reg=0", "to=1", "there is no register for the value"},
    {"ckks", "drop=1 reg=1", "drop=1 reg=0", "register 0 no longer holds %0"},
    {"ckks", "decompose %1 reg=2", "decompose %1 reg=1", "the result may not overwrite an operand"},
    {"ckks", "pt_scale=1 reg=2", "pt_scale=1 reg=0", "the result may not overwrite an operand"},
    {"ckks", "log_n=6", "log_n=12", "parameters: a modulus is no prime"},
    {"ckks", "log_n=6", "log_n=4", "16 slots do not fit in a ring of degree 2^4"},
    {"ckks", "log_n=6 alpha=1 scale=1073741824", "log_n=6 alpha=1 scale=0", "parameters: scales must be positive"},
    {"ckks", "insecure=1", "insecure=0", "parameters: log2 QP is too large"},
    {"ckks", "p [1099511622529]", "p [1099511623297]", "a prime is used twice"},
    {"ckks", "params log_n=6 alpha=1 scale=1073741824 input_scale=1073741824 insecure=1 lambda=0\n", "", "parameters: the ring degree"},
    /* keys by kind */
    {"boot", "key conjugate level=4\n", "", "there is no key conjugate by=0 for level 4"},
    {"boot", "key conjugate level=4", "key conjugate by=1 level=4", "key 2 (by=1 level=4) is out of order or out of range"},
    {"boot", "key encapsulate level=0\n", "", "there is no key encapsulate by=0 for level 0"},
    {"boot", "key encapsulate level=0", "key encapsulate level=1", "key 3 (by=0 level=1) is out of order or out of range"},
    {"boot", "key raised level=5\n", "", "there is no key raised by=0 for level 5"},
    {"boot", "key raised by=3 level=5", "key raised by=3 level=4", "there is no key raised by=3 for level 5"},
    {"boot", "key rotate by=5", "key rotate", "key 1 (by=0 level=1) is out of order or out of range"},
    /* parameters of bootstraps */
    {"boot", "boot_level=2 sparse_weight=4", "boot_level=6 sparse_weight=4", "the level after a bootstrap"},
    {"boot", "boot_level=2 sparse_weight=4", "boot_level=1 sparse_weight=4", "the level after a bootstrap"},
    {"boot", "boot_level=2 sparse_weight=4", "boot_level=2", "the weight of the sparse secret"},
    {"boot", "boot_level=2 sparse_weight=4", "boot_level=2 sparse_weight=65", "the weight of the sparse secret"},
    {"boot", "boot_level=2 sparse_weight=4", "boot_level=2 sparse_weight=4 arcsine=2", "parameters: arcsine is 3 in"},
    {"boot", " boot_level=2 sparse_weight=4", " arcsine=3", "parameters: arcsine is 3 in"},
    {"boot", " boot_level=2 sparse_weight=4", "", "key 3 (by=0 level=0) is out of order or out of range"},
    /* functions */
    {"boot", "function \"stc\"", "function \"2stc\"", "'2stc' is no name for a function"},
    {"boot", "function \"stc\"", "function \"\"", "'' is no name for a function"},
    {"boot", "function \"stc\"", "function \"a b\"", "'a b' is no name for a function"},
    {"boot", "%8 = output %7\n", "%8 = output %7\n%9 = output %7\n", "it has 2 outputs, it must have 1"},
    {"boot", "%8 = output %7\n", "%8 = output %7\n%9 = input reg=0 : ct 32 L=1 S=1073741824\n", "the function has 2 inputs, it must have 1"},
    {"boot_slot", "%7 = conj %6", "%7 = bootstrap %6", "functions do not bootstrap"},
    {"boot", "%5 = relabel %4 gain=0.75 reg=6 : ct 32 L=2 S=121265961.11154753", "%5 = add %4, %4 reg=6 : ct 32 L=2 S=90949470.8", "scale 90949470.799999997, the operands give 90949470.833660647"},
    /* raised values may not overwrite what they come from */
    {"boot", "to=5 reg=1", "to=5 reg=0", "the result may not overwrite an operand"},
    {"boot", "by=3 reg=3", "by=3 reg=1", "the result may not overwrite an operand"},
    {"boot", "to_scale=1e+20 reg=2", "to_scale=1e+20 reg=1", "the result may not overwrite an operand"},
    /* what a function writes is gone after the call */
    {"boot", "layout=@0 reg=5", "layout=@0 reg=4", "register 4 no longer holds %0"},
    {"boot", "layout=@0 reg=5", "layout=@0 reg=2", "register 2 no longer holds %0"},
};
/* clang-format on */

static char *plant(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    cr_assert_not_null(at, "'%s' is not in the text", from);
    struct str s;
    str_init(&s, arena_new());
    str_addn(&s, text, (size_t)(at - text));
    str_add(&s, to);
    str_add(&s, at + strlen(from));
    return s.s;
}

struct parse_job {
    const char *text;
};
static void parse_and_verify(void *ctx)
{
    const struct parse_job *j = ctx;
    prog_verify(parsed(j->text), NULL);
}

Test(verify, good_programs)
{
    for (int i = 0; i < num_ir_texts; i++) {
        struct caught c = verified(parsed(ir_texts[i].text), "some pass");
        cr_expect_not(c.ended, "%s: %s", ir_texts[i].name, c.text);
    }
}

Test(verify, illegal_texts)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct parse_job j = {plant(ir_text(texts[i].text), texts[i].from, texts[i].to)};
        struct caught c = ir_catch(parse_and_verify, &j);
        cr_expect(c.ended && !c.bug, "accepted: %s -> %s", texts[i].from, texts[i].to);
        cr_expect_not_null(strstr(c.text, texts[i].want), "%s -> %s\nwanted '%s', found '%s'",
                           texts[i].from, texts[i].to, texts[i].want, c.text);
    }
}

/* ---- what only a pass can get wrong --------------------------------------------------------- */

static void forward_operand(struct prog *p)
{
    ((uint32_t *)(uintptr_t)p->nodes.at[4].args)[0] = 5;
}
static void own_operand(struct prog *p)
{
    ((uint32_t *)(uintptr_t)p->nodes.at[4].args)[0] = 4;
}
static void wild_operand(struct prog *p)
{
    ((uint32_t *)(uintptr_t)p->nodes.at[4].args)[0] = 4000000;
}
static void wrong_stage(struct prog *p)
{
    p->nodes.at[0].op = OP_decompose;
}
static void constant_among_nodes(struct prog *p)
{
    p->nodes.at[0].op = OP_c_abs;
}
static void node_among_constants(struct prog *p)
{
    p->consts.at[0].op = OP_input;
}
static void attributes_out_of_order(struct prog *p)
{
    struct attr t = p->nodes.at[3].attrs[0];
    p->nodes.at[3].attrs[0] = p->nodes.at[3].attrs[1];
    p->nodes.at[3].attrs[1] = t;
}
static void attribute_missing(struct prog *p)
{
    p->nodes.at[3].num_attrs--;
}
static void attribute_repeated(struct prog *p)
{
    p->nodes.at[3].attrs[1] = p->nodes.at[3].attrs[0];
}
static void wrong_slots(struct prog *p)
{
    p->nodes.at[2].type.n = 8;
}
static void wrong_kind(struct prog *p)
{
    p->nodes.at[2].type.kind = KIND_CT;
}
static void layer_lost(struct prog *p)
{
    p->nodes.at[2].layer = NULL;
}
static void layout_spoilt(struct prog *p)
{
    p->layouts[0].pitch = 1;
}
static void map_spoilt(struct prog *p)
{
    p->maps[0].term[0].groups = 3;
}
static void wild_layout(struct prog *p)
{
    p->maps[0].out_layout = 77;
}
static void wild_const(struct prog *p)
{
    p->nodes.at[11].attrs[0].v.i = 1 << 20;
}
static void negative_map(struct prog *p)
{
    p->nodes.at[3].attrs[0].v.i = -1;
}

Test(verify, broken_programs)
{
    static const struct {
        void (*spoil)(struct prog *p);
        const char *want;
    } table[] = {
        {forward_operand, "operand 5 does not come before its use"},
        {own_operand, "operand 4 does not come before its use"},
        {wild_operand, "operand 4000000 does not come before its use"},
        {wrong_stage, "out of order"},
        {constant_among_nodes, "unknown, repeated or out of order"},
        {node_among_constants, "input is no constant"},
        {attributes_out_of_order, "attribute 'map' is unknown, repeated or out of order"},
        {attribute_missing, "attribute 'period' is missing"},
        {attribute_repeated, "attribute 'map' is given twice"},
        {wrong_slots, "number of slots"},
        {wrong_kind, "kind is not the one"},
        {layer_lost, "has no layer"},
        {layout_spoilt, "layout @0: pitch is smaller than a row"},
        {map_spoilt, "map &0: 2 output channels do not divide into 3 groups"},
        {wild_layout, "map &0: there is no layout @77"},
        {wild_const, "bias names entry 1048576, but there are only 2"},
        {negative_map, "map names entry -1, but there are only 1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct prog *p = parsed(ir_text("slot"));
        table[i].spoil(p);
        struct caught c = verified(p, "slot_bsgs");
        cr_expect(c.bug, "%s", table[i].want);
        cr_expect_not_null(strstr(c.text, table[i].want), "wanted '%s', found '%s'", table[i].want,
                           c.text);
        cr_expect_not_null(strstr(c.text, "internal error: after slot_bsgs: "), "%s", c.text);
    }
}

/* The same finding is the user's mistake when the text was the user's. */
Test(verify, whose_fault)
{
    struct prog *p = parsed(ir_text("slot"));
    p->nodes.at[2].type.n = 8;
    struct caught c = verified(p, NULL);
    cr_expect(c.ended && !c.bug);
    cr_expect_not_null(strstr(c.text, "m.yaml:3:1: error: not a legal slot program: "), "%s",
                       c.text);
    cr_expect_not_null(strstr(c.text, "in: %2 = rot %0 by=1 : vec 8  # fc m.yaml:3:1"), "%s",
                       c.text);
}
