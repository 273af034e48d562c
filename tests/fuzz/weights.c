/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of safetensors files, through a real file, since it maps. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "ir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("weights", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct arena *a = fuzz_begin();
    if (setjmp(fuzz_out) == 0) {
        struct weights *w = NULL;
        const char *why = NULL;
        if (weights_open(a, path, &w, &why)) {
            double sum = 0; /* touches every byte that a tensor claims */
            for (uint32_t i = 0; i < weights_count(w); i++) {
                const struct weights_tensor *t = weights_get(w, i);
                for (uint64_t k = 0; k < t->elements && t->dtype != DTYPE_OTHER; k++) {
                    sum += weights_value(t, k);
                }
            }
            volatile double keep = sum;
            (void)keep;
        } else if (!why || !*why) {
            abort(); /* a refusal without a word */
        }
    }
    fuzz_end(a);
    close(fd);
    return 0;
}
