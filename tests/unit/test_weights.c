/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void make_path(void)
{
    strcpy(path, "/tmp/weft-weights-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

TestSuite(weights, .init = make_path, .fini = remove_path);

/* header length, header, data */
static void write_file(uint64_t claimed, const char *header, const void *data, size_t len)
{
    struct str s;
    str_init(&s, arena_new());
    for (int i = 0; i < 8; i++) {
        char byte = (char)(claimed >> (8 * i) & 255);
        str_addn(&s, &byte, 1);
    }
    str_add(&s, header);
    str_addn(&s, data, len);
    file_write(path, s.s, s.len);
}

static struct weights *open_good(const char *header, const void *data, size_t len)
{
    struct weights *w;
    const char *why = "";
    write_file(strlen(header), header, data, len);
    cr_assert(weights_open(arena_new(), path, &w, &why), "%s", why);
    return w;
}

Test(weights, tensors_are_read)
{
    const float f32[2] = {1.5f, -0x1p-130f};
    const double f64[1] = {1.0 / 3};
    const uint16_t f16[6] = {0x3c00, 0xc000, 0x0001,
                             0x7bff, 0x7c00, 0xfe00}; /* 1 -2 2^-24 65504 inf nan */
    const uint16_t bf16[2] = {0x3fc0, 0xff80};        /* 1.5 -inf */
    unsigned char data[64];
    memcpy(data, f64, 8);
    memcpy(data + 8, f32, 8);
    memcpy(data + 16, f16, 12);
    memcpy(data + 28, bf16, 4);
    memset(data + 32, 0, 8);
    struct weights *w =
        open_good("{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
                  "\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
                  "\"h\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[16,28]},"
                  "\"g\":{\"dtype\":\"BF16\",\"shape\":[1,2,1,1],\"data_offsets\":[28,32]},"
                  "\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[32,40]},"
                  "\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[40,40]},"
                  "\"five\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[40,44]},"
                  "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[44,47]}}   ",
                  data, 47);
    cr_expect_eq(weights_count(w), 8);
    for (uint32_t i = 1; i < weights_count(w); i++) {
        cr_expect_lt(strcmp(weights_get(w, i - 1)->name, weights_get(w, i)->name), 0, "not sorted");
    }
    const struct weights_tensor *t = weights_find(w, "a");
    cr_expect(t->rank == 0 && t->elements == 1 && t->dtype == DTYPE_F64);
    cr_expect_float_eq(weights_value(t, 0), 1.0 / 3, 0);
    t = weights_find(w, "b");
    cr_expect(t->rank == 2 && t->dims[0] == 2 && t->dims[1] == 1);
    cr_expect_float_eq(weights_value(t, 0), 1.5, 0);
    cr_expect_float_eq(weights_value(t, 1), -0x1p-130, 0);
    t = weights_find(w, "h");
    static const double half[] = {1, -2, 0x1p-24, 65504};
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(weights_value(t, (uint64_t)i), half[i], 0);
    }
    cr_expect(isinf(weights_value(t, 4)) && weights_value(t, 4) > 0);
    cr_expect(isnan(weights_value(t, 5)));
    t = weights_find(w, "g");
    cr_expect_float_eq(weights_value(t, 0), 1.5, 0);
    cr_expect(isinf(weights_value(t, 1)) && weights_value(t, 1) < 0);
    cr_expect_eq(weights_find(w, "i")->dtype, DTYPE_OTHER);
    cr_expect_eq(weights_find(w, "f8")->dtype, DTYPE_OTHER);
    cr_expect_eq(weights_find(w, "z")->elements, 0);
    cr_expect_eq(weights_find(w, "five")->rank, 255);
    cr_expect_null(weights_find(w, "__metadata__"));
    cr_expect_null(weights_find(w, "absent"));
}

Test(weights, hash_covers_the_file)
{
    uint64_t a = weights_hash(open_good("{}", "xy", 2));
    uint64_t b = weights_hash(open_good("{}", "xz", 2));
    cr_expect_neq(a, b);
}

/* clang-format off */
#define F32_4 "\"dtype\":\"F32\",\"shape\":[4],"
static const struct {
    const char *header, *want;
} bad[] = {
    {"", "not valid JSON"},
    {"{", "not valid JSON"},
    {"[]", "not a JSON object"},
    {"{\"a\":1,\"a\":2}", "duplicate object key"},
    {"{\"a\":1}", "tensor 'a' has no dtype"},
    {"{\"a\":{}}", "tensor 'a' has no dtype"},
    {"{\"a\":{\"dtype\":3,\"shape\":[4],\"data_offsets\":[0,16]}}", "has no dtype"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[0]}}", "data_offsets are not two offsets"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[0,16.5]}}", "data_offsets are not two offsets"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[-16,0]}}", "data_offsets are not two offsets"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[0,99999999999999999999]}}", "not valid JSON"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[16,0]}}", "outside the 16 bytes"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[4,20]}}", "bytes 4 to 20 are outside the 16 bytes of data"},
    {"{\"a\":{" F32_4 "\"data_offsets\":[0,12]}}", "tensor 'a' has 12 bytes, its shape and type (F32) want 16"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", "shape is not a list"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "shape is not a list"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", "shape[0] is not a size"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,\"2\"],\"data_offsets\":[0,16]}}", "shape[1] is not a size"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296],\"data_offsets\":[0,0]}}", "shape is too large"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967295,4294967295,4294967295],\"data_offsets\":[0,0]}}", "shape is too large"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2147483648,1073741824],\"data_offsets\":[0,0]}}", "shape is too large"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1073741824,536870912],\"data_offsets\":[0,0]}}", "want 2305843009213693952"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "tensors 'a' and 'b' overlap"},
    {"{\"a\":{\"dtype\":\"F8\",\"shape\":[9],\"data_offsets\":[0,9]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", "tensors 'a' and 'b' overlap"},
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "tensors 'a' and 'b' overlap"},
};
/* clang-format on */

Test(weights, bad_headers_are_refused)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct weights *w;
        const char *why = "";
        write_file(strlen(bad[i].header), bad[i].header, "0123456789abcdef", 16);
        cr_expect_not(weights_open(arena_new(), path, &w, &why), "%s", bad[i].header);
        cr_expect_not_null(strstr(why, bad[i].want), "%s: '%s'", bad[i].header, why);
    }
}

Test(weights, bad_lengths_are_refused)
{
    struct weights *w;
    const char *why = "";
    static const uint64_t claimed[] = {3, 100, (uint64_t)1 << 40, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof claimed / sizeof *claimed; i++) {
        write_file(claimed[i], "{}", NULL, 0);
        cr_expect_not(weights_open(arena_new(), path, &w, &why), "%llu",
                      (unsigned long long)claimed[i]);
        cr_expect_not_null(strstr(why, "truncated"), "%s", why);
    }
    for (size_t len = 0; len < 8; len++) {
        file_write(path, "\2\0\0\0\0\0\0\0", len);
        cr_expect_not(weights_open(arena_new(), path, &w, &why));
        cr_expect_not_null(strstr(why, "too short"), "%s", why);
    }
    cr_expect_not(weights_open(arena_new(), "/nonexistent/file", &w, &why));
    cr_expect_str_eq(why, "No such file or directory");
}

/* Deep nesting and every truncation of a good file: an answer, never a crash. */
Test(weights, hostile_headers_end)
{
    struct str s;
    str_init(&s, arena_new());
    for (int i = 0; i < 100000; i++) {
        str_add(&s, "{\"a\":[");
    }
    struct weights *w;
    const char *why = "";
    write_file(s.len, s.s, NULL, 0);
    cr_expect_not(weights_open(arena_new(), path, &w, &why));
    const char *good = "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}";
    for (size_t cut = 0; cut < strlen(good); cut++) {
        write_file(cut, arena_strndup(arena_new(), good, cut), "0123456789abcdef", 16);
        cr_expect_not(weights_open(arena_new(), path, &w, &why));
    }
}
