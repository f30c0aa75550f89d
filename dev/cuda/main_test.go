package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const cudaHeader = `
#define CUDA_VERSION 13000
#define cuMemAlloc cuMemAlloc_v2
#define cuMemPrefetchAsync                  __CUDA_API_PTSZ(cuMemPrefetchAsync_v2)
typedef void (CUDA_CB *CUstreamCallback)(CUstream hStream);
CUresult CUDAAPI cuInit(unsigned int Flags);
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *dptr, size_t bytesize);
/* see ::cuNothing */
`

func TestFunctions(t *testing.T) {
	for i, c := range []struct {
		header string
		want   []string
	}{
		{cudaHeader, []string{"cuInit", "cuMemAlloc", "cuMemAlloc_v2", "cuMemPrefetchAsync", "cuMemPrefetchAsync_v2"}},
		{"const char *nvrtcGetErrorString(nvrtcResult result);\nnvrtcResult nvrtcVersion(int *major, int *minor);\n * nvrtcNothing()\n", []string{"nvrtcGetErrorString", "nvrtcVersion"}},
		{"size_t CUBLASWINAPI cublasLtGetVersion(void);\nstatic inline cublasStatus_t cublasLtInline(void);", []string{"cublasLtGetVersion"}},
	} {
		if got := libraries[i].functions([]byte(c.header)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", libraries[i].header, got, c.want)
		}
	}
}

// A program linked with the library starts without the real one, and calls it once it is bound.
func TestLibraryJumps(t *testing.T) {
	for _, tool := range []string{"cc", "ar"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("cuda.h", cudaHeader)
	if err := libraries[0].make(dir, dir, "cc", "ar"); err != nil {
		t.Fatal(err)
	}
	source := write("program.c", `
#include <stdio.h>
#include <string.h>
int cuInit(unsigned), cuMemAlloc_v2(int *, long);
int gojet_bind_cuda(void *(*find)(void *, const char *), void *library);
static int alloc(int *p, long n) { *p = (int)n; return 7; }
static void *find(void *library, const char *name) { return strcmp(name, "cuMemAlloc_v2") ? 0 : library; }
int main(void)
{
	int x = 0, before = cuInit(0), unbound = cuMemAlloc_v2(&x, 5);
	int found = gojet_bind_cuda(find, (void *)alloc), bound = cuMemAlloc_v2(&x, 5);
	printf("%d %d %d %d %d %d\n", before, unbound, found, bound, x, cuInit(0));
	return 0;
}
`)
	program := filepath.Join(dir, "program")
	if out, err := exec.Command("cc", "-o", program, source, "-L"+dir, "-lcuda").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "0 801 1 7 5 801" {
		t.Errorf("%q, %v", got, err)
	}
}
