package device

import "fmt"

// within reports what of a launch exceeds the device.
func (l *call) within(d *Info) error {
	threads := l.block[0] * l.block[1] * l.block[2]
	took := l.kernel.Resources
	switch {
	case threads <= 0 || threads > 1024:
		return fmt.Errorf("a block of %d threads; a device runs 1 to 1024", threads)
	case l.shared+took.Shared > d.SharedMax:
		return fmt.Errorf("a block needs %d bytes of shared memory (%d of them fixed); %s has %d", l.shared+took.Shared, took.Shared, d.Name, d.SharedMax)
	case took.Registers*threads > 64<<10:
		return fmt.Errorf("%d threads of %d registers; a block has %d", threads, took.Registers, 64<<10)
	case l.grid[0] > 1<<31-1 || l.grid[1] > 65535 || l.grid[2] > 65535:
		return fmt.Errorf("a grid of %v blocks; the most is [%d 65535 65535]", l.grid, 1<<31-1)
	case l.cluster > 1 && d.Major < 9:
		return fmt.Errorf("clusters of %d blocks; %s has none", l.cluster, d.Name)
	case l.cluster > 1 && l.grid[0]%l.cluster != 0:
		return fmt.Errorf("%d blocks in clusters of %d", l.grid[0], l.cluster)
	}
	return nil
}

// valid reports operands that do not make a product.
func (p *Product) valid() error {
	if p.A.Type != p.B.Type || p.A.Type != Float32 && p.A.Type != BF16 {
		return fmt.Errorf("%s by %s", p.A.Type, p.B.Type)
	}
	if p.C.Type != Float32 && p.C.Type != p.A.Type {
		return fmt.Errorf("a result of %s", p.C.Type)
	}
	for _, m := range []struct {
		name             string
		t                Tensor
		rows, cols       int
		transposed       bool
		ld, batch, apart int
	}{
		{"A", p.A, p.M, p.K, p.TransA, p.LDA, p.Batch, p.StrideA},
		{"B", p.B, p.K, p.N, p.TransB, p.LDB, p.Batch, p.StrideB},
		{"C", p.C, p.M, p.N, false, p.LDC, p.Batch, p.StrideC},
	} {
		rows, cols := m.rows, m.cols
		if m.transposed {
			rows, cols = cols, rows
		}
		if rows == 0 || cols == 0 {
			continue
		}
		if m.ld < cols {
			return fmt.Errorf("rows of %s are %d elements apart and %d long", m.name, m.ld, cols)
		}
		if need := (m.batch-1)*m.apart + (rows-1)*m.ld + cols; m.t.Len < need {
			return fmt.Errorf("%s has %d elements, want %d", m.name, m.t.Len, need)
		}
	}
	if !p.Bias.None() && p.Bias.Len < p.N {
		return fmt.Errorf("the bias has %d elements, want %d", p.Bias.Len, p.N)
	}
	if !p.Bias.None() && p.Bias.Type != Float32 && p.Bias.Type != p.C.Type {
		return fmt.Errorf("a bias of %s on %s", p.Bias.Type, p.C.Type)
	}
	return nil
}
