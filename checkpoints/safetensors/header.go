package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/gojet/gojet/checkpoints/internal/strictjson"
)

const (
	maxHeader   = 100_000_000 // bytes of JSON, the format's own limit
	maxRank     = 255
	minEntry    = len(`"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}`)
	metadataKey = "__metadata__"
)

// header is what a file says of its tensors, in the order of their data.
type header struct {
	tensors  []entry
	index    map[string]int // name to place in tensors
	dims     []int          // of all tensors
	metadata map[string]string
	size     int // bytes before the data
}

type entry struct {
	name       string
	begin, end int // in the data
	dims, rank int // its part of header.dims
	dtype      DType
}

func (h *header) shape(e entry) []int { return h.dims[e.dims : e.dims+e.rank : e.dims+e.rank] }

// readHeader reads and judges the header of file, the whole of it.
func readHeader(file []byte) (*header, error) {
	if len(file) < 8 {
		return nil, fmt.Errorf("file of %d bytes, want at least 8 for the length of the header", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	switch {
	case n == 0:
		return nil, fmt.Errorf("header length 0, want at least 2 bytes of JSON")
	case n > maxHeader:
		return nil, fmt.Errorf("header length %d, want at most %d", n, maxHeader)
	case int(n) > len(file)-8:
		return nil, fmt.Errorf("header length %d, but only %d bytes follow", n, len(file)-8)
	}
	h, err := parseHeader(file[8 : 8+n])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	h.size = 8 + int(n)
	return h, h.checkLayout(len(file) - h.size)
}

func parseHeader(text []byte) (*header, error) {
	s, err := strictjson.New(text)
	if err != nil {
		return nil, err
	}
	n := min(bytes.Count(text, []byte(`"data_offsets"`)), len(text)/minEntry)
	h := &header{index: make(map[string]int, n), tensors: make([]entry, 0, n), dims: make([]int, 0, 2*n)}
	err = s.Object(func(key []byte) error {
		if string(key) == metadataKey {
			return h.readMetadata(s)
		}
		name := string(key)
		if err := checkName(name); err != nil {
			return err
		}
		if _, twice := h.index[name]; twice {
			return s.Errorf("tensor %q comes twice", name)
		}
		if err := h.readEntry(s, name); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		h.index[name] = len(h.tensors) - 1
		return nil
	})
	if err == nil {
		err = s.End()
	}
	return h, err
}

// checkName refuses names that could not be told from nothing, or could be taken for a file's.
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("a tensor has an empty name")
	}
	if strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
		return fmt.Errorf("tensor %q: the name looks like a path, want one without slashes", name)
	}
	return nil
}

func (h *header) readMetadata(s *strictjson.Scanner) error {
	if h.metadata != nil {
		return s.Errorf("%s comes twice", metadataKey)
	}
	h.metadata = map[string]string{}
	var value []byte
	err := s.Object(func(key []byte) error {
		if _, twice := h.metadata[string(key)]; twice {
			return s.Errorf("key %q comes twice in one object", key)
		}
		var err error
		if value, err = s.String(value[:0]); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		h.metadata[string(key)] = string(value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", metadataKey, err)
	}
	return nil
}

func (h *header) readEntry(s *strictjson.Scanner, name string) error {
	const fields = "dtype, shape and data_offsets"
	e := entry{name: name, dims: len(h.dims)}
	var dtype, shape, offsets bool
	once := func(seen *bool, key []byte) error {
		if *seen {
			return s.Errorf("field %q comes twice", key)
		}
		*seen = true
		return nil
	}
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "dtype":
			if err = once(&dtype, key); err == nil {
				e.dtype, err = readDType(s)
			}
		case "shape":
			if err = once(&shape, key); err == nil {
				err = h.readShape(s)
				e.rank = len(h.dims) - e.dims
			}
		case "data_offsets":
			if err = once(&offsets, key); err == nil {
				e.begin, e.end, err = readOffsets(s)
			}
		default:
			err = s.Errorf("unknown field %q, want %s", key, fields)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !dtype:
		return fmt.Errorf("field dtype is missing, want %s", fields)
	case !shape:
		return fmt.Errorf("field shape is missing, want %s", fields)
	case !offsets:
		return fmt.Errorf("field data_offsets is missing, want %s", fields)
	}
	n, err := byteLen(e.dtype, h.shape(e))
	if err != nil {
		return err
	}
	if e.begin > e.end {
		return fmt.Errorf("data_offsets [%d, %d] begin after their end", e.begin, e.end)
	}
	if e.end-e.begin != n {
		return fmt.Errorf("data_offsets [%d, %d] hold %d bytes, want %d for %v %v", e.begin, e.end, e.end-e.begin, n, e.dtype, h.shape(e))
	}
	h.tensors = append(h.tensors, e)
	return nil
}

func readDType(s *strictjson.Scanner) (DType, error) {
	var buf [16]byte
	name, err := s.String(buf[:0])
	if err != nil {
		return 0, fmt.Errorf("dtype: %w", err)
	}
	return ParseDType(string(name))
}

func (h *header) readShape(s *strictjson.Scanner) error {
	first := len(h.dims)
	err := s.Array(func() error {
		d, err := s.Int()
		if err == nil && len(h.dims)-first == maxRank {
			err = s.Errorf("more than %d dimensions", maxRank)
		}
		h.dims = append(h.dims, d)
		return err
	})
	if err != nil {
		return fmt.Errorf("shape: %w", err)
	}
	return nil
}

func readOffsets(s *strictjson.Scanner) (begin, end int, err error) {
	var at [2]int
	n := 0
	err = s.Array(func() error {
		v, err := s.Int()
		if err == nil && n == len(at) {
			err = s.Errorf("more than two numbers, want begin and end")
		}
		if err != nil {
			return err
		}
		at[n] = v
		n++
		return nil
	})
	if err == nil && n < len(at) {
		err = s.Errorf("found %d numbers, want begin and end", n)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("data_offsets: %w", err)
	}
	return at[0], at[1], nil
}

// checkLayout puts the tensors in the order of their data and reports unless they cover n bytes, each
// byte once. Two empty tensors may not share a place either: every tensor has its own offsets.
func (h *header) checkLayout(n int) error {
	byPlace := func(a, b entry) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) }
	if !slices.IsSortedFunc(h.tensors, byPlace) {
		slices.SortStableFunc(h.tensors, byPlace)
		for i, e := range h.tensors {
			h.index[e.name] = i
		}
	}
	last := entry{name: "the header"}
	for i, e := range h.tensors {
		switch {
		case e.end > n:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] reach past the end of the file, which holds %d bytes of data", e.name, e.begin, e.end, n)
		case e.begin > last.end:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d], want a begin of %d: the %d bytes before belong to no tensor", e.name, e.begin, e.end, last.end, e.begin-last.end)
		case e.begin < last.end, i > 0 && e.begin == last.begin && e.end == last.end:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] overlap [%d, %d] of tensor %q", e.name, e.begin, e.end, last.begin, last.end, last.name)
		}
		last = e
	}
	if last.end != n {
		return fmt.Errorf("the file holds %d bytes of data, want %d: %d bytes at the end belong to no tensor", n, last.end, n-last.end)
	}
	return nil
}
