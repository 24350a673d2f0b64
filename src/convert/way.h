/* How a part of the target comes to its bytes.
 *
 *   WAY_BYTES   stored bytes are copied
 *   WAY_CODES   integers, scales and zeros are moved
 *   WAY_VALUES  F32 and the target's encoder
 *   WAY_SCALES  codes are moved, but their scales only as near as the target gets (NVFP4 under
 *               a global scale that is not its own) */
#ifndef GLMQ_CONVERT_WAY_H
#define GLMQ_CONVERT_WAY_H

#include "codecs/codec.h"
#include "convert/plan.h"

typedef enum glmq_way { WAY_BYTES, WAY_CODES, WAY_VALUES, WAY_SCALES } glmq_way;

typedef struct glmq_choice {
    glmq_way way;
    uint8_t from; /* the source part that bytes and codes come from           */
    int near;     /* codes under a global scale that is stored as its reciprocal */
} glmq_choice;

/* The best that may work out for part k of the item, whose layout is `l`. */
glmq_choice glmq_way_choose(const glmq_plan *p, const glmq_item *it, uint8_t k,
                            const glmq_layout *l);
#endif
