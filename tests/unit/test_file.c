/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make_dir(void)
{
    strcpy(dir, "/tmp/weft-file-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static int entries(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n - 2;
}

static void remove_dir(void)
{
    cr_assert_eq(system(arena_printf(arena_new(), "rm -rf %s", dir)), 0);
}

TestSuite(file, .init = make_dir, .fini = remove_dir);

Test(file, written_is_mapped)
{
    struct mapped_file m;
    const char *why;
    file_write(in_dir("a"), "hello\0x", 7);
    file_write(in_dir("a"), "other", 5); /* replaces */
    cr_assert(file_map(in_dir("a"), &m, &why));
    cr_assert_eq(m.size, 5);
    cr_assert_eq(memcmp(m.data, "other", 5), 0);
    cr_assert_eq(entries(), 1, "a temporary file was left");
    struct stat st;
    cr_assert_eq(stat(in_dir("a"), &st), 0);
    mode_t mask = umask(0);
    cr_assert_eq(st.st_mode & 0777, 0666 & ~mask);
}

Test(file, empty_files_can_be_mapped)
{
    struct mapped_file m;
    const char *why;
    file_write(in_dir("e"), NULL, 0);
    cr_assert(file_map(in_dir("e"), &m, &why));
    cr_assert_eq(m.size, 0);
    cr_assert_not_null(m.data);
}

Test(file, what_cannot_be_mapped)
{
    struct mapped_file m;
    const char *why = "";
    cr_expect_not(file_map(in_dir("absent"), &m, &why));
    cr_expect_str_eq(why, "No such file or directory");
    cr_expect_not(file_map(dir, &m, &why));
    cr_expect_str_eq(why, "is a directory");
    cr_assert_eq(mkfifo(in_dir("fifo"), 0600), 0);
    cr_expect_not(file_map(in_dir("fifo"), &m, &why));
    cr_expect_str_eq(why, "not a regular file");
}

static void write_file(void *path)
{
    file_write(path, "x", 1);
}

Test(file, failures_leave_nothing)
{
    cr_assert_eq(mkdir(in_dir("sub"), 0755), 0);
    char path[128];
    strcpy(path, in_dir("sub")); /* a directory cannot be replaced by a file */
    struct caught c = ir_catch(write_file, path);
    cr_expect(c.ended && !c.bug);
    cr_expect_not_null(strstr(c.text, "cannot write '"));
    cr_expect_not_null(strstr(c.text, "sub'"));
    cr_expect_eq(entries(), 1, "a temporary file was left");
    strcpy(path, in_dir("no/such/file"));
    c = ir_catch(write_file, path);
    cr_expect(c.ended && !c.bug);
    cr_expect_not_null(strstr(c.text, "No such file or directory"));
}
