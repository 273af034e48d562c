/* SPDX-License-Identifier: Apache-2.0 */
/* weft check: the front end and nothing else. */
#include "compiler.h"

int cmd_check(const struct cli *c)
{
    struct arena *a = arena_new();
    model_load(a, c->input);
    arena_free(a);
    return 0;
}
