/* The shim under everything that can fail for outside reasons: allocations (mem.c) and
 * system calls (src/io).  A test counts and fails them with glmq_fail_alloc_at(). */
#ifndef GLMQ_BASE_FAULT_H
#define GLMQ_BASE_FAULT_H

/* 1 when this call is the one that has to fail. */
int glmq_fault(void);

/* 1 while the call that has to fail is still to come: a test is through when it is after
 * a whole run. */
int glmq_fault_pending(void);
#endif
