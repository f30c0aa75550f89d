package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/gojet/gojet/datasets/chat"
	"github.com/gojet/gojet/datasets/internal/jsonscan"
)

// lines reads a file with one JSON object on each line (https://jsonlines.org).
type lines struct {
	in   *stream
	spec Spec
	line int // the number of the line read last, from 1
	buf  []byte
}

func openLines(f File) (Reader, error) {
	in, err := openStream(f)
	if err != nil {
		return nil, err
	}
	return &lines{in: in, spec: f.spec}, nil
}

func (l *lines) Close() error { return l.in.Close() }

func (l *lines) Next() (Document, error) {
	for {
		line, ended, err := l.read()
		if err == io.EOF {
			return Document{}, io.EOF
		}
		if err != nil {
			return Document{}, fmt.Errorf("line %d: %w", l.line, err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		d, err := l.document(line)
		if err == nil {
			return d, nil
		}
		if !ended && reachesEnd(err, line) {
			return Document{}, fmt.Errorf("line %d, %w (the file ends without a line end: it may be cut off)", l.line, err)
		}
		return Document{}, fmt.Errorf("line %d, %w", l.line, err)
	}
}

// reachesEnd tells whether an error is about the line's last byte or what comes after it.
func reachesEnd(err error, line []byte) bool {
	var m misread
	return errors.As(err, &m) && m.At >= len(line)
}

// read returns the next line without its end, and whether it had one; the buffer is used again.
func (l *lines) read() (line []byte, ended bool, err error) {
	l.line++
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		if int64(len(l.buf)) > l.spec.maxBytes() {
			return nil, false, fmt.Errorf("is longer than %d bytes, want at most that (max_bytes)", l.spec.maxBytes())
		}
		switch {
		case err == nil:
			return l.trim(), true, nil
		case err == io.EOF && len(l.buf) == 0:
			return nil, false, io.EOF
		case err == io.EOF:
			return l.trim(), false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

// trim cuts the line end, with or without a carriage return, and the byte order mark that a file may begin with.
func (l *lines) trim() []byte {
	line := bytes.TrimSuffix(bytes.TrimSuffix(l.buf, []byte("\n")), []byte("\r"))
	if l.line == 1 {
		line = bytes.TrimPrefix(line, []byte(byteOrderMark))
	}
	return line
}

// document reads one line.
func (l *lines) document(line []byte) (Document, error) {
	var bad notUTF8
	if errors.As(checkUTF8(line), &bad) {
		return Document{}, misread{bad.at, fmt.Sprintf("found 0x%02x, want UTF-8", bad.found)}
	}
	d, err := newScanner(line).document(l.spec.fields())
	var wrong jsonscan.Error
	if errors.As(err, &wrong) {
		err = misread(wrong)
	}
	return d, err
}

// document reads the object on a line, of which one of the fields is the document.
func (s scanner) document(fields []field) (Document, error) {
	var d Document
	var others []string
	found := len(fields) // the best that was there
	err := s.object(func(key string) error {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			if len(others) < 8 {
				others = append(others, clip(key))
			}
			return s.skip()
		}
		if i > found {
			return s.skip()
		}
		found = i
		var err error
		if d, err = s.field(fields[i].kind); err != nil {
			return inField(err, key)
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && found == len(fields) {
		err = jsonscan.Error{What: fmt.Sprintf("the object has no field %s, found %q", fieldNames(fields), others)}
	}
	return d, err
}

// inField names the field in an error.
func inField(err error, name string) error {
	if wrong, ok := err.(jsonscan.Error); ok {
		return jsonscan.Error{At: wrong.At, What: fmt.Sprintf("%s: %s", name, wrong.What)}
	}
	return err
}

// field reads the value of a document.
func (s scanner) field(kind kind) (d Document, err error) {
	switch kind {
	case isText:
		d.Text, err = s.Text()
	case isMessages:
		d.Messages, err = s.messages()
	case isTokens:
		d.Tokens, err = s.tokens()
	}
	return d, err
}

func (s scanner) tokens() ([]int32, error) {
	var ids []int32
	return ids, s.Array(func(int) error {
		s.Next()
		at := s.At()
		n, err := s.Number()
		if err != nil {
			return err
		}
		id, err := strconv.ParseInt(string(n), 10, 32)
		if err != nil || id < 0 {
			return jsonscan.Error{At: at, What: fmt.Sprintf("found %s, want a token id from 0 to %d", clip(string(n)), math.MaxInt32)}
		}
		ids = append(ids, int32(id))
		return nil
	})
}

func (s scanner) messages() ([]chat.Message, error) {
	var all []chat.Message
	return all, s.Array(func(i int) error {
		m, err := s.message()
		if err != nil {
			return inField(err, fmt.Sprintf("message %d", i))
		}
		all = append(all, m)
		return nil
	})
}

// message reads {"role": …, "content": …, "tool_calls": […]}; other keys are passed over. Only a message with tool calls
// may have no content.
func (s scanner) message() (m chat.Message, err error) {
	s.Next()
	at := s.At()
	var role, content bool
	err = s.object(func(key string) (err error) {
		switch {
		case key == "role":
			role = true
			m.Role, err = s.Text()
		case key == "content" && s.Word("null"):
		case key == "content":
			content = true
			m.Content, err = s.Text()
		case key == "tool_calls" && s.Word("null"):
		case key == "tool_calls":
			if s.Next() != '[' {
				return s.Fail("tool_calls: found %s, want an array", s.Found())
			}
			var raw []byte
			raw, err = s.raw()
			m.ToolCalls = bytes.Clone(raw)
		default:
			return s.skip()
		}
		return inField(err, key)
	})
	switch {
	case err != nil:
		return m, err
	case !role:
		return m, jsonscan.Error{At: at, What: `has no "role"`}
	case !content && m.ToolCalls == nil:
		return m, jsonscan.Error{At: at, What: `has no "content"`}
	}
	return m, nil
}
