/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#ifdef _OPENMP
#include <omp.h>

int sys_threads(void)
{
    return omp_get_max_threads();
}

void sys_set_threads(int count)
{
    omp_set_num_threads(count < 1 ? 1 : count);
}
#else
int sys_threads(void)
{
    return 1;
}

void sys_set_threads(int count)
{
    (void)count;
}
#endif
