/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <stdarg.h>
#include <stdio.h>

enum rt_status core_fail(struct rt_error *err, enum rt_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        err->status = status;
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}

enum rt_status core_no_memory(struct rt_error *err, const char *what)
{
    return core_fail(err, RT_ERR_MEMORY, "%s: out of memory", what);
}
