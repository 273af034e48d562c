/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

void k_init(struct kernels *k, enum rt_cpu level)
{
    enum rt_cpu best = sys_cpu_detect();
    if (level > best) {
        level = best;
    }
    k->level = level;
    k_init_ref(k);
#if defined(__x86_64__)
    if (level < RT_CPU_AVX2) {
        return;
    }
    k_init_avx2(k);
    if (level < RT_CPU_AVX512IFMA) {
        return;
    }
    k_init_avx512(k);
#endif
}
