package source

import (
	"errors"
	"fmt"
)

// maxDepth is how deep structures, and columns within columns, may nest.
const maxDepth = 64

// errShort is about a Thrift structure that goes on after its bytes end.
var errShort = errors.New("ends in the middle of a structure")

// compact walks a structure in Thrift's compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md). It allocates nothing.
type compact struct {
	data  []byte
	at    int
	depth int
}

// Types of fields in the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

func (c *compact) byte() (byte, error) {
	if c.at >= len(c.data) {
		return 0, errShort
	}
	c.at++
	return c.data[c.at-1], nil
}

func (c *compact) varint() (uint64, error) {
	var v uint64
	for shift := uint(0); shift < 70; shift += 7 {
		b, err := c.byte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("byte %d: a number of more than 64 bits", c.at)
}

// integer reads a zigzag number.
func (c *compact) integer() (int64, error) {
	v, err := c.varint()
	return int64(v>>1) ^ -int64(v&1), err
}

// fields calls field for each field of a structure, which must read or skip the value.
func (c *compact) fields(field func(id int16, kind byte) error) error {
	if c.depth++; c.depth > maxDepth {
		return fmt.Errorf("byte %d: nested deeper than %d", c.at, maxDepth)
	}
	defer func() { c.depth-- }()
	id := int16(0)
	for {
		b, err := c.byte()
		if err != nil || b == 0 {
			return err
		}
		if delta := b >> 4; delta != 0 {
			id += int16(delta)
		} else {
			v, err := c.integer()
			if err != nil {
				return err
			}
			id = int16(v)
		}
		if err := field(id, b&0xf); err != nil {
			return err
		}
	}
}

// skip steps over the value of a field.
func (c *compact) skip(kind byte) error {
	switch kind {
	case thriftTrue, thriftFalse: // the value is the type
		return nil
	case thriftByte:
		return c.step(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := c.varint()
		return err
	case thriftDouble:
		return c.step(8)
	case thriftBinary:
		n, err := c.varint()
		if err != nil {
			return err
		}
		return c.step(n)
	case thriftList, thriftSet:
		return c.skipList()
	case thriftMap:
		return c.skipMap()
	case thriftStruct:
		return c.fields(func(_ int16, kind byte) error { return c.skip(kind) })
	}
	return fmt.Errorf("byte %d: unknown type %d", c.at, kind)
}

func (c *compact) step(n uint64) error {
	if n > uint64(len(c.data)-c.at) {
		return errShort
	}
	c.at += int(n)
	return nil
}

// skipList refuses more elements than there are bytes: a reader that trusts the count would make room for them.
func (c *compact) skipList() error {
	b, err := c.byte()
	if err != nil {
		return err
	}
	n := uint64(b >> 4)
	if n == 15 {
		if n, err = c.varint(); err != nil {
			return err
		}
	}
	if n > uint64(len(c.data)-c.at) {
		return fmt.Errorf("byte %d: a list of %d elements in %d bytes", c.at, n, len(c.data)-c.at)
	}
	return c.skipElements(n, b&0xf)
}

func (c *compact) skipElements(n uint64, kind byte) error {
	if c.depth++; c.depth > maxDepth {
		return fmt.Errorf("byte %d: nested deeper than %d", c.at, maxDepth)
	}
	defer func() { c.depth-- }()
	for range n {
		element := kind
		if kind == thriftTrue || kind == thriftFalse { // in a list a byte each
			element = thriftByte
		}
		if err := c.skip(element); err != nil {
			return err
		}
	}
	return nil
}

func (c *compact) skipMap() error {
	n, err := c.varint()
	if err != nil || n == 0 {
		return err
	}
	if n > uint64(len(c.data)-c.at) {
		return fmt.Errorf("byte %d: a map of %d elements in %d bytes", c.at, n, len(c.data)-c.at)
	}
	kinds, err := c.byte()
	if err != nil {
		return err
	}
	for range n {
		for _, kind := range []byte{kinds >> 4, kinds & 0xf} {
			if err := c.skipElements(1, kind); err != nil {
				return err
			}
		}
	}
	return nil
}
