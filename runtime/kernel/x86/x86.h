/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_X86_H
#define KERNEL_X86_X86_H

/* Between the files of this folder: what each contributes to its level. */
#include "kernel/kernel.h"

void k_ntt_avx2(struct kernels *k);       /* ntt_avx2.c */
void k_ntt_avx512(struct kernels *k);     /* ntt_avx512.c */
void k_switch_avx2(struct kernels *k);    /* switch_avx2.c */
void k_switch_avx512(struct kernels *k);  /* switch_avx512.c */
void k_convert_avx512(struct kernels *k); /* convert_avx512.c */
void k_sums_avx512(struct kernels *k);    /* sums_avx512.c */

#endif
