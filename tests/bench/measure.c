/* SPDX-License-Identifier: Apache-2.0 */

/* Timing, the table, and the list of results. */
#include "bench.h"

#include <jansson.h>
#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_RUNS = 1001 };

_Noreturn void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fflush(stdout);
    fprintf(stderr, "bench: ");
    (void)vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

void *bench_alloc(size_t words)
{
    void *p = sys_alloc_array(words, sizeof(uint64_t));
    if (p == NULL) {
        bench_die("no memory for %zu words", words);
    }
    return p;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* With --clock=cpu, time that other programs took from a single thread does not count. */
static double now(const struct bench *b)
{
    struct timespec t;
    bool cpu = b->cpu_clock && sys_threads() == 1;
    clock_gettime(cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How often another program took a processor from this one. */
static long taken(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_nivcsw : 0;
}

/*
 * A sample is as many calls as take a fifth of a millisecond, so that the clock does not show.
 * Samples in which the program was interrupted do not count, as long as there are others: up to
 * three times the usual time is spent to find them.
 */
struct timing bench_time(const struct bench *b, void (*run)(void *state), void *state)
{
    const double sample = 2e5;
    const double budget = b->seconds > 0 ? 1e9 * b->seconds : b->quick ? 2.5e7 : 1.2e8;
    double begin = now(b);
    double once;
    double calls = 0;
    do {
        run(state);
        calls++;
        once = (now(b) - begin) / calls;
    } while (calls * once < budget / 6);
    size_t inner = once < sample ? (size_t)(sample / once) + 1 : 1;
    /* of very slow operations fewer runs say enough */
    const unsigned least = b->quick ? 3 : once > 1e8 ? 5 : 7;
    double ns[MAX_RUNS];
    struct timing t = {0};
    double spent = 0;
    begin = now(b);
    while (t.runs < least || (t.runs < MAX_RUNS && spent < budget)) {
        long before = taken();
        double start = now(b);
        for (size_t i = 0; i < inner; i++) {
            run(state);
        }
        double end = now(b);
        spent = end - begin;
        if (taken() != before && spent < 3 * fmax(budget, least * once)) {
            t.dropped++;
            continue;
        }
        ns[t.runs++] = (end - start) / (double)inner;
    }
    qsort(ns, t.runs, sizeof *ns, by_value);
    t.median = ns[t.runs / 2];
    t.low = ns[t.runs / 4];
    t.high = ns[(3 * t.runs) / 4];
    t.least = ns[0];
    return t;
}

/* ---- rows ------------------------------------------------------------------------------------ */

void bench_name(const struct bench_case *c, char out[128])
{
    char extra[64] = "";
    size_t used = 0;
    if (c->limbs != 0) {
        used += (size_t)snprintf(extra, sizeof extra, "/%u", c->limbs);
        if (c->special != 0) {
            used += (size_t)snprintf(extra + used, sizeof extra - used, "+%u", c->special);
        }
    }
    if (c->bits != 0) {
        used += (size_t)snprintf(extra + used, sizeof extra - used, "/%ubit", c->bits);
    }
    if (c->terms != 0) {
        used += (size_t)snprintf(extra + used, sizeof extra - used, "/x%u", c->terms);
    }
    if (c->period != 0) {
        (void)snprintf(extra + used, sizeof extra - used, "/p%u", c->period);
    }
    (void)snprintf(out, 128, "%s/2^%u%s/%s/%d", c->op, c->log_n, extra, sys_cpu_name(c->cpu),
                   c->threads);
}

static bool wanted(const struct bench *b, const struct bench_case *c)
{
    char name[128];
    bench_name(c, name);
    return b->pattern == NULL || regexec(b->pattern, name, 0, NULL, 0) == 0;
}

static void add_row(struct bench *b, const struct bench_row *r)
{
    if (b->num_rows == b->room) {
        b->room = b->room == 0 ? 256 : 2 * b->room;
        b->rows = realloc(b->rows, b->room * sizeof *b->rows);
        if (b->rows == NULL) {
            bench_die("no memory");
        }
    }
    b->rows[b->num_rows++] = *r;
}

/* Three digits that matter, and a unit. */
static const char *time_text(double ns, char out[32])
{
    static const char *const unit[] = {"ns", "us", "ms", "s"};
    size_t u = 0;
    while (ns >= 999.5 && u < 3) {
        ns /= 1000;
        u++;
    }
    (void)snprintf(out, 32, "%.*f %s",
                   u == 0 || ns >= 99.95 ? 0
                   : ns >= 9.995         ? 1
                                         : 2,
                   ns, unit[u]);
    return out;
}

static void print_row(struct bench *b, const struct bench_suite *s, const struct bench_row *r)
{
    if (b->title != s->title) {
        b->title = s->title;
        printf("\n%-44s %10s %10s %7s %10s %7s\n", s->title, "median", "fastest", "spread", "floor",
               "ratio");
    }
    char name[128];
    char median[32], least[32], least_time[32];
    bench_name(&r->c, name);
    printf("%-44s %10s %10s %6.1f%% %10s %7.2f\n", name, time_text(r->t.median, median),
           time_text(r->t.least, least), 100 * (r->t.high - r->t.low) / r->t.median,
           time_text(r->floor, least_time), r->t.median / r->floor);
    (void)fflush(stdout);
}

static void per_operation(struct timing *t, double count)
{
    t->median /= count;
    t->low /= count;
    t->high /= count;
    t->least /= count;
}

static void run_job(struct bench *b, const struct bench_suite *s, void *state,
                    const struct bench_job *j)
{
    if (!b->measured) {
        machine_measure(&b->machine, b->threads, b->quick);
        b->measured = true;
        machine_print(&b->machine, stdout);
    }
    sys_set_threads(j->c.threads);
    if (s->prepare != NULL) {
        s->prepare(state, &j->c);
    }
    struct bench_row r = {j->c, bench_time(b, j->run, state), 0};
    if (s->check != NULL && !s->check(state)) {
        char name[128];
        bench_name(&j->c, name);
        bench_die("%s did not do its work", name);
    }
    if (j->c.count > 0) {
        per_operation(&r.t, j->c.count);
    }
    r.floor = machine_floor(&b->machine, &r.c.work, r.c.cpu, r.c.threads);
    add_row(b, &r);
    print_row(b, s, &r);
}

void bench_jobs(struct bench *b, const struct bench_suite *s, void *state,
                const struct bench_job *jobs, size_t num_jobs)
{
    bool made = false;
    for (size_t i = 0; i < num_jobs; i++) {
        if (!wanted(b, &jobs[i].c)) {
            continue;
        }
        if (b->list) {
            char name[128];
            bench_name(&jobs[i].c, name);
            puts(name);
            continue;
        }
        if (!made && s->make != NULL) {
            sys_set_threads(b->threads);
            s->make(state);
        }
        made = true;
        run_job(b, s, state, &jobs[i]);
    }
    if (made && s->drop != NULL) {
        s->drop(state);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_count(json_t *o, const char *key, unsigned value)
{
    if (value != 0) {
        json_object_set_new(o, key, json_integer(value));
    }
}

static json_t *row_json(const struct bench_row *r)
{
    json_t *o = json_object();
    json_object_set_new(o, "op", json_string(r->c.op));
    json_object_set_new(o, "n", json_integer((json_int_t)1 << r->c.log_n));
    json_object_set_new(o, "limbs", json_integer(r->c.limbs != 0 ? r->c.limbs : 1));
    json_object_set_new(o, "cpu", json_string(sys_cpu_name(r->c.cpu)));
    json_object_set_new(o, "threads", json_integer(r->c.threads));
    json_object_set_new(o, "median_ns", json_real(r->t.median));
    json_object_set_new(o, "floor_ns", json_real(r->floor));
    json_object_set_new(o, "ratio", json_real(r->t.median / r->floor));
    put_count(o, "special", r->c.special);
    put_count(o, "bits", r->c.bits);
    put_count(o, "terms", r->c.terms);
    put_count(o, "period", r->c.period);
    json_object_set_new(o, "fastest_ns", json_real(r->t.least));
    json_object_set_new(o, "quartile_low_ns", json_real(r->t.low));
    json_object_set_new(o, "quartile_high_ns", json_real(r->t.high));
    put_count(o, "runs", r->t.runs);
    put_count(o, "interrupted", r->t.dropped);
    return o;
}

bool bench_write_json(const struct bench *b, const char *path)
{
    json_t *array = json_array();
    for (size_t i = 0; i < b->num_rows; i++) {
        json_array_append_new(array, row_json(&b->rows[i]));
    }
    FILE *f = fopen(path, "w");
    bool ok = f != NULL;
    if (ok) {
        /* one object a line, so that two files can be compared */
        fprintf(f, "[\n");
        for (size_t i = 0; i < b->num_rows; i++) {
            ok = json_dumpf(json_array_get(array, i), f, JSON_REAL_PRECISION(6)) == 0 && ok;
            fprintf(f, "%s\n", i + 1 < b->num_rows ? "," : "");
        }
        fprintf(f, "]\n");
        ok = fclose(f) == 0 && ok;
    }
    json_decref(array);
    if (!ok) {
        fprintf(stderr, "bench: cannot write %s\n", path);
    }
    return ok;
}
