/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of IR text: any bytes end in a program or in one diagnostic. */

#include <setjmp.h>
#include <stdlib.h>

#include "fuzz.h"
#include "ir.h"

static jmp_buf out;

static void leave(bool bug)
{
    if (bug)
        abort(); /* the one thing that no input may reach */
    longjmp(out, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    diag_reset();
    diag_set_stream(NULL);
    diag_set_handler(leave);
    if (setjmp(out) == 0) {
        struct prog *p = prog_parse(a, "fuzz.ir", (const char *)data, size);
        prog_verify(p, NULL);
        struct str text;
        str_init(&text, a);
        prog_print(p, &text);
    }
    arena_free(a);
    return 0;
}
