/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "ir_texts.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct text {
    const char *s;
    size_t len;
};
static void parse(void *ctx)
{
    const struct text *t = ctx;
    struct arena *a = arena_new();
    prog_parse(a, "t.ir", t->s, t->len);
    arena_free(a);
}

static void expect_refusal(const char *s, const char *place, const char *want)
{
    struct text t = {s, strlen(s)};
    diag_reset();
    struct caught c = ir_catch(parse, &t);
    cr_expect(c.ended && !c.bug, "accepted: %s", s);
    cr_expect_eq(strncmp(c.text, place, strlen(place)), 0, "wanted %s for %s, found %s", place,
                 want, c.text);
    cr_expect_not_null(strstr(c.text, want), "wanted '%s', found %s", want, c.text);
    cr_expect_not_null(strstr(c.text, "^\n"), "no caret: %s", c.text);
}

/* A mistake planted in a good text: the first `from` becomes `to`. */
/* clang-format off */
static const struct {
    const char *text, *from, *to, *place, *want;
} planted[] = {
    /* the first line */
    {"nn", "weft-ir 1 stage=nn", "", "t.ir:2:1", "expected 'weft-ir 1 stage=...'"},
    {"nn", "weft-ir 1", "weft-ir 2", "t.ir:1:9", "another version than 1"},
    {"nn", "weft-ir 1", "weft-ir x", "t.ir:1:9", "expected a whole number"},
    {"nn", "stage=nn", "stage=xx", "t.ir:1:17", "unknown stage 'xx'; known are nn, slot, ckks"},
    {"nn", "stage=nn", "stage=nn extra", "t.ir:1:20", "expected the end of the line"},
    /* header */
    {"nn", "mean", "meen", "t.ir:3:1", "hint: did you mean 'mean'?"},
    {"nn", "mean", "!", "t.ir:3:1", "unexpected character"},
    {"nn", "hash=0123", "hash=xyz", "t.ir:2:27", "expected hexadecimal digits"},
    {"nn", "hash=0123", "hash=012345678", "t.ir:2:27", "up to 16 hexadecimal digits"},
    {"nn", "input=2x4x4", "input=2x4", "t.ir:2:54", "expected 'x'"},
    {"nn", "input=2x4x4", "input=2x0x4", "t.ir:2:52", "expected a number from 1 to 65536"},
    {"nn", "input=2x4x4", "input=16777216x65536x65536", "t.ir:2:50", "more than 268435456 elements"},
    {"nn", "range=[0,1]", "range=[0,1,2]", "t.ir:2:62", "expected 2 numbers, found 3"},
    {"nn", "range=[0,1]", "range=[0,nan]", "t.ir:2:65", "expected a number"},
    {"nn", "range=[0,1]", "range=[0,1e999]", "t.ir:2:65", "expected a number"},
    {"nn", "mean [0.1,0.2]", "mean [0.1]", "t.ir:3:6", "expected 2 numbers, found 1"},
    {"nn", "labels [\"a\",", "labels [", "t.ir:5:1", "2 labels for 3 outputs"},
    {"nn", "\"b\\\\c\"", "\"b\\xc\"", "t.ir:5:15", "unknown escape"},
    {"nn", "\"b\\\\c\"", "\"b\\u0000\"", "t.ir:5:15", "unknown escape"},
    {"nn", "\"b\\\\c\"", "\"b\\u12", "t.ir:5:15", "unknown escape"},
    {"nn", "\"model.yaml\"", "\"model.yaml", "t.ir:6:8", "the string has no end on this line"},
    {"nn", "source \"model.yaml\"", "source model.yaml", "t.ir:6:8", "expected '\"'"},
    {"ckks", "log_n=6", "log_n=60", "t.ir:3:14", "expected a number from 0 to 17"},
    {"ckks", "alpha=1", "alfa=1", "t.ir:3:16", "expected 'alpha='"},
    {"ckks", "key rotate by=3 level=1", "key rotate by=-3 level=1", "t.ir:7:15", "expected a number from 0"},
    {"ckks", "key rotate by=3", "key turn by=3", "t.ir:7:5", "unknown kind of key 'turn'"},
    {"ckks", "registers [384", "registers [0", "t.ir:8:12", "expected a number from 1"},
    {"ckks", "registers [384", "registers [99999999999999999999", "t.ir:8:12", "expected a number from 1"},
    /* entries and references */
    {"nn", "$1 =", "$2 =", "t.ir:9:1", "expected $1 here: entries are numbered from 0 in order"},
    {"nn", "$1 =", "$1", "t.ir:9:4", "expected '='"},
    {"nn", "%1 = conv2d %0", "%1 = conv2d %1", "t.ir:17:13", "%1 is not defined before this line"},
    {"nn", "w=$4", "w=$8", "t.ir:17:18", "$8 is not defined before this line"},
    {"nn", "w=$4", "w=@4", "t.ir:17:18", "expected '$'"},
    {"nn", "w=$4", "w=$99999999999999999999999", "t.ir:17:19", "expected a number from 0"},
    {"slot", "layout=@0 : vec", "layout=@7 : vec", "t.ir:9:26", "@7 is not defined before this line"},
    {"slot", "map=&0 out=0 giant", "map=&1 out=0 giant", "t.ir:12:22", "&1 is not defined before this line"},
    {"nn", "%0 = input", "%0 = inptu", "t.ir:16:6", "hint: did you mean 'input'?"},
    {"nn", "%0 = input", "%0 = fill", "t.ir:16:6", "fill does not belong to this table"},
    {"nn", "$2 = fill dims=[4] value=1", "$2 = input", "t.ir:10:6", "input does not belong to this table"},
    {"nn", "%7 = output %6\n", "%7 = output %6\n$8 = fill dims=[1] value=1\n", "t.ir:24:1", "stand before the nodes"},
    {"nn", "%7 = output %6\n", "%7 = output %6\nsource \"x\"\n", "t.ir:24:1", "expected an entry"},
    {"nn_layout", "program\n", "program\nprogram\n", "t.ir:17:1", "'program' stands too late"},
    {"nn_layout", "program\n", "reference\n", "t.ir:16:1", "'reference' stands too late"},
    {"nn", "%0 = input : tensor 2x4x4", "%0 = \x01", "t.ir:16:6", "unknown operation ''"},
    /* attributes */
    {"nn", "stride=[1,1]", "strid=[1,1]", "t.ir:17:21", "hint: did you mean 'stride'?"},
    {"nn", "stride=[1,1]", "eps=1", "t.ir:17:21", "conv2d takes no attribute 'eps'"},
    {"nn", "stride=[1,1]", "stride=[1,1] stride=[1,1]", "t.ir:17:34", "attribute 'stride' is given twice"},
    {"nn", "stride=[1,1]", "", "t.ir:17:6", "attribute 'stride' is missing"},
    {"nn", "stride=[1,1]", "stride=[1,1", "t.ir:17:33", "expected ']'"},
    {"nn", "stride=[1,1]", "stride=1", "t.ir:17:28", "expected '['"},
    {"nn", "stride=[1,1]", "stride=[1]", "t.ir:17:6", "stride must have 2 numbers, found 1"},
    {"nn", "stride=[1,1]", "stride=[1,0]", "t.ir:17:6", "stride must be from 1 to 65536, found 0"},
    {"nn", "stride=[1,1]", "stride=[1,9223372036854775808]", "t.ir:17:31", "expected a number from"},
    {"nn", "groups=1", "groups=3", "t.ir:17:6", "groups must be from 1 to 2"},
    {"nn", "wrap=circular", "wrap=round", "t.ir:17:77", "expected zeros, circular or spiral"},
    {"nn", "eps=1e-05", "eps=1e", "t.ir:18:56", "expected a number"},
    {"nn", "eps=1e-05", "eps=", "t.ir:18:57", "expected a number"},
    {"nn", "file_tensor=\"conv.weight\"", "file_tensor=conv", "t.ir:8:25", "expected '\"'"},
    /* types */
    {"nn", "%1 = conv2d %0 w=$4", "%1 = conv2d %0 w=$6", "t.ir:17:6", "wants weights [out][in/groups][height][width], found const [3,16]"},
    {"nn", ": tensor 4x4x4  # conv", ": tensor 4x4x5  # conv", "t.ir:17:96", "give: tensor 4x4x4"},
    {"nn", ": tensor 4x4x4  # conv", ": vec 64  # conv", "t.ir:17:96", "kind is not the one"},
    {"nn", ": tensor 4x4x4  # conv", ": tensr 4x4x4  # conv", "t.ir:17:96", "unknown type 'tensr'"},
    {"nn", ": const [4]  # conv", ": const [5]  # conv", "t.ir:9:48", "give: const [4]"},
    {"nn", ": const [4]  # conv", ": const [1,1,1,1,4]  # conv", "t.ir:9:54", "more than 4 axes"},
    {"nn", "%7 = output %6", "%7 = output %5", "t.ir:23:6", "wants 3 elements, found tensor 16x1x1"},
    {"nn_layout", "tensor 2x4x4 @1  # one", "tensor 2x4x4 @0  # one", "t.ir:18:43", "layout @0 is for 1x4x4"},
    {"slot", ": vec 8\n", ": vec 12\n", "t.ir:14:19", "number of slots"},
    {"slot", ": vec 8\n", ": vec 32\n", "t.ir:14:19", "number of slots"},
    {"slot", "%2 = rot %0 by=1 : vec 16", "%2 = rot %0 by=1 : vec 8", "t.ir:11:20", "give: vec 16"},
    {"slot", "by=1", "by=9999999999", "t.ir:11:6", "by must be from"},
    {"slot", "in=[0,0]", "in=[0]", "t.ir:12:6", "in must have 2 numbers, found 1"},
    {"slot", "in=[0,0]", "in=[0,1]", "t.ir:12:6", "in must be from 0 to 0, found 1"},
    {"slot", "period=16", "period=3", "t.ir:12:6", "period must be a power of two up to 16, found 3"},
    {"slot", "%1 = lin %0", "%1 = lin %0, %0", "t.ir:10:6", "the map reads 1 ciphertexts, found 2 operands"},
    {"ckks", "L=2 S=1073741824\n", "L=2 S=0\n", "t.ir:15:49", "expected a number above 0"},
    {"ckks", "L=2 S=1073741824\n", "L=2\n", "t.ir:15:46", "expected 'S='"},
    {"ckks", "ct3 16", "ct 16", "t.ir:16:25", "kind is not the one"},
    {"ckks", "%6, %5 by=3", "%2, %5 by=3", "t.ir:22:6", "must be the decompose of the second"},
    {"ckks", "%2, %1 reg", "%2, %1 by=1 reg", "t.ir:18:6", "a rotation (by) wants ct, found ct3"},
    {"ckks", "drop=1", "drop=3", "t.ir:19:6", "cannot drop 3 primes at level 2"},
    {"ckks", "to=1", "to=3", "t.ir:20:6", "cannot go from level 2 up to 3"},
    {"ckks", "reg=0 :", "reg=x :", "t.ir:15:33", "expected a whole number"},
    {"ckks", "pt_scale=1 ", "", "t.ir:26:7", "needs pt_scale once levels are assigned"},
    /* layouts and maps */
    {"slot", "block=16", "block=5", "t.ir:5:1", "block must divide n"},
    {"slot", "n=16", "n=0", "t.ir:5:21", "expected a number from 1"},
    {"slot", "g=1,1", "g=1", "t.ir:5:28", "expected ','"},
    {"nn_layout", "perm=[1,0]", "perm=[1,1]", "t.ir:6:1", "perm must name different channels"},
    {"nn_layout", "perm=[1,0]", "perm=[1]", "t.ir:6:58", "expected 2 numbers, found 1"},
    {"slot", "  term", "# term", "t.ir:7:1", "map: a map needs from 1 to 65536 terms"},
    {"slot", "groups=1", "groups=5", "t.ir:7:1", "map: 2 output channels do not divide into 5 groups"},
    {"slot", "pad=[0,0,0,0]", "pad=[0,0,0]", "t.ir:8:89", "expected 4 numbers, found 3"},
    {"slot", "pad=[0,0,0,0]", "pad=[0,0,0,5000000000]", "t.ir:8:96", "expected a number from"},
    {"slot", "wrap=zeros", "wrap=", "t.ir:8:104", "expected zeros, circular or spiral"},
    {"slot", "term 1x4x4 @0", "term 1x4x5 @0", "t.ir:7:1", "layout @0 is for 1x4x4, not for 1x4x5"},
    /* DFT factors */
    {"boot", "dft first=1 last=3 inverse=0", "dft first=0 last=3 inverse=0", "t.ir:15:28", "expected a number from 1"},
    {"boot", "dft first=1 last=3 inverse=0", "dft first=1 last=6 inverse=0", "t.ir:14:1", "map: stages 1 to 6 of the DFT are not among 1 to 5"},
    {"boot", "dft first=1 last=3 inverse=0", "dft first=3 last=2 inverse=0", "t.ir:14:1", "map: stages 3 to 2 of the DFT are not among 1 to 5"},
    {"boot", "dft first=1 last=3 inverse=0", "dft first=1 last=3 inverse=2", "t.ir:15:45", "expected a number from 0 to 1"},
    {"boot", "dft first=1 last=3 inverse=0", "dft last=3", "t.ir:15:22", "expected 'first='"},
    {"boot", "term 1x1x32 @0 dft", "term 1x1x16 dft", "t.ir:14:1", "a DFT factor takes 1x1xn to 1x1xn"},
    {"boot", "map 1x1x32 @0\n  term 1x1x32 @0", "map 1x1x31\n  term 1x1x31", "t.ir:14:1", "n a power of two"},
    {"boot", "map 1x1x32 @0\n", "map 1x1x32 @0\n  term 1x1x32 @0 dft first=1 last=3 inverse=0\n", "t.ir:14:1", "a DFT factor has one term"},
    {"boot", "n=32 g=1,1 t=1,1 pitch=32 block=32", "n=64 g=1,1 t=1,1 pitch=32 block=32", "t.ir:14:1", "needs them in order, layout @0 is another"},
    {"boot", "pitch=32 block=32", "pitch=32 block=32 perm=[1]", "t.ir:14:1", "needs them in order, layout @0 is another"},
    {"boot", "g=1,1", "g=1,2", "t.ir:14:1", "needs them in order, layout @0 is another"},
    /* functions */
    {"boot", "function \"raise\"", "function \"stc\"", "t.ir:30:10", "there are two functions 'stc'"},
    {"boot", "function \"raise\"", "function raise", "t.ir:30:10", "expected '\"'"},
    {"boot", "function \"stc\"", "functoin \"stc\"", "t.ir:20:1", "expected an entry"},
    {"boot", "function \"raise\"\n", "program\nfunction \"raise\"\n", "t.ir:31:1", "'function' stands too late"},
    {"boot", "function \"raise\"\n", "reference\n", "t.ir:30:1", "'reference' stands too late"},
    {"boot", "%0 = input reg=0 : ct 32 L=1 S=1073741824", "%0 = input reg=0", "t.ir:21:6", "the input of a function needs its type"},
    {"boot", "%0 = input reg=0 : ct 32", "%0 = input reg=0 : ct 24", "t.ir:21:20", "number of slots"},
    {"boot", "%0 = input reg=0 : ct 32", "%0 = input part=0 layout=@0 reg=0 : ct 32", "t.ir:21:6", "takes neither part nor layout"},
    {"boot", "%0 = input part=0 layout=@0", "%0 = input", "t.ir:53:6", "needs part and layout at stage ckks"},
    {"boot", "%8 = output %7", "%8 = output %7 layout=@0", "t.ir:29:6", "one operand and no layout"},
    {"boot", "%8 = output %7", "%8 = output %7, %7", "t.ir:29:6", "one operand and no layout"},
    {"boot", "%8 = output %7", "%8 = output %4", "t.ir:29:6", "cannot work on ctx"},
    {"boot", "%1 = encapsulate %0 reg=0 : sparse", "%1 = call %0 func=0 reg=0 : sparse", "t.ir:32:6", "functions do not call functions"},
    {"boot", "call %1 func=0", "call %1 func=2", "t.ir:55:6", "there is no function 2"},
    {"boot", "call %1 func=0", "call %0 func=0", "t.ir:55:6", "the function wants ct 32 L=1 S=1073741824, found ct 32 L=2 S=1073741824"},
    {"boot", "call %3 func=1", "call %2 func=1", "t.ir:57:6", "the function wants ct 32 L=0 S=34359726112, found ct 32 L=0 S=1024"},
    {"boot", "%8 = output %7\n", "", "t.ir:54:6", "function 0 has no input or no output"},
    {"boot", "%4 = call %3 func=1 reg=6 : ct 32", "%4 = call %3 func=1 reg=6 : ct 16", "t.ir:57:29", "number of slots"},
    {"boot_slot", "raise_16\"\n%0 = input : vec 16", "raise_16\"\n%0 = input : vec 8", "t.ir:35:6", "the function wants vec 8, found vec 16"},
    /* places */
    {"nn", "# conv model.yaml:9:5", "# conv model.yaml", "t.ir:8:90", "expected ':'"},
    {"nn", "# conv model.yaml:9:5", "# conv model.yaml:9:5 x", "t.ir:8:95", "expected the end of the line"},
    {"nn", "# conv model.yaml:9:5", "# conv model.yaml:9:-1", "t.ir:8:93", "expected a number from 0"},
    {"nn", "# conv model.yaml:9:5", "# (c)", "t.ir:8:75", "expected a name"},
};
/* clang-format on */

static char *plant(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    cr_assert_not_null(at, "'%s' is not in the text", from);
    struct str s;
    str_init(&s, arena_new());
    str_addn(&s, text, (size_t)(at - text));
    str_add(&s, to);
    str_add(&s, at + strlen(from));
    return s.s;
}

Test(parse, planted_mistakes)
{
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        char *s = plant(ir_text(planted[i].text), planted[i].from, planted[i].to);
        expect_refusal(s, planted[i].place, planted[i].want);
    }
}

/* A prefix of a good text is a program or is refused, but never anything else. */
Test(parse, truncations)
{
    for (int i = 0; i < num_ir_texts; i++) {
        size_t len = strlen(ir_texts[i].text);
        for (size_t cut = 0; cut < len; cut++) {
            /* a copy of its own size, so that a sanitizer sees reads beyond it */
            struct text t = {malloc(cut + 1), cut};
            memcpy((void *)(uintptr_t)t.s, ir_texts[i].text, cut);
            diag_reset();
            struct caught c = ir_catch(parse, &t);
            cr_assert_not(c.bug, "%s cut at %zu: %s", ir_texts[i].name, cut, c.text);
            diag_reset();
            free((void *)(uintptr_t)t.s);
        }
    }
}

Test(parse, hostile_sizes)
{
    static const char *const lines[] = {
        "$0 = fill dims=[16777216,16777216] value=1",
        "$0 = fill dims=[16777217] value=1",
        "$0 = fill dims=[1,1,1,1,1] value=1",
        "$0 = fill dims=[0] value=1",
        "$0 = fill dims=[-1] value=1",
        "$0 = values dims=[268435456] data=[1]",
        "@0 = layout 16777216x65536x65536 n=1 g=65536,65536 t=1,1 pitch=1 block=1",
        "@0 = layout 1x1x1 n=131072 g=1,1 t=131072,131072 pitch=131072 block=131072",
        "@0 = layout 1x65536x1 n=131072 g=1,1 t=131072,1 pitch=131072 block=131072",
        "%0 = upsample_nearest %0 factor=[65536,65536]",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct str s;
        str_init(&s, arena_new());
        str_addf(&s, "weft-ir 1 stage=nn\n%s\n", lines[i]);
        expect_refusal(s.s, "t.ir:2:", "error");
    }
}

Test(parse, empty_and_binary)
{
    struct text t = {"", 0};
    cr_expect(ir_catch(parse, &t).ended);
    static const char zeros[1000];
    t = (struct text){zeros, sizeof zeros};
    diag_reset();
    cr_expect(ir_catch(parse, &t).ended);
    static const char nul[] = "weft-ir 1 stage=nn\nmodel \"a\0b\" hash=0\n";
    t = (struct text){nul, sizeof nul - 1};
    diag_reset();
    struct caught c = ir_catch(parse, &t);
    cr_expect(c.ended && !c.bug);
}
