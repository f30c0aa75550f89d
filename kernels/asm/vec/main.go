// Command vec writes the assembly of kernels/vec: loops over contiguous values, each for AVX2+FMA and for
// AVX-512.
//
//	cd kernels/asm && go run ./vec -dir ../vec
package main

import (
	"flag"
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	dir := flag.String("dir", "../vec", "folder of package vec")
	flag.Parse()
	files, err := generate()
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(*dir, name), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// generate returns the text of every generated file by its name.
func generate() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, s := range []set{avx2, avx512} {
		w := newWriter(s)
		w.arithmetic()
		w.transcendental()
		w.reductions()
		w.toBF16()
		w.fromBF16()
		file, err := w.Result()
		if err != nil {
			return nil, err
		}
		if err := pass.Compile.Execute(file); err != nil {
			return nil, err
		}
		cfg := printer.Config{Name: "kernels/asm/vec", Pkg: "vec"}
		asm, err := printer.NewGoAsm(cfg).Print(file)
		if err != nil {
			return nil, err
		}
		stubs, err := printer.NewStubs(cfg).Print(file)
		if err != nil {
			return nil, err
		}
		files[s.file+"_amd64.s"], files[s.file+"_amd64.go"] = asm, stubs
	}
	return files, nil
}
