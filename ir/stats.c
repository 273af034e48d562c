/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <inttypes.h>
#include <string.h>

/* The nodes of function f, or the program's own where f is num_funcs */
static const struct nodes *section(const struct prog *p, uint32_t f)
{
    return f < p->num_funcs ? &p->funcs[f].nodes : &p->nodes;
}

static uint32_t count_layers(const struct prog *p)
{
    struct arena *a = arena_new();
    struct map names;
    map_init(&names, a);
    for (uint32_t f = 0; f <= p->num_funcs; f++) {
        const struct nodes *nodes = section(p, f);
        for (uint32_t i = 0; i < nodes->len; i++) {
            const char *layer = nodes->at[i].layer;
            bool is_new;
            if (*layer) {
                map_put(&names, layer, strlen(layer), &is_new);
            }
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

/* Levels between the inputs and the outputs; before levels are known, products on the longest path.
 * Where bootstraps give levels back: those that the longest path gives up, outside of functions. */
static uint32_t depth(const struct prog *p)
{
    struct arena *a = arena_new();
    uint32_t *path = arena_array(a, p->nodes.len, sizeof *path);
    bool renewed = false;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        renewed = renewed || p->nodes.at[i].op == OP_call || p->nodes.at[i].op == OP_bootstrap;
    }
    int32_t top = -1;
    int32_t bottom = INT32_MAX;
    uint32_t longest = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        for (uint32_t j = 0; j < n->num_args; j++) {
            uint32_t from = n->args[j];
            int32_t level = p->nodes.at[from].type.level;
            uint32_t here = path[from];
            if (renewed && n->type.kind != KIND_NONE && n->op != OP_call && n->type.level >= 0 &&
                n->type.level < level) {
                here += (uint32_t)(level - n->type.level);
            }
            path[i] = here > path[i] ? here : path[i];
            bottom = n->op == OP_output && level < bottom ? level : bottom;
        }
        path[i] += multiplies((enum op)n->op) && !(renewed && n->type.level >= 0);
        top = n->op == OP_input && n->type.level > top ? n->type.level : top;
        longest = path[i] > longest ? path[i] : longest;
    }
    arena_free(a);
    return !renewed && bottom >= 0 && bottom <= top ? (uint32_t)(top - bottom) : longest;
}

/* A vector of period p is an element of a subring: 2p coefficients, 2p words a limb. The runtime keeps
 * integers below 2^30 in 4 bytes (runtime/eval/data.c), others in 8; weights are taken to be of size 1. */
static void add_plaintexts(struct prog_stats *s, uint64_t count, uint64_t period, uint64_t limbs,
                           double scale)
{
    s->plaintext_bytes += 16 * period * limbs * count;
    s->plaintext_limb_bytes += limbs ? 16 * period * count : 0;
    s->plaintext_bytes_least += limbs ? (scale < 0x1p30 ? 8 : 16) * period * count : 0;
}

/* `times`: how often it runs; 0 for a node of a function that nobody calls */
static void count_node(const struct prog *p, const struct nodes *nodes, const struct node *n,
                       uint32_t times, struct prog_stats *s)
{
    uint64_t limb = p->params.log_n ? (uint64_t)8 << p->params.log_n : 0;
    uint64_t limbs =
        (uint64_t)(n->type.level + 1) + (n->type.kind == KIND_CTX ? p->params.num_p : 0);
    s->by_op[n->op]++;
    bool inside = nodes != &p->nodes;
    switch (n->op) {
    case OP_rot:
        s->rotations += times;
        break;
    case OP_key_mul:
    case OP_raised_mul:
        s->key_switches += times;
        s->rotations += node_attr(n, KEY_by) || node_int_or(n, KEY_conjugate, 0) ? times : 0;
        break;
    case OP_encapsulate:
        s->key_switches += times;
        s->decompositions += times;
        break;
    case OP_decompose:
        s->decompositions += times;
        break;
    case OP_pmac:
        s->plaintexts += n->num_args;
        s->pt_products += n->num_args * times;
        add_plaintexts(s, n->num_args, (uint64_t)node_int(n, KEY_period), limbs,
                       node_attr(n, KEY_pt_scale) ? node_real(n, KEY_pt_scale) : 0);
        break;
    case OP_padd:
        s->plaintexts++;
        add_plaintexts(s, 1, p->layouts[node_int(n, KEY_layout)].n, limbs, n->type.scale);
        break;
    case OP_input: /* fresh ones are half seed */
        s->ciphertext_bytes_in += !inside && n->type.level >= 0 ? limbs * limb : 0;
        break;
    case OP_output:
        for (uint32_t i = 0; !inside && i < n->num_args; i++) {
            int32_t level = nodes->at[n->args[i]].type.level;
            s->ciphertext_bytes_out += level >= 0 ? 2 * (uint64_t)(level + 1) * limb : 0;
        }
        break;
    default:
        break;
    }
}

static void count_nodes(const struct prog *p, struct prog_stats *s)
{
    struct arena *a = arena_new();
    uint32_t *times = arena_array(a, (size_t)p->num_funcs + 1, sizeof *times);
    times[p->num_funcs] = 1;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op == OP_call) {
            times[node_int(n, KEY_func)]++;
        }
    }
    for (uint32_t f = 0; f <= p->num_funcs; f++) {
        const struct nodes *nodes = section(p, f);
        s->nodes += nodes->len;
        for (uint32_t i = 0; i < nodes->len; i++) {
            count_node(p, nodes, &nodes->at[i], times[f], s);
        }
    }
    arena_free(a);
}

/* Polynomials of the key's b half, in limbs */
uint64_t key_limbs(const struct params *q, const struct key_spec *key)
{
    uint64_t limbs = (uint64_t)key->level + 1;
    switch (key->kind) {
    case KEY_KIND_ENCAPSULATE:
        return 2; /* q_0, p_0 */
    case KEY_KIND_RAISED:
        return limbs + q->num_p;
    default:
        return (limbs + q->alpha - 1) / q->alpha * (limbs + q->num_p);
    }
}

struct prog_stats prog_stats(const struct prog *p)
{
    struct prog_stats s = {.layers = count_layers(p), .depth = depth(p), .keys = p->num_keys};
    count_nodes(p, &s);
    const struct params *q = &p->params;
    for (uint32_t i = 0; i < p->num_keys && q->alpha != 0; i++) {
        s.key_bytes += key_limbs(q, &p->keys[i]) * ((uint64_t)8 << q->log_n);
    }
    for (uint32_t i = 0; i < p->num_regs; i++) {
        s.register_bytes += 8 * p->reg_words[i];
    }
    s.log2_qp = params_log2_qp(q);
    return s;
}

void prog_stats_print(const struct prog *p, bool json, const struct stats_row *more,
                      uint32_t num_more, struct str *out)
{
    struct prog_stats s = prog_stats(p);
    struct prog_memory m = prog_memory(p);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"nodes", s.nodes},
                {"layers", s.layers},
                {"depth", s.depth},
                {"rotations", s.rotations},
                {"key_switches", s.key_switches},
                {"decompositions", s.decompositions},
                {"plaintexts", s.plaintexts},
                {"pt_products", s.pt_products},
                {"keys", s.keys},
                {"key_bytes", s.key_bytes},
                {"ciphertext_bytes_in", s.ciphertext_bytes_in},
                {"ciphertext_bytes_out", s.ciphertext_bytes_out},
                {"plaintext_bytes", s.plaintext_bytes},
                {"plaintext_bytes_least", s.plaintext_bytes_least},
                {"register_bytes", s.register_bytes},
                {"memory_one_image", m.least},
                {"memory_server", m.usual},
                {"memory_all_kept", m.all}};
    str_addf(out, json ? "{\"stage\":\"%s\"" : "stage                 %s\n", stage_name(p->stage));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        str_addf(out, json ? ",\"%s\":%" PRIu64 : "%-21s %" PRIu64 "\n", rows[i].name,
                 rows[i].value);
    }
    str_addf(out, json ? ",\"log2_qp\":%.2f" : "log2_qp               %.2f\n", s.log2_qp);
    for (uint32_t i = 0; i < num_more; i++) {
        str_addf(out, json ? ",\"%s\":%.10g" : "%-21s %.10g\n", more[i].name, more[i].value);
    }
    str_add(out, json ? ",\"ops\":{" : "");
    const char *comma = "";
    for (int i = 0; i < NUM_OPS; i++) {
        if (s.by_op[i] != 0) {
            str_addf(out, json ? "%s\"%s\":%u" : "%s  %-19s %u\n", json ? comma : "",
                     op_info[i].name, s.by_op[i]);
            comma = ",";
        }
    }
    str_add(out, json ? "}}\n" : "");
}
