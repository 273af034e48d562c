/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_keys: the evaluation keys of the program.
 *
 * Reads     key_mul nodes with levels.
 * Writes    p->keys: one entry for each rotation (by), and by = 0 for relinearisation, sorted by `by`.
 * Requires  ckks_params, ckks_level.
 * Ensures   every key_mul has its key, and each key stops at the highest level of its uses: a key for
 *           level l costs ceil((l+1)/alpha) digits of l + 1 + num_p limbs, so late layers' keys are small.
 * Refuses   rotations that are not in 1..N/2-1 (IR text from elsewhere).
 * Cost      nodes times log of the number of keys.
 */
#include "level.h"

#include <stdlib.h>

static int compare_specs(const void *a, const void *b)
{
    const struct key_spec *x = a, *y = b;
    if (x->by != y->by)
        return x->by < y->by ? -1 : 1;
    return x->level > y->level ? -1 : x->level < y->level;
}

struct prog *ckks_keys(struct prog *p, const struct opts *o)
{
    (void)o;
    level_required(p, "ckks_keys");
    struct key_spec *spec = arena_array(p->arena, p->nodes.len, sizeof *spec);
    uint32_t len = 0, kept = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_key_mul)
            continue;
        int64_t by = node_int_or(n, KEY_by, 0), slots = (int64_t)1 << (p->params.log_n - 1);
        if (by < 0 || by >= slots)
            diag_fatal(n->loc,
                       "%%%u rotates by %lld, which is not in 1..%lld: run ckks_params first", i,
                       (long long)by, (long long)slots - 1);
        spec[len++] = (struct key_spec){by, n->type.level};
    }
    qsort(spec, len, sizeof *spec, compare_specs);
    for (uint32_t i = 0; i < len; i++)
        if (kept == 0 || spec[kept - 1].by != spec[i].by)
            spec[kept++] = spec[i];
    p->keys = spec;
    p->num_keys = kept;
    return p;
}
