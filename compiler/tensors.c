/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <math.h>
#include <string.h>

const char *tensor_shape_text(struct arena *a, const struct weights_tensor *t)
{
    if (t->rank > 4) {
        return "[more than 4 axes]";
    }
    struct str s;
    str_init(&s, a);
    str_add(&s, "[");
    for (uint32_t i = 0; i < t->rank; i++) {
        str_addf(&s, "%s%u", i ? ", " : "", (unsigned)t->dims[i]);
    }
    str_add(&s, "]");
    return s.s;
}

/* "[3, 0, 1, 2]" for element i */
static const char *index_text(struct arena *a, const struct weights_tensor *t, uint64_t i)
{
    struct weights_tensor at = *t;
    for (uint32_t axis = t->rank; axis-- > 0;) {
        at.dims[axis] = (uint32_t)(i % t->dims[axis]);
        i /= t->dims[axis];
    }
    return tensor_shape_text(a, &at);
}

static bool check_values(struct front *f, const struct layer *l, struct loc loc,
                         const struct weights_tensor *t)
{
    bool is_new;
    uint64_t *good = map_put(&f->checked, t->name, strlen(t->name), &is_new);
    if (!is_new) {
        return *good != 0;
    }
    if (t->dtype == DTYPE_OTHER) {
        layer_error(f, l, loc,
                    "tensor '%s' is not of a type that is read here (F64, F32, F16, BF16)",
                    t->name);
        return false;
    }
    if (t->rank > 4 || t->elements == 0) {
        layer_error(f, l, loc, "tensor '%s' has the shape %s: %s", t->name,
                    tensor_shape_text(f->a, t),
                    t->rank > 4 ? "at most 4 axes are accepted" : "it holds nothing");
        return false;
    }
    for (uint64_t i = 0; i < t->elements; i++) {
        double v = weights_value(t, i);
        if (!isfinite(v)) {
            layer_error(f, l, loc, "tensor '%s' holds %s at %s", t->name,
                        isnan(v) ? "NaN" : "an infinite value", index_text(f->a, t, i));
            return false;
        }
    }
    *good = 1;
    return true;
}

static void report_missing(struct front *f, const struct layer *l, struct loc loc, const char *name)
{
    if (!f->weights) {
        layer_error(f, l, loc, "needs the tensor '%s', but the model names no weights file", name);
        front_hint(f, loc, "add a line 'weights: FILE.safetensors'");
        return;
    }
    layer_error(f, l, loc, "the weights file has no tensor '%s'", name);
    uint32_t n = weights_count(f->weights);
    const char **names = arena_array(f->a, n + 1, sizeof *names);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = weights_get(f->weights, i)->name;
    }
    const char *near = diag_nearest(name, names);
    if (near) {
        front_hint(f, loc, "did you mean '%s' %s?", near,
                   tensor_shape_text(f->a, weights_find(f->weights, near)));
    } else if (n > 0) {
        front_hint(f, loc, "it has %u tensors; the first is '%s'", (unsigned)n, names[0]);
    }
}

/* What the layer calls the tensor, NULL where it has none; *wanted: a missing one is a mistake. False
 * after reporting. */
static bool tensor_name(struct front *f, const struct layer *l, const char *key, const char *suffix,
                        enum tensor_use use, const char **name, bool *wanted)
{
    bool ok, flag = true;
    const struct yaml *y = layer_key(f, l, key, &ok);
    *wanted = use == TENSOR_REQUIRED || y;
    *name = arena_printf(f->a, "%s.%s", l->name, suffix);
    if (!ok) {
        return false;
    }
    if (y && yaml_bool(y, &flag)) {
        if (!flag && use == TENSOR_REQUIRED) {
            layer_error(f, l, y->loc, "'%s' cannot be left out", key);
            return false;
        }
        if (!flag) {
            *name = NULL;
        }
        return true;
    }
    if (y) {
        *name = scope_text(f, l->scope, y);
    }
    return *name != NULL;
}

bool layer_tensor_plan(struct front *f, const struct layer *l, const char *key, const char *suffix,
                       enum tensor_use use, uint32_t rank, const uint32_t *dims, double most)
{
    const char *name;
    bool wanted;
    if (!f->inventing) {
        return true;
    }
    if (!tensor_name(f, l, key, suffix, use, &name, &wanted)) {
        return false;
    }
    if (name) {
        weights_invent(f->weights, name, (uint8_t)rank, dims, most);
    }
    return true;
}

bool layer_plan_key(struct front *f, const struct layer *l, const char *key)
{
    bool ok;
    if (!f->inventing || layer_key(f, l, key, &ok) || !ok) {
        return true;
    }
    layer_error(f, l, l->entry->loc,
                "the weights file is not there, and without it '%s' is not known", key);
    front_hint(f, l->entry->loc, "a plan is possible without weights when the layer says '%s: ...'",
               key);
    return false;
}

bool layer_tensor(struct front *f, const struct layer *l, const char *key, const char *suffix,
                  enum tensor_use use, const struct weights_tensor **out)
{
    const char *name;
    bool wanted;
    *out = NULL;
    if (!tensor_name(f, l, key, suffix, use, &name, &wanted)) {
        return false;
    }
    if (!name) {
        return true;
    }
    struct loc loc = layer_place(l, key);
    const struct weights_tensor *t = f->weights ? weights_find(f->weights, name) : NULL;
    if (!t) {
        if (wanted) {
            report_missing(f, l, loc, name);
        }
        return !wanted;
    }
    *out = t;
    return check_values(f, l, loc, t);
}

bool layer_tensor_shape(struct front *f, const struct layer *l, const char *key,
                        const struct weights_tensor *t, uint32_t rank, const uint32_t *dims,
                        const char *meaning)
{
    bool fits = t->rank == rank;
    struct str want;
    str_init(&want, f->a);
    for (uint32_t i = 0; i < rank; i++) {
        fits = fits && (dims[i] == 0 || t->dims[i] == dims[i]);
        str_addf(&want, i ? ", " : "[");
        str_addf(&want, dims[i] ? "%u" : "any", (unsigned)dims[i]);
    }
    if (!fits) {
        layer_error(f, l, layer_place(l, key), "tensor '%s' has the shape %s, wanted %s] (%s)",
                    t->name, tensor_shape_text(f->a, t), want.s, meaning);
    }
    return fits;
}

uint32_t layer_tensor_const(struct front *f, const struct layer *l, const struct weights_tensor *t)
{
    struct build b = build_at(f->p, l->entry->loc, l->name);
    int64_t dims[4] = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
    build_str(&b, KEY_file_tensor, intern(f->p, t->name));
    build_ints(&b, KEY_dims, dims, t->rank);
    return build_node(&b, OP_weight, NULL, 0);
}

uint32_t layer_fill_const(struct front *f, const struct layer *l, uint32_t count, double value)
{
    struct build b = build_at(f->p, l->entry->loc, l->name);
    int64_t dims[1] = {count};
    build_ints(&b, KEY_dims, dims, 1);
    build_real(&b, KEY_value, value);
    return build_node(&b, OP_fill, NULL, 0);
}
