package infer

import (
	"fmt"

	"github.com/gojet/gojet/autograd"
)

// Assume takes the sequence of a row as n tokens long, whatever its state holds: so that the speed of continuing a long
// sequence can be measured without running through it.
func (e *Engine) Assume(row, n int) error {
	if row < 0 || row >= e.config.Rows {
		return fmt.Errorf("infer: row %d, want 0 to %d", row, e.config.Rows-1)
	}
	if n < 0 || n > e.config.Capacity {
		return fmt.Errorf("infer: %d tokens assumed, the capacity is %d", n, e.config.Capacity)
	}
	e.consumed[row], e.chosen[row] = n, none
	e.forget(row)
	return nil
}

// Profile is n steps of Next, after one that is not measured, with every operation of the model timed on its own. It returns
// these with the total of their times; what chooses the tokens is not among them.
func (e *Engine) Profile(rows []int, n int) ([]autograd.StepReport, error) {
	if _, err := e.Next(rows); err != nil {
		return nil, err
	}
	exec := e.programs.of[e.stepSize(len(rows))].exec
	exec.Reset()
	exec.Profile = true
	defer func() { exec.Profile = false }()
	for range n {
		if _, err := e.Next(rows); err != nil {
			return nil, err
		}
	}
	return exec.Times(), nil
}
