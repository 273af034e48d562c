/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "ir_texts.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *printed(const struct prog *p)
{
    struct str s;
    str_init(&s, p->arena);
    prog_print(p, &s);
    return s.s;
}

/* Byte for byte: every construct of the text form, in every stage. */
Test(print, hand_written_texts_come_back)
{
    for (int i = 0; i < num_ir_texts; i++) {
        const struct ir_text *t = &ir_texts[i];
        struct prog *p = prog_parse(arena_new(), t->name, t->text, strlen(t->text));
        prog_verify(p, NULL);
        cr_expect_str_eq(printed(p), t->text, "%s:\n%s", t->name, printed(p));
    }
}

/* Locations and layers live through text, so that a restart gives the same C. */
Test(print, places_come_back)
{
    const char *text = ir_text("nn");
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    const struct node *n = &p->nodes.at[1];
    cr_expect_str_eq(n->layer, "conv");
    cr_expect_str_eq(diag_file_name(n->loc.file), "model.yaml");
    cr_expect_eq(n->loc.line, 9);
    cr_expect_eq(n->loc.col, 5);
    cr_expect_eq(p->consts.at[0].loc.line, 9);
    n = &p->nodes.at[2];
    cr_expect_str_eq(n->layer, "odd name");
    cr_expect_str_eq(diag_file_name(n->loc.file), "odd file");
    cr_expect_str_eq(p->nodes.at[0].layer, "");
    cr_expect_eq(p->nodes.at[0].loc.file, 0);
    cr_expect_str_eq(p->nodes.at[3].layer, "act");
    cr_expect_eq(p->nodes.at[3].loc.file, 0);
    cr_expect_str_eq(p->nodes.at[4].layer, "");
    cr_expect_eq(p->nodes.at[4].loc.line, 11);
    cr_expect_eq(p->nodes.at[1].layer, p->consts.at[0].layer, "one pointer a string");
}

Test(print, what_is_parsed_is_the_program)
{
    const char *text = ir_text("ckks");
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    cr_expect_eq(p->stage, STAGE_CKKS);
    cr_expect_eq(p->model.hash, 255);
    cr_expect_eq(p->params.log_n, 6);
    cr_expect(p->params.insecure);
    cr_expect_eq(p->params.num_q, 3);
    cr_expect_eq(p->num_keys, 2);
    cr_expect_eq(p->keys[1].by, 3);
    cr_expect_eq(p->num_regs, 4);
    cr_expect_eq(p->reg_words[2], 1024);
    cr_expect_float_eq(p->error_bound, 0.00012, 0);
    const struct node *n = &p->nodes.at[4];
    cr_expect_eq(n->op, OP_mod_down);
    cr_expect_eq(n->reg, 1);
    cr_expect_eq(n->type.kind, KIND_CT);
    cr_expect_eq(n->type.level, 1);
    cr_expect_eq(node_int(n, KEY_drop), 1);
    text = ir_text("nn_layout");
    p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    cr_expect_eq(p->reference.len, 3);
    cr_expect_eq(p->nodes.len, 4);
    const struct lterm *t = &p->maps[1].term[1];
    cr_expect(t->pad[0] == -1 && t->pad[1] == 1 && t->pad[2] == 2 && t->pad[3] == -2);
    cr_expect_eq(t->wrap, WRAP_SPIRAL);
    cr_expect_eq(t->up[1], 2);
    cr_expect_eq(p->layouts[1].perm[0], 1);
    cr_expect_eq(p->layouts[1].num_ct, 1);
}

/* What the printer never writes but people do: other order, no types, comments, blank lines. */
Test(print, loose_texts_are_normalised)
{
    const char *loose = "# a program\n\n  weft-ir 1 stage=nn # first line\nmodel \"m\" hash=1 "
                        "input=1x2x2 range=[0,1] outputs=4\r\n"
                        "\t$0=fill value=2 dims=[ 1 ]#l\n\n%0=input:tensor 1x2x2\n# between\n%1 = "
                        "add_channel %0 bias=$0 # \"l\"\n%2 = output %1";
    const char *want =
        "weft-ir 1 stage=nn\nmodel \"m\" hash=0000000000000001 input=1x2x2 range=[0,1] outputs=4\n"
        "$0 = fill dims=[1] value=2 : const [1]  # l\n%0 = input : tensor 1x2x2\n"
        "%1 = add_channel %0 bias=$0 : tensor 1x2x2  # l\n%2 = output %1\n";
    struct prog *p = prog_parse(arena_new(), "t.ir", loose, strlen(loose));
    cr_expect_str_eq(printed(p), want, "%s", printed(p));
}

/* Random programs of layouts, maps and constants: print, parse, print. */
Test(print, random_tables_come_back)
{
    uint64_t rng = kit_seed();
    for (int trial = 0; trial < 100; trial++) {
        struct arena *a = arena_new();
        struct prog *p = prog_new(a, STAGE_NN);
        p->model.input[0] = p->model.input[1] = p->model.input[2] = 1;
        struct build b = build_at(p, NO_LOC, "r");
        for (int i = 0; i < 5; i++) {
            uint32_t dims[3] = {ir_pick(&rng, 1, 9), ir_pick(&rng, 1, 9), ir_pick(&rng, 1, 9)};
            struct lterm t = {.in = {dims[0], dims[1], dims[2]},
                              .groups = 1,
                              .stride = {1, 1},
                              .dilation = {1, 1},
                              .up = {1, 1}};
            t.weight = ir_random_const(&b, &rng, (int64_t[]){dims[0], dims[0], 1, 1}, 4, 3);
            t.in_layout = ir_random_layout(p, &rng, dims, 3, 3);
            struct lmap m = {.out = {dims[0], dims[1], dims[2]}, .num_terms = 1, .term = &t};
            m.out_layout = ir_random_layout(p, &rng, dims, 3, 3);
            prog_add_map(p, &m);
        }
        const char *text = printed(p);
        struct prog *q = prog_parse(a, "t.ir", text, strlen(text));
        cr_assert_str_eq(printed(q), text);
        arena_free(a);
    }
}
