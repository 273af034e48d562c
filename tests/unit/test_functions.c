/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "ir_kit.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Programs with functions, and the ops of bootstrapping, through the passes after ckks_level and the C
 * backend: a toy ring, two functions, two calls of the second one.
 */
enum { SLOTS = 64 };

static const char *program_text(struct arena *a, const char *main_nodes)
{
    uint64_t q[5];
    cr_assert(params_primes(7, 40, NULL, 0, 5, q));
    double down = 0x1p60 / (double)q[1];
    struct str s;
    str_init(&s, a);
    str_addf(&s,
             "weft-ir 1 stage=ckks\nmodel \"functions\" hash=0000000000000001 input=1x1x64 "
             "range=[-1,1] outputs=64\nmean [0]\nstd [1]\n"
             "params log_n=7 alpha=1 scale=1099511627776 input_scale=1099511627776 insecure=1 "
             "lambda=0 boot_level=2 sparse_weight=8\n"
             "q [%llu,%llu,%llu,%llu]\np [%llu]\n"
             "@0 = layout 1x1x64 n=64 g=1,1 t=1,1 pitch=64 block=64\n"
             "&0 = map 1x1x64 @0\n  term 1x1x64 @0 dft first=4 last=5 inverse=1\n",
             (unsigned long long)q[0], (unsigned long long)q[1], (unsigned long long)q[2],
             (unsigned long long)q[3], (unsigned long long)q[4]);
    str_addf(&s,
             "function \"half\"\n"
             "%%0 = input : ct 64 L=1 S=1099511627776\n"
             "%%1 = decompose %%0\n%%2 = key_mul %%1, %%0 conjugate=1\n%%3 = mod_down %%2 drop=0\n"
             "%%4 = comb %%0, %%3 factors=[0.5,0.25] constant=0.125 to_scale=%.17g\n"
             "%%5 = add_scalar %%4 constant=-2\n%%6 = times_i %%5\n%%7 = rescale %%6 drop=1\n"
             "%%8 = output %%7\n",
             0x1p60);
    str_addf(&s,
             "function \"lift_up\"\n"
             "%%0 = input : ct 64 L=0 S=%.17g\n"
             "%%1 = encapsulate %%0\n%%2 = mod_raise %%1 slots=64 modulus=%.17g to=3\n"
             "%%3 = raised_mul %%2\n%%4 = raised_mul %%2 by=8\n"
             "%%5 = pmac %%3, %%4 map=&0 out=0 giant=16 in=[0,0] baby=[0,8] period=32 "
             "pt_scale=%.17g\n"
             "%%6 = mod_down %%5 drop=2\n%%7 = output %%6\n",
             down, (double)q[0] / down, (double)q[3] * (double)q[2] / down * 0x1p40);
    str_addf(&s, "program\n%s", main_nodes);
    return s.s;
}

/* %0 lives across all calls, %4 across the last one; %1 and %2 across none. */
static const char main_nodes[] =
    "%0 = input part=0 layout=@0 : ct 64 L=1 S=1099511627776\n"
    "%1 = call %0 func=0\n"
    "%2 = relabel %1 gain=1\n"
    "%3 = call %2 func=1  # b model.yaml:3:1\n"
    "%4 = add %3, %0\n"
    "%5 = call %4 func=0\n"
    "%6 = call %5 func=1\n"
    "%7 = comb %6, %4, %0, %3 factors=[1,-0.5,3,0.1] constant=0 to_scale=1099511627776\n"
    "%8 = output %7 layout=@0\n";

static struct prog *program(const char *nodes)
{
    struct arena *a = arena_new();
    const char *text = program_text(a, nodes);
    struct prog *p = prog_parse(a, "functions", text, strlen(text));
    prog_verify(p, NULL);
    return p;
}

static struct prog *finished(void)
{
    return pkit_run(program(main_nodes), "ckks_fuse", "ckks_regs", &(struct opts){0});
}

Test(functions, keys_of_all_kinds)
{
    struct prog *p = finished();
    static const struct key_spec want[] = {{KEY_KIND_CONJUGATE, 0, 1},
                                           {KEY_KIND_ENCAPSULATE, 0, 0},
                                           {KEY_KIND_RAISED, 0, 3},
                                           {KEY_KIND_RAISED, 8, 3}};
    cr_assert_eq(p->num_keys, 4, "%u keys", p->num_keys);
    for (uint32_t i = 0; i < p->num_keys; i++)
        cr_expect(p->keys[i].kind == want[i].kind && p->keys[i].by == want[i].by &&
                      p->keys[i].level == want[i].level,
                  "key %u: kind %d by %lld level %d", i, (int)p->keys[i].kind,
                  (long long)p->keys[i].by, p->keys[i].level);
}

static bool written_by(const struct func *f, uint32_t reg)
{
    for (uint32_t i = 0; i < f->nodes.len; i++)
        if (f->nodes.at[i].reg == reg)
            return true;
    return false;
}

/* The verifier says that no value is read from a register that a call has written over. */
Test(functions, registers)
{
    struct prog *p = finished();
    prog_verify(p, NULL);
    cr_assert_eq(p->num_funcs, 2);
    uint32_t in_both = 0;
    for (uint32_t r = 0; r < p->num_regs; r++)
        in_both += written_by(&p->funcs[0], r) && written_by(&p->funcs[1], r);
    cr_assert_gt(in_both, 0, "functions share registers");
    uint32_t across = 0, inside = 0;
    for (uint32_t i = 0; i + 1 < p->nodes.len; i++) {
        uint32_t reg = p->nodes.at[i].reg;
        bool shared = written_by(&p->funcs[0], reg) || written_by(&p->funcs[1], reg);
        across += !shared;
        inside += shared;
    }
    cr_assert(across == 3 && inside == 5, "%u values in registers of their own, %u in functions'",
              across, inside);
}

Test(functions, fuse_keeps_them)
{
    struct prog *p = program("%0 = input part=0 layout=@0 : ct 64 L=1 S=1099511627776\n"
                             "%1 = call %0 func=0\n%2 = output %1 layout=@0\n");
    p = pkit_run(p, "ckks_fuse", "ckks_fuse", &(struct opts){0});
    cr_assert_eq(p->num_funcs, 2);
    cr_assert_eq(p->funcs[0].nodes.len, 9);
    cr_assert_eq(p->funcs[1].nodes.len, 8);
    cr_assert_str_eq(p->funcs[0].name, "half");
}

/* A call costs what its function does, and the program what its calls do. */
Test(functions, cost)
{
    struct prog *p = finished();
    double calls = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_call) {
            double ns = cost_node(p, &p->nodes.at[i]);
            double body = cost_prog(prog_of_func(p, (uint32_t)node_int(&p->nodes.at[i], KEY_func)));
            cr_assert(ns > 0 && fabs(ns - body) <= 1e-12 * body);
            calls += ns;
        }
    cr_assert_gt(cost_prog(p), calls);
    cr_assert(isfinite(cost_prog(p)));
}

/* ---- generated C ---------------------------------------------------------------------------- */

static uint32_t count_of(const char *text, const char *what)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

Test(functions, generated_c)
{
    struct prog *p = finished();
    struct c_output out;
    struct node_ns *ns = arena_array(p->arena, p->nodes.len, sizeof *ns);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        ns[i] = (struct node_ns){1, 0, 0};
    c_emit(p, ns, &out, p->arena);
    static const char *const want[] = {"static void func_half(rt_eval *e)\n{\n",
                                       "rt_conj_mul(e, ",
                                       "static const double factors_4[] = {0.5, 0.25};",
                                       ", in_4, factors_4, 2, 0.125, 1.152921504606847e+18);",
                                       ", -2.0);",
                                       "rt_times_i(e, ",
                                       "static void func_lift_up(rt_eval *e)\n{\n",
                                       "rt_encapsulate(e, ",
                                       "rt_mod_raise(e, ",
                                       "static const struct rt_baby baby_5[] = {\n",
                                       "{UINT32_MAX, 0, 0},",
                                       "/* %3 = raised_mul of %2 */",
                                       "{UINT32_MAX, 0, 8},",
                                       "rt_transform(e, out_5, 1, baby_5, 2, plain_5);",
                                       "static void layer_program_bootstrap(rt_eval *e)",
                                       "func_half(e);",
                                       "rt_relabel(e, ",
                                       "func_lift_up(e);"};
    const char *at = out.model_c.s;
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        const char *found = strstr(at, want[k]);
        cr_assert(found, "'%s' is not after\n%.60s\nin\n%s", want[k], at, out.model_c.s);
        at = found;
    }
    cr_assert_eq(count_of(out.model_c.s, "static void func_"), 2);
    cr_assert_eq(count_of(out.model_c.s, "func_half(e);"), 2);
    cr_assert_not_null(strstr(out.interface_c.s, "{0, 1, 2}, {0, 0, 3}, {0, 3, 4}, {8, 3, 4},"));
    cr_assert_not_null(strstr(out.interface_c.s, ".sparse_weight = 8}"));

    char dir[] = "/tmp/weft-test-functions-XXXXXX", command[512];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(command, sizeof command, "%s/model.c", dir);
    FILE *f = fopen(command, "w");
    cr_assert(f && fwrite(out.model_c.s, 1, out.model_c.len, f) == out.model_c.len);
    cr_assert_eq(fclose(f), 0);
    snprintf(command, sizeof command,
             "gcc -std=c11 -fsyntax-only -Iruntime -Wall -Wextra -Wpedantic -Wshadow -Wconversion "
             "-Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror %s/model.c && rm -r %s",
             dir, dir);
    cr_assert_eq(system(command), 0, "%s", command);
}

/* A function that nobody calls is not written: the C compiler would complain. */
Test(functions, uncalled)
{
    struct prog *p = program("%0 = input part=0 layout=@0 : ct 64 L=1 S=1099511627776\n"
                             "%1 = call %0 func=0\n%2 = output %1 layout=@0\n");
    p = pkit_run(p, "ckks_fuse", "ckks_regs", &(struct opts){0});
    struct c_output out;
    c_emit(p, NULL, &out, p->arena);
    cr_assert_not_null(strstr(out.model_c.s, "func_half"));
    cr_assert_null(strstr(out.model_c.s, "func_lift_up"));
}

static uint32_t u32_at(const char *s)
{
    uint32_t v;
    memcpy(&v, s, sizeof v);
    return v;
}

/* Position s of plaintext k holds the entry (out (s + b) mod n, in (s + b + d) mod n). */
Test(functions, dft_plaintexts)
{
    struct prog *p = finished();
    const struct node *pmac = NULL;
    for (uint32_t i = 0; i < p->funcs[1].nodes.len; i++)
        if (p->funcs[1].nodes.at[i].op == OP_pmac)
            pmac = &p->funcs[1].nodes.at[i];
    struct c_output out;
    c_emit(p, NULL, &out, p->arena);
    cr_assert_eq(u32_at(out.data.s + 64 + 16), 2, "plaintexts, each once");
    const char *plain = out.data.s + out.data.len - 2 * 40;

    double re[2][SLOTS], im[2][SLOTS];
    struct diagonals d = lmap_diagonals(p, 0, true, p->arena);
    pmac_plaintexts_complex(p, pmac, &d, re[0], im[0]);
    for (uint32_t k = 0; k < 2; k++, plain += 40) {
        uint64_t b;
        memcpy(&b, plain, sizeof b);
        uint32_t offset = u32_at(plain + 8);
        cr_assert_eq(u32_at(plain + 12), SLOTS);
        cr_assert_eq(u32_at(plain + 16), 32, "period");
        cr_assert_eq(u32_at(plain + 20), 3, "level");
        cr_assert_eq(u32_at(plain + 24), 1, "extended");
        cr_assert_eq(u32_at(plain + 28), 4 | 5 << 8 | 1 << 16, "dft");
        const struct ldft dft = {4, 5, true};
        double sum = 0;
        for (uint32_t s = 0; s < SLOTS; s++) {
            double x, y;
            dft_entry(&dft, SLOTS, (uint32_t)(s + b) % SLOTS, (uint32_t)(s + b + offset) % SLOTS,
                      &x, &y);
            cr_assert(x == re[k][s] && y == im[k][s], "plaintext %u, slot %u", k, s);
            sum += fabs(x) + fabs(y);
        }
        cr_assert_gt(sum, 1, "not zero");
    }
}

static void emit(void *ctx)
{
    struct c_output out;
    c_emit(ctx, NULL, &out, ((struct prog *)ctx)->arena);
}

Test(functions, bootstrap_is_refused)
{
    struct prog *p = program(
        "%0 = input part=0 layout=@0 : ct 64 L=1 S=1099511627776\n"
        "%1 = bootstrap %0 range=4 : ct 64 L=2 S=1099511627776\n%2 = output %1 layout=@0\n");
    p = pkit_run(p, "ckks_fuse", "ckks_regs", &(struct opts){0});
    struct caught c = ir_catch(emit, p);
    cr_assert(c.ended && !c.bug && strstr(c.text, "run ckks_expand first"), "%s", c.text);
}

/* A combination with zeros only is no ciphertext that may leave. */
Test(functions, zero_factors_are_refused)
{
    struct prog *p = program("%0 = input part=0 layout=@0 : ct 64 L=1 S=1099511627776\n"
                             "%1 = comb %0 factors=[0] constant=1 to_scale=1099511627776\n"
                             "%2 = output %1 layout=@0\n");
    p = pkit_run(p, "ckks_fuse", "ckks_regs", &(struct opts){0});
    struct caught c = ir_catch(emit, p);
    cr_assert(c.ended && !c.bug && strstr(c.text, "do not depend on the image"), "%s", c.text);
}
