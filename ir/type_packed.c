/* SPDX-License-Identifier: Apache-2.0 */
#include "type.h"

#include <math.h>

/* Types of the packed stages: kinds and numbers of slots at slot and ckks, levels and scales at ckks. */

/* The kind that values have at a stage, before anything special to ckks. */
static enum kind value_kind(enum stage s)
{
    return s == STAGE_NN ? KIND_TENSOR : s == STAGE_SLOT ? KIND_VEC : KIND_CT;
}

/* ---- slot and ckks: slots ------------------------------------------------------------------- */

static const struct layout *layout_attr(const struct type_query *q)
{
    const struct attr *a = type_attr(q, KEY_layout);
    return a ? &q->p->layouts[a->v.i] : NULL;
}

/* The map of lin and pmac must have layouts and a ciphertext number `out`. */
static bool map_attr(const struct type_query *q, const struct lmap **map, uint32_t *total_in)
{
    const struct lmap *m = &q->p->maps[type_int(q, KEY_map)];
    bool laid_out = m->out_layout != NONE;
    for (uint32_t i = 0; i < m->num_terms; i++) {
        laid_out = laid_out && m->term[i].in_layout != NONE;
    }
    if (!laid_out) {
        return TYPE_FAIL(q, "needs a map with layouts, &%lld has none",
                         (long long)type_int(q, KEY_map));
    }
    *map = m;
    *total_in = lmap_first_ct(q->p, m, m->num_terms);
    return type_check_range(q, KEY_out, type_int(q, KEY_out), 0,
                            (int64_t)q->p->layouts[m->out_layout].num_ct - 1);
}

static bool input_slots(const struct type_query *q, uint32_t *n)
{
    const struct layout *l = layout_attr(q);
    const struct attr *part = type_attr(q, KEY_part);
    if (q->p->is_function) {
        *n = 0; /* any: whoever makes the node says it */
        return (!l && !part) || TYPE_FAIL(q, "of a function takes neither part nor layout");
    }
    if (!l || !part) {
        return TYPE_FAIL(q, "needs part and layout at stage %s", stage_name(q->p->stage));
    }
    *n = l->n;
    return type_check_range(q, KEY_part, part->v.i, 0, (int64_t)l->num_ct - 1);
}

static bool output_slots(const struct type_query *q)
{
    const struct layout *l = layout_attr(q);
    if (q->p->is_function) {
        bool form = !l && q->num_args == 1 && type_arg(q, 0)->kind == value_kind(q->p->stage);
        return form || TYPE_FAIL(q, "of a function has one operand and no layout");
    }
    if (!l) {
        return TYPE_FAIL(q, "needs a layout at stage %s", stage_name(q->p->stage));
    }
    if (l->num_ct != q->num_args) {
        return TYPE_FAIL(q, "the layout has %u ciphertexts, found %u operands", l->num_ct,
                         q->num_args);
    }
    for (uint32_t i = 0; i < q->num_args; i++) {
        enum kind want = value_kind(q->p->stage);
        if (type_arg(q, i)->kind != want || type_arg(q, i)->n != l->n) {
            return TYPE_FAIL(q, "wants %s %u, found %s", kind_name(want), l->n,
                             type_text(q, type_arg(q, i)));
        }
    }
    return true;
}

/* Bits of a plaintext scale that is not rescaled away */
static bool keep_attr(const struct type_query *q)
{
    const struct attr *keep = type_attr(q, KEY_keep);
    return !keep || type_check_range(q, KEY_keep, keep->v.i, 1, 50);
}

static bool lin_slots(const struct type_query *q, uint32_t *n)
{
    const struct lmap *m;
    uint32_t total;
    if (!map_attr(q, &m, &total) || !keep_attr(q)) {
        return false;
    }
    if (q->num_args != total) {
        return TYPE_FAIL(q, "the map reads %u ciphertexts, found %u operands", total, q->num_args);
    }
    for (uint32_t i = 0, term = 0; i < total; i++) {
        while (i >= lmap_first_ct(q->p, m, term + 1)) {
            term++;
        }
        uint32_t want = q->p->layouts[m->term[term].in_layout].n;
        if (type_arg(q, i)->n != want) {
            return TYPE_FAIL(q, "wants operand %u to be vec %u, found %s", i, want,
                             type_text(q, type_arg(q, i)));
        }
    }
    *n = q->p->layouts[m->out_layout].n;
    return true;
}

static bool pmac_slots(const struct type_query *q, uint32_t *n)
{
    const struct lmap *m;
    uint32_t total;
    if (!map_attr(q, &m, &total) || !keep_attr(q) ||
        !type_check_ints(q, KEY_in, q->num_args, 0, (int64_t)total - 1) ||
        !type_check_ints(q, KEY_baby, q->num_args, INT32_MIN, INT32_MAX) ||
        !type_check_range(q, KEY_giant, type_int(q, KEY_giant), INT32_MIN, INT32_MAX)) {
        return false;
    }
    uint32_t nw = lmap_work_slots(q->p, m);
    int64_t period = type_int(q, KEY_period);
    if (period < 1 || period > nw || (period & (period - 1)) != 0) {
        return TYPE_FAIL(q, "period must be a power of two up to %u, found %lld", nw,
                         (long long)period);
    }
    if (type_attr(q, KEY_pt_scale) && !(type_attr(q, KEY_pt_scale)->v.r > 0)) {
        return TYPE_FAIL(q, "pt_scale must be positive");
    }
    *n = nw > *n ? nw : *n;
    return true;
}

static bool padd_slots(const struct type_query *q, uint32_t *n)
{
    const struct layout *l = layout_attr(q);
    *n = l->n > *n ? l->n : *n;
    return type_check_vector(q, KEY_bias, l->c) &&
           type_check_range(q, KEY_part, type_int(q, KEY_part), 0, (int64_t)l->num_ct - 1);
}

static bool positive(const struct type_query *q, enum key k)
{
    const struct attr *a = type_attr(q, k);
    return !a || a->v.r > 0 || TYPE_FAIL(q, "%s must be positive", key_name(k));
}

static bool comb_factors(const struct type_query *q)
{
    uint32_t found = type_attr(q, KEY_factors)->len;
    if (found != q->num_args) {
        return TYPE_FAIL(q, "needs a factor for each of %u operands, found %u", q->num_args, found);
    }
    return positive(q, KEY_to_scale);
}

static bool mod_raise_slots(const struct type_query *q, uint32_t *n)
{
    int64_t slots = type_int(q, KEY_slots);
    if (slots < *n || slots > MOST_SLOTS || (slots & (slots - 1)) != 0) {
        return TYPE_FAIL(q, "slots must be a power of two from %u to %u, found %lld", *n,
                         MOST_SLOTS, (long long)slots);
    }
    if (q->p->stage == STAGE_CKKS && q->p->params.log_n != 0 &&
        slots != (int64_t)1 << (q->p->params.log_n - 1)) {
        return TYPE_FAIL(q, "slots must be all of a ring of degree 2^%u, found %lld",
                         q->p->params.log_n, (long long)slots);
    }
    const struct attr *to = type_attr(q, KEY_to);
    *n = (uint32_t)slots;
    return positive(q, KEY_modulus) && (!to || type_check_range(q, KEY_to, to->v.i, 0, 1023));
}

/* The function's input and the operand of its output, which it has exactly once (prog_verify) */
static bool callee_type(const struct type_query *q, const struct type **in, const struct type **out)
{
    const struct prog *p = q->p;
    if (p->is_function) {
        return TYPE_FAIL(q, "functions do not call functions");
    }
    int64_t func = type_int(q, KEY_func);
    if (func < 0 || func >= p->num_funcs) {
        return TYPE_FAIL(q, "there is no function %lld", (long long)func);
    }
    const struct nodes *nodes = &p->funcs[func].nodes;
    *in = *out = NULL;
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (n->op == OP_input) {
            *in = &n->type;
        } else if (n->op == OP_output && n->num_args == 1 && n->args[0] < i) {
            *out = &nodes->at[n->args[0]].type;
        }
    }
    return (*in && *out) ||
           TYPE_FAIL(q, "function %lld has no input or no output", (long long)func);
}

/* ---- ckks: kinds, levels, scales ------------------------------------------------------------ */

enum {
    VEC = 1 << KIND_VEC,
    CT = 1 << KIND_CT,
    CT3 = 1 << KIND_CT3,
    CTX = 1 << KIND_CTX,
    DIGITS = 1 << KIND_DIGITS,
    SPARSE = 1 << KIND_SPARSE,
    RAISED = 1 << KIND_RAISED
};

/* The kinds that operand 0 may have; the others must have the same, except those of key_mul. */
static int operand_kinds(enum op op)
{
    switch (op) {
    case OP_add:
    case OP_sub:
    case OP_raise_scale:
    case OP_drop_to:
        return VEC | CT | CT3 | CTX;
    case OP_pmac:
        return VEC | CT | CTX;
    case OP_padd:
    case OP_comb:
    case OP_add_scalar:
    case OP_times_i:
    case OP_relabel:
        return VEC | CT | CT3 | CTX;
    case OP_mod_raise:
        return VEC | SPARSE;
    case OP_raised_mul:
        return RAISED;
    case OP_decompose:
    case OP_rescale:
        return CT | CT3;
    case OP_key_mul:
        return DIGITS;
    case OP_mod_down:
        return CTX;
    case OP_lin:
    case OP_rot:
    case OP_conj:
        return VEC;
    default: /* mul, lift, encapsulate, call, bootstrap, output */
        return VEC | CT;
    }
}

static bool operands_of(const struct type_query *q)
{
    int allowed = operand_kinds(q->op) & (q->p->stage == STAGE_SLOT ? VEC : ~VEC);
    for (uint32_t i = 0; i < q->num_args; i++) {
        const struct type *x = type_arg(q, i);
        if (q->op == OP_key_mul && i == 1) {
            break;
        }
        if (!(allowed & 1 << x->kind)) {
            return TYPE_FAIL(q, "cannot work on %s", type_text(q, x));
        }
        if (x->kind != type_arg(q, 0)->kind) {
            return TYPE_FAIL(q, "wants operands of one kind, found %s and %s",
                             type_text(q, type_arg(q, 0)), type_text(q, x));
        }
    }
    return true;
}

/* Of an op that takes no `by` where it does not rotate */
static bool rotation(const struct type_query *q)
{
    const struct attr *by = type_attr(q, KEY_by);
    if (by && (by->v.i <= INT32_MIN || by->v.i > INT32_MAX || by->v.i == 0)) {
        return TYPE_FAIL(q, "by must be a rotation that is not 0");
    }
    return true;
}

static bool key_mul(const struct type_query *q)
{
    const struct type *x = type_arg(q, 1);
    const struct node *digits = &q->p->nodes.at[q->args[0]];
    const struct attr *conjugate = type_attr(q, KEY_conjugate);
    bool rotates = type_attr(q, KEY_by) != NULL;
    if (conjugate && (rotates || conjugate->v.i != 1)) {
        return TYPE_FAIL(q, "conjugate must be 1, without by");
    }
    enum kind want = rotates || conjugate ? KIND_CT : KIND_CT3;
    if (x->kind != want) {
        return TYPE_FAIL(q, "%s wants %s, found %s",
                         rotates     ? "a rotation (by)"
                         : conjugate ? "conjugation"
                                     : "relinearisation (no by)",
                         kind_name(want), type_text(q, x));
    }
    if (digits->op != OP_decompose || digits->args[0] != q->args[1]) {
        return TYPE_FAIL(q, "its first operand must be the decompose of the second");
    }
    return rotation(q);
}

static bool close_to(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance * fabs(b);
}

/* log2 of the product of the `drop` primes below and at `level`, divided out of `scale`. */
static bool divide(const struct type_query *q, int64_t drop, struct type *t)
{
    const struct params *par = &q->p->params;
    if (drop > t->level || (uint32_t)t->level >= par->num_q) {
        return TYPE_FAIL(q, "cannot drop %lld primes at level %d", (long long)drop, t->level);
    }
    for (int64_t i = 0; i < drop; i++) {
        t->scale /= (double)par->q[t->level--];
    }
    return true;
}

static bool comb_scale(const struct type_query *q, struct type *t)
{
    const struct attr *scale = type_attr(q, KEY_to_scale);
    if (!scale) {
        return TYPE_FAIL(q, "needs to_scale once levels are assigned");
    }
    for (uint32_t i = 0; i < q->num_args; i++) {
        double factor = type_attr(q, KEY_factors)->v.reals[i];
        if (!(fabs(factor) * (scale->v.r / type_arg(q, i)->scale) < 0x1p62)) {
            return TYPE_FAIL(q, "factor %g from scale %.17g to %.17g is no integer below 2^62",
                             factor, type_arg(q, i)->scale, scale->v.r);
        }
    }
    t->scale = scale->v.r;
    return true;
}

static bool mod_raise_level(const struct type_query *q, struct type *t)
{
    const struct params *par = &q->p->params;
    if (!type_attr(q, KEY_to)) {
        return TYPE_FAIL(q, "needs `to` once levels are assigned");
    }
    double modulus = type_attr(q, KEY_modulus)->v.r;
    if (par->num_q > 0 && !close_to(modulus * t->scale, (double)par->q[0], 0x1p-20)) {
        return TYPE_FAIL(q, "modulus %.17g at scale %.17g is not q_0", modulus, t->scale);
    }
    t->level = (int32_t)type_int(q, KEY_to);
    return true;
}

static bool call_level(const struct type_query *q, struct type *t)
{
    const struct type *in, *out;
    if (!callee_type(q, &in, &out)) {
        return false;
    }
    if (in->level != t->level || !close_to(in->scale, t->scale, 0x1p-40)) {
        return TYPE_FAIL(q, "the function wants %s, found %s", type_text(q, in),
                         type_text(q, type_arg(q, 0)));
    }
    t->level = out->level;
    t->scale = out->scale;
    return true;
}

/* Level and scale of the result once all operands have them; t starts as a copy of operand 0. */
static bool infer_level(const struct type_query *q, struct type *t)
{
    for (uint32_t i = 0; i < q->num_args; i++) {
        if (type_arg(q, i)->level < 0) {
            t->level = -1;
            t->scale = 0;
            return true;
        }
    }
    for (uint32_t i = 1; i < q->num_args && q->op != OP_output; i++) {
        const struct type *x = type_arg(q, i);
        if (x->level != t->level) {
            return TYPE_FAIL(q, "operands are at levels %d and %d", t->level, x->level);
        }
        if (q->op != OP_mul && q->op != OP_comb && !close_to(x->scale, t->scale, 0x1p-30)) {
            return TYPE_FAIL(q, "operands have scales %.17g and %.17g", t->scale, x->scale);
        }
    }
    switch (q->op) {
    case OP_mul:
        t->scale *= type_arg(q, 1)->scale;
        return true;
    case OP_pmac:
        if (!type_attr(q, KEY_pt_scale)) {
            return TYPE_FAIL(q, "needs pt_scale once levels are assigned");
        }
        t->scale *= type_attr(q, KEY_pt_scale)->v.r;
        return true;
    case OP_mod_down:
    case OP_rescale:
        return divide(q, type_int(q, KEY_drop), t);
    case OP_drop_to:
        if (type_int(q, KEY_to) > t->level) {
            return TYPE_FAIL(q, "cannot go from level %d up to %lld", t->level,
                             (long long)type_int(q, KEY_to));
        }
        t->level = (int32_t)type_int(q, KEY_to);
        return true;
    case OP_raise_scale:
        t->scale *= (double)type_int(q, KEY_times);
        return true;
    case OP_relabel:
        t->scale /= type_attr(q, KEY_gain)->v.r;
        return true;
    case OP_comb:
        return comb_scale(q, t);
    case OP_encapsulate:
        return t->level == 0 || TYPE_FAIL(q, "wants level 0, found %d", t->level);
    case OP_mod_raise:
        return mod_raise_level(q, t);
    case OP_bootstrap: /* scale: whoever makes the node says it */
        t->level = q->p->params.boot_level != 0 ? (int32_t)q->p->params.boot_level : t->level;
        return true;
    case OP_call:
        return call_level(q, t);
    default:
        return true;
    }
}

static bool call_slots(const struct type_query *q, struct type *t, uint32_t *n)
{
    const struct type *in, *out;
    if (!callee_type(q, &in, &out)) {
        return false;
    }
    if (in->kind != t->kind || in->n != *n) {
        return TYPE_FAIL(q, "the function wants %s, found %s", type_text(q, in),
                         type_text(q, type_arg(q, 0)));
    }
    t->kind = out->kind;
    *n = out->n;
    return true;
}

bool type_infer_packed(const struct type_query *q)
{
    struct type *t = q->out;
    if (!operands_of(q)) {
        return false;
    }
    *t = (struct type){.kind = value_kind(q->p->stage), .layout = NONE, .level = -1};
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->num_args; i++) {
        n = type_arg(q, i)->n > n ? type_arg(q, i)->n : n;
    }
    bool ckks = q->p->stage == STAGE_CKKS;
    bool fits = true;
    if (q->num_args > 0) {
        t->kind = type_arg(q, 0)->kind; /* SAME */
        t->level = type_arg(q, 0)->level;
        t->scale = type_arg(q, 0)->scale;
    }
    switch (q->op) {
    case OP_input:
        fits = input_slots(q, &n);
        break;
    case OP_output:
        fits = output_slots(q);
        n = 0;
        break;
    case OP_mul:
        t->kind = ckks ? KIND_CT3 : KIND_VEC;
        break;
    case OP_lin:
        fits = lin_slots(q, &n);
        break;
    case OP_rot:
        fits = type_check_range(q, KEY_by, type_int(q, KEY_by), INT32_MIN, INT32_MAX);
        break;
    case OP_pmac:
        fits = pmac_slots(q, &n);
        break;
    case OP_padd:
        fits = padd_slots(q, &n);
        break;
    case OP_decompose:
        t->kind = KIND_DIGITS;
        break;
    case OP_key_mul:
        fits = key_mul(q);
        t->kind = KIND_CTX;
        break;
    case OP_lift:
        t->kind = KIND_CTX;
        break;
    case OP_mod_down:
        fits = type_check_range(q, KEY_drop, type_int(q, KEY_drop), 0, 64);
        t->kind = KIND_CT;
        break;
    case OP_rescale:
        fits = type_check_range(q, KEY_drop, type_int(q, KEY_drop), 1, 64);
        break;
    case OP_drop_to:
        fits = type_check_range(q, KEY_to, type_int(q, KEY_to), 0, 1023);
        break;
    case OP_raise_scale:
        fits = type_check_range(q, KEY_times, type_int(q, KEY_times), 1, ((int64_t)1 << 50) - 1);
        break;
    case OP_comb:
        fits = comb_factors(q);
        break;
    case OP_relabel:
        fits = positive(q, KEY_gain);
        break;
    case OP_bootstrap:
        fits = positive(q, KEY_range) &&
               (!type_attr(q, KEY_complex) ||
                type_check_range(q, KEY_complex, type_int(q, KEY_complex), 1, 1));
        break;
    case OP_encapsulate:
        t->kind = KIND_SPARSE;
        break;
    case OP_mod_raise:
        fits = mod_raise_slots(q, &n);
        t->kind = ckks ? KIND_RAISED : KIND_VEC;
        break;
    case OP_raised_mul:
        fits = rotation(q);
        t->kind = KIND_CTX;
        break;
    case OP_call:
        fits = call_slots(q, t, &n);
        break;
    default: /* add, sub, add_scalar, times_i, conj */
        break;
    }
    t->n = n;
    if (!fits || (ckks && !infer_level(q, t))) {
        return false;
    }
    if (q->op == OP_output) {
        *t = (struct type){.kind = KIND_NONE, .layout = NONE, .level = -1};
    }
    return true;
}
