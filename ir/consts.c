/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <math.h>
#include <string.h>

static const char *dims_text(struct arena *a, const uint32_t *dims, uint32_t rank)
{
    struct type t = {.kind = KIND_CONST, .rank = (uint8_t)rank};
    memcpy(t.dims, dims, rank * sizeof *dims);
    struct str s;
    str_init(&s, a);
    type_print(&t, &s);
    return s.s + strlen("const ");
}

/* "[3,0,1,2]" of flat element i */
static const char *index_text(struct arena *a, const struct type *t, uint64_t i)
{
    uint32_t at[4];
    for (uint32_t d = t->rank; d-- > 0; i /= t->dims[d]) {
        at[d] = (uint32_t)(i % t->dims[d]);
    }
    return dims_text(a, at, t->rank);
}

static const char *str_attr(const struct node *n, enum key k)
{
    return node_attr(n, k)->v.str;
}

static struct weights *opened(struct prog *p, struct loc loc)
{
    if (!p->weights) {
        const char *why;
        if (!*p->weights_path) {
            diag_fatal(loc, "the model names no weights file");
        }
        if (!weights_open(p->memo, p->weights_path, &p->weights, &why)) {
            diag_fatal(loc, "cannot read weights '%s': %s", p->weights_path, why);
        }
    }
    return p->weights;
}

static const struct weights_tensor *find_tensor(struct prog *p, const struct node *n)
{
    const struct weights *w = opened(p, n->loc);
    const char *name = str_attr(n, KEY_file_tensor);
    const struct weights_tensor *t = weights_find(w, name);
    if (t) {
        return t;
    }
    const char **names = arena_array(p->memo, (size_t)weights_count(w) + 1, sizeof *names);
    for (uint32_t i = 0; i < weights_count(w); i++) {
        names[i] = weights_get(w, i)->name;
    }
    diag_error(n->loc, "weight '%s' is not in '%s'", name, p->weights_path);
    const char *near = diag_nearest(name, names);
    if (near) {
        diag_hint(n->loc, "did you mean '%s'?", near);
    }
    diag_check();
    BUG("not reached");
}

static void load_weight(struct prog *p, const struct node *n, double *out)
{
    const struct weights_tensor *t = find_tensor(p, n);
    if (t->dtype == DTYPE_OTHER) {
        diag_fatal(n->loc, "weight '%s' is neither F32, F64, F16 nor BF16", t->name);
    }
    const struct type *want = &n->type;
    bool same = t->rank == want->rank;
    for (uint32_t d = 0; same && d < want->rank; d++) {
        same = t->dims[d] == want->dims[d];
    }
    if (!same) {
        diag_fatal(n->loc, "weight '%s' has shape %s, the model wants %s", t->name,
                   t->rank > 4 ? "of more than 4 axes" : dims_text(p->memo, t->dims, t->rank),
                   dims_text(p->memo, want->dims, want->rank));
    }
    for (uint64_t i = 0; i < t->elements; i++) {
        out[i] = weights_value(t, i);
        if (!isfinite(out[i])) {
            diag_fatal(n->loc, "weight '%s' has %s at %s", t->name,
                       isnan(out[i]) ? "a NaN" : "an infinity", index_text(p->memo, want, i));
        }
    }
}

static double combine(enum op op, double a, double b)
{
    switch (op) {
    case OP_c_add:
        return a + b;
    case OP_c_sub:
        return a - b;
    case OP_c_mul:
        return a * b;
    default:
        return a / b;
    }
}

static void elementwise(const struct node *n, const double *a, const double *b, double *out)
{
    uint64_t elements = type_elements(&n->type);
    int64_t axis = node_int_or(n, KEY_axis, -1);
    uint64_t inner = 1;
    for (uint32_t d = n->type.rank; axis >= 0 && d-- > (uint64_t)axis + 1;) {
        inner *= n->type.dims[d];
    }
    for (uint64_t i = 0; i < elements; i++) {
        uint64_t j = axis < 0 ? i : i / inner % n->type.dims[axis];
        out[i] = combine((enum op)n->op, a[i], b[j]);
    }
}

static void slice(const struct node *n, const struct type *from, const double *a, double *out)
{
    uint64_t axis = (uint64_t)node_int(n, KEY_axis);
    uint64_t first = (uint64_t)node_int(n, KEY_from);
    uint64_t count = (uint64_t)node_int(n, KEY_count);
    uint64_t inner = 1;
    uint64_t outer = 1;
    for (uint32_t d = 0; d < from->rank; d++) {
        *(d < axis ? &outer : &inner) *= d == axis ? 1 : from->dims[d];
    }
    for (uint64_t o = 0; o < outer; o++) {
        memcpy(out + o * count * inner, a + (o * from->dims[axis] + first) * inner,
               count * inner * sizeof *out);
    }
}

static double one(const struct node *n, double x)
{
    switch (n->op) {
    case OP_c_affine:
        return node_real(n, KEY_mul) * x + node_real(n, KEY_add);
    case OP_c_pow:
        return pow(x, node_real(n, KEY_exponent));
    case OP_c_abs:
        return fabs(x);
    case OP_c_sign:
        return (double)((x > 0) - (x < 0));
    default: /* c_reshape */
        return x;
    }
}

static void evaluate(struct prog *p, const struct node *n, double *out)
{
    const double *const *memo = p->const_memo;
    const double *a = n->num_args > 0 ? memo[n->args[0]] : NULL;
    uint64_t elements = type_elements(&n->type);
    switch (n->op) {
    case OP_weight:
        load_weight(p, n, out);
        return;
    case OP_values:
        memcpy(out, node_attr(n, KEY_data)->v.reals, elements * sizeof *out);
        return;
    case OP_fill:
        for (uint64_t i = 0; i < elements; i++) {
            out[i] = node_real(n, KEY_value);
        }
        return;
    case OP_c_add:
    case OP_c_sub:
    case OP_c_mul:
    case OP_c_div:
        elementwise(n, a, memo[n->args[1]], out);
        return;
    case OP_c_slice:
        slice(n, &p->consts.at[n->args[0]].type, a, out);
        return;
    case OP_c_transpose:
        for (uint32_t i = 0; i < n->type.dims[0]; i++) {
            for (uint32_t j = 0; j < n->type.dims[1]; j++) {
                *out++ = a[(uint64_t)j * n->type.dims[0] + i];
            }
        }
        return;
    default:
        for (uint64_t i = 0; i < elements; i++) {
            out[i] = one(n, a[i]);
        }
    }
}

/* Names a weight that n is computed from, for messages. */
static const char *origin(const struct prog *p, const struct node *n)
{
    while (n->num_args > 0) {
        n = &p->consts.at[n->args[n->num_args - 1]];
    }
    return n->op == OP_weight ? str_attr(n, KEY_file_tensor) : op_info[n->op].name;
}

static void check_finite(struct prog *p, uint32_t c, const double *v)
{
    const struct node *n = &p->consts.at[c];
    for (uint64_t i = 0, len = type_elements(&n->type); i < len; i++) {
        if (!isfinite(v[i])) {
            diag_fatal(n->loc, "constant $%u (%s of '%s') has %s at %s", c, op_info[n->op].name,
                       origin(p, n), isnan(v[i]) ? "a NaN" : "an infinity",
                       index_text(p->memo, &n->type, i));
        }
    }
}

const double *const_values(struct prog *p, uint32_t c)
{
    if (c >= p->consts.len) {
        BUG("there is no constant $%u", c);
    }
    if (p->num_const_memo < p->consts.len) {
        const double **grown = arena_array(p->memo, p->consts.len, sizeof *grown);
        arena_copy_(grown, p->const_memo, p->num_const_memo * sizeof *grown);
        p->const_memo = grown;
        p->num_const_memo = p->consts.len;
    }
    if (p->const_memo[c]) {
        return p->const_memo[c];
    }
    /* operands come before their users, so two sweeps do what recursion would, at any depth */
    struct arena *scratch = arena_new();
    bool *needed = arena_array(scratch, (size_t)c + 1, sizeof *needed);
    needed[c] = true;
    for (uint32_t i = c + 1; i-- > 0;) {
        const struct node *n = &p->consts.at[i];
        for (uint32_t j = 0; needed[i] && !p->const_memo[i] && j < n->num_args; j++) {
            needed[n->args[j]] = true;
        }
    }
    for (uint32_t i = 0; i <= c; i++) {
        if (needed[i] && !p->const_memo[i]) {
            const struct node *n = &p->consts.at[i];
            double *v = arena_array(p->memo, type_elements(&n->type), sizeof *v);
            evaluate(p, n, v);
            check_finite(p, i, v);
            p->const_memo[i] = v;
        }
    }
    arena_free(scratch);
    return p->const_memo[c];
}
