package autograd

import "github.com/gojet/gojet/kernels/device"

// Arena is the memory of the values that plans compute in between, for several executors of which one runs at a time: what a
// run leaves, its outputs too, holds until another of them runs.
type Arena struct {
	machine *Machine
	host    []uint64
	blocks  []device.Tensor // on a device; the last is the largest
}

// NewArena makes an arena without memory: executors take what they need.
func (m *Machine) NewArena() *Arena { return &Arena{machine: m} }

// onHost returns room for so many bytes. Executors keep what they were given: a larger block does not replace a smaller one
// that is in use.
func (a *Arena) onHost(bytes int64) []uint64 {
	if n := int(bytes / 8); n > len(a.host) {
		a.host = make([]uint64, n)
	}
	return a.host
}

// onDevice is onHost on a device.
func (a *Arena) onDevice(bytes int64) device.Tensor {
	n := int(bytes / 4)
	if k := len(a.blocks); k > 0 && a.blocks[k-1].Len >= n {
		return a.blocks[k-1]
	}
	t := a.machine.Device.New(device.Float32, n)
	a.blocks = append(a.blocks, t)
	return t
}

// Close gives the memory back. The executors must be closed.
func (a *Arena) Close() {
	for _, t := range a.blocks {
		a.machine.Device.Free(t)
	}
	a.host, a.blocks = nil, nil
}
