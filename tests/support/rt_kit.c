/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_kit.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static void die(const char *what)
{
    fprintf(stderr, "test support: %s\n", what);
    abort();
}

static void need(enum rt_status status, const struct rt_error *err)
{
    if (status != RT_OK) {
        die(err->text);
    }
}

/* ---- random -------------------------------------------------------------------------------- */

uint64_t kit_seed(void)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 20240501;
    printf("SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint64_t kit_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double kit_uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(kit_random(state) >> 11) * 0x1p-53);
}

/* ---- files --------------------------------------------------------------------------------- */

void kit_path(const struct kit *k, char out[128], const char *name)
{
    (void)snprintf(out, 128, "%s/%s", k->dir, name);
}

uint8_t *kit_read(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        die(path);
        return NULL;
    }
    long end = ftell(f);
    rewind(f);
    uint8_t *data = malloc((size_t)end + 1);
    if (data == NULL || fread(data, 1, (size_t)end, f) != (size_t)end) {
        die(path);
    }
    (void)fclose(f);
    *size = (size_t)end;
    return data;
}

void kit_write(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, size, f) != size || fclose(f) != 0) {
        die(path);
    }
}

void kit_seal(uint8_t *data, size_t size)
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, data, 56);
    XXH3_64bits_update(state, data + 64, size - 64);
    uint64_t sum = XXH3_64bits_digest(state);
    memcpy(data + 56, &sum, sizeof sum);
    XXH3_freeState(state);
}

unsigned kit_entries(const struct kit *k)
{
    DIR *d = opendir(k->dir);
    unsigned count = 0;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        count += e->d_name[0] != '.';
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return count;
}

/* ---- model --------------------------------------------------------------------------------- */

static void choose_primes(struct kit *k, const struct kit_shape *s)
{
    uint64_t used[2 * KIT_PRIMES];
    size_t num_used = 0;
    for (int which = 0; which < 2; which++) {
        const unsigned *bits = which == 0 ? s->q_bits : s->p_bits;
        uint64_t *to = which == 0 ? k->q : k->p;
        uint32_t count = 0;
        for (; count < KIT_PRIMES && bits[count] != 0; count++) {
            uint64_t prime = prime_below(UINT64_C(1) << bits[count], s->log_n);
            for (size_t i = 0; i < num_used; i++) {
                if (used[i] == prime) {
                    prime = prime_below(prime, s->log_n);
                    i = (size_t)-1;
                }
            }
            to[count] = used[num_used++] = prime;
        }
        *(which == 0 ? &k->model.params.num_q : &k->model.params.num_p) = count;
    }
}

static struct rt_packing vectors(uint32_t count, uint32_t n)
{
    return (struct rt_packing){count, 1, n, n, 1, 1, 1, 1, n, n, count, NULL};
}

/* The list of the kit that is being run: layers take no argument. */
static const struct kit *current;

static void run_layer(rt_eval *e)
{
    uint32_t in[KIT_TERMS];
    for (uint32_t i = 0; i < current->num_ops; i++) {
        const struct kit_op *o = &current->ops[i];
        const double *reals = current->reals + (o->op >= KIT_CONJ_MUL ? o->b % KIT_REALS : 0);
        switch (o->op) {
        case KIT_DECOMPOSE:
            rt_decompose(e, o->out, o->a);
            break;
        case KIT_KEY_MUL:
            rt_key_mul(e, o->out, o->a, o->b, o->arg);
            break;
        case KIT_LIFT:
            rt_lift(e, o->out, o->a);
            break;
        case KIT_MOD_DOWN:
            rt_mod_down(e, o->out, o->a, (uint32_t)o->arg);
            break;
        case KIT_RESCALE:
            rt_rescale(e, o->out, o->a, (uint32_t)o->arg);
            break;
        case KIT_DROP_TO:
            rt_drop_to(e, o->out, o->a, (int32_t)o->arg);
            break;
        case KIT_RAISE:
            rt_raise_scale(e, o->out, o->a, o->arg);
            break;
        case KIT_ADD:
            rt_add(e, o->out, o->a, o->b);
            break;
        case KIT_SUB:
            rt_sub(e, o->out, o->a, o->b);
            break;
        case KIT_MUL:
            rt_mul(e, o->out, o->a, o->b);
            break;
        case KIT_PMAC:
            for (uint32_t j = 0; j < KIT_TERMS; j++) {
                in[j] = o->a + j % 4;
            }
            rt_pmac(e, o->out, in, (uint32_t)o->arg, o->b);
            break;
        case KIT_PADD:
            rt_padd(e, o->out, o->a, o->b);
            break;
        case KIT_CONJ_MUL:
            rt_conj_mul(e, o->out, o->a, o->b);
            break;
        case KIT_COMB:
            for (uint32_t j = 0; j < KIT_TERMS; j++) {
                in[j] = o->a + j % 4;
            }
            rt_comb(e, o->out, in, reals, (uint32_t)o->arg, reals[o->arg], reals[o->arg + 1]);
            break;
        case KIT_ADD_SCALAR:
            rt_add_scalar(e, o->out, o->a, *reals);
            break;
        case KIT_TIMES_I:
            rt_times_i(e, o->out, o->a);
            break;
        case KIT_RELABEL:
            rt_relabel(e, o->out, o->a, *reals);
            break;
        case KIT_ENCAPSULATE:
            rt_encapsulate(e, o->out, o->a);
            break;
        case KIT_MOD_RAISE:
            rt_mod_raise(e, o->out, o->a, (int32_t)o->arg);
            break;
        case KIT_RAISED_MUL:
            rt_raised_mul(e, o->out, o->a, o->arg);
            break;
        }
    }
}

void kit_make(struct kit *k, const struct kit_shape *s)
{
    memset(k, 0, sizeof *k);
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(k->dir, sizeof k->dir, "%.40s/weft-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(k->dir) == NULL) {
        die("cannot make a directory");
    }
    choose_primes(k, s);
    struct rt_interface *m = &k->model;
    m->name = "kit";
    m->version = "test";
    m->model_hash = 0x1234567890abcdefu;
    m->params.log_n = s->log_n;
    m->params.q = k->q;
    m->params.p = k->p;
    m->params.alpha = s->alpha;
    m->params.insecure = s->insecure;
    m->params.sparse_weight = s->sparse_weight;
    m->keys = k->keys;
    m->input = vectors(s->num_in, s->n);
    m->output = vectors(s->num_out, s->n);
    m->num_outputs = s->num_out * s->n;
    m->input_scale = s->input_scale;
    m->output_scale = s->input_scale;
    m->input_level = s->input_level;
    m->output_level = s->output_level;
    m->range[0] = -1e6;
    m->range[1] = 1e6;
    m->mean = k->mean;
    m->std = k->std;
    for (size_t i = 0; i < 8; i++) {
        k->std[i] = 1;
    }
    k->layer = (struct rt_layer){"layer", 7, run_layer, 1000, 0};
    struct rt_program *p = &k->program;
    p->interface = m;
    p->num_regs = KIT_REGS;
    p->reg_words = k->reg_words;
    p->layers = &k->layer;
    p->num_layers = 1;
    p->input_regs = k->input_regs;
    p->output_regs = k->output_regs;
    uint64_t limbs = (uint64_t)m->params.num_q + m->params.num_p;
    uint64_t digits = ring_digits(m->params.num_q - 1, s->alpha);
    for (size_t i = 0; i < KIT_REGS; i++) {
        k->reg_words[i] = (limbs << s->log_n) * (digits < 3 ? 3 : digits);
    }
    for (uint32_t i = 0; i < 8; i++) {
        k->input_regs[i] = i;
    }
}

void kit_drop(struct kit *k)
{
    DIR *d = opendir(k->dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", k->dir, e->d_name);
        if (e->d_name[0] != '.') {
            (void)unlink(path);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    (void)rmdir(k->dir);
    free(k->values);
    free(k->rects);
    free(k->plains);
}

void kit_key_of(struct kit *k, enum rt_key_kind kind, int64_t by, int32_t level)
{
    if (k->model.num_keys == KIT_KEYS) {
        die("too many keys");
    }
    k->keys[k->model.num_keys++] = (struct rt_key_spec){by, level, (uint32_t)kind};
}

void kit_key(struct kit *k, int64_t by, int32_t level)
{
    kit_key_of(k, by == 0 ? RT_KEY_RELINEARISE : RT_KEY_ROTATE, by, level);
}

static void *grow(void *p, size_t count, size_t size)
{
    void *bigger = realloc(p, count * size);
    if (bigger == NULL) {
        die("out of memory");
    }
    return bigger;
}

uint32_t kit_plain(struct kit *k, const double *v, uint32_t n, uint32_t period, int32_t level,
                   bool extended, double scale)
{
    k->values = grow(k->values, k->num_values + n, sizeof *k->values);
    k->rects = grow(k->rects, k->num_rects + n, sizeof *k->rects);
    k->plains = grow(k->plains, k->num_plains + 1, sizeof *k->plains);
    k->plains[k->num_plains] =
        (struct core_plain){k->num_rects, n, n, period, level, extended, 0, scale};
    for (uint32_t i = 0; i < n; i++) {
        k->rects[k->num_rects++] = (struct core_rect){i, 1, 1, 0, 0, (uint32_t)k->num_values};
        k->values[k->num_values++] = v[i];
    }
    return (uint32_t)k->num_plains++;
}

uint32_t kit_dft(struct kit *k, uint32_t dft, uint32_t n, uint32_t period, uint32_t diagonal,
                 uint32_t shift, int32_t level, bool extended, double scale)
{
    k->plains = grow(k->plains, k->num_plains + 1, sizeof *k->plains);
    k->plains[k->num_plains] =
        (struct core_plain){shift, diagonal, n, period, level, extended, dft, scale};
    return (uint32_t)k->num_plains++;
}

uint32_t kit_reals(struct kit *k, const double *x, uint32_t count)
{
    if (count > KIT_REALS - k->num_reals) {
        die("too many numbers");
    }
    memcpy(k->reals + k->num_reals, x, count * sizeof *x);
    k->num_reals += count;
    return k->num_reals - count;
}

void kit_do(struct kit *k, enum kit_op_kind op, uint32_t out, uint32_t a, uint32_t b, int64_t arg)
{
    if (k->num_ops == KIT_OPS) {
        die("too many operations");
    }
    k->ops[k->num_ops++] = (struct kit_op){op, out, a, b, arg};
}

void kit_rotate(struct kit *k, uint32_t out, uint32_t a, uint32_t digits, int64_t by, uint32_t drop)
{
    kit_do(k, KIT_DECOMPOSE, digits, a, 0, 0);
    kit_do(k, KIT_KEY_MUL, out, digits, a, by);
    kit_do(k, KIT_MOD_DOWN, out, out, 0, drop);
}

void kit_output(struct kit *k, uint32_t first, double scale)
{
    for (uint32_t i = 0; i < 8; i++) {
        k->output_regs[i] = first + i;
    }
    k->model.output_scale = scale;
}

void kit_write_data(struct kit *k)
{
    char path[128];
    kit_path(k, path, "model.dat");
    const uint64_t head[4] = {k->num_values, k->num_rects, k->num_plains, 0};
    struct core_header h;
    memset(&h, 0, sizeof h);
    h.kind = RT_KIND_MODEL_DATA;
    h.model_hash = k->model.model_hash;
    h.payload = sizeof head + k->num_values * sizeof *k->values + k->num_rects * sizeof *k->rects +
                k->num_plains * sizeof *k->plains;
    struct rt_error err;
    struct core_writer *w;
    need(core_writer_open(&w, path, &h, &err), &err);
    need(core_writer_put(w, head, sizeof head, &err), &err);
    need(core_writer_put(w, k->values, k->num_values * sizeof *k->values, &err), &err);
    need(core_writer_put(w, k->rects, k->num_rects * sizeof *k->rects, &err), &err);
    need(core_writer_put(w, k->plains, k->num_plains * sizeof *k->plains, &err), &err);
    need(core_writer_commit(w, &err), &err);
    size_t size;
    uint8_t *data = kit_read(path, &size);
    memcpy(&k->program.data_checksum, data + 56, 8);
    free(data);
}

void kit_keygen(struct kit *k, int threads)
{
    struct rt_error err;
    need(rt_keygen(&k->model, k->dir, true, threads, &err), &err);
}

bool kit_infer(struct kit *k, const char *out, int threads, struct rt_error *err)
{
    char data[128], keys[128], in[128];
    kit_path(k, data, "model.dat");
    kit_path(k, keys, "eval.weft");
    kit_path(k, in, "in.weft");
    rt_eval *e;
    need(rt_eval_open(&e, &k->program, data, keys, threads, err), err);
    current = k;
    bool ok = rt_infer(e, in, out, NULL, NULL, err) == RT_OK;
    rt_eval_close(e);
    return ok;
}

bool kit_run(struct kit *k, const double *x, double *y, int threads, struct rt_error *err)
{
    char secret[128], in[128], out[128];
    kit_path(k, secret, "secret.weft");
    kit_path(k, in, "in.weft");
    kit_path(k, out, "out.weft");
    kit_write_data(k);
    kit_keygen(k, threads);
    rt_secret *s;
    need(rt_secret_load(&s, &k->model, secret, err), err);
    need(rt_encrypt(s, &k->model, x, in, err), err);
    bool ok = kit_infer(k, out, threads, err);
    if (ok) {
        need(rt_decrypt(s, &k->model, out, y, err), err);
    }
    rt_secret_free(s);
    return ok;
}
