/* SPDX-License-Identifier: Apache-2.0 */
/* Builders of the activations. */
#include "compiler.h"

uint32_t op_square(struct front *f, const struct layer *l, const uint32_t *in)
{
    struct build b = build_at(f->p, l->entry->loc, l->name);
    uint32_t twice[2] = {in[0], in[0]};
    return layer_node(f, l, &b, OP_mul, twice, 2);
}

static uint32_t inline_coefficients(struct front *f, const struct layer *l)
{
    bool ok;
    const struct yaml *y = layer_key(f, l, "coefficients", &ok);
    if (!ok) {
        return NONE;
    }
    if (y->kind != YAML_LIST || y->len < 2 || y->len > MAX_DEGREE + 1) {
        layer_error(f, l, y->loc,
                    "'coefficients' must be a list of 2 to %d numbers (degree 1 to %d), the "
                    "constant first; found %s",
                    MAX_DEGREE + 1, MAX_DEGREE,
                    y->kind == YAML_LIST ? arena_printf(f->a, "%u", (unsigned)y->len)
                                         : yaml_describe(f->a, y));
        return NONE;
    }
    double c[MAX_DEGREE + 1];
    bool constant = true;
    for (uint32_t i = 0; i < y->len; i++) {
        if (!yaml_real(y->item[i], &c[i])) {
            layer_error(f, l, y->item[i]->loc, "a coefficient must be a finite number, found %s",
                        yaml_describe(f->a, y->item[i]));
            return NONE;
        }
        constant = constant && (i == 0 || c[i] == 0);
    }
    if (constant) {
        layer_error(f, l, y->loc, "the polynomial is constant: it forgets its input");
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    int64_t dims[1] = {y->len};
    build_ints(&b, KEY_dims, dims, 1);
    build_reals(&b, KEY_data, c, y->len);
    return build_node(&b, OP_values, NULL, 0);
}

static uint32_t tensor_coefficients(struct front *f, const struct layer *l, uint32_t channels)
{
    static const char *const orders[] = {"degree", "channel", NULL};
    enum { BY_DEGREE, BY_CHANNEL };
    int64_t order = BY_DEGREE;
    const struct weights_tensor *t;
    int64_t degree = 0;
    uint32_t dims[2] = {0, channels};
    if (!layer_plan_key(f, l, "degree") || !layer_int(f, l, "degree", 1, MAX_DEGREE, &degree)) {
        return NONE;
    }
    dims[0] = (uint32_t)degree + 1;
    if (!layer_word(f, l, "coeff_order", orders, &order)) {
        return NONE;
    }
    if (order == BY_CHANNEL) {
        dims[1] = dims[0];
        dims[0] = channels;
    }
    if (!layer_tensor_plan(f, l, "coeff", "coeff", TENSOR_REQUIRED, 2, dims, 0.5) ||
        !layer_tensor(f, l, "coeff", "coeff", TENSOR_REQUIRED, &t)) {
        return NONE;
    }
    uint32_t want[2] = {0, channels};
    if (order == BY_CHANNEL) {
        want[0] = channels;
        want[1] = 0;
    }
    const char *meaning = order == BY_CHANNEL ? "channels, degree + 1" : "degree + 1, channels";
    if (t->rank != 1 && !layer_tensor_shape(f, l, "coeff", t, 2, want, meaning)) {
        if (order == BY_DEGREE && t->rank == 2 && t->dims[0] == channels) {
            front_hint(f, layer_place(l, "coeff"),
                       "for a tensor [channels, degree + 1] say 'coeff_order: channel'");
        }
        return NONE;
    }
    uint32_t count = t->rank == 2 && order == BY_CHANNEL ? t->dims[1] : t->dims[0];
    if (count < 2 || count > MAX_DEGREE + 1) {
        layer_error(f, l, layer_place(l, "coeff"),
                    "tensor '%s' %s holds %u coefficients: 2 to %d (degree 1 to %d) are accepted",
                    t->name, tensor_shape_text(f->a, t), (unsigned)count, MAX_DEGREE + 1,
                    MAX_DEGREE);
        return NONE;
    }
    if (degree != 0 && count != degree + 1) {
        layer_error(f, l, layer_place(l, "degree"),
                    "'degree' is %d, but the tensor '%s' has %u coefficients", (int)degree, t->name,
                    (unsigned)count);
        return NONE;
    }
    uint32_t c = layer_tensor_const(f, l, t);
    if (t->rank == 2 && order == BY_CHANNEL) {
        struct build b = build_at(f->p, l->entry->loc, l->name);
        c = build1(&b, OP_c_transpose, c);
    }
    return c;
}

uint32_t op_poly(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct yaml *given = yaml_get(l->entry, "coefficients");
    const char *both = yaml_get(l->entry, "coeff")         ? "coeff"
                       : yaml_get(l->entry, "coeff_order") ? "coeff_order"
                       : yaml_get(l->entry, "degree")      ? "degree"
                                                           : NULL;
    if (given && both) {
        layer_error(f, l, layer_place(l, both),
                    "'%s' is for coefficients in the weights file; here 'coefficients' gives them",
                    both);
        return NONE;
    }
    uint32_t c = given ? inline_coefficients(f, l)
                       : tensor_coefficients(f, l, value_type(f, in[0])->dims[0]);
    if (c == NONE) {
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    build_int(&b, KEY_coeff, c);
    return layer_node(f, l, &b, OP_poly, in, 1);
}
