/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures: every node and edge once, layers and functions in frames of their own. */

#include "backends.h"
#include "ir_kit.h"
#include "ir_texts.h"

#include <criterion/criterion.h>
#include <string.h>

static uint32_t count(const char *text, const char *word)
{
    uint32_t n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word)) {
        n++;
    }
    return n;
}

Test(dot, every_node_and_edge_once)
{
    for (int i = 0; i < num_ir_texts; i++) {
        const char *text = ir_texts[i].text;
        struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
        struct str s;
        str_init(&s, p->arena);
        dot_emit(p, &s);
        uint32_t nodes = 0, edges = 0;
        for (uint32_t f = 0; f <= p->num_funcs; f++) {
            const struct nodes *at = f < p->num_funcs ? &p->funcs[f].nodes : &p->nodes;
            nodes += at->len;
            for (uint32_t k = 0; k < at->len; k++) {
                edges += at->at[k].num_args;
            }
        }
        cr_expect_eq(count(s.s, "[fillcolor="), nodes, "%s", ir_texts[i].name);
        cr_expect_eq(count(s.s, " -> "), edges, "%s", ir_texts[i].name);
        cr_expect_eq(count(s.s, "(null)"), 0, "%s", ir_texts[i].name);
        cr_expect_eq(count(s.s, "{"), count(s.s, "}"), "%s", ir_texts[i].name);
    }
}

Test(dot, functions)
{
    const char *text = ir_text("boot");
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    struct str s;
    str_init(&s, p->arena);
    dot_emit(p, &s);
    static const char *const want[] = {"subgraph cluster_f0 {",          "label=\"function stc\"",
                                       "label=\"function raise\"",       "f1_n1 -> f1_n2;",
                                       "%2 call stc\\nct 32 L=0 r6",     "n1 -> n2;",
                                       "%2 mod_raise\\nraised 32 L=5 r1"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        cr_expect_not_null(strstr(s.s, want[i]), "no '%s' in\n%s", want[i], s.s);
    }
}
