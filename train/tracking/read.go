package tracking

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// longestLine of metrics.jsonl, in bytes.
const longestLine = 1 << 20

// eachRow calls yield for every row, and returns how many bytes the whole lines take. A last line without its newline
// is torn, by a run that was killed or still writes: it is left out. Errors name the line.
func eachRow(r io.Reader, name string, yield func(Row) error) (whole int64, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	lines.Split(wholeLine)
	last, number := 0, 0
	for lines.Scan() {
		number++
		line := lines.Bytes()
		whole += int64(len(line))
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
		if len(line) == 0 {
			continue
		}
		row, err := parseRow(line)
		if err == nil {
			err = row.check(last)
		}
		if err == nil {
			last = row.Step
			err = yield(row)
		}
		if err != nil {
			return whole, fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return whole, fmt.Errorf("%s:%d: the line is longer than %d bytes", name, number+1, longestLine)
	case err != nil:
		return whole, fmt.Errorf("%s:%d: %w", name, number+1, err)
	}
	return whole, nil
}

// wholeLine is a bufio.SplitFunc: lines with their newline, and nothing of a last one without.
func wholeLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if at := bytes.IndexByte(data, '\n'); at >= 0 {
		return at + 1, data[:at+1], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// ReadMetrics returns the rows of a metrics.jsonl; a torn last line is left out.
func ReadMetrics(path string) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []Row
	_, err = eachRow(f, path, func(r Row) error {
		rows = append(rows, r)
		return nil
	})
	return rows, err
}
