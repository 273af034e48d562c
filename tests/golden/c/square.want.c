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
    0x3fffffff72001, 0x3fffffff4e001,
};
/* rotation in slots, highest level, kind (enum rt_key_kind) */
static const struct rt_key_spec keys[] = {
    {0, 1, 0}, {1, 2, 1}, {2, 2, 1}, {4, 1, 1}, {8, 2, 1}, {2044, 2, 1},
    {2046, 2, 1}, {2047, 1, 1},
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
    .params = {.log_n = 12, .num_q = 3, .num_p = 2, .q = primes_q, .p = primes_p,
        .alpha = 2, .insecure = 1},
    .lambda = 0.0,
    .log2_qp = 249.99999999749122,
    .keys = keys,
    .num_keys = 8,
    .input = {.c = 1, .h = 4, .w = 4, .n = 16, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1,
        .pitch = 4, .block = 16, .num_ct = 1, .perm = NULL},
    .output = {.c = 3, .h = 1, .w = 1, .n = 4, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1,
        .pitch = 1, .block = 1, .num_ct = 1, .perm = NULL},
    .input_scale = 18014398509481984.0,
    .output_scale = 134217696.12500153,
    .input_level = 2,
    .output_level = 0,
    .range = {0.0, 1.0},
    .mean = mean,
    .std = std,
    .num_outputs = 3,
    .labels = labels,
    .error_bound = 1.16e-05,
    .depth = 2.0,
    .max_memory = 5905580032u,
    .memory_once = 20679872u, .memory_server = 22721344u, .memory_all = 22721344u,
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
 * Ring      N = 4096, 3 + 2 primes, log2(QP) = 250.0, INSECURE toy parameters
 * Depth     2 levels
 * Work      9 rotations, 10 key switches, 6 decompositions, 12 plaintext products
 * Memory    20.7 MB for one image: 8 keys, 2.0 MB; 14 plaintexts, 1.0 MB; 4 registers, 1.2 MB
 *           22.7 MB for several, 22.7 MB if all that is computed is kept
 *
 * Comments: %IR node, line of the model file, layer.
 */

#include "rt.h"

static void layer_conv(rt_eval *e)
{
    rt_decompose(e, 0, 3);                      /* %1 square.yaml:6 conv */
    static const uint32_t out_7[] = {1, 2};
    static const struct rt_baby baby_7[] = {
        {0, 3, 2044},                           /* %3 = key_mul of %0 */
        {0, 3, 2046},                           /* %4 = key_mul of %0 */
        {UINT32_MAX, 3, 0},                     /* %5 = lift of %0 */
        {0, 3, 2},                              /* %2 = key_mul of %0 */
    };
    static const uint32_t plain_7[] = {
        /* %6 */
        0, 1, 2, 3,
        /* %7 */
        4, 5, 6, 7,
    };
    rt_transform(e, out_7, 2, baby_7, 4, plain_7); /* %7 square.yaml:6 conv */
    rt_mod_down(e, 3, 2, 0);                    /* %8 square.yaml:6 conv */
    rt_decompose(e, 0, 3);                      /* %9 square.yaml:6 conv */
    rt_key_mul(e, 2, 0, 3, 1);                  /* %10 square.yaml:6 conv */
    rt_add(e, 1, 1, 2);                         /* %11 square.yaml:6 conv */
    rt_mod_down(e, 2, 1, 0);                    /* %12 square.yaml:6 conv */
    rt_decompose(e, 0, 2);                      /* %13 square.yaml:6 conv */
    rt_key_mul(e, 1, 0, 2, 8);                  /* %14 square.yaml:6 conv */
    rt_lift(e, 0, 2);                           /* %15 square.yaml:6 conv */
    rt_add(e, 0, 0, 1);                         /* %16 square.yaml:6 conv */
    rt_mod_down(e, 0, 0, 1);                    /* %17 square.yaml:6 conv */
    rt_padd(e, 0, 0, 8);                        /* %18 square.yaml:6 conv */
}

static void layer_square(rt_eval *e)
{
    rt_mul(e, 1, 0, 0);                         /* %19 square.yaml:7 square */
    rt_decompose(e, 2, 1);                      /* %20 square.yaml:7 square */
    rt_key_mul(e, 0, 2, 1, 0);                  /* %21 square.yaml:7 square */
    rt_mod_down(e, 2, 0, 0);                    /* %22 square.yaml:7 square */
}

static void layer_last(rt_eval *e)
{
    rt_decompose(e, 3, 2);                      /* %23 square.yaml:9 last */
    static const uint32_t out_27[] = {1};
    static const struct rt_baby baby_27[] = {
        {3, 2, 2046},                           /* %25 = key_mul of %22 */
        {3, 2, 2047},                           /* %26 = key_mul of %22 */
        {UINT32_MAX, 0, 0},                     /* %21 */
        {3, 2, 1},                              /* %24 = key_mul of %22 */
    };
    static const uint32_t plain_27[] = {
        /* %27 */
        9, 10, 11, 12,
    };
    rt_transform(e, out_27, 1, baby_27, 4, plain_27); /* %27 square.yaml:9 last */
    rt_mod_down(e, 1, 1, 0);                    /* %28 square.yaml:9 last */
    rt_decompose(e, 2, 1);                      /* %29 square.yaml:9 last */
    rt_key_mul(e, 0, 2, 1, 4);                  /* %30 square.yaml:9 last */
    rt_lift(e, 1, 1);                           /* %31 square.yaml:9 last */
    rt_add(e, 1, 1, 0);                         /* %32 square.yaml:9 last */
    rt_mod_down(e, 1, 1, 1);                    /* %33 square.yaml:9 last */
    rt_padd(e, 1, 1, 13);                       /* %34 square.yaml:9 last */
}

static const uint64_t reg_words[] = {
    40960, 40960, 40960, 24576,
};
static const struct rt_layer layers[] = {
    {"conv", 6, layer_conv, 438778.0, 0},
    {"square", 7, layer_square, 61506.0, 1},
    {"last", 9, layer_last, 174771.0, 2},
};
static const struct rt_row rows[] = {
    {"conv", 6, 0, 438778.0, 2, 1, 27.00, 5, 5, 3, 8, 8, 16, 1, 0.003906},
    {"square", 7, 0, 61506.0, 1, 1, 54.00, 0, 1, 1, 0, 0, 0, 1, 0.003906},
    {"last", 9, 0, 174771.0, 1, 0, 27.00, 4, 4, 2, 4, 4, 8, 1, 0.001465},
};
static const uint32_t input_regs[] = {
    3,
};
static const uint32_t output_regs[] = {
    1,
};

extern const struct rt_interface weft_interface;
extern const struct rt_program weft_program;
const struct rt_program weft_program = {
    .interface = &weft_interface,
    .data_checksum = 0x1a856bd2c36ba0b1u,
    .num_regs = 4,
    .reg_words = reg_words,
    .layers = layers,
    .num_layers = 3,
    .input_regs = input_regs,
    .output_regs = output_regs,
    .rows = rows,
    .num_rows = 3,
};
1464651375 2704
