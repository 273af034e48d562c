/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "front_kit.h"

static struct arena *arena;
static const char *said;

static void set_up(void)
{
    arena = arena_new();
}

static void tear_down(void)
{
    arena_free(arena);
}

TestSuite(yaml, .init = set_up, .fini = tear_down);
TestSuite(scalar, .init = set_up, .fini = tear_down);

static struct yaml *parse(const char *text)
{
    struct yaml *y = front_yaml(arena, text, &said);
    cr_assert(y, "refused: %s", said);
    return y;
}

static void refused(const char *text, const char *part)
{
    cr_assert(!front_yaml(arena, text, &said), "accepted");
    cr_assert(strstr(said, part), "wanted '%s' in: %s", part, said);
}

static void at(const struct yaml *y, uint32_t line, uint32_t col)
{
    cr_expect_eq(y->loc.line, line, "line %u, wanted %u", y->loc.line, line);
    cr_expect_eq(y->loc.col, col, "column %u, wanted %u", y->loc.col, col);
}

Test(yaml, every_node_has_its_place)
{
    struct yaml *y = parse("a: 1\nlist:\n  - x\n  - {k: v, l: [1,  2]}\nüü: z\n");
    cr_assert_eq(y->kind, YAML_MAPPING);
    cr_assert_eq(y->len, 3u);
    at(y, 1, 1);
    at(y->key[0], 1, 1);
    at(y->item[0], 1, 4);
    at(yaml_get_key(y, "list"), 2, 1);
    const struct yaml *list = yaml_get(y, "list");
    cr_assert_eq(list->kind, YAML_LIST);
    at(list, 3, 3);
    at(list->item[0], 3, 5);
    at(list->item[1], 4, 5);
    at(yaml_get(list->item[1], "l"), 4, 15);
    at(yaml_get(list->item[1], "l")->item[1], 4, 20);
    at(yaml_get(y, "üü"), 5, 5); /* columns count characters, not bytes */
}

Test(yaml, get_finds_keys_of_mappings_only)
{
    struct yaml *y = parse("{a: b, list: [a]}");
    cr_assert_str_eq(yaml_get(y, "a")->text, "b");
    cr_assert_null(yaml_get(y, "b"));
    cr_assert_null(yaml_get(yaml_get(y, "list"), "a"));
    cr_assert_null(yaml_get(NULL, "a"));
}

Test(yaml, aliases_share_and_count)
{
    struct yaml *y = parse("a: &x [1, 2]\nb: *x\nc: [*x, *x]\n");
    cr_assert_eq(yaml_get(y, "a"), yaml_get(y, "b"));
    cr_assert_eq(yaml_get(y, "a")->size, 3u);
    cr_assert_eq(yaml_get(y, "c")->size, 7u);
}

Test(yaml, an_anchor_counts_from_its_end)
{
    refused("a: &x [1, *x]\n", "no anchor '&x' before it");
}

Test(yaml, the_last_of_equal_anchors_counts)
{
    struct yaml *y = parse("[&x a, &x b, *x]");
    cr_assert_str_eq(y->item[2]->text, "b");
}

Test(yaml, duplicate_keys)
{
    refused("{a: 1, b: 2, a: 3}", "test.yaml:1:14: error: key 'a' is given twice");
    refused("x: {a: 1, \"a\": 3}", "given twice");
    parse("{a: {a: 1}, b: {a: 1}}");
}

Test(yaml, limits)
{
    struct str s;
    str_init(&s, arena);
    for (int i = 0; i < YAML_MAX_DEPTH; i++) {
        str_add(&s, "[");
    }
    char *deep = arena_strndup(arena, s.s, s.len - 1);
    for (int i = 0; i < YAML_MAX_DEPTH; i++) {
        str_add(&s, "]");
    }
    parse(s.s); /* as deep as can be */
    refused(arena_printf(arena, "[[%s", deep), "nested deeper than 64 levels");

    str_init(&s, arena);
    for (int i = 0; i <= YAML_MAX_SCALAR; i++) {
        str_add(&s, "x");
    }
    parse(s.s + 1);
    refused(s.s, "a text of 65537 bytes");

    str_init(&s, arena);
    str_add(&s, "[&a [1,1,1,1,1,1,1,1,1]");
    for (int i = 0; i < 99998; i++) {
        str_add(&s, ",*a");
    }
    str_addn(&s, "]", 1);
    cr_assert_eq(parse(s.s)->size, 999991u);
    s.s[s.len - 1] = ',';
    str_add(&s, "*a]");
    refused(s.s, "more than 1000000 YAML nodes");
}

Test(yaml, a_file_that_is_too_large)
{
    char *big = arena_alloc(arena, YAML_MAX_BYTES + 2);
    memset(big, '#', YAML_MAX_BYTES + 1);
    refused(big, "a model file of 16777217 bytes");
}

struct text {
    char yaml[64], message[64];
};

ParameterizedTestParameters(yaml, refused)
{
    static struct text t[] = {
        {"", "1:1: error: the file is empty"},
        {"# nothing\n", "1:1: error: the file is empty"},
        {"---\n---\n", "error"},
        {"a\n---\nb\n", "2:1: error: a second YAML document"},
        {"{a: b", "not valid YAML"},
        {"a: b: c", "1:5: error: not valid YAML"},
        {"\ta: b", "not valid YAML"},
        {"[a]: b", "1:1: error: a key must be a word"},
        {"? {a: b}\n: c", "a key must be a word"},
        {"!!str a", "1:1: error: YAML tags"},
        {"*a", "1:1: error: alias '*a'"},
        {"a: \"x\\0y\"", "1:4: error: a text with a NUL character"},
        {"a: b\nc: \xff", "2:4: error: not valid YAML"},
        {"a: \x01", "1:4: error: not valid YAML"},
        {"%YAML 3.0\n---\na", "not valid YAML"},
    };
    return cr_make_param_array(struct text, t, sizeof t / sizeof *t);
}

ParameterizedTest(struct text *t, yaml, refused)
{
    refused(t->yaml, t->message);
}

/* ---- scalars -------------------------------------------------------------------------------- */

Test(scalar, integers)
{
    int64_t v = 77;
    cr_expect(yaml_int(parse("12"), 0, 12, &v) && v == 12);
    cr_expect(yaml_int(parse("-3"), -3, 0, &v) && v == -3);
    cr_expect(yaml_int(parse("+3"), -3, 3, &v) && v == 3);
    cr_expect(yaml_int(parse("007"), 0, 10, &v) && v == 7);
    v = 77;
    static const char *const wrong[] = {"13",
                                        "-4",
                                        "1.0",
                                        "1e1",
                                        "0x1",
                                        "'1'",
                                        "\"1\"",
                                        "one",
                                        "~",
                                        "+",
                                        "-",
                                        "1-",
                                        "--1",
                                        "[1]",
                                        "{1: 1}",
                                        "1_000",
                                        "9223372036854775808",
                                        "99999999999999999999999",
                                        "1 2",
                                        "true"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect(!yaml_int(parse(wrong[i]), -3, 12, &v), "%s", wrong[i]);
    }
    cr_expect_eq(v, 77, "a refused value was stored");
    cr_expect(yaml_int(parse("9223372036854775807"), 0, INT64_MAX, &v) && v == INT64_MAX);
    cr_expect(yaml_int(parse("-9223372036854775808"), INT64_MIN, 0, &v) && v == INT64_MIN);
}

Test(scalar, reals)
{
    double v = 77;
    cr_expect(yaml_real(parse("0.485"), &v) && v == 0.485);
    cr_expect(yaml_real(parse("-1e-5"), &v) && v == -1e-5);
    cr_expect(yaml_real(parse(".5"), &v) && v == 0.5);
    cr_expect(yaml_real(parse("3"), &v) && v == 3);
    cr_expect(yaml_real(parse("1e-400"), &v) && v == 0);
    v = 77;
    static const char *const wrong[] = {"1e400", "-1e400", "inf", ".inf",  "nan", ".nan", "0x1p3",
                                        "1,5",   "1.2.3",  "e5",  "'1.0'", "~",   "[1]",  "1f"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect(!yaml_real(parse(wrong[i]), &v), "%s", wrong[i]);
    }
    cr_expect_eq(v, 77);
}

Test(scalar, flags_and_nothing)
{
    bool v = false;
    cr_expect(yaml_bool(parse("true"), &v) && v);
    cr_expect(yaml_bool(parse("False"), &v) && !v);
    static const char *const wrong[] = {"yes", "no", "'true'", "1", "~", "[true]", "tRUE"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect(!yaml_bool(parse(wrong[i]), &v), "%s", wrong[i]);
    }
    cr_expect(yaml_is_null(parse("~")) && yaml_is_null(parse("null")) &&
              yaml_is_null(yaml_get(parse("a:"), "a")));
    cr_expect(!yaml_is_null(parse("''")) && !yaml_is_null(parse("0")) &&
              !yaml_is_null(parse("[]")));
}

Test(scalar, described)
{
    cr_expect_str_eq(yaml_describe(arena, parse("abc")), "'abc'");
    cr_expect_str_eq(yaml_describe(arena, parse("'1'")), "the text \"1\"");
    cr_expect_str_eq(yaml_describe(arena, parse("~")), "nothing");
    cr_expect_str_eq(yaml_describe(arena, parse("[1, [2]]")), "a list");
    cr_expect_str_eq(yaml_describe(arena, parse("[1, -2]")), "[1, -2]");
    cr_expect_str_eq(yaml_describe(arena, parse("[]")), "[]");
    cr_expect_str_eq(yaml_describe(arena, parse("{a: b}")), "a mapping");
    cr_expect_str_eq(yaml_describe(arena, parse("\"a\\e[31m\\nb\"")), "the text \"a?[31m?b\"");
    struct str s; /* 59 bytes, then a character of two: it is not cut in half */
    str_init(&s, arena);
    for (int i = 0; i < 59; i++) {
        str_add(&s, "x");
    }
    const char *want = arena_printf(arena, "'%s...'", s.s);
    str_add(&s, "üyy");
    cr_expect_str_eq(yaml_describe(arena, parse(s.s)), want);
}
