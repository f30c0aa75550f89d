package attention

import (
	_ "embed"

	"github.com/gojet/gojet/kernels/device"
)

//go:embed attention_wgmma.cu
var wgmmaText string

// Shapes of attention_wgmma.cu.
const (
	wgmmaGroups = 2   // warpgroups with 64 query rows each
	wgmmaKeys   = 128 // keys of a tile
	wgmmaPhases = 2   // tiles of keys under way
)

// hopper says whether attention_wgmma.cu can run.
func (a *DeviceForwardArgs) hopper(q *device.Queue) bool {
	return !a.portable && q.Info().Major == 9 && a.Q.Type == device.BF16 && (a.Window == 0 || !a.cached()) && (a.Dim == 64 || a.Dim == 128)
}

// wgmma runs attention_wgmma.cu, whose blocks share a counter of tiles, which is zero before.
func (a *DeviceForwardArgs) wgmma(q *device.Queue, counter device.Tensor) {
	const rows = 64 * wgmmaGroups
	n, s := a.tokens(), a.sequences()
	k := a.kernel(q, a.Q.Type, a.cached(), "attention_wgmma", wgmmaText, device.Define{Name: "ROWS", Value: rows},
		device.Define{Name: "GROUPS", Value: wgmmaGroups}, device.Define{Name: "KEYS", Value: wgmmaKeys})
	describe := func(t device.Tensor, width, box int) device.Descriptor {
		return q.Describe(device.TensorMap{T: t, Rows: t.Len / width, Cols: width, BoxRows: box, BoxCols: 64, Swizzle: 128})
	}
	keys, values := describe(a.K, a.stride(), wgmmaKeys), describe(a.V, a.stride(), wgmmaKeys)
	oldKeys, oldValues := keys, values
	if a.cached() {
		oldKeys, oldValues = describe(a.KCache, a.stride(), wgmmaKeys), describe(a.VCache, a.stride(), wgmmaKeys)
	}
	q.Launch(k, device.Grid{
		X:       min(q.Info().Processors, (n/rows+s)*a.Heads),
		Threads: 128 * (wgmmaGroups + 1),
		Shared:  2*rows*a.Dim*2 + 2*wgmmaPhases*wgmmaKeys*a.Dim*2 + 256 + 512*wgmmaGroups,
	}, a.O, a.LSE, describe(a.Q, a.width(), rows), keys, values, oldKeys, oldValues, a.Cap,
		a.Seqs, s, n, a.scale(), counter)
}
