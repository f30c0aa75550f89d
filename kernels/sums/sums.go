// Package sums adds up the rows of a matrix. Kernels that sum over tokens on a GPU leave one partial sum a block, and this
// adds those in a fixed order, so that results do not depend on which block came first.
package sums

import (
	"fmt"

	"github.com/gojet/gojet/kernels"
)

// Reference sets y [D] to the sum of the rows of x [R, D].
func Reference[T kernels.Float](y, x []T) {
	if len(y) == 0 || len(x)%len(y) != 0 {
		panic(fmt.Sprintf("sums: x has %d values, want whole rows of %d", len(x), len(y)))
	}
	for i := range y {
		var sum float64
		for at := i; at < len(x); at += len(y) {
			sum += float64(x[at])
		}
		y[i] = T(sum)
	}
}
