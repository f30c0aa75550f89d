package tracking

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Mark is a place in metrics.jsonl: a checkpoint keeps it, and whoever goes on from the checkpoint goes on there.
type Mark struct {
	Step   int   `json:"step"`   // of the last row before it
	Offset int64 `json:"offset"` // bytes
}

// Metrics is metrics.jsonl, open to append. Every row is with the operating system when Log returns.
type Metrics struct {
	file logFile
	buf  []byte
	at   Mark
}

// logFile is what metrics need of an *os.File.
type logFile interface {
	io.ReadWriteSeeker
	io.Closer
	Truncate(size int64) error
	Sync() error
	Name() string
}

// OpenMetrics opens the file of a new run (from is nil), or goes on at a mark: rows after it are cut off, a torn line
// with them. A new run must not find rows, and a resumed one must find those before the mark.
func OpenMetrics(path string, from *Mark) (*Metrics, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	m := &Metrics{file: f}
	if err := m.cut(path, from); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// cut brings the file to the mark.
func (m *Metrics) cut(path string, from *Mark) error {
	var prefix io.Reader = m.file
	if from != nil {
		if from.Offset < 0 {
			return fmt.Errorf("%s: the mark's offset is %d, want 0 or more", path, from.Offset)
		}
		prefix = io.LimitReader(m.file, from.Offset)
	}
	rows := 0
	whole, err := eachRow(prefix, path, func(r Row) error {
		rows++
		m.at.Step = r.Step
		return nil
	})
	switch {
	case from == nil && (err != nil || rows > 0):
		return fmt.Errorf("%s: a new run, but rows of another one are there", path)
	case from == nil:
		whole = 0 // at most a torn line or blanks
	case err != nil:
		return err
	case whole != from.Offset:
		return fmt.Errorf("%s: whole lines end at byte %d, the checkpoint of step %d was taken at byte %d: rows before it are lost",
			path, whole, from.Step, from.Offset)
	case m.at.Step > from.Step:
		return fmt.Errorf("%s: step %d lies before byte %d, where the checkpoint of step %d was taken", path, m.at.Step, whole, from.Step)
	}
	return m.truncate(whole)
}

func (m *Metrics) truncate(size int64) error {
	if err := m.file.Truncate(size); err != nil {
		return err
	}
	m.at.Offset = size
	_, err := m.file.Seek(size, io.SeekStart)
	return err
}

// Log appends the row. A row that could not be written whole leaves no part behind, so that it may be logged again.
func (m *Metrics) Log(r Row) error {
	if err := r.check(m.at.Step); err != nil {
		return fmt.Errorf("%s: %w", m.file.Name(), err)
	}
	m.buf = appendRow(m.buf[:0], r)
	if len(m.buf) > longestLine {
		return fmt.Errorf("%s: the row of step %d takes %d bytes, want at most %d", m.file.Name(), r.Step, len(m.buf), longestLine)
	}
	if _, err := m.file.Write(m.buf); err != nil {
		return errors.Join(err, m.truncate(m.at.Offset))
	}
	m.at = Mark{Step: r.Step, Offset: m.at.Offset + int64(len(m.buf))}
	return nil
}

// Mark brings all rows to the disk and returns the place after them.
func (m *Metrics) Mark() (Mark, error) {
	return m.at, m.file.Sync()
}

// Close brings all rows to the disk; the exit code leaves no trace here.
func (m *Metrics) Close(int) error {
	return errors.Join(m.file.Sync(), m.file.Close())
}
