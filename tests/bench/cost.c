/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The figures of the compiler's cost model: one limb, one thread, the best CPU level, with data
 * where a program finds them. Registers, keys and plaintexts of a program are hundreds of times what a
 * cache holds, so operands and results take turns in a pool that no cache holds; keys, which a program
 * maps from a file, in one of small pages. Only what is made a tile at a time inside a transform is near.
 *
 * Machines that are shared have slow minutes: all figures are measured in ROUNDS rounds, of which the
 * median counts. A word never costs less in a larger ring, so where the medians say so they are averaged.
 */
#include "bench.h"
#include "core/core.h"
#include "ring/ring.h"
#include "../kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST_LOG_N = 12, LAST_LOG_N = 17, NUM_LOG_N = LAST_LOG_N - FIRST_LOG_N + 1 };
enum { LIMBS = 8, TERMS = 8, CONVERT_TERMS = 3, CONVERT_TILE = 1024, LOG_RUN = 2 };
enum { FEW_DIGITS = 1, MANY_DIGITS = 5 };
/* Of a transform: operands, and words of a tile of them, that fill a second-level cache as a program's do */
enum { OPERANDS = 16, LOG_TILE = 10, TILE = 1 << LOG_TILE };

enum { RESULTS = 3 }; /* summed at a time where plaintexts are far (runtime/eval/transform.c) */

enum { ROUNDS = 7, QUICK_ROUNDS = 1 };

#define POOL_BYTES ((size_t)128 << 20)
#define WORDS_MOST ((size_t)1 << 18) /* of a batch of limbs */

struct cost_state {
    struct ring *ring;
    struct ring_basis b;
    size_t limbs;    /* of a batch */
    uint64_t *x, *z; /* LIMBS limbs */
    uint64_t near[2 * OPERANDS * TILE];
    uint64_t *pool, *keys;
    size_t pool_limbs, next, next_key;
    int32_t *small; /* coefficients of a plaintext */
    uint64_t w[CONVERT_TERMS + 1];
};

/* `count` limbs of the pool that have not been used for the longest time. */
static uint64_t *from_pool(struct cost_state *s, size_t count)
{
    if (s->next + count > s->pool_limbs) {
        s->next = 0;
    }
    uint64_t *p = s->pool + s->next * s->ring->n;
    s->next += count;
    return p;
}

/* The same of the keys */
static const uint64_t *from_keys(struct cost_state *s, size_t count)
{
    if (s->next_key + count > s->pool_limbs) {
        s->next_key = 0;
    }
    const uint64_t *p = s->keys + s->next_key * s->ring->n;
    s->next_key += count;
    return p;
}

/* Changes of base take what they transform from a register, or have just made it; what lies between is near. */
static void run_ntt(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        if (limb % 2 == 0) {
            r->k.intt(s->x, from_pool(s, 1), &r->ntt[limb], r->log_n, 1);
        } else {
            r->k.ntt(from_pool(s, 1), s->x, &r->ntt[limb], r->log_n);
        }
    }
}

static void run_pointwise(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        uint64_t *x = from_pool(s, 3);
        r->k.add(x, x + r->n, x + 2 * r->n, r->n, r->ntt[limb].mod.q);
    }
}

/* A half of a key limb that its seed stands for, as keys that are not kept are made */
static void run_key_expand(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    const uint8_t seed[32] = {1};
    for (size_t limb = 0; limb < s->limbs; limb++) {
        for (size_t at = 0; at < r->n; at += TILE) {
            core_key_expand(r, s->near, limb, seed, 1, 1, at, TILE);
        }
    }
}

/* A limb of a plaintext, of its coefficients */
static void run_plain_make(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        r->k.ntt_i32(from_pool(s, 1), s->small, &r->ntt[limb], r->log_n);
    }
}

/* Sums of products with plaintexts, where a sum goes over many ciphertexts. */
static void mac(struct cost_state *s, unsigned log_run)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        const uint64_t *a[TERMS], *b[TERMS];
        const uint64_t *plains = from_pool(s, log_run == 0 ? TERMS : 1);
        const uint64_t *values = from_pool(s, TERMS);
        for (size_t t = 0; t < TERMS; t++) {
            a[t] = values + t * r->n;
            b[t] = plains + t * (r->n >> log_run);
        }
        const struct modulus *m = &r->ntt[limb].mod;
        if (log_run == 0) {
            r->k.mac(s->z + limb * r->n, NULL, a, b, TERMS, 0, 0, r->n, m);
        } else {
            r->k.mac_run(s->z + limb * r->n, NULL, a, b, TERMS, 0, 0, log_run, r->n, m);
        }
    }
}

static void run_mac(void *state)
{
    mac(state, 0);
}

static void run_mac_run(void *state)
{
    mac(state, LOG_RUN);
}

/* Both halves of some limbs: everything is far. */
static void key(struct cost_state *s, size_t digits)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        const uint64_t *digit[MANY_DIGITS];
        for (size_t t = 0; t < digits; t++) {
            digit[t] = from_pool(s, 1);
        }
        uint64_t *out = from_pool(s, 2);
        struct k_switch k = {.digit = digit,
                             .key = {from_keys(s, digits), from_pool(s, digits)},
                             .terms = digits,
                             .key_terms = digits,
                             .base = {from_pool(s, 1), NULL},
                             .c = s->w[0],
                             .cs = mod_shoup(s->w[0], r->ntt[limb].mod.q),
                             .g = ring_galois(r, 3),
                             .g_inverse = ring_galois(r, -3),
                             .log_n = r->log_n,
                             .far = true};
        r->k.key_mac(out, out + r->n, &k, 0, r->n, &r->ntt[limb].mod);
    }
}

static void run_key_few(void *state)
{
    key(state, FEW_DIGITS);
}

static void run_key_many(void *state)
{
    key(state, MANY_DIGITS);
}

/* Where the words of a tile come from after X -> X^g (runtime/eval/transform.c) */
static size_t tile_source(uint64_t g, size_t at, unsigned log_n)
{
    uint64_t e = g * (2 * (uint64_t)mod_bitrev((uint32_t)at, log_n) + 1);
    return mod_bitrev((uint32_t)((e & ((UINT64_C(2) << (log_n - LOG_TILE)) - 1)) >> 1), log_n);
}

/* Operands of a transform: the same, but tile by tile into a cache. */
static void transform_key(struct cost_state *s, size_t digits)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        const uint64_t *digit[MANY_DIGITS], *keys[OPERANDS][2];
        for (size_t t = 0; t < digits; t++) {
            digit[t] = s->x + (limb + t) % LIMBS * r->n;
        }
        for (size_t i = 0; i < OPERANDS; i++) {
            keys[i][0] = from_keys(s, digits);
            keys[i][1] = from_pool(s, digits);
        }
        for (size_t at = 0; at < r->n; at += TILE) {
            for (size_t i = 0; i < OPERANDS; i++) {
                uint64_t *out = s->near + 2 * i * TILE;
                struct k_switch k = {.digit = digit,
                                     .key = {keys[i][0], keys[i][1]},
                                     .terms = digits,
                                     .key_terms = digits,
                                     .base = {s->z + limb * r->n, NULL},
                                     .c = s->w[0],
                                     .cs = mod_shoup(s->w[0], r->ntt[limb].mod.q),
                                     .g = ring_galois(r, 3),
                                     .g_inverse = ring_galois(r, -3),
                                     .log_n = r->log_n,
                                     .origin = at};
                size_t from = tile_source(k.g, at, r->log_n);
                r->k.key_mac(out, out + TILE, &k, from, TILE, &r->ntt[limb].mod);
            }
        }
    }
}

static void run_transform_key_few(void *state)
{
    transform_key(state, FEW_DIGITS);
}

static void run_transform_key_many(void *state)
{
    transform_key(state, MANY_DIGITS);
}

/* RESULTS sums over these: operands are near, plaintexts and results far. */
static void transform_mac(struct cost_state *s, unsigned log_run)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < s->limbs; limb++) {
        const uint64_t *x[2][OPERANDS], *plain[RESULTS], *p[RESULTS * OPERANDS];
        uint64_t *out[RESULTS];
        for (size_t k = 0; k < RESULTS; k++) {
            plain[k] = from_pool(s, OPERANDS >> log_run);
            out[k] = from_pool(s, 2);
        }
        for (size_t at = 0; at < r->n; at += TILE) {
            struct k_sums sums = {.x = {x[0], x[1]},
                                  .p = p,
                                  .terms = OPERANDS,
                                  .results = RESULTS,
                                  .log_run = log_run};
            for (size_t i = 0; i < OPERANDS; i++) {
                x[0][i] = s->near + 2 * i * TILE;
                x[1][i] = x[0][i] + TILE;
            }
            for (size_t k = 0; k < RESULTS; k++) {
                sums.out[k][0] = out[k] + at;
                sums.out[k][1] = out[k] + r->n + at;
                for (size_t i = 0; i < OPERANDS; i++) {
                    p[k * OPERANDS + i] = plain[k] + i * (r->n >> log_run) + (at >> log_run);
                }
            }
            r->k.mac_many(&sums, TILE, &r->ntt[limb].mod);
        }
    }
}

static void run_transform_mac(void *state)
{
    transform_mac(state, 0);
}

static void run_transform_mac_run(void *state)
{
    transform_mac(state, LOG_RUN);
}

/* As a mod-up does it: a tile of the source, and the quotient, serves several limbs. */
static void run_convert(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    for (size_t i = 0; i < r->n; i += CONVERT_TILE) {
        for (size_t limb = 0; limb < s->limbs; limb++) {
            r->k.bconv(s->z + limb * r->n + i, s->x + i, r->n, s->w, CONVERT_TERMS + 1,
                       CONVERT_TILE, &r->ntt[limb].mod);
        }
    }
}

/* In the order of passes/cost.def. */
enum figure {
    NTT,
    POINTWISE,
    MAC,
    MAC_RUN,
    KEY,
    PERMUTE,
    CONVERT,
    TRANSFORM_KEY,
    TRANSFORM_BASE,
    TRANSFORM_MAC,
    TRANSFORM_MAC_RUN,
    KEY_EXPAND,
    PLAIN_MAKE,
    NUM_FIGURES
};
static const struct {
    const char *name, *meaning;
} figures[NUM_FIGURES] = {
    [NTT] = {"ntt", "one transform, either direction"},
    [POINTWISE] = {"pointwise", "sum or product, element by element"},
    [MAC] = {"mac", "multiply by a plaintext limb and accumulate"},
    [MAC_RUN] = {"mac_run", "the same where the plaintext repeats"},
    [KEY] = {"key", "multiply by a key limb and accumulate"},
    [PERMUTE] = {"permute", "what else a limb of a key product costs: it is rotated"},
    [CONVERT] = {"convert", "base conversion: one limb in, one limb out"},
    [TRANSFORM_KEY] = {"transform_key", "key inside a transform"},
    [TRANSFORM_BASE] = {"transform_base", "permute inside a transform"},
    [TRANSFORM_MAC] = {"transform_mac", "mac inside a transform"},
    [TRANSFORM_MAC_RUN] = {"transform_mac_run", "mac_run inside a transform"},
    [KEY_EXPAND] = {"key_expand", "half a key limb made of its seed"},
    [PLAIN_MAKE] = {"plain_make", "a plaintext limb of N words made of coefficients"},
};

/* Nanoseconds of one of `units` of each limb in a run */
static double measure(const struct bench *b, struct cost_state *s, void (*run)(void *),
                      double units)
{
    return bench_time(b, run, s).least / (units * (double)s->limbs);
}

/*
 * A limb of a key product is digits * further + first. Of two times that are noisy their difference is
 * noisier; what a digit costs is between half of a product's share of it, and all.
 */
static void divide(double few, double many, double *further, double *first)
{
    double share = many / MANY_DIGITS;
    *further = fmin(fmax((many - few) / (MANY_DIGITS - FEW_DIGITS), 0.5 * share), 0.98 * share);
    *first = MANY_DIGITS * (share - *further);
}

static void measure_all(const struct bench *b, struct cost_state *s, double ns[NUM_FIGURES])
{
    ns[NTT] = measure(b, s, run_ntt, 1);
    ns[POINTWISE] = measure(b, s, run_pointwise, 1);
    ns[MAC] = measure(b, s, run_mac, TERMS);
    ns[MAC_RUN] = measure(b, s, run_mac_run, TERMS);
    ns[CONVERT] = measure(b, s, run_convert, CONVERT_TERMS);
    double few = measure(b, s, run_key_few, 2);
    double many = measure(b, s, run_key_many, 2);
    divide(few, many, &ns[KEY], &ns[PERMUTE]);
    few = measure(b, s, run_transform_key_few, 2 * OPERANDS);
    many = measure(b, s, run_transform_key_many, 2 * OPERANDS);
    divide(few, many, &ns[TRANSFORM_KEY], &ns[TRANSFORM_BASE]);
    ns[TRANSFORM_MAC] = measure(b, s, run_transform_mac, 2 * RESULTS * OPERANDS);
    ns[TRANSFORM_MAC_RUN] = measure(b, s, run_transform_mac_run, 2 * RESULTS * OPERANDS);
    ns[KEY_EXPAND] = measure(b, s, run_key_expand, 1);
    ns[PLAIN_MAKE] = measure(b, s, run_plain_make, 1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The nearest times that do not fall, word for word, as rings grow: neighbours that do are averaged */
static void smooth(double ns[NUM_LOG_N][NUM_FIGURES], size_t figure)
{
    double mean[NUM_LOG_N];
    size_t count[NUM_LOG_N], blocks = 0;
    for (size_t j = 0; j < NUM_LOG_N; j++) {
        mean[blocks] = ldexp(ns[j][figure], -(int)j);
        count[blocks++] = 1;
        while (blocks > 1 && mean[blocks - 2] > mean[blocks - 1]) {
            size_t sum = count[blocks - 2] + count[blocks - 1];
            mean[blocks - 2] = (mean[blocks - 2] * (double)count[blocks - 2] +
                                mean[blocks - 1] * (double)count[blocks - 1]) /
                               (double)sum;
            count[blocks - 2] = sum;
            blocks--;
        }
    }
    for (size_t i = 0, j = 0; i < blocks; i++) {
        for (size_t end = j + count[i]; j < end; j++) {
            ns[j][figure] = ldexp(mean[i], (int)j);
        }
    }
}

/* Of all rings */
struct pool {
    uint64_t *words, *keys;
};

static void make(struct cost_state *s, unsigned log_n, const struct pool *pool)
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
    s->limbs = WORDS_MOST >> log_n < LIMBS ? WORDS_MOST >> log_n : LIMBS;
    s->x = bench_alloc(words);
    s->z = bench_alloc(words);
    s->small = sys_alloc_array(s->ring->n, sizeof *s->small);
    if (s->small == NULL) {
        bench_die("out of memory");
    }
    s->pool = pool->words;
    s->keys = pool->keys;
    s->pool_limbs = POOL_BYTES / sizeof *s->pool >> log_n;
    struct random g = random_start(0);
    for (size_t i = 0; i < words; i++) {
        s->x[i] = random_below(&g, q[LIMBS - 1]);
        s->z[i] = s->x[i];
    }
    for (size_t i = 0; i < s->ring->n; i++) {
        s->small[i] = (int32_t)random_below(&g, 1 << 20) - (1 << 19);
    }
    for (size_t i = 0; i <= CONVERT_TERMS; i++) {
        s->w[i] = random_below(&g, q[LIMBS - 1]);
    }
}

static void drop(struct cost_state *s)
{
    sys_free(s->x);
    sys_free(s->z);
    sys_free(s->small);
    ring_free(s->ring);
}

static struct pool pool_make(void)
{
    struct pool p = {
        .words = bench_alloc(POOL_BYTES / sizeof *p.words),
        .keys = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    if (p.keys == MAP_FAILED) {
        bench_die("out of memory");
    }
    (void)madvise(p.keys, POOL_BYTES, MADV_NOHUGEPAGE);
    struct random g = random_start(1);
    for (size_t i = 0; i < POOL_BYTES / sizeof *p.words; i++) {
        p.words[i] = random_next(&g) >> 15; /* below 2^49, so below every prime */
        p.keys[i] = random_next(&g) >> 15;
    }
    return p;
}

/* Three digits: more would only be noise in the file's history. */
static double rounded(double ns)
{
    double unit = pow(10, floor(log10(ns)) - 2);
    return round(ns / unit) * unit;
}

static void write_table(FILE *f, double ns[NUM_LOG_N][NUM_FIGURES])
{
    fprintf(f,
            "/* SPDX-License-Identifier: Apache-2.0 */\n"
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
        fprintf(f, "COST(%s,%*s", figures[i].name, (int)(18 - strlen(figures[i].name)), "");
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            fprintf(f, "%6g, ", rounded(ns[j][i]));
        }
        fprintf(f, "\"%s\")\n", figures[i].meaning);
    }
    fprintf(f, "#undef COST\n");
}

static void write_lines(FILE *f, double ns[NUM_LOG_N][NUM_FIGURES])
{
    fprintf(f, "# nanoseconds, one thread, one limb\n");
    for (size_t i = 0; i < NUM_FIGURES; i++) {
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            fprintf(f, "%s.%zu %g\n", figures[i].name, j + FIRST_LOG_N, rounded(ns[j][i]));
        }
    }
}

/* Of each figure, over the rounds */
static void medians(const struct bench *b, double ns[NUM_LOG_N][NUM_FIGURES])
{
    static struct cost_state state[NUM_LOG_N];
    static double round[ROUNDS][NUM_LOG_N][NUM_FIGURES];
    struct bench mine = *b; /* rounds of short runs, so that a slow minute is in few of them */
    mine.quick = true;
    mine.seconds = b->seconds > 0 ? b->seconds : 0.012;
    size_t rounds = b->quick ? QUICK_ROUNDS : ROUNDS;
    struct pool pool = pool_make();
    for (size_t j = 0; j < NUM_LOG_N; j++) {
        state[j] = (struct cost_state){0};
        make(&state[j], FIRST_LOG_N + (unsigned)j, &pool);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            measure_all(&mine, &state[j], round[i][j]);
        }
    }
    for (size_t j = 0; j < NUM_LOG_N; j++) {
        drop(&state[j]);
        for (size_t k = 0; k < NUM_FIGURES; k++) {
            double of[ROUNDS];
            for (size_t i = 0; i < rounds; i++) {
                of[i] = round[i][j][k];
            }
            qsort(of, rounds, sizeof *of, by_value);
            ns[j][k] = of[rounds / 2];
        }
    }
    for (size_t k = 0; k < NUM_FIGURES; k++) {
        smooth(ns, k);
    }
    sys_free(pool.words);
    (void)munmap(pool.keys, POOL_BYTES);
}

bool bench_cost(struct bench *b, const char *path)
{
    double ns[NUM_LOG_N][NUM_FIGURES];
    sys_set_threads(1);
    printf("\nfigures of the cost model\n%-18s", "ns at N =");
    for (unsigned log_n = FIRST_LOG_N; log_n <= LAST_LOG_N; log_n++) {
        printf("%8s2^%u", "", log_n);
    }
    (void)fflush(stdout);
    medians(b, ns);
    for (size_t i = 0; i < NUM_FIGURES; i++) {
        printf("\n%-18s", figures[i].name);
        for (size_t j = 0; j < NUM_LOG_N; j++) {
            printf(" %11g", rounded(ns[j][i]));
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
