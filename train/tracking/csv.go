package tracking

import (
	"encoding/csv"
	"io"
	"strconv"
)

// WriteCSV writes the rows as a table: step, stage, then a column for each metric in the order of first appearance.
// What a row has not is empty.
func WriteCSV(w io.Writer, rows []Row) error {
	header := []string{stepKey, stageKey}
	column := map[string]int{}
	for _, r := range rows {
		for _, m := range r.Metrics {
			if _, ok := column[m.Name]; !ok {
				column[m.Name] = len(header)
				header = append(header, m.Name)
			}
		}
	}
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	record := make([]string, len(header))
	for _, r := range rows {
		clear(record)
		record[0], record[1] = strconv.Itoa(r.Step), r.Stage
		for _, m := range r.Metrics {
			record[column[m.Name]] = strconv.FormatFloat(m.Value, 'g', -1, 64)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
