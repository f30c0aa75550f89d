package source

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// flat walks the FlatBuffers in which Arrow keeps its schema (https://flatbuffers.dev/internals/). The library takes the
// lengths of vectors on trust and makes room for them.
type flat struct {
	data   []byte
	tables int
}

// maxTables bounds the fields of a schema, counted as often as they are reached.
const maxTables = 1 << 16

var errFlat = errors.New("an offset leads out of it")

func (f *flat) u16(at int) (int, error) {
	if at < 0 || at > len(f.data)-2 {
		return 0, errFlat
	}
	return int(binary.LittleEndian.Uint16(f.data[at:])), nil
}

func (f *flat) u32(at int) (int, error) {
	if at < 0 || at > len(f.data)-4 {
		return 0, errFlat
	}
	return int(binary.LittleEndian.Uint32(f.data[at:])), nil
}

// follow is where the offset at a place leads.
func (f *flat) follow(at int) (int, error) {
	offset, err := f.u32(at)
	if err == nil && offset > len(f.data)-at {
		err = errFlat
	}
	return at + offset, err
}

// field is the place of a table's i-th field, 0 where the table has none.
func (f *flat) field(table, i int) (int, error) {
	back, err := f.u32(table)
	if err != nil {
		return 0, err
	}
	directory := table - int(int32(back))
	size, err := f.u16(directory)
	if err != nil || 4+2*i+2 > size {
		return 0, err
	}
	offset, err := f.u16(directory + 4 + 2*i)
	if err != nil || offset == 0 {
		return 0, err
	}
	return table + offset, nil
}

// vector finds the elements of a vector of 32-bit numbers or offsets, or of greater things.
func (f *flat) vector(table, i int) (at, n int, err error) {
	place, err := f.field(table, i)
	if err != nil || place == 0 {
		return 0, 0, err
	}
	if at, err = f.follow(place); err != nil {
		return 0, 0, err
	}
	if n, err = f.u32(at); err != nil {
		return 0, 0, err
	}
	if at += 4; n > (len(f.data)-at)/4 {
		return 0, 0, fmt.Errorf("a list of %d elements in %d bytes", n, len(f.data)-at)
	}
	return at, n, nil
}

// checkFlatFooter checks the lengths of the lists of the table Footer of
// https://github.com/apache/arrow/blob/main/format/File.fbs and of the schema in it.
func checkFlatFooter(data []byte) error {
	f := &flat{data: data}
	footer, err := f.follow(0)
	if err != nil {
		return err
	}
	const schema, dictionaries, records, metadata = 1, 2, 3, 4
	for _, list := range []int{dictionaries, records, metadata} {
		if _, _, err := f.vector(footer, list); err != nil {
			return err
		}
	}
	place, err := f.field(footer, schema)
	if err != nil {
		return err
	}
	if place == 0 {
		return errors.New("there is no schema")
	}
	table, err := f.follow(place)
	if err != nil {
		return err
	}
	return f.checkFields(table, 1, 2, 0)
}

// checkFields checks a list of fields, each of which may have such a list, and the metadata beside it.
func (f *flat) checkFields(table, fields, metadata, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("fields nested deeper than %d", maxDepth)
	}
	if _, _, err := f.vector(table, metadata); err != nil {
		return err
	}
	at, n, err := f.vector(table, fields)
	if err != nil {
		return err
	}
	if f.tables += n; f.tables > maxTables {
		return fmt.Errorf("more than %d fields", maxTables)
	}
	for i := range n {
		field, err := f.follow(at + 4*i)
		if err != nil {
			return err
		}
		if err := f.checkType(field); err != nil {
			return err
		}
		if err := f.checkFields(field, 5, 6, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkType checks the one type that has a list: that of a union's alternatives.
func (f *flat) checkType(field int) error {
	const kind, union, content, ids = 2, 14, 3, 1
	place, err := f.field(field, kind)
	if err != nil || place == 0 || place >= len(f.data) || f.data[place] != union {
		return err
	}
	if place, err = f.field(field, content); err != nil || place == 0 {
		return err
	}
	table, err := f.follow(place)
	if err != nil {
		return err
	}
	_, _, err = f.vector(table, ids)
	return err
}
