/* SPDX-License-Identifier: Apache-2.0 */
#include "pass_kit.h"

#include <inttypes.h>
#include <string.h>

static const char head[] =
    "model \"kit\" hash=0000000000000001 input=1x1x8 range=[-1,1] outputs=8\n"
    "mean [0]\n"
    "std [1]\n"
    "$0 = values dims=[1,1,1,1] data=[0.5]\n"
    "$1 = values dims=[1] data=[0.25]\n"
    "@0 = layout 1x1x8 n=8 g=1,1 t=1,1 pitch=8 block=8\n"
    "@1 = layout 1x1x1 n=1 g=1,1 t=1,1 pitch=1 block=1\n"
    "&0 = map 1x1x8 @0\n"
    "  term 1x1x8 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] "
    "pad=[0,0,0,0] wrap=zeros\n";

struct prog *pkit_program(struct arena *a, enum stage stage, const char *nodes)
{
    struct str s;
    str_init(&s, a);
    str_addf(&s, "weft-ir 1 stage=%s\n%s%s", stage_name(stage), head, nodes);
    struct prog *p = prog_parse(a, "kit", s.s, s.len);
    prog_verify(p, NULL);
    return p;
}

const char *pkit_ops_of(const struct prog *p)
{
    static const enum key shown[] = {KEY_by, KEY_drop, KEY_to};
    struct str s;
    str_init(&s, p->arena);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        str_addf(&s, i ? " %s" : "%s", op_info[n->op].name);
        for (uint32_t k = 0; k < sizeof shown / sizeof *shown; k++)
            if (node_attr(n, shown[k]) && (shown[k] != KEY_drop || node_int(n, KEY_drop) != 0))
                str_addf(&s, "(%" PRId64 ")", node_int(n, shown[k]));
    }
    return s.s;
}

struct prog *pkit_run(struct prog *p, const char *first, const char *last, const struct opts *o)
{
    return pipeline_run(p, pass_find(first), pass_find(last), o, NULL, NULL);
}

uint32_t pkit_count(const struct prog *p, enum op op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        count += p->nodes.at[i].op == op;
    return count;
}
