/* An importance matrix, as it is: opened, and every value of it read. */
#include "fuzz.h"
#include "readers/imatrix.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile size_t seen; /* lengths are taken, for AddressSanitizer */

static void walk(const glmq_imatrix *im, uint64_t size)
{
    const glmq_imatrix_facts *f = glmq_imatrix_facts_of(im);

    for (size_t i = 0; i < f->dataset_count; i++) seen = strlen(f->datasets[i]);
    for (size_t i = 0; i < f->entries; i++) {
        const glmq_imatrix_entry *e = glmq_imatrix_at(im, i);
        float w[2];

        if (glmq_imatrix_find(im, e->name) != e) fuzz_broken("an entry that is not found");
        if (e->values == 0 || e->matrices == 0 || e->values % e->matrices)
            fuzz_broken("an entry without whole matrices");
        if (e->offset > size || e->values > (size - e->offset) / 4)
            fuzz_broken("an entry outside its file");
        if (!glmq_imatrix_read(im, e, e->values - 1, 1, w, NULL) && !(isfinite(w[0]) && w[0] >= 0))
            fuzz_broken("a weight that is none");
        if (!glmq_imatrix_read(im, e, e->values - 1, 2, w, NULL)) fuzz_broken("a value too many");
    }
    glmq_imatrix_check(im, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char path[64];
    glmq_source *src = NULL;
    glmq_imatrix *im = NULL;
    glmq_error err;
    const int fd = memfd_create("fuzz", 0);

    if (fd < 0 || (len && write(fd, data, len) != (ssize_t)len)) fuzz_broken("no memfd");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (glmq_source_open(&src, path, NULL, &err)) fuzz_broken(err.msg);
    glmq_imatrix_probe(src);
    if (glmq_imatrix_open(&im, src, &err)) {
        if (!err.msg[0]) fuzz_broken("a refusal without a message");
    } else {
        walk(im, len);
    }
    glmq_imatrix_close(im);
    glmq_source_close(src);
    close(fd);
    return 0;
}
