//go:build gpu

/* What gorgonia.org/cu lacks: loading the libraries, launches with clusters and large parameters, function attributes,
 * capture, tensor maps, cubins, pinned memory, and matrix products. Handles are integers, for Go. */
#ifndef GOJET_CUDA_CALLS_H
#define GOJET_CUDA_CALLS_H

#include <stddef.h>
#include <stdint.h>

/* Loading. The bind functions stand in the libraries that dev/cuda makes; they return how many functions they found. */
enum { GOJET_CUDA, GOJET_NVRTC, GOJET_CUBLASLT };
void *gojet_open(const char *path, const char **error);
int gojet_bind(int library, void *handle);

/* The driver. Results are CUresult. */
const char *gojet_error_name(int result);
const char *gojet_error_text(int result);
int gojet_init(void);
int gojet_make_current(uintptr_t context);
int gojet_max_shared(uintptr_t function, int bytes);
int gojet_wide_clusters(uintptr_t function);
int gojet_launch(uintptr_t context, uintptr_t stream, uintptr_t function, const unsigned *dims, unsigned cluster, unsigned shared,
	const void *data, const int64_t *at, int count);
int gojet_pinned(void **memory, size_t bytes);
int gojet_capture(uintptr_t stream);
int gojet_captured(uintptr_t stream, uintptr_t *graph);
int gojet_replay(uintptr_t graph, uintptr_t stream);
int gojet_forget(uintptr_t graph);
/* dims, strides and box start with the dimension that is contiguous; strides are in bytes, of every dimension but the first. */
int gojet_tensor_map(void *map, int bf16, int rank, uintptr_t memory, const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
	int swizzle);

/* The compiler. Results are nvrtcResult. */
int gojet_cubin_size(void *program, size_t *size);
int gojet_cubin(void *program, char *cubin);

/* Matrix products. Results are cublasStatus_t. */
typedef struct {
	int64_t m, n, k, lda, ldb, ldc, stride_a, stride_b, stride_c;
	int32_t batch, trans_a, trans_b;
	int32_t type_ab, type_c; /* 0 is float32, 1 bf16 */
	int32_t bias;            /* bytes to which the bias is aligned, 0 for none */
	int32_t align_a, align_b, align_c;
} gojet_shape;

typedef struct {
	void *op, *a, *b, *c;
	uint64_t algo[8];
} gojet_product;

const char *gojet_blas_error(int status);
int gojet_blas_open(void **blas);
int gojet_blas_close(void *blas);
int gojet_blas_plan(void *blas, const gojet_shape *s, size_t workspace, gojet_product *p);
void gojet_blas_forget(gojet_product *p);
int gojet_blas_run(void *blas, const gojet_product *p, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t bias, float alpha, float beta,
	uintptr_t workspace, size_t bytes, uintptr_t stream);

#endif
