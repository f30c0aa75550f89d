package infer

import "fmt"

// Assume takes the sequence of a row as n tokens long, whatever its state holds: so that the speed of continuing a long
// sequence can be measured without running through it.
func (e *Engine) Assume(row, n int) error {
	if row < 0 || row >= e.config.Rows {
		return fmt.Errorf("infer: row %d, want 0 to %d", row, e.config.Rows-1)
	}
	if n < 0 || n > e.config.Capacity {
		return fmt.Errorf("infer: %d tokens assumed, the capacity is %d", n, e.config.Capacity)
	}
	e.consumed[row] = n
	return nil
}
