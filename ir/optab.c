/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <string.h>

/*
 * The attribute column is a plain list of keys. Inside this file every key is an enumerator, so
 * that the list is an array initialiser; OPT(...) is the tail that num_required leaves out.
 */
enum {
#define ATTR(key, kind) key = KEY_##key,
#include "attrs.def"
};

#define LENGTH(...) ((uint8_t)(sizeof((uint16_t[]){0, __VA_ARGS__}) / sizeof(uint16_t) - 1))

#define ATTRS(...) LENGTH(__VA_ARGS__)
#define NOATTRS    0
#define OPT(...)
enum {
#define OP(name, stages, operands, result, attrs, flags, call) REQUIRED_##name = attrs,
#include "ops.def"
};
#undef OPT
#define OPT(...) __VA_ARGS__
enum {
#define OP(name, stages, operands, result, attrs, flags, call) ALL_##name = attrs,
#include "ops.def"
};
#undef ATTRS
#undef NOATTRS
/* clang-format off */
#define ATTRS(...) {__VA_ARGS__}
#define NOATTRS {0}

#define STAGES_C {false, false, false}
#define STAGES_N {[STAGE_NN] = true}
#define STAGES_S {[STAGE_SLOT] = true}
#define STAGES_K {[STAGE_CKKS] = true}
#define STAGES_SK {[STAGE_SLOT] = true, [STAGE_CKKS] = true}
#define STAGES_NSK {true, true, true}
/* clang-format on */

const struct op_info op_info[NUM_OPS] = {
#define OP(n, stages, operands_, result_, attrs, flags_, call)                                     \
    [OP_##n] = {.name = #n,                                                                        \
                .is_const = RESULT_##result_ == RESULT_CONST,                                      \
                .in_stage = STAGES_##stages,                                                       \
                .operands = operands_,                                                             \
                .result = RESULT_##result_,                                                        \
                .flags = flags_,                                                                   \
                .num_attrs = ALL_##n,                                                              \
                .num_required = REQUIRED_##n,                                                      \
                .attr = attrs},
#include "ops.def"
};

static const struct {
    const char *name;
    enum attr_kind kind;
} key_info[NUM_KEYS] = {
#define ATTR(key, kind_) [KEY_##key] = {#key, ATTR_##kind_},
#include "attrs.def"
};

/* A few dozen short names: a scan is as quick as a table. */
enum op op_find(const char *name)
{
    int i = 0;
    while (i < NUM_OPS && strcmp(op_info[i].name, name) != 0) {
        i++;
    }
    return (enum op)i;
}

enum key key_find(const char *name)
{
    int i = 0;
    while (i < NUM_KEYS && strcmp(key_info[i].name, name) != 0) {
        i++;
    }
    return (enum key)i;
}

const char *key_name(enum key k)
{
    return key_info[k].name;
}

enum attr_kind key_kind(enum key k)
{
    return key_info[k].kind;
}

const char *stage_name(enum stage s)
{
    static const char *const names[NUM_STAGES] = {"nn", "slot", "ckks"};
    return names[s];
}

const char *kind_name(enum kind k)
{
    static const char *const names[NUM_KINDS] = {"none", "const", "tensor", "vec",    "ct",
                                                 "ct3",  "ctx",   "digits", "sparse", "raised"};
    return names[k];
}

const char *key_kind_name(enum key_kind k)
{
    static const char *const names[NUM_KEY_KINDS] = {"relinearise", "rotate", "conjugate",
                                                     "encapsulate", "raised"};
    return names[k];
}

const char *wrap_name(enum wrap k)
{
    static const char *const names[NUM_WRAPS] = {"zeros", "circular", "spiral"};
    return names[k];
}
