/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_IR_H
#define WEFT_IR_H

/*
 * The shared language of the compiler.
 *
 * A program (struct prog) is five tables: constants, layouts, linear maps, nodes, and the header
 * (what the client must know). A value is an index into prog.nodes; every operand index is smaller
 * than the node's own, so the array order is a schedule. There are no pointers between nodes.
 * Constants are nodes of the same struct in a table of their own, prog.consts: they are expressions
 * over the tensors of the weights file, evaluated on demand, so a dump never copies weights.
 *
 * Three stages share all of this: nn (tensors), slot (packed vectors), ckks (ciphertexts).
 *
 * Text form, one line an entry; the grammar is in print.c, parse.c reads it back to the same program and
 * print(parse(print(p))) == print(p):
 *
 *     weft-ir 1 stage=slot
 *     model "lenet" hash=0123456789abcdef input=1x28x28 range=[0,1] outputs=10
 *     weights "weights.safetensors"
 *     ...
 *     $0 = weight file_tensor="conv1.weight" dims=[8,1,5,5] : const [8,1,5,5]  # conv1 model.yaml:9:5
 *     @1 = layout 8x12x12 n=2048 g=1,1 t=2,2 pitch=28 block=1024
 *     &0 = map 8x12x12 @1
 *       term 1x28x28 @0 weight=$0 to=0 from=0 groups=1 stride=[2,2] ... wrap=zeros
 *     %3 = pmac %1, %2 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=2048 : vec 2048  # conv1 model.yaml:9:5
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/base.h"

#define NONE UINT32_MAX /* no node, constant, layout, map */

enum stage { STAGE_NN, STAGE_SLOT, STAGE_CKKS, NUM_STAGES };

/* Kind of a value. */
enum kind {
    KIND_NONE,   /* no result (output) */
    KIND_CONST,  /* compile-time constant: rank, dims */
    KIND_TENSOR, /* nn: dims = C,H,W; layout once nn_layout has run */
    KIND_VEC,    /* slot: n slots, repeated to fill a ciphertext */
    KIND_CT,     /* ckks: 2 polynomials over Q_level */
    KIND_CT3,    /* ckks: 3 polynomials over Q_level: a product before relinearisation */
    KIND_CTX,    /* ckks: 2 polynomials over Q_level P (extended): the value times P */
    KIND_DIGITS, /* ckks: ceil((level+1)/alpha) digits over Q_level P */
    KIND_SPARSE, /* ckks: 2 polynomials over q_0 under the sparse secret (level 0) */
    KIND_RAISED, /* ckks: a SPARSE ciphertext's small polynomials, c0 over Q_level, c1 over Q_level P */
    NUM_KINDS
};

enum wrap { WRAP_ZEROS, WRAP_CIRCULAR, WRAP_SPIRAL, NUM_WRAPS };

enum attr_kind {
    ATTR_INT,
    ATTR_INTS,
    ATTR_REAL,
    ATTR_REALS,
    ATTR_STR,
    ATTR_CONST,
    ATTR_LAYOUT,
    ATTR_MAP,
    ATTR_WRAP
};

enum key {
#define ATTR(key, kind) KEY_##key,
#include "attrs.def"
    NUM_KEYS
};

enum op {
#define OP(name, stages, operands, result, attrs, flags, call) OP_##name,
#include "ops.def"
    NUM_OPS
};

enum { MANY = 255 };
enum op_flag { PURE = 1, LINEAR = 2, FREE = 4 };
/* Which result kind an op has; RESULT_SAME and RESULT_VALUE as in the legend of ops.def */
enum op_result {
    RESULT_NONE,
    RESULT_CONST,
    RESULT_TENSOR,
    RESULT_VEC,
    RESULT_CT,
    RESULT_CTX,
    RESULT_DIGITS,
    RESULT_SPARSE,
    RESULT_SAME,
    RESULT_VALUE
};

/* One row of ops.def, unpacked (optab.c). */
struct op_info {
    const char *name;
    bool is_const; /* belongs to prog.consts */
    bool in_stage[NUM_STAGES];
    uint8_t operands;  /* number, or MANY */
    uint8_t result;    /* enum op_result */
    unsigned flags;    /* enum op_flag */
    uint8_t num_attrs; /* required first, then optional */
    uint8_t num_required;
    uint16_t attr[12]; /* enum key */
};
extern const struct op_info op_info[NUM_OPS];
/* NUM_OPS / NUM_KEYS when there is none of that name */
enum op op_find(const char *name);
enum key key_find(const char *name);
const char *key_name(enum key k);
enum attr_kind key_kind(enum key k);
const char *stage_name(enum stage s);
const char *kind_name(enum kind k);
const char *wrap_name(enum wrap w);

/* ---- nodes -------------------------------------------------------------------------------- */

struct type {
    enum kind kind;
    uint8_t rank;     /* CONST: 0..4 */
    uint32_t dims[4]; /* CONST: shape; TENSOR: C, H, W, 0 */
    uint32_t layout;  /* TENSOR: layout id or NONE */
    uint32_t n;       /* VEC and ckks kinds: the slots repeat with this period (power of two) */
    int32_t level;    /* ckks: index of the last q in use; -1 before ckks_level */
    double scale;     /* ckks: factor between slot values and coefficients; 0 before ckks_level */
};

struct attr {
    uint16_t key; /* enum key */
    uint32_t len; /* INTS, REALS: elements */
    union {
        int64_t i;           /* INT, CONST, LAYOUT, MAP, WRAP */
        double r;            /* REAL */
        const int64_t *ints; /* in the program's arena */
        const double *reals;
        const char *str;
    } v;
};

struct node {
    uint16_t op; /* enum op */
    uint16_t num_attrs;
    uint32_t num_args;
    const uint32_t *args; /* operand indices, in the program's arena */
    struct attr *attrs;   /* sorted in the order of the op's row */
    struct type type;
    struct loc loc;    /* the YAML place that this node comes from, to the end */
    const char *layer; /* name of the layer that it comes from, interned by pointer; "" if none */
    uint32_t reg;      /* ckks: buffer assigned by ckks_regs, else NONE */
};

struct nodes {
    struct node *at;
    uint32_t len, cap;
};

/* ---- layouts (layout.c): the descriptor of generalised interleaved packing ------------------ */

/*
 * Channel c, row h, column w of a C x H x W tensor lies in ciphertext `ct`, slot `slot`:
 *
 *   p = perm[c];  k = p / cpc;  r = p % cpc;  beta = r / m;  q = r % m;  a_h = q / t_w;  a_w = q % t_w
 *   i = h % g_h;  y = h / g_h;  j = w % g_w;  x = w / g_w
 *   ct   = (k * g_h + i) * g_w + j
 *   slot = beta * block + (t_h * y + a_h) * pitch + (t_w * x + a_w)
 *
 * with m = t_h t_w channels a block, b = n / block blocks, cpc = b m channels a ciphertext.
 * Every slot that is no image of a (c,h,w) holds 0 (clean-slot invariant). The vector of n slots
 * is repeated to fill the N/2 slots of a ciphertext.
 */
struct layout {
    uint32_t c, h, w;     /* the tensor's shape */
    uint32_t n;           /* slots, a power of two */
    uint32_t g_h, g_w;    /* ciphertext interleave, >= 1 */
    uint32_t t_h, t_w;    /* in-slot gap, >= 1 */
    uint32_t pitch;       /* slots from one row to the next, >= t_w * ceil(w / g_w) */
    uint32_t block;       /* slots from one block of channels to the next, divides n */
    const uint32_t *perm; /* [c], or NULL for the identity */
    /* derived by layout_finish() */
    uint32_t m, b, cpc, groups, num_ct;
};

/* Computes the derived fields; false (and *why, static text) if the descriptor is not valid. */
bool layout_finish(struct layout *l, const char **why);
void layout_at(const struct layout *l, uint32_t c, uint32_t h, uint32_t w, uint32_t *ct,
               uint32_t *slot);
/* The inverse; false where slot (< n) of ct holds no element. */
bool layout_inverse(const struct layout *l, uint32_t ct, uint32_t slot, uint32_t *c, uint32_t *h,
                    uint32_t *w);
/* x is [c][h][w]; cts is [num_ct][n], cleared first. */
void layout_pack(const struct layout *l, const double *x, double *cts);
void layout_unpack(const struct layout *l, const double *cts, double *x);
/* (g', t') = (g / gcd(g,s), t * s / gcd(g,s)): what keeps the pitch under a stride s (layout.md A.3) */
void layout_stride(uint32_t g, uint32_t t, uint32_t s, uint32_t *g_out, uint32_t *t_out);
bool layout_equal(const struct layout *a, const struct layout *b);

/* ---- linear maps (lmap.c): every linear operator -------------------------------------------- */

/*
 * y = sum over terms i of M_i x_i, where term i is the general sliding window
 *
 *   y[out_from + o][yo][xo] += sum over cl < Cg, kh, kw of  W[o][cl][kh][kw] * x[c][h][w]
 *   c = in_from + (o / (Ct/groups)) * Cg + cl,    Cg = W.dims[1],  Ct = W.dims[0]
 *   r = yo * stride_h + kh * dilation_h - pad_top,   h = floor(r / up_h)    (columns alike)
 *
 * Outside 0 <= r < H * up_h:  ZEROS: nothing. CIRCULAR: r mod (H up_h), columns alike.
 * SPIRAL: the flat position r * (W up_w) + s (s the column, same formula) taken mod (H up_h W up_w),
 * so that the end of a row continues in the next one; used for rows and columns alike.
 * W is the constant `weight`, of dims [Ct][Cg][KH][KW].
 */
struct lterm {
    uint32_t in_layout; /* NONE before nn_layout */
    uint32_t in[3];     /* C,H,W of operand i */
    uint32_t weight;    /* constant */
    uint32_t out_from, in_from, groups;
    uint32_t stride[2], dilation[2], up[2];
    int32_t pad[4]; /* top, bottom, left, right; bottom and right only fix the output's size */
    enum wrap wrap;
};

/*
 * The other kind of map: consecutive factors of the special DFT (Cheon, Han, Kim, Kim, Song, "A full RNS
 * variant of approximate homomorphic encryption"; grouping as in Chen, Chillotti, Song, EUROCRYPT 2019).
 * It takes n complex values in one ciphertext to n complex values; every weight is a root of unity.
 * Stage t = 1 .. log2 n, with h = 2^(t-1), j = s mod h and w_t(j) = exp(2 pi i (5^j mod 4 2^t) / (4 2^t)):
 *     out[s]     = in[s] + w_t(j) in[s + h]
 *     out[s + h] = in[s] - w_t(j) in[s + h]            for s mod 2h < h
 * The factor is stage `last` o ... o stage `first`. All stages 1 .. log2 n take coefficients x_k + i x_(n+k)
 * in bit-reversed order of k to the slots of sum x_k Y^k (SlotToCoeff, read backwards: what were slots are
 * now coefficients). `inverse`: the inverse matrix of the factor (weights are conjugates / 2 a stage).
 */
struct ldft {
    uint32_t first, last; /* 0, 0: the map is not of this kind */
    bool inverse;
};

struct lmap {
    uint32_t out[3];     /* C,H,W of the result */
    uint32_t out_layout; /* NONE before nn_layout */
    uint32_t num_terms;
    struct lterm
        *term; /* of a DFT factor: one, 1 x 1 x n on both sides, weight NONE, layouts of n slots */
    struct ldft dft;
};

/* ---- program ------------------------------------------------------------------------------ */

/* What the client must know of the picture; all stages carry it unchanged. */
struct model {
    const char *name;
    uint64_t hash; /* XXH3 of the YAML text and the weights file: names the model in all files */
    uint32_t input[3]; /* C,H,W */
    double
        range[2]; /* raw values: a byte v of an image means range[0] + v/255*(range[1]-range[0]) */
    const double *mean; /* [C]; the network sees (raw - mean[c]) / std[c] */
    const double *std;  /* [C] */
    const char *const *labels;
    uint32_t num_labels;  /* 0 or the number of outputs */
    uint32_t num_outputs; /* elements of the (flattened) result */
};

/* CKKS parameters, chosen by ckks_params; log_n == 0 before. */
struct params {
    uint32_t log_n; /* ring degree N = 2^log_n */
    uint32_t num_q, num_p;
    const uint64_t *q, *p; /* q[0] is the last to go; primes = 1 mod 2N, at most 50 bits */
    uint32_t alpha;        /* primes a digit in key switching */
    double scale;          /* of data between layers */
    double input_scale;    /* of the fresh ciphertext */
    bool insecure;         /* below 128 bits: only with --insecure, marked in every file */
    double lambda_bits;    /* 128 or, for toy parameters, 0 = not secure */
    /* Of programs that bootstrap, else 0. Chain: q_0; q_1 for SlotToCoeff; q_2 .. q_boot_level for layers;
     * then EvalMod; then CoeffToSlot, the last of which is q_(num_q - 1). */
    uint32_t boot_level;    /* level of the result of a bootstrap */
    uint32_t sparse_weight; /* nonzero coefficients of the secret under which values are raised */
    uint32_t arcsine; /* 3: EvalMod takes the cubic term of the sine away, two levels more; 0 */
};

/* Same numbers as enum rt_key_kind of the runtime. */
enum key_kind {
    KEY_KIND_RELINEARISE, /* s^2 -> s */
    KEY_KIND_ROTATE,      /* by 1 .. N/2-1 */
    KEY_KIND_CONJUGATE,
    KEY_KIND_ENCAPSULATE, /* s -> the sparse secret, over q_0 p_0 only */
    KEY_KIND_RAISED,      /* the sparse secret rotated by `by` (0: not) -> s; one digit */
    NUM_KEY_KINDS
};

const char *key_kind_name(enum key_kind k); /* optab.c */

/* One key-switching key. */
struct key_spec {
    enum key_kind kind;
    int64_t by;    /* rotation in slots; 0 where the kind has none */
    int32_t level; /* the highest level at which it is used: the key stops there */
};

/* A function: nodes of its own with one input and one output, called by `call`. It uses the program's
 * constants, layouts, maps, parameters, keys and registers. Functions do not call functions. Made by
 * ckks_expand, with levels and scales; every call's operand and result have the types of its input and of
 * the operand of its output. Printed as sections `function <name>` with their own numbering of values. */
struct func {
    const char *name; /* an identifier: boot_stc_4096 */
    struct nodes nodes;
};

/* A place where a program can be compared with the network: after node `node` of it, a CT, ciphertext `part`
 * of tensor `tensor` (a node of `packed`) is there, wrong by at most `budget`. */
struct check_point {
    uint32_t node, tensor, part;
    double budget;
};

struct prog {
    struct arena *arena;
    enum stage stage;
    struct nodes consts, nodes;
    /* The network as plain tensors (nn ops left by nn_linear: input, map, poly, add, ..., output), set
     * once by nn_linear and carried unchanged to the end: what the answer is compared with. Printed
     * as a section of its own; an index space of its own. */
    struct nodes reference;
    /* With --check: the network as lower_nn_slot found it (stage nn, with layouts), an index space of its own,
     * and, after the last pass, the places where the program has its tensors. */
    struct nodes packed;
    struct check_point *points;
    uint32_t num_points;
    struct func *funcs;
    uint32_t num_funcs;
    struct layout *layouts;
    uint32_t num_layouts, cap_layouts;
    struct lmap *maps;
    uint32_t num_maps, cap_maps;
    struct model model;
    struct params params;
    struct key_spec *keys; /* ckks, after ckks_keys: sorted by (kind, by) */
    uint32_t num_keys;
    uint32_t num_regs;         /* ckks, after ckks_regs */
    const uint64_t *reg_words; /* [num_regs] capacity of each buffer in 64-bit words */
    const char *source;        /* path of the YAML file as given, "" if none */
    const char *weights_path;  /* as found: relative to the working directory */
    struct weights *weights;   /* opened on demand; opaque (weights.c) */
    double error_bound;        /* predicted max |logit error|; 0 before it is known */
    struct {
        double changed;  /* expected share of answers that noise changes */
        uint32_t images; /* that it was judged on; 0: it was not */
        bool drawn;      /* at random */
        bool judged;     /* if images is 0: in vain, values left the range of numbers */
    } agreement;         /* of a finished program; not part of its text */
    uint64_t max_memory; /* --max-memory: bytes that the program keeps within; 0: the default */
    bool is_function;    /* the nodes are those of a function: input and output have no layout, the
                                 type of `input` is given (build_type), there is no `call` */
    /* Private to prog.c and consts.c. `memo` is a child of the arena: marks on the arena do not
     * reach it. */
    struct arena *memo;
    struct map *strings, *const_index;
    const double **const_memo;
    uint32_t num_const_memo;
};

/* What the user asked for; every pass gets it. Zero = the default. */
struct opts {
    bool insecure;      /* --insecure: toy parameters allowed */
    uint32_t log_n;     /* --log-n: force the ring degree (0: smallest that is secure and fits) */
    uint32_t precision; /* --precision: bits of the data scale (0: the compiler's choice) */
    bool check;         /* --check: keep what a debug build compares its layers with */
    bool explain;       /* --explain: say why, on stderr */
    const char *cost_path; /* --cost: figures of the cost model (NULL: built in) */
    enum boot_when {
        BOOTSTRAP_AUTO,
        BOOTSTRAP_NEVER,
        BOOTSTRAP_ALWAYS
    } bootstrap; /* --bootstrap */
    uint32_t
        boot_levels; /* --boot-levels: the most that a bootstrap may leave for layers (0: any) */
    uint32_t
        boot_precision; /* --boot-precision: bits of the range that its largest values keep (0: default) */
    bool boot_single; /* --boot-pairs=never: no two real ciphertexts in one complex bootstrap */
    enum layout_how { LAYOUT_SEARCH, LAYOUT_MULTIPLEXED } layout; /* --layout */
};

/* ---- prog.c ------------------------------------------------------------------------------- */

struct prog *prog_new(struct arena *a, enum stage stage);
/* New program of the next stage in the same arena: header, constants, layouts and maps are shared
 * copies, nodes are empty. */
struct prog *prog_derive(const struct prog *p, enum stage stage);
/* A program that has the nodes of function f in place of p's own and no functions, and otherwise shares
 * everything with p: what a pass runs on to treat a function as it treats a program. A program in which a
 * function is built from nothing is prog_derive() with is_function set and no funcs. */
struct prog *prog_of_func(const struct prog *p, uint32_t f);

/* Appending. The type is computed by type_infer() (type.c), except where `type` is given. */
struct build { /* attributes of the node under construction */
    struct prog *p;
    struct attr attrs[16];
    uint32_t num_attrs;
    struct loc loc;
    const char *layer;
    struct type type; /* set by build_type() */
    bool has_type;
};
struct build build_at(struct prog *p, struct loc loc, const char *layer);
struct build build_like(struct prog *p, const struct node *n); /* location and layer of n */
void build_int(struct build *b, enum key k, int64_t v);        /* also CONST, LAYOUT, MAP, WRAP */
void build_ints(struct build *b, enum key k, const int64_t *v, uint32_t len);
void build_real(struct build *b, enum key k, double v);
void build_reals(struct build *b, enum key k, const double *v, uint32_t len);
void build_str(struct build *b, enum key k, const char *v);
/* The next node gets this type instead of the inferred one: what inference cannot know is the
 * layout of a tensor, the smaller n of a sum over copies, the level and scale of a ckks input. */
void build_type(struct build *b, const struct type *t);
/* Adds the node (or constant, by the op's row), clears the attributes for the next one.
 * Constants are hash-consed. Returns its index. Shape mistakes are BUG(): the front end and the
 * parser check first with type_infer(). */
uint32_t build_node(struct build *b, enum op op, const uint32_t *args, uint32_t num_args);
uint32_t build1(struct build *b, enum op op, uint32_t a0);
uint32_t build2(struct build *b, enum op op, uint32_t a0, uint32_t a1);
/* Copy node n of another program with new operands; same attributes, type, location. */
uint32_t prog_copy_node(struct prog *p, const struct node *n, const uint32_t *args);
uint32_t nodes_append(struct prog *p, struct nodes *to,
                      const struct node *n);                      /* as it is, unchecked */
uint32_t prog_add_layout(struct prog *p, const struct layout *l); /* equal ones are shared */
uint32_t prog_add_map(struct prog *p, const struct lmap *m);      /* copied; terms too */

/* Attribute access. Missing required ones are BUG(). */
const struct attr *node_attr(const struct node *n, enum key k); /* NULL when absent */
int64_t node_int(const struct node *n, enum key k);
int64_t node_int_or(const struct node *n, enum key k, int64_t otherwise);
double node_real(const struct node *n, enum key k);
const int64_t *node_ints(const struct node *n, enum key k, uint32_t *len);
uint32_t node_ref_or_none(const struct node *n, enum key k); /* CONST, LAYOUT, MAP */
/* The kind of key that the node multiplies by (key_mul, encapsulate, raised_mul); false: none */
bool node_key_kind(const struct node *n, enum key_kind *kind);
void node_set_int(struct prog *p, struct node *n, enum key k, int64_t v); /* add or replace */
void node_set_real(struct prog *p, struct node *n, enum key k, double v);

/* Number of uses of every node as an operand; array of nodes.len in the arena. */
uint32_t *prog_use_counts(const struct prog *p);
const char *intern(struct prog *p, const char *s); /* one pointer a string within the arena */

/* ---- type.c ------------------------------------------------------------------------------- */

/* Result type of an op on operands of these types. False and a message (in the arena) where they
 * do not fit; the message names what was wanted and what was found. Covers every row of ops.def. */
bool type_infer(const struct prog *p, enum op op, const uint32_t *args, uint32_t num_args,
                const struct attr *attrs, uint32_t num_attrs, struct type *out, const char **why);
/* Whether a type that was printed, or given by build_type(), may stand where `inferred` was
 * inferred: kind, shape and n agree, but an `add` may have a smaller n (the sum of the copies of a
 * vector repeats sooner) and the input of a function has any; layouts, levels and scales are not
 * compared. */
bool type_agrees(enum op op, const struct type *inferred, const struct type *found,
                 const char **why);
/* Largest sizes that any stage accepts: with them no product of sizes below overflows 64 bits. */
#define MOST_CHANNELS (1u << 24)
#define MOST_PIXELS   (1u << 16) /* a row or a column */
#define MOST_ELEMENTS (1u << 28)
#define MOST_SLOTS    (1u << 17)
/* Output size of one axis of a window: (size + pad_a + pad_b - dilation*(k-1) - 1) / stride + 1; 0 if none */
uint32_t window_size(uint32_t size, uint32_t k, uint32_t stride, int32_t pad_a, int32_t pad_b,
                     uint32_t dilation);
uint64_t type_elements(const struct type *t); /* product of dims */

/* ---- weights.c: a mapped safetensors file -------------------------------------------------- */

struct weights_tensor {
    const char *name;
    uint8_t rank;
    uint32_t dims[4]; /* rank <= 4 only; others are listed with rank 255 */
    enum { DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16, DTYPE_OTHER, DTYPE_INVENTED } dtype;
    const uint8_t *data; /* into the mapping; of invented ones NULL */
    uint64_t elements;
    double most; /* INVENTED: bound of the values, negative: all positive */
};
/* Maps and checks (header length, JSON, offsets, overlap, sizes); false and *why on a bad file. */
bool weights_open(struct arena *a, const char *path, struct weights **out, const char **why);
const struct weights_tensor *weights_find(const struct weights *w,
                                          const char *name); /* NULL: none */
uint32_t weights_count(const struct weights *w);
const struct weights_tensor *weights_get(const struct weights *w, uint32_t i);
uint64_t weights_hash(const struct weights *w); /* XXH3 of the whole file */
double weights_value(const struct weights_tensor *t, uint64_t i);
/* In place of a file that is not there, for plans: tensors come into being when they are asked for, with
 * values that are neither zero nor all the same, at most `most` in size; positive where `most` is negative
 * (then at most -most). */
struct weights *weights_invented(struct arena *a);
const struct weights_tensor *weights_invent(struct weights *w, const char *name, uint8_t rank,
                                            const uint32_t *dims, double most);
bool weights_are_invented(const struct weights *w); /* at least one tensor; NULL: no */

/* ---- consts.c: evaluating constants -------------------------------------------------------- */

/* Row-major values of constant c, memoised in the program's arena. Opens the weights file on
 * demand; a missing tensor, other dims or a NaN/Inf is diag_fatal() at the constant's location. */
const double *const_values(struct prog *p, uint32_t c);

/* ---- lmap.c: diagonals ---------------------------------------------------------------------- */

/*
 * A map with layouts on both sides is a sparse matrix between slot vectors: entry
 * (out ct, out slot) <- (in ct, in slot). n_in is the period of the operand's layout, n_out that of the
 * result, m = min(n_in, n_out). Its entries fall into generalised diagonals of offset
 *     off = (in slot - out slot) mod m.
 * Work vectors have nw = max(n_out, all n_in) slots. Where n_in > n_out, the result is summed over
 * the nw / n_out copies afterwards (rotate and sum: log2 rotations), which is what makes an
 * n_out-row fully connected layer cost n_out diagonals.
 *
 * With a baby step b and giant step g (any integers, b + g = off mod m) the entry's weight stands in
 * plaintext (g) at position
 *     n_in >= n_out:  (in slot - b) mod n_in          n_in < n_out:  (out slot + g) mod n_out
 * and the result is  fold( sum_g rot_g( sum_b plaintext_{g,b} * rot_b(x) ) ).
 */
struct rect { /* entries (slot + r*row_step + c*col_step), r < rows, c < cols, all of one weight */
    uint32_t out_slot, in_slot; /* of r = c = 0; both advance by the same steps */
    uint32_t rows, cols;
    uint32_t row_step, col_step;
    uint32_t weight; /* element of the term's weight constant */
};
struct diagonal {
    uint32_t out_ct, in_ct; /* in_ct counts over all operands of the map in order */
    uint32_t offset;        /* in [0, m) */
    uint32_t term;          /* which operand */
    uint32_t num_rects;
    const struct rect *rects;
};
/* The diagonals of a DFT factor have no rects: dft_entry() gives their values. */
struct diagonals {
    uint32_t nw; /* slots of the work vector */
    uint32_t n_out;
    uint32_t len;
    const struct diagonal
        *at; /* sorted by (out_ct, in_ct, offset); entries of weight exactly 0 left
                                  out when weights are given, and so all-zero diagonals */
};
/* Diagonals of map `map` in arena a (mark and release around it: they are large). With
 * with_weights false no constant is evaluated and nothing is dropped. */
struct diagonals lmap_diagonals(struct prog *p, uint32_t map, bool with_weights, struct arena *a);
/* The same without weights and without rects (num_rects is 0), in the time that the result takes */
struct diagonals lmap_offsets(struct prog *p, uint32_t map, struct arena *a);
/* Whether shapes, weights, layouts and windows of a map fit each other; *why in the arena. */
bool lmap_check(const struct prog *p, const struct lmap *m, const char **why);
/* Slots of the work vector: max(n_out, all n_in); both layouts must be set. */
uint32_t lmap_work_slots(const struct prog *p, const struct lmap *m);
/* First ciphertext number of operand `term` (sum of num_ct of the earlier ones). */
uint32_t lmap_first_ct(const struct prog *p, const struct lmap *m,
                       uint32_t term); /* term may be num_terms */
/* The same map over plain tensors: y [C][H][W] += M_i x_i, straight from the definition; the naive
 * reference of all tests. */
void lmap_apply(struct prog *p, const struct lmap *m, uint32_t term, const double *x, double *y);
/* NULL when there is no such diagonal */
const struct diagonal *diagonal_find(const struct diagonals *d, uint32_t out_ct, uint32_t in_ct,
                                     uint32_t offset);
/* Where operand i of a pmac finds its plaintext: an entry of the diagonal stands at position
 * ((by_input ? in_slot : out_slot) + shift) mod n of the vector of nw slots; n divides nw. */
struct pmac_entry {
    const struct diagonal *diagonal; /* NULL: all zero */
    uint32_t term;
    bool by_input;
    uint32_t n, shift;
};
struct pmac_entry pmac_entry(const struct prog *p, const struct node *pmac, uint32_t i,
                             const struct diagonals *d);
/* The plaintext vectors of a pmac node: values [num_args][nw] (cleared first). d must be
 * lmap_diagonals(p, the node's map, true, ...). */
void pmac_plaintexts(struct prog *p, const struct node *pmac, const struct diagonals *d,
                     double *values);
/* Those of a DFT factor are complex: values as above, and their imaginary parts. */
void pmac_plaintexts_complex(struct prog *p, const struct node *pmac, const struct diagonals *d,
                             double *re, double *im);
/* Entry (out slot, in slot) of the factor on n slots; 0 where they differ outside its bits. */
void dft_entry(const struct ldft *f, uint32_t n, uint32_t out_slot, uint32_t in_slot, double *re,
               double *im);
/* With what period its diagonals repeat: min(n, 2^last) */
uint32_t dft_period(const struct ldft *f, uint32_t n);
/* The factor on a vector of n slots, in place, stage by stage */
void dft_apply(const struct ldft *f, uint32_t n, double *re, double *im);
/* The vector of a padd node: values [n of its layout] */
void padd_plaintext(struct prog *p, const struct node *padd, double *values);

/* ---- print.c, parse.c, verify.c, stats.c ---------------------------------------------------- */

void prog_print(const struct prog *p, struct str *out);
void type_print(const struct type *t,
                struct str *out); /* "tensor 8x12x12 @3", "ct 2048 L=5 S=..." */
void node_print(const struct prog *p, const struct node *n, uint32_t index,
                struct str *out); /* one line */
/* Parse text; any mistake is diag_fatal() at file:line:col. name is used in diagnostics. */
struct prog *prog_parse(struct arena *a, const char *name, const char *text, size_t len);
/* What is legal at p->stage; the first violation is reported. after_pass: its name, then a violation is
 * our bug (BUG with the node as text); NULL: the text came from the user, diag_fatal(). */
void prog_verify(const struct prog *p, const char *after_pass);

/* Functions count once where the program's size is meant, as often as they are called where its work is:
 * rotations, key_switches, decompositions, pt_products. */
struct prog_stats {
    uint32_t nodes, by_op[NUM_OPS];
    uint32_t layers,
        depth; /* depth: levels consumed (ckks), else multiplications on the longest path */
    uint32_t rotations;      /* rot (slot), key_mul and raised_mul with `by` (ckks) */
    uint32_t key_switches;   /* products with a key: key_mul, raised_mul, encapsulate */
    uint32_t decompositions; /* decompose, encapsulate: what several key switches may share */
    uint32_t plaintexts, pt_products; /* operands of pmac */
    uint32_t keys;
    uint64_t key_bytes; /* on disk, seeded: the b halves */
    uint64_t ciphertext_bytes_in, ciphertext_bytes_out;
    uint64_t plaintext_bytes;       /* limbs, if all are kept */
    uint64_t plaintext_limb_bytes;  /* one limb of each */
    uint64_t plaintext_bytes_least; /* coefficients, of which the limbs are made */
    uint64_t register_bytes;
    double log2_qp;
};
struct prog_stats prog_stats(const struct prog *p);
/* Limbs of a key's b half: what is on disk; twice that in memory */
uint64_t key_limbs(const struct params *q, const struct key_spec *key);
/* memory.c: what the server's process takes with one thread. The b halves of keys stay in the mapped file and
 * plaintexts are coefficients: that is the least, and all that one image gets. A server that has several to
 * answer keeps a halves of keys and limbs of plaintexts where the budget allows (runtime/eval/eval.c). */
struct prog_memory {
    uint64_t keys, plaintexts, registers, other; /* of the least */
    uint64_t least;                              /* one image */
    uint64_t all;                                /* everything is kept */
    uint64_t budget;                             /* --max-memory, or the default */
    uint64_t usual; /* several images: as much of `all` as the budget allows, at least `least` */
    double kept_keys,
        kept_plaintexts; /* shares that are kept then: of the a halves, and of the limbs */
};
/* Predicted nanoseconds of one thread: where all that is computed is kept; what making halves of keys and limbs
 * of plaintexts for every use adds to that. */
struct node_ns {
    double kept, keys, plaintexts;
};
/* All zero before ckks_regs. */
struct prog_memory prog_memory(const struct prog *p);
struct stats_row { /* what this folder cannot know */
    const char *name;
    double value;
};
void prog_stats_print(const struct prog *p, bool json, const struct stats_row *more,
                      uint32_t num_more, struct str *out);

/* ---- params.c -------------------------------------------------------------------------------- */

/* Largest log2(QP) for 128-bit classical security with a uniform ternary secret and sigma = 3.19:
 * Bossuat et al., "Security Guidelines for Implementing Homomorphic Encryption", eprint 2024/463,
 * table 5.2. log_n 10..17; 0 outside. */
double params_max_log2_qp(uint32_t log_n);
double params_log2_qp(const struct params *p);
/* Largest log2(q_0 p_0) with which a secret of `weight` nonzero coefficients has 128 bits: an own estimate
 * (primal hybrid attack, MATZOV costs) with its source in params.c; 0 where there is none. */
double params_max_log2_sparse(uint32_t log_n, uint32_t weight);
/* Degrees, primes, scales and (unless insecure) security of chosen parameters. */
bool params_check(const struct params *p, const char **why);
/* The `count` largest primes below 2^bits that are 1 mod 2^(log_n+1) and not among the `used` ones. */
bool params_primes(uint32_t log_n, uint32_t bits, const uint64_t *used, uint32_t num_used,
                   uint32_t count, uint64_t *out);

#endif
