/* SPDX-License-Identifier: Apache-2.0 */
#include "map_cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* Numbers and m stay below 4 MOST_SLOTS: 64 bits are slow. */
static int32_t centred(int32_t x, int32_t m)
{
    if ((m & (m - 1)) == 0)
        return ((x + m / 2) & (m - 1)) - m / 2;
    int32_t r = (x + m / 2) % m;
    return (r < 0 ? r + m : r) - m / 2;
}

/* Ciphertexts mostly take part in the same offsets: those that do are one list. */
struct side {
    uint64_t *key;  /* log2(m) << 32 | offset */
    int32_t *x, *m; /* the offset, centred, and m */
    struct list {
        uint32_t from, len, times;
    } * list;
    uint32_t lists, cts;
};

static void add_list(struct side *s, struct map *seen, uint32_t from, uint32_t len)
{
    bool is_new;
    uint64_t *at = map_put(seen, s->key + from, len * sizeof *s->key, &is_new);
    if (is_new) {
        *at = s->lists;
        s->list[s->lists++] = (struct list){from, len, 0};
    }
    s->list[*at].times++;
    s->cts++;
}

static void gather_lists(struct side *s, uint32_t len, struct arena *a)
{
    struct map seen;
    uint32_t from = 0, kept = 0;
    uint64_t before = UINT64_MAX;
    map_init(&seen, a);
    for (uint32_t i = 0; i < len; i++) {
        uint64_t key = s->key[i];
        if (key != before)
            s->key[kept++] = key & (((uint64_t)1 << 40) - 1);
        before = key;
        if (i + 1 == len || s->key[i + 1] >> 40 != key >> 40) {
            add_list(s, &seen, from, kept - from);
            from = kept;
        }
    }
    for (uint32_t i = 0; i < kept; i++) {
        s->m[i] = (int32_t)1 << (s->key[i] >> 32);
        s->x[i] = centred((int32_t)(s->key[i] & 0xffffffff), s->m[i]);
    }
}

static struct side side_of(const struct prog *p, const struct lmap *m, const struct diagonals *d,
                           bool inputs, struct arena *a)
{
    struct side s = {.key = arena_array(a, d->len, sizeof *s.key)};
    for (uint32_t i = 0; i < d->len; i++) {
        const struct diagonal *x = &d->at[i];
        uint32_t n_in = p->layouts[m->term[x->term].in_layout].n, log = 0;
        for (uint32_t n = n_in < d->n_out ? n_in : d->n_out; n > 1; n /= 2)
            log++;
        s.key[i] =
            (uint64_t)(inputs ? x->in_ct : x->out_ct) << 40 | (uint64_t)log << 32 | x->offset;
    }
    if (d->len > 0)
        qsort(s.key, d->len, sizeof *s.key, by_value);
    s.x = arena_array(a, d->len, sizeof *s.x);
    s.m = arena_array(a, d->len, sizeof *s.m);
    s.list = arena_array(a, d->len, sizeof *s.list);
    gather_lists(&s, d->len, a);
    return s;
}

struct counting {
    uint32_t nw;
    struct side in, out;
    bool same;               /* both sides have the same lists */
    uint32_t *stamp[2], now; /* [nw] */
    struct map_shape *shape;
    uint32_t cap;
    struct arena *a;
};

/* Steps other than 0 if all low parts of offsets are steps, and if all that is left of them is */
struct moved {
    uint32_t low, rest;
};

/* The low part is the residue modulo `inner` of the residue modulo `outer`, both centred. */
static struct moved count(struct counting *c, const struct side *s, int32_t outer, int32_t inner)
{
    uint32_t *low_stamp = c->stamp[0], *rest_stamp = c->stamp[1], mask = c->nw - 1;
    struct moved moved = {0, 0};
    for (uint32_t k = 0; k < s->lists; k++) {
        const struct list *l = &s->list[k];
        uint32_t now = ++c->now, lows = 0, rests = 0;
        low_stamp[0] = rest_stamp[0] = now; /* a step of 0 is none */
        for (uint32_t i = l->from; i < l->from + l->len; i++) {
            int32_t x = s->x[i], m = s->m[i];
            int32_t low = centred(outer ? centred(x, outer) : x, inner);
            uint32_t at = (uint32_t)centred(low, m) & mask;
            lows += low_stamp[at] != now;
            low_stamp[at] = now;
            at = (uint32_t)centred(x - low, m) & mask;
            rests += rest_stamp[at] != now;
            rest_stamp[at] = now;
        }
        moved.low += lows * l->times;
        moved.rest += rests * l->times;
    }
    return moved;
}

static bool same_lists(const struct side *a, const struct side *b)
{
    return a->lists == 1 && b->lists == 1 && a->cts == b->cts && a->list->len == b->list->len &&
           memcmp(a->key, b->key, a->list->len * sizeof *a->key) == 0;
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
    struct moved in = count(c, &c->in, (int32_t)outer, (int32_t)inner);
    struct moved out = c->same ? in : count(c, &c->out, (int32_t)outer, (int32_t)inner);
    keep_split(c, (struct split_counts){in.low, out.rest}); /* offset = baby + giant */
    keep_split(c, (struct split_counts){in.rest, out.low});
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
    struct diagonals d = lmap_offsets(p, map, scratch);
    struct map_shape shape = {.diagonals = d.len, .work_slots = d.nw, .out_slots = d.n_out};
    struct counting c = {.nw = d.nw, .shape = &shape, .a = a};
    c.in = side_of(p, m, &d, true, scratch);
    c.out = side_of(p, m, &d, false, scratch);
    c.same = same_lists(&c.in, &c.out);
    for (int k = 0; k < 2; k++)
        c.stamp[k] = arena_array(scratch, d.nw, sizeof **c.stamp);
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
        double hoisted =
            babies * inner + (giants + s->out_cts) * down + cost_pmac(r, level, true, s->diagonals);
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
