/* SPDX-License-Identifier: Apache-2.0 */
/* The whole compiler with toy parameters: a model file of any bytes ends in diagnostics or in C. */

#include "backends.h"
#include "compiler.h"
#include "fuzz.h"
#include "passes.h"

/* What is larger is legal, but takes longer than a fuzzer waits. */
static bool small(const struct prog *p)
{
    uint64_t elements = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct type *t = &p->nodes.at[i].type;
        elements += (uint64_t)t->dims[0] * t->dims[1] * t->dims[2];
    }
    return p->nodes.len <= 24 && elements <= 4096;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct opts opts = {.insecure = true, .log_n = 10};
    struct arena *a = fuzz_begin();
    if (setjmp(fuzz_out) == 0) {
        struct prog *p = model_parse(a, "tests/golden/ir/fuzz.yaml", (const char *)data, size);
        if (small(p)) {
            p = pipeline_run(p, 0, num_passes - 1, &opts, NULL, NULL);
            struct node_ns *node_ns = arena_array(a, p->nodes.len, sizeof *node_ns);
            for (uint32_t i = 0; i < p->nodes.len; i++) {
                node_ns[i] = cost_node_times(p, &p->nodes.at[i]);
            }
            struct c_output out;
            c_emit(p, node_ns, &out, a);
        }
    }
    fuzz_end(a);
    return 0;
}
