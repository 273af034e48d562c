/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <math.h>

/* What one call of type_infer() looks at. */
struct query {
    const struct prog *p;
    enum op op;
    const uint32_t *args;
    uint32_t num_args;
    const struct attr *attrs;
    uint32_t num_attrs;
    struct type *out;
    const char **why;
};

#define FAIL(q, ...) (*(q)->why = arena_printf((q)->p->arena, __VA_ARGS__), false)

uint64_t type_elements(const struct type *t) {
    uint64_t n = 1;
    uint32_t rank = t->kind == KIND_TENSOR ? 3 : t->rank;
    for (uint32_t i = 0; i < rank; i++) {
        n *= t->dims[i];
    }
    return n;
}

uint32_t window_size(uint32_t size, uint32_t k, uint32_t stride, int32_t pad_a, int32_t pad_b, uint32_t dilation) {
    int64_t reach = (int64_t)dilation * ((int64_t)k - 1) + 1;
    int64_t room = (int64_t)size + pad_a + pad_b - reach;
    if (k == 0 || stride == 0 || dilation == 0 || room < 0 || room / stride >= UINT32_MAX) {
        return 0;
    }
    return (uint32_t)(room / stride + 1);
}

/* ---- operands and attributes ---------------------------------------------------------------- */

static const struct type *arg(const struct query *q, uint32_t i) {
    const struct nodes *from = op_info[q->op].is_const ? &q->p->consts : &q->p->nodes;
    return &from->at[q->args[i]].type;
}

static const struct attr *find(const struct query *q, enum key k) {
    for (uint32_t i = 0; i < q->num_attrs; i++) {
        if (q->attrs[i].key == k) {
            return &q->attrs[i];
        }
    }
    return NULL;
}

static int64_t integer(const struct query *q, enum key k) {
    return find(q, k)->v.i; /* required ones are known to be there */
}

static const char *shape(const struct query *q, const struct type *t) {
    struct str s;
    str_init(&s, q->p->arena);
    type_print(t, &s);
    return s.s;
}

static bool check_range(const struct query *q, enum key k, int64_t v, int64_t low, int64_t high) {
    if (v < low || v > high) {
        return FAIL(q, "%s must be from %lld to %lld, found %lld", key_name(k), (long long)low,
                    (long long)high, (long long)v);
    }
    return true;
}

static bool check_ints(const struct query *q, enum key k, uint32_t len, int64_t low, int64_t high) {
    const struct attr *a = find(q, k);
    if (a->len != len) {
        return FAIL(q, "%s must have %u numbers, found %u", key_name(k), len, a->len);
    }
    for (uint32_t i = 0; i < len; i++) {
        if (!check_range(q, k, a->v.ints[i], low, high)) {
            return false;
        }
    }
    return true;
}

/* One attribute against the tables that it points into. */
static bool check_attr(const struct query *q, const struct attr *a) {
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
            return FAIL(q, "%s is not a finite number", key_name(a->key));
        }
        return true;
    case ATTR_REALS:
        for (uint32_t i = 0; i < a->len; i++) {
            if (!isfinite(a->v.reals[i])) {
                return FAIL(q, "%s[%u] is not a finite number", key_name(a->key), i);
            }
        }
        return true;
    case ATTR_INT:
    case ATTR_INTS:
    case ATTR_STR:
        return true;
    }
    if ((uint64_t)a->v.i >= limit) {
        return FAIL(q, "%s names entry %lld, but there are only %llu", key_name(a->key), (long long)a->v.i,
                    (unsigned long long)limit);
    }
    return true;
}

static bool check_attrs(const struct query *q) {
    const struct op_info *info = &op_info[q->op];
    uint32_t seen = 0;
    for (uint32_t i = 0; i < q->num_attrs; i++) {
        const struct attr *a = &q->attrs[i];
        uint32_t pos = 0;
        while (pos < info->num_attrs && info->attr[pos] != a->key) {
            pos++;
        }
        if (pos == info->num_attrs) {
            return FAIL(q, "takes no attribute '%s'", key_name(a->key));
        }
        if (seen & 1u << pos) {
            return FAIL(q, "attribute '%s' is given twice", key_name(a->key));
        }
        seen |= 1u << pos;
        if (!check_attr(q, a)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < info->num_required; i++) {
        if (!(seen & 1u << i)) {
            return FAIL(q, "attribute '%s' is missing", key_name(info->attr[i]));
        }
    }
    return true;
}

/* The kind that values have at a stage, before anything special to ckks. */
static enum kind value_kind(enum stage s) {
    return s == STAGE_NN ? KIND_TENSOR : s == STAGE_SLOT ? KIND_VEC : KIND_CT;
}

static bool check_args(const struct query *q) {
    const struct op_info *info = &op_info[q->op];
    if (!info->is_const && !info->in_stage[q->p->stage]) {
        return FAIL(q, "is no operation of stage %s", stage_name(q->p->stage));
    }
    if (info->operands == MANY ? q->num_args == 0 : q->num_args != info->operands) {
        return FAIL(q, info->operands == MANY ? "needs at least one operand, found %u" : "wants another number of operands than %u",
                    q->num_args);
    }
    uint32_t len = info->is_const ? q->p->consts.len : q->p->nodes.len;
    for (uint32_t i = 0; i < q->num_args; i++) {
        if (q->args[i] >= len) {
            return FAIL(q, "operand %u is not defined before its use", q->args[i]);
        }
        enum kind k = arg(q, i)->kind;
        if (k == KIND_NONE) {
            return FAIL(q, "operand %u has no value", q->args[i]);
        }
    }
    return true;
}

/* ---- constants ------------------------------------------------------------------------------ */

static bool const_shape(const struct query *q, const int64_t *dims, uint32_t rank) {
    struct type *t = q->out;
    if (rank > 4) {
        return FAIL(q, "dims has rank %u, the most is 4", rank);
    }
    t->rank = (uint8_t)rank;
    uint64_t elements = 1;
    for (uint32_t i = 0; i < rank; i++) {
        if (!check_range(q, KEY_dims, dims[i], 1, MOST_CHANNELS)) {
            return false;
        }
        t->dims[i] = (uint32_t)dims[i];
        elements *= t->dims[i]; /* at most 2^28 * 2^24 */
        if (elements > MOST_ELEMENTS) {
            return FAIL(q, "more than %u elements", MOST_ELEMENTS);
        }
    }
    return true;
}

static bool dims_attr(const struct query *q) {
    const struct attr *a = find(q, KEY_dims);
    return const_shape(q, a->v.ints, a->len);
}

static bool same_dims(const struct type *a, const struct type *b) {
    uint32_t rank = a->kind == KIND_TENSOR ? 3 : a->rank;
    bool same = a->kind == b->kind && a->rank == b->rank;
    for (uint32_t i = 0; same && i < rank; i++) {
        same = a->dims[i] == b->dims[i];
    }
    return same;
}

static bool elementwise_const(const struct query *q) {
    const struct type *a = arg(q, 0);
    const struct type *b = arg(q, 1);
    const struct attr *axis = find(q, KEY_axis);
    *q->out = *a;
    if (!axis) {
        return same_dims(a, b) || FAIL(q, "wants two equal shapes, found %s and %s", shape(q, a), shape(q, b));
    }
    if (!check_range(q, KEY_axis, axis->v.i, 0, (int64_t)a->rank - 1)) {
        return false;
    }
    if (b->rank != 1 || b->dims[0] != a->dims[axis->v.i]) {
        return FAIL(q, "wants a second operand of shape [%u] for axis %lld of %s, found %s",
                    a->dims[axis->v.i], (long long)axis->v.i, shape(q, a), shape(q, b));
    }
    return true;
}

static bool slice_const(const struct query *q) {
    const struct type *a = arg(q, 0);
    int64_t axis = integer(q, KEY_axis);
    if (!check_range(q, KEY_axis, axis, 0, (int64_t)a->rank - 1)) {
        return false;
    }
    int64_t size = a->dims[axis];
    if (!check_range(q, KEY_from, integer(q, KEY_from), 0, size - 1) ||
        !check_range(q, KEY_count, integer(q, KEY_count), 1, size - integer(q, KEY_from))) {
        return false;
    }
    *q->out = *a;
    q->out->dims[axis] = (uint32_t)integer(q, KEY_count);
    return true;
}

static bool infer_const(const struct query *q) {
    struct type *t = q->out;
    const struct type *a = q->num_args > 0 ? arg(q, 0) : NULL;
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
        if (find(q, KEY_data)->len != type_elements(t)) {
            return FAIL(q, "%s wants %llu numbers, found %u", shape(q, t), (unsigned long long)type_elements(t),
                        find(q, KEY_data)->len);
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
            return FAIL(q, "%s and %s have different numbers of elements", shape(q, a), shape(q, t));
        }
        return true;
    case OP_c_slice:
        return slice_const(q);
    case OP_c_transpose:
        if (a->rank != 2) {
            return FAIL(q, "wants rank 2, found %s", shape(q, a));
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

static bool tensor(const struct query *q, uint64_t c, uint64_t h, uint64_t w) {
    if (c == 0 || h == 0 || w == 0 || c > MOST_CHANNELS || h > MOST_PIXELS || w > MOST_PIXELS ||
        c * h * w > MOST_ELEMENTS) {
        return FAIL(q, "makes a tensor of impossible size %llux%llux%llu", (unsigned long long)c,
                    (unsigned long long)h, (unsigned long long)w);
    }
    *q->out = (struct type){.kind = KIND_TENSOR, .dims = {(uint32_t)c, (uint32_t)h, (uint32_t)w}, .layout = NONE, .level = -1};
    return true;
}

static const struct type *const_type(const struct query *q, enum key k) {
    const struct attr *a = find(q, k);
    return a ? &q->p->consts.at[a->v.i].type : NULL;
}

/* A constant [c], or absent. */
static bool vector_const(const struct query *q, enum key k, uint32_t c) {
    const struct type *t = const_type(q, k);
    if (t && (t->rank != 1 || t->dims[0] != c)) {
        return FAIL(q, "wants %s of shape [%u], found %s", key_name(k), c, shape(q, t));
    }
    return true;
}

static uint32_t ints_at(const struct query *q, enum key k, uint32_t i) {
    return (uint32_t)find(q, k)->v.ints[i];
}

/* Rows and columns of a sliding window over x; the attributes are checked here. */
static bool window(const struct query *q, const struct type *x, uint32_t kh, uint32_t kw, bool dilated, uint32_t size[2]) {
    if (!check_ints(q, KEY_stride, 2, 1, MOST_PIXELS) || !check_ints(q, KEY_pad, 4, 0, MOST_PIXELS) ||
        (dilated && !check_ints(q, KEY_dilation, 2, 1, MOST_PIXELS))) {
        return false;
    }
    uint32_t k[2] = {kh, kw};
    for (uint32_t i = 0; i < 2; i++) {
        size[i] = window_size(x->dims[1 + i], k[i], ints_at(q, KEY_stride, i), (int32_t)ints_at(q, KEY_pad, 2 * i),
                              (int32_t)ints_at(q, KEY_pad, 2 * i + 1), dilated ? ints_at(q, KEY_dilation, i) : 1);
        if (size[i] == 0) {
            return FAIL(q, "a window of %ux%u does not fit in the padded input %s", kh, kw, shape(q, x));
        }
    }
    return true;
}

static bool conv2d(const struct query *q) {
    const struct type *x = arg(q, 0);
    const struct type *w = const_type(q, KEY_w);
    if (w->rank != 4) {
        return FAIL(q, "wants weights [out][in/groups][height][width], found %s", shape(q, w));
    }
    if (!check_range(q, KEY_groups, integer(q, KEY_groups), 1, x->dims[0])) {
        return false;
    }
    uint32_t groups = (uint32_t)integer(q, KEY_groups);
    if ((uint64_t)groups * w->dims[1] != x->dims[0]) {
        return FAIL(q, "weights %s in %u group%s want %llu input channels, found %s", shape(q, w), groups,
                    groups == 1 ? "" : "s", (unsigned long long)groups * w->dims[1], shape(q, x));
    }
    if (w->dims[0] % groups != 0) {
        return FAIL(q, "%u output channels do not divide into %u groups", w->dims[0], groups);
    }
    uint32_t size[2];
    return vector_const(q, KEY_bias, w->dims[0]) && window(q, x, w->dims[2], w->dims[3], true, size) &&
           tensor(q, w->dims[0], size[0], size[1]);
}

static bool linear(const struct query *q) {
    const struct type *x = arg(q, 0);
    const struct type *w = const_type(q, KEY_w);
    if (w->rank != 2) {
        return FAIL(q, "wants weights [out][in], found %s", shape(q, w));
    }
    if (x->dims[0] != w->dims[1] || x->dims[1] != 1 || x->dims[2] != 1) {
        return FAIL(q, "weights %s want an input of %ux1x1, found %s", shape(q, w), w->dims[1], shape(q, x));
    }
    return vector_const(q, KEY_bias, w->dims[0]) && tensor(q, w->dims[0], 1, 1);
}

static bool poly(const struct query *q) {
    const struct type *x = arg(q, 0);
    const struct type *c = const_type(q, KEY_coeff);
    bool fits = (c->rank == 1 || (c->rank == 2 && c->dims[1] == x->dims[0])) && c->dims[0] >= 2 && c->dims[0] <= 64;
    if (!fits) {
        return FAIL(q, "wants coefficients [degree+1] or [degree+1][%u] of degree 1 to 63, found %s", x->dims[0], shape(q, c));
    }
    return tensor(q, x->dims[0], x->dims[1], x->dims[2]);
}

static bool map_op(const struct query *q) {
    const struct lmap *m = &q->p->maps[integer(q, KEY_map)];
    if (m->num_terms != q->num_args) {
        return FAIL(q, "the map wants %u operands, found %u", m->num_terms, q->num_args);
    }
    for (uint32_t i = 0; i < m->num_terms; i++) {
        const uint32_t *in = m->term[i].in;
        const struct type *x = arg(q, i);
        if (x->dims[0] != in[0] || x->dims[1] != in[1] || x->dims[2] != in[2]) {
            return FAIL(q, "the map wants operand %u to be tensor %ux%ux%u, found %s", i, in[0], in[1], in[2], shape(q, x));
        }
    }
    return vector_const(q, KEY_bias, m->out[0]) && tensor(q, m->out[0], m->out[1], m->out[2]);
}

static bool concat(const struct query *q) {
    uint64_t c = 0;
    const struct type *first = arg(q, 0);
    for (uint32_t i = 0; i < q->num_args; i++) {
        const struct type *x = arg(q, i);
        if (x->dims[1] != first->dims[1] || x->dims[2] != first->dims[2]) {
            return FAIL(q, "wants inputs of equal height and width, found %s and %s", shape(q, first), shape(q, x));
        }
        c += x->dims[0];
    }
    return tensor(q, c, first->dims[1], first->dims[2]);
}

static bool infer_nn(const struct query *q) {
    for (uint32_t i = 0; i < q->num_args; i++) {
        if (arg(q, i)->kind != KIND_TENSOR) {
            return FAIL(q, "wants tensors, found %s", shape(q, arg(q, i)));
        }
    }
    const struct type *x = q->num_args > 0 ? arg(q, 0) : NULL;
    uint32_t size[2];
    switch (q->op) {
    case OP_conv2d:
        return conv2d(q);
    case OP_batch_norm:
        return vector_const(q, KEY_gamma, x->dims[0]) && vector_const(q, KEY_beta, x->dims[0]) &&
               vector_const(q, KEY_mean, x->dims[0]) && vector_const(q, KEY_var, x->dims[0]) &&
               tensor(q, x->dims[0], x->dims[1], x->dims[2]);
    case OP_linear:
        return linear(q);
    case OP_avg_pool:
        return check_ints(q, KEY_kernel, 2, 1, MOST_PIXELS) &&
               window(q, x, ints_at(q, KEY_kernel, 0), ints_at(q, KEY_kernel, 1), false, size) &&
               tensor(q, x->dims[0], size[0], size[1]);
    case OP_global_avg_pool:
        return tensor(q, x->dims[0], 1, 1);
    case OP_upsample_nearest:
        return check_ints(q, KEY_factor, 2, 1, MOST_PIXELS) &&
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
        return vector_const(q, KEY_bias, x->dims[0]) && tensor(q, x->dims[0], x->dims[1], x->dims[2]);
    case OP_input:
        if (q->num_attrs != 0) {
            return FAIL(q, "takes no attributes at stage nn");
        }
        return tensor(q, q->p->model.input[0], q->p->model.input[1], q->p->model.input[2]);
    case OP_output:
        if (q->num_args != 1 || q->num_attrs != 0) {
            return FAIL(q, "at stage nn has one operand and no attributes");
        }
        if (q->p->model.num_outputs != 0 && type_elements(x) != q->p->model.num_outputs) {
            return FAIL(q, "wants %u elements, found %s", q->p->model.num_outputs, shape(q, x));
        }
        *q->out = (struct type){.kind = KIND_NONE, .layout = NONE, .level = -1};
        return true;
    default: /* add, sub, mul */
        for (uint32_t i = 1; i < q->num_args; i++) {
            if (!same_dims(x, arg(q, i))) {
                return FAIL(q, "wants equal shapes, found %s and %s", shape(q, x), shape(q, arg(q, i)));
            }
        }
        return tensor(q, x->dims[0], x->dims[1], x->dims[2]);
    }
}

/* ---- slot and ckks: slots ------------------------------------------------------------------- */

static const struct layout *layout_attr(const struct query *q) {
    const struct attr *a = find(q, KEY_layout);
    return a ? &q->p->layouts[a->v.i] : NULL;
}

/* The map of lin and pmac must have layouts and a ciphertext number `out`. */
static bool map_attr(const struct query *q, const struct lmap **map, uint32_t *total_in) {
    const struct lmap *m = &q->p->maps[integer(q, KEY_map)];
    bool laid_out = m->out_layout != NONE;
    for (uint32_t i = 0; i < m->num_terms; i++) {
        laid_out = laid_out && m->term[i].in_layout != NONE;
    }
    if (!laid_out) {
        return FAIL(q, "needs a map with layouts, &%lld has none", (long long)integer(q, KEY_map));
    }
    *map = m;
    *total_in = lmap_first_ct(q->p, m, m->num_terms);
    return check_range(q, KEY_out, integer(q, KEY_out), 0, (int64_t)q->p->layouts[m->out_layout].num_ct - 1);
}

static bool input_slots(const struct query *q, uint32_t *n) {
    const struct layout *l = layout_attr(q);
    const struct attr *part = find(q, KEY_part);
    if (!l || !part) {
        return FAIL(q, "needs part and layout at stage %s", stage_name(q->p->stage));
    }
    *n = l->n;
    return check_range(q, KEY_part, part->v.i, 0, (int64_t)l->num_ct - 1);
}

static bool output_slots(const struct query *q) {
    const struct layout *l = layout_attr(q);
    if (!l) {
        return FAIL(q, "needs a layout at stage %s", stage_name(q->p->stage));
    }
    if (l->num_ct != q->num_args) {
        return FAIL(q, "the layout has %u ciphertexts, found %u operands", l->num_ct, q->num_args);
    }
    for (uint32_t i = 0; i < q->num_args; i++) {
        enum kind want = value_kind(q->p->stage);
        if (arg(q, i)->kind != want || arg(q, i)->n != l->n) {
            return FAIL(q, "wants %s %u, found %s", kind_name(want), l->n, shape(q, arg(q, i)));
        }
    }
    return true;
}

static bool lin_slots(const struct query *q, uint32_t *n) {
    const struct lmap *m;
    uint32_t total;
    if (!map_attr(q, &m, &total)) {
        return false;
    }
    if (q->num_args != total) {
        return FAIL(q, "the map reads %u ciphertexts, found %u operands", total, q->num_args);
    }
    for (uint32_t i = 0, term = 0; i < total; i++) {
        while (i >= lmap_first_ct(q->p, m, term + 1)) {
            term++;
        }
        uint32_t want = q->p->layouts[m->term[term].in_layout].n;
        if (arg(q, i)->n != want) {
            return FAIL(q, "wants operand %u to be vec %u, found %s", i, want, shape(q, arg(q, i)));
        }
    }
    *n = q->p->layouts[m->out_layout].n;
    return true;
}

static bool pmac_slots(const struct query *q, uint32_t *n) {
    const struct lmap *m;
    uint32_t total;
    if (!map_attr(q, &m, &total) || !check_ints(q, KEY_in, q->num_args, 0, (int64_t)total - 1) ||
        !check_ints(q, KEY_baby, q->num_args, INT32_MIN, INT32_MAX) ||
        !check_range(q, KEY_giant, integer(q, KEY_giant), INT32_MIN, INT32_MAX)) {
        return false;
    }
    uint32_t nw = lmap_work_slots(q->p, m);
    int64_t period = integer(q, KEY_period);
    if (period < 1 || period > nw || (period & (period - 1)) != 0) {
        return FAIL(q, "period must be a power of two up to %u, found %lld", nw, (long long)period);
    }
    if (find(q, KEY_pt_scale) && !(find(q, KEY_pt_scale)->v.r > 0)) {
        return FAIL(q, "pt_scale must be positive");
    }
    *n = nw > *n ? nw : *n;
    return true;
}

static bool padd_slots(const struct query *q, uint32_t *n) {
    const struct layout *l = layout_attr(q);
    *n = l->n > *n ? l->n : *n;
    return vector_const(q, KEY_bias, l->c) && check_range(q, KEY_part, integer(q, KEY_part), 0, (int64_t)l->num_ct - 1);
}

/* ---- ckks: kinds, levels, scales ------------------------------------------------------------ */

enum { VEC = 1 << KIND_VEC, CT = 1 << KIND_CT, CT3 = 1 << KIND_CT3, CTX = 1 << KIND_CTX, DIGITS = 1 << KIND_DIGITS };

/* The kinds that operand 0 may have; the others must have the same, except those of key_mul. */
static int operand_kinds(enum op op) {
    switch (op) {
    case OP_add:
    case OP_sub:
    case OP_raise_scale:
    case OP_drop_to:
        return VEC | CT | CT3 | CTX;
    case OP_pmac:
        return VEC | CT | CTX;
    case OP_padd:
        return VEC | CT | CT3 | CTX;
    case OP_decompose:
    case OP_rescale:
        return CT | CT3;
    case OP_key_mul:
        return DIGITS;
    case OP_mod_down:
        return CTX;
    case OP_lin:
    case OP_rot:
        return VEC;
    default: /* mul, lift, output */
        return VEC | CT;
    }
}

static bool operands_of(const struct query *q) {
    int allowed = operand_kinds(q->op) & (q->p->stage == STAGE_SLOT ? VEC : ~VEC);
    for (uint32_t i = 0; i < q->num_args; i++) {
        const struct type *x = arg(q, i);
        if (q->op == OP_key_mul && i == 1) {
            break;
        }
        if (!(allowed & 1 << x->kind)) {
            return FAIL(q, "cannot work on %s", shape(q, x));
        }
        if (x->kind != arg(q, 0)->kind) {
            return FAIL(q, "wants operands of one kind, found %s and %s", shape(q, arg(q, 0)), shape(q, x));
        }
    }
    return true;
}

static bool key_mul(const struct query *q) {
    const struct type *x = arg(q, 1);
    const struct node *digits = &q->p->nodes.at[q->args[0]];
    bool rotates = find(q, KEY_by) != NULL;
    if (x->kind != (rotates ? KIND_CT : KIND_CT3)) {
        return FAIL(q, "%s wants %s, found %s", rotates ? "a rotation (by)" : "relinearisation (no by)",
                    kind_name(rotates ? KIND_CT : KIND_CT3), shape(q, x));
    }
    if (digits->op != OP_decompose || digits->args[0] != q->args[1]) {
        return FAIL(q, "its first operand must be the decompose of the second");
    }
    if (rotates && (integer(q, KEY_by) <= INT32_MIN || integer(q, KEY_by) > INT32_MAX || integer(q, KEY_by) == 0)) {
        return FAIL(q, "by must be a rotation that is not 0");
    }
    return true;
}

static bool close_to(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance * fabs(b);
}

/* log2 of the product of the `drop` primes below and at `level`, divided out of `scale`. */
static bool divide(const struct query *q, int64_t drop, struct type *t) {
    const struct params *par = &q->p->params;
    if (drop > t->level || (uint32_t)t->level >= par->num_q) {
        return FAIL(q, "cannot drop %lld primes at level %d", (long long)drop, t->level);
    }
    for (int64_t i = 0; i < drop; i++) {
        t->scale /= (double)par->q[t->level--];
    }
    return true;
}

/* Level and scale of the result once all operands have them; t starts as a copy of operand 0. */
static bool infer_level(const struct query *q, struct type *t) {
    for (uint32_t i = 0; i < q->num_args; i++) {
        if (arg(q, i)->level < 0) {
            t->level = -1;
            t->scale = 0;
            return true;
        }
    }
    for (uint32_t i = 1; i < q->num_args && q->op != OP_output; i++) {
        const struct type *x = arg(q, i);
        if (x->level != t->level) {
            return FAIL(q, "operands are at levels %d and %d", t->level, x->level);
        }
        if (q->op != OP_mul && !close_to(x->scale, t->scale, 0x1p-30)) {
            return FAIL(q, "operands have scales %.17g and %.17g", t->scale, x->scale);
        }
    }
    switch (q->op) {
    case OP_mul:
        t->scale *= arg(q, 1)->scale;
        return true;
    case OP_pmac:
        if (!find(q, KEY_pt_scale)) {
            return FAIL(q, "needs pt_scale once levels are assigned");
        }
        t->scale *= find(q, KEY_pt_scale)->v.r;
        return true;
    case OP_mod_down:
    case OP_rescale:
        return divide(q, integer(q, KEY_drop), t);
    case OP_drop_to:
        if (integer(q, KEY_to) > t->level) {
            return FAIL(q, "cannot go from level %d up to %lld", t->level, (long long)integer(q, KEY_to));
        }
        t->level = (int32_t)integer(q, KEY_to);
        return true;
    case OP_raise_scale:
        t->scale *= (double)integer(q, KEY_times);
        return true;
    default:
        return true;
    }
}

static bool infer_packed(const struct query *q) {
    struct type *t = q->out;
    if (!operands_of(q)) {
        return false;
    }
    *t = (struct type){.kind = value_kind(q->p->stage), .layout = NONE, .level = -1};
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->num_args; i++) {
        n = arg(q, i)->n > n ? arg(q, i)->n : n;
    }
    bool ckks = q->p->stage == STAGE_CKKS;
    bool fits = true;
    if (q->num_args > 0) {
        t->kind = arg(q, 0)->kind; /* SAME */
        t->level = arg(q, 0)->level;
        t->scale = arg(q, 0)->scale;
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
        fits = check_range(q, KEY_by, integer(q, KEY_by), INT32_MIN, INT32_MAX);
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
        fits = check_range(q, KEY_drop, integer(q, KEY_drop), 0, 64);
        t->kind = KIND_CT;
        break;
    case OP_rescale:
        fits = check_range(q, KEY_drop, integer(q, KEY_drop), 1, 64);
        break;
    case OP_drop_to:
        fits = check_range(q, KEY_to, integer(q, KEY_to), 0, 1023);
        break;
    case OP_raise_scale:
        fits = check_range(q, KEY_times, integer(q, KEY_times), 1, ((int64_t)1 << 50) - 1);
        break;
    default: /* add, sub */
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

bool type_infer(const struct prog *p, enum op op, const uint32_t *args, uint32_t num_args,
                const struct attr *attrs, uint32_t num_attrs, struct type *out, const char **why) {
    struct query q = {p, op, args, num_args, attrs, num_attrs, out, why};
    *out = (struct type){.layout = NONE, .level = -1};
    if (!check_args(&q) || !check_attrs(&q)) {
        return false;
    }
    if (op_info[op].is_const) {
        return infer_const(&q);
    }
    return p->stage == STAGE_NN ? infer_nn(&q) : infer_packed(&q);
}

bool type_agrees(enum op op, const struct type *inferred, const struct type *found, const char **why) {
    bool n_fits = op == OP_add ? found->n > 0 && found->n <= inferred->n && (found->n & (found->n - 1)) == 0
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
