//go:build gpu

#define _GNU_SOURCE
#include "cuda_calls.h"

#include <cuda.h>
#include <dlfcn.h>
#include <nvrtc.h>
#include <string.h>

int gojet_bind_cuda(void *(*find)(void *, const char *), void *library);
int gojet_bind_nvrtc(void *(*find)(void *, const char *), void *library);
int gojet_bind_cublasLt(void *(*find)(void *, const char *), void *library);

void *gojet_open(const char *path, const char **error)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	*error = library ? 0 : dlerror();
	return library;
}

int gojet_bind(int library, void *handle)
{
	switch (library) {
	case GOJET_CUDA:
		return gojet_bind_cuda(dlsym, handle);
	case GOJET_NVRTC:
		return gojet_bind_nvrtc(dlsym, handle);
	}
	return gojet_bind_cublasLt(dlsym, handle);
}

const char *gojet_error_name(int result)
{
	const char *s = 0;
	return cuGetErrorName((CUresult)result, &s) == CUDA_SUCCESS ? s : 0;
}

const char *gojet_error_text(int result)
{
	const char *s = 0;
	return cuGetErrorString((CUresult)result, &s) == CUDA_SUCCESS ? s : 0;
}

int gojet_init(void) { return cuInit(0); }

int gojet_make_current(uintptr_t context) { return cuCtxSetCurrent((CUcontext)context); }

int gojet_max_shared(uintptr_t function, int bytes)
{
	return cuFuncSetAttribute((CUfunction)function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

int gojet_wide_clusters(uintptr_t function)
{
	return cuFuncSetAttribute((CUfunction)function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1);
}

enum { PARAMETERS = 256 };

int gojet_launch(uintptr_t context, uintptr_t stream, uintptr_t function, const unsigned *dims, unsigned cluster, unsigned shared,
	const void *data, const int64_t *at, int count)
{
	void *parameters[PARAMETERS];
	if (count > PARAMETERS)
		return CUDA_ERROR_INVALID_VALUE;
	for (int i = 0; i < count; i++)
		parameters[i] = (char *)data + at[i];
	CUresult r = cuCtxSetCurrent((CUcontext)context);
	if (r != CUDA_SUCCESS)
		return r;
	if (cluster <= 1)
		return cuLaunchKernel((CUfunction)function, dims[0], dims[1], dims[2], dims[3], dims[4], dims[5], shared, (CUstream)stream,
			parameters, 0);
	CUlaunchAttribute attribute;
	memset(&attribute, 0, sizeof attribute);
	attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
	attribute.value.clusterDim.x = cluster;
	attribute.value.clusterDim.y = 1;
	attribute.value.clusterDim.z = 1;
	CUlaunchConfig config;
	memset(&config, 0, sizeof config);
	config.gridDimX = dims[0];
	config.gridDimY = dims[1];
	config.gridDimZ = dims[2];
	config.blockDimX = dims[3];
	config.blockDimY = dims[4];
	config.blockDimZ = dims[5];
	config.sharedMemBytes = shared;
	config.hStream = (CUstream)stream;
	config.attrs = &attribute;
	config.numAttrs = 1;
	return cuLaunchKernelEx(&config, (CUfunction)function, parameters, 0);
}

int gojet_pinned(void **memory, size_t bytes) { return cuMemHostAlloc(memory, bytes, 0); }

/* Relaxed: the recording is not tied to the thread that began it, which goroutines change. */
int gojet_capture(uintptr_t stream) { return cuStreamBeginCapture((CUstream)stream, CU_STREAM_CAPTURE_MODE_RELAXED); }

int gojet_captured(uintptr_t stream, uintptr_t *graph)
{
	CUgraph recorded = 0;
	CUresult r = cuStreamEndCapture((CUstream)stream, &recorded);
	if (r != CUDA_SUCCESS)
		return r;
	CUgraphExec made = 0;
	r = cuGraphInstantiate(&made, recorded, 0);
	cuGraphDestroy(recorded);
	if (r == CUDA_SUCCESS)
		r = cuGraphUpload(made, (CUstream)stream);
	*graph = (uintptr_t)made;
	return r;
}

int gojet_replay(uintptr_t graph, uintptr_t stream) { return cuGraphLaunch((CUgraphExec)graph, (CUstream)stream); }

int gojet_forget(uintptr_t graph) { return cuGraphExecDestroy((CUgraphExec)graph); }

int gojet_tensor_map(void *map, int bf16, int rank, uintptr_t memory, const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
	int swizzle)
{
	CUtensorMap made; /* aligned, which Go's memory need not be */
	cuuint64_t size[3], stride[2];
	cuuint32_t boxes[3], steps[3];
	for (int i = 0; i < rank; i++) {
		size[i] = dims[i];
		boxes[i] = box[i];
		steps[i] = 1;
		if (i > 0)
			stride[i - 1] = strides[i - 1];
	}
	CUtensorMapSwizzle pattern = swizzle == 128 ? CU_TENSOR_MAP_SWIZZLE_128B
		: swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
		: swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
		: CU_TENSOR_MAP_SWIZZLE_NONE;
	CUresult r = cuTensorMapEncodeTiled(&made, bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32, rank,
		(void *)memory, size, stride, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, pattern, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
		CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
	memcpy(map, &made, sizeof made);
	return r;
}

int gojet_cubin_size(void *program, size_t *size) { return nvrtcGetCUBINSize((nvrtcProgram)program, size); }

int gojet_cubin(void *program, char *cubin) { return nvrtcGetCUBIN((nvrtcProgram)program, cubin); }
