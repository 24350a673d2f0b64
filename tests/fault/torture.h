/* Makes every allocation and every system call fail in turn. */
#ifndef TESTS_FAULT_TORTURE_H
#define TESTS_FAULT_TORTURE_H

#include "base/fault.h"
#include "base/mem.h"
#include "glmq/error.h"
#include "support.h"

/* Runs `act` until nothing failed any more, which must take more than `at_least` runs: each
 * ends in a clean error or in success.  `before` (may be NULL) cleans up. */
static inline void torture(glmq_status (*act)(glmq_error *), long at_least, void (*before)(void))
{
    for (long n = 1;; n++) {
        glmq_error err = { 0 };
        glmq_status st;
        int through;
        if (before) before();
        glmq_fail_alloc_at(n);
        st = act(&err);
        through = glmq_fault_pending();
        glmq_fail_alloc_at(0);
        if (through) {
            assert_int_equal(st, GLMQ_OK);
            assert_true(n > at_least);
            return;
        }
        if (!st) continue; /* the failure did no harm: a prefetch */
        if (st != GLMQ_E_NOMEM && st != GLMQ_E_IO)
            fail_msg("failure %ld: %s: %s", n, glmq_status_name(st), err.msg);
        assert_int_equal(err.status, st);
        assert_true(err.msg[0] != '\0' && !strchr(err.msg, '\n'));
        assert_true(st != GLMQ_E_IO || err.sys != 0);
    }
}
#endif
