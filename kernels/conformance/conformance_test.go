package conformance

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/gojet/gojet/kernels/device"
)

// TestComplete finds every package of kernels with a battery or benchmarks, and asks that they are listed.
func TestComplete(t *testing.T) {
	listed := map[string]bool{}
	note := func(f any) { listed[runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()] = true }
	for _, f := range batteries() {
		note(f)
	}
	for _, f := range largeBatteries() {
		note(f)
	}
	for _, f := range benchmarks() {
		note(f)
	}
	files, err := filepath.Glob(filepath.Join("..", "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		folder := filepath.Base(filepath.Dir(path))
		if strings.HasSuffix(path, "_test.go") || folder == "conformance" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || fn.Name.Name != "Conformance" && fn.Name.Name != "Large" && fn.Name.Name != "Benchmarks" || folder == "check" {
				continue
			}
			found++
			if name := "github.com/gojet/gojet/kernels/" + folder + "." + fn.Name.Name; !listed[name] {
				t.Errorf("%s is not listed", name)
			}
		}
	}
	if found != len(listed) {
		t.Errorf("%d functions found, %d listed", found, len(listed))
	}
}

// TestBenchmarksRehearsed: with a compiler for GPUs and none to run on, the kernels of every row compile, and their launches keep
// within the limits.
func TestBenchmarksRehearsed(t *testing.T) {
	names := map[string]bool{}
	for _, b := range Benchmarks() {
		if name := b.Name + ", " + b.Shape; names[name] {
			t.Errorf("there are two rows %s", name)
		} else {
			names[name] = true
		}
		if b.Goal > 1.05*b.PeerMS || b.FLOPs == 0 && b.Bytes == 0 {
			t.Errorf("%s: %v ms is the goal, the peer takes %v; %g operations, %g bytes", b.Name, b.Goal, b.PeerMS, b.FLOPs, b.Bytes)
		}
	}
	if d, err := device.Open(0); err == nil && !d.Info().Emulated {
		d.Close()
		t.Skip("there is a GPU: gojet bench measures on it")
	}
	d, err := device.Rehearse(9, 0)
	if errors.Is(err, device.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, b := range Benchmarks() {
		run, cleanup := b.Setup(d)
		run(d)
		cleanup()
		if err := d.Err(); err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
	}
	for _, k := range d.Kernels() {
		r := k.Resources
		t.Logf("%v: %d registers, %d bytes of local memory, %d of shared memory fixed", k, r.Registers, r.Local, r.Shared)
	}
}
