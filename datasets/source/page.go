package source

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// Kinds of pages.
const (
	dataPage       = 0
	indexPage      = 1
	dictionaryPage = 2
	dataPageV2     = 3
)

// pageHeader is what a reader needs of the structures PageHeader, DataPageHeader, DictionaryPageHeader and
// DataPageHeaderV2 of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
// Fields that are not there are -1.
type pageHeader struct {
	kind, uncompressed, compressed int64
	crc                            int64
	hasCRC                         bool
	values, nulls, rows            int64
	encoding                       int64
	defEncoding, repEncoding       int64 // version 1
	defBytes, repBytes             int64 // version 2
	plain                          bool  // version 2: the values are not compressed
}

// readPageHeader reads the header at the beginning of data and returns its length.
func readPageHeader(data []byte) (h pageHeader, length int, err error) {
	c := &compact{data: data}
	h = pageHeader{kind: -1, uncompressed: -1, compressed: -1, values: -1, encoding: -1, defEncoding: -1, repEncoding: -1, defBytes: -1, repBytes: -1}
	err = c.fields(func(id int16, kind byte) error {
		switch {
		case id == 1 && kind == thriftI32:
			return c.into(&h.kind)
		case id == 2 && kind == thriftI32:
			return c.into(&h.uncompressed)
		case id == 3 && kind == thriftI32:
			return c.into(&h.compressed)
		case id == 4 && kind == thriftI32:
			h.hasCRC = true
			return c.into(&h.crc)
		case id == 5 && kind == thriftStruct:
			return c.numbers(&h.values, &h.encoding, &h.defEncoding, &h.repEncoding)
		case id == 7 && kind == thriftStruct:
			return c.numbers(&h.values, &h.encoding)
		case id == 8 && kind == thriftStruct:
			return c.fields(func(id int16, kind byte) error {
				numbers := []*int64{&h.values, &h.nulls, &h.rows, &h.encoding, &h.defBytes, &h.repBytes}
				if 1 <= id && int(id) <= len(numbers) && kind == thriftI32 {
					return c.into(numbers[id-1])
				}
				if id == 7 {
					h.plain = kind == thriftFalse
				}
				return c.skip(kind)
			})
		}
		return c.skip(kind)
	})
	return h, c.at, err
}

func (c *compact) into(v *int64) (err error) {
	*v, err = c.integer()
	return err
}

// numbers reads a structure whose fields 1, 2, … are the given integers; what else is in it is passed over.
func (c *compact) numbers(v ...*int64) error {
	return c.fields(func(id int16, kind byte) error {
		if 1 <= id && int(id) <= len(v) && kind == thriftI32 {
			return c.into(v[id-1])
		}
		return c.skip(kind)
	})
}

// Bounds of a page, besides Spec.MaxBytes.
const (
	maxPageHeader = 4 << 20
	maxPageValues = 1 << 24
)

// pager reads the pages of one column chunk from front to back. Arrow's own reader of pages allocates and decompresses
// what the page says, and its decoders loop, panic or allocate on damaged levels, indices and lengths; this one hands
// out only pages in which all of these were checked.
type pager struct {
	in         io.ReaderAt
	at, end    int64 // what is left of the chunk
	column     *schema.Column
	codec      compress.Compression
	left       int64 // values of the chunk that no page has had
	maxBytes   int64
	dictionary int // entries, -1 while there is none
	pages      int
	page       file.Page
	err        error
}

var _ file.PageReader = (*pager)(nil)

func (p *pager) Page() file.Page          { return p.page }
func (p *pager) Err() error               { return p.err }
func (p *pager) SetMaxPageHeaderSize(int) {}

// Reset is for readers that are used again; a pager is made for one chunk.
func (p *pager) Reset(parquet.BufferedReader, int64, compress.Compression, *file.CryptoContext) {
	panic("source: a pager reads one column chunk only")
}

// Next moves on to the next page with values.
func (p *pager) Next() bool {
	p.page = nil
	for p.err == nil && p.page == nil && p.left > 0 {
		if err := p.next(); err != nil {
			p.err = fmt.Errorf("column %q, page %d: %w", p.column.Path(), p.pages, err)
		}
		p.pages++
	}
	return p.page != nil
}

func (p *pager) next() error {
	h, body, err := p.read()
	if err != nil {
		return err
	}
	switch h.kind {
	case indexPage:
		return nil
	case dictionaryPage:
		return p.dictionaryPage(h, body)
	case dataPage:
		return p.dataPage(h, body)
	case dataPageV2:
		return p.dataPageV2(h, body)
	}
	return fmt.Errorf("is of the unknown kind %d", h.kind)
}

// read returns the header and the bytes of the page at the position, and moves past it.
func (p *pager) read() (h pageHeader, body []byte, err error) {
	length := 0
	for size := int64(1 << 12); ; size *= 8 {
		head := make([]byte, min(size, p.end-p.at, maxPageHeader))
		if _, err := p.in.ReadAt(head, p.at); err != nil {
			return h, nil, err
		}
		h, length, err = readPageHeader(head)
		if !errors.Is(err, errShort) || int64(len(head)) == min(p.end-p.at, maxPageHeader) {
			break
		}
	}
	if err != nil {
		return h, nil, fmt.Errorf("header: %w (%d values of the column chunk are missing)", err, p.left)
	}
	p.at += int64(length)
	switch {
	case h.compressed < 0 || h.compressed > p.end-p.at:
		return h, nil, fmt.Errorf("has %d bytes, want 0 to %d, the rest of the column chunk", h.compressed, p.end-p.at)
	case h.uncompressed < 0:
		return h, nil, fmt.Errorf("has %d bytes uncompressed", h.uncompressed)
	case max(h.compressed, h.uncompressed) > p.maxBytes:
		return h, nil, fmt.Errorf("has %d bytes, want at most %d (max_bytes)", max(h.compressed, h.uncompressed), p.maxBytes)
	}
	body = make([]byte, h.compressed)
	if _, err := p.in.ReadAt(body, p.at); err != nil {
		return h, nil, err
	}
	p.at += h.compressed
	if sum := crc32.ChecksumIEEE(body); h.hasCRC && sum != uint32(h.crc) {
		return h, nil, fmt.Errorf("has the checksum %08x, want %08x", sum, uint32(h.crc))
	}
	return h, body, nil
}

func (p *pager) dictionaryPage(h pageHeader, body []byte) error {
	data, err := decompress(p.codec, body, h.uncompressed)
	if err != nil {
		return err
	}
	const plain, plainDictionary = 0, 2
	width := map[parquet.Type]int64{parquet.Types.ByteArray: 4, parquet.Types.Int32: 4, parquet.Types.Int64: 8, parquet.Types.Float: 4, parquet.Types.Double: 8}[p.column.PhysicalType()]
	switch {
	case width == 0:
		return fmt.Errorf("is a dictionary of %v, want strings or numbers", p.column.PhysicalType())
	case p.dictionary >= 0:
		return errors.New("is a second dictionary")
	case h.encoding != plain && h.encoding != plainDictionary:
		return fmt.Errorf("is a dictionary in encoding %d, want PLAIN", h.encoding)
	case h.values < 0 || h.values > int64(len(data))/width:
		return fmt.Errorf("is a dictionary of %d values in %d bytes", h.values, len(data))
	}
	p.dictionary = int(h.values)
	p.page = file.NewDictionaryPage(memory.NewBufferBytes(data), int32(h.values), parquet.Encodings.Plain)
	return nil
}

// count checks the number of values of a data page.
func (p *pager) count(h pageHeader) error {
	if h.values < 0 || h.values > min(p.left, maxPageValues) {
		return fmt.Errorf("has %d values, want at most %d", h.values, min(p.left, maxPageValues))
	}
	p.left -= h.values
	return nil
}

func (p *pager) dataPage(h pageHeader, body []byte) error {
	if err := p.count(h); err != nil {
		return err
	}
	data, err := decompress(p.codec, body, h.uncompressed)
	if err != nil {
		return err
	}
	rest := data
	var rep, def []byte
	if p.column.MaxRepetitionLevel() > 0 {
		if rep, rest, err = levelsV1(rest, h.repEncoding); err != nil {
			return fmt.Errorf("repetition levels: %w", err)
		}
	}
	if p.column.MaxDefinitionLevel() > 0 {
		if def, rest, err = levelsV1(rest, h.defEncoding); err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
	}
	if err := p.check(h, rep, def, rest); err != nil || h.values == 0 {
		return err
	}
	p.page = file.NewDataPageV1(memory.NewBufferBytes(data), int32(h.values), parquet.Encoding(h.encoding),
		parquet.Encoding(max(h.defEncoding, 0)), parquet.Encoding(max(h.repEncoding, 0)), int32(len(data)))
	return nil
}

// levelsV1 cuts levels with their length before them from the beginning of data.
func levelsV1(data []byte, encoding int64) (levels, rest []byte, err error) {
	const rle = 3
	if encoding != rle {
		return nil, nil, fmt.Errorf("are in encoding %d, want RLE", encoding)
	}
	if len(data) < 4 {
		return nil, nil, fmt.Errorf("have %d bytes, want at least 4", len(data))
	}
	n := int64(data[0]) | int64(data[1])<<8 | int64(data[2])<<16 | int64(data[3])<<24
	if n > int64(len(data)-4) {
		return nil, nil, fmt.Errorf("have %d bytes, want at most %d", n, len(data)-4)
	}
	return data[4 : 4+n], data[4+n:], nil
}

func (p *pager) dataPageV2(h pageHeader, body []byte) error {
	if err := p.count(h); err != nil {
		return err
	}
	levels := h.repBytes + h.defBytes
	if h.repBytes < 0 || h.defBytes < 0 || levels > min(int64(len(body)), h.uncompressed) {
		return fmt.Errorf("has %d and %d bytes of levels, want at most %d together", h.repBytes, h.defBytes, min(int64(len(body)), h.uncompressed))
	}
	codec := p.codec
	if h.plain {
		codec = compress.Codecs.Uncompressed
	}
	values := []byte{}
	if int64(len(body)) > levels || h.uncompressed > levels {
		var err error
		if values, err = decompress(codec, body[levels:], h.uncompressed-levels); err != nil {
			return err
		}
	}
	data := append(append(make([]byte, 0, h.uncompressed), body[:levels]...), values...)
	rep, def := data[:h.repBytes], data[h.repBytes:levels]
	if err := p.check(h, rep, def, data[levels:]); err != nil || h.values == 0 {
		return err
	}
	p.page = file.NewDataPageV2(memory.NewBufferBytes(data), int32(h.values), int32(h.nulls), int32(h.rows), parquet.Encoding(h.encoding),
		int32(h.defBytes), int32(h.repBytes), int32(len(data)), false)
	return nil
}

// check walks the levels and the encoded values of a data page.
func (p *pager) check(h pageHeader, rep, def, values []byte) error {
	present := int(h.values) // values that are not null
	if most := p.column.MaxRepetitionLevel(); most > 0 {
		if _, err := checkLevels(rep, int(h.values), uint64(most)); err != nil {
			return fmt.Errorf("repetition levels: %w", err)
		}
	}
	if most := p.column.MaxDefinitionLevel(); most > 0 {
		var err error
		if present, err = checkLevels(def, int(h.values), uint64(most)); err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
	}
	return p.checkValues(h.encoding, values, present)
}

// decompress returns exactly size bytes.
func decompress(codec compress.Compression, body []byte, size int64) ([]byte, error) {
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("has %d bytes uncompressed", size)
	}
	unpack, ok := pageCodecs[codec]
	if !ok {
		return nil, fmt.Errorf("is compressed with %v, want none, SNAPPY, GZIP, ZSTD or BROTLI", codec)
	}
	data, err := unpack(body, int(size))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", codec, err)
	}
	if len(data) != int(size) {
		return nil, fmt.Errorf("%v: has %d bytes uncompressed, want %d", codec, len(data), size)
	}
	return data, nil
}
