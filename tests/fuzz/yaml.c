/* SPDX-License-Identifier: Apache-2.0 */
/* The model reader: any bytes end in diagnostics or in a program that the verifier accepts. Files
 * named by the text are looked for beside the golden models, so that the seeds find their weights. */

#include "compiler.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_begin();
    if (setjmp(fuzz_out) == 0) {
        prog_verify(model_parse(a, "tests/golden/ir/fuzz.yaml", (const char *)data, size), NULL);
    }
    fuzz_end(a);
    return 0;
}
