/* What a storage format implements: see design "codec and encoding".
 *
 * Life of a tensor: layout() bounds every size; check() (and check_rows()) refuses data that
 * could go out of range and resolves what only the data can tell; after that decode, encode
 * and get_codes cannot fail. */
#ifndef GLMQ_CODECS_CODEC_H
#define GLMQ_CODECS_CODEC_H

#include "glmq/encoding.h"
#include "dtype.h"

/* How one slot is stored for a rows x cols matrix.  A slot is cut into stripes along
 * the rows: every `stripe_rows` rows of the matrix take `stripe_bytes` adjacent bytes,
 * stripes are adjacent, the last may stand for fewer rows but is stored whole (one that is
 * a bit stream over several words ends with the last word in use).
 * stripe_rows == 0: the slot cannot be cut (it stores the input dimension first, or
 * belongs to all rows); it is read and written in one go. */
typedef struct glmq_slot_layout {
    glmq_dtype dtype; /* NONE: the slot does not exist in this encoding           */
    uint8_t rank;     /* of the stored array                                      */
    uint8_t optional; /* may be absent in a file that is read                     */
    uint64_t dims[4];
    uint64_t bytes;
    uint64_t stripe_rows, stripe_bytes;
} glmq_slot_layout;

typedef struct glmq_layout {
    glmq_slot_layout slot[GLMQ_SLOTS];
    uint64_t row_quantum; /* tiles start at multiples of it: lcm of the stripes       */
} glmq_layout;

/* A run of whole rows of a matrix with `of_rows` rows. */
typedef struct glmq_tile {
    uint64_t row, rows, cols, of_rows;
} glmq_tile;

/* The bytes of a tensor, or of a tile of it.  A cut slot's buffer starts with the
 * stripe that holds row `row0`; an uncut slot's buffer is the whole slot.  NULL: the
 * slot is absent. */
typedef struct glmq_bufs {
    uint8_t *buf[GLMQ_SLOTS];
    uint64_t row0;
} glmq_bufs;

/* The codes view: w[r][c] = scale[r][g(c)] * (q[r][c] - zero[r][g(c)]) + offset[r][g(c)],
 * g(c) = c / group, or perm[c].  q is unsigned; zero lives in the same frame.  scale and
 * offset hold the stored values exactly.  Arrays are row-major for the tile's rows. */
typedef enum glmq_code_kind { GLMQ_CODES_INT, GLMQ_CODES_LUT } glmq_code_kind;

typedef struct glmq_codes {
    glmq_code_kind kind;
    uint8_t bits;       /* of q                                                    */
    uint8_t no_zero;    /* 1: every zero is 2^(bits-1); zero[] is filled all the same */
    uint8_t has_offset; /* 1: offset[] is used and zero[] is all 0                 */
    uint32_t group;     /* columns per scale (never 0: a whole row is cols)        */
    uint32_t groups;    /* scales per row                                          */
    uint8_t *q;         /* rows x cols; NULL: only asking whether it would fit     */

    /* Who asks with stream_will_do, which is the caller's like the arrays, gets the codes still
     * packed, where they are stored so: every row one bit stream of whole 32-bit words, lowest
     * bits first, rows adjacent.  q then has no codes (but perhaps these words).  NULL: they are
     * in q. */
    uint8_t stream_will_do;
    const uint8_t *stream;

    float *scale;        /* rows x groups                                           */
    int16_t *zero;       /* rows x groups; up to 2^bits                             */
    float *offset;       /* rows x groups                                           */
    const int32_t *perm; /* cols entries, or NULL                                   */
    const float *lut;    /* kind LUT: 2^bits entries                                */
    float global;        /* kind LUT; 1 where there is none                         */
    uint8_t divides;     /* the global scale divides                                */
} glmq_codes;

/* What a first pass over the tensor, and those that share its global scale, found. */
typedef struct glmq_stats {
    float amax;
    int bf16; /* the weights are BF16 as they are stored: some tools then calculate in BF16 */
} glmq_stats;

/* glmq_codec.needs: encode() does not go without stats, unless the encoding has a scalar. */
enum { GLMQ_NEEDS_AMAX = 1 };

struct glmq_codec {
    const char *name, *about;
    unsigned needs;
    int takes_stream; /* 1: put_codes() does without q where there is a stream */

    /* dtype, shape, bytes and stripes of every slot for rows x cols.  GLMQ_E_FORMAT when
     * the shape cannot be stored so, GLMQ_E_LIMIT on overflow. */
    glmq_status (*layout)(const glmq_encoding *, uint64_t rows, uint64_t cols, glmq_layout *,
                          glmq_error *);

    /* Once per tensor, with the uncut slots filled (cut ones may be NULL): refuses what
     * could go out of range (GLMQ_E_FORMAT), and resolves in *enc what only data can tell
     * (a trivial g_idx clears act_order, …).  Negative entries of a PERM slot (-1: the last
     * group) are brought into range in place.  NULL: nothing to check. */
    glmq_status (*check)(glmq_encoding *enc, const glmq_bufs *, uint64_t rows, uint64_t cols,
                         glmq_error *);

    /* Refuses stored rows with something in their cut slots that decode() must not meet: every
     * row is shown before it is decoded.  NULL: any bytes will do. */
    glmq_status (*check_rows)(const glmq_encoding *, const glmq_bufs *, glmq_tile, glmq_error *);

    /* Canonical F32 values of a tile. */
    void (*decode)(const glmq_encoding *, const glmq_bufs *, glmq_tile, float *w);

    /* Plain rule of the format's own quantizer.  Fills every slot of the layout.  w is
     * finite (the caller has checked).  NULL: the encoding is only read, and copied; the
     * planner refuses what would have to be encoded. */
    void (*encode)(const glmq_encoding *, const glmq_stats *, glmq_tile, const float *w,
                   glmq_bufs *);

    /* The codes view of a tile; NULL: this codec has none.  The arrays of *codes are the
     * caller's, groups as glmq_encoding_groups() says; the other fields are filled here.  With
     * codes->q == NULL only the small arrays are filled; of integers whose scales have a slot of
     * their own the buffers then need no codes. */
    void (*get_codes)(const glmq_encoding *, const glmq_bufs *, glmq_tile, glmq_codes *);

    /* Stores codes if this encoding holds exactly the same codes, scales and zeros;
     * GLMQ_E_INEXACT with the reason otherwise.  q == NULL asks only about the small
     * arrays and writes nothing (bufs may be NULL). */
    glmq_status (*put_codes)(const glmq_encoding *, const glmq_codes *, glmq_tile, glmq_bufs *,
                             glmq_error *);

    /* Prints / parses the parameters behind "name:" ("bits=4,group=128,sym"). */
    size_t (*print)(const glmq_encoding *, char *text, size_t cap); /* NULL: no parameters */

    /* Do two encodings.tables hold the same?  NULL: only if they are the same. */
    int (*same_tables)(const void *a, const void *b);

    /* Bytes of tables that lie outside of every slot and are shared, as far as they fall to
     * `weights` weights.  NULL: there are none. */
    double (*share)(const glmq_encoding *, uint64_t weights);
};

/* THE list of codecs: registry.c, from table.h. */
#define X(symbol) extern const glmq_codec glmq_codec_##symbol;
#include "table.h"
#undef X

/* A plain encoding (f32, f16, bf16, and stored integers that are no weights), or a GGUF
 * block type; codec is NULL when nothing decodes that dtype. */
glmq_encoding glmq_encoding_of_dtype(glmq_dtype dtype);
/* The dtype of an encoding that is one array of one dtype (plain, GGUF); NONE otherwise. */
glmq_dtype glmq_encoding_dtype(const glmq_encoding *enc);
int glmq_encoding_is_plain(const glmq_encoding *enc); /* f32, f16, bf16 */

/* Bits per weight, companions and shared tables included, for a rows x cols matrix. */
double glmq_encoding_bpw(const glmq_encoding *enc, uint64_t rows, uint64_t cols);

/* Columns per scale of the codes view: a group of 0, or wider than the row, is the row. */
uint32_t glmq_encoding_group(const glmq_encoding *enc, uint64_t cols);
/* Scales per row of the codes view. */
uint32_t glmq_encoding_groups(const glmq_encoding *enc, uint64_t cols);
/* Byte range of rows [row, row + rows) in a slot. */
void glmq_slot_range(const glmq_slot_layout *s, uint64_t row, uint64_t rows, uint64_t *off,
                     uint64_t *bytes);
#endif
