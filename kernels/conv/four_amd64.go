package conv

import "golang.org/x/sys/cpu"

// dot4 is dot4Go, in vectors where the processor has them; the features after the last whole eight are left to
// Go.
func dot4(y, k, x0, x1, x2, x3 []float32) {
	n := len(y)
	k, x0, x1, x2, x3 = k[:4*n], x0[:n], x1[:n], x2[:n], x3[:n]
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		dot4AVX2(y, k, x0, x1, x2, x3)
		n &^= 7
		y, k, x0, x1, x2, x3 = y[n:], k[4*n:], x0[n:], x1[n:], x2[n:], x3[n:]
	}
	dot4Go(y, k, x0, x1, x2, x3)
}

// spread4 is spread4Go in the same way.
func spread4(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3 []float32) {
	n := len(g)
	k, dk, x0, x1, x2, x3 = k[:4*n], dk[:4*n], x0[:n], x1[:n], x2[:n], x3[:n]
	dx0, dx1, dx2, dx3 = dx0[:n], dx1[:n], dx2[:n], dx3[:n]
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		spread4AVX2(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3)
		n &^= 7
		g, k, dk, x0, x1, x2, x3 = g[n:], k[4*n:], dk[4*n:], x0[n:], x1[n:], x2[n:], x3[n:]
		dx0, dx1, dx2, dx3 = dx0[n:], dx1[n:], dx2[n:], dx3[n:]
	}
	spread4Go(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3)
}
