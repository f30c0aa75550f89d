package matmul

// engine is an instruction set to compute with.
type engine uint8

const (
	portable engine = iota
	avx2            // AVX2 and FMA
	avx512          // AVX-512 F, BW, DQ and VL
)

// lanes is the number of floats in a vector of the engine.
func (e engine) lanes() int {
	if e == avx2 {
		return 8
	}
	return 16
}

// maxRows is the number of rows of C that the largest micro-kernel keeps in registers.
func (e engine) maxRows() int {
	switch e {
	case avx512:
		return 14
	case avx2:
		return 6
	}
	return 4
}

// vectors is how many vectors of columns one micro-kernel takes of a product of m rows where left columns are
// left. Few rows leave registers for more columns.
func (e engine) vectors(m, left int) int {
	most := 2
	switch {
	case e == portable:
		return 1
	case e == avx512 && m <= 3 || e == avx2 && m == 1:
		most = 8
	case e == avx512 && m <= 6 || e == avx2 && m == 2:
		most = 4
	}
	if left >= most*e.lanes() {
		return most
	}
	if left > e.lanes() {
		return 2
	}
	return 1
}

// maxColumns is the number of vectors that one pass of columns multiplies.
func (e engine) maxColumns() int {
	if e == avx2 {
		return 4
	}
	return 8
}

// turnStep is how many weights of the type of w columns takes of a row at a time: a line of the cache.
func (e engine) turnStep(w operand) int {
	switch {
	case e == portable:
		return 1
	case w.half != nil:
		return 32
	}
	return 16
}

// maxInputs is the number of vectors that one pass of rows multiplies.
func (e engine) maxInputs() int {
	if e == avx2 {
		return 2
	}
	return 4
}
