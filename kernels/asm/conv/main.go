// Command conv writes the assembly of kernels/conv: the dynamic convolution of four taps for AVX2+FMA. It lives
// from memory bandwidth, which vectors of eight reach, so there is no wider version.
//
//	cd kernels/asm && go run ./conv -dir ../conv
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	dir := flag.String("dir", "../conv", "folder of package conv")
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
	w := &writer{build.NewContext()}
	w.dot4()
	w.spread4()
	file, err := w.Result()
	if err != nil {
		return nil, err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return nil, err
	}
	cfg := printer.Config{Name: "kernels/asm/conv", Pkg: "conv"}
	asm, err := printer.NewGoAsm(cfg).Print(file)
	if err != nil {
		return nil, err
	}
	stubs, err := printer.NewStubs(cfg).Print(file)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"avx2_amd64.s": asm, "avx2_amd64.go": stubs}, nil
}

const (
	taps  = 4
	lanes = 8
)

type writer struct{ *build.Context }

// four is one vector for each tap.
type four [taps]reg.VecVirtual

func (w *writer) function(name, signature, doc string) {
	w.Function(name)
	w.Attributes(attr.NOSPLIT)
	w.Pragma("noescape")
	w.SignatureExpr("func" + signature)
	w.Doc(name + " " + doc)
}

func (w *writer) pointer(name string) reg.GPVirtual {
	p := w.GP64()
	w.Load(w.Param(name).Base(), p)
	return p
}

// rows loads the addresses of name0 to name3.
func (w *writer) rows(name string) (ps [taps]reg.GPVirtual) {
	for i := range ps {
		ps[i] = w.pointer(fmt.Sprint(name, i))
	}
	return ps
}

// loop writes the body for every whole vector of n features; i is four times the number of the first, which
// makes it the place in a kernel and, scaled by one, in bytes that of a feature.
func (w *writer) loop(n string, body func(i reg.GPVirtual)) {
	i, end := w.GP64(), w.GP64()
	w.Load(w.Param(n).Len(), end)
	w.ANDQ(operand.I8(-lanes), end)
	w.SHLQ(operand.U8(2), end)
	w.XORQ(i, i)
	w.Label("loop")
	w.CMPQ(i, end)
	w.JGE(operand.LabelRef("done"))
	body(i)
	w.ADDQ(operand.U8(taps*lanes), i)
	w.JMP(operand.LabelRef("loop"))
	w.Label("done")
	w.VZEROUPPER()
	w.RET()
}

// feature is where the features of the loop's vector are in a row, and filter where the four taps of feature d
// of it are in a kernel.
func feature(row, i reg.GPVirtual) operand.Mem {
	return operand.Mem{Base: row, Index: i, Scale: 1}
}

func filter(kernel, i reg.GPVirtual, d int) operand.Mem {
	return operand.Mem{Base: kernel, Index: i, Scale: 4, Disp: 4 * taps * d}
}

// transposed exchanges rows and columns of the 4×4 matrices in the low and in the high halves of m.
func (w *writer) transposed(m four) (t four) {
	var u four
	for i := range u {
		u[i], t[i] = w.YMM(), w.YMM()
	}
	w.VUNPCKLPS(m[1], m[0], u[0])
	w.VUNPCKHPS(m[1], m[0], u[1])
	w.VUNPCKLPS(m[3], m[2], u[2])
	w.VUNPCKHPS(m[3], m[2], u[3])
	w.VUNPCKLPD(u[2], u[0], t[0])
	w.VUNPCKHPD(u[2], u[0], t[1])
	w.VUNPCKLPD(u[3], u[1], t[2])
	w.VUNPCKHPD(u[3], u[1], t[3])
	return t
}

// filters loads the kernel of eight features as one vector for each tap: features 0 to 3 stand in the low
// halves, 4 to 7 in the high halves.
func (w *writer) filters(kernel, i reg.GPVirtual) four {
	var m four
	for d := range m {
		m[d] = w.YMM()
		w.VMOVUPS(filter(kernel, i, d), m[d].AsX())
		w.VINSERTF128(operand.U8(1), filter(kernel, i, d+taps), m[d], m[d])
	}
	return w.transposed(m)
}

func (w *writer) dot4() {
	w.function("dot4AVX2", "(y, k, x0, x1, x2, x3 []float32)",
		"sets y_d = Σ_w k_dw x_w,d for the whole eights of features.")
	y, k, x := w.pointer("y"), w.pointer("k"), w.rows("x")
	w.loop("y", func(i reg.GPVirtual) {
		f := w.filters(k, i)
		sum := w.YMM()
		w.VMULPS(feature(x[0], i), f[0], sum)
		for t := 1; t < taps; t++ {
			w.VFMADD231PS(feature(x[t], i), f[t], sum)
		}
		w.VMOVUPS(sum, feature(y, i))
	})
}

func (w *writer) spread4() {
	w.function("spread4AVX2", "(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3 []float32)",
		"sets dk_dw = g_d x_w,d and adds g_d k_dw to dx_w,d for the whole eights of features.")
	g, k, dk, x, dx := w.pointer("g"), w.pointer("k"), w.pointer("dk"), w.rows("x"), w.rows("dx")
	w.loop("g", func(i reg.GPVirtual) {
		f := w.filters(k, i)
		grad := w.YMM()
		w.VMOVUPS(feature(g, i), grad)
		var m four
		for t := range taps {
			m[t] = w.YMM()
			w.VMULPS(feature(x[t], i), grad, m[t])
			w.VFMADD213PS(feature(dx[t], i), grad, f[t])
			w.VMOVUPS(f[t], feature(dx[t], i))
		}
		for d, v := range w.transposed(m) {
			w.VMOVUPS(v.AsX(), filter(dk, i, d))
			w.VEXTRACTF128(operand.U8(1), v, filter(dk, i, d+taps))
		}
	})
}
