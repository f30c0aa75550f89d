package matmul

// tileGo is the micro-kernel in plain Go:
//
//	C[i, j] = alpha · Σ_x A[i, x] · B[x, j] + beta · C[i, j],   i < rows, j < cols
//
// with A[i, x] at a[i·rs + x·ks], B[x, j] at b[x·bs + j], C[i, j] at c[i·cs + j] and k > 0. Where beta is 0, C is
// not read.
func tileGo(rows, k int, a []float32, rs, ks int, b []float32, bs int, c []float32, cs, cols int, alpha, beta float32) {
	for i := range rows {
		out := c[i*cs : i*cs+cols]
		j := 0
		for ; j+4 <= cols; j += 4 {
			var s0, s1, s2, s3 float32
			for x := range k {
				v := a[i*rs+x*ks]
				r := b[x*bs+j : x*bs+j+4]
				s0 += v * r[0]
				s1 += v * r[1]
				s2 += v * r[2]
				s3 += v * r[3]
			}
			put(out, j, alpha*s0, beta)
			put(out, j+1, alpha*s1, beta)
			put(out, j+2, alpha*s2, beta)
			put(out, j+3, alpha*s3, beta)
		}
		for ; j < cols; j++ {
			var s float32
			for x := range k {
				s += a[i*rs+x*ks] * b[x*bs+j]
			}
			put(out, j, alpha*s, beta)
		}
	}
}

func put(c []float32, i int, v, beta float32) {
	if beta != 0 {
		v += beta * c[i]
	}
	c[i] = v
}

// transposeGo packs rows of k elements side by side: dst[x·ds+i] = src[i·ss+x].
func transposeGo(dst []float32, ds int, src operand, ss, rows, k int) {
	for i := range rows {
		for x := range k {
			dst[x*ds+i] = src.at(i*ss + x)
		}
	}
}

// copyStripGo packs rows of cols ≤ 16 columns and pads them to 16 with zeros.
func copyStripGo(dst []float32, ds int, src operand, ss, rows, cols int) {
	for x := range rows {
		row := dst[x*ds : x*ds+16]
		for j := range cols {
			row[j] = src.at(x*ss + j)
		}
		clear(row[cols:])
	}
}

// rowsGo multiplies each row of w with m vectors:
//
//	y[r·ys + i·ym] = alpha · Σ_x w[r·ws + x] · x[i·xs + x] + beta · y[r·ys + i·ym],   r < rows, i < m
//
// Where beta is 0, y is not read.
func rowsGo(m, rows, k int, w []float32, ws int, x []float32, xs int, y []float32, ys, ym int, alpha, beta float32) {
	for r := range rows {
		for i := range m {
			in := x[i*xs : i*xs+k]
			var s0, s1, s2, s3 float32
			at := r * ws
			j := 0
			for ; j+4 <= k; j += 4 {
				s0 += w[at+j] * in[j]
				s1 += w[at+j+1] * in[j+1]
				s2 += w[at+j+2] * in[j+2]
				s3 += w[at+j+3] * in[j+3]
			}
			for ; j < k; j++ {
				s0 += w[at+j] * in[j]
			}
			put(y, r*ys+i*ym, alpha*(s0+s1+(s2+s3)), beta)
		}
	}
}

// columnsGo multiplies m vectors with some rows of weights, each sum in order as tileGo has it:
//
//	c[i·cs + j] = alpha · Σ_x x[i·xs + x] · w[j·ws + x] + beta · c[i·cs + j],   i < m, j < rows
//
// with rows a multiple of four. Where beta is 0, c is not read.
func columnsGo(m, rows, k int, w operand, ws int, x []float32, xs int, c []float32, cs int, alpha, beta float32) {
	for i := range m {
		in := x[i*xs : i*xs+k]
		for j := 0; j < rows; j += 4 {
			var s0, s1, s2, s3 float32
			at := j * ws
			for x, v := range in {
				s0 += v * w.at(at+x)
				s1 += v * w.at(at+ws+x)
				s2 += v * w.at(at+2*ws+x)
				s3 += v * w.at(at+3*ws+x)
			}
			put(c, i*cs+j, alpha*s0, beta)
			put(c, i*cs+j+1, alpha*s1, beta)
			put(c, i*cs+j+2, alpha*s2, beta)
			put(c, i*cs+j+3, alpha*s3, beta)
		}
	}
}
