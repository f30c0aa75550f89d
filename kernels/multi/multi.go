// Package multi lays out work on many tensors so that one launch on a device does it all: a table says where each tensor
// is and what is done with it, and a list of parts tells each block which stretch of which tensor is its own.
package multi

import (
	"encoding/binary"
	"math"

	"github.com/gojet/gojet/kernels/device"
)

// Entry is a row of a table as a kernel's struct has it, made of 8-byte fields before 4-byte ones.
type Entry struct{ bytes []byte }

// Pointer appends the address of a tensor, null for none.
func (e *Entry) Pointer(ts ...device.Tensor) {
	for _, t := range ts {
		e.bytes = binary.LittleEndian.AppendUint64(e.bytes, uint64(t.Ptr))
	}
}

// Long appends a long long.
func (e *Entry) Long(n int) { e.bytes = binary.LittleEndian.AppendUint64(e.bytes, uint64(n)) }

// Int appends an int.
func (e *Entry) Int(n int) { e.bytes = binary.LittleEndian.AppendUint32(e.bytes, uint32(n)) }

// Float appends floats.
func (e *Entry) Float(xs ...float64) {
	for _, x := range xs {
		e.bytes = binary.LittleEndian.AppendUint32(e.bytes, math.Float32bits(float32(x)))
	}
}

// Table is in the memory of a device.
type Table struct {
	d       *device.Device
	Entries device.Tensor
	Parts   device.Tensor // int32 [Blocks, 2]: the entry, and the number of the part in its tensor
	Blocks  int
}

// New uploads entries on tensors of these lengths, each cut into parts of size elements; an empty tensor has one part,
// of nothing.
func New(d *device.Device, entries []Entry, lengths []int, size int) *Table {
	var bytes []byte
	var parts []int32
	for i, e := range entries {
		bytes = append(bytes, e.bytes...)
		for k := range max(1, (lengths[i]+size-1)/size) {
			parts = append(parts, int32(i), int32(k))
		}
	}
	t := &Table{d: d, Entries: d.New(device.Int32, len(bytes)/4), Parts: d.New(device.Int32, len(parts)), Blocks: len(parts) / 2}
	if d.Err() == nil {
		device.Upload(d, t.Entries, bytes)
		device.Upload(d, t.Parts, parts)
	}
	return t
}

// Free gives the memory back.
func (t *Table) Free() {
	t.d.Free(t.Entries)
	t.d.Free(t.Parts)
}

// Wide reports whether all tensors begin at an address that accesses of 16 bytes can use.
func Wide(ts ...device.Tensor) bool {
	for _, t := range ts {
		if t.Ptr%16 != 0 {
			return false
		}
	}
	return true
}

// Flags packs answers into the bits of an int, the first in the lowest.
func Flags(bits ...bool) int {
	n := 0
	for i, b := range bits {
		if b {
			n |= 1 << i
		}
	}
	return n
}
