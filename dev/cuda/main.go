// Command cuda makes the libraries that a GPU build is linked with: libcuda.a, libnvrtc.a and libcublasLt.a, from the
// headers of a CUDA toolkit.
//
//	go run ./dev/cuda -include /usr/local/cuda/include -out bin/cuda
//
// Each defines every function that its header names as a jump through a table, which package device fills from the real
// library when a device is opened. So a GPU build needs no library to be linked, and starts where there is no driver.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// library is one of NVIDIA's, and how its functions are recognised in its header.
type library struct {
	name    string
	header  string
	names   []*regexp.Regexp // the first group is a function's name
	missing int              // what a function returns that the real library lacks
	early   string           // a function that succeeds, doing nothing, while the library is not loaded
}

var libraries = []library{
	{
		name: "cuda", header: "cuda.h", missing: 801, // CUDA_ERROR_NOT_SUPPORTED
		names: []*regexp.Regexp{
			regexp.MustCompile(`\bCUDAAPI\s+(cu[A-Z]\w*)\s*\(`),
			// Renamed functions: the old names still exist, and gorgonia.org/cu uses some.
			regexp.MustCompile(`(?m)^\s*#\s*define\s+(cu[A-Z]\w*)\s+\w`),
			regexp.MustCompile(`(?m)^\s*#\s*define\s+cu[A-Z]\w*\s+(?:__CUDA_API_PT[DS][SZ]\()?(cu[A-Z]\w*)`),
		},
		early: "cuInit", // gorgonia.org/cu calls it when the program starts, and ends the program where it fails
	},
	{
		name: "nvrtc", header: "nvrtc.h", missing: 11, // NVRTC_ERROR_INTERNAL_ERROR
		names: []*regexp.Regexp{regexp.MustCompile(`(?m)^\s*(?:nvrtcResult|const char\s*\*)\s*(nvrtc[A-Z]\w*)\s*\(`)},
	},
	{
		name: "cublasLt", header: "cublasLt.h", missing: 15, // CUBLAS_STATUS_NOT_SUPPORTED
		names: []*regexp.Regexp{regexp.MustCompile(`\bCUBLASWINAPI\s+(cublasLt[A-Z]\w*)\s*\(`)},
	},
}

func main() {
	log.SetFlags(0)
	include := flag.String("include", "/usr/local/cuda/include", "folder of the CUDA headers")
	out := flag.String("out", "bin/cuda", "folder for the libraries")
	cc := flag.String("cc", "cc", "C compiler")
	ar := flag.String("ar", "ar", "archiver")
	flag.Parse()
	for _, l := range libraries {
		if err := l.make(*include, *out, *cc, *ar); err != nil {
			log.Fatal(err)
		}
	}
}

// make writes and compiles one library, unless it is there already from the same headers.
func (l *library) make(include, out, cc, ar string) error {
	text, err := os.ReadFile(filepath.Join(include, l.header))
	if err != nil {
		return fmt.Errorf("no CUDA toolkit here (set CUDA_HOME to where it is): %w", err)
	}
	names := l.functions(text)
	if len(names) == 0 {
		return fmt.Errorf("%s names no function", filepath.Join(include, l.header))
	}
	source := filepath.Join(out, l.name+".c")
	object := filepath.Join(out, l.name+".o")
	archive := filepath.Join(out, "lib"+l.name+".a")
	code := l.code(names)
	if old, err := os.ReadFile(source); err == nil && bytes.Equal(old, code) {
		if _, err := os.Stat(archive); err == nil {
			return nil
		}
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(source, code, 0o666); err != nil {
		return err
	}
	if err := os.RemoveAll(archive); err != nil {
		return err
	}
	for _, command := range [][]string{{cc, "-O2", "-fPIC", "-c", source, "-o", object}, {ar, "rcs", archive, object}} {
		run := exec.Command(command[0], command[1:]...)
		run.Stderr = os.Stderr
		if err := run.Run(); err != nil {
			return fmt.Errorf("%v: %w", command, err)
		}
	}
	fmt.Printf("%s: %d functions\n", archive, len(names))
	return nil
}

// functions lists what the header declares, sorted.
func (l *library) functions(header []byte) []string {
	var names []string
	for _, r := range l.names {
		for _, m := range r.FindAllSubmatch(header, -1) {
			names = append(names, string(m[1]))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// code is the library's source.
func (l *library) code(names []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "/* Functions of %s, each a jump through a table. Written by dev/cuda. */\n", l.header)
	fmt.Fprintf(&b, "#define COUNT %d\n#define MISSING %d\n", len(names), l.missing)
	b.WriteString(`
static int missing(void) { return MISSING; }
static int accept(void) { return 0; }

static const char *const names[COUNT] = {
`)
	for _, n := range names {
		fmt.Fprintf(&b, "\t%q,\n", n)
	}
	b.WriteString("};\n\n__attribute__((used)) static void *table[COUNT] = {\n\t[0 ... COUNT - 1] = (void *)missing,\n")
	if i := slices.Index(names, l.early); i >= 0 {
		fmt.Fprintf(&b, "\t[%d] = (void *)accept,\n", i)
	}
	fmt.Fprintf(&b, `};

/* gojet_bind_%s fills the table: find looks a name up in the loaded library. It returns how many functions were found. */
int gojet_bind_%[1]s(void *(*find)(void *library, const char *name), void *library)
{
	int found = 0;
	(void)accept;
	for (int i = 0; i < COUNT; i++) {
		void *f = find(library, names[i]);
		table[i] = f ? f : (void *)missing;
		found += f != 0;
	}
	return found;
}

#if defined(__x86_64__)
#define JUMP(name, i) ".globl " #name "\n.type " #name ",@function\n" #name ":\n\tjmp *table+8*" #i "(%%rip)\n"
#elif defined(__aarch64__)
#define JUMP(name, i) ".globl " #name "\n.type " #name ",%%function\n" #name ":\n" \
	"\tadrp x16, table+8*" #i "\n\tadd x16, x16, :lo12:table+8*" #i "\n\tldr x16, [x16]\n\tbr x16\n"
#else
#error "GPU builds are for x86-64 and arm64"
#endif

__asm__(".text\n"
`, l.name)
	for i, n := range names {
		fmt.Fprintf(&b, "\tJUMP(%s, %d)\n", n, i)
	}
	b.WriteString(");\n")
	return b.Bytes()
}
