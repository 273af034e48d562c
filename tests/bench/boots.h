/* SPDX-License-Identifier: Apache-2.0 */
/* boot_count.c, for boots.c */
#ifndef BENCH_BOOTS_H
#define BENCH_BOOTS_H

#include "bench.h"
#include "rt.h"

struct boot_counts {
    double ntts;           /* transforms of a limb */
    double keys;           /* products with a switching key */
    double key_polys;      /* limbs of keys in them */
    double plain_products; /* of both parts of a ciphertext */
    struct work work;
};

/* Of all operations between the two calls */
void boot_count_start(void);
struct boot_counts boot_count(const rt_eval *e);

#endif
