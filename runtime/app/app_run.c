/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/app_check.h"
#include "rt_client.h"
#include "sys/sys.h"

/*
 * Every step of both sides in one process, through the same functions and files as the separate
 * binaries, beside the cleartext network.
 */

struct result { /* of one image */
    int label;  /* the record's own, -1 if it has none */
    uint32_t class, clear_class;
    double max_error;
    double margin; /* between the two largest clear outputs; infinite with one output */
    double encrypt, infer, decrypt, clear;
};

struct run {
    struct rt_app *app;
    const struct rt_interface *model;
    struct rt_app_progress progress;
    struct rt_app_workdir dir;
    struct rt_error err;
    char eval_path[RT_APP_PATH], secret_path[RT_APP_PATH], in_path[RT_APP_PATH],
        out_path[RT_APP_PATH];
    rt_eval *eval;
    rt_secret *secret;
    rt_data *data;
    double *image, *normalised; /* [c][h][w] */
    double *values, *expected;  /* [num_outputs] */
    uint32_t *indices;          /* [num_outputs] */
    struct result *results;
    uint64_t num_results;
    double keygen, load;
    struct rt_app_check check; /* --check */
};

static bool allocate(struct run *r)
{
    size_t pixels = (size_t)rt_app_pixel_count(r->model), outputs = r->model->num_outputs;
    r->image = calloc(pixels, sizeof *r->image);
    r->normalised = calloc(pixels, sizeof *r->normalised);
    r->values = calloc(outputs, sizeof *r->values);
    r->expected = calloc(outputs, sizeof *r->expected);
    r->indices = calloc(outputs, sizeof *r->indices);
    r->results = calloc((size_t)r->num_results, sizeof *r->results);
    if (r->image && r->normalised && r->values && r->expected && r->indices && r->results)
        return true;
    rt_app_status(&r->err, RT_ERR_MEMORY, "out of memory");
    return false;
}

static void wipe_free(double *values, size_t count)
{
    if (values)
        sys_wipe(values, count * sizeof *values);
    free(values);
}

static void release(struct run *r)
{
    size_t pixels = (size_t)rt_app_pixel_count(r->model), outputs = r->model->num_outputs;
    wipe_free(r->image, pixels);
    wipe_free(r->normalised, pixels);
    wipe_free(r->values, outputs);
    wipe_free(r->expected, outputs);
    rt_app_check_close(&r->check);
    free(r->indices);
    free(r->results);
    if (r->eval)
        rt_eval_close(r->eval);
    if (r->secret)
        rt_secret_free(r->secret);
    if (r->data)
        rt_data_close(r->data);
}

static bool load_image(struct run *r, uint64_t offset, struct result *result)
{
    struct rt_app *app = r->app;
    bool has_index = (app->given & (RT_APP_INDEX | RT_APP_COUNT)) != 0;
    return rt_app_image_load(r->model, app->argument, has_index, app->index + offset, r->image,
                             &result->label, &r->err) == RT_OK;
}

static bool check_count(struct run *r)
{
    struct rt_app *app = r->app;
    uint64_t count = 0;
    if (!(app->given & RT_APP_COUNT))
        return true;
    if (rt_app_image_records(r->model, app->argument, &count, &r->err) != RT_OK)
        return false;
    if (app->index <= count && app->count <= count - app->index && count > 0)
        return true;
    if (count == 0)
        rt_app_status(&r->err, RT_ERR_ARGUMENT, "%s: --count is for .bin files of several records",
                      app->argument);
    else
        rt_app_status(&r->err, RT_ERR_ARGUMENT,
                      "%s: %llu records from %llu on wanted, the file has %llu", app->argument,
                      (unsigned long long)app->count, (unsigned long long)app->index,
                      (unsigned long long)count);
    return false;
}

static bool name_files(struct run *r)
{
    if (rt_app_join(r->eval_path, r->dir.path, "eval.weft") &&
        rt_app_join(r->secret_path, r->dir.path, "secret.weft") &&
        rt_app_join(r->in_path, r->dir.path, "input.ct") &&
        rt_app_join(r->out_path, r->dir.path, "output.ct"))
        return true;
    rt_app_status(&r->err, RT_ERR_IO, "%s: the path is too long", r->dir.path);
    return false;
}

static bool make_keys(struct run *r, const char *data_path)
{
    int threads = rt_app_threads(r->app);
    bool force = (r->app->given & RT_APP_FORCE) != 0;
    rt_app_progress_step(&r->progress, "making keys");
    double start = rt_app_seconds();
    if (rt_keygen(r->model, r->dir.path, force, threads, &r->err) != RT_OK)
        return false;
    r->keygen = rt_app_seconds() - start;
    if (rt_secret_load(&r->secret, r->model, r->secret_path, &r->err) != RT_OK)
        return false;
    rt_app_progress_step(&r->progress, "loading keys and model");
    start = rt_app_seconds();
    const struct rt_options options = {
        .threads = threads, .max_memory = r->app->max_memory, .once = r->app->count <= 1};
    if (rt_eval_open_with(&r->eval, r->app->program, data_path, r->eval_path, &options, &r->err) !=
        RT_OK)
        return false;
    r->progress.layers.kept = rt_eval_memory(r->eval);
    r->load = rt_app_seconds() - start;
    return true;
}

static void normalise(struct run *r)
{
    size_t plane = (size_t)r->model->input.h * r->model->input.w;
    for (size_t i = 0; i < rt_app_pixel_count(r->model); i++)
        r->normalised[i] = (r->image[i] - r->model->mean[i / plane]) / r->model->std[i / plane];
}

static bool run_clear(struct run *r, struct result *result)
{
    uint64_t count;
    double start = rt_app_seconds();
    normalise(r);
    memset(r->expected, 0, r->model->num_outputs * sizeof *r->expected);
    if (!r->app->clear->run(rt_data_values(r->data, &count), r->normalised, r->expected)) {
        rt_app_status(&r->err, RT_ERR_MEMORY, "out of memory");
        return false;
    }
    result->clear = rt_app_seconds() - start;
    return true;
}

/* --check: what every layer should give, and who looks */
static bool prepare_check(struct run *r)
{
    uint64_t count;
    if (!(r->app->given & RT_APP_CHECK))
        return true;
    normalise(r);
    if (!rt_app_check_image(&r->check, rt_data_values(r->data, &count), r->normalised, r->expected,
                            &r->err))
        return false;
    r->check.model = r->model;
    r->check.secret = r->secret;
    r->check.print = !(r->app->given & (RT_APP_JSON | RT_APP_LINES | RT_APP_QUIET));
    if (r->check.print)
        rt_app_check_head();
    rt_eval_watch(r->eval, rt_app_check_hook, &r->check);
    return true;
}

static bool infer(struct run *r)
{
    if (rt_infer(r->eval, r->in_path, r->out_path, rt_app_progress_layer, &r->progress, &r->err) ==
        RT_OK)
        return true;
    if (r->check.failed)
        r->err = r->check.why;
    return false;
}

static void compare(struct run *r, struct result *result)
{
    uint32_t top[2] = {0, 0};
    uint32_t outputs = r->model->num_outputs;
    rt_app_top(r->values, outputs, 1, top);
    result->class = top[0];
    rt_app_top(r->expected, outputs, outputs < 2 ? outputs : 2, top);
    result->clear_class = top[0];
    result->margin = outputs < 2 ? INFINITY : r->expected[top[0]] - r->expected[top[1]];
    result->max_error = 0;
    for (uint32_t i = 0; i < outputs; i++)
        result->max_error = fmax(result->max_error, fabs(r->values[i] - r->expected[i]));
}

static bool run_image(struct run *r, uint64_t offset)
{
    struct result *result = &r->results[offset];
    if (!load_image(r, offset, result) || !prepare_check(r))
        return false;
    double start = rt_app_seconds();
    if (rt_encrypt(r->secret, r->model, r->image, r->in_path, &r->err) != RT_OK)
        return false;
    double encrypted = rt_app_seconds();
    if (!infer(r))
        return false;
    rt_app_layers_end(&r->progress.layers);
    double inferred = rt_app_seconds();
    if (rt_decrypt(r->secret, r->model, r->out_path, r->values, &r->err) != RT_OK)
        return false;
    double decrypted = rt_app_seconds();
    rt_app_progress_clear(&r->progress);
    result->encrypt = encrypted - start;
    result->infer = inferred - encrypted;
    result->decrypt = decrypted - inferred;
    if (!run_clear(r, result))
        return false;
    compare(r, result);
    return true;
}

/* ---- what is printed ------------------------------------------------------------------------- */

static json_t *seconds_json(const struct run *r, const struct result *result)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "keygen", r->keygen, "load", r->load,
                     "encrypt", result->encrypt, "infer", result->infer, "decrypt", result->decrypt,
                     "clear", result->clear);
}

static json_t *result_json(const struct run *r, const struct result *result)
{
    const struct rt_interface *m = r->model;
    char a[16], b[16];
    json_t *object =
        json_pack("{s:s, s:s, s:i, s:i, s:f, s:f}", "label", rt_app_label(m, result->class, a),
                  "clear_label", rt_app_label(m, result->clear_class, b), "class",
                  (int)result->class, "clear_class", (int)result->clear_class, "max_logit_error",
                  result->max_error, "margin", isfinite(result->margin) ? result->margin : 0.0);
    if (object && result->label >= 0)
        json_object_set_new(object, "true_class", json_integer(result->label));
    return object;
}

/* What does not depend on the image. */
static bool add_common_json(const struct run *r, json_t *object)
{
    json_t *common = json_pack(
        "{s:f, s:I, s:I, s:I, s:I, s:i, s:f, s:f, s:f}", "load_seconds", r->load, "peak_rss_bytes",
        (json_int_t)rt_app_peak_rss(), "key_bytes", (json_int_t)rt_app_file_bytes(r->eval_path),
        "ciphertext_bytes", (json_int_t)rt_app_file_bytes(r->in_path), "result_bytes",
        (json_int_t)rt_app_file_bytes(r->out_path), "threads", rt_app_threads(r->app), "log2_qp",
        r->model->log2_qp, "lambda", r->model->lambda, "error_bound", r->model->error_bound);
    bool good = object && common && json_object_update(object, common) == 0;
    if (good && r->progress.layers.seconds)
        good = json_object_set_new(object, "layers", rt_app_layers_json(&r->progress.layers)) == 0;
    json_decref(common);
    return good;
}

static bool print_one_json(const struct run *r)
{
    const struct result *result = &r->results[0];
    json_t *object = result_json(r, result);
    if (!add_common_json(r, object) ||
        json_object_set_new(object, "seconds", seconds_json(r, result)) != 0 ||
        json_object_set_new(object, "infer_seconds", json_real(result->infer)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return rt_app_print_json(object);
}

static void print_sizes(const struct run *r)
{
    char a[RT_APP_BYTES_TEXT], b[RT_APP_BYTES_TEXT], c[RT_APP_BYTES_TEXT], d[RT_APP_BYTES_TEXT];
    printf("peak memory %s, keys %s, ciphertext %s in, %s out, %d thread%s\n",
           rt_app_bytes(a, rt_app_peak_rss()), rt_app_bytes(b, rt_app_file_bytes(r->eval_path)),
           rt_app_bytes(c, rt_app_file_bytes(r->in_path)),
           rt_app_bytes(d, rt_app_file_bytes(r->out_path)), rt_app_threads(r->app),
           rt_app_threads(r->app) == 1 ? "" : "s");
    if (r->model->params.insecure)
        printf("N = %u, log2 QP = %.1f, NOT SECURE (toy parameters)\n",
               1U << r->model->params.log_n, r->model->log2_qp);
    else
        printf("N = %u, log2 QP = %.1f, %.0f-bit security\n", 1U << r->model->params.log_n,
               r->model->log2_qp, r->model->lambda);
}

static void print_one(struct run *r)
{
    const struct result *result = &r->results[0];
    const struct rt_interface *m = r->model;
    uint32_t top = m->num_outputs < 5 ? m->num_outputs : 5;
    char buffer[16];
    printf("%-24s %12s %12s\n", "class", "encrypted", "cleartext");
    rt_app_top(r->values, m->num_outputs, top, r->indices);
    for (uint32_t i = 0; i < top; i++)
        printf("%-24s %12.4f %12.4f\n", rt_app_label(m, r->indices[i], buffer),
               r->values[r->indices[i]], r->expected[r->indices[i]]);
    printf("\n%s: '%s', ", r->app->argument, rt_app_label(m, result->class, buffer));
    printf("cleartext '%s', largest logit error %.2g", rt_app_label(m, result->clear_class, buffer),
           result->max_error);
    if (m->error_bound > 0)
        printf(" (predicted: at most %.2g)", m->error_bound);
    printf("\nkeygen %.3f s, load %.3f s, encrypt %.3f s, infer %.3f s, decrypt %.3f s, cleartext "
           "%.3f s\n",
           r->keygen, r->load, result->encrypt, result->infer, result->decrypt, result->clear);
    print_sizes(r);
}

static void print_line(const struct run *r, uint64_t i)
{
    const struct result *result = &r->results[i];
    char a[16], b[16];
    printf("%llu: '%s', cleartext '%s'", (unsigned long long)(r->app->index + i),
           rt_app_label(r->model, result->class, a),
           rt_app_label(r->model, result->clear_class, b));
    if (result->label >= 0 && (uint32_t)result->label < r->model->num_outputs)
        printf(", labelled '%s'", rt_app_label(r->model, (uint32_t)result->label, a));
    printf(", margin %.3f, logit error %.2g, %.3f s\n", result->margin, result->max_error,
           result->infer);
    fflush(stdout);
}

/* For programs that read along (weft eval): with the error of every output */
static bool print_json_line(const struct run *r, uint64_t i)
{
    const struct result *result = &r->results[i];
    json_t *object = result_json(r, result), *errors = json_array();
    for (uint32_t k = 0; errors && k < r->model->num_outputs; k++)
        json_array_append_new(errors, json_real(r->values[k] - r->expected[k]));
    bool good =
        object && errors &&
        json_object_set_new(object, "index", json_integer((json_int_t)(r->app->index + i))) == 0 &&
        json_object_set_new(object, "infer_seconds", json_real(result->infer)) == 0 &&
        json_object_set(object, "errors", errors) == 0 &&
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12)) == 0;
    json_decref(errors);
    json_decref(object);
    putchar('\n');
    return fflush(stdout) == 0 && good;
}

struct summary {
    uint64_t agree, right, clear_right;
    uint64_t decided, decided_agree; /* images whose clear margin exceeds the predicted error */
    double max_error, mean_error, median_infer;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool summarise(const struct run *r, struct summary *s)
{
    double *times = calloc((size_t)r->num_results, sizeof *times);
    if (!times)
        return false;
    *s = (struct summary){0};
    for (uint64_t i = 0; i < r->num_results; i++) {
        const struct result *x = &r->results[i];
        bool agree = x->class == x->clear_class, decided = x->margin > r->model->error_bound;
        s->agree += agree;
        s->decided += decided;
        s->decided_agree += decided && agree;
        s->right += (int64_t)x->class == x->label;
        s->clear_right += (int64_t)x->clear_class == x->label;
        s->max_error = fmax(s->max_error, x->max_error);
        s->mean_error += x->max_error / (double)r->num_results;
        times[i] = x->infer;
    }
    qsort(times, (size_t)r->num_results, sizeof *times, compare_doubles);
    s->median_infer = (times[(r->num_results - 1) / 2] + times[r->num_results / 2]) / 2;
    free(times);
    return true;
}

static bool print_many_json(const struct run *r, const struct summary *s)
{
    json_t *images = json_array();
    for (uint64_t i = 0; images && i < r->num_results; i++) {
        json_t *object = result_json(r, &r->results[i]);
        if (!object)
            break;
        json_object_set_new(object, "infer_seconds", json_real(r->results[i].infer));
        json_array_append_new(images, object);
    }
    json_t *root =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "count",
                  (json_int_t)r->num_results, "agree", (json_int_t)s->agree, "correct",
                  (json_int_t)s->right, "clear_correct", (json_int_t)s->clear_right, "decided",
                  (json_int_t)s->decided, "decided_agree", (json_int_t)s->decided_agree,
                  "max_logit_error", s->max_error, "mean_logit_error", s->mean_error,
                  "infer_seconds", s->median_infer, "keygen_seconds", r->keygen, "images", images);
    if (!add_common_json(r, root)) {
        json_decref(root);
        root = NULL;
    }
    return rt_app_print_json(root);
}

static void print_many(const struct run *r, const struct summary *s)
{
    unsigned long long n = (unsigned long long)r->num_results;
    printf("\n%llu of %llu agree with the cleartext", (unsigned long long)s->agree, n);
    if (r->model->error_bound > 0)
        printf(" (%llu of the %llu whose margin exceeds the predicted error %.2g)",
               (unsigned long long)s->decided_agree, (unsigned long long)s->decided,
               r->model->error_bound);
    printf("\ncorrect: %llu encrypted, %llu cleartext\n", (unsigned long long)s->right,
           (unsigned long long)s->clear_right);
    printf("logit error: largest %.2g, mean of the images' largest %.2g\n", s->max_error,
           s->mean_error);
    printf("infer %.3f s (median), keygen %.3f s, load %.3f s\n", s->median_infer, r->keygen,
           r->load);
    print_sizes(r);
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool run_images(struct run *r)
{
    bool json = (r->app->given & RT_APP_JSON) != 0, many = (r->app->given & RT_APP_COUNT) != 0;
    bool lines = (r->app->given & RT_APP_LINES) != 0;
    struct summary summary;
    for (uint64_t i = 0; i < r->num_results; i++) {
        if (!run_image(r, i))
            return false;
        if (lines && !print_json_line(r, i)) {
            rt_app_status(&r->err, RT_ERR_IO, "cannot write to the standard output");
            return false;
        }
        if (many && !json && !lines)
            print_line(r, i);
    }
    bool good = true;
    bool layers = (r->app->given & RT_APP_LAYERS) != 0;
    if (layers && !json && !lines)
        rt_app_layers_print(&r->progress.layers, rt_app_threads(r->app));
    if (lines) {
        return true;
    } else if (many) {
        good = summarise(r, &summary);
        if (good && json)
            good = print_many_json(r, &summary);
        else if (good)
            print_many(r, &summary);
    } else if (json) {
        good = print_one_json(r);
    } else {
        print_one(r);
    }
    if (!good)
        rt_app_status(&r->err, RT_ERR_MEMORY, "out of memory");
    return good;
}

/* What can be wrong with the arguments is found before anything is written. */
static bool prepare(struct run *r, char data_path[RT_APP_PATH])
{
    const struct rt_interface *m = r->model;
    if (!check_count(r) || !allocate(r) || !load_image(r, 0, &r->results[0]))
        return false;
    uint64_t outside = rt_app_image_outside(m, r->image);
    if (outside)
        rt_app_warn(r->app,
                    "%s: %llu values outside the range %g to %g that the model was made for",
                    r->app->argument, (unsigned long long)outside, m->range[0], m->range[1]);
    if ((r->app->given & RT_APP_CHECK) && !r->app->clear->num_points) {
        rt_app_status(
            &r->err, RT_ERR_ARGUMENT,
            "--check: this program was built without it; weft build --check makes one that can");
        return false;
    }
    if ((r->app->given & RT_APP_CHECK) && !rt_app_check_open(&r->check, r->app->clear, &r->err))
        return false;
    return rt_data_open(&r->data, m->model_hash, r->app->program->data_checksum, data_path,
                        &r->err) == RT_OK;
}

static bool work(struct run *r, const char *data_path)
{
    if (rt_app_workdir_open(&r->dir, r->app->keep, &r->err) != RT_OK)
        return false;
    rt_app_progress_open(&r->progress, r->app);
    if (!rt_app_layers_open(&r->progress.layers, r->app)) {
        rt_app_workdir_close(&r->dir);
        rt_app_status(&r->err, RT_ERR_MEMORY, "out of memory");
        return false;
    }
    bool good = name_files(r) && make_keys(r, data_path) && run_images(r);
    rt_app_progress_clear(&r->progress);
    rt_app_layers_close(&r->progress.layers);
    rt_app_workdir_close(&r->dir);
    return good;
}

static int run(struct rt_app *app)
{
    struct run r = {.app = app, .model = app->model, .num_results = app->count ? app->count : 1};
    char data_path[RT_APP_PATH];
    if (!rt_app_data_path(app, data_path))
        return 1;
    bool good = prepare(&r, data_path) && work(&r, data_path);
    int result = good ? 0 : rt_app_fail(app, &r.err);
    release(&r);
    return result;
}

const struct rt_app_command rt_app_run = {
    "run",
    "IMAGE",
    "all steps here, beside the cleartext result, with times",
    RT_APP_DATA | RT_APP_THREADS | RT_APP_MEMORY | RT_APP_FORCE | RT_APP_JSON | RT_APP_INDEX |
        RT_APP_COUNT | RT_APP_KEEP | RT_APP_QUIET | RT_APP_LINES | RT_APP_CHECK | RT_APP_LAYERS,
    0,
    run};
