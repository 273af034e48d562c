/* SPDX-License-Identifier: Apache-2.0 */
#include "level.h"

#include <math.h>

/* The last prime, and that of programs that bootstrap. Headroom: sign, |value| <= 2^10, a bit to spare */
enum { Q0_BITS = 50, OUTPUT_HEADROOM = 12 };

uint32_t level_base(double precision, double q0_bits)
{
    return precision + OUTPUT_HEADROOM <= q0_bits ? 1 : 2;
}

struct level_rules level_rules_default(uint32_t precision)
{
    double p = precision ? precision : 27;
    return (struct level_rules){p, p <= 31 ? 50 : p, level_base(p, Q0_BITS), 0};
}

struct level_rules level_rules_of(const struct prog *p)
{
    const struct params *q = &p->params;
    struct level_rules r = level_rules_default((uint32_t)lround(log2(q->scale)));
    if (q->num_q > 1)
        r.prime_bits = round(log2((double)q->q[q->boot_level ? q->boot_level : q->num_q - 1]));
    r.base = level_base(r.precision, round(log2((double)q->q[0])));
    return r;
}

struct cost_ring level_guess_ring(uint32_t slots, uint32_t primes)
{
    uint32_t log_n = 13;
    while (log_n < 17 &&
           ((1u << (log_n - 1)) < slots || params_max_log2_qp(log_n) < 50. * (primes + 1)))
        log_n++;
    double room = params_max_log2_qp(log_n) / 50 - primes, half = (primes + 1) / 2;
    uint32_t special = room < 1 ? 1 : (uint32_t)fmin(room, half);
    return (struct cost_ring){log_n, special, special};
}

void level_required(const struct prog *p, const char *pass)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->params.log_n == 0 ||
            (p->nodes.at[i].type.level < 0 && p->nodes.at[i].type.kind != KIND_NONE))
            diag_fatal(p->nodes.at[i].loc, "%s: the program has no levels: run ckks_level first",
                       pass);
}

void level_refused(const struct prog *p, const char *pass)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].type.level >= 0 || p->nodes.at[i].reg != NONE)
            diag_fatal(p->nodes.at[i].loc, "%s: the program has its levels already", pass);
}

/* ---- phases, forward ------------------------------------------------------------------------ */

/* Bits that a plaintext scale must have at least */
static double least_plain_bits(const struct level_rules *r)
{
    return r->precision <= 31 ? 16 : r->precision - 4;
}

static enum phase used_phase(const struct value_plan *v)
{
    return v->phase == PHASE_WIDE ? PHASE_DATA : v->phase;
}

/* Primes to drop after a product of a plaintext with a value in this phase */
static int plain_primes(const struct level_rules *r, enum phase phase)
{
    double in = phase == PHASE_PRODUCT ? 2 * r->precision : r->precision;
    int k = 1;
    while (k * r->prime_bits + r->precision - in < least_plain_bits(r))
        k++;
    return k;
}

static void phase_of_sum(struct level_plan *l, const struct node *n, struct value_plan *v)
{
    const struct value_plan *first = &l->at[n->args[0]];
    v->phase = first->phase;
    v->pending = first->pending;
    bool mixed = v->force;
    for (uint32_t k = 1; k < n->num_args; k++) {
        const struct value_plan *x = &l->at[n->args[k]];
        mixed = mixed || x->phase != v->phase || x->pending != first->pending;
        v->pending = x->pending > v->pending ? x->pending : v->pending;
    }
    if (!mixed)
        return;
    v->phase = PHASE_WIDE;
    v->pending = v->pending > 1 ? v->pending : 1;
    l->rescales_product = true;
}

void level_phase(struct level_plan *l, const struct prog *p, uint32_t i)
{
    const struct node *n = &p->nodes.at[i];
    struct value_plan *v = &l->at[i];
    v->pending = 0;
    v->phase = PHASE_DATA;
    switch (n->op) {
    case OP_input:
        v->phase = l->input_is_data ? PHASE_DATA : PHASE_PRODUCT;
        v->pending = l->input_is_data ? 0 : 1;
        break;
    case OP_mul:
        v->phase = PHASE_PRODUCT;
        v->pending = 1;
        break;
    case OP_pmac:
        v->phase = node_attr(n, KEY_keep) ? PHASE_PRODUCT : PHASE_WIDE;
        v->pending = 1;
        if (l->canonical || v->phase == PHASE_PRODUCT)
            break;
        for (uint32_t k = 0; k < n->num_args; k++) {
            int primes = plain_primes(&l->rules, used_phase(&l->at[n->args[k]]));
            v->pending = primes > v->pending ? primes : v->pending;
        }
        break;
    case OP_add:
    case OP_sub:
        phase_of_sum(l, n, v);
        break;
    case OP_comb:
        v->phase = PHASE_WIDE;
        v->pending = 1;
        break;
    case OP_padd:
    case OP_add_scalar:
        v->phase = used_phase(&l->at[n->args[0]]);
        v->pending = v->phase == PHASE_DATA ? 0 : l->at[n->args[0]].pending;
        break;
    case OP_output:
    case OP_bootstrap:
    case OP_encapsulate:
    case OP_mod_raise:
    case OP_raised_mul:
        break;
    case OP_mod_down:
        if (node_int(n, KEY_drop) != 0)
            diag_fatal(n->loc, "%%%u drops primes, but the program has no levels yet", i);
        /* fall through */
    case OP_decompose:
    case OP_key_mul:
    case OP_lift:
    case OP_times_i:
        v->phase = l->at[n->args[0]].phase;
        v->pending = l->at[n->args[0]].pending;
        break;
    case OP_relabel:
        if (l->canonical) { /* of a function, whose scales allow for it */
            v->phase = l->at[n->args[0]].phase;
            v->pending = l->at[n->args[0]].pending;
            break;
        }
        /* fall through */
    default:
        diag_fatal(n->loc,
                   "%%%u is a '%s', which ckks_level makes: the program has its levels already", i,
                   op_info[n->op].name);
    }
}

/* ---- levels, backward ----------------------------------------------------------------------- */

static void add_want(const struct prog *p, struct want **list, int level, bool exact)
{
    while (*list && (*list)->level > level)
        list = &(*list)->next;
    if (*list && (*list)->level == level) {
        (*list)->exact = (*list)->exact || exact;
        return;
    }
    struct want *w = arena_alloc(p->arena, sizeof *w);
    *w = (struct want){level, exact, NONE, *list};
    *list = w;
}

static void want_raw(struct level_plan *l, const struct prog *p, uint32_t i, int level, bool exact)
{
    add_want(p, &l->at[i].raw, level, exact);
}

static void want_res(struct level_plan *l, const struct prog *p, uint32_t i, int level, bool exact)
{
    struct value_plan *v = &l->at[i];
    add_want(p, v->pending ? &v->res : &v->raw, level, exact);
}

void level_want(struct level_plan *l, const struct prog *p, uint32_t i, bool res, int level,
                bool exact)
{
    if (res)
        want_res(l, p, i, level, exact);
    else
        want_raw(l, p, i, level, exact);
}

static bool any_exact(const struct want *w)
{
    for (; w; w = w->next)
        if (w->exact)
            return true;
    return false;
}

/* Which version of operand k node i takes when i itself is made as RAW */
static bool takes_res(const struct level_plan *l, const struct prog *p, uint32_t i, uint32_t k)
{
    const struct node *n = &p->nodes.at[i];
    const struct value_plan *v = &l->at[n->args[k]];
    switch (n->op) {
    case OP_mul:
    case OP_comb:
    case OP_output:
    case OP_bootstrap:
    case OP_encapsulate:
        return true;
    case OP_pmac:
    case OP_padd:
    case OP_add_scalar:
        return v->phase == PHASE_WIDE;
    case OP_add:
    case OP_sub:
        return l->at[i].early && l->at[i].early[k];
    default:
        return false;
    }
}

static void want_operands(struct level_plan *l, const struct prog *p, uint32_t i, int level,
                          bool exact, bool as_res)
{
    const struct node *n = &p->nodes.at[i];
    if (n->op == OP_pmac || n->op == OP_comb)
        exact = false; /* plaintext scales take up any difference */
    if ((n->op == OP_add || n->op == OP_sub) && n->num_args > 1)
        exact = true;
    for (uint32_t k = 0; k < n->num_args; k++) {
        if (as_res || takes_res(l, p, i, k))
            want_res(l, p, n->args[k], level, exact);
        else
            want_raw(l, p, n->args[k], level, exact);
    }
}

static bool is_ciphertext(const struct node *n)
{
    return n->type.kind == KIND_CT || n->type.kind == KIND_CT3;
}

/* Whether node n is computed at the level of w, or cut from what was computed at a higher one: digits
 * cannot be cut, extended values cannot be brought to the scale of another level, and a combination is
 * made anew in less time. */
static bool is_made(const struct node *n, enum phase phase, const struct want *first,
                    const struct want *w)
{
    return w == first || n->type.kind == KIND_DIGITS || (n->op == OP_comb && w->exact) ||
           (n->type.kind == KIND_CTX && phase == PHASE_DATA && w->exact);
}

/* A rotation, or a sum with a constant: rescaling may as well come before */
static bool is_transparent(const struct prog *p, const struct node *n)
{
    if (n->op == OP_padd || n->op == OP_add_scalar || n->op == OP_times_i)
        return true;
    if (n->op != OP_mod_down)
        return false;
    const struct node *x = &p->nodes.at[n->args[0]];
    return x->op == OP_key_mul && (node_attr(x, KEY_by) || node_attr(x, KEY_conjugate));
}

static void wanted_above(struct level_plan *l, uint32_t i, int wanted, int available)
{
    if (wanted - available <= l->missing)
        return;
    l->over = i;
    l->missing = wanted - available;
}

/* Ops whose operand or result have a level of their own, whatever is wanted */
static void find_fixed(struct level_plan *l, const struct prog *p, uint32_t i)
{
    const struct node *n = &p->nodes.at[i];
    int wanted = l->at[i].raw ? l->at[i].raw->level : 0;
    switch (n->op) {
    case OP_input:
        l->top = wanted > l->top ? wanted : l->top;
        if (l->input_scale != 0)
            wanted_above(l, i, wanted, l->input_level);
        else if (p->params.boot_level)
            wanted_above(l, i, wanted, (int)p->params.boot_level);
        break;
    case OP_bootstrap:
        l->boot_top = wanted > l->boot_top ? wanted : l->boot_top;
        if (p->params.boot_level)
            wanted_above(l, i, wanted, (int)p->params.boot_level);
        want_res(l, p, n->args[0], 1, true);
        break;
    case OP_encapsulate:
        want_res(l, p, n->args[0], 0, false);
        break;
    case OP_mod_raise:
        wanted_above(l, i, wanted, l->raise_level);
        want_raw(l, p, n->args[0], 0, false);
        break;
    default:
        break;
    }
}

static bool is_fixed(const struct node *n)
{
    return n->op == OP_input || n->op == OP_bootstrap || n->op == OP_encapsulate ||
           n->op == OP_mod_raise;
}

void level_demand(struct level_plan *l, const struct prog *p, uint32_t i)
{
    const struct node *n = &p->nodes.at[i];
    struct value_plan *v = &l->at[i];
    if (n->op == OP_output) {
        want_operands(l, p, i, (int)l->rules.base - 1, true, false);
        return;
    }
    if (is_fixed(n)) {
        if (v->raw)
            find_fixed(l, p, i);
        return;
    }
    v->through = v->res && (!is_ciphertext(n) || (is_transparent(p, n) && !v->raw));
    if (v->through && n->op == OP_pmac)
        diag_fatal(n->loc, "%%%u has to be rescaled, which a plaintext product over QP cannot be",
                   i);
    if (v->through) {
        for (const struct want *w = v->res; w; w = w->next)
            if (is_made(n, PHASE_DATA, v->res, w))
                want_operands(l, p, i, w->level, any_exact(v->res), true);
    } else if (v->res) {
        /* only at its own level does RAW have the scale that rescales to a canonical one */
        int available = v->raw ? v->raw->level - v->pending : -1;
        if (available > v->res->level && any_exact(v->res))
            add_want(p, &v->res, available, true);
        want_raw(l, p, i, v->res->level + v->pending, any_exact(v->res));
    }
    if (v->res && v->phase == PHASE_PRODUCT)
        l->rescales_product = true;
    for (const struct want *w = v->raw; w; w = w->next)
        if (is_made(n, v->phase, v->raw, w))
            want_operands(l, p, i, w->level, any_exact(v->raw), false);
}

/* False where fresh ciphertexts of scale D^2 would have to be rescaled */
static bool plan_with(struct level_plan *l, const struct prog *p, bool input_is_data)
{
    bool rescaled = false;
    l->input_is_data = input_is_data;
    l->top = l->boot_top = l->missing = 0;
    l->over = NONE;
    l->rescales_product = false;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        l->at[i].raw = l->at[i].res = NULL;
        level_phase(l, p, i);
    }
    for (uint32_t i = p->nodes.len; i-- > 0;) {
        level_demand(l, p, i);
        rescaled = rescaled || (p->nodes.at[i].op == OP_input && l->at[i].res);
    }
    return !rescaled;
}

static int highest_level(const struct level_plan *l)
{
    return l->top > l->boot_top ? l->top : l->boot_top;
}

void level_plan(struct level_plan *l, const struct prog *p)
{
    if (!l->at)
        l->at = arena_array(p->arena, p->nodes.len, sizeof *l->at);
    if (l->input_scale != 0) {
        plan_with(l, p, true);
        return;
    }
    bool product = plan_with(l, p, false);
    if (product && l->boot_top == 0)
        return;
    /* what follows a bootstrap may have less room than the input: where DATA needs less, it is that */
    int highest = highest_level(l);
    plan_with(l, p, true);
    if (product && highest <= highest_level(l))
        plan_with(l, p, false);
}

void level_room(struct level_plan *l)
{
    double room = l->rules.precision + 4; /* raise_scale factors of 16 and more */
    if (l->rescales_product && l->rules.prime_bits < room)
        l->rules.prime_bits = fmin(room, 50);
}

int level_of(const struct level_plan *l, uint32_t node)
{
    const struct value_plan *v = &l->at[node];
    return v->raw ? v->raw->level : v->res ? v->res->level : -1;
}

/* ---- exact scales, forward ------------------------------------------------------------------ */

struct apply {
    struct level_plan *plan;
    const struct prog *in;
    struct prog *out;
    const double *data; /* [num_q] canonical scale of DATA */
    bool failed;
};

static double prime(const struct apply *a, int level)
{
    return (double)a->in->params.q[level];
}

static void canonical_scales(struct apply *a)
{
    const struct params *q = &a->in->params;
    int top = q->boot_level ? (int)q->boot_level : a->plan->top;
    double *data = arena_array(a->in->arena, (size_t)top + 1, sizeof *data);
    data[top] = q->scale;
    for (int l = top; l > 0; l--) {
        double d = data[l], ratio = prime(a, l) / d;
        /* With large primes D never grows towards level 0, so that factors stay below 2^50. */
        double times = prime(a, l) > 0x1p49 ? floor(ratio) : round(ratio);
        data[l - 1] = ratio < 8 ? d : d * (times * d / prime(a, l));
    }
    a->data = data;
}

static double wide_scale(const struct apply *a, int level, int pending)
{
    double s = a->data[level - pending];
    for (int k = 0; k < pending; k++)
        s *= prime(a, level - k);
    return s;
}

static const struct type *type_at(const struct apply *a, uint32_t id)
{
    return &a->out->nodes.at[id].type;
}

static bool close_to(double a, double b, double tolerance)
{
    return fabs(a / b - 1) <= tolerance;
}

static uint32_t drop_to(struct apply *a, struct build *b, uint32_t x, int level)
{
    if (type_at(a, x)->level == level)
        return x;
    build_int(b, KEY_to, level);
    return build1(b, OP_drop_to, x);
}

static uint32_t raise_scale(struct build *b, uint32_t x, double times)
{
    if (times == 1)
        return x;
    build_int(b, KEY_times, (int64_t)times);
    return build1(b, OP_raise_scale, x);
}

/* From any scale to DATA, `pending` levels below */
static uint32_t rescale(struct apply *a, struct build *b, uint32_t x, int pending)
{
    const struct type *t = type_at(a, x);
    double times = round(wide_scale(a, t->level, pending) / t->scale);
    x = raise_scale(b, x, fmin(fmax(times, 1), 0x1p50 - 1));
    build_int(b, KEY_drop, pending);
    return build1(b, OP_rescale, x);
}

/* A DATA value at a lower level and its canonical scale */
static uint32_t adjust(struct apply *a, struct build *b, uint32_t x, int level)
{
    if (close_to(type_at(a, x)->scale, a->data[level], 0x1p-40))
        return drop_to(a, b, x, level);
    return rescale(a, b, drop_to(a, b, x, level + 1), 1);
}

static uint32_t fetch(const struct apply *a, uint32_t i, bool res, int level)
{
    const struct value_plan *v = &a->plan->at[i];
    for (const struct want *w = res && v->pending ? v->res : v->raw; w; w = w->next)
        if (w->level == level)
            return w->id;
    BUG("%%%u is not there at level %d", i, level);
}

/* A copy of node n on new operands, with level and scale; n of the type stays. */
static uint32_t emit_copy(struct apply *a, const struct node *n, const uint32_t *args)
{
    struct node copy = *n;
    const char *why;
    if (!type_infer(a->out, (enum op)n->op, args, n->num_args, n->attrs, n->num_attrs, &copy.type,
                    &why))
        BUG("layer '%s': %s: %s", n->layer, op_info[n->op].name, why);
    copy.type.n = n->type.n;
    return prog_copy_node(a->out, &copy, args);
}

/* Operands of one pmac may differ in scale: one product for each scale, and their sum. */
static uint32_t emit_pmac(struct apply *a, uint32_t i, const uint32_t *args, int level)
{
    const struct node *n = &a->in->nodes.at[i];
    struct build b = build_like(a->out, n);
    const struct attr *keep = node_attr(n, KEY_keep);
    double target = keep ? type_at(a, args[0])->scale * exp2((double)keep->v.i)
                         : wide_scale(a, level, a->plan->at[i].pending);
    uint32_t len;
    const int64_t *in = node_ints(n, KEY_in, &len), *baby = node_ints(n, KEY_baby, &len);
    uint32_t *part = arena_array(a->in->arena, len, sizeof *part), parts = 0, left = len;
    uint32_t *x = arena_array(a->in->arena, len, sizeof *x);
    int64_t *x_in = arena_array(a->in->arena, len, sizeof *x_in);
    int64_t *x_baby = arena_array(a->in->arena, len, sizeof *x_baby);
    bool *done = arena_array(a->in->arena, len, sizeof *done);
    while (left > 0) {
        uint32_t count = 0;
        double scale = 0;
        for (uint32_t k = 0; k < len; k++) {
            double s = type_at(a, args[k])->scale;
            if (done[k] || (scale != 0 && !close_to(s, scale, 0x1p-40)))
                continue;
            done[k] = true;
            scale = s;
            x[count] = args[k];
            x_in[count] = in[k];
            x_baby[count++] = baby[k];
        }
        build_int(&b, KEY_map, node_int(n, KEY_map));
        build_int(&b, KEY_out, node_int(n, KEY_out));
        build_int(&b, KEY_giant, node_int(n, KEY_giant));
        build_ints(&b, KEY_in, x_in, count);
        build_ints(&b, KEY_baby, x_baby, count);
        build_int(&b, KEY_period, node_int(n, KEY_period));
        build_real(&b, KEY_pt_scale, target / scale);
        if (keep)
            build_int(&b, KEY_keep, keep->v.i);
        part[parts++] = build_node(&b, OP_pmac, x, count);
        left -= count;
    }
    return parts == 1 ? part[0] : build_node(&b, OP_add, part, parts);
}

/*
 * All operands to one scale near the canonical WIDE one. DATA is 23 bits or more below, so that an
 * integer factor is exact enough; a PRODUCT whose level was cut since is not, and has to be rescaled
 * first: it is marked, and the sum fails.
 */
static bool raise_operands(struct apply *a, uint32_t i, uint32_t *args, int level)
{
    const struct node *n = &a->in->nodes.at[i];
    struct value_plan *v = &a->plan->at[i];
    struct build b = build_like(a->out, n);
    double target = wide_scale(a, level, v->pending);
    for (uint32_t k = 0; k < n->num_args; k++) {
        double most = type_at(a, args[k])->scale * (0x1p50 - 1);
        target = most < target ? most : target;
    }
    bool raised = true;
    for (uint32_t k = 0; k < n->num_args; k++) {
        double s = type_at(a, args[k])->scale, times = fmax(1, round(target / s));
        if (close_to(times * s, target, 0x1p-32)) {
            args[k] = raise_scale(&b, args[k], times);
            continue;
        }
        if (!v->early)
            v->early = arena_array(a->in->arena, n->num_args, sizeof *v->early);
        if (v->early[k])
            BUG("layer '%s': operand %u of %%%u cannot be brought to scale %g", n->layer, k, i,
                target);
        v->early[k] = true;
        raised = false;
    }
    return raised;
}

static uint32_t emit_sum(struct apply *a, uint32_t i, uint32_t *args, int level)
{
    const struct node *n = &a->in->nodes.at[i];
    struct value_plan *v = &a->plan->at[i];
    bool equal = true;
    for (uint32_t k = 1; k < n->num_args; k++)
        equal = equal && close_to(type_at(a, args[k])->scale, type_at(a, args[0])->scale, 0x1p-34);
    if (equal && !v->force)
        return emit_copy(a, n, args);
    if (v->phase == PHASE_WIDE && raise_operands(a, i, args, level))
        return emit_copy(a, n, args);
    v->force = true;
    a->failed = true;
    return NONE;
}

/* A comb has integer factors below 2^62; what is above that is taken before. */
static uint32_t near_scale(struct apply *a, struct build *b, uint32_t x, double factor,
                           double scale)
{
    enum { MOST_BITS = 60, MOST_RAISE = 49 };
    double bits = ceil(log2(fabs(factor) * scale / type_at(a, x)->scale)) - MOST_BITS;
    return bits > 0 ? raise_scale(b, x, exp2(fmin(bits, MOST_RAISE))) : x;
}

static uint32_t emit_comb(struct apply *a, uint32_t i, uint32_t *args, int level)
{
    const struct node *n = &a->in->nodes.at[i];
    struct build b = build_like(a->out, n);
    const struct attr *factors = node_attr(n, KEY_factors);
    double scale = wide_scale(a, level, a->plan->at[i].pending);
    for (uint32_t k = 0; k < n->num_args; k++)
        args[k] = near_scale(a, &b, args[k], factors->v.reals[k], scale);
    build_reals(&b, KEY_factors, factors->v.reals, factors->len);
    build_real(&b, KEY_constant, node_real(n, KEY_constant));
    build_real(&b, KEY_to_scale, scale);
    return build_node(&b, OP_comb, args, n->num_args);
}

static uint32_t emit_mod_raise(struct apply *a, uint32_t i, const uint32_t *args, int level)
{
    const struct node *n = &a->in->nodes.at[i];
    struct build b = build_like(a->out, n);
    build_int(&b, KEY_slots, node_int(n, KEY_slots));
    build_real(&b, KEY_modulus, node_real(n, KEY_modulus));
    build_int(&b, KEY_to, level);
    return build_node(&b, OP_mod_raise, args, 1);
}

static uint32_t emit_bootstrap(struct apply *a, uint32_t i, const uint32_t *args)
{
    struct node n = a->in->nodes.at[i];
    n.type.level = (int32_t)a->in->params.boot_level;
    n.type.scale = a->data[n.type.level];
    return prog_copy_node(a->out, &n, args);
}

/* The level at which node i takes its operands when it is made at `level` */
static int operand_level(const struct node *n, int level)
{
    return n->op == OP_bootstrap ? 1 : n->op == OP_encapsulate || n->op == OP_mod_raise ? 0 : level;
}

static uint32_t emit_op(struct apply *a, uint32_t i, int level, bool as_res)
{
    const struct node *n = &a->in->nodes.at[i];
    uint32_t *args = arena_array(a->in->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++)
        args[k] = fetch(a, n->args[k], as_res || takes_res(a->plan, a->in, i, k),
                        operand_level(n, level));
    if (n->op == OP_bootstrap)
        return emit_bootstrap(a, i, args);
    if (n->op == OP_mod_raise)
        return emit_mod_raise(a, i, args, level);
    if (n->op == OP_comb)
        return emit_comb(a, i, args, level);
    if (n->op == OP_pmac)
        return emit_pmac(a, i, args, level);
    if (n->op == OP_add || n->op == OP_sub)
        return emit_sum(a, i, args, level);
    return emit_copy(a, n, args);
}

/* The client knows one scale for all ciphertexts of the result. */
static void emit_output(struct apply *a, uint32_t i)
{
    uint32_t id = emit_op(a, i, (int)a->plan->rules.base - 1, false);
    const struct node *n = &a->out->nodes.at[id];
    for (uint32_t k = 1; k < n->num_args; k++)
        if (!close_to(type_at(a, n->args[k])->scale, type_at(a, n->args[0])->scale, 0x1p-30))
            BUG("operands 0 and %u of the output have different scales", k);
}

static uint32_t emit_input(struct apply *a, uint32_t i)
{
    const struct level_plan *l = a->plan;
    struct node n = a->in->nodes.at[i];
    bool fixed = l->input_scale != 0;
    double data = a->data[l->top];
    n.type.level = fixed ? l->input_level : l->top;
    n.type.scale = fixed ? l->input_scale : l->input_is_data ? data : data * data;
    return prog_copy_node(a->out, &n, NULL);
}

/* The value at the level of w, from the one that was made last */
static uint32_t derive(struct apply *a, uint32_t i, uint32_t made, enum phase phase,
                       const struct want *w)
{
    const struct node *n = &a->in->nodes.at[i];
    struct build b = build_like(a->out, n);
    bool fit =
        is_ciphertext(n) && phase == PHASE_DATA && w->exact && w->level < type_at(a, made)->level;
    return fit ? adjust(a, &b, made, w->level) : drop_to(a, &b, made, w->level);
}

static void make(struct apply *a, uint32_t i, struct want *wants, bool as_res)
{
    const struct node *n = &a->in->nodes.at[i];
    enum phase phase = as_res ? PHASE_DATA : a->plan->at[i].phase;
    uint32_t made = n->op == OP_input && wants ? emit_input(a, i) : NONE;
    for (struct want *w = wants; w; w = w->next) {
        if (n->op != OP_input && is_made(n, phase, wants, w))
            made = emit_op(a, i, w->level, as_res);
        if (a->failed)
            return;
        w->id = derive(a, i, made, phase, w);
    }
}

/* NULL where a sum would have unequal scales: its at[].force was raised, plan again. */
static struct prog *apply(struct level_plan *l, const struct prog *p)
{
    struct apply a = {l, p, prog_derive(p, STAGE_CKKS), l->canonical, false};
    if (!a.data)
        canonical_scales(&a);
    for (uint32_t i = 0; i < p->nodes.len && !a.failed; i++) {
        const struct node *n = &p->nodes.at[i];
        struct value_plan *v = &l->at[i];
        if (n->op == OP_output) {
            emit_output(&a, i);
            continue;
        }
        make(&a, i, v->raw, false);
        if (a.failed || !v->res)
            continue;
        if (v->through) {
            make(&a, i, v->res, true);
            continue;
        }
        struct build b = build_like(a.out, n);
        int raw_level = v->res->level + v->pending;
        uint32_t res = rescale(&a, &b, fetch(&a, i, false, raw_level), v->pending);
        for (struct want *w = v->res; w; w = w->next)
            w->id = derive(&a, i, res, PHASE_DATA, w);
    }
    return a.failed ? NULL : a.out;
}

struct prog *level_solve(struct level_plan *l, const struct prog *p)
{
    struct prog *out = NULL;
    while (!out) {
        level_plan(l, p);
        if (l->top >= (int)p->params.num_q || l->over != NONE)
            return NULL;
        out = apply(l, p);
    }
    return out;
}
