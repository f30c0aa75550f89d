package parity

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the results as a table.
func Print(w io.Writer, results []Result) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "compared\tvalues\tworst relative error\ttolerance\tverdict\tworst tensor")
	for _, r := range results {
		verdict := "ok"
		if !r.OK() {
			verdict = "FAIL"
		}
		fmt.Fprintf(tw, "%s\t%d\t%.3g\t%.3g\t%s\t%s\n", r.What, r.Count, r.Error, r.Tol, verdict, r.Worst)
	}
	return tw.Flush()
}
