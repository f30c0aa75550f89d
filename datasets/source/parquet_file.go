package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// The beginning and end of a file, plain and encrypted.
const (
	magicPlain     = "PAR1"
	magicEncrypted = "PARE"
)

// minFooter is how long a footer may be whatever a page may have.
const minFooter = 1 << 20

// ParquetFile is a file whose footer and pages are checked before the library sees them. That one trusts what it reads: where it is
// damaged, decoders loop, panic, or take all memory.
type ParquetFile struct {
	in     *os.File
	reader *file.Reader
	meta   *metadata.FileMetaData
	data   int64 // bytes before the footer
	most   int64 // bytes of a page
}

// OpenParquet opens a file whose pages have most bytes at most.
func OpenParquet(path string, most int64) (*ParquetFile, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	p := &ParquetFile{in: in, most: most}
	if err := rescue(p.open); err != nil {
		in.Close()
		return nil, err
	}
	return p, nil
}

// Close closes the file.
func (p *ParquetFile) Close() error { return p.in.Close() }

// Schema is the tree of columns.
func (p *ParquetFile) Schema() *schema.Schema { return p.meta.Schema }

// Groups is how many row groups there are.
func (p *ParquetFile) Groups() int { return p.reader.NumRowGroups() }

// Rows is how many rows a group has.
func (p *ParquetFile) Rows(group int) int64 { return p.reader.RowGroup(group).NumRows() }

// Check compares what the footer says of all columns with itself and with the file.
func (p *ParquetFile) Check() error {
	all := make([]int, p.meta.Schema.NumColumns())
	for i := range all {
		all[i] = i
	}
	return p.check(all)
}

// Column reads a column of a group; Check has to have found nothing. What is wrong with a page is the reader's Err.
func (p *ParquetFile) Column(group, column int) (file.ColumnChunkReader, error) {
	pages, err := p.pages(group, column)
	if err != nil {
		return nil, err
	}
	return file.NewColumnReader(pages.column, pages, memory.DefaultAllocator, nil), nil
}

func (p *ParquetFile) pages(group, column int) (*pager, error) {
	chunk, err := p.reader.RowGroup(group).MetaData().ColumnChunk(column)
	if err != nil {
		return nil, err
	}
	var dictionary *int64
	if chunk.HasDictionaryPage() {
		at := chunk.DictionaryPageOffset()
		dictionary = &at
	}
	start := chunkRange(chunk.DataPageOffset(), dictionary)
	return &pager{
		in: p.in, at: start, end: start + chunk.TotalCompressedSize(), column: p.meta.Schema.Column(column),
		codec: chunk.Compression(), left: chunk.NumValues(), maxBytes: p.most, dictionary: -1,
	}, nil
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

// open reads and checks the footer.
func (p *ParquetFile) open() error {
	footer, err := p.footer()
	if err != nil {
		return err
	}
	c := &compact{data: footer}
	if err := c.skip(thriftStruct); err != nil {
		return fmt.Errorf("footer of %d bytes: %w", len(footer), err)
	}
	if p.meta, err = parseFooter(footer); err != nil {
		return err
	}
	if p.meta.IsSetEncryptionAlgorithm() {
		return errors.New("is encrypted, want a plain file")
	}
	p.reader, err = file.NewParquetReader(p.in, file.WithMetadata(p.meta))
	return err
}

func (p *ParquetFile) footer() ([]byte, error) {
	info, err := p.in.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size < 12 {
		return nil, fmt.Errorf("has %d bytes, want at least 12 of a Parquet file", size)
	}
	var head [4]byte
	var tail [8]byte
	if _, err := p.in.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if _, err := p.in.ReadAt(tail[:], size-8); err != nil {
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
	if most := min(size-12, max(p.most, minFooter)); length < 1 || length > most {
		return nil, fmt.Errorf("footer of %d bytes, want 1 to %d", length, most)
	}
	p.data = size - 8 - length
	footer := make([]byte, length)
	_, err = p.in.ReadAt(footer, p.data)
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

// check is Check of some columns.
func (p *ParquetFile) check(columns []int) error {
	meta := p.meta
	total := int64(0)
	for g, group := range meta.RowGroups {
		if group.NumRows < 0 || group.NumRows > meta.NumRows-total {
			return fmt.Errorf("row group %d has %d rows, want at most %d of the %d of the file", g, group.NumRows, meta.NumRows-total, meta.NumRows)
		}
		total += group.NumRows
		if len(group.Columns) != meta.Schema.NumColumns() {
			return fmt.Errorf("row group %d has %d columns, want %d", g, len(group.Columns), meta.Schema.NumColumns())
		}
		for _, i := range columns {
			if err := p.checkChunk(g, i); err != nil {
				return fmt.Errorf("row group %d, column %q: %w", g, meta.Schema.Column(i).Path(), err)
			}
		}
	}
	if total != meta.NumRows {
		return fmt.Errorf("the row groups have %d rows, want the %d of the file", total, meta.NumRows)
	}
	return nil
}

func (p *ParquetFile) checkChunk(g, i int) error {
	meta, column := p.meta, p.meta.Schema.Column(i)
	chunk := meta.RowGroups[g].Columns[i]
	switch {
	case chunk.IsSetCryptoMetadata():
		return errors.New("is encrypted, want a plain column")
	case chunk.MetaData == nil:
		return errors.New("has no metadata")
	case chunk.GetFilePath() != "":
		return fmt.Errorf("lies in another file, %q, want it in this one", clip(chunk.GetFilePath()))
	case int(chunk.MetaData.Type) != int(column.PhysicalType()):
		return fmt.Errorf("is of type %v, want %v as in the schema", chunk.MetaData.Type, column.PhysicalType())
	}
	if chunk.MetaData.NumValues == 0 && meta.RowGroups[g].NumRows == 0 {
		return nil
	}
	data := chunk.MetaData.DataPageOffset
	start, length := chunkRange(data, chunk.MetaData.DictionaryPageOffset), chunk.MetaData.TotalCompressedSize
	if start < 4 || length < 0 || length > p.data-start {
		return fmt.Errorf("lies at bytes %d to %d, want them within 4 to %d", start, start+length, p.data)
	}
	if data > start+length {
		return fmt.Errorf("has data at byte %d, want it within %d to %d", data, start, start+length)
	}
	if n := chunk.MetaData.NumValues; n < meta.RowGroups[g].NumRows || column.MaxRepetitionLevel() == 0 && n != meta.RowGroups[g].NumRows {
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
