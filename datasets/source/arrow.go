package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/gojet/gojet/datasets/chat"
)

// batches reads an Arrow file (Feather version 2) record batch by record batch.
type batches struct {
	in     *os.File
	reader *ipc.FileReader
	memory *bounded
	spec   Spec
	field  field
	column int
	next   int // the batch to be read next
	record arrow.Record
	row    int   // within the record
	rows   int64 // read of the file
}

// bounded is an allocator that panics rather than give out more than a file may want at once.
type bounded struct {
	memory.Allocator
	used, most int64
}

func (b *bounded) take(n int) {
	if n < 0 || int64(n) > b.most-b.used {
		panic(fmt.Sprintf("wants %d bytes of memory besides %d, want at most %d for a record batch", n, b.used, b.most))
	}
	b.used += int64(n)
}

func (b *bounded) Allocate(n int) []byte {
	b.take(n)
	return b.Allocator.Allocate(n)
}

func (b *bounded) Reallocate(n int, old []byte) []byte {
	b.take(n - min(n, len(old)))
	return b.Allocator.Reallocate(n, old)
}

// batchBytes is how much of Spec.MaxBytes a record batch may take: it is many documents, read at once.
const batchBytes = 8

func openArrow(f File) (Reader, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	b := &batches{in: in, spec: f.spec, memory: &bounded{Allocator: memory.NewGoAllocator(), most: batchBytes * f.spec.maxBytes()}}
	if err := rescue(b.open); err != nil {
		in.Close()
		return nil, err
	}
	return b, nil
}

const magicArrow = "ARROW1"

func (b *batches) open() error {
	info, err := b.in.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size < 20 {
		return fmt.Errorf("has %d bytes, want at least 20 of an Arrow file", size)
	}
	var head [6]byte
	var tail [10]byte
	if _, err := b.in.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := b.in.ReadAt(tail[:], size-10); err != nil {
		return err
	}
	if string(head[:]) != magicArrow {
		return fmt.Errorf("begins with %q, want %q of an Arrow file", head[:], magicArrow)
	}
	if string(tail[4:]) != magicArrow {
		return fmt.Errorf("ends with %q, want %q of an Arrow file (is it cut off?)", tail[4:], magicArrow)
	}
	footer := int64(int32(binary.LittleEndian.Uint32(tail[:4])))
	if most := min(size-16, max(b.spec.maxBytes(), minFooter)); footer < 1 || footer > most {
		return fmt.Errorf("footer of %d bytes, want 1 to %d", footer, most)
	}
	schema := make([]byte, footer)
	if _, err := b.in.ReadAt(schema, size-10-footer); err != nil {
		return err
	}
	if err := checkFlatFooter(schema); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if b.reader, err = ipc.NewFileReader(b.in, ipc.WithAllocator(b.memory)); err != nil {
		return err
	}
	return b.findColumn()
}

func (b *batches) findColumn() error {
	schema := b.reader.Schema()
	for _, f := range b.spec.fields() {
		found := schema.FieldIndices(f.name)
		if len(found) == 0 {
			continue
		}
		b.field, b.column = f, found[0]
		if t := schema.Field(b.column).Type; !holds(t, f.kind) {
			return fmt.Errorf("column %q is of type %v, want %v", f.name, t, f.kind)
		}
		return nil
	}
	var names []string
	for i := range min(schema.NumFields(), 20) {
		names = append(names, clip(schema.Field(i).Name))
	}
	return fmt.Errorf("has no column %s, found %q", fieldNames(b.spec.fields()), names)
}

// holds tells whether a column of the type can be a document of the kind.
func holds(t arrow.DataType, kind kind) bool {
	if kind == isText {
		return t.ID() == arrow.STRING || t.ID() == arrow.LARGE_STRING
	}
	list, ok := t.(arrow.ListLikeType)
	if !ok || t.ID() != arrow.LIST && t.ID() != arrow.LARGE_LIST {
		return false
	}
	if kind == isTokens {
		return list.Elem().ID() == arrow.INT32 || list.Elem().ID() == arrow.INT64
	}
	message, ok := list.Elem().(*arrow.StructType)
	if !ok {
		return false
	}
	for _, name := range []string{"role", "content"} {
		f, ok := message.FieldByName(name)
		if !ok || !holds(f.Type, isText) {
			return false
		}
	}
	return true
}

func (b *batches) Close() error { return b.in.Close() }

// Next reads a row.
func (b *batches) Next() (d Document, err error) {
	err = rescue(func() error {
		d, err = b.document()
		return err
	})
	if err != nil && err != io.EOF {
		err = fmt.Errorf("row %d (record batch %d): %w", b.rows, b.next-1, err)
	}
	return d, err
}

func (b *batches) document() (d Document, err error) {
	for b.record == nil || b.row == int(b.record.NumRows()) {
		if b.next == b.reader.NumRecords() {
			return Document{}, io.EOF
		}
		b.next++
		b.memory.used, b.row = 0, 0
		if b.record, err = b.reader.Record(b.next - 1); err != nil {
			return Document{}, err
		}
	}
	column := b.record.Column(b.column)
	if column.Len() <= b.row {
		return Document{}, fmt.Errorf("column %q has %d rows, want %d", b.field.name, column.Len(), b.record.NumRows())
	}
	if column.IsNull(b.row) {
		return Document{}, fmt.Errorf("column %q is null, want %v", b.field.name, b.field.kind)
	}
	switch b.field.kind {
	case isText:
		d.Text, err = b.text(column, b.row)
	case isMessages:
		d.Messages, err = b.messages(column)
	case isTokens:
		d.Tokens, err = b.tokens(column)
	}
	if err == nil {
		b.row++
		b.rows++
	}
	return d, err
}

// text copies a string out of the record.
func (b *batches) text(column arrow.Array, i int) (string, error) {
	if column.IsNull(i) {
		return "", errors.New("is null, want a string")
	}
	var s string
	switch c := column.(type) {
	case *array.String:
		s = c.Value(i)
	case *array.LargeString:
		s = c.Value(i)
	}
	if int64(len(s)) > b.spec.maxBytes() {
		return "", fmt.Errorf("column %q has %d bytes, want at most %d (max_bytes)", b.field.name, len(s), b.spec.maxBytes())
	}
	data := []byte(s)
	if err := checkUTF8(data); err != nil {
		return "", fmt.Errorf("column %q: %w", b.field.name, err)
	}
	return string(data), nil
}

// elements is the range of a list's elements in the array of all.
func (b *batches) elements(column arrow.Array) (from, to int, values arrow.Array, err error) {
	list := column.(array.ListLike)
	first, last := list.ValueOffsets(b.row)
	values = list.ListValues()
	if first < 0 || last < first || last > int64(values.Len()) {
		return 0, 0, nil, fmt.Errorf("column %q: list from %d to %d, want it within %d elements", b.field.name, first, last, values.Len())
	}
	if (last-first)*4 > b.spec.maxBytes() {
		return 0, 0, nil, fmt.Errorf("column %q has %d elements, want at most %d (max_bytes)", b.field.name, last-first, b.spec.maxBytes()/4)
	}
	return int(first), int(last), values, nil
}

func (b *batches) messages(column arrow.Array) ([]chat.Message, error) {
	from, to, values, err := b.elements(column)
	if err != nil {
		return nil, err
	}
	structs := values.(*array.Struct)
	kind := structs.DataType().(*arrow.StructType)
	field := func(name string) arrow.Array {
		i, _ := kind.FieldIdx(name)
		return structs.Field(i)
	}
	roles, contents := field("role"), field("content")
	left := b.spec.maxBytes()
	var all []chat.Message
	for i := from; i < to; i++ {
		var m chat.Message
		if m.Role, err = b.text(roles, i); err != nil {
			return nil, fmt.Errorf("message %d, role: %w", i-from, err)
		}
		if m.Content, err = b.text(contents, i); err != nil {
			return nil, fmt.Errorf("message %d, content: %w", i-from, err)
		}
		if left -= int64(len(m.Role)+len(m.Content)) + perElement; left < 0 {
			return nil, fmt.Errorf("has more than %d bytes of messages (max_bytes)", b.spec.maxBytes())
		}
		all = append(all, m)
	}
	return all, nil
}

func (b *batches) tokens(column arrow.Array) ([]int32, error) {
	from, to, values, err := b.elements(column)
	if err != nil {
		return nil, err
	}
	ids := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		if values.IsNull(i) {
			return nil, fmt.Errorf("column %q: element %d is null, want a token id", b.field.name, i-from)
		}
		var id int64
		switch v := values.(type) {
		case *array.Int32:
			id = int64(v.Value(i))
		case *array.Int64:
			id = v.Value(i)
		}
		if id < 0 || id > math.MaxInt32 {
			return nil, fmt.Errorf("column %q: found %d, want a token id from 0 to %d", b.field.name, id, math.MaxInt32)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}
