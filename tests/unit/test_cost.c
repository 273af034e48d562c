/* SPDX-License-Identifier: Apache-2.0 */
#include "passes.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cost_ring ring = {14, 2, 2};

/* Writes text to a file of its own and loads it. */
static bool load(const char *text, const char **why)
{
    char path[] = "/tmp/weft_cost_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs(text, f);
    fclose(f);
    bool ok = cost_load(path, why);
    unlink(path);
    return ok;
}

Test(cost, grows_with_the_ring)
{
    for (uint32_t log_n = 10; log_n < 19; log_n++) {
        struct cost_ring small = {log_n, 2, 2}, large = {log_n + 1, 2, 2};
        cr_assert(cost_ntt(log_n) < cost_ntt(log_n + 1), "log_n %u", log_n);
        cr_assert(cost_key_mul(small, 3) < cost_key_mul(large, 3));
        cr_assert(cost_decompose(small, 3) < cost_decompose(large, 3));
        cr_assert(cost_mod_down(small, 3) < cost_mod_down(large, 3));
    }
}

Test(cost, grows_with_the_level)
{
    for (int level = 1; level < 30; level++) {
        cr_assert(cost_decompose(ring, level) > cost_decompose(ring, level - 1));
        cr_assert(cost_key_mul(ring, level) > cost_key_mul(ring, level - 1));
        cr_assert(cost_mod_down(ring, level) > cost_mod_down(ring, level - 1));
        cr_assert(cost_rescale(ring, level + 1) > cost_rescale(ring, level));
        cr_assert(cost_pmac(ring, level, false, 3) > cost_pmac(ring, level - 1, false, 3));
    }
    cr_assert(cost_pmac(ring, 3, true, 6) > cost_pmac(ring, 3, true, 5));
    cr_assert(cost_pmac(ring, 3, false, 6) > cost_pmac(ring, 3, false, 5));
    cr_assert_eq(cost_pmac_period(ring, 3, false, 6, 8192), cost_pmac(ring, 3, false, 6));
    cr_assert(cost_pmac_period(ring, 3, false, 6, 4096) < cost_pmac(ring, 3, false, 6));
}

/* One digit of all limbs: as many transforms as limbs there are, and every own limb to every special one */
Test(cost, counts_of_one_digit)
{
    const char *why;
    cr_assert(load("ntt.14 1000\nconvert.14 1\nkey.14 1\npermute.14 1\npointwise.14 1\n", &why),
              "%s", why);
    struct cost_ring one = {14, 4, 4};
    cr_assert_eq(cost_decompose(one, 3), 4 * 1000 + 4 * 1000 + 4 * 4);
    cr_assert_eq(cost_key_mul(one, 3), 2 * 8 * (1 + 1));
    cr_assert_float_eq(cost_mod_down(one, 3), 2 * (4 * 1000 + 4 * 4 + 4 * (1000 + 1 / 3.)), 1e-6);
    cr_assert_float_eq(cost_rescale(one, 3), 2 * (1000 + 3 + 3 * (1000 + 1 / 3.)), 1e-6);
}

Test(cost, file_replaces_only_what_it_names)
{
    const char *why;
    double old = cost_mac(14), other = cost_ntt(15);
    cr_assert(load("# measured\n\nntt.14 12345.5   # comment\r\npointwise.17\t7\n", &why), "%s",
              why);
    cr_assert_eq(cost_ntt(14), 12345.5);
    cr_assert_eq(cost_pointwise(17), 7);
    cr_assert_eq(cost_pointwise(18), 14, "rings outside the table scale");
    cr_assert_eq(cost_mac(14), old);
    cr_assert_eq(cost_ntt(15), other);
}

Test(cost, bad_files_change_nothing)
{
    static const char *const bad[] = {
        "ntt.14",      "ntt 5",    "ntt.14 x", "ntt.14 5 6", "ntt.11 5",
        "ntt.18 5",    "ntt.1x 5", "ntt.14 0", "ntt.14 -1",  "ntt.14 nan",
        "ntt.14 inf",  "fft.14 5", ".14 5",    "ntt. 5",     "ntt.14 1\nnttt.14 1",
        "mac.14 1e99",
    };
    double old = cost_ntt(14);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *why = NULL;
        cr_assert_not(load(bad[i], &why), "accepted: %s", bad[i]);
        cr_assert_not_null(why);
        cr_assert_eq(cost_ntt(14), old);
    }
    char line[400];
    memset(line, '#', sizeof line - 1);
    line[sizeof line - 1] = 0;
    const char *why = NULL;
    cr_assert_not(load(line, &why));
    cr_assert_not(cost_load("/nonexistent/cost", &why));
    cr_assert_not_null(why);
}

/* The model's nodes: nothing before levels are known, the sum of its parts after. */
Test(cost, of_programs)
{
    static const char text[] =
        "weft-ir 1 stage=ckks\n"
        "model \"m\" hash=1 input=1x1x1 range=[0,1] outputs=1\n"
        "mean [0]\nstd [1]\nsource \"\"\nweights \"\"\n"
        "params log_n=14 alpha=1 scale=1024 input_scale=1024 insecure=0 lambda=128\n"
        "q [1125899904679937,1125899903991809]\np [1125899903107073]\n"
        "@0 = layout 1x1x1 n=1 g=1,1 t=1,1 pitch=1 block=1\n"
        "program\n"
        "%0 = input part=0 layout=@0 : ct 1 L=1 S=1024  # a\n"
        "%1 = mul %0, %0 : ct3 1 L=1 S=1048576  # a\n"
        "%2 = decompose %1 : digits 1 L=1 S=1048576  # a\n"
        "%3 = key_mul %2, %1 : ctx 1 L=1 S=1048576  # a\n"
        "%4 = mod_down %3 drop=0 : ct 1 L=1 S=1048576  # a\n"
        "%5 = output %4 layout=@0  # a\n";
    struct arena *a = arena_new();
    struct prog *p = prog_parse(a, "text", text, sizeof text - 1);
    struct cost_ring r = {14, 1, 1};
    double sum = cost_node(p, &p->nodes.at[1]) + cost_decompose(r, 1) + cost_key_mul(r, 1) +
                 cost_mod_down(r, 1);
    cr_assert(cost_node(p, &p->nodes.at[1]) > 0);
    cr_assert_eq(cost_node(p, &p->nodes.at[0]), 0);
    cr_assert_eq(cost_node(p, &p->nodes.at[5]), 0);
    cr_assert_float_eq(cost_prog(p), sum, 1e-6);
    p->nodes.at[1].type.level = -1;
    cr_assert_eq(cost_node(p, &p->nodes.at[2]), 0);
    arena_free(a);
}

/* One digit and no decomposition: less than a hoisted rotation as soon as there are two digits */
Test(cost, raised)
{
    for (int level = 0; level < 30; level++) {
        double raised = cost_raised_mul(ring, level), key = cost_key_mul(ring, level);
        cr_assert(level < 2 ? fabs(raised - key) < 1e-9 * key : raised < key, "level %d", level);
        cr_assert(raised > 0 && cost_raised_mul(ring, level + 1) > raised);
    }
}
