/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers of Weft's own files. The first byte chooses the reader and whether the header is mended
 * (magic, version, kind, length, checksum), so that the fuzzer gets past it.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "client/client.h"
#include "core/core.h"
#include "fuzz.h"

enum { CHECKED = 56, MEND = 1, LOG_N = 6, SLOTS = 32 };
static const enum rt_kind kinds[4] = {RT_KIND_CIPHERTEXT, RT_KIND_MODEL_DATA, RT_KIND_SECRET_KEY,
                                      RT_KIND_EVAL_KEYS};
static struct core_ctx *ctx;
static struct rt_interface model;

static void make_model(void)
{
    static uint64_t q[2], p[1];
    static const double mean[] = {0}, std[] = {1};
    static const struct rt_key_spec keys[] = {{0, 1, RT_KEY_RELINEARISE},
                                              {1, 0, RT_KEY_ROTATE},
                                              {0, 0, RT_KEY_ENCAPSULATE},
                                              {1, 1, RT_KEY_RAISED}};
    uint64_t primes[3], from = (uint64_t)1 << 50;
    for (int i = 0; i < 3; i++) {
        from = primes[i] = prime_below(from, LOG_N);
    }
    q[0] = primes[0];
    q[1] = primes[1];
    p[0] = primes[2];
    const struct rt_packing packing = {.c = 1,
                                       .h = 1,
                                       .w = 8,
                                       .n = 8,
                                       .g_h = 1,
                                       .g_w = 1,
                                       .t_h = 1,
                                       .t_w = 1,
                                       .pitch = 8,
                                       .block = 8,
                                       .num_ct = 1};
    model = (struct rt_interface){.name = "fuzz",
                                  .version = "0",
                                  .model_hash = 1,
                                  .params = {.log_n = LOG_N,
                                             .num_q = 2,
                                             .num_p = 1,
                                             .q = q,
                                             .p = p,
                                             .alpha = 1,
                                             .insecure = 1,
                                             .sparse_weight = 3},
                                  .keys = keys,
                                  .num_keys = 4,
                                  .input = packing,
                                  .output = packing,
                                  .input_scale = 0x1p30,
                                  .output_scale = 0x1p30,
                                  .input_level = 1,
                                  .output_level = 0,
                                  .range = {0, 1},
                                  .mean = mean,
                                  .std = std,
                                  .num_outputs = 8};
    struct rt_error err;
    if (core_ctx_open(&ctx, &model, &err) != RT_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

static uint64_t mend(uint8_t *file, size_t bytes, enum rt_kind kind)
{
    struct core_header h;
    bool data = kind == RT_KIND_MODEL_DATA;
    memcpy(&h, file, sizeof h);
    memcpy(h.magic, "WEFTFILE", 8);
    h.version = CORE_VERSION;
    h.kind = kind;
    h.flags = data ? 0 : CORE_FLAG_INSECURE;
    h.zero = 0;
    h.fingerprint = data ? 0 : ctx->fingerprint;
    h.model_hash = model.model_hash;
    h.key_id = data ? 0 : 7;
    h.payload = bytes - sizeof h;
    memcpy(file, &h, sizeof h);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, file, CHECKED);
    XXH3_64bits_update(state, file + sizeof h, bytes - sizeof h);
    h.checksum = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    memcpy(file, &h, sizeof h);
    return h.checksum;
}

static int path_of(char path[64], const uint8_t *file, size_t bytes)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file, bytes) != (ssize_t)bytes) {
        abort();
    }
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static enum rt_status read_data(const char *path, uint64_t checksum, struct rt_error *err)
{
    rt_data *d;
    enum rt_status status = rt_data_open(&d, model.model_hash, checksum, path, err);
    if (status != RT_OK) {
        return status;
    }
    uint64_t work = 0; /* a file may ask for much more than a fuzzer waits for */
    for (uint64_t i = 0; i < d->num_plains && work < 1 << 22; i++) {
        const struct core_plain *p = &d->plains[i];
        double *slots = calloc(2 * (size_t)p->n, sizeof *slots);
        work += (uint64_t)p->n * (1 + (p->dft ? 32 : p->num_rects));
        if (slots && p->dft) {
            core_dft_slots(p, slots, slots + p->n);
        } else if (slots) {
            core_plain_slots(d, i, slots);
        }
        free(slots);
    }
    rt_data_close(d);
    return RT_OK;
}

static enum rt_status read_ciphertext(const char *path, struct rt_error *err)
{
    struct core_ct_file f;
    const struct core_ct_spec spec = {.num_ct = 1, .level = 1, .scale = 0x1p30};
    static uint64_t ct[2 * 2 << LOG_N];
    enum rt_status status = core_ct_open(&f, path, ctx, model.model_hash, 0, &spec, err);
    if (status == RT_OK) {
        status = core_ct_read(&f, 0, ct, err);
        core_ct_close(&f);
    }
    return status;
}

static enum rt_status read_secret(const char *path, struct rt_error *err)
{
    rt_secret *s;
    enum rt_status status = rt_secret_load(&s, &model, path, err);
    if (status == RT_OK) {
        rt_secret_free(s);
    }
    return status;
}

/* Through the server's only entrance, with model data in which there is nothing. */
static enum rt_status read_keys(const char *path, struct rt_error *err)
{
    static const uint64_t reg_words[1] = {0};
    static const uint32_t regs[1] = {0};
    static struct rt_program program = {.interface = &model,
                                        .num_regs = 1,
                                        .reg_words = reg_words,
                                        .input_regs = regs,
                                        .output_regs = regs};
    static char empty[64];
    if (program.data_checksum == 0) {
        uint8_t file[64 + 32] = {0};
        program.data_checksum = mend(file, sizeof file, RT_KIND_MODEL_DATA);
        path_of(empty, file, sizeof file);
    }
    rt_eval *e;
    enum rt_status status = rt_eval_open(&e, &program, empty, path, 1, err);
    if (status == RT_OK) {
        rt_eval_close(e);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (!ctx) {
        make_model();
    }
    size_t bytes = size - 1;
    uint8_t choice = data[0], *file = malloc(bytes + 1);
    enum rt_kind kind = kinds[choice >> 1 & 3];
    struct core_header h = {.checksum = 0};
    if (!file) {
        return 0;
    }
    memcpy(file, data + 1, bytes);
    if (bytes >= sizeof h) {
        if (choice & MEND) {
            mend(file, bytes, kind);
        }
        memcpy(&h, file, sizeof h);
    }
    char path[64];
    int fd = path_of(path, file, bytes);
    free(file);
    struct rt_error err = {0};
    enum rt_status status = kind == RT_KIND_CIPHERTEXT   ? read_ciphertext(path, &err)
                            : kind == RT_KIND_MODEL_DATA ? read_data(path, h.checksum, &err)
                            : kind == RT_KIND_SECRET_KEY ? read_secret(path, &err)
                                                         : read_keys(path, &err);
    if (status != RT_OK && err.text[0] == 0) {
        abort(); /* a refusal without a word */
    }
    close(fd);
    return 0;
}
