/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft eval: labelled pictures through the network on plain numbers, through the compiled program as the
 * simulator runs it with the noise of encryption, and, if asked, through that program on encrypted
 * pictures. The counts are written to a state file now and then, from which --resume goes on.
 */
#include "eval.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends.h"

#define SECONDS_BETWEEN_STATES 5

/* ---- interruption and progress -------------------------------------------------------------- */

void eval_begin(struct eval *e, const char *what, uint64_t from)
{
    e->what = what;
    e->began = driver_seconds();
    e->from = from;
}

static void progress(const struct eval *e, uint64_t done, uint64_t all)
{
    if (e->cli->quiet || !isatty(STDERR_FILENO)) {
        return;
    }
    double each = (driver_seconds() - e->began) / (double)(done > e->from ? done - e->from : 1);
    uint64_t left = (uint64_t)(each * (double)(all - done));
    fprintf(stderr, "\r%s %" PRIu64 " of %" PRIu64 ", %" PRIu64 ":%02u:%02u to go\033[K", e->what,
            done, all, left / 3600, (unsigned)(left / 60 % 60), (unsigned)(left % 60));
    if (done == all || signals_caught()) {
        fprintf(stderr, "\r\033[K");
    }
}

void eval_step(struct eval *e, uint64_t done, uint64_t all)
{
    progress(e, done, all);
    if (signals_caught() || driver_seconds() - e->saved > SECONDS_BETWEEN_STATES) {
        eval_save(e);
    }
    if (signals_caught()) {
        diag_fatal(NO_LOC, "interrupted, %s %" PRIu64 " of %" PRIu64 "; --resume goes on", e->what,
                   done, all);
    }
}

/* ---- clear and simulated -------------------------------------------------------------------- */

static void simulate(struct eval *e)
{
    struct prog *p = e->p;
    uint32_t outputs = p->model.num_outputs;
    double *x = arena_array(e->a, e->images.pixels, sizeof *x);
    double *result = arena_array(e->a, outputs, sizeof *result);
    double *clear = arena_array(e->a, outputs, sizeof *clear);
    struct sim *noisy = sim_open(p), *plain = sim_open_network(p, sim_reference_nodes(p));
    struct sim_options look = {.hook = survey_look, .ctx = &e->survey};
    eval_begin(e, "simulated", e->simulated.images);
    for (uint64_t i = e->simulated.images; i < e->images.len; i++) {
        struct sim_options noise = {.noise = true, .seed = i};
        uint32_t label = images_get(&e->images, &p->model, i, x);
        sim_image(plain, &look, x, clear);
        survey_next(&e->survey);
        sim_image(noisy, &noise, x, result);
        uint32_t top = score_top(clear, outputs);
        score_class(&e->clear, label, top, top, 0);
        score_add(&e->simulated, label, result, clear, outputs);
        eval_step(e, i + 1, e->images.len);
    }
    sim_close(noisy);
    sim_close(plain);
}

/* ---- the command ---------------------------------------------------------------------------- */

/* All that the counts depend on */
static uint64_t key_of(const struct eval *e)
{
    struct arena *a = arena_new();
    struct str text;
    str_init(&text, a);
    prog_print(e->p, &text);
    uint64_t record = e->images.pixels + 1;
    uint64_t key = hash_bytes(text.s, text.len, e->p->model.hash);
    key = hash_bytes(e->images.bytes, (size_t)(e->images.in_file * record), key);
    arena_free(a);
    return key;
}

/* Beside the report, else beside the model */
static const char *state_path(const struct eval *e)
{
    const struct cli *c = e->cli;
    if (c->output && strcmp(c->output, "-") != 0) {
        return arena_printf(e->a, "%s.state", c->output);
    }
    const char *slash = strrchr(c->input, '/'), *dot = strrchr(c->input, '.');
    size_t len = dot && dot != c->input && (!slash || dot > slash + 1) ? (size_t)(dot - c->input)
                                                                       : strlen(c->input);
    return arena_printf(e->a, "%.*s.eval.state", (int)len, c->input);
}

static void open_work(struct eval *e)
{
    const struct cli *c = e->cli;
    uint32_t next;
    e->p = driver_load(&e->d, &next);
    e->images = images_open(&e->p->model, c->images, c->limit);
    if (c->program) {
        eval_check_program(e);
    }
    e->p = driver_compile(&e->d, e->p, next);
    e->survey = survey_network(e->p, sim_reference_nodes(e->p));
    e->key = key_of(e);
    e->path = state_path(e);
    if (c->resume) {
        eval_load(e);
    }
    signals_catch();
    eval_save(e); /* what cannot be written is found before the work */
}

int cmd_eval(const struct cli *c)
{
    struct arena *a = arena_new();
    struct eval e = {.cli = c, .a = a, .d = driver_open(c, a)};
    uint64_t wanted = c->count > 0 ? (uint64_t)c->count : 10;
    open_work(&e);
    simulate(&e);
    eval_save(&e);
    if (c->encrypted) {
        eval_encrypted(&e, wanted < e.images.len ? wanted : e.images.len);
    }
    survey_warn(&e.survey, e.images.len);
    if (!c->output || strcmp(c->output, "-") != 0) {
        eval_report(&e);
    }
    if (c->output) {
        struct str json;
        str_init(&json, a);
        eval_json(&e, &json);
        file_write(c->output, json.s, json.len);
    }
    unlink(e.path);
    driver_report(&e.d, e.p);
    arena_free(a);
    return 0;
}
