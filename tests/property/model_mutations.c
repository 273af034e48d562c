/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random edits of a model file: each ends in a program that prints and reads back, or in
 * diagnostics; never in a crash or in BUG().
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "front_kit.h"
#include "rt_kit.h"

static const char base[] =
    "name: t\n"
    "input: {shape: [2, 6, 6], range: [-1, 1], mean: [0.5, 0.25], std: 2}\n"
    "weights: w.safetensors\n"
    "labels: [a, b, c]\n"
    "blocks:\n"
    "  basic:\n"
    "    params: {stride: 1, grow: [0, 0]}\n"
    "    layers:\n"
    "      - {name: conv1, op: conv2d, stride: $stride, padding: 1}\n"
    "      - {name: bn1, op: batch_norm, eps: 1e-3}\n"
    "      - {name: act, op: poly, coeff_order: channel}\n"
    "      - {name: short, op: subsample, inputs: input, stride: $stride, channels: $grow, when: "
    "true}\n"
    "      - {name: sum, op: add, inputs: [act, short]}\n"
    "layers:\n"
    "  - {name: layer, block: basic, repeat: 2, first: {stride: 2}}\n"
    "  - {name: up, op: upsample_nearest, factor: [2, 1]}\n"
    "  - {name: p, op: poly, coefficients: [0.5, &x 1, 0.25]}\n"
    "  - {name: both, op: concat, inputs: [p, up]}\n"
    "  - {name: pool, op: avg_pool, kernel: [2, 3], stride: 1, padding: [0, 1, 1, 0]}\n"
    "  - {name: gp, op: global_avg_pool}\n"
    "  - {name: flat, op: flatten}\n"
    "  - {name: fc, op: linear, bias: fc.bias}\n"
    "output: fc\n";

static const char *const words[] = {"0",
                                    "-1",
                                    "1",
                                    "2",
                                    "3",
                                    "7",
                                    "64",
                                    "1024",
                                    "65536",
                                    "99999999999999999999",
                                    "1e999",
                                    "0.5",
                                    ".nan",
                                    "~",
                                    "true",
                                    "false",
                                    "\"",
                                    "'",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    ": ",
                                    "- ",
                                    "\n",
                                    "\n  ",
                                    "&x ",
                                    "*x",
                                    "$stride",
                                    "$grow",
                                    "${index}",
                                    "${",
                                    "$",
                                    "input",
                                    "layer",
                                    "layer.0",
                                    "layer.1.act",
                                    "p",
                                    "fc",
                                    "conv2d",
                                    "square",
                                    "relu",
                                    "flatten",
                                    "depthwise",
                                    "circular",
                                    "spiral",
                                    "same",
                                    "block: basic",
                                    "repeat: 1000",
                                    "inputs: ",
                                    "when: false",
                                    "op: ",
                                    "name: ",
                                    "groups: 2",
                                    "dilation: 2",
                                    "padding: same",
                                    "padding_mode: spiral",
                                    "weight: fc.weight",
                                    "coefficients: [0, 1]",
                                    "<<",
                                    "!!str ",
                                    "#",
                                    "\t",
                                    "|",
                                    ">",
                                    "?",
                                    "\xc3\xbc",
                                    "\xff"};
enum { NUM_WORDS = sizeof words / sizeof *words, MAX_TEXT = 4096 };

static uint32_t below(uint64_t *rng, size_t n)
{
    return (uint32_t)(kit_random(rng) % n);
}

static void splice(char *text, size_t at, size_t remove, const char *insert, size_t len)
{
    size_t size = strlen(text);
    if (size - remove + len < MAX_TEXT) {
        memmove(text + at + len, text + at + remove, size - at - remove + 1);
        memcpy(text + at, insert, len);
    }
}

static void mutate(char *text, uint64_t *rng)
{
    size_t size = strlen(text), at = below(rng, size + 1), rest = size - at;
    size_t span = rest ? below(rng, rest < 24 ? rest + 1 : 24) : 0;
    char copy[64];
    const char *word = words[below(rng, NUM_WORDS)];
    switch (below(rng, 7)) {
    case 0: /* a byte */
        if (rest) {
            text[at] = (char)(1 + below(rng, 255));
        }
        break;
    case 1: /* leave out */
        splice(text, at, span, "", 0);
        break;
    case 2: /* a word in the place of a span */
        splice(text, at, span, word, strlen(word));
        break;
    case 3: /* a word more */
        splice(text, at, 0, word, strlen(word));
        break;
    case 4: /* copy a span to another place */
        memcpy(copy, text + at, span);
        splice(text, below(rng, size + 1), 0, copy, span);
        break;
    case 5: { /* a value: what stands after ": " */
        char *colon = strstr(text + at, ": ");
        if (colon) {
            size_t from = (size_t)(colon - text) + 2;
            splice(text, from, strcspn(text + from, ",}]\n"), word, strlen(word));
        }
        break;
    }
    default: { /* a line less, or twice */
        char *nl = strchr(text + at, '\n');
        if (nl && nl[1]) {
            size_t from = (size_t)(nl - text) + 1, len = strcspn(text + from, "\n") + 1;
            if (len < sizeof copy && below(rng, 2)) {
                memcpy(copy, text + from, len);
                splice(text, from, 0, copy, len);
            } else {
                splice(text, from, text[from + len - 1] ? len : len - 1, "", 0);
            }
        }
    }
    }
}

static char *print(struct arena *a, const struct prog *p)
{
    struct str s;
    str_init(&s, a);
    prog_print(p, &s);
    return s.s;
}

struct again {
    const char *text;
    struct prog *p;
};

static void read_back(struct arena *a, void *ctx)
{
    struct again *r = ctx;
    r->p = prog_parse(a, "again.ir", r->text, strlen(r->text));
    prog_verify(r->p, NULL);
}

Test(model_mutations, no_edit_crashes, .timeout = 300)
{
    static const struct front_tensor tensors[] = {{"layer.0.conv1.weight", 4, {2, 2, 3, 3}},
                                                  {"layer.1.conv1.weight", 4, {2, 2, 3, 3}},
                                                  {"layer.0.bn1.weight", 1, {2}},
                                                  {"layer.0.bn1.bias", 1, {2}},
                                                  {"layer.0.bn1.running_mean", 1, {2}},
                                                  {"layer.0.bn1.running_var", 1, {2}},
                                                  {"layer.1.bn1.weight", 1, {2}},
                                                  {"layer.1.bn1.bias", 1, {2}},
                                                  {"layer.1.bn1.running_mean", 1, {2}},
                                                  {"layer.1.bn1.running_var", 1, {2}},
                                                  {"layer.0.act.coeff", 2, {2, 3}},
                                                  {"layer.1.act.coeff", 2, {2, 3}},
                                                  {"fc.weight", 2, {3, 4}},
                                                  {"fc.bias", 1, {3}}};
    const char *folder = front_weights("w.safetensors", tensors, sizeof tensors / sizeof *tensors),
               *said;
    const char *trials_text = getenv("TRIALS");
    uint64_t rng = kit_seed();
    unsigned trials = trials_text ? (unsigned)atoi(trials_text) : 8000, accepted = 0, refused = 0;
    struct arena *a = arena_new();
    struct prog *p = front_model(a, folder, base, &said);
    cr_assert(p, "the model without edits is refused: %s", said);
    cr_assert_str_eq(said, "");
    arena_free(a);
    for (unsigned i = 0; i < trials; i++) {
        char text[MAX_TEXT];
        memcpy(text, base, sizeof base);
        for (uint32_t n = below(&rng, 4) ? 1 : 1 + below(&rng, 4); n > 0; n--) {
            mutate(text, &rng);
        }
        a = arena_new();
        p = front_model(a, folder, text, &said); /* aborts on BUG() */
        if (!p) {
            refused++;
            cr_expect(strstr(said, "error: "), "refused without a word: %s", text);
        } else {
            accepted++;
            struct again r = {.text = print(a, p)};
            bool bug;
            cr_assert(!front_catch(a, read_back, &r, &bug, &said), "does not read back: %s\n%s",
                      said, text);
            cr_expect_str_eq(print(a, r.p), r.text);
        }
        arena_free(a);
    }
    fprintf(stderr, "%u edits: %u accepted, %u refused\n", trials, accepted, refused);
    cr_expect_gt(refused, trials / 4);
    cr_expect_gt(accepted, trials / 100);
}
