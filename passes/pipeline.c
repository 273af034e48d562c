/* SPDX-License-Identifier: Apache-2.0 */
#include "passes.h"

#include <string.h>
#include <time.h>

const struct pass_info pass_info[] = {
#define PASS(pass, stage_in, stage_out, english)                                                   \
    {.name = #pass,                                                                                \
     .text = english,                                                                              \
     .from = STAGE_##stage_in,                                                                     \
     .to = STAGE_##stage_out,                                                                      \
     .run = pass},
#include "passes.def"
};
const uint32_t num_passes = sizeof pass_info / sizeof *pass_info;

uint32_t pass_find(const char *name)
{
    for (uint32_t i = 0; i < num_passes; i++)
        if (strcmp(pass_info[i].name, name) == 0)
            return i;
    return NONE;
}

static bool any_node(const struct prog *p, bool (*is)(const struct node *n))
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (is(&p->nodes.at[i]))
            return true;
    return false;
}

static bool has_layout(const struct node *n)
{
    return n->type.kind == KIND_TENSOR && n->type.layout != NONE;
}

static bool has_level(const struct node *n)
{
    return n->type.kind != KIND_NONE && n->type.level >= 0;
}

static bool is_pmac(const struct node *n)
{
    return n->op == OP_pmac;
}

static bool is_grouped(const struct node *n)
{
    return node_attr(n, KEY_group) != NULL;
}

static bool any_group(const struct prog *p)
{
    bool any = any_node(p, is_grouped);
    for (uint32_t f = 0; f < p->num_funcs && !any; f++)
        any = any_node(prog_of_func(p, f), is_grouped);
    return any;
}

uint32_t pipeline_ran(const struct prog *p)
{
    const char *name = NULL;
    switch (p->stage) {
    case STAGE_NN:
        name = any_node(p, has_layout) ? "nn_layout" : p->reference.len > 0 ? "nn_linear" : NULL;
        break;
    case STAGE_SLOT:
        name = any_node(p, is_pmac) ? "slot_bsgs" : "lower_nn_slot";
        break;
    default:
        name = p->num_regs > 0          ? "ckks_regs"
               : any_group(p)           ? "ckks_group"
               : p->num_keys > 0        ? "ckks_keys"
               : any_node(p, has_level) ? p->num_funcs > 0 ? "ckks_expand" : "ckks_level"
               : p->params.log_n > 0    ? "ckks_params"
                                        : "lower_slot_ckks";
    }
    return name ? pass_find(name) : NONE;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

struct prog *pipeline_run(struct prog *p, uint32_t first, uint32_t last, const struct opts *o,
                          pass_hook *hook, void *ctx)
{
    if (first >= num_passes || last >= num_passes)
        BUG("pipeline: no pass %u", first >= num_passes ? first : last);
    for (uint32_t i = first; i <= last; i++) {
        const struct pass_info *pass = &pass_info[i];
        if (p->stage != pass->from)
            diag_fatal(NO_LOC, "pass %s wants a program of stage %s, this one is at stage %s",
                       pass->name, stage_name(pass->from), stage_name(p->stage));
        double start = now_ms();
        p = pass->run(p, o);
        double ms = now_ms() - start;
        if (p->stage != pass->to)
            BUG("pass %s left stage %s", pass->name, stage_name(p->stage));
        prog_verify(p, pass->name);
        if (hook)
            hook(ctx, pass, p, ms);
    }
    return p;
}
