/* Scale and zero point of a group, as the formats' own quantizers choose them. */
#ifndef GLMQ_CODECS_INTS_RULE_H
#define GLMQ_CODECS_INTS_RULE_H

#include "ints.h"

/* Of the n weights of a group; the zero in the frame of `bits`. */
float ints_choose_scale(const ints_map *m, const float *w, size_t n, int *zero);
#endif
