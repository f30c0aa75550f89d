package source

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The compressions of whole files: what their names end in, and how they begin.
var compressions = []struct {
	extension, name string
	magic           []byte
}{
	{".gz", "gzip", []byte{0x1f, 0x8b}},
	{".zst", "zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}},
}

// plainName cuts the extension of a compression from a name and says which it is, "" for none.
func plainName(name string) (plain, compression string) {
	for _, c := range compressions {
		if strings.EqualFold(path.Ext(name), c.extension) {
			return name[:len(name)-len(c.extension)], c.name
		}
	}
	return name, ""
}

// stream reads a file from front to back, decompressing it if its name says so.
type stream struct {
	*bufio.Reader
	file *os.File
	zstd *zstd.Decoder
}

// maxWindow bounds the memory of a decompressor: 128 MiB, what zstd --long writes at most.
const maxWindow = 128 << 20

// openStream opens the file for reading. A name and a beginning that contradict each other are an error.
func openStream(f File) (*stream, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	s := &stream{file: file}
	if err := s.decompress(f.Path); err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

func (s *stream) decompress(name string) error {
	s.Reader = bufio.NewReaderSize(s.file, 1<<16)
	begin, err := s.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	_, want := plainName(name)
	found := ""
	for _, c := range compressions {
		if bytes.HasPrefix(begin, c.magic) {
			found = c.name
		}
	}
	switch {
	case found != want && want == "":
		return fmt.Errorf("begins as %s does, want plain text or a name that ends in .gz or .zst", found)
	case found != want:
		return fmt.Errorf("begins with %q, want %s as the name says", begin, want)
	case found == "gzip":
		z, err := gzip.NewReader(s.Reader)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		s.Reader = bufio.NewReaderSize(z, 1<<16)
	case found == "zstd":
		s.zstd, err = zstd.NewReader(s.Reader, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return fmt.Errorf("zstd: %w", err)
		}
		s.Reader = bufio.NewReaderSize(s.zstd, 1<<16)
	}
	return nil
}

func (s *stream) Close() error {
	if s.zstd != nil {
		s.zstd.Close()
	}
	return s.file.Close()
}
