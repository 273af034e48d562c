/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The sparse secret: what of it is on disk, and under which modulus it encrypts. It is not stored,
 * so these tests take it from the key in which it is the message (core.h, RT_KEY_RAISED), with the
 * help of the main secret, and then look at every key that there is.
 */
#include "client/client.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define N      1024u
#define WEIGHT 40u
#define KEYS   6u

static const struct kit_shape toy = {.log_n = 10,
                                     .q_bits = {42, 50, 49, 50},
                                     .p_bits = {50, 49},
                                     .alpha = 2,
                                     .insecure = 1,
                                     .n = 512,
                                     .num_in = 1,
                                     .num_out = 1,
                                     .input_level = 1,
                                     .output_level = 1,
                                     .input_scale = 0x1p40,
                                     .sparse_weight = WEIGHT};

/* Number of the key from which the secret is taken, and of the only one that it encrypts. */
enum { MESSAGE = 0, UNDER = 1 };

static void make_keys(struct kit *k)
{
    kit_make(k, &toy);
    kit_key_of(k, RT_KEY_RAISED, 0, 3);
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(k, RT_KEY_RAISED, 5, 2);
    kit_key_of(k, RT_KEY_RELINEARISE, 0, 3);
    kit_key_of(k, RT_KEY_ROTATE, 5, 2);
    kit_key_of(k, RT_KEY_CONJUGATE, 0, 1);
    kit_keygen(k, 2);
}

struct found {
    rt_secret *s;
    uint8_t *file;
    size_t size;
    struct core_key_record record[KEYS];
    uint64_t *sparse; /* as rt_secret's s */
    int64_t coefficients[N];
};

static struct ring_basis whole(const struct ring *r)
{
    return (struct ring_basis){r->n_q - 1, r->n_p};
}

/* b_j + a_j sigma^-1(under), coefficient form over the key's basis; sys_free. */
static uint64_t *opened(const struct found *f, const struct kit *k, unsigned key, unsigned j,
                        const uint64_t *under)
{
    const struct ring *r = f->s->ctx->ring;
    const struct core_key_record *rec = &f->record[key];
    struct core_key_shape shape = core_key_shape(f->s->ctx, &k->keys[key]);
    uint64_t g = rec->kind == RT_KEY_CONJUGATE ? 2 * N - 1 : ring_galois(r, -(long)rec->by);
    const uint64_t *b = (const uint64_t *)(const void *)(f->file + 64 + rec->offset);
    uint64_t *a = sys_alloc_array(shape.poly_words, sizeof *a);
    uint64_t *rotated = sys_alloc_array(ring_words(r, whole(r)), sizeof *rotated);
    ring_automorphism_eval(r, rotated, under, g, whole(r));
    ring_uniform(r, a, shape.basis, rec->seed, j);
    for (size_t limb = 0; limb < ring_limbs(shape.basis); limb++) {
        const uint64_t *s = rotated + ring_prime(r, shape.basis, limb) * r->n;
        const struct modulus *m = ring_mod(r, shape.basis, limb);
        for (size_t i = 0; i < r->n; i++) {
            size_t at = limb * r->n + i;
            /* both halves are kept times 2^52: blocks of 32 of all digits, limb by limb */
            uint64_t half = b[(limb * r->n + i / 32 * 32) * shape.digits + j * 32 + i % 32];
            a[at] = mod_mul(mod_add(half, mod_mul(a[at], s[i], m), m->q), m->i52, m);
        }
    }
    ring_intt(r, a, a, shape.basis);
    sys_free(rotated);
    return a;
}

static int64_t centred(uint64_t x, uint64_t q)
{
    return x > q / 2 ? (int64_t)x - (int64_t)q : (int64_t)x;
}

/* b + a s = e + P z: e modulo p_0, and then z modulo q_0. */
static void find_sparse(struct found *f, const struct kit *k)
{
    const struct ring *r = f->s->ctx->ring;
    struct core_key_shape shape = core_key_shape(f->s->ctx, &k->keys[MESSAGE]);
    uint64_t *x = opened(f, k, MESSAGE, 0, f->s->s);
    const uint64_t *special = x + ((size_t)shape.basis.level + 1) * N;
    const struct modulus *m = &r->ntt[0].mod;
    uint64_t p = mod_mul(k->p[0] % m->q, k->p[1] % m->q, m);
    uint64_t inverse = mod_inv(p, m);
    unsigned weight = 0;
    for (size_t i = 0; i < N; i++) {
        int64_t e = centred(special[i], k->p[0]);
        cr_assert_leq(llabs(e), RING_GAUSS_MAX);
        uint64_t less = e < 0 ? m->q - (uint64_t)-e : (uint64_t)e;
        f->coefficients[i] = centred(mod_mul(mod_sub(x[i], less, m->q), inverse, m), m->q);
        cr_assert_leq(llabs(f->coefficients[i]), 1, "coefficient %zu is %lld", i,
                      (long long)f->coefficients[i]);
        weight += f->coefficients[i] != 0;
    }
    cr_assert_eq(weight, WEIGHT, "weight %u", weight);
    f->sparse = sys_alloc_array(ring_words(r, whole(r)), sizeof *f->sparse);
    ring_from_i64(r, f->sparse, f->coefficients, r->log_n, whole(r));
    ring_ntt(r, f->sparse, f->sparse, whole(r));
    sys_free(x);
}

static void find(struct found *f, struct kit *k)
{
    char path[128];
    struct rt_error err;
    kit_path(k, path, "secret.weft");
    cr_assert_eq(rt_secret_load(&f->s, &k->model, path, &err), RT_OK, "%s", err.text);
    kit_path(k, path, "eval.weft");
    f->file = kit_read(path, &f->size);
    memcpy(f->record, f->file + 128, sizeof f->record);
    find_sparse(f, k);
}

static void let_go(struct found *f)
{
    sys_free(f->sparse);
    free(f->file);
    rt_secret_free(f->s);
}

/* Is x - g t small, one integer modulo all primes of the key, and of the noise's deviation? */
static bool is_noise(const struct found *f, const struct kit *k, unsigned key, unsigned j,
                     const uint64_t *under, const uint64_t *target)
{
    const struct ring *r = f->s->ctx->ring;
    struct core_key_shape shape = core_key_shape(f->s->ctx, &k->keys[key]);
    uint64_t *x = opened(f, k, key, j, under);
    uint64_t *t = sys_alloc_array(ring_words(r, whole(r)), sizeof *t);
    ring_intt(r, t, target, whole(r));
    double square = 0;
    bool good = true;
    for (size_t limb = 0; limb < ring_limbs(shape.basis); limb++) {
        const struct modulus *m = ring_mod(r, shape.basis, limb);
        const uint64_t *mine = t + ring_prime(r, shape.basis, limb) * N;
        uint64_t g = mod_mul(k->p[0] % m->q, k->p[1] % m->q, m);
        if (f->record[key].kind == RT_KEY_ENCAPSULATE) {
            g = k->p[0] % m->q;
        } else if (f->record[key].kind != RT_KEY_RAISED && limb / 2 != j) {
            g = 0;
        }
        for (size_t i = 0; i < N; i++) {
            uint64_t e = mod_sub(x[limb * N + i], mod_mul(g, mine[i], m), m->q);
            good = good && llabs(centred(e, m->q)) <= RING_GAUSS_MAX;
            x[limb * N + i] = (uint64_t)centred(e, m->q);
            good = good && x[limb * N + i] == x[i];
            square += (double)(int64_t)x[i] * (double)(int64_t)x[i] / (double)shape.poly_words;
        }
    }
    sys_free(x);
    sys_free(t);
    return good && fabs(sqrt(square) - RING_SIGMA) < 0.5;
}

/*
 * Every key but one is under the main secret, which is shown by taking it off: noise is left. The
 * one is under the sparse secret and has limbs q_0 and p_0, nothing else.
 */
Test(sparse, keys)
{
    struct kit k;
    struct found f;
    make_keys(&k);
    find(&f, &k);
    const struct ring *r = f.s->ctx->ring;
    uint64_t *square = sys_alloc_array(ring_words(r, whole(r)), sizeof *square);
    ring_mul(r, square, f.s->s, f.s->s, whole(r));
    unsigned under_sparse = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        const uint64_t *target = k.keys[i].kind == RT_KEY_RAISED        ? f.sparse
                                 : k.keys[i].kind == RT_KEY_RELINEARISE ? square
                                                                        : f.s->s;
        cr_assert_eq(f.record[i].kind, k.keys[i].kind);
        for (unsigned j = 0; j < f.record[i].digits; j++) {
            bool sparse = i == UNDER;
            cr_assert(is_noise(&f, &k, i, j, sparse ? f.sparse : f.s->s, target), "key %u digit %u",
                      i, j);
            cr_assert_not(is_noise(&f, &k, i, j, sparse ? f.s->s : f.sparse, target),
                          "key %u digit %u", i, j);
            under_sparse += sparse;
        }
    }
    cr_assert_eq(under_sparse, 1);
    sys_free(square);
    let_go(&f);
    kit_drop(&k);
}

/* Shapes and the length of the file: the key under the sparse secret ends after two limbs. */
Test(sparse, encapsulation_key_has_two_limbs)
{
    struct kit k;
    struct found f;
    make_keys(&k);
    find(&f, &k);
    struct core_key_shape shape = core_key_shape(f.s->ctx, &k.keys[UNDER]);
    cr_assert_eq(shape.basis.level, 0);
    cr_assert_eq(shape.basis.special, 1);
    cr_assert_eq(shape.digits, 1);
    cr_assert_eq(shape.poly_words, 2 * N);
    cr_assert_eq(ring_prime(f.s->ctx->ring, shape.basis, 0), 0);
    cr_assert_eq(ring_prime(f.s->ctx->ring, shape.basis, 1), 4, "p_0 stands behind the four q");
    cr_assert_eq(f.record[UNDER].digits, 1);
    cr_assert_eq(f.record[UNDER].level, 0);
    cr_assert_eq(f.record[UNDER + 1].offset - f.record[UNDER].offset, 2 * N * 8);
    /* raised 1 x 6 and 1 x 5 limbs; relinearise 2 x 6, rotate 2 x 5, conjugate 1 x 4 */
    cr_assert_eq(f.size, 64 + 64 + KEYS * 64 + (6 + 2 + 5 + 12 + 10 + 4) * N * 8);
    let_go(&f);
    kit_drop(&k);
}

/* An interface that would have more of it is refused, by key generation too: no files. */
Test(sparse, no_key_at_a_higher_modulus)
{
    for (int32_t level = 1; level < 4; level++) {
        struct kit k;
        struct rt_error err;
        kit_make(&k, &toy);
        kit_key_of(&k, RT_KEY_ENCAPSULATE, 0, level);
        cr_assert_eq(rt_keygen(&k.model, k.dir, true, 1, &err), RT_ERR_ARGUMENT);
        cr_assert_not_null(strstr(err.text, "no key for encapsulation, step 0 at level"), "%s",
                           err.text);
        cr_assert_eq(kit_entries(&k), 0);
        kit_drop(&k);
    }
}

/* Is it somewhere in there? */
static bool holds(const uint8_t *where, size_t size, const void *what, size_t bytes)
{
    return memmem(where, size, what, bytes) != NULL;
}

/* The secret's file holds the main secret; no file holds the sparse one, in any form it had. */
Test(sparse, never_on_disk)
{
    struct kit k;
    struct found f;
    make_keys(&k);
    find(&f, &k);
    const struct ring *r = f.s->ctx->ring;
    cr_assert_eq(kit_entries(&k), 2, "the secret's file and the evaluation keys: %u",
                 kit_entries(&k));
    char path[128];
    kit_path(&k, path, "secret.weft");
    size_t size;
    uint8_t *secret = kit_read(path, &size);
    cr_assert_eq(size, 64 + 64 + N);
    unsigned weight = 0;
    for (size_t i = 0; i < N; i++) {
        weight += secret[128 + i] != 0;
    }
    cr_assert_gt(weight, N / 2, "that is the main secret");
    int8_t bytes[N];
    for (size_t i = 0; i < N; i++) {
        bytes[i] = (int8_t)f.coefficients[i];
    }
    cr_assert(holds((const uint8_t *)f.sparse, 16, f.sparse, 16), "the search finds what is there");
    cr_assert_not(holds(secret, size, bytes, N));
    for (size_t prime = 0; prime < r->n_q + r->n_p; prime++) {
        cr_assert_not(holds(f.file, f.size, f.sparse + prime * N, 64), "prime %zu", prime);
    }
    cr_assert_not(holds(f.file, f.size, f.coefficients, sizeof f.coefficients));
    free(secret);
    let_go(&f);
    kit_drop(&k);
}

/* Each key generation draws another. */
Test(sparse, fresh)
{
    struct kit k;
    struct found f, g;
    make_keys(&k);
    find(&f, &k);
    kit_keygen(&k, 1);
    find(&g, &k);
    unsigned same = 0;
    for (size_t i = 0; i < N; i++) {
        same += f.coefficients[i] != 0 && g.coefficients[i] != 0;
    }
    cr_assert_lt(same, WEIGHT / 2, "%u of %u positions are the same", same, WEIGHT);
    let_go(&f);
    let_go(&g);
    kit_drop(&k);
}

/* Programs that do not bootstrap have none: no word of the record says otherwise. */
Test(sparse, none)
{
    struct kit k;
    struct kit_shape shape = toy;
    shape.sparse_weight = 0;
    kit_make(&k, &shape);
    kit_key(&k, 0, 1);
    kit_key(&k, 1, 1);
    kit_keygen(&k, 1);
    char path[128];
    size_t size;
    kit_path(&k, path, "eval.weft");
    uint8_t *file = kit_read(path, &size);
    struct core_key_record rec[2];
    memcpy(rec, file + 128, sizeof rec);
    cr_assert(rec[0].kind == RT_KEY_RELINEARISE && rec[1].kind == RT_KEY_ROTATE);
    free(file);
    kit_drop(&k);
}
