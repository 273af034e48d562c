/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_C_H
#define WEFT_C_H

/* The C backend's own interface. */

#include "backends.h"

/* Where everything lies in the model data file. */
struct c_data {
    struct str file;   /* the whole container */
    uint64_t checksum; /* as in its header */
    uint32_t num_plains;
    uint32_t *first_plain; /* [nodes.len] of a pmac or padd: number of its first plaintext */
    uint32_t **func_plain; /* [num_funcs] likewise, of the functions' nodes */
    uint64_t *first_value; /* [consts.len] index into the value table, or NO_VALUE */
};
#define NO_VALUE UINT64_MAX

/* ---- data.c */
void c_data(struct prog *p, struct c_data *out, struct arena *a);

/* ---- group.c: nodes that are one call of rt_transform */
struct c_row {
    uint32_t node;         /* the operand */
    uint32_t digits, base; /* nodes; NONE: no digits */
    int64_t by;
};
struct c_group {
    uint32_t *out; /* nodes */
    struct c_row *row;
    uint32_t *plain; /* [num_out * num_rows] numbers, NONE: no plaintext */
    uint32_t num_out, num_rows;
};
/* Whether the next node is in another group than node i, or either is in none */
bool c_group_ends(const struct nodes *nodes, uint32_t i);
/* The group that ends with node `last` */
struct c_group c_group(const struct nodes *nodes, uint32_t last, const uint32_t *first_plain,
                       struct arena *a);

/* ---- layers.c */
/* Whether the C program calls something for node i; of a group, the last node makes the call for all. */
bool c_makes_call(const struct nodes *nodes, uint32_t i);

/* ---- interface.c, clear.c */
void c_interface(const struct prog *p, struct str *out);
/* The initialiser of a struct rt_packing, and before it the table NAME_perm if the layout has one */
void c_add_packing(const char *name, const struct layout *l, struct str *out);
void c_add_perm(const char *name, const struct layout *l, struct str *out);
void c_clear(const struct prog *p, const struct c_data *d, struct str *out);

/* ---- text.c: pieces of C text */
/* "Written by weft ..." and which model */
void c_head(const struct prog *p, const char *what, struct str *out);
/* The YAML file's name without its folders; "model" when there is none. Not escaped. */
const char *c_base_name(const char *path);
/* For the inside of a comment: printable ASCII only, no comment delimiters, no trigraphs. */
void c_add_comment_text(struct str *out, const char *s);
/* A string literal with its quotes; NULL gives NULL. */
void c_add_string(struct str *out, const char *s);
/* A constant of type double that is exactly x. */
void c_add_double(struct str *out, double x);
/* `    1, 2, 3,\n` with `per_line` numbers a line; printed by `add` */
void c_add_u32s(struct str *out, const char *indent, const uint32_t *v, uint32_t len);
/* "conv-1.a" -> "conv_1_a" */
void c_add_identifier(struct str *out, const char *s);

#endif
