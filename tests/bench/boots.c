/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bootstraps, as the compiler makes them: bootstrap_b15.ir and bootstrap_b16.ir beside this file are
 * programs that hand their input through one bootstrap. What is timed is a whole inference: the
 * ciphertext is read, refreshed, and written. All keys and plaintexts are kept in memory.
 */
#include "boots.h"
#include "eval/eval.h"
#include "rt_client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern const struct rt_program bootstrap_b15_program, bootstrap_b16_program;

struct boot {
    const char *op, *data;
    const struct rt_program *program;
    char folder[128], in[160], out[160];
    rt_secret *secret;
    rt_eval *e;
    double *values, *result;
    bool failed;
    double least; /* nanoseconds of the fastest run */
    struct boot_counts counts;
    struct bench_job *jobs; /* whose work is known only when one has run */
    size_t num_jobs;
};

/* The folder of the generated sources and data, set by the Makefile */
#define DATA(name) BENCH_BOOTS "/" name "/model.dat"
static const struct boot boots[] = {
    {.op = "bootstrap_b15", .data = DATA("bootstrap_b15"), .program = &bootstrap_b15_program},
    {.op = "bootstrap_b16", .data = DATA("bootstrap_b16"), .program = &bootstrap_b16_program},
};
enum { NUM_BOOTS = sizeof boots / sizeof *boots };

static void need(enum rt_status status, const struct rt_error *err)
{
    if (status != RT_OK) {
        bench_die("%s", err->text);
    }
}

static const struct rt_interface *model_of(const struct boot *b)
{
    return b->program->interface;
}

static size_t num_values(const struct boot *b)
{
    return model_of(b)->num_outputs;
}

static void run(void *state)
{
    struct boot *b = state;
    struct rt_error err;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    b->failed = b->failed || rt_infer(b->e, b->in, b->out, NULL, NULL, &err) != RT_OK;
    clock_gettime(CLOCK_MONOTONIC, &to);
    b->least = fmin(b->least,
                    1e9 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec));
}

static void count(struct boot *b)
{
    boot_count_start();
    run(b);
    b->counts = boot_count(b->e);
    for (size_t i = 0; i < b->num_jobs; i++) {
        b->jobs[i].c.work = b->counts.work;
    }
}

static void make(void *state)
{
    struct boot *b = state;
    struct rt_error err;
    const char *parent = getenv("TMPDIR");
    (void)snprintf(b->folder, sizeof b->folder, "%s/weft-bench-XXXXXX", parent ? parent : "/tmp");
    if (mkdtemp(b->folder) == NULL) {
        bench_die("cannot make a folder in %s", parent ? parent : "/tmp");
    }
    char secret[160], keys[160];
    (void)snprintf(secret, sizeof secret, "%s/secret.weft", b->folder);
    (void)snprintf(keys, sizeof keys, "%s/eval.weft", b->folder);
    (void)snprintf(b->in, sizeof b->in, "%s/in.weft", b->folder);
    (void)snprintf(b->out, sizeof b->out, "%s/out.weft", b->folder);
    b->values = bench_alloc(num_values(b));
    b->result = bench_alloc(num_values(b));
    srand48(1);
    for (size_t i = 0; i < num_values(b); i++) {
        b->values[i] = 2 * drand48() - 1;
    }
    need(rt_keygen(model_of(b), b->folder, true, 0, &err), &err);
    need(rt_secret_load(&b->secret, model_of(b), secret, &err), &err);
    need(rt_encrypt(b->secret, model_of(b), b->values, b->in, &err), &err);
    struct rt_options options = {.max_memory = UINT64_MAX};
    need(rt_eval_open_with(&b->e, b->program, b->data, keys, &options, &err), &err);
    (void)unlink(keys); /* in memory now, twice its size */
    (void)unlink(secret);
    count(b);
}

static void prepare(void *state, const struct bench_case *c)
{
    struct boot *b = state;
    (void)c;
    b->least = INFINITY;
}

/* One limb is for the next bootstrap. */
static int limbs_left(const struct boot *b)
{
    return b->e->regs[b->program->output_regs[0]].level - 1;
}

/* Values lie in [-1, 1]: bits of the result that agree. */
static bool check(void *state)
{
    struct boot *b = state;
    struct rt_error err;
    if (b->failed || rt_decrypt(b->secret, model_of(b), b->out, b->result, &err) != RT_OK) {
        return false;
    }
    double worst = 0;
    double squares = 0;
    for (size_t i = 0; i < num_values(b); i++) {
        double error = fabs(b->result[i] - b->values[i]);
        worst = fmax(worst, error);
        squares += error * error;
    }
    struct rt_memory m = rt_eval_memory(b->e);
    printf(
        "    %s: %.1f bits of the standard deviation, %.1f of the worst of %zu values; keys %.2f "
        "GiB, plaintexts %.2f GiB, registers %.2f GiB in memory\n",
        b->op, -log2(sqrt(squares / (double)num_values(b))), -log2(worst), num_values(b),
        ldexp((double)m.key_bytes, -30), ldexp((double)m.plaintext_bytes, -30),
        ldexp((double)m.register_bytes, -30));
    printf(
        "    %.0f key products, %.0f transforms of a limb, %.0f plaintext products; %d limbs left: "
        "%.3f us a slot and limb\n",
        b->counts.keys, b->counts.ntts, b->counts.plain_products, limbs_left(b),
        1e-3 * b->least / (double)num_values(b) / limbs_left(b));
    return worst < 0x1p-8;
}

static void drop(void *state)
{
    struct boot *b = state;
    rt_eval_close(b->e);
    rt_secret_free(b->secret);
    (void)unlink(b->in);
    (void)unlink(b->out);
    (void)rmdir(b->folder);
    sys_free(b->values);
    sys_free(b->result);
}

void bench_boots(struct bench *bench)
{
    static const struct bench_suite suite = {"bootstraps, whole inferences", make, prepare, check,
                                             drop};
    for (size_t i = 0; i < NUM_BOOTS; i++) {
        struct boot b = boots[i];
        const struct rt_params *q = &model_of(&b)->params;
        struct bench_job jobs[2];
        size_t num_jobs = 0;
        for (int all = 0; all < (bench->threads > 1 ? 2 : 1); all++) {
            jobs[num_jobs++] = (struct bench_job){{.op = b.op,
                                                   .log_n = q->log_n,
                                                   .limbs = q->num_q,
                                                   .special = q->num_p,
                                                   .cpu = sys_cpu_detect(),
                                                   .threads = all ? bench->threads : 1},
                                                  run};
        }
        b.jobs = jobs;
        b.num_jobs = num_jobs;
        bench_jobs(bench, &suite, &b, jobs, num_jobs);
    }
}
