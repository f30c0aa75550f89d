package wandb

import (
	"bytes"
	"errors"
	"testing"
)

// frame writes records one after the other.
func frame(records ...[]byte) []byte {
	file := bytes.Clone(fileHead)
	for _, r := range records {
		file = appendFrames(file, int64(len(file)), r)
	}
	return file
}

// unframe returns the whole records of a file and where the last one ends.
func unframe(file []byte) (records [][]byte, end int64, err error) {
	end = int64(len(fileHead))
	err = eachRecord(bytes.NewReader(file), func(r []byte, at int64) error {
		records = append(records, bytes.Clone(r))
		end = at
		return nil
	})
	return records, end, err
}

// TestFrames puts the end of a record at every place around the end of a block.
func TestFrames(t *testing.T) {
	for _, blocks := range []int{1, 3} {
		for d := -20; d <= 20; d++ {
			long := bytes.Repeat([]byte{0xa5, 1, 2}, blocks*blockSize)[:blocks*blockSize-len(fileHead)-chunkHead*blocks+d]
			want := [][]byte{long, {}, []byte("after"), long}
			file := frame(want...)
			got, end, err := unframe(file)
			if err != nil || end != int64(len(file)) || len(got) != len(want) {
				t.Fatalf("%d bytes: %d records to byte %d of %d, error %v", len(long), len(got), end, len(file), err)
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("%d bytes: record %d differs", len(long), i)
				}
			}
		}
	}
}

// TestTornFrames cuts the file at every byte, and damages each: the records before are found.
func TestTornFrames(t *testing.T) {
	records := [][]byte{[]byte("first"), []byte("second"), []byte("third")}
	ends := []int{len(fileHead), len(frame(records[:1]...)), len(frame(records[:2]...)), len(frame(records...))}
	file := frame(records...)
	whole := func(size int) (n int) {
		for n+1 < len(ends) && ends[n+1] <= size {
			n++
		}
		return n
	}
	for size := range file {
		got, end, err := unframe(file[:size])
		switch {
		case size < len(fileHead):
			if err == nil || errors.Is(err, errTorn) {
				t.Errorf("head of %d bytes: error %v", size, err)
			}
			continue
		case len(got) != whole(size) || end != int64(ends[len(got)]):
			t.Errorf("%d bytes: %d records to byte %d, want %d", size, len(got), end, whole(size))
		case (err != nil) != (int64(size) != end) || err != nil && !errors.Is(err, errTorn):
			t.Errorf("%d bytes: error %v", size, err)
		}
		damaged := bytes.Clone(file)
		damaged[size] ^= 0x40
		if got, _, err := unframe(damaged); len(got) != whole(size) || !errors.Is(err, errTorn) {
			t.Errorf("byte %d damaged: %d records, error %v", size, len(got), err)
		}
	}
	if _, _, err := unframe(append(frame(records...), make([]byte, 100)...)); !errors.Is(err, errTorn) {
		t.Errorf("zeros at the end: error %v", err)
	}
}

// FuzzRecords reads any bytes as a .wandb file, without and with valid frames around them.
func FuzzRecords(f *testing.F) {
	f.Add(frame([]byte("x"), []byte("yy")))
	f.Add(message(number(recordNum, 3), nested(recordHistory, entries(historyItem, []entry{{stepKey, "4"}, {"loss", "0.5"}})...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, end, err := unframe(data)
		if end > int64(max(len(data), len(fileHead))) || err == nil && end != int64(len(data)) {
			t.Errorf("records end at byte %d of %d, error %v", end, len(data), err)
		}
		again, _, err := unframe(frame(records...))
		if err != nil || len(again) != len(records) {
			t.Errorf("%d records, written and read again %d, error %v", len(records), len(again), err)
		}
		w := written{step: -1}
		if err := w.take(data); err == nil && w.rows != len(w.last) {
			t.Errorf("%d rows, %d kept", w.rows, len(w.last))
		}
	})
}
