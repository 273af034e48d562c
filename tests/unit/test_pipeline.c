/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_kit.h"

#include <criterion/criterion.h>
#include <string.h>

static struct prog *tiny(struct arena *a)
{
    return nn_kit(a, "1x4x4", 1,
                  "%0 = input\n%1 = mul %0, %0\n%2 = global_avg_pool %1\n%3 = output %2\n");
}

Test(pipeline, stages_meet)
{
    cr_assert_gt(num_passes, 5);
    for (uint32_t i = 0; i < num_passes; i++) {
        cr_assert_eq(pass_find(pass_info[i].name), i);
        cr_assert(i == 0 || pass_info[i].from == pass_info[i - 1].to);
        cr_assert(pass_info[i].run && strlen(pass_info[i].text) > 0);
    }
    cr_assert_eq(pass_info[0].from, STAGE_NN);
    cr_assert_eq(pass_info[num_passes - 1].to, STAGE_CKKS);
    cr_assert_eq(pass_find("no_such_pass"), NONE);
}

struct seen {
    uint32_t count, last;
};

static void see(void *ctx, const struct pass_info *pass, const struct prog *after, double ms)
{
    struct seen *s = ctx;
    cr_assert_eq(after->stage, pass->to);
    cr_assert_geq(ms, 0);
    s->count++;
    s->last = pass_find(pass->name);
}

Test(pipeline, runs_a_range_and_reports_each_pass)
{
    struct arena *a = arena_new();
    struct opts o = {0};
    struct seen s = {0};
    struct prog *p = pipeline_run(tiny(a), 0, pass_find("slot_clean"), &o, see, &s);
    cr_assert_eq(p->stage, STAGE_SLOT);
    cr_assert_eq(s.count, pass_find("slot_clean") + 1);
    cr_assert_eq(s.last, pass_find("slot_clean"));
    arena_free(a);
}

Test(pipeline, refuses_a_program_of_another_stage, .exit_code = 1)
{
    struct opts o = {0};
    diag_set_stream(NULL);
    pipeline_run(tiny(arena_new()), pass_find("slot_bsgs"), pass_find("slot_bsgs"), &o, NULL, NULL);
}
