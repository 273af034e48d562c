/* SPDX-License-Identifier: Apache-2.0 */
#include "app/app.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>
#include <string.h>

Test(app_answer, top_is_sorted_and_stable)
{
    const double values[] = {1, 5, -2, 5, 3, 0};
    uint32_t top[6];
    rt_app_top(values, 6, 6, top);
    const uint32_t all[] = {1, 3, 4, 0, 5, 2};
    cr_expect_arr_eq(top, all, sizeof all);
    memset(top, 0xff, sizeof top);
    rt_app_top(values, 6, 2, top);
    cr_expect_eq(top[0], 1);
    cr_expect_eq(top[1], 3);
    cr_expect_eq(top[2], UINT32_MAX, "wrote beyond the count");
}

/* Digits below the error are noise that depends on the key. */
Test(app_answer, digits_end_above_the_error)
{
    struct rt_interface m = {.error_bound = 3e-4};
    cr_expect_eq(rt_app_decimals(&m), 3);
    cr_expect_eq(rt_app_rounded(&m, 1.23456789), 1.235);
    cr_expect(!signbit(rt_app_rounded(&m, -0.0001)));
    m.error_bound = 1.1e-3;
    cr_expect_eq(rt_app_decimals(&m), 2);
    m.error_bound = 40;
    cr_expect_eq(rt_app_decimals(&m), 0);
    m.error_bound = 1e-12;
    cr_expect_eq(rt_app_decimals(&m), 6);
    m.error_bound = 0;
    cr_expect_eq(rt_app_decimals(&m), 3);
    cr_expect(isfinite(rt_app_rounded(&m, 1e300)));
}

Test(app_answer, labels)
{
    const char *const names[] = {"cat", "dog"};
    struct rt_interface m = {.labels = names};
    char buffer[16];
    cr_expect_str_eq(rt_app_label(&m, 1, buffer), "dog");
    m.labels = NULL;
    cr_expect_str_eq(rt_app_label(&m, 4294967295U, buffer), "4294967295");
}

Test(app_answer, byte_counts)
{
    char text[RT_APP_BYTES_TEXT];
    cr_expect_str_eq(rt_app_bytes(text, 0), "0 bytes");
    cr_expect_str_eq(rt_app_bytes(text, 1023), "1023 bytes");
    cr_expect_str_eq(rt_app_bytes(text, 1024), "1.00 KiB");
    cr_expect_str_eq(rt_app_bytes(text, 36910899), "35.2 MiB");
    cr_expect_str_eq(rt_app_bytes(text, (uint64_t)1010 << 30), "0.99 TiB");
    cr_expect_str_eq(rt_app_bytes(text, UINT64_MAX), "16777216.0 TiB");
}

Test(app_answer, progress_line)
{
    char text[96];
    rt_app_progress_text(text, sizeof text, "conv1", 0, 0, 12.2);
    cr_expect_str_eq(text, "  0%  conv1                     13 s left");
    rt_app_progress_text(text, sizeof text, "conv1", 0.25, 50, 12.2);
    cr_expect_str_eq(text, " 25%  conv1                     2 min 30 s left");
    rt_app_progress_text(text, sizeof text, "a\033]0;very.long.name.of.a.layer", 1, 50, 12.2);
    cr_expect_str_eq(text, "100%  a?]0;very.long.name.of.a  0 s left");
    rt_app_progress_text(text, sizeof text, "x", (double)NAN, 1, 0);
    cr_expect_not_null(strstr(text, "  0%"));
}

/* Nothing on a stderr that is no terminal. */
Test(app_answer, progress_is_for_terminals)
{
    struct rt_app app = {.name = "p"};
    struct rt_layer layer = {.name = "conv1"};
    struct rt_app_progress p;
    cr_redirect_stderr();
    rt_app_progress_open(&p, &app);
    rt_app_progress_step(&p, "making keys");
    rt_app_progress_layer(&p, &layer, 0.5);
    rt_app_progress_clear(&p);
    fflush(stderr);
    cr_expect_stderr_eq_str("");
}

/* By hand: N = 16, 8 N = 128 bytes a limb. Key of level 3 with 1 special prime and digits of 2
 * primes: 2 digits x 5 limbs; level 2: 2 digits x 4 limbs. Keys of the sparse secret have one digit:
 * of q_0 and p_0, and of 5 limbs. */
Test(app_answer, sizes_from_the_specification)
{
    const struct rt_key_spec keys[] = {{0, 3, RT_KEY_RELINEARISE},
                                       {1, 2, RT_KEY_ROTATE},
                                       {0, 0, RT_KEY_ENCAPSULATE},
                                       {1, 3, RT_KEY_RAISED}};
    const struct rt_interface m = {.params = {.log_n = 4, .num_q = 4, .num_p = 1, .alpha = 2},
                                   .keys = keys,
                                   .num_keys = 4,
                                   .input = {.num_ct = 3},
                                   .output = {.num_ct = 1},
                                   .input_level = 3,
                                   .output_level = 0};
    struct rt_app_sizes s = rt_app_sizes(&m);
    cr_expect_eq(s.key_file, 64 + 64 + 4 * 64 + (10 + 8 + 2 + 5) * 128);
    cr_expect_eq(s.ciphertext_in, 64 + 64 + 3 * (64 + 4 * 128));
    cr_expect_eq(s.ciphertext_out, 64 + 64 + 2 * 128);
}

/* What `info` says of the secrets: the second only where there is one. */
static char *info_text(uint32_t sparse_weight, uint32_t insecure, unsigned given)
{
    static const uint64_t q[] = {UINT64_C(1) << 42, UINT64_C(1) << 45};
    static const uint64_t p[] = {UINT64_C(1) << 50};
    static const double one[] = {1};
    const struct rt_interface m = {.name = "m",
                                   .version = "v",
                                   .lambda = insecure ? 0 : 128,
                                   .params = {15, 2, 1, q, p, 1, insecure, sparse_weight},
                                   .input = {.c = 1, .h = 1, .w = 1, .num_ct = 1},
                                   .mean = one,
                                   .std = one};
    struct rt_app app = {.name = "p", .model = &m, .given = given};
    static char text[4096];
    char *at = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&at, &size), *was = stdout;
    stdout = memory;
    cr_assert_eq(rt_app_info.run(&app), 0);
    stdout = was;
    (void)fclose(memory);
    (void)snprintf(text, sizeof text, "%s", at);
    free(at);
    return text;
}

Test(app_answer, both_secrets_and_where_their_bounds_are_from)
{
    const char *text = info_text(32, 0, 0);
    cr_expect_not_null(strstr(text, "lambda = 128 bits (eprint 2024/463, classical)"), "%s", text);
    cr_expect_not_null(strstr(text, "32 coefficients are not zero; encrypts modulo q_0 p_0 only, "
                                    "log2 = 92.0"),
                       "%s", text);
    cr_expect_not_null(strstr(text, "lambda >= 128 bits (own estimate: primal hybrid attack"), "%s",
                       text);
    text = info_text(32, 1, 0);
    cr_expect_not_null(strstr(text, "its security   NONE"), "%s", text);
    cr_expect_null(strstr(text, "128 bits"), "%s", text);
    cr_expect_null(strstr(info_text(0, 0, 0), "sparse"));
    text = info_text(32, 0, RT_APP_JSON);
    cr_expect_not_null(strstr(text, "\"sparse_secret\""), "%s", text);
    cr_expect_not_null(strstr(text, "\"log2_modulus\": 92.0"), "%s", text);
    cr_expect_null(strstr(info_text(0, 0, RT_APP_JSON), "sparse"));
}

Test(app_answer, data_file_stands_beside_the_program)
{
    struct rt_app app = {.name = "p", .data = "elsewhere.dat"};
    char path[RT_APP_PATH];
    cr_assert(rt_app_data_path(&app, path));
    cr_expect_str_eq(path, "elsewhere.dat");
    app.data = NULL;
    cr_assert(rt_app_data_path(&app, path));
    cr_expect_eq(path[0], '/');
    cr_expect_str_eq(path + strlen(path) - 4, ".dat");
}
