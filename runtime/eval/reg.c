/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/eval.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static const char *kind_text(enum eval_kind kind)
{
    switch (kind) {
    case EVAL_CT:
        return "a ciphertext";
    case EVAL_CT3:
        return "a product that is not relinearised";
    case EVAL_CTX:
        return "an extended ciphertext";
    case EVAL_DIGITS:
        return "digits";
    case EVAL_SPARSE:
        return "a ciphertext under the sparse secret";
    case EVAL_RAISED:
        return "a raised ciphertext";
    case EVAL_EMPTY:
        break;
    }
    return "empty";
}

unsigned rt_eval_parts(const rt_eval *e, enum eval_kind kind, int32_t level)
{
    switch (kind) {
    case EVAL_CT:
    case EVAL_CTX:
    case EVAL_SPARSE:
    case EVAL_RAISED:
        return 2;
    case EVAL_CT3:
        return 3;
    case EVAL_DIGITS:
        return ring_digits((unsigned)level, e->ctx->alpha);
    case EVAL_EMPTY:
        break;
    }
    return 0;
}

size_t rt_eval_part_words(const rt_eval *e, enum eval_kind kind, int32_t level)
{
    const struct eval_reg shape = {NULL, 0, kind, level, 0};
    return ring_words(e->ctx->ring, eval_basis(e, &shape));
}

void rt_eval_mistake(rt_eval *e, const char *op, const char *format, ...)
{
    if (e->error.status != RT_OK) {
        return;
    }
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *model = e->program->interface->name;
    if (e->layer != NULL) {
        (void)core_fail(&e->error, RT_ERR_ARGUMENT, "%s: layer '%s' (line %u): %s: %s", model,
                        e->layer->name, e->layer->line, op, text);
    } else {
        (void)core_fail(&e->error, RT_ERR_ARGUMENT, "%s: %s: %s", model, op, text);
    }
}

const struct eval_reg *rt_eval_in(rt_eval *e, const char *op, uint32_t in, unsigned kinds)
{
    if (e->error.status != RT_OK) {
        return NULL;
    }
    if (in >= e->program->num_regs) {
        rt_eval_mistake(e, op, "there is no register %u", in);
        return NULL;
    }
    if ((kinds >> e->regs[in].kind & 1u) == 0) {
        rt_eval_mistake(e, op, "register %u is %s, which it cannot take", in,
                        kind_text(e->regs[in].kind));
        return NULL;
    }
    return &e->regs[in];
}

struct eval_reg *rt_eval_out(rt_eval *e, const char *op, uint32_t out, enum eval_kind kind,
                             int32_t level)
{
    if (e->error.status != RT_OK) {
        return NULL;
    }
    if (out >= e->program->num_regs) {
        rt_eval_mistake(e, op, "there is no register %u", out);
        return NULL;
    }
    uint64_t words = rt_eval_parts(e, kind, level) * (uint64_t)rt_eval_part_words(e, kind, level);
    if (words > e->regs[out].capacity) {
        rt_eval_mistake(e, op, "register %u has room for %llu words, %llu needed", out,
                        (unsigned long long)e->regs[out].capacity, (unsigned long long)words);
        return NULL;
    }
    return &e->regs[out];
}

bool rt_eval_same(rt_eval *e, const char *op, const struct eval_reg *a, const struct eval_reg *b)
{
    if (a->kind != b->kind) {
        rt_eval_mistake(e, op, "one operand is %s, the other %s", kind_text(a->kind),
                        kind_text(b->kind));
    } else if (a->level != b->level) {
        rt_eval_mistake(e, op, "operands at levels %d and %d", a->level, b->level);
    } else if (!core_same_scale(a->scale, b->scale)) {
        rt_eval_mistake(e, op, "operands of scales %.17g and %.17g", a->scale, b->scale);
    }
    return e->error.status == RT_OK;
}

bool rt_eval_scale(rt_eval *e, const char *op, double scale)
{
    if (!isfinite(scale) || scale <= 0) {
        rt_eval_mistake(e, op, "the result's scale would be %g", scale);
    }
    return e->error.status == RT_OK;
}
