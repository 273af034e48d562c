/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <stdlib.h>
#include <string.h>

static int cpu_limit = -1; /* set by sys_cpu_limit; -1: ask the environment */

enum rt_cpu sys_cpu_detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return RT_CPU_PORTABLE;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma")) {
        return RT_CPU_AVX512IFMA;
    }
    return RT_CPU_AVX2;
#else
    return RT_CPU_PORTABLE;
#endif
}

enum rt_cpu sys_cpu_level(void)
{
    enum rt_cpu best = sys_cpu_detect();
    int limit = cpu_limit;
    if (limit < 0) {
        const char *name = getenv("WEFT_CPU");
        for (int i = 0; name != NULL && i <= (int)RT_CPU_AVX512IFMA; i++) {
            if (strcmp(name, sys_cpu_name((enum rt_cpu)i)) == 0) {
                limit = i;
            }
        }
    }
    return limit >= 0 && limit < (int)best ? (enum rt_cpu)limit : best;
}

void sys_cpu_limit(enum rt_cpu level)
{
    cpu_limit = (int)level;
}

const char *sys_cpu_name(enum rt_cpu level)
{
    switch (level) {
    case RT_CPU_AVX512IFMA:
        return "avx512";
    case RT_CPU_AVX2:
        return "avx2";
    case RT_CPU_PORTABLE:
        break;
    }
    return "portable";
}
