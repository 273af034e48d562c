/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <math.h>

const double rig_scale = 0x1p40;

/* Plaintexts of one level, in the order of the data file. */
enum { FULL = 0, PERIODIC = RIG_TERMS, ADDEND = 2 * RIG_TERMS, PLAINS };

/* Rotations of level `at` are by RIG_ROTATION * at + 1, + 2, ... */
#define RIG_ROTATION 100

unsigned rig_digits(const struct rig_config *c, unsigned limbs)
{
    return ring_digits(limbs - 1, c->alpha);
}

double rig_key_bytes(const struct rig_config *c, unsigned limbs)
{
    return 2.0 * rig_digits(c, limbs) * (limbs + c->special) * ldexp(8, (int)c->log_n);
}

/* Twice what a last-level cache may hold. */
unsigned rig_keys(const struct rig_config *c, unsigned at)
{
    double enough = 2 * (double)machine_cache(3);
    double keys = ceil(enough / rig_key_bytes(c, c->levels[at].limbs));
    double most = (KIT_KEYS - 1) / RIG_LEVELS;
    return c->transforms ? RIG_BABIES : (unsigned)fmin(keys, most);
}

/* The program only hands on its input, at the level where a client decrypts. */
static void pass_on(rt_eval *e)
{
    rt_drop_to(e, RIG_OUT, RIG_X, RIG_OUT_LIMBS - 1);
}

static void add_keys(struct rig *r)
{
    const struct rig_config *c = r->config;
    kit_key(&r->kit, 0, (int32_t)c->limbs - 1);
    for (unsigned at = 0; at < RIG_LEVELS && c->levels[at].limbs != 0; at++) {
        r->num_keys[at] = rig_keys(c, at);
        for (unsigned i = 0; i < r->num_keys[at]; i++) {
            kit_key(&r->kit, (int64_t)RIG_ROTATION * at + i + 1, (int32_t)c->levels[at].limbs - 1);
        }
    }
}

static void add_plains(struct rig *r)
{
    const struct rig_config *c = r->config;
    uint32_t slots = 1u << (c->log_n - 1);
    for (unsigned at = 0; at < RIG_LEVELS && c->levels[at].limbs != 0; at++) {
        int32_t level = (int32_t)c->levels[at].limbs - 1;
        for (unsigned i = 0; i < PLAINS; i++) {
            uint32_t n = i >= PERIODIC && i < ADDEND ? RIG_PERIOD : slots;
            (void)kit_plain(&r->kit, r->slots + i, n, n, level, false, rig_scale);
        }
    }
}

/* A diagonal each of a factor of the special DFT: no values need be stored. */
static void add_transforms(struct rig *r)
{
    const struct rig_config *c = r->config;
    uint32_t slots = 1u << (c->log_n - 1);
    for (int periodic = 0; periodic < 2; periodic++) {
        uint32_t n = periodic ? RIG_PERIOD : slots;
        for (uint32_t i = 0; i < RIG_BABIES * RIG_RESULTS; i++) {
            (void)kit_dft(&r->kit, 1 | 5 << 8, n, n, i % 16, 0, (int32_t)c->limbs - 1, true,
                          rig_scale);
        }
    }
}

static void need(enum rt_status status, const struct rt_error *err)
{
    if (status != RT_OK) {
        bench_die("%s", err->text);
    }
}

static void set_registers(struct rig *r)
{
    const struct rig_config *c = r->config;
    uint64_t limbs = c->limbs;
    uint64_t all = limbs + c->special;
    uint64_t *words = r->words;
    r->kit.program.num_regs = c->transforms ? RIG_ALL_REGS : RIG_REGS;
    r->kit.program.reg_words = words;
    for (unsigned i = RIG_REGS; i < RIG_ALL_REGS; i++) {
        words[i] = 2 * all << c->log_n;
    }
    for (unsigned i = 0; i < RIG_INPUTS; i++) {
        words[i] = 2 * limbs << c->log_n;
    }
    words[RIG_CT3] = 3 * limbs << c->log_n;
    words[RIG_DIGITS] = rig_digits(c, c->limbs) * all << c->log_n;
    words[RIG_CTX] = 2 * all << c->log_n;
    words[RIG_OUT] = 2 * all << c->log_n;
    r->kit.output_regs[0] = RIG_OUT;
}

/* Words below every prime are canonical at every level. */
static void fill(struct rig *r)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < r->ring->n_q + r->ring->n_p; i++) {
        uint64_t q = r->ring->ntt[i].mod.q;
        least = q < least ? q : least;
    }
    uint64_t random = 1;
    for (uint64_t i = 0; i < r->e->reg_words; i++) {
        r->e->reg_memory[i] = kit_random(&random) % least;
    }
    for (size_t i = 0; i < r->config->limbs * r->ring->n; i++) {
        r->poly[i] = kit_random(&random) % least;
    }
}

static void open_program(struct rig *r)
{
    struct rt_error err;
    char data[128], keys[128], secret[128];
    kit_path(&r->kit, data, "model.dat");
    kit_path(&r->kit, keys, "eval.weft");
    kit_path(&r->kit, secret, "secret.weft");
    kit_path(&r->kit, r->file[0], "in.weft");
    kit_path(&r->kit, r->file[1], "out.weft");
    kit_write_data(&r->kit);
    kit_keygen(&r->kit, 0);
    need(rt_secret_load(&r->secret, &r->kit.model, secret, &err), &err);
    need(rt_eval_open(&r->e, &r->kit.program, data, keys, 0, &err), &err);
    need(rt_encrypt(r->secret, &r->kit.model, r->slots, r->file[0], &err), &err);
    need(rt_infer(r->e, r->file[0], r->file[1], NULL, NULL, &err), &err);
    r->ring = r->e->ctx->ring;
}

void rig_make(void *rig)
{
    struct rig *r = rig;
    const struct rig_config *c = r->config;
    size_t n = (size_t)1 << c->log_n;
    struct kit_shape shape = {.log_n = c->log_n,
                              .alpha = c->alpha,
                              .n = 1u << (c->log_n - 1),
                              .num_in = 1,
                              .num_out = 1,
                              .input_level = (int32_t)c->limbs - 1,
                              .output_level = RIG_OUT_LIMBS - 1,
                              .input_scale = rig_scale};
    for (unsigned i = 0; i < c->limbs; i++) {
        shape.q_bits[i] = 50;
    }
    for (unsigned i = 0; i < c->special; i++) {
        shape.p_bits[i] = 50;
    }
    r->slots = bench_alloc(n / 2 + PLAINS);
    r->imaginary = bench_alloc(n / 2);
    r->work = bench_alloc(n);
    r->poly = bench_alloc(c->limbs * n);
    uint64_t random = 2;
    for (size_t i = 0; i < n / 2 + PLAINS; i++) {
        r->slots[i] = kit_uniform(&random, -1, 1);
    }
    kit_make(&r->kit, &shape);
    r->kit.layer.run = pass_on;
    set_registers(r);
    add_keys(r);
    if (c->transforms) {
        add_transforms(r);
    } else {
        add_plains(r);
    }
    open_program(r);
    fill(r);
}

void rig_prepare(void *rig, const struct bench_case *c)
{
    struct rig *r = rig;
    /* the tables are those of every level, so only the functions change */
    k_init(&r->e->ctx->ring->k, c->cpu);
    r->limbs = c->limbs;
    r->key = 0;
    r->at = 0;
    for (unsigned i = 0; i < RIG_LEVELS; i++) {
        if (r->config->levels[i].limbs == c->limbs) {
            r->at = i;
        }
    }
    int32_t level = (int32_t)c->limbs - 1;
    for (unsigned i = 0; i < RIG_INPUTS; i++) {
        eval_set(&r->e->regs[i], EVAL_CT, level, rig_scale);
    }
    eval_set(&r->e->regs[RIG_CT3], EVAL_CT3, level, rig_scale);
    eval_set(&r->e->regs[RIG_DIGITS], EVAL_DIGITS, level, rig_scale);
    eval_set(&r->e->regs[RIG_CTX], EVAL_CTX, level, rig_scale);
}

bool rig_check(void *rig)
{
    struct rig *r = rig;
    if (r->e->error.status != RT_OK) {
        fprintf(stderr, "bench: %s\n", r->e->error.text);
    }
    return r->e->error.status == RT_OK && !r->failed;
}

void rig_drop(void *rig)
{
    struct rig *r = rig;
    rt_eval_close(r->e);
    rt_secret_free(r->secret);
    kit_drop(&r->kit);
    sys_free(r->slots);
    sys_free(r->imaginary);
    sys_free(r->work);
    sys_free(r->poly);
}

int64_t rig_next_key(struct rig *r)
{
    r->key = (r->key + 1) % r->num_keys[r->at];
    return (int64_t)RIG_ROTATION * r->at + r->key + 1;
}

uint32_t rig_full(const struct rig *r)
{
    return r->at * PLAINS + FULL;
}

uint32_t rig_periodic(const struct rig *r)
{
    return r->at * PLAINS + PERIODIC;
}

uint32_t rig_addend(const struct rig *r)
{
    return r->at * PLAINS + ADDEND;
}

int64_t rig_baby(unsigned i)
{
    return i + 1;
}

uint32_t rig_transform(bool periodic)
{
    return periodic ? RIG_BABIES * RIG_RESULTS : 0;
}
