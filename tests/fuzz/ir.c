/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of IR text: any bytes end in one diagnostic or in a program, and what is printed of a
 * program reads back to the same text. */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    volatile bool right = false;
    struct arena *a = fuzz_begin();
    if (setjmp(fuzz_out) == 0) {
        struct prog *p = prog_parse(a, "fuzz.ir", (const char *)data, size);
        prog_verify(p, NULL);
        right = true;
        struct str text, again;
        str_init(&text, a);
        prog_print(p, &text);
        diag_reset();
        struct prog *q = prog_parse(a, "again.ir", text.s, text.len);
        prog_verify(q, NULL);
        str_init(&again, a);
        prog_print(q, &again);
        if (text.len != again.len || memcmp(text.s, again.s, text.len) != 0) {
            abort();
        }
    } else if (right) {
        abort(); /* our own text is refused */
    }
    fuzz_end(a);
    return 0;
}
