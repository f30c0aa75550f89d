package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
)

// rows reads a Parquet file row group by row group, and of each only the columns of the document, a page at a time.
type rows struct {
	in     *os.File
	reader *file.Reader
	spec   Spec
	data   int64 // bytes before the footer
	field  field
	leaves []leaf
	group  int // the row group to be opened next
	cells  []*cells
	left   int64 // rows of the open row group not yet read
	row    int64 // rows read of the file
}

func openParquet(f File) (Reader, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	r := &rows{in: in, spec: f.spec}
	if err := rescue(r.open); err != nil {
		in.Close()
		return nil, err
	}
	return r, nil
}

// rescue turns a panic of a library that trusts its input into an error.
func rescue(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("is damaged: %v", p)
		}
	}()
	return read()
}

func (r *rows) Close() error { return r.in.Close() }

// The beginning and end of a file, plain and encrypted.
const (
	magicPlain     = "PAR1"
	magicEncrypted = "PARE"
)

// minFooter is how long a footer may be whatever Spec.MaxBytes is.
const minFooter = 1 << 20

// open reads and checks the footer.
func (r *rows) open() error {
	footer, err := r.footer()
	if err != nil {
		return err
	}
	c := &compact{data: footer}
	if err := c.skip(thriftStruct); err != nil {
		return fmt.Errorf("footer of %d bytes: %w", len(footer), err)
	}
	meta, err := parseFooter(footer)
	if err != nil {
		return err
	}
	if meta.IsSetEncryptionAlgorithm() {
		return errors.New("is encrypted, want a plain file")
	}
	if r.reader, err = file.NewParquetReader(r.in, file.WithMetadata(meta)); err != nil {
		return err
	}
	if r.field, r.leaves, err = findLeaves(meta.Schema, r.spec.fields()); err != nil {
		return err
	}
	return r.checkGroups(meta)
}

func (r *rows) footer() ([]byte, error) {
	info, err := r.in.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size < 12 {
		return nil, fmt.Errorf("has %d bytes, want at least 12 of a Parquet file", size)
	}
	var head [4]byte
	var tail [8]byte
	if _, err := r.in.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if _, err := r.in.ReadAt(tail[:], size-8); err != nil {
		return nil, err
	}
	switch end := string(tail[4:]); {
	case end == magicEncrypted:
		return nil, errors.New("is encrypted, want a plain file")
	case string(head[:]) != magicPlain:
		return nil, fmt.Errorf("begins with %q, want %q of a Parquet file", head[:], magicPlain)
	case end != magicPlain:
		return nil, fmt.Errorf("ends with %q, want %q of a Parquet file (is it cut off?)", end, magicPlain)
	}
	length := int64(int32(binary.LittleEndian.Uint32(tail[:4])))
	if most := min(size-12, max(r.spec.maxBytes(), minFooter)); length < 1 || length > most {
		return nil, fmt.Errorf("footer of %d bytes, want 1 to %d", length, most)
	}
	r.data = size - 8 - length
	footer := make([]byte, length)
	_, err = r.in.ReadAt(footer, r.data)
	return footer, err
}

// parseFooter reads the structure whose shape was checked. What the library makes of fields that are missing or of the
// wrong type is a panic.
func parseFooter(footer []byte) (meta *metadata.FileMetaData, err error) {
	damaged := rescue(func() error {
		meta, err = metadata.NewFileMetaData(footer, nil)
		return nil
	})
	if damaged != nil {
		return nil, errors.New("footer: the schema makes no tree of columns")
	}
	if err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	return meta, nil
}

// checkGroups compares what the footer says about rows and chunks with itself and with the file.
func (r *rows) checkGroups(meta *metadata.FileMetaData) error {
	total := int64(0)
	for g, group := range meta.RowGroups {
		if group.NumRows < 0 || group.NumRows > meta.NumRows-total {
			return fmt.Errorf("row group %d has %d rows, want at most %d of the %d of the file", g, group.NumRows, meta.NumRows-total, meta.NumRows)
		}
		total += group.NumRows
		if len(group.Columns) != meta.Schema.NumColumns() {
			return fmt.Errorf("row group %d has %d columns, want %d", g, len(group.Columns), meta.Schema.NumColumns())
		}
		for _, l := range r.leaves {
			if err := r.checkChunk(meta, g, l); err != nil {
				return fmt.Errorf("row group %d, column %q: %w", g, l.column.Path(), err)
			}
		}
	}
	if total != meta.NumRows {
		return fmt.Errorf("the row groups have %d rows, want the %d of the file", total, meta.NumRows)
	}
	return nil
}

func (r *rows) checkChunk(meta *metadata.FileMetaData, g int, l leaf) error {
	chunk := meta.RowGroups[g].Columns[l.index]
	switch {
	case chunk.IsSetCryptoMetadata():
		return errors.New("is encrypted, want a plain column")
	case chunk.MetaData == nil:
		return errors.New("has no metadata")
	case chunk.GetFilePath() != "":
		return fmt.Errorf("lies in another file, %q, want it in this one", clip(chunk.GetFilePath()))
	case int(chunk.MetaData.Type) != int(l.column.PhysicalType()):
		return fmt.Errorf("is of type %v, want %v as in the schema", chunk.MetaData.Type, l.column.PhysicalType())
	}
	if chunk.MetaData.NumValues == 0 && meta.RowGroups[g].NumRows == 0 {
		return nil
	}
	data := chunk.MetaData.DataPageOffset
	start, length := chunkRange(data, chunk.MetaData.DictionaryPageOffset), chunk.MetaData.TotalCompressedSize
	if start < 4 || length < 0 || length > r.data-start {
		return fmt.Errorf("lies at bytes %d to %d, want them within 4 to %d", start, start+length, r.data)
	}
	if data > start+length {
		return fmt.Errorf("has data at byte %d, want it within %d to %d", data, start, start+length)
	}
	if n := chunk.MetaData.NumValues; n < meta.RowGroups[g].NumRows || l.column.MaxRepetitionLevel() == 0 && n != meta.RowGroups[g].NumRows {
		return fmt.Errorf("has %d values, want %d for the rows", n, meta.RowGroups[g].NumRows)
	}
	return nil
}

// chunkRange is where a column chunk begins: at its dictionary if there is one before the data.
func chunkRange(data int64, dictionary *int64) int64 {
	if dictionary != nil && *dictionary > 0 && *dictionary < data {
		return *dictionary
	}
	return data
}

// Next reads a row.
func (r *rows) Next() (d Document, err error) {
	err = rescue(func() error {
		d, err = r.next()
		return err
	})
	return d, err
}

func (r *rows) next() (Document, error) {
	for r.left == 0 {
		if err := r.endGroup(); err != nil {
			return Document{}, err
		}
		if r.group == r.reader.NumRowGroups() {
			return Document{}, io.EOF
		}
		if err := r.openGroup(); err != nil {
			return Document{}, fmt.Errorf("row group %d: %w", r.group, err)
		}
		r.group++
	}
	d, err := r.document()
	if err != nil {
		return Document{}, fmt.Errorf("row %d (row group %d): %w", r.row, r.group-1, err)
	}
	r.row++
	r.left--
	return d, nil
}

// endGroup sees to it that the row group that was read has nothing left.
func (r *rows) endGroup() error {
	for i, c := range r.cells {
		if more, err := c.more(); err != nil {
			return fmt.Errorf("row group %d: %w", r.group-1, err)
		} else if more {
			return fmt.Errorf("row group %d, column %q: has more rows than the footer says", r.group-1, r.leaves[i].column.Path())
		}
	}
	r.cells = nil
	return nil
}

func (r *rows) openGroup() error {
	group := r.reader.RowGroup(r.group)
	for _, l := range r.leaves {
		chunk, err := group.MetaData().ColumnChunk(l.index)
		if err != nil {
			return err
		}
		var dictionary *int64
		if chunk.HasDictionaryPage() {
			at := chunk.DictionaryPageOffset()
			dictionary = &at
		}
		start := chunkRange(chunk.DataPageOffset(), dictionary)
		r.cells = append(r.cells, newCells(l.column, &pager{
			in: r.in, at: start, end: start + chunk.TotalCompressedSize(), column: l.column,
			codec: chunk.Compression(), left: chunk.NumValues(), maxBytes: r.spec.maxBytes(), dictionary: -1,
		}))
	}
	r.left = group.NumRows()
	return nil
}

func (r *rows) document() (Document, error) {
	switch r.field.kind {
	case isMessages:
		m, err := r.messages()
		return Document{Messages: m}, err
	case isTokens:
		ids, err := r.tokens()
		return Document{Tokens: ids}, err
	}
	c := r.cells[0]
	if err := c.need(); err != nil {
		return Document{}, err
	}
	if c.null() {
		return Document{}, fmt.Errorf("column %q is null, want a string", r.field.name)
	}
	text, err := c.text(r.spec.maxBytes())
	return Document{Text: text}, err
}
