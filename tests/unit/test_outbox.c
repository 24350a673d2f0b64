/* Writes that wait for their file: none is lost, and those to one place keep their order. */
#include "base/mem.h"
#include "io/outbox.h"
#include "support.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>

enum { BYTES = 4 * GLMQ_OUTBOX_BYTES, PIECE = GLMQ_OUTBOX_BYTES / 2 - 1 };

static char folder[256];
static glmq_out *file, *other;
static glmq_outbox *box;

static glmq_out *open_in_folder(const char *name)
{
    char path[512];
    glmq_out *f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(glmq_out_open(&f, path, BYTES, NULL), GLMQ_OK);
    return f;
}

static int set_up(void **state)
{
    (void)state;
    fresh_folder(folder);
    file = open_in_folder("file");
    other = open_in_folder("other");
    box = glmq_outbox_new();
    return box ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    glmq_fail_alloc_at(0);
    glmq_outbox_free(box);
    glmq_out_close(file);
    glmq_out_close(other);
    return glmq_out_remove_tree(folder, NULL) ? -1 : 0;
}

static void post(glmq_out *to, uint64_t off, const char *text)
{
    assert_int_equal(glmq_outbox_write(box, to, off, text, strlen(text), NULL), GLMQ_OK);
}

static void assert_holds(glmq_out *f, const char *text)
{
    char found[64];
    assert_int_equal(glmq_out_read(f, 0, found, strlen(text) + 1, NULL), GLMQ_OK);
    assert_string_equal(found, text);
}

static void writes_wait_for_their_file_alone_and_keep_their_order(void **state)
{
    (void)state;
    assert_true(glmq_out_take_turn(file, 1));
    post(file, 0, "1111");
    post(file, 1, "22");
    post(other, 0, "free");
    assert_holds(file, "");
    assert_holds(other, "free");
    assert_false(glmq_outbox_is_empty(box));
    glmq_out_end_turn(file);
    post(file, 2, "3");
    assert_holds(file, "1231");
    assert_true(glmq_outbox_is_empty(box));
}

static void a_flush_writes_to_every_file(void **state)
{
    (void)state;
    assert_true(glmq_out_take_turn(file, 1) && glmq_out_take_turn(other, 1));
    post(file, 0, "one");
    post(other, 0, "two");
    post(file, 3, "three");
    glmq_out_end_turn(file);
    glmq_out_end_turn(other);
    assert_int_equal(glmq_outbox_flush(box, NULL), GLMQ_OK);
    assert_true(glmq_outbox_is_empty(box));
    assert_holds(file, "onethree");
    assert_holds(other, "two");
}

/* Letters run out before bytes do.  Then all that waits goes out, whatever file is written to. */
static void many_small_writes_fill_the_box_too(void **state)
{
    char found[300];
    int n = 0;
    (void)state;
    assert_true(glmq_out_take_turn(file, 1));
    for (; n < 256; n++) post(file, (uint64_t)n, "x");
    glmq_out_end_turn(file);
    assert_false(glmq_outbox_is_empty(box));
    post(other, 0, "one more");
    assert_true(glmq_outbox_is_empty(box));
    assert_holds(other, "one more");
    assert_int_equal(glmq_out_read(file, 0, found, sizeof found, NULL), GLMQ_OK);
    for (int i = 0; i < 300; i++) assert_int_equal(found[i], i < n ? 'x' : 0);
}

static int posted; /* pieces that the other thread got rid of */

static void *post_pieces(void *arg)
{
    char *piece = arg;
    for (int i = 0; i < 3; i++) {
        memset(piece, 'a' + i, PIECE);
        assert_int_equal(glmq_outbox_write(box, file, (uint64_t)i * PIECE, piece, PIECE, NULL),
                         GLMQ_OK);
        __atomic_store_n(&posted, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void a_full_box_waits_for_the_file(void **state)
{
    char *piece = malloc(PIECE), *found = malloc(3 * PIECE);
    pthread_t thread;
    (void)state;
    posted = 0;
    assert_true(glmq_out_take_turn(file, 1));
    assert_int_equal(pthread_create(&thread, NULL, post_pieces, piece), 0);
    while (__atomic_load_n(&posted, __ATOMIC_ACQUIRE) < 2) sched_yield();
    for (int i = 0; i < 1000; i++) sched_yield(); /* time for a third that would not wait */
    assert_int_equal(__atomic_load_n(&posted, __ATOMIC_ACQUIRE), 2); /* two pieces fit */
    glmq_out_end_turn(file);
    pthread_join(thread, NULL);
    assert_true(glmq_outbox_is_empty(box));
    assert_int_equal(glmq_out_read(file, 0, found, 3 * PIECE, NULL), GLMQ_OK);
    for (int i = 0; i < 3 * PIECE; i++) assert_int_equal(found[i], 'a' + i / PIECE);
    free(piece);
    free(found);
}

static void more_than_a_box_holds_is_written_at_once(void **state)
{
    char *much = calloc(1, 2 * GLMQ_OUTBOX_BYTES);
    (void)state;
    memcpy(much, "much", 4);
    assert_int_equal(glmq_outbox_write(box, file, 0, much, 2 * GLMQ_OUTBOX_BYTES, NULL), GLMQ_OK);
    assert_true(glmq_outbox_is_empty(box));
    assert_holds(file, "much");
    free(much);
}

static void a_write_that_fails_ends_the_turn(void **state)
{
    glmq_error err;
    (void)state;
    assert_true(glmq_out_take_turn(file, 1));
    post(file, 8, "data");
    glmq_out_end_turn(file);
    glmq_fail_alloc_at(1);
    assert_int_equal(glmq_outbox_flush(box, &err), GLMQ_E_IO);
    assert_int_equal(err.sys, ENOSPC);
    assert_non_null(strstr(err.msg, "/file: no space left for 4 bytes at offset 8"));
    assert_true(glmq_out_take_turn(file, 0));
    glmq_out_end_turn(file);
    assert_int_equal(glmq_outbox_flush(box, NULL), GLMQ_OK);
}

/* Of two files' letters, one fails in the middle: none is lost, and the last still comes last. */
static void what_could_not_be_written_is_written_the_next_time(void **state)
{
    (void)state;
    assert_true(glmq_out_take_turn(file, 1) && glmq_out_take_turn(other, 1));
    post(file, 0, "one");
    post(other, 0, "old");
    post(file, 3, "two");
    post(other, 0, "new");
    post(file, 6, "three");
    glmq_out_end_turn(file);
    glmq_out_end_turn(other);
    glmq_fail_alloc_at(2);
    assert_int_equal(glmq_outbox_flush(box, NULL), GLMQ_E_IO);
    assert_holds(file, "one");
    assert_int_equal(glmq_outbox_flush(box, NULL), GLMQ_OK);
    assert_holds(file, "onetwothree");
    assert_holds(other, "new");
    assert_true(glmq_outbox_is_empty(box));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_wait_for_their_file_alone_and_keep_their_order),
        TEST(a_flush_writes_to_every_file),
        TEST(many_small_writes_fill_the_box_too),
        TEST(a_full_box_waits_for_the_file),
        TEST(more_than_a_box_holds_is_written_at_once),
        TEST(a_write_that_fails_ends_the_turn),
        TEST(what_could_not_be_written_is_written_the_next_time),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
