/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_keys: the evaluation keys of the program.
 *
 * Reads     key_mul, encapsulate and raised_mul nodes with levels, of the program and its functions.
 * Writes    p->keys: one entry for each kind and rotation, sorted by (kind, by).
 * Requires  ckks_params, ckks_level.
 * Ensures   every key switch has its key, and each key stops at the highest level of its uses: a key for
 *           level l costs ceil((l+1)/alpha) digits of l + 1 + num_p limbs, so late layers' keys are small.
 *           The key to the sparse secret has level 0: it must never exist higher (runtime/rt.h).
 * Refuses   rotations that are not in 1..N/2-1 (IR text from elsewhere).
 * Cost      nodes times log of the number of keys.
 */
#include "level.h"

#include <stdlib.h>

static int compare_specs(const void *a, const void *b)
{
    const struct key_spec *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->by != y->by)
        return x->by < y->by ? -1 : 1;
    return x->level > y->level ? -1 : x->level < y->level;
}

/* The key that node i switches with; false where it switches none */
static bool key_of(const struct prog *p, const struct node *n, uint32_t i, struct key_spec *key)
{
    int64_t by = node_int_or(n, KEY_by, 0), slots = (int64_t)1 << (p->params.log_n - 1);
    if (!node_key_kind(n, &key->kind))
        return false;
    if (by < 0 || by >= slots)
        diag_fatal(n->loc, "%%%u rotates by %lld, which is not in 1..%lld: run ckks_params first",
                   i, (long long)by, (long long)slots - 1);
    key->by = by;
    key->level = key->kind == KEY_KIND_ENCAPSULATE ? 0 : n->type.level;
    return true;
}

static uint32_t collect(const struct prog *p, const struct nodes *nodes, struct key_spec *spec)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < nodes->len; i++)
        len += key_of(p, &nodes->at[i], i, &spec[len]);
    return len;
}

struct prog *ckks_keys(struct prog *p, const struct opts *o)
{
    (void)o;
    level_required(p, "ckks_keys");
    size_t most = (size_t)p->nodes.len + 1; /* key_of() writes ahead */
    for (uint32_t f = 0; f < p->num_funcs; f++) {
        level_required(prog_of_func(p, f), "ckks_keys");
        most += p->funcs[f].nodes.len;
    }
    struct key_spec *spec = arena_array(p->arena, most, sizeof *spec);
    uint32_t len = collect(p, &p->nodes, spec), kept = 0;
    for (uint32_t f = 0; f < p->num_funcs; f++)
        len += collect(p, &p->funcs[f].nodes, spec + len);
    qsort(spec, len, sizeof *spec, compare_specs);
    for (uint32_t i = 0; i < len; i++)
        if (kept == 0 || spec[kept - 1].kind != spec[i].kind || spec[kept - 1].by != spec[i].by)
            spec[kept++] = spec[i];
    p->keys = spec;
    p->num_keys = kept;
    return p;
}
