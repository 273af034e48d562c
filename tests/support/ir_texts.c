/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_texts.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const char nn[] =
    "weft-ir 1 stage=nn\n"
    "model \"tiny \\\"net\\\"\" hash=0123456789abcdef input=2x4x4 range=[0,1] outputs=3\n"
    "mean [0.1,0.2]\n"
    "std [0.5,1]\n"
    "labels [\"a\",\"b\\\\c\",\"d\\n\\u0001\"]\n"
    "source \"model.yaml\"\n"
    "weights \"dir/weights.safetensors\"\n"
    "$0 = weight file_tensor=\"conv.weight\" dims=[4,2,3,3] : const [4,2,3,3]  # conv model.yaml:9:5\n"
    "$1 = weight file_tensor=\"conv.bias\" dims=[4] : const [4]  # conv model.yaml:9:5\n"
    "$2 = fill dims=[4] value=1 : const [4]\n"
    "$3 = c_affine $2 mul=2 add=-0.30000000000000004 : const [4]\n"
    "$4 = c_mul $0, $3 axis=0 : const [4,2,3,3]\n"
    "$5 = values dims=[3] data=[0,1e-05,1] : const [3]\n"
    "$6 = weight file_tensor=\"fc.weight\" dims=[3,16] : const [3,16]\n"
    "$7 = values dims=[] data=[7] : const []\n"
    "%0 = input : tensor 2x4x4\n"
    "%1 = conv2d %0 w=$4 stride=[1,1] pad=[1,1,1,1] dilation=[1,1] groups=1 wrap=circular bias=$1 : tensor 4x4x4  # conv model.yaml:9:5\n"
    "%2 = batch_norm %1 gamma=$2 beta=$3 mean=$2 var=$2 eps=1e-05 : tensor 4x4x4  # \"odd name\" \"odd file\":1:2\n"
    "%3 = poly %2 coeff=$5 : tensor 4x4x4  # act\n"
    "%4 = avg_pool %3 kernel=[2,2] stride=[2,2] pad=[0,0,0,0] : tensor 4x2x2  # \"\" model.yaml:11:5\n"
    "%5 = flatten %4 : tensor 16x1x1\n"
    "%6 = linear %5 w=$6 : tensor 3x1x1\n"
    "%7 = output %6\n";

static const char nn_layout[] =
    "weft-ir 1 stage=nn\n"
    "model \"laid out\" hash=0000000000000001 input=1x4x4 range=[-1,1] outputs=32\n"
    "$0 = values dims=[2,1,1,1] data=[0.5,-2] : const [2,1,1,1]\n"
    "$1 = fill dims=[2] value=0.25 : const [2]\n"
    "@0 = layout 1x4x4 n=16 g=1,1 t=1,1 pitch=4 block=16\n"
    "@1 = layout 2x4x4 n=64 g=1,1 t=1,2 pitch=8 block=32 perm=[1,0]\n"
    "&0 = map 2x4x4 @1\n"
    "  term 1x4x4 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
    "&1 = map 2x4x4\n"
    "  term 1x4x4 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
    "  term 1x2x2 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[2,2] pad=[-1,1,2,-2] wrap=spiral\n"
    "reference\n"
    "%0 = input : tensor 1x4x4\n"
    "%1 = map %0 map=&0 bias=$1 : tensor 2x4x4\n"
    "%2 = output %1\n"
    "program\n"
    "%0 = input : tensor 1x4x4 @0\n"
    "%1 = map %0 map=&0 bias=$1 : tensor 2x4x4 @1  # one\n"
    "%2 = mul %1, %1 : tensor 2x4x4 @1  # square m.yaml:3:1\n"
    "%3 = output %2\n";

static const char slot[] =
    "weft-ir 1 stage=slot\n"
    "model \"slots\" hash=00000000000000ff input=1x4x4 range=[0,255] outputs=2\n"
    "$0 = weight file_tensor=\"fc.weight\" dims=[2,1,4,4] : const [2,1,4,4]\n"
    "$1 = fill dims=[2] value=1e+300 : const [2]\n"
    "@0 = layout 1x4x4 n=16 g=1,1 t=1,1 pitch=4 block=16\n"
    "@1 = layout 2x1x1 n=2 g=1,1 t=1,1 pitch=1 block=1\n"
    "&0 = map 2x1x1 @1\n"
    "  term 1x4x4 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
    "%0 = input part=0 layout=@0 : vec 16\n"
    "%1 = lin %0 map=&0 out=0 : vec 2  # fc m.yaml:3:1\n"
    "%2 = rot %0 by=1 : vec 16  # fc m.yaml:3:1\n"
    "%3 = pmac %0, %2 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=16 : vec 16  # fc m.yaml:3:1\n"
    "%4 = rot %3 by=8 : vec 16\n"
    "%5 = add %3, %4 : vec 8\n"
    "%6 = rot %5 by=4 : vec 8\n"
    "%7 = add %5, %6 : vec 4\n"
    "%8 = rot %7 by=-2 : vec 4\n"
    "%9 = add %7, %8 : vec 2\n"
    "%10 = sub %1, %9 : vec 2\n"
    "%11 = padd %10 bias=$1 layout=@1 part=0 : vec 2\n"
    "%12 = output %11 layout=@1\n";

/* scale 2^30, primes of 30 bits: the square is rescaled by q_2 */
static const char ckks[] =
    "weft-ir 1 stage=ckks\n"
    "model \"ct\" hash=00000000000000ff input=1x4x4 range=[0,1] outputs=16\n"
    "params log_n=6 alpha=1 scale=1073741824 input_scale=1073741824 insecure=1 lambda=0\n"
    "q [1099511623297,1073741441,1073739649]\n"
    "p [1099511622529]\n"
    "key by=0 level=2\n"
    "key by=3 level=1\n"
    "registers [384,576,1024,512]\n"
    "error_bound 0.00012\n"
    "$0 = fill dims=[1] value=3 : const [1]\n"
    "$1 = values dims=[1,1,1,1] data=[2] : const [1,1,1,1]\n"
    "@0 = layout 1x4x4 n=16 g=1,1 t=1,1 pitch=4 block=16\n"
    "&0 = map 1x4x4 @0\n"
    "  term 1x4x4 @0 weight=$1 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
    "%0 = input part=0 layout=@0 reg=0 : ct 16 L=2 S=1073741824\n"
    "%1 = mul %0, %0 reg=1 : ct3 16 L=2 S=1.152921504606847e+18  # square m.yaml:4:3\n"
    "%2 = decompose %1 reg=2 : digits 16 L=2 S=1.152921504606847e+18  # square m.yaml:4:3\n"
    "%3 = key_mul %2, %1 reg=3 : ctx 16 L=2 S=1.152921504606847e+18  # square m.yaml:4:3\n"
    "%4 = mod_down %3 drop=1 reg=1 : ct 16 L=1 S=1073743999.0044057  # square m.yaml:4:3\n"
    "%5 = drop_to %0 to=1 reg=0 : ct 16 L=1 S=1073741824\n"
    "%6 = decompose %5 reg=2 : digits 16 L=1 S=1073741824\n"
    "%7 = key_mul %6, %5 by=3 reg=3 : ctx 16 L=1 S=1073741824\n"
    "%8 = lift %5 reg=2 : ctx 16 L=1 S=1073741824\n"
    "%9 = add %7, %8 reg=3 : ctx 16 L=1 S=1073741824\n"
    "%10 = mod_down %9 drop=0 reg=0 : ct 16 L=1 S=1073741824\n"
    "%11 = pmac %10 map=&0 out=0 giant=0 in=[0] baby=[0] period=16 pt_scale=1 reg=2 : ct 16 L=1 S=1073741824\n"
    "%12 = padd %11 bias=$0 layout=@0 part=0 reg=2 : ct 16 L=1 S=1073741824\n"
    "%13 = raise_scale %12 times=4 reg=0 : ct 16 L=1 S=4294967296\n"
    "%14 = output %13 layout=@0\n";

/* clang-format on */

const struct ir_text ir_texts[] = {
    {"nn", nn}, {"nn_layout", nn_layout}, {"slot", slot}, {"ckks", ckks}};
const int num_ir_texts = sizeof ir_texts / sizeof *ir_texts;

const char *ir_text(const char *name)
{
    for (int i = 0; i < num_ir_texts; i++) {
        if (strcmp(ir_texts[i].name, name) == 0) {
            return ir_texts[i].text;
        }
    }
    abort();
}
