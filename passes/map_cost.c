/* SPDX-License-Identifier: Apache-2.0 */
#include "map_cost.h"

#include <math.h>
#include <stdlib.h>

/* Maps with more entries, and changes of pitch on more pixels than this, are not enumerated: every
 * entry counts as a diagonal then, which is too much, but orders such candidates. */
static const double MAX_RECTS = 5e5;
enum { MAX_MISMATCH = 64 };
/* Plaintexts are read once an evaluation, from memory: at about 12 bytes a nanosecond. A plaintext
 * that repeats has 2 n words a limb instead of N. */
static const double NS_PER_BYTE = 0.08;

/*
 * The offset of a tap is the same for all pixels of an axis iff neighbours of the result are as far
 * apart in slots as the inputs they read: slot_out / g_out == stride * slot_in / (g_in * up).
 * Otherwise every pixel has an offset of its own. Returns how many that is.
 */
static double mismatch(const struct lterm *t, uint32_t axis, uint32_t outputs,
                       const struct layout *out, const struct layout *in)
{
    double slot_out = axis ? (double)out->t_w / out->g_w : (double)out->t_h * out->pitch / out->g_h;
    double slot_in = axis ? (double)in->t_w / in->g_w : (double)in->t_h * in->pitch / in->g_h;
    return slot_out == slot_in * t->stride[axis] / t->up[axis] ? 1 : outputs;
}

static double estimated_rects(const struct prog *p, const struct lmap *m, double *apart)
{
    double rects = 0;
    *apart = 1;
    for (uint32_t i = 0; i < m->num_terms; i++) {
        const struct lterm *t = &m->term[i];
        const uint32_t *w = p->consts.at[t->weight].type.dims;
        const struct layout *out = &p->layouts[m->out_layout], *in = &p->layouts[t->in_layout];
        double own = mismatch(t, 0, m->out[1], out, in) * mismatch(t, 1, m->out[2], out, in);
        rects += (double)w[0] * w[1] * w[2] * w[3] * own;
        *apart = own > *apart ? own : *apart;
    }
    return rects;
}

/* Distinct (ciphertext, offset mod m) of one side, sorted: ct << 40 | log2(m) << 32 | offset. */
static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct side {
    uint64_t *key;
    uint32_t len, cts;
};

static struct side side_of(const struct prog *p, const struct lmap *m, const struct diagonals *d,
                           bool inputs, struct arena *a)
{
    struct side s = {arena_array(a, d->len, sizeof(uint64_t)), 0, 0};
    for (uint32_t i = 0; i < d->len; i++) {
        const struct diagonal *x = &d->at[i];
        uint32_t n_in = p->layouts[m->term[x->term].in_layout].n, log = 0;
        for (uint32_t n = n_in < d->n_out ? n_in : d->n_out; n > 1; n /= 2)
            log++;
        s.key[i] =
            (uint64_t)(inputs ? x->in_ct : x->out_ct) << 40 | (uint64_t)log << 32 | x->offset;
    }
    qsort(s.key, d->len, sizeof *s.key, by_value);
    for (uint32_t i = 0; i < d->len; i++) {
        if (s.len > 0 && s.key[s.len - 1] == s.key[i])
            continue;
        s.cts += s.len == 0 || s.key[s.len - 1] >> 40 != s.key[i] >> 40;
        s.key[s.len++] = s.key[i];
    }
    return s;
}

struct counting {
    uint32_t nw;
    struct side in, out;
    uint32_t *stamp, now; /* [nw] */
    struct map_shape *shape;
    uint32_t cap;
    struct arena *a;
};

static int64_t centred(int64_t x, int64_t m)
{
    if ((m & (m - 1)) == 0)
        return ((x + m / 2) & (m - 1)) - m / 2;
    int32_t r = (int32_t)(x + m / 2) % (int32_t)m; /* steps are below MOST_SLOTS; 64 bits are slow */
    return (r < 0 ? r + m : r) - m / 2;
}

/* offset = baby + giant: the baby is the residue modulo `inner` of the residue modulo `outer`, both
 * centred, or the other way round. */
static uint32_t count(struct counting *c, bool inputs, int64_t outer, int64_t inner, bool swap)
{
    const struct side *s = inputs ? &c->in : &c->out;
    uint32_t moved = 0;
    for (uint32_t i = 0; i < s->len; i++) {
        if (i == 0 || s->key[i] >> 40 != s->key[i - 1] >> 40)
            c->now++;
        int64_t m = (int64_t)1 << (s->key[i] >> 32 & 0xff);
        int64_t x = centred((int64_t)(s->key[i] & 0xffffffff), m);
        int64_t low = centred(outer ? centred(x, outer) : x, inner);
        int64_t step = centred(inputs != swap ? low : x - low, m);
        uint32_t *stamp = &c->stamp[step & (c->nw - 1)];
        if (step == 0 || *stamp == c->now)
            continue;
        *stamp = c->now;
        moved++;
    }
    return moved;
}

static void keep_split(struct counting *c, struct split_counts x)
{
    struct map_shape *s = c->shape;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->len; i++)
        if (s->split[i].babies <= x.babies && s->split[i].giants <= x.giants)
            return;
    for (uint32_t i = 0; i < s->len; i++)
        if (s->split[i].babies < x.babies || s->split[i].giants < x.giants)
            s->split[kept++] = s->split[i];
    s->len = kept;
    ARENA_GROW(c->a, s->split, s->len, c->cap);
    s->split[s->len++] = x;
}

static void try_split(struct counting *c, int64_t outer, int64_t inner)
{
    if (inner < 1 || inner > c->nw || (outer && inner >= outer))
        return;
    for (int swap = 0; swap < 2; swap++)
        keep_split(c, (struct split_counts){count(c, true, outer, inner, swap),
                                            count(c, false, outer, inner, swap)});
}

static void try_layout(struct counting *c, const struct layout *l)
{
    int64_t outer = l->block < l->n ? l->block : 0;
    for (int64_t b = 1; outer && b < outer; b *= 2)
        try_split(c, outer, b);
    for (int64_t k = 1; k <= 4; k++) {
        try_split(c, outer, k * l->pitch);
        try_split(c, outer, k * l->t_w);
    }
    try_split(c, 0, l->block);
}

struct map_shape map_shape(struct prog *p, uint32_t map, struct arena *a)
{
    const struct lmap *m = &p->maps[map];
    double apart, rects = estimated_rects(p, m, &apart);
    if (rects > MAX_RECTS || apart > MAX_MISMATCH)
        return (struct map_shape){.rects = rects};
    struct arena *scratch = arena_new();
    struct diagonals d = lmap_diagonals(p, map, false, scratch);
    struct map_shape shape = {.diagonals = d.len, .work_slots = d.nw, .out_slots = d.n_out};
    struct counting c = {.nw = d.nw, .shape = &shape, .a = a};
    c.in = side_of(p, m, &d, true, scratch);
    c.out = side_of(p, m, &d, false, scratch);
    c.stamp = arena_array(scratch, d.nw, sizeof *c.stamp);
    shape.in_cts = c.in.cts;
    shape.out_cts = c.out.cts;
    for (int64_t b = 1; b <= d.nw; b *= 2)
        try_split(&c, 0, b);
    try_layout(&c, &p->layouts[m->out_layout]);
    if (m->term[0].in_layout != m->out_layout)
        try_layout(&c, &p->layouts[m->term[0].in_layout]);
    arena_free(scratch);
    return shape;
}

struct map_cost map_cost(const struct map_shape *s, struct cost_ring r, int level)
{
    if (s->rects > 0)
        return (struct map_cost){s->rects * cost_pmac(r, level, true, 1), 0, 0};
    double decompose = cost_decompose(r, level), key = cost_key_mul(r, level);
    double down = cost_mod_down(r, level), inner = cost_inner_key_mul(r, level);
    struct map_cost best = {INFINITY, s->diagonals, 0};
    for (uint32_t i = 0; i < s->len; i++) {
        uint32_t babies = s->split[i].babies, giants = s->split[i].giants;
        double common = (babies ? s->in_cts : 0) * decompose + giants * (decompose + key);
        double single = babies * key + (babies + (giants ? s->out_cts : 0)) * down +
                        cost_pmac(r, level, false, s->diagonals);
        double hoisted = babies * inner + (giants + s->out_cts) * down +
                         cost_pmac(r, level, true, s->diagonals);
        double ns = common + fmin(single, hoisted);
        if (ns < best.ns) {
            best.ns = ns;
            best.rotations = babies + giants;
        }
    }
    double words = fmin(2. * s->work_slots, ldexp(1, (int)r.log_n));
    best.ns += NS_PER_BYTE * sizeof(uint64_t) * s->diagonals * (level + 1) * words;
    for (uint32_t n = s->out_slots; n < s->work_slots; n *= 2) {
        best.ns += (decompose + key + down) * s->out_cts;
        best.rotations += s->out_cts;
    }
    return best;
}
