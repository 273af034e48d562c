/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <inttypes.h>
#include <string.h>

static uint32_t count_layers(const struct prog *p)
{
    struct arena *a = arena_new();
    struct map names;
    map_init(&names, a);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const char *layer = p->nodes.at[i].layer;
        bool is_new;
        if (*layer) {
            map_put(&names, layer, strlen(layer), &is_new);
        }
    }
    uint32_t count = names.len;
    arena_free(a);
    return count;
}

static bool multiplies(enum op op)
{
    switch (op) {
    case OP_conv2d:
    case OP_batch_norm:
    case OP_linear:
    case OP_avg_pool:
    case OP_global_avg_pool:
    case OP_poly:
    case OP_map:
    case OP_mul:
    case OP_lin:
    case OP_pmac:
        return true;
    default:
        return false;
    }
}

/* Levels between the inputs and the outputs; before levels are known, products on the longest path. */
static uint32_t depth(const struct prog *p)
{
    struct arena *a = arena_new();
    uint32_t *path = arena_array(a, p->nodes.len, sizeof *path);
    int32_t top = -1;
    int32_t bottom = INT32_MAX;
    uint32_t longest = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        for (uint32_t j = 0; j < n->num_args; j++) {
            uint32_t from = n->args[j];
            path[i] = path[from] > path[i] ? path[from] : path[i];
            int32_t level = p->nodes.at[from].type.level;
            bottom = n->op == OP_output && level < bottom ? level : bottom;
        }
        path[i] += multiplies((enum op)n->op);
        top = n->op == OP_input && n->type.level > top ? n->type.level : top;
        longest = path[i] > longest ? path[i] : longest;
    }
    arena_free(a);
    return bottom >= 0 && bottom <= top ? (uint32_t)(top - bottom) : longest;
}

static void count_node(const struct prog *p, const struct node *n, struct prog_stats *s)
{
    uint64_t limb = p->params.log_n ? (uint64_t)8 << p->params.log_n : 0;
    uint64_t limbs =
        (uint64_t)(n->type.level + 1) + (n->type.kind == KIND_CTX ? p->params.num_p : 0);
    s->by_op[n->op]++;
    switch (n->op) {
    case OP_rot:
        s->rotations++;
        break;
    case OP_key_mul:
        s->rotations += node_attr(n, KEY_by) != NULL;
        break;
    case OP_decompose:
        s->key_switches++;
        break;
    case OP_pmac:
        s->plaintexts += n->num_args;
        s->pt_products += n->num_args;
        /* a vector of period p is an element of a subring: 2p words a limb */
        s->plaintext_bytes += 16 * (uint64_t)node_int(n, KEY_period) * limbs * n->num_args;
        break;
    case OP_padd:
        s->plaintexts++;
        s->plaintext_bytes += 16 * (uint64_t)p->layouts[node_int(n, KEY_layout)].n * limbs;
        break;
    case OP_input: /* fresh ones are half seed */
        s->ciphertext_bytes_in += n->type.level >= 0 ? limbs * limb : 0;
        break;
    case OP_output:
        for (uint32_t i = 0; i < n->num_args; i++) {
            int32_t level = p->nodes.at[n->args[i]].type.level;
            s->ciphertext_bytes_out += level >= 0 ? 2 * (uint64_t)(level + 1) * limb : 0;
        }
        break;
    default:
        break;
    }
}

struct prog_stats prog_stats(const struct prog *p)
{
    struct prog_stats s = {
        .nodes = p->nodes.len, .layers = count_layers(p), .depth = depth(p), .keys = p->num_keys};
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        count_node(p, &p->nodes.at[i], &s);
    }
    const struct params *q = &p->params;
    for (uint32_t i = 0; i < p->num_keys && q->alpha != 0; i++) {
        uint64_t limbs = (uint64_t)p->keys[i].level + 1;
        uint64_t digits = (limbs + q->alpha - 1) / q->alpha;
        s.key_bytes += digits * (limbs + q->num_p) * ((uint64_t)8 << q->log_n);
    }
    s.key_bytes_memory = 2 * s.key_bytes;
    for (uint32_t i = 0; i < p->num_regs; i++) {
        s.register_bytes += 8 * p->reg_words[i];
    }
    s.log2_qp = params_log2_qp(q);
    return s;
}

void prog_stats_print(const struct prog *p, bool json, struct str *out)
{
    struct prog_stats s = prog_stats(p);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"nodes", s.nodes},
                {"layers", s.layers},
                {"depth", s.depth},
                {"rotations", s.rotations},
                {"key_switches", s.key_switches},
                {"plaintexts", s.plaintexts},
                {"pt_products", s.pt_products},
                {"keys", s.keys},
                {"key_bytes", s.key_bytes},
                {"key_bytes_memory", s.key_bytes_memory},
                {"ciphertext_bytes_in", s.ciphertext_bytes_in},
                {"ciphertext_bytes_out", s.ciphertext_bytes_out},
                {"plaintext_bytes", s.plaintext_bytes},
                {"register_bytes", s.register_bytes}};
    str_addf(out, json ? "{\"stage\":\"%s\"" : "stage                %s\n", stage_name(p->stage));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        str_addf(out, json ? ",\"%s\":%" PRIu64 : "%-20s %" PRIu64 "\n", rows[i].name,
                 rows[i].value);
    }
    str_addf(out, json ? ",\"log2_qp\":%.2f,\"ops\":{" : "log2_qp              %.2f\n", s.log2_qp);
    const char *comma = "";
    for (int i = 0; i < NUM_OPS; i++) {
        if (s.by_op[i] != 0) {
            str_addf(out, json ? "%s\"%s\":%u" : "%s  %-18s %u\n", json ? comma : "",
                     op_info[i].name, s.by_op[i]);
            comma = ",";
        }
    }
    str_add(out, json ? "}}\n" : "");
}
