/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TYPE_H
#define WEFT_TYPE_H

/* Between type.c (what all stages share, constants, nn) and type_packed.c (slot, ckks). */

#include "ir.h"

/* What one call of type_infer() looks at. */
struct type_query {
    const struct prog *p;
    enum op op;
    const uint32_t *args;
    uint32_t num_args;
    const struct attr *attrs;
    uint32_t num_attrs;
    struct type *out;
    const char **why;
};

#define TYPE_FAIL(q, ...) (*(q)->why = arena_printf((q)->p->arena, __VA_ARGS__), false)

const struct type *type_arg(const struct type_query *q, uint32_t i);
const struct attr *type_attr(const struct type_query *q, enum key k); /* NULL: absent */
int64_t type_int(const struct type_query *q, enum key k);             /* of a required attribute */
const char *type_text(const struct type_query *q, const struct type *t);
bool type_check_range(const struct type_query *q, enum key k, int64_t v, int64_t low, int64_t high);
/* Attribute k is a list of len numbers from low to high. */
bool type_check_ints(const struct type_query *q, enum key k, uint32_t len, int64_t low,
                     int64_t high);
bool type_check_vector(const struct type_query *q, enum key k,
                       uint32_t c); /* a constant [c], or absent */

bool type_infer_packed(const struct type_query *q);

#endif
