/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "backends.h"
#include "front_kit.h"

static struct arena *arena;
static const char *said, *folder;

static const struct front_tensor tensors[] = {
    {"a.weight", 4, {4, 2, 3, 3}},
    {"a.bias", 1, {4}},
    {"b.weight", 4, {4, 4, 1, 1}},
    {"dw.weight", 4, {4, 1, 3, 3}},
    {"even.weight", 4, {4, 2, 2, 4}},
    {"bn.weight", 1, {2}},
    {"bn.bias", 1, {2}},
    {"bn.running_mean", 1, {2}},
    {"bn.running_var", 1, {2}},
    {"one.coeff", 1, {3}},
    {"degree.coeff", 2, {3, 2}},
    {"channel.coeff", 2, {2, 3}},
    {"fc.weight", 2, {5, 160}},
    {"fc.bias", 1, {5}},
    {"s.0.conv.weight", 4, {2, 2, 1, 1}},
    {"s.1.conv.weight", 4, {2, 2, 3, 3}},
    {"t.conv.weight", 4, {2, 2, 1, 1}},
    {"odd.t-0.w", 4, {2, 2, 1, 1}},
    {"odd.t-1.w", 4, {2, 2, 1, 1}},
};

static void set_up(void)
{
    arena = arena_new();
    folder = front_weights("w.safetensors", tensors, sizeof tensors / sizeof *tensors);
}

static void tear_down(void)
{
    arena_free(arena);
}

TestSuite(model, .init = set_up, .fini = tear_down);

/* The input is 2x8x10; layers: the lines of the list. */
static const char *text_of(const char *layers)
{
    return arena_printf(
        arena, "name: t\ninput: {shape: [2, 8, 10]}\nweights: w.safetensors\nlayers:\n%s\n",
        layers);
}

static struct prog *model(const char *layers)
{
    struct prog *p = front_model(arena, folder, text_of(layers), &said);
    cr_assert(p, "refused: %s", said);
    cr_assert_str_eq(said, "");
    return p;
}

/* The node before the output. */
static const struct node *result(const struct prog *p)
{
    const struct node *out = &p->nodes.at[p->nodes.len - 1];
    cr_assert_eq(out->op, OP_output);
    return &p->nodes.at[out->args[0]];
}

static const struct node *layer(const struct prog *p, const char *name)
{
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        if (strcmp(p->nodes.at[i].layer, name) == 0) {
            return &p->nodes.at[i];
        }
    }
    return NULL;
}

struct shape {
    char layers[200];
    uint32_t dims[3];
};

ParameterizedTestParameters(model, shapes)
{
    static struct shape t[] = {
        {"- {name: a, op: conv2d}", {4, 6, 8}},
        {"- {name: a, op: conv2d, padding: 1}", {4, 8, 10}},
        {"- {name: a, op: conv2d, padding: [0, 1]}", {4, 6, 10}},
        {"- {name: a, op: conv2d, padding: [1, 0, 2, 0]}", {4, 7, 10}},
        {"- {name: a, op: conv2d, stride: 2}", {4, 3, 4}},
        {"- {name: a, op: conv2d, stride: [1, 3], padding: same}", {4, 8, 4}},
        {"- {name: a, op: conv2d, stride: 2, padding: same}", {4, 4, 5}},
        {"- {name: a, op: conv2d, dilation: 2}", {4, 4, 6}},
        {"- {name: a, op: conv2d, dilation: [3, 1], padding: same}", {4, 8, 10}},
        {"- {name: a, op: conv2d, padding: 2, padding_mode: spiral}", {4, 10, 12}},
        {"- {name: a, op: conv2d, kernel: 3, out_channels: 4, padding: 1}", {4, 8, 10}},
        {"- {name: even, op: conv2d, kernel: [2, 4], padding: same}", {4, 8, 10}},
        {"- {name: a, op: conv2d}\n- {name: dw, op: conv2d, groups: depthwise}", {4, 4, 6}},
        {"- {name: dw, op: conv2d, groups: 2}", {4, 6, 8}},
        {"- {name: p, op: avg_pool, kernel: 2}", {2, 4, 5}},
        {"- {name: p, op: avg_pool, kernel: 3, stride: 1, padding: 1}", {2, 8, 10}},
        {"- {name: p, op: avg_pool, kernel: [2, 5]}", {2, 4, 2}},
        {"- {name: g, op: global_avg_pool}", {2, 1, 1}},
        {"- {name: f, op: flatten}", {160, 1, 1}},
        {"- {name: f, op: flatten}\n- {name: fc, op: linear, out_features: 5}", {5, 1, 1}},
        {"- {name: u, op: upsample_nearest, factor: [2, 1]}", {2, 16, 10}},
        {"- {name: s, op: subsample, stride: 3}", {2, 3, 4}},
        {"- {name: s, op: subsample, channels: [3, 1]}", {6, 8, 10}},
        {"- {name: s, op: add, inputs: [input, input, input]}", {2, 8, 10}},
        {"- {name: c, op: concat, inputs: [input, input, input]}", {6, 8, 10}},
        {"- {name: bn, op: batch_norm}", {2, 8, 10}},
        {"- {name: x, op: square}", {2, 8, 10}},
        {"- {name: x, op: poly, coefficients: [1, 2]}", {2, 8, 10}},
        {"- {name: one, op: poly}", {2, 8, 10}},
        {"- {name: degree, op: poly}", {2, 8, 10}},
        {"- {name: channel, op: poly, coeff_order: channel}", {2, 8, 10}},
        {"- {name: a, op: conv2d}\n- {name: b, op: conv2d}\n- {name: c, op: add, inputs: [a, b]}",
         {4, 6, 8}},
    };
    return cr_make_param_array(struct shape, t, sizeof t / sizeof *t);
}

ParameterizedTest(struct shape *t, model, shapes)
{
    const struct type *found = &result(model(t->layers))->type;
    cr_expect(memcmp(found->dims, t->dims, sizeof t->dims) == 0, "%s: %ux%ux%u", t->layers,
              found->dims[0], found->dims[1], found->dims[2]);
}

Test(model, same_padding_is_odd_at_the_end)
{
    uint32_t len;
    const int64_t *pad =
        node_ints(result(model("- {name: even, op: conv2d, padding: same}")), KEY_pad, &len);
    cr_assert_eq(len, 4u);
    cr_expect(pad[0] == 0 && pad[1] == 1 && pad[2] == 1 && pad[3] == 2);
}

Test(model, bias_by_default_where_there_is_one)
{
    cr_expect_neq(node_ref_or_none(layer(model("- {name: a, op: conv2d}"), "a"), KEY_bias), NONE);
    cr_expect_eq(
        node_ref_or_none(layer(model("- {name: a, op: conv2d, bias: false}"), "a"), KEY_bias),
        NONE);
    cr_expect_neq(
        node_ref_or_none(layer(model("- {name: a, op: conv2d, bias: true}"), "a"), KEY_bias), NONE);
    cr_expect_eq(
        node_ref_or_none(layer(model("- {name: x, op: conv2d, weight: a.weight}"), "x"), KEY_bias),
        NONE);
    cr_expect_neq(
        node_ref_or_none(
            layer(model("- {name: x, op: conv2d, weight: a.weight, bias: a.bias}"), "x"), KEY_bias),
        NONE);
}

Test(model, header)
{
    static const char text[] =
        "name: pic\n"
        "input: {shape: [2, 1, 1], range: [-1, 255], mean: [1, 2], std: 0.5}\n"
        "labels: [\"a b\", c]\n"
        "layers: [{name: x, op: square}]\n";
    struct prog *p = front_model(arena, "", text, &said);
    cr_assert(p, "%s", said);
    cr_expect_str_eq(p->model.name, "pic");
    cr_expect(p->model.input[0] == 2 && p->model.input[1] == 1 && p->model.input[2] == 1);
    cr_expect(p->model.range[0] == -1 && p->model.range[1] == 255);
    cr_expect(p->model.mean[0] == 1 && p->model.mean[1] == 2 && p->model.std[0] == 0.5 &&
              p->model.std[1] == 0.5);
    cr_expect(p->model.num_labels == 2 && strcmp(p->model.labels[0], "a b") == 0);
    cr_expect_eq(p->model.num_outputs, 2u);
    cr_expect_eq(p->stage, STAGE_NN);
    uint64_t hash = p->model.hash;
    p = front_model(arena, "", text, &said);
    cr_expect_eq(p->model.hash, hash);
    p = front_model(arena, "", arena_printf(arena, "%s#\n", text), &said);
    cr_expect_neq(p->model.hash, hash, "the hash does not see the text");
}

Test(model, hash_sees_the_weights)
{
    struct prog *p = model("- {name: a, op: conv2d}");
    uint64_t hash = p->model.hash;
    const char *path = arena_printf(arena, "%sw.safetensors", folder);
    FILE *f = fopen(path, "r+b");
    cr_assert(f);
    fseek(f, -1, SEEK_END);
    int c = fgetc(f);
    fseek(f, -1, SEEK_END);
    fputc(c ^ 1, f);
    fclose(f);
    cr_expect_neq(model("- {name: a, op: conv2d}")->model.hash, hash);
}

Test(model, locations_and_names)
{
    struct prog *p = model("- {name: a, op: conv2d}\n- name: sq\n  op: square");
    cr_expect(layer(p, "a")->loc.line == 5 && layer(p, "a")->loc.col == 3);
    cr_expect(layer(p, "sq")->loc.line == 6 && layer(p, "sq")->loc.col == 3);
}

static const char blocks[] =
    "blocks:\n"
    "  res:\n"
    "    params: {stride: 1, grow: [0, 0], on: true}\n"
    "    layers:\n"
    "      - {name: sq, op: square}\n"
    "      - {name: sub, op: subsample, stride: $stride, channels: $grow}\n"
    "      - {name: short, op: subsample, inputs: input, stride: $stride, channels: $grow, when: "
    "$on}\n"
    "      - {name: sum, op: add, inputs: [sub, short]}\n"
    "  named:\n"
    "    params: [w]\n"
    "    layers:\n"
    "      - {name: conv, op: conv2d, weight: \"odd.${w}-${index}.w\"}\n"
    "  own:\n"
    "    output: conv\n"
    "    layers:\n"
    "      - {name: conv, op: conv2d, padding: same}\n"
    "      - {name: after, op: square}\n"
    "  outer:\n"
    "    params: {n: 1, s: 1}\n"
    "    layers:\n"
    "      - {name: in, block: res, repeat: $n, with: {stride: $s, grow: [$n, 0]}}\n";

static struct prog *with_blocks(const char *layers, const char *warning)
{
    struct prog *p =
        front_model(arena, folder, arena_printf(arena, "%s%s", text_of(layers), blocks), &said);
    cr_assert(p, "refused: %s", said);
    cr_assert(strstr(said, warning), "wanted '%s' in '%s'", warning, said);
    return p;
}

Test(model, a_repeated_block)
{
    struct prog *p =
        with_blocks("- {name: l, block: res, repeat: 3, first: {stride: 2, grow: [1, 2]}}\n"
                    "- {name: end, op: add, inputs: [l, l.2.sum, l.1]}",
                    "");
    const struct node *first = layer(p, "l.0.sub"), *sum = layer(p, "l.0.sum"),
                      *second = layer(p, "l.1.sq");
    cr_assert(first && sum && second && layer(p, "l.2.sum"));
    cr_assert_null(layer(p, "l.3.sq"));
    cr_assert_null(layer(p, "l.1.sub"), "a subsample that does nothing leaves a node");
    cr_expect(first->type.dims[0] == 5 && first->type.dims[1] == 4 && first->type.dims[2] == 5);
    cr_expect_eq(&p->nodes.at[second->args[0]], sum,
                 "the second repetition takes the first one's result");
    const struct node *end = layer(p, "end");
    cr_expect_eq(&p->nodes.at[end->args[0]], layer(p, "l.2.sum"),
                 "a block's name is its last result");
    cr_expect_eq(end->args[0], end->args[1]);
    cr_expect_eq(&p->nodes.at[end->args[2]], layer(p, "l.1.sum"));
    cr_expect_eq(first->loc.line, layer(p, "l.0.sub")->loc.line);
}

Test(model, a_layer_left_out)
{
    struct prog *p = with_blocks("- {name: l, block: res, with: {on: false}}", "");
    cr_assert_null(layer(p, "l.short"));
    const struct node *sum = layer(p, "l.sum");
    cr_expect_eq(&p->nodes.at[sum->args[1]], &p->nodes.at[0], "it passes the block's input on");
}

Test(model, parameters_inside_names)
{
    struct prog *p = with_blocks("- {name: x, block: named, repeat: 2, with: {w: t}}", "");
    static const char *const want[] = {"odd.t-0.w", "odd.t-1.w"};
    cr_assert_eq(p->consts.len, 2u);
    for (uint32_t i = 0; i < 2; i++) {
        cr_expect_str_eq(node_attr(&p->consts.at[i], KEY_file_tensor)->v.str, want[i]);
    }
}

Test(model, blocks_in_blocks)
{
    struct prog *p = with_blocks("- {name: o, block: outer, with: {n: 2, s: 2}}", "");
    cr_assert(layer(p, "o.in.1.sum"));
    const struct type *t = &result(p)->type;
    cr_expect(t->dims[0] == 6 && t->dims[1] == 2 && t->dims[2] == 3, "%ux%ux%u", t->dims[0],
              t->dims[1], t->dims[2]);
}

Test(model, a_block_with_an_output_of_its_own)
{
    struct prog *p = with_blocks("- {name: s, block: own, repeat: 2}", "'s.0.after' is not needed");
    cr_expect_str_eq(result(p)->layer, "s.1.conv");
    cr_assert_null(layer(p, "s.0.after"));
}

Test(model, coefficients_by_channel_are_transposed)
{
    struct prog *p = model("- {name: channel, op: poly, coeff_order: channel}");
    uint32_t c = node_ref_or_none(result(p), KEY_coeff);
    const double *v = const_values(p, c);
    const double *rows = const_values(p, p->consts.at[c].args[0]);
    cr_assert(p->consts.at[c].type.dims[0] == 3 && p->consts.at[c].type.dims[1] == 2);
    for (int k = 0; k < 3; k++) {
        for (int ch = 0; ch < 2; ch++) {
            cr_expect_eq(v[k * 2 + ch], rows[ch * 3 + k]);
        }
    }
}

Test(model, subsample_is_the_shortcut_of_resnet)
{
    struct prog *p = model("- {name: s, op: subsample, stride: [2, 3], channels: [1, 2]}");
    double x[2][8][10], y[5][4][4];
    for (int i = 0; i < 160; i++) {
        (&x[0][0][0])[i] = i + 1;
    }
    sim_run(p, NULL, &x[0][0][0], &y[0][0][0]);
    for (int c = 0; c < 5; c++) {
        for (int h = 0; h < 4; h++) {
            for (int w = 0; w < 4; w++) {
                double want = c == 1 || c == 2 ? x[c - 1][2 * h][3 * w] : 0;
                cr_expect_eq(y[c][h][w], want, "%d %d %d", c, h, w);
            }
        }
    }
}

Test(model, every_operator_and_key_is_documented)
{
    FILE *f = fopen("compiler/MODEL.md", "r");
    cr_assert(f, "run from the top of the sources");
    char *text = arena_alloc(arena, 1 << 17);
    cr_assert_gt(fread(text, 1, (1 << 17) - 1, f), 0u);
    fclose(f);
    for (uint32_t i = 0; i < num_layer_ops; i++) {
        const char *head = strstr(text, arena_printf(arena, "\n### %s\n", layer_ops[i].name));
        cr_assert(head, "MODEL.md has no section '### %s'", layer_ops[i].name);
        const char *end = strstr(head + 1, "\n### ");
        const char *section = end ? arena_strndup(arena, head, (size_t)(end - head)) : head;
        for (uint32_t k = 0; k < MAX_LAYER_KEYS && layer_ops[i].keys[k]; k++) {
            cr_expect(strstr(section, arena_printf(arena, "`%s`", layer_ops[i].keys[k])),
                      "%s: `%s` is not documented", layer_ops[i].name, layer_ops[i].keys[k]);
        }
    }
}

Test(model, many_layers_are_quick)
{
    struct str s;
    str_init(&s, arena);
    for (int i = 0; i < 20000; i++) {
        str_addf(&s, "- {name: l%d, op: add, inputs: [input, input]}\n", i);
    }
    str_add(&s, "- {name: end, op: square}");
    struct prog *p = front_model(arena, folder, text_of(s.s), &said);
    cr_assert(p);
    cr_expect_eq(p->nodes.len, 4u, "what the output does not need is left out");
}
