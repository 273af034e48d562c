/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of damaged texts: bytes, numbers and lines changed, copied and lost. Each is refused with
 * a message or is a program; a program prints to a text that reads back to itself, and the verifier
 * and the statistics have an answer for it. Nothing is a bug, nothing crashes.
 */

#include "ir_kit.h"
#include "ir_texts.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    char *s;
    size_t len, cap;
};

static void splice(struct buffer *b, size_t at, size_t gone, const char *s, size_t len)
{
    if (b->len - gone + len > b->cap) {
        return;
    }
    memmove(b->s + at + len, b->s + at + gone, b->len - at - gone);
    memcpy(b->s + at, s, len);
    b->len = b->len - gone + len;
}

static size_t line_start(const struct buffer *b, size_t at)
{
    while (at > 0 && b->s[at - 1] != '\n') {
        at--;
    }
    return at;
}

static size_t line_end(const struct buffer *b, size_t at)
{
    while (at < b->len && b->s[at] != '\n') {
        at++;
    }
    return at < b->len ? at + 1 : at;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One change somewhere. */
static void damage(struct buffer *b, uint64_t *rng)
{
    static const char *const numbers[] = {"0",
                                          "1",
                                          "2",
                                          "3",
                                          "16",
                                          "17",
                                          "64",
                                          "65536",
                                          "131072",
                                          "16777216",
                                          "268435456",
                                          "2147483647",
                                          "2147483648",
                                          "4294967295",
                                          "4294967296",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "-1",
                                          "-2147483648",
                                          "1e308",
                                          "1e-320",
                                          "99999999999999999999"};
    static const char *const words[] = {
        "input", "output",    "mul",       "add",     "lin",       "pmac",      "rot",
        "reg=1", "layout=@0", "map=&0",    "program", "reference", " : ct 16",  " : vec 8",
        "@0",    "$0",        "%0",        "[",       "]",         "\"",        "#",
        "\n",    "call",      "func=0",    "func=1",  "relabel",   "comb",      "function",
        "dft",   "conj",      "bootstrap", "raised",  "sparse",    "mod_raise", "conjugate=1"};
    if (b->len == 0) {
        return;
    }
    size_t at = kit_random(rng) % b->len;
    const char *with;
    char byte;
    switch (kit_random(rng) % 8) {
    case 0: /* a byte of any value */
        byte = (char)kit_random(rng);
        splice(b, at, 1, &byte, 1);
        return;
    case 1: /* a byte that occurs in texts */
        byte = b->s[kit_random(rng) % b->len];
        splice(b, at, kit_random(rng) % 2, &byte, 1);
        return;
    case 2:
        splice(b, at, 1, "", 0);
        return;
    case 3:
    case 4: { /* the next number becomes another */
        while (at < b->len && !digit(b->s[at])) {
            at++;
        }
        size_t end = at;
        while (end < b->len && digit(b->s[end])) {
            end++;
        }
        with = numbers[kit_random(rng) % (sizeof numbers / sizeof *numbers)];
        splice(b, at, end - at, with, strlen(with));
        return;
    }
    case 5:
        with = words[kit_random(rng) % (sizeof words / sizeof *words)];
        splice(b, at, 0, with, strlen(with));
        return;
    case 6: /* a line is lost */
        at = line_start(b, at);
        splice(b, at, line_end(b, at) - at, "", 0);
        return;
    default: { /* a line is copied elsewhere */
        size_t from = line_start(b, kit_random(rng) % b->len);
        size_t len = line_end(b, from) - from;
        char *copy = malloc(len + 1);
        memcpy(copy, b->s + from, len);
        splice(b, line_start(b, at), 0, copy, len);
        free(copy);
    }
    }
}

static char *exact_copy(const char *s, size_t len)
{
    char *copy = malloc(len ? len : 1); /* its own size, for the sanitizers */
    memcpy(copy, s, len);
    return copy;
}

enum { REFUSED, PARSED, VERIFIED, OUTCOMES };

struct job {
    const struct buffer *text;
    struct arena *a;
    int outcome;
};

static void read_and_print(void *ctx)
{
    struct job *j = ctx;
    j->outcome = REFUSED;
    char *text = exact_copy(j->text->s, j->text->len);
    struct prog *p = prog_parse(j->a, "t.ir", text, j->text->len);
    j->outcome = PARSED;
    struct str first, second, stats;
    str_init(&first, j->a);
    str_init(&second, j->a);
    str_init(&stats, j->a);
    prog_print(p, &first);
    struct prog *q = prog_parse(j->a, "printed.ir", exact_copy(first.s, first.len), first.len);
    prog_print(q, &second);
    if (strcmp(first.s, second.s) != 0) {
        BUG("prints differ:\n%s\n%s", first.s, second.s);
    }
    prog_stats_print(p, false, NULL, 0, &stats);
    prog_verify(p, NULL);
    j->outcome = VERIFIED;
}

Test(parse_fuzz, damaged_texts)
{
    uint64_t rng = kit_seed();
    const char *trials = getenv("TRIALS");
    unsigned long count = trials && *trials ? strtoul(trials, NULL, 10) : 60000;
    unsigned outcomes[OUTCOMES] = {0};
    struct buffer b = {malloc(1 << 16), 0, 1 << 16};
    for (unsigned long i = 0; i < count; i++) {
        const char *text = ir_texts[i % (unsigned)num_ir_texts].text;
        b.len = strlen(text);
        memcpy(b.s, text, b.len);
        for (uint64_t k = kit_random(&rng) % 3; k < 3; k++) {
            damage(&b, &rng);
        }
        diag_reset();
        struct job j = {&b, arena_new(), REFUSED};
        struct caught c = ir_catch(read_and_print, &j);
        bool message = strncmp(c.text, "t.ir:", 5) == 0 || j.outcome == PARSED;
        cr_assert(!c.bug && (!c.ended || message), "trial %lu: %s\n%.*s", i, c.text, (int)b.len,
                  b.s);
        outcomes[j.outcome]++;
        arena_free(j.a);
    }
    printf("%u refused, %u parsed, %u legal\n", outcomes[REFUSED], outcomes[PARSED],
           outcomes[VERIFIED]);
    /* otherwise the damage is too small or too large to find anything */
    cr_expect(outcomes[REFUSED] > count / 4 && outcomes[VERIFIED] > count / 50 &&
              outcomes[PARSED] > count / 200);
}
