/* SPDX-License-Identifier: Apache-2.0 */
#ifndef APP_APP_CHECK_H
#define APP_APP_CHECK_H

/* app_check.c, of the all-in-one binary: run --check, every layer against the network on plain numbers. */

#include "rt_clear.h"
#include "rt_client.h"
#include "sys/sys.h"

struct rt_app_check {
    const struct rt_clear_program *clear;
    const struct rt_interface *model;
    const rt_secret *secret;
    double **tensor; /* [num_tensors] what it should be, or NULL: not looked at */
    size_t *size;
    bool print;          /* a line a look */
    bool failed;         /* a look found a mistake: */
    struct rt_error why; /* this one */
};
bool rt_app_check_open(struct rt_app_check *c, const struct rt_clear_program *clear,
                       struct rt_error *err);
void rt_app_check_close(struct rt_app_check *c); /* of a zeroed struct: nothing */
/* Computes what the layers should give for the normalised image x; y: [num_outputs], work. */
bool rt_app_check_image(struct rt_app_check *c, const double *values, const double *x, double *y,
                        struct rt_error *err);
bool rt_app_check_hook(void *check, uint32_t point, const struct rt_view *value);
void rt_app_check_head(void);

#endif
