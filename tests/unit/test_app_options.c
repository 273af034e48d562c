/* SPDX-License-Identifier: Apache-2.0 */
#include "app/app.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>

static struct rt_app seen;
static int calls;

static int record(struct rt_app *app)
{
    seen = *app;
    calls++;
    return 0;
}

static const struct rt_app_command encrypt = {"encrypt",
                                              "IMAGE",
                                              "encrypt an image",
                                              RT_APP_OUT | RT_APP_SECRET | RT_APP_INDEX |
                                                  RT_APP_QUIET | RT_APP_THREADS | RT_APP_TOP |
                                                  RT_APP_MEMORY,
                                              RT_APP_OUT,
                                              record};
static const struct rt_app_command info = {"info", NULL, "facts", RT_APP_JSON, 0, record};
static const struct rt_app_command *const commands[] = {&encrypt, &info, NULL};

static const struct rt_interface safe = {.name = "digits", .version = "1.2", .model_hash = 0xabc};
static const struct rt_interface toy = {
    .name = "digits", .version = "1.2", .params = {.insecure = 1}};

enum { MOST = 12 };

struct usage_case {
    char argv[MOST][32]; /* [0] is the program; ends with an empty name */
    int status;
    char error[128]; /* the whole line behind "prog: error: ", or "" */
};

static int call(const struct rt_interface *model, const char (*words)[32])
{
    static char text[MOST][32];
    char *argv[MOST + 1];
    int argc = 0;
    struct rt_app app = {.model = model};
    for (; argc < MOST && words[argc][0]; argc++) {
        strcpy(text[argc], words[argc]);
        argv[argc] = text[argc];
        if (strcmp(text[argc], "EMPTY") == 0)
            text[argc][0] = '\0';
    }
    argv[argc] = NULL;
    return rt_app_main(&app, commands, argc, argv);
}

static const struct usage_case cases[] = {
    {{"a/prog"}, 2, "no command given, try 'prog --help'"},
    {{"prog", "encrpt"}, 2, "unknown command 'encrpt', did you mean 'encrypt'?"},
    {{"prog", "frobnicate"}, 2, "unknown command 'frobnicate', try 'prog --help'"},
    {{"prog", "--jsno"}, 2, "unknown option '--jsno', try 'prog --help'"},
    {{"prog", "encrypt", "-o", "x"}, 2, "encrypt: no IMAGE given, try 'prog encrypt --help'"},
    {{"prog", "encrypt", "EMPTY", "-o", "x"}, 2, "encrypt: the IMAGE is an empty word"},
    {{"prog", "encrypt", "a"}, 2, "encrypt: say where to write with -o FILE"},
    {{"prog", "encrypt", "a", "-o"}, 2, "encrypt: option '-o' needs an argument"},
    {{"prog", "encrypt", "a", "-o", "-"}, 2, "-o -: a ciphertext is written to a file only"},
    {{"prog", "encrypt", "a", "b", "-o", "x"},
     2,
     "encrypt: one IMAGE only, but also 'b' was given"},
    {{"prog", "encrypt", "--kye", "k"},
     2,
     "encrypt: unknown option '--kye', did you mean '--key'?"},
    {{"prog", "encrypt", "--json"},
     2,
     "encrypt: unknown option '--json', try 'prog encrypt --help'"},
    {{"prog", "encrypt", "-z"}, 2, "encrypt: unknown option '-z', try 'prog encrypt --help'"},
    {{"prog", "encrypt", "--quiet=3"}, 2, "encrypt: option '--quiet' takes no argument"},
    {{"prog", "encrypt", "--threads", "0"},
     2,
     "--threads: '0' is not a whole number from 1 to 256"},
    {{"prog", "encrypt", "--threads=257"},
     2,
     "--threads: '257' is not a whole number from 1 to 256"},
    {{"prog", "encrypt", "--threads", "-1"},
     2,
     "--threads: '-1' is not a whole number from 1 to 256"},
    {{"prog", "encrypt", "--threads", "2x"},
     2,
     "--threads: '2x' is not a whole number from 1 to 256"},
    {{"prog", "encrypt", "--index", "99999999999999999999"},
     2,
     "--index: '99999999999999999999' is not a whole number of at least 0"},
#define NO_SIZE(t)                                                                                 \
    {                                                                                              \
        {"prog", "encrypt", "--max-memory", t}, 2,                                                 \
            "--max-memory: '" t "' is not a size such as 3G or 800M"                               \
    }
    NO_SIZE("G"),
    NO_SIZE("-3G"),
    NO_SIZE("3X"),
    NO_SIZE("3Gi3"),
    NO_SIZE("3GBB"),
    NO_SIZE("0x10"),
    NO_SIZE("0"),
    NO_SIZE("0.5"),
    NO_SIZE("nan"),
    NO_SIZE("1e30"),
    NO_SIZE("9999999999T"),
    NO_SIZE("3 G"),
    NO_SIZE("3g"),
    {{"prog", "info", "what"}, 2, "info: unexpected argument 'what'"},
    {{"prog", "info"}, 0, ""},
    {{"prog", "info", "--json"}, 0, ""},
    {{"prog", "encrypt", "a", "-o", "x"}, 0, ""},
};

ParameterizedTestParameters(app_options, usage)
{
    size_t count = sizeof cases / sizeof cases[0];
    struct usage_case *copy = cr_malloc(sizeof cases);
    memcpy(copy, cases, sizeof cases);
    return cr_make_param_array(struct usage_case, copy, count, NULL);
}

ParameterizedTest(struct usage_case *c, app_options, usage)
{
    char want[160];
    cr_redirect_stderr();
    cr_expect_eq(call(&safe, (const char(*)[32])c->argv), c->status);
    cr_expect_eq(calls, c->status == 0);
    fflush(stderr);
    if (c->error[0]) {
        snprintf(want, sizeof want, "prog: error: %s\n", c->error);
        cr_expect_stderr_eq_str(want);
    }
}

Test(app_options, values_in_any_order)
{
    const char words[][32] = {"prog", "encrypt", "--index=7", "a.png", "-q", "--threads",
                              "3",    "-o",      "out.ct",    "--key", "k",  ""};
    const char more[][32] = {"prog", "encrypt", "--top", "4", "-ox", "--", "-strange", ""};
    cr_assert_eq(call(&safe, words), 0);
    cr_expect_str_eq(seen.argument, "a.png");
    cr_expect_str_eq(seen.out, "out.ct");
    cr_expect_str_eq(seen.keys, "k");
    cr_expect_eq(seen.index, 7);
    cr_expect_eq(seen.threads, 3);
    cr_expect_eq(seen.given, (unsigned)(RT_APP_INDEX | RT_APP_QUIET | RT_APP_THREADS | RT_APP_OUT |
                                        RT_APP_SECRET));
    cr_assert_eq(call(&safe, more), 0);
    cr_expect_str_eq(seen.argument, "-strange");
    cr_expect_str_eq(seen.out, "x");
    cr_expect_eq(seen.top, 4);
}

Test(app_options, sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {{"1", 1},
                 {"800M", 800u << 20},
                 {"3G", (uint64_t)3 << 30},
                 {"5.5G", (uint64_t)11 << 29},
                 {"2KiB", 2048},
                 {"7KB", 7168},
                 {"12B", 12},
                 {"1T", (uint64_t)1 << 40},
                 {"1e9", 1000000000}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char words[][32] = {"prog", "encrypt", "a", "-o", "x", "--max-memory", "", ""};
        strcpy(words[6], sizes[i].text);
        cr_assert_eq(call(&safe, (const char(*)[32])words), 0, "%s", sizes[i].text);
        cr_expect_eq(seen.max_memory, sizes[i].bytes, "%s", sizes[i].text);
        cr_expect(seen.given & RT_APP_MEMORY);
    }
}

Test(app_options, toy_parameters_warn_at_each_run)
{
    const char words[][32] = {"prog", "info", ""};
    cr_redirect_stderr();
    cr_expect_eq(call(&toy, words), 0);
    fflush(stderr);
    cr_expect_stderr_eq_str("prog: warning: this program was built with toy parameters: "
                            "its ciphertexts are not secure\n");
}

Test(app_options, version)
{
    const char words[][32] = {"prog", "--version", ""};
    cr_redirect_stdout();
    cr_expect_eq(call(&safe, words), 0);
    fflush(stdout);
    cr_expect_stdout_eq_str("prog (model digits 0000000000000abc, weft 1.2)\n");
}

Test(app_options, help_of_a_command)
{
    const char words[][32] = {"prog", "info", "--help", ""};
    cr_redirect_stdout();
    cr_expect_eq(call(&toy, words), 0);
    cr_expect_eq(calls, 0);
    fflush(stdout);
    cr_expect_stdout_eq_str("usage: prog info [options]\n\nfacts\n\n"
                            "  --json            the answer as JSON\n"
                            "  -h, --help        this text\n");
}

Test(app_options, output_that_cannot_be_written)
{
    const char words[][32] = {"prog", "--help", ""};
    cr_redirect_stderr();
    cr_assert_not_null(freopen("/dev/full", "w", stdout));
    cr_expect_eq(call(&safe, words), 1);
    fflush(stderr);
    cr_expect_stderr_eq_str(
        "prog: error: cannot write to the standard output: No space left on device\n");
}

Test(app_options, an_error_is_one_line)
{
    struct rt_app app = {.name = "prog"};
    cr_redirect_stderr();
    cr_expect_eq(rt_app_error(&app, "%s: bad", "a\nb\033[31m"), 1);
    fflush(stderr);
    cr_expect_stderr_eq_str("prog: error: a?b?[31m: bad\n");
}
