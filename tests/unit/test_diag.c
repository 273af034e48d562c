/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char text[] =
    "name: x\nlayers:\n  - kernel: 0\n\tstride: 1\nw\xc3\xa4rme: \x01oops\n\nlast";

struct say {
    struct loc loc;
    const char *text;
};
static void error(void *ctx)
{
    const struct say *s = ctx;
    diag_error(s->loc, "%s", s->text);
}

static struct caught say(uint32_t line, uint32_t col, const char *message)
{
    diag_reset();
    uint32_t file = diag_add_file("model.yaml", text, sizeof text - 1);
    struct say s = {{file, line, col}, message};
    return ir_catch(error, &s);
}

Test(diag, format)
{
    static const struct {
        uint32_t line, col;
        const char *want;
    } table[] = {
        {3, 5, "model.yaml:3:5: error: bad\n   3 |   - kernel: 0\n     |     ^\n"},
        {4, 2, "model.yaml:4:2: error: bad\n   4 | \tstride: 1\n     | \t^\n"},
        {5, 8, "model.yaml:5:8: error: bad\n   5 | w\xc3\xa4rme: ?oops\n     |        ^\n"},
        {6, 1, "model.yaml:6:1: error: bad\n   6 | \n     | ^\n"},
        {7, 9, "model.yaml:7:9: error: bad\n   7 | last\n     |     ^\n"},
        {8, 1, "model.yaml:8:1: error: bad\n"},
        {3, 0, "model.yaml:3: error: bad\n"},
        {0, 0, "model.yaml: error: bad\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct caught c = say(table[i].line, table[i].col, "bad");
        cr_expect_str_eq(c.text, table[i].want);
        cr_expect_not(c.ended);
        cr_expect_eq(diag_error_count(), 1);
    }
}

Test(diag, long_lines_are_cut_around_the_place)
{
    static char line[3001];
    memset(line, 'a', 3000);
    memcpy(line + 2000, "HERE", 4);
    diag_reset();
    struct say s = {{diag_add_file("long", line, 3000), 1, 2001}, "x"};
    struct caught c = ir_catch(error, &s);
    cr_expect_lt(strlen(c.text), 400);
    const char *quoted = strstr(c.text, "1 | ");
    cr_assert_not_null(quoted);
    const char *caret = strchr(c.text, '^');
    cr_assert_not_null(strstr(quoted, "HERE"));
    const char *second = strchr(quoted, '\n') + 1;
    cr_expect_eq(strstr(quoted, "HERE") - (quoted - 3), caret - second,
                 "the caret is not below HERE:\n%s", c.text);
}

static void several(void *ctx)
{
    (void)ctx;
    diag_error(NO_LOC, "one");
    diag_hint(NO_LOC, "did you mean 'two'?");
    diag_warning(NO_LOC, "three");
    diag_note(NO_LOC, "four");
    diag_error(NO_LOC, "five");
    cr_assert_eq(diag_error_count(), 2);
    diag_check();
}

Test(diag, check_ends_when_errors_were_counted)
{
    struct caught c = ir_catch(several, NULL);
    cr_expect(c.ended && !c.bug);
    cr_expect_str_eq(
        c.text, "error: one\nhint: did you mean 'two'?\nwarning: three\nnote: four\nerror: five\n");
}

Test(diag, check_goes_on_without_errors)
{
    diag_set_stream(NULL);
    diag_warning(NO_LOC, "w");
    diag_check();
}

static void bug(void *ctx)
{
    (void)ctx;
    BUG("odd %d", 7);
}

Test(diag, bugs_name_the_source)
{
    struct caught c = ir_catch(bug, NULL);
    cr_expect(c.ended && c.bug);
    cr_expect_not_null(strstr(c.text, "test_diag.c:"));
    cr_expect_not_null(strstr(c.text, "internal error: odd 7"));
}

Test(diag, fatal_exits, .exit_code = 1)
{
    diag_set_stream(NULL);
    diag_fatal(NO_LOC, "end");
}

Test(diag, bug_aborts, .signal = SIGABRT)
{
    diag_set_stream(NULL);
    BUG("end");
}

Test(diag, files_are_known_by_name)
{
    diag_reset();
    char name[] = "a.yaml";
    uint32_t a = diag_add_file(name, NULL, 0);
    uint32_t b = diag_add_file("b.yaml", NULL, 0);
    name[0] = 'c'; /* the name is copied */
    cr_expect_eq(a, 1);
    cr_expect_neq(a, b);
    cr_expect_eq(diag_add_file("a.yaml", "text", 4), a);
    cr_expect_str_eq(diag_file_name(a), "a.yaml");
    cr_expect_str_eq(diag_file_name(0), "");
    cr_expect_str_eq(diag_file_name(99), "");
}

Test(diag, nearest)
{
    static const char *const words[] = {"stride", "padding", "kernel", "dilation", "op", "", NULL};
    static const struct {
        const char *word, *want;
    } table[] = {
        {"strid", "stride"}, {"stirde", "stride"}, {"kernal", "kernel"}, {"padings", "padding"},
        {"po", "op"},        {"xyz", NULL},        {"", NULL},           {"dilatoin", "dilation"},
        {"activation", NULL}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *near = diag_nearest(table[i].word, words);
        cr_expect_str_eq(near ? near : "-", table[i].want ? table[i].want : "-", "for '%s'",
                         table[i].word);
    }
    char huge[1000];
    memset(huge, 'k', sizeof huge - 1);
    huge[999] = '\0';
    cr_expect_null(diag_nearest(huge, words));
}

static void fail(void *ctx)
{
    diag_warning(NO_LOC, "beware");
    diag_fatal(NO_LOC, "no %s", (const char *)ctx);
}

static void work(void *ctx)
{
    diag_warning(NO_LOC, "beware");
    *(int *)ctx = 7;
}

Test(diag, a_try_forgets_what_failed)
{
    struct arena *a = arena_new();
    char way[] = "way";
    const char *said;
    int done = 0;
    char *printed = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&printed, &len);
    diag_set_stream(stream);
    cr_expect_not(diag_try(a, fail, way, &said));
    cr_expect_str_eq(said, "warning: beware\nerror: no way\n");
    cr_expect_eq(diag_error_count(), 0);
    fflush(stream);
    cr_expect_eq(len, 0, "nothing on the stream: %s", printed);
    cr_expect(diag_try(a, work, &done, &said));
    cr_expect_eq(done, 7);
    fclose(stream);
    diag_set_stream(stderr);
    cr_expect_str_eq(printed, "warning: beware\n");
    free(printed);
    arena_free(a);
}
