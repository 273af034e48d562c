/* SPDX-License-Identifier: Apache-2.0 */
#include "dft.h"

#include <stdlib.h>
#include <string.h>

#define MOST_OPERAND_CTS ((uint64_t)1 << 24)
#define MOST_WINDOW      ((int64_t)1 << 26) /* rows or columns after upsampling; also of padding */

/* ---- well-formedness ------------------------------------------------------------------------ */

#define FAIL(...) (*why = arena_printf(p->arena, __VA_ARGS__), false)

static bool layout_fits(const struct prog *p, uint32_t layout, const uint32_t dims[3],
                        const char **why)
{
    if (layout == NONE) {
        return true;
    }
    if (layout >= p->num_layouts) {
        return FAIL("there is no layout @%u", layout);
    }
    const struct layout *l = &p->layouts[layout];
    if (l->c != dims[0] || l->h != dims[1] || l->w != dims[2]) {
        return FAIL("layout @%u is for %ux%ux%u, not for %ux%ux%u", layout, l->c, l->h, l->w,
                    dims[0], dims[1], dims[2]);
    }
    return true;
}

static bool shape_fits(const struct prog *p, const uint32_t dims[3], const char **why)
{
    bool zero = dims[0] == 0 || dims[1] == 0 || dims[2] == 0;
    if (zero || dims[0] > MOST_CHANNELS || dims[1] > MOST_PIXELS || dims[2] > MOST_PIXELS ||
        (uint64_t)dims[0] * dims[1] * dims[2] > MOST_ELEMENTS) {
        return FAIL("impossible shape %ux%ux%u", dims[0], dims[1], dims[2]);
    }
    return true;
}

static bool window_fits(const struct prog *p, const struct lmap *m, const struct lterm *t,
                        const uint32_t *w, const char **why)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (t->stride[i] == 0 || t->dilation[i] == 0 || t->up[i] == 0 ||
            t->stride[i] > MOST_WINDOW || t->dilation[i] > MOST_WINDOW ||
            (int64_t)t->up[i] * t->in[1 + i] > MOST_WINDOW) {
            return FAIL("stride, dilation or up is impossible");
        }
        int32_t before = t->pad[2 * i];
        int32_t after = t->pad[2 * i + 1];
        if (before > MOST_WINDOW || before < -MOST_WINDOW || after > MOST_WINDOW ||
            after < -MOST_WINDOW) {
            return FAIL("padding is impossible");
        }
        uint32_t size = window_size(t->in[1 + i] * t->up[i], w[2 + i], t->stride[i], before, after,
                                    t->dilation[i]);
        if (size != m->out[1 + i]) {
            return FAIL("the window makes %u %s, the result has %u", size, i ? "columns" : "rows",
                        m->out[1 + i]);
        }
    }
    return true;
}

static bool term_fits(const struct prog *p, const struct lmap *m, const struct lterm *t,
                      const char **why)
{
    if (!shape_fits(p, t->in, why) || !layout_fits(p, t->in_layout, t->in, why)) {
        return false;
    }
    if (t->weight >= p->consts.len) {
        return FAIL("there is no constant $%u", t->weight);
    }
    const struct type *w = &p->consts.at[t->weight].type;
    if (w->rank != 4) {
        return FAIL("weight $%u is not of rank 4", t->weight);
    }
    if (t->groups == 0 || w->dims[0] % t->groups != 0) {
        return FAIL("%u output channels do not divide into %u groups", w->dims[0], t->groups);
    }
    if ((uint64_t)t->out_from + w->dims[0] > m->out[0]) {
        return FAIL("channels %u to %llu are outside the result", t->out_from,
                    (unsigned long long)t->out_from + w->dims[0]);
    }
    uint64_t reads = (uint64_t)t->groups * w->dims[1];
    if (t->in_from + reads > t->in[0]) {
        return FAIL("channels %u to %llu are outside the operand", t->in_from,
                    (unsigned long long)(t->in_from + reads));
    }
    if ((unsigned)t->wrap >= NUM_WRAPS) {
        return FAIL("unknown kind of padding");
    }
    return window_fits(p, m, t, w->dims, why);
}

bool lmap_check(const struct prog *p, const struct lmap *m, const char **why)
{
    if (m->num_terms == 0 || m->num_terms > 1 << 16) {
        return FAIL("a map needs from 1 to 65536 terms");
    }
    if (m->dft.first != 0 || m->dft.last != 0) {
        return dft_check(p, m, why);
    }
    if (!shape_fits(p, m->out, why) || !layout_fits(p, m->out_layout, m->out, why)) {
        return false;
    }
    uint64_t cts = 0;
    for (uint32_t i = 0; i < m->num_terms; i++) {
        if (!term_fits(p, m, &m->term[i], why)) {
            return false;
        }
        cts += m->term[i].in_layout == NONE ? 0 : p->layouts[m->term[i].in_layout].num_ct;
    }
    return cts < MOST_OPERAND_CTS ||
           FAIL("more than %llu ciphertexts", (unsigned long long)MOST_OPERAND_CTS);
}

#undef FAIL

uint32_t lmap_first_ct(const struct prog *p, const struct lmap *m, uint32_t term)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < term; i++) {
        sum += p->layouts[m->term[i].in_layout].num_ct;
    }
    return sum;
}

uint32_t lmap_work_slots(const struct prog *p, const struct lmap *m)
{
    uint32_t n = p->layouts[m->out_layout].n;
    for (uint32_t i = 0; i < m->num_terms; i++) {
        uint32_t in = p->layouts[m->term[i].in_layout].n;
        n = in > n ? in : n;
    }
    return n;
}

/* ---- one axis ------------------------------------------------------------------------------- */

/*
 * slot(c,h,w) = channel part + row part + column part, and the ciphertext number splits alike. So the
 * positions of one tap are a product: a set of rows times a set of columns. On one axis, outputs
 * fall into classes by (output residue mod g_out, input residue mod g_in, input slot part - output slot
 * part); a class lies on one diagonal, and its slots are cut into runs of constant step. With
 * matching layouts (layout_stride) and zero padding a tap has one run a class.
 */
struct run {
    int64_t carry;              /* rows that a spiral has gone down on the way (columns only) */
    uint32_t out_part, in_part; /* residues: which ciphertext of the channel group */
    uint32_t out_slot, in_slot; /* of the first position */
    uint32_t count, step;
};
struct runs {
    struct run *at;
    uint32_t len, cap;
};

/* Layout of one axis: `slot` is the distance of neighbours in one ciphertext. */
struct axis {
    uint32_t g, slot;
};
static struct axis rows_of(const struct layout *l)
{
    return (struct axis){l->g_h, l->t_h * l->pitch};
}
static struct axis columns_of(const struct layout *l)
{
    return (struct axis){l->g_w, l->t_w};
}

struct point {
    int64_t carry, delta;
    uint32_t out_part, in_part, out_slot;
};

static int by_class(const void *a, const void *b)
{
    const struct point *x = a;
    const struct point *y = b;
#define ORDER(field)                                                                               \
    if (x->field != y->field) {                                                                    \
        return x->field < y->field ? -1 : 1;                                                       \
    }
    ORDER(carry)
    ORDER(out_part)
    ORDER(in_part)
    ORDER(delta)
    ORDER(out_slot)
#undef ORDER
    return 0;
}

static bool same_class(const struct point *x, const struct point *y)
{
    return x->carry == y->carry && x->out_part == y->out_part && x->in_part == y->in_part &&
           x->delta == y->delta;
}

static void cut_runs(struct arena *a, struct runs *to, const struct point *pt, uint32_t len)
{
    for (uint32_t i = 0; i < len;) {
        struct run r = {pt[i].carry,
                        pt[i].out_part,
                        pt[i].in_part,
                        pt[i].out_slot,
                        (uint32_t)(pt[i].out_slot + pt[i].delta),
                        1,
                        0};
        if (i + 1 < len && same_class(&pt[i], &pt[i + 1])) {
            r.step = pt[i + 1].out_slot - pt[i].out_slot;
        }
        while (i + r.count < len && same_class(&pt[i], &pt[i + r.count]) &&
               pt[i + r.count].out_slot - pt[i + r.count - 1].out_slot == r.step) {
            r.count++;
        }
        ARENA_GROW(a, to->at, to->len, to->cap);
        to->at[to->len++] = r;
        i += r.count;
    }
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    return a - floor_div(a, b) * b;
}

struct tap {
    int64_t first;            /* input position of output 0, before wrapping */
    int64_t stride, size, up; /* size: input positions, after upsampling */
    enum wrap wrap;
    bool columns;
};

static struct runs axis_runs(struct arena *a, struct tap tap, uint32_t outputs, struct axis out,
                             struct axis in)
{
    struct arena *scratch = arena_new();
    struct point *pt = arena_array(scratch, outputs, sizeof *pt);
    uint32_t len = 0;
    for (uint32_t o = 0; o < outputs; o++) {
        int64_t r = tap.first + o * tap.stride;
        int64_t turns = floor_div(r, tap.size);
        if (tap.wrap == WRAP_ZEROS && turns != 0) {
            continue;
        }
        uint32_t i = (uint32_t)((r - turns * tap.size) / tap.up);
        uint32_t out_slot = o / out.g * out.slot;
        pt[len++] = (struct point){.carry = tap.wrap == WRAP_SPIRAL && tap.columns ? turns : 0,
                                   .delta = (int64_t)(i / in.g) * in.slot - out_slot,
                                   .out_part = o % out.g,
                                   .in_part = i % in.g,
                                   .out_slot = out_slot};
    }
    qsort(pt, len, sizeof *pt, by_class);
    struct runs runs = {0};
    cut_runs(a, &runs, pt, len);
    arena_free(scratch);
    return runs;
}

/* All runs of a term: columns by kw; rows by (kh, carry - carry_from). */
struct window {
    uint32_t kh, kw, carries;
    int64_t carry_from;
    struct runs *rows, *columns;
};

static struct window window_runs(struct arena *a, const struct lmap *m, const struct lterm *t,
                                 const struct type *w, const struct layout *out,
                                 const struct layout *in)
{
    struct window win = {.kh = w->dims[2], .kw = w->dims[3], .carries = 1};
    int64_t height = (int64_t)t->in[1] * t->up[0];
    int64_t width = (int64_t)t->in[2] * t->up[1];
    if (t->wrap == WRAP_SPIRAL) {
        int64_t last = (int64_t)(m->out[2] - 1) * t->stride[1] +
                       (int64_t)(win.kw - 1) * t->dilation[1] - t->pad[2];
        win.carry_from = floor_div(-(int64_t)t->pad[2], width);
        win.carries = (uint32_t)(floor_div(last, width) - win.carry_from + 1);
    }
    win.columns = arena_array(a, win.kw, sizeof *win.columns);
    for (uint32_t kw = 0; kw < win.kw; kw++) {
        int64_t first = (int64_t)kw * t->dilation[1] - t->pad[2];
        struct tap tap = {first, t->stride[1], width, t->up[1], t->wrap, true};
        win.columns[kw] = axis_runs(a, tap, m->out[2], columns_of(out), columns_of(in));
    }
    win.rows = arena_array(a, (size_t)win.kh * win.carries, sizeof *win.rows);
    for (uint32_t kh = 0; kh < win.kh; kh++) {
        for (uint32_t c = 0; c < win.carries; c++) {
            int64_t first = (int64_t)kh * t->dilation[0] - t->pad[0] + win.carry_from + c;
            struct tap tap = {first, t->stride[0], height, t->up[0], t->wrap, false};
            win.rows[kh * win.carries + c] =
                axis_runs(a, tap, m->out[1], rows_of(out), rows_of(in));
        }
    }
    return win;
}

/* ---- buckets -------------------------------------------------------------------------------- */

/* Diagonals by key: out_ct (20 bits), in_ct (24), offset (17). Open addressing on the key. */
struct bucket {
    uint64_t key; /* + 1; 0 = empty */
    uint64_t count, first;
    uint32_t index;
};
struct table {
    struct arena *a;
    struct bucket *at;
    uint64_t size, used;
};

static struct bucket *table_slot(const struct table *t, uint64_t key)
{
    uint64_t i = key * 0x9e3779b97f4a7c15u >> 20;
    for (;; i++) {
        struct bucket *b = &t->at[i & (t->size - 1)];
        if (b->key == 0 || b->key == key + 1) {
            return b;
        }
    }
}

static struct bucket *table_put(struct table *t, uint64_t key)
{
    if (2 * t->used >= t->size) {
        struct table bigger = {t->a, arena_array(t->a, t->size ? 2 * t->size : 1024, sizeof *t->at),
                               t->size ? 2 * t->size : 1024, t->used};
        for (uint64_t i = 0; i < t->size; i++) {
            if (t->at[i].key != 0) {
                *table_slot(&bigger, t->at[i].key - 1) = t->at[i];
            }
        }
        *t = bigger;
    }
    struct bucket *b = table_slot(t, key);
    if (b->key == 0) {
        b->key = key + 1;
        t->used++;
    }
    return b;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = (*(struct bucket *const *)a)->key;
    uint64_t y = (*(struct bucket *const *)b)->key;
    return (x > y) - (x < y);
}

/* ---- enumeration ---------------------------------------------------------------------------- */

/* Where a channel of a layout begins: ciphertext and slot of its element (0,0). */
struct base {
    uint32_t ct, slot;
};
static struct base *channel_bases(struct arena *a, const struct layout *l)
{
    struct base *base = arena_array(a, l->c, sizeof *base);
    for (uint32_t c = 0; c < l->c; c++) {
        layout_at(l, c, 0, 0, &base[c].ct, &base[c].slot);
    }
    return base;
}

/* One sweep over a term. rects NULL: count into the table; else fill. */
struct sweep {
    struct table *table;
    struct rect *rects;
    uint32_t first_ct, mask; /* mask: m - 1 */
    const struct layout *out, *in;
    const struct base *out_base, *in_base;
    const struct window *win;
    const double *values; /* NULL: nothing is dropped */
};

static void add_rect(const struct sweep *s, struct base out, struct base in, const struct run *r,
                     const struct run *c, uint32_t weight)
{
    uint32_t out_ct = out.ct + r->out_part * s->out->g_w + c->out_part;
    uint32_t in_ct = s->first_ct + in.ct + r->in_part * s->in->g_w + c->in_part;
    uint32_t out_slot = out.slot + r->out_slot + c->out_slot;
    uint32_t in_slot = in.slot + r->in_slot + c->in_slot;
    uint64_t key =
        (uint64_t)out_ct << 41 | (uint64_t)in_ct << 17 | ((in_slot - out_slot) & s->mask);
    if (!s->rects) {
        table_put(s->table, key)->count++;
        return;
    }
    struct bucket *b = table_slot(s->table, key);
    s->rects[b->first + b->count++] =
        (struct rect){out_slot, in_slot, r->count, c->count, r->step, c->step, weight};
}

static void sweep_term(const struct sweep *s, const struct lterm *t, const struct type *w)
{
    const struct window *win = s->win;
    uint32_t per_group = w->dims[0] / t->groups;
    uint32_t weight = 0;
    for (uint32_t o = 0; o < w->dims[0]; o++) {
        struct base out = s->out_base[t->out_from + o];
        for (uint32_t cl = 0; cl < w->dims[1]; cl++) {
            struct base in = s->in_base[t->in_from + o / per_group * w->dims[1] + cl];
            for (uint32_t kh = 0; kh < win->kh; kh++) {
                for (uint32_t kw = 0; kw < win->kw; kw++, weight++) {
                    const struct runs *columns = &win->columns[kw];
                    if (s->values && s->values[weight] == 0) {
                        continue;
                    }
                    for (uint32_t c = 0; c < columns->len; c++) {
                        const struct run *col = &columns->at[c];
                        const struct runs *rows =
                            &win->rows[kh * win->carries +
                                       (uint32_t)(col->carry - win->carry_from)];
                        for (uint32_t r = 0; r < rows->len; r++) {
                            add_rect(s, out, in, &rows->at[r], col, weight);
                        }
                    }
                }
            }
        }
    }
}

/*
 * Where a tap puts channel i of the operand into channel o of the result: its key is that of the two
 * channels plus that of the window's run, ciphertext by ciphertext and offsets modulo m. Few of either
 * are different, so that their sums are all keys, without a look at every entry.
 */
static void sum_keys(struct table *to, const struct table *channels, const struct table *runs,
                     uint64_t mask, struct arena *scratch)
{
    const uint64_t cts = ~(uint64_t)0x1ffff;
    uint64_t *run = arena_array(scratch, runs->used, sizeof *run), len = 0;
    for (uint64_t i = 0; i < runs->size; i++) {
        if (runs->at[i].key != 0) {
            run[len++] = runs->at[i].key - 1;
        }
    }
    for (uint64_t i = 0; i < channels->size; i++) {
        uint64_t x = channels->at[i].key - 1;
        for (uint64_t k = 0; channels->at[i].key != 0 && k < len; k++) {
            table_put(to, (x & cts) + (run[k] & cts) + ((x + run[k]) & mask));
        }
    }
}

static void term_keys(const struct sweep *s, const struct lterm *t, const struct type *w,
                      struct arena *scratch)
{
    struct table channels = {.a = scratch}, runs = {.a = scratch};
    const struct window *win = s->win;
    uint32_t per_group = w->dims[0] / t->groups;
    for (uint32_t o = 0; o < w->dims[0]; o++) {
        struct base out = s->out_base[t->out_from + o];
        for (uint32_t cl = 0; cl < w->dims[1]; cl++) {
            struct base in = s->in_base[t->in_from + o / per_group * w->dims[1] + cl];
            table_put(&channels, (uint64_t)out.ct << 41 | (uint64_t)(s->first_ct + in.ct) << 17 |
                                     ((in.slot - out.slot) & s->mask));
        }
    }
    for (uint32_t kh = 0; kh < win->kh; kh++) {
        for (uint32_t kw = 0; kw < win->kw; kw++) {
            for (uint32_t c = 0; c < win->columns[kw].len; c++) {
                const struct run *col = &win->columns[kw].at[c];
                const struct runs *rows =
                    &win->rows[kh * win->carries + (uint32_t)(col->carry - win->carry_from)];
                for (uint32_t r = 0; r < rows->len; r++) {
                    const struct run *row = &rows->at[r];
                    uint32_t from = row->in_slot + col->in_slot, to = row->out_slot + col->out_slot;
                    table_put(&runs, (uint64_t)(row->out_part * s->out->g_w + col->out_part) << 41 |
                                         (uint64_t)(row->in_part * s->in->g_w + col->in_part)
                                             << 17 |
                                         ((from - to) & s->mask));
                }
            }
        }
    }
    sum_keys(s->table, &channels, &runs, s->mask, scratch);
}

/* What is wanted: keys, of dense weights; keys with counts; rects */
enum sweeping { SWEEP_KEYS, SWEEP_COUNTS, SWEEP_RECTS };

static void sweep_map(struct prog *p, const struct lmap *m, const struct window *win,
                      bool with_weights, struct arena *scratch, struct table *table,
                      enum sweeping sweep, struct rect *rects)
{
    const struct layout *out = &p->layouts[m->out_layout];
    for (uint32_t i = 0; i < m->num_terms; i++) {
        const struct lterm *t = &m->term[i];
        const struct layout *in = &p->layouts[t->in_layout];
        struct arena_mark mark = arena_mark(scratch);
        struct sweep s = {.table = table,
                          .rects = rects,
                          .first_ct = lmap_first_ct(p, m, i),
                          .mask = (in->n < out->n ? in->n : out->n) - 1,
                          .out = out,
                          .in = in,
                          .out_base = channel_bases(scratch, out),
                          .in_base = channel_bases(scratch, in),
                          .win = &win[i],
                          .values = with_weights ? const_values(p, t->weight) : NULL};
        const struct type *w = &p->consts.at[t->weight].type;
        if (sweep == SWEEP_KEYS) {
            term_keys(&s, t, w, scratch);
        } else {
            sweep_term(&s, t, w);
        }
        arena_release(scratch, mark);
    }
}

static struct window *map_windows(const struct prog *p, const struct lmap *m, struct arena *a)
{
    struct window *win = arena_array(a, m->num_terms, sizeof *win);
    for (uint32_t i = 0; i < m->num_terms; i++) {
        const struct lterm *t = &m->term[i];
        win[i] = window_runs(a, m, t, &p->consts.at[t->weight].type, &p->layouts[m->out_layout],
                             &p->layouts[t->in_layout]);
    }
    return win;
}

/* Diagonals without rects, where these begin in `first` of their buckets */
static struct diagonal *diagonals_of(const struct prog *p, const struct lmap *m,
                                     struct bucket *const *order, uint64_t len, struct arena *a)
{
    struct diagonal *diag = arena_array(a, len, sizeof *diag);
    uint64_t first = 0;
    for (uint64_t i = 0, term = 0; i < len; i++) {
        uint64_t key = order[i]->key - 1;
        uint32_t in_ct = (uint32_t)(key >> 17) & 0xffffff;
        term =
            in_ct < lmap_first_ct(p, m, (uint32_t)term) ? 0 : term; /* a new out_ct starts over */
        while (in_ct >= lmap_first_ct(p, m, (uint32_t)term + 1)) {
            term++;
        }
        diag[i] = (struct diagonal){.out_ct = (uint32_t)(key >> 41),
                                    .in_ct = in_ct,
                                    .offset = (uint32_t)key & 0x1ffff,
                                    .term = (uint32_t)term,
                                    .num_rects = (uint32_t)order[i]->count};
        order[i]->first = first;
        first += order[i]->count;
    }
    return diag;
}

static struct bucket **sorted(const struct table *table, struct arena *a)
{
    struct bucket **order = arena_array(a, table->used, sizeof(void *));
    uint64_t len = 0;
    for (uint64_t i = 0; i < table->size; i++) {
        if (table->at[i].key != 0) {
            order[len++] = &table->at[i];
        }
    }
    if (len != 0) {
        qsort(order, len, sizeof(void *), by_key);
    }
    return order;
}

static struct diagonals enumerate(struct prog *p, uint32_t map, bool with_weights, bool with_rects,
                                  struct arena *a)
{
    const struct lmap *m = &p->maps[map];
    if (m->out_layout == NONE) {
        BUG("map &%u has no layouts", map);
    }
    if (m->dft.first != 0) {
        return dft_diagonals(p, m, a);
    }
    struct arena *scratch = arena_new();
    struct arena *buckets = arena_new();
    struct table table = {.a = buckets};
    struct window *win = map_windows(p, m, scratch);
    sweep_map(p, m, win, with_weights, scratch, &table, with_rects ? SWEEP_COUNTS : SWEEP_KEYS,
              NULL);
    struct bucket **order = sorted(&table, scratch);
    uint64_t len = table.used, total = 0;
    struct diagonal *diag = diagonals_of(p, m, order, len, a);
    for (uint64_t i = 0; i < len; i++) {
        total += order[i]->count;
        order[i]->count = 0;
    }
    if (with_rects) {
        struct rect *rects = arena_array(a, total, sizeof *rects);
        for (uint64_t i = 0; i < len; i++) {
            diag[i].rects = rects + order[i]->first;
        }
        sweep_map(p, m, win, with_weights, scratch, &table, SWEEP_RECTS, rects);
    }
    arena_free(scratch);
    arena_free(buckets);
    return (struct diagonals){lmap_work_slots(p, m), p->layouts[m->out_layout].n, (uint32_t)len,
                              diag};
}

struct diagonals lmap_diagonals(struct prog *p, uint32_t map, bool with_weights, struct arena *a)
{
    return enumerate(p, map, with_weights, true, a);
}

struct diagonals lmap_offsets(struct prog *p, uint32_t map, struct arena *a)
{
    return enumerate(p, map, false, false, a);
}

const struct diagonal *diagonal_find(const struct diagonals *d, uint32_t out_ct, uint32_t in_ct,
                                     uint32_t offset)
{
    uint32_t low = 0;
    uint32_t high = d->len;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct diagonal *x = &d->at[mid];
        bool before = x->out_ct != out_ct ? x->out_ct < out_ct
                      : x->in_ct != in_ct ? x->in_ct < in_ct
                                          : x->offset < offset;
        if (before) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    const struct diagonal *x = &d->at[low];
    return low < d->len && x->out_ct == out_ct && x->in_ct == in_ct && x->offset == offset ? x
                                                                                           : NULL;
}

/* ---- plaintexts ----------------------------------------------------------------------------- */

struct pmac_entry pmac_entry(const struct prog *p, const struct node *pmac, uint32_t i,
                             const struct diagonals *d)
{
    const struct lmap *m = &p->maps[node_int(pmac, KEY_map)];
    uint32_t len;
    uint32_t in_ct = (uint32_t)node_ints(pmac, KEY_in, &len)[i];
    int64_t baby = node_ints(pmac, KEY_baby, &len)[i];
    int64_t giant = node_int(pmac, KEY_giant);
    uint32_t term = 0;
    while (in_ct >= lmap_first_ct(p, m, term + 1)) {
        term++;
    }
    int64_t n_in = p->layouts[m->term[term].in_layout].n;
    int64_t n_out = p->layouts[m->out_layout].n;
    bool by_input = n_in >= n_out;
    struct pmac_entry e = {
        .term = term, .by_input = by_input, .n = (uint32_t)(by_input ? n_in : n_out)};
    e.shift = (uint32_t)floor_mod(by_input ? -baby : giant, e.n);
    e.diagonal = diagonal_find(d, (uint32_t)node_int(pmac, KEY_out), in_ct,
                               (uint32_t)floor_mod(baby + giant, by_input ? n_out : n_in));
    return e;
}

void pmac_plaintexts(struct prog *p, const struct node *pmac, const struct diagonals *d,
                     double *values)
{
    const struct lmap *m = &p->maps[node_int(pmac, KEY_map)];
    if (m->dft.first != 0) {
        BUG("the plaintexts of a DFT factor are complex");
    }
    memset(values, 0, (size_t)pmac->num_args * d->nw * sizeof *values);
    for (uint32_t i = 0; i < pmac->num_args; i++, values += d->nw) {
        struct pmac_entry e = pmac_entry(p, pmac, i, d);
        uint32_t num_rects = e.diagonal ? e.diagonal->num_rects : 0;
        const double *w = const_values(p, m->term[e.term].weight);
        for (uint32_t k = 0; k < num_rects; k++) {
            const struct rect *x = &e.diagonal->rects[k];
            uint32_t slot = (e.by_input ? x->in_slot : x->out_slot) + e.shift;
            for (uint32_t r = 0; r < x->rows; r++) {
                for (uint32_t c = 0; c < x->cols; c++) {
                    values[(slot + r * x->row_step + c * x->col_step) & (e.n - 1)] += w[x->weight];
                }
            }
        }
    }
}

void padd_plaintext(struct prog *p, const struct node *padd, double *values)
{
    const struct layout *l = &p->layouts[node_int(padd, KEY_layout)];
    const double *bias = const_values(p, (uint32_t)node_int(padd, KEY_bias));
    uint32_t part = (uint32_t)node_int(padd, KEY_part);
    memset(values, 0, l->n * sizeof *values);
    for (uint32_t c = 0; c < l->c; c++) {
        for (uint32_t h = part / l->g_w % l->g_h; h < l->h; h += l->g_h) {
            for (uint32_t w = part % l->g_w; w < l->w; w += l->g_w) {
                uint32_t ct, slot;
                layout_at(l, c, h, w, &ct, &slot);
                if (ct == part) {
                    values[slot] = bias[c];
                }
            }
        }
    }
}

/* ---- the definition ------------------------------------------------------------------------- */

/* Where the tap (kh, kw) of a window finds the element of every output pixel, in a plane; NONE: outside */
static void tap_sources(const struct lmap *m, const struct lterm *t, uint32_t kh, uint32_t kw,
                        uint32_t *source)
{
    int64_t height = (int64_t)t->in[1] * t->up[0];
    int64_t width = (int64_t)t->in[2] * t->up[1];
    for (uint32_t yo = 0; yo < m->out[1]; yo++) {
        for (uint32_t xo = 0; xo < m->out[2]; xo++, source++) {
            int64_t r = (int64_t)yo * t->stride[0] + (int64_t)kh * t->dilation[0] - t->pad[0];
            int64_t s = (int64_t)xo * t->stride[1] + (int64_t)kw * t->dilation[1] - t->pad[2];
            if (t->wrap == WRAP_SPIRAL) {
                int64_t flat = floor_mod(r * width + s, height * width);
                r = flat / width;
                s = flat % width;
            } else if (t->wrap == WRAP_CIRCULAR) {
                r = floor_mod(r, height);
                s = floor_mod(s, width);
            } else if (r < 0 || r >= height || s < 0 || s >= width) {
                *source = NONE;
                continue;
            }
            *source = (uint32_t)(r / t->up[0] * t->in[2] + s / t->up[1]);
        }
    }
}

void lmap_apply(struct prog *p, const struct lmap *m, uint32_t term, const double *x, double *y)
{
    if (m->dft.first != 0) {
        BUG("a DFT factor is no map of tensors");
    }
    const struct lterm *t = &m->term[term];
    const uint32_t *dims = p->consts.at[t->weight].type.dims; /* Ct, Cg, KH, KW */
    const double *w = const_values(p, t->weight);
    size_t plane = (size_t)m->out[1] * m->out[2];
    size_t in_plane = (size_t)t->in[1] * t->in[2];
    struct arena *scratch = arena_new();
    uint32_t *source = arena_array(scratch, plane, sizeof *source);
    for (uint32_t kh = 0; kh < dims[2]; kh++) {
        for (uint32_t kw = 0; kw < dims[3]; kw++) {
            tap_sources(m, t, kh, kw, source);
            for (uint32_t o = 0; o < dims[0]; o++) {
                double *to = y + (t->out_from + o) * plane;
                for (uint32_t cl = 0; cl < dims[1]; cl++) {
                    uint32_t c = t->in_from + o / (dims[0] / t->groups) * dims[1] + cl;
                    const double *from = x + c * in_plane;
                    double weight = w[(((size_t)o * dims[1] + cl) * dims[2] + kh) * dims[3] + kw];
                    for (size_t k = 0; k < plane; k++) {
                        to[k] += source[k] == NONE ? 0 : weight * from[source[k]];
                    }
                }
            }
        }
    }
    arena_free(scratch);
}
