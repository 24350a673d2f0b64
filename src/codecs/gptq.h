/* GPTQ parameters that its reader and writer name.  encoding.variant: */
#ifndef GLMQ_CODECS_GPTQ_H
#define GLMQ_CODECS_GPTQ_H
enum {
    GPTQ_V2 = 0,     /* qzeros hold the zero                                          */
    GPTQ_V1 = 1,     /* qzeros hold zero - 1, subtracted on the packed word           */
    GPTQ_PLANAR = 2, /* v2, packed in planes: 3, 5, 6, 7 bits                      */
    GPTQ_V1_OR = 3   /* as v1, put into the word field by field: a full field is 2^bits */
};
#endif
