/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t values(struct build *b, uint32_t rank, const int64_t *dims, const double *v)
{
    uint32_t len = 1;
    for (uint32_t i = 0; i < rank; i++) {
        len *= (uint32_t)dims[i];
    }
    build_ints(b, KEY_dims, dims, rank);
    build_reals(b, KEY_data, v, len);
    return build_node(b, OP_values, NULL, 0);
}

static struct build fresh(void)
{
    return build_at(prog_new(arena_new(), STAGE_NN), NO_LOC, "l");
}

#define EXPECT(b, c, ...)                                                                          \
    do {                                                                                           \
        const double want_[] = {__VA_ARGS__};                                                      \
        uint32_t c_ = (c);                                                                         \
        const double *got_ = const_values((b).p, c_);                                              \
        cr_assert_eq(type_elements(&(b).p->consts.at[c_].type), sizeof want_ / sizeof *want_);     \
        for (size_t i_ = 0; i_ < sizeof want_ / sizeof *want_; i_++)                               \
            cr_expect_float_eq(got_[i_], want_[i_], 1e-15, "element %zu is %g", i_, got_[i_]);     \
    } while (0)

Test(consts, elementwise)
{
    struct build b = fresh();
    uint32_t x = values(&b, 2, (int64_t[]){2, 2}, (double[]){1, 2, 3, 4});
    uint32_t y = values(&b, 2, (int64_t[]){2, 2}, (double[]){4, 3, 2, 8});
    EXPECT(b, build2(&b, OP_c_add, x, y), 5, 5, 5, 12);
    EXPECT(b, build2(&b, OP_c_sub, x, y), -3, -1, 1, -4);
    EXPECT(b, build2(&b, OP_c_mul, x, y), 4, 6, 6, 32);
    EXPECT(b, build2(&b, OP_c_div, x, y), 0.25, 2.0 / 3, 1.5, 0.5);
}

Test(consts, along_an_axis)
{
    struct build b = fresh();
    uint32_t x =
        values(&b, 3, (int64_t[]){2, 3, 2}, (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    uint32_t two = values(&b, 1, (int64_t[]){2}, (double[]){10, 100});
    uint32_t three = values(&b, 1, (int64_t[]){3}, (double[]){10, 20, 30});
    build_int(&b, KEY_axis, 0);
    EXPECT(b, build2(&b, OP_c_mul, x, two), 10, 20, 30, 40, 50, 60, 700, 800, 900, 1000, 1100,
           1200);
    build_int(&b, KEY_axis, 1);
    EXPECT(b, build2(&b, OP_c_add, x, three), 11, 12, 23, 24, 35, 36, 17, 18, 29, 30, 41, 42);
    build_int(&b, KEY_axis, 2);
    EXPECT(b, build2(&b, OP_c_sub, x, two), -9, -98, -7, -96, -5, -94, -3, -92, -1, -90, 1, -88);
}

Test(consts, unary)
{
    struct build b = fresh();
    uint32_t x = values(&b, 1, (int64_t[]){3}, (double[]){-4, 0, 9});
    build_real(&b, KEY_mul, 2);
    build_real(&b, KEY_add, 1);
    EXPECT(b, build1(&b, OP_c_affine, x), -7, 1, 19);
    EXPECT(b, build1(&b, OP_c_abs, x), 4, 0, 9);
    EXPECT(b, build1(&b, OP_c_sign, x), -1, 0, 1);
    uint32_t a = build1(&b, OP_c_abs, x);
    build_real(&b, KEY_exponent, 0.5);
    EXPECT(b, build1(&b, OP_c_pow, a), 2, 0, 3);
}

Test(consts, shapes)
{
    struct build b = fresh();
    uint32_t x =
        values(&b, 3, (int64_t[]){2, 3, 2}, (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    build_ints(&b, KEY_dims, (int64_t[]){3, 4}, 2);
    uint32_t r = build1(&b, OP_c_reshape, x);
    EXPECT(b, build1(&b, OP_c_transpose, r), 1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12);
    static const int64_t slices[3][3] = {{0, 1, 1}, {1, 1, 2}, {2, 0, 1}};
    uint32_t s[3];
    for (int i = 0; i < 3; i++) {
        build_int(&b, KEY_axis, slices[i][0]);
        build_int(&b, KEY_from, slices[i][1]);
        build_int(&b, KEY_count, slices[i][2]);
        s[i] = build1(&b, OP_c_slice, x);
    }
    EXPECT(b, s[0], 7, 8, 9, 10, 11, 12);
    EXPECT(b, s[1], 3, 4, 5, 6, 9, 10, 11, 12);
    EXPECT(b, s[2], 1, 3, 5, 7, 9, 11);
    uint32_t scalar = values(&b, 0, NULL, (double[]){5});
    EXPECT(b, scalar, 5);
}

Test(consts, long_chains_need_no_stack)
{
    struct build b = fresh();
    uint32_t x = values(&b, 0, NULL, (double[]){0});
    for (int i = 0; i < 200000; i++) {
        build_real(&b, KEY_mul, 1);
        build_real(&b, KEY_add, 1);
        x = build1(&b, OP_c_affine, x);
    }
    EXPECT(b, x, 200000);
}

/* ---- the weights file ----------------------------------------------------------------------- */

static char path[64];

static void write_weights(const float v[6])
{
    const char *header =
        "{\"conv.weight\":{\"dtype\":\"F32\",\"shape\":[2,1,3,1],\"data_offsets\":[0,24]},"
        "\"steps\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[24,28]},"
        "\"deep\":{\"dtype\":\"I8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[28,29]}}";
    struct str s;
    str_init(&s, arena_new());
    char length[8] = {(char)(strlen(header) & 255), (char)(strlen(header) >> 8)};
    str_addn(&s, length, 8);
    str_add(&s, header);
    str_addn(&s, (const char *)v, 24);
    str_addn(&s, "\1\0\0\0\2", 5);
    file_write(path, s.s, s.len);
}

static void make_path(void)
{
    strcpy(path, "/tmp/weft-consts-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

TestSuite(consts_file, .init = make_path, .fini = remove_path);

static uint32_t weight(struct build *b, const char *name, uint32_t rank, const int64_t *dims)
{
    build_str(b, KEY_file_tensor, name);
    build_ints(b, KEY_dims, dims, rank);
    return build_node(b, OP_weight, NULL, 0);
}

Test(consts_file, weights_are_loaded)
{
    write_weights((float[]){1, 2, 3, -1, -2, 0.5f});
    struct build b = fresh();
    b.p->weights_path = path;
    uint32_t w = weight(&b, "conv.weight", 4, (int64_t[]){2, 1, 3, 1});
    EXPECT(b, w, 1, 2, 3, -1, -2, 0.5);
}

struct query {
    struct prog *p;
    uint32_t c;
};
static void evaluate(void *ctx)
{
    const struct query *q = ctx;
    const_values(q->p, q->c);
}

static void expect_refusal(struct build *b, uint32_t c, const char *want)
{
    struct query q = {b->p, c};
    struct caught r = ir_catch(evaluate, &q);
    cr_expect(r.ended && !r.bug, "%s", want);
    cr_expect_not_null(strstr(r.text, want), "wanted '%s', found '%s'", want, r.text);
}

Test(consts_file, mistakes_are_told)
{
    write_weights((float[]){1, 2, 3, -1, NAN, INFINITY});
    diag_reset();
    uint32_t file = diag_add_file("model.yaml", NULL, 0);
    struct build b = fresh();
    b.loc = (struct loc){file, 9, 5};
    expect_refusal(&b, weight(&b, "none", 1, (int64_t[]){3}),
                   "model.yaml:9:5: error: the model names no weights file");
    b.p->weights_path = "/nonexistent.safetensors";
    expect_refusal(&b, weight(&b, "none", 1, (int64_t[]){3}),
                   "cannot read weights '/nonexistent.safetensors': No such file");
    b.p->weights_path = path;
    uint32_t absent = weight(&b, "conv.wieght", 1, (int64_t[]){3});
    expect_refusal(&b, absent, "weight 'conv.wieght' is not in '/tmp/weft-consts-");
    expect_refusal(&b, absent, "hint: did you mean 'conv.weight'?");
    expect_refusal(&b, weight(&b, "conv.weight", 2, (int64_t[]){2, 3}),
                   "weight 'conv.weight' has shape [2,1,3,1], the model wants [2,3]");
    expect_refusal(&b, weight(&b, "conv.weight", 4, (int64_t[]){2, 1, 3, 1}),
                   "weight 'conv.weight' has a NaN at [1,0,1,0]");
    expect_refusal(&b, weight(&b, "steps", 1, (int64_t[]){1}),
                   "weight 'steps' is neither F32, F64, F16 nor BF16");
    expect_refusal(&b, weight(&b, "deep", 1, (int64_t[]){1}), "is neither");
    write_weights((float[]){1, 2, 3, -1, 0, INFINITY});
    b.p->weights = NULL;
    expect_refusal(&b, weight(&b, "conv.weight", 4, (int64_t[]){2, 1, 3, 1}),
                   "has an infinity at [1,0,2,0]");
}

Test(consts, results_must_be_finite)
{
    diag_reset();
    struct build b = fresh();
    uint32_t x = values(&b, 2, (int64_t[]){2, 2}, (double[]){1, 2, 3, -4});
    uint32_t zero = values(&b, 2, (int64_t[]){2, 2}, (double[]){1, 1, 0, 1});
    expect_refusal(&b, build2(&b, OP_c_div, x, zero),
                   "constant $2 (c_div of 'values') has an infinity at [1,0]");
    build_real(&b, KEY_exponent, 0.5);
    expect_refusal(&b, build1(&b, OP_c_pow, x), "(c_pow of 'values') has a NaN at [1,1]");
    uint32_t ok = build2(&b, OP_c_add, x, zero);
    EXPECT(b, ok, 2, 3, 3, -3);
}
