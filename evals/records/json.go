package records

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read whole.
const (
	maxLine  = 256 << 20 // bytes of a line: LongBench has documents of some megabytes
	maxFile  = 2 << 30   // bytes of a JSON file
	maxDepth = 64        // of nested values
)

// readLines reads JSON lines: an object on each; blank lines are passed over.
func readLines(ctx context.Context, path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return lines(ctx, f)
}

func lines(ctx context.Context, f io.Reader) ([]Record, error) {
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	var all []Record
	n := 0
	for in.Scan() {
		n++
		if n%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		line := in.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		v, err := parse(line)
		if err == nil {
			if r, ok := v.(Record); ok {
				all = append(all, r)
				continue
			}
			err = fmt.Errorf("found %s, want an object", kind(v))
		}
		return nil, fmt.Errorf("line %d: %w", n, err)
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d is longer than %d bytes", n+1, maxLine)
	}
	return all, in.Err()
}

// readJSON reads an array of objects, an object whose only array of objects these are (as {"examples": […]}), or,
// whatever the name says, JSON lines.
func readJSON(ctx context.Context, path string) ([]Record, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("has %d bytes, want at most %d: write JSON lines instead", info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return document(ctx, data)
}

func document(ctx context.Context, data []byte) ([]Record, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	v, err := parse(data)
	if errors.Is(err, errMore) {
		return lines(ctx, bytes.NewReader(data))
	}
	if err != nil {
		return nil, err
	}
	if o, ok := v.(Record); ok {
		var found []any
		for _, value := range o {
			if l, ok := value.([]any); ok {
				if found != nil {
					return []Record{o}, nil
				}
				found = l
			}
		}
		if all, err := objects(found); err == nil && found != nil {
			return all, nil
		}
		return []Record{o}, nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("found %s, want an array of objects", kind(v))
	}
	return objects(l)
}

func objects(l []any) ([]Record, error) {
	all := make([]Record, len(l))
	for i, v := range l {
		r, ok := v.(Record)
		if !ok {
			return nil, fmt.Errorf("element %d is %s, want an object", i, kind(v))
		}
		all[i] = r
	}
	return all, nil
}

// errMore is that something follows the document.
var errMore = errors.New("found more after the JSON value")

// parse reads one JSON document. Whole numbers are ints.
func parse(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := value(d, 0)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("ends within a JSON value")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errMore
	}
	return v, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch t := t.(type) {
	case json.Number:
		if i, err := strconv.Atoi(string(t)); err == nil {
			return i, nil
		}
		f, err := t.Float64()
		if err != nil {
			return nil, fmt.Errorf("number %.40s is out of range", t)
		}
		return f, nil
	case json.Delim:
		if t == '[' {
			return jsonArray(d, depth)
		}
		return jsonObject(d, depth)
	}
	return t, nil
}

func jsonArray(d *json.Decoder, depth int) (any, error) {
	l := []any{}
	for d.More() {
		v, err := value(d, depth+1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := d.Token()
	return l, err
}

func jsonObject(d *json.Decoder, depth int) (any, error) {
	o := Record{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		if _, twice := o[key]; twice {
			return nil, fmt.Errorf("the key %.60q comes twice", key)
		}
		if o[key], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return o, err
}

// kind words what a value is.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int, float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}

// readCSV reads a table with a line of names. All values are strings, and nil where nothing stands.
func readCSV(ctx context.Context, path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return table(ctx, f)
}

func table(ctx context.Context, f io.Reader) ([]Record, error) {
	in := csv.NewReader(f)
	in.LazyQuotes = true
	names, err := in.Read()
	if err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	names[0] = strings.TrimPrefix(names[0], "\ufeff")
	var all []Record
	for ctx.Err() == nil {
		row, err := in.Read()
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		r := Record{}
		for i, text := range row {
			switch line, _ := in.FieldPos(i); {
			case !utf8.ValidString(text):
				return nil, fmt.Errorf("line %d: column %.60q is not UTF-8", line, names[i])
			case text == "":
				r[names[i]] = nil
			default:
				r[names[i]] = text
			}
		}
		all = append(all, r)
	}
	return nil, ctx.Err()
}
