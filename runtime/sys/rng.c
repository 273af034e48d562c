/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <sodium.h>
#include <string.h>

bool sys_random_init(void)
{
    return sodium_init() >= 0;
}

void sys_random(void *out, size_t bytes)
{
    randombytes_buf(out, bytes);
}

void sys_expand(void *out, size_t bytes, const uint8_t seed[SYS_SEED_BYTES], uint64_t stream,
                uint64_t block)
{
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    _Static_assert(crypto_stream_chacha20_KEYBYTES == SYS_SEED_BYTES, "seed is the key");
    _Static_assert(sizeof nonce == 8, "nonce is the stream number");
    for (size_t i = 0; i < sizeof nonce; i++) {
        nonce[i] = (uint8_t)(stream >> (8 * i));
    }
    memset(out, 0, bytes);
    crypto_stream_chacha20_xor_ic(out, out, bytes, nonce, block, seed);
}
