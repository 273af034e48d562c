/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reaches the activations of a network, channel by channel. Where the model's weights hold
 * act.range [2][C], the range that training saw for layer "act", pictures that leave it are counted.
 */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>

/*
 * Values are counted in bins of equal ratio, PER_OCTAVE of them between 2^e and 2^(e+1), for e from
 * LEAST to GREATEST and for either sign, and one for all that is nearer to 0. A quantile is a bin's
 * outer edge: at most 2^(1/PER_OCTAVE) = 4.4 % too far from 0, without keeping any value.
 */
enum {
    PER_OCTAVE = 16,
    LEAST = -16,
    GREATEST = 31,
    SIDE = PER_OCTAVE * (GREATEST - LEAST),
    BINS = 2 * SIDE + 1
};

/* ---- counting ------------------------------------------------------------------------------- */

static int bin_of(double v)
{
    double octaves = log2(fabs(v)) - LEAST;
    if (!(octaves >= 0)) {
        return SIDE;
    }
    int k = octaves < GREATEST - LEAST ? (int)(octaves * PER_OCTAVE) : SIDE - 1;
    return v > 0 ? SIDE + 1 + k : SIDE - 1 - k;
}

static double outer_edge(int bin)
{
    if (bin == SIDE) {
        return 0;
    }
    int k = bin > SIDE ? bin - SIDE - 1 : SIDE - 1 - bin;
    double edge = exp2(LEAST + (k + 1) / (double)PER_OCTAVE);
    return bin > SIDE ? edge : -edge;
}

static void count_channel(struct activation *a, uint32_t c, const double *value)
{
    double min = value[0], max = value[0];
    for (size_t i = 0; i < a->plane; i++) {
        min = fmin(min, value[i]);
        max = fmax(max, value[i]);
        a->bin[(size_t)c * BINS + (size_t)bin_of(value[i])]++;
    }
    a->min[c] = fmin(a->min[c], min);
    a->max[c] = fmax(a->max[c], max);
    if (!a->low) {
        return;
    }
    double size = fmax(fabs(a->low[c]), fabs(a->high[c]));
    double excess = fmax(a->low[c] - min, max - a->high[c]);
    if (excess > 0) {
        a->outside = true;
        excess = size > 0 ? excess / size : INFINITY;
        if (excess > a->excess) {
            a->excess = excess;
            a->worst = c;
            a->value = a->low[c] - min > max - a->high[c] ? min : max;
        }
    }
}

void survey_look(void *ctx, uint32_t index, const struct node *n, const double *value, size_t len)
{
    (void)n;
    const struct survey *s = ctx;
    if (s->act_of[index] == NONE) {
        return;
    }
    struct activation *a = &s->act[s->act_of[index]];
    for (size_t i = 0; i < len; i++) {
        if (!isfinite(value[i])) {
            diag_fatal(a->node->loc, "layer '%s': its input is not finite on one of the pictures",
                       a->node->layer);
        }
    }
    for (uint32_t c = 0; c < a->channels; c++) {
        count_channel(a, c, value + c * a->plane);
    }
}

void survey_next(struct survey *s)
{
    for (uint32_t k = 0; k < s->num_acts; k++) {
        s->act[k].left += s->act[k].outside;
        s->act[k].outside = false;
    }
}

double survey_quantile(const struct activation *a, uint32_t c, double share)
{
    const uint64_t *bin = a->bin + (size_t)c * BINS;
    uint64_t total = 0, below = 0;
    for (int k = 0; k < BINS; k++) {
        total += bin[k];
    }
    int k = 0;
    for (below = bin[0]; k < BINS - 1 && (double)below < share * (double)total; below += bin[k]) {
        k++;
    }
    return fmin(fmax(outer_edge(k), a->min[c]), a->max[c]);
}

/* ---- the network ---------------------------------------------------------------------------- */

static void training_range(struct prog *p, struct activation *a)
{
    const char *name = arena_printf(p->arena, "%s.range", a->node->layer), *why;
    if (!*p->weights_path ||
        (!p->weights && !weights_open(p->memo, p->weights_path, &p->weights, &why))) {
        return;
    }
    const struct weights_tensor *t = weights_find(p->weights, name);
    if (!t || t->dtype == DTYPE_OTHER || t->rank != 2 || t->dims[0] != 2 ||
        t->dims[1] != a->channels) {
        return;
    }
    a->low = arena_array(p->arena, a->channels, sizeof *a->low);
    a->high = arena_array(p->arena, a->channels, sizeof *a->high);
    for (uint32_t c = 0; c < a->channels; c++) {
        a->low[c] = weights_value(t, c);
        a->high[c] = weights_value(t, (uint64_t)a->channels + c);
    }
}

static void add_activation(struct survey *s, struct prog *p, const struct nodes *nodes,
                           const struct node *n)
{
    const struct type *t = &nodes->at[n->args[0]].type;
    ARENA_GROW(p->arena, s->act, s->num_acts, s->cap_acts);
    struct activation *a = &s->act[s->num_acts];
    *a = (struct activation){.node = n, .source = n->args[0], .channels = t->dims[0]};
    a->plane = (size_t)t->dims[1] * t->dims[2];
    a->min = arena_array(p->arena, a->channels, sizeof *a->min);
    a->max = arena_array(p->arena, a->channels, sizeof *a->max);
    a->bin = arena_array(p->arena, (size_t)a->channels * BINS, sizeof *a->bin);
    for (uint32_t c = 0; c < a->channels; c++) {
        a->min[c] = INFINITY;
        a->max[c] = -INFINITY;
    }
    training_range(p, a);
    s->act_of[a->source] = s->num_acts++;
}

/* Every polynomial and every square; one value that two of them read is looked at once. */
struct survey survey_network(struct prog *p, const struct nodes *nodes)
{
    struct survey s = {.act_of = arena_array(p->arena, nodes->len, sizeof *s.act_of)};
    for (uint32_t i = 0; i < nodes->len; i++) {
        s.act_of[i] = NONE;
    }
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if ((n->op == OP_poly || n->op == OP_mul) && s.act_of[n->args[0]] == NONE) {
            add_activation(&s, p, nodes, n);
        }
    }
    return s;
}

/* Half of the range again is where a polynomial of degree 4 may begin to dive. */
void survey_warn(const struct survey *s, uint64_t pictures)
{
    for (uint32_t k = 0; k < s->num_acts; k++) {
        const struct activation *a = &s->act[k];
        if (a->excess > 0.5) {
            diag_warning(a->node->loc,
                         "layer '%s': %" PRIu64 " of %" PRIu64
                         " pictures leave the range of training; channel %u reaches %.4g, trained "
                         "from %.4g to %.4g",
                         a->node->layer, a->left, pictures, (unsigned)a->worst, a->value,
                         a->low[a->worst], a->high[a->worst]);
        }
    }
}
