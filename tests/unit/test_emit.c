/* SPDX-License-Identifier: Apache-2.0 */
/* The C backend on a small program made by hand that uses every op: what it says, that compilers
 * take it without a warning, and that the data file holds the plaintexts that the simulator uses.
 */

#include "backends.h"
#include "rt.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* A runtime function that ops.def names and rt.h does not declare fails to compile here. */
void NOCALL(void);
#define OP(name, stages, operands, result, attrs, flags, call)                                     \
    _Static_assert(sizeof(&(call)) > 0, #name);
#include "ops.def"

enum { SLOTS = 64 };

struct fixture {
    struct prog *p;
    struct build b;
    uint32_t map, layout, pmac, padd, registers;
};

static uint32_t constant(struct build *b, uint32_t rank, const int64_t *dims, const double *v)
{
    uint32_t len = 1;
    for (uint32_t k = 0; k < rank; k++)
        len *= (uint32_t)dims[k];
    build_ints(b, KEY_dims, dims, rank);
    build_reals(b, KEY_data, v, len);
    return build_node(b, OP_values, NULL, 0);
}

static uint32_t weights(struct build *b, uint32_t rank, const int64_t *dims)
{
    double v[4096];
    uint32_t len = 1;
    for (uint32_t k = 0; k < rank; k++)
        len *= (uint32_t)dims[k];
    cr_assert_leq(len, 4096);
    for (uint32_t k = 0; k < len; k++)
        v[k] = sin(1 + 0.7 * k);
    return constant(b, rank, dims, v);
}

static uint32_t rows(struct prog *p, uint32_t c, uint32_t h, uint32_t w, uint32_t n)
{
    struct layout l = {.c = c, .h = h, .w = w, .n = n, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1};
    l.pitch = w;
    for (l.block = n; l.block / 2 >= h * w; l.block /= 2)
        ;
    return prog_add_layout(p, &l);
}

/* Every node gets a register of its own. */
static uint32_t place(struct fixture *f, uint32_t node)
{
    f->p->nodes.at[node].reg = f->registers++;
    return node;
}

static uint32_t one(struct fixture *f, enum op op, uint32_t x)
{
    return place(f, build1(&f->b, op, x));
}

static uint32_t rotated(struct fixture *f, uint32_t x, int64_t by)
{
    uint32_t digits = one(f, OP_decompose, x);
    build_int(&f->b, KEY_by, by);
    return place(f, build2(&f->b, OP_key_mul, digits, x));
}

static uint32_t down(struct fixture *f, uint32_t x, int64_t drop)
{
    build_int(&f->b, KEY_drop, drop);
    return one(f, OP_mod_down, x);
}

static void set_params(struct prog *p)
{
    uint64_t *q = arena_array(p->arena, 4, sizeof *q);
    p->params = (struct params){.log_n = 7, .num_q = 3, .num_p = 1, .alpha = 1, .q = q, .p = q + 3};
    p->params.insecure = true;
    cr_assert(params_primes(7, 40, NULL, 0, 4, q));
    p->params.scale = p->params.input_scale = 0x1p40;
    static const struct key_spec keys[] = {
        {KEY_KIND_RELINEARISE, 0, 1}, {KEY_KIND_ROTATE, 1, 2}, {KEY_KIND_ROTATE, 5, 2}};
    p->keys = arena_array(p->arena, 3, sizeof *p->keys);
    memcpy(p->keys, keys, sizeof keys);
    p->num_keys = 3;
}

static void set_model(struct prog *p)
{
    static const char *const labels[] = {
        "zero", "quote\" back\\slash", "what?\?/", "tab\tend", "h\xc3\xa9", "*/", "", "7"};
    static const double mean[] = {0.1, 0.25}, std[] = {0.3, 1};
    p->model.name = "tiny */ net";
    p->model.hash = 0x0123456789abcdef;
    p->model.input[0] = 2;
    p->model.input[1] = p->model.input[2] = 4;
    p->model.range[1] = 1;
    p->model.mean = mean;
    p->model.std = std;
    p->model.labels = labels;
    p->model.num_labels = p->model.num_outputs = 8;
    p->source = "/somewhere/else/tiny.yaml";
    p->error_bound = 0.001;
}

/* conv of 2x4x4 to 8x1x1 and its reference network */
static void add_map(struct fixture *f, uint32_t weight, uint32_t bias)
{
    struct prog *p = f->p;
    uint32_t in = rows(p, 2, 4, 4, SLOTS);
    f->layout = rows(p, 8, 1, 1, SLOTS);
    struct lterm t = {.in_layout = in,
                      .in = {2, 4, 4},
                      .weight = weight,
                      .groups = 1,
                      .stride = {1, 1},
                      .dilation = {1, 1},
                      .up = {1, 1}};
    struct lmap m = {.out = {8, 1, 1}, .out_layout = f->layout, .num_terms = 1, .term = &t};
    f->map = prog_add_map(p, &m);

    const double coeff[] = {0.5, 0, 2};
    uint32_t poly = constant(&f->b, 1, (const int64_t[]){3}, coeff);
    struct prog *nn = prog_derive(p, STAGE_NN);
    struct build b = build_at(nn, NO_LOC, "fc 1");
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    build_int(&b, KEY_map, f->map);
    build_int(&b, KEY_bias, bias);
    x = build1(&b, OP_map, x);
    build_int(&b, KEY_coeff, poly);
    uint32_t y = build1(&b, OP_poly, x);
    build_int(&b, KEY_bias, bias);
    y = build1(&b, OP_add_channel, y);
    y = build2(&b, OP_sub, build_node(&b, OP_add, (const uint32_t[]){x, y, x}, 3), y);
    build1(&b, OP_output, build2(&b, OP_mul, y, x));
    p->reference = nn->nodes;
}

static uint32_t add_linear(struct fixture *f, uint32_t x)
{
    /* rotations 1 and 5 in the extended basis beside the value itself */
    uint32_t r1 = rotated(f, x, 1), r5 = rotated(f, x, 5), r0 = one(f, OP_lift, x);
    build_int(&f->b, KEY_map, f->map);
    build_int(&f->b, KEY_out, 0);
    build_int(&f->b, KEY_giant, 0);
    build_ints(&f->b, KEY_in, (const int64_t[]){0, 0, 0}, 3);
    build_ints(&f->b, KEY_baby, (const int64_t[]){0, 1, 5}, 3);
    build_int(&f->b, KEY_period, SLOTS);
    build_real(&f->b, KEY_pt_scale, 0x1p30);
    f->pmac = place(f, build_node(&f->b, OP_pmac, (const uint32_t[]){r0, r1, r5}, 3));
    return down(f, f->pmac, 1);
}

static struct fixture tiny(void)
{
    struct fixture f = {.p = prog_new(arena_new(), STAGE_CKKS)};
    struct prog *p = f.p;
    diag_add_file("/somewhere/else/tiny.yaml", NULL, 0);
    set_params(p);
    set_model(p);
    struct loc loc = {diag_add_file("/somewhere/else/tiny.yaml", NULL, 0), 9, 3};
    f.b = build_at(p, loc, "fc 1");
    uint32_t weight = weights(&f.b, 4, (const int64_t[]){8, 2, 4, 4});
    uint32_t bias = weights(&f.b, 1, (const int64_t[]){8});
    add_map(&f, weight, bias);

    f.b = build_at(p, loc, "fc 1");
    struct type fresh = {.kind = KIND_CT, .layout = NONE, .n = SLOTS, .level = 2, .scale = 0x1p40};
    build_type(&f.b, &fresh);
    build_int(&f.b, KEY_part, 0);
    build_int(&f.b, KEY_layout, p->maps[f.map].term[0].in_layout);
    uint32_t x = place(&f, build_node(&f.b, OP_input, NULL, 0));
    uint32_t y = add_linear(&f, x);
    build_int(&f.b, KEY_bias, bias);
    build_int(&f.b, KEY_layout, f.layout);
    build_int(&f.b, KEY_part, 0);
    y = f.padd = one(&f, OP_padd, y);

    f.b = build_at(p, (struct loc){1, 12, 3}, "fc-1"); /* the same identifier as "fc 1" */
    uint32_t square = place(&f, build2(&f.b, OP_mul, y, y));
    uint32_t digits = one(&f, OP_decompose, square);
    y = down(&f, place(&f, build2(&f.b, OP_key_mul, digits, square)), 0);
    build_int(&f.b, KEY_drop, 1);
    y = one(&f, OP_rescale, y);

    f.b = build_at(p, (struct loc){1, 9, 3}, "fc 1"); /* back in the first layer */
    build_int(&f.b, KEY_times, 3);
    uint32_t z = one(&f, OP_raise_scale, y);
    build_int(&f.b, KEY_times, 3);
    uint32_t z2 = one(&f, OP_raise_scale, y);
    uint32_t sum = place(&f, build_node(&f.b, OP_add, (const uint32_t[]){z, z2, z}, 3));
    y = place(&f, build2(&f.b, OP_sub, sum, z2));
    build_int(&f.b, KEY_to, 0);
    y = one(&f, OP_drop_to, y);
    build_int(&f.b, KEY_layout, f.layout);
    build1(&f.b, OP_output, y);

    p->num_regs = f.registers;
    uint64_t *words = arena_array(p->arena, p->num_regs, sizeof *words);
    for (uint32_t k = 0; k < p->num_regs; k++)
        words[k] = 1024 + k;
    p->reg_words = words;
    return f;
}

static void has(const char *text, const char *want)
{
    cr_assert(strstr(text, want), "missing in the generated text: %s\n%s", want, text);
}

/* Position of `text`, which must stand behind `from` */
static const char *after(const char *from, const char *text)
{
    const char *at = strstr(from, text);
    cr_assert(at, "'%s' does not stand where it should", text);
    return at + 1;
}

Test(emit, one_function_a_layer_one_line_an_op)
{
    struct fixture f = tiny();
    struct c_output out;
    c_emit(f.p, NULL, &out, f.p->arena);
    const char *s = out.model_c.s;
    s = after(s, "static void layer_fc_1(rt_eval *e)");
    s = after(s, "rt_decompose(e, 1, 0);");
    s = after(s, "/* %1 tiny.yaml:9 fc 1 */");
    s = after(s, "rt_key_mul(e, 2, 1, 0, 1);");
    s = after(s, "rt_key_mul(e, 4, 3, 0, 5);");
    s = after(s, "rt_lift(e, 5, 0);");
    s = after(s, "static const uint32_t in_6[] = {5, 2, 4};");
    s = after(s, "rt_pmac(e, 6, in_6, 3, 0);");
    s = after(s, "rt_mod_down(e, 7, 6, 1);");
    s = after(s, "rt_padd(e, 8, 7, 3);");
    s = after(s, "static void layer_fc_1_2(rt_eval *e)");
    s = after(s, "rt_mul(e, 9, 8, 8);");
    s = after(s, "/* %9 tiny.yaml:12 fc-1 */");
    s = after(s, "rt_decompose(e, 10, 9);");
    s = after(s, "rt_key_mul(e, 11, 10, 9, 0);");
    s = after(s, "rt_mod_down(e, 12, 11, 0);");
    s = after(s, "rt_rescale(e, 13, 12, 1);");
    s = after(s, "static void layer_fc_1_3(rt_eval *e)");
    s = after(s, "rt_raise_scale(e, 14, 13, 3);");
    s = after(s, "rt_add(e, 16, 14, 15);");
    s = after(s, "rt_add(e, 16, 16, 14);");
    s = after(s, "rt_sub(e, 17, 16, 15);");
    s = after(s, "rt_drop_to(e, 18, 17, 0);");
    s = after(s, "static const uint32_t input_regs[] = {\n    0,\n};");
    s = after(s, "static const uint32_t output_regs[] = {\n    18,\n};");
    cr_assert_null(strstr(out.model_c.s, "somewhere"), "a path in the output");
    has(out.model_c.s, "tiny *_ net");
    has(out.interface_c.s, "\"what\\?\\?/\"");
    has(out.interface_c.s, "\"h\\303\\251\"");
    has(out.interface_c.s, ".input_scale = 1099511627776.0");
}

Test(emit, layer_times_are_sums)
{
    struct fixture f = tiny();
    struct c_output out;
    struct node_ns *ns = arena_array(f.p->arena, f.p->nodes.len, sizeof *ns);
    for (uint32_t i = 0; i < f.p->nodes.len; i++)
        ns[i] = (struct node_ns){1 << i, 0, 0};
    c_emit(f.p, ns, &out, f.p->arena);
    has(out.model_c.s, "{\"fc 1\", 9, layer_fc_1, 511.0, 0}");      /* nodes 0..8 */
    has(out.model_c.s, "{\"fc-1\", 12, layer_fc_1_2, 15872.0, 1}"); /* nodes 9..13 */
}

Test(emit, is_deterministic)
{
    struct fixture f = tiny(), g = tiny();
    struct c_output a, b;
    c_emit(f.p, NULL, &a, f.p->arena);
    c_emit(g.p, NULL, &b, g.p->arena);
    cr_assert_str_eq(a.model_c.s, b.model_c.s);
    cr_assert_str_eq(a.interface_c.s, b.interface_c.s);
    cr_assert_str_eq(a.clear_c.s, b.clear_c.s);
    cr_assert_eq(a.data.len, b.data.len);
    cr_assert_arr_eq(a.data.s, b.data.s, a.data.len);
}

/* A sum whose result takes over the buffer of its last operand must read that operand first. */
Test(emit, sum_into_the_buffer_of_an_operand)
{
    struct fixture f = tiny();
    struct c_output out;
    f.p->nodes.at[16].reg = f.p->nodes.at[15].reg;
    c_emit(f.p, NULL, &out, f.p->arena);
    const char *s = after(out.model_c.s, "rt_add(e, 15, 15, 14);");
    after(s, "rt_add(e, 15, 15, 14);");
}

/* A key product that only the next sum takes is added where it is made; not where something else takes it too. */
Test(emit, key_product_into_a_sum)
{
    static uint32_t sum[] = {2, 4}, operands[] = {5, 5, 5};
    for (int alone = 0; alone < 2; alone++) {
        struct fixture f = tiny();
        struct c_output out;
        struct node *n = f.p->nodes.at;
        n[5].op = OP_add; /* was the lift beside the key products %2 and %4 */
        n[5].args = sum;
        n[5].num_args = 2;
        n[5].reg = n[2].reg;
        if (alone)
            n[6].args = operands;
        c_emit(f.p, NULL, &out, f.p->arena);
        const char *s = after(out.model_c.s, "rt_key_mul(e, 2, 1, 0, 1);");
        s = after(s, alone ? "rt_key_mul_add(e, 2, 3, 0, 5);" : "rt_key_mul(e, 4, 3, 0, 5);");
        cr_assert_eq(strstr(s, "rt_add(e, 2, 2, 4);") == NULL, alone);
    }
}

Test(emit, without_registers_is_refused, .exit_code = 1)
{
    struct fixture f = tiny();
    struct c_output out;
    f.p->nodes.at[4].reg = NONE;
    c_emit(f.p, NULL, &out, f.p->arena);
}

/* ---- compilers ------------------------------------------------------------------------------ */

static void write_text(const char *dir, const char *name, const struct str *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    cr_assert(file);
    cr_assert_eq(fwrite(text->s, 1, text->len, file), text->len);
    cr_assert_eq(fclose(file), 0);
}

static void compile(const char *cc, const char *dir)
{
    static const char *const names[] = {"model.c", "interface.c", "clear.c"};
    char command[1024];
    snprintf(command, sizeof command, "command -v %s >/dev/null", cc);
    if (system(command) != 0) {
        cr_log_warn("%s is not installed: not tried", cc);
        return;
    }
    for (int k = 0; k < 3; k++) {
        snprintf(command, sizeof command,
                 "%s -std=c11 -fsyntax-only -Iruntime -Wall -Wextra -Wpedantic -Wshadow "
                 "-Wconversion -Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror %s %s/%s",
                 cc, strcmp(cc, "clang") == 0 ? "-Wmissing-variable-declarations" : "", dir,
                 names[k]);
        cr_assert_eq(system(command), 0, "%s", command);
    }
}

Test(emit, compiles_without_a_warning)
{
    struct fixture f = tiny();
    struct c_output out;
    c_emit(f.p, NULL, &out, f.p->arena);
    char dir[] = "/tmp/weft-test-emit-XXXXXX", command[64];
    cr_assert_not_null(mkdtemp(dir));
    write_text(dir, "model.c", &out.model_c);
    write_text(dir, "interface.c", &out.interface_c);
    write_text(dir, "clear.c", &out.clear_c);
    compile("gcc", dir);
    compile("clang", dir);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

/* ---- the data file, read back by the words of rt.h ------------------------------------------ */

static uint64_t u64_at(const char *s)
{
    uint64_t v;
    memcpy(&v, s, sizeof v);
    return v;
}

static uint32_t u32_at(const char *s)
{
    uint32_t v;
    memcpy(&v, s, sizeof v);
    return v;
}

static double f64_at(const char *s)
{
    double v;
    memcpy(&v, s, sizeof v);
    return v;
}

struct decoded {
    uint64_t num_values, num_rects, num_plains;
    const char *values, *rects, *plains;
};

static struct decoded decode(const struct str *file)
{
    const char *s = file->s;
    cr_assert_gt(file->len, 96);
    struct decoded d = {u64_at(s + 64), u64_at(s + 72), u64_at(s + 80), s + 96, NULL, NULL};
    d.rects = d.values + 8 * d.num_values;
    d.plains = d.rects + 24 * d.num_rects;
    cr_assert_eq(file->len, 96 + 8 * d.num_values + 24 * d.num_rects + 40 * d.num_plains);
    return d;
}

/* Plaintext number k into v[n]; returns n */
static uint32_t decode_plain(const struct decoded *d, uint64_t k, double *v)
{
    const char *plain = d->plains + 40 * k;
    uint32_t count = u32_at(plain + 8), n = u32_at(plain + 12);
    cr_assert(k < d->num_plains && u64_at(plain) + count <= d->num_rects);
    memset(v, 0, n * sizeof *v);
    for (uint32_t i = 0; i < count; i++) {
        const char *r = d->rects + 24 * (u64_at(plain) + i);
        cr_assert_lt(u32_at(r + 20), d->num_values);
        for (uint32_t row = 0; row < u32_at(r + 4); row++)
            for (uint32_t col = 0; col < u32_at(r + 8); col++)
                v[(u32_at(r) + row * u32_at(r + 12) + col * u32_at(r + 16)) % n] +=
                    f64_at(d->values + 8 * (size_t)u32_at(r + 20));
    }
    return n;
}

Test(emit, data_header)
{
    struct fixture f = tiny();
    struct c_output out;
    c_emit(f.p, NULL, &out, f.p->arena);
    const char *s = out.data.s;
    cr_assert_arr_eq(s, "WEFTFILE", 8);
    cr_assert_eq(u32_at(s + 8), 2, "version of the container");
    cr_assert_eq(u32_at(s + 12), RT_KIND_MODEL_DATA);
    cr_assert_eq(u32_at(s + 16), 1, "insecure parameters are marked");
    cr_assert_eq(u64_at(s + 24), 0);
    cr_assert_eq(u64_at(s + 32), 0x0123456789abcdef);
    cr_assert_eq(u64_at(s + 40), 0);
    cr_assert_eq(u64_at(s + 48), out.data.len - 64);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, s, 56);
    XXH3_64bits_update(state, s + 64, out.data.len - 64);
    uint64_t checksum = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    cr_assert_eq(u64_at(s + 56), checksum);
    char line[64];
    snprintf(line, sizeof line, ".data_checksum = 0x%016llxu", (unsigned long long)checksum);
    has(out.model_c.s, line);
}

Test(emit, data_holds_the_plaintexts)
{
    struct fixture f = tiny();
    struct c_output out;
    c_emit(f.p, NULL, &out, f.p->arena);
    struct decoded d = decode(&out.data);
    cr_assert_eq(d.num_values, 8 * 32 + 8 + 3, "each constant once");
    cr_assert_eq(d.num_plains, 4);

    double want[3][SLOTS], got[SLOTS], bias[SLOTS];
    struct diagonals g = lmap_diagonals(f.p, f.map, true, f.p->arena);
    pmac_plaintexts(f.p, &f.p->nodes.at[f.pmac], &g, want[0]);
    for (uint32_t k = 0; k < 3; k++) {
        cr_assert_eq(decode_plain(&d, k, got), SLOTS);
        cr_assert_arr_eq(got, want[k], sizeof got);
        const char *plain = d.plains + 40 * (size_t)k;
        cr_assert_eq(u32_at(plain + 16), SLOTS);
        cr_assert_eq(u32_at(plain + 20), 2, "level");
        cr_assert_eq(u32_at(plain + 24), 1, "extended");
        cr_assert_eq(f64_at(plain + 32), 0x1p30);
    }
    padd_plaintext(f.p, &f.p->nodes.at[f.padd], bias);
    cr_assert_eq(decode_plain(&d, 3, got), SLOTS);
    cr_assert_arr_eq(got, bias, sizeof got);
    cr_assert_eq(f64_at(d.plains + 40 * 3 + 32), f.p->nodes.at[f.padd].type.scale);
    cr_assert_eq(u32_at(d.plains + 40 * 3 + 24), 0);
}

/* Maps between vectors of unequal periods, several terms and ciphertexts, gaps and interleaves */
struct shape_case {
    const char *name;
    struct layout in[2], out;
    uint32_t num_terms, kernel, stride, pad;
    enum wrap wrap;
};
#define ROWS(c_, h_, w_, n_, block_)                                                               \
    {                                                                                              \
        .c = c_, .h = h_, .w = w_, .n = n_, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1, .pitch = w_,   \
        .block = block_                                                                            \
    }
static const struct shape_case shape_cases[] = {
    {"equal periods", {ROWS(2, 4, 4, 32, 16)}, ROWS(3, 4, 4, 64, 16), 1, 3, 1, 1, WRAP_ZEROS},
    {"fewer out", {ROWS(2, 4, 4, 32, 16)}, ROWS(4, 1, 1, 4, 1), 1, 4, 1, 0, WRAP_ZEROS},
    {"two operands of unequal periods",
     {ROWS(1, 4, 4, 16, 16), ROWS(2, 4, 4, 64, 32)},
     ROWS(8, 1, 1, 8, 1),
     2,
     4,
     1,
     0,
     WRAP_ZEROS},
    {"a period below the result's, one above",
     {ROWS(1, 2, 2, 4, 4), ROWS(4, 2, 2, 32, 8)},
     ROWS(3, 2, 2, 16, 4),
     2,
     3,
     1,
     1,
     WRAP_CIRCULAR},
    {"gap and interleave",
     {{.c = 3,
       .h = 5,
       .w = 7,
       .n = 64,
       .g_h = 2,
       .g_w = 1,
       .t_h = 1,
       .t_w = 1,
       .pitch = 8,
       .block = 32}},
     {.c = 4,
      .h = 3,
      .w = 4,
      .n = 64,
      .g_h = 1,
      .g_w = 1,
      .t_h = 1,
      .t_w = 2,
      .pitch = 8,
      .block = 32},
     1,
     3,
     2,
     1,
     WRAP_ZEROS},
};

static uint32_t shape_map(struct build *b, const struct shape_case *c)
{
    struct prog *p = b->p;
    struct lterm term[2];
    struct lmap m = {.out = {c->out.c, c->out.h, c->out.w}, .num_terms = c->num_terms};
    m.out_layout = prog_add_layout(p, &c->out);
    m.term = term;
    for (uint32_t t = 0; t < c->num_terms; t++) {
        const struct layout *l = &c->in[t];
        int32_t pad = (int32_t)c->pad;
        term[t] = (struct lterm){.in_layout = prog_add_layout(p, l),
                                 .in = {l->c, l->h, l->w},
                                 .groups = 1,
                                 .stride = {c->stride, c->stride},
                                 .dilation = {1, 1},
                                 .up = {1, 1},
                                 .pad = {pad, pad, pad, pad},
                                 .wrap = c->wrap};
        int64_t dims[] = {c->out.c, l->c, c->kernel, c->kernel};
        term[t].weight = weights(b, 4, dims);
    }
    return prog_add_map(p, &m);
}

static struct type extended(uint32_t n)
{
    return (struct type){.kind = KIND_CT, .layout = NONE, .n = n, .level = 1, .scale = 0x1p40};
}

/* All diagonals of the map, each with steps baby + giant of its own pmac; then the file against
 * pmac_plaintexts. */
static void check_shape(const struct shape_case *c, int64_t giant)
{
    struct prog *p = prog_new(arena_new(), STAGE_CKKS);
    set_params(p);
    set_model(p);
    struct build b = build_at(p, NO_LOC, c->name);
    uint32_t map = shape_map(&b, c), regs = 0, in = p->maps[map].term[0].in_layout;
    struct diagonals g = lmap_diagonals(p, map, true, p->arena);
    struct type type = extended(g.nw);
    uint32_t x[2];
    for (uint32_t t = 0; t < c->num_terms; t++) {
        type.n = p->layouts[p->maps[map].term[t].in_layout].n;
        build_type(&b, &type);
        build_int(&b, KEY_part, 0);
        build_int(&b, KEY_layout, p->maps[map].term[t].in_layout);
        x[t] = build_node(&b, OP_input, NULL, 0);
        p->nodes.at[x[t]].reg = regs++;
    }
    uint32_t first = p->nodes.len;
    for (uint32_t k = 0; k < g.len; k++) {
        build_int(&b, KEY_map, map);
        build_int(&b, KEY_out, g.at[k].out_ct);
        build_int(&b, KEY_giant, giant);
        build_ints(&b, KEY_in, (const int64_t[]){g.at[k].in_ct}, 1);
        build_ints(&b, KEY_baby, (const int64_t[]){(int64_t)g.at[k].offset - giant}, 1);
        build_int(&b, KEY_period, g.nw);
        build_real(&b, KEY_pt_scale, 0x1p30);
        uint32_t y = build1(&b, OP_pmac, x[g.at[k].term]);
        p->nodes.at[y].reg = regs++;
    }
    build_int(&b, KEY_layout, in);
    uint32_t outs[8];
    for (uint32_t k = 0; k < p->layouts[in].num_ct; k++)
        outs[k] = x[0];
    build_node(&b, OP_output, outs, p->layouts[in].num_ct);
    p->num_regs = regs;
    uint64_t *words = arena_array(p->arena, regs, sizeof *words);
    p->reg_words = words;

    struct c_output out;
    c_emit(p, NULL, &out, p->arena);
    struct decoded d = decode(&out.data);
    cr_assert_eq(d.num_plains, g.len);
    double *want = arena_array(p->arena, g.nw, sizeof *want);
    double *got = arena_array(p->arena, g.nw, sizeof *got), sum = 0;
    for (uint32_t k = 0; k < g.len; k++) {
        pmac_plaintexts(p, &p->nodes.at[first + k], &g, want);
        cr_assert_eq(decode_plain(&d, k, got), g.nw);
        for (uint32_t j = 0; j < g.nw; j++) {
            cr_assert_eq(got[j], want[j], "%s, giant %d, plaintext %u, slot %u", c->name,
                         (int)giant, k, j);
            sum += fabs(want[j]);
        }
    }
    cr_assert_gt(sum, 1, "plaintexts that are not zero");
    arena_free(p->arena);
}

Test(emit, data_of_all_kinds_of_maps)
{
    for (size_t k = 0; k < sizeof shape_cases / sizeof *shape_cases; k++) {
        check_shape(&shape_cases[k], 0);
        check_shape(&shape_cases[k], 5);
        check_shape(&shape_cases[k], -9);
    }
}

/* ---- pictures ------------------------------------------------------------------------------- */

Test(dot, has_a_node_an_op_and_a_frame_a_layer)
{
    struct fixture f = tiny();
    struct str out;
    str_init(&out, f.p->arena);
    dot_emit(f.p, &out);
    has(out.s, "digraph weft {");
    has(out.s, "label=\"fc-1\"");
    has(out.s, "n2 [fillcolor=lightsalmon, label=\"%2 key_mul by 1\\nctx 64 L=2 r2\"]");
    has(out.s, "n1 -> n2;");
    cr_assert_eq(out.s[out.len - 2], '}');
}
