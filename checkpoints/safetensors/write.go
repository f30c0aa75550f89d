package safetensors

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/gojet/gojet/checkpoints/internal/commit"
)

// Write writes a file of tensors as Plan says. It appears at path whole or not at all: it is written under
// another name in the same folder, synced and renamed.
func Write(path string, tensors []Source, metadata map[string]string) error {
	p, err := NewPlan(tensors, metadata)
	if err == nil {
		err = commit.File(path, p.Write)
	}
	if err != nil {
		return fmt.Errorf("safetensors: writing %s: %w", path, err)
	}
	return nil
}

// Plan is a file that is yet to be written: greater element types first, then by name, as the format's own
// library does, so that equal tensors and metadata give equal bytes.
type Plan struct {
	header  []byte
	tensors []Source
	bytes   int64
}

// NewPlan lays out a file of tensors. Nil metadata leaves none in the header.
func NewPlan(tensors []Source, metadata map[string]string) (*Plan, error) {
	p := &Plan{tensors: slices.Clone(tensors)}
	slices.SortStableFunc(p.tensors, func(a, b Source) int {
		return cmp.Or(cmp.Compare(b.DType, a.DType), cmp.Compare(a.Name, b.Name))
	})
	var err error
	if p.header, err = formatHeader(p.tensors, metadata); err != nil {
		return nil, err
	}
	p.bytes = int64(len(p.header))
	for _, t := range p.tensors {
		n, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		p.bytes += int64(n)
	}
	return p, nil
}

// Bytes is the size of the file.
func (p *Plan) Bytes() int64 { return p.bytes }

// Write writes the file, the data streamed. It calls each tensor's source once.
func (p *Plan) Write(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, int(min(1<<20, p.bytes)))
	if err := writeAll(buffered, p.header, p.tensors); err != nil {
		return err
	}
	return buffered.Flush()
}

// formatHeader returns the first bytes of a file, up to the data.
func formatHeader(tensors []Source, metadata map[string]string) ([]byte, error) {
	h := append(make([]byte, 8), '{')
	comma := func() {
		if h[len(h)-1] != '{' {
			h = append(h, ',')
		}
	}
	if metadata != nil {
		h = append(h, `"`+metadataKey+`":{`...)
		for _, key := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, fmt.Errorf("metadata %q: %q is not UTF-8", key, metadata[key])
			}
			comma()
			h = append(appendString(h, key), ':')
			h = appendString(h, metadata[key])
		}
		h = append(h, '}')
	}
	seen := map[string]bool{}
	emptyAt := -1
	begin := 0
	for _, t := range tensors {
		n, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %q comes twice", t.Name)
		}
		seen[t.Name] = true
		if n == 0 && emptyAt == begin {
			return nil, fmt.Errorf("tensor %q: a second tensor without elements has no place of its own", t.Name)
		}
		if n == 0 {
			emptyAt = begin
		}
		comma()
		h = append(appendString(h, t.Name), `:{"dtype":"`...)
		h = append(append(h, t.DType.String()...), `","shape":[`...)
		for i, d := range t.Shape {
			if i > 0 {
				h = append(h, ',')
			}
			h = strconv.AppendInt(h, int64(d), 10)
		}
		h = append(h, `],"data_offsets":[`...)
		h = append(strconv.AppendInt(h, int64(begin), 10), ',')
		if begin += n; begin < 0 {
			return nil, fmt.Errorf("tensor %q: the data of all tensors has more bytes than can be counted", t.Name)
		}
		h = append(strconv.AppendInt(h, int64(begin), 10), "]}"...)
	}
	h = append(h, '}')
	for len(h)%8 != 0 {
		h = append(h, ' ')
	}
	n := len(h) - 8
	if n > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, want at most %d", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(h, uint64(n))
	return h, nil
}

// appendString appends s as JSON.
func appendString(h []byte, s string) []byte {
	h = append(h, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			h = append(h, '\\', c)
		case c == '\n':
			h = append(h, `\n`...)
		case c == '\r':
			h = append(h, `\r`...)
		case c == '\t':
			h = append(h, `\t`...)
		case c == '\b':
			h = append(h, `\b`...)
		case c == '\f':
			h = append(h, `\f`...)
		case c < ' ':
			h = fmt.Appendf(h, `\u%04x`, c)
		default:
			h = append(h, c)
		}
	}
	return append(h, '"')
}

func writeAll(w io.Writer, header []byte, tensors []Source) error {
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		n, err := t.Bytes()
		if err != nil {
			return err
		}
		counted := &counter{w: w}
		if err := t.WriteTo(counted); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if counted.n != n {
			return fmt.Errorf("tensor %q: its source wrote %d bytes, want %d for %v %v", t.Name, counted.n, n, t.DType, t.Shape)
		}
	}
	return nil
}

type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}
