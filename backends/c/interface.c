/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

/* What client and server share of a model: parameters, keys, packings, normalisation, labels. No
 * weights. */

#include <inttypes.h>

static const struct node *find_op(const struct prog *p, enum op op)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == op)
            return &p->nodes.at[i];
    diag_fatal(NO_LOC, "the program has no %s", op_info[op].name);
}

static const struct layout *layout_of(const struct prog *p, const struct node *n)
{
    uint32_t id = node_ref_or_none(n, KEY_layout);
    if (id == NONE)
        diag_fatal(n->loc, "%s of a ckks program needs a layout", op_info[n->op].name);
    return &p->layouts[id];
}

static void add_primes(const char *name, const uint64_t *v, uint32_t len, struct str *out)
{
    if (len == 0)
        return;
    str_addf(out, "static const uint64_t %s[] = {\n", name);
    for (uint32_t k = 0; k < len; k++)
        str_addf(out, "%s0x%013" PRIx64 "%s", k % 4 == 0 ? "    " : " ", v[k],
                 k + 1 == len || k % 4 == 3 ? ",\n" : ",");
    str_add(out, "};\n");
}

static void add_doubles(const char *name, const double *v, uint32_t len, double otherwise,
                        struct str *out)
{
    str_addf(out, "static const double %s[] = {", name);
    for (uint32_t k = 0; k < len; k++) {
        str_add(out, k % 8 == 0 ? "\n    " : " ");
        c_add_double(out, v ? v[k] : otherwise);
        str_add(out, ",");
    }
    str_add(out, "\n};\n");
}

void c_add_perm(const char *name, const struct layout *l, struct str *out)
{
    if (!l->perm)
        return;
    str_addf(out, "static const uint32_t %s_perm[] = {\n", name);
    c_add_u32s(out, "    ", l->perm, l->c);
    str_add(out, "};\n");
}

void c_add_packing(const char *name, const struct layout *l, struct str *out)
{
    str_addf(out, "{.c = %u, .h = %u, .w = %u, .n = %u, ", l->c, l->h, l->w, l->n);
    str_addf(out, ".g_h = %u, .g_w = %u, .t_h = %u, .t_w = %u,\n", l->g_h, l->g_w, l->t_h, l->t_w);
    str_addf(out, "        .pitch = %u, .block = %u, .num_ct = %u, .perm = ", l->pitch, l->block,
             l->num_ct);
    str_addf(out, l->perm ? "%s_perm}" : "NULL}", name);
}

static void add_packing(const char *name, const struct layout *l, struct str *out)
{
    str_addf(out, "    .%s = ", name);
    c_add_packing(name, l, out);
    str_add(out, ",\n");
}

static void add_tables(const struct prog *p, const struct layout *in, const struct layout *to,
                       struct str *out)
{
    const struct model *m = &p->model;
    add_primes("primes_q", p->params.q, p->params.num_q, out);
    add_primes("primes_p", p->params.p, p->params.num_p, out);
    if (p->num_keys) {
        str_add(out, "/* rotation in slots, highest level, kind (enum rt_key_kind) */\n"
                     "static const struct rt_key_spec keys[] = {\n");
        for (uint32_t k = 0; k < p->num_keys; k++)
            str_addf(out, "%s{%" PRId64 ", %d, %u}%s", k % 6 == 0 ? "    " : " ", p->keys[k].by,
                     p->keys[k].level, (unsigned)p->keys[k].kind,
                     k + 1 == p->num_keys || k % 6 == 5 ? ",\n" : ",");
        str_add(out, "};\n");
    }
    c_add_perm("input", in, out);
    c_add_perm("output", to, out);
    add_doubles("mean", m->mean, m->input[0], 0, out);
    add_doubles("std", m->std, m->input[0], 1, out);
    if (m->num_labels) {
        str_add(out, "static const char *const labels[] = {\n");
        for (uint32_t k = 0; k < m->num_labels; k++) {
            str_add(out, "    ");
            c_add_string(out, m->labels[k]);
            str_add(out, ",\n");
        }
        str_add(out, "};\n");
    }
}

static void add_field(const char *name, double x, struct str *out)
{
    str_addf(out, "    .%s = ", name);
    c_add_double(out, x);
    str_add(out, ",\n");
}

void c_interface(const struct prog *p, struct str *out)
{
    const struct model *m = &p->model;
    const struct params *q = &p->params;
    const struct node *input = find_op(p, OP_input), *output = find_op(p, OP_output);
    const struct type *result = &p->nodes.at[output->args[0]].type;
    const struct layout *in = layout_of(p, input), *to = layout_of(p, output);

    c_head(p, "what client and server share", out);
    str_add(out, " */\n\n#include \"rt.h\"\n\n");
    add_tables(p, in, to, out);

    str_add(out, "\nextern const struct rt_interface weft_interface;\n"
                 "const struct rt_interface weft_interface = {\n    .name = ");
    c_add_string(out, m->name);
    str_addf(out, ",\n    .version = \"" WEFT_VERSION "\",\n    .model_hash = 0x%016" PRIx64 "u,\n",
             m->hash);
    str_addf(out, "    .params = {.log_n = %u, .num_q = %u, .num_p = %u, .q = primes_q, .p = %s,\n",
             q->log_n, q->num_q, q->num_p, q->num_p ? "primes_p" : "NULL");
    str_addf(out, "        .alpha = %u, .insecure = %u", q->alpha, q->insecure ? 1u : 0u);
    if (q->sparse_weight)
        str_addf(out, ", .sparse_weight = %u", q->sparse_weight);
    str_add(out, "},\n");
    add_field("lambda", q->lambda_bits, out);
    add_field("log2_qp", params_log2_qp(q), out);
    str_addf(out, "    .keys = %s,\n    .num_keys = %u,\n", p->num_keys ? "keys" : "NULL",
             p->num_keys);
    add_packing("input", in, out);
    add_packing("output", to, out);
    add_field("input_scale", input->type.scale, out);
    add_field("output_scale", result->scale, out);
    str_addf(out, "    .input_level = %d,\n    .output_level = %d,\n", input->type.level,
             result->level);
    str_add(out, "    .range = {");
    c_add_double(out, m->range[0]);
    str_add(out, ", ");
    c_add_double(out, m->range[1]);
    str_addf(out,
             "},\n    .mean = mean,\n    .std = std,\n    .num_outputs = %u,\n    .labels = %s,\n",
             m->num_outputs, m->num_labels ? "labels" : "NULL");
    add_field("error_bound", p->error_bound, out);
    add_field("depth", prog_stats(p).depth, out);
    struct prog_memory memory = prog_memory(p);
    str_addf(out, "    .max_memory = %" PRIu64 "u,\n", memory.budget);
    str_addf(out,
             "    .memory_once = %" PRIu64 "u, .memory_server = %" PRIu64
             "u, .memory_all = %" PRIu64 "u,\n",
             memory.least, memory.usual, memory.all);
    str_add(out, "};\n");
}
