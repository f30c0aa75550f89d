package source

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"

	"github.com/gojet/gojet/checkpoints/safetensors"
)

// seeker is a buffer that the writer of Arrow files can ask for its place.
type seeker struct{ bytes.Buffer }

func (s *seeker) Seek(int64, int) (int64, error) { return int64(s.Len()), nil }

func arrowFile(t testing.TB, records []arrow.Record, options ...ipc.Option) []byte {
	t.Helper()
	var out seeker
	w, err := ipc.NewFileWriter(&out, append(options, ipc.WithSchema(records[0].Schema()))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArrow(t *testing.T) {
	for name, options := range map[string][]ipc.Option{"plain": nil, "zstd": {ipc.WithZstd()}, "lz4": {ipc.WithLZ4()}} {
		dir := t.TempDir()
		path := put(t, filepath.Join(dir, "x.arrow"), arrowFile(t, []arrow.Record{textRows(t, "a", "", "é"), textRows(t, strings.Repeat("x", 5000))}, options...))
		if found := textsOf(t, Spec{Path: path}); !slices.Equal(found, []string{"a", "", "é", strings.Repeat("x", 5000)}) {
			t.Errorf("%s: found %q", name, found)
		}
		path = put(t, filepath.Join(dir, "x.feather"), arrowFile(t, []arrow.Record{record(t, chatSchema, chatRows)}, options...))
		docs, err := all(one(t, Spec{Path: path}))
		if err != nil || len(docs) != 3 || !reflect.DeepEqual(docs[0].Messages, wantChats[0]) || len(docs[1].Messages) != 0 || !reflect.DeepEqual(docs[2].Messages, wantChats[2]) {
			t.Errorf("%s: found %v, %v", name, docs, err)
		}
		for _, schema := range []*arrow.Schema{tokenSchema, int64Tokens} {
			path = put(t, filepath.Join(dir, "ids.arrow"), arrowFile(t, []arrow.Record{record(t, schema, `[{"ids": [1, 2]}, {"ids": [3]}]`)}, options...))
			docs, err = all(one(t, Spec{Path: path, Tokens: "ids"}))
			if err != nil || len(docs) != 2 || !slices.Equal(docs[0].Tokens, []int32{1, 2}) || !slices.Equal(docs[1].Tokens, []int32{3}) {
				t.Errorf("%s: found %v, %v", name, docs, err)
			}
		}
	}
}

func TestArrowRefused(t *testing.T) {
	good := arrowFile(t, []arrow.Record{textRows(t, "alpha", "beta")})
	zipped := arrowFile(t, []arrow.Record{textRows(t, strings.Repeat("x", 4<<20))}, ipc.WithZstd())
	changed := func(at int, with ...byte) []byte {
		data := slices.Clone(good)
		copy(data[len(data)+at:], with)
		return data
	}
	invalid := bytes.Replace(good, []byte("alphabeta"), []byte("alpha\xffeta"), 1)
	for _, tc := range []struct {
		name string
		data []byte
		spec Spec
		want string
	}{
		{"empty", nil, Spec{}, "has 0 bytes, want at least 20"},
		{"no magic", bytes.Repeat([]byte("x"), 100), Spec{}, `begins with "xxxxxx", want "ARROW1"`},
		{"cut off", good[:len(good)-9], Spec{}, `(is it cut off?)`},
		{"footer too long", changed(-10, 0, 0, 0, 0x7f), Spec{}, "footer of 2130706432 bytes"},
		{"footer negative", changed(-10, 0xff, 0xff, 0xff, 0xff), Spec{}, "footer of -1 bytes"},
		{"footer wrong", changed(-10, binary.LittleEndian.AppendUint32(nil, 8)...), Spec{}, "x.arrow: "},
		{"missing column", good, Spec{Text: "body"}, `has no column "body", found ["id" "text"]`},
		{"wrong type", good, Spec{Text: "id"}, `column "id" is of type int64, want a string`},
		{"null", arrowFile(t, []arrow.Record{textRows(t, "a", "null")}), Spec{}, `row 1 (record batch 0): column "text" is null, want a string`},
		{"not UTF-8", invalid, Spec{}, `row 1 (record batch 0): column "text": byte 0: found 0xff`},
		{"long text", arrowFile(t, []arrow.Record{textRows(t, strings.Repeat("x", 3000))}), Spec{MaxBytes: 2000}, "has 3000 bytes, want at most 2000 (max_bytes)"},
		{"batch too great", zipped, Spec{MaxBytes: 1 << 16}, "bytes of memory"},
		{"null message", arrowFile(t, []arrow.Record{record(t, chatSchema, `[{"messages": [{"role": "a", "content": null}]}]`)}), Spec{}, "message 0, content: is null"},
		{"null token", arrowFile(t, []arrow.Record{record(t, tokenSchema, `[{"ids": [1, null]}]`)}), Spec{Tokens: "ids"}, "element 1 is null"},
		{"negative token", arrowFile(t, []arrow.Record{record(t, tokenSchema, `[{"ids": [-1]}]`)}), Spec{Tokens: "ids"}, "found -1, want a token id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.Path = put(t, filepath.Join(t.TempDir(), "x.arrow"), tc.data)
			refused(t, tc.spec, tc.want)
		})
	}
}

func TestArrowMutated(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	files := [][]byte{arrowFile(t, []arrow.Record{textRows(t, "alpha", "beta", "gamma")}), arrowFile(t, []arrow.Record{record(t, chatSchema, chatRows)}, ipc.WithZstd())}
	path := filepath.Join(t.TempDir(), "x.arrow")
	for i := range 600 {
		data := slices.Clone(files[i%2])
		for range 1 + random.IntN(3) {
			data[random.IntN(len(data))] = byte(random.Uint32())
		}
		if _, err := all(one(t, Spec{Path: put(t, path, data), MaxBytes: 1 << 16})); err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("error %q", err)
		}
	}
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	ids := make([]int64, 2*3*4)
	for i := range ids {
		ids[i] = int64(i * 1000)
	}
	path := filepath.Join(dir, "x.safetensors")
	write := func(sources ...safetensors.Source) {
		t.Helper()
		if err := safetensors.Write(path, sources, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(safetensors.Int64s("batches", []int{2, 3, 4}, ids))
	x, err := OpenTokens(path, "batches")
	if err != nil {
		t.Fatal(err)
	}
	if x.Steps != 2 || x.Batch != 3 || x.Time != 4 {
		t.Errorf("[%d, %d, %d], want [2, 3, 4]", x.Steps, x.Batch, x.Time)
	}
	for step := range 2 {
		for i, id := range x.At(step) {
			if want := int32(ids[step*12+i]); id != want {
				t.Errorf("step %d, token %d is %d, want %d", step, i, id, want)
			}
		}
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	bad := slices.Clone(ids)
	bad[12+4+1] = -7
	for _, tc := range []struct {
		name, tensor string
		source       safetensors.Source
		want         string
	}{
		{"missing", "ids", safetensors.Int64s("batches", []int{2, 3, 4}, ids), `tensor "ids": is not there, found ["batches"]`},
		{"shape", "ids", safetensors.Int64s("ids", []int{6, 4}, ids), "has the shape [6 4], want [steps, batch, time]"},
		{"type", "ids", safetensors.Float32s("ids", []int{1, 1, 2}, safetensors.F32, safetensors.Values([]float32{1, 2})), "is of type F32, want I64 or I32"},
		{"negative", "ids", safetensors.Int64s("ids", []int{2, 3, 4}, bad), "token [1, 1, 1] is -7, want an id from 0 to"},
		{"great", "ids", safetensors.Int64s("ids", []int{1, 1, 1}, []int64{1 << 31}), "token [0, 0, 0] is 2147483648"},
	} {
		write(tc.source)
		if _, err := OpenTokens(path, tc.tensor); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := OpenTokens(filepath.Join(dir, "nothing"), "ids"); err == nil {
		t.Error("opened a file that is not there")
	}
}
