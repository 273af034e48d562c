/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_IR_TEXTS_H
#define TESTS_IR_TEXTS_H

/* Hand-written programs of every stage, exactly as the printer writes them. */

struct ir_text {
    const char *name, *text;
};
extern const struct ir_text ir_texts[];
extern const int num_ir_texts;
const char *ir_text(const char *name);

#endif
