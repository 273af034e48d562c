/* SPDX-License-Identifier: Apache-2.0 */
/* Every reader against every kind of bad file: an error that says what, never a wrong acceptance.
 */
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The smallest ring, so that a key file has a few thousand bytes and each of them can be changed.
 */
static const struct kit_shape tiny = {.log_n = 4,
                                      .q_bits = {30, 20},
                                      .p_bits = {30},
                                      .alpha = 1,
                                      .insecure = 1,
                                      .n = 8,
                                      .num_in = 2,
                                      .num_out = 1,
                                      .input_level = 1,
                                      .output_level = 0,
                                      .input_scale = 0x1p20,
                                      .sparse_weight = 3};

enum file { SECRET, KEYS, DATA, INPUT, OUTPUT, NUM_FILES };
static const char *const names[NUM_FILES] = {"secret.weft", "eval.weft", "model.dat", "in.weft",
                                             "out.weft"};

struct world {
    struct kit kit;
    char path[NUM_FILES][128];
    uint8_t *good[NUM_FILES];
    size_t size[NUM_FILES];
    rt_secret *secret;
    rt_eval *eval;
};

/* A program with one of everything; all five files are made and good. */
static void world_open(struct world *w)
{
    static const double x[16] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const double weight[8] = {1, -1, 1, -1, 1, -1, 1, -1};
    double y[8];
    struct rt_error err;
    struct kit *k = &w->kit;
    kit_make(k, &tiny);
    kit_key(k, 1, 1);
    kit_key(k, 0, 0);
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(k, RT_KEY_RAISED, 3, 1);
    uint32_t p = kit_plain(k, weight, 8, 2, 1, true, (double)k->q[1]);
    (void)kit_dft(k, 1 | 2 << 8 | 1 << 16, 8, 4, 7, 2, 1, false, 0x1p10);
    kit_rotate(k, 2, 0, 3, 1, 0);
    kit_do(k, KIT_LIFT, 4, 2, 0, 0);
    kit_do(k, KIT_PMAC, 5, 4, p, 1);
    kit_do(k, KIT_MOD_DOWN, 5, 5, 0, 1);
    kit_output(k, 5, 0x1p20);
    cr_assert(kit_run(k, x, y, 1, &err), "%s", err.text);
    cr_assert_lt(fabs(y[0] - 2), 0.01);
    for (int f = 0; f < NUM_FILES; f++) {
        kit_path(k, w->path[f], names[f]);
        w->good[f] = kit_read(w->path[f], &w->size[f]);
    }
    cr_assert_eq(rt_secret_load(&w->secret, &k->model, w->path[SECRET], &err), RT_OK);
    cr_assert_eq(rt_eval_open(&w->eval, &k->program, w->path[DATA], w->path[KEYS], 1, &err), RT_OK);
}

static void world_close(struct world *w)
{
    rt_secret_free(w->secret);
    rt_eval_close(w->eval);
    for (int f = 0; f < NUM_FILES; f++) {
        free(w->good[f]);
    }
    kit_drop(&w->kit);
}

/* Uses file f as its reader would. */
static enum rt_status use(struct world *w, enum file f, struct rt_error *err)
{
    enum rt_status s;
    rt_secret *secret;
    rt_eval *eval;
    double result[8];
    char other[128];
    memset(err, 0, sizeof *err);
    switch (f) {
    case SECRET:
        s = rt_secret_load(&secret, &w->kit.model, w->path[f], err);
        cr_assert((s == RT_OK) == (secret != NULL));
        rt_secret_free(secret);
        return s;
    case INPUT:
        kit_path(&w->kit, other, "other.weft");
        s = rt_infer(w->eval, w->path[f], other, NULL, NULL, err);
        cr_assert_eq(access(other, F_OK) == 0, s == RT_OK, "output without success");
        (void)unlink(other);
        return s;
    case OUTPUT:
        for (int i = 0; i < 8; i++) {
            result[i] = -77;
        }
        s = rt_decrypt(w->secret, &w->kit.model, w->path[f], result, err);
        cr_assert_eq(result[0] == -77, s != RT_OK, "result changed on error");
        return s;
    default:
        s = rt_eval_open(&eval, &w->kit.program, w->path[DATA], w->path[KEYS], 1, err);
        cr_assert((s == RT_OK) == (eval != NULL));
        rt_eval_close(eval);
        return s;
    }
}

/* The message is one line and begins with the file's name. */
static void check_message(const struct world *w, enum file f, const struct rt_error *err)
{
    cr_assert_eq(strncmp(err->text, w->path[f], strlen(w->path[f])), 0, "%s", err->text);
    cr_assert_null(strchr(err->text, '\n'));
    cr_assert_neq(err->status, RT_OK);
}

static void refuse(struct world *w, enum file f, const char *how, size_t at)
{
    struct rt_error err;
    enum rt_status s = use(w, f, &err);
    cr_assert_neq(s, RT_OK, "%s accepted: %s at %zu", names[f], how, at);
    cr_assert_eq(s, err.status);
    check_message(w, f, &err);
}

Test(files, truncated)
{
    struct world w;
    world_open(&w);
    for (int f = 0; f < NUM_FILES; f++) {
        for (size_t size = 0; size < w.size[f]; size += size < 64 ? 1 : 64) {
            kit_write(w.path[f], w.good[f], size);
            refuse(&w, (enum file)f, "truncated", size);
        }
        kit_write(w.path[f], w.good[f], w.size[f] - 1);
        refuse(&w, (enum file)f, "truncated", w.size[f] - 1);
        uint8_t *longer = calloc(w.size[f] + 8, 1);
        memcpy(longer, w.good[f], w.size[f]);
        kit_write(w.path[f], longer, w.size[f] + 8);
        refuse(&w, (enum file)f, "longer", w.size[f]);
        free(longer);
        kit_write(w.path[f], w.good[f], w.size[f]);
    }
    world_close(&w);
}

/* Every byte of every file, one bit and all bits. */
Test(files, flipped)
{
    struct world w;
    world_open(&w);
    for (int f = 0; f < NUM_FILES; f++) {
        for (size_t at = 0; at < w.size[f]; at++) {
            for (int all = 0; all < 2; all++) {
                uint8_t was = w.good[f][at];
                w.good[f][at] = (uint8_t)(was ^ (all ? 0xffu : 1u << at % 8));
                kit_write(w.path[f], w.good[f], w.size[f]);
                refuse(&w, (enum file)f, "flipped", at);
                w.good[f][at] = was;
            }
        }
        kit_write(w.path[f], w.good[f], w.size[f]);
        struct rt_error err;
        cr_assert_eq(use(&w, (enum file)f, &err), RT_OK, "%s", err.text);
    }
    world_close(&w);
}

/* The same with the checksum made right: a clean error or a clean run, and no harm either way. */
Test(files, forged)
{
    struct world w;
    world_open(&w);
    unsigned accepted = 0;
    for (int f = 0; f < NUM_FILES; f++) {
        for (size_t at = 0; at < w.size[f]; at++) {
            uint8_t was = w.good[f][at];
            w.good[f][at] = (uint8_t)(was ^ (at % 3 == 0 ? 0xffu : 1u << at % 8));
            uint64_t sum;
            memcpy(&sum, w.good[f] + 56, 8);
            if (at < 56 || at >= 64) {
                kit_seal(w.good[f], w.size[f]);
            }
            kit_write(w.path[f], w.good[f], w.size[f]);
            struct rt_error err;
            enum rt_status s = use(&w, (enum file)f, &err);
            if (s == RT_OK) {
                accepted++;
                /* never a header, but for the key's name where it is given, not compared; and the
                 * model's data are pinned by their checksum */
                bool names_key = (f == SECRET || f == KEYS) && at >= 40 && at < 48;
                cr_assert((at >= 64 || names_key) && f != DATA, "%s accepted at %zu", names[f], at);
            } else {
                check_message(&w, (enum file)f, &err);
            }
            w.good[f][at] = was;
            memcpy(w.good[f] + 56, &sum, 8);
        }
        kit_write(w.path[f], w.good[f], w.size[f]);
    }
    cr_assert_gt(accepted, 100, "low bits of residues may change: %u", accepted);
    world_close(&w);
}

/* ---- each rule by name ----------------------------------------------------------------------- */

struct rule {
    enum file file;
    size_t at, bytes;
    uint64_t value; /* written there before the checksum is made right */
    enum rt_status status;
    const char *text;
};

/* Offsets: header as in rt.h; ciphertext payload at 64: num_ct, parts, level, seeded, scale. */
static const struct rule rules[] = {
    {INPUT, 0, 1, 'X', RT_ERR_FORMAT, "not a Weft file"},
    {INPUT, 8, 4, 3, RT_ERR_FORMAT, "file is v3, this build reads v2"},
    {KEYS, 12, 4, RT_KIND_CIPHERTEXT, RT_ERR_MISMATCH, "is a ciphertext, expected evaluation keys"},
    {SECRET, 12, 4, RT_KIND_EVAL_KEYS, RT_ERR_MISMATCH,
     "is evaluation keys, expected a secret key"},
    {INPUT, 12, 4, RT_KIND_MODEL_DATA, RT_ERR_MISMATCH, "is model data, expected a ciphertext"},
    {DATA, 12, 4, RT_KIND_SECRET_KEY, RT_ERR_MISMATCH, "is a secret key, expected model data"},
    {INPUT, 12, 4, 99, RT_ERR_MISMATCH, "is of an unknown kind, expected a ciphertext"},
    {INPUT, 16, 4, 0, RT_ERR_MISMATCH, "made with secure parameters, but this program's are toys"},
    {INPUT, 16, 4, 3, RT_ERR_FORMAT, "unknown flags"},
    {INPUT, 20, 4, 1, RT_ERR_FORMAT, "unknown flags"},
    {INPUT, 24, 8, 5, RT_ERR_MISMATCH, "made for other parameters"},
    {SECRET, 24, 8, 5, RT_ERR_MISMATCH, "made for other parameters"},
    {KEYS, 24, 8, 5, RT_ERR_MISMATCH, "made for other parameters"},
    {DATA, 24, 8, 5, RT_ERR_MISMATCH, "made for other parameters"},
    {INPUT, 32, 8, 5, RT_ERR_MISMATCH, "belongs to another model"},
    {OUTPUT, 32, 8, 5, RT_ERR_MISMATCH, "belongs to another model"},
    {SECRET, 32, 8, 5, RT_ERR_MISMATCH, "belongs to another model"},
    {KEYS, 32, 8, 5, RT_ERR_MISMATCH, "belongs to another model"},
    {DATA, 32, 8, 5, RT_ERR_MISMATCH, "belongs to another model"},
    {INPUT, 40, 8, 5, RT_ERR_MISMATCH, "made with another key"},
    {OUTPUT, 40, 8, 5, RT_ERR_MISMATCH, "made with another key"},
    {KEYS, 40, 8, 0, RT_ERR_FORMAT, "names no key"},
    {SECRET, 40, 8, 0, RT_ERR_FORMAT, "names no key"},
    {DATA, 40, 8, 5, RT_ERR_FORMAT, "holds no key's data"},
    {INPUT, 48, 8, UINT64_MAX, RT_ERR_FORMAT, "truncated at byte"},
    {INPUT, 48, 8, 1000000, RT_ERR_FORMAT, "of 1000064"},
    {INPUT, 48, 8, 64, RT_ERR_FORMAT, "bytes too many after the end"},
    {INPUT, 64, 4, 7, RT_ERR_MISMATCH, "holds 7 ciphertexts, expected 2"},
    {INPUT, 68, 4, 3, RT_ERR_FORMAT, "ciphertexts of 3 parts, expected 2"},
    {INPUT, 72, 4, 0, RT_ERR_MISMATCH, "is at level 0, expected 1"},
    {INPUT, 72, 4, 0xffffffff, RT_ERR_MISMATCH, "is at level -1, expected 1"},
    {OUTPUT, 72, 4, 1, RT_ERR_MISMATCH, "is at level 1, expected 0"},
    {INPUT, 76, 4, 2, RT_ERR_FORMAT, "unknown form of ciphertext"},
    {INPUT, 76, 4, 0, RT_ERR_FORMAT, "bytes of data"},
    {INPUT, 80, 8, 0x7ff0000000000000, RT_ERR_MISMATCH, "scale is inf, expected"},
    {INPUT, 80, 8, 0x7ff8000000000000, RT_ERR_MISMATCH, "scale is nan, expected"},
    {INPUT, 80, 8, 0, RT_ERR_MISMATCH, "scale is 0, expected"},
    {INPUT, 80, 8, 0xc130000000000000, RT_ERR_MISMATCH, "scale is -1.04858e+06, expected"},
    {INPUT, 80, 8, 0x4130000000000001, RT_ERR_MISMATCH, "scale is 1.04858e+06, expected"},
    {INPUT, 88, 8, 1, RT_ERR_FORMAT, "unknown form of ciphertext"},
    {INPUT, 160, 8, 1, RT_ERR_FORMAT, "malformed seed"},
    {INPUT, 192, 8, UINT64_MAX, RT_ERR_FORMAT, "ciphertext 0 has a residue"},
    {INPUT, 192, 8, UINT64_C(1) << 30, RT_ERR_FORMAT, "ciphertext 0 has a residue"},
    {OUTPUT, 128, 8, UINT64_C(1) << 63, RT_ERR_FORMAT, "ciphertext 0 has a residue"},
    {KEYS, 64, 8, 3, RT_ERR_FORMAT, "3 keys in"},
    {KEYS, 184, 8, RT_KEY_RAISED, RT_ERR_FORMAT, "key 0 is of kind 4, expected 1"},
    {KEYS, 184, 8, UINT64_MAX, RT_ERR_FORMAT, "key 0 is of kind 18446744073709551615"},
    {KEYS, 184, 8, UINT64_C(1) << 32 | RT_KEY_ROTATE, RT_ERR_FORMAT, "key 0 is of kind 4294967297"},
    {KEYS, 264, 4, 1, RT_ERR_FORMAT,
     "key 2 is for encapsulation, step 0 at level 1, expected 0 at 0"},
    {KEYS, 312, 8, RT_KEY_RELINEARISE, RT_ERR_FORMAT, "key 2 is of kind 0, expected 3"},
    {KEYS, 320, 8, 4, RT_ERR_FORMAT,
     "key 3 is for a raised value, step 4 at level 1, expected 3 at 1"},
    {KEYS, 72, 8, 1, RT_ERR_FORMAT, "key 0 is for rotation 1"},
    {KEYS, 128, 8, 2, RT_ERR_FORMAT, "key 0 is for rotation 2 at level 1, expected 1 at 1"},
    {KEYS, 136, 4, 0, RT_ERR_FORMAT, "key 0 is for rotation 1 at level 0, expected 1 at 1"},
    {KEYS, 144, 8, UINT64_MAX, RT_ERR_FORMAT, "key 0 is for"},
    {KEYS, 384, 8, UINT64_MAX, RT_ERR_FORMAT, "key 0 has a residue"},
    {SECRET, 64, 8, 17, RT_ERR_FORMAT, "malformed secret key"},
    {SECRET, 72, 8, 1, RT_ERR_FORMAT, "malformed secret key"},
    {SECRET, 130, 1, 2, RT_ERR_FORMAT, "malformed secret key"},
    {SECRET, 131, 1, 0xfe, RT_ERR_FORMAT, "malformed secret key"},
    {SECRET, 132, 1, 0x80, RT_ERR_FORMAT, "malformed secret key"},
    {DATA, 96, 8, 0, RT_ERR_MISMATCH, "not the data that this program was built with"},
};

Test(files, rules)
{
    struct world w;
    world_open(&w);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *r = &rules[i];
        uint8_t *bad = malloc(w.size[r->file]);
        memcpy(bad, w.good[r->file], w.size[r->file]);
        memcpy(bad + r->at, &r->value, r->bytes);
        kit_seal(bad, w.size[r->file]);
        kit_write(w.path[r->file], bad, w.size[r->file]);
        struct rt_error err;
        enum rt_status s = use(&w, r->file, &err);
        cr_expect_eq(s, r->status, "rule %zu (%s): status %d, %s", i, r->text, s, err.text);
        cr_expect_not_null(strstr(err.text, r->text), "rule %zu: wanted '%s', got '%s'", i, r->text,
                           err.text);
        check_message(&w, r->file, &err);
        kit_write(w.path[r->file], w.good[r->file], w.size[r->file]);
        free(bad);
    }
    world_close(&w);
}

/* An insecure file in a secure program: the header alone says so, before anything else is compared.
 */
Test(files, insecure_in_secure)
{
    struct world w;
    world_open(&w);
    static const struct kit_shape secure = {.log_n = 11,
                                            .q_bits = {25},
                                            .p_bits = {27},
                                            .alpha = 1,
                                            .n = 8,
                                            .num_in = 2,
                                            .num_out = 1,
                                            .input_scale = 0x1p15};
    struct kit k;
    kit_make(&k, &secure);
    k.model.model_hash = w.kit.model.model_hash;
    struct rt_error err;
    rt_secret *s;
    cr_assert_eq(rt_secret_load(&s, &k.model, w.path[SECRET], &err), RT_ERR_MISMATCH);
    cr_assert_not_null(strstr(err.text, "insecure toy parameters, refused by a secure program"),
                       "%s", err.text);
    kit_drop(&k);
    world_close(&w);
}

/* c1 = 0 says the message in the clear: refused when read and when written. */
Test(files, transparent)
{
    struct world w;
    world_open(&w);
    struct rt_error err;
    uint8_t *bad = malloc(w.size[INPUT]);
    memcpy(bad, w.good[INPUT], w.size[INPUT]);
    memset(bad + 128, 0, SYS_SEED_BYTES);
    kit_seal(bad, w.size[INPUT]);
    kit_write(w.path[INPUT], bad, w.size[INPUT]);
    cr_assert_eq(use(&w, INPUT, &err), RT_ERR_FORMAT);
    cr_assert_not_null(strstr(err.text, "is not encrypted"), "%s", err.text);
    free(bad);
    kit_write(w.path[INPUT], w.good[INPUT], w.size[INPUT]);

    bad = malloc(w.size[OUTPUT]);
    memcpy(bad, w.good[OUTPUT], w.size[OUTPUT]);
    memset(bad + 128 + 16 * 8, 0, 16 * 8); /* c1 at level 0 */
    kit_seal(bad, w.size[OUTPUT]);
    kit_write(w.path[OUTPUT], bad, w.size[OUTPUT]);
    cr_assert_eq(use(&w, OUTPUT, &err), RT_ERR_FORMAT);
    cr_assert_not_null(strstr(err.text, "is not encrypted"), "%s", err.text);
    free(bad);

    /* x - x */
    struct kit *k = &w.kit;
    k->num_ops = 0;
    kit_do(k, KIT_SUB, 5, 0, 0, 0);
    kit_do(k, KIT_DROP_TO, 5, 5, 0, 0);
    (void)unlink(w.path[OUTPUT]);
    unsigned entries = kit_entries(k);
    cr_assert_eq(rt_infer(w.eval, w.path[INPUT], w.path[OUTPUT], NULL, NULL, &err),
                 RT_ERR_ARGUMENT);
    cr_assert_not_null(strstr(err.text, "is not encrypted"), "%s", err.text);
    cr_assert_eq(kit_entries(k), entries, "a temporary file is left");
    world_close(&w);
}

Test(files, not_a_file)
{
    struct world w;
    world_open(&w);
    struct rt_error err;
    for (int f = 0; f < NUM_FILES; f++) {
        (void)unlink(w.path[f]);
        cr_assert_eq(use(&w, (enum file)f, &err), RT_ERR_IO);
        cr_assert_not_null(strstr(err.text, "cannot open: No such file"), "%s", err.text);
        cr_assert_eq(mkdir(w.path[f], 0700), 0);
        cr_assert_eq(use(&w, (enum file)f, &err), RT_ERR_IO);
        cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
        cr_assert_eq(rmdir(w.path[f]), 0);
        cr_assert_eq(mkfifo(w.path[f], 0700), 0);
        cr_assert_eq(use(&w, (enum file)f, &err), RT_ERR_IO);
        cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
        (void)unlink(w.path[f]);
        kit_write(w.path[f], w.good[f], w.size[f]);
    }
    world_close(&w);
}

/* Where the output cannot be written, the message says so and nothing is left. */
Test(files, cannot_write)
{
    struct world w;
    world_open(&w);
    struct rt_error err;
    char path[200];
    unsigned entries = kit_entries(&w.kit);
    (void)snprintf(path, sizeof path, "%s/no/such/out.weft", w.kit.dir);
    cr_assert_eq(rt_infer(w.eval, w.path[INPUT], path, NULL, NULL, &err), RT_ERR_IO);
    cr_assert_not_null(strstr(err.text, "No such file"), "%s", err.text);
    cr_assert_eq(rt_infer(w.eval, w.path[INPUT], w.kit.dir, NULL, NULL, &err), RT_ERR_IO);
    cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
    cr_assert_eq(kit_entries(&w.kit), entries);
    world_close(&w);
}

/* Until it is whole a file has no name, so that a killed process leaves nothing. */
Test(files, no_name_before_the_end)
{
    struct world w;
    world_open(&w);
    int probe = open(w.kit.dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (probe < 0) {
        world_close(&w);
        cr_skip_test("this file system has no nameless files");
    }
    (void)close(probe);
    unsigned entries = kit_entries(&w.kit);
    for (int good = 0; good < 2; good++) {
        struct core_header h = {.kind = RT_KIND_MODEL_DATA, .payload = 8};
        struct core_writer *writer;
        struct rt_error err;
        char path[200];
        (void)snprintf(path, sizeof path, "%s/new.weft", w.kit.dir);
        cr_assert_eq(core_writer_open(&writer, path, &h, &err), RT_OK);
        cr_assert_eq(core_writer_put(writer, "12345678", 8, &err), RT_OK);
        cr_assert_eq(kit_entries(&w.kit), entries);
        if (good) {
            cr_assert_eq(core_writer_finish(writer, &err), RT_OK);
            cr_assert_eq(kit_entries(&w.kit), entries + 1);
            cr_assert_neq(access(path, F_OK), 0);
            cr_assert_eq(core_writer_commit(writer, &err), RT_OK);
            cr_assert_eq(access(path, F_OK), 0);
            (void)unlink(path);
        } else {
            core_writer_abandon(writer);
        }
        cr_assert_eq(kit_entries(&w.kit), entries);
    }
    world_close(&w);
}

/* ---- model data: tables ---------------------------------------------------------------------- */

/* Model data of n values that are not looked at, one rectangle and one plaintext. */
static size_t data_file(uint8_t *to, const uint64_t head[4], const struct core_rect *r,
                        const struct core_plain *p, double value)
{
    struct core_header h;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, "WEFTFILE", 8);
    h.version = CORE_VERSION;
    h.kind = RT_KIND_MODEL_DATA;
    h.payload = 32 + sizeof value + sizeof *r + sizeof *p;
    size_t at = 0;
    memcpy(to + at, &h, sizeof h), at += sizeof h;
    memcpy(to + at, head, 32), at += 32;
    memcpy(to + at, &value, sizeof value), at += sizeof value;
    memcpy(to + at, r, sizeof *r), at += sizeof *r;
    memcpy(to + at, p, sizeof *p), at += sizeof *p;
    kit_seal(to, at);
    return at;
}

Test(files, model_data_tables)
{
    struct kit k;
    kit_make(&k, &tiny);
    char path[128];
    kit_path(&k, path, "model.dat");
#define RECT                                                                                       \
    {                                                                                              \
        1, 2, 3, 3, 1, 0                                                                           \
    }
#define PLAIN                                                                                      \
    {                                                                                              \
        0, 1, 8, 8, 1, 0, 0, 1024                                                                  \
    }
    static const struct {
        uint64_t head[4];
        struct core_rect rect;
        struct core_plain plain;
        double value;
        const char *text; /* NULL: good */
    } cases[] = {
        {{1, 1, 1, 0}, RECT, PLAIN, 1, NULL},
        {{2, 1, 1, 0}, RECT, PLAIN, 1, "plaintext table"},
        {{10, 1, 1, 0}, RECT, PLAIN, 1, "value table"},
        {{1, 4, 1, 0}, RECT, PLAIN, 1, "rectangle table"},
        {{UINT64_MAX, 1, 1, 0}, RECT, PLAIN, 1, "value table"},
        {{UINT64_MAX / 8 + 2, 1, 1, 0}, RECT, PLAIN, 1, "value table"},
        {{1, UINT64_MAX / 24 + 2, 1, 0}, RECT, PLAIN, 1, "rectangle table"},
        {{1, 1, 2, 0}, RECT, PLAIN, 1, "plaintext table"},
        {{1, 1, 0, 0}, RECT, PLAIN, 1, "plaintext table"},
        {{1, 1, 1, 1}, RECT, PLAIN, 1, "value table"},
        {{1, 1, 1, 0}, RECT, PLAIN, NAN, "value 0 is not finite"},
        {{1, 1, 1, 0}, {1, 2, 3, 3, 1, 1}, PLAIN, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, {1, 0, 3, 3, 1, 0}, PLAIN, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, {1, 2, 0, 3, 1, 0}, PLAIN, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, {1, 3, 3, 3, 1, 0}, PLAIN, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, {1, UINT32_MAX, UINT32_MAX, 3, 1, 0}, PLAIN, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, {UINT32_MAX, 2, 2, UINT32_MAX, UINT32_MAX, 0}, PLAIN, 1, NULL},
        {{1, 1, 1, 0}, RECT, {1, 1, 8, 8, 1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {UINT64_MAX, 2, 8, 8, 1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 7, 1, 1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 3, 1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 16, 1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 0, 0, 1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 8, -1, 0, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 8, 1, 2, 0, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 8, 1, 0, 1, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 8, 1, 0, 0, 0}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 8, 1, 0, 0, NAN}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 1, 8, 8, 1, 0, 0, INFINITY}, 1, "plaintext 0 is malformed"},
        /* diagonals: shift, offset, n, period, level, extended, first | last << 8 | inverse << 16 */
        {{1, 1, 1, 0}, RECT, {7, 7, 8, 8, 1, 0, 1 | 3 << 8, 1}, 1, NULL},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 4, 1, 1, 2 | 2 << 8 | 1 << 16, 1}, 1, NULL},
        {{1, 1, 1, 0}, RECT, {8, 0, 8, 8, 1, 0, 1 | 3 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0},
         RECT,
         {UINT64_MAX, 0, 8, 8, 1, 0, 1 | 3 << 8, 1},
         1,
         "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 8, 8, 8, 1, 0, 1 | 3 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 4, 1, 0, 1 | 3 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 16, 1, 0, 1 | 3 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 8, 1, 0, 0 | 3 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 8, 1, 0, 3 | 2 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 8, 1, 0, 1, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 8, 1, 0, 1 | 4 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 8, 1, 0, 1 | 255 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0},
         RECT,
         {0, 0, 8, 8, 1, 0, 1 | 3 << 8 | 2 << 16, 1},
         1,
         "plaintext 0 is malformed"},
        {{1, 1, 1, 0},
         RECT,
         {0, 0, 8, 8, 1, 0, 1 | 3 << 8 | 1u << 31, 1},
         1,
         "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 7, 1, 1, 0, 1 | 1 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 8, 8, -1, 0, 1 | 3 << 8, 1}, 1, "plaintext 0 is malformed"},
        {{1, 1, 1, 0}, RECT, {0, 0, 1, 1, 1, 0, 1 | 1 << 8, 1}, 1, "plaintext 0 is malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[256];
        size_t size =
            data_file(bytes, cases[i].head, &cases[i].rect, &cases[i].plain, cases[i].value);
        kit_write(path, bytes, size);
        uint64_t sum;
        memcpy(&sum, bytes + 56, 8);
        rt_data *d;
        struct rt_error err = {RT_OK, ""};
        enum rt_status s = rt_data_open(&d, 0, sum, path, &err);
        if (cases[i].text == NULL) {
            cr_assert_eq(s, RT_OK, "case %zu: %s", i, err.text);
            uint64_t count;
            cr_assert_eq(rt_data_values(d, &count)[0], cases[i].value);
            cr_assert_eq(count, 1);
            rt_data_close(d);
        } else {
            cr_assert_eq(s, RT_ERR_FORMAT, "case %zu", i);
            cr_assert_not_null(strstr(err.text, cases[i].text), "case %zu: %s", i, err.text);
        }
    }
    kit_drop(&k);
}

/* Rectangles are what rt.h says, and a wrong period is noticed. */
Test(files, plaintext_rectangles)
{
    static const double values[] = {1, 10, 100};
    static const struct core_rect rects[] = {
        {1, 2, 3, 8, 2, 0}, /* 1 3 5  9 11 13 */
        {3, 1, 2, 0, 8, 1}, /* 3 11 */
        {15, 1, 2, 0, 1, 2} /* 15 0 */
    };
    static const struct core_plain plains[] = {{0, 2, 16, 8, 0, 0, 0, 1},
                                               {0, 3, 16, 8, 0, 0, 0, 1}};
    struct rt_data d;
    memset(&d, 0, sizeof d);
    d.values = values;
    d.rects = rects;
    d.plains = plains;
    double slots[16];
    static const double want[16] = {0, 1, 0, 11, 0, 1, 0, 0, 0, 1, 0, 11, 0, 1, 0, 0};
    cr_assert(core_plain_slots(&d, 0, slots));
    cr_assert_eq(memcmp(slots, want, sizeof want), 0);
    cr_assert_not(core_plain_slots(&d, 1, slots));
    cr_assert_eq(slots[15], 100);
    cr_assert_eq(slots[0], 100);
}

/* A data file that passes its own rules but does not fit the program is named too. */
Test(files, data_that_does_not_fit)
{
    static const struct {
        uint32_t n, period;
        int32_t level;
        double scale;
        const char *text;
    } cases[] = {{16, 16, 0, 1024, "does not fit the parameters"},
                 {8, 8, 2, 1024, "does not fit the parameters"},
                 {8, 4, 0, 1024, "does not repeat with period 4"},
                 {8, 8, 0, 0x1p30, "plaintext 0: a coefficient of"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        kit_make(&k, &tiny);
        static const double v[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
        (void)kit_plain(&k, v, cases[i].n, cases[i].period, cases[i].level, false, cases[i].scale);
        kit_write_data(&k);
        kit_keygen(&k, 1);
        char data[128], keys[128];
        kit_path(&k, data, "model.dat");
        kit_path(&k, keys, "eval.weft");
        rt_eval *e;
        struct rt_error err;
        cr_assert_neq(rt_eval_open(&e, &k.program, data, keys, 1, &err), RT_OK);
        cr_assert_null(e);
        cr_assert_not_null(strstr(err.text, cases[i].text), "%s", err.text);
        cr_assert_eq(strncmp(err.text, data, strlen(data)), 0, "%s", err.text);
        kit_drop(&k);
    }
}
