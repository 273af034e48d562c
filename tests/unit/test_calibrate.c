/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"
#include "ir_kit.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pictures of 8 pixels in [-1, 1]; the map halves them. */
#define INPUT             "%0 = input part=0 layout=@0  # in\n"
#define TIMES(x, y, name) "%" #y " = bootstrap %" #x "  # " name "\n"

struct job {
    struct driver d;
    struct prog *p;
};

static void run_calibrate(void *ctx)
{
    struct job *j = ctx;
    calibrate(&j->d, j->p);
}

static double range_of(const struct prog *p, uint32_t i)
{
    cr_assert_eq(p->nodes.at[i].op, OP_bootstrap);
    return node_real(&p->nodes.at[i], KEY_range);
}

Test(calibrate, twice_what_is_reached_and_a_power_of_two)
{
    struct cli c = {0};
    struct arena *a = arena_new();
    struct prog *p = pkit_program(
        a, STAGE_SLOT,
        INPUT "%1 = add %0, %0, %0\n" TIMES(1, 2, "three") "%3 = mul %2, %2\n" TIMES(
            3, 4,
            "nine") "%5 = sub %0, %0\n" TIMES(5, 6,
                                              "zero") "%7 = bootstrap %0 range=0.75\n%8 = add %4, "
                                                      "%6, %7\n%9 = output %8 layout=@0\n");
    struct driver d = {.cli = &c, .a = a};
    /* 16 pictures of 8 random pixels come near to 1 */
    calibrate(&d, p);
    cr_expect_eq(range_of(p, 2), 8, "three: %g", range_of(p, 2));
    cr_expect_eq(range_of(p, 4), 32, "nine: %g", range_of(p, 4));
    cr_expect_eq(range_of(p, 6), 0x1p-4, "the least range there is: %g", range_of(p, 6));
    cr_expect_eq(range_of(p, 7), 0.75, "a range that is given stays");
    arena_free(a);
}

/* One layer, one range: the largest of its ciphertexts */
Test(calibrate, one_range_a_layer)
{
    struct cli c = {0};
    struct arena *a = arena_new();
    struct prog *p =
        pkit_program(a, STAGE_SLOT,
                     INPUT "%1 = add %0, %0, %0\n" TIMES(0, 2, "act")
                         TIMES(1, 3, "act") "%4 = add %2, %3\n%5 = output %4 layout=@0\n");
    struct driver d = {.cli = &c, .a = a};
    calibrate(&d, p);
    cr_expect_eq(range_of(p, 2), 8);
    cr_expect_eq(range_of(p, 3), 8);
    arena_free(a);
}

/* --images: a picture of a byte 137 everywhere is 2 * 137/255 - 1 = 0.07 */
Test(calibrate, pictures_of_a_file)
{
    char path[] = "/tmp/weft_calibrate_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    unsigned char record[9] = {0};
    memset(record + 1, 137, 8);
    cr_assert_eq(write(fd, record, sizeof record), (ssize_t)sizeof record);
    close(fd);
    struct cli c = {.images = path};
    struct arena *a = arena_new();
    struct prog *p =
        pkit_program(a, STAGE_SLOT, INPUT TIMES(0, 1, "in") "%2 = output %1 layout=@0\n");
    struct driver d = {.cli = &c, .a = a};
    calibrate(&d, p);
    unlink(path);
    cr_expect_eq(range_of(p, 1), 0.25, "twice 0.07: %g", range_of(p, 1));
    arena_free(a);
}

Test(calibrate, refuses_values_that_explode)
{
    struct arena *a = arena_new();
    struct str s;
    str_init(&s, a);
    str_add(&s, INPUT "%1 = add %0, %0, %0\n");
    for (int i = 1; i < 12; i++)
        str_addf(&s, "%%%d = mul %%%d, %%%d\n", i + 1, i, i);
    str_add(&s, TIMES(12, 13, "deep") "%14 = output %13 layout=@0\n");
    struct cli c = {0};
    struct job j = {{.cli = &c, .a = a}, pkit_program(a, STAGE_SLOT, s.s)};
    struct caught caught = ir_catch(run_calibrate, &j);
    cr_expect(caught.ended && !caught.bug);
    cr_expect(strstr(caught.text, "layer 'deep': values reach"), "%s", caught.text);
    cr_expect(strstr(caught.text, "--images"), "%s", caught.text);
    diag_reset();
}
