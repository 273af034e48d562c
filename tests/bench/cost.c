/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The figures of the compiler's cost model: one limb, one thread, the best CPU level, with data
 * where a program finds them. Limbs of a batch take turns, so transforms meet their tables and words
 * in the last cache, and so do the operands of sums; plaintexts, keys and what they multiply take turns in a
 * pool that no cache holds.
 */
#include "bench.h"
#include "ring/ring.h"
#include "../kernels/random.h"

#include <math.h>
#include <string.h>

enum { FIRST_LOG_N = 12, LAST_LOG_N = 17, NUM_LOG_N = LAST_LOG_N - FIRST_LOG_N + 1 };
enum { LIMBS = 8, TERMS = 8, CONVERT_TERMS = 3, CONVERT_TILE = 1024, LOG_RUN = 2 };
enum { FEW_DIGITS = 1, MANY_DIGITS = 5 };
/* Of a transform: operands, and words of a tile of them, that fill a second-level cache as a program's do */
enum { OPERANDS = 16, LOG_TILE = 10, TILE = 1 << LOG_TILE };

enum { RESULTS = 3 }; /* summed at a time where plaintexts are far (runtime/eval/transform.c) */

#define POOL_BYTES ((size_t)96 << 20)

struct cost_state {
    struct ring *ring;
    struct ring_basis b;
    uint64_t *x, *z; /* LIMBS limbs */
    uint64_t near[2 * OPERANDS * TILE];
    uint64_t *pool;
    size_t pool_limbs, next;
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

static void run_ntt(void *state)
{
    struct cost_state *s = state;
    ring_ntt(s->ring, s->x, s->x, s->b);
    ring_intt(s->ring, s->x, s->x, s->b);
}

/* Sums and products of whole ciphertexts, most of which were just computed: in the last cache. */
static void run_pointwise(void *state)
{
    struct cost_state *s = state;
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < LIMBS; limb++) {
        const struct modulus *m = &r->ntt[limb].mod;
        uint64_t *x = s->pool + 4 * limb * r->n;
        r->k.add(x, x, x + r->n, r->n, m->q);
        x += 2 * r->n;
        r->k.mul(x, x, x + r->n, r->n, m);
    }
}

/* LIMBS sums of products with plaintexts, where a sum goes over many ciphertexts. */
static void mac(struct cost_state *s, unsigned log_run)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < LIMBS; limb++) {
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

/* Both halves of LIMBS limbs: digits are near, keys and results are far. */
static void key(struct cost_state *s, size_t digits)
{
    const struct ring *r = s->ring;
    for (size_t limb = 0; limb < LIMBS; limb++) {
        const uint64_t *digit[MANY_DIGITS];
        for (size_t t = 0; t < digits; t++) {
            digit[t] = s->x + (limb + t) % LIMBS * r->n;
        }
        uint64_t *out = from_pool(s, 2);
        struct k_switch k = {.digit = digit,
                             .key = {from_pool(s, digits), from_pool(s, digits)},
                             .terms = digits,
                             .key_terms = digits,
                             .base = {s->z + limb * r->n, NULL},
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
    for (size_t limb = 0; limb < LIMBS; limb++) {
        const uint64_t *digit[MANY_DIGITS], *keys[OPERANDS][2];
        for (size_t t = 0; t < digits; t++) {
            digit[t] = s->x + (limb + t) % LIMBS * r->n;
        }
        for (size_t i = 0; i < OPERANDS; i++) {
            keys[i][0] = from_pool(s, digits);
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
    for (size_t limb = 0; limb < LIMBS; limb++) {
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
        for (size_t limb = 0; limb < LIMBS; limb++) {
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
};

/* Nanoseconds of one of `units` in a run: the fastest, so that the file does not depend on what else
 * the machine does. */
static double measure(const struct bench *b, struct cost_state *s, void (*run)(void *),
                      double units)
{
    return bench_time(b, run, s).least / units;
}

static void measure_all(const struct bench *b, struct cost_state *s, double ns[NUM_FIGURES])
{
    ns[NTT] = measure(b, s, run_ntt, 2 * LIMBS);
    ns[POINTWISE] = measure(b, s, run_pointwise, 2 * LIMBS);
    ns[MAC] = measure(b, s, run_mac, TERMS * LIMBS);
    ns[MAC_RUN] = measure(b, s, run_mac_run, TERMS * LIMBS);
    ns[CONVERT] = measure(b, s, run_convert, CONVERT_TERMS * LIMBS);
    /* a limb of a key product is digits * key + permute */
    double few = measure(b, s, run_key_few, 2 * LIMBS);
    double many = measure(b, s, run_key_many, 2 * LIMBS);
    double least = 0.05 * few; /* should noise turn one of them negative */
    ns[KEY] = fmax((many - few) / (MANY_DIGITS - FEW_DIGITS), least);
    ns[PERMUTE] = fmax(few - FEW_DIGITS * ns[KEY], least);

    few = measure(b, s, run_transform_key_few, 2 * OPERANDS * LIMBS);
    many = measure(b, s, run_transform_key_many, 2 * OPERANDS * LIMBS);
    least = 0.05 * few;
    ns[TRANSFORM_KEY] = fmax((many - few) / (MANY_DIGITS - FEW_DIGITS), least);
    ns[TRANSFORM_BASE] = fmax(few - FEW_DIGITS * ns[TRANSFORM_KEY], least);
    ns[TRANSFORM_MAC] = measure(b, s, run_transform_mac, 2 * RESULTS * OPERANDS * LIMBS);
    ns[TRANSFORM_MAC_RUN] = measure(b, s, run_transform_mac_run, 2 * RESULTS * OPERANDS * LIMBS);
}

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
    s->z = bench_alloc(words);
    s->pool = bench_alloc(POOL_BYTES / sizeof *s->pool);
    s->pool_limbs = POOL_BYTES / sizeof *s->pool >> log_n;
    struct random g = random_start(0);
    for (size_t i = 0; i < words; i++) {
        s->x[i] = random_below(&g, q[LIMBS - 1]);
        s->z[i] = s->x[i];
    }
    for (size_t i = 0; i < POOL_BYTES / sizeof *s->pool; i++) {
        s->pool[i] = random_next(&g) >> 15; /* below 2^49, so below every prime */
    }
    for (size_t i = 0; i <= CONVERT_TERMS; i++) {
        s->w[i] = random_below(&g, q[LIMBS - 1]);
    }
}

static void drop(struct cost_state *s)
{
    sys_free(s->x);
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

bool bench_cost(struct bench *b, const char *path)
{
    double ns[NUM_LOG_N][NUM_FIGURES];
    sys_set_threads(1);
    printf("\nfigures of the cost model\n%-18s", "ns at N =");
    for (unsigned log_n = FIRST_LOG_N; log_n <= LAST_LOG_N; log_n++) {
        struct cost_state s = {0};
        printf("%8s2^%u", "", log_n);
        (void)fflush(stdout);
        make(&s, log_n);
        measure_all(b, &s, ns[log_n - FIRST_LOG_N]);
        drop(&s);
    }
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
