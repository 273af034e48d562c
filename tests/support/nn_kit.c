/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_kit.h"

#include "backends.h"
#include "nn_build.h"
#include "random_net.h"

#include <math.h>
#include <string.h>

struct prog *nn_kit(struct arena *a, const char *input, uint32_t outputs, const char *body)
{
    const char *text = arena_printf(a,
                                    "weft-ir 1 stage=nn\nmodel \"kit\" hash=0000000000000001 "
                                    "input=%s range=[0,1] outputs=%u\n%s",
                                    input, outputs, body);
    struct prog *p = prog_parse(a, "kit.ir", text, strlen(text));
    prog_verify(p, NULL);
    return p;
}

struct prog *nn_kit_run(struct prog *p, const char *passes)
{
    static const struct opts none;
    while (*passes) {
        size_t len = strcspn(passes, ",");
        const char *name = arena_strndup(p->arena, passes, len);
        if (pass_find(name) == NONE)
            BUG("no pass %s", name);
        p = pass_info[pass_find(name)].run(p, &none);
        prog_verify(p, name);
        passes += len + (passes[len] == ',');
    }
    return p;
}

double nn_kit_difference(struct prog *p, struct prog *q)
{
    uint32_t len = p->model.num_outputs;
    double *x = arena_array(p->arena, len, sizeof *x), *y = arena_array(p->arena, len, sizeof *y);
    double worst = 0, scale = 1e-3;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const double *image = random_image(p->arena, p, seed);
        sim_run(p, NULL, image, x);
        sim_run(q, NULL, image, y);
        for (uint32_t i = 0; i < len; i++) {
            worst = fmax(worst, fabs(x[i] - y[i]));
            scale = fmax(scale, fabs(x[i]));
        }
    }
    return worst / scale;
}

uint32_t nn_kit_count(const struct prog *p, enum op op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        count += p->nodes.at[i].op == op;
    return count;
}

uint32_t nn_kit_depth(const struct prog *p)
{
    uint32_t deepest = 0, *depth = arena_array(p->arena, p->nodes.len, sizeof *depth);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        for (uint32_t k = 0; k < n->num_args; k++)
            if (depth[n->args[k]] > depth[i])
                depth[i] = depth[n->args[k]];
        depth[i] += n->op == OP_map || n->op == OP_mul;
        if (depth[i] > deepest)
            deepest = depth[i];
    }
    return deepest;
}

const struct lmap *nn_kit_map(const struct prog *p, uint32_t k)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_map && k-- == 0)
            return node_map(p, &p->nodes.at[i]);
    BUG("the program has too few maps");
}
