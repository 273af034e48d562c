/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers of Weft's own files: model data and ciphertexts. The first byte chooses the reader and whether
 * the header is mended (magic, version, kind, length, checksum), so that the fuzzer gets past them.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/core.h"
#include "fuzz.h"

enum { HEADER = 64, CHECKED = 56 };

static struct core_ctx *context(void)
{
    static struct core_ctx *ctx;
    static uint64_t q[2], p[1];
    static struct rt_interface model;
    static const double mean[] = {0}, std[] = {1};
    if (ctx)
        return ctx;
    q[0] = prime_below((uint64_t)1 << 50, 6);
    q[1] = prime_below(q[0], 6);
    p[0] = prime_below(q[1], 6);
    const struct rt_packing packing = {.c = 1, .h = 1, .w = 8, .n = 8, .g_h = 1, .g_w = 1, .t_h = 1,
                                       .t_w = 1, .pitch = 8, .block = 8, .num_ct = 1};
    model = (struct rt_interface){.name = "fuzz", .version = "0", .model_hash = 1,
                                  .params = {.log_n = 6, .num_q = 2, .num_p = 1, .q = q, .p = p,
                                             .alpha = 1, .insecure = 1},
                                  .input = packing, .output = packing, .input_scale = 0x1p30,
                                  .output_scale = 0x1p30, .input_level = 1, .output_level = 0,
                                  .range = {0, 1}, .mean = mean, .std = std, .num_outputs = 8};
    struct rt_error err;
    if (core_ctx_open(&ctx, &model, &err) != RT_OK)
        abort();
    return ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 + HEADER)
        return 0;
    struct core_ctx *ctx = context();
    uint8_t choice = data[0];
    size_t bytes = size - 1;
    uint8_t *file = malloc(bytes);
    if (!file)
        return 0;
    memcpy(file, data + 1, bytes);
    struct core_header h;
    memcpy(&h, file, sizeof h);
    if (choice & 1) {
        memcpy(h.magic, "WEFTFILE", 8);
        h.version = CORE_VERSION;
        h.kind = choice & 2 ? RT_KIND_MODEL_DATA : RT_KIND_CIPHERTEXT;
        h.flags = choice & 2 ? 0 : CORE_FLAG_INSECURE;
        h.zero = 0;
        h.fingerprint = choice & 2 ? 0 : ctx->fingerprint;
        h.model_hash = 1;
        h.key_id = choice & 2 ? 0 : 7;
        h.payload = bytes - HEADER;
        memcpy(file, &h, sizeof h);
        XXH3_state_t *state = XXH3_createState();
        XXH3_64bits_reset(state);
        XXH3_64bits_update(state, file, CHECKED);
        XXH3_64bits_update(state, file + HEADER, bytes - HEADER);
        h.checksum = XXH3_64bits_digest(state);
        XXH3_freeState(state);
        memcpy(file, &h, sizeof h);
    }
    int fd = memfd_create("file", 0);
    if (fd < 0 || write(fd, file, bytes) != (ssize_t)bytes)
        abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct rt_error err;
    if (choice & 2) {
        rt_data *d = NULL;
        if (rt_data_open(&d, h.model_hash, h.checksum, path, &err) == RT_OK) {
            for (uint64_t i = 0; i < d->num_plains; i++) {
                double *slots = calloc(d->plains[i].n, sizeof *slots);
                if (slots)
                    core_plain_slots(d, i, slots);
                free(slots);
            }
            rt_data_close(d);
        }
    } else {
        struct core_ct_file f;
        const struct core_ct_spec spec = {.num_ct = 1, .level = 1, .scale = 0x1p30};
        if (core_ct_open(&f, path, ctx, 1, 0, &spec, &err) == RT_OK) {
            uint64_t *ct = malloc(4 * ctx->ring->n * sizeof *ct);
            if (ct && core_ct_read(&f, 0, ct, &err) != RT_OK)
                err.text[0] = 0;
            free(ct);
            core_ct_close(&f);
        }
    }
    close(fd);
    free(file);
    return 0;
}
