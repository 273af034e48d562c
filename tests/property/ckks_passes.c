/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "ir_kit.h"
#include "passes.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/*
 * Every pass from slot_bsgs on computes what the random network before it did, leaves what its head
 * comment promises, and gives the same program when it is run on the text of its input.
 */

struct run {
    struct arena *a;
    uint64_t seed;
    const char *pass;
    uint32_t outputs;
    double *image, *want, *got, size;
};

#define CHECK(r, condition, ...)                                                                   \
    cr_assert(condition, "%s, SEED=%llu TRIALS=1: %s", (r)->pass, (unsigned long long)(r)->seed,   \
              arena_printf((r)->a, __VA_ARGS__))

static struct str text_of(struct arena *a, const struct prog *p)
{
    struct str s;
    str_init(&s, a);
    prog_print(p, &s);
    return s;
}

static void check_values(struct run *r, struct prog *p)
{
    sim_run(p, NULL, r->image, r->got);
    for (uint32_t i = 0; i < r->outputs; i++)
        CHECK(r, fabs(r->want[i] - r->got[i]) <= 1e-9 * r->size, "element %u is %.17g, not %.17g",
              i, r->got[i], r->want[i]);
}

/* ---- what each pass promises ---------------------------------------------------------------- */

static uint32_t count_op(const struct prog *p, enum op op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        count += p->nodes.at[i].op == op;
    return count;
}

static bool repeats(const double *v, uint32_t n, uint32_t period)
{
    return period == 0 || memcmp(v, v + period, (n - period) * sizeof *v) == 0;
}

static void check_slot_bsgs(struct run *r, struct prog *p)
{
    CHECK(r, count_op(p, OP_lin) == 0, "a lin is left");
    struct arena *scratch = arena_new();
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_pmac)
            continue;
        struct arena_mark mark = arena_mark(scratch);
        struct diagonals d = lmap_diagonals(p, (uint32_t)node_int(n, KEY_map), true, scratch);
        double *v = arena_array(scratch, (size_t)n->num_args * d.nw, sizeof *v);
        pmac_plaintexts(p, n, &d, v);
        uint32_t period = (uint32_t)node_int(n, KEY_period);
        bool good = true, smaller = period > 1;
        for (uint32_t k = 0; k < n->num_args; k++) {
            good = good && repeats(v + (size_t)k * d.nw, d.nw, period);
            smaller = smaller && repeats(v + (size_t)k * d.nw, d.nw, period / 2);
        }
        CHECK(r, good, "%%%u does not repeat with %u", i, period);
        CHECK(r, !smaller, "%%%u repeats with %u, not only %u", i, period / 2, period);
        arena_release(scratch, mark);
    }
    arena_free(scratch);
}

static void check_hoist(struct run *r, const struct prog *p)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        for (uint32_t j = 0; j < i; j++)
            CHECK(r,
                  p->nodes.at[i].op != OP_decompose || p->nodes.at[j].op != OP_decompose ||
                      p->nodes.at[i].args[0] != p->nodes.at[j].args[0],
                  "%%%u and %%%u decompose the same value", i, j);
}

static void check_params(struct run *r, const struct prog *p)
{
    const struct params *q = &p->params;
    CHECK(r, !q->insecure && q->lambda_bits == 128, "no security claimed");
    CHECK(r, params_log2_qp(q) <= params_max_log2_qp(q->log_n), "log2 QP is %g", params_log2_qp(q));
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        int64_t by = n->op == OP_key_mul ? node_int_or(n, KEY_by, 1) : 1;
        CHECK(r, by >= 1 && by < (int64_t)1 << (q->log_n - 1), "%%%u rotates by %lld", i,
              (long long)by);
    }
}

static void check_level(struct run *r, const struct prog *p)
{
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        double room = 0, data = p->params.scale;
        for (int l = 0; l <= n->type.level; l++)
            room += log2((double)p->params.q[l]);
        CHECK(r, n->type.kind == KIND_NONE || log2(n->type.scale) + 11 <= room,
              "%%%u has scale 2^%g in a modulus of 2^%g", i, log2(n->type.scale), room);
        if (n->op != OP_mul && n->op != OP_output)
            continue;
        for (uint32_t k = 0; k < n->num_args; k++) {
            double s = p->nodes.at[n->args[k]].type.scale;
            CHECK(r, fabs(log2(s / data)) < 0.5, "%%%u takes scale 2^%g", i, log2(s));
        }
    }
}

static void check_keys(struct run *r, const struct prog *p)
{
    for (uint32_t k = 0; k < p->num_keys; k++) {
        bool used = false;
        for (uint32_t i = 0; i < p->nodes.len; i++) {
            const struct node *n = &p->nodes.at[i];
            used = used || (n->op == OP_key_mul && node_int_or(n, KEY_by, 0) == p->keys[k].by &&
                            n->type.level == p->keys[k].level);
        }
        CHECK(r, used, "key %lld is not used at its level %d", (long long)p->keys[k].by,
              p->keys[k].level);
    }
}

static uint64_t words_of(const struct prog *p, const struct type *t)
{
    uint64_t n = (uint64_t)1 << p->params.log_n, q = (uint64_t)t->level + 1,
             all = q + p->params.num_p;
    return t->kind == KIND_CT    ? 2 * q * n
           : t->kind == KIND_CT3 ? 3 * q * n
           : t->kind == KIND_CTX ? 2 * all * n
                                 : (q + p->params.alpha - 1) / p->params.alpha * all * n;
}

/* The verifier has checked that every operand is still in its register. */
static void check_regs(struct run *r, const struct prog *p)
{
    uint64_t *largest = arena_array(r->a, p->num_regs, sizeof *largest);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        bool inside = n->op != OP_pmac && node_attr(n, KEY_group);
        CHECK(r, inside == (n->type.kind != KIND_NONE && n->reg == NONE), "register of %%%u", i);
        if (n->reg == NONE)
            continue;
        uint64_t words = words_of(p, &n->type);
        largest[n->reg] = words > largest[n->reg] ? words : largest[n->reg];
        CHECK(r, words <= p->reg_words[n->reg], "%%%u does not fit in register %u", i, n->reg);
        CHECK(r, n->op != OP_add || n->num_args <= 2, "%%%u is a sum of %u", i, n->num_args);
    }
    for (uint32_t k = 0; k < p->num_regs; k++)
        CHECK(r, p->reg_words[k] == largest[k], "register %u is larger than its values", k);
}

static void check_promise(struct run *r, struct prog *p, const struct prog *before)
{
    if (!strcmp(r->pass, "slot_bsgs"))
        check_slot_bsgs(r, p);
    if (!strcmp(r->pass, "ckks_hoist"))
        check_hoist(r, p);
    if (!strcmp(r->pass, "ckks_params"))
        check_params(r, p);
    if (!strcmp(r->pass, "ckks_level"))
        check_level(r, p);
    if (!strcmp(r->pass, "ckks_fuse")) {
        check_level(r, p);
        CHECK(r, cost_prog(p) <= cost_prog(before), "the program became dearer");
    }
    if (!strcmp(r->pass, "ckks_keys"))
        check_keys(r, p);
    if (!strcmp(r->pass, "ckks_regs"))
        check_regs(r, p);
}

/* ---- one network ---------------------------------------------------------------------------- */

/* The nn half may refuse a network (sizes that it does not support); that is no failure here. */
struct front {
    struct prog *p;
    const struct opts *o;
};

static void run_front(void *ctx)
{
    struct front *f = ctx;
    f->p = pipeline_run(f->p, 0, pass_find("slot_bsgs") - 1, f->o, NULL, NULL);
}

/* False where the network was refused */
static bool check_net(uint64_t seed, const struct random_net *limits, const struct opts *o)
{
    struct run r = {.a = arena_new(), .seed = seed, .pass = "the nn half"};
    uint32_t first = pass_find("slot_bsgs");
    struct prog *p = random_net(r.a, seed, limits);
    r.outputs = p->model.num_outputs;
    r.image = random_image(r.a, p, seed);
    r.want = arena_array(r.a, r.outputs, sizeof *r.want);
    r.got = arena_array(r.a, r.outputs, sizeof *r.got);
    struct front front = {p, o};
    struct caught refused = ir_catch(run_front, &front);
    CHECK(&r, !refused.bug, "%s", refused.text);
    if (refused.ended)
        return false;
    p = front.p;
    sim_reference(p, r.image, r.want);
    r.size = 1e-3;
    for (uint32_t i = 0; i < r.outputs; i++)
        r.size = fmax(r.size, fabs(r.want[i]));
    for (uint32_t i = first; i < num_passes; i++) {
        r.pass = pass_info[i].name;
        struct str before = text_of(r.a, p);
        struct prog *again = prog_parse(r.a, "dump", before.s, before.len);
        struct prog *old = p;
        p = pipeline_run(p, i, i, o, NULL, NULL);
        again = pipeline_run(again, i, i, o, NULL, NULL);
        struct str one = text_of(r.a, p), two = text_of(r.a, again);
        CHECK(&r, !strcmp(one.s, two.s), "other result from text:\n%s\n%s", one.s, two.s);
        check_values(&r, p);
        check_promise(&r, p, old);
    }
    arena_free(r.a);
    return true;
}

static void check_nets(uint64_t seed, uint32_t trials, const struct random_net *limits,
                       const struct opts *o)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < trials; i++)
        done += check_net(seed + i, limits, o);
    cr_assert(10 * done >= 9 * trials, "only %u of %u networks were compiled", done, trials);
}

Test(ckks_passes, random_networks)
{
    struct random_net limits = {.max_depth = 12};
    check_nets(random_seed(1), random_trials(150), &limits, &(struct opts){0});
}

Test(ckks_passes, random_plain_networks)
{
    struct random_net limits = {
        .plain = true, .max_layers = 12, .max_elements = 600, .max_degree = 4, .max_depth = 12};
    check_nets(random_seed(1000), random_trials(60), &limits, &(struct opts){0});
}

Test(ckks_passes, precisions)
{
    static const uint32_t bits[] = {20, 25, 29, 31, 32, 36, 39, 41, 43, 45};
    uint64_t seed = random_seed(2000);
    uint32_t trials = random_trials(4);
    struct random_net limits = {.max_depth = 8, .max_elements = 300};
    for (uint32_t k = 0; k < sizeof bits / sizeof *bits; k++)
        check_nets(seed, trials, &limits, &(struct opts){.precision = bits[k]});
}
