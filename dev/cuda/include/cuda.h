/*
 * CUDA's cuda.h, for gorgonia.org/cu. To be found before it on the include path.
 *
 * cu v0.9.6 is written against CUDA 12. CUDA 13 gave five functions new signatures under the old names; the driver still
 * exports the old functions, and here the names mean those again.
 */
#ifndef GOJET_CUDA_H
#define GOJET_CUDA_H

#include_next <cuda.h>

#if CUDA_VERSION >= 13000

#ifdef __cplusplus
extern "C" {
#endif

CUresult CUDAAPI cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev);
CUresult CUDAAPI gojet_cuMemAdvise(CUdeviceptr ptr, size_t count, CUmem_advise advice, CUdevice dev) __asm__("cuMemAdvise");
CUresult CUDAAPI gojet_cuMemPrefetchAsync(CUdeviceptr ptr, size_t count, CUdevice dev, CUstream stream) __asm__("cuMemPrefetchAsync");
CUresult CUDAAPI gojet_cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count)
	__asm__("cuGraphAddDependencies");
CUresult CUDAAPI gojet_cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count) __asm__("cuGraphGetEdges");

#ifdef __cplusplus
}
#endif

#undef cuCtxCreate
#undef cuMemAdvise
#undef cuMemPrefetchAsync
#undef cuGraphAddDependencies
#undef cuGraphGetEdges
#define cuCtxCreate cuCtxCreate_v2
#define cuMemAdvise gojet_cuMemAdvise
#define cuMemPrefetchAsync gojet_cuMemPrefetchAsync
#define cuGraphAddDependencies gojet_cuGraphAddDependencies
#define cuGraphGetEdges gojet_cuGraphGetEdges

#endif
#endif
