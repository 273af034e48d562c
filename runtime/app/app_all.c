/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_app.h"

#include "app.h"

int rt_app_all(const struct rt_program *program, const struct rt_clear_program *clear, int argc,
               char **argv)
{
    static const struct rt_app_command *const commands[] = {
        &rt_app_run, &rt_app_keygen, &rt_app_encrypt, &rt_app_infer, &rt_app_decrypt, &rt_app_info,
        NULL};
    struct rt_app app = {.model = program->interface, .program = program, .clear = clear};
    rt_app_let_threads_sleep(argv);
    return rt_app_main(&app, commands, argc, argv);
}
