/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>

static uint32_t count_raises(const struct nodes *nodes)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < nodes->len; i++)
        count += nodes->at[i].op == OP_mod_raise;
    return count;
}

struct boot_summary boot_summary(const struct prog *p)
{
    struct boot_summary s = {0};
    double coefficients = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_call)
            continue;
        uint32_t raises = count_raises(&p->funcs[node_int(n, KEY_func)].nodes);
        s.bootstraps += raises;
        coefficients += (double)raises * n->type.n; /* the others do not reach the real parts */
    }
    if (s.bootstraps == 0)
        return s;
    const struct params *q = &p->params;
    s.log2_failure = boot_log2_failure(q->sparse_weight, BOOT_IMAX, coefficients);
    s.sparse_bits = log2((double)q->q[0]) + log2((double)q->p[0]);
    s.most_sparse_bits = params_max_log2_sparse(q->log_n, q->sparse_weight);
    return s;
}
