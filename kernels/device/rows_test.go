package device

import "testing"

func TestRowsFitRowAndAlignment(t *testing.T) {
	at := func(ptr uintptr, typ Type) Tensor { return Tensor{Ptr: ptr, Type: typ, Len: 1 << 20} }
	for _, c := range []struct {
		d, most int
		tensors []Tensor
		want    Rows
	}{
		{1536, 64, []Tensor{at(256, BF16), {}}, Rows{1536, 8, 32, 256}},
		{1536, 40, []Tensor{at(256, BF16), at(512, Float32)}, Rows{1536, 8, 64, 256}},
		{1536, 64, []Tensor{at(256, Float32)}, Rows{1536, 4, 32, 256}},
		{1536, 64, []Tensor{at(264, BF16)}, Rows{1536, 4, 32, 256}},
		{96, 64, []Tensor{at(256, BF16)}, Rows{96, 8, 16, 256}},
		{7, 64, []Tensor{at(256, BF16)}, Rows{7, 1, 8, 256}},
		{30000, 64, []Tensor{at(256, BF16)}, Rows{30000, 8, 512, 512}},
	} {
		if got := NewRows(c.d, c.most, c.tensors...); got != c.want {
			t.Errorf("rows of %d features: got %+v, want %+v", c.d, got, c.want)
		}
	}
	if g := NewRows(96, 64, at(256, BF16)).Grid(33); g.X != 3 || g.Threads != 256 {
		t.Errorf("33 rows of 96 features: grid %+v, want 3 blocks of 256", g)
	}
}
