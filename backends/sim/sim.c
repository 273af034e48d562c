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

static double *new_buffer(struct sim *s, size_t len)
{
    struct sim_pool *pool = pool_of(s, len);
    double *v;
    if (pool && pool->head) {
        v = pool->head;
        memcpy(&pool->head, v, sizeof pool->head);
        memset(v, 0, len * sizeof *v);
    } else {
        v = arena_array(s->arena, len ? len : 1, sizeof *v);
    }
    return v;
}

static void free_buffer(struct sim *s, size_t len, double **at)
{
    struct sim_pool *pool = pool_of(s, len);
    double *v = *at;
    *at = NULL;
    if (!v || !pool || pool->len == 0)
        return;
    memcpy(v, &pool->head, sizeof pool->head);
    pool->head = v;
}

double *sim_result(struct sim *s, uint32_t i)
{
    return s->value[i] = new_buffer(s, sim_value_len(&s->nodes->at[i].type));
}

double *sim_imag(struct sim *s, uint32_t i)
{
    if (!s->imag[i])
        s->imag[i] = new_buffer(s, sim_value_len(&s->nodes->at[i].type));
    return s->imag[i];
}

void sim_real(struct sim *s, uint32_t i)
{
    size_t len = sim_value_len(&s->nodes->at[i].type);
    for (size_t k = 0; s->imag[i] && k < len; k++)
        if (s->imag[i][k] != 0)
            return;
    free_buffer(s, len, &s->imag[i]);
}

static void give_back(struct sim *s, uint32_t i)
{
    size_t len = sim_value_len(&s->nodes->at[i].type);
    free_buffer(s, len, &s->value[i]);
    free_buffer(s, len, &s->imag[i]);
}

/* Everything that does not depend on the image: diagonals of lin nodes, plaintexts of pmac and
 * padd. */
static void prepare(struct sim *s)
{
    struct prog *p = s->p;
    struct arena *scratch = arena_new();
    bool *seen = arena_array(s->arena, p->num_maps, sizeof *seen);
    bool *keep = arena_array(s->arena, p->num_maps, sizeof *keep);

    for (uint32_t i = 0; i < s->nodes->len; i++) {
        const struct node *n = &s->nodes->at[i];
        if (n->op == OP_pmac || n->op == OP_lin)
            seen[node_int(n, KEY_map)] = true;
        if (n->op == OP_lin)
            keep[node_int(n, KEY_map)] = true;
        if (n->op == OP_padd) {
            uint32_t layout = (uint32_t)node_int(n, KEY_layout);
            s->plain[i] = arena_array(s->arena, p->layouts[layout].n, sizeof(double));
            padd_plaintext(p, n, s->plain[i]);
        }
    }
    for (uint32_t m = 0; m < p->num_maps; m++) {
        if (!seen[m])
            continue;
        struct arena_mark mark = arena_mark(scratch);
        struct diagonals d = lmap_diagonals(p, m, true, keep[m] ? s->arena : scratch);
        s->work_slots[m] = d.nw;
        if (keep[m])
            s->lin[m] = d;
        for (uint32_t i = 0; i < s->nodes->len; i++) {
            const struct node *n = &s->nodes->at[i];
            if (n->op != OP_pmac || node_int(n, KEY_map) != m)
                continue;
            size_t len = (size_t)n->num_args * d.nw;
            s->plain[i] = arena_array(s->arena, len, sizeof(double));
            if (p->maps[m].dft.first == 0) {
                pmac_plaintexts(p, n, &d, s->plain[i]);
                continue;
            }
            s->plain_imag[i] = arena_array(s->arena, len, sizeof(double));
            pmac_plaintexts_complex(p, n, &d, s->plain[i], s->plain_imag[i]);
        }
        arena_release(scratch, mark);
    }
    arena_free(scratch);
}

static struct sim *open_nodes(struct prog *p, const struct nodes *nodes)
{
    struct arena *a = arena_new();
    struct sim *s = arena_alloc(a, sizeof *s);
    s->arena = a;
    s->p = p;
    s->nodes = nodes;
    s->last_use = arena_array(a, nodes->len, sizeof *s->last_use);
    s->value = arena_array(a, nodes->len, sizeof *s->value);
    s->imag = arena_array(a, nodes->len, sizeof *s->imag);
    s->plain = arena_array(a, nodes->len, sizeof *s->plain);
    s->plain_imag = arena_array(a, nodes->len, sizeof *s->plain_imag);
    s->lin = arena_array(a, p->num_maps, sizeof *s->lin);
    s->work_slots = arena_array(a, p->num_maps, sizeof *s->work_slots);
    for (uint32_t i = 0; i < nodes->len; i++) {
        s->last_use[i] = i;
        for (uint32_t k = 0; k < nodes->at[i].num_args; k++)
            s->last_use[nodes->at[i].args[k]] = i;
    }
    prepare(s);
    return s;
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

static void run_nodes(struct sim *s, const struct sim_options *o)
{
    for (uint32_t i = 0; i < s->nodes->len; i++) {
        const struct node *n = &s->nodes->at[i];
        if (!run_op[n->op])
            BUG("constant '%s' among the nodes", op_info[n->op].name);
        run_op[n->op](s, i);
        if (s->noise)
            sim_noise(s, i);
        if (o && o->hook && s->value[i])
            o->hook(o->ctx, i, n, s->value[i], sim_value_len(&n->type));
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
    g->noise = s->noise;
    g->rng = s->rng;
    g->multiples = s->multiples;
    g->secret = s->secret;
    g->sparse = s->sparse;
    g->mixed = s->mixed;
    run_nodes(g, NULL);
    s->rng = g->rng;
    s->multiples = g->multiples;
}

void sim_image(struct sim *s, const struct sim_options *o, const double *image, double *result)
{
    s->image = image;
    s->result = result;
    s->noise = o && o->noise;
    sim_seed(&s->multiples, ~(o ? o->seed : 0));
    if (s->noise)
        sim_noise_begin(s, o->seed);
    run_nodes(s, o);
}

void sim_run(struct prog *p, const struct sim_options *o, const double *image, double *result)
{
    struct sim *s = sim_open(p);
    sim_image(s, o, image, result);
    sim_close(s);
}

static const struct nodes *reference_nodes(const struct prog *p)
{
    if (p->reference.len)
        return &p->reference;
    if (p->stage != STAGE_NN)
        diag_fatal(NO_LOC, "the program carries no reference network");
    return &p->nodes;
}

void sim_reference(struct prog *p, const double *image, double *result)
{
    struct sim *s = open_nodes(p, reference_nodes(p));
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

double sim_error_bound(struct prog *p, const double *const *images, uint32_t trials)
{
    const uint64_t seed = 0x57454654; /* fixed: the bound is printed into the generated program */
    uint32_t outputs = p->model.num_outputs;
    struct sim *noisy = sim_open(p);
    struct sim *exact = p->reference.len ? open_nodes(p, &p->reference) : sim_open(p);
    double *want = arena_array(exact->arena, outputs, sizeof *want);
    double *got = arena_array(exact->arena, outputs, sizeof *got);
    double *sum = arena_array(exact->arena, outputs, sizeof *sum);
    double *drawn =
        arena_array(exact->arena, (size_t)p->model.input[0] * p->model.input[1] * p->model.input[2],
                    sizeof *drawn);
    struct sim_rng rng;
    sim_seed(&rng, seed);

    for (uint32_t t = 0; t < trials; t++) {
        const double *image = images ? images[t] : drawn;
        if (!images)
            draw_image(p, &rng, drawn);
        struct sim_options o = {.noise = true, .seed = seed + t};
        sim_image(exact, NULL, image, want);
        sim_image(noisy, &o, image, got);
        for (uint32_t k = 0; k < outputs; k++)
            sum[k] += (got[k] - want[k]) * (got[k] - want[k]);
    }
    double worst = 0;
    for (uint32_t k = 0; k < outputs; k++)
        worst = sum[k] > worst ? sum[k] : worst;
    sim_close(noisy);
    sim_close(exact);
    return trials ? three_digits_up(6 * sqrt(worst / trials)) : 0;
}
