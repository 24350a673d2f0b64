/* compressed-tensors parameters that its reader and writer name.
 *
 * codec ctpack (pack-quantized) slots: CODES weight_packed, SCALES weight_scale, ZEROS
 * weight_zero_point (asym), SHAPE weight_shape, PERM weight_g_idx (act_order).
 * codec ctint (int-quantized, naive-quantized): CODES weight (I8), SCALES, ZEROS (I8).
 * encoding.group 0: channel; encoding.group_rows 0 with group 0: one scale for the tensor.
 * encoding.variant of ctpack: flags. */
#ifndef GLMQ_CODECS_CTPACK_H
#define GLMQ_CODECS_CTPACK_H
enum {
    CT_ZERO_PACKED = 0, /* zero points packed along the rows (0.9.4 and later)    */
    CT_ZERO_I8 = 1,     /* one signed byte each (before), or tensor strategy       */
    CT_SHAPE_I32 = 2,   /* weight_shape is stored as I32, not as I64               */
    CT_LOOSE = 4        /* 3, 5, 6, 7 bits before 0.17: no code straddles words    */
};
#endif
