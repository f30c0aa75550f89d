// Package kernels is the floor of the house: arithmetic on buffers, one folder per operation.
//
// Every folder holds the operation's plain reference (generic over float32 and float64, straight from
// the formula), its fast CPU version of the same signature, its kernels for a GPU (Device…, with tensors of
// package device for slices), forward and backward, and their tests and benchmarks. Nothing here knows of graphs.
//
// Conventions, the same in every folder:
//
//   - Buffers are flat, row-major slices. Tokens of all sequences stand one after the other, so an
//     activation is [N, D], N tokens by D features; package packed says where sequences begin.
//   - Results are overwritten in full, never added to, and may hold anything on entry.
//   - A nil result slice is not wanted and is not computed.
//   - Inputs are never written, except state that the operation is documented to advance in place.
//   - Results do not depend on the number of threads: work is split by position, never by thread, and
//     partial sums are added in a fixed order.
//   - Lengths that do not fit are programmer errors and panic with the name, the length and the want.
//
// Letters: N tokens, S sequences, T tokens of one sequence, H heads, K key dim, V value dim, D features,
// W taps of a convolution.
package kernels

// Float is what references compute in: float32 like the fast versions, float64 to judge both.
type Float interface{ float32 | float64 }
