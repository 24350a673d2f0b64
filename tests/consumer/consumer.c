/* Opens the checkpoint that is its argument and counts its tensors and their bytes. */
#include <glmq/glmq.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    glmq_source *src = NULL;
    glmq_graph *graph = NULL;
    glmq_error err;
    uint64_t bytes = 0;
    int status = 1;

    if (argc != 2 || strcmp(glmq_version(), GLMQ_VERSION) != 0) return 2;
    if (glmq_source_open(&src, argv[1], NULL, &err) == GLMQ_OK &&
        glmq_graph_open(&graph, src, NULL, &err) == GLMQ_OK) {
        for (size_t i = 0; i < glmq_graph_count(graph); i++)
            bytes += glmq_tensor_bytes(glmq_graph_tensor(graph, i));
        printf("glmq %s: %s, %s, %zu tensors, %" PRIu64 " bytes\n", glmq_version(),
               glmq_graph_model_type(graph), glmq_graph_format(graph), glmq_graph_count(graph),
               bytes);
        status = 0;
    } else {
        fprintf(stderr, "consumer: %s\n", err.msg);
    }
    glmq_graph_close(graph);
    glmq_source_close(src);
    return status;
}
