/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/app_check.h"

static size_t elements(const struct rt_packing *p)
{
    return (size_t)p->c * p->h * p->w;
}

bool rt_app_check_open(struct rt_app_check *c, const struct rt_clear_program *clear,
                       struct rt_error *err)
{
    c->clear = clear;
    c->tensor = calloc((size_t)clear->num_tensors + 1, sizeof *c->tensor);
    c->size = calloc((size_t)clear->num_tensors + 1, sizeof *c->size);
    bool good = c->tensor && c->size;
    for (uint32_t i = 0; good && i < clear->num_points; i++) {
        const struct rt_clear_point *p = &clear->points[i];
        if (c->tensor[p->tensor])
            continue;
        c->size[p->tensor] = elements(p->packing);
        c->tensor[p->tensor] = calloc(c->size[p->tensor], sizeof(double));
        good = c->tensor[p->tensor] != NULL;
    }
    if (!good)
        rt_app_status(err, RT_ERR_MEMORY, "out of memory");
    return good;
}

void rt_app_check_close(struct rt_app_check *c)
{
    for (uint32_t i = 0; c->tensor && c->size && i < c->clear->num_tensors; i++) {
        if (c->tensor[i])
            sys_wipe(c->tensor[i], c->size[i] * sizeof(double));
        free(c->tensor[i]);
    }
    free(c->tensor);
    free(c->size);
}

static void keep_tensor(void *ctx, uint32_t tensor, const double *value)
{
    struct rt_app_check *c = ctx;
    if (c->tensor[tensor])
        memcpy(c->tensor[tensor], value, c->size[tensor] * sizeof *value);
}

bool rt_app_check_image(struct rt_app_check *c, const double *values, const double *x, double *y,
                        struct rt_error *err)
{
    c->failed = false;
    if (c->clear->trace(values, x, y, keep_tensor, c))
        return true;
    rt_app_status(err, RT_ERR_MEMORY, "out of memory");
    return false;
}

/* What the compiler planned is what is read: a register that says otherwise is wrong already. */
static bool planned(struct rt_app_check *c, const struct rt_clear_point *p,
                    const struct rt_view *value)
{
    if (value->level != p->level) {
        rt_app_status(&c->why, RT_ERR_ARGUMENT, "layer '%s' (line %u): level %d, planned %d",
                      p->layer, p->line, (int)value->level, (int)p->level);
        return false;
    }
    if (!(fabs(value->scale / p->scale - 1) < 1e-9)) {
        rt_app_status(&c->why, RT_ERR_ARGUMENT,
                      "layer '%s' (line %u): scale 2^%.3f, planned 2^%.3f", p->layer, p->line,
                      log2(value->scale), log2(p->scale));
        return false;
    }
    return true;
}

bool rt_app_check_hook(void *ctx, uint32_t point, const struct rt_view *value)
{
    struct rt_app_check *c = ctx;
    const struct rt_clear_point *p = &c->clear->points[point];
    double error = 0;
    c->failed = true;
    if (!planned(c, p, value) ||
        rt_decrypt_compare(c->secret, c->model, value, p->scale, p->n, p->packing, p->part,
                           c->tensor[p->tensor], &error, &c->why) != RT_OK)
        return false;
    c->failed = !(error <= p->budget);
    if (c->print)
        printf("%-24s %5u %4u %6d %8.2f %10.2g %10.2g%s\n", p->layer, p->line, p->part,
               (int)p->level, log2(p->scale), error, p->budget, c->failed ? "  wrong" : "");
    if (c->failed)
        rt_app_status(&c->why, RT_ERR_ARGUMENT,
                      "layer '%s' (line %u) is the first that is wrong: error %.2g, budget %.2g",
                      p->layer, p->line, error, p->budget);
    return !c->failed;
}

void rt_app_check_head(void)
{
    printf("%-24s %5s %4s %6s %8s %10s %10s\n", "layer", "line", "part", "level", "scale", "error",
           "budget");
}
