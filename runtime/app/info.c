/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <math.h>

/*
 * A key for level l has d = ceil((l+1) / alpha) digits of two polynomials over the l+1 primes of Q
 * and all of P; on disk a seed replaces one of the two. Keys of the sparse secret have one digit,
 * and the one that encapsulates is over q_0 and p_0 only. A fresh ciphertext is one polynomial and
 * a seed, a result is two polynomials. Every file has 64 bytes of header and 64 that say what
 * follows; a key's record and a ciphertext's seed have 64. The end-to-end test compares with the
 * files.
 */
struct rt_app_sizes rt_app_sizes(const struct rt_interface *model)
{
    const struct rt_params *params = &model->params;
    const uint64_t limb = (uint64_t)8 << params->log_n, block = 64;
    const uint64_t limbs_in = (uint64_t)model->input_level + 1;
    const uint64_t limbs_out = (uint64_t)model->output_level + 1;
    uint64_t halves = 0;
    for (uint32_t i = 0; i < model->num_keys; i++) {
        uint32_t kind = model->keys[i].kind;
        uint64_t limbs = (uint64_t)model->keys[i].level + 1;
        uint64_t digits = (limbs + params->alpha - 1) / params->alpha;
        if (kind == RT_KEY_ENCAPSULATE || kind == RT_KEY_RAISED)
            digits = 1;
        halves += digits * (limbs + (kind == RT_KEY_ENCAPSULATE ? 1 : params->num_p)) * limb;
    }
    return (struct rt_app_sizes){
        .key_file = 2 * block + model->num_keys * block + halves,
        .ciphertext_in = 2 * block + model->input.num_ct * (block + limbs_in * limb),
        .ciphertext_out = 2 * block + model->output.num_ct * 2 * limbs_out * limb,
    };
}

static json_t *reals(const double *values, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < count; i++)
        json_array_append_new(array, json_real(values[i]));
    return array;
}

static const char secret_text[] = "uniform ternary, sigma 3.2";
static const char source_text[] = "eprint 2024/463, classical";

/* The sparse secret encrypts modulo q_0 p_0 only; core/ctx.c has the bounds. */
static const char sparse_source_text[] =
    "own estimate: primal hybrid attack, MATZOV costs, classical";

static double sparse_log2_modulus(const struct rt_params *p)
{
    return log2((double)p->q[0]) + (p->num_p != 0 ? log2((double)p->p[0]) : 0);
}

/* An object that becomes part of the whole, or NULL where memory is short. */
static json_t *sparse_json(const struct rt_interface *m)
{
    if (m->params.sparse_weight == 0)
        return json_object();
    return json_pack("{s:{s:i, s:f, s:f, s:s}}", "sparse_secret", "weight",
                     (int)m->params.sparse_weight, "log2_modulus", sparse_log2_modulus(&m->params),
                     "lambda", m->params.insecure ? 0.0 : 128.0, "lambda_source",
                     sparse_source_text);
}

static uint64_t budget(const struct rt_interface *m)
{
    return m->max_memory != 0 ? m->max_memory : RT_DEFAULT_MEMORY;
}

static json_t *memory_json(const struct rt_interface *m)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "max_memory_bytes", (json_int_t)budget(m),
                     "memory_one_image_bytes", (json_int_t)m->memory_once, "memory_server_bytes",
                     (json_int_t)m->memory_server, "memory_all_kept_bytes",
                     (json_int_t)m->memory_all);
}

static int info_json(const struct rt_app *app)
{
    const struct rt_interface *m = app->model;
    const struct rt_app_sizes s = rt_app_sizes(m);
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)m->model_hash);
    json_t *input = json_pack("{s:[i,i,i], s:o, s:o, s:o}", "shape", (int)m->input.c,
                              (int)m->input.h, (int)m->input.w, "range", reals(m->range, 2), "mean",
                              reals(m->mean, m->input.c), "std", reals(m->std, m->input.c));
    json_t *root = json_pack("{s:s, s:s, s:s, s:o}", "name", m->name, "compiler", m->version,
                             "model_hash", hash, "input", input);
    json_t *rest =
        json_pack("{s:i, s:i, s:f, s:s, s:f, s:s, s:b, s:i, s:f, s:i, s:I, s:I, s:I, s:f}",
                  "outputs", (int)m->num_outputs, "n", 1 << m->params.log_n, "log2_qp", m->log2_qp,
                  "secret", secret_text, "lambda", m->lambda, "lambda_source", source_text,
                  "insecure", (int)m->params.insecure, "levels", (int)m->params.num_q, "depth",
                  m->depth, "num_keys", (int)m->num_keys, "key_bytes", (json_int_t)s.key_file,
                  "ciphertext_bytes_in", (json_int_t)s.ciphertext_in, "ciphertext_bytes_out",
                  (json_int_t)s.ciphertext_out, "error_bound", m->error_bound);
    json_t *sparse = sparse_json(m), *memory = memory_json(m);
    if (!root || !rest || !sparse || !memory || json_object_update(root, rest) != 0 ||
        json_object_update(root, memory) != 0 || json_object_update(root, sparse) != 0) {
        json_decref(root);
        root = NULL;
    }
    json_decref(rest);
    json_decref(sparse);
    json_decref(memory);
    return rt_app_print_json(root) ? 0 : rt_app_error(app, "out of memory");
}

static void print_memory(const struct rt_interface *m)
{
    char once[RT_APP_BYTES_TEXT], usual[RT_APP_BYTES_TEXT], most[RT_APP_BYTES_TEXT],
        all[RT_APP_BYTES_TEXT];
    printf("--max-memory     %s unless given\n", rt_app_bytes(most, budget(m)));
    if (m->memory_once == 0)
        return;
    printf("memory           of the server, predicted: %s for one image, %s for several,\n"
           "                 %s if all that is computed is kept\n",
           rt_app_bytes(once, m->memory_once), rt_app_bytes(usual, m->memory_server),
           rt_app_bytes(all, m->memory_all));
}

static int info(struct rt_app *app)
{
    const struct rt_interface *m = app->model;
    const struct rt_app_sizes s = rt_app_sizes(m);
    char a[RT_APP_BYTES_TEXT], b[RT_APP_BYTES_TEXT];
    if (app->given & RT_APP_JSON)
        return info_json(app);
    printf("model            %s, hash %016llx, made by weft %s\n", m->name,
           (unsigned long long)m->model_hash, m->version);
    printf("input            %u x %u x %u, raw values %g to %g\n", m->input.c, m->input.h,
           m->input.w, m->range[0], m->range[1]);
    printf("outputs          %u%s\n", m->num_outputs, m->labels ? ", with labels" : "");
    printf("ring             N = %u, log2 QP = %.1f (%u + %u primes)\n", 1U << m->params.log_n,
           m->log2_qp, m->params.num_q, m->params.num_p);
    printf("secret           %s\n", secret_text);
    if (m->params.insecure)
        printf("security         NONE: toy parameters\n");
    else
        printf("security         lambda = %.0f bits (%s)\n", m->lambda, source_text);
    if (m->params.sparse_weight != 0) {
        printf("sparse secret    %u coefficients are not zero; encrypts modulo q_0 p_0 only, "
               "log2 = %.1f\n",
               m->params.sparse_weight, sparse_log2_modulus(&m->params));
        if (m->params.insecure)
            printf("  its security   NONE: toy parameters\n");
        else
            printf("  its security   lambda >= 128 bits (%s)\n", sparse_source_text);
    }
    printf("levels           %u, of which the network uses %g\n", m->params.num_q, m->depth);
    printf("evaluation keys  %u: %s\n", m->num_keys, rt_app_bytes(a, s.key_file));
    printf("ciphertext       %s in, %s out\n", rt_app_bytes(a, s.ciphertext_in),
           rt_app_bytes(b, s.ciphertext_out));
    print_memory(m);
    if (m->error_bound > 0)
        printf("error            at most %.2g per output, as predicted\n", m->error_bound);
    else
        printf("error            not predicted\n");
    printf("\nThe server sees ciphertexts and evaluation keys, never the image or the answer.\n"
           "Do not give it decrypted values either: their noise depends on the secret key "
           "(IND-CPA-D).\n");
    return 0;
}

const struct rt_app_command rt_app_info = {"info",      NULL, "parameters, sizes, security",
                                           RT_APP_JSON, 0,    info};
