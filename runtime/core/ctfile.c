/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <math.h>
#include <string.h>

struct ct_head {
    uint32_t num_ct, parts;
    int32_t level;
    uint32_t seeded;
    double scale;
    uint64_t zero[5];
};
struct ct_seed {
    uint8_t seed[SYS_SEED_BYTES];
    uint64_t zero[4];
};
_Static_assert(sizeof(struct ct_head) == 64 && sizeof(struct ct_seed) == 64,
               "the layout is the file's");

static bool all_zero(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint8_t any = 0;
    for (size_t i = 0; i < bytes; i++) {
        any |= at[i];
    }
    return any == 0;
}

static size_t part_bytes(const struct core_ctx *c, int32_t level)
{
    return ((size_t)level + 1) * c->ring->n * sizeof(uint64_t);
}

static uint64_t one_bytes(const struct core_ctx *c, int32_t level, bool seeded)
{
    uint64_t part = part_bytes(c, level);
    return seeded ? sizeof(struct ct_seed) + part : 2 * part;
}

/* ---- reading -------------------------------------------------------------------------------- */

static enum rt_status check_head(const struct core_ct_file *f, const struct ct_head *h,
                                 struct rt_error *err)
{
    const struct core_ct_spec *spec = &f->spec;
    if (h->parts != 2) {
        return core_fail(err, RT_ERR_FORMAT, "%s: ciphertexts of %u parts, expected 2", f->path,
                         h->parts);
    }
    if (h->num_ct != spec->num_ct) {
        return core_fail(err, RT_ERR_MISMATCH, "%s: holds %u ciphertexts, expected %u", f->path,
                         h->num_ct, spec->num_ct);
    }
    if (h->level != spec->level) {
        return core_fail(err, RT_ERR_MISMATCH, "%s: is at level %d, expected %d", f->path, h->level,
                         spec->level);
    }
    if (!isfinite(h->scale) || h->scale <= 0 || h->scale != spec->scale) {
        return core_fail(err, RT_ERR_MISMATCH, "%s: scale is %g, expected %g", f->path, h->scale,
                         spec->scale);
    }
    if (h->seeded > 1 || !all_zero(h->zero, sizeof h->zero)) {
        return core_fail(err, RT_ERR_FORMAT, "%s: unknown form of ciphertext", f->path);
    }
    uint64_t bytes = sizeof *h + h->num_ct * one_bytes(f->ctx, h->level, h->seeded != 0);
    if (f->file.header.payload != bytes) {
        return core_fail(err, RT_ERR_FORMAT, "%s: %llu bytes of data, %llu expected", f->path,
                         (unsigned long long)f->file.header.payload, (unsigned long long)bytes);
    }
    return RT_OK;
}

enum rt_status core_ct_open(struct core_ct_file *f, const char *path, const struct core_ctx *c,
                            uint64_t model_hash, uint64_t key_id, const struct core_ct_spec *spec,
                            struct rt_error *err)
{
    memset(f, 0, sizeof *f);
    f->ctx = c;
    f->path = path;
    f->spec = *spec;
    const struct core_expect want = {RT_KIND_CIPHERTEXT, c, model_hash, key_id};
    enum rt_status status = core_file_open(&f->file, path, &want, err);
    if (status != RT_OK) {
        return status;
    }
    struct ct_head h;
    if (f->file.header.payload < sizeof h) {
        status = core_fail(err, RT_ERR_FORMAT, "%s: too short for a ciphertext", path);
    } else {
        memcpy(&h, f->file.payload, sizeof h);
        f->seeded = h.seeded != 0;
        status = check_head(f, &h, err);
    }
    if (status != RT_OK) {
        core_ct_close(f);
    }
    return status;
}

enum rt_status core_ct_read(const struct core_ct_file *f, uint32_t i, uint64_t *out,
                            struct rt_error *err)
{
    const struct ring *r = f->ctx->ring;
    const struct ring_basis b = {(unsigned)f->spec.level, 0};
    size_t bytes = part_bytes(f->ctx, f->spec.level);
    size_t words = bytes / sizeof *out;
    const uint8_t *at =
        f->file.payload + sizeof(struct ct_head) + i * one_bytes(f->ctx, f->spec.level, f->seeded);
    bool transparent;
    if (f->seeded) {
        struct ct_seed s;
        memcpy(&s, at, sizeof s);
        if (!all_zero(s.zero, sizeof s.zero)) {
            return core_fail(err, RT_ERR_FORMAT, "%s: malformed seed", f->path);
        }
        transparent = all_zero(s.seed, sizeof s.seed);
        memcpy(out, at + sizeof s, bytes);
        ring_uniform(r, out + words, b, s.seed, 0);
    } else {
        memcpy(out, at, 2 * bytes);
        transparent = all_zero(out + words, bytes);
    }
    if (transparent) {
        return core_fail(err, RT_ERR_FORMAT,
                         "%s: ciphertext %u is not encrypted (its second half is zero)", f->path,
                         i);
    }
    /* After the copy, so that what was checked is what is used, whoever writes to the file. */
    for (size_t limb = 0; limb < 2 * ring_limbs(b); limb++) {
        uint64_t q = r->ntt[limb % ring_limbs(b)].mod.q;
        if (!core_residues_ok(out + limb * r->n, r->n, q)) {
            return core_fail(err, RT_ERR_FORMAT,
                             "%s: ciphertext %u has a residue that is not below its prime", f->path,
                             i);
        }
    }
    return RT_OK;
}

void core_ct_close(struct core_ct_file *f)
{
    core_file_close(&f->file);
}

/* ---- writing -------------------------------------------------------------------------------- */

enum rt_status core_ct_create(struct core_writer **out, const char *path, const struct core_ctx *c,
                              uint64_t model_hash, uint64_t key_id, const struct core_ct_spec *spec,
                              bool seeded, struct rt_error *err)
{
    struct core_header h;
    memset(&h, 0, sizeof h);
    h.kind = RT_KIND_CIPHERTEXT;
    h.flags = c->insecure ? CORE_FLAG_INSECURE : 0;
    h.fingerprint = c->fingerprint;
    h.model_hash = model_hash;
    h.key_id = key_id;
    h.payload = sizeof(struct ct_head) + spec->num_ct * one_bytes(c, spec->level, seeded);
    const struct ct_head head = {spec->num_ct, 2, spec->level, seeded, spec->scale, {0}};
    enum rt_status status = core_writer_open(out, path, &h, err);
    if (status == RT_OK) {
        status = core_writer_put(*out, &head, sizeof head, err);
        if (status != RT_OK) {
            core_writer_abandon(*out);
            *out = NULL;
        }
    }
    return status;
}

enum rt_status core_ct_put(struct core_writer *w, const struct core_ctx *c,
                           const struct core_ct_spec *spec, const uint8_t *seed,
                           const uint64_t *const part[2], struct rt_error *err)
{
    size_t bytes = part_bytes(c, spec->level);
    if (seed == NULL) {
        if (all_zero(part[1], bytes)) {
            return core_fail(err, RT_ERR_ARGUMENT,
                             "%s: not written: the ciphertext is not encrypted (its second half "
                             "is zero)",
                             core_writer_path(w));
        }
        enum rt_status status = core_writer_put(w, part[0], bytes, err);
        return status != RT_OK ? status : core_writer_put(w, part[1], bytes, err);
    }
    struct ct_seed s;
    memset(&s, 0, sizeof s);
    memcpy(s.seed, seed, sizeof s.seed);
    enum rt_status status = core_writer_put(w, &s, sizeof s, err);
    return status != RT_OK ? status : core_writer_put(w, part[0], bytes, err);
}
