/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The figures of the compiler's cost model: one limb, one thread, the best CPU level, with data
 * where a program finds them. Limbs of a batch take turns, so transforms and sums of limbs meet
 * their tables and words in the last cache; plaintexts and keys take turns in a pool that no cache
 * holds.
 */
#include "bench.h"
#include "ring/ring.h"
#include "../kernels/random.h"

#include <math.h>
#include <string.h>

enum { FIRST_LOG_N = 12, LAST_LOG_N = 17, NUM_LOG_N = LAST_LOG_N - FIRST_LOG_N + 1 };
enum { LIMBS = 8, TERMS = 8, DIGITS = 3, CONVERT_TERMS = 4, CONVERT_TILE = 1024, LOG_RUN = 5 };

#define POOL_BYTES ((size_t)96 << 20)

struct cost_state {
    struct ring *ring;
    struct ring_basis b;
    uint64_t *x, *y, *z; /* LIMBS limbs */
    uint64_t *pool;
    size_t pool_limbs, next;
    uint64_t w[CONVERT_TERMS];
};

/* `count` limbs of the pool that have not been used for the longest time. */
static const uint64_t *from_pool(struct cost_state *s, size_t count)
{
    if (s->next + count > s->pool_limbs) {
        s->next = 0;
    }
    const uint64_t *p = s->pool + s->next * s->ring->n;
    s->next += count;
    return p;
}

static void run_ntt(void *state)
{
    struct cost_state *s = state;
    ring_ntt(s->ring, s->x, s->x, s->b);
    ring_intt(s->ring, s->x, s->x, s->b);
}

static void run_pointwise(void *state)
{
    struct cost_state *s = state;
    ring_add(s->ring, s->z, s->x, s->y, s->b);
    ring_mul(s->ring, s->z, s->x, s->y, s->b);
}

/*
 * LIMBS sums of `terms` products with limbs of the pool. far: the first factors too, as for a sum
 * over many ciphertexts; the digits of a key switch are nearer.
 */
static void mac(struct cost_state *s, size_t terms, unsigned log_run, bool far)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < LIMBS; limb++) {
        const uint64_t *a[TERMS], *b[TERMS];
        const uint64_t *pool = from_pool(s, log_run == 0 ? terms : 1);
        const uint64_t *other = far ? from_pool(s, terms) : NULL;
        for (size_t t = 0; t < terms; t++) {
            a[t] = far ? other + t * r->n : s->x + (limb + t) % LIMBS * r->n;
            b[t] = pool + t * (r->n >> log_run);
        }
        const struct modulus *m = &r->ntt[limb].mod;
        if (log_run == 0) {
            r->k.mac(s->z + limb * r->n, NULL, a, b, terms, 0, 0, r->n, m);
        } else {
            r->k.mac_run(s->z + limb * r->n, NULL, a, b, terms, 0, 0, log_run, r->n, m);
        }
    }
}

static void run_mac(void *state)
{
    mac(state, TERMS, 0, true);
}

static void run_mac_run(void *state)
{
    mac(state, TERMS, LOG_RUN, true);
}

static void run_key(void *state)
{
    mac(state, DIGITS, 0, false);
}

static void run_permute(void *state)
{
    struct cost_state *s = state;
    ring_automorphism_eval(s->ring, s->z, s->x, 25, s->b);
}

/* As a mod-up does it: a tile of the source serves several limbs. */
static void run_convert(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    for (size_t i = 0; i < r->n; i += CONVERT_TILE) {
        for (size_t limb = 0; limb < LIMBS; limb++) {
            r->k.bconv(s->z + limb * r->n + i, s->x + i, r->n, s->w, CONVERT_TERMS, CONVERT_TILE,
                       &r->ntt[limb].mod);
        }
    }
}

/* In the order of passes/cost.def. limbs: what one run does, in units of the figure. */
static const struct figure {
    const char *name, *meaning;
    void (*run)(void *state);
    double limbs;
} figures[] = {
    {"ntt", "one transform, either direction", run_ntt, 2 * LIMBS},
    {"pointwise", "sum or product, element by element", run_pointwise, 2 * LIMBS},
    {"mac", "multiply by a plaintext limb and accumulate", run_mac, TERMS *LIMBS},
    {"mac_run", "the same where the plaintext repeats", run_mac_run, TERMS *LIMBS},
    {"key", "multiply by a key limb and accumulate", run_key, DIGITS *LIMBS},
    {"permute", "gather in evaluation form, for a rotation", run_permute, LIMBS},
    {"convert", "base conversion: one limb in, one limb out", run_convert, CONVERT_TERMS *LIMBS},
};
enum { NUM_FIGURES = sizeof figures / sizeof *figures };

static void make(struct cost_state *s, unsigned log_n)
{
    uint64_t q[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        q[i] = prime_below(i == 0 ? UINT64_C(1) << 50 : q[i - 1], log_n);
    }
    if (ring_create(&s->ring, log_n, q, LIMBS, NULL, 0) != RING_OK) {
        bench_die("no ring of degree 2^%u", log_n);
    }
    s->b = (struct ring_basis){LIMBS - 1, 0};
    size_t words = ring_words(s->ring, s->b);
    s->x = bench_alloc(words);
    s->y = bench_alloc(words);
    s->z = bench_alloc(words);
    s->pool = bench_alloc(POOL_BYTES / sizeof *s->pool);
    s->pool_limbs = POOL_BYTES / sizeof *s->pool >> log_n;
    struct random g = random_start(0);
    for (size_t i = 0; i < words; i++) {
        s->x[i] = random_below(&g, q[LIMBS - 1]);
        s->y[i] = random_below(&g, q[LIMBS - 1]);
    }
    for (size_t i = 0; i < POOL_BYTES / sizeof *s->pool; i++) {
        s->pool[i] = random_next(&g) >> 15; /* below 2^49 */
    }
    for (size_t i = 0; i < CONVERT_TERMS; i++) {
        s->w[i] = random_below(&g, q[LIMBS - 1]);
    }
}

static void drop(struct cost_state *s)
{
    sys_free(s->x);
    sys_free(s->y);
    sys_free(s->z);
    sys_free(s->pool);
    ring_free(s->ring);
}

/* Three digits: more would only be noise in the file's history. */
static double rounded(double ns)
{
    double unit = pow(10, floor(log10(ns)) - 2);
    return round(ns / unit) * unit;
}

static void write_table(FILE *f, double ns[NUM_FIGURES][NUM_LOG_N])
{
    fprintf(f, "/* SPDX-License-Identifier: Apache-2.0 */\n"
               "/*\n"
               " * THE FIGURES OF THE COST MODEL: COST(name, ns at log_n = 12, 13, 14, 15, 16, 17, "
               "meaning)\n"
               " * One thread, one limb (N words of one prime). Written by `make bench-cost`, never "
               "by hand.\n"
               " */\n"
               "#ifndef COST\n"
               "#error \"define COST before including cost.def\"\n"
               "#endif\n");
    for (size_t i = 0; i < NUM_FIGURES; i++) {
        fprintf(f, "COST(%s,%*s", figures[i].name, (int)(10 - strlen(figures[i].name)), "");
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            fprintf(f, "%6g, ", rounded(ns[i][j]));
        }
        fprintf(f, "\"%s\")\n", figures[i].meaning);
    }
    fprintf(f, "#undef COST\n");
}

static void write_lines(FILE *f, double ns[NUM_FIGURES][NUM_LOG_N])
{
    fprintf(f, "# nanoseconds, one thread, one limb\n");
    for (size_t i = 0; i < NUM_FIGURES; i++) {
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            fprintf(f, "%s.%zu %g\n", figures[i].name, j + FIRST_LOG_N, rounded(ns[i][j]));
        }
    }
}

bool bench_cost(struct bench *b, const char *path)
{
    double ns[NUM_FIGURES][NUM_LOG_N];
    sys_set_threads(1);
    printf("\n%-44s", "figures of the cost model, ns at 2^12 .. 2^17");
    for (unsigned log_n = FIRST_LOG_N; log_n <= LAST_LOG_N; log_n++) {
        struct cost_state s = {0};
        make(&s, log_n);
        for (size_t i = 0; i < NUM_FIGURES; i++) {
            ns[i][log_n - FIRST_LOG_N] =
                bench_time(b, figures[i].run, &s).median / figures[i].limbs;
        }
        drop(&s);
    }
    for (size_t i = 0; i < NUM_FIGURES; i++) {
        printf("\n%-20s", figures[i].name);
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            printf(" %9g", rounded(ns[i][j]));
        }
    }
    printf("\n");
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        fprintf(stderr, "bench: cannot write %s\n", path);
        return false;
    }
    size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, ".def") == 0) {
        write_table(f, ns);
    } else {
        write_lines(f, ns);
    }
    bool ok = ferror(f) == 0;
    return fclose(f) == 0 && ok;
}
