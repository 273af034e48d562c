/* SPDX-License-Identifier: Apache-2.0 */
#include "type.h"

#include <math.h>

uint64_t type_elements(const struct type *t)
{
    uint64_t n = 1;
    uint32_t rank = t->kind == KIND_TENSOR ? 3 : t->rank;
    for (uint32_t i = 0; i < rank; i++) {
        n *= t->dims[i];
    }
    return n;
}

uint32_t window_size(uint32_t size, uint32_t k, uint32_t stride, int32_t pad_a, int32_t pad_b,
                     uint32_t dilation)
{
    if (k == 0 || stride == 0 || dilation == 0) {
        return 0;
    }
    uint64_t reach = (uint64_t)dilation * (k - 1) + 1; /* below 2^64 */
    int64_t padded = (int64_t)size + pad_a + pad_b;
    if (padded < 0 || (uint64_t)padded < reach) {
        return 0;
    }
    uint64_t steps = ((uint64_t)padded - reach) / stride;
    return steps < UINT32_MAX ? (uint32_t)steps + 1 : 0;
}

/* ---- operands and attributes ---------------------------------------------------------------- */

const struct type *type_arg(const struct type_query *q, uint32_t i)
{
    const struct nodes *from = op_info[q->op].is_const ? &q->p->consts : &q->p->nodes;
    return &from->at[q->args[i]].type;
}

const struct attr *type_attr(const struct type_query *q, enum key k)
{
    for (uint32_t i = 0; i < q->num_attrs; i++) {
        if (q->attrs[i].key == k) {
            return &q->attrs[i];
        }
    }
    return NULL;
}

int64_t type_int(const struct type_query *q, enum key k)
{
    return type_attr(q, k)->v.i; /* required ones are known to be there */
}

const char *type_text(const struct type_query *q, const struct type *t)
{
    struct str s;
    str_init(&s, q->p->arena);
    type_print(t, &s);
    return s.s;
}

bool type_check_range(const struct type_query *q, enum key k, int64_t v, int64_t low, int64_t high)
{
    if (v < low || v > high) {
        return TYPE_FAIL(q, "%s must be from %lld to %lld, found %lld", key_name(k), (long long)low,
                         (long long)high, (long long)v);
    }
    return true;
}

bool type_check_ints(const struct type_query *q, enum key k, uint32_t len, int64_t low,
                     int64_t high)
{
    const struct attr *a = type_attr(q, k);
    if (a->len != len) {
        return TYPE_FAIL(q, "%s must have %u numbers, found %u", key_name(k), len, a->len);
    }
    for (uint32_t i = 0; i < len; i++) {
        if (!type_check_range(q, k, a->v.ints[i], low, high)) {
            return false;
        }
    }
    return true;
}

/* One attribute against the tables that it points into. */
static bool check_attr(const struct type_query *q, const struct attr *a)
{
    const struct prog *p = q->p;
    uint64_t limit = UINT64_MAX;
    switch (key_kind(a->key)) {
    case ATTR_CONST:
        limit = p->consts.len;
        break;
    case ATTR_LAYOUT:
        limit = p->num_layouts;
        break;
    case ATTR_MAP:
        limit = p->num_maps;
        break;
    case ATTR_WRAP:
        limit = NUM_WRAPS;
        break;
    case ATTR_REAL:
        if (!isfinite(a->v.r)) {
            return TYPE_FAIL(q, "%s is not a finite number", key_name(a->key));
        }
        return true;
    case ATTR_REALS:
        for (uint32_t i = 0; i < a->len; i++) {
            if (!isfinite(a->v.reals[i])) {
                return TYPE_FAIL(q, "%s[%u] is not a finite number", key_name(a->key), i);
            }
        }
        return true;
    case ATTR_INT:
    case ATTR_INTS:
    case ATTR_STR:
        return true;
    }
    if ((uint64_t)a->v.i >= limit) {
        return TYPE_FAIL(q, "%s names entry %lld, but there are only %llu", key_name(a->key),
                         (long long)a->v.i, (unsigned long long)limit);
    }
    return true;
}

static bool check_attrs(const struct type_query *q)
{
    const struct op_info *info = &op_info[q->op];
    uint32_t seen = 0;
    for (uint32_t i = 0; i < q->num_attrs; i++) {
        const struct attr *a = &q->attrs[i];
        uint32_t pos = 0;
        while (pos < info->num_attrs && info->attr[pos] != a->key) {
            pos++;
        }
        if (pos == info->num_attrs) {
            return TYPE_FAIL(q, "takes no attribute '%s'", key_name(a->key));
        }
        if (seen & 1u << pos) {
            return TYPE_FAIL(q, "attribute '%s' is given twice", key_name(a->key));
        }
        seen |= 1u << pos;
        if (!check_attr(q, a)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < info->num_required; i++) {
        if (!(seen & 1u << i)) {
            return TYPE_FAIL(q, "attribute '%s' is missing", key_name(info->attr[i]));
        }
    }
    return true;
}

static bool check_args(const struct type_query *q)
{
    const struct op_info *info = &op_info[q->op];
    if (!info->is_const && !info->in_stage[q->p->stage]) {
        return TYPE_FAIL(q, "is no operation of stage %s", stage_name(q->p->stage));
    }
    if (info->operands == MANY ? q->num_args == 0 : q->num_args != info->operands) {
        return TYPE_FAIL(q,
                         info->operands == MANY ? "needs at least one operand, found %u"
                                                : "wants another number of operands than %u",
                         q->num_args);
    }
    uint32_t len = info->is_const ? q->p->consts.len : q->p->nodes.len;
    for (uint32_t i = 0; i < q->num_args; i++) {
        if (q->args[i] >= len) {
            return TYPE_FAIL(q, "operand %u is not defined before its use", q->args[i]);
        }
        enum kind k = type_arg(q, i)->kind;
        if (k == KIND_NONE) {
            return TYPE_FAIL(q, "operand %u has no value", q->args[i]);
        }
    }
    return true;
}

/* ---- constants ------------------------------------------------------------------------------ */

static bool const_shape(const struct type_query *q, const int64_t *dims, uint32_t rank)
{
    struct type *t = q->out;
    if (rank > 4) {
        return TYPE_FAIL(q, "dims has rank %u, the most is 4", rank);
    }
    t->rank = (uint8_t)rank;
    uint64_t elements = 1;
    for (uint32_t i = 0; i < rank; i++) {
        if (!type_check_range(q, KEY_dims, dims[i], 1, MOST_CHANNELS)) {
            return false;
        }
        t->dims[i] = (uint32_t)dims[i];
        elements *= t->dims[i]; /* at most 2^28 * 2^24 */
        if (elements > MOST_ELEMENTS) {
            return TYPE_FAIL(q, "more than %u elements", MOST_ELEMENTS);
        }
    }
    return true;
}

static bool dims_attr(const struct type_query *q)
{
    const struct attr *a = type_attr(q, KEY_dims);
    return const_shape(q, a->v.ints, a->len);
}

static bool same_dims(const struct type *a, const struct type *b)
{
    uint32_t rank = a->kind == KIND_TENSOR ? 3 : a->rank;
    bool same = a->kind == b->kind && a->rank == b->rank;
    for (uint32_t i = 0; same && i < rank; i++) {
        same = a->dims[i] == b->dims[i];
    }
    return same;
}

static bool elementwise_const(const struct type_query *q)
{
    const struct type *a = type_arg(q, 0);
    const struct type *b = type_arg(q, 1);
    const struct attr *axis = type_attr(q, KEY_axis);
    *q->out = *a;
    if (!axis) {
        return same_dims(a, b) || TYPE_FAIL(q, "wants two equal shapes, found %s and %s",
                                            type_text(q, a), type_text(q, b));
    }
    if (!type_check_range(q, KEY_axis, axis->v.i, 0, (int64_t)a->rank - 1)) {
        return false;
    }
    if (b->rank != 1 || b->dims[0] != a->dims[axis->v.i]) {
        return TYPE_FAIL(q, "wants a second operand of shape [%u] for axis %lld of %s, found %s",
                         a->dims[axis->v.i], (long long)axis->v.i, type_text(q, a),
                         type_text(q, b));
    }
    return true;
}

static bool slice_const(const struct type_query *q)
{
    const struct type *a = type_arg(q, 0);
    int64_t axis = type_int(q, KEY_axis);
    if (!type_check_range(q, KEY_axis, axis, 0, (int64_t)a->rank - 1)) {
        return false;
    }
    int64_t size = a->dims[axis];
    if (!type_check_range(q, KEY_from, type_int(q, KEY_from), 0, size - 1) ||
        !type_check_range(q, KEY_count, type_int(q, KEY_count), 1, size - type_int(q, KEY_from))) {
        return false;
    }
    *q->out = *a;
    q->out->dims[axis] = (uint32_t)type_int(q, KEY_count);
    return true;
}

static bool infer_const(const struct type_query *q)
{
    struct type *t = q->out;
    const struct type *a = q->num_args > 0 ? type_arg(q, 0) : NULL;
    t->kind = KIND_CONST;
    switch (q->op) {
    case OP_weight:
        return dims_attr(q);
    case OP_fill:
        return dims_attr(q);
    case OP_values:
        if (!dims_attr(q)) {
            return false;
        }
        if (type_attr(q, KEY_data)->len != type_elements(t)) {
            return TYPE_FAIL(q, "%s wants %llu numbers, found %u", type_text(q, t),
                             (unsigned long long)type_elements(t), type_attr(q, KEY_data)->len);
        }
        return true;
    case OP_c_add:
    case OP_c_sub:
    case OP_c_mul:
    case OP_c_div:
        return elementwise_const(q);
    case OP_c_reshape:
        if (!dims_attr(q)) {
            return false;
        }
        if (type_elements(t) != type_elements(a)) {
            return TYPE_FAIL(q, "%s and %s have different numbers of elements", type_text(q, a),
                             type_text(q, t));
        }
        return true;
    case OP_c_slice:
        return slice_const(q);
    case OP_c_transpose:
        if (a->rank != 2) {
            return TYPE_FAIL(q, "wants rank 2, found %s", type_text(q, a));
        }
        *t = *a;
        t->dims[0] = a->dims[1];
        t->dims[1] = a->dims[0];
        return true;
    default: /* one operand, same shape */
        *t = *a;
        return true;
    }
}

/* ---- nn ------------------------------------------------------------------------------------- */

static bool tensor(const struct type_query *q, uint64_t c, uint64_t h, uint64_t w)
{
    if (c == 0 || h == 0 || w == 0 || c > MOST_CHANNELS || h > MOST_PIXELS || w > MOST_PIXELS ||
        c * h * w > MOST_ELEMENTS) {
        return TYPE_FAIL(q, "makes a tensor of impossible size %llux%llux%llu",
                         (unsigned long long)c, (unsigned long long)h, (unsigned long long)w);
    }
    *q->out = (struct type){.kind = KIND_TENSOR,
                            .dims = {(uint32_t)c, (uint32_t)h, (uint32_t)w},
                            .layout = NONE,
                            .level = -1};
    return true;
}

static const struct type *const_type(const struct type_query *q, enum key k)
{
    const struct attr *a = type_attr(q, k);
    return a ? &q->p->consts.at[a->v.i].type : NULL;
}

/* A constant [c], or absent. */
bool type_check_vector(const struct type_query *q, enum key k, uint32_t c)
{
    const struct type *t = const_type(q, k);
    if (t && (t->rank != 1 || t->dims[0] != c)) {
        return TYPE_FAIL(q, "wants %s of shape [%u], found %s", key_name(k), c, type_text(q, t));
    }
    return true;
}

static uint32_t ints_at(const struct type_query *q, enum key k, uint32_t i)
{
    return (uint32_t)type_attr(q, k)->v.ints[i];
}

/* Rows and columns of a sliding window over x; the attributes are checked here. */
static bool window(const struct type_query *q, const struct type *x, uint32_t kh, uint32_t kw,
                   bool dilated, uint32_t size[2])
{
    if (!type_check_ints(q, KEY_stride, 2, 1, MOST_PIXELS) ||
        !type_check_ints(q, KEY_pad, 4, 0, MOST_PIXELS) ||
        (dilated && !type_check_ints(q, KEY_dilation, 2, 1, MOST_PIXELS))) {
        return false;
    }
    uint32_t k[2] = {kh, kw};
    for (uint32_t i = 0; i < 2; i++) {
        size[i] = window_size(
            x->dims[1 + i], k[i], ints_at(q, KEY_stride, i), (int32_t)ints_at(q, KEY_pad, 2 * i),
            (int32_t)ints_at(q, KEY_pad, 2 * i + 1), dilated ? ints_at(q, KEY_dilation, i) : 1);
        if (size[i] == 0) {
            return TYPE_FAIL(q, "a window of %ux%u does not fit in the padded input %s", kh, kw,
                             type_text(q, x));
        }
    }
    return true;
}

static bool conv2d(const struct type_query *q)
{
    const struct type *x = type_arg(q, 0);
    const struct type *w = const_type(q, KEY_w);
    if (w->rank != 4) {
        return TYPE_FAIL(q, "wants weights [out][in/groups][height][width], found %s",
                         type_text(q, w));
    }
    if (!type_check_range(q, KEY_groups, type_int(q, KEY_groups), 1, x->dims[0])) {
        return false;
    }
    uint32_t groups = (uint32_t)type_int(q, KEY_groups);
    if ((uint64_t)groups * w->dims[1] != x->dims[0]) {
        return TYPE_FAIL(q, "weights %s in %u group%s want %llu input channels, found %s",
                         type_text(q, w), groups, groups == 1 ? "" : "s",
                         (unsigned long long)groups * w->dims[1], type_text(q, x));
    }
    if (w->dims[0] % groups != 0) {
        return TYPE_FAIL(q, "%u output channels do not divide into %u groups", w->dims[0], groups);
    }
    uint32_t size[2];
    return type_check_vector(q, KEY_bias, w->dims[0]) &&
           window(q, x, w->dims[2], w->dims[3], true, size) &&
           tensor(q, w->dims[0], size[0], size[1]);
}

static bool linear(const struct type_query *q)
{
    const struct type *x = type_arg(q, 0);
    const struct type *w = const_type(q, KEY_w);
    if (w->rank != 2) {
        return TYPE_FAIL(q, "wants weights [out][in], found %s", type_text(q, w));
    }
    if (x->dims[0] != w->dims[1] || x->dims[1] != 1 || x->dims[2] != 1) {
        return TYPE_FAIL(q, "weights %s want an input of %ux1x1, found %s", type_text(q, w),
                         w->dims[1], type_text(q, x));
    }
    return type_check_vector(q, KEY_bias, w->dims[0]) && tensor(q, w->dims[0], 1, 1);
}

static bool poly(const struct type_query *q)
{
    const struct type *x = type_arg(q, 0);
    const struct type *c = const_type(q, KEY_coeff);
    bool fits = (c->rank == 1 || (c->rank == 2 && c->dims[1] == x->dims[0])) && c->dims[0] >= 2 &&
                c->dims[0] <= 64;
    if (!fits) {
        return TYPE_FAIL(
            q, "wants coefficients [degree+1] or [degree+1][%u] of degree 1 to 63, found %s",
            x->dims[0], type_text(q, c));
    }
    return tensor(q, x->dims[0], x->dims[1], x->dims[2]);
}

static bool map_op(const struct type_query *q)
{
    const struct lmap *m = &q->p->maps[type_int(q, KEY_map)];
    if (m->dft.first != 0) {
        return TYPE_FAIL(q, "a DFT factor maps packed vectors, not tensors");
    }
    if (m->num_terms != q->num_args) {
        return TYPE_FAIL(q, "the map wants %u operands, found %u", m->num_terms, q->num_args);
    }
    for (uint32_t i = 0; i < m->num_terms; i++) {
        const uint32_t *in = m->term[i].in;
        const struct type *x = type_arg(q, i);
        if (x->dims[0] != in[0] || x->dims[1] != in[1] || x->dims[2] != in[2]) {
            return TYPE_FAIL(q, "the map wants operand %u to be tensor %ux%ux%u, found %s", i,
                             in[0], in[1], in[2], type_text(q, x));
        }
    }
    return type_check_vector(q, KEY_bias, m->out[0]) && tensor(q, m->out[0], m->out[1], m->out[2]);
}

static bool concat(const struct type_query *q)
{
    uint64_t c = 0;
    const struct type *first = type_arg(q, 0);
    for (uint32_t i = 0; i < q->num_args; i++) {
        const struct type *x = type_arg(q, i);
        if (x->dims[1] != first->dims[1] || x->dims[2] != first->dims[2]) {
            return TYPE_FAIL(q, "wants inputs of equal height and width, found %s and %s",
                             type_text(q, first), type_text(q, x));
        }
        c += x->dims[0];
    }
    return tensor(q, c, first->dims[1], first->dims[2]);
}

static bool infer_nn(const struct type_query *q)
{
    for (uint32_t i = 0; i < q->num_args; i++) {
        if (type_arg(q, i)->kind != KIND_TENSOR) {
            return TYPE_FAIL(q, "wants tensors, found %s", type_text(q, type_arg(q, i)));
        }
    }
    const struct type *x = q->num_args > 0 ? type_arg(q, 0) : NULL;
    uint32_t size[2];
    switch (q->op) {
    case OP_conv2d:
        return conv2d(q);
    case OP_batch_norm:
        return type_check_vector(q, KEY_gamma, x->dims[0]) &&
               type_check_vector(q, KEY_beta, x->dims[0]) &&
               type_check_vector(q, KEY_mean, x->dims[0]) &&
               type_check_vector(q, KEY_var, x->dims[0]) &&
               tensor(q, x->dims[0], x->dims[1], x->dims[2]);
    case OP_linear:
        return linear(q);
    case OP_avg_pool:
        return type_check_ints(q, KEY_kernel, 2, 1, MOST_PIXELS) &&
               window(q, x, ints_at(q, KEY_kernel, 0), ints_at(q, KEY_kernel, 1), false, size) &&
               tensor(q, x->dims[0], size[0], size[1]);
    case OP_global_avg_pool:
        return tensor(q, x->dims[0], 1, 1);
    case OP_upsample_nearest:
        return type_check_ints(q, KEY_factor, 2, 1, MOST_PIXELS) &&
               tensor(q, x->dims[0], (uint64_t)x->dims[1] * ints_at(q, KEY_factor, 0),
                      (uint64_t)x->dims[2] * ints_at(q, KEY_factor, 1));
    case OP_flatten:
        return tensor(q, type_elements(x), 1, 1);
    case OP_concat:
        return concat(q);
    case OP_poly:
        return poly(q);
    case OP_map:
        return map_op(q);
    case OP_add_channel:
        return type_check_vector(q, KEY_bias, x->dims[0]) &&
               tensor(q, x->dims[0], x->dims[1], x->dims[2]);
    case OP_input:
        if (q->num_attrs != 0) {
            return TYPE_FAIL(q, "takes no attributes at stage nn");
        }
        return tensor(q, q->p->model.input[0], q->p->model.input[1], q->p->model.input[2]);
    case OP_output:
        if (q->num_args != 1 || q->num_attrs != 0) {
            return TYPE_FAIL(q, "at stage nn has one operand and no attributes");
        }
        if (q->p->model.num_outputs != 0 && type_elements(x) != q->p->model.num_outputs) {
            return TYPE_FAIL(q, "wants %u elements, found %s", q->p->model.num_outputs,
                             type_text(q, x));
        }
        *q->out = (struct type){.kind = KIND_NONE, .layout = NONE, .level = -1};
        return true;
    default: /* add, sub, mul */
        for (uint32_t i = 1; i < q->num_args; i++) {
            if (!same_dims(x, type_arg(q, i))) {
                return TYPE_FAIL(q, "wants equal shapes, found %s and %s", type_text(q, x),
                                 type_text(q, type_arg(q, i)));
            }
        }
        return tensor(q, x->dims[0], x->dims[1], x->dims[2]);
    }
}

bool type_infer(const struct prog *p, enum op op, const uint32_t *args, uint32_t num_args,
                const struct attr *attrs, uint32_t num_attrs, struct type *out, const char **why)
{
    struct type_query q = {p, op, args, num_args, attrs, num_attrs, out, why};
    *out = (struct type){.layout = NONE, .level = -1};
    if (!check_args(&q) || !check_attrs(&q)) {
        return false;
    }
    if (op_info[op].is_const) {
        return infer_const(&q);
    }
    return p->stage == STAGE_NN ? infer_nn(&q) : type_infer_packed(&q);
}

bool type_agrees(enum op op, const struct type *inferred, const struct type *found,
                 const char **why)
{
    bool power = found->n > 0 && (found->n & (found->n - 1)) == 0;
    bool n_fits = op == OP_add ? power && found->n <= inferred->n
                  : op == OP_input && inferred->n == 0
                      ? power && found->n <= MOST_SLOTS /* of a function */
                      : found->n == inferred->n;
    if (inferred->kind != found->kind) {
        *why = "the type's kind is not the one that the operands give";
    } else if (!same_dims(inferred, found)) {
        *why = "the type's shape is not the one that the operands give";
    } else if (inferred->kind > KIND_TENSOR && !n_fits) {
        *why = "the type's number of slots is not the one that the operands give";
    } else {
        return true;
    }
    return false;
}
