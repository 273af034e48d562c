/* SPDX-License-Identifier: Apache-2.0 */
/* The model reader: any bytes end in a program or in diagnostics. Files named by the text are looked for in
 * the example's folder, so that the seeds find their weights. */

#include <setjmp.h>
#include <stdlib.h>

#include "compiler.h"
#include "fuzz.h"

static jmp_buf out;

static void leave(bool bug)
{
    if (bug)
        abort();
    longjmp(out, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    diag_reset();
    diag_set_stream(NULL);
    diag_set_handler(leave);
    if (setjmp(out) == 0)
        model_parse(a, "examples/lenet_mnist/model.yaml", (const char *)data, size);
    arena_free(a);
    return 0;
}
