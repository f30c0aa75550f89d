package source

import (
	"bytes"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// pageCodecs unpack a page into at most size bytes; more is an error however the page came to it.
var pageCodecs = map[compress.Compression]func(body []byte, size int) ([]byte, error){
	compress.Codecs.Uncompressed: func(body []byte, _ int) ([]byte, error) { return body, nil },
	compress.Codecs.Snappy:       unpackSnappy,
	compress.Codecs.Zstd:         unpackZstd,
	compress.Codecs.Gzip: func(body []byte, size int) ([]byte, error) {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return readAtMost(z, size)
	},
	compress.Codecs.Brotli: func(body []byte, size int) ([]byte, error) {
		codec, err := compress.GetCodec(compress.Codecs.Brotli)
		if err != nil {
			return nil, err
		}
		return readAtMost(codec.NewReader(bytes.NewReader(body)), size)
	},
}

func tooLong(size int) error { return fmt.Errorf("unpacks to more than the %d bytes it says", size) }

func readAtMost(r io.Reader, size int) ([]byte, error) {
	data := make([]byte, 0, min(size, 1<<20)+1)
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case len(data) > size:
			return nil, tooLong(size)
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, err
		case len(data) == cap(data):
			data = append(make([]byte, 0, min(2*cap(data), size+1)), data...)
		}
	}
}

func unpackSnappy(body []byte, size int) ([]byte, error) {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return nil, err
	}
	if n > size {
		return nil, tooLong(size)
	}
	return snappy.Decode(nil, body)
}

func unpackZstd(body []byte, size int) ([]byte, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(body, make([]byte, 0, size))
}
