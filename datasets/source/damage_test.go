package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/klauspost/compress/zstd"
)

// bodyRows is a table of one column without nulls.
func bodyRows(t testing.TB) arrow.Record {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String}}, nil)
	return record(t, schema, `[{"text": "alpha"}, {"text": "beta"}, {"text": "gamma"}]`)
}

// refoot writes the file again with its footer changed.
func refoot(t testing.TB, data []byte, change func(*metadata.FileMetaData)) []byte {
	t.Helper()
	length := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	body := data[:len(data)-8-length]
	meta, err := metadata.NewFileMetaData(data[len(body):len(data)-8], nil)
	if err != nil {
		t.Fatal(err)
	}
	change(meta)
	footer, err := meta.Serialize(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return tail(slices.Concat(body, footer), len(footer))
}

func tail(data []byte, footer int) []byte {
	return append(binary.LittleEndian.AppendUint32(data, uint32(footer)), magicPlain...)
}

// repage writes a file whose only column chunk is made of the given bytes.
func repage(t testing.TB, rows arrow.Record, pages []byte, codec compress.Compression, change func(*metadata.FileMetaData)) []byte {
	t.Helper()
	data := parquetFile(t, []arrow.Record{rows}, parquet.WithDictionaryDefault(false), parquet.WithCompression(codec))
	length := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	footer := data[len(data)-8-length : len(data)-8]
	again := tail(slices.Concat([]byte(magicPlain), pages, footer), len(footer))
	return refoot(t, again, func(m *metadata.FileMetaData) {
		column := m.RowGroups[0].Columns[0].MetaData
		column.DataPageOffset, column.TotalCompressedSize = 4, int64(len(pages))
		if change != nil {
			change(m)
		}
	})
}

// thriftStructOf writes 32-bit fields 1, 2, … and then the given bytes as one more field.
func fields32(values ...int64) []byte {
	var b []byte
	for _, v := range values {
		b = append(b, 1<<4|thriftI32)
		b = binary.AppendUvarint(b, uint64(v<<1^v>>63))
	}
	return append(b, 0)
}

// header writes the header of a page; kind is 0 for data, 2 for a dictionary, 3 for data of version 2.
func header(kind, uncompressed, compressed int64, details ...int64) []byte {
	b := fields32(kind, uncompressed, compressed)
	b = b[:len(b)-1]
	field := map[int64]byte{dataPage: 5, dictionaryPage: 7, dataPageV2: 8}[kind]
	b = append(b, (field-3)<<4|thriftStruct)
	return append(append(b, fields32(details...)...), 0)
}

// page writes a page as it is.
func page(kind int64, body []byte, details ...int64) []byte {
	return append(header(kind, int64(len(body)), int64(len(body)), details...), body...)
}

// plain writes strings in PLAIN encoding.
func plain(values ...string) []byte {
	var b []byte
	for _, v := range values {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return b
}

// levels writes levels of one bit, all alike, with their length before them.
func levels(n, level int) []byte {
	run := append(binary.AppendUvarint(nil, uint64(n)<<1), byte(level))
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(run))), run...)
}

// TestHandmade sees that the pages made by hand are good before they are damaged.
func TestHandmade(t *testing.T) {
	want := []string{"alpha", "beta", "gamma"}
	dictionary := page(dictionaryPage, plain("gamma", "beta", "alpha"), 3, encPlain)
	for name, pages := range map[string][]byte{
		"plain":           page(dataPage, plain(want...), 3, encPlain, 3, 3),
		"two pages":       slices.Concat(page(dataPage, plain("alpha"), 1, encPlain, 3, 3), page(dataPage, plain("beta", "gamma"), 2, encPlain, 3, 3)),
		"an empty page":   slices.Concat(page(dataPage, nil, 0, encPlain, 3, 3), page(dataPage, plain(want...), 3, encPlain, 3, 3)),
		"an index page":   slices.Concat(page(indexPage, []byte("x")), page(dataPage, plain(want...), 3, encPlain, 3, 3)),
		"version 2":       page(dataPageV2, plain(want...), 3, 0, 3, encPlain, 0, 0),
		"dictionary":      slices.Concat(dictionary, page(dataPage, []byte{2, 3, 0b000110, 0}, 3, encDictionary, 3, 3)),
		"dictionary runs": slices.Concat(dictionary, page(dataPage, []byte{2, 2, 2, 2, 1, 2, 0}, 3, encPlainDictionary, 3, 3)),
	} {
		path := put(t, filepath.Join(t.TempDir(), "x.parquet"), repage(t, bodyRows(t), pages, compress.Codecs.Uncompressed, nil))
		docs, err := all(one(t, Spec{Path: path}))
		if err != nil || len(docs) != 3 || docs[0].Text != want[0] || docs[1].Text != want[1] || docs[2].Text != want[2] {
			t.Errorf("%s: found %v, %v", name, docs, err)
		}
	}
}

func TestParquetDamage(t *testing.T) {
	good := parquetFile(t, []arrow.Record{textRows(t, "alpha", "beta", "gamma"), textRows(t, "delta", "eta")}, parquet.WithCompression(compress.Codecs.Zstd))
	footer := int(binary.LittleEndian.Uint32(good[len(good)-8:]))
	body := good[:len(good)-8-footer]
	changed := func(at int, with ...byte) []byte {
		data := slices.Clone(good)
		if at < 0 {
			at += len(data)
		}
		copy(data[at:], with)
		return data
	}
	foot := func(change func(*metadata.FileMetaData)) []byte { return refoot(t, good, change) }
	pages := func(p ...[]byte) []byte {
		return repage(t, bodyRows(t), slices.Concat(p...), compress.Codecs.Uncompressed, nil)
	}
	zpages := func(p ...[]byte) []byte {
		return repage(t, bodyRows(t), slices.Concat(p...), compress.Codecs.Zstd, nil)
	}
	optional := func(p ...[]byte) []byte {
		schema := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
		return repage(t, record(t, schema, `[{"text": "a"}, {"text": "b"}, {"text": "c"}]`), slices.Concat(p...), compress.Codecs.Uncompressed, nil)
	}
	values := plain("alpha", "beta", "gamma")
	packed := zst(t, values)
	badSum := slices.Clone(packed)
	badSum[len(badSum)-1] ^= 1
	bomb := zst(t, make([]byte, 8<<20))
	streamBomb := streamed(t, 8<<20)
	dictionary := page(dictionaryPage, plain("a", "b"), 2, encPlain)
	sized := func(p []byte, crc uint32) []byte { // with a checksum
		b := fields32(dataPage, int64(len(p)), int64(len(p)), int64(int32(crc)))
		b = append(b[:len(b)-1], 1<<4|thriftStruct)
		return slices.Concat(b, fields32(3, encPlain, 3, 3), []byte{0}, p)
	}
	column := func(m *metadata.FileMetaData, group int) *int64 {
		return &m.RowGroups[group].Columns[1].MetaData.DataPageOffset
	}
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "has 0 bytes, want at least 12"},
		{"bad_magic at the beginning", changed(0, []byte("PARX")...), `begins with "PARX", want "PAR1"`},
		{"bad_magic at the end", changed(-4, []byte("PARX")...), `ends with "PARX", want "PAR1"`},
		{"cut off", good[:len(good)-30], `(is it cut off?)`},
		{"footer_len_gt_file", changed(-8, 0, 0, 0, 0x7f), "footer of 2130706432 bytes, want 1 to"},
		{"footer_len of the file", changed(-8, binary.LittleEndian.AppendUint32(nil, uint32(len(good)-11))...), "footer of"},
		{"negative_footer_len", changed(-8, 0xff, 0xff, 0xff, 0xff), "footer of -1 bytes, want 1 to"},
		{"no footer", changed(-8, 0, 0, 0, 0), "footer of 0 bytes"},
		{"thrift_truncated", tail(slices.Clone(good[:len(good)-8-footer/2]), footer-footer/2), "ends in the middle of a structure"},
		{"thrift nested", tail(append(slices.Clone(body), bytes.Repeat([]byte{0x1c}, 5000)...), 5000), "nested deeper than 64"},
		{"thrift list", tail(append(slices.Clone(body), 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07), 7), "a list of 2147483647 elements in"},
		{"thrift of something else", tail(append(slices.Clone(body), 0x15, 0x02, 0x00), 3), "footer: "},
		{"row_group_past_eof", foot(func(m *metadata.FileMetaData) { *column(m, 1) = 1 << 40 }), `row group 1, column "text": has data at byte 1099511627776, want it within`},
		{"row_group_past_eof without dictionary", foot(func(m *metadata.FileMetaData) {
			*column(m, 1) = 1 << 40
			m.RowGroups[1].Columns[1].MetaData.DictionaryPageOffset = nil
		}), `row group 1, column "text": lies at bytes 1099511627776`},
		{"row group of negative offset", foot(func(m *metadata.FileMetaData) {
			*column(m, 0) = -5
			m.RowGroups[0].Columns[1].MetaData.DictionaryPageOffset = nil
		}), "lies at bytes -5"},
		{"row group too long", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns[1].MetaData.TotalCompressedSize = math.MaxInt64 }), "lies at bytes"},
		{"row group negative", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns[1].MetaData.TotalCompressedSize = -1 }), "lies at bytes"},
		{"row group without columns", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns = m.RowGroups[0].Columns[:1] }), "row group 0 has 1 columns, want 2"},
		{"num_rows_wrong file", foot(func(m *metadata.FileMetaData) { m.NumRows = 6 }), "the row groups have 5 rows, want the 6 of the file"},
		{"num_rows_wrong few", foot(func(m *metadata.FileMetaData) { m.NumRows = 4 }), "row group 1 has 2 rows, want at most 1 of the 4"},
		{"num_rows_wrong group", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].NumRows, m.NumRows = 4, 6 }), `column "text": has 3 values, want 4`},
		{"num_rows_wrong negative", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].NumRows, m.NumRows = -1, 1 }), "row group 0 has -1 rows"},
		{"num_rows_wrong chunk", foot(func(m *metadata.FileMetaData) {
			m.RowGroups[0].NumRows, m.NumRows, m.RowGroups[0].Columns[1].MetaData.NumValues = 4, 6, 4
		}), "values of the column chunk are missing"},
		{"num_rows_wrong chunk fewer", foot(func(m *metadata.FileMetaData) {
			m.RowGroups[0].NumRows, m.NumRows, m.RowGroups[0].Columns[1].MetaData.NumValues = 2, 4, 2
		}), "has 3 values, want at most 2"},
		{"dict_page_offset_corrupt", foot(func(m *metadata.FileMetaData) { *m.RowGroups[0].Columns[1].MetaData.DictionaryPageOffset += 3 }), `row group 0): column "text", page 0: `},
		{"dict_page_offset_corrupt past", foot(func(m *metadata.FileMetaData) { *m.RowGroups[0].Columns[1].MetaData.DictionaryPageOffset = 1 << 50 }), `there is no dictionary before it`},
		{"dict_page_offset_corrupt low", foot(func(m *metadata.FileMetaData) { *m.RowGroups[0].Columns[1].MetaData.DictionaryPageOffset = 1 }), "lies at bytes 1"},
		{"another codec", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns[1].MetaData.Codec = 1 }), "SNAPPY: "},
		{"unknown codec", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns[1].MetaData.Codec = 7 }), "is compressed with"},
		{"another type", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns[1].MetaData.Type = 2 }), "is of type INT64, want BYTE_ARRAY as in the schema"},
		{"another file", foot(func(m *metadata.FileMetaData) { p := "/etc/passwd"; m.RowGroups[0].Columns[1].FilePath = &p }), "lies in another file"},
		{"no column metadata", foot(func(m *metadata.FileMetaData) { m.RowGroups[0].Columns[1].MetaData = nil }), "has no metadata"},
		{"encrypted_file", changed(-4, []byte("PARE")...), "is encrypted, want a plain file"},
		{"schema", foot(func(m *metadata.FileMetaData) { m.FileMetaData.Schema = m.FileMetaData.Schema[:1] }), "footer: the schema makes no tree of columns"},

		{"page_size_negative", pages(header(dataPage, int64(len(values)), -5, 3, encPlain, 3, 3), values), "page 0: has -5 bytes, want 0 to"},
		{"page_size_negative uncompressed", pages(header(dataPage, -5, int64(len(values)), 3, encPlain, 3, 3), values), "page 0: has -5 bytes uncompressed"},
		{"page_size_huge", pages(header(dataPage, math.MaxInt32, int64(len(values)), 3, encPlain, 3, 3), values), "has 2147483647 bytes, want at most 1048576 (max_bytes)"},
		{"page_size_huge compressed", pages(header(dataPage, 10, math.MaxInt32, 3, encPlain, 3, 3), values), "page 0: has 2147483647 bytes, want 0 to"},
		{"page_size wrong", pages(header(dataPage, int64(len(values))+1, int64(len(values)), 3, encPlain, 3, 3), values), "bytes uncompressed, want"},
		{"page header cut off", pages(header(dataPage, 10, 10, 3)[:6]), "page 0: header: ends in the middle of a structure"},
		{"no page", pages(nil), "(3 values of the column chunk are missing)"},
		{"pages missing", pages(page(dataPage, plain("alpha"), 1, encPlain, 3, 3)), "page 1: header: ends in the middle of a structure (2 values of the column chunk are missing)"},
		{"page of nothing", pages([]byte{0}), "page 0: has -1 bytes"},
		{"page of unknown kind", pages(page(9, nil)), "page 0: is of the unknown kind 9"},
		{"page without details", pages(append(fields32(dataPage, 0, 0), 0)), "page 0: has -1 values"},
		{"too many values", pages(page(dataPage, values, 4, encPlain, 3, 3)), "page 0: has 4 values, want at most 3"},
		{"negative values", pages(page(dataPage, values, -1, encPlain, 3, 3)), "page 0: has -1 values"},
		{"values cut off", pages(page(dataPage, values[:20], 3, encPlain, 3, 3)), "page 0: parquet: eof reading bytearray"},
		{"value of negative length", pages(page(dataPage, []byte{0xff, 0xff, 0xff, 0xff}, 3, encPlain, 3, 3)), "page 0: parquet: invalid BYTE_ARRAY value"},
		{"unknown encoding", pages(page(dataPage, values, 3, 77, 3, 3)), "has values in encoding 77, want PLAIN"},
		{"integers for strings", pages(page(dataPage, values, 3, encDelta, 3, 3)), "has values in encoding 5"},
		{"checksum", pages(sized(values, crc32.ChecksumIEEE(values)+1)), "page 0: has the checksum"},
		{"string_non_utf8", pages(page(dataPage, plain("alpha", "b\xff", "c"), 3, encPlain, 3, 3)), `row 1 (row group 0): column "text": byte 1: found 0xff, want UTF-8`},

		{"zstd_crc_bad", zpages(header(dataPage, int64(len(values)), int64(len(packed)), 3, encPlain, 3, 3), badSum), "page 0: ZSTD: CRC check failed"},
		{"zstd cut off", zpages(header(dataPage, int64(len(values)), int64(len(packed)-5), 3, encPlain, 3, 3), packed[:len(packed)-5]), "page 0: ZSTD: unexpected EOF"},
		{"zstd garbage", zpages(page(dataPage, values, 3, encPlain, 3, 3)), "page 0: ZSTD: "},
		{"decompression_bomb that says so", zpages(header(dataPage, 8<<20, int64(len(bomb)), 3, encPlain, 3, 3), bomb), "has 8388608 bytes, want at most 1048576 (max_bytes)"},
		{"decompression_bomb that lies", zpages(header(dataPage, 100, int64(len(bomb)), 3, encPlain, 3, 3), bomb), "page 0: ZSTD: "},
		{"decompression_bomb streamed", zpages(header(dataPage, 100, int64(len(streamBomb)), 3, encPlain, 3, 3), streamBomb), "page 0: ZSTD: "},

		{"bad_levels too high", optional(page(dataPage, slices.Concat(levels(3, 5), values), 3, encPlain, 3, 3)), "definition levels: have 5, want at most 1"},
		{"bad_levels too few", optional(page(dataPage, slices.Concat(levels(2, 1), values), 3, encPlain, 3, 3)), "definition levels: end 1 too early"},
		{"bad_levels length", optional(page(dataPage, []byte{0xff, 0xff, 0xff, 0x7f, 1}, 3, encPlain, 3, 3)), "definition levels: have 2147483647 bytes, want at most 1"},
		{"bad_levels none", optional(page(dataPage, []byte{1}, 3, encPlain, 3, 3)), "definition levels: have 1 bytes, want at least 4"},
		{"bad_levels encoding", optional(page(dataPage, slices.Concat(levels(3, 1), values), 3, encPlain, 4, 3)), "definition levels: are in encoding 4, want RLE"},
		{"bad_levels run of none", optional(page(dataPage, []byte{2, 0, 0, 0, 0, 1}, 3, encPlain, 3, 3)), "definition levels: have a run of length 0"},
		{"bad_levels groups", optional(page(dataPage, []byte{1, 0, 0, 0, 0x81, 1}, 3, encPlain, 3, 3)), "definition levels: end 3 too early"},
		{"bad_levels version 2", optional(page(dataPageV2, values, 3, 0, 3, encPlain, 200, 0)), "has 0 and 200 bytes of levels"},
		{"bad_levels negative", optional(page(dataPageV2, values, 3, 0, 3, encPlain, -1, 1)), "has 1 and -1 bytes of levels"},
		{"bad_levels no values", optional(page(dataPage, levels(3, 1), 3, encPlain, 3, 3)), "eof reading bytearray"},

		{"dict_index_out_of_range", pages(dictionary, page(dataPage, []byte{2, 2, 0, 2, 3, 2, 0}, 3, encDictionary, 3, 3)), "page 1: dictionary indices: have 3, want less than 2, the size of the dictionary"},
		{"dict_index packed", pages(dictionary, page(dataPage, []byte{2, 3, 0b110001, 0}, 3, encDictionary, 3, 3)), "dictionary indices: have 3, want less than 2"},
		{"dict_index too few", pages(dictionary, page(dataPage, []byte{2, 4, 0}, 3, encDictionary, 3, 3)), "dictionary indices: end 1 too early"},
		{"dict_index width", pages(dictionary, page(dataPage, []byte{40, 2}, 3, encDictionary, 3, 3)), "want a width of 0 to 32 bits"},
		{"dict_index none", pages(dictionary, page(dataPage, nil, 3, encDictionary, 3, 3)), "want a width of 0 to 32 bits"},
		{"no dictionary", pages(page(dataPage, []byte{1, 6, 0}, 3, encDictionary, 3, 3)), "has indices, and there is no dictionary before it"},
		{"two dictionaries", pages(dictionary, dictionary), "page 1: is a second dictionary"},
		{"dictionary too great", pages(page(dictionaryPage, plain("a"), 1<<30, encPlain)), "is a dictionary of 1073741824 values in 5 bytes"},
		{"dictionary encoding", pages(page(dictionaryPage, plain("a"), 1, encDictionary)), "is a dictionary in encoding 8, want PLAIN"},
		{"dictionary cut off", pages(page(dictionaryPage, []byte{9, 0, 0, 0, 'a'}, 1, encPlain), page(dataPage, []byte{1, 6, 0}, 3, encDictionary, 3, 3)), ""},

		{"delta blocks", pages(page(dataPage, []byte{0, 0, 3, 0}, 3, encDeltaLength, 3, 3)), "lengths: blocks of 0 numbers in 0 parts"},
		{"delta count", pages(page(dataPage, []byte{0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 7, 0}, 3, encDeltaLength, 3, 3)), "lengths: there are 2147483647 numbers, want 3"},
		{"delta cut off", pages(page(dataPage, []byte{0x80, 1, 4, 3, 2}, 3, encDeltaLength, 3, 3)), "lengths: ends in the middle"},
		{"delta lengths", pages(page(dataPage, []byte{0x80, 1, 4, 3, 2, 0, 0, 0, 0, 0, 'a'}, 3, encDeltaLength, 3, 3)), "value 1 has 1 bytes, want 0 to 0"},
		{"delta negative", pages(page(dataPage, []byte{0x80, 1, 4, 3, 1, 0, 0, 0, 0, 0, 'a'}, 3, encDeltaLength, 3, 3)), "value 0 has -1 bytes"},
		{"delta prefix", pages(page(dataPage, []byte{0x80, 1, 4, 3, 2, 0, 0, 0, 0, 0, 0x80, 1, 4, 3, 0, 0, 0, 0, 0, 0}, 3, encDeltaPrefix, 3, 3)), "value 0 shares 1 bytes with the one before, want 0 to 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, Spec{Path: put(t, filepath.Join(t.TempDir(), "x.parquet"), tc.data), Text: "text", MaxBytes: 1 << 20}, tc.want)
		})
	}
}

// streamed packs zeros in a frame that does not say how many they are.
func streamed(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for range n >> 20 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mutated are good files of several layouts with a few bytes changed at random.
func mutated(t testing.TB, n int, each func(spec Spec, data []byte)) {
	random := rand.New(rand.NewPCG(1, 2))
	var files [][]byte
	var texts []string
	for i := range 200 {
		texts = append(texts, strings.Repeat("ab", i%7))
	}
	for _, layout := range layouts() {
		files = append(files, parquetFile(t, []arrow.Record{textRows(t, texts...)}, layout...), parquetFile(t, []arrow.Record{record(t, chatSchema, chatRows)}, layout...))
	}
	slices.SortFunc(files, bytes.Compare)
	for i := range n {
		data := slices.Clone(files[i%len(files)])
		for range 1 + random.IntN(4) {
			at := random.IntN(len(data))
			if random.IntN(3) == 0 { // the footer is the greater part of small files, its end the most delicate
				at = len(data) - 1 - random.IntN(min(len(data), 200))
			}
			data[at] = byte(random.Uint32())
		}
		each(Spec{MaxBytes: 1 << 16}, data)
	}
}

func TestParquetMutated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	wrong := 0
	mutated(t, 600, func(s Spec, data []byte) {
		s.Path = put(t, path, data)
		start := time.Now()
		if _, err := all(one(t, s)); err != nil {
			wrong++
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q", err)
			}
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
	})
	if wrong < 150 {
		t.Errorf("%d of 600 damaged files were refused, want more", wrong)
	}
}

func FuzzParquet(f *testing.F) {
	mutated(f, 40, func(_ Spec, data []byte) { f.Add(data) })
	path := filepath.Join(f.TempDir(), "x.parquet")
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := all(one(t, Spec{Path: put(t, path, data), MaxBytes: 1 << 16}))
		if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path)) {
			t.Errorf("error %q", err)
		}
	})
}
