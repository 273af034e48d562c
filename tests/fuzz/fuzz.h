/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_FUZZ_H
#define WEFT_FUZZ_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

/* The entry point that libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Diagnostics end in a jump to fuzz_out; our own mistakes abort, for no input may reach one:
 *     struct arena *a = fuzz_begin();
 *     if (setjmp(fuzz_out) == 0)
 *         read(a, data, size);
 *     fuzz_end(a);
 */
extern jmp_buf fuzz_out;
struct arena *fuzz_begin(void);
void fuzz_end(struct arena *a); /* also unmaps what file_map() keeps for the life of a process */

#endif
