//go:build !amd64

package matmul

func best() engine { return portable }

func (engine) tile(rows, _, k int, a []float32, rs, ks int, b []float32, bs int, c []float32, cs, cols int, alpha, beta float32) {
	tileGo(rows, k, a, rs, ks, b, bs, c, cs, cols, alpha, beta)
}

func (engine) transpose(dst []float32, ds int, src operand, ss, blocks int) {
	transposeGo(dst, ds, src, ss, 8, 8*blocks)
}

func (engine) copyStrip(dst []float32, ds int, src operand, ss, rows, cols int) {
	copyStripGo(dst, ds, src, ss, rows, cols)
}

func (engine) rows(m, rows, k int, w []float32, ws int, x []float32, xs int, y []float32, ys, ym int, alpha, beta float32) {
	rowsGo(m, rows, k, w, ws, x, xs, y, ys, ym, alpha, beta)
}

func (e engine) columns(m, k int, w operand, ws, _ int, x []float32, xs int, c []float32, cs int, alpha, beta float32) {
	columnsGo(m, e.lanes(), k, w, ws, x, xs, c, cs, alpha, beta)
}
