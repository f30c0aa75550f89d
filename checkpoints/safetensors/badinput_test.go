package safetensors

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is a header after its length, then n bytes of data.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// claims is a file whose header is said to have n bytes.
func claims(n uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, n), rest...)
}

func tensor(name, dtype, shape, offsets string) string {
	return fmt.Sprintf(`"%s":{"dtype":"%s","shape":%s,"data_offsets":%s}`, name, dtype, shape, offsets)
}

const a = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`

// badInputs are files with one fault each and what the error says of it, or "" where all is well.
var badInputs = []struct {
	name string
	file []byte
	err  string
}{
	{"empty_file", nil, "file of 0 bytes, want at least 8"},
	{"under_8_bytes", []byte("1234567"), "file of 7 bytes, want at least 8"},
	{"header_len_zero", claims(0, ""), "header length 0"},
	{"header_len_gt_file", claims(100, "{}"), "header length 100, but only 2 bytes follow"},
	{"header_len_gt_100MB", claims(100_000_001, "{}"), "header length 100000001, want at most 100000000"},
	{"header_len_2^63", claims(1<<63, "{}"), "header length 9223372036854775808, want at most"},
	{"header_len_u64max", claims(1<<64-1, "{}"), "header length 18446744073709551615, want at most"},
	{"header_plus8_overflow", claims(1<<64-8, "{}"), "header length 18446744073709551608, want at most"},
	{"header_truncated", file(`{`+a[:30], 8), "found the end"},
	{"non_utf8", file("{\"a\xff\":{}}", 0), "not UTF-8: byte 3"},
	{"bom_prefix", file("\xef\xbb\xbf{"+a+"}", 8), "byte order mark"},
	{"not_json", file("tensors!", 0), `found "tensors!", want an object`},
	{"top_level_array", file("[{"+a+"}]", 8), `found "[", want an object`},
	{"trailing_json", file("{"+a+"}{}", 8), `found "{" after the end`},
	{"deep_nesting", file(`{"a":{"dtype":"F32","shape":`+strings.Repeat("[", 1e6), 0), `shape: byte`},
	{"deep_nesting in an unknown field", file(`{"a":{"b":`+strings.Repeat(`{"b":`, 1e6), 0), `unknown field "b"`},
	{"ws_pad_leading", file(" \t\r\n{"+a+"}", 8), ""},
	{"ws_pad_trailing", file("{"+a+"} \t\r\n", 8), ""},
	{"NUL padding", file("{"+a+"}\x00\x00", 8), `after the end`},
	{"duplicate_tensor_key", file("{"+a+","+strings.Replace(a, "[0,8]", "[8,16]", 1)+"}", 16), `tensor "a" comes twice`},
	{"duplicate_field", file(`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), `tensor "a": byte 28: field "dtype" comes twice`},
	{"duplicate_field of another value", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[1,2]}}`, 8), `field "shape" comes twice`},
	{"duplicate_escaped_key", file("{"+a+`,"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16), `tensor "a" comes twice`},
	{"duplicate_metadata", file(`{"__metadata__":{},`+a+`,"__metadata__":{}}`, 8), "__metadata__ comes twice"},
	{"duplicate_metadata key", file(`{"__metadata__":{"k":"v","k":"v"},`+a+`}`, 8), `key "k" comes twice`},
	{"metadata_non_string", file(`{"__metadata__":{"k":1},`+a+`}`, 8), `__metadata__: "k": byte 21: found "1", want a string`},
	{"metadata null", file(`{"__metadata__":null,`+a+`}`, 8), `__metadata__: byte 16: found "null", want an object`},
	{"unknown_field", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}`, 8), `unknown field "strides"`},
	{"missing_dtype", file(`{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8), `tensor "a": field dtype is missing`},
	{"missing_shape", file(`{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8), `tensor "a": field shape is missing`},
	{"missing_offsets", file(`{"a":{"dtype":"F32","shape":[2]}}`, 8), `tensor "a": field data_offsets is missing`},
	{"tensor is no object", file(`{"a":null}`, 0), `tensor "a": byte 5: found "null", want an object`},
	{"unknown_dtype", file("{"+tensor("a", "F31", "[2]", "[0,8]")+"}", 8), `tensor "a": unknown dtype "F31"`},
	{"lowercase_dtype", file("{"+tensor("a", "f32", "[2]", "[0,8]")+"}", 8), `tensor "a": unknown dtype "f32"`},
	{"negative_dim", file("{"+tensor("a", "F32", "[-2]", "[0,8]")+"}", 8), `tensor "a": shape: byte 29: found "-2", want a whole number`},
	{"float_dim", file("{"+tensor("a", "F32", "[2.0]", "[0,8]")+"}", 8), `found "2.0", want a whole number`},
	{"exponent_dim", file("{"+tensor("a", "F32", "[2e0]", "[0,8]")+"}", 8), `found "2e0", want a whole number`},
	{"dim past int", file("{"+tensor("a", "F32", "[18446744073709551618]", "[0,8]")+"}", 8), `want at most 9223372036854775807`},
	{"dim_product_overflow", file("{"+tensor("a", "F32", "[4294967296,4294967296,2]", "[0,8]")+"}", 8), `more elements than can be counted`},
	{"dim×dtype_overflow", file("{"+tensor("a", "F32", "[4611686018427387906]", "[0,8]")+"}", 8), `more bits than can be counted`},
	{"subbyte_misaligned", file("{"+tensor("a", "F4", "[3]", "[0,2]")+"}", 2), `shape [3] of F4 ends inside a byte: 12 bits`},
	{"subbyte", file("{"+tensor("a", "F4", "[4]", "[0,2]")+"}", 2), ""},
	{"256 dimensions", file("{"+tensor("a", "U8", "[1"+strings.Repeat(",1", 255)+"]", "[0,1]")+"}", 1), `more than 255 dimensions`},
	{"size_mismatch", file("{"+tensor("a", "F32", "[3]", "[0,8]")+"}", 8), `tensor "a": data_offsets [0, 8] hold 8 bytes, want 12 for F32 [3]`},
	{"begin_gt_end", file("{"+tensor("a", "F32", "[2]", "[8,0]")+"}", 8), `tensor "a": data_offsets [8, 0] begin after their end`},
	{"negative_offset", file("{"+tensor("a", "F32", "[2]", "[-8,0]")+"}", 8), `data_offsets: byte 48: found "-8", want a whole number`},
	{"offset_past_eof", file("{"+tensor("a", "F32", "[4]", "[0,16]")+"}", 8), `tensor "a": data_offsets [0, 16] reach past the end of the file, which holds 8 bytes`},
	{"one_offset", file("{"+tensor("a", "F32", "[2]", "[8]")+"}", 8), `found 1 numbers, want begin and end`},
	{"three_offsets", file("{"+tensor("a", "F32", "[2]", "[0,8,8]")+"}", 8), `more than two numbers, want begin and end`},
	{"overlap_partial", file("{"+a+","+tensor("b", "F32", "[2]", "[4,12]")+"}", 12), `tensor "b": data_offsets [4, 12] overlap [0, 8] of tensor "a"`},
	{"overlap_same_range", file("{"+a+","+tensor("b", "F32", "[2]", "[0,8]")+"}", 8), `tensor "b": data_offsets [0, 8] overlap [0, 8] of tensor "a"`},
	{"hole_at_start", file("{"+tensor("a", "F32", "[2]", "[4,12]")+"}", 12), `tensor "a": data_offsets [4, 12], want a begin of 0: the 4 bytes before belong to no tensor`},
	{"hole_at_middle", file("{"+a+","+tensor("b", "F32", "[2]", "[12,20]")+"}", 20), `tensor "b": data_offsets [12, 20], want a begin of 8: the 4 bytes before belong to no tensor`},
	{"hole_at_end", file("{"+a+"}", 12), `the file holds 12 bytes of data, want 8: 4 bytes at the end belong to no tensor`},
	{"trailing_bytes", file("{"+a+"}", 9), `1 bytes at the end belong to no tensor`},
	{"truncated_data", file("{"+a+"}", 7), `tensor "a": data_offsets [0, 8] reach past the end of the file, which holds 7 bytes`},
	{"zero_size", file("{"+a+","+tensor("z", "F32", "[2,0]", "[8,8]")+"}", 8), ""},
	{"zero_size first", file("{"+tensor("z", "F32", "[0]", "[0,0]")+","+a+"}", 8), ""},
	{"zero_size_offset_reuse", file("{"+tensor("y", "F32", "[0]", "[0,0]")+","+tensor("z", "F32", "[0]", "[0,0]")+","+a+"}", 8), `tensor "z": data_offsets [0, 0] overlap [0, 0] of tensor "y"`},
	{"zero_size inside another", file("{"+a+","+tensor("z", "F32", "[0]", "[4,4]")+"}", 8), `tensor "z": data_offsets [4, 4] overlap [0, 8] of tensor "a"`},
	{"zero_size past eof", file("{"+a+","+tensor("z", "F32", "[0]", "[16,16]")+"}", 8), `tensor "z": data_offsets [16, 16] reach past the end`},
	{"scalar_shape", file("{"+tensor("a", "F32", "[]", "[0,4]")+"}", 4), ""},
	{"no tensors", file("{}", 0), ""},
	{"unordered header", file("{"+tensor("b", "F32", "[2]", "[8,16]")+","+a+"}", 16), ""},
	{"empty_name", file("{"+tensor("", "F32", "[2]", "[0,8]")+"}", 8), `a tensor has an empty name`},
	{"path_like_name", file("{"+tensor("../../etc/passwd", "F32", "[2]", "[0,8]")+"}", 8), `tensor "../../etc/passwd": the name looks like a path`},
	{"path_like_name, backslash", file("{"+tensor(`..\\a`, "F32", "[2]", "[0,8]")+"}", 8), `the name looks like a path`},
	{"path_like_name, escaped", file("{"+tensor(`\u002ftmp\u002fa`, "F32", "[2]", "[0,8]")+"}", 8), `the name looks like a path`},
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	for i, tc := range badInputs {
		path := filepath.Join(dir, fmt.Sprintf("bad-%d.safetensors", i))
		if err := os.WriteFile(path, tc.file, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		switch {
		case err == nil && tc.err != "":
			t.Errorf("%s: accepted, want an error with %q", tc.name, tc.err)
		case err != nil && tc.err == "":
			t.Errorf("%s: %v, want it accepted", tc.name, err)
		case err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), path) ||
			strings.Contains(err.Error(), "\n") || len(err.Error()) > 400):
			t.Errorf("%s: error %q, want one line with the file and %q", tc.name, err, tc.err)
		}
		if err == nil {
			if err := f.Close(); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
	}
}

func TestOpenWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is a directory, want a regular file") {
		t.Errorf("directory: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "absent")); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("absent: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// Whatever the file, Open returns, and what it accepts survives being read whole and written again.
func FuzzOpen(f *testing.F) {
	for _, tc := range badInputs {
		if len(tc.file) < 1000 {
			f.Add(tc.file)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "fuzz.safetensors")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		var sources []Source
		for _, name := range file.Names() {
			tensor, ok := file.Tensor(name)
			if !ok {
				t.Fatalf("tensor %q is listed but not found", name)
			}
			if _, err := tensor.Float32s(); err != nil && tensor.DType != C64 {
				t.Fatal(err)
			}
			sources = append(sources, tensor.Source())
		}
		again := filepath.Join(dir, "again.safetensors")
		if err := Write(again, sources, file.Metadata()); err != nil {
			// Writing orders the tensors anew, which may bring two empty ones together.
			if !strings.Contains(err.Error(), "a second tensor without elements") {
				t.Fatal(err)
			}
			return
		}
		rewritten, err := Open(again)
		if err != nil {
			t.Fatal(err)
		}
		if rewritten.Len() != file.Len() {
			t.Fatalf("%d tensors became %d", file.Len(), rewritten.Len())
		}
		if err := rewritten.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
