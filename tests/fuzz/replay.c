/* Runs a fuzz target over the files of a corpus folder, without a fuzzing engine. */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static int replay(const char *folder, const char *name)
{
    char path[1024];
    uint8_t *data;
    FILE *in;
    long len;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    in = fopen(path, "rb");
    if (!in || fseek(in, 0, SEEK_END) || (len = ftell(in)) < 0) {
        perror(path);
        exit(1);
    }
    rewind(in);
    data = malloc(len ? (size_t)len : 1); /* exactly as long: a sanitizer sees the end */
    if (!data || fread(data, 1, (size_t)len, in) != (size_t)len) exit(1);
    fclose(in);
    (void)LLVMFuzzerTestOneInput(data, (size_t)len);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *e; (e = readdir(dir));)
            if (e->d_name[0] != '.') n += replay(argv[i], e->d_name);
        closedir(dir);
    }
    printf("%d inputs\n", n);
    return n ? 0 : 1; /* an empty corpus is a mistake */
}
