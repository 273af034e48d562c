/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>

static uint32_t count(const struct nodes *nodes, enum op op)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < nodes->len; i++)
        found += nodes->at[i].op == op;
    return found;
}

struct boot_summary boot_summary(const struct prog *p)
{
    struct boot_summary s = {0};
    double coefficients = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_call)
            continue;
        const struct nodes *f = &p->funcs[node_int(n, KEY_func)].nodes;
        uint32_t raises = count(f, OP_mod_raise);
        /* imaginary parts, n coefficients more, count only where they are multiplied by i again */
        uint32_t parts = count(f, OP_times_i) > 0 ? 2 : 1;
        s.bootstraps += raises;
        coefficients += (double)raises * n->type.n * parts;
    }
    if (s.bootstraps == 0)
        return s;
    const struct params *q = &p->params;
    s.log2_failure =
        boot_log2_failure(q->sparse_weight, boot_sine_for(q->sparse_weight)->imax, coefficients);
    s.sparse_bits = log2((double)q->q[0]) + log2((double)q->p[0]);
    s.most_sparse_bits = params_max_log2_sparse(q->log_n, q->sparse_weight);
    return s;
}
