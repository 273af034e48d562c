/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

/*
 * The model data file (format: runtime/rt.h). It holds each constant once, as the numbers of the
 * network, and for each plaintext the rectangles of slots that they fill; the program builds the
 * diagonals when it loads.
 */

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the data file is written from memory: little-endian machines only"
#endif

struct file_rect {
    uint32_t slot, rows, cols, row_step, col_step, value;
};
struct file_plain {
    uint64_t first_rect;
    uint32_t num_rects, n, period;
    int32_t level;
    uint32_t extended, dft;
    double scale;
};
struct file_header {
    char magic[8];
    uint32_t version, kind, flags, zero;
    uint64_t fingerprint, model_hash, key_id, payload, checksum;
};
_Static_assert(sizeof(struct file_rect) == 24, "rt.h");
_Static_assert(sizeof(struct file_plain) == 40, "rt.h");
_Static_assert(sizeof(struct file_header) == 64, "rt.h");

enum { CONTAINER_VERSION = 2, KIND_MODEL_DATA = 4, FLAG_INSECURE = 1 };

struct writer {
    struct prog *p;
    struct arena *a; /* of the result */
    struct c_data *out;
    uint32_t *consts; /* in the order of the value table */
    uint32_t num_consts, cap_consts;
    uint64_t num_values;
    struct file_rect *rects;
    size_t num_rects, cap_rects;
    struct file_plain *plains;
};

/* ---- values --------------------------------------------------------------------------------- */

static void use_const(struct writer *w, uint32_t c)
{
    if (c == NONE || w->out->first_value[c] != NO_VALUE)
        return;
    ARENA_GROW(w->a, w->consts, w->num_consts, w->cap_consts);
    w->consts[w->num_consts++] = c;
    w->out->first_value[c] = w->num_values;
    w->num_values += type_elements(&w->p->consts.at[c].type);
    if (w->num_values > UINT32_MAX)
        diag_fatal(w->p->consts.at[c].loc, "the model has more than 2^32 weights");
}

static void use_map(struct writer *w, uint32_t map)
{
    const struct lmap *m = &w->p->maps[map];
    for (uint32_t t = 0; t < m->num_terms; t++)
        use_const(w, m->term[t].weight);
}

static void collect_values(struct writer *w, const struct nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (node_attr(n, KEY_map))
            use_map(w, (uint32_t)node_int(n, KEY_map));
        use_const(w, node_ref_or_none(n, KEY_bias));
        use_const(w, node_ref_or_none(n, KEY_coeff));
    }
}

/* ---- rectangles ----------------------------------------------------------------------------- */

static void add_rect(struct writer *w, struct file_rect r)
{
    ARENA_GROW(w->a, w->rects, w->num_rects, w->cap_rects);
    w->rects[w->num_rects++] = r;
}

/*
 * A rectangle whose positions count modulo `period`, in a vector of n >= period slots of which only
 * the first `period` are set. The file counts modulo n; where the two differ, the rectangle is
 * split until no piece crosses the end of the period.
 */
static void add_wrapped(struct writer *w, struct file_rect r, uint32_t period, uint32_t n)
{
    r.slot %= period;
    uint64_t last =
        r.slot + (uint64_t)(r.rows - 1) * r.row_step + (uint64_t)(r.cols - 1) * r.col_step;
    if (period == n || last < period) {
        add_rect(w, r);
        return;
    }
    struct file_rect piece = r;
    if (r.rows > 1) {
        piece.rows = 1;
        for (uint32_t k = 0; k < r.rows; k++) {
            piece.slot = (uint32_t)((r.slot + (uint64_t)k * r.row_step) % period);
            add_wrapped(w, piece, period, n);
        }
    } else {
        piece.cols = 1;
        for (uint32_t k = 0; k < r.cols; k++) {
            piece.slot = (uint32_t)((r.slot + (uint64_t)k * r.col_step) % period);
            add_rect(w, piece);
        }
    }
}

static int64_t modulo(int64_t a, int64_t m)
{
    return (a % m + m) % m;
}

/* d->at is sorted by (out_ct, in_ct, offset). */
static const struct diagonal *find_diagonal(const struct diagonals *d, uint32_t out, uint32_t in,
                                            uint32_t offset)
{
    uint32_t lo = 0, hi = d->len;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct diagonal *g = &d->at[mid];
        if (g->out_ct < out || (g->out_ct == out && g->in_ct < in) ||
            (g->out_ct == out && g->in_ct == in && g->offset < offset))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == d->len || d->at[lo].out_ct != out || d->at[lo].in_ct != in ||
        d->at[lo].offset != offset)
        return NULL;
    return &d->at[lo];
}

/* Term of a map that ciphertext `in`, counted over all operands, belongs to. */
static uint32_t term_of(const struct prog *p, const struct lmap *m, uint32_t in)
{
    uint32_t t = 0;
    while (t + 1 < m->num_terms && lmap_first_ct(p, m, t + 1) <= in)
        t++;
    return t;
}

/*
 * A diagonal of a DFT factor is not listed but named. Its entries stand at (in slot - baby) mod n, and
 * in = out + offset with offset = baby + giant: position s holds that of out slot s - giant.
 */
static void dft_operand(const struct ldft *dft, const struct node *n, uint32_t slots, uint32_t k,
                        struct file_plain *plain)
{
    uint32_t len;
    int64_t baby = node_ints(n, KEY_baby, &len)[k], giant = node_int(n, KEY_giant);
    plain->first_rect = (uint64_t)modulo(-giant, slots);
    plain->num_rects = (uint32_t)modulo(baby + giant, slots);
    plain->dft = dft->first | dft->last << 8 | (uint32_t)dft->inverse << 16;
}

static void pmac_operand(struct writer *w, const struct node *n, const struct diagonals *d,
                         uint32_t k, struct file_plain *plain)
{
    const struct prog *p = w->p;
    const struct lmap *m = &p->maps[node_int(n, KEY_map)];
    uint32_t len;
    int64_t in = node_ints(n, KEY_in, &len)[k], baby = node_ints(n, KEY_baby, &len)[k];
    int64_t giant = node_int(n, KEY_giant);
    const struct lterm *term = &m->term[term_of(p, m, (uint32_t)in)];
    plain->n = lmap_work_slots(p, m);
    plain->period = (uint32_t)node_int(n, KEY_period);
    plain->level = n->type.level;
    plain->extended = n->type.kind == KIND_CTX;
    plain->scale = node_real(n, KEY_pt_scale);
    if (m->dft.last) {
        dft_operand(&m->dft, n, plain->n, k, plain);
        return;
    }
    uint32_t n_in = p->layouts[term->in_layout].n, n_out = d->n_out;
    bool input_side = n_in >= n_out;

    plain->first_rect = w->num_rects;
    uint32_t smaller = input_side ? n_out : n_in;
    const struct diagonal *g = find_diagonal(d, (uint32_t)node_int(n, KEY_out), (uint32_t)in,
                                             (uint32_t)modulo(baby + giant, smaller));
    for (uint32_t r = 0; g && r < g->num_rects; r++) {
        const struct rect *e = &g->rects[r];
        int64_t slot = input_side ? e->in_slot - baby : e->out_slot + giant;
        uint32_t period = input_side ? n_in : n_out;
        add_wrapped(
            w,
            (struct file_rect){.slot = (uint32_t)modulo(slot, period),
                               .rows = e->rows,
                               .cols = e->cols,
                               .row_step = e->row_step,
                               .col_step = e->col_step,
                               .value = (uint32_t)w->out->first_value[term->weight] + e->weight},
            period, d->nw);
    }
    plain->num_rects = (uint32_t)(w->num_rects - plain->first_rect);
}

/* One rectangle a channel: inside a ciphertext the interleave class is fixed. */
static void padd_operand(struct writer *w, const struct node *n, struct file_plain *plain)
{
    const struct layout *l = &w->p->layouts[node_int(n, KEY_layout)];
    uint32_t part = (uint32_t)node_int(n, KEY_part);
    uint64_t bias = w->out->first_value[node_int(n, KEY_bias)];
    uint32_t i = part / l->g_w % l->g_h, j = part % l->g_w;

    plain->first_rect = w->num_rects;
    for (uint32_t c = 0; c < l->c && i < l->h && j < l->w; c++) {
        uint32_t ct, slot;
        layout_at(l, c, i, j, &ct, &slot);
        if (ct != part)
            continue;
        add_rect(w, (struct file_rect){.slot = slot,
                                       .rows = (l->h - i + l->g_h - 1) / l->g_h,
                                       .cols = (l->w - j + l->g_w - 1) / l->g_w,
                                       .row_step = l->t_h * l->pitch,
                                       .col_step = l->t_w,
                                       .value = (uint32_t)bias + c});
    }
    plain->num_rects = (uint32_t)(w->num_rects - plain->first_rect);
    plain->n = plain->period = l->n;
    plain->level = n->type.level;
    plain->extended = n->type.kind == KIND_CTX;
    plain->scale = n->type.scale;
}

/* ---- plaintexts ----------------------------------------------------------------------------- */

/* The lists of nodes of a program: its own, then its functions' */
struct list {
    const struct nodes *nodes;
    uint32_t *first_plain;
};

static struct list list_of(const struct writer *w, uint32_t k)
{
    if (k == 0)
        return (struct list){&w->p->nodes, w->out->first_plain};
    return (struct list){&w->p->funcs[k - 1].nodes, w->out->func_plain[k - 1]};
}

/* Numbers follow the program, so that each pmac finds its own side by side. */
static void number_plains(struct writer *w)
{
    for (uint32_t f = 0; f <= w->p->num_funcs; f++) {
        struct list l = list_of(w, f);
        for (uint32_t i = 0; i < l.nodes->len; i++) {
            const struct node *n = &l.nodes->at[i];
            l.first_plain[i] = NONE;
            if (n->op != OP_pmac && n->op != OP_padd)
                continue;
            l.first_plain[i] = w->out->num_plains;
            w->out->num_plains += n->op == OP_pmac ? n->num_args : 1;
        }
    }
    w->plains = arena_array(w->a, w->out->num_plains, sizeof *w->plains);
}

static void fill_products(struct writer *w, struct list l, uint32_t map, struct diagonals *d,
                          struct arena *scratch)
{
    for (uint32_t i = 0; i < l.nodes->len; i++) {
        const struct node *n = &l.nodes->at[i];
        if (n->op != OP_pmac || node_int(n, KEY_map) != map)
            continue;
        if (d->nw == 0 && w->p->maps[map].dft.last == 0)
            *d = lmap_diagonals(w->p, map, true, scratch);
        for (uint32_t k = 0; k < n->num_args; k++)
            pmac_operand(w, n, d, k, &w->plains[l.first_plain[i] + k]);
    }
}

/* Map by map, because the diagonals of one are large and are needed by many nodes. */
static void fill_plains(struct writer *w)
{
    struct prog *p = w->p;
    struct arena *scratch = arena_new();
    for (uint32_t m = 0; m < p->num_maps; m++) {
        struct diagonals d = {0};
        struct arena_mark mark = arena_mark(scratch);
        for (uint32_t f = 0; f <= p->num_funcs; f++)
            fill_products(w, list_of(w, f), m, &d, scratch);
        arena_release(scratch, mark);
    }
    arena_free(scratch);
    for (uint32_t f = 0; f <= p->num_funcs; f++) {
        struct list l = list_of(w, f);
        for (uint32_t i = 0; i < l.nodes->len; i++)
            if (l.nodes->at[i].op == OP_padd)
                padd_operand(w, &l.nodes->at[i], &w->plains[l.first_plain[i]]);
    }
}

/* ---- answers that are no secret ------------------------------------------------------------- */

/* Whether what operand k of n contributes is zero whatever its value is */
static bool times_zero(const struct writer *w, struct list l, uint32_t i, uint32_t k)
{
    const struct node *n = &l.nodes->at[i];
    if (n->op == OP_comb)
        return node_attr(n, KEY_factors)->v.reals[k] == 0;
    if (n->op != OP_pmac)
        return false;
    const struct file_plain *plain = &w->plains[l.first_plain[i] + k];
    return plain->num_rects == 0 && plain->dft == 0;
}

/*
 * A sum of products with plaintexts that are all zero is a ciphertext whose second half is zero: its
 * plaintext is there for everyone to read. The runtime never writes one, so a result that can only be
 * such a ciphertext is refused here, with the layer that makes it. A call's result counts as what its
 * operand is.
 */
static void refuse_constants(const struct writer *w)
{
    struct list l = list_of(w, 0);
    const struct nodes *nodes = l.nodes;
    struct arena *scratch = arena_new();
    uint32_t *cause = arena_array(scratch, nodes->len, sizeof *cause); /* node, or NONE: a secret */
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        bool zeros = n->num_args > 0;
        for (uint32_t k = 0; k < n->num_args && zeros; k++)
            zeros = times_zero(w, l, i, k);
        cause[i] = zeros ? i : n->num_args ? cause[n->args[0]] : NONE;
        for (uint32_t k = 0; k < n->num_args && !zeros; k++) {
            uint32_t from = cause[n->args[k]];
            if (n->op == OP_output && from != NONE)
                diag_fatal(
                    nodes->at[from].loc,
                    "layer '%s' multiplies by zeros only: values of the answer do not depend "
                    "on the image, and could not be encrypted",
                    nodes->at[from].layer);
            if (from == NONE)
                cause[i] = NONE;
        }
    }
    arena_free(scratch);
}

/* ---- the container -------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    if (size)
        memcpy(at, data, size);
    return at + size;
}

static void write_file(struct writer *w)
{
    struct prog *p = w->p;
    uint64_t counts[4] = {w->num_values, w->num_rects, w->out->num_plains, 0};
    size_t values = (size_t)w->num_values * sizeof(double);
    size_t rects = w->num_rects * sizeof *w->rects;
    size_t plains = w->out->num_plains * sizeof *w->plains;
    size_t payload = sizeof counts + values + rects + plains;
    struct file_header h = {.magic = {'W', 'E', 'F', 'T', 'F', 'I', 'L', 'E'},
                            .version = CONTAINER_VERSION,
                            .kind = KIND_MODEL_DATA,
                            .flags = p->params.insecure ? FLAG_INSECURE : 0,
                            .model_hash = p->model.hash,
                            .payload = payload};
    uint8_t *file = arena_alloc(w->a, sizeof h + payload), *at = file + sizeof h;

    at = put(at, counts, sizeof counts);
    for (uint32_t k = 0; k < w->num_consts; k++) {
        uint32_t c = w->consts[k];
        at = put(at, const_values(p, c),
                 (size_t)type_elements(&p->consts.at[c].type) * sizeof(double));
    }
    at = put(at, w->rects, rects);
    put(at, w->plains, plains);

    memcpy(file, &h, sizeof h);
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, file, offsetof(struct file_header, checksum));
    XXH3_64bits_update(&state, file + sizeof h, payload);
    h.checksum = XXH3_64bits_digest(&state);
    memcpy(file, &h, sizeof h);
    w->out->checksum = h.checksum;
    w->out->file = (struct str){w->a, (char *)file, sizeof h + payload, sizeof h + payload};
}

void c_data(struct prog *p, struct c_data *out, struct arena *a)
{
    struct writer w = {.p = p, .a = a, .out = out};
    *out = (struct c_data){0};
    out->first_plain = arena_array(a, p->nodes.len, sizeof *out->first_plain);
    out->func_plain = arena_array(a, p->num_funcs, sizeof *out->func_plain);
    for (uint32_t f = 0; f < p->num_funcs; f++)
        out->func_plain[f] = arena_array(a, p->funcs[f].nodes.len, sizeof **out->func_plain);
    out->first_value = arena_array(a, p->consts.len, sizeof *out->first_value);
    for (uint32_t c = 0; c < p->consts.len; c++)
        out->first_value[c] = NO_VALUE;
    collect_values(&w, &p->reference);
    collect_values(&w, &p->packed);
    collect_values(&w, &p->nodes);
    for (uint32_t f = 0; f < p->num_funcs; f++)
        collect_values(&w, &p->funcs[f].nodes);
    number_plains(&w);
    fill_plains(&w);
    refuse_constants(&w);
    write_file(&w);
}
