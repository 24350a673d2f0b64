/* Command lines.  One table of options per program drives the parser, --help, the man
 * page and the shell completion; the parser knows no option by name. */
#ifndef GLMQ_CLI_ARGS_H
#define GLMQ_CLI_ARGS_H

#include "glmq/error.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { GLMQ_OPERANDS_MAX = 2 };

typedef struct glmq_args glmq_args;

typedef struct glmq_option {
    const char *name; /* without the dashes                                            */
    char letter;      /* 0: none                                                       */
    const char *arg;  /* the argument as --help shows it; "[X]": may be left out, given */
                      /* only as --name=X; "[]": likewise, not shown; NULL: takes none  */
    /* Takes the argument (NULL where none was given) into the settings. */
    glmq_status (*take)(glmq_args *a, const struct glmq_option *o, const char *value);
    size_t field;      /* where in the program's settings                               */
    const char *words; /* "auto|bar|json": what the argument may be; NULL: anything      */
    const char *help;  /* one line; NULL: known, but in no listing                       */
} glmq_option;

typedef struct glmq_program {
    const char *name, *purpose, *operands;
    int min_operands, max_operands;
    const glmq_option *options;
    size_t count;
    const char *(*option_at)(size_t i); /* their names, NULL behind the last              */
    const char *examples[2][2];         /* what it does, the command line                 */
} glmq_program;

struct glmq_args {
    const glmq_program *program;
    void *settings; /* the struct that glmq_option.field points into */
    const char *operand[GLMQ_OPERANDS_MAX];
    int operands;
    int finished; /* --help and the like: all is said and done     */
    glmq_error *err;
};

/* Parses argv.  GLMQ_E_ARG or GLMQ_E_UNSUPPORTED with a message; after --help, --version,
 * --list-formats and their kind a->finished is set and the program should end. */
glmq_status glmq_args_parse(glmq_args *a, int argc, char **argv);

/* A `take` for each type of argument; `field` lies at that type in the settings. */
typedef glmq_status glmq_take(glmq_args *a, const glmq_option *o, const char *value);
glmq_take glmq_take_flag;  /* int: 1                                             */
glmq_take glmq_take_more;  /* int: one more                                      */
glmq_take glmq_take_text;  /* const char *                                       */
glmq_take glmq_take_glob;  /* const char *, "*" when left out                    */
glmq_take glmq_take_count; /* int, at least 1                                    */
glmq_take glmq_take_size;  /* uint64_t, bytes                                    */
glmq_take glmq_take_real;  /* double, not negative                               */
glmq_take glmq_take_word;  /* int: which of `words`                              */
glmq_take glmq_take_level; /* int: 1 when left out, else 2 + which of `words`    */

/* An option of the contract that this version does not have. */
glmq_take glmq_take_later;
/* Those that print and end. */
glmq_take glmq_take_help;
glmq_take glmq_take_version;
glmq_take glmq_take_formats;
glmq_take glmq_take_man;
glmq_take glmq_take_completion;

/* The exit status for a status: the one table of them. */
int glmq_exit_status(glmq_status status);

/* docs.c: the tables as text. */
void glmq_print_help(const glmq_program *p, FILE *out);
void glmq_print_man(const glmq_program *p, FILE *out);
void glmq_print_completion(const glmq_program *p, FILE *out);
void glmq_print_formats(FILE *out);
#endif
