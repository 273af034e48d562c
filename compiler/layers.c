/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <string.h>
#include <strings.h>

const struct layer_op layer_ops[] = {
    {"conv2d",
     "convolution with the weight [out, in/groups, rows, columns]",
     1,
     1,
     {NULL},
     {"weight", "bias", "kernel", "out_channels", "stride", "padding", "padding_mode", "dilation",
      "groups"},
     op_conv2d},
    {"linear",
     "fully connected, with the weight [out, in]",
     1,
     1,
     {NULL},
     {"weight", "bias", "out_features"},
     op_linear},
    {"batch_norm",
     "batch normalisation with the running statistics",
     1,
     1,
     {NULL},
     {"weight", "bias", "running_mean", "running_var", "eps"},
     op_batch_norm},
    {"avg_pool",
     "mean over a window; padding counts as zeros",
     1,
     1,
     {"kernel"},
     {"kernel", "stride", "padding"},
     op_avg_pool},
    {"global_avg_pool", "mean of every channel", 1, 1, {NULL}, {NULL}, op_global_avg_pool},
    {"add", "sum of inputs of one shape", 2, MANY_INPUTS, {NULL}, {NULL}, op_add},
    {"concat",
     "channels of all inputs, one after the other",
     2,
     MANY_INPUTS,
     {NULL},
     {NULL},
     op_concat},
    {"flatten",
     "channel by channel, row by row, into channels of one pixel",
     1,
     1,
     {NULL},
     {NULL},
     op_flatten},
    {"upsample_nearest",
     "every pixel `factor` times in rows and columns",
     1,
     1,
     {"factor"},
     {"factor"},
     op_upsample_nearest},
    {"subsample",
     "every stride-th pixel, with channels of zeros before and after",
     1,
     1,
     {NULL},
     {"stride", "channels"},
     op_subsample},
    {"square", "x^2", 1, 1, {NULL}, {NULL}, op_square},
    {"poly",
     "polynomial of degree 1 to 8, the same or one for each channel",
     1,
     1,
     {NULL},
     {"coefficients", "coeff", "coeff_order", "degree"},
     op_poly},
};
const uint32_t num_layer_ops = sizeof layer_ops / sizeof *layer_ops;

/* Keys of every layer; `block` and its companions are read in blocks.c. */
static const char *const common_keys[] = {"name", "op", "inputs", "when"};

const struct layer_op *layer_op_find(const char *name)
{
    for (uint32_t i = 0; i < num_layer_ops; i++) {
        if (strcmp(layer_ops[i].name, name) == 0) {
            return &layer_ops[i];
        }
    }
    return NULL;
}

/* What a user who writes that name (in any case) should write instead. */
static const struct {
    const char *name, *hint;
} instead[] = {
#define APPROXIMATE                                                                                \
    "not computable under encryption as it is: retrain with 'square', or fit a polynomial and "    \
    "use 'poly'"
    {"relu", APPROXIMATE},
    {"relu6", APPROXIMATE},
    {"leaky_relu", APPROXIMATE},
    {"leakyrelu", APPROXIMATE},
    {"prelu", APPROXIMATE},
    {"elu", APPROXIMATE},
    {"gelu", APPROXIMATE},
    {"silu", APPROXIMATE},
    {"swish", APPROXIMATE},
    {"mish", APPROXIMATE},
    {"hardswish", APPROXIMATE},
    {"hard_swish", APPROXIMATE},
    {"sigmoid", APPROXIMATE},
    {"hardsigmoid", APPROXIMATE},
    {"tanh", APPROXIMATE},
    {"softplus", APPROXIMATE},
    {"exp", APPROXIMATE},
    {"abs", APPROXIMATE},
    {"max_pool",
     "a maximum is not computable under encryption as it is: retrain with 'avg_pool' or a stride"},
    {"maxpool",
     "a maximum is not computable under encryption as it is: retrain with 'avg_pool' or a stride"},
    {"maxpool2d",
     "a maximum is not computable under encryption as it is: retrain with 'avg_pool' or a stride"},
    {"max_pool2d",
     "a maximum is not computable under encryption as it is: retrain with 'avg_pool' or a stride"},
    {"softmax", "leave it out: the largest logit is the largest probability, and the client can "
                "compute the rest"},
    {"log_softmax", "leave it out: the client can compute it from the logits"},
    {"argmax", "leave it out: the client takes the largest of the decrypted values"},
    {"dropout", "leave it out: it does nothing in inference"},
    {"identity", "leave it out, or use 'when: false'"},
    {"layer_norm", "it divides by a statistic of the encrypted values: retrain with 'batch_norm'"},
    {"layernorm", "it divides by a statistic of the encrypted values: retrain with 'batch_norm'"},
    {"group_norm", "it divides by a statistic of the encrypted values: retrain with 'batch_norm'"},
    {"groupnorm", "it divides by a statistic of the encrypted values: retrain with 'batch_norm'"},
    {"instance_norm",
     "it divides by a statistic of the encrypted values: retrain with 'batch_norm'"},
    {"conv", "did you mean 'conv2d'?"},
    {"convolution", "did you mean 'conv2d'?"},
    {"depthwise_conv2d", "use 'conv2d' with 'groups: depthwise'"},
    {"dense", "did you mean 'linear'?"},
    {"fc", "did you mean 'linear'?"},
    {"gemm", "did you mean 'linear'?"},
    {"batchnorm", "did you mean 'batch_norm'?"},
    {"batchnorm2d", "did you mean 'batch_norm'?"},
    {"avgpool2d", "did you mean 'avg_pool'?"},
    {"adaptive_avg_pool2d", "did you mean 'global_avg_pool'?"},
    {"adaptiveavgpool2d", "did you mean 'global_avg_pool'?"},
    {"upsample", "did you mean 'upsample_nearest'?"},
    {"interpolate", "did you mean 'upsample_nearest'?"},
    {"cat", "did you mean 'concat'?"},
    {"polynomial", "did you mean 'poly'?"},
#undef APPROXIMATE
};

static void hint_operator(struct front *f, struct loc loc, const char *name)
{
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++) {
        if (strcasecmp(name, instead[i].name) == 0) {
            front_hint(f, loc, "%s", instead[i].hint);
            return;
        }
    }
    const char **names = arena_array(f->a, num_layer_ops + 1, sizeof *names);
    struct str list;
    str_init(&list, f->a);
    for (uint32_t i = 0; i < num_layer_ops; i++) {
        names[i] = layer_ops[i].name;
        str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = diag_nearest(name, names);
    if (near) {
        front_hint(f, loc, "did you mean '%s'?", near);
    } else {
        front_hint(f, loc, "the operators are %s", list.s);
    }
}

static void check_layer_keys(struct front *f, const struct yaml *entry, const struct layer_op *op,
                             const char *name)
{
    enum { COMMON = sizeof common_keys / sizeof *common_keys };
    const char *known[COMMON + MAX_LAYER_KEYS + 1] = {NULL};
    memcpy(known, common_keys, sizeof common_keys);
    memcpy(known + COMMON, op->keys, sizeof op->keys);
    front_check_keys(f, entry, op->name, known);
    for (size_t i = 0; i < sizeof op->required / sizeof *op->required && op->required[i]; i++) {
        if (!yaml_get(entry, op->required[i])) {
            front_error(f, entry->loc, "%s '%s' needs the key '%s'", op->name, name,
                        op->required[i]);
        }
    }
}

const struct layer_op *layer_op_of(struct front *f, const struct yaml *entry, const struct scope *s,
                                   const char *name)
{
    const struct yaml *y = yaml_get(entry, "op");
    if (!y) {
        front_error(f, entry->loc, "layer '%s' has no 'op'", name);
        front_hint(f, entry->loc, "every layer has an operator, or names a block");
        return NULL;
    }
    const char *text = scope_text(f, s, y);
    if (!text) {
        return NULL;
    }
    const struct layer_op *op = layer_op_find(text);
    if (op) {
        check_layer_keys(f, entry, op, name);
    } else {
        front_error(f, y->loc, "unsupported operator %s in layer '%s'",
                    yaml_describe(f->a, scope_value(f, s, y)), name);
        hint_operator(f, y->loc, text);
    }
    return op;
}

/* Layers that nothing needs were reported by graph_resolve() and have no value. */
void layers_build(struct front *f)
{
    for (uint32_t i = 0; i < f->num_layers; i++) {
        struct layer *l = &f->layers[i];
        if (!l->used || l->value != NONE) {
            continue;
        }
        uint32_t *in = arena_array(f->a, l->num_inputs, sizeof *in);
        bool known = true;
        for (uint32_t k = 0; k < l->num_inputs; k++) {
            in[k] = f->layers[l->inputs[k]].value;
            known = known && in[k] != NONE; /* the mistake was reported where it was made */
        }
        if (known) {
            l->value = l->op ? l->op->build(f, l, in) : in[0];
        }
    }
}
