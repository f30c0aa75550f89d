package source

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gojet/gojet/checkpoints/safetensors"
)

// Tokens are token ids that were packed into batches beforehand, one batch a step.
type Tokens struct {
	Steps, Batch, Time int

	file   *safetensors.File
	tensor safetensors.Tensor
}

// OpenTokens opens the tensor of that name, [Steps, Batch, Time] of I64 or I32, in the safetensors file at path.
// Every id is checked once: it must lie from 0 to 2^31-1.
func OpenTokens(path, name string) (*Tokens, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := newTokens(f, name)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("source: %s: tensor %q: %w", path, name, err)
	}
	return t, nil
}

func newTokens(f *safetensors.File, name string) (*Tokens, error) {
	t, ok := f.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("is not there, found %q", f.Names())
	}
	if t.DType != safetensors.I64 && t.DType != safetensors.I32 {
		return nil, fmt.Errorf("is of type %v, want I64 or I32", t.DType)
	}
	if len(t.Shape) != 3 {
		return nil, fmt.Errorf("has the shape %v, want [steps, batch, time]", t.Shape)
	}
	x := &Tokens{Steps: t.Shape[0], Batch: t.Shape[1], Time: t.Shape[2], file: f, tensor: t}
	for i := range t.Len() {
		if v := x.id(i); v < 0 || v > math.MaxInt32 {
			row := i / x.Time
			return nil, fmt.Errorf("token [%d, %d, %d] is %d, want an id from 0 to %d", row/x.Batch, row%x.Batch, i%x.Time, v, math.MaxInt32)
		}
	}
	return x, nil
}

// id is the i-th element.
func (t *Tokens) id(i int) int64 {
	if t.tensor.DType == safetensors.I64 {
		return int64(binary.LittleEndian.Uint64(t.tensor.Data[8*i:]))
	}
	return int64(int32(binary.LittleEndian.Uint32(t.tensor.Data[4*i:])))
}

// At returns a new slice with the ids of one step, [Batch·Time].
func (t *Tokens) At(step int) []int32 {
	if step < 0 || step >= t.Steps {
		panic(fmt.Sprintf("source: step %d of tokens for %d steps", step, t.Steps))
	}
	n := t.Batch * t.Time
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(t.id(step*n + i))
	}
	return ids
}

// Close gives the file back; At may not be called after.
func (t *Tokens) Close() error { return t.file.Close() }
