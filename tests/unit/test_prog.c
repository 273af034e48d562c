/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "ir_texts.h"
#include "passes.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static uint32_t fill(struct build *b, int64_t len, double value)
{
    build_ints(b, KEY_dims, &len, 1);
    build_real(b, KEY_value, value);
    return build_node(b, OP_fill, NULL, 0);
}

static struct prog *small(struct build *b)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    p->model.input[0] = 2;
    p->model.input[1] = p->model.input[2] = 3;
    p->model.num_outputs = 18;
    *b = build_at(p, NO_LOC, "l");
    return p;
}

Test(prog, constants_are_shared)
{
    struct build b;
    struct prog *p = small(&b);
    uint32_t one = fill(&b, 3, 1);
    uint32_t two = fill(&b, 3, 2);
    cr_expect_neq(one, two);
    cr_expect_eq(fill(&b, 3, 1), one);
    uint32_t sum = build2(&b, OP_c_add, one, two);
    cr_expect_neq(build2(&b, OP_c_add, two, one), sum);
    cr_expect_eq(build2(&b, OP_c_add, one, two), sum);
    build_str(&b, KEY_file_tensor, "w");
    build_ints(&b, KEY_dims, (int64_t[]){3}, 1);
    uint32_t w = build_node(&b, OP_weight, NULL, 0);
    build_ints(&b, KEY_dims, (int64_t[]){3}, 1);
    build_str(&b, KEY_file_tensor, "w"); /* the order of giving does not matter */
    cr_expect_eq(build_node(&b, OP_weight, NULL, 0), w);
    cr_expect_eq(p->consts.len, 5);
}

Test(prog, derived_programs_grow_apart)
{
    struct build b;
    struct prog *p = small(&b);
    uint32_t one = fill(&b, 3, 1);
    struct prog *q = prog_derive(p, STAGE_SLOT);
    struct build c = build_at(q, NO_LOC, "m");
    cr_expect_eq(fill(&c, 3, 1), one, "known constants are found again");
    uint32_t theirs = fill(&c, 3, 5);
    uint32_t ours = fill(&b, 3, 6);
    cr_expect_eq(theirs, ours, "same index, other programs");
    uint32_t late = fill(&b, 3, 5);
    cr_expect_eq(late, ours + 1, "what they have is not ours");
    cr_expect_float_eq(const_values(p, late)[0], 5, 0);
    cr_expect_float_eq(const_values(q, theirs)[0], 5, 0);
    cr_expect_float_eq(const_values(p, ours)[0], 6, 0);
    struct layout l = {.c = 1,
                       .h = 1,
                       .w = 1,
                       .n = 1,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 1,
                       .block = 1};
    cr_expect_eq(prog_add_layout(q, &l), 0);
    cr_expect_eq(p->num_layouts, 0);
    cr_expect_eq(q->nodes.len, 0);
    cr_expect_eq(intern(p, "word"), intern(q, "word"));
}

Test(prog, values_survive_marks_on_the_arena)
{
    struct build b;
    struct prog *p = small(&b);
    uint32_t c = fill(&b, 1000, 3);
    struct arena_mark mark = arena_mark(p->arena);
    const double *v = const_values(p, c);
    arena_release(p->arena, mark);
    memset(arena_alloc(p->arena, 100000), 0xff, 100000);
    cr_expect_float_eq(v[999], 3, 0);
    cr_expect_eq(const_values(p, c), v);
}

Test(prog, nodes)
{
    struct build b;
    struct prog *p = small(&b);
    b.loc = (struct loc){1, 2, 3};
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    build_ints(&b, KEY_factor, (int64_t[]){1, 1}, 2);
    uint32_t u = build1(&b, OP_upsample_nearest, x);
    uint32_t y = build2(&b, OP_add, x, u);
    const struct node *n = &p->nodes.at[y];
    cr_expect_str_eq(n->layer, "l");
    cr_expect_eq(n->loc.line, 2);
    cr_expect_eq(n->reg, NONE);
    cr_expect_eq(n->type.dims[0], 2);
    struct build like = build_like(p, n);
    cr_expect_eq(like.layer, n->layer);
    cr_expect_eq(like.loc.col, 3);
    uint32_t copy = prog_copy_node(p, n, (uint32_t[]){u, u});
    cr_expect_eq(p->nodes.at[copy].args[0], u);
    uint32_t *uses = prog_use_counts(p);
    cr_expect_eq(uses[x], 2);
    cr_expect_eq(uses[u], 3);
    cr_expect_eq(uses[copy], 0);
}

Test(prog, attributes)
{
    struct build b;
    struct prog *p = small(&b);
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    uint32_t w = fill(&b, 2, 1);
    build_int(&b, KEY_bias, w);
    uint32_t y = build1(&b, OP_add_channel, x);
    struct node *n = &p->nodes.at[y];
    uint32_t copy = prog_copy_node(p, n, (uint32_t[]){x});
    n = &p->nodes.at[y];
    cr_expect_eq(node_ref_or_none(n, KEY_bias), w);
    cr_expect_eq(node_ref_or_none(n, KEY_coeff), NONE);
    cr_expect_eq(node_int_or(n, KEY_by, -7), -7);
    uint32_t other = fill(&b, 2, 9);
    node_set_int(p, n, KEY_bias, other);
    cr_expect_eq(node_int(n, KEY_bias), other);
    cr_expect_eq(node_int(&p->nodes.at[copy], KEY_bias), w, "the copy keeps its own");
}

Test(prog, set_adds_in_the_order_of_the_row)
{
    struct prog *p = prog_new(arena_new(), STAGE_SLOT);
    struct attr period = {.key = KEY_period, .v.i = 4};
    struct attr map = {.key = KEY_map, .v.i = 0};
    struct attr list[2] = {map, period};
    struct node n = {.op = OP_pmac, .num_attrs = 2, .attrs = list};
    node_set_real(p, &n, KEY_pt_scale, 8);
    node_set_int(p, &n, KEY_giant, 5);
    node_set_int(p, &n, KEY_giant, 6);
    cr_assert_eq(n.num_attrs, 4);
    static const uint16_t want[] = {KEY_map, KEY_giant, KEY_period, KEY_pt_scale};
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(n.attrs[i].key, want[i]);
    }
    cr_expect_eq(node_int(&n, KEY_giant), 6);
    cr_expect_float_eq(node_real(&n, KEY_pt_scale), 8, 0);
}

Test(prog, equal_layouts_are_shared)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    struct layout l = {.c = 2,
                       .h = 1,
                       .w = 1,
                       .n = 2,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 1,
                       .block = 1};
    uint32_t a = prog_add_layout(p, &l);
    uint32_t identity[2] = {0, 1}, swapped[2] = {1, 0};
    l.perm = identity;
    cr_expect_eq(prog_add_layout(p, &l), a);
    l.perm = swapped;
    uint32_t b = prog_add_layout(p, &l);
    cr_expect_neq(b, a);
    swapped[0] = 77; /* it was copied */
    cr_expect_eq(p->layouts[b].perm[0], 1);
}

Test(prog, strings_are_interned)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    char word[] = "conv1";
    const char *a = intern(p, word);
    word[0] = 'x';
    cr_expect_eq(intern(p, "conv1"), a);
    for (int i = 0; i < 100; i++) {
        intern(p, arena_printf(p->arena, "%d", i));
    }
    cr_expect_eq(intern(p, "conv1"), a);
    cr_expect_str_eq(a, "conv1");
}

Test(prog, types_may_be_given)
{
    struct build b;
    struct prog *p = small(&b);
    struct layout l = {.c = 2,
                       .h = 3,
                       .w = 3,
                       .n = 32,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 3,
                       .block = 16};
    struct type t = {
        .kind = KIND_TENSOR, .dims = {2, 3, 3}, .layout = prog_add_layout(p, &l), .level = -1};
    build_type(&b, &t);
    uint32_t given = build_node(&b, OP_input, NULL, 0);
    uint32_t next = build_node(&b, OP_input, NULL, 0);
    cr_expect_eq(p->nodes.at[given].type.layout, t.layout);
    cr_expect_eq(p->nodes.at[next].type.layout, NONE, "only the next node");
}

/* Our mistakes end in BUG, with the reason. */
static void wrong_shape(void *ctx)
{
    struct build b;
    (void)ctx;
    small(&b);
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    build_int(&b, KEY_bias, fill(&b, 3, 1));
    build1(&b, OP_add_channel, x);
}
static void wrong_type(void *ctx)
{
    struct build b;
    (void)ctx;
    small(&b);
    struct type t = {.kind = KIND_TENSOR, .dims = {2, 3, 4}, .layout = NONE, .level = -1};
    build_type(&b, &t);
    build_node(&b, OP_input, NULL, 0);
}
static void no_attribute(void *ctx)
{
    (void)ctx;
    struct node n = {.op = OP_rot};
    node_int(&n, KEY_by);
}
static void bad_layout(void *ctx)
{
    (void)ctx;
    struct layout l = {.c = 1};
    prog_add_layout(prog_new(arena_new(), STAGE_NN), &l);
}
static void bad_map(void *ctx)
{
    (void)ctx;
    struct lmap m = {.out = {1, 1, 1}};
    prog_add_map(prog_new(arena_new(), STAGE_NN), &m);
}
static void foreign_attribute(void *ctx)
{
    (void)ctx;
    struct node n = {.op = OP_rot};
    node_set_int(prog_new(arena_new(), STAGE_SLOT), &n, KEY_map, 1);
}

/* A pass may treat a function as a program; functions are made from nothing in one that says it is one. */
Test(prog, functions_are_programs)
{
    const char *text = ir_text("boot_slot");
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    cr_assert_eq(p->num_funcs, 2);
    struct prog *f = prog_of_func(p, 1);
    cr_expect(f->is_function && f->num_funcs == 0 && f->reference.len == 0);
    cr_expect_eq(f->nodes.len, p->funcs[1].nodes.len);
    cr_expect_eq(f->num_maps, p->num_maps);
    prog_verify(f, "a pass");
    struct prog *copy = prog_derive(f, STAGE_SLOT);
    uint32_t now[32];
    for (uint32_t i = 0; i < f->nodes.len; i++) {
        uint32_t args[2];
        for (uint32_t k = 0; k < f->nodes.at[i].num_args; k++) {
            args[k] = now[f->nodes.at[i].args[k]];
        }
        now[i] = prog_copy_node(copy, &f->nodes.at[i], args);
    }
    prog_verify(copy, "a pass");
    cr_expect_eq(prog_derive(p, STAGE_CKKS)->num_funcs, 2);

    struct prog *made = prog_derive(p, STAGE_SLOT);
    made->funcs = NULL;
    made->num_funcs = 0;
    made->is_function = true;
    struct build b = build_at(made, NO_LOC, "boot");
    struct type t = {.kind = KIND_VEC, .layout = NONE, .n = 16, .level = -1};
    build_type(&b, &t);
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    build1(&b, OP_output, build1(&b, OP_conj, x));
    prog_verify(made, "a pass");
    p->funcs[0].nodes = made->nodes;
    prog_verify(p, "a pass");
}

/* What only a function uses stays, under its new number. */
Test(prog, compact_keeps_what_functions_use)
{
    const char *text = ir_text("boot_slot");
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    p = prog_compact(p);
    prog_verify(p, "prog_compact");
    cr_expect_eq(p->num_layouts, 1, "nobody names @1");
    cr_expect_eq(p->num_maps, 3);
    for (uint32_t m = 0; m < 3; m++) {
        cr_expect_eq(p->maps[m].term[0].weight, NONE);
        cr_expect_eq(p->maps[m].dft.last, m == 2 ? 2 : 4);
    }
    /* without the function's first map the others move up */
    p->funcs[0].nodes.at[1] = p->funcs[0].nodes.at[0];
    p->funcs[0].nodes.at[1].op = OP_conj;
    p->funcs[0].nodes.at[1].num_args = 1;
    p->funcs[0].nodes.at[1].args = (uint32_t[]){0};
    p = prog_compact(p);
    prog_verify(p, "prog_compact");
    cr_expect_eq(p->num_maps, 2);
    cr_expect_eq(node_int(&p->funcs[1].nodes.at[5], KEY_map), 0);
    cr_expect_eq(node_int(&p->funcs[1].nodes.at[6], KEY_map), 1);
}

Test(prog, keys_of_nodes)
{
    const char *text = ir_text("boot");
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    static const struct {
        uint32_t func, node;
        enum key_kind want;
    } table[] = {{0, 2, KEY_KIND_ROTATE},    {1, 1, KEY_KIND_ENCAPSULATE},
                 {1, 3, KEY_KIND_RAISED},    {1, 4, KEY_KIND_RAISED},
                 {1, 8, KEY_KIND_CONJUGATE}, {1, 13, KEY_KIND_RELINEARISE},
                 {1, 2, NUM_KEY_KINDS}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        enum key_kind kind = NUM_KEY_KINDS;
        bool has = node_key_kind(&p->funcs[table[i].func].nodes.at[table[i].node], &kind);
        cr_expect(kind == table[i].want && has == (kind != NUM_KEY_KINDS), "case %zu", i);
    }
}

Test(prog, our_mistakes_are_bugs)
{
    static const struct {
        void (*run)(void *ctx);
        const char *want;
    } table[] = {{wrong_shape, "add_channel: wants bias of shape [2], found const [3]"},
                 {wrong_type, "input: the type's shape"},
                 {no_attribute, "'rot' has no attribute 'by'"},
                 {bad_layout, "bad layout: the tensor's shape"},
                 {bad_map, "bad map: a map needs"},
                 {foreign_attribute, "'rot' takes no attribute 'map'"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct caught c = ir_catch(table[i].run, NULL);
        cr_expect(c.bug, "%s", table[i].want);
        cr_expect_not_null(strstr(c.text, table[i].want), "wanted '%s', found '%s'", table[i].want,
                           c.text);
    }
}
