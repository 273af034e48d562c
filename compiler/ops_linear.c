/* SPDX-License-Identifier: Apache-2.0 */
/* Builders of the operators that are linear in their input. */
#include "compiler.h"

#include <math.h>
#include <string.h>

/* `bias`, where there is one: false after reporting. */
static bool add_bias(struct front *f, const struct layer *l, struct build *b, uint32_t channels)
{
    const struct weights_tensor *t;
    if (!layer_tensor_plan(f, l, "bias", "bias", TENSOR_OPTIONAL, 1, &channels, 1) ||
        !layer_tensor(f, l, "bias", "bias", TENSOR_OPTIONAL, &t)) {
        return false;
    }
    if (t) {
        if (!layer_tensor_shape(f, l, "bias", t, 1, &channels,
                                "one value for each output channel")) {
            return false;
        }
        build_int(b, KEY_bias, layer_tensor_const(f, l, t));
    }
    return true;
}

/* A key that only repeats what the weight says. */
static bool check_count(struct front *f, const struct layer *l, const char *key, uint32_t found,
                        const char *tensor)
{
    int64_t n = found;
    if (!layer_int(f, l, key, 1, MAX_CHANNELS, &n)) {
        return false;
    }
    if (n != found) {
        layer_error(f, l, layer_place(l, key), "'%s' is %lld, but the weight '%s' has %u", key,
                    (long long)n, tensor, (unsigned)found);
    }
    return n == found;
}

static bool read_groups(struct front *f, const struct layer *l, uint32_t channels, int64_t *groups)
{
    bool ok;
    const struct yaml *y = layer_key(f, l, "groups", &ok);
    *groups = 1;
    if (!y) {
        return ok;
    }
    if (y->kind == YAML_SCALAR && strcmp(y->text, "depthwise") == 0) {
        *groups = channels;
        return true;
    }
    if (!yaml_int(y, 1, MAX_CHANNELS, groups)) {
        layer_error(f, l, y->loc,
                    "'groups' must be a whole number from 1 to %d, or 'depthwise'; found %s",
                    MAX_CHANNELS, yaml_describe(f->a, y));
        return false;
    }
    if (channels % *groups != 0) {
        layer_error(f, l, y->loc, "'groups: %lld' does not divide the %u input channels",
                    (long long)*groups, (unsigned)channels);
        return false;
    }
    return true;
}

/* A weight of the shape that the keys say, for a plan without weights */
static bool plan_conv_weight(struct front *f, const struct layer *l, const struct type *in)
{
    int64_t groups, out = 0, kernel[2] = {0, 0};
    if (!f->inventing) {
        return true;
    }
    if (!read_groups(f, l, in->dims[0], &groups) || !layer_plan_key(f, l, "kernel") ||
        !layer_plan_key(f, l, "out_channels") ||
        !layer_pair(f, l, "kernel", "rows, columns", 1, MAX_WINDOW, kernel) ||
        !layer_int(f, l, "out_channels", 1, MAX_CHANNELS, &out)) {
        return false;
    }
    uint32_t dims[4] = {(uint32_t)out, (uint32_t)(in->dims[0] / groups), (uint32_t)kernel[0],
                        (uint32_t)kernel[1]};
    if ((uint64_t)dims[0] * dims[1] * dims[2] * dims[3] > MAX_ELEMENTS) {
        layer_error(f, l, l->entry->loc, "a weight of %ux%ux%ux%u is too large", (unsigned)dims[0],
                    (unsigned)dims[1], (unsigned)dims[2], (unsigned)dims[3]);
        return false;
    }
    return layer_tensor_plan(f, l, "weight", "weight", TENSOR_REQUIRED, 4, dims,
                             1 / sqrt((double)dims[1] * dims[2] * dims[3]));
}

/* The weight's shape against the input, the groups and what the layer says of it. */
static bool check_conv_weight(struct front *f, const struct layer *l, const struct type *in,
                              const struct weights_tensor *w, int64_t groups)
{
    uint32_t channels = in->dims[0];
    uint32_t want[4] = {0, (uint32_t)(channels / groups), 0, 0};
    if (!layer_tensor_shape(f, l, "weight", w, 4, want,
                            "output channels, input channels / groups, rows, columns")) {
        if (w->rank == 4 && w->dims[1] == 1 && groups == 1 && w->dims[0] % channels == 0) {
            front_hint(f, l->entry->loc, "a depthwise convolution? then add 'groups: depthwise'");
        }
        return false;
    }
    if (w->dims[0] % groups != 0) {
        layer_error(f, l, layer_place(l, "groups"),
                    "'groups: %lld' does not divide the %u output channels of '%s'",
                    (long long)groups, (unsigned)w->dims[0], w->name);
        return false;
    }
    int64_t kernel[2] = {w->dims[2], w->dims[3]};
    if (!layer_pair(f, l, "kernel", "rows, columns", 1, MAX_WINDOW, kernel)) {
        return false;
    }
    if (kernel[0] != w->dims[2] || kernel[1] != w->dims[3]) {
        layer_error(f, l, layer_place(l, "kernel"),
                    "'kernel' is %lldx%lld, but the weight '%s' has %ux%u", (long long)kernel[0],
                    (long long)kernel[1], w->name, (unsigned)w->dims[2], (unsigned)w->dims[3]);
        return false;
    }
    if (w->dims[2] > MAX_WINDOW || w->dims[3] > MAX_WINDOW) {
        layer_error(f, l, layer_place(l, "weight"),
                    "the weight '%s' has a window of %ux%u: more than %d are not accepted", w->name,
                    (unsigned)w->dims[2], (unsigned)w->dims[3], MAX_WINDOW);
        return false;
    }
    return check_count(f, l, "out_channels", w->dims[0], w->name);
}

uint32_t op_conv2d(struct front *f, const struct layer *l, const uint32_t *in)
{
    static const char *const modes[] = {"zeros", "circular", "spiral", NULL};
    const struct type *t = value_type(f, in[0]);
    const struct weights_tensor *w;
    int64_t groups, mode = WRAP_ZEROS;
    struct window win = {.stride = {1, 1}, .dilation = {1, 1}};
    if (!plan_conv_weight(f, l, t) ||
        !layer_tensor(f, l, "weight", "weight", TENSOR_REQUIRED, &w) ||
        !read_groups(f, l, t->dims[0], &groups) || !check_conv_weight(f, l, t, w, groups) ||
        !layer_pair(f, l, "stride", "rows, columns", 1, MAX_WINDOW, win.stride) ||
        !layer_pair(f, l, "dilation", "rows, columns", 1, MAX_WINDOW, win.dilation) ||
        !layer_word(f, l, "padding_mode", modes, &mode)) {
        return NONE;
    }
    win.kernel[0] = w->dims[2];
    win.kernel[1] = w->dims[3];
    win.wrap = (enum wrap)mode;
    struct build b = build_at(f->p, l->entry->loc, l->name);
    if (!layer_padding(f, l, t, &win)) {
        return NONE;
    }
    build_int(&b, KEY_w, layer_tensor_const(f, l, w));
    if (!add_bias(f, l, &b, w->dims[0])) {
        return NONE;
    }
    build_ints(&b, KEY_stride, win.stride, 2);
    build_ints(&b, KEY_pad, win.pad, 4);
    build_ints(&b, KEY_dilation, win.dilation, 2);
    build_int(&b, KEY_groups, groups);
    build_int(&b, KEY_wrap, win.wrap);
    return layer_node(f, l, &b, OP_conv2d, in, 1);
}

static bool plan_linear_weight(struct front *f, const struct layer *l, const struct type *in)
{
    int64_t out = 0;
    if (!f->inventing) {
        return true;
    }
    if (!layer_plan_key(f, l, "out_features") ||
        !layer_int(f, l, "out_features", 1, MAX_CHANNELS, &out)) {
        return false;
    }
    uint32_t dims[2] = {(uint32_t)out, in->dims[0]};
    if ((uint64_t)dims[0] * dims[1] > MAX_ELEMENTS) {
        layer_error(f, l, l->entry->loc, "a weight of %ux%u is too large", (unsigned)dims[0],
                    (unsigned)dims[1]);
        return false;
    }
    return layer_tensor_plan(f, l, "weight", "weight", TENSOR_REQUIRED, 2, dims,
                             1 / sqrt((double)dims[1]));
}

uint32_t op_linear(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct type *t = value_type(f, in[0]);
    const struct weights_tensor *w;
    if (!plan_linear_weight(f, l, t) ||
        !layer_tensor(f, l, "weight", "weight", TENSOR_REQUIRED, &w)) {
        return NONE;
    }
    if (t->dims[1] != 1 || t->dims[2] != 1) {
        layer_error(f, l, l->entry->loc, "wants a flat input, found %s", shape_text(f->a, t));
        front_hint(f, l->entry->loc, "put a layer 'flatten' (or 'global_avg_pool') before it");
        return NONE;
    }
    uint32_t want[2] = {0, t->dims[0]};
    if (!layer_tensor_shape(f, l, "weight", w, 2, want, "output features, input features") ||
        !check_count(f, l, "out_features", w->dims[0], w->name)) {
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    build_int(&b, KEY_w, layer_tensor_const(f, l, w));
    if (!add_bias(f, l, &b, w->dims[0])) {
        return NONE;
    }
    return layer_node(f, l, &b, OP_linear, in, 1);
}

/* One of the four tensors [C]; `otherwise` where it may be missing (`key: false`). */
static bool norm_tensor(struct front *f, const struct layer *l, const char *key, bool optional,
                        double otherwise, uint32_t channels, const struct weights_tensor **t,
                        uint32_t *constant)
{
    /* a variance is positive */
    bool variance = strcmp(key, "running_var") == 0;
    if (!layer_tensor_plan(f, l, key, key, optional ? TENSOR_OPTIONAL : TENSOR_REQUIRED, 1,
                           &channels, variance ? -1 : 1) ||
        !layer_tensor(f, l, key, key,
                      optional && yaml_get(l->entry, key) ? TENSOR_OPTIONAL : TENSOR_REQUIRED, t)) {
        return false;
    }
    if (!*t) {
        *constant = layer_fill_const(f, l, channels, otherwise);
        return true;
    }
    if (!layer_tensor_shape(f, l, key, *t, 1, &channels, "one value for each channel")) {
        return false;
    }
    *constant = layer_tensor_const(f, l, *t);
    return true;
}

uint32_t op_batch_norm(struct front *f, const struct layer *l, const uint32_t *in)
{
    uint32_t channels = value_type(f, in[0])->dims[0];
    const struct weights_tensor *t, *var;
    uint32_t gamma, beta, mean, variance;
    double eps = 1e-5;
    if (!norm_tensor(f, l, "weight", true, 1, channels, &t, &gamma) ||
        !norm_tensor(f, l, "bias", true, 0, channels, &t, &beta) ||
        !norm_tensor(f, l, "running_mean", false, 0, channels, &t, &mean) ||
        !norm_tensor(f, l, "running_var", false, 0, channels, &var, &variance) ||
        !layer_real(f, l, "eps", &eps)) {
        return NONE;
    }
    if (eps < 0) {
        layer_error(f, l, layer_place(l, "eps"), "'eps' is negative");
        return NONE;
    }
    for (uint32_t i = 0; i < channels; i++) {
        double v = weights_value(var, i);
        if (!(v + eps > 0)) {
            layer_error(f, l, layer_place(l, "running_var"),
                        "the variance of channel %u in '%s' is %g: with eps %g it has no square "
                        "root to divide by",
                        (unsigned)i, var->name, v, eps);
            return NONE;
        }
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    build_int(&b, KEY_gamma, gamma);
    build_int(&b, KEY_beta, beta);
    build_int(&b, KEY_mean, mean);
    build_int(&b, KEY_var, variance);
    build_real(&b, KEY_eps, eps);
    return layer_node(f, l, &b, OP_batch_norm, in, 1);
}

uint32_t op_avg_pool(struct front *f, const struct layer *l, const uint32_t *in)
{
    struct window win = {.dilation = {1, 1}, .wrap = WRAP_ZEROS};
    if (!layer_pair(f, l, "kernel", "rows, columns", 1, MAX_WINDOW, win.kernel)) {
        return NONE;
    }
    memcpy(win.stride, win.kernel, sizeof win.stride);
    if (!layer_pair(f, l, "stride", "rows, columns", 1, MAX_WINDOW, win.stride) ||
        !layer_padding(f, l, value_type(f, in[0]), &win)) {
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    build_ints(&b, KEY_kernel, win.kernel, 2);
    build_ints(&b, KEY_stride, win.stride, 2);
    build_ints(&b, KEY_pad, win.pad, 4);
    return layer_node(f, l, &b, OP_avg_pool, in, 1);
}

uint32_t op_global_avg_pool(struct front *f, const struct layer *l, const uint32_t *in)
{
    struct build b = build_at(f->p, l->entry->loc, l->name);
    return layer_node(f, l, &b, OP_global_avg_pool, in, 1);
}

uint32_t op_flatten(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct type *t = value_type(f, in[0]);
    if (!layer_size(f, l, type_elements(t), 1, 1)) {
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    return layer_node(f, l, &b, OP_flatten, in, 1);
}

uint32_t op_add(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct type *first = value_type(f, in[0]);
    for (uint32_t i = 1; i < l->num_inputs; i++) {
        const struct type *t = value_type(f, in[i]);
        if (memcmp(t->dims, first->dims, 3 * sizeof *t->dims) != 0) {
            layer_error(f, l, layer_place(l, "inputs"),
                        "the inputs have different shapes: '%s' is %s, '%s' is %s",
                        f->layers[l->inputs[0]].name, shape_text(f->a, first),
                        f->layers[l->inputs[i]].name, shape_text(f->a, t));
            return NONE;
        }
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    return layer_node(f, l, &b, OP_add, in, l->num_inputs);
}

uint32_t op_concat(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct type *first = value_type(f, in[0]);
    uint64_t channels = first->dims[0];
    for (uint32_t i = 1; i < l->num_inputs; i++) {
        const struct type *t = value_type(f, in[i]);
        channels += t->dims[0];
        if (t->dims[1] != first->dims[1] || t->dims[2] != first->dims[2]) {
            layer_error(f, l, layer_place(l, "inputs"),
                        "the inputs have different rows or columns: '%s' is %s, '%s' is %s",
                        f->layers[l->inputs[0]].name, shape_text(f->a, first),
                        f->layers[l->inputs[i]].name, shape_text(f->a, t));
            return NONE;
        }
    }
    if (!layer_size(f, l, channels, first->dims[1], first->dims[2])) {
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    return layer_node(f, l, &b, OP_concat, in, l->num_inputs);
}

uint32_t op_upsample_nearest(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct type *t = value_type(f, in[0]);
    int64_t factor[2] = {1, 1};
    if (!layer_pair(f, l, "factor", "rows, columns", 1, MAX_WINDOW, factor) ||
        !layer_size(f, l, t->dims[0], (uint64_t)factor[0] * t->dims[1],
                    (uint64_t)factor[1] * t->dims[2])) {
        return NONE;
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    build_ints(&b, KEY_factor, factor, 2);
    return layer_node(f, l, &b, OP_upsample_nearest, in, 1);
}

/* ResNet's shortcut without weights, as a map of its own: a 1x1 window of ones on every channel. */
uint32_t op_subsample(struct front *f, const struct layer *l, const uint32_t *in)
{
    const struct type *t = value_type(f, in[0]);
    int64_t stride[2] = {1, 1}, around[2] = {0, 0};
    if (!layer_pair(f, l, "stride", "rows, columns", 1, MAX_WINDOW, stride) ||
        !layer_pair(f, l, "channels", "before, after", 0, MAX_CHANNELS, around) ||
        !layer_size(f, l, t->dims[0] + (uint64_t)around[0] + (uint64_t)around[1], t->dims[1],
                    t->dims[2])) {
        return NONE;
    }
    if (stride[0] == 1 && stride[1] == 1 && around[0] + around[1] == 0) {
        return in[0];
    }
    struct build b = build_at(f->p, l->entry->loc, l->name);
    int64_t dims[4] = {t->dims[0], 1, 1, 1};
    build_ints(&b, KEY_dims, dims, 4);
    build_real(&b, KEY_value, 1);
    struct lterm term = {
        .in_layout = NONE,
        .in = {t->dims[0], t->dims[1], t->dims[2]},
        .weight = build_node(&b, OP_fill, NULL, 0),
        .out_from = (uint32_t)around[0],
        .groups = t->dims[0],
        .stride = {(uint32_t)stride[0], (uint32_t)stride[1]},
        .dilation = {1, 1},
        .up = {1, 1},
        .wrap = WRAP_ZEROS,
    };
    struct lmap map = {.out_layout = NONE, .num_terms = 1, .term = &term};
    map.out[0] = t->dims[0] + (uint32_t)(around[0] + around[1]);
    map.out[1] = window_size(t->dims[1], 1, term.stride[0], 0, 0, 1);
    map.out[2] = window_size(t->dims[2], 1, term.stride[1], 0, 0, 1);
    build_int(&b, KEY_map, prog_add_map(f->p, &map));
    return layer_node(f, l, &b, OP_map, in, 1);
}
