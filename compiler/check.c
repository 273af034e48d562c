/* SPDX-License-Identifier: Apache-2.0 */
/* weft check: reading and nothing else. */
#include "compiler.h"

int cmd_check(const struct cli *c)
{
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    uint32_t next;
    driver_load(&d, &next);
    arena_free(a);
    return 0;
}
