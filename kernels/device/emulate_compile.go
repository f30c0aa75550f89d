//go:build emulate && !gpu && linux && cgo

package device

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed cuda
var emulatorHeaders embed.FS

// writeHeaders puts the headers where g++ finds them, in a folder named after their contents.
func (e *emulator) writeHeaders() error {
	e.texts = map[string]string{}
	sum := sha256.New()
	err := fs.WalkDir(emulatorHeaders, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := emulatorHeaders.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		e.texts[filepath.Base(path)] = string(text)
		return err
	})
	if err != nil {
		return err
	}
	e.headers = filepath.Join(e.folder, fmt.Sprintf("headers-%x", sum.Sum(nil)[:8]))
	if err := os.MkdirAll(e.headers, 0o777); err != nil {
		return err
	}
	for name, text := range e.texts {
		path := filepath.Join(e.headers, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := replace(path, text); err != nil {
			return err
		}
	}
	return nil
}

// included adds the headers that a text includes to found, and those that they include.
func (e *emulator) included(text string, found map[string]bool) {
	for line := range strings.Lines(text) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), `#include "`)
		if name, _, ok2 := strings.Cut(name, `"`); ok && ok2 && !found[name] {
			found[name] = true
			e.included(e.texts[name], found)
		}
	}
}

// replace writes a file so that another process never sees half of it.
func replace(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "*.tmp")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// compile builds a shared object of the kernel and loads it.
func (e *emulator) compile(p program) (handle, Resources, error) {
	var res Resources
	text := fmt.Sprintf("#line 1 %q\n%s\nGOJET_ENTRY(%s)\n", p.file, p.text, p.name)
	options := append(append([]string{}, e.options...), p.options...)
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %q\n%s", e.version, options, text)
	found := map[string]bool{}
	e.included(text, found)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(sum, "%s\n%s", name, e.texts[name])
	}
	object := filepath.Join(e.folder, fmt.Sprintf("%s-%x.so", p.name, sum.Sum(nil)[:12]))
	if _, err := os.Stat(object); err != nil {
		start := time.Now()
		made, err := os.CreateTemp(e.folder, "*.tmp")
		if err != nil {
			return 0, res, err
		}
		made.Close()
		defer os.Remove(made.Name())
		cmd := exec.Command(e.compiler, append(options, "-I"+e.headers, "-x", "c++", "-", "-o", made.Name(), "-lm")...)
		cmd.Stdin = strings.NewReader(text)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return 0, res, fmt.Errorf("g++: %w\n%s", err, said.Bytes())
		}
		if err := os.Rename(made.Name(), object); err != nil {
			return 0, res, err
		}
		res.Seconds = time.Since(start).Seconds()
	}
	f, err := loadFunction(object)
	if err != nil {
		return 0, res, err
	}
	e.functions = append(e.functions, f)
	return handle(len(e.functions)), res, nil
}
