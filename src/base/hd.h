/* GLMQ_HD marks the arithmetic that CPU and GPU share. */
#ifndef GLMQ_BASE_HD_H
#define GLMQ_BASE_HD_H
#ifdef __CUDACC__
#define GLMQ_HD static __host__ __device__ inline
#else
#define GLMQ_HD static inline
#endif
#endif
