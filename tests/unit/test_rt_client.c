/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and encryption: what is on disk, who may read it, and what a fresh ciphertext looks like. */
#include "client/client.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct kit_shape toy = {.log_n = 10,
                                     .q_bits = {50, 40},
                                     .p_bits = {50},
                                     .alpha = 1,
                                     .insecure = 1,
                                     .n = 512,
                                     .num_in = 1,
                                     .num_out = 1,
                                     .input_level = 1,
                                     .output_level = 1,
                                     .input_scale = 0x1p40};

static rt_secret *load(struct kit *k)
{
    char path[128];
    struct rt_error err;
    rt_secret *s;
    kit_path(k, path, "secret.weft");
    cr_assert_eq(rt_secret_load(&s, &k->model, path, &err), RT_OK, "%s", err.text);
    return s;
}

Test(client, key_files)
{
    struct kit k;
    kit_make(&k, &toy);
    kit_key(&k, 0, 1);
    kit_key(&k, 5, 0);
    char dir[128], secret[160], eval[160];
    kit_path(&k, dir, "keys");
    (void)snprintf(secret, sizeof secret, "%s/secret.weft", dir);
    (void)snprintf(eval, sizeof eval, "%s/eval.weft", dir);
    struct rt_error err;
    cr_assert_eq(rt_keygen(&k.model, dir, false, 1, &err), RT_OK, "%s", err.text);
    struct stat st;
    cr_assert_eq(stat(secret, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600, "mode %o", st.st_mode & 0777u);
    cr_assert_eq(st.st_size, 64 + 64 + 1024);
    cr_assert_eq(stat(eval, &st), 0);
    mode_t mask = umask(0);
    umask(mask);
    cr_assert_eq(st.st_mode & 0777, 0666 & ~mask);
    /* relinearisation: 2 digits of 3 limbs; rotation: 1 digit of 2 limbs */
    cr_assert_eq(st.st_size, 64 + 64 + 2 * 64 + (2 * 3 + 2) * 1024 * 8);

    size_t size;
    uint8_t *before = kit_read(secret, &size);
    cr_assert_eq(rt_keygen(&k.model, dir, false, 1, &err), RT_ERR_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "secret.weft: exists"), "%s", err.text);
    uint8_t *after = kit_read(secret, &size);
    cr_assert_eq(memcmp(before, after, size), 0, "overwritten without force");
    free(after);
    cr_assert_eq(rt_keygen(&k.model, dir, true, 2, &err), RT_OK);
    after = kit_read(secret, &size);
    cr_assert_neq(memcmp(before + 128, after + 128, size - 128), 0, "the same secret twice");
    cr_assert_neq(memcmp(before + 40, after + 40, 8), 0, "the same key id twice");
    free(before);
    free(after);
    (void)unlink(secret);
    (void)unlink(eval);
    cr_assert_eq(rmdir(dir), 0, "something else is left in the directory");
    kit_drop(&k);
}

Test(client, keygen_fails_cleanly)
{
    struct kit k;
    kit_make(&k, &toy);
    struct rt_error err;
    char path[128];
    kit_path(&k, path, "no/such/place");
    cr_assert_eq(rt_keygen(&k.model, path, false, 1, &err), RT_ERR_IO);
    cr_assert_eq(strncmp(err.text, path, strlen(path)), 0, "%s", err.text);
    kit_path(&k, path, "file");
    kit_write(path, (const uint8_t *)"x", 1);
    cr_assert_eq(rt_keygen(&k.model, path, false, 1, &err), RT_ERR_IO);
    (void)unlink(path);
    /* eval.weft cannot be made: the secret is not left behind either */
    kit_path(&k, path, "eval.weft");
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(rt_keygen(&k.model, k.dir, false, 1, &err), RT_ERR_IO);
    cr_assert_eq(kit_entries(&k), 1, "%u entries", kit_entries(&k));
    (void)rmdir(path);
    kit_drop(&k);
}

/* The relations that core.h promises: b_j + a_j s' - g_j s is small, for every digit and limb. */
Test(client, keys_are_what_they_say)
{
    struct kit k;
    static struct kit_shape shape;
    shape = toy;
    shape.alpha = 2;
    memcpy(shape.q_bits, (const unsigned[KIT_PRIMES]){50, 40, 40, 45, 40}, sizeof shape.q_bits);
    memcpy(shape.p_bits, (const unsigned[KIT_PRIMES]){50, 49}, sizeof shape.p_bits);
    kit_make(&k, &shape);
    kit_key(&k, 0, 4);
    kit_key(&k, 3, 2);
    kit_key(&k, 511, 0);
    kit_keygen(&k, 1);
    rt_secret *s = load(&k);
    const struct ring *r = s->ctx->ring;
    char path[128];
    kit_path(&k, path, "eval.weft");
    size_t size;
    uint8_t *file = kit_read(path, &size);
    uint64_t *work = sys_alloc(3 * 8 * r->n * 8), *rotated = sys_alloc(8 * r->n * 8);
    for (uint32_t i = 0; i < 3; i++) {
        struct core_key_record rec;
        memcpy(&rec, file + 128 + i * sizeof rec, sizeof rec);
        struct core_key_shape sh = core_key_shape(s->ctx, &k.keys[i]);
        cr_assert_eq(rec.by, k.keys[i].by);
        cr_assert_eq(rec.digits, (uint32_t)(k.keys[i].level + 2) / 2);
        const uint64_t *b = (const uint64_t *)(const void *)(file + 64 + rec.offset);
        struct ring_basis all = {r->n_q - 1, r->n_p};
        ring_automorphism_eval(r, rotated, s->s, ring_galois(r, -(long)rec.by), all);
        for (unsigned j = 0; j < rec.digits; j++) {
            uint64_t *a = work, *e = work + sh.poly_words;
            ring_uniform(r, a, sh.basis, rec.seed, j);
            for (size_t limb = 0; limb < ring_limbs(sh.basis); limb++) {
                size_t prime = ring_prime(r, sh.basis, limb);
                const struct modulus *m = &r->ntt[prime].mod;
                const uint64_t *sec = s->s + prime * r->n;
                const uint64_t *under = rec.by == 0 ? sec : rotated + prime * r->n;
                uint64_t g = 0;
                if (limb / 2 == j && limb <= sh.basis.level) {
                    g = mod_mul(k.p[0] % m->q, k.p[1] % m->q, m);
                }
                for (size_t x = 0; x < r->n; x++) {
                    size_t at = limb * r->n + x;
                    uint64_t target = rec.by == 0 ? mod_mul(sec[x], sec[x], m) : sec[x];
                    /* both halves are kept times 2^52: blocks of 32 of all digits, limb by limb */
                    uint64_t half = b[(limb * r->n + x / 32 * 32) * rec.digits + j * 32 + x % 32];
                    uint64_t v = mod_add(half, mod_mul(a[at], under[x], m), m->q);
                    v = mod_mul(v, m->i52, m);
                    e[at] = mod_sub(v, mod_mul(g, target, m), m->q);
                }
            }
            ring_intt(r, e, e, sh.basis);
            double square = 0;
            for (size_t at = 0; at < sh.poly_words; at++) {
                uint64_t q = ring_mod(r, sh.basis, at / r->n)->q;
                double x = e[at] > q / 2 ? (double)e[at] - (double)q : (double)e[at];
                cr_assert_leq(fabs(x), RING_GAUSS_MAX, "key %u digit %u word %zu: %g", i, j, at, x);
                square += x * x / (double)sh.poly_words;
                /* one small integer, the same modulo every prime */
                uint64_t q0 = r->ntt[0].mod.q, first = e[at % r->n];
                double x0 = first > q0 / 2 ? (double)first - (double)q0 : (double)first;
                cr_assert_eq(x, x0);
            }
            cr_assert(fabs(sqrt(square) - RING_SIGMA) < 0.5, "deviation %g", sqrt(square));
        }
    }
    sys_free(work);
    sys_free(rotated);
    free(file);
    rt_secret_free(s);
    kit_drop(&k);
}

Test(client, fresh_ciphertexts)
{
    struct kit k;
    kit_make(&k, &toy);
    kit_output(&k, 0, 0x1p40);
    kit_keygen(&k, 1);
    rt_secret *s = load(&k);
    double x[512], y[512];
    uint64_t rng = kit_seed();
    for (int i = 0; i < 512; i++) {
        x[i] = kit_uniform(&rng, -100, 100);
    }
    char one[128], two[128];
    kit_path(&k, one, "one.weft");
    kit_path(&k, two, "two.weft");
    struct rt_error err;
    cr_assert_eq(rt_encrypt(s, &k.model, x, one, &err), RT_OK, "%s", err.text);
    cr_assert_eq(rt_encrypt(s, &k.model, x, two, &err), RT_OK, "%s", err.text);
    size_t size, same = 0;
    uint8_t *a = kit_read(one, &size), *b = kit_read(two, &size);
    cr_assert_eq(size, 64 + 64 + 64 + 2 * 1024 * 8, "half a ciphertext and a seed: %zu", size);
    for (size_t i = 128; i < size; i += 8) {
        same += memcmp(a + i, b + i, 8) == 0;
    }
    cr_assert_leq(same, 4, "two encryptions of one image share %zu words (4 are padding)", same);
    free(a);
    free(b);
    cr_assert_eq(rt_decrypt(s, &k.model, one, y, &err), RT_OK, "%s", err.text);
    double square = 0;
    for (int i = 0; i < 512; i++) {
        square += (y[i] - x[i]) * (y[i] - x[i]) / 512;
    }
    /* a slot's real part holds half of the N coefficients' variance */
    double want = RING_SIGMA * sqrt(1024.0 / 2) / 0x1p40;
    cr_assert(sqrt(square) > 0.7 * want && sqrt(square) < 1.4 * want, "%g, %g expected",
              sqrt(square), want);
    rt_secret_free(s);
    kit_drop(&k);
}

Test(client, normalisation_and_packing)
{
    struct kit k;
    kit_make(&k, &toy);
    struct rt_interface *m = &k.model;
    static const uint32_t perm[2] = {1, 0};
    m->input = (struct rt_packing){2, 3, 5, 64, 1, 1, 1, 2, 10, 32, 2, perm};
    m->input.t_w = 2; /* two channels a block of 32, two blocks: both in one ciphertext */
    m->input.num_ct = 1;
    m->output = m->input;
    m->num_outputs = 30;
    k.mean[0] = 1;
    k.mean[1] = -2;
    k.std[0] = 2;
    k.std[1] = 0.5;
    kit_output(&k, 0, 0x1p40);
    kit_keygen(&k, 1);
    rt_secret *s = load(&k);
    double x[30], y[30];
    for (int i = 0; i < 30; i++) {
        x[i] = i;
    }
    char path[128];
    kit_path(&k, path, "ct.weft");
    struct rt_error err;
    cr_assert_eq(rt_encrypt(s, m, x, path, &err), RT_OK, "%s", err.text);
    cr_assert_eq(rt_decrypt(s, m, path, y, &err), RT_OK, "%s", err.text);
    for (int i = 0; i < 30; i++) {
        double want = i < 15 ? (x[i] - 1) / 2 : (x[i] + 2) / 0.5;
        cr_assert_lt(fabs(y[i] - want), 1e-8, "element %d: %g, %g expected", i, y[i], want);
    }
    x[17] = NAN;
    (void)unlink(path);
    unsigned entries = kit_entries(&k);
    cr_assert_eq(rt_encrypt(s, m, x, path, &err), RT_ERR_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "channel 1, row 0, column 2 is not finite"), "%s",
                       err.text);
    x[17] = 1e9; /* 2^31 at scale 2^40 and 90 bits of modulus: fits; at 1e17 it does not */
    cr_assert_eq(rt_encrypt(s, m, x, path, &err), RT_OK, "%s", err.text);
    (void)unlink(path);
    x[17] = 1e17;
    cr_assert_eq(rt_encrypt(s, m, x, path, &err), RT_ERR_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "image: a coefficient of"), "%s", err.text);
    cr_assert_eq(kit_entries(&k), entries, "a file is left");
    rt_secret_free(s);
    kit_drop(&k);
}

/* Another key of the same model, and a secret loaded for another model. */
Test(client, wrong_key)
{
    struct kit k;
    kit_make(&k, &toy);
    kit_output(&k, 0, 0x1p40);
    kit_write_data(&k);
    kit_keygen(&k, 1);
    rt_secret *old = load(&k);
    double x[512] = {1, 2, 3}, y[512] = {-5};
    char ct[128], out[128], data[128], keys[128];
    kit_path(&k, ct, "ct.weft");
    kit_path(&k, out, "out.weft");
    kit_path(&k, data, "model.dat");
    kit_path(&k, keys, "eval.weft");
    struct rt_error err;
    cr_assert_eq(rt_encrypt(old, &k.model, x, ct, &err), RT_OK);
    kit_keygen(&k, 1);
    rt_secret *new = load(&k);
    cr_assert_neq(rt_secret_key_id(old), rt_secret_key_id(new));
    cr_assert_eq(rt_decrypt(new, &k.model, ct, y, &err), RT_ERR_MISMATCH);
    cr_assert_not_null(strstr(err.text, "made with another key"), "%s", err.text);
    cr_assert_eq(y[0], -5);
    rt_eval *e;
    cr_assert_eq(rt_eval_open(&e, &k.program, data, keys, 1, &err), RT_OK, "%s", err.text);
    cr_assert_eq(rt_eval_key_id(e), rt_secret_key_id(new));
    cr_assert_eq(rt_infer(e, ct, out, NULL, NULL, &err), RT_ERR_MISMATCH);
    cr_assert_not_null(strstr(err.text, "ct.weft: made with another key"), "%s", err.text);
    rt_eval_close(e);
    k.model.model_hash++;
    cr_assert_eq(rt_encrypt(new, &k.model, x, ct, &err), RT_ERR_MISMATCH);
    cr_assert_eq(rt_decrypt(new, &k.model, ct, y, &err), RT_ERR_MISMATCH);
    rt_secret_free(old);
    rt_secret_free(new);
    kit_drop(&k);
}

Test(client, no_core_dumps_while_secret)
{
    struct kit k;
    kit_make(&k, &toy);
    kit_keygen(&k, 1);
    int before = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    rt_secret *one = load(&k), *two = load(&k);
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    struct rlimit core;
    cr_assert_eq(getrlimit(RLIMIT_CORE, &core), 0);
    cr_assert_eq(core.rlim_cur, 0);
    rt_secret_free(one);
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0, "one secret is left");
    rt_secret_free(two);
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), before);
    rt_secret_free(NULL);
    kit_drop(&k);
}
