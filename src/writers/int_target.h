/* What the writers of quantized formats (gptq.c, ct.c, nvfp4.c) share: options, and the choice of
 * an encoding per tensor.  Each of them is one glmq_int_format. */
#ifndef GLMQ_WRITERS_INT_TARGET_H
#define GLMQ_WRITERS_INT_TARGET_H

#include "convert/plan.h"

typedef struct glmq_int_format {
    const char *name, *options; /* options: as --list-formats shows them             */
    const char *const *refused; /* words of schemes without an encoder; ends in NULL  */
    uint8_t scale_dtype;        /* of every checkpoint; NONE: as the source has it    */
    uint8_t act_order;          /* where the columns are in order: NONE, or TRIVIAL    */
    int whole_tensor;           /* can store one scale for everything                 */
    int floats;                 /* codes are no integers: bits and groups are fixed    */
    uint8_t only_bits;          /* it has no other width; 0: several                  */
    int no_order;               /* it has no place for a real act-order               */
    int whole_groups;           /* its loaders refuse a shorter last group            */
    const char *order_note;     /* what the user should know of a real act-order here */
} glmq_int_format;

/* The target of a writer, its choice for one tensor, and its refusal: see writer.h. */
glmq_status glmq_int_target(const glmq_int_format *f, glmq_target *t, const char *options,
                            glmq_error *err);
glmq_status glmq_int_choose(const glmq_int_format *f, const glmq_target *t, const glmq_graph *g,
                            const glmq_tensor *tensor, glmq_want *want, glmq_error *err);
glmq_status glmq_int_fit(const glmq_int_format *f, const glmq_plan *p, glmq_error *err);

/* Is any part of it stored as codes? */
int glmq_tensor_quantized(const glmq_tensor *t);
/* The plain encoding a tensor has, or F32 where its parts differ: it holds both. */
glmq_encoding glmq_tensor_plain(const glmq_tensor *t);
/* The dtype that the scales of the quantized source tensors had, when it is not the one
 * that is now written: the value of the metadata key "glmq.scale_dtype".  NULL: nothing to
 * record. */
const char *glmq_int_scale_note(const glmq_plan *p);
#endif
