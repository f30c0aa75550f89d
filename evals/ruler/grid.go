package ruler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// GridConfig describes needles at several depths in haystacks of several lengths.
type GridConfig struct {
	Task    string // niah_single_2, or another with a single needle
	Lengths []int
	Depths  []float64 // hundredths
	Samples int       // of each cell
	Seed    uint64
}

// DefaultGrid is eleven depths and the lengths that are given.
func DefaultGrid(lengths ...int) GridConfig {
	c := GridConfig{Task: "niah_single_2", Lengths: lengths, Samples: 5}
	for d := range 11 {
		c.Depths = append(c.Depths, float64(10*d))
	}
	return c
}

// Generate makes the prompts of all cells, length by length.
func (c GridConfig) Generate(ctx context.Context, enc Encoder) ([]Sample, error) {
	if len(c.Lengths) == 0 || len(c.Depths) == 0 {
		return nil, fmt.Errorf("ruler: a grid of %d lengths and %d depths, want at least one of each", len(c.Lengths), len(c.Depths))
	}
	var all []Sample
	for _, length := range c.Lengths {
		for i, depth := range c.Depths {
			// Every cell has needles of its own.
			cell := Config{Task: c.Task, Length: length, Samples: c.Samples, Seed: c.Seed + uint64(i)<<32, Depth: &depth}
			samples, err := Generate(ctx, cell, enc)
			if err != nil {
				return nil, err
			}
			all = append(all, samples...)
		}
	}
	return all, nil
}

// Point is the score of one sample.
type Point struct {
	Length int
	Depth  float64
	Score  float64
}

// Grid is mean scores by depth and length: Scores[d][l], NaN where there is none.
type Grid struct {
	Lengths []int
	Depths  []float64
	Scores  [][]float64
}

// NewGrid takes the means of points with equal lengths and depths.
func NewGrid(points []Point) Grid {
	var g Grid
	for _, p := range points {
		g.Lengths, g.Depths = append(g.Lengths, p.Length), append(g.Depths, p.Depth)
	}
	slices.Sort(g.Lengths)
	slices.Sort(g.Depths)
	g.Lengths, g.Depths = slices.Compact(g.Lengths), slices.Compact(g.Depths)
	counts := make([][]float64, len(g.Depths))
	for d := range g.Depths {
		g.Scores = append(g.Scores, make([]float64, len(g.Lengths)))
		counts[d] = make([]float64, len(g.Lengths))
	}
	for _, p := range points {
		d, _ := slices.BinarySearch(g.Depths, p.Depth)
		l, _ := slices.BinarySearch(g.Lengths, p.Length)
		g.Scores[d][l] += p.Score
		counts[d][l]++
	}
	for d := range g.Scores {
		for l := range g.Scores[d] {
			g.Scores[d][l] /= counts[d][l]
		}
	}
	return g
}

// Table is the grid in Markdown, in hundredths, with the means by length and by depth.
func (g Grid) Table() string {
	var b strings.Builder
	cell := func(x float64) {
		if math.IsNaN(x) {
			b.WriteString("  – |")
			return
		}
		fmt.Fprintf(&b, " %.0f |", 100*x)
	}
	b.WriteString("| depth % |")
	for _, l := range g.Lengths {
		fmt.Fprintf(&b, " %s |", Tokens(l))
	}
	b.WriteString(" mean |\n|--:|" + strings.Repeat("--:|", len(g.Lengths)+1) + "\n")
	columns := make([][]float64, len(g.Lengths))
	for d, depth := range g.Depths {
		fmt.Fprintf(&b, "| %g |", math.Round(100*depth)/100)
		for l, s := range g.Scores[d] {
			cell(s)
			columns[l] = append(columns[l], s)
		}
		cell(mean(g.Scores[d]))
		b.WriteByte('\n')
	}
	b.WriteString("| mean |")
	for _, c := range columns {
		cell(mean(c))
	}
	cell(mean(slices.Concat(g.Scores...)))
	b.WriteByte('\n')
	return b.String()
}

// Tokens writes a length as one says it: 64K for 65,536.
func Tokens(n int) string {
	if n%1024 == 0 {
		return fmt.Sprintf("%dK", n/1024)
	}
	return fmt.Sprint(n)
}

// mean of what is a number.
func mean(xs []float64) float64 {
	sum, n := 0.0, 0.0
	for _, x := range xs {
		if !math.IsNaN(x) {
			sum += x
			n++
		}
	}
	return sum / n
}
