/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EVAL_EVAL_H
#define EVAL_EVAL_H

/* The folder's own interface: the state of a running program. */

#include "core/core.h"

enum eval_kind {
    EVAL_EMPTY,
    EVAL_CT,     /* 2 parts over q_0 .. q_level */
    EVAL_CT3,    /* 3 parts */
    EVAL_CTX,    /* 2 parts over q_0 .. q_level and all p: P times the value */
    EVAL_DIGITS, /* ceil((level+1)/alpha) polynomials over the same */
    EVAL_SPARSE, /* 2 parts over q_0, under the sparse secret; level 0 */
    EVAL_RAISED /* the same as integers: 2 parts as of CTX, but the first is not there over the p */
};

/* Parts (or digits) lie one after the other, each limb-major as in ring.h. */
struct eval_reg {
    uint64_t *at;
    uint64_t capacity; /* words */
    enum eval_kind kind;
    int32_t level;
    double scale;
};

/*
 * A plaintext is known by its 2^log_m integer coefficients, or by what they are made of; its limbs,
 * 2^log_m words each in evaluation form of that size, are kept or made where they are used.
 */
struct eval_plain {
    const uint64_t *at;    /* all limbs, or NULL: */
    const int32_t *narrow; /*     its coefficients, where they all fit, */
    const double *wide;    /*     or these, that are to be rounded */
    const uint64_t *limb;  /* the one in work (rt_eval_plains_expand) */
    uint64_t use;          /* when that was made */
    bool keep;
    unsigned log_m;
    int32_t level;
    bool extended;
    double scale;
};

struct eval_key {
    uint32_t kind; /* enum rt_key_kind */
    int64_t by;
    uint64_t galois;  /* 5^by mod 2N, for conjugation 2N - 1 */
    uint64_t inverse; /* its inverse mod 2N */
    struct core_key_shape shape;
    const uint64_t
        *b; /* in the mapped file: limbs of `digits` N words, as struct k_switch wants them */
    const uint64_t *a;            /* the same of the other half; NULL: expanded where it is used */
    uint8_t seed[SYS_SEED_BYTES]; /* of the other half */
    bool bad, keep;               /* found while loading; chosen */
};

struct rt_eval {
    struct core_ctx *ctx;
    const struct rt_program *program;
    int threads; /* 0: as the environment says */

    struct eval_reg *regs;
    uint64_t *reg_memory;
    uint64_t reg_words;

    struct eval_plain *plains;
    uint64_t num_plains;
    uint64_t *plain_memory; /* limbs that are kept */
    uint64_t plain_words;
    uint64_t **coefficients; /* [slices] of all, while there are any whose limbs are not kept */
    uint64_t coefficient_words;
    uint64_t *limb_memory; /* [limb_words]: limbs in work */
    size_t limb_words;
    uint32_t *limb_plains; /* [EVAL_LIMB_PLAINS]: which */
    uint64_t limb_use;     /* counts */
    uint64_t max_memory;   /* bytes; 0: not said */
    bool once;             /* for one image */

    uint64_t key_id;
    struct eval_key *keys;     /* [interface num_keys] */
    struct core_file key_file; /* mapped as long as the program is open */
    uint64_t *key_memory;      /* expanded halves */
    uint64_t key_words;
    uint64_t *expanded; /* where halves are expanded that are not kept, expanded_words a slice */
    size_t expanded_words;

    uint64_t *scratch;    /* of everything in rns.c, any level and drop */
    size_t scratch_words; /* enough for one part; rt_mod_down takes as many as fit */
    uint64_t *poly;       /* two polynomials over all primes, and at least 6 limbs */
    unsigned slices;      /* how many pieces a loop with per-thread memory is cut into */
    uint64_t *tiles;      /* of rt_transform, EVAL_TILE_ROOM a slice */
    uint64_t p_mod_q[RING_MAX_PRIMES], p_shoup[RING_MAX_PRIMES];

    rt_check_hook *watch; /* or NULL */
    void *watch_ctx;

    const struct rt_layer *layer; /* being run */
    struct rt_error error;        /* first mistake of an operation */
};

#define EVAL_LINE_WORDS 8u /* of a cache */

/* The operands of a transform that are in work: half a second-level cache of today, and a line for
 * each part of up to 64 operands. */
#define EVAL_TILE_WORDS ((size_t)1 << 16)
#define EVAL_TILE_ROOM  (EVAL_TILE_WORDS + 128 * EVAL_LINE_WORDS)

/* Limbs of plaintexts in work: they should stay in a third-level cache. */
#define EVAL_LIMB_WORDS  ((size_t)2 << 20)
#define EVAL_LIMB_PLAINS ((size_t)8192)

/* ---- data.c, keys.c: at opening time -------------------------------------------------------- */

enum rt_status rt_eval_load_data(rt_eval *e, const char *path, struct rt_error *err);
enum rt_status rt_eval_load_keys(rt_eval *e, const char *path, struct rt_error *err);
/* Chooses what is kept in at most so many words; how many that takes. */
uint64_t rt_eval_plain_words(const rt_eval *e); /* of all limbs */
uint64_t rt_eval_keep_plains(rt_eval *e, uint64_t words);
uint64_t rt_eval_key_words(const rt_eval *e); /* of all halves that seeds stand for */
uint64_t rt_eval_keep_keys(rt_eval *e, uint64_t words);
/* Makes what was chosen, and room for the rest to be made where it is used. */
enum rt_status rt_eval_expand_plains(rt_eval *e, struct rt_error *err);
enum rt_status rt_eval_expand_keys(rt_eval *e, struct rt_error *err);
void rt_eval_forget_coefficients(rt_eval *e);

/* ---- expand.c: limbs of plaintexts that are not kept --------------------------------------------- */

/* Words that the limb takes in limb_memory; 0: it is kept. */
size_t rt_eval_plain_room(const rt_eval *e, const struct eval_plain *p);
/* Adds a plaintext to those whose limb `limb` over b is to be made; `count` and `words` begin with 0, and
 * at most EVAL_LIMB_PLAINS and as many words as limb_memory has are asked for until the next limb. */
struct eval_limbs {
    struct ring_basis b;
    size_t limb, count, words;
};
void rt_eval_limbs_start(rt_eval *e, struct eval_limbs *l, struct ring_basis b, size_t limb);
void rt_eval_limbs_add(rt_eval *e, struct eval_limbs *l, uint64_t plain);
/* Makes them, with all threads. */
void rt_eval_limbs_make(rt_eval *e, const struct eval_limbs *l);
/* The limb of prime t to out. */
void rt_eval_plain_make(const rt_eval *e, const struct eval_plain *p, uint64_t *out,
                        const struct ntt_table *t);
/* The limb: kept, or made just now. */
static inline const uint64_t *eval_plain_limb(const struct eval_plain *p, size_t limb)
{
    return p->at != NULL ? p->at + (limb << p->log_m) : p->limb;
}

/* ---- reg.c: registers and the checks on them ------------------------------------------------- */

static inline struct ring_basis eval_basis(const rt_eval *e, const struct eval_reg *g)
{
    bool extended = g->kind == EVAL_CTX || g->kind == EVAL_DIGITS || g->kind == EVAL_RAISED;
    return (struct ring_basis){(unsigned)g->level, extended ? e->ctx->ring->n_p : 0};
}

static inline void eval_set(struct eval_reg *g, enum eval_kind kind, int32_t level, double scale)
{
    g->kind = kind;
    g->level = level;
    g->scale = scale;
}

/* Polynomials in the register, and words of each. */
unsigned rt_eval_parts(const rt_eval *e, enum eval_kind kind, int32_t level);
size_t rt_eval_part_words(const rt_eval *e, enum eval_kind kind, int32_t level);

/* Keeps the first mistake: "model: layer 'conv1' (line 12): rt_add: ...". */
void rt_eval_mistake(rt_eval *e, const char *op, const char *format, ...) RT_PRINTF(3, 4);

enum { EVAL_ANY = 1 << EVAL_CT | 1 << EVAL_CT3 | 1 << EVAL_CTX };
/* Register `in` if no mistake was made so far and it holds one of the kinds (bits 1 << kind), else
 * NULL and the mistake is kept. */
const struct eval_reg *rt_eval_in(rt_eval *e, const char *op, uint32_t in, unsigned kinds);
/* Register `out` if it has room for the value; its state is not changed yet. */
struct eval_reg *rt_eval_out(rt_eval *e, const char *op, uint32_t out, enum eval_kind kind,
                             int32_t level);
/* Same level and, unless the kinds differ in meaning, scale within 2^-30; else a mistake. */
bool rt_eval_same(rt_eval *e, const char *op, const struct eval_reg *a, const struct eval_reg *b);
/* A scale that is finite and positive, and a message that can be there at all. */
bool rt_eval_scale(rt_eval *e, const char *op, double scale);

/* ---- keyswitch.c ------------------------------------------------------------------------------ */

/* The key, if it reaches the level; else NULL and the mistake is kept. */
const struct eval_key *rt_eval_key(rt_eval *e, const char *op, enum rt_key_kind kind, int64_t by,
                                   int32_t level);

/* One switched value. */
struct eval_switch {
    const rt_eval *e;
    const struct eval_key *key;
    const uint64_t *base[2]; /* over q_0 .. q_level, times c; NULL: nothing to add */
    const uint64_t *c, *cs;  /* [level + 1] with Shoup words: the product of the primes p of b */
    const uint64_t *digit;   /* polynomials over b, one after the other */
    const uint64_t
        *own; /* what the digits were made of, or NULL: a digit's own limbs are there only */
    unsigned digits;
    struct ring_basis b;
    uint64_t *out;   /* two polynomials over b */
    bool accumulate; /* what is in out is added */
    bool far;
};
void rt_eval_switch(const struct eval_switch *s);
/* Limb `limb` of it, for the kernel; digit: room for s->digits pointers. */
struct k_switch rt_eval_switch_limb(const struct eval_switch *s, size_t limb,
                                    const uint64_t **digit);
/* Sets the a half's stream of coefficients first .. first + n - 1 of that limb where it is not kept;
 * n <= EVAL_KEY_PIECE, work: expanded_words. */
#define EVAL_KEY_PIECE ((size_t)2048)
void rt_eval_switch_expand(const struct eval_switch *s, size_t limb, struct k_switch *k,
                           size_t first, size_t n, uint64_t *work);

#endif
