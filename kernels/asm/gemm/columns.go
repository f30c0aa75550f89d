package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns writes the product of m vectors with as many rows of weights as there are lanes. The weights are turned in
// registers: each lane sums one column of C, in the order of the micro-kernels of tile.
//
//	C[i, j] = alpha · Σ_x X[i, x] · W[j, x] + beta · C[i, j],  i < m, j < lanes
//
// with X[i, x] at x + i·xs + x, W[j, x] at w + j·ws + x and C[i, j] at c + i·cs + j, and k > 0 a multiple of a vector's
// weights. C is not read where beta is 0. As much as is read is asked for meanwhile, from ahead elements
// further on: in the order of memory, which serves that best.
func (g writer) columns(s set, m int, half bool) {
	name := s.columnsName(half, m)
	g.function(name, "func("+columnsParams(half)+")")
	g.Doc(fmt.Sprintf("%s multiplies %d vectors of k values with %d rows of weights.", name, m, s.lanes))
	t := tile{m, 1}
	c := columnWriter{writer: g, set: s, half: half, size: 4, acc: g.sums(s, t)}
	if half {
		c.size = 2
	}
	c.point()
	k := g.param("k")
	g.Label("loop")
	for part := range line / (4 * s.lanes) {
		c.products(part)
	}
	for _, p := range c.w {
		g.ADDQ(Imm(line), p)
	}
	for _, p := range c.x {
		g.ADDQ(U32(line/c.size*4), p)
	}
	g.SUBQ(Imm(uint64(line/c.size)), k)
	g.JNZ(LabelRef("loop"))
	g.storeWhole(s, t, c.acc)
	g.RET()
}

// line is the bytes of a row that one turn of the loop takes, a line of the cache.
const line = 64

// columnWriter is the state of a loop over columns.
type columnWriter struct {
	writer
	set     set
	half    bool
	size    int             // bytes of a weight
	w       []reg.GPVirtual // where every fourth row has got to
	ws, ws3 reg.GPVirtual   // distances of one row and of three rows
	later   reg.GPVirtual   // what to ask for
	x       []reg.GPVirtual // where every third vector has got to
	xs      reg.GPVirtual
	acc     [][]reg.VecVirtual
}

// point sets up the pointers.
func (c *columnWriter) point() {
	shift := uint64(bits.TrailingZeros(uint(c.size)))
	c.w = []reg.GPVirtual{c.param("w")}
	c.ws, c.ws3, c.later = c.bytes("ws", shift), c.GP64(), c.bytes("ahead", shift)
	c.ADDQ(c.w[0], c.later)
	c.LEAQ(Mem{Base: c.ws, Index: c.ws, Scale: 2}, c.ws3)
	for len(c.w) < c.set.lanes/4 {
		p := c.GP64()
		c.LEAQ(Mem{Base: c.w[len(c.w)-1], Index: c.ws, Scale: 4}, p)
		c.w = append(c.w, p)
	}
	c.x, c.xs = []reg.GPVirtual{c.param("x")}, c.bytes("xs", 2)
	for i := 3; i < len(c.acc); i += 3 {
		p := c.GP64()
		c.LEAQ(Mem{Base: c.x[len(c.x)-1], Index: c.xs, Scale: 2}, p)
		c.ADDQ(c.xs, p)
		c.x = append(c.x, p)
	}
}

// four addresses four rows from p on.
func (c *columnWriter) four(p reg.GPVirtual, disp int) []Mem {
	return []Mem{{Base: p, Disp: disp}, {Base: p, Index: c.ws, Scale: 1, Disp: disp},
		{Base: p, Index: c.ws, Scale: 2, Disp: disp}, {Base: p, Index: c.ws3, Scale: 1, Disp: disp}}
}

// products adds the products of one part of the lines.
func (c *columnWriter) products(part int) {
	each := 4 / c.size // weights of a word
	for j, word := range c.turned(part) {
		x := (part*c.set.lanes + j) * each
		if !c.half {
			c.add(word, x)
			continue
		}
		low := c.vector(c.set)
		c.VPSLLD(Imm(16), word, low)
		c.add(low, x)
		if c.set.lanes == 16 {
			c.VPANDD_BCST(c.upper, word, word)
		} else {
			c.VPAND(c.upper, word, word)
		}
		c.add(word, x+1)
	}
}

// turned loads a part of the lines of the rows and returns their words as columns. The lines due later are
// asked for with the first part.
func (c *columnWriter) turned(part int) []reg.VecVirtual {
	var rows []reg.VecVirtual
	for _, p := range c.w {
		for _, m := range c.four(p, 4*part*c.set.lanes) {
			row := c.vector(c.set)
			c.VMOVUPS(m, row)
			rows = append(rows, row)
		}
	}
	if part == 0 {
		for i := range c.set.lanes {
			c.PREFETCHT1(Mem{Base: c.later, Disp: i * line})
		}
		c.ADDQ(U32(c.set.lanes*line), c.later)
	}
	if c.set.lanes == 8 {
		return c.transposed(rows)
	}
	return c.transposed16(rows)
}

// add adds the products of the weights, x values into the lines, to the sums.
func (c *columnWriter) add(weights reg.VecVirtual, x int) {
	for i := range c.acc {
		value := Mem{Base: c.x[i/3], Disp: 4 * x}
		if i%3 > 0 {
			value.Index, value.Scale = c.xs, uint8(i%3)
		}
		if c.set.lanes == 16 {
			c.VFMADD231PS_BCST(value, weights, c.acc[i][0])
			continue
		}
		wide := c.vector(c.set)
		c.VBROADCASTSS(value, wide)
		c.VFMADD231PS(wide, weights, c.acc[i][0])
	}
}

// storeWhole writes alpha·acc, plus beta·C where beta is not 0, to whole vectors of C.
func (g writer) storeWhole(s set, t tile, acc [][]reg.VecVirtual) {
	c, cs := g.param("c"), g.bytes("cs", 2)
	alpha, beta, bits := g.scales(s)
	g.TESTL(bits, bits)
	g.JZ(LabelRef("new"))
	g.block(s, t, acc, c, cs, alpha, beta, nil)
	g.JMP(LabelRef("done"))
	g.Label("new")
	g.block(s, t, acc, c, cs, alpha, nil, nil)
	g.Label("done")
	g.VZEROUPPER()
}

func columnsParams(half bool) string {
	return "k int, w *" + word(half) + ", ws, ahead int, x *float32, xs int, c *float32, cs int, alpha, beta float32"
}

func (s set) columnsName(half bool, m int) string {
	name := "columns"
	if half {
		name = "columnsBF16_"
	}
	return fmt.Sprintf("%s%sx%d", name, s.name, m)
}
