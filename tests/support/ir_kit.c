/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf out_of_here;

static void jump(bool bug)
{
    longjmp(out_of_here, bug ? 2 : 1);
}

struct caught ir_catch(void (*f)(void *ctx), void *ctx)
{
    static struct caught c; /* static: survives the jump */
    static char *text;
    static size_t len;
    static FILE *stream;
    memset(&c, 0, sizeof c);
    stream = open_memstream(&text, &len);
    diag_set_stream(stream);
    diag_set_handler(jump);
    int how = setjmp(out_of_here);
    if (how == 0) {
        f(ctx);
    }
    c.ended = how != 0;
    c.bug = how == 2;
    diag_set_handler(NULL);
    diag_set_stream(stderr);
    fclose(stream);
    (void)snprintf(c.text, sizeof c.text, "%.*s", (int)(sizeof c.text - 1), text);
    free(text);
    return c;
}

uint32_t ir_pick(uint64_t *rng, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(kit_random(rng) % (high - low + 1));
}

uint32_t ir_random_const(struct build *b, uint64_t *rng, const int64_t *dims, uint32_t rank,
                         uint32_t zeros)
{
    uint32_t len = 1;
    for (uint32_t i = 0; i < rank; i++) {
        len *= (uint32_t)dims[i];
    }
    double *v = arena_array(b->p->arena, len, sizeof *v);
    for (uint32_t i = 0; i < len; i++) {
        v[i] = zeros && kit_random(rng) % zeros == 0 ? 0 : kit_uniform(rng, -1, 1);
    }
    build_ints(b, KEY_dims, dims, rank);
    build_reals(b, KEY_data, v, len);
    return build_node(b, OP_values, NULL, 0);
}

/* c different numbers below c + gaps */
static const uint32_t *random_perm(struct prog *p, uint64_t *rng, uint32_t c)
{
    uint32_t len = c + ir_pick(rng, 0, 3);
    uint32_t *v = arena_array(p->arena, len, sizeof *v);
    for (uint32_t i = 0; i < len; i++) {
        uint32_t j = ir_pick(rng, 0, i);
        v[i] = v[j];
        v[j] = i;
    }
    return v;
}

uint32_t ir_random_layout(struct prog *p, uint64_t *rng, const uint32_t dims[3], uint32_t most_g,
                          uint32_t most_t)
{
    struct layout l = {.c = dims[0], .h = dims[1], .w = dims[2]};
    l.g_h = ir_pick(rng, 1, most_g);
    l.g_w = ir_pick(rng, 1, most_g);
    l.t_h = ir_pick(rng, 1, most_t);
    l.t_w = ir_pick(rng, 1, most_t);
    uint32_t rows = (dims[1] + l.g_h - 1) / l.g_h;
    uint32_t row = l.t_w * ((dims[2] + l.g_w - 1) / l.g_w);
    l.pitch = row + ir_pick(rng, 0, 3);
    l.block = 1;
    while (l.block < (l.t_h * rows - 1) * l.pitch + row) {
        l.block *= 2;
    }
    l.n = l.block << ir_pick(rng, 0, 2);
    l.perm = ir_pick(rng, 0, 1) ? random_perm(p, rng, l.c) : NULL;
    return prog_add_layout(p, &l);
}

/* One result ciphertext: groups its diagonals under up to three giant steps. */
static void apply_one(struct prog *p, uint64_t *rng, uint32_t map, const struct diagonals *d,
                      uint32_t out_ct, const double *const *x, double *work)
{
    const struct lmap *m = &p->maps[map];
    uint32_t n_out = d->n_out;
    int64_t giants[3];
    for (int i = 0; i < 3; i++) {
        giants[i] = (int64_t)ir_pick(rng, 0, 2 * d->nw) - d->nw;
    }
    struct arena *a = arena_new();
    int64_t *in = arena_array(a, d->len, sizeof *in);
    int64_t *baby = arena_array(a, d->len, sizeof *baby);
    uint32_t *n_in = arena_array(a, d->len, sizeof *n_in);
    uint32_t *which = arena_array(a, d->len, sizeof *which);
    for (uint32_t i = 0; i < d->len; i++) {
        which[i] = ir_pick(rng, 0, 2);
    }
    for (uint32_t k = 0; k < 3; k++) {
        uint32_t len = 0;
        for (uint32_t i = 0; i < d->len; i++) {
            const struct diagonal *g = &d->at[i];
            if (g->out_ct != out_ct || which[i] != k) {
                continue;
            }
            uint32_t n = p->layouts[m->term[g->term].in_layout].n;
            uint32_t mod = n < n_out ? n : n_out;
            n_in[len] = n;
            in[len] = g->in_ct;
            baby[len++] = g->offset - giants[k] + (int64_t)mod * ((int64_t)ir_pick(rng, 0, 4) - 2);
        }
        struct attr attrs[] = {{.key = KEY_map, .v.i = map},
                               {.key = KEY_out, .v.i = out_ct},
                               {.key = KEY_giant, .v.i = giants[k]},
                               {.key = KEY_in, .len = len, .v.ints = in},
                               {.key = KEY_baby, .len = len, .v.ints = baby}};
        struct node pmac = {.op = OP_pmac, .num_attrs = 5, .num_args = len, .attrs = attrs};
        double *pt = arena_array(a, (size_t)len * d->nw, sizeof *pt);
        double *acc = arena_array(a, d->nw, sizeof *acc);
        pmac_plaintexts(p, &pmac, d, pt);
        for (uint32_t i = 0; i < len; i++) {
            for (uint32_t s = 0; s < d->nw; s++) {
                acc[s] +=
                    pt[(size_t)i * d->nw + s] *
                    x[in[i]][(uint64_t)(s + baby[i] + (int64_t)n_in[i] * 1024 * 1024) % n_in[i]];
            }
        }
        for (uint32_t s = 0; s < d->nw; s++) {
            work[s] += acc[(uint64_t)(s + giants[k] + (int64_t)d->nw * 1024) % d->nw];
        }
    }
    arena_free(a);
}

void ir_apply_diagonals(struct prog *p, uint64_t *rng, uint32_t map, const double *const *x,
                        double *y)
{
    struct arena *a = arena_new();
    struct diagonals d = lmap_diagonals(p, map, true, a);
    uint32_t num_out = p->layouts[p->maps[map].out_layout].num_ct;
    for (uint32_t o = 0; o < num_out; o++) {
        double *work = arena_array(a, d.nw, sizeof *work);
        apply_one(p, rng, map, &d, o, x, work);
        for (uint32_t s = 0; s < d.n_out; s++) {
            double sum = 0;
            for (uint32_t k = s; k < d.nw; k += d.n_out) {
                sum += work[k];
            }
            y[(size_t)o * d.n_out + s] = sum;
        }
    }
    arena_free(a);
}
