/* Importance matrices on the command line: glmq-inspect FILE, glmq-convert --imatrix FILE. */
#include "imatrix.h"
#include "base/error.h"
#include "glmq/glmq.h"
#include "readers/imatrix.h"
#include "verify/print.h"
#include <inttypes.h>
#include <stdio.h>

/* ---- glmq-inspect ---- */

static void print_head(const char *path, const glmq_imatrix_facts *f, FILE *out)
{
    fputs("imatrix   ", out);
    glmq_print_text(path, out);
    fprintf(out, " (%s)\n", f->gguf ? "GGUF" : ".dat");
    for (size_t i = 0; i < f->dataset_count; i++) {
        fputs(i ? ", " : "data      ", out);
        glmq_print_text(f->datasets[i], out);
    }
    if (f->dataset_count) fputc('\n', out);
    if (f->chunks) fprintf(out, "chunks    %" PRIu64, f->chunks);
    if (f->chunks && f->chunk_size) fprintf(out, " of %" PRIu64 " tokens", f->chunk_size);
    if (f->chunks) fputc('\n', out);
    fprintf(out, "entries   %zu", f->entries);
    if (f->unseen)
        fprintf(out, "; %" PRIu64 " matrices saw no token: their columns count alike", f->unseen);
    fputs("\n\n", out);
}

static glmq_status show_text(const glmq_imatrix *im, const char *path, FILE *out, glmq_error *err)
{
    glmq_table t = { .align = "lrrr" };

    print_head(path, glmq_imatrix_facts_of(im), out);
    glmq_cell(&t, "entry");
    glmq_cell(&t, "values");
    glmq_cell(&t, "matrices");
    glmq_cell(&t, "unseen");
    for (size_t i = 0; i < glmq_imatrix_facts_of(im)->entries; i++) {
        const glmq_imatrix_entry *e = glmq_imatrix_at(im, i);
        glmq_cell_text(&t, e->name);
        glmq_cell(&t, "%" PRIu64, e->values);
        glmq_cell(&t, "%" PRIu64, e->matrices);
        glmq_cell(&t, "%" PRIu64, e->unseen);
    }
    return glmq_table_print(&t, 0, out) ? glmq_fail(err, GLMQ_E_NOMEM, "the table") : GLMQ_OK;
}

static glmq_status show_json(const glmq_imatrix *im, const char *path, FILE *out, glmq_error *err)
{
    const glmq_imatrix_facts *f = glmq_imatrix_facts_of(im);
    glmq_json_out o = { .file = out };

    glmq_json_begin(&o, NULL, '{');
    glmq_json_str(&o, "glmq", glmq_version());
    glmq_json_str(&o, "path", path);
    glmq_json_str(&o, "format", "imatrix");
    glmq_json_str(&o, "form", f->gguf ? "gguf" : "dat");
    glmq_json_begin(&o, "datasets", '[');
    for (size_t i = 0; i < f->dataset_count; i++) glmq_json_str(&o, NULL, f->datasets[i]);
    glmq_json_end(&o);
    glmq_json_uint(&o, "chunks", f->chunks);
    glmq_json_uint(&o, "chunk_size", f->chunk_size);
    glmq_json_begin(&o, "entries", '[');
    for (size_t i = 0; i < f->entries; i++) {
        const glmq_imatrix_entry *e = glmq_imatrix_at(im, i);
        glmq_json_begin(&o, NULL, '{');
        glmq_json_str(&o, "name", e->name);
        glmq_json_uint(&o, "values", e->values);
        glmq_json_uint(&o, "matrices", e->matrices);
        glmq_json_uint(&o, "unseen", e->unseen);
        glmq_json_end(&o);
    }
    glmq_json_end(&o);
    glmq_json_end(&o);
    return glmq_json_close(&o) ? glmq_fail(err, GLMQ_E_IO, "writing the result failed") : GLMQ_OK;
}

static glmq_status show(const glmq_source *src, const char *path, int json, int check,
                        glmq_error *err)
{
    glmq_imatrix *im;
    glmq_status st;

    GLMQ_TRY(glmq_imatrix_open(&im, src, err));
    st = check ? glmq_imatrix_check(im, err) : GLMQ_OK;
    if (!st) st = json ? show_json(im, path, stdout, err) : show_text(im, path, stdout, err);
    glmq_imatrix_close(im);
    return st;
}

glmq_status glmq_imatrix_show(const char *path, int json, int check, int *handled, glmq_error *err)
{
    glmq_source *src;
    glmq_status st = GLMQ_OK;

    *handled = 0;
    if (glmq_source_open(&src, path, NULL, NULL)) return GLMQ_OK; /* said by who opens it next */
    *handled = glmq_imatrix_probe(src);
    if (*handled) st = show(src, path, json, check, err);
    glmq_source_close(src);
    return st;
}

/* ---- glmq-convert ---- */

static glmq_status consider(const glmq_program *p, const glmq_source *src, const char *path,
                            const glmq_graph *g, int quiet, glmq_error *err)
{
    glmq_imatrix_fit fit;
    glmq_imatrix *im;
    glmq_status st;

    st = glmq_imatrix_open(&im, src, err);
    if (st == GLMQ_E_FORMAT && !glmq_imatrix_probe(src))
        return glmq_fail(err, st, "%s: no importance matrix of llama.cpp, .dat or .gguf", path);
    if (st) return st;
    st = glmq_imatrix_fit_model(im, g, &fit, err);
    if (!st) st = glmq_imatrix_check(im, err);
    if (!st && !quiet) {
        if (fit.unknown)
            glmq_say(p,
                     "warning: %s: %zu of its %zu entries name no tensor of the model; the "
                     "first is %s",
                     path, fit.unknown, glmq_imatrix_facts_of(im)->entries, fit.stranger);
        glmq_say(p,
                 "warning: %s: fits the model, %zu of its %zu matrices; no encoder of this "
                 "version uses importance weights, the result is the same without",
                 path, fit.covered, fit.tensors);
    }
    glmq_imatrix_close(im);
    return st;
}

glmq_status glmq_imatrix_consider(const glmq_program *p, const char *path, const glmq_graph *g,
                                  int quiet, glmq_error *err)
{
    glmq_source *src;
    glmq_status st;

    st = glmq_source_open(&src, path, NULL, err);
    if (!st) st = consider(p, src, path, g, quiet, err);
    glmq_source_close(src);
    return glmq_within(err, st, "--imatrix");
}
