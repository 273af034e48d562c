/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft ranges: what reaches the activations of a network, channel by channel, on pictures.
 * Of a layer "act", a safetensors file gets act.range [2][C] (least and greatest value) and
 * act.quantiles [5][C] (at `shares` below). Where the model's weights hold act.range, the
 * range that training saw, pictures that leave it are counted and reported.
 */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backends.h"

static const double shares[] = {0.001, 0.01, 0.5, 0.99, 0.999};
enum { NUM_SHARES = sizeof shares / sizeof *shares };

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

struct activation {
    const struct node *node; /* the first that reads the value */
    uint32_t source;         /* node whose value is looked at */
    uint32_t channels;
    size_t plane;
    double *min, *max;    /* [channels] */
    uint64_t *bin;        /* [channels][BINS] */
    double *low, *high;   /* [channels] of training, or NULL: not known */
    uint64_t left;        /* pictures that left it */
    uint32_t worst;       /* channel and value that are furthest outside */
    double excess, value; /* in units of the training range's size */
    bool outside;         /* the picture in work does */
};

struct survey {
    struct activation *act;
    uint32_t num_acts, cap_acts;
    uint32_t *act_of; /* [nodes.len] activation that looks at a node, or NONE */
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

static void look(void *ctx, uint32_t index, const struct node *n, const double *value, size_t len)
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

static double quantile(const struct activation *a, uint32_t c, double share)
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

static void add_activation(struct survey *s, struct prog *p, const struct node *n)
{
    const struct type *t = &p->nodes.at[n->args[0]].type;
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
static struct survey survey_network(struct prog *p)
{
    struct survey s = {.act_of = arena_array(p->arena, p->nodes.len, sizeof *s.act_of)};
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        s.act_of[i] = NONE;
    }
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if ((n->op == OP_poly || n->op == OP_mul) && s.act_of[n->args[0]] == NONE) {
            add_activation(&s, p, n);
        }
    }
    return s;
}

static void run_pictures(struct survey *s, struct prog *p, const struct images *images)
{
    double *x = arena_array(p->arena, images->pixels, sizeof *x);
    double *result = arena_array(p->arena, p->model.num_outputs, sizeof *result);
    struct sim_options o = {.hook = look, .ctx = s};
    struct sim *sim = sim_open(p);
    for (uint64_t i = 0; i < images->len; i++) {
        images_get(images, &p->model, i, x);
        sim_image(sim, &o, x, result);
        for (uint32_t k = 0; k < s->num_acts; k++) {
            s->act[k].left += s->act[k].outside;
            s->act[k].outside = false;
        }
    }
    sim_close(sim);
}

/* ---- results -------------------------------------------------------------------------------- */

static void print_table(const struct survey *s, const struct images *images)
{
    printf("images      %" PRIu64 "\n", images->len);
    printf("%-24s %8s %10s %10s %10s %10s  outside of training\n", "layer", "channels", "min",
           "0.1 %", "99.9 %", "max");
    for (uint32_t k = 0; k < s->num_acts; k++) {
        const struct activation *a = &s->act[k];
        double min = INFINITY, max = -INFINITY, low = INFINITY, high = -INFINITY;
        for (uint32_t c = 0; c < a->channels; c++) {
            min = fmin(min, a->min[c]);
            max = fmax(max, a->max[c]);
            low = fmin(low, quantile(a, c, shares[0]));
            high = fmax(high, quantile(a, c, shares[NUM_SHARES - 1]));
        }
        printf("%-24s %8u %10.4g %10.4g %10.4g %10.4g  ", a->node->layer, (unsigned)a->channels,
               min, low, high, max);
        if (a->low) {
            printf("%.2f %%\n", 100.0 * (double)a->left / (double)images->len);
        } else {
            printf("not known\n");
        }
    }
}

/* Half of the range again is where a polynomial of degree 4 may begin to dive. */
static void warn(const struct survey *s, const struct images *images)
{
    for (uint32_t k = 0; k < s->num_acts; k++) {
        const struct activation *a = &s->act[k];
        if (a->excess > 0.5) {
            diag_warning(a->node->loc,
                         "layer '%s': %" PRIu64 " of %" PRIu64
                         " pictures leave the range of training; channel %u reaches %.4g, trained "
                         "from %.4g to %.4g",
                         a->node->layer, a->left, images->len, (unsigned)a->worst, a->value,
                         a->low[a->worst], a->high[a->worst]);
        }
    }
}

static void add_float(struct str *data, double v)
{
    float f = (float)v;
    str_addn(data, (const char *)&f, sizeof f);
}

static void add_header(struct str *header, const char *layer, const char *kind, uint32_t rows,
                       uint32_t channels, size_t from)
{
    str_addf(header, "%s\"%s.%s\":{\"dtype\":\"F32\",\"shape\":[%u,%u],\"data_offsets\":[%zu,%zu]}",
             header->len > 1 ? "," : "", layer, kind, (unsigned)rows, (unsigned)channels, from,
             from + (size_t)rows * channels * sizeof(float));
}

static void write_ranges(const struct survey *s, struct arena *a, const char *path)
{
    struct str header, data, file;
    str_init(&header, a);
    str_init(&data, a);
    str_init(&file, a);
    str_add(&header, "{");
    for (uint32_t k = 0; k < s->num_acts; k++) {
        const struct activation *act = &s->act[k];
        add_header(&header, act->node->layer, "range", 2, act->channels, data.len);
        for (uint32_t c = 0; c < 2 * act->channels; c++) {
            add_float(&data, c < act->channels ? act->min[c] : act->max[c - act->channels]);
        }
        add_header(&header, act->node->layer, "quantiles", NUM_SHARES, act->channels, data.len);
        for (uint32_t q = 0; q < NUM_SHARES; q++) {
            for (uint32_t c = 0; c < act->channels; c++) {
                add_float(&data, quantile(act, c, shares[q]));
            }
        }
    }
    str_add(&header, "}");
    while (header.len % 8) {
        str_add(&header, " ");
    }
    uint64_t len = header.len; /* little-endian, like all that Weft runs on */
    str_addn(&file, (const char *)&len, sizeof len);
    str_addn(&file, header.s, header.len);
    str_addn(&file, data.s, data.len);
    file_write(path, file.s, file.len);
}

/* Beside the model: NAME.yaml -> NAME.ranges.safetensors */
static const char *default_path(struct arena *a, const char *input)
{
    const char *slash = strrchr(input, '/'), *dot = strrchr(input, '.');
    size_t len =
        dot && (!slash || dot > slash + 1) && dot != input ? (size_t)(dot - input) : strlen(input);
    return arena_printf(a, "%.*s.ranges.safetensors", (int)len, input);
}

int cmd_ranges(const struct cli *c)
{
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    uint32_t next;
    struct prog *p = driver_load(&d, &next);
    if (p->stage != STAGE_NN) {
        diag_fatal(NO_LOC, "%s is at stage %s: ranges are taken from a model file", c->input,
                   stage_name(p->stage));
    }
    struct images images = images_open(&p->model, c->images, c->limit);
    struct survey s = survey_network(p);
    if (s.num_acts == 0) {
        diag_fatal(NO_LOC, "%s has no activation", c->input);
    }
    run_pictures(&s, p, &images);
    print_table(&s, &images);
    warn(&s, &images);
    write_ranges(&s, a, c->output ? c->output : default_path(a, c->input));
    arena_free(a);
    return 0;
}
