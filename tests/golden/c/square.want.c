/* ==== clear.c ==== */
/*
 * square: the network on plain numbers
 * Written by weft 0.1.0 from square.yaml, model 47274f38366860e2. Do not edit.
 */

#include "rt_clear.h"

#include <stdlib.h>
#include <string.h>

static const struct rt_clear_term term_1_0 = {
    .in = {1, 4, 4}, .out = {2, 2, 2}, .weight_dims = {2, 1, 3, 3},
    .weight = 0, .out_from = 0, .in_from = 0, .groups = 1,
    .stride = {1, 1}, .dilation = {1, 1}, .up = {1, 1},
    .pad = {0, 0, 0, 0}, .wrap = 0,
};
static const struct rt_clear_term term_3_0 = {
    .in = {2, 2, 2}, .out = {2, 1, 1}, .weight_dims = {2, 1, 2, 2},
    .weight = 20, .out_from = 0, .in_from = 0, .groups = 2,
    .stride = {1, 1}, .dilation = {1, 1}, .up = {1, 1},
    .pad = {0, 0, 0, 0}, .wrap = 0,
};
static const struct rt_clear_term term_4_0 = {
    .in = {2, 1, 1}, .out = {3, 1, 1}, .weight_dims = {3, 2, 1, 1},
    .weight = 28, .out_from = 0, .in_from = 0, .groups = 1,
    .stride = {1, 1}, .dilation = {1, 1}, .up = {1, 1},
    .pad = {0, 0, 0, 0}, .wrap = 0,
};

static bool run(const double *values, const double *x, double *y)
{
    double *m = malloc(16 * sizeof *m);
    if (!m)
        return false;
    double *b0 = m + 0;
    double *b1 = m + 8;
    /* %1 square.yaml:6 conv */
    memset(b0, 0, 8 * sizeof *b0);
    rt_clear_map(values, &term_1_0, x, b0);
    rt_clear_bias(values, 18, 2, 4, b0);
    /* %2 square.yaml:7 square */
    rt_clear_mul(8, b1, b0, b0);
    /* %3 square.yaml:8 pool */
    memset(b0, 0, 2 * sizeof *b0);
    rt_clear_map(values, &term_3_0, b1, b0);
    /* %4 square.yaml:9 last */
    memset(b1, 0, 3 * sizeof *b1);
    rt_clear_map(values, &term_4_0, b0, b1);
    rt_clear_bias(values, 34, 3, 1, b1);
    /* %5 square.yaml:9 output */
    memcpy(y + 0, b1, 3 * sizeof *y);
    free(m);
    return true;
}

extern const struct rt_clear_program weft_clear;
const struct rt_clear_program weft_clear = {.run = run};
/* ==== interface.c ==== */
/*
 * square: what client and server share
 * Written by weft 0.1.0 from square.yaml, model 47274f38366860e2. Do not edit.
 */

#include "rt.h"

static const uint64_t primes_q[] = {
    0x3ffffffffc001, 0x3fffffffcc001, 0x3fffffff9a001,
};
static const uint64_t primes_p[] = {
    0x3fffffff72001, 0x3fffffff4e001, 0x3fffffff46001,
};
/* rotation in slots, highest level, kind (enum rt_key_kind) */
static const struct rt_key_spec keys[] = {
    {0, 1, 0}, {1, 2, 1}, {2, 2, 1}, {4, 2, 1}, {5, 2, 1}, {6, 2, 1},
    {8, 2, 1}, {16, 1, 1}, {2033, 1, 1}, {2036, 1, 1}, {2037, 1, 1}, {2041, 2, 1},
    {2042, 2, 1},
};
static const double mean[] = {
    0.0,
};
static const double std[] = {
    1.0,
};
static const char *const labels[] = {
    "a \"quoted\" label",
    "<b>",
    "\?\?/",
};

extern const struct rt_interface weft_interface;
const struct rt_interface weft_interface = {
    .name = "square",
    .version = "0.1.0",
    .model_hash = 0x47274f38366860e2u,
    .params = {.log_n = 12, .num_q = 3, .num_p = 3, .q = primes_q, .p = primes_p,
        .alpha = 3, .insecure = 1},
    .lambda = 0.0,
    .log2_qp = 299.999999996515,
    .keys = keys,
    .num_keys = 13,
    .input = {.c = 1, .h = 4, .w = 4, .n = 16, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1,
        .pitch = 4, .block = 16, .num_ct = 1, .perm = NULL},
    .output = {.c = 3, .h = 1, .w = 1, .n = 64, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1,
        .pitch = 1, .block = 16, .num_ct = 1, .perm = NULL},
    .input_scale = 18014398509481984.0,
    .output_scale = 134217696.12500153,
    .input_level = 2,
    .output_level = 0,
    .range = {0.0, 1.0},
    .mean = mean,
    .std = std,
    .num_outputs = 3,
    .labels = labels,
    .error_bound = 3.11e-05,
    .depth = 2.0,
    .max_memory = 5905580032u,
    .memory_once = 21109568u, .memory_server = 23557952u, .memory_all = 23557952u,
};
/* ==== main_all.c ==== */
/* Written by weft. */
#include "rt_app.h"
#include "rt_clear.h"

extern const struct rt_program weft_program;
extern const struct rt_clear_program weft_clear;

int main(int argc, char **argv)
{
    return rt_app_all(&weft_program, &weft_clear, argc, argv);
}
/* ==== main_client.c ==== */
/* Written by weft. */
#include "rt_app.h"

extern const struct rt_interface weft_interface;

int main(int argc, char **argv)
{
    return rt_app_client(&weft_interface, argc, argv);
}
/* ==== main_server.c ==== */
/* Written by weft. */
#include "rt_app.h"

extern const struct rt_program weft_program;

int main(int argc, char **argv)
{
    return rt_app_server(&weft_program, argc, argv);
}
/* ==== model.c ==== */
/*
 * square: the network on encrypted numbers
 * Written by weft 0.1.0 from square.yaml, model 47274f38366860e2. Do not edit.
 *
 * Ring      N = 4096, 3 + 3 primes, log2(QP) = 300.0, INSECURE toy parameters
 * Depth     2 levels
 * Work      15 rotations, 16 key switches, 3 decompositions, 17 plaintext products
 * Memory    21.1 MB for one image: 13 keys, 2.4 MB; 19 plaintexts, 1.0 MB; 4 registers, 1.0 MB
 *           23.6 MB for several, 23.6 MB if all that is computed is kept
 *
 * Comments: %IR node, line of the model file, layer.
 */

#include "rt.h"

static void layer_conv(rt_eval *e)
{
    rt_decompose(e, 2, 1);                      /* %1 square.yaml:6 conv */
    static const uint32_t out_11[] = {0};
    static const struct rt_baby baby_11[] = {
        {2, 1, 8},                              /* %7 = key_mul of %0 */
        {2, 1, 2041},                           /* %8 = key_mul of %0 */
        {2, 1, 2042},                           /* %9 = key_mul of %0 */
        {UINT32_MAX, 1, 0},                     /* %10 = lift of %0 */
        {2, 1, 1},                              /* %2 = key_mul of %0 */
        {2, 1, 2},                              /* %3 = key_mul of %0 */
        {2, 1, 4},                              /* %4 = key_mul of %0 */
        {2, 1, 5},                              /* %5 = key_mul of %0 */
        {2, 1, 6},                              /* %6 = key_mul of %0 */
    };
    static const uint32_t plain_11[] = {
        /* %11 */
        0, 1, 2, 3, 4, 5, 6, 7,
        8,
    };
    rt_transform(e, out_11, 1, baby_11, 9, plain_11); /* %11 square.yaml:6 conv */
    rt_mod_down(e, 0, 0, 1);                    /* %12 square.yaml:6 conv */
    rt_padd(e, 0, 0, 9);                        /* %13 square.yaml:6 conv */
}

static void layer_square(rt_eval *e)
{
    rt_mul(e, 1, 0, 0);                         /* %14 square.yaml:7 square */
    rt_decompose(e, 2, 1);                      /* %15 square.yaml:7 square */
    rt_key_mul(e, 0, 2, 1, 0);                  /* %16 square.yaml:7 square */
    rt_mod_down(e, 3, 0, 0);                    /* %17 square.yaml:7 square */
}

static void layer_last(rt_eval *e)
{
    rt_decompose(e, 2, 3);                      /* %18 square.yaml:9 last */
    static const uint32_t out_26[] = {1};
    static const struct rt_baby baby_26[] = {
        {2, 3, 16},                             /* %22 = key_mul of %17 */
        {2, 3, 2033},                           /* %23 = key_mul of %17 */
        {2, 3, 2036},                           /* %24 = key_mul of %17 */
        {2, 3, 2037},                           /* %25 = key_mul of %17 */
        {UINT32_MAX, 0, 0},                     /* %16 */
        {2, 3, 1},                              /* %19 = key_mul of %17 */
        {2, 3, 4},                              /* %20 = key_mul of %17 */
        {2, 3, 5},                              /* %21 = key_mul of %17 */
    };
    static const uint32_t plain_26[] = {
        /* %26 */
        10, 11, 12, 13, 14, 15, 16, 17,
    };
    rt_transform(e, out_26, 1, baby_26, 8, plain_26); /* %26 square.yaml:9 last */
    rt_mod_down(e, 1, 1, 1);                    /* %27 square.yaml:9 last */
    rt_padd(e, 1, 1, 18);                       /* %28 square.yaml:9 last */
}

static const uint64_t reg_words[] = {
    49152, 40960, 24576, 16384,
};
static const struct rt_layer layers[] = {
    {"conv", 6, layer_conv, 463393.0, 0},
    {"square", 7, layer_square, 160427.0, 1},
    {"last", 9, layer_last, 339670.0, 2},
};
static const struct rt_row rows[] = {
    {"conv", 6, 0, 463393.0, 2, 1, 27.00, 8, 8, 1, 9, 9, 32, 1, 0.003906, 286560.0, 3719.0},
    {"square", 7, 0, 160427.0, 1, 1, 54.00, 0, 1, 1, 0, 0, 0, 1, 0.003906, 29850.0, 0.0},
    {"last", 9, 0, 339670.0, 1, 0, 27.00, 7, 7, 1, 8, 8, 64, 1, 0.001465, 208950.0, 5445.0},
};
static const uint32_t input_regs[] = {
    1,
};
static const uint32_t output_regs[] = {
    1,
};

extern const struct rt_interface weft_interface;
extern const struct rt_program weft_program;
const struct rt_program weft_program = {
    .interface = &weft_interface,
    .data_checksum = 0xb7cafaa8e514f0c2u,
    .num_regs = 4,
    .reg_words = reg_words,
    .layers = layers,
    .num_layers = 3,
    .input_regs = input_regs,
    .output_regs = output_regs,
    .rows = rows,
    .num_rows = 3,
};
2017619879 2472
