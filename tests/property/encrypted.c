/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "passes.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Random small networks, compiled to binaries and run encrypted at 128 bits: the decrypted result is the
 * naive reference's within the error bound that the compiler predicted.
 */

static const struct random_net LIMITS = {.max_layers = 5,
                                         .max_elements = 300,
                                         .max_depth = 4,
                                         .max_degree = 4,
                                         .plain = true}; /* what YAML can say: no x - x */

/* build/weft of the build/tests/property/encrypted that runs now */
static const char *weft(struct arena *a)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    cr_assert(n > 0);
    self[n] = 0;
    for (int up = 0; up < 3; up++) {
        *strrchr(self, '/') = 0;
    }
    return arena_printf(a, "%s/weft", self);
}

static void run(struct arena *a, const char *folder, const char *command)
{
    int rc = system(
        arena_printf(a, "cd %s && %s >log 2>&1 || { cat log >&2; exit 1; }", folder, command));
    cr_assert(rc == 0, "%s", command);
}

/* False where there is nothing to encrypt. */
static bool check_net(uint64_t seed)
{
    struct arena *a = arena_new();
    struct opts o = {0};
    struct prog *p = random_net(a, seed, &LIMITS);
    uint32_t len = p->model.num_outputs;
    if (random_constant(a, p, seed)) {
        arena_free(a);
        return false;
    }
    size_t pixels = (size_t)p->model.input[0] * p->model.input[1] * p->model.input[2];
    char *folder = arena_strdup(a, "/tmp/weft-encrypted-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);

    double *image = random_image(a, p, seed), *want = arena_array(a, len, sizeof *want);
    float *raw = arena_array(a, pixels, sizeof *raw);
    for (size_t i = 0; i < pixels; i++) {
        size_t c = i / ((size_t)p->model.input[1] * p->model.input[2]);
        raw[i] = (float)(image[i] * p->model.std[c] + p->model.mean[c]);
        image[i] = ((double)raw[i] - p->model.mean[c]) / p->model.std[c];
    }
    sim_run(p, NULL, image, want);
    struct str text;
    str_init(&text, a);
    prog_print(p, &text);
    p = pipeline_run(p, 0, num_passes - 1, &o, NULL, NULL);
    p->error_bound = sim_error_bound(p, NULL, 4);
    file_write(arena_printf(a, "%s/net.ir", folder), text.s, text.len);
    file_write(arena_printf(a, "%s/image.f32", folder), raw, pixels * sizeof *raw);

    run(a, folder, arena_printf(a, "%s build net.ir -o net", weft(a)));
    run(a, folder, "{ ./net run image.f32 --keep kept --json 2>err; }");
    json_error_t why;
    json_t *root = json_load_file(arena_printf(a, "%s/log", folder), 0, &why);
    cr_assert(root != NULL, "run --json: %s", why.text);
    double error = json_number_value(json_object_get(root, "max_logit_error"));
    cr_assert(error > 0 && error <= p->error_bound, "SEED=%llu: the error is %g, predicted %g",
              (unsigned long long)seed, error, p->error_bound);
    json_decref(root);
    run(a, folder, "./net-client decrypt kept/output.ct --key kept --json");
    root = json_load_file(arena_printf(a, "%s/log", folder), 0, &why);
    cr_assert(root != NULL, "decrypt --json: %s", why.text);
    json_t *values = json_object_get(root, "values");
    cr_assert(json_array_size(values) == len, "SEED=%llu: %zu values, not %u",
              (unsigned long long)seed, json_array_size(values), len);
    /* the decrypted values are shown rounded to the decimals that the predicted error leaves */
    double half_unit = 0.5 * pow(10, ceil(log10(2 * p->error_bound)));
    double bound = 2 * p->error_bound + half_unit;
    for (uint32_t i = 0; i < len; i++) {
        double got = json_number_value(json_array_get(values, i));
        cr_assert(fabs(got - want[i]) <= bound, "SEED=%llu: value %u is %g, not %g (bound %g)",
                  (unsigned long long)seed, i, got, want[i], bound);
    }
    fprintf(stderr, "SEED=%llu: %u nodes, N = 2^%u, largest error %.2g, predicted %.2g\n",
            (unsigned long long)seed, p->nodes.len, p->params.log_n, error, p->error_bound);
    json_decref(root);
    run(a, folder, "rm -rf *");
    rmdir(folder);
    arena_free(a);
    return true;
}

Test(encrypted, random_networks_agree_with_the_reference, .timeout = 900)
{
    uint64_t seed = random_seed(20261121);
    uint32_t trials = random_trials(10);
    for (uint32_t done = 0; done < trials; seed++) {
        done += check_net(seed);
    }
}
