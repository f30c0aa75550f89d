package wandb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A .wandb file is framed as LevelDB's log is (https://github.com/google/leveldb/blob/main/doc/log_format.md): blocks
// of 32 KiB that hold chunks, a record being one whole chunk or a first, middle ones and a last. The checksum is plain
// CRC-32 here.
const (
	blockSize  = 32 << 10
	chunkHead  = 7 // checksum, length, kind
	kindFull   = 1
	kindFirst  = 2
	kindMiddle = 3
	kindLast   = 4
)

// fileHead opens the file, and counts as part of the first block: a name, a magic number and a version.
var fileHead = []byte{':', 'W', '&', 'B', 0xe1, 0xbe, 0}

// appendFrames appends the chunks of a record that is written at an offset of the file.
func appendFrames(b []byte, offset int64, record []byte) []byte {
	start := len(b)
	for first := true; ; first = false {
		room := blockSize - int((offset+int64(len(b)-start))%blockSize)
		if room < chunkHead {
			b = append(b, make([]byte, room)...)
			room = blockSize
		}
		part := record[:min(len(record), room-chunkHead)]
		record = record[len(part):]
		b = appendChunk(b, kindOf(first, len(record) == 0), part)
		if len(record) == 0 {
			return b
		}
	}
}

func kindOf(first, last bool) byte {
	switch {
	case first && last:
		return kindFull
	case first:
		return kindFirst
	case last:
		return kindLast
	}
	return kindMiddle
}

func appendChunk(b []byte, kind byte, part []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, checksum(kind, part))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(part)))
	return append(append(b, kind), part...)
}

func checksum(kind byte, part []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte{kind}), crc32.IEEETable, part)
}

// errTorn says that the file ends within a record, or that its end was never written.
var errTorn = errors.New("the last record is torn")

// eachRecord calls yield for every record with the offset at which it ends. Where the file stops making sense it
// returns an error that wraps errTorn: records before that are whole.
func eachRecord(r io.Reader, yield func(record []byte, end int64) error) error {
	head := make([]byte, len(fileHead))
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head, fileHead) {
		return errors.New("no .wandb file: it starts with other bytes")
	}
	s := scanner{r: r, offset: int64(len(fileHead))}
	for {
		record, err := s.record()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := yield(record, s.offset); err != nil {
			return err
		}
	}
}

type scanner struct {
	r      io.Reader
	offset int64
	buf    []byte
}

// record returns the next one, io.EOF where the file ends after a whole one.
func (s *scanner) record() ([]byte, error) {
	s.buf = s.buf[:0]
	for first := true; ; first = false {
		kind, err := s.chunk()
		switch {
		case err == io.EOF && first:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		case err == io.EOF, first != (kind == kindFull || kind == kindFirst):
			return nil, fmt.Errorf("%w at byte %d", errTorn, s.offset)
		case kind == kindFull || kind == kindLast:
			return s.buf, nil
		}
	}
}

// chunk appends the data of the next one to the record.
func (s *scanner) chunk() (kind byte, err error) {
	room := blockSize - int(s.offset%blockSize)
	if room < chunkHead {
		if err := s.read(make([]byte, room)); err != nil {
			return 0, err
		}
		room = blockSize
	}
	var head [chunkHead]byte
	if err := s.read(head[:]); err != nil {
		return 0, err
	}
	size := int(binary.LittleEndian.Uint16(head[4:]))
	kind = head[6]
	if kind < kindFull || kind > kindLast || size > room-chunkHead {
		return 0, fmt.Errorf("%w at byte %d", errTorn, s.offset)
	}
	at := len(s.buf)
	s.buf = append(s.buf, make([]byte, size)...)
	if err := s.read(s.buf[at:]); err != nil || checksum(kind, s.buf[at:]) != binary.LittleEndian.Uint32(head[:]) {
		return 0, fmt.Errorf("%w at byte %d", errTorn, s.offset)
	}
	return kind, nil
}

// read fills b, or returns io.EOF at the end of the file and errTorn within b.
func (s *scanner) read(b []byte) error {
	n, err := io.ReadFull(s.r, b)
	s.offset += int64(n)
	if err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("%w at byte %d", errTorn, s.offset)
	}
	return err
}
