package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const byteOrderMark = "\ufeff"

// texts reads a file that is one document.
type texts struct {
	file File
	in   *stream
	done bool
}

func openText(f File) (Reader, error) {
	in, err := openStream(f)
	if err != nil {
		return nil, err
	}
	return &texts{file: f, in: in}, nil
}

var errBinary = errors.New("is binary: byte 0 in the first 8000, want text")

// Next returns the whole file. One that was found in a tree and is no text has no document.
func (t *texts) Next() (Document, error) {
	if t.done {
		return Document{}, io.EOF
	}
	t.done = true
	text, err := t.read()
	var bad notUTF8
	if t.file.tree && (errors.Is(err, errBinary) || errors.As(err, &bad)) {
		return Document{}, io.EOF
	}
	return Document{Text: text}, err
}

func (t *texts) read() (string, error) {
	most := t.file.spec.maxBytes()
	head, err := t.in.Peek(8000)
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("reading: %w", err)
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return "", errBinary
	}
	data, err := io.ReadAll(io.LimitReader(t.in, most+1))
	if err != nil {
		return "", fmt.Errorf("reading: %w", err)
	}
	if int64(len(data)) > most {
		return "", fmt.Errorf("is longer than %d bytes, want at most that (max_bytes) in one text", most)
	}
	if err := checkUTF8(data); err != nil {
		return "", err
	}
	return string(bytes.TrimPrefix(data, []byte(byteOrderMark))), nil
}

func (t *texts) Close() error { return t.in.Close() }

// notUTF8 is the offset of the first byte that is part of no character, and the byte.
type notUTF8 struct {
	at    int
	found byte
}

func (e notUTF8) Error() string {
	return fmt.Sprintf("byte %d: found 0x%02x, want UTF-8", e.at, e.found)
}

// checkUTF8 returns a notUTF8 if data has one.
func checkUTF8(data []byte) error {
	if utf8.Valid(data) {
		return nil
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return notUTF8{i, data[i]}
		}
		i += n
	}
	return nil
}
