/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

/*
 * Runs a program node by node. Buffers go back to a pool after their last use, so a program needs
 * as much memory as its widest cut, not as its length.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIM_ROW_C(name)
#define SIM_ROW_N(name)   [OP_##name] = sim_op_##name,
#define SIM_ROW_NSK(name) [OP_##name] = sim_op_##name,
#define SIM_ROW_S(name)   [OP_##name] = sim_op_##name,
#define SIM_ROW_SK(name)  [OP_##name] = sim_op_##name,
#define SIM_ROW_K(name)   [OP_##name] = sim_op_##name,
static sim_op *const run_op[NUM_OPS] = {
#define OP(name, stages, operands, result, attrs, flags, call) SIM_ROW_##stages(name)
#include "ops.def"
};

size_t sim_value_len(const struct type *t)
{
    switch (t->kind) {
    case KIND_TENSOR:
        return (size_t)t->dims[0] * t->dims[1] * t->dims[2];
    case KIND_NONE:
    case KIND_CONST:
        return 0;
    default:
        return t->n;
    }
}

static struct sim_pool *pool_of(struct sim *s, size_t len)
{
    for (uint32_t k = 0; k < s->num_pools; k++)
        if (s->pool[k].len == len)
            return &s->pool[k];
    if (s->num_pools == sizeof s->pool / sizeof *s->pool)
        return NULL;
    s->pool[s->num_pools].len = len;
    return &s->pool[s->num_pools++];
}

/* What is in it does not matter. */
double *sim_buffer(struct sim *s, size_t len)
{
    struct sim_pool *pool = pool_of(s, len);
    if (!pool || !pool->head)
        return arena_array(s->arena, len ? len : 1, sizeof(double));
    double *v = pool->head;
    memcpy(&pool->head, v, sizeof pool->head);
    return v;
}

static double *new_buffer(struct sim *s, size_t len)
{
    double *v = sim_buffer(s, len);
    memset(v, 0, len * sizeof *v);
    return v;
}

void sim_free_buffer(struct sim *s, size_t len, double **at)
{
    struct sim_pool *pool = pool_of(s, len);
    double *v = *at;
    *at = NULL;
    if (!v || !pool || pool->len == 0)
        return;
    memcpy(v, &pool->head, sizeof pool->head);
    pool->head = v;
}

static void hold(struct sim *s, uint32_t i)
{
    s->holder[i] = i;
    s->holds[i] = 1;
    s->turned[i] = 0;
}

double *sim_result(struct sim *s, uint32_t i)
{
    hold(s, i);
    return s->value[i] = new_buffer(s, sim_len(s, &s->nodes->at[i].type));
}

double *sim_imag(struct sim *s, uint32_t i)
{
    sim_own(s, i);
    if (!s->imag[i])
        s->imag[i] = new_buffer(s, sim_len(s, &s->nodes->at[i].type));
    return s->imag[i];
}

void sim_share(struct sim *s, uint32_t i, uint32_t k, int64_t by)
{
    uint32_t x = sim_node(s, i)->args[k];
    int64_t n = (int64_t)sim_value_len(&sim_node(s, i)->type);
    s->value[i] = s->value[x];
    s->imag[i] = s->imag[x];
    s->holder[i] = s->holder[x];
    s->holds[s->holder[i]]++;
    s->turned[i] = (uint32_t)(((s->turned[x] + by) % n + n) % n);
}

/* y[k] = x[k + by] */
static double *turned_copy(struct sim *s, const double *x, size_t len, size_t by)
{
    double *y = sim_buffer(s, len);
    memcpy(y, x + by, (len - by) * sizeof *y);
    memcpy(y + (len - by), x, by * sizeof *y);
    return y;
}

static void forget_squares(struct sim *s, uint32_t i)
{
    for (int part = 0; part < 2; part++)
        sim_free_buffer(s, sim_value_len(&sim_node(s, i)->type), &s->squares[part][i]);
}

void sim_own(struct sim *s, uint32_t i)
{
    uint32_t h = s->holder[i];
    if (h == i)
        return;
    forget_squares(s, i);
    size_t len = sim_len(s, &sim_node(s, i)->type), by = (size_t)s->turned[i] * s->lanes;
    double *re = s->value[i], *im = s->imag[i];
    bool last = s->holds[h] == 1; /* or next to the holder itself, of which this is the last use */
    if (s->holds[h] == 2 && s->value[h] && s->last_use[h] == i) {
        forget_squares(s, h);
        s->value[h] = s->imag[h] = NULL;
        last = true;
    }
    s->holds[h] = last ? 0 : s->holds[h] - 1;
    hold(s, i);
    if (last && by == 0)
        return;
    s->value[i] = turned_copy(s, re, len, by);
    s->imag[i] = im ? turned_copy(s, im, len, by) : NULL;
    if (last) {
        sim_free_buffer(s, len, &re);
        sim_free_buffer(s, len, &im);
    }
}

void sim_real(struct sim *s, uint32_t i)
{
    size_t len = sim_len(s, &s->nodes->at[i].type);
    for (size_t k = 0; s->imag[i] && k < len; k++)
        if (s->imag[i][k] != 0)
            return;
    sim_free_buffer(s, len, &s->imag[i]);
}

static void give_back(struct sim *s, uint32_t i)
{
    size_t len = sim_len(s, &s->nodes->at[i].type);
    double *re = s->value[i], *im = s->imag[i];
    forget_squares(s, i);
    s->value[i] = s->imag[i] = NULL;
    if (--s->holds[s->holder[i]] == 0) {
        sim_free_buffer(s, len, &re);
        sim_free_buffer(s, len, &im);
    }
}

/* The complex plaintexts of a DFT factor, one period of each */
static void prepare_factor(struct sim *s, uint32_t i, const struct diagonals *d,
                           struct arena *scratch)
{
    const struct node *n = &s->nodes->at[i];
    uint32_t period = s->plain_len[node_int(n, KEY_map)];
    size_t len = (size_t)n->num_args * d->nw, kept = (size_t)n->num_args * period;
    struct arena_mark mark = arena_mark(scratch);
    double *re = arena_array(scratch, len, sizeof *re), *im = arena_array(scratch, len, sizeof *im);
    pmac_plaintexts_complex(s->p, n, d, re, im);
    s->plain[i] = arena_array(s->arena, kept, sizeof *re);
    s->plain_imag[i] = arena_array(s->arena, kept, sizeof *im);
    for (uint32_t k = 0; k < n->num_args; k++) {
        memcpy(s->plain[i] + (size_t)k * period, re + (size_t)k * d->nw, period * sizeof *re);
        memcpy(s->plain_imag[i] + (size_t)k * period, im + (size_t)k * d->nw, period * sizeof *im);
    }
    arena_release(scratch, mark);
}

/* Everything that does not depend on the image: diagonals, plaintexts of DFT factors and of padd. */
static void prepare(struct sim *s)
{
    struct prog *p = s->p;
    struct arena *scratch = arena_new();
    bool *seen = arena_array(s->arena, p->num_maps, sizeof *seen);

    for (uint32_t i = 0; i < s->nodes->len; i++) {
        const struct node *n = &s->nodes->at[i];
        if (n->op == OP_pmac || n->op == OP_lin)
            seen[node_int(n, KEY_map)] = true;
        if (n->op == OP_padd) {
            uint32_t layout = (uint32_t)node_int(n, KEY_layout);
            s->plain[i] = arena_array(s->arena, p->layouts[layout].n, sizeof(double));
            padd_plaintext(p, n, s->plain[i]);
        }
    }
    for (uint32_t m = 0; m < p->num_maps; m++) {
        if (!seen[m])
            continue;
        struct diagonals d = s->lin[m] = lmap_diagonals(p, m, true, s->arena);
        bool factor = p->maps[m].dft.first != 0;
        for (uint32_t t = 0; !factor && t < p->maps[m].num_terms; t++)
            const_values(p, p->maps[m].term[t].weight); /* threads find it there */
        s->plain_len[m] = factor ? dft_period(&p->maps[m].dft, d.nw) : d.nw;
        for (uint32_t i = 0; factor && i < s->nodes->len; i++)
            if (s->nodes->at[i].op == OP_pmac && node_int(&s->nodes->at[i], KEY_map) == m)
                prepare_factor(s, i, &d, scratch);
    }
    arena_free(scratch);
}

/* What changes while images run */
static void make_room(struct sim *s)
{
    struct arena *a = s->arena;
    uint32_t len = s->nodes->len;
    s->value = arena_array(a, len, sizeof *s->value);
    s->imag = arena_array(a, len, sizeof *s->imag);
    s->holder = arena_array(a, len, sizeof *s->holder);
    s->holds = arena_array(a, len, sizeof *s->holds);
    s->turned = arena_array(a, len, sizeof *s->turned);
    for (int part = 0; part < 2; part++)
        s->squares[part] = arena_array(a, len, sizeof *s->squares[part]);
}

static struct sim *open_nodes(struct prog *p, const struct nodes *nodes)
{
    struct arena *a = arena_new();
    struct sim *s = arena_alloc(a, sizeof *s);
    s->arena = a;
    s->p = p;
    s->nodes = nodes;
    s->last_use = arena_array(a, nodes->len, sizeof *s->last_use);
    make_room(s);
    s->plain = arena_array(a, nodes->len, sizeof *s->plain);
    s->plain_imag = arena_array(a, nodes->len, sizeof *s->plain_imag);
    s->lin = arena_array(a, p->num_maps, sizeof *s->lin);
    s->plain_len = arena_array(a, p->num_maps, sizeof *s->plain_len);
    for (uint32_t i = 0; i < nodes->len; i++) {
        s->last_use[i] = i;
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++)
            s->last_use[nodes->at[i].args[k]] = i;
    }
    prepare(s);
    return s;
}

/* Runs other images of the same program in another thread: all that was prepared is shared. */
static struct sim *sibling(const struct sim *s)
{
    struct arena *a = arena_new();
    struct sim *t = arena_alloc(a, sizeof *t);
    t->arena = a;
    t->p = s->p;
    t->nodes = s->nodes;
    t->last_use = s->last_use;
    t->plain = s->plain;
    t->plain_imag = s->plain_imag;
    t->lin = s->lin;
    t->plain_len = s->plain_len;
    make_room(t);
    if (s->func) {
        t->func = arena_array(a, s->p->num_funcs, sizeof *t->func);
        for (uint32_t f = 0; f < s->p->num_funcs; f++)
            t->func[f] = sibling(s->func[f]);
    }
    return t;
}

struct sim *sim_open(struct prog *p)
{
    struct sim *s = open_nodes(p, &p->nodes);
    s->func = arena_array(s->arena, p->num_funcs, sizeof *s->func);
    for (uint32_t f = 0; f < p->num_funcs; f++)
        s->func[f] = open_nodes(p, &p->funcs[f].nodes);
    return s;
}

void sim_close(struct sim *s)
{
    for (uint32_t f = 0; s->func && f < s->p->num_funcs; f++)
        arena_free(s->func[f]->arena);
    arena_free(s->arena);
}

/* Whether the op reads operands that are turned */
static bool takes_turned(enum op op)
{
    switch (op) {
    case OP_pmac:
    case OP_rot:
    case OP_key_mul:
    case OP_raised_mul:
    case OP_decompose:
    case OP_encapsulate:
    case OP_lift:
    case OP_mod_down:
    case OP_rescale:
    case OP_drop_to:
    case OP_raise_scale:
        return true;
    default:
        return false;
    }
}

static void run_nodes(struct sim *s, const struct sim_options *o)
{
    for (uint32_t i = 0; i < s->nodes->len; i++) {
        const struct node *n = &s->nodes->at[i];
        if (!run_op[n->op])
            BUG("constant '%s' among the nodes", op_info[n->op].name);
        for (uint32_t k = 0; k < n->num_args && !takes_turned(n->op); k++)
            if (s->turned[n->args[k]])
                sim_own(s, n->args[k]);
        run_op[n->op](s, i);
        if (s->noise)
            sim_noise(s, i);
        if (o && o->hook && s->value[i]) {
            if (s->turned[i])
                sim_own(s, i);
#ifdef _OPENMP
#pragma omp critical(sim_hook)
#endif
            o->hook(o->ctx, i, n, s->value[i], sim_len(s, &n->type));
        }
        for (uint32_t k = 0; k < n->num_args; k++)
            if (s->last_use[n->args[k]] == i && s->value[n->args[k]])
                give_back(s, n->args[k]);
        if (s->last_use[i] == i && s->value[i])
            give_back(s, i);
    }
}

void sim_function(struct sim *s, uint32_t i, uint32_t f)
{
    struct sim *g = s->func[f];
    g->caller = s;
    g->call = i;
    g->lanes = s->lanes;
    g->noise = s->noise;
    g->rng = s->rng;
    g->multiples = s->multiples;
    g->secret = s->secret;
    g->sparse = s->sparse;
    g->rounding = s->rounding;
    g->mixed = s->mixed;
    run_nodes(g, NULL);
    s->rng = g->rng;
    s->multiples = g->multiples;
}

static void run_lanes(struct sim *s, const struct sim_options *o, const double *const *images,
                      double *const *results, uint32_t lanes)
{
    s->images = images;
    s->results = results;
    s->lanes = lanes;
    s->noise = o && o->noise;
    sim_seed(&s->multiples, ~(o ? o->seed : 0));
    if (s->noise)
        sim_noise_begin(s, o->seed);
    run_nodes(s, o);
}

void sim_image(struct sim *s, const struct sim_options *o, const double *image, double *result)
{
    run_lanes(s, o, &image, &result, 1);
}

void sim_images(struct sim *s, const struct sim_options *o, const double *const *images,
                double *const *results, uint32_t count)
{
    bool tensors = s->nodes->len > 0 && s->nodes->at[0].type.kind == KIND_TENSOR;
    uint32_t most = tensors ? 1 : SIM_LANES, groups = (count + most - 1) / most;
    uint32_t first =
        tensors && count > 1 ? 1 : 0; /* alone: it fetches the weights that threads share */
    bool in_order = groups < first + 2 || (o && o->hook && !o->any_order);
    uint32_t threads = in_order ? 1 : 2;
    struct sim *other = in_order ? NULL : sibling(s);
    if (first)
        run_lanes(s, o, images, results, 1);
        /* every group has its seed, so that it is no matter which thread runs it */
#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1) num_threads(threads)
#endif
    for (uint32_t thread = 0; thread < threads; thread++) {
        for (uint32_t g = first + thread; g < groups; g += threads) {
            uint32_t i = g * most, lanes = count - i < most ? count - i : most;
            struct sim_options mine = o ? *o : (struct sim_options){.seed = 0};
            mine.seed += i;
            run_lanes(thread ? other : s, &mine, images + i, results + i, lanes);
        }
    }
    if (other)
        sim_close(other);
}

void sim_run(struct prog *p, const struct sim_options *o, const double *image, double *result)
{
    struct sim *s = sim_open(p);
    sim_image(s, o, image, result);
    sim_close(s);
}

const struct nodes *sim_reference_nodes(const struct prog *p)
{
    if (p->reference.len)
        return &p->reference;
    if (p->stage != STAGE_NN)
        diag_fatal(NO_LOC, "the program carries no reference network");
    return &p->nodes;
}

struct sim *sim_open_network(struct prog *p, const struct nodes *nodes)
{
    return open_nodes(p, nodes);
}

void sim_reference(struct prog *p, const double *image, double *result)
{
    struct sim *s = open_nodes(p, sim_reference_nodes(p));
    sim_image(s, NULL, image, result);
    sim_close(s);
}

static void draw_image(const struct prog *p, struct sim_rng *rng, double *image)
{
    const struct model *m = &p->model;
    size_t pixels = (size_t)m->input[1] * m->input[2];
    for (uint32_t c = 0; c < m->input[0]; c++) {
        double mean = m->mean ? m->mean[c] : 0, std = m->std ? m->std[c] : 1;
        for (size_t k = 0; k < pixels; k++) {
            double raw = m->range[0] + sim_uniform(rng) * (m->range[1] - m->range[0]);
            image[c * pixels + k] = (raw - mean) / std;
        }
    }
}

/* The bound is printed into the generated program: the last bits of another libm must not show. */
static double three_digits_up(double x)
{
    if (!(x > 0) || !isfinite(x))
        return x;
    double unit = pow(10, floor(log10(x)) - 2);
    char text[32];
    snprintf(text, sizeof text, "%.2e", ceil(x / unit) * unit);
    return strtod(text, NULL);
}

struct sim_trials sim_trials(struct prog *p, const double *const *images, uint32_t count,
                             uint32_t trials, struct arena *a)
{
    const uint64_t seed = 0x57454654; /* fixed: the bound is printed into the generated program */
    struct sim_trials t = {p->model.num_outputs, count, trials < count ? trials : count, NULL,
                           NULL};
    struct sim *noisy = sim_open(p);
    struct sim *exact = p->reference.len ? open_nodes(p, &p->reference) : sim_open(p);
    size_t pixels = (size_t)p->model.input[0] * p->model.input[1] * p->model.input[2];
    const double **x = arena_array(exact->arena, count, sizeof *x);
    struct sim_rng rng;
    sim_seed(&rng, seed);
    t.clear = arena_array(a, count, sizeof *t.clear);
    t.noisy = arena_array(a, t.trials, sizeof *t.noisy);
    for (uint32_t k = 0; k < count; k++) {
        double *drawn = arena_array(exact->arena, images ? 0 : pixels, sizeof *drawn);
        if (!images)
            draw_image(p, &rng, drawn);
        x[k] = images ? images[k] : drawn;
        t.clear[k] = arena_array(a, t.outputs, sizeof *t.clear[k]);
        if (k < t.trials)
            t.noisy[k] = arena_array(a, t.outputs, sizeof *t.noisy[k]);
    }
    struct sim_options o = {.noise = true, .seed = seed};
    /* Two threads: one for each, or where there is work for both one after the other */
#ifdef _OPENMP
    int threads = t.trials > SIM_LANES ? 1 : 2;
#pragma omp parallel sections num_threads(threads)
#endif
    {
#ifdef _OPENMP
#pragma omp section
#endif
        sim_images(noisy, &o, x, t.noisy, t.trials);
#ifdef _OPENMP
#pragma omp section
#endif
        sim_images(exact, NULL, x, t.clear, count);
    }
    sim_close(noisy);
    sim_close(exact);
    return t;
}

double sim_trials_bound(const struct sim_trials *t)
{
    double worst = 0;
    for (uint32_t k = 0; k < t->outputs; k++) {
        double sum = 0;
        for (uint32_t i = 0; i < t->trials; i++) {
            double error = t->noisy[i][k] - t->clear[i][k];
            sum += error * error;
        }
        if (isnan(sum))
            return 0;
        worst = sum > worst ? sum : worst;
    }
    return t->trials ? three_digits_up(6 * sqrt(worst / t->trials)) : 0;
}

double sim_error_bound(struct prog *p, const double *const *images, uint32_t trials)
{
    struct arena *a = arena_new();
    struct sim_trials t = sim_trials(p, images, trials, trials, a);
    double bound = sim_trials_bound(&t);
    arena_free(a);
    return bound;
}
