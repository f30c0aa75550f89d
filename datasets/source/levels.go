package source

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/apache/arrow/go/v17/parquet"
)

// hybrid walks n numbers of width bits, encoded in runs and packed groups
// (https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE); run gets each number and how often it comes.
func hybrid(data []byte, width, n int, run func(v uint64, times int) error) error {
	size := (width + 7) / 8 // bytes of the number of a run
	for n > 0 {
		head, used := binary.Uvarint(data)
		if used <= 0 {
			return fmt.Errorf("end %d too early", n)
		}
		data = data[used:]
		if head>>1 == 0 || head>>1 > math.MaxInt32/8 {
			return fmt.Errorf("have a run of length %d", head>>1)
		}
		if head&1 == 0 {
			if len(data) < size {
				return fmt.Errorf("end %d too early", n)
			}
			var v [8]byte
			copy(v[:], data[:size])
			times := min(uint64(n), head>>1)
			if err := run(binary.LittleEndian.Uint64(v[:]), int(times)); err != nil {
				return err
			}
			data, n = data[size:], n-int(times)
			continue
		}
		groups := head >> 1
		if width > 0 && groups > uint64(len(data)/width) && uint64(n) > 8*uint64(len(data)/width) {
			return fmt.Errorf("end %d too early", n)
		}
		count := n
		if groups < uint64(n+7)/8 {
			count = int(8 * groups)
		}
		for i := range count {
			if err := run(bitsAt(data, i*width, width), 1); err != nil {
				return err
			}
		}
		n -= count
		if n > 0 {
			data = data[int(groups)*width:]
		}
	}
	return nil
}

// bitsAt is the number of width bits, at most 64, from the bit on, the lowest first. Bits after the data are 0.
func bitsAt(data []byte, bit, width int) uint64 {
	var v uint64
	for have := 0; have < width; {
		b, offset := bit/8, bit%8
		if b >= len(data) {
			return v
		}
		take := min(8-offset, width-have)
		v |= uint64(data[b]>>offset) & (1<<take - 1) << have
		have, bit = have+take, bit+take
	}
	return v
}

// checkLevels walks n levels from 0 to most and returns how many are most.
func checkLevels(data []byte, n int, most uint64) (top int, err error) {
	err = hybrid(data, bits.Len64(most), n, func(v uint64, times int) error {
		if v > most {
			return fmt.Errorf("have %d, want at most %d", v, most)
		}
		if v == most {
			top += times
		}
		return nil
	})
	return top, err
}

// Encodings of values.
const (
	encPlain           = 0
	encPlainDictionary = 2
	encRLE             = 3 // of booleans
	encDelta           = 5
	encDeltaLength     = 6
	encDeltaPrefix     = 7
	encDictionary      = 8
)

// checkValues walks the encoded values of a page, n of them, as far as a decoder has to trust them.
func (p *pager) checkValues(encoding int64, data []byte, n int) error {
	kind := p.column.PhysicalType()
	isBytes, isBool := kind == parquet.Types.ByteArray, kind == parquet.Types.Boolean
	switch {
	case encoding == encPlain:
		return nil // the decoder checks each value
	case encoding == encPlainDictionary || encoding == encDictionary:
		return p.checkIndices(data, n)
	case n == 0:
		return nil
	case encoding == encRLE && isBool:
		runs, _, err := levelsV1(data, encRLE) // with their length before them too
		if err == nil {
			_, err = checkLevels(runs, n, 1)
		}
		return err
	case encoding == encDelta && !isBytes && !isBool:
		_, _, err := deltas(data, n)
		return err
	case encoding == encDeltaLength && isBytes:
		lengths, rest, err := deltas(data, n)
		if err != nil {
			return fmt.Errorf("lengths: %w", err)
		}
		return checkLengths(lengths, nil, int64(len(rest)), p.maxBytes)
	case encoding == encDeltaPrefix && isBytes:
		prefixes, rest, err := deltas(data, n)
		if err != nil {
			return fmt.Errorf("prefixes: %w", err)
		}
		lengths, rest, err := deltas(rest, n)
		if err != nil {
			return fmt.Errorf("lengths: %w", err)
		}
		return checkLengths(lengths, prefixes, int64(len(rest)), p.maxBytes)
	}
	return fmt.Errorf("has values in encoding %d, want PLAIN, a dictionary or DELTA", encoding)
}

// checkIndices walks n indices into the dictionary.
func (p *pager) checkIndices(data []byte, n int) error {
	switch {
	case p.dictionary < 0:
		return fmt.Errorf("has indices, and there is no dictionary before it")
	case n == 0:
		return nil
	case len(data) == 0 || data[0] > 32:
		return fmt.Errorf("dictionary indices: want a width of 0 to 32 bits before them")
	}
	err := hybrid(data[1:], int(data[0]), n, func(v uint64, _ int) error {
		if v >= uint64(p.dictionary) {
			return fmt.Errorf("have %d, want less than %d, the size of the dictionary", v, p.dictionary)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("dictionary indices: %w", err)
	}
	return nil
}

// checkLengths checks the lengths of strings, each with so many bytes of the one before it as a prefix, if there are
// prefixes, against the bytes that are there and the most that all may have.
func checkLengths(lengths, prefixes []int64, have, most int64) error {
	var own, all, previous int64
	for i, n := range lengths {
		if n < 0 || n > have-own {
			return fmt.Errorf("value %d has %d bytes, want 0 to %d", i, n, have-own)
		}
		own += n
		if prefixes != nil {
			if prefixes[i] < 0 || prefixes[i] > previous {
				return fmt.Errorf("value %d shares %d bytes with the one before, want 0 to %d", i, prefixes[i], previous)
			}
			n += prefixes[i]
		}
		if all += n; all > most {
			return fmt.Errorf("unpacks to more than %d bytes (max_bytes)", most)
		}
		previous = n
	}
	return nil
}

// deltas decodes n numbers as differences in packed blocks
// (https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC) and returns the bytes after them.
func deltas(data []byte, n int) (values []int64, rest []byte, err error) {
	c := &compact{data: data}
	var head [3]uint64 // size of a block, miniblocks in it, numbers
	for i := range head {
		if head[i], err = c.varint(); err != nil {
			return nil, nil, err
		}
	}
	block, minis := head[0], head[1]
	if block == 0 || block%128 != 0 || block > 1<<20 || minis == 0 || block%minis != 0 || block/minis%32 != 0 {
		return nil, nil, fmt.Errorf("blocks of %d numbers in %d parts", block, minis)
	}
	if head[2] != uint64(n) {
		return nil, nil, fmt.Errorf("there are %d numbers, want %d", head[2], n)
	}
	last, err := c.integer()
	if err != nil {
		return nil, nil, err
	}
	values = append(make([]int64, 0, n), last)
	per := int(block / minis)
	for len(values) < n {
		least, err := c.integer()
		if err != nil {
			return nil, nil, err
		}
		widths := c.at
		if err := c.step(minis); err != nil {
			return nil, nil, err
		}
		for m := 0; m < int(minis) && len(values) < n; m++ {
			width := int(data[widths+m])
			packed := c.at
			if width > 64 {
				return nil, nil, fmt.Errorf("numbers of %d bits", width)
			}
			if err := c.step(uint64(per * width / 8)); err != nil {
				return nil, nil, err
			}
			for i := 0; i < per && len(values) < n; i++ {
				last += least + int64(bitsAt(data[packed:], i*width, width))
				values = append(values, last)
			}
		}
	}
	return values, data[c.at:], nil
}
