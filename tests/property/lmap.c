/* SPDX-License-Identifier: Apache-2.0 */
/* Random linear maps between random layouts: the diagonals, under a random baby-step giant-step
 * split, give the naive result in every slot, and 0 in every slot that holds nothing. */

#include "ir_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t one_of(uint64_t *rng, uint32_t len, const uint32_t *v)
{
    return v[ir_pick(rng, 0, len - 1)];
}

static void describe(const struct prog *p, char *text, size_t size)
{
    struct str s;
    str_init(&s, p->arena);
    prog_print(p, &s);
    (void)snprintf(text, size, "%s", s.s);
}

/* A term that fits m->out, or decides it when `decide`. */
static struct lterm random_term(struct build *b, uint64_t *rng, struct lmap *m, bool decide)
{
    struct lterm t = {.in_layout = NONE};
    uint32_t sizes[] = {1, 3, 5, 7, 8, 9, 13};
    uint32_t kernel[2];
    t.wrap =
        (enum wrap)one_of(rng, 4, (uint32_t[]){WRAP_ZEROS, WRAP_ZEROS, WRAP_CIRCULAR, WRAP_SPIRAL});
    for (uint32_t i = 0; i < 2; i++) {
        if (decide) {
            t.in[1 + i] = one_of(rng, 7, sizes);
            t.stride[i] = ir_pick(rng, 1, 3);
            t.up[i] = one_of(rng, 4, (uint32_t[]){1, 1, 1, 2});
            t.dilation[i] = ir_pick(rng, 1, 2);
            do {
                kernel[i] = ir_pick(rng, 1, 4);
                t.pad[2 * i] = (int32_t)ir_pick(rng, 0, 4) - 1;
                t.pad[2 * i + 1] = (int32_t)ir_pick(rng, 0, 4) - 1;
                m->out[1 + i] = window_size(t.in[1 + i] * t.up[i], kernel[i], t.stride[i],
                                            t.pad[2 * i], t.pad[2 * i + 1], t.dilation[i]);
            } while (m->out[1 + i] == 0);
        } else { /* 1x1 */
            t.in[1 + i] = m->out[1 + i];
            t.stride[i] = t.up[i] = t.dilation[i] = kernel[i] = 1;
        }
    }
    t.groups = ir_pick(rng, 1, 3);
    uint32_t per_out = ir_pick(rng, 1, 4);
    uint32_t per_in = ir_pick(rng, 1, 4);
    t.in_from = ir_pick(rng, 0, 2);
    t.out_from = ir_pick(rng, 0, 2);
    t.in[0] = t.in_from + t.groups * per_in + ir_pick(rng, 0, 2);
    uint32_t reach = t.out_from + t.groups * per_out;
    m->out[0] = reach > m->out[0] ? reach : m->out[0];
    int64_t dims[4] = {t.groups * per_out, per_in, kernel[0], kernel[1]};
    t.weight = ir_random_const(b, rng, dims, 4, 5);
    return t;
}

/* What the random maps must cover, counted. */
enum {
    FOLDED,
    WIDENED,
    INTERLEAVED,
    GAPPED,
    PERMUTED,
    GROUPED,
    UPSAMPLED,
    CIRCULAR,
    SPIRAL,
    NEGATIVE_PAD,
    NUM_COVERED
};
static const char *const covered_name[] = {"n_in > n_out", "n_in < n_out",    "g > 1", "t > 1",
                                           "perm",         "groups",          "up",    "circular",
                                           "spiral",       "negative padding"};

static void count_covered(const struct prog *p, const struct lmap *m, uint32_t covered[NUM_COVERED])
{
    const struct layout *out = &p->layouts[m->out_layout];
    for (uint32_t i = 0; i < m->num_terms; i++) {
        const struct lterm *t = &m->term[i];
        const struct layout *in = &p->layouts[t->in_layout];
        covered[FOLDED] += in->n > out->n;
        covered[WIDENED] += in->n < out->n;
        covered[INTERLEAVED] += in->g_h > 1 && out->g_w > 1;
        covered[GAPPED] += in->t_h > 1 && out->t_w > 1;
        covered[PERMUTED] += in->perm && out->perm;
        covered[GROUPED] += t->groups > 1;
        covered[UPSAMPLED] += t->up[0] > 1 || t->up[1] > 1;
        covered[CIRCULAR] += t->wrap == WRAP_CIRCULAR;
        covered[SPIRAL] += t->wrap == WRAP_SPIRAL;
        covered[NEGATIVE_PAD] += t->pad[0] < 0 || t->pad[2] < 0;
    }
}

static void one_map(uint64_t seed, uint32_t covered[NUM_COVERED])
{
    uint64_t rng = seed;
    struct arena *a = arena_new();
    struct prog *p = prog_new(a, STAGE_SLOT);
    struct build b = build_at(p, NO_LOC, "");
    struct lterm terms[2];
    struct lmap m = {.out_layout = NONE, .num_terms = ir_pick(&rng, 1, 2), .term = terms};
    for (uint32_t i = 0; i < m.num_terms; i++) {
        terms[i] = random_term(&b, &rng, &m, i == 0);
    }
    /* small folds: n_in and n_out differ by themselves, since shapes and blocks are random */
    m.out_layout = ir_random_layout(p, &rng, m.out, 3, 3);
    for (uint32_t i = 0; i < m.num_terms; i++) {
        terms[i].in_layout = ir_random_layout(p, &rng, terms[i].in, 3, 3);
    }
    uint32_t map = prog_add_map(p, &m);

    const struct layout *out = &p->layouts[m.out_layout];
    double *y = arena_array(a, (size_t)out->c * out->h * out->w, sizeof *y);
    const double **x = arena_array(a, lmap_first_ct(p, &m, m.num_terms), sizeof *x);
    uint32_t ct = 0;
    for (uint32_t i = 0; i < m.num_terms; i++) {
        const struct layout *in = &p->layouts[terms[i].in_layout];
        size_t len = (size_t)in->c * in->h * in->w;
        double *plain = arena_array(a, len, sizeof *plain);
        for (size_t k = 0; k < len; k++) {
            plain[k] = kit_uniform(&rng, -1, 1);
        }
        lmap_apply(p, &m, i, plain, y);
        double *packed = arena_array(a, (size_t)in->num_ct * in->n, sizeof *packed);
        layout_pack(in, plain, packed);
        for (uint32_t k = 0; k < in->num_ct; k++) {
            x[ct++] = packed + (size_t)k * in->n;
        }
    }
    size_t slots = (size_t)out->num_ct * out->n;
    double *want = arena_array(a, slots, sizeof *want);
    double *got = arena_array(a, slots, sizeof *got);
    layout_pack(out, y, want);
    ir_apply_diagonals(p, &rng, map, x, got);
    for (size_t s = 0; s < slots; s++) {
        if (!(fabs(got[s] - want[s]) < 1e-9)) {
            char text[4096];
            describe(p, text, sizeof text);
            cr_assert_fail("seed %llu: slot %zu is %g, should be %g\n%s", (unsigned long long)seed,
                           s, got[s], want[s], text);
        }
    }
    count_covered(p, &m, covered);
    arena_free(a);
}

Test(lmap, diagonals_agree_with_the_definition)
{
    uint64_t seed = kit_seed();
    const char *trials = getenv("TRIALS");
    unsigned long count = trials && *trials ? strtoul(trials, NULL, 10) : 600;
    uint32_t covered[NUM_COVERED] = {0};
    for (unsigned long i = 0; i < count; i++) {
        one_map(seed + i, covered);
    }
    for (int i = 0; i < NUM_COVERED; i++) {
        cr_assert(10 * covered[i] >= count / 10, "only %u of %lu maps have %s", covered[i], count,
                  covered_name[i]);
    }
}
