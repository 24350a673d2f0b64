/* A fuzz target is one LLVMFuzzerTestOneInput over one parser.  Built with libFuzzer when
 * GLMQ_FUZZ is on, and always with replay.c, which runs the corpus in plain ctest. */
#ifndef GLMQ_TESTS_FUZZ_H
#define GLMQ_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Stops the fuzzer: the parser gave something that it never should. */
void fuzz_broken(const char *what);

/* A catalog of a file with these bytes, walked and closed again. */
void fuzz_catalog(const uint8_t *data, size_t len);
#endif
