/* Every limit on input, in one place. */
#ifndef GLMQ_BASE_LIMITS_H
#define GLMQ_BASE_LIMITS_H

enum {
    GLMQ_HEADER_MAX = 100000000, /* bytes of a safetensors header; also of a JSON side file */
    GLMQ_ARRAYS_MAX = 4000000,   /* stored arrays of a checkpoint                           */
    GLMQ_RANK_MAX = 32,
    GLMQ_NAME_MAX = 1024, /* bytes of a tensor or array name                         */
    GLMQ_JSON_DEPTH = 64,
    GLMQ_JSON_VALUES = 8000000, /* of a tree: about 80 bytes each                          */
    GLMQ_FILES_MAX = 100000,    /* files of a folder                                       */
    GLMQ_LAYERS_MAX = 4096,
    GLMQ_EXPERTS_MAX = 65536,
    GLMQ_TOKENS_MAX = 1 << 24, /* of a vocabulary; merges likewise                        */
    GLMQ_GGUF_KEYS_MAX = 1 << 20,
    GLMQ_PATTERN_MAX = 16384, /* bytes of a regular expression                        */
    GLMQ_PATTERNS_MAX = 4096  /* of one config, those for a single name not counted      */
};
#endif
