package conv

// dot4Go sets y_d = Σ_w k_dw x_w,d for the four taps w of a dynamic kernel k [len(y), 4].
func dot4Go(y, k, x0, x1, x2, x3 []float32) {
	n := len(y)
	x0, x1, x2, x3 = x0[:n], x1[:n], x2[:n], x3[:n]
	for d := range y {
		k := k[4*d:][:4]
		y[d] = x0[d]*k[0] + x1[d]*k[1] + x2[d]*k[2] + x3[d]*k[3]
	}
}

// spread4Go is its gradient: dk_dw = g_d x_w,d, and g_d k_dw is added to dx_w,d. Where a dx is dk, or two are
// one, their sums mean nothing and nobody reads them.
func spread4Go(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3 []float32) {
	n := len(g)
	x0, x1, x2, x3 = x0[:n], x1[:n], x2[:n], x3[:n]
	dx0, dx1, dx2, dx3 = dx0[:n], dx1[:n], dx2[:n], dx3[:n]
	for d, v := range g {
		k, dk := k[4*d:][:4], dk[4*d:][:4]
		dx0[d] += v * k[0]
		dx1[d] += v * k[1]
		dx2[d] += v * k[2]
		dx3[d] += v * k[3]
		dk[0], dk[1], dk[2], dk[3] = v*x0[d], v*x1[d], v*x2[d], v*x3[d]
	}
}
