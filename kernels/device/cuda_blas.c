//go:build gpu

#include "cuda_calls.h"

#include <cublasLt.h>
#include <string.h>

const char *gojet_blas_error(int status) { return cublasLtGetStatusName((cublasStatus_t)status); }

int gojet_blas_open(void **blas)
{
	cublasLtHandle_t h = 0;
	int r = cublasLtCreate(&h);
	*blas = h;
	return r;
}

int gojet_blas_close(void *blas) { return cublasLtDestroy((cublasLtHandle_t)blas); }

static int type(int bf16) { return bf16 ? CUDA_R_16BF : CUDA_R_32F; }

static cublasStatus_t layout(cublasLtMatrixLayout_t *l, int bf16, int64_t rows, int64_t cols, int64_t ld, int32_t batch, int64_t stride)
{
	cublasStatus_t r = cublasLtMatrixLayoutCreate(l, type(bf16), rows, cols, ld);
	if (r == CUBLAS_STATUS_SUCCESS && batch > 1) {
		r = cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
		if (r == CUBLAS_STATUS_SUCCESS)
			r = cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
	}
	return r;
}

void gojet_blas_forget(gojet_product *p)
{
	if (p->a)
		cublasLtMatrixLayoutDestroy(p->a);
	if (p->b)
		cublasLtMatrixLayoutDestroy(p->b);
	if (p->c)
		cublasLtMatrixLayoutDestroy(p->c);
	if (p->op)
		cublasLtMatmulDescDestroy(p->op);
	memset(p, 0, sizeof *p);
}

/* The shape is cuBLASLt's: column-major, C [m, n]. */
int gojet_blas_plan(void *blas, const gojet_shape *s, size_t workspace, gojet_product *p)
{
	memset(p, 0, sizeof *p);
	cublasStatus_t r;
	cublasLtMatmulPreference_t preference = 0;
#define TRY(call)                               \
	do {                                        \
		if ((r = (call)) != CUBLAS_STATUS_SUCCESS) \
			goto out;                           \
	} while (0)
#define SET(attribute, value) TRY(cublasLtMatmulDescSetAttribute(p->op, attribute, &(value), sizeof(value)))
#define PREFER(attribute, value) TRY(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &(value), sizeof(value)))
	TRY(cublasLtMatmulDescCreate((cublasLtMatmulDesc_t *)&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
	int32_t trans_a = s->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, trans_b = s->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
	SET(CUBLASLT_MATMUL_DESC_TRANSA, trans_a);
	SET(CUBLASLT_MATMUL_DESC_TRANSB, trans_b);
	if (s->bias) {
		int32_t epilogue = CUBLASLT_EPILOGUE_BIAS, kind = type(s->type_c);
		const void *somewhere = (const void *)(uintptr_t)s->bias; /* only its alignment counts here */
		SET(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
		SET(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, kind);
		SET(CUBLASLT_MATMUL_DESC_BIAS_POINTER, somewhere);
	}
	TRY(layout((cublasLtMatrixLayout_t *)&p->a, s->type_ab, s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, s->lda, s->batch, s->stride_a));
	TRY(layout((cublasLtMatrixLayout_t *)&p->b, s->type_ab, s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, s->ldb, s->batch, s->stride_b));
	TRY(layout((cublasLtMatrixLayout_t *)&p->c, s->type_c, s->m, s->n, s->ldc, s->batch, s->stride_c));
	TRY(cublasLtMatmulPreferenceCreate(&preference));
	uint32_t align_a = s->align_a, align_b = s->align_b, align_c = s->align_c;
	uint32_t align_d = s->bias && s->bias < s->align_c ? s->bias : s->align_c; /* the bias is read as the result is written */
	PREFER(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace);
	PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align_a);
	PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align_b);
	PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align_c);
	PREFER(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align_d);
	cublasLtMatmulHeuristicResult_t best;
	int found = 0;
	TRY(cublasLtMatmulAlgoGetHeuristic((cublasLtHandle_t)blas, p->op, p->a, p->b, p->c, p->c, preference, 1, &best, &found));
	if (found == 0)
		r = CUBLAS_STATUS_NOT_SUPPORTED;
	else
		memcpy(p->algo, &best.algo, sizeof p->algo);
out:
	if (preference)
		cublasLtMatmulPreferenceDestroy(preference);
	if (r != CUBLAS_STATUS_SUCCESS)
		gojet_blas_forget(p);
	return r;
}

int gojet_blas_run(void *blas, const gojet_product *p, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t bias, float alpha, float beta,
	uintptr_t workspace, size_t bytes, uintptr_t stream)
{
	if (bias) {
		const void *where = (const void *)bias;
		cublasStatus_t r = cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &where, sizeof where);
		if (r != CUBLAS_STATUS_SUCCESS)
			return r;
	}
	cublasLtMatmulAlgo_t algo;
	memcpy(&algo, p->algo, sizeof algo);
	return cublasLtMatmul((cublasLtHandle_t)blas, p->op, &alpha, (const void *)a, p->a, (const void *)b, p->b, &beta, (const void *)c, p->c,
		(void *)c, p->c, &algo, (void *)workspace, bytes, (cudaStream_t)stream);
}
