/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
/* One line a case: constants and an input first, then the node under test, through the parser, which
 * asks type_infer() and nothing else. `want`: the type as text, or a part of the message. */
static const char nn_head[] = "weft-ir 1 stage=nn\n"
                              "model \"t\" hash=0 input=4x5x7 range=[0,1] outputs=0\n"
                              "$0 = fill dims=[6,2,3,3] value=1\n"
                              "$1 = fill dims=[6] value=1\n"
                              "$2 = fill dims=[4] value=1\n"
                              "$3 = fill dims=[10,140] value=1\n"
                              "$4 = fill dims=[5,4] value=1\n"
                              "$5 = fill dims=[4,4,3,9] value=1\n"
                              "$6 = fill dims=[1] value=1\n"
                              "$7 = fill dims=[65,4] value=1\n"
                              "$8 = fill dims=[] value=1\n"
                              "&0 = map 6x4x4\n"
                              "  term 4x5x7 weight=$0 to=0 from=0 groups=2 stride=[1,2] dilation=[1,1] up=[1,1] pad=[0,1,1,1] wrap=zeros\n";

#define CONV "stride=[2,1] pad=[1,1,0,2] dilation=[1,2] "
static const struct {
    const char *node, *want;
} nn_cases[] = {
    {"conv2d %0 w=$0 groups=2 wrap=zeros bias=$1 " CONV, "tensor 6x3x5"},
    {"conv2d %0 w=$0 groups=2 wrap=spiral " CONV, "tensor 6x3x5"},
    {"conv2d %0 w=$0 groups=1 wrap=zeros " CONV, "weights const [6,2,3,3] in 1 group want 2 input channels, found tensor 4x5x7"},
    {"conv2d %0 w=$0 groups=4 wrap=zeros " CONV, "in 4 groups want 8 input channels"},
    {"conv2d %0 w=$0 groups=2 wrap=zeros bias=$2 " CONV, "wants bias of shape [6], found const [4]"},
    {"conv2d %0 w=$0 groups=2 wrap=zeros bias=$0 " CONV, "wants bias of shape [6], found const [6,2,3,3]"},
    {"conv2d %0 w=$5 groups=1 wrap=zeros stride=[1,1] pad=[0,0,0,0] dilation=[1,1]", "a window of 3x9 does not fit in the padded input tensor 4x5x7"},
    {"conv2d %0 w=$5 groups=1 wrap=zeros stride=[1,1] pad=[0,0,1,1] dilation=[1,1]", "tensor 4x3x1"},
    {"conv2d %0 w=$0 groups=2 wrap=zeros stride=[1,1] pad=[0,0,-1,0] dilation=[1,1]", "pad must be from 0 to"},
    {"conv2d %0, %0 w=$0 groups=2 wrap=zeros " CONV, "another number of operands than 2"},
    {"conv2d w=$0 groups=2 wrap=zeros " CONV, "another number of operands than 0"},
    {"batch_norm %0 gamma=$2 beta=$2 mean=$2 var=$2 eps=0.1", "tensor 4x5x7"},
    {"batch_norm %0 gamma=$2 beta=$2 mean=$1 var=$2 eps=0.1", "wants mean of shape [4], found const [6]"},
    {"linear %1 w=$3", "tensor 10x1x1"},
    {"linear %0 w=$3", "weights const [10,140] want an input of 140x1x1, found tensor 4x5x7"},
    {"linear %1 w=$0", "wants weights [out][in], found const [6,2,3,3]"},
    {"avg_pool %0 kernel=[2,3] stride=[2,3] pad=[0,0,0,0]", "tensor 4x2x2"},
    {"avg_pool %0 kernel=[6,3] stride=[2,3] pad=[0,0,0,0]", "does not fit"},
    {"avg_pool %0 kernel=[0,3] stride=[2,3] pad=[0,0,0,0]", "kernel must be from 1"},
    {"global_avg_pool %0", "tensor 4x1x1"},
    {"upsample_nearest %0 factor=[2,3]", "tensor 4x10x21"},
    {"upsample_nearest %0 factor=[65536,1]", "impossible size 4x327680x7"},
    {"flatten %0", "tensor 140x1x1"},
    {"concat %0, %0, %0", "tensor 12x5x7"},
    {"concat %0, %1", "wants inputs of equal height and width, found tensor 4x5x7 and tensor 140x1x1"},
    {"concat", "needs at least one operand"},
    {"poly %0 coeff=$2", "tensor 4x5x7"},
    {"poly %0 coeff=$4", "tensor 4x5x7"},
    {"poly %0 coeff=$3", "wants coefficients [degree+1] or [degree+1][4] of degree 1 to 63, found const [10,140]"},
    {"poly %0 coeff=$6", "of degree 1 to 63, found const [1]"},
    {"poly %0 coeff=$7", "of degree 1 to 63, found const [65,4]"},
    {"poly %0 coeff=$8", "of degree 1 to 63, found const []"},
    {"map %0 map=&0 bias=$1", "tensor 6x4x4"},
    {"map %1 map=&0", "the map wants operand 0 to be tensor 4x5x7, found tensor 140x1x1"},
    {"map %0, %0 map=&0", "the map wants 1 operands, found 2"},
    {"add_channel %0 bias=$2", "tensor 4x5x7"},
    {"add_channel %0 bias=$1", "wants bias of shape [4]"},
    {"add %0, %0", "tensor 4x5x7"},
    {"mul %0, %1", "wants equal shapes, found tensor 4x5x7 and tensor 140x1x1"},
    {"sub %0", "another number of operands than 1"},
    {"input part=0", "takes no attributes at stage nn"},
    {"output %0, %0", "at stage nn has one operand"},
    {"rot %0 by=1", "is no operation of stage nn"},
    {"rescale %0 drop=1", "is no operation of stage nn"},
};

static const struct {
    const char *node, *want;
} const_cases[] = {
    {"c_add $0, $0", "const [6,2,3,3]"},
    {"c_mul $0, $1", "wants two equal shapes, found const [6,2,3,3] and const [6]"},
    {"c_mul $0, $1 axis=0", "const [6,2,3,3]"},
    {"c_div $0, $1 axis=1", "wants a second operand of shape [2] for axis 1 of const [6,2,3,3], found const [6]"},
    {"c_div $0, $0 axis=0", "wants a second operand of shape [6]"},
    {"c_div $0, $1 axis=4", "axis must be from 0 to 3, found 4"},
    {"c_sub $8, $8 axis=0", "axis must be from 0 to -1"},
    {"c_affine $0 mul=1 add=2", "const [6,2,3,3]"},
    {"c_affine $0 mul=1", "attribute 'add' is missing"},
    {"c_pow $1 exponent=0.5", "const [6]"},
    {"c_reshape $0 dims=[12,9]", "const [12,9]"},
    {"c_reshape $0 dims=[12,8]", "const [6,2,3,3] and const [12,8] have different numbers of elements"},
    {"c_reshape $8 dims=[1,1]", "const [1,1]"},
    {"c_slice $0 axis=0 from=2 count=3", "const [3,2,3,3]"},
    {"c_slice $0 axis=0 from=2 count=5", "count must be from 1 to 4, found 5"},
    {"c_slice $0 axis=0 from=6 count=1", "from must be from 0 to 5, found 6"},
    {"c_slice $0 axis=-1 from=0 count=1", "axis must be from 0"},
    {"c_transpose $3", "const [140,10]"},
    {"c_transpose $0", "wants rank 2, found const [6,2,3,3]"},
    {"values dims=[2] data=[1,2,3]", "const [2] wants 2 numbers, found 3"},
    {"weight file_tensor=\"x\" dims=[1,2,3,4]", "const [1,2,3,4]"},
    {"c_abs $0, $0", "another number of operands than 2"},
};

static const char slot_head[] = "weft-ir 1 stage=slot\n"
                                "model \"t\" hash=0 input=1x4x4 range=[0,1] outputs=0\n"
                                "$0 = fill dims=[2,1,4,4] value=1\n"
                                "$1 = fill dims=[2] value=1\n"
                                "@0 = layout 1x4x4 n=8 g=2,1 t=1,1 pitch=4 block=8\n"
                                "@1 = layout 2x1x1 n=32 g=1,1 t=1,1 pitch=1 block=16\n"
                                "&0 = map 2x1x1 @1\n"
                                "  term 1x4x4 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
                                "&1 = map 2x1x1\n"
                                "  term 1x4x4 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
                                "%0 = input part=0 layout=@0\n"
                                "%1 = input part=1 layout=@0\n"
                                "%2 = input part=0 layout=@1\n";

static const struct {
    const char *node, *want;
} slot_cases[] = {
    {"input part=1 layout=@0", "vec 8"},
    {"input part=2 layout=@0", "part must be from 0 to 1, found 2"},
    {"input part=0", "needs part and layout at stage slot"},
    {"lin %0, %1 map=&0 out=0", "vec 32"},
    {"lin %0, %1 map=&0 out=1", "out must be from 0 to 0, found 1"},
    {"lin %0 map=&0 out=0", "the map reads 2 ciphertexts, found 1 operands"},
    {"lin %0, %2 map=&0 out=0", "wants operand 1 to be vec 8, found vec 32"},
    {"lin %0, %1 map=&1 out=0", "needs a map with layouts, &1 has none"},
    {"rot %0 by=-9", "vec 8"},
    {"add %0, %2", "vec 32"},
    {"mul %0, %1", "vec 8"},
    {"pmac %0, %1 map=&0 out=0 giant=-5 in=[0,1] baby=[3,-2] period=32", "vec 32"},
    {"pmac %0, %1 map=&0 out=0 giant=0 in=[0,2] baby=[0,0] period=32", "in must be from 0 to 1, found 2"},
    {"pmac %0, %1 map=&0 out=0 giant=0 in=[0,1] baby=[0] period=32", "baby must have 2 numbers, found 1"},
    {"pmac %0, %1 map=&0 out=0 giant=0 in=[0,1] baby=[0,0] period=64", "period must be a power of two up to 32"},
    {"pmac %0, %1 map=&0 out=0 giant=0 in=[0,1] baby=[0,0] period=32 pt_scale=-1", "pt_scale must be positive"},
    {"pmac %0 map=&0 out=0 giant=9999999999 in=[0] baby=[0] period=32", "giant must be from"},
    {"padd %2 bias=$1 layout=@1 part=0", "vec 32"},
    {"padd %2 bias=$0 layout=@1 part=0", "wants bias of shape [2], found const [2,1,4,4]"},
    {"padd %2 bias=$1 layout=@1 part=1", "part must be from 0 to 0"},
    {"output %0, %1 layout=@0", "none"},
    {"output %0 layout=@0", "the layout has 2 ciphertexts, found 1 operands"},
    {"output %0, %2 layout=@0", "wants vec 8, found vec 32"},
    {"output %0", "needs a layout at stage slot"},
    {"lin %0, %1 map=&0 out=0 keep=51", "keep must be from 1 to 50, found 51"},
    {"pmac %0 map=&0 out=0 giant=0 in=[0] baby=[0] period=32 keep=0", "keep must be from 1 to 50, found 0"},
    {"conj %0", "vec 8"},
    {"times_i %2", "vec 32"},
    {"add_scalar %0 constant=-2", "vec 8"},
    {"relabel %0 gain=0.5", "vec 8"},
    {"relabel %0 gain=0", "gain must be positive"},
    {"comb %0, %2 factors=[1,-2] constant=3", "vec 32"},
    {"comb %0, %2 factors=[1] constant=3", "needs a factor for each of 2 operands, found 1"},
    {"comb %0 factors=[1] constant=3 to_scale=0", "to_scale must be positive"},
    {"mod_raise %0 slots=64 modulus=2", "vec 64"},
    {"mod_raise %0 slots=4 modulus=2", "slots must be a power of two from 8 to 131072, found 4"},
    {"mod_raise %0 slots=24 modulus=2", "slots must be a power of two"},
    {"mod_raise %0 slots=9223372036854775807 modulus=2", "slots must be a power of two"},
    {"mod_raise %0 slots=8 modulus=-1", "modulus must be positive"},
    {"bootstrap %0 range=2", "vec 8"},
    {"bootstrap %0 range=0", "range must be positive"},
    {"bootstrap %0 range=2 complex=1", "vec 8"},
    {"bootstrap %0 complex=0", "complex must be from 1 to 1, found 0"},
    {"call %0 func=0", "there is no function 0"},
    {"call %0 func=-1", "there is no function -1"},
    {"encapsulate %0", "is no operation of stage slot"},
    {"decompose %0", "is no operation of stage slot"},
    {"poly %0 coeff=$1", "is no operation of stage slot"},
};

static const char ckks_head[] = "weft-ir 1 stage=ckks\n"
                                "model \"t\" hash=0 input=1x1x4 range=[0,1] outputs=0\n"
                                "params log_n=6 alpha=1 scale=1024 input_scale=1024 insecure=1 lambda=0\n"
                                "q [65537,1024,64]\n"
                                "p [3]\n"
                                "$0 = fill dims=[1] value=1\n"
                                "$1 = fill dims=[1,1,1,1] value=1\n"
                                "@0 = layout 1x1x4 n=4 g=1,1 t=1,1 pitch=4 block=4\n"
                                "&0 = map 1x1x4 @0\n"
                                "  term 1x1x4 @0 weight=$1 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
                                "%0 = input part=0 layout=@0 : ct 4 L=2 S=1024\n"
                                "%1 = mul %0, %0\n"
                                "%2 = lift %0\n"
                                "%3 = decompose %0\n"
                                "%4 = drop_to %0 to=1\n"
                                "%5 = raise_scale %0 times=2\n"
                                "%6 = decompose %1\n"
                                "%7 = input part=0 layout=@0\n"
                                "%8 = drop_to %0 to=0\n"
                                "%9 = encapsulate %8\n"
                                "%10 = mod_raise %9 slots=32 modulus=64.0009765625 to=2\n";

static const struct {
    const char *node, *want;
} ckks_cases[] = {
    {"input part=0 layout=@0", "ct 4"},
    {"mul %0, %5", "ct3 4 L=2 S=2097152"},
    {"mul %0, %1", "cannot work on ct3 4 L=2 S=1048576"},
    {"mul %1, %1", "cannot work on ct3"},
    {"mul %0, %4", "operands are at levels 2 and 1"},
    {"mul %0, %7", "ct3 4"},
    {"add %0, %5", "operands have scales 1024 and 2048"},
    {"add %0, %0", "ct 4 L=2 S=1024"},
    {"add %1, %1", "ct3 4 L=2 S=1048576"},
    {"sub %2, %2", "ctx 4 L=2 S=1024"},
    {"add %3, %3", "cannot work on digits"},
    {"decompose %2", "cannot work on ctx"},
    {"key_mul %3, %0 by=1", "ctx 4 L=2 S=1024"},
    {"key_mul %3, %0", "relinearisation (no by) wants ct3, found ct 4"},
    {"key_mul %6, %1", "ctx 4 L=2 S=1048576"},
    {"key_mul %6, %1 by=1", "a rotation (by) wants ct, found ct3"},
    {"key_mul %3, %5 by=1", "must be the decompose of the second"},
    {"key_mul %0, %0 by=1", "cannot work on ct "},
    {"key_mul %3, %0 by=0", "a rotation that is not 0"},
    {"lift %1", "cannot work on ct3"},
    {"mod_down %2 drop=0", "ct 4 L=2 S=1024"},
    {"mod_down %2 drop=2", "ct 4 L=0 S=0.015625"},
    {"mod_down %0 drop=0", "cannot work on ct "},
    {"mod_down %2 drop=3", "cannot drop 3 primes at level 2"},
    {"mod_down %2 drop=-1", "drop must be from 0"},
    {"rescale %0 drop=1", "ct 4 L=1 S=16"},
    {"rescale %1 drop=2", "ct3 4 L=0 S=16"},
    {"rescale %0 drop=0", "drop must be from 1"},
    {"rescale %2 drop=1", "cannot work on ctx"},
    {"rescale %7 drop=1", "ct 4"},
    {"drop_to %1 to=0", "ct3 4 L=0 S=1048576"},
    {"drop_to %4 to=2", "cannot go from level 1 up to 2"},
    {"raise_scale %2 times=4", "ctx 4 L=2 S=4096"},
    {"raise_scale %2 times=0", "times must be from 1"},
    {"pmac %0 map=&0 out=0 giant=0 in=[0] baby=[0] period=4 pt_scale=8", "ct 4 L=2 S=8192"},
    {"pmac %2 map=&0 out=0 giant=0 in=[0] baby=[0] period=4 pt_scale=8", "ctx 4 L=2 S=8192"},
    {"pmac %0, %2 map=&0 out=0 giant=0 in=[0,0] baby=[0,0] period=4 pt_scale=8", "wants operands of one kind"},
    {"pmac %0 map=&0 out=0 giant=0 in=[0] baby=[0] period=4", "needs pt_scale once levels are assigned"},
    {"pmac %7 map=&0 out=0 giant=0 in=[0] baby=[0] period=4", "ct 4"},
    {"padd %0 bias=$0 layout=@0 part=0", "ct 4 L=2 S=1024"},
    {"output %0 layout=@0", "none"},
    {"output %1 layout=@0", "cannot work on ct3"},
    {"comb %0, %5 factors=[2,-3] constant=1 to_scale=4096", "ct 4 L=2 S=4096"},
    {"comb %1, %1 factors=[2,-3] constant=1 to_scale=4096", "ct3 4 L=2 S=4096"},
    {"comb %0, %1 factors=[2,-3] constant=1 to_scale=4096", "wants operands of one kind"},
    {"comb %0, %4 factors=[2,-3] constant=1 to_scale=4096", "operands are at levels 2 and 1"},
    {"comb %0 factors=[2] constant=1", "needs to_scale once levels are assigned"},
    {"comb %7 factors=[2] constant=1", "ct 4"},
    {"comb %0 factors=[1e20] constant=1 to_scale=4096", "factor 1e+20 from scale 1024 to 4096 is no integer below 2^62"},
    {"add_scalar %2 constant=1", "ctx 4 L=2 S=1024"},
    {"add_scalar %3 constant=1", "cannot work on digits"},
    {"times_i %1", "ct3 4 L=2 S=1048576"},
    {"relabel %0 gain=0.25", "ct 4 L=2 S=4096"},
    {"relabel %7 gain=0.25", "ct 4"},
    {"key_mul %3, %0 conjugate=1", "ctx 4 L=2 S=1024"},
    {"key_mul %3, %0 conjugate=2", "conjugate must be 1, without by"},
    {"key_mul %3, %0 by=1 conjugate=1", "conjugate must be 1, without by"},
    {"key_mul %6, %1 conjugate=1", "conjugation wants ct, found ct3"},
    {"encapsulate %8", "sparse 4 L=0 S=1024"},
    {"encapsulate %0", "wants level 0, found 2"},
    {"encapsulate %7", "sparse 4"},
    {"encapsulate %2", "cannot work on ctx"},
    {"mod_raise %9 slots=32 modulus=64.0009765625 to=1", "raised 32 L=1 S=1024"},
    {"mod_raise %9 slots=32 modulus=64.0009765625", "needs `to` once levels are assigned"},
    {"mod_raise %9 slots=32 modulus=64.01 to=1", "modulus 64.010000000000005 at scale 1024 is not q_0"},
    {"mod_raise %9 slots=16 modulus=64 to=1", "slots must be all of a ring of degree 2^6, found 16"},
    {"mod_raise %9 slots=32 modulus=64 to=1024", "to must be from 0 to 1023"},
    {"mod_raise %0 slots=32 modulus=64 to=1", "cannot work on ct "},
    {"raised_mul %10", "ctx 32 L=2 S=1024"},
    {"raised_mul %10 by=-3", "ctx 32 L=2 S=1024"},
    {"raised_mul %10 by=0", "a rotation that is not 0"},
    {"raised_mul %9", "cannot work on sparse"},
    {"add %10, %10", "cannot work on raised"},
    {"mod_down %10 drop=0", "cannot work on raised"},
    {"drop_to %9 to=0", "cannot work on sparse"},
    {"output %10 layout=@0", "cannot work on raised"},
    {"bootstrap %8 range=1", "ct 4 L=0 S=1024"},
    {"bootstrap %1", "cannot work on ct3"},
    {"conj %0", "is no operation of stage ckks"},
    {"rot %0 by=1", "is no operation of stage ckks"},
    {"lin %0 map=&0 out=0", "is no operation of stage ckks"},
};

/* clang-format on */

struct job {
    const char *text;
    char sigil;
    char type[128];
};
static void infer(void *ctx)
{
    struct job *j = ctx;
    struct prog *p = prog_parse(arena_new(), "t.ir", j->text, strlen(j->text));
    const struct nodes *from = j->sigil == '$' ? &p->consts : &p->nodes;
    struct str s;
    str_init(&s, p->arena);
    type_print(&from->at[from->len - 1].type, &s);
    (void)snprintf(j->type, sizeof j->type, "%s", s.s);
}

static void expect(const char *head, char sigil, uint32_t index, const char *node, const char *want)
{
    struct arena *a = arena_new();
    struct job j = {arena_printf(a, "%s%c%u = %s\n", head, sigil, index, node), sigil, ""};
    diag_reset();
    struct caught c = ir_catch(infer, &j);
    bool is_type = strcmp(j.type, want) == 0;
    bool is_message = c.ended && !c.bug && strstr(c.text, want) != NULL;
    cr_expect(is_type || is_message, "%s\nwanted '%s', found '%s%s'", node, want, j.type, c.text);
    arena_free(a);
}

#define EACH(cases) for (size_t i = 0; i < sizeof(cases) / sizeof *(cases); i++)

Test(type, nn)
{
    char head[2048];
    (void)snprintf(head, sizeof head, "%s%%0 = input\n%%1 = flatten %%0\n", nn_head);
    EACH(nn_cases) expect(head, '%', 2, nn_cases[i].node, nn_cases[i].want);
}

Test(type, constants)
{
    EACH(const_cases) expect(nn_head, '$', 9, const_cases[i].node, const_cases[i].want);
}

Test(type, slot)
{
    EACH(slot_cases) expect(slot_head, '%', 3, slot_cases[i].node, slot_cases[i].want);
}

Test(type, ckks)
{
    EACH(ckks_cases) expect(ckks_head, '%', 11, ckks_cases[i].node, ckks_cases[i].want);
}

/* Every row of the op table is inferred by at least one case above. */
Test(type, no_row_is_forgotten)
{
    bool seen[NUM_OPS] = {[OP_weight] = true, [OP_values] = true, [OP_fill] = true};
    char word[32];
#define MARK(cases)                                                                                \
    EACH(cases)                                                                                    \
    {                                                                                              \
        (void)sscanf((cases)[i].node, "%31s", word);                                               \
        seen[op_find(word)] = true;                                                                \
    }
    MARK(nn_cases)
    MARK(const_cases)
    MARK(slot_cases)
    MARK(ckks_cases)
    static const enum op elsewhere[] = {OP_c_sign, OP_c_abs, OP_c_sub};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        seen[elsewhere[i]] = true; /* test_consts.c */
    }
    for (int i = 0; i < NUM_OPS; i++) {
        cr_expect(seen[i], "%s has no case", op_info[i].name);
    }
}

Test(type, window_size)
{
    static const struct {
        uint32_t size, k, stride, dilation, want;
        int32_t a, b;
    } table[] = {{5, 3, 1, 1, 3, 0, 0},          {5, 3, 1, 1, 5, 1, 1},
                 {5, 3, 2, 1, 2, 0, 0},          {6, 3, 2, 1, 2, 0, 0},
                 {5, 3, 1, 2, 1, 0, 0},          {4, 3, 1, 2, 0, 0, 0},
                 {5, 1, 3, 1, 2, 0, 0},          {5, 3, 1, 1, 1, -1, -1},
                 {5, 3, 1, 1, 0, -2, -1},        {5, 0, 1, 1, 0, 0, 0},
                 {5, 3, 0, 1, 0, 0, 0},          {5, 3, 1, 0, 0, 0, 0},
                 {UINT32_MAX, 1, 1, 1, 0, 1, 0}, {1, UINT32_MAX, 1, UINT32_MAX, 0, 0, 0}};
    EACH(table)
    {
        uint32_t got = window_size(table[i].size, table[i].k, table[i].stride, table[i].a,
                                   table[i].b, table[i].dilation);
        cr_expect_eq(got, table[i].want, "row %zu: %u", i, got);
    }
}
