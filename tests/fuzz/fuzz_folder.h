/* For targets that need a whole checkpoint: a folder, and what glmq does with it. */
#ifndef GLMQ_TESTS_FUZZ_FOLDER_H
#define GLMQ_TESTS_FUZZ_FOLDER_H

#include <stddef.h>

/* Every file that a target may write. */
#define FUZZ_FILES                                                                                 \
    "config.json", "model.safetensors", "model.gguf", "mtp.safetensors",                           \
        "vq_codebooks.safetensors", "model.safetensors.index.json", "hf_quant_config.json",        \
        "tq_config.json", "quantization_config.json", "quantize_config.json", "quant_config.json"

const char *fuzz_folder(void); /* made on first use, removed at exit */
void fuzz_clear(void);
void fuzz_put(const char *name, const void *data, size_t len);

/* Opens the folder with the reader of that number (0: detected; modulo their count), once as
 * glmq-convert does and once as glmq-inspect --check does, decodes a little, checks it all. */
void fuzz_open_checkpoint(unsigned reader);
#endif
