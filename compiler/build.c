/* SPDX-License-Identifier: Apache-2.0 */
/* weft build: a model file, or a program as text, into programs. */
#include "compiler.h"

#include "backends.h"
#include "passes.h"

static void write_text(struct driver *d, const struct str *s)
{
    file_write(d->cli->output ? d->cli->output : "-", s->s, s->len);
}

/* Runs to the end of a stage; a text that is already past it cannot go back. */
static struct prog *run_to(struct driver *d, struct prog *p, uint32_t next, enum stage s,
                           uint32_t *last)
{
    *last = driver_last_pass(s);
    if (p->stage > s) {
        diag_fatal(NO_LOC, "%s is at stage %s, past the stage %s that was asked for", d->cli->input,
                   stage_name(p->stage), stage_name(s));
    }
    return *last == num_passes - 1 ? driver_compile(d, p, next) : driver_run(d, p, next, *last);
}

static void build_program(struct driver *d, struct prog *p)
{
    const struct cli *c = d->cli;
    if (p->error_bound == 0 && !p->agreement.judged) {
        judge_precision(d, p);
    }
    struct c_output out;
    c_emit(p, estimate_node_ns(p, d->a), &out, d->a);
    struct generated g = generated_sources(&out.model_c, &out.interface_c, &out.clear_c, &out.data);
    const char *keep = c->keep_c       ? c->keep_c
                       : c->save_temps ? arena_printf(d->a, "%s-c", c->output)
                                       : NULL;
    if (c->emit == EMIT_C) {
        link_sources(d->a, &g, c->output);
    } else {
        if (keep) {
            link_sources(d->a, &g, keep);
        }
        link_binaries(d->a, c, &g);
    }
    if (!c->quiet && c->stats != STATS_JSON) {
        report_build(stdout, p, c, driver_seconds() - d->start);
    }
}

void build_quietly(const struct driver *d, struct prog *p, const char *path)
{
    struct cli c = *d->cli;
    struct driver mine = *d;
    c.output = path;
    c.emit = EMIT_EXE;
    c.quiet = true;
    c.stats = STATS_NONE;
    mine.cli = &c;
    link_check(d->a, &c);
    build_program(&mine, p);
}

int cmd_build(const struct cli *c)
{
    static const enum stage stage_of[] = {[EMIT_EXE] = STAGE_CKKS,
                                          [EMIT_C] = STAGE_CKKS,
                                          [EMIT_NN] = STAGE_NN,
                                          [EMIT_SLOT] = STAGE_SLOT,
                                          [EMIT_CKKS] = STAGE_CKKS};
    if (c->estimate) {
        return cmd_estimate(c);
    }
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    if (c->emit <= EMIT_C) {
        link_check(a, c);
    }
    uint32_t next, last;
    struct prog *p = driver_load(&d, &next);
    if (c->images) {
        images_open(&p->model, c->images, 0); /* its mistakes before the long part */
    }
    p = run_to(&d, p, next, c->emit == EMIT_DOT ? c->stage : stage_of[c->emit], &last);
    if (c->check && p->num_points == 0 && p->num_regs > 0) {
        find_checkpoints(&d, p);
    }
    p->max_memory = c->max_memory;
    struct str text;
    str_init(&text, a);
    if (c->emit <= EMIT_C) {
        memory_check(p);
        build_program(&d, p);
    } else if (c->emit == EMIT_DOT) {
        dot_emit(p, &text);
        write_text(&d, &text);
    } else {
        driver_print(p, last, &text);
        write_text(&d, &text);
    }
    driver_report(&d, p);
    arena_free(a);
    return 0;
}
