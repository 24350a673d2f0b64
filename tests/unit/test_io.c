/* io: sources that notice what happens to their files; outputs that are safe. */
#include "base/error.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "glmq/source.h"
#include "io/out.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char folder[256];

static int set_up(void **state)
{
    (void)state;
    fresh_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    glmq_fail_alloc_at(0);
    return glmq_out_remove_tree(folder, NULL) ? -1 : 0;
}

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static int which;
    which ^= 1;
    snprintf(path[which], sizeof path[which], "%s/%s", folder, name);
    return path[which];
}

static glmq_source *open_source(const char *path)
{
    glmq_source *s;
    glmq_error err;
    if (glmq_source_open(&s, path, NULL, &err)) fail_msg("%s", err.msg);
    return s;
}

/* ---- source ---- */

static void a_folder_lists_its_regular_files_by_name(void **state)
{
    glmq_source *s;
    (void)state;
    write_file(folder, "b", "22", 2);
    write_file(folder, "a", "1", 1);
    write_file(folder, "a-", "", 0);
    assert_int_equal(mkdir(in_folder("sub"), 0777), 0);
    write_file(folder, "sub/inner", "x", 1);
    assert_int_equal(mkfifo(in_folder("pipe"), 0666), 0);
    assert_int_equal(symlink("sub/inner", in_folder("link")), 0);
    assert_int_equal(symlink("nowhere", in_folder("dangling")), 0);
    assert_int_equal(symlink("sub", in_folder("dirlink")), 0);
    assert_int_equal(symlink("loop", in_folder("loop")), 0);
    s = open_source(folder);
    assert_int_equal(glmq_source_count(s), 4);
    assert_string_equal(glmq_source_name(s, 0), "a");
    assert_string_equal(glmq_source_name(s, 1), "a-");
    assert_string_equal(glmq_source_name(s, 2), "b");
    assert_string_equal(glmq_source_name(s, 3), "link");
    assert_int_equal(glmq_source_size(s, 2), 2);
    assert_int_equal(glmq_source_find(s, "link"), 3);
    assert_int_equal(glmq_source_find(s, "pipe"), -1);
    assert_int_equal(glmq_source_is_file(s), 0);
    assert_string_equal(glmq_source_path(s), folder);
    glmq_source_close(s);
}

static void a_single_file_is_a_source_of_one(void **state)
{
    glmq_source *s;
    char buf[4] = { 0 };
    (void)state;
    write_file(folder, "model.safetensors", "abcdef", 6);
    write_file(folder, "other", "x", 1);
    s = open_source(in_folder("model.safetensors"));
    assert_int_equal(glmq_source_count(s), 1);
    assert_string_equal(glmq_source_name(s, 0), "model.safetensors");
    assert_int_equal(glmq_source_is_file(s), 1);
    assert_int_equal(glmq_source_read(s, 0, 2, buf, 3, NULL), GLMQ_OK);
    assert_string_equal(buf, "cde");
    glmq_source_close(s);
}

static void any_part_of_a_split_gguf_brings_its_siblings_only(void **state)
{
    glmq_source *s;
    (void)state;
    write_file(folder, "m-00001-of-00003.gguf", "1", 1);
    write_file(folder, "m-00002-of-00003.gguf", "2", 1);
    write_file(folder, "m-00003-of-00003.gguf", "3", 1);
    write_file(folder, "m-00001-of-00002.gguf", "x", 1);
    write_file(folder, "mm-00001-of-00003.gguf", "x", 1);
    write_file(folder, "m-0000a-of-00003.gguf", "x", 1);
    write_file(folder, "config.json", "x", 1);
    s = open_source(in_folder("m-00002-of-00003.gguf"));
    assert_int_equal(glmq_source_count(s), 3);
    assert_string_equal(glmq_source_name(s, 0), "m-00001-of-00003.gguf");
    assert_string_equal(glmq_source_name(s, 2), "m-00003-of-00003.gguf");
    assert_int_equal(glmq_source_is_file(s), 1);
    glmq_source_close(s);
}

static void what_is_not_there_or_no_file_is_an_error(void **state)
{
    glmq_source *s = (glmq_source *)folder;
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_source_open(&s, in_folder("nothing"), NULL, &err), GLMQ_E_IO);
    assert_null(s);
    assert_int_equal(err.sys, ENOENT);
    assert_non_null(strstr(err.msg, "nothing: cannot open: No such file or directory"));
    assert_int_equal(mkfifo(in_folder("pipe"), 0666), 0);
    assert_int_equal(glmq_source_open(&s, in_folder("pipe"), NULL, &err), GLMQ_E_FORMAT);
    assert_null(s);
    glmq_source_close(NULL);
}

static void reads_outside_the_file_are_refused(void **state)
{
    glmq_source *s;
    glmq_error err;
    char buf[16];
    (void)state;
    write_file(folder, "f", "0123456789", 10);
    s = open_source(folder);
    assert_int_equal(glmq_source_read(s, 0, 10, buf, 0, &err), GLMQ_OK);
    assert_int_equal(glmq_source_read(s, 0, 0, buf, 11, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "f: 11 bytes at offset 0, file has 10");
    assert_int_equal(glmq_source_read(s, 0, 11, buf, 0, &err), GLMQ_E_FORMAT);
    assert_int_equal(glmq_source_read(s, 0, UINT64_MAX, buf, 2, &err), GLMQ_E_FORMAT);
    glmq_source_prefetch(s, 0, 0, 10);
    glmq_source_prefetch(s, 0, 5, UINT64_MAX);
    glmq_source_close(s);
}

static void a_file_that_shrinks_under_us_is_an_error(void **state)
{
    glmq_source *s;
    glmq_error err;
    char buf[16];
    (void)state;
    write_file(folder, "f", "0123456789", 10);
    s = open_source(folder);
    assert_int_equal(glmq_source_read(s, 0, 0, buf, 10, &err), GLMQ_OK);
    assert_int_equal(glmq_source_unchanged(s, &err), GLMQ_OK);
    assert_int_equal(truncate(in_folder("f"), 4), 0);
    assert_int_equal(glmq_source_read(s, 0, 0, buf, 10, &err), GLMQ_E_IO);
    assert_string_equal(err.msg, "f: ends at offset 4, was 10 bytes when it was opened");
    assert_int_equal(glmq_source_unchanged(s, &err), GLMQ_E_IO);
    assert_string_equal(err.msg, "f: changed since it was opened: 4 bytes, was 10");
    glmq_source_close(s);
}

static void a_file_that_changes_before_its_first_read_is_an_error(void **state)
{
    const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    glmq_source *s;
    glmq_error err;
    char buf[4];
    (void)state;
    write_file(folder, "f", "0123", 4);
    s = open_source(folder);
    assert_int_equal(utimensat(AT_FDCWD, in_folder("f"), old, 0), 0);
    assert_int_equal(glmq_source_read(s, 0, 0, buf, 4, &err), GLMQ_E_IO);
    assert_non_null(
        strstr(err.msg, "f: changed since it was opened: modified at 1000000000000 ns"));
    glmq_source_close(s);
}

static void a_file_replaced_by_another_is_noticed(void **state)
{
    const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    glmq_source *s;
    char buf[4];
    (void)state;
    write_file(folder, "f", "0123", 4);
    s = open_source(folder);
    assert_int_equal(glmq_source_read(s, 0, 0, buf, 4, NULL), GLMQ_OK);
    write_file(folder, "g", "4567", 4);
    assert_int_equal(utimensat(AT_FDCWD, in_folder("g"), old, 0), 0);
    assert_int_equal(rename(in_folder("g"), in_folder("f")), 0);
    assert_int_equal(glmq_source_unchanged(s, NULL), GLMQ_E_IO);
    assert_int_equal(unlink(in_folder("f")), 0);
    assert_int_equal(glmq_source_unchanged(s, NULL), GLMQ_E_IO);
    glmq_source_close(s);
}

static void a_file_that_became_a_pipe_does_not_hang_us(void **state)
{
    glmq_source *s;
    glmq_error err;
    char buf[4];
    (void)state;
    write_file(folder, "f", "0123", 4);
    s = open_source(folder);
    assert_int_equal(unlink(in_folder("f")), 0);
    assert_int_equal(mkfifo(in_folder("f"), 0666), 0);
    assert_int_equal(glmq_source_read(s, 0, 0, buf, 4, &err), GLMQ_E_IO);
    assert_string_equal(err.msg, "f: no longer a regular file");
    glmq_source_close(s);
}

enum { MANY = 300, THREADS = 4 };

static void *read_everything(void *arg)
{
    const glmq_source *s = arg;
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < MANY; i++) {
            uint32_t v = 0;
            if (glmq_source_read(s, i, 0, &v, sizeof v, NULL) || v != i * 7) return arg;
        }
    return NULL;
}

/* More files than descriptors, and four threads that want them all. */
static void many_files_are_read_with_few_descriptors(void **state)
{
    struct rlimit before, few;
    pthread_t threads[THREADS];
    void *failed[THREADS];
    glmq_source *s;
    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        const uint32_t v = i * 7;
        char name[16];
        snprintf(name, sizeof name, "f%04u", (unsigned)i);
        write_file(folder, name, &v, sizeof v);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    s = open_source(folder);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_everything, s), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], &failed[i]);
    for (int i = 0; i < THREADS; i++) assert_null(failed[i]);
    glmq_source_close(s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* ---- out ---- */

static void an_output_has_its_size_from_the_start_and_keeps_what_was_written(void **state)
{
    glmq_out *f;
    struct stat st;
    char buf[5] = { 0 };
    (void)state;
    assert_int_equal(glmq_out_open(&f, in_folder("o"), 1 << 20, NULL), GLMQ_OK);
    assert_int_equal(stat(in_folder("o"), &st), 0);
    assert_int_equal(st.st_size, 1 << 20);
    assert_int_equal(glmq_out_write(f, 1000, "data", 4, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_sync(f, NULL), GLMQ_OK);
    glmq_out_close(f);
    assert_int_equal(glmq_out_open(&f, in_folder("o"), 2000, NULL), GLMQ_OK); /* resume */
    assert_int_equal(glmq_out_read(f, 1000, buf, 4, NULL), GLMQ_OK);
    assert_string_equal(buf, "data");
    assert_int_equal(glmq_out_read(f, 1998, buf, 4, NULL), GLMQ_E_IO);
    glmq_out_close(f);
    assert_int_equal(stat(in_folder("o"), &st), 0);
    assert_int_equal(st.st_size, 2000);
    glmq_out_close(NULL);
}

static void more_than_the_disk_holds_is_refused_before_a_byte(void **state)
{
    glmq_out *f;
    glmq_error err;
    uint64_t space;
    (void)state;
    assert_int_equal(glmq_out_space(folder, &space, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_open(&f, in_folder("o"), (uint64_t)1 << 60, &err), GLMQ_E_IO);
    assert_null(f);
    assert_int_equal(err.sys, ENOSPC);
    assert_non_null(strstr(err.msg, "o: no space left: needs 1152921504606846976 bytes, "));
    assert_int_equal(glmq_out_open(&f, in_folder("o"), UINT64_MAX, &err), GLMQ_E_LIMIT);
}

static void a_write_on_a_full_disk_says_so(void **state)
{
    glmq_out *f;
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_out_open(&f, in_folder("o"), 100, NULL), GLMQ_OK);
    glmq_fail_alloc_at(1);
    assert_int_equal(glmq_out_write(f, 8, "data", 4, &err), GLMQ_E_IO);
    assert_int_equal(err.sys, ENOSPC);
    assert_non_null(strstr(err.msg, "/o: no space left for 4 bytes at offset 8"));
    glmq_out_close(f);
}

static void outputs_never_follow_links_nor_take_folders(void **state)
{
    glmq_out *f;
    struct stat st;
    (void)state;
    write_file(folder, "precious", "keep", 4);
    assert_int_equal(symlink("precious", in_folder("link")), 0);
    assert_int_equal(glmq_out_open(&f, in_folder("link"), 0, NULL), GLMQ_E_IO);
    assert_int_equal(mkdir(in_folder("dir"), 0777), 0);
    assert_int_equal(glmq_out_open(&f, in_folder("dir"), 0, NULL), GLMQ_E_IO);
    assert_int_equal(mkfifo(in_folder("pipe"), 0666), 0);
    assert_int_equal(glmq_out_open(&f, in_folder("pipe"), 0, NULL), GLMQ_E_EXISTS);
    assert_int_equal(stat(in_folder("precious"), &st), 0);
    assert_int_equal(st.st_size, 4);
}

static void a_small_file_replaces_the_old_one_whole(void **state)
{
    size_t len;
    char *text;
    (void)state;
    assert_int_equal(glmq_out_file(in_folder("c"), "first and long", 14, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_file(in_folder("c"), "second", 6, NULL), GLMQ_OK);
    text = slurp(in_folder("c"), &len);
    assert_string_equal(text, "second");
    free(text);
    assert_int_equal(glmq_out_exists(in_folder("c.tmp")), 0);
}

/* Whatever call fails: the old content or the new, nothing else. */
static void a_small_file_that_fails_leaves_the_old_one(void **state)
{
    (void)state;
    assert_int_equal(glmq_out_file(in_folder("c"), "old", 3, NULL), GLMQ_OK);
    for (long n = 1;; n++) {
        glmq_status st;
        size_t len;
        char *text;
        glmq_fail_alloc_at(n);
        st = glmq_out_file(in_folder("c"), "new", 3, NULL);
        glmq_fail_alloc_at(0);
        text = slurp(in_folder("c"), &len);
        assert_string_equal(text, st ? "old" : "new");
        free(text);
        assert_int_equal(glmq_out_exists(in_folder("c.tmp")), 0);
        if (!st) {
            assert_true(n > 4); /* text, open, write, sync, rename */
            break;
        }
    }
}

static void folders_are_made_synced_renamed_and_removed(void **state)
{
    (void)state;
    assert_int_equal(glmq_out_mkdir(in_folder("d"), NULL), GLMQ_OK);
    assert_int_equal(glmq_out_mkdir(in_folder("d"), NULL), GLMQ_OK);
    write_file(folder, "file", "x", 1);
    assert_int_equal(glmq_out_mkdir(in_folder("file"), NULL), GLMQ_E_EXISTS);
    assert_int_equal(glmq_out_mkdir(in_folder("no/such"), NULL), GLMQ_E_IO);
    assert_int_equal(glmq_out_sync_dir(folder, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_sync_dir(in_folder("none"), NULL), GLMQ_E_IO);
    write_file(folder, "d/inside", "x", 1);
    assert_int_equal(glmq_out_mkdir(in_folder("e"), NULL), GLMQ_OK);
    write_file(folder, "e/inside", "x", 1);
    assert_int_equal(glmq_out_rename(in_folder("d"), in_folder("e"), NULL), GLMQ_E_EXISTS);
    assert_int_equal(glmq_out_remove_tree(in_folder("e"), NULL), GLMQ_OK);
    assert_int_equal(glmq_out_rename(in_folder("d"), in_folder("e"), NULL), GLMQ_OK);
    assert_int_equal(glmq_out_exists(in_folder("e/inside")), 1);
    assert_int_equal(glmq_out_rename(in_folder("d"), in_folder("e"), NULL), GLMQ_E_IO);
}

static void removing_a_tree_follows_no_links(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("keep"), 0777), 0);
    write_file(folder, "keep/file", "x", 1);
    assert_int_equal(mkdir(in_folder("t"), 0777), 0);
    assert_int_equal(mkdir(in_folder("t/sub"), 0777), 0);
    write_file(folder, "t/sub/file", "x", 1);
    assert_int_equal(symlink("../keep", in_folder("t/link")), 0);
    assert_int_equal(symlink("keep", in_folder("toplink")), 0);
    assert_int_equal(glmq_out_remove_tree(in_folder("t"), NULL), GLMQ_OK);
    assert_int_equal(glmq_out_remove_tree(in_folder("toplink"), NULL), GLMQ_OK);
    assert_int_equal(glmq_out_exists(in_folder("t")), 0);
    assert_int_equal(glmq_out_exists(in_folder("toplink")), 0);
    assert_int_equal(glmq_out_exists(in_folder("keep/file")), 1);
    assert_int_equal(glmq_out_remove_tree(in_folder("t"), NULL), GLMQ_OK);
}

static void a_tree_that_is_cut_down_keeps_its_mark_to_the_end(void **state)
{
    static const char *const names[] = { "t/a", "t/mark", "t/sub/file", "t/z" };
    int through = 0;
    (void)state;
    for (long n = 1; !through; n++) {
        if (!glmq_out_exists(in_folder("t"))) assert_int_equal(mkdir(in_folder("t"), 0777), 0);
        if (!glmq_out_exists(in_folder("t/sub")))
            assert_int_equal(mkdir(in_folder("t/sub"), 0777), 0);
        for (size_t i = 0; i < 4; i++) write_file(folder, names[i], "x", 1);
        glmq_fail_alloc_at(n);
        (void)glmq_out_remove_marked(in_folder("t"), "mark", NULL);
        through = glmq_fault_pending();
        glmq_fail_alloc_at(0);
        if (!glmq_out_exists(in_folder("t/mark")))
            for (size_t i = 0; i < 4; i++)
                assert_int_equal(glmq_out_exists(in_folder(names[i])), 0);
    }
    assert_int_equal(glmq_out_exists(in_folder("t")), 0);
}

static void space_is_asked_of_the_nearest_folder_that_exists(void **state)
{
    uint64_t here = 0, there = 0;
    (void)state;
    assert_int_equal(glmq_out_space(folder, &here, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_space(in_folder("not/yet//there/"), &there, NULL), GLMQ_OK);
    assert_true(here > 0 && there > 0);
    assert_int_equal(glmq_out_space("", &there, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_space("nowhere-near", &there, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_space("/nowhere/near", &there, NULL), GLMQ_OK);
}

static void a_lock_is_held_against_others_until_it_is_closed(void **state)
{
    glmq_error err;
    int first, second;
    (void)state;
    assert_int_equal(glmq_out_lock(in_folder("lock"), &first, NULL), GLMQ_OK);
    assert_int_equal(glmq_out_lock(in_folder("lock"), &second, &err), GLMQ_E_EXISTS);
    assert_int_equal(second, -1);
    assert_non_null(strstr(err.msg, "lock: another process is writing here"));
    close(first);
    assert_int_equal(glmq_out_lock(in_folder("lock"), &second, NULL), GLMQ_OK);
    close(second);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_lists_its_regular_files_by_name),
        TEST(a_single_file_is_a_source_of_one),
        TEST(any_part_of_a_split_gguf_brings_its_siblings_only),
        TEST(what_is_not_there_or_no_file_is_an_error),
        TEST(reads_outside_the_file_are_refused),
        TEST(a_file_that_shrinks_under_us_is_an_error),
        TEST(a_file_that_changes_before_its_first_read_is_an_error),
        TEST(a_file_replaced_by_another_is_noticed),
        TEST(a_file_that_became_a_pipe_does_not_hang_us),
        TEST(many_files_are_read_with_few_descriptors),
        TEST(an_output_has_its_size_from_the_start_and_keeps_what_was_written),
        TEST(more_than_the_disk_holds_is_refused_before_a_byte),
        TEST(a_write_on_a_full_disk_says_so),
        TEST(outputs_never_follow_links_nor_take_folders),
        TEST(a_small_file_replaces_the_old_one_whole),
        TEST(a_small_file_that_fails_leaves_the_old_one),
        TEST(folders_are_made_synced_renamed_and_removed),
        TEST(removing_a_tree_follows_no_links),
        TEST(a_tree_that_is_cut_down_keeps_its_mark_to_the_end),
        TEST(space_is_asked_of_the_nearest_folder_that_exists),
        TEST(a_lock_is_held_against_others_until_it_is_closed),
    };
    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
