package matmul

import "golang.org/x/sys/cpu"

// best is the fastest engine that this machine can run.
func best() engine {
	x := &cpu.X86
	switch {
	case !x.HasAVX2 || !x.HasFMA:
		return portable
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasBMI2:
		return avx512
	}
	return avx2
}

// tile computes one block of C; tileGo says what the arguments mean. The assembly reads all lanes of the last
// vector of B's columns.
func (e engine) tile(rows, vectors, k int, a []float32, rs, ks int, b []float32, bs int, c []float32, cs, cols int, alpha, beta float32) {
	switch e {
	case avx512:
		tile512(rows, vectors, k, &a[0], rs, ks, &b[0], bs, &c[0], cs, cols, alpha, beta)
	case avx2:
		tile256(rows, vectors, k, &a[0], rs, ks, &b[0], bs, &c[0], cs, cols, alpha, beta)
	default:
		tileGo(rows, k, a, rs, ks, b, bs, c, cs, cols, alpha, beta)
	}
}

// transpose packs eight rows of 8·blocks elements side by side: dst[x·ds+i] = src[i·ss+x].
func (e engine) transpose(dst []float32, ds int, src operand, ss, blocks int) {
	switch {
	case e == portable:
		transposeGo(dst, ds, src, ss, 8, 8*blocks)
	case src.half != nil:
		transposeBF16(&dst[0], ds, (*uint16)(&src.half[0]), ss, blocks)
	default:
		transpose(&dst[0], ds, &src.full[0], ss, blocks)
	}
}

// copyStrip packs rows of cols ≤ 16 columns and pads them to 16 with zeros: dst[x·ds+j] = src[x·ss+j].
func (e engine) copyStrip(dst []float32, ds int, src operand, ss, rows, cols int) {
	switch {
	case e == portable || src.half != nil && cols < 16:
		copyStripGo(dst, ds, src, ss, rows, cols)
	case src.half != nil:
		copyStripBF16(&dst[0], ds, (*uint16)(&src.half[0]), ss, rows)
	default:
		copyStrip(&dst[0], ds, &src.full[0], ss, rows, cols)
	}
}

// rows multiplies each row of the matrix w with m ≤ maxInputs vectors; rowsGo says what the arguments mean.
func (e engine) rows(m, rows, k int, w []float32, ws int, x []float32, xs int, y []float32, ys, ym int, alpha, beta float32) {
	switch e {
	case avx512:
		rows512(m, rows, k, &w[0], ws, &x[0], xs, &y[0], ys, ym, alpha, beta)
	case avx2:
		rows256(m, rows, k, &w[0], ws, &x[0], xs, &y[0], ys, ym, alpha, beta)
	default:
		rowsGo(m, rows, k, w, ws, x, xs, y, ys, ym, alpha, beta)
	}
}

// columns multiplies m ≤ maxColumns vectors with as many rows of w as there are lanes; columnsGo says what the arguments
// mean. The assembly wants k to be a multiple of turnStep, and asks meanwhile for as many weights from ahead values on.
func (e engine) columns(m, k int, w operand, ws, ahead int, x []float32, xs int, c []float32, cs int, alpha, beta float32) {
	switch {
	case e == portable:
		columnsGo(m, e.lanes(), k, w, ws, x, xs, c, cs, alpha, beta)
	case e == avx512 && w.half != nil:
		columnsBF16_512(m, k, (*uint16)(&w.half[0]), ws, ahead, &x[0], xs, &c[0], cs, alpha, beta)
	case e == avx512:
		columns512(m, k, &w.full[0], ws, ahead, &x[0], xs, &c[0], cs, alpha, beta)
	case w.half != nil:
		columnsBF16_256(m, k, (*uint16)(&w.half[0]), ws, ahead, &x[0], xs, &c[0], cs, alpha, beta)
	default:
		columns256(m, k, &w.full[0], ws, ahead, &x[0], xs, &c[0], cs, alpha, beta)
	}
}
