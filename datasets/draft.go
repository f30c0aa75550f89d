package datasets

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/gojet/gojet/checkpoints/safetensors"
)

// draft is a cache in the making: the data of each tensor in a file of its own.
type draft struct {
	facts     facts
	documents int
	tokens    uint64
	hidden    int
	files     [len(tensorNames)]*column
}

// column is the data of one tensor.
type column struct {
	file *os.File
	out  *bufio.Writer
	sum  *xxhash.Digest
	buf  []byte
}

func newDraft(dir string) (d *draft, err error) {
	d = &draft{}
	for i, name := range tensorNames {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		sum := xxhash.New()
		d.files[i] = &column{file: f, out: bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<18), sum: sum}
	}
	return d, nil
}

// add appends a document that is not empty. Hidden are the borders of runs of its tokens, from and to.
func (d *draft) add(tokens []int32, hidden []int) error {
	for _, h := range hidden {
		if err := d.files[1].put(d.tokens + uint64(h)); err != nil {
			return err
		}
	}
	d.hidden += len(hidden) / 2
	d.documents++
	d.tokens += uint64(len(tokens))
	if err := d.files[0].put(d.tokens); err != nil {
		return err
	}
	c := d.files[2]
	buf, most := slices.Grow(c.buf[:0], 4*len(tokens))[:4*len(tokens)], d.facts.Max
	for i, t := range tokens {
		binary.LittleEndian.PutUint32(buf[4*i:], uint32(t))
		most = max(most, t)
	}
	c.buf, d.facts.Max = buf, most
	_, err := c.out.Write(buf)
	return err
}

func (c *column) put(x uint64) error {
	c.buf = binary.LittleEndian.AppendUint64(c.buf[:0], x)
	_, err := c.out.Write(c.buf)
	return err
}

// write makes the cache at path, whole or not at all.
func (d *draft) write(path string) error {
	meta := d.facts.metadata()
	shapes := [...][]int{{d.documents}, {d.hidden, 2}, {int(d.tokens)}}
	types := [...]safetensors.DType{safetensors.U64, safetensors.U64, safetensors.I32}
	var tensors []safetensors.Source
	var sums [len(tensorNames)]uint64
	for i, c := range d.files {
		if err := c.out.Flush(); err != nil {
			return err
		}
		sums[i] = c.sum.Sum64()
		tensors = append(tensors, safetensors.Source{Name: tensorNames[i], DType: types[i], Shape: shapes[i], WriteTo: c.copy})
	}
	meta["checksum"] = checksum(meta, sums)
	return errors.Join(safetensors.Write(path, tensors, meta), d.close())
}

func (c *column) copy(w io.Writer) error {
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, c.file)
	return err
}

// close gives the files back; closing again does nothing.
func (d *draft) close() error {
	var errs []error
	for _, c := range d.files {
		if c != nil {
			if err := c.file.Close(); !errors.Is(err, os.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
