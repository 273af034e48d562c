/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How precise a program has to be. More bits of the data scale, and of bootstraps, take time: of
 * some settings, the tiers, the cheapest is taken that is expected to leave as many answers
 * unchanged as --agreement says.
 *
 * The scale. A layer drops 50 bits, one prime, and a plaintext that multiplies a product of scale
 * 2^(2s) has what is left, 50 - s bits: below 26 the rounding of values dominates, above 27 that of
 * plaintexts, and each bit more makes results worse by a factor of two. So the next better setting
 * after 27 drops two primes a layer, in which the number of bits is free: 32 is as good as any
 * where there are bootstraps, whose noise is above it.
 */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backends.h"
#include "passes.h"

enum { NOISY = 4, LEAST_IMAGES = 16, MOST_IMAGES = 256 };
/* Products of the clear network, in all: some 0.7 s, in which the other thread has the noisy images */
#define MOST_WORK       1e9
#define LEAST_AGREEMENT 99.9 /* percent */

struct tier {
    uint32_t precision, boot_precision;
};
/* The first is what the options of passes have as their defaults. */
static const struct tier shallow[] = {{27, 0}, {32, 0}, {36, 0}, {40, 0}};
static const struct tier deep[] = {{27, 11}, {27, 17}, {32, 11}, {32, 17}};

/* DEEP_NARROW, of deep: narrow primes, bootstraps as they are */
enum { MOST_TIERS = 4, DEEP_NARROW = 2 };

uint32_t precision_bits(const struct prog *p)
{
    return (uint32_t)lround(log2(p->params.scale));
}

uint32_t boot_precision_bits(const struct prog *p)
{
    return p->params.boot_level == 0 ? 0 : p->params.arcsine ? 17 : 11;
}

static const char *tier_text(const struct prog *p, struct arena *a)
{
    unsigned bits = precision_bits(p), boot = boot_precision_bits(p);
    return boot ? arena_printf(a, "%u bits, bootstraps %u bits", bits, boot)
                : arena_printf(a, "%u bits", bits);
}

/* ---- the figure ----------------------------------------------------------------------------- */

/* Never rounded up to 100; two digits of what is missing, as far as six decimals show them */
const char *agreement_percent(double changed, struct arena *a)
{
    double missing = 100 * changed;
    if (!(missing > 0)) {
        return "100 %";
    }
    int decimals = (int)fmin(fmax(1 - floor(log10(missing)), 2), 6);
    double unit = pow(10, decimals);
    /* exact multiples of the unit stay what they are */
    return arena_printf(a, "%.*f %%", decimals, floor((100 - missing) * unit + 1e-6) / unit);
}

void report_precision(FILE *to, const struct prog *p)
{
    struct arena *a = arena_new();
    fprintf(to, "precision   %s", tier_text(p, a));
    if (p->agreement.images) {
        fprintf(to, ": %s of answers expected unchanged (%u %simages)",
                agreement_percent(p->agreement.changed, a), (unsigned)p->agreement.images,
                p->agreement.drawn ? "random " : "");
    }
    fprintf(to, "\n");
    arena_free(a);
}

/* ---- judging -------------------------------------------------------------------------------- */

/* Products that one image takes in the network */
static double network_work(const struct prog *p, const struct nodes *network)
{
    double sum = 0;
    for (uint32_t i = 0; i < network->len; i++) {
        const struct node *n = &network->at[i];
        double plane = (double)n->type.dims[1] * n->type.dims[2];
        sum += plane * n->type.dims[0];
        if (n->op != OP_map) {
            continue;
        }
        const struct lmap *m = &p->maps[node_int(n, KEY_map)];
        for (uint32_t t = 0; t < m->num_terms; t++) {
            const struct type *w = &p->consts.at[m->term[t].weight].type;
            double all = 1;
            for (uint32_t k = 0; k < w->rank; k++) {
                all *= w->dims[k];
            }
            sum += plane * all;
        }
    }
    return sum;
}

void judge_precision(const struct driver *d, struct prog *p)
{
    struct arena *a = arena_new();
    struct sim_trials t;
    bool given = d->cli->images != NULL;
    if (given) {
        double wanted = MOST_WORK / (network_work(p, sim_reference_nodes(p)) + 1);
        uint32_t most = (uint32_t)fmax(LEAST_IMAGES, fmin(wanted, MOST_IMAGES)), count;
        const double **image = sample_pictures(d, &p->model, most, &count);
        t = sim_trials(p, image, count, NOISY, a);
    } else {
        t = sim_trials(p, NULL, NOISY, NOISY, a);
    }
    double changed = agreement_changed(&t);
    p->error_bound = sim_trials_bound(&t);
    p->agreement.changed = changed;
    p->agreement.images = isfinite(changed) ? t.count : 0;
    p->agreement.drawn = !given;
    p->agreement.judged = true;
    arena_free(a);
}

/* ---- choosing ------------------------------------------------------------------------------- */

struct attempt {
    struct driver d;
    struct prog *p;
};

static void compile(void *ctx)
{
    struct attempt *t = ctx;
    uint32_t next;
    struct prog *p = driver_load(&t->d, &next);
    t->p = driver_run(&t->d, p, next, num_passes - 1);
}

static void explain(const struct driver *d, const struct prog *p)
{
    if (d->cli->opts.explain) {
        bool known = p->agreement.images > 0;
        diag_note(
            NO_LOC,
            "precision of %s: %s of answers expected unchanged (%u %simages), %.3f s an image",
            tier_text(p, d->a),
            known ? agreement_percent(p->agreement.changed, d->a) : "no known share",
            (unsigned)p->agreement.images, p->agreement.drawn ? "random " : "",
            cost_prog(p) * 1e-9);
    }
}

/* The options that the user left open are those of the tier. */
static struct attempt attempt_at(const struct driver *d, const struct tier *tier, bool dumps)
{
    struct cli *c = arena_alloc(d->a, sizeof *c);
    *c = *d->cli;
    c->opts.precision = c->opts.precision ? c->opts.precision : tier->precision;
    c->opts.boot_precision = c->opts.boot_precision ? c->opts.boot_precision : tier->boot_precision;
    if (!dumps) {
        c->num_dumps = 0;
        c->dump_all = false;
    }
    struct attempt t = {.d = *d};
    t.d.cli = c;
    t.d.num_times = 0;
    return t;
}

static bool same_options(const struct attempt *x, const struct attempt *y)
{
    return x->d.cli->opts.precision == y->d.cli->opts.precision &&
           x->d.cli->opts.boot_precision == y->d.cli->opts.boot_precision;
}

/* Programs of different precision, fastest first */
struct attempts {
    struct attempt at[MOST_TIERS];
    uint32_t len;
};

static void insert(struct attempts *list, const struct attempt *t)
{
    uint32_t at = list->len++;
    for (; at > 0 && cost_prog(list->at[at - 1].p) > cost_prog(t->p); at--) {
        list->at[at] = list->at[at - 1];
    }
    list->at[at] = *t;
}

/* Nothing where the user's options make it one that is there, or where no program can be made */
static void add_tier(const struct driver *d, const struct tier *tier, struct attempts *list)
{
    struct attempt *t = arena_alloc(d->a, sizeof *t);
    *t = attempt_at(d, tier, false);
    for (uint32_t i = 0; i < list->len; i++) {
        if (same_options(&list->at[i], t)) {
            return;
        }
    }
    const char *said;
    if (diag_try(d->a, compile, t, &said)) {
        insert(list, t);
    } else if (d->cli->opts.explain) {
        diag_note(NO_LOC, "precision of %u bits, of bootstraps %u bits: no program",
                  (unsigned)t->d.cli->opts.precision, (unsigned)t->d.cli->opts.boot_precision);
    }
}

static double allowed(const struct cli *c)
{
    return 1 - (c->agreement > 0 ? c->agreement : LEAST_AGREEMENT) / 100;
}

static bool good(const struct driver *d, const struct prog *p)
{
    return p->agreement.images && p->agreement.changed <= allowed(d->cli);
}

/*
 * Whether a layer has more levels than its map and one product: with one prime of 50 bits for each
 * of them, what needs no more than its 27 or 32, precision may cost less than nothing.
 */
static bool has_high_degree(const struct prog *p)
{
    for (uint32_t i = 0; i < p->reference.len; i++) {
        const struct node *n = &p->reference.at[i];
        if (n->op == OP_poly) {
            const struct type *c = &p->consts.at[node_int(n, KEY_coeff)].type;
            if (c->rank > 0 && c->dims[c->rank - 1] > 3) {
                return true;
            }
        }
    }
    return false;
}

static bool better(const struct prog *p, const struct prog *q)
{
    return p->agreement.images &&
           (!q->agreement.images || p->agreement.changed < q->agreement.changed);
}

/* The fastest that is good enough, judging those that were not; else the best */
static struct attempt *choose(const struct driver *d, struct attempts *list, bool *found)
{
    struct attempt *best = NULL;
    for (uint32_t i = 0; i < list->len; i++) {
        struct prog *p = list->at[i].p;
        if (!p->agreement.judged) {
            judge_precision(&list->at[i].d, p);
            explain(d, p);
        }
        best = !best || better(p, best->p) ? &list->at[i] : best;
        if (good(d, p)) {
            *found = true;
            return &list->at[i];
        }
    }
    *found = false;
    return best;
}

/* first: made of the options as they are */
static struct attempt search(struct driver *d, struct prog *first)
{
    bool boots = first->params.boot_level != 0, found;
    const struct tier *tier = boots ? deep : shallow;
    struct attempts list = {0};
    struct attempt t = attempt_at(d, &tier[0], true);
    t.p = first;
    t.d.num_times = d->num_times;
    insert(&list, &t);
    if (boots && has_high_degree(first)) {
        add_tier(d, &tier[DEEP_NARROW], &list);
    }
    struct attempt *best = choose(d, &list, &found);
    if (!found && best->p->agreement.images) { /* no precision helps polynomials out of range */
        for (uint32_t i = 1; i < MOST_TIERS; i++) {
            add_tier(d, &tier[i], &list);
        }
        best = choose(d, &list, &found);
    }
    for (uint32_t i = 0; i < list.len && d->cli->opts.explain; i++) {
        const struct prog *p = list.at[i].p;
        if (!p->agreement.judged) {
            diag_note(NO_LOC, "precision of %s: not needed, %.3f s an image", tier_text(p, d->a),
                      cost_prog(p) * 1e-9);
        }
    }
    return *best;
}

/* The driver goes on with the attempt, whose dumps were not made */
static struct prog *take(struct driver *d, struct attempt best)
{
    struct cli *c = arena_alloc(d->a, sizeof *c);
    *c = *d->cli;
    c->opts = best.d.cli->opts;
    best.d.cli = c;
    if (c->num_dumps || c->dump_all) {
        struct prog *judged = best.p;
        best.d.num_times = 0;
        compile(&best);
        best.p->error_bound = judged->error_bound;
        best.p->agreement = judged->agreement;
    }
    *d = best.d;
    return best.p;
}

static bool can_be_judged(const struct prog *p)
{
    return p->reference.len > 0 && !weights_are_invented(p->weights);
}

struct prog *driver_compile(struct driver *d, struct prog *p, uint32_t next)
{
    const struct cli *c = d->cli;
    bool open = (c->opts.precision == 0 || c->opts.boot_precision == 0) &&
                next <= pass_find("ckks_place") && p->params.log_n == 0;
    bool wanted = c->images || c->agreement > 0;
    p = driver_run(d, p, next, num_passes - 1);
    if (!wanted || !can_be_judged(p)) {
        return p;
    }
    open = open && (c->opts.precision == 0 || p->params.boot_level != 0);
    if (open) {
        struct attempt best = search(d, p);
        p = best.p == p ? p : take(d, best);
    } else {
        judge_precision(d, p);
        explain(d, p);
    }
    if (!good(d, p) && p->agreement.images) {
        diag_warning(NO_LOC, "%s of answers are expected unchanged, less than %g %%%s",
                     agreement_percent(p->agreement.changed, d->a), 100 * (1 - allowed(c)),
                     open ? ": that is the best there is" : "");
    }
    return p;
}
