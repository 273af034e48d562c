/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_app.h"

#include "app.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What would otherwise come to light only after the keys were loaded and the inference was done. */
static bool paths_usable(const struct rt_app *app)
{
    char directory[RT_APP_PATH];
    const char *slash = strrchr(app->out, '/');
    size_t length = slash ? (size_t)(slash - app->out) + 1 : 0;
    struct stat st;
    if (access(app->argument, R_OK) != 0)
        return !rt_app_error(app, "%s: %s", app->argument, strerror(errno));
    if (length >= sizeof directory)
        return !rt_app_error(app, "%s: %s", app->out, strerror(ENAMETOOLONG));
    memcpy(directory, length ? app->out : ".", length ? length : 1);
    directory[length ? length : 1] = '\0';
    if (access(directory, W_OK) != 0)
        return !rt_app_error(app, "%s: cannot write there: %s", app->out, strerror(errno));
    if (stat(app->out, &st) == 0 && S_ISDIR(st.st_mode))
        return !rt_app_error(app, "%s: %s", app->out, strerror(EISDIR));
    return true;
}

static int report(const struct rt_app *app, const rt_eval *eval, const struct rt_app_layers *layers,
                  double load, double inference)
{
    const struct rt_memory memory = rt_eval_memory(eval);
    char keys[RT_APP_BYTES_TEXT], peak[RT_APP_BYTES_TEXT];
    if (app->given & RT_APP_JSON) {
        json_t *root =
            json_pack("{s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:i}", "output", app->out,
                      "load_seconds", load, "infer_seconds", inference, "peak_rss_bytes",
                      (json_int_t)rt_app_peak_rss(), "key_bytes", (json_int_t)memory.key_bytes,
                      "plaintext_bytes", (json_int_t)memory.plaintext_bytes, "register_bytes",
                      (json_int_t)memory.register_bytes, "threads", rt_app_threads(app));
        if (root && layers->seconds)
            json_object_set_new(root, "layers", rt_app_layers_json(layers));
        return rt_app_print_json(root) ? 0 : rt_app_error(app, "out of memory");
    }
    if (layers->seconds)
        rt_app_layers_print(layers, rt_app_threads(app));
    if (!(app->given & RT_APP_QUIET))
        printf("%s: inference %.3f s, loading %.3f s, keys %s, peak memory %s, %d thread%s\n",
               app->out, inference, load, rt_app_bytes(keys, memory.key_bytes),
               rt_app_bytes(peak, rt_app_peak_rss()), rt_app_threads(app),
               rt_app_threads(app) == 1 ? "" : "s");
    return 0;
}

static int infer(struct rt_app *app)
{
    char data[RT_APP_PATH], keys[RT_APP_PATH];
    struct rt_app_progress progress;
    struct rt_error err = {0};
    rt_eval *eval = NULL;
    if (!paths_usable(app) || !rt_app_data_path(app, data) ||
        !rt_app_key_path(app, "eval.weft", keys))
        return 1;
    rt_app_progress_open(&progress, app);
    if (!rt_app_layers_open(&progress.layers, app))
        return rt_app_error(app, "out of memory");
    rt_app_progress_step(&progress, "loading keys and model");
    double start = rt_app_seconds();
    const struct rt_options options = {
        .threads = rt_app_threads(app), .max_memory = app->max_memory, .once = true};
    enum rt_status status = rt_eval_open_with(&eval, app->program, data, keys, &options, &err);
    double loaded = rt_app_seconds();
    if (status == RT_OK)
        progress.layers.kept = rt_eval_memory(eval);
    if (status == RT_OK)
        status = rt_infer(eval, app->argument, app->out, rt_app_progress_layer, &progress, &err);
    rt_app_layers_end(&progress.layers);
    double end = rt_app_seconds();
    rt_app_progress_clear(&progress);
    int result = status == RT_OK ? report(app, eval, &progress.layers, loaded - start, end - loaded)
                                 : rt_app_fail(app, &err);
    rt_app_layers_close(&progress.layers);
    rt_eval_close(eval);
    return result;
}

const struct rt_app_command rt_app_infer = {"infer",
                                            "CIPHERTEXT",
                                            "classify an encrypted image",
                                            RT_APP_OUT | RT_APP_KEYS | RT_APP_DATA |
                                                RT_APP_THREADS | RT_APP_MEMORY | RT_APP_QUIET |
                                                RT_APP_JSON | RT_APP_LAYERS,
                                            RT_APP_OUT,
                                            infer};

int rt_app_server(const struct rt_program *program, int argc, char **argv)
{
    static const struct rt_app_command *const commands[] = {&rt_app_infer, &rt_app_info, NULL};
    struct rt_app app = {.model = program->interface, .program = program};
    rt_app_let_threads_sleep(argv);
    return rt_app_main(&app, commands, argc, argv);
}
