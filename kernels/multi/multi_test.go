package multi

import (
	"slices"
	"testing"

	"github.com/gojet/gojet/kernels/check"
	"github.com/gojet/gojet/kernels/device"
)

func TestTable(t *testing.T) {
	d := check.OpenDevice(t)
	x := d.New(device.Float32, 8)
	defer d.Free(x)
	entries := make([]Entry, 3)
	for i := range entries {
		entries[i].Pointer(x, device.Tensor{})
		entries[i].Long(-1)
		entries[i].Int(i)
		entries[i].Float(1)
	}
	table := New(d, entries, []int{5, 0, 4}, 2)
	defer table.Free()
	parts, rows := make([]int32, 12), make([]int32, 3*8)
	device.Download(d, parts, table.Parts)
	if err := device.Download(d, rows, table.Entries); err != nil {
		t.Fatal(err)
	}
	if want := []int32{0, 0, 0, 1, 0, 2, 1, 0, 2, 0, 2, 1}; table.Blocks != 6 || !slices.Equal(parts, want) {
		t.Errorf("%d blocks with parts %v, want 6 with %v", table.Blocks, parts, want)
	}
	if got, want := rows[10:16], []int32{0, 0, -1, -1, 1, 0x3f800000}; !slices.Equal(got, want) || uint32(rows[8]) != uint32(x.Ptr) {
		t.Errorf("the second entry ends in %x, want %x", got, want)
	}
}

func TestFlags(t *testing.T) {
	if got := Flags(true, false, true); got != 5 {
		t.Errorf("flags are %d, want 5", got)
	}
	if Wide(device.Tensor{Ptr: 32}, device.Tensor{Ptr: 8}) || !Wide(device.Tensor{Ptr: 32}, device.Tensor{}) {
		t.Error("16 bytes fit an address of 8, or not one of 32")
	}
}
