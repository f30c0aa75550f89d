//go:build !amd64

package conv

func dot4(y, k, x0, x1, x2, x3 []float32) { dot4Go(y, k, x0, x1, x2, x3) }

func spread4(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3 []float32) {
	spread4Go(g, k, dk, x0, x1, x2, x3, dx0, dx1, dx2, dx3)
}
