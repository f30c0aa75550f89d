package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"github.com/gojet/gojet/datasets/source"
)

// maxUncompressed bounds what a Parquet file says of a page, in bytes.
const maxUncompressed = 4 << 30

// readParquet reads all columns, whatever their types, if these are of JSON's kinds. It puts nested columns together itself:
// the library's own reader does that on goroutines, where a damaged file ends the process.
func readParquet(ctx context.Context, path string) (all []Record, err error) {
	if err := checkEnds(path); err != nil {
		return nil, err
	}
	defer func() { // the library trusts what is left unchecked
		if p := recover(); p != nil {
			all, err = nil, fmt.Errorf("is damaged: %v", p)
		}
	}()
	f, err := source.OpenParquet(path, maxUncompressed)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Check(); err != nil {
		return nil, err
	}
	for i := range f.Groups() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if all, err = group(all, f, i); err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
	}
	return all, nil
}

// checkEnds reports what is no plain Parquet file before the library sees it.
func checkEnds(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var head, tail [4]byte
	if info.Size() < 12 {
		return fmt.Errorf("has %d bytes, want at least 12 of a Parquet file", info.Size())
	}
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := f.ReadAt(tail[:], info.Size()-4); err != nil {
		return err
	}
	if string(head[:]) != "PAR1" || string(tail[:]) != "PAR1" {
		return fmt.Errorf(`begins with %q and ends with %q, want "PAR1" of a Parquet file (is it cut off, or a pointer of Git LFS?)`, head[:], tail[:])
	}
	return nil
}

// group appends the records of a row group.
func group(all []Record, f *source.ParquetFile, g int) ([]Record, error) {
	var columns []*column
	root := f.Schema().Root()
	for i := range f.Schema().NumColumns() {
		c, err := readColumn(f, g, i)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	begin := len(all)
	for row := range f.Rows(g) {
		r, at := make(Record, root.NumFields()), 0
		for i := range root.NumFields() {
			field := root.Field(i)
			n := leaves(field)
			v, err := assemble(field, columns[at:at+n], 0, 0)
			if err != nil {
				return nil, fmt.Errorf("row %d: column %q: %w", begin+int(row), field.Name(), err)
			}
			r[field.Name()] = v
			at += n
		}
		all = append(all, r)
	}
	return all, nil
}

// column is a leaf of the schema in one row group: for each value its definition level, which tells what of its path is there,
// and its repetition level, which tells at which list it goes on (https://research.google/pubs/pub36632/).
type column struct {
	def, rep []int16
	values   []any // of the full definition level alone
	most     int16
	at, next int // among the levels, and among the values
}

// level returns the levels at the position.
func (c *column) level() (def, rep int16, more bool) {
	if c.at >= len(c.def) {
		return 0, 0, false
	}
	return c.def[c.at], c.rep[c.at], true
}

var errShort = errors.New("ends before this row")

// assemble puts together the value of a node at the position of its columns. def and rep are the levels of what is around it.
func assemble(n schema.Node, columns []*column, def, rep int16) (any, error) {
	at, _, more := columns[0].level()
	if !more {
		return nil, errShort
	}
	switch n.RepetitionType() {
	case parquet.Repetitions.Repeated:
		return elements(n, columns, def+1, rep+1, once)
	case parquet.Repetitions.Optional:
		if def++; at < def {
			skip(columns)
			return nil, nil
		}
	}
	return once(n, columns, def, rep)
}

// once is the value of a node that is there.
func once(n schema.Node, columns []*column, def, rep int16) (any, error) {
	g, ok := n.(*schema.GroupNode)
	if !ok {
		c := columns[0]
		c.at++
		if c.next >= len(c.values) {
			return nil, errShort
		}
		c.next++
		return c.values[c.next-1], nil
	}
	if g.NumFields() == 1 && g.Field(0).RepetitionType() == parquet.Repetitions.Repeated {
		inner := g.Field(0)
		if wrapper, ok := inner.(*schema.GroupNode); ok && wrapper.NumFields() == 1 {
			return elements(inner, columns, def+1, rep+1, func(_ schema.Node, columns []*column, def, rep int16) (any, error) {
				return assemble(wrapper.Field(0), columns, def, rep)
			})
		}
		return assemble(inner, columns, def, rep)
	}
	r, at := make(Record, g.NumFields()), 0
	for i := range g.NumFields() {
		field := g.Field(i)
		k := leaves(field)
		v, err := assemble(field, columns[at:at+k], def, rep)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.Name(), err)
		}
		r[field.Name()] = v
		at += k
	}
	return r, nil
}

// elements collects what is repeated.
func elements(n schema.Node, columns []*column, def, rep int16, one func(schema.Node, []*column, int16, int16) (any, error)) (any, error) {
	l := []any{}
	if at, _, _ := columns[0].level(); at < def {
		skip(columns)
		return l, nil
	}
	for {
		before := columns[0].at
		v, err := one(n, columns, def, rep)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
		if _, again, more := columns[0].level(); !more || again != rep || columns[0].at == before {
			return l, nil
		}
	}
}

// skip passes over the one level that stands for nothing in each column.
func skip(columns []*column) {
	for _, c := range columns {
		c.at++
	}
}

// leaves is the number of columns below a node.
func leaves(n schema.Node) int {
	g, ok := n.(*schema.GroupNode)
	if !ok {
		return 1
	}
	all := 0
	for i := range g.NumFields() {
		all += leaves(g.Field(i))
	}
	return all
}

// readColumn reads a column of a row group.
func readColumn(f *source.ParquetFile, g, i int) (*column, error) {
	r, err := f.Column(g, i)
	if err != nil {
		return nil, fmt.Errorf("column %d: is damaged: %w", i, err)
	}
	d := r.Descriptor()
	c := &column{most: d.MaxDefinitionLevel()}
	err = c.read(r, d)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("column %q: %w", d.Path(), err)
	}
	return c, nil
}

// batch is how many values are decoded at once.
const batch = 512

func (c *column) read(r file.ColumnChunkReader, d *schema.Column) error {
	switch r := r.(type) {
	case *file.ByteArrayColumnChunkReader:
		if t := d.ConvertedType(); t == schema.ConvertedTypes.Decimal {
			return fmt.Errorf("is of type %v, want strings, numbers or booleans", t)
		}
		return pull(c, r.ReadBatch, func(b parquet.ByteArray) (any, error) {
			if !utf8.Valid(b) {
				return nil, errors.New("is not UTF-8")
			}
			return string(b), nil
		})
	case *file.BooleanColumnChunkReader:
		return pull(c, r.ReadBatch, func(b bool) (any, error) { return b, nil })
	case *file.Int32ColumnChunkReader:
		return pull(c, r.ReadBatch, func(v int32) (any, error) { return int(v), nil })
	case *file.Int64ColumnChunkReader:
		return pull(c, r.ReadBatch, func(v int64) (any, error) { return int(v), nil })
	case *file.Float32ColumnChunkReader:
		return pull(c, r.ReadBatch, func(v float32) (any, error) { return float64(v), nil })
	case *file.Float64ColumnChunkReader:
		return pull(c, r.ReadBatch, func(v float64) (any, error) { return v, nil })
	}
	return fmt.Errorf("is of type %v, want strings, numbers or booleans", d.PhysicalType())
}

// pull reads all values of a column.
func pull[T any](c *column, read func(int64, []T, []int16, []int16) (int64, int, error), value func(T) (any, error)) error {
	values, def, rep := make([]T, batch), make([]int16, batch), make([]int16, batch)
	for {
		levels, n, err := read(batch, values, def, rep)
		if err != nil {
			return fmt.Errorf("is damaged: %w", err)
		}
		if levels == 0 {
			return nil
		}
		if c.most == 0 { // the library leaves levels alone that are all the same
			clear(def)
			clear(rep)
		}
		c.def, c.rep = append(c.def, def[:levels]...), append(c.rep, rep[:levels]...)
		for _, v := range values[:n] {
			made, err := value(v)
			if err != nil {
				return fmt.Errorf("value %d %w", len(c.values), err)
			}
			c.values = append(c.values, made)
		}
	}
}
