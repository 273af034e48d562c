/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "passes.h"

double driver_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* The first line of a dump names the pass that made it: reading it back goes on with the next one.
 */
static const char after_line[] = "# after ";

void driver_print(const struct prog *p, uint32_t after, struct str *out)
{
    str_addf(out, "%s%s\n", after_line, after == NONE ? "front" : pass_info[after].name);
    prog_print(p, out);
}

uint32_t driver_last_pass(enum stage s)
{
    uint32_t last = NONE;
    for (uint32_t i = 0; i < num_passes; i++) {
        if (pass_info[i].to == s) {
            last = i;
        }
    }
    return last;
}

uint32_t driver_pass(const char *name)
{
    uint32_t i = pass_find(name);
    if (i != NONE) {
        return i;
    }
    const char *names[65] = {NULL};
    for (uint32_t k = 0; k < num_passes && k < 64; k++) {
        names[k] = pass_info[k].name;
    }
    const char *near = diag_nearest(name, names);
    diag_fatal(NO_LOC, "there is no pass '%s'%s%s%s", name,
               near ? ": did you mean '" : " (see weft opt --list-passes)", near ? near : "",
               near ? "'?" : "");
}

/* Where to go on with a text: by its first line, else after the last pass whose traces it shows. */
static uint32_t next_pass(const struct prog *p, const char *text, size_t len)
{
    size_t skip = sizeof after_line - 1;
    if (len > skip && memcmp(text, after_line, skip) == 0) {
        const char *name = text + skip, *end = memchr(name, '\n', len - skip);
        size_t n = end ? (size_t)(end - name) : len - skip;
        if (n == 5 && memcmp(name, "front", 5) == 0) {
            return 0;
        }
        for (uint32_t i = 0; i < num_passes; i++) {
            if (strlen(pass_info[i].name) == n && memcmp(name, pass_info[i].name, n) == 0) {
                return i + 1;
            }
        }
    }
    uint32_t ran = pipeline_ran(p);
    return ran == NONE ? 0 : ran + 1;
}

static bool is_program(const char *text, size_t len)
{
    static const char magic[] = "weft-ir ";
    while (len > 0 && text[0] == '#') {
        const char *nl = memchr(text, '\n', len);
        size_t line = nl ? (size_t)(nl - text) + 1 : len;
        text += line;
        len -= line;
    }
    return len >= sizeof magic - 1 && memcmp(text, magic, sizeof magic - 1) == 0;
}

/* ---- passes --------------------------------------------------------------------------------- */

static void dump(const struct driver *d, const struct prog *p, uint32_t after, const char *name)
{
    const struct cli *c = d->cli;
    bool wanted = c->dump_all;
    for (uint32_t i = 0; i < c->num_dumps && !wanted; i++) {
        wanted = strcmp(c->dump_after[i], name) == 0;
    }
    if (!wanted) {
        return;
    }
    struct arena_mark m = arena_mark(d->a);
    struct str s;
    str_init(&s, d->a);
    driver_print(p, after, &s);
    if (c->dump_dir) {
        file_write(arena_printf(d->a, "%s/%02u_%s.ir", c->dump_dir,
                                after == NONE ? 0 : (unsigned)after + 1, name),
                   s.s, s.len);
    } else {
        fwrite(s.s, 1, s.len, stderr);
    }
    arena_release(d->a, m);
}

struct prog *driver_load(struct driver *d, uint32_t *next)
{
    const char *path = d->cli->input, *why;
    struct mapped_file m;
    if (!file_map(path, &m, &why)) {
        diag_fatal(NO_LOC, "%s: %s", path, why);
    }
    const char *text = (const char *)m.data;
    struct prog *p;
    *next = 0;
    if (is_program(text, m.size)) {
        p = prog_parse(d->a, path, text, m.size);
        prog_verify(p, NULL);
        *next = next_pass(p, text, m.size);
    } else {
        p = d->cli->command == CMD_ESTIMATE ? model_parse_plan(d->a, path, text, m.size)
                                            : model_parse(d->a, path, text, m.size);
        dump(d, p, NONE, "front");
    }
    if (d->cli->from) {
        *next = driver_pass(d->cli->from);
    }
    return p;
}

static void after_pass(void *ctx, const struct pass_info *pass, const struct prog *p, double ms)
{
    struct driver *d = ctx;
    if (d->num_times < sizeof d->times / sizeof *d->times) {
        d->times[d->num_times++] = (struct timing){pass->name, ms, p->nodes.len};
    }
    dump(d, p, (uint32_t)(pass - pass_info), pass->name);
}

struct driver driver_open(const struct cli *c, struct arena *a)
{
    struct driver d = {.cli = c, .a = a, .start = driver_seconds()};
    const char *why;
    d.report = c->output && strcmp(c->output, "-") != 0 ? stdout : stderr;
    for (uint32_t i = 0; i < c->num_dumps; i++) {
        if (strcmp(c->dump_after[i], "front") != 0) {
            driver_pass(c->dump_after[i]);
        }
    }
    if (c->dump_dir && mkdir(c->dump_dir, 0777) != 0 && errno != EEXIST) {
        diag_fatal(NO_LOC, "cannot make the folder '%s': %s", c->dump_dir, strerror(errno));
    }
    if (c->opts.cost_path && !cost_load(c->opts.cost_path, &why)) {
        diag_fatal(NO_LOC, "cost figures '%s': %s", c->opts.cost_path, why);
    }
    return d;
}

struct prog *driver_run(struct driver *d, struct prog *p, uint32_t first, uint32_t last)
{
    uint32_t ran = pipeline_ran(p);
    if (ran != NONE && first <= ran && first <= last) {
        diag_fatal(NO_LOC, "%s cannot run on this program: %s has run already",
                   pass_info[first].name, pass_info[ran].name);
    }
    if (first > last) {
        return p;
    }
    uint32_t place = pass_find("ckks_place"), expand = pass_find("ckks_expand");
    if (last >= place &&
        first <= expand) { /* on the way, the bootstraps that were placed are measured */
        if (first <= place) {
            p = pipeline_run(p, first, place, &d->cli->opts, after_pass, d);
            first = place + 1;
        }
        calibrate(d, p);
    }
    return first > last ? p : pipeline_run(p, first, last, &d->cli->opts, after_pass, d);
}

/* ---- reports -------------------------------------------------------------------------------- */

static void report_times(const struct driver *d, FILE *to)
{
    double total = 0;
    for (uint32_t i = 0; i < d->num_times; i++) {
        total += d->times[i].ms;
    }
    fprintf(to, "%10s %6s %8s  pass\n", "ms", "%", "nodes");
    for (uint32_t i = 0; i < d->num_times; i++) {
        const struct timing *t = &d->times[i];
        fprintf(to, "%10.3f %6.1f %8u  %s\n", t->ms, total > 0 ? 100 * t->ms / total : 0,
                (unsigned)t->nodes, t->pass);
    }
    fprintf(to, "%10.3f %6.1f %8s  all\n", total, 100.0, "");
}

void driver_report(struct driver *d, const struct prog *p)
{
    if (d->cli->time_passes) {
        /* JSON stays alone in its stream */
        report_times(d, d->cli->stats == STATS_JSON ? stderr : d->report);
    }
    if (d->cli->stats != STATS_NONE) {
        struct str text;
        str_init(&text, d->a);
        struct boot_summary boot = boot_summary(p);
        const struct stats_row rows[] = {
            {"bootstraps", boot.bootstraps},
            {"boot_level", p->params.boot_level},
            {"boot_log2_failure", round(boot.log2_failure * 10) / 10},
            {"sparse_weight", p->params.sparse_weight},
            {"sparse_log2_modulus", round(boot.sparse_bits * 100) / 100}};
        prog_stats_print(p, d->cli->stats == STATS_JSON, rows,
                         boot.bootstraps ? sizeof rows / sizeof *rows : 0, &text);
        fwrite(text.s, 1, text.len, d->report);
    }
}
