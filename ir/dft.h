/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_DFT_H
#define WEFT_DFT_H

/* Between dft.c (factors of the special DFT) and lmap.c (all linear maps). */

#include "ir.h"

/* lmap_check() and lmap_diagonals() of a map whose dft.first is not 0 */
bool dft_check(const struct prog *p, const struct lmap *m, const char **why);
struct diagonals dft_diagonals(const struct prog *p, const struct lmap *m, struct arena *a);

#endif
