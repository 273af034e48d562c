/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_app.h"

#include "app.h"

#include <stdlib.h>

#include "rt_client.h"
#include "sys/sys.h"

static bool quiet(const struct rt_app *app)
{
    return app->given & RT_APP_QUIET;
}

static int keygen(struct rt_app *app)
{
    struct rt_app_progress progress;
    struct rt_error err = {0};
    char path[RT_APP_PATH], text[RT_APP_BYTES_TEXT];
    rt_app_progress_open(&progress, app);
    rt_app_progress_step(&progress, "making keys");
    double start = rt_app_seconds();
    enum rt_status status =
        rt_keygen(app->model, app->argument, app->given & RT_APP_FORCE, rt_app_threads(app), &err);
    double end = rt_app_seconds();
    rt_app_progress_clear(&progress);
    if (status != RT_OK)
        return rt_app_fail(app, &err);
    if (!quiet(app) && rt_app_join(path, app->argument, "eval.weft"))
        printf("%s: secret.weft (keep it) and eval.weft (%s, for the server), %.2f s\n",
               app->argument, rt_app_bytes(text, rt_app_file_bytes(path)), end - start);
    return 0;
}

/* Reads the image before the key: mistakes with images are the frequent ones. */
static enum rt_status load_and_encrypt(struct rt_app *app, const char *key, double *image,
                                       struct rt_error *err)
{
    const struct rt_interface *m = app->model;
    rt_secret *secret = NULL;
    int label;
    enum rt_status status = rt_app_image_load(m, app->argument, app->given & RT_APP_INDEX,
                                              app->index, image, &label, err);
    if (status != RT_OK)
        return status;
    uint64_t outside = rt_app_image_outside(m, image);
    if (outside)
        rt_app_warn(app, "%s: %llu values outside the range %g to %g that the model was made for",
                    app->argument, (unsigned long long)outside, m->range[0], m->range[1]);
    status = rt_secret_load(&secret, m, key, err);
    if (status == RT_OK)
        status = rt_encrypt(secret, m, image, app->out, err);
    rt_secret_free(secret);
    return status;
}

static int encrypt_image(struct rt_app *app)
{
    size_t bytes = (size_t)rt_app_pixel_count(app->model) * sizeof(double);
    char key[RT_APP_PATH], text[RT_APP_BYTES_TEXT];
    struct rt_error err = {0};
    if (!rt_app_key_path(app, "secret.weft", key))
        return 1;
    double *image = malloc(bytes);
    if (!image)
        return rt_app_error(app, "out of memory");
    enum rt_status status = load_and_encrypt(app, key, image, &err);
    sys_wipe(image, bytes);
    free(image);
    if (status != RT_OK)
        return rt_app_fail(app, &err);
    if (!quiet(app))
        printf("%s: encrypted, %s\n", app->out, rt_app_bytes(text, rt_app_file_bytes(app->out)));
    return 0;
}

static int print_answer(const struct rt_app *app, const double *values, uint32_t *indices)
{
    const struct rt_interface *m = app->model;
    uint32_t top = app->given & RT_APP_TOP ? app->top : 5;
    char buffer[16];
    if (top > m->num_outputs)
        top = m->num_outputs;
    rt_app_top(values, m->num_outputs, top, indices);
    if (app->given & RT_APP_JSON) {
        json_t *root =
            json_pack("{s:s, s:i, s:o, s:o}", "label", rt_app_label(m, indices[0], buffer), "class",
                      (int)indices[0], "top", rt_app_scores_json(m, values, indices, top), "values",
                      rt_app_values_json(m, values));
        return rt_app_print_json(root) ? 0 : rt_app_error(app, "out of memory");
    }
    for (uint32_t i = 0; i < top; i++)
        printf("%-24s %.*f\n", rt_app_label(m, indices[i], buffer), rt_app_decimals(m),
               rt_app_rounded(m, values[indices[i]]));
    return 0;
}

static int decrypt_answer(struct rt_app *app)
{
    const struct rt_interface *m = app->model;
    char key[RT_APP_PATH];
    struct rt_error err = {0};
    rt_secret *secret = NULL;
    if (!rt_app_key_path(app, "secret.weft", key))
        return 1;
    double *values = calloc(m->num_outputs, sizeof *values);
    uint32_t *indices = calloc(m->num_outputs, sizeof *indices);
    int result;
    if (!values || !indices) {
        result = rt_app_error(app, "out of memory");
    } else {
        enum rt_status status = rt_secret_load(&secret, m, key, &err);
        if (status == RT_OK)
            status = rt_decrypt(secret, m, app->argument, values, &err);
        rt_secret_free(secret);
        result = status == RT_OK ? print_answer(app, values, indices) : rt_app_fail(app, &err);
        sys_wipe(values, m->num_outputs * sizeof *values);
    }
    free(values);
    free(indices);
    return result;
}

const struct rt_app_command rt_app_keygen = {"keygen",
                                             "DIR",
                                             "make the secret key and the evaluation keys",
                                             RT_APP_FORCE | RT_APP_THREADS | RT_APP_QUIET,
                                             0,
                                             keygen};

const struct rt_app_command rt_app_encrypt = {
    "encrypt",
    "IMAGE",
    "encrypt a PNG, JPEG, .npy, .bin (label and bytes) or .f32 file",
    RT_APP_OUT | RT_APP_SECRET | RT_APP_INDEX | RT_APP_QUIET,
    RT_APP_OUT,
    encrypt_image};

const struct rt_app_command rt_app_decrypt = {"decrypt",
                                              "CIPHERTEXT",
                                              "decrypt an answer and show its largest classes",
                                              RT_APP_SECRET | RT_APP_JSON | RT_APP_TOP,
                                              0,
                                              decrypt_answer};

int rt_app_client(const struct rt_interface *model, int argc, char **argv)
{
    static const struct rt_app_command *const commands[] = {&rt_app_keygen, &rt_app_encrypt,
                                                            &rt_app_decrypt, &rt_app_info, NULL};
    struct rt_app app = {.model = model};
    rt_app_let_threads_sleep(argv);
    return rt_app_main(&app, commands, argc, argv);
}
